//! The only floor that can spend: records as they are known, and the purchase with its driver and its port.

pub mod budgets;
mod driver;
pub mod kind;
pub mod memory;
mod port;
pub mod purchase;
pub mod record;
pub mod store;
pub mod wakes;

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::config::VpsResourceConfig;
use crate::api::restore::VpsBackupRestore;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::cluster::api_call::ApiError;
use crate::cluster::namespaces::Namespaces;
use crate::cluster::recent::Recent;
use crate::domain::ledger::Caps;
use crate::domain::ledger::record::{Record, State, Times};
use crate::domain::values::ids::{InstanceId, RecordName, Subject, VpsId};
use crate::domain::values::moment::Moment;
use budgets::Budgets;
use memory::Memory;
use store::Ledger;
use wakes::Wakes;

/// Listens to what becomes of paid calls.
pub trait PurchaseHooks: Send + Sync {
    /// A paid call has ended in `state`.
    fn paid_call(&self, record: &Record, state: State);
    /// A record has reached a state in which a person must act.
    fn asks_a_person(&self, record: &Record);
}

/// A step upon the ledger that could not be finished.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server could not be read or written.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Two records came to the same VM at the same time; it is kept for the one that was first.
    #[error("VPS {0} is being recorded as the result of VpsOperation {1}")]
    AnothersResult(VpsId, RecordName),
    /// The process is about to end and begins nothing new.
    #[error("the operator is stopping")]
    Stopping,
    /// A purchase panicked or lost its way; its record asks a person once its time has passed.
    #[error("the purchase was cut short; this is a bug, please report it with the log")]
    CutShort,
}

/// What purchases are made from, and kept in.
pub struct Books {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub chance: Chance,
    /// The API server, without automatic retries.
    pub client: Client,
    /// This installation; enters the claim.
    pub instance: InstanceId,
    /// The caps on the paid calls of 24 hours.
    pub caps: Caps,
    /// The durations of decisions.
    pub times: Times,
    /// The records.
    pub ledger: Ledger,
    /// What this process remembers.
    pub memory: Arc<Memory>,
    /// Restores as they are known.
    pub restores: Recent<VpsBackupRestore>,
    /// Changes of options as they are known.
    pub configs: Recent<VpsResourceConfig>,
    /// The Namespaces: holds on purchases, and labels.
    pub namespaces: Arc<Namespaces>,
    /// The budgets.
    pub budgets: Budgets,
    /// The controllers that can be woken.
    pub wakes: Arc<Wakes>,
    /// Paid calls under way; joined at shutdown.
    pub paid_calls: TaskTracker,
    /// The process has been told to stop.
    pub stopping: CancellationToken,
    /// Who listens.
    pub hooks: Arc<dyn PurchaseHooks>,
}

impl Books {
    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// The time by every clock.
    pub fn moment(&self) -> Moment {
        self.clock.now()
    }

    /// Has the object looked at soon: something about its record has changed.
    pub fn wake(&self, subject: &Subject) {
        self.wakes.subject(subject);
    }

    /// Forgets what is known of objects and records and would not be used any more.
    pub fn forget_old(&self) {
        self.ledger.forget_old();
        self.restores.forget_old();
        self.configs.forget_old();
    }
}
