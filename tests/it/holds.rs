//! The annotation `vps.hostup.se/hold` on an object, its Namespace and the operator's: nothing is bought, and what was
//! sent is followed.

use control_plane::{Action, Gate};
use serde_json::{Value, json};

use crate::support::proxied_env::{ProxiedEnv, claim, held};
use crate::support::{HOUR, TestEnv, at, condition, ready, reason};

/// What the annotation can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Object,
    Namespace,
    Installation,
}

const EVERYWHERE: [On; 3] = [On::Object, On::Namespace, On::Installation];

/// The namespace that the environment's operator takes for its own.
fn own(env: &TestEnv) -> String {
    format!("{}-system", env.namespace)
}

async fn with_own_namespace(env: &TestEnv) {
    let metadata = json!({"name": own(env)});
    env.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
        .await;
}

/// Sets the annotation by kubectl, or (`None`) takes it away.
async fn annotate(env: &TestEnv, on: On, object: &str, value: Option<&str>) {
    let own = own(env);
    let namespace = format!("--namespace={}", env.namespace);
    let (object_kind, name) = object.split_once('/').unwrap();
    let what = match on {
        On::Object => vec![object_kind, name, &namespace],
        On::Namespace => vec!["namespace", &env.namespace],
        On::Installation => vec!["namespace", &own],
    };
    let hold = value.map_or("vps.hostup.se/hold-".to_owned(), |value| {
        format!("vps.hostup.se/hold={value}")
    });
    let annotate: Vec<&str> = ["annotate", "--overwrite"]
        .into_iter()
        .chain(what)
        .chain([hold.as_str()])
        .collect();
    kubectl(env, &annotate).await;
}

async fn kubectl(env: &TestEnv, args: &[&str]) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let plane = env.plane;
    let run = move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        plane.kubectl_ok(&args).unwrap();
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

#[tokio::test]
async fn a_hold_buys_nothing_says_what_lifts_it_and_the_printed_command_lifts_it() {
    let env = TestEnv::new("holds").await;
    with_own_namespace(&env).await;
    let own = format!("--operator-namespace={}", own(&env));
    let _operator = env.operator(&[&own]);
    for on in EVERYWHERE {
        let (web, options) = (
            format!("web-{on:?}").to_lowercase(),
            format!("options-{on:?}").to_lowercase(),
        );
        for (object, value) in [(&web, "true"), (&options, "until the audit is over")] {
            let is_restore = *object == web;
            let mut made = if is_restore {
                env.approved(object)
            } else {
                let gb = 4096 + 1024 * (on as u32);
                let mut config = env.config_preview(object, json!({"bandwidthGb": gb}));
                config["spec"]["approval"] =
                    json!({"maxPrice": {"dueNow": "900", "perMonth": "900", "currencyCode": "SEK"}});
                config
            };
            let kind = if is_restore { "vbr" } else { "vrc" };
            match on {
                On::Object => made["metadata"]["annotations"] = json!({"vps.hostup.se/hold": value}),
                On::Namespace | On::Installation => {
                    annotate(&env, on, &format!("{kind}/{object}"), Some(value)).await;
                }
            }
            let (executed, posts) = (env.executed(), env.posts());
            env.create(made).await;
            let shown = if is_restore {
                env.wait_for_reason(object, "Held").await
            } else {
                env.config_comes_to(object, "Held").await
            };
            assert_eq!(condition(&shown, "Approved")["status"], "True", "{on:?}");
            assert_eq!(condition(&shown, "Quoted")["status"], "True", "{on:?}");
            assert_eq!(condition(&shown, "Stalled"), &Value::Null, "{on:?}");
            assert_eq!((env.executed(), env.posts()), (executed, posts), "{on:?}");
            env.follow(&shown, "To go on:").await;
            if is_restore {
                env.wait_for_reason(object, "Restored").await;
            } else {
                env.config_comes_to(object, "InSync").await;
                env.delete_config(object).await;
            }
        }
    }
    env.check_invariants().await;
}

#[tokio::test]
async fn a_hold_that_is_set_after_the_claim_withdraws_it() {
    for on in EVERYWHERE {
        let proxied = ProxiedEnv::new("holdlate").await;
        let env = &proxied.env;
        with_own_namespace(env).await;
        let gate = Gate::new();
        proxied.proxy.rule(claim(Action::HoldAfter(gate.clone())));
        let own = format!("--operator-namespace={}", own(env));
        let _operator = env.operator(&[&own]);
        env.create(env.approved("web")).await;
        held(&gate).await;
        annotate(env, on, "vbr/web", Some("true")).await;
        gate.release();
        env.wait_for_reason("web", "Held").await;
        let records = env.records().await;
        assert_eq!(records.len(), 1, "{on:?}");
        assert_eq!(at(&records[0], "status.state"), "NotSent", "{on:?}");
        let why = at(&records[0], "status.message").as_str().unwrap();
        assert!(why.contains("vps.hostup.se/hold was set"), "{on:?}: {why}");
        assert_eq!(env.posts(), 0, "{on:?}");
        proxied.check().await;
    }
}

#[tokio::test]
async fn what_was_sent_is_followed_under_a_hold_and_a_preview_is_shown() {
    let env = TestEnv::new("holdjob").await;
    env.sim.world(|world| world.restore.job_duration = HOUR);
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "JobRunning").await;
    annotate(&env, On::Namespace, "vbr/web", Some("true")).await;
    annotate(&env, On::Object, "vbr/web", Some("true")).await;
    env.create(env.preview("plan")).await;
    let plan = env.wait_for_reason("plan", "AwaitingApproval").await;
    assert_eq!(at(&plan, "status.quote.summary"), "0.66 SEK/h");
    env.sim.world(|world| world.advance(HOUR));
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(ready(&object)["status"], "True");
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn the_value_false_holds_nothing() {
    let env = TestEnv::new("holdfalse").await;
    let _operator = env.operator(&[]);
    let mut object = env.approved("web");
    object["metadata"]["annotations"] = json!({"vps.hostup.se/hold": "false"});
    annotate(&env, On::Namespace, "vbr/web", Some("false")).await;
    env.create(object).await;
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(reason(&object), "Restored");
    env.check_invariants().await;
}

#[tokio::test]
async fn a_namespace_that_is_being_deleted_holds_every_purchase() {
    let env = TestEnv::new("deletednamespace").await;
    with_own_namespace(&env).await;
    let own = own(&env);
    // Its finalizer keeps the Namespace.
    let kept = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kept", "namespace": own, "finalizers": ["example.org/kept"]}});
    env.create(kept).await;
    kubectl(&env, &["delete", "namespace", &own, "--wait=false"]).await;
    let _operator = env.operator(&[&format!("--operator-namespace={own}")]);
    env.create(env.approved("web")).await;
    let held = env.wait_for_reason("web", "Held").await;
    let told = ready(&held)["message"].as_str().unwrap();
    assert!(
        told.contains(&format!("Namespace {own} is being deleted")),
        "{told}"
    );
    assert_eq!(env.records().await.len(), 0);
    let kept = [
        "patch",
        "configmap",
        "kept",
        "--namespace",
        &own,
        "--type=merge",
        "--patch",
    ];
    kubectl(
        &env,
        &[&kept[..], &[r#"{"metadata": {"finalizers": null}}"#]].concat(),
    )
    .await;
    env.wait_for_reason("web", "Restored").await;
    env.check_invariants().await;
}
