//! What every controller of a buying kind reads: the object, and the chain of records behind it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};

use super::Error;
use super::context::{Blocked, Context};
use super::reading;
use crate::accounts::{Asker, Class};
use crate::api::conditions;
use crate::api::operation::VpsOperation;
use crate::api::stored::Stored;
use crate::api::{self, InvalidRecord};
use crate::cluster::api_call;
use crate::cluster::recent::Source;
use crate::domain::ledger::budget::Allowance;
use crate::domain::ledger::chain::{Brakes, Hold, LedgerView, ShownRecord};
use crate::domain::ledger::names::ChainKey;
use crate::domain::ledger::order::TRIES_LAST;
use crate::domain::ledger::record::{Record, later};
use crate::domain::status::reason::Reason;
use crate::domain::status::report::Trouble;
use crate::domain::values::ids::{RecordName, Subject};
use crate::domain::values::moment::Moment;
use crate::ledger::Books;
use crate::ledger::kind::PurchasingKind;
use crate::ledger::store::Tail;

/// The wait of an object that found something changed while it was looked at.
pub const SOON: Duration = Duration::from_secs(1);

/// When an object is looked at again that is to be woken: nothing that was asked is forgotten.
const WOKEN_BEFORE: Duration = Duration::from_secs(60);

/// What a watch has shown of an object.
#[derive(Debug, Clone)]
pub struct SeenVersion {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its `resourceVersion`.
    pub version: Option<String>,
}

/// Who looks is woken once what was asked has come.
pub fn waiting(ctx: &Context) -> Action {
    Action::requeue(ctx.books.chance.jittered(WOKEN_BEFORE))
}

/// What asking HostUp brought.
pub enum Read<A> {
    /// Something to decide upon, and when the first of its calls began.
    Reading(A, Moment),
    /// Trouble that may last; the questions stay asked.
    Held(A),
    /// Nothing yet.
    Waiting,
}

/// One round of readings for an object: since when it has read, and whether it waits for more.
pub struct Round {
    /// When the first call began of those that count.
    pub since: Moment,
    held: bool,
}

impl Round {
    /// It begins.
    pub fn begin(now: Moment) -> Self {
        Self {
            since: now,
            held: false,
        }
    }

    /// Puts what was read into `reading`. `false` where nothing was: the round ends, and the object is woken.
    pub fn take<A>(&mut self, read: Read<A>, reading: &mut A) -> bool {
        match read {
            Read::Reading(read, began) => {
                self.since = began;
                *reading = read;
            }
            Read::Held(trouble) => {
                self.held = true;
                *reading = trouble;
            }
            Read::Waiting => return false,
        }
        true
    }

    /// It has come to a decision. What it asked stays asked only where trouble keeps the answer away; a record that is
    /// finished and shown is not looked at again soon.
    pub fn end(self, ctx: &Context, subject: &Subject, chain: &LedgerView) {
        if !self.held {
            ctx.accounts.forget(&reading::who(subject));
        }
        if let Some(tail) = chain.tail.as_ref().filter(|tail| tail.known.state.is_final()) {
            ctx.books.ledger.forget(&tail.name);
        }
    }
}

/// What came of a read, with `troubled` for what could not be read.
pub fn as_read<A>(
    read: Result<(A, Moment), Blocked>,
    now: Moment,
    troubled: impl FnOnce(Trouble) -> A,
) -> Result<Read<A>, Error> {
    match read {
        Ok((reading, began)) => Ok(Read::Reading(reading, began)),
        Err(Blocked::Trouble(trouble)) => Ok(Read::Reading(troubled(trouble), now)),
        Err(Blocked::Held(trouble)) => Ok(Read::Held(troubled(trouble))),
        Err(Blocked::Waiting) => Ok(Read::Waiting),
        Err(Blocked::Error(error)) => Err(error),
    }
}

/// Who asks for an object, and how urgently: with an approval a purchase waits for it, unless it was looked at before
/// and waits for something else.
pub fn asker<K: PurchasingKind>(object: &K, subject: &Subject, approved: bool) -> Asker {
    let status = object.status();
    let shown = conditions::find(K::conditions(&status), "Ready").map(|ready| ready.reason.as_str());
    let at_rest = [
        Reason::GatesClosed,
        Reason::Held,
        Reason::ReadOnly,
        Reason::PaidCallCap,
        Reason::BudgetExceeded,
        Reason::InSync,
        Reason::Drifted,
        Reason::Restored,
    ];
    let class = match shown {
        Some(shown) if at_rest.iter().any(|reason| reason.as_str() == shown) => Class::Routine,
        _ if approved => Class::Approved,
        _ => Class::Preview,
    };
    let made = object.meta().creation_timestamp.as_ref().map(|made| made.0);
    Asker {
        who: reading::who(subject),
        uid: subject.uid.clone(),
        generation: subject.generation,
        class,
        since: made.unwrap_or(Timestamp::MIN),
    }
}

/// The object that a watch has shown as it is known, if it is.
pub fn known<K: PurchasingKind>(ctx: &Context, seen: &SeenVersion) -> Option<Arc<K>> {
    K::recent(&ctx.books).get(&seen.namespace, &seen.name, seen.version.as_deref())
}

/// The object, read from etcd; `None` if it is gone.
pub async fn object<K: PurchasingKind>(
    ctx: &Context,
    seen: &SeenVersion,
) -> Result<Option<Stored<K>>, Error> {
    let api: Api<Stored<K>> = Api::namespaced(ctx.books.client.clone(), &seen.namespace);
    let object = api_call::found(api.get(&seen.name)).await?;
    Ok(object.filter(|object| object.meta().uid.is_some()))
}

/// The chain behind the object: its last record, and what the status shows.
pub async fn chain<K: PurchasingKind>(
    ctx: &Context,
    object: &K,
    subject: &Subject,
    key: &ChainKey,
    source: Source,
) -> Result<LedgerView, Error> {
    let status = object.status();
    let shown = K::operation(&status).map(ShownRecord::from);
    let (last, brakes) = futures::join!(
        last(ctx, shown.as_ref(), subject, key, source),
        brakes(ctx, object, source)
    );
    let (
        Last {
            attempt,
            record: tail,
            missing,
        },
        brakes,
    ) = (last?, brakes?);
    // A record that this process made, and that is gone before the status could name it.
    let next = key.record(attempt.saturating_add(1));
    let missing = missing.or_else(|| Some(next).filter(|next| ctx.books.memory.has_claimed(next)));
    let (tail, unreadable) = match tail {
        Ok(tail) => (tail, None),
        Err(error) => (None, Some(error)),
    };
    let now = ctx.now();
    let mut came_to_nothing = ctx.books.ledger.came_to_nothing(key, subject, now);
    // The watch may lag behind the last one.
    if let Some(tail) = tail.as_ref().filter(|tail| {
        tail.known.state.came_to_nothing()
            && tail.subject.is_of_one_name_with(subject)
            && now < later(tail.claimed_by(), TRIES_LAST)
    }) {
        came_to_nothing.entry(tail.attempt).or_insert(tail.claimed_by());
    }
    Ok(LedgerView {
        instance: ctx.settings.instance.clone(),
        following: tail
            .as_ref()
            .and_then(|tail| ctx.books.memory.followed(&tail.claim.holder).trouble),
        unreadable: unreadable.as_ref().map(InvalidRecord::to_string),
        tail,
        missing,
        gap: None,
        came_to_nothing: came_to_nothing.into_values().collect(),
        closed_after: K::closed_after(&status).map(RecordName::new),
        shown_record: shown.map(|shown| shown.name),
        shown_quote: K::quote(&status).and_then(api::shown_quote),
        stalled_since: conditions::stalled_since(K::conditions(&status)),
        brakes,
    })
}

/// The last record of a chain.
struct Last {
    /// Its attempt, or 0.
    attempt: u32,
    record: Result<Option<Record>, InvalidRecord>,
    /// The record that is known to have been made, if it is gone.
    missing: Option<RecordName>,
}

/// The last record of the chain. Where another record has the name of the one that the status shows, that one is missing.
async fn last(
    ctx: &Context,
    shown: Option<&ShownRecord>,
    subject: &Subject,
    key: &ChainKey,
    source: Source,
) -> Result<Last, Error> {
    let named = shown.and_then(|shown| key.attempt(&shown.name));
    let Tail {
        last: object,
        missing,
    } = ctx.books.ledger.tail(key, named, source).await?;
    let record = object.as_deref().map(api::record).transpose();
    let read = record.as_ref().ok().and_then(Option::as_ref);
    let replaced = shown
        .zip(read)
        .filter(|(shown, record)| shown.is_replaced_by(record, subject))
        .map(|(_, record)| record.name.clone());
    if source == Source::Known && replaced.is_some() {
        // What is known of the record may be older than the status.
        return Box::pin(last(ctx, shown, subject, key, Source::Etcd)).await;
    }
    Ok(Last {
        attempt: object.map_or(0, |object| object.spec.attempt),
        record,
        missing: missing.or(replaced),
    })
}

/// The operator's own brakes. Who looks for showing how things stand does not ask for Namespaces and budgets: a decision to
/// buy is made again from etcd.
async fn brakes<K: PurchasingKind>(ctx: &Context, object: &K, source: Source) -> Result<Brakes, Error> {
    let Books {
        ledger,
        namespaces,
        budgets,
        ..
    } = &*ctx.books;
    let namespace = &object.namespace().unwrap_or_default();
    let (held, budgets) = match source {
        Source::Known => (None, Allowance::default()),
        Source::Etcd => {
            let read = budgets.read(ledger, Some(namespace), ctx.now());
            let (held, read) = futures::join!(namespaces.hold(namespace), read);
            drop(read?);
            (held?, ledger.allowance(budgets, namespace, ctx.now()))
        }
    };
    let is_held = api::is_held(object.annotations());
    let now = ctx.now();
    let paid = ledger.paid_calls(namespace, now);
    Ok(Brakes {
        held: if is_held { Some(Hold::Object) } else { held },
        read_only: ctx.settings.read_only,
        ledger_silent: ledger.heartbeat().is_silent(),
        cap_reached: paid.reaches(ctx.settings.caps),
        last_call: paid.with_one_more().reaches(ctx.settings.caps),
        key_not_before: ledger.key_not_before(namespace, &object.credentials().name, now),
        budgets,
    })
}

/// The records before the last one, as far as they are there. One that cannot be read is noted on the chain.
pub fn records(chain: &mut LedgerView, before: &[Option<Arc<VpsOperation>>]) -> Vec<Record> {
    let read: Result<Vec<Record>, InvalidRecord> = before
        .iter()
        .flatten()
        .map(|record| api::record(record))
        .collect();
    read.unwrap_or_else(|unreadable| {
        chain.unreadable = Some(unreadable.to_string());
        Vec::new()
    })
}

/// The first record that is gone of those before the last one.
pub fn gap(key: &ChainKey, before: &[Option<Arc<VpsOperation>>]) -> Option<RecordName> {
    let mut attempts = before.iter().zip(1..);
    attempts
        .find(|(record, _)| record.is_none())
        .map(|(_, n)| key.record(n))
}
