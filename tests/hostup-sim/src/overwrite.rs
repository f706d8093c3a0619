//! Restores onto an existing VPS, in place and from another one: what may be restored, what refuses it,
//! and what executing it does to the world.

use std::time::Duration;

use crate::account::{Account, AccountId, ActionGate};
use crate::body::{invalid, members_of, optional_members_of, unknown_members};
use crate::http::Incoming;
use crate::invoice::{Change, Until, Waiting};
use crate::job::{Job, JobKind, JobView};
use crate::ledger::{Overwrite, Purchase, PurchaseKind};
use crate::problem::Problem;
use crate::routes::Caller;
use crate::vps::{Backup, Content, Down, Vps, whole};
use crate::wire::Json;
use crate::world::World;

/// What becomes of the job and the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OverwriteOutcome {
    /// The job completes, the disk holds the backup.
    #[default]
    Completes,
    /// The job fails, the disk is as it was.
    FailsUntouched,
    /// The job fails and the disk is lost; the VPS stays down.
    FailsTorn,
    /// The job fails, yet the disk holds the backup.
    FailsWritten,
    /// The disk holds the backup, but the job never ends.
    NeverEnds,
}

/// How restores onto an existing VPS go. [`World::overwrite`] holds for all of them,
/// [`World::overwrite_next`] for one.
#[derive(Clone, Debug)]
pub struct OverwriteBehaviour {
    /// From the POST to the end of the job.
    pub job_duration: Duration,
    /// Steps of the progress that polls show.
    pub progress_steps: u32,
    /// What becomes of the job and the disk.
    pub outcome: OverwriteOutcome,
    /// How polls tell it.
    pub view: JobView,
    /// `powerState` until the VPS is up again ("the target is stopped", restore-from-vps page); `None`:
    /// as it was.
    pub power_state: Option<String>,
    /// `serviceStatus` until then; `None`: as it was (no page says that it changes).
    pub service_status: Option<String>,
    /// From the POST until the VPS is up again; `None`: when the job ends.
    pub up_after: Option<Duration>,
    /// Whether it comes up again, to the power state that it had (assumed).
    pub comes_up: bool,
}

impl Default for OverwriteBehaviour {
    fn default() -> OverwriteBehaviour {
        OverwriteBehaviour {
            job_duration: Duration::from_millis(300),
            progress_steps: 4,
            outcome: OverwriteOutcome::default(),
            view: JobView::default(),
            power_state: Some("stopped".to_owned()),
            service_status: None,
            up_after: None,
            comes_up: true,
        }
    }
}

impl OverwriteBehaviour {
    /// The default, with another outcome.
    #[must_use]
    pub fn ending(outcome: OverwriteOutcome) -> OverwriteBehaviour {
        OverwriteBehaviour {
            outcome,
            ..OverwriteBehaviour::default()
        }
    }
}

impl World {
    /// How the next restore onto an existing VPS goes that is executed; called twice, the one after it,
    /// and so on.
    pub fn overwrite_next(&mut self, behaviour: OverwriteBehaviour) {
        self.next_overwrites.push_back(behaviour);
    }

    /// `POST backups/{backupId}/actions/restore`. Its page is not stored: body, gate and refusals follow
    /// the sibling routes. Without `act` it is answered as if it had been executed.
    pub(crate) fn restore_in_place(
        &mut self,
        caller: &Caller,
        incoming: &Incoming,
        vps: &str,
        backup: &str,
        act: bool,
    ) -> Result<(u16, Json), Problem> {
        let own = self.visible_vps(caller.account, vps)?.clone();
        let backup = self.backup_of(&own, backup)?;
        let errors = unknown_members(&optional_members_of(incoming)?, &[]);
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        self.check_idle(&own, &own.can_restore)?;
        Ok(self.accept_overwrite(caller, &own, &own.id, &backup, act))
    }

    /// `POST backups/actions/restore-from-vps` (its page; how a disk that is too small is refused is
    /// assumed). Without `act` it is answered as if it had been executed.
    pub(crate) fn restore_from_vps(
        &mut self,
        caller: &Caller,
        incoming: &Incoming,
        vps: &str,
        act: bool,
    ) -> Result<(u16, Json), Problem> {
        let target = self.visible_vps(caller.account, vps)?.clone();
        let refuse = |name: &str, detail: String| invalid(vec![(format!("/{name}"), detail)]);
        let (source, backup) = checked_order(incoming)?;
        if source == target.id {
            let detail = "`sourceVpsId` must be another server than the target.";
            return Err(refuse("sourceVpsId", detail.to_owned()));
        }
        let now = self.now();
        let source = sources(self.account(caller.account))
            .map(|(own, _)| own)
            .find(|own| own.id == source && own.visible(now))
            .ok_or_else(|| self.not_found("vps_not_found"))?;
        let backup = self.backup_of(source, &backup)?;
        let needed = whole(source.resources.storage_gb).max(whole(backup.size_gb));
        if target.resources.storage_gb < needed.into() {
            let detail = format!("The target needs {needed} GB of storage for this backup.");
            return Err(refuse("backupId", detail));
        }
        self.check_idle(&target, &target.can_restore_from_another)?;
        let source = source.id.clone();
        Ok(self.accept_overwrite(caller, &target, &source, &backup, act))
    }

    /// `GET backups/restore-sources` (its page, cut after `sizeGb`). That servers without a backup are not
    /// listed is assumed.
    pub(crate) fn restore_sources(&self, account: AccountId, id: &str) -> Result<(u16, Json), Problem> {
        let target = self.visible_vps(account, id)?;
        let now = self.now();
        let rows = sources(self.account(account))
            .filter(|(own, _)| own.id != target.id && own.visible(now) && !own.backups.is_empty())
            .map(|(own, kind)| {
                let backups = own.backups.iter().map(|backup| {
                    Json::object([
                        ("id", (&backup.id).into()),
                        ("displayId", (&backup.display_id).into()),
                        ("storageKey", (&backup.storage_key).into()),
                        ("createdAt", backup.created_at.as_ref().into()),
                        ("sizeGb", backup.size_gb.ceil().into()),
                    ])
                });
                Json::object([
                    ("id", (&own.id).into()),
                    ("name", (&own.name).into()),
                    ("serviceStatus", Json::word(own.service_status_at(now))),
                    ("sourceType", Json::word(kind)),
                    ("backups", Json::list(backups)),
                ])
            });
        Ok((200, Json::object([("sources", Json::list(rows))])))
    }

    fn backup_of(&self, vps: &Vps, id: &str) -> Result<Backup, Problem> {
        let backup = vps.backups.iter().find(|backup| backup.id == id).cloned();
        backup.ok_or_else(|| self.not_found("backup_not_found"))
    }

    /// A closed gate refuses, if gates are enforced.
    pub(crate) fn check_idle(&self, vps: &Vps, gate: &ActionGate) -> Result<(), Problem> {
        if self.enforce_gates {
            self.while_idle(vps, gate).check("vps_not_ready")?;
        }
        Ok(())
    }

    fn accept_overwrite(
        &mut self,
        caller: &Caller,
        target: &Vps,
        source: &str,
        backup: &Backup,
        act: bool,
    ) -> (u16, Json) {
        let job_id = self.ids.next("job");
        if act {
            self.execute_overwrite(caller, target, source, backup, &job_id);
        }
        (202, Job::operation(&job_id, Json::word("queued"), None))
    }

    fn execute_overwrite(
        &mut self,
        caller: &Caller,
        target: &Vps,
        source: &str,
        backup: &Backup,
        job_id: &str,
    ) {
        let now = self.now();
        let behaviour = self
            .next_overwrites
            .pop_front()
            .unwrap_or_else(|| self.overwrite.clone());
        let outcome = behaviour.outcome;
        let in_place = source == target.id;
        let (kind, job_kind) = if in_place {
            (PurchaseKind::Restore, JobKind::Restore)
        } else {
            (PurchaseKind::RestoreFromVps, JobKind::RestoreFromVps)
        };
        let touched = outcome != OverwriteOutcome::FailsUntouched;
        let fails = matches!(
            outcome,
            OverwriteOutcome::FailsUntouched | OverwriteOutcome::FailsTorn | OverwriteOutcome::FailsWritten
        );
        let comes_up = behaviour.comes_up && outcome != OverwriteOutcome::FailsTorn;
        let up_at = now + behaviour.up_after.unwrap_or(behaviour.job_duration);
        let line = Purchase {
            backup: backup.id.clone(),
            job_id: job_id.to_owned(),
            overwrite: Some(Overwrite {
                target: target.id.clone(),
                backup: backup.id.clone(),
                source: source.to_owned(),
                before: target.content.clone(),
                touched,
            }),
            ..self.blank_purchase(caller, kind, &target.id)
        };
        self.ledger.push(line);
        self.jobs.push(Job {
            id: job_id.to_owned(),
            kind: job_kind,
            account: caller.account,
            source_vps: source.to_owned(),
            vps_id: None,
            target: Some(target.id.clone()),
            backup: None,
            view: behaviour.view,
            polls: 0,
            made_at: now,
            made: self.wall(),
            lasts: behaviour.job_duration,
            ends: outcome != OverwriteOutcome::NeverEnds,
            fails,
            steps: behaviour.progress_steps,
        });
        if let Some(vps) = self.vps_mut(&target.id) {
            if touched {
                vps.content = Content::Torn;
            }
            vps.down = Some(Down {
                power_state: behaviour.power_state,
                service_status: behaviour.service_status,
                up_at: comes_up.then_some(up_at),
                comes_up: behaviour.comes_up,
            });
        }
        let whatever_the_job_says = matches!(
            outcome,
            OverwriteOutcome::FailsWritten | OverwriteOutcome::NeverEnds
        );
        self.waiting.push(Waiting {
            vps: target.id.clone(),
            change: Change::Content(Content::Backup(backup.id.clone())),
            until: Until::Written {
                job: job_id.to_owned(),
                at: whatever_the_job_says.then(|| now + behaviour.job_duration),
            },
        });
        self.settle();
    }
}

/// All that an account can restore from, and the `sourceType` of each.
fn sources(account: &Account) -> impl Iterator<Item = (&Vps, &'static str)> {
    let servers = account.vps.iter().map(|vps| (vps, "server"));
    servers.chain(account.retained.iter().map(|vps| (vps, "retained")))
}

/// The body's rules (restore-from-vps page: both members required). Unknown members are refused as
/// sibling routes say of themselves.
fn checked_order(incoming: &Incoming) -> Result<(String, String), Problem> {
    let members = members_of(incoming)?;
    let mut errors = Vec::new();
    let mut id = |name: &str| match members.get(name).map(|value| value.as_str()) {
        Some(Some(text)) if !text.is_empty() => text.to_owned(),
        Some(_) => {
            errors.push((format!("/{name}"), format!("`{name}` must be a string.")));
            String::new()
        }
        None => {
            errors.push((format!("/{name}"), format!("`{name}` is required.")));
            String::new()
        }
    };
    let order = (id("sourceVpsId"), id("backupId"));
    errors.extend(unknown_members(&members, &["sourceVpsId", "backupId"]));
    if errors.is_empty() {
        Ok(order)
    } else {
        Err(invalid(errors))
    }
}
