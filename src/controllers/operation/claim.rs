//! The claim: creating the record is the claim and the write-ahead in one, and only the very call
//! that made it may send.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;

use crate::api::operation::{RecordedRequest, VpsOperation, VpsOperationSpec};
use crate::api::{self, RecordDraft};
use crate::chance;
use crate::controllers::api_call::{self, ApiError};
use crate::controllers::context::Context;
use crate::controllers::desk::InFlight;
use crate::controllers::{Error, fail_point};
use crate::domain::ids::{Holder, RecordName};
use crate::domain::ledger::Caps;
use crate::domain::moment::Moment;
use crate::domain::operation::Input;
use crate::domain::record::{Claim, Record, later};
use crate::domain::text::Text;

/// Gates and price are bought upon for so long, by every clock.
const READINGS_LAST: Duration = Duration::from_secs(60);
/// Reads with which an unclear answer to the create is cleared up.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// The right to send the one call of one record.
///
/// Only [`make`] makes it, from the answer to its own create call. It cannot be cloned; the POST
/// consumes it.
pub struct SendPermit {
    held: Held,
    drafted: VpsOperationSpec,
    made: Moment,
    read: Moment,
}

/// A record whose right to send is used up; its outcome is still to be written by its holder.
pub struct Held {
    pub(super) object: VpsOperation,
    pub(super) record: Record,
    pub(super) in_flight: InFlight,
}

impl SendPermit {
    /// The record as it was drafted. It counts, and not what came back: whoever stands in between may have
    /// changed it after it was priced.
    pub fn drafted(&self) -> &VpsOperationSpec {
        &self.drafted
    }

    /// Gives the right up; nothing is sent.
    pub fn into_withdrawn(self) -> Held {
        self.held
    }

    /// Uses the right up, for the drafted request and within so long. `Err` if its time has passed by any clock:
    /// then nothing may be sent.
    #[allow(clippy::result_large_err)] // moved once a purchase
    pub(super) fn redeem(self, ctx: &Context) -> Result<(Held, RecordedRequest, Duration), Held> {
        let times = &ctx.settings.times;
        let now = ctx.moment();
        let waited = now.since(&self.made);
        let in_time = now.wall <= self.held.record.claim.send_before
            && waited <= times.request_timeout
            && now.since(&self.read) <= READINGS_LAST;
        if in_time {
            let left = times.paid_timeout.saturating_sub(waited);
            Ok((self.held, self.drafted.request, left))
        } else {
            Err(self.held)
        }
    }
}

/// A claim with a holder that nobody else has.
pub fn fresh(ctx: &Context) -> Claim {
    // Without randomness there is no holder that is ours alone; an empty one is refused by `make`.
    let holder = chance::bytes::<16>().map_or_else(String::new, |random| {
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

/// Creates the record. `None` when it is not ours: somebody else made it, one of the `caps` is reached, or the
/// readings behind it, begun at `read`, are too old.
///
/// # Errors
/// When the API server refused it, or when it stayed unclear whether it was made; nothing is sent.
pub async fn make(
    ctx: &Arc<Context>,
    draft: &RecordDraft<'_>,
    caps: Caps,
    read: Moment,
) -> Result<Option<SendPermit>, Error> {
    let name = draft.name();
    let holder = &draft.claim.holder;
    let made = ctx.moment();
    let startable = !holder.as_str().is_empty() && made.since(&read) <= READINGS_LAST;
    let namespace = &draft.order.subject.namespace;
    if !startable || !ctx.ledger.reserve(&name, namespace, caps, made.wall) {
        return Ok(None);
    }
    let in_flight = ctx.desk.begin(&name);
    let drafted = draft.object();
    let by = api_call::by_us();
    let created = api_call::within(ctx.ledger.api().create(&by, &drafted)).await;
    let mine = match created {
        Ok(object) => Some(object).filter(|object| object.spec.claim.holder == holder.as_str()),
        Err(error) if error.is_refusal() => {
            ctx.ledger.release(&name);
            return Err(error.into());
        }
        Err(error) => made_by_us(ctx, &name, holder, error)
            .await
            .inspect_err(|_| ctx.ledger.release(&name))?,
    };
    let Some(object) = mine else {
        ctx.ledger.release(&name);
        return Ok(None);
    };
    ctx.desk.claimed(&name);
    ctx.ledger.made(object.clone());
    match api::record(&object) {
        Ok(record) => Ok(Some(SendPermit {
            read,
            held: Held {
                object,
                record,
                in_flight,
            },
            drafted: drafted.spec,
            made,
        })),
        Err(error) => {
            tracing::error!(%error, "the record just made cannot be read back; nothing is sent");
            ctx.desk.never_sent(holder);
            Ok(None)
        }
    }
}

/// After an answer that leaves open whether the record was made, even a 409: compares the holder,
/// never the name.
async fn made_by_us(
    ctx: &Context,
    name: &RecordName,
    holder: &Holder,
    unclear: ApiError,
) -> Result<Option<VpsOperation>, Error> {
    for _ in 0..LOOKS {
        match ctx.ledger.get(name).await {
            Ok(Some(found)) => {
                return Ok(Some(found).filter(|found| found.spec.claim.holder == holder.as_str()));
            }
            Ok(None) if unclear.is_conflict() => return Ok(None),
            Ok(None) | Err(_) => tokio::time::sleep(BETWEEN_LOOKS).await,
        }
    }
    // It may still show up; then nothing was sent for it, and this process can say so.
    ctx.desk.never_sent(holder);
    fail_point::reach("after-claim");
    Err(unclear.into())
}

/// What is to be said of an overdue record, knowing what this process did.
pub(super) fn knowing(ctx: &Context, record: &Record, input: Input) -> Input {
    if input == Input::Overdue && ctx.desk.knows_unsent(&record.claim.holder) {
        return Input::Withdrawn(Text::new(
            "withdrawn: the API server did not confirm the claim, so nothing was sent",
        ));
    }
    input
}
