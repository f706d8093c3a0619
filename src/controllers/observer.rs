//! What the controllers tell of themselves; telemetry listens.

use futures::future::BoxFuture;
use kube::runtime::controller::Action;

use super::Error;
use super::policies::Guard;
pub use crate::cluster::watch::Life;
use crate::domain::ledger::record::{Record, State};

/// One reconcile, as the wrapper sees it.
pub type Reconcile = BoxFuture<'static, Result<Action, Error>>;

/// Listens to the controllers.
pub trait Observer: Send + Sync {
    /// Wraps one reconcile: span, duration, and a panic turned into an error.
    fn reconcile(&self, kind: &'static str, namespace: &str, name: &str, work: Reconcile) -> Reconcile;
    /// A paid call has ended in `state`.
    fn paid_call(&self, record: &Record, state: State);
    /// A record has reached a state in which a person must act.
    fn asks_a_person(&self, record: &Record);
    /// Whether a watch of objects of `kind`, in `namespace` or (empty) in all, shows life.
    fn watch(&self, kind: &'static str, namespace: &str, life: Life);
    /// What the audit of the last VM list found, by kind of finding.
    fn audit(&self, without_record: usize, twins: usize);
    /// Whether an admission policy is in force; `None` while that is not known.
    fn policy(&self, guard: Guard, in_force: Option<bool>);
}
