//! A whole life under exactly the rights that are shipped.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use control_plane::AuditEvent;
use hostup_sim::{Answer, Fault, Route};
use serde_json::Value;

use crate::budgets;
use crate::support::{OPERATOR, PATIENCE, Stage, at};

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
    let stage = budgets::stage("rbac").await;
    stage.shipped_rights_only().await;
    // An empty instance id is the default: the uid of kube-system, which must be readable.
    let mut operator = stage.operator(&["--leader-elect=true", "--instance-id="]);
    operator.wait_for_line("\"leading\"");

    let limits = serde_json::json!({"perHour": "100"});
    stage.create(budgets::budget(&stage, "team", limits)).await;
    stage.create(stage.preview("web")).await;
    let object = stage.wait_for_reason("web", "AwaitingApproval").await;
    stage.follow(&object, "To approve:").await;
    stage.wait_for_reason("web", "Restored").await;

    let lost = |acted| {
        Fault::on(Route::RestoreToPayg)
            .acted(acted)
            .answer(Answer::reset())
    };
    stage.sim.inject(lost(true));
    stage.create(stage.approved("found")).await;
    let object = stage.wait_for_reason("found", "Restored").await;
    assert_eq!(at(&object, "status.operation.state"), "Succeeded");

    stage.sim.inject(lost(false));
    stage.create(stage.approved("asked")).await;
    let object = stage.wait_for_reason("asked", "OutcomeUnknown").await;
    stage.follow(&object, "It was not executed:").await;
    stage.wait_for_reason("asked", "Restored").await;

    stage
        .create(stage.approved_config("options", serde_json::json!({"bandwidthGb": 4096})))
        .await;
    stage.config_comes_to("options", "InSync").await;

    let kube_system: Value = serde_json::from_str(
        &stage
            .plane
            .kubectl_ok(&["get", "ns", "kube-system", "-o", "json"])
            .unwrap(),
    )
    .unwrap();
    let records = stage.records().await;
    assert_eq!(records.len(), 5);
    for record in &records {
        assert_eq!(
            at(record, "spec.claim.instanceId"),
            at(&kube_system, "metadata.uid")
        );
    }
    assert!(stage.sim.unfired().is_empty(), "{:?}", stage.sim.unfired());
    assert_eq!((stage.executed(), stage.posts()), (4, 5));
    stage.check_invariants().await;

    // A watch stands in the log once it has ended.
    operator.signal("TERM");
    assert!(operator.wait_for_end().success());
    let deadline = Instant::now() + PATIENCE;
    while used(&stage, &records) != BTreeSet::from(SHIPPED.map(str::to_owned)) {
        let so_far = used(&stage, &records);
        assert!(Instant::now() < deadline, "{so_far:?} is not {SHIPPED:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Which rights an operator has used for this stage.
fn used(stage: &Stage, records: &[Value]) -> BTreeSet<String> {
    let name = |record: &Value| at(record, "metadata.name").as_str().unwrap().to_owned();
    let mut names: BTreeSet<String> = records.iter().map(name).collect();
    names.insert(format!("{}-team", stage.namespace));
    let audit = stage.plane.audit().unwrap();
    let ours = audit.iter().filter(|event| {
        let here = [stage.namespace.as_str(), "hostup-system"].contains(&event.namespace.as_str());
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
    let stage = Stage::new("norights").await;
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
        let answer = stage.plane.kubectl(&asked).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&answer.stdout).trim(),
            allowed,
            "{verb} {resource}"
        );
    }
}
