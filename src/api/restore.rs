//! `VpsBackupRestore`: restores a backup to a target, once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    BackupFirstStatus, CredentialsSecretRef, EXACT, GateStatus, JobStatus, OperationRef, QuoteStatus, TIME,
    VmStatus,
};

/// Restores one backup of a HostUp VPS to a new pay-as-you-go VM, at most once. Without an approval it is
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
    doc = "Restores one backup of a HostUp VPS to a new pay-as-you-go VM, at most once. Without an approval it is a preview: it shows the price and spends nothing. Deleting it never deletes a VM.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status","description":"True once the VM exists, runs and has an address"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","description":"The reason of the condition Ready"}"#,
    printcolumn = r#"{"name":"Price","type":"string","jsonPath":".status.quote.summary","description":"The price of the new VM"}"#,
    printcolumn = r#"{"name":"Job","type":"string","jsonPath":".status.job.status","description":"The status of the job, as HostUp names it"}"#,
    printcolumn = r#"{"name":"IP","type":"string","jsonPath":".status.vm.primaryIp","description":"The IP address of the new VM"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"VM","type":"string","jsonPath":".status.target.name","priority":1,"description":"The name of the new VM at HostUp"}"#,
    printcolumn = r#"{"name":"New-VPS","type":"string","jsonPath":".status.vm.vpsId","priority":1,"description":"The id of the new VM"}"#,
    printcolumn = r#"{"name":"VPS","type":"string","jsonPath":".status.source.vpsId","priority":1,"description":"The VPS whose backup is restored"}"#,
    printcolumn = r#"{"name":"Backup","type":"date","jsonPath":".status.backup.createdAt","priority":1,"description":"The age of the backup"}"#,
    printcolumn = r#"{"name":"Progress","type":"integer","jsonPath":".status.job.progress","priority":1,"description":"The progress of the job in percent, in steps of 25"}"#,
    printcolumn = r#"{"name":"Operation","type":"string","jsonPath":".status.operation.name","priority":1,"description":"The VpsOperation that records the paid call"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1,"description":"The message of the condition Ready: what happened and what to do"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!self.backupFirst || has(self.target.existingVps)", "backupFirst needs target.existingVps: a new VM has nothing to back up"))]
#[x_kube(validation = ("!has(self.target.existingVps) || !has(self.approval) || !has(self.approval.maxPrice)", "existingVps does not support approval.maxPrice, because it destroys data: set approval.quoteId"))]
pub struct VpsBackupRestoreSpec {
    /// The backup to restore. Immutable.
    #[x_kube(validation = ("self == oldSelf", "source cannot be changed: create a VpsBackupRestore with another name"))]
    #[x_kube(merge_strategy = kube::core::MapMerge::Atomic)]
    pub source: RestoreSource,
    /// The target of the restore. Immutable.
    #[x_kube(validation = ("self == oldSelf", "target cannot be changed: create a VpsBackupRestore with another name"))]
    #[x_kube(merge_strategy = kube::core::MapMerge::Atomic)]
    pub target: RestoreTarget,
    /// Approves the price. If absent, the object is a preview and nothing is bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<RestoreApproval>,
    /// If true, the operator makes a backup of the existing VPS before it overwrites the disk, under the same approval, and
    /// sends the restore only after the backup is complete. The backup takes a place of the VPS's backup quota.
    #[serde(default)]
    pub backup_first: bool,
    /// The Secret with the HostUp API key. It must be in the namespace of the object. Immutable.
    #[serde(default)]
    #[x_kube(validation = ("self == oldSelf", "credentialsSecretRef cannot be changed: put the new key into the same Secret, or create a VpsBackupRestore with another name"))]
    pub credentials_secret_ref: CredentialsSecretRef,
    /// If true, the operator reads, claims and buys nothing for the object. It still follows a call that was already
    /// sent.
    #[serde(default)]
    pub suspend: bool,
    /// The place where the operator writes the id, the name and the address of the new VM once it runs. If absent, only
    /// status.vm shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_outputs_to: Option<Outputs>,
}

/// A place for the data of the new VM.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Outputs {
    /// The name of a ConfigMap in the namespace of the object. The operator creates it with the keys vpsId, name, primaryIp
    /// and operation. It belongs to the object and is deleted with it. The operator does not change a ConfigMap that
    /// belongs to somebody else.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub config_map: String,
}

/// A backup of a VPS.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.vpsId) != has(self.vpsName)", "set either vpsId or vpsName: the VPS whose backup is restored"))]
#[x_kube(validation = ("[has(self.backupId), has(self.backup), has(self.backupSelector)].filter(given, given).size() == 1", "set exactly one of backupId (a specific backup), backup: Latest, and backupSelector (the newest backup that fits)"))]
#[x_kube(validation = ("!has(self.maxAge) || !has(self.backupSelector)", "set maxAge in backupSelector"))]
pub struct RestoreSource {
    /// The id of the VPS that the backup was made of, e.g. vps_01hxa3b4c5d6e7f8g9h0j1k2m3. Set either vpsId or vpsName.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub vps_id: Option<String>,
    /// The exact display name of that VPS at HostUp. Exactly one VPS of the account must have it. The operator resolves
    /// it once, before the quote, and status.source shows the VPS; a later change of the name has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    pub vps_name: Option<String>,
    /// The id of the backup at HostUp, e.g. bkp_01hxa3b4c5d6e7f8g9h0j1k2m3. Set exactly one of backupId, backup and
    /// backupSelector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub backup_id: Option<String>,
    /// Latest selects the newest complete backup. The operator resolves it once, before the quote, and status.backup shows
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Latest>,
    /// Selects the newest complete backup that fits all members. The operator resolves it once, before the quote, and
    /// status.backup shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_selector: Option<BackupSelector>,
    /// The maximum age of the backup when it is ordered, e.g. 36h or 7d. If the backup is older, the gate backupAge is
    /// closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = AGE))]
    pub max_age: Option<String>,
}

/// Minutes, hours or days.
const AGE: &str = "^[1-9][0-9]{0,5}[mhd]$";

/// A condition for backups. {} fits every complete backup.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BackupSelector {
    /// The backup was made before this time, e.g. 2026-11-20T08:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = TIME), extend("format" = "date-time"))]
    pub before: Option<String>,
    /// The maximum age of the backup, e.g. 36h or 7d, when it is selected and when it is ordered. If it becomes older
    /// before the order, the gate backupAge is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = AGE))]
    pub max_age: Option<String>,
    /// The type of the backup at HostUp: manual or scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^(manual|scheduled)$"))]
    pub r#type: Option<String>,
    /// The exact note of the backup at HostUp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    pub note: Option<String>,
}

/// Latest selects the newest complete backup. The operator resolves it once, before the quote, and status.backup shows
/// it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latest {
    /// The newest complete backup.
    Latest,
}

/// The target of a restore. Set exactly one member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.cloudVm) != has(self.existingVps)", "set either cloudVm (a new pay-as-you-go VM; cloudVm: {} takes all sizes from the source VPS) or existingVps (a VPS whose disk is overwritten)"))]
pub struct RestoreTarget {
    /// A new pay-as-you-go VM. {} takes all sizes from the source VPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_vm: Option<CloudVm>,
    /// An existing VPS. The restore costs nothing, and destroys the present data of its disk. Only a quoteId approves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_vps: Option<ExistingVps>,
}

/// A VPS whose disk is overwritten.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.vpsId) != has(self.vpsName)", "set either vpsId or vpsName: the VPS whose disk is overwritten"))]
pub struct ExistingVps {
    /// The id of the VPS, e.g. vps_01hxa3b4c5d6e7f8g9h0j1k2m3. Set either vpsId or vpsName. If it is the source VPS, the
    /// operator's admin must enable restores in place with --enable-in-place-restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub vps_id: Option<String>,
    /// The exact display name of the VPS at HostUp. Exactly one VPS of the account must have it. The operator resolves it
    /// once, before the quote, and status.target shows the VPS; a later change of the name has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    pub vps_name: Option<String>,
}

/// The new VM. The source VPS provides the sizes that are not set, before the price is shown.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CloudVm {
    /// The first part of the VM's name. The operator appends a token, by which it finds the VM again. If absent, the name
    /// of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 40), regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// A region that HostUp offers, e.g. stockholm. If absent, HostUp's default region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub region: Option<String>,
    /// The number of CPU cores. The gate `limits` shows whether HostUp accepts it. If absent, that of the source VPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub cpu_cores: Option<u32>,
    /// Memory in GB. The gate `limits` shows whether HostUp accepts it. If absent, that of the source VPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub memory_gb: Option<u32>,
    /// Storage in GB; at least the storage of the source VPS, the size of the backup, and 50. If absent, this minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub storage_gb: Option<u32>,
}

/// An approval of one quote, of any price up to a ceiling until a time, or of both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.maxPrice) || has(self.quoteId)", "set maxPrice (a ceiling), quoteId (the value of status.quote.id), or both; either one suffices"))]
#[x_kube(validation = ("!has(self.maxPrice) || has(self.validUntil)", "validUntil is required with maxPrice: a ceiling left in Git must not buy again after a rebuild"))]
pub struct RestoreApproval {
    /// Approves the purchase at or below this price, until validUntil.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<HourlyCeiling>,
    /// The time until which maxPrice is valid, e.g. 2026-12-01T00:00:00Z. Required with maxPrice. It has no effect on
    /// quoteId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = TIME), extend("format" = "date-time"))]
    pub valid_until: Option<String>,
    /// The id of the approved quote, as status.quote.id shows it. It approves that request at that price or a lower one,
    /// with or without maxPrice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = "^q-[a-z2-7]+$"))]
    pub quote_id: Option<String>,
    /// The name of the user who sets the approval: of the quote if quoteId is set, otherwise of the ceiling. The chart's
    /// policy refuses any other name. The VpsOperation records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    pub approved_by: Option<String>,
}

/// The maximum hourly price.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HourlyCeiling {
    /// The maximum price of an hour, as decimal text, e.g. "0.80".
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub per_hour: String,
    /// The ISO 4217 currency code, e.g. SEK.
    #[schemars(length(min = 3, max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency_code: String,
}

/// The observed state of the restore.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VpsBackupRestoreStatus {
    /// The generation of the spec that this status is based on; -1 before the first reconcile.
    #[serde(default)]
    #[schemars(range(min = -1, max = EXACT))]
    pub observed_generation: i64,
    /// Ready, Reconciling and Stalled follow the rules of kstatus. GatesPassed, Quoted, Approved, Submitted,
    /// VmPresent and OutputsWritten are for users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The price of the new VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<QuoteStatus>,
    /// All gates that the operator read, with HostUp's code and text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub gates: Vec<GateStatus>,
    /// The name of the refused VpsOperation after which a gate was closed. Once all gates are open, the order may be sent
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub gates_closed_after: Option<String>,
    /// The VPS whose backup is restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// The backup that the spec selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// The VM that the operator would order or overwrite, or that it has ordered or overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetStatus>,
    /// The VpsOperation that records the paid call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationRef>,
    /// The last backup that the operator made for spec.backupFirst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_first: Option<BackupFirstStatus>,
    /// HostUp's job that creates the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobStatus>,
    /// The VM that was restored to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmStatus>,
    /// The last value of the annotation reconcile.fluxcd.io/requestedAt that the operator acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub last_handled_reconcile_at: Option<String>,
}

/// The VPS whose backup is restored.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The id of the VPS at HostUp.
    #[schemars(length(max = 64))]
    pub vps_id: String,
}

/// A status shows larger numbers as this one, so that the API server does not refuse the status.
pub const MOST: u32 = 1_000_000;

/// The target of a restore: a new VM, as the operator orders it (it includes a public IPv4 address), or an existing VPS.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The name of the new VM: the name from the spec or of the object, and a token by which the operator finds the VM
    /// again. Or the name of the existing VPS.
    #[schemars(length(max = 80))]
    pub name: String,
    /// The id of the existing VPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub vps_id: Option<String>,
    /// The region of the VM. If absent, HostUp decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub region: Option<String>,
    /// The number of CPU cores of the new VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MOST))]
    pub cpu_cores: Option<u32>,
    /// Memory of the new VM in GB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MOST))]
    pub memory_gb: Option<u32>,
    /// Storage of the new VM in GB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MOST))]
    pub storage_gb: Option<u32>,
}

/// A backup at HostUp.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// The id of the backup.
    #[schemars(length(max = 64))]
    pub id: String,
    /// The time at which the backup was created.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub created_at: String,
    /// The size of the backup in GB.
    #[schemars(length(max = 40))]
    pub size_gb: String,
    /// The type of the backup, as HostUp names it: manual or scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 48))]
    pub r#type: Option<String>,
    /// The note of the backup at HostUp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 240))]
    pub note: Option<String>,
}
