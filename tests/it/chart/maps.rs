//! Labels and annotations of the user's with keys that the chart sets: each stands once, and selectors still match.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{container, deployment, of_kind};
use crate::support::at;
use crate::support::chart::{documents, kustomized, program_takes, try_text};

/// Everything that has labels or annotations of its own.
const ON: &str = "--set=replicas=2,podDisruptionBudget.enabled=true,networkPolicy.enabled=true,prometheusRule.enabled=true,\
                  grafanaDashboard.enabled=true,rbac.aggregateRestoresToEdit=true";

/// The keys of all maps of this name anywhere.
fn keys(value: &Value, map: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if let Some(labels) = member.as_object().filter(|_| name == map) {
                    found.extend(labels.keys().cloned());
                }
                keys(member, map, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, map, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn theirs(objects: &[Value], map: &str) -> Value {
    let mut found = BTreeSet::new();
    objects.iter().for_each(|object| keys(object, map, &mut found));
    assert!(found.len() > 3, "{found:?}");
    let aggregates = |key: &String| key.contains("/aggregate-to-");
    let found = found.into_iter().filter(|key| !aggregates(key));
    let mut all: Map<String, Value> = found.map(|key| (key, json!("theirs"))).collect();
    all.insert("example.com/team".to_owned(), json!("a"));
    Value::Object(all)
}

fn is_part_of(part: &Value, whole: &Value) -> bool {
    let part = part.as_object().unwrap();
    !part.is_empty() && part.iter().all(|(key, value)| &whole[key] == value)
}

#[test]
fn keys_of_the_chart_in_the_users_maps_stand_once_and_change_no_selector() {
    for monitor in ["serviceMonitor", "podMonitor"] {
        let monitored = format!("--set={monitor}.enabled=true");
        let plain = documents(&try_text(&[ON, &monitored]).unwrap());
        let (labels, annotations) = (theirs(&plain, "labels"), theirs(&plain, "annotations"));
        let maps = [
            ("commonLabels", &labels),
            ("podLabels", &labels),
            ("serviceMonitor.additionalLabels", &labels),
            ("podMonitor.additionalLabels", &labels),
            ("prometheusRule.additionalLabels", &labels),
            ("grafanaDashboard.labels", &labels),
            ("commonAnnotations", &annotations),
            ("podAnnotations", &annotations),
            ("deploymentAnnotations", &annotations),
            ("serviceAccount.annotations", &annotations),
            ("service.annotations", &annotations),
            ("grafanaDashboard.annotations", &annotations),
        ];
        let mut all: Vec<Vec<&(&str, &Value)>> = maps.iter().map(|map| vec![map]).collect();
        all.push(maps.iter().collect());
        for maps in all {
            let given: Vec<String> = maps
                .iter()
                .map(|(path, value)| format!("--set-json={path}={value}"))
                .collect();
            let args: Vec<&str> = given.iter().map(String::as_str).chain([ON, &monitored]).collect();
            let what = maps.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(" ");
            let text = try_text(&args).unwrap();
            let objects = kustomized(&text).unwrap_or_else(|why| panic!("{what}: {why}"));
            assert_eq!(objects.len(), plain.len(), "{what}");
            assert_eq!(program_takes(&objects), Ok(()));
            selectors_match(&what, &objects);
            // A proxy in between could send a paid call again.
            let pod = at(deployment(&objects), "spec.template.metadata");
            assert_eq!(pod["labels"]["sidecar.istio.io/inject"], "false", "{what}");
            assert_eq!(pod["annotations"]["linkerd.io/inject"], "disabled", "{what}");
            assert_eq!(container(&objects)["name"], "operator");
            for crd in of_kind(&objects, "CustomResourceDefinition") {
                assert_eq!(
                    at(crd, "metadata.annotations")["helm.sh/resource-policy"],
                    "keep",
                    "{what}"
                );
            }
        }
    }
}

fn selectors_match(what: &str, objects: &[Value]) {
    let operator = deployment(objects);
    let pod = at(operator, "spec.template.metadata.labels");
    let service = of_kind(objects, "Service")[0];
    let selects = [
        (at(operator, "spec.selector.matchLabels"), pod),
        (at(service, "spec.selector"), pod),
        (
            at(
                of_kind(objects, "PodDisruptionBudget")[0],
                "spec.selector.matchLabels",
            ),
            pod,
        ),
        (
            at(
                of_kind(objects, "NetworkPolicy")[0],
                "spec.podSelector.matchLabels",
            ),
            pod,
        ),
    ];
    let of_monitors = [
        ("ServiceMonitor", at(service, "metadata.labels")),
        ("PodMonitor", pod),
    ]
    .into_iter();
    let of_monitors = of_monitors.flat_map(|(kind, selected)| {
        let monitors = of_kind(objects, kind).into_iter();
        monitors.map(move |monitor| (at(monitor, "spec.selector.matchLabels"), selected))
    });
    for (selector, labels) in selects.into_iter().chain(of_monitors) {
        assert!(
            is_part_of(selector, labels),
            "{what}: {selector} does not select {labels}"
        );
    }
}

#[test]
fn a_common_label_gives_nobody_the_right_to_approve() {
    for role in ["view", "edit", "admin"] {
        let label = json!({format!("rbac.authorization.k8s.io/aggregate-to-{role}"): "true"});
        let refused = try_text(&[&format!("--set-json=commonLabels={label}")]);
        assert!(
            refused
                .as_ref()
                .is_err_and(|why| why.contains("the right to approve a price")),
            "{refused:?}"
        );
    }
}

/// Names that YAML would read as a number, a truth or nothing.
#[test]
fn a_name_that_yaml_reads_as_something_else_stays_a_text() {
    for name in ["null", "true", "yes", "on", "n", "e1"] {
        let text = try_text(&[
            &format!("--set-string=nameOverride={name},fullnameOverride={name},serviceAccount.name={name}"),
            &format!("--set-string=priorityClassName={name},runtimeClassName={name},image.tag={name}"),
            &format!("--set-json=watchNamespaces=[\"{name}\",\"123\",\"1e3\"]"),
            &format!("--set-json=commonLabels={}", json!({"team": name})),
            ON,
        ])
        .unwrap();
        let objects = kustomized(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
        selectors_match(name, &objects);
        assert_eq!(at(deployment(&objects), "metadata.name"), name);
        let of_pod = at(deployment(&objects), "spec.template.spec");
        for field in ["serviceAccountName", "priorityClassName", "runtimeClassName"] {
            assert_eq!(of_pod[field], name, "{field}");
        }
        let roles = of_kind(&objects, "Role").into_iter();
        let namespaces: BTreeSet<&str> = roles
            .map(|role| at(role, "metadata.namespace").as_str().unwrap())
            .collect();
        assert!(
            namespaces.is_superset(&BTreeSet::from([name, "123", "1e3"])),
            "{namespaces:?}"
        );
    }
}
