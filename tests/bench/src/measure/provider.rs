//! Calls to HostUp, by the simulator's own log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hostup_sim::{AccountId, RequestRecord, Route, Sim};

/// The simulator rounds the rest of its window, of a second, up to whole seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The time that an answer may take to its reader: a call that left meanwhile cannot know of it.
const ON_ITS_WAY: Duration = Duration::from_millis(20);

/// How many calls of each route came so far.
pub fn by_route(sim: &Sim) -> BTreeMap<Route, usize> {
    sim.world(|world| {
        let mut routes = BTreeMap::new();
        for request in world.requests() {
            *routes.entry(request.route).or_default() += 1;
        }
        routes
    })
}

/// Calls that came between two moments.
pub fn between(sim: &Sim, from: Instant, to: Instant) -> usize {
    let inside = |request: &&RequestRecord| request.received_at >= from && request.received_at < to;
    sim.world(|world| world.requests().iter().filter(inside).count())
}

/// What one account was given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Served {
    /// Calls that its limit let through.
    pub calls: usize,
    /// Calls that its limit refused.
    pub refused: usize,
    /// Calls that came although a 429 had asked to wait.
    pub too_early: usize,
}

/// What the account was given so far.
pub fn served(sim: &Sim, account: AccountId) -> Served {
    sim.world(|world| {
        let own = world.requests().iter().filter(|request| request.is_from(account));
        count(own.map(|request| Call {
            at: request.received_at,
            held_from: request.throttled.then_some(request.finished_at).flatten(),
        }))
    })
}

struct Call {
    at: Instant,
    held_from: Option<Instant>,
}

fn count(calls: impl Iterator<Item = Call>) -> Served {
    let mut served = Served::default();
    let mut held: Option<(Instant, Instant)> = None;
    for call in calls {
        if held.is_some_and(|(from, until)| call.at > from + ON_ITS_WAY && call.at < until) {
            served.too_early += 1;
        }
        match call.held_from {
            Some(from) => {
                served.refused += 1;
                held = Some((from, from + RETRY_AFTER));
            }
            None => served.calls += 1,
        }
    }
    served
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_too_early_only_after_the_answer_that_asked_to_wait() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let call = |millis, held: Option<u64>| Call {
            at: at(millis),
            held_from: held.map(at),
        };
        let calls = [
            call(0, None),
            call(10, Some(12)),   // 429
            call(30, Some(31)),   // was under way
            call(500, Some(501)), // too early
            call(1_600, None),
        ];
        let served = count(calls.into_iter());
        assert_eq!((served.calls, served.refused, served.too_early), (2, 3, 1));
    }
}
