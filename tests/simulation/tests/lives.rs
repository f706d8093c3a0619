//! Many lives, and the figures that `make simulate` prints of them.

use simulation::life::live;
use simulation::many::live_many;

/// So many lives in `make test`.
const LIVES: u64 = 20_000;
/// Seeds whose lives were bad once.
const ONCE_BAD: [u64; 12] = [
    1496, 1526, 1756, 2490, 2745, 3414, 4181, 4393, 4936, 5034, 7729, 14630,
];

/// `LIVES=n`, or so many as `make test` has time for.
#[allow(clippy::disallowed_methods)]
fn lives() -> u64 {
    let asked = std::env::var("LIVES");
    asked.map_or(LIVES, |lives| lives.parse().expect("a number of lives"))
}

#[test]
fn no_life_buys_twice_loses_an_outcome_or_comes_to_no_rest_and_every_fault_meets_every_state() {
    let many = live_many(1, lives(), |_| {});
    let bad: Vec<_> = many.bad.iter().map(|ended| (ended.seed, &ended.wrong)).collect();
    assert!(bad.is_empty(), "`make simulate SEED=n` tells each: {bad:#?}");
    assert_eq!(many.needless, 0, "people were asked without need");
    assert_eq!(many.met.missed(many.lives), Vec::<String>::new());
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
