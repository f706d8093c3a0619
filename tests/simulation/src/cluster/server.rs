//! The server: it takes requests over HTTP, people's and oracle's hands without, and does to both what it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Response, StatusCode};
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::answer::{AnswerBody, answer, refused, removed};
use super::faults::{ClientId, End, Faults, InFlight, Revisions, StreamedLists, Verdict, WatchVerdict};
use super::kind::Kind;
use super::refusal::Refusal;
use super::request::{Ask, Part, RequestInfo, Shape, Verb};
use super::service::ApiService;
use super::store::{Admission, Author, Deleted, Preconditions, Snapshot, Store, Stored, Write};
use super::watch::{Watch, WatchBody};
use crate::field::at;

/// An API server in memory. Its clones are the same server. All waiting is of tokio's (paused) time.
#[derive(Clone)]
pub struct ApiServer(Arc<Shared>);

pub(super) struct Shared {
    state: Mutex<State>,
    faults: Mutex<Box<dyn Faults>>,
}

pub(super) struct State {
    pub store: Store,
    pub watches: BTreeMap<u64, Watch>,
    watches_opened: u64,
    killed: BTreeMap<ClientId, InFlight>,
    streamed_lists: StreamedLists,
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Box<dyn Faults>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Changes what is kept, and wakes the watches that are to tell of it.
    fn write<T>(&mut self, change: impl FnOnce(&mut Store) -> T) -> T {
        let before = self.store.history.len();
        let changed = change(&mut self.store);
        for change in self.store.history.range(before..) {
            for watch in self.watches.values_mut().filter(|watch| watch.concerns(change)) {
                watch.wake();
            }
        }
        changed
    }
}

impl ApiServer {
    /// With the namespaces `default` and `kube-system`. `clock` tells the wall time.
    pub fn new(clock: impl Fn() -> Timestamp + Send + 'static) -> Self {
        let state = State {
            store: Store::new(Box::new(clock)),
            watches: BTreeMap::new(),
            watches_opened: 0,
            killed: BTreeMap::new(),
            streamed_lists: StreamedLists::default(),
        };
        let without_faults = |_: ClientId, _: &RequestInfo| Verdict::default();
        let server = Self(Arc::new(Shared {
            state: Mutex::new(state),
            faults: Mutex::new(Box::new(without_faults)),
        }));
        for name in ["default", "kube-system"] {
            let made = server.add_namespace(name);
            debug_assert!(made.is_ok(), "{made:?}");
        }
        server
    }

    /// From now on `faults` decides what becomes of requests.
    pub fn set_faults(&self, faults: impl Faults + 'static) {
        *self.0.faults() = Box::new(faults);
    }

    /// From now on nothing becomes of requests but what they ask for.
    pub fn forget_faults(&self) {
        self.set_faults(|_: ClientId, _: &RequestInfo| Verdict::default());
    }

    /// From now on `admission` judges all writes, also those that go without HTTP.
    pub fn set_admission(&self, admission: impl Admission + 'static) {
        self.0.state().store.admission = Some(Box::new(admission));
    }

    /// From now on requests to stream a list are taken like this.
    pub fn set_streamed_lists(&self, how: StreamedLists) {
        self.0.state().streamed_lists = how;
    }

    /// What kube's client sends its requests to.
    pub fn service(&self, client: ClientId) -> ApiService {
        ApiService::new(self.clone(), client)
    }

    /// A client; within a tokio runtime only.
    pub fn client(&self, client: ClientId) -> kube::Client {
        kube::Client::new(self.service(client), "default")
    }

    /// Ends a process: whatever it waits for, or asks for from now on, never comes. What was acted on stays.
    pub fn kill(&self, client: ClientId, in_flight: InFlight) {
        let mut state = self.0.state();
        state.killed.insert(client, in_flight);
        state.watches.retain(|_, watch| watch.client != client);
    }

    /// The client's open watches bring nothing, not even their end, until they are thawed. `kind` means those of one
    /// kind only.
    pub fn freeze(&self, client: ClientId, kind: Option<&Kind>) {
        self.each_watch(client, kind, Watch::freeze);
    }

    /// The client's open watches tell of all that they have kept back.
    pub fn thaw(&self, client: ClientId, kind: Option<&Kind>) {
        self.each_watch(client, kind, Watch::thaw);
    }

    /// The client's open watches end; those that are frozen, once they are thawed.
    pub fn close(&self, client: ClientId, kind: Option<&Kind>, end: End) {
        self.each_watch(client, kind, |watch| watch.close(end));
    }

    /// How many watches of the client are open.
    pub fn open_watches(&self, client: ClientId) -> usize {
        let state = self.0.state();
        state
            .watches
            .values()
            .filter(|watch| watch.client == client)
            .count()
    }

    fn each_watch(&self, client: ClientId, kind: Option<&Kind>, act: impl Fn(&mut Watch)) {
        let mut state = self.0.state();
        let watches = state.watches.values_mut().filter(|watch| watch.client == client);
        watches
            .filter(|watch| kind.is_none_or(|kind| watch.kind == kind))
            .for_each(act);
    }

    /// Forgets the changes so far but for the last `kept`: no watch can go on from before them, and those that have not
    /// told of them yet end with 410.
    pub fn forget_history(&self, kept: usize) {
        let mut state = self.0.state();
        let State { store, watches, .. } = &mut *state;
        while store.history.len() > kept {
            let Some(change) = store.history.pop_front() else {
                return;
            };
            store.compacted = change.revision;
            for watch in watches.values_mut().filter(|watch| watch.concerns(&change)) {
                watch.close(End::Gone);
            }
        }
    }

    /// A backup of etcd.
    pub fn snapshot(&self) -> Snapshot {
        self.0.state().store.snapshot()
    }

    /// etcd is restored from a backup. Every watch ends with 410, none can go on from before, and a version may name
    /// another object than it did. Uids are never given twice, and the log of writes goes on.
    pub fn restore(&self, backup: &Snapshot, revisions: Revisions) {
        let mut state = self.0.state();
        state.store.restore(backup, revisions);
        state
            .watches
            .values_mut()
            .for_each(|watch| watch.close(End::Gone));
    }

    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.0.state().store.revision
    }

    /// The accepted writes from the one at `index` on, oldest first, whoever made them.
    pub fn writes_from(&self, index: usize) -> Vec<Write> {
        let state = self.0.state();
        state.store.log.get(index..).unwrap_or_default().to_vec()
    }

    /// An object as it stands; `namespace` is empty for what is in none.
    pub fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let place = (namespace.to_owned(), name.to_owned());
        let state = self.0.state();
        state
            .store
            .get(kind, &place)
            .ok()
            .map(|stored| stored.value.clone())
    }

    /// The objects of a kind as they stand, by namespace and name; of one namespace or of all.
    pub fn list(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let state = self.0.state();
        let listed = state.store.list(kind, namespace);
        listed.map(|stored| stored.value.clone()).collect()
    }

    /// Creates a namespace.
    pub fn add_namespace(&self, name: &str) -> Result<Arc<Value>, Refusal> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}});
        self.create(ClientId::CLUSTER, Kind::NAMESPACE, "", namespace)
    }

    /// Creates an object without HTTP and faults. `namespace` is empty for what is in none.
    pub fn create(
        &self,
        by: ClientId,
        kind: &'static Kind,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        let by = author(by, Verb::Create, Part::Whole);
        self.write(|store| store.create(by, kind, namespace, object))
    }

    /// Replaces an object, or its status, without HTTP and faults.
    pub fn replace(
        &self,
        by: ClientId,
        kind: &'static Kind,
        part: Part,
        object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        let by = author(by, Verb::Replace, part);
        let field = |field| super::store::text(&object, field).to_owned();
        let place = (field("namespace"), field("name"));
        self.write(|store| store.replace(by, kind, place, object))
    }

    /// Merges `patch` into an object, or into its status, without HTTP and faults.
    pub fn patch(
        &self,
        by: ClientId,
        kind: &'static Kind,
        part: Part,
        (namespace, name): (&str, &str),
        patch: &Value,
    ) -> Result<Arc<Value>, Refusal> {
        let by = author(by, Verb::Patch, part);
        let place = (namespace.to_owned(), name.to_owned());
        self.write(|store| store.patch(by, kind, place, patch))
    }

    /// Deletes an object without HTTP and faults; one with finalizers is only marked.
    pub fn delete(
        &self,
        by: ClientId,
        kind: &'static Kind,
        (namespace, name): (&str, &str),
    ) -> Result<Arc<Value>, Refusal> {
        let by = author(by, Verb::Delete, Part::Whole);
        let place = (namespace.to_owned(), name.to_owned());
        self.write(|store| {
            let deleted = store.delete(by, kind, place, &Preconditions::default())?;
            let (Deleted::Removed(stored) | Deleted::Marked(stored)) = deleted;
            Ok(stored)
        })
    }

    fn write(
        &self,
        change: impl FnOnce(&mut Store) -> Result<Arc<Stored>, Refusal>,
    ) -> Result<Arc<Value>, Refusal> {
        let written = self.0.state().write(change);
        written.map(|stored| stored.value.clone())
    }

    /// Does what is asked for.
    pub(super) fn act(&self, client: ClientId, ask: Ask, watch: WatchVerdict) -> Response<AnswerBody> {
        let acted = match ask.info.verb {
            Verb::Watch => self.open(client, ask, watch),
            Verb::List => self.listed(&ask),
            _ => self.acted_on_one(client, ask),
        };
        acted.unwrap_or_else(|refusal| refused(&refusal))
    }

    fn acted_on_one(&self, client: ClientId, ask: Ask) -> Result<Response<AnswerBody>, Refusal> {
        let Ask {
            info, shape, body, ..
        } = ask;
        let RequestInfo { verb, kind, part, .. } = info;
        let by = author(client, verb, part);
        let namespace = info.namespace.unwrap_or_default();
        let place = (namespace, info.name.unwrap_or_default());
        let mut state = self.0.state();
        let code = if verb == Verb::Create {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let stored = match verb {
            Verb::Create => state.write(|store| store.create(by, kind, &place.0, body))?,
            Verb::Replace => state.write(|store| store.replace(by, kind, place, body))?,
            Verb::Patch => state.write(|store| store.patch(by, kind, place, &body))?,
            Verb::Delete => {
                let asked = |field: &str| {
                    let asked = body.get("preconditions").and_then(|asked| asked.get(field));
                    asked.and_then(Value::as_str).map(str::to_owned)
                };
                let only = Preconditions {
                    uid: asked("uid"),
                    version: asked("resourceVersion"),
                };
                match state.write(|store| store.delete(by, kind, place, &only))? {
                    Deleted::Removed(stored) => return Ok(removed(kind, &stored)),
                    Deleted::Marked(stored) => stored,
                }
            }
            Verb::Get | Verb::List | Verb::Watch => state.store.get(kind, &place)?.clone(),
        };
        Ok(answer(code, stored.bytes(shape).clone()))
    }

    fn listed(&self, ask: &Ask) -> Result<Response<AnswerBody>, Refusal> {
        let kind = ask.info.kind;
        let state = self.0.state();
        check_age(ask, &state.store)?;
        let revision = state.store.revision;
        let (named, api_version) = match ask.shape {
            Shape::Whole => (format!("{}List", kind.kind), kind.api_version()),
            Shape::Metadata => (
                "PartialObjectMetadataList".to_owned(),
                "meta.k8s.io/v1".to_owned(),
            ),
        };
        let mut list = format!(
            r#"{{"kind":"{named}","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{revision}"}},"items":["#
        )
        .into_bytes();
        let of_vps = ask.query.of_vps.as_deref();
        let is_selected = |object: &&Arc<Stored>| {
            of_vps.is_none_or(|vps| at(&object.value, "/spec/vpsId").and_then(Value::as_str) == Some(vps))
        };
        let objects = state.store.list(kind, ask.info.namespace.as_deref());
        let objects = objects.filter(is_selected);
        for (index, object) in objects.enumerate() {
            if index > 0 {
                list.push(b',');
            }
            list.extend_from_slice(object.bytes(ask.shape));
        }
        list.extend_from_slice(b"]}");
        Ok(answer(StatusCode::OK, Bytes::from(list)))
    }

    fn open(
        &self,
        client: ClientId,
        mut ask: Ask,
        verdict: WatchVerdict,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let mut state = self.0.state();
        if ask.query.streams_list {
            check_streaming(&ask, &state)?;
            ask.query.streams_list = state.streamed_lists != StreamedLists::Unknown;
        }
        let watch = Watch::open(client, &ask, verdict, &state.store)?;
        state.watches_opened += 1;
        let id = state.watches_opened;
        state.watches.insert(id, watch);
        let body = WatchBody {
            server: self.0.clone(),
            watch: id,
            alarm: Box::pin(sleep_until(Instant::now())),
        };
        Ok(answer(StatusCode::OK, body))
    }

    /// What becomes of a request and of the watch that it opens.
    pub(super) fn verdicts(&self, client: ClientId, request: &RequestInfo) -> (Verdict, WatchVerdict) {
        let mut faults = self.0.faults();
        let verdict = faults.verdict(client, request);
        let watch = match request.verb {
            Verb::Watch => faults.watch_verdict(client, request),
            _ => WatchVerdict::default(),
        };
        (verdict, watch)
    }

    /// What was sent and is not acted on yet is lost with its process.
    pub(super) fn is_lost(&self, client: ClientId) -> bool {
        self.0.state().killed.get(&client) == Some(&InFlight::Lost)
    }

    pub(super) fn is_killed(&self, client: ClientId) -> bool {
        self.0.state().killed.contains_key(&client)
    }
}

fn check_streaming(ask: &Ask, state: &State) -> Result<(), Refusal> {
    let invalid = |why: &str| {
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: {why}");
        Err(Refusal::invalid(message))
    };
    match state.streamed_lists {
        StreamedLists::Refused => {
            return invalid(
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
            );
        }
        StreamedLists::Unknown => return Ok(()),
        StreamedLists::On => {}
    }
    if ask.query.version_match != "NotOlderThan" {
        return invalid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    check_age(ask, &state.store)
}

/// Refuses a version that is yet to come.
fn check_age(ask: &Ask, store: &Store) -> Result<(), Refusal> {
    match ask.query.version {
        Some(version) if version > store.revision => {
            let current = store.revision;
            let message = format!("Timeout: Too large resource version: {version}, current: {current}");
            Err(Refusal::new(504, "Timeout", message))
        }
        Some(_) | None => Ok(()),
    }
}

fn author(client: ClientId, verb: Verb, part: Part) -> Author {
    Author { client, verb, part }
}
