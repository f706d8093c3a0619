//! The records as this process sees them, and the two reads that decisions rest on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::Value;

use super::api_call::{self, ApiError};
use crate::api::operation::{OperationEvidence, OperationState, VpsOperation};
use crate::api::stored::Stored;
use crate::domain::ids::{InstanceId, RecordName};
use crate::domain::inventory::Claimed;
use crate::domain::names::{ChainKey, VmToken};
use crate::domain::record::later;

/// The window of `--max-paid-calls`.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads of one chain at the same time.
const READS_AT_ONCE: usize = 4;

/// A record as it is watched: one that cannot be read still counts as one that exists.
pub type Watched = Stored<VpsOperation>;

/// The ledger.
pub struct Ledger {
    client: Client,
    instance: InstanceId,
    store: Store<Watched>,
    complete: AtomicBool,
    own: Mutex<HashMap<RecordName, Timestamp>>,
}

impl Ledger {
    /// Of this installation, on top of a store that a watch keeps.
    pub fn new(client: Client, instance: InstanceId, store: Store<Watched>) -> Self {
        Self {
            client,
            instance,
            store,
            complete: AtomicBool::default(),
            own: Mutex::default(),
        }
    }

    /// All records, for writes.
    pub fn api(&self) -> Api<VpsOperation> {
        Api::all(self.client.clone())
    }

    /// One record, read from etcd.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get(&self, name: &RecordName) -> Result<Option<VpsOperation>, ApiError> {
        let stored: Api<Stored<VpsOperation>> = Api::all(self.client.clone());
        match api_call::found(stored.get(name.as_str())).await? {
            Some(Stored(Ok(record))) => Ok(Some(record)),
            Some(Stored(Err(unreadable))) => Err(ApiError::Unreadable(format!(
                "VpsOperation {name} ({})",
                unreadable.why
            ))),
            None => Ok(None),
        }
    }

    /// The last record of a chain, read from etcd. The watch says where to start; no record beyond
    /// what was read can exist, for each is made only after the one before it was seen finished.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn tail(&self, key: &ChainKey) -> Result<Option<VpsOperation>, ApiError> {
        let seen = self
            .store
            .state()
            .iter()
            .filter_map(|object| key.attempt(&name_of(object)))
            .max();
        let mut tail = match seen {
            Some(n) => self.get(&key.record(n)).await?,
            None => None,
        };
        let mut n = seen.unwrap_or(0);
        loop {
            n = n.saturating_add(1);
            match self.get(&key.record(n)).await? {
                Some(next) => tail = Some(next),
                None => return Ok(tail),
            }
        }
    }

    /// The records of a chain before its last one, oldest first, read from etcd; `None` for one that was
    /// deleted.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn before(&self, key: &ChainKey, tail: u32) -> Result<Vec<Option<VpsOperation>>, ApiError> {
        let reads = (1..tail).map(|n| {
            let name = key.record(n);
            async move { self.get(&name).await }
        });
        stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await
    }

    /// Takes one of the paid calls of the last 24 hours, or says that none is left. What this
    /// process has claimed counts before the watch shows it.
    pub fn reserve(&self, name: &RecordName, cap: Option<u32>, now: Timestamp) -> bool {
        let mut own = self.lock();
        own.retain(|other, at| other != name && later(*at, WINDOW) > now);
        if cap.is_some_and(|cap| self.count(&own, now) >= cap) {
            return false;
        }
        own.insert(name.clone(), now);
        true
    }

    /// Gives back what [`Ledger::reserve`] took, where no record was made.
    pub fn release(&self, name: &RecordName) {
        self.lock().remove(name);
    }

    /// Paid calls of this installation in the last 24 hours: every record that may have been sent.
    pub fn paid_calls(&self, now: Timestamp) -> u32 {
        let own = self.lock();
        self.count(&own, now)
    }

    fn count(&self, own: &HashMap<RecordName, Timestamp>, now: Timestamp) -> u32 {
        let in_window = |at: Timestamp| later(at, WINDOW) > now;
        let records = self.store.state();
        let mut names: HashMap<RecordName, bool> = own
            .iter()
            .map(|(name, at)| (name.clone(), in_window(*at)))
            .collect();
        for object in records.iter().filter(|object| self.is_ours(object)) {
            names.insert(
                name_of(object),
                may_have_been_sent(object) && made_at(object).is_none_or(in_window),
            );
        }
        u32::try_from(names.values().filter(|counts| **counts).count()).unwrap_or(u32::MAX)
    }

    /// The latest moment before which no paid call may leave with this Secret's key.
    pub fn key_not_before(&self, namespace: &str, secret: &str) -> Option<Timestamp> {
        let holds = |object: &Arc<Watched>| {
            let record = object.0.as_ref().ok()?;
            let used = &record.spec.credentials_ref;
            let same = used.namespace == namespace && used.name == secret;
            record
                .status
                .as_ref()
                .filter(|_| same)?
                .not_before
                .as_ref()?
                .parse()
                .ok()
        };
        self.store.state().iter().filter_map(holds).max()
    }

    /// Every token that a record bears, and whether a VM with it is accounted for.
    pub fn claimed(&self) -> Vec<Claimed> {
        let mut tokens: HashMap<String, bool> = HashMap::new();
        for object in self.store.state() {
            let Ok(record) = &object.0 else { continue };
            let vm_name = record.spec.expected_vm_name.as_deref();
            let Some(token) = vm_name.and_then(VmToken::of_vm_name) else {
                continue;
            };
            let state = record.status.as_ref().and_then(|status| status.state);
            let accounted = match state.unwrap_or(OperationState::Sending) {
                OperationState::Sending
                | OperationState::Accepted
                | OperationState::Unknown
                | OperationState::Succeeded => true,
                OperationState::Failed
                | OperationState::NotSent
                | OperationState::Rejected
                | OperationState::NotExecuted
                | OperationState::Abandoned => false,
            };
            *tokens.entry(token.as_str().to_owned()).or_default() |= accounted;
        }
        tokens
            .into_iter()
            .filter_map(|(token, accounted)| {
                Some(Claimed {
                    token: VmToken::of_vm_name(&token)?,
                    accounted,
                })
            })
            .collect()
    }

    /// The watch has shown every record once.
    pub fn completed(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    /// Whether the watch has shown every record once. The store itself is not asked: it wakes only the
    /// last of those that wait for it, and the controllers do.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// The records of this installation, for gauges; another one tells of its own.
    pub fn ours(&self) -> Vec<Arc<Watched>> {
        let mut records = self.store.state();
        records.retain(|object| self.is_ours(object));
        records
    }

    /// Whether this installation made the record, which never changes. One that cannot be read may be
    /// ours, and counts.
    pub fn is_ours(&self, object: &Arc<Watched>) -> bool {
        object.0.as_ref().map_or(true, |record| {
            record.spec.claim.instance_id == self.instance.as_str()
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RecordName, Timestamp>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what no decision reads, before the record is kept.
pub fn prune(object: &mut Watched) {
    object.meta_mut().annotations = None;
    let record = match &mut object.0 {
        Ok(record) => record,
        Err(unreadable) => {
            unreadable.status = Value::Null;
            return;
        }
    };
    record.spec.request.body = String::new();
    record.spec.request.path = String::new();
    record.spec.gates = Vec::new();
    record.spec.changes = None;
    if let Some(status) = &mut record.status {
        status.conditions = Vec::new();
        status.message = None;
    }
}

fn name_of(object: &Arc<Watched>) -> RecordName {
    RecordName::new(object.name_any())
}

fn made_at(object: &Arc<Watched>) -> Option<Timestamp> {
    object.0.as_ref().ok()?.spec.claim.made_at.parse().ok()
}

fn may_have_been_sent(object: &Arc<Watched>) -> bool {
    let Ok(record) = &object.0 else { return true };
    let Some(status) = &record.status else { return true };
    status.state != Some(OperationState::NotSent)
        && status.evidence != Some(OperationEvidence::FoundBeforeClaim)
}
