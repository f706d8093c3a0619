//! `POST /api/v2/vps/{id}/backups/{backupId}/actions/restore-to-payg`: checking the body, and what
//! executing it does to the world.

use std::time::Duration;

use crate::account::{AccountId, LimitSet};
use crate::body::{integer, invalid, members};
use crate::clock::iso;
use crate::job::{Job, JobKind, JobView};
use crate::ledger::{Purchase, PurchaseKind};
use crate::problem::Problem;
use crate::routes::Caller;
use crate::vps::{Birth, Content, Resources, Vps, whole};
use crate::world::{BlockersAt, World};

/// What becomes of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Outcome {
    /// A VM is made and the job completes.
    #[default]
    Completes,
    /// A VM is made, yet the job fails.
    FailsWithVm,
    /// The job fails and no VM is ever made.
    FailsWithoutVm,
    /// A VM is made, but the job never ends.
    NeverEnds,
}

/// What name the new VM gets.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum NameAs {
    /// The one that was sent.
    #[default]
    Sent,
    /// In upper case.
    UpperCase,
    /// With a suffix: `.example.com`, `-1`.
    Suffixed(String),
    /// Another display name; only the hostname of the details is the one that was sent.
    OnlyHostname(String),
    /// Another name altogether.
    Other(String),
}

/// Whether the new VM boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Boots {
    /// It does.
    #[default]
    Yes,
    /// `powerState` stays `provisioning`.
    Never,
    /// It runs, but `primaryIp` stays null.
    WithoutIp,
}

/// How restores go. [`World::restore`] holds for all of them, [`World::restore_next`] for one.
#[derive(Clone, Debug)]
pub struct RestoreBehaviour {
    /// From the POST to the end of the job.
    pub job_duration: Duration,
    /// Steps of the progress that polls show.
    pub progress_steps: u32,
    /// From the POST to the VM's first appearance in any read.
    pub vm_visible_after: Duration,
    /// From the POST to `powerState: running` and an IP; `None`: when the job ends.
    pub running_after: Option<Duration>,
    /// What becomes of the job.
    pub outcome: Outcome,
    /// How polls tell it.
    pub view: JobView,
    /// Once visible, so many list reads (first pages) still miss the VM.
    pub list_lag: u32,
    /// Reads by id miss it as long as the list does.
    pub lag_hides_by_id: bool,
    /// The name it gets.
    pub name_as: NameAs,
    /// A second VM of the same name is made.
    pub twin: bool,
    /// Sizes it gets instead of the ordered ones.
    pub sizes: Option<Resources>,
    /// Whether it boots.
    pub boots: Boots,
}

impl Default for RestoreBehaviour {
    fn default() -> RestoreBehaviour {
        RestoreBehaviour {
            job_duration: Duration::from_millis(300),
            progress_steps: 4,
            vm_visible_after: Duration::from_millis(50),
            running_after: None,
            outcome: Outcome::default(),
            view: JobView::default(),
            list_lag: 0,
            lag_hides_by_id: false,
            name_as: NameAs::default(),
            twin: false,
            sizes: None,
            boots: Boots::default(),
        }
    }
}

impl RestoreBehaviour {
    /// The default, with another outcome.
    #[must_use]
    pub fn ending(outcome: Outcome) -> RestoreBehaviour {
        RestoreBehaviour {
            outcome,
            ..RestoreBehaviour::default()
        }
    }
}

/// The body, checked.
#[derive(Debug, Default)]
struct Order {
    name: Option<String>,
    region: Option<String>,
    cpu_cores: Option<u32>,
    memory_gb: Option<u32>,
    storage_gb: Option<u32>,
}

/// A restore request as it reached the world.
pub(crate) struct RestoreRequest<'a> {
    pub(crate) caller: Caller<'a>,
    pub(crate) vps: &'a str,
    pub(crate) backup: &'a str,
    pub(crate) content_type: Option<&'a str>,
}

impl World {
    /// Executes a restore: `Ok` is the job id of a purchase that stands in the ledger.
    pub(crate) fn restore_to_payg(&mut self, asked: &RestoreRequest) -> Result<String, Problem> {
        let now = self.now();
        let source = self
            .account(asked.caller.account)
            .vps
            .iter()
            .find(|vps| vps.id == asked.vps && vps.visible(now))
            .cloned()
            .ok_or_else(|| self.not_found("vps_not_found"))?;
        let backup = source
            .backups
            .iter()
            .find(|backup| backup.id == asked.backup)
            .cloned()
            .ok_or_else(|| self.not_found("backup_not_found"))?;
        let needed = whole(source.resources.storage_gb)
            .max(whole(backup.size_gb))
            .max(self.storage_floor);
        let order = self.checked_order(asked, needed)?;
        let sizes = (
            order
                .cpu_cores
                .unwrap_or(whole(source.resources.cpu_cores).clamp(1, 32)),
            order
                .memory_gb
                .unwrap_or(whole(source.resources.memory_gb).clamp(1, 256)),
            order.storage_gb.unwrap_or(needed.clamp(1, 2000)),
        );
        if self.enforce_gates {
            self.check_gates(asked.caller.account, &source, sizes)?;
        }
        Ok(self.execute(asked, &backup.id, order, sizes))
    }

    /// The body's rules (restore-to-payg page, "Request Body"). Unknown members are refused as
    /// sibling routes say of themselves; the name follows the deploy page (both assumed).
    fn checked_order(&self, asked: &RestoreRequest, needed: u32) -> Result<Order, Problem> {
        let mut order = Order::default();
        if asked.caller.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(order);
        }
        let members = members(asked.content_type, asked.caller.body)?;
        let regions = &self.account(asked.caller.account).regions;
        let mut errors = Vec::new();
        for (name, value) in &members {
            let integer = |least, most| integer(name, value, least, most);
            let outcome = match name.as_str() {
                "name" => match value.as_str() {
                    Some(text) if !self.strict_names || good_name(text) => {
                        order.name = Some(text.to_owned());
                        Ok(())
                    }
                    _ => Err("`name` must be 3 to 63 letters, digits or hyphens.".to_owned()),
                },
                "region" => match value.as_str() {
                    Some(text) if regions.iter().any(|region| region == text) => {
                        order.region = Some(text.to_owned());
                        Ok(())
                    }
                    _ => Err("`region` is not a deployment region.".to_owned()),
                },
                "cpuCores" => integer(1, 32).map(|value| order.cpu_cores = Some(value)),
                "memoryGb" => integer(1, 256).map(|value| order.memory_gb = Some(value)),
                "storageGb" => match integer(1, 2000) {
                    Ok(value) if value < needed => Err(format!("`storageGb` must be at least {needed}.")),
                    checked => checked.map(|value| order.storage_gb = Some(value)),
                },
                _ => Err(format!("`{name}` is not a known field.")),
            };
            if let Err(detail) = outcome {
                errors.push((format!("/{name}"), detail));
            }
        }
        if errors.is_empty() {
            Ok(order)
        } else {
            Err(invalid(errors))
        }
    }

    /// "If the account cannot use Cloud VM yet, the response explains the blocker" (restore-to-payg
    /// page).
    fn check_gates(
        &self,
        account: AccountId,
        source: &Vps,
        (cpu_cores, memory_gb, storage_gb): (u32, u32, u32),
    ) -> Result<(), Problem> {
        let account = self.account(account);
        self.while_idle(source, &source.can_restore)
            .check("vps_not_ready")?;
        let mut blockers = account.blockers.clone();
        blockers.extend(
            account
                .limits_remaining()
                .blockers(LimitSet::new(cpu_cores, memory_gb, storage_gb, 1)),
        );
        self.refuse_blocked(&blockers)?;
        if !account.can_deploy.allowed {
            let mut problem = Problem::new(403, "forbidden");
            problem.detail.clone_from(&account.can_deploy.reason);
            return Err(problem);
        }
        Ok(())
    }

    /// Status and place of the words follow the convert page (assumed).
    pub(crate) fn refuse_blocked(&self, blockers: &[String]) -> Result<(), Problem> {
        if blockers.is_empty() {
            return Ok(());
        }
        let unpaid = blockers.iter().all(|word| word == "has_unpaid_invoice");
        let problem = if unpaid {
            Problem::new(409, "conflict")
        } else {
            Problem::new(403, "forbidden")
        };
        let detail = format!("The account cannot use Cloud VM yet: {}.", blockers.join(", "));
        Err(self.with_blockers(problem.detail(detail), blockers))
    }

    /// Puts the words where this world has them: the two texts of the convert page differ.
    pub(crate) fn with_blockers(&self, mut problem: Problem, blockers: &[String]) -> Problem {
        let member = ("blockerReasons".to_owned(), crate::wire::Json::list(blockers));
        if matches!(self.blockers_at, BlockersAt::TopLevel | BlockersAt::Both) {
            problem.top.push(member.clone());
        }
        if matches!(self.blockers_at, BlockersAt::Extensions | BlockersAt::Both) {
            problem.extensions.push(member);
        }
        problem
    }

    fn execute(
        &mut self,
        asked: &RestoreRequest,
        backup: &str,
        order: Order,
        (cpu_cores, memory_gb, storage_gb): (u32, u32, u32),
    ) -> String {
        let (now, at) = (self.now(), self.wall());
        let behaviour = self
            .next_restores
            .pop_front()
            .unwrap_or_else(|| self.restore.clone());
        let job_id = self.ids.next("job");
        let account = self.account(asked.caller.account);
        let pricing = account.pricing.clone();
        let region = order.region.unwrap_or_else(|| account.default_region.clone());
        let sent = order.name.clone().unwrap_or_else(|| self.ids.label("restore"));
        let (name, hostname) = match &behaviour.name_as {
            NameAs::Sent => (sent, None),
            NameAs::UpperCase => (sent.to_uppercase(), None),
            NameAs::Suffixed(suffix) => (format!("{sent}{suffix}"), None),
            NameAs::OnlyHostname(display) => (display.clone(), Some(sent)),
            NameAs::Other(name) => (name.clone(), None),
        };

        let mut made = Vec::new();
        if behaviour.outcome != Outcome::FailsWithoutVm {
            for _ in 0..=u32::from(behaviour.twin) {
                let id = self.ids.next("vps");
                let mut vps = Vps::payg(&id, &name, cpu_cores, memory_gb, storage_gb);
                vps.hostname.clone_from(&hostname);
                vps.region.clone_from(&region);
                vps.billing.currency_code.clone_from(&pricing.currency_code);
                vps.created_at = Some(iso(at));
                vps.content = Content::Backup(backup.to_owned());
                if let Some(sizes) = behaviour.sizes {
                    vps.resources = sizes;
                }
                let running_after = behaviour.running_after.unwrap_or(behaviour.job_duration);
                self.addresses += 1;
                let ip = format!(
                    "198.51.{}.{}",
                    100 + self.addresses / 250,
                    1 + self.addresses % 250
                );
                vps.birth = Some(Birth {
                    visible_at: now + behaviour.vm_visible_after,
                    running_at: (behaviour.boots != Boots::Never).then(|| now + running_after),
                    ip: (behaviour.boots != Boots::WithoutIp).then_some(ip),
                    list_lag: behaviour.list_lag,
                    lag_by_id: behaviour.lag_hides_by_id,
                });
                self.account_mut(asked.caller.account).vps.push(vps);
                made.push(id);
            }
        }
        let mut made = made.into_iter();
        let vps_id = made.next();

        self.jobs.push(Job {
            id: job_id.clone(),
            kind: JobKind::RestoreToPayg,
            account: asked.caller.account,
            source_vps: asked.vps.to_owned(),
            vps_id: vps_id.clone(),
            target: None,
            backup: None,
            view: behaviour.view,
            polls: 0,
            made_at: now,
            made: at,
            lasts: behaviour.job_duration,
            ends: behaviour.outcome != Outcome::NeverEnds,
            fails: matches!(behaviour.outcome, Outcome::FailsWithVm | Outcome::FailsWithoutVm),
            steps: behaviour.progress_steps,
        });
        let line = Purchase {
            at,
            backup: backup.to_owned(),
            name_sent: order.name,
            name,
            region,
            cpu_cores,
            memory_gb,
            storage_gb,
            vps_id,
            also_made: made.collect(),
            job_id: job_id.clone(),
            per_hour: pricing.per_hour(cpu_cores, memory_gb, storage_gb),
            ..self.blank_purchase(&asked.caller, PurchaseKind::RestoreToPayg, asked.vps)
        };
        self.ledger.push(line);
        job_id
    }
}

fn good_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
