//! How things stand, written to the object's status: once per change, and never a write that changes
//! nothing.

use kube::api::PostParams;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::api::conditions::{self, Holds, Statement};
use crate::api::restore::{
    BackupStatus, HourlyQuoteStatus, OperationRef, VpsBackupRestore, VpsBackupRestoreStatus,
};
use crate::api::shared::{GateStatus, JobStatus, VmStatus};
use crate::api::{InvalidSpec, NAME};
use crate::controllers::context::Context;
use crate::controllers::{Error, api_call, at, events, fail_point};
use crate::domain::gate::{self, Gate};
use crate::domain::ids::Subject;
use crate::domain::quote::Quote;
use crate::domain::reason::Reason;
use crate::domain::record::{Backup, Record, State};
use crate::domain::restore::{Facts, Report};

/// Writes the report if it differs from what stands there, and tells when to look again.
pub async fn publish(ctx: &Context, object: &VpsBackupRestore, report: &Report) -> Result<Action, Error> {
    let before = object.status.clone().unwrap_or_default();
    let shown = facts(ctx, &before, report);
    let mut said = conditions::standing(report.reason.standing(), report.reason.as_str(), &report.message);
    said.extend(shown.steps);
    let generation = object.metadata.generation.unwrap_or_default();
    let after = VpsBackupRestoreStatus {
        observed_generation: generation,
        conditions: conditions::dated(said, &before.conditions, generation, ctx.now()),
        ..shown.status
    };
    write(ctx, object, before, after, report.reason, &report.message).await?;
    Ok(at(report.wake, ctx.now()))
}

/// A spec that cannot be understood; it waits for a change.
pub async fn invalid(ctx: &Context, object: &VpsBackupRestore, why: &InvalidSpec) -> Result<Action, Error> {
    let report = Report {
        reason: Reason::InvalidSpec,
        message: why.to_string(),
        facts: Facts::Kept,
        wake: None,
    };
    publish(ctx, object, &report).await
}

async fn write(
    ctx: &Context,
    object: &VpsBackupRestore,
    before: VpsBackupRestoreStatus,
    after: VpsBackupRestoreStatus,
    reason: Reason,
    message: &str,
) -> Result<(), Error> {
    if before == after {
        return Ok(());
    }
    let newly =
        conditions::find(&before.conditions, "Ready").is_none_or(|ready| ready.reason != reason.as_str());
    let mut object = object.clone();
    object.status = Some(after);
    // The version that was read makes a status decided from an older spec impossible.
    object.metadata.managed_fields = None;
    let namespace = object.namespace().unwrap_or_default();
    let by = PostParams {
        field_manager: Some(NAME.to_owned()),
        ..PostParams::default()
    };
    fail_point::reach("before-report");
    let written = api_call::within(
        ctx.restores(&namespace)
            .replace_status(&object.name_any(), &by, &object),
    )
    .await;
    match written {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    fail_point::reach("after-report");
    if newly {
        events::publish(&ctx.client, object.object_ref(&()), reason, message, ctx.now()).await;
    }
    Ok(())
}

struct Shown {
    status: VpsBackupRestoreStatus,
    steps: Vec<Statement>,
}

fn facts(ctx: &Context, before: &VpsBackupRestoreStatus, report: &Report) -> Shown {
    match &report.facts {
        Facts::Kept => Shown {
            status: before.clone(),
            steps: kept_steps(before),
        },
        Facts::Nothing => Shown {
            status: VpsBackupRestoreStatus::default(),
            steps: Vec::new(),
        },
        Facts::Read {
            gates,
            backup,
            quote,
            approved,
            tail,
        } => Shown {
            steps: steps(gates, quote.as_ref(), *approved, tail.as_deref()),
            status: VpsBackupRestoreStatus {
                operation: tail.as_deref().map(operation),
                ..read(gates, backup.as_ref(), quote.as_ref())
            },
        },
        Facts::Recorded { record, vm } => Shown {
            steps: steps(&record.gates, Some(&record.quote), Some(true), Some(record)),
            status: VpsBackupRestoreStatus {
                operation: Some(operation(record)),
                job: job(ctx, before, record),
                vm: vm.as_ref().map(VmStatus::from),
                ..read(&record.gates, Some(&record.backup), Some(&record.quote))
            },
        },
    }
}

fn read(gates: &[Gate], backup: Option<&Backup>, quote: Option<&Quote>) -> VpsBackupRestoreStatus {
    VpsBackupRestoreStatus {
        gates: gates.iter().map(GateStatus::from).collect(),
        backup: backup.map(BackupStatus::from),
        quote: quote.map(HourlyQuoteStatus::from),
        ..VpsBackupRestoreStatus::default()
    }
}

fn operation(record: &Record) -> OperationRef {
    OperationRef {
        name: record.name.to_string(),
        state: record.known.state.as_str().to_owned(),
        attempt: record.attempt,
    }
}

/// The job in words that do not change from poll to poll, and its progress in steps of 25 %.
fn job(ctx: &Context, before: &VpsBackupRestoreStatus, record: &Record) -> Option<JobStatus> {
    let job = record.known.job.as_ref()?;
    let status = match record.known.state {
        State::Sending | State::Accepted => "running",
        State::Succeeded => "completed",
        State::Failed => "failed",
        State::NotSent | State::Rejected | State::Unknown | State::NotExecuted | State::Abandoned => {
            "unknown"
        }
    };
    let shown = before.job.as_ref().filter(|shown| shown.id == job.id.as_str());
    let seen = ctx.desk.followed(&record.name).progress;
    let progress = seen.max(shown.and_then(|shown| shown.progress));
    let done = record.known.state == State::Succeeded;
    Some(JobStatus {
        id: job.id.to_string(),
        status: Some(status.to_owned()),
        progress: progress.map(|per_cent| if done { 100 } else { per_cent }),
    })
}

/// The steps that a person looks for.
fn steps(
    gates: &[Gate],
    quote: Option<&Quote>,
    approved: Option<bool>,
    record: Option<&Record>,
) -> Vec<Statement> {
    let say = |about, holds: Holds, reason: &str, message: String| Statement {
        about,
        holds,
        reason: reason.to_owned(),
        message,
    };
    let mut steps = Vec::new();
    if !gates.is_empty() {
        let closed = gate::closed(gates);
        let word = if closed.is_none() {
            "GatesOpen"
        } else {
            "GatesClosed"
        };
        steps.push(say(
            "GatesPassed",
            closed.is_none().into(),
            word,
            closed.unwrap_or_default(),
        ));
    }
    let price = quote.map(|quote| quote.price.to_string());
    let word = if price.is_some() { "Priced" } else { "NoPrice" };
    steps.push(say(
        "Quoted",
        price.is_some().into(),
        word,
        price.unwrap_or_default(),
    ));
    if let Some(approved) = approved {
        let word = if approved { "Approved" } else { "NotApproved" };
        steps.push(say("Approved", approved.into(), word, String::new()));
    }
    if let Some(record) = record {
        let holds = match record.known.state {
            State::Accepted | State::Succeeded | State::Failed => Holds::Yes,
            State::Sending | State::Unknown | State::Abandoned => Holds::Unclear,
            State::NotSent | State::Rejected | State::NotExecuted => Holds::No,
        };
        let Subject { namespace, name, .. } = &record.subject;
        let message = format!("VpsOperation {} for {namespace}/{name}", record.name);
        steps.push(say("Submitted", holds, record.known.state.as_str(), message));
    }
    steps
}

/// The steps that the status already shows, as they are.
fn kept_steps(before: &VpsBackupRestoreStatus) -> Vec<Statement> {
    let kept = ["GatesPassed", "Quoted", "Approved", "Submitted"];
    kept.into_iter()
        .filter_map(|about| {
            let step = conditions::find(&before.conditions, about)?;
            let holds = match step.status.as_str() {
                "True" => Holds::Yes,
                "False" => Holds::No,
                _ => Holds::Unclear,
            };
            Some(Statement {
                about,
                holds,
                reason: step.reason.clone(),
                message: step.message.clone(),
            })
        })
        .collect()
}
