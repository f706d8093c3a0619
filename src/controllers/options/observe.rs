//! What the config controller reads, from etcd and from HostUp.

use crate::accounts::{Age, Answer, Question, Want};
use crate::api;
use crate::api::conditions;
use crate::api::config::VpsResourceConfig;
use crate::cluster::recent::Source;
use crate::controllers::Error;
use crate::controllers::context::{Blocked, Context, about_vps, blocked};
use crate::controllers::observe::{self as common, Read, as_read, gap};
use crate::controllers::reading;
use crate::controllers::reporter::DRIFTED;
use crate::domain::ledger::chain::LedgerView;
use crate::domain::ledger::names::ChainKey;
use crate::domain::options::{
    DesiredOptions, Goods, Intent, ProviderReading, Reading, Resize, Rival, Seen, View,
};
use crate::domain::provider::options::sizes;
use crate::domain::values::ids::{RecordName, SubjectKind, VpsId};
use crate::domain::values::moment::Moment;
use crate::hostup::ReadError;

/// The view without anything of HostUp: the chain of records, and what the status shows.
pub async fn ledger(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
    source: Source,
) -> Result<View, Error> {
    let key = intent.chain();
    let mut chain = common::chain(ctx, object, &intent.subject, &key, source).await?;
    let tail = chain.tail.as_ref().map_or(0, |tail| tail.attempt);
    let history = ctx.books.ledger.before(&key, tail, source).await?;
    chain.gap = gap(&key, &history);
    if matches!(intent.wish, DesiredOptions::Legacy(_)) {
        // Nothing but the records remembers what the older route has executed.
        chain.missing = chain.missing.or_else(|| chain.gap.clone());
    }
    let history = common::records(&mut chain, &history);
    Ok(View {
        history,
        busy: busy(ctx, intent, &key),
        changed: object
            .vps()
            .and_then(|vps| ctx.books.ledger.last_change_of(&VpsId::new(vps))),
        rival: rival(ctx, object, &chain),
        seen: seen(object, intent),
        committed_dry_run: object
            .status
            .as_ref()
            .is_some_and(|status| status.committed_dry_run.as_deref() == Some(intent.digest.as_str())),
        legacy_enabled: ctx.settings.legacy_upgrade,
        reading: ProviderReading::Unread,
        chain,
    })
}

fn busy(ctx: &Context, intent: &Intent, chain: &ChainKey) -> Option<RecordName> {
    match &intent.wish {
        DesiredOptions::Options(wish) => ctx.books.ledger.under_way_for(&wish.vps, chain),
        DesiredOptions::Legacy(_) => None,
    }
}

/// Whether an older object comes first, as things stand now.
pub fn rival(ctx: &Context, object: &VpsResourceConfig, chain: &LedgerView) -> Rival {
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

/// The VPS that has the name of the spec.
pub async fn named(ctx: &Context, object: &VpsResourceConfig, name: &str) -> Result<VpsId, Blocked> {
    let subject = api::subject_of(SubjectKind::VpsResourceConfig, &object.metadata);
    let asker = common::asker(object, &subject, object.spec.approval.is_some());
    let credentials = &object.spec.credentials_secret_ref;
    let read = reading::named(ctx, asker, &subject.namespace, credentials, name).await;
    if !matches!(read, Err(Blocked::Waiting | Blocked::Held(_))) {
        ctx.accounts.forget(&reading::who(&subject));
    }
    read.map(|(vps, _)| vps)
}

/// The VPS and its options.
pub async fn options(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
) -> Result<Read<ProviderReading>, Error> {
    let now = ctx.moment();
    let DesiredOptions::Options(wish) = &intent.wish else {
        return Ok(Read::Reading(ProviderReading::Unread, now));
    };
    let read = match wish.goods {
        Goods::Options => read_options(ctx, object, intent, &wish.vps).await,
        Goods::Size => read_size(ctx, object, intent, &wish.vps).await,
    };
    as_read(read, now, ProviderReading::Trouble)
}

async fn read_options(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
    vps: &VpsId,
) -> Result<(ProviderReading, Moment), Blocked> {
    let about = |error: ReadError| about_vps(error, vps, &object.spec.credentials_secret_ref);
    let of_vps = || reading::now(Question::Vps(vps.clone()));
    let mut read = ask(ctx, object, intent, vec![of_vps()]).await?;
    let mut own = read.readings.own_vps(vps).map_err(about)?;
    let mut offers = Vec::new();
    if !own.is_payg {
        let wants = vec![of_vps(), reading::now(Question::Options(vps.clone()))];
        read = ask(ctx, object, intent, wants).await?;
        offers = read.readings.options(vps).map_err(about)?;
        own = read.readings.own_vps(vps).map_err(about)?;
    }
    let began = read.readings.began().unwrap_or(ctx.moment());
    let options = read.readings.of(&Question::Options(vps.clone()));
    let reading = Reading {
        offers_read: options.map_or(began, |options| options.began),
        read_at: began.wall,
        key: read.key,
        is_payg: own.is_payg,
        cycle: own.cycle,
        offers,
        resize: None,
        own_backups: None,
        invoices: None,
        preview: None,
    };
    Ok((ProviderReading::Read(Box::new(reading)), began))
}

/// The VM, whether it may be resized, the rates and the limits.
async fn read_size(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
    vps: &VpsId,
) -> Result<(ProviderReading, Moment), Blocked> {
    let about = |error: ReadError| about_vps(error, vps, &object.spec.credentials_secret_ref);
    let of_vps = || reading::now(Question::Vps(vps.clone()));
    let mut read = ask(ctx, object, intent, vec![of_vps()]).await?;
    let mut own = read.readings.own_vps(vps).map_err(about)?;
    let mut resize = None;
    if own.is_payg {
        let of_gate = Question::CanResize(vps.clone());
        let mut wants = vec![
            of_vps(),
            reading::now(Question::Deployments),
            reading::now(Question::Limits),
        ];
        if own.can_resize.is_none() {
            wants.push(reading::now(of_gate.clone()));
        }
        read = ask(ctx, object, intent, wants).await?;
        let readings = &read.readings;
        own = readings.own_vps(vps).map_err(about)?;
        let can_resize = match own.can_resize.clone() {
            Some(gate) => gate,
            None => readings
                .take(&of_gate, |answer| match answer {
                    Answer::CanResize(gate) => Some(gate.clone()),
                    _ => None,
                })
                .map_err(about)?,
        };
        let (limits, limits_read) = readings.limits().map_err(blocked)?;
        resize = Some(Resize {
            size: own.size,
            can_resize,
            rates: readings.deployments().map_err(blocked)?.rates,
            remaining: read.account.left(limits, &limits_read),
        });
    }
    let began = read.readings.began().unwrap_or(ctx.moment());
    let reading = Reading {
        offers_read: began,
        read_at: began.wall,
        key: read.key,
        is_payg: own.is_payg,
        cycle: own.cycle,
        offers: sizes(own.size),
        resize,
        own_backups: None,
        invoices: None,
        preview: None,
    };
    Ok((ProviderReading::Read(Box::new(reading)), began))
}

/// The invoices that stand in the way, on top of what was read from `began` on.
pub async fn invoices(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
    view: &View,
    began: Moment,
) -> Result<Read<ProviderReading>, Error> {
    let question = |vps: VpsId| Question::Invoices(vps);
    on_top(ctx, object, intent, view, began, question, |reading, answer| {
        if let Answer::Invoices(invoices) = answer {
            reading.invoices = Some(invoices.clone());
        }
    })
    .await
}

/// The backups of the VPS, on top of what was read from `began` on.
pub async fn backups(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
    view: &View,
    began: Moment,
) -> Result<Read<ProviderReading>, Error> {
    let question = |vps: VpsId| Question::Backups(vps);
    on_top(ctx, object, intent, view, began, question, |reading, answer| {
        if let Answer::Backups(listed) = answer {
            reading.own_backups = Some(listed.own());
        }
    })
    .await
}

/// A dry run with this body, on top of what was read from `began` on.
pub async fn preview(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
    view: &View,
    began: Moment,
    body: String,
) -> Result<Read<ProviderReading>, Error> {
    let question = |vps: VpsId| Question::DryRun(vps, body, intent.subject.uid.clone());
    on_top(ctx, object, intent, view, began, question, |reading, answer| {
        if let Answer::DryRun(preview) = answer {
            reading.preview = Some(preview.clone());
        }
    })
    .await
}

/// One more reading of the same VPS, put on top of what was read of it.
async fn on_top(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
    view: &View,
    began: Moment,
    question: impl FnOnce(VpsId) -> Question,
    put: impl FnOnce(&mut Reading, &Answer),
) -> Result<Read<ProviderReading>, Error> {
    let (ProviderReading::Read(reading), Some(vps)) = (&view.reading, object.vps()) else {
        return Ok(Read::Waiting);
    };
    let mut reading = reading.clone();
    let vps = VpsId::new(vps);
    let question = question(vps.clone());
    // The options may have changed since what is there was read.
    let want = Want {
        question: question.clone(),
        age: Age::After(reading.offers_read),
    };
    let asked = ask(ctx, object, intent, vec![want]).await;
    let credentials = &object.spec.credentials_secret_ref;
    let with = asked.and_then(|read| {
        let answer = read.readings.take(&question, |answer| Some(answer.clone()));
        put(
            &mut reading,
            &answer.map_err(|error| about_vps(error, &vps, credentials))?,
        );
        Ok((ProviderReading::Read(reading), began))
    });
    as_read(with, ctx.moment(), ProviderReading::Trouble)
}

/// Whether the key works at all: nothing tells whether it may use a VPS of the older route.
pub async fn key(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
) -> Result<Read<ProviderReading>, Error> {
    let now = ctx.moment();
    let namespace = &intent.subject.namespace;
    let credentials = &object.spec.credentials_secret_ref;
    let read = ask(ctx, object, intent, vec![reading::now(Question::Vms)]).await;
    let read = read.and_then(|read| {
        ctx.vms(namespace, &credentials.name, &read.readings)?;
        let began = read.readings.began().unwrap_or(now);
        let key = ProviderReading::Key {
            read_at: began.wall,
            key: read.key,
        };
        Ok((key, began))
    });
    as_read(read, now, ProviderReading::Trouble)
}

async fn ask(
    ctx: &Context,
    object: &VpsResourceConfig,
    intent: &Intent,
    wants: Vec<Want>,
) -> Result<reading::Read, Blocked> {
    let asker = common::asker(object, &intent.subject, intent.approval.is_some());
    let credentials = &object.spec.credentials_secret_ref;
    reading::ask(ctx, asker, &intent.subject.namespace, credentials, wants).await
}
