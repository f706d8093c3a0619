//! The watch of the records stands still or is dead, and records are deleted meanwhile.

use control_plane::{Action, Gate, Rule};
use hostup_operator::domain::ledger::names::ChainKey;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::behind::{Behind, claim, held};
use crate::support::clocks::Clocks;
use crate::support::{HOUR, Stage, at, ready};

fn record_of(stage: &Stage, attempt: u32) -> String {
    ChainKey::of_restore(&stage.namespace, "web")
        .record(attempt)
        .to_string()
}

async fn comes_to(stage: &Stage, attempt: u32, state: &str) {
    let is = |record: &Value| at(record, "status.state") == state;
    stage.wait_for_record(&record_of(stage, attempt), state, is).await;
}

/// A preview that is looked at again by the clock alone, and the approval that it waits for.
async fn priced(stage: &Stage) -> Value {
    stage.create(stage.preview("web")).await;
    stage.wait_for_reason("web", "AwaitingApproval").await;
    json!({"spec": {"approval": stage.approved("web")["spec"]["approval"]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_is_followed_to_its_end_though_the_watch_shows_nothing() {
    let behind = Behind::new("frozen").await;
    let stage = &behind.stage;
    let _operator = stage.operator(&[]);
    let approve = priced(stage).await;
    behind.proxy.freeze_watches(true);
    stage.patch("web", approve).await.unwrap();
    stage.wait_for_reason("web", "Restored").await;
    assert_eq!((stage.posts(), stage.executed()), (1, 1));
    behind.proxy.freeze_watches(false);
    behind.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_bought_while_the_watch_of_the_records_shows_no_life() {
    let behind = Behind::new("silent").await;
    let stage = &behind.stage;
    let clocks = Clocks::right();
    let operator = stage.operator_with(&[], &[clocks.env()]);
    let approve = priced(stage).await;
    assert!(operator.http("/readyz").0.contains("200"));
    let life = "hostup_operator_ledger_watch_timestamp_seconds";
    let before = operator.samples()[life];
    behind.proxy.freeze_watches(true);
    // Slept for four minutes, say, and the connection is dead.
    clocks.ahead([0, 0, 240]);
    stage.patch("web", approve).await.unwrap();
    let object = stage.wait_for_reason("web", "LedgerUnavailable").await;
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
    assert_eq!((stage.posts(), stage.records().await.len()), (0, 0));
    behind.proxy.freeze_watches(false);
    // Any event shows life.
    stage.create(stage.preview("other")).await;
    stage.wait_for_reason("web", "Restored").await;
    assert!(operator.http("/readyz").0.contains("200"));
    operator.samples_with(life, |sample| sample.is_some_and(|at| at >= before));
    assert_eq!((stage.posts(), stage.executed()), (1, 1));
    behind.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deleted_record_below_the_last_one_frees_no_name() {
    let behind = Behind::new("gap").await;
    let stage = &behind.stage;
    stage.sim.world(|world| world.restore.job_duration = HOUR);
    let claimed = Gate::new();
    behind.proxy.rule(claim(Action::HoldAfter(claimed.clone())));
    let _operator = stage.operator(&["--request-timeout=20s", "--paid-timeout=25s"]);
    let approve = priced(stage).await;
    behind.proxy.freeze_watches(true);
    stage.patch("web", approve).await.unwrap();
    held(&claimed).await;
    stage.sim.go_down();
    claimed.release();
    comes_to(stage, 1, "NotSent").await;
    stage.sim.come_up();
    comes_to(stage, 2, "Accepted").await;
    let shown = record_of(stage, 2);
    let is_shown = |object: &Value| at(object, "status.operation.name") == shown.as_str();
    stage.wait("web", "its second attempt", is_shown).await;
    stage
        .operations()
        .delete(&record_of(stage, 1), &DeleteParams::default())
        .await
        .unwrap();
    // It is looked at by the clock alone, and its watch shows none of all this.
    let object = stage.wait_for_reason("web", "LedgerMissing").await;
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains(&record_of(stage, 1)), "{message}");
    behind.proxy.freeze_watches(false);
    // What was ordered is followed all the same.
    stage.polled_again().await;
    stage.sim.world(|world| world.advance(HOUR));
    stage.wait_for_reason("web", "Restored").await;
    let records = stage.records().await;
    assert_eq!(records.len(), 1);
    assert_eq!((stage.posts(), stage.executed()), (1, 1));
}

/// Another process has made the attempts, and died; this one's watch shows none of them, and the first was deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_whose_watch_shows_no_record_goes_by_the_one_that_the_status_names() {
    let Behind { mut stage, proxy } = Behind::new("named").await;
    stage.sim.world(|world| world.restore.job_duration = HOUR);
    let blind = stage.operator(&[]);
    let approve = priced(&stage).await;
    proxy.freeze_watches(true);
    let path = format!(
        "/apis/vps.hostup.se/v1alpha1/namespaces/{}/vpsbackuprestores/web",
        stage.namespace
    );
    let (looks, claimed) = (Gate::new(), Gate::new());
    let rule = Rule::on("GET", move |request| request.path == path).always();
    proxy.rule(rule.action(Action::HoldBefore(looks.clone())));
    held(&looks).await;

    let second = stage.plane.proxy().unwrap();
    second.rule(claim(Action::HoldAfter(claimed.clone())));
    stage.kubeconfig = second.kubeconfig(&stage.kubeconfig).unwrap();
    let mut other = stage.operator(&["--request-timeout=20s", "--paid-timeout=25s"]);
    stage.patch("web", approve).await.unwrap();
    held(&claimed).await;
    stage.sim.go_down();
    claimed.release();
    comes_to(&stage, 1, "NotSent").await;
    stage.sim.come_up();
    comes_to(&stage, 2, "Accepted").await;
    let shown = record_of(&stage, 2);
    let is_shown = |object: &Value| at(object, "status.operation.name") == shown.as_str();
    stage.wait("web", "its second attempt", is_shown).await;
    other.kill_9();
    stage
        .operations()
        .delete(&record_of(&stage, 1), &DeleteParams::default())
        .await
        .unwrap();
    looks.release();
    let object = stage.wait_for_reason("web", "LedgerMissing").await;
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains(&record_of(&stage, 1)), "{message}");
    assert_eq!((stage.posts(), stage.executed()), (1, 1));
    // The next process sees the record that is left, and follows it.
    drop(blind);
    let _third = stage.operator(&[]);
    stage.sim.world(|world| world.advance(HOUR));
    stage.wait_for_reason("web", "Restored").await;
    assert_eq!((stage.posts(), stage.executed()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_of_options_waits_for_records_that_are_gone() {
    let stage = Stage::new("gapped").await;
    let _operator = stage.operator(&[]);
    let mut object = stage.approved_config("web", json!({"bandwidthGb": 4096}));
    object["spec"]["approval"]["maxPrice"] =
        json!({"dueNow": "400", "perMonth": "400", "currencyCode": "SEK"});
    stage.create(object).await;
    stage.config_comes_to("web", "InSync").await;
    stage
        .patch_config("web", json!({"resources": {"bandwidthGb": 6144}}))
        .await;
    stage.config_comes_to_anew("web", "InSync").await;
    let first = stage.records_of_config("web").await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    stage
        .operations()
        .delete(&first, &DeleteParams::default())
        .await
        .unwrap();
    // What is in force is in force.
    stage.patch_config("web", json!({"driftPolicy": "Correct"})).await;
    stage.config_comes_to_anew("web", "InSync").await;
    stage
        .patch_config("web", json!({"resources": {"bandwidthGb": 8192}}))
        .await;
    let object = stage.config_comes_to_anew("web", "LedgerMissing").await;
    assert!(ready(&object)["message"].as_str().unwrap().contains(&first));
    assert_eq!((stage.posts(), stage.executed()), (2, 2));
}
