//! How often the operator writes, and that it rests.

use futures::future::join_all;
use hostup_sim::{ActionGate, Answer, Auth, Fault, RestoreBehaviour, Route, Stage as Moment, World};
use serde_json::{Value, json};

use crate::support::behind::{Behind, OPERATIONS};
use crate::support::{HOUR, Owner, PATIENCE, Stage, at, condition};

#[tokio::test]
async fn an_approved_restore_costs_five_writes() {
    let stage = Stage::new("five").await;
    let _operator = stage.operator(&[]);
    stage.sim.world(|world| {
        world.restore = RestoreBehaviour {
            progress_steps: 1,
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        };
    });
    // Several times, for the claim, its watch and its answer race one another.
    for name in ["web-0", "web-1", "web-2", "web-3"] {
        stage.create(stage.approved(name)).await;
        stage.wait_for_reason(name, "JobRunning").await;
        stage.sim.world(|world| world.advance(HOUR));
        let object = stage.wait_for_reason(name, "Restored").await;
        let record = at(&object, "status.operation.name").as_str().unwrap();
        stage.told(name, &["JobRunning", "Restored"]).await;
        let mut writes = stage.writes().await;
        writes.retain(|write| write.ends_with(&format!(" {name}")) || write.ends_with(&format!(" {record}")));
        assert_eq!(
            writes,
            [
                format!("create vpsbackuprestores/ {name}"),
                format!("create vpsoperations/ {record}"),
                format!("update vpsoperations/status {record}"),
                format!("update vpsbackuprestores/status {name}"),
                format!("update vpsoperations/status {record}"),
                format!("update vpsbackuprestores/status {name}"),
            ]
        );
    }
    assert_eq!((stage.executed(), stage.posts()), (4, 4));
    stage.check_invariants().await;
}

/// Requests about our own kinds, without watches.
fn asked(behind: &Behind) -> Vec<String> {
    let requests = behind.proxy.requests().into_iter();
    let lists = ["/vpsoperations", "/vpsbackuprestores", "/vpsresourceconfigs"];
    let ours = requests.filter(|request| {
        let is_list = request.method == "GET" && lists.iter().any(|list| request.path.ends_with(list));
        request.path.contains("/vps.hostup.se/") && !is_list
    });
    ours.map(|request| format!("{} {}", request.method, request.path))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_approved_restore_costs_few_requests_and_what_is_paid_for_is_read_from_etcd() {
    let behind = Behind::new("requests").await;
    let stage = &behind.stage;
    let _operator = stage.operator(&["--gate-interval=1m", "--resync-interval=1h"]);
    for name in ["web-0", "web-1", "web-2", "web-3"] {
        let before = asked(&behind).len();
        stage.create(stage.approved(name)).await;
        let object = stage.wait_for_reason(name, "Restored").await;
        let record = at(&object, "status.operation.name").as_str().unwrap();
        // The one before it may still be looked at.
        let is_about_it = |request: &String| {
            let own = [format!("/{name}"), format!("/{record}")];
            own.iter().any(|own| request.contains(own)) || *request == format!("POST {OPERATIONS}")
        };
        let mut requests = asked(&behind).split_off(before);
        requests.retain(is_about_it);
        let claim = requests
            .iter()
            .position(|request| *request == format!("POST {OPERATIONS}"))
            .unwrap();
        let reads = |requests: &[String], path: &str| {
            let read = |request: &&String| request.starts_with("GET ") && request.contains(path);
            requests.iter().filter(read).count()
        };
        let (before_it, after_it) = requests.split_at(claim);
        for path in [format!("/vpsbackuprestores/{name}"), format!("{OPERATIONS}/")] {
            assert!(
                reads(before_it, &path) >= 1,
                "{path} before the claim: {requests:#?}"
            );
            assert!(
                reads(after_it, &path) >= 1,
                "{path} after the claim: {requests:#?}"
            );
        }
        assert!(requests.len() <= 14, "{} requests: {requests:#?}", requests.len());
    }
    behind.check().await;
}

#[tokio::test]
async fn a_preview_costs_one_write() {
    let stage = Stage::new("onewrite").await;
    let _operator = stage.operator(&[]);
    stage.create(stage.preview("web")).await;
    stage.wait_for_reason("web", "AwaitingApproval").await;
    let looked = |world: &World| world.count_answered(Route::PaygLimits) >= 3;
    assert!(stage.sim.until(PATIENCE, looked).await);
    assert_eq!(
        stage.writes().await,
        [
            "create vpsbackuprestores/ web",
            "update vpsbackuprestores/status web"
        ]
    );
    assert_eq!(stage.events().await, 1);
    assert_eq!(stage.posts(), 0);
    stage.check_invariants().await;
}

#[tokio::test]
async fn progress_is_written_in_quarters_only() {
    let stage = Stage::new("quarters").await;
    stage.sim.world(|world| {
        world.restore = RestoreBehaviour {
            progress_steps: 100,
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        };
    });
    let _operator = stage.operator(&["--poll-interval=50ms"]);
    stage.create(stage.approved("web")).await;
    stage.wait_for_reason("web", "JobRunning").await;
    for _ in 0..20 {
        stage.polled_again().await;
        stage.sim.world(|world| world.advance(HOUR / 20));
    }
    stage.wait_for_reason("web", "Restored").await;
    let mut writes = stage.writes().await;
    writes.retain(|write| write.starts_with("update vpsbackuprestores/status"));
    // Queued, running, 25, 50, 75 %, and the end.
    assert!((2..=6).contains(&writes.len()), "{writes:?}");
    let mut records = stage.writes().await;
    records.retain(|write| write.starts_with("update vpsoperations/status"));
    assert_eq!(records.len(), 2);
    // A quarter more is no other reason.
    stage.told("web", &["JobRunning", "Restored"]).await;
    assert_eq!((stage.executed(), stage.posts()), (1, 1));
    stage.check_invariants().await;
}

/// Reads of the owner's account so far.
fn reads(world: &World, owner: &Owner, route: Route) -> usize {
    let of = |auth: &Auth| matches!(auth, Auth::Key { account, .. } if *account == owner.account);
    let requests = world.requests().iter();
    requests
        .filter(|request| of(&request.auth) && (route == Route::Any || request.route == route))
        .count()
}

/// Waits until each of these has been read `times` more.
async fn more_reads(stage: &Stage, of: &[(&Owner, Route)], times: usize) {
    join_all(of.iter().map(|(owner, route)| async move {
        let (owner, route) = ((*owner).clone(), *route);
        let before = stage.sim.world(|world| reads(world, &owner, route));
        let name = owner.name.clone();
        let read = move |world: &World| reads(world, &owner, route) >= before + times;
        assert!(stage.sim.until(PATIENCE, read).await, "{name} is not read again");
    }))
    .await;
}

#[tokio::test]
async fn at_rest_nothing_is_written_and_what_is_ready_is_not_even_read() {
    let stage = Stage::new("rest").await;
    let flags = ["--resync-interval=1s", "--settle-time=1s"];
    let mut operator = stage.operator(&flags);
    let mut owners = Vec::new();
    for (name, rests_at) in [
        ("ready", "Restored"),
        ("preview", "AwaitingApproval"),
        ("closed", "GatesClosed"),
        ("asleep", "Suspended"),
        ("unknown", "OutcomeUnknown"),
        ("dear", "QuoteExceedsCeiling"),
        ("nobackup", "BackupNotFound"),
        ("nokey", "CredentialsMissing"),
    ] {
        owners.push((stage.owner(name).await, rests_at));
    }
    let objects = owners.iter().map(|(owner, _)| {
        let mut object = stage.approved_for(owner);
        let spec = &mut object["spec"];
        match owner.name.as_str() {
            "preview" => drop(spec.as_object_mut().unwrap().remove("approval")),
            "asleep" => spec["suspend"] = json!(true),
            "dear" => spec["approval"]["maxPrice"]["perHour"] = json!("0.10"),
            "nokey" => spec["credentialsSecretRef"]["key"] = json!("nothing"),
            "closed" => stage.sim.world(|world| {
                world.vps_mut(&owner.vps).unwrap().can_restore = ActionGate::closed("later", None);
            }),
            "nobackup" => stage.sim.world(|world| {
                world.remove_backup(&owner.backup);
            }),
            "unknown" => {
                let lost = Fault::on(Route::RestoreToPayg).acted(false).key(&owner.key);
                stage.sim.inject(lost.answer(Answer::reset()));
            }
            _ => {}
        }
        stage.create(object)
    });
    join_all(objects).await;
    let rests: Vec<Value> = join_all(
        owners
            .iter()
            .map(|(owner, at)| stage.wait_for_reason(&owner.name, at)),
    )
    .await;
    let named = |name: &str| &owners.iter().find(|(owner, _)| owner.name == name).unwrap().0;
    let read_again = [
        (named("preview"), Route::PaygLimits),
        (named("closed"), Route::PaygLimits),
        (named("dear"), Route::PaygLimits),
        (named("unknown"), Route::ListVps),
    ];
    // The VMs that were bought are followed by lists, and by nothing else.
    let reads_at_rest = |world: &mut World| {
        let ready = named("ready");
        let of_ready = reads(world, ready, Route::Any) - reads(world, ready, Route::ListVps);
        let [asleep, no_key] = ["asleep", "nokey"].map(|name| reads(world, named(name), Route::Any));
        [of_ready, asleep, no_key]
    };
    for (owner, at) in owners
        .iter()
        .filter(|(owner, _)| !["ready", "unknown"].contains(&owner.name.as_str()))
    {
        stage.told(&owner.name, &[at]).await;
    }
    let (writes, events) = (stage.writes().await, stage.events().await);
    let read = stage.sim.world(reads_at_rest);
    more_reads(&stage, &read_again, 3).await;
    assert_eq!(stage.writes().await, writes);
    assert_eq!(stage.events().await, events);

    // Nor does a restart write anything.
    operator.kill_9();
    let _operator = stage.operator(&flags);
    more_reads(&stage, &read_again, 4).await;
    assert_eq!(stage.writes().await, writes);
    assert_eq!(stage.events().await, events);
    assert_eq!(stage.sim.world(reads_at_rest), read);
    for (before, (owner, _)) in rests.iter().zip(&owners) {
        assert_eq!(stage.restore(&owner.name).await, *before);
    }
    assert!(stage.sim.unfired().is_empty(), "{:?}", stage.sim.unfired());
    assert_eq!((stage.executed(), stage.posts()), (1, 2));
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_paid_call_that_lasts_is_shown() {
    let stage = Stage::new("lasts").await;
    stage.sim.world(|world| world.restore.job_duration = HOUR);
    let gate = stage.sim.hold(Route::RestoreToPayg, Moment::AfterAct);
    let _operator = stage.operator(&["--paid-timeout=40s"]);
    stage.create(stage.approved("web")).await;
    let object = stage.wait_for_reason("web", "Submitting").await;
    assert_eq!(condition(&object, "Submitted")["status"], "Unknown");
    assert_eq!(condition(&object, "Reconciling")["status"], "True");
    gate.release();
    stage.wait_for_reason("web", "JobRunning").await;
    stage.sim.world(|world| world.advance(HOUR));
    stage.wait_for_reason("web", "Restored").await;
    stage.told("web", &["Submitting", "JobRunning", "Restored"]).await;
    assert_eq!((stage.executed(), stage.posts()), (1, 1));
    assert!(stage.sim.unfired().is_empty());
    stage.check_invariants().await;
}
