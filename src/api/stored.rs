//! An object as the API server has it: read whatever schema it was stored under, and without what nothing is decided
//! from. Its annotations, labels and managed fields may take a hundred times the room of the rest.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::shared::{HOLD, RECONCILE_REQUESTED};
use crate::domain::values::text::Text;

/// The annotation that `kubectl apply` writes with each change of the spec.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object, or why it cannot be read: one of a list breaks no list.
#[derive(Debug, Clone)]
pub struct Stored<K>(pub Result<K, Unreadable>);

/// An object that the types cannot read.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The path of the field, and what is wrong with it.
    pub why: String,
    /// Its status, as it is.
    pub status: Value,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Parts {
            api_version,
            kind,
            metadata,
            spec,
            status,
        } = Parts::deserialize(from)?;
        let metadata = serde_json::to_value(metadata).map_err(D::Error::custom)?;
        let mut parts = Map::new();
        parts.insert("apiVersion".to_owned(), api_version.into());
        parts.insert("kind".to_owned(), kind.into());
        parts.insert("metadata".to_owned(), metadata);
        parts.insert("spec".to_owned(), spec);
        if !status.is_null() {
            parts.insert("status".to_owned(), status);
        }
        let whole = Value::Object(parts);
        if let Ok(object) = K::deserialize(&whole) {
            return Ok(Self(Ok(object)));
        }
        // Once more for the path of the field: to keep the path costs as much as to read.
        let why = match serde_path_to_error::deserialize(&whole) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => Text::new(&error.to_string()).to_string(),
        };
        let part = |name: &str| whole.get(name).cloned().unwrap_or_default();
        Ok(Self(Err(Unreadable {
            metadata: serde_json::from_value(part("metadata")).map_err(D::Error::custom)?,
            why,
            status: part("status"),
        })))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parts {
    api_version: String,
    kind: String,
    metadata: Kept,
    spec: Value,
    status: Value,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Kept {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<Digest>,
}

/// Annotations whose values are asked for, and the most of each that is kept.
const ASKED_FOR: [&str; 2] = [HOLD, RECONCILE_REQUESTED];
const MOST_OF_A_VALUE: usize = 200;

/// The other annotations are only asked whether they changed: one stands for all, with their hash.
#[derive(Serialize)]
#[serde(transparent)]
struct Digest(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Annotations;

        impl<'de> Visitor<'de> for Annotations {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Digest, A::Error> {
                // The API server sorts them.
                let mut hasher = DefaultHasher::new();
                let mut kept = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if ASKED_FOR.contains(&key.as_str()) {
                        // As it is: ` false` holds too.
                        kept.insert(key.clone(), value.chars().take(MOST_OF_A_VALUE).collect());
                    }
                    if key != LAST_APPLIED {
                        (key, value).hash(&mut hasher);
                    }
                }
                let hash = format!("{:016x}", hasher.finish());
                kept.insert("hash".to_owned(), hash);
                Ok(Digest(kept))
            }
        }

        from.deserialize_map(Annotations)
    }
}

impl<K: Resource> Resource for Stored<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0
            .as_ref()
            .map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0
            .as_mut()
            .map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::PartialObjectMeta;
    use serde_json::json;

    use super::*;
    use crate::api::config::VpsResourceConfig;

    fn stored(annotations: Value, extra: Value) -> Stored<VpsResourceConfig> {
        let object = json!({
            "apiVersion": "vps.hostup.se/v1alpha1", "kind": "VpsResourceConfig",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "generation": 3, "resourceVersion": "7",
                "creationTimestamp": "2026-11-23T00:00:00Z", "annotations": annotations,
                "labels": {"a": "b"}, "finalizers": ["c/d"], "managedFields": [{"manager": "m"}],
            },
            "spec": {"vpsId": "vps_a", "resources": {"extra": extra}},
            "status": {"observedGeneration": 2},
        });
        serde_json::from_str(&object.to_string()).unwrap()
    }

    #[test]
    fn what_nothing_is_decided_from_is_not_kept() {
        let object = stored(json!({"a": "x".repeat(1000)}), json!({"gpu": 1}))
            .0
            .unwrap();
        let kept = &object.metadata;
        assert_eq!((kept.name.as_deref(), kept.generation), (Some("web"), Some(3)));
        assert!(kept.labels.is_none() && kept.finalizers.is_none() && kept.managed_fields.is_none());
        assert!(serde_json::to_string(kept).unwrap().len() < 300);
        let bare: Stored<PartialObjectMeta<VpsResourceConfig>> =
            serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap();
        assert_eq!(bare.meta().uid.as_deref(), Some("u"));
    }

    #[test]
    fn a_hold_and_a_request_for_a_look_are_kept() {
        let given = json!({HOLD: " false", RECONCILE_REQUESTED: "now", "a": "b"});
        let object = stored(given, json!({})).0.unwrap();
        let kept = object.metadata.annotations.unwrap();
        assert_eq!(kept.get(HOLD).map(String::as_str), Some(" false"));
        assert_eq!(kept.get(RECONCILE_REQUESTED).map(String::as_str), Some("now"));
        assert_eq!((kept.len(), kept.contains_key("a")), (3, false));
    }

    #[test]
    fn a_change_of_annotations_is_seen_but_for_that_of_the_last_applied() {
        let of = |annotations| stored(annotations, json!({})).meta().annotations.clone();
        let one = of(json!({"a": "1"}));
        assert_eq!(one, of(json!({"a": "1", LAST_APPLIED: "{}"})));
        for other in [
            json!({"a": "2"}),
            json!({"b": "1"}),
            json!({"a": "1", "b": ""}),
            json!({}),
            Value::Null,
        ] {
            assert_ne!(one, of(other.clone()), "{other}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_path() {
        let unreadable = stored(json!({}), json!({"gpu": 3_000_000_000_u32}))
            .0
            .unwrap_err();
        assert!(
            unreadable.why.starts_with("spec.resources.extra.gpu: "),
            "{}",
            unreadable.why
        );
        assert_eq!(unreadable.metadata.name.as_deref(), Some("web"));
        assert_eq!(unreadable.status["observedGeneration"], 2);
    }
}
