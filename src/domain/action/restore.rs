//! A backup restored to a new pay-as-you-go VM (restore-to-payg page): a job, then the VM by its token.

use jiff::Timestamp;

use super::follow::{
    ABSENT_READS, Input, InventoryReading, Memo, Need, absent, has_new_answer, open_to_another, refuted,
    refuted_by, unreadable,
};
use super::{PAID_AGAIN, Row, job};
use crate::action::ordered::Restoration;
use crate::ledger::record::{Bought, Evidence, Outcome, Record, Resolution, State, Times, later};
use crate::provider::inventory::{self, Sighting, Vm};
use crate::provider::job::JobState;
use crate::values::ids::VpsId;
use crate::values::text::Text;

/// The row of this action.
pub(super) const ROW: Row = Row {
    label: "restore_to_payg",
    path: "/api/v2/vps/{id}/backups/{backupId}/actions/restore-to-payg",
    needs_approval: true,
    conflicts: &["vps_not_ready"],
    receipt: job::receipt,
    receipt_says: job::RECEIPT_SAYS,
    answers_with_secrets: false,
    is_told_when_accepted: true,
    looked_for: "the operator searches for the VM and does not send the call again",
    holds_all_the_same: "a VM that was sold costs money all the same",
    after_not_executed: PAID_AGAIN,
};

/// What an accepted or unknown restore needs next.
pub(super) fn need(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Need {
    if record.known.state == State::Accepted {
        job::need(record, memo, times, now).unwrap_or(Need::Inventory)
    } else {
        need_of_an_unknown(record, memo, now)
    }
}

fn need_of_an_unknown(record: &Record, memo: &Memo, now: Timestamp) -> Need {
    let new_answer = has_new_answer(record, memo);
    match (&record.answer, memo.rests_until(now)) {
        // One that was examined is refused, or has ended the record.
        (Some(Resolution::Adopt(vps)), _) if new_answer || record.known.answer_refused.is_none() => {
            Need::Vm(vps.clone())
        }
        (_, Some(until)) if !new_answer => Need::Wait(until),
        // The strongest evidence first: the job, then the list.
        _ => record.known.job.clone().map_or(Need::Inventory, Need::Job),
    }
}

/// What a reading makes of a restore.
pub(super) fn step(
    record: &Record,
    restored: &Restoration,
    input: Input,
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Outcome {
    let look = Look {
        record,
        restored,
        times,
        now,
    };
    let known = &record.known;
    match (known.state, input) {
        (State::Sending, Input::FoundBeforeClaim(sighting)) => found_before_claim(sighting, now),
        (State::Accepted, Input::DeadlinePassed) => job::deadline_passed(known, memo, now),
        (State::Accepted, Input::Job(job, vms)) => look.polled(job, &vms, memo),
        (State::Unknown, Input::Job(job, vms)) => {
            memo.tried.clone_from(&record.answer);
            look.polled_again(job, &vms, memo)
        }
        (State::Accepted, Input::JobUnreadable(vms)) => look
            .found(look.sighting(&vms), memo)
            .unwrap_or_else(|| known.clone()),
        (State::Unknown, Input::JobUnreadable(vms)) => {
            memo.tried.clone_from(&record.answer);
            look.seen_without_its_job(&vms, memo)
        }
        (State::Accepted | State::Unknown, Input::Inventory(reading)) => {
            memo.tried.clone_from(&record.answer);
            look.searched(&reading, memo)
        }
        (State::Unknown, Input::Named(named)) if matches!(record.answer, Some(Resolution::Adopt(_))) => {
            memo.tried.clone_from(&record.answer);
            adopted_by_person(record, named)
        }
        // Everything else comes too late or from a stale look, and changes nothing.
        (_, _) => known.clone(),
    }
}

/// One look at one restore.
struct Look<'a> {
    record: &'a Record,
    restored: &'a Restoration,
    times: &'a Times,
    now: Timestamp,
}

fn bought(vm: &Vm) -> Bought {
    Bought {
        vps: vm.id.clone(),
        name: Text::bounded(&vm.name, 80),
        primary_ip: vm.primary_ip.clone(),
        size: vm.size,
    }
}

fn succeeded(known: &Outcome, vm: &Vm, evidence: Evidence) -> Outcome {
    Outcome {
        state: State::Succeeded,
        message: Text::new(&format!("the VM is {}", vm.id)),
        result: Some(bought(vm)),
        evidence: Some(evidence),
        answer_refused: None,
        ..known.clone()
    }
}

fn bearers(ids: &[VpsId]) -> String {
    let list: Vec<&str> = ids.iter().take(10).map(VpsId::as_str).collect();
    format!("several VMs have the token: {}", list.join(", "))
}

fn several(known: &Outcome, ids: &[VpsId]) -> Outcome {
    Outcome {
        state: State::Unknown,
        message: Text::new(&bearers(ids)),
        evidence: Some(Evidence::SeveralFound),
        ..known.clone()
    }
}

fn found_before_claim(sighting: Sighting, now: Timestamp) -> Outcome {
    let base = Outcome {
        quiet_since: Some(now),
        ..Outcome::sending()
    };
    match sighting {
        Sighting::One(vm) | Sighting::OtherSize(vm) => succeeded(&base, &vm, Evidence::FoundBeforeClaim),
        Sighting::Several(ids) => several(&base, &ids),
        Sighting::Unclear(_, why) => Outcome {
            state: State::Unknown,
            message: why,
            ..base
        },
        Sighting::None => Outcome::sending(),
    }
}

impl Look<'_> {
    /// What a poll makes of an accepted operation.
    fn polled(&self, job: JobState, vms: &[Vm], memo: &mut Memo) -> Outcome {
        let known = &self.record.known;
        let seen_failed = known.evidence == Some(Evidence::Job);
        match job {
            JobState::Running { .. } => known.clone(),
            JobState::Lost if seen_failed => self.failed(known.message.as_str(), vms, memo),
            JobState::Lost => {
                memo.ended_since.get_or_insert(self.now);
                Outcome {
                    state: State::Unknown,
                    message: Text::new(
                        "HostUp no longer knows the job; the operator searches for the VM by its token",
                    ),
                    quiet_since: Some(self.now),
                    ..known.clone()
                }
            }
            JobState::Completed { hints, .. } => self.completed(&hints, vms, memo),
            JobState::Failed { error } => {
                let message = format!("the job failed: {error}");
                self.failed(&message, vms, memo)
            }
        }
    }

    /// What a poll makes of an unknown operation whose job HostUp knows (again). A job that is not given
    /// up brings it back to the accepted ones; nobody may call one that runs not executed.
    fn polled_again(&self, job: JobState, vms: &[Vm], memo: &mut Memo) -> Outcome {
        let known = &self.record.known;
        match job {
            JobState::Running { .. } if known.evidence == Some(Evidence::JobDeadline) => {
                match self.sighting(vms) {
                    Sighting::One(vm) => succeeded(known, &vm, Evidence::VmFound),
                    Sighting::OtherSize(_)
                    | Sighting::Unclear(..)
                    | Sighting::Several(_)
                    | Sighting::None => known.clone(),
                }
            }
            JobState::Running { .. } => job::runs_again(known),
            JobState::Lost => known.clone(),
            ended @ (JobState::Completed { .. } | JobState::Failed { .. }) => self.polled(ended, vms, memo),
        }
    }

    /// A job that cannot be read neither proves that it is known nor hides the VM.
    fn seen_without_its_job(&self, vms: &[Vm], memo: &Memo) -> Outcome {
        let known = &self.record.known;
        match self.sighting(vms) {
            Sighting::None => {
                let why = Text::new("HostUp does not show the state of the job, and no VM has the token");
                unreadable(self.record, &why, memo, self.times, self.now)
            }
            sighting => self.found(sighting, memo).unwrap_or_else(|| known.clone()),
        }
    }

    fn completed(&self, hints: &[VpsId], vms: &[Vm], memo: &mut Memo) -> Outcome {
        let (known, now) = (&self.record.known, self.now);
        let (evidence, message) = match self.sighting(vms) {
            Sighting::One(vm) | Sighting::OtherSize(vm) => return succeeded(known, &vm, Evidence::Job),
            Sighting::Several(ids) => return several(known, &ids),
            Sighting::Unclear(_, why) => (Evidence::OtherSize, why),
            Sighting::None => match self.hinted(hints, vms) {
                Some(vm) => return succeeded(known, vm, Evidence::Job),
                None => (
                    Evidence::NoneFound,
                    Text::new("the job is completed, but no VM has the token"),
                ),
            },
        };
        let since = *memo.ended_since.get_or_insert(now);
        if now < later(since, self.times.settle_time) {
            return known.clone();
        }
        Outcome {
            state: State::Unknown,
            message,
            evidence: Some(evidence),
            quiet_since: Some(since),
            ..known.clone()
        }
    }

    /// The one VM that the job's result names, if it can be nothing else.
    fn hinted<'v>(&self, hints: &[VpsId], vms: &'v [Vm]) -> Option<&'v Vm> {
        let fits = |vm: &&Vm| {
            hints.contains(&vm.id)
                && vm.is_payg
                && vm.result_of.is_none()
                && vm.id != self.record.vps
                && vm.size == Some(self.restored.ordered)
        };
        let mut fitting = vms.iter().filter(fits);
        fitting.next().filter(|_| fitting.next().is_none())
    }

    /// A failed job may have left a VM that the list shows late. That it failed is written down at once.
    fn failed(&self, message: &str, vms: &[Vm], memo: &mut Memo) -> Outcome {
        let (known, now) = (&self.record.known, self.now);
        let mut message = message.to_owned();
        let seen = match self.sighting(vms) {
            // Its own VM may still be listed.
            Sighting::Unclear(vm, why) if vm.result_of.is_some() => {
                message = format!("{message}; {why}");
                Sighting::None
            }
            seen => seen,
        };
        let left = match seen {
            Sighting::One(vm) | Sighting::OtherSize(vm) | Sighting::Unclear(vm, _) => Some(bought(&vm)),
            Sighting::Several(ids) => {
                message = format!("{message}; {}", bearers(&ids));
                let left = |vm: &&Vm| ids.contains(&vm.id) && vm.result_of.is_none();
                vms.iter().find(left).map(bought)
            }
            Sighting::None => {
                memo.absent_reads = memo.absent_reads.saturating_add(1);
                let since = known
                    .quiet_since
                    .filter(|_| known.evidence == Some(Evidence::Job));
                // Another process may have written that moment, by a clock that is behind.
                let own = *memo.ended_since.get_or_insert(now);
                let seen = since.map(|since| memo.dated_ahead.map_or(since, |dated| dated.seen));
                let settled = seen.is_some_and(|seen| now >= later(seen.max(own), self.times.settle_time));
                if memo.absent_reads < ABSENT_READS || !settled {
                    return Outcome {
                        state: State::Accepted,
                        message: Text::bounded(&message, 1000),
                        evidence: Some(Evidence::Job),
                        quiet_since: since.or(Some(now)),
                        ..known.clone()
                    };
                }
                None
            }
        };
        Outcome {
            state: State::Failed,
            message: Text::bounded(&message, 1000),
            result: left,
            evidence: Some(Evidence::Job),
            ..known.clone()
        }
    }

    /// Without a token in its name nothing can be found again; such a record is never made.
    fn sighting(&self, vms: &[Vm]) -> Sighting {
        self.restored.token().map_or(Sighting::None, |token| {
            inventory::look_for(vms, &token, &self.record.vps, self.restored.ordered)
        })
    }

    fn asks(&self, evidence: Evidence, message: &str) -> Outcome {
        Outcome {
            state: State::Unknown,
            message: Text::new(message),
            evidence: Some(evidence),
            ..self.record.known.clone()
        }
    }

    /// What VMs that bear the token say; `None` where they say nothing.
    fn found(&self, sighting: Sighting, memo: &Memo) -> Option<Outcome> {
        let (record, known) = (self.record, &self.record.known);
        match sighting {
            Sighting::One(vm) => Some(succeeded(known, &vm, Evidence::VmFound)),
            Sighting::Several(ids) => Some(refuted(record, several(known, &ids))),
            Sighting::OtherSize(vm) => {
                let size = vm.size.map_or_else(String::new, |size| size.to_string());
                let why = format!(
                    "{} has the token, but has {size} instead of {}",
                    vm.id, self.restored.ordered
                );
                Some(refuted(record, self.asks(Evidence::OtherSize, &why)))
            }
            Sighting::Unclear(_, why) if self.now >= memo.settled_at(record, self.times) => {
                Some(refuted(record, self.asks(Evidence::OtherSize, why.as_str())))
            }
            Sighting::Unclear(_, why) => Some(refuted_by(why.as_str(), record, known.clone())),
            Sighting::None => None,
        }
    }

    fn searched(&self, reading: &InventoryReading, memo: &mut Memo) -> Outcome {
        let (record, now) = (self.record, self.now);
        match self.sighting(&reading.vms) {
            Sighting::None if !reading.reads_source => {
                let why = format!(
                    "the key no longer reads {}, so a missing VM proves nothing",
                    record.vps
                );
                open_to_another(record, self.asks(Evidence::AccountMismatch, &why))
            }
            Sighting::None => {
                memo.absent_reads = memo.absent_reads.saturating_add(1);
                if record.known.job.is_some() {
                    memo.ended_since.get_or_insert(now);
                }
                absent(
                    record,
                    "no VM has the token",
                    "a purchase that HostUp executed should have shown up by now",
                    memo,
                    self.times,
                    now,
                )
            }
            sighting => {
                memo.absent_reads = 0;
                self.found(sighting, memo).unwrap_or_else(|| record.known.clone())
            }
        }
    }
}

fn adopted_by_person(record: &Record, named: Result<Vm, Text>) -> Outcome {
    let refused = |why: &str| Outcome {
        answer_refused: Some(Text::new(why)),
        ..record.known.clone()
    };
    match named {
        Err(why) => refused(why.as_str()),
        Ok(vm) if vm.id == record.vps => {
            refused(&format!("{} is the source of the backup, not the new VM", vm.id))
        }
        Ok(Vm {
            id,
            result_of: Some(other),
            ..
        }) => refused(&format!(
            "{id} is the result of VpsOperation {other} already; is it the right VM?"
        )),
        Ok(vm) if !vm.is_payg => refused(&format!("{} is not a pay-as-you-go VM", vm.id)),
        Ok(vm) => succeeded(&record.known, &vm, Evidence::Person),
    }
}
