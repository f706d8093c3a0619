//! What the restore controller reads, from etcd and from HostUp.

use kube::ResourceExt;

use crate::api::conditions;
use crate::api::restore::VpsBackupRestore;
use crate::controllers::Error;
use crate::controllers::context::{Blocked, Context, about_vps, blocked, with_a_fresh_key, within_a_minute};
use crate::controllers::observe::{self as common, Read, as_read, gap};
use crate::domain::ids::{BackupId, VpsId};
use crate::domain::names::ChainKey;
use crate::domain::preflight::Preflight;
use crate::domain::record::{Bought, Matter};
use crate::domain::restore::{Account, Intent, View};
use crate::hostup::{ReadError, Route};

/// The view without anything of HostUp: the chain of records, and what the status shows.
pub async fn ledger(ctx: &Context, object: &VpsBackupRestore, intent: &Intent) -> Result<View, Error> {
    let key = ChainKey::of_restore(&intent.subject.namespace, &intent.subject.name);
    let mut chain = common::chain(ctx, object, &intent.subject, &key).await?;
    let attempt = chain.tail.as_ref().map_or(0, |tail| tail.attempt);
    chain.gap = gap(&key, &ctx.ledger.before(&key, attempt).await?);
    let status = object.status.clone().unwrap_or_default();
    let named = status.operation.as_ref().map(|operation| operation.name.as_str());
    let tail = chain.tail.as_ref();
    let shows_tail = named.is_some() && named == tail.map(|tail| tail.name.as_str());
    let is_ready = conditions::find(&status.conditions, "Ready").is_some_and(|ready| ready.status == "True");
    let tried = tail.filter(|tail| tail.subject.uid == intent.subject.uid);
    let restored = tried.and_then(|tail| match &tail.matter {
        Matter::Restore(restored) => Some(restored.backup.id.clone()),
        Matter::Config(_) | Matter::LegacyEstimate(_) | Matter::LegacyUpgrade(_) => None,
    });
    Ok(View {
        account: Account::Unread,
        resolved_backup: status
            .backup
            .as_ref()
            .map(|backup| BackupId::new(&backup.id))
            .or(restored),
        latched: status
            .vm
            .as_ref()
            .filter(|_| is_ready && shows_tail)
            .map(Bought::from),
        chain,
    })
}

/// The source, its backups, the gates, prices, limits and the VM list, in this order.
pub async fn preflight(
    ctx: &Context,
    object: &VpsBackupRestore,
    intent: &Intent,
) -> Result<Read<Account>, Error> {
    let namespace = &intent.subject.namespace;
    let credentials = &object.spec.credentials_secret_ref;
    let read = with_a_fresh_key(ctx, namespace, credentials, || {
        read_preflight(ctx, object, intent)
    })
    .await;
    as_read(
        read.map(|preflight| Account::Preflight(Box::new(preflight))),
        Account::Trouble,
    )
}

async fn read_preflight(
    ctx: &Context,
    object: &VpsBackupRestore,
    intent: &Intent,
) -> Result<Preflight, Blocked> {
    let read_at = ctx.now();
    let source = &intent.source;
    let credentials = &object.spec.credentials_secret_ref;
    let (account, key) = ctx.account(&intent.subject.namespace, credentials).await?;
    let account = account.reading().map_err(blocked)?;
    let about_source = |error: ReadError| about_vps(error, source, credentials);
    let source_size = account.own_vps(source).await.map_err(about_source)?.size;
    let (backups, can_restore) = account.backups(source).await.map_err(about_source)?;
    let eligibility = account.eligibility(source).await.map_err(about_source)?;
    let deployments = account.deployments().await.map_err(blocked)?;
    let remaining = account.remaining().await.map_err(blocked)?;
    let vms = account.list_vps().await.map_err(blocked)?;
    ctx.audit(
        &format!("{}/{}", intent.subject.namespace, credentials.name),
        &vms,
    );
    Ok(Preflight {
        read_at,
        key,
        source_size,
        backups,
        can_restore,
        eligibility,
        deployments,
        remaining,
        vms,
    })
}

/// The VM that was bought.
pub async fn vm(ctx: &Context, object: &VpsBackupRestore, vps: &VpsId) -> Result<Read<Account>, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let read = async {
        let (account, _) = ctx
            .account(&namespace, &object.spec.credentials_secret_ref)
            .await?;
        let account = account.reading().map_err(blocked)?;
        match account.vps(vps).await {
            Ok(vm) => Ok(Account::Vm(Some(vm))),
            // The list is sometimes ahead of the single read.
            Err(ReadError::NotFound {
                route: Route::Vps, ..
            }) => Ok(Account::Vm(None)),
            Err(error) => Err(blocked(error)),
        }
    };
    as_read(within_a_minute(read).await, Account::Trouble)
}
