//! The clocks of an operator, as a test sets them.

use std::io::Write;

use tempfile::NamedTempFile;

/// How far each clock of a process is ahead; moved while the process runs.
pub struct Clocks(NamedTempFile);

impl Clocks {
    /// As they are.
    pub fn right() -> Self {
        let clocks = Self(NamedTempFile::new().unwrap());
        clocks.ahead([0, 0, 0]);
        clocks
    }

    /// The environment of a process that goes by them.
    pub fn env(&self) -> (&'static str, &str) {
        ("HOSTUP_TEST_CLOCKS", self.0.path().to_str().unwrap())
    }

    /// Puts the time of day, the monotonic clock and the one that counts sleep ahead, by seconds.
    pub fn ahead(&self, seconds: [u32; 3]) {
        let [wall, monotonic, with_sleep] = seconds;
        let mut next = NamedTempFile::new_in(self.0.path().parent().unwrap()).unwrap();
        write!(next, "{wall} {monotonic} {with_sleep}").unwrap();
        // At once, so that no reader sees half of it.
        std::fs::rename(next.path(), self.0.path()).unwrap();
    }
}
