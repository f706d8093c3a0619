//! Objects that want the options of the same VPS: the oldest whose key has read it is responsible.

use std::time::Duration;

use futures::future;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::api::config::VpsResourceConfig;
use crate::api::stored::Stored;
use crate::domain::ids::Uid;
use crate::domain::options::OptionValue;

/// The wait for lists at the start.
const MOST_WAIT: Duration = Duration::from_secs(30);

/// An object as it is watched: one that cannot be read breaks no list.
pub type Watched = Stored<VpsResourceConfig>;

/// All objects of this process, by what a watch shows of them.
#[derive(Default)]
pub struct Rivals {
    stores: std::sync::Mutex<Vec<Store<Watched>>>,
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
                tracing::warn!("some VpsResourceConfigs cannot be listed; going on without them");
            }
        };
        self.listed.get_or_init(list).await;
    }

    /// Whether an older object whose key has read the VPS is responsible for it. One whose key never
    /// did is nobody, or anybody could claim another one's VPS by name. `ordered` is the object of the
    /// chain's last record: nothing is ordered with a key that did not read it, and the status may say
    /// so only later.
    pub fn is_older(&self, object: &VpsResourceConfig, ordered: Option<&Uid>) -> bool {
        let age = |object: &VpsResourceConfig| {
            let made = object.creation_timestamp().map(|time| time.0);
            (made, object.metadata.uid.clone())
        };
        let has_ordered = |other: &VpsResourceConfig| {
            let uid = other.metadata.uid.as_deref();
            ordered.is_some_and(|ordered| uid == Some(ordered.as_str()))
        };
        let ours = age(object);
        self.others(object).iter().any(|other| {
            let is_there = other.metadata.deletion_timestamp.is_none();
            age(other) < ours && is_there && (has_read(other) || has_ordered(other))
        })
    }

    /// The other objects that want the same VPS.
    pub fn others(&self, object: &VpsResourceConfig) -> Vec<VpsResourceConfig> {
        let Some(vps) = &object.spec.vps_id else {
            // An order of the older route is no lasting wish; its records alone keep it from others.
            return Vec::new();
        };
        let stores = self.lock();
        let all = stores.iter().flat_map(Store::state);
        all.filter_map(|other| {
            let other = other.0.as_ref().ok()?;
            let same_vps = other.spec.vps_id.as_ref() == Some(vps);
            (same_vps && other.metadata.uid != object.metadata.uid).then(|| other.clone())
        })
        .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Store<Watched>>> {
        self.stores
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The status shows options only where the key has read them.
fn has_read(object: &VpsResourceConfig) -> bool {
    object
        .status
        .as_ref()
        .is_some_and(|status| !status.current.is_empty())
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
    if let Some(resources) = &mut object.spec.resources {
        // Such a value is of an older schema, and only told of.
        resources.extra.retain(|_, value| {
            !matches!(value, IntOrString::String(word) if word.chars().count() > OptionValue::LONGEST_WORD)
        });
    }
    if let Some(status) = &mut object.status {
        status.conditions = Vec::new();
        status.gates = Vec::new();
        status.quote = None;
        status.invoice = None;
    }
}
