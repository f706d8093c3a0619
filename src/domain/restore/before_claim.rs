//! Before the claim: readings, price, consent, brakes; and the order that a claim is made from.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{Account, Brakes, Decision, Facts, Intent, Order, View, report, stalled, troubled};
use crate::domain::approval::{self, Approval, Consent};
use crate::domain::digest;
use crate::domain::gate::{self, Gate, GateName};
use crate::domain::ids::Subject;
use crate::domain::inventory::{self, Sighting};
use crate::domain::names::vm_name;
use crate::domain::preflight::{self, BackupChoice, Preflight};
use crate::domain::price::{HourlyPrice, Size};
use crate::domain::quote::{self, Quote, QuoteBasis};
use crate::domain::reason::Reason;
use crate::domain::record::{Backup, Cause, Record, State, Times, later};

/// Attempts without a new generation, after which only a person goes on.
const MOST_TRIES: u32 = 8;
/// First and longest wait between two attempts.
const RETRY_BOUNDS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15 * 60));
/// Readings older than this are not bought upon.
const READINGS_LAST: Duration = Duration::from_secs(60);

/// The part of a life in which nothing is claimed.
pub(super) fn before_the_claim(intent: &Intent, view: &View, times: &Times, now: Timestamp) -> Decision {
    if intent.suspended || intent.deleted {
        let message = if intent.deleted {
            "being deleted: nothing is read and nothing is bought"
        } else {
            "suspended: nothing is read and nothing is bought; set spec.suspend to false to go on"
        };
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
            // A `Latest` that was resolved stays resolved, also while its backup is away.
            let facts = if view.resolved_backup.is_some() && intent.backup == BackupChoice::Latest {
                Facts::Kept
            } else {
                read(&[gate], None, None, None)
            };
            return stalled(view, times, now, Reason::BackupNotFound, facts, message);
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
    let limited = view.tail.as_ref().and_then(|tail| tail.known.not_before);
    if let Some(until) = limited.filter(|until| now < *until) {
        let message = "HostUp asked to wait before the next paid call".to_owned();
        return wait(Reason::RateLimited, message, until);
    }
    if let Some(tail) = view.tail.as_ref().filter(|_| order.tries > 1) {
        let ended = tail.known.quiet_since.unwrap_or(tail.claim.made_at);
        let next = later(ended, retry_wait(tail.tries));
        if order.tries > MOST_TRIES {
            let message = format!(
                "{MOST_TRIES} attempts came to nothing; the last: {}. Change the spec to try again",
                tail.known.message
            );
            return Some(stalled(view, times, now, Reason::Rejected, facts, message));
        }
        match tail.known.state {
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
                let reason = if limited.is_some() {
                    Reason::RateLimited
                } else {
                    Reason::ProviderUnavailable
                };
                return wait(reason, message, next);
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
