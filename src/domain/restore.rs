//! What a `VpsBackupRestore` needs next: a pure function of (intent, view, now).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::approval::{self, Approval, Consent};
use super::digest;
use super::gate::{self, Gate, GateName};
use super::ids::{BackupId, InstanceId, RecordName, Subject, VpsId};
use super::inventory::{self, Sighting, Vm};
use super::names::{VmToken, vm_name};
use super::preflight::{self, BackupChoice, Preflight, Target};
use super::price::{HourlyPrice, Size};
use super::quote::{self, Quote, QuoteBasis};
use super::reason::{Reason, Standing};
use super::record::{Backup, Bought, Cause, Evidence, Record, State, Times, later};
use super::text::Text;

/// Attempts without a new generation, after which only a person goes on.
const MOST_TRIES: u32 = 8;
/// First and longest wait between two attempts.
const RETRY_BOUNDS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15 * 60));
/// Readings older than this are not bought upon.
const READINGS_LAST: Duration = Duration::from_secs(60);

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
            Facts::Nothing,
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

/// The part of a life in which nothing is claimed.
fn before_the_claim(intent: &Intent, view: &View, times: &Times, now: Timestamp) -> Decision {
    if intent.suspended || intent.deleted {
        let message = "suspended: nothing is read and nothing is bought; set spec.suspend to false to go on";
        return report(Reason::Suspended, message.to_owned(), Facts::Kept, None);
    }
    match &view.account {
        Account::Unread | Account::Vm(_) => Decision::ReadPreflight,
        Account::Trouble(trouble) => troubled(trouble, view, times, now, Facts::Kept),
        Account::Preflight(preflight) => with_preflight(intent, view, preflight, times, now),
    }
}

fn with_preflight(
    intent: &Intent,
    view: &View,
    preflight: &Preflight,
    times: &Times,
    now: Timestamp,
) -> Decision {
    let read = |gates: &[Gate], backup: Option<&Backup>, quote: Option<&Quote>, approved| Facts::Read {
        gates: gates.to_vec(),
        backup: backup.cloned(),
        quote: quote.cloned(),
        approved,
        tail: view.tail.clone().map(Box::new),
    };
    let choice = match (&intent.backup, &view.resolved_backup) {
        (BackupChoice::Latest, Some(resolved)) => &BackupChoice::Id(resolved.clone()),
        (chosen, _) => chosen,
    };
    let backup = match preflight::choose_backup(choice, &preflight.backups) {
        Ok(backup) => backup,
        Err(why) => {
            let gate = Gate::new(GateName::CanRestore, false, "", why.as_str());
            let message = format!(
                "{why} (VPS {}); choose another backup in a new VpsBackupRestore",
                intent.source
            );
            return stalled(
                view,
                times,
                now,
                Reason::BackupNotFound,
                read(&[gate], None, None, None),
                message,
            );
        }
    };
    let size = match preflight::ordered_size(&intent.target, preflight.source_size, &backup) {
        Ok(size) => size,
        Err(why) => {
            let facts = read(&[], Some(&backup), None, None);
            return stalled(view, times, now, Reason::InvalidSpec, facts, why.to_string());
        }
    };
    let region = intent
        .target
        .region
        .clone()
        .or_else(|| preflight.deployments.default_region.clone())
        .unwrap_or_default();
    let gates = preflight::gates(preflight, &backup, size, &region);
    let price = preflight
        .deployments
        .rates
        .as_ref()
        .and_then(|rates| HourlyPrice::of(size, rates));
    let order = price.map(|price| place(intent, view, preflight, &backup, size, &region, &gates, price));

    if let Some(order) = &order {
        let sighting = inventory::look_for(
            &preflight.vms,
            &intent.token(&view.instance),
            &intent.source,
            size,
        );
        if sighting != Sighting::None {
            return Decision::Adopt(Box::new(order.order.clone()), sighting);
        }
    }
    if let Some(closed) = gate::closed(&gates) {
        let quote = order.as_ref().map(|order| &order.order.quote);
        let message = format!("closed: {closed}. It goes on by itself once they open");
        let facts = read(&gates, Some(&backup), quote, None);
        return report(
            Reason::GatesClosed,
            message,
            facts,
            Some(later(now, times.gate_interval)),
        );
    }
    let Some(PlacedOrder { order, fresh }) = order else {
        let message = "HostUp names no complete price for this VM, so nothing is bought".to_owned();
        let facts = read(&gates, Some(&backup), None, None);
        return report(
            Reason::ProviderUnavailable,
            message,
            facts,
            Some(later(now, times.gate_interval)),
        );
    };
    let consent = approval::judge(intent.approval.as_ref(), &order.quote, &fresh, now);
    let facts = read(
        &gates,
        Some(&backup),
        Some(&order.quote),
        Some(consent == Consent::Given),
    );
    if let Some((reason, message)) = not_consented(intent, &consent, &order.quote, &fresh) {
        return report(reason, message, facts, Some(later(now, times.resync_interval)));
    }
    if let Some(held) = held_back(view, &order, times, now, facts) {
        return held;
    }
    Decision::Buy(Box::new(order))
}

struct PlacedOrder {
    order: Order,
    fresh: HourlyPrice,
}

#[allow(clippy::too_many_arguments)]
fn place(
    intent: &Intent,
    view: &View,
    preflight: &Preflight,
    backup: &Backup,
    size: Size,
    region: &str,
    gates: &[Gate],
    fresh: HourlyPrice,
) -> PlacedOrder {
    let name = vm_name(
        intent.target.name.as_deref(),
        &intent.subject.name,
        &intent.token(&view.instance),
    );
    let path = format!(
        "/api/v2/vps/{}/backups/{}/actions/restore-to-payg",
        intent.source, backup.id
    );
    let body = json!({
        "name": name,
        "region": region,
        "cpuCores": size.cpu_cores,
        "memoryGb": size.memory_gb,
        "storageGb": size.storage_gb,
    })
    .to_string();
    let tail = view.tail.as_ref();
    let basis = QuoteBasis {
        subject: intent.subject.uid.clone(),
        request: format!("POST {path} {body}"),
    };
    let approved = intent.approval.as_ref().and_then(Approval::quote_id);
    let quote = quote::renew(&basis, &fresh, view.shown_quote.as_ref(), approved);
    let same_generation = tail.is_some_and(|tail| is_same_generation(tail, &intent.subject));
    let described: Vec<String> = gates.iter().map(Gate::describe).collect();
    let readings = digest::base32(
        "hostup-operator/readings/v1",
        &[&described.join("\n"), &fresh.per_hour.to_string()],
        16,
    );
    PlacedOrder {
        order: Order {
            attempt: tail.map_or(0, |tail| tail.attempt).saturating_add(1),
            tries: tail
                .filter(|_| same_generation)
                .map_or(0, |tail| tail.tries)
                .saturating_add(1),
            path,
            body,
            vm_name: name,
            size,
            backup: backup.clone(),
            quote,
            gates: gates.to_vec(),
            cause: Cause {
                secret_version: preflight.secret_version.clone(),
                readings,
            },
            read_at: preflight.read_at,
        },
        fresh,
    }
}

fn is_same_generation(tail: &Record, subject: &Subject) -> bool {
    tail.subject.uid == subject.uid && tail.subject.generation == subject.generation
}

/// Why consent is missing, with the exact command that would give it.
fn not_consented(
    intent: &Intent,
    consent: &Consent,
    quote: &Quote,
    fresh: &HourlyPrice,
) -> Option<(Reason, String)> {
    let approve = format!("To approve: {}", approve_command(intent, quote));
    match consent {
        Consent::Given => None,
        Consent::Missing => Some((
            Reason::AwaitingApproval,
            format!("it would cost {fresh}. {approve}"),
        )),
        Consent::AnotherQuote => Some((
            Reason::AwaitingApproval,
            format!("the approved quote is not the one that stands now: it would cost {fresh}. {approve}"),
        )),
        Consent::Expired { at } => Some((
            Reason::ApprovalExpired,
            format!("the approval ended at {at}; it would cost {fresh}. {approve}"),
        )),
        Consent::OverCeiling { ceiling } => Some((
            Reason::QuoteExceedsCeiling,
            format!("it would cost {fresh}, over the ceiling of {ceiling}. {approve}"),
        )),
    }
}

fn approve_command(intent: &Intent, quote: &Quote) -> String {
    let patch =
        json!({"spec": {"approval": {"quoteId": quote.id.as_str(), "maxPrice": null, "validUntil": null}}});
    let Subject { namespace, name, .. } = &intent.subject;
    format!("kubectl -n {namespace} patch vpsbackuprestore {name} --type=merge -p '{patch}'")
}

/// Consent stands, and still it must wait: after an attempt that came to nothing, or for a brake.
fn held_back(view: &View, order: &Order, times: &Times, now: Timestamp, facts: Facts) -> Option<Decision> {
    let wait =
        |reason, message: String, until: Timestamp| Some(report(reason, message, facts.clone(), Some(until)));
    if let Some(tail) = view.tail.as_ref().filter(|_| order.tries > 1) {
        let ended = tail.known.quiet_since.unwrap_or(tail.claim.made_at);
        let next = later(ended, retry_wait(tail.tries));
        let limited = tail.known.not_before;
        if order.tries > MOST_TRIES {
            let message = format!(
                "{MOST_TRIES} attempts came to nothing; the last: {}. Change the spec to try again",
                tail.known.message
            );
            return Some(stalled(view, times, now, Reason::Rejected, facts, message));
        }
        match tail.known.state {
            State::Rejected if limited.is_some_and(|until| now < until) => {
                let until = limited.unwrap_or(next);
                return wait(
                    Reason::RateLimited,
                    "HostUp asked to wait before the next paid call".into(),
                    until,
                );
            }
            State::Rejected if limited.is_none() && tail.cause == order.cause => {
                let code = tail
                    .known
                    .code
                    .as_ref()
                    .map(|code| format!(" ({code})"))
                    .unwrap_or_default();
                let message = format!(
                    "{}{code}. It is tried again once the spec, the Secret or a gate has changed",
                    tail.known.message
                );
                return Some(stalled(view, times, now, Reason::Rejected, facts, message));
            }
            State::Rejected | State::NotSent if now < next => {
                let message = format!(
                    "the last attempt came to nothing: {}. The next one follows at {next:.0}",
                    tail.known.message
                );
                return wait(Reason::ProviderUnavailable, message, next);
            }
            State::Rejected
            | State::NotSent
            | State::NotExecuted
            | State::Sending
            | State::Accepted
            | State::Succeeded
            | State::Failed
            | State::Unknown
            | State::Abandoned => {}
        }
    }
    let gate = later(now, times.gate_interval);
    match view.brakes {
        Brakes { read_only: true, .. } => wait(
            Reason::ReadOnly,
            "approved, but the operator runs with --read-only and sends no paid call".into(),
            gate,
        ),
        Brakes {
            cap_reached: Some(cap),
            ..
        } => wait(
            Reason::PaidCallCap,
            format!("approved, but {cap} paid calls (--max-paid-calls) have been made within 24 hours"),
            gate,
        ),
        Brakes {
            key_not_before: Some(until),
            ..
        } if now < until => wait(
            Reason::RateLimited,
            "HostUp asked to wait before the next paid call with this key".into(),
            until,
        ),
        Brakes { .. } if now > later(order.read_at, READINGS_LAST) => wait(
            Reason::ProviderUnavailable,
            "HostUp answers so slowly that gates and price are too old to buy upon".into(),
            gate,
        ),
        Brakes { .. } => None,
    }
}

/// The wait after the `tries`-th attempt: 30 s, doubling, to 15 min.
fn retry_wait(tries: u32) -> Duration {
    let (first, longest) = RETRY_BOUNDS;
    let factor = 2_u32.saturating_pow(tries.saturating_sub(1).min(16));
    first.saturating_mul(factor).min(longest)
}

/// The part of a life in which a record says how things stand.
fn mirror(intent: &Intent, record: &Record, view: &View, times: &Times, now: Timestamp) -> Decision {
    let recorded = |vm: Option<Bought>| Facts::Recorded {
        record: Box::new(record.clone()),
        vm,
    };
    let facts = recorded(record.known.result.clone());
    let message = &record.known.message;
    if let (State::Accepted | State::Unknown, None, Some(trouble)) =
        (record.known.state, record.known.evidence, &view.following)
    {
        return report(trouble.reason, trouble.message.to_string(), facts, None);
    }
    match record.known.state {
        State::Sending if now <= later(record.claim.made_at, times.paid_timeout) => {
            let message = format!("the paid call of VpsOperation {} is on its way", record.name);
            report(Reason::Submitting, message, facts, None)
        }
        State::Sending => report(Reason::ConfirmingOutcome, confirming(record), facts, None),
        State::Accepted => {
            let job = record.known.job.as_ref().map_or("", |job| job.id.as_str());
            report(
                Reason::JobRunning,
                format!("HostUp restores the backup (job {job})"),
                facts,
                None,
            )
        }
        State::Unknown => match record.known.evidence {
            None => report(Reason::ConfirmingOutcome, confirming(record), facts, None),
            Some(Evidence::JobDeadline) => {
                report(Reason::JobDeadlineExceeded, ask(record, message), facts, None)
            }
            Some(Evidence::AccountMismatch) => {
                report(Reason::AccountMismatch, ask(record, message), facts, None)
            }
            Some(
                Evidence::NoneFound
                | Evidence::SeveralFound
                | Evidence::OtherSize
                | Evidence::Job
                | Evidence::VmFound
                | Evidence::FoundBeforeClaim
                | Evidence::Person,
            ) => report(Reason::OutcomeUnknown, ask(record, message), facts, None),
        },
        State::Failed => match &record.known.result {
            Some(vm) => report(
                Reason::VpsLeftBilling,
                format!(
                    "{message}, and left {} ({}), which costs money until it is cancelled in HostUp's panel. \
                 To try again create a VpsBackupRestore with another name",
                    vm.vps, vm.name
                ),
                facts,
                None,
            ),
            None => report(
                Reason::JobFailed,
                format!(
                    "{message}. No VM bears its token; to try again create a VpsBackupRestore with another name"
                ),
                facts,
                None,
            ),
        },
        State::Abandoned => report(Reason::Abandoned, message.to_string(), facts, None),
        State::Succeeded => after_success(intent, record, view, times, now),
        // These free the name and never come here.
        State::NotSent | State::Rejected | State::NotExecuted => {
            report(Reason::Rejected, message.to_string(), facts, None)
        }
    }
}

fn after_success(intent: &Intent, record: &Record, view: &View, times: &Times, now: Timestamp) -> Decision {
    let facts = |vm: Bought| Facts::Recorded {
        record: Box::new(record.clone()),
        vm: Some(vm),
    };
    let Some(bought) = record.known.result.clone() else {
        return report(
            Reason::OutcomeUnknown,
            ask(record, &record.known.message),
            Facts::Nothing,
            None,
        );
    };
    if let Some(size) = bought.size.filter(|size| *size != record.ordered) {
        let message = format!(
            "{} has {size} instead of the ordered {}; it is billed by its real size. Resize or cancel it in HostUp's panel",
            bought.vps, record.ordered
        );
        return report(Reason::WrongSize, message, facts(bought), None);
    }
    if record.subject.uid != intent.subject.uid {
        let message = format!(
            "already restored to {} by VpsOperation {} for an earlier object of this name; nothing was bought again",
            bought.vps, record.name
        );
        return report(Reason::AlreadyExecuted, message, facts(bought), None);
    }
    let restored = |vm: Bought| {
        let ip = vm.primary_ip.as_ref().map_or("", Text::as_str);
        let message = format!("backup {} restored to {} ({ip})", record.backup.id, vm.vps);
        report(Reason::Restored, message, facts(vm), None)
    };
    if let Some(latched) = view.latched.clone().filter(|latched| latched.vps == bought.vps) {
        return restored(latched);
    }
    let wait = |reason, message: String| {
        let since = record.known.quiet_since.unwrap_or(record.claim.made_at);
        let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let wait = (age / 20).clamp(
            times.poll_interval,
            times.poll_interval.max(Duration::from_secs(60)),
        );
        report(reason, message, facts(bought.clone()), Some(later(now, wait)))
    };
    match &view.account {
        Account::Unread | Account::Preflight(_) => Decision::ReadVm(bought.vps),
        Account::Trouble(trouble) => troubled(trouble, view, times, now, facts(bought.clone())),
        Account::Vm(Some(vm)) if vm.is_up() && vm.is_payg => match vm.size {
            Some(size) if size == record.ordered => restored(Bought {
                vps: vm.id.clone(),
                name: Text::bounded(&vm.name, 80),
                primary_ip: vm.primary_ip.clone(),
                size: vm.size,
            }),
            Some(size) => report(
                Reason::WrongSize,
                format!("{} has {size} instead of the ordered {}", vm.id, record.ordered),
                facts(bought),
                None,
            ),
            None => wait(
                Reason::Booting,
                format!("{} runs; HostUp does not show its size yet", vm.id),
            ),
        },
        Account::Vm(Some(vm)) => wait(Reason::Booting, format!("{} exists and is not up yet", vm.id)),
        Account::Vm(None) => wait(
            Reason::Booting,
            format!("{} cannot be read at the moment", bought.vps),
        ),
    }
}

fn confirming(record: &Record) -> String {
    format!(
        "the answer to the paid call of VpsOperation {} was lost; the VM {} is looked for. It is not sent again",
        record.name, record.vm_name
    )
}

/// The question to a person, with the command of each answer.
fn ask(record: &Record, why: &Text) -> String {
    let name = &record.name;
    let token = record.token();
    let token = token.as_ref().map_or("", VmToken::as_str);
    let answer = |body: &str| {
        format!("kubectl patch vpsoperation {name} --type=merge -p '{{\"spec\":{{\"resolution\":{body}}}}}'")
    };
    format!(
        "{why}. HostUp may have sold a VM for {} at {:.0} (VpsOperation {name}, token {token}). \
         Look in HostUp's panel, then give one of three answers. \
         It was not executed: {}. This VM is the one: {}. Give it up: {}",
        record.quote.price.summary(),
        record.claim.made_at,
        answer("{\"answer\":\"NotExecuted\"}"),
        answer("{\"answer\":\"Adopt\",\"vpsId\":\"vps_...\"}"),
        answer("{\"answer\":\"Abandon\"}"),
    )
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
