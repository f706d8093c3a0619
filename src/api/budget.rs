//! `VpsBudget`: the money that the cluster's administrator lets namespaces spend.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::EXACT;

/// Decimal text.
const AMOUNT: &str = r"^[0-9]{1,15}(\.[0-9]{1,4})?$";

/// 24 to 744 hours, or 1 to 31 days.
const WINDOW: &str = "^((2[4-9]|[3-9][0-9]|[1-6][0-9]{2}|7[0-3][0-9]|74[0-4])h|([1-9]|[12][0-9]|3[01])d)$";

/// The value of a label.
const LABEL: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// The key of a label.
const LABEL_KEY: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// A budget: the operator buys nothing that would exceed it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "vps.hostup.se",
    version = "v1alpha1",
    kind = "VpsBudget",
    plural = "vpsbudgets",
    singular = "vpsbudget",
    shortname = "vbg",
    category = "hostup",
    status = "VpsBudgetStatus",
    doc = "A budget that the selected namespaces share. Before each purchase, the operator adds up what these namespaces have bought and what is in progress. A purchase that would exceed a budget waits. A budget stops nothing that runs. No approval overrides it.",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status","description":"Whether the budget is in force. False: it cannot be understood, and no namespace buys anything"}"#,
    printcolumn = r#"{"name":"Near-Limit","type":"string","jsonPath":".status.conditions[?(@.type=='NearLimit')].status","description":"Whether 80 percent of a limit are reached"}"#,
    printcolumn = r#"{"name":"Per-Hour","type":"string","jsonPath":".status.perHour.summary","description":"The hourly price of the VMs, and the limit"}"#,
    printcolumn = r#"{"name":"Per-Month","type":"string","jsonPath":".status.perMonth.summary","description":"The recurring price of the options, and the limit"}"#,
    printcolumn = r#"{"name":"Due-Now","type":"string","jsonPath":".status.dueNow.summary","description":"The amount that was due at once in the window, and the limit"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].message","priority":1,"description":"Whether the budget covers all namespaces or the selected ones, or why it cannot be understood"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.perHour) || has(self.perMonth) || has(self.dueNow)", "set at least one of perHour, perMonth and dueNow"))]
pub struct VpsBudgetSpec {
    /// Selects the namespaces that the budget covers by the labels of their Namespace objects. If absent or empty, the
    /// budget covers every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,
    /// The ISO 4217 currency code of all amounts, e.g. SEK. If budgets limit an expense of a namespace, but none of them in
    /// the currency of a purchase, the purchase waits.
    #[schemars(length(min = 3, max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency_code: String,
    /// The maximum hourly price of all VMs together that the operator bought and HostUp provides, as decimal text, e.g.
    /// "5.00".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = AMOUNT))]
    pub per_hour: Option<String>,
    /// The maximum recurring price of a month of all options together that the operator bought, as decimal text, e.g.
    /// "200.00".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = AMOUNT))]
    pub per_month: Option<String>,
    /// The maximum of what is due at once for all purchases of a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_now: Option<DueNow>,
}

/// The maximum of what is due at once.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DueNow {
    /// The maximum amount, as decimal text, e.g. "500.00".
    #[schemars(length(min = 1, max = 20), regex(pattern = AMOUNT))]
    pub amount: String,
    /// The length of the window that ends now, from 24h to 31d, e.g. 7d.
    #[schemars(length(max = 8), regex(pattern = WINDOW))]
    pub window: String,
}

/// A label selector. A namespace must meet all of its requirements.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.matchLabels) || self.matchLabels.all(key, key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))", "each key of matchLabels must be the key of a label, e.g. team or example.com/team"))]
pub struct NamespaceSelector {
    /// Labels that the Namespace must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20, "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": LABEL}))]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement on a label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)", "In and NotIn require values; Exists and DoesNotExist take none"))]
pub struct LabelRequirement {
    /// The key of the label.
    #[schemars(length(min = 1, max = 317), regex(pattern = LABEL_KEY))]
    pub key: String,
    /// The relation of the label to the values.
    pub operator: LabelOperator,
    /// The values for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 63), regex(pattern = LABEL)))]
    pub values: Vec<String>,
}

/// The relation of a label to values.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// The observed state of the budget.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VpsBudgetStatus {
    /// The generation that the status was computed for. -1: not yet.
    #[schemars(range(min = -1, max = EXACT))]
    pub observed_generation: i64,
    /// The hourly price of the VMs, and the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<LimitStatus>,
    /// The recurring price of the options, and the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_month: Option<LimitStatus>,
    /// The amount that was due at once in the window, and the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_now: Option<LimitStatus>,
    /// Ready, Reconciling and Stalled follow the rules of kstatus. NearLimit is True if 80 percent of a limit are reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// The state of a limit.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LimitStatus {
    /// The amount for what was bought.
    #[schemars(length(max = 40))]
    pub used: String,
    /// The amount for purchases that are in progress or have an unknown outcome.
    #[schemars(length(max = 40))]
    pub in_progress: String,
    /// The amount that is left.
    #[schemars(length(max = 40))]
    pub left: String,
    /// The amount that is used or in progress, and the limit, as short text, e.g. 1.32 of 5.00 SEK/h.
    #[schemars(length(max = 160))]
    pub summary: String,
}
