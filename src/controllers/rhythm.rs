//! How often an object is looked at: one that somebody changes all the time takes no more of the workers than others.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::values::moment::Moment;

/// Entries kept before those that hold nothing back any more are thrown away.
const KEPT: usize = 1024;

/// What tells one edition of an object from another: its uid and its generation.
pub type Edition = (String, i64);

/// When the objects of one controller were looked at.
pub struct Rhythm {
    pause: Duration,
    looks: Mutex<Looks>,
}

#[derive(Default)]
struct Looks {
    last: HashMap<(String, String), (Edition, Moment)>,
    woken: HashSet<(String, String)>,
}

impl Rhythm {
    /// An object that is still of the same edition is looked at once in `pause`.
    pub fn new(pause: Duration) -> Self {
        Self {
            pause,
            looks: Mutex::default(),
        }
    }

    /// The operator itself wants the object looked at: that look is not put off.
    pub fn wake(&self, namespace: &str, name: &str) {
        self.lock().woken.insert((namespace.to_owned(), name.to_owned()));
    }

    /// Whether the object may be looked at now; else how long that is put off.
    ///
    /// # Errors
    /// The wait.
    pub fn look(&self, namespace: &str, name: &str, edition: Edition, now: Moment) -> Result<(), Duration> {
        let mut looks = self.lock();
        let place = (namespace.to_owned(), name.to_owned());
        let is_woken = looks.woken.remove(&place);
        if looks.last.len() >= KEPT {
            looks.last.retain(|_, (_, last)| now.since(last) < self.pause);
        }
        if let Some((seen, last)) = looks.last.get(&place)
            && *seen == edition
            && !is_woken
            && now.since(last) < self.pause
        {
            return Err(self.pause.saturating_sub(now.since(last)));
        }
        looks.last.insert(place, (edition, now));
        Ok(())
    }

    /// It is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let place = (namespace.to_owned(), name.to_owned());
        let mut looks = self.lock();
        looks.last.remove(&place);
        looks.woken.remove(&place);
    }

    fn lock(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        let monotonic = Duration::from_millis(millis);
        Moment {
            wall: jiff::Timestamp::UNIX_EPOCH + monotonic,
            monotonic,
            with_sleep: monotonic,
        }
    }

    #[test]
    fn an_object_that_nobody_edits_is_looked_at_once_in_a_pause_unless_it_is_woken() {
        let rhythm = Rhythm::new(Duration::from_secs(2));
        let of = |generation| ("a-uid".to_owned(), generation);
        let look = |generation, millis| rhythm.look("shop", "web", of(generation), at(millis));
        assert_eq!(look(1, 10_000), Ok(()));
        assert_eq!(look(1, 10_500), Err(Duration::from_millis(1_500)));
        assert_eq!(look(2, 10_500), Ok(()));
        rhythm.wake("shop", "web");
        assert_eq!(look(2, 10_600), Ok(()));
        assert_eq!(look(2, 10_700), Err(Duration::from_millis(1_900)));
        assert_eq!(rhythm.look("shop", "other", of(1), at(10_700)), Ok(()));
        assert_eq!(look(2, 12_600), Ok(()));
    }
}
