//! The one POST, in a task of its own that shutdown waits for.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;

use super::claim::{Held, SendPermit};
use super::record;
use crate::accounts::{Account, PaidCall};
use crate::controllers::context::Context;
use crate::controllers::fail_point;
use crate::domain::answer::{Call, Verdict, classify};
use crate::domain::operation::Input;
use crate::domain::record::Matter;
use crate::domain::text::Text;
use crate::hostup::{PaidOrder, Route};

/// Hands the permit to a task that sends, reads the answer and records it.
pub fn start(ctx: &Arc<Context>, permit: SendPermit, account: Account, leave: PaidCall) {
    let task = run(ctx.clone(), permit, account, leave);
    ctx.paid_calls.spawn(task);
}

async fn run(ctx: Arc<Context>, permit: SendPermit, account: Account, leave: PaidCall) {
    let (held, request, deadline) = match permit.redeem(&ctx) {
        Ok(redeemed) => redeemed,
        Err(held) => {
            let why = Text::new("withdrawn: the claim was too old to be sent");
            record::conclude(&ctx, held, Input::Withdrawn(why)).await;
            return;
        }
    };
    fail_point::reach("before-send");
    let order = PaidOrder {
        path: &request.path,
        body: request.body.clone(),
        deadline,
    };
    let call = post(&ctx, &held, &account, leave, order);
    let verdict = AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| {
        Verdict::unknown(Text::new("the operator panicked while it sent; this is a bug"))
    });
    fail_point::reach("after-answer");
    record::conclude(&ctx, held, Input::Answered(verdict)).await;
    fail_point::reach("after-answer-recorded");
}

async fn post(
    ctx: &Context,
    held: &Held,
    account: &Account,
    leave: PaidCall,
    order: PaidOrder<'_>,
) -> Verdict {
    tracing::info!(
        operation = %held.record.name, namespace = %held.record.subject.namespace,
        object = %held.record.subject.name, price = %held.record.price_summary(), "sending the paid call"
    );
    let (call, route) = match &held.record.matter {
        Matter::Restore(_) => (Call::RestoreToCloudVm, Route::RestoreToPayg),
        Matter::Config(_) => (Call::CommitResources, Route::ConfigCommit),
        Matter::LegacyEstimate(_) => (Call::LegacyEstimate, Route::LegacyEstimate),
        Matter::LegacyUpgrade(_) => (Call::LegacyUpgrade, Route::LegacyUpgrade),
    };
    let answer = account.paid_post(route, leave, order).await;
    classify(call, &answer, ctx.now())
}
