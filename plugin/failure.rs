//! How a command ends.

use std::io;

/// The exit status of a command that did what it was asked, or why it did not.
pub type Outcome = Result<u8, Failure>;

/// Exit status of success.
pub const DONE: u8 = 0;

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// What happened, to which object, and what to do.
    Told(String),
    /// The reader of the output has closed it.
    NobodyReads,
}

impl Failure {
    /// With these words.
    pub fn told(words: impl Into<String>) -> Self {
        Self::Told(words.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::NobodyReads
        } else {
            Self::told(error.to_string())
        }
    }
}
