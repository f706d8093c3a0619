//! Whether a call for a VPS is the only one, by all records for that VPS.

use jiff::Timestamp;

use super::Entry;
use super::names::ChainKey;
use crate::values::ids::{InstanceId, RecordName};

/// What must not have been done for the VPS before a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Barred {
    /// Nothing that has ended bars the call.
    Nothing,
    /// For a VPS that is overwritten: what came after this record, the last one when the quote was shown.
    After(Option<RecordName>),
    /// For a change that wants a backup before: what came after this record, which made it.
    SinceBackup(RecordName),
}

/// Whether none of the `others` is without a known end, nor was executed although it is `barred`.
pub fn is_alone(others: &[Entry], barred: &Barred, own: &ChainKey, instance: &InstanceId) -> bool {
    let is_over = |other: &Entry| {
        let content = other.content.as_ref();
        content.is_some_and(|content| content.state.is_final())
    };
    if !others.iter().all(is_over) {
        return false;
    }
    let made = |other: &Entry| other.made.unwrap_or(Timestamp::MAX);
    let was_executed = |other: &&Entry| {
        let content = other.content.as_ref();
        let executed = content.is_some_and(|content| {
            content.instance == *instance && !content.state.frees_the_name() && !content.is_backup
        });
        executed && own.attempt(&other.name).is_none()
    };
    let newest = others.iter().filter(was_executed).map(made).max();
    let made_by = |name: &RecordName| others.iter().find(|other| other.name == *name).map(made);
    match barred {
        Barred::Nothing => true,
        Barred::After(None) => newest.is_none(),
        Barred::After(Some(shown)) => {
            made_by(shown).is_some_and(|shown| newest.is_some_and(|newest| newest <= shown))
        }
        // One of the same second may be the later one.
        Barred::SinceBackup(backup) => {
            made_by(backup).is_some_and(|backup| newest.is_none_or(|newest| newest < backup))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::record::State;
    use crate::ledger::tests::driving;

    fn chain(name: &str) -> ChainKey {
        ChainKey::of_restore("shop", name)
    }

    fn alone(others: &[Entry], barred: &Barred) -> bool {
        is_alone(others, barred, &chain("own"), &InstanceId::new("ours"))
    }

    #[test]
    fn whatever_has_no_known_end_keeps_others_from_the_vps() {
        assert!(alone(&[], &Barred::Nothing));
        for state in State::ALL {
            let other = driving(&chain("other").record(1), 5, state);
            assert_eq!(alone(&[other], &Barred::Nothing), state.is_final(), "{state:?}");
        }
        let unreadable = Entry {
            content: None,
            ..driving(&chain("other").record(1), 5, State::Succeeded)
        };
        assert!(!alone(&[unreadable], &Barred::Nothing));
    }

    #[test]
    fn what_was_done_since_the_quote_was_shown_keeps_a_vps_from_being_overwritten() {
        let [first, second] = ["a", "b"].map(|name| chain(name).record(1));
        let one = || driving(&first, 5, State::Succeeded);
        assert!(alone(&[one()], &Barred::After(Some(first.clone()))));
        assert!(
            !alone(&[one()], &Barred::After(None)),
            "nothing was there when it was shown"
        );
        let newer = driving(&second, 9, State::Failed);
        assert!(!alone(
            &[one(), newer.clone()],
            &Barred::After(Some(first.clone()))
        ));
        assert!(alone(&[one(), newer], &Barred::After(Some(second.clone()))));
        let refused = driving(&second, 9, State::Rejected);
        assert!(alone(&[one(), refused], &Barred::After(Some(first.clone()))));
        let own = driving(&chain("own").record(1), 9, State::Failed);
        assert!(alone(&[one(), own], &Barred::After(Some(first.clone()))));
        assert!(
            !alone(&[], &Barred::After(Some(first))),
            "the record that it follows is gone"
        );
    }

    #[test]
    fn what_was_done_since_its_backup_keeps_a_change_from_the_vps() {
        let backup = chain("own").record(1);
        let made = || {
            let mut made = driving(&backup, 5, State::Succeeded);
            made.content.as_mut().unwrap().is_backup = true;
            made
        };
        let since = Barred::SinceBackup(backup.clone());
        assert!(alone(&[made()], &since));
        assert!(!alone(&[], &since), "the record of the backup is gone");
        for (at, is_before) in [(4, true), (5, false), (9, false)] {
            let other = driving(&chain("other").record(1), at, State::Succeeded);
            assert_eq!(alone(&[made(), other], &since), is_before, "{at}");
            let refused = driving(&chain("other").record(1), at, State::NotSent);
            assert!(alone(&[made(), refused], &since), "{at}");
        }
    }
}
