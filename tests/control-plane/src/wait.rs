use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// One look at something that is waited for.
pub(crate) enum Look<T> {
    /// It is there.
    There(T),
    /// Not yet; what was seen instead.
    NotYet(String),
}

/// Looks again and again until it is there.
pub(crate) fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<Look<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        match look()? {
            Look::There(it) => return Ok(it),
            Look::NotYet(last_seen) if started.elapsed() >= within => {
                return Err(Error::TimedOut {
                    what: what.to_owned(),
                    after: within,
                    last_seen,
                });
            }
            Look::NotYet(_) => thread::sleep(BETWEEN_LOOKS),
        }
    }
}
