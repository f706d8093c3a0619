//! When the watch of the records last showed life: at rest it brings nothing but bookmarks.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::domain::ledger::chain::LEDGER_SILENCE;
use crate::domain::values::moment::Moment;

/// The last sign of life, shared by who hears it and who asks.
#[derive(Clone)]
pub struct Heartbeat {
    last: Arc<Mutex<Moment>>,
    clock: Clock,
}

impl Heartbeat {
    /// Alive now: who begins is given the time to show life.
    pub fn begin(clock: Clock) -> Self {
        let last = Arc::new(Mutex::new(clock.now()));
        Self { last, clock }
    }

    /// The watch shows life.
    pub fn beat(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.now();
    }

    /// When it did last.
    pub fn last(&self) -> Moment {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has not for longer than [`LEDGER_SILENCE`], by any clock.
    pub fn is_silent(&self) -> bool {
        self.clock.now().since(&self.last()) > LEDGER_SILENCE
    }
}
