//! Watches that open late, not at all, or in another way; and what is served meanwhile.

use std::time::{Duration, Instant};

use control_plane::{Action, Gate, Options, Request, Rule, status};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::api::{Api, DeleteParams};
use serde_json::json;

use crate::support::proxied_env::{OPERATIONS, ProxiedEnv, held};
use crate::support::{OwnPlane, PATIENCE, TestEnv, each_row, own_control_plane_with};

/// A control plane for one test.
async fn plane_with(args: &[&str]) -> OwnPlane {
    let options = Options {
        apiserver_args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..Options::default()
    };
    OwnPlane::start(move || own_control_plane_with(options)).await
}

fn streams(request: &Request) -> bool {
    request.query.contains("sendInitialEvents=true")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_api_server_that_streams_no_lists_is_listed_and_watched() {
    let own = plane_with(&["--feature-gates=WatchList=false"]).await;
    let plane = own.0;
    let mut env = TestEnv::on(plane, "unstreamed").await;
    let proxy = plane.proxy().unwrap();
    env.kubeconfig = proxy.kubeconfig(&env.kubeconfig).unwrap();
    env.create(env.approved("before")).await;
    let operator = env.operator(&[]);
    env.wait_for_reason("before", "Restored").await;
    env.create(env.approved("after")).await;
    env.wait_for_reason("after", "Restored").await;
    assert!(operator.http("/readyz").0.contains("200"));
    let tried = proxy.requests().iter().filter(|request| streams(request)).count();
    assert_eq!(tried, 4, "streaming is tried once for each new watch");
    assert_eq!((env.executed(), env.posts()), (2, 2));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_is_streamed_where_the_api_server_has_that_and_found_out_anew_with_each_watch() {
    let proxied = ProxiedEnv::new("streamed").await;
    let of_restores = |request: &Request| request.path.ends_with("/vpsbackuprestores");
    // The server is of a kind that cannot, and is upgraded before the next list.
    let cannot = status(
        422,
        "Invalid",
        "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
    );
    let first =
        Rule::on("GET", move |request| of_restores(request) && streams(request)).named("the first list");
    proxied.proxy.rule(first.action(Action::Respond(422, cannot)));
    // The first watch after that list finds its version too old.
    let watch = Rule::on("GET", move |request| {
        of_restores(request) && request.is_watch() && !streams(request)
    })
    .named("the watch");
    proxied.proxy.rule(watch.action(Action::Respond(
        410,
        status(410, "Expired", "too old resource version"),
    )));
    let _operator = proxied.env.operator(&[]);
    proxied.env.create(proxied.env.preview("web")).await;
    proxied.env.wait_for_reason("web", "AwaitingApproval").await;
    proxied
        .seen(2, move |request| of_restores(request) && streams(request))
        .await;
    let requests = proxied.proxy.requests();
    let lists = requests
        .iter()
        .filter(|request| of_restores(request) && !request.is_watch() && request.query.contains("limit=10"));
    let is_streamed = proxied.env.streams_lists().await;
    assert_eq!(lists.count(), if is_streamed { 1 } else { 2 });
    let lists = requests.iter().filter(|request| {
        request.path == OPERATIONS && !request.is_watch() && request.query.contains("limit=10")
    });
    assert_eq!(
        lists.count(),
        usize::from(!is_streamed),
        "the ledger is streamed where that can be"
    );
    proxied.env.create(proxied.env.preview("later")).await;
    proxied.env.wait_for_reason("later", "AwaitingApproval").await;
    proxied.check().await;
}

const LEDGERS_WATCH: &str = "the ledger's watch";

/// What opens a watch, and how the API server fails it for good.
async fn opens_again(row: &'static str, opens: fn(&Request) -> bool, cannot_stream: bool) {
    let proxied = ProxiedEnv::new("hung").await;
    if cannot_stream {
        let cannot = status(400, "BadRequest", "sendInitialEvents is forbidden");
        proxied.proxy.rule(
            Rule::on("GET", streams)
                .named("streams")
                .always()
                .action(Action::Respond(400, cannot)),
        );
    }
    let gate = Gate::new();
    proxied.proxy.rule(
        Rule::on("GET", opens)
            .named(row)
            .action(Action::HoldBefore(gate.clone())),
    );
    let _operator = proxied.env.operator(&[]);
    held(&gate).await;
    let started = Instant::now();
    proxied.env.create(proxied.env.approved("web")).await;
    proxied.env.wait_for_reason("web", "Restored").await;
    // What this process makes is followed without the ledger's watch.
    assert!(
        row == LEDGERS_WATCH || started.elapsed() > Duration::from_secs(15),
        "{row}: the first one was not needed"
    );
    proxied.seen(2, opens).await;
    assert_eq!(gate.came(), 1, "{row}");
    gate.release();
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_or_a_watch_that_does_not_open_is_tried_again() {
    type Opens = fn(&Request) -> bool;
    let rows: [(&'static str, Opens, bool); 6] = [
        (
            "the ledger's streamed list",
            |request| request.path == OPERATIONS && streams(request),
            false,
        ),
        (
            "the ledger's list",
            |request| request.path == OPERATIONS && !request.is_watch() && request.query.contains("limit=10"),
            true,
        ),
        (
            LEDGERS_WATCH,
            |request| request.path == OPERATIONS && request.is_watch() && !streams(request),
            true,
        ),
        (
            "the restores' streamed list",
            |request| request.path.ends_with("/vpsbackuprestores") && streams(request),
            false,
        ),
        (
            "the restores' list",
            |request| {
                request.path.ends_with("/vpsbackuprestores")
                    && !request.is_watch()
                    && request.query.contains("limit=10")
            },
            true,
        ),
        (
            "the restores' watch",
            |request| request.path.ends_with("/vpsbackuprestores") && request.is_watch() && !streams(request),
            true,
        ),
    ];
    each_row(
        rows.map(|(row, opens, cannot_stream)| (row.to_owned(), opens_again(row, opens, cannot_stream))),
    )
    .await;
}

/// Lets the environment's own ServiceAccount read the ledger, and nothing else yet.
async fn narrow(env: &mut TestEnv) -> String {
    let account = format!("narrow-{}", env.namespace);
    env
        .create(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": env.namespace}}))
        .await;
    env
        .create(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": account},
            "rules": [
                {"apiGroups": ["vps.hostup.se"], "resources": ["vpsoperations"], "verbs": ["get", "list", "watch", "create"]},
                {"apiGroups": ["vps.hostup.se"], "resources": ["vpsoperations/status"], "verbs": ["update"]},
                {"apiGroups": ["vps.hostup.se"], "resources": ["vpsbudgets"], "verbs": ["list", "watch"]},
                {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
            ],
        }))
        .await;
    env
        .create(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": account},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": env.namespace}],
        }))
        .await;
    let kubeconfig = env.plane.service_account_kubeconfig(&env.namespace, &account);
    env.kubeconfig = kubeconfig.unwrap();
    account
}

/// Lets the account drive the objects of a namespace.
async fn bind(env: &TestEnv, account: &str, namespace: &str) {
    let metadata = json!({"name": "narrow", "namespace": namespace});
    env.create(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
        "rules": [
            {"apiGroups": ["vps.hostup.se"], "resources": ["*"], "verbs": ["get", "list", "watch", "update"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        ],
    }))
    .await;
    env.create(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "narrow"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": env.namespace}],
    }))
    .await;
}

fn up(namespace: &str) -> String {
    format!("hostup_operator_watch_up{{controller=\"vpsbackuprestore\",namespace=\"{namespace}\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_namespace_that_cannot_be_read_keeps_no_other_from_being_served_and_is_served_once_it_can() {
    let mut env = TestEnv::new("narrow").await;
    let account = narrow(&mut env).await;
    bind(&env, &account, &env.namespace).await;
    let gone = format!("gone-{}", env.namespace);
    let watched = format!("--watch-namespaces={gone},{}", env.namespace);
    let operator = env.operator(&[&watched]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    let line =
        operator.wait_for_line("objects of this namespace are not reconciled until the operator can read it");
    assert!(line.contains(&gone), "{line}");
    assert!(operator.http("/readyz").0.contains("200"));
    let shown = operator.samples_with(&up(&gone), |up| up == Some(0.0));
    assert_eq!(shown.get(&up(&env.namespace)), Some(&1.0));

    env.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": gone}}))
        .await;
    bind(&env, &account, &gone).await;
    let mut there = env.preview("late");
    there["metadata"]["namespace"] = json!(gone);
    env.create(there).await;
    operator.samples_with(&up(&gone), |up| up == Some(1.0));
    // No Secret is there, and to see that is to be served.
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(env.client.clone(), &gone);
    let deadline = Instant::now() + PATIENCE;
    while events.list(&Default::default()).await.unwrap().items.is_empty() {
        assert!(Instant::now() < deadline, "{gone} is not served");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // It goes again while the operator runs.
    let bindings: Api<RoleBinding> = Api::namespaced(env.client.clone(), &gone);
    bindings.delete("narrow", &DeleteParams::default()).await.unwrap();
    operator.samples_with(&up(&gone), |up| up == Some(0.0));
    env.create(env.preview("other")).await;
    env.wait_for_reason("other", "AwaitingApproval").await;
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_any_namespace_it_waits_and_without_the_ledger_it_says_what_is_missing() {
    let mut env = TestEnv::new("none").await;
    let account = narrow(&mut env).await;
    let operator = env.operator(&[]);
    operator.wait_for_line("\"ready\"");
    env.create(env.preview("web")).await;
    operator.samples_with(&up(&env.namespace), |up| up == Some(0.0));
    bind(&env, &account, &env.namespace).await;
    env.wait_for_reason("web", "AwaitingApproval").await;
    drop(operator);
    let bindings: Api<ClusterRoleBinding> = Api::all(env.client.clone());
    bindings.delete(&account, &DeleteParams::default()).await.unwrap();
    let (operator, status) = env.operator(&[]).ended().await;
    assert_eq!(status.code(), Some(2));
    assert!(
        operator.log().last().unwrap().contains("lacks rights"),
        "{:?}",
        operator.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_api_server_that_refuses_to_tell_its_version_is_reachable() {
    let proxied = ProxiedEnv::new("version").await;
    let operator = proxied.env.operator(&[]);
    operator.wait_for_line("\"ready\"");
    for (code, ready, says) in [
        (403, "200", "ok"),
        (404, "200", "ok"),
        (429, "200", "ok"),
        (401, "503", "does not accept the operator's credentials"),
        (500, "503", "cannot be reached"),
        (503, "503", "cannot be reached"),
    ] {
        proxied.proxy.clear_rules();
        let version = Rule::on("GET", |request| request.path == "/version").always();
        proxied
            .proxy
            .rule(version.action(Action::Respond(code, status(code, "Nope", "as the test wants"))));
        let (head, body) = operator.http("/readyz");
        assert!(
            head.contains(ready) && body.contains(says),
            "{code}: {head} {body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_cannot_renew_its_lease_says_why() {
    for (row, action, says) in [
        (
            "expired credentials",
            Action::Respond(401, status(401, "Unauthorized", "Unauthorized")),
            "does not accept the operator's credentials",
        ),
        (
            "missing rights",
            Action::Respond(
                403,
                status(403, "Forbidden", "leases is forbidden: no RBAC policy matched"),
            ),
            "no RBAC policy matched",
        ),
        (
            "a full disk",
            Action::Respond(500, status(500, "InternalError", "etcdserver: no space")),
            "etcdserver: no space",
        ),
        ("a broken connection", Action::CutBefore, "connection error"),
    ] {
        let proxied = ProxiedEnv::new("deposed").await;
        let election = format!("--operator-namespace={}", proxied.env.namespace);
        let operator = proxied.env.operator(&["--leader-elect=true", &election]);
        operator.wait_for_line("\"leading\"");
        let lease = Rule::on("*", |request| request.path.contains("/leases")).always();
        proxied.proxy.rule(lease.action(action));
        let (operator, status) = operator.ended().await;
        assert_eq!(status.code(), Some(1), "{row}");
        let last = operator.log().last().unwrap().clone();
        assert!(
            last.contains("the Lease could not be renewed for 10 s") && last.contains(says),
            "{row}: {last}"
        );
        assert!(!last.contains("no longer the leader"), "{row}: {last}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_whose_own_renewal_landed_late_stays_the_leader() {
    let proxied = ProxiedEnv::new("late").await;
    let election = format!("--operator-namespace={}", proxied.env.namespace);
    let operator = proxied.env.operator(&["--leader-elect=true", &election]);
    operator.wait_for_line("\"leading\"");
    let conflict = status(409, "Conflict", "the object has been modified");
    let renewal = Rule::on("PUT", |request| request.path.contains("/leases")).named("a renewal");
    proxied.proxy.rule(renewal.action(Action::Respond(409, conflict)));
    operator.wait_for_line("the Lease could not be renewed; trying again");
    proxied.env.create(proxied.env.approved("web")).await;
    proxied.env.wait_for_reason("web", "Restored").await;
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_watch_that_ends_before_anything_came_is_not_opened_again_at_once() {
    let proxied = ProxiedEnv::new("short").await;
    let cannot = status(400, "BadRequest", "sendInitialEvents is forbidden");
    let streaming = Rule::on("GET", streams).named("streams").always();
    proxied.proxy.rule(streaming.action(Action::Respond(400, cannot)));
    let watches = |request: &Request| {
        request.path.ends_with("/vpsbackuprestores") && request.is_watch() && !streams(request)
    };
    let ends = Rule::on("GET", watches).named("a watch").always();
    proxied
        .proxy
        .rule(ends.action(Action::Respond(200, serde_json::Value::Null)));
    let operator = proxied.env.operator(&[]);
    operator.wait_for_line("the watch ended before anything came");
    proxied.seen(3, watches).await;
    let opened = proxied
        .proxy
        .requests()
        .iter()
        .filter(|request| watches(request))
        .count();
    assert!(opened < 10, "{opened} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_status_that_somebody_else_has_written_is_looked_at_again_without_a_warning() {
    let proxied = ProxiedEnv::new("conflict").await;
    let is_status = |request: &Request| request.path.ends_with("/vpsbackuprestores/web/status");
    let conflict = status(409, "Conflict", "the object has been modified");
    let first = Rule::on("PUT", is_status).named("the first status");
    proxied.proxy.rule(first.action(Action::Respond(409, conflict)));
    let operator = proxied.env.operator(&[]);
    proxied.env.create(proxied.env.preview("web")).await;
    proxied.env.wait_for_reason("web", "AwaitingApproval").await;
    operator.wait_for_line("the object has changed in the meantime");
    for line in operator.log() {
        assert!(!line.contains("a reconcile failed"), "{line}");
    }
    proxied.check().await;
}
