//! What every controller of a buying kind reads: the object, and the chain of records behind it.

use std::time::Duration;

use kube::{Api, Resource};

use super::Error;
use super::api_call;
use super::context::{Blocked, Context};
use super::subject::Buyer;
use crate::api::conditions;
use crate::api::stored::Stored;
use crate::api::{self, InvalidRecord};
use crate::domain::chain::{Brakes, Chain};
use crate::domain::ids::RecordName;
use crate::domain::names::ChainKey;
use crate::domain::report::Trouble;

/// The wait after a read for which too many others were under way.
pub const BUSY_WAIT: Duration = Duration::from_secs(1);

/// What a read of HostUp brought.
pub enum Read<A> {
    /// Something to decide upon.
    Account(A),
    /// Nothing yet; others are in the way.
    Busy,
}

/// What came of a read, with `troubled` for what could not be read.
pub fn as_read<A>(read: Result<A, Blocked>, troubled: impl FnOnce(Trouble) -> A) -> Result<Read<A>, Error> {
    match read {
        Ok(account) => Ok(Read::Account(account)),
        Err(Blocked::Trouble(trouble)) => Ok(Read::Account(troubled(trouble))),
        Err(Blocked::Busy) => Ok(Read::Busy),
        Err(Blocked::Error(error)) => Err(error),
    }
}

/// The object, read from etcd; `None` if it is gone.
pub async fn object<K: Buyer>(
    ctx: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<Stored<K>>, Error> {
    let api: Api<Stored<K>> = Api::namespaced(ctx.client.clone(), namespace);
    let object = api_call::found(api.get(name)).await?;
    Ok(object.filter(|object| object.meta().uid.is_some()))
}

/// The chain behind the object: its last record, read from etcd, and what the status shows.
pub async fn chain<K: Buyer>(ctx: &Context, object: &K, key: &ChainKey) -> Result<Chain, Error> {
    let status = object.status();
    let tail = ctx.ledger.tail(key).await?;
    let named = K::operation(&status).map(|operation| RecordName::new(&operation.name));
    let missing = match named {
        Some(named)
            if tail
                .as_ref()
                .is_none_or(|tail| key.attempt(&named) > Some(tail.spec.attempt)) =>
        {
            ctx.ledger.get(&named).await?.is_none().then_some(named)
        }
        Some(_) | None => None,
    };
    // A record that this process made, and that is gone before the status could name it.
    let next = key.record(
        tail.as_ref()
            .map_or(0, |tail| tail.spec.attempt)
            .saturating_add(1),
    );
    let missing = missing.or_else(|| Some(next).filter(|next| ctx.desk.has_claimed(next)));
    let tail = tail.map(|tail| api::record(&tail)).transpose();
    let (tail, unreadable) = match tail {
        Ok(tail) => (tail, None),
        Err(error) => (None, Some(error)),
    };
    let namespace = object.meta().namespace.clone().unwrap_or_default();
    let paid_calls = ctx.ledger.paid_calls(ctx.now());
    Ok(Chain {
        instance: ctx.settings.instance.clone(),
        following: tail
            .as_ref()
            .and_then(|tail| ctx.desk.followed(&tail.name).trouble),
        unreadable: unreadable.as_ref().map(InvalidRecord::to_string),
        tail,
        missing,
        shown_quote: K::quote(&status).and_then(api::shown_quote),
        stalled_since: conditions::find(K::conditions(&status), "Stalled")
            .map(|stalled| stalled.last_transition_time.0),
        brakes: Brakes {
            read_only: ctx.settings.read_only,
            cap_reached: ctx.settings.most_paid_calls.filter(|cap| paid_calls >= *cap),
            key_not_before: ctx.ledger.key_not_before(&namespace, &object.credentials().name),
        },
    })
}
