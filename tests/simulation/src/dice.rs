//! All chance of a life, drawn from its seed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

/// A source of chance; clones draw from the same one.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<Rng>>);

impl Dice {
    /// Of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Rng::with_seed(seed))))
    }

    /// Another source, so that more draws from one do not change what the other brings.
    pub fn fork(&self) -> Self {
        Self::new(self.with(|rng| rng.u64(..)))
    }

    /// Whether something happens that happens so many times of a thousand.
    pub fn happens(&self, of_a_thousand: u32) -> bool {
        self.below(1000) < of_a_thousand
    }

    /// A number below `end`.
    pub fn below(&self, end: u32) -> u32 {
        self.with(|rng| rng.u32(..end.max(1)))
    }

    /// One of them.
    pub fn one<T: Clone>(&self, of: &[T]) -> T {
        let at = self.with(|rng| rng.usize(..of.len()));
        of[at].clone()
    }

    /// A time between two.
    pub fn between(&self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u64::MAX);
        from + Duration::from_millis(self.with(|rng| rng.u64(..=span)))
    }

    /// Up to so many milliseconds.
    pub fn millis(&self, most: u64) -> Duration {
        self.between(Duration::ZERO, Duration::from_millis(most))
    }

    /// Fills the bytes.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.with(|rng| rng.fill(bytes));
    }

    fn with<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
