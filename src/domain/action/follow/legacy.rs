//! An estimate or an upgrade on the older route: its answer is all that is ever known of it.

use jiff::Timestamp;

use super::{Input, Need};
use crate::domain::ledger::record::{Answer, Evidence, Known, Record, State, Times, later};
use crate::domain::values::text::Text;

/// What an unknown call needs next: there is nothing to read, only time and a person's answer.
pub(super) fn need(record: &Record, times: &Times, now: Timestamp) -> Need {
    let settled = record.settled_at(times);
    match &record.answer {
        Some(Answer::Adopt(_)) => Need::Say(Input::Adopted),
        Some(Answer::NotExecuted | Answer::Abandon) | None if now < settled => Need::Wait(settled),
        Some(Answer::NotExecuted | Answer::Abandon) => Need::Say(Input::Settled),
        None if record.known.evidence.is_none() => Need::Say(Input::Settled),
        None => Need::Wait(later(now, times.resync_interval)),
    }
}

/// What time or a person's answer makes of it.
pub(super) fn step(record: &Record, input: Input, times: &Times, now: Timestamp) -> Known {
    let known = &record.known;
    match (known.state, input) {
        (State::Unknown, Input::Adopted) => Known {
            state: State::Succeeded,
            message: Text::new("a person said that HostUp executed it"),
            evidence: Some(Evidence::Person),
            answer_refused: None,
            ..known.clone()
        },
        (State::Unknown, Input::Settled) if now < record.settled_at(times) => known.clone(),
        (State::Unknown, Input::Settled) if record.answer == Some(Answer::NotExecuted) => Known {
            state: State::NotExecuted,
            message: Text::new("a person said that HostUp did not execute it"),
            evidence: Some(Evidence::Person),
            answer_refused: None,
            ..known.clone()
        },
        (State::Unknown, Input::Settled) => Known {
            message: Text::new("the older route shows nothing that could be read back"),
            evidence: Some(Evidence::NoneFound),
            ..known.clone()
        },
        // Everything else comes too late or from a stale look, and changes nothing.
        (_, _) => known.clone(),
    }
}
