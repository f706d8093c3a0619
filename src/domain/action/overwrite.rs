//! A backup restored onto a VPS that exists (restore-from-vps page): a job. Nothing shows what a disk holds, so that
//! without a job a person is asked.

use jiff::Timestamp;

use super::follow::{
    Input, Memo, Need, has_new_answer, open_to_another, says_not_executed, settled_without_the_job,
    takes_effect,
};
use super::{Row, job};
use crate::ledger::record::{Evidence, Outcome, Record, Resolution, State, Times, later};
use crate::provider::job::JobState;
use crate::values::text::Text;

/// The row of this action.
pub(super) const ROW: Row = Row {
    label: "overwrite",
    path: "/api/v2/vps/{id}/backups/actions/restore-from-vps",
    needs_approval: true,
    conflicts: &["vps_not_ready"],
    receipt: job::receipt,
    receipt_says: job::RECEIPT_SAYS,
    answers_with_secrets: false,
    is_told_when_accepted: true,
    looked_for: "the operator looks for the job and does not send the call again",
    holds_all_the_same: "the disk may be overwritten all the same",
    after_not_executed: "a new attempt follows at once if the approval is still valid",
};

/// What an accepted or unknown overwrite needs next.
pub(super) fn need(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Need {
    if record.known.state == State::Accepted {
        // Without a job there is nothing to follow.
        return job::need(record, memo, times, now).unwrap_or(Need::Say(Input::DeadlinePassed));
    }
    let new_answer = has_new_answer(record, memo);
    let settled = memo.settled_at(record, times);
    match (&record.answer, &record.known.job, memo.rests_until(now)) {
        (Some(Resolution::Adopt(_)), ..) if new_answer => Need::Say(Input::Adopted),
        (_, Some(_), Some(until)) if !new_answer => Need::Wait(until),
        (_, Some(job), _) => Need::Job(job.clone()),
        // It takes effect later, and its object says when.
        (Some(_), None, _) if new_answer => Need::Say(Input::Settled),
        (_, None, _) if now < settled => Need::Wait(settled),
        (_, None, _) if record.known.evidence.is_none() || says_not_executed(record) => {
            Need::Say(Input::Settled)
        }
        (_, None, _) => Need::Wait(later(now, times.resync_interval)),
    }
}

/// What a reading makes of it.
pub(super) fn step(record: &Record, input: Input, memo: &mut Memo, times: &Times, now: Timestamp) -> Outcome {
    let known = &record.known;
    match (known.state, input) {
        (State::Accepted, Input::DeadlinePassed) => job::deadline_passed(known, memo, now),
        (State::Accepted, Input::Job(job, _)) => polled(known, job, now),
        (State::Unknown, Input::Job(job, _)) => {
            memo.tried.clone_from(&record.answer);
            polled_again(record, job, memo, times, now)
        }
        (State::Unknown, Input::JobUnreadable(_)) => {
            memo.tried.clone_from(&record.answer);
            let why = format!(
                "the key no longer reads {}, so a missing job proves nothing",
                record.vps
            );
            let asked = Outcome {
                message: Text::new(&why),
                evidence: Some(Evidence::AccountMismatch),
                ..known.clone()
            };
            open_to_another(record, asked)
        }
        (State::Unknown, Input::Adopted) => {
            memo.tried.clone_from(&record.answer);
            Outcome {
                state: State::Succeeded,
                message: Text::new("a person said that HostUp executed it"),
                evidence: Some(Evidence::Person),
                answer_refused: None,
                ..known.clone()
            }
        }
        (State::Unknown, Input::Settled) => {
            memo.tried.clone_from(&record.answer);
            settled(record, memo, times, now)
        }
        // Everything else comes too late or from a stale look, and changes nothing.
        (_, _) => known.clone(),
    }
}

fn polled(known: &Outcome, state: JobState, now: Timestamp) -> Outcome {
    match state {
        JobState::Running { .. } => known.clone(),
        JobState::Completed { .. } => Outcome {
            state: State::Succeeded,
            message: Text::new("HostUp completed the job"),
            evidence: Some(Evidence::Job),
            answer_refused: None,
            quiet_since: Some(now),
            ..known.clone()
        },
        JobState::Failed { error } => job::failed(known, &error),
        JobState::Lost => Outcome {
            state: State::Unknown,
            message: Text::new("HostUp no longer knows the job, and nothing else shows what the disk holds"),
            quiet_since: Some(now),
            ..known.clone()
        },
    }
}

/// HostUp may know the job again.
fn polled_again(record: &Record, state: JobState, memo: &mut Memo, times: &Times, now: Timestamp) -> Outcome {
    let known = &record.known;
    match state {
        JobState::Lost => {
            memo.ended_since.get_or_insert(now);
            settled(record, memo, times, now)
        }
        JobState::Running { .. } => job::runs_again(known),
        ended @ (JobState::Completed { .. } | JobState::Failed { .. }) => polled(known, ended, now),
    }
}

/// The time has passed in which its job could have been found.
fn settled(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Outcome {
    let known = &record.known;
    if says_not_executed(record) {
        if now < settled_without_the_job(record, memo, times) {
            return Outcome {
                message: takes_effect(record, memo, times),
                answer_refused: None,
                ..known.clone()
            };
        }
        return Outcome {
            state: State::NotExecuted,
            message: Text::new("a person said that HostUp did not execute it"),
            evidence: Some(Evidence::Person),
            answer_refused: None,
            ..known.clone()
        };
    }
    let is_asked = known
        .evidence
        .is_some_and(|evidence| evidence != Evidence::AccountMismatch);
    if now < memo.settled_at(record, times) || is_asked {
        return known.clone();
    }
    Outcome {
        message: Text::new("no job is known, and nothing else shows what the disk holds"),
        evidence: Some(Evidence::NoneFound),
        ..known.clone()
    }
}
