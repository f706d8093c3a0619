//! The operator says whether the admission policies are in force: at its start, and by a metric.

use control_plane::{ControlPlane, User};
use serde_json::{Value, json};

use crate::support::chart::{as_user, install, render};
use crate::support::{Stage, bare_control_plane};

const GUARDS: [&str; 3] = ["approval", "resolution", "records"];

fn sample(guard: &str) -> String {
    format!("hostup_operator_policies_in_force{{policy=\"{guard}\"}}")
}

/// What a fresh operator says at its start: each guard in force, out of force, or not known.
async fn said(stage: &Stage) -> ([Option<f64>; 3], String) {
    let operator = stage.operator(&[]);
    tokio::task::spawn_blocking(move || {
        let line = operator.wait_for_line("admission policies");
        let samples = operator.samples();
        (GUARDS.map(|guard| samples.get(&sample(guard)).copied()), line)
    })
    .await
    .unwrap()
}

/// The chart's policies and bindings, by kind and name.
fn shipped() -> Vec<Value> {
    let mut objects = render(&[]);
    objects.retain(|object| {
        object["kind"]
            .as_str()
            .unwrap()
            .starts_with("ValidatingAdmissionPolicy")
    });
    assert_eq!(objects.len(), 6);
    objects
}

const YES: Option<f64> = Some(1.0);
const NO: Option<f64> = Some(0.0);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_in_force_is_said_at_the_start_and_shown_by_a_gauge() {
    let plane: &'static ControlPlane = tokio::task::spawn_blocking(|| {
        let plane = Box::leak(Box::new(bare_control_plane()));
        install(plane);
        &*plane
    })
    .await
    .unwrap();
    let stage = Stage::on(plane, "inforce").await;
    let (shown, line) = said(&stage).await;
    assert_eq!(shown, [YES, YES, YES], "{line}");
    assert!(
        line.contains("\"INFO\"") && line.contains("the admission policies are in force"),
        "{line}"
    );

    let delete = async |kind: &str, name: &str| {
        let args = ["delete", kind, name].map(str::to_owned);
        tokio::task::spawn_blocking(move || {
            plane.kubectl_ok(&args.each_ref().map(String::as_str)).unwrap();
        })
        .await
        .unwrap();
    };
    let apply = async |object: &Value| {
        let object = object.clone();
        tokio::task::spawn_blocking(move || {
            let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
            as_user(plane, User::Admin, &args, Some(&object)).unwrap();
        })
        .await
        .unwrap();
    };
    let find = |kind: &str, guard: &str| {
        let ends = format!("-{guard}");
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().ends_with(&ends);
        shipped()
            .into_iter()
            .find(|object| object["kind"] == kind && name(object))
            .unwrap()
    };
    const BINDING: &str = "ValidatingAdmissionPolicyBinding";
    const POLICY: &str = "ValidatingAdmissionPolicy";
    // What is done to the shipped object, which is then put back.
    type Change = fn(&mut Value);
    let rows: [(&str, &str, Change); 7] = [
        ("approval", BINDING, |binding| {
            binding["spec"]["policyName"] = json!("renamed-and-forgotten")
        }),
        ("approval", BINDING, |binding| {
            binding["spec"]["validationActions"] = json!(["Audit"])
        }),
        ("approval", BINDING, |binding| {
            binding["spec"]["matchResources"] =
                json!({"namespaceSelector": {"matchLabels": {"guarded": "true"}}});
        }),
        ("resolution", POLICY, |policy| {
            policy["spec"]["failurePolicy"] = json!("Ignore")
        }),
        ("resolution", POLICY, |policy| {
            policy["spec"]["validations"] = json!([{"expression": "true"}]);
        }),
        ("records", POLICY, |policy| {
            policy["spec"]["matchConstraints"]["resourceRules"][0]["operations"] = json!(["CREATE"]);
        }),
        ("records", POLICY, |policy| {
            policy["spec"]["matchConstraints"]["resourceRules"][0]["resourceNames"] = json!(["one"]);
        }),
    ];
    for (n, (guard, kind, change)) in rows.into_iter().enumerate() {
        let object = find(kind, guard);
        let mut changed = object.clone();
        change(&mut changed);
        apply(&changed).await;
        let (shown, line) = said(&stage).await;
        let wanted = GUARDS.map(|other| if other == guard { NO } else { YES });
        assert_eq!(shown, wanted, "row {n}: {line}");
        assert!(
            line.contains("\"WARN\"") && line.contains(guard),
            "row {n}: {line}"
        );
        delete(kind, object["metadata"]["name"].as_str().unwrap()).await;
        let (shown, line) = said(&stage).await;
        assert_eq!(shown, wanted, "row {n}, deleted: {line}");
        apply(&object).await;
    }
    // Under other names they are as good, if the names fit each other.
    for guard in GUARDS {
        for kind in [BINDING, POLICY] {
            let mut object = find(kind, guard);
            delete(kind, object["metadata"]["name"].as_str().unwrap()).await;
            object["metadata"]["name"] = json!(format!("team-a-{guard}"));
            if kind == BINDING {
                object["spec"]["policyName"] = json!(format!("team-a-{guard}"));
            }
            apply(&object).await;
        }
    }
    let (shown, line) = said(&stage).await;
    assert_eq!(shown, [YES, YES, YES], "{line}");

    // Without the right to look nothing is claimed.
    delete("clusterrole", "hostup-operator").await;
    let mut role = render(&[])
        .into_iter()
        .find(|object| object["kind"] == "ClusterRole" && object["metadata"]["name"] == "hostup-operator")
        .unwrap();
    let rules = role["rules"].as_array_mut().unwrap();
    rules.retain(|rule| rule["apiGroups"][0] != "admissionregistration.k8s.io");
    apply(&role).await;
    let (shown, line) = said(&stage).await;
    assert_eq!(shown, [None, None, None], "{line}");
    assert!(line.contains("is not known"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_installation_without_policies_is_told_so_and_works() {
    let stage = Stage::new("unguarded").await;
    let operator = stage.operator(&[]);
    let line = operator.wait_for_line("admission policies are not in force");
    assert!(line.contains("approval, resolution, records"), "{line}");
    for guard in GUARDS {
        operator.samples_with(&sample(guard), |shown| shown == NO);
    }
    stage.create(stage.approved("web")).await;
    stage.wait_for_reason("web", "Restored").await;
}
