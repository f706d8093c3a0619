//! The chart, rendered and installed by Helm.

use std::process::Output;
use std::sync::OnceLock;

use control_plane::{ControlPlane, User};
use serde_json::Value;

use super::{bare_control_plane, control_plane};

/// Where the chart is.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/hostup-operator");

/// Helm's answer: what it printed, or why it refused.
pub fn helm(plane: &ControlPlane, args: &[&str]) -> Result<String, String> {
    let output = plane.helm(args).unwrap_or_else(|error| panic!("{error}"));
    printed(output)
}

/// The objects that the chart renders with these arguments, or why it does not.
pub fn try_render(args: &[&str]) -> Result<Vec<Value>, String> {
    let fixed = [
        "template",
        "hostup-operator",
        CHART,
        "--namespace=hostup-system",
        "--kube-version=1.36.4",
    ];
    let text = helm(control_plane(), &[&fixed, args].concat())?;
    Ok(documents(&text))
}

/// The objects of a text with several YAML documents.
pub fn documents(text: &str) -> Vec<Value> {
    let says_something = |document: &&str| {
        document
            .lines()
            .any(|line| !line.is_empty() && !line.starts_with('#') && line != "---")
    };
    text.split("\n---\n")
        .filter(says_something)
        .map(|document| {
            serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error} in\n{document}"))
        })
        .collect()
}

/// The objects that the chart renders with these arguments.
pub fn render(args: &[&str]) -> Vec<Value> {
    try_render(args).unwrap_or_else(|error| panic!("{error}"))
}

/// A control plane on which Helm has installed the chart, and nothing else has.
pub fn installed() -> &'static ControlPlane {
    static INSTALLED: OnceLock<ControlPlane> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let plane = bare_control_plane();
        install(&plane);
        plane
    })
}

/// Installs the chart with its own values.
pub fn install(plane: &ControlPlane) {
    let args = [
        "install",
        "hostup-operator",
        CHART,
        "--namespace=hostup-system",
        "--create-namespace",
    ];
    helm(plane, &args).unwrap_or_else(|error| panic!("{error}"));
}

/// What kubectl answers to a user: what it printed, or why it was refused.
pub fn as_user(
    plane: &ControlPlane,
    user: User,
    args: &[&str],
    stdin: Option<&Value>,
) -> Result<String, String> {
    let stdin = stdin.map(Value::to_string);
    let output = plane
        .kubectl_as(&plane.kubeconfig(user), args, stdin.as_deref())
        .unwrap_or_else(|error| panic!("{error}"));
    printed(output)
}

/// What the API server says to an object, without keeping it.
pub fn tried(object: &Value) -> Result<String, String> {
    let dry = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
    ];
    as_user(control_plane(), User::Admin, &dry, Some(object))
}

fn printed(output: Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}
