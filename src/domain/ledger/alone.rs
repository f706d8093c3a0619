//! Whether a call for a VPS is the only one, by all records for that VPS.

use jiff::Timestamp;

use super::Entry;
use super::names::ChainKey;
use crate::domain::values::ids::{InstanceId, RecordName};

/// Whether none of the `others` is without a known end. For a VPS that is overwritten also whether none that was executed is
/// newer than `follows`, the last one when the quote was shown.
pub fn is_alone(
    others: &[Entry],
    follows: Option<&Option<RecordName>>,
    own: &ChainKey,
    instance: &InstanceId,
) -> bool {
    let is_over = |other: &Entry| {
        let content = other.content.as_ref();
        content.is_some_and(|content| content.state.is_final())
    };
    if !others.iter().all(is_over) {
        return false;
    }
    let Some(follows) = follows else {
        return true;
    };
    let made = |other: &Entry| other.made.unwrap_or(Timestamp::MAX);
    let was_executed = |other: &&Entry| {
        let content = other.content.as_ref();
        let executed =
            content.is_some_and(|content| content.instance == *instance && !content.state.frees_the_name());
        executed && own.attempt(&other.name).is_none()
    };
    let newest = others.iter().filter(was_executed).map(made).max();
    let shown = follows.as_ref();
    let shown = shown.and_then(|shown| others.iter().find(|other| other.name == *shown));
    match (newest, shown) {
        (None, _) => follows.is_none(),
        (Some(newest), Some(shown)) => newest <= made(shown),
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ledger::record::State;
    use crate::domain::ledger::tests::driving;

    fn chain(name: &str) -> ChainKey {
        ChainKey::of_restore("shop", name)
    }

    fn alone(others: &[Entry], follows: Option<Option<RecordName>>) -> bool {
        is_alone(others, follows.as_ref(), &chain("own"), &InstanceId::new("ours"))
    }

    #[test]
    fn whatever_has_no_known_end_keeps_others_from_the_vps() {
        assert!(alone(&[], None));
        for state in State::ALL {
            let other = driving(&chain("other").record(1), 5, state);
            assert_eq!(alone(&[other], None), state.is_final(), "{state:?}");
        }
        let unreadable = Entry {
            content: None,
            ..driving(&chain("other").record(1), 5, State::Succeeded)
        };
        assert!(!alone(&[unreadable], None));
    }

    #[test]
    fn what_was_done_since_the_quote_was_shown_keeps_a_vps_from_being_overwritten() {
        let [first, second] = ["a", "b"].map(|name| chain(name).record(1));
        let one = || driving(&first, 5, State::Succeeded);
        assert!(alone(&[one()], Some(Some(first.clone()))));
        assert!(
            !alone(&[one()], Some(None)),
            "nothing was there when it was shown"
        );
        let newer = driving(&second, 9, State::Failed);
        assert!(!alone(&[one(), newer.clone()], Some(Some(first.clone()))));
        assert!(alone(&[one(), newer], Some(Some(second.clone()))));
        let refused = driving(&second, 9, State::Rejected);
        assert!(alone(&[one(), refused], Some(Some(first.clone()))));
        let own = driving(&chain("own").record(1), 9, State::Failed);
        assert!(alone(&[one(), own], Some(Some(first.clone()))));
        assert!(
            !alone(&[], Some(Some(first))),
            "the record that it follows is gone"
        );
    }
}
