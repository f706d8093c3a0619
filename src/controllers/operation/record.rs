//! Writes what is known of a call to its record.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::claim::Held;
use crate::api;
use crate::api::operation::VpsOperation;
use crate::controllers::api_call::{self, ApiError};
use crate::controllers::context::Context;
use crate::controllers::{Error, fail_point, jittered, refused};
use crate::domain::ids::{RecordName, VpsId};
use crate::domain::operation::{Input, Memo, step};
use crate::domain::record::{Evidence, Known, Matter, Record, State};
use crate::domain::report::Trouble;

/// Waits between two tries to write an outcome; it is tried until it stands.
const RETRIES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// The longest wait after a refusal: an outcome that is not written yet can still be lost with the process.
const LONGEST_REFUSAL: Duration = Duration::from_secs(60);
/// Reads that confirm that a record is gone.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

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
fn keep(ctx: &Context, object: &VpsOperation, known: &Known) -> Result<(), (VpsId, RecordName)> {
    let Some(bought) = &known.result else {
        return Ok(());
    };
    let kept = ctx.ledger.give(&bought.vps, object);
    kept.map_err(|other| (bought.vps.clone(), other))
}

/// As [`conclude`], in a task of its own that shutdown waits for: no worker waits for a write that the
/// API server refuses.
pub fn conclude_apart(ctx: &Arc<Context>, held: Held, input: Input) {
    let task_ctx = ctx.clone();
    ctx.paid_calls
        .spawn(async move { conclude(&task_ctx, held, input).await });
}

/// Writes what the holder of the claim has learnt, however long the API server takes: an outcome
/// that reached this process is not lost while the process lives.
pub async fn conclude(ctx: &Arc<Context>, held: Held, mut input: Input) {
    let Held {
        mut object,
        mut record,
        in_flight,
    } = held;
    let (mut wait, mut longest) = RETRIES;
    let mut wanted: Option<Known> = None;
    let concluded = loop {
        // The write before may have been applied although its answer was lost.
        if let Some(wanted) = wanted.as_ref().filter(|wanted| **wanted == record.known) {
            tell(ctx, State::Sending, &record, wanted);
            break wanted.state;
        }
        let known = step(
            &record,
            input.clone(),
            &mut Memo::default(),
            &ctx.settings.times,
            ctx.now(),
        );
        if known == record.known {
            tracing::warn!(operation = %record.name, state = record.known.state.as_str(), ?input,
                "the sender's answer came after the record was settled otherwise");
            break record.known.state;
        }
        // Another record may have become the VM's since it was found.
        if let (Err((_, other)), Input::FoundBeforeClaim(found)) = (keep(ctx, &object, &known), &input) {
            input = Input::FoundBeforeClaim(found.clone().taken_by(&other));
            continue;
        }
        match put(ctx, object.clone(), &known).await {
            Ok(()) => {
                tell(ctx, record.known.state, &record, &known);
                break known.state;
            }
            Err(error) if error.is_gone() && is_gone(ctx, &record).await => {
                tracing::error!(operation = %record.name, ?known, "the record was deleted while its call was under way; \
                    what is known of it stands only in this line");
                break known.state;
            }
            Err(error) => {
                tracing::warn!(operation = %record.name, %error, ?known, "the outcome could not be written; trying again");
                if let Some(refusal) = refused::refusal(&error) {
                    longest = LONGEST_REFUSAL;
                    show(ctx, &record, Some(refusal));
                }
                tokio::time::sleep(jittered(wait)).await;
                wait = (wait * 2).min(longest);
                wanted = Some(known);
            }
        }
        if let Ok(Some(fresh)) = ctx.ledger.get(&record.name).await {
            if fresh.spec.claim.holder != object.spec.claim.holder {
                tracing::error!(operation = %record.name, ?input,
                    "the record was replaced while its call was under way; what is known stands only in this line");
                break record.known.state;
            }
            if let Ok(read) = api::record(&fresh) {
                object = fresh;
                record = read;
            }
        }
    };
    show(ctx, &record, None);
    // Only now may others of this process take the record for one that nobody sends.
    drop(in_flight);
    wake(ctx, &record, concluded);
}

/// Whether reads confirm that the record is gone: a single 404 may be of a server that lags behind.
async fn is_gone(ctx: &Context, record: &Record) -> bool {
    for _ in 0..LOOKS {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        if !matches!(ctx.ledger.get(&record.name).await, Ok(None)) {
            return false;
        }
    }
    true
}

/// Lets the object show why the outcome of its call cannot be written, or that it is.
fn show(ctx: &Context, record: &Record, trouble: Option<Trouble>) {
    let mut followed = ctx.desk.followed(&record.name);
    if followed.trouble == trouble {
        return;
    }
    followed.trouble = trouble;
    super::remember(ctx, &record.name, followed);
    ctx.wake(&record.subject);
}

async fn put(ctx: &Context, mut object: VpsOperation, known: &Known) -> Result<(), ApiError> {
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

fn tell(ctx: &Context, from: State, record: &Record, known: &Known) {
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
fn wake(ctx: &Context, record: &Record, state: State) {
    match (&record.matter, state) {
        (Matter::Config(_), State::Accepted) => {}
        (_, _) => ctx.wake(&record.subject),
    }
}
