//! The paid call: claimed once, sent once, followed to its end. Shared by all kinds that buy.

mod observe;
pub mod purchase;

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::watcher::Event;

use super::context::Context;
use super::{Error, refused};
use crate::accounts::Who;
use crate::api;
use crate::api::operation::{OperationState, SubjectRef, VpsOperation};
use crate::cluster::api_call::ApiError;
use crate::domain::action::follow::{
    Input, Need, could_not_write, first_look, need, next_look, step, still_to_write,
};
use crate::domain::ledger::record::{Outcome, Record, State};
use crate::domain::values::ids::{Holder, RecordName, SubjectKind};
use crate::domain::values::moment::Rest;
use crate::domain::values::text::Text;
use crate::ledger::record;
use crate::ledger::store::Watched;
use observe::Reading;

/// What the store of the records that are followed is to make of an event, once the index has taken it in. A finished
/// one is not followed any more: its subject is woken, and its place in the index is all that is kept of it.
pub fn note(ctx: &Context, event: Event<Watched>) -> Option<Event<Watched>> {
    let is_news = ctx.books.ledger.note(&event);
    match event {
        Event::Init | Event::InitDone => Some(event),
        Event::InitApply(object) => match finished(&object) {
            None => Some(Event::InitApply(object)),
            Some(subject) => {
                // Each list shows them all, and nearly none has changed.
                if is_news {
                    let_go(ctx, &object, subject);
                }
                None
            }
        },
        Event::Apply(object) => match finished(&object) {
            None => Some(Event::Apply(object)),
            Some(subject) => {
                let_go(ctx, &object, subject);
                Some(Event::Delete(object))
            }
        },
        Event::Delete(object) => {
            // The subject of a record that a person deletes may still name it.
            if let Ok(record) = &object.0 {
                let_go(ctx, &object, &record.spec.subject);
            }
            Some(Event::Delete(object))
        }
    }
}

fn let_go(ctx: &Context, object: &Watched, subject: &SubjectRef) {
    let name = object.name_any();
    ctx.failures.succeeded::<Watched>("", &name);
    forget(ctx, object);
    ctx.accounts.forget(&Who::Record(RecordName::new(name)));
    wake(ctx, subject);
}

fn forget(ctx: &Context, object: &Watched) {
    if let Ok(record) = &object.0 {
        let holder = record.spec.claim.holder.clone();
        ctx.books.memory.forget(&Holder::new(holder));
    }
}

/// Follows one record.
///
/// # Errors
/// When the API server could not be read or written; the record is looked at again.
pub async fn reconcile(seen: Arc<Watched>, ctx: Arc<Context>) -> Result<Action, Error> {
    let name = RecordName::new(seen.name_any());
    if !ctx.books.ledger.is_ours(&seen) {
        return Ok(Action::await_change());
    }
    let object = match ctx
        .books
        .ledger
        .known(&name, seen.resource_version().as_deref())
        .await
    {
        Ok(Some(object)) => object,
        Ok(None) => {
            forget(&ctx, &seen);
            return Ok(Action::await_change());
        }
        Err(error @ ApiError::Unreadable(_)) => {
            tracing::error!(%error, "a record cannot be read; the operator does not act on it");
            return Ok(Action::await_change());
        }
        Err(error) => return Err(error.into()),
    };
    let record = match api::record(&object) {
        Ok(record) => record,
        Err(error) => {
            tracing::error!(%error, "a record cannot be read; the operator does not act on it");
            return Ok(Action::await_change());
        }
    };
    if record.claim.instance != ctx.settings.instance
        || !ctx.settings.watched.includes(&record.subject.namespace)
    {
        return Ok(Action::await_change());
    }
    let times = &ctx.settings.times;
    let holder = &record.claim.holder;
    let mut followed = ctx.books.memory.followed(holder);
    let now = ctx.now();
    let before = followed.memo.clone();
    followed.memo.begins_a_look(&record, times, now);
    if followed.memo.rest.is_none() {
        let jobs = observe::job_times(&ctx, &object, &record).await;
        let until = first_look(&record, jobs, times, now);
        followed.memo.rest = (until > now).then_some(Rest { from: now, until });
    }
    if followed.memo != before {
        record::remember(&ctx.books, (&name, holder), followed.clone());
    }
    if let Some(known) = still_to_write(&record, &mut followed.memo) {
        record::remember(&ctx.books, (&name, holder), followed);
        return write(&ctx, object, &record, &known, now).await;
    }
    let reading = match need(&record, &followed.memo, times, now) {
        Need::Nothing => Reading::Settled(None),
        Need::Wait(until) => Reading::Settled(Some(until)),
        Need::Say(input) => Reading::Input(input),
        Need::Job(job) => observe::job(&ctx, &object, &record, &job, &mut followed).await?,
        Need::Options => observe::options(&ctx, &object, &record).await?,
        Need::Backups => observe::backups(&ctx, &object, &record).await?,
        Need::Inventory => observe::inventory(&ctx, &object, &record).await?,
        Need::Vm(vps) => observe::named(&ctx, &object, &record, &vps).await?,
    };
    let asked = Who::Record(name.clone());
    let (input, retry) = match reading {
        Reading::Input(input) => {
            ctx.accounts.forget(&asked);
            (input, None)
        }
        Reading::Settled(until) => {
            ctx.accounts.forget(&asked);
            // Who sends wakes the object with the answer; a call of a moment is not worth a write.
            if !followed.memo.in_flight {
                ctx.wake(&record.subject);
            }
            return Ok(ctx.again_at(until));
        }
        Reading::Waiting => return Ok(super::observe::waiting(&ctx)),
        Reading::Held(until, trouble) => {
            let why = trouble.message.clone();
            (Input::Unreadable(why), Some((until, trouble)))
        }
        Reading::Unreadable(until, trouble) => {
            ctx.accounts.forget(&asked);
            let why = trouble.message.clone();
            (Input::Unreadable(why), Some((until, trouble)))
        }
    };
    let mut known = step(
        &record,
        knowing_what_was_sent(&ctx, &record, input),
        &mut followed.memo,
        times,
        ctx.now(),
    );
    let next = if let Some((until, _)) = &retry {
        *until
    } else {
        let jobs = observe::job_times(&ctx, &object, &record).await;
        next_look(&record, jobs, times, ctx.now())
    };
    if retry.is_none() {
        followed.memo.rest = Some(Rest {
            from: now,
            until: next,
        });
    }
    followed.trouble = retry.map(|(_, trouble)| trouble).filter(observe::is_shown);
    let word = followed.word.clone();
    record::remember(&ctx.books, (&name, holder), followed);
    if known == record.known {
        ctx.wake(&record.subject);
        return Ok(ctx.again_at(Some(next)));
    }
    if let Some(job) = &mut known.job {
        job.word = word.or(job.word.take());
    }
    write(&ctx, object, &record, &known, next).await
}

/// Writes what is known to the record. Returns when to look again, at `next` at the earliest.
async fn write(
    ctx: &Context,
    object: Arc<VpsOperation>,
    record: &Record,
    known: &Outcome,
    next: Timestamp,
) -> Result<Action, Error> {
    let (name, holder) = (&record.name, &record.claim.holder);
    if let Err(error) = record::write(&ctx.books, Arc::unwrap_or_clone(object), record, known).await {
        let error = Error::from(error);
        let mut again = ctx.books.memory.followed(holder);
        could_not_write(record, known, &mut again.memo);
        if !matches!(error, Error::Api(_)) {
            // Another record has its VM.
            again.memo.unwritten = None;
        }
        again.trouble = refused::lasting(&error);
        let told = again.trouble.is_some();
        record::remember(&ctx.books, (name, holder), again);
        if told {
            ctx.wake(&record.subject);
        }
        return Err(error);
    }
    let next = Some(next).filter(|_| !known.state.is_final());
    Ok(ctx.again_at(next))
}

/// What is to be said of an overdue record, knowing what this process did.
fn knowing_what_was_sent(ctx: &Context, record: &Record, input: Input) -> Input {
    if input == Input::Overdue && ctx.books.memory.knows_unsent(&record.claim.holder) {
        return Input::Withdrawn(Text::new(
            "withdrawn: the API server did not confirm the claim, so nothing was sent",
        ));
    }
    input
}

/// Wakes the subject of a record that is known by the watch only.
fn wake(ctx: &Context, subject: &SubjectRef) {
    let kind = SubjectKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == subject.kind);
    if let Some(kind) = kind {
        ctx.books.wakes.object(kind, &subject.namespace, &subject.name);
    }
}

/// The subject of a record that needs nothing any more, as far as the watch shows.
fn finished(seen: &Watched) -> Option<&SubjectRef> {
    let object = seen.0.as_ref().ok()?;
    let state = object.status.as_ref()?.state.unwrap_or(OperationState::Sending);
    State::from(state).is_final().then_some(&object.spec.subject)
}
