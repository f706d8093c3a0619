//! The controller of `VpsBackupRestore`: observe, decide, act, report.

mod observe;
mod report;

use std::sync::Arc;

use futures::FutureExt;
use kube::runtime::controller::Action;

use super::Error;
use super::context::Context;
use super::observe::{self as common, Read};
use super::operation::purchase;
use super::{reading, refused};
use crate::api;
use crate::api::restore::VpsBackupRestore;
use crate::domain::restore::{Decision, decide};

/// Looks at one object once.
///
/// # Errors
/// When the API server could not be read or written; the object is looked at again.
pub async fn reconcile(namespace: String, name: String, ctx: Arc<Context>) -> Result<Action, Error> {
    refused::told(
        &ctx,
        &namespace,
        &name,
        |ctx, object| look(ctx, object).boxed(),
        |ctx, object, trouble| report::lasting(ctx, object, trouble).boxed(),
    )
    .await
}

async fn look(ctx: &Arc<Context>, object: &VpsBackupRestore) -> Result<Action, Error> {
    let intent = match api::restore_intent(object) {
        Ok(intent) => intent,
        Err(invalid) => return report::invalid(ctx, object, &invalid).await,
    };
    let mut view = observe::ledger(ctx, object, &intent).await?;
    let mut read_since = ctx.moment();
    let mut held = false;
    let action = loop {
        let decision = decide(&intent, &view, &ctx.settings.times, ctx.now());
        let read = match decision {
            Decision::Leave => break Action::await_change(),
            Decision::Report(report) => break report::publish(ctx, object, &report).await?,
            Decision::Buy(order) => {
                let consent = intent.approval.clone();
                break Box::pin(purchase::buy(ctx, object, consent, *order, read_since)).await?;
            }
            Decision::Adopt(order, sighting) => {
                break purchase::adopt(ctx, object, *order, sighting).await?;
            }
            Decision::ReadPreflight => observe::preflight(ctx, object, &intent, &view).await?,
            Decision::ReadVm(vps) => observe::vm(ctx, object, &intent.subject, &vps).await?,
        };
        match read {
            Read::Account(account, began) => {
                read_since = began;
                view.account = account;
            }
            Read::Held(account) => {
                held = true;
                view.account = account;
            }
            Read::Waiting => return Ok(common::waiting()),
        }
    };
    if !held {
        ctx.accounts.forget(&reading::who(&intent.subject));
    }
    Ok(action)
}
