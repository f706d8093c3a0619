//! `VpsOperation`: one paid or destructive call; claim, price, request, job, outcome.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use super::restore::BackupStatus;
use super::shared::{EXACT, GateStatus, InvoiceStatus, QuoteStatus, ResolutionAnswer, VmSize, VmStatus};
use crate::domain::action::ordered::ActionKind;
use crate::domain::provider::options::OptionValue;

/// The record of one paid call, made before it is sent.
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
    doc = "One paid call to HostUp, recorded before it is sent: claim, price, request, job, outcome. Written by the operator; a person writes only spec.resolution. It outlives the object, the namespace and the release it was made for, and is the spending log.",
    validation = ("!has(oldSelf.spec.resolution) || (has(self.spec.resolution) && self.spec.resolution == oldSelf.spec.resolution) || (has(self.status) && has(self.status.resolutionRefused))", "resolution may be set once; it may be set again only after status.resolutionRefused says why it was not taken"),
    validation = ("!has(self.spec.resolution) || has(oldSelf.spec.resolution) || (has(self.status) && has(self.status.state) && self.status.state == 'Unknown')", "resolution answers an unknown outcome: it may be set while status.state is Unknown"),
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state","description":"Where the call stands; empty means Sending"}"#,
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type","description":"Which call"}"#,
    printcolumn = r#"{"name":"Namespace","type":"string","jsonPath":".spec.subject.namespace","description":"Namespace of the object it was made for"}"#,
    printcolumn = r#"{"name":"Subject","type":"string","jsonPath":".spec.subject.name","description":"The object it was made for"}"#,
    printcolumn = r#"{"name":"Price","type":"string","jsonPath":".spec.quote.summary","description":"The approved price"}"#,
    printcolumn = r#"{"name":"New-VPS","type":"string","jsonPath":".status.result.vpsId","description":"The VM that was bought"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Evidence","type":"string","jsonPath":".status.evidence","priority":1,"description":"What the state rests on"}"#,
    printcolumn = r#"{"name":"Approval","type":"string","jsonPath":".spec.approval.type","priority":1,"description":"What approved the price: Quote or Ceiling"}"#,
    printcolumn = r#"{"name":"Approved-By","type":"string","jsonPath":".spec.approval.approvedBy","priority":1,"description":"Who approved the price, as the object said"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message","priority":1,"description":"What happened"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.backup) == has(oldSelf.backup) && has(self.quote) == has(oldSelf.quote) && has(self.approval) == has(oldSelf.approval) && has(self.expectedVmName) == has(oldSelf.expectedVmName) && has(self.orderedSize) == has(oldSelf.orderedSize) && has(self.changes) == has(oldSelf.changes) && has(self.follows) == has(oldSelf.follows)", "a VpsOperation cannot be changed but for spec.resolution"))]
#[x_kube(validation = ("!has(self.resolution) || self.type != 'RestoreToCloudVm' || self.resolution.answer != 'Adopt' || has(self.resolution.vpsId)", "Adopt needs resolution.vpsId: the VM that was bought, as HostUp's panel shows it"))]
pub struct VpsOperationSpec {
    /// Which call. RestoreToCloudVm: a backup is restored to a new VM. CommitResources: options of a VPS are
    /// changed. LegacyEstimate, LegacyUpgrade: the same by the older route, what it costs and the order.
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    #[schemars(schema_with = "type_schema")]
    pub r#type: ActionKind,
    /// The object it was made for.
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    pub subject: SubjectRef,
    /// Hash of what the user wrote: source and target of a restore, the options of a VPS. Internal; no API.
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    pub intent_digest: String,
    /// Which attempt of its chain, from 1.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    pub attempt: u32,
    /// How many attempts in a row this is: 1, or one more than a failed attempt before it. Internal; no API.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    pub try_of_generation: u32,
    /// The Secret whose key the call used.
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    pub credentials_ref: RecordedCredentials,
    /// The source of a restore, the VPS whose options are changed, or its number on the older route.
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    pub vps_id: String,
    /// Of a restore: the backup.
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// The exact request.
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    pub request: RecordedRequest,
    /// The approved price; an estimate of the older route has none.
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<QuoteStatus>,
    /// What approved the price: the part of spec.approval that covered it.
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<RecordedApproval>,
    /// The gates as they were read before the claim.
    #[schemars(length(max = 32))]
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    pub gates: Vec<GateStatus>,
    /// Hash of what HostUp judges: the request, the key, the gates and the price. Internal; no API.
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    pub readings_digest: String,
    /// Of a restore: the name of the VM to be bought, with the token by which it is found again.
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_vm_name: Option<String>,
    /// Of a restore: the size of the VM to be bought.
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_size: Option<VmSize>,
    /// Of a change of options: the values before and after.
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<RecordedChanges>,
    /// The record before this one whose call was executed. Internal; no API.
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// Who may send the call, and until when. Internal; no API.
    #[x_kube(validation = ("self == oldSelf", "a VpsOperation cannot be changed but for spec.resolution"))]
    pub claim: RecordedClaim,
    /// A person's answer to an unknown outcome. It acts only while status.state is Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}

/// What approved a price.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedApproval {
    /// Quote: the quote was named. Ceiling: the price was no higher than maxPrice, before validUntil.
    #[schemars(length(max = 32))]
    pub r#type: String,
    /// The ceiling, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub max_price: Option<String>,
    /// When the ceiling ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub valid_until: Option<String>,
    /// Who approved, as spec.approval.approvedBy said. It is proved where the chart's policies are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub approved_by: Option<String>,
}

/// A word of a set that may grow. The schema is a pattern and no enum, so that an older schema takes the words of a newer
/// operator, e.g. after a rollback of the chart.
fn word_schema(description: &str) -> Schema {
    json_schema!({
        "type": "string", "maxLength": 32, "pattern": "^[A-Z][A-Za-z]*$", "description": description,
    })
}

fn type_schema(_: &mut SchemaGenerator) -> Schema {
    word_schema(
        "Which call. RestoreToCloudVm: a backup is restored to a new VM. CommitResources: options of a VPS are \
         changed. LegacyEstimate, LegacyUpgrade: the same by the legacy API, the estimate and the order.",
    )
}

fn state_schema(_: &mut SchemaGenerator) -> Schema {
    word_schema(
        "The state of the call; absent means Sending. Sending: claimed, it may have been sent. Accepted: HostUp took \
         the order. Succeeded: what was ordered is there. Failed: the job failed. NotSent: nothing left the operator. \
         Rejected: HostUp refused. Unknown: it may have been executed. NotExecuted, Abandoned: a person said so.",
    )
}

fn evidence_schema(_: &mut SchemaGenerator) -> Schema {
    word_schema(
        "What the state rests on; an Unknown record with evidence waits for a person. Job: the job that the order \
         named. VmFound, NoneFound, SeveralFound, OtherSize: the search for a VM with the token in its name. \
         FoundBeforeClaim: there was one already, and nothing was sent. ReadBack, NotConverged: the options that \
         HostUp shows. Answered: HostUp's answer alone. ExecutedUnasked: an estimate was executed. CannotLook: HostUp \
         could not be read. AccountMismatch: the key does not read the VPS any more. JobDeadline: the job did not end \
         in time. Person: a person's answer.",
    )
}

/// A change of options.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedChanges {
    /// The values that are changed, as HostUp showed them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 40, "additionalProperties" = {
        "type": "string", "maxLength": OptionValue::LONGEST_WORD + 1,
    }))]
    pub from: BTreeMap<String, String>,
    /// The values that are ordered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 40, "additionalProperties" = {
        "type": "string", "maxLength": OptionValue::LONGEST_WORD + 1,
    }))]
    pub to: BTreeMap<String, String>,
    /// The spec had been in force before, and drifted.
    #[serde(default)]
    pub corrects_drift: bool,
}

/// The object that a call was made for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SubjectRef {
    /// Its kind.
    #[schemars(length(max = 64))]
    pub kind: String,
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its uid.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Its generation when the call was decided.
    #[schemars(range(min = 0, max = EXACT))]
    pub generation: i64,
}

/// The Secret whose key a call used.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedCredentials {
    /// Its namespace, always the subject's.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(max = 253))]
    pub key: String,
    /// Its resourceVersion when the call was decided. Internal; no API.
    #[schemars(length(max = 64))]
    pub resource_version: String,
}

/// A request, as it is sent.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedRequest {
    /// HTTP method.
    #[schemars(length(max = 8))]
    pub method: String,
    /// Path on the configured origin.
    #[schemars(length(max = 300))]
    pub path: String,
    /// Exact body.
    #[schemars(length(max = 32_768))]
    pub body: String,
}

/// The claim that creating the record is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedClaim {
    /// Fresh for each create call; only that call may send.
    #[schemars(length(max = 64))]
    pub holder: String,
    /// The installation that drives this record.
    #[schemars(length(max = 253))]
    pub instance_id: String,
    /// When it was made.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub made_at: String,
    /// The call starts before this or never.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub send_before: String,
}

/// A person's answer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resolution {
    /// NotExecuted: nothing was bought, a new attempt may follow. Adopt: it was executed; of a restore,
    /// vpsId is the VM. Abandon: leave it.
    pub answer: ResolutionAnswer,
    /// With Adopt of a restore: the VM that was bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub vps_id: Option<String>,
}

/// What is known of the call. Without a state it is Sending.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VpsOperationStatus {
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "state_schema")]
    pub state: Option<OperationState>,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1200))]
    pub message: Option<String>,
    /// HostUp's code, where it answered with an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub code: Option<String>,
    /// HostUp's words, where it answered with an error: what is wrong, and with which field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 800))]
    pub detail: Option<String>,
    /// The id of the request, where HostUp answered with an error. HostUp's support asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub request_id: Option<String>,
    /// HostUp's job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<RecordedJob>,
    /// The VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<VmStatus>,
    /// The VM's size as HostUp shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_size: Option<VmSize>,
    /// The invoice that the order made, or that stands in its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<InvoiceStatus>,
    /// HostUp's refusal suggests to send the order again so that it cancels the invoice.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suggests_cancelling: bool,
    /// What an estimate of the older route came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateStatus>,
    /// What the state rests on. An Unknown record with evidence waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "evidence_schema")]
    pub evidence: Option<OperationEvidence>,
    /// When the call was seen to end, or must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub quiet_since: Option<String>,
    /// When HostUp accepted the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub accepted_time: Option<String>,
    /// When the outcome was final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub completed_time: Option<String>,
    /// After a rate limit: no paid call with this key before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub not_before: Option<String>,
    /// Why a person's answer was not taken; another may be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub resolution_refused: Option<String>,
    /// Ready, Reconciling and Stalled by the rules of kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_false(flag: &bool) -> bool {
    !flag
}

/// An estimate of the older route.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EstimateStatus {
    /// What the order then names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub draft_id: Option<String>,
    /// Due when it is ordered; negative is a credit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub total: Option<String>,
    /// For each billing cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub recurring: Option<String>,
    /// ISO currency code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub currency_code: Option<String>,
}

/// HostUp's job and where to poll it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordedJob {
    /// Its id.
    #[schemars(length(max = 128))]
    pub id: String,
    /// Path on the configured origin.
    #[schemars(length(max = 200))]
    pub poll_url: String,
    /// HostUp's word for where it stands, when this record was written last. The object has it sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub status: Option<String>,
}

/// Where the call stands; absent means Sending. Sending: claimed, it may have been sent. Accepted: HostUp
/// took the order. Succeeded: what was ordered is there. Failed: the job failed. NotSent: nothing left the
/// operator. Rejected: HostUp refused. Unknown: it may have been executed. NotExecuted, Abandoned: a person
/// said so.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationState {
    /// Claimed; it may have been sent.
    Sending,
    /// HostUp took the order.
    Accepted,
    /// What was ordered is there.
    Succeeded,
    /// The job failed.
    Failed,
    /// Nothing left this host.
    NotSent,
    /// HostUp refused.
    Rejected,
    /// It may have been executed.
    Unknown,
    /// A person said that it was not executed.
    NotExecuted,
    /// A person gave it up.
    Abandoned,
}

/// What the state rests on; an Unknown record with evidence waits for a person. Job: the job that the order
/// named. VmFound, NoneFound, SeveralFound, OtherSize: the search for a VM with the token in its name.
/// FoundBeforeClaim: there was one already, and nothing was sent. ReadBack, NotConverged: the options that
/// HostUp shows. Answered: HostUp's answer alone. ExecutedUnasked: an estimate was executed.
/// CannotLook: HostUp could not be read. AccountMismatch: the key does not read the VPS any more. JobDeadline: the job did not end in time.
/// Person: a person's answer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationEvidence {
    /// The job that the order named.
    Job,
    /// One VM bears the token.
    VmFound,
    /// A VM bore the token before anything was claimed; nothing was sent.
    FoundBeforeClaim,
    /// A person's answer.
    Person,
    /// No VM bears the token.
    NoneFound,
    /// Several VMs bear the token.
    SeveralFound,
    /// One VM bears the token, of another size.
    OtherSize,
    /// The key no longer reads the source VPS.
    AccountMismatch,
    /// The job had not ended by its deadline.
    JobDeadline,
    /// HostUp shows the ordered options.
    ReadBack,
    /// HostUp took the order, and does not show the ordered options.
    NotConverged,
    /// HostUp's own answer says so, and there is nothing to read back.
    Answered,
    /// HostUp executed what it was only asked to estimate.
    ExecutedUnasked,
    /// HostUp could not be read when the outcome should have shown.
    CannotLook,
}
