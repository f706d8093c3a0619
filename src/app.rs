//! Wiring, and the order of start and stop.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api::budget::VpsBudget;
use crate::api::config::VpsResourceConfig;
use crate::api::operation::VpsOperation;
use crate::api::restore::VpsBackupRestore;
use crate::api_server;
use crate::args::{self, Proxies, Run};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::cluster::api_call::{self, ApiError};
use crate::cluster::lease::Election;
use crate::controllers::context::RunConfig;
use crate::controllers::policies;
use crate::controllers::run as controllers;
use crate::controllers::settings::{Settings, WatchedNamespaces};
use crate::controllers::telemetry_hooks::TelemetryHooks;
use crate::domain::values::ids::InstanceId;
use crate::hostup::{self, HostUp, Http, Way};
use crate::telemetry::http::Probes;
use crate::telemetry::metrics::{Listener, Metrics};

/// How long the API server and the CRDs are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where a pod finds the name of its own namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Why the operator does not run (any more).
#[derive(Debug, Error)]
pub enum Failure {
    /// A problem that the admin can fix; exit code 2.
    #[error("{0}")]
    Setup(String),
    /// The Lease was lost; the process ends so that nothing of it goes on. Exit code 1.
    #[error("{0}")]
    Deposed(String),
}

/// Runs the operator until it is told to stop.
///
/// # Errors
/// [`Failure`].
pub async fn run(args: Run) -> Result<(), Failure> {
    let origin = args.origin().map_err(Failure::Setup)?;
    args.check().map_err(Failure::Setup)?;
    let clock = Clock::of_the_machine();
    let chance = Chance::of_the_machine();
    let metrics = Arc::new(Metrics::default());
    let calls = metrics.clone();
    let way = Way {
        proxy: args.hostup_proxy.clone(),
        trusted: trusted(&args)?,
    };
    let http = Http::new(way, args.request_timeout)
        .map_err(|error| Failure::Setup(format!("the HTTP client for HostUp cannot be created: {error}")))?;
    let hostup = HostUp::new(
        origin,
        Arc::new(http),
        clock.clone(),
        args.request_timeout,
        Arc::new(move |route, class, took| calls.provider_call(route, class, took)),
    );
    let environment = args::proxies();
    tell_of_unused_proxies(&args, &environment);
    let lease_namespace = lease_namespace(&args)?;
    let stop = stop_on_signals()?;
    let client = api_server::connect(&environment, metrics.clone())
        .await
        .map_err(|error| {
            Failure::Setup(format!(
                "the cluster cannot be reached: {error}; check KUBECONFIG or the pod's ServiceAccount"
            ))
        })?;
    let probes = Probes::new(client.clone(), metrics.clone());
    let listener = Probes::bind(args.listen).map_err(|error| {
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
    wait_for_crds(&client, &clock, &watched).await?;
    probes.crds_seen();
    let settings = Settings {
        instance: instance(&client, &args).await?,
        watched,
        namespace: lease_namespace.clone(),
        read_only: args.read_only,
        caps: args.caps(),
        in_place_restore: args.enable_in_place_restore,
        legacy_upgrade: args.enable_legacy_upgrade,
        workers: args.workers,
        times: args.times(),
    };
    tracing::info!(instance = %settings.instance, watched = ?settings.watched, read_only = settings.read_only, "ready");
    let hooks: Arc<dyn TelemetryHooks> = Arc::new(Listener {
        metrics: metrics.clone(),
        clock: clock.clone(),
    });
    let guarding = tokio::spawn(policies::watch(client.clone(), hooks.clone()));
    let config = RunConfig {
        clock,
        chance,
        client: client.clone(),
        hostup,
        settings,
        hooks,
    };
    let ended = if args.leader_elect {
        lead(&lease_namespace, client, config, metrics, stop).await
    } else {
        metrics.leads(true);
        controllers::run(config, stop, |context| metrics.attach(context)).await;
        Ok(())
    };
    guarding.abort();
    serving.abort();
    ended
}

/// Leads, runs the controllers, and lets the Lease go last.
async fn lead(
    lease_namespace: &str,
    client: Client,
    config: RunConfig,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let attach = |context| metrics.attach(context);
    let identity = identity(&config.chance);
    let mut election = Election::new(client, lease_namespace, identity, config.clock.clone());
    tokio::select! {
        () = election.win() => {}
        () = stop.cancelled() => return Ok(()),
    }
    metrics.leads(true);
    tracing::info!("leading");
    let controllers_stop = stop.child_token();
    let mut controllers = std::pin::pin!(controllers::run(config, controllers_stop.clone(), attach));
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
            tracing::info!("stopping; paid calls in progress are finished first");
            stop.cancel();
        });
    }
    Ok(stop)
}

fn watched(args: &Run) -> WatchedNamespaces {
    if args.watch_namespaces.is_empty() {
        WatchedNamespaces::All
    } else {
        WatchedNamespaces::Only(args.watch_namespaces.clone())
    }
}

/// Waits for the API server and for all CRDs. A namespace that the operator may not read keeps no other from
/// being served.
async fn wait_for_crds(client: &Client, clock: &Clock, watched: &WatchedNamespaces) -> Result<(), Failure> {
    let started = clock.now().monotonic;
    let operations: Api<VpsOperation> = Api::all(client.clone());
    loop {
        let all = async {
            can_list(&operations).await?;
            can_list(&Api::<VpsBudget>::all(client.clone())).await?;
            match watched {
                WatchedNamespaces::All => {
                    can_list(&Api::<VpsBackupRestore>::all(client.clone())).await?;
                    can_list(&Api::<VpsResourceConfig>::all(client.clone())).await?;
                    Ok(Vec::new())
                }
                WatchedNamespaces::Only(names) => unread(client, names).await,
            }
        };
        let missing = match all.await {
            Ok(unread) => {
                for (namespace, error) in unread {
                    tracing::warn!(%namespace, %error, "objects of this namespace are not reconciled until the operator can read it; check that it exists and is bound to the operator's role");
                }
                return Ok(());
            }
            Err(error) => error,
        };
        if missing.is_forbidden() {
            return Err(Failure::Setup(format!(
                "the ServiceAccount lacks rights: {missing}; apply deploy/rbac.yaml, or install the chart with rbac.create"
            )));
        }
        if clock.elapsed(started) >= PATIENCE {
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
}

/// The namespaces whose objects the operator may not list, and why.
async fn unread<'a>(client: &Client, names: &'a [String]) -> Result<Vec<(&'a String, ApiError)>, ApiError> {
    let mut unread = Vec::new();
    for name in names {
        let restores = Api::<VpsBackupRestore>::namespaced(client.clone(), name);
        let configs = Api::<VpsResourceConfig>::namespaced(client.clone(), name);
        let listed = match can_list(&restores).await {
            Ok(()) => can_list(&configs).await,
            Err(error) => Err(error),
        };
        match listed {
            Ok(()) => {}
            Err(error) if error.is_forbidden() => unread.push((name, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(unread)
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
    if let Some(given) = &args.instance_id {
        return Ok(given.clone());
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let read = api_call::within(namespaces.get("kube-system")).await;
    let uid = read.map(|namespace| namespace.metadata.uid);
    match uid {
        Ok(uid) => InstanceId::parse(uid.unwrap_or_default().trim()).ok_or_else(|| {
            Failure::Setup("the namespace kube-system has no usable uid; set --instance-id".to_owned())
        }),
        Err(error) => Err(Failure::Setup(format!(
            "the namespace kube-system cannot be read ({error}); set --instance-id"
        ))),
    }
}

fn lease_namespace(args: &Run) -> Result<String, Failure> {
    if let Some(given) = &args.operator_namespace {
        return Ok(given.clone());
    }
    match std::fs::read_to_string(POD_NAMESPACE) {
        Ok(of_the_pod) => args::namespace(of_the_pod.trim())
            .map_err(|error| Failure::Setup(format!("{POD_NAMESPACE}: {error}; set --operator-namespace"))),
        Err(_) => Ok("hostup-system".to_owned()),
    }
}

/// The further certificates of `--hostup-ca-file`.
fn trusted(args: &Run) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let Some(file) = &args.hostup_ca_file else {
        return Ok(Vec::new());
    };
    let read = std::fs::read(file).map_err(|error| error.to_string());
    read.and_then(|pem| hostup::certificates(&pem)).map_err(|wrong| {
        Failure::Setup(format!(
            "--hostup-ca-file {}: {wrong}; set it to a PEM file of certificates",
            file.display()
        ))
    })
}

/// Whoever sets the environment's proxies expects them to be used; for HostUp they are not.
fn tell_of_unused_proxies(args: &Run, environment: &Proxies) {
    let named = environment
        .keys()
        .filter(|name| !name.eq_ignore_ascii_case("NO_PROXY"));
    let named: Vec<&str> = named.copied().collect();
    if !named.is_empty() {
        let instead = if args.hostup_proxy.is_some() {
            "the operator reaches HostUp through --hostup-proxy"
        } else {
            "if HostUp can be reached only through a proxy, set --hostup-proxy"
        };
        let named = named.join(", ");
        tracing::info!("{named} of the environment is not used for HostUp; {instead}");
    }
}

/// A name that no other process has, also not this one after a restart.
fn identity(chance: &Chance) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = chance.bytes().map_or(0, u64::from_ne_bytes);
    format!("{}_{random:016x}", host.trim())
}
