//! `resolve`: a person's answer to an unknown outcome.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use hostup_operator::api::operation::{
    OperationEvidence, OperationState, Resolution, SubjectRef, VpsOperation, VpsOperationStatus,
};
use hostup_operator::api::shared::ResolutionAnswer;
use hostup_operator::domain::action::ordered::ActionKind;
use hostup_operator::domain::values::ids::SubjectKind;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::ask;
use crate::call::{CallError, Right, call};
use crate::cluster::Cluster;
use crate::failure::{DONE, Failure, Outcome};
use crate::object::{Object, short};
use crate::output::{HEADING, OPEN, Output, WELL, time};
use crate::records;

/// So long the operator may take to see that an answer was taken back.
const SEES_IT_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at whether it has.
const AGAIN: Duration = Duration::from_millis(500);

/// Answer the unknown outcome of a paid call: show what was ordered and what is known, ask, and give the answer.
///
/// Look in HostUp's panel first. You cannot change an answer that the operator has accepted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The VpsOperation.
    #[arg(value_name = "OPERATION")]
    record: String,
    /// The answer.
    #[arg(long, value_name = "ANSWER")]
    answer: Option<Answer>,
    /// The id of the VM that was bought, for the answer Adopt of a restore.
    #[arg(long, value_name = "VPS", requires = "answer")]
    vps: Option<String>,
    /// Do not ask. Requires --answer.
    #[arg(short, long, requires = "answer")]
    yes: bool,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Answer {
    /// HostUp did not execute the call. A new attempt follows if an approval is still valid.
    #[value(name = "NotExecuted")]
    NotExecuted,
    /// HostUp executed the call. For a restore, --vps names the VM.
    #[value(name = "Adopt")]
    Adopt,
    /// Give up: nothing more is bought for this object.
    #[value(name = "Abandon")]
    Abandon,
}

impl From<Answer> for ResolutionAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::NotExecuted => Self::NotExecuted,
            Answer::Adopt => Self::Adopt,
            Answer::Abandon => Self::Abandon,
        }
    }
}

/// Runs the command.
pub async fn run(args: &Args, cluster: &Cluster, output: &mut Output) -> Outcome {
    let name = &args.record;
    let right = Right::on_records("get");
    let stored = call(&right, cluster.records().get(name)).await?;
    let record = stored.0.map_err(|unreadable| {
        Failure::told(format!(
            "VpsOperation {name} cannot be read by this version: {}. Use kubectl, see docs/runbook-unknown-outcome.md",
            unreadable.why
        ))
    })?;
    refuse_unless_it_asks(&record)?;
    show(&record, output)?;
    let subject = subject(&record, cluster).await;
    let answer = match args.answer {
        Some(answer) => answer,
        None if ask::is_possible() => match asked()? {
            Some(answer) => answer,
            None => return unanswered(output),
        },
        None => {
            return Err(Failure::told(format!(
                "nobody can be asked here, because this is not a terminal. Look in HostUp's panel, then: kubectl hostup \
                 resolve {name} --answer NotExecuted|Adopt|Abandon --yes{}, with --vps for Adopt of a restore",
                cluster.flags
            )));
        }
    };
    let vps = match (args.vps.clone(), needs_vps(&record, answer)) {
        (Some(vps), true) => Some(vps),
        (Some(_), false) => {
            return Err(Failure::told(
                "--vps is only for the answer Adopt of a restore; omit it",
            ));
        }
        (None, false) => None,
        (None, true) if args.yes || !ask::is_possible() => {
            return Err(Failure::told(
                "Adopt of a restore needs --vps: the id of the VM that was bought, as HostUp's panel shows it",
            ));
        }
        (None, true) => {
            let vps = ask::line("The id of the VM, as HostUp's panel shows it:")?;
            if vps.is_empty() {
                return unanswered(output);
            }
            Some(vps)
        }
    };
    output.styled(OPEN, &effect(answer, &record, subject.as_ref(), &cluster.flags))?;
    if !args.yes {
        if !ask::is_possible() {
            return Err(Failure::told(
                "nobody can be asked here, because this is not a terminal; add --yes",
            ));
        }
        let word = answer
            .to_possible_value()
            .map_or_else(String::new, |word| word.get_name().to_owned());
        if !ask::confirmed(&format!("Answer {word}?"))? {
            return unanswered(output);
        }
    }
    let record = Box::pin(taken_back(record, answer, vps.as_ref(), cluster, output)).await?;
    give(&record, answer, vps, cluster).await?;
    output.styled(
        WELL,
        &format!(
            "The answer is given. To follow it: kubectl get vop {name} -w{}",
            cluster.flags
        ),
    )?;
    Ok(DONE)
}

fn unanswered(output: &mut Output) -> Outcome {
    output.line("No answer is given.")?;
    Ok(DONE)
}

fn refuse_unless_it_asks(record: &VpsOperation) -> Result<(), Failure> {
    if records::asks(record) {
        return Ok(());
    }
    let name = record.name_any();
    let state = records::state(record);
    let why = if state != OperationState::Unknown {
        format!("its state is {}", records::word(state))
    } else if let Some(Resolution { answer, .. }) = &record.spec.resolution {
        let message = record.status.as_ref().and_then(|status| status.message.clone());
        format!("it was answered by {answer:?}. {}", message.unwrap_or_default())
    } else {
        "the operator still searches for the outcome; wait for --settle-time, 15 minutes by default"
            .to_owned()
    };
    Err(Failure::told(format!(
        "VpsOperation {name} does not wait for an answer: {why}"
    )))
}

fn show(record: &VpsOperation, output: &mut Output) -> Result<(), Failure> {
    let spec = &record.spec;
    let status = record.status.clone().unwrap_or_default();
    output.styled(
        HEADING,
        &format!("VpsOperation {}: was this executed?", record.name_any()),
    )?;
    let mut facts = vec![
        (
            "For",
            format!(
                "{} {} in {}",
                spec.subject.kind, spec.subject.name, spec.subject.namespace
            ),
        ),
        (
            "Ordered",
            format!("{}, {}", records::call_type(record), claimed(record)),
        ),
        ("Price", records::price(record).to_owned()),
        (
            "Request",
            format!(
                "{} {} {}",
                spec.request.method, spec.request.path, spec.request.body
            ),
        ),
    ];
    if let Some(name) = &spec.expected_vm_name {
        facts.push(("VM name", name.clone()));
    }
    let optional = [
        ("Message", status.message),
        ("HostUp's code", status.code),
        ("HostUp's words", status.detail),
        ("Request id", status.request_id),
        ("Job", status.job.map(|job| job.id)),
        (
            "Last answer",
            status
                .resolution_refused
                .map(|why| format!("not accepted: {why}")),
        ),
    ];
    facts.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    if let Some(evidence) = status.evidence {
        facts.push(("Evidence", format!("{evidence:?}: {}", meaning(evidence))));
    }
    facts.push(("Look for", look_for(record)));
    output.facts(&facts)
}

/// The time of the order.
fn claimed(record: &VpsOperation) -> String {
    records::claimed(record).map_or_else(|| record.spec.claim.made_at.clone(), time)
}

fn meaning(evidence: OperationEvidence) -> &'static str {
    match evidence {
        OperationEvidence::Job => "HostUp's job says so",
        OperationEvidence::VmFound => "one VM has the token in its name",
        OperationEvidence::FoundBeforeClaim => "a VM had the token before the order; nothing was sent",
        OperationEvidence::Person => "somebody answered",
        OperationEvidence::NoneFound => "no VM has the token in its name, and no backup in its note",
        OperationEvidence::BackupFound => "a complete backup has the token in its note",
        OperationEvidence::SeveralFound => {
            "more than one VM has the token; HostUp may have sold two. Adopt one, and cancel the others in the panel"
        }
        OperationEvidence::OtherSize => "one VM has the token, but its size is not the ordered one",
        OperationEvidence::AccountMismatch => {
            "the key no longer reads the VPS, so its list proves nothing. Repair the Secret first"
        }
        OperationEvidence::JobDeadline => {
            "HostUp's job has not ended. Do not answer NotExecuted while it runs"
        }
        OperationEvidence::ReadBack => "HostUp shows the ordered options",
        OperationEvidence::NotConverged => {
            "HostUp accepted the change and does not show it; perhaps its invoice is not paid"
        }
        OperationEvidence::Answered => "HostUp's answer alone",
        OperationEvidence::ExecutedUnasked => "HostUp executed a request for an estimate",
        OperationEvidence::CannotLook => "HostUp could not be read",
    }
}

fn look_for(record: &VpsOperation) -> String {
    let at = claimed(record);
    match record.spec.r#type {
        ActionKind::RestoreToCloudVm => format!(
            "in HostUp's panel, a pay-as-you-go VM with this name, or one that was created around {at}; also invoices, \
             usage and running jobs"
        ),
        ActionKind::OverwriteVps => format!(
            "in HostUp's panel, the jobs of VPS {} around {at}; and on the VPS itself, which data it has",
            record.spec.vps_id
        ),
        ActionKind::CreateBackup => format!(
            "in HostUp's panel, the backups and jobs of VPS {} around {at}; the request has the note",
            record.spec.vps_id
        ),
        ActionKind::ResizeCloudVm => format!("in HostUp's panel, the size of VM {}", record.spec.vps_id),
        ActionKind::CommitResources | ActionKind::LegacyEstimate | ActionKind::LegacyUpgrade => format!(
            "in HostUp's panel, the options, orders and invoices of VPS {} around {at}",
            record.spec.vps_id
        ),
    }
}

fn needs_vps(record: &VpsOperation, answer: Answer) -> bool {
    record.spec.r#type == ActionKind::RestoreToCloudVm && answer == Answer::Adopt
}

fn asked() -> Result<Option<Answer>, Failure> {
    anstream::eprintln!(
        "\n  NotExecuted  HostUp has no such order\n  Adopt        HostUp executed it\n  Abandon      give up: nothing \
         more is bought for it\n"
    );
    loop {
        let word = ask::line("Your answer (an empty line gives none):")?;
        if word.is_empty() {
            return Ok(None);
        }
        match Answer::from_str(&word, true) {
            Ok(answer) => return Ok(Some(answer)),
            Err(_) => anstream::eprintln!("{word:?} is not one of the three."),
        }
    }
}

/// The object that the call was made for, if it is still there and may be read.
async fn subject(record: &VpsOperation, cluster: &Cluster) -> Option<Object> {
    let subject = &record.spec.subject;
    let kind = SubjectKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == subject.kind)?;
    let right = Right::on_objects("get", kind, Some(&subject.namespace));
    let objects = cluster.objects(kind, Some(&subject.namespace));
    let object = call(&right, objects.get(&subject.name)).await.ok()?;
    Object::read(kind, object).ok()
}

fn effect(answer: Answer, record: &VpsOperation, subject: Option<&Object>, flags: &str) -> String {
    let is_restore = record.spec.r#type == ActionKind::RestoreToCloudVm;
    let is_overwrite = record.spec.r#type == ActionKind::OverwriteVps;
    let is_backup = record.spec.r#type == ActionKind::CreateBackup;
    match answer {
        Answer::NotExecuted => not_executed(record.spec.r#type, &record.spec.subject, subject, flags),
        Answer::Adopt if is_restore => {
            "The operator accepts this VM if it is pay-as-you-go, is not the source VPS, and is visible to \
             the API key."
                .to_owned()
        }
        Answer::Adopt if is_backup => {
            "The operator takes your word for the backup, and sends the change that waits for it.".to_owned()
        }
        Answer::Abandon if is_backup => {
            "The operator stops searching for the backup, and changes nothing before a new approval.".to_owned()
        }
        Answer::Adopt if is_overwrite => "The object shows the restore as done; nothing is sent again.".to_owned(),
        Answer::Abandon if is_overwrite => {
            "The operator stops looking for the job, and does nothing more for this object name.".to_owned()
        }
        Answer::Adopt => "The operator waits until HostUp shows the change, and does not order it again.".to_owned(),
        Answer::Abandon if is_restore => {
            "The operator stops searching for the VM, and buys nothing more for this object name. If a VM exists \
             anyway, it costs money until you cancel it in HostUp's panel."
                .to_owned()
        }
        Answer::Abandon => format!(
            "The operator orders no more options of VPS {}, for any object.",
            record.spec.vps_id
        ),
    }
}

fn not_executed(what: ActionKind, of: &SubjectRef, subject: Option<&Object>, flags: &str) -> String {
    let row = what.row();
    let Some(object) = subject else {
        return format!(
            "If {} {} is there, {}. To prevent that, hold it first.",
            of.kind, of.name, row.after_not_executed
        );
    };
    if object.is_held || object.is_suspended {
        return "The object is held or suspended, so no new attempt follows until that is lifted.".to_owned();
    }
    if row.needs_approval && object.approval.is_none() {
        return "The object has no approval, so no new attempt follows.".to_owned();
    }
    format!(
        "After that, {}. To prevent it, answer no now, and hold the object first: kubectl hostup hold {}/{} -n {}{flags}",
        row.after_not_executed,
        short(object.id.kind),
        object.id.name,
        object.namespace
    )
}

/// The same answer that was refused counts only after the operator has seen that it was taken back.
async fn taken_back(
    record: VpsOperation,
    answer: Answer,
    vps: Option<&String>,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<VpsOperation, Failure> {
    let is_the_same = |stands: &Resolution| {
        stands.answer == ResolutionAnswer::from(answer) && stands.vps_id.as_ref() == vps
    };
    let name = record.name_any();
    let records = cluster.records();
    let shown = record.status.clone().unwrap_or_default();
    match &record.spec.resolution {
        Some(stands) if is_the_same(stands) => {
            output.line("This answer was refused once, so it is taken back first.")?;
            put(&record, Value::Null, cluster).await?;
        }
        None if shown.resolution_refused.is_some() => {}
        Some(_) | None => return Ok(record),
    }
    let deadline = Instant::now() + SEES_IT_WITHIN;
    loop {
        let stored = call(&Right::on_records("get"), records.get(&name)).await?;
        let now = stored.0.map_err(|unreadable| Failure::told(unreadable.why))?;
        let status = now.status.clone().unwrap_or_default();
        if status.resolution_refused.is_none() {
            let facts = |status: &VpsOperationStatus| {
                let job = status.job.as_ref().map(|job| job.id.clone());
                (status.state, status.evidence, status.message.clone(), job)
            };
            let is_as_shown = facts(&status) == facts(&shown);
            return if is_as_shown {
                Ok(now)
            } else {
                Err(changed_meanwhile(&name))
            };
        }
        if Instant::now() > deadline {
            return Err(Failure::told(format!(
                "the last answer to VpsOperation {name} is taken back, but the operator has not seen it yet. Run the \
                 command again"
            )));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Gives the answer to exactly the version that was shown.
async fn give(
    record: &VpsOperation,
    answer: Answer,
    vps: Option<String>,
    cluster: &Cluster,
) -> Result<(), Failure> {
    // A refused answer is replaced as a whole: null removes its VM.
    let resolution = json!({"answer": ResolutionAnswer::from(answer), "vpsId": vps});
    put(record, resolution, cluster).await
}

/// Sets `spec.resolution` of exactly this version.
async fn put(record: &VpsOperation, resolution: Value, cluster: &Cluster) -> Result<(), Failure> {
    let name = record.name_any();
    let patch = json!({
        "metadata": {"resourceVersion": record.metadata.resource_version},
        "spec": {"resolution": resolution},
    });
    let records = cluster.records();
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    match call(&Right::to_resolve(), records.patch(&name, &params, &patch)).await {
        Ok(_) => Ok(()),
        Err(CallError::Conflict) => Err(changed_meanwhile(&name)),
        Err(error) => Err(error.into()),
    }
}

fn changed_meanwhile(name: &str) -> Failure {
    Failure::told(format!(
        "VpsOperation {name} has changed while you looked at it. No answer is given. Run the command again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_approval_follows_also_where_the_object_has_none() {
        let of = SubjectRef {
            kind: "VpsResourceConfig".to_owned(),
            namespace: "shop".to_owned(),
            name: "old".to_owned(),
            uid: "uid-1".to_owned(),
            generation: 1,
        };
        let object = json!({
            "apiVersion": "vps.hostup.se/v1alpha1", "kind": "VpsResourceConfig",
            "metadata": {"name": "old", "namespace": "shop"},
            "spec": {"legacy": {"vmid": 10_000, "resources": {"2231": 400}}},
        });
        let object = Object::read(
            SubjectKind::VpsResourceConfig,
            serde_json::from_value(object).unwrap(),
        );
        let object = object.unwrap();
        for (what, follows) in [
            (ActionKind::LegacyEstimate, true),
            (ActionKind::LegacyUpgrade, false),
            (ActionKind::CommitResources, false),
        ] {
            let said = not_executed(what, &of, Some(&object), " --context prod");
            assert_eq!(said.contains("no new attempt follows"), !follows, "{said}");
            assert_eq!(
                said.ends_with("hold vrc/old -n shop --context prod"),
                follows,
                "{said}"
            );
        }
        let said = not_executed(ActionKind::LegacyEstimate, &of, None, "");
        assert!(said.contains("no approval is needed"), "{said}");
    }
}
