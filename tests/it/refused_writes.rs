//! An API server that refuses what the operator must write, for good or for a while.

use std::time::{Duration, Instant};

use control_plane::{Action, Request, Rule, status};
use hostup_sim::RestoreBehaviour;
use serde_json::{Value, json};

use crate::support::proxied_env::{OPERATIONS, ProxiedEnv, is_claim};
use crate::support::{PATIENCE, TestEnv, at, condition, each_row, ready, reason};

/// How soon a person must see why nothing goes on.
const SOON: Duration = Duration::from_secs(30);
/// Waits as they are shipped, so that a loop shows as one.
const SHIPPED: [&str; 2] = ["--gate-interval=1m", "--resync-interval=1h"];

const WORDS: &str = "the test's policy denies it.";

fn refused(code: u16, reason: &str) -> Action {
    Action::Respond(code, status(code, reason, WORDS))
}

/// Every answer of an API server that means no until somebody puts it right.
fn refusals() -> Vec<(&'static str, Action)> {
    vec![
        ("a policy or a quota", refused(403, "Forbidden")),
        ("invalid", refused(422, "Invalid")),
        ("a webhook's own code", refused(400, "BadRequest")),
        ("too large", refused(413, "RequestEntityTooLarge")),
        ("no method", refused(405, "MethodNotAllowed")),
    ]
}

fn is_status_of(request: &Request, plural: &str) -> bool {
    request.method == "PUT"
        && request.path.contains(&format!("/{plural}/"))
        && request.path.ends_with("/status")
}

fn count(proxied: &ProxiedEnv, sort: impl Fn(&Request) -> bool) -> usize {
    proxied
        .proxy
        .requests()
        .iter()
        .filter(|request| sort(request))
        .count()
}

fn tells_of_the_refusal(object: &Value) {
    let message = ready(object)["message"].as_str().unwrap();
    assert!(message.contains("the test's policy denies it. "), "{message}");
    assert_eq!(condition(object, "Stalled")["status"], "True");
}

async fn a_claim_that_is_refused(action: Action) {
    let proxied = ProxiedEnv::new("denied").await;
    let env = &proxied.env;
    proxied.proxy.rule(
        Rule::on("POST", is_claim)
            .named("the claims")
            .always()
            .action(action),
    );
    env.create(env.approved("web")).await;
    env.create(env.approved_config("options", json!({"bandwidthGb": 4096})))
        .await;
    let _operator = env.operator(&SHIPPED);
    let started = Instant::now();
    let object = env.wait_for_reason("web", "ClusterRefuses").await;
    tells_of_the_refusal(&object);
    let options = env.config_comes_to("options", "ClusterRefuses").await;
    tells_of_the_refusal(&options);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    env.warned("web", &["ClusterRefuses"]).await;
    env.warned("options", &["ClusterRefuses"]).await;
    assert_eq!(env.posts(), 0);
    // The next try comes after a minute, so that none comes meanwhile.
    let tries = count(&proxied, is_claim);
    assert_eq!(tries, 2, "a claim of each object");
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(count(&proxied, is_claim), tries);

    // A change of the object is a reason to look at once.
    proxied.proxy.clear_rules();
    for (api, name) in [(env.restores(), "web"), (env.configs(), "options")] {
        let poked = json!({"metadata": {"annotations": {"test/poked": "now"}}});
        let by = kube::api::PatchParams::default();
        api.patch(name, &by, &kube::api::Patch::Merge(&poked))
            .await
            .unwrap();
    }
    env.wait_for_reason("web", "Restored").await;
    env.config_comes_to("options", "InSync").await;
    assert_eq!((env.posts(), env.executed()), (2, 2));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_the_api_server_refuses_is_told_soon_and_tried_ever_more_rarely() {
    each_row(
        refusals()
            .into_iter()
            .map(|(name, action)| (name.to_owned(), a_claim_that_is_refused(action))),
    )
    .await;
}

/// With the words of a real policy, which refuses only the records of this environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_policy_against_records_is_told_in_its_own_words() {
    let env = TestEnv::new("policy").await;
    let name = format!("no-records-{}", env.namespace);
    let group = "admissionregistration.k8s.io/v1";
    env.create(json!({
        "apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["vps.hostup.se"], "apiVersions": ["*"], "operations": ["CREATE"],
                "resources": ["vpsoperations"],
            }]},
            "validations": [{
                "expression": format!("object.spec.subject.namespace != '{}'", env.namespace),
                "message": "nobody buys on a Friday",
            }],
        },
    }))
    .await;
    env.create(json!({
        "apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }))
    .await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        // It is in force some time after it was made, and nothing tells when.
        let mut probe = crate::schema::record("probe");
        probe["spec"]["subject"]["namespace"] = json!(env.namespace);
        let dry = kube::api::PostParams {
            dry_run: true,
            ..Default::default()
        };
        let probe = serde_json::from_value(probe).unwrap();
        if env.operations().create(&dry, &probe).await.is_err() {
            break;
        }
        assert!(Instant::now() < deadline, "the policy is not in force");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    env.create(env.approved("web")).await;
    let _operator = env.operator(&SHIPPED);
    let object = env.wait_for_reason("web", "ClusterRefuses").await;
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains("nobody buys on a Friday. Change"), "{message}");
    assert_eq!(env.posts(), 0);
    assert!(env.records().await.is_empty());
}

async fn a_status_that_is_refused(action: Action) {
    let proxied = ProxiedEnv::new("mute").await;
    let env = &proxied.env;
    proxied.proxy.rule(
        Rule::on("PUT", |request| is_status_of(request, "vpsbackuprestores"))
            .named("the status")
            .always()
            .action(action),
    );
    env.create(env.preview("web")).await;
    let _operator = env.operator(&SHIPPED);
    env.warned("web", &["ClusterRefuses"]).await;
    let first = count(&proxied, |request| is_status_of(request, "vpsbackuprestores"));
    tokio::time::sleep(Duration::from_secs(25)).await;
    // Waits of 5, 10 and 20 s, each a try to say how it stands and one to say what is in the way.
    let tries = count(&proxied, |request| is_status_of(request, "vpsbackuprestores")) - first;
    assert!((1..=5).contains(&tries), "{tries} further tries in 25 s");
    env.warned("web", &["ClusterRefuses"]).await;
    proxied.proxy.clear_rules();
    env.wait_for_reason("web", "AwaitingApproval").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_status_that_the_api_server_refuses_is_told_by_one_event_and_tried_ever_more_rarely() {
    each_row(
        refusals()
            .into_iter()
            .take(2)
            .map(|(name, action)| (name.to_owned(), a_status_that_is_refused(action))),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outcome_that_the_api_server_refuses_is_told_and_written_once_it_is_taken() {
    each_row(
        refusals()
            .into_iter()
            .take(2)
            .map(|(name, action)| (name.to_owned(), an_outcome_that_is_refused(action))),
    )
    .await;
}

async fn an_outcome_that_is_refused(action: Action) {
    let proxied = ProxiedEnv::new("kept").await;
    let env = &proxied.env;
    proxied.proxy.rule(
        Rule::on("PUT", |request| is_status_of(request, "vpsoperations"))
            .named("the outcome")
            .always()
            .action(action),
    );
    env.create(env.approved("web")).await;
    let _operator = env.operator(&["--paid-timeout=60s"]);
    let object = env.wait_for_reason("web", "ClusterRefuses").await;
    tells_of_the_refusal(&object);
    assert_eq!(env.posts(), 1);
    proxied.proxy.clear_rules();
    env.wait_for_reason("web", "Restored").await;
    let records = env.records().await;
    assert_eq!(at(&records[0], "status.evidence"), "Job", "the answer was lost");
    assert_eq!((records.len(), env.posts(), env.executed()), (1, 1, 1));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lease_that_the_api_server_refuses_is_asked_for_ever_more_rarely() {
    let proxied = ProxiedEnv::new("lease").await;
    let env = &proxied.env;
    let is_lease = |request: &Request| request.path.contains("/leases");
    proxied.proxy.rule(
        Rule::on("*", is_lease)
            .named("the Lease")
            .always()
            .action(refused(403, "Forbidden")),
    );
    let namespace = format!("--operator-namespace={}", env.namespace);
    let operator = env.operator(&["--leader-elect=true", &namespace]);
    operator.wait_for_line("the Lease could not be read or written");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let asked = count(&proxied, is_lease);
    assert!((2..=5).contains(&asked), "asked {asked} times in 20 s");
}

/// A 404 of a proxy on the way, which does not know what the API server has.
fn astray() -> [(&'static str, Action); 3] {
    let page = json!("<html>404 page not found</html>");
    let forged = status(404, "NotFound", "nothing here");
    [
        ("a page", Action::Respond(404, page)),
        (
            "a status that names nothing",
            Action::Respond(404, forged.clone()),
        ),
        ("written, and then that", Action::ForwardThenRespond(404, forged)),
    ]
}

async fn an_outcome_that_went_astray(action: Action, times: usize) {
    let proxied = ProxiedEnv::new("astray").await;
    let env = &proxied.env;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            job_duration: Duration::from_secs(1),
            ..RestoreBehaviour::default()
        });
    });
    proxied.proxy.rule(
        Rule::on("PUT", |request| is_status_of(request, "vpsoperations"))
            .named("the outcome")
            .times(times)
            .action(action),
    );
    env.create(env.approved("web")).await;
    let _operator = env.operator(&[]);
    env.wait_for_reason("web", "Restored").await;
    let records = env.records().await;
    assert_eq!(at(&records[0], "status.evidence"), "Job", "the job id was lost");
    assert_eq!((records.len(), env.posts(), env.executed()), (1, 1, 1));
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outcome_is_written_though_a_proxy_says_that_its_record_is_gone() {
    let rows = astray().map(|(name, action)| {
        let times = if name.starts_with("written") { 1 } else { 3 };
        (name.to_owned(), an_outcome_that_went_astray(action, times))
    });
    each_row(rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_api_servers_own_404_is_believed_only_once_reads_confirm_it() {
    let proxied = ProxiedEnv::new("lagging").await;
    let env = &proxied.env;
    let mut gone = status(404, "NotFound", "vpsoperations \"x\" not found");
    gone["details"] = json!({"name": "x", "group": "vps.hostup.se", "kind": "vpsoperations"});
    proxied.proxy.rule(
        Rule::on("PUT", |request| is_status_of(request, "vpsoperations"))
            .named("the outcome")
            .times(2)
            .action(Action::Respond(404, gone)),
    );
    env.create(env.approved("web")).await;
    let _operator = env.operator(&[]);
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&env.records().await[0], "status.evidence"), "Job");
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_known_of_a_record_that_is_really_gone_stands_in_the_log() {
    let proxied = ProxiedEnv::new("gone").await;
    let env = &proxied.env;
    let gate = env
        .sim
        .hold(hostup_sim::Route::RestoreToPayg, hostup_sim::Stage::AfterAct);
    env.create(env.approved("web")).await;
    let operator = env.operator(&["--paid-timeout=60s"]);
    assert!(gate.held(PATIENCE).await);
    let record = at(&env.records().await[0], "metadata.name")
        .as_str()
        .unwrap()
        .to_owned();
    let by = kube::api::DeleteParams::default();
    env.operations().delete(&record, &by).await.unwrap();
    gate.release();
    let line = tokio::task::spawn_blocking(move || {
        operator.wait_for_line("the record was deleted while its call was under way")
    })
    .await
    .unwrap();
    assert!(line.contains(&record), "{line}");
    assert_eq!((env.posts(), env.executed()), (1, 1));
}

/// A 404 of a proxy for an object or a Secret that is there must not be taken for its absence either.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_proxy_does_not_find_is_not_taken_for_absent() {
    let proxied = ProxiedEnv::new("notfound").await;
    let env = &proxied.env;
    let namespace = env.namespace.clone();
    for part in ["secrets", "vpsbackuprestores"] {
        let prefix = format!("namespaces/{namespace}/{part}/");
        proxied.proxy.rule(
            Rule::on("GET", move |request| request.path.contains(&prefix))
                .named(part)
                .times(1)
                .action(Action::Respond(404, status(404, "NotFound", "nothing here"))),
        );
    }
    env.create(env.approved("web")).await;
    let _operator = env.operator(&[]);
    env.wait("web", "Restored, and never CredentialsMissing", |object| {
        assert_ne!(reason(object), "CredentialsMissing");
        reason(object) == "Restored"
    })
    .await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    assert!(count(&proxied, |request| request.path.starts_with(OPERATIONS)) > 0);
    proxied.check().await;
}
