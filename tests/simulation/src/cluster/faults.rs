//! What may become of a request and of a watch, as the simulation decides it. All times are virtual.

use std::time::Duration;

use super::refusal::Refusal;
use super::request::RequestInfo;

/// Whose requests and watches these are: one process, or a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

impl ClientId {
    /// The cluster itself.
    pub const CLUSTER: Self = Self(0);
}

/// Decides what becomes of each request.
pub trait Faults: Send {
    /// What becomes of a request that `client` has just sent. It may look at the server, and must write nothing.
    fn verdict(&mut self, client: ClientId, request: &RequestInfo) -> Verdict;

    /// What becomes of the watch that the request opens; asked after the verdict on the request itself.
    fn watch_verdict(&mut self, _client: ClientId, _request: &RequestInfo) -> WatchVerdict {
        WatchVerdict::default()
    }
}

impl<F: FnMut(ClientId, &RequestInfo) -> Verdict + Send> Faults for F {
    fn verdict(&mut self, client: ClientId, request: &RequestInfo) -> Verdict {
        self(client, request)
    }
}

/// What becomes of a request. By default it is acted on and answered at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How long after it was sent it is acted on, whether the caller still waits or not; `None` if it never is.
    pub acts_after: Option<Duration>,
    /// How long after it was sent the caller is answered. The server's own answer comes no earlier than it acts.
    pub answers_after: Duration,
    /// What the caller hears.
    pub answer: Answer,
}

/// What the caller hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The server's own answer; nothing at all if it never acts.
    Normal,
    /// The connection breaks.
    LostConnection,
    /// An error with a `Status`, whatever the server did.
    Refuse(Refusal),
    /// HTTP status and text of somebody on the way.
    Foreign(u16, String),
    /// Nothing, for ever.
    Never,
}

impl Default for Verdict {
    fn default() -> Self {
        Self::slow(Duration::ZERO, Duration::ZERO)
    }
}

impl Verdict {
    /// Acted on after `there`, and answered `back` later.
    pub fn slow(there: Duration, back: Duration) -> Self {
        Self {
            acts_after: Some(there),
            answers_after: there.saturating_add(back),
            answer: Answer::Normal,
        }
    }

    /// Refused at once, and not acted on.
    pub fn refused(refusal: Refusal) -> Self {
        Self::unacted(Answer::Refuse(refusal))
    }

    /// Lost on the way there: the connection breaks at once, and nothing is acted on.
    pub fn lost() -> Self {
        Self::unacted(Answer::LostConnection)
    }

    /// Acted on at once, and the answer is lost.
    pub fn answer_lost() -> Self {
        Self::late(Duration::ZERO)
    }

    /// The connection breaks at once, and what was sent is acted on `landing` later.
    pub fn late(landing: Duration) -> Self {
        Self {
            acts_after: Some(landing),
            answers_after: Duration::ZERO,
            answer: Answer::LostConnection,
        }
    }

    /// Not acted on, and never answered.
    pub fn silent() -> Self {
        Self::unacted(Answer::Never)
    }

    fn unacted(answer: Answer) -> Self {
        Self {
            acts_after: None,
            answers_after: Duration::ZERO,
            answer,
        }
    }
}

/// What becomes of a watch. By default it tells of everything at once until the time that its caller has set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchVerdict {
    /// How far it lags behind, as one that another API server serves from its cache: what it lists is as old, and
    /// what it tells of comes as late.
    pub lag: Duration,
    /// Whether it brings nothing, not even its end, until its client's watches are thawed.
    pub is_frozen: bool,
    /// When it ends before its time, and how.
    pub ends: Option<(Until, End)>,
    /// How it says that its version is too old.
    pub gone: Gone,
}

/// When a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After so long.
    Time(Duration),
    /// After so many objects, which may be within its list.
    Objects(usize),
}

/// How a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As if its time were up.
    Eof,
    /// The connection breaks.
    Broken,
    /// With an event that says 410.
    Gone,
}

/// How a watch says that its version is too old when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gone {
    /// By an event, as an API server with its watch cache does.
    #[default]
    Event,
    /// By the HTTP status.
    Status,
}

/// What becomes of requests that a killed process has sent and nobody has acted on yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight {
    /// They are acted on when their time comes.
    Lands,
    /// They are lost.
    Lost,
}

/// How the server takes a request to stream a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamedLists {
    /// It streams it.
    #[default]
    On,
    /// It refuses, as one whose feature gate is off.
    Refused,
    /// It does not know the wish: objects come, and no mark of the list's end.
    Unknown,
}

/// How revisions go on after etcd was restored from a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revisions {
    /// From the backup's, so that some are given twice.
    GoBack,
    /// From the backup's and so many, as `etcdutl snapshot restore --bump-revision` does.
    BumpedBy(u64),
}
