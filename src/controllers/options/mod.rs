//! The controller of `VpsResourceConfig`: observe, decide, act, report.

mod observe;
mod report;
mod rivals;

use std::sync::Arc;

use futures::FutureExt;
use kube::runtime::controller::Action;
use kube::runtime::watcher;

use super::Error;
use super::context::{Blocked, Context};
use super::observe::{self as common, Round, SeenVersion};
use super::operation::purchase;
use super::refused;
use crate::api;
use crate::api::config::VpsResourceConfig;
use crate::api::stored::Stored;
use crate::cluster::recent::Source;
use crate::domain::options::{Decision, StatusFacts, decide};
use crate::domain::status::report::Report;
use crate::domain::values::ids::SubjectKind;

pub use rivals::{Rivals, Watched, prune};

/// Wakes those to whom an event of another object matters, for both want the same VPS.
pub fn note(ctx: &Context, event: &watcher::Event<Watched>) {
    let (object, matters) = match event {
        watcher::Event::Apply(Stored(Ok(object))) | watcher::Event::InitApply(Stored(Ok(object))) => {
            (object, ctx.rivals.note(object))
        }
        watcher::Event::Delete(Stored(Ok(object))) => {
            ctx.rivals.forget(object);
            (object, true)
        }
        watcher::Event::Apply(_)
        | watcher::Event::InitApply(_)
        | watcher::Event::Delete(_)
        | watcher::Event::Init
        | watcher::Event::InitDone => return,
    };
    if matters {
        for (namespace, name) in ctx.rivals.next_in_line(object) {
            let wakes = &ctx.books.wakes;
            wakes.object(SubjectKind::VpsResourceConfig, &namespace, &name);
        }
    }
}

/// Looks at one object once.
///
/// # Errors
/// When the API server could not be read or written; the object is looked at again.
pub async fn reconcile(seen: SeenVersion, ctx: Arc<Context>) -> Result<Action, Error> {
    ctx.rivals.ready().await;
    refused::told(
        &ctx,
        &seen,
        |ctx, object, source| look(ctx, object, source).boxed(),
        |ctx, object, trouble| report::lasting(ctx, object, trouble).boxed(),
    )
    .await
}

/// Finds the VPS that has the name in the spec, and writes its id to the status. Everything else waits for that.
async fn resolve(ctx: &Context, object: &VpsResourceConfig, name: &str) -> Result<Action, Error> {
    let is_being_deleted = object.metadata.deletion_timestamp.is_some();
    if let Some(rests) = Report::at_rest(object.spec.suspend, is_being_deleted) {
        return report::publish(ctx, object, "", &rests.with(StatusFacts::Kept), None).await;
    }
    match observe::named(ctx, object, name).await {
        Ok(vps) => {
            report::pin(ctx, object, &vps).await?;
            Ok(Action::requeue(ctx.books.chance.jittered(common::SOON)))
        }
        Err(Blocked::Waiting) => Ok(common::waiting(ctx)),
        Err(Blocked::Trouble(trouble) | Blocked::Held(trouble)) => {
            report::lasting(ctx, object, &trouble).await
        }
        Err(Blocked::Error(error)) => Err(error),
    }
}

async fn look(
    ctx: &Arc<Context>,
    object: &VpsResourceConfig,
    source: Source,
) -> Result<Option<Action>, Error> {
    if let Some(name) = object.spec.vps_name.as_ref().filter(|_| object.vps().is_none()) {
        return resolve(ctx, object, name).await.map(Some);
    }
    let intent = match api::config_intent(object) {
        Ok(intent) => intent,
        Err(invalid) => return report::invalid(ctx, object, &invalid).await.map(Some),
    };
    let mut view = observe::ledger(ctx, object, &intent, source).await?;
    let mut round = Round::begin(ctx.moment());
    let action = loop {
        let decision = decide(&intent, &view, &ctx.settings.times, ctx.now());
        let read = match decision {
            Decision::AwaitRival(until) => break ctx.again_at(Some(until)),
            Decision::Buy(_) if source == Source::Known => return Ok(None),
            // One that was made meanwhile, or was looked at.
            Decision::Buy(_) if observe::rival(ctx, object, &view.chain) != view.rival => {
                break Action::requeue(ctx.books.chance.jittered(common::SOON));
            }
            Decision::Leave => break Action::await_change(),
            Decision::Report(report) => {
                let backup = view.backup_shown(&intent.subject.uid);
                break report::publish(ctx, object, &intent.digest, &report, backup).await?;
            }
            Decision::Buy(order) => {
                let bought = Box::pin(purchase::buy(ctx, object, *order, round.since)).await?;
                let Some(action) = bought else {
                    return Ok(Some(common::waiting(ctx)));
                };
                break action;
            }
            Decision::ReadOptions => observe::options(ctx, object, &intent).await?,
            Decision::ReadInvoices => observe::invoices(ctx, object, &intent, &view, round.since).await?,
            Decision::ReadBackups => observe::backups(ctx, object, &intent, &view, round.since).await?,
            Decision::Preview(body) => {
                observe::preview(ctx, object, &intent, &view, round.since, body).await?
            }
            Decision::TryKey => observe::key(ctx, object, &intent).await?,
        };
        if !round.take(read, &mut view.reading) {
            return Ok(Some(common::waiting(ctx)));
        }
    };
    round.end(ctx, &intent.subject, &view.chain);
    Ok(Some(action))
}
