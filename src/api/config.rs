//! `VpsResourceConfig`: keeps the paid options of a VPS in sync with the spec.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    BackupFirstStatus, CredentialsSecretRef, EXACT, GateStatus, InvoiceStatus, OperationRef, QuoteStatus,
    TIME,
};
use crate::domain::provider::options::OptionValue;

/// The most characters of an option's value that a status shows; one more says that the value was cut.
pub const SHOWN_VALUE: usize = 64;

/// Keeps the paid options of a HostUp VPS in sync with the spec. Without an approval it is a preview: it shows
/// the price of the change and spends nothing.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug)]
#[kube(
    group = "vps.hostup.se",
    version = "v1alpha1",
    kind = "VpsResourceConfig",
    plural = "vpsresourceconfigs",
    singular = "vpsresourceconfig",
    shortname = "vrc",
    category = "hostup",
    namespaced,
    status = "VpsResourceConfigStatus",
    doc = "Keeps the paid options of a HostUp VPS in sync with the spec. Without an approval it is a preview: it shows the price of the change and spends nothing. Deleting it changes nothing at HostUp.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status","description":"True while the VPS has the options of the spec"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","description":"The reason of the condition Ready"}"#,
    printcolumn = r#"{"name":"VPS","type":"string","jsonPath":".status.vpsId","description":"The VPS"}"#,
    printcolumn = r#"{"name":"Price","type":"string","jsonPath":".status.quote.summary","description":"The price of the change"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Invoice","type":"string","jsonPath":".status.invoice.id","priority":1,"description":"The invoice of the last change"}"#,
    printcolumn = r#"{"name":"Operation","type":"string","jsonPath":".status.operation.name","priority":1,"description":"The VpsOperation that records the paid call"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1,"description":"The message of the condition Ready: what happened and what to do"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("[has(self.vpsId), has(self.vpsName), has(self.legacy)].filter(given, given).size() == 1", "set either vpsId (or vpsName) with resources or cloudVm, or legacy"))]
#[x_kube(validation = ("[has(self.resources), has(self.cloudVm)].filter(given, given).size() == (has(self.legacy) ? 0 : 1)", "set vpsId (or vpsName) together with exactly one of resources and cloudVm: the options of a VPS, or the size of a pay-as-you-go VM"))]
#[x_kube(validation = ("!has(self.approval) || !has(self.approval.maxPrice) || has(self.approval.maxPrice.perHour) == has(self.cloudVm)", "set maxPrice.perHour with cloudVm, and only with cloudVm: a pay-as-you-go VM is billed by the hour"))]
#[x_kube(validation = ("!has(self.cloudVm) || !has(self.approval) || !has(self.approval.maxPrice) || !(has(self.approval.maxPrice.dueNow) || has(self.approval.maxPrice.perMonth))", "cloudVm does not support maxPrice.dueNow and maxPrice.perMonth: a pay-as-you-go VM is billed by the hour"))]
#[x_kube(validation = ("!has(self.vpsName) || !has(self.approval) || !has(self.approval.maxPrice) || has(self.approval.validUntil)", "validUntil is required with maxPrice and vpsName: after a rebuild, another VPS may have the name"))]
#[x_kube(validation = ("has(self.vpsId) == has(oldSelf.vpsId) && (!has(self.vpsId) || self.vpsId == oldSelf.vpsId)", "vpsId cannot be changed: create a VpsResourceConfig with another name"))]
#[x_kube(validation = ("has(self.vpsName) == has(oldSelf.vpsName) && (!has(self.vpsName) || self.vpsName == oldSelf.vpsName)", "vpsName cannot be changed: create a VpsResourceConfig with another name"))]
#[x_kube(validation = ("has(self.legacy) == has(oldSelf.legacy) && (!has(self.legacy) || self.legacy == oldSelf.legacy)", "legacy cannot be changed because it is ordered once: create a VpsResourceConfig with another name"))]
#[x_kube(validation = ("!has(self.cloudVm) || !self.cancelExistingInvoice", "cloudVm does not support cancelExistingInvoice: remove it"))]
#[x_kube(validation = ("!has(self.legacy) || (self.driftPolicy == 'Report' && !self.cancelExistingInvoice && !self.backupFirst)", "legacy does not support driftPolicy, cancelExistingInvoice and backupFirst: remove them"))]
pub struct VpsResourceConfigSpec {
    /// The id of the VPS at HostUp, e.g. vps_01hxa3b4c5d6e7f8g9h0j1k2m3. Required unless vpsName or legacy is set.
    /// Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub vps_id: Option<String>,
    /// The exact display name of the VPS at HostUp, instead of vpsId. Exactly one VPS of the account must have it. The
    /// operator resolves it once, and status.vpsId shows the VPS; a later change of the name has no effect. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    pub vps_name: Option<String>,
    /// The options that the VPS should have. The operator does not change options that are not set here. Required
    /// with vpsId or vpsName, unless cloudVm is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = kube::core::MapMerge::Atomic)]
    pub resources: Option<Resources>,
    /// The size that a pay-as-you-go VM should have, instead of resources. HostUp may restart the VM for a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_vm: Option<CloudVmSize>,
    /// One order through the legacy API, instead of a VPS and resources. The operator's admin must enable the legacy
    /// API with --enable-legacy-upgrade. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = kube::core::MapMerge::Atomic)]
    pub legacy: Option<LegacyOrder>,
    /// Approves the price. If absent, the object is a preview and nothing is bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ConfigApproval>,
    /// Whether a change that HostUp refused because of an open invoice may cancel that invoice. The operator cancels it
    /// only after a user has approved the quote that names the invoice, by its quoteId.
    #[serde(default)]
    pub cancel_existing_invoice: bool,
    /// The reaction when the options are changed elsewhere. Report shows the drift. Correct orders the options
    /// again under the current approval, once for the same drifted values.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// If true, the operator makes a backup of the VPS before each change, under the same approval, and sends the change
    /// only after the backup is complete. The backup takes a place of the VPS's backup quota.
    #[serde(default)]
    pub backup_first: bool,
    /// The Secret with the HostUp API key. It must be in the namespace of the object.
    #[serde(default)]
    pub credentials_secret_ref: CredentialsSecretRef,
    /// If true, the operator reads, claims and buys nothing for the object. It still follows a call that was already
    /// sent.
    #[serde(default)]
    pub suspend: bool,
}

impl VpsResourceConfig {
    /// The id of the VPS; `None` for a legacy order, and before the name of the spec is resolved.
    pub fn vps(&self) -> Option<&str> {
        let status = self.status.as_ref().filter(|_| self.spec.vps_name.is_some());
        let resolved = status.and_then(|status| status.vps_id.as_deref());
        self.spec.vps_id.as_deref().or(resolved)
    }
}

/// Options of a VPS. Options that are not set stay as they are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.bandwidthGb) || has(self.backupSlots) || has(self.snapshotSlots) || has(self.ipv4Count) || has(self.additionalStorageGb) || has(self.storageGb) || has(self.ipv6) || (has(self.extra) && size(self.extra) > 0)", "set at least one option"))]
pub struct Resources {
    /// Traffic in GB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub bandwidth_gb: Option<u32>,
    /// The number of backups that HostUp keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub backup_slots: Option<u32>,
    /// The number of snapshots that HostUp keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub snapshot_slots: Option<u32>,
    /// The number of IPv4 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub ipv4_count: Option<u32>,
    /// Storage in GB, in addition to the storage of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub additional_storage_gb: Option<u32>,
    /// The size of the main disk in GB, if HostUp offers it as an option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub storage_gb: Option<u32>,
    /// Whether the VPS has IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<bool>,
    /// Options that have no field of their own: HostUp's key of the option, and a whole number or a text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {
        "x-kubernetes-int-or-string": true, "minimum": i32::MIN, "maximum": i32::MAX,
        "maxLength": OptionValue::LONGEST_WORD,
    }))]
    #[x_kube(validation = ("self.all(k, k.matches('^[A-Za-z][A-Za-z0-9_-]{0,63}$'))", "a key of extra must be HostUp's name of an option: a letter, then at most 63 letters, digits, _ and -"))]
    #[x_kube(validation = ("self.all(k, !(k in ['bandwidthGb', 'backupSlots', 'snapshotSlots', 'ipv4Count', 'additionalStorageGb', 'storageGb', 'ipv6']))", "set an option that has its own field in that field, not in extra"))]
    pub extra: BTreeMap<String, IntOrString>,
}

/// The size of a pay-as-you-go VM. Its disk keeps its size.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CloudVmSize {
    /// The number of CPU cores.
    #[schemars(range(min = 1, max = 32))]
    pub cpu_cores: u32,
    /// Memory in GB.
    #[schemars(range(min = 1, max = 256))]
    pub memory_gb: u32,
}

/// The reaction when the options are changed elsewhere.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftPolicy {
    /// Show the drift.
    #[default]
    Report,
    /// Order the options again.
    Correct,
}

/// An order through the legacy API.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LegacyOrder {
    /// The number of the VPS.
    #[schemars(range(min = 1, max = 4_000_000_000_i64))]
    pub vmid: u32,
    /// The values of the options, by the number of the option, e.g. {"2231": 400}.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 20, "additionalProperties" = {
        "type": "integer", "format": "uint32", "minimum": u32::MIN, "maximum": u32::MAX,
    }))]
    #[x_kube(validation = ("self.all(k, k.matches('^[0-9]{1,10}$'))", "a key of legacy.resources must be the number of an option"))]
    pub resources: BTreeMap<String, u32>,
    /// HostUp's code of the billing cycle, e.g. m. If absent, the order contains none, and the recurring price cannot be
    /// compared with a ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), regex(pattern = "^[a-z0-9]+$"))]
    pub cycle: Option<String>,
    /// The number of another product, e.g. 1937. If absent, the order contains none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10), regex(pattern = "^[0-9]+$"))]
    pub package: Option<String>,
}

/// An approval of one quote, of any price up to a ceiling, or of both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.maxPrice) || has(self.quoteId)", "set maxPrice (a ceiling), quoteId (the value of status.quote.id), or both; either one suffices"))]
pub struct ConfigApproval {
    /// Approves every change at or below this price. A change that lowers a value needs a quoteId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<ChangeCeiling>,
    /// The time until which maxPrice is valid, e.g. 2026-12-01T00:00:00Z. If absent, maxPrice does not expire.
    /// Required with maxPrice if spec.vpsName is set. It has no effect on quoteId.
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

/// The maximum price of a change of options, or of a VM with another size.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ChangeCeiling {
    /// With cloudVm: the maximum price of an hour of the VM with its new size, as decimal text, e.g. "0.80".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub per_hour: Option<String>,
    /// The maximum amount due at once, as decimal text, e.g. "40.00". If absent, 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub due_now: Option<String>,
    /// The maximum amount for each month, as decimal text, e.g. "50.00". If absent, 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub per_month: Option<String>,
    /// The ISO 4217 currency code, e.g. SEK.
    #[schemars(length(min = 3, max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency_code: String,
}

/// The observed state of the options.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VpsResourceConfigStatus {
    /// The generation of the spec that this status is based on; -1 before the first reconcile.
    #[serde(default)]
    #[schemars(range(min = -1, max = EXACT))]
    pub observed_generation: i64,
    /// Ready, Reconciling and Stalled follow the rules of kstatus. GatesPassed, Quoted, Approved, Submitted and Drifted
    /// are for users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The id of the VPS at HostUp. If spec.vpsName is set, the VPS that had the name when the operator first read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub vps_id: Option<String>,
    /// The current options of the VPS, or the current size of the pay-as-you-go VM, as HostUp shows them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": SHOWN_VALUE + 1}))]
    pub current: BTreeMap<String, String>,
    /// Hash of the options of the spec when HostUp last showed them all in force. Internal; a later difference is drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub in_force: Option<String>,
    /// Hash of the options for which HostUp answered a dry run as if it had committed it. The operator does not request
    /// them again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub committed_dry_run: Option<String>,
    /// The price of the change.
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
    /// The VpsOperation that records the last paid call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationRef>,
    /// The last backup that the operator made for spec.backupFirst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_first: Option<BackupFirstStatus>,
    /// The invoice that the change created, or the open invoice that blocks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<InvoiceStatus>,
    /// The last value of the annotation reconcile.fluxcd.io/requestedAt that the operator acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub last_handled_reconcile_at: Option<String>,
}
