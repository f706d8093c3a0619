//! `spec.writeOutputsTo`: a ConfigMap with what others need of the new VM.

use control_plane::{Action, Request, Rule, status};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use crate::support::proxied_env::ProxiedEnv;
use crate::support::{PATIENCE, TestEnv, at, condition};

fn maps(env: &TestEnv) -> Api<ConfigMap> {
    Api::namespaced(env.client.clone(), &env.namespace)
}

fn with_outputs(mut object: Value) -> Value {
    object["spec"]["writeOutputsTo"] = json!({"configMap": "web"});
    object
}

/// The reason of the condition `OutputsWritten`, once it is that.
async fn outputs_come_to(env: &TestEnv, wanted: &str) -> Value {
    env.wait("web", wanted, |object| {
        condition(object, "OutputsWritten")["reason"] == wanted
    })
    .await
}

async fn data(env: &TestEnv) -> Value {
    json!(maps(env).get("web").await.unwrap().data)
}

#[tokio::test]
async fn the_outputs_are_written_kept_and_deleted_with_the_object() {
    let env = TestEnv::new("outputs").await;
    let _operator = env.operator(&["--resync-interval=1s"]);
    env.create(with_outputs(env.approved("web"))).await;
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(condition(&object, "OutputsWritten")["status"], "True");
    let wanted = json!({
        "vpsId": at(&object, "status.vm.vpsId"), "name": at(&object, "status.vm.name"),
        "primaryIp": at(&object, "status.vm.primaryIp"), "operation": at(&object, "status.operation.name"),
    });
    assert_eq!(data(&env).await, wanted);

    let edit = Patch::Merge(json!({"data": {"primaryIp": "203.0.113.9", "more": "x"}}));
    maps(&env)
        .patch("web", &PatchParams::default(), &edit)
        .await
        .unwrap();
    let is_kept = |map: Option<&ConfigMap>| map.is_some_and(|map| json!(map.data) == wanted);
    tokio::time::timeout(PATIENCE, await_condition(maps(&env), "web", is_kept))
        .await
        .expect("what somebody else wrote is replaced")
        .unwrap();

    let uid = maps(&env).get("web").await.unwrap().metadata.uid.unwrap();
    env.delete("web").await;
    tokio::time::timeout(PATIENCE, await_condition(maps(&env), "web", is_deleted(&uid)))
        .await
        .expect("the garbage collector deletes it")
        .unwrap();
    assert_eq!(env.posts(), 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_config_map_of_somebody_else_is_left_alone_until_it_is_gone() {
    let env = TestEnv::new("foreignmap").await;
    let theirs: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "web"}, "data": {"vpsId": "theirs"}})).unwrap();
    maps(&env).create(&PostParams::default(), &theirs).await.unwrap();
    let _operator = env.operator(&["--resync-interval=1s"]);
    env.create(with_outputs(env.approved("web"))).await;
    let object = outputs_come_to(&env, "ConfigMapExists").await;
    assert_eq!(condition(&object, "Ready")["status"], "True");
    assert_eq!(data(&env).await, json!({"vpsId": "theirs"}));
    maps(&env).delete("web", &DeleteParams::default()).await.unwrap();
    let object = outputs_come_to(&env, "Written").await;
    assert_eq!(data(&env).await["vpsId"], *at(&object, "status.vm.vpsId"));
    env.check_invariants().await;
}

#[tokio::test]
async fn an_api_server_that_fails_the_write_hides_no_outcome_and_is_asked_again() {
    let proxied = ProxiedEnv::new("failedmap").await;
    let env = &proxied.env;
    let is_read = |request: &Request| request.path.contains("/configmaps/");
    let fails = Action::Respond(500, status(500, "InternalError", "as the test wants"));
    proxied.proxy.rule(
        Rule::on("GET", is_read)
            .named("the ConfigMap")
            .always()
            .action(fails),
    );
    let _operator = env.operator(&["--poll-interval=500ms"]);
    env.create(with_outputs(env.approved("web"))).await;
    outputs_come_to(env, "NotWritten").await;
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(condition(&object, "Ready")["status"], "True");
    proxied.proxy.clear_rules();
    outputs_come_to(env, "Written").await;
    assert_eq!(env.posts(), 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn without_the_right_the_condition_names_it_and_the_vm_is_ready_all_the_same() {
    let env = TestEnv::new("nomaps").await;
    env.shipped_rights_only().await;
    let _operator = env.operator(&[]);
    env.create(with_outputs(env.approved("web"))).await;
    let object = outputs_come_to(&env, "ClusterRefuses").await;
    let message = condition(&object, "OutputsWritten")["message"].as_str().unwrap();
    assert!(message.contains("rbac.writeOutputs"), "{message}");
    assert_eq!(condition(&object, "Ready")["status"], "True");
    assert_eq!(env.posts(), 1);
    env.check_invariants().await;
}
