//! So many calls a second with one key, first come, first served.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The pace of one key.
#[derive(Debug)]
pub struct Pace {
    between: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// At most so many calls a second; 0 means that nothing waits. A hundredth slower, for the provider's clock
    /// begins its windows when it likes.
    pub fn of(calls_a_second: u32) -> Self {
        let between = match calls_a_second {
            0 => Duration::ZERO,
            calls => Duration::from_secs(1) / calls + Duration::from_secs(1) / (100 * calls),
        };
        Self {
            between,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for its turn.
    pub async fn turn(&self) {
        if self.between.is_zero() {
            return;
        }
        let mut next = self.next.lock().await;
        tokio::time::sleep_until(*next).await;
        *next = Instant::now() + self.between;
    }
}
