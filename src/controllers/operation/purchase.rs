//! A purchase, whatever is bought: the claim, the second look, and the POST in a task of its own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;

use super::claim::{self, SendPermit};
use super::{record, send};
use crate::accounts::Leave;
use crate::api::RecordDraft;
use crate::api::operation::{OperationState, VpsOperation, VpsOperationSpec};
use crate::api::shared::CredentialsSecretRef;
use crate::controllers::api_call::ApiError;
use crate::controllers::context::{Blocked, Context};
use crate::controllers::observe::SOON;
use crate::controllers::subject::{Buyer, objects};
use crate::controllers::{Error, api_call, fail_point, jittered, reading};
use crate::domain::approval::Approval;
use crate::domain::ids::Subject;
use crate::domain::inventory::Sighting;
use crate::domain::ledger::Caps;
use crate::domain::moment::Moment;
use crate::domain::operation::Input;
use crate::domain::order::Order;
use crate::domain::record::Matter;
use crate::domain::text::Text;

/// Second looks at a busy API server, and the wait between two.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);
/// When the object is looked at again after its call was handed over, if no answer wakes it before.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Claims, looks at the object once more, and hands the one POST to a task of its own. `read` is when
/// the readings behind the order began. `None` where no paid call may leave: the object is woken once one may.
pub async fn buy<K: Buyer>(
    ctx: &Arc<Context>,
    object: &K,
    approval: Option<Approval>,
    order: Order,
    read: Moment,
) -> Result<Option<Action>, Error> {
    let credentials = object.credentials().clone();
    // Both are had before the claim, so that nothing but the second look stands between it and the POST.
    let account = match ctx.account(&order.subject.namespace, &credentials).await {
        Ok((account, key)) if key.secret_version == order.secret_version => account,
        Ok(_) | Err(Blocked::Waiting | Blocked::Held(_) | Blocked::Trouble(_)) => {
            return Ok(Some(Action::requeue(jittered(SOON))));
        }
        Err(Blocked::Error(error)) => return Err(error),
    };
    let leave = match account.paid_permit(&reading::who(&order.subject)) {
        Leave::Given(leave) => leave,
        Leave::Limited => return Ok(Some(Action::requeue(jittered(SOON)))),
        Leave::Later => return Ok(None),
    };
    fail_point::reach("before-claim");
    let task_ctx = ctx.clone();
    let begun = seen_through(ctx, async move {
        let ctx = task_ctx;
        let caps = ctx.settings.caps;
        let size = match &order.matter {
            Matter::Restore(restored) => Some(restored.ordered),
            Matter::Config(_) | Matter::LegacyEstimate(_) | Matter::LegacyUpgrade(_) => None,
        };
        // Another object may have ordered what the limits had left when both were looked at.
        if size.is_some_and(|size| !account.sell(size)) {
            return Ok(false);
        }
        let claimed = claimed(&ctx, &credentials, &order, caps, read).await;
        if let (Some(size), Ok(None) | Err(_)) = (size, &claimed) {
            account.unsell(size);
        }
        let Some(permit) = claimed? else {
            return Ok(false);
        };
        fail_point::reach("after-claim");
        let drafted = permit.drafted();
        if let Some(why) = withdrawn::<K>(&ctx, &order, drafted, approval.as_ref()).await {
            record::conclude_apart(&ctx, permit.into_withdrawn(), Input::Withdrawn(why));
            return Ok(false);
        }
        fail_point::reach("after-second-look");
        send::start(&ctx, permit, account, leave);
        Ok(true)
    });
    let wait = if begun.await? { LOOK_AGAIN } else { jittered(SOON) };
    Ok(Some(Action::requeue(wait)))
}

/// Records something that was found before anything was claimed. Nothing is sent.
pub async fn adopt<K: Buyer>(
    ctx: &Arc<Context>,
    object: &K,
    order: Order,
    found: Sighting,
) -> Result<Action, Error> {
    let task_ctx = ctx.clone();
    let found = Input::FoundBeforeClaim(found);
    let credentials = object.credentials().clone();
    let begun = seen_through(ctx, async move {
        let ctx = task_ctx;
        // Nothing is sent, so no cap counts it.
        let uncapped = Caps {
            all: None,
            of_namespace: None,
        };
        let claimed = claimed(&ctx, &credentials, &order, uncapped, ctx.moment()).await?;
        if let Some(permit) = claimed {
            fail_point::reach("after-adoption-claim");
            record::conclude_apart(&ctx, permit.into_withdrawn(), found);
        }
        Ok(())
    });
    begun.await?;
    Ok(Action::requeue(jittered(SOON)))
}

/// Runs what must not be cut short: a claim that was begun is seen through, whatever becomes of the
/// reconcile that began it. Once the process is told to stop nothing is begun any more.
async fn seen_through<T, F>(ctx: &Arc<Context>, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    if ctx.stopping.is_cancelled() {
        return Err(Error::Stopping);
    }
    ctx.paid_calls.spawn(work).await.unwrap_or(Err(Error::Panicked))
}

async fn claimed(
    ctx: &Arc<Context>,
    credentials: &CredentialsSecretRef,
    order: &Order,
    caps: Caps,
    read: Moment,
) -> Result<Option<SendPermit>, Error> {
    let claim = claim::fresh(ctx);
    let draft = RecordDraft {
        order,
        credentials,
        claim: &claim,
    };
    claim::make(ctx, &draft, caps, read).await
}

/// Reads after the claim. A busy API server is asked again, for a claim that is given up costs a try; how long
/// the claim lasts is looked at before it is sent.
async fn patiently<T, F>(read: impl Fn() -> F) -> Result<Option<T>, ApiError>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    for _ in 1..LOOKS {
        match api_call::found(read()).await {
            Err(error) if error.is_throttled() => tokio::time::sleep(BETWEEN_LOOKS).await,
            read => return read,
        }
    }
    api_call::found(read()).await
}

/// The second look: why the object or the record, as they stand in etcd after the claim, no longer want the
/// call.
async fn withdrawn<K: Buyer>(
    ctx: &Context,
    order: &Order,
    drafted: &VpsOperationSpec,
    approval: Option<&Approval>,
) -> Option<Text> {
    let subject = &order.subject;
    let objects = objects::<K>(ctx, &subject.namespace);
    let records = ctx.ledger.api();
    let name = order.chain.record(order.attempt.number);
    let object = patiently(|| objects.get(&subject.name));
    let record = patiently(|| records.get(name.as_str()));
    let (object, record) = futures::join!(object, record);
    if let Ok(Some(object)) = &object {
        K::recent(ctx).put(object.clone());
    }
    let why =
        no_longer_wanted(object, subject, approval, ctx.now()).or_else(|| no_longer_ours(record, drafted))?;
    Some(Text::new(&format!("withdrawn: {why}")))
}

fn no_longer_wanted<K: Buyer>(
    object: Result<Option<K>, ApiError>,
    subject: &Subject,
    approval: Option<&Approval>,
    now: Timestamp,
) -> Option<&'static str> {
    match object {
        Err(_) => Some("the object could not be read again after the claim"),
        Ok(None) => Some("the object was deleted before anything was sent"),
        Ok(Some(object)) if object.meta().uid.as_deref() != Some(subject.uid.as_str()) => {
            Some("the object was replaced before anything was sent")
        }
        Ok(Some(object)) if object.meta().deletion_timestamp.is_some() => Some("the object is being deleted"),
        Ok(Some(object)) if object.is_suspended() => {
            Some("the object was suspended before anything was sent")
        }
        Ok(Some(_)) if approval.is_some_and(|approval| approval.has_ended(now)) => {
            Some("the approval ended before anything was sent")
        }
        Ok(Some(object)) if object.meta().generation != Some(subject.generation) => {
            Some("the object was changed before anything was sent")
        }
        Ok(Some(_)) => None,
    }
}

/// A process that stood still may find that its record was taken for lost and answered meanwhile.
fn no_longer_ours(
    record: Result<Option<VpsOperation>, ApiError>,
    drafted: &VpsOperationSpec,
) -> Option<&'static str> {
    let record = match record {
        Err(_) => return Some("the record could not be read again after the claim"),
        Ok(None) => return Some("the record is gone"),
        Ok(Some(record)) => record,
    };
    let state = record.status.and_then(|status| status.state);
    if state.is_some_and(|state| state != OperationState::Sending) {
        return Some("the record was settled before anything was sent");
    }
    (record.spec != *drafted).then_some(
        "the record is not what was drafted; an admission webhook or policy of this cluster must leave \
         VpsOperations as they are",
    )
}
