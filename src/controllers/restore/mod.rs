//! The controller of `VpsBackupRestore`: observe, decide, act, report.

mod act;
mod observe;
mod report;

use std::sync::Arc;
use std::time::Instant;

use kube::runtime::controller::Action;

use super::Error;
use super::context::{Context, WatchedRestore};
use crate::api;
use crate::domain::restore::{Decision, decide};
use observe::Read;

/// Looks at one object once.
///
/// # Errors
/// When the API server could not be read or written; the object is looked at again.
pub async fn reconcile(seen: Arc<WatchedRestore>, ctx: Arc<Context>) -> Result<Action, Error> {
    let Some(object) = observe::subject(&ctx, &seen).await? else {
        return Ok(Action::await_change());
    };
    let intent = match api::intent(&object) {
        Ok(intent) => intent,
        Err(invalid) => return report::invalid(&ctx, &object, &invalid).await,
    };
    let mut view = observe::ledger(&ctx, &object, &intent).await?;
    let mut read_since = Instant::now();
    loop {
        let decision = decide(&intent, &view, &ctx.settings.times, ctx.now());
        let read = match decision {
            Decision::Report(report) => return report::publish(&ctx, &object, &report).await,
            Decision::Buy(order) => return act::buy(&ctx, &object, &intent, &order, read_since).await,
            Decision::Adopt(order, sighting) => {
                return act::adopt(&ctx, &object, &intent, &order, sighting).await;
            }
            Decision::ReadPreflight => {
                read_since = Instant::now();
                observe::preflight(&ctx, &object, &intent).await?
            }
            Decision::ReadVm(vps) => observe::vm(&ctx, &object, &vps).await?,
        };
        match read {
            Read::Account(account) => view.account = account,
            Read::Busy => return Ok(Action::requeue(super::jittered(observe::BUSY_WAIT))),
        }
    }
}
