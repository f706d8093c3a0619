//! Floor 3: observe, decide, act, report. The only floor with both clients.

pub mod api_call;
pub mod config;
pub mod context;
pub mod desk;
mod events;
pub mod fail_point;
mod failures;
pub mod lease;
pub mod ledger;
pub mod observe;
pub mod observer;
pub mod operation;
pub mod policies;
mod refused;
pub mod reporter;
pub mod restore;
pub mod run;
pub mod secrets;
pub mod settings;
pub mod subject;

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use thiserror::Error;

/// A reconcile that could not be finished; it is tried again.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server could not be read or written.
    #[error(transparent)]
    Api(#[from] api_call::ApiError),
    /// The process is about to end and begins nothing new.
    #[error("the operator is stopping")]
    Stopping,
    /// The reconcile panicked; the object is looked at again, the process goes on.
    #[error("the reconcile panicked; this is a bug, please report it with the log")]
    Panicked,
}

impl Error {
    /// The API server refused, and will refuse again until somebody puts it right.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Api(error) if error.refusal().is_some())
    }
}

/// Waits longer than this are spread.
const SPREAD_FROM: Duration = Duration::from_secs(90);

/// Looks again at `at`, never at once.
fn at(at: Option<Timestamp>, now: Timestamp) -> Action {
    match at {
        None => Action::await_change(),
        Some(at) => {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            // Long waits are spread, so that objects that were made together do not come back together.
            let spread = if wait > SPREAD_FROM { jittered(wait) } else { wait };
            Action::requeue(spread.max(Duration::from_millis(20)))
        }
    }
}

/// A wait that differs from object to object, so that they do not come back all at once.
fn jittered(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or_default() % 1000;
    wait + wait * random / 4000
}
