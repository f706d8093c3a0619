//! What is read again before it is too old.

use super::super::asker::{Age, Want};
use super::super::question::{Reading, Readings};
use super::super::queue::Class;
use super::{Desk, LASTS, Session};
use crate::domain::values::moment::Moment;

impl Desk {
    /// Has readings made anew that serve an approved purchase and will soon serve none, so that the purchases that follow
    /// do not wait for them. A reading that serves for a short time only is not worth it.
    pub(super) fn read_ahead(&mut self, session: &Session, readings: &Readings, now: Moment) {
        if session.asker.class != Class::Approved || self.away.is_some() {
            return;
        }
        for Want { question, age } in &session.wants {
            let Age::Before(longest) = *age else { continue };
            let serves_for = LASTS.min(longest);
            if serves_for < LASTS / 2 {
                continue;
            }
            let is_old =
                |reading: &Reading| now.since(&reading.began) > serves_for * 2 / 3 && reading.answer.is_ok();
            if readings.of(question).is_some_and(is_old) && self.queue.get(question).is_none() {
                let since = session.asker.since;
                self.queue.put(question, Class::Routine, since, now.monotonic);
                self.ahead.insert(question.clone());
            }
        }
    }

    /// Only what somebody waits for tries while HostUp is away.
    pub(super) fn read_nothing_ahead(&mut self) {
        for question in std::mem::take(&mut self.ahead) {
            if !self.asking.contains_key(&question) {
                self.queue.drop_waiting(&question);
            }
        }
    }
}
