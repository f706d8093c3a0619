//! Records, as users read them.

use hostup_operator::api::operation::{OperationEvidence, OperationState, VpsOperation};
use hostup_operator::domain::ledger::record::State;
use jiff::{SignedDuration, Timestamp};

/// The state.
pub fn state(record: &VpsOperation) -> OperationState {
    let status = record.status.as_ref();
    status
        .and_then(|status| status.state)
        .unwrap_or(OperationState::Sending)
}

/// The word for a state.
pub fn word(state: OperationState) -> &'static str {
    State::from(state).as_str()
}

/// The type of the call.
pub fn call_type(record: &VpsOperation) -> String {
    format!("{:?}", record.spec.r#type)
}

/// What the state is known by.
pub fn evidence(record: &VpsOperation) -> Option<OperationEvidence> {
    record.status.as_ref().and_then(|status| status.evidence)
}

/// Whether it waits for a person's answer: the outcome is unknown, the operator has searched, and no answer is given
/// that it has not refused.
pub fn asks(record: &VpsOperation) -> bool {
    let is_refused = record
        .status
        .as_ref()
        .is_some_and(|status| status.resolution_refused.is_some());
    state(record) == OperationState::Unknown
        && evidence(record).is_some()
        && (record.spec.resolution.is_none() || is_refused)
}

/// The approved price, in short; empty if there is none.
pub fn price(record: &VpsOperation) -> &str {
    record
        .spec
        .quote
        .as_ref()
        .map_or("", |quote| quote.summary.as_str())
}

/// When the call was claimed, by the claimer's clock.
pub fn claimed(record: &VpsOperation) -> Option<Timestamp> {
    record.spec.claim.made_at.parse().ok()
}

/// A span of time as users write it: `30d`, `12h`, `90m`.
pub fn span(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("{text:?} is not a span of time; write it like 30d, 12h or 90m");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: i64 = text
        .strip_suffix(unit)
        .and_then(|number| number.parse().ok())
        .filter(|number| (0..=1_000_000).contains(number))
        .ok_or_else(wrong)?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    Ok(SignedDuration::from_secs(number * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_number_and_a_unit() {
        assert_eq!(span("30d"), Ok(SignedDuration::from_hours(720)));
        assert_eq!(span("90m"), Ok(SignedDuration::from_mins(90)));
        for bad in ["", "30", "d", "-3d", "1.5h", "3 d", "9999999d", "3w"] {
            assert!(span(bad).is_err(), "{bad:?}");
        }
    }
}
