//! `VpsBackupRestore`: this backup has been restored to that target, once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::shared::{
    CredentialsSecretRef, EXACT, GateStatus, JobStatus, OperationRef, QuoteStatus, TIME, VmStatus,
};

/// Restores one backup of a HostUp VPS to a new pay-as-you-go VM, at most once. Without approval it is
/// a preview: it shows the price and spends nothing.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug)]
#[kube(
    group = "vps.hostup.se",
    version = "v1alpha1",
    kind = "VpsBackupRestore",
    plural = "vpsbackuprestores",
    singular = "vpsbackuprestore",
    shortname = "vbr",
    category = "hostup",
    namespaced,
    status = "VpsBackupRestoreStatus",
    doc = "Restores one backup of a HostUp VPS to a new pay-as-you-go VM, at most once. Without approval it is a preview: it shows the price and spends nothing. Deleting it never deletes a VM.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status","description":"True once the VM exists, runs and has an address"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","description":"Why it is or is not ready"}"#,
    printcolumn = r#"{"name":"Price","type":"string","jsonPath":".status.quote.summary","description":"What the new VM costs"}"#,
    printcolumn = r#"{"name":"Job","type":"string","jsonPath":".status.job.status","description":"HostUp's word for where its job stands"}"#,
    printcolumn = r#"{"name":"IP","type":"string","jsonPath":".status.vm.primaryIp","description":"Address of the new VM"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"VM","type":"string","jsonPath":".status.target.name","priority":1,"description":"Name of the new VM at HostUp"}"#,
    printcolumn = r#"{"name":"New-VPS","type":"string","jsonPath":".status.vm.vpsId","priority":1,"description":"The new VM"}"#,
    printcolumn = r#"{"name":"VPS","type":"string","jsonPath":".spec.source.vpsId","priority":1,"description":"The VPS whose backup is restored"}"#,
    printcolumn = r#"{"name":"Progress","type":"integer","jsonPath":".status.job.progress","priority":1,"description":"Per cent, in steps of 25"}"#,
    printcolumn = r#"{"name":"Operation","type":"string","jsonPath":".status.operation.name","priority":1,"description":"The VpsOperation that records the paid call"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1,"description":"What happened and what to do"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VpsBackupRestoreSpec {
    /// The backup to restore. Immutable.
    #[x_kube(validation = ("self == oldSelf", "source cannot be changed: create a VpsBackupRestore with another name"))]
    pub source: RestoreSource,
    /// Where it is restored to. Immutable.
    #[x_kube(validation = ("self == oldSelf", "target cannot be changed: create a VpsBackupRestore with another name"))]
    pub target: RestoreTarget,
    /// A person's consent to the price. Absent means preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<RestoreApproval>,
    /// The Secret with the HostUp API key, in the object's own namespace. Immutable.
    #[serde(default)]
    #[x_kube(validation = ("self == oldSelf", "credentialsSecretRef cannot be changed: put the new key into the same Secret, or create a VpsBackupRestore with another name"))]
    pub credentials_secret_ref: CredentialsSecretRef,
    /// While true nothing is read, claimed or bought; a call that was already sent is still followed.
    #[serde(default)]
    pub suspend: bool,
}

/// Which backup of which VPS.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = by_rule)]
#[x_kube(validation = ("has(self.vpsId)", "give vpsId: the VPS whose backup is restored"))]
#[x_kube(validation = ("has(self.backupId) != has(self.backup)", "give exactly one of backupId (a certain backup) and backup: Latest"))]
pub struct RestoreSource {
    /// The VPS that the backup was made of, as HostUp names it, e.g. vps_01hxa3b4c5d6e7f8g9h0j1k2m3. Required.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub vps_id: String,
    /// The backup, as HostUp names it, e.g. bkp_01hxa3b4c5d6e7f8g9h0j1k2m3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub backup_id: Option<String>,
    /// Latest takes the newest complete backup, resolved once before the quote (status.backup).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupSelector>,
}

/// Latest takes the newest complete backup, resolved once before the quote (status.backup).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupSelector {
    /// The newest complete one.
    Latest,
}

/// What the backup is restored to: exactly one of the members.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = by_rule)]
#[x_kube(validation = ("has(self.cloudVm)", "give cloudVm: a new pay-as-you-go VM; cloudVm: {} takes all sizes from the source VPS"))]
pub struct RestoreTarget {
    /// A new pay-as-you-go VM. Required.
    pub cloud_vm: CloudVm,
}

/// A member that a rule requires, and not the list `required`, so that another member may come beside it.
fn by_rule(schema: &mut Schema) {
    schema.remove("required");
}

/// The new VM. What is not given is taken from the source VPS before the price is shown.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CloudVm {
    /// First part of the VM's name; a token is added by which the VM is found again. Defaults to
    /// the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 40), regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// A region that HostUp offers, e.g. stockholm. Defaults to HostUp's default region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub region: Option<String>,
    /// CPU cores. The gate `limits` tells whether HostUp takes the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub cpu_cores: Option<u32>,
    /// Memory in GB. The gate `limits` tells whether HostUp takes the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub memory_gb: Option<u32>,
    /// Storage in GB; at least the source's storage, the backup's size, and 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub storage_gb: Option<u32>,
}

/// A person's consent: to one quote, to any price up to a ceiling until a moment, or to both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.maxPrice) || has(self.quoteId)", "give maxPrice (a ceiling), quoteId (what status.quote.id shows), or both; either one suffices"))]
#[x_kube(validation = ("!has(self.maxPrice) || has(self.validUntil)", "validUntil is required with maxPrice: a ceiling left in Git must not buy again after a rebuild"))]
pub struct RestoreApproval {
    /// The most that the VM may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<HourlyCeiling>,
    /// The ceiling ends here, e.g. 2026-12-01T00:00:00Z. It has no effect on quoteId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = TIME), extend("format" = "date-time"))]
    pub valid_until: Option<String>,
    /// The quote that status.quote.id shows: that request, at that price or lower. It may stand beside maxPrice, and suffices alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = "^q-[a-z2-7]+$"))]
    pub quote_id: Option<String>,
    /// Who approves: the user name of the one who sets the approval. The chart's policy refuses any other name. The
    /// VpsOperation keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    pub approved_by: Option<String>,
}

/// A ceiling for an hourly price.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HourlyCeiling {
    /// Decimal text, e.g. "0.80".
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub per_hour: String,
    /// ISO currency code, e.g. SEK.
    #[schemars(length(min = 3, max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency_code: String,
}

/// How the restore stands.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VpsBackupRestoreStatus {
    /// The generation that this status was decided from; -1 before the first look.
    #[serde(default)]
    #[schemars(range(min = -1, max = EXACT))]
    pub observed_generation: i64,
    /// Ready, Reconciling and Stalled by the rules of kstatus; GatesPassed, Quoted, Approved and
    /// Submitted for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// What it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<QuoteStatus>,
    /// Every gate that was read, with HostUp's own code and text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub gates: Vec<GateStatus>,
    /// The refused VpsOperation after which a gate was seen closed; once all are open the order may be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub gates_closed_after: Option<String>,
    /// The backup that is restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// The VM that would be ordered, or was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetStatus>,
    /// The record of the paid call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationRef>,
    /// HostUp's job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobStatus>,
    /// The new VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmStatus>,
    /// The value of the annotation reconcile.fluxcd.io/requestedAt that the operator has acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub last_handled_reconcile_at: Option<String>,
}

/// More of anything is shown as so much: a status must not be refused for it.
pub const MOST: u32 = 1_000_000;

/// A VM as it is ordered. A public IPv4 address is part of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Its name at HostUp: the name of the spec or of the object, and a token by which the VM is found again.
    #[schemars(length(max = 80))]
    pub name: String,
    /// Where it is made; absent where HostUp decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub region: Option<String>,
    /// Cores.
    #[schemars(range(min = 0, max = MOST))]
    pub cpu_cores: u32,
    /// Memory in GB.
    #[schemars(range(min = 0, max = MOST))]
    pub memory_gb: u32,
    /// Disk in GB.
    #[schemars(range(min = 0, max = MOST))]
    pub storage_gb: u32,
}

/// A backup at HostUp.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// Its id.
    #[schemars(length(max = 64))]
    pub id: String,
    /// When it was made.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub created_at: String,
    /// Its size in GB.
    #[schemars(length(max = 40))]
    pub size_gb: String,
}
