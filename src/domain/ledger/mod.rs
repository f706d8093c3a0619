//! The ledger as one process knows it by the watch: what can be asked of all records without looking at each.

mod about;
pub mod alone;
pub mod backup_first;
pub mod budget;
pub mod chain;
mod figures;
mod index;
mod kept;
mod money;
mod name;
pub mod names;
pub mod order;
pub mod record;
mod records;
pub mod setback;
mod tail;
#[cfg(test)]
mod tests;
mod window;

use jiff::Timestamp;

use crate::ledger::names::VmToken;
use crate::ledger::record::{Evidence, State};
use crate::values::ids::{InstanceId, RecordName, VpsId};

pub use figures::Figures;
pub use index::Index;
pub use money::{Amounts, Purse, Spending};
pub use tail::Walk;
pub use window::{Caps, PaidCalls, Pledge};

/// Where an API key is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPlace {
    /// The namespace of the Secret.
    pub namespace: String,
    /// The name of the Secret.
    pub secret: String,
    /// The key of its data.
    pub key: String,
}

/// A record as the index takes it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: RecordName,
    /// When the API server made it, to the second; the claimer's clock may be wrong.
    pub made: Option<Timestamp>,
    /// What it says; `None` if it cannot be read, and still counts as one that exists.
    pub content: Option<Content>,
}

/// What a record says, as far as anything is asked of all records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The installation that made it.
    pub instance: InstanceId,
    /// Kind of the object that it was made for, as it stands there.
    pub kind: String,
    /// Namespace of that object.
    pub namespace: String,
    /// Name of that object.
    pub object: String,
    /// Where the key is that the call used.
    pub key: KeyPlace,
    /// Where the call stands.
    pub state: State,
    /// What the state rests on.
    pub evidence: Option<Evidence>,
    /// No paid call with its key before.
    pub not_before: Option<Timestamp>,
    /// The token of the VM that it buys.
    pub token: Option<VmToken>,
    /// The VM that was bought.
    pub result: Option<VpsId>,
    /// The VM whose size was changed.
    pub resized: Option<VpsId>,
    /// The VPS that the call changes, overwrites or backs up.
    pub drives: Option<VpsId>,
    /// It makes a backup, which leaves that VPS as it is.
    pub is_backup: bool,
    /// HostUp provides that VM no longer.
    pub has_ended: bool,
    /// When it was claimed, by the claimer's clock.
    pub claimed: Option<Timestamp>,
    /// Currency of the approved price; empty where none is named.
    pub currency: String,
    /// The approved price.
    pub price: Amounts,
}
