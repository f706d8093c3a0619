//! A backup that is made before a change (backup creation page): a job, then the backup by its note.

use jiff::Timestamp;

use super::follow::{
    ABSENT_READS, BackupsReading, Input, Memo, Need, absent, has_new_answer, open_to_another, refuted,
    refuted_by,
};
use super::ordered::NewBackup;
use super::{Row, job};
use crate::ledger::record::{Evidence, Outcome, Record, Resolution, State, Times, later};
use crate::provider::backup::ListedBackup;
use crate::provider::job::JobState;
use crate::values::moment::CLOCKS_DIFFER;
use crate::values::text::Text;

/// The row of this action.
pub(super) const ROW: Row = Row {
    label: "create_backup",
    path: "/api/v2/vps/{id}/backups",
    needs_approval: true,
    conflicts: &["vps_not_ready"],
    receipt: job::receipt,
    receipt_says: job::RECEIPT_SAYS,
    answers_with_secrets: false,
    is_told_when_accepted: true,
    looked_for: "the operator searches for the backup by its note and does not send the call again",
    holds_all_the_same: "a backup that was made stays all the same",
    after_not_executed: "another backup is made at once if the approval is still valid",
};

/// What an accepted or unknown backup needs next.
pub(super) fn need(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Need {
    let known = &record.known;
    if known.state == State::Accepted && known.evidence.is_none() {
        // Without a job there is nothing to follow.
        return job::need(record, memo, times, now).unwrap_or(Need::Say(Input::DeadlinePassed));
    }
    let new_answer = known.state == State::Unknown && has_new_answer(record, memo);
    match (&record.answer, &known.job, memo.rests_until(now)) {
        (Some(Resolution::Adopt(_)), ..) if new_answer => Need::Say(Input::Adopted),
        (_, _, Some(until)) if !new_answer => Need::Wait(until),
        // Its job has ended, or HostUp no longer knows it.
        (_, Some(job), _) if !matches!(known.evidence, Some(Evidence::Job | Evidence::NoneFound)) => {
            Need::Job(job.clone())
        }
        _ => Need::Backups,
    }
}

/// What a reading makes of it.
pub(super) fn step(
    record: &Record,
    ordered: &NewBackup,
    input: Input,
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Outcome {
    let known = &record.known;
    let looks = matches!(
        input,
        Input::Job(..) | Input::Backups(_) | Input::JobUnreadable(_)
    );
    if looks && known.state == State::Unknown {
        memo.tried.clone_from(&record.answer);
    }
    if let Input::Job(JobState::Running { .. }, _) = &input {
        memo.unfinished_at = now;
    }
    match (known.state, input) {
        (State::Accepted, Input::DeadlinePassed) => job::deadline_passed(known, memo, now),
        (State::Accepted | State::Unknown, Input::Job(state, _)) => polled(record, state, memo, now),
        (State::Accepted | State::Unknown, Input::Backups(reading)) => {
            listed(record, ordered, &reading, memo, times, now)
        }
        (State::Unknown, Input::JobUnreadable(_)) => unread(record),
        (State::Unknown, Input::Adopted) => {
            memo.tried.clone_from(&record.answer);
            Outcome {
                state: State::Succeeded,
                message: Text::new("a person said that the backup was made"),
                evidence: Some(Evidence::Person),
                answer_refused: None,
                quiet_since: Some(now),
                ..known.clone()
            }
        }
        // Everything else comes too late or from a stale look, and changes nothing.
        (_, _) => known.clone(),
    }
}

fn polled(record: &Record, state: JobState, memo: &mut Memo, now: Timestamp) -> Outcome {
    let known = &record.known;
    match state {
        JobState::Running { .. } if known.state == State::Accepted => known.clone(),
        JobState::Running { .. } => job::runs_again(known),
        JobState::Completed { took, .. } => {
            memo.absent_reads = 0;
            let begun = record.claimed_by();
            let ended = took.map_or(begun, |took| later(begun, took));
            Outcome {
                state: State::Accepted,
                message: Text::new("HostUp completed the job; the operator looks for the backup"),
                evidence: Some(Evidence::Job),
                quiet_since: Some(ended.max(memo.unfinished_at).min(now)),
                ..known.clone()
            }
        }
        JobState::Failed { error } => job::failed(known, &error),
        JobState::Lost => Outcome {
            state: State::Unknown,
            message: Text::new("HostUp no longer knows the job; the operator searches for the backup"),
            quiet_since: Some(now),
            ..known.clone()
        },
    }
}

fn listed(
    record: &Record,
    ordered: &NewBackup,
    reading: &BackupsReading,
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Outcome {
    let known = &record.known;
    let with_note = || {
        let all = reading.backups.iter();
        all.filter(|backup| ordered.is_noted_on(backup))
    };
    // After a loss of the records, an older backup may have the same note.
    let complete = with_note().filter_map(ListedBackup::complete);
    let own = complete.filter(|backup| later(backup.created_at, CLOCKS_DIFFER) >= record.claimed_from());
    if let Some(made) = own.max_by_key(|backup| backup.created_at) {
        let by_its_job = known
            .quiet_since
            .filter(|_| known.evidence == Some(Evidence::Job));
        let by_looks = made.created_at.max(memo.unfinished_at).max(record.claimed_by());
        return Outcome {
            state: State::Succeeded,
            message: Text::new(&format!("HostUp made backup {} ({} GB)", made.id, made.size_gb)),
            backup: Some(made.id),
            evidence: Some(Evidence::BackupFound),
            answer_refused: None,
            // It tells nothing of what has happened since, also where nobody looked for days.
            quiet_since: Some(by_its_job.unwrap_or(by_looks).min(now)),
            ..known.clone()
        };
    }
    if known.evidence.is_none() {
        memo.unfinished_at = now;
    }
    if let Some(begun) = with_note().find(|backup| backup.complete().is_none()) {
        memo.absent_reads = 0;
        if now < record.deadline_at(times) {
            let why = format!("backup {} has begun", begun.id);
            return refuted_by(&why, record, known.clone());
        }
        let asked = Outcome {
            state: State::Unknown,
            message: Text::new(&format!(
                "backup {} is not complete by the job deadline",
                begun.id
            )),
            evidence: Some(Evidence::NoneFound),
            ..known.clone()
        };
        return refuted(record, asked);
    }
    let has_settled = now >= memo.settled_at(record, times);
    if !reading.reads_vps && (known.state == State::Unknown || has_settled) {
        return unread(record);
    }
    memo.absent_reads = memo.absent_reads.saturating_add(1);
    let nothing = format!("no backup of {} has the note {:?}", record.vps, ordered.note);
    if known.state == State::Unknown {
        if known.job.is_some() {
            memo.ended_since.get_or_insert(now);
        }
        let overdue = "a backup that HostUp made should have shown up by now";
        return absent(record, &nothing, overdue, memo, times, now);
    }
    if memo.absent_reads < ABSENT_READS || !has_settled {
        return known.clone();
    }
    Outcome {
        state: State::Unknown,
        message: Text::new(&format!("HostUp completed the job, and {nothing}")),
        evidence: Some(Evidence::NoneFound),
        ..known.clone()
    }
}

/// That nothing is listed proves something only to a key that reads the VPS.
fn unread(record: &Record) -> Outcome {
    let why = format!(
        "the key no longer reads {}, so a missing backup proves nothing",
        record.vps
    );
    let asked = Outcome {
        state: State::Unknown,
        message: Text::new(&why),
        evidence: Some(Evidence::AccountMismatch),
        ..record.known.clone()
    };
    open_to_another(record, asked)
}
