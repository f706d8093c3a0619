//! New backups: what they make, what refuses them, and every switch of how they go.

mod common;

use std::time::Duration;

use common::{Answer, Client, KEY, SOON, get};
use hostup_sim::{
    AccountId, ActionGate, Answer as Says, Backup, BackupBehaviour, BackupOutcome, Fault, JobKind, JobPhase,
    Listed, NoteAs, PurchaseKind, RateLimit, RateLimitStyle, Route, SOURCE_BACKUP, SOURCE_VPS, Sim, Stage,
    dec,
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(1000);
const NOTE: &str = r#"{"note":"Before upgrade"}"#;

/// The standard world; jobs take as long as the test lets them.
fn world() -> (Sim, AccountId) {
    let sim = Sim::start();
    let account = sim.world(|w| {
        w.backup.job_duration = LONG;
        w.add_account(KEY)
    });
    (sim, account)
}

fn path() -> String {
    format!("/api/v2/vps/{SOURCE_VPS}/backups")
}

fn create(sim: &Sim, body: &str) -> Answer {
    Client::new(sim, KEY).call("POST", &path(), body)
}

fn list(sim: &Sim) -> Answer {
    get(sim, &path())
}

fn rows(sim: &Sim) -> Vec<Value> {
    list(sim).at("/backups").as_array().unwrap().clone()
}

fn next(sim: &Sim, behaviour: BackupBehaviour) {
    sim.world(|w| w.backup_next(behaviour));
}

fn job(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 202, "{}", answer.text());
    let text = |pointer: &str| answer.at(pointer).as_str().unwrap().to_owned();
    (text("/operation/jobId"), text("/operation/pollUrl"))
}

fn made(sim: &Sim) -> Option<String> {
    let line = sim.purchases().pop().unwrap();
    line.backup_made.unwrap().backup
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.at("/code")), (status, json!(code)));
}

#[test]
fn a_backup_is_answered_202_and_is_in_the_list_with_its_note_when_its_job_is_done() {
    let (sim, account) = world();
    let answer = create(&sim, NOTE);
    let (id, poll) = job(&answer);
    assert_eq!(answer.at("/operation/status"), json!("queued"));
    assert_eq!(rows(&sim).len(), 1);
    sim.world(|w| w.finish_job(&id));
    let told = get(&sim, &poll);
    assert_eq!(told.at("/data/status"), json!("completed"));
    assert_eq!(told.at("/data/type"), json!("backup"));
    let backup = made(&sim).unwrap();
    assert_eq!(told.at("/data/result/result/backupId"), json!(backup));
    let row = &rows(&sim)[1];
    assert_eq!(row["id"], json!(backup));
    assert_eq!(row["note"], json!("Before upgrade"));
    assert_eq!(row["backupType"], json!("manual"));
    assert_eq!(row["sizeGb"], json!(12.4));
    assert!(row["createdAt"].is_string());
    let display = row["displayId"].as_str().unwrap();
    assert!(
        display.starts_with(row["createdAt"].as_str().unwrap()),
        "{display}"
    );
    assert_eq!(
        list(&sim).at("/quotaInfo"),
        json!({"used": 2, "limit": 3, "remaining": 1})
    );

    let [line] = &sim.purchases()[..] else {
        panic!("one line")
    };
    assert_eq!((line.kind, line.account), (PurchaseKind::CreateBackup, account));
    assert_eq!((line.source_vps.as_str(), &line.job_id), (SOURCE_VPS, &id));
    let made = line.backup_made.as_ref().unwrap();
    assert_eq!(made.vps, SOURCE_VPS);
    assert_eq!(made.note.as_deref(), Some("Before upgrade"));
    assert_eq!(sim.world(|w| w.job(&id).unwrap().kind), JobKind::CreateBackup);
    assert_eq!(sim.requests()[line.request].route, Route::CreateBackup);
}

#[test]
fn a_backup_needs_no_body_and_then_has_no_note() {
    let (sim, _) = world();
    for body in ["", "{}"] {
        let (id, _) = job(&create(&sim, body));
        sim.world(|w| w.finish_job(&id));
        assert_eq!(rows(&sim).pop().unwrap()["note"], Value::Null, "{body}");
    }
    assert_eq!(sim.purchases().len(), 2);
}

#[test]
fn a_backup_that_was_made_can_be_restored() {
    let (sim, _) = world();
    let (id, _) = job(&create(&sim, NOTE));
    sim.world(|w| w.finish_job(&id));
    let backup = made(&sim).unwrap();
    let path = format!("{}/{backup}/actions/restore-to-payg", path());
    let answer = Client::new(&sim, KEY).call("POST", &path, common::ORDER);
    assert_eq!(answer.status, 202);
    assert_eq!(sim.purchases()[1].backup, backup);
}

#[test]
fn a_body_with_anything_but_a_note_is_refused_with_pointers() {
    let (sim, _) = world();
    for (body, pointer) in [
        (r#"{"note":5}"#, "/note"),
        (r#"{"note":null}"#, "/note"),
        (r#"{"note":"a","mode":"suspend"}"#, "/mode"),
        (r#"{"attemptKey":"x"}"#, "/attemptKey"),
        ("[]", ""),
        ("{", ""),
    ] {
        let answer = create(&sim, body);
        refused(&answer, 400, "invalid_request");
        assert_eq!(answer.at("/errors/0/pointer"), json!(pointer), "{body}");
    }
    assert!(sim.purchases().is_empty());
}

#[test]
fn a_backup_needs_the_backup_scope_and_a_vps_of_one_s_own() {
    let (sim, account) = world();
    sim.world(|w| {
        w.add_key_with_scopes(account, "weak", &["read:vm", "write:vm", "write:billing"]);
        w.add_account("second");
    });
    let call = |key: &str| Client::new(&sim, key).call("POST", &path(), NOTE);
    refused(&call("weak"), 403, "forbidden");
    refused(&call("second"), 404, "not_found");
    refused(&call("nobody"), 401, "unauthorized");
    assert!(sim.purchases().is_empty());
}

#[test]
fn while_a_backup_is_made_its_job_is_active_and_the_gates_are_closed() {
    let (sim, _) = world();
    let (id, _) = job(&create(&sim, NOTE));
    let active = || get(&sim, &format!("/api/v2/vps/{SOURCE_VPS}/active-jobs")).at("/jobs");
    assert_eq!(active()[0]["jobType"], json!("backup"));
    assert_eq!(active()[0]["jobId"], json!(id));
    for gate in ["canCreateBackup", "canRestore", "canRestoreFromAnotherVps"] {
        let allowed = list(&sim).at(&format!("/actions/{gate}/allowed"));
        assert_eq!(allowed, json!(false), "{gate}");
    }
    refused(&create(&sim, NOTE), 409, "vps_not_ready");
    let power = get(&sim, &format!("/api/v2/vps/{SOURCE_VPS}")).at("/powerState");
    assert_eq!(power, json!("running"));
    sim.world(|w| w.advance(LONG));
    assert_eq!(active(), json!([]));
    assert_eq!(list(&sim).at("/actions/canCreateBackup/allowed"), json!(true));
    assert_eq!(sim.purchases().len(), 1);
}

#[test]
fn a_full_quota_closes_the_gate_and_refuses_unless_gates_are_not_enforced() {
    let (sim, _) = world();
    sim.world(|w| w.vps_mut(SOURCE_VPS).unwrap().backup_quota = Some(1));
    let gate = list(&sim).at("/actions/canCreateBackup");
    assert_eq!(
        gate,
        json!({"allowed": false, "reason": "The backup limit is reached."})
    );
    let answer = create(&sim, NOTE);
    refused(&answer, 409, "vps_not_ready");
    assert_eq!(answer.at("/detail"), json!("The backup limit is reached."));
    assert!(sim.purchases().is_empty());
    sim.world(|w| w.enforce_gates = false);
    let (id, _) = job(&create(&sim, NOTE));
    sim.world(|w| w.finish_job(&id));
    assert_eq!(
        list(&sim).at("/quotaInfo"),
        json!({"used": 2, "limit": 1, "remaining": 0})
    );
    sim.world(|w| {
        w.enforce_gates = true;
        w.vps_mut(SOURCE_VPS).unwrap().backup_quota = None;
    });
    assert_eq!(create(&sim, NOTE).status, 202);
}

#[test]
fn a_closed_gate_refuses_with_its_own_code() {
    let (sim, _) = world();
    sim.world(|w| {
        let gate = ActionGate::closed("Suspended.", Some("account_inactive"));
        w.vps_mut(SOURCE_VPS).unwrap().can_create_backup = gate;
    });
    refused(&create(&sim, NOTE), 409, "account_inactive");
    assert!(sim.purchases().is_empty());
}

#[test]
fn where_the_oldest_are_deleted_a_new_backup_takes_the_place_of_the_oldest() {
    let (sim, _) = world();
    sim.world(|w| {
        w.add_backup(
            SOURCE_VPS,
            Backup::new("bkp_old", "3").created(Some("2026-01-01T00:00:00.000Z")),
        );
        w.add_backup(SOURCE_VPS, Backup::new("bkp_undated", "3").created(None));
        w.vps_mut(SOURCE_VPS).unwrap().auto_delete_oldest = true;
    });
    assert_eq!(list(&sim).at("/actions/canCreateBackup/allowed"), json!(true));
    let (id, _) = job(&create(&sim, NOTE));
    assert_eq!(rows(&sim).len(), 3);
    sim.world(|w| w.finish_job(&id));
    let ids: Vec<Value> = rows(&sim).iter().map(|row| row["id"].clone()).collect();
    let made = made(&sim).unwrap();
    assert_eq!(json!(ids), json!([SOURCE_BACKUP, "bkp_undated", made]));
}

#[test]
fn a_job_can_fail_with_a_backup_and_without_one_and_never_end() {
    for (outcome, status, count) in [
        (BackupOutcome::Completes, "completed", 2),
        (BackupOutcome::FailsWithBackup, "failed", 2),
        (BackupOutcome::FailsWithoutBackup, "failed", 1),
        (BackupOutcome::NeverEnds, "in_progress", 2),
    ] {
        let (sim, _) = world();
        next(&sim, BackupBehaviour::ending(outcome));
        let (_, poll) = job(&create(&sim, NOTE));
        sim.world(|w| w.advance(LONG));
        let told = get(&sim, &poll);
        assert_eq!(told.at("/data/status"), json!(status), "{outcome:?}");
        if status == "failed" {
            assert!(told.at("/data/error").as_str().unwrap().starts_with("Backup"));
        }
        assert_eq!(rows(&sim).len(), count, "{outcome:?}");
        assert_eq!(made(&sim).is_some(), count == 2);
    }
    let (sim, _) = world();
    let (id, _) = job(&create(&sim, NOTE));
    sim.world(|w| w.fail_job(&id));
    sim.world(|w| w.advance(LONG));
    assert_eq!(rows(&sim).len(), 1);
}

#[test]
fn a_backup_can_be_listed_before_it_is_made_without_time_and_size() {
    let (sim, _) = world();
    let at_once = |outcome| BackupBehaviour {
        listed: Listed::AtOnce,
        ..BackupBehaviour::ending(outcome)
    };
    next(
        &sim,
        BackupBehaviour {
            job_duration: LONG,
            ..at_once(BackupOutcome::Completes)
        },
    );
    let (id, _) = job(&create(&sim, NOTE));
    let row = rows(&sim).pop().unwrap();
    assert_eq!(
        (&row["createdAt"], &row["sizeGb"], &row["note"]),
        (&Value::Null, &json!(0), &json!("Before upgrade"))
    );
    sim.world(|w| w.finish_job(&id));
    assert_eq!(rows(&sim).len(), 2);
    assert_eq!(rows(&sim)[1]["sizeGb"], json!(12.4));
    next(&sim, at_once(BackupOutcome::FailsWithoutBackup));
    job(&create(&sim, NOTE));
    sim.world(|w| w.advance(LONG));
    assert_eq!(rows(&sim)[2]["createdAt"], Value::Null);
    assert_eq!(made(&sim), None);
}

#[test]
fn the_list_can_lag_and_note_and_size_can_be_others() {
    let (sim, _) = world();
    next(
        &sim,
        BackupBehaviour {
            list_lag: 2,
            note_as: NoteAs::Other("Before".to_owned()),
            size_gb: Some(dec("31.25")),
            ..BackupBehaviour::default()
        },
    );
    job(&create(&sim, NOTE));
    sim.world(|w| w.advance(LONG));
    let counts: Vec<usize> = (0..3).map(|_| rows(&sim).len()).collect();
    assert_eq!(counts, [1, 1, 2]);
    let row = rows(&sim).pop().unwrap();
    assert_eq!((&row["note"], &row["sizeGb"]), (&json!("Before"), &json!(31.25)));
    let sent = sim.purchases()[0].backup_made.clone().unwrap().note;
    assert_eq!(sent.as_deref(), Some("Before upgrade"));
    next(
        &sim,
        BackupBehaviour {
            note_as: NoteAs::Null,
            ..BackupBehaviour::default()
        },
    );
    job(&create(&sim, NOTE));
    sim.world(|w| w.advance(LONG));
    assert_eq!(rows(&sim)[2]["note"], Value::Null);
    next(&sim, BackupBehaviour::default());
    assert_eq!(sim.unfired().len(), 1);
}

#[test]
fn waits_wake_when_a_backup_is_made_by_the_clock_alone() {
    let (sim, _) = world();
    next(&sim, BackupBehaviour::default());
    let (id, _) = job(&create(&sim, NOTE));
    assert!(sim.wait_until(SOON, |w| w.vps(SOURCE_VPS).unwrap().backups.len() == 2));
    let phase = sim.world(|w| w.job(&id).unwrap().phase_at(w.now()));
    assert_eq!(phase, JobPhase::Completed);
}

#[test]
fn every_fault_of_a_paid_call_works_on_a_new_backup_acted_or_not() {
    for acted in [true, false] {
        for (answer, status) in [
            (Says::normal(), 202),
            (Says::problem(500, "internal_error"), 500),
            (Says::problem(403, "forbidden"), 403),
            (Says::html(502), 502),
            (Says::broken_json(202), 202),
            (Says::rate_limited(RateLimitStyle::Exceeded), 429),
            (Says::normal().cut_body_after(5), 202),
            (Says::reset(), 0),
            (Says::close(), 0),
        ] {
            let (sim, _) = world();
            sim.inject(Fault::on(Route::CreateBackup).acted(acted).answer(answer));
            assert_eq!(create(&sim, NOTE).status, status);
            assert_eq!(sim.purchases().len(), usize::from(acted));
            assert_eq!(sim.requests()[0].acted, acted);
            sim.world(|w| w.advance(LONG));
            assert_eq!(rows(&sim).len(), 1 + usize::from(acted));
            assert!(sim.unfired().is_empty());
        }
    }
}

#[test]
fn a_202_without_an_act_names_a_job_that_nobody_knows_and_a_refusal_stays_one() {
    let (sim, _) = world();
    sim.inject(Fault::on(Route::CreateBackup).acted(false));
    let (_, poll) = job(&create(&sim, NOTE));
    assert_eq!(get(&sim, &poll).status, 404);
    sim.inject(Fault::on(Route::CreateBackup).acted(true).answer(Says::reset()));
    create(&sim, r#"{"odd":1}"#);
    assert!(sim.purchases().is_empty());
}

#[test]
#[should_panic(expected = "or writes")]
fn a_fault_on_a_new_backup_must_say_whether_it_acts() {
    let fault = Fault::on(Route::CreateBackup).answer(Says::close());
    world().0.inject(fault);
}

#[test]
fn a_backup_that_is_held_is_executed_late_though_its_client_has_left() {
    let (sim, _) = world();
    let gate = sim.hold(Route::CreateBackup, Stage::BeforeAct);
    let mut client = Client::new(&sim, KEY);
    let json = [("Content-Type", "application/json")];
    client.send("POST", &path(), &json, NOTE.as_bytes());
    assert!(gate.wait_held(SOON));
    assert!(sim.purchases().is_empty());
    drop(client);
    gate.release();
    assert!(sim.wait_purchases(1, SOON));
}

#[test]
fn the_rate_limit_of_the_account_counts_new_backups() {
    let (sim, account) = world();
    sim.world(|w| {
        w.account_mut(account).rate_limit = Some(RateLimit {
            requests: 1,
            window: Duration::from_secs(60),
        });
    });
    assert_eq!(create(&sim, NOTE).status, 202);
    refused(&create(&sim, NOTE), 429, "rate_limit_exceeded");
    assert_eq!(sim.purchases().len(), 1);
}

#[test]
fn the_admin_api_knows_the_faults_of_new_backups_and_shows_their_lines() {
    let (sim, _) = world();
    sim.world(|w| w.admin = true);
    let admin = |target: &str| {
        let answer = Client::new(&sim, KEY).call("POST", target, "");
        assert_eq!(answer.status, 200, "{target}");
    };
    admin("/_sim/faults/503-acted?route=create-backup");
    admin("/_sim/faults/backup-failed-made");
    assert_eq!(create(&sim, NOTE).status, 503);
    let line = get(&sim, "/_sim/purchases").at("/0");
    assert_eq!(line["kind"], json!("CreateBackup"));
    assert_eq!(line["sourceVps"], json!(SOURCE_VPS));
    assert_eq!(line["note"], json!("Before upgrade"));
    assert_eq!(line["backup"], json!(made(&sim)));
}
