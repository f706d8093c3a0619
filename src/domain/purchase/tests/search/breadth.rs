//! Every order of events, breadth first, so that what is found first is the shortest schedule.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use super::acts::{Act, Search, acts, time_passes};
use super::faults::Mutant;
use super::world::{DRIVERS, Rec, World, Wrong};
use super::*;
use crate::ledger::record::State as RecordState;

/// What a search has found.
#[derive(Debug)]
pub struct Found {
    pub states: usize,
    pub depth: usize,
    pub wrong: Option<(Wrong, Vec<Act>)>,
}

type Prints = HashSet<u64, BuildHasherDefault<Mix>>;

/// A hash of a state, good enough that of millions no two collide.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n.cast_unsigned() as u64);
    }
}

fn print_of(world: &World) -> u64 {
    let mut mix = Mix(0);
    world.hash(&mut mix);
    mix.finish()
}

impl Search {
    /// Looks at no more than `most` states.
    pub fn run(&mut self, start: World, most: usize) -> Found {
        let there = start.drivers.iter().filter(|driver| driver.is_there()).count();
        let acts = acts(u8::try_from(there).expect("few processes"));
        let mut seen = Prints::default();
        let mut good = Prints::default();
        let is_followed = matches!(self.mutant, Mutant::None | Mutant::OnlyTheClaimersClock);
        let mut came_from: Vec<(u32, u16)> = vec![(0, 0)];
        let mut layer = vec![(0_u32, start)];
        seen.insert(print_of(&start));
        let path = |came_from: &[(u32, u16)], mut n: u32| {
            let mut path = Vec::new();
            while n != 0 {
                let (before, act) = came_from[n as usize];
                path.push(acts[usize::from(act)]);
                n = before;
            }
            path.reverse();
            path
        };
        let mut depth = 0;
        while !layer.is_empty() && seen.len() < most {
            depth += 1;
            let mut next_layer = Vec::new();
            for (n, world) in layer {
                if seen.len() >= most {
                    break;
                }
                let wrong = is_followed.then(|| self.never_ends(&world, &mut good)).flatten();
                if let Some(wrong) = wrong {
                    return Found {
                        states: seen.len(),
                        depth,
                        wrong: Some((wrong, path(&came_from, n))),
                    };
                }
                for (a, act) in acts.iter().enumerate() {
                    let Some(next) = self.after(&world, *act) else {
                        continue;
                    };
                    if !seen.insert(print_of(&next)) {
                        continue;
                    }
                    let number = u32::try_from(came_from.len()).expect("not so many states");
                    came_from.push((n, u16::try_from(a).expect("few acts")));
                    if let Some(wrong) = next.wrong {
                        return Found {
                            states: seen.len(),
                            depth,
                            wrong: Some((wrong, path(&came_from, number))),
                        };
                    }
                    next_layer.push((number, next));
                }
            }
            layer = next_layer;
        }
        Found {
            states: seen.len(),
            depth,
            wrong: None,
        }
    }

    /// Why it neither comes to an end nor asks a person, if nothing goes wrong any more.
    fn never_ends(&mut self, world: &World, good: &mut Prints) -> Option<Wrong> {
        let mut way = Vec::new();
        let mut now = *world;
        loop {
            let print = print_of(&now);
            if good.contains(&print) {
                break;
            }
            if way.len() > 400 {
                return Some(Wrong::NoEnd);
            }
            way.push(print);
            if let Some(next) = self.fair(&now) {
                now = next;
                continue;
            }
            if self.is_stuck(&now) {
                return Some(Wrong::StuckSending);
            }
            if time_passes(&mut now, self.moments.waited).is_none() {
                if self.is_settled(&now) {
                    break;
                }
                return Some(Wrong::NoEnd);
            }
        }
        good.extend(way);
        None
    }

    /// The next thing that happens where nothing goes wrong.
    fn fair(&mut self, world: &World) -> Option<World> {
        (0..self.fair.len()).find_map(|n| self.after(world, self.fair[n]))
    }

    /// Nobody has anything to do, and a record is Sending for longer than a call could have been started.
    fn is_stuck(&self, world: &World) -> bool {
        let is_right = |d: u8| {
            let driver = world.drivers[usize::from(d)];
            driver.is_there() && driver.lag == 0 && driver.skew >= 0
        };
        let longest = u32::try_from(times().request_timeout.as_secs()).unwrap_or_default() + 1;
        let is_late = |rec: &Rec| {
            self.shipped.known(rec.known).state == RecordState::Sending
                && world.seconds() > rec.stamped + longest
        };
        (0..DRIVERS).any(is_right) && world.records.iter().flatten().any(is_late)
    }

    /// Nothing is to be done, or it is a person's turn.
    pub fn is_settled(&self, world: &World) -> bool {
        world.records.iter().flatten().all(|rec| {
            let known = self.shipped.known(rec.known);
            known.state.is_final() || (known.state == RecordState::Unknown && known.evidence.is_some())
        })
    }
}
