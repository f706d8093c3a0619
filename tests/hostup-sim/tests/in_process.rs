//! In process the provider answers as on a port.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use common::{Client, End, KEY, LEGACY_PATH, ORDER, config_path, options_path, restore_path};
use hostup_sim::{
    Answer, Backstage, Call, Clock, Fault, Heard, InProcess, Keep, Oddities, PurchaseKind, RateLimit,
    RateLimitStyle, Route, SOURCE_BACKUP, SOURCE_VPS, Sim, SimHandle, Stage, Vps, World,
};
use serde_json::Value;

const MOMENT: Duration = Duration::from_millis(30);
const DAY: Duration = Duration::from_secs(86_400);

fn at(elapsed: Duration) -> (SystemTime, Duration) {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + elapsed;
    (wall, elapsed)
}

/// A world whose clock stands still.
fn world(seed: u64) -> World {
    with_account(World::new(Clock::told_by(|| at(Duration::ZERO)), seed))
}

/// A world that goes by the virtual time of the test's runtime.
fn virtual_world() -> World {
    let start = tokio::time::Instant::now();
    with_account(World::new(Clock::told_by(move || at(start.elapsed())), 1))
}

fn with_account(mut world: World) -> World {
    world.add_account(KEY);
    world.config.invoice = true;
    world
}

fn on_a_port(world: World) -> Sim {
    Sim::serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), world).expect("a port")
}

fn call(method: &str, target: &str, body: &str) -> Call {
    let call = Call::new(method, target).key(KEY);
    if body.is_empty() { call } else { call.json(body) }
}

fn restoring() -> Call {
    call("POST", &restore_path(), ORDER)
}

/// What a client on the wire heard; `None` if it hears nothing more.
fn over_tcp(sim: &SimHandle, (method, target, body): (&str, &str, &str)) -> Option<Heard> {
    let patience = if method == "HEAD" { MOMENT } else { 10 * MOMENT };
    let mut answer = Client::new(sim, KEY)
        .patience(patience)
        .call(method, target, body);
    let length = answer.header("content-length").map(|text| text.parse().unwrap());
    if method == "HEAD" && answer.end == End::Quiet {
        answer.end = End::Complete;
    }
    match answer.end {
        End::Complete => {
            answer.body.truncate(length.unwrap());
            Some(Heard::Answer {
                status: answer.status,
                headers: answer.headers,
                body: answer.body,
            })
        }
        End::Fin | End::Rst => Some(Heard::Broken),
        End::Quiet => None,
    }
}

/// The same in process.
async fn in_process(hostup: &InProcess, (method, target, body): (&str, &str, &str)) -> Option<Heard> {
    let called = tokio::time::timeout(DAY, hostup.call(call(method, target, body))).await;
    called.ok().map(|mut heard| {
        if let Heard::Answer { headers, .. } = &mut heard {
            for (name, _) in headers {
                name.make_ascii_lowercase();
            }
        }
        heard
    })
}

/// The ledger and the log, without what only a wire has.
fn trace(sim: &Backstage) -> (String, Vec<String>, Vec<usize>) {
    let mut requests = sim.requests();
    for request in &mut requests {
        request.connection = 0;
        request.http_version.clear();
        request
            .headers
            .retain(|name, _| !["host", "content-length"].contains(&name.as_str()));
    }
    let counts = sim.world(|world| {
        [Route::Any, Route::RestoreToPayg, Route::GetVps].map(|route| {
            [
                world.count(route),
                world.count_acted(route),
                world.count_answered(route),
            ]
        })
    });
    (
        format!("{:?}", sim.purchases()),
        requests.iter().map(|request| format!("{request:?}")).collect(),
        counts.concat(),
    )
}

fn status(heard: &Heard) -> u16 {
    match heard {
        Heard::Answer { status, .. } => *status,
        _ => 0,
    }
}

fn body(heard: &Heard) -> Value {
    match heard {
        Heard::Answer { body, .. } => serde_json::from_slice(body).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

/// Every route, well and badly called.
fn calls() -> Vec<(&'static str, String, &'static str)> {
    let vps = |rest: &str| format!("/api/v2/vps/{SOURCE_VPS}{rest}");
    let mut calls = vec![
        ("GET", "/api/version".to_owned(), ""),
        ("HEAD", "/api/version".to_owned(), ""),
        (
            "GET",
            "/api/v2/vps?limit=1&include=pendingMaintenance".to_owned(),
            "",
        ),
        ("GET", "/api/v2/vps?limit=1000".to_owned(), ""),
        ("GET", "/api/v2/vps?name=app%2D01".to_owned(), ""),
        ("GET", "/api/v2/vps/payg/deployments".to_owned(), ""),
        ("GET", "/api/v2/vps/payg/limits".to_owned(), ""),
        ("GET", "/api/v2/vps/vps_none".to_owned(), ""),
        ("GET", "/api/v2/nothing".to_owned(), ""),
        ("GET", "/api/jobs/job_none".to_owned(), ""),
        ("GET", options_path(), ""),
        (
            "POST",
            config_path(),
            r#"{"dryRun":true,"resources":{"bandwidthGb":4096}}"#,
        ),
        ("POST", config_path(), r#"{"resources":{"bandwidthGb":4096}}"#),
        ("POST", config_path(), r#"{"resources":{"bandwidthGb":4097}}"#),
        (
            "POST",
            LEGACY_PATH.to_owned(),
            r#"{"send":false,"resources":{"2231":400}}"#,
        ),
        (
            "POST",
            LEGACY_PATH.to_owned(),
            r#"{"send":true,"resources":{"2231":400}}"#,
        ),
        ("POST", LEGACY_PATH.to_owned(), "{}"),
        ("POST", restore_path(), ORDER),
        ("POST", restore_path(), r#"{"cpuCores":99,"odd":1}"#),
        ("POST", restore_path(), "not JSON"),
        ("GET", "/api/v2/vps".to_owned(), ""),
        ("GET", options_path(), ""),
    ];
    for rest in [
        "",
        "/status",
        "/details",
        "/backups",
        "/actions/convert-to-cloud",
        "/actions/billing-cycle",
    ] {
        calls.push(("GET", vps(rest), ""));
    }
    calls
}

#[tokio::test(start_paused = true)]
async fn every_route_answers_in_process_as_on_a_port_and_buys_the_same() {
    let (port, hostup) = (on_a_port(world(7)), InProcess::new(world(7)));
    for sim in [&**port, &*hostup] {
        sim.world(|world| world.admin = true);
    }
    for (method, target, body) in calls() {
        let asked = (method, target.as_str(), body);
        let heard = in_process(&hostup, asked).await;
        assert_eq!(over_tcp(&port, asked), heard, "{asked:?}");
    }
    let job = hostup.purchases().last().unwrap().job_id.clone();
    let poll = format!("/api/jobs/{job}");
    for sim in [&**port, &*hostup] {
        sim.world(|world| {
            world.finish_job(&job);
            world.odd = Oddities {
                extra_fields: vec![Route::Job],
                ..Oddities::default()
            };
        });
    }
    let asked = ("GET", poll.as_str(), "");
    assert_eq!(over_tcp(&port, asked), in_process(&hostup, asked).await);
    let asked = ("GET", "/_sim/purchases", "");
    assert_eq!(over_tcp(&port, asked), in_process(&hostup, asked).await);
    let kinds: Vec<PurchaseKind> = hostup.purchases().iter().map(|line| line.kind).collect();
    assert_eq!(
        kinds,
        [
            PurchaseKind::Config,
            PurchaseKind::LegacyUpgrade,
            PurchaseKind::RestoreToPayg
        ]
    );
    assert_eq!(trace(&port), trace(&hostup));
}

#[tokio::test(start_paused = true)]
async fn calls_that_change_a_vps_answer_in_process_as_on_a_port_and_are_ledgered_the_same() {
    let cloud_world = || {
        let mut world = World::new(Clock::told_by(|| at(Duration::ZERO)), 7);
        let account = world.add_account(KEY);
        world.add_vps(account, Vps::payg("vps_cloud", "cloud-01", 2, 4, 80));
        world
    };
    let (port, hostup) = (on_a_port(cloud_world()), InProcess::new(cloud_world()));
    let backups = format!("/api/v2/vps/{SOURCE_VPS}/backups");
    let cloud = |rest: &str| format!("/api/v2/vps/vps_cloud{rest}");
    let from = format!(r#"{{"sourceVpsId":"{SOURCE_VPS}","backupId":"{SOURCE_BACKUP}"}}"#);
    for (method, target, body) in [
        ("POST", cloud("/actions/resize"), r#"{"cpuCores":4,"memoryGb":8}"#),
        ("POST", cloud("/actions/resize"), "{}"),
        ("GET", cloud(""), ""),
        ("GET", cloud("/details"), ""),
        ("POST", cloud("/backups/actions/restore-from-vps"), from.as_str()),
        ("POST", cloud("/backups/actions/restore-from-vps"), "{}"),
        ("GET", cloud("/backups/restore-sources"), ""),
        ("GET", cloud("/active-jobs"), ""),
        ("POST", backups.clone(), r#"{"note":"n"}"#),
        ("POST", format!("{backups}/{SOURCE_BACKUP}/actions/restore"), ""),
        ("GET", backups, ""),
    ] {
        let asked = (method, target.as_str(), body);
        let heard = in_process(&hostup, asked).await;
        assert_eq!(over_tcp(&port, asked), heard, "{asked:?}");
    }
    let kinds: Vec<PurchaseKind> = hostup.purchases().iter().map(|line| line.kind).collect();
    assert_eq!(
        kinds,
        [
            PurchaseKind::Resize,
            PurchaseKind::RestoreFromVps,
            PurchaseKind::CreateBackup
        ]
    );
    assert_eq!(trace(&port), trace(&hostup));
}

#[tokio::test(start_paused = true)]
async fn keys_scopes_and_rate_limits_refuse_in_process_as_on_a_port() {
    let set = |sim: &Backstage| {
        sim.world(|world| {
            let account = world.add_empty_account("second");
            world.add_key_with_scopes(account, "scopeless", &[]);
            world.revoke_key("second");
            world.add_key(account, "limited");
            world.account_mut(account).rate_limit = Some(RateLimit {
                requests: 2,
                window: Duration::from_secs(60),
            });
        });
    };
    let (port, hostup) = (on_a_port(world(3)), InProcess::new(world(3)));
    set(&port);
    set(&hostup);
    for key in ["nobody", "second", "scopeless", "limited", "limited", "limited"] {
        let wire = Client::new(&port, key).call("GET", "/api/v2/vps", "");
        let heard = hostup.call(Call::new("GET", "/api/v2/vps").key(key)).await;
        let Heard::Answer {
            status,
            headers,
            body,
        } = heard
        else {
            panic!("{heard:?}");
        };
        assert_eq!((wire.status, &wire.body), (status, &body), "{key}");
        for (name, value) in headers {
            assert_eq!(wire.header(&name.to_ascii_lowercase()), Some(value.as_str()));
        }
    }
    assert_eq!(status(&hostup.call(Call::new("GET", "/api/v2/vps")).await), 401);
    assert_eq!(hostup.requests().pop().unwrap().auth, hostup_sim::Auth::Missing);
}

/// Each way to answer.
fn answers() -> Vec<Answer> {
    let slow = Duration::from_millis(1);
    vec![
        Answer::normal(),
        Answer::normal().set("/id", "5").remove("/operation/jobId"),
        Answer::normal()
            .header("X-Odd", "1")
            .gzip_claim()
            .retry_after("3"),
        Answer::normal().delay(MOMENT),
        Answer::problem(500, "internal_error")
            .detail("d")
            .extension("a", "1"),
        Answer::blocked(403, "forbidden", &["not_verified"]),
        Answer::rate_limited(RateLimitStyle::Exceeded),
        Answer::rate_limited(RateLimitStyle::Limited).retry_after("7"),
        Answer::rate_limited(RateLimitStyle::Legacy).retry_after("soon"),
        Answer::legacy_error(400, "BAD_REQUEST", "Fel"),
        Answer::html(502),
        Answer::empty(503),
        Answer::broken_json(202),
        Answer::big(200, 100_000),
        Answer::deep(200, 1_000),
        Answer::success_false(200),
        Answer::redirect(307, "http://192.0.2.1/"),
        Answer::raw(200, vec![0xff, 0xfe]),
        Answer::json(200, "{}").content_length(50),
        Answer::json(200, "{} and more").content_length(2),
        Answer::bytes("SSH-2.0-OpenSSH_9.6\r\n"),
        Answer::bytes("HTTP/1.1 200 OK\r\nX-By: hand\r\nContent-Length: 2\r\n\r\nhi"),
        Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"),
        Answer::close(),
        Answer::reset(),
        Answer::silence(),
        Answer::silence_for(MOMENT),
        Answer::normal().cut_body_after(0),
        Answer::normal().cut_body_after(10),
        Answer::normal().cut_body_after(100_000),
        Answer::normal().reset_body_after(10),
        Answer::normal().head_then_silence(),
        Answer::empty(200).head_then_silence(),
        Answer::json(200, "12345").drip(slow),
        Answer::json(200, "12345").drip_from_start(slow),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_fault_ends_in_process_as_on_a_port_acted_or_not() {
    for (number, answer) in answers().into_iter().enumerate() {
        for acted in [true, false] {
            let (port, hostup) = (on_a_port(world(9)), InProcess::new(world(9)));
            let read = format!("/api/v2/vps/{SOURCE_VPS}");
            let (read, buy) = (("GET", read.as_str(), ""), restore_path());
            let buy = ("POST", buy.as_str(), ORDER);
            for asked in [read, buy] {
                let fault = Fault::on(Route::Any).acted(acted).answer(answer.clone());
                port.inject(fault.clone());
                hostup.inject(fault);
                let heard = in_process(&hostup, asked).await;
                assert_eq!(over_tcp(&port, asked), heard, "{number}: {answer:?}");
            }
            assert!(port.wait_answered(Route::Any, 2, 10 * MOMENT));
            assert_eq!(hostup.purchases().len(), usize::from(acted));
            assert_eq!(trace(&port), trace(&hostup), "{number}: {answer:?}");
            assert_eq!(hostup.unfired(), Vec::<String>::new());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_and_vms_get_on_by_virtual_time() {
    let hostup = InProcess::new(virtual_world());
    hostup.world(|world| {
        world.restore.job_duration = Duration::from_secs(600);
        world.restore.vm_visible_after = Duration::from_secs(60);
    });
    let ordered = body(&hostup.call(restoring()).await);
    let poll = ordered["operation"]["pollUrl"].as_str().unwrap();
    let mut told = Vec::new();
    for _ in 0..6 {
        let list = body(&hostup.call(call("GET", "/api/v2/vps", "")).await);
        let job = body(&hostup.call(call("GET", poll, "")).await);
        told.push((
            job["data"]["status"].as_str().unwrap().to_owned(),
            list["data"].as_array().unwrap().len(),
            list["data"][1]["powerState"].as_str().unwrap_or("-").to_owned(),
        ));
        tokio::time::sleep(Duration::from_secs(125)).await;
    }
    let told: Vec<(&str, usize, &str)> = told
        .iter()
        .map(|(job, count, state)| (job.as_str(), *count, state.as_str()))
        .collect();
    let running = ("in_progress", 2, "provisioning");
    let done = ("completed", 2, "running");
    assert_eq!(
        told,
        [("queued", 1, "-"), running, running, running, running, done]
    );
    assert_eq!(hostup.purchases()[0].at, at(Duration::ZERO).0);
}

#[tokio::test(start_paused = true)]
async fn delays_silences_and_drips_take_their_virtual_time() {
    let hour = Duration::from_secs(3600);
    for (answer, takes) in [
        (Answer::normal(), Duration::ZERO),
        (Answer::normal().delay(hour), hour),
        (Answer::silence_for(2 * hour), 2 * hour),
        (Answer::json(200, "12345").drip(hour), 5 * hour),
        (Answer::json(200, "12345").delay(hour).drip(hour), 6 * hour),
    ] {
        let hostup = InProcess::new(virtual_world());
        hostup.inject(Fault::on(Route::ListVps).answer(answer));
        let start = tokio::time::Instant::now();
        hostup.call(call("GET", "/api/v2/vps", "")).await;
        assert_eq!(start.elapsed(), takes);
    }
}

#[tokio::test(start_paused = true)]
async fn waits_in_process_go_by_virtual_time_and_wake_for_changes() {
    let hostup = InProcess::new(virtual_world());
    hostup.world(|world| world.restore.job_duration = DAY);
    hostup.call(restoring()).await;
    let start = tokio::time::Instant::now();
    assert!(!hostup.until(DAY / 2, |_| false).await);
    assert_eq!(start.elapsed(), DAY / 2);
    let ended = |world: &World| world.jobs[0].progress_at(world.now()) == 100;
    assert!(hostup.until(2 * DAY, ended).await);
    assert!(start.elapsed() <= DAY + Duration::from_millis(1));
    let gate = hostup.hold(Route::ListVps, Stage::BeforeAct);
    let caller = hostup.clone();
    let called = tokio::spawn(async move { caller.call(call("GET", "/api/v2/vps", "")).await });
    assert!(gate.held(DAY).await);
    gate.release();
    assert_eq!(status(&called.await.unwrap()), 200);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_on_a_request_that_is_held_has_sent_it_all_the_same() {
    let hostup = InProcess::new(virtual_world());
    let gate = hostup.hold(Route::RestoreToPayg, Stage::BeforeAct);
    let given_up = tokio::time::timeout(MOMENT, hostup.call(restoring())).await;
    assert!(given_up.is_err());
    assert_eq!(gate.holds(), Some(0));
    assert_eq!(
        (hostup.count(Route::RestoreToPayg), hostup.purchases().len()),
        (1, 0)
    );
    tokio::time::sleep(DAY).await;
    gate.release();
    assert_eq!(hostup.purchases().len(), 1);
    assert_eq!(hostup.purchases()[0].at, at(DAY + MOMENT).0);
    assert_eq!(hostup.requests()[0].finish, Some(hostup_sim::Finish::ClientLeft));
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_between_the_opening_of_a_gate_and_the_answer_has_bought() {
    let hostup = InProcess::new(virtual_world());
    let gate = hostup.hold(Route::RestoreToPayg, Stage::BeforeAct);
    let mut held = Box::pin(hostup.call(restoring()));
    assert!(tokio::time::timeout(MOMENT, &mut held).await.is_err());
    gate.release();
    assert!(hostup.purchases().is_empty());
    drop(held);
    assert_eq!(hostup.purchases().len(), 1);
    assert!(hostup.unfired().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_given_up_at_any_moment() {
    let step = Duration::from_millis(1);
    for patience in 0..40 {
        let hostup = InProcess::new(virtual_world());
        let slow = Answer::json(202, "12345").delay(10 * step).drip(step);
        hostup.inject(Fault::on(Route::RestoreToPayg).acted(true).answer(slow));
        let (before, after) = (
            hostup.hold(Route::RestoreToPayg, Stage::BeforeAct),
            hostup.hold(Route::RestoreToPayg, Stage::AfterAct),
        );
        let gates = tokio::spawn(async move {
            tokio::time::sleep(5 * step).await;
            before.release();
            tokio::time::sleep(5 * step).await;
            after.release();
        });
        let called = tokio::time::timeout(patience * step, hostup.call(restoring())).await;
        gates.await.unwrap();
        assert_eq!(hostup.count(Route::RestoreToPayg), 1);
        assert_eq!(called.is_ok(), patience >= 25, "{patience}");
        assert_eq!(hostup.purchases().len(), 1, "{patience}");
        assert_eq!(hostup.world(|world| world.count_answered(Route::Any)), 1);
        assert_eq!(status(&hostup.call(restoring()).await), 202);
    }
    let hostup = InProcess::new(virtual_world());
    // What nobody ever polls has not left.
    drop(hostup.call(restoring()));
    assert_eq!(hostup.count(Route::Any), 0);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_down_nothing_arrives_and_what_was_under_way_breaks() {
    let hostup = InProcess::new(virtual_world());
    let buy = |hostup: &InProcess| {
        let hostup = hostup.clone();
        tokio::spawn(async move { hostup.call(restoring()).await })
    };
    hostup.inject(
        Fault::on(Route::RestoreToPayg)
            .acted(true)
            .answer(Answer::silence()),
    );
    let unheard = buy(&hostup);
    tokio::time::sleep(MOMENT).await;
    let gate = hostup.hold(Route::RestoreToPayg, Stage::BeforeAct);
    let held = buy(&hostup);
    assert!(gate.held(MOMENT).await);
    hostup.go_down();
    hostup.go_down();
    assert_eq!(hostup.call(restoring()).await, Heard::NoConnection);
    hostup.come_up();
    gate.release();
    assert_eq!(unheard.await.unwrap(), Heard::Broken);
    assert_eq!(held.await.unwrap(), Heard::Broken);
    assert_eq!((hostup.count(Route::Any), hostup.purchases().len()), (2, 1));
    assert_eq!(status(&hostup.call(restoring()).await), 202);
}

/// A world's answers and ledger after some calls.
async fn bytes(seed: u64) -> String {
    let hostup = InProcess::new(world(seed));
    let mut text = String::new();
    for (method, target, body) in calls() {
        text += &format!("{:?}\n", hostup.call(call(method, &target, body)).await);
    }
    hostup.inject(
        Fault::on(Route::Any)
            .acted(false)
            .answer(Answer::rate_limited(RateLimitStyle::Legacy)),
    );
    text += &format!("{:?}\n", hostup.call(restoring()).await);
    text + &format!("{:?}{:?}", hostup.purchases(), hostup.requests())
}

#[tokio::test]
async fn two_worlds_with_one_seed_say_the_same_bytes() {
    assert_eq!(bytes(5).await, bytes(5).await);
    assert_eq!(bytes(0).await, bytes(0).await);
    assert_ne!(bytes(5).await, bytes(6).await);
    assert_ne!(bytes(5).await, bytes(0).await);
}

#[tokio::test]
async fn a_world_that_keeps_counts_counts_and_sells_the_same_and_keeps_no_log() {
    let (whole, lean) = (InProcess::new(world(2)), InProcess::new(world(2)));
    lean.world(|world| world.keep = Keep::Counts);
    for (method, target, body) in calls() {
        let asked = call(method, &target, body);
        assert_eq!(whole.call(asked.clone()).await, lean.call(asked).await);
    }
    assert_eq!(
        (trace(&whole).0, trace(&whole).2),
        (trace(&lean).0, trace(&lean).2)
    );
    assert!(lean.requests().is_empty());
    assert_eq!(lean.purchases()[0].source_vps, SOURCE_VPS);
    // From here on it keeps them, under the numbers that they have.
    lean.world(|world| world.keep = Keep::Everything);
    lean.call(call("GET", &format!("/api/v2/{SOURCE_BACKUP}"), ""))
        .await;
    let kept = lean.requests();
    assert_eq!((kept.len(), kept[0].index), (1, calls().len()));
    assert_eq!(kept[0].status, Some(404));
}
