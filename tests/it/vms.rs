//! The VMs that were bought, followed until HostUp provides them no longer.

use hostup_sim::{Answer, Fault, Outcome, RestoreBehaviour, Route, World};
use serde_json::{Value, json};

use crate::support::{KEY, PATIENCE, TestEnv, at, condition};

/// A round is short.
const ROUNDS: [&str; 1] = ["--resync-interval=1s"];

async fn restored(env: &TestEnv) -> (Value, String) {
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(condition(&object, "VmPresent")["status"], "True");
    let vm = at(&object, "status.vm.vpsId").as_str().unwrap().to_owned();
    (object, vm)
}

/// Waits until the list of VMs has been read so often more.
async fn lists(env: &TestEnv, more: usize) {
    let before = env.sim.count(Route::ListVps);
    let read = move |world: &World| world.count(Route::ListVps) >= before + more;
    assert!(
        env.sim.until(PATIENCE, read).await,
        "nobody reads the VMs any more"
    );
}

async fn ended(env: &TestEnv) -> Value {
    env.wait("web", "the end of its VM", |object| {
        condition(object, "VmPresent")["status"] == "False"
    })
    .await
}

/// Neither the record nor the object tells of an end.
async fn assert_provided(env: &TestEnv) {
    assert!(at(&env.records().await[0], "status.resultEnd").is_null());
    assert_eq!(
        condition(&env.restore("web").await, "VmPresent")["status"],
        "True"
    );
}

fn empty_list() -> Answer {
    Answer::json(200, json!({"data": [], "hasMore": false}).to_string())
}

fn terminate(env: &TestEnv, vm: &str) {
    env.sim.world(|world| {
        "terminated".clone_into(&mut world.vps_mut(vm).unwrap().service_status);
    });
}

fn spend(env: &TestEnv) -> String {
    format!(
        "hostup_operator_spend_per_hour{{namespace=\"{}\",currency=\"SEK\"}}",
        env.namespace
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_was_cancelled_in_the_panel_is_told_once_and_costs_nothing_from_then_on() {
    let env = TestEnv::new("cancelled").await;
    let mut operator = env.operator(&ROUNDS);
    let (_, vm) = restored(&env).await;
    operator.samples_with(&spend(&env), |value| value == Some(0.66));
    terminate(&env, &vm);
    let object = ended(&env).await;
    let message = condition(&object, "VmPresent")["message"].as_str().unwrap();
    assert!(
        message.contains(&vm) && message.contains("terminated"),
        "{message}"
    );
    assert_eq!(condition(&object, "Ready")["status"], "True");
    operator.samples_with(&spend(&env), |value| value.is_none());
    let record = &env.records().await[0];
    assert_eq!(at(record, "status.resultEnd.serviceStatus"), "terminated");
    assert_eq!(at(record, "status.state"), "Succeeded");
    env.warned("web", &["VmPresent"]).await;
    operator.kill_9();

    let second = env.operator(&ROUNDS);
    second.samples_with("hostup_operator_operations{state=\"Succeeded\"}", |value| {
        value == Some(1.0)
    });
    assert_eq!(second.samples().get(&spend(&env)), None, "a restart forgets it");
    let told = env.events_of("web").await;
    assert_eq!(
        told.iter().filter(|reason| *reason == "VmPresent").count(),
        1,
        "{told:?}"
    );
    assert_eq!(env.posts(), 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_vm_that_is_not_listed_any_more_has_ended_and_its_object_buys_no_other_one() {
    let env = TestEnv::new("unlisted").await;
    let _operator = env.operator(&ROUNDS);
    let (_, vm) = restored(&env).await;
    assert!(env.sim.world(|world| world.remove_vps(&vm)));
    let object = ended(&env).await;
    assert_eq!(condition(&object, "Ready")["reason"], "Restored");
    assert!(at(&env.records().await[0], "status.resultEnd.serviceStatus").is_null());
    env.patch("web", json!({"metadata": {"annotations": {"poked": "1"}}}))
        .await
        .unwrap();
    env.delete("web").await;
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "AlreadyExecuted").await;
    assert_eq!(env.posts(), 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_vm_ends_also_where_its_source_is_gone_if_the_secret_is_that_of_the_purchase() {
    let env = TestEnv::new("sourcegone").await;
    let _operator = env.operator(&ROUNDS);
    let (object, vm) = restored(&env).await;
    let source = at(&object, "spec.source.vpsId").as_str().unwrap();
    env.add_vps("vps_that_stays");
    env.sim
        .world(|world| assert!(world.remove_vps(source) && world.remove_vps(&vm)));
    ended(&env).await;
    env.check_invariants().await;
}

#[tokio::test]
async fn an_account_that_shows_nothing_at_all_ends_no_vm() {
    let env = TestEnv::new("locked").await;
    let _operator = env.operator(&ROUNDS);
    restored(&env).await;
    let gone = Answer::problem(404, "not_found");
    for (route, answer) in [(Route::ListVps, empty_list()), (Route::GetVps, gone)] {
        env.sim
            .inject(Fault::on(route).acted(false).always().answer(answer));
    }
    lists(&env, 5).await;
    assert_provided(&env).await;
}

#[tokio::test]
async fn one_list_without_the_vm_ends_nothing() {
    let env = TestEnv::new("blip").await;
    let _operator = env.operator(&ROUNDS);
    restored(&env).await;
    env.sim
        .inject(Fault::on(Route::ListVps).acted(false).answer(empty_list()));
    lists(&env, 4).await;
    assert!(env.sim.unfired().is_empty());
    assert_provided(&env).await;
    env.check_invariants().await;
}

#[tokio::test]
async fn the_key_of_another_account_does_not_end_what_it_does_not_show() {
    let env = TestEnv::new("otheraccount").await;
    let _operator = env.operator(&ROUNDS);
    restored(&env).await;
    env.sim
        .world(|world| world.add_empty_account("key-of-another-account"));
    env.put_secret("key-of-another-account").await;
    // A key is used for a while before its Secret is read again.
    env.sim.world(|world| world.revoke_key(KEY));
    lists(&env, 5).await;
    assert_provided(&env).await;
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_a_failed_job_left_counts_until_it_is_cancelled() {
    let env = TestEnv::new("leftvm").await;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            outcome: Outcome::FailsWithVm,
            ..RestoreBehaviour::default()
        });
    });
    let operator = env.operator(&ROUNDS);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "VpsLeftBilling").await;
    let left = "hostup_operator_vms_left_billing";
    operator.samples_with(left, |value| value == Some(1.0));
    let vm = at(&env.records().await[0], "status.result.vpsId")
        .as_str()
        .unwrap()
        .to_owned();
    terminate(&env, &vm);
    operator.samples_with(left, |value| value == Some(0.0));
    assert_eq!(operator.samples().get(&spend(&env)), None);
    env.check_invariants().await;
}
