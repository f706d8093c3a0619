//! The committed CRDs are those of the types.

use std::path::Path;

use hostup_operator::api::crds;

#[test]
fn the_committed_crds_are_those_of_the_types() {
    // A chart can hold no files but its own.
    for folder in ["crds", "charts/hostup-operator/files/crds"] {
        committed_in(folder);
    }
}

fn committed_in(folder: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    #[allow(clippy::disallowed_methods)]
    let update = std::env::var("UPDATE_CRDS").is_ok();
    for (file, crd) in crds::all() {
        let generated = crds::to_yaml(&crd).unwrap();
        if update {
            std::fs::write(path.join(file), &generated).unwrap();
        }
        let committed = std::fs::read_to_string(path.join(file)).unwrap_or_default();
        assert!(
            committed == generated,
            "{folder}/{file} is not what the types say; run `make crds`"
        );
    }
}

#[test]
fn kustomize_installs_every_crd() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/hostup-operator/files/crds/kustomization.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let listed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .collect();
    let all: Vec<&str> = crds::all().iter().map(|(file, _)| *file).collect();
    assert_eq!(listed, all);
}

#[test]
fn every_crd_is_small_enough_for_client_side_apply() {
    for (file, crd) in crds::all() {
        let size = serde_json::to_string(&crd).unwrap().len();
        assert!(size < 200 * 1024, "{file} has {size} bytes");
    }
}

#[test]
fn every_field_is_described() {
    fn undescribed(path: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            for (name, child) in properties {
                let path = format!("{path}.{name}");
                if child["description"].as_str().is_none_or(str::is_empty) {
                    found.push(path.clone());
                }
                undescribed(&path, child, found);
            }
        }
        if schema["items"].is_object() {
            undescribed(&format!("{path}[]"), &schema["items"], found);
        }
    }
    let mut found = Vec::new();
    for (file, crd) in crds::all() {
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            undescribed(&format!("{file} {part}"), &schema["properties"][part], &mut found);
        }
    }
    assert_eq!(found, Vec::<String>::new());
}
