//! Wiring, and the order of start and stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::client::{ClientBuilder, ConfigExt};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

use crate::api::config::VpsResourceConfig;
use crate::api::operation::VpsOperation;
use crate::api::restore::VpsBackupRestore;
use crate::args::Run;
use crate::controllers::api_call::{self, ApiError};
use crate::controllers::lease::Election;
use crate::controllers::observer::Observer;
use crate::controllers::policies;
use crate::controllers::run::{self as controllers, Parts};
use crate::controllers::settings::{Settings, Watched};
use crate::domain::ids::InstanceId;
use crate::domain::text::Text;
use crate::hostup::HostUp;
use crate::telemetry::api_calls::CountApiCalls;
use crate::telemetry::http::Probes;
use crate::telemetry::metrics::{Listener, Metrics};

/// How long the API server and the CRDs are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first Kubernetes that streams lists unless it is told not to.
const STREAMS_LISTS: (u32, u32) = (1, 34);

/// Why the operator does not run (any more).
#[derive(Debug, Error)]
pub enum Failure {
    /// Something that the admin can put right; exit code 2.
    #[error("{0}")]
    Setup(String),
    /// The Lease was lost; the process ends so that nothing of it goes on. Exit code 1.
    #[error("no longer the leader: {0}")]
    Deposed(String),
}

/// Runs the operator until it is told to stop.
///
/// # Errors
/// [`Failure`].
pub async fn run(args: Run) -> Result<(), Failure> {
    let origin = args.origin().map_err(Failure::Setup)?;
    args.check().map_err(Failure::Setup)?;
    let metrics = Arc::new(Metrics::default());
    let calls = metrics.clone();
    let hostup = HostUp::new(
        origin,
        args.request_timeout,
        usize::from(args.workers / 2),
        Arc::new(move |route, class, took| calls.provider_call(route, class, took)),
    )
    .map_err(|error| Failure::Setup(format!("the HTTP client for HostUp cannot be made: {error}")))?;
    let stop = stop_on_signals()?;
    let client = connect(metrics.clone()).await?;
    let probes = Probes::new(client.clone(), metrics.clone());
    let listener = Probes::bind(args.listen).await.map_err(|error| {
        Failure::Setup(format!(
            "--listen {}: {error}; choose another address",
            args.listen
        ))
    })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving /metrics, /livez and /readyz");
    }
    let serving = tokio::spawn(probes.clone().serve(listener));
    let watched = watched(&args);
    let streaming_lists = wait_for_crds(&client, &watched).await?;
    probes.crds_seen();
    let settings = Settings {
        instance: instance(&client, &args).await?,
        watched,
        read_only: args.read_only,
        most_paid_calls: Some(args.max_paid_calls).filter(|cap| *cap > 0),
        legacy_upgrade: args.enable_legacy_upgrade,
        workers: args.workers,
        times: args.times(),
    };
    tracing::info!(instance = %settings.instance, watched = ?settings.watched, read_only = settings.read_only, "ready");
    let observer: Arc<dyn Observer> = Arc::new(Listener(metrics.clone()));
    let guarding = tokio::spawn(policies::watch(client.clone(), observer.clone()));
    let parts = Parts {
        client: client.clone(),
        hostup,
        settings,
        observer,
        streaming_lists,
    };
    let ended = lead(&args, client, parts, metrics, stop).await;
    guarding.abort();
    serving.abort();
    ended
}

/// Leads if it must, runs the controllers, and lets the Lease go last.
async fn lead(
    args: &Run,
    client: Client,
    parts: Parts,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let attach = |context| metrics.attach(context);
    if !args.leader_elect {
        metrics.leads(true);
        controllers::run(parts, stop, attach).await;
        return Ok(());
    }
    let mut election = Election::new(client, &lease_namespace(args), identity());
    tokio::select! {
        () = election.win() => {}
        () = stop.cancelled() => return Ok(()),
    }
    metrics.leads(true);
    tracing::info!("leading");
    let controllers_stop = stop.child_token();
    let mut controllers = std::pin::pin!(controllers::run(parts, controllers_stop.clone(), attach));
    let lost = tokio::select! {
        () = &mut controllers => None,
        why = election.hold() => Some(why),
    };
    if let Some(why) = lost {
        metrics.leads(false);
        controllers_stop.cancel();
        controllers.await;
        return Err(Failure::Deposed(why));
    }
    election.release().await;
    Ok(())
}

fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut received =
            signal(kind).map_err(|error| Failure::Setup(format!("signals cannot be caught: {error}")))?;
        let stop = stop.clone();
        tokio::spawn(async move {
            received.recv().await;
            tracing::info!("told to stop; paid calls under way are finished first");
            stop.cancel();
        });
    }
    Ok(stop)
}

/// A client without automatic retries, with TCP_NODELAY: a claim must not be repeated behind our back,
/// and a small write must not wait for an acknowledgement.
async fn connect(metrics: Arc<Metrics>) -> Result<Client, Failure> {
    let unusable = |error: String| {
        // A broken kubeconfig is quoted over several lines.
        let error = Text::bounded(&error, 600);
        Failure::Setup(format!(
            "the cluster cannot be reached: {error}; check KUBECONFIG or the pod's ServiceAccount"
        ))
    };
    let mut config = Config::infer()
        .await
        .map_err(|error| unusable(error.to_string()))?;
    config.default_retry = false;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    tcp.set_connect_timeout(Some(Duration::from_secs(10)));
    let https = config
        .rustls_https_connector_with_connector(tcp)
        .map_err(|error| unusable(error.to_string()))?;
    if config.proxy_url.is_some() {
        return Err(unusable("a proxy to the API server is not supported".to_owned()));
    }
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(
            config
                .extra_headers_layer()
                .map_err(|error| unusable(error.to_string()))?,
        )
        .option_layer(config.auth_layer().map_err(|error| unusable(error.to_string()))?)
        .map_err(tower::BoxError::from)
        .layer(CountApiCalls(metrics))
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https));
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

fn watched(args: &Run) -> Watched {
    if args.watch_namespaces.is_empty() {
        Watched::All
    } else {
        Watched::Only(args.watch_namespaces.clone())
    }
}

/// Waits for the API server and for all CRDs; tells whether lists may be streamed.
async fn wait_for_crds(client: &Client, watched: &Watched) -> Result<bool, Failure> {
    let started = Instant::now();
    let restores: Api<VpsBackupRestore> = of_first_namespace(client, watched);
    let configs: Api<VpsResourceConfig> = of_first_namespace(client, watched);
    let operations: Api<VpsOperation> = Api::all(client.clone());
    loop {
        let all = async {
            can_list(&restores).await?;
            can_list(&configs).await?;
            can_list(&operations).await
        };
        let missing = match all.await {
            Ok(()) => break,
            Err(error) => error,
        };
        if missing.is_forbidden() {
            return Err(Failure::Setup(format!(
                "the ServiceAccount lacks rights: {missing}; apply the RBAC of deploy/"
            )));
        }
        if started.elapsed() >= PATIENCE {
            let what = if missing.is_not_found() {
                "the CRDs are not installed; run `hostup-operator crds | kubectl apply --server-side -f -`"
                    .to_owned()
            } else {
                format!("the API server cannot be used: {missing}; check KUBECONFIG and the network")
            };
            return Err(Failure::Setup(format!("after {} s: {what}", PATIENCE.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let version = api_call::within(client.apiserver_version()).await.ok();
    let number = |text: &str| text.trim_end_matches('+').parse::<u32>().ok();
    let minor = version.and_then(|version| Some((number(&version.major)?, number(&version.minor)?)));
    Ok(minor.is_some_and(|minor| minor >= STREAMS_LISTS))
}

fn of_first_namespace<K>(client: &Client, watched: &Watched) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match watched {
        Watched::All => Api::all(client.clone()),
        Watched::Only(names) => Api::namespaced(client.clone(), names.first().map_or("", String::as_str)),
    }
}

async fn can_list<K>(api: &Api<K>) -> Result<(), ApiError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    api_call::within(api.list_metadata(&ListParams::default().limit(1)))
        .await
        .map(drop)
}

async fn instance(client: &Client, args: &Run) -> Result<InstanceId, Failure> {
    if let Some(given) = args.instance_id.as_ref().filter(|given| !given.is_empty()) {
        return Ok(InstanceId::new(given));
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let read = api_call::within(namespaces.get("kube-system")).await;
    let uid = read.map(|namespace| namespace.metadata.uid);
    match uid {
        Ok(Some(uid)) => Ok(InstanceId::new(uid)),
        Ok(None) => Err(Failure::Setup(
            "the namespace kube-system has no uid; set --instance-id".to_owned(),
        )),
        Err(error) => Err(Failure::Setup(format!(
            "the namespace kube-system cannot be read ({error}); set --instance-id"
        ))),
    }
}

fn lease_namespace(args: &Run) -> String {
    let of_the_pod =
        || std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok();
    args.operator_namespace
        .clone()
        .filter(|given| !given.is_empty())
        .or_else(of_the_pod)
        .map_or_else(
            || "hostup-system".to_owned(),
            |namespace| namespace.trim().to_owned(),
        )
}

/// A name that no other process has, also not this one after a restart.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = getrandom::u64().unwrap_or_default();
    format!("{}_{random:016x}", host.trim())
}
