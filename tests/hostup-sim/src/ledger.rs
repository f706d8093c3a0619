//! The purchase ledger: what was executed, whatever was answered. Lines are only ever added.

use std::time::{Instant, SystemTime};

use rust_decimal::Decimal;

use crate::account::{AccountId, Pricing};
use crate::body::sha256_hex;
use crate::log::Auth;
use crate::options::OptionValue;
use crate::routes::Caller;
use crate::vps::{Content, Resources};
use crate::world::World;

/// What kind of purchase a line records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurchaseKind {
    /// `POST .../actions/restore-to-payg`: a new pay-as-you-go VM.
    RestoreToPayg,
    /// `POST .../actions/config`, a commit: other options of a VPS.
    Config,
    /// `POST /api/vm/{vmid}/upgrade`, an upgrade, or an estimate that was executed all the same.
    LegacyUpgrade,
    /// `POST .../actions/resize`: other cores and memory of a pay-as-you-go VM.
    Resize,
    /// `POST .../backups/{backupId}/actions/restore`: no money, but the disk of a VPS is overwritten.
    Restore,
    /// `POST .../backups/actions/restore-from-vps`: the same, with a backup of another VPS.
    RestoreFromVps,
    /// `POST .../backups`: no money, but a place among the backups of a VPS.
    CreateBackup,
}

/// One option that a commit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionChange {
    /// Its key.
    pub key: String,
    /// Its value at the time of the commit.
    pub from: OptionValue,
    /// The value that was ordered.
    pub to: OptionValue,
}

/// `priceChange` of the config page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceChange {
    /// `amount`: due now; negative for a credit
    pub amount: Decimal,
    /// `recurringAmount`
    pub recurring_amount: Decimal,
    /// `additionalRecurringAmount`
    pub additional_recurring_amount: Option<Decimal>,
    /// `currencyCode`
    pub currency_code: String,
}

/// What a commit of options bought.
#[derive(Clone, Debug)]
pub struct ConfigPurchase {
    /// The options, as in the body, also those that had the value already.
    pub changes: Vec<OptionChange>,
    /// What was charged.
    pub price: PriceChange,
    /// The billing cycle that the recurring amounts are for.
    pub billing_cycle: Option<String>,
    /// The invoice that was made.
    pub invoice: Option<String>,
    /// The blocking invoice that was cancelled.
    pub cancelled_invoice: Option<String>,
}

/// What a legacy upgrade bought.
#[derive(Clone, Debug)]
pub struct LegacyPurchase {
    /// `vmid` in the path
    pub vmid: u64,
    /// It said `send: false` and was executed all the same.
    pub was_estimate: bool,
    /// `resources`
    pub resources: Vec<(String, Decimal)>,
    /// `cycle`
    pub cycle: Option<String>,
    /// `package`
    pub package: Option<String>,
    /// `draftId`
    pub draft_id: Option<u64>,
    /// What was charged; negative for a credit
    pub total: Decimal,
    /// In what
    pub currency_code: String,
    /// `orderId`
    pub order_id: u64,
}

/// What a resize bought. The order and its price per hour are in the purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResizePurchase {
    /// The sizes before.
    pub from: Resources,
    /// The sizes that it set, or is to set.
    pub to: Resources,
    /// Price of an hour before, at the rates of that moment.
    pub per_hour_before: Option<Decimal>,
}

/// What a restore onto an existing VPS overwrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overwrite {
    /// The VPS whose disk it is.
    pub target: String,
    /// The backup.
    pub backup: String,
    /// The VPS that the backup is of; the target itself for a restore in place.
    pub source: String,
    /// What stood on the disk before.
    pub before: Content,
    /// Whether the disk is touched at all ([`OverwriteOutcome::FailsUntouched`](crate::OverwriteOutcome)).
    pub touched: bool,
}

/// What a call for a new backup made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupMade {
    /// The VPS.
    pub vps: String,
    /// The backup; none where the job fails without one.
    pub backup: Option<String>,
    /// `note` in the body, if one was sent.
    pub note: Option<String>,
}

/// One executed purchase, or another call that is to be executed at most once. What only a restore to a
/// Cloud VM has is empty, zero or `None` in other lines.
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
    /// The VPS in the path (of a legacy call, the one that has its number).
    pub source_vps: String,
    /// The backup in the path, or in the body.
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
    /// Of [`PurchaseKind::Config`].
    pub config: Option<ConfigPurchase>,
    /// Of [`PurchaseKind::LegacyUpgrade`].
    pub legacy: Option<LegacyPurchase>,
    /// Of [`PurchaseKind::Resize`].
    pub resize: Option<ResizePurchase>,
    /// Of [`PurchaseKind::Restore`] and [`PurchaseKind::RestoreFromVps`].
    pub overwrite: Option<Overwrite>,
    /// Of [`PurchaseKind::CreateBackup`].
    pub backup_made: Option<BackupMade>,
}

impl World {
    /// The next line, with all that a call on one VPS tells by itself.
    pub(crate) fn blank_purchase(&self, caller: &Caller, kind: PurchaseKind, vps: &str) -> Purchase {
        Purchase {
            sequence: self.ledger.len() as u64 + 1,
            at: self.wall(),
            instant: self.clock.now(),
            account: caller.account,
            key: match caller.auth {
                Auth::Key { key, .. } => key.clone(),
                _ => String::new(),
            },
            kind,
            source_vps: vps.to_owned(),
            backup: String::new(),
            name_sent: None,
            name: String::new(),
            region: String::new(),
            cpu_cores: 0,
            memory_gb: 0,
            storage_gb: 0,
            body_sha256: sha256_hex(caller.body),
            body: caller.body.to_vec(),
            vps_id: None,
            also_made: Vec::new(),
            job_id: String::new(),
            per_hour: None,
            pricing: self.account(caller.account).pricing.clone(),
            request: caller.log_index,
            acted: true,
            config: None,
            legacy: None,
            resize: None,
            overwrite: None,
            backup_made: None,
        }
    }
}
