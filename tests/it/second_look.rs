//! Between the claim and the call: the clocks, the record, and who stands in between.

use control_plane::{Action, Gate, Rule};
use hostup_sim::ActionGate;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::clocks::Clocks;
use crate::support::proxied_env::{ProxiedEnv, claim, held, is_claim};
use crate::support::{HOUR, TestEnv, at, each_row};

/// A claim on a busy machine may take its time; whether it is in time is not the subject here.
const CALM: [&str; 2] = ["--request-timeout=20s", "--paid-timeout=25s"];

async fn record_comes_to(env: &TestEnv, state: &str) -> Value {
    let name = env.records().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let is = |record: &Value| at(record, "status.state") == state;
    env.wait_for_record(&name, state, is).await
}

fn message(record: &Value) -> &str {
    at(record, "status.message").as_str().unwrap()
}

/// Longer than readings last, so that these alone are too old.
const LONG: [&str; 2] = ["--request-timeout=90s", "--paid-timeout=95s"];

async fn a_claim_that_slept(args: [&str; 2], ahead: [u32; 3]) {
    let proxied = ProxiedEnv::new("slept").await;
    let env = &proxied.env;
    let gate = Gate::new();
    proxied.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    let clocks = Clocks::right();
    env.create(env.approved("web")).await;
    let operator = env.operator_with(&args, &[clocks.env()]);
    held(&gate).await;
    clocks.ahead(ahead);
    gate.release();
    let record = record_comes_to(env, "NotSent").await;
    assert!(message(&record).contains("too old"), "{}", message(&record));
    assert_eq!((operator.sent(), env.posts()), (0, 0));
    drop(operator);
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_is_too_old_by_any_clock_is_never_sent() {
    let hour = 3600;
    let rows = [
        ("the time of day", CALM, [hour, 0, 0]),
        ("the monotonic clock", CALM, [0, hour, 0]),
        ("the clock that counts sleep", CALM, [0, 0, hour]),
        ("a minute of sleep", CALM, [0, 0, 61]),
        ("readings of a minute ago", LONG, [61, 0, 0]),
        (
            "readings of a minute ago, by the monotonic clock",
            LONG,
            [0, 61, 0],
        ),
        ("readings of a minute ago, with sleep", LONG, [0, 0, 61]),
    ];
    each_row(rows.map(|(name, args, ahead)| (name.to_owned(), a_claim_that_slept(args, ahead)))).await;
}

/// What nobody tells this process: its watches are frozen, and what it knows of the object is older.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_suspended_behind_a_frozen_watch_is_not_even_claimed() {
    let proxied = ProxiedEnv::new("unseen").await;
    let env = &proxied.env;
    let open = |is_open: bool| {
        env.sim.world(|world| {
            world.account_mut(env.account).vps[0].can_restore = if is_open {
                ActionGate::open()
            } else {
                ActionGate::closed("later", Some("maintenance"))
            };
        });
    };
    open(false);
    env.create(env.approved("web")).await;
    let _operator = env.operator(&["--gate-interval=1s"]);
    env.wait_for_reason("web", "GatesClosed").await;
    proxied.proxy.freeze_watches(true);
    env.patch("web", json!({"spec": {"suspend": true}}))
        .await
        .unwrap();
    open(true);
    env.wait_for_reason("web", "Suspended").await;
    assert_eq!(env.records().await.len(), 0);
    proxied.proxy.freeze_watches(false);
    env.patch("web", json!({"spec": {"suspend": false}}))
        .await
        .unwrap();
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    proxied.check().await;
}

/// What a webhook makes of a record.
type Change = fn(&mut Value);

async fn a_record_that_was_changed(change: Change) {
    let proxied = ProxiedEnv::new("changed").await;
    let env = &proxied.env;
    let rule = Rule::on("POST", is_claim).named("a webhook").always();
    proxied.proxy.rule(rule.action(Action::Rewrite(change)));
    env.create(env.approved("web")).await;
    let operator = env.operator(&CALM);
    proxied.seen(1, is_claim).await;
    let appeared = |object: &Value| !at(object, "status.operation.name").is_null();
    env.wait("web", "the attempt", appeared).await;
    let record = record_comes_to(env, "NotSent").await;
    assert!(
        message(&record).contains("not what was drafted"),
        "{}",
        message(&record)
    );
    assert!(message(&record).contains("webhook"), "{}", message(&record));
    assert_eq!((operator.sent(), env.posts(), env.executed()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_that_was_changed_on_its_way_is_withdrawn_and_never_sent() {
    let rows: [(&str, Change); 8] = [
        ("the body", |record| {
            let body = &mut record["spec"]["request"]["body"];
            *body = json!(
                body.as_str()
                    .unwrap()
                    .replace("\"cpuCores\":2", "\"cpuCores\":32")
            );
        }),
        ("the path", |record| {
            let path = &mut record["spec"]["request"]["path"];
            *path = json!(path.as_str().unwrap().replace("backups/", "backups/x"));
        }),
        ("the price", |record| {
            record["spec"]["quote"]["perHour"] = json!("9.99")
        }),
        ("the name of the VM", |record| {
            record["spec"]["expectedVmName"] = json!("web-aaaaaaaaaaaa")
        }),
        ("its size", |record| {
            record["spec"]["orderedSize"]["storageGb"] = json!(81)
        }),
        ("its time", |record| {
            record["spec"]["claim"]["sendBefore"] = json!("2099-01-01T00:00:00Z")
        }),
        ("its subject", |record| {
            record["spec"]["subject"]["generation"] = json!(9)
        }),
        ("its Secret", |record| {
            record["spec"]["credentialsRef"]["name"] = json!("another")
        }),
    ];
    each_row(rows.map(|(name, change)| (name.to_owned(), a_record_that_was_changed(change)))).await;
}

/// The one record there is, which another process and a person settle while its holder waits.
async fn settle(env: &TestEnv, answer: &str, state: &str) {
    let record = env.records().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut object = env.operations().get(&record).await.unwrap();
    object.data["status"] = json!({"state": "Unknown", "quietSince": "2026-11-23T00:00:00Z"});
    let by = PostParams::default();
    env.operations()
        .replace_status(&record, &by, &object)
        .await
        .unwrap();
    env.resolve(&record, json!({"answer": answer})).await.unwrap();
    let settled = |record: &Value| at(record, "status.state") == state;
    env.wait_for_record(&record, state, settled).await;
}

/// Another process, and a person, have settled the record while its holder stood still.
async fn a_record_that_was_settled(answer: &'static str, state: &'static str) {
    let proxied = ProxiedEnv::new("settled").await;
    let env = &proxied.env;
    env.sim.world(|world| world.restore.job_duration = HOUR);
    let gate = Gate::new();
    proxied.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    env.create(env.approved("web")).await;
    let operator = env.operator(&CALM);
    held(&gate).await;
    settle(env, answer, state).await;
    gate.release();
    operator.wait_for_line("the record was settled before anything was sent");
    if state == "NotExecuted" {
        // The answer lets another attempt follow, and that one alone is sent.
        env.wait_for_reason("web", "JobRunning").await;
        assert_eq!((operator.sent(), env.posts(), env.executed()), (1, 1, 1));
    } else {
        assert_eq!((operator.sent(), env.posts(), env.executed()), (0, 0, 0));
    }
    drop(operator);
    proxied.check().await;
}

/// The path of a request of an environment.
type PathOf = fn(&TestEnv) -> String;

/// The record was settled while another answer of the second look was on its way.
async fn a_record_that_was_settled_during(read: PathOf) {
    let proxied = ProxiedEnv::new("during").await;
    let env = &proxied.env;
    let (claimed, slow) = (Gate::new(), Gate::new());
    proxied.proxy.rule(claim(Action::HoldAfter(claimed.clone())));
    env.create(env.approved("web")).await;
    let operator = env.operator(&CALM);
    held(&claimed).await;
    let path = read(env);
    let rule = Rule::on("GET", move |asked| asked.path == path).named("a slow answer");
    proxied.proxy.rule(rule.action(Action::HoldAfter(slow.clone())));
    claimed.release();
    held(&slow).await;
    settle(env, "Abandon", "Abandoned").await;
    slow.release();
    operator.wait_for_line("the record was settled before anything was sent");
    assert_eq!((operator.sent(), env.posts(), env.executed()), (0, 0, 0));
    drop(operator);
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_record_is_read_after_every_other_answer_of_the_second_look() {
    let rows: [(&str, PathOf); 2] = [
        ("the object", |env| {
            format!(
                "/apis/vps.hostup.se/v1alpha1/namespaces/{}/vpsbackuprestores/web",
                env.namespace
            )
        }),
        ("its Namespace", |env| {
            format!("/api/v1/namespaces/{}", env.namespace)
        }),
    ];
    each_row(rows.map(|(name, read)| (name.to_owned(), a_record_that_was_settled_during(read)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_holder_of_a_claim_that_was_settled_without_it_sends_nothing() {
    let rows = [("NotExecuted", "NotExecuted"), ("Abandon", "Abandoned")];
    each_row(rows.map(|(answer, state)| (answer.to_owned(), a_record_that_was_settled(answer, state)))).await;
}
