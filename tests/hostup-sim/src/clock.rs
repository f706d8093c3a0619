//! What time it is: by the machine, or as a simulation says. Nothing else here asks for the time.
//!
//! Times are written as the provider does: ISO 8601, UTC, milliseconds (all examples of the v2 pages).

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

type Told = dyn Fn() -> (SystemTime, Duration) + Send + Sync;

/// Tells a world the time.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<Told>>);

impl Clock {
    /// The clocks of this machine.
    #[must_use]
    pub fn of_the_machine() -> Clock {
        Clock(None)
    }

    /// A clock that shows what `now` says: the wall clock, and how long ago the simulation began,
    /// which never goes back.
    #[must_use]
    pub fn told_by(now: impl Fn() -> (SystemTime, Duration) + Send + Sync + 'static) -> Clock {
        Clock(Some(Arc::new(now)))
    }

    /// Now, by the monotonic clock. All given clocks of a process begin at the same moment, so what
    /// two simulations note can be compared.
    #[must_use]
    pub fn now(&self) -> Instant {
        static BEGINNING: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            None => Instant::now(),
            Some(told) => *BEGINNING.get_or_init(Instant::now) + told().1,
        }
    }

    /// Now, by the wall clock.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            None => SystemTime::now(),
            Some(told) => told().0,
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            None => "Clock of the machine",
            Some(_) => "Clock that is told",
        })
    }
}

/// `2026-04-27T12:34:56.000Z`
pub(crate) fn iso(at: SystemTime) -> String {
    Timestamp::try_from(at)
        .expect("a time within the calendar")
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}
