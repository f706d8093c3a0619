//! What a `VpsBackupRestore` needs next: a pure function of (intent, view, now).

mod before_claim;
mod mirror;
mod overwrite;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use jiff::Timestamp;

use crate::action::ordered::{Backup, Restoration};
use crate::consent::approval::Approval;
use crate::consent::quote::Quote;
use crate::ledger::backup_first;
use crate::ledger::chain::LedgerView;
use crate::ledger::names::VmToken;
use crate::ledger::order::Order;
use crate::ledger::record::{Bought, Record, Times};
use crate::ledger::setback;
use crate::provider::backup::BackupChoice;
use crate::provider::gate::Gate;
use crate::provider::inventory::{Sighting, Vm, VpsChoice};
use crate::provider::preflight::{Preflight, Target};
use crate::status::reason::Reason;
use crate::status::report::{self, Trouble};
use crate::values::ids::{BackupId, InstanceId, Subject, Uid, VpsId};
use crate::values::text::Text;
use before_claim::before_the_claim;
use mirror::mirror;
pub use overwrite::TargetReading;

/// What a person wants, and from where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The object.
    pub subject: Subject,
    /// The source VPS.
    pub source: VpsChoice,
    /// Which of its backups.
    pub backup: BackupChoice,
    /// The backup must not be older when it is ordered.
    pub max_age: Option<Duration>,
    /// Where it is restored to.
    pub target: Destination,
    /// `spec.backupFirst`: the target is backed up before it is overwritten.
    pub backup_first: bool,
    /// Hash of source and target as the user wrote them.
    pub digest: String,
    /// The person's consent.
    pub approval: Option<Approval>,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `metadata.deletionTimestamp` is set.
    pub deleted: bool,
}

/// Where a backup is restored to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A new pay-as-you-go VM.
    CloudVm(Target),
    /// A VPS that exists, whose disk is overwritten.
    ExistingVps(VpsChoice),
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
    /// The records of this object, and what the operator's settings say.
    pub chain: LedgerView,
    /// The records before the chain's last one, oldest first.
    pub history: Vec<Record>,
    /// What HostUp said.
    pub reading: ProviderReading,
    /// The VPS that its name was resolved to before; it is resolved once.
    pub resolved_source: Option<VpsId>,
    /// The VPS that the name of the target was resolved to before; it is resolved once.
    pub resolved_target: Option<VpsId>,
    /// `--enable-in-place-restore`.
    pub in_place_enabled: bool,
    /// The backup that `Latest` was resolved to before; it is resolved once.
    pub resolved_backup: Option<BackupId>,
    /// The VM of a `Ready=True` that was reached before; it is not read again.
    pub latched: Option<Bought>,
}

impl View {
    /// The records of this object, the last one first.
    fn records(&self) -> impl Iterator<Item = &Record> {
        self.chain.tail.iter().chain(self.history.iter().rev())
    }

    /// The backup that was made before an overwrite that is still to come.
    fn backup_made(&self, uid: &Uid, reading: &TargetReading, now: Timestamp) -> Option<&Record> {
        let listed = Some(reading.own_backups.listed.as_slice());
        backup_first::made(
            self.records(),
            (uid, &reading.target),
            reading.changed,
            listed,
            now,
        )
    }

    /// The last backup that was made for this object, as its status shows it.
    pub fn backup_shown(&self, uid: &Uid) -> Option<&Record> {
        self.records().find(|record| record.is_made_backup_of(uid))
    }

    fn setbacks(&self, intent: &Intent) -> Vec<&Record> {
        setback::all(self.records(), &intent.subject.uid, &intent.digest)
    }
}

/// What was read of HostUp so far.
#[derive(Debug, Clone)]
pub enum ProviderReading {
    /// Nothing.
    Unread,
    /// Nothing, and this is why.
    Trouble(Trouble),
    /// The VPS that has the name of the source.
    Source(VpsId),
    /// The source, and the VPS that has the name of the target.
    Ends(VpsId, VpsId),
    /// Everything that a purchase depends on.
    Preflight(Box<Preflight>),
    /// Everything that an overwrite depends on.
    Target(Box<TargetReading>),
    /// The VM that was bought or overwritten.
    Vm(Option<Vm>),
}

/// What to do next.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Read which VPS has this name, then decide again.
    ReadName(String),
    /// Read which VPS has this name, the target of a backup of this source, then decide again.
    ReadTargetName(VpsId, String),
    /// Read the backups of the first VPS that may be restored onto the second, the gates, and the state of the second, then
    /// decide again.
    ReadTarget(VpsId, VpsId),
    /// Read the source, its backups, gates, prices, limits and the VM list, then decide again.
    ReadPreflight(VpsId),
    /// Read the VM that was bought or overwritten, then decide again.
    ReadVm(VpsId),
    /// Claim and send.
    Buy(Box<Order>),
    /// A VM has the token already: record it, send nothing.
    Adopt(Box<Order>, Sighting),
    /// Leave the status as it is: it is another installation's.
    Leave,
    /// Show how things stand.
    Report(Report),
}

/// How things stand with a restore.
pub type Report = report::Report<StatusFacts>;

/// Which facts the status shows beside the conditions.
#[derive(Debug, Clone)]
pub enum StatusFacts {
    /// Those that it already shows.
    Kept,
    /// Those that it already shows, and the last attempt, which came to nothing.
    Attempted(Box<Record>),
    /// None: they belong to another object.
    Nothing,
    /// What was read before anything was claimed.
    Read {
        /// The source VPS.
        source: VpsId,
        /// The gates.
        gates: Vec<Gate>,
        /// The backup, if there is one.
        backup: Option<Backup>,
        /// The quote, if there is a price.
        quote: Option<Box<Quote>>,
        /// What would be bought or overwritten.
        target: Option<Box<TargetView>>,
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

/// The target of a restore, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetView {
    /// A new VM.
    New(Restoration),
    /// A VPS that exists, and its name.
    Existing(VpsId, Text),
}

impl TargetView {
    /// Of a record.
    pub fn of(record: &Record) -> Option<Self> {
        let new = record.action.restoration().cloned().map(Self::New);
        new.or_else(|| {
            let name = record.action.overwriting()?.before.name.clone();
            Some(Self::Existing(record.vps.clone(), name))
        })
    }
}

/// Decides. Asks for readings by `Read...`; called again with them it never asks for the same.
pub fn decide(intent: &Intent, view: &View, times: &Times, now: Timestamp) -> Decision {
    let chain = &view.chain;
    if chain.is_told_by_another() {
        return Decision::Leave;
    }
    let instead = ". If HostUp's panel shows that the call was not executed, you can create a VpsBackupRestore with another \
                   name instead";
    if let Some(barred) = chain.barred(instead, times, now) {
        return Decision::Report(barred.with(StatusFacts::Kept));
    }
    let Some(record) = chain.tail.as_ref().filter(|tail| !tail.lets_another_follow()) else {
        return before_the_claim(intent, view, times, now);
    };
    if let Some(report) = backup_first::standing(record, chain, times, now) {
        return Decision::Report(report.with(StatusFacts::Attempted(Box::new(record.clone()))));
    }
    if record.intent != intent.digest {
        let message = format!(
            "an earlier VpsBackupRestore of this name had another source or target (VpsOperation {}); \
             create this one with another name",
            record.name
        );
        return stalled(
            view,
            times,
            now,
            Reason::NameReused,
            StatusFacts::Nothing,
            message,
        );
    }
    if let Some(restored) = record.action.restoration() {
        return mirror(intent, record, restored, view, times, now);
    }
    if let Some(overwriting) = record.action.overwriting() {
        return overwrite::mirror(intent, record, overwriting, view, times, now);
    }
    let message = format!(
        "VpsOperation {} is not that of a restore; nothing is bought",
        record.name
    );
    stalled(
        view,
        times,
        now,
        Reason::OtherInstance,
        StatusFacts::Kept,
        message,
    )
}

fn report(reason: Reason, message: String, facts: StatusFacts, wake: Option<Timestamp>) -> Decision {
    Decision::Report(report::Report::new(reason, message, wake).with(facts))
}

fn troubled(trouble: &Trouble, view: &View, times: &Times, now: Timestamp, facts: StatusFacts) -> Decision {
    Decision::Report(
        view.chain
            .troubled(trouble, view.chain.tail.as_ref(), times, now)
            .with(facts),
    )
}

/// A stalled object is read again too, ever more rarely.
fn stalled(
    view: &View,
    times: &Times,
    now: Timestamp,
    reason: Reason,
    facts: StatusFacts,
    message: String,
) -> Decision {
    let report = report::Report::stalled(reason, message, view.chain.stalled_since, times, now);
    Decision::Report(report.with(facts))
}
