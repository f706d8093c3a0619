//! What the operator's own brakes hold back, and what they do not.

use control_plane::{Action, Gate};
use futures::future::join_all;
use hostup_sim::{Answer, Fault, LimitSet, RestoreBehaviour, Route};
use serde_json::{Value, json};

use crate::support::proxied_env::{ProxiedEnv, claim, held};
use crate::support::{HOUR, TestEnv, at, condition, ready, reason};

#[tokio::test]
async fn a_read_only_operator_sends_nothing_and_says_so() {
    let env = TestEnv::new("readonly").await;
    let mut operator = env.operator(&["--read-only"]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "ReadOnly").await;
    assert_eq!(ready(&object)["status"], "False");
    assert_eq!(condition(&object, "Stalled"), &Value::Null);
    assert_eq!(condition(&object, "Approved")["status"], "True");
    assert!(
        ready(&object)["message"]
            .as_str()
            .unwrap()
            .contains("--read-only")
    );
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    operator.signal("TERM");
    operator.wait_for_end();
    let _operator = env.operator(&[]);
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_vm_that_bears_the_token_is_adopted_without_a_call_even_when_read_only() {
    let env = TestEnv::new("adopts").await;
    // Bought by an installation whose records were lost: the same instance id makes the same token.
    let operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    drop(operator);
    let name = env.records().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let by = kube::api::DeleteParams::default();
    env.operations().delete(&name, &by).await.unwrap();
    env.delete("web").await;

    let _operator = env.operator(&["--read-only", "--max-paid-calls=1"]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "AlreadyExecuted").await;
    let bought = env.sim.purchases();
    assert_eq!(
        at(&object, "status.vm.vpsId"),
        bought[0].vps_id.as_ref().unwrap().as_str()
    );
    let record = &env.records().await[0];
    assert_eq!(at(record, "status.evidence"), "FoundBeforeClaim");
    assert_eq!(at(record, "status.state"), "Succeeded");
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

/// Waits until as many objects have come to each of two reasons, and nothing is on its way.
async fn split(env: &TestEnv, names: &[String], bought: usize) -> Vec<Value> {
    let objects = join_all(names.iter().map(|name| {
        env.wait(name, "an end or the cap", |object| {
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
    let env = TestEnv::new("cap").await;
    let mut operator = env.operator(&["--max-paid-calls=2"]);
    let names: Vec<String> = (0..5).map(|n| format!("web-{n}")).collect();
    join_all(names.iter().map(|name| env.create(env.approved(name)))).await;
    let objects = split(&env, &names, 2).await;
    for object in objects.iter().filter(|object| reason(object) == "PaidCallCap") {
        let message = ready(object)["message"].as_str().unwrap();
        assert!(message.contains("2 paid calls (--max-paid-calls)"), "{message}");
        assert_eq!(condition(object, "Stalled"), &Value::Null);
        assert_eq!(at(object, "status.operation"), &Value::Null);
    }
    assert_eq!((env.posts(), env.records().await.len()), (2, 2));

    operator.kill_9();
    let mut operator = env.operator(&["--max-paid-calls=2"]);
    env.create(env.approved("late")).await;
    env.wait_for_reason("late", "PaidCallCap").await;
    split(&env, &names, 2).await;
    assert_eq!(env.posts(), 2);

    operator.kill_9();
    let _operator = env.operator(&["--max-paid-calls=6"]);
    split(&env, &names, 2).await;
    let all = names.iter().map(String::as_str).chain(["late"]);
    join_all(all.map(|name| env.wait_for_reason(name, "Restored"))).await;
    assert_eq!((env.executed(), env.posts()), (6, 6));
    env.check_invariants().await;
}

#[tokio::test]
async fn the_cap_is_exact_with_many_claims_at_once_and_several_keys() {
    let env = TestEnv::new("rush").await;
    let customers = join_all((0..8).map(|n| {
        let env = &env;
        async move { env.customer(&format!("web-{n}")).await }
    }))
    .await;
    join_all(
        customers
            .iter()
            .map(|customer| env.create(customer.restore(&env))),
    )
    .await;
    let _operator = env.operator(&["--max-paid-calls=3", "--workers=8"]);
    let names: Vec<String> = customers.iter().map(|customer| customer.name.clone()).collect();
    split(&env, &names, 3).await;
    assert_eq!((env.posts(), env.records().await.len()), (3, 3));
    assert_eq!(env.executed(), 3);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_call_that_never_left_gives_its_place_back() {
    let proxied = ProxiedEnv::new("place").await;
    let env = &proxied.env;
    // A held claim lets the first object be suspended between its decision and its call.
    let gate = Gate::new();
    proxied.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    let _operator = env.operator(&["--max-paid-calls=1"]);
    env.create(env.approved("first")).await;
    held(&gate).await;
    env.patch("first", json!({"spec": {"suspend": true}}))
        .await
        .unwrap();
    gate.release();
    env.wait_for_reason("first", "Suspended").await;
    assert_eq!(at(&env.records().await[0], "status.state"), "NotSent");
    env.create(env.approved("second")).await;
    env.wait_for_reason("second", "Restored").await;
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_refused_and_a_lost_call_count_against_the_cap() {
    let env = TestEnv::new("counts").await;
    env.sim.world(|world| {
        world.account_mut(env.account).limits_max = LimitSet::new(64, 256, 4000, 40);
    });
    let refuse = Fault::on(Route::RestoreToPayg).acted(false);
    env.sim
        .inject(refuse.answer(Answer::problem(400, "invalid_request")));
    let _operator = env.operator(&["--max-paid-calls=2"]);
    env.create(env.approved("refused")).await;
    env.wait_for_reason("refused", "Rejected").await;
    let lose = Fault::on(Route::RestoreToPayg).acted(true);
    env.sim.inject(lose.answer(Answer::reset()));
    env.create(env.approved("lost")).await;
    env.wait_for_reason("lost", "Restored").await;
    env.create(env.approved("third")).await;
    env.wait_for_reason("third", "PaidCallCap").await;
    assert_eq!((env.executed(), env.posts()), (1, 2));
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
}

#[tokio::test]
async fn a_suspended_object_is_not_read_and_buys_once_it_goes_on() {
    let env = TestEnv::new("suspended").await;
    let _operator = env.operator(&[]);
    let mut object = env.approved("web");
    object["spec"]["suspend"] = json!(true);
    env.create(object).await;
    let object = env.wait_for_reason("web", "Suspended").await;
    assert_eq!(condition(&object, "Reconciling"), &Value::Null);
    assert_eq!(condition(&object, "Stalled"), &Value::Null);
    assert_eq!(env.sim.count(Route::Any), 0);
    let go = json!({"spec": {"suspend": false}});
    env.patch("web", go).await.unwrap();
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn suspension_after_the_call_stops_nothing_that_was_paid_for() {
    let env = TestEnv::new("late").await;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "JobRunning").await;
    let job = at(&object, "status.job.id").as_str().unwrap().to_owned();
    env.patch("web", json!({"spec": {"suspend": true}}))
        .await
        .unwrap();
    let object = env
        .wait("web", "the suspension seen", |o| {
            at(o, "status.observedGeneration") == 2
        })
        .await;
    assert_eq!(reason(&object), "JobRunning");
    env.sim.world(|world| world.finish_job(&job));
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&object, "spec.suspend"), true);
    assert_eq!((env.executed(), env.posts()), (1, 1));
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
}

#[tokio::test]
async fn another_installations_records_do_not_count_against_the_cap() {
    let env = TestEnv::new("others").await;
    let other = env.operator(&["--instance-id=another"]);
    env.create(env.approved("theirs")).await;
    env.wait_for_reason("theirs", "Restored").await;
    drop(other);
    let _operator = env.operator(&["--max-paid-calls=1"]);
    env.create(env.approved("ours")).await;
    env.wait_for_reason("ours", "Restored").await;
    env.create(env.approved("more")).await;
    env.wait_for_reason("more", "PaidCallCap").await;
    // Who did not buy it writes nothing over one who did.
    assert_eq!(reason(&env.restore("theirs").await), "Restored");
    assert_eq!((env.executed(), env.posts()), (2, 2));
    env.check_invariants().await;
}
