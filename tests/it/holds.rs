//! The annotation `vps.hostup.se/hold` on an object, its Namespace and the operator's: nothing is bought, and what was
//! sent is followed.

use control_plane::{Action, Gate};
use serde_json::{Value, json};

use crate::support::behind::{Behind, claim, held};
use crate::support::{HOUR, Stage, at, condition, ready, reason};

/// What the annotation can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Object,
    Namespace,
    Installation,
}

const EVERYWHERE: [On; 3] = [On::Object, On::Namespace, On::Installation];

/// The namespace that the stage's operator takes for its own.
fn own(stage: &Stage) -> String {
    format!("{}-system", stage.namespace)
}

async fn with_own_namespace(stage: &Stage) {
    let metadata = json!({"name": own(stage)});
    stage
        .create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
        .await;
}

/// Sets the annotation by kubectl, or (`None`) takes it away.
async fn annotate(stage: &Stage, on: On, object: &str, value: Option<&str>) {
    let own = own(stage);
    let namespace = format!("--namespace={}", stage.namespace);
    let (object_kind, name) = object.split_once('/').unwrap();
    let what = match on {
        On::Object => vec![object_kind, name, &namespace],
        On::Namespace => vec!["namespace", &stage.namespace],
        On::Installation => vec!["namespace", &own],
    };
    let hold = value.map_or("vps.hostup.se/hold-".to_owned(), |value| {
        format!("vps.hostup.se/hold={value}")
    });
    let args: Vec<String> = ["annotate", "--overwrite"]
        .into_iter()
        .chain(what)
        .chain([hold.as_str()])
        .map(str::to_owned)
        .collect();
    let plane = stage.plane;
    let run = move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        plane.kubectl_ok(&args).unwrap();
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

#[tokio::test]
async fn a_hold_buys_nothing_says_what_lifts_it_and_the_printed_command_lifts_it() {
    let stage = Stage::new("holds").await;
    with_own_namespace(&stage).await;
    let own = format!("--operator-namespace={}", own(&stage));
    let _operator = stage.operator(&[&own]);
    for on in EVERYWHERE {
        let (web, options) = (
            format!("web-{on:?}").to_lowercase(),
            format!("options-{on:?}").to_lowercase(),
        );
        for (object, value) in [(&web, "true"), (&options, "until the audit is over")] {
            let is_restore = *object == web;
            let mut made = if is_restore {
                stage.approved(object)
            } else {
                let gb = 4096 + 1024 * (on as u32);
                let mut config = stage.config_preview(object, json!({"bandwidthGb": gb}));
                config["spec"]["approval"] =
                    json!({"maxPrice": {"dueNow": "900", "perMonth": "900", "currencyCode": "SEK"}});
                config
            };
            let kind = if is_restore { "vbr" } else { "vrc" };
            match on {
                On::Object => made["metadata"]["annotations"] = json!({"vps.hostup.se/hold": value}),
                On::Namespace | On::Installation => {
                    annotate(&stage, on, &format!("{kind}/{object}"), Some(value)).await;
                }
            }
            let (executed, posts) = (stage.executed(), stage.posts());
            stage.create(made).await;
            let shown = if is_restore {
                stage.wait_for_reason(object, "Held").await
            } else {
                stage.config_comes_to(object, "Held").await
            };
            assert_eq!(condition(&shown, "Approved")["status"], "True", "{on:?}");
            assert_eq!(condition(&shown, "Quoted")["status"], "True", "{on:?}");
            assert_eq!(condition(&shown, "Stalled"), &Value::Null, "{on:?}");
            assert_eq!((stage.executed(), stage.posts()), (executed, posts), "{on:?}");
            stage.follow(&shown, "To go on:").await;
            if is_restore {
                stage.wait_for_reason(object, "Restored").await;
            } else {
                stage.config_comes_to(object, "InSync").await;
                stage.delete_config(object).await;
            }
        }
    }
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_hold_that_is_set_after_the_claim_withdraws_it() {
    for on in EVERYWHERE {
        let behind = Behind::new("holdlate").await;
        let stage = &behind.stage;
        with_own_namespace(stage).await;
        let gate = Gate::new();
        behind.proxy.rule(claim(Action::HoldAfter(gate.clone())));
        let own = format!("--operator-namespace={}", own(stage));
        let _operator = stage.operator(&[&own]);
        stage.create(stage.approved("web")).await;
        held(&gate).await;
        annotate(stage, on, "vbr/web", Some("true")).await;
        gate.release();
        stage.wait_for_reason("web", "Held").await;
        let records = stage.records().await;
        assert_eq!(records.len(), 1, "{on:?}");
        assert_eq!(at(&records[0], "status.state"), "NotSent", "{on:?}");
        let why = at(&records[0], "status.message").as_str().unwrap();
        assert!(why.contains("vps.hostup.se/hold was set"), "{on:?}: {why}");
        assert_eq!(stage.posts(), 0, "{on:?}");
        behind.check().await;
    }
}

#[tokio::test]
async fn what_was_sent_is_followed_under_a_hold_and_a_preview_is_shown() {
    let stage = Stage::new("holdjob").await;
    stage.sim.world(|world| world.restore.job_duration = HOUR);
    let _operator = stage.operator(&[]);
    stage.create(stage.approved("web")).await;
    stage.wait_for_reason("web", "JobRunning").await;
    annotate(&stage, On::Namespace, "vbr/web", Some("true")).await;
    annotate(&stage, On::Object, "vbr/web", Some("true")).await;
    stage.create(stage.preview("plan")).await;
    let plan = stage.wait_for_reason("plan", "AwaitingApproval").await;
    assert_eq!(at(&plan, "status.quote.summary"), "0.66 SEK/h");
    stage.sim.world(|world| world.advance(HOUR));
    let object = stage.wait_for_reason("web", "Restored").await;
    assert_eq!(ready(&object)["status"], "True");
    assert_eq!((stage.executed(), stage.posts()), (1, 1));
    stage.check_invariants().await;
}

#[tokio::test]
async fn the_value_false_holds_nothing() {
    let stage = Stage::new("holdfalse").await;
    let _operator = stage.operator(&[]);
    let mut object = stage.approved("web");
    object["metadata"]["annotations"] = json!({"vps.hostup.se/hold": "false"});
    annotate(&stage, On::Namespace, "vbr/web", Some("false")).await;
    stage.create(object).await;
    let object = stage.wait_for_reason("web", "Restored").await;
    assert_eq!(reason(&object), "Restored");
    stage.check_invariants().await;
}
