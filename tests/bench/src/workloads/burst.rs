//! Many restores at once over ten keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use hostup_sim::{AccountId, Route};
use jiff::Timestamp;
use tokio::task::block_in_place;

use super::{JOB, KEYS, SETTLE, Site};
use crate::contender::{Contender, Process};
use crate::error::Result;
use crate::measure::requests::Requests;
use crate::measure::{process, provider, requests, statistics};
use crate::restores::{self, Done, Made, Post};
use crate::stage::Stage;
use crate::table::{Cell, Pair, Row, Target, Unit};

/// What came of it.
pub struct Figures {
    wall: Cell,
    done: usize,
    posts: usize,
    order: Option<f64>,
    calls: BTreeMap<Route, usize>,
    requests: Requests,
    cpu: Duration,
    servers: Duration,
    idle: f64,
    after: f64,
}

/// So many restores at once.
pub async fn run(who: Contender, site: &Site, count: usize, within: Duration) -> Result<Figures> {
    let run = format!("{count} at once");
    let stage = Stage::new(KEYS, JOB, None).await?;
    let mut contender = Process::start(who, site, &stage, &format!("burst-{count}"), 0).await?;
    tokio::time::sleep(SETTLE).await;
    let idle = process::memory(contender.pid())?;
    let mut done = Done::watch(&stage);
    let (cpu, servers) = (process::cpu(contender.pid())?, process::cpu_of_servers(&stage)?);
    let (from, began) = (Timestamp::now(), Instant::now());
    let made = restores::make(&stage, restores::in_turn(&stage, count)).await?;
    done.wait(count, within, &format!("{run}, {who}"), &mut contender)
        .await?;
    let cpu = process::cpu(contender.pid())?.saturating_sub(cpu);
    let servers = process::cpu_of_servers(&stage)?.saturating_sub(servers);
    let requests = block_in_place(|| requests::since(&stage, from))?;
    let calls = provider::by_route(&stage.sim);
    let posts = restores::posts(&stage.sim);
    let wall = match done.last(made.iter().map(|made| &made.name)) {
        Some(last) => Cell::Value(Unit::Seconds.of(last - began)),
        None => Cell::Unfinished {
            after: Unit::Seconds.of(within),
            done: done.len(),
            of: count,
        },
    };
    tokio::time::sleep(SETTLE).await;
    let after = process::memory(contender.pid())?;
    let figures = Figures {
        wall,
        done: done.len(),
        posts: posts.len(),
        order: order(&made, &posts),
        calls,
        requests,
        cpu,
        servers,
        idle,
        after,
    };
    drop(contender);
    stage.end().await;
    Ok(figures)
}

/// How well the POSTs of each key follow the order of creation; the mean of all keys.
fn order(made: &[Made], posts: &[Post]) -> Option<f64> {
    let mut made: Vec<&Made> = made.iter().collect();
    made.sort_by_key(|made| made.version);
    let accounts: BTreeSet<AccountId> = made.iter().map(|made| made.account).collect();
    let of_each: Vec<f64> = accounts
        .into_iter()
        .filter_map(|account| order_of(account, &made, posts))
        .collect();
    (!of_each.is_empty()).then(|| of_each.iter().sum::<f64>() / of_each.len() as f64)
}

fn order_of(account: AccountId, made: &[&Made], posts: &[Post]) -> Option<f64> {
    let mut posts: Vec<&Post> = posts.iter().filter(|post| post.account == account).collect();
    posts.sort_by_key(|post| post.at);
    let place: HashMap<&str, usize> = posts
        .iter()
        .enumerate()
        .map(|(place, post)| (post.restore.as_str(), place))
        .collect();
    let places: Vec<usize> = made
        .iter()
        .filter_map(|made| place.get(made.name.as_str()).copied())
        .collect();
    statistics::spearman(&places)
}

/// The table's rows.
pub fn rows(count: usize, pair: &Pair<Figures>) -> Vec<Row> {
    let each = |total: f64, figures: &Figures| match figures.done {
        0 => Cell::Missing,
        done => Cell::Value(total / done as f64),
    };
    let millis = |time: Duration, figures: &Figures| each(Unit::Millis.of(time), figures);
    let per = |take: fn(&Figures) -> usize| move |figures: &Figures| each(take(figures) as f64, figures);
    let both = || [&pair.bare, &pair.operator].into_iter().flatten();
    let most = if count > 1_000 { 20.0 } else { 16.0 };
    let mut rows = vec![
        pair.row(
            format!("**{count} at once over {KEYS} keys**: all done after"),
            Unit::Seconds,
            |figures| figures.wall,
            Target::TimesBare(1.6),
        ),
        pair.row(
            "paid POSTs",
            Unit::Count,
            |figures| Cell::Value(figures.posts as f64),
            Target::AtMost(count as f64),
        ),
        pair.row(
            "order of the POSTs against the order of creation, within a key",
            Unit::Coefficient,
            |figures| figures.order.into(),
            Target::AtLeast(0.99),
        ),
        pair.row(
            "HostUp calls a restore",
            Unit::Count,
            per(|figures| figures.calls.values().sum()),
            Target::AtMost(4.0),
        ),
    ];
    let routes: BTreeSet<Route> = both().flat_map(|figures| figures.calls.keys().copied()).collect();
    for route in routes {
        let take = |figures: &Figures| each(figures.calls.get(&route).copied().unwrap_or(0) as f64, figures);
        rows.push(pair.row(format!("... {route:?}"), Unit::Count, take, None));
    }
    rows.push(pair.row(
        "requests to the API server a restore, events apart",
        Unit::Count,
        per(|figures| figures.requests.all),
        Target::AtMost(14.0),
    ));
    let kinds: BTreeSet<&String> = both()
        .flat_map(|figures| figures.requests.by_kind.keys())
        .collect();
    for kind in kinds {
        let take = |figures: &Figures| {
            each(
                figures.requests.by_kind.get(kind).copied().unwrap_or(0) as f64,
                figures,
            )
        };
        rows.push(pair.row(format!("... {kind}"), Unit::Count, take, None));
    }
    rows.extend([
        pair.row(
            "writes a restore, events apart (5, and one for the job's next word)",
            Unit::Count,
            per(|figures| figures.requests.writes()),
            Target::AtMost(6.0),
        ),
        pair.row(
            "... on the restore",
            Unit::Count,
            per(|figures| figures.requests.subject_writes),
            None,
        ),
        pair.row(
            "... on the record",
            Unit::Count,
            per(|figures| figures.requests.record_writes),
            None,
        ),
        pair.row(
            "events a restore",
            Unit::Count,
            per(|figures| figures.requests.events),
            None,
        ),
        pair.row(
            "CPU a restore",
            Unit::Millis,
            |figures| millis(figures.cpu, figures),
            Target::AtMost(4.0),
        ),
        pair.row(
            "CPU a restore, API server and etcd",
            Unit::Millis,
            |figures| millis(figures.servers, figures),
            Target::TimesBare(1.6),
        ),
        pair.row(
            "memory, idle",
            Unit::Megabytes,
            |figures| Cell::Value(figures.idle),
            Target::AtMost(9.0),
        ),
        pair.row(
            "memory, done",
            Unit::Megabytes,
            |figures| Cell::Value(figures.after),
            Target::AtMost(most),
        ),
    ]);
    rows
}
