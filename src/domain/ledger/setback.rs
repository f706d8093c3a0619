//! What uses an approval up although nothing was changed, so that a person looks before anything more is sent.

use crate::action::ordered::Action;
use crate::ledger::record::{Record, State};
use crate::status::reason::Reason;
use crate::values::ids::Uid;

/// Why a ceiling approves nothing after one.
pub const NO_CEILING: &str = "the backup before it failed";

/// The records of this object and this wish (`intent`) since the last change that used their approval up. Nobody knows what
/// came of an overwrite that was refused, and nothing follows a failed backup before a person has looked.
pub fn all<'a>(records: impl Iterator<Item = &'a Record>, uid: &Uid, intent: &str) -> Vec<&'a Record> {
    records
        .take_while(|record| record.lets_another_follow())
        .filter(|record| record.subject.uid == *uid && record.intent == intent && is_setback(record))
        .collect()
}

fn is_setback(record: &Record) -> bool {
    match (&record.action, record.known.state) {
        // A refusal for being asked too often: nobody looked at it.
        (Action::Overwrite(_), State::Rejected) => record.known.not_before.is_none(),
        (Action::CreateBackup(_), State::Failed | State::Abandoned) => true,
        (_, _) => false,
    }
}

/// What is said of the last record that used up an approval, where that approval still stands.
pub fn told(record: &Record) -> (Reason, String) {
    let said = record.known.message.as_clause();
    if record.is_backup() {
        let name = &record.name;
        let message =
            format!("the backup before the change failed (VpsOperation {name}): {said}. Nothing was changed");
        (Reason::JobFailed, message)
    } else {
        let message = format!(
            "{said}. HostUp may have begun it all the same, so that nothing is sent again for this approval"
        );
        (Reason::Rejected, message)
    }
}
