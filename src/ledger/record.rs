//! Writes what is known of a call to its record.

use kube::ResourceExt;

use super::memory::Followed;
use super::{Books, Error};
use crate::api;
use crate::api::operation::VpsOperation;
use crate::cluster::api_call::{self, ApiError};
use crate::cluster::fail_point;
use crate::domain::ledger::record::{EndOfVm, Evidence, Outcome, Record, State};
use crate::domain::status::report::Trouble;
use crate::domain::values::ids::{Holder, RecordName, Subject, VpsId};

/// Writes `known` over what was read, if nobody wrote meanwhile.
///
/// # Errors
/// When the API server could not be written, or another write came first: of this record, or of another one that has
/// the same VM for its result.
pub async fn write(
    books: &Books,
    object: VpsOperation,
    record: &Record,
    known: &Outcome,
) -> Result<(), Error> {
    keep(books, &object, known).map_err(|(vps, other)| Error::AnothersResult(vps, other))?;
    if known.state.is_final() {
        fail_point::reach("before-outcome-recorded");
    }
    put(books, object, known).await?;
    if known.state.is_final() {
        fail_point::reach("after-outcome-recorded");
    }
    tell_of_outcome(books, record.known.state, record, known);
    Ok(())
}

/// Writes that HostUp provides the VM of a record no longer, over the record as it was read.
///
/// # Errors
/// When the API server could not be written, or another write came first.
pub async fn end(books: &Books, object: VpsOperation, record: &Record, end: EndOfVm) -> Result<(), ApiError> {
    let known = Outcome {
        ended: Some(end),
        ..record.known.clone()
    };
    put(books, object, &known).await
}

/// Keeps the VM that is to be the record's result, if there is one. `Err` with the record that has it already.
pub(super) fn keep(books: &Books, object: &VpsOperation, known: &Outcome) -> Result<(), (VpsId, RecordName)> {
    let Some(bought) = &known.result else {
        return Ok(());
    };
    let kept = books.ledger.give(&bought.vps, object);
    kept.map_err(|other| (bought.vps.clone(), other))
}

/// Lets the object show why the outcome of its call cannot be written, or that it is.
pub(super) fn show(
    books: &Books,
    record: (&RecordName, &Holder),
    subject: &Subject,
    trouble: Option<Trouble>,
) {
    let (_, holder) = record;
    let mut followed = books.memory.followed(holder);
    if followed.trouble == trouble {
        return;
    }
    followed.trouble = trouble;
    remember(books, record, followed);
    books.wake(subject);
}

/// Writes the status, if nobody wrote since the object was read.
pub(super) async fn put(books: &Books, mut object: VpsOperation, known: &Outcome) -> Result<(), ApiError> {
    let before = object.status.take().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    object.status = Some(api::known_status(known, &before, generation, books.now()));
    object.metadata.managed_fields = None;
    let by = api_call::by_us();
    let name = object.name_any();
    match api_call::within(books.ledger.api().replace_status(&name, &by, &object)).await {
        Ok(written) => {
            // No write from before this one can land any more.
            if known.result.is_none() {
                books.ledger.take_back(&written);
            }
            if known.state.is_final() {
                books.ledger.has_ended(&RecordName::new(written.name_any()));
            }
            books.ledger.written(written);
            Ok(())
        }
        Err(error) => {
            books.ledger.forget(&RecordName::new(name));
            Err(error)
        }
    }
}

/// Tells the rest of the process, and people, what became of a record.
pub(super) fn tell_of_outcome(books: &Books, from: State, record: &Record, known: &Outcome) {
    let state = known.state;
    tracing::info!(operation = %record.name, namespace = %record.subject.namespace, object = %record.subject.name,
        from = from.as_str(), to = state.as_str(), evidence = ?known.evidence, why = %known.message,
        "the operation went on");
    if state == State::NotSent {
        books.ledger.release(&record.name, &record.claim.holder);
        books.memory.sent_nothing(&record.name, &record.claim.holder);
    }
    if from == State::Sending && known.evidence != Some(Evidence::FoundBeforeClaim) {
        books.hooks.paid_call(record, state);
    }
    if state == State::Unknown && known.evidence.is_some() && record.known.evidence != known.evidence {
        books.hooks.asks_a_person(record);
    }
    wake(books, record, state);
}

/// That HostUp took a change of options is told only when the first reading back does not show it: a
/// moment of that is not worth a write.
pub(super) fn wake(books: &Books, record: &Record, state: State) {
    if state != State::Accepted || record.action.kind().row().is_told_when_accepted {
        books.wake(&record.subject);
    }
}

/// Remembers what is known of a record that is followed. The watch may have shown its end meanwhile, and nobody looks
/// at it after that.
pub fn remember(books: &Books, (name, holder): (&RecordName, &Holder), followed: Followed) {
    books.memory.remember(holder, followed);
    if books.ledger.is_finished(name) {
        books.memory.forget(holder);
    }
}
