//! What the calls have in common that HostUp takes as a job (202 of the restore and backup pages).

use jiff::Timestamp;
use serde::Deserialize;

use super::follow::{ABSENT_READS, Input, LONGEST_POLL, Memo, Need};
use super::receipt::Receipt;
use crate::ledger::record::{Evidence, Job, Outcome, Record, State, Times, later};
use crate::provider::job::status_word;
use crate::values::ids::JobId;
use crate::values::json::{self, Object, Shown};
use crate::values::text::Text;

/// What an answer without a job lacks.
pub(super) const RECEIPT_SAYS: &str = "a usable job id";

/// The job that a body names.
pub(super) fn receipt(body: &[u8]) -> Option<Receipt> {
    job(body).map(Receipt::Job)
}

fn job(body: &[u8]) -> Option<Job> {
    #[derive(Deserialize)]
    struct Envelope {
        success: Option<bool>,
        operation: Object<Operation>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Operation {
        job_id: String,
        #[serde(default)]
        poll_url: Shown,
        #[serde(default)]
        status: Shown,
    }
    let envelope: Envelope = json::object(body)?;
    if envelope.success == Some(false) {
        return None;
    }
    let Object(operation) = envelope.operation;
    let id = JobId::parse(&operation.job_id)?;
    let poll_path = poll_path(operation.poll_url.0.as_str(), &id);
    let word = operation.status.0.as_str().and_then(status_word);
    Some(Job { id, poll_path, word })
}

/// A `pollUrl` counts only as a plain path below `/api/`; else the documented path of the job.
fn poll_path(poll_url: Option<&str>, id: &JobId) -> String {
    let plain = |path: &&str| {
        path.starts_with("/api/")
            && path.len() <= 200
            && !path.contains("..")
            && !path.contains("//")
            && path
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.'))
    };
    poll_url
        .filter(plain)
        .map_or_else(|| format!("/api/jobs/{id}"), str::to_owned)
}

/// When nobody waits for a job any longer.
pub(super) fn deadline(record: &Record, memo: &Memo, times: &Times) -> Timestamp {
    let deadline = record.deadline_at(times);
    let (Some(Evidence::Job), Some(since)) = (record.known.evidence, record.known.quiet_since) else {
        return deadline;
    };
    // It has failed; the search for a VM that it left has an end of its own, and counts from one's own sight.
    let looks = LONGEST_POLL.max(times.poll_interval) * ABSENT_READS;
    let since = memo.dated_ahead.map_or(since, |dated| dated.seen);
    let from = memo.ended_since.map_or(since, |own| own.max(since));
    deadline.max(later(from, times.settle_time + looks))
}

/// What a call that HostUp took as a job needs next; `None` where no job is known.
pub(super) fn need(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Option<Need> {
    let has_passed = now >= deadline(record, memo, times);
    match (&record.known.job, memo.rests_until(now)) {
        (None, _) => has_passed.then_some(Need::Say(Input::DeadlinePassed)),
        // A job that can be read may have ended long ago, while nobody looked.
        (Some(_), _) if has_passed && memo.is_out_of_patience(now) => Some(Need::Say(Input::DeadlinePassed)),
        (Some(_), Some(until)) => Some(Need::Wait(until)),
        (Some(job), None) => Some(Need::Job(job.clone())),
    }
}

/// The job has lasted too long.
pub(super) fn deadline_passed(known: &Outcome, memo: &Memo, now: Timestamp) -> Outcome {
    let message = match (known.evidence, memo.unread_since) {
        (Some(Evidence::Job), _) => format!(
            "{}; HostUp's list did not show by the job deadline whether it left a VM; look for one in HostUp's panel",
            known.message
        ),
        (_, Some(_)) => {
            "the job deadline has passed, and HostUp does not show the state of the job; look at it in \
             HostUp's panel"
                .to_owned()
        }
        (_, None) => "the job had not ended by the job deadline; look at it in HostUp's panel".to_owned(),
    };
    Outcome {
        state: State::Unknown,
        message: Text::bounded(&message, 1000),
        evidence: Some(Evidence::JobDeadline),
        quiet_since: Some(now),
        ..known.clone()
    }
}

/// The job failed, by its own words.
pub(super) fn failed(known: &Outcome, error: &Text) -> Outcome {
    Outcome {
        state: State::Failed,
        message: Text::bounded(&format!("the job failed: {error}"), 1000),
        evidence: Some(Evidence::Job),
        answer_refused: None,
        ..known.clone()
    }
}

/// HostUp knows the job of an unknown call again, and it runs.
pub(super) fn runs_again(known: &Outcome) -> Outcome {
    if known.evidence == Some(Evidence::JobDeadline) {
        return known.clone();
    }
    Outcome {
        state: State::Accepted,
        message: Text::new("HostUp knows the job again"),
        evidence: None,
        ..known.clone()
    }
}
