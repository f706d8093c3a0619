//! Status writes that may still land: their answer was lost, or the process that sent them has ended. One lands only on
//! the version that it was made from, and so may put back what is not true any more: no watch brings that to a look.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::approvals::Place;
use crate::cluster::api_call::ApiError;
use crate::domain::ledger::record::later;
use crate::domain::values::moment::Moment;

/// An API server lets go of a request after a minute (`--request-timeout`).
const LANDS_WITHIN: Duration = Duration::from_secs(60);

/// The writes that may still land.
pub struct LateWrites {
    /// What an earlier process sent is not known.
    began: Moment,
    unclear: Mutex<BTreeMap<Place, Moment>>,
}

impl LateWrites {
    /// The process begins.
    pub fn new(began: Moment) -> Self {
        Self {
            began,
            unclear: Mutex::default(),
        }
    }

    /// What became of a write to the status of an object.
    pub fn note<T>(&self, place: Place, written: &Result<T, ApiError>, now: Moment) {
        if written.as_ref().is_err_and(ApiError::leaves_a_write_open) {
            self.lock().insert(place, now);
        }
    }

    /// When to look at an object next. At `wake` that happens in any case; `None` is never.
    pub fn look_again(&self, place: &Place, wake: Option<Timestamp>, now: Moment) -> Option<Timestamp> {
        let mut unclear = self.lock();
        unclear.retain(|_, sent| now.since(sent) < LANDS_WITHIN);
        let may_land = unclear.contains_key(place);
        let once_landed = later(now.wall, LANDS_WITHIN);
        match wake {
            Some(wake) if may_land => Some(wake.min(once_landed)),
            None if may_land || now.since(&self.began) < LANDS_WITHIN => Some(once_landed),
            // The look at `wake` corrects what an earlier process wrote.
            wake => wake,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Moment>> {
        self.unclear.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::values::ids::SubjectKind;

    fn at(seconds: u64) -> Moment {
        let passed = Duration::from_secs(seconds);
        Moment {
            wall: later(Timestamp::UNIX_EPOCH, passed),
            monotonic: passed,
            with_sleep: passed,
        }
    }

    fn place(name: &str) -> Place {
        Place {
            kind: SubjectKind::VpsBackupRestore,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn an_object_is_looked_at_again_once_a_write_whose_answer_was_lost_has_landed() {
        let writes = LateWrites::new(at(0));
        writes.note::<()>(place("lost"), &Err(ApiError::Silent), at(100));
        writes.note(place("answered"), &Ok(()), at(100));
        let look_again = |name, wake: Option<u64>, now| {
            let wake = wake.map(|wake| at(wake).wall);
            let again = writes.look_again(&place(name), wake, at(now));
            again.map(Timestamp::as_second)
        };
        for (name, wake, again) in [
            ("lost", None, Some(165)),
            ("lost", Some(900), Some(165)),
            ("lost", Some(110), Some(110)),
            ("answered", None, None),
            ("answered", Some(900), Some(900)),
        ] {
            assert_eq!(look_again(name, wake, 105), again, "{name} {wake:?}");
        }
        assert_eq!(look_again("lost", None, 160), None);
    }

    #[test]
    fn a_process_that_begins_looks_once_more_at_what_would_rest() {
        let writes = LateWrites::new(at(100));
        let look_again = |wake, now| writes.look_again(&place("any"), wake, at(now));
        assert_eq!(look_again(None, 130), Some(at(190).wall));
        assert_eq!(look_again(Some(at(900).wall), 130), Some(at(900).wall));
        assert_eq!(look_again(None, 160), None);
    }
}
