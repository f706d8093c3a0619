//! Every order of events in the small world, breadth first, so that what is found first is the shortest schedule.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use super::world::{
    ATTEMPTS, Buying, Came, Choice, DRIVERS, Does, Driver, Executed, Life, Mutant, Rec, Says, Sees, Shipped,
    TIMES, Then, Told, World, Wrong,
};
use super::*;

/// Times that the search lets pass; the later ones are for what must come to an end by itself.
const TIMES_SEARCHED: u8 = 5;
const MOST_HOLDERS: u8 = 6;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// A process looks at the object.
    Look(u8),
    /// A process does what its purchase says.
    Does(u8, How),
    /// A process follows a record.
    Follow(u8, u8, Sees),
    /// The watch of a process catches up.
    Watch(u8),
    Crash(u8),
    Freeze(u8),
    Thaw(u8),
    TimePasses,
    /// HostUp lists the VM of an attempt.
    Listed(u8),
    /// A create whose answer was lost lands, or never will.
    Lands,
    Vanishes,
    Suspend,
    Edit,
    DeleteObject,
    MakeObject,
    DeleteRecord(u8),
    Answer(u8, Told),
}

/// How an effect goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Well,
    /// Done, and the answer is lost.
    LostAfter,
    /// Not done (yet), and the answer is lost.
    LostBefore,
    /// Done twice.
    Doubled,
    Refused,
    /// A 503, after it was done, or before.
    BrokenAfter,
    BrokenBefore,
    NotSent,
}

const ALL_HOWS: [How; 8] = [
    How::Well,
    How::LostAfter,
    How::LostBefore,
    How::Doubled,
    How::Refused,
    How::BrokenAfter,
    How::BrokenBefore,
    How::NotSent,
];

fn acts() -> Vec<Act> {
    let mut acts = Vec::new();
    for d in 0..DRIVERS {
        acts.extend(ALL_HOWS.map(|how| Act::Does(d, how)));
        acts.extend([
            Act::Look(d),
            Act::Watch(d),
            Act::Crash(d),
            Act::Freeze(d),
            Act::Thaw(d),
        ]);
        for n in 1..=ATTEMPTS {
            acts.extend([Sees::Well, Sees::NoJob, Sees::Nothing].map(|sees| Act::Follow(d, n, sees)));
        }
    }
    for n in 1..=ATTEMPTS {
        acts.extend([
            Act::Listed(n),
            Act::DeleteRecord(n),
            Act::Answer(n, Told::NotExecuted),
            Act::Answer(n, Told::Abandon),
        ]);
    }
    acts.extend([
        Act::TimePasses,
        Act::Lands,
        Act::Vanishes,
        Act::Suspend,
        Act::Edit,
        Act::DeleteObject,
        Act::MakeObject,
    ]);
    acts
}

struct Search {
    shipped: Shipped,
    mutant: Mutant,
}

fn bit(n: u8) -> u8 {
    1 << n
}

fn take(budget: &mut u8) -> Option<()> {
    *budget = budget.checked_sub(1)?;
    Some(())
}

impl Search {
    /// The world after `act`; `None` where that cannot happen or changes nothing.
    fn after(&mut self, world: &World, act: Act) -> Option<World> {
        let mut next = *world;
        match act {
            Act::Look(d) => self.look(&mut next, d)?,
            Act::Does(d, how) => self.does(&mut next, d, how)?,
            Act::Follow(d, n, sees) => self.follow(&mut next, d, n, sees)?,
            Act::Watch(d) => {
                let highest = world.highest();
                let driver = running(&mut next, d)?;
                driver.seen = driver.seen.max(highest);
            }
            Act::Crash(d) => {
                take(&mut next.faults)?;
                let highest = world.highest();
                let driver = running(&mut next, d)?;
                (driver.life, driver.lag, driver.seen) = (Life::Idle, 0, highest);
                (driver.claimed, driver.unsent, driver.absent) = (0, 0, 0);
            }
            Act::Freeze(d) => {
                take(&mut next.faults)?;
                let driver = running(&mut next, d)?;
                match driver.life {
                    // Between the last look at the clocks and the bytes nothing stands that could be held up.
                    Life::Buying(buying) if buying.does != Does::Post => driver.is_frozen = true,
                    Life::Buying(_) | Life::Idle => return None,
                }
            }
            Act::Thaw(d) => {
                let driver = next.drivers.get_mut(usize::from(d))?;
                if !driver.is_frozen || driver.lag == u32::MAX {
                    return None;
                }
                driver.is_frozen = false;
            }
            Act::TimePasses => time_passes(&mut next, TIMES_SEARCHED)?,
            Act::Listed(n) => {
                let executed = next.executed.get_mut(usize::from(n) - 1)?;
                if *executed != Executed::Unseen {
                    return None;
                }
                *executed = Executed::Listed;
            }
            Act::Lands => {
                let (n, rec) = next.late.take()?;
                let place = next.records.get_mut(usize::from(n) - 1)?;
                if place.is_none() {
                    let stamped = world.seconds();
                    *place = Some(Rec { stamped, ..rec });
                }
            }
            Act::Vanishes => drop(next.late.take()?),
            Act::Suspend => {
                take(&mut next.edits)?;
                next.object.is_suspended = !next.object.is_suspended;
                next.object.generation += 1;
            }
            Act::Edit => {
                take(&mut next.edits)?;
                next.object.generation += 1;
            }
            Act::DeleteObject => {
                take(&mut next.edits)?;
                if !next.object.exists {
                    return None;
                }
                next.object.exists = false;
            }
            Act::MakeObject => {
                if next.object.exists {
                    return None;
                }
                next.object.exists = true;
                next.object.uid += 1;
                (next.object.generation, next.object.is_suspended) = (1, false);
                (next.object.named, next.object.tells) = (0, false);
            }
            Act::DeleteRecord(n) => {
                take(&mut next.edits)?;
                let rec = world.record(n)?;
                // The shipped policy keeps what is not finished, and an object's status names its record long before a
                // person tidies up.
                let object = world.object;
                let is_told = object.named >= n || !object.exists || object.uid != rec.uid;
                if !is_told || !self.shipped.known(rec.known).state.is_final() {
                    return None;
                }
                *next.records.get_mut(usize::from(n) - 1)? = None;
            }
            Act::Answer(n, told) => {
                take(&mut next.answers)?;
                // No person answers within the moment between the second look and the POST.
                if world.drivers.iter().any(is_about_to_send) {
                    return None;
                }
                let known = self.shipped.known(world.record(n)?.known);
                if known.state != Outcome::Unknown || known.evidence.is_none() {
                    return None;
                }
                let rec = next.records.get_mut(usize::from(n) - 1)?.as_mut()?;
                rec.told = told;
                rec.version += 1;
            }
        }
        // The processes are alike: whose turn it is matters, and not which is called the first.
        next.drivers.sort_unstable();
        (next != *world).then_some(next)
    }

    fn look(&mut self, next: &mut World, d: u8) -> Option<()> {
        let before = *next;
        if running(next, d)?.life != Life::Idle {
            return None;
        }
        let (choice, last) = self.shipped.look(&before, usize::from(d), self.mutant);
        let (order, adopts) = match choice {
            Choice::Buy(order) => (order, false),
            Choice::Adopt(order) => (order, true),
            Choice::Show(names) => {
                if let Some(rec) = before.record(last).filter(|_| names) {
                    next.object.named = last;
                    next.object.tells = self.shipped.known(rec.known).state != Outcome::Sending;
                }
                return Some(());
            }
        };
        if self.shipped.placed(order).attempt > ATTEMPTS || next.holders >= MOST_HOLDERS {
            return None;
        }
        let holder = next.holders;
        next.holders += 1;
        let made = before.clock(usize::from(d));
        let listed = before.listed();
        let then = self.shipped.begin(order, holder, made, listed, adopts);
        let buying = Buying {
            purchase: 0,
            does: Does::Reserve,
            order,
            holder,
            made,
            version: 0,
            told: (before.object.named, before.object.tells),
        };
        goes_on(next, d, buying, then, None);
        self.alone(next, d);
        Some(())
    }

    /// Does what concerns nobody else: no other process can come between.
    fn alone(&mut self, next: &mut World, d: u8) {
        while let Some(driver) = next.drivers.get(usize::from(d))
            && let Life::Buying(buying) = driver.life
        {
            let came = match buying.does {
                Does::Reserve => Came::Reserved,
                Does::HandOver => Came::HandedOver,
                Does::Wait => Came::Waited,
                Does::Create | Does::Read | Does::Look | Does::Post | Does::Write(_) => return,
            };
            let then = self
                .shipped
                .next(buying.purchase, came, next.clock(usize::from(d)));
            goes_on(next, d, buying, then, None);
        }
    }

    fn does(&mut self, next: &mut World, d: u8, how: How) -> Option<()> {
        let now = next.clock(usize::from(d));
        let Life::Buying(mut buying) = running(next, d)?.life else {
            return None;
        };
        let Buying {
            does,
            order,
            holder,
            made,
            told,
            ..
        } = buying;
        let placed = self.shipped.placed(order);
        let n = placed.attempt;
        let there = next.record(n);
        let ours = there.filter(|rec| rec.holder == holder);
        let mut wrong = None;
        if how != How::Well {
            take(&mut next.faults)?;
        }
        let came = match does {
            Does::Reserve | Does::HandOver | Does::Wait => return None,
            Does::Create => {
                let rec = Rec {
                    holder,
                    uid: placed.uid,
                    generation: placed.generation,
                    tries: placed.tries,
                    made,
                    stamped: next.seconds(),
                    known: 0,
                    version: 1,
                    told: Told::Nothing,
                };
                let (is_done, came) = match how {
                    How::Well if there.is_some() => (false, Came::Conflict),
                    How::Well => (true, Came::Made(n, rec)),
                    How::LostAfter => (true, Came::Unclear),
                    How::Doubled => (true, Came::Conflict),
                    How::LostBefore if next.late.is_none() => {
                        next.late = Some((n, rec));
                        (false, Came::Unclear)
                    }
                    How::Refused => (false, Came::Refused),
                    _ => return None,
                };
                if is_done && there.is_none() {
                    next.records[usize::from(n) - 1] = Some(rec);
                }
                match (came, there) {
                    (Came::Conflict, Some(other)) if self.mutant == Mutant::ConflictIsMine => {
                        Came::Made(n, Rec { holder, ..other })
                    }
                    (came, _) => came,
                }
            }
            Does::Read => match how {
                How::Well => match there {
                    Some(rec) if self.mutant == Mutant::FoundIsMine => Came::Found(n, Rec { holder, ..rec }),
                    Some(rec) => Came::Found(n, rec),
                    None => Came::Nothing,
                },
                How::LostBefore => Came::Unreadable,
                _ => return None,
            },
            Does::Look => match how {
                How::Well => {
                    let object = next.object;
                    let is_wanted = object.exists
                        && object.uid == placed.uid
                        && object.generation == placed.generation
                        && !object.is_suspended;
                    let is_sending =
                        ours.is_some_and(|rec| self.shipped.known(rec.known).state == Outcome::Sending);
                    let dropped = self.mutant == Mutant::SecondLookDropped;
                    let ignores_record = matches!(
                        self.mutant,
                        Mutant::SecondLookIgnoresRecord | Mutant::ConflictIsMine | Mutant::FoundIsMine
                    );
                    Came::Looked {
                        is_wanted: is_wanted || dropped,
                        is_told_alike: (object.named, object.tells) == told
                            || dropped
                            || self.mutant == Mutant::SecondLookIgnoresStatus,
                        is_ours: is_sending || dropped || ignores_record,
                    }
                }
                How::LostBefore => Came::LookBusy,
                _ => return None,
            },
            Does::Post => {
                let (executes, says) = match how {
                    How::Well => (true, Says::Accepted),
                    How::LostAfter => (true, Says::Lost),
                    How::LostBefore => (false, Says::Lost),
                    How::BrokenAfter => (true, Says::Broken),
                    How::BrokenBefore => (false, Says::Broken),
                    How::Refused => (false, Says::Rejected),
                    How::NotSent => (false, Says::NotSent),
                    How::Doubled => return None,
                };
                if says != Says::NotSent {
                    wrong = match ours {
                        None => Some(Wrong::WithoutRecord),
                        Some(rec) if self.shipped.known(rec.known).state.is_final() => {
                            Some(Wrong::AfterItWasSettled)
                        }
                        Some(_) => None,
                    };
                }
                if executes {
                    wrong = wrong.or(execute(next, n));
                }
                match says {
                    Says::Broken if self.mutant == Mutant::ServerErrorIsRefusal => {
                        Came::Answered(Says::Rejected)
                    }
                    says => Came::Answered(says),
                }
            }
            Does::Write(known) => {
                let stands = match ours {
                    _ if there.is_none() => Err(Came::Gone),
                    Some(rec) if rec.version == buying.version => Ok(rec),
                    _ => Err(Came::WriteUnclear),
                };
                match (how, stands) {
                    (How::Well, Err(came)) => came,
                    (How::Well | How::LostAfter, Ok(rec)) => {
                        wrong = self.written(next, n, rec, known);
                        let driver = &mut next.drivers[usize::from(d)];
                        if self.shipped.known(known).state == Outcome::NotSent {
                            driver.claimed &= !bit(n);
                        }
                        if how == How::Well {
                            Came::Stood
                        } else {
                            Came::WriteUnclear
                        }
                    }
                    (How::LostBefore, _) => Came::WriteUnclear,
                    (How::Refused, _) => Came::WriteRefused,
                    _ => return None,
                }
            }
        };
        match came {
            Came::Made(_, rec) | Came::Found(_, rec) if rec.holder == holder => {
                buying.version = rec.version;
                next.drivers[usize::from(d)].claimed |= bit(n);
            }
            _ => {}
        }
        let then = self.shipped.next(buying.purchase, came, now);
        goes_on(next, d, buying, then, wrong);
        self.alone(next, d);
        Some(())
    }

    /// A status is written over this record.
    fn written(&self, next: &mut World, n: u8, rec: Rec, known: u16) -> Option<Wrong> {
        next.records[usize::from(n) - 1] = Some(Rec {
            known,
            version: rec.version + 1,
            ..rec
        });
        let after = self.shipped.known(known);
        // One that is listed is found again by its token before anything is bought.
        let is_executed = next.executed[usize::from(n) - 1] == Executed::Unseen;
        match after.state {
            Outcome::NotExecuted => next.freed |= bit(n),
            Outcome::NotSent | Outcome::Rejected if is_executed => return Some(Wrong::Lost),
            _ => {}
        }
        None
    }

    fn follow(&mut self, next: &mut World, d: u8, n: u8, sees: Sees) -> Option<()> {
        let now = next.clock(usize::from(d));
        let rec = next.record(n)?;
        let listed = next.listed();
        if sees != Sees::Well {
            take(&mut next.faults)?;
        }
        let driver = *running(next, d)?;
        let is_in_flight = match driver.life {
            Life::Idle => false,
            Life::Buying(buying) => self.shipped.placed(buying.order).attempt == n,
        };
        let is_unsent = driver.unsent & bit(rec.holder) != 0;
        let (known, absent) =
            self.shipped
                .follow(n, rec, is_in_flight, driver.absent, is_unsent, listed, sees, now)?;
        next.drivers[usize::from(d)].absent = absent;
        if known == rec.known {
            return Some(());
        }
        let before = self.shipped.known(rec.known);
        let after = self.shipped.known(known);
        let is_withdrawn = before.state == Outcome::Unknown && before.evidence.is_some();
        if is_withdrawn && after.evidence.is_none() && sees != Sees::Well {
            next.wrong = Some(Wrong::QuestionWithdrawn);
        }
        if after.state == Outcome::NotSent {
            next.drivers[usize::from(d)].claimed &= !bit(n);
        }
        let wrong = self.written(next, n, rec, known);
        next.wrong = next.wrong.or(wrong);
        Some(())
    }
}

/// The process, if it is there and runs.
fn running(world: &mut World, d: u8) -> Option<&mut Driver> {
    world
        .drivers
        .get_mut(usize::from(d))
        .filter(|driver| !driver.is_frozen)
}

fn goes_on(world: &mut World, d: u8, buying: Buying, then: Then, wrong: Option<Wrong>) {
    world.wrong = world.wrong.or(wrong);
    let driver = &mut world.drivers[usize::from(d)];
    driver.life = match then {
        Then::Does(purchase, does) => Life::Buying(Buying {
            purchase,
            does,
            ..buying
        }),
        Then::Ended {
            is_unconfirmed,
            is_confused,
        } => {
            if is_unconfirmed {
                driver.unsent |= bit(buying.holder);
            }
            if is_confused {
                world.wrong = Some(Wrong::Confused);
            }
            Life::Idle
        }
    };
}

/// HostUp executes the call of an attempt.
fn execute(world: &mut World, n: u8) -> Option<Wrong> {
    let place = &mut world.executed[usize::from(n) - 1];
    if *place != Executed::No {
        return Some(Wrong::SameRecordTwice);
    }
    *place = Executed::Unseen;
    let paid = (1..=ATTEMPTS)
        .filter(|n| world.executed[usize::from(*n) - 1] != Executed::No && world.freed & bit(*n) == 0);
    (paid.count() > 1).then_some(Wrong::Twice)
}

fn is_about_to_send(driver: &Driver) -> bool {
    matches!(driver.life, Life::Buying(buying) if buying.does == Does::Post) && !driver.is_frozen
}

fn time_passes(world: &mut World, until: u8) -> Option<()> {
    if world.now + 1 >= until || world.drivers.iter().any(is_about_to_send) {
        return None;
    }
    let before = world.seconds();
    world.now += 1;
    let passed = world.seconds() - before;
    for driver in world
        .drivers
        .iter_mut()
        .filter(|driver| driver.is_frozen && driver.lag != u32::MAX)
    {
        driver.lag += passed;
    }
    Some(())
}

/// What a search has found.
#[derive(Debug)]
struct Found {
    states: usize,
    depth: usize,
    wrong: Option<(Wrong, Vec<Act>)>,
    stuck: Option<Vec<Act>>,
}

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
    fn new(mutant: Mutant) -> Self {
        Self {
            shipped: Shipped::new(),
            mutant,
        }
    }

    /// Looks at no more than `most` states.
    fn run(&mut self, start: World, most: usize) -> Found {
        let acts = acts();
        let mut seen: HashSet<u64, std::hash::BuildHasherDefault<Mix>> = HashSet::default();
        let mut good: HashSet<u64, std::hash::BuildHasherDefault<Mix>> = HashSet::default();
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
                if self.mutant == Mutant::None && !self.settles(&world, &mut good) {
                    return Found {
                        states: seen.len(),
                        depth,
                        wrong: None,
                        stuck: Some(path(&came_from, n)),
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
                            stuck: None,
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
            stuck: None,
        }
    }

    /// Whether it comes to an end, or a person is asked, if nothing goes wrong any more.
    fn settles(
        &mut self,
        world: &World,
        good: &mut HashSet<u64, std::hash::BuildHasherDefault<Mix>>,
    ) -> bool {
        let mut way = Vec::new();
        let mut now = *world;
        loop {
            let print = print_of(&now);
            if good.contains(&print) {
                break;
            }
            if way.len() > 400 {
                return false;
            }
            way.push(print);
            match self.fair(&now) {
                Some(next) => now = next,
                None if self.is_settled(&now) => break,
                None => return false,
            }
        }
        good.extend(way);
        true
    }

    /// The next thing that happens where nothing goes wrong.
    fn fair(&mut self, world: &World) -> Option<World> {
        let mut acts = vec![Act::Vanishes, Act::Listed(1), Act::Listed(2), Act::Listed(3)];
        for d in 0..DRIVERS {
            acts.extend([Act::Thaw(d), Act::Does(d, How::Well), Act::Watch(d)]);
        }
        for d in 0..DRIVERS {
            acts.extend((1..=ATTEMPTS).map(|n| Act::Follow(d, n, Sees::Well)));
            acts.push(Act::Look(d));
        }
        let next = acts.into_iter().find_map(|act| self.after(world, act));
        next.or_else(|| {
            let mut next = *world;
            time_passes(&mut next, u8::try_from(TIMES.len()).ok()?)?;
            Some(next)
        })
    }

    /// Nothing is to be done, or it is a person's turn.
    fn is_settled(&self, world: &World) -> bool {
        world.records.iter().flatten().all(|rec| {
            let known = self.shipped.known(rec.known);
            known.state.is_final() || (known.state == Outcome::Unknown && known.evidence.is_some())
        })
    }
}

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

#[test]
fn no_order_of_events_buys_twice_loses_an_outcome_or_leaves_one_without_an_end() {
    let budgets = [(2, 2, 2, 1), (3, 1, 1, 1), (2, 0, 1, 0), (2, 1, 1, 0)];
    let mut all = 0;
    for (drivers, faults, edits, answers) in budgets {
        let mut search = Search::new(Mutant::None);
        let found = search.run(
            World::new(drivers, faults, edits, answers),
            most() / budgets.len() + 1,
        );
        println!(
            "{drivers} processes, {faults} faults, {edits} edits, {answers} answers: {} states, {} acts deep",
            found.states, found.depth
        );
        all += found.states;
        if let Some((wrong, path)) = found.wrong {
            panic!("{wrong:?}:{}", told(&path));
        }
        if let Some(path) = found.stuck {
            panic!("it comes to no end:{}", told(&path));
        }
    }
    assert!(all >= most(), "{all} states");
}

/// A process has claimed, and stands still with its clocks while much time passes.
const FROZEN: &[Act] = &[
    Act::Look(0),
    Act::Does(1, How::Well),
    Act::Freeze(1),
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
];
/// Two processes have decided to buy, and one has bought.
const BOUGHT: &[Act] = &[
    Act::Look(0),
    Act::Look(0),
    Act::Does(0, How::Well),
    Act::Does(1, How::Well),
    Act::Does(1, How::Well),
    Act::Does(1, How::Well),
];

#[test]
fn each_fault_that_is_put_in_is_found() {
    use Wrong::{AfterItWasSettled, Lost, SameRecordTwice, Twice, WithoutRecord};
    for (mutant, wrongs, (faults, edits, answers), begin) in [
        (
            Mutant::TailBelowAGap,
            &[Twice, SameRecordTwice][..],
            (0, 1, 0),
            &[][..],
        ),
        (
            Mutant::SecondLookIgnoresRecord,
            &[AfterItWasSettled],
            (1, 0, 1),
            FROZEN,
        ),
        (Mutant::SecondLookDropped, &[AfterItWasSettled], (1, 0, 1), FROZEN),
        (
            Mutant::SecondLookIgnoresStatus,
            &[SameRecordTwice],
            (0, 1, 0),
            BOUGHT,
        ),
        (Mutant::ConflictIsMine, &[WithoutRecord], (0, 0, 0), &[]),
        (Mutant::FoundIsMine, &[WithoutRecord], (0, 0, 0), &[]),
        (Mutant::ServerErrorIsRefusal, &[Lost], (1, 0, 0), &[]),
    ] {
        let mut search = Search::new(mutant);
        let mut start = World::new(2, faults, edits, answers);
        for act in begin {
            start = search.after(&start, *act).expect("the beginning happens");
        }
        let found = search.run(start, 3_000_000);
        match found.wrong {
            Some((is, path)) => {
                println!("{mutant:?}: {is:?} after {} states:{}", found.states, told(&path));
                assert!(wrongs.contains(&is), "{mutant:?}: {is:?}");
            }
            None => panic!(
                "{mutant:?} is not found in {} states, {} deep",
                found.states, found.depth
            ),
        }
    }
}
