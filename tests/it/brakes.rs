//! What the operator's own brakes hold back, and what they do not.

use control_plane::{Action, Gate};
use futures::future::join_all;
use hostup_sim::{Answer, Fault, LimitSet, RestoreBehaviour, Route};
use serde_json::{Value, json};

use crate::support::behind::{Behind, claim, held};
use crate::support::{HOUR, Stage, at, condition, ready, reason};

#[tokio::test]
async fn a_read_only_operator_sends_nothing_and_says_so() {
    let stage = Stage::new("readonly").await;
    let mut operator = stage.operator(&["--read-only"]);
    stage.create(stage.approved("web")).await;
    let object = stage.wait_for_reason("web", "ReadOnly").await;
    assert_eq!(ready(&object)["status"], "False");
    assert_eq!(condition(&object, "Stalled"), &Value::Null);
    assert_eq!(condition(&object, "Approved")["status"], "True");
    assert!(
        ready(&object)["message"]
            .as_str()
            .unwrap()
            .contains("--read-only")
    );
    assert_eq!((stage.posts(), stage.records().await.len()), (0, 0));
    operator.signal("TERM");
    operator.wait_for_end();
    let _operator = stage.operator(&[]);
    stage.wait_for_reason("web", "Restored").await;
    assert_eq!((stage.executed(), stage.posts()), (1, 1));
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_vm_that_bears_the_token_is_adopted_without_a_call_even_when_read_only() {
    let stage = Stage::new("adopts").await;
    // Bought by an installation whose records were lost: the same instance id makes the same token.
    let operator = stage.operator(&[]);
    stage.create(stage.approved("web")).await;
    stage.wait_for_reason("web", "Restored").await;
    drop(operator);
    let name = stage.records().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let by = kube::api::DeleteParams::default();
    stage.operations().delete(&name, &by).await.unwrap();
    stage.delete("web").await;

    let _operator = stage.operator(&["--read-only", "--max-paid-calls=1"]);
    stage.create(stage.approved("web")).await;
    let object = stage.wait_for_reason("web", "AlreadyExecuted").await;
    let bought = stage.sim.purchases();
    assert_eq!(
        at(&object, "status.vm.vpsId"),
        bought[0].vps_id.as_ref().unwrap().as_str()
    );
    let record = &stage.records().await[0];
    assert_eq!(at(record, "status.evidence"), "FoundBeforeClaim");
    assert_eq!(at(record, "status.state"), "Succeeded");
    assert_eq!((stage.executed(), stage.posts()), (1, 1));
    stage.check_invariants().await;
}

/// Waits until as many objects have come to each of two reasons, and nothing is on its way.
async fn split(stage: &Stage, names: &[String], bought: usize) -> Vec<Value> {
    let objects = join_all(names.iter().map(|name| {
        stage.wait(name, "an end or the cap", |object| {
            ["Restored", "PaidCallCap"].contains(&reason(object))
        })
    }))
    .await;
    let restored = objects
        .iter()
        .filter(|object| reason(object) == "Restored")
        .count();
    assert_eq!(restored, bought);
    objects
}

#[tokio::test]
async fn the_cap_is_exact_and_holds_after_a_restart() {
    let stage = Stage::new("cap").await;
    let mut operator = stage.operator(&["--max-paid-calls=2"]);
    let names: Vec<String> = (0..5).map(|n| format!("web-{n}")).collect();
    join_all(names.iter().map(|name| stage.create(stage.approved(name)))).await;
    let objects = split(&stage, &names, 2).await;
    for object in objects.iter().filter(|object| reason(object) == "PaidCallCap") {
        let message = ready(object)["message"].as_str().unwrap();
        assert!(message.contains("2 paid calls (--max-paid-calls)"), "{message}");
        assert_eq!(condition(object, "Stalled"), &Value::Null);
        assert_eq!(at(object, "status.operation"), &Value::Null);
    }
    assert_eq!((stage.posts(), stage.records().await.len()), (2, 2));

    operator.kill_9();
    let mut operator = stage.operator(&["--max-paid-calls=2"]);
    stage.create(stage.approved("late")).await;
    stage.wait_for_reason("late", "PaidCallCap").await;
    split(&stage, &names, 2).await;
    assert_eq!(stage.posts(), 2);

    operator.kill_9();
    let _operator = stage.operator(&["--max-paid-calls=6"]);
    split(&stage, &names, 2).await;
    let all = names.iter().map(String::as_str).chain(["late"]);
    join_all(all.map(|name| stage.wait_for_reason(name, "Restored"))).await;
    assert_eq!((stage.executed(), stage.posts()), (6, 6));
    stage.check_invariants().await;
}

#[tokio::test]
async fn the_cap_is_exact_with_many_claims_at_once_and_several_keys() {
    let stage = Stage::new("rush").await;
    let owners = join_all((0..8).map(|n| {
        let stage = &stage;
        async move { stage.owner(&format!("web-{n}")).await }
    }))
    .await;
    join_all(owners.iter().map(|owner| stage.create(stage.approved_for(owner)))).await;
    let _operator = stage.operator(&["--max-paid-calls=3", "--workers=8"]);
    let names: Vec<String> = owners.iter().map(|owner| owner.name.clone()).collect();
    split(&stage, &names, 3).await;
    assert_eq!((stage.posts(), stage.records().await.len()), (3, 3));
    assert_eq!(stage.executed(), 3);
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_call_that_never_left_gives_its_place_back() {
    let behind = Behind::new("place").await;
    let stage = &behind.stage;
    // A held claim lets the first object be suspended between its decision and its call.
    let gate = Gate::new();
    behind.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    let _operator = stage.operator(&["--max-paid-calls=1"]);
    stage.create(stage.approved("first")).await;
    held(&gate).await;
    stage
        .patch("first", json!({"spec": {"suspend": true}}))
        .await
        .unwrap();
    gate.release();
    stage.wait_for_reason("first", "Suspended").await;
    assert_eq!(at(&stage.records().await[0], "status.state"), "NotSent");
    stage.create(stage.approved("second")).await;
    stage.wait_for_reason("second", "Restored").await;
    assert_eq!((stage.executed(), stage.posts()), (1, 1));
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_refused_and_a_lost_call_count_against_the_cap() {
    let stage = Stage::new("counts").await;
    stage.sim.world(|world| {
        world.account_mut(stage.account).limits_max = LimitSet::new(64, 256, 4000, 40);
    });
    let refuse = Fault::on(Route::RestoreToPayg).acted(false);
    stage
        .sim
        .inject(refuse.answer(Answer::problem(400, "invalid_request")));
    let _operator = stage.operator(&["--max-paid-calls=2"]);
    stage.create(stage.approved("refused")).await;
    stage.wait_for_reason("refused", "Rejected").await;
    let lose = Fault::on(Route::RestoreToPayg).acted(true);
    stage.sim.inject(lose.answer(Answer::reset()));
    stage.create(stage.approved("lost")).await;
    stage.wait_for_reason("lost", "Restored").await;
    stage.create(stage.approved("third")).await;
    stage.wait_for_reason("third", "PaidCallCap").await;
    assert_eq!((stage.executed(), stage.posts()), (1, 2));
    assert!(stage.sim.unfired().is_empty(), "{:?}", stage.sim.unfired());
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_suspended_object_is_not_read_and_buys_once_it_goes_on() {
    let stage = Stage::new("suspended").await;
    let _operator = stage.operator(&[]);
    let mut object = stage.approved("web");
    object["spec"]["suspend"] = json!(true);
    stage.create(object).await;
    let object = stage.wait_for_reason("web", "Suspended").await;
    assert_eq!(condition(&object, "Reconciling"), &Value::Null);
    assert_eq!(condition(&object, "Stalled"), &Value::Null);
    assert_eq!(stage.sim.count(Route::Any), 0);
    let go = json!({"spec": {"suspend": false}});
    stage.patch("web", go).await.unwrap();
    stage.wait_for_reason("web", "Restored").await;
    assert_eq!((stage.executed(), stage.posts()), (1, 1));
    stage.check_invariants().await;
}

#[tokio::test]
async fn suspension_after_the_call_stops_nothing_that_was_paid_for() {
    let stage = Stage::new("late").await;
    stage.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    let _operator = stage.operator(&[]);
    stage.create(stage.approved("web")).await;
    let object = stage.wait_for_reason("web", "JobRunning").await;
    let job = at(&object, "status.job.id").as_str().unwrap().to_owned();
    stage
        .patch("web", json!({"spec": {"suspend": true}}))
        .await
        .unwrap();
    let object = stage
        .wait("web", "the suspension seen", |o| {
            at(o, "status.observedGeneration") == 2
        })
        .await;
    assert_eq!(reason(&object), "JobRunning");
    stage.sim.world(|world| world.finish_job(&job));
    let object = stage.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&object, "spec.suspend"), true);
    assert_eq!((stage.executed(), stage.posts()), (1, 1));
    assert!(stage.sim.unfired().is_empty(), "{:?}", stage.sim.unfired());
    stage.check_invariants().await;
}

#[tokio::test]
async fn another_installations_records_do_not_count_against_the_cap() {
    let stage = Stage::new("others").await;
    let other = stage.operator(&["--instance-id=another"]);
    stage.create(stage.approved("theirs")).await;
    stage.wait_for_reason("theirs", "Restored").await;
    drop(other);
    let _operator = stage.operator(&["--max-paid-calls=1"]);
    stage.create(stage.approved("ours")).await;
    stage.wait_for_reason("ours", "Restored").await;
    stage.create(stage.approved("more")).await;
    stage.wait_for_reason("more", "PaidCallCap").await;
    // Who did not buy it writes nothing over one who did.
    assert_eq!(reason(&stage.restore("theirs").await), "Restored");
    assert_eq!((stage.executed(), stage.posts()), (2, 2));
    stage.check_invariants().await;
}
