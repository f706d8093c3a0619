//! One restore after the other on one key: how long each waits for its POST.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{JOB, SETTLE, Site};
use crate::contender::{Contender, Process};
use crate::error::{Error, Result};
use crate::measure::statistics;
use crate::plan::Plan;
use crate::restores::{self, Made};
use crate::stage::Stage;
use crate::table::{Cell, Pair, Row, Target, Unit};

const BETWEEN: Duration = Duration::from_millis(300);

/// What came of it.
pub struct Figures {
    of: usize,
    within: Duration,
    /// From create to POST, of those that were sent.
    waits: Vec<Duration>,
}

/// So many restores, one every 300 ms.
pub async fn run(who: Contender, site: &Site, plan: &Plan) -> Result<Figures> {
    let (count, within) = (plan.stream, plan.patience.stream);
    let run = format!("one every {} ms, {who}", BETWEEN.as_millis());
    let stage = Stage::new(1, JOB, None).await?;
    let account = stage
        .accounts
        .first()
        .cloned()
        .ok_or_else(|| Error::new("the stage", "has no account"))?;
    let mut contender = Process::start(who, site, &stage, "stream", 0).await?;
    tokio::time::sleep(SETTLE).await;
    let mut made: Vec<Made> = Vec::new();
    let mut beat = tokio::time::interval(BETWEEN);
    for n in 0..count {
        beat.tick().await;
        made.push(restores::make_one(&stage, format!("r-{n:05}"), account.clone()).await?);
    }
    stage
        .sim
        .until(within, |world| world.purchases().len() >= count)
        .await;
    contender.must_run()?;
    let sent: HashMap<String, Instant> = restores::posts(&stage.sim)
        .into_iter()
        .map(|post| (post.restore, post.at))
        .collect();
    let waits: Vec<Duration> = made
        .iter()
        .filter_map(|made| Some(sent.get(&made.name)?.saturating_duration_since(made.at)))
        .collect();
    let mut slowest: Vec<(Duration, &str)> = made
        .iter()
        .filter_map(|made| {
            Some((
                sent.get(&made.name)?.saturating_duration_since(made.at),
                made.name.as_str(),
            ))
        })
        .collect();
    slowest.sort_unstable();
    let slowest: Vec<String> = slowest
        .iter()
        .rev()
        .take(8)
        .map(|(wait, name)| format!("{name} {} ms", wait.as_millis()))
        .collect();
    eprintln!(
        "{run}: {} of {count} sent; the slowest: {}",
        waits.len(),
        slowest.join(", ")
    );
    drop(contender);
    stage.end().await;
    Ok(Figures {
        of: count,
        within,
        waits,
    })
}

impl Figures {
    fn wait(&self, percent: usize) -> Cell {
        if self.waits.len() < self.of {
            return Cell::Unfinished {
                after: Unit::Millis.of(self.within),
                done: self.waits.len(),
                of: self.of,
            };
        }
        statistics::percentile(&self.waits, percent)
            .map(|wait| Unit::Millis.of(wait))
            .into()
    }
}

/// The table's rows.
pub fn rows(plan: &Plan, pair: &Pair<Figures>) -> Vec<Row> {
    vec![
        pair.row(
            format!(
                "**one every {} ms on one key, {} of them**: create -> POST, p50",
                BETWEEN.as_millis(),
                plan.stream
            ),
            Unit::Millis,
            |figures| figures.wait(50),
            Target::AtMost(15.0),
        ),
        pair.row(
            "create -> POST, p99",
            Unit::Millis,
            |figures| figures.wait(99),
            Target::AtMost(60.0),
        ),
    ]
}
