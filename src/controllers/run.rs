//! Starts the controllers and stops them in order: controllers first, then the paid calls that are
//! under way.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::future::join_all;
use futures::stream::PollNext;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store, store};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::heartbeat::Heartbeat;
use super::ledger::{self, Ledger, Watched as WatchedOperation};
use super::observer::{Observer, Reconcile};
use super::settings::{Settings, Watched};
use super::watch::watch;
use super::{Error, RETRY, api_call, config, jittered, operation, restore};
use crate::api::operation::VpsOperation;
use crate::api::restore::VpsBackupRestore;
use crate::domain::ids::SubjectKind;
use crate::hostup::HostUp;

/// How long the controllers may take to finish what they are at.
const DRAIN: Duration = Duration::from_secs(10);

/// A restore as it is watched: metadata only.
type WatchedRestore = PartialObjectMeta<VpsBackupRestore>;

/// What the controllers are made from.
pub struct Parts {
    /// The API server.
    pub client: Client,
    /// The provider.
    pub hostup: HostUp,
    /// What the admin decided.
    pub settings: Settings,
    /// Who listens.
    pub observer: Arc<dyn Observer>,
    /// Whether the watch of the records shows life; the client listens too.
    pub heartbeat: Heartbeat,
}

/// Runs every controller until `stop`, then waits for the paid calls that are under way, so that
/// their outcomes are recorded. `started` is given the context once it exists.
pub async fn run(parts: Parts, stop: CancellationToken, started: impl FnOnce(Arc<Context>)) {
    let Parts {
        client,
        hostup,
        settings,
        observer,
        heartbeat,
    } = parts;
    // A standby may have waited long.
    heartbeat.beat();
    let (records, writer) = store::<WatchedOperation>();
    let watched = settings.watched.clone();
    let (made, own) = unbounded();
    let ledger = Ledger::new(
        client.clone(),
        settings.instance.clone(),
        records.clone(),
        made,
        heartbeat,
    );
    let ctx = Arc::new(Context::new(
        client,
        hostup,
        settings,
        ledger,
        observer,
        stop.clone(),
    ));
    started(ctx.clone());

    let operations = operations(&ctx, own, records.clone(), writer, stop.clone());
    let buyers = async {
        // Counting paid calls and finding tails both need the whole ledger.
        tokio::select! {
            ready = records.wait_until_ready() => ready.is_ok(),
            () = stop.cancelled() => false,
        }
        .then_some(())?;
        ctx.ledger.completed();
        let namespaces = match watched {
            Watched::All => vec![None],
            Watched::Only(names) => names.into_iter().map(Some).collect(),
        };
        join_all(namespaces.into_iter().map(|namespace| async {
            futures::join!(
                restores(&ctx, namespace.clone(), stop.clone()),
                configs(&ctx, namespace, stop.clone())
            )
        }))
        .await;
        Some(())
    };
    let controllers = async { futures::join!(operations, buyers) };
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        _ = controllers => {}
        () = drained => tracing::warn!("the controllers did not finish in time"),
    }
    ctx.paid_calls.close();
    if !ctx.paid_calls.is_empty() {
        tracing::info!(calls = ctx.paid_calls.len(), "waiting for paid calls under way");
    }
    ctx.paid_calls.wait().await;
}

async fn operations(
    ctx: &Arc<Context>,
    own: UnboundedReceiver<VpsOperation>,
    records: Store<WatchedOperation>,
    writer: reflector::store::Writer<WatchedOperation>,
    stop: CancellationToken,
) {
    // The subject of a record that a person deletes may still name it.
    let deleted = ctx.clone();
    let alive = ctx.ledger.heartbeat().clone();
    let watched =
        watched::<DeserializeGuard<VpsOperation>>(ctx, Api::all(ctx.client.clone()), "vpsoperation", None)
            .inspect_ok(move |_| alive.beat());
    // What this process has made comes first, so that nothing newer of the watch is overwritten.
    let own = own.map(|record| Ok(watcher::Event::Apply(DeserializeGuard(Ok(record)))));
    let stream = stream::select_with_strategy(own, watched, |_: &mut ()| PollNext::Left)
        .modify(ledger::prune)
        .inspect_ok(move |event| {
            if let watcher::Event::Delete(DeserializeGuard(Ok(record))) = event {
                operation::wake(&deleted, &record.spec.subject);
            }
        })
        .reflect(writer);
    let stream = once_stored(stream);
    let reconcile = |seen: Arc<WatchedOperation>, ctx: Arc<Context>| {
        let name = seen.name_any();
        let work = operation::reconcile(seen, ctx.clone()).boxed();
        ctx.observer.reconcile("vpsoperation", "", &name, work)
    };
    Controller::for_stream(stream, records)
        .with_config(Config::default().concurrency(ctx.settings.workers))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, try_again, ctx.clone())
        .for_each(tell_of_a_failed_watch)
        .await;
}

async fn restores(ctx: &Arc<Context>, namespace: Option<String>, stop: CancellationToken) {
    let (objects, writer) = store::<WatchedRestore>();
    let stream = of_namespace::<WatchedRestore>(ctx, SubjectKind::VpsBackupRestore, namespace.as_deref())
        .modify(prune)
        .reflect(writer);
    let buyer = Buyer {
        kind: SubjectKind::VpsBackupRestore,
        namespace,
        stop,
    };
    buyer
        .drive(ctx, objects, stream, |namespace, name, ctx| {
            restore::reconcile(namespace, name, ctx).boxed()
        })
        .await;
}

async fn configs(ctx: &Arc<Context>, namespace: Option<String>, stop: CancellationToken) {
    let (objects, writer) = store::<config::Watched>();
    ctx.rivals.add(objects.clone());
    // What becomes of one matters to the others that want the same VPS: they wait for it, or behind it.
    let noting = ctx.clone();
    let stream = of_namespace::<config::Watched>(ctx, SubjectKind::VpsResourceConfig, namespace.as_deref())
        .modify(config::prune)
        .reflect(writer)
        .inspect_ok(move |event| config::note(&noting, event));
    let buyer = Buyer {
        kind: SubjectKind::VpsResourceConfig,
        namespace,
        stop,
    };
    buyer
        .drive(ctx, objects, stream, |namespace, name, ctx| {
            config::reconcile(namespace, name, ctx).boxed()
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
        None => Api::all(ctx.client.clone()),
        Some(namespace) => Api::namespaced(ctx.client.clone(), namespace),
    };
    watched(ctx, api, kind.singular(), namespace)
}

/// The events of one watch, tried again for ever, whatever becomes of its namespace.
fn watched<K>(
    ctx: &Context,
    api: Api<K>,
    kind: &'static str,
    namespace: Option<&str>,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + use<K>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let (observer, namespace) = (ctx.observer.clone(), namespace.unwrap_or_default().to_owned());
    watch(api, move |life| observer.watch(kind, &namespace, life)).default_backoff()
}

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
        look: fn(String, String, Arc<Context>) -> Reconcile,
    ) where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        // A status write of our own wakes nobody; a change of the spec or of an annotation does.
        let stream = once_stored(stream).predicate_filter(
            predicates::generation.combine(predicates::annotations),
            PredicateConfig::default(),
        );
        let (waker, wakes) = unbounded();
        let wake = move |namespace: &str, name: &str| {
            // A closed channel means that the controller has stopped, and with it the need.
            let _stopped = waker.unbounded_send(ObjectRef::new(name).within(namespace));
        };
        ctx.on_wake(self.kind, self.namespace, Box::new(wake));
        let kind = self.kind.singular();
        let reconcile = move |seen: Arc<K>, ctx: Arc<Context>| {
            let (namespace, name) = (seen.namespace().unwrap_or_default(), seen.name_any());
            let work = look(namespace.clone(), name.clone(), ctx.clone());
            ctx.observer.reconcile(kind, &namespace, &name, work)
        };
        Controller::for_stream(stream, objects)
            .with_config(Config::default().concurrency(ctx.settings.workers))
            .reconcile_on(wakes)
            .graceful_shutdown_on(self.stop.cancelled_owned())
            .run(reconcile, try_again, ctx.clone())
            .for_each(tell_of_a_failed_watch)
            .await;
    }
}

/// The objects to look at, each once it stands in the store. Those of a list stand there only when the
/// list is complete: to look sooner at one that was made while the watch was broken finds nothing, and
/// nothing would look again.
fn once_stored<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
) -> impl Stream<Item = watcher::Result<K>> {
    let listed = Vec::new();
    events
        .scan(listed, |listed, event| {
            let seen = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    Vec::new()
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listed.push(Ok(object));
                    Vec::new()
                }
                Ok(watcher::Event::InitDone) => std::mem::take(listed),
                Ok(watcher::Event::Apply(object)) => vec![Ok(object)],
                Ok(watcher::Event::Delete(_)) => Vec::new(),
                Err(error) => vec![Err(error)],
            };
            ready(Some(seen))
        })
        .flat_map(stream::iter)
}

/// The name, the version and the annotations are all that the store is asked for.
fn prune(object: &mut WatchedRestore) {
    let metadata = &mut object.metadata;
    metadata.managed_fields = None;
    metadata.labels = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// A watch that fails (for a right that is missing, say) must not look like peace.
fn tell_of_a_failed_watch<T>(ended: Result<T, controller::Error<Error, watcher::Error>>) -> Ready<()> {
    if let Err(error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_))) = ended {
        let error = api_call::with_causes(&error);
        tracing::warn!(%error, "a watch failed; it is opened again");
    }
    ready(())
}

fn try_again<K: Resource>(_object: Arc<K>, error: &Error, _ctx: Arc<Context>) -> Action {
    match error {
        Error::Api(error) if error.is_conflict() => {
            tracing::debug!(%error, "somebody else has written the object meanwhile; looking at it again");
        }
        Error::Api(_) | Error::Stopping | Error::Panicked => {
            tracing::warn!(%error, "a reconcile failed; trying again");
        }
    }
    Action::requeue(jittered(RETRY))
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
        let seen = once_stored(reflected).map(|seen| {
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
