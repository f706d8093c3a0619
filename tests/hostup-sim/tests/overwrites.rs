//! Restores onto an existing VPS: what they overwrite, what refuses them, what shows meanwhile, and every
//! switch of how they go.

mod common;

use std::time::Duration;

use common::{Answer, Client, KEY, SOON, get};
use hostup_sim::{
    AccountId, ActionGate, Answer as Says, Backup, Content, Fault, JobForget, JobKind, JobView,
    OverwriteBehaviour, OverwriteOutcome, PurchaseKind, RateLimit, RateLimitStyle, Route, SOURCE_BACKUP,
    SOURCE_VPS, Sim, Stage, Vps, dec,
};
use serde_json::{Value, json};

const OTHER: &str = "vps_other";
const OTHERS_BACKUP: &str = "bkp_other";
const LONG: Duration = Duration::from_secs(1000);

/// A world with a second VPS of 40 GB, which has a backup of its own, beside the standard source VPS. Jobs
/// take as long as the test lets them.
fn world() -> (Sim, AccountId) {
    let sim = Sim::start();
    let account = sim.world(|w| {
        let account = w.add_account(KEY);
        let other = Vps::fixed(OTHER, "db-01", 1, 2, 40).with_backup(Backup::new(OTHERS_BACKUP, "7.5"));
        w.add_vps(account, other);
        w.overwrite.job_duration = LONG;
        account
    });
    (sim, account)
}

fn in_place_path() -> String {
    format!("/api/v2/vps/{SOURCE_VPS}/backups/{SOURCE_BACKUP}/actions/restore")
}

fn from_vps_path(target: &str) -> String {
    format!("/api/v2/vps/{target}/backups/actions/restore-from-vps")
}

fn order(source: &str, backup: &str) -> String {
    json!({"sourceVpsId": source, "backupId": backup}).to_string()
}

fn post(sim: &Sim, path: &str, body: &str) -> Answer {
    Client::new(sim, KEY).call("POST", path, body)
}

fn in_place(sim: &Sim, body: &str) -> Answer {
    post(sim, &in_place_path(), body)
}

/// The other VPS's backup onto the standard one.
fn from_vps(sim: &Sim) -> Answer {
    post(sim, &from_vps_path(SOURCE_VPS), &order(OTHER, OTHERS_BACKUP))
}

/// Both routes, each as a call that is in order.
fn both() -> [(Route, String, String); 2] {
    [
        (Route::Restore, in_place_path(), "{}".to_owned()),
        (
            Route::RestoreFromVps,
            from_vps_path(SOURCE_VPS),
            order(OTHER, OTHERS_BACKUP),
        ),
    ]
}

fn content(sim: &Sim) -> Content {
    sim.world(|w| w.vps(SOURCE_VPS).unwrap().content.clone())
}

fn of_source(sim: &Sim, rest: &str) -> Answer {
    get(sim, &format!("/api/v2/vps/{SOURCE_VPS}{rest}"))
}

fn next(sim: &Sim, behaviour: OverwriteBehaviour) {
    sim.world(|w| w.overwrite_next(behaviour));
}

fn job(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 202, "{}", answer.text());
    let text = |pointer: &str| answer.at(pointer).as_str().unwrap().to_owned();
    (text("/operation/jobId"), text("/operation/pollUrl"))
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.at("/code")), (status, json!(code)));
}

#[test]
fn a_restore_in_place_is_answered_202_and_its_overwrite_stands_in_the_ledger() {
    let (sim, account) = world();
    let answer = in_place(&sim, "");
    let (id, path) = job(&answer);
    assert_eq!(answer.at("/operation/status"), json!("queued"));
    assert_eq!(answer.json()["operation"].as_object().unwrap().len(), 3);
    assert_eq!(content(&sim), Content::Torn);
    sim.world(|w| w.finish_job(&id));
    assert_eq!(content(&sim), Content::Backup(SOURCE_BACKUP.to_owned()));
    let told = get(&sim, &path);
    assert_eq!(told.at("/data/status"), json!("completed"));
    assert_eq!(told.at("/data/type"), json!("restore"));
    assert_eq!(told.at("/data/result/result/vpsId"), json!(SOURCE_VPS));
    assert_eq!(sim.world(|w| w.job(&id).unwrap().kind), JobKind::Restore);

    let [line] = &sim.purchases()[..] else {
        panic!("one line")
    };
    assert_eq!((line.kind, line.account), (PurchaseKind::Restore, account));
    assert_eq!(
        (line.source_vps.as_str(), line.backup.as_str()),
        (SOURCE_VPS, SOURCE_BACKUP)
    );
    assert_eq!((&line.job_id, line.per_hour), (&id, None));
    let overwrite = line.overwrite.as_ref().unwrap();
    assert_eq!(overwrite.target, SOURCE_VPS);
    assert_eq!(overwrite.source, SOURCE_VPS);
    assert_eq!(overwrite.backup, SOURCE_BACKUP);
    assert_eq!(overwrite.before, Content::Own);
    assert!(overwrite.touched);
    assert_eq!(sim.world(|w| w.overwrites_of(SOURCE_VPS).len()), 1);
    assert!(sim.world(|w| w.overwrites_of(OTHER).is_empty()));
    assert_eq!(sim.requests()[line.request].route, Route::Restore);
}

#[test]
fn a_restore_from_another_vps_overwrites_the_target_alone() {
    let (sim, _) = world();
    let (id, path) = job(&from_vps(&sim));
    sim.world(|w| w.finish_job(&id));
    assert_eq!(content(&sim), Content::Backup(OTHERS_BACKUP.to_owned()));
    assert_eq!(sim.world(|w| w.vps(OTHER).unwrap().content.clone()), Content::Own);
    assert_eq!(get(&sim, &path).at("/data/type"), json!("restore-from-vps"));
    let line = &sim.purchases()[0];
    assert_eq!(line.kind, PurchaseKind::RestoreFromVps);
    assert_eq!(line.source_vps, SOURCE_VPS);
    let overwrite = line.overwrite.as_ref().unwrap();
    assert_eq!(overwrite.target, SOURCE_VPS);
    assert_eq!(overwrite.source, OTHER);
    assert_eq!(overwrite.backup, OTHERS_BACKUP);
}

#[test]
fn the_ledger_tells_what_each_overwrite_destroyed() {
    let (sim, _) = world();
    let (first, _) = job(&in_place(&sim, "{}"));
    sim.world(|w| w.finish_job(&first));
    let (second, _) = job(&from_vps(&sim));
    sim.world(|w| w.finish_job(&second));
    let before: Vec<Content> = sim.world(|w| {
        let lines = w.overwrites_of(SOURCE_VPS);
        let before = lines.iter().filter_map(|line| line.overwrite.as_ref());
        before.map(|own| own.before.clone()).collect()
    });
    assert_eq!(before, [Content::Own, Content::Backup(SOURCE_BACKUP.to_owned())]);
}

#[test]
fn a_new_cloud_vm_holds_the_backup_that_it_was_made_of() {
    let (sim, _) = world();
    assert_eq!(common::restore(&sim, common::ORDER).status, 202);
    let vps = sim.purchases()[0].vps_id.clone().unwrap();
    let made = sim.world(|w| w.vps(&vps).unwrap().content.clone());
    assert_eq!(made, Content::Backup(SOURCE_BACKUP.to_owned()));
    assert_eq!(content(&sim), Content::Own);
}

#[test]
fn while_it_runs_the_vps_is_stopped_its_job_is_active_and_its_gates_are_closed() {
    let (sim, _) = world();
    for (route, path, body) in both() {
        let long = OverwriteBehaviour {
            job_duration: LONG,
            ..OverwriteBehaviour::default()
        };
        next(&sim, long);
        let (id, poll) = job(&post(&sim, &path, &body));
        assert_eq!(of_source(&sim, "").at("/powerState"), json!("stopped"));
        assert_eq!(of_source(&sim, "").at("/serviceStatus"), json!("active"));
        assert_eq!(of_source(&sim, "/status").at("/powerState"), json!("stopped"));
        let row = of_source(&sim, "/active-jobs").at("/jobs/0");
        assert_eq!((&row["jobId"], &row["jobType"]), (&json!(id), &json!("restore")));
        assert_eq!((&row["status"], &row["progress"]), (&json!("queued"), &json!(0)));
        let backups = of_source(&sim, "/backups");
        for gate in ["canRestore", "canRestoreFromAnotherVps", "canCreateBackup"] {
            assert_eq!(
                backups.at(&format!("/actions/{gate}/allowed")),
                json!(false),
                "{gate}"
            );
        }
        let before = sim.purchases().len();
        for (_, path, body) in both() {
            refused(&post(&sim, &path, &body), 409, "vps_not_ready");
        }
        refused(&common::restore(&sim, common::ORDER), 409, "vps_not_ready");
        assert_eq!(sim.purchases().len(), before);

        sim.world(|w| w.advance(LONG / 2));
        let told = get(&sim, &poll);
        assert_eq!(told.at("/data/status"), json!("in_progress"), "{route:?}");
        assert_eq!(told.at("/data/progress"), json!(25));
        sim.world(|w| w.advance(LONG / 2));
        assert_eq!(get(&sim, &poll).at("/data/status"), json!("completed"));
        assert_eq!(of_source(&sim, "").at("/powerState"), json!("running"));
        assert_eq!(of_source(&sim, "/active-jobs").at("/jobs"), json!([]));
        let gate = of_source(&sim, "/backups").at("/actions/canRestore/allowed");
        assert_eq!(gate, json!(true));
    }
    assert_eq!(sim.purchases().len(), 2);
}

#[test]
fn words_and_times_of_the_downtime_are_switches_and_a_stopped_vps_stays_stopped() {
    let (sim, _) = world();
    next(
        &sim,
        OverwriteBehaviour {
            job_duration: LONG,
            up_after: Some(LONG * 2),
            power_state: Some("provisioning".to_owned()),
            service_status: Some("pending".to_owned()),
            ..OverwriteBehaviour::default()
        },
    );
    job(&in_place(&sim, ""));
    sim.world(|w| w.advance(LONG));
    assert_eq!(of_source(&sim, "").at("/powerState"), json!("provisioning"));
    assert_eq!(of_source(&sim, "").at("/serviceStatus"), json!("pending"));
    sim.world(|w| w.advance(LONG));
    assert_eq!(of_source(&sim, "").at("/powerState"), json!("running"));
    assert_eq!(of_source(&sim, "").at("/serviceStatus"), json!("active"));

    let stays_down = OverwriteBehaviour {
        comes_up: false,
        ..OverwriteBehaviour::default()
    };
    next(&sim, stays_down);
    let (id, _) = job(&in_place(&sim, ""));
    sim.world(|w| w.finish_job(&id));
    assert_eq!(of_source(&sim, "").at("/powerState"), json!("stopped"));
    sim.world(|w| w.boot(SOURCE_VPS));
    assert_eq!(of_source(&sim, "").at("/powerState"), json!("running"));

    sim.world(|w| w.vps_mut(SOURCE_VPS).unwrap().power_state = Some("stopped".to_owned()));
    let (id, _) = job(&in_place(&sim, ""));
    sim.world(|w| w.finish_job(&id));
    assert_eq!(of_source(&sim, "").at("/powerState"), json!("stopped"));
}

#[test]
fn a_job_can_fail_with_the_disk_as_it_was_lost_or_written_and_never_end() {
    let written = Content::Backup(SOURCE_BACKUP.to_owned());
    for (outcome, status, disk, power) in [
        (OverwriteOutcome::Completes, "completed", &written, "running"),
        (
            OverwriteOutcome::FailsUntouched,
            "failed",
            &Content::Own,
            "running",
        ),
        (OverwriteOutcome::FailsTorn, "failed", &Content::Torn, "stopped"),
        (OverwriteOutcome::FailsWritten, "failed", &written, "running"),
        (OverwriteOutcome::NeverEnds, "in_progress", &written, "running"),
    ] {
        let (sim, _) = world();
        next(&sim, OverwriteBehaviour::ending(outcome));
        let (_, poll) = job(&in_place(&sim, ""));
        sim.world(|w| w.advance(LONG));
        let told = get(&sim, &poll);
        assert_eq!(told.at("/data/status"), json!(status), "{outcome:?}");
        assert_eq!(told.json()["data"].get("error").is_some(), status == "failed");
        assert_eq!(&content(&sim), disk, "{outcome:?}");
        assert_eq!(of_source(&sim, "").at("/powerState"), json!(power), "{outcome:?}");
        let line = &sim.purchases()[0];
        let touched = line.overwrite.as_ref().unwrap().touched;
        assert_eq!(touched, outcome != OverwriteOutcome::FailsUntouched);
    }
}

#[test]
fn a_job_that_a_test_fails_leaves_a_torn_disk_on_a_vps_that_stays_down() {
    let (sim, _) = world();
    let (id, poll) = job(&in_place(&sim, ""));
    sim.world(|w| w.fail_job(&id));
    sim.world(|w| w.advance(LONG));
    assert_eq!(get(&sim, &poll).at("/data/status"), json!("failed"));
    assert_eq!(content(&sim), Content::Torn);
    assert_eq!(of_source(&sim, "").at("/powerState"), json!("stopped"));
    let (id, _) = job(&in_place(&sim, ""));
    sim.world(|w| w.finish_job(&id));
    assert_eq!(content(&sim), Content::Backup(SOURCE_BACKUP.to_owned()));
    assert_eq!(of_source(&sim, "").at("/powerState"), json!("running"));
}

#[test]
fn what_was_written_early_is_not_written_again_later() {
    let (sim, _) = world();
    next(
        &sim,
        OverwriteBehaviour {
            job_duration: LONG,
            ..OverwriteBehaviour::ending(OverwriteOutcome::NeverEnds)
        },
    );
    let (first, _) = job(&in_place(&sim, ""));
    sim.world(|w| w.finish_job(&first));
    let (second, _) = job(&from_vps(&sim));
    sim.world(|w| w.finish_job(&second));
    sim.world(|w| w.advance(LONG * 2));
    assert_eq!(content(&sim), Content::Backup(OTHERS_BACKUP.to_owned()));
}

#[test]
fn waits_wake_when_the_disk_is_written_by_the_clock_alone() {
    let (sim, _) = world();
    sim.world(|w| w.overwrite.job_duration = Duration::from_millis(100));
    job(&in_place(&sim, ""));
    assert!(sim.wait_until(SOON, |w| {
        w.vps(SOURCE_VPS).unwrap().content == Content::Backup(SOURCE_BACKUP.to_owned())
    }));
    assert!(sim.wait_until(SOON, |w| {
        w.vps(SOURCE_VPS).unwrap().power_state_at(w.now()) == Some("running")
    }));
}

#[test]
fn the_job_can_be_forgotten_while_the_vps_still_shows_it() {
    let (sim, _) = world();
    next(
        &sim,
        OverwriteBehaviour {
            job_duration: LONG,
            view: JobView {
                forget: JobForget::AfterPolls(0),
                ..JobView::default()
            },
            ..OverwriteBehaviour::default()
        },
    );
    let (_, poll) = job(&in_place(&sim, ""));
    assert_eq!(get(&sim, &poll).status, 404);
    let rows = of_source(&sim, "/active-jobs").at("/jobs");
    assert_eq!(rows.as_array().unwrap().len(), 1);
}

#[test]
fn a_restore_in_place_takes_no_members() {
    let (sim, _) = world();
    for (body, pointer) in [
        (r#"{"confirm":true}"#, "/confirm"),
        (r#"{"name":"x"}"#, "/name"),
        ("[]", ""),
        ("{", ""),
    ] {
        let answer = in_place(&sim, body);
        refused(&answer, 400, "invalid_request");
        assert_eq!(answer.at("/errors/0/pointer"), json!(pointer), "{body}");
    }
    assert!(sim.purchases().is_empty());
    assert_eq!(content(&sim), Content::Own);
}

#[test]
fn a_restore_from_another_vps_needs_both_ids_and_nothing_else() {
    let (sim, _) = world();
    let path = from_vps_path(SOURCE_VPS);
    for (body, pointer) in [
        (json!({}), "/sourceVpsId"),
        (json!({"sourceVpsId": OTHER}), "/backupId"),
        (json!({"backupId": OTHERS_BACKUP}), "/sourceVpsId"),
        (
            json!({"sourceVpsId": 5, "backupId": OTHERS_BACKUP}),
            "/sourceVpsId",
        ),
        (json!({"sourceVpsId": OTHER, "backupId": null}), "/backupId"),
        (
            json!({"sourceVpsId": OTHER, "backupId": OTHERS_BACKUP, "force": true}),
            "/force",
        ),
        (
            json!({"sourceVpsId": SOURCE_VPS, "backupId": SOURCE_BACKUP}),
            "/sourceVpsId",
        ),
    ] {
        let answer = post(&sim, &path, &body.to_string());
        refused(&answer, 400, "invalid_request");
        assert_eq!(answer.at("/errors/0/pointer"), json!(pointer), "{body}");
    }
    refused(&post(&sim, &path, ""), 400, "invalid_request");
    for (source, backup) in [
        ("vps_none", OTHERS_BACKUP),
        (OTHER, "bkp_none"),
        (OTHER, SOURCE_BACKUP),
    ] {
        let answer = post(&sim, &path, &order(source, backup));
        refused(&answer, 404, "not_found");
    }
    assert!(sim.purchases().is_empty());
}

#[test]
fn the_target_must_have_room_for_the_source_and_its_backup() {
    let (sim, _) = world();
    let onto_other = || post(&sim, &from_vps_path(OTHER), &order(SOURCE_VPS, SOURCE_BACKUP));
    let answer = onto_other();
    refused(&answer, 400, "invalid_request");
    assert_eq!(answer.at("/errors/0/pointer"), json!("/backupId"));
    sim.world(|w| w.vps_mut(OTHER).unwrap().resources.storage_gb = dec("80"));
    assert_eq!(onto_other().status, 202);
    sim.world(|w| w.vps_mut(OTHER).unwrap().backups[0].size_gb = dec("80.5"));
    refused(&from_vps(&sim), 400, "invalid_request");
    assert_eq!(sim.purchases().len(), 1);
}

#[test]
fn restores_need_the_backup_scope_and_a_vps_of_one_s_own() {
    let (sim, account) = world();
    sim.world(|w| {
        w.add_key_with_scopes(account, "weak", &["read:vm", "write:vm", "write:billing"]);
        w.add_key_with_scopes(account, "narrow", &["backup:vm"]);
        w.add_account("second");
    });
    for (_, path, body) in both() {
        let call = |key: &str| Client::new(&sim, key).call("POST", &path, &body);
        refused(&call("weak"), 403, "forbidden");
        refused(&call("second"), 404, "not_found");
        refused(&call("nobody"), 401, "unauthorized");
    }
    let sources = format!("/api/v2/vps/{SOURCE_VPS}/backups/restore-sources");
    let read = |key: &str| Client::new(&sim, key).call("GET", &sources, "").status;
    assert_eq!((read("weak"), read("narrow"), read("second")), (403, 200, 404));
    assert!(sim.purchases().is_empty());
    sim.world(|w| assert!(w.remove_backup(SOURCE_BACKUP)));
    refused(&in_place(&sim, ""), 404, "not_found");
    let narrow = Client::new(&sim, "narrow").call("POST", &both()[1].1, &both()[1].2);
    assert_eq!(narrow.status, 202);
}

#[test]
fn a_closed_gate_refuses_its_own_restore_unless_gates_are_not_enforced() {
    let (sim, _) = world();
    let closed = || ActionGate::closed("An order is pending.", Some("pending_orders"));
    sim.world(|w| w.vps_mut(SOURCE_VPS).unwrap().can_restore = closed());
    refused(&in_place(&sim, ""), 409, "pending_orders");
    let (id, _) = job(&from_vps(&sim));
    sim.world(|w| {
        w.finish_job(&id);
        let vps = w.vps_mut(SOURCE_VPS).unwrap();
        vps.can_restore = ActionGate::open();
        vps.can_restore_from_another = closed();
    });
    refused(&from_vps(&sim), 409, "pending_orders");
    let shown = of_source(&sim, "/backups").at("/actions/canRestoreFromAnotherVps/code");
    assert_eq!(shown, json!("pending_orders"));
    let (id, _) = job(&in_place(&sim, ""));
    sim.world(|w| {
        w.finish_job(&id);
        w.enforce_gates = false;
    });
    assert_eq!(from_vps(&sim).status, 202);
    assert_eq!(in_place(&sim, "").status, 202);
    assert_eq!(sim.purchases().len(), 4);
}

#[test]
fn restore_sources_are_the_other_servers_with_backups_and_what_is_retained_of_terminated_ones() {
    let (sim, account) = world();
    sim.world(|w| {
        w.add_fillers(account, 1);
        w.add_vps(
            account,
            Vps::fixed("vps_gone", "old-01", 1, 1, 10).with_backup(Backup::new("bkp_old", "3")),
        );
        w.terminate_vps("vps_gone");
    });
    let sources = of_source(&sim, "/backups/restore-sources");
    let backup = |id: &str, size: u32| {
        json!([{"id": id, "displayId": "2026-04-27T10:00:00.000Z (vzdump-qemu-101.vma.zst)",
            "storageKey": "vzdump-qemu-101.vma.zst", "createdAt": "2026-04-27T10:00:00.000Z",
            "sizeGb": size}])
    };
    assert_eq!(
        sources.json(),
        json!({"sources": [
            {"id": OTHER, "name": "db-01", "serviceStatus": "active", "sourceType": "server",
                "backups": backup(OTHERS_BACKUP, 8)},
            {"id": "vps_gone", "name": "old-01", "serviceStatus": "terminated", "sourceType": "retained",
                "backups": backup("bkp_old", 3)},
        ]})
    );
    assert_eq!(get(&sim, "/api/v2/vps/vps_gone").status, 404);
    let answer = post(&sim, &from_vps_path(SOURCE_VPS), &order("vps_gone", "bkp_old"));
    assert_eq!(answer.status, 202);
    let line = &sim.purchases()[0];
    assert_eq!(line.overwrite.as_ref().unwrap().source, "vps_gone");
}

#[test]
fn every_fault_of_a_paid_call_works_on_both_restores_acted_or_not() {
    for (route, path, body) in both() {
        for acted in [true, false] {
            for (answer, status) in [
                (Says::normal(), 202),
                (Says::problem(500, "internal_error"), 500),
                (Says::problem(403, "forbidden"), 403),
                (Says::html(502), 502),
                (Says::broken_json(202), 202),
                (Says::rate_limited(RateLimitStyle::Limited), 429),
                (Says::normal().cut_body_after(5), 202),
                (Says::reset(), 0),
                (Says::close(), 0),
            ] {
                let (sim, _) = world();
                sim.inject(Fault::on(route).acted(acted).answer(answer));
                assert_eq!(post(&sim, &path, &body).status, status);
                assert_eq!(sim.purchases().len(), usize::from(acted));
                assert_eq!(sim.requests()[0].acted, acted);
                assert_eq!(content(&sim) == Content::Own, !acted);
                assert!(sim.unfired().is_empty());
            }
        }
    }
}

#[test]
fn a_202_without_an_act_names_a_job_that_nobody_knows_and_a_refusal_stays_one() {
    let (sim, _) = world();
    sim.inject(Fault::on(Route::Restore).acted(false).times(2));
    let (_, poll) = job(&in_place(&sim, ""));
    assert_eq!(get(&sim, &poll).status, 404);
    assert_eq!(in_place(&sim, r#"{"odd":1}"#).status, 400);
    sim.inject(Fault::on(Route::Restore).acted(true).answer(Says::reset()));
    in_place(&sim, r#"{"odd":1}"#);
    assert!(sim.purchases().is_empty());
}

#[test]
#[should_panic(expected = "or writes")]
fn a_fault_on_a_restore_onto_a_vps_must_say_whether_it_acts() {
    let fault = Fault::on(Route::RestoreFromVps).answer(Says::close());
    world().0.inject(fault);
}

#[test]
fn a_restore_that_is_held_is_executed_late_though_its_client_has_left() {
    let (sim, _) = world();
    for (route, path, body) in both() {
        let before = sim.purchases().len();
        let gate = sim.hold(route, Stage::BeforeAct);
        let mut client = Client::new(&sim, KEY);
        let json = [("Content-Type", "application/json")];
        client.send("POST", &path, &json, body.as_bytes());
        assert!(gate.wait_held(SOON));
        assert_eq!(sim.purchases().len(), before);
        drop(client);
        gate.release();
        assert!(sim.wait_purchases(before + 1, SOON));
        sim.world(|w| w.advance(LONG));
    }
}

#[test]
fn the_rate_limit_of_the_account_counts_restores_onto_a_vps() {
    let (sim, account) = world();
    sim.world(|w| {
        w.account_mut(account).rate_limit = Some(RateLimit {
            requests: 1,
            window: Duration::from_secs(60),
        });
    });
    assert_eq!(in_place(&sim, "").status, 202);
    refused(&from_vps(&sim), 429, "rate_limit_exceeded");
    assert_eq!(sim.purchases().len(), 1);
}

#[test]
fn the_admin_api_knows_the_faults_of_restores_onto_a_vps_and_shows_what_was_overwritten() {
    let (sim, _) = world();
    sim.world(|w| w.admin = true);
    let admin = |target: &str| assert_eq!(post(&sim, target, "").status, 200, "{target}");
    admin("/_sim/faults/500-acted?route=restore");
    admin("/_sim/faults/overwrite-torn");
    admin("/_sim/job-duration/1ms");
    assert_eq!(in_place(&sim, "").status, 500);
    let line = get(&sim, "/_sim/purchases").at("/0");
    let members: Vec<&Value> = ["kind", "target", "backup", "source", "before", "touched"]
        .iter()
        .map(|name| &line[*name])
        .collect();
    assert_eq!(
        json!(members),
        json!(["Restore", SOURCE_VPS, SOURCE_BACKUP, SOURCE_VPS, "own", true])
    );
    assert!(line["at"].is_string());
    assert_eq!(get(&sim, "/_sim/vps").at("/0/content"), json!("torn"));
}
