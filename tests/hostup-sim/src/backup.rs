//! `POST /api/v2/vps/{id}/backups`: what refuses a new backup, and what executing it does to the world.

use std::time::Duration;

use rust_decimal::Decimal;

use crate::account::ActionGate;
use crate::body::{invalid, optional_members_of, unknown_members};
use crate::clock::iso;
use crate::http::Incoming;
use crate::invoice::{Change, Until, Waiting};
use crate::job::{Job, JobKind, JobView};
use crate::ledger::{BackupMade, Purchase, PurchaseKind};
use crate::problem::Problem;
use crate::routes::Caller;
use crate::vps::{Backup, Vps};
use crate::wire::Json;
use crate::world::World;

/// What becomes of the job and the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BackupOutcome {
    /// The job completes, the backup is there.
    #[default]
    Completes,
    /// The job fails, yet the backup is there.
    FailsWithBackup,
    /// The job fails and there is no backup.
    FailsWithoutBackup,
    /// The backup is there, but the job never ends.
    NeverEnds,
}

/// When the list shows a new backup ("no status field on a backup": the backups page tells no finished
/// one from one that is being made).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Listed {
    /// When it is made.
    #[default]
    WhenMade,
    /// From the POST on, with `createdAt` null and `sizeGb` 0 until it is made; what is never made stays so.
    AtOnce,
}

/// What note the backup gets.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum NoteAs {
    /// The one that was sent.
    #[default]
    Sent,
    /// None.
    Null,
    /// Another one, such as a part of it.
    Other(String),
}

/// How new backups go. [`World::backup`] holds for all of them, [`World::backup_next`] for one.
#[derive(Clone, Debug)]
pub struct BackupBehaviour {
    /// From the POST to the end of the job.
    pub job_duration: Duration,
    /// Steps of the progress that polls show.
    pub progress_steps: u32,
    /// What becomes of the job and the backup.
    pub outcome: BackupOutcome,
    /// How polls tell it.
    pub view: JobView,
    /// When the list shows the backup.
    pub listed: Listed,
    /// Once listed, so many reads of the list still miss it.
    pub list_lag: u32,
    /// The note it gets.
    pub note_as: NoteAs,
    /// `sizeGb`; `None`: as large a part of the storage as in the example of the backups page.
    pub size_gb: Option<Decimal>,
}

impl Default for BackupBehaviour {
    fn default() -> BackupBehaviour {
        BackupBehaviour {
            job_duration: Duration::from_millis(300),
            progress_steps: 4,
            outcome: BackupOutcome::default(),
            view: JobView {
                error: "Backup failed: storage node did not answer".to_owned(),
                ..JobView::default()
            },
            listed: Listed::default(),
            list_lag: 0,
            note_as: NoteAs::default(),
            size_gb: None,
        }
    }
}

impl BackupBehaviour {
    /// The default, with another outcome.
    #[must_use]
    pub fn ending(outcome: BackupOutcome) -> BackupBehaviour {
        BackupBehaviour {
            outcome,
            ..BackupBehaviour::default()
        }
    }
}

impl World {
    /// How the next backup goes that is executed; called twice, the one after it, and so on.
    pub fn backup_next(&mut self, behaviour: BackupBehaviour) {
        self.next_backups.push_back(behaviour);
    }

    /// `actions.canCreateBackup` as it is shown: as set, but closed by a job and by the quota ("gates
    /// already account for [...] quota", backups page). That `autoDeleteOldest` keeps it open is assumed.
    pub(crate) fn backup_gate(&self, vps: &Vps) -> ActionGate {
        let gate = self.while_idle(vps, &vps.can_create_backup);
        let is_full = vps.backup_quota.is_some_and(|limit| vps.backup_count() >= limit);
        if gate.allowed && is_full && !vps.auto_delete_oldest {
            ActionGate::closed("The backup limit is reached.", None)
        } else {
            gate
        }
    }

    /// `POST backups` (its page; it names `note` alone, and modes "must not be sent"). Without `act` it is
    /// answered as if it had been executed.
    pub(crate) fn create_backup(
        &mut self,
        caller: &Caller,
        incoming: &Incoming,
        vps: &str,
        act: bool,
    ) -> Result<(u16, Json), Problem> {
        let own = self.visible_vps(caller.account, vps)?.clone();
        let note = checked_note(incoming)?;
        if self.enforce_gates {
            self.backup_gate(&own).check("vps_not_ready")?;
        }
        let job_id = self.ids.next("job");
        if act {
            self.execute_backup(caller, &own, note, &job_id);
        }
        Ok((202, Job::operation(&job_id, Json::word("queued"), None)))
    }

    fn execute_backup(&mut self, caller: &Caller, vps: &Vps, note: Option<String>, job_id: &str) {
        let (now, at) = (self.now(), self.wall());
        let behaviour = self
            .next_backups
            .pop_front()
            .unwrap_or_else(|| self.backup.clone());
        let outcome = behaviour.outcome;
        let is_made = outcome != BackupOutcome::FailsWithoutBackup;
        let id = self.ids.next("bkp");
        let size = (vps.resources.storage_gb * Decimal::new(155, 3)).normalize();
        let backup = Backup {
            note: match behaviour.note_as {
                NoteAs::Sent => note.clone(),
                NoteAs::Null => None,
                NoteAs::Other(other) => Some(other),
            },
            size_gb: behaviour.size_gb.unwrap_or(size),
            ..Backup::new(&id, "0").created(Some(&iso(at)))
        };
        let line = Purchase {
            job_id: job_id.to_owned(),
            backup_made: Some(BackupMade {
                vps: vps.id.clone(),
                backup: is_made.then(|| id.clone()),
                note,
            }),
            ..self.blank_purchase(caller, PurchaseKind::CreateBackup, &vps.id)
        };
        self.ledger.push(line);
        self.jobs.push(Job {
            id: job_id.to_owned(),
            kind: JobKind::CreateBackup,
            account: caller.account,
            source_vps: vps.id.clone(),
            vps_id: None,
            target: Some(vps.id.clone()),
            backup: Some(id.clone()),
            view: behaviour.view,
            polls: 0,
            made_at: now,
            made: at,
            lasts: behaviour.job_duration,
            ends: outcome != BackupOutcome::NeverEnds,
            fails: matches!(
                outcome,
                BackupOutcome::FailsWithBackup | BackupOutcome::FailsWithoutBackup
            ),
            steps: behaviour.progress_steps,
        });
        if let Some(vps) = self.vps_mut(&vps.id) {
            vps.unlisted.push((id, behaviour.list_lag));
            if behaviour.listed == Listed::AtOnce {
                vps.set_backup(Backup {
                    created_at: None,
                    size_gb: Decimal::ZERO,
                    ..backup.clone()
                });
            }
        }
        let whatever_the_job_says =
            matches!(outcome, BackupOutcome::FailsWithBackup | BackupOutcome::NeverEnds);
        self.waiting.push(Waiting {
            vps: vps.id.clone(),
            change: Change::Backup(backup),
            until: Until::Written {
                job: job_id.to_owned(),
                at: whatever_the_job_says.then(|| now + behaviour.job_duration),
            },
        });
        self.settle();
    }
}

impl Vps {
    /// `quotaInfo.used`
    pub(crate) fn backup_count(&self) -> u32 {
        u32::try_from(self.backups.len()).unwrap_or(u32::MAX)
    }

    /// The backup is in the list from now on; where the quota is full and `autoDeleteOldest` is set, the
    /// oldest ones go (assumed: just as many as must, by `createdAt`).
    pub(crate) fn set_backup(&mut self, backup: Backup) {
        if let Some(own) = self.backups.iter_mut().find(|own| own.id == backup.id) {
            *own = backup;
            return;
        }
        while self.auto_delete_oldest
            && self
                .backup_quota
                .is_some_and(|limit| self.backup_count() >= limit)
        {
            let dated = self.backups.iter().enumerate();
            let oldest = dated.min_by_key(|(_, own)| (own.created_at.is_none(), own.created_at.clone()));
            let Some((place, _)) = oldest else { break };
            self.backups.remove(place);
        }
        self.backups.push(backup);
    }

    /// Whether a read of the list misses it.
    pub(crate) fn is_unlisted(&self, backup: &str) -> bool {
        self.unlisted.iter().any(|(own, left)| own == backup && *left > 0)
    }

    /// The list was read.
    pub(crate) fn list_was_read(&mut self) {
        for (id, left) in &mut self.unlisted {
            if self.backups.iter().any(|own| own.id == *id) {
                *left = left.saturating_sub(1);
            }
        }
    }
}

/// The body's rules (backup creation page: an optional `note`). Unknown members are refused as sibling
/// routes say of themselves.
fn checked_note(incoming: &Incoming) -> Result<Option<String>, Problem> {
    let members = optional_members_of(incoming)?;
    let mut errors = Vec::new();
    let note = members.get("note").map(|note| note.as_str());
    if note == Some(None) {
        errors.push(("/note".to_owned(), "`note` must be a string.".to_owned()));
    }
    errors.extend(unknown_members(&members, &["note"]));
    if errors.is_empty() {
        Ok(note.flatten().map(str::to_owned))
    } else {
        Err(invalid(errors))
    }
}
