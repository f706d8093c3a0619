//! What a look decides, and what a purchase does in the world.

use super::acts::{How, MOST_HOLDERS, Search, bit, running, take};
use super::faults::Mutant;
use super::shipped::{Came, Choice, Says, Then};
use super::world::{ATTEMPTS, Buying, Does, Executed, Goods, Life, Rec, Told, World, Wrong};
use super::*;
use crate::ledger::record::State as RecordState;

impl Search {
    pub fn look(&mut self, next: &mut World, d: u8) -> Option<()> {
        let before = *next;
        if running(next, d)?.life != Life::Idle {
            return None;
        }
        let (choice, last) = self.shipped.look(&before, usize::from(d));
        let (order, adopts) = match choice {
            Choice::Buy(order) => (order, false),
            Choice::Adopt(order) => (order, true),
            Choice::Show(names) => {
                if let Some(rec) = before.record(last).filter(|_| names) {
                    next.object.named = last;
                    next.object.shown = self.shipped.known(rec.known).state;
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
            told: before.object.told(),
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
                Does::Create
                | Does::Read
                | Does::LookAtObject
                | Does::LookAtRecord
                | Does::Post
                | Does::Write(_) => return,
            };
            let then = self
                .shipped
                .next(buying.purchase, came, next.clock(usize::from(d)));
            goes_on(next, d, buying, then, None);
        }
    }

    fn is_sending(&self, rec: Option<Rec>) -> bool {
        rec.is_some_and(|rec| self.shipped.known(rec.known).state == RecordState::Sending)
    }

    pub fn does(&mut self, next: &mut World, d: u8, how: How) -> Option<()> {
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
                if self.mutant == Mutant::SendBeforeClaim {
                    wrong = self.sends(next, n, holder, true);
                }
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
            Does::LookAtObject => match how {
                How::Well => {
                    let object = next.object;
                    let is_wanted = object.exists
                        && object.uid == placed.uid
                        && object.generation == placed.generation
                        && !object.is_suspended
                        && (self.mutant != Mutant::RecordBeforeTheObject || self.is_sending(ours));
                    let dropped = self.mutant == Mutant::SecondLookDropped;
                    Came::LookedAtObject {
                        is_wanted: is_wanted || dropped,
                        is_told_alike: object.told() == told
                            || dropped
                            || self.mutant == Mutant::SecondLookIgnoresStatus,
                    }
                }
                How::LostBefore => Came::ObjectBusy,
                _ => return None,
            },
            Does::LookAtRecord => match how {
                How::Well => {
                    let ignores_record = matches!(
                        self.mutant,
                        Mutant::SecondLookDropped
                            | Mutant::SecondLookIgnoresRecord
                            | Mutant::RecordBeforeTheObject
                            | Mutant::ConflictIsMine
                            | Mutant::FoundIsMine
                    );
                    Came::LookedAtRecord {
                        is_ours: self.is_sending(ours) || ignores_record,
                    }
                }
                How::LostBefore => Came::RecordBusy,
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
                    How::Denied => (true, Says::Rejected),
                    How::Doubled => return None,
                };
                if says != Says::NotSent {
                    wrong = self.sends(next, n, holder, executes);
                }
                match says {
                    Says::Broken if self.mutant == Mutant::RetryOnServerError => {
                        next.wrong = next.wrong.or(wrong);
                        return Some(());
                    }
                    Says::Broken if self.mutant == Mutant::ServerErrorIsRefusal => {
                        Came::Answered(Says::Rejected)
                    }
                    says => Came::Answered(says),
                }
            }
            Does::Write(known) => {
                let stands = match ours {
                    _ if there.is_none() => Err(Came::Gone),
                    Some(rec) if rec.version == buying.version || self.is_written_over(rec) => Ok(rec),
                    _ => Err(Came::WriteUnclear),
                };
                match (how, stands) {
                    (How::Well, Err(came)) => came,
                    (How::Well | How::LostAfter, Ok(rec)) => {
                        wrong = self.written(next, d, n, rec, known);
                        let driver = &mut next.drivers[usize::from(d)];
                        if self.shipped.known(known).state == RecordState::NotSent {
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

    fn is_written_over(&self, rec: Rec) -> bool {
        let is_a_persons = self.shipped.known(rec.known).evidence == Some(Evidence::Person);
        self.mutant == Mutant::LateAnswerOverAPersons && is_a_persons
    }

    /// A call leaves for the record of this holder.
    fn sends(&self, next: &mut World, n: u8, holder: u8, executes: bool) -> Option<Wrong> {
        let wrong = match next.record(n).filter(|rec| rec.holder == holder) {
            None => Some(Wrong::WithoutRecord),
            Some(rec) if self.shipped.known(rec.known).state.is_final() => Some(Wrong::AfterItWasSettled),
            Some(_) => None,
        };
        let executed = executes.then(|| execute(next, n)).flatten();
        wrong.or(executed)
    }

    /// A process writes a status over this record.
    pub fn written(&self, next: &mut World, d: u8, n: u8, rec: Rec, known: u16) -> Option<Wrong> {
        next.records[usize::from(n) - 1] = Some(Rec {
            known,
            version: rec.version + 1,
            ..rec
        });
        let after = self.shipped.known(known);
        if self.shipped.known(rec.known).state.is_final() && known != rec.known {
            return Some(Wrong::SettledChanged);
        }
        if !self.shipped.known(rec.known).state.may_become(after.state) {
            return Some(Wrong::TakenForAnother);
        }
        // A VM that is listed is found again by its token before anything is bought.
        let is_executed = match self.goods {
            Goods::NewVm => next.executed(n) == Executed::Unseen,
            Goods::Disk => matches!(next.executed(n), Executed::Unseen | Executed::Listed),
        };
        let is_denied = self.goods == Goods::Disk && after.state == RecordState::Rejected;
        let is_right = next.drivers[usize::from(d)].skew <= 0;
        let is_early = next.seconds() < rec.stamped + u32::try_from(times().settle_time.as_secs()).ok()?;
        if after.state == RecordState::Accepted && rec.told == Told::NotExecuted {
            next.refuted |= bit(n);
        }
        match after.state {
            RecordState::NotExecuted => {
                next.freed |= bit(n);
                let was_refuted = next.refuted & bit(n) != 0;
                let refuted = was_refuted.then_some(Wrong::RefutedAnswer);
                refuted.or((is_right && is_early).then_some(Wrong::ActedTooEarly))
            }
            RecordState::NotSent | RecordState::Rejected if is_executed && !is_denied => Some(Wrong::Lost),
            _ => None,
        }
    }
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
