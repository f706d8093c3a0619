//! The paid calls of one key: for whom one is counted that has not left yet, and how many are under way. Pure.

use std::collections::{HashMap, HashSet};

use super::asker::Who;
use super::pace::{Left, Pace};
use crate::domain::moment::Moment;

/// Paid calls under way with one key.
pub const PAID_UNDER_WAY: usize = 4;

/// Leaves to make one paid call.
#[derive(Default)]
pub struct Leaves {
    given: HashMap<Who, Left>,
    under_way: usize,
}

impl Leaves {
    /// Whether there is room for one more beside those that were given.
    pub fn may_give(&self, pace: &Pace, now: Moment) -> bool {
        self.has_room(self.given.len(), pace, now)
    }

    /// Whether one more paid call may leave now, with so many to come beside those under way.
    fn has_room(&self, to_come: usize, pace: &Pace, now: Moment) -> bool {
        self.under_way + to_come < PAID_UNDER_WAY && pace.next(true, now.monotonic) <= now.monotonic
    }

    /// Gives leave. The call is counted from now on.
    pub fn give(&mut self, who: &Who, pace: &mut Pace, now: Moment) {
        self.given.insert(who.clone(), pace.left(now.monotonic));
    }

    /// Uses the leave of `who`, or one that is there for whoever comes: others were given theirs and may be slow to come.
    pub fn take(&mut self, who: &Who, pace: &mut Pace, now: Moment) -> bool {
        if self.given.remove(who).is_none() {
            if !self.has_room(0, pace, now) {
                return false;
            }
            pace.left(now.monotonic);
        }
        self.under_way += 1;
        true
    }

    /// A paid call has ended, or will not be made.
    pub fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
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
