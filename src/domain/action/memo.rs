//! What a process remembers of a call that it follows.

use jiff::Timestamp;
use std::time::Duration;

use super::follow::is_refuted;
use crate::ledger::record::{Evidence, Outcome, Record, Resolution, State, Times, later};
use crate::values::moment::{Rest, is_dated_ahead};

/// How long after the settle time HostUp may stay unreadable before a person is asked.
pub(super) const PATIENCE_TO_LOOK: Duration = Duration::from_secs(15 * 60);

/// What a process remembers of an operation between two looks; lost with the process, never trusted
/// for more than timing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memo {
    /// This process is sending the call right now.
    pub in_flight: bool,
    /// Complete readings that did not show what was bought.
    pub absent_reads: u32,
    /// While it lasts, nothing is read.
    pub rest: Option<Rest>,
    /// Since when this process has seen the job ended, or not known to HostUp, without a VM to show.
    pub ended_since: Option<Timestamp>,
    /// The person's answer that was already looked into.
    pub tried: Option<Resolution>,
    /// When a backup was last seen not to be made yet.
    pub unfinished_at: Timestamp,
    /// Since when this process could read nothing that tells of the outcome.
    pub unread_since: Option<Timestamp>,
    /// What HostUp has shown, and the API server has not taken yet.
    pub unwritten: Option<Box<Unwritten>>,
    /// A clock that was ahead has dated the end of the call.
    pub dated_ahead: Option<DatedAhead>,
}

/// A date that no clock which is right can have written by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatedAhead {
    /// The date.
    pub at: Timestamp,
    /// When this process saw it first.
    pub seen: Timestamp,
}

impl Memo {
    /// To be called before each look at the record.
    pub fn begins_a_look(&mut self, record: &Record, times: &Times, now: Timestamp) {
        self.set_back(now);
        let at = record.quiet_at(times);
        let seen = self.dated_ahead.filter(|before| before.at == at);
        let seen = seen.map_or(now, |before| before.seen.min(now));
        self.dated_ahead = is_dated_ahead(at, now).then_some(DatedAhead { at, seen });
    }

    /// When the call of the record had ended. What a clock that was ahead has dated counts from one's own sight of it.
    pub(super) fn quiet_at(&self, record: &Record, times: &Times) -> Timestamp {
        self.dated_ahead
            .map_or_else(|| record.quiet_at(times), |dated| dated.seen)
    }

    /// When absence begins to prove something.
    pub(super) fn settled_at(&self, record: &Record, times: &Times) -> Timestamp {
        later(self.quiet_at(record, times), times.settle_time)
    }

    /// Until when nothing is read.
    pub fn rests_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.rest.and_then(|rest| rest.lasts_until(now))
    }

    /// Since when something lasts is told by a clock that may have been set back since.
    fn set_back(&mut self, now: Timestamp) {
        for since in [&mut self.ended_since, &mut self.unread_since] {
            *since = since.map(|since| since.min(now));
        }
        self.unfinished_at = self.unfinished_at.min(now);
    }

    /// Whether nothing could be read for so long that a person is to be asked. A process that has just begun has hardly tried.
    pub(super) fn is_out_of_patience(&self, now: Timestamp) -> bool {
        let patience = |since| now >= later(since, PATIENCE_TO_LOOK);
        self.unread_since.is_some_and(patience)
    }
}

/// What a look came to that could not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritten {
    over: Outcome,
    answer: Option<Resolution>,
    known: Outcome,
}

impl Default for Memo {
    fn default() -> Self {
        Self {
            in_flight: false,
            absent_reads: 0,
            rest: None,
            ended_since: None,
            tried: None,
            unfinished_at: Timestamp::MIN,
            unread_since: None,
            unwritten: None,
            dated_ahead: None,
        }
    }
}

/// `known` could not be written over the record. HostUp may have forgotten its job before the next look, so what it has
/// shown is kept; what was concluded from absence, or from an answer alone, is concluded anew.
pub fn could_not_write(record: &Record, known: &Outcome, memo: &mut Memo) {
    let has_ended = matches!(known.state, State::Succeeded | State::Failed);
    let is_shown = has_ended && known.evidence != Some(Evidence::Person)
        || known.evidence == Some(Evidence::Job)
        || is_refuted(known) && !is_refuted(&record.known);
    memo.unwritten = is_shown.then(|| {
        Box::new(Unwritten {
            over: record.known.clone(),
            answer: record.answer.clone(),
            known: known.clone(),
        })
    });
    // An answer that was looked into is looked into again.
    memo.tried = None;
    memo.rest = None;
}

/// What is to be written to the record before anything is read anew.
pub fn still_to_write(record: &Record, memo: &mut Memo) -> Option<Outcome> {
    let Unwritten { over, answer, known } = *memo.unwritten.take()?;
    // An end counts whatever a person has answered meanwhile; what refutes an answer is said of that answer.
    let counts = known.state.is_final() || record.answer == answer;
    (record.known == over && counts).then_some(known)
}
