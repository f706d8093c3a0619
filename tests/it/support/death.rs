//! Operators that die where the test wants it.

use hostup_sim::{Route, Stage};

use super::{Operator, PATIENCE, TestEnv, at};

/// An unanswered claim is given up for lost sooner than elsewhere.
pub const QUICK: [&str; 2] = ["--paid-timeout=4s", "--settle-time=1s"];

impl TestEnv {
    /// An operator that dies at a fail point.
    pub fn armed(&self, args: &[&str], point: &str) -> Operator {
        self.operator_with(args, &[("HOSTUP_FAIL_POINT", point)])
    }

    /// The last record stands in etcd without an outcome: its call may have been sent.
    pub async fn is_open(&self) -> bool {
        let records = self.records().await;
        records
            .last()
            .is_some_and(|record| matches!(at(record, "status.state").as_str(), None | Some("Sending")))
    }
}

/// Waits until the process has died at `point`; one that never comes there fails the test.
pub async fn died_at(operator: Operator, point: &str) {
    let (operator, status) = operator.ended().await;
    assert!(!status.success());
    let line = format!("fail point reached: {point}");
    assert!(
        operator.log().contains(&line),
        "it ended, but not at {point}:\n{}",
        operator.log().join("\n")
    );
}

/// As [`died_at`], of the process that makes the paid call `paid`, which is followed by reads of `followed`. A process
/// is slow to die, and must leave what comes after the point to the next one: from the paid call on HostUp holds the
/// read that this begins with.
pub async fn died_before_more(env: &TestEnv, paid: Route, followed: Route, operator: Operator, point: &str) {
    let next = match point {
        "after-answer-recorded" => followed,
        "after-outcome-recorded" => Route::GetVps,
        _ => return died_at(operator, point).await,
    };
    let call = env.sim.hold(paid, Stage::AfterAct);
    assert!(call.held(PATIENCE).await);
    let _closed = env.sim.hold(next, Stage::BeforeAct);
    call.release();
    died_at(operator, point).await;
}

/// Numbers that look random and are the same for the same seed (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// The seed is `HOSTUP_SEED`, or the time; it is printed.
    pub fn new() -> Self {
        #[allow(clippy::disallowed_methods)]
        let given = std::env::var("HOSTUP_SEED").ok();
        let seed = given.map_or_else(
            || jiff::Timestamp::now().as_nanosecond() as u64,
            |seed| seed.parse().unwrap(),
        );
        eprintln!("HOSTUP_SEED={seed}");
        Self(seed)
    }

    /// From 0 up to `end`, without it.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
