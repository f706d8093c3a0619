//! The slot for the paid call of a purchase, before it is begun.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;

use crate::accounts::PaidSlot;
use crate::controllers::context::{Blocked, Context};
use crate::controllers::observe::SOON;
use crate::controllers::{Error, reading};
use crate::domain::ledger::order::Order;
use crate::domain::provider::inventory::Sighting;
use crate::domain::values::moment::Moment;
use crate::ledger::kind::PurchasingKind;
use crate::ledger::purchase;

/// When the object is looked at again after its call was handed over, if no answer wakes it before.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Claims, looks at the object once more, and sends. `read` is when the readings behind the order began. Returns once
/// the call is handed over or nothing is sent; `None` where no paid call may leave: the object is woken once one may.
///
/// # Errors
/// When the API server refused the record, or when it stayed unclear whether it was made; nothing is sent.
pub async fn buy<K: PurchasingKind>(
    ctx: &Arc<Context>,
    object: &K,
    order: Order,
    read: Moment,
) -> Result<Option<Action>, Error> {
    let soon = || Action::requeue(ctx.books.chance.jittered(SOON));
    let credentials = object.credentials();
    // Both are had before the claim, so that nothing but the second look stands between it and the POST.
    let account = match ctx.account(&order.subject.namespace, credentials).await {
        Ok((account, key)) if key.secret_version == order.secret_version => account,
        Ok(_) | Err(Blocked::Waiting | Blocked::Held(_) | Blocked::Trouble(_)) => return Ok(Some(soon())),
        Err(Blocked::Error(error)) => return Err(error),
    };
    let slot = match account.paid_slot(&reading::who(&order.subject)) {
        PaidSlot::Given(slot) => slot,
        PaidSlot::Limited => return Ok(Some(soon())),
        PaidSlot::Later => return Ok(None),
    };
    let is_sent = purchase::buy(&ctx.books, object, order, read, (account, slot)).await?;
    Ok(Some(if is_sent {
        Action::requeue(LOOK_AGAIN)
    } else {
        soon()
    }))
}

/// Records something that was found before anything was claimed. Nothing is sent.
///
/// # Errors
/// As for [`buy`].
pub async fn adopt<K: PurchasingKind>(
    ctx: &Arc<Context>,
    object: &K,
    order: Order,
    found: Sighting,
) -> Result<Action, Error> {
    purchase::adopt(&ctx.books, object, order, found).await?;
    Ok(Action::requeue(ctx.books.chance.jittered(SOON)))
}
