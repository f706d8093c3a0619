//! An object that buys, as much of it as users decide from.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hostup_operator::api;
use hostup_operator::api::conditions;
use hostup_operator::api::config::{VpsResourceConfig, VpsResourceConfigStatus};
use hostup_operator::api::restore::{VpsBackupRestore, VpsBackupRestoreStatus};
use hostup_operator::api::shared::{GateStatus, OperationRef, QuoteStatus};
use hostup_operator::api::stored::{Stored, Unreadable};
use hostup_operator::domain::status::reason::Reason;
use hostup_operator::domain::values::ids::SubjectKind;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::DynamicObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;

/// The kind and the name of an object, as a user writes them: `vbr/web-01`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KindName {
    /// The kind.
    pub kind: SubjectKind,
    /// The name.
    pub name: String,
}

/// The short name of a kind.
pub fn short(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::VpsBackupRestore => "vbr",
        SubjectKind::VpsResourceConfig => "vrc",
    }
}

/// The kind that a user means, by any of the names that kubectl takes.
pub fn kind_named(word: &str) -> Option<SubjectKind> {
    let word = word.to_ascii_lowercase();
    let word = word.strip_suffix(".vps.hostup.se").unwrap_or(&word);
    SubjectKind::ALL.into_iter().find(|kind| {
        let singular = kind.singular();
        word == short(*kind) || word == singular || word.strip_suffix('s') == Some(singular)
    })
}

impl FromStr for KindName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write KIND/NAME, e.g. vbr/web-01 or vrc/web-01";
        let (kind, name) = text.split_once('/').ok_or(example)?;
        let kind = kind_named(kind).ok_or_else(|| format!("{kind:?} is neither vbr nor vrc; {example}"))?;
        if name.is_empty() || name.contains('/') {
            return Err(example.to_owned());
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", short(self.kind), self.name)
    }
}

/// The names of what is said of a wish: a VM, its name, changes of options.
pub const BUYS: &str = "Buys";
/// See [`BUYS`].
pub const VM_NAME: &str = "VM name";
/// See [`BUYS`].
pub const SOURCE: &str = "From VPS";
/// See [`BUYS`].
pub const CHANGES: &str = "Changes";
/// See [`BUYS`].
pub const OVERWRITES: &str = "Overwrites";

/// What `spec.approval` says, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approval {
    /// The quote.
    pub quote: Option<String>,
    /// The ceiling, with the time until which it is valid.
    pub ceiling: Option<String>,
}

/// An object that buys.
#[derive(Debug, Clone)]
pub struct Object {
    /// Kind and name.
    pub id: KindName,
    /// Namespace.
    pub namespace: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// The generation that the status is based on.
    pub observed: i64,
    /// When it was created.
    pub made: Option<Timestamp>,
    /// Whether the object itself has the annotation that holds purchases.
    pub is_held: bool,
    /// `spec.suspend`.
    pub is_suspended: bool,
    /// `spec.approval`.
    pub approval: Option<Approval>,
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// The quote.
    pub quote: Option<QuoteStatus>,
    /// The gates.
    pub gates: Vec<GateStatus>,
    /// The record of the last paid call.
    pub operation: Option<OperationRef>,
    /// What would be bought, or was.
    pub wish: Vec<(&'static str, String)>,
}

impl Object {
    /// Reads an object, whatever schema it was stored under.
    pub fn read(kind: SubjectKind, object: DynamicObject) -> Result<Self, Failure> {
        let object = serde_json::to_value(object).map_err(|error| Failure::told(error.to_string()))?;
        match kind {
            SubjectKind::VpsBackupRestore => match stored::<VpsBackupRestore>(object)? {
                Ok(restore) => Ok(Self::of_restore(restore)),
                Err(unreadable) => Ok(Self::of_unreadable(kind, unreadable)),
            },
            SubjectKind::VpsResourceConfig => match stored::<VpsResourceConfig>(object)? {
                Ok(config) => Ok(Self::of_config(config)),
                Err(unreadable) => Ok(Self::of_unreadable(kind, unreadable)),
            },
        }
    }

    fn bare(kind: SubjectKind, metadata: ObjectMeta, observed: i64) -> Self {
        let is_held = metadata.annotations.as_ref().is_some_and(api::is_held);
        Self {
            id: KindName {
                kind,
                name: metadata.name.unwrap_or_default(),
            },
            namespace: metadata.namespace.unwrap_or_default(),
            version: metadata.resource_version.unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            observed,
            made: metadata.creation_timestamp.map(|at| at.0),
            is_held,
            is_suspended: false,
            approval: None,
            conditions: Vec::new(),
            quote: None,
            gates: Vec::new(),
            operation: None,
            wish: Vec::new(),
        }
    }

    fn of_restore(restore: VpsBackupRestore) -> Self {
        let status = restore.status.unwrap_or(VpsBackupRestoreStatus {
            observed_generation: -1,
            ..VpsBackupRestoreStatus::default()
        });
        let spec = restore.spec;
        let mut wish = Vec::new();
        if let Some(target) = &status.target {
            if let Some(vps) = &target.vps_id {
                wish.push((OVERWRITES, format!("the disk of VPS {vps} ({:?})", target.name)));
            } else {
                let region = target.region.as_deref().unwrap_or("HostUp's default region");
                let size = |part: Option<u32>| part.map_or_else(|| "?".to_owned(), |part| part.to_string());
                let vm = format!(
                    "a new VM in {region}: {} cores, {} GB of memory, {} GB of disk",
                    size(target.cpu_cores),
                    size(target.memory_gb),
                    size(target.storage_gb)
                );
                wish.push((BUYS, vm));
                wish.push((VM_NAME, target.name.clone()));
            }
        }
        if let Some(backup) = &status.backup {
            let note = backup
                .note
                .as_ref()
                .map_or_else(String::new, |note| format!(", {note:?}"));
            let of = format!(
                "{} of {} ({} GB{note})",
                backup.id, backup.created_at, backup.size_gb
            );
            wish.push(("Backup", of));
            let named = spec.source.vps_name.map(|name| format!(" ({name:?})"));
            let source = status.source.map(|source| source.vps_id).or(spec.source.vps_id);
            let source = source.unwrap_or_default();
            wish.push((SOURCE, format!("{source}{}", named.unwrap_or_default())));
        }
        let approval = spec.approval.map(|approval| Approval {
            quote: approval.quote_id,
            ceiling: approval.max_price.map(|most| {
                let most = format!("{} {}/h", most.per_hour, most.currency_code);
                until(most, approval.valid_until.as_deref())
            }),
        });
        Self {
            is_suspended: spec.suspend,
            approval,
            conditions: status.conditions,
            quote: status.quote,
            gates: status.gates,
            operation: status.operation,
            wish,
            ..Self::bare(
                SubjectKind::VpsBackupRestore,
                restore.metadata,
                status.observed_generation,
            )
        }
    }

    /// It wants a VPS overwritten.
    pub fn overwrites(&self) -> bool {
        self.wish.iter().any(|(what, _)| *what == OVERWRITES)
    }

    fn of_config(config: VpsResourceConfig) -> Self {
        let vps = config.vps().map(str::to_owned);
        let status = config.status.unwrap_or(VpsResourceConfigStatus {
            observed_generation: -1,
            ..VpsResourceConfigStatus::default()
        });
        let spec = config.spec;
        let mut wish = Vec::new();
        if let Some(vps) = vps {
            let resources = spec
                .resources
                .as_ref()
                .and_then(|all| serde_json::to_value(all).ok());
            let size = spec
                .cloud_vm
                .as_ref()
                .and_then(|size| serde_json::to_value(size).ok());
            let changes = changes(&resources.or(size).unwrap_or_default(), &status.current);
            wish.push((CHANGES, format!("{changes}, of VPS {vps}")));
        }
        if let Some(legacy) = &spec.legacy {
            let options: Vec<String> = legacy
                .resources
                .iter()
                .map(|(option, value)| format!("{option} -> {value}"))
                .collect();
            let options = options.join(", ");
            wish.push((
                CHANGES,
                format!("{options}, of VPS {} by the legacy API", legacy.vmid),
            ));
        }
        if spec.cancel_existing_invoice {
            let words = "the open invoice that the quote names, if HostUp's refusal suggested it";
            wish.push(("Cancels", words.to_owned()));
        }
        let approval = spec.approval.map(|approval| Approval {
            quote: approval.quote_id,
            ceiling: approval.max_price.map(|most| {
                let amount = |amount: Option<String>| amount.unwrap_or_else(|| "0.00".to_owned());
                let currency = most.currency_code;
                let most = match most.per_hour {
                    Some(per_hour) => format!("{per_hour} {currency}/h"),
                    None => format!(
                        "{} {currency} now and {} {currency} a month",
                        amount(most.due_now),
                        amount(most.per_month)
                    ),
                };
                until(most, approval.valid_until.as_deref())
            }),
        });
        Self {
            is_suspended: spec.suspend,
            approval,
            conditions: status.conditions,
            quote: status.quote,
            gates: status.gates,
            operation: status.operation,
            wish,
            ..Self::bare(
                SubjectKind::VpsResourceConfig,
                config.metadata,
                status.observed_generation,
            )
        }
    }

    fn of_unreadable(kind: SubjectKind, unreadable: Unreadable) -> Self {
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct Conditions {
            conditions: Vec<Condition>,
        }
        let shown: Conditions = serde_json::from_value(unreadable.status).unwrap_or_default();
        Self {
            conditions: shown.conditions,
            wish: vec![("Unreadable", unreadable.why)],
            ..Self::bare(kind, unreadable.metadata, -1)
        }
    }

    /// The `Ready` condition.
    pub fn ready(&self) -> Option<&Condition> {
        conditions::find(&self.conditions, "Ready")
    }

    /// The reason of `Ready`, if this version knows it.
    pub fn reason(&self) -> Option<Reason> {
        let ready = self.ready()?;
        Reason::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == ready.reason)
    }

    /// The message of `Ready`; empty if there is none.
    pub fn message(&self) -> &str {
        self.ready().map_or("", |ready| ready.message.as_str())
    }

    /// The message of `Ready` without the command that approves.
    pub fn offer(&self) -> &str {
        self.message()
            .split("To approve:")
            .next()
            .unwrap_or_default()
            .trim()
    }

    /// Whether the status is about the spec as it is.
    pub fn is_current(&self) -> bool {
        self.observed == self.generation && self.ready().is_some()
    }

    /// Whether the approval in the spec covers the quote.
    pub fn is_approved(&self) -> bool {
        self.approved_is("True")
    }

    fn approved_is(&self, status: &str) -> bool {
        conditions::find(&self.conditions, "Approved").is_some_and(|approved| approved.status == status)
    }

    /// Whether the operator asks for another approval after an attempt: HostUp refused an overwrite, or the backup before a
    /// change failed.
    pub fn asks_again(&self) -> bool {
        matches!(self.reason(), Some(Reason::Rejected | Reason::JobFailed))
            && self.approved_is("False")
            && self.quote.is_some()
    }

    /// The price, in short.
    pub fn price(&self) -> &str {
        self.quote.as_ref().map_or("", |quote| quote.summary.as_str())
    }

    /// The gates that are closed, in words.
    pub fn closed_gates(&self) -> Vec<String> {
        let closed = self
            .gates
            .iter()
            .filter(|gate| !gate.allowed && gate.advisory != Some(true));
        closed.map(gate_in_words).collect()
    }

    /// HostUp's advice against the purchase, in words.
    pub fn advice(&self) -> Vec<String> {
        let advice = self.gates.iter().filter(|gate| gate.advisory == Some(true));
        advice.map(gate_in_words).collect()
    }
}

fn gate_in_words(gate: &GateStatus) -> String {
    let why = [&gate.code, &gate.reason];
    let why: Vec<&str> = why.into_iter().flatten().map(String::as_str).collect();
    if why.is_empty() {
        gate.name.clone()
    } else {
        format!("{} ({})", gate.name, why.join(": "))
    }
}

fn until(ceiling: String, valid_until: Option<&str>) -> String {
    match valid_until {
        Some(end) => format!("{ceiling} until {end}"),
        None => ceiling,
    }
}

/// The options that differ, before and after.
fn changes(resources: &Value, current: &BTreeMap<String, String>) -> String {
    let members = resources.as_object().into_iter().flatten();
    let wanted = members.flat_map(|(key, value)| match value {
        Value::Object(extra) => extra
            .iter()
            .map(|(key, value)| (key.clone(), plain(value)))
            .collect(),
        other => vec![(key.clone(), plain(other))],
    });
    let changes: Vec<String> = wanted
        .filter_map(|(key, value)| match current.get(&key) {
            Some(now) if *now == value => None,
            Some(now) => Some(format!("{key} {now} -> {value}")),
            None => Some(format!("{key} -> {value}")),
        })
        .collect();
    if changes.is_empty() {
        "nothing".to_owned()
    } else {
        changes.join(", ")
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn stored<K: DeserializeOwned>(object: Value) -> Result<Result<K, Unreadable>, Failure> {
    let stored: Result<Stored<K>, _> = serde_json::from_value(object);
    let stored = stored.map_err(|error| Failure::told(format!("an object cannot be read: {error}")))?;
    Ok(stored.0)
}

/// A quote as JSON shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownPrice {
    /// In short.
    pub summary: String,
    /// The currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency_code: Option<String>,
    /// For each hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<String>,
    /// Due at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_now: Option<String>,
    /// For each month, of a change of options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recurring_per_month: Option<String>,
}

impl From<&QuoteStatus> for ShownPrice {
    fn from(quote: &QuoteStatus) -> Self {
        Self {
            summary: quote.summary.clone(),
            currency_code: quote.currency_code.clone(),
            per_hour: quote.per_hour.clone(),
            due_now: quote.due_now.clone(),
            recurring_per_month: quote.recurring_per_month.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_named_as_kubectl_names_it() {
        for word in [
            "vbr",
            "VBR",
            "vpsbackuprestore",
            "vpsbackuprestores",
            "vpsbackuprestores.vps.hostup.se",
        ] {
            assert_eq!(kind_named(word), Some(SubjectKind::VpsBackupRestore), "{word}");
        }
        assert_eq!("vrc/a".parse::<KindName>().unwrap().to_string(), "vrc/a");
        for bad in ["web-01", "pod/web-01", "vbr/", "vbr/a/b", ""] {
            assert!(bad.parse::<KindName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_options_that_differ_are_changes() {
        let current = BTreeMap::from(
            [("bandwidthGb", "2048"), ("ipv6", "true")].map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        let wanted = json!({"bandwidthGb": 4096, "ipv6": true, "extra": {"gpu": "small"}});
        assert_eq!(
            changes(&wanted, &current),
            "bandwidthGb 2048 -> 4096, gpu -> small"
        );
        assert_eq!(changes(&json!({"ipv6": true}), &current), "nothing");
    }
}
