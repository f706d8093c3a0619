//! Types that several CRDs share.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest whole number that every JSON parser reads exactly.
pub(super) const EXACT: i64 = 9_007_199_254_740_991;

/// RFC 3339. The API server's own check of `date-time` is less strict.
pub(super) const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// The annotation with which a user holds the purchases of an object, of a Namespace, or (on the operator's Namespace) all
/// purchases.
pub const HOLD: &str = "vps.hostup.se/hold";

/// The annotation with which Flux, Argo CD's action and users request a reconcile; the status echoes its value.
pub const RECONCILE_REQUESTED: &str = "reconcile.fluxcd.io/requestedAt";

/// Whether annotations hold purchases: every value except `false` does.
pub fn is_held(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(HOLD).is_some_and(|value| value != "false")
}

/// The Secret with the HostUp API key. It must be in the namespace of the object.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase", default)]
pub struct CredentialsSecretRef {
    /// The name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The key of the Secret's data that contains the HostUp API key.
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

/// A gate, as HostUp returned it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// The name of the gate: canRestore, backupAge, canConvertToCloud, canDeploy, region, limits, storage, canCommit, noOpenInvoice,
    /// canChange, canResize, canRestoreFromAnotherVps, targetIdle or canCreateBackup.
    #[schemars(length(max = 32))]
    pub name: String,
    /// The judge of the gate: HostUp, or Operator, which computes the gate from HostUp's answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub source: Option<String>,
    /// Whether the gate is open.
    pub allowed: bool,
    /// True if the gate only gives advice and closes nothing. Advice against the purchase needs an approval of the quote;
    /// a maxPrice is not enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisory: Option<bool>,
    /// HostUp's code. A code alone does not close a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub code: Option<String>,
    /// HostUp's explanation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub reason: Option<String>,
}

/// A job at HostUp.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// The id of the job.
    #[schemars(length(max = 128))]
    pub id: String,
    /// The status of the job, as HostUp names it. If absent, HostUp has not reported one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub status: Option<String>,
    /// The progress in percent, in steps of 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub progress: Option<u8>,
}

/// A VM at HostUp.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VmStatus {
    /// The id of the VM at HostUp.
    #[schemars(length(max = 64))]
    pub vps_id: String,
    /// The name of the VM at HostUp.
    #[schemars(length(max = 100))]
    pub name: String,
    /// The primary IP address. If absent, the VM has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub primary_ip: Option<String>,
}

/// The size of a VM.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VmSize {
    /// The number of CPU cores.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub cpu_cores: u32,
    /// Memory in GB.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub memory_gb: u32,
    /// Storage in GB.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub storage_gb: u32,
}

/// A user's answer to an unknown outcome.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolutionAnswer {
    /// HostUp did not execute the call; a new attempt may follow.
    NotExecuted,
    /// HostUp executed the call; for a restore, `vpsId` is the VM.
    Adopt,
    /// Give up; no new attempt follows.
    Abandon,
}

/// The price of a request. spec.approval.quoteId approves it by its id.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct QuoteStatus {
    /// The id of the quote, for spec.approval.quoteId.
    #[schemars(length(max = 32))]
    pub id: String,
    /// The price as short text, e.g. 0.66 SEK/h.
    #[schemars(length(max = 160))]
    pub summary: String,
    /// The ISO 4217 currency code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub currency_code: Option<String>,
    /// The price of an hour, including IPv4 and without traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub per_hour: Option<String>,
    /// For another size of a VM: perHour minus the price of an hour of the present size. A negative amount means that the VM
    /// becomes cheaper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub per_hour_difference: Option<String>,
    /// The price of a month: recurringPerMonth or estimatedPerMonth, whichever is present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub per_month: Option<String>,
    /// The price of 730 hours at perHour. It is an estimate because HostUp bills the VM by the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub estimated_per_month: Option<String>,
    /// The amount that HostUp bills for each month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub recurring_per_month: Option<String>,
    /// The price of a billing cycle, if its length is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub per_cycle: Option<String>,
    /// The amount due when the request is ordered. A negative amount is a credit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub due_now: Option<String>,
    /// The id of an approved quote that has ended. It does not become valid again, even if the target is again as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub replaces: Option<String>,
    /// A digest of the approved quotes that ended before `replaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub ended_before: Option<String>,
    /// HostUp's rates, which perHour is computed from. Use them to compute the price of another size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<RatesStatus>,
}

/// HostUp's rates for pay-as-you-go VMs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RatesStatus {
    /// The ISO 4217 currency code.
    #[schemars(length(max = 3))]
    pub currency_code: String,
    /// The price of a CPU core for an hour.
    #[schemars(length(max = 40))]
    pub cpu_per_core_hour: String,
    /// The price of 1 GB of memory for an hour.
    #[schemars(length(max = 40))]
    pub memory_per_gb_hour: String,
    /// The price of 1 GB of storage for an hour.
    #[schemars(length(max = 40))]
    pub storage_per_gb_hour: String,
    /// The price of an IPv4 address for an hour.
    #[schemars(length(max = 40))]
    pub ip_per_hour: String,
    /// The price of 1 GB of traffic. No quote includes traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub bandwidth_per_gb: Option<String>,
}

/// An invoice at HostUp.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceStatus {
    /// The id of the invoice. If absent, HostUp did not name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub id: Option<String>,
    /// The amount to pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub amount: Option<String>,
    /// The ISO 4217 currency code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub currency_code: Option<String>,
    /// The due date, as HostUp writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub due_at: Option<String>,
    /// The page to pay the invoice at, as HostUp names it. Messages show it as a link only if it is a page of HostUp's
    /// panel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub payment_url: Option<String>,
}

/// A backup that was made before a change.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupFirstStatus {
    /// The id of the backup at HostUp. If absent, a user said that the backup was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub id: Option<String>,
    /// The name of the VpsOperation that made it.
    #[schemars(length(max = 64))]
    pub operation: String,
}

/// A reference to the VpsOperation of the last paid call.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OperationRef {
    /// The name of the VpsOperation.
    #[schemars(length(max = 64))]
    pub name: String,
    /// The state of the VpsOperation.
    #[schemars(length(max = 16))]
    pub state: String,
    /// The number of the attempt, starting at 1.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attempt: u32,
}
