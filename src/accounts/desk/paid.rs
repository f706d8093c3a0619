//! The paid calls of a key, which wait for no read.

use std::time::Duration;

use super::super::asker::Who;
use super::super::pace::Promise;
use super::super::queue::Class;
use super::{Desk, Place, order};
use crate::domain::values::moment::Moment;
use crate::hostup::ReadError;

impl Desk {
    /// Leave for one paid call of `who`; it lasts until [`Desk::paid`].
    pub fn take_paid_call(&mut self, who: &Who, now: Moment) -> Option<Promise> {
        if self.pace.held(now.monotonic).is_some() {
            return None;
        }
        self.leaves.take(who, &mut self.pace, now)
    }

    /// The paid call leaves now.
    ///
    /// # Errors
    /// [`ReadError::RateLimited`] where HostUp wants none: another call may have been told since leave was given.
    pub fn paid_call_leaves(&mut self, call: Promise, now: Moment) -> Result<(), ReadError> {
        if self.pace.held(now.monotonic).is_some() {
            return Err(self.wait_asked_for(now));
        }
        self.pace.leaves_late(call, now.monotonic);
        Ok(())
    }

    /// A paid call has ended; `unmade` where it did not leave.
    pub fn paid(&mut self, unmade: Option<Promise>) {
        self.leaves.ended(unmade, &mut self.pace);
    }

    /// Somebody whose turn it was has no leave for its paid call: it is woken once it may have.
    pub fn wait_again(&mut self, who: &Who) {
        if let Some(session) = self.sessions.get_mut(who)
            && matches!(session.place, Place::Woken(_))
        {
            session.place = Place::Complete;
            // Whatever it asked for before, a purchase waits now.
            session.asker.class = session.asker.class.min(Class::Approved);
            self.complete.insert(order(session));
            self.sleeps(who);
        }
    }

    /// A wait that HostUp asks for and that is so short that nobody is told.
    pub fn moment(&self, now: Moment) -> Option<Duration> {
        let until = self.pace.held(now.monotonic)?;
        self.limited(now)
            .is_none()
            .then(|| until.saturating_sub(now.monotonic))
    }
}
