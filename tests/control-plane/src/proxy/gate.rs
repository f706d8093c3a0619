use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::{Error, Result};

/// Holds requests until it is released; then it stays open. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    held: Mutex<usize>,
    came: Condvar,
    open: watch::Sender<bool>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until something is held here, or has been.
    ///
    /// # Errors
    /// Nothing came in time.
    pub fn wait_held(&self, within: Duration) -> Result<()> {
        let until = Instant::now() + within;
        let mut held = self.held_lock();
        while *held == 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::TimedOut {
                    what: "a request at the gate".to_owned(),
                    after: within,
                    last_seen: "none".to_owned(),
                });
            }
            held = self
                .0
                .came
                .wait_timeout(held, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(())
    }

    /// How many requests came to this gate so far.
    #[must_use]
    pub fn came(&self) -> usize {
        *self.held_lock()
    }

    /// Lets everything pass that is held or comes later.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }

    pub(super) async fn pass(&self) {
        let mut open = self.0.open.subscribe();
        *self.held_lock() += 1;
        self.0.came.notify_all();
        // The sender lives in `self`, so the wait can only end well.
        let _ = open.wait_for(|open| *open).await;
    }

    fn held_lock(&self) -> MutexGuard<'_, usize> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
