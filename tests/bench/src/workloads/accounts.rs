//! Two large accounts and a small one, under a limit for each key.

use std::time::{Duration, Instant};

use hostup_sim::RateLimit;

use super::{JOB, SETTLE, Site};
use crate::contender::{Contender, Process};
use crate::error::Result;
use crate::measure::provider::Served;
use crate::measure::{provider, statistics};
use crate::plan::Plan;
use crate::restores::{self, Done, Made};
use crate::stage::{Account, Stage};
use crate::table::{Cell, Pair, Row, Target, Unit};

/// Calls that HostUp allows each second, with one key.
const CALLS: u32 = 20;
const LIMIT: RateLimit = RateLimit {
    requests: CALLS,
    window: Duration::from_secs(1),
};

/// What came of it.
pub struct Figures {
    all: Cell,
    small: Cell,
    done: usize,
    served: Vec<Served>,
    objects: Vec<usize>,
}

/// The restores of all three at once, those of the small account last.
pub async fn run(who: Contender, site: &Site, plan: &Plan) -> Result<Figures> {
    let within = plan.patience.accounts;
    let stage = Stage::new(plan.accounts.len(), JOB, Some(LIMIT)).await?;
    let mut contender = Process::start(who, site, &stage, "accounts", CALLS).await?;
    tokio::time::sleep(SETTLE).await;
    let mut done = Done::watch(&stage);
    let wanted: Vec<(String, Account)> = stage
        .accounts
        .iter()
        .zip(plan.accounts)
        .enumerate()
        .flat_map(|(a, (account, count))| (0..count).map(move |n| (format!("r-{a}-{n:05}"), account.clone())))
        .collect();
    let count = wanted.len();
    let began = Instant::now();
    let made = restores::make(&stage, wanted).await?;
    done.wait(count, within, &format!("three accounts, {who}"), &mut contender)
        .await?;
    let small = stage.accounts.last().map(|account| account.id);
    let (small, large): (Vec<&Made>, Vec<&Made>) = made.iter().partition(|made| Some(made.account) == small);
    let begin_of_small = small.iter().map(|made| made.at).min().unwrap_or(began);
    let ended = |of: &[&Made], from: Instant| match done.last(of.iter().map(|made| &made.name)) {
        Some(last) => Cell::Value(Unit::Seconds.of(last.saturating_duration_since(from))),
        None => Cell::Unfinished {
            after: Unit::Seconds.of(within),
            done: of.iter().filter(|made| done.last([&made.name]).is_some()).count(),
            of: of.len(),
        },
    };
    let everything: Vec<&Made> = large.iter().chain(&small).copied().collect();
    let figures = Figures {
        all: ended(&everything, began),
        small: ended(&small, begin_of_small),
        done: done.len(),
        served: stage
            .accounts
            .iter()
            .map(|account| provider::served(&stage.sim, account.id))
            .collect(),
        objects: plan.accounts.to_vec(),
    };
    drop(contender);
    stage.end().await;
    Ok(figures)
}

impl Figures {
    /// The least time in which the limit lets so many calls through, and the last job ends.
    fn needed(&self) -> f64 {
        let most = self.served.iter().map(|served| served.calls).max().unwrap_or(0);
        most as f64 / f64::from(CALLS) + Unit::Seconds.of(JOB)
    }

    fn calls_a_restore(&self) -> Cell {
        let calls: usize = self
            .served
            .iter()
            .map(|served| served.calls + served.refused)
            .sum();
        match self.done {
            0 => Cell::Missing,
            done => Cell::Value(calls as f64 / done as f64),
        }
    }

    fn fairness(&self) -> f64 {
        let each = |(served, objects): (&Served, &usize)| served.calls as f64 / (*objects).max(1) as f64;
        let shares: Vec<f64> = self.served.iter().zip(&self.objects).map(each).collect();
        statistics::jain(&shares)
    }
}

/// The table's rows.
pub fn rows(plan: &Plan, pair: &Pair<Figures>) -> Vec<Row> {
    let counts = plan.accounts.map(|count| count.to_string()).join(" + ");
    let needed = pair
        .operator
        .as_ref()
        .map(|figures| Target::AtMost(figures.needed() * 1.1));
    vec![
        pair.row(
            format!("**three accounts, {counts} restores, {CALLS} calls a second a key**: all done after (1.1 x its calls and a job)"),
            Unit::Seconds,
            |figures| figures.all,
            needed,
        ),
        pair.row("the small account is done after", Unit::Seconds, |figures| figures.small, Target::AtMost(9.0)),
        pair.row("HostUp calls a restore, refused ones included", Unit::Count, Figures::calls_a_restore, None),
        pair.row(
            "fairness over the accounts",
            Unit::Coefficient,
            |figures| Cell::Value(figures.fairness()),
            Target::AtLeast(0.98),
        ),
        pair.row(
            "calls inside a Retry-After",
            Unit::Count,
            |figures| Cell::Value(figures.served.iter().map(|served| served.too_early).sum::<usize>() as f64),
            Target::AtMost(0.0),
        ),
    ]
}
