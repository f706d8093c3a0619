//! Errors, for people.

use std::fmt;

/// What could not be done, and why.
#[derive(Debug)]
pub struct Error {
    what: String,
    why: String,
}

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What happened, and why or what to do.
    pub fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for Error {}

/// Names what was tried.
pub trait Tried<T> {
    /// The same result; an error begins with "cannot", and what was tried.
    fn tried(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Tried<T> for std::result::Result<T, E> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|why| Error::new(format!("cannot {}", what()), why))
    }
}
