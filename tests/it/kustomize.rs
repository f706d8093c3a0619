//! The manifests for those who use no Helm are what the chart renders.

use std::process::Command;

use control_plane::User;
use hostup_operator::api::crds;
use serde_json::Value;

use crate::support::chart::{as_user, checkers, documents, render, tried};
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
        assert_eq!(kinds.count(), crds::all().len(), "{overlay}");
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

/// What a kustomize builds where every name gets another beginning and another end.
fn renamed(kustomize: &mut Command) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["base", "overlay", "overlay-of-it"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    for file in std::fs::read_dir(path("deploy/kustomize/base")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join("base").join(file.file_name())).unwrap();
    }
    for (name, of, renames) in [
        ("overlay", "base", "namePrefix: acme-"),
        ("overlay-of-it", "overlay", "nameSuffix: -eu"),
    ] {
        let text = format!("resources: [../{of}]\n{renames}\n");
        std::fs::write(folder.path().join(name).join("kustomization.yaml"), text).unwrap();
    }
    let output = kustomize
        .arg(folder.path().join("overlay-of-it"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    documents(&String::from_utf8_lossy(&output.stdout))
}

/// A binding that names no policy binds nothing, and anybody may approve.
#[test]
fn under_other_names_every_binding_still_names_its_policy_and_its_role_with_an_old_kustomize_too() {
    let plane = control_plane();
    let mut current = plane.kubectl_command(&plane.kubeconfig(User::Admin));
    current.arg("kustomize");
    let mut old = Command::new(format!("{}/bin/kustomize", checkers()));
    old.arg("build");
    for (which, kustomize) in [("current", &mut current), ("old", &mut old)] {
        let objects = renamed(kustomize);
        let names_of = |kind: &str| -> Vec<&Value> {
            let found = objects.iter().filter(|object| object["kind"] == kind);
            found.map(|object| at(object, "metadata.name")).collect()
        };
        let mut named = 0;
        for (kind, reference, of_kind) in [
            (
                "ValidatingAdmissionPolicyBinding",
                "spec.policyName",
                "ValidatingAdmissionPolicy",
            ),
            ("ClusterRoleBinding", "roleRef.name", "ClusterRole"),
            ("RoleBinding", "roleRef.name", "Role"),
            (
                "Deployment",
                "spec.template.spec.serviceAccountName",
                "ServiceAccount",
            ),
        ] {
            for object in objects.iter().filter(|object| object["kind"] == kind) {
                let name = at(object, reference);
                assert!(names_of(of_kind).contains(&name), "{which}: {kind} names {name}");
                assert!(name.as_str().unwrap().starts_with("acme-"), "{which}: {name}");
                named += 1;
            }
        }
        assert_eq!(named, 6, "{which}");
    }
}
