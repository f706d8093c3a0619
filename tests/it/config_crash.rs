//! The process dies while options are ordered, at every point between two effects and at random.

use std::time::{Duration, Instant};

use hostup_sim::{Answer, Apply, ConfigBehaviour, Fault, Route, Stage, World};
use serde_json::{Value, json};

use crate::support::death::{Dice, QUICK, died_at, died_before_more};
use crate::support::{Operator, PATIENCE, TestEnv, at, each_row, reason};

/// Every point of a life of options, in its order.
const POINTS: [&str; 12] = [
    "before-claim",
    "after-claim",
    "after-second-look",
    "before-send",
    "after-answer",
    "after-answer-recorded",
    "before-read-back",
    "after-read-back",
    "before-outcome-recorded",
    "after-outcome-recorded",
    "before-report",
    "after-report",
];

/// What the life is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Approved from the start, in force at once.
    Approved,
    /// A preview that is approved later.
    Previewed,
    /// In force once an invoice is paid.
    AwaitingPayment,
    /// In force, drifted, and corrected.
    Correcting,
    /// Another size of a pay-as-you-go VM.
    Resizing,
    /// The estimate of the older route.
    Estimating,
    /// The order of the older route.
    Upgrading,
}

impl Life {
    fn is_legacy(self) -> bool {
        matches!(self, Self::Estimating | Self::Upgrading)
    }

    /// The route that pays on the present side.
    fn paid(self) -> Route {
        match self {
            Self::Resizing => Route::Resize,
            _ => Route::ConfigCommit,
        }
    }

    fn args(self) -> Vec<&'static str> {
        let mut args = QUICK.to_vec();
        if self.is_legacy() {
            args.push("--enable-legacy-upgrade");
        }
        args
    }
}

fn approved(env: &TestEnv, name: &str) -> Value {
    env.approved_config(name, json!({"bandwidthGb": 4096}))
}

fn pay(env: &TestEnv) {
    env.sim.world(|world| {
        let open = world.invoices()[0].id.clone();
        world.pay_invoice(&open);
    });
}

async fn approve(env: &TestEnv) {
    let shown = env.config_comes_to("web", "AwaitingApproval").await;
    let quote = at(&shown, "status.quote.id");
    env.patch_config("web", json!({"approval": {"quoteId": quote}}))
        .await;
}

async fn at_rest(env: &TestEnv, name: &str) -> Value {
    let ends = ["InSync", "OutcomeUnknown"];
    env.wait_config(name, "an end", |object| ends.contains(&reason(object)))
        .await
}

/// Leads the life to the point, and to death.
async fn to_death(env: &TestEnv, life: Life, point: &'static str) {
    let args = life.args();
    match life {
        Life::Approved => {
            env.create(approved(env, "web")).await;
            died_at(env.armed(&args, point), point).await;
        }
        Life::Resizing => {
            env.is_payg(&env.vps);
            env.create(env.approved_resize("web")).await;
            died_at(env.armed(&args, point), point).await;
        }
        Life::Previewed => {
            let preview = env.config_preview("web", json!({"bandwidthGb": 4096}));
            env.create(preview).await;
            let first = env.armed(&args, point);
            if !point.ends_with("-report") {
                approve(env).await;
            }
            died_at(first, point).await;
        }
        Life::AwaitingPayment => {
            env.sim
                .world(|world| world.config = ConfigBehaviour::applied(Apply::WhenPaid));
            env.create(approved(env, "web")).await;
            let first = env.armed(&args, point);
            if point.ends_with("-outcome-recorded") {
                env.config_comes_to("web", "AwaitingPayment").await;
                pay(env);
            }
            died_at(first, point).await;
        }
        Life::Correcting => {
            let mut object = approved(env, "web");
            object["spec"]["driftPolicy"] = json!("Correct");
            env.create(object).await;
            let mut earlier = env.operator(&args);
            env.config_comes_to("web", "InSync").await;
            earlier.kill_9();
            env.sim
                .world(|world| world.set_option(&env.vps, "bandwidthGb", 2048));
            died_at(env.armed(&args, point), point).await;
        }
        Life::Estimating => {
            env.create(env.legacy_preview("web")).await;
            died_at(env.armed(&args, point), point).await;
        }
        Life::Upgrading => {
            env.create(env.legacy_preview("web")).await;
            let mut earlier = env.operator(&args);
            approve(env).await;
            // The answer to the estimate is recorded, so that the next process claims only the order.
            earlier.kill_9();
            died_at(env.armed(&args, point), point).await;
        }
    }
}

/// Dies, and lives again: at most one commit, the right end, and no needless question.
async fn dies(life: Life, point: &'static str) {
    let env = TestEnv::new("options-crash").await;
    to_death(&env, life, point).await;
    let earlier = usize::from(life == Life::Correcting);
    let (lost, answered) = match point {
        "before-claim" => (false, false),
        // What is seen before the claim is told: the price, or the drift.
        "before-report" | "after-report" if matches!(life, Life::Previewed | Life::Correcting) => {
            (false, false)
        }
        "after-claim" | "after-second-look" | "before-send" => (true, false),
        _ => (false, true),
    };
    let costs = life != Life::Estimating;
    assert_eq!(env.is_open().await, lost || point == "after-answer");
    assert_eq!(env.executed(), earlier + usize::from(answered && costs));

    let _second = env.operator(&life.args());
    if life == Life::Previewed && point.ends_with("-report") {
        approve(&env).await;
    }
    let nobody_knows = lost || life.is_legacy() && point == "after-answer";
    if life == Life::AwaitingPayment && !lost && !point.ends_with("-outcome-recorded") {
        // Of an invoice that was told in a lost answer nobody knows.
        let shown = match point {
            "after-answer" => "OutcomeUnknown",
            _ => "AwaitingPayment",
        };
        env.config_comes_to("web", shown).await;
        pay(&env);
    }
    let wanted = match life {
        _ if nobody_knows => "OutcomeUnknown",
        Life::Estimating => "AwaitingApproval",
        _ => "InSync",
    };
    let before = earlier + usize::from(life == Life::Upgrading);
    // What is shown is this attempt's end, and not that of the one before.
    let this_attempt = |object: &Value| {
        reason(object) == wanted && *at(object, "status.operation.attempt") == json!(before + 1)
    };
    env.wait_config("web", wanted, this_attempt).await;
    let bought = usize::from(!lost && costs);
    assert_eq!(env.executed(), earlier + bought);
    assert_eq!(env.sim.count(life.paid()), {
        let by_this_route = if life.is_legacy() { 0 } else { bought };
        earlier + by_this_route
    });
    let records = env.records().await;
    assert_eq!(records.len(), before + 1, "{records:?}");
    let record = records.last().unwrap();
    let (state, evidence) = match wanted {
        "OutcomeUnknown" => ("Unknown", "NoneFound"),
        _ if life.is_legacy() => ("Succeeded", "Answered"),
        _ => ("Succeeded", "ReadBack"),
    };
    assert_eq!(at(record, "status.state"), state);
    assert_eq!(at(record, "status.evidence"), evidence);
    if life.is_legacy() {
        assert!(env.sim.count(Route::LegacyEstimate) <= 1);
        assert_eq!(
            env.sim.count(Route::LegacyUpgrade),
            usize::from(life == Life::Upgrading && !lost)
        );
    }
    let asks = life == Life::AwaitingPayment && point == "after-answer";
    if !nobody_knows && !asks {
        let told = env.events_of("web").await;
        let questions = ["OutcomeUnknown", "NotConverged", "Rejected", "AccountMismatch"];
        assert!(
            !told.iter().any(|reason| questions.contains(&reason.as_str())),
            "a person was asked: {told:?}"
        );
    }
    env.check_invariants().await;
}

async fn each_death(rows: impl IntoIterator<Item = (Life, &'static str)>) {
    each_row(
        rows.into_iter()
            .map(|(life, point)| (format!("{life:?} {point}"), dies(life, point))),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn options_are_committed_once_and_read_back_wherever_the_process_dies() {
    let mut rows: Vec<_> = POINTS.map(|point| (Life::Approved, point)).to_vec();
    for point in ["before-report", "after-report", "before-claim", "after-answer"] {
        rows.push((Life::Previewed, point));
    }
    each_death(rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_that_awaits_payment_survives_every_death_and_is_not_sent_again() {
    each_death(POINTS.map(|point| (Life::AwaitingPayment, point))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vm_is_resized_once_and_read_back_wherever_the_process_dies() {
    each_death(POINTS.map(|point| (Life::Resizing, point))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn drift_is_corrected_once_wherever_the_process_dies() {
    each_death(POINTS.map(|point| (Life::Correcting, point))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn estimate_and_order_of_the_older_route_are_sent_once_each_wherever_the_process_dies() {
    // Its answer is the outcome: nothing is read back.
    let points = POINTS
        .into_iter()
        .filter(|point| !point.ends_with("-read-back") && !point.ends_with("-outcome-recorded"));
    let lives = [Life::Estimating, Life::Upgrading];
    each_death(points.flat_map(|point| lives.map(|life| (life, point)))).await;
}

/// Dies at `first`, again at `second` while that is put right, and is then left alone.
async fn dies_twice(first: &'static str, second: &'static str) {
    let env = TestEnv::new("options-crash-twice").await;
    env.create(approved(&env, "web")).await;
    let process = env.armed(&QUICK, first);
    died_before_more(&env, Route::ConfigCommit, Route::UpgradeOptions, process, first).await;
    died_at(env.armed(&QUICK, second), second).await;
    let _third = env.operator(&QUICK);
    env.config_comes_to("web", "InSync").await;
    let records = env.records().await;
    assert_eq!((records.len(), env.posts(), env.executed()), (1, 1, 1));
    assert_eq!(at(&records[0], "status.evidence"), "ReadBack");
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_death_while_options_are_recovered_is_survived_too() {
    let rows = [
        ("before-claim", "after-answer"),
        ("after-answer", "before-read-back"),
        ("after-answer", "before-outcome-recorded"),
        ("after-answer-recorded", "after-read-back"),
        ("after-answer-recorded", "after-outcome-recorded"),
        ("before-outcome-recorded", "before-report"),
        ("after-outcome-recorded", "after-report"),
    ];
    each_row(rows.map(|(first, second)| (format!("{first}, {second}"), dies_twice(first, second)))).await;
}

/// Where the paid call is when the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    BeforeItActs,
    AfterItActed,
    Swallowed,
}

async fn killed_in_call(life: Life, held: Held) {
    let env = TestEnv::new("options-kill").await;
    let route = match life {
        Life::Upgrading => Route::LegacyUpgrade,
        _ => life.paid(),
    };
    let gate = match held {
        Held::BeforeItActs => Some(env.sim.hold(route, Stage::BeforeAct)),
        Held::AfterItActed => Some(env.sim.hold(route, Stage::AfterAct)),
        Held::Swallowed => {
            let fault = Fault::on(route).acted(false).answer(Answer::silence());
            env.sim.inject(fault);
            None
        }
    };
    let args = life.args();
    let mut first: Operator = env.operator(&args);
    if life == Life::Upgrading {
        env.create(env.legacy_preview("web")).await;
        approve(&env).await;
    } else if life == Life::Resizing {
        env.is_payg(&env.vps);
        env.create(env.approved_resize("web")).await;
    } else {
        env.create(approved(&env, "web")).await;
    }
    let arrived = move |world: &World| world.count(route) == 1;
    assert!(env.sim.until(PATIENCE, arrived).await);
    if let Some(gate) = &gate {
        assert!(gate.held(PATIENCE).await);
    }
    first.kill_9();
    drop(gate);
    let _second = env.operator(&args);
    let executed = usize::from(held != Held::Swallowed);
    let wanted = if life == Life::Upgrading || executed == 0 {
        "OutcomeUnknown"
    } else {
        "InSync"
    };
    env.config_comes_to("web", wanted).await;
    let executed_now = move |world: &World| world.purchases().len() == executed;
    assert!(env.sim.until(PATIENCE, executed_now).await);
    assert_eq!(env.sim.count(route), 1);
    let records = env.records().await;
    let evidence = if wanted == "InSync" {
        "ReadBack"
    } else {
        "NoneFound"
    };
    assert_eq!(at(records.last().unwrap(), "status.evidence"), evidence);
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_while_the_commit_is_at_the_provider_is_read_back_if_it_was_executed() {
    let rows = [Life::Approved, Life::Resizing, Life::Upgrading]
        .into_iter()
        .flat_map(|life| [Held::BeforeItActs, Held::AfterItActed, Held::Swallowed].map(|held| (life, held)));
    each_row(rows.map(|(life, held)| (format!("{life:?} {held:?}"), killed_in_call(life, held)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_at_random_moments_never_commit_twice_and_ask_only_where_nothing_was_bought() {
    const OBJECTS: usize = 6;
    const KILLS: usize = 15;
    let env = TestEnv::new("options-random").await;
    let mut dice = Dice::new();
    let until = Instant::now() + Duration::from_secs(12);
    for kill in 0..KILLS {
        if kill % 2 == 0 && kill / 2 < OBJECTS {
            let (name, vps) = (format!("web-{}", kill / 2), format!("{}_{}", env.vps, kill / 2));
            env.add_vps(&vps);
            let mut object = approved(&env, &name);
            object["spec"]["vpsId"] = json!(vps);
            env.create(object).await;
        }
        let mut operator = env.operator(&QUICK);
        // The random moment is the subject of this test.
        tokio::time::sleep(Duration::from_millis(100 + dice.below(1_200))).await;
        operator.kill_9();
        if Instant::now() > until && kill / 2 + 1 >= OBJECTS {
            break;
        }
    }
    let _last = env.operator(&QUICK);
    for n in 0..OBJECTS {
        let (name, vps) = (format!("web-{n}"), format!("{}_{n}", env.vps));
        let object = at_rest(&env, &name).await;
        let records = env.records_of_config(&name).await;
        assert_eq!(records.len(), 1, "{name}: {records:?}");
        let purchases = env.sim.purchases();
        let bought = purchases.iter().filter(|bought| bought.source_vps == vps).count();
        let (executed, evidence) = match reason(&object) {
            "InSync" => (1, "ReadBack"),
            _ => (0, "NoneFound"),
        };
        assert_eq!(bought, executed, "{name}");
        assert_eq!(at(&records[0], "status.evidence"), evidence, "{name}");
    }
    env.check_invariants().await;
}
