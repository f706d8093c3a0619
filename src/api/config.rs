//! `VpsResourceConfig`: this VPS has these paid options, kept true.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    CredentialsSecretRef, EXACT, GateStatus, InvoiceStatus, OperationRef, QuoteStatus, TIME,
};
use crate::domain::provider::options::OptionValue;

/// Most characters of an option's value that a status shows; one more says that there were others.
pub const SHOWN_VALUE: usize = 64;

/// Keeps the paid options of a HostUp VPS as written. Without approval it is a preview: it shows what
/// the change costs and spends nothing.
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
    doc = "Keeps the paid options of a HostUp VPS as written. Without approval it is a preview: it shows what the change costs and spends nothing. Deleting it changes nothing at HostUp.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status","description":"True while the VPS has the options of the spec"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","description":"Why it is or is not ready"}"#,
    printcolumn = r#"{"name":"VPS","type":"string","jsonPath":".spec.vpsId","description":"The VPS whose options are kept"}"#,
    printcolumn = r#"{"name":"Price","type":"string","jsonPath":".status.quote.summary","description":"What the change costs"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Invoice","type":"string","jsonPath":".status.invoice.id","priority":1,"description":"The invoice of the last change"}"#,
    printcolumn = r#"{"name":"Operation","type":"string","jsonPath":".status.operation.name","priority":1,"description":"The VpsOperation that records the paid call"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1,"description":"What happened and what to do"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.vpsId) != has(self.legacy)", "give either vpsId with resources, or legacy"))]
#[x_kube(validation = ("has(self.vpsId) == has(self.resources)", "vpsId and resources belong together: which VPS, and which options it should have"))]
#[x_kube(validation = ("has(self.vpsId) == has(oldSelf.vpsId) && (!has(self.vpsId) || self.vpsId == oldSelf.vpsId)", "vpsId cannot be changed: create a VpsResourceConfig with another name"))]
#[x_kube(validation = ("has(self.legacy) == has(oldSelf.legacy) && (!has(self.legacy) || self.legacy == oldSelf.legacy)", "legacy cannot be changed, for it is ordered once: create a VpsResourceConfig with another name"))]
#[x_kube(validation = ("!has(self.legacy) || (self.driftPolicy == 'Report' && !self.cancelExistingInvoice)", "legacy knows neither driftPolicy nor cancelExistingInvoice: leave them out"))]
pub struct VpsResourceConfigSpec {
    /// The VPS, as HostUp names it, e.g. vps_01hxa3b4c5d6e7f8g9h0j1k2m3. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub vps_id: Option<String>,
    /// The options that the VPS should have. Options that are not named are left as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Instead of vpsId and resources: one order of the older upgrade route, which the operator's admin
    /// must have enabled. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<LegacyOrder>,
    /// A person's consent to the price. Absent means preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ConfigApproval>,
    /// Lets a change that HostUp refused for an open invoice cancel that invoice, once the quote that names
    /// the invoice was approved by its quoteId.
    #[serde(default)]
    pub cancel_existing_invoice: bool,
    /// What to do when the options are changed elsewhere: Report shows it, Correct orders them again under
    /// the approval that stands, once for each value drifted from.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// The Secret with the HostUp API key, in the object's own namespace.
    #[serde(default)]
    pub credentials_secret_ref: CredentialsSecretRef,
    /// While true nothing is read, claimed or bought; a call that was already sent is still followed.
    #[serde(default)]
    pub suspend: bool,
}

/// Options of a VPS by HostUp's names (config page).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.bandwidthGb) || has(self.backupSlots) || has(self.snapshotSlots) || has(self.ipv4Count) || has(self.additionalStorageGb) || has(self.storageGb) || has(self.ipv6) || (has(self.extra) && size(self.extra) > 0)", "name at least one option"))]
pub struct Resources {
    /// Traffic in GB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub bandwidth_gb: Option<u32>,
    /// Backups that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub backup_slots: Option<u32>,
    /// Snapshots that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub snapshot_slots: Option<u32>,
    /// IPv4 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub ipv4_count: Option<u32>,
    /// Storage in GB beside that of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub additional_storage_gb: Option<u32>,
    /// The main disk in GB, where HostUp offers it as an option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub storage_gb: Option<u32>,
    /// Whether it has IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<bool>,
    /// Options that have no field here yet, by HostUp's key: a whole number or a text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {
        "x-kubernetes-int-or-string": true, "minimum": i32::MIN, "maximum": i32::MAX,
        "maxLength": OptionValue::LONGEST_WORD,
    }))]
    #[x_kube(validation = ("self.all(k, k.matches('^[A-Za-z][A-Za-z0-9_-]{0,63}$'))", "a key of extra is HostUp's name of an option: letters, digits, _ and -, at most 64"))]
    #[x_kube(validation = ("self.all(k, !(k in ['bandwidthGb', 'backupSlots', 'snapshotSlots', 'ipv4Count', 'additionalStorageGb', 'storageGb', 'ipv6']))", "write an option that has a field of its own in that field, not in extra"))]
    pub extra: BTreeMap<String, IntOrString>,
}

/// What happens to drift.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftPolicy {
    /// It is shown.
    #[default]
    Report,
    /// The options are ordered again.
    Correct,
}

/// An order of the older upgrade route.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LegacyOrder {
    /// The VPS, by its number.
    #[schemars(range(min = 1, max = 4_000_000_000_i64))]
    pub vmid: u32,
    /// Options by their numbers, e.g. {"2231": 400}.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 20, "additionalProperties" = {
        "type": "integer", "format": "uint32", "minimum": u32::MIN, "maximum": u32::MAX,
    }))]
    #[x_kube(validation = ("self.all(k, k.matches('^[0-9]{1,10}$'))", "a key of legacy.resources is the number of an option"))]
    pub resources: BTreeMap<String, u32>,
    /// The billing cycle in HostUp's letters, e.g. m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), regex(pattern = "^[a-z0-9]+$"))]
    pub cycle: Option<String>,
    /// The number of a product, e.g. 1937.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10), regex(pattern = "^[0-9]+$"))]
    pub package: Option<String>,
}

/// A person's consent: to one quote, to any price up to a ceiling, or to both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.maxPrice) || has(self.quoteId)", "give maxPrice (a ceiling), quoteId (what status.quote.id shows), or both; either one suffices"))]
pub struct ConfigApproval {
    /// The most that a change may cost. A change that lowers a value needs a quoteId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<ChangeCeiling>,
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

/// A ceiling for a change of options.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ChangeCeiling {
    /// At once, as decimal text, e.g. "40.00"; absent means 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub due_now: Option<String>,
    /// For each month, as decimal text, e.g. "50.00"; absent means 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub per_month: Option<String>,
    /// ISO currency code, e.g. SEK.
    #[schemars(length(min = 3, max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency_code: String,
}

/// How the options stand.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VpsResourceConfigStatus {
    /// The generation that this status was decided from; -1 before the first look.
    #[serde(default)]
    #[schemars(range(min = -1, max = EXACT))]
    pub observed_generation: i64,
    /// Ready, Reconciling and Stalled by the rules of kstatus; GatesPassed, Quoted, Approved, Submitted
    /// and Drifted for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// The options of the VPS as HostUp shows them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": SHOWN_VALUE + 1}))]
    pub current: BTreeMap<String, String>,
    /// Hash of the options that were last seen in force as the spec names them; what differs from them
    /// later is drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub in_force: Option<String>,
    /// Hash of options whose dry run HostUp answered as if it had committed it; they are not asked for
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub committed_dry_run: Option<String>,
    /// What the change costs.
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
    /// The record of the last paid call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationRef>,
    /// The invoice that it made, or that stands in its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<InvoiceStatus>,
    /// The value of the annotation reconcile.fluxcd.io/requestedAt that the operator has acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub last_handled_reconcile_at: Option<String>,
}
