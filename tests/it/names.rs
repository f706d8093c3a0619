//! A VPS by its display name: resolved once, kept by the status and the record.

use hostup_sim::{Answer, Fault, Route, SOURCE_BACKUP, SOURCE_VPS, Vps, standard_options};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{TestEnv, at, each_row, ready};

fn rename(env: &TestEnv, vps: &str, name: &str) {
    env.sim
        .world(|world| name.clone_into(&mut world.vps_mut(vps).unwrap().name));
}

fn source_by_name(env: &TestEnv, object: Value, name: &str) -> Value {
    rename(env, SOURCE_VPS, "the shop");
    let mut object = object;
    object["spec"]["source"] = json!({"vpsName": name, "backupId": SOURCE_BACKUP});
    object
}

fn options_by_name(env: &TestEnv, object: Value) -> Value {
    rename(env, &env.vps, "the shop");
    let mut object = object;
    object["spec"]["vpsId"] = Value::Null;
    object["spec"]["vpsName"] = json!("the shop");
    object
}

fn bandwidth() -> Value {
    json!({"bandwidthGb": 4096})
}

/// Another VPS takes the name, and the one that had it gets another.
fn swap(env: &TestEnv, vps: &str) {
    rename(env, vps, "no longer the shop");
    let other = Vps::fixed("vps_other", "the shop", 2, 4, 80).with_options(standard_options());
    env.sim.world(|world| world.add_vps(env.account, other));
}

#[tokio::test]
async fn a_restore_by_name_is_resolved_once_and_a_later_change_of_the_name_has_no_effect() {
    let env = TestEnv::new("byname").await;
    let _operator = env.operator(&["--resync-interval=400ms"]);
    env.create(source_by_name(&env, env.preview("web"), "the shop"))
        .await;
    let shown = env.wait_for_reason("web", "AwaitingApproval").await;
    assert_eq!(at(&shown, "status.source.vpsId"), SOURCE_VPS);
    swap(&env, SOURCE_VPS);
    let quote = at(&shown, "status.quote.id");
    let approval = json!({"spec": {"approval": {"quoteId": quote}}});
    env.patch("web", approval).await.unwrap();
    let restored = env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&restored, "status.source.vpsId"), SOURCE_VPS);
    assert_eq!(at(&env.records().await[0], "spec.vpsId"), SOURCE_VPS);
    assert_eq!(env.posts(), 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn an_attempt_that_was_refused_keeps_the_vps_of_the_name_though_the_status_is_lost() {
    let env = TestEnv::new("bynameagain").await;
    let refused = Answer::problem(403, "forbidden");
    env.sim
        .inject(Fault::on(Route::RestoreToPayg).acted(false).answer(refused));
    let object = source_by_name(&env, env.approved("web"), "the shop");
    let mut operator = env.operator(&[]);
    env.create(object).await;
    env.wait_for_reason("web", "Rejected").await;
    operator.kill_9();
    swap(&env, SOURCE_VPS);
    let forgotten = Patch::Merge(json!({"status": {"source": null}}));
    let restores = env.restores();
    restores
        .patch_status("web", &PatchParams::default(), &forgotten)
        .await
        .unwrap();
    let _second = env.operator(&[]);
    env.wait("web", "the VPS of its record", |object| {
        at(object, "status.source.vpsId") == SOURCE_VPS
    })
    .await;
    env.check_invariants().await;
}

#[tokio::test]
async fn a_name_that_no_vps_or_several_have_says_so_and_buys_nothing() {
    let restore = |name: &'static str, wanted: &'static str, says: &'static str| async move {
        let env = TestEnv::new("unnamed").await;
        let _operator = env.operator(&["--gate-interval=1s"]);
        if wanted == "VpsNameAmbiguous" {
            let twin = Vps::fixed("vps_twin", "the shop", 2, 4, 80);
            env.sim.world(|world| world.add_vps(env.account, twin));
        }
        env.create(source_by_name(&env, env.approved("web"), name)).await;
        let shown = env.wait_for_reason("web", wanted).await;
        let message = ready(&shown)["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
        if wanted == "VpsNameAmbiguous" {
            assert!(
                message.contains(SOURCE_VPS) && message.contains("vps_twin"),
                "{message}"
            );
            rename(&env, "vps_twin", "another");
        } else {
            rename(&env, SOURCE_VPS, name);
        }
        env.wait_for_reason("web", "Restored").await;
        assert_eq!(at(&env.records().await[0], "spec.vpsId"), SOURCE_VPS);
        env.check_invariants().await;
    };
    let rows = [
        (
            "the shop",
            "VpsNameAmbiguous",
            "2 VPSs have the name \"the shop\"",
        ),
        (
            "The shop",
            "VpsNotFound",
            "cannot see a VPS with the name \"The shop\"",
        ),
    ];
    each_row(rows.map(|(name, wanted, says)| (name.to_owned(), restore(name, wanted, says)))).await;
}

#[tokio::test]
async fn options_by_name_are_those_of_the_vps_that_had_the_name_first() {
    let env = TestEnv::new("optionsbyname").await;
    let _operator = env.operator(&["--resync-interval=400ms"]);
    let mut object = options_by_name(&env, env.config_preview("web", bandwidth()));
    object["spec"]["suspend"] = json!(true);
    env.create(object).await;
    env.config_comes_to("web", "Suspended").await;
    assert_eq!(env.sim.requests().len(), 0);
    env.patch_config("web", json!({"suspend": false})).await;
    let shown = env.config_comes_to("web", "AwaitingApproval").await;
    assert_eq!(at(&shown, "status.vpsId"), env.vps.as_str());
    swap(&env, &env.vps);
    let quote = at(&shown, "status.quote.id");
    env.patch_config("web", json!({"approval": {"quoteId": quote}}))
        .await;
    env.config_comes_to("web", "InSync").await;
    assert_eq!(at(&env.records().await[0], "spec.vpsId"), env.vps.as_str());
    assert_eq!(env.posts(), 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn of_two_objects_for_one_vps_the_older_one_comes_first_though_one_of_them_names_it() {
    let env = TestEnv::new("namedrival").await;
    let _operator = env.operator(&[]);
    env.create(options_by_name(&env, env.config_preview("older", bandwidth())))
        .await;
    env.config_comes_to("older", "AwaitingApproval").await;
    env.create(env.approved_config("younger", bandwidth())).await;
    env.config_comes_to("younger", "TargetConflict").await;
    env.delete_config("older").await;
    env.config_comes_to("younger", "InSync").await;
    assert_eq!(env.posts(), 1);
    env.check_invariants().await;
}
