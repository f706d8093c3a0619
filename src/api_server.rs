//! How the API server is reached: as kubectl does, through a proxy where one is named.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use http::{HeaderValue, Response, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use percent_encoding::percent_decode_str;
use tower::{BoxError, ServiceBuilder};
use url::Url;

use crate::args::Proxies;
use crate::cluster::api_call::with_causes;
use crate::domain::values::text::Text;
use crate::telemetry::api_calls::CountApiCalls;
use crate::telemetry::metrics::Metrics;

/// A client without automatic retries, with TCP_NODELAY: a claim must not be repeated behind our back,
/// and a small write must not wait for an acknowledgement.
///
/// # Errors
/// A line that says what is wrong with the kubeconfig, the ServiceAccount or the proxy.
pub async fn connect(environment: &Proxies, metrics: Arc<Metrics>) -> Result<Client, String> {
    let config = Config::infer().await.map_err(|error| line(&error))?;
    let named = Kubeconfig::read()
        .ok()
        .and_then(|kubeconfig| proxy_of(kubeconfig, None));
    reach(config, named, environment, Some(metrics))
}

/// A client with the rights of a user, as kubectl makes it: of this kubeconfig or of those that kubectl reads, with this
/// context or the current one. In a pod without a kubeconfig, with those of the pod.
///
/// # Errors
/// A line that says what is wrong with the kubeconfig or the proxy.
pub async fn connect_as_user(
    file: Option<&Path>,
    context: Option<&str>,
    environment: &Proxies,
) -> Result<Client, String> {
    let read = match file {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(error) if file.is_some() || context.is_some() => return Err(line(&error)),
        Err(_) => {
            let config = Config::infer().await.map_err(|error| line(&error))?;
            return reach(config, None, environment, None);
        }
    };
    let named = proxy_of(kubeconfig.clone(), context);
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let config = config.map_err(|error| line(&error))?;
    reach(config, named, environment, None)
}

/// An error as one line: a broken kubeconfig is quoted over several.
fn line(error: &dyn std::error::Error) -> String {
    Text::bounded(&with_causes(error), 600).to_string()
}

fn reach(
    mut config: Config,
    named: Option<String>,
    environment: &Proxies,
    metrics: Option<Arc<Metrics>>,
) -> Result<Client, String> {
    config.default_retry = false;
    // kube takes the environment's proxy whatever NO_PROXY says.
    config.proxy_url = None;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    tcp.set_connect_timeout(Some(Duration::from_secs(10)));
    let Some(proxy) = proxy_to(&config.cluster_url, named, environment)? else {
        return client(&config, tcp, metrics).map_err(|error| line(&error));
    };
    let made = match proxy.scheme() {
        "http" => client(&config, tunnel(tcp, &proxy)?, metrics),
        "https" => {
            let tls = config.rustls_https_connector_with_connector(tcp);
            let tls = tls.map_err(|error| line(&error))?;
            client(&config, tunnel(tls, &proxy)?, metrics)
        }
        "socks5" | "socks5h" => client(&config, socks(tcp, &proxy)?, metrics),
        other => return Err(format!("the API server's proxy is of an unknown kind, {other}")),
    };
    made.map_err(|error| line(&error))
}

fn client<C>(config: &Config, connector: C, metrics: Option<Arc<Metrics>>) -> Result<Client, kube::Error>
where
    C: tower::Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: hyper_util::client::legacy::connect::Connection
        + hyper::rt::Read
        + hyper::rt::Write
        + Send
        + Unpin
        + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let https = config.rustls_https_connector_with_connector(connector)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer()?)
        .option_layer(config.auth_layer()?)
        .map_result(answered)
        .option_layer(metrics.map(CountApiCalls))
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

/// The answer, if its status is a success or an error. kube takes every other status for success, that of a redirect to a
/// login page too.
///
/// # Errors
/// The error that came instead of an answer, or one that names the status.
pub fn answered<B, E: Into<BoxError>>(answer: Result<Response<B>, E>) -> Result<Response<B>, BoxError> {
    let answer = answer.map_err(E::into)?;
    let status = answer.status();
    if status.is_success() || status.is_client_error() || status.is_server_error() {
        return Ok(answer);
    }
    let code = status.as_u16();
    Err(format!("the API server, or a proxy before it, answered with status {code}").into())
}

/// The proxy's address as a connector takes it, without user and password.
fn uri(proxy: &Url) -> Result<Uri, String> {
    let host = proxy.host_str().unwrap_or_default();
    let port = proxy.port_or_known_default().unwrap_or(1080);
    let scheme = if proxy.scheme() == "https" {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{host}:{port}")
        .parse()
        .map_err(|_| "the address of the API server's proxy cannot be read".to_owned())
}

fn user_and_password(proxy: &Url) -> Option<(String, String)> {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let password = proxy.password().unwrap_or_default();
    (!proxy.username().is_empty()).then(|| (plain(proxy.username()), plain(password)))
}

fn tunnel<C>(connector: C, proxy: &Url) -> Result<Tunnel<C>, String> {
    let tunnel = Tunnel::new(uri(proxy)?, connector);
    let Some((user, password)) = user_and_password(proxy) else {
        return Ok(tunnel);
    };
    let basic = format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()));
    let basic = HeaderValue::try_from(basic).map_err(|error| error.to_string())?;
    Ok(tunnel.with_auth(basic))
}

fn socks<C>(connector: C, proxy: &Url) -> Result<SocksV5<C>, String> {
    let socks = SocksV5::new(uri(proxy)?, connector);
    Ok(match user_and_password(proxy) {
        Some((user, password)) => socks.with_auth(user, password),
        None => socks,
    })
}

/// The proxy that kubectl would use: that of the kubeconfig whatever `NO_PROXY` says, else the environment's.
fn proxy_to(server: &Uri, named: Option<String>, environment: &Proxies) -> Result<Option<Url>, String> {
    if let Some(named) = named {
        return parse(&named, "proxy-url of the kubeconfig").map(Some);
    }
    let variable = |names: [&'static str; 2]| {
        let mut set = names
            .into_iter()
            .filter_map(|name| Some((name, environment.get(name)?)));
        set.next()
    };
    let named = match server.scheme_str() {
        Some("http") => variable(["HTTP_PROXY", "http_proxy"]),
        _ => variable(["HTTPS_PROXY", "https_proxy"]),
    };
    let Some((name, named)) = named else {
        return Ok(None);
    };
    let spared = variable(["NO_PROXY", "no_proxy"]).map_or("", |(_, spared)| spared);
    let port = server
        .port_u16()
        .unwrap_or(if server.scheme_str() == Some("http") {
            80
        } else {
            443
        });
    if is_spared(server.host().unwrap_or_default(), port, spared) {
        return Ok(None);
    }
    parse(named, name).map(Some)
}

/// The `proxy-url` of the cluster that this context of the kubeconfig names, or its current one.
fn proxy_of(kubeconfig: Kubeconfig, context: Option<&str>) -> Option<String> {
    let current = context.map(str::to_owned).or(kubeconfig.current_context)?;
    let context = kubeconfig
        .contexts
        .into_iter()
        .find(|context| context.name == current)?;
    let cluster = context.context?.cluster;
    let named = kubeconfig
        .clusters
        .into_iter()
        .find(|named| named.name == cluster)?;
    named.cluster?.proxy_url.filter(|url| !url.trim().is_empty())
}

/// The address of a proxy; one without a scheme is an HTTP proxy. It stands in no error, for it may hold a password.
fn parse(named: &str, place: &str) -> Result<Url, String> {
    let named = named.trim();
    let read = if named.contains("://") {
        Url::parse(named)
    } else {
        Url::parse(&format!("http://{named}"))
    };
    let read = read.ok();
    read.filter(Url::has_host).ok_or_else(|| {
        format!("{place} is not the address of a proxy; write it like http://proxy.example:3128")
    })
}

/// Whether `NO_PROXY` names the server, by the rules of Go's programs: addresses, networks, names with all that
/// is below them, each with or without a port, and `*`. What is on this host is never reached through a proxy.
fn is_spared(host: &str, port: u16, no_proxy: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase())
        .any(|entry| {
            if entry == "*" {
                return true;
            }
            if let Some(network) = entry.split_once('/') {
                return address.is_some_and(|address| is_in(address, network));
            }
            let (named, named_port) = with_port(&entry);
            if named_port.is_some_and(|named_port| named_port != port.to_string()) {
                return false;
            }
            if let Ok(named) = named.parse::<IpAddr>() {
                return address == Some(named);
            }
            let below = named
                .strip_prefix('*')
                .filter(|rest| rest.starts_with('.'))
                .unwrap_or(named);
            match below.strip_prefix('.') {
                _ if below.is_empty() || address.is_some() => false,
                Some(_) => host.ends_with(below),
                None => host == below || host.ends_with(&format!(".{below}")),
            }
        })
}

/// A name or an address, and the port after it. An IPv6 address has one only behind brackets.
fn with_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if host.starts_with('[') && host.ends_with(']') => {
            (host.trim_matches(['[', ']']), Some(port))
        }
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        Some(_) | None => (entry.trim_matches(['[', ']']), None),
    }
}

fn is_in(address: IpAddr, (network, length): (&str, &str)) -> bool {
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    let differing = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if length <= 32 => {
            u128::from(address.to_bits() ^ network.to_bits()) >> (32 - length)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if length <= 128 => (address.to_bits()
            ^ network.to_bits())
        .checked_shr(128 - length)
        .unwrap_or_default(),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => return false,
    };
    differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_neither_success_nor_an_error_is_no_answer() {
        for (status, is_answer) in [
            (101, false),
            (200, true),
            (201, true),
            (302, false),
            (304, false),
            (404, true),
            (409, true),
            (503, true),
            (999, false),
        ] {
            let answer = Response::builder().status(status).body(());
            let answer = answered(answer);
            assert_eq!(answer.is_ok(), is_answer, "{status}");
        }
    }

    #[test]
    fn no_proxy_is_read_as_kubectl_reads_it() {
        for (host, port, no_proxy, spared) in [
            ("10.96.0.1", 443, "", false),
            ("10.96.0.1", 443, "10.96.0.0/12", true),
            ("10.96.0.1", 443, " .svc , 10.96.0.1 ,", true),
            ("10.96.0.1", 443, "10.96.0.1:443", true),
            ("10.96.0.1", 443, "10.96.0.1:6443", false),
            ("10.96.0.1", 443, "10.0.0.0/12", false),
            ("10.96.0.1", 443, "0.0.0.0/0", true),
            ("10.96.0.1", 443, "*", true),
            ("10.96.0.1", 443, "*.0.1", false),
            ("10.96.0.1", 443, "96.0.1", false),
            ("127.0.0.1", 6443, "", true),
            ("localhost", 6443, "", true),
            ("[::1]", 6443, "", true),
            ("[fd00::1]", 443, "fd00::/8", true),
            ("[fd00::1]", 443, "::/0", true),
            ("[fd00::1]", 443, "fd00::1", true),
            ("[fd00::1]", 443, "[fd00::1]:443", true),
            ("[fd00::1]", 443, "[fd00::1]:80", false),
            ("[fd00::1]", 443, "10.0.0.0/8", false),
            ("kubernetes.default.svc", 443, ".svc", true),
            ("kubernetes.default.svc", 443, "svc", true),
            ("kubernetes.default.svc", 443, "*.svc", true),
            ("kubernetes.default.svc", 443, "default.svc:443", true),
            ("kubernetes.default.svc", 443, "default.svc:6443", false),
            ("Kubernetes.Default.SVC", 443, "default.svc", true),
            ("kubernetes.default.svc", 443, ".kubernetes.default.svc", false),
            ("kubernetes.default.svc", 443, "ault.svc", false),
            ("kubernetes.default.svc", 443, ",,/,x/y,:,[", false),
        ] {
            assert_eq!(
                is_spared(host, port, no_proxy),
                spared,
                "{host}:{port} with {no_proxy:?}"
            );
        }
    }

    #[test]
    fn the_proxy_of_the_named_context_is_taken_and_else_that_of_the_current_one() {
        let text = "{current-context: a, contexts: [{name: a, context: {cluster: one}}, {name: b, context: {cluster: two}}], \
                    clusters: [{name: one, cluster: {proxy-url: 'http://one:1'}}, {name: two, cluster: {proxy-url: ' '}}, \
                    {name: three, cluster: {}}]}";
        let of = |context| proxy_of(Kubeconfig::from_yaml(text).unwrap(), context);
        assert_eq!(of(None).as_deref(), Some("http://one:1"));
        assert_eq!(of(Some("a")).as_deref(), Some("http://one:1"));
        assert_eq!((of(Some("b")), of(Some("c"))), (None, None));
    }

    #[test]
    fn a_proxy_is_named_with_or_without_a_scheme_and_its_password_in_no_error() {
        let read = |named| parse(named, "HTTPS_PROXY").map(|url| url.to_string());
        assert_eq!(read("proxy:3128").unwrap(), "http://proxy:3128/");
        assert_eq!(
            read(" http://me:pw@proxy:3128\n").unwrap(),
            "http://me:pw@proxy:3128/"
        );
        assert_eq!(read("socks5://proxy:1080").unwrap(), "socks5://proxy:1080");
        for bad in ["http://", "http://me:geheim@:1", "://", "me:geheim@pro xy"] {
            let said = read(bad).unwrap_err();
            assert!(
                said.starts_with("HTTPS_PROXY is not") && !said.contains("geheim"),
                "{said}"
            );
        }
    }
}
