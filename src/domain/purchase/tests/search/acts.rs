//! What can happen in the world, and what comes of it.

use super::faults::Mutant;
use super::shipped::{Following, Sees, Shipped};
use super::world::{
    ATTEMPTS, DRIVERS, Does, Driver, Executed, Goods, Life, Moments, Rec, Remembers, SOON, Told, World, Wrong,
};
use super::*;
use crate::ledger::record::State as RecordState;

pub const MOST_HOLDERS: u8 = 6;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
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
    /// A process whose clock is wrong is gone for good.
    Dies(u8),
    TimePasses,
    /// HostUp lists the VM of an attempt.
    Listed(u8),
    /// HostUp provides the VM of an attempt no longer, and its record says so.
    VmEnds(u8),
    /// HostUp does not know the job of an attempt any more.
    Forgets(u8),
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
pub enum How {
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
    /// Done, and refused.
    Denied,
}

const ALL_HOWS: [How; 9] = [
    How::Well,
    How::LostAfter,
    How::LostBefore,
    How::Doubled,
    How::Refused,
    How::BrokenAfter,
    How::BrokenBefore,
    How::NotSent,
    How::Denied,
];

/// All that may happen where there are so many processes.
pub fn acts(drivers: u8) -> Vec<Act> {
    let mut acts = Vec::new();
    for d in 0..drivers {
        acts.extend(ALL_HOWS.map(|how| Act::Does(d, how)));
        acts.extend([
            Act::Look(d),
            Act::Watch(d),
            Act::Crash(d),
            Act::Freeze(d),
            Act::Thaw(d),
            Act::Dies(d),
        ]);
        for n in 1..=ATTEMPTS {
            let seen = [Sees::Well, Sees::NoJob, Sees::BrokenList, Sees::Nothing];
            acts.extend(seen.map(|sees| Act::Follow(d, n, sees)));
        }
    }
    for n in 1..=ATTEMPTS {
        acts.extend([
            Act::Listed(n),
            Act::VmEnds(n),
            Act::Forgets(n),
            Act::DeleteRecord(n),
            Act::Answer(n, Told::NotExecuted),
            Act::Answer(n, Told::Abandon),
            Act::Answer(n, Told::Adopt),
            Act::Answer(n, Told::Nothing),
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

pub struct Search {
    pub shipped: Shipped,
    pub goods: Goods,
    pub mutant: Mutant,
    pub moments: Moments,
    /// What happens where nothing goes wrong, the first that can.
    pub fair: Vec<Act>,
}

fn fair() -> Vec<Act> {
    let mut acts = vec![Act::Vanishes];
    acts.extend((1..=ATTEMPTS).map(Act::Listed));
    for d in 0..DRIVERS {
        acts.extend([Act::Thaw(d), Act::Does(d, How::Well), Act::Watch(d)]);
    }
    for d in 0..DRIVERS {
        acts.extend((1..=ATTEMPTS).map(|n| Act::Follow(d, n, Sees::Well)));
        acts.push(Act::Look(d));
    }
    acts
}

pub fn bit(n: u8) -> u8 {
    1 << n
}

pub fn take(budget: &mut u8) -> Option<()> {
    *budget = budget.checked_sub(1)?;
    Some(())
}

impl Search {
    pub fn new(goods: Goods, mutant: Mutant) -> Self {
        Self {
            shipped: Shipped::new(goods, mutant),
            goods,
            mutant,
            moments: SOON,
            fair: fair(),
        }
    }

    /// The world after `act`; `None` where that cannot happen or changes nothing.
    pub fn after(&mut self, world: &World, act: Act) -> Option<World> {
        if !self.may_happen(world, act) {
            return None;
        }
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
                (driver.claimed, driver.unsent) = (0, 0);
                driver.remembers = Remembers::default();
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
                if !driver.is_frozen || !driver.is_there() {
                    return None;
                }
                driver.is_frozen = false;
            }
            Act::Dies(d) => {
                take(&mut next.faults)?;
                let driver = running(&mut next, d)?;
                if driver.skew == 0 {
                    return None;
                }
                driver.dies();
            }
            Act::TimePasses => time_passes(&mut next, self.moments.searched)?,
            Act::Listed(n) => {
                let executed = next.executed.get_mut(usize::from(n) - 1)?;
                if *executed != Executed::Unseen {
                    return None;
                }
                *executed = Executed::Listed;
            }
            Act::VmEnds(n) => {
                take(&mut next.edits)?;
                let known = self.shipped.ended(world.record(n)?.known)?;
                let rec = next.records.get_mut(usize::from(n) - 1)?.as_mut()?;
                rec.known = known;
                rec.version += 1;
                *next.executed.get_mut(usize::from(n) - 1)? = Executed::Ended;
            }
            Act::Forgets(n) => {
                take(&mut next.faults)?;
                let rec = world.record(n)?;
                self.shipped.known(rec.known).job.as_ref()?;
                next.forgotten |= bit(n);
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
                if self.goods == Goods::Disk {
                    // It has a quote of its own, which a person approves once more.
                    for n in 1..=ATTEMPTS {
                        if world.record(n).is_none() {
                            *next.executed.get_mut(usize::from(n) - 1)? = Executed::No;
                            next.freed &= !bit(n);
                        } else if world.executed(n) != Executed::No {
                            next.freed |= bit(n);
                        }
                    }
                }
                (next.object.generation, next.object.is_suspended) = (1, false);
                (next.object.named, next.object.shown) = (0, RecordState::Sending);
            }
            Act::DeleteRecord(n) => {
                take(&mut next.edits)?;
                let rec = world.record(n)?;
                // The shipped policy keeps what is not finished, and an object's status tells of the end long before a
                // person tidies up.
                let object = world.object;
                let is_named = object.named > n || (object.named == n && object.shown.is_final());
                let is_told = is_named || !object.exists || object.uid != rec.uid;
                if !is_told || !self.shipped.known(rec.known).state.is_final() {
                    return None;
                }
                *next.records.get_mut(usize::from(n) - 1)? = None;
                match (self.goods, world.executed(n)) {
                    // Nothing tells of it any more, neither a record nor a VM.
                    (Goods::NewVm, Executed::Ended) => next.freed |= bit(n),
                    // The object was made anew, and approved anew.
                    (Goods::Disk, _) if object.exists && object.uid != rec.uid => {
                        *next.executed.get_mut(usize::from(n) - 1)? = Executed::No;
                        next.freed &= !bit(n);
                    }
                    // What a later record of that name says is about another call.
                    (Goods::Disk, Executed::Unseen | Executed::Listed) => {
                        *next.executed.get_mut(usize::from(n) - 1)? = Executed::Ended;
                    }
                    (_, _) => {}
                }
            }
            Act::Answer(n, told) => {
                take(&mut next.answers)?;
                // No person answers within the moment between the second look and the POST.
                if world.drivers.iter().any(is_about_to_send) {
                    return None;
                }
                let before = world.record(n)?;
                let known = self.shipped.known(before.known);
                // The rules of the CRD.
                let is_refused = known.answer_refused.is_some();
                let is_taken = match before.told {
                    Told::Nothing => known.state == RecordState::Unknown && !is_refused,
                    _ => is_refused && (told == Told::Nothing || known.state == RecordState::Unknown),
                };
                // A process examines an answer once; in this world, one that names no VM would be examined for ever.
                let is_examined_for_ever = told == Told::Adopt && known.evidence.is_none();
                if !is_taken || is_examined_for_ever {
                    return None;
                }
                next.refuted &= !bit(n);
                let rec = next.records.get_mut(usize::from(n) - 1)?.as_mut()?;
                rec.told = told;
                rec.version += 1;
            }
        }
        // The processes are alike: whose turn it is matters, and not which is called the first.
        next.drivers.sort_unstable();
        (next != *world).then_some(next)
    }

    /// Whether it is worth a closer look: most acts are not, in most worlds.
    fn may_happen(&self, world: &World, act: Act) -> bool {
        let driver = |d: u8| world.drivers[usize::from(d)];
        let runs = |d| !driver(d).is_frozen;
        let is_open = |n| {
            let rec = world.record(n);
            rec.is_some_and(|rec| !self.shipped.known(rec.known).state.is_final())
        };
        match act {
            Act::Look(d) => runs(d) && driver(d).life == Life::Idle,
            Act::Does(d, how) => {
                // A new VM that was denied is found again by its token before anything else is bought.
                let is_told = how != How::Denied || self.goods == Goods::Disk;
                runs(d) && driver(d).life != Life::Idle && is_told && (how == How::Well || world.faults > 0)
            }
            Act::Follow(_, _, Sees::NoJob | Sees::BrokenList) if self.goods == Goods::Disk => false,
            Act::Follow(d, n, sees) => runs(d) && is_open(n) && (sees == Sees::Well || world.faults > 0),
            Act::Watch(d) => runs(d),
            Act::Crash(d) | Act::Freeze(d) | Act::Dies(d) => runs(d) && world.faults > 0,
            Act::Thaw(d) => !runs(d),
            Act::Forgets(n) => is_open(n) && world.faults > 0,
            Act::Answer(n, _) => is_open(n) && world.answers > 0,
            Act::Suspend | Act::Edit | Act::DeleteObject | Act::DeleteRecord(_) => world.edits > 0,
            Act::Lands | Act::Vanishes => world.late.is_some(),
            Act::VmEnds(n) => world.executed(n) == Executed::Listed && world.edits > 0,
            Act::MakeObject => !world.object.exists,
            Act::Listed(_) | Act::TimePasses => true,
        }
    }

    fn follow(&mut self, next: &mut World, d: u8, n: u8, sees: Sees) -> Option<()> {
        let now = next.clock(usize::from(d));
        let rec = next.record(n)?;
        if sees != Sees::Well {
            take(&mut next.faults)?;
        }
        let driver = *running(next, d)?;
        let (known, remembers) = self.shipped.follow(Following {
            attempt: n,
            rec,
            is_in_flight: match driver.life {
                Life::Idle => false,
                Life::Buying(buying) => self.shipped.placed(buying.order).attempt == n,
            },
            remembers: driver.remembers,
            is_known_unsent: driver.unsent & bit(rec.holder) != 0,
            listed: match self.goods {
                Goods::NewVm => next.listed(),
                Goods::Disk => usize::from(next.executed(n) == Executed::Listed),
            },
            is_forgotten: next.forgotten & bit(n) != 0,
            sees,
            now,
        })?;
        next.drivers[usize::from(d)].remembers = remembers;
        let sees_the_job =
            sees == Sees::Well && self.shipped.known(rec.known).job.is_some() && next.forgotten & bit(n) == 0;
        if sees_the_job && rec.told == Told::NotExecuted {
            next.refuted |= bit(n);
        }
        if known == rec.known {
            return Some(());
        }
        let wrong = self.untrue(next, n, rec, known, sees);
        if self.shipped.known(known).state == RecordState::NotSent {
            next.drivers[usize::from(d)].claimed &= !bit(n);
        }
        let written = self.written(next, d, n, rec, known);
        next.wrong = next.wrong.or(wrong).or(written);
        Some(())
    }

    /// What such a reading cannot have shown.
    fn untrue(&self, world: &World, n: u8, rec: Rec, known: u16, sees: Sees) -> Option<Wrong> {
        let (before, after) = (self.shipped.known(rec.known), self.shipped.known(known));
        let is_news = before.evidence != after.evidence;
        let was_asked = before.state == RecordState::Unknown && before.evidence.is_some();
        let is_deadline = after.evidence == Some(Evidence::JobDeadline);
        match (before.state, after.state) {
            _ if was_asked && after.evidence.is_none() && sees != Sees::Well => {
                Some(Wrong::QuestionWithdrawn)
            }
            (RecordState::Accepted, RecordState::Unknown) | (RecordState::Unknown, RecordState::Accepted)
                if matches!(sees, Sees::NoJob | Sees::Nothing) && !is_deadline =>
            {
                Some(Wrong::MovedUnread)
            }
            _ if is_news
                && self.goods == Goods::NewVm
                && after.evidence == Some(Evidence::NoneFound)
                && world.executed(n) == Executed::Listed =>
            {
                Some(Wrong::CalledAbsent)
            }
            _ => None,
        }
    }
}

/// The process, if it is there and runs.
pub fn running(world: &mut World, d: u8) -> Option<&mut Driver> {
    world
        .drivers
        .get_mut(usize::from(d))
        .filter(|driver| !driver.is_frozen)
}

fn is_about_to_send(driver: &Driver) -> bool {
    matches!(driver.life, Life::Buying(buying) if buying.does == Does::Post) && !driver.is_frozen
}

pub fn time_passes(world: &mut World, until: u8) -> Option<()> {
    if world.now + 1 >= until || world.drivers.iter().any(is_about_to_send) {
        return None;
    }
    let before = world.seconds();
    world.now += 1;
    let passed = world.seconds() - before;
    for driver in world
        .drivers
        .iter_mut()
        .filter(|driver| driver.is_frozen && driver.is_there())
    {
        driver.lag += passed;
    }
    Some(())
}
