//! What a restore costs and makes, and every switch of how it goes.

mod common;

use std::time::Duration;

use common::{Client, KEY, ORDER, SOON, get, restore, restore_path};
use hostup_sim::{
    AccountId, ActionGate, BlockersAt, Boots, Decimal, JobForget, JobPhase, JobResult, JobShape, JobView,
    LimitSet, NameAs, Outcome, Resources, RestoreBehaviour, Route, SOURCE_BACKUP, SOURCE_VPS, Sim, dec,
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(3600);

fn world() -> (Sim, AccountId) {
    let sim = Sim::start();
    let account = sim.world(|w| w.add_account(KEY));
    (sim, account)
}

/// A restore under a behaviour; the job's id and path.
fn go(sim: &Sim, behaviour: RestoreBehaviour) -> (String, String) {
    sim.world(|w| w.restore_next(behaviour));
    let answer = restore(sim, ORDER);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let job = answer.at("/operation/jobId").as_str().unwrap().to_owned();
    let path = answer.at("/operation/pollUrl").as_str().unwrap().to_owned();
    (job, path)
}

fn finished(sim: &Sim, job: &str) {
    sim.world(|w| w.finish_job(job));
}

fn with_view(view: JobView) -> RestoreBehaviour {
    RestoreBehaviour {
        job_duration: LONG,
        view,
        ..RestoreBehaviour::default()
    }
}

fn rows(sim: &Sim, query: &str) -> usize {
    let list = get(sim, &format!("/api/v2/vps?{query}"));
    list.at("/data").as_array().unwrap().len()
}

#[test]
fn a_restore_is_answered_202_and_stands_in_the_ledger_with_its_facts() {
    let (sim, account) = world();
    let answer = restore(&sim, ORDER);
    assert_eq!(answer.status, 202);
    assert_eq!(answer.at("/operation/status"), json!("queued"));
    let job = answer.at("/operation/jobId").as_str().unwrap().to_owned();
    assert_eq!(job.len(), "job_".len() + 26);
    assert_eq!(answer.at("/operation/pollUrl"), json!(format!("/api/jobs/{job}")));
    assert_eq!(answer.json()["operation"].as_object().unwrap().len(), 3);

    let [purchase] = &sim.purchases()[..] else {
        panic!("one purchase")
    };
    assert_eq!(purchase.sequence, 1);
    assert_eq!(purchase.account, account);
    assert_eq!(purchase.key, "key1");
    assert_eq!(purchase.source_vps, SOURCE_VPS);
    assert_eq!(purchase.backup, SOURCE_BACKUP);
    assert_eq!(purchase.name, "restore-web-01");
    assert_eq!(purchase.name_sent.as_deref(), Some("restore-web-01"));
    assert_eq!(
        (purchase.cpu_cores, purchase.memory_gb, purchase.storage_gb),
        (2, 4, 80)
    );
    assert_eq!(purchase.body, ORDER.as_bytes());
    assert_eq!(purchase.body_sha256.len(), 64);
    assert_eq!(purchase.job_id, job);
    assert_eq!(purchase.per_hour, Some(dec("0.66")));
    assert!(purchase.acted);
    let request = &sim.requests()[purchase.request];
    assert_eq!(request.route, Route::RestoreToPayg);
    assert!(request.acted && request.is_from(account));
    assert_eq!((request.status, request.nth_on_connection), (Some(202), 1));
}

#[test]
fn two_identical_posts_buy_twice() {
    let (sim, account) = world();
    let (first, second) = (restore(&sim, ORDER), restore(&sim, ORDER));
    assert_ne!(first.at("/operation/jobId"), second.at("/operation/jobId"));
    assert_eq!(sim.purchases().len(), 2);
    assert_eq!(sim.world(|w| w.vps_named(account, "restore-web-01").len()), 2);
}

#[test]
fn without_a_body_sizes_mirror_the_source_and_a_name_is_made() {
    let (sim, _) = world();
    for body in ["", "{}"] {
        assert_eq!(restore(&sim, body).status, 202);
    }
    for purchase in sim.purchases() {
        assert_eq!(
            (purchase.cpu_cores, purchase.memory_gb, purchase.storage_gb),
            (2, 4, 80)
        );
        assert_eq!(purchase.name_sent, None);
        assert!(purchase.name.starts_with("restore-"));
        assert_eq!(purchase.region, "stockholm");
    }
}

#[test]
fn a_body_outside_the_documented_ranges_is_refused_with_pointers_and_buys_nothing() {
    let (sim, _) = world();
    for (body, pointer) in [
        (r#"{"cpuCores":0}"#, "/cpuCores"),
        (r#"{"cpuCores":33}"#, "/cpuCores"),
        (r#"{"cpuCores":2.5}"#, "/cpuCores"),
        (r#"{"cpuCores":"2"}"#, "/cpuCores"),
        (r#"{"cpuCores":null}"#, "/cpuCores"),
        (r#"{"memoryGb":257}"#, "/memoryGb"),
        (r#"{"storageGb":2001}"#, "/storageGb"),
        (r#"{"storageGb":79}"#, "/storageGb"),
        (r#"{"region":"mars"}"#, "/region"),
        (r#"{"name":"a_b"}"#, "/name"),
        (r#"{"name":"ab"}"#, "/name"),
        (r#"{"attemptKey":"x"}"#, "/attemptKey"),
        (r#"{"dryRun":true}"#, "/dryRun"),
        ("[]", ""),
        ("{", ""),
    ] {
        let refused = restore(&sim, body);
        assert_eq!(refused.status, 400, "{body}");
        assert_eq!(refused.at("/code"), json!("invalid_request"));
        assert_eq!(refused.at("/errors/0/pointer"), json!(pointer), "{body}");
        assert!(refused.at("/errors/0/detail").is_string());
        assert!(refused.at("/errors/0/code").is_string());
    }
    assert_eq!(sim.purchases().len(), 0);
    assert_eq!(sim.count_acted(Route::RestoreToPayg), 0);
}

#[test]
fn storage_must_hold_the_backup_even_where_the_source_is_smaller() {
    let (sim, _) = world();
    sim.world(|w| w.vps_mut(SOURCE_VPS).unwrap().backups[0].size_gb = dec("90.2"));
    assert_eq!(restore(&sim, r#"{"storageGb":90}"#).status, 400);
    assert_eq!(restore(&sim, r#"{"storageGb":91}"#).status, 202);
    assert_eq!(restore(&sim, "{}").status, 202);
    assert_eq!(sim.purchases()[1].storage_gb, 91);
}

#[test]
fn a_restore_needs_both_scopes() {
    let (sim, account) = world();
    sim.world(|w| {
        w.add_key_with_scopes(account, "only-backup", &["read:vm", "backup:vm"]);
        w.add_key_with_scopes(account, "only-billing", &["read:vm", "write:billing"]);
    });
    for key in ["only-backup", "only-billing"] {
        let refused = Client::new(&sim, key).call("POST", &restore_path(), ORDER);
        assert_eq!((refused.status, refused.at("/code")), (403, json!("forbidden")));
    }
    assert_eq!(sim.purchases().len(), 0);
}

#[test]
fn an_unknown_backup_or_another_account_s_vps_is_not_found() {
    let (sim, _) = world();
    sim.world(|w| w.add_account("second"));
    let other = Client::new(&sim, "second").call("POST", &restore_path(), ORDER);
    assert_eq!((other.status, other.at("/code")), (404, json!("not_found")));
    sim.world(|w| assert!(w.remove_backup(SOURCE_BACKUP)));
    assert_eq!(restore(&sim, ORDER).status, 404);
    assert_eq!(sim.purchases().len(), 0);
}

#[test]
fn a_backup_can_vanish_between_the_list_and_the_post() {
    let (sim, _) = world();
    sim.after_next(Route::ListBackups, |w| {
        w.remove_backup(SOURCE_BACKUP);
    });
    let list = get(&sim, &format!("/api/v2/vps/{SOURCE_VPS}/backups"));
    assert_eq!(list.at("/backups/0/id"), json!(SOURCE_BACKUP));
    assert_eq!(restore(&sim, ORDER).status, 404);
    assert!(sim.unfired().is_empty());
}

#[test]
fn closed_gates_refuse_the_post_and_the_blockers_stand_where_the_switch_says() {
    let (sim, account) = world();
    sim.world(|w| w.account_mut(account).blockers = vec!["not_verified".to_owned()]);
    for (place, pointers) in [
        (BlockersAt::TopLevel, vec!["/blockerReasons"]),
        (BlockersAt::Extensions, vec!["/extensions/blockerReasons"]),
        (
            BlockersAt::Both,
            vec!["/blockerReasons", "/extensions/blockerReasons"],
        ),
        (BlockersAt::DetailOnly, vec![]),
    ] {
        sim.world(|w| w.blockers_at = place);
        let refused = restore(&sim, ORDER);
        assert_eq!((refused.status, refused.at("/code")), (403, json!("forbidden")));
        let body = refused.json();
        for pointer in ["/blockerReasons", "/extensions/blockerReasons"] {
            assert_eq!(body.pointer(pointer).is_some(), pointers.contains(&pointer));
        }
        assert!(refused.at("/detail").as_str().unwrap().contains("not_verified"));
    }
    sim.world(|w| {
        w.blockers_at = BlockersAt::TopLevel;
        w.account_mut(account).blockers = vec!["has_unpaid_invoice".to_owned()];
    });
    assert_eq!(restore(&sim, ORDER).status, 409);
    sim.world(|w| {
        w.account_mut(account).blockers.clear();
        w.account_mut(account).limits_max = LimitSet::new(1, 64, 1000, 10);
    });
    let refused = restore(&sim, ORDER);
    assert_eq!(refused.at("/blockerReasons"), json!(["cpu_limit_exceeded"]));
    sim.world(|w| {
        w.account_mut(account).limits_max = LimitSet::new(16, 64, 1000, 10);
        let gate = ActionGate::closed("busy", Some("vps_not_ready"));
        w.vps_mut(SOURCE_VPS).unwrap().can_restore = gate;
    });
    let refused = restore(&sim, ORDER);
    assert_eq!(
        (refused.status, refused.at("/code")),
        (409, json!("vps_not_ready"))
    );
    assert_eq!(sim.purchases().len(), 0);
    sim.world(|w| w.enforce_gates = false);
    assert_eq!(restore(&sim, ORDER).status, 202);
}

#[test]
fn a_job_goes_from_queued_through_progress_to_completed_and_its_vm_boots() {
    let (sim, account) = world();
    let (_, path) = go(
        &sim,
        RestoreBehaviour {
            job_duration: Duration::from_secs(1000),
            vm_visible_after: Duration::from_secs(400),
            running_after: Some(Duration::from_secs(1200)),
            progress_steps: 4,
            ..RestoreBehaviour::default()
        },
    );
    let first = get(&sim, &path);
    assert_eq!(first.status, 200);
    assert_eq!(first.at("/success"), json!(true));
    for field in [
        "/timestamp",
        "/requestId",
        "/data/jobId",
        "/data/queueType",
        "/data/type",
        "/data/jobName",
        "/data/statusKey",
        "/data/progressTextKey",
        "/data/progressMessage",
        "/data/state",
        "/data/status",
        "/data/progress",
        "/data/progressDetails/percentage",
        "/data/progressDetails/message",
        "/data/progressDetails/current",
        "/data/progressDetails/total",
        "/data/isCompleted",
        "/data/isFailed",
        "/data/isRunning",
        "/data/isWaiting",
        "/data/isScheduled",
        "/data/delay",
        "/data/createdAt",
        "/data/finishedAt",
        "/data/vmId",
        "/data/hostbillAccountId",
        "/data/result",
    ] {
        first.at(field);
    }
    assert_eq!(rows(&sim, "name=restore-web-01"), 0);

    let hundred_seconds_on = |times| sim.world(|w| w.advance(Duration::from_secs(100) * times));
    hundred_seconds_on(2);
    let early = get(&sim, &path);
    assert_eq!(early.at("/data/status"), json!("in_progress"));
    assert_eq!(early.at("/data/progress"), json!(0));
    assert_eq!(rows(&sim, "name=restore-web-01"), 0);
    hundred_seconds_on(4);
    assert_eq!(get(&sim, &path).at("/data/progress"), json!(50));
    assert_eq!(rows(&sim, "name=RESTORE-WEB-01"), 1);
    let list = get(&sim, "/api/v2/vps?name=restore-web-01");
    assert_eq!(list.at("/data/0/powerState"), json!("provisioning"));
    assert_eq!(list.at("/data/0/primaryIp"), Value::Null);
    assert_eq!(list.at("/data/0/serviceStatus"), json!("pending"));

    hundred_seconds_on(4);
    let last = get(&sim, &path);
    assert_eq!(last.at("/data/status"), json!("completed"));
    assert_eq!(last.at("/data/progress"), json!(100));
    assert_eq!(last.at("/data/isCompleted"), json!(true));
    assert!(last.at("/data/finishedAt").is_string());
    let list = get(&sim, "/api/v2/vps?name=restore-web-01");
    assert_eq!(list.at("/data/0/powerState"), json!("provisioning"));
    hundred_seconds_on(2);
    let vps = sim.purchases()[0].vps_id.clone().unwrap();
    assert_eq!(last.at("/data/result/result/vpsId"), json!(vps));
    let made = get(&sim, &format!("/api/v2/vps/{vps}"));
    assert_eq!(made.at("/powerState"), json!("running"));
    assert!(made.at("/primaryIp").is_string());
    assert_eq!(made.at("/billing/isPayg"), json!(true));
    assert_eq!(
        made.at("/resources"),
        json!({"cpuCores": 2, "memoryGb": 4, "storageGb": 80})
    );
    let status = get(&sim, &format!("/api/v2/vps/{vps}/status"));
    assert_eq!(status.at("/powerState"), json!("running"));
    let details = get(&sim, &format!("/api/v2/vps/{vps}/details"));
    assert!(details.at("/createdAt").is_string());
    let limits = sim.world(|w| w.account(account).limits_current());
    assert_eq!(limits, LimitSet::new(2, 4, 80, 1));
}

#[test]
fn waits_wake_when_a_job_gets_on_by_the_clock_alone() {
    let (sim, _) = world();
    let start = std::time::Instant::now();
    let (job, _) = go(&sim, RestoreBehaviour::default());
    assert!(sim.wait_until(SOON, |w| {
        w.job(&job).unwrap().phase_at(w.now()) == JobPhase::Completed
    }));
    assert!(sim.wait_until(SOON, |w| {
        let vps = w.purchases()[0].vps_id.clone().unwrap();
        w.vps(&vps).unwrap().power_state_at(w.now()) == Some("running")
    }));
    assert!(start.elapsed() < SOON, "it was not woken");
}

#[test]
fn a_job_can_fail_with_a_vm_and_without_one_and_never_end() {
    let (sim, account) = world();
    for (outcome, status, made) in [
        (Outcome::FailsWithVm, "failed", 1),
        (Outcome::FailsWithoutVm, "failed", 0),
        (Outcome::NeverEnds, "in_progress", 1),
    ] {
        let before = sim.world(|w| w.account(account).vps.len());
        let (job, path) = go(
            &sim,
            RestoreBehaviour {
                job_duration: Duration::from_millis(20),
                ..RestoreBehaviour::ending(outcome)
            },
        );
        assert!(sim.wait_until(SOON, |w| {
            let phase = w.job(&job).unwrap().phase_at(w.now());
            phase.word() == status
        }));
        let told = get(&sim, &path);
        assert_eq!(told.at("/data/status"), json!(status), "{outcome:?}");
        assert_eq!(told.at("/data/isFailed"), json!(status == "failed"));
        assert_eq!(told.json()["data"].get("error").is_some(), status == "failed");
        let after = sim.world(|w| w.account(account).vps.len());
        assert_eq!(after - before, made, "{outcome:?}");
        let purchase = sim.purchases().pop().unwrap();
        assert_eq!(purchase.vps_id.is_some(), made == 1);
    }
    assert_eq!(sim.purchases().len(), 3);
}

#[test]
fn a_job_can_be_forgotten_at_once_after_some_polls_or_when_it_ends() {
    let (sim, _) = world();
    let forget = |forget| {
        with_view(JobView {
            forget,
            ..JobView::default()
        })
    };
    let (_, path) = go(&sim, forget(JobForget::AfterPolls(0)));
    assert_eq!(get(&sim, &path).status, 404);
    let (_, path) = go(&sim, forget(JobForget::AfterPolls(2)));
    let told: Vec<u16> = (0..3).map(|_| get(&sim, &path).status).collect();
    assert_eq!(told, [200, 200, 404]);
    let (_, path) = go(&sim, forget(JobForget::After(Duration::from_secs(60))));
    assert_eq!(get(&sim, &path).status, 200);
    sim.world(|w| w.advance(Duration::from_secs(60)));
    assert_eq!(get(&sim, &path).status, 404);
    let (job, path) = go(&sim, forget(JobForget::WhenEnded));
    assert_eq!(get(&sim, &path).status, 200);
    finished(&sim, &job);
    assert_eq!(get(&sim, &path).status, 404);
}

#[test]
fn a_job_s_result_takes_every_form() {
    let (sim, _) = world();
    for (form, pointer, wanted) in [
        (JobResult::Null, "/data/result", json!(null)),
        (JobResult::NumericVmId, "/data/result/vmId", json!(18211)),
        (JobResult::NamesSource, "/data/result/vpsId", json!(SOURCE_VPS)),
        (JobResult::Custom("[7]".to_owned()), "/data/result/0", json!(7)),
    ] {
        let (job, path) = go(
            &sim,
            with_view(JobView {
                result: form,
                ..JobView::default()
            }),
        );
        finished(&sim, &job);
        assert_eq!(get(&sim, &path).at(pointer), wanted);
    }
    for (form, pointer) in [
        (JobResult::Nested, "/data/result/result/vpsId"),
        (JobResult::Flat, "/data/result/vpsId"),
    ] {
        let (job, path) = go(
            &sim,
            with_view(JobView {
                result: form,
                ..JobView::default()
            }),
        );
        finished(&sim, &job);
        let vps = sim.purchases().pop().unwrap().vps_id.unwrap();
        assert_eq!(get(&sim, &path).at(pointer), json!(vps));
    }
    let (job, path) = go(
        &sim,
        with_view(JobView {
            result: JobResult::Absent,
            ..JobView::default()
        }),
    );
    finished(&sim, &job);
    assert!(get(&sim, &path).json()["data"].get("result").is_none());
}

#[test]
fn a_job_s_status_stands_in_every_place_and_word() {
    let (sim, _) = world();
    for (shape, there, absent) in [
        (JobShape::Legacy, "/data/status", "/operation"),
        (JobShape::Legacy, "/data/state", "/operation"),
        (JobShape::StateOnly, "/data/state", "/data/status"),
        (JobShape::StatusOnly, "/data/status", "/data/state"),
        (JobShape::Operation, "/operation/status", "/data"),
        (JobShape::Bare, "/status", "/data"),
    ] {
        let (job, path) = go(
            &sim,
            with_view(JobView {
                shape,
                ..JobView::default()
            }),
        );
        finished(&sim, &job);
        let told = get(&sim, &path);
        assert_eq!(told.at(there), json!("completed"));
        assert!(told.json().pointer(absent).is_none(), "{shape:?} {absent}");
    }
    let (job, path) = go(
        &sim,
        RestoreBehaviour {
            job_duration: Duration::from_millis(1),
            outcome: Outcome::NeverEnds,
            view: JobView {
                running_word: Some("cooking".to_owned()),
                end_word: Some("well_done".to_owned()),
                flags_contradict: true,
                ..JobView::default()
            },
            ..RestoreBehaviour::default()
        },
    );
    assert!(sim.wait_until(SOON, |w| {
        w.job(&job).unwrap().phase_at(w.now()) == JobPhase::InProgress
    }));
    assert_eq!(get(&sim, &path).at("/data/status"), json!("cooking"));
    finished(&sim, &job);
    let told = get(&sim, &path);
    assert_eq!(told.at("/data/status"), json!("well_done"));
    assert_eq!(told.at("/data/isCompleted"), json!(false));
    assert_eq!(told.at("/data/isFailed"), json!(true));
}

#[test]
fn the_list_can_lag_while_reads_by_id_do_or_do_not() {
    let (sim, _) = world();
    for hides_by_id in [false, true] {
        let (job, _) = go(
            &sim,
            RestoreBehaviour {
                list_lag: 2,
                lag_hides_by_id: hides_by_id,
                name_as: NameAs::Other(format!("lag-{hides_by_id}")),
                ..RestoreBehaviour::default()
            },
        );
        finished(&sim, &job);
        let vps = sim.purchases().pop().unwrap().vps_id.unwrap();
        let query = format!("name=lag-{hides_by_id}");
        assert_eq!(rows(&sim, &query), 0);
        let by_id = get(&sim, &format!("/api/v2/vps/{vps}")).status;
        assert_eq!(by_id, if hides_by_id { 404 } else { 200 });
        assert_eq!(rows(&sim, &query), 0);
        assert_eq!(rows(&sim, &query), 1);
        assert_eq!(get(&sim, &format!("/api/v2/vps/{vps}")).status, 200);
    }
}

#[test]
fn names_can_be_changed_by_the_provider() {
    let (sim, _) = world();
    for (as_what, name, hostname) in [
        (NameAs::UpperCase, "RESTORE-WEB-01", "RESTORE-WEB-01"),
        (
            NameAs::Suffixed(".example.com".to_owned()),
            "restore-web-01.example.com",
            "restore-web-01.example.com",
        ),
        (
            NameAs::Suffixed("-1".to_owned()),
            "restore-web-01-1",
            "restore-web-01-1",
        ),
        (
            NameAs::OnlyHostname("Cloud VM 7".to_owned()),
            "Cloud VM 7",
            "restore-web-01",
        ),
    ] {
        let (job, _) = go(
            &sim,
            RestoreBehaviour {
                name_as: as_what,
                ..RestoreBehaviour::default()
            },
        );
        finished(&sim, &job);
        let purchase = sim.purchases().pop().unwrap();
        assert_eq!(purchase.name, name);
        assert_eq!(purchase.name_sent.as_deref(), Some("restore-web-01"));
        let vps = purchase.vps_id.unwrap();
        assert_eq!(get(&sim, &format!("/api/v2/vps/{vps}")).at("/name"), json!(name));
        let details = get(&sim, &format!("/api/v2/vps/{vps}/details"));
        assert_eq!(details.at("/hostname"), json!(hostname));
    }
}

#[test]
fn twins_other_sizes_and_vms_that_do_not_come_up_are_switches() {
    let (sim, _) = world();
    let (job, _) = go(
        &sim,
        RestoreBehaviour {
            twin: true,
            sizes: Some(Resources::new(4, 8, 160)),
            ..RestoreBehaviour::default()
        },
    );
    finished(&sim, &job);
    assert!(sim.wait_until(SOON, |w| {
        let purchase = &w.purchases()[0];
        let twin = w.vps(&purchase.also_made[0]).unwrap();
        twin.power_state_at(w.now()) == Some("running")
    }));
    let list = get(&sim, "/api/v2/vps?name=restore-web-01");
    assert_eq!(list.at("/data").as_array().unwrap().len(), 2);
    assert_eq!(list.at("/data/0/resources/memoryGb"), json!(8));
    assert_eq!(sim.purchases().len(), 1);
    assert_eq!(sim.purchases()[0].memory_gb, 4);

    for (boots, power, has_ip) in [
        (Boots::Never, "provisioning", false),
        (Boots::WithoutIp, "running", false),
        (Boots::Yes, "running", true),
    ] {
        let (job, _) = go(
            &sim,
            RestoreBehaviour {
                boots,
                ..RestoreBehaviour::default()
            },
        );
        finished(&sim, &job);
        let vps = sim.purchases().pop().unwrap().vps_id.unwrap();
        let shown = get(&sim, &format!("/api/v2/vps/{vps}"));
        assert_eq!(shown.at("/powerState"), json!(power), "{boots:?}");
        assert_eq!(shown.at("/primaryIp").is_string(), has_ip, "{boots:?}");
        sim.world(|w| w.boot(&vps));
        let shown = get(&sim, &format!("/api/v2/vps/{vps}"));
        assert_eq!(shown.at("/powerState"), json!("running"));
        assert!(shown.at("/primaryIp").is_string());
    }
}

#[test]
fn a_price_with_a_missing_rate_is_no_price() {
    let (sim, account) = world();
    sim.world(|w| w.account_mut(account).pricing.ip_per_hour = None);
    assert_eq!(restore(&sim, ORDER).status, 202);
    assert_eq!(sim.purchases()[0].per_hour, None::<Decimal>);
}
