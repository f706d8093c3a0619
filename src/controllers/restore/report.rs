//! How things stand, written to the object's status: once per change, and never a write that changes
//! nothing.

use kube::runtime::controller::Action;

use crate::api::InvalidSpec;
use crate::api::conditions::{self, NewCondition};
use crate::api::restore::{
    BackupStatus, SourceStatus, TargetStatus, VpsBackupRestore, VpsBackupRestoreStatus,
};
use crate::api::shared::{BackupFirstStatus, GateStatus, JobStatus, OperationRef, QuoteStatus, VmStatus};
use crate::controllers::Error;
use crate::controllers::approvals::Place;
use crate::controllers::context::Context;
use crate::controllers::reporter::{
    self, OUTPUTS_WRITTEN, attempted_steps, closed_after, kept_steps, kept_warning, steps, warning,
};
use crate::controllers::restore::outputs;
use crate::domain::action::ordered::Backup;
use crate::domain::consent::quote::Quote;
use crate::domain::ledger::record::{Evidence, Record, State, later};
use crate::domain::provider::gate::Gate;
use crate::domain::restore::{self, StatusFacts, TargetView};
use crate::domain::status::reason::{Reason, Standing};
use crate::domain::status::report::{Report, Trouble};
use crate::domain::values::text::Text;

/// Writes the report to the status if that changes the status, with the `backup` that was made first. Returns when to look
/// again.
pub async fn publish(
    ctx: &Context,
    object: &VpsBackupRestore,
    report: &restore::Report,
    backup: Option<&Record>,
) -> Result<Action, Error> {
    let before = object.status.clone().unwrap_or_default();
    let shown = facts(ctx, &before, report);
    let mut said = conditions::standing(report.reason.standing(), report.reason.as_str(), &report.message);
    said.extend(shown.steps);
    said.extend(match &report.facts {
        StatusFacts::Recorded { record, .. } => reporter::vm_present(record),
        StatusFacts::Kept | StatusFacts::Attempted(_) | StatusFacts::Nothing | StatusFacts::Read { .. } => {
            None
        }
    });
    let generation = object.metadata.generation.unwrap_or_default();
    said.extend(match &report.facts {
        StatusFacts::Kept | StatusFacts::Attempted(_) => {
            kept_warning::<VpsBackupRestore>(&before, generation)
        }
        StatusFacts::Recorded { record, .. } => warning(record, generation),
        StatusFacts::Nothing | StatusFacts::Read { .. } => None,
    });
    let mut wake = report.wake;
    if let Some(outputs) = outputs(ctx, object, report).await {
        let times = &ctx.settings.times;
        let is_tried_soon = outputs.reason == outputs::NOT_WRITTEN;
        let look = if is_tried_soon {
            times.poll_interval
        } else {
            times.resync_interval
        };
        let look = later(ctx.now(), look);
        said.retain(|new| new.about != OUTPUTS_WRITTEN);
        said.push(outputs);
        wake = Some(wake.map_or(look, |wake| wake.min(look)));
    }
    let after = VpsBackupRestoreStatus {
        observed_generation: generation,
        last_handled_reconcile_at: reporter::requested_at(object),
        conditions: conditions::dated(said, &before.conditions, generation, ctx.now()),
        backup_first: backup.map(BackupFirstStatus::from).or(before.backup_first),
        ..shown.status
    };
    reporter::write(ctx, object, after, report).await?;
    Ok(ctx.again_once_told(&Place::of::<VpsBackupRestore>(&object.metadata), wake))
}

/// What became of the ConfigMap of a VM that is there, if the object asks for one.
async fn outputs(ctx: &Context, object: &VpsBackupRestore, report: &restore::Report) -> Option<NewCondition> {
    match (&report.facts, report.reason.standing()) {
        (StatusFacts::Recorded { record, vm: Some(vm) }, Standing::Done) => {
            outputs::write(ctx, object, record, vm).await
        }
        _ => None,
    }
}

/// A spec that cannot be understood; it waits for a change.
pub async fn invalid(ctx: &Context, object: &VpsBackupRestore, why: &InvalidSpec) -> Result<Action, Error> {
    let report = Report::new(Reason::InvalidSpec, why.to_string(), None).with(StatusFacts::Kept);
    publish(ctx, object, &report, None).await
}

/// What lasts until somebody puts it right; it is looked at ever more rarely.
pub async fn lasting(ctx: &Context, object: &VpsBackupRestore, trouble: &Trouble) -> Result<Action, Error> {
    let status = object.status.as_ref();
    let since = status.and_then(|status| conditions::stalled_since(&status.conditions));
    let report = Report::troubled(trouble, since, &ctx.settings.times, ctx.now()).with(StatusFacts::Kept);
    publish(ctx, object, &report, None).await
}

struct Shown {
    status: VpsBackupRestoreStatus,
    steps: Vec<NewCondition>,
}

fn facts(ctx: &Context, before: &VpsBackupRestoreStatus, report: &restore::Report) -> Shown {
    match &report.facts {
        StatusFacts::Kept => Shown {
            status: before.clone(),
            steps: kept_steps::<VpsBackupRestore>(before),
        },
        StatusFacts::Attempted(record) => Shown {
            status: VpsBackupRestoreStatus {
                operation: Some(record.as_ref().into()),
                ..before.clone()
            },
            steps: attempted_steps::<VpsBackupRestore>(before, record),
        },
        StatusFacts::Nothing => Shown {
            status: VpsBackupRestoreStatus::default(),
            steps: Vec::new(),
        },
        StatusFacts::Read {
            source,
            gates,
            backup,
            quote,
            target,
            approved,
            tail,
        } => Shown {
            steps: steps(gates, quote.as_deref(), *approved, tail.as_deref()),
            status: VpsBackupRestoreStatus {
                gates_closed_after: closed_after::<VpsBackupRestore>(before, gates, tail.as_deref()),
                operation: tail.as_deref().map(OperationRef::from),
                source: Some(SourceStatus::from(source)),
                target: target.as_deref().map(TargetStatus::from),
                ..read(gates, backup.as_ref(), quote.as_deref())
            },
        },
        StatusFacts::Recorded { record, vm } => {
            let status = VpsBackupRestoreStatus {
                source: Some(SourceStatus::from(record.action.source().unwrap_or(&record.vps))),
                operation: Some(record.as_ref().into()),
                job: job(ctx, before, record),
                vm: vm.as_ref().map(VmStatus::from),
                ..VpsBackupRestoreStatus::default()
            };
            // Of a VM that was there before nobody knows which backup it holds, nor at which price it was bought.
            if record.known.evidence == Some(Evidence::FoundBeforeClaim) {
                return Shown {
                    steps: reporter::submitted(record).into_iter().collect(),
                    status,
                };
            }
            let VpsBackupRestoreStatus {
                gates, backup, quote, ..
            } = read(&record.gates, record.action.backup(), record.quote.as_ref());
            // What a status remembers of an approval that has ended, it remembers for good.
            let remembered = before.quote.as_ref().filter(|quote| quote.replaces.is_some());
            let quote = quote.map(|quote| match remembered {
                Some(remembered) => QuoteStatus {
                    replaces: remembered.replaces.clone(),
                    ended_before: remembered.ended_before.clone(),
                    ..quote
                },
                None => quote,
            });
            Shown {
                steps: steps(&record.gates, record.quote.as_ref(), Some(true), Some(record)),
                status: VpsBackupRestoreStatus {
                    quote,
                    gates,
                    backup,
                    target: TargetView::of(record).as_ref().map(TargetStatus::from),
                    ..status
                },
            }
        }
    }
}

fn read(gates: &[Gate], backup: Option<&Backup>, quote: Option<&Quote>) -> VpsBackupRestoreStatus {
    VpsBackupRestoreStatus {
        gates: gates.iter().map(GateStatus::from).collect(),
        backup: backup.map(BackupStatus::from),
        quote: quote.map(QuoteStatus::from),
        ..VpsBackupRestoreStatus::default()
    }
}

/// The job with HostUp's own word for where it stands, and its progress in steps of 25 %.
fn job(ctx: &Context, before: &VpsBackupRestoreStatus, record: &Record) -> Option<JobStatus> {
    let job = record.known.job.as_ref()?;
    let shown = before.job.as_ref().filter(|shown| shown.id == job.id.as_str());
    let followed = ctx.books.memory.followed(&record.claim.holder);
    let recorded = job.word.as_ref().map(Text::to_string);
    let shown_word = shown.and_then(|shown| shown.status.clone());
    // The record has the last word; before that it is older than what was polled.
    let word = if record.known.state.is_final() {
        recorded.or(shown_word)
    } else {
        followed
            .word
            .map(|word| word.to_string())
            .or(shown_word)
            .or(recorded)
    };
    let progress = followed.progress.max(shown.and_then(|shown| shown.progress));
    // Where the job ended before anybody looked, nothing is remembered of it.
    let done = record.known.state == State::Succeeded && record.known.evidence == Some(Evidence::Job);
    Some(JobStatus {
        id: job.id.to_string(),
        status: word,
        progress: if done { Some(100) } else { progress },
    })
}
