//! One reader for each account: what many objects ask is asked once, and none waits behind another key's.

use std::time::{Duration, Instant};

use hostup_sim::{ActionGate, Answer, Fault, LimitSet, RateLimitStyle, Route, World};
use serde_json::Value;

use crate::support::{HOUR, PATIENCE, TestEnv, gates, reason};

/// The intervals of an installation: with the short ones of other tests nothing would be shared.
const AS_SHIPPED: [&str; 4] = [
    "--gate-interval=1m",
    "--resync-interval=1h",
    "--poll-interval=500ms",
    "--workers=8",
];

fn room_for_all(env: &TestEnv) {
    env.sim
        .world(|world| world.account_mut(env.account).limits_max = LimitSet::new(500, 2_000, 40_000, 250));
}

async fn all_are_restored(env: &TestEnv, names: &[String]) {
    for name in names {
        env.wait_for_reason(name, "Restored").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_restores_of_one_key_cost_few_calls_each() {
    const OBJECTS: usize = 40;
    let env = TestEnv::new("shared").await;
    room_for_all(&env);
    let names: Vec<String> = (0..OBJECTS).map(|n| format!("web-{n:02}")).collect();
    let _operator = env.operator(&AS_SHIPPED);
    for name in &names {
        let mut object = env.approved(name);
        object["spec"]["target"]["cloudVm"]["name"] = name.as_str().into();
        env.create(object).await;
    }
    all_are_restored(&env, &names).await;
    assert_eq!((env.posts(), env.executed()), (OBJECTS, OBJECTS));
    let calls = env.sim.requests().len();
    assert!(calls <= OBJECTS * 4, "{calls} calls for {OBJECTS} restores");
    for route in [Route::PaygDeployments, Route::ConvertToCloud, Route::ListBackups] {
        let reads = env.sim.count(route);
        assert!(reads <= 3, "{reads} reads of {route:?}");
    }
    let sent = env.sim.purchases();
    let sent = sent.iter().filter_map(|purchase| purchase.name_sent.as_deref());
    let places: Vec<usize> = sent
        .map(|sent| {
            let made = names.iter().position(|name| sent.starts_with(name.as_str()));
            made.expect("a restore of ours")
        })
        .collect();
    // A few are looked at together.
    for (place, made) in places.iter().enumerate() {
        assert!(place.abs_diff(*made) <= 8, "the order of the POSTs is {places:?}");
    }
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_of_other_keys_that_wait_or_hang_delay_no_restore() {
    const OTHERS: usize = 60;
    let env = TestEnv::new("fair").await;
    let closed = env.customer("closed").await;
    let hangs = env.customer("hangs").await;
    let free = env.customer("free").await;
    env.sim.world(|world| {
        world.account_mut(closed.account).vps[0].can_restore =
            ActionGate::closed("later", Some("maintenance"));
    });
    let silence = Fault::on(Route::Any).key(&hangs.key).acted(false).always();
    env.sim.inject(silence.answer(Answer::silence()));
    for n in 0..OTHERS {
        for customer in [&closed, &hangs] {
            let mut object = customer.restore(&env);
            object["metadata"]["name"] = format!("{}-{n}", customer.name).into();
            env.create(object).await;
        }
    }
    let _operator = env.operator(&[
        "--workers=4",
        "--gate-interval=1s",
        "--request-timeout=30s",
        "--paid-timeout=40s",
    ]);
    let vps = hangs.vps.clone();
    let hung = move |world: &World| {
        world
            .requests()
            .iter()
            .filter(|request| request.path.contains(&vps))
            .count()
    };
    let counted = hung.clone();
    let arrived = move |world: &World| counted(world) > 0;
    assert!(env.sim.until(PATIENCE, arrived).await);
    env.create(free.restore(&env)).await;
    let account = free.account;
    let bought = move |world: &World| !world.purchases_of(account).is_empty();
    // Far less than the first of the hanging calls lasts.
    assert!(
        env.sim.until(Duration::from_secs(20), bought).await,
        "it waits behind others"
    );
    env.wait_for_reason("free", "Restored").await;
    assert_eq!(env.executed(), 1);
    let hung_calls = env.sim.world(|world| hung(world));
    assert!(hung_calls <= 12, "{hung_calls} calls into an account that hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_that_are_changed_all_the_time_are_looked_at_rarely_and_delay_no_restore() {
    const NOISY: usize = 40;
    let env = TestEnv::new("noisy").await;
    let names: Vec<String> = (0..NOISY).map(|n| format!("noisy-{n:02}")).collect();
    for name in &names {
        let mut object = env.preview(name);
        object["spec"]["suspend"] = true.into();
        env.create(object).await;
    }
    let operator = env.operator(&["--workers=1", "--poll-interval=2s", "--gate-interval=1m"]);
    for name in &names {
        env.wait_for_reason(name, "Suspended").await;
    }
    let looks = || operator.samples()["controller_runtime_reconcile_total{controller=\"vpsbackuprestore\",result=\"success\"}"];
    let (before, began) = (looks(), Instant::now());
    let mut changes: u32 = 0;
    let mut made = false;
    while began.elapsed() < Duration::from_secs(6) || (changes as usize) <= NOISY * 4 {
        for name in &names {
            env.poke(env.restores(), name, changes).await;
            changes += 1;
        }
        if !made {
            env.create(env.approved("web")).await;
            made = true;
        }
    }
    let bought = |world: &World| world.purchases().len() == 1;
    assert!(
        env.sim.until(Duration::from_secs(1), bought).await,
        "it waits behind others"
    );
    let looks = looks() - before;
    // Once in two seconds each, and what the restore itself takes.
    let most = NOISY as f64 * (began.elapsed().as_secs_f64() / 2.0 + 1.0) + 20.0;
    assert!(looks <= most, "{looks} looks after {changes} changes");
    env.wait_for_reason("web", "Restored").await;
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_vm_that_the_limits_leave_is_sold_once() {
    let env = TestEnv::new("last").await;
    // The source is of a fixed plan and counts for nothing.
    env.sim
        .world(|world| world.account_mut(env.account).limits_max = LimitSet::new(64, 256, 4_000, 1));
    for name in ["a", "b"] {
        env.create(env.approved(name)).await;
    }
    let _operator = env.operator(&AS_SHIPPED);
    let bought = |world: &World| world.purchases().len() == 1;
    assert!(env.sim.until(PATIENCE, bought).await);
    let mut ends = Vec::new();
    for name in ["a", "b"] {
        let at_rest = |object: &Value| ["Restored", "GatesClosed"].contains(&reason(object));
        let object = env.wait(name, "an end", at_rest).await;
        if reason(&object) == "GatesClosed" {
            assert_eq!(gates(&object, "limits")[0]["allowed"], false);
        }
        ends.push(reason(&object).to_owned());
    }
    ends.sort();
    assert_eq!(ends, ["GatesClosed", "Restored"]);
    assert_eq!((env.posts(), env.executed()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn inside_a_retry_after_no_call_leaves_however_many_wait() {
    const OBJECTS: usize = 20;
    const WAIT: Duration = Duration::from_secs(4);
    let env = TestEnv::new("burst").await;
    room_for_all(&env);
    let too_many = Answer::rate_limited(RateLimitStyle::Exceeded).retry_after("4");
    env.sim
        .inject(Fault::on(Route::ListVps).acted(false).answer(too_many));
    let names: Vec<String> = (0..OBJECTS).map(|n| format!("web-{n}")).collect();
    for name in &names {
        env.create(env.approved(name)).await;
    }
    let _operator = env.operator(&AS_SHIPPED);
    all_are_restored(&env, &names).await;
    let requests = env.sim.requests();
    let refused = requests
        .iter()
        .position(|request| request.fault.is_some())
        .unwrap();
    let told = requests[refused].received_at;
    for later in &requests[refused + 1..] {
        let after = later.received_at.duration_since(told);
        // What had left before the refusal was read arrives with it.
        assert!(
            after < Duration::from_millis(250) || after >= WAIT,
            "{:?} came {after:?} after a call to wait {WAIT:?}",
            later.route
        );
    }
    assert_eq!(env.executed(), OBJECTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_hostup_is_away_few_calls_try_and_everything_goes_on_soon_after() {
    const OBJECTS: usize = 20;
    let env = TestEnv::new("away").await;
    room_for_all(&env);
    env.sim.inject(
        Fault::on(Route::Any)
            .acted(false)
            .always()
            .answer(Answer::html(503)),
    );
    let names: Vec<String> = (0..OBJECTS).map(|n| format!("web-{n}")).collect();
    for name in &names {
        let mut object = env.approved(name);
        // Each asks about a VPS of its own.
        let vps = format!("vps_away_{name}");
        env.add_vps(&vps);
        object["spec"]["source"] = serde_json::json!({"vpsId": vps, "backup": "Latest"});
        env.create(object).await;
    }
    let operator = env.operator(&AS_SHIPPED);
    for name in &names {
        env.wait_for_reason(name, "ProviderUnavailable").await;
    }
    let seen = env.sim.requests().len();
    assert!(seen <= 12, "{seen} calls before anything was known");
    let away = format!(
        "hostup_operator_provider_away{{namespace=\"{}\",secret=\"hostup-api\"}}",
        env.namespace
    );
    operator.samples_with(&away, |value| value == Some(1.0));
    // A few more tries, and HostUp is back.
    let tried = move |world: &World| world.requests().len() >= seen + 2;
    assert!(env.sim.until(PATIENCE, tried).await);
    env.sim.clear_faults();
    env.sim.world(|world| world.advance(HOUR));
    let answered = |world: &World| world.requests().iter().any(|request| request.fault.is_none());
    assert!(env.sim.until(PATIENCE, answered).await);
    operator.samples_with(&away, |value| value == Some(0.0));
}
