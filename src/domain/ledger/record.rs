//! One paid call as it stands in the ledger: what was claimed, and what is known of it.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::action::ordered::Action;
use crate::action::said::Said;
use crate::consent::price::{BillingCycle, ChangePrice, Price, Recurring, Size};
use crate::consent::quote::Quote;
use crate::provider::gate::{Gate, GateName};
use crate::values::digest;
use crate::values::ids::{BackupId, Holder, InstanceId, JobId, KeyMark, RecordName, Subject, Uid, VpsId};
use crate::values::moment::CLOCKS_DIFFER;
use crate::values::money::{Amount, Currency};
use crate::values::text::Text;

/// Where a paid call stands. A record without a state is [`State::Sending`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Claimed; the call may have been sent.
    Sending,
    /// HostUp took the order; its job is polled, or its effect is read back.
    Accepted,
    /// What was ordered is there.
    Succeeded,
    /// The job failed; a VM may have been left.
    Failed,
    /// No byte left this host, or the claim was withdrawn before.
    NotSent,
    /// HostUp refused in a documented way.
    Rejected,
    /// It may have been executed; evidence or a person decides.
    Unknown,
    /// A person said that it was not executed.
    NotExecuted,
    /// A person gave it up without an answer.
    Abandoned,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 9] = [
        Self::Sending,
        Self::Accepted,
        Self::Succeeded,
        Self::Failed,
        Self::NotSent,
        Self::Rejected,
        Self::Unknown,
        Self::NotExecuted,
        Self::Abandoned,
    ];

    /// Nothing changes it any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Sending | Self::Accepted | Self::Unknown => false,
            Self::Succeeded
            | Self::Failed
            | Self::NotSent
            | Self::Rejected
            | Self::NotExecuted
            | Self::Abandoned => true,
        }
    }

    /// It ended in a way that may allow a further attempt.
    pub fn frees_the_name(self) -> bool {
        match self {
            Self::NotSent | Self::Rejected | Self::NotExecuted => true,
            Self::Sending
            | Self::Accepted
            | Self::Succeeded
            | Self::Failed
            | Self::Unknown
            | Self::Abandoned => false,
        }
    }

    /// Nothing was bought, by what HostUp or this host says; an attempt that counts against further ones.
    pub fn came_to_nothing(self) -> bool {
        match self {
            Self::NotSent | Self::Rejected => true,
            Self::NotExecuted
            | Self::Sending
            | Self::Accepted
            | Self::Succeeded
            | Self::Failed
            | Self::Unknown
            | Self::Abandoned => false,
        }
    }

    /// Whether a record that was in this state can be in that `later` one.
    pub fn may_become(self, later: Self) -> bool {
        match self {
            Self::Sending => true,
            Self::Unknown => later != Self::Sending,
            Self::Accepted => !matches!(later, Self::Sending | Self::NotSent | Self::Rejected),
            Self::Succeeded
            | Self::Failed
            | Self::NotSent
            | Self::Rejected
            | Self::NotExecuted
            | Self::Abandoned => later == self,
        }
    }

    /// The word in `status.state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "Sending",
            Self::Accepted => "Accepted",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::NotSent => "NotSent",
            Self::Rejected => "Rejected",
            Self::Unknown => "Unknown",
            Self::NotExecuted => "NotExecuted",
            Self::Abandoned => "Abandoned",
        }
    }
}

/// What the state rests on. An Unknown record with evidence waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The job that the order named.
    Job,
    /// Exactly one VM has the token, pay-as-you-go and of the ordered size.
    VmFound,
    /// A VM bore the token before anything was claimed.
    FoundBeforeClaim,
    /// A person's answer.
    Person,
    /// No VM, or no backup, has the token, after enough reads and time.
    NoneFound,
    /// The note of a complete backup has the token.
    BackupFound,
    /// Several VMs bear the token.
    SeveralFound,
    /// One VM has the token, of another size.
    OtherSize,
    /// The key can no longer read the source VPS, so absence proves nothing.
    AccountMismatch,
    /// The job had not ended by its deadline.
    JobDeadline,
    /// HostUp shows the ordered options.
    ReadBack,
    /// HostUp took the order, and does not show the ordered options.
    NotConverged,
    /// HostUp's own answer says so, and there is nothing to read back (legacy page).
    Answered,
    /// HostUp executed what it was only asked to estimate (legacy page).
    ExecutedUnasked,
    /// HostUp could not be read when the outcome should have shown.
    CannotLook,
}

/// The claim: who made the record, and until when its one call may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Fresh for each create call.
    pub holder: Holder,
    /// The installation that drives this record.
    pub instance: InstanceId,
    /// When the record was made.
    pub made_at: Timestamp,
    /// No call starts after this.
    pub send_before: Timestamp,
}

/// The key that HostUp was read with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInUse {
    /// `resourceVersion` of the Secret that held it.
    pub secret_version: String,
    /// The key itself, as a hash.
    pub mark: KeyMark,
}

/// What a refusal may have been caused by, as a hash: what HostUp judged. A new attempt after a Rejected needs
/// another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    /// Of this request with this key, at these gates and this price. HostUp's free text is no part of it, nor are
    /// the gates that are read only after a refusal or before a backup: that one was read makes nothing another cause.
    pub fn new(request: &str, key: &KeyInUse, gates: &[Gate], price: Option<&Price>) -> Self {
        let sometimes = [GateName::NoOpenInvoice, GateName::CanCreateBackup];
        let judged = gates.iter().filter(|gate| !sometimes.contains(&gate.name));
        let mut rows: Vec<String> = judged
            .map(|gate| {
                let code = gate.code.as_ref().map_or("", Text::as_str);
                format!("{} {} {code}", gate.name.as_str(), gate.allowed)
            })
            .collect();
        rows.sort();
        rows.extend(price.map(Price::components).unwrap_or_default());
        let mut parts = vec![request, key.mark.as_str()];
        parts.extend(rows.iter().map(String::as_str));
        Self(digest::base32("hostup-operator/cause/v1", &parts, 26))
    }

    /// Of the backup before what this is the cause of.
    #[must_use]
    pub fn of_a_backup_before(&self) -> Self {
        Self(digest::base32(
            "hostup-operator/cause/v1",
            &["backup", &self.0],
            26,
        ))
    }

    /// As a record holds it.
    pub fn of_record(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As a record holds it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is known of a call: all of `status`, as one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Where it stands.
    pub state: State,
    /// Why, in words for a person.
    pub message: Text,
    /// What HostUp said in an answer that was no receipt.
    pub said: Said,
    /// HostUp's job, once named.
    pub job: Option<Job>,
    /// The backup that was made, once found.
    pub backup: Option<BackupId>,
    /// The VM, once found.
    pub result: Option<Bought>,
    /// The end of that VM, once HostUp provides it no longer.
    pub ended: Option<EndOfVm>,
    /// The invoice that an order of options made, or that stands in its way.
    pub invoice: Option<Invoice>,
    /// What HostUp's answer said that the order costs at once, if that is more than was approved.
    pub charged_more: Option<Text>,
    /// HostUp's refusal suggests to send the order again so that it cancels the invoice.
    pub suggests_cancelling: bool,
    /// What a legacy estimate came to.
    pub estimate: Option<Estimate>,
    /// What the state rests on.
    pub evidence: Option<Evidence>,
    /// When the call was seen to end, or must have ended; absence proves nothing before
    /// this and the settle time.
    pub quiet_since: Option<Timestamp>,
    /// No paid call with this key before.
    pub not_before: Option<Timestamp>,
    /// Why a person's answer was not taken.
    pub answer_refused: Option<Text>,
}

impl Outcome {
    /// What is known of a record that has just been made.
    pub fn sending() -> Self {
        Self {
            state: State::Sending,
            message: Text::default(),
            said: Said::default(),
            job: None,
            backup: None,
            result: None,
            ended: None,
            invoice: None,
            charged_more: None,
            suggests_cancelling: false,
            estimate: None,
            evidence: None,
            quiet_since: None,
            not_before: None,
            answer_refused: None,
        }
    }
}

/// HostUp's job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its path on the configured origin.
    pub poll_path: String,
    /// HostUp's own word for where it stands, when the record was written last.
    pub word: Option<Text>,
}

/// The end of a VM that was bought, as HostUp shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndOfVm {
    /// When it was seen.
    pub seen: Timestamp,
    /// HostUp's word for it; `None` where HostUp lists the VM no longer.
    pub word: Option<Text>,
}

/// The VM that was bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bought {
    /// Its id.
    pub vps: VpsId,
    /// Its name at HostUp.
    pub name: Text,
    /// Its address, if there was one when it was found.
    pub primary_ip: Option<Text>,
    /// Its size, if shown.
    pub size: Option<Size>,
}

/// An invoice at HostUp (billing-cycle page; that orders of options show the same shape is assumed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Its id; where HostUp gives none, "the open invoice".
    pub id: Text,
    /// What is to be paid, where it is shown.
    pub amount: Option<Amount>,
    /// Currency of the amount.
    pub currency: Option<Currency>,
    /// When it is due, as HostUp wrote it.
    pub due_at: Option<Text>,
    /// Where it is paid, if HostUp names a page.
    pub payment_page: Option<PaymentPage>,
}

/// The page on which an invoice is paid (`paymentUrl` of the billing-cycle page, `redirectUrl` of the legacy upgrade page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentPage {
    /// A page of HostUp's panel: its URL.
    OfThePanel(Text),
    /// Something else. It is shown, and never as a link.
    Elsewhere(Text),
}

/// Where HostUp's panel is; a `redirectUrl` may be a path below it (legacy upgrade page).
const PANEL: &str = "https://cloud.hostup.se";

impl PaymentPage {
    /// Takes what HostUp wrote; `None` for an empty text.
    pub fn parse(written: &str) -> Option<Self> {
        let is_plain = |path: &str| {
            let mut all = path.chars();
            path.starts_with('/')
                && !path.starts_with("//")
                && path.len() <= 200
                && all.all(|c| c.is_ascii_alphanumeric() || "/_-.~?=&%#:+,".contains(c))
        };
        let path = written.strip_prefix(PANEL).unwrap_or(written);
        if is_plain(path) {
            return Some(Self::OfThePanel(Text::bounded(&format!("{PANEL}{path}"), 250)));
        }
        let text = Text::bounded(written, 250);
        (!text.as_str().is_empty()).then_some(Self::Elsewhere(text))
    }

    /// The URL or the text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::OfThePanel(text) | Self::Elsewhere(text) => text.as_str(),
        }
    }
}

impl Invoice {
    /// One of which nothing is known but that it is open.
    pub fn unnamed() -> Self {
        Self {
            id: Text::default(),
            amount: None,
            currency: None,
            due_at: None,
            payment_page: None,
        }
    }

    /// One that an order is going to make, e.g. `an invoice of 40.00 SEK (due 2026-12-01)`.
    pub fn foreseen(&self) -> String {
        format!("an invoice{}", self.terms())
    }

    /// Whether it asks for no more than the price does at once, in the same currency.
    pub fn is_within(&self, price: &Price) -> bool {
        match price {
            Price::Change(price) => {
                self.amount.is_some_and(|amount| amount <= price.due_now) && self.currency == price.currency
            }
            Price::Hourly(_) | Price::Nothing => false,
        }
    }

    /// E.g. ` of 40.00 SEK`, if it is shown.
    pub fn sum(&self) -> String {
        let amount = self.amount.zip(self.currency.as_ref());
        amount.map_or_else(String::new, |(amount, currency)| {
            format!(" of {amount} {currency}")
        })
    }

    /// E.g. ` of 40.00 SEK (due 2026-12-01)`, as far as it is shown.
    fn terms(&self) -> String {
        let due = self.due_at.as_ref().map(Text::as_str);
        let due = due.map(|due| format!(" (due {})", due.split('T').next().unwrap_or(due)));
        format!("{}{}", self.sum(), due.unwrap_or_default())
    }

    /// Where a person pays it, after "pay it".
    pub fn where_to_pay(&self) -> String {
        match &self.payment_page {
            Some(PaymentPage::OfThePanel(url)) => format!("at {url}"),
            Some(PaymentPage::Elsewhere(text)) => {
                format!(
                    "in HostUp's panel (HostUp names another page for it: {:?})",
                    text.as_str()
                )
            }
            None => "in HostUp's panel".to_owned(),
        }
    }

    /// When it is overdue, where that can be read: a time, or the end of a day.
    pub fn overdue_at(&self) -> Option<Timestamp> {
        let text = self.due_at.as_ref()?.as_str();
        let end_of_day = || {
            text.parse::<Date>()
                .ok()?
                .at(23, 59, 59, 0)
                .to_zoned(TimeZone::UTC)
                .ok()
        };
        text.parse().ok().or_else(|| Some(end_of_day()?.timestamp()))
    }
}

impl std::fmt::Display for Invoice {
    /// E.g. `invoice inv_1 of 40.00 SEK (due 2026-12-01)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.id.as_str().is_empty() {
            write!(f, "the open invoice")?;
        } else {
            write!(f, "invoice {}", self.id)?;
        }
        f.write_str(&self.terms())
    }
}

/// What a legacy estimate came to (legacy upgrade page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// `draftId`, which the order then names.
    pub draft: Option<u64>,
    /// `total`, due when it is ordered; negative is a credit.
    pub total: Option<Amount>,
    /// `recurring`, for each billing cycle.
    pub recurring: Option<Amount>,
    /// `raw.draft.currency.iso`.
    pub currency: Option<Currency>,
}

impl Estimate {
    /// What the order would cost with this cycle; `None` where the answer names no total.
    pub fn price(&self, cycle: BillingCycle) -> Option<ChangePrice> {
        Some(ChangePrice {
            currency: self.currency.clone(),
            due_now: self.total?.rounded_up(),
            recurring: self
                .recurring
                .map_or(Recurring::Unsaid, |amount| Recurring::of_cycle(amount, cycle)),
        })
    }
}

/// A person's answer to an unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Nothing was bought; a new attempt may follow under whatever approval stands.
    NotExecuted,
    /// It was executed; of a restore, this VM is the one.
    Adopt(VpsId),
    /// Leave it; nothing follows.
    Abandon,
}

/// A record of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `<hash of the key>-<n>`.
    pub name: RecordName,
    /// Which attempt of its chain, from 1.
    pub attempt: u32,
    /// The object it was made for.
    pub subject: Subject,
    /// Hash of what the user wrote: source and target of a restore, the options of a VPS.
    pub intent: String,
    /// The source of a restore, or the VPS whose options are changed.
    pub vps: VpsId,
    /// What was ordered.
    pub action: Action,
    /// The last record of the chain before this one whose call was executed.
    pub follows: Option<RecordName>,
    /// The quote that was approved; a legacy estimate has none.
    pub quote: Option<Quote>,
    /// The gates as they were read before the claim.
    pub gates: Vec<Gate>,
    /// Who may send, and until when.
    pub claim: Claim,
    /// When the API server says that the record was made, to the second; the claimer's clock may be wrong.
    pub created_at: Option<Timestamp>,
    /// What a refusal may have been caused by.
    pub cause: Cause,
    /// How many attempts in a row this is: 1, or one more than an attempt before it that nothing came of.
    pub tries: u32,
    /// A person's answer, if one stands.
    pub answer: Option<Resolution>,
    /// What is known of the outcome.
    pub known: Outcome,
}

impl Record {
    /// Another call may follow it for the same object. A backup is never the end.
    pub fn lets_another_follow(&self) -> bool {
        let state = self.known.state;
        state.frees_the_name() || (self.is_backup() && state.is_final())
    }

    /// It makes a backup before a change.
    pub fn is_backup(&self) -> bool {
        matches!(self.action, Action::CreateBackup(_))
    }

    /// It is a backup that was made for the object of this uid.
    pub fn is_made_backup_of(&self, uid: &Uid) -> bool {
        self.is_backup() && self.known.state == State::Succeeded && self.subject.uid == *uid
    }

    /// The last record of the chain whose call was executed, with this one; a backup changes nothing.
    pub fn last_executed(&self) -> Option<&RecordName> {
        if self.known.state.frees_the_name() || self.is_backup() {
            self.follows.as_ref()
        } else {
            Some(&self.name)
        }
    }

    /// The VM that costs what was approved: the one that was bought or resized.
    pub fn vm(&self) -> Option<&VpsId> {
        let bought = self.known.result.as_ref().map(|bought| &bought.vps);
        let resized = matches!(self.action, Action::Resize(_)).then_some(&self.vps);
        bought.or(resized)
    }

    /// The approved price in short, or nothing for an estimate.
    pub fn price_summary(&self) -> String {
        self.quote
            .as_ref()
            .map_or_else(String::new, |quote| quote.price.summary())
    }

    /// When its call had ended, or must have ended.
    pub fn quiet_at(&self, times: &Times) -> Timestamp {
        self.known.quiet_since.map_or_else(
            || later(self.claimed_by(), times.paid_timeout),
            |quiet| quiet.max(self.claimed_by()),
        )
    }

    /// When absence begins to prove something: the quiet point and the settle time.
    pub fn settled_at(&self, times: &Times) -> Timestamp {
        later(self.quiet_at(times), times.settle_time)
    }

    /// When its call had been answered. A clock that was ahead may have dated that too late.
    pub fn answered_by(&self, times: &Times) -> Timestamp {
        let answered = self.known.quiet_since.unwrap_or(self.claimed_by());
        self.witnessed().map_or(answered, |made| {
            answered.min(later(made, times.paid_timeout + CLOCKS_DIFFER))
        })
    }

    /// When its job has lasted too long, by the clock of the API server if that dated the record.
    pub fn deadline_at(&self, times: &Times) -> Timestamp {
        later(self.witnessed().unwrap_or(self.claim.made_at), times.job_deadline)
    }

    /// No call starts after this, by the earlier of the two clocks that saw the claim.
    pub fn overdue_at(&self) -> Timestamp {
        let window = self.claim.send_before.duration_since(self.claim.made_at);
        later(
            self.claimed_from(),
            Duration::try_from(window).unwrap_or_default(),
        )
    }

    /// The earliest moment at which the claim may have been made.
    pub fn claimed_from(&self) -> Timestamp {
        self.witnessed()
            .map_or(self.claim.made_at, |at| at.min(self.claim.made_at))
    }

    /// The latest moment at which the claim may have been made.
    pub fn claimed_by(&self) -> Timestamp {
        self.witnessed()
            .map_or(self.claim.made_at, |at| at.max(self.claim.made_at))
    }

    /// The end of the second in which the API server made the record.
    fn witnessed(&self) -> Option<Timestamp> {
        self.created_at.map(|at| later(at, Duration::from_secs(1)))
    }
}

/// The durations that decisions depend on; each is a flag of the binary.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How long after the quiet point a purchase may still show up.
    pub settle_time: Duration,
    /// The shortest interval between two polls of a job.
    pub poll_interval: Duration,
    /// How long after the claim the paid call may start.
    pub request_timeout: Duration,
    /// How long after the claim the paid call may last.
    pub paid_timeout: Duration,
    /// How long a job may last.
    pub job_deadline: Duration,
    /// How often things at rest are read again.
    pub resync_interval: Duration,
    /// How often closed gates are read again.
    pub gate_interval: Duration,
}

/// `at` moved by `wait`, or the end of time.
pub fn later(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}
