//! A record as it stands in the ledger, and back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{InvalidRecord, gate, shown_quote};
use crate::api::conditions;
use crate::api::operation::{
    EndStatus, EstimateStatus, OperationEvidence, OperationState, RecordedApproval, RecordedChanges,
    RecordedClaim, RecordedCredentials, RecordedJob, RecordedRequest, SubjectRef, VpsOperation,
    VpsOperationSpec, VpsOperationStatus,
};
use crate::api::shared::{
    CredentialsSecretRef, GateStatus, InvoiceStatus, ResolutionAnswer, VmSize, VmStatus,
};
use crate::domain::action::ordered::{
    Action, ActionKind, Backup, Change, NewBackup, Overwriting, Restoration, TargetState,
};
use crate::domain::action::said::Said;
use crate::domain::consent::approval::{Grant, Ground};
use crate::domain::consent::price::Size;
use crate::domain::ledger::order::Order;
use crate::domain::ledger::record::{
    Bought, Cause, Claim, EndOfVm, Estimate, Evidence, Invoice, Job, Outcome, Record, Resolution, State,
};
use crate::domain::provider::job::status_word;
use crate::domain::provider::options::{Difference, OptionValue, Values};
use crate::domain::status::reason::Standing;
use crate::domain::values::ids::{
    BackupId, Holder, InstanceId, JobId, RecordName, Subject, SubjectKind, Uid, VpsId,
};
use crate::domain::values::money::{Amount, Currency};
use crate::domain::values::text::Text;

/// The contents of a new record.
#[derive(Debug)]
pub struct RecordDraft<'a> {
    /// The order.
    pub order: &'a Order,
    /// The Secret whose key the call uses.
    pub credentials: &'a CredentialsSecretRef,
    /// Who claims.
    pub claim: &'a Claim,
}

impl RecordDraft<'_> {
    /// The record's name: hash of the chain's key, and the attempt.
    pub fn name(&self) -> RecordName {
        self.order.chain.record(self.order.attempt.number)
    }

    /// The object to create.
    pub fn object(&self) -> VpsOperation {
        let Self {
            order,
            credentials,
            claim,
        } = self;
        let subject = &order.subject;
        let restoration = order.action.restoration();
        let changes = match &order.action {
            Action::Restore(_) | Action::CreateBackup(_) => None,
            Action::Overwrite(overwriting) => Some(before(&overwriting.before)),
            Action::Options(change) | Action::Resize(change) => Some(changes(change)),
            Action::LegacyEstimate(values) | Action::LegacyUpgrade(values) => Some(ordered(values)),
        };
        let spec = VpsOperationSpec {
            r#type: order.action.kind(),
            subject: SubjectRef {
                kind: subject.kind.as_str().to_owned(),
                namespace: subject.namespace.clone(),
                name: subject.name.clone(),
                uid: subject.uid.to_string(),
                generation: subject.generation,
            },
            intent_digest: order.intent.clone(),
            attempt: order.attempt.number,
            try_of_generation: order.attempt.tries,
            credentials_ref: RecordedCredentials {
                namespace: subject.namespace.clone(),
                name: credentials.name.clone(),
                key: credentials.key.clone(),
                resource_version: order.secret_version.clone(),
            },
            vps_id: order.vps.to_string(),
            backup: order.action.backup().map(Into::into),
            request: RecordedRequest {
                method: "POST".to_owned(),
                path: order.path.clone(),
                body: order.body.clone(),
            },
            quote: order.quote.as_ref().map(Into::into),
            approval: order.grant.as_ref().map(RecordedApproval::from),
            gates: order.gates.iter().map(GateStatus::from).collect(),
            readings_digest: order.cause.as_str().to_owned(),
            expected_vm_name: restoration.map(|restoration| restoration.vm_name.clone()),
            ordered_size: restoration.map(|restoration| restoration.ordered.into()),
            changes,
            follows: order.follows.as_ref().map(ToString::to_string),
            claim: RecordedClaim {
                holder: claim.holder.to_string(),
                instance_id: claim.instance.to_string(),
                made_at: claim.made_at.to_string(),
                send_before: claim.send_before.to_string(),
            },
            resolution: None,
        };
        VpsOperation::new(self.name().as_str(), spec)
    }
}

impl From<&Grant> for RecordedApproval {
    fn from(grant: &Grant) -> Self {
        let approved_by = grant.approved_by.as_ref().map(Text::to_string);
        match &grant.ground {
            Ground::Quote(_) => Self {
                r#type: "Quote".to_owned(),
                approved_by,
                ..Self::default()
            },
            Ground::Ceiling(ceiling) => Self {
                r#type: "Ceiling".to_owned(),
                max_price: Some(ceiling.most.to_string()),
                valid_until: ceiling.valid_until.map(|end| end.to_string()),
                approved_by,
            },
        }
    }
}

fn texts(values: &Values) -> BTreeMap<String, String> {
    values
        .iter()
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect()
}

fn values(texts: &BTreeMap<String, String>) -> Values {
    texts
        .iter()
        .map(|(key, text)| (key.clone(), OptionValue::word(text)))
        .collect()
}

fn changes(change: &Change) -> RecordedChanges {
    RecordedChanges {
        from: texts(&change.difference.from),
        to: texts(&change.difference.to),
        corrects_drift: change.corrects_drift,
    }
}

/// The words of a VPS that is overwritten.
const STATE: [&str; 3] = ["name", "powerState", "serviceStatus"];

fn before(state: &TargetState) -> RecordedChanges {
    let words = [&state.name, &state.power, &state.service];
    let from = STATE.into_iter().zip(words);
    RecordedChanges {
        from: from
            .map(|(key, word)| (key.to_owned(), word.to_string()))
            .collect(),
        ..RecordedChanges::default()
    }
}

fn state(recorded: &RecordedChanges) -> TargetState {
    let [name, power, service] = STATE.map(|key| {
        let word = recorded.from.get(key);
        Text::bounded(word.map_or("", String::as_str), OptionValue::LONGEST_WORD)
    });
    TargetState { name, power, service }
}

/// The source that a restore names in its request; without one it is the target itself.
fn source_of(spec: &VpsOperationSpec) -> VpsId {
    let body: Value = serde_json::from_str(&spec.request.body).unwrap_or_default();
    let named = body.get("sourceVpsId").and_then(Value::as_str);
    VpsId::new(named.unwrap_or(&spec.vps_id))
}

fn change(recorded: &RecordedChanges) -> Change {
    Change {
        difference: Difference {
            from: values(&recorded.from),
            to: values(&recorded.to),
        },
        corrects_drift: recorded.corrects_drift,
    }
}

fn ordered(values: &Values) -> RecordedChanges {
    RecordedChanges {
        to: texts(values),
        ..RecordedChanges::default()
    }
}

/// A text that the request names; empty where it names none.
fn ordered_text(body: &str, member: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = body.get(member).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// Reads a record.
///
/// # Errors
/// [`InvalidRecord`] names the field; such a record is never acted upon, and never taken for absent.
pub fn record(object: &VpsOperation) -> Result<Record, InvalidRecord> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let wrong = |field| InvalidRecord {
        name: name.clone(),
        field,
    };
    let time = |text: &str, field| text.parse::<Timestamp>().map_err(|_| wrong(field));
    let spec = &object.spec;
    Ok(Record {
        name: RecordName::new(&name),
        attempt: spec.attempt,
        subject: Subject {
            kind: SubjectKind::ALL
                .into_iter()
                .find(|kind| kind.as_str() == spec.subject.kind)
                .ok_or_else(|| wrong("subject.kind"))?,
            namespace: spec.subject.namespace.clone(),
            name: spec.subject.name.clone(),
            uid: Uid::new(&spec.subject.uid),
            generation: spec.subject.generation,
        },
        intent: spec.intent_digest.clone(),
        vps: VpsId::new(&spec.vps_id),
        action: action(spec, &wrong)?,
        follows: spec.follows.as_ref().map(RecordName::new),
        quote: match &spec.quote {
            Some(shown) => Some(shown_quote(shown).ok_or_else(|| wrong("quote"))?),
            None => None,
        },
        gates: spec.gates.iter().filter_map(gate).collect(),
        claim: Claim {
            holder: Holder::new(&spec.claim.holder),
            instance: InstanceId::of_record(&spec.claim.instance_id),
            made_at: time(&spec.claim.made_at, "claim.madeAt")?,
            send_before: time(&spec.claim.send_before, "claim.sendBefore")?,
        },
        created_at: object.metadata.creation_timestamp.as_ref().map(|at| at.0),
        cause: Cause::of_record(&spec.readings_digest),
        tries: spec.try_of_generation,
        answer: spec.resolution.as_ref().map(|given| match given.answer {
            ResolutionAnswer::NotExecuted => Resolution::NotExecuted,
            ResolutionAnswer::Adopt => {
                Resolution::Adopt(VpsId::new(given.vps_id.clone().unwrap_or_default()))
            }
            ResolutionAnswer::Abandon => Resolution::Abandon,
        }),
        known: known(object.status.as_ref(), &wrong)?,
    })
}

fn action(
    spec: &VpsOperationSpec,
    wrong: &dyn Fn(&'static str) -> InvalidRecord,
) -> Result<Action, InvalidRecord> {
    let changes = || spec.changes.as_ref().ok_or_else(|| wrong("changes"));
    let backup = || {
        let backup = spec.backup.as_ref().ok_or_else(|| wrong("backup"))?;
        Ok(Backup {
            id: BackupId::new(&backup.id),
            created_at: backup.created_at.parse().map_err(|_| wrong("backup.createdAt"))?,
            size_gb: Amount::parse(&backup.size_gb).ok_or_else(|| wrong("backup.sizeGb"))?,
            kind: backup.r#type.as_deref().map(Text::new),
            note: backup.note.as_deref().map(Text::new),
        })
    };
    match spec.r#type {
        ActionKind::OverwriteVps => Ok(Action::Overwrite(Overwriting {
            source: source_of(spec),
            before: state(changes()?),
            backup: backup()?,
        })),
        ActionKind::RestoreToCloudVm => {
            let backup = backup()?;
            Ok(Action::Restore(Restoration {
                vm_name: spec
                    .expected_vm_name
                    .clone()
                    .ok_or_else(|| wrong("expectedVmName"))?,
                region: ordered_text(&spec.request.body, "region"),
                ordered: spec.ordered_size.ok_or_else(|| wrong("orderedSize"))?.into(),
                backup,
            }))
        }
        ActionKind::CommitResources => Ok(Action::Options(change(changes()?))),
        ActionKind::ResizeCloudVm => Ok(Action::Resize(change(changes()?))),
        ActionKind::CreateBackup => Ok(Action::CreateBackup(NewBackup {
            note: ordered_text(&spec.request.body, "note"),
        })),
        ActionKind::LegacyEstimate => Ok(Action::LegacyEstimate(values(&changes()?.to))),
        ActionKind::LegacyUpgrade => Ok(Action::LegacyUpgrade(values(&changes()?.to))),
    }
}

fn known(
    status: Option<&VpsOperationStatus>,
    wrong: &dyn Fn(&'static str) -> InvalidRecord,
) -> Result<Outcome, InvalidRecord> {
    let Some(status) = status else {
        return Ok(Outcome::sending());
    };
    let time = |text: &Option<String>, field| {
        text.as_deref()
            .map(|text| text.parse::<Timestamp>().map_err(|_| wrong(field)))
            .transpose()
    };
    let job = |job: &RecordedJob| {
        let id = JobId::parse(&job.id).ok_or_else(|| wrong("status.job.id"))?;
        Ok(Job {
            id,
            poll_path: job.poll_url.clone(),
            word: job.status.as_deref().and_then(status_word),
        })
    };
    let end = |end: &EndStatus| {
        Ok(EndOfVm {
            seen: end
                .seen_time
                .parse()
                .map_err(|_| wrong("status.resultEnd.seenTime"))?,
            word: end.service_status.as_deref().map(Text::new),
        })
    };
    Ok(Outcome {
        state: status.state.map_or(State::Sending, State::from),
        message: Text::bounded(status.message.as_deref().unwrap_or_default(), 1000),
        said: said(status),
        job: status.job.as_ref().map(job).transpose()?,
        backup: status.backup_id.as_ref().map(BackupId::new),
        result: status.result.as_ref().map(|vm| Bought {
            size: status.result_size.map(Size::from),
            ..Bought::from(vm)
        }),
        ended: status.result_end.as_ref().map(end).transpose()?,
        invoice: status.invoice.as_ref().map(Invoice::from),
        charged_more: status.charged_more.as_deref().map(Text::new),
        suggests_cancelling: status.suggests_cancelling,
        estimate: status.estimate.as_ref().map(estimate),
        evidence: status.evidence.map(Evidence::from),
        quiet_since: time(&status.quiet_since, "status.quietSince")?,
        not_before: time(&status.not_before, "status.notBefore")?,
        answer_refused: status.resolution_refused.as_deref().map(Text::new),
    })
}

fn said(status: &VpsOperationStatus) -> Said {
    let text = |text: &Option<String>, most| text.as_deref().map(|text| Text::bounded(text, most));
    Said {
        code: text(&status.code, Said::CODE),
        words: text(&status.detail, Said::WORDS),
        request: text(&status.request_id, Said::REQUEST),
    }
}

fn estimate(shown: &EstimateStatus) -> Estimate {
    let amount = |text: &Option<String>| text.as_deref().and_then(Amount::parse);
    Estimate {
        draft: shown.draft_id.as_deref().and_then(|id| id.parse().ok()),
        total: amount(&shown.total),
        recurring: amount(&shown.recurring),
        currency: shown.currency_code.as_deref().and_then(Currency::parse),
    }
}

impl From<&Estimate> for EstimateStatus {
    fn from(estimate: &Estimate) -> Self {
        Self {
            draft_id: estimate.draft.map(|id| id.to_string()),
            total: estimate.total.map(|amount| amount.to_string()),
            recurring: estimate.recurring.map(|amount| amount.to_string()),
            currency_code: estimate.currency.as_ref().map(ToString::to_string),
        }
    }
}

/// HostUp itself said that it takes the order.
fn is_accepted(known: &Outcome) -> bool {
    match (known.state, known.evidence) {
        (State::Accepted, evidence) => evidence != Some(Evidence::Person),
        (State::Succeeded, evidence) => {
            matches!(evidence, Some(Evidence::Answered | Evidence::ExecutedUnasked))
        }
        (
            State::Sending
            | State::Failed
            | State::NotSent
            | State::Rejected
            | State::Unknown
            | State::NotExecuted
            | State::Abandoned,
            _,
        ) => false,
    }
}

/// The status of a record that knows this.
pub fn known_status(
    known: &Outcome,
    before: &VpsOperationStatus,
    generation: i64,
    now: Timestamp,
) -> VpsOperationStatus {
    let standing = match (known.state, known.evidence) {
        (State::Succeeded, _) => Standing::Done,
        (State::Sending | State::Accepted, _) | (State::Unknown, None) => Standing::Progressing,
        (State::Unknown, Some(_)) | (State::Failed, _) => Standing::Stalled,
        (State::NotSent | State::Rejected | State::NotExecuted | State::Abandoned, _) => Standing::Waiting,
    };
    let said = conditions::standing(standing, known.state.as_str(), known.message.as_str());
    let first = |at: &Option<String>, holds: bool| {
        let now = || holds.then(|| conditions::whole_seconds(now).to_string());
        at.clone().or_else(now)
    };
    VpsOperationStatus {
        state: Some(known.state.into()),
        message: Some(known.message.to_string()).filter(|text| !text.is_empty()),
        code: known.said.code.as_ref().map(Text::to_string),
        detail: known.said.words.as_ref().map(Text::to_string),
        request_id: known.said.request.as_ref().map(Text::to_string),
        job: known.job.as_ref().map(|job| RecordedJob {
            id: job.id.to_string(),
            poll_url: job.poll_path.clone(),
            status: job.word.as_ref().map(Text::to_string),
        }),
        result: known.result.as_ref().map(VmStatus::from),
        result_size: known.result.as_ref().and_then(|vm| vm.size).map(VmSize::from),
        result_end: known.ended.as_ref().map(|end| EndStatus {
            seen_time: end.seen.to_string(),
            service_status: end.word.as_ref().map(Text::to_string),
        }),
        invoice: known.invoice.as_ref().map(InvoiceStatus::from),
        charged_more: known.charged_more.as_ref().map(Text::to_string),
        suggests_cancelling: known.suggests_cancelling,
        backup_id: known.backup.as_ref().map(ToString::to_string),
        estimate: known.estimate.as_ref().map(EstimateStatus::from),
        evidence: known.evidence.map(OperationEvidence::from),
        quiet_since: known.quiet_since.map(|at| at.to_string()),
        accepted_time: first(&before.accepted_time, is_accepted(known)),
        completed_time: first(&before.completed_time, known.state.is_final()),
        not_before: known.not_before.map(|at| at.to_string()),
        resolution_refused: known.answer_refused.as_ref().map(Text::to_string),
        conditions: conditions::dated(said, &before.conditions, generation, now),
    }
}

/// Two enums of the same words, one on each floor.
macro_rules! same_words {
    ($api:ident, $domain:ident: $($word:ident),+) => {
        impl From<$domain> for $api {
            fn from(word: $domain) -> Self {
                match word { $($domain::$word => Self::$word,)+ }
            }
        }

        impl From<$api> for $domain {
            fn from(word: $api) -> Self {
                match word { $($api::$word => Self::$word,)+ }
            }
        }
    };
}

same_words!(OperationState, State: Sending, Accepted, Succeeded, Failed, NotSent, Rejected, Unknown, NotExecuted, Abandoned);
same_words!(
    OperationEvidence, Evidence:
    Job, VmFound, FoundBeforeClaim, Person, NoneFound, SeveralFound, OtherSize, AccountMismatch, JobDeadline,
    ReadBack, NotConverged, Answered, ExecutedUnasked, CannotLook, BackupFound
);
