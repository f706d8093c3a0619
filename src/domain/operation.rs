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
/// Why a person's `NotExecuted` is not taken; it counts again only after it was taken back and given anew.
const JOB_KNOWN: &str =
    "NotExecuted is not taken while HostUp knows the job; take it back (null) to give it again";
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
        State::Sending if memo.in_flight => {
            let end = later(record.claim.made_at, times.paid_timeout);
            Need::Wait(end.max(later(now, times.poll_interval)))
        }
        State::Sending if now <= record.claim.send_before => {
            Need::Wait(later(record.claim.send_before, Duration::from_millis(1)))
        }
        State::Sending => Need::Say(Input::Overdue),
        State::Accepted => need_of_a_job(record, memo, times, now),
        State::Unknown => need_of_an_unknown(record, memo, now),
    }
}

fn need_of_a_job(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Need {
    let mut deadline = later(record.claim.made_at, times.job_deadline);
    if let (Some(Evidence::Job), Some(since)) = (record.known.evidence, record.known.quiet_since) {
        // It has failed; the search for a VM that it left has an end of its own.
        let looks = LONGEST_POLL.max(times.poll_interval) * ABSENT_READS;
        deadline = deadline.max(later(since, times.settle_time + looks));
    }
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
        // The strongest evidence first: the job, then the list.
        _ => record.known.job.clone().map_or(Need::Inventory, Need::Job),
    }
}

/// When to look again after a look at `now` that changed nothing.
///
/// A job is polled not faster than the poll interval nor slower than 5 % of its age; an unknown
/// outcome is looked for a few times within the settle time and then at the resync interval.
pub fn next_look(record: &Record, times: &Times, now: Timestamp) -> Timestamp {
    let told = says_not_executed(record);
    let wait = match (record.known.state, record.known.evidence) {
        (State::Unknown, Some(_)) if !told => times.resync_interval,
        (State::Unknown, _) => {
            (times.settle_time / 8).clamp(times.poll_interval, LONGEST_POLL.max(times.poll_interval))
        }
        (_, _) => {
            let age = Duration::try_from(now.duration_since(record.claim.made_at)).unwrap_or_default();
            (age / 20).clamp(times.poll_interval, LONGEST_POLL.max(times.poll_interval))
        }
    };
    later(now, wait)
}

/// A person says so, and it was not refused because of the job.
fn says_not_executed(record: &Record) -> bool {
    let refused = record.known.answer_refused.as_ref();
    record.answer == Some(Answer::NotExecuted) && refused.is_none_or(|why| why.as_str() != JOB_KNOWN)
}

/// What `input` makes of the record. The same value means that nothing is to be written.
pub fn step(record: &Record, input: Input, memo: &mut Memo, times: &Times, now: Timestamp) -> Known {
    // An answer that was taken back is no longer refused either.
    let taken_back = record.answer.is_none() && record.known.answer_refused.is_some();
    if taken_back && record.known.state == State::Unknown {
        let mut open = record.clone();
        open.known.answer_refused = None;
        return step(&open, input, memo, times, now);
    }
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
        (State::Unknown, Input::Job(job, vms)) => {
            memo.tried.clone_from(&record.answer);
            polled_again(record, job, &vms, memo, times, now)
        }
        (State::Accepted | State::Unknown, Input::Inventory(reading)) => {
            memo.tried.clone_from(&record.answer);
            searched(record, &reading, memo, times, now)
        }
        (State::Unknown, Input::Abandoned) => Known {
            state: State::Abandoned,
            message: Text::new(
                "a person gave this operation up without an answer; a VM that was sold costs money all the same",
            ),
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
        Sighting::Unclear(_, why) => Known {
            state: State::Unknown,
            message: why,
            ..base
        },
        Sighting::None => Known::sending(),
    }
}

/// What a poll makes of an accepted operation.
fn polled(
    record: &Record,
    job: JobState,
    vms: &[Vm],
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Known {
    let known = &record.known;
    let seen_failed = known.evidence == Some(Evidence::Job);
    match job {
        JobState::Running { .. } => known.clone(),
        JobState::Lost if seen_failed => failed(record, known.message.as_str(), vms, memo, times, now),
        JobState::Lost => Known {
            state: State::Unknown,
            message: Text::new("HostUp no longer knows the job; the VM is looked for by its token"),
            quiet_since: Some(now),
            ..known.clone()
        },
        JobState::Completed { hints } => completed(record, &hints, vms, memo, times, now),
        JobState::Failed { error } => {
            let message = format!("the job failed: {error}");
            failed(record, &message, vms, memo, times, now)
        }
    }
}

/// What a poll makes of an unknown operation whose job HostUp knows (again). A job that is not given
/// up brings it back to the accepted ones; nobody may call one that runs not executed.
fn polled_again(
    record: &Record,
    job: JobState,
    vms: &[Vm],
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Known {
    let known = &record.known;
    let told = record.answer == Some(Answer::NotExecuted);
    let after = match job {
        JobState::Running { .. } if known.evidence == Some(Evidence::JobDeadline) => {
            match sighting(record, vms) {
                Sighting::One(vm) => succeeded(known, &vm, Evidence::VmFound),
                Sighting::OtherSize(_) | Sighting::Unclear(..) | Sighting::Several(_) | Sighting::None => {
                    known.clone()
                }
            }
        }
        JobState::Running { .. } => Known {
            state: State::Accepted,
            message: Text::new("HostUp knows the job again"),
            evidence: None,
            ..known.clone()
        },
        JobState::Lost => known.clone(),
        ended @ (JobState::Completed { .. } | JobState::Failed { .. }) => {
            polled(record, ended, vms, memo, times, now)
        }
    };
    if told && after.state == State::Unknown {
        return Known {
            answer_refused: Some(Text::new(JOB_KNOWN)),
            ..after
        };
    }
    after
}

fn completed(
    record: &Record,
    hints: &[VpsId],
    vms: &[Vm],
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Known {
    let known = &record.known;
    let (evidence, message) = match sighting(record, vms) {
        Sighting::One(vm) | Sighting::OtherSize(vm) => return succeeded(known, &vm, Evidence::Job),
        Sighting::Several(ids) => return several(known, &ids),
        Sighting::Unclear(_, why) => (Evidence::OtherSize, why),
        Sighting::None => match hinted(record, hints, vms) {
            Some(vm) => return succeeded(known, vm, Evidence::Job),
            None => (
                Evidence::NoneFound,
                Text::new("the job is completed, but no VM bears the token"),
            ),
        },
    };
    let since = *memo.ended_since.get_or_insert(now);
    if now < later(since, times.settle_time) {
        return known.clone();
    }
    Known {
        state: State::Unknown,
        message,
        evidence: Some(evidence),
        quiet_since: Some(since),
        ..known.clone()
    }
}

/// The one VM that the job's result names, if it can be nothing else.
fn hinted<'a>(record: &Record, hints: &[VpsId], vms: &'a [Vm]) -> Option<&'a Vm> {
    let fits = |vm: &&Vm| {
        hints.contains(&vm.id) && vm.is_payg && vm.id != record.source && vm.size == Some(record.ordered)
    };
    let mut fitting = vms.iter().filter(fits);
    fitting.next().filter(|_| fitting.next().is_none())
}

/// A failed job may have left a VM that the list shows late. That it failed is written down at once.
fn failed(
    record: &Record,
    message: &str,
    vms: &[Vm],
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Known {
    let known = &record.known;
    let mut message = message.to_owned();
    let left = match sighting(record, vms) {
        Sighting::One(vm) | Sighting::OtherSize(vm) | Sighting::Unclear(vm, _) => Some(bought(&vm)),
        Sighting::Several(ids) => {
            message = format!("{message}; {}", bearers(&ids));
            vms.iter().find(|vm| Some(&vm.id) == ids.first()).map(bought)
        }
        Sighting::None => {
            memo.absent_reads = memo.absent_reads.saturating_add(1);
            let since = known
                .quiet_since
                .filter(|_| known.evidence == Some(Evidence::Job));
            let settled = since.is_some_and(|since| now >= later(since, times.settle_time));
            if memo.absent_reads < ABSENT_READS || !settled {
                return Known {
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
    Known {
        state: State::Failed,
        message: Text::bounded(&message, 1000),
        result: left,
        evidence: Some(Evidence::Job),
        ..known.clone()
    }
}

/// Without a token in its name nothing can be found again; such a record is never made.
fn sighting(record: &Record, vms: &[Vm]) -> Sighting {
    record.token().map_or(Sighting::None, |token| {
        inventory::look_for(vms, &token, &record.source, record.ordered)
    })
}

fn searched(
    record: &Record,
    reading: &InventoryReading,
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Known {
    let known = &record.known;
    let asks = |evidence, message: &str| Known {
        state: State::Unknown,
        message: Text::new(message),
        evidence: Some(evidence),
        ..known.clone()
    };
    // An answer that cannot take effect must not bar the way of another one.
    let open_to_another = |asked: Known| {
        let refused = Text::new(&format!("NotExecuted is not taken while {}", asked.message));
        match &record.answer {
            Some(Answer::NotExecuted) => Known {
                answer_refused: Some(refused),
                ..asked
            },
            Some(Answer::Adopt(_) | Answer::Abandon) | None => asked,
        }
    };
    match sighting(record, &reading.vms) {
        Sighting::One(vm) => succeeded(known, &vm, Evidence::VmFound),
        Sighting::Several(ids) => open_to_another(several(known, &ids)),
        Sighting::OtherSize(vm) => {
            let size = vm.size.map_or_else(String::new, |size| size.to_string());
            let why = format!(
                "{} bears the token, but has {size} instead of {}",
                vm.id, record.ordered
            );
            open_to_another(asks(Evidence::OtherSize, &why))
        }
        Sighting::Unclear(_, why) if now >= record.settled_at(times) => {
            open_to_another(asks(Evidence::OtherSize, why.as_str()))
        }
        Sighting::Unclear(..) => known.clone(),
        Sighting::None if !reading.reads_source => open_to_another(asks(
            Evidence::AccountMismatch,
            &format!(
                "the key no longer reads {}, so that no VM is found proves nothing",
                record.source
            ),
        )),
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
    let told = says_not_executed(record);
    let enough = memo.absent_reads >= ABSENT_READS && now >= settled;
    match (told, enough) {
        (true, true) => Known {
            state: State::NotExecuted,
            message: Text::new("a person said that HostUp did not execute it, and no VM bears the token"),
            evidence: Some(Evidence::Person),
            answer_refused: None,
            ..known.clone()
        },
        (true, false) => Known {
            message: Text::new(&format!(
                "the answer NotExecuted takes effect at {settled:.0}, if no VM shows up before"
            )),
            answer_refused: None,
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

#[cfg(test)]
mod tests {
    use super::super::answer::{AcceptedJob, Refusal};
    use super::super::ids::JobId;
    use super::super::price::Size;
    use super::super::restore::tests::{SIZE, accepted, now, record, times, unknown_with};
    use super::*;
    use proptest::prelude::*;

    fn vm(id: &str, name: String) -> Vm {
        Vm {
            id: VpsId::new(id),
            name,
            is_payg: true,
            size: Some(SIZE),
            primary_ip: Some(Text::new("192.0.2.1")),
            running: true,
        }
    }

    fn ours(id: &str) -> Vm {
        vm(id, record(State::Sending).vm_name)
    }

    fn inventory(vms: Vec<Vm>) -> Input {
        Input::Inventory(InventoryReading {
            vms,
            reads_source: true,
        })
    }

    fn stepped(record: &Record, input: Input) -> Known {
        step(record, input, &mut Memo::default(), &times(), now())
    }

    fn after(seconds: u64) -> Timestamp {
        later(now(), Duration::from_secs(seconds))
    }

    fn verdicts() -> Vec<Verdict> {
        vec![
            Verdict::NotSent(Text::new("refused")),
            Verdict::Accepted(AcceptedJob {
                id: JobId::parse("job_1").unwrap(),
                poll_path: "/api/jobs/job_1".into(),
            }),
            Verdict::Rejected(Refusal {
                code: Text::new("forbidden"),
                detail: Text::new("no"),
                retry_after: None,
            }),
            Verdict::Unknown {
                why: Text::new("reset"),
                retry_after: None,
            },
        ]
    }

    #[test]
    fn an_answer_settles_a_record_that_is_sending_and_one_that_another_process_called_unknown() {
        let states = [State::NotSent, State::Accepted, State::Rejected, State::Unknown];
        for from in [State::Sending, State::Unknown] {
            for (verdict, state) in verdicts().into_iter().zip(states) {
                assert_eq!(stepped(&record(from), Input::Answered(verdict)).state, state);
            }
        }
    }

    #[test]
    fn a_late_answer_never_overrules_what_a_person_or_evidence_settled() {
        for state in State::ALL
            .into_iter()
            .filter(|s| ![State::Sending, State::Unknown].contains(s))
        {
            let settled = record(state);
            for verdict in verdicts() {
                assert_eq!(
                    stepped(&settled, Input::Answered(verdict)),
                    settled.known,
                    "{state:?}"
                );
            }
        }
    }

    #[test]
    fn a_record_in_flight_is_not_called_lost_by_its_own_process() {
        let sending = record(State::Sending);
        let late = after(60);
        let memo = Memo {
            in_flight: true,
            ..Memo::default()
        };
        assert!(matches!(need(&sending, &memo, &times(), late), Need::Wait(_)));
        assert_eq!(
            need(&sending, &Memo::default(), &times(), late),
            Need::Say(Input::Overdue)
        );
        assert!(matches!(
            need(&sending, &Memo::default(), &times(), after(29)),
            Need::Wait(_)
        ));
    }

    #[test]
    fn a_lost_job_is_looked_for_in_the_inventory_and_never_called_failed() {
        let lost = stepped(&accepted(), Input::Job(JobState::Lost, vec![]));
        assert_eq!((lost.state, lost.evidence), (State::Unknown, None));
        let found = stepped(
            &Record {
                known: lost,
                ..accepted()
            },
            inventory(vec![ours("vps_new")]),
        );
        assert_eq!(
            (found.state, found.evidence),
            (State::Succeeded, Some(Evidence::VmFound))
        );
    }

    #[test]
    fn a_failed_job_names_the_vm_that_it_left() {
        let failed = JobState::Failed {
            error: Text::new("disk"),
        };
        let known = stepped(&accepted(), Input::Job(failed.clone(), vec![ours("vps_new")]));
        assert_eq!(known.state, State::Failed);
        assert_eq!(known.result.unwrap().vps, VpsId::new("vps_new"));
        assert_eq!(stepped(&accepted(), Input::Job(failed, vec![])).result, None);
    }

    #[test]
    fn a_completed_job_succeeds_by_the_token_or_by_its_own_hint_but_never_with_the_source() {
        let done = |hints: Vec<VpsId>, vms: Vec<Vm>| {
            stepped(&accepted(), Input::Job(JobState::Completed { hints }, vms)).state
        };
        assert_eq!(done(vec![], vec![ours("vps_new")]), State::Succeeded);
        assert_eq!(
            done(vec![VpsId::new("vps_new")], vec![vm("vps_new", "renamed".into())]),
            State::Succeeded
        );
        assert_eq!(
            done(
                vec![VpsId::new("vps_source")],
                vec![vm("vps_source", "renamed".into())]
            ),
            State::Accepted
        );
        assert_eq!(done(vec![VpsId::new("vps_gone")], vec![]), State::Accepted);
        assert_eq!(done(vec![], vec![ours("vps_a"), ours("vps_b")]), State::Unknown);
    }

    #[test]
    fn absence_is_an_answer_only_after_three_reads_and_the_settle_time() {
        let unknown = record(State::Unknown);
        let mut memo = Memo::default();
        for read in 1..=4 {
            let early = step(&unknown, inventory(vec![]), &mut memo, &times(), after(899));
            assert_eq!(early, unknown.known, "read {read}");
        }
        let mut fresh = Memo::default();
        for read in 1..=3 {
            let known = step(&unknown, inventory(vec![]), &mut fresh, &times(), after(900));
            let asked = known.evidence == Some(Evidence::NoneFound);
            assert_eq!(asked, read == 3, "read {read}");
        }
    }

    #[test]
    fn absence_proves_nothing_to_a_key_that_does_not_read_the_source() {
        let foreign = Input::Inventory(InventoryReading {
            vms: vec![],
            reads_source: false,
        });
        let mut memo = Memo {
            absent_reads: 9,
            ..Memo::default()
        };
        let unknown = unknown_with(Some(Answer::NotExecuted));
        let known = step(&unknown, foreign, &mut memo, &times(), after(9000));
        assert_eq!(
            (known.state, known.evidence),
            (State::Unknown, Some(Evidence::AccountMismatch))
        );
    }

    #[test]
    fn not_executed_takes_effect_only_when_its_time_has_come_and_no_vm_turned_up() {
        let told = unknown_with(Some(Answer::NotExecuted));
        let mut memo = Memo {
            absent_reads: 5,
            ..Memo::default()
        };
        let early = step(&told, inventory(vec![]), &mut memo, &times(), after(899));
        assert_eq!(early.state, State::Unknown);
        assert!(
            early.message.as_str().contains("2026-11-23T12:15:00Z"),
            "{}",
            early.message
        );
        let found = step(
            &told,
            inventory(vec![ours("vps_new")]),
            &mut memo,
            &times(),
            after(900),
        );
        assert_eq!(found.state, State::Succeeded);
        let due = step(&told, inventory(vec![]), &mut memo, &times(), after(900));
        assert_eq!(
            (due.state, due.evidence),
            (State::NotExecuted, Some(Evidence::Person))
        );
    }

    #[test]
    fn a_not_executed_that_the_list_contradicts_is_refused_so_that_another_answer_can_be_given() {
        let told = unknown_with(Some(Answer::NotExecuted));
        let other_size = Vm {
            size: Some(Size {
                cpu_cores: SIZE.cpu_cores + 1,
                ..SIZE
            }),
            ..ours("vps_new")
        };
        let foreign = Input::Inventory(InventoryReading {
            vms: vec![],
            reads_source: false,
        });
        let contradictions = [
            inventory(vec![other_size]),
            inventory(vec![ours("vps_a"), ours("vps_b")]),
            foreign,
        ];
        for contradiction in contradictions {
            let known = stepped(&told, contradiction.clone());
            assert_eq!(known.state, State::Unknown);
            assert!(known.answer_refused.is_some(), "{contradiction:?}");
            let again = Record {
                known: known.clone(),
                ..told.clone()
            };
            assert_eq!(stepped(&again, contradiction), known, "nothing to write twice");
        }
    }

    #[test]
    fn a_person_may_adopt_only_a_pay_as_you_go_vm_that_is_not_the_source() {
        let told = unknown_with(Some(Answer::Adopt(VpsId::new("vps_new"))));
        assert_eq!(
            need(&told, &Memo::default(), &times(), now()),
            Need::Vm(VpsId::new("vps_new"))
        );
        let named = |vm: Vm| stepped(&told, Input::Named(Ok(vm)));
        assert_eq!(named(vm("vps_new", "any".into())).state, State::Succeeded);
        for wrong in [
            vm("vps_source", "any".into()),
            Vm {
                is_payg: false,
                ..vm("vps_new", "any".into())
            },
        ] {
            let known = named(wrong);
            assert_eq!(known.state, State::Unknown);
            assert!(known.answer_refused.is_some());
        }
    }

    #[test]
    fn that_a_job_failed_is_written_at_once_and_survives_that_hostup_forgets_the_job() {
        let failed = JobState::Failed {
            error: Text::new("disk"),
        };
        let seen = stepped(&accepted(), Input::Job(failed, vec![]));
        assert_eq!(
            (seen.state, seen.evidence),
            (State::Accepted, Some(Evidence::Job))
        );
        assert!(seen.message.as_str().contains("disk"));
        let followed = Record {
            known: seen,
            ..accepted()
        };
        let mut memo = Memo {
            absent_reads: 2,
            ..Memo::default()
        };
        let ended = step(
            &followed,
            Input::Job(JobState::Lost, vec![]),
            &mut memo,
            &times(),
            after(900),
        );
        assert_eq!(ended.state, State::Failed);
    }

    #[test]
    fn an_unknown_outcome_is_asked_of_its_job_first_and_follows_it_again() {
        let mut lost = accepted();
        lost.known.state = State::Unknown;
        assert!(matches!(
            need(&lost, &Memo::default(), &times(), now()),
            Need::Job(_)
        ));
        let running = JobState::Running { progress: None };
        assert_eq!(
            stepped(&lost, Input::Job(running.clone(), vec![])).state,
            State::Accepted
        );
        lost.known.evidence = Some(Evidence::JobDeadline);
        lost.answer = Some(Answer::NotExecuted);
        let refused = stepped(&lost, Input::Job(running, vec![]));
        assert_eq!(refused.state, State::Unknown);
        assert!(refused.answer_refused.is_some());
    }

    #[test]
    fn a_not_executed_that_the_job_refuted_never_takes_effect_later() {
        let mut told = unknown_with(Some(Answer::NotExecuted));
        told.known.job = accepted().known.job;
        told.known.evidence = Some(Evidence::JobDeadline);
        told.known = stepped(&told, Input::Job(JobState::Running { progress: None }, vec![]));
        assert!(told.known.answer_refused.is_some());
        let mut memo = Memo {
            absent_reads: 9,
            ..Memo::default()
        };
        let later = step(&told, inventory(vec![]), &mut memo, &times(), after(90_000));
        assert_eq!(later.state, State::Unknown);
        let taken_back = Record { answer: None, ..told };
        let open = step(&taken_back, inventory(vec![]), &mut memo, &times(), after(90_000));
        assert_eq!(open.answer_refused, None);
    }

    #[test]
    fn a_job_that_fails_after_the_deadline_still_comes_to_its_end() {
        let late = times().job_deadline.as_secs() + 60;
        let mut given_up = accepted();
        given_up.known.state = State::Unknown;
        given_up.known.evidence = Some(Evidence::JobDeadline);
        let failed = Input::Job(
            JobState::Failed {
                error: Text::new("disk"),
            },
            vec![],
        );
        let mut memo = Memo::default();
        given_up.known = step(&given_up, failed.clone(), &mut memo, &times(), after(late));
        assert_eq!(given_up.known.state, State::Accepted);
        assert!(matches!(
            need(&given_up, &Memo::default(), &times(), after(late + 1)),
            Need::Job(_)
        ));
        for wait in [300, 600, 901] {
            given_up.known = step(&given_up, failed.clone(), &mut memo, &times(), after(late + wait));
        }
        assert_eq!(given_up.known.state, State::Failed);
    }

    #[test]
    fn two_hints_of_a_job_or_one_of_another_size_name_no_vm() {
        let hints = vec![VpsId::new("vps_a"), VpsId::new("vps_b")];
        let both = vec![vm("vps_a", "x".into()), vm("vps_b", "y".into())];
        let larger = Vm {
            size: Some(crate::domain::price::Size { cpu_cores: 9, ..SIZE }),
            ..vm("vps_a", "x".into())
        };
        for vms in [both, vec![larger]] {
            let done = JobState::Completed { hints: hints.clone() };
            assert_eq!(stepped(&accepted(), Input::Job(done, vms)).state, State::Accepted);
        }
    }

    #[test]
    fn an_answer_acts_only_on_an_unknown_outcome() {
        for state in State::ALL.into_iter().filter(|state| *state != State::Unknown) {
            let told = Record {
                answer: Some(Answer::Abandon),
                ..record(state)
            };
            assert!(
                !matches!(
                    need(&told, &Memo::default(), &times(), now()),
                    Need::Say(Input::Abandoned)
                ),
                "{state:?}"
            );
            assert_eq!(stepped(&told, Input::Abandoned), told.known, "{state:?}");
        }
    }

    #[test]
    fn a_job_is_polled_neither_faster_than_two_seconds_nor_slower_than_five_percent_of_its_age() {
        for age in [0_u32, 10, 40, 100, 600, 1200] {
            let wait = next_look(&accepted(), &times(), after(age.into()))
                .duration_since(after(age.into()))
                .as_secs_f64();
            assert!(
                wait >= 2.0 && wait <= (f64::from(age) / 20.0).max(2.0),
                "{wait} s at an age of {age} s"
            );
        }
    }

    fn any_vms() -> impl Strategy<Value = Vec<Vm>> {
        let names = prop::sample::select(vec!["ours", "other", "upper", "longer"]);
        let one = (names, any::<bool>(), any::<bool>(), 0u8..4).prop_map(|(name, is_payg, sized, id)| {
            let own = record(State::Sending).vm_name;
            let name = match name {
                "ours" => own,
                "upper" => own.to_uppercase(),
                "longer" => format!("{own}x"),
                _ => "other".to_owned(),
            };
            let id = if id == 0 {
                "vps_source".to_owned()
            } else {
                format!("vps_{id}")
            };
            Vm {
                is_payg,
                size: Some(SIZE).filter(|_| sized),
                ..vm(&id, name)
            }
        });
        prop::collection::vec(one, 0..4)
    }

    fn any_input() -> impl Strategy<Value = Input> {
        prop_oneof![
            prop::sample::select(verdicts()).prop_map(Input::Answered),
            Just(Input::Withdrawn(Text::new("w"))),
            Just(Input::Overdue),
            Just(Input::DeadlinePassed),
            Just(Input::Abandoned),
            any_vms().prop_map(|vms| Input::Job(
                JobState::Completed {
                    hints: vec![VpsId::new("vps_1")]
                },
                vms
            )),
            any_vms().prop_map(|vms| Input::Job(
                JobState::Failed {
                    error: Text::new("e")
                },
                vms
            )),
            Just(Input::Job(JobState::Lost, vec![])),
            (any_vms(), any::<bool>())
                .prop_map(|(vms, reads_source)| { Input::Inventory(InventoryReading { vms, reads_source }) }),
            any_vms().prop_map(|vms| Input::Named(vms.into_iter().next().ok_or(Text::new("none")))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn no_series_of_inputs_changes_what_is_final_or_frees_a_name_without_proof(
            inputs in prop::collection::vec((any_input(), 0u64..2000), 1..40),
            told in any::<bool>(),
        ) {
            let mut current = unknown_with(told.then_some(Answer::NotExecuted));
            current.known = Known::sending();
            let mut memo = Memo::default();
            let mut seconds = 0;
            let mut proof = false;
            for (input, wait) in inputs {
                seconds += wait;
                // What may free the name: the sender's own knowledge, or a person's word.
                proof |= matches!(
                    &input,
                    Input::Answered(Verdict::NotSent(_) | Verdict::Rejected(_)) | Input::Withdrawn(_)
                );
                let before = current.known.clone();
                current.known = step(&current, input, &mut memo, &times(), after(seconds));
                if before.state.is_final() {
                    prop_assert_eq!(&before, &current.known);
                }
                if current.known.state == State::NotExecuted {
                    prop_assert!(told && memo.absent_reads >= 3 && seconds >= 900);
                }
                if matches!(current.known.state, State::NotSent | State::Rejected) {
                    prop_assert!(proof);
                }
                if current.known.state == State::Succeeded {
                    let result = current.known.result.clone().unwrap();
                    prop_assert!(result.vps != VpsId::new("vps_source"));
                }
            }
        }
    }
}
