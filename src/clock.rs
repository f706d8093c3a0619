//! The three clocks of this process. `app.rs` makes them and passes them on.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::domain::values::moment::Moment;

#[cfg(target_os = "linux")]
const WITH_SLEEP: ClockId = ClockId::Boottime;
/// Elsewhere the wall clock alone counts sleep.
#[cfg(not(target_os = "linux"))]
const WITH_SLEEP: ClockId = ClockId::Monotonic;

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Moment + Send + Sync>);

impl Clock {
    /// The clocks of this machine.
    pub fn of_the_machine() -> Self {
        Self(Arc::new(|| {
            shifted(Moment {
                wall: Timestamp::now(),
                monotonic: duration(clock_gettime(ClockId::Monotonic)),
                with_sleep: duration(clock_gettime(WITH_SLEEP)),
            })
        }))
    }

    /// Clocks that show what `now` says.
    pub fn told_by(now: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Now, by each clock.
    pub fn now(&self) -> Moment {
        (self.0)()
    }

    /// How long ago a moment of the monotonic clock was.
    pub fn elapsed(&self, since: Duration) -> Duration {
        self.now().monotonic.saturating_sub(since)
    }
}

fn duration(read: Timespec) -> Duration {
    let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(read.tv_nsec).unwrap_or_default())
}

/// As a test sets the clocks: seconds that each is ahead, in a file.
#[cfg(feature = "fail-points")]
fn shifted(moment: Moment) -> Moment {
    #[allow(clippy::disallowed_methods)]
    let file = std::env::var("HOSTUP_TEST_CLOCKS").ok();
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    let ahead: Vec<i64> = text
        .iter()
        .flat_map(|text| text.split_whitespace())
        .filter_map(|word| word.parse().ok())
        .collect();
    let [wall, monotonic, with_sleep] = ahead[..] else {
        return moment;
    };
    let by = |clock: Duration, ahead: i64| clock + Duration::from_secs(ahead.unsigned_abs());
    Moment {
        wall: moment.wall + jiff::SignedDuration::from_secs(wall),
        monotonic: by(moment.monotonic, monotonic),
        with_sleep: by(moment.with_sleep, with_sleep),
    }
}

/// As they are.
#[cfg(not(feature = "fail-points"))]
fn shifted(moment: Moment) -> Moment {
    moment
}
