//! What can be asked of HostUp with one key, and what it answered.

use std::sync::Arc;

use crate::domain::ledger::record::Invoice;
use crate::domain::options::Preview;
use crate::domain::provider::gate::ProviderGate;
use crate::domain::provider::inventory::Vm;
use crate::domain::provider::job::JobState;
use crate::domain::provider::options::Offer;
use crate::domain::provider::preflight::{Deployments, Eligibility, Remaining};
use crate::domain::values::ids::{Uid, VpsId};
use crate::domain::values::moment::Moment;
use crate::domain::values::text::Text;
use crate::hostup::{BackupList, OwnVps, ReadError, RestoreSource, Route};

/// One question. Two that are equal are answered by one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// What may be deployed, where, and at what rates.
    Deployments,
    /// What the limits of the account leave.
    Limits,
    /// Every VPS of the account.
    Vms,
    /// A VPS, to prove that the key reads it and to learn its size and billing.
    Vps(VpsId),
    /// Its backups, and their gates.
    Backups(VpsId),
    /// The backups of others that may be restored onto it.
    RestoreSources(VpsId),
    /// Whether the account may use Cloud VMs.
    Eligibility(VpsId),
    /// Its options.
    Options(VpsId),
    /// Whether it may be resized, where [`Self::Vps`] does not tell.
    CanResize(VpsId),
    /// The invoices that block a change of it.
    Invoices(VpsId),
    /// A VM that was bought, with its power state.
    Vm(VpsId),
    /// A job, by the path that HostUp named.
    Job(String),
    /// A dry run of options of a VPS with this body, for one object: it is never shared.
    DryRun(VpsId, String, Uid),
}

/// What questions have in common that fail together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The account.
    Account,
    /// One VPS.
    Vps(VpsId),
    /// One job.
    Job(String),
}

impl Question {
    /// What it is about.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Deployments | Self::Limits | Self::Vms => Scope::Account,
            Self::Vps(vps)
            | Self::Backups(vps)
            | Self::RestoreSources(vps)
            | Self::Eligibility(vps)
            | Self::Options(vps)
            | Self::CanResize(vps)
            | Self::Invoices(vps)
            | Self::Vm(vps)
            | Self::DryRun(vps, _, _) => Scope::Vps(vps.clone()),
            Self::Job(path) => Scope::Job(path.clone()),
        }
    }

    /// The route that answers it.
    pub fn route(&self) -> Route {
        match self {
            Self::Deployments => Route::Deployments,
            Self::Limits => Route::Limits,
            Self::Vms => Route::VpsList,
            Self::Vps(_) | Self::Vm(_) => Route::Vps,
            Self::Backups(_) => Route::Backups,
            Self::RestoreSources(_) => Route::RestoreSources,
            Self::Eligibility(_) => Route::ConvertToCloud,
            Self::Options(_) => Route::UpgradeOptions,
            Self::CanResize(_) => Route::VpsDetails,
            Self::Invoices(_) => Route::BillingCycle,
            Self::Job(_) => Route::Job,
            Self::DryRun(_, _, _) => Route::ConfigPreview,
        }
    }
}

/// What HostUp answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To [`Question::Deployments`].
    Deployments(Deployments),
    /// To [`Question::Limits`].
    Limits(Remaining),
    /// To [`Question::Vms`].
    Vms(Arc<[Vm]>),
    /// To [`Question::Vps`].
    Vps(OwnVps),
    /// To [`Question::Backups`].
    Backups(BackupList),
    /// To [`Question::RestoreSources`].
    RestoreSources(Vec<RestoreSource>),
    /// To [`Question::Eligibility`].
    Eligibility(Eligibility),
    /// To [`Question::Options`].
    Options(Vec<Offer>),
    /// To [`Question::CanResize`].
    CanResize(ProviderGate),
    /// To [`Question::Invoices`].
    Invoices(Vec<Invoice>),
    /// To [`Question::Vm`].
    Vm(Vm),
    /// To [`Question::Job`]: where it stands, and HostUp's own word for that.
    Job(JobState, Option<Text>),
    /// To [`Question::DryRun`].
    DryRun(Preview),
}

impl Answer {
    /// A job that has ended does not change any more.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Job(JobState::Completed { .. } | JobState::Failed { .. }, _)
        )
    }
}

/// An answer, and when its call began and ended.
#[derive(Debug, Clone)]
pub struct Reading {
    /// HostUp may have looked at any moment from then on.
    pub began: Moment,
    /// Whatever is seen in it had happened by then.
    pub ended: Moment,
    /// What it says.
    pub answer: Result<Answer, ReadError>,
}

/// The readings that answer all questions of one look.
#[derive(Debug, Clone, Default)]
pub struct Readings(Vec<(Question, Arc<Reading>)>);

impl Readings {
    /// Of these questions.
    pub fn new(answered: Vec<(Question, Arc<Reading>)>) -> Self {
        Self(answered)
    }

    /// When the first of their calls began; `None` where there is none.
    pub fn began(&self) -> Option<Moment> {
        let all = self.0.iter().map(|(_, reading)| reading.began);
        all.min_by_key(|began| began.with_sleep)
    }

    /// The reading that answers `question`.
    pub fn of(&self, question: &Question) -> Option<&Reading> {
        let found = self.0.iter().find(|(asked, _)| asked == question);
        found.map(|(_, reading)| reading.as_ref())
    }

    /// Whether HostUp did not know the key.
    pub fn key_is_refused(&self) -> bool {
        let refused = |reading: &Reading| matches!(reading.answer, Err(ReadError::Unauthorized(_)));
        self.0.iter().any(|(_, reading)| refused(reading))
    }

    /// Every VPS of the account. A list without a VPS that the key has just read is not complete, and what it lacks may be
    /// there.
    ///
    /// # Errors
    /// The [`ReadError`] that came instead, as of all that follow.
    pub fn vms(&self) -> Result<Arc<[Vm]>, ReadError> {
        let vms = self.take(&Question::Vms, |answer| match answer {
            Answer::Vms(vms) => Some(vms.clone()),
            _ => None,
        })?;
        let lacks = |own: &&VpsId| !vms.iter().any(|vm| vm.id == **own);
        match self.provided().find(lacks) {
            Some(own) => Err(ReadError::unreadable(
                Route::VpsList,
                &format!("the list of VPSs does not show {own}, which the key reads"),
            )),
            None => Ok(vms),
        }
    }

    /// Each VPS that was read by itself, and that HostUp provides.
    fn provided(&self) -> impl Iterator<Item = &VpsId> {
        self.0
            .iter()
            .filter_map(|(question, reading)| match (question, &reading.answer) {
                (Question::Vps(own), Ok(Answer::Vps(read))) if !read.ended => Some(own),
                _ => None,
            })
    }

    /// A VPS that the key reads.
    pub fn own_vps(&self, vps: &VpsId) -> Result<OwnVps, ReadError> {
        self.take(&Question::Vps(vps.clone()), |answer| match answer {
            Answer::Vps(own) => Some(own.clone()),
            _ => None,
        })
    }

    /// The options of a VPS.
    pub fn options(&self, vps: &VpsId) -> Result<Vec<Offer>, ReadError> {
        self.take(&Question::Options(vps.clone()), |answer| match answer {
            Answer::Options(offers) => Some(offers.clone()),
            _ => None,
        })
    }

    /// What may be deployed.
    pub fn deployments(&self) -> Result<Deployments, ReadError> {
        self.take(&Question::Deployments, |answer| match answer {
            Answer::Deployments(deployments) => Some(deployments.clone()),
            _ => None,
        })
    }

    /// What the limits of the account leave, and when the call that read them began.
    pub fn limits(&self) -> Result<(Remaining, Moment), ReadError> {
        let limits = self.take(&Question::Limits, |answer| match answer {
            Answer::Limits(remaining) => Some(*remaining),
            _ => None,
        })?;
        let reading = self.of(&Question::Limits);
        let missing = || ReadError::unreadable(Route::Limits, "the question was not asked");
        Ok((limits, reading.ok_or_else(missing)?.began))
    }

    /// A VM that was bought.
    pub fn vm(&self, vps: &VpsId) -> Result<Vm, ReadError> {
        self.take(&Question::Vm(vps.clone()), |answer| match answer {
            Answer::Vm(vm) => Some(vm.clone()),
            _ => None,
        })
    }

    /// What `pick` takes of the answer to `question`.
    ///
    /// # Errors
    /// The [`ReadError`] that came instead.
    pub fn take<T>(
        &self,
        question: &Question,
        pick: impl FnOnce(&Answer) -> Option<T>,
    ) -> Result<T, ReadError> {
        let missing = || ReadError::unreadable(question.route(), "the question was not asked");
        let reading = self.of(question).ok_or_else(missing)?;
        pick(reading.answer.as_ref().map_err(Clone::clone)?).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::action::ordered::TargetState;
    use crate::domain::consent::price::BillingCycle;

    fn vm(id: &str) -> Vm {
        Vm {
            id: VpsId::new(id),
            name: id.to_owned(),
            size: None,
            is_payg: true,
            primary_ip: None,
            running: true,
            ended: None,
            result_of: None,
        }
    }

    fn read(ended: bool) -> Answer {
        Answer::Vps(OwnVps {
            size: None,
            is_payg: false,
            cycle: BillingCycle::Unknown,
            state: TargetState::default(),
            ended,
            can_resize: None,
        })
    }

    #[test]
    fn a_list_without_a_vps_that_the_key_reads_is_not_complete() {
        let at = Moment {
            wall: Timestamp::UNIX_EPOCH,
            monotonic: std::time::Duration::ZERO,
            with_sleep: std::time::Duration::ZERO,
        };
        let gone = Err(ReadError::NotFound {
            route: Route::Vps,
            said: Text::new(""),
        });
        let rows = [
            (vec!["vps_1", "vps_2"], Ok(read(false)), true),
            (vec!["vps_2"], Ok(read(false)), false),
            (vec![], Ok(read(false)), false),
            (vec!["vps_2"], Ok(read(true)), true),
            (vec!["vps_2"], gone, true),
        ];
        for (listed, own, is_complete) in rows {
            let list = Answer::Vms(listed.iter().map(|id| vm(id)).collect());
            let reading = |answer| {
                Arc::new(Reading {
                    began: at,
                    ended: at,
                    answer,
                })
            };
            let readings = Readings::new(vec![
                (Question::Vps(VpsId::new("vps_1")), reading(own.clone())),
                (Question::Vms, reading(Ok(list))),
            ]);
            let vms = readings.vms();
            assert_eq!(vms.is_ok(), is_complete, "{listed:?} {own:?}: {vms:?}");
            let says = vms.map_or_else(|error| error.to_string(), |_| String::new());
            assert_eq!(says.contains("does not show vps_1"), !is_complete, "{says}");
        }
    }
}
