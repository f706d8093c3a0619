//! How bad it is: which faults come, and how often. All of it ends when the storm does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hostup_operator::hostup::Kind as Call;

use crate::cluster::{
    Answer, ClientId, End, Faults, Gone, Kind, Refusal, RequestInfo, Until, Verb, Verdict, WatchVerdict,
};
use crate::dice::Dice;
use crate::story::Story;

/// Faults on the line to HostUp.
pub mod line {
    /// What becomes of one call.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Fault {
        /// No byte leaves.
        NoConnection,
        /// The request is lost on the way.
        LostThere,
        /// It is executed, and its answer is lost.
        LostBack,
        /// The connection breaks, and the request lands later.
        LandsLate,
        /// It takes its time.
        Slow,
        /// Nothing is ever answered, nor executed.
        Silent,
        /// It is executed, and nothing is ever answered.
        SilentAfter,
        /// A 5xx.
        ServerError {
            /// After it was executed.
            acts: bool,
        },
        /// A 200 that cannot be read.
        Garbled {
            /// After it was executed.
            acts: bool,
        },
        /// A page of somebody on the way.
        ForeignPage {
            /// After it was executed.
            acts: bool,
        },
        /// A 429 with a `Retry-After`.
        TooMany,
        /// A documented refusal.
        Refused,
    }

    impl Fault {
        /// All of them.
        pub const ALL: [Self; 14] = [
            Self::NoConnection,
            Self::LostThere,
            Self::LostBack,
            Self::LandsLate,
            Self::Slow,
            Self::Silent,
            Self::SilentAfter,
            Self::ServerError { acts: false },
            Self::ServerError { acts: true },
            Self::Garbled { acts: false },
            Self::Garbled { acts: true },
            Self::ForeignPage { acts: false },
            Self::ForeignPage { acts: true },
            Self::TooMany,
        ];

        /// A fixed word.
        pub fn name(self) -> &'static str {
            match self {
                Self::NoConnection => "hostup: no connection",
                Self::LostThere => "hostup: request lost",
                Self::LostBack => "hostup: answer lost",
                Self::LandsLate => "hostup: lands late",
                Self::Slow => "hostup: slow",
                Self::Silent => "hostup: silent",
                Self::SilentAfter => "hostup: executed, then silent",
                Self::ServerError { acts: false } => "hostup: 5xx",
                Self::ServerError { acts: true } => "hostup: executed, then 5xx",
                Self::Garbled { acts: false } => "hostup: garbled 200",
                Self::Garbled { acts: true } => "hostup: executed, then garbled 200",
                Self::ForeignPage { acts: false } => "hostup: foreign page",
                Self::ForeignPage { acts: true } => "hostup: executed, then foreign page",
                Self::TooMany => "hostup: 429",
                Self::Refused => "hostup: refusal",
            }
        }
    }
}

/// The weather of one life.
#[derive(Clone)]
pub struct Weather {
    is_over: Arc<AtomicBool>,
    /// Of a thousand reads of HostUp, so many go wrong.
    pub reads: u32,
    /// Of a thousand paid calls.
    pub paid: u32,
    /// Of a thousand requests to the API server.
    pub requests: u32,
    /// Of a thousand watches.
    pub watches: u32,
}

impl Weather {
    /// Drawn.
    pub fn drawn(dice: &Dice) -> Self {
        let rate = |rates: &[u32]| dice.one(rates);
        Self {
            is_over: Arc::default(),
            reads: rate(&[0, 0, 20, 100, 300]),
            paid: rate(&[0, 200, 500, 900]),
            requests: rate(&[0, 0, 10, 50, 200]),
            watches: rate(&[0, 0, 200, 600]),
        }
    }

    /// The storm is over: nothing goes wrong any more.
    pub fn clears(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether nothing goes wrong any more.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// What becomes of a call to HostUp.
    pub fn on_the_line(&self, dice: &Dice, call: Call) -> Option<line::Fault> {
        let rate = match call {
            Call::Paid => self.paid,
            Call::Read | Call::DryRun => self.reads,
        };
        let comes = !self.is_over() && dice.happens(rate);
        comes.then(|| {
            if call == Call::Paid && dice.happens(150) {
                line::Fault::Refused
            } else {
                dice.one(&line::Fault::ALL)
            }
        })
    }
}

/// The weather between a process and the API server.
pub struct Requests {
    /// How bad it is.
    pub weather: Weather,
    /// Chance.
    pub dice: Dice,
    /// The story.
    pub story: Story,
}

impl Requests {
    fn drawn(&self, request: &RequestInfo) -> (&'static str, Verdict) {
        let writes = matches!(request.verb, Verb::Create | Verb::Replace | Verb::Patch);
        let refused = |code, reason| Verdict::refused(Refusal::new(code, reason, "the storm says no"));
        let dice = &self.dice;
        match dice.below(if writes { 11 } else { 8 }) {
            0 => ("api: slow", Verdict::slow(dice.millis(2_000), dice.millis(2_000))),
            1 => ("api: request lost", Verdict::lost()),
            2 => ("api: 500", refused(500, "InternalError")),
            3 => ("api: 503", refused(503, "ServiceUnavailable")),
            4 => ("api: 429", refused(429, "TooManyRequests")),
            5 => ("api: 403", refused(403, "Forbidden")),
            6 => ("api: silent", Verdict::silent()),
            7 => (
                "api: foreign page",
                Verdict {
                    acts_after: None,
                    answers_after: Duration::ZERO,
                    answer: Answer::Foreign(
                        dice.one(&[404, 502]),
                        "<html>somebody on the way</html>".to_owned(),
                    ),
                },
            ),
            8 => ("api: answer lost", Verdict::answer_lost()),
            9 => ("api: lands late", Verdict::late(dice.millis(8_000))),
            _ => ("api: 422", refused(422, "Invalid")),
        }
    }
}

impl Faults for Requests {
    fn verdict(&mut self, client: ClientId, request: &RequestInfo) -> Verdict {
        let is_watch = matches!(request.verb, Verb::Watch | Verb::List);
        let calm = self.weather.is_over() || is_watch || request.kind == Kind::EVENT;
        if calm || client.0 == 0 || !self.dice.happens(self.weather.requests) {
            return Verdict::default();
        }
        let (name, verdict) = self.drawn(request);
        self.story.fault(name, || {
            format!(
                "process {}: {:?} {} {}",
                client.0,
                request.verb,
                request.kind.plural,
                request.name.as_deref().unwrap_or_default()
            )
        });
        verdict
    }

    fn watch_verdict(&mut self, client: ClientId, request: &RequestInfo) -> WatchVerdict {
        if self.weather.is_over() || !self.dice.happens(self.weather.watches) {
            return WatchVerdict::default();
        }
        let dice = &self.dice;
        let (name, verdict) = match dice.below(4) {
            0 => (
                "watch: lags",
                WatchVerdict {
                    lag: dice.millis(8_000),
                    ..WatchVerdict::default()
                },
            ),
            1 => (
                "watch: breaks",
                WatchVerdict {
                    ends: Some((
                        Until::Time(dice.millis(10_000)),
                        dice.one(&[End::Eof, End::Broken]),
                    )),
                    ..WatchVerdict::default()
                },
            ),
            2 => (
                "watch: 410",
                WatchVerdict {
                    ends: Some((Until::Time(dice.millis(10_000)), End::Gone)),
                    gone: dice.one(&[Gone::Event, Gone::Status]),
                    ..WatchVerdict::default()
                },
            ),
            _ => (
                "watch: ends in its list",
                WatchVerdict {
                    ends: Some((Until::Objects(dice.one(&[0, 1, 2])), End::Broken)),
                    ..WatchVerdict::default()
                },
            ),
        };
        self.story
            .fault(name, || format!("process {}: {}", client.0, request.kind.plural));
        verdict
    }
}
