//! Every fault that the proxy makes is what it says, judged by what the API server really holds.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use control_plane::{Action, ApiProxy, ControlPlane, Gate, Match, Options, Request, Rule, User, status};

const SOON: Duration = Duration::from_secs(10);
/// Long enough for what would come at once to have come.
const A_WHILE: Duration = Duration::from_millis(500);

/// One control plane for all tests here; each has a proxy and a name of its own.
fn cluster() -> &'static ControlPlane {
    static CLUSTER: OnceLock<ControlPlane> = OnceLock::new();
    CLUSTER.get_or_init(|| ControlPlane::start(Options::default()).unwrap())
}

struct Through {
    proxy: ApiProxy,
    kubeconfig: PathBuf,
}

impl Through {
    fn new() -> Self {
        let proxy = cluster().proxy().unwrap();
        let kubeconfig = proxy.kubeconfig(&cluster().kubeconfig(User::Admin)).unwrap();
        Self { proxy, kubeconfig }
    }

    fn kubectl(&self, args: &[&str]) -> Output {
        cluster().kubectl_as(&self.kubeconfig, args, None).unwrap()
    }

    fn create(&self, name: &str) -> Output {
        self.kubectl(&["create", "configmap", name])
    }

    fn creates(&self) -> usize {
        self.proxy.requests().iter().filter(|r| is_create(r)).count()
    }

    /// The lines that `kubectl get configmap NAME --watch` prints.
    fn watch(&self, name: &str) -> Watch {
        let mut kubectl = cluster()
            .kubectl_command(&self.kubeconfig)
            .args(["get", "configmaps", "--watch", "--no-headers", "-o", "name"])
            .arg(format!("--field-selector=metadata.name={name}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = kubectl.stdout.take().unwrap();
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        self.proxy.wait_for("a watch", SOON, Request::is_watch).unwrap();
        Watch { kubectl, lines }
    }
}

struct Watch {
    kubectl: Child,
    lines: Receiver<String>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

fn is_create(request: &Request) -> bool {
    request.method == "POST" && request.path == "/api/v1/namespaces/default/configmaps"
}

fn on_create() -> Match {
    Rule::on("POST", is_create)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asks the API server itself.
fn exists(name: &str) -> bool {
    let output = cluster().kubectl(&["get", "configmap", name]).unwrap();
    assert!(output.status.success() || stderr(&output).contains("NotFound"));
    output.status.success()
}

#[test]
fn without_rules_everything_passes_and_is_logged() {
    let through = Through::new();
    assert!(through.create("plain").status.success());
    assert!(exists("plain"));
    let request = through.proxy.wait_for("a create", SOON, is_create).unwrap();
    // kubectl speaks protobuf here.
    assert!(String::from_utf8_lossy(&request.body).contains("plain"));
    assert_eq!(request.json(), None);
    assert!(request.query.contains("fieldManager=kubectl-create"));
    let numbers: Vec<_> = through.proxy.requests().iter().map(|r| r.n).collect();
    assert!(numbers.is_sorted() && numbers[0] == 1);
}

#[test]
fn the_user_behind_the_proxy_is_the_one_of_the_kubeconfig() {
    let through = Through::new();
    let author = through
        .proxy
        .kubeconfig(&cluster().kubeconfig(User::Author))
        .unwrap();
    let output = cluster()
        .kubectl_as(&author, &["get", "configmaps"], None)
        .unwrap();
    assert!(stderr(&output).contains(r#"User "author" cannot list"#));
}

#[test]
fn respond_answers_and_the_api_server_never_sees_it() {
    let through = Through::new();
    through
        .proxy
        .rule(on_create().action(Action::Respond(403, status(403, "Forbidden", "not today"))));
    let output = through.create("answered");
    assert!(stderr(&output).contains("not today"), "{}", stderr(&output));
    assert!(!exists("answered"));
    assert!(through.proxy.unfired().is_empty());
}

#[test]
fn forward_then_respond_applies_it_and_lies_about_it() {
    let through = Through::new();
    through.proxy.rule(on_create().action(Action::ForwardThenRespond(
        504,
        status(504, "Timeout", "who knows"),
    )));
    let output = through.create("lied-about");
    assert!(!output.status.success() && stderr(&output).contains("who knows"));
    assert!(exists("lied-about"));
}

#[test]
fn forward_then_cut_loses_the_answer_and_not_the_object() {
    let through = Through::new();
    through.proxy.rule(on_create().action(Action::ForwardThenCut));
    assert!(!through.create("answer-lost").status.success());
    assert!(exists("answer-lost"));
    assert_eq!(through.creates(), 1);
}

#[test]
fn cut_before_loses_the_request() {
    let through = Through::new();
    through.proxy.rule(on_create().action(Action::CutBefore));
    assert!(!through.create("request-lost").status.success());
    assert!(!exists("request-lost"));
    // The rule was for once.
    assert!(through.create("request-lost").status.success());
}

#[test]
fn hold_before_lets_nothing_through_until_the_gate_opens() {
    let through = Through::new();
    let gate = Gate::new();
    through
        .proxy
        .rule(on_create().action(Action::HoldBefore(gate.clone())));
    thread::scope(|scope| {
        let create = scope.spawn(|| through.create("held-before"));
        gate.wait_held(SOON).unwrap();
        assert!(!exists("held-before"));
        gate.release();
        assert!(create.join().unwrap().status.success());
    });
    assert!(exists("held-before"));
}

#[test]
fn a_held_request_arrives_although_its_client_is_gone() {
    let through = Through::new();
    let gate = Gate::new();
    through
        .proxy
        .rule(on_create().action(Action::HoldBefore(gate.clone())));
    let mut client = cluster()
        .kubectl_command(&through.kubeconfig)
        .args(["create", "configmap", "late"])
        .spawn()
        .unwrap();
    gate.wait_held(SOON).unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(!exists("late"));
    gate.release();
    let created = cluster().kubectl(&["wait", "--for=create", "configmap/late", "--timeout=10s"]);
    assert!(created.unwrap().status.success());
}

#[test]
fn hold_after_applies_it_and_keeps_the_answer_until_the_gate_opens() {
    let through = Through::new();
    let gate = Gate::new();
    through
        .proxy
        .rule(on_create().action(Action::HoldAfter(gate.clone())));
    thread::scope(|scope| {
        let create = scope.spawn(|| through.create("held-after"));
        gate.wait_held(SOON).unwrap();
        assert!(exists("held-after"));
        assert!(!create.is_finished());
        gate.release();
        assert!(create.join().unwrap().status.success());
    });
    assert_eq!(gate.came(), 1);
}

#[test]
fn a_delay_delays() {
    let through = Through::new();
    through.proxy.rule(on_create().action(Action::Delay(A_WHILE)));
    let began = Instant::now();
    assert!(through.create("delayed").status.success());
    assert!(began.elapsed() >= A_WHILE);
}

#[test]
fn a_duplicate_is_refused_by_the_api_server_and_the_client_learns_only_that() {
    let through = Through::new();
    through.proxy.rule(on_create().action(Action::DuplicateForward));
    let output = through.create("twice");
    assert!(stderr(&output).contains("already exists"), "{}", stderr(&output));
    assert!(exists("twice"));
    assert_eq!(through.creates(), 1);
}

#[test]
fn rules_skip_and_count_and_tell_what_did_not_happen() {
    let through = Through::new();
    through.proxy.rule(
        on_create()
            .named("the second and third create fail")
            .skip(1)
            .times(2)
            .action(Action::Respond(500, status(500, "InternalError", "no"))),
    );
    let outcomes = ["first", "second"].map(|name| through.create(name).status.success());
    assert_eq!(outcomes, [true, false]);
    let unfired = through.proxy.unfired();
    assert!(unfired[0].contains("acted 1 of 2"), "{unfired:?}");
    through.proxy.clear_rules();
    assert!(through.create("third").status.success());
}

#[test]
fn watches_stream_and_stand_still_while_frozen() {
    let through = Through::new();
    let watch = through.watch("watched");
    cluster().kubectl_ok(&["create", "configmap", "watched"]).unwrap();
    assert_eq!(watch.lines.recv_timeout(SOON).unwrap(), "configmap/watched");

    through.proxy.freeze_watches(true);
    cluster()
        .kubectl_ok(&["label", "configmap", "watched", "seen=no"])
        .unwrap();
    // Lists are not frozen: only what a cache learns by watching grows stale.
    let listed = through.kubectl(&["get", "configmaps", "-l", "seen=no", "-o", "name"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "configmap/watched\n");
    assert_eq!(watch.lines.recv_timeout(A_WHILE), Err(RecvTimeoutError::Timeout));
    through.proxy.freeze_watches(false);
    assert_eq!(watch.lines.recv_timeout(SOON).unwrap(), "configmap/watched");
}

#[test]
fn nothing_passes_a_black_hole_and_who_waited_goes_on_after_it() {
    let through = Through::new();
    let watch = through.watch("beyond");
    through.proxy.blackhole(true);

    let seen = through.proxy.requests().len();
    let gave_up = through.kubectl(&["create", "configmap", "swallowed", "--request-timeout=1s"]);
    assert!(!gave_up.status.success());
    assert_eq!(through.proxy.requests().len(), seen);

    thread::scope(|scope| {
        let create = scope.spawn(|| through.create("beyond"));
        cluster()
            .kubectl_ok(&["create", "configmap", "beyond-direct"])
            .unwrap();
        assert_eq!(watch.lines.recv_timeout(A_WHILE), Err(RecvTimeoutError::Timeout));
        assert!(!exists("beyond"));
        through.proxy.blackhole(false);
        assert!(create.join().unwrap().status.success());
    });
    assert_eq!(watch.lines.recv_timeout(SOON).unwrap(), "configmap/beyond");
    assert!(!exists("swallowed"));
}

#[test]
fn a_proxy_in_front_of_a_stopped_api_server_cuts_and_recovers() {
    let own = ControlPlane::start(Options::default()).unwrap();
    let proxy = own.proxy().unwrap();
    let kubeconfig = proxy.kubeconfig(&own.kubeconfig(User::Admin)).unwrap();
    let get = || {
        let output = own.kubectl_as(&kubeconfig, &["get", "namespaces"], None);
        output.unwrap().status.success()
    };
    assert!(get());
    own.stop_apiserver();
    assert!(!get());
    own.start_apiserver().unwrap();
    assert!(get());
}

#[test]
fn waiting_for_what_never_comes_ends_with_what_it_was() {
    let through = Through::new();
    let brief = Duration::from_millis(10);
    let error = through
        .proxy
        .wait_for("a delete", brief, |request| request.method == "DELETE");
    assert!(error.unwrap_err().to_string().contains("a delete"));
    assert!(Gate::new().wait_held(brief).is_err());
}
