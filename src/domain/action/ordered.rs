//! The data of each action. Its behavior is in the action's own module.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::consent::price::Size;
use crate::ledger::names::VmToken;
use crate::provider::backup::ListedBackup;
use crate::provider::options::{Difference, Values};
use crate::provider::preflight::Remaining;
use crate::values::digest;
use crate::values::ids::{BackupId, InstanceId, RecordName, Uid, VpsId};
use crate::values::money::Amount;
use crate::values::text::Text;

/// Which call: `spec.type` of a VpsOperation.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActionKind {
    /// A backup restored to a new pay-as-you-go VM (restore-to-payg page).
    RestoreToCloudVm,
    /// Options of a VPS (config page).
    CommitResources,
    /// What options would cost, on the older route (legacy upgrade page; assumed to estimate).
    LegacyEstimate,
    /// Options of a VPS, on the older route (legacy upgrade page).
    LegacyUpgrade,
    /// The size of a pay-as-you-go VM (resize page).
    ResizeCloudVm,
    /// A backup restored onto a VPS that exists (restore-from-vps page; for its own backup, assumed).
    OverwriteVps,
    /// A backup made before a change (backup creation page).
    CreateBackup,
}

impl ActionKind {
    /// It changes, overwrites or backs up the VPS of its path, so that nothing else may be under way for that VPS. A restore
    /// to a new VM only reads its source; the older route names no VPS.
    pub fn drives_its_vps(self) -> bool {
        match self {
            Self::CommitResources | Self::ResizeCloudVm | Self::OverwriteVps | Self::CreateBackup => true,
            Self::RestoreToCloudVm | Self::LegacyEstimate | Self::LegacyUpgrade => false,
        }
    }

    /// It destroys the data of a disk, and nothing but its job shows what became of it.
    pub fn overwrites(self) -> bool {
        match self {
            Self::OverwriteVps => true,
            Self::RestoreToCloudVm
            | Self::CommitResources
            | Self::LegacyEstimate
            | Self::LegacyUpgrade
            | Self::ResizeCloudVm
            | Self::CreateBackup => false,
        }
    }
}

/// One call that pays or destroys, with what it orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// [`ActionKind::RestoreToCloudVm`].
    Restore(Restoration),
    /// [`ActionKind::CommitResources`].
    Options(Change),
    /// [`ActionKind::LegacyEstimate`].
    LegacyEstimate(Values),
    /// [`ActionKind::LegacyUpgrade`].
    LegacyUpgrade(Values),
    /// [`ActionKind::ResizeCloudVm`]: the change of `cpuCores` and `memoryGb`.
    Resize(Change),
    /// [`ActionKind::OverwriteVps`].
    Overwrite(Overwriting),
    /// [`ActionKind::CreateBackup`].
    CreateBackup(NewBackup),
}

impl Action {
    /// Which call it is.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Restore(_) => ActionKind::RestoreToCloudVm,
            Self::Options(_) => ActionKind::CommitResources,
            Self::LegacyEstimate(_) => ActionKind::LegacyEstimate,
            Self::LegacyUpgrade(_) => ActionKind::LegacyUpgrade,
            Self::Resize(_) => ActionKind::ResizeCloudVm,
            Self::Overwrite(_) => ActionKind::OverwriteVps,
            Self::CreateBackup(_) => ActionKind::CreateBackup,
        }
    }

    /// The restore, if it is one.
    pub fn restoration(&self) -> Option<&Restoration> {
        match self {
            Self::Restore(restoration) => Some(restoration),
            Self::Options(_)
            | Self::LegacyEstimate(_)
            | Self::LegacyUpgrade(_)
            | Self::Resize(_)
            | Self::Overwrite(_)
            | Self::CreateBackup(_) => None,
        }
    }

    /// The VPS that the backup was made of, where that is not the one of the path.
    pub fn source(&self) -> Option<&VpsId> {
        self.overwriting().map(|overwriting| &overwriting.source)
    }

    /// The backup that it restores, if it restores one.
    pub fn backup(&self) -> Option<&Backup> {
        match self {
            Self::Restore(restoration) => Some(&restoration.backup),
            Self::Overwrite(overwriting) => Some(&overwriting.backup),
            Self::Options(_)
            | Self::LegacyEstimate(_)
            | Self::LegacyUpgrade(_)
            | Self::Resize(_)
            | Self::CreateBackup(_) => None,
        }
    }

    /// What it takes of the account's limits, if it takes anything.
    pub fn takes(&self) -> Option<Remaining> {
        match self {
            Self::Restore(restoration) => Some(Remaining::of_vm(restoration.ordered)),
            Self::Resize(change) => Some(Remaining::of_resize(&change.difference)),
            Self::Options(_)
            | Self::LegacyEstimate(_)
            | Self::LegacyUpgrade(_)
            | Self::Overwrite(_)
            | Self::CreateBackup(_) => None,
        }
    }

    /// The overwrite, if it is one.
    pub fn overwriting(&self) -> Option<&Overwriting> {
        match self {
            Self::Overwrite(overwriting) => Some(overwriting),
            Self::Restore(_)
            | Self::Options(_)
            | Self::LegacyEstimate(_)
            | Self::LegacyUpgrade(_)
            | Self::Resize(_)
            | Self::CreateBackup(_) => None,
        }
    }

    /// What was ordered for this VPS, as a sentence continues with it.
    pub fn in_words(&self, vps: &VpsId) -> String {
        match self {
            Self::Options(change) | Self::Resize(change) => change.difference.to_string(),
            Self::LegacyEstimate(values) => format!("an estimate of {}", describe_legacy_order(vps, values)),
            Self::LegacyUpgrade(values) => describe_legacy_order(vps, values),
            Self::Restore(_) | Self::Overwrite(_) => "a restore".to_owned(),
            Self::CreateBackup(_) => "a backup".to_owned(),
        }
    }

    /// The change of options or of a size, if it is one that can be read back.
    pub fn change(&self) -> Option<&Change> {
        match self {
            Self::Options(change) | Self::Resize(change) => Some(change),
            Self::Restore(_)
            | Self::LegacyEstimate(_)
            | Self::LegacyUpgrade(_)
            | Self::Overwrite(_)
            | Self::CreateBackup(_) => None,
        }
    }
}

/// An order of the older route.
pub fn describe_legacy_order(vm: &VpsId, values: &Values) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("the upgrade of VM {vm} ({})", values.join(", "))
}

/// What a change of options, or of a size, orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The values, before and after.
    pub difference: Difference,
    /// The spec had been in force before, and drifted.
    pub corrects_drift: bool,
}

/// What a restore orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restoration {
    /// The new VM's name, with its token.
    pub vm_name: String,
    /// Where it is made; empty where HostUp decides, or a record does not tell.
    pub region: String,
    /// The ordered size.
    pub ordered: Size,
    /// The backup that is restored.
    pub backup: Backup,
}

impl Restoration {
    /// What is bought, in words: `A new VM web-01-r7... (2 cores, 4 GB of memory, 80 GB of disk, in stockholm), restored
    /// from backup bkp_... of 2026-11-20 (12.4 GB),`.
    pub fn described(&self) -> String {
        let Self {
            vm_name,
            region,
            ordered,
            backup,
        } = self;
        let place = if region.is_empty() {
            String::new()
        } else {
            format!(", in {}", Text::bounded(region, 64))
        };
        let cores = if ordered.cpu_cores == 1 { "core" } else { "cores" };
        format!(
            "A new VM {vm_name} ({} {cores}, {} GB of memory, {} GB of disk{place}), restored from backup {} of {} ({} GB),",
            ordered.cpu_cores,
            ordered.memory_gb,
            ordered.storage_gb,
            backup.id,
            backup.created_at.strftime("%Y-%m-%d"),
            backup.size_gb
        )
    }

    /// The token of the VM that it buys.
    pub fn token(&self) -> Option<VmToken> {
        VmToken::of_vm_name(&self.vm_name)
    }
}

/// What a restore onto a VPS that exists orders. The VPS is that of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overwriting {
    /// The VPS that the backup was made of; the target itself where it gets its own backup.
    pub source: VpsId,
    /// What the target was before.
    pub before: TargetState,
    /// The backup that is restored.
    pub backup: Backup,
}

/// The words that HostUp has for a VPS that is about to be overwritten (vps page).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetState {
    /// `name`.
    pub name: Text,
    /// `powerState`; empty where HostUp does not say.
    pub power: Text,
    /// `serviceStatus`; empty where HostUp does not say.
    pub service: Text,
}

impl Overwriting {
    /// What is destroyed and what comes in its place, in words.
    pub fn described(&self, target: &VpsId) -> String {
        let Self {
            source,
            before,
            backup,
        } = self;
        let of = if source == target {
            String::new()
        } else {
            format!(" of VPS {source}")
        };
        format!(
            "Overwriting the disk of VPS {target} ({before}) with backup {}{of} of {} ({} GB)",
            backup.id,
            backup.created_at.strftime("%Y-%m-%d"),
            backup.size_gb
        )
    }
}

impl fmt::Display for TargetState {
    /// E.g. `"web-01", running, active`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, power, service } = self;
        write!(f, "{:?}", name.as_str())?;
        for word in [power, service] {
            if !word.as_str().is_empty() {
                write!(f, ", {word}")?;
            }
        }
        Ok(())
    }
}

/// A backup that is ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBackup {
    /// Its note, by which it is found again.
    pub note: String,
}

impl NewBackup {
    /// Characters of the token in the note: 80 bits.
    const TOKEN: usize = 16;

    /// The one that `record` of this installation orders for an object. A record that was deleted may have had the same
    /// name, but then another object: one object never has two records of one name.
    pub fn of(instance: &InstanceId, record: &RecordName, object: &Uid) -> Self {
        let parts = [instance.as_str(), record.as_str(), object.as_str()];
        let token = digest::base32("hostup-operator/backup-note/v2", &parts, Self::TOKEN);
        Self {
            note: format!("before a change by hostup-operator {token}"),
        }
    }

    /// Whether the note of `backup` contains the token, whatever else HostUp put there.
    pub fn is_noted_on(&self, backup: &ListedBackup) -> bool {
        let token = self.note.rsplit(' ').next();
        let token = token.filter(|token| token.len() == Self::TOKEN);
        let note = backup.note.as_ref().map(Text::as_str);
        token.zip(note).is_some_and(|(token, note)| note.contains(token))
    }
}

/// A backup that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its id.
    pub id: BackupId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its size in GB, as HostUp wrote it.
    pub size_gb: Amount,
    /// `backupType`: `manual` or `scheduled`.
    pub kind: Option<Text>,
    /// `note`.
    pub note: Option<Text>,
}
