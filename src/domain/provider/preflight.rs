//! What HostUp said before anything is bought, and what follows: the backup, the order, the gates.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::action::ordered::Backup;
use crate::consent::price::{Rates, Size};
use crate::ledger::record::KeyInUse;
use crate::provider::backup::{self, ListedBackup};
use crate::provider::gate::{ACCOUNT_BLOCKERS, Force, Gate, GateName, LIMIT_BLOCKERS, ProviderGate};
use crate::provider::inventory::Vm;
use crate::provider::options::{self, Difference, Values};
use crate::values::ids::VpsId;
use crate::values::money::Amount;
use crate::values::text::Text;

/// Smallest disk of a Cloud VM (payg deployments page; assumed to hold for restores too).
const SMALLEST_STORAGE_GB: u32 = 50;

/// Largest VM that can be ordered (restore-to-payg page; resize page).
pub const LARGEST: Size = Size {
    cpu_cores: 32,
    memory_gb: 256,
    storage_gb: 2000,
};

/// `GET /actions/convert-to-cloud` of the source VPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eligibility {
    /// `currentBillingModel` is `payg`.
    pub is_payg: bool,
    /// `available: true` was there.
    pub available: bool,
    /// `actions.canConvertToCloud`.
    pub gate: ProviderGate,
    /// `blockerReasons`, at whichever place.
    pub blockers: Vec<String>,
    /// `requiresVerification`.
    pub requires_verification: bool,
    /// `prepaidWarning` in words.
    pub prepaid_warning: Option<String>,
}

/// `GET /vps/payg/deployments`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployments {
    /// `available: true` and `actions.canDeploy`.
    pub can_deploy: ProviderGate,
    /// All rates; `None` if one is missing.
    pub rates: Option<Rates>,
    /// `defaults.regionId`.
    pub default_region: Option<String>,
    /// The regions on offer; `None` where the list could not be read.
    pub regions: Option<Vec<String>>,
}

/// `GET /vps/payg/limits`, `remaining`; a number that is missing counts as nothing left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remaining {
    /// Cores left.
    pub cpu_cores: u32,
    /// Memory left, in GB.
    pub memory_gb: u32,
    /// Storage left, in GB.
    pub storage_gb: u32,
    /// VMs left.
    pub instances: u32,
}

impl Remaining {
    /// What a new VM takes.
    pub fn of_vm(size: Size) -> Self {
        Self {
            cpu_cores: size.cpu_cores,
            memory_gb: size.memory_gb,
            storage_gb: size.storage_gb,
            instances: 1,
        }
    }

    /// What this change of the parts of a size takes.
    pub fn of_resize(change: &Difference) -> Self {
        let grows = |key: &str| {
            let count = |values: &Values| values.get(key)?.number().map(Amount::ceil_to_u32);
            let to = count(&change.to).unwrap_or_default();
            to.saturating_sub(count(&change.from).unwrap_or_default())
        };
        Self {
            cpu_cores: grows(options::CPU_CORES),
            memory_gb: grows(options::MEMORY_GB),
            ..Self::default()
        }
    }

    /// Whether so much is left.
    pub fn has(self, taken: Self) -> bool {
        self.cpu_cores >= taken.cpu_cores
            && self.memory_gb >= taken.memory_gb
            && self.storage_gb >= taken.storage_gb
            && self.instances >= taken.instances
    }

    /// What is left once so much is taken.
    #[must_use]
    pub fn without(self, taken: Self) -> Self {
        Self {
            cpu_cores: self.cpu_cores.saturating_sub(taken.cpu_cores),
            memory_gb: self.memory_gb.saturating_sub(taken.memory_gb),
            storage_gb: self.storage_gb.saturating_sub(taken.storage_gb),
            instances: self.instances.saturating_sub(taken.instances),
        }
    }
}

/// Everything that was read for one decision, by one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// When the first of the reads began.
    pub read_at: Timestamp,
    /// The key that it was read with.
    pub key: KeyInUse,
    /// The source.
    pub source: VpsId,
    /// The source's size, rounded up; `None` where a part is missing.
    pub source_size: Option<Size>,
    /// `backups[]`.
    pub backups: Vec<ListedBackup>,
    /// `backups.actions.canRestore`.
    pub can_restore: ProviderGate,
    /// Whether the account may use Cloud VMs.
    pub eligibility: Eligibility,
    /// What may be deployed, where, and at what rates.
    pub deployments: Deployments,
    /// What the account's limits leave.
    pub remaining: Remaining,
    /// Every VM of the account whose name contains the token of the purchase.
    pub vms: Vec<Vm>,
}

/// The VM that the user asked for; what is not given is filled in before the price is computed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Name without the token.
    pub name: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Cores.
    pub cpu_cores: Option<u32>,
    /// Memory in GB.
    pub memory_gb: Option<u32>,
    /// Storage in GB.
    pub storage_gb: Option<u32>,
}

/// What is wrong cannot be edited.
const ANEW: &str = "create a VpsBackupRestore with another name that";

/// The size to order, rounded up; `Err` names what neither the user nor the source gives.
pub fn ordered_size(target: &Target, source: Option<Size>, backup: &Backup) -> Result<Size, Text> {
    let missing = |what: &str| {
        Text::new(&format!(
            "HostUp does not show the source's {what}; nothing is bought until it does"
        ))
    };
    Ok(Size {
        cpu_cores: target
            .cpu_cores
            .or(source.map(|s| s.cpu_cores))
            .ok_or_else(|| missing("cpuCores"))?,
        memory_gb: target
            .memory_gb
            .or(source.map(|s| s.memory_gb))
            .ok_or_else(|| missing("memoryGb"))?,
        storage_gb: match (target.storage_gb, source) {
            (Some(given), _) => given,
            (None, Some(source)) => needed_storage(source, backup),
            (None, None) => return Err(missing("storageGb")),
        },
    })
}

fn needed_storage(source: Size, backup: &Backup) -> u32 {
    source
        .storage_gb
        .max(backup.size_gb.ceil_to_u32())
        .max(SMALLEST_STORAGE_GB)
}

/// Every gate, in the order in which people read them.
pub fn gates(
    preflight: &Preflight,
    backup: &Backup,
    max_age: Option<Duration>,
    ordered: Size,
    region: &str,
    now: Timestamp,
) -> Vec<Gate> {
    let mut gates = vec![from_provider(GateName::CanRestore, &preflight.can_restore)];
    gates.extend(max_age.map(|most| backup::age_gate(backup, most, now)));
    gates.extend(eligibility_gates(&preflight.eligibility));
    gates.push(from_provider(
        GateName::CanDeploy,
        &preflight.deployments.can_deploy,
    ));
    gates.push(region_gate(&preflight.deployments, region));
    gates.push(limits_gate(
        preflight.remaining,
        Remaining::of_vm(ordered),
        ordered,
    ));
    gates.push(storage_gate(preflight.source_size, backup, ordered));
    gates
}

fn from_provider(name: GateName, gate: &ProviderGate) -> Gate {
    Gate::new(name, gate.allowed, &gate.code, &gate.reason)
}

/// Advice that a quote may name.
const MOST_ADVICE: usize = 10;

/// One row per blocker. Those of the account close. A limit blocker speaks of the source's own size: it is shown, and the
/// gate `limits` decides by the ordered size. Any other speaks of the conversion of the source, which is not what is
/// ordered: of a fixed source it advises, and of a pay-as-you-go source it is shown. What is no plain word closes.
fn eligibility_gates(eligibility: &Eligibility) -> Vec<Gate> {
    let name = GateName::CanConvertToCloud;
    let mut notes = eligibility.gate.reason.clone();
    if eligibility.requires_verification {
        notes.push_str(" (account verification is required)");
    }
    if let Some(warning) = &eligibility.prepaid_warning {
        notes = format!("{notes} ({warning})");
    }
    let force = |blocker: &str| match blocker {
        account if ACCOUNT_BLOCKERS.contains(&account) => Force::Decides,
        limit if LIMIT_BLOCKERS.contains(&limit) => Force::Informs,
        _ if eligibility.is_payg => Force::Informs,
        word if is_plain(word) => Force::Advises,
        _ => Force::Decides,
    };
    // HostUp's pages put the blockers at two places; where both have them, one row each is enough.
    let mut seen = BTreeSet::new();
    // What a closed gate itself names counts as well.
    let own = if eligibility.gate.allowed || eligibility.blockers.is_empty() {
        ""
    } else {
        &eligibility.gate.code
    };
    let own = own.split(", ").filter(|word| !word.is_empty());
    let all = eligibility.blockers.iter().map(String::as_str).chain(own);
    let mut blockers: Vec<&str> = all.filter(|blocker| seen.insert(*blocker)).collect();
    let advice = blockers.iter().filter(|blocker| force(blocker) == Force::Advises);
    let is_too_much = advice.count() > MOST_ADVICE;
    // What only informs is shown last, and may be cut.
    blockers.sort_by_key(|blocker| match force(blocker) {
        Force::Decides => 0,
        Force::Advises => 1,
        Force::Informs => 2,
    });
    blockers.truncate(20);
    let row = |blocker: &str| match force(blocker) {
        Force::Decides => Gate::new(name, false, blocker, &notes),
        Force::Advises if is_too_much => Gate::new(name, false, blocker, &notes),
        force => Gate::open(name, force, blocker, &notes),
    };
    let mut rows: Vec<Gate> = blockers.into_iter().map(row).collect();
    if rows.is_empty() {
        let open = eligibility.available && eligibility.gate.allowed;
        let allowed = open || eligibility.is_payg;
        rows.push(Gate::new(name, allowed, &eligibility.gate.code, &notes));
    }
    rows
}

/// As the documented blockers are written.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (1..=64).contains(&word.len()) && word.chars().all(plain)
}

fn region_gate(deployments: &Deployments, region: &str) -> Gate {
    let (allowed, reason) = match &deployments.regions {
        _ if region.is_empty() => (
            false,
            format!("HostUp names no default region: {ANEW} sets target.cloudVm.region"),
        ),
        Some(regions) if regions.iter().any(|r| r == region) => (true, String::new()),
        Some(regions) => (
            false,
            format!(
                "{region} is not on offer; HostUp offers {}: {ANEW} sets one of them",
                regions.join(", ")
            ),
        ),
        None if deployments.default_region.as_deref() == Some(region) => (true, String::new()),
        None => (
            true,
            format!("HostUp lists no regions; if {region} does not exist, HostUp rejects the order"),
        ),
    };
    Gate::new(GateName::Region, allowed, "", &reason)
}

/// Whether the account's limits leave room for this change of the parts of a size, and a VM may have the `size`.
pub fn resize_gate(left: Remaining, change: &Difference, size: Size) -> Gate {
    limits_gate(left, Remaining::of_resize(change), size)
}

fn limits_gate(left: Remaining, taken: Remaining, size: Size) -> Gate {
    let asked = [
        (
            "CPU cores",
            taken.cpu_cores,
            left.cpu_cores,
            size.cpu_cores,
            LARGEST.cpu_cores,
        ),
        (
            "GB of memory",
            taken.memory_gb,
            left.memory_gb,
            size.memory_gb,
            LARGEST.memory_gb,
        ),
        (
            "GB of storage",
            taken.storage_gb,
            left.storage_gb,
            size.storage_gb,
            LARGEST.storage_gb,
        ),
        ("VMs", taken.instances, left.instances, 1, 1),
    ];
    let lacking: Vec<String> = asked
        .iter()
        .filter(|(_, taken, left, size, largest)| taken > left || (*taken > 0 && size > largest))
        .map(|(what, taken, left, _, largest)| {
            format!("{taken} {what} wanted, {left} left, {largest} at most for one VM")
        })
        .collect();
    Gate::new(GateName::Limits, lacking.is_empty(), "", &lacking.join("; "))
}

fn storage_gate(source: Option<Size>, backup: &Backup, ordered: Size) -> Gate {
    let (allowed, reason) = match source {
        None => (false, "HostUp does not show the source's storage".to_owned()),
        Some(source) => {
            let needed = needed_storage(source, backup);
            if ordered.storage_gb >= needed {
                (true, String::new())
            } else {
                (
                    false,
                    format!(
                        "{} GB are too small; source and backup need {needed} GB: {ANEW} orders as much",
                        ordered.storage_gb
                    ),
                )
            }
        }
    };
    Gate::new(GateName::Storage, allowed, "", &reason)
}
