//! The purchase ledger: what was executed, whatever was answered. Lines are only ever added.

use std::time::{Instant, SystemTime};

use rust_decimal::Decimal;

use crate::account::{AccountId, Pricing};

/// What kind of purchase a line records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurchaseKind {
    /// `POST .../actions/restore-to-payg`: a new pay-as-you-go VM.
    RestoreToPayg,
}

/// One executed purchase.
#[derive(Clone, Debug)]
pub struct Purchase {
    /// 1 for the first line.
    pub sequence: u64,
    /// When it was executed, by the wall clock.
    pub at: SystemTime,
    /// When it was executed, by the monotonic clock.
    pub instant: Instant,
    /// Who pays.
    pub account: AccountId,
    /// Name of the key that bought (never its text).
    pub key: String,
    /// What was bought.
    pub kind: PurchaseKind,
    /// The VPS in the path.
    pub source_vps: String,
    /// The backup in the path.
    pub backup: String,
    /// `name` in the body, if one was sent.
    pub name_sent: Option<String>,
    /// The name that the new VM got.
    pub name: String,
    /// Region of the new VM.
    pub region: String,
    /// Cores that were ordered (sent, or chosen by the API).
    pub cpu_cores: u32,
    /// Memory that was ordered.
    pub memory_gb: u32,
    /// Storage that was ordered.
    pub storage_gb: u32,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// SHA-256 of the body, in hex.
    pub body_sha256: String,
    /// The VM that was made; none where the job fails without one.
    pub vps_id: Option<String>,
    /// Further VMs that were made by the same call ([`RestoreBehaviour::twin`](crate::RestoreBehaviour::twin)).
    pub also_made: Vec<String>,
    /// The job.
    pub job_id: String,
    /// Price of an hour at the rates of that moment, IPv4 included, traffic excluded; `None` if a
    /// rate was missing.
    pub per_hour: Option<Decimal>,
    /// The rates of that moment.
    pub pricing: Pricing,
    /// Index of the request in the log; what was answered stands there.
    pub request: usize,
    /// Always true: only what was acted on gets a line.
    pub acted: bool,
}
