//! A backup before a change: of options, of a size, and of a VPS that is overwritten.

use futures::future::join_all;
use hostup_sim::{
    ActionGate, BackupBehaviour, BackupOutcome, Content, Listed, NoteAs, Route, Sim, Vps, World,
    standard_options,
};
use serde_json::{Value, json};

use crate::answers::{
    End, Row, redirect_rows, refused, said_unknown, status_rows, transport_rows, unreadable_rows,
};
use crate::overwrite::accepted_rows;
use crate::support::death::{QUICK, died_at};
use crate::support::{Customer, PATIENCE, TestEnv, at, condition, each_row, gates, reason, says};

/// Options that are approved, with a backup before.
fn careful(env: &TestEnv, name: &str) -> Value {
    let mut object = env.approved_config(name, json!({"bandwidthGb": 4096}));
    object["spec"]["backupFirst"] = json!(true);
    object
}

/// The ids and notes of the backups of a VPS that the operator made.
fn backups(env: &TestEnv, vps: &str) -> Vec<(String, String)> {
    env.sim.world(|world| {
        let backups = world.vps(vps).unwrap().backups.iter();
        let noted = backups.filter_map(|backup| Some((backup.id.clone(), backup.note.clone()?)));
        noted
            .filter(|(_, note)| note.starts_with("before a change by hostup-operator "))
            .collect()
    })
}

async fn ends_with(env: &TestEnv, executed: usize, posts: usize) {
    assert_eq!((env.executed(), env.posts()), (executed, posts));
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
}

/// The routes of the ledger of the simulator, in their order.
fn order_of_calls(env: &TestEnv) -> Vec<Route> {
    let paid = [
        Route::CreateBackup,
        Route::ConfigCommit,
        Route::Resize,
        Route::RestoreFromVps,
    ];
    let requests = env.sim.requests().into_iter();
    requests
        .map(|request| request.route)
        .filter(|route| paid.contains(route))
        .collect()
}

#[tokio::test]
async fn options_are_changed_only_after_a_backup_whose_id_is_told() {
    let env = TestEnv::new("backupfirst").await;
    let _operator = env.operator(&[]);
    let mut object = careful(&env, "web");
    object["spec"].as_object_mut().unwrap().remove("approval");
    env.create(object).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    says(
        &object,
        &format!("after a new backup of VPS {}, would cost", env.vps),
    );
    assert_eq!(gates(&object, "canCreateBackup")[0]["allowed"], true);
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    env.follow(&object, "To approve:").await;
    let object = env.config_comes_to("web", "InSync").await;
    assert_eq!(order_of_calls(&env), [Route::CreateBackup, Route::ConfigCommit]);
    let [(id, note)] = &backups(&env, &env.vps)[..] else {
        panic!("{:?}", backups(&env, &env.vps));
    };
    assert_eq!(at(&object, "status.backupFirst.id"), &json!(id));
    let records = env.records().await;
    let [backup, change] = &records[..] else {
        panic!("{records:?}")
    };
    assert_eq!(
        at(backup, "metadata.name"),
        at(&object, "status.backupFirst.operation")
    );
    assert_eq!(at(backup, "spec.type"), "CreateBackup");
    assert_eq!(
        at(backup, "spec.request.body"),
        &json!(json!({"note": note}).to_string())
    );
    assert_eq!(at(backup, "spec.quote.summary"), "no charge");
    assert_eq!(
        at(backup, "spec.quote.id"),
        at(change, "spec.quote.id"),
        "one approval"
    );
    assert_eq!(at(backup, "status.backupId"), &json!(id));
    assert_eq!(at(backup, "status.evidence"), "BackupFound");
    assert_eq!(at(change, "spec.type"), "CommitResources");
    assert_eq!(at(change, "metadata.name"), at(&object, "status.operation.name"));
    ends_with(&env, 2, 2).await;
    // Another change has another backup.
    env.patch_config(
        "web",
        json!({"resources": {"bandwidthGb": 5120}, "approval": null}),
    )
    .await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    env.follow(&object, "To approve:").await;
    env.config_comes_to("web", "InSync").await;
    assert_eq!(backups(&env, &env.vps).len(), 2);
    ends_with(&env, 4, 4).await;
}

#[tokio::test]
async fn a_vm_is_resized_only_after_its_backup() {
    let env = TestEnv::new("backupresize").await;
    env.is_payg(&env.vps);
    let _operator = env.operator(&[]);
    let mut object = env.approved_resize("web");
    object["spec"]["backupFirst"] = json!(true);
    env.create(object).await;
    env.config_comes_to("web", "InSync").await;
    assert_eq!(order_of_calls(&env), [Route::CreateBackup, Route::Resize]);
    assert_eq!(backups(&env, &env.vps).len(), 1);
    ends_with(&env, 2, 2).await;
}

/// The restore of the environment's backup onto another VPS, with a backup of that one before.
async fn overwriting(env: &TestEnv, name: &str) -> (String, Value) {
    let target = format!("{}_{name}_target", env.vps);
    env.add_vps(&target);
    let mut object = env.preview(name);
    object["spec"]["target"] = json!({"existingVps": {"vpsId": target}});
    object["spec"]["backupFirst"] = json!(true);
    (target, object)
}

#[tokio::test]
async fn a_disk_is_overwritten_only_after_a_backup_of_it_under_one_approval() {
    let env = TestEnv::new("backupoverwrite").await;
    let (target, object) = overwriting(&env, "web").await;
    let _operator = env.operator(&[]);
    env.create(object).await;
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
    says(
        &object,
        &format!("after a new backup of VPS {target}, destroys its present data"),
    );
    env.follow(&object, "To approve:").await;
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(order_of_calls(&env), [Route::CreateBackup, Route::RestoreFromVps]);
    let [(id, _)] = &backups(&env, &target)[..] else {
        panic!("no backup of {target}")
    };
    assert_eq!(at(&object, "status.backupFirst.id"), &json!(id));
    let restored = at(&object, "status.backup.id").as_str().unwrap().to_owned();
    assert_ne!(restored, *id);
    let content = env.sim.world(|world| world.vps(&target).unwrap().content.clone());
    assert_eq!(content, Content::Backup(restored));
    ends_with(&env, 2, 2).await;
}

#[tokio::test]
async fn a_full_quota_holds_the_change_back_and_says_so() {
    let env = TestEnv::new("backupquota").await;
    env.sim.world(|world| {
        let vps = world.vps_mut(&env.vps).unwrap();
        vps.backup_quota = Some(u32::try_from(vps.backups.len()).unwrap());
    });
    let _operator = env.operator(&["--gate-interval=500ms"]);
    env.create(careful(&env, "web")).await;
    let object = env.config_comes_to("web", "GatesClosed").await;
    says(&object, "canCreateBackup: The backup limit is reached.");
    ends_with(&env, 0, 0).await;
    // The backup itself fills the quota, which bars nothing after it.
    env.sim
        .world(|world| *world.vps_mut(&env.vps).unwrap().backup_quota.as_mut().unwrap() += 1);
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 2, 2).await;
}

#[tokio::test]
async fn the_backup_that_is_restored_does_not_make_room_for_the_one_before() {
    let env = TestEnv::new("backupplace").await;
    let mut object = env.preview("web");
    let source = at(&object, "spec.source.vpsId").as_str().unwrap().to_owned();
    env.sim.world(|world| {
        let vps = world.vps_mut(&source).unwrap();
        vps.backup_quota = Some(u32::try_from(vps.backups.len()).unwrap());
        vps.auto_delete_oldest = true;
    });
    let _operator = env.operator(&["--gate-interval=500ms", "--enable-in-place-restore"]);
    object["spec"]["target"] = json!({"existingVps": {"vpsId": source}});
    object["spec"]["backupFirst"] = json!(true);
    env.create(object).await;
    let object = env.wait_for_reason("web", "GatesClosed").await;
    says(
        &object,
        "canCreateBackup: the backup quota is full, and HostUp may delete the backup that is restored",
    );
    ends_with(&env, 0, 0).await;
}

#[tokio::test]
async fn no_backup_is_begun_where_the_cap_leaves_no_call_for_the_change() {
    let env = TestEnv::new("backupcap").await;
    let operator = env.operator(&["--max-paid-calls=1"]);
    env.create(careful(&env, "web")).await;
    let object = env.config_comes_to("web", "PaidCallCap").await;
    says(&object, "the backup and the change after it are two paid calls");
    ends_with(&env, 0, 0).await;
    drop(operator);
    let _operator = env.operator(&["--max-paid-calls=4"]);
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 2, 2).await;
}

#[tokio::test]
async fn nothing_is_changed_while_the_backup_is_made() {
    let env = TestEnv::new("backupheld").await;
    let _operator = env.operator(&["--gate-interval=500ms"]);
    env.sim.world(|world| {
        world.backup_next(BackupBehaviour {
            job_duration: std::time::Duration::from_secs(3600),
            listed: Listed::AtOnce,
            ..BackupBehaviour::default()
        });
    });
    env.create(careful(&env, "web")).await;
    let object = env.config_comes_to("web", "JobRunning").await;
    says(&object, "HostUp makes the backup of VPS");
    assert_eq!(condition(&object, "Reconciling")["status"], "True");
    assert_eq!(order_of_calls(&env), [Route::CreateBackup]);
    env.sim
        .world(|world| world.advance(std::time::Duration::from_secs(3700)));
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 2, 2).await;
}

/// A gate of the VPS closes while the backup is made; once that is complete, somebody deletes it.
async fn is_deleted_before_the_change(env: &TestEnv, vps: &str, gate: impl Fn(&mut Vps) -> &mut ActionGate) {
    let set = |to: ActionGate| env.sim.world(|world| *gate(world.vps_mut(vps).unwrap()) = to);
    set(ActionGate::closed("later", None));
    let hour = std::time::Duration::from_secs(3600);
    env.sim.world(|world| world.advance(hour));
    let records = env.records().await;
    let of_it = records.iter().find(|record| at(record, "spec.vpsId") == vps);
    let record = at(of_it.unwrap(), "metadata.name").as_str().unwrap().to_owned();
    let ended = |record: &Value| at(record, "status.state") == "Succeeded";
    env.wait_for(env.operations(), &record, "its end", PATIENCE, ended)
        .await;
    let [(backup, _)] = &backups(env, vps)[..] else {
        panic!("{:?}", backups(env, vps));
    };
    assert!(env.sim.world(|world| world.remove_backup(backup)));
    set(ActionGate::open());
}

#[tokio::test]
async fn a_backup_that_somebody_deletes_before_the_change_is_made_again() {
    let env = TestEnv::new("backupdeleted").await;
    let slow = BackupBehaviour {
        job_duration: std::time::Duration::from_secs(3600),
        ..BackupBehaviour::default()
    };
    let (target, object) = overwriting(&env, "web").await;
    let _operator = env.operator(&["--gate-interval=500ms"]);
    env.sim.world(|world| world.backup_next(slow.clone()));
    env.create(object).await;
    let shown = env.wait_for_reason("web", "AwaitingApproval").await;
    env.follow(&shown, "To approve:").await;
    env.wait_for_reason("web", "JobRunning").await;
    is_deleted_before_the_change(&env, &target, |vps| &mut vps.can_restore_from_another).await;
    env.wait_for_reason("web", "Restored").await;
    let mut made = vec![Route::CreateBackup, Route::CreateBackup, Route::RestoreFromVps];
    assert_eq!(order_of_calls(&env), made);
    env.sim.world(|world| world.backup_next(slow));
    env.create(careful(&env, "options")).await;
    env.config_comes_to("options", "JobRunning").await;
    let own = env.vps.clone();
    is_deleted_before_the_change(&env, &own, |vps| &mut vps.can_commit).await;
    env.config_comes_to("options", "InSync").await;
    made.extend([Route::CreateBackup, Route::CreateBackup, Route::ConfigCommit]);
    assert_eq!(order_of_calls(&env), made);
    ends_with(&env, 6, 6).await;
}

#[tokio::test]
async fn an_object_that_is_made_again_has_a_backup_of_its_own() {
    let env = TestEnv::new("backupagain").await;
    let (target, object) = overwriting(&env, "web").await;
    let _operator = env.operator(&["--gate-interval=500ms"]);
    let hour = std::time::Duration::from_secs(3600);
    env.sim.world(|world| {
        world.backup_next(BackupBehaviour {
            job_duration: hour,
            ..BackupBehaviour::default()
        });
    });
    env.create(object.clone()).await;
    let shown = env.wait_for_reason("web", "AwaitingApproval").await;
    env.follow(&shown, "To approve:").await;
    env.wait_for_reason("web", "JobRunning").await;
    env.delete("web").await;
    env.sim.world(|world| world.advance(hour));
    let ended = |record: &Value| at(record, "status.state") == "Succeeded";
    let record = at(&env.records().await[0], "metadata.name")
        .as_str()
        .unwrap()
        .to_owned();
    env.wait_for(env.operations(), &record, "its end", PATIENCE, ended)
        .await;
    env.create(object).await;
    let shown = env.wait_for_reason("web", "AwaitingApproval").await;
    says(&shown, &format!("after a new backup of VPS {target}"));
    env.follow(&shown, "To approve:").await;
    env.wait_for_reason("web", "Restored").await;
    let made = [Route::CreateBackup, Route::CreateBackup, Route::RestoreFromVps];
    assert_eq!(order_of_calls(&env), made);
    assert_eq!(backups(&env, &target).len(), 2);
    ends_with(&env, 3, 3).await;
}

#[tokio::test]
async fn after_a_failed_backup_nothing_is_changed_before_another_approval() {
    let env = TestEnv::new("backupfails").await;
    let _operator = env.operator(&["--gate-interval=500ms"]);
    env.sim.world(|world| {
        world.backup_next(BackupBehaviour::ending(BackupOutcome::FailsWithoutBackup));
    });
    let (target, object) = overwriting(&env, "web").await;
    env.create(object).await;
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
    env.follow(&object, "To approve:").await;
    let object = env.wait_for_reason("web", "JobFailed").await;
    says(&object, "the backup before the change failed");
    says(&object, "Nothing was changed");
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    assert_eq!(order_of_calls(&env), [Route::CreateBackup]);
    env.follow(&object, "To approve:").await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(backups(&env, &target).len(), 1);
    ends_with(&env, 3, 3).await;
    // A ceiling approves nothing after one either.
    env.sim.world(|world| {
        world.backup_next(BackupBehaviour::ending(BackupOutcome::FailsWithBackup));
    });
    env.create(careful(&env, "options")).await;
    let object = env.config_comes_to("options", "JobFailed").await;
    says(
        &object,
        "A ceiling cannot approve this, because the backup before it failed",
    );
    env.follow(&object, "To approve:").await;
    env.config_comes_to("options", "InSync").await;
    ends_with(&env, 6, 6).await;
}

#[tokio::test]
async fn a_backup_whose_note_is_lost_is_asked_about_and_a_persons_word_is_taken() {
    let env = TestEnv::new("backupnote").await;
    let _operator = env.operator(&["--settle-time=1s", "--paid-timeout=4s"]);
    env.sim.world(|world| {
        world.backup_next(BackupBehaviour {
            note_as: NoteAs::Null,
            ..BackupBehaviour::default()
        });
    });
    env.create(careful(&env, "web")).await;
    let object = env.config_comes_to("web", "OutcomeUnknown").await;
    says(&object, "HostUp completed the job, and no backup of");
    assert_eq!(order_of_calls(&env), [Route::CreateBackup]);
    env.follow(&object, "it was made:").await;
    let object = env.config_comes_to("web", "InSync").await;
    assert!(at(&object, "status.backupFirst.id").is_null());
    assert!(!at(&object, "status.backupFirst.operation").is_null());
    ends_with(&env, 2, 2).await;
}

#[tokio::test]
async fn two_replicas_make_one_backup_for_each_change() {
    let env = TestEnv::new("backupreplicas").await;
    let both = || env.operator(&["--leader-elect=false"]);
    let _operators = [both(), both()];
    let mut names = Vec::new();
    for n in 0..4 {
        let vps = format!("{}_{n}", env.vps);
        env.add_vps(&vps);
        env.sim
            .world(|world| world.vps_mut(&vps).unwrap().options = standard_options());
        let name = format!("web-{n}");
        let mut object = careful(&env, &name);
        object["spec"]["vpsId"] = json!(vps);
        env.create(object).await;
        names.push((name, vps));
    }
    for (name, vps) in names {
        env.config_comes_to(&name, "InSync").await;
        assert_eq!(backups(&env, &vps).len(), 1, "{name}");
    }
    ends_with(&env, 8, 8).await;
}

#[tokio::test]
async fn a_wish_for_a_backup_that_makes_no_sense_is_refused_with_a_reason() {
    let env = TestEnv::new("backupwish").await;
    let mut restore = env.preview("web");
    restore["spec"]["backupFirst"] = json!(true);
    let error = env
        .try_create(restore)
        .await
        .expect_err("a new VM has nothing to back up");
    assert!(
        error.to_string().contains("backupFirst needs target.existingVps"),
        "{error}"
    );
}

#[tokio::test]
async fn a_2xx_is_taken_for_a_backup_only_with_a_usable_job_id() {
    check(accepted_rows().into_iter().chain(unreadable_rows()).collect()).await;
}

#[tokio::test]
async fn a_lost_answer_to_a_backup_is_found_by_its_note_or_asked_about() {
    check(transport_rows()).await;
}

#[tokio::test]
async fn a_status_that_is_not_on_the_list_proves_nothing_of_a_backup() {
    check(status_rows(&[(409, "pending_orders"), (503, "backup_failed")])).await;
}

#[tokio::test]
async fn a_documented_refusal_of_a_backup_is_not_tried_again_while_its_cause_stands() {
    let rows = vec![
        refused("r400", 400, "invalid_request"),
        refused("r401", 401, "unauthorized"),
        refused("r403", 403, "forbidden"),
        refused("r403-inactive", 403, "account_inactive"),
        refused("r404", 404, "not_found"),
        refused("r404-vps", 404, "vps_not_found"),
        refused("r409-not-ready", 409, "vps_not_ready"),
    ];
    check(rows).await;
}

#[tokio::test]
async fn a_redirect_of_a_backup_is_never_followed() {
    let foreign = Sim::start();
    check(redirect_rows(&foreign)).await;
    assert_eq!(foreign.world(|world| world.connections().len()), 0);
}

/// Every row as a customer of one provider, driven by one operator. A backup that was made is found, whatever was
/// answered, and the change follows; after every other end there is no change.
async fn check(rows: Vec<Row>) {
    let env = TestEnv::new("backupanswers").await;
    let operator = env.operator_for_many(&[]);
    let checks = rows.iter().map(|row| async {
        let customer = env.customer(&row.name).await;
        let fault = customer.fault(Route::CreateBackup);
        env.sim.inject(fault.acted(row.acted).answer(row.answer.clone()));
        let mut object = customer.config(&env, json!({"bandwidthGb": 4096}));
        object["spec"]["backupFirst"] = json!(true);
        env.create(object).await;
        let calls = match &row.end {
            End::Accepted => changes(&env, &customer).await,
            End::Unclear(_) if row.acted => changes(&env, &customer).await,
            End::Unclear(says) => {
                asks(&env, &customer).await;
                said_unknown(&operator, &env.config_records_of(&row.name).await[0], says);
                1
            }
            End::Refused(code, words) => {
                refuses(&env, &customer, code, words).await;
                1
            }
            End::Lied => panic!("no row of a backup lies"),
        };
        let executed = calls - usize::from(!row.acted);
        assert_eq!(env.executed_of(&customer), executed, "{}", row.name);
        assert_eq!(env.posts_of(&customer).len(), calls, "{}", row.name);
        assert_eq!(
            env.config_records_of(&row.name).await.len(),
            calls,
            "{}",
            row.name
        );
        assert_eq!(
            backups(&env, &customer.vps).len(),
            usize::from(row.acted),
            "{}",
            row.name
        );
    });
    join_all(checks).await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    let elsewhere = env.sim.requests_on(Route::Unknown);
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    env.check_invariants().await;
}

/// The calls that were sent.
async fn changes(env: &TestEnv, customer: &Customer) -> usize {
    env.config_comes_to(&customer.name, "InSync").await;
    2
}

async fn asks(env: &TestEnv, customer: &Customer) {
    let object = env.config_comes_to(&customer.name, "OutcomeUnknown").await;
    says(&object, "HostUp may have made a backup of VPS");
    for answer in ["NotExecuted", "Adopt", "Abandon"] {
        says(&object, &format!("\"answer\":\"{answer}\""));
    }
    let record = &env.config_records_of(&customer.name).await[0];
    assert_eq!(at(record, "status.evidence"), "NoneFound", "{}", customer.name);
}

async fn refuses(env: &TestEnv, customer: &Customer, code: &str, words: &str) {
    let name = &customer.name;
    let object = env.config_comes_to(name, "Rejected").await;
    says(&object, code);
    says(&object, words);
    env.wait_for_reads(customer, Route::ListBackups, 3).await;
    assert_eq!(reason(&env.config(name).await), "Rejected", "{name}");
}

/// Every point of a life of a backup, in its order.
const POINTS: [&str; 14] = [
    "before-claim",
    "after-claim",
    "after-second-look",
    "before-send",
    "after-answer",
    "after-answer-recorded",
    "before-job-read",
    "after-job-read",
    "before-read-back",
    "after-read-back",
    "before-outcome-recorded",
    "after-outcome-recorded",
    "before-report",
    "after-report",
];

/// Approved while no process runs, dies at the point, and lives again.
async fn dies(point: &'static str) {
    let env = TestEnv::new("backup-crash").await;
    let (target, object) = overwriting(&env, "web").await;
    let mut earlier = env.operator(&QUICK);
    env.create(object).await;
    let shown = env.wait_for_reason("web", "AwaitingApproval").await;
    earlier.kill_9();
    env.follow(&shown, "To approve:").await;
    died_at(env.armed(&QUICK, point), point).await;
    let lost = ["after-claim", "after-second-look", "before-send"].contains(&point);
    let _second = env.operator(&QUICK);
    if lost {
        let object = env.wait_for_reason("web", "OutcomeUnknown").await;
        says(&object, "HostUp may have made a backup");
        assert_eq!((env.executed(), env.posts()), (0, 0), "{point}");
        env.check_invariants().await;
        return;
    }
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(
        order_of_calls(&env),
        [Route::CreateBackup, Route::RestoreFromVps],
        "{point}"
    );
    let written = |world: &World| matches!(world.vps(&target).unwrap().content, Content::Backup(_));
    assert!(env.sim.until(PATIENCE, written).await);
    assert_eq!(backups(&env, &target).len(), 1, "{point}");
    ends_with(&env, 2, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_backup_is_made_and_one_disk_overwritten_wherever_the_process_dies() {
    each_row(POINTS.map(|point| (point.to_owned(), dies(point)))).await;
}
