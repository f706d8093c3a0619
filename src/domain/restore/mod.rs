//! What a `VpsBackupRestore` needs next: a pure function of (intent, view, now).

mod before_claim;
mod mirror;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use jiff::Timestamp;

use super::approval::Approval;
use super::gate::Gate;
use super::ids::{BackupId, InstanceId, RecordName, Subject, VpsId};
use super::inventory::{Sighting, Vm};
use super::names::VmToken;
use super::preflight::{BackupChoice, Preflight, Target};
use super::price::Size;
use super::quote::Quote;
use super::reason::{Reason, Standing};
use super::record::{Backup, Bought, Cause, Record, Times, later};
use super::text::Text;
use before_claim::before_the_claim;
use mirror::mirror;

/// What a person wants, and from where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The object.
    pub subject: Subject,
    /// The source VPS.
    pub source: VpsId,
    /// Which of its backups.
    pub backup: BackupChoice,
    /// The VM to buy.
    pub target: Target,
    /// Hash of source and target as the user wrote them.
    pub digest: String,
    /// The person's consent.
    pub approval: Option<Approval>,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `metadata.deletionTimestamp` is set.
    pub deleted: bool,
}

impl Intent {
    /// The token that a VM bought for this object bears.
    pub fn token(&self, instance: &InstanceId) -> VmToken {
        VmToken::new(instance, &self.subject.namespace, &self.subject.name)
    }
}

/// What is known when deciding; the provider's part is read only when a decision asks for it.
#[derive(Debug, Clone)]
pub struct View {
    /// This installation.
    pub instance: InstanceId,
    /// The last record of the chain.
    pub tail: Option<Record>,
    /// Why the last record cannot be read, if it is there and cannot.
    pub unreadable_record: Option<String>,
    /// Why the operation cannot be followed at the moment.
    pub following: Option<Trouble>,
    /// The record that the status names, if the ledger no longer has it.
    pub missing_record: Option<RecordName>,
    /// What HostUp said.
    pub account: Account,
    /// The backup that `Latest` was resolved to before; it is resolved once.
    pub resolved_backup: Option<BackupId>,
    /// The quote that the status shows.
    pub shown_quote: Option<Quote>,
    /// The VM of a `Ready=True` that was reached before; it is not read again.
    pub latched: Option<Bought>,
    /// Since when the object is Stalled.
    pub stalled_since: Option<Timestamp>,
    /// What the operator's own brakes leave.
    pub brakes: Brakes,
}

/// What was read of HostUp so far.
#[derive(Debug, Clone)]
pub enum Account {
    /// Nothing.
    Unread,
    /// Nothing, and this is why.
    Trouble(Trouble),
    /// Everything that a purchase depends on.
    Preflight(Box<Preflight>),
    /// The VM that was bought.
    Vm(Option<Vm>),
}

/// Why HostUp could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The reason to show.
    pub reason: Reason,
    /// In words.
    pub message: Text,
    /// When it makes sense to try again, if HostUp said so.
    pub until: Option<Timestamp>,
}

/// The operator's own brakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brakes {
    /// `--read-only`.
    pub read_only: bool,
    /// The cap and how many paid calls of the last 24 hours count against it, if it is reached.
    pub cap_reached: Option<u32>,
    /// No paid call with this key before, after a 429.
    pub key_not_before: Option<Timestamp>,
}

/// The order: everything that the claim and the one POST are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which attempt of the chain it would be.
    pub attempt: u32,
    /// Attempts for this generation, with this one.
    pub tries: u32,
    /// The request path.
    pub path: String,
    /// The request body, exactly as it is sent.
    pub body: String,
    /// The new VM's name.
    pub vm_name: String,
    /// The ordered size.
    pub size: Size,
    /// The backup.
    pub backup: Backup,
    /// The approved quote.
    pub quote: Quote,
    /// The gates as read.
    pub gates: Vec<Gate>,
    /// What a refusal would be caused by.
    pub cause: Cause,
    /// When the readings behind it began.
    pub read_at: Timestamp,
}

/// What to do next.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Read the source, its backups, gates, prices, limits and the VM list, then decide again.
    ReadPreflight,
    /// Read the bought VM, then decide again.
    ReadVm(VpsId),
    /// Claim and send.
    Buy(Box<Order>),
    /// A VM bears the token already: record it, send nothing.
    Adopt(Box<Order>, Sighting),
    /// Show how things stand.
    Report(Report),
}

/// How things stand, and when to look again.
#[derive(Debug, Clone)]
pub struct Report {
    /// The reason of `Ready`.
    pub reason: Reason,
    /// For people: what happened, to which object, what to do.
    pub message: String,
    /// The rest of the status.
    pub facts: Facts,
    /// When to look again; `None` waits for a change.
    pub wake: Option<Timestamp>,
}

/// Which facts the status shows beside the conditions.
#[derive(Debug, Clone)]
pub enum Facts {
    /// Those that it already shows.
    Kept,
    /// None: they belong to another object.
    Nothing,
    /// What was read before anything was claimed.
    Read {
        /// The gates.
        gates: Vec<Gate>,
        /// The backup, if there is one.
        backup: Option<Backup>,
        /// The quote, if there is a price.
        quote: Option<Quote>,
        /// Whether the person's consent covers it; `None` while nobody asked.
        approved: Option<bool>,
        /// The last record, if an attempt was made.
        tail: Option<Box<Record>>,
    },
    /// What the record says.
    Recorded {
        /// The record.
        record: Box<Record>,
        /// The VM as read last, if it was.
        vm: Option<Bought>,
    },
}

/// Decides. Asks for readings by `Read...`; called again with them it never asks for the same.
pub fn decide(intent: &Intent, view: &View, times: &Times, now: Timestamp) -> Decision {
    if let Some(missing) = &view.missing_record {
        return stalled(
            view,
            times,
            now,
            Reason::LedgerMissing,
            Facts::Kept,
            format!(
                "the status names VpsOperation {missing}, which is gone; nothing is bought, for it may have been executed. \
             Bring the record back from a backup, or create a VpsBackupRestore with another name"
            ),
        );
    }
    if let Some(unreadable) = &view.unreadable_record {
        return stalled(
            view,
            times,
            now,
            Reason::OtherInstance,
            Facts::Kept,
            format!("{unreadable}; nothing is bought"),
        );
    }
    match &view.tail {
        Some(record) if record.claim.instance != view.instance => stalled(
            view,
            times,
            now,
            Reason::OtherInstance,
            Facts::Kept,
            format!(
                "VpsOperation {} belongs to the installation {:?}, this one is {:?}; set --instance-id to drive it",
                record.name,
                record.claim.instance.as_str(),
                view.instance.as_str()
            ),
        ),
        Some(record) if !record.known.state.frees_the_name() && record.intent != intent.digest => stalled(
            view,
            times,
            now,
            Reason::NameReused,
            Facts::Nothing,
            format!(
                "an earlier VpsBackupRestore of this name had another source or target (VpsOperation {}); \
                 create this one with another name",
                record.name
            ),
        ),
        Some(record) if !record.known.state.frees_the_name() => mirror(intent, record, view, times, now),
        Some(_) | None => before_the_claim(intent, view, times, now),
    }
}

fn troubled(trouble: &Trouble, view: &View, times: &Times, now: Timestamp, facts: Facts) -> Decision {
    let message = trouble.message.to_string();
    if trouble.reason.standing() == Standing::Stalled {
        return stalled(view, times, now, trouble.reason, facts, message);
    }
    let until = trouble.until.unwrap_or_else(|| later(now, times.gate_interval));
    report(trouble.reason, message, facts, Some(until))
}

/// A stalled object is read again too, ever more rarely, to 15 min.
fn stalled(
    view: &View,
    times: &Times,
    now: Timestamp,
    reason: Reason,
    facts: Facts,
    message: String,
) -> Decision {
    let since = view.stalled_since.unwrap_or(now);
    let longest = Duration::from_secs(15 * 60);
    let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let wait = age.clamp(times.gate_interval.min(longest), longest);
    report(reason, message, facts, Some(later(now, wait)))
}

fn report(reason: Reason, message: String, facts: Facts, wake: Option<Timestamp>) -> Decision {
    Decision::Report(Report {
        reason,
        message,
        facts,
        wake,
    })
}
