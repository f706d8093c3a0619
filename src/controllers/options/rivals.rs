//! Objects that want the options of the same VPS: the oldest whose key has read it is responsible.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::api::conditions;
use crate::api::config::VpsResourceConfig;
use crate::api::stored::Stored;
use crate::domain::ledger::record::later;
use crate::domain::options::Rival;
use crate::domain::status::reason::{Reason, Standing};
use crate::domain::values::ids::Uid;

/// How long an older object is waited for that nobody could look at.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many objects are woken by a change of another one.
const MOST_WOKEN: usize = 16;
/// The wait for lists at the start.
const MOST_WAIT: Duration = Duration::from_secs(30);

/// An object as it is watched: one that cannot be read breaks no list.
pub type Watched = Stored<VpsResourceConfig>;

/// What a watch has shown last of an object: its VPS, and whether its key reads it.
type Noted = (Option<String>, ReadBy);

/// All objects of this process, by what a watch shows of them.
#[derive(Default)]
pub struct Rivals {
    stores: Mutex<Vec<Store<Watched>>>,
    noted: Mutex<HashMap<String, Noted>>,
    listed: OnceCell<()>,
}

impl Rivals {
    /// Adds what one more watch keeps.
    pub fn add(&self, store: Store<Watched>) {
        self.lock().push(store);
    }

    /// Waits until every watch has listed its objects, once and not for one that cannot.
    pub async fn ready(&self) {
        let list = || async {
            let stores = self.lock().clone();
            let all = future::join_all(stores.iter().map(Store::wait_until_ready));
            if tokio::time::timeout(MOST_WAIT, all).await.is_err() {
                tracing::warn!("some VpsResourceConfigs cannot be listed; continuing without them");
            }
        };
        self.listed.get_or_init(list).await;
    }

    /// Whether an older object comes first. One whose key has read the VPS does; one whose key could not is nobody, or
    /// anybody could claim another one's VPS by name; one that nobody has looked at yet is waited for. `ordered` is the
    /// object of the chain's last record: nothing is ordered with a key that did not read it, and the status may say
    /// so only later.
    pub fn standing(&self, object: &VpsResourceConfig, ordered: Option<&Uid>) -> Rival {
        let standing = |other: &VpsResourceConfig| {
            let is_there = other.metadata.deletion_timestamp.is_none();
            if !is_there || !is_older(other, object, ordered) {
                return Rival::None;
            }
            let unseen = Rival::Unseen {
                until: later(made(other).max(made(object)), PATIENCE),
            };
            if wants_one_vps(other, object) {
                return match read_by(other) {
                    _ if has_ordered(other, ordered) => Rival::Responsible,
                    ReadBy::ItsKey => Rival::Responsible,
                    ReadBy::NotItsKey => Rival::None,
                    ReadBy::Nobody => unseen,
                };
            }
            // Its name may turn out to be that of the same VPS.
            let is_unresolved = other.spec.vps_name.is_some() && other.vps().is_none();
            if is_unresolved && other.metadata.namespace == object.metadata.namespace {
                unseen
            } else {
                Rival::None
            }
        };
        let all = self.all();
        readable(&all).map(standing).max().unwrap_or(Rival::None)
    }

    /// What the watch shows of an object has changed; whether that matters to the others that want its VPS.
    pub fn note(&self, object: &VpsResourceConfig) -> bool {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let now = (object.vps().map(str::to_owned), read_by(object));
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = noted.insert(uid, now.clone());
        // That nobody knows any more lets no other go ahead. Two replicas that see a record differently would else wake each
        // other with every write.
        let is_alike = |before: (Option<String>, ReadBy)| {
            before.0 == now.0 && [before.1, ReadBy::Nobody].contains(&now.1)
        };
        !before.is_some_and(is_alike)
    }

    /// An object is gone.
    pub fn forget(&self, object: &VpsResourceConfig) {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.remove(&uid);
    }

    /// The younger objects that want the same VPS, by namespace and name: a change of `object` may matter to them. At most
    /// `MOST_WOKEN`, the oldest first; the operator looks at the others every 15 minutes anyway, because they are stalled.
    pub fn next_in_line(&self, object: &VpsResourceConfig) -> Vec<(String, String)> {
        let all = self.all();
        let mut younger: Vec<&VpsResourceConfig> = readable(&all)
            .filter(|other| wants_one_vps(other, object) && made(other) >= made(object))
            .collect();
        younger.sort_unstable_by_key(|other| made(other));
        younger.truncate(MOST_WOKEN);
        let place = |other: &VpsResourceConfig| (other.namespace().unwrap_or_default(), other.name_any());
        younger.into_iter().map(place).collect()
    }

    fn all(&self) -> Vec<Arc<Watched>> {
        let stores = self.lock();
        stores.iter().flat_map(Store::state).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Store<Watched>>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn readable(all: &[Arc<Watched>]) -> impl Iterator<Item = &VpsResourceConfig> {
    all.iter().filter_map(|object| object.0.as_ref().ok())
}

/// Whether the two are different objects for the options of one VPS. An order of the older route is no lasting wish; its
/// records alone keep it from others. Nor is anything ordered for a name before it is resolved.
fn wants_one_vps(one: &VpsResourceConfig, other: &VpsResourceConfig) -> bool {
    one.vps().is_some() && one.vps() == other.vps() && one.metadata.uid != other.metadata.uid
}

/// Whether an object's own key has read the VPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadBy {
    /// It has: the status shows options only then.
    ItsKey,
    /// It does not read it, or is not to.
    NotItsKey,
    /// It has not been tried, or HostUp did not answer.
    Nobody,
}

fn read_by(object: &VpsResourceConfig) -> ReadBy {
    let Some(status) = &object.status else {
        return ReadBy::Nobody;
    };
    if !status.current.is_empty() {
        return ReadBy::ItsKey;
    }
    let ready = conditions::find(&status.conditions, "Ready").map(|ready| ready.reason.as_str());
    let reason = Reason::ALL.iter().find(|reason| Some(reason.as_str()) == ready);
    match reason.map(|reason| reason.standing()) {
        None | Some(Standing::Progressing) => ReadBy::Nobody,
        Some(Standing::Done | Standing::Waiting | Standing::Stalled) => ReadBy::NotItsKey,
    }
}

/// Of two that were made in one second the one that has ordered comes first, else the uid decides.
fn is_older(other: &VpsResourceConfig, this: &VpsResourceConfig, ordered: Option<&Uid>) -> bool {
    let rank = |object: &VpsResourceConfig| {
        (
            made(object),
            !has_ordered(object, ordered),
            object.metadata.uid.clone(),
        )
    };
    rank(other) < rank(this)
}

fn has_ordered(object: &VpsResourceConfig, ordered: Option<&Uid>) -> bool {
    let uid = object.metadata.uid.as_deref();
    ordered.is_some_and(|ordered| uid == Some(ordered.as_str()))
}

fn made(object: &VpsResourceConfig) -> Timestamp {
    object.creation_timestamp().map_or(Timestamp::MIN, |made| made.0)
}

/// Drops what nobody is asked for, before the object is kept.
pub fn prune(object: &mut Watched) {
    let object = match &mut object.0 {
        Ok(object) => object,
        Err(unreadable) => {
            unreadable.status = Value::Null;
            return;
        }
    };
    // A look reads the object itself; this one is only held against others that want its VPS.
    object.spec.resources = None;
    object.spec.legacy = None;
    object.spec.approval = None;
    if let Some(status) = &mut object.status {
        while status.current.len() > 1 {
            status.current.pop_last();
        }
        status.conditions.retain(|condition| condition.type_ == "Ready");
        status.gates = Vec::new();
        status.quote = None;
        status.invoice = None;
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    fn object(uid: &str, second: u32, status: &Value) -> VpsResourceConfig {
        let object = json!({
            "apiVersion": "vps.hostup.se/v1alpha1",
            "kind": "VpsResourceConfig",
            "metadata": {
                "name": uid, "namespace": "shop", "uid": uid,
                "creationTimestamp": format!("2026-11-20T10:00:{second:02}Z"),
            },
            "spec": {
                "vpsId": "vps_1", "resources": {"bandwidthGb": 4096}, "credentialsSecretRef": {"name": "hostup-api"},
            },
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn ready(reason: &str) -> Value {
        let condition = json!({
            "type": "Ready", "status": "False", "reason": reason, "message": "",
            "lastTransitionTime": "2026-11-20T10:00:00Z", "observedGeneration": 1,
        });
        json!({"observedGeneration": 1, "conditions": [condition]})
    }

    #[test]
    fn an_older_object_comes_first_where_its_key_read_the_vps_and_is_waited_for_where_nobody_knows() {
        let mut shown = ready("AwaitingApproval");
        shown["current"] = json!({"bandwidthGb": "2048"});
        let until = "2026-11-20T10:01:05Z".parse().unwrap();
        let (none, unseen, responsible) = (Rival::None, Rival::Unseen { until }, Rival::Responsible);
        let rows = [
            ("nobody has looked", Value::Null, unseen, responsible),
            (
                "HostUp did not answer",
                ready("ProviderUnavailable"),
                unseen,
                responsible,
            ),
            ("it is looked at", ready("Reconciling"), unseen, responsible),
            ("its key is refused", ready("Unauthorized"), none, responsible),
            ("its key read it", shown, responsible, responsible),
        ];
        for (what, status, alone, with_an_order) in rows {
            for (other, is_older) in [(object("a", 1, &status), true), (object("a", 9, &status), false)] {
                let (reader, mut writer) = store();
                writer.apply_watcher_event(&Event::Apply(Stored(Ok(other))));
                let rivals = Rivals::default();
                rivals.add(reader);
                let this = object("b", 5, &Value::Null);
                let standing = |ordered: Option<&str>| rivals.standing(&this, ordered.map(Uid::new).as_ref());
                let expected = if is_older {
                    [alone, alone, with_an_order]
                } else {
                    [none; 3]
                };
                let seen = [None, Some("b"), Some("a")].map(standing);
                assert_eq!(seen, expected, "{what}, older: {is_older}");
            }
        }
    }

    #[test]
    fn a_change_of_an_object_wakes_a_few_younger_ones_and_none_that_is_older() {
        let (reader, mut writer) = store();
        for n in 0..50 {
            let mut other = object(&format!("u{n:02}"), n, &Value::Null);
            if n == 32 {
                other.spec.vps_id = Some("vps_2".to_owned());
            }
            writer.apply_watcher_event(&Event::Apply(Stored(Ok(other))));
        }
        let rivals = Rivals::default();
        rivals.add(reader);
        let woken = |second| rivals.next_in_line(&object("u30", second, &Value::Null));
        let expected: Vec<_> = [31]
            .into_iter()
            .chain(33..48)
            .map(|n| ("shop".to_owned(), format!("u{n}")))
            .collect();
        assert_eq!(woken(30), expected);
        assert_eq!(woken(50), []);
    }

    #[test]
    fn two_tellings_of_one_object_in_turn_matter_once_each_round_at_most() {
        let rivals = Rivals::default();
        let note = |status: &Value| rivals.note(&object("a", 1, status));
        assert!(note(&Value::Null), "it is new");
        let (asks, confirms) = (ready("OutcomeUnknown"), ready("ConfirmingOutcome"));
        assert!(note(&asks), "somebody has looked");
        assert!(!note(&confirms), "this lets no other go ahead");
        assert!(note(&asks));
        assert!(!note(&asks));
    }

    #[test]
    fn an_older_object_whose_name_is_not_resolved_is_waited_for_in_its_own_namespace() {
        let this = object("b", 5, &Value::Null);
        let standing = |second: u32, namespace: &str, resolved: Option<&str>| {
            let mut other = object("a", second, &Value::Null);
            (other.spec.vps_id, other.spec.vps_name) = (None, Some("the shop".to_owned()));
            other.metadata.namespace = Some(namespace.to_owned());
            other.status.get_or_insert_default().vps_id = resolved.map(str::to_owned);
            let (reader, mut writer) = store();
            writer.apply_watcher_event(&Event::Apply(Stored(Ok(other))));
            let rivals = Rivals::default();
            rivals.add(reader);
            rivals.standing(&this, None)
        };
        let until = "2026-11-20T10:01:05Z".parse().unwrap();
        assert_eq!(standing(1, "shop", None), Rival::Unseen { until });
        assert_eq!(standing(9, "shop", None), Rival::None, "a younger one");
        assert_eq!(standing(1, "office", None), Rival::None, "of somebody else");
        assert_eq!(standing(1, "shop", Some("vps_2")), Rival::None, "another VPS");
        assert_eq!(standing(1, "shop", Some("vps_1")), Rival::Unseen { until });
    }

    #[test]
    fn of_an_object_nothing_is_kept_but_what_others_are_held_against() {
        let mut current = serde_json::Map::new();
        let mut extra = serde_json::Map::new();
        for n in 0..32 {
            current.insert(format!("o{n}"), json!("x".repeat(256)));
            extra.insert(format!("o{n}"), json!("\u{1f600}".repeat(256)));
        }
        let mut kept = object("u1", 1, &json!({"observedGeneration": 1, "current": current}));
        kept.spec.resources = serde_json::from_value(json!({"extra": extra})).unwrap();
        let reads = read_by(&kept);
        let mut kept = Stored(Ok(kept));
        prune(&mut kept);
        let kept = kept.0.unwrap();
        let size = serde_json::to_string(&kept).unwrap().len();
        assert!(size < 2_000, "{size} bytes: {kept:?}");
        assert_eq!((kept.vps(), read_by(&kept)), (Some("vps_1"), reads));
    }
}
