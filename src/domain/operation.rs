//! The machine of one paid call: which reading it needs next, and what that reading makes of it.
//!
//! Its alphabet is what came back from HostUp, the clock and a person's answer. Nothing in it sends.

use jiff::Timestamp;
use std::time::Duration;

use super::answer::Verdict;
use super::ids::VpsId;
use super::inventory::{self, Sighting, Vm};
use super::job::JobState;
use super::record::{Answer, Bought, Evidence, Job, Known, Record, State, Times, later};
use super::text::Text;

/// Complete list reads without the VM before absence is taken for an answer.
const ABSENT_READS: u32 = 3;
/// Longest interval between two polls of one job.
const LONGEST_POLL: Duration = Duration::from_secs(60);

/// What a process remembers of an operation between two looks; lost with the process, never trusted
/// for more than timing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memo {
    /// This process is sending the call right now.
    pub in_flight: bool,
    /// Complete list reads that did not show the VM.
    pub absent_reads: u32,
    /// No reading before this.
    pub not_before: Timestamp,
    /// Since when the job has been seen ended without a VM to show.
    pub ended_since: Option<Timestamp>,
    /// The person's answer that was already looked into.
    pub tried: Option<Answer>,
}

impl Default for Memo {
    fn default() -> Self {
        Self {
            in_flight: false,
            absent_reads: 0,
            not_before: Timestamp::MIN,
            ended_since: None,
            tried: None,
        }
    }
}

/// What the operation needs to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Nothing; it is finished.
    Nothing,
    /// Time.
    Wait(Timestamp),
    /// No reading: this can be said at once.
    Say(Input),
    /// The job, and the list of VMs once the job has ended.
    Job(Job),
    /// The list of VMs, and whether the key still reads the source.
    Inventory,
    /// The VM that a person named.
    Vm(VpsId),
}

/// What was learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The sender's own answer.
    Answered(Verdict),
    /// The sender gave the claim up before a byte left.
    Withdrawn(Text),
    /// A record without an outcome, past its time, and nobody here is sending it.
    Overdue,
    /// The job has lasted too long.
    DeadlinePassed,
    /// The job as polled, and every VM of the account where the job has ended.
    Job(JobState, Vec<Vm>),
    /// A complete list of VMs.
    Inventory(InventoryReading),
    /// The VM that a person named, or why it cannot be taken.
    Named(Result<Vm, Text>),
    /// A person gives the operation up.
    Abandoned,
    /// A VM bore the token before the claim.
    FoundBeforeClaim(Sighting),
}

/// A complete list read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryReading {
    /// Every VM of the account.
    pub vms: Vec<Vm>,
    /// Whether the key could read the source VPS too.
    pub reads_source: bool,
}

/// What `record` needs next.
pub fn need(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Need {
    match record.known.state {
        State::Succeeded
        | State::Failed
        | State::NotSent
        | State::Rejected
        | State::NotExecuted
        | State::Abandoned => Need::Nothing,
        State::Sending if memo.in_flight => Need::Wait(later(record.claim.made_at, times.paid_timeout)),
        State::Sending if now <= record.claim.send_before => {
            Need::Wait(later(record.claim.send_before, Duration::from_millis(1)))
        }
        State::Sending => Need::Say(Input::Overdue),
        State::Accepted => need_of_a_job(record, memo, times, now),
        State::Unknown => need_of_an_unknown(record, memo, now),
    }
}

fn need_of_a_job(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Need {
    let deadline = later(record.claim.made_at, times.job_deadline);
    match &record.known.job {
        _ if now >= deadline => Need::Say(Input::DeadlinePassed),
        Some(_) if now < memo.not_before => Need::Wait(memo.not_before.min(deadline)),
        Some(job) => Need::Job(job.clone()),
        None => Need::Inventory,
    }
}

fn need_of_an_unknown(record: &Record, memo: &Memo, now: Timestamp) -> Need {
    let new_answer = record.answer.is_some() && record.answer != memo.tried;
    match &record.answer {
        Some(Answer::Abandon) => Need::Say(Input::Abandoned),
        Some(Answer::Adopt(vps)) if new_answer => Need::Vm(vps.clone()),
        _ if !new_answer && now < memo.not_before => Need::Wait(memo.not_before),
        _ => Need::Inventory,
    }
}

/// When to look again after a look at `now` that changed nothing.
///
/// A job is polled not faster than the poll interval nor slower than 5 % of its age; an unknown
/// outcome is looked for a few times within the settle time and then at the resync interval.
pub fn next_look(record: &Record, times: &Times, now: Timestamp) -> Timestamp {
    let told = record.answer == Some(Answer::NotExecuted);
    let wait = match (record.known.state, record.known.evidence) {
        (State::Unknown, Some(_)) if !told => times.resync_interval,
        (State::Unknown, _) => (times.settle_time / 8).clamp(times.poll_interval, LONGEST_POLL),
        (_, _) => {
            let age = Duration::try_from(now.duration_since(record.claim.made_at)).unwrap_or_default();
            (age / 20).clamp(times.poll_interval, LONGEST_POLL.max(times.poll_interval))
        }
    };
    later(now, wait)
}

/// What `input` makes of the record. The same value means that nothing is to be written.
pub fn step(record: &Record, input: Input, memo: &mut Memo, times: &Times, now: Timestamp) -> Known {
    let known = &record.known;
    match (known.state, input) {
        (State::Sending | State::Unknown, Input::Answered(verdict)) => answered(record, verdict, now),
        (State::Sending | State::Unknown, Input::Withdrawn(why)) => Known {
            state: State::NotSent,
            message: why,
            quiet_since: Some(now),
            ..Known::sending()
        },
        (State::Sending, Input::Overdue) => Known {
            state: State::Unknown,
            message: Text::new(
                "the operator stopped between the claim and the answer; HostUp may have been asked",
            ),
            quiet_since: Some(later(record.claim.made_at, times.paid_timeout)),
            ..Known::sending()
        },
        (State::Sending, Input::FoundBeforeClaim(sighting)) => found_before_claim(sighting, now),
        (State::Accepted, Input::DeadlinePassed) => Known {
            state: State::Unknown,
            message: Text::new("the job had not ended by the job deadline; look at it in HostUp's panel"),
            evidence: Some(Evidence::JobDeadline),
            quiet_since: Some(now),
            ..known.clone()
        },
        (State::Accepted, Input::Job(job, vms)) => polled(record, job, &vms, memo, times, now),
        (State::Accepted | State::Unknown, Input::Inventory(reading)) => {
            memo.tried.clone_from(&record.answer);
            searched(record, &reading, memo, times, now)
        }
        (State::Unknown, Input::Abandoned) => Known {
            state: State::Abandoned,
            message: Text::new("a person gave this operation up without an answer"),
            evidence: Some(Evidence::Person),
            ..known.clone()
        },
        (State::Unknown, Input::Named(named)) => {
            memo.tried.clone_from(&record.answer);
            adopted_by_person(record, named)
        }
        // Everything else comes too late or from a stale look, and changes nothing.
        (_, _) => known.clone(),
    }
}

fn answered(record: &Record, verdict: Verdict, now: Timestamp) -> Known {
    let base = Known {
        quiet_since: Some(now),
        ..Known::sending()
    };
    match verdict {
        Verdict::NotSent(why) => Known {
            state: State::NotSent,
            message: why,
            ..base
        },
        Verdict::Accepted(job) => Known {
            state: State::Accepted,
            message: Text::new(&format!("HostUp accepted the order as job {}", job.id)),
            job: Some(Job {
                id: job.id,
                poll_path: job.poll_path,
            }),
            ..base
        },
        Verdict::Rejected(refusal) => Known {
            state: State::Rejected,
            message: Text::new(&format!("HostUp refused: {}", refusal.detail)),
            code: Some(refusal.code),
            not_before: refusal.retry_after.map(|wait| later(now, wait)),
            ..base
        },
        // A sender that learnt nothing more keeps what others have found out meanwhile.
        Verdict::Unknown { .. } if record.known.evidence.is_some() => record.known.clone(),
        Verdict::Unknown { why, retry_after } => Known {
            state: State::Unknown,
            message: why,
            not_before: retry_after.map(|wait| later(now, wait)),
            ..base
        },
    }
}

fn bought(vm: &Vm) -> Bought {
    Bought {
        vps: vm.id.clone(),
        name: Text::bounded(&vm.name, 80),
        primary_ip: vm.primary_ip.clone(),
        size: vm.size,
    }
}

fn succeeded(known: &Known, vm: &Vm, evidence: Evidence) -> Known {
    Known {
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
    format!("several VMs bear the token: {}", list.join(", "))
}

fn several(known: &Known, ids: &[VpsId]) -> Known {
    Known {
        state: State::Unknown,
        message: Text::new(&bearers(ids)),
        evidence: Some(Evidence::SeveralFound),
        ..known.clone()
    }
}

fn found_before_claim(sighting: Sighting, now: Timestamp) -> Known {
    let base = Known {
        quiet_since: Some(now),
        ..Known::sending()
    };
    match sighting {
        Sighting::One(vm) | Sighting::OtherSize(vm) => succeeded(&base, &vm, Evidence::FoundBeforeClaim),
        Sighting::Several(ids) => several(&base, &ids),
        Sighting::None => Known::sending(),
    }
}

fn polled(
    record: &Record,
    job: JobState,
    vms: &[Vm],
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Known {
    let known = &record.known;
    let Some(token) = record.token() else {
        return known.clone();
    };
    let sighting = inventory::look_for(vms, &token, &record.source, record.ordered);
    match job {
        JobState::Running { .. } => known.clone(),
        JobState::Lost => Known {
            state: State::Unknown,
            message: Text::new("HostUp no longer knows the job; the VM is looked for by its token"),
            quiet_since: Some(now),
            ..known.clone()
        },
        JobState::Completed { hints } => match sighting {
            Sighting::One(vm) => succeeded(known, &vm, Evidence::Job),
            Sighting::OtherSize(vm) if vm.size.is_some() => succeeded(known, &vm, Evidence::Job),
            Sighting::Several(ids) => several(known, &ids),
            Sighting::OtherSize(_) | Sighting::None => {
                let hinted = vms.iter().find(|vm| {
                    hints.contains(&vm.id) && vm.is_payg && vm.id != record.source && vm.size.is_some()
                });
                let since = *memo.ended_since.get_or_insert(now);
                match hinted {
                    Some(vm) => succeeded(known, vm, Evidence::Job),
                    None if now >= later(since, times.settle_time) => Known {
                        state: State::Unknown,
                        message: Text::new("the job is completed, but no VM bears the token"),
                        evidence: Some(Evidence::NoneFound),
                        quiet_since: Some(since),
                        ..known.clone()
                    },
                    None => known.clone(),
                }
            }
        },
        JobState::Failed { error } => {
            let mut message = format!("the job failed: {error}");
            let left = match sighting {
                Sighting::One(vm) | Sighting::OtherSize(vm) => Some(bought(&vm)),
                Sighting::Several(ids) => {
                    message.push_str(&format!("; {}", bearers(&ids)));
                    vms.iter().find(|vm| Some(&vm.id) == ids.first()).map(bought)
                }
                Sighting::None => {
                    // A list may lag behind the job: a VM that costs money is not to be missed.
                    let since = *memo.ended_since.get_or_insert(now);
                    memo.absent_reads = memo.absent_reads.saturating_add(1);
                    if memo.absent_reads < ABSENT_READS || now < later(since, times.settle_time) {
                        return known.clone();
                    }
                    None
                }
            };
            Known {
                state: State::Failed,
                message: Text::bounded(&message, 1000),
                result: left,
                evidence: Some(Evidence::Job),
                ..known.clone()
            }
        }
    }
}

fn searched(
    record: &Record,
    reading: &InventoryReading,
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Known {
    let known = &record.known;
    let Some(token) = record.token() else {
        return known.clone();
    };
    let asks = |evidence, message: &str| Known {
        state: State::Unknown,
        message: Text::new(message),
        evidence: Some(evidence),
        ..known.clone()
    };
    match inventory::look_for(&reading.vms, &token, &record.source, record.ordered) {
        Sighting::One(vm) => succeeded(known, &vm, Evidence::VmFound),
        Sighting::Several(ids) => several(known, &ids),
        Sighting::OtherSize(Vm {
            size: Some(size), id, ..
        }) => asks(
            Evidence::OtherSize,
            &format!(
                "{id} bears the token, but has {size} instead of {}",
                record.ordered
            ),
        ),
        Sighting::OtherSize(_) => known.clone(),
        Sighting::None if !reading.reads_source => asks(
            Evidence::AccountMismatch,
            &format!(
                "the key no longer reads {}, so that no VM is found proves nothing",
                record.source
            ),
        ),
        Sighting::None => {
            memo.absent_reads = memo.absent_reads.saturating_add(1);
            absent(record, memo, times, now)
        }
    }
}

/// Absence is an answer only after enough reads, and not before the settle time.
fn absent(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Known {
    let known = &record.known;
    let settled = record.settled_at(times);
    let told = record.answer == Some(Answer::NotExecuted);
    let enough = memo.absent_reads >= ABSENT_READS && now >= settled;
    match (told, enough) {
        (true, true) => Known {
            state: State::NotExecuted,
            message: Text::new("a person said that HostUp did not execute it, and no VM bears the token"),
            evidence: Some(Evidence::Person),
            ..known.clone()
        },
        (true, false) => Known {
            message: Text::new(&format!(
                "the answer NotExecuted takes effect at {settled:.0}, if no VM shows up before"
            )),
            ..known.clone()
        },
        (false, true) if known.evidence != Some(Evidence::JobDeadline) => Known {
            message: Text::new(
                "no VM bears the token; a purchase that HostUp executed should have shown up by now",
            ),
            evidence: Some(Evidence::NoneFound),
            ..known.clone()
        },
        (false, _) if known.evidence == Some(Evidence::AccountMismatch) => Known {
            message: Text::new("the key reads the source again; the VM is looked for by its token"),
            evidence: None,
            ..known.clone()
        },
        (false, _) => known.clone(),
    }
}

fn adopted_by_person(record: &Record, named: Result<Vm, Text>) -> Known {
    let refused = |why: &str| Known {
        answer_refused: Some(Text::new(why)),
        ..record.known.clone()
    };
    match named {
        Err(why) => refused(why.as_str()),
        Ok(vm) if vm.id == record.source => {
            refused(&format!("{} is the source of the backup, not the new VM", vm.id))
        }
        Ok(vm) if !vm.is_payg => refused(&format!("{} is not a pay-as-you-go VM", vm.id)),
        Ok(vm) => succeeded(&record.known, &vm, Evidence::Person),
    }
}
