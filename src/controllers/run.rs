//! Starts the controllers and stops them in order: controllers first, then the paid calls that are
//! under way.

use std::future::{Future, Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::future::join_all;
use futures::stream::PollNext;
use futures::{FutureExt, Stream, StreamExt, TryFutureExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::api::PartialObjectMeta;
use kube::runtime::controller::{self, Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store, store};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::context::{Context, RunConfig};
use super::news::News;
use super::observe::SeenVersion;
use super::rhythm::Rhythm;
use super::settings::WatchedNamespaces;
use super::telemetry_hooks::Reconcile;
use super::turns::{Place, Turn, Turns};
use super::{Error, approvals, budgets, operation, options, restore, vms};
use crate::api::operation::VpsOperation;
use crate::api::restore::VpsBackupRestore;
use crate::api::stored::Stored;
use crate::cluster::heartbeat::Heartbeat;
use crate::cluster::watch::{Life, watch};
use crate::cluster::{api_call, recent};
use crate::domain::values::ids::SubjectKind;
use crate::ledger::store::{Ledger, Watched as WatchedOperation, prune, tenant};

/// An object that nobody edits is looked at once in so long, unless the operator itself wants it sooner.
const LOOKED_AT_ONCE_IN: Duration = Duration::from_secs(2);

/// How long the controllers may take to finish what they are at.
const DRAIN: Duration = Duration::from_secs(10);

/// A restore as it is watched: metadata only.
type WatchedRestore = Stored<PartialObjectMeta<VpsBackupRestore>>;

/// Runs every controller until `stop`, then waits for the paid calls that are under way, so that
/// their outcomes are recorded. `started` is given the context once it exists.
pub async fn run(config: RunConfig, stop: CancellationToken, started: impl FnOnce(Arc<Context>)) {
    let (records, writer) = store::<WatchedOperation>();
    let watched = config.settings.watched.clone();
    let (made, own) = unbounded();
    let ledger = Ledger::new(
        config.client.clone(),
        config.settings.instance.clone(),
        made,
        Heartbeat::begin(config.clock.clone()),
        config.clock.clone(),
    );
    let ctx = Arc::new(Context::new(config, ledger, stop.clone()));
    started(ctx.clone());

    let operations = operations(&ctx, own, records.clone(), writer, stop.clone());
    let buyers = async {
        // Counting paid calls and finding tails both need the whole ledger.
        tokio::select! {
            biased;
            ready = records.wait_until_ready() => ready.is_ok(),
            () = stop.cancelled() => false,
        }
        .then_some(())?;
        ctx.books.ledger.completed();
        let namespaces = match watched {
            WatchedNamespaces::All => vec![None],
            WatchedNamespaces::Only(names) => names.into_iter().map(Some).collect(),
        };
        let buying = join_all(namespaces.into_iter().map(|namespace| async {
            futures::join!(
                restores(&ctx, namespace.clone(), stop.clone()),
                configs(&ctx, namespace, stop.clone())
            )
        }));
        tokio::select! {
            biased;
            _ = buying => {}
            () = Box::pin(vms::follow(ctx.clone())) => {}
            () = Box::pin(budgets::keep(ctx.clone())) => {}
        }
        Some(())
    };
    let controllers = async { futures::join!(operations, buyers) };
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    let forgetting = async {
        loop {
            tokio::time::sleep(recent::LASTS).await;
            ctx.books.forget_old();
        }
    };
    tokio::select! {
        biased;
        _ = controllers => {}
        () = forgetting => {}
        () = drained => tracing::warn!("the controllers did not finish in time"),
    }
    ctx.books.paid_calls.close();
    if !ctx.books.paid_calls.is_empty() {
        tracing::info!(
            calls = ctx.books.paid_calls.len(),
            "waiting for paid calls in progress"
        );
    }
    ctx.books.paid_calls.wait().await;
}

async fn operations(
    ctx: &Arc<Context>,
    own: UnboundedReceiver<VpsOperation>,
    records: Store<WatchedOperation>,
    writer: reflector::store::Writer<WatchedOperation>,
    stop: CancellationToken,
) {
    let noting = ctx.clone();
    let alive = ctx.books.ledger.heartbeat().clone();
    let heard = move |life| {
        if life == Life::Seen {
            alive.beat();
        }
    };
    let watched = watched::<WatchedOperation, _>(
        ctx,
        Api::all(ctx.books.client.clone()),
        "vpsoperation",
        None,
        heard,
    );
    // What this process has made comes first, so that nothing newer of the watch is overwritten.
    let own = own.map(|record| Ok(watcher::Event::Apply(Stored(Ok(record)))));
    let stream = stream::select_with_strategy(own, watched, |(): &mut ()| PollNext::Left)
        .try_filter_map(move |event| ready(Ok(operation::note(&noting, event))))
        .modify(prune)
        .reflect(writer);
    let stream = once_stored(stream, records.clone());
    let (waker, wakes) = unbounded();
    let caller = waker.clone();
    let wake = move |_: &str, name: &str| {
        // A closed channel means that the controller has stopped, and with it the need.
        let _stopped = waker.unbounded_send(ObjectRef::new(name));
    };
    ctx.books.wakes.of_records(Box::new(wake));
    let turns = Turns::new(ctx.settings.workers, move |(_, name)| {
        // As above.
        let _stopped = caller.unbounded_send(ObjectRef::new(name));
    });
    let of_reconcile = turns.clone();
    let reconcile = move |seen: Arc<WatchedOperation>, ctx: Arc<Context>| {
        let Some(turn) = begin(&of_reconcile, seen.as_ref(), tenant(&seen), &ctx) else {
            return ready(Ok(Action::await_change())).boxed();
        };
        let name = seen.name_any();
        let work = counted(&ctx, seen.clone(), operation::reconcile(seen, ctx.clone()));
        let work = ctx.hooks.reconcile("vpsoperation", "", &name, work);
        work.inspect(move |_| drop(turn)).boxed()
    };
    Controller::for_stream(stream, records)
        .with_config(unlimited())
        .trigger_backoff(AtOnce)
        .reconcile_on(wakes)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, try_again, ctx.clone())
        .for_each(|ended| tell_of_the_end(ended, |place| turns.gone(&place)))
        .await;
}

async fn restores(ctx: &Arc<Context>, namespace: Option<String>, stop: CancellationToken) {
    let (objects, writer) = store::<WatchedRestore>();
    let stream = of_namespace::<WatchedRestore>(ctx, SubjectKind::VpsBackupRestore, namespace.as_deref())
        .reflect(writer);
    let buyer = Buyer {
        kind: SubjectKind::VpsBackupRestore,
        namespace,
        stop,
    };
    buyer
        .drive(ctx, objects, stream, |seen, ctx| {
            restore::reconcile(seen, ctx).boxed()
        })
        .await;
}

async fn configs(ctx: &Arc<Context>, namespace: Option<String>, stop: CancellationToken) {
    let (objects, writer) = store::<options::Watched>();
    ctx.rivals.add(objects.clone());
    // What becomes of one matters to the others that want the same VPS: they wait for it, or behind it.
    let noting = ctx.clone();
    let stream = of_namespace::<options::Watched>(ctx, SubjectKind::VpsResourceConfig, namespace.as_deref())
        .modify(options::prune)
        .reflect(writer)
        .inspect_ok(move |event| options::note(&noting, event));
    let buyer = Buyer {
        kind: SubjectKind::VpsResourceConfig,
        namespace,
        stop,
    };
    buyer
        .drive(ctx, objects, stream, |seen, ctx| {
            options::reconcile(seen, ctx).boxed()
        })
        .await;
}

fn of_namespace<K>(
    ctx: &Context,
    kind: SubjectKind,
    namespace: Option<&str>,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api = match namespace {
        None => Api::all(ctx.books.client.clone()),
        Some(namespace) => Api::namespaced(ctx.books.client.clone(), namespace),
    };
    watched(ctx, api, kind.singular(), namespace, unheard)
}

/// The events of one watch, tried again for ever, whatever becomes of its namespace. `heard` is told of its life.
fn watched<K, F>(
    ctx: &Context,
    api: Api<K>,
    kind: &'static str,
    namespace: Option<&str>,
    heard: F,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + use<K, F>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    F: Fn(Life) + Send + 'static,
{
    let (hooks, namespace) = (ctx.hooks.clone(), namespace.unwrap_or_default().to_owned());
    let told = move |life| {
        heard(life);
        hooks.watch(kind, &namespace, life);
    };
    watch(api, told).default_backoff()
}

/// Only the hooks are told.
fn unheard(_life: Life) {}

/// The controller of one kind that buys, in one namespace or in all.
struct Buyer {
    kind: SubjectKind,
    namespace: Option<String>,
    stop: CancellationToken,
}

impl Buyer {
    async fn drive<K>(
        self,
        ctx: &Arc<Context>,
        objects: Store<K>,
        stream: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
        look: fn(SeenVersion, Arc<Context>) -> Reconcile,
    ) where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let rhythm = Arc::new(Rhythm::new(
            LOOKED_AT_ONCE_IN.min(ctx.settings.times.poll_interval),
        ));
        let (of_ctx, of_rhythm, kind) = (ctx.clone(), rhythm.clone(), self.kind);
        let forget = move |namespace: String, name: String| {
            of_ctx.failures.succeeded::<K>(&namespace, &name);
            of_rhythm.forget(&namespace, &name);
            of_ctx.forget(approvals::Place {
                kind,
                namespace,
                name,
            });
        };
        let of_event = forget.clone();
        let stream = stream.inspect_ok(move |event| {
            if let watcher::Event::Delete(object) = event {
                of_event(object.namespace().unwrap_or_default(), object.name_any());
            }
        });
        let mut news = News::default();
        let stream = stream.try_filter(move |event| ready(news.brings(event)));
        let stream = once_stored(stream, objects.clone());
        let (waker, wakes) = unbounded();
        let caller = waker.clone();
        let woken = rhythm.clone();
        let wake = move |namespace: &str, name: &str| {
            woken.wake(namespace, name);
            // A closed channel means that the controller has stopped, and with it the need.
            let _stopped = waker.unbounded_send(ObjectRef::new(name).within(namespace));
        };
        ctx.books
            .wakes
            .of_objects(self.kind, self.namespace, Box::new(wake));
        let kind = self.kind.singular();
        let turns = Turns::new(ctx.settings.workers, move |(namespace, name)| {
            // As above.
            let _stopped = caller.unbounded_send(ObjectRef::new(name).within(namespace));
        });
        let (of_reconcile, of_end) = (turns.clone(), turns);
        let reconcile = move |seen: Arc<K>, ctx: Arc<Context>| {
            let (namespace, name) = (seen.namespace().unwrap_or_default(), seen.name_any());
            let Some(turn) = begin(&of_reconcile, seen.as_ref(), &namespace, &ctx) else {
                return ready(Ok(Action::await_change())).boxed();
            };
            let edition = (
                seen.uid().unwrap_or_default(),
                seen.meta().generation.unwrap_or_default(),
            );
            if let Err(wait) = rhythm.look(&namespace, &name, edition, ctx.moment()) {
                return ready(Ok(Action::requeue(wait))).boxed();
            }
            let shown = SeenVersion {
                namespace: namespace.clone(),
                name: name.clone(),
                version: seen.resource_version(),
            };
            let work = counted(&ctx, seen, look(shown, ctx.clone()));
            let (rhythm, of, failed) = (rhythm.clone(), namespace.clone(), name.clone());
            let work = work.inspect_err(move |_| rhythm.wake(&of, &failed)).boxed();
            let work = ctx.hooks.reconcile(kind, &namespace, &name, work);
            work.inspect(move |_| drop(turn)).boxed()
        };
        Controller::for_stream(stream, objects)
            .with_config(unlimited())
            .trigger_backoff(AtOnce)
            .reconcile_on(wakes)
            .graceful_shutdown_on(self.stop.cancelled_owned())
            .run(reconcile, try_again, ctx.clone())
            .for_each(|ended| {
                tell_of_the_end(ended, |(namespace, name)| {
                    forget(namespace.clone(), name.clone());
                    of_end.gone(&(namespace, name));
                })
            })
            .await;
    }
}

/// [`Turns`] tells how many are looked at together.
fn unlimited() -> Config {
    Config::default().concurrency(0)
}

/// A watch that fails waits by itself; whoever is woken meanwhile does not.
struct AtOnce;

impl Iterator for AtOnce {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for AtOnce {
    fn reset(&mut self) {}
}

fn begin<K: Resource<DynamicType = ()>>(
    turns: &Arc<Turns>,
    object: &K,
    tenant: &str,
    ctx: &Context,
) -> Option<Turn> {
    let made = object.meta().creation_timestamp.as_ref().map(|made| made.0);
    let place = (object.namespace().unwrap_or_default(), object.name_any());
    let now = ctx.moment().monotonic;
    turns.begin(place, tenant, made.unwrap_or(Timestamp::MIN), now)
}

/// The objects to look at, each once it stands in the store. Those of a list stand there only when the
/// list is complete: to look sooner at one that was made while the watch was broken finds nothing, and
/// nothing would look again.
fn once_stored<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    stored: Store<K>,
) -> impl Stream<Item = watcher::Result<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let listed: Vec<ObjectRef<K>> = Vec::new();
    events
        .scan(listed, |listed, event| {
            let (seen, those) = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    (None, Vec::new())
                }
                Ok(watcher::Event::InitApply(object)) => {
                    // By name: the store holds the list already, and one copy is enough.
                    listed.push(ObjectRef::from_obj(&object));
                    (None, Vec::new())
                }
                Ok(watcher::Event::InitDone) => (None, std::mem::take(listed)),
                Ok(watcher::Event::Apply(object)) => (Some(Ok(object)), Vec::new()),
                Ok(watcher::Event::Delete(_)) => (None, Vec::new()),
                Err(error) => (Some(Err(error)), Vec::new()),
            };
            ready(Some((seen, those)))
        })
        .flat_map(move |(seen, those)| {
            let stored = stored.clone();
            let listed = those.into_iter().filter_map(move |which| stored.get(&which));
            stream::iter(seen.into_iter().chain(listed.map(|object| Ok(K::clone(&object)))))
        })
}

/// The work, and whether it went well.
fn counted<K: Resource<DynamicType = ()> + Send + Sync + 'static>(
    ctx: &Arc<Context>,
    object: Arc<K>,
    work: impl Future<Output = Result<Action, Error>> + Send + 'static,
) -> Reconcile {
    let ctx = ctx.clone();
    async move {
        let done = work.await;
        if done.is_ok() {
            let namespace = object.namespace().unwrap_or_default();
            ctx.failures.succeeded::<K>(&namespace, &object.name_any());
        }
        done
    }
    .boxed()
}

/// A watch that fails (for a right that is missing, say) must not look like peace. `gone` is told of an object that is
/// not there any more when its turn comes.
fn tell_of_the_end<T>(
    ended: Result<T, controller::Error<Error, watcher::Error>>,
    gone: impl FnOnce(Place),
) -> Ready<()> {
    match ended {
        Err(controller::Error::ObjectNotFound(object)) => {
            gone((object.namespace.unwrap_or_default(), object.name));
        }
        Err(error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_))) => {
            let error = api_call::with_causes(&error);
            tracing::warn!(%error, "a watch failed; the operator opens it again");
        }
        Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
    }
    ready(())
}

fn try_again<K: Resource<DynamicType = ()>>(object: Arc<K>, error: &Error, ctx: Arc<Context>) -> Action {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let wait = ctx
        .books
        .chance
        .jittered(ctx.failures.failed::<K>(&namespace, &name, error));
    match error {
        Error::Api(error) if error.is_conflict() => {
            tracing::debug!(%error, kind = %K::kind(&()), namespace, object = name,
                "the object has changed in the meantime; reconciling it again");
        }
        Error::Api(_) | Error::AnothersResult(..) | Error::Stopping | Error::CutShort | Error::Panicked => {
            tracing::warn!(%error, kind = %K::kind(&()), namespace, object = name, wait_seconds = wait.as_secs(),
                "a reconcile failed; trying again");
        }
    }
    Action::requeue(wait)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use watcher::Event;

    use super::*;

    fn object(name: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    #[test]
    fn what_a_broken_watch_missed_is_looked_at_only_once_the_store_has_it() {
        let (reader, writer) = store::<ConfigMap>();
        let events = vec![
            Event::Init,
            Event::InitApply(object("old")),
            Event::InitDone,
            Event::Apply(object("changed")),
            Event::Init,
            Event::InitApply(object("old")),
            Event::InitApply(object("missed")),
            Event::InitDone,
        ];
        let reflected = stream::iter(events.into_iter().map(Ok)).reflect(writer);
        let seen = once_stored(reflected, reader.clone()).map(|seen| {
            let name = seen.unwrap().name_any();
            assert!(
                reader.get(&ObjectRef::new(&name)).is_some(),
                "{name} is not there yet"
            );
            name
        });
        let seen: Vec<String> = seen.collect().now_or_never().unwrap();
        assert_eq!(seen, ["old", "changed", "old", "missed"]);
    }
}
