//! The last part of a purchase: what its holder has learnt is written, however long the API server takes. An outcome
//! that reached this process is not lost while the process lives.

use std::time::Duration;

use super::{Effect, End, Event, Reading};
use crate::action::follow::{Input, Memo, step};
use crate::ledger::record::{Outcome, Record, State as RecordState, Times, later};
use crate::values::ids::RecordName;
use crate::values::moment::Moment;

/// The first and the longest wait between two tries to write.
const RETRIES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// The longest wait after a refusal: an outcome that is not written yet can still be lost with the process.
const LONGEST_REFUSAL: Duration = Duration::from_secs(60);
/// Reads that confirm that a record is gone: a single 404 may be of a server that lags behind.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// The answer to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It stands.
    Stood,
    /// The API server does not have the record.
    Gone,
    /// The API server said no before it wrote.
    Refused,
    /// Somebody wrote before, or it may have been written.
    Unclear,
    /// The VM that would be the result is another record's.
    Anothers(RecordName),
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Recording {
    record: Box<Record>,
    /// When the purchase began, by the clocks of its process.
    made: Moment,
    input: Input,
    /// What was last to be written.
    wanted: Outcome,
    wait: Duration,
    longest: Duration,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Writing,
    /// A write or a read said that the record is gone; so many reads are still to say so.
    Gone {
        looks: u32,
    },
    /// Before the next try.
    Pausing,
    Rereading,
}

/// What is done next, or how it ended.
pub(super) type Next = Result<(Recording, Effect), Box<End>>;

impl Recording {
    pub(super) fn begin(record: Box<Record>, input: Input, times: &Times, made: Moment, now: Moment) -> Next {
        let (wait, longest) = RETRIES;
        let wanted = record.known.clone();
        let recording = Self {
            record,
            made,
            input,
            wanted,
            wait,
            longest,
            at: At::Writing,
        };
        recording.write(times, now)
    }

    pub(super) fn next(mut self, event: Event, times: &Times, now: Moment) -> Next {
        match (self.at, event) {
            (At::Writing, Event::Written(written)) => self.written(written, times, now),
            (At::Gone { .. } | At::Pausing, Event::Waited) => {
                if self.at == At::Pausing {
                    self.at = At::Rereading;
                }
                Ok((self, Effect::Read))
            }
            (At::Gone { looks }, Event::Read(Reading::None)) => {
                if looks <= 1 {
                    return Err(Box::new(End::Gone(self.record, self.wanted)));
                }
                self.at = At::Gone { looks: looks - 1 };
                Ok((self, Effect::Wait(BETWEEN_LOOKS)))
            }
            (At::Gone { .. }, Event::Read(Reading::Anothers)) => {
                Err(Box::new(End::Gone(self.record, self.wanted)))
            }
            (At::Gone { .. }, Event::Read(Reading::Found(fresh))) => {
                if fresh.claim.holder != self.record.claim.holder {
                    return Err(Box::new(End::Gone(self.record, self.wanted)));
                }
                // What is written next is written over this one.
                self.record = fresh;
                Ok(self.again())
            }
            (At::Gone { .. }, Event::Read(_)) => Ok(self.again()),
            // A write may answer a record that is gone with a conflict (Kubernetes 1.31), never with a 404.
            (At::Rereading, Event::Read(Reading::None)) => {
                self.at = At::Gone { looks: LOOKS - 1 };
                Ok((self, Effect::Wait(BETWEEN_LOOKS)))
            }
            (At::Rereading, Event::Read(read)) => self.reread(read, times, now),
            (_, _) => Err(Box::new(End::Confused)),
        }
    }

    fn written(mut self, written: Written, times: &Times, now: Moment) -> Next {
        match written {
            Written::Stood => {
                let from = self.record.known.state;
                Err(Box::new(self.recorded(from)))
            }
            Written::Gone => {
                self.at = At::Gone { looks: LOOKS };
                Ok((self, Effect::Wait(BETWEEN_LOOKS)))
            }
            Written::Refused => {
                self.longest = LONGEST_REFUSAL;
                Ok(self.again())
            }
            Written::Unclear => Ok(self.again()),
            Written::Anothers(other) => match self.input {
                Input::FoundBeforeClaim(found) => {
                    self.input = Input::FoundBeforeClaim(found.taken_by(&other));
                    self.write(times, now)
                }
                input => Ok(Self { input, ..self }.again()),
            },
        }
    }

    fn again(mut self) -> (Self, Effect) {
        let wait = self.wait;
        self.wait = (wait * 2).min(self.longest);
        self.at = At::Pausing;
        (self, Effect::Wait(wait))
    }

    fn reread(mut self, read: Reading<Box<Record>>, times: &Times, now: Moment) -> Next {
        if read == Reading::Anothers {
            return Err(Box::new(End::Gone(self.record, self.wanted)));
        }
        if let Reading::Found(fresh) = read {
            if fresh.claim.holder != self.record.claim.holder {
                return Err(Box::new(End::Gone(self.record, self.wanted)));
            }
            self.record = fresh;
        }
        // The write before may have been applied although its answer was lost.
        if self.wanted == self.record.known {
            return Err(Box::new(self.recorded(RecordState::Sending)));
        }
        self.write(times, now)
    }

    fn write(mut self, times: &Times, now: Moment) -> Next {
        // The time of day of this process may be behind: no less has passed since the record was made.
        let since = now.since_without_wall(&self.made);
        let wall = now.wall.max(later(self.record.claimed_by(), since));
        let known = step(
            &self.record,
            self.input.clone(),
            &mut Memo::default(),
            times,
            wall,
        );
        if known == self.record.known {
            return Err(Box::new(End::Settled {
                record: self.record,
                learnt: self.input,
            }));
        }
        self.wanted = known.clone();
        self.at = At::Writing;
        Ok((self, Effect::Write(known)))
    }

    fn recorded(self, from: RecordState) -> End {
        End::Recorded {
            from,
            record: self.record,
            known: self.wanted,
        }
    }
}
