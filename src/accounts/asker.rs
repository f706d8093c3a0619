//! Who asks something of HostUp, how old the answer may be, and what comes of it.

use std::time::Duration;

use jiff::Timestamp;

use super::question::{Question, Readings};
use super::queue::Class;
use crate::domain::ledger::KeyPlace;
use crate::domain::values::ids::{RecordName, SubjectKind, Uid};
use crate::domain::values::moment::Moment;
use crate::hostup::ReadError;

/// Who asks, and is woken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// An object that people write.
    Subject(SubjectKind, String, String),
    /// A record.
    Record(RecordName),
    /// Who follows the VMs that were bought with a key.
    Vms(KeyPlace),
}

/// What is known of somebody who asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Who it is.
    pub who: Who,
    /// Of which object: a later one of the same name asks anew.
    pub uid: Uid,
    /// Of which spec of it: another one asks anew.
    pub generation: i64,
    /// How urgent it is.
    pub class: Class,
    /// The age of the object.
    pub since: Timestamp,
}

impl Asker {
    /// Whether what this one has read may serve the other.
    pub(super) fn is_of_one_spec_with(&self, other: &Self) -> bool {
        (&self.uid, self.generation) == (&other.uid, other.generation)
    }
}

/// How old a reading may be.
#[derive(Debug, Clone, Copy)]
pub enum Age {
    /// It began after who asks began to ask.
    Asked,
    /// It began at most so long before that.
    Before(Duration),
    /// It began after this moment.
    After(Moment),
}

/// A question, and how old the reading may be that answers it.
#[derive(Debug, Clone)]
pub struct Want {
    /// What is asked.
    pub question: Question,
    /// How old the answer may be.
    pub age: Age,
}

/// What came of asking.
#[derive(Debug)]
pub enum Asked {
    /// Everything is there.
    Ready(Readings),
    /// Who asks is woken once everything is there.
    Waiting,
    /// The same, and it may take long, for this reason.
    Held(ReadError),
}
