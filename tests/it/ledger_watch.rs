//! The watch of the records stands still or is dead, and records are deleted meanwhile.

use control_plane::{Action, Gate, Rule};
use hostup_operator::domain::ledger::names::ChainKey;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::clocks::Clocks;
use crate::support::proxied_env::{ProxiedEnv, claim, held};
use crate::support::{HOUR, TestEnv, at, ready};

fn record_of(env: &TestEnv, attempt: u32) -> String {
    ChainKey::of_restore(&env.namespace, "web")
        .record(attempt)
        .to_string()
}

async fn comes_to(env: &TestEnv, attempt: u32, state: &str) {
    let is = |record: &Value| at(record, "status.state") == state;
    env.wait_for_record(&record_of(env, attempt), state, is).await;
}

/// A preview that is looked at again by the clock alone, and the approval that it waits for.
async fn priced(env: &TestEnv) -> Value {
    env.create(env.preview("web")).await;
    env.wait_for_reason("web", "AwaitingApproval").await;
    json!({"spec": {"approval": env.approved("web")["spec"]["approval"]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_is_followed_to_its_end_though_the_watch_shows_nothing() {
    let proxied = ProxiedEnv::new("frozen").await;
    let env = &proxied.env;
    let _operator = env.operator(&[]);
    let approve = priced(env).await;
    proxied.proxy.freeze_watches(true);
    env.patch("web", approve).await.unwrap();
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    proxied.proxy.freeze_watches(false);
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_bought_while_the_watch_of_the_records_shows_no_life() {
    let proxied = ProxiedEnv::new("silent").await;
    let env = &proxied.env;
    let clocks = Clocks::right();
    let operator = env.operator_with(&[], &[clocks.env()]);
    let approve = priced(env).await;
    assert!(operator.http("/readyz").0.contains("200"));
    let life = "hostup_operator_ledger_watch_timestamp_seconds";
    let before = operator.samples()[life];
    proxied.proxy.freeze_watches(true);
    // Slept for four minutes, say, and the connection is dead.
    clocks.ahead([0, 0, 240]);
    env.patch("web", approve).await.unwrap();
    let object = env.wait_for_reason("web", "LedgerUnavailable").await;
    assert!(
        ready(&object)["message"]
            .as_str()
            .unwrap()
            .contains("has been silent")
    );
    let (status, why) = operator.http("/readyz");
    assert!(
        status.contains("503") && why.contains("VpsOperations"),
        "{status} {why}"
    );
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    proxied.proxy.freeze_watches(false);
    // Any event shows life.
    env.create(env.preview("other")).await;
    env.wait_for_reason("web", "Restored").await;
    assert!(operator.http("/readyz").0.contains("200"));
    operator.samples_with(life, |sample| sample.is_some_and(|at| at >= before));
    assert_eq!((env.posts(), env.executed()), (1, 1));
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deleted_record_below_the_last_one_frees_no_name() {
    let proxied = ProxiedEnv::new("gap").await;
    let env = &proxied.env;
    env.sim.world(|world| world.restore.job_duration = HOUR);
    let claimed = Gate::new();
    proxied.proxy.rule(claim(Action::HoldAfter(claimed.clone())));
    let _operator = env.operator(&["--request-timeout=20s", "--paid-timeout=25s"]);
    let approve = priced(env).await;
    proxied.proxy.freeze_watches(true);
    env.patch("web", approve).await.unwrap();
    held(&claimed).await;
    env.sim.go_down();
    claimed.release();
    comes_to(env, 1, "NotSent").await;
    env.sim.come_up();
    comes_to(env, 2, "Accepted").await;
    let shown = record_of(env, 2);
    let is_shown = |object: &Value| at(object, "status.operation.name") == shown.as_str();
    env.wait("web", "its second attempt", is_shown).await;
    env.operations()
        .delete(&record_of(env, 1), &DeleteParams::default())
        .await
        .unwrap();
    // It is looked at by the clock alone, and its watch shows none of all this.
    let object = env.wait_for_reason("web", "LedgerMissing").await;
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains(&record_of(env, 1)), "{message}");
    proxied.proxy.freeze_watches(false);
    // What was ordered is followed all the same.
    env.polled_again().await;
    env.sim.world(|world| world.advance(HOUR));
    env.wait_for_reason("web", "Restored").await;
    let records = env.records().await;
    assert_eq!(records.len(), 1);
    assert_eq!((env.posts(), env.executed()), (1, 1));
}

/// Another process has made the attempts, and died; this one's watch shows none of them, and the first was deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_whose_watch_shows_no_record_goes_by_the_one_that_the_status_names() {
    let ProxiedEnv { mut env, proxy } = ProxiedEnv::new("named").await;
    env.sim.world(|world| world.restore.job_duration = HOUR);
    let blind = env.operator(&[]);
    let approve = priced(&env).await;
    proxy.freeze_watches(true);
    let path = format!(
        "/apis/vps.hostup.se/v1alpha1/namespaces/{}/vpsbackuprestores/web",
        env.namespace
    );
    let (looks, claimed) = (Gate::new(), Gate::new());
    let rule = Rule::on("GET", move |request| request.path == path).always();
    proxy.rule(rule.action(Action::HoldBefore(looks.clone())));
    held(&looks).await;

    let second = env.plane.proxy().unwrap();
    second.rule(claim(Action::HoldAfter(claimed.clone())));
    env.kubeconfig = second.kubeconfig(&env.kubeconfig).unwrap();
    let mut other = env.operator(&["--request-timeout=20s", "--paid-timeout=25s"]);
    env.patch("web", approve).await.unwrap();
    held(&claimed).await;
    env.sim.go_down();
    claimed.release();
    comes_to(&env, 1, "NotSent").await;
    env.sim.come_up();
    comes_to(&env, 2, "Accepted").await;
    let shown = record_of(&env, 2);
    let is_shown = |object: &Value| at(object, "status.operation.name") == shown.as_str();
    env.wait("web", "its second attempt", is_shown).await;
    other.kill_9();
    env.operations()
        .delete(&record_of(&env, 1), &DeleteParams::default())
        .await
        .unwrap();
    looks.release();
    let object = env.wait_for_reason("web", "LedgerMissing").await;
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains(&record_of(&env, 1)), "{message}");
    assert_eq!((env.posts(), env.executed()), (1, 1));
    // The next process sees the record that is left, and follows it.
    drop(blind);
    let _third = env.operator(&[]);
    env.sim.world(|world| world.advance(HOUR));
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_of_options_waits_for_records_that_are_gone() {
    let env = TestEnv::new("gapped").await;
    let _operator = env.operator(&[]);
    let mut object = env.approved_config("web", json!({"bandwidthGb": 4096}));
    object["spec"]["approval"]["maxPrice"] =
        json!({"dueNow": "400", "perMonth": "400", "currencyCode": "SEK"});
    env.create(object).await;
    env.config_comes_to("web", "InSync").await;
    env.patch_config("web", json!({"resources": {"bandwidthGb": 6144}}))
        .await;
    env.config_comes_to_anew("web", "InSync").await;
    let first = env.records_of_config("web").await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    env.operations()
        .delete(&first, &DeleteParams::default())
        .await
        .unwrap();
    // What is in force is in force.
    env.patch_config("web", json!({"driftPolicy": "Correct"})).await;
    env.config_comes_to_anew("web", "InSync").await;
    env.patch_config("web", json!({"resources": {"bandwidthGb": 8192}}))
        .await;
    let object = env.config_comes_to_anew("web", "LedgerMissing").await;
    assert!(ready(&object)["message"].as_str().unwrap().contains(&first));
    assert_eq!((env.posts(), env.executed()), (2, 2));
}
