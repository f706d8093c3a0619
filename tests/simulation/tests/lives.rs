//! Many lives, and the figures that `make simulate` prints of them.

use simulation::life::{Ended, live};
use simulation::many::live_many;

/// So many lives in `make test`.
const LIVES: u64 = 20_000;
/// Seeds whose lives were bad once.
const ONCE_BAD: [u64; 28] = [
    23, 151, 1496, 1526, 1756, 2490, 2745, 3414, 4181, 4393, 4936, 5034, 7729, 14630, 22_621, 24_169, 41_013,
    51_258, 53_209, 57_738, 111_031, 201_153, 227_596, 315_418, 381_121, 789_817, 811_433, 846_754,
];
/// In this life a process is paused, with its clocks, while the last answer of its second look is on its way.
const PAUSED_IN_ITS_LAST_LOOK: u64 = 200_760;

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

/// The first time in a process of its own, as `make simulate SEED=n` lives it; then among others, in another order, as
/// `make simulate LIVES=n` does: libraries draw seeds of their own from counters that all lives of a process share.
#[test]
fn one_seed_tells_one_story_alone_and_among_others() {
    let told = |seed: u64| {
        let mut simulate = std::process::Command::new(env!("CARGO_BIN_EXE_simulation"));
        let ended = simulate.args(["--seed", &seed.to_string()]).output().unwrap();
        assert!(ended.status.success(), "seed {seed}");
        String::from_utf8(ended.stdout).unwrap()
    };
    for seed in (1..=100).rev() {
        let Ended { story, digest, .. } = live(seed, true);
        let alone = told(seed);
        let mut lines = alone.lines();
        for line in story {
            assert_eq!(lines.next(), Some(line.as_str()), "seed {seed}");
        }
        assert!(
            alone.ends_with(&format!(", trace {digest}\n")),
            "seed {seed}: {alone}"
        );
    }
}

#[test]
fn a_call_that_leaves_after_a_pause_within_its_last_look_is_counted_and_not_blamed() {
    let ended = live(PAUSED_IN_ITS_LAST_LOOK, false);
    assert_eq!(ended.wrong, Vec::<String>::new());
    assert_eq!(ended.unknowing, 1);
}

#[test]
fn lives_that_were_bad_once_are_good() {
    for seed in ONCE_BAD {
        assert_eq!(live(seed, false).wrong, Vec::<String>::new(), "seed {seed}");
    }
}
