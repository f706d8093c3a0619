//! When the watch of the records last showed life: at rest it brings nothing but bookmarks.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock;
use crate::domain::chain::LEDGER_SILENCE;
use crate::domain::moment::Moment;

/// The last sign of life, shared by who hears it and who asks.
#[derive(Clone)]
pub struct Heartbeat(Arc<Mutex<Moment>>);

impl Heartbeat {
    /// Alive now: who begins is given the time to show life.
    pub fn begin() -> Self {
        Self(Arc::new(Mutex::new(clock::now())))
    }

    /// The watch shows life.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
    }

    /// When it did last.
    pub fn last(&self) -> Moment {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has not for longer than [`LEDGER_SILENCE`], by any clock.
    pub fn is_silent(&self) -> bool {
        clock::now().since(&self.last()) > LEDGER_SILENCE
    }
}
