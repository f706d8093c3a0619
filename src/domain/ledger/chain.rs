//! The chain of records behind an object, as it stands when deciding, and what it says of a further
//! attempt.

use std::time::Duration;

use jiff::Timestamp;

use crate::action::answer::latest_wait;
use crate::action::ordered::Action;
use crate::consent::quote::Quote;
use crate::ledger::budget::Allowance;
use crate::ledger::names::attempt_number;
use crate::ledger::order::{Order, TRIES_LAST};
use crate::ledger::record::{Record, State, Times, later};
use crate::status::reason::Reason;
use crate::status::report::{Report, Trouble};
use crate::values::ids::{InstanceId, RecordName, Subject};

/// Attempts of one object that may come to nothing within [`TRIES_LAST`].
const MOST_TRIES: usize = 8;
/// First and longest wait between two attempts.
const RETRY_BOUNDS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15 * 60));
/// Readings older than this are not bought upon (safety sentence 5).
pub const READINGS_LAST: Duration = Duration::from_secs(60);

/// What the ledger, the object's status and the operator's own settings say.
#[derive(Debug, Clone)]
pub struct LedgerView {
    /// This installation.
    pub instance: InstanceId,
    /// The last record of the chain.
    pub tail: Option<Record>,
    /// Why the last record cannot be read, if it is there and cannot.
    pub unreadable: Option<String>,
    /// The last record that is known to have been made, if the ledger no longer has it.
    pub missing: Option<RecordName>,
    /// A record before the last one that the ledger no longer has.
    pub gap: Option<RecordName>,
    /// When the attempts for an object of this name that came to nothing were claimed, oldest first; those of the
    /// last [`TRIES_LAST`].
    pub came_to_nothing: Vec<Timestamp>,
    /// The refused attempt after which a gate was seen closed.
    pub closed_after: Option<RecordName>,
    /// Why the operation cannot be followed at the moment.
    pub following: Option<Trouble>,
    /// The record that the status names.
    pub shown_record: Option<RecordName>,
    /// The quote that the status shows.
    pub shown_quote: Option<Quote>,
    /// Since when the object is Stalled.
    pub stalled_since: Option<Timestamp>,
    /// What the operator's own brakes leave.
    pub brakes: Brakes,
}

/// The record that an object's status names, and the state in which the status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRecord {
    /// The record.
    pub name: RecordName,
    /// Its state; `None` if it is none that this version knows.
    pub state: Option<State>,
}

impl ShownRecord {
    /// Whether `record`, read later, is another one that has its name: somebody deleted the shown one, and then a claim of
    /// a process that did not know of it yet, or of another object of the same chain, was created. A status names only
    /// records of objects of its own name; of those, only a record of the object itself tells by its state.
    pub fn is_replaced_by(&self, record: &Record, subject: &Subject) -> bool {
        if record.name != self.name {
            return false;
        }
        let cannot_become = |shown: State| !shown.may_become(record.known.state);
        let is_its_own = record.subject.uid == subject.uid;
        !record.subject.is_of_one_name_with(subject) || is_its_own && self.state.is_some_and(cannot_become)
    }
}

/// The operator's own brakes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brakes {
    /// Somebody holds the purchase by an annotation.
    pub held: Option<Hold>,
    /// `--read-only`.
    pub read_only: bool,
    /// The cap on the paid calls of 24 hours that is reached, if one is.
    pub cap_reached: Option<Cap>,
    /// The cap that leaves only one more of them, if one does.
    pub last_call: Option<Cap>,
    /// The watch of the records has been silent for [`LEDGER_SILENCE`].
    pub ledger_silent: bool,
    /// No paid call with this key before, after a 429.
    pub key_not_before: Option<Timestamp>,
    /// The budgets of the namespace.
    pub budgets: Allowance,
}

/// What holds every purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The annotation `vps.hostup.se/hold` on the object.
    Object,
    /// The same on this Namespace: the object's, or the operator's own.
    Namespace(String),
    /// This Namespace is being deleted.
    DeletedNamespace(String),
}

/// The longest that the watch of the records may be silent while something is bought.
pub const LEDGER_SILENCE: Duration = Duration::from_secs(3 * 60);

/// A cap on paid calls, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// `--max-paid-calls`.
    All(u32),
    /// `--max-paid-calls-per-namespace`.
    OfNamespace(u32),
}

impl LedgerView {
    /// Another installation has bought, and the status tells of it: to write anything would hide that.
    pub fn is_told_by_another(&self) -> bool {
        self.tail.as_ref().is_some_and(|tail| {
            let told = self.shown_record.as_ref() == Some(&tail.name);
            let has_bought = tail.known.state.is_final() && !tail.known.state.frees_the_name();
            tail.claim.instance != self.instance && has_bought && told
        })
    }

    /// Why nothing may be decided upon this chain: a record is gone, unreadable, or another
    /// installation's. `instead` says what to do where a record is gone.
    pub fn barred(&self, instead: &str, times: &Times, now: Timestamp) -> Option<Report<()>> {
        let (reason, message) = self.bar(instead)?;
        Some(Report::stalled(reason, message, self.stalled_since, times, now))
    }

    fn bar(&self, instead: &str) -> Option<(Reason, String)> {
        if let Some(missing) = &self.missing {
            let back = match self.tail.as_ref().filter(|tail| tail.name == *missing) {
                Some(tail) => format!(
                    "Another record has its name now, of {} {}/{}. If that one ended as NotSent, Rejected or NotExecuted, delete \
                     it, and restore the first one from a backup",
                    tail.subject.kind.as_str(),
                    tail.subject.namespace,
                    tail.subject.name
                ),
                None => "Restore the record from a backup".to_owned(),
            };
            return Some((
                Reason::LedgerMissing,
                format!(
                    "VpsOperation {missing} of this object is gone. Nothing is bought, because HostUp may have executed its call. \
                     {back}{instead}"
                ),
            ));
        }
        if let Some(unreadable) = &self.unreadable {
            return Some((Reason::OtherInstance, format!("{unreadable}; nothing is bought")));
        }
        let record = self.tail.as_ref()?;
        if record.claim.instance != self.instance {
            return Some((
                Reason::OtherInstance,
                format!(
                    "VpsOperation {} belongs to the installation {:?}, this one is {:?}. Set --instance-id to the first \
                     name only if this is the same installation, for example after a rebuild",
                    record.name,
                    record.claim.instance.as_str(),
                    self.instance.as_str()
                ),
            ));
        }
        // What has an outcome, or waits for a person's word, is shown all the same.
        let gap = match record.known.state {
            State::Sending | State::Accepted | State::NotSent | State::Rejected | State::NotExecuted => {
                self.gap.as_ref()
            }
            State::Succeeded | State::Failed | State::Unknown | State::Abandoned => None,
        };
        gap.map(|gap| (Reason::LedgerMissing, without(gap, instead)))
    }

    /// HostUp could not be read. After an attempt that was told to wait (`last`, for an object of the same name) that is
    /// why.
    pub fn troubled(
        &self,
        trouble: &Trouble,
        last: Option<&Record>,
        times: &Times,
        now: Timestamp,
    ) -> Report<()> {
        let report = Report::troubled(trouble, self.stalled_since, times, now);
        if trouble.reason != Reason::RateLimited {
            return report;
        }
        let message = wait_asked_for(trouble.message.as_str(), last, now);
        Report { message, ..report }
    }

    /// Consent stands, and still the order must wait: after an attempt for an object of the same name that came
    /// to nothing (`last`), for a record that is gone, or for a brake.
    pub fn holds_back(
        &self,
        order: &Order,
        last: Option<&Record>,
        times: &Times,
        now: Timestamp,
    ) -> Option<Report<()>> {
        let gap = || {
            let message = without(self.gap.as_ref()?, "");
            let reason = Reason::LedgerMissing;
            Some(Report::stalled(reason, message, self.stalled_since, times, now))
        };
        self.held(order, times, now)
            .or_else(|| self.after_the_last_attempt(order, last, times, now))
            .or_else(gap)
            .or_else(|| self.braked(order, times, now))
    }

    fn held(&self, order: &Order, times: &Times, now: Timestamp) -> Option<Report<()>> {
        let message = lifted(self.brakes.held.as_ref()?, &order.subject);
        let wake = later(now, times.gate_interval);
        Some(Report::new(Reason::Held, message, Some(wake)))
    }

    fn after_the_last_attempt(
        &self,
        order: &Order,
        last: Option<&Record>,
        times: &Times,
        now: Timestamp,
    ) -> Option<Report<()>> {
        // A limit is the key's, whoever met it.
        let limits = last.into_iter().chain(self.tail.as_ref());
        let limited = limits.filter_map(|record| waits_until(record, now)).max();
        if let Some(until) = limited {
            let message = wait_asked_for("HostUp asked to wait before the next paid call", last, now);
            return Some(Report::new(Reason::RateLimited, message, Some(until)));
        }
        let last = last?;
        let rejected =
            |message: String| Report::stalled(Reason::Rejected, message, self.stalled_since, times, now);
        let said = last.known.message.as_clause();
        if let Some(first) = self.came_to_nothing.iter().nth_back(MOST_TRIES - 1) {
            let until = later(*first, TRIES_LAST);
            let report = rejected(format!(
                "all {MOST_TRIES} attempts of the last 24 hours failed. Last error: {said}. The next attempt may follow at {until:.0}"
            ));
            return Some(Report {
                wake: Some(until),
                ..report
            });
        }
        let next = later(last.answered_by(times), retry_wait(last.tries));
        match last.known.state {
            State::Rejected if last.known.not_before.is_none() && !self.has_another_cause(order, last) => {
                Some(rejected(format!(
                    "{said}. It is tried again once the order, the API key, a gate or the price changes, or the object is created again"
                )))
            }
            State::Rejected | State::NotSent if now < next => {
                let message = format!("the last attempt failed: {said}. The next one follows at {next:.0}");
                let reason = if last.known.not_before.is_some() {
                    Reason::RateLimited
                } else {
                    Reason::ProviderUnavailable
                };
                Some(Report::new(reason, message, Some(next)))
            }
            State::Rejected
            | State::NotSent
            | State::NotExecuted
            | State::Sending
            | State::Accepted
            | State::Succeeded
            | State::Failed
            | State::Unknown
            | State::Abandoned => None,
        }
    }

    /// HostUp would judge something else than it refused; or a gate closed since, and is open again. Who wrote
    /// the object anew may have put right what no reading shows.
    fn has_another_cause(&self, order: &Order, last: &Record) -> bool {
        last.subject.uid != order.subject.uid || last.cause != order.cause || self.was_closed_after(last)
    }

    /// After the attempt, or after a later one of the chain.
    fn was_closed_after(&self, attempt: &Record) -> bool {
        let parts = |name: &RecordName| {
            let (chain, number) = name.as_str().rsplit_once('-')?;
            Some((chain.to_owned(), attempt_number(number)?))
        };
        let closed = self.closed_after.as_ref().and_then(parts);
        closed
            .zip(parts(&attempt.name))
            .is_some_and(|((of, closed), (chain, attempt))| of == chain && closed >= attempt)
    }

    fn braked(&self, order: &Order, times: &Times, now: Timestamp) -> Option<Report<()>> {
        let gate = later(now, times.gate_interval);
        let wait = |reason, message: String, until| Some(Report::new(reason, message, Some(until)));
        let excess = order.quote.as_ref().and_then(|quote| {
            let budgets = &self.brakes.budgets;
            let by_invoice = || budgets.exceeded_by_invoice(order.dearer.as_ref()?);
            budgets.exceeded_by(&quote.price).or_else(by_invoice)
        });
        let is_backup = matches!(order.action, Action::CreateBackup(_));
        match &self.brakes {
            Brakes { read_only: true, .. } => wait(
                Reason::ReadOnly,
                "ready to order, but the operator runs with --read-only and sends no paid call".into(),
                gate,
            ),
            Brakes {
                ledger_silent: true, ..
            } => wait(
                Reason::LedgerUnavailable,
                format!(
                    "ready to order, but the watch of the VpsOperations has been silent for {} s, and \
                     nothing is bought while they cannot be followed; see the operator's log",
                    LEDGER_SILENCE.as_secs()
                ),
                gate,
            ),
            Brakes {
                cap_reached: Some(Cap::All(cap)),
                ..
            } => wait(
                Reason::PaidCallCap,
                format!(
                    "ready to order, but {cap} paid calls (--max-paid-calls) have been made within 24 hours"
                ),
                gate,
            ),
            Brakes {
                cap_reached: Some(Cap::OfNamespace(cap)),
                ..
            } => wait(
                Reason::PaidCallCap,
                format!(
                    "ready to order, but {cap} paid calls (--max-paid-calls-per-namespace) have been made for \
                     namespace {} within 24 hours",
                    order.subject.namespace
                ),
                gate,
            ),
            Brakes { last_call: Some(_), .. } if is_backup => wait(
                Reason::PaidCallCap,
                "ready to order, but the backup and the change after it are two paid calls, and --max-paid-calls or \
                 --max-paid-calls-per-namespace allows only one more within 24 hours"
                    .to_owned(),
                gate,
            ),
            Brakes { .. } if excess.is_some() => {
                let excess = excess.map_or_else(String::new, |excess| excess.to_string());
                wait(
                    Reason::BudgetExceeded,
                    format!("ready to order, but {excess}"),
                    gate,
                )
            }
            Brakes {
                key_not_before: Some(until),
                ..
            } if now < *until => wait(
                Reason::RateLimited,
                "HostUp asked to wait before the next paid call with this key".into(),
                *until,
            ),
            Brakes { .. } if now > later(order.read_at, READINGS_LAST) => wait(
                Reason::ProviderUnavailable,
                "HostUp answers so slowly that gates and price are too old to buy upon".into(),
                gate,
            ),
            Brakes { .. } => None,
        }
    }
}

/// What holds the purchase, and the command that lifts it.
fn lifted(hold: &Hold, subject: &Subject) -> String {
    let (what, command) = match hold {
        Hold::Object => {
            let kind = subject.kind.singular();
            let Subject { namespace, name, .. } = subject;
            (
                "this object".to_owned(),
                format!("kubectl -n {namespace} annotate {kind} {name}"),
            )
        }
        Hold::Namespace(name) => (
            format!("Namespace {name}"),
            format!("kubectl annotate namespace {name}"),
        ),
        Hold::DeletedNamespace(name) => {
            return format!("Approved, but Namespace {name} is being deleted, so that nothing is bought");
        }
    };
    format!(
        "Approved, but the annotation vps.hostup.se/hold on {what} holds every purchase. To go on: {command} \
         vps.hostup.se/hold-"
    )
}

fn without(gap: &RecordName, instead: &str) -> String {
    format!(
        "VpsOperation {gap} is gone, although a later record exists. Nothing is bought, because the records do not show what \
         was executed. Restore {gap} from a backup{instead}"
    )
}

/// Until when HostUp asked to wait before another paid call.
fn waits_until(record: &Record, now: Timestamp) -> Option<Timestamp> {
    let until = record.known.not_before;
    until.filter(|until| now < *until && *until <= latest_wait(now))
}

/// `what` with HostUp's words, where the `last` attempt of an object of the same name was told to wait until later.
fn wait_asked_for(what: &str, last: Option<&Record>, now: Timestamp) -> String {
    let told = last.filter(|last| waits_until(last, now).is_some());
    told.map_or_else(|| what.to_owned(), |last| last.known.said.cited(what))
}

/// The wait after the `tries`-th attempt: 30 s, doubling, to 15 min.
fn retry_wait(tries: u32) -> Duration {
    let (first, longest) = RETRY_BOUNDS;
    let factor = 2_u32.saturating_pow(tries.saturating_sub(1).min(16));
    first.saturating_mul(factor).min(longest)
}
