//! What the config controller reads, from etcd and from HostUp.

use std::future::Future;

use kube::ResourceExt;

use crate::api;
use crate::api::conditions;
use crate::api::config::VpsResourceConfig;
use crate::controllers::Error;
use crate::controllers::context::{Blocked, Context, about_vps, blocked, with_a_fresh_key, within_a_minute};
use crate::controllers::observe::{self as common, Read, as_read, gap};
use crate::controllers::reporter::DRIFTED;
use crate::domain::chain::Chain;
use crate::domain::config::{Account, Intent, Reading, Rival, Seen, View, Wish};
use crate::domain::ids::VpsId;
use crate::domain::record::{KeyInUse, Record};
use crate::hostup::{ReadError, Reader};

/// The view without anything of HostUp: the chain of records, and what the status shows.
pub async fn ledger(ctx: &Context, object: &VpsResourceConfig, intent: &Intent) -> Result<View, Error> {
    let key = intent.chain();
    let mut chain = common::chain(ctx, object, &intent.subject, &key).await?;
    let tail = chain.tail.as_ref().map_or(0, |tail| tail.attempt);
    let history = ctx.ledger.before(&key, tail).await?;
    chain.gap = gap(&key, &history);
    if matches!(intent.wish, Wish::Legacy(_)) {
        // Nothing but the records remembers what the older route has executed.
        chain.missing = chain.missing.or_else(|| chain.gap.clone());
    }
    let history: Result<Vec<Record>, _> = history.iter().flatten().map(api::record).collect();
    let history = history.unwrap_or_else(|unreadable| {
        chain.unreadable = Some(unreadable.to_string());
        Vec::new()
    });
    Ok(View {
        history,
        rival: rival(ctx, object, &chain),
        seen: seen(object, intent),
        committed_dry_run: object
            .status
            .as_ref()
            .is_some_and(|status| status.committed_dry_run.as_deref() == Some(intent.digest.as_str())),
        legacy_enabled: ctx.settings.legacy_upgrade,
        account: Account::Unread,
        chain,
    })
}

/// Whether an older object comes first, as things stand now.
pub fn rival(ctx: &Context, object: &VpsResourceConfig, chain: &Chain) -> Rival {
    let ordered = chain.tail.as_ref().map(|tail| &tail.subject.uid);
    ctx.rivals.standing(object, ordered)
}

fn seen(object: &VpsResourceConfig, intent: &Intent) -> Seen {
    let Some(status) = &object.status else {
        return Seen::Never;
    };
    if status.in_force.as_deref() != Some(intent.digest.as_str()) {
        return Seen::Never;
    }
    match conditions::find(&status.conditions, DRIFTED) {
        Some(drifted) if drifted.status == "True" => Seen::Drifted {
            since: drifted.last_transition_time.0,
        },
        Some(_) | None => Seen::InForce,
    }
}

/// The VPS and its options.
pub async fn options(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
) -> Result<Read<Account>, Error> {
    let Wish::Options(wish) = &intent.wish else {
        return Ok(Read::Account(Account::Unread));
    };
    let namespace = object.namespace().unwrap_or_default();
    let credentials = &object.spec.credentials_secret_ref;
    let read = with_a_fresh_key(ctx, &namespace, credentials, || {
        read_options(ctx, object, &wish.vps)
    })
    .await;
    as_read(
        read.map(|reading| Account::Read(Box::new(reading))),
        Account::Trouble,
    )
}

async fn read_options(ctx: &Context, object: &VpsResourceConfig, vps: &VpsId) -> Result<Reading, Blocked> {
    let read_at = ctx.now();
    let (reader, key) = reader(ctx, object).await?;
    let about = |error: ReadError| about_vps(error, vps, &object.spec.credentials_secret_ref);
    let own = reader.own_vps(vps).await.map_err(about)?;
    let offers = if own.is_payg {
        Vec::new()
    } else {
        reader.options(vps).await.map_err(about)?
    };
    Ok(Reading {
        read_at,
        key,
        is_payg: own.is_payg,
        cycle: own.cycle,
        offers,
        invoices: None,
        preview: None,
    })
}

/// The invoices that stand in the way, on top of what was read.
pub async fn invoices(
    ctx: &Context,
    object: &VpsResourceConfig,
    view: &View,
) -> Result<Read<Account>, Error> {
    let read = |reader: Reader, vps| async move { reader.blocking_invoices(&vps).await };
    on_top(ctx, object, view, read, |reading, invoices| {
        reading.invoices = Some(invoices);
    })
    .await
}

/// A dry run with this body, on top of what was read.
pub async fn preview(
    ctx: &Context,
    object: &VpsResourceConfig,
    view: &View,
    body: String,
) -> Result<Read<Account>, Error> {
    let read = |reader: Reader, vps| async move { reader.preview_config(&vps, body).await };
    on_top(ctx, object, view, read, |reading, preview| {
        reading.preview = Some(preview);
    })
    .await
}

/// One more reading of the same VPS, put on top of what was read of it.
async fn on_top<T, F>(
    ctx: &Context,
    object: &VpsResourceConfig,
    view: &View,
    read: impl FnOnce(Reader, VpsId) -> F,
    put: impl FnOnce(&mut Reading, T),
) -> Result<Read<Account>, Error>
where
    F: Future<Output = Result<T, ReadError>>,
{
    let (Account::Read(reading), Some(vps)) = (&view.account, &object.spec.vps_id) else {
        return Ok(Read::Busy);
    };
    let mut reading = reading.clone();
    let vps = VpsId::new(vps);
    let more = async {
        let (reader, _) = reader(ctx, object).await?;
        let credentials = &object.spec.credentials_secret_ref;
        let read = read(reader, vps.clone()).await;
        read.map_err(|error| about_vps(error, &vps, credentials))
    };
    let with = within_a_minute(more).await.map(|more| {
        put(&mut reading, more);
        Account::Read(reading)
    });
    as_read(with, Account::Trouble)
}

/// Leave to read with the object's key, and that key.
async fn reader(ctx: &Context, object: &VpsResourceConfig) -> Result<(Reader, KeyInUse), Blocked> {
    let namespace = object.namespace().unwrap_or_default();
    let (account, key) = ctx
        .account(&namespace, &object.spec.credentials_secret_ref)
        .await?;
    let reader = account.reading().map_err(blocked)?;
    Ok((reader, key))
}

/// Whether the key works at all: nothing tells whether it may use a VPS of the older route.
pub async fn key(ctx: &Context, object: &VpsResourceConfig) -> Result<Read<Account>, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let credentials = &object.spec.credentials_secret_ref;
    let read = with_a_fresh_key(ctx, &namespace, credentials, || async {
        let read_at = ctx.now();
        let (reader, key) = reader(ctx, object).await?;
        let vms = reader.list_vps().await;
        let vms = vms.map_err(blocked)?;
        ctx.audit(&format!("{namespace}/{}", credentials.name), &vms);
        Ok(Account::Key { read_at, key })
    })
    .await;
    as_read(read, Account::Trouble)
}
