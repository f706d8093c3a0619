//! The controller of `VpsResourceConfig`: observe, decide, act, report.

mod observe;
mod report;
mod rivals;

use std::sync::Arc;
use std::time::Instant;

use kube::runtime::controller::Action;

use super::Error;
use super::context::Context;
use super::observe::{self as common, Read};
use super::operation::purchase;
use super::refused;
use crate::api;
use crate::api::config::VpsResourceConfig;
use crate::api::stored::Stored;
use crate::domain::config::{Decision, decide};
use crate::domain::record::Matter;

pub use rivals::{Rivals, Watched, prune};

/// Looks at one object once.
///
/// # Errors
/// When the API server could not be read or written; the object is looked at again.
pub async fn reconcile(namespace: String, name: String, ctx: Arc<Context>) -> Result<Action, Error> {
    ctx.rivals.ready().await;
    let object = match common::object::<VpsResourceConfig>(&ctx, &namespace, &name).await? {
        None => return Ok(Action::await_change()),
        Some(Stored(Err(unreadable))) => {
            return refused::unreadable::<VpsResourceConfig>(&ctx, unreadable).await;
        }
        Some(Stored(Ok(object))) => object,
    };
    match look(&ctx, &object).await {
        Err(error) => match refused::lasting(&error) {
            Some(trouble) => report::lasting(&ctx, &object, &trouble).await,
            None => Err(error),
        },
        done => done,
    }
}

async fn look(ctx: &Arc<Context>, object: &VpsResourceConfig) -> Result<Action, Error> {
    let intent = match api::config_intent(object) {
        Ok(intent) => intent,
        Err(invalid) => return report::invalid(ctx, object, &invalid).await,
    };
    let mut view = observe::ledger(ctx, object, &intent).await?;
    let mut read_since = Instant::now();
    loop {
        let decision = decide(&intent, &view, &ctx.settings.times, ctx.now());
        let read = match decision {
            Decision::Report(report) => return report::publish(ctx, object, &intent.digest, &report).await,
            Decision::Buy(order) => {
                // The admin's flag is the consent to an estimate, so that no approval of it can end.
                let consent = match order.matter {
                    Matter::LegacyEstimate(_) => None,
                    Matter::Restore(_) | Matter::Config(_) | Matter::LegacyUpgrade(_) => {
                        intent.approval.clone()
                    }
                };
                return purchase::buy(ctx, object, consent, *order, read_since).await;
            }
            Decision::ReadOptions => {
                read_since = Instant::now();
                observe::options(ctx, object, &intent).await?
            }
            Decision::ReadInvoices => observe::invoices(ctx, object, &view).await?,
            Decision::Preview(body) => observe::preview(ctx, object, &view, body).await?,
            Decision::TryKey => {
                read_since = Instant::now();
                observe::key(ctx, object).await?
            }
        };
        match read {
            Read::Account(account) => view.account = account,
            Read::Busy => return Ok(Action::requeue(super::jittered(common::BUSY_WAIT))),
        }
    }
}
