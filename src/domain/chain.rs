//! The chain of records behind an object, as it stands when deciding, and what it says of a further
//! attempt.

use std::time::Duration;

use jiff::Timestamp;

use super::ids::{InstanceId, RecordName};
use super::order::Order;
use super::quote::Quote;
use super::reason::Reason;
use super::record::{Record, State, Times, later};
use super::report::{Report, Trouble};

/// Attempts without a new generation, after which only a person goes on.
const MOST_TRIES: u32 = 8;
/// First and longest wait between two attempts.
const RETRY_BOUNDS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15 * 60));
/// Readings older than this are not bought upon.
const READINGS_LAST: Duration = Duration::from_secs(60);

/// What the ledger, the object's status and the operator's own settings say.
#[derive(Debug, Clone)]
pub struct Chain {
    /// This installation.
    pub instance: InstanceId,
    /// The last record of the chain.
    pub tail: Option<Record>,
    /// Why the last record cannot be read, if it is there and cannot.
    pub unreadable: Option<String>,
    /// The record that the status names, if the ledger no longer has it.
    pub missing: Option<RecordName>,
    /// Why the operation cannot be followed at the moment.
    pub following: Option<Trouble>,
    /// The quote that the status shows.
    pub shown_quote: Option<Quote>,
    /// Since when the object is Stalled.
    pub stalled_since: Option<Timestamp>,
    /// What the operator's own brakes leave.
    pub brakes: Brakes,
}

/// The operator's own brakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brakes {
    /// `--read-only`.
    pub read_only: bool,
    /// The cap and how many paid calls of the last 24 hours count against it, if it is reached.
    pub cap_reached: Option<u32>,
    /// No paid call with this key before, after a 429.
    pub key_not_before: Option<Timestamp>,
}

impl Chain {
    /// Why nothing may be decided upon this chain: a record is gone, unreadable, or another
    /// installation's. `instead` says what to do where a record is gone.
    pub fn barred(&self, instead: &str, times: &Times, now: Timestamp) -> Option<Report<()>> {
        let (reason, message) = self.bar(instead)?;
        Some(Report::stalled(reason, message, self.stalled_since, times, now))
    }

    fn bar(&self, instead: &str) -> Option<(Reason, String)> {
        if let Some(missing) = &self.missing {
            return Some((
                Reason::LedgerMissing,
                format!(
                    "the status names VpsOperation {missing}, which is gone; nothing is bought, for it may have been executed. \
                     Bring the record back from a backup{instead}"
                ),
            ));
        }
        if let Some(unreadable) = &self.unreadable {
            return Some((Reason::OtherInstance, format!("{unreadable}; nothing is bought")));
        }
        let record = self
            .tail
            .as_ref()
            .filter(|tail| tail.claim.instance != self.instance)?;
        Some((
            Reason::OtherInstance,
            format!(
                "VpsOperation {} belongs to the installation {:?}, this one is {:?}; set --instance-id to drive it",
                record.name,
                record.claim.instance.as_str(),
                self.instance.as_str()
            ),
        ))
    }

    /// Consent stands, and still the order must wait: after an attempt of the same object that came to
    /// nothing (`last`), or for a brake.
    pub fn holds_back(
        &self,
        order: &Order,
        last: Option<&Record>,
        times: &Times,
        now: Timestamp,
    ) -> Option<Report<()>> {
        self.after_the_last_attempt(order, last, times, now)
            .or_else(|| self.braked(order, times, now))
    }

    fn after_the_last_attempt(
        &self,
        order: &Order,
        last: Option<&Record>,
        times: &Times,
        now: Timestamp,
    ) -> Option<Report<()>> {
        // A limit is the key's, whoever met it.
        let limits = last.into_iter().chain(self.tail.as_ref());
        let limited = limits.filter_map(|record| record.known.not_before).max();
        if let Some(until) = limited.filter(|until| now < *until) {
            let message = "HostUp asked to wait before the next paid call";
            return Some(Report::new(Reason::RateLimited, message, Some(until)));
        }
        let last = last.filter(|_| order.attempt.tries > 1)?;
        let rejected =
            |message: String| Report::stalled(Reason::Rejected, message, self.stalled_since, times, now);
        if order.attempt.tries > MOST_TRIES {
            return Some(rejected(format!(
                "{MOST_TRIES} attempts came to nothing; the last: {}. Change the spec to try again",
                last.known.message.as_clause()
            )));
        }
        let ended = last.known.quiet_since.unwrap_or(last.claim.made_at);
        let next = later(ended, retry_wait(last.tries));
        match last.known.state {
            State::Rejected if limited.is_none() && last.cause == order.cause => {
                let code = last
                    .known
                    .code
                    .as_ref()
                    .map(|code| format!(" ({code})"))
                    .unwrap_or_default();
                let said = last.known.message.as_clause();
                Some(rejected(format!(
                    "{said}{code}. It is tried again once the spec, the Secret, a gate or the price has changed"
                )))
            }
            State::Rejected | State::NotSent if now < next => {
                let message = format!(
                    "the last attempt came to nothing: {}. The next one follows at {next:.0}",
                    last.known.message.as_clause()
                );
                let reason = if limited.is_some() {
                    Reason::RateLimited
                } else {
                    Reason::ProviderUnavailable
                };
                Some(Report::new(reason, message, Some(next)))
            }
            State::Rejected
            | State::NotSent
            | State::NotExecuted
            | State::Sending
            | State::Accepted
            | State::Succeeded
            | State::Failed
            | State::Unknown
            | State::Abandoned => None,
        }
    }

    fn braked(&self, order: &Order, times: &Times, now: Timestamp) -> Option<Report<()>> {
        let gate = later(now, times.gate_interval);
        let wait = |reason, message: String, until| Some(Report::new(reason, message, Some(until)));
        match self.brakes {
            Brakes { read_only: true, .. } => wait(
                Reason::ReadOnly,
                "nothing else is missing, but the operator runs with --read-only and sends no paid call"
                    .into(),
                gate,
            ),
            Brakes {
                cap_reached: Some(cap),
                ..
            } => wait(
                Reason::PaidCallCap,
                format!(
                    "nothing else is missing, but {cap} paid calls (--max-paid-calls) have been made within 24 hours"
                ),
                gate,
            ),
            Brakes {
                key_not_before: Some(until),
                ..
            } if now < until => wait(
                Reason::RateLimited,
                "HostUp asked to wait before the next paid call with this key".into(),
                until,
            ),
            Brakes { .. } if now > later(order.read_at, READINGS_LAST) => wait(
                Reason::ProviderUnavailable,
                "HostUp answers so slowly that gates and price are too old to buy upon".into(),
                gate,
            ),
            Brakes { .. } => None,
        }
    }
}

/// The wait after the `tries`-th attempt: 30 s, doubling, to 15 min.
fn retry_wait(tries: u32) -> Duration {
    let (first, longest) = RETRY_BOUNDS;
    let factor = 2_u32.saturating_pow(tries.saturating_sub(1).min(16));
    first.saturating_mul(factor).min(longest)
}
