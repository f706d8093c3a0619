//! From our kinds to the domain and back, each once.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use thiserror::Error;

use super::conditions;
use super::operation::{
    OperationEvidence, OperationState, OperationType, RecordedClaim, RecordedCredentials, RecordedJob,
    RecordedRequest, SubjectRef, VpsOperation, VpsOperationSpec, VpsOperationStatus,
};
use super::restore::{
    BackupSelector, BackupStatus, HourlyQuoteStatus, RestoreApproval, VpsBackupRestore,
    VpsBackupRestoreStatus,
};
use super::shared::{CredentialsSecretRef, GateStatus, ResolutionAnswer, VmSize, VmStatus};
use crate::domain::approval::Approval;
use crate::domain::digest;
use crate::domain::gate::{Gate, GateName};
use crate::domain::ids::{BackupId, Holder, InstanceId, JobId, RecordName, Subject, Uid, VpsId};
use crate::domain::money::{Amount, Currency};
use crate::domain::names::ChainKey;
use crate::domain::preflight::{BackupChoice, Target};
use crate::domain::price::{HourlyPrice, Size};
use crate::domain::quote::{Quote, QuoteId};
use crate::domain::reason::Standing;
use crate::domain::record::{Answer, Backup, Bought, Cause, Claim, Evidence, Job, Known, Record, State};
use crate::domain::restore::{Intent, Order};
use crate::domain::text::Text;

/// A spec that the schema let through and that still cannot be understood.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("spec.{field}: {problem}")]
pub struct InvalidSpec {
    field: &'static str,
    problem: String,
}

/// A record that cannot be read, e.g. one that a newer version wrote.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("VpsOperation {name}: {field} cannot be read; it was written by another version or by hand")]
pub struct InvalidRecord {
    name: String,
    field: &'static str,
}

/// What the object asks for.
///
/// # Errors
/// [`InvalidSpec`] names the field.
pub fn intent(object: &VpsBackupRestore) -> Result<Intent, InvalidSpec> {
    let spec = &object.spec;
    let vm = &spec.target.cloud_vm;
    let backup = match (&spec.source.backup_id, spec.source.backup) {
        (Some(id), None) => BackupChoice::Id(BackupId::new(id)),
        (None, Some(BackupSelector::Latest)) => BackupChoice::Latest,
        (Some(_), Some(_)) | (None, None) => {
            return Err(invalid("source", "exactly one of backupId and backup is needed"));
        }
    };
    let number = |n: Option<u32>| n.map_or_else(String::new, |n| n.to_string());
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let chosen = match &backup {
        BackupChoice::Id(id) => format!("id:{id}"),
        BackupChoice::Latest => "latest".to_owned(),
    };
    Ok(Intent {
        subject: subject_of(&object.metadata),
        source: VpsId::new(&spec.source.vps_id),
        digest: digest::base32(
            "hostup-operator/restore-intent/v1",
            &[
                &spec.source.vps_id,
                &chosen,
                "cloudVm",
                &given(&vm.name),
                &given(&vm.region),
                &number(vm.cpu_cores),
                &number(vm.memory_gb),
                &number(vm.storage_gb),
            ],
            26,
        ),
        backup,
        target: Target {
            name: vm.name.clone(),
            region: vm.region.clone(),
            cpu_cores: vm.cpu_cores,
            memory_gb: vm.memory_gb,
            storage_gb: vm.storage_gb,
        },
        approval: spec.approval.as_ref().map(approval).transpose()?,
        suspended: spec.suspend,
        deleted: object.metadata.deletion_timestamp.is_some(),
    })
}

fn subject_of(metadata: &ObjectMeta) -> Subject {
    Subject {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: Uid::new(metadata.uid.clone().unwrap_or_default()),
        generation: metadata.generation.unwrap_or_default(),
    }
}

fn invalid(field: &'static str, problem: impl Into<String>) -> InvalidSpec {
    InvalidSpec {
        field,
        problem: problem.into(),
    }
}

fn approval(given: &RestoreApproval) -> Result<Approval, InvalidSpec> {
    match (&given.quote_id, &given.max_price) {
        (Some(id), None) => Ok(Approval::Quote(QuoteId::new(id))),
        (None, Some(ceiling)) => {
            let until = given.valid_until.as_deref().unwrap_or_default();
            Ok(Approval::Ceiling {
                per_hour: Amount::parse(&ceiling.per_hour)
                    .ok_or_else(|| invalid("approval.maxPrice.perHour", "is not a decimal amount"))?,
                currency: Currency::parse(&ceiling.currency_code)
                    .ok_or_else(|| invalid("approval.maxPrice.currencyCode", "is not a currency code"))?,
                valid_until: until.parse().map_err(|_| {
                    invalid("approval.validUntil", "is not a time, e.g. 2026-12-01T00:00:00Z")
                })?,
            })
        }
        (Some(_), Some(_)) | (None, None) => Err(invalid(
            "approval",
            "exactly one of maxPrice and quoteId is needed",
        )),
    }
}

/// The quote that a status shows, if it is whole.
pub fn shown_quote(status: &VpsBackupRestoreStatus) -> Option<Quote> {
    quote(status.quote.as_ref()?)
}

fn quote(shown: &HourlyQuoteStatus) -> Option<Quote> {
    Some(Quote {
        id: QuoteId::new(&shown.id),
        price: HourlyPrice {
            currency: Currency::parse(&shown.currency_code)?,
            per_hour: Amount::parse(&shown.per_hour)?,
            per_month: Amount::parse(&shown.per_month)?,
        },
    })
}

impl From<&Quote> for HourlyQuoteStatus {
    fn from(quote: &Quote) -> Self {
        Self {
            id: quote.id.as_str().to_owned(),
            summary: quote.price.summary(),
            currency_code: quote.price.currency.to_string(),
            per_hour: quote.price.per_hour.to_string(),
            per_month: quote.price.per_month.to_string(),
        }
    }
}

impl From<&Gate> for GateStatus {
    fn from(gate: &Gate) -> Self {
        Self {
            name: gate.name.as_str().to_owned(),
            allowed: gate.allowed,
            code: gate.code.as_ref().map(Text::to_string),
            reason: gate.reason.as_ref().map(Text::to_string),
        }
    }
}

fn gate(shown: &GateStatus) -> Option<Gate> {
    let names = [
        GateName::CanRestore,
        GateName::CanConvertToCloud,
        GateName::CanDeploy,
        GateName::Region,
        GateName::Limits,
        GateName::Storage,
    ];
    let name = names.into_iter().find(|name| name.as_str() == shown.name)?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Some(Gate::new(
        name,
        shown.allowed,
        &text(&shown.code),
        &text(&shown.reason),
    ))
}

impl From<&Backup> for BackupStatus {
    fn from(backup: &Backup) -> Self {
        Self {
            id: backup.id.to_string(),
            created_at: backup.created_at.to_string(),
            size_gb: backup.size_gb.to_string(),
        }
    }
}

impl From<&Bought> for VmStatus {
    fn from(vm: &Bought) -> Self {
        Self {
            vps_id: vm.vps.to_string(),
            name: vm.name.to_string(),
            primary_ip: vm.primary_ip.as_ref().map(Text::to_string),
        }
    }
}

impl From<&VmStatus> for Bought {
    fn from(shown: &VmStatus) -> Self {
        Self {
            vps: VpsId::new(&shown.vps_id),
            name: Text::new(&shown.name),
            primary_ip: shown.primary_ip.as_deref().map(Text::new),
            size: None,
        }
    }
}

impl From<Size> for VmSize {
    fn from(
        Size {
            cpu_cores,
            memory_gb,
            storage_gb,
        }: Size,
    ) -> Self {
        Self {
            cpu_cores,
            memory_gb,
            storage_gb,
        }
    }
}

impl From<VmSize> for Size {
    fn from(
        VmSize {
            cpu_cores,
            memory_gb,
            storage_gb,
        }: VmSize,
    ) -> Self {
        Self {
            cpu_cores,
            memory_gb,
            storage_gb,
        }
    }
}

/// What a new record is made from.
#[derive(Debug)]
pub struct RecordDraft<'a> {
    /// What the person wants.
    pub intent: &'a Intent,
    /// What is ordered.
    pub order: &'a Order,
    /// The Secret whose key the call uses.
    pub credentials: &'a CredentialsSecretRef,
    /// Who claims.
    pub claim: &'a Claim,
}

impl RecordDraft<'_> {
    /// The record's name: hash of the chain's key, and the attempt.
    pub fn name(&self) -> RecordName {
        let Subject { namespace, name, .. } = &self.intent.subject;
        ChainKey::of_restore(namespace, name).record(self.order.attempt)
    }

    /// The object to create.
    pub fn object(&self) -> VpsOperation {
        let Self {
            intent,
            order,
            credentials,
            claim,
        } = self;
        let spec = VpsOperationSpec {
            r#type: OperationType::RestoreToCloudVm,
            subject: SubjectRef {
                kind: "VpsBackupRestore".to_owned(),
                namespace: intent.subject.namespace.clone(),
                name: intent.subject.name.clone(),
                uid: intent.subject.uid.to_string(),
                generation: intent.subject.generation,
            },
            intent_digest: intent.digest.clone(),
            attempt: order.attempt,
            try_of_generation: order.tries,
            credentials_ref: RecordedCredentials {
                namespace: intent.subject.namespace.clone(),
                name: credentials.name.clone(),
                key: credentials.key.clone(),
                resource_version: order.cause.secret_version.clone(),
            },
            vps_id: intent.source.to_string(),
            backup: (&order.backup).into(),
            request: RecordedRequest {
                method: "POST".to_owned(),
                path: order.path.clone(),
                body: order.body.clone(),
            },
            quote: (&order.quote).into(),
            gates: order.gates.iter().map(GateStatus::from).collect(),
            readings_digest: order.cause.readings.clone(),
            expected_vm_name: order.vm_name.clone(),
            ordered_size: order.size.into(),
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
            namespace: spec.subject.namespace.clone(),
            name: spec.subject.name.clone(),
            uid: Uid::new(&spec.subject.uid),
            generation: spec.subject.generation,
        },
        intent: spec.intent_digest.clone(),
        source: VpsId::new(&spec.vps_id),
        vm_name: spec.expected_vm_name.clone(),
        ordered: spec.ordered_size.into(),
        backup: Backup {
            id: BackupId::new(&spec.backup.id),
            created_at: time(&spec.backup.created_at, "backup.createdAt")?,
            size_gb: Amount::parse(&spec.backup.size_gb).ok_or_else(|| wrong("backup.sizeGb"))?,
        },
        quote: quote(&spec.quote).ok_or_else(|| wrong("quote"))?,
        gates: spec.gates.iter().filter_map(gate).collect(),
        claim: Claim {
            holder: Holder::new(&spec.claim.holder),
            instance: InstanceId::new(&spec.claim.instance_id),
            made_at: time(&spec.claim.made_at, "claim.madeAt")?,
            send_before: time(&spec.claim.send_before, "claim.sendBefore")?,
        },
        cause: Cause {
            secret_version: spec.credentials_ref.resource_version.clone(),
            readings: spec.readings_digest.clone(),
        },
        tries: spec.try_of_generation,
        answer: spec.resolution.as_ref().map(|given| match given.answer {
            ResolutionAnswer::NotExecuted => Answer::NotExecuted,
            ResolutionAnswer::Adopt => Answer::Adopt(VpsId::new(given.vps_id.clone().unwrap_or_default())),
            ResolutionAnswer::Abandon => Answer::Abandon,
        }),
        known: known(object.status.as_ref(), &wrong)?,
    })
}

fn known(
    status: Option<&VpsOperationStatus>,
    wrong: &dyn Fn(&'static str) -> InvalidRecord,
) -> Result<Known, InvalidRecord> {
    let Some(status) = status else {
        return Ok(Known::sending());
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
        })
    };
    Ok(Known {
        state: status.state.map_or(State::Sending, State::from),
        message: Text::bounded(status.message.as_deref().unwrap_or_default(), 1000),
        code: status.code.as_deref().map(Text::new),
        job: status.job.as_ref().map(job).transpose()?,
        result: status.result.as_ref().map(|vm| Bought {
            size: status.result_size.map(Size::from),
            ..Bought::from(vm)
        }),
        evidence: status.evidence.map(Evidence::from),
        quiet_since: time(&status.quiet_since, "status.quietSince")?,
        not_before: time(&status.not_before, "status.notBefore")?,
        answer_refused: status.resolution_refused.as_deref().map(Text::new),
    })
}

/// The status of a record that knows this.
pub fn known_status(
    known: &Known,
    before: &[Condition],
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
    VpsOperationStatus {
        state: Some(known.state.into()),
        message: Some(known.message.to_string()).filter(|text| !text.is_empty()),
        code: known.code.as_ref().map(Text::to_string),
        job: known.job.as_ref().map(|job| RecordedJob {
            id: job.id.to_string(),
            poll_url: job.poll_path.clone(),
        }),
        result: known.result.as_ref().map(VmStatus::from),
        result_size: known.result.as_ref().and_then(|vm| vm.size).map(VmSize::from),
        evidence: known.evidence.map(OperationEvidence::from),
        quiet_since: known.quiet_since.map(|at| at.to_string()),
        not_before: known.not_before.map(|at| at.to_string()),
        resolution_refused: known.answer_refused.as_ref().map(Text::to_string),
        conditions: conditions::dated(said, before, generation, now),
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
    Job, VmFound, FoundBeforeClaim, Person, NoneFound, SeveralFound, OtherSize, AccountMismatch, JobDeadline
);
