//! Floor 2: our kinds as Kubernetes sees them: schema, CEL rules, conditions, and the way to and from
//! the domain.

pub mod budget;
pub mod conditions;
pub mod config;
mod convert;
pub mod crds;
pub mod operation;
pub mod restore;
pub mod shared;
pub mod stored;

pub use shared::{HOLD, RECONCILE_REQUESTED, is_held};

pub use convert::{
    InvalidRecord, InvalidSpec, RecordDraft, budget, budget_status, config_intent, entry, known_status,
    record, restore_intent, shown_quote, subject_of,
};

/// Field manager of everything that the operator writes, and name of its Lease.
pub const NAME: &str = "hostup-operator";
