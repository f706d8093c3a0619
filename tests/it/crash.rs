//! The process dies, at every point between two effects and at random.

use std::time::{Duration, Instant};

use hostup_operator::cluster::fail_point;
use hostup_operator::domain::ledger::names::VmToken;
use hostup_operator::domain::values::ids::InstanceId;
use hostup_sim::{Answer, Fault, RestoreBehaviour, Route, Stage, Vps};
use serde_json::{Value, json};

use crate::support::death::{Dice, QUICK, died_at, died_before_more};
use crate::support::{HOUR, PATIENCE, TestEnv, at, each_row, reason};

/// Reasons at which an object of this file rests.
const ENDS: [&str; 4] = ["Restored", "AlreadyExecuted", "OutcomeUnknown", "Suspended"];

/// What happens around the death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Approved from the start.
    Approved,
    /// A preview that is approved later, by another process if the first has died.
    Previewed,
    /// The job has told of progress to a process that was killed before.
    Progressing,
    /// Suspended while the paid call is held at the provider.
    SuspendedInFlight,
    /// Suspended while no process runs.
    SuspendedWhileDown,
    /// Deleted and created again with the same contents while no process runs.
    RecreatedWhileDown,
    /// A VM bears the token before anything is claimed.
    Adopted,
}

async fn at_rest(env: &TestEnv, name: &str) -> Value {
    env.wait(name, "an end", |object| ENDS.contains(&reason(object)))
        .await
}

/// A VM that a purchase for the object `web` would have made.
fn bearer(env: &TestEnv, id: &str) -> Vps {
    let token = VmToken::new(&InstanceId::new(&env.namespace), &env.namespace, "web");
    Vps::payg(id, &format!("web-01-{}", token.as_str()), 2, 4, 80)
}

async fn dies(life: Life, point: &'static str) {
    let env = TestEnv::new("crash").await;
    match life {
        Life::Approved | Life::SuspendedWhileDown | Life::RecreatedWhileDown => {
            env.create(env.approved("web")).await;
            died_at(env.armed(&QUICK, point), point).await;
        }
        Life::Adopted => {
            let found = bearer(&env, "vps_there");
            env.sim.world(|world| world.add_vps(env.account, found));
            env.create(env.approved("web")).await;
            died_at(env.armed(&QUICK, point), point).await;
        }
        Life::Previewed => {
            env.create(env.preview("web")).await;
            let mut first = env.armed(&QUICK, point);
            if point.ends_with("-report") {
                died_at(first, point).await;
                first = env.operator(&QUICK);
            }
            let shown = env.wait_for_reason("web", "AwaitingApproval").await;
            let quote = at(&shown, "status.quote.id");
            let approval = json!({"spec": {"approval": {"quoteId": quote}}});
            env.patch("web", approval).await.unwrap();
            if point.ends_with("-report") {
                env.wait_for_reason("web", "Restored").await;
                first.kill_9();
            } else {
                died_at(first, point).await;
            }
        }
        Life::Progressing => {
            env.sim.world(|world| {
                world.restore_next(RestoreBehaviour {
                    job_duration: HOUR,
                    ..RestoreBehaviour::default()
                });
            });
            env.create(env.approved("web")).await;
            let mut first = env.operator(&QUICK);
            env.wait_for_reason("web", "JobRunning").await;
            env.sim.world(|world| world.advance(HOUR / 2));
            env.wait("web", "progress", |object| {
                at(object, "status.job.progress").as_u64() >= Some(25)
            })
            .await;
            first.kill_9();
            env.sim.world(|world| world.advance(HOUR));
            died_at(env.armed(&QUICK, point), point).await;
        }
        Life::SuspendedInFlight => {
            let gate = env.sim.hold(Route::RestoreToPayg, Stage::AfterAct);
            env.create(env.approved("web")).await;
            let first = env.armed(&QUICK, point);
            assert!(gate.held(PATIENCE).await);
            env.patch("web", json!({"spec": {"suspend": true}}))
                .await
                .unwrap();
            gate.release();
            died_at(first, point).await;
        }
    }
    match life {
        Life::SuspendedWhileDown => {
            env.patch("web", json!({"spec": {"suspend": true}}))
                .await
                .unwrap();
        }
        Life::RecreatedWhileDown => {
            env.delete("web").await;
            env.create(env.approved("web")).await;
        }
        Life::Approved | Life::Previewed | Life::Progressing | Life::SuspendedInFlight | Life::Adopted => {}
    }
    let open = env.is_open().await;
    let records = env.records().await.len();
    assert!(records <= 1, "{records} records");
    let claimed = records == 1;
    let _second = env.operator(&QUICK);
    let object = at_rest(&env, "web").await;
    let executed = env.executed();
    let wanted = match life {
        _ if open && executed == 0 && life != Life::Adopted => "OutcomeUnknown",
        Life::SuspendedWhileDown if !claimed => "Suspended",
        Life::RecreatedWhileDown if claimed => "AlreadyExecuted",
        _ => "Restored",
    };
    assert_eq!(reason(&object), wanted);
    let bought = usize::from(!matches!(wanted, "OutcomeUnknown" | "Suspended") && life != Life::Adopted);
    assert_eq!(executed, bought);
    assert_eq!(env.posts(), bought);
    match point {
        "after-claim" | "after-second-look" | "before-send" => assert_eq!(wanted, "OutcomeUnknown"),
        "after-answer" => assert_ne!(wanted, "OutcomeUnknown"),
        "before-claim" => assert!(!claimed),
        "after-answer-recorded" | "before-job-read" | "after-job-read" | "before-outcome-recorded" => {
            assert!(claimed && !open);
        }
        _ => {}
    }
    if life == Life::Progressing {
        assert_eq!(at(&object, "status.job.progress"), 100);
    }
    env.check_trace("web").await;
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_death_at_any_point_is_survived_without_a_second_purchase_and_mostly_without_a_question() {
    let of_a_job = [
        "after-answer-recorded",
        "before-job-read",
        "after-job-read",
        "before-outcome-recorded",
        "after-outcome-recorded",
    ];
    let mut rows: Vec<(Life, &'static str)> = Vec::new();
    // Nothing of a restore is read back.
    let of_restores = fail_point::ALL
        .into_iter()
        .filter(|point| !point.ends_with("-read-back"));
    for point in of_restores {
        let life = match point {
            "after-adoption-claim" => Life::Adopted,
            _ => Life::Approved,
        };
        rows.push((life, point));
    }
    rows.extend(of_a_job[1..].iter().map(|point| (Life::Progressing, *point)));
    rows.extend(["before-report", "after-report"].map(|point| (Life::Progressing, point)));
    rows.extend(of_a_job.map(|point| (Life::SuspendedInFlight, point)));
    rows.push((Life::SuspendedInFlight, "after-answer"));
    for point in [
        "before-claim",
        "before-report",
        "after-report",
        "after-second-look",
        "after-answer",
    ] {
        rows.push((Life::Previewed, point));
    }
    for point in [
        "before-claim",
        "after-second-look",
        "after-answer",
        "after-answer-recorded",
    ] {
        rows.push((Life::SuspendedWhileDown, point));
        rows.push((Life::RecreatedWhileDown, point));
    }
    each_row(
        rows.into_iter()
            .map(|(life, point)| (format!("{life:?} {point}"), dies(life, point))),
    )
    .await;
}

/// Dies at `first`, again at `second` while that is put right, and is then left alone.
async fn dies_twice(first: &'static str, second: &'static str) {
    let env = TestEnv::new("crash-twice").await;
    env.create(env.approved("web")).await;
    let process = env.armed(&QUICK, first);
    died_before_more(&env, Route::RestoreToPayg, Route::Job, process, first).await;
    died_at(env.armed(&QUICK, second), second).await;
    let _third = env.operator(&QUICK);
    let object = at_rest(&env, "web").await;
    assert_eq!(reason(&object), "Restored");
    assert_eq!(env.executed(), 1);
    assert_eq!(env.posts(), 1);
    assert_eq!(env.records().await.len(), 1);
    env.check_trace("web").await;
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_death_during_recovery_is_survived_too() {
    let rows = [
        ("before-claim", "after-answer"),
        ("after-answer", "before-outcome-recorded"),
        ("after-answer", "after-outcome-recorded"),
        ("after-answer", "before-report"),
        ("after-answer", "after-report"),
        ("after-answer-recorded", "before-job-read"),
        ("after-answer-recorded", "before-outcome-recorded"),
        ("after-job-read", "before-outcome-recorded"),
        ("before-outcome-recorded", "after-outcome-recorded"),
        ("after-outcome-recorded", "before-report"),
    ];
    each_row(rows.map(|(first, second)| (format!("{first}, {second}"), dies_twice(first, second)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_while_the_paid_call_is_at_the_provider_is_found_by_the_token_if_it_was_executed() {
    let held = |moment: Stage| async move {
        let env = TestEnv::new("kill").await;
        let gate = env.sim.hold(Route::RestoreToPayg, moment);
        env.create(env.approved("web")).await;
        let mut first = env.operator(&QUICK);
        assert!(gate.held(PATIENCE).await);
        first.kill_9();
        gate.release();
        let _second = env.operator(&QUICK);
        assert_eq!(reason(&at_rest(&env, "web").await), "Restored");
        let records = env.records().await;
        assert_eq!(at(&records[0], "status.evidence"), "VmFound");
        assert_eq!((records.len(), env.posts(), env.executed()), (1, 1, 1));
        env.check_trace("web").await;
        env.check_invariants().await;
    };
    let swallowed = async {
        let env = TestEnv::new("kill").await;
        env.sim.inject(
            Fault::on(Route::RestoreToPayg)
                .acted(false)
                .answer(Answer::silence()),
        );
        env.create(env.approved("web")).await;
        let mut first = env.operator(&QUICK);
        let arrived = |world: &hostup_sim::World| world.count(Route::RestoreToPayg) == 1;
        assert!(env.sim.until(PATIENCE, arrived).await);
        first.kill_9();
        let _second = env.operator(&QUICK);
        assert_eq!(reason(&at_rest(&env, "web").await), "OutcomeUnknown");
        assert_eq!((env.posts(), env.executed()), (1, 0));
        assert!(env.sim.unfired().is_empty());
        env.check_trace("web").await;
        env.check_invariants().await;
    };
    let rows = [Stage::BeforeAct, Stage::AfterAct].map(|moment| (format!("{moment:?}"), held(moment)));
    futures::future::join(each_row(rows), each_row([("swallowed".to_owned(), swallowed)])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sigterm_lets_the_paid_call_in_flight_finish_and_be_recorded() {
    let env = TestEnv::new("term").await;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    let gate = env.sim.hold(Route::RestoreToPayg, Stage::AfterAct);
    env.create(env.approved("web")).await;
    let first = env.operator(&QUICK);
    assert!(gate.held(PATIENCE).await);
    first.signal("TERM");
    first.wait_for_line("waiting for paid calls in progress");
    assert!(!first.has_ended());
    assert!(env.is_open().await);
    gate.release();
    let (_first, status) = first.ended().await;
    assert_eq!(status.code(), Some(0));
    let records = env.records().await;
    assert_eq!(at(&records[0], "status.state"), "Accepted");
    env.sim.world(|world| world.advance(HOUR));
    let _second = env.operator(&QUICK);
    assert_eq!(reason(&at_rest(&env, "web").await), "Restored");
    assert_eq!(at(&env.records().await[0], "status.evidence"), "Job");
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_trace("web").await;
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_at_random_moments_never_buy_twice_and_ask_only_where_nothing_was_bought() {
    const OBJECTS: usize = 6;
    const KILLS: usize = 15;
    let env = TestEnv::new("random").await;
    let mut dice = Dice::new();
    let until = Instant::now() + Duration::from_secs(15);
    for kill in 0..KILLS {
        if kill % 2 == 0 && kill / 2 < OBJECTS {
            env.create(env.approved(&format!("web-{}", kill / 2))).await;
        }
        let mut operator = env.operator(&QUICK);
        // The random moment is the subject of this test.
        tokio::time::sleep(Duration::from_millis(100 + dice.below(1_800))).await;
        operator.kill_9();
        if Instant::now() > until && kill / 2 + 1 >= OBJECTS {
            break;
        }
    }
    let _last = env.operator(&QUICK);
    for n in 0..OBJECTS {
        let name = format!("web-{n}");
        let object = at_rest(&env, &name).await;
        let records = env.records().await;
        let of_object: Vec<_> = records
            .iter()
            .filter(|record| at(record, "spec.subject.name") == name.as_str())
            .collect();
        let bought = env
            .sim
            .purchases()
            .iter()
            .filter(|bought| {
                of_object
                    .iter()
                    .any(|record| at(record, "spec.expectedVmName").as_str() == bought.name_sent.as_deref())
            })
            .count();
        match reason(&object) {
            "Restored" => assert_eq!(bought, 1, "{name}"),
            "OutcomeUnknown" => {
                assert_eq!(bought, 0, "{name}");
                assert_eq!(at(of_object[0], "status.evidence"), "NoneFound");
            }
            other => panic!("{name} rests at {other}"),
        }
        env.check_trace(&name).await;
    }
    env.check_invariants().await;
}
