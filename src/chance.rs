//! The one source of randomness of this process. `app.rs` makes it and passes it on.

use std::sync::Arc;
use std::time::Duration;

/// Bytes that nobody can guess. A clone draws from the same source.
#[derive(Clone)]
pub struct Chance(Arc<Draw>);

/// Fills the bytes, or says `false`.
type Draw = dyn Fn(&mut [u8]) -> bool + Send + Sync;

impl Chance {
    /// The randomness of this machine.
    pub fn of_the_machine() -> Self {
        Self(Arc::new(|bytes| getrandom::fill(bytes).is_ok()))
    }

    /// What `fill` draws; it says `false` where it has none to give.
    pub fn drawn_by(fill: impl Fn(&mut [u8]) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// So many bytes; `None` where the source has none to give.
    pub fn bytes<const COUNT: usize>(&self) -> Option<[u8; COUNT]> {
        let mut random = [0; COUNT];
        (self.0)(&mut random).then_some(random)
    }

    /// A number below `end`, for waits that must differ; 0 where the source has none to give.
    pub fn below(&self, end: u32) -> u32 {
        let random = self.bytes().map_or(0, u32::from_ne_bytes);
        random.checked_rem(end).unwrap_or_default()
    }

    /// `wait`, and up to a quarter of it more: objects do not come back all at once.
    pub fn jittered(&self, wait: Duration) -> Duration {
        wait + wait * self.below(1000) / 4000
    }
}
