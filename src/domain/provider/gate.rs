//! HostUp's action gates, as they were read.

use std::collections::BTreeSet;

use crate::values::text::{self, Text};

/// A gate of HostUp's answer. A missing gate is closed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProviderGate {
    /// `allowed: true` was there.
    pub allowed: bool,
    /// `code`, empty where missing.
    pub code: String,
    /// `reason`, empty where missing.
    pub reason: String,
}

/// Blockers that speak of the account (convert-to-cloud page).
pub const ACCOUNT_BLOCKERS: [&str; 4] = [
    "has_unpaid_invoice",
    "no_card_on_file",
    "not_verified",
    "no_cloud_access",
];

/// Blockers that speak of the source's own size (convert-to-cloud page); assumed, with those of the account, to be the
/// vocabulary of restore-to-payg too.
pub const LIMIT_BLOCKERS: [&str; 5] = [
    "cpu_limit_exceeded",
    "memory_limit_exceeded",
    "storage_limit_exceeded",
    "instance_limit_exceeded",
    // Of the add-disk page.
    "cloud_storage_limit_exceeded",
];

/// Whether the word is one of the documented blockers.
pub fn is_known_blocker(word: &str) -> bool {
    ACCOUNT_BLOCKERS.contains(&word) || LIMIT_BLOCKERS.contains(&word)
}

/// Which gate; the names stand in `status.gates[].name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GateName {
    /// `backups.actions.canRestore` and the backup itself (backups page).
    CanRestore,
    /// `backups.actions.canCreateBackup` (backups page).
    CanCreateBackup,
    /// Whether the backup is young enough for the spec.
    BackupAge,
    /// `actions.canConvertToCloud` of the source VPS, one row per blocker (convert-to-cloud page).
    CanConvertToCloud,
    /// `payg/deployments.actions.canDeploy` (payg deployments page).
    CanDeploy,
    /// Whether the region is on offer (payg deployments page).
    Region,
    /// Whether the ordered size fits into `payg/limits.remaining` (payg limits page).
    Limits,
    /// Whether the storage holds the source and the backup (restore-to-payg page).
    Storage,
    /// `configurableOptions[].actions.canChange`, one row per option that is closed (options page; assumed).
    CanChange,
    /// `actions.canCommit` of the dry run (config page).
    CanCommit,
    /// `backups.actions.canRestoreFromAnotherVps` of the target (restore-from-vps page).
    CanRestoreFromAnotherVps,
    /// Whether nothing else is under way for the VPS that is to be overwritten.
    TargetIdle,
    /// `actions.canResize` of the VM (resize page).
    CanResize,
    /// `blockingInvoices` after an order that was refused for one (billing-cycle page).
    NoOpenInvoice,
}

impl GateName {
    /// Every gate.
    pub const ALL: [Self; 14] = [
        Self::CanRestore,
        Self::CanCreateBackup,
        Self::BackupAge,
        Self::CanConvertToCloud,
        Self::CanDeploy,
        Self::Region,
        Self::Limits,
        Self::Storage,
        Self::CanChange,
        Self::CanCommit,
        Self::CanRestoreFromAnotherVps,
        Self::TargetIdle,
        Self::CanResize,
        Self::NoOpenInvoice,
    ];

    /// The name as people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CanRestore => "canRestore",
            Self::CanCreateBackup => "canCreateBackup",
            Self::BackupAge => "backupAge",
            Self::CanConvertToCloud => "canConvertToCloud",
            Self::CanDeploy => "canDeploy",
            Self::Region => "region",
            Self::Limits => "limits",
            Self::Storage => "storage",
            Self::CanChange => "canChange",
            Self::CanCommit => "canCommit",
            Self::CanRestoreFromAnotherVps => "canRestoreFromAnotherVps",
            Self::TargetIdle => "targetIdle",
            Self::CanResize => "canResize",
            Self::NoOpenInvoice => "noOpenInvoice",
        }
    }

    /// Whose judgement it is.
    pub fn source(self) -> Source {
        match self {
            Self::CanRestore
            | Self::CanCreateBackup
            | Self::CanConvertToCloud
            | Self::CanDeploy
            | Self::CanChange
            | Self::CanCommit
            | Self::CanRestoreFromAnotherVps
            | Self::CanResize => Source::HostUp,
            Self::BackupAge
            | Self::Region
            | Self::Limits
            | Self::Storage
            | Self::TargetIdle
            | Self::NoOpenInvoice => Source::Operator,
        }
    }
}

/// Who judges a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// HostUp, by an action gate of its answer.
    HostUp,
    /// The operator, from what HostUp's answers show.
    Operator,
}

impl Source {
    /// The name as people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostUp => "HostUp",
            Self::Operator => "Operator",
        }
    }
}

/// What a gate does to a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It closes, or it is open.
    Decides,
    /// It closes nothing, and a person approves the purchase with it: the quote names it.
    Advises,
    /// It is only shown.
    Informs,
}

/// One gate as it was read. Only `allowed` opens it; a code alone means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Which one.
    pub name: GateName,
    /// `true` only where the provider said so, or where it decides nothing.
    pub allowed: bool,
    /// What it does to the purchase.
    pub force: Force,
    /// The provider's machine-readable code, if it gave one.
    pub code: Option<Text>,
    /// The provider's text, or ours where the gate is computed.
    pub reason: Option<Text>,
}

impl Gate {
    /// A gate with a code and a reason where they are not blank.
    pub fn new(name: GateName, allowed: bool, code: &str, reason: &str) -> Self {
        let kept = |raw: &str| Some(Text::new(raw)).filter(|text| !text.as_str().is_empty());
        Self {
            name,
            allowed,
            force: Force::Decides,
            code: kept(code),
            reason: kept(reason),
        }
    }

    /// A gate that closes nothing, whatever HostUp says of it.
    pub fn open(name: GateName, force: Force, code: &str, reason: &str) -> Self {
        Self {
            force,
            ..Self::new(name, true, code, reason)
        }
    }

    /// One line for people: name, and why it is closed.
    pub fn describe(&self) -> String {
        let detail = match (&self.code, &self.reason) {
            (Some(code), Some(reason)) => format!(" ({code}): {}", reason.as_clause()),
            (Some(code), None) => format!(" ({code})"),
            (None, Some(reason)) => format!(": {}", reason.as_clause()),
            (None, None) => String::new(),
        };
        format!("{}{detail}", self.name.as_str())
    }
}

/// What HostUp advises against, as a quote names it; in order, each once.
pub fn advice(gates: &[Gate]) -> Vec<String> {
    let advising = gates.iter().filter(|gate| gate.force == Force::Advises);
    let code = |gate: &Gate| gate.code.as_ref().map_or("", Text::as_str).to_owned();
    let codes: BTreeSet<String> = advising.map(code).collect();
    codes.into_iter().collect()
}

/// The same in one line for people; `None` where HostUp advises nothing.
pub fn advised(gates: &[Gate]) -> Option<String> {
    let advising = gates.iter().filter(|gate| gate.force == Force::Advises);
    let all: Vec<String> = advising.map(Gate::describe).collect();
    (!all.is_empty()).then(|| text::first_of(&all, MOST_CLOSED))
}

/// Closed gates that a message tells; the status shows all of them.
const MOST_CLOSED: usize = 12;

/// The gates that keep the operation from going, in one line; `None` when all are open.
pub fn closed(gates: &[Gate]) -> Option<String> {
    let closed: Vec<String> = gates
        .iter()
        .filter(|gate| !gate.allowed)
        .map(Gate::describe)
        .collect();
    (!closed.is_empty()).then(|| text::first_of(&closed, MOST_CLOSED))
}

/// What an object tells of closed gates; `None` when all are open.
pub fn told(gates: &[Gate]) -> Option<String> {
    let closed = closed(gates)?;
    Some(format!(
        "gates are closed: {closed}. The operator continues when they open"
    ))
}
