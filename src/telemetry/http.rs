//! `/livez`, `/readyz` and `/metrics`.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use kube::Client;
use socket2::{Domain, Protocol, Socket, Type};
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
    pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
        first_that_opens(address, listen)
    }

    /// Serves until the process ends.
    pub async fn serve(self, listener: TcpListener) {
        let routes = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "the HTTP server has ended");
        }
    }
}

/// `[::]` is opened as what the node has: both families, or IPv4 alone.
fn first_that_opens<L>(
    address: SocketAddr,
    open: impl Fn(SocketAddr) -> std::io::Result<L>,
) -> std::io::Result<L> {
    match open(address) {
        // A node without IPv6 has no such sockets, or no such address.
        Err(error)
            if is_any_v6(address)
                && !matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) =>
        {
            open((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        opened => opened,
    }
}

fn is_any_v6(address: SocketAddr) -> bool {
    address.ip() == Ipv6Addr::UNSPECIFIED
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if is_any_v6(address) {
        // Whatever the node's default is, IPv4 is served too.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

async fn ready(State(probes): State<Probes>) -> (StatusCode, &'static str) {
    if !probes.crds_seen.load(Ordering::Relaxed) {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the operator has not found the CRDs yet\n",
        );
    }
    if probes.metrics.ledger_is_silent() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the watch of the VpsOperations has received nothing for minutes\n",
        );
    }
    match tokio::time::timeout(REACHABLE_WITHIN, probes.client.apiserver_version()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ok\n"),
        // Without credentials that it knows nothing can be read or written.
        Ok(Err(kube::Error::Api(status))) if status.code == 401 => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the API server does not accept the operator's credentials\n",
        ),
        // A cluster may keep its version to itself; whoever refuses was reached.
        Ok(Err(kube::Error::Api(status))) if (400..500).contains(&status.code) => (StatusCode::OK, "ok\n"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_that_of_both_families_and_of_ipv4_where_there_is_no_ipv6() {
        let without_v6 = |kind: ErrorKind| {
            move |address: SocketAddr| match address {
                SocketAddr::V6(_) => Err(std::io::Error::from(kind)),
                SocketAddr::V4(address) => Ok(address.to_string()),
            }
        };
        let opens = |address: &str, kind| first_that_opens(address.parse().unwrap(), without_v6(kind));
        for kind in [
            ErrorKind::AddrNotAvailable,
            ErrorKind::Unsupported,
            ErrorKind::Other,
        ] {
            assert_eq!(opens("[::]:8080", kind).unwrap(), "0.0.0.0:8080");
        }
        assert!(opens("[::]:8080", ErrorKind::AddrInUse).is_err());
        assert!(opens("[::1]:8080", ErrorKind::Unsupported).is_err());
        assert_eq!(
            opens("127.0.0.1:8080", ErrorKind::Unsupported).unwrap(),
            "127.0.0.1:8080"
        );
    }

    #[tokio::test]
    async fn the_default_serves_both_families() {
        let listener = Probes::bind("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut hosts = vec!["127.0.0.1"];
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            hosts.push("::1");
        }
        for host in hosts {
            let connected = tokio::net::TcpStream::connect((host, port)).await;
            assert!(connected.is_ok(), "{host}");
        }
    }
}
