//! Which events of a watch bring something to look at: another object, spec or annotation. A status write of our own does
//! not.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

/// Namespace and name.
type Place = (String, String);

/// What was shown of each object. One that a list does not show is forgotten, for a list may come from a server that lags
/// behind: what comes back after it is news again.
#[derive(Default)]
pub struct News {
    shown: HashMap<Place, u64>,
    /// By the list that has begun: it counts once it has ended, for nobody looks before.
    listed: HashMap<Place, u64>,
}

impl News {
    /// Whether an event shows another object, spec or annotation than was shown before; what shows none always passes.
    pub fn brings<K: Resource>(&mut self, event: &Event<K>) -> bool {
        match event {
            Event::Init => {
                self.listed.clear();
                true
            }
            Event::InitApply(object) => {
                let edition = edition(object);
                let is_new = self.shown.get(&place(object)) != Some(&edition);
                self.listed.insert(place(object), edition);
                is_new
            }
            Event::InitDone => {
                self.shown = std::mem::take(&mut self.listed);
                true
            }
            Event::Apply(object) => {
                let edition = edition(object);
                self.shown.insert(place(object), edition) != Some(edition)
            }
            Event::Delete(object) => {
                self.shown.remove(&place(object));
                true
            }
        }
    }
}

fn place<K: Resource>(object: &K) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn edition<K: Resource>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    let meta = object.meta();
    (&meta.uid, &meta.generation, &meta.annotations).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn object(name: &str, generation: i64) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("shop".to_owned()),
                uid: Some("uid-1".to_owned()),
                generation: Some(generation),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    #[test]
    fn only_another_spec_object_or_annotation_is_news() {
        let mut news = News::default();
        let mut annotated = object("web", 2);
        annotated.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        let mut replaced = annotated.clone();
        replaced.metadata.uid = Some("uid-2".to_owned());
        let mut version = replaced.clone();
        version.metadata.resource_version = Some("7".to_owned());
        for (what, object, is_news) in [
            ("new", object("web", 1), true),
            ("a status", object("web", 1), false),
            ("a spec", object("web", 2), true),
            ("an annotation", annotated, true),
            ("made anew", replaced, true),
            ("another version", version, false),
        ] {
            assert_eq!(news.brings(&Event::Apply(object)), is_news, "{what}");
        }
    }

    #[test]
    fn what_a_list_that_lags_behind_does_not_show_is_news_when_it_comes_back() {
        let mut news = News::default();
        assert!(news.brings(&Event::Apply(object("web", 1))));
        assert!(news.brings(&Event::Apply(object("db", 1))));
        assert!(news.brings::<ConfigMap>(&Event::Init));
        assert!(!news.brings(&Event::InitApply(object("db", 1))));
        assert!(news.brings::<ConfigMap>(&Event::InitDone));
        assert!(news.brings(&Event::Apply(object("web", 1))));
        assert!(!news.brings(&Event::Apply(object("db", 1))));
        assert!(news.brings(&Event::Delete(object("db", 1))));
        assert!(news.brings(&Event::Apply(object("db", 1))));
    }

    #[test]
    fn what_a_list_that_breaks_off_has_shown_is_news_still() {
        let mut news = News::default();
        assert!(news.brings::<ConfigMap>(&Event::Init));
        assert!(news.brings(&Event::InitApply(object("web", 1))));
        assert!(news.brings::<ConfigMap>(&Event::Init));
        assert!(news.brings(&Event::InitApply(object("web", 1))));
        assert!(news.brings::<ConfigMap>(&Event::InitDone));
        assert!(!news.brings(&Event::Apply(object("web", 1))));
    }
}
