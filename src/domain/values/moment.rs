//! One moment by three clocks, none of which can be trusted alone: the wall clock is set by people, the
//! monotonic one stands still while the machine sleeps, and both stand still while a guest is paused.

use std::time::Duration;

use jiff::Timestamp;

/// A moment as each clock of this process tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time of day.
    pub wall: Timestamp,
    /// Since some start, without sleep.
    pub monotonic: Duration,
    /// Since some start, sleep included.
    pub with_sleep: Duration,
}

impl Moment {
    /// How long ago `earlier` was, by the clock that says the most.
    pub fn since(&self, earlier: &Self) -> Duration {
        let wall = Duration::try_from(self.wall.duration_since(earlier.wall)).unwrap_or_default();
        wall.max(self.since_without_wall(earlier))
    }

    /// The same without the time of day, which may be set.
    pub fn since_without_wall(&self, earlier: &Self) -> Duration {
        let awake = self.monotonic.saturating_sub(earlier.monotonic);
        awake.max(self.with_sleep.saturating_sub(earlier.with_sleep))
    }
}

/// By how much two clocks that are right may differ.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(300);

/// Whether `at` is later than a clock that is right can have written by `now`: nobody knows how long ago it was.
pub fn is_dated_ahead(at: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(at.duration_since(now)).is_ok_and(|ahead| ahead > CLOCKS_DIFFER)
}

/// A time in which nothing is read, by the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// The look after which it was decided.
    pub from: Timestamp,
    /// When the next one may come.
    pub until: Timestamp,
}

impl Rest {
    /// Until when it lasts, if it does `now`. A time of day that was set back ends it.
    pub fn lasts_until(&self, now: Timestamp) -> Option<Timestamp> {
        (self.from <= now && now < self.until).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_went_furthest_tells_how_much_time_has_passed() {
        let start = Moment {
            wall: "2026-11-23T00:00:00Z".parse().unwrap(),
            monotonic: Duration::from_secs(100),
            with_sleep: Duration::from_secs(100),
        };
        let hour = Duration::from_secs(3600);
        let second = Duration::from_secs(1);
        let later = |wall: i64, monotonic, with_sleep| Moment {
            wall: start.wall + jiff::SignedDuration::from_secs(wall),
            monotonic: start.monotonic + monotonic,
            with_sleep: start.with_sleep + with_sleep,
        };
        for (what, moment, passed) in [
            ("awake", later(1, second, second), second),
            ("asleep", later(3600, second, hour), hour),
            (
                "asleep, and the time of day set back",
                later(-60, second, hour),
                hour,
            ),
            (
                "without a clock that counts sleep",
                later(3600, second, second),
                hour,
            ),
            ("the time of day set back", later(-3600, hour, hour), hour),
            ("paused", later(0, Duration::ZERO, Duration::ZERO), Duration::ZERO),
        ] {
            assert_eq!(moment.since(&start), passed, "{what}");
        }
    }
}
