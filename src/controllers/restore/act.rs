//! The two effects of a restore: a purchase, and the record of a VM that was found.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::runtime::controller::Action;

use super::observe::BUSY_WAIT;
use crate::api::RecordDraft;
use crate::api::restore::VpsBackupRestore;
use crate::api::shared::CredentialsSecretRef;
use crate::controllers::context::{Blocked, Context};
use crate::controllers::operation::claim::{self, SendPermit};
use crate::controllers::operation::{record, send};
use crate::controllers::{Error, api_call, fail_point, jittered};
use crate::domain::approval::Approval;
use crate::domain::inventory::Sighting;
use crate::domain::operation::Input;
use crate::domain::restore::{Intent, Order};
use crate::domain::text::Text;

/// When the object is looked at again after its call was handed over, if no answer wakes it before.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Claims, looks at the object once more, and hands the one POST to a task of its own. `read` is when
/// the readings behind the order began.
pub async fn buy(
    ctx: &Arc<Context>,
    object: &VpsBackupRestore,
    intent: &Intent,
    order: &Order,
    read: Instant,
) -> Result<Action, Error> {
    let credentials = &object.spec.credentials_secret_ref;
    // Both are had before the claim, so that nothing but the second look stands between it and the POST.
    let account = match ctx.account(&intent.subject.namespace, credentials).await {
        Ok((account, version)) if version == order.cause.secret_version => account,
        Ok(_) | Err(Blocked::Busy | Blocked::Trouble(_)) => return Ok(Action::requeue(jittered(BUSY_WAIT))),
        Err(Blocked::Error(error)) => return Err(error),
    };
    let Ok(leave) = account.paid_permit() else {
        return Ok(Action::requeue(jittered(BUSY_WAIT)));
    };
    fail_point::reach("before-claim");
    let (task_ctx, intent) = (ctx.clone(), intent.clone());
    let draft = (object.spec.credentials_secret_ref.clone(), order.clone());
    let begun = seen_through(ctx, async move {
        let ctx = task_ctx;
        let (credentials, order) = draft;
        let cap = ctx.settings.most_paid_calls;
        let Some(permit) = claimed(&ctx, &credentials, &intent, &order, cap, read).await? else {
            return Ok(false);
        };
        fail_point::reach("after-claim");
        if let Some(why) = withdrawn(&ctx, &intent).await {
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

/// Records a VM that bore the token before anything was claimed. Nothing is sent.
pub async fn adopt(
    ctx: &Arc<Context>,
    object: &VpsBackupRestore,
    intent: &Intent,
    order: &Order,
    sighting: Sighting,
) -> Result<Action, Error> {
    let (task_ctx, intent) = (ctx.clone(), intent.clone());
    let draft = (object.spec.credentials_secret_ref.clone(), order.clone());
    let begun = seen_through(ctx, async move {
        let ctx = task_ctx;
        let (credentials, order) = draft;
        // Nothing is sent, so the cap does not count it.
        let claimed = claimed(&ctx, &credentials, &intent, &order, None, Instant::now()).await?;
        if let Some(permit) = claimed {
            fail_point::reach("after-adoption-claim");
            record::conclude_apart(&ctx, permit.into_withdrawn(), Input::FoundBeforeClaim(sighting));
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
    intent: &Intent,
    order: &Order,
    cap: Option<u32>,
    read: Instant,
) -> Result<Option<SendPermit>, Error> {
    let claim = claim::fresh(ctx);
    let draft = RecordDraft {
        intent,
        order,
        credentials,
        claim: &claim,
    };
    claim::make(ctx, &draft, cap, read).await
}

/// The second look: why the object, as it stands in etcd after the claim, no longer wants the call.
async fn withdrawn(ctx: &Context, intent: &Intent) -> Option<Text> {
    let subject = &intent.subject;
    let read = api_call::found(ctx.restores(&subject.namespace).get(&subject.name)).await;
    let why = match read {
        Err(_) => "withdrawn: the object could not be read again after the claim",
        Ok(None) => "withdrawn: the object was deleted before anything was sent",
        Ok(Some(now)) if now.metadata.uid.as_deref() != Some(subject.uid.as_str()) => {
            "withdrawn: the object was replaced before anything was sent"
        }
        Ok(Some(now)) if now.metadata.deletion_timestamp.is_some() => {
            "withdrawn: the object is being deleted"
        }
        Ok(Some(now)) if now.spec.suspend => "withdrawn: the object was suspended before anything was sent",
        Ok(Some(_)) if approval_ended(intent, ctx) => {
            "withdrawn: the approval ended before anything was sent"
        }
        Ok(Some(now)) if now.metadata.generation != Some(subject.generation) => {
            "withdrawn: the object was changed before anything was sent"
        }
        Ok(Some(_)) => return None,
    };
    Some(Text::new(why))
}

fn approval_ended(intent: &Intent, ctx: &Context) -> bool {
    match &intent.approval {
        Some(Approval::Ceiling { valid_until, .. }) => ctx.now() >= *valid_until,
        Some(Approval::Quote(_)) | None => false,
    }
}
