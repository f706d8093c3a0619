//! A backup restored onto a VPS that exists: a life without faults, the special ways, what comes back from the call, and
//! deaths at every point.

use std::time::Duration;

use control_plane::{Action, Gate};
use futures::future::join_all;
use hostup_sim::{
    ActionGate, Answer, Content, Fault, OverwriteBehaviour, OverwriteOutcome, Route, Sim, Stage, Vps, World,
    standard_options,
};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::answers::{
    End, Row, redirect_rows, refused, row, said_unknown, status_rows, transport_rows, unreadable_rows,
};
use crate::support::death::{QUICK, died_at};
use crate::support::proxied_env::{ProxiedEnv, claim, held};
use crate::support::{Customer, PATIENCE, TestEnv, at, condition, each_row, gates, ready, reason, says};

const IN_PLACE: &str = "--enable-in-place-restore";

/// The target of an environment, beside its own VPS.
fn target_of(vps: &str) -> String {
    format!("{vps}_target")
}

/// An environment whose account has a second VPS.
async fn env(name: &str) -> TestEnv {
    let env = TestEnv::new(name).await;
    env.add_vps(&target_of(&env.vps));
    env
}

/// The environment's backup, restored onto `target`; without approval.
fn preview(env: &TestEnv, name: &str, target: &str) -> Value {
    let mut object = env.preview(name);
    object["spec"]["target"] = json!({"existingVps": {"vpsId": target}});
    object
}

/// The same, onto the VPS of this name.
fn preview_by_name(env: &TestEnv, name: &str, target: &str) -> Value {
    let mut object = env.preview(name);
    object["spec"]["target"] = json!({"existingVps": {"vpsName": target}});
    object
}

/// The VPS that the backup was made of.
fn source(env: &TestEnv) -> String {
    let object = env.preview("any");
    at(&object, "spec.source.vpsId").as_str().unwrap().to_owned()
}

async fn approve(env: &TestEnv, name: &str) {
    let shown = env.wait_for_reason(name, "AwaitingApproval").await;
    let approval = json!({"spec": {"approval": {"quoteId": at(&shown, "status.quote.id")}}});
    env.patch(name, approval).await.unwrap();
}

fn content(env: &TestEnv, vps: &str) -> Content {
    env.sim.world(|world| world.vps(vps).unwrap().content.clone())
}

async fn ends_with(env: &TestEnv, executed: usize, posts: usize) {
    assert_eq!((env.executed(), env.posts()), (executed, posts));
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
}

#[tokio::test]
async fn a_preview_names_the_disk_that_is_lost_and_the_printed_command_overwrites_it_once() {
    let env = env("overwrite").await;
    let target = target_of(&env.vps);
    let _operator = env.operator(&[]);
    env.create(preview(&env, "web", &target)).await;
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
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
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    env.follow(&object, "To approve:").await;
    let object = env.wait_for_reason("web", "Restored").await;
    says(&object, &format!("restored onto {target}"));
    assert_eq!(at(&object, "status.vm.vpsId"), &json!(target));
    let backup = at(&object, "status.backup.id").as_str().unwrap().to_owned();
    assert_eq!(content(&env, &target), Content::Backup(backup));
    assert_eq!(content(&env, &source(&env)), Content::Own);
    assert_eq!(at(&object, "status.source.vpsId"), &json!(source(&env)));
    let record = &env.records().await[0];
    assert_eq!(at(record, "spec.type"), "OverwriteVps");
    assert_eq!(at(record, "spec.vpsId"), &json!(target));
    assert_eq!(at(record, "spec.changes.from.powerState"), "running");
    assert_eq!(at(record, "spec.quote.summary"), "no charge");
    assert_eq!(at(record, "status.evidence"), "Job");
    ends_with(&env, 1, 1).await;
    // One of the same name and contents finds the record, and overwrites nothing.
    env.delete("web").await;
    env.create(preview(&env, "web", &target)).await;
    let object = env.wait_for_reason("web", "AlreadyExecuted").await;
    says(&object, "it is not overwritten again");
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn an_approval_dies_with_any_change_of_the_target_and_stays_dead() {
    let env = env("overwritestate").await;
    let target = target_of(&env.vps);
    let _operator = env.operator(&["--gate-interval=500ms", "--resync-interval=1s"]);
    env.create(preview(&env, "web", &target)).await;
    let shown = env.wait_for_reason("web", "AwaitingApproval").await;
    let rename = |name: &str| {
        let name = name.to_owned();
        env.sim.world(|world| world.vps_mut(&target).unwrap().name = name);
    };
    rename("production");
    let approval = json!({"spec": {"approval": {"quoteId": at(&shown, "status.quote.id")}}});
    env.patch("web", approval).await.unwrap();
    let renamed = |object: &Value| {
        let message = ready(object)["message"].as_str().unwrap_or_default();
        message.contains("\"production\", running") && message.contains("no longer current")
    };
    env.wait("web", "another quote", renamed).await;
    rename(&target);
    let as_before = |object: &Value| {
        let message = ready(object)["message"].as_str().unwrap_or_default();
        message.contains(&format!("\"{target}\", running"))
    };
    let object = env.wait("web", "the quote of the old name", as_before).await;
    assert_eq!(reason(&object), "AwaitingApproval");
    assert_eq!(
        at(&object, "status.quote.replaces"),
        at(&shown, "status.quote.id")
    );
    ends_with(&env, 0, 0).await;
    approve(&env, "web").await;
    env.wait_for_reason("web", "Restored").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn its_own_backup_is_restored_onto_a_vps_only_where_the_admin_allows_it() {
    let env = env("inplace").await;
    let vps = source(&env);
    let operator = env.operator(&[]);
    env.create(preview(&env, "web", &vps)).await;
    let object = env.wait_for_reason("web", "NotConfigurable").await;
    says(&object, IN_PLACE);
    drop(operator);
    let _operator = env.operator(&[IN_PLACE]);
    approve(&env, "web").await;
    env.wait_for_reason("web", "Restored").await;
    assert!(matches!(content(&env, &vps), Content::Backup(_)));
    assert_eq!(env.sim.count(Route::Restore), 1);
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_backup_of_a_service_that_has_ended_is_restored_too_and_names_are_resolved_once() {
    let env = env("retained").await;
    let target = target_of(&env.vps);
    env.sim.world(|world| world.terminate_vps(&source(&env)));
    let _operator = env.operator(&[]);
    env.create(preview_by_name(&env, "web", &target)).await;
    approve(&env, "web").await;
    env.wait_for_reason("web", "Restored").await;
    assert!(matches!(content(&env, &target), Content::Backup(_)));
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn the_first_quote_counts_where_the_operator_has_changed_a_target_that_is_named() {
    let env = env("overwritechanged").await;
    let target = target_of(&env.vps);
    let _operator = env.operator(&[]);
    let mut options = env.approved_config("options", json!({"bandwidthGb": 4096}));
    options["spec"]["vpsId"] = json!(target);
    env.create(options).await;
    env.config_comes_to("options", "InSync").await;
    env.create(preview_by_name(&env, "web", &target)).await;
    approve(&env, "web").await;
    env.wait_for_reason("web", "Restored").await;
    ends_with(&env, 2, 2).await;
}

#[tokio::test]
async fn an_order_that_comes_to_nothing_ends_no_approval() {
    let env = env("overwritenothing").await;
    let target = target_of(&env.vps);
    let _operator = env.operator(&["--gate-interval=500ms"]);
    let gate = env.sim.hold(Route::ConfigCommit, Stage::BeforeAct);
    let refusal = Answer::problem(403, "forbidden");
    env.sim
        .inject(Fault::on(Route::ConfigCommit).acted(false).answer(refusal));
    env.create(preview(&env, "web", &target)).await;
    let shown = env.wait_for_reason("web", "AwaitingApproval").await;
    let mut options = env.approved_config("options", json!({"bandwidthGb": 4096}));
    options["spec"]["vpsId"] = json!(target);
    env.create(options).await;
    assert!(gate.held(PATIENCE).await);
    let approval = json!({"spec": {"approval": {"quoteId": at(&shown, "status.quote.id")}}});
    env.patch("web", approval).await.unwrap();
    let object = env.wait_for_reason("web", "GatesClosed").await;
    says(&object, "targetIdle: VpsOperation");
    gate.release();
    env.config_comes_to("options", "Rejected").await;
    env.wait_for_reason("web", "Restored").await;
    ends_with(&env, 1, 2).await;
}

#[tokio::test]
async fn closed_gates_and_a_small_disk_hold_it_back() {
    let env = env("overwriteclosed").await;
    let target = target_of(&env.vps);
    let small = format!("{target}_small");
    env.sim.world(|world| {
        let closed = ActionGate::closed("A backup runs.", Some("vps_not_ready"));
        world.vps_mut(&target).unwrap().can_restore_from_another = closed;
        world.add_vps(env.account, Vps::fixed(&small, "small", 1, 1, 20));
    });
    let _operator = env.operator(&["--gate-interval=500ms"]);
    env.create(preview(&env, "web", &target)).await;
    env.create(preview(&env, "small", &small)).await;
    let object = env.wait_for_reason("web", "GatesClosed").await;
    says(
        &object,
        "canRestoreFromAnotherVps (vps_not_ready): A backup runs.",
    );
    let object = env.wait_for_reason("small", "GatesClosed").await;
    says(
        &object,
        "storage: the target has 20 GB; source and backup need 80 GB",
    );
    ends_with(&env, 0, 0).await;
}

#[tokio::test]
async fn nothing_else_goes_on_while_a_vps_is_overwritten() {
    let env = env("overwritebusy").await;
    let target = target_of(&env.vps);
    env.sim.world(|world| {
        world.vps_mut(&target).unwrap().options = standard_options();
        world.enforce_gates = false;
        world.overwrite_next(OverwriteBehaviour {
            job_duration: Duration::from_secs(3600),
            power_state: None,
            ..OverwriteBehaviour::default()
        });
    });
    let _operator = env.operator(&["--gate-interval=500ms"]);
    env.create(preview(&env, "first", &target)).await;
    approve(&env, "first").await;
    env.wait_for_reason("first", "JobRunning").await;
    env.create(preview(&env, "second", &target)).await;
    let object = env.wait_for_reason("second", "GatesClosed").await;
    says(&object, "targetIdle: VpsOperation");
    let mut options = env.approved_config("options", json!({"bandwidthGb": 4096}));
    options["spec"]["vpsId"] = json!(target);
    env.create(options).await;
    let object = env.config_comes_to("options", "GatesClosed").await;
    says(&object, "overwrites this VPS");
    env.sim.world(|world| world.advance(Duration::from_secs(3700)));
    env.wait_for_reason("first", "Restored").await;
    env.config_comes_to("options", "InSync").await;
    ends_with(&env, 2, 2).await;
}

/// HostUp shows the job after the answer, and forgets it then.
#[tokio::test]
async fn a_not_executed_that_the_job_refutes_counts_only_after_it_was_taken_back_and_given_again() {
    let env = env("overwriterefuted").await;
    let target = target_of(&env.vps);
    env.sim.world(|world| {
        world.overwrite_next(OverwriteBehaviour {
            job_duration: Duration::from_secs(3600),
            ..OverwriteBehaviour::default()
        });
    });
    let _operator = env.operator(&["--job-deadline=3s", "--resync-interval=1s", "--settle-time=1s"]);
    env.create(preview(&env, "web", &target)).await;
    approve(&env, "web").await;
    let object = env.wait_for_reason("web", "JobDeadlineExceeded").await;
    let record = at(&object, "status.operation.name").as_str().unwrap().to_owned();
    env.follow(&object, "It was not executed:").await;
    let is_refused = |record: &Value| at(record, "status.resolutionRefused").is_string();
    env.wait_for_record(&record, "a refusal", is_refused).await;
    let forgotten = Answer::problem(404, "not_found");
    let forgets = Fault::on(Route::Job).acted(false).always().answer(forgotten);
    env.sim.inject(forgets);
    for _ in 0..4 {
        env.polled_again().await;
    }
    let stands = serde_json::to_value(env.operations().get(&record).await.unwrap()).unwrap();
    assert_eq!(at(&stands, "status.state"), "Unknown", "{stands}");
    assert_eq!(env.posts(), 1);
    // What the message prints next to the refusal.
    let object = env.restore("web").await;
    env.follow(&object, "take the last answer back:").await;
    env.wait_for_record(&record, "no refusal", |record| !is_refused(record))
        .await;
    env.sim.clear_faults();
    env.sim.world(|world| world.advance(Duration::from_secs(3700)));
    env.wait_for_reason("web", "Restored").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn two_replicas_overwrite_once() {
    let env = env("overwritereplicas").await;
    let target = target_of(&env.vps);
    let both = || env.operator(&["--leader-elect=false"]);
    let _operators = [both(), both()];
    for n in 0..4 {
        let target = format!("{target}_{n}");
        env.add_vps(&target);
        env.create(preview(&env, &format!("web-{n}"), &target)).await;
    }
    for n in 0..4 {
        approve(&env, &format!("web-{n}")).await;
    }
    for n in 0..4 {
        env.wait_for_reason(&format!("web-{n}"), "Restored").await;
    }
    ends_with(&env, 4, 4).await;
}

/// The claim of one replica is on its way while another overwrites the VPS, and the record of that is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_late_claim_under_the_name_of_a_deleted_record_does_not_hide_that_the_vps_was_overwritten() {
    let ProxiedEnv { mut env, proxy } = ProxiedEnv::new("overwritelate").await;
    let target = target_of(&env.vps);
    env.add_vps(&target);
    let on_its_way = Gate::new();
    proxy.rule(claim(Action::HoldBefore(on_its_way.clone())));
    let args = [
        "--leader-elect=false",
        "--request-timeout=20s",
        "--paid-timeout=25s",
    ];
    let _late = env.operator(&args);
    env.create(preview(&env, "web", &target)).await;
    approve(&env, "web").await;
    held(&on_its_way).await;
    let second = env.plane.proxy().unwrap();
    env.kubeconfig = second.kubeconfig(&env.kubeconfig).unwrap();
    let _other = env.operator(&args);
    env.wait_for_reason("web", "Restored").await;
    let record = env.records().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    env.operations()
        .delete(&record, &DeleteParams::default())
        .await
        .unwrap();
    on_its_way.release();
    let is_withdrawn = |record: &Value| at(record, "status.state") == "NotSent";
    env.wait_for_record(&record, "its end", is_withdrawn).await;
    let tells = |object: &Value| {
        let message = ready(object)["message"].as_str().unwrap_or_default();
        reason(object) == "LedgerMissing" && message.contains("Another record has its name now")
    };
    let object = env.wait("web", "that its record is another one", tells).await;
    says(&object, &record);
    assert_eq!(at(&object, "status.operation.state"), "Succeeded");
    assert_eq!((env.executed(), env.posts()), (1, 1));
}

#[tokio::test]
async fn of_two_objects_for_one_vps_one_overwrites_it_and_the_approval_of_the_other_ends() {
    let env = env("overwriterivals").await;
    let target = target_of(&env.vps);
    let both = || env.operator(&["--leader-elect=false", "--gate-interval=500ms"]);
    let _operators = [both(), both()];
    for name in ["one", "other"] {
        env.create(preview(&env, name, &target)).await;
        env.wait_for_reason(name, "AwaitingApproval").await;
    }
    futures::join!(approve(&env, "one"), approve(&env, "other"));
    let ended = |object: &Value| {
        let message = ready(object)["message"].as_str().unwrap_or_default();
        let is_over = reason(object) == "AwaitingApproval" && message.contains("no longer current");
        is_over || reason(object) == "Restored"
    };
    let mut reasons = Vec::new();
    for name in ["one", "other"] {
        let written = |world: &World| world.overwrites_of(&target).len() == 1;
        assert!(env.sim.until(PATIENCE, written).await);
        reasons.push(reason(&env.wait(name, "an end", ended).await).to_owned());
    }
    reasons.sort();
    assert_eq!(env.executed(), 1, "{reasons:?}");
    env.check_invariants().await;
}

#[tokio::test]
async fn a_job_that_fails_or_is_lost_is_never_followed_by_another_overwrite() {
    let env = env("overwritefails").await;
    let target = target_of(&env.vps);
    let _operator = env.operator(&["--settle-time=1s", "--paid-timeout=4s"]);
    env.sim
        .world(|world| world.overwrite_next(OverwriteBehaviour::ending(OverwriteOutcome::FailsTorn)));
    env.create(preview(&env, "torn", &target)).await;
    approve(&env, "torn").await;
    let object = env.wait_for_reason("torn", "JobFailed").await;
    says(&object, "may contain neither its old data nor the backup");
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    let lost = format!("{target}_lost");
    env.add_vps(&lost);
    let gone = Fault::on(Route::Job).answer(Answer::problem(404, "not_found"));
    env.sim.inject(gone.times(1000));
    env.create(preview(&env, "lost", &lost)).await;
    approve(&env, "lost").await;
    let object = env.wait_for_reason("lost", "OutcomeUnknown").await;
    says(&object, "HostUp may have overwritten VPS");
    env.follow(&object, "it was overwritten:").await;
    env.wait_for_reason("lost", "Restored").await;
    assert_eq!((env.executed(), env.posts()), (2, 2));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_key_that_may_not_read_the_job_of_an_overwrite_is_told_and_proves_nothing() {
    let env = env("overwriteforbidden").await;
    let target = target_of(&env.vps);
    let _operator = env.operator(&["--settle-time=1s", "--resync-interval=1s"]);
    let forbidden = Fault::on(Route::Job).answer(Answer::problem(403, "forbidden"));
    env.sim.inject(forbidden.acted(false).always());
    env.create(preview(&env, "web", &target)).await;
    approve(&env, "web").await;
    let object = env.wait_for_reason("web", "Unauthorized").await;
    let record = at(&object, "status.operation.name").as_str().unwrap().to_owned();
    for _ in 0..3 {
        env.polled_again().await;
    }
    let stands = serde_json::to_value(env.operations().get(&record).await.unwrap()).unwrap();
    assert_eq!(at(&stands, "status.state"), "Accepted", "{stands}");
    env.sim.clear_faults();
    env.wait_for_reason("web", "Restored").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn wrong_targets_are_refused_with_a_reason() {
    let env = env("wrongtarget").await;
    let target = target_of(&env.vps);
    let good = || preview(&env, "web", &target);
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
        let error = env.try_create(object).await.expect_err(says);
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    env.create(good()).await;
    let moved = json!({"spec": {"target": {"existingVps": {"vpsId": "vps_other"}}}});
    let error = env.patch("web", moved).await.expect_err("the target was moved");
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
    let env = TestEnv::new("overwriteanswers").await;
    let operator = env.operator_for_many(&[]);
    let checks = rows.iter().map(|row| async {
        let customer = env.customer(&row.name).await;
        let target = target_of(&customer.vps);
        let vps = Vps::fixed(&target, &target, 2, 4, 80);
        env.sim.world(|world| world.add_vps(customer.account, vps));
        let fault = customer.fault(Route::RestoreFromVps);
        env.sim.inject(fault.acted(row.acted).answer(row.answer.clone()));
        let mut object = preview(&env, &row.name, &target);
        object["spec"]["source"] = json!({"vpsId": customer.vps, "backupId": customer.backup});
        object["spec"]["credentialsSecretRef"] = json!({"name": customer.name});
        env.create(object).await;
        approve(&env, &row.name).await;
        match &row.end {
            End::Accepted => drop(env.wait_for_reason(&row.name, "Restored").await),
            End::Unclear(says) => {
                asks(&env, &customer, &target).await;
                said_unknown(&operator, &env.records_of(&row.name).await[0], says);
            }
            End::Refused(code, says) => refuses(&env, &customer, code, says).await,
            End::Lied => denies(&env, &customer, &target).await,
        }
        assert_eq!(env.executed_of(&customer), usize::from(row.acted), "{}", row.name);
        assert_eq!(env.posts_of(&customer).len(), 1, "{}", row.name);
        assert_eq!(env.records_of(&row.name).await.len(), 1, "{}", row.name);
    });
    join_all(checks).await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    assert_eq!(env.posts(), rows.len());
    let elsewhere = env.sim.requests_on(Route::Unknown);
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    env.check_invariants().await;
}

/// A person is asked, with a command for each answer.
async fn asks(env: &TestEnv, customer: &Customer, target: &str) {
    let name = &customer.name;
    let object = env.wait_for_reason(name, "OutcomeUnknown").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True", "{name}");
    let record = &env.records_of(name).await[0];
    assert_eq!(at(record, "status.evidence"), "NoneFound", "{name}");
    says(
        &object,
        &format!("HostUp may have overwritten VPS {target} (\"{target}\", running, active)"),
    );
    for answer in ["NotExecuted", "Adopt", "Abandon"] {
        says(&object, &format!("\"answer\":\"{answer}\""));
    }
}

async fn refuses(env: &TestEnv, customer: &Customer, code: &str, words: &str) {
    let name = &customer.name;
    let object = env.wait_for_reason(name, "Rejected").await;
    says(&object, code);
    says(&object, words);
    env.wait_for_reads(customer, Route::RestoreSources, 3).await;
    assert_eq!(reason(&env.restore(name).await), "Rejected", "{name}");
}

/// The job that HostUp denied closes a gate, which opens again: no reason to destroy the disk once more.
async fn denies(env: &TestEnv, customer: &Customer, target: &str) {
    let over = |world: &World| matches!(world.vps(target).unwrap().content, Content::Backup(_));
    assert!(env.sim.until(PATIENCE, over).await, "the job that was denied");
    env.wait_for_reads(customer, Route::RestoreSources, 3).await;
    refuses(env, customer, "forbidden", "may have begun it all the same").await;
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
    let env = env("overwrite-crash").await;
    let target = target_of(&env.vps);
    let mut earlier = env.operator(&QUICK);
    env.create(preview(&env, "web", &target)).await;
    env.wait_for_reason("web", "AwaitingApproval").await;
    earlier.kill_9();
    approve(&env, "web").await;
    died_at(env.armed(&QUICK, point), point).await;
    let (lost, answered) = match point {
        "before-claim" => (false, false),
        "after-claim" | "after-second-look" | "before-send" => (true, false),
        _ => (false, true),
    };
    assert_eq!(env.executed(), usize::from(answered));
    let _second = env.operator(&QUICK);
    let wanted = if lost || point == "after-answer" {
        "OutcomeUnknown"
    } else {
        "Restored"
    };
    env.wait_for_reason("web", wanted).await;
    assert_eq!(env.executed(), usize::from(!lost));
    let records = env.records().await;
    assert_eq!((records.len(), env.posts()), (1, usize::from(!lost)));
    let written = move |world: &World| {
        let is_own = world.vps(&target).unwrap().content == Content::Own;
        is_own == lost
    };
    assert!(env.sim.until(PATIENCE, written).await);
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vps_is_overwritten_once_wherever_the_process_dies() {
    each_row(POINTS.map(|point| (point.to_owned(), dies(point)))).await;
}
