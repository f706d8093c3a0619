//! What this process remembers between two looks. All of it may be lost with the process: the records
//! in etcd carry the promise, this only knows sooner.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::action::follow::Memo;
use crate::domain::status::report::Trouble;
use crate::domain::values::ids::{Holder, RecordName};
use crate::domain::values::text::Text;

/// Notes by the claim of a record: once a record is deleted, another one may have its name.
#[derive(Default)]
pub struct Memory(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    in_flight: HashMap<Holder, u32>,
    claimed: HashSet<RecordName>,
    unsent: HashSet<Holder>,
    followed: HashMap<Holder, Followed>,
}

/// What is remembered of one operation that is being followed.
#[derive(Debug, Clone, Default)]
pub struct Followed {
    /// Timing of the machine.
    pub memo: Memo,
    /// Per cent of its job, in steps of 25.
    pub progress: Option<u8>,
    /// HostUp's own word for where its job stands.
    pub word: Option<Text>,
    /// Why it cannot be followed at the moment.
    pub trouble: Option<Trouble>,
}

impl Memory {
    /// Marks the record of this claim as being sent by this process until the guard is dropped.
    pub fn begin(self: &Arc<Self>, holder: &Holder) -> InFlight {
        *self.lock().in_flight.entry(holder.clone()).or_default() += 1;
        InFlight {
            memory: self.clone(),
            holder: holder.clone(),
        }
    }

    /// What is remembered of the record of this claim.
    pub fn followed(&self, holder: &Holder) -> Followed {
        let notes = self.lock();
        let mut followed = notes.followed.get(holder).cloned().unwrap_or_default();
        followed.memo.in_flight = notes.in_flight.contains_key(holder);
        followed
    }

    /// Remembers.
    pub fn remember(&self, holder: &Holder, followed: Followed) {
        self.lock().followed.insert(holder.clone(), followed);
    }

    /// Forgets a record that is finished.
    pub fn forget(&self, holder: &Holder) {
        self.lock().followed.remove(holder);
    }

    /// Remembers a record that this process made: should it be deleted, its name is not used again.
    pub fn claimed(&self, name: &RecordName) {
        self.lock().claimed.insert(name.clone());
    }

    /// Whether this process made a record of that name, and something may have been sent for it.
    pub fn has_claimed(&self, name: &RecordName) -> bool {
        self.lock().claimed.contains(name)
    }

    /// Nothing was sent for the record that this process made.
    pub fn sent_nothing(&self, name: &RecordName, holder: &Holder) {
        let mut notes = self.lock();
        notes.claimed.remove(name);
        notes.unsent.remove(holder);
    }

    /// Remembers a claim whose create call was never answered: if its record shows up late, this
    /// process knows that nothing was sent for it.
    pub fn never_sent(&self, holder: &Holder) {
        self.lock().unsent.insert(holder.clone());
    }

    /// Whether this process made that claim and knows that nothing was sent for it.
    pub fn knows_unsent(&self, holder: &Holder) -> bool {
        self.lock().unsent.contains(holder)
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A send that is under way in this process.
pub struct InFlight {
    memory: Arc<Memory>,
    holder: Holder,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut notes = self.memory.lock();
        if let Some(senders) = notes.in_flight.get_mut(&self.holder) {
            *senders -= 1;
            if *senders == 0 {
                notes.in_flight.remove(&self.holder);
            }
        }
    }
}
