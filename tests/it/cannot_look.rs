//! An outcome that nobody can look for, and a job that cannot be read.

use std::time::Duration;

use hostup_operator::domain::values::ids::SubjectKind;
use hostup_sim::{Answer, Fault, Outcome, RestoreBehaviour, Route, World};
use serde_json::{Value, json};

use crate::support::clocks::Clocks;
use crate::support::{HOUR, KEY, Operator, TestEnv, at, each_row, ready, reason};

/// The settle time of the tests and the time in which HostUp may stay unreadable, and a bit, in seconds.
const LONG_ENOUGH: u32 = 1_000;

/// Time passes until the object is asked about. A process tries for a quarter of an hour before it asks, from its first try
/// on, and nothing tells when that is.
async fn comes_to_be_asked(env: &TestEnv, clocks: &Clocks, kind: SubjectKind) -> Value {
    for n in 1..20 {
        clocks.ahead([n * LONG_ENOUGH; 3]);
        let asked = async {
            match kind {
                SubjectKind::VpsBackupRestore => env.wait_for_reason("web", "OutcomeUnknown").await,
                SubjectKind::VpsResourceConfig => env.config_comes_to("web", "OutcomeUnknown").await,
            }
        };
        if let Ok(object) = tokio::time::timeout(Duration::from_secs(3), asked).await {
            return object;
        }
    }
    panic!("nobody is asked")
}

fn always(route: Route, answer: Answer) -> Fault {
    Fault::on(route).acted(false).always().answer(answer)
}

async fn only_record(env: &TestEnv) -> String {
    env.records().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Why HostUp tells nothing of what was ordered.
#[derive(Debug, Clone, Copy)]
enum Blind {
    ListFails,
    SourceFails,
    ListIsIncomplete,
    ListSaysThatItFailed,
    ListDoesNotSayThatItEnds,
    ListLacksTheSource,
    NoKey,
}

impl Blind {
    const ALL: [Self; 7] = [
        Self::ListFails,
        Self::SourceFails,
        Self::ListIsIncomplete,
        Self::ListSaysThatItFailed,
        Self::ListDoesNotSayThatItEnds,
        Self::ListLacksTheSource,
        Self::NoKey,
    ];

    async fn strike(self, env: &TestEnv) {
        let lists = |page: Value| {
            let page = Answer::json(200, page.to_string());
            env.sim.inject(always(Route::ListVps, page));
        };
        match self {
            Self::ListFails => env.sim.inject(always(Route::ListVps, Answer::html(502))),
            Self::SourceFails => env.sim.inject(always(Route::GetVps, Answer::html(502))),
            Self::ListIsIncomplete => lists(json!({"data": [{"name": "x"}], "hasMore": false})),
            Self::ListSaysThatItFailed => lists(json!({"success": false, "data": [], "hasMore": false})),
            Self::ListDoesNotSayThatItEnds => lists(json!({"data": []})),
            Self::ListLacksTheSource => lists(json!({"data": [], "hasMore": false})),
            Self::NoKey => {
                env.delete_secret().await;
                // Else the key that the operator still knows would do for a while.
                env.sim.world(|world| world.revoke_key(KEY));
            }
        }
    }

    async fn relent(self, env: &TestEnv) {
        env.sim.clear_faults();
        if matches!(self, Self::NoKey) {
            env.sim.world(|world| world.reinstate_key(KEY));
            env.put_secret(KEY).await;
        }
    }
}

/// A restore whose answer was lost, and whose VM nobody can see.
async fn lost(blind: Blind) -> (TestEnv, Clocks, Operator) {
    let env = TestEnv::new("blind").await;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            vm_visible_after: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    let answer = Fault::on(Route::RestoreToPayg).acted(true);
    env.sim.inject(answer.answer(Answer::reset()));
    let gate = env.sim.hold(Route::RestoreToPayg, hostup_sim::Stage::AfterAct);
    let clocks = Clocks::right();
    env.create(env.approved("web")).await;
    let operator = env.operator_with(&[], &[clocks.env()]);
    assert!(gate.held(crate::support::PATIENCE).await);
    blind.strike(&env).await;
    gate.release();
    let unknown = |record: &Value| at(record, "status.state") == "Unknown";
    env.wait_for_record(&only_record(&env).await, "Unknown", unknown)
        .await;
    (env, clocks, operator)
}

async fn is_asked(blind: Blind) {
    let (env, clocks, _operator) = lost(blind).await;
    let object = comes_to_be_asked(&env, &clocks, SubjectKind::VpsBackupRestore).await;
    let message = ready(&object)["message"].as_str().unwrap();
    for part in ["cannot be checked", "NotExecuted", "Adopt", "Abandon"] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    let record = &env.records().await[0];
    assert_eq!(at(record, "status.evidence"), "CannotLook");
    // Whatever was asked, evidence ends it.
    env.sim.world(|world| world.advance(HOUR));
    blind.relent(&env).await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outcome_that_nobody_can_look_for_is_a_question_too() {
    each_row(Blind::ALL.map(|blind| (format!("{blind:?}"), is_asked(blind)))).await;
}

async fn is_answered(blind: Blind) {
    let (env, clocks, _operator) = lost(blind).await;
    let record = only_record(&env).await;
    comes_to_be_asked(&env, &clocks, SubjectKind::VpsBackupRestore).await;
    env.resolve(&record, json!({"answer": "NotExecuted"}))
        .await
        .unwrap();
    let ended = |record: &Value| at(record, "status.state") == "NotExecuted";
    env.wait_for_record(&record, "the answer", ended).await;
    // The answer was wrong: the next attempt looks first, and finds the VM.
    env.sim.world(|world| world.advance(HOUR));
    blind.relent(&env).await;
    env.wait_for_reason("web", "AlreadyExecuted").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_person_is_believed_where_hostup_tells_nothing_and_nothing_is_bought_twice() {
    each_row(Blind::ALL.map(|blind| (format!("{blind:?}"), is_answered(blind)))).await;
}

#[tokio::test]
async fn nothing_is_bought_while_the_list_of_vpss_lacks_the_source_that_the_key_reads() {
    let env = TestEnv::new("lacking").await;
    Blind::ListLacksTheSource.strike(&env).await;
    let _operator = env.operator(&["--gate-interval=1s"]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "ProviderUnavailable").await;
    let source = at(&object, "spec.source.vpsId").as_str().unwrap();
    let says = format!("the list of VPSs does not show {source}, which the key reads");
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains(&says), "{message}");
    assert_eq!(env.posts(), 0);
    Blind::ListLacksTheSource.relent(&env).await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failed_job_is_known_to_have_left_no_vm_only_by_a_list_that_shows_the_source() {
    let env = TestEnv::new("lefthidden").await;
    env.sim
        .world(|world| world.restore_next(RestoreBehaviour::ending(Outcome::FailsWithVm)));
    let gate = env.sim.hold(Route::RestoreToPayg, hostup_sim::Stage::AfterAct);
    let _operator = env.operator(&["--settle-time=1s"]);
    env.create(env.approved("web")).await;
    assert!(gate.held(crate::support::PATIENCE).await);
    Blind::ListLacksTheSource.strike(&env).await;
    gate.release();
    let before = env.sim.count(Route::ListVps);
    let looked = move |world: &World| world.count(Route::ListVps) >= before + 3;
    assert!(env.sim.until(crate::support::PATIENCE, looked).await);
    let record = &env.records().await[0];
    assert_eq!(at(record, "status.state"), "Accepted", "{record}");
    Blind::ListLacksTheSource.relent(&env).await;
    env.wait_for_reason("web", "VpsLeftBilling").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn options_that_hostup_took_and_never_shows_are_asked_about_at_the_deadline() {
    let env = TestEnv::new("unshown").await;
    let clocks = Clocks::right();
    let gate = env.sim.hold(Route::ConfigCommit, hostup_sim::Stage::AfterAct);
    env.create(env.approved_config("web", json!({"bandwidthGb": 4096})))
        .await;
    let _operator = env.operator_with(&["--job-deadline=10m"], &[clocks.env()]);
    assert!(gate.held(crate::support::PATIENCE).await);
    env.sim.inject(always(Route::UpgradeOptions, Answer::html(502)));
    gate.release();
    let record = only_record(&env).await;
    let taken = |record: &Value| at(record, "status.state") == "Accepted";
    env.wait_for_record(&record, "Accepted", taken).await;
    comes_to_be_asked(&env, &clocks, SubjectKind::VpsResourceConfig).await;
    let asked = &env.records().await[0];
    assert_eq!(at(asked, "status.evidence"), "CannotLook");
    env.sim.clear_faults();
    env.config_comes_to("web", "InSync").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_that_cannot_be_read_withdraws_no_question_and_hides_no_vm() {
    let env = TestEnv::new("jobless").await;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            vm_visible_after: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    env.sim
        .inject(always(Route::Job, Answer::problem(404, "not_found")));
    let _operator = env.operator(&["--settle-time=1s"]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "OutcomeUnknown").await;
    let record = only_record(&env).await;
    let asked = env.records().await[0]["status"].clone();
    assert_eq!(asked["evidence"], "NoneFound");
    env.sim.clear_faults();
    env.sim.inject(always(Route::Job, Answer::html(503)));
    for _ in 0..3 {
        env.polled_again().await;
    }
    assert_eq!(env.records().await[0]["status"], asked);
    assert_eq!(reason(&env.restore("web").await), "OutcomeUnknown");
    // The person's answer is still open, and so is the list.
    env.sim.world(|world| world.advance(HOUR));
    env.wait_for_reason("web", "Restored").await;
    let found = |record: &Value| at(record, "status.evidence") == "VmFound";
    env.wait_for_record(&record, "the VM", found).await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
}
