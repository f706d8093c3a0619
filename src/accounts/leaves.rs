//! The paid calls of one key: for whom one is counted that has not left yet, and how many are under way. Pure.

use std::collections::{HashMap, HashSet};

use super::asker::Who;
use super::pace::{Pace, Promise};
use super::queue::Class;
use crate::domain::values::moment::Moment;

/// Paid calls under way with one key.
pub const PAID_UNDER_WAY: usize = 4;

/// Leaves to make one paid call.
#[derive(Default)]
pub struct Leaves {
    given: HashMap<Who, Promise>,
    under_way: usize,
}

impl Leaves {
    /// Whether there is room for one more beside those that were given.
    pub fn may_give(&self, pace: &Pace, now: Moment) -> bool {
        self.has_room(self.given.len(), pace, now)
    }

    /// Whether one more paid call may leave now, with so many to come beside those under way.
    fn has_room(&self, to_come: usize, pace: &Pace, now: Moment) -> bool {
        self.under_way + to_come < PAID_UNDER_WAY && pace.next(Class::Sent, now.monotonic) <= now.monotonic
    }

    /// Gives leave. The call is counted from now on.
    pub fn give(&mut self, who: &Who, pace: &mut Pace, now: Moment) {
        self.given.insert(who.clone(), pace.promise(now.monotonic));
    }

    /// Uses the leave of `who`. Without one it uses free room, even if others have not used their leaves yet: they may
    /// be slow.
    pub fn take(&mut self, who: &Who, pace: &mut Pace, now: Moment) -> Option<Promise> {
        let call = match self.given.remove(who) {
            Some(call) => call,
            None if self.has_room(0, pace, now) => pace.promise(now.monotonic),
            None => return None,
        };
        self.under_way += 1;
        Some(call)
    }

    /// A paid call has ended; `unmade` where it did not leave.
    pub fn ended(&mut self, unmade: Option<Promise>, pace: &mut Pace) {
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(call) = unmade {
            pace.did_not_leave(call);
        }
    }

    /// The call that leave was given for is not made, and not counted any more.
    pub fn give_back(&mut self, who: &Who, pace: &mut Pace) {
        if let Some(call) = self.given.remove(who) {
            pace.did_not_leave(call);
        }
    }

    /// As [`Leaves::give_back`], for all but these.
    pub fn give_back_but(&mut self, those: &HashSet<Who>, pace: &mut Pace) {
        self.given.retain(|who, call| {
            let keeps = those.contains(who);
            if !keeps {
                pace.did_not_leave(*call);
            }
            keeps
        });
    }
}
