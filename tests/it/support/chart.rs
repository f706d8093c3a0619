//! The chart, rendered and installed by Helm.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};

use control_plane::{ControlPlane, User};
use serde_json::Value;

use super::{at, bare_control_plane, control_plane};

/// Where the chart is.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/hostup-operator");

/// Helm's answer: what it printed, or why it refused.
pub fn helm(plane: &ControlPlane, args: &[&str]) -> Result<String, String> {
    let output = plane.helm(args).unwrap_or_else(|error| panic!("{error}"));
    printed(output)
}

/// What the chart renders with these arguments, as Helm prints it, or why it does not. Helm is asked once for the same ones,
/// for many tests look at the same objects; but each time for a file, which may have changed.
pub fn try_text(args: &[&str]) -> Result<String, String> {
    static RENDERED: Mutex<BTreeMap<Vec<String>, Result<String, String>>> = Mutex::new(BTreeMap::new());
    if args.iter().any(|arg| arg.starts_with("--values")) {
        return rendered_now(args);
    }
    let asked: Vec<String> = args.iter().map(ToString::to_string).collect();
    let rendered = RENDERED.lock().unwrap().get(&asked).cloned();
    rendered.unwrap_or_else(|| {
        let rendered = rendered_now(args);
        RENDERED.lock().unwrap().insert(asked, rendered.clone());
        rendered
    })
}

fn rendered_now(args: &[&str]) -> Result<String, String> {
    let fixed = [
        "template",
        "hostup-operator",
        CHART,
        "--namespace=hostup-system",
        "--kube-version=1.36.4",
    ];
    helm(control_plane(), &[&fixed, args].concat())
}

/// The objects that the chart renders with these arguments, or why it does not.
pub fn try_render(args: &[&str]) -> Result<Vec<Value>, String> {
    Ok(documents(&try_text(args)?))
}

/// What kustomize makes of a text: it refuses a key that stands twice in a map, as Flux does.
pub fn kustomized(text: &str) -> Result<Vec<Value>, String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("rendered.yaml", text);
    write("kustomization.yaml", "resources: [rendered.yaml]");
    let folder = folder.path().to_str().unwrap();
    let output = control_plane().kubectl(&["kustomize", folder]);
    printed(output.unwrap_or_else(|error| panic!("{error}"))).map(|text| documents(&text))
}

/// Whether the program takes the arguments and the environment of a rendered Deployment: it gets as far as a
/// cluster that is not there.
pub fn program_takes(objects: &[Value]) -> Result<(), String> {
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment");
    let container = &at(deployment.unwrap(), "spec.template.spec.containers")[0];
    let list = |name: &str| container[name].as_array().unwrap().iter();
    let texts = |value: &Value| value.as_str().unwrap().to_owned();
    let given = list("env").filter(|variable| !variable["value"].is_null());
    let output = Command::new(env!("CARGO_BIN_EXE_hostup-operator"))
        .args(list("args").map(texts))
        .env_clear()
        .envs(given.map(|variable| (texts(&variable["name"]), texts(&variable["value"]))))
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(2) && said.contains("the cluster cannot be reached") {
        Ok(())
    } else {
        Err(format!("{}: {said}", output.status))
    }
}

/// The folder that `tests/checkers/build.sh` makes.
pub fn checkers() -> String {
    let built = Command::new("bash")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/checkers/build.sh"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "the lines above say why");
    String::from_utf8(built.stdout).unwrap().trim_end().to_owned()
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
    try_install(plane, &[]).unwrap_or_else(|error| panic!("{error}"));
}

/// Installs the chart with these arguments, or says why that cannot be done.
pub fn try_install(plane: &ControlPlane, args: &[&str]) -> Result<String, String> {
    let install = [
        "install",
        "hostup-operator",
        CHART,
        "--namespace=hostup-system",
        "--create-namespace",
    ];
    helm(plane, &[&install, args].concat())
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
