//! The operator says whether the admission policies are in force: at its start, and by a metric.

use control_plane::User;
use serde_json::{Value, json};

use crate::support::chart::{as_user, install, render};
use crate::support::{OwnPlane, TestEnv, bare_control_plane};

const GUARDS: [&str; 3] = ["approval", "resolution", "records"];

fn sample(guard: &str) -> String {
    format!("hostup_operator_policies_in_force{{policy=\"{guard}\"}}")
}

/// What a fresh operator says at its start: each guard in force, out of force, or not known.
async fn said(env: &TestEnv) -> ([Option<f64>; 3], String) {
    let operator = env.operator(&[]);
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

const BINDING: &str = "ValidatingAdmissionPolicyBinding";
const POLICY: &str = "ValidatingAdmissionPolicy";

/// A shipped policy, each time without one of the things that it matches or asks.
fn without_one_need(shipped: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    // What stands in the place of the last one: the API server takes no empty list.
    for (list, instead) in [
        (
            "/spec/matchConstraints/resourceRules/0/operations",
            json!("CONNECT"),
        ),
        (
            "/spec/matchConstraints/resourceRules/0/resources",
            json!("others"),
        ),
        ("/spec/validations", json!({"expression": "true"})),
    ] {
        let needs = shipped.pointer(list).unwrap().as_array().unwrap();
        for (n, need) in needs.iter().enumerate() {
            let mut without = shipped.clone();
            without.pointer_mut(list).unwrap()[n] = instead.clone();
            all.push((format!("without {need}"), without));
        }
    }
    all
}

/// What is done to an object of this kind.
type Flaw = (&'static str, fn(&mut Value));

/// A guard, a kind, and what takes the place of the shipped object of both; nothing does where it is deleted.
type Change = (&'static str, &'static str, Option<Value>);

/// What makes a shipped object guard nothing, or not all.
fn flaws() -> Vec<Flaw> {
    fn rule(policy: &mut Value) -> &mut Value {
        &mut policy["spec"]["matchConstraints"]["resourceRules"][0]
    }
    vec![
        (POLICY, |policy| policy["spec"]["failurePolicy"] = json!("Ignore")),
        (POLICY, |policy| {
            policy["spec"]["matchConditions"] = json!([{"name": "some", "expression": "false"}]);
        }),
        (POLICY, |policy| {
            policy["spec"]["matchConstraints"]["objectSelector"] =
                json!({"matchLabels": {"guarded": "true"}});
        }),
        (POLICY, |policy| {
            let mut excluded = rule(policy).clone();
            excluded["resourceNames"] = json!(["one"]);
            policy["spec"]["matchConstraints"]["excludeResourceRules"] = json!([excluded]);
        }),
        (POLICY, |policy| rule(policy)["resourceNames"] = json!(["one"])),
        (POLICY, |policy| rule(policy)["apiGroups"] = json!(["apps"])),
        (POLICY, |policy| rule(policy)["apiVersions"] = json!(["v1"])),
        (POLICY, |policy| {
            let clustered = rule(policy)["resources"] == json!(["vpsoperations"]);
            rule(policy)["scope"] = json!(if clustered { "Namespaced" } else { "Cluster" });
        }),
        (BINDING, |binding| {
            binding["spec"]["policyName"] = json!("renamed-and-forgotten");
        }),
        (BINDING, |binding| {
            binding["spec"]["validationActions"] = json!(["Audit"]);
        }),
        (BINDING, |binding| {
            binding["spec"]["matchResources"] =
                json!({"namespaceSelector": {"matchLabels": {"guarded": "true"}}});
        }),
        (BINDING, |binding| {
            binding["spec"]["matchResources"] =
                json!({"objectSelector": {"matchExpressions": [{"key": "guarded", "operator": "Exists"}]}});
        }),
        (BINDING, |binding| {
            let none = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["*"]});
            binding["spec"]["matchResources"] = json!({"resourceRules": [none]});
        }),
        (BINDING, |binding| {
            let all =
                json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]});
            binding["spec"]["matchResources"] = json!({"excludeResourceRules": [all]});
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_in_force_is_said_at_the_start_and_shown_by_a_gauge() {
    let own = OwnPlane::start(|| {
        let plane = bare_control_plane();
        install(&plane);
        plane
    })
    .await;
    let plane = own.0;
    let env = TestEnv::on(plane, "inforce").await;
    let (shown, line) = said(&env).await;
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
    // One who manages all of it: what another one wrote into a list would stay there.
    for object in shipped() {
        let kind = object["kind"].as_str().unwrap();
        delete(kind, object["metadata"]["name"].as_str().unwrap()).await;
        apply(&object).await;
    }
    // Each row changes shipped objects, which are then put back: whose they are is not guarded, and all else is.
    let mut rows: Vec<(String, Vec<Change>)> = Vec::new();
    for guard in GUARDS {
        for (what, policy) in without_one_need(&find(POLICY, guard)) {
            rows.push((format!("{guard}, {what}"), vec![(guard, POLICY, Some(policy))]));
        }
    }
    for (kind, flaw) in flaws() {
        let flawed = |guard| {
            let mut object = find(kind, guard);
            flaw(&mut object);
            (guard, kind, Some(object))
        };
        let flawed = GUARDS.map(flawed).to_vec();
        let what = flawed[0].2.as_ref().unwrap()["spec"].to_string();
        rows.push((format!("each {kind}, as {what}"), flawed));
    }
    for kind in [BINDING, POLICY] {
        for guard in GUARDS {
            rows.push((format!("no {kind} for {guard}"), vec![(guard, kind, None)]));
        }
    }
    assert_eq!(rows.len(), 14 + 15 + 6);
    for (row, changes) in rows {
        for (guard, kind, changed) in &changes {
            match changed {
                Some(changed) => apply(changed).await,
                None => delete(kind, find(kind, guard)["metadata"]["name"].as_str().unwrap()).await,
            }
        }
        let changed = |guard: &str| changes.iter().any(|(of, _, _)| *of == guard);
        let (shown, line) = said(&env).await;
        let wanted = GUARDS.map(|guard| if changed(guard) { NO } else { YES });
        assert_eq!(shown, wanted, "{row}: {line}");
        let missing: Vec<&str> = GUARDS.into_iter().filter(|guard| changed(guard)).collect();
        let told = format!("\"missing\":\"{}\"", missing.join(", "));
        assert!(line.contains("\"WARN\"") && line.contains(&told), "{row}: {line}");
        for (guard, kind, _) in &changes {
            apply(&find(kind, guard)).await;
        }
    }
    let (shown, line) = said(&env).await;
    assert_eq!(shown, [YES, YES, YES], "put back: {line}");

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
    let (shown, line) = said(&env).await;
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
    let (shown, line) = said(&env).await;
    assert_eq!(shown, [None, None, None], "{line}");
    assert!(line.contains("cannot check whether"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_installation_without_policies_is_told_so_and_works() {
    let env = TestEnv::new("unguarded").await;
    let operator = env.operator(&[]);
    let line = operator.wait_for_line("admission policies are not in force");
    assert!(line.contains("approval, resolution, records"), "{line}");
    for guard in GUARDS {
        operator.samples_with(&sample(guard), |shown| shown == NO);
    }
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
}
