//! Several operators at once, with and without leader election.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use control_plane::{Action, Gate, Request, Rule};
use futures::future::join_all;
use hostup_sim::{LimitSet, Route, Stage};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::support::proxied_env::{ProxiedEnv, claim, held};
use crate::support::{Operator, PATIENCE, TestEnv, at, ready, reason};

/// A claim on a busy machine may take its time; whether it is in time is not the subject here.
const CALM: [&str; 2] = ["--request-timeout=20s", "--paid-timeout=25s"];

/// An environment whose account may own any number of VMs, with `count` approved objects.
async fn env_with(name: &str, count: usize) -> TestEnv {
    let env = TestEnv::new(name).await;
    env.sim.world(|world| {
        world.account_mut(env.account).limits_max = LimitSet::new(10_000, 10_000, 100_000, 1_000);
    });
    join_all((0..count).map(|n| env.create(env.approved(&format!("web-{n}"))))).await;
    env
}

async fn all_restored(env: &TestEnv, count: usize) -> Vec<Value> {
    let mut restored = Vec::new();
    for n in 0..count {
        restored.push(env.wait_for_reason(&format!("web-{n}"), "Restored").await);
    }
    restored
}

/// Records of calls that may have left. A claim is withdrawn where its holder sees that another process has told of it
/// already, or where the machine was so slow that its time has passed: that costs a try, and nothing else.
pub async fn sent(env: &TestEnv) -> usize {
    let mut sent = 0;
    for record in env.records().await {
        if at(&record, "status.state") == "NotSent" {
            let why = at(&record, "status.message").as_str().unwrap();
            let allowed = ["another process acted for the object", "the claim was too old"];
            assert!(allowed.iter().any(|allowed| why.contains(allowed)), "{why}");
        } else {
            sent += 1;
        }
    }
    sent
}

/// One purchase, one POST and one sent record for each object, and each VM belongs to one object.
async fn check_once_each(env: &TestEnv, objects: &[Value]) {
    let count = objects.len();
    assert_eq!((env.posts(), env.executed()), (count, count));
    assert_eq!(sent(env).await, count, "a second attempt was sent");
    let vms: HashSet<_> = objects
        .iter()
        .map(|object| at(object, "status.vm.vpsId").to_string())
        .collect();
    assert_eq!(vms.len(), count, "two objects show one VM");
    assert!(objects.iter().all(|object| ready(object)["status"] == "True"));
    env.check_invariants().await;
}

async fn race(replicas: usize, objects: usize) {
    let env = env_with("race", objects).await;
    let operators: Vec<_> = (0..replicas).map(|_| env.operator(&CALM)).collect();
    let restored = all_restored(&env, objects).await;
    check_once_each(&env, &restored).await;
    let shares: Vec<_> = operators.iter().map(Operator::sent).collect();
    assert_eq!(shares.iter().sum::<usize>(), objects);
    assert!(
        shares.iter().all(|share| *share > 0),
        "no race took place: {shares:?}"
    );
    // Five writes make a life; each replica may write each of them once at most, and lose.
    let writes = env
        .plane
        .audit()
        .unwrap()
        .into_iter()
        .filter(|event| event.is_write() && event.code < 300 && event.namespace == env.namespace)
        .filter(|event| event.resource == "vpsbackuprestores" && event.subresource == "status")
        .count();
    assert!(
        writes <= objects * 4,
        "{writes} status writes for {objects} objects"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_and_three_replicas_without_election_buy_each_of_fifty_once() {
    futures::join!(race(2, 50), race(3, 50));
}

fn elected(env: &TestEnv) -> Operator {
    let namespace = format!("--operator-namespace={}", env.namespace);
    env.operator(&["--leader-elect=true", &namespace, "--paid-timeout=30s"])
}

fn leads(operator: &Operator) -> bool {
    operator.log().iter().any(|line| line.contains("\"leading\""))
}

/// Two operators of which the first leads.
async fn pair(env: &TestEnv) -> (Operator, Operator) {
    let first = elected(env);
    first.wait_for_line("\"leading\"");
    let second = elected(env);
    second.wait_for_line("\"ready\"");
    (first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_election_only_the_leader_acts_and_sigterm_hands_over_within_seconds() {
    let env = env_with("handover", 3).await;
    let (first, second) = pair(&env).await;
    all_restored(&env, 3).await;
    assert_eq!((first.sent(), second.sent()), (3, 0));
    assert!(!leads(&second));
    let told = Instant::now();
    first.signal("TERM");
    second.wait_for_line("\"leading\"");
    let took = told.elapsed();
    assert!(took < Duration::from_secs(6), "the handover took {took:?}");
    let (first, status) = first.ended().await;
    assert_eq!(status.code(), Some(0));
    env.create(env.approved("web-3")).await;
    let restored = all_restored(&env, 4).await;
    assert_eq!((first.sent(), second.sent()), (3, 1));
    check_once_each(&env, &restored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_stops_releases_its_lease_though_a_renewal_lands_meanwhile() {
    let proxied = ProxiedEnv::new("released").await;
    let env = &proxied.env;
    let operator = elected(env);
    operator.wait_for_line("\"leading\"");
    let leases: Api<Lease> = Api::namespaced(env.client.clone(), &env.namespace);
    let next_write = |gate: &Gate| {
        let is_lease = |request: &Request| request.path.contains("/leases/");
        let held = Action::HoldBefore(gate.clone());
        proxied.proxy.rule(Rule::on("PUT", is_lease).action(held));
    };
    let (renewal, release) = (Gate::new(), Gate::new());
    next_write(&renewal);
    held(&renewal).await;
    let before = leases.get("hostup-operator").await.unwrap().resource_version();
    next_write(&release);
    operator.signal("TERM");
    held(&release).await;
    renewal.release();
    while leases.get("hostup-operator").await.unwrap().resource_version() == before {
        tokio::task::yield_now().await;
    }
    release.release();
    let (_, status) = operator.ended().await;
    assert_eq!(status.code(), Some(0));
    let spec = leases.get("hostup-operator").await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity, None);
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_the_leader_is_killed_in_mid_call_the_other_takes_over_and_finds_what_was_bought() {
    let env = env_with("takeover", 3).await;
    let gate = env.sim.hold(Route::RestoreToPayg, Stage::AfterAct);
    let (mut first, second) = pair(&env).await;
    assert!(gate.held(PATIENCE).await);
    assert!(
        env.sim
            .until(PATIENCE, |world| world.count(Route::RestoreToPayg) == 3)
            .await
    );
    let killed = Instant::now();
    first.kill_9();
    gate.release();
    second.wait_for_line("\"leading\"");
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(20), "the takeover took {took:?}");
    let restored = all_restored(&env, 3).await;
    assert_eq!(second.sent(), 0);
    check_once_each(&env, &restored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_installations_in_one_namespace_buy_each_object_once() {
    let env = env_with("strangers", 5).await;
    let operators =
        ["--instance-id=one", "--instance-id=two"].map(|id| env.operator(&[id, CALM[0], CALM[1]]));
    for n in 0..5 {
        let ended = |object: &Value| ["Restored", "OtherInstance"].contains(&reason(object));
        env.wait(&format!("web-{n}"), "an owner", ended).await;
    }
    assert!(
        env.sim
            .until(PATIENCE, |world| world.purchases().len() == 5)
            .await
    );
    for record in env.records().await {
        let name = record["metadata"]["name"].as_str().unwrap();
        let ended = |record: &Value| at(record, "status.state") == "Succeeded";
        env.wait_for_record(name, "its end", ended).await;
    }
    assert_eq!(operators.iter().map(Operator::sent).sum::<usize>(), 5);
    assert_eq!(
        (env.records().await.len(), env.posts(), env.executed()),
        (5, 5, 5)
    );
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_installation_that_did_not_buy_writes_nothing_over_one_that_did() {
    let proxied = ProxiedEnv::new("stranger").await;
    let env = &proxied.env;
    let _buyer = env.operator(&["--instance-id=buyer"]);
    env.create(env.approved("web-0")).await;
    let restored = env.wait_for_reason("web-0", "Restored").await;
    let _stranger = env.operator(&["--instance-id=stranger"]);
    let object = format!(
        "/apis/vps.hostup.se/v1alpha1/namespaces/{}/vpsbackuprestores/web-0",
        env.namespace
    );
    for n in 0..3 {
        let earlier = proxied.proxy.requests().len();
        env.poke(env.restores(), "web-0", n).await;
        let path = object.clone();
        // Both look at it.
        proxied
            .seen(2, move |request| {
                request.n > earlier && request.method == "GET" && request.path == path
            })
            .await;
    }
    let writes = proxied.proxy.requests().into_iter();
    let of_status =
        writes.filter(|request| request.method == "PUT" && request.path == format!("{object}/status"));
    let now = env.restore("web-0").await;
    assert_eq!(at(&now, "status"), at(&restored, "status"));
    assert!(of_status.count() <= 4, "they write over each other");
    assert_eq!((env.posts(), env.executed()), (1, 1));
    proxied.check().await;
}

/// Stops all threads of the process until it gets CONT.
fn freeze(operator: &Operator) {
    operator.signal("STOP");
    let tasks = format!("/proc/{}/task", operator.pid());
    let stands = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('T')
    };
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read_dir(&tasks)
        .unwrap()
        .all(|task| stands(task.unwrap()))
    {
        assert!(Instant::now() < deadline, "it does not stop");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_stood_still_past_the_time_of_its_claim_sends_nothing() {
    let proxied = ProxiedEnv::new("still").await;
    let env = &proxied.env;
    let gate = Gate::new();
    proxied.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    env.create(env.approved("web-0")).await;
    let quick = ["--request-timeout=2s", "--paid-timeout=3s", "--settle-time=1s"];
    let first = env.operator(&quick);
    held(&gate).await;
    freeze(&first);
    gate.release();
    let _second = env.operator(&quick);
    env.wait_for_reason("web-0", "OutcomeUnknown").await;
    first.signal("CONT");
    let record = env.records().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let withdrawn = |record: &Value| at(record, "status.state") == "NotSent";
    env.wait_for_record(&record, "the word of its holder", withdrawn)
        .await;
    assert_eq!((first.sent(), env.posts(), env.executed()), (0, 0, 0));
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_stood_still_in_its_call_changes_nothing_that_another_has_found_out() {
    let env = env_with("asleep", 1).await;
    let gate = env.sim.hold(Route::RestoreToPayg, Stage::AfterAct);
    let first = env.operator(&["--paid-timeout=40s"]);
    assert!(gate.held(PATIENCE).await);
    freeze(&first);
    gate.release();
    let _second = env.operator(&[]);
    let restored = all_restored(&env, 1).await;
    let found = env.records().await;
    assert_eq!(at(&found[0], "status.evidence"), "VmFound");
    first.signal("CONT");
    first.wait_for_line("after the record was settled otherwise");
    assert_eq!(env.records().await[0]["status"], found[0]["status"]);
    check_once_each(&env, &restored).await;
}
