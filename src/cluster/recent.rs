//! Objects as this process read or wrote them last. Enough to show how things stand; a decision to pay rests on etcd.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::api;
use crate::clock::Clock;
use crate::domain::values::moment::Moment;

/// What is older is read again, whatever a watch shows.
pub const LASTS: Duration = Duration::from_secs(15);
/// Objects kept; the one that was put first makes room for another.
const KEPT: usize = 1024;
/// Versions of one object that are remembered.
const VERSIONS: usize = 16;

/// Where an object is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// What is known of it serves, while no watch shows that it has changed.
    Known,
    /// etcd.
    Etcd,
}

/// Objects of one kind.
pub struct Recent<K> {
    entries: Mutex<HashMap<Place, Entry<K>>>,
    clock: Clock,
}

/// Namespace and name.
type Place = (String, String);

struct Entry<K> {
    object: Arc<K>,
    /// Every version that this process has seen itself; the last one is the object's.
    versions: Vec<String>,
    at: Moment,
}

impl<K> Entry<K> {
    /// Whether this process has seen that version itself.
    fn has_seen(&self, version: &str) -> bool {
        self.versions.iter().any(|seen| seen == version)
    }
}

impl<K: Resource> Recent<K> {
    /// None yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            entries: Mutex::default(),
            clock,
        }
    }

    /// Keeps an object that was just read from etcd, or that etcd has just taken.
    pub fn put(&self, mut object: K) {
        let meta = object.meta();
        let (Some(name), Some(version)) = (meta.name.clone(), meta.resource_version.clone()) else {
            return;
        };
        let place = (meta.namespace.clone().unwrap_or_default(), name);
        let now = self.clock.now();
        let mut entries = self.lock();
        let mut versions = match entries.remove(&place) {
            Some(known) if known.object.meta().uid == meta.uid => {
                let is_overtaken = known.has_seen(&version) && known.versions.last() != Some(&version);
                if is_overtaken {
                    entries.insert(place, known);
                    return;
                }
                known.versions
            }
            Some(_) | None => Vec::new(),
        };
        if entries.len() >= KEPT {
            let first = entries.iter().min_by_key(|(_, entry)| entry.at.monotonic);
            if let Some(first) = first.map(|(first, _)| first.clone()) {
                entries.remove(&first);
            }
        }
        if versions.last() != Some(&version) {
            versions.push(version);
        }
        if versions.len() > VERSIONS {
            versions.remove(0);
        }
        *object.meta_mut() = asked_for(object.meta());
        let entry = Entry {
            object: Arc::new(object),
            versions,
            at: now,
        };
        entries.insert(place, entry);
    }

    /// The object, if a watch that shows `seen` of it shows nothing that this process has not seen itself.
    pub fn get(&self, namespace: &str, name: &str, seen: Option<&str>) -> Option<Arc<K>> {
        let entries = self.lock();
        let entry = entries.get(&(namespace.to_owned(), name.to_owned()))?;
        let is_known = seen.is_none_or(|seen| entry.has_seen(seen));
        let lasts = self.clock.now().since(&entry.at) <= LASTS;
        (is_known && lasts).then(|| entry.object.clone())
    }

    /// A watch shows this version. One that this process has not seen makes what is known old.
    pub fn shown(&self, object: &impl Resource) {
        let meta = object.meta();
        let place = (
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        );
        let mut entries = self.lock();
        let version = meta.resource_version.as_deref();
        let is_news = |entry: &Entry<K>| !version.is_some_and(|version| entry.has_seen(version));
        if entries.get(&place).is_some_and(is_news) {
            entries.remove(&place);
        }
    }

    /// It is gone, or somebody else has written it.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Forgets what would not be used any more.
    pub fn forget_old(&self) {
        let now = self.clock.now();
        let mut entries = self.lock();
        entries.retain(|_, entry| now.since(&entry.at) <= LASTS);
        entries.shrink_to_fit();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Entry<K>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of the metadata anything is decided from.
fn asked_for(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        generation: meta.generation,
        creation_timestamp: meta.creation_timestamp.clone(),
        deletion_timestamp: meta.deletion_timestamp.clone(),
        annotations: meta.annotations.as_ref().map(|all| {
            let asked = [api::HOLD, api::RECONCILE_REQUESTED];
            let asked = asked.iter().filter_map(|name| all.get_key_value(*name));
            asked.map(|(name, value)| (name.clone(), value.clone())).collect()
        }),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(uid: &str, version: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some("web".to_owned()),
                namespace: Some("shop".to_owned()),
                uid: Some(uid.to_owned()),
                resource_version: Some(version.to_owned()),
                finalizers: Some(vec!["example.com/kept".to_owned()]),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    #[test]
    fn what_was_read_or_written_last_serves_while_a_watch_shows_nothing_new() {
        let recent = Recent::new(Clock::of_the_machine());
        let version = |seen: Option<&str>| {
            let object: Option<Arc<ConfigMap>> = recent.get("shop", "web", seen);
            object.map(|object| object.metadata.resource_version.clone().unwrap())
        };
        recent.put(object("a", "5"));
        recent.put(object("a", "7"));
        for seen in [None, Some("5"), Some("7")] {
            assert_eq!(version(seen).as_deref(), Some("7"), "{seen:?}");
        }
        assert_eq!(version(Some("6")), None);
        assert_eq!(recent.get("shop", "web", None).unwrap().metadata.finalizers, None);
        recent.put(object("a", "5"));
        assert_eq!(version(None).as_deref(), Some("7"), "an answer that came late");
        recent.shown(&object("a", "5"));
        assert_eq!(version(None).as_deref(), Some("7"));
        recent.shown(&object("a", "8"));
        assert_eq!(version(None), None);
        recent.put(object("a", "8"));
        recent.put(object("b", "9"));
        assert_eq!(version(Some("8")), None, "an object of another uid");
        recent.forget("shop", "web");
        assert_eq!(version(None), None);
    }
}
