//! How things stand with an object, and when to look again; the facts are those of its kind.

use std::time::Duration;

use jiff::Timestamp;

use crate::ledger::record::{Times, later};
use crate::status::reason::{Reason, Standing};
use crate::values::text::Text;

/// The longest wait of a stalled object.
const LONGEST_STALL: Duration = Duration::from_secs(15 * 60);

/// What only a record's news changes is looked at so often all the same, for a watch may be dead.
const MIRRORED_LOOK: Duration = Duration::from_secs(3 * 60);

/// When what a record says is looked at again.
pub fn mirrored_look(times: &Times, now: Timestamp) -> Timestamp {
    later(now, MIRRORED_LOOK.min(times.resync_interval))
}

/// How things stand, and when to look again.
#[derive(Debug, Clone)]
pub struct Report<F> {
    /// The reason of `Ready`.
    pub reason: Reason,
    /// For people: what happened, to which object, what to do.
    pub message: String,
    /// The rest of the status.
    pub facts: F,
    /// When to look again; `None` waits for a change.
    pub wake: Option<Timestamp>,
    /// Its event is a warning whatever the reason.
    pub warns: bool,
}

impl<F> Report<F> {
    /// With these facts instead.
    pub fn with<G>(self, facts: G) -> Report<G> {
        Report {
            reason: self.reason,
            message: self.message,
            facts,
            wake: self.wake,
            warns: self.warns,
        }
    }
}

impl Report<()> {
    /// As it says.
    pub fn new(reason: Reason, message: impl Into<String>, wake: Option<Timestamp>) -> Self {
        Self {
            reason,
            message: message.into(),
            facts: (),
            wake,
            warns: false,
        }
    }

    /// Nothing is read or bought for an object that is suspended or being deleted; `None` for another one.
    pub fn at_rest(is_suspended: bool, is_being_deleted: bool) -> Option<Self> {
        let message = match (is_being_deleted, is_suspended) {
            (true, _) => "being deleted: nothing is read and nothing is bought",
            (false, true) => {
                "suspended: nothing is read and nothing is bought; set spec.suspend to false to go on"
            }
            (false, false) => return None,
        };
        Some(Self::new(Reason::Suspended, message, None))
    }

    /// A stalled object is read again too, ever more rarely, to 15 min.
    pub fn stalled(
        reason: Reason,
        message: impl Into<String>,
        since: Option<Timestamp>,
        times: &Times,
        now: Timestamp,
    ) -> Self {
        let age = Duration::try_from(now.duration_since(since.unwrap_or(now))).unwrap_or_default();
        let wait = age.clamp(times.gate_interval.min(LONGEST_STALL), LONGEST_STALL);
        Self::new(reason, message, Some(later(now, wait)))
    }

    /// HostUp could not be read.
    pub fn troubled(trouble: &Trouble, since: Option<Timestamp>, times: &Times, now: Timestamp) -> Self {
        if trouble.reason.standing() == Standing::Stalled {
            return Self::stalled(trouble.reason, trouble.message.as_str(), since, times, now);
        }
        let until = trouble.until.unwrap_or_else(|| later(now, times.gate_interval));
        Self::new(trouble.reason, trouble.message.as_str(), Some(until))
    }
}

/// Why HostUp could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The reason to show.
    pub reason: Reason,
    /// In words.
    pub message: Text,
    /// When it makes sense to try again, if HostUp said so.
    pub until: Option<Timestamp>,
}
