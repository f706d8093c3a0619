//! The backups of a VPS, and what may be restored onto one.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Gate, LONGEST_ID, by_name};
use crate::domain::provider::backup::ListedBackup;
use crate::domain::values::ids::{BackupId, VpsId};
use crate::domain::values::json::{Number, Object, Shown, or_missing};
use crate::domain::values::text::Text;

#[derive(Deserialize)]
#[allow(clippy::struct_field_names)] // HostUp's names
pub(in crate::hostup) struct Backups {
    pub(in crate::hostup) backups: Vec<Object<Backup>>,
    #[serde(default, deserialize_with = "by_name")]
    pub(in crate::hostup) actions: Option<BackupActions>,
    #[serde(default, rename = "quotaInfo", deserialize_with = "or_missing")]
    pub(in crate::hostup) quota: Option<Quota>,
}

#[derive(Deserialize, Default)]
pub(in crate::hostup) struct Quota {
    #[serde(default)]
    pub(in crate::hostup) remaining: Option<Number>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // HostUp's names
pub(in crate::hostup) struct BackupActions {
    #[serde(default, deserialize_with = "by_name")]
    pub(in crate::hostup) can_restore: Option<Gate>,
    #[serde(default, deserialize_with = "by_name")]
    pub(in crate::hostup) can_restore_from_another_vps: Option<Gate>,
    #[serde(default, deserialize_with = "by_name")]
    pub(in crate::hostup) can_create_backup: Option<Gate>,
}

/// `GET /vps/{id}/backups/restore-sources` (its page; cut after `sizeGb`).
#[derive(Deserialize)]
pub(in crate::hostup) struct RestoreSources {
    pub(in crate::hostup) sources: Vec<Object<RestoreSource>>,
}

#[derive(Deserialize)]
pub(in crate::hostup) struct RestoreSource {
    id: Option<String>,
    #[serde(default)]
    backups: Vec<Object<Backup>>,
}

impl RestoreSource {
    pub(in crate::hostup) fn into_listed(self) -> Option<(VpsId, Vec<ListedBackup>)> {
        let id = VpsId::new(Text::bounded(self.id.as_deref()?, LONGEST_ID).as_str());
        let backups = self.backups.into_iter();
        Some((
            id,
            backups
                .filter_map(|Object(backup)| backup.into_listed())
                .collect(),
        ))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::hostup) struct Backup {
    id: Option<String>,
    created_at: Option<String>,
    size_gb: Option<Number>,
    #[serde(default, rename = "backupType")]
    kind: Shown,
    #[serde(default)]
    note: Shown,
}

impl Backup {
    /// `None` if the id has characters that a URL path does not allow.
    pub(in crate::hostup) fn into_listed(self) -> Option<ListedBackup> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let word = |Shown(value): &Shown, most| {
            let text = Text::bounded(value.as_str().unwrap_or_default(), most);
            Some(text).filter(|text| !text.as_str().is_empty())
        };
        let id = self
            .id
            .filter(|id| (1..=64).contains(&id.len()) && id.chars().all(plain))?;
        Some(ListedBackup {
            id: BackupId::new(id),
            created_at: self
                .created_at
                .and_then(|at| at.parse::<Timestamp>().ok())
                // A year before 0 is no time of RFC 3339, which the status is written in.
                .filter(|at| *at >= Timestamp::UNIX_EPOCH),
            size_gb: self.size_gb.and_then(|size| size.0),
            kind: word(&self.kind, 40),
            note: word(&self.note, 200),
        })
    }
}
