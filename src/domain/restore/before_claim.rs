//! Before the claim: readings, price, consent, brakes; and the order that a claim is made from.

use jiff::Timestamp;
use serde_json::json;

use super::{
    Decision, Destination, Intent, ProviderReading, StatusFacts, TargetView, View, overwrite, report,
    stalled, troubled,
};
use crate::action::ordered::{Action, Backup, Restoration};
use crate::consent::approval;
use crate::consent::price::{HourlyPrice, Price, Size};
use crate::consent::quote::{self, Quote, QuoteBasis};
use crate::ledger::names::{ChainKey, vm_name};
use crate::ledger::order::{Attempt, Order};
use crate::ledger::record::{Cause, Times, later};
use crate::provider::backup::{self, BackupChoice};
use crate::provider::gate::{self, Gate, GateName};
use crate::provider::inventory::{self, Sighting, VpsChoice};
use crate::provider::preflight::{self, Preflight, Target};
use crate::status::reason::Reason;
use crate::status::report::Report;
use crate::values::ids::{Subject, VpsId};

/// The part of a life in which nothing is claimed.
pub(super) fn before_the_claim(intent: &Intent, view: &View, times: &Times, now: Timestamp) -> Decision {
    if let Some(rests) = Report::at_rest(intent.suspended, intent.deleted) {
        return Decision::Report(rests.with(kept_facts(view)));
    }
    match &view.reading {
        ProviderReading::Unread | ProviderReading::Vm(_) => match (&intent.source, &view.resolved_source) {
            (VpsChoice::Id(source), _) | (VpsChoice::Named(_), Some(source)) => read(intent, view, source),
            (VpsChoice::Named(name), None) => Decision::ReadName(name.clone()),
        },
        ProviderReading::Source(source) => read(intent, view, source),
        ProviderReading::Ends(source, target) => Decision::ReadTarget(source.clone(), target.clone()),
        ProviderReading::Trouble(trouble) => troubled(trouble, view, times, now, kept_facts(view)),
        ProviderReading::Preflight(preflight) => match &intent.target {
            Destination::CloudVm(target) => with_preflight(intent, target, view, preflight, times, now),
            Destination::ExistingVps(_) => read(intent, view, &preflight.source),
        },
        ProviderReading::Target(reading) => overwrite::with_target(intent, view, reading, times, now),
    }
}

/// The source is known.
fn read(intent: &Intent, view: &View, source: &VpsId) -> Decision {
    match (&intent.target, &view.resolved_target) {
        (Destination::CloudVm(_), _) => Decision::ReadPreflight(source.clone()),
        (Destination::ExistingVps(VpsChoice::Id(target)), _)
        | (Destination::ExistingVps(VpsChoice::Named(_)), Some(target)) => {
            Decision::ReadTarget(source.clone(), target.clone())
        }
        (Destination::ExistingVps(VpsChoice::Named(name)), None) => {
            Decision::ReadTargetName(source.clone(), name.clone())
        }
    }
}

/// What the status shows already, and what became of the last attempt.
fn kept_facts(view: &View) -> StatusFacts {
    match &view.chain.tail {
        Some(tail) => StatusFacts::Attempted(Box::new(tail.clone())),
        None => StatusFacts::Kept,
    }
}

fn with_preflight(
    intent: &Intent,
    target: &Target,
    view: &View,
    preflight: &Preflight,
    times: &Times,
    now: Timestamp,
) -> Decision {
    let source = &preflight.source;
    let read =
        |gates: &[Gate], backup: Option<&Backup>, order: Option<&PlacedOrder>, approved| StatusFacts::Read {
            source: source.clone(),
            gates: gates.to_vec(),
            backup: backup.cloned(),
            quote: order.map(|order| Box::new(order.quote.clone())),
            target: order.and_then(|order| {
                order
                    .order
                    .action
                    .restoration()
                    .cloned()
                    .map(TargetView::New)
                    .map(Box::new)
            }),
            approved,
            tail: view.chain.tail.clone().map(Box::new),
        };
    let chosen_before = view.resolved_backup.as_ref();
    let backup = match backup::choose(&intent.backup, chosen_before, &preflight.backups, now) {
        Ok(backup) => backup,
        Err(why) => {
            let gate = Gate::new(GateName::CanRestore, false, "", why.as_str());
            let message = format!("{why} (VPS {source}); choose another backup in a new VpsBackupRestore");
            // What was resolved stays resolved, also while its backup is away.
            let is_chosen_by_us = matches!(intent.backup, BackupChoice::Newest(_));
            let facts = if view.resolved_backup.is_some() && is_chosen_by_us {
                StatusFacts::Kept
            } else {
                read(&[gate], None, None, None)
            };
            return stalled(view, times, now, Reason::BackupNotFound, facts, message);
        }
    };
    let size = match preflight::ordered_size(target, preflight.source_size, &backup) {
        Ok(size) => size,
        Err(why) => {
            let facts = read(&[], Some(&backup), None, None);
            return stalled(view, times, now, Reason::InvalidSpec, facts, why.to_string());
        }
    };
    let region = target
        .region
        .clone()
        .or_else(|| preflight.deployments.default_region.clone())
        .unwrap_or_default();
    let gates = preflight::gates(preflight, &backup, intent.max_age, size, &region, now);
    let price = preflight
        .deployments
        .rates
        .as_ref()
        .and_then(|rates| HourlyPrice::of(size, rates))
        .map(Price::Hourly);
    let order = price.map(|price| {
        place(
            intent, target, view, preflight, &backup, size, &region, &gates, price, now,
        )
    });

    if let Some(order) = &order {
        let sighting = inventory::look_for(&preflight.vms, &intent.token(&view.chain.instance), source, size);
        if sighting != Sighting::None {
            return Decision::Adopt(Box::new(order.order.clone()), sighting);
        }
    }
    if let Some(message) = gate::told(&gates) {
        let facts = read(&gates, Some(&backup), order.as_ref(), None);
        return report(
            Reason::GatesClosed,
            message,
            facts,
            Some(later(now, times.gate_interval)),
        );
    }
    let Some(placed) = order else {
        let message = "HostUp names no complete price for this VM, so nothing is bought".to_owned();
        let facts = read(&gates, Some(&backup), None, None);
        return report(
            Reason::ProviderUnavailable,
            message,
            facts,
            Some(later(now, times.gate_interval)),
        );
    };
    let approval = intent.approval.as_ref();
    let advice = gate::advised(&gates);
    let only_by_quote = advice
        .is_some()
        .then(|| "only the approval of a quote covers what HostUp advises against".to_owned());
    let consent = approval::judge(approval, &placed.quote, &placed.fresh, only_by_quote, now);
    let grant = consent.grant().cloned();
    let facts = read(&gates, Some(&backup), Some(&placed), Some(grant.is_some()));
    let PlacedOrder { order, quote, fresh } = placed;
    let order = Order { grant, ..order };
    let what = order
        .action
        .restoration()
        .map_or_else(String::new, Restoration::described);
    let what = advice.map_or_else(
        || what.clone(),
        |advice| format!("{what} which HostUp advises against ({advice}),"),
    );
    if let Some((reason, message)) =
        approval::missing(&consent, approval, &intent.subject, &quote, &fresh, &what)
    {
        return report(reason, message, facts, Some(later(now, times.resync_interval)));
    }
    if let Some(held) = view
        .chain
        .holds_back(&order, view.chain.tail.as_ref(), times, now)
    {
        return Decision::Report(held.with(facts));
    }
    Decision::Buy(Box::new(order))
}

struct PlacedOrder {
    order: Order,
    quote: Quote,
    fresh: Price,
}

#[allow(clippy::too_many_arguments)]
fn place(
    intent: &Intent,
    target: &Target,
    view: &View,
    preflight: &Preflight,
    backup: &Backup,
    size: Size,
    region: &str,
    gates: &[Gate],
    fresh: Price,
    now: Timestamp,
) -> PlacedOrder {
    let name = vm_name(
        target.name.as_deref(),
        &intent.subject.name,
        &intent.token(&view.chain.instance),
    );
    let path = format!(
        "/api/v2/vps/{}/backups/{}/actions/restore-to-payg",
        preflight.source, backup.id
    );
    let body = json!({
        "name": name,
        "region": region,
        "cpuCores": size.cpu_cores,
        "memoryGb": size.memory_gb,
        "storageGb": size.storage_gb,
    })
    .to_string();
    let request = format!("POST {path} {body}");
    let cause = Cause::new(&request, &preflight.key, gates, Some(&fresh));
    let basis = QuoteBasis {
        subject: intent.subject.uid.clone(),
        request,
        // What was executed for this target bars its name, so that no quote ever follows it.
        after: gate::advice(gates),
    };
    let approved = intent
        .approval
        .as_ref()
        .and_then(|approval| approval.quote.as_ref());
    let quote = quote::renew(&basis, &fresh, view.chain.shown_quote.as_ref(), approved);
    let Subject {
        namespace,
        name: object,
        ..
    } = &intent.subject;
    PlacedOrder {
        order: Order {
            subject: intent.subject.clone(),
            chain: ChainKey::of_restore(namespace, object),
            attempt: Attempt::after(
                view.chain.tail.as_ref(),
                view.chain.tail.as_ref(),
                &intent.subject,
                now,
            ),
            intent: intent.digest.clone(),
            vps: preflight.source.clone(),
            action: Action::Restore(Restoration {
                vm_name: name,
                region: region.to_owned(),
                ordered: size,
                backup: backup.clone(),
            }),
            follows: None,
            saved_by: None,
            path,
            body,
            quote: Some(quote.clone()),
            dearer: None,
            grant: None,
            gates: gates.to_vec(),
            secret_version: preflight.key.secret_version.clone(),
            cause,
            read_at: preflight.read_at,
        },
        quote,
        fresh,
    }
}
