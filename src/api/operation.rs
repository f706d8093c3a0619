//! `VpsOperation`: the record of one paid call: claim, price, request, job, outcome.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use super::restore::BackupStatus;
use super::shared::{EXACT, GateStatus, InvoiceStatus, QuoteStatus, ResolutionAnswer, VmSize, VmStatus};
use crate::domain::action::ordered::ActionKind;
use crate::domain::provider::options::OptionValue;

/// The message for a change of any other field.
const IMMUTABLE: &str = "a VpsOperation is immutable except for spec.resolution";

/// The record of one paid call, created before the call is sent.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "vps.hostup.se",
    version = "v1alpha1",
    kind = "VpsOperation",
    plural = "vpsoperations",
    singular = "vpsoperation",
    shortname = "vop",
    category = "hostup",
    status = "VpsOperationStatus",
    selectable = ".spec.subject.namespace",
    selectable = ".spec.subject.name",
    selectable = ".status.state",
    selectable = ".spec.vpsId",
    doc = "The record of one paid call to HostUp, created before the call is sent: claim, price, request, job and outcome. The operator writes it; users set only spec.resolution. It outlives the object, the namespace and the release that it was created for. All VpsOperations together are the spending log.",
    validation = ("!has(oldSelf.spec.resolution) || (has(self.spec.resolution) && self.spec.resolution == oldSelf.spec.resolution) || (has(self.status) && has(self.status.resolutionRefused))", "resolution can be set only once; after status.resolutionRefused says why it was not accepted, it can be set again"),
    validation = ("!has(self.spec.resolution) || (has(oldSelf.spec.resolution) && self.spec.resolution == oldSelf.spec.resolution) || (has(self.status) && has(self.status.state) && self.status.state == 'Unknown')", "resolution answers an unknown outcome: it can be set only while status.state is Unknown"),
    validation = ("!has(self.spec.resolution) || has(oldSelf.spec.resolution) || !has(self.status) || !has(self.status.resolutionRefused)", "the operator has not seen yet that the last answer was taken back: set resolution again once status.resolutionRefused is gone"),
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state","description":"The state of the call; empty means Sending"}"#,
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type","description":"The type of the call"}"#,
    printcolumn = r#"{"name":"Namespace","type":"string","jsonPath":".spec.subject.namespace","description":"The namespace of the object that the call was made for"}"#,
    printcolumn = r#"{"name":"Subject","type":"string","jsonPath":".spec.subject.name","description":"The object that the call was made for"}"#,
    printcolumn = r#"{"name":"Price","type":"string","jsonPath":".spec.quote.summary","description":"The approved price"}"#,
    printcolumn = r#"{"name":"New-VPS","type":"string","jsonPath":".status.result.vpsId","description":"The VM that was bought"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Evidence","type":"string","jsonPath":".status.evidence","priority":1,"description":"The evidence for the state"}"#,
    printcolumn = r#"{"name":"Approval","type":"string","jsonPath":".spec.approval.type","priority":1,"description":"The part of the approval that covered the price: Quote or Ceiling"}"#,
    printcolumn = r#"{"name":"Approved-By","type":"string","jsonPath":".spec.approval.approvedBy","priority":1,"description":"The user who approved the price, as the object said"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message","priority":1,"description":"What happened"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.backup) == has(oldSelf.backup) && has(self.quote) == has(oldSelf.quote) && has(self.approval) == has(oldSelf.approval) && has(self.expectedVmName) == has(oldSelf.expectedVmName) && has(self.orderedSize) == has(oldSelf.orderedSize) && has(self.changes) == has(oldSelf.changes) && has(self.follows) == has(oldSelf.follows)", IMMUTABLE))]
#[x_kube(validation = ("!has(self.resolution) || self.type != 'RestoreToCloudVm' || self.resolution.answer != 'Adopt' || has(self.resolution.vpsId)", "Adopt requires resolution.vpsId: the id of the VM that was bought, as HostUp's panel shows it"))]
pub struct VpsOperationSpec {
    /// The type of the call.
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    #[schemars(schema_with = "type_schema")]
    pub r#type: ActionKind,
    /// The object that the call was made for.
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    pub subject: SubjectRef,
    /// Hash of the user's request: source and target of a restore, or the options of a VPS. Internal; not part of the API.
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    pub intent_digest: String,
    /// The number of the attempt for this object, starting at 1.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    pub attempt: u32,
    /// The number of attempts in a row: 1, or one more than that of the failed attempt before it. Internal; not part of
    /// the API.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    pub try_of_generation: u32,
    /// The Secret whose API key the call used.
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    pub credentials_ref: RecordedCredentials,
    /// The id of the VPS: the source of a restore to a new VM, or the VPS that is changed, overwritten or backed up. For the legacy API, its number.
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    pub vps_id: String,
    /// The backup, for a restore.
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// The exact request that the operator sends.
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    pub request: RecordedRequest,
    /// The approved price. An estimate of the legacy API has none.
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<QuoteStatus>,
    /// The part of the object's spec.approval that covered the price.
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<RecordedApproval>,
    /// The gates, as the operator read them before the claim.
    #[schemars(length(max = 32))]
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    pub gates: Vec<GateStatus>,
    /// Hash of the request, the key, the gates and the price. Internal; not part of the API.
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    pub readings_digest: String,
    /// The name of the VM to buy, for a restore. It contains the token by which the operator finds the VM again.
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_vm_name: Option<String>,
    /// The size of the VM to buy, for a restore.
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_size: Option<VmSize>,
    /// The values before and after, for a change of options or of a size. For a VPS that is overwritten, its name and
    /// state before.
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<RecordedChanges>,
    /// The name of the previous record whose call was executed. Internal; not part of the API.
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The process that may send the call, and until when. Internal; not part of the API.
    #[x_kube(validation = ("self == oldSelf", IMMUTABLE))]
    pub claim: RecordedClaim,
    /// A user's answer to an unknown outcome. It has an effect only while status.state is Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}

/// The approval of a price.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedApproval {
    /// Quote: quoteId named the quote. Ceiling: the price was at or below maxPrice, before validUntil.
    #[schemars(length(max = 32))]
    pub r#type: String,
    /// The ceiling, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub max_price: Option<String>,
    /// The time until which the ceiling was valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub valid_until: Option<String>,
    /// The user who approved, as spec.approval.approvedBy said. The chart's policies prove it, where they are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub approved_by: Option<String>,
}

/// A word of a set that may grow. The schema is a pattern instead of an enum, so that an older schema accepts the words of
/// a newer operator, e.g. after a rollback of the chart.
fn word_schema(description: &str) -> Schema {
    json_schema!({
        "type": "string", "maxLength": 32, "pattern": "^[A-Z][A-Za-z]*$", "description": description,
    })
}

fn type_schema(_: &mut SchemaGenerator) -> Schema {
    word_schema(
        "The type of the call. RestoreToCloudVm restores a backup to a new VM. CommitResources changes options of a \
         VPS. LegacyEstimate and LegacyUpgrade are the estimate and the order of such a change through the legacy API. \
         ResizeCloudVm changes the size of a pay-as-you-go VM. OverwriteVps restores a backup onto an existing VPS. \
         CreateBackup makes a backup before a change.",
    )
}

fn state_schema(_: &mut SchemaGenerator) -> Schema {
    word_schema(
        "The state of the call. If absent, Sending. Sending: the call is claimed and may have been sent. Accepted: HostUp \
         accepted the order. Succeeded: HostUp fulfilled the order. Failed: the job failed. NotSent: nothing left the \
         operator. Rejected: HostUp refused the order. Unknown: HostUp may have executed the order. NotExecuted, \
         Abandoned: a user said so.",
    )
}

fn evidence_schema(_: &mut SchemaGenerator) -> Schema {
    word_schema(
        "The evidence for the state. An Unknown record with evidence waits for a user's answer. Job: the job that the \
         order named. VmFound, NoneFound, SeveralFound, OtherSize: the search for a VM with the token in its name. \
         BackupFound, NoneFound: the search for a backup with the token in its note. \
         FoundBeforeClaim: such a VM existed before the claim, and nothing was sent. ReadBack, NotConverged: the \
         options that HostUp shows. Answered: HostUp's answer alone. ExecutedUnasked: HostUp executed an estimate. \
         CannotLook: HostUp could not be read. AccountMismatch: the key no longer reads the VPS. JobDeadline: the job \
         did not end before its deadline. Person: a user's answer.",
    )
}

/// A change of options.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedChanges {
    /// The values before the change, as HostUp showed them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 40, "additionalProperties" = {
        "type": "string", "maxLength": OptionValue::LONGEST_WORD + 1,
    }))]
    pub from: BTreeMap<String, String>,
    /// The ordered values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 40, "additionalProperties" = {
        "type": "string", "maxLength": OptionValue::LONGEST_WORD + 1,
    }))]
    pub to: BTreeMap<String, String>,
    /// Whether the change corrects drift: the options of the spec had been in force before.
    #[serde(default)]
    pub corrects_drift: bool,
}

/// A reference to the object that a call was made for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SubjectRef {
    /// The kind of the object.
    #[schemars(length(max = 64))]
    pub kind: String,
    /// The namespace of the object.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// The name of the object.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The uid of the object.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The generation of the object when the operator decided to make the call.
    #[schemars(range(min = 0, max = EXACT))]
    pub generation: i64,
}

/// A reference to the Secret whose API key a call used.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedCredentials {
    /// The namespace of the Secret, always that of the object.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// The name of the Secret.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The key of the Secret's data.
    #[schemars(length(max = 253))]
    pub key: String,
    /// The resourceVersion of the Secret when the operator decided to make the call. Internal; not part of the API.
    #[schemars(length(max = 64))]
    pub resource_version: String,
}

/// An HTTP request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedRequest {
    /// The HTTP method.
    #[schemars(length(max = 8))]
    pub method: String,
    /// The path, without HostUp's address.
    #[schemars(length(max = 300))]
    pub path: String,
    /// The exact body.
    #[schemars(length(max = 32_768))]
    pub body: String,
}

/// The claim to send a call. The process that creates the record owns it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedClaim {
    /// The id of the attempt to create the record. Only this attempt may send the call.
    #[schemars(length(max = 64))]
    pub holder: String,
    /// The installation that owns the record (--instance-id).
    #[schemars(length(max = 253))]
    pub instance_id: String,
    /// The time of the claim.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub made_at: String,
    /// The operator starts the call before this time or never.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub send_before: String,
}

/// A user's answer to an unknown outcome.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resolution {
    /// NotExecuted: nothing was bought, and a new attempt may follow. Adopt: HostUp executed the call; for a restore,
    /// vpsId is the VM. Abandon: give up; no new attempt follows.
    pub answer: ResolutionAnswer,
    /// The id of the VM that was bought. Required for Adopt of a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub vps_id: Option<String>,
}

/// The observed state of the call.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VpsOperationStatus {
    /// The state of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "state_schema")]
    pub state: Option<OperationState>,
    /// A description of what happened, for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1200))]
    pub message: Option<String>,
    /// HostUp's code, if HostUp answered with an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub code: Option<String>,
    /// HostUp's text, if HostUp answered with an error: the problem, and the field that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 800))]
    pub detail: Option<String>,
    /// The id of the request, if HostUp answered with an error. HostUp's support asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub request_id: Option<String>,
    /// HostUp's job for the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<RecordedJob>,
    /// The id of the backup that was made before a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub backup_id: Option<String>,
    /// The VM that was bought, for a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<VmStatus>,
    /// The size of the VM, as HostUp shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_size: Option<VmSize>,
    /// The end of the VM. If absent, HostUp provides the VM and bills it, as far as the operator knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_end: Option<EndStatus>,
    /// The invoice that the order created, or the open invoice that blocks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<InvoiceStatus>,
    /// The amount that HostUp's answer named, if it is higher than the approved price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 60))]
    pub charged_more: Option<String>,
    /// Whether HostUp's refusal suggests a new order that cancels the invoice. If absent, false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suggests_cancelling: bool,
    /// The result of an estimate of the legacy API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateStatus>,
    /// The evidence for the state. An Unknown record with evidence waits for a user's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "evidence_schema")]
    pub evidence: Option<OperationEvidence>,
    /// The time at which the call ended, or must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub quiet_since: Option<String>,
    /// The time at which HostUp accepted the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub accepted_time: Option<String>,
    /// The time at which the outcome was final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub completed_time: Option<String>,
    /// The time before which the operator makes no paid call with this key, after a rate limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub not_before: Option<String>,
    /// The reason why the operator did not accept the answer in spec.resolution. Another answer can then be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub resolution_refused: Option<String>,
    /// Ready, Reconciling and Stalled follow the rules of kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The end of a VM.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EndStatus {
    /// The time at which the operator saw it.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub seen_time: String,
    /// HostUp's word for the state of the service, e.g. terminated. If absent, HostUp does not list the VM any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 41))]
    pub service_status: Option<String>,
}

/// An estimate of the legacy API.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EstimateStatus {
    /// HostUp's id of the draft, which the order names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub draft_id: Option<String>,
    /// The amount due when the request is ordered. A negative amount is a credit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub total: Option<String>,
    /// The amount for each billing cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub recurring: Option<String>,
    /// The ISO 4217 currency code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub currency_code: Option<String>,
}

/// A job at HostUp, and the path to poll it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedJob {
    /// The id of the job.
    #[schemars(length(max = 128))]
    pub id: String,
    /// The path, without HostUp's address.
    #[schemars(length(max = 200))]
    pub poll_url: String,
    /// The status of the job, as HostUp named it when this record was written last. The object has it sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub status: Option<String>,
}

/// The state of a call.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationState {
    /// The call is claimed and may have been sent.
    Sending,
    /// HostUp accepted the order.
    Accepted,
    /// HostUp fulfilled the order.
    Succeeded,
    /// The job failed.
    Failed,
    /// Nothing left the operator.
    NotSent,
    /// HostUp refused the order.
    Rejected,
    /// HostUp may have executed the order.
    Unknown,
    /// A user said that HostUp did not execute the order.
    NotExecuted,
    /// A user gave up the call.
    Abandoned,
}

/// The evidence for the state of a call.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationEvidence {
    /// The job that the order named.
    Job,
    /// The name of one VM contains the token.
    VmFound,
    /// The name of a VM contained the token before the claim; nothing was sent.
    FoundBeforeClaim,
    /// A user's answer.
    Person,
    /// No VM has the token in its name, or no backup in its note.
    NoneFound,
    /// The note of a complete backup contains the token.
    BackupFound,
    /// Several VMs have the token in their names.
    SeveralFound,
    /// One VM has the token in its name, but another size.
    OtherSize,
    /// The key no longer reads the source VPS.
    AccountMismatch,
    /// The job did not end before its deadline.
    JobDeadline,
    /// HostUp shows the ordered options.
    ReadBack,
    /// HostUp accepted the order but does not show the ordered options.
    NotConverged,
    /// HostUp's own answer; nothing can be read back.
    Answered,
    /// HostUp executed a request for an estimate.
    ExecutedUnasked,
    /// HostUp could not be read at the time when the outcome should have been visible.
    CannotLook,
}
