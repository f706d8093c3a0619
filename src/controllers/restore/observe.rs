//! What the restore controller reads, from etcd and from HostUp.

use std::time::Duration;

use kube::ResourceExt;

use crate::api::conditions;
use crate::api::restore::VpsBackupRestore;
use crate::api::{self, InvalidRecord};
use crate::controllers::Error;
use crate::controllers::api_call;
use crate::controllers::context::{Blocked, Context, WatchedRestore, blocked, within_a_minute};
use crate::domain::ids::{BackupId, RecordName, VpsId};
use crate::domain::names::ChainKey;
use crate::domain::preflight::Preflight;
use crate::domain::reason::Reason;
use crate::domain::record::Bought;
use crate::domain::restore::{Account, Brakes, Intent, Trouble, View};
use crate::domain::text::Text;
use crate::hostup::ReadError;

/// The wait after a read for which too many others were under way.
pub const BUSY_WAIT: Duration = Duration::from_secs(1);

/// What a read of HostUp brought.
pub enum Read {
    /// Something to decide upon.
    Account(Account),
    /// Nothing yet; others are in the way.
    Busy,
}

/// The object, read from etcd; `None` if it is gone, or is another one of the same name.
pub async fn subject(ctx: &Context, seen: &WatchedRestore) -> Result<Option<VpsBackupRestore>, Error> {
    let namespace = seen.namespace().unwrap_or_default();
    let object = api_call::found(ctx.restores(&namespace).get(&seen.name_any())).await?;
    Ok(object.filter(|object| object.metadata.uid.is_some()))
}

/// The view without anything of HostUp: the chain's last record, and what the status shows.
pub async fn ledger(ctx: &Context, object: &VpsBackupRestore, intent: &Intent) -> Result<View, Error> {
    let key = ChainKey::of_restore(&intent.subject.namespace, &intent.subject.name);
    let status = object.status.clone().unwrap_or_default();
    let tail = ctx.ledger.tail(&key).await?;
    let named = status
        .operation
        .as_ref()
        .map(|operation| RecordName::new(&operation.name));
    let missing_record = match &named {
        Some(named)
            if tail
                .as_ref()
                .is_none_or(|tail| key.attempt(named) > Some(tail.spec.attempt)) =>
        {
            ctx.ledger.get(named).await?.is_none().then(|| named.clone())
        }
        Some(_) | None => None,
    };
    // A record that this process made, and that is gone before the status could name it.
    let next = key.record(
        tail.as_ref()
            .map_or(0, |tail| tail.spec.attempt)
            .saturating_add(1),
    );
    let missing_record = missing_record.or_else(|| Some(next).filter(|next| ctx.desk.has_claimed(next)));
    let tail = tail.map(|tail| api::record(&tail)).transpose();
    let (tail, unreadable) = match tail {
        Ok(tail) => (tail, None),
        Err(error) => (None, Some(error)),
    };
    let ready = conditions::find(&status.conditions, "Ready");
    let is_ready = ready.is_some_and(|ready| ready.status == "True");
    let shows_tail = named.is_some() && named.as_ref() == tail.as_ref().map(|tail| &tail.name);
    let credentials = &object.spec.credentials_secret_ref;
    let now = ctx.now();
    let paid_calls = ctx.ledger.paid_calls(now);
    let tried = tail.clone().filter(|tail| tail.subject.uid == intent.subject.uid);
    Ok(View {
        instance: ctx.settings.instance.clone(),
        following: tail
            .as_ref()
            .and_then(|tail| ctx.desk.followed(&tail.name).trouble),
        unreadable_record: unreadable.as_ref().map(InvalidRecord::to_string),
        tail,
        missing_record,
        account: Account::Unread,
        resolved_backup: status
            .backup
            .as_ref()
            .map(|backup| BackupId::new(&backup.id))
            .or_else(|| tried.as_ref().map(|tail| tail.backup.id.clone())),
        shown_quote: api::shown_quote(&status),
        latched: status
            .vm
            .as_ref()
            .filter(|_| is_ready && shows_tail)
            .map(Bought::from),
        stalled_since: conditions::find(&status.conditions, "Stalled")
            .map(|stalled| stalled.last_transition_time.0),
        brakes: Brakes {
            read_only: ctx.settings.read_only,
            cap_reached: ctx.settings.most_paid_calls.filter(|cap| paid_calls >= *cap),
            key_not_before: ctx
                .ledger
                .key_not_before(&intent.subject.namespace, &credentials.name),
        },
    })
}

/// The source, its backups, the gates, prices, limits and the VM list, in this order.
pub async fn preflight(ctx: &Context, object: &VpsBackupRestore, intent: &Intent) -> Result<Read, Error> {
    let first = within_a_minute(read_preflight(ctx, object, intent)).await;
    let second = match first {
        // The key may have been rotated since it was cached.
        Err(Blocked::Trouble(Trouble {
            reason: Reason::Unauthorized,
            ..
        })) => {
            ctx.secrets
                .forget(&intent.subject.namespace, &object.spec.credentials_secret_ref);
            within_a_minute(read_preflight(ctx, object, intent)).await
        }
        other => other,
    };
    as_read(second.map(|preflight| Account::Preflight(Box::new(preflight))))
}

async fn read_preflight(
    ctx: &Context,
    object: &VpsBackupRestore,
    intent: &Intent,
) -> Result<Preflight, Blocked> {
    let read_at = ctx.now();
    let source = &intent.source;
    let credentials = &object.spec.credentials_secret_ref;
    let (account, secret_version) = ctx.account(&intent.subject.namespace, credentials).await?;
    let elsewhere = |error| blocked(error, Reason::ProviderUnavailable);
    let account = account.reading().await.map_err(elsewhere)?;
    let about_source = |error: ReadError| match error {
        ReadError::NotFound(said) => Blocked::Trouble(Trouble {
            reason: Reason::VpsNotFound,
            message: Text::new(&format!(
                "the key of Secret {} does not read VPS {source}: it does not exist, or belongs to another account ({said})",
                credentials.name
            )),
            until: None,
        }),
        other => blocked(other, Reason::VpsNotFound),
    };
    let source_size = account.source(source).await.map_err(about_source)?.size;
    let (backups, can_restore) = account.backups(source).await.map_err(about_source)?;
    let eligibility = account.eligibility(source).await.map_err(about_source)?;
    let deployments = account.deployments().await.map_err(elsewhere)?;
    let remaining = account.remaining().await.map_err(elsewhere)?;
    let vms = account.list_vps().await.map_err(elsewhere)?;
    ctx.audit(
        &format!("{}/{}", intent.subject.namespace, credentials.name),
        &vms,
    );
    Ok(Preflight {
        read_at,
        secret_version,
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
pub async fn vm(ctx: &Context, object: &VpsBackupRestore, vps: &VpsId) -> Result<Read, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let read = async {
        let (account, _) = ctx
            .account(&namespace, &object.spec.credentials_secret_ref)
            .await?;
        let account = account
            .reading()
            .await
            .map_err(|error| blocked(error, Reason::ProviderUnavailable))?;
        match account.vps(vps).await {
            Ok(vm) => Ok(Account::Vm(Some(vm))),
            // The list is sometimes ahead of the single read.
            Err(ReadError::NotFound(_)) => Ok(Account::Vm(None)),
            Err(error) => Err(blocked(error, Reason::ProviderUnavailable)),
        }
    };
    as_read(within_a_minute(read).await)
}

fn as_read(read: Result<Account, Blocked>) -> Result<Read, Error> {
    match read {
        Ok(account) => Ok(Read::Account(account)),
        Err(Blocked::Trouble(trouble)) => Ok(Read::Account(Account::Trouble(trouble))),
        Err(Blocked::Busy) => Ok(Read::Busy),
        Err(Blocked::Error(error)) => Err(error),
    }
}
