//! Follows the VMs that were bought, until HostUp provides them no longer. What it finds is written to their records, and
//! nothing else follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};

use super::context::{Blocked, Context, blocked};
use super::{Error, reading};
use crate::accounts::{Age, Asker, Class, Question, Want, Who};
use crate::api;
use crate::api::shared::CredentialsSecretRef;
use crate::cluster::api_call::ApiError;
use crate::domain::ledger::KeyPlace;
use crate::domain::ledger::record::{EndOfVm, Record};
use crate::domain::provider::inventory::Vm;
use crate::domain::values::ids::{RecordName, Uid, VpsId};
use crate::domain::values::text::Text;
use crate::hostup::{ReadError, Route};
use crate::ledger::record;

/// Between two looks for an answer.
const AGAIN: Duration = Duration::from_secs(1);
/// How often an answer is looked for before the next round.
const LOOKS: u32 = 60;
/// Keys that are looked at together.
const AT_ONCE: usize = 16;

/// Reads the VMs of each key once in every `--resync-interval`. The end of a VM is written when two rounds in a row, and a
/// read of the VM itself, show it.
pub async fn follow(ctx: Arc<Context>) {
    let mut missing_before = BTreeSet::new();
    loop {
        tokio::time::sleep(ctx.books.chance.jittered(ctx.settings.times.resync_interval)).await;
        let keys = ctx.books.ledger.keys_of_vms().into_iter();
        let keys = keys.filter(|key| ctx.settings.watched.includes(&key.namespace));
        let (ctx, before) = (&ctx, &missing_before);
        let rounds = keys.map(|key| async move {
            round(ctx, &key, before).await.unwrap_or_else(|why| {
                let KeyPlace {
                    namespace, secret, ..
                } = &*key;
                tracing::debug!(?why, namespace, secret, "the VMs of a key cannot be read");
                Vec::new()
            })
        });
        let missing: Vec<Vec<RecordName>> = stream::iter(rounds).buffer_unordered(AT_ONCE).collect().await;
        missing_before = missing.into_iter().flatten().collect();
    }
}

/// One look at the VMs of a key: the records whose VM it does not show.
async fn round(
    ctx: &Context,
    key: &KeyPlace,
    missing_before: &BTreeSet<RecordName>,
) -> Result<Vec<RecordName>, Blocked> {
    let recently = Age::Before(ctx.settings.times.resync_interval / 2);
    let list = Want {
        question: Question::Vms,
        age: recently,
    };
    let read = read(ctx, key, list).await?;
    let vms = ctx.vms(&key.namespace, &key.secret, &read.readings)?;
    let missing = ctx.books.ledger.without_their_vm(key, &vms);
    for name in missing.iter().filter(|name| missing_before.contains(*name)) {
        if let Err(why) = Box::pin(look_closer(ctx, key, name, &vms)).await {
            tracing::debug!(?why, operation = %name, "whether the VM has ended cannot be read or written");
        }
    }
    Ok(missing)
}

/// Writes the end of a VM that two lists did not show, if a read of the VM itself shows it too.
async fn look_closer(ctx: &Context, key: &KeyPlace, name: &RecordName, vms: &[Vm]) -> Result<(), Blocked> {
    let object = ctx.books.ledger.get(name).await.map_err(api_error)?;
    let Some(object) = object else { return Ok(()) };
    let Ok(record) = api::record(&object) else {
        return Ok(());
    };
    let Some(vps) = record.vm().filter(|_| record.known.ended.is_none()) else {
        return Ok(());
    };
    let read = read(ctx, key, reading::now(Question::Vm(vps.clone()))).await?;
    // A key of another account shows neither the source nor the VM, and proves nothing. Nor does an account that shows
    // nothing at all: it may be locked.
    let is_listed = vms.iter().any(|vm| vm.id == record.vps || vm.id == *vps);
    let is_the_same_key = read.key.secret_version == object.spec.credentials_ref.resource_version;
    let is_of_the_account = is_the_same_key && !vms.is_empty();
    if !is_listed && !is_of_the_account && !has_ended(ctx, &record, vps).await? {
        return Ok(());
    }
    let word: Option<Text> = match read.readings.vm(vps) {
        Ok(Vm { ended: None, .. }) => return Ok(()),
        Ok(vm) => vm.ended,
        Err(ReadError::NotFound {
            route: Route::Vps, ..
        }) => None,
        Err(error) => return Err(blocked(error)),
    };
    tracing::info!(operation = %name, vps = %vps, ?word, "HostUp does not provide the VM any more");
    let end = EndOfVm {
        seen: ctx.now(),
        word,
    };
    record::end(&ctx.books, object, &record, end)
        .await
        .map_err(api_error)
}

/// Whether another record says that HostUp provides the VM no longer: the one that it was bought with.
async fn has_ended(ctx: &Context, record: &Record, vps: &VpsId) -> Result<bool, Blocked> {
    let Some(buyer) = ctx.books.ledger.result_of(vps, Some(&record.name)) else {
        return Ok(false);
    };
    let object = ctx.books.ledger.get(&buyer).await.map_err(api_error)?;
    let bought = object.and_then(|object| api::record(&object).ok());
    Ok(bought.is_some_and(|bought| bought.known.ended.is_some()))
}

fn api_error(error: ApiError) -> Blocked {
    Blocked::Error(Error::from(error))
}

/// The answer to one question, asked with the key.
async fn read(ctx: &Context, key: &KeyPlace, want: Want) -> Result<reading::Read, Blocked> {
    let who = Who::Vms(key.clone());
    let credentials = CredentialsSecretRef {
        name: key.secret.clone(),
        key: key.key.clone(),
    };
    let asker = Asker {
        who: who.clone(),
        uid: Uid::new(String::new()),
        generation: 0,
        class: Class::Routine,
        since: ctx.now(),
    };
    let mut read = Err(Blocked::Waiting);
    for _ in 0..LOOKS {
        read = reading::ask(
            ctx,
            asker.clone(),
            &key.namespace,
            &credentials,
            vec![want.clone()],
        )
        .await;
        if !matches!(read, Err(Blocked::Waiting)) {
            break;
        }
        tokio::time::sleep(AGAIN).await;
    }
    ctx.accounts.forget(&who);
    read
}
