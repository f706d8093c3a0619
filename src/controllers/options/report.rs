//! How the options stand, as the object's status shows it.

use std::collections::BTreeMap;

use kube::runtime::controller::Action;

use crate::api::conditions::{self, NewCondition};
use crate::api::config::{SHOWN_VALUE, VpsResourceConfig, VpsResourceConfigStatus};
use crate::api::shared::{BackupFirstStatus, GateStatus, InvoiceStatus, OperationRef, QuoteStatus};
use crate::api::{self, InvalidSpec};
use crate::controllers::Error;
use crate::controllers::approvals::Place;
use crate::controllers::context::Context;
use crate::controllers::reporter::{
    self, DRIFTED, attempted_steps, closed_after, drift, kept_steps, kept_warning, steps, warning,
};
use crate::domain::ledger::record::Record;
use crate::domain::options::{self, InForce, StatusFacts, StatusView};
use crate::domain::provider::options::Values;
use crate::domain::status::reason::Reason;
use crate::domain::status::report::{Report, Trouble};
use crate::domain::values::ids::VpsId;
use crate::domain::values::text::Text;

/// Writes the report on this wish to the status if that changes the status, with the `backup` that was made first. Returns
/// when to look again.
pub async fn publish(
    ctx: &Context,
    object: &VpsResourceConfig,
    wish: &str,
    report: &options::Report,
    backup: Option<&Record>,
) -> Result<Action, Error> {
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let (shown, steps) = facts(&before, wish, &report.facts);
    let mut said = conditions::standing(report.reason.standing(), report.reason.as_str(), &report.message);
    said.extend(steps);
    said.extend(match &report.facts {
        StatusFacts::Kept | StatusFacts::Attempted(_) => {
            kept_warning::<VpsResourceConfig>(&before, generation)
        }
        StatusFacts::Shown(shown) => shown
            .record
            .as_ref()
            .and_then(|record| warning(record, generation)),
        StatusFacts::Nothing => None,
    });
    let after = VpsResourceConfigStatus {
        observed_generation: generation,
        last_handled_reconcile_at: reporter::requested_at(object),
        vps_id: object.vps().map(str::to_owned),
        conditions: conditions::dated(said, &before.conditions, generation, ctx.now()),
        backup_first: backup.map(BackupFirstStatus::from).or(before.backup_first),
        ..shown
    };
    reporter::write(ctx, object, after, report).await?;
    Ok(ctx.again_once_told(&Place::of::<VpsResourceConfig>(&object.metadata), report.wake))
}

/// Keeps the VPS that has the name of the spec.
pub async fn pin(ctx: &Context, object: &VpsResourceConfig, vps: &VpsId) -> Result<(), Error> {
    let before = object.status.clone();
    let unseen = VpsResourceConfigStatus {
        observed_generation: -1,
        ..VpsResourceConfigStatus::default()
    };
    let after = VpsResourceConfigStatus {
        vps_id: Some(vps.to_string()),
        ..before.unwrap_or(unseen)
    };
    reporter::put(ctx, object, after).await?;
    Ok(())
}

/// A spec that cannot be understood; it waits for a change.
pub async fn invalid(ctx: &Context, object: &VpsResourceConfig, why: &InvalidSpec) -> Result<Action, Error> {
    let report = Report::new(Reason::InvalidSpec, why.to_string(), None).with(StatusFacts::Kept);
    publish(ctx, object, "", &report, None).await
}

/// What lasts until somebody puts it right; it is looked at ever more rarely.
pub async fn lasting(ctx: &Context, object: &VpsResourceConfig, trouble: &Trouble) -> Result<Action, Error> {
    let status = object.status.as_ref();
    let since = status.and_then(|status| conditions::stalled_since(&status.conditions));
    let report = Report::troubled(trouble, since, &ctx.settings.times, ctx.now()).with(StatusFacts::Kept);
    let wish = api::config_intent(object)
        .map(|intent| intent.digest)
        .unwrap_or_default();
    publish(ctx, object, &wish, &report, None).await
}

fn facts(
    before: &VpsResourceConfigStatus,
    wish: &str,
    facts: &StatusFacts,
) -> (VpsResourceConfigStatus, Vec<NewCondition>) {
    match facts {
        StatusFacts::Kept => {
            let steps = kept_steps::<VpsResourceConfig>(before);
            (before.clone(), of_this_wish(steps, before, wish))
        }
        StatusFacts::Attempted(record) => {
            let shown = VpsResourceConfigStatus {
                operation: Some(record.as_ref().into()),
                ..before.clone()
            };
            let steps = attempted_steps::<VpsResourceConfig>(before, record);
            (shown, of_this_wish(steps, before, wish))
        }
        StatusFacts::Nothing => {
            // It holds for as long as the wish is the same.
            let status = VpsResourceConfigStatus {
                committed_dry_run: before.committed_dry_run.clone(),
                ..VpsResourceConfigStatus::default()
            };
            (status, Vec::new())
        }
        StatusFacts::Shown(shown) => (status(before, wish, shown), new_conditions(shown)),
    }
}

/// Whether another wish was in force says nothing of this one.
fn of_this_wish(
    mut steps: Vec<NewCondition>,
    before: &VpsResourceConfigStatus,
    wish: &str,
) -> Vec<NewCondition> {
    steps.retain(|step| step.about != DRIFTED || before.in_force.as_deref() == Some(wish));
    steps
}

fn status(before: &VpsResourceConfigStatus, wish: &str, shown: &StatusView) -> VpsResourceConfigStatus {
    let record = shown.record.as_ref();
    VpsResourceConfigStatus {
        current: shown
            .current
            .as_ref()
            .map_or_else(|| before.current.clone(), texts),
        in_force: match shown.in_force {
            InForce::Kept => before.in_force.clone(),
            InForce::Nothing => None,
            InForce::Wish => Some(wish.to_owned()),
        },
        committed_dry_run: if shown.committed_dry_run {
            Some(wish.to_owned())
        } else {
            before.committed_dry_run.clone()
        },
        quote: shown.quote.as_ref().map(QuoteStatus::from),
        gates: shown.gates.iter().map(GateStatus::from).collect(),
        gates_closed_after: closed_after::<VpsResourceConfig>(before, &shown.gates, record),
        operation: record.map(OperationRef::from),
        invoice: record
            .and_then(|record| record.known.invoice.as_ref())
            .map(InvoiceStatus::from),
        ..VpsResourceConfigStatus::default()
    }
}

fn texts(values: &Values) -> BTreeMap<String, String> {
    values
        .iter()
        .map(|(key, value)| {
            (
                key.clone(),
                Text::bounded(&value.to_string(), SHOWN_VALUE).to_string(),
            )
        })
        .collect()
}

fn new_conditions(shown: &StatusView) -> Vec<NewCondition> {
    let record = shown.record.as_ref();
    let mut said = steps(&shown.gates, shown.quote.as_ref(), shown.approved, record);
    if shown.gates.is_empty() && shown.quote.is_none() {
        // Nothing was asked that could have had a price.
        said.retain(|step| step.about != "Quoted");
    }
    said.extend(shown.drifted.map(drift));
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_that_was_committed_is_remembered_while_another_object_is_responsible() {
        let before = VpsResourceConfigStatus {
            committed_dry_run: Some("wish".to_owned()),
            in_force: Some("wish".to_owned()),
            ..VpsResourceConfigStatus::default()
        };
        let (shown, _) = facts(&before, "wish", &StatusFacts::Nothing);
        assert_eq!(shown.committed_dry_run, before.committed_dry_run);
        assert_eq!(shown.in_force, None);
    }
}
