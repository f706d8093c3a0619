//! Whether a simulated process runs, stands still together with its clocks, or is dead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hostup_operator::clock::Clock;
use hostup_operator::domain::values::moment::Moment;
use hostup_sim::Announced;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// When every life begins, by the wall clock.
pub const BEGINNING: Timestamp = Timestamp::constant(1_796_000_000, 0);

/// How a process fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fares {
    Runs,
    StandsStill,
    Dead,
}

/// The body of one process.
#[derive(Clone)]
pub struct Body {
    fares: Announced<Fares>,
    clocks: Arc<Mutex<Clocks>>,
}

struct Clocks {
    began: Instant,
    /// How far the wall clock is off.
    off: SignedDuration,
    stood: Duration,
    stands_since: Option<Instant>,
}

impl Body {
    /// Of a process whose wall clock is off by `off`. `began` is when the life began.
    pub fn new(began: Instant, off: SignedDuration) -> Self {
        Self {
            fares: Announced::new(Fares::Runs),
            clocks: Arc::new(Mutex::new(Clocks {
                began,
                off,
                stood: Duration::ZERO,
                stands_since: None,
            })),
        }
    }

    /// The clocks of the process.
    pub fn clock(&self) -> Clock {
        let body = self.clone();
        Clock::told_by(move || body.now())
    }

    /// For how long it has stood still so far.
    pub fn stood(&self) -> Duration {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner).stood
    }

    fn now(&self) -> Moment {
        let clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        let until = clocks.stands_since.unwrap_or_else(Instant::now);
        let passed = until.duration_since(clocks.began).saturating_sub(clocks.stood);
        let wall = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        Moment {
            wall: BEGINNING + (wall + clocks.off),
            monotonic: passed,
            with_sleep: passed,
        }
    }

    /// It stands still, with its clocks.
    pub fn freeze(&self) {
        let frozen = self
            .fares
            .change(|fares| (fares == Fares::Runs).then_some(Fares::StandsStill));
        if frozen {
            let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
            clocks.stands_since = Some(Instant::now());
        }
    }

    /// Somebody sets its wall clock, which is off by `off` from then on. Returns by how much that sets it ahead.
    pub fn set_clock(&self, off: SignedDuration) -> SignedDuration {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        off - std::mem::replace(&mut clocks.off, off)
    }

    /// It goes on where it stood.
    pub fn thaw(&self) {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = clocks.stands_since.take() {
            clocks.stood += since.elapsed();
        }
        drop(clocks);
        self.fares
            .change(|fares| (fares == Fares::StandsStill).then_some(Fares::Runs));
    }

    /// It is gone, as after kill -9: nothing that it waits for ever comes.
    pub fn kill(&self) {
        self.fares.change(|_| Some(Fares::Dead));
    }

    /// Whether it runs or stands still.
    pub fn is_alive(&self) -> bool {
        self.fares.get() != Fares::Dead
    }

    /// Whether it stands still.
    pub fn stands_still(&self) -> bool {
        self.fares.get() == Fares::StandsStill
    }

    /// Ends once the process runs; never, if it is dead.
    pub async fn runs(&self) {
        let mut fares = self.fares.listener();
        while self.fares.get() != Fares::Runs {
            fares.changed().await;
        }
    }
}
