//! A purchase, whatever is bought: in a task of its own, which shutdown waits for.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use kube::runtime::controller::Action;
use tokio::sync::oneshot;

use super::drive::drive;
use super::market::{Market, Paid};
use crate::accounts::Leave;
use crate::controllers::context::{Blocked, Context};
use crate::controllers::observe::SOON;
use crate::controllers::subject::Buyer;
use crate::controllers::{Error, fail_point, reading};
use crate::domain::consent::approval::Approval;
use crate::domain::ledger::order::Order;
use crate::domain::ledger::record::{Claim, later};
use crate::domain::provider::inventory::Sighting;
use crate::domain::purchase::{Plan, Purchase};
use crate::domain::values::ids::Holder;
use crate::domain::values::moment::Moment;

/// When the object is looked at again after its call was handed over, if no answer wakes it before.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Claims, looks at the object once more, and sends. `read` is when the readings behind the order began. Returns once
/// the call is handed over or nothing is sent; `None` where no paid call may leave: the object is woken once one may.
///
/// # Errors
/// When the API server refused the record, or when it stayed unclear whether it was made; nothing is sent.
pub async fn buy<K: Buyer>(
    ctx: &Arc<Context>,
    object: &K,
    approval: Option<Approval>,
    order: Order,
    read: Moment,
) -> Result<Option<Action>, Error> {
    let credentials = object.credentials();
    // Both are had before the claim, so that nothing but the second look stands between it and the POST.
    let account = match ctx.account(&order.subject.namespace, credentials).await {
        Ok((account, key)) if key.secret_version == order.secret_version => account,
        Ok(_) | Err(Blocked::Waiting | Blocked::Held(_) | Blocked::Trouble(_)) => {
            return Ok(Some(Action::requeue(ctx.chance.jittered(SOON))));
        }
        Err(Blocked::Error(error)) => return Err(error),
    };
    let leave = match account.paid_permit(&reading::who(&order.subject)) {
        Leave::Given(leave) => leave,
        Leave::Limited => return Ok(Some(Action::requeue(ctx.chance.jittered(SOON)))),
        Leave::Later => return Ok(None),
    };
    fail_point::reach("before-claim");
    let plan = Plan {
        order,
        approval,
        claim: fresh_claim(ctx),
        read,
        found: None,
    };
    let paid = Some((account, leave));
    let is_sent = begin(ctx, object, plan, paid).await?;
    let wait = if is_sent {
        LOOK_AGAIN
    } else {
        ctx.chance.jittered(SOON)
    };
    Ok(Some(Action::requeue(wait)))
}

/// Records something that was found before anything was claimed. Nothing is sent.
///
/// # Errors
/// As for [`buy`].
pub async fn adopt<K: Buyer>(
    ctx: &Arc<Context>,
    object: &K,
    order: Order,
    found: Sighting,
) -> Result<Action, Error> {
    let plan = Plan {
        order,
        approval: None,
        claim: fresh_claim(ctx),
        read: ctx.moment(),
        found: Some(found),
    };
    begin(ctx, object, plan, None).await?;
    Ok(Action::requeue(ctx.chance.jittered(SOON)))
}

/// A claim that was begun is seen through, whatever becomes of the reconcile that began it. Once the process is told to
/// stop nothing is begun any more.
async fn begin<K: Buyer>(
    ctx: &Arc<Context>,
    object: &K,
    plan: Plan,
    paid: Option<Paid>,
) -> Result<bool, Error> {
    if ctx.stopping.is_cancelled() {
        return Err(Error::Stopping);
    }
    let (told, begun) = oneshot::channel();
    let mut market = Market::new(ctx, object, &plan, paid, told);
    let purchase = Purchase::new(plan, ctx.settings.times, ctx.moment());
    ctx.paid_calls.spawn(async move {
        let end = drive(purchase, &mut market).await;
        market.ended(end);
    });
    begun.await.unwrap_or(Err(Error::Panicked))
}

/// A claim with a holder that nobody else has.
fn fresh_claim(ctx: &Context) -> Claim {
    // Without randomness there is no holder that is ours alone; with an empty one nothing is begun.
    let holder = ctx.chance.bytes::<16>().map_or_else(String::new, |random| {
        BASE32_NOPAD.encode(&random).to_ascii_lowercase()
    });
    let made_at = ctx.now();
    Claim {
        holder: Holder::new(holder),
        instance: ctx.settings.instance.clone(),
        made_at,
        send_before: later(made_at, ctx.settings.times.request_timeout),
    }
}
