//! HostUp seems to be away: one call of a key at a time tries, ever more rarely.

use std::time::Duration;

use super::queue::after_failure;
use crate::hostup::ReadError;

pub(super) struct Away {
    /// How the calls fail.
    pub why: ReadError,
    failures: u32,
    /// When the next one tries.
    pub next: Duration,
}

impl Away {
    /// A second question has failed.
    pub fn new(why: ReadError, at: Duration) -> Self {
        Self {
            why,
            failures: 2,
            next: at + after_failure(2),
        }
    }

    /// A try has failed; `spread`, from 0 to 255, keeps the tries of several keys apart.
    pub fn failed_again(&mut self, spread: u32, at: Duration) {
        self.failures = self.failures.saturating_add(1);
        let wait = after_failure(self.failures);
        self.next = at + wait.saturating_sub(wait * spread / 1024);
    }
}
