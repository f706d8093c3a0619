//! Watches: what each has told of, and when it tells of more.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};

use super::faults::{ClientId, End, Until, WatchVerdict};
use super::kind::Kind;
use super::refusal::Refusal;
use super::request::{Ask, Shape};
use super::server::Shared;
use super::store::{Change, Store, Stored};

/// Between two bookmarks.
const BOOKMARK: Duration = Duration::from_secs(60);
/// The last bookmark comes so long before the end.
const BEFORE_THE_END: Duration = Duration::from_secs(2);

/// A watch as the server keeps it.
pub(super) struct Watch {
    pub client: ClientId,
    pub kind: &'static Kind,
    namespace: Option<String>,
    shape: Shape,
    /// What it tells of first.
    initial: VecDeque<Arc<Stored>>,
    owes_mark: bool,
    /// The revision up to which it has told of everything.
    seen: u64,
    lag: Duration,
    bookmark: Option<Instant>,
    deadline: Instant,
    is_frozen: bool,
    /// When it is to end, and how, before its time.
    ends: Option<(Cut, End)>,
    is_over: bool,
    waker: Option<Waker>,
}

enum Cut {
    Now,
    At(Instant),
    After(usize),
}

/// What a watch does next.
enum Step {
    Tell(Bytes),
    End,
    Break,
    Wait(Instant),
}

impl Watch {
    /// Opens a watch; an error if the server refuses it by the HTTP status.
    pub fn open(client: ClientId, ask: &Ask, verdict: WatchVerdict, store: &Store) -> Result<Self, Refusal> {
        let (kind, namespace) = (ask.info.kind, ask.info.namespace.clone());
        let now = Instant::now();
        let mut watch = Self {
            client,
            kind,
            namespace,
            shape: ask.shape,
            initial: VecDeque::new(),
            owes_mark: false,
            seen: 0,
            lag: verdict.lag,
            bookmark: None,
            deadline: now + ask.query.lasts(),
            is_frozen: verdict.is_frozen,
            ends: verdict.ends.map(|(until, end)| match until {
                Until::Time(after) => (Cut::At(now + after), end),
                Until::Objects(count) => (Cut::After(count), end),
            }),
            is_over: false,
            waker: None,
        };
        watch.bookmark = ask.query.takes_bookmarks.then(|| watch.next_bookmark(now));
        match ask.query.version.filter(|_| !ask.query.streams_list) {
            Some(version) if version < store.compacted => {
                if verdict.gone == super::faults::Gone::Status {
                    return Err(Refusal::expired(version, store.compacted));
                }
                watch.close(End::Gone);
            }
            Some(version) => watch.seen = version,
            None => {
                let is_old = ask.query.is_of_any_time || !ask.query.streams_list;
                let ago = if is_old { verdict.lag } else { Duration::ZERO };
                let (initial, seen) = store.list_of(kind, watch.namespace.as_deref(), ago);
                (watch.initial, watch.seen) = (initial, seen);
                watch.owes_mark = ask.query.streams_list;
            }
        }
        Ok(watch)
    }

    /// Ends it with what it has told of so far.
    pub fn close(&mut self, end: End) {
        self.ends = Some((Cut::Now, end));
        self.wake();
    }

    pub fn freeze(&mut self) {
        self.is_frozen = true;
    }

    pub fn thaw(&mut self) {
        self.is_frozen = false;
        self.wake();
    }

    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether it is to tell of the change.
    pub fn concerns(&self, change: &Change) -> bool {
        change.kind == self.kind
            && change.revision > self.seen
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == change.place.0)
    }

    fn next(&mut self, store: &Store, now: Instant) -> Step {
        if self.is_over {
            return Step::End;
        }
        if let Some(end) = self.due_end(now) {
            return self.end(end, store);
        }
        let mut lines = Vec::new();
        let waits = self.tell(store, now, &mut lines);
        if !lines.is_empty() {
            return Step::Tell(lines.into());
        }
        if let Some(end) = self.due_end(now) {
            return self.end(end, store);
        }
        if self.deadline <= now {
            self.is_over = true;
            return Step::End;
        }
        let ends = match self.ends {
            Some((Cut::At(at), _)) => Some(at),
            _ => None,
        };
        let next = [waits, self.bookmark, ends].into_iter().flatten().min();
        Step::Wait(next.map_or(self.deadline, |next| next.min(self.deadline)))
    }

    fn due_end(&self, now: Instant) -> Option<End> {
        let (cut, end) = self.ends.as_ref()?;
        let is_due = match cut {
            Cut::Now => true,
            Cut::At(at) => *at <= now,
            Cut::After(left) => *left == 0,
        };
        is_due.then_some(*end)
    }

    fn end(&mut self, end: End, store: &Store) -> Step {
        self.is_over = true;
        match end {
            End::Eof => Step::End,
            End::Broken => Step::Break,
            End::Gone => {
                let status = Refusal::expired(self.seen, store.compacted).status();
                let mut lines = Vec::new();
                line(&mut lines, "ERROR", status.to_string().as_bytes());
                Step::Tell(lines.into())
            }
        }
    }

    /// Everything that is due. When the next change is, if there is one.
    fn tell(&mut self, store: &Store, now: Instant, lines: &mut Vec<u8>) -> Option<Instant> {
        while !self.initial.is_empty() && self.may_tell() {
            if let Some(object) = self.initial.pop_front() {
                line(lines, "ADDED", object.bytes(self.shape));
            }
        }
        if !self.initial.is_empty() {
            return None;
        }
        if std::mem::take(&mut self.owes_mark) {
            self.mark(lines, json!({"k8s.io/initial-events-end": "true"}));
        }
        let from = store
            .history
            .partition_point(|change| change.revision <= self.seen);
        let mut waits = None;
        for change in store.history.range(from..) {
            if change.at + self.lag > now {
                waits = Some(change.at + self.lag);
                break;
            }
            if self.concerns(change) {
                if !self.may_tell() {
                    return None;
                }
                line(lines, change.word(), change.after.bytes(self.shape));
            }
            self.seen = change.revision;
        }
        if self.bookmark.is_some_and(|at| at <= now) {
            self.bookmark = Some(self.next_bookmark(now));
            self.mark(lines, Value::Null);
        }
        waits
    }

    /// Whether one object more may be told of; it is counted.
    fn may_tell(&mut self) -> bool {
        match &mut self.ends {
            Some((Cut::After(0), _)) => false,
            Some((Cut::After(left), _)) => {
                *left -= 1;
                true
            }
            _ => true,
        }
    }

    fn mark(&self, lines: &mut Vec<u8>, annotations: Value) {
        let mut metadata = json!({"resourceVersion": self.seen.to_string()});
        if let Some(fields) = metadata.as_object_mut().filter(|_| !annotations.is_null()) {
            fields.insert("annotations".to_owned(), annotations);
        }
        let (kind, version) = match self.shape {
            Shape::Whole => (self.kind.kind, self.kind.api_version()),
            Shape::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
        };
        let mark = json!({"kind": kind, "apiVersion": version, "metadata": metadata});
        line(lines, "BOOKMARK", mark.to_string().as_bytes());
    }

    /// Each minute, and shortly before the end.
    fn next_bookmark(&self, now: Instant) -> Instant {
        let last = self
            .deadline
            .checked_sub(BEFORE_THE_END)
            .filter(|last| *last > now);
        last.map_or(now + BOOKMARK, |last| last.min(now + BOOKMARK))
    }
}

fn line(lines: &mut Vec<u8>, word: &str, object: &[u8]) {
    lines.extend_from_slice(b"{\"type\":\"");
    lines.extend_from_slice(word.as_bytes());
    lines.extend_from_slice(b"\",\"object\":");
    lines.extend_from_slice(object);
    lines.extend_from_slice(b"}\n");
}

/// The answer that a watch comes in. Once its watch is forgotten it brings nothing, for ever.
pub(super) struct WatchBody {
    pub server: Arc<Shared>,
    pub watch: u64,
    pub alarm: Pin<Box<Sleep>>,
}

impl WatchBody {
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            let step = {
                let mut state = self.server.state();
                let state = &mut *state;
                let Some(watch) = state.watches.get_mut(&self.watch) else {
                    return Poll::Pending;
                };
                watch.waker = Some(cx.waker().clone());
                if watch.is_frozen {
                    return Poll::Pending;
                }
                watch.next(&state.store, Instant::now())
            };
            match step {
                Step::Tell(lines) => return Poll::Ready(Some(Ok(Frame::data(lines)))),
                Step::End => return Poll::Ready(None),
                Step::Break => {
                    let broken = io::Error::new(io::ErrorKind::ConnectionReset, "the connection was reset");
                    return Poll::Ready(Some(Err(broken)));
                }
                Step::Wait(until) => self.alarm.as_mut().reset(until),
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        self.server.state().watches.remove(&self.watch);
    }
}
