//! Many lives, and the figures that `make simulate` prints of them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use simulation::life::{FAULTS, live};

/// So many lives in `make test`.
const LIVES: u64 = 5_000;
/// Seeds whose lives were bad once.
const ONCE_BAD: [u64; 6] = [1496, 1526, 1756, 2490, 4936, 7729];

/// `LIVES=n`, or so many as `make test` has time for.
#[allow(clippy::disallowed_methods)]
fn lives() -> u64 {
    let asked = std::env::var("LIVES");
    asked.map_or(LIVES, |lives| lives.parse().expect("a number of lives"))
}

#[test]
fn no_life_buys_twice_loses_an_outcome_or_comes_to_no_rest() {
    let next = AtomicU64::new(1);
    let fired: Mutex<BTreeMap<&str, u64>> = Mutex::default();
    let bad = Mutex::new(Vec::new());
    let needless = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > lives() {
                        return;
                    }
                    let ended = live(seed, false);
                    needless.fetch_add(ended.needless, Ordering::Relaxed);
                    let mut all = fired.lock().unwrap();
                    for (fault, times) in ended.fired {
                        *all.entry(fault).or_default() += times;
                    }
                    drop(all);
                    if !ended.wrong.is_empty() {
                        bad.lock().unwrap().push((seed, ended.wrong));
                    }
                }
            });
        }
    });
    let bad = bad.into_inner().unwrap();
    assert!(bad.is_empty(), "`make simulate SEED=n` tells each: {bad:#?}");
    assert_eq!(needless.into_inner(), 0, "people were asked without need");
    let fired = fired.into_inner().unwrap();
    let never: Vec<_> = FAULTS
        .iter()
        .filter(|fault| !fired.contains_key(**fault))
        .collect();
    assert!(
        never.is_empty() || lives() < LIVES,
        "faults that never came: {never:?}"
    );
}

/// Each in a process of its own, as `make simulate SEED=n` lives it: within one process the lives of other threads share
/// counters that libraries draw their seeds from.
#[test]
fn one_seed_tells_one_story() {
    let told = |seed: u64| {
        let mut simulate = std::process::Command::new(env!("CARGO_BIN_EXE_simulation"));
        let ended = simulate.args(["--seed", &seed.to_string()]).output().unwrap();
        assert!(ended.status.success(), "seed {seed}");
        String::from_utf8(ended.stdout).unwrap()
    };
    for seed in 1..=20 {
        let first = told(seed);
        assert!(first.contains(", trace "), "seed {seed}: {first}");
        assert_eq!(first, told(seed), "seed {seed}");
    }
}

#[test]
fn lives_that_were_bad_once_are_good() {
    for seed in ONCE_BAD {
        assert_eq!(live(seed, false).wrong, Vec::<String>::new(), "seed {seed}");
    }
}
