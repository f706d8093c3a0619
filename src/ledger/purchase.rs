//! A purchase, whatever is bought: in a task of its own, which shutdown waits for.

use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use tokio::sync::oneshot;

use super::driver::drive;
use super::kind::PurchasingKind;
use super::port::Market;
pub use super::port::Paid;
use super::{Books, Error};
use crate::cluster::fail_point;
use crate::domain::ledger::order::Order;
use crate::domain::ledger::record::{Claim, later};
use crate::domain::provider::inventory::Sighting;
use crate::domain::purchase::{Plan, Purchase};
use crate::domain::values::ids::Holder;
use crate::domain::values::moment::Moment;

/// Claims, looks at the object once more, and sends with `paid`. `read` is when the readings behind the order began.
/// Returns once the call is handed over, `true`, or nothing is sent.
///
/// # Errors
/// When the API server refused the record, or when it stayed unclear whether it was made; nothing is sent.
pub async fn buy<K: PurchasingKind>(
    books: &Arc<Books>,
    object: &K,
    order: Order,
    read: Moment,
    paid: Paid,
) -> Result<bool, Error> {
    fail_point::reach("before-claim");
    let plan = Plan {
        order,
        claim: fresh_claim(books),
        read,
        found: None,
    };
    begin(books, object, plan, Some(paid)).await
}

/// Records something that was found before anything was claimed. Nothing is sent.
///
/// # Errors
/// As for [`buy`].
pub async fn adopt<K: PurchasingKind>(
    books: &Arc<Books>,
    object: &K,
    order: Order,
    found: Sighting,
) -> Result<(), Error> {
    let plan = Plan {
        order,
        claim: fresh_claim(books),
        read: books.moment(),
        found: Some(found),
    };
    begin(books, object, plan, None).await.map(drop)
}

/// A claim that was begun is seen through, whatever becomes of the reconcile that began it. Once the process is told to
/// stop nothing is begun any more.
async fn begin<K: PurchasingKind>(
    books: &Arc<Books>,
    object: &K,
    plan: Plan,
    paid: Option<Paid>,
) -> Result<bool, Error> {
    if books.stopping.is_cancelled() {
        return Err(Error::Stopping);
    }
    let (told, begun) = oneshot::channel();
    let mut market = Market::new(books, object, &plan, paid, told);
    let purchase = Purchase::new(plan, books.times, books.moment());
    books.paid_calls.spawn(async move {
        let end = drive(purchase, &mut market).await;
        market.ended(end);
    });
    begun.await.unwrap_or(Err(Error::CutShort))
}

/// A claim with a holder that nobody else has.
fn fresh_claim(books: &Books) -> Claim {
    // Without randomness there is no holder that is ours alone; with an empty one nothing is begun.
    let holder = books.chance.bytes::<16>().map_or_else(String::new, |random| {
        BASE32_NOPAD.encode(&random).to_ascii_lowercase()
    });
    let made_at = books.now();
    Claim {
        holder: Holder::new(holder),
        instance: books.instance.clone(),
        made_at,
        send_before: later(made_at, books.times.request_timeout),
    }
}
