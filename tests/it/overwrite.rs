//! A backup restored onto a VPS that exists: a life without faults, the special ways, what comes back from the call, and
//! deaths at every point.

use std::time::Duration;

use futures::future::join_all;
use hostup_sim::{
    ActionGate, Answer, Content, Fault, OverwriteBehaviour, OverwriteOutcome, Route, Sim, Vps, World,
    standard_options,
};
use serde_json::{Value, json};

use crate::answers::{
    End, Row, redirect_rows, refused, row, said_unknown, status_rows, transport_rows, unreadable_rows,
};
use crate::support::death::{QUICK, died_at};
use crate::support::{PATIENCE, Stage, Tenant, at, condition, each_row, gates, ready, reason, says};

const IN_PLACE: &str = "--enable-in-place-restore";

/// The target of a stage, beside its own VPS.
fn target_of(vps: &str) -> String {
    format!("{vps}_target")
}

/// A stage whose account has a second VPS.
async fn stage(name: &str) -> Stage {
    let stage = Stage::new(name).await;
    stage.add_vps(&target_of(&stage.vps));
    stage
}

/// The stage's backup, restored onto `target`; without approval.
fn preview(stage: &Stage, name: &str, target: &str) -> Value {
    let mut object = stage.preview(name);
    object["spec"]["target"] = json!({"existingVps": {"vpsId": target}});
    object
}

/// The VPS that the backup was made of.
fn source(stage: &Stage) -> String {
    let object = stage.preview("any");
    at(&object, "spec.source.vpsId").as_str().unwrap().to_owned()
}

async fn approve(stage: &Stage, name: &str) {
    let shown = stage.wait_for_reason(name, "AwaitingApproval").await;
    let approval = json!({"spec": {"approval": {"quoteId": at(&shown, "status.quote.id")}}});
    stage.patch(name, approval).await.unwrap();
}

fn content(stage: &Stage, vps: &str) -> Content {
    stage.sim.world(|world| world.vps(vps).unwrap().content.clone())
}

async fn ends_with(stage: &Stage, executed: usize, posts: usize) {
    assert_eq!((stage.executed(), stage.posts()), (executed, posts));
    assert!(stage.sim.unfired().is_empty(), "{:?}", stage.sim.unfired());
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_preview_names_the_disk_that_is_lost_and_the_printed_command_overwrites_it_once() {
    let stage = stage("overwrite").await;
    let target = target_of(&stage.vps);
    let _operator = stage.operator(&[]);
    stage.create(preview(&stage, "web", &target)).await;
    let object = stage.wait_for_reason("web", "AwaitingApproval").await;
    says(
        &object,
        &format!("Overwriting the disk of VPS {target} (\"{target}\", running, active) with backup"),
    );
    says(
        &object,
        "destroys its present data and would cost nothing. Nothing is overwritten before an approval",
    );
    assert_eq!(at(&object, "status.quote.summary"), "no charge");
    assert_eq!(at(&object, "status.target.vpsId"), &json!(target));
    for gate in ["canRestoreFromAnotherVps", "storage", "targetIdle"] {
        assert_eq!(gates(&object, gate)[0]["allowed"], true, "{gate}");
    }
    assert_eq!((stage.posts(), stage.records().await.len()), (0, 0));
    stage.follow(&object, "To approve:").await;
    let object = stage.wait_for_reason("web", "Restored").await;
    says(&object, &format!("restored onto {target}"));
    assert_eq!(at(&object, "status.vm.vpsId"), &json!(target));
    let backup = at(&object, "status.backup.id").as_str().unwrap().to_owned();
    assert_eq!(content(&stage, &target), Content::Backup(backup));
    assert_eq!(content(&stage, &source(&stage)), Content::Own);
    assert_eq!(at(&object, "status.source.vpsId"), &json!(source(&stage)));
    let record = &stage.records().await[0];
    assert_eq!(at(record, "spec.type"), "OverwriteVps");
    assert_eq!(at(record, "spec.vpsId"), &json!(target));
    assert_eq!(at(record, "spec.changes.from.powerState"), "running");
    assert_eq!(at(record, "spec.quote.summary"), "no charge");
    assert_eq!(at(record, "status.evidence"), "Job");
    ends_with(&stage, 1, 1).await;
    // One of the same name and contents finds the record, and overwrites nothing.
    stage.delete("web").await;
    stage.create(preview(&stage, "web", &target)).await;
    let object = stage.wait_for_reason("web", "AlreadyExecuted").await;
    says(&object, "it is not overwritten again");
    ends_with(&stage, 1, 1).await;
}

#[tokio::test]
async fn an_approval_dies_with_any_change_of_the_target() {
    let stage = stage("overwritestate").await;
    let target = target_of(&stage.vps);
    let _operator = stage.operator(&["--gate-interval=500ms"]);
    stage.create(preview(&stage, "web", &target)).await;
    let shown = stage.wait_for_reason("web", "AwaitingApproval").await;
    stage
        .sim
        .world(|world| world.vps_mut(&target).unwrap().name = "production".to_owned());
    let approval = json!({"spec": {"approval": {"quoteId": at(&shown, "status.quote.id")}}});
    stage.patch("web", approval).await.unwrap();
    let renamed = |object: &Value| {
        let message = ready(object)["message"].as_str().unwrap_or_default();
        message.contains("\"production\", running") && message.contains("no longer current")
    };
    stage.wait("web", "another quote", renamed).await;
    ends_with(&stage, 0, 0).await;
}

#[tokio::test]
async fn its_own_backup_is_restored_onto_a_vps_only_where_the_admin_allows_it() {
    let stage = stage("inplace").await;
    let vps = source(&stage);
    let operator = stage.operator(&[]);
    stage.create(preview(&stage, "web", &vps)).await;
    let object = stage.wait_for_reason("web", "NotConfigurable").await;
    says(&object, IN_PLACE);
    drop(operator);
    let _operator = stage.operator(&[IN_PLACE]);
    approve(&stage, "web").await;
    stage.wait_for_reason("web", "Restored").await;
    assert!(matches!(content(&stage, &vps), Content::Backup(_)));
    assert_eq!(stage.sim.count(Route::Restore), 1);
    ends_with(&stage, 1, 1).await;
}

#[tokio::test]
async fn a_backup_of_a_service_that_has_ended_is_restored_too_and_names_are_resolved_once() {
    let stage = stage("retained").await;
    let target = target_of(&stage.vps);
    stage.sim.world(|world| world.terminate_vps(&source(&stage)));
    let _operator = stage.operator(&[]);
    let mut object = preview(&stage, "web", &target);
    object["spec"]["target"] = json!({"existingVps": {"vpsName": target}});
    stage.create(object).await;
    approve(&stage, "web").await;
    stage.wait_for_reason("web", "Restored").await;
    assert!(matches!(content(&stage, &target), Content::Backup(_)));
    ends_with(&stage, 1, 1).await;
}

#[tokio::test]
async fn closed_gates_and_a_small_disk_hold_it_back() {
    let stage = stage("overwriteclosed").await;
    let target = target_of(&stage.vps);
    let small = format!("{target}_small");
    stage.sim.world(|world| {
        let closed = ActionGate::closed("A backup runs.", Some("vps_not_ready"));
        world.vps_mut(&target).unwrap().can_restore_from_another = closed;
        world.add_vps(stage.account, Vps::fixed(&small, "small", 1, 1, 20));
    });
    let _operator = stage.operator(&["--gate-interval=500ms"]);
    stage.create(preview(&stage, "web", &target)).await;
    stage.create(preview(&stage, "small", &small)).await;
    let object = stage.wait_for_reason("web", "GatesClosed").await;
    says(
        &object,
        "canRestoreFromAnotherVps (vps_not_ready): A backup runs.",
    );
    let object = stage.wait_for_reason("small", "GatesClosed").await;
    says(
        &object,
        "storage: the target has 20 GB; source and backup need 80 GB",
    );
    ends_with(&stage, 0, 0).await;
}

#[tokio::test]
async fn nothing_else_goes_on_while_a_vps_is_overwritten() {
    let stage = stage("overwritebusy").await;
    let target = target_of(&stage.vps);
    stage.sim.world(|world| {
        world.vps_mut(&target).unwrap().options = standard_options();
        world.enforce_gates = false;
        world.overwrite_next(OverwriteBehaviour {
            job_duration: Duration::from_secs(3600),
            power_state: None,
            ..OverwriteBehaviour::default()
        });
    });
    let _operator = stage.operator(&["--gate-interval=500ms"]);
    stage.create(preview(&stage, "first", &target)).await;
    approve(&stage, "first").await;
    stage.wait_for_reason("first", "JobRunning").await;
    stage.create(preview(&stage, "second", &target)).await;
    let object = stage.wait_for_reason("second", "GatesClosed").await;
    says(&object, "targetIdle: VpsOperation");
    let mut options = stage.approved_config("options", json!({"bandwidthGb": 4096}));
    options["spec"]["vpsId"] = json!(target);
    stage.create(options).await;
    let object = stage.config_comes_to("options", "GatesClosed").await;
    says(&object, "overwrites this VPS");
    stage.sim.world(|world| world.advance(Duration::from_secs(3700)));
    stage.wait_for_reason("first", "Restored").await;
    stage.config_comes_to("options", "InSync").await;
    ends_with(&stage, 2, 2).await;
}

#[tokio::test]
async fn two_replicas_overwrite_once() {
    let stage = stage("overwritereplicas").await;
    let target = target_of(&stage.vps);
    let both = || stage.operator(&["--leader-elect=false"]);
    let _operators = [both(), both()];
    for n in 0..4 {
        let target = format!("{target}_{n}");
        stage.add_vps(&target);
        stage.create(preview(&stage, &format!("web-{n}"), &target)).await;
    }
    for n in 0..4 {
        approve(&stage, &format!("web-{n}")).await;
    }
    for n in 0..4 {
        stage.wait_for_reason(&format!("web-{n}"), "Restored").await;
    }
    ends_with(&stage, 4, 4).await;
}

#[tokio::test]
async fn of_two_objects_for_one_vps_one_overwrites_it_and_the_approval_of_the_other_ends() {
    let stage = stage("overwriterivals").await;
    let target = target_of(&stage.vps);
    let both = || stage.operator(&["--leader-elect=false", "--gate-interval=500ms"]);
    let _operators = [both(), both()];
    for name in ["one", "other"] {
        stage.create(preview(&stage, name, &target)).await;
        stage.wait_for_reason(name, "AwaitingApproval").await;
    }
    futures::join!(approve(&stage, "one"), approve(&stage, "other"));
    let ended = |object: &Value| {
        let message = ready(object)["message"].as_str().unwrap_or_default();
        let is_over = reason(object) == "AwaitingApproval" && message.contains("no longer current");
        is_over || reason(object) == "Restored"
    };
    let mut reasons = Vec::new();
    for name in ["one", "other"] {
        let written = |world: &World| world.overwrites_of(&target).len() == 1;
        assert!(stage.sim.until(PATIENCE, written).await);
        reasons.push(reason(&stage.wait(name, "an end", ended).await).to_owned());
    }
    reasons.sort();
    assert_eq!(stage.executed(), 1, "{reasons:?}");
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_job_that_fails_or_is_lost_is_never_followed_by_another_overwrite() {
    let stage = stage("overwritefails").await;
    let target = target_of(&stage.vps);
    let _operator = stage.operator(&["--settle-time=1s", "--paid-timeout=4s"]);
    stage
        .sim
        .world(|world| world.overwrite_next(OverwriteBehaviour::ending(OverwriteOutcome::FailsTorn)));
    stage.create(preview(&stage, "torn", &target)).await;
    approve(&stage, "torn").await;
    let object = stage.wait_for_reason("torn", "JobFailed").await;
    says(&object, "may hold neither its old data nor the backup");
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    let lost = format!("{target}_lost");
    stage.add_vps(&lost);
    let gone = Fault::on(Route::Job).answer(Answer::problem(404, "not_found"));
    stage.sim.inject(gone.times(1000));
    stage.create(preview(&stage, "lost", &lost)).await;
    approve(&stage, "lost").await;
    let object = stage.wait_for_reason("lost", "OutcomeUnknown").await;
    says(&object, "HostUp may have overwritten VPS");
    stage.follow(&object, "it was overwritten:").await;
    stage.wait_for_reason("lost", "Restored").await;
    assert_eq!((stage.executed(), stage.posts()), (2, 2));
    stage.check_invariants().await;
}

#[tokio::test]
async fn wrong_targets_are_refused_with_a_reason() {
    let stage = stage("wrongtarget").await;
    let target = target_of(&stage.vps);
    let good = || preview(&stage, "web", &target);
    let with = |pointer: &str, value: Value| {
        let mut object = good();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[member] = value;
        object
    };
    let rows = [
        (with("/spec/target/cloudVm", json!({})), "set either cloudVm"),
        (with("/spec/target", json!({})), "set either cloudVm"),
        (
            with("/spec/target/existingVps", json!({})),
            "set either vpsId or vpsName",
        ),
        (
            with("/spec/target/existingVps/vpsName", json!("web")),
            "set either vpsId or vpsName",
        ),
        (
            with(
                "/spec/approval",
                json!({"maxPrice": {"perHour": "1", "currencyCode": "SEK"}, "validUntil": "2099-01-01T00:00:00Z"}),
            ),
            "existingVps does not support approval.maxPrice",
        ),
    ];
    for (object, says) in rows {
        let error = stage.try_create(object).await.expect_err(says);
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    stage.create(good()).await;
    let moved = json!({"spec": {"target": {"existingVps": {"vpsId": "vps_other"}}}});
    let error = stage.patch("web", moved).await.expect_err("the target was moved");
    assert!(error.to_string().contains("target cannot be changed"), "{error}");
}

/// The answers by which HostUp takes a call as a job.
pub fn accepted_rows() -> Vec<Row> {
    vec![
        row("a202", true, Answer::normal(), End::Accepted),
        row(
            "extra-members",
            true,
            Answer::normal().set("/success", "true").set("/later", "[1]"),
            End::Accepted,
        ),
        row("gzip-claimed", true, Answer::normal().gzip_claim(), End::Accepted),
    ]
}

#[tokio::test]
async fn a_2xx_is_taken_for_an_overwrite_only_with_a_usable_job_id() {
    check(accepted_rows().into_iter().chain(unreadable_rows()).collect()).await;
}

#[tokio::test]
async fn a_lost_answer_to_an_overwrite_is_asked_about() {
    check(transport_rows()).await;
}

#[tokio::test]
async fn a_status_that_is_not_on_the_list_proves_nothing_of_an_overwrite() {
    check(status_rows(&[
        (409, "pending_orders"),
        (503, "restore_intent_failed"),
    ]))
    .await;
}

#[tokio::test]
async fn a_documented_refusal_of_an_overwrite_is_not_tried_again_while_its_cause_stands() {
    let mut rows = vec![
        refused("r400", 400, "invalid_request"),
        refused("r401", 401, "unauthorized"),
        refused("r403", 403, "forbidden"),
        refused("r403-inactive", 403, "account_inactive"),
        refused("r404", 404, "not_found"),
        refused("r404-vps", 404, "vps_not_found"),
        refused("r404-backup", 404, "backup_not_found"),
        refused("r409-not-ready", 409, "vps_not_ready"),
    ];
    let lied = Answer::problem(403, "forbidden");
    rows.push(row("refused-and-executed", true, lied, End::Lied));
    check(rows).await;
}

#[tokio::test]
async fn a_redirect_of_an_overwrite_is_never_followed() {
    let foreign = Sim::start();
    check(redirect_rows(&foreign)).await;
    assert_eq!(foreign.world(|world| world.connections().len()), 0);
}

/// Every row as a customer of one provider, driven by one operator.
async fn check(rows: Vec<Row>) {
    let stage = Stage::new("overwriteanswers").await;
    let operator = stage.operator_for_many(&[]);
    let checks = rows.iter().map(|row| async {
        let tenant = stage.tenant(&row.name).await;
        let target = target_of(&tenant.vps);
        let vps = Vps::fixed(&target, &target, 2, 4, 80);
        stage.sim.world(|world| world.add_vps(tenant.account, vps));
        let fault = tenant.fault(Route::RestoreFromVps);
        stage
            .sim
            .inject(fault.acted(row.acted).answer(row.answer.clone()));
        let mut object = preview(&stage, &row.name, &target);
        object["spec"]["source"] = json!({"vpsId": tenant.vps, "backupId": tenant.backup});
        object["spec"]["credentialsSecretRef"] = json!({"name": tenant.name});
        stage.create(object).await;
        approve(&stage, &row.name).await;
        match &row.end {
            End::Accepted => drop(stage.wait_for_reason(&row.name, "Restored").await),
            End::Unclear(says) => {
                asks(&stage, &tenant, &target).await;
                said_unknown(&operator, &stage.records_of(&row.name).await[0], says);
            }
            End::Refused(code, says) => refuses(&stage, &tenant, code, says).await,
            End::Lied => denies(&stage, &tenant, &target).await,
        }
        assert_eq!(stage.executed_of(&tenant), usize::from(row.acted), "{}", row.name);
        assert_eq!(stage.posts_of(&tenant).len(), 1, "{}", row.name);
        assert_eq!(stage.records_of(&row.name).await.len(), 1, "{}", row.name);
    });
    join_all(checks).await;
    assert_eq!(stage.sim.unfired(), Vec::<String>::new());
    assert_eq!(stage.posts(), rows.len());
    let elsewhere = stage.sim.requests_on(Route::Unknown);
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    stage.check_invariants().await;
}

/// A person is asked, with a command for each answer.
async fn asks(stage: &Stage, tenant: &Tenant, target: &str) {
    let name = &tenant.name;
    let object = stage.wait_for_reason(name, "OutcomeUnknown").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True", "{name}");
    let record = &stage.records_of(name).await[0];
    assert_eq!(at(record, "status.evidence"), "NoneFound", "{name}");
    says(
        &object,
        &format!("HostUp may have overwritten VPS {target} (\"{target}\", running, active)"),
    );
    for answer in ["NotExecuted", "Adopt", "Abandon"] {
        says(&object, &format!("\"answer\":\"{answer}\""));
    }
}

async fn refuses(stage: &Stage, tenant: &Tenant, code: &str, words: &str) {
    let name = &tenant.name;
    let object = stage.wait_for_reason(name, "Rejected").await;
    says(&object, code);
    says(&object, words);
    stage.wait_for_reads(tenant, Route::RestoreSources, 3).await;
    assert_eq!(reason(&stage.restore(name).await), "Rejected", "{name}");
}

/// The job that HostUp denied closes a gate, which opens again: no reason to destroy the disk once more.
async fn denies(stage: &Stage, tenant: &Tenant, target: &str) {
    let over = |world: &World| matches!(world.vps(target).unwrap().content, Content::Backup(_));
    assert!(stage.sim.until(PATIENCE, over).await, "the job that was denied");
    stage.wait_for_reads(tenant, Route::RestoreSources, 3).await;
    refuses(stage, tenant, "forbidden", "may have begun it all the same").await;
}

/// Every point of a life of an overwrite, in its order.
const POINTS: [&str; 12] = [
    "before-claim",
    "after-claim",
    "after-second-look",
    "before-send",
    "after-answer",
    "after-answer-recorded",
    "before-job-read",
    "after-job-read",
    "before-outcome-recorded",
    "after-outcome-recorded",
    "before-report",
    "after-report",
];

/// Approved while no process runs, dies at the point, and lives again.
async fn dies(point: &'static str) {
    let stage = stage("overwrite-crash").await;
    let target = target_of(&stage.vps);
    let mut earlier = stage.operator(&QUICK);
    stage.create(preview(&stage, "web", &target)).await;
    stage.wait_for_reason("web", "AwaitingApproval").await;
    earlier.kill_9();
    approve(&stage, "web").await;
    died_at(stage.armed(&QUICK, point), point).await;
    let (lost, answered) = match point {
        "before-claim" => (false, false),
        "after-claim" | "after-second-look" | "before-send" => (true, false),
        _ => (false, true),
    };
    assert_eq!(stage.executed(), usize::from(answered));
    let _second = stage.operator(&QUICK);
    let wanted = if lost || point == "after-answer" {
        "OutcomeUnknown"
    } else {
        "Restored"
    };
    stage.wait_for_reason("web", wanted).await;
    assert_eq!(stage.executed(), usize::from(!lost));
    let records = stage.records().await;
    assert_eq!((records.len(), stage.posts()), (1, usize::from(!lost)));
    let written = move |world: &World| {
        let is_own = world.vps(&target).unwrap().content == Content::Own;
        is_own == lost
    };
    assert!(stage.sim.until(PATIENCE, written).await);
    stage.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vps_is_overwritten_once_wherever_the_process_dies() {
    each_row(POINTS.map(|point| (point.to_owned(), dies(point)))).await;
}
