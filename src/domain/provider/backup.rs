//! Backups as HostUp lists them, and the choice among them.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::action::ordered::Backup;
use crate::ledger::record::later;
use crate::provider::gate::{Gate, GateName, ProviderGate};
use crate::values::ids::BackupId;
use crate::values::moment::is_dated_ahead;
use crate::values::money::Amount;
use crate::values::text::Text;

/// One backup as listed (backups page); HostUp has no state for one that is still being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBackup {
    /// Its id.
    pub id: BackupId,
    /// When it was made; `None` while it is not complete.
    pub created_at: Option<Timestamp>,
    /// Its size; `None` where missing.
    pub size_gb: Option<Amount>,
    /// `backupType`: `manual` or `scheduled`.
    pub kind: Option<Text>,
    /// `note`.
    pub note: Option<Text>,
}

/// The backups of a VPS that is to be changed or overwritten (backups page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnBackups {
    /// Those that HostUp lists.
    pub listed: Vec<BackupId>,
    /// `backups.actions.canCreateBackup`.
    pub can_create: ProviderGate,
}

impl ListedBackup {
    /// The backup, if it can be restored: it has a time and a size.
    pub fn complete(&self) -> Option<Backup> {
        Some(Backup {
            id: self.id.clone(),
            created_at: self.created_at?,
            size_gb: self.size_gb.filter(|size| *size > Amount::ZERO)?,
            kind: self.kind.clone(),
            note: self.note.clone(),
        })
    }
}

/// Which backup the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupChoice {
    /// This one.
    Id(BackupId),
    /// The newest complete one that fits.
    Newest(BackupFilter),
}

/// What a backup must be to be chosen; what is not given fits all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupFilter {
    /// Made before then.
    pub before: Option<Timestamp>,
    /// Not older when it is chosen.
    pub max_age: Option<Duration>,
    /// Of this `backupType`.
    pub kind: Option<String>,
    /// With exactly this note.
    pub note: Option<String>,
}

impl BackupFilter {
    /// Why the backup does not fit; nothing where it does.
    fn misses(&self, backup: &Backup, now: Timestamp) -> Vec<String> {
        let is = |text: &Option<Text>, wanted: &String| {
            text.as_ref().map(Text::as_str) == Some(Text::new(wanted).as_str())
        };
        let before = self.before.filter(|before| backup.created_at >= *before);
        let old = self.max_age.filter(|most| !is_young(backup, *most, now));
        let kind = self.kind.as_ref().filter(|kind| !is(&backup.kind, kind));
        let note = self.note.as_ref().filter(|note| !is(&backup.note, note));
        let all = [
            before.map(|before| format!("it was not made before {before}")),
            old.map(|most| format!("it is older than {}", Age(most))),
            kind.map(|kind| format!("it is not {kind}")),
            note.map(|note| format!("its note is not {:?}", Text::bounded(note, 80).as_str())),
        ];
        all.into_iter().flatten().collect()
    }
}

/// A span of time as people write it, e.g. `36h`.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.as_secs() / 60;
        match minutes {
            days if days % (24 * 60) == 0 => write!(f, "{}d", days / (24 * 60)),
            hours if hours % 60 == 0 => write!(f, "{}h", hours / 60),
            _ => write!(f, "{minutes}m"),
        }
    }
}

/// Picks the backup, or says why there is none. It must be complete (`createdAt`, `sizeGb > 0`). What was chosen before
/// stays chosen; that it became too old since is told by its gate.
///
/// # Errors
/// The words for the user.
pub fn choose(
    choice: &BackupChoice,
    chosen_before: Option<&BackupId>,
    listed: &[ListedBackup],
    now: Timestamp,
) -> Result<Backup, Text> {
    match (choice, chosen_before) {
        (BackupChoice::Id(id), _) => by_id(id, listed),
        (BackupChoice::Newest(filter), None) => newest(filter, listed, now),
        (BackupChoice::Newest(filter), Some(id)) => {
            let chosen = by_id(id, listed)?;
            // The status tells what was chosen, and others than the operator may have the right to write it.
            let ageless = BackupFilter {
                max_age: None,
                ..filter.clone()
            };
            let misses = ageless.misses(&chosen, now);
            if misses.is_empty() {
                return Ok(chosen);
            }
            Err(Text::new(&format!(
                "backup {id}, which was chosen before, does not fit backupSelector: {}",
                misses.join(", ")
            )))
        }
    }
}

fn by_id(id: &BackupId, listed: &[ListedBackup]) -> Result<Backup, Text> {
    let found = listed.iter().find(|backup| backup.id == *id);
    let found = found.ok_or_else(|| Text::new(&format!("the source VPS has no backup {id} (any more)")))?;
    found.complete().ok_or_else(|| {
        Text::new(&format!(
            "backup {id} is not complete: it has no creation time or no size"
        ))
    })
}

fn newest(filter: &BackupFilter, listed: &[ListedBackup], now: Timestamp) -> Result<Backup, Text> {
    let mut complete: Vec<Backup> = listed.iter().filter_map(ListedBackup::complete).collect();
    complete.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    if complete.is_empty() {
        return Err(Text::new("the source VPS has no complete backup"));
    }
    if let Some(fits) = complete
        .iter()
        .find(|backup| filter.misses(backup, now).is_empty())
    {
        return Ok(fits.clone());
    }
    // The one that misses least, and of several the newest.
    let closest = complete
        .iter()
        .min_by_key(|backup| filter.misses(backup, now).len());
    let why = closest.map_or_else(String::new, |backup| {
        format!(
            "; the closest is {} of {}: {}",
            backup.id,
            backup.created_at,
            filter.misses(backup, now).join(", ")
        )
    });
    Err(Text::new(&format!(
        "no backup of the source VPS fits backupSelector{why}"
    )))
}

/// Whether the backup is not older.
fn is_young(backup: &Backup, most: Duration, now: Timestamp) -> bool {
    now <= later(backup.created_at, most) && !is_dated_ahead(backup.created_at, now)
}

/// The gate of a backup that must not be older than `most`. It tells when it closes, and not how old the backup is now.
pub fn age_gate(backup: &Backup, most: Duration, now: Timestamp) -> Gate {
    let end = later(backup.created_at, most);
    let is_young = is_young(backup, most, now);
    let reason = if now <= end && !is_young {
        format!("backup {} is dated ahead: {}", backup.id, backup.created_at)
    } else if is_young {
        format!("backup {} is younger than {} until {end}", backup.id, Age(most))
    } else {
        format!("backup {} is older than {} since {end}", backup.id, Age(most))
    };
    Gate::new(GateName::BackupAge, is_young, "", &reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(minute: u32) -> Timestamp {
        let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        later(start, Duration::from_secs(u64::from(minute) * 60))
    }

    fn listed() -> impl Strategy<Value = Vec<ListedBackup>> {
        let kind = prop_oneof![Just(None), Just(Some("manual")), Just(Some("scheduled"))];
        let note = prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))];
        let one = (proptest::option::of(0_u32..8), 0_u32..3, kind, note);
        proptest::collection::vec(one, 0..8).prop_map(|all| {
            let each = all.into_iter().enumerate();
            each.map(|(n, (minute, size, kind, note))| ListedBackup {
                id: BackupId::new(format!("bkp_{n}")),
                created_at: minute.map(at),
                size_gb: Amount::parse(&size.to_string()),
                kind: kind.map(Text::new),
                note: note.map(Text::new),
            })
            .collect()
        })
    }

    fn filter() -> impl Strategy<Value = BackupFilter> {
        let kind = proptest::option::of(prop_oneof![Just("manual"), Just("scheduled")]);
        let note = proptest::option::of(prop_oneof![Just("a"), Just("b")]);
        let minute = || proptest::option::of(0_u32..9);
        (minute(), minute(), kind, note).prop_map(|(before, age, kind, note)| BackupFilter {
            before: before.map(at),
            max_age: age.map(|minutes| Duration::from_secs(u64::from(minutes) * 60)),
            kind: kind.map(str::to_owned),
            note: note.map(str::to_owned),
        })
    }

    /// What fits, written down once more and more slowly.
    fn fits(backup: &ListedBackup, filter: &BackupFilter, now: Timestamp) -> bool {
        let Some(made) = backup.created_at else {
            return false;
        };
        let word = |text: &Option<Text>| text.as_ref().map(ToString::to_string);
        if backup.size_gb == Some(Amount::ZERO) || filter.before.is_some_and(|before| before <= made) {
            return false;
        }
        let age = now.duration_since(made).as_secs();
        if filter
            .max_age
            .is_some_and(|most| age < -300 || age > i64::try_from(most.as_secs()).unwrap())
        {
            return false;
        }
        (filter.kind.is_none() || word(&backup.kind) == filter.kind)
            && (filter.note.is_none() || word(&backup.note) == filter.note)
    }

    proptest! {
        #[test]
        fn the_newest_complete_backup_that_fits_is_chosen_and_no_other(
            listed in listed(), filter in filter(), now in 0_u32..12
        ) {
            let now = at(now);
            let chosen = choose(&BackupChoice::Newest(filter.clone()), None, &listed, now);
            let fitting = listed.iter().filter(|backup| fits(backup, &filter, now));
            let newest = fitting.max_by_key(|backup| (backup.created_at, backup.id.clone()));
            match (chosen, newest) {
                (Ok(chosen), Some(newest)) => prop_assert_eq!(&chosen.id, &newest.id),
                (Err(why), None) => {
                    let complete = listed.iter().filter_map(ListedBackup::complete).count();
                    prop_assert_eq!(why.as_str().contains("the closest is bkp_"), complete > 0, "{}", why);
                }
                (chosen, newest) => prop_assert!(false, "{chosen:?} and not {newest:?}"),
            }
        }
    }

    #[test]
    fn what_fits_nothing_names_the_backup_that_misses_least() {
        let backup = |id: &str, minute, kind, note| ListedBackup {
            id: BackupId::new(id),
            created_at: Some(at(minute)),
            size_gb: Amount::parse("3"),
            kind: Some(Text::new(kind)),
            note: Some(Text::new(note)),
        };
        let listed = [
            backup("bkp_new", 9, "scheduled", "nightly"),
            backup("bkp_old", 1, "manual", "nightly"),
        ];
        let filter = BackupFilter {
            before: Some(at(5)),
            kind: Some("manual".to_owned()),
            note: Some("before the move".to_owned()),
            ..BackupFilter::default()
        };
        let why = choose(&BackupChoice::Newest(filter.clone()), None, &listed, at(10)).unwrap_err();
        assert_eq!(
            why.as_str(),
            "no backup of the source VPS fits backupSelector; the closest is bkp_old of 2026-11-01T00:01:00Z: its \
             note is not \"before the move\""
        );
        // The status names another one than the selector chooses.
        let pinned = BackupId::new("bkp_new");
        let why = choose(&BackupChoice::Newest(filter), Some(&pinned), &listed, at(10)).unwrap_err();
        assert_eq!(
            why.as_str(),
            "backup bkp_new, which was chosen before, does not fit backupSelector: it was not made before \
             2026-11-01T00:05:00Z, it is not manual, its note is not \"before the move\""
        );
        let any = BackupChoice::Newest(BackupFilter {
            max_age: Some(Duration::from_secs(60)),
            ..BackupFilter::default()
        });
        assert_eq!(choose(&any, Some(&pinned), &listed, at(20)).unwrap().id, pinned);
    }

    #[test]
    fn a_backup_that_becomes_too_old_closes_its_gate() {
        let backup = Backup {
            id: BackupId::new("bkp_1"),
            created_at: at(0),
            size_gb: Amount::parse("3").unwrap(),
            kind: None,
            note: None,
        };
        let hour = Duration::from_secs(3600);
        let gate = |minute| age_gate(&backup, hour, at(minute));
        assert!(gate(60).allowed && !gate(61).allowed);
        let ahead = Backup {
            created_at: at(6),
            ..backup.clone()
        };
        assert!(!age_gate(&ahead, hour, at(0)).allowed && age_gate(&ahead, hour, at(1)).allowed);
        assert_eq!(gate(61).reason, gate(600).reason);
        assert_eq!(
            gate(61).describe(),
            "backupAge: backup bkp_1 is older than 1h since 2026-11-01T01:00:00Z"
        );
    }
}
