//! How often the operator writes, and that it rests.

use futures::future::join_all;
use hostup_sim::{ActionGate, Answer, Auth, Fault, RestoreBehaviour, Route, Stage, World};
use serde_json::{Value, json};

use crate::support::proxied_env::{OPERATIONS, ProxiedEnv};
use crate::support::{Customer, HOUR, PATIENCE, TestEnv, at, condition};

#[tokio::test]
async fn an_approved_restore_costs_five_writes() {
    let env = TestEnv::new("five").await;
    let _operator = env.operator(&[]);
    env.sim.world(|world| {
        world.restore = RestoreBehaviour {
            progress_steps: 1,
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        };
    });
    // Several times, for the claim, its watch and its answer race one another.
    for name in ["web-0", "web-1", "web-2", "web-3"] {
        env.create(env.approved(name)).await;
        env.wait_for_reason(name, "JobRunning").await;
        env.sim.world(|world| world.advance(HOUR));
        let object = env.wait_for_reason(name, "Restored").await;
        let record = at(&object, "status.operation.name").as_str().unwrap();
        env.told(name, &["JobRunning", "Restored"]).await;
        let mut writes = env.writes().await;
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
    assert_eq!((env.executed(), env.posts()), (4, 4));
    env.check_invariants().await;
}

/// Requests about our own kinds, without watches.
fn asked(proxied: &ProxiedEnv) -> Vec<String> {
    let requests = proxied.proxy.requests().into_iter();
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
    let proxied = ProxiedEnv::new("requests").await;
    let env = &proxied.env;
    let _operator = env.operator(&["--gate-interval=1m", "--resync-interval=1h"]);
    for name in ["web-0", "web-1", "web-2", "web-3"] {
        let before = asked(&proxied).len();
        env.create(env.approved(name)).await;
        let object = env.wait_for_reason(name, "Restored").await;
        let record = at(&object, "status.operation.name").as_str().unwrap();
        // The one before it may still be looked at.
        let is_about_it = |request: &String| {
            let own = [format!("/{name}"), format!("/{record}")];
            own.iter().any(|own| request.contains(own)) || *request == format!("POST {OPERATIONS}")
        };
        let mut requests = asked(&proxied).split_off(before);
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
    proxied.check().await;
}

#[tokio::test]
async fn a_preview_costs_one_write() {
    let env = TestEnv::new("onewrite").await;
    let _operator = env.operator(&[]);
    env.create(env.preview("web")).await;
    env.wait_for_reason("web", "AwaitingApproval").await;
    let looked = |world: &World| world.count_answered(Route::PaygLimits) >= 3;
    assert!(env.sim.until(PATIENCE, looked).await);
    assert_eq!(
        env.writes().await,
        [
            "create vpsbackuprestores/ web",
            "update vpsbackuprestores/status web"
        ]
    );
    assert_eq!(env.events().await, 1);
    assert_eq!(env.posts(), 0);
    env.check_invariants().await;
}

#[tokio::test]
async fn progress_is_written_in_quarters_only() {
    let env = TestEnv::new("quarters").await;
    env.sim.world(|world| {
        world.restore = RestoreBehaviour {
            progress_steps: 100,
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        };
    });
    let _operator = env.operator(&["--poll-interval=50ms"]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "JobRunning").await;
    for _ in 0..20 {
        env.polled_again().await;
        env.sim.world(|world| world.advance(HOUR / 20));
    }
    env.wait_for_reason("web", "Restored").await;
    let mut writes = env.writes().await;
    writes.retain(|write| write.starts_with("update vpsbackuprestores/status"));
    // Queued, running, 25, 50, 75 %, and the end.
    assert!((2..=6).contains(&writes.len()), "{writes:?}");
    let mut records = env.writes().await;
    records.retain(|write| write.starts_with("update vpsoperations/status"));
    assert_eq!(records.len(), 2);
    // A quarter more is no other reason.
    env.told("web", &["JobRunning", "Restored"]).await;
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

/// Reads of the customer's account so far.
fn reads(world: &World, customer: &Customer, route: Route) -> usize {
    let of = |auth: &Auth| matches!(auth, Auth::Key { account, .. } if *account == customer.account);
    let requests = world.requests().iter();
    requests
        .filter(|request| of(&request.auth) && (route == Route::Any || request.route == route))
        .count()
}

/// Waits until each of these has been read `times` more.
async fn more_reads(env: &TestEnv, of: &[(&Customer, Route)], times: usize) {
    join_all(of.iter().map(|(customer, route)| async move {
        let (customer, route) = ((*customer).clone(), *route);
        let before = env.sim.world(|world| reads(world, &customer, route));
        let name = customer.name.clone();
        let read = move |world: &World| reads(world, &customer, route) >= before + times;
        assert!(env.sim.until(PATIENCE, read).await, "{name} is not read again");
    }))
    .await;
}

#[tokio::test]
async fn at_rest_nothing_is_written_and_what_is_ready_is_not_even_read() {
    let env = TestEnv::new("rest").await;
    let flags = ["--resync-interval=1s", "--settle-time=1s"];
    let mut operator = env.operator(&flags);
    let mut customers = Vec::new();
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
        customers.push((env.customer(name).await, rests_at));
    }
    let objects = customers.iter().map(|(customer, _)| {
        let mut object = customer.restore(&env);
        let spec = &mut object["spec"];
        match customer.name.as_str() {
            "preview" => drop(spec.as_object_mut().unwrap().remove("approval")),
            "asleep" => spec["suspend"] = json!(true),
            "dear" => spec["approval"]["maxPrice"]["perHour"] = json!("0.10"),
            "nokey" => spec["credentialsSecretRef"]["key"] = json!("nothing"),
            "closed" => env.sim.world(|world| {
                world.vps_mut(&customer.vps).unwrap().can_restore = ActionGate::closed("later", None);
            }),
            "nobackup" => env.sim.world(|world| {
                world.remove_backup(&customer.backup);
            }),
            "unknown" => {
                let lost = Fault::on(Route::RestoreToPayg).acted(false).key(&customer.key);
                env.sim.inject(lost.answer(Answer::reset()));
            }
            _ => {}
        }
        env.create(object)
    });
    join_all(objects).await;
    let rests: Vec<Value> = join_all(
        customers
            .iter()
            .map(|(customer, at)| env.wait_for_reason(&customer.name, at)),
    )
    .await;
    let named = |name: &str| {
        &customers
            .iter()
            .find(|(customer, _)| customer.name == name)
            .unwrap()
            .0
    };
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
    for (customer, at) in customers
        .iter()
        .filter(|(customer, _)| !["ready", "unknown"].contains(&customer.name.as_str()))
    {
        env.told(&customer.name, &[at]).await;
    }
    let (writes, events) = (env.writes().await, env.events().await);
    let read = env.sim.world(reads_at_rest);
    more_reads(&env, &read_again, 3).await;
    assert_eq!(env.writes().await, writes);
    assert_eq!(env.events().await, events);

    // Nor does a restart write anything.
    operator.kill_9();
    let _operator = env.operator(&flags);
    more_reads(&env, &read_again, 4).await;
    assert_eq!(env.writes().await, writes);
    assert_eq!(env.events().await, events);
    assert_eq!(env.sim.world(reads_at_rest), read);
    for (before, (customer, _)) in rests.iter().zip(&customers) {
        assert_eq!(env.restore(&customer.name).await, *before);
    }
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    assert_eq!((env.executed(), env.posts()), (1, 2));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_paid_call_that_lasts_is_shown() {
    let env = TestEnv::new("lasts").await;
    env.sim.world(|world| world.restore.job_duration = HOUR);
    let gate = env.sim.hold(Route::RestoreToPayg, Stage::AfterAct);
    let _operator = env.operator(&["--paid-timeout=40s"]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "Submitting").await;
    assert_eq!(condition(&object, "Submitted")["status"], "Unknown");
    assert_eq!(condition(&object, "Reconciling")["status"], "True");
    gate.release();
    env.wait_for_reason("web", "JobRunning").await;
    env.sim.world(|world| world.advance(HOUR));
    env.wait_for_reason("web", "Restored").await;
    env.told("web", &["Submitting", "JobRunning", "Restored"]).await;
    assert_eq!((env.executed(), env.posts()), (1, 1));
    assert!(env.sim.unfired().is_empty());
    env.check_invariants().await;
}
