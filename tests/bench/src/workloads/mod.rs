//! What is run, and the rows that come of it.

mod accounts;
mod burst;
mod outage;
mod restart;
mod stream;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use crate::contender::Contender;
use crate::error::Result;
use crate::plan::{Plan, Workload};
use crate::table::{Pair, Row};

/// How long a job of the simulator takes.
const JOB: Duration = Duration::from_secs(5);
/// After a process is ready, or has done all: what it still does settles.
const SETTLE: Duration = Duration::from_secs(3);
/// Keys of the workloads with many.
const KEYS: usize = 10;

/// Where the operator is found and the logs go.
#[derive(Debug)]
pub struct Site {
    /// The operator's release binary.
    pub operator: PathBuf,
    /// The folder for logs.
    pub logs: PathBuf,
}

/// Runs one workload; the rows, and how many runs failed.
pub async fn run(workload: Workload, site: &Site, plan: &Plan) -> (Vec<Row>, usize) {
    let mut failed = 0;
    let rows = match workload {
        Workload::Burst => {
            let mut rows = Vec::new();
            for count in plan.bursts.iter().copied() {
                let within = plan.patience.of_burst(count);
                let pair = both(&mut failed, |who| burst::run(who, site, count, within)).await;
                rows.extend(burst::rows(count, &pair));
            }
            rows
        }
        Workload::Stream => {
            let pair = both(&mut failed, |who| stream::run(who, site, plan)).await;
            stream::rows(plan, &pair)
        }
        Workload::Accounts => {
            let pair = both(&mut failed, |who| accounts::run(who, site, plan)).await;
            accounts::rows(plan, &pair)
        }
        Workload::Outage => {
            let pair = both(&mut failed, |who| outage::run(who, site, plan)).await;
            outage::rows(plan, &pair)
        }
        Workload::Restart => match restart::run(site, plan).await {
            Ok(rows) => rows,
            Err(error) => {
                eprintln!("restart: {error}");
                failed += 1;
                Vec::new()
            }
        },
    };
    (rows, failed)
}

async fn both<F, R>(failed: &mut usize, run: impl Fn(Contender) -> R) -> Pair<F>
where
    R: Future<Output = Result<F>>,
{
    let mut pair = Pair {
        bare: None,
        operator: None,
    };
    for who in [Contender::Bare, Contender::Operator] {
        match run(who).await {
            Ok(figures) => pair.put(who, figures),
            Err(error) => {
                eprintln!("{who}: {error}");
                *failed += 1;
            }
        }
    }
    pair
}
