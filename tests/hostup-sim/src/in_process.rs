//! The provider without a wire: no socket, no thread, and no time but that of the caller's runtime and
//! the world's [`Clock`](crate::Clock).
//!
//! A call goes through the same log, faults, gates, router and ledger as a request on a port. What the
//! wire would have made of the answer is worked out from the way it is delivered.

use std::fmt;
use std::future::pending;
use std::ops::Deref;
use std::time::Duration;

use crate::announced::Announced;
use crate::backstage::Backstage;
use crate::clock::Clock;
use crate::http::{Delivery, Incoming, Outgoing, parse_chunks};
use crate::life::{Begun, Life};
use crate::log::Finish;
use crate::timers::Timers;
use crate::world::World;

/// A request as it would leave a client.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path, encoded as on the wire.
    pub path: String,
    /// The query, without `?`.
    pub query: Option<String>,
    /// The headers, with the key; of the others only `Content-Type` counts.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
}

impl Call {
    /// A call of a target (a path, and a query if there is one), without headers and body.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Call {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Call {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            ..Call::default()
        }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a key.
    #[must_use]
    pub fn key(self, key: &str) -> Call {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, text: &str) -> Call {
        text.as_bytes().clone_into(&mut self.body);
        self.header("Content-Type", "application/json")
    }

    fn arriving(self, clock: &Clock) -> Incoming {
        let mut headers = self.headers;
        for (name, value) in &mut headers {
            name.make_ascii_lowercase();
            if value.trim().len() != value.len() {
                *value = value.trim().to_owned();
            }
        }
        Incoming {
            method: self.method,
            path: self.path,
            query: self.query,
            version: "in process".to_owned(),
            headers,
            body: self.body,
            first_byte_at: clock.now(),
            keep_alive: false,
        }
    }
}

/// What a client learns of its call. One that is never answered never ends: the caller has a time-out
/// of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A whole answer.
    Answer {
        /// Its status.
        status: u16,
        /// Its headers, named as on the wire.
        headers: Vec<(String, String)>,
        /// As much of its body as its head announced.
        body: Vec<u8>,
    },
    /// The connection was refused: nothing arrived.
    NoConnection,
    /// The connection broke off, or brought what is no answer; the call may have been acted on.
    Broken,
}

/// The line to the provider: whether it is up, and how often it was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    up: bool,
    cuts: u64,
}

/// A provider that is called in process. Cheap to clone; all clones share one world. What it knows and
/// can be told is on [`Backstage`], which it dereferences to.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use hostup_sim::{Call, Clock, Heard, InProcess, Keep, World};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let clock = Clock::told_by(|| (SystemTime::UNIX_EPOCH, Duration::ZERO));
/// let hostup = InProcess::new(World::new(clock, 7));
/// hostup.world(|world| {
///     world.keep = Keep::Counts;
///     world.add_account("key-1");
/// });
/// let heard = hostup.call(Call::new("GET", "/api/v2/vps?limit=5").key("key-1")).await;
/// assert!(matches!(heard, Heard::Answer { status: 200, .. }));
/// hostup.go_down();
/// let heard = hostup.call(Call::new("GET", "/api/v2/vps").key("key-1")).await;
/// assert_eq!(heard, Heard::NoConnection);
/// # });
/// ```
#[derive(Clone)]
pub struct InProcess {
    backstage: Backstage,
    clock: Clock,
    line: Announced<Line>,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("InProcess")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl Deref for InProcess {
    type Target = Backstage;

    fn deref(&self) -> &Backstage {
        &self.backstage
    }
}

impl InProcess {
    /// Serves a world.
    #[must_use]
    pub fn new(world: World) -> InProcess {
        InProcess {
            clock: world.clock.clone(),
            backstage: Backstage::of(world, Timers::Callers),
            line: Announced::new(Line { up: true, cuts: 0 }),
        }
    }

    /// Makes a call. Where neither gate nor delay nor silence stands in its way, it ends without ever
    /// waiting.
    ///
    /// The future may be dropped at any time, as by a client that gives up. If it was ever polled the
    /// request has arrived, and is carried out: at once, or when the gate that holds it opens.
    pub async fn call(&self, call: Call) -> Heard {
        let mut line = self.line.listener();
        let Line { up, cuts } = self.line.get();
        if !up {
            return Heard::NoConnection;
        }
        let bodiless = call.method == "HEAD";
        match Life::begin(&self.backstage.shared, call.arriving(&self.clock), None) {
            Begun::Admin(outgoing) => brought(outgoing, bodiless).await,
            Begun::Life(begun) => {
                let mut caller = Caller {
                    life: begun,
                    line: &self.line,
                    cuts,
                    is_done: false,
                };
                tokio::select! {
                    biased;
                    () = line.changed() => Heard::Broken,
                    heard = caller.hears(bodiless) => heard,
                }
            }
        }
    }

    /// Refuses calls from now on, and breaks those that are under way. Requests that are held are lost.
    /// The world stays.
    pub fn go_down(&self) {
        let cut = self.line.change(|Line { up, cuts }| {
            up.then_some(Line {
                up: false,
                cuts: cuts + 1,
            })
        });
        if cut {
            self.world(|world| world.left.clear());
        }
    }

    /// Takes calls again.
    pub fn come_up(&self) {
        self.line
            .change(|Line { up, cuts }| (!up).then_some(Line { up: true, cuts }));
    }
}

/// Whoever waits for an answer; dropping it before is leaving.
struct Caller<'a> {
    life: Life,
    line: &'a Announced<Line>,
    cuts: u64,
    is_done: bool,
}

impl Caller<'_> {
    async fn hears(&mut self, bodiless: bool) -> Heard {
        let outgoing = self.life.answered().await;
        let foreseen = outgoing.foreseen();
        if let Some((status, finish)) = foreseen {
            self.life.record(status, finish);
            self.is_done = true;
        }
        let status = outgoing.status();
        let heard = brought(outgoing, bodiless).await;
        if foreseen.is_none() {
            self.life.record(status, Finish::Whole);
            self.is_done = true;
        }
        heard
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        // What was on a line that was cut is lost.
        if !self.is_done && self.line.get().cuts == self.cuts {
            self.life.left();
        }
    }
}

/// What a client makes of an answer, in the time that it takes.
async fn brought(outgoing: Outgoing, bodiless: bool) -> Heard {
    let body = outgoing.body.as_slice();
    let heard = match outgoing.delivery {
        Delivery::Close | Delivery::Reset => None,
        Delivery::Silence(None) => pending().await,
        Delivery::Silence(Some(time)) => {
            tokio::time::sleep(time).await;
            None
        }
        Delivery::HeadThenSilence => match understood(&outgoing, &[], bodiless, false) {
            None => pending().await,
            whole => whole,
        },
        Delivery::Cut { after, reset } => {
            let body = &body[..after.min(body.len())];
            understood(&outgoing, body, bodiless, !reset)
        }
        Delivery::Drip { every, from_start } => {
            let head = if from_start { outgoing.head().len() } else { 0 };
            tokio::time::sleep(times(every, head + body.len())).await;
            understood(&outgoing, body, bodiless, true)
        }
        Delivery::Whole => understood(&outgoing, body, bodiless, true),
    };
    heard.unwrap_or(Heard::Broken)
}

fn times(every: Duration, bytes: usize) -> Duration {
    every.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// The answer, if these bytes of its body make it whole. `fin` says that the connection ends after
/// them, and in order.
fn understood(outgoing: &Outgoing, body: &[u8], bodiless: bool, fin: bool) -> Option<Heard> {
    if outgoing.status != 0 {
        let body = whole_body(outgoing.status, &outgoing.headers, body, bodiless, fin)?;
        return Some(Heard::Answer {
            status: outgoing.status,
            headers: outgoing.headers.clone(),
            body,
        });
    }
    let mut slots = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut slots);
    let Ok(httparse::Status::Complete(used)) = response.parse(body) else {
        return None;
    };
    let status = response.code?;
    let headers: Vec<(String, String)> = response
        .headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value);
            (header.name.to_owned(), value.trim().to_owned())
        })
        .collect();
    let body = whole_body(status, &headers, &body[used..], bodiless, fin)?;
    Some(Heard::Answer {
        status,
        headers,
        body,
    })
}

/// As much of the body as the head announces; `None` if there is less.
fn whole_body(
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
    bodiless: bool,
    fin: bool,
) -> Option<Vec<u8>> {
    let of = |name: &str| {
        let mut named = headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.to_ascii_lowercase())
    };
    if bodiless || matches!(status, 204 | 304) {
        return Some(Vec::new());
    }
    if of("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        return parse_chunks(body).ok().flatten().map(|(body, _)| body);
    }
    match of("content-length") {
        Some(length) => body.get(..length.parse().ok()?).map(<[u8]>::to_vec),
        None => fin.then(|| body.to_vec()),
    }
}
