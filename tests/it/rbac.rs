//! A whole life under exactly the rights that are shipped.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use control_plane::AuditEvent;
use hostup_sim::{Answer, Fault, Route};
use serde_json::Value;

use crate::budgets;
use crate::support::{OPERATOR, PATIENCE, TestEnv, at};

/// Every right of the shipped roles that the audit log can show in use, as `verb resource`.
const SHIPPED: [&str; 24] = [
    "create events",
    "create leases",
    "create vpsoperations",
    "get leases",
    "get namespaces",
    "get secrets",
    "get vpsbackuprestores",
    "get vpsoperations",
    "get vpsresourceconfigs",
    "list validatingadmissionpolicies",
    "list validatingadmissionpolicybindings",
    "list vpsbackuprestores",
    "list vpsbudgets",
    "list vpsoperations",
    "list vpsresourceconfigs",
    "update leases",
    "update vpsbackuprestores/status",
    "update vpsbudgets/status",
    "update vpsoperations/status",
    "update vpsresourceconfigs/status",
    "watch vpsbackuprestores",
    "watch vpsbudgets",
    "watch vpsoperations",
    "watch vpsresourceconfigs",
];

#[tokio::test]
async fn the_shipped_rights_are_enough_for_a_whole_life_and_each_is_used() {
    let env = budgets::env("rbac").await;
    env.shipped_rights_only().await;
    // An empty instance id is the default: the uid of kube-system, which must be readable.
    let mut operator = env.operator(&["--leader-elect=true", "--instance-id="]);
    operator.wait_for_line("\"leading\"");

    let limits = serde_json::json!({"perHour": "100"});
    env.create(budgets::budget(&env, "team", limits)).await;
    env.create(env.preview("web")).await;
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
    env.follow(&object, "To approve:").await;
    env.wait_for_reason("web", "Restored").await;

    let lost = |acted| {
        Fault::on(Route::RestoreToPayg)
            .acted(acted)
            .answer(Answer::reset())
    };
    env.sim.inject(lost(true));
    env.create(env.approved("found")).await;
    let object = env.wait_for_reason("found", "Restored").await;
    assert_eq!(at(&object, "status.operation.state"), "Succeeded");

    env.sim.inject(lost(false));
    env.create(env.approved("asked")).await;
    let object = env.wait_for_reason("asked", "OutcomeUnknown").await;
    env.follow(&object, "It was not executed:").await;
    env.wait_for_reason("asked", "Restored").await;

    env.create(env.approved_config("options", serde_json::json!({"bandwidthGb": 4096})))
        .await;
    env.config_comes_to("options", "InSync").await;

    let kube_system: Value = serde_json::from_str(
        &env.plane
            .kubectl_ok(&["get", "ns", "kube-system", "-o", "json"])
            .unwrap(),
    )
    .unwrap();
    let records = env.records().await;
    assert_eq!(records.len(), 5);
    for record in &records {
        assert_eq!(
            at(record, "spec.claim.instanceId"),
            at(&kube_system, "metadata.uid")
        );
    }
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    assert_eq!((env.executed(), env.posts()), (4, 5));
    env.check_invariants().await;

    // A watch stands in the log once it has ended.
    operator.signal("TERM");
    assert!(operator.wait_for_end().success());
    let deadline = Instant::now() + PATIENCE;
    while used(&env, &records) != BTreeSet::from(SHIPPED.map(str::to_owned)) {
        let so_far = used(&env, &records);
        assert!(Instant::now() < deadline, "{so_far:?} is not {SHIPPED:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Which rights an operator has used for this environment.
fn used(env: &TestEnv, records: &[Value]) -> BTreeSet<String> {
    let name = |record: &Value| at(record, "metadata.name").as_str().unwrap().to_owned();
    let mut names: BTreeSet<String> = records.iter().map(name).collect();
    names.insert(format!("{}-team", env.namespace));
    let audit = env.plane.audit().unwrap();
    let ours = audit.iter().filter(|event| {
        let here = [env.namespace.as_str(), "hostup-system"].contains(&event.namespace.as_str());
        // Lists and watches of the ledger are for the whole cluster, and look alike for all.
        let ledger = event.namespace.is_empty() && (event.name.is_empty() || names.contains(&event.name));
        event.user == OPERATOR && (here || ledger)
    });
    let right = |event: &AuditEvent| {
        assert_ne!(event.code, 403, "{event:?}");
        let subresource = Some(&event.subresource).filter(|part| !part.is_empty());
        let subresource = subresource.map_or_else(String::new, |part| format!("/{part}"));
        format!("{} {}{subresource}", event.verb, event.resource)
    };
    ours.map(right).collect()
}

#[tokio::test]
async fn the_shipped_rights_let_nobody_spend_delete_or_list_secrets() {
    let env = TestEnv::new("norights").await;
    for (verb, resource, allowed) in [
        ("create", "vpsoperations.vps.hostup.se", "yes"),
        ("update", "vpsoperations.vps.hostup.se/status", "yes"),
        ("update", "vpsoperations.vps.hostup.se", "no"),
        ("update", "vpsbudgets.vps.hostup.se/status", "yes"),
        ("update", "vpsbudgets.vps.hostup.se", "no"),
        ("patch", "vpsbudgets.vps.hostup.se", "no"),
        ("delete", "vpsbudgets.vps.hostup.se", "no"),
        ("patch", "vpsoperations.vps.hostup.se", "no"),
        ("delete", "vpsoperations.vps.hostup.se", "no"),
        ("create", "vpsbackuprestores.vps.hostup.se", "no"),
        ("update", "vpsbackuprestores.vps.hostup.se", "no"),
        ("patch", "vpsbackuprestores.vps.hostup.se", "no"),
        ("delete", "vpsbackuprestores.vps.hostup.se", "no"),
        ("create", "vpsresourceconfigs.vps.hostup.se", "no"),
        ("update", "vpsresourceconfigs.vps.hostup.se", "no"),
        ("patch", "vpsresourceconfigs.vps.hostup.se", "no"),
        ("delete", "vpsresourceconfigs.vps.hostup.se", "no"),
        ("get", "secrets/hostup-api", "yes"),
        ("get", "secrets/other", "no"),
        ("list", "secrets", "no"),
        ("watch", "secrets", "no"),
        ("get", "namespaces", "yes"),
        ("list", "namespaces", "no"),
        ("get", "pods", "no"),
        ("create", "roles.rbac.authorization.k8s.io", "no"),
    ] {
        let account = format!("--as={OPERATOR}");
        let (resource, part) = resource.split_once("/status").unwrap_or((resource, "none"));
        let part = format!("--subresource={}", if part == "none" { "" } else { "status" });
        let asked = ["auth", "can-i", verb, resource, &part, "-n", "default", &account];
        let answer = env.plane.kubectl(&asked).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&answer.stdout).trim(),
            allowed,
            "{verb} {resource}"
        );
    }
}
