//! What a `VpsResourceConfig` needs next: a pure function of (intent, view, now).

mod before_claim;
mod legacy;
mod mirror;
mod resize;
#[cfg(test)]
pub(crate) mod tests;

use jiff::Timestamp;

use crate::consent::approval::Approval;
use crate::consent::price::{BillingCycle, ChangePrice, Rates, Size};
use crate::consent::quote::Quote;
use crate::ledger::backup_first;
use crate::ledger::chain::LedgerView;
use crate::ledger::names::ChainKey;
use crate::ledger::order::Order;
use crate::ledger::record::{Invoice, KeyInUse, Record, State, Times};
use crate::ledger::setback;
use crate::provider::backup::OwnBackups;
use crate::provider::gate::Gate;
use crate::provider::gate::ProviderGate;
use crate::provider::options::{Offer, Values};
use crate::provider::preflight::Remaining;
use crate::status::reason::Reason;
use crate::status::report::{self, Trouble};
use crate::values::ids::{RecordName, Subject, Uid, VpsId};
use crate::values::moment::Moment;

/// What a person wants, and from where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The object.
    pub subject: Subject,
    /// What it wants.
    pub wish: DesiredOptions,
    /// Hash of the wish as the user wrote it.
    pub digest: String,
    /// The person's consent.
    pub approval: Option<Approval>,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `metadata.deletionTimestamp` is set.
    pub deleted: bool,
}

/// What is wanted, by the route that orders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DesiredOptions {
    /// A VPS has these options or this size, and keeps them.
    Options(OptionsWish),
    /// The older route takes this order, once.
    Legacy(LegacyWish),
}

/// A VPS has these options or this size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsWish {
    /// The VPS.
    pub vps: VpsId,
    /// What is sold with it.
    pub goods: Goods,
    /// The options, or the parts of the size.
    pub wanted: Values,
    /// `spec.cancelExistingInvoice`.
    pub cancels_invoice: bool,
    /// `spec.driftPolicy` is `Correct`.
    pub corrects_drift: bool,
    /// `spec.backupFirst`: the VPS is backed up before each change.
    pub backup_first: bool,
}

/// What is sold with a VPS that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goods {
    /// Options of a VPS of a fixed plan (config page).
    Options,
    /// The size of a pay-as-you-go VM (resize page).
    Size,
}

impl Goods {
    /// The field of the spec that wants it.
    pub fn field(self) -> &'static str {
        match self {
            Self::Options => "resources",
            Self::Size => "cloudVm",
        }
    }
}

/// An order of the older route (legacy upgrade page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyWish {
    /// The VPS, by its number.
    pub vmid: VpsId,
    /// Options by their numbers.
    pub wanted: Values,
    /// `cycle`, e.g. `m`.
    pub cycle: Option<String>,
    /// `package`, a product's number.
    pub package: Option<String>,
}

impl Intent {
    /// The chain that its records continue; shared by all objects of one VPS.
    pub fn chain(&self) -> ChainKey {
        match &self.wish {
            DesiredOptions::Options(wish) => ChainKey::of_config(&wish.vps),
            DesiredOptions::Legacy(wish) => ChainKey::of_legacy(&wish.vmid),
        }
    }

    /// Whether the record was made for an object of this name; another one's is not shown.
    pub fn owns(&self, record: &Record) -> bool {
        self.subject.is_of_one_name_with(&record.subject)
    }
}

/// What is known when deciding; the provider's part is read only when a decision asks for it.
#[derive(Debug, Clone)]
pub struct View {
    /// The records of this VPS, and what the operator's settings say.
    pub chain: LedgerView,
    /// The records before the chain's last one, oldest first.
    pub history: Vec<Record>,
    /// A restore onto this VPS that is under way.
    pub busy: Option<RecordName>,
    /// The time of the last record that changes this VPS, for any object.
    pub changed: Option<Timestamp>,
    /// Whether an older object comes first.
    pub rival: Rival,
    /// What the status says of this wish.
    pub seen: Seen,
    /// The status says that HostUp answered a dry run of this wish as if it had committed it.
    pub committed_dry_run: bool,
    /// `--enable-legacy-upgrade`.
    pub legacy_enabled: bool,
    /// What HostUp said.
    pub reading: ProviderReading,
}

impl View {
    /// All records of this VPS, the last one first.
    fn records(&self) -> impl Iterator<Item = &Record> {
        self.chain.tail.iter().chain(self.history.iter().rev())
    }

    /// The backup that was made for this object before a change that is still to come.
    fn backup_made(&self, uid: &Uid, vps: &VpsId, now: Timestamp) -> Option<&Record> {
        let own = match &self.reading {
            ProviderReading::Read(reading) => reading.own_backups.as_ref(),
            _ => None,
        };
        let listed = own.map(|own| own.listed.as_slice());
        backup_first::made(self.records(), (uid, vps), self.changed, listed, now)
    }

    /// The last backup that was made for this object, as its status shows it.
    pub fn backup_shown(&self, uid: &Uid) -> Option<&Record> {
        self.records().find(|record| record.is_made_backup_of(uid))
    }
}

/// An older object that wants the options of the same VPS; ordered by how much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rival {
    /// There is none, or none whose key reads the VPS.
    None,
    /// There is one that nobody has looked at yet.
    Unseen {
        /// So long it is waited for.
        until: Timestamp,
    },
    /// There is one whose key has read the VPS: it is responsible.
    Responsible,
}

/// Whether the wish was seen in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Not yet.
    Never,
    /// It was at the last look.
    InForce,
    /// It was, and since then it is not any more.
    Drifted {
        /// When that was seen first.
        since: Timestamp,
    },
}

/// What was read of HostUp so far.
#[derive(Debug, Clone)]
pub enum ProviderReading {
    /// Nothing.
    Unread,
    /// Nothing, and this is why.
    Trouble(Trouble),
    /// The VPS and its options, and perhaps a dry run.
    Read(Box<Reading>),
    /// The key works; the older route has nothing to read.
    Key {
        /// When it was seen to work.
        read_at: Timestamp,
        /// The key.
        key: KeyInUse,
    },
}

/// Everything that was read for one decision, by one key, within one reconcile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// When the first of the reads began.
    pub read_at: Timestamp,
    /// The key that it was read with.
    pub key: KeyInUse,
    /// `billing.isPayg` (vps page).
    pub is_payg: bool,
    /// `billing.billingCycle` (vps page).
    pub cycle: BillingCycle,
    /// `configurableOptions` (options page), or the parts of the size of a pay-as-you-go VM.
    pub offers: Vec<Offer>,
    /// When the read of them began; a dry run of before tells the price of another change.
    pub offers_read: Moment,
    /// What a resize needs besides; `None` where no size is wanted, or the VPS is no pay-as-you-go VM.
    pub resize: Option<Resize>,
    /// The backups of the VPS, once they were asked for.
    pub own_backups: Option<OwnBackups>,
    /// The invoices that stand in the way, once they were asked for (billing-cycle page).
    pub invoices: Option<Vec<Invoice>>,
    /// The dry run, once there is one.
    pub preview: Option<Preview>,
}

/// What the price and the gates of another size come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resize {
    /// The present size; `None` where a part is missing.
    pub size: Option<Size>,
    /// `actions.canResize` (resize page).
    pub can_resize: ProviderGate,
    /// The rates (payg deployments page); `None` if one is missing.
    pub rates: Option<Rates>,
    /// What the account's limits leave (payg limits page).
    pub remaining: Remaining,
}

/// A dry run (config page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The body that it was made with.
    pub body: String,
    /// What it would cost, for one billing cycle; `None` where a part is missing.
    pub price: Option<ChangePrice>,
    /// The invoice that the order would make, where the dry run names one.
    pub invoice: Option<Invoice>,
    /// `actions.canCommit`, or HostUp's refusal of the dry run.
    pub can_commit: ProviderGate,
    /// HostUp's answer says that it was no dry run.
    pub committed: bool,
}

/// What to do next.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Read the VPS and its options, then decide again.
    ReadOptions,
    /// Read which invoices stand in the way, then decide again.
    ReadInvoices,
    /// Read the backups of the VPS, then decide again.
    ReadBackups,
    /// Make a dry run with this body, then decide again.
    Preview(String),
    /// See that the key works, then decide again.
    TryKey,
    /// Claim and send.
    Buy(Box<Order>),
    /// Look again once the older object was looked at, at the latest then.
    AwaitRival(Timestamp),
    /// Leave the status as it is: it is another installation's.
    Leave,
    /// Show how things stand.
    Report(Report),
}

/// How things stand with a configuration.
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
    /// These.
    Shown(Box<StatusView>),
}

/// What a status shows.
#[derive(Debug, Clone, Default)]
pub struct StatusView {
    /// The options as HostUp shows them; `None` keeps those that the status already has.
    pub current: Option<Values>,
    /// The gates.
    pub gates: Vec<Gate>,
    /// The quote, if there is a price.
    pub quote: Option<Quote>,
    /// Whether the person's consent covers it; `None` while nobody asked.
    pub approved: Option<bool>,
    /// The last record, if it is this object's.
    pub record: Option<Record>,
    /// Whether the options have drifted from a spec that was in force; `None` while it never was.
    pub drifted: Option<bool>,
    /// Which wish is in force.
    pub in_force: InForce,
    /// HostUp answered a dry run of this wish as if it had committed it.
    pub committed_dry_run: bool,
}

/// Which wish is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InForce {
    /// The one that the status has.
    #[default]
    Kept,
    /// None: another one was ordered since.
    Nothing,
    /// The one that was decided upon.
    Wish,
}

/// Decides. Asks for readings; called again with them it never asks for the same.
pub fn decide(intent: &Intent, view: &View, times: &Times, now: Timestamp) -> Decision {
    let look = Look {
        intent,
        view,
        times,
        now,
    };
    if view.chain.is_told_by_another() {
        return Decision::Leave;
    }
    if let Some(barred) = view.chain.barred("", times, now) {
        return Decision::Report(barred.with(StatusFacts::Kept));
    }
    let tail = view.chain.tail.as_ref();
    let unsettled = tail.filter(|tail| is_unsettled(tail));
    if let Some(record) = unsettled.filter(|record| intent.owns(record)) {
        return match backup_first::standing(record, &view.chain, times, now) {
            Some(report) => Decision::Report(report.with(StatusFacts::Attempted(Box::new(record.clone())))),
            None => look.mirror(record),
        };
    }
    if let Some(rests) = report::Report::at_rest(intent.suspended, intent.deleted) {
        return Decision::Report(rests.with(look.kept()));
    }
    if let Rival::Unseen { until } = view.rival
        && now < until
    {
        return Decision::AwaitRival(until);
    }
    if view.rival == Rival::Responsible {
        let message = "an older VpsResourceConfig is responsible for the options of this VPS; \
            delete one of the two, this one takes over once the older is gone";
        return look.stalled(Reason::TargetConflict, message, StatusFacts::Nothing);
    }
    // Nothing follows what another object of this VPS has under way.
    if let Some(record) = unsettled {
        return look.mirror(record);
    }
    match &intent.wish {
        DesiredOptions::Options(wish) => look.options(wish),
        DesiredOptions::Legacy(wish) => look.legacy(wish),
    }
}

/// Neither does it allow a further attempt, nor is it done.
fn is_unsettled(record: &Record) -> bool {
    !record.lets_another_follow() && record.known.state != State::Succeeded
}

/// One look at one object.
struct Look<'a> {
    intent: &'a Intent,
    view: &'a View,
    times: &'a Times,
    now: Timestamp,
}

fn reported(
    reason: Reason,
    message: impl Into<String>,
    facts: StatusFacts,
    wake: Option<Timestamp>,
) -> Decision {
    Decision::Report(report::Report::new(reason, message, wake).with(facts))
}

impl Look<'_> {
    fn tail(&self) -> Option<&Record> {
        self.view.chain.tail.as_ref()
    }

    fn stalled(&self, reason: Reason, message: impl Into<String>, facts: StatusFacts) -> Decision {
        let since = self.view.chain.stalled_since;
        Decision::Report(report::Report::stalled(reason, message, since, self.times, self.now).with(facts))
    }

    fn troubled(&self, trouble: &Trouble) -> Decision {
        let last = self.records_of_this_name().next();
        let report = self.view.chain.troubled(trouble, last, self.times, self.now);
        Decision::Report(report.with(self.kept()))
    }

    /// What the status shows already, and what became of the last attempt if that allows another.
    fn kept(&self) -> StatusFacts {
        self.own_record()
            .filter(Record::lets_another_follow)
            .map_or(StatusFacts::Kept, |record| {
                StatusFacts::Attempted(Box::new(record))
            })
    }

    /// The records of objects of this name, the last one first.
    fn records_of_this_name(&self) -> impl Iterator<Item = &Record> {
        let all = self.view.records();
        all.filter(|record| self.intent.owns(record))
    }

    /// The records of this very object, the last one first.
    fn own_records(&self) -> impl Iterator<Item = &Record> {
        let all = self.view.records();
        all.filter(|record| record.subject.uid == self.intent.subject.uid)
    }

    /// The changes that objects of this name have ordered, the last one first.
    fn changes_of_this_name(&self) -> impl Iterator<Item = &Record> {
        self.records_of_this_name().filter(|record| !record.is_backup())
    }

    /// The changes that this very object has ordered, the last one first.
    fn own_changes(&self) -> impl Iterator<Item = &Record> {
        self.own_records().filter(|record| !record.is_backup())
    }

    /// Whether the wish wants a backup first, and the one that was made before a change that is still to come.
    fn backup(&self) -> (bool, Option<&Record>) {
        match &self.intent.wish {
            DesiredOptions::Options(wish) => {
                let uid = &self.intent.subject.uid;
                (wish.backup_first, self.view.backup_made(uid, &wish.vps, self.now))
            }
            DesiredOptions::Legacy(_) => (false, None),
        }
    }

    fn setbacks(&self) -> Vec<&Record> {
        setback::all(self.view.records(), &self.intent.subject.uid, &self.intent.digest)
    }

    /// The chain's last record, if it is this object's to show.
    fn own_record(&self) -> Option<Record> {
        self.tail().filter(|tail| self.intent.owns(tail)).cloned()
    }
}
