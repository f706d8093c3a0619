//! What the restore controller reads, from etcd and from HostUp.

use std::time::Duration;

use crate::accounts::{self, Age, Answer, Asker, Class, Question, Want};
use crate::api::conditions;
use crate::api::restore::VpsBackupRestore;
use crate::cluster::recent::Source;
use crate::controllers::Error;
use crate::controllers::context::{Blocked, Context, about_vps, blocked};
use crate::controllers::observe::{self as common, Read, as_read, gap};
use crate::controllers::reading;
use crate::domain::action::ordered::Action;
use crate::domain::ledger::names::ChainKey;
use crate::domain::ledger::record::Bought;
use crate::domain::provider::inventory::Vm;
use crate::domain::provider::preflight::Preflight;
use crate::domain::restore::{Intent, ProviderReading, TargetReading, View};
use crate::domain::values::ids::{BackupId, Subject, VpsId};
use crate::domain::values::moment::Moment;
use crate::hostup::{ReadError, Route};

/// The view without anything of HostUp: the chain of records, and what the status shows.
pub async fn ledger(
    ctx: &Context,
    object: &VpsBackupRestore,
    intent: &Intent,
    source: Source,
) -> Result<View, Error> {
    let key = ChainKey::of_restore(&intent.subject.namespace, &intent.subject.name);
    let mut chain = common::chain(ctx, object, &intent.subject, &key, source).await?;
    let attempt = chain.tail.as_ref().map_or(0, |tail| tail.attempt);
    let before = ctx.books.ledger.before(&key, attempt, Source::Etcd).await?;
    chain.gap = gap(&key, &before);
    let history = common::records(&mut chain, &before);
    let status = object.status.clone().unwrap_or_default();
    let named = status.operation.as_ref().map(|operation| operation.name.as_str());
    let tail = chain.tail.as_ref();
    let shows_tail = named.is_some() && named == tail.map(|tail| tail.name.as_str());
    let is_ready = conditions::find(&status.conditions, "Ready").is_some_and(|ready| ready.status == "True");
    let own = tail.into_iter().chain(history.iter().rev());
    let mut own = own.filter(|record| record.subject.uid == intent.subject.uid);
    let tried = own.find(|record| !record.is_backup());
    let restored = tried.and_then(|tail| Some(tail.action.backup()?.id.clone()));
    let shown_source = status.source.as_ref().map(|source| VpsId::new(&source.vps_id));
    let shown_target = status.target.as_ref().and_then(|target| target.vps_id.as_ref());
    let (source, target) = match tried.map(|tail| (&tail.action, &tail.vps)) {
        Some((Action::Overwrite(overwriting), target)) => {
            (Some(overwriting.source.clone()), Some(target.clone()))
        }
        Some((_, source)) => (Some(source.clone()), None),
        None => (None, None),
    };
    let resolved_target = target.or_else(|| shown_target.map(VpsId::new));
    Ok(View {
        reading: ProviderReading::Unread,
        resolved_source: source.or(shown_source),
        history,
        resolved_target,
        in_place_enabled: ctx.settings.in_place_restore,
        resolved_backup: restored.or_else(|| status.backup.as_ref().map(|backup| BackupId::new(&backup.id))),
        latched: status
            .vm
            .as_ref()
            .filter(|_| is_ready && shows_tail)
            .map(Bought::from),
        chain,
    })
}

/// Readings of an account that others have asked for serve for so long, and the list of VMs, which shows what was
/// bought, for less.
const SHARED: (Duration, Duration) = (Duration::from_secs(45), Duration::from_secs(10));

/// The VPS that has this name: the source or the target, as `reading` says.
pub async fn named(
    ctx: &Context,
    object: &VpsBackupRestore,
    intent: &Intent,
    name: &str,
    reading: impl FnOnce(VpsId) -> ProviderReading,
) -> Result<Read<ProviderReading>, Error> {
    let asker = common::asker(object, &intent.subject, intent.approval.is_some());
    let namespace = &intent.subject.namespace;
    let read = reading::named(ctx, asker, namespace, &object.spec.credentials_secret_ref, name).await;
    let read = read.map(|(vps, began)| (reading(vps), began));
    as_read(read, ctx.moment(), ProviderReading::Trouble)
}

/// The target, the backups that may be restored onto it, and the gate. Nobody else's readings serve: a disk is at stake.
pub async fn target(
    ctx: &Context,
    object: &VpsBackupRestore,
    intent: &Intent,
    source: &VpsId,
    target: &VpsId,
) -> Result<Read<ProviderReading>, Error> {
    let now = ctx.moment();
    let mut wants = vec![
        reading::now(Question::Vps(target.clone())),
        reading::now(Question::Backups(target.clone())),
    ];
    if source != target {
        wants.push(reading::now(Question::RestoreSources(target.clone())));
        wants.push(reading::now(Question::Vms));
    }
    let namespace = &intent.subject.namespace;
    let asker = common::asker(object, &intent.subject, intent.approval.is_some());
    let credentials = &object.spec.credentials_secret_ref;
    let read = reading::ask(ctx, asker, namespace, credentials, wants).await;
    let read = read.and_then(|read| {
        let began = read.readings.began().unwrap_or(now);
        let reading = as_target(ctx, object, intent, (source, target), &read, began)?;
        Ok((ProviderReading::Target(Box::new(reading)), began))
    });
    as_read(read, now, ProviderReading::Trouble)
}

fn as_target(
    ctx: &Context,
    object: &VpsBackupRestore,
    intent: &Intent,
    (source, target): (&VpsId, &VpsId),
    read: &reading::Read,
    began: Moment,
) -> Result<TargetReading, Blocked> {
    let credentials = &object.spec.credentials_secret_ref;
    let about = |error: ReadError| about_vps(error, target, credentials);
    let readings = &read.readings;
    let own = readings.own_vps(target).map_err(about)?;
    let listed = readings.take(&Question::Backups(target.clone()), |answer| match answer {
        Answer::Backups(listed) => Some(listed.clone()),
        _ => None,
    });
    let listed = listed.map_err(about)?;
    let own_backups = listed.own();
    let (backups, gate, source_size) = if source == target {
        (listed.backups, listed.can_restore, own.size)
    } else {
        let sources = readings.take(&Question::RestoreSources(target.clone()), |answer| match answer {
            Answer::RestoreSources(sources) => Some(sources.clone()),
            _ => None,
        });
        let sources = sources.map_err(about)?;
        let of_source = sources.into_iter().find(|other| other.vps == *source);
        let vms = ctx.vms(&intent.subject.namespace, &credentials.name, readings)?;
        let size = vms.iter().find(|vm| vm.id == *source).and_then(|vm| vm.size);
        let backups = of_source.map_or_else(Vec::new, |source| source.backups);
        (backups, listed.can_restore_from_another, size)
    };
    let chain = ChainKey::of_restore(&intent.subject.namespace, &intent.subject.name);
    let last = ctx.books.ledger.last_for(target, &chain);
    Ok(TargetReading {
        read_at: began.wall,
        key: read.key.clone(),
        source: source.clone(),
        source_size,
        target: target.clone(),
        target_size: own.size,
        state: own.state,
        backups,
        gate,
        busy: ctx.books.ledger.under_way_for(target, &chain),
        last: last.as_ref().map(|(record, _)| record.clone()),
        changed: last.map(|(_, made)| made),
        own_backups,
        quota_is_full: listed.is_full,
    })
}

/// The source, its backups, the gates, prices, limits and the VM list. What others have read serves a first attempt. What
/// a person decides who has seen a price, by a quote or by an edit, is decided from what is read after that; and where
/// something was sent before, all is read anew, for the VM of a lost answer may have appeared.
pub async fn preflight(
    ctx: &Context,
    object: &VpsBackupRestore,
    intent: &Intent,
    view: &View,
    source: &VpsId,
) -> Result<Read<ProviderReading>, Error> {
    let by_quote = intent
        .approval
        .as_ref()
        .is_some_and(|approval| approval.quote.is_some());
    let shown = object
        .status
        .as_ref()
        .map_or(0, |status| status.observed_generation);
    let edited = shown > 0 && shown != intent.subject.generation;
    let shared = |longest: Duration| {
        let interval = ctx.settings.times.gate_interval * 3 / 4;
        if by_quote || edited || view.chain.tail.is_some() {
            Age::Asked
        } else {
            Age::Before(longest.min(interval))
        }
    };
    let want = |question| Want {
        question,
        age: shared(SHARED.0),
    };
    let wants = vec![
        want(Question::Vps(source.clone())),
        want(Question::Backups(source.clone())),
        want(Question::Eligibility(source.clone())),
        want(Question::Deployments),
        want(Question::Limits),
        Want {
            question: Question::Vms,
            // An object of this name may have been here before, with a record: what is bought for this one is not listed
            // before this process has seen it.
            age: if intent.approval.is_some() {
                Age::Asked
            } else {
                shared(SHARED.1)
            },
        },
    ];
    let namespace = &intent.subject.namespace;
    let credentials = &object.spec.credentials_secret_ref;
    let asker = common::asker(object, &intent.subject, intent.approval.is_some());
    let read = reading::ask(ctx, asker, namespace, credentials, wants).await;
    let now = ctx.moment();
    let read = read.and_then(|read| {
        let began = read.readings.began().unwrap_or(now);
        let preflight = as_preflight(ctx, object, intent, source, &read, began)?;
        Ok((ProviderReading::Preflight(Box::new(preflight)), began))
    });
    as_read(read, now, ProviderReading::Trouble)
}

fn as_preflight(
    ctx: &Context,
    object: &VpsBackupRestore,
    intent: &Intent,
    source: &VpsId,
    read: &reading::Read,
    began: Moment,
) -> Result<Preflight, Blocked> {
    let credentials = &object.spec.credentials_secret_ref;
    let about_source = |error: ReadError| about_vps(error, source, credentials);
    let readings = &read.readings;
    let source_size = readings.own_vps(source).map_err(about_source)?.size;
    let backups = readings.take(&Question::Backups(source.clone()), |answer| match answer {
        Answer::Backups(listed) => Some((listed.backups.clone(), listed.can_restore.clone())),
        _ => None,
    });
    let (backups, can_restore) = backups.map_err(about_source)?;
    let eligibility = readings.take(&Question::Eligibility(source.clone()), |answer| match answer {
        Answer::Eligibility(eligibility) => Some(eligibility.clone()),
        _ => None,
    });
    let eligibility = eligibility.map_err(about_source)?;
    let deployments = readings.deployments().map_err(blocked)?;
    let (limits, limits_read) = readings.limits().map_err(blocked)?;
    let token = intent.token(&ctx.settings.instance);
    let vms = ctx.vms(&intent.subject.namespace, &credentials.name, readings)?;
    Ok(Preflight {
        read_at: began.wall,
        key: read.key.clone(),
        source: source.clone(),
        source_size,
        backups,
        can_restore,
        eligibility,
        deployments,
        remaining: read.account.left(limits, &limits_read),
        vms: ctx
            .books
            .ledger
            .with_results(&vms, None, |vm| token.is_borne_by(&vm.name)),
    })
}

/// The VM that was bought. Where the list that showed it says all there is to know, nothing more is asked; one that was
/// overwritten is read anew, for the list may show it as it was before.
pub async fn vm(
    ctx: &Context,
    object: &VpsBackupRestore,
    subject: &Subject,
    vps: &VpsId,
    anew: bool,
) -> Result<Read<ProviderReading>, Error> {
    let asker = Asker {
        class: Class::Sent,
        ..common::asker(object, subject, true)
    };
    let now = ctx.moment();
    let credentials = &object.spec.credentials_secret_ref;
    let read = async {
        let (account, _) = ctx.account(&subject.namespace, credentials).await?;
        let ago = ctx.settings.times.poll_interval * 2;
        if !anew && let Some(vm) = listed(&account, vps, ago) {
            return Ok((ProviderReading::Vm(Some(vm)), now));
        }
        let wants = vec![reading::now(Question::Vm(vps.clone()))];
        let read = reading::ask(ctx, asker, &subject.namespace, credentials, wants).await?;
        match read.readings.vm(vps) {
            Ok(vm) => Ok((ProviderReading::Vm(Some(vm)), now)),
            // The list is sometimes ahead of the single read.
            Err(ReadError::NotFound {
                route: Route::Vps, ..
            }) => Ok((ProviderReading::Vm(None), now)),
            Err(error) => Err(blocked(error)),
        }
    };
    as_read(read.await, now, ProviderReading::Trouble)
}

/// The VM as a list shows it that was read no longer `ago`, if it is up by that list.
fn listed(account: &accounts::Account, vps: &VpsId, ago: Duration) -> Option<Vm> {
    let reading = account.glance(&Question::Vms, ago)?;
    let Ok(Answer::Vms(vms)) = &reading.answer else {
        return None;
    };
    let found = vms.iter().find(|vm| vm.id == *vps);
    found.filter(|vm| vm.is_up() && vm.size.is_some()).cloned()
}
