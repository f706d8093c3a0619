//! The CRDs as YAML, with the corrections that the derive cannot express.
// Works on the derive's own output, whose shape the tests hold.
#![allow(clippy::indexing_slicing)]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::budget::VpsBudget;
use super::config::VpsResourceConfig;
use super::operation::VpsOperation;
use super::restore::VpsBackupRestore;
use super::shared::EXACT;

/// Every CRD with its file name, in the order in which they are applied.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        (
            "vpsbackuprestores.yaml",
            corrected(&VpsBackupRestore::crd(), true),
        ),
        (
            "vpsresourceconfigs.yaml",
            corrected(&VpsResourceConfig::crd(), true),
        ),
        ("vpsoperations.yaml", corrected(&VpsOperation::crd(), false)),
        ("vpsbudgets.yaml", corrected(&VpsBudget::crd(), true)),
    ]
}

/// One CRD as a YAML document.
///
/// # Errors
/// When the value cannot be written as YAML, which a test excludes.
pub fn to_yaml(crd: &Value) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}

fn corrected(crd: &CustomResourceDefinition, awaited: bool) -> Value {
    let mut crd = serde_json::to_value(crd).unwrap_or_default();
    // Uninstalling a release must never remove the spending log.
    crd["metadata"]["annotations"] = json!({
        "argocd.argoproj.io/sync-options": "Prune=false",
        "helm.sh/resource-policy": "keep",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
    });
    if let Some(versions) = crd["spec"]["versions"].as_array_mut() {
        for version in versions {
            let schema = &mut version["schema"]["openAPIV3Schema"];
            plain_integers_and_no_nulls(schema);
            let status = &mut schema["properties"]["status"];
            if awaited {
                // On the object, not on the field: an absent status would pass Helm's and Flux's
                // wait at once.
                status["default"] = json!({"observedGeneration": -1});
            }
            if status["description"].is_null() {
                status["description"] = json!("The observed state. The operator writes it.");
            }
            bound_conditions(status);
        }
    }
    crd
}

/// The API server knows no `uint32`, and a nullable field would let `has()` be true of nothing.
fn plain_integers_and_no_nulls(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        object.remove("nullable");
        if object
            .get("format")
            .and_then(Value::as_str)
            .is_some_and(|f| f.starts_with("uint"))
        {
            object.remove("format");
        }
        for bound in ["minimum", "maximum"] {
            if let Some(whole) = object
                .get(bound)
                .and_then(Value::as_f64)
                .filter(|n| n.fract() == 0.0)
            {
                #[allow(clippy::cast_possible_truncation)]
                object.insert(bound.to_owned(), json!(whole as i64));
            }
        }
        object.values_mut().for_each(plain_integers_and_no_nulls);
    } else if let Some(list) = schema.as_array_mut() {
        list.iter_mut().for_each(plain_integers_and_no_nulls);
    }
}

/// The bounds that Kubernetes' own condition type has and the derive leaves out.
fn bound_conditions(status: &mut Value) {
    let condition = &mut status["properties"]["conditions"]["items"]["properties"];
    if condition.is_object() {
        condition["type"]["maxLength"] = json!(316);
        condition["reason"]["maxLength"] = json!(1024);
        condition["message"]["maxLength"] = json!(32768);
        condition["status"]["enum"] = json!(["True", "False", "Unknown"]);
        condition["observedGeneration"]["minimum"] = json!(0);
        condition["observedGeneration"]["maximum"] = json!(EXACT);
    }
}
