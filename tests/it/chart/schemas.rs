//! What the chart renders, and the examples, have only the fields of their kinds, in the oldest and the newest
//! Kubernetes.

use std::path::Path;
use std::process::Command;

use hostup_operator::api::crds;
use serde_json::{Value, json};

use super::VARIANTS;
use crate::support::chart::{CHART, checkers, documents, render};
use crate::support::examples;

/// Where this project is.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A schema of a kind as one that takes no other field, as the API server's strict validation does.
fn closed(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for member in members.values_mut() {
                closed(member);
            }
            if members.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
                members.remove("type");
                members.insert("type".to_owned(), json!(["integer", "string"]));
            }
            let open = members.contains_key("x-kubernetes-preserve-unknown-fields");
            if members.get("type") == Some(&json!("object")) && members.contains_key("properties") && !open {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(closed),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Writes the schemas of our kinds where kubeconform looks for them.
fn write_own(folder: &Path) {
    for (_, crd) in crds::all() {
        let spec = &crd["spec"];
        let version = &spec["versions"][0];
        let mut schema = version["schema"]["openAPIV3Schema"].clone();
        for (field, kind) in [
            ("apiVersion", "string"),
            ("kind", "string"),
            ("metadata", "object"),
        ] {
            schema["properties"][field] = json!({ "type": kind });
        }
        closed(&mut schema);
        let word = |value: &Value| value.as_str().unwrap().to_lowercase();
        let name = format!(
            "{}_{}_{}.json",
            word(&spec["names"]["kind"]),
            word(&spec["group"]),
            word(&version["name"])
        );
        std::fs::write(folder.join(name), schema.to_string()).unwrap();
    }
}

/// What kubeconform finds in the files of a folder.
fn checked(checkers: &str, minor: &str, own: &Path, files: &Path) -> Value {
    let output = Command::new(format!("{checkers}/bin/kubeconform"))
        .args(["-strict", "-summary", "-output=json"])
        .args([
            "-schema-location",
            &format!("{checkers}/schemas/{minor}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"),
        ])
        .args([
            "-schema-location",
            &format!(
                "{}/{{{{.ResourceKind}}}}_{{{{.Group}}}}_{{{{.ResourceAPIVersion}}}}.json",
                own.display()
            ),
        ])
        .args([
            "-schema-location",
            &format!("{ROOT}/tests/checkers/{{{{.Group}}}}/{{{{.ResourceKind}}}}.json"),
        ])
        .arg(files)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn every_variant_and_every_example_has_only_fields_of_its_kind() {
    let checkers = checkers();
    let own = tempfile::tempdir().unwrap();
    write_own(own.path());
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, objects: &[Value]| {
        let text: String = objects
            .iter()
            .map(|object| format!("---\n{}", serde_saphyr::to_string(object).unwrap()))
            .collect();
        std::fs::write(files.path().join(format!("{name}.yaml")), text).unwrap();
        objects.len()
    };
    let mut objects = 0;
    for (name, args) in VARIANTS {
        objects += write(name, &render(args));
    }
    for (name, text) in examples() {
        objects += write(&name, &documents(&text));
    }
    let minors = minors(&checkers);
    assert_eq!(minors.len(), 2);
    for minor in &minors {
        let found = checked(&checkers, minor, own.path(), files.path());
        let wrong = found["resources"].as_array().unwrap();
        assert!(wrong.is_empty(), "Kubernetes {minor}: {wrong:#?}");
        assert_eq!(
            found["summary"],
            json!({"valid": objects, "invalid": 0, "errors": 0, "skipped": 0}),
            "Kubernetes {minor}"
        );
        // And a field too many is seen, in a kind of Kubernetes' own and in one of ours.
        for (kind, mut objects) in [("Deployment", render(&[])), ("VpsBackupRestore", example())] {
            let object = objects.iter_mut().find(|object| object["kind"] == kind).unwrap();
            object["spec"]["suspended"] = json!(true);
            let wrong = tempfile::tempdir().unwrap();
            std::fs::write(wrong.path().join("wrong.yaml"), object.to_string()).unwrap();
            let found = checked(&checkers, minor, own.path(), wrong.path());
            assert_eq!(found["summary"]["invalid"], 1, "{kind} of {minor}: {found}");
        }
    }
}

/// The minors of Kubernetes that there are schemas of.
fn minors(checkers: &str) -> Vec<String> {
    let folders = std::fs::read_dir(format!("{checkers}/schemas")).unwrap();
    let mut minors: Vec<_> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    minors.sort();
    minors
}

#[test]
fn the_oldest_kubernetes_that_the_chart_allows_is_the_one_that_is_tested_and_documented() {
    let oldest = &minors(&checkers())[0];
    let chart = std::fs::read_to_string(format!("{CHART}/Chart.yaml")).unwrap();
    let line = format!("kubeVersion: \">={oldest}.0-0\"\n");
    assert!(
        chart.contains(&line),
        "Chart.yaml and tests/checkers/schemas.py differ: no {line}"
    );
    let read = |name: &str| std::fs::read_to_string(format!("{ROOT}/{name}")).unwrap();
    let built = read("tests/ecosystem/tools/kubernetes-oldest/go.mod");
    assert!(
        built.contains(&format!("require k8s.io/kubernetes v{oldest}.")),
        "`make oldest` builds another minor than {oldest}"
    );
    for (document, words) in [
        ("README.md", format!("needs {oldest} or newer")),
        ("docs/install.md", format!("Kubernetes {oldest} or newer")),
        ("docs/upgrade.md", format!("{oldest} or newer")),
    ] {
        assert!(
            read(document).contains(&words),
            "{document} does not say {words:?}"
        );
    }
}

fn example() -> Vec<Value> {
    documents(&std::fs::read_to_string(format!("{ROOT}/examples/restore-preview.yaml")).unwrap())
}
