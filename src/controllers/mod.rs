//! Floor 3: observe, decide, act, report. The only floor with both clients.

pub mod approvals;
pub mod budgets;
pub mod context;
mod failures;
mod late_writes;
mod news;
pub mod observe;
pub mod operation;
pub mod options;
pub mod policies;
mod reading;
mod refused;
pub mod reporter;
pub mod restore;
mod rhythm;
pub mod run;
pub mod settings;
pub mod telemetry_hooks;
mod turns;
mod vms;

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use thiserror::Error;

use crate::chance::Chance;
use crate::domain::ledger::record::Times;
use crate::domain::values::ids::{RecordName, VpsId};
use crate::ledger;

/// A reconcile that could not be finished; it is tried again.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server could not be read or written.
    #[error(transparent)]
    Api(#[from] crate::cluster::api_call::ApiError),
    /// Two records came to the same VM at the same time; it is kept for the one that was first.
    #[error("VPS {0} is being recorded as the result of VpsOperation {1}")]
    AnothersResult(VpsId, RecordName),
    /// The process is about to end and begins nothing new.
    #[error("the operator is stopping")]
    Stopping,
    /// A purchase panicked or lost its way; its record asks a person once its time has passed.
    #[error("the purchase was cut short; this is a bug, please report it with the log")]
    CutShort,
    /// The reconcile panicked; the object is looked at again, the process goes on.
    #[error("the reconcile panicked; this is a bug, please report it with the log")]
    Panicked,
}

impl From<ledger::Error> for Error {
    fn from(error: ledger::Error) -> Self {
        match error {
            ledger::Error::Api(error) => Self::Api(error),
            ledger::Error::AnothersResult(vps, other) => Self::AnothersResult(vps, other),
            ledger::Error::Stopping => Self::Stopping,
            ledger::Error::CutShort => Self::CutShort,
        }
    }
}

impl Error {
    /// The API server refused, and will refuse again until somebody puts it right.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Api(error) if error.refusal().is_some())
    }
}

/// Waits longer than this are spread.
const SPREAD_FROM: Duration = Duration::from_secs(90);

/// The shortest wait, unless an interval is set shorter: a wall clock that was put forward makes every moment past.
const SHORTEST: Duration = Duration::from_secs(1);

/// Looks again at `at`, never at once, and within the resync interval: a wall clock that is behind makes every moment far
/// away, and may be set right soon.
fn requeue_at(at: Option<Timestamp>, now: Timestamp, times: &Times, chance: &Chance) -> Action {
    match at {
        None => Action::await_change(),
        Some(at) => {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            let wait = wait.min(times.resync_interval);
            // Long waits are spread, so that objects that were made together do not come back together.
            let spread = if wait > SPREAD_FROM {
                chance.jittered(wait)
            } else {
                wait
            };
            Action::requeue(spread.max(SHORTEST.min(times.poll_interval)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        settle_time: Duration::from_secs(300),
        poll_interval: Duration::from_secs(2),
        request_timeout: Duration::from_secs(15),
        paid_timeout: Duration::from_secs(60),
        job_deadline: Duration::from_secs(21_600),
        resync_interval: Duration::from_secs(80),
        gate_interval: Duration::from_secs(60),
    };

    fn waits(seconds: i64) -> String {
        let now = Timestamp::UNIX_EPOCH;
        let at = now + jiff::SignedDuration::from_secs(seconds);
        format!(
            "{:?}",
            requeue_at(Some(at), now, &TIMES, &Chance::of_the_machine())
        )
    }

    #[test]
    fn a_moment_that_is_past_is_a_second_away() {
        let shortest = format!("{:?}", Action::requeue(SHORTEST));
        assert_eq!(waits(-1_000_000), shortest);
        assert_eq!(waits(0), shortest);
        assert_eq!(
            waits(60),
            format!("{:?}", Action::requeue(Duration::from_secs(60)))
        );
    }

    #[test]
    fn no_moment_is_further_away_than_the_resync_interval() {
        let longest = format!("{:?}", Action::requeue(TIMES.resync_interval));
        assert_eq!(waits(81), longest);
        assert_eq!(waits(1_000_000), longest);
    }
}
