//! The ways to HostUp and to the API server that people's networks leave: proxies, company CAs, and what is said
//! where there is none.

use std::net::SocketAddr;

use control_plane::{Action, Gate};
use serde_json::Value;

use crate::support::proxied_env::{ProxiedEnv, claim, held, is_claim};
use crate::support::tls::{Ca, Listening, Proxy, Server, proxy, server};
use crate::support::{KEY, TestEnv, at, each_row, ready, reason};

const YEARS: (i32, i32) = (2000, 2100);

fn address(url: &str) -> SocketAddr {
    url.split("//")
        .nth(1)
        .unwrap()
        .trim_end_matches('/')
        .parse()
        .unwrap()
}

/// The simulator of an environment behind TLS, for `localhost`.
struct Secured {
    ca: Ca,
    folder: tempfile::TempDir,
    server: Listening<Server>,
}

impl Secured {
    fn of(env: &TestEnv) -> Self {
        let ca = Ca::new();
        let relays = Server::Relays(ca.signs("localhost", YEARS), address(&env.sim.url()));
        Self {
            ca,
            folder: tempfile::tempdir().unwrap(),
            server: server(relays),
        }
    }

    fn url(&self) -> String {
        format!("--hostup-url=https://localhost:{}", self.server.address.port())
    }

    fn ca(&self) -> String {
        format!("--hostup-ca-file={}", self.ca.file(&self.folder))
    }
}

fn through(proxy: &Listening<Proxy>) -> String {
    format!("--hostup-proxy=http://me:geheim@{}", proxy.address)
}

/// What cannot be reached, and what is said of it.
enum Unreachable {
    Url(String),
    Server(fn(&Ca) -> Server),
    /// Of a CA that nobody told the operator of.
    Untold(fn(&Ca) -> Server),
    Proxy(Proxy),
    ProxyAt(&'static str),
}

async fn is_told(row: &'static str, what: Unreachable, says: &'static str) {
    let env = TestEnv::new("way").await;
    let secured = Secured::of(&env);
    let (url, ca) = (secured.url(), secured.ca());
    let mut flags = vec![url, ca];
    let mut proxies = Vec::new();
    match what {
        Unreachable::Url(url) => flags = vec![format!("--hostup-url={url}"), "--allow-plain-http".to_owned()],
        Unreachable::Server(does) => secured.server.does(does(&secured.ca)),
        Unreachable::Untold(does) => secured.server.does(does(&Ca::new())),
        Unreachable::Proxy(does) => {
            let proxy = proxy(does);
            flags.push(through(&proxy));
            proxies.push(proxy);
        }
        Unreachable::ProxyAt(url) => flags.push(format!("--hostup-proxy={url}")),
    }
    // A machine under load must not make a slow answer of another one.
    flags.extend([
        "--request-timeout=10s".to_owned(),
        "--paid-timeout=20s".to_owned(),
    ]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut operator = env.operator(&flags);
    env.create(env.preview("web")).await;
    let object = env.wait_for_reason("web", "ProviderUnavailable").await;
    let message = ready(&object)["message"].as_str().unwrap().to_owned();
    assert!(message.contains(says), "{row}: {message}");
    for varying in ["127.0.0.1", "localhost", "os error", "geheim", KEY] {
        assert!(!message.contains(varying), "{row}: {message}");
    }
    operator.wait_for_line(says);
    env.note_with("web", &[says]).await;
    // The same trouble reads the same each time: nothing is written again.
    let version = at(&object, "metadata.resourceVersion").clone();
    let calls = "hostup_operator_provider_requests_total{route=\"vps\",class=\"unavailable\"}";
    let so_far = operator.samples_with(calls, |calls| calls.is_some())[calls];
    operator.samples_with(calls, |calls| calls.is_some_and(|calls| calls >= so_far + 2.0));
    let later = env.restore("web").await;
    assert_eq!(ready(&later)["message"], message.as_str(), "{row}");
    assert_eq!(at(&later, "metadata.resourceVersion"), &version, "{row}: {later}");
    operator.kill_9();
    for line in operator.log() {
        assert!(!line.contains("geheim") && !line.contains(KEY), "{row}: {line}");
    }
    assert_eq!(env.posts(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_reason_why_hostup_cannot_be_reached_is_told_in_words_of_its_own() {
    use Unreachable::{Proxy as By, ProxyAt, Server as At, Untold, Url};
    // A name that no resolver asks anybody for: its first part is too long.
    let nameless = format!("http://{}.example", "x".repeat(64));
    let rows = [
        ("no DNS", Url(nameless), "the name of HostUp cannot be looked up"),
        (
            "refused",
            Url("https://127.0.0.1:1".to_owned()),
            "HostUp refuses it",
        ),
        (
            "refused, plain",
            Url("http://127.0.0.1:1".to_owned()),
            "HostUp refuses it",
        ),
        (
            "silent",
            At(|_| Server::Hangs),
            "no connection to HostUp within the time-out",
        ),
        ("ended", At(|_| Server::Ends), "ended it before TLS was agreed"),
        (
            "unknown CA",
            Untold(|ca| Server::EndsAfterTls(ca.signs("localhost", YEARS))),
            "from a CA that is not known here",
        ),
        (
            "expired",
            At(|ca| Server::EndsAfterTls(ca.signs("localhost", (2000, 2001)))),
            "is not valid at this time",
        ),
        (
            "not yet",
            At(|ca| Server::EndsAfterTls(ca.signs("localhost", (2090, 2100)))),
            "is not valid at this time",
        ),
        (
            "another name",
            At(|ca| Server::EndsAfterTls(ca.signs("portal.example", YEARS))),
            "is for another name",
        ),
        (
            "no TLS",
            At(|_| Server::Blurts("HTTP/1.1 400 Bad Request\r\n\r\n")),
            "does not speak TLS",
        ),
        (
            "after TLS",
            At(|ca| Server::EndsAfterTls(ca.signs("localhost", YEARS))),
            "the connection broke before the answer was complete",
        ),
        (
            "proxy away",
            ProxyAt("http://127.0.0.1:1"),
            "the proxy refuses it",
        ),
        (
            "proxy without a name",
            ProxyAt("http://xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example:1"),
            "the name of the proxy cannot be looked up",
        ),
        (
            "proxy wants a password",
            By(Proxy::Answers("HTTP/1.1 407 Who\r\n\r\n")),
            "the proxy asks for a user and a password",
        ),
        (
            "proxy forbids",
            By(Proxy::Answers("HTTP/1.1 403 No\r\n\r\n")),
            "the proxy refuses to connect to HostUp",
        ),
        (
            "proxy cannot",
            By(Proxy::Answers("HTTP/1.1 502 No\r\n\r\n")),
            "the proxy refuses to connect to HostUp",
        ),
        (
            "proxy talks nonsense",
            By(Proxy::Answers("\u{1}\u{2}\r\n\r\n")),
            "the proxy refuses to connect to HostUp",
        ),
        ("proxy hangs", By(Proxy::Hangs), "within the time-out"),
        ("proxy ends", By(Proxy::Ends), "the proxy ended the connection"),
        (
            "tunnel ends",
            By(Proxy::TunnelsTo(Server::Ends)),
            "ended it before TLS was agreed",
        ),
        (
            "tunnel without TLS",
            By(Proxy::TunnelsTo(Server::Blurts(
                "HTTP/1.1 400 Bad Request\r\n\r\n",
            ))),
            "does not speak TLS",
        ),
    ];
    each_row(rows.map(|(row, what, says)| (row.to_owned(), is_told(row, what, says)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_company_ca_and_a_proxy_lead_to_hostup_and_the_environments_proxies_do_not() {
    let env = TestEnv::new("company").await;
    let secured = Secured::of(&env);
    let proxy = proxy(Proxy::Tunnels);
    let (url, ca, by) = (secured.url(), secured.ca(), through(&proxy));
    let environments = crate::support::tls::proxy(Proxy::Ends);
    let other = format!("http://{}", environments.address);
    let variables = [
        ("HTTPS_PROXY", other.as_str()),
        ("ALL_PROXY", &other),
        ("https_proxy", &other),
        ("NO_PROXY", "127.0.0.1,localhost"),
    ];
    let operator = env.operator_with(&[&url, &ca, &by], &variables);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.executed(), env.posts()), (1, 1));
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    for head in asked {
        let port = secured.server.address.port();
        assert!(
            head.starts_with(&format!("CONNECT localhost:{port} HTTP/1.1\r\n")),
            "{head}"
        );
        assert!(
            head.to_lowercase()
                .contains("proxy-authorization: basic bwu6z2vozwlt"),
            "{head}"
        );
        assert!(
            !head.contains(KEY) && !head.to_lowercase().contains("\r\nauthorization"),
            "{head}"
        );
    }
    assert!(
        environments.asked().is_empty(),
        "the environment's proxy was used"
    );
    let lines: Vec<String> = operator
        .log()
        .into_iter()
        .filter(|line| line.contains("is not used for HostUp"))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("HTTPS_PROXY") && lines[0].contains("--hostup-proxy"),
        "{lines:?}"
    );
    env.check_invariants().await;
}

/// The paid POST meets `does` on its way, all reads before and after it do not.
async fn met_by_the_post(row: String, meets: Meets, not_sent: bool) {
    let proxied = ProxiedEnv::new("post").await;
    let secured = Secured::of(&proxied.env);
    let proxy = proxy(Proxy::Tunnels);
    let (url, ca, by) = (secured.url(), secured.ca(), through(&proxy));
    let gate = Gate::new();
    proxied.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    let _operator = proxied.env.operator(&[&url, &ca, &by]);
    proxied.env.create(proxied.env.approved("web")).await;
    held(&gate).await;
    let own = secured.ca.signs("localhost", YEARS);
    let relays = Server::Relays(own.clone(), address(&proxied.env.sim.url()));
    match meets {
        Meets::Proxy(does) => proxy.does(does),
        Meets::Foreign => proxy.does(Proxy::TunnelsTo(Server::EndsAfterTls(
            Ca::new().signs("localhost", YEARS),
        ))),
        Meets::Server(does) => secured.server.does(does(own)),
    }
    gate.release();
    let name = proxied.proxy.requests().into_iter().find(is_claim).unwrap();
    let name = name.json().unwrap()["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let wanted = if not_sent { "NotSent" } else { "Unknown" };
    let decided = |record: &Value| at(record, "status.state").is_string();
    let record = proxied.env.wait_for_record(&name, wanted, decided).await;
    assert_eq!(at(&record, "status.state"), wanted, "{row}: {record}");
    assert_eq!((proxied.env.posts(), proxied.env.executed()), (0, 0), "{row}");
    let whole = secured
        .server
        .asked()
        .iter()
        .filter(|request| request.starts_with("POST "))
        .count();
    assert!(whole == 0 || !not_sent, "{row}: the request left");
    proxy.does(Proxy::Tunnels);
    secured.server.does(relays);
    if not_sent {
        proxied.env.wait_for_reason("web", "Restored").await;
        assert_eq!((proxied.env.posts(), proxied.env.executed()), (1, 1), "{row}");
    } else {
        proxied.env.wait_for_reason("web", "OutcomeUnknown").await;
        assert_eq!((proxied.env.posts(), proxied.env.executed()), (0, 0), "{row}");
    }
}

enum Meets {
    Proxy(Proxy),
    /// A tunnel to somebody with a certificate of another CA.
    Foreign,
    Server(fn(std::sync::Arc<rustls::ServerConfig>) -> Server),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_paid_call_through_a_proxy_is_not_sent_before_tls_stands_and_unknown_ever_after() {
    use Meets::{Foreign, Proxy as By, Server as At};
    let rows = [
        ("407", By(Proxy::Answers("HTTP/1.1 407 Who\r\n\r\n")), true),
        ("502", By(Proxy::Answers("HTTP/1.1 502 No\r\n\r\n")), true),
        (
            "302",
            By(Proxy::Answers(
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n",
            )),
            true,
        ),
        ("nonsense", By(Proxy::Answers("nonsense\r\n\r\n")), true),
        ("half an answer", By(Proxy::Answers("HTTP/1.1 200 OK\r\n")), true),
        ("hangs", By(Proxy::Hangs), true),
        ("ends", By(Proxy::Ends), true),
        ("tunnel ends", By(Proxy::TunnelsTo(Server::Ends)), true),
        ("tunnel hangs", By(Proxy::TunnelsTo(Server::Hangs)), true),
        (
            "tunnel without TLS",
            By(Proxy::TunnelsTo(Server::Blurts("HTTP/1.1 202 Accepted\r\n\r\n"))),
            true,
        ),
        ("another CA", Foreign, true),
        ("ends after TLS", At(Server::EndsAfterTls), false),
        ("ends after the request", At(Server::EndsAfterRequest), false),
        (
            "nonsense after the request",
            At(|own| Server::Says(own, "nonsense\r\n\r\n")),
            false,
        ),
        (
            "a proxy's own page",
            At(|own| Server::Says(own, "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")),
            false,
        ),
        (
            "half an answer",
            At(|own| Server::Says(own, "HTTP/1.1 202 Accepted\r\nContent-Length: 400\r\n\r\n{")),
            false,
        ),
    ];
    each_row(
        rows.map(|(row, meets, not_sent)| (row.to_owned(), met_by_the_post(row.to_owned(), meets, not_sent))),
    )
    .await;
}

/// A kubeconfig whose server has a name that only a proxy can resolve.
fn named(env: &TestEnv, more: &str) -> std::path::PathBuf {
    let text = std::fs::read_to_string(&env.kubeconfig).unwrap();
    let port = env.plane.url().rsplit(':').next().unwrap().to_owned();
    let of_server = |line: &str| {
        if line.trim_start().starts_with("server: ") {
            format!(
                "    server: https://{}.example:{port}\n    tls-server-name: 127.0.0.1\n{more}",
                "x".repeat(64)
            )
        } else {
            format!("{line}\n")
        }
    };
    let path = env.plane.dir().join(format!("{}.kubeconfig", env.namespace));
    std::fs::write(&path, text.lines().map(of_server).collect::<String>()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_api_server_is_reached_through_the_proxy_that_kubectl_would_use() {
    let by_kubeconfig = |address: &SocketAddr| format!("    proxy-url: http://me:geheim@{address}\n");
    type Env = fn(&SocketAddr) -> Vec<(&'static str, String)>;
    let rows: [(&str, bool, Env, bool); 6] = [
        ("proxy-url", true, |_| vec![], true),
        (
            "proxy-url, whatever NO_PROXY says",
            true,
            |_| vec![("NO_PROXY", "*".to_owned())],
            true,
        ),
        (
            "HTTPS_PROXY",
            false,
            |proxy| vec![("HTTPS_PROXY", format!("http://{proxy}"))],
            true,
        ),
        (
            "https_proxy without a scheme",
            false,
            |proxy| {
                vec![
                    ("https_proxy", proxy.to_string()),
                    ("NO_PROXY", "other.example,".to_owned()),
                ]
            },
            true,
        ),
        (
            "NO_PROXY",
            false,
            |proxy| {
                vec![
                    ("HTTPS_PROXY", format!("http://{proxy}")),
                    ("NO_PROXY", " .example ,".to_owned()),
                ]
            },
            false,
        ),
        (
            "HTTP_PROXY is for http",
            false,
            |proxy| {
                vec![
                    ("HTTP_PROXY", format!("http://{proxy}")),
                    ("ALL_PROXY", format!("http://{proxy}")),
                ]
            },
            false,
        ),
    ];
    for (row, in_kubeconfig, variables, used) in rows {
        let mut env = TestEnv::new("kubectl").await;
        let proxy = proxy(Proxy::Tunnels);
        let more = if in_kubeconfig {
            by_kubeconfig(&proxy.address)
        } else {
            String::new()
        };
        env.kubeconfig = named(&env, &more);
        let variables = variables(&proxy.address);
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let operator = env.operator_with(&[], &variables);
        if used {
            env.create(env.preview("web")).await;
            env.wait_for_reason("web", "AwaitingApproval").await;
            let asked = proxy.asked();
            assert!(
                asked.iter().all(|head| head.starts_with("CONNECT xxx")),
                "{row}: {asked:?}"
            );
            let authorized = asked
                .iter()
                .all(|head| head.to_lowercase().contains("proxy-authorization: basic "));
            assert_eq!(authorized, in_kubeconfig, "{row}: {asked:?}");
        } else {
            let (operator, status) = operator.ended().await;
            assert_eq!(status.code(), Some(2), "{row}");
            let lines = operator.log();
            assert!(lines.last().unwrap().contains("dns error"), "{row}: {lines:?}");
            assert!(proxy.asked().is_empty(), "{row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_api_server_is_reached_through_proxies_of_every_kind_that_kubectl_knows() {
    let secured = || Proxy::TunnelsBehindTls(crate::support::control_plane().server_tls());
    let known = || Proxy::Socks(Some(("me", "ge heim")));
    // The proxy, its address as kubectl is given it, and what it is asked for.
    let rows = [
        ("https", secured(), "https://", "CONNECT xxx"),
        (
            "https with a password",
            secured(),
            "https://me:geheim@",
            "CONNECT xxx",
        ),
        ("SOCKS", Proxy::Socks(None), "socks5://", "SOCKS xxx"),
        (
            "SOCKS that looks names up",
            Proxy::Socks(None),
            "socks5h://",
            "SOCKS xxx",
        ),
        (
            "SOCKS with a password",
            known(),
            "socks5://me:ge%20heim@",
            "SOCKS me:ge heim xxx",
        ),
    ];
    for (row, does, scheme, wanted) in rows {
        for in_kubeconfig in [true, false] {
            let mut env = TestEnv::new("kinds").await;
            let proxy = proxy(does.clone());
            let url = format!("{scheme}{}", proxy.address);
            let line = format!("    proxy-url: {url}\n");
            env.kubeconfig = named(&env, if in_kubeconfig { &line } else { "" });
            let variables = [("HTTPS_PROXY", url.as_str())];
            let variables = if in_kubeconfig {
                &variables[..0]
            } else {
                &variables[..]
            };
            let mut operator = env.operator_with(&[], variables);
            env.create(env.preview("web")).await;
            env.wait_for_reason("web", "AwaitingApproval").await;
            let asked = proxy.asked();
            assert!(!asked.is_empty(), "{row}");
            assert!(
                asked.iter().all(|head| head.starts_with(wanted)),
                "{row}: {asked:?}"
            );
            let authorized = asked.iter().all(|head| {
                head.to_lowercase()
                    .contains("proxy-authorization: basic bwu6z2vozwlt")
            });
            assert_eq!(authorized, row == "https with a password", "{row}: {asked:?}");
            operator.kill_9();
            for line in operator.log() {
                assert!(!line.contains("heim"), "{row}: {line}");
            }
        }
    }
    for (row, does, url, says) in [
        (
            "an unknown kind",
            Proxy::Tunnels,
            "ftp://",
            "the API server's proxy is of an unknown kind, ftp",
        ),
        (
            "SOCKS with a wrong password",
            known(),
            "socks5://me:other@",
            "the API server cannot be used",
        ),
        (
            "no TLS",
            Proxy::Tunnels,
            "https://",
            "the API server cannot be used",
        ),
    ] {
        let mut env = TestEnv::new("kindless").await;
        let proxy = proxy(does);
        env.kubeconfig = named(&env, &format!("    proxy-url: {url}{}\n", proxy.address));
        let (operator, status) = env.operator(&[]).ended().await;
        assert_eq!(status.code(), Some(2), "{row}");
        let last = operator.log().last().unwrap().clone();
        assert!(last.contains(says) && !last.contains("other@"), "{row}: {last}");
    }
}

#[tokio::test]
async fn nothing_on_this_host_is_reached_through_the_environments_proxy() {
    let env = TestEnv::new("loopback").await;
    let proxy = proxy(Proxy::Ends);
    let other = format!("http://{}", proxy.address);
    let _operator = env.operator_with(&[], &[("HTTPS_PROXY", &other), ("HTTP_PROXY", &other)]);
    env.create(env.preview("web")).await;
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
    assert_eq!(reason(&object), "AwaitingApproval");
    assert!(proxy.asked().is_empty());
}
