//! Several operators at once, with and without leader election.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use control_plane::{Action, Gate};
use futures::future::join_all;
use hostup_sim::{LimitSet, Route, Stage as Moment};
use serde_json::Value;

use crate::support::behind::{Behind, claim, held};
use crate::support::{Operator, PATIENCE, Stage, at, ready, reason};

/// A claim on a busy machine may take its time; whether it is in time is not the subject here.
const CALM: [&str; 2] = ["--request-timeout=20s", "--paid-timeout=25s"];

/// A stage whose account may own any number of VMs, with `count` approved objects.
async fn stage_with(name: &str, count: usize) -> Stage {
    let stage = Stage::new(name).await;
    stage.sim.world(|world| {
        world.account_mut(stage.account).limits_max = LimitSet::new(10_000, 10_000, 100_000, 1_000);
    });
    join_all((0..count).map(|n| stage.create(stage.approved(&format!("web-{n}"))))).await;
    stage
}

async fn all_restored(stage: &Stage, count: usize) -> Vec<Value> {
    let mut restored = Vec::new();
    for n in 0..count {
        restored.push(stage.wait_for_reason(&format!("web-{n}"), "Restored").await);
    }
    restored
}

/// Records of calls that may have left. A claim is withdrawn where its holder sees that another process has told of it
/// already, or where the machine was so slow that its time has passed: that costs a try, and nothing else.
pub async fn sent(stage: &Stage) -> usize {
    let mut sent = 0;
    for record in stage.records().await {
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
async fn check_once_each(stage: &Stage, objects: &[Value]) {
    let count = objects.len();
    assert_eq!((stage.posts(), stage.executed()), (count, count));
    assert_eq!(sent(stage).await, count, "a second attempt was sent");
    let vms: HashSet<_> = objects
        .iter()
        .map(|object| at(object, "status.vm.vpsId").to_string())
        .collect();
    assert_eq!(vms.len(), count, "two objects show one VM");
    assert!(objects.iter().all(|object| ready(object)["status"] == "True"));
    stage.check_invariants().await;
}

async fn race(replicas: usize, objects: usize) {
    let stage = stage_with("race", objects).await;
    let operators: Vec<_> = (0..replicas).map(|_| stage.operator(&CALM)).collect();
    let restored = all_restored(&stage, objects).await;
    check_once_each(&stage, &restored).await;
    let shares: Vec<_> = operators.iter().map(Operator::sent).collect();
    assert_eq!(shares.iter().sum::<usize>(), objects);
    assert!(
        shares.iter().all(|share| *share > 0),
        "no race took place: {shares:?}"
    );
    // Five writes make a life; each replica may write each of them once at most, and lose.
    let writes = stage
        .plane
        .audit()
        .unwrap()
        .into_iter()
        .filter(|event| event.is_write() && event.code < 300 && event.namespace == stage.namespace)
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

fn elected(stage: &Stage) -> Operator {
    let namespace = format!("--operator-namespace={}", stage.namespace);
    stage.operator(&["--leader-elect=true", &namespace, "--paid-timeout=30s"])
}

fn leads(operator: &Operator) -> bool {
    operator.log().iter().any(|line| line.contains("\"leading\""))
}

/// Two operators of which the first leads.
async fn pair(stage: &Stage) -> (Operator, Operator) {
    let first = elected(stage);
    first.wait_for_line("\"leading\"");
    let second = elected(stage);
    second.wait_for_line("\"ready\"");
    (first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_election_only_the_leader_acts_and_sigterm_hands_over_within_seconds() {
    let stage = stage_with("handover", 3).await;
    let (first, second) = pair(&stage).await;
    all_restored(&stage, 3).await;
    assert_eq!((first.sent(), second.sent()), (3, 0));
    assert!(!leads(&second));
    let told = Instant::now();
    first.signal("TERM");
    second.wait_for_line("\"leading\"");
    let took = told.elapsed();
    assert!(took < Duration::from_secs(6), "the handover took {took:?}");
    let (first, status) = first.ended().await;
    assert_eq!(status.code(), Some(0));
    stage.create(stage.approved("web-3")).await;
    let restored = all_restored(&stage, 4).await;
    assert_eq!((first.sent(), second.sent()), (3, 1));
    check_once_each(&stage, &restored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_the_leader_is_killed_in_mid_call_the_other_takes_over_and_finds_what_was_bought() {
    let stage = stage_with("takeover", 3).await;
    let gate = stage.sim.hold(Route::RestoreToPayg, Moment::AfterAct);
    let (mut first, second) = pair(&stage).await;
    assert!(gate.held(PATIENCE).await);
    assert!(
        stage
            .sim
            .until(PATIENCE, |world| world.count(Route::RestoreToPayg) == 3)
            .await
    );
    let killed = Instant::now();
    first.kill_9();
    gate.release();
    second.wait_for_line("\"leading\"");
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(20), "the takeover took {took:?}");
    let restored = all_restored(&stage, 3).await;
    assert_eq!(second.sent(), 0);
    check_once_each(&stage, &restored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_installations_in_one_namespace_buy_each_object_once() {
    let stage = stage_with("strangers", 5).await;
    let operators =
        ["--instance-id=one", "--instance-id=two"].map(|id| stage.operator(&[id, CALM[0], CALM[1]]));
    for n in 0..5 {
        let ended = |object: &Value| ["Restored", "OtherInstance"].contains(&reason(object));
        stage.wait(&format!("web-{n}"), "an owner", ended).await;
    }
    assert!(
        stage
            .sim
            .until(PATIENCE, |world| world.purchases().len() == 5)
            .await
    );
    for record in stage.records().await {
        let name = record["metadata"]["name"].as_str().unwrap();
        let ended = |record: &Value| at(record, "status.state") == "Succeeded";
        stage.wait_for_record(name, "its end", ended).await;
    }
    assert_eq!(operators.iter().map(Operator::sent).sum::<usize>(), 5);
    assert_eq!(
        (stage.records().await.len(), stage.posts(), stage.executed()),
        (5, 5, 5)
    );
    stage.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_installation_that_did_not_buy_writes_nothing_over_one_that_did() {
    let behind = Behind::new("stranger").await;
    let stage = &behind.stage;
    let _buyer = stage.operator(&["--instance-id=buyer"]);
    stage.create(stage.approved("web-0")).await;
    let restored = stage.wait_for_reason("web-0", "Restored").await;
    let _stranger = stage.operator(&["--instance-id=stranger"]);
    let object = format!(
        "/apis/vps.hostup.se/v1alpha1/namespaces/{}/vpsbackuprestores/web-0",
        stage.namespace
    );
    for n in 0..3 {
        let earlier = behind.proxy.requests().len();
        stage.poke(stage.restores(), "web-0", n).await;
        let path = object.clone();
        // Both look at it.
        behind
            .seen(2, move |request| {
                request.n > earlier && request.method == "GET" && request.path == path
            })
            .await;
    }
    let writes = behind.proxy.requests().into_iter();
    let of_status =
        writes.filter(|request| request.method == "PUT" && request.path == format!("{object}/status"));
    let now = stage.restore("web-0").await;
    assert_eq!(at(&now, "status"), at(&restored, "status"));
    assert!(of_status.count() <= 4, "they write over each other");
    assert_eq!((stage.posts(), stage.executed()), (1, 1));
    behind.check().await;
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
    let behind = Behind::new("still").await;
    let stage = &behind.stage;
    let gate = Gate::new();
    behind.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    stage.create(stage.approved("web-0")).await;
    let quick = ["--request-timeout=2s", "--paid-timeout=3s", "--settle-time=1s"];
    let first = stage.operator(&quick);
    held(&gate).await;
    freeze(&first);
    gate.release();
    let _second = stage.operator(&quick);
    stage.wait_for_reason("web-0", "OutcomeUnknown").await;
    first.signal("CONT");
    let record = stage.records().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let withdrawn = |record: &Value| at(record, "status.state") == "NotSent";
    stage
        .wait_for_record(&record, "the word of its holder", withdrawn)
        .await;
    assert_eq!((first.sent(), stage.posts(), stage.executed()), (0, 0, 0));
    behind.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_stood_still_in_its_call_changes_nothing_that_another_has_found_out() {
    let stage = stage_with("asleep", 1).await;
    let gate = stage.sim.hold(Route::RestoreToPayg, Moment::AfterAct);
    let first = stage.operator(&["--paid-timeout=40s"]);
    assert!(gate.held(PATIENCE).await);
    freeze(&first);
    gate.release();
    let _second = stage.operator(&[]);
    let restored = all_restored(&stage, 1).await;
    let found = stage.records().await;
    assert_eq!(at(&found[0], "status.evidence"), "VmFound");
    first.signal("CONT");
    first.wait_for_line("after the record was settled otherwise");
    assert_eq!(stage.records().await[0]["status"], found[0]["status"]);
    check_once_each(&stage, &restored).await;
}
