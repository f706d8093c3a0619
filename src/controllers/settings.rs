//! What the admin decided, once, at start.

use crate::domain::ledger::Caps;
use crate::domain::ledger::record::Times;
use crate::domain::values::ids::InstanceId;

/// Everything that the controllers need to know of flags and environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This installation; enters the VM token and the claim.
    pub instance: InstanceId,
    /// The namespaces whose objects are driven.
    pub watched: WatchedNamespaces,
    /// The operator's own namespace; a hold on it holds everything.
    pub namespace: String,
    /// `--read-only`.
    pub read_only: bool,
    /// The caps on the paid calls of 24 hours.
    pub caps: Caps,
    /// `--enable-in-place-restore`.
    pub in_place_restore: bool,
    /// `--enable-legacy-upgrade`.
    pub legacy_upgrade: bool,
    /// Reconciles of one kind at a time.
    pub workers: u16,
    /// The durations of decisions.
    pub times: Times,
}

/// The namespaces whose objects are driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchedNamespaces {
    /// All.
    All,
    /// These.
    Only(Vec<String>),
}

impl WatchedNamespaces {
    /// Whether objects of this namespace are driven.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| name == namespace),
        }
    }
}
