//! Who may pay: the admission policies of the chart, with real users and the real API server.

use std::time::Instant;

use control_plane::{ControlPlane, User};
use hostup_sim::{Answer, Fault, Route};
use serde_json::{Value, json};

use crate::support::chart::{as_user, installed};
use crate::support::{HOUR, PATIENCE, Stage, at};

/// A stage on the control plane that Helm installed everything on, whose users have the chart's roles.
async fn stage(name: &str) -> Stage {
    let plane = tokio::task::spawn_blocking(installed).await.unwrap();
    let stage = Stage::on(plane, name).await;
    for (user, role) in [
        ("author", "hostup-operator-view"),
        ("author", "hostup-operator-edit-configs"),
        ("author", "hostup-operator-edit-restores"),
        ("approver", "hostup-approver"),
    ] {
        stage
            .create(binding("RoleBinding", user, role, Some(&stage.namespace)))
            .await;
    }
    stage
}

fn binding(kind: &str, user: &str, role: &str, namespace: Option<&str>) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": format!("{user}-{role}"), "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    })
}

async fn kubectl(stage: &Stage, user: User, args: &[&str], stdin: Option<Value>) -> Result<String, String> {
    let plane: &'static ControlPlane = stage.plane;
    let namespace = format!("--namespace={}", stage.namespace);
    let args: Vec<String> = args
        .iter()
        .map(|arg| (*arg).to_owned())
        .chain([namespace])
        .collect();
    let run = move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        as_user(plane, user, &args, stdin.as_ref())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

const NEEDS: &str = "you need the verb approve on";

/// A policy is in force some time after it was made, and nothing tells when.
async fn in_force(stage: &Stage) {
    let asked = stage.approved("asked");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let dry = ["create", "--dry-run=server", "-f", "-"];
        match kubectl(stage, User::Author, &dry, Some(asked.clone())).await {
            Err(why) if why.contains(NEEDS) => return,
            other => assert!(Instant::now() < deadline, "the policy is not in force: {other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn to_approve_a_price_and_to_edit_under_an_approval_takes_the_verb_approve() {
    let stage = stage("approve").await;
    in_force(&stage).await;
    let ceiling = json!({"maxPrice": {"dueNow": "40.00", "perMonth": "40.00", "currencyCode": "SEK"}});
    let quote = json!({"quoteId": "q-abcdefghij"});
    let config = |name: &str, approval: &Value, suspend: bool| {
        let mut object = stage.config_preview(name, json!({"bandwidthGb": 4096}));
        object["spec"]["approval"] = approval.clone();
        object["spec"]["suspend"] = json!(suspend);
        object
    };
    for object in [
        config("plan", &Value::Null, false),
        config("quoted", &quote, false),
        config("ceiling", &ceiling, false),
        config("resting", &ceiling, true),
        config("held", &quote, true),
    ] {
        stage.create(object).await;
    }
    // State, patch of the spec, whether it takes the verb.
    let rows = [
        ("plan", json!({"approval": quote}), true),
        ("plan", json!({"approval": ceiling}), true),
        ("plan", json!({"resources": {"bandwidthGb": 2048}}), false),
        ("plan", json!({"suspend": true}), false),
        ("quoted", json!({"approval": {"quoteId": "q-zzzzzzzzzz"}}), true),
        ("quoted", json!({"approval": null}), false),
        ("quoted", json!({"resources": {"bandwidthGb": 2048}}), true),
        ("quoted", json!({"resources": {"extra": {"label": "b"}}}), true),
        ("quoted", json!({"driftPolicy": "Correct"}), true),
        ("quoted", json!({"cancelExistingInvoice": true}), true),
        (
            "quoted",
            json!({"credentialsSecretRef": {"name": "another"}}),
            true,
        ),
        ("quoted", json!({"suspend": true}), false),
        (
            "quoted",
            json!({"approval": null, "resources": {"bandwidthGb": 2048}}),
            false,
        ),
        (
            "ceiling",
            json!({"approval": {"maxPrice": {"dueNow": "1.00"}}}),
            true,
        ),
        (
            "ceiling",
            json!({"approval": {"validUntil": "2099-01-01T00:00:00Z"}}),
            true,
        ),
        ("ceiling", json!({"approval": null}), false),
        (
            "ceiling",
            json!({"approval": null, "resources": {"bandwidthGb": 2048}}),
            false,
        ),
        ("ceiling", json!({"suspend": true}), false),
        (
            "ceiling",
            json!({"suspend": true, "resources": {"bandwidthGb": 2048}}),
            true,
        ),
        ("ceiling", json!({"resources": {"bandwidthGb": 8192}}), true),
        ("ceiling", json!({"resources": {"snapshotSlots": 3}}), true),
        ("ceiling", json!({"driftPolicy": "Correct"}), true),
        (
            "ceiling",
            json!({"credentialsSecretRef": {"name": "another"}}),
            true,
        ),
        ("resting", json!({"suspend": false}), true),
        ("resting", json!({"approval": null, "suspend": false}), false),
        ("held", json!({"suspend": false}), true),
        ("held", json!({"resources": {"bandwidthGb": 2048}}), true),
    ];
    for (name, spec, takes_the_verb) in rows {
        let patch = json!({"spec": spec}).to_string();
        let args = [
            "patch",
            "vrc",
            name,
            "--type=merge",
            "--dry-run=server",
            "-p",
            &patch,
        ];
        let author = kubectl(&stage, User::Author, &args, None).await;
        let refused = author.as_ref().is_err_and(|why| why.contains(NEEDS));
        assert_eq!(refused, takes_the_verb, "author, {name} {spec}: {author:?}");
        assert_eq!(
            author.is_ok(),
            !takes_the_verb,
            "author, {name} {spec}: {author:?}"
        );
        let approver = kubectl(&stage, User::Approver, &args, None).await;
        assert!(approver.is_ok(), "approver, {name} {spec}: {approver:?}");
    }
    // What is not of the spec is nobody's price.
    let annotate = ["annotate", "vrc", "ceiling", "note=here", "--dry-run=server"];
    kubectl(&stage, User::Author, &annotate, None).await.unwrap();
    let create = ["create", "--dry-run=server", "-f", "-"];
    for (object, takes_the_verb) in [
        (stage.preview("web"), false),
        (stage.approved("web"), true),
        (config("new", &Value::Null, false), false),
        (config("new", &quote, false), true),
    ] {
        let made = kubectl(&stage, User::Author, &create, Some(object.clone())).await;
        assert_eq!(made.is_err(), takes_the_verb, "{object}: {made:?}");
    }
    let shown = kubectl(&stage, User::Author, &create, Some(stage.approved("web"))).await;
    let why = shown.unwrap_err();
    for part in [
        "spec.approval approves a price",
        "vpsbackuprestores",
        "ClusterRole hostup-approver",
        &stage.namespace,
    ] {
        assert!(why.contains(part), "no {part:?} in {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_account_that_applies_from_git_needs_the_verb_where_approval_lives_in_git() {
    let stage = stage("gitops").await;
    in_force(&stage).await;
    let account = format!("system:serviceaccount:{}:kustomize-controller", stage.namespace);
    let as_account = format!("--as={account}");
    let args = [
        "apply",
        "--server-side",
        "--dry-run=server",
        &as_account,
        "-f",
        "-",
    ];
    for role in ["hostup-operator-view", "hostup-operator-edit-restores"] {
        stage
            .create(binding("RoleBinding", &account, role, Some(&stage.namespace)))
            .await;
    }
    let apply = async || kubectl(&stage, User::Admin, &args, Some(stage.approved("web"))).await;
    let refused = apply().await.unwrap_err();
    assert!(refused.contains(NEEDS), "{refused}");
    stage
        .create(binding(
            "RoleBinding",
            &account,
            "hostup-approver",
            Some(&stage.namespace),
        ))
        .await;
    let deadline = Instant::now() + PATIENCE;
    // The authorizer learns of a binding by a watch.
    while let Err(why) = apply().await {
        assert!(Instant::now() < deadline, "{why}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_a_resolver_answers_and_nobody_deletes_a_record_without_an_outcome() {
    let stage = stage("resolve").await;
    in_force(&stage).await;
    // Whoever may write records at all, but has not the verb.
    let writer = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "record-writer"},
        "rules": [{"apiGroups": ["vps.hostup.se"], "resources": ["vpsoperations"], "verbs": ["get", "patch", "delete"]}],
    });
    stage.create(writer).await;
    stage
        .create(binding("ClusterRoleBinding", "author", "record-writer", None))
        .await;
    stage
        .create(binding("ClusterRoleBinding", "resolver", "hostup-resolver", None))
        .await;
    stage.sim.inject(
        Fault::on(Route::RestoreToPayg)
            .acted(false)
            .answer(Answer::reset()),
    );
    stage.sim.world(|world| world.restore.job_duration = HOUR);
    let _operator = stage.operator(&["--settle-time=1s"]);
    stage.create(stage.approved("web")).await;
    let object = stage.wait_for_reason("web", "OutcomeUnknown").await;
    let record = at(&object, "status.operation.name").as_str().unwrap().to_owned();
    let delete = ["delete", "vop", &record, "--dry-run=server"];
    let answer = r#"{"spec":{"resolution":{"answer":"NotExecuted"}}}"#;
    let patch = ["patch", "vop", &record, "--type=merge", "-p", answer];
    for user in [User::Author, User::Admin] {
        let kept = kubectl(&stage, user, &delete, None).await.unwrap_err();
        assert!(kept.contains("has no outcome yet (Unknown)"), "{kept}");
    }
    let refused = kubectl(&stage, User::Author, &patch, None).await.unwrap_err();
    assert!(
        refused.contains("you need the verb resolve on vpsoperations"),
        "{refused}"
    );
    kubectl(&stage, User::Resolver, &patch, None).await.unwrap();
    // With the rights and under the policies of the chart the operator goes on.
    stage.wait_for_reason("web", "JobRunning").await;
    // A record that is finished is part of the log all the same.
    let logged = kubectl(&stage, User::Author, &delete, None).await.unwrap_err();
    assert!(
        logged.contains("you need the verb forget on vpsoperations"),
        "{logged}"
    );
    kubectl(&stage, User::Admin, &delete, None).await.unwrap();
    let second = at(&stage.restore("web").await, "status.operation.name")
        .as_str()
        .unwrap()
        .to_owned();
    let delete = ["delete", "vop", &second, "--dry-run=server"];
    let kept = kubectl(&stage, User::Admin, &delete, None).await.unwrap_err();
    assert!(kept.contains("has no outcome yet (Accepted)"), "{kept}");
    stage.sim.world(|world| world.advance(HOUR));
    stage.wait_for_reason("web", "Restored").await;
    kubectl(&stage, User::Admin, &delete, None).await.unwrap();
    stage.check_invariants().await;
}
