use std::io;
use std::time::Duration;

/// What can go wrong with a control plane, in words for the person who runs the tests.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The programs could neither be found nor built.
    #[error("{0}")]
    Assets(String),
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A certificate or key could not be made or read.
    #[error("cannot {what}: {reason}")]
    Credentials {
        /// What was tried.
        what: String,
        /// Why it failed.
        reason: String,
    },
    /// A program of the control plane ended by itself.
    #[error("{program} ended by itself ({status}); its last lines:\n{log}")]
    Ended {
        /// Which program.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// Something that was waited for did not happen.
    #[error("{what} did not happen within {after:?}; last seen: {last_seen}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// What the last look showed.
        last_seen: String,
    },
    /// The API server answered with something else than success.
    #[error("cannot {what}: the API server answered {code}: {body}")]
    Api {
        /// What was asked for.
        what: String,
        /// The HTTP status.
        code: u16,
        /// The body of the answer.
        body: String,
    },
    /// kubectl ended with an error.
    #[error("kubectl {args} failed: {stderr}")]
    Kubectl {
        /// Its arguments.
        args: String,
        /// What it printed to stderr.
        stderr: String,
    },
}

/// The result of a call to this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Names what was tried when the operating system refused it.
pub(crate) trait Tried<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { what: what(), source })
    }
}
