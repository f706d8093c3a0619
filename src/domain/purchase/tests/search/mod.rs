//! A small world of one object, its records in etcd, HostUp and some processes, and every order of what can happen in
//! it. Two smaller ones beside it: two objects under one cap, and approvals of one wish beside another.

mod acts;
mod breadth;
mod buying;
mod caps;
mod clocks;
mod faults;
mod quotes;
mod shipped;
mod traces;
mod world;

use acts::{Act, Search};
use faults::Mutant;
use world::{AHEAD, BEHIND, Goods, Moments, PAST_THE_JOB_DEADLINE, SOON, World};

use super::*;

fn told(path: &[Act]) -> String {
    let acts: Vec<String> = path.iter().map(|act| format!("\n  {act:?}")).collect();
    acts.concat()
}

/// States to look at: `make search STATES=n`, or so many as `make test` has time for.
#[allow(clippy::disallowed_methods)]
fn most() -> usize {
    let asked = std::env::var("SEARCH_STATES");
    asked.map_or(5_000_000, |states| states.parse().expect("a number of states"))
}

/// Where a search begins.
struct Start {
    drivers: usize,
    faults: u8,
    edits: u8,
    answers: u8,
    /// How wrong the clock of one process is.
    skew: i32,
    moments: Moments,
}

const fn start(drivers: usize, faults: u8, edits: u8, answers: u8) -> Start {
    Start {
        drivers,
        faults,
        edits,
        answers,
        skew: 0,
        moments: SOON,
    }
}

const STARTS: [Start; 7] = [
    start(2, 2, 2, 1),
    start(3, 1, 1, 1),
    start(2, 0, 1, 0),
    start(2, 1, 1, 0),
    Start {
        skew: AHEAD,
        ..start(2, 1, 1, 1)
    },
    Start {
        skew: BEHIND,
        ..start(2, 1, 1, 1)
    },
    Start {
        moments: PAST_THE_JOB_DEADLINE,
        ..start(2, 1, 0, 1)
    },
];

/// The share of the states that is of disks.
const OF_DISKS: usize = 5;

#[test]
fn no_order_of_events_buys_twice_loses_an_outcome_or_leaves_one_without_an_end() {
    searched(Goods::NewVm, most());
}

#[test]
fn no_order_of_events_overwrites_a_disk_twice_for_one_approval() {
    searched(Goods::Disk, most() / OF_DISKS);
}

fn searched(goods: Goods, most: usize) {
    let (mut left, mut all) = (most, 0);
    for (n, begin) in STARTS.iter().enumerate() {
        let Start {
            drivers,
            faults,
            edits,
            answers,
            skew,
            moments,
        } = *begin;
        let mut search = Search::new(goods, Mutant::None);
        search.moments = moments;
        let world = World::new(drivers, faults, edits, answers).with_a_clock(skew);
        let found = search.run(world, left / (STARTS.len() - n) + 1);
        println!(
            "{goods:?}: {drivers} processes (one {skew} s wrong), {faults} faults, {edits} edits, {answers} answers, {} moments: \
             {} states, {} acts deep",
            moments.searched, found.states, found.depth
        );
        left = left.saturating_sub(found.states);
        all += found.states;
        if let Some((wrong, path)) = found.wrong {
            panic!("{wrong:?}:{}", told(&path));
        }
    }
    assert!(all >= most, "{all} states");
}
