//! Which objects wait for an approval, and since when: for a series, and for an event that repeats daily.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::domain::values::ids::SubjectKind;
use crate::ledger::kind::PurchasingKind;

/// A person is reminded each time that so much has passed.
const REMIND: SignedDuration = SignedDuration::from_hours(24);

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its kind.
    pub kind: SubjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Place {
    /// Of the object that has this metadata.
    pub fn of<K: PurchasingKind>(metadata: &ObjectMeta) -> Self {
        Self {
            kind: K::KIND,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    since: Timestamp,
    looked_at: Timestamp,
}

/// The objects that wait.
#[derive(Default)]
pub struct Approvals {
    waiting: Mutex<BTreeMap<Place, Waiting>>,
}

impl Approvals {
    /// The object waits since `since`. Whether a day more has passed since it was looked at before; a process that looks
    /// for the first time does not know.
    pub fn waits(&self, place: Place, since: Timestamp, now: Timestamp) -> bool {
        let waiting = Waiting {
            since,
            looked_at: now,
        };
        let before = self.lock().insert(place, waiting);
        let before = before.filter(|before| before.since == since);
        before.is_some_and(|before| days(since, now) > days(since, before.looked_at))
    }

    /// It does not wait for one.
    pub fn forget(&self, place: &Place) {
        self.lock().remove(place);
    }

    /// All that wait, and since when.
    pub fn all(&self) -> Vec<(Place, Timestamp)> {
        let waiting = self.lock();
        let all = waiting.iter();
        all.map(|(place, waiting)| (place.clone(), waiting.since))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn days(since: Timestamp, now: Timestamp) -> i64 {
    now.duration_since(since).as_secs() / REMIND.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_reminded_once_for_each_day_however_often_the_object_is_looked_at() {
        let approvals = Approvals::default();
        let place = |name: &str| Place {
            kind: SubjectKind::VpsBackupRestore,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        };
        let at = |minutes| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let mut reminded = Vec::new();
        for minutes in (0..4 * 24 * 60).step_by(7) {
            if approvals.waits(place("web"), at(0), at(minutes)) {
                reminded.push(minutes / (24 * 60));
            }
        }
        assert_eq!(reminded, [1, 2, 3]);
        assert_eq!(approvals.all(), [(place("web"), at(0))]);
        // Another price, or a process that has just begun.
        assert!(!approvals.waits(place("web"), at(5000), at(9000)));
        assert!(!approvals.waits(place("db"), at(0), at(9000)));
        approvals.forget(&place("web"));
        assert_eq!(approvals.all(), [(place("db"), at(0))]);
    }
}
