//! The machine of one paid call: which reading it needs next, and what that reading makes of it.
//!
//! Its alphabet is what came back from HostUp, the clock and a person's answer. Nothing in it sends.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use std::time::Duration;

use super::job;
use super::memo::PATIENCE_TO_LOOK;
pub use super::memo::{DatedAhead, Memo, could_not_write, still_to_write};
use crate::action::answer::Verdict;
use crate::action::ordered::Action;
use crate::action::receipt::Receipt;
use crate::ledger::record::{Evidence, Job, Outcome, Record, Resolution, State, Times, later};
use crate::provider::backup::ListedBackup;
use crate::provider::inventory::{Sighting, Vm};
use crate::provider::job::JobState;
use crate::provider::options::Offer;
use crate::values::ids::VpsId;
use crate::values::text::Text;

/// Complete readings without the purchase before absence is taken for an answer.
pub(super) const ABSENT_READS: u32 = 3;
/// Each refusal of a `NotExecuted` begins so.
const NOT_TAKEN: &str = "NotExecuted is not taken";
/// A part of each refusal that rests on what HostUp has shown. Such an answer counts only after it was taken back and given
/// again. Records store these words: with other words, the refuted answers of stored records would count.
const TAKE_BACK: &str = "take it back (null) to give it again";
/// An end that is expected is looked for so much later.
const LATE: Duration = Duration::from_millis(200);
/// Between two polls of a job that a person was asked about because it outlasts its deadline.
const LATE_JOB: Duration = Duration::from_secs(5 * 60);
/// Longest interval between two polls of one job.
pub(super) const LONGEST_POLL: Duration = Duration::from_secs(60);

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
    /// The options of the VPS.
    Options,
    /// The backups of the VPS.
    Backups,
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
    /// The job as polled. If it has ended: the VMs whose names contain the token, and those that the job names.
    Job(JobState, Vec<Vm>),
    /// A complete list of VMs.
    Inventory(InventoryReading),
    /// A complete list of VMs, while the job cannot be read: it may run, so absence proves nothing.
    JobUnreadable(Vec<Vm>),
    /// Nothing could be read, and this is why.
    Unreadable(Text),
    /// The VM that a person named, or why it cannot be taken.
    Named(Result<Vm, Text>),
    /// The options of the VPS, as they are offered.
    Options(OptionsReading),
    /// The backups of the VPS, as they are listed.
    Backups(BackupsReading),
    /// Nothing can be read, and the time in which something could have shown up has passed.
    Settled,
    /// A person says that it was executed.
    Adopted,
    /// A person gives the operation up.
    Abandoned,
    /// A person has taken back an answer that was refused.
    TakenBack,
    /// A VM bore the token before the claim.
    FoundBeforeClaim(Sighting),
}

/// A complete list read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryReading {
    /// Every VM of the account whose name contains the token.
    pub vms: Vec<Vm>,
    /// Whether the key could read the source VPS too.
    pub reads_source: bool,
}

/// A reading of the options of a VPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsReading {
    /// Every option.
    pub offers: Vec<Offer>,
    /// Whether the key could read the VPS.
    pub reads_vps: bool,
}

/// A reading of the backups of a VPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupsReading {
    /// Every backup.
    pub backups: Vec<ListedBackup>,
    /// Whether the key could read the VPS.
    pub reads_vps: bool,
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
            let end = later(record.claimed_by(), times.paid_timeout);
            Need::Wait(end.max(later(now, times.poll_interval)))
        }
        State::Sending if now <= record.overdue_at() => {
            Need::Wait(later(record.overdue_at(), Duration::from_millis(1)))
        }
        State::Sending => Need::Say(Input::Overdue),
        State::Accepted | State::Unknown
            if record.answer.is_none() && record.known.answer_refused.is_some() =>
        {
            Need::Say(Input::TakenBack)
        }
        State::Unknown if record.answer == Some(Resolution::Abandon) => Need::Say(Input::Abandoned),
        State::Accepted | State::Unknown => record.action.need(record, memo, times, now),
    }
}

/// A person's answer that this process has not looked into yet.
pub(super) fn has_new_answer(record: &Record, memo: &Memo) -> bool {
    record.answer.is_some() && record.answer != memo.tried
}

/// What an account has shown of the time that its jobs take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobTimes {
    /// Nothing yet.
    Unknown,
    /// Nothing yet, and another job of the account is polled to find out.
    FoundOutByAnother,
    /// None of the last ones took less.
    AtLeast(Duration),
}

/// Poll intervals between two polls while another job finds out how long they take; an end that is expected within so
/// long is waited for.
const RARELY: u32 = 3;

/// HostUp has taken the order, and the record says nothing of the end of its job.
pub fn waits_for_its_job(record: &Record) -> bool {
    let known = &record.known;
    known.state == State::Accepted
        && known.quiet_since.is_some()
        && known.job.is_some()
        && known.evidence.is_none()
}

/// Before when a record that this process has not looked at yet needs no look: HostUp has just taken the order.
pub fn first_look(record: &Record, jobs: JobTimes, times: &Times, now: Timestamp) -> Timestamp {
    let Some(taken) = record.known.quiet_since.filter(|_| waits_for_its_job(record)) else {
        return Timestamp::MIN;
    };
    let longest = times.poll_interval * RARELY;
    let wait = match jobs {
        JobTimes::Unknown => times.poll_interval,
        JobTimes::FoundOutByAnother => longest,
        JobTimes::AtLeast(fastest) => {
            let whole = over(fastest);
            if whole <= longest {
                whole
            } else {
                times.poll_interval
            }
        }
    };
    // Another machine's clock may have written it.
    later(taken.min(now), wait.max(times.poll_interval))
}

/// When a job that takes so long is over for certain, with what the times of two machines differ by.
fn over(takes: Duration) -> Duration {
    takes + takes / 16 + LATE
}

/// When to look again after a look at `now` that changed nothing.
///
/// A job is polled not faster than the poll interval nor slower than 5 % of its age, unless no job of the account was
/// seen to be so fast: then half of the time is waited that it takes at least, and all of it where little is left. An
/// unknown outcome is looked for a few times within the settle time and then at the resync interval; a job that outlasts
/// its deadline a little more often.
pub fn next_look(record: &Record, jobs: JobTimes, times: &Times, now: Timestamp) -> Timestamp {
    let told = says_not_executed(record);
    let longest = LONGEST_POLL.max(times.poll_interval);
    let wait = match (record.known.state, record.known.evidence) {
        (State::Unknown, Some(Evidence::JobDeadline)) if !told => LATE_JOB.min(times.resync_interval),
        (State::Unknown, Some(_)) if !told => times.resync_interval,
        (State::Unknown, _) => (times.settle_time / 8).clamp(times.poll_interval, longest),
        (_, evidence) => {
            let since = |begin: Timestamp| Duration::try_from(now.duration_since(begin)).unwrap_or_default();
            let by_age = (since(record.claimed_by()) / 20).clamp(times.poll_interval, longest);
            let taken = record.known.quiet_since.unwrap_or(record.claimed_by());
            let soon = times.poll_interval * RARELY;
            match jobs {
                JobTimes::FoundOutByAnother if evidence.is_none() => by_age.max(soon),
                JobTimes::AtLeast(fastest) if evidence.is_none() => {
                    match over(fastest).saturating_sub(since(taken)) {
                        Duration::ZERO => by_age,
                        left if left <= soon => left.max(times.poll_interval),
                        left => (left / 2).min(times.poll_interval * 30).min(longest).max(by_age),
                    }
                }
                JobTimes::Unknown | JobTimes::FoundOutByAnother | JobTimes::AtLeast(_) => by_age,
            }
        }
    };
    let next = later(now, wait);
    let deadline = record.deadline_at(times);
    let is_cut = record.known.state == State::Accepted && now < deadline;
    if is_cut { next.min(deadline) } else { next }
}

/// A person says so, and nothing that HostUp has shown since refutes it.
pub(super) fn says_not_executed(record: &Record) -> bool {
    record.answer == Some(Resolution::NotExecuted) && !is_refuted(&record.known)
}

/// HostUp has refuted a person's `NotExecuted`, which counts no more.
pub(super) fn is_refuted(known: &Outcome) -> bool {
    let refused = known.answer_refused.as_ref();
    refused.is_some_and(|why| why.as_str().starts_with(NOT_TAKEN) && why.as_str().contains(TAKE_BACK))
}

/// No answer was refused but a `NotExecuted`.
pub(super) fn is_open_to_adopt(known: &Outcome) -> bool {
    let refused = known.answer_refused.as_ref();
    refused.is_none_or(|why| why.as_str().starts_with(NOT_TAKEN))
}

/// What `input` makes of the record. The same value means that nothing is to be written.
pub fn step(record: &Record, input: Input, memo: &mut Memo, times: &Times, now: Timestamp) -> Outcome {
    let knows_the_job = matches!(&input, Input::Job(job, _) if *job != JobState::Lost);
    memo.begins_a_look(record, times, now);
    match &input {
        Input::Unreadable(_) | Input::JobUnreadable(_) => {
            memo.unread_since.get_or_insert(now);
        }
        Input::Job(JobState::Running { .. }, _) => {
            (memo.unread_since, memo.ended_since, memo.absent_reads) = (None, None, 0);
        }
        Input::Job(..) | Input::Inventory(_) | Input::Named(_) | Input::Options(_) | Input::Backups(_) => {
            memo.unread_since = None;
        }
        Input::Answered(_)
        | Input::Withdrawn(_)
        | Input::Overdue
        | Input::DeadlinePassed
        | Input::Settled
        | Input::Adopted
        | Input::Abandoned
        | Input::TakenBack
        | Input::FoundBeforeClaim(_) => {}
    }
    let after = stepped(record, input, memo, times, now);
    let why = match after.state {
        State::Accepted | State::Unknown if knows_the_job => "HostUp has shown the job since",
        State::Accepted => "HostUp has accepted the order",
        State::Unknown if record.known.state == State::Accepted => "HostUp has accepted the order",
        _ => return after,
    };
    refuted_by(why, record, after)
}

fn stepped(record: &Record, input: Input, memo: &mut Memo, times: &Times, now: Timestamp) -> Outcome {
    let known = &record.known;
    match (known.state, input) {
        (State::Accepted | State::Unknown, Input::TakenBack) => {
            memo.tried = None;
            Outcome {
                answer_refused: None,
                ..known.clone()
            }
        }
        (State::Sending | State::Unknown, Input::Answered(verdict)) => answered(record, verdict, now),
        (State::Sending | State::Unknown, Input::Withdrawn(why)) => Outcome {
            state: State::NotSent,
            message: why,
            quiet_since: Some(now),
            ..Outcome::sending()
        },
        (State::Sending, Input::Overdue) => Outcome {
            state: State::Unknown,
            message: Text::new(
                "the operator stopped between the claim and the answer; HostUp may have been asked",
            ),
            quiet_since: Some(later(record.claimed_by(), times.paid_timeout)),
            ..Outcome::sending()
        },
        (State::Accepted | State::Unknown, Input::Unreadable(why)) => {
            unreadable(record, &why, memo, times, now)
        }
        (State::Unknown, Input::Abandoned) => Outcome {
            state: State::Abandoned,
            message: Text::new(&format!(
                "a person abandoned this operation without an answer; {}",
                record.action.kind().row().holds_all_the_same
            )),
            evidence: Some(Evidence::Person),
            ..known.clone()
        },
        (State::Accepted, Input::Job(JobState::Running { .. }, _))
            if now >= job::deadline(record, memo, times) =>
        {
            job::deadline_passed(known, memo, now)
        }
        (_, input) => record.action.step(record, input, memo, times, now),
    }
}

fn answered(record: &Record, verdict: Verdict, now: Timestamp) -> Outcome {
    let base = Outcome {
        quiet_since: Some(now),
        answer_refused: record.known.answer_refused.clone(),
        ..Outcome::sending()
    };
    match verdict {
        Verdict::NotSent(why) => Outcome {
            state: State::NotSent,
            message: why,
            ..base
        },
        Verdict::Accepted(receipt) => received(record, receipt, base),
        Verdict::Rejected(refusal) => Outcome {
            state: State::Rejected,
            message: Text::bounded(&refusal.said.cited("HostUp refused"), 1000),
            said: refusal.said,
            invoice: refusal.invoice,
            suggests_cancelling: refusal.suggests_cancelling,
            not_before: refusal.retry_after.map(|wait| later(now, wait)),
            ..base
        },
        // A sender that learnt nothing more keeps what others have found out meanwhile.
        Verdict::Unknown { said, .. } if record.known.evidence.is_some() => Outcome {
            said,
            ..record.known.clone()
        },
        Verdict::Unknown {
            why,
            said,
            retry_after,
        } => Outcome {
            state: State::Unknown,
            message: Text::bounded(&said.cited(why.as_str()), 1000),
            said,
            not_before: retry_after.map(|wait| later(now, wait)),
            ..base
        },
    }
}

fn received(record: &Record, receipt: Receipt, base: Outcome) -> Outcome {
    match receipt {
        Receipt::Job(job) => Outcome {
            state: State::Accepted,
            message: Text::new(&format!("HostUp accepted the order as job {}", job.id)),
            job: Some(job),
            ..base
        },
        Receipt::Committed { invoice, charge } => Outcome {
            state: State::Accepted,
            message: match &invoice {
                Some(invoice) => Text::new(&format!(
                    "HostUp took the change and made {invoice}; pay it {}",
                    invoice.where_to_pay()
                )),
                None => Text::new("HostUp took the change"),
            },
            invoice,
            charged_more: record.quote.as_ref().zip(charge).and_then(|(approved, charge)| {
                let is_more = !charge.is_within(&approved.price);
                is_more.then(|| Text::bounded(&charge.to_string(), 60))
            }),
            ..base
        },
        Receipt::Estimated(estimate) => Outcome {
            state: State::Succeeded,
            message: Text::new(if estimate.total.is_some() {
                "HostUp estimated the upgrade"
            } else {
                "HostUp estimated the upgrade, and named no total"
            }),
            estimate: Some(estimate),
            evidence: Some(Evidence::Answered),
            ..base
        },
        Receipt::Upgraded {
            order,
            invoice,
            prorated,
            new_total,
            unasked,
        } => Outcome {
            state: State::Succeeded,
            message: Text::new(&format!(
                "HostUp {}took the upgrade{}{}{}{}",
                if unasked {
                    "was only asked for an estimate, and "
                } else {
                    ""
                },
                order.map_or_else(String::new, |id| format!(" as order {id}")),
                prorated.map_or_else(String::new, |amount| format!(", prorated to {amount}")),
                new_total.map_or_else(String::new, |amount| format!(
                    ", with a new total of {amount} for each billing cycle"
                )),
                invoice.as_ref().map_or_else(String::new, |invoice| format!(
                    "; pay {invoice} {}",
                    invoice.where_to_pay()
                ))
            )),
            invoice,
            evidence: Some(if unasked {
                Evidence::ExecutedUnasked
            } else {
                Evidence::Answered
            }),
            ..base
        },
    }
}

/// Until when an outcome may stay unread before a person is asked; `None` where another deadline asks.
fn unread_until(record: &Record, memo: &Memo, times: &Times) -> Option<Timestamp> {
    let patience = later(memo.settled_at(record, times), PATIENCE_TO_LOOK);
    match (record.known.state, &record.action) {
        (State::Unknown, _) => Some(patience),
        (State::Accepted, Action::Options(_) | Action::Resize(_)) => {
            let since = memo.quiet_at(record, times);
            Some(super::options::patience(record, since, times.job_deadline))
        }
        (State::Accepted, Action::CreateBackup(_)) if record.known.evidence.is_some() => Some(patience),
        (_, _) => None,
    }
}

/// HostUp cannot be read. For a while that is no news; then a person is asked, and is believed.
pub(super) fn unreadable(record: &Record, why: &Text, memo: &Memo, times: &Times, now: Timestamp) -> Outcome {
    let known = &record.known;
    if !memo.is_out_of_patience(now) || unread_until(record, memo, times).is_none_or(|until| now < until) {
        return known.clone();
    }
    let is_answered = record.answer == Some(Resolution::NotExecuted) && known.answer_refused.is_none();
    let told = is_answered && known.state == State::Unknown;
    if told && known.job.is_some() {
        // HostUp took the order, and nothing was read that would show whether its job runs.
        let asked = Outcome {
            message: Text::new("HostUp accepted the order, and its job cannot be read"),
            evidence: known.evidence.or(Some(Evidence::CannotLook)),
            ..known.clone()
        };
        return open_to_another(record, asked);
    }
    if told {
        return Outcome {
            state: State::NotExecuted,
            message: Text::new("a person said that HostUp did not execute it; HostUp cannot be read"),
            evidence: Some(Evidence::Person),
            ..known.clone()
        };
    }
    // That HostUp took the order, or does not show it, is known; another question stands already.
    let asked = known.state == State::Unknown && known.evidence.is_some();
    if asked {
        return known.clone();
    }
    Outcome {
        state: State::Unknown,
        message: Text::bounded(&format!("the outcome cannot be checked: {why}"), 1000),
        evidence: Some(Evidence::CannotLook),
        ..known.clone()
    }
}

/// An answer that cannot take effect yet must not bar the way of another one.
pub(super) fn open_to_another(record: &Record, asked: Outcome) -> Outcome {
    if !says_not_executed(record) {
        return asked;
    }
    Outcome {
        answer_refused: Some(Text::new(&format!("{NOT_TAKEN} while {}", asked.message))),
        ..asked
    }
}

/// What HostUp shows, as `asked` says it, contradicts a `NotExecuted`.
pub(super) fn refuted(record: &Record, asked: Outcome) -> Outcome {
    let why = asked.message.clone();
    refuted_by(why.as_str(), record, asked)
}

/// What HostUp shows contradicts a `NotExecuted`, which has no effect any more, whatever HostUp shows later.
pub(super) fn refuted_by(why: &str, record: &Record, outcome: Outcome) -> Outcome {
    if record.answer != Some(Resolution::NotExecuted) || is_refuted(&outcome) {
        return outcome;
    }
    Outcome {
        answer_refused: Some(Text::new(&format!("{NOT_TAKEN}; {TAKE_BACK}: {why}"))),
        ..outcome
    }
}

/// From when on it counts that nothing shows what was ordered. Another process may have written when the job was lost, by a
/// clock that is behind.
pub(super) fn settled_without_the_job(record: &Record, memo: &Memo, times: &Times) -> Timestamp {
    let lost = memo.ended_since.map(|lost| later(lost, times.settle_time));
    lost.unwrap_or(Timestamp::MIN).max(memo.settled_at(record, times))
}

/// When a `NotExecuted` takes effect. Two processes that saw the loss of a job at two times must not write in turn.
pub(super) fn takes_effect(record: &Record, memo: &Memo, times: &Times) -> Text {
    Text::new(&if memo.ended_since.is_some() {
        let settle = times.settle_time.as_secs();
        format!(
            "the answer NotExecuted takes effect once nothing has shown up for {settle} s since the job was lost"
        )
    } else {
        let at = record.settled_at(times);
        format!("the answer NotExecuted takes effect at {at:.0}, if nothing shows up before")
    })
}

/// What an absence means: `nothing` says in words what is not there.
pub(super) fn absent(
    record: &Record,
    nothing: &str,
    overdue: &str,
    memo: &Memo,
    times: &Times,
    now: Timestamp,
) -> Outcome {
    let known = &record.known;
    let settled = settled_without_the_job(record, memo, times);
    let told = says_not_executed(record);
    let enough = memo.absent_reads >= ABSENT_READS && now >= settled;
    match (told, enough) {
        (true, true) => Outcome {
            state: State::NotExecuted,
            message: Text::new(&format!(
                "a person said that HostUp did not execute it, and {nothing}"
            )),
            evidence: Some(Evidence::Person),
            answer_refused: None,
            ..known.clone()
        },
        (true, false) => Outcome {
            message: takes_effect(record, memo, times),
            answer_refused: None,
            ..known.clone()
        },
        (false, true)
            if !matches!(
                known.evidence,
                Some(Evidence::JobDeadline | Evidence::NotConverged)
            ) =>
        {
            Outcome {
                message: Text::new(&format!("{nothing}; {overdue}")),
                evidence: Some(Evidence::NoneFound),
                ..known.clone()
            }
        }
        (false, _)
            if matches!(
                known.evidence,
                Some(Evidence::AccountMismatch | Evidence::CannotLook)
            ) =>
        {
            Outcome {
                message: Text::new("the key reads the VPS again; the operator searches for the outcome"),
                evidence: None,
                ..known.clone()
            }
        }
        (false, _) => known.clone(),
    }
}
