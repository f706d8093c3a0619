//! The records as this process sees them, and the two reads that decisions rest on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::Value;

use super::api_call::{self, ApiError};
use super::heartbeat::Heartbeat;
use super::settings::Caps;
use crate::api::operation::{OperationEvidence, OperationState, OperationType, VpsOperation};
use crate::api::stored::Stored;
use crate::domain::chain::Cap;
use crate::domain::ids::{InstanceId, RecordName, Subject, VpsId};
use crate::domain::inventory::Claimed;
use crate::domain::names::{ChainKey, VmToken};
use crate::domain::order::TRIES_LAST;
use crate::domain::record::{State, later};

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
    own: Mutex<Own>,
    made: UnboundedSender<VpsOperation>,
    heartbeat: Heartbeat,
}

impl Ledger {
    /// Of this installation, on top of a store that a watch keeps, whose life `heartbeat` tells of. Records that
    /// this process makes go to `made`.
    pub fn new(
        client: Client,
        instance: InstanceId,
        store: Store<Watched>,
        made: UnboundedSender<VpsOperation>,
        heartbeat: Heartbeat,
    ) -> Self {
        Self {
            client,
            instance,
            store,
            complete: AtomicBool::default(),
            own: Mutex::default(),
            made,
            heartbeat,
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

    /// The last record of a chain, read from etcd. `named` is the attempt that the object's status names. The
    /// search begins at the highest one that is known of, for those below it may have been deleted.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn tail(&self, key: &ChainKey, named: Option<u32>) -> Result<Tail, ApiError> {
        let records = self.store.state();
        let attempts = records.iter().filter_map(|object| key.attempt(&name_of(object)));
        let seen = attempts.max();
        let known = seen.max(named).unwrap_or(0);
        let mut last = match known {
            0 => None,
            n => self.get(&key.record(n)).await?,
        };
        let is_gone = known > 0 && last.is_none();
        let mut n = known;
        loop {
            n = n.saturating_add(1);
            match self.get(&key.record(n)).await? {
                Some(next) => last = Some(next),
                None => break,
            }
        }
        let missing = Some(key.record(known)).filter(|_| is_gone && last.is_none());
        Ok(Tail { last, missing })
    }

    /// When the attempts of a chain were made that came to nothing for an object of this name, by attempt; as far as
    /// the watch shows them, and not longer ago than they count.
    pub fn came_to_nothing(
        &self,
        key: &ChainKey,
        subject: &Subject,
        now: Timestamp,
    ) -> BTreeMap<u32, Timestamp> {
        let records = self.store.state();
        let ours = records.iter().filter_map(|object| {
            let attempt = key.attempt(&name_of(object))?;
            let record = object.0.as_ref().ok()?;
            let of = &record.spec.subject;
            let same = (of.kind.as_str(), &of.namespace, &of.name)
                == (subject.kind.as_str(), &subject.namespace, &subject.name);
            let state = record.status.as_ref()?.state?;
            let made = made_at(object)?;
            let counts = same && State::from(state).came_to_nothing() && now < later(made, TRIES_LAST);
            counts.then_some((attempt, made))
        });
        ours.collect()
    }

    /// The other record of this installation whose result this VM is, if there is one.
    pub fn result_of(&self, vps: &VpsId, but: &RecordName) -> Option<RecordName> {
        let records = self.store.state();
        let others = records.iter().filter(|object| self.is_ours(object));
        let others = others.filter(|object| {
            let result = object
                .0
                .as_ref()
                .ok()
                .and_then(|record| record.status.as_ref()?.result.as_ref());
            result.is_some_and(|result| result.vps_id == vps.as_str())
        });
        others.map(name_of).find(|name| name != but)
    }

    /// A record that this process has made: it is followed whether the watch shows it or not.
    pub fn made(&self, record: VpsOperation) {
        // A closed channel means that the controller has stopped, and with it the need.
        let _stopped = self.made.unbounded_send(record);
    }

    /// Whether the watch of the records shows life.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
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

    /// Takes one of the paid calls of the last 24 hours for an object of `namespace`, or says that none is left. What
    /// this process has claimed counts before the watch shows it.
    pub fn reserve(&self, name: &RecordName, namespace: &str, caps: Caps, now: Timestamp) -> bool {
        let mut own = self.lock();
        own.retain(|other, (_, at)| other != name && later(*at, WINDOW) > now);
        if self.count(&own, namespace, now).reaches(caps).is_some() {
            return false;
        }
        own.insert(name.clone(), (namespace.to_owned(), now));
        true
    }

    /// Gives back what [`Ledger::reserve`] took, where no record was made.
    pub fn release(&self, name: &RecordName) {
        self.lock().remove(name);
    }

    /// Paid calls of this installation in the last 24 hours, in all and for one namespace.
    pub fn paid_calls(&self, namespace: &str, now: Timestamp) -> PaidCalls {
        let own = self.lock();
        self.count(&own, namespace, now)
    }

    /// Paid calls of this installation in the last 24 hours that count against the cap of all.
    pub fn paid_calls_of_all(&self, now: Timestamp) -> u32 {
        let own = self.lock();
        self.count(&own, "", now).all
    }

    fn count(&self, own: &Own, namespace: &str, now: Timestamp) -> PaidCalls {
        let in_window = |at: Timestamp| later(at, WINDOW) > now;
        let records = self.store.state();
        let mut counted = PaidCalls::default();
        let mut shown = HashSet::new();
        for object in records.iter().filter(|object| self.is_ours(object)) {
            let name = name_of(object);
            if made_at(object).is_none_or(in_window) {
                counted.add(weight(object), namespace_of(object) == Some(namespace));
            }
            shown.insert(name);
        }
        for (name, (of, at)) in own {
            if in_window(*at) && !shown.contains(name) {
                counted.add(Weight::Everyones, of == namespace);
            }
        }
        counted
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
            InstanceId::of_record(&record.spec.claim.instance_id) == self.instance
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Own> {
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

fn namespace_of(object: &Arc<Watched>) -> Option<&str> {
    let record = object.0.as_ref().ok()?;
    Some(record.spec.subject.namespace.as_str())
}

/// By the API server's clock; the claimer's may be wrong.
fn made_at(object: &Arc<Watched>) -> Option<Timestamp> {
    Some(object.meta().creation_timestamp.as_ref()?.0)
}

/// Whose share of the paid calls a record counts against.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Nobody's: nothing was sent.
    Nobodys,
    /// Its own namespace's: it was refused, or nobody had to approve it.
    Own,
    /// Everyone's.
    Everyones,
}

fn weight(object: &Arc<Watched>) -> Weight {
    let Ok(record) = &object.0 else {
        return Weight::Everyones;
    };
    let status = record.status.as_ref();
    let state = status.and_then(|status| status.state);
    let evidence = status.and_then(|status| status.evidence);
    if state == Some(OperationState::NotSent) || evidence == Some(OperationEvidence::FoundBeforeClaim) {
        return Weight::Nobodys;
    }
    let unapproved = record.spec.r#type == OperationType::LegacyEstimate;
    if state == Some(OperationState::Rejected) || unapproved {
        return Weight::Own;
    }
    Weight::Everyones
}

/// How many paid calls were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaidCalls {
    /// Those that count against the cap of all.
    pub all: u32,
    /// Those that count against the share of one namespace.
    pub of_namespace: u32,
}

impl PaidCalls {
    fn add(&mut self, weight: Weight, own: bool) {
        let counts = u32::from(weight != Weight::Nobodys && own);
        self.of_namespace = self.of_namespace.saturating_add(counts);
        self.all = self.all.saturating_add(u32::from(weight == Weight::Everyones));
    }

    /// The cap that is used up, if one is.
    pub fn reaches(self, caps: Caps) -> Option<Cap> {
        let all = caps.all.filter(|cap| self.all >= *cap).map(Cap::All);
        let own = caps.of_namespace.filter(|cap| self.of_namespace >= *cap);
        all.or(own.map(Cap::OfNamespace))
    }
}

/// Where a chain ends.
pub struct Tail {
    /// Its last record.
    pub last: Option<VpsOperation>,
    /// The last record that is known to have been made, if nothing of the chain is found from there on.
    pub missing: Option<RecordName>,
}

/// What this process has claimed: for which namespace, and when.
type Own = HashMap<RecordName, (String, Timestamp)>;
