//! HostUp is away while restores wait.

use std::time::{Duration, Instant};

use hostup_sim::{Answer, Fault, Route};

use super::{JOB, KEYS, SETTLE, Site};
use crate::contender::{Contender, Process};
use crate::error::Result;
use crate::measure::provider;
use crate::plan::Plan;
use crate::restores::{self, Done};
use crate::stage::Stage;
use crate::table::{Cell, Pair, Row, Target, Unit};

/// What came of it.
pub struct Figures {
    calls: usize,
    first: Cell,
    all: Cell,
}

/// 503 on everything, then a provider that is well again.
pub async fn run(who: Contender, site: &Site, plan: &Plan) -> Result<Figures> {
    let (count, within) = (plan.waiting, plan.patience.outage);
    let stage = Stage::new(KEYS, JOB, None).await?;
    let mut contender = Process::start(who, site, &stage, "outage", 0).await?;
    tokio::time::sleep(SETTLE).await;
    let mut done = Done::watch(&stage);
    let away = Answer::problem(503, "service_unavailable");
    stage
        .sim
        .inject(Fault::on(Route::Any).always().acted(false).answer(away));
    let began = Instant::now();
    let made = restores::make(&stage, restores::in_turn(&stage, count)).await?;
    tokio::time::sleep(plan.away.saturating_sub(began.elapsed())).await;
    stage.sim.clear_faults();
    let back = Instant::now();
    done.wait(count, within, &format!("after an outage, {who}"), &mut contender)
        .await?;
    let unfinished = |done: usize| Cell::Unfinished {
        after: Unit::Seconds.of(within),
        done,
        of: count,
    };
    let since = |at: Instant| Cell::Value(Unit::Seconds.of(at.saturating_duration_since(back)));
    let first = restores::posts(&stage.sim).into_iter().map(|post| post.at).min();
    let last = done.last(made.iter().map(|made| &made.name));
    let figures = Figures {
        calls: provider::between(&stage.sim, began, back),
        first: first.map_or(unfinished(0), since),
        all: last.map_or(unfinished(done.len()), since),
    };
    drop(contender);
    stage.end().await;
    Ok(figures)
}

/// The table's rows.
pub fn rows(plan: &Plan, pair: &Pair<Figures>) -> Vec<Row> {
    let Plan { away, waiting, .. } = plan;
    let away: Duration = *away;
    vec![
        pair.row(
            format!(
                "**HostUp away for {} s, {waiting} restores wait over {KEYS} keys**: calls into the outage, a key",
                away.as_secs()
            ),
            Unit::Count,
            |figures| Cell::Value(figures.calls as f64 / KEYS as f64),
            Target::AtMost(12.0),
        ),
        pair.row("first POST after it is back", Unit::Seconds, |figures| figures.first, Target::AtMost(3.0)),
        pair.row("all done after it is back", Unit::Seconds, |figures| figures.all, Target::AtMost(15.0)),
    ]
}
