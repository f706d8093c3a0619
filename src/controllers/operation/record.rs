//! Writes what is known of a call to its record.

use kube::ResourceExt;

use crate::api;
use crate::api::operation::VpsOperation;
use crate::cluster::api_call::{self, ApiError};
use crate::controllers::context::Context;
use crate::controllers::{Error, fail_point};
use crate::domain::ledger::record::{Evidence, Known, Record, State};
use crate::domain::status::report::Trouble;
use crate::domain::values::ids::{RecordName, Subject, VpsId};

/// Writes `known` over what was read, if nobody wrote meanwhile.
///
/// # Errors
/// When the API server could not be written, or another write came first: of this record, or of another one that has
/// the same VM for its result.
pub async fn write(ctx: &Context, object: VpsOperation, record: &Record, known: &Known) -> Result<(), Error> {
    keep(ctx, &object, known).map_err(|(vps, other)| Error::AnothersResult(vps, other))?;
    if known.state.is_final() {
        fail_point::reach("before-outcome-recorded");
    }
    put(ctx, object, known).await?;
    if known.state.is_final() {
        fail_point::reach("after-outcome-recorded");
    }
    tell(ctx, record.known.state, record, known);
    Ok(())
}

/// Keeps the VM that is to be the record's result, if there is one. `Err` with the record that has it already.
pub(super) fn keep(ctx: &Context, object: &VpsOperation, known: &Known) -> Result<(), (VpsId, RecordName)> {
    let Some(bought) = &known.result else {
        return Ok(());
    };
    let kept = ctx.ledger.give(&bought.vps, object);
    kept.map_err(|other| (bought.vps.clone(), other))
}

/// Lets the object show why the outcome of its call cannot be written, or that it is.
pub(super) fn show(ctx: &Context, name: &RecordName, subject: &Subject, trouble: Option<Trouble>) {
    let mut followed = ctx.desk.followed(name);
    if followed.trouble == trouble {
        return;
    }
    followed.trouble = trouble;
    super::remember(ctx, name, followed);
    ctx.wake(subject);
}

/// Writes the status, if nobody wrote since the object was read.
pub(super) async fn put(ctx: &Context, mut object: VpsOperation, known: &Known) -> Result<(), ApiError> {
    let before = object.status.take().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    object.status = Some(api::known_status(
        known,
        &before.conditions,
        generation,
        ctx.now(),
    ));
    object.metadata.managed_fields = None;
    let by = api_call::by_us();
    let name = object.name_any();
    match api_call::within(ctx.ledger.api().replace_status(&name, &by, &object)).await {
        Ok(written) => {
            // No write from before this one can land any more.
            if known.result.is_none() {
                ctx.ledger.take_back(&written);
            }
            ctx.ledger.written(written);
            Ok(())
        }
        Err(error) => {
            ctx.ledger.forget(&RecordName::new(name));
            Err(error)
        }
    }
}

/// Tells the rest of the process, and people, what became of a record.
pub(super) fn tell(ctx: &Context, from: State, record: &Record, known: &Known) {
    let state = known.state;
    tracing::info!(operation = %record.name, namespace = %record.subject.namespace, object = %record.subject.name,
        from = from.as_str(), to = state.as_str(), evidence = ?known.evidence, why = %known.message,
        "the operation went on");
    if state == State::NotSent {
        ctx.ledger.release(&record.name);
        ctx.desk.sent_nothing(&record.name, &record.claim.holder);
    }
    if from == State::Sending && known.evidence != Some(Evidence::FoundBeforeClaim) {
        ctx.observer.paid_call(record, state);
    }
    if state == State::Unknown && known.evidence.is_some() && record.known.evidence != known.evidence {
        ctx.observer.asks_a_person(record);
    }
    wake(ctx, record, state);
}

/// That HostUp took a change of options is told only when the first reading back does not show it: a
/// moment of that is not worth a write.
pub(super) fn wake(ctx: &Context, record: &Record, state: State) {
    if state != State::Accepted || record.action.kind().row().is_told_when_accepted {
        ctx.wake(&record.subject);
    }
}
