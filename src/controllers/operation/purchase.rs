//! A purchase, whatever is bought: the claim, the second look, and the POST in a task of its own.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::runtime::controller::Action;

use super::claim::{self, SendPermit};
use super::{record, send};
use crate::api::RecordDraft;
use crate::api::shared::CredentialsSecretRef;
use crate::controllers::api_call::ApiError;
use crate::controllers::context::{Blocked, Context};
use crate::controllers::observe::BUSY_WAIT;
use crate::controllers::subject::{Buyer, objects};
use crate::controllers::{Error, api_call, fail_point, jittered};
use crate::domain::approval::Approval;
use crate::domain::ids::Subject;
use crate::domain::operation::Input;
use crate::domain::order::Order;
use crate::domain::text::Text;

/// Second looks at a busy API server, and the wait between two.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);
/// When the object is looked at again after its call was handed over, if no answer wakes it before.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Claims, looks at the object once more, and hands the one POST to a task of its own. `read` is when
/// the readings behind the order began.
pub async fn buy<K: Buyer>(
    ctx: &Arc<Context>,
    object: &K,
    approval: Option<Approval>,
    order: Order,
    read: Instant,
) -> Result<Action, Error> {
    let credentials = object.credentials().clone();
    // Both are had before the claim, so that nothing but the second look stands between it and the POST.
    let account = match ctx.account(&order.subject.namespace, &credentials).await {
        Ok((account, version)) if version == order.cause.secret_version => account,
        Ok(_) | Err(Blocked::Busy | Blocked::Trouble(_)) => return Ok(Action::requeue(jittered(BUSY_WAIT))),
        Err(Blocked::Error(error)) => return Err(error),
    };
    let Ok(leave) = account.paid_permit() else {
        return Ok(Action::requeue(jittered(BUSY_WAIT)));
    };
    fail_point::reach("before-claim");
    let task_ctx = ctx.clone();
    let begun = seen_through(ctx, async move {
        let ctx = task_ctx;
        let cap = ctx.settings.most_paid_calls;
        let Some(permit) = claimed(&ctx, &credentials, &order, cap, read).await? else {
            return Ok(false);
        };
        fail_point::reach("after-claim");
        if let Some(why) = withdrawn::<K>(&ctx, &order.subject, approval.as_ref()).await {
            record::conclude_apart(&ctx, permit.into_withdrawn(), Input::Withdrawn(why));
            return Ok(false);
        }
        fail_point::reach("after-second-look");
        send::start(&ctx, permit, account, leave);
        Ok(true)
    });
    let wait = if begun.await? {
        LOOK_AGAIN
    } else {
        jittered(BUSY_WAIT)
    };
    Ok(Action::requeue(wait))
}

/// Records something that was found before anything was claimed. Nothing is sent.
pub async fn adopt<K: Buyer>(
    ctx: &Arc<Context>,
    object: &K,
    order: Order,
    found: Input,
) -> Result<Action, Error> {
    let task_ctx = ctx.clone();
    let credentials = object.credentials().clone();
    let begun = seen_through(ctx, async move {
        let ctx = task_ctx;
        // Nothing is sent, so the cap does not count it.
        let claimed = claimed(&ctx, &credentials, &order, None, Instant::now()).await?;
        if let Some(permit) = claimed {
            fail_point::reach("after-adoption-claim");
            record::conclude_apart(&ctx, permit.into_withdrawn(), found);
        }
        Ok(())
    });
    begun.await?;
    Ok(Action::requeue(jittered(BUSY_WAIT)))
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
    cap: Option<u32>,
    read: Instant,
) -> Result<Option<SendPermit>, Error> {
    let claim = claim::fresh(ctx);
    let draft = RecordDraft {
        order,
        credentials,
        claim: &claim,
    };
    claim::make(ctx, &draft, cap, read).await
}

/// The object as it stands in etcd after the claim. A busy API server is asked again, for a claim that is
/// given up costs a try; how long the claim lasts is looked at before it is sent.
async fn second_look<K: Buyer>(ctx: &Context, subject: &Subject) -> Result<Option<K>, ApiError> {
    let api = objects::<K>(ctx, &subject.namespace);
    for _ in 1..LOOKS {
        match api_call::found(api.get(&subject.name)).await {
            Err(error) if error.is_throttled() => tokio::time::sleep(BETWEEN_LOOKS).await,
            read => return read,
        }
    }
    api_call::found(api.get(&subject.name)).await
}

/// The second look: why the object, as it stands in etcd after the claim, no longer wants the call.
async fn withdrawn<K: Buyer>(ctx: &Context, subject: &Subject, approval: Option<&Approval>) -> Option<Text> {
    let why = match second_look::<K>(ctx, subject).await {
        Err(_) => "withdrawn: the object could not be read again after the claim",
        Ok(None) => "withdrawn: the object was deleted before anything was sent",
        Ok(Some(now)) if now.meta().uid.as_deref() != Some(subject.uid.as_str()) => {
            "withdrawn: the object was replaced before anything was sent"
        }
        Ok(Some(now)) if now.meta().deletion_timestamp.is_some() => "withdrawn: the object is being deleted",
        Ok(Some(now)) if now.is_suspended() => "withdrawn: the object was suspended before anything was sent",
        Ok(Some(_)) if approval.is_some_and(|approval| approval.has_ended(ctx.now())) => {
            "withdrawn: the approval ended before anything was sent"
        }
        Ok(Some(now)) if now.meta().generation != Some(subject.generation) => {
            "withdrawn: the object was changed before anything was sent"
        }
        Ok(Some(_)) => return None,
    };
    Some(Text::new(why))
}
