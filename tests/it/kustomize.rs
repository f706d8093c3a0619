//! The manifests for those who use no Helm are what the chart renders.

use control_plane::User;
use serde_json::Value;

use crate::support::chart::{as_user, documents, render, tried};
use crate::support::{at, control_plane};

fn path(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What the chart renders, without the labels that say that Helm keeps it.
fn rendered(args: &[&str]) -> String {
    let documents = render(args).into_iter().map(|mut object| {
        for place in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(labels) = object.pointer_mut(place).and_then(Value::as_object_mut) {
                labels.remove("app.kubernetes.io/managed-by");
                labels.remove("helm.sh/chart");
            }
        }
        format!("---\n{}", serde_saphyr::to_string(&object).unwrap())
    });
    documents.collect()
}

#[test]
fn the_committed_manifests_are_what_the_chart_renders() {
    let update = std::env::var("UPDATE_MANIFESTS").is_ok();
    let namespace = std::fs::read_to_string(path("deploy/kustomize/base/namespace.yaml")).unwrap();
    let how = "# Rendered from charts/hostup-operator: `make manifests`.\n";
    for (file, text) in [
        (
            "deploy/kustomize/base/operator.yaml",
            rendered(&["--set=crds.enabled=false"]),
        ),
        (
            "deploy/install.yaml",
            format!("---\n{namespace}{}", rendered(&[])),
        ),
    ] {
        let text = format!("{how}{text}");
        if update {
            std::fs::write(path(file), &text).unwrap();
        }
        let committed = std::fs::read_to_string(path(file)).unwrap_or_default();
        assert!(
            committed == text,
            "{file} is not what the chart renders; run `make manifests`"
        );
    }
}

/// The objects that kubectl builds from a folder.
fn built(folder: &str) -> Vec<Value> {
    let text = control_plane().kubectl_ok(&["kustomize", &path(folder)]).unwrap();
    documents(&text)
}

#[test]
fn every_overlay_builds_and_the_api_server_takes_it() {
    let mut names = Vec::new();
    for overlay in std::fs::read_dir(path("deploy/kustomize/overlays")).unwrap() {
        let overlay = overlay.unwrap().file_name().into_string().unwrap();
        let objects = built(&format!("deploy/kustomize/overlays/{overlay}"));
        for object in &objects {
            let taken = tried(object);
            assert!(taken.is_ok(), "{overlay}: {taken:?}");
        }
        let kinds = objects
            .iter()
            .filter(|object| object["kind"] == "CustomResourceDefinition");
        assert_eq!(kinds.count(), 3, "{overlay}");
        let deployment = objects
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap();
        let args = at(deployment, "spec.template.spec.containers")[0]["args"].to_string();
        assert_eq!(args.contains("--read-only"), overlay == "read-only", "{args}");
        names.push(overlay);
    }
    names.sort();
    assert_eq!(names, ["default", "read-only"]);
    let install = path("deploy/install.yaml");
    let dry = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "-f",
        &install,
    ];
    let taken = as_user(control_plane(), User::Admin, &dry, None);
    assert!(
        taken
            .as_ref()
            .is_ok_and(|text| text.contains("deployment.apps/hostup-operator")),
        "{taken:?}"
    );
}
