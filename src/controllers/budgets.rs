//! Keeps the status of the budgets, and wakes the objects that wait for one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::runtime::WatchStreamExt;
use kube::{Api, ResourceExt};
use tokio::sync::Notify;

use super::approvals::Place;
use super::context::Context;
use super::news::News;
use super::observe::SOON;
use crate::api;
use crate::api::budget::VpsBudget;
use crate::api::stored::Stored;
use crate::cluster::api_call::{self, ApiError};
use crate::cluster::watch::watch;
use crate::domain::ledger::budget::Position;

/// Between two tries to read the budgets.
const AFTER_A_FAILURE: Duration = Duration::from_secs(5);

/// The objects that wait for a budget.
#[derive(Default)]
pub struct OverBudget(Mutex<BTreeSet<Place>>);

impl OverBudget {
    /// The object waits for a budget, or does not.
    pub fn note(&self, place: Place, waits: bool) {
        if waits {
            self.lock().insert(place);
        } else {
            self.lock().remove(&place);
        }
    }

    fn all(&self) -> Vec<Place> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what the records and the budgets come to, when one of them has changed, and at intervals: the labels of a
/// Namespace may have changed too.
pub async fn keep(ctx: Arc<Context>) {
    let changed = Notify::new();
    let watching = async {
        let all: Api<Stored<VpsBudget>> = Api::all(ctx.books.client.clone());
        let hooks = ctx.hooks.clone();
        let told = move |life| hooks.watch("vpsbudget", "", life);
        let mut events = watch(all, told).default_backoff().boxed();
        let mut news = News::default();
        // The watch says that something is new; what it is, is read. A status is not: two active processes that count
        // differently would write it in turn.
        loop {
            match events.try_next().await {
                Ok(None) => break,
                Ok(Some(event)) if !news.brings(&event) => {}
                Ok(Some(_)) | Err(_) => changed.notify_one(),
            }
        }
    };
    let keeping = async {
        let mut before = BTreeMap::new();
        loop {
            let interval = ctx.books.chance.jittered(ctx.settings.times.gate_interval);
            tokio::select! {
                biased;
                () = changed.notified() => {}
                () = ctx.books.ledger.changed(), if !before.is_empty() => {}
                () = tokio::time::sleep(interval), if !before.is_empty() => {}
            }
            let pause = match round(&ctx, &before).await {
                Ok(now) => {
                    before = now;
                    SOON.min(ctx.settings.times.poll_interval)
                }
                Err(error) => {
                    tracing::warn!(%error, "the budgets cannot be read; trying again");
                    changed.notify_one();
                    AFTER_A_FAILURE
                }
            };
            tokio::time::sleep(ctx.books.chance.jittered(pause)).await;
        }
    };
    futures::join!(watching, keeping);
}

/// The budgets as they were seen last: the generation, and where the limits stood.
type Seen = BTreeMap<String, (Option<i64>, Vec<Position>)>;

/// Reads the budgets, writes where they stand, and wakes who waits if more is left than before.
async fn round(ctx: &Context, before: &Seen) -> Result<Seen, ApiError> {
    let now = ctx.now();
    let listed = ctx.books.budgets.read(&ctx.books.ledger, None, now).await?;
    let mut positions: BTreeMap<String, Vec<Position>> = BTreeMap::new();
    for position in ctx.books.ledger.positions(&ctx.books.budgets, now) {
        positions
            .entry(position.budget.clone())
            .or_default()
            .push(position);
    }
    let mut seen = Seen::new();
    for stored in listed.budgets {
        let name = stored.name_any();
        let generation = match &stored.0 {
            Ok(budget) => budget.metadata.generation,
            Err(unreadable) => unreadable.metadata.generation,
        };
        let stands = positions.remove(&name).unwrap_or_default();
        match stored.0 {
            // Where labels cannot be read, more is counted than there is. Another installation may know better.
            Ok(_) if !listed.all_labels => {
                tracing::warn!(budget = %name, "the operator may not read the labels of all Namespaces that have bought \
                    something, so it counts them for each VpsBudget and writes no status; give it the right to get Namespaces");
            }
            Ok(budget) => {
                if let Err(error) = write(ctx, budget, &stands).await {
                    tracing::warn!(%error, budget = %name, "the status of a VpsBudget cannot be written");
                }
            }
            Err(unreadable) => {
                tracing::error!(budget = %name, why = %unreadable.why, "a VpsBudget cannot be read; nothing is bought");
            }
        }
        seen.insert(name, (generation, stands));
    }
    let leaves_more = before.iter().any(|(name, (generation, stood))| {
        seen.get(name).is_none_or(|(now, stand)| {
            let more = |(stands, stood): (&Position, &Position)| stands.left() > stood.left();
            now != generation || stand.iter().zip(stood).any(more)
        })
    });
    if leaves_more || seen.len() > before.len() {
        for Place {
            kind,
            namespace,
            name,
        } in ctx.over_budget.all()
        {
            ctx.books.wakes.object(kind, &namespace, &name);
        }
    }
    Ok(seen)
}

/// Writes where a budget stands, if its status says otherwise.
async fn write(ctx: &Context, mut budget: VpsBudget, stands: &[Position]) -> Result<(), ApiError> {
    let read = api::budget(&budget);
    let standing = read.as_ref().map(|_| stands);
    let status = api::budget_status(&budget, standing, ctx.now());
    if budget.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let name = budget.name_any();
    budget.status = Some(status);
    budget.metadata.annotations = None;
    let all: Api<VpsBudget> = Api::all(ctx.books.client.clone());
    match api_call::within(all.replace_status(&name, &api_call::by_us(), &budget)).await {
        Err(error) if !error.is_gone() && !error.is_conflict() => Err(error),
        // A change that came first is seen by the watch.
        _ => Ok(()),
    }
}
