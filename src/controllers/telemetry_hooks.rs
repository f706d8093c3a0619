//! What the controllers tell of themselves; telemetry listens.

use futures::future::BoxFuture;
use kube::runtime::controller::Action;

use super::Error;
use super::policies::Guard;
pub use crate::cluster::watch::Life;
use crate::ledger;

/// One reconcile, as the wrapper sees it.
pub type Reconcile = BoxFuture<'static, Result<Action, Error>>;

/// Listens to the controllers.
pub trait TelemetryHooks: ledger::PurchaseHooks {
    /// Wraps one reconcile: span, duration, and a panic turned into an error.
    fn reconcile(&self, kind: &'static str, namespace: &str, name: &str, work: Reconcile) -> Reconcile;
    /// Whether a watch of objects of `kind`, in `namespace` or (empty) in all, shows life.
    fn watch(&self, kind: &'static str, namespace: &str, life: Life);
    /// What the audit of the last VM list found, by kind of finding.
    fn audit(&self, without_record: usize, twins: usize);
    /// Whether an admission policy is in force; `None` while that is not known.
    fn policy(&self, guard: Guard, in_force: Option<bool>);
}
