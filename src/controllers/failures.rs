//! How often each object was looked at in vain, and how long it waits therefore.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Resource;

use super::Error;

/// The wait after a first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(5);
/// The longest wait for an API server that may be back at any moment.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest wait after a refusal, which lasts until somebody puts it right.
const LONGEST_REFUSAL: Duration = Duration::from_secs(15 * 60);

/// Kind, namespace and name.
type Which = (String, String, String);

fn which<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> Which {
    (K::kind(&()).into_owned(), namespace.to_owned(), name.to_owned())
}

/// Failures in a row, by object.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<Which, u32>>);

impl Failures {
    /// It failed once more; the wait until it is looked at again.
    pub fn failed<K: Resource<DynamicType = ()>>(
        &self,
        namespace: &str,
        name: &str,
        why: &Error,
    ) -> Duration {
        let mut failures = self.lock();
        let count = failures.entry(which::<K>(namespace, name)).or_default();
        *count = count.saturating_add(1);
        wait(*count, why.is_refusal())
    }

    /// Whether it failed when it was looked at last.
    pub fn has_failed<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) -> bool {
        self.lock().contains_key(&which::<K>(namespace, name))
    }

    /// It went well.
    pub fn succeeded<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) {
        self.lock().remove(&which::<K>(namespace, name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Which, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait(failures: u32, refused: bool) -> Duration {
    let longest = if refused { LONGEST_REFUSAL } else { LONGEST };
    let times = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST.saturating_mul(times).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::operation::VpsOperation;

    #[test]
    fn waits_grow_to_a_minute_and_after_refusals_to_a_quarter_of_an_hour() {
        let waits = |refused| [1, 2, 3, 5, 9, 40, u32::MAX].map(|n| wait(n, refused).as_secs());
        assert_eq!(waits(false), [5, 10, 20, 60, 60, 60, 60]);
        assert_eq!(waits(true), [5, 10, 20, 80, 900, 900, 900]);
    }

    #[test]
    fn what_went_well_begins_anew_and_others_do_not_count() {
        let failures = Failures::default();
        let failed = |name| {
            failures
                .failed::<VpsOperation>("n", name, &Error::Stopping)
                .as_secs()
        };
        assert_eq!([failed("x"), failed("x"), failed("y")], [5, 10, 5]);
        failures.succeeded::<VpsOperation>("n", "x");
        assert_eq!([failed("x"), failed("y")], [5, 10]);
    }
}
