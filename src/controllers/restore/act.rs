//! The two effects of a restore: a purchase, and the record of a VM that was found.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;

use super::observe::BUSY_WAIT;
use crate::api::RecordDraft;
use crate::api::restore::VpsBackupRestore;
use crate::controllers::context::{Blocked, Context};
use crate::controllers::operation::claim::{self, SendPermit};
use crate::controllers::operation::{record, send};
use crate::controllers::{Error, api_call, at, fail_point, jittered};
use crate::domain::inventory::Sighting;
use crate::domain::operation::Input;
use crate::domain::record::later;
use crate::domain::restore::{Intent, Order};
use crate::domain::text::Text;

/// When the object is looked at again after its call was handed over, if no answer wakes it before.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Claims, looks at the object once more, and hands the one POST to a task of its own.
pub async fn buy(
    ctx: &Arc<Context>,
    object: &VpsBackupRestore,
    intent: &Intent,
    order: &Order,
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
    let Some(permit) = claimed(ctx, object, intent, order).await? else {
        return Ok(Action::requeue(jittered(BUSY_WAIT)));
    };
    fail_point::reach("after-claim");
    if let Some(why) = withdrawn(ctx, intent).await {
        record::conclude(ctx, permit.into_withdrawn(), Input::Withdrawn(why)).await;
        return Ok(Action::requeue(jittered(BUSY_WAIT)));
    }
    fail_point::reach("after-second-look");
    send::start(ctx, permit, account, leave);
    Ok(at(Some(later(ctx.now(), LOOK_AGAIN)), ctx.now()))
}

/// Records a VM that bore the token before anything was claimed. Nothing is sent.
pub async fn adopt(
    ctx: &Arc<Context>,
    object: &VpsBackupRestore,
    intent: &Intent,
    order: &Order,
    sighting: Sighting,
) -> Result<Action, Error> {
    let Some(permit) = claimed(ctx, object, intent, order).await? else {
        return Ok(Action::requeue(jittered(BUSY_WAIT)));
    };
    fail_point::reach("after-adoption-claim");
    record::conclude(ctx, permit.into_withdrawn(), Input::FoundBeforeClaim(sighting)).await;
    Ok(Action::requeue(jittered(BUSY_WAIT)))
}

async fn claimed(
    ctx: &Arc<Context>,
    object: &VpsBackupRestore,
    intent: &Intent,
    order: &Order,
) -> Result<Option<SendPermit>, Error> {
    let claim = claim::fresh(ctx);
    let draft = RecordDraft {
        intent,
        order,
        credentials: &object.spec.credentials_secret_ref,
        claim: &claim,
    };
    claim::make(ctx, &draft).await
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
        Ok(Some(now)) if now.metadata.generation != Some(subject.generation) => {
            "withdrawn: the object was changed before anything was sent"
        }
        Ok(Some(_)) => return None,
    };
    Some(Text::new(why))
}
