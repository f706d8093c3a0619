//! `/livez`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use kube::Client;
use tokio::net::TcpListener;

use super::metrics::Metrics;

/// The longest that the API server may take to be called reachable.
const REACHABLE_WITHIN: Duration = Duration::from_secs(3);

/// What the probes know.
#[derive(Clone)]
pub struct Probes {
    client: Client,
    metrics: Arc<Metrics>,
    crds_seen: Arc<AtomicBool>,
}

impl Probes {
    /// Not ready yet.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            metrics,
            crds_seen: Arc::default(),
        }
    }

    /// The CRDs are there.
    pub fn crds_seen(&self) {
        self.crds_seen.store(true, Ordering::Relaxed);
    }

    /// Takes the port.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    /// Serves until the process ends.
    pub async fn serve(self, listener: TcpListener) {
        let routes = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "the HTTP server ended");
        }
    }
}

async fn ready(State(probes): State<Probes>) -> (StatusCode, &'static str) {
    if !probes.crds_seen.load(Ordering::Relaxed) {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the CRDs have not been seen yet\n",
        );
    }
    if probes.metrics.ledger_is_silent() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the watch of the VpsOperations shows no life\n",
        );
    }
    match tokio::time::timeout(REACHABLE_WITHIN, probes.client.apiserver_version()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ok\n"),
        Ok(Err(_)) | Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the API server cannot be reached\n",
        ),
    }
}

/// In the format that is asked for; who asks for none of the two reads the older one.
async fn metrics(State(probes): State<Probes>, asked: HeaderMap) -> impl IntoResponse {
    let accepted = asked.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let newer = accepted.is_some_and(|formats| formats.contains("application/openmetrics-text"));
    let (format, text) = if newer {
        (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            probes.metrics.text(),
        )
    } else {
        (
            "text/plain; version=0.0.4; charset=utf-8",
            probes.metrics.older_text(),
        )
    };
    match text {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, format)], text),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            String::new(),
        ),
    }
}
