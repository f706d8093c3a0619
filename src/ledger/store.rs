//! The records as this process sees them, and the two reads that decisions rest on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::UnboundedSender;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::Value;
use tokio::sync::Notify;

use super::budgets::Budgets;
use crate::api;
use crate::api::operation::VpsOperation;
use crate::api::stored::Stored;
use crate::clock::Clock;
use crate::cluster::api_call::{self, ApiError};
use crate::cluster::heartbeat::Heartbeat;
use crate::cluster::recent::{Recent, Source};
use crate::domain::action::answer::latest_wait;
use crate::domain::consent::price::Price;
use crate::domain::ledger::budget::{Allowance, Position};
use crate::domain::ledger::names::{ChainKey, VmToken};
use crate::domain::ledger::{Caps, Figures, Index, KeyPlace, PaidCalls, Pledge, Walk};
use crate::domain::provider::inventory::Vm;
use crate::domain::values::ids::{Holder, InstanceId, RecordName, Subject, VpsId};

/// Reads of one chain at the same time.
const READS_AT_ONCE: usize = 4;

/// A record as it is watched: one that cannot be read still counts as one that exists.
pub type Watched = Stored<VpsOperation>;

/// The ledger.
pub struct Ledger {
    client: Client,
    instance: InstanceId,
    index: Mutex<Index>,
    recent: Recent<VpsOperation>,
    complete: AtomicBool,
    made: UnboundedSender<VpsOperation>,
    heartbeat: Heartbeat,
    changed: Notify,
}

impl Ledger {
    /// Of this installation; a watch [tells](Ledger::note) of the records, and `heartbeat` of its life. Records that
    /// this process makes go to `made`.
    pub fn new(
        client: Client,
        instance: InstanceId,
        made: UnboundedSender<VpsOperation>,
        heartbeat: Heartbeat,
        clock: Clock,
    ) -> Self {
        Self {
            client,
            index: Mutex::new(Index::new(instance.clone(), clock.now().wall)),
            instance,
            recent: Recent::new(clock),
            complete: AtomicBool::default(),
            made,
            heartbeat,
            changed: Notify::new(),
        }
    }

    /// Waits until a record has changed since this was awaited last.
    pub async fn changed(&self) {
        self.changed.notified().await;
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

    /// One record as this process wrote it last, while a watch shows nothing newer (`seen` is what it shows); else read
    /// from etcd.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn known(
        &self,
        name: &RecordName,
        seen: Option<&str>,
    ) -> Result<Option<Arc<VpsOperation>>, ApiError> {
        if let Some(record) = self.recent.get("", name.as_str(), seen)
            && !self.heartbeat.is_silent()
        {
            return Ok(Some(record));
        }
        let read = self.get(name).await?;
        // An answer that the watch has overtaken must not hide what it has shown.
        if let Some(record) = read.as_ref().filter(|_| seen.is_some())
            && record.metadata.resource_version.as_deref() == seen
        {
            self.recent.put(record.clone());
        }
        Ok(read.map(Arc::new))
    }

    /// etcd has taken a record, or a status of one.
    pub fn written(&self, record: VpsOperation) {
        self.recent.put(record);
    }

    /// Forgets what is known of records and would not be used any more.
    pub fn forget_old(&self) {
        self.recent.forget_old();
    }

    /// What is known of the record may be old, or is not needed any more.
    pub fn forget(&self, name: &RecordName) {
        self.recent.forget("", name.as_str());
    }

    /// The last record of a chain. `named` is the attempt that the object's status names.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn tail(&self, key: &ChainKey, named: Option<u32>, source: Source) -> Result<Tail, ApiError> {
        let known = match source {
            Source::Known => self.known_tail(key, named).await?,
            Source::Etcd => None,
        };
        match known {
            Some(tail) => Ok(tail),
            None => self.tail_in_etcd(key, named).await,
        }
    }

    /// The last record of a chain as the watch shows it; `None` where the watch does not tell.
    async fn known_tail(&self, key: &ChainKey, named: Option<u32>) -> Result<Option<Tail>, ApiError> {
        let seen = self.index().last_attempt(key);
        if named > seen || self.heartbeat.is_silent() {
            return Ok(None);
        }
        let last = match seen {
            None => None,
            Some(n) => match self.known(&key.record(n), None).await? {
                None => return Ok(None),
                last => last,
            },
        };
        Ok(Some(Tail { last, missing: None }))
    }

    async fn tail_in_etcd(&self, key: &ChainKey, named: Option<u32>) -> Result<Tail, ApiError> {
        let seen = self.index().last_attempt(key);
        let mut walk = Walk::from(seen, named);
        let mut last = None;
        loop {
            let record = self.get(&key.record(walk.attempt())).await?;
            let end = walk.read(record.is_some());
            last = record.map(Arc::new).or(last);
            if let Some(end) = end {
                let missing = end.missing.map(|n| key.record(n));
                return Ok(Tail { last, missing });
            }
        }
    }

    /// When the attempts of a chain were made that came to nothing for an object of this name, by attempt; as far as
    /// the watch shows them, and not longer ago than they count.
    pub fn came_to_nothing(
        &self,
        key: &ChainKey,
        subject: &Subject,
        now: Timestamp,
    ) -> BTreeMap<u32, Timestamp> {
        self.index().came_to_nothing(key, subject, now)
    }

    /// Those of the VMs that matter to `asking`, each with the record whose result it is already, if that is another
    /// one.
    pub fn with_results(
        &self,
        vms: &[Vm],
        asking: Option<&RecordName>,
        matters: impl Fn(&Vm) -> bool,
    ) -> Vec<Vm> {
        let index = self.index();
        let with_result = |vm: &Vm| Vm {
            result_of: index.result_of(&vm.id, asking),
            ..vm.clone()
        };
        vms.iter().filter(|vm| matters(vm)).map(with_result).collect()
    }

    /// The record of this installation whose result this VM is, if there is one beside `asking`.
    pub fn result_of(&self, vps: &VpsId, asking: Option<&RecordName>) -> Option<RecordName> {
        self.index().result_of(vps, asking)
    }

    /// The keys with which VMs were bought that HostUp provides, as far as is known.
    pub fn keys_of_vms(&self) -> Vec<Arc<KeyPlace>> {
        self.index().keys_of_vms()
    }

    /// The records whose VM, bought with this key, HostUp provides no longer, by a complete list.
    pub fn without_their_vm(&self, key: &KeyPlace, vms: &[Vm]) -> Vec<RecordName> {
        let provided = vms.iter().filter(|vm| vm.ended.is_none()).map(|vm| &vm.id);
        self.index().without_their_vm(key, provided)
    }

    /// Keeps a VM for the record that this process is about to write, over this version of it, as its result.
    ///
    /// # Errors
    /// The other record whose result it is, or that it is kept for.
    pub fn give(&self, vps: &VpsId, object: &VpsOperation) -> Result<(), RecordName> {
        let over = object.metadata.resource_version.as_deref().unwrap_or_default();
        self.index().give(vps, &RecordName::new(object.name_any()), over)
    }

    /// The record stands like this, without a result: what was to be written over an older version is not any more.
    pub fn take_back(&self, object: &VpsOperation) {
        let version = object.metadata.resource_version.as_deref().unwrap_or_default();
        self.index()
            .take_back(&RecordName::new(object.name_any()), version);
    }

    /// Whether the VM's name contains the token of another purchase (not `own`) that may have created the VM.
    pub fn bears_anothers_token(&self, vm: &Vm, own: Option<&VmToken>) -> bool {
        let index = self.index();
        let anothers = |token: &VmToken| Some(token) != own && index.accounted(token) == Some(true);
        VmToken::perhaps_borne_by(&vm.name).iter().any(anothers)
    }

    /// A record that this process has made: it is known and followed whether the watch shows it or not.
    pub fn made(&self, record: VpsOperation) {
        self.written(record.clone());
        let record_made = Stored(Ok(record.clone()));
        self.index().show(api::entry(&record_made));
        self.changed.notify_one();
        // A closed channel means that the controller has stopped, and with it the need.
        let _stopped = self.made.unbounded_send(record);
    }

    /// Takes an event of the watch in. Whether what it shows is news.
    pub fn note(&self, event: &Event<Watched>) -> bool {
        match event {
            Event::InitApply(object) | Event::Apply(object) => self.recent.shown(object),
            Event::Delete(object) => self.recent.forget("", &object.name_any()),
            Event::Init | Event::InitDone => {}
        }
        let mut index = self.index();
        if let Event::Apply(object) | Event::Delete(object) = event
            && let Some(made) = &object.meta().creation_timestamp
            && index.has_a_later(&RecordName::new(object.name_any()), made.0)
        {
            return false;
        }
        match event {
            Event::Init => index.list_begins(),
            Event::InitDone => index.list_ended(),
            Event::InitApply(object) | Event::Apply(object) => {
                let is_news = index.show(api::entry(object));
                if is_news {
                    self.changed.notify_one();
                }
                return is_news;
            }
            Event::Delete(object) => index.remove(&RecordName::new(object.name_any())),
        }
        self.changed.notify_one();
        true
    }

    /// Whether the watch has shown that nothing changes the record any more.
    pub fn is_finished(&self, name: &RecordName) -> bool {
        self.index().is_finished(name)
    }

    /// Whether the watch of the records shows life.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// The records of a chain before its last one, oldest first; `None` for one that was deleted.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn before(
        &self,
        key: &ChainKey,
        tail: u32,
        source: Source,
    ) -> Result<Vec<Option<Arc<VpsOperation>>>, ApiError> {
        let reads = (1..tail).map(|n| {
            let name = key.record(n);
            async move {
                match source {
                    Source::Known => self.known(&name, None).await,
                    Source::Etcd => Ok(self.get(&name).await?.map(Arc::new)),
                }
            }
        });
        stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await
    }

    /// Takes one of the paid calls of the last 24 hours, and what the price takes of the budgets as they were read last,
    /// or says that not enough is left. What this process has claimed counts before the watch shows it.
    pub fn reserve(&self, wanted: &Wanted<'_>, caps: Caps, budgets: &Budgets, now: Timestamp) -> bool {
        let Wanted {
            name,
            holder,
            namespace,
            price,
            drives,
        } = *wanted;
        let leave_room = |index: &Index, paid: PaidCalls| {
            let allowance = || budgets.allowance(index, namespace, now);
            paid.reaches(caps).is_none() && price.and_then(|price| allowance().exceeded_by(price)).is_none()
        };
        let pledge = price.map(Pledge::of);
        self.index()
            .reserve((name, holder), namespace, (pledge, drives), now, leave_room)
    }

    /// This process has written the end of a record, which may be deleted before the watch shows that, or has seen that it is
    /// gone.
    pub fn has_ended(&self, name: &RecordName) {
        self.index().has_ended(name);
    }

    /// A record whose call changes or overwrites this VPS, and has no known end yet; not one of this chain.
    pub fn under_way_for(&self, vps: &VpsId, own: &ChainKey) -> Option<RecordName> {
        let other = self.index().under_way_for(vps);
        other.filter(|other| own.attempt(other).is_none())
    }

    /// The namespaces for which money of these currencies was spent, or may still be.
    pub fn spenders(&self, currencies: &BTreeSet<&str>, now: Timestamp) -> BTreeSet<Arc<str>> {
        self.index().spenders(currencies, now)
    }

    /// Where the budgets of a namespace stand, as they were read last.
    pub fn allowance(&self, budgets: &Budgets, namespace: &str, now: Timestamp) -> Allowance {
        budgets.allowance(&self.index(), namespace, now)
    }

    /// Where all budgets stand, as they were read last.
    pub fn positions(&self, budgets: &Budgets, now: Timestamp) -> Vec<Position> {
        budgets.all(&self.index(), now)
    }

    /// The last record that has ended and whose call changed or overwrote this VPS, or may have, and when it was made; not
    /// one of this chain.
    pub fn last_for(&self, vps: &VpsId, own: &ChainKey) -> Option<(RecordName, Timestamp)> {
        self.index().last_for(vps, |record| own.attempt(record).is_none())
    }

    /// When the last record that has ended was made whose call changed or overwrote this VPS, or may have.
    pub fn last_change_of(&self, vps: &VpsId) -> Option<Timestamp> {
        let (_, made) = self.index().last_for(vps, |_| true)?;
        Some(made)
    }

    /// Gives back what [`Ledger::reserve`] took, where nothing was sent.
    pub fn release(&self, name: &RecordName, holder: &Holder) {
        self.index().release(name, holder);
    }

    /// Paid calls of this installation in the last 24 hours, in all and for one namespace.
    pub fn paid_calls(&self, namespace: &str, now: Timestamp) -> PaidCalls {
        self.index().paid_calls(namespace, now)
    }

    /// Paid calls of this installation in the last 24 hours that count against the cap of all.
    pub fn paid_calls_of_all(&self, now: Timestamp) -> u32 {
        self.index().paid_calls("", now).all
    }

    /// The latest moment before which no paid call may leave with this Secret's key.
    pub fn key_not_before(&self, namespace: &str, secret: &str, now: Timestamp) -> Option<Timestamp> {
        self.index().not_before(namespace, secret, latest_wait(now))
    }

    /// Whether a VM that has the token is accounted for; `None` if no record has the token.
    pub fn accounted(&self, token: &VmToken) -> Option<bool> {
        self.index().accounted(token)
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

    /// What the gauges show of the records of this installation; another one tells of its own.
    pub fn figures(&self) -> Figures {
        self.index().figures()
    }

    /// Whether this installation made the record, which never changes. One that cannot be read may be
    /// ours, and counts.
    pub fn is_ours(&self, object: &Watched) -> bool {
        object.0.as_ref().map_or(true, |record| {
            InstanceId::of_record(&record.spec.claim.instance_id) == self.instance
        })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The namespace that a record belongs to; none where it cannot be read.
pub fn tenant(object: &Watched) -> &str {
    let record = object.0.as_ref();
    record.map_or("", |record| record.spec.subject.namespace.as_str())
}

/// A record that is about to be claimed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a RecordName,
    /// Its claim.
    pub holder: &'a Holder,
    /// The namespace of its object.
    pub namespace: &'a str,
    /// What its call costs, if it is paid for.
    pub price: Option<&'a Price>,
    /// The VPS that its call changes or overwrites, if it does.
    pub drives: Option<&'a VpsId>,
}

/// Where a chain ends.
pub struct Tail {
    /// Its last record.
    pub last: Option<Arc<VpsOperation>>,
    /// The last record that is known to have been made, if nothing of the chain is found from there on.
    pub missing: Option<RecordName>,
}
