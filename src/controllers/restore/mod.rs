//! The controller of `VpsBackupRestore`: observe, decide, act, report.

mod observe;
mod outputs;
mod report;

use std::sync::Arc;

use futures::FutureExt;
use kube::runtime::controller::Action;

use super::Error;
use super::context::Context;
use super::observe::{self as common, Round, SeenVersion};
use super::operation::purchase;
use super::refused;
use crate::api;
use crate::api::restore::VpsBackupRestore;
use crate::cluster::recent::Source;
use crate::domain::restore::{Decision, ProviderReading, decide};

/// Looks at one object once.
///
/// # Errors
/// When the API server could not be read or written; the object is looked at again.
pub async fn reconcile(seen: SeenVersion, ctx: Arc<Context>) -> Result<Action, Error> {
    refused::told(
        &ctx,
        &seen,
        |ctx, object, source| look(ctx, object, source).boxed(),
        |ctx, object, trouble| report::lasting(ctx, object, trouble).boxed(),
    )
    .await
}

async fn look(
    ctx: &Arc<Context>,
    object: &VpsBackupRestore,
    source: Source,
) -> Result<Option<Action>, Error> {
    let intent = match api::restore_intent(object) {
        Ok(intent) => intent,
        Err(invalid) => return report::invalid(ctx, object, &invalid).await.map(Some),
    };
    let mut view = observe::ledger(ctx, object, &intent, source).await?;
    let mut round = Round::begin(ctx.moment());
    let action = loop {
        let decision = decide(&intent, &view, &ctx.settings.times, ctx.now());
        let read = match decision {
            Decision::Buy(_) | Decision::Adopt(..) if source == Source::Known => return Ok(None),
            Decision::Leave => break Action::await_change(),
            Decision::Report(report) => {
                let backup = view.backup_shown(&intent.subject.uid);
                break report::publish(ctx, object, &report, backup).await?;
            }
            Decision::Buy(order) => {
                let bought = Box::pin(purchase::buy(ctx, object, *order, round.since)).await?;
                let Some(action) = bought else {
                    return Ok(Some(common::waiting(ctx)));
                };
                break action;
            }
            Decision::Adopt(order, sighting) => {
                break purchase::adopt(ctx, object, *order, sighting).await?;
            }
            Decision::ReadName(name) => {
                observe::named(ctx, object, &intent, &name, ProviderReading::Source).await?
            }
            Decision::ReadPreflight(source) => {
                observe::preflight(ctx, object, &intent, &view, &source).await?
            }
            Decision::ReadTargetName(source, name) => {
                observe::named(ctx, object, &intent, &name, |target| {
                    ProviderReading::Ends(source, target)
                })
                .await?
            }
            Decision::ReadTarget(source, target) => {
                observe::target(ctx, object, &intent, &source, &target).await?
            }
            Decision::ReadVm(vps) => {
                let tail = view.chain.tail.as_ref();
                let anew = tail.is_some_and(|tail| tail.action.restoration().is_none());
                observe::vm(ctx, object, &intent.subject, &vps, anew).await?
            }
        };
        if !round.take(read, &mut view.reading) {
            return Ok(Some(common::waiting(ctx)));
        }
    };
    round.end(ctx, &intent.subject, &view.chain);
    Ok(Some(action))
}
