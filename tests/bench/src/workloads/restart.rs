//! A restart with many finished restores, and with many finished records whose restores are gone.

use std::time::{Duration, Instant};

use hostup_sim::Route;
use jiff::Timestamp;
use tokio::task::block_in_place;

use super::{KEYS, Site};
use crate::contender::{Contender, Process};
use crate::error::Result;
use crate::measure::{process, requests};
use crate::plan::Plan;
use crate::seed::Seed;
use crate::stage::Stage;
use crate::table::{Cell, Pair, Row, Target, Unit};

/// The job of the restore that all seeds are copies of.
const SHORT: Duration = Duration::from_millis(200);
/// CPU time within a second that a process at rest may take.
const REST: Duration = Duration::from_millis(20);
/// Seconds at rest, one after the other, that make it quiet.
const AT_REST: u32 = 3;

struct Figures {
    ready: Duration,
    quiet: Option<Duration>,
    within: Duration,
    calls: usize,
    writes: usize,
    memory: f64,
}

/// The rows of all restarts.
pub async fn run(site: &Site, plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let stage = Stage::new(KEYS, SHORT, None).await?;
    let seed = Seed::grow(site, &stage).await?;
    let mut there = 0;
    for count in plan.finished.iter().copied() {
        seed.restores(&stage, there..count).await?;
        there = count;
        let what = format!("{count} finished restores");
        let figures = restart(site, &stage, &what, plan.patience.restart).await?;
        let most = match count {
            0..=1_000 => 16.0,
            1_001..=3_000 => 20.0,
            _ => 45.0,
        };
        rows.extend(rows_of(&what, most, figures));
    }
    stage.end().await;
    if plan.records > 0 {
        let stage = Stage::new(KEYS, SHORT, None).await?;
        let seed = Seed::grow(site, &stage).await?;
        seed.records(&stage, plan.records).await?;
        let what = format!("{} finished records without restores", plan.records);
        let figures = restart(site, &stage, &what, plan.patience.restart).await?;
        rows.extend(rows_of(&what, 90.0, figures));
        stage.end().await;
    }
    Ok(rows)
}

async fn restart(site: &Site, stage: &Stage, what: &str, within: Duration) -> Result<Figures> {
    let calls = stage.sim.count(Route::Any);
    let from = Timestamp::now();
    let began = Instant::now();
    let log = format!("restart-{}", what.replace(' ', "-"));
    let mut operator = Process::start(Contender::Operator, site, stage, &log, 0).await?;
    let quiet = quiet(&mut operator, within)
        .await?
        .map(|at| at.saturating_duration_since(began));
    let figures = Figures {
        ready: operator.ready_after,
        quiet,
        within,
        calls: stage.sim.count(Route::Any) - calls,
        writes: block_in_place(|| requests::since(stage, from))?.writes(),
        memory: process::memory(operator.pid())?,
    };
    eprintln!(
        "restart with {what}: ready after {:.1} s",
        figures.ready.as_secs_f64()
    );
    operator.stop().await?;
    Ok(figures)
}

/// The begin of the first few seconds in a row in which it did next to nothing; none if there are none in time.
async fn quiet(operator: &mut Process, within: Duration) -> Result<Option<Instant>> {
    let began = Instant::now();
    let (mut since, mut seconds) = (Instant::now(), 0);
    let mut before = process::cpu(operator.pid())?;
    while began.elapsed() < within {
        tokio::time::sleep(Duration::from_secs(1)).await;
        operator.must_run()?;
        let now = process::cpu(operator.pid())?;
        if now.saturating_sub(before) <= REST {
            seconds += 1;
        } else {
            (since, seconds) = (Instant::now(), 0);
        }
        before = now;
        if seconds == AT_REST {
            return Ok(Some(since));
        }
    }
    Ok(None)
}

fn rows_of(what: &str, most: f64, figures: Figures) -> Vec<Row> {
    let pair = Pair {
        bare: None,
        operator: Some(figures),
    };
    vec![
        pair.row(
            format!("**restart with {what}**: ready after"),
            Unit::Seconds,
            |figures| Cell::Value(Unit::Seconds.of(figures.ready)),
            Target::AtMost(10.0),
        ),
        pair.row(
            "at rest after",
            Unit::Seconds,
            |figures| match figures.quiet {
                Some(after) => Cell::Value(Unit::Seconds.of(after)),
                None => Cell::Unfinished {
                    after: Unit::Seconds.of(figures.within),
                    done: 0,
                    of: 1,
                },
            },
            None,
        ),
        pair.row(
            "calls to HostUp",
            Unit::Count,
            |figures| Cell::Value(figures.calls as f64),
            Target::AtMost(0.0),
        ),
        pair.row(
            "writes",
            Unit::Count,
            |figures| Cell::Value(figures.writes as f64),
            Target::AtMost(0.0),
        ),
        pair.row(
            "memory at rest",
            Unit::Megabytes,
            |figures| Cell::Value(figures.memory),
            Target::AtMost(most),
        ),
    ]
}
