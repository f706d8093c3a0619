//! Conditions by the rules of kstatus: `Ready` is always there, `Reconciling` and `Stalled` only while
//! True and never both; a transition time moves only with its status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::domain::status::reason::Standing;

/// Bytes of a message that are kept: no object grows past 200 KiB, and Kubernetes takes 32 Ki characters.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// Whether a condition holds: its `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    /// `True`.
    Yes,
    /// `False`.
    No,
    /// `Unknown`.
    Unclear,
}

impl ConditionStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "True",
            Self::No => "False",
            Self::Unclear => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// One condition before it is dated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCondition {
    /// Type of the condition.
    pub about: &'static str,
    /// Its status.
    pub status: ConditionStatus,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// `Ready`, with `Reconciling` or `Stalled` where the standing asks for it.
pub fn standing(standing: Standing, reason: &str, message: &str) -> Vec<NewCondition> {
    let condition = |about, status| NewCondition {
        about,
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    match standing {
        Standing::Done => vec![condition("Ready", ConditionStatus::Yes)],
        Standing::Waiting => vec![condition("Ready", ConditionStatus::No)],
        Standing::Progressing => vec![
            condition("Ready", ConditionStatus::No),
            condition("Reconciling", ConditionStatus::Yes),
        ],
        Standing::Stalled => vec![
            condition("Ready", ConditionStatus::No),
            condition("Stalled", ConditionStatus::Yes),
        ],
    }
}

/// Dates the conditions: one whose status is the same as before keeps its transition time.
pub fn dated(
    conditions: Vec<NewCondition>,
    before: &[Condition],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let since = |new: &NewCondition| {
        let same = |old: &&Condition| old.type_ == new.about && old.status == new.status.as_str();
        before
            .iter()
            .find(same)
            .map(|old| old.last_transition_time.clone())
    };
    conditions
        .into_iter()
        .map(|new| Condition {
            last_transition_time: since(&new).unwrap_or_else(|| Time(whole_seconds(now))),
            type_: new.about.to_owned(),
            status: new.status.as_str().to_owned(),
            reason: new.reason,
            message: bounded(new.message),
            observed_generation: Some(generation),
        })
        .collect()
}

fn bounded(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push('…');
    }
    message
}

/// The condition of that type, if it is there.
pub fn find<'a>(conditions: &'a [Condition], about: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == about)
}

/// Since when the object is Stalled, if it is.
pub fn stalled_since(conditions: &[Condition]) -> Option<Timestamp> {
    find(conditions, "Stalled").map(|stalled| stalled.last_transition_time.0)
}

/// Kubernetes keeps whole seconds; a finer time would differ from what is read back.
pub(super) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::status::reason::Reason;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn conditions(reason: Reason, before: &[Condition], now: &str) -> Vec<Condition> {
        dated(
            standing(reason.standing(), reason.as_str(), "m"),
            before,
            3,
            at(now),
        )
    }

    #[test]
    fn no_reason_breaks_the_rules_of_kstatus() {
        for reason in Reason::ALL {
            let conditions = conditions(*reason, &[], "2026-11-23T00:00:00Z");
            let status = |about| find(&conditions, about).map(|c| c.status.as_str());
            let ready = status("Ready").unwrap();
            assert!(
                status("Reconciling").is_none() || status("Stalled").is_none(),
                "{reason:?}"
            );
            if ready == "True" {
                assert_eq!(conditions.len(), 1, "{reason:?}");
            }
            assert!(conditions.iter().all(|c| c.observed_generation == Some(3)));
        }
    }

    #[test]
    fn a_transition_time_moves_only_with_the_status() {
        let first = conditions(Reason::GatesClosed, &[], "2026-11-23T00:00:00Z");
        let second = conditions(Reason::AwaitingApproval, &first, "2026-11-23T01:00:00Z");
        assert_eq!(first[0].last_transition_time, second[0].last_transition_time);
        let third = conditions(Reason::Restored, &second, "2026-11-23T02:00:00Z");
        assert_eq!(third[0].last_transition_time.0, at("2026-11-23T02:00:00Z"));
    }
}
