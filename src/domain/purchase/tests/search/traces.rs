//! What the records and HostUp show of one object while its processes die: the crash tests of the built binary hold
//! each of their own traces against this list.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::acts::{Act, How, Search};
use super::faults::Mutant;
use super::shipped::Sees;
use super::world::{ATTEMPTS, Does, Executed, Goods, Life, World};

/// Deaths, and answers to the paid call that a death loses. A third one shows nothing that two do not show.
const FAULTS: u8 = 2;

/// One process at a time, which may die anywhere; the object is suspended, or deleted and made again, at most once.
fn acts() -> Vec<Act> {
    let mut acts = vec![
        Act::Look(0),
        Act::Watch(0),
        Act::Crash(0),
        Act::TimePasses,
        Act::Suspend,
        Act::DeleteObject,
        Act::MakeObject,
    ];
    acts.extend([How::Well, How::LostAfter, How::LostBefore].map(|how| Act::Does(0, how)));
    acts.extend((1..=ATTEMPTS).flat_map(|n| [Act::Follow(0, n, Sees::Well), Act::Listed(n)]));
    acts
}

/// The attempt whose paid call is about to leave.
fn about_to_send(search: &Search, world: &World) -> Option<u8> {
    match world.drivers[0].life {
        Life::Buying(buying) if buying.does == Does::Post => {
            Some(search.shipped.placed(buying.order).attempt)
        }
        Life::Buying(_) | Life::Idle => None,
    }
}

/// What an act shows, in the words that the crash tests use.
fn shown(search: &Search, before: &World, act: Act, after: &World) -> Vec<String> {
    let mut shown = Vec::new();
    match act {
        Act::Suspend => shown.push("suspended".to_owned()),
        Act::DeleteObject => shown.push("deleted".to_owned()),
        Act::MakeObject => shown.push("created".to_owned()),
        Act::Does(..) => shown.extend(about_to_send(search, before).map(|n| format!("sent {n}"))),
        _ => {}
    }
    for n in 1..=ATTEMPTS {
        let stands = |world: &World| {
            let known = search.shipped.known(world.record(n)?.known);
            Some((known.state, known.evidence))
        };
        match (stands(before), stands(after)) {
            (None, Some(_)) => shown.push(format!("claimed {n}")),
            (Some(before), Some(now)) if before != now => {
                let evidence = now
                    .1
                    .map_or_else(String::new, |evidence| format!(" {evidence:?}"));
                shown.push(format!("{n} {}{evidence}", now.0.as_str()));
            }
            _ => {}
        }
    }
    shown
}

/// All that is shown from `start` until everything has come to an end, or a person is asked.
fn traces(start: World) -> BTreeSet<String> {
    let mut search = Search::new(Goods::NewVm, Mutant::None);
    let acts = acts();
    let mut ended = BTreeSet::new();
    let mut seen = HashSet::new();
    let mut open = vec![(start, String::new())];
    while let Some((world, trace)) = open.pop() {
        if world.drivers[0].life == Life::Idle && search.is_settled(&world) {
            ended.insert(trace.clone());
        }
        for act in &acts {
            let is_lost = matches!(act, Act::Does(_, How::LostAfter | How::LostBefore));
            if is_lost && about_to_send(&search, &world).is_none() {
                continue;
            }
            let Some(next) = search.after(&world, *act) else {
                continue;
            };
            assert_eq!(next.wrong, None, "{trace}, {act:?}");
            let mut items = Vec::new();
            items.extend((!trace.is_empty()).then(|| trace.clone()));
            items.extend(shown(&search, &world, *act, &next));
            let state = (next, items.join(", "));
            if seen.insert(state.clone()) {
                open.push(state);
            }
        }
    }
    ended
}

#[test]
#[allow(clippy::disallowed_methods)]
fn the_crash_tests_are_held_against_every_trace_of_the_model() {
    let mut adopts = World::new(1, FAULTS, 1, 0);
    adopts.executed[0] = Executed::Listed;
    let mut all = traces(World::new(1, FAULTS, 1, 0));
    all.extend(traces(adopts));
    let found: Vec<&str> = all.iter().map(String::as_str).chain([""]).collect();
    let found = found.join("\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/it/traces.txt");
    if std::env::var_os("UPDATE_TRACES").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == found,
        "{} is out of date: run `make traces`",
        path.display()
    );
    println!("{} traces", all.len());
}
