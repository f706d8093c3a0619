//! Parts that the kinds have in common.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest whole number that every reader of JSON takes as it is.
pub(super) const EXACT: i64 = 9_007_199_254_740_991;

/// RFC 3339, which the API server's own `date-time` holds less strictly.
pub(super) const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// The annotation by which a person holds the purchases of an object, of a Namespace, or (on the operator's Namespace) all.
pub const HOLD: &str = "vps.hostup.se/hold";

/// The annotation by which Flux, Argo CD's action and people ask for a look; the status echoes its value.
pub const RECONCILE_REQUESTED: &str = "reconcile.fluxcd.io/requestedAt";

/// Whether annotations hold purchases: every value does but `false`.
pub fn is_held(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(HOLD).is_some_and(|value| value != "false")
}

/// A Secret with an API key. It has no namespace: it is always the object's own.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase", default)]
pub struct CredentialsSecretRef {
    /// Name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Key in the Secret that holds the HostUp API key.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub key: String,
}

impl Default for CredentialsSecretRef {
    fn default() -> Self {
        Self {
            name: "hostup-api".to_owned(),
            key: "token".to_owned(),
        }
    }
}

/// One gate as HostUp gave it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Which gate: canRestore, canConvertToCloud, canDeploy, region, limits, storage, canCommit, noOpenInvoice or
    /// canChange.
    #[schemars(length(max = 32))]
    pub name: String,
    /// Whether it is open.
    pub allowed: bool,
    /// HostUp's code; it alone does not close a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub code: Option<String>,
    /// HostUp's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub reason: Option<String>,
}

/// HostUp's job.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// Its id.
    #[schemars(length(max = 128))]
    pub id: String,
    /// HostUp's word for where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub status: Option<String>,
    /// Per cent, in steps of 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub progress: Option<u8>,
}

/// The new VM.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VmStatus {
    /// Its id at HostUp.
    #[schemars(length(max = 64))]
    pub vps_id: String,
    /// Its name at HostUp.
    #[schemars(length(max = 100))]
    pub name: String,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub primary_ip: Option<String>,
}

/// The size of a VM.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VmSize {
    /// CPU cores.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub cpu_cores: u32,
    /// Memory in GB.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub memory_gb: u32,
    /// Storage in GB.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub storage_gb: u32,
}

/// What a person answers to an unknown outcome.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolutionAnswer {
    /// HostUp did not execute it; a new attempt may follow.
    NotExecuted,
    /// HostUp executed it, and `vpsId` is the VM.
    Adopt,
    /// Leave it; nothing follows.
    Abandon,
}

/// A quote: what is approved when spec.approval.quoteId names it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct QuoteStatus {
    /// What spec.approval.quoteId names.
    #[schemars(length(max = 32))]
    pub id: String,
    /// Short text, e.g. 0.66 SEK/h.
    #[schemars(length(max = 160))]
    pub summary: String,
    /// ISO currency code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub currency_code: Option<String>,
    /// For one hour, IPv4 included, traffic excluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub per_hour: Option<String>,
    /// For one month: recurringPerMonth or estimatedPerMonth, whichever there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub per_month: Option<String>,
    /// What 730 hours cost at perHour: an estimate, for the VM is billed by the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub estimated_per_month: Option<String>,
    /// Billed for each month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub recurring_per_month: Option<String>,
    /// For one billing cycle, where its length is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub per_cycle: Option<String>,
    /// Due when it is ordered; negative is a credit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub due_now: Option<String>,
}

/// An invoice at HostUp.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceStatus {
    /// Its id; absent where HostUp names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub id: Option<String>,
    /// What is to be paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub amount: Option<String>,
    /// ISO currency code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub currency_code: Option<String>,
    /// When it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub due_at: Option<String>,
}

/// The record of the last paid call.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OperationRef {
    /// Name of the VpsOperation.
    #[schemars(length(max = 64))]
    pub name: String,
    /// Its state.
    #[schemars(length(max = 16))]
    pub state: String,
    /// Which attempt it is, from 1.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attempt: u32,
}
