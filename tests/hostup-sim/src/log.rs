//! The request log: what arrived, and what was answered; and the counts of both.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use crate::account::AccountId;
use crate::routes::Route;
use crate::world::World;

/// What a world keeps of the requests; it counts them in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Keep {
    /// The whole log.
    #[default]
    Everything,
    /// Nothing: a long simulation does not grow but by what it buys, and nobody looks for keys in odd
    /// places.
    Counts,
}

/// What the credentials of a request were. The key's text is never kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No `Authorization` header (and no `X-API-Key` on a legacy route).
    Missing,
    /// An `Authorization` header that is not `Bearer <something>`.
    Malformed,
    /// A key that never existed.
    UnknownKey,
    /// A key that existed and was revoked or rotated away.
    RevokedKey {
        /// Its account.
        account: AccountId,
        /// Its name.
        key: String,
    },
    /// A valid key.
    Key {
        /// Its account.
        account: AccountId,
        /// Its name.
        key: String,
    },
}

/// How the answering of a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The whole answer was written.
    Whole,
    /// The answer was cut (FIN or RST) after part of it was written.
    Cut,
    /// Closed (FIN) without a byte.
    Closed,
    /// Reset (RST) without a byte.
    Reset,
    /// Kept silent, before or after the head, until the time was over or the client left.
    Silent,
    /// The client went away while the answer was written.
    ClientLeft,
}

/// One request that arrived in full.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Place in the log.
    pub index: usize,
    /// The TCP connection it came on; 0 in process.
    pub connection: u64,
    /// 1 for the first request of its connection: then the connection was not reused.
    pub nth_on_connection: u32,
    /// `HTTP/1.1`, ...; `in process`.
    pub http_version: String,
    /// When its first byte was read.
    pub first_byte_at: Instant,
    /// When its last byte was read.
    pub received_at: Instant,
    /// The same, by the wall clock.
    pub at: SystemTime,
    /// The route it was recognised as.
    pub route: Route,
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path as sent, without the query.
    pub path: String,
    /// The raw query, without `?`.
    pub query: Option<String>,
    /// Headers, names in lower case, repeated ones joined by `, `; of `authorization` only the
    /// scheme and what [`Auth`] says, never the text.
    pub headers: BTreeMap<String, String>,
    /// Whose key it was.
    pub auth: Auth,
    /// The text of a known key stood somewhere else: in the URL, the body, or another header.
    pub key_elsewhere: bool,
    /// The body.
    pub body: Vec<u8>,
    /// Whether it was carried out: for a call that is [ledgered](Route::is_ledgered), whether it was executed (has a line; a
    /// legacy estimate has one only if it [executes](crate::LegacyBehaviour::estimate_executes)); for
    /// a read or a preview, whether it was looked up.
    pub acted: bool,
    /// Whether the account's own rate limit refused it.
    pub throttled: bool,
    /// The fault that answered it, if any.
    pub fault: Option<String>,
    /// The status that was written, if any was.
    pub status: Option<u16>,
    /// How answering ended; `None` while it is not over.
    pub finish: Option<Finish>,
    /// When answering was over.
    pub finished_at: Option<Instant>,
}

impl RequestRecord {
    /// The body as text (lossy).
    #[must_use]
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// One header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Whether it carried a valid key of that account.
    #[must_use]
    pub fn is_from(&self, who: AccountId) -> bool {
        matches!(&self.auth, Auth::Key { account, .. } if *account == who)
    }
}

/// One TCP connection, also if no request ever came on it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its number, as in [`RequestRecord::connection`].
    pub id: u64,
    /// When it was accepted.
    pub opened_at: Instant,
    /// Bytes that were read from it.
    pub bytes_in: u64,
    /// Whole requests that came on it.
    pub requests: u32,
    /// Whether it is over.
    pub closed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    arrived: usize,
    acted: usize,
    answered: usize,
}

/// The log of a world.
#[derive(Debug, Default)]
pub(crate) struct Log {
    arrived: usize,
    counts: BTreeMap<Route, Counts>,
    /// Those that are kept, by their index.
    records: Vec<RequestRecord>,
}

impl Log {
    /// The index of the request that comes next.
    pub(crate) fn next(&self) -> usize {
        self.arrived
    }

    /// A request arrived; `record` is what is kept of it.
    pub(crate) fn arrived(&mut self, route: Route, record: Option<RequestRecord>) {
        self.arrived += 1;
        self.counts.entry(route).or_default().arrived += 1;
        self.records.extend(record);
    }

    pub(crate) fn acted(&mut self, route: Route, index: usize, acted: bool, throttled: bool) {
        self.counts.entry(route).or_default().acted += usize::from(acted);
        if let Some(record) = self.record_mut(index) {
            record.acted = acted;
            record.throttled = throttled;
        }
    }

    /// Its answering ended.
    pub(crate) fn answered(
        &mut self,
        route: Route,
        index: usize,
        status: Option<u16>,
        finish: Finish,
        at: Instant,
    ) {
        self.counts.entry(route).or_default().answered += 1;
        self.corrected(index, status, finish, at);
    }

    /// It ended otherwise than was foreseen.
    pub(crate) fn corrected(&mut self, index: usize, status: Option<u16>, finish: Finish, at: Instant) {
        if let Some(record) = self.record_mut(index) {
            record.status = status;
            record.finish = Some(finish);
            record.finished_at = Some(at);
        }
    }

    pub(crate) fn records(&self) -> &[RequestRecord] {
        &self.records
    }

    fn record_mut(&mut self, index: usize) -> Option<&mut RequestRecord> {
        let place = self.records.binary_search_by_key(&index, |own| own.index);
        self.records.get_mut(place.ok()?)
    }

    fn sum(&self, filter: Route, of: impl Fn(&Counts) -> usize) -> usize {
        let counts = self.counts.iter().filter(|(route, _)| route.is_in(filter));
        counts.map(|(_, counts)| of(counts)).sum()
    }
}

impl World {
    /// The request log, as far as it is kept ([`World::keep`]).
    #[must_use]
    pub fn requests(&self) -> &[RequestRecord] {
        self.log.records()
    }

    /// The request log of one route, as far as it is kept.
    pub fn requests_on(&self, route: Route) -> impl Iterator<Item = &RequestRecord> {
        self.requests().iter().filter(move |own| own.route.is_in(route))
    }

    /// How many requests of a route arrived.
    #[must_use]
    pub fn count(&self, route: Route) -> usize {
        self.log.sum(route, |counts| counts.arrived)
    }

    /// How many of them were carried out.
    #[must_use]
    pub fn count_acted(&self, route: Route) -> usize {
        self.log.sum(route, |counts| counts.acted)
    }

    /// How many of them have been answered (in whatever way).
    #[must_use]
    pub fn count_answered(&self, route: Route) -> usize {
        self.log.sum(route, |counts| counts.answered)
    }
}
