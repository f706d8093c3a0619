//! Who asks something of HostUp, how old the answer may be, and what comes of it.

use std::time::Duration;

use jiff::Timestamp;

use super::question::{Question, Readings};
use super::queue::Class;
use crate::domain::ledger::KeyPlace;
use crate::domain::values::ids::{RecordName, SubjectKind};
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
    /// Another one asks anew.
    pub generation: i64,
    /// How urgent it is.
    pub class: Class,
    /// The age of the object.
    pub since: Timestamp,
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
