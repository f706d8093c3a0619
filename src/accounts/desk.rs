//! Everything that is known of one key: what was read with it, who waits for what, and which call leaves next. Pure:
//! it is given the time, and says what to do.

mod ahead;
mod paid;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::asker::{Age, Asked, Asker, Want, Who};
use super::away::Away;
use super::jobs::Jobs;
use super::leaves::Leaves;
use super::pace::Pace;
use super::question::{Answer, Question, Reading, Readings};
use super::queue::{Class, Next, Queue};
use super::sold::Sold;
use crate::domain::action::follow::JobTimes;
use crate::domain::provider::preflight::Remaining;
use crate::domain::values::ids::RecordName;
use crate::domain::values::moment::Moment;
use crate::hostup::{ReadError, Signal};

/// Reads of one key that are under way together.
const UNDER_WAY: usize = 4;
/// Objects of one key that are woken and have not been looked at yet: what comes after is woken in its order, and
/// no key takes all workers.
const WOKEN: usize = 4;
/// An object that is not looked at within this time after it was woken keeps no other waiting.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(2);
/// An older reading answers nothing: purchases rest on readings no older than a minute, and need a moment too.
pub(super) const LASTS: Duration = Duration::from_secs(50);
/// A wait that HostUp asks for and that lasts so long is shown on the objects that meet it. A shorter one is nothing but
/// pace.
const SHOWN_FROM: Duration = Duration::from_secs(2);
/// The longest wait for a further page: what was read before it is thrown away otherwise, and asked for again.
const LONGEST_WITHIN: Duration = Duration::from_secs(20);
/// A list of the VMs after a job has ended waits a moment, for others that end with it, and for a list that is read anyway.
const GATHERS: Duration = Duration::from_millis(400);
/// How long the end of a job is kept.
const END_KEPT: Duration = Duration::from_secs(600);

/// Since when somebody asks, and for what.
struct Session {
    asker: Asker,
    began: Moment,
    wants: Vec<Want>,
    /// Refusals that answer its questions.
    refused: HashMap<Question, Arc<Reading>>,
    /// It has been told why it waits.
    told: bool,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Asking,
    Complete,
    Woken(Duration),
}

type Order = (Class, Timestamp, Who);

/// The desk of one key.
pub struct Desk {
    pace: Pace,
    queue: Queue,
    shelf: HashMap<Question, Arc<Reading>>,
    sessions: HashMap<Who, Session>,
    asking: HashMap<Question, HashSet<Who>>,
    complete: BTreeSet<Order>,
    woken: HashSet<Who>,
    leaves: Leaves,
    /// Questions of the queue that nobody waits for, and the next ones would.
    ahead: HashSet<Question>,
    under_way: usize,
    away: Option<Away>,
    trouble: HashMap<Question, (ReadError, Moment)>,
    sold: Sold,
    jobs: Jobs,
    asked: u64,
    served: u64,
    /// From 0 to 255: what keeps the tries of several keys apart.
    spread: u32,
}

impl Desk {
    /// Nothing known yet; `spread`, from 0 to 255, keeps the tries of several keys apart.
    pub fn new(now: Moment, spread: u32) -> Self {
        Self {
            pace: Pace::new(now.monotonic),
            queue: Queue::default(),
            shelf: HashMap::new(),
            sessions: HashMap::new(),
            asking: HashMap::new(),
            complete: BTreeSet::new(),
            woken: HashSet::new(),
            leaves: Leaves::default(),
            ahead: HashSet::new(),
            under_way: 0,
            away: None,
            trouble: HashMap::new(),
            sold: Sold::default(),
            jobs: Jobs::default(),
            asked: 0,
            served: 0,
            spread,
        }
    }

    /// Answers from what is there, or leaves the questions to be asked.
    pub fn ask(&mut self, asker: Asker, wants: Vec<Want>, now: Moment) -> Asked {
        let who = asker.who.clone();
        let known = self.sessions.get(&who);
        if known.is_some_and(|session| !session.asker.is_of_one_spec_with(&asker)) {
            self.forget(&who);
        }
        let session = self.sessions.remove(&who);
        let is_new = session.is_none();
        let mut session = session.unwrap_or(Session {
            asker: asker.clone(),
            began: now,
            wants: Vec::new(),
            refused: HashMap::new(),
            told: false,
            place: Place::Asking,
        });
        self.stop_asking(&session);
        session.asker = asker;
        let before = std::mem::replace(&mut session.wants, wants);
        let readings = self.readings(&session, now);
        self.asked += u64::from(is_new);
        let asked = if let Some(readings) = readings {
            self.read_ahead(&session, &readings, now);
            // It overtakes none that is older and waits for its turn, nor more of those that have it than may have.
            let is_next = matches!(session.place, Place::Woken(_))
                || self.may_be_woken(session.asker.class, now)
                    && self
                        .first_in_turn(now)
                        .is_none_or(|first| order(&session) < *first);
            if is_next {
                self.served += u64::from(is_new);
                session.place = if matches!(session.place, Place::Woken(_)) {
                    self.woken.insert(who.clone());
                    Place::Woken(now.monotonic)
                } else {
                    self.give_turn(&who, session.asker.class, now)
                };
                Asked::Ready(readings)
            } else {
                session.place = Place::Complete;
                self.complete.insert(order(&session));
                Asked::Waiting
            }
        } else {
            self.sleeps(&who);
            session.place = Place::Asking;
            self.put(&session, now);
            let held = self.held(&session, now);
            session.told |= held.is_some();
            held.map_or(Asked::Waiting, Asked::Held)
        };
        self.drop_unasked(&before);
        self.sessions.insert(who, session);
        asked
    }

    /// Who asked has got what it needs, or needs it no more.
    pub fn forget(&mut self, who: &Who) {
        if let Some(session) = self.sessions.remove(who) {
            self.stop_asking(&session);
            self.drop_unasked(&session.wants);
            for want in &session.wants {
                if matches!(want.question, Question::DryRun(..)) {
                    self.shelf.remove(&want.question);
                }
            }
        }
        self.sleeps(who);
    }

    /// Those whose turn it is to be looked at. They are woken once.
    pub fn turns(&mut self, now: Moment) -> Vec<Who> {
        let sessions = &self.sessions;
        self.woken
            .retain(|who| match sessions.get(who).map(|session| session.place) {
                Some(Place::Woken(since)) => now.monotonic.saturating_sub(since) < LOOKED_AT_WITHIN,
                Some(Place::Asking | Place::Complete) | None => false,
            });
        self.leaves.give_back_but(&self.woken, &mut self.pace);
        let mut turns = Vec::new();
        while let Some(first) = self.first_in_turn(now).cloned() {
            self.complete.remove(&first);
            let (class, _, who) = first;
            if self.sessions.contains_key(&who) {
                let place = self.give_turn(&who, class, now);
                if let Some(session) = self.sessions.get_mut(&who) {
                    session.place = place;
                }
                turns.push(who);
            }
        }
        turns
    }

    /// The first of those that have everything and may be woken. A purchase that may not keeps no other waiting.
    fn first_in_turn(&self, now: Moment) -> Option<&Order> {
        let may_be_woken = Class::ALL.map(|class| (class, self.may_be_woken(class, now)));
        self.complete
            .iter()
            .find(|(of, _, _)| may_be_woken.contains(&(*of, true)))
    }

    /// Whether one more may be woken. A purchase is woken only where its paid call may leave. While HostUp asks to wait
    /// for long it is woken too, so that its status says so.
    fn may_be_woken(&self, class: Class, now: Moment) -> bool {
        self.woken.len() < WOKEN
            && (class != Class::Approved
                || self.limited(now).is_some()
                || self.leaves.may_give(&self.pace, now))
    }

    /// Wakes somebody. The paid call that a purchase is woken for is counted from now on.
    fn give_turn(&mut self, who: &Who, class: Class, now: Moment) -> Place {
        self.woken.insert(who.clone());
        if class == Class::Approved && self.leaves.may_give(&self.pace, now) {
            self.leaves.give(who, &mut self.pace, now);
        }
        Place::Woken(now.monotonic)
    }

    /// Somebody is not woken any more. A paid call that it was woken for and did not make is not counted.
    fn sleeps(&mut self, who: &Who) {
        self.woken.remove(who);
        self.leaves.give_back(who, &mut self.pace);
    }

    /// Whether nothing waits.
    pub fn rests(&self) -> bool {
        self.queue.is_empty() && self.complete.is_empty()
    }

    /// What the key's reader does next.
    pub fn next(&mut self, now: Moment) -> Next {
        let at = now.monotonic;
        let slot = (!self.complete.is_empty()).then(|| {
            let paid = self.pace.next(Class::Sent, at);
            if paid > at { paid } else { at + LOOKED_AT_WITHIN }
        });
        if self.queue.is_empty() {
            return slot.map_or(Next::Rest, |slot| Next::Wait(Some(slot)));
        }
        let wait = |until: Option<Duration>| Next::Wait(until.into_iter().chain(slot).min());
        if let Some(until) = self.pace.held(at) {
            return wait(Some(until));
        }
        if self.under_way >= UNDER_WAY {
            return wait(None);
        }
        if let Some(away) = &self.away {
            if self.under_way > 0 {
                return wait(None);
            }
            if at < away.next {
                return wait(Some(away.next));
            }
            return self
                .queue
                .take_probe()
                .map_or_else(|| wait(None), |(probe, _)| self.begin(probe, at));
        }
        let Some(class) = self.queue.most_urgent(at) else {
            return wait(self.queue.next());
        };
        let due = self.pace.next(class, at);
        if due > at {
            return wait(Some(due));
        }
        self.queue
            .take(at)
            .map_or_else(|| wait(None), |(question, _)| self.begin(question, at))
    }

    /// A call has ended. Returns those who must be told that they wait, and why; the others follow by
    /// [`Desk::turns`].
    pub fn arrived(&mut self, question: &Question, mut reading: Reading, now: Moment) -> Vec<Who> {
        self.under_way = self.under_way.saturating_sub(1);
        let at = now.monotonic;
        let is_final = reading.answer.as_ref().is_ok_and(Answer::is_final);
        if reading.answer.is_ok() && !is_final && now.since(&reading.began) > LASTS {
            let slow = "the answer took so long that it is too old to decide upon";
            reading.answer = Err(ReadError::unreadable(question.route(), slow));
        }
        self.ahead.remove(question);
        // A question that nobody asks any more is not asked again.
        if reading.answer.is_err() && !self.asking.contains_key(question) {
            self.queue.remove(question);
            self.trouble.remove(question);
            return Vec::new();
        }
        match &reading.answer {
            Err(ReadError::Unavailable(_)) => return self.failed(question, reading.answer, now),
            Err(ReadError::RateLimited { .. }) => {
                self.queue.again(question, false, at);
                return if self.limited(now).is_some() {
                    self.tell(Some(question))
                } else {
                    Vec::new()
                };
            }
            Ok(_) | Err(_) => {}
        }
        if self.away.take().is_some() || self.queue.get(question).is_some_and(|entry| entry.failures > 0) {
            self.queue.forgive();
        }
        self.trouble.remove(question);
        self.queue.remove(question);
        self.queue.has_answered();
        let reading = Arc::new(reading);
        let waiting: Vec<Who> = self.asking.get(question).into_iter().flatten().cloned().collect();
        self.jobs.note(&reading.answer);
        if reading.answer.is_ok() {
            self.shelf.insert(question.clone(), reading.clone());
            self.clear(now);
        } else {
            for who in &waiting {
                if let Some(session) = self.sessions.get_mut(who) {
                    session.refused.insert(question.clone(), reading.clone());
                }
            }
        }
        for who in waiting {
            let Some(session) = self.sessions.remove(&who) else {
                continue;
            };
            self.go_on(who, session, now);
        }
        Vec::new()
    }

    /// A call leaves that no question asked for: a further page of a list, say. It counts, and is as urgent as any, for
    /// what has begun is finished first. Returns how long it has to wait instead, if it has.
    ///
    /// # Errors
    /// [`ReadError::RateLimited`] where that would be long.
    pub fn may_leave(&mut self, now: Moment) -> Result<Option<Duration>, ReadError> {
        if let Some(held) = self.limited(now) {
            return Err(held);
        }
        let wait = self
            .pace
            .next(Class::Sent, now.monotonic)
            .saturating_sub(now.monotonic);
        if wait >= LONGEST_WITHIN {
            return Err(rate_limited(wait, now));
        }
        if !wait.is_zero() {
            return Ok(Some(wait));
        }
        self.pace.leaves(now.monotonic);
        Ok(None)
    }

    /// Tells the pace what an answer's headers say.
    pub fn signal(&mut self, signal: Signal, now: Moment) {
        match signal {
            Signal::Well { budget } => self.pace.went_well(budget, now.monotonic),
            Signal::Limited { wait } => {
                self.pace.limited(wait, now.monotonic);
            }
        }
    }

    /// What was read no longer than `ago`.
    pub fn glance(&self, question: &Question, ago: Duration, now: Moment) -> Option<Arc<Reading>> {
        let reading = self.shelf.get(question)?;
        (now.since(&reading.began) <= ago).then(|| reading.clone())
    }

    /// HostUp wants no call for so long that people are told.
    pub fn limited(&self, now: Moment) -> Option<ReadError> {
        let until = self.pace.held(now.monotonic)?;
        (until >= now.monotonic + SHOWN_FROM).then(|| self.wait_asked_for(now))
    }

    fn wait_asked_for(&self, now: Moment) -> ReadError {
        let until = self.pace.held(now.monotonic).unwrap_or(now.monotonic);
        rate_limited(until.saturating_sub(now.monotonic), now)
    }

    /// This much is ordered with the key, if the limits as they were read last leave room for it.
    pub fn sell(&mut self, taken: Remaining, now: Moment) -> bool {
        let limits = self.shelf.get(&Question::Limits);
        let limits = limits.and_then(|reading| match &reading.answer {
            Ok(Answer::Limits(limits)) => Some((*limits, reading.began)),
            Ok(_) | Err(_) => None,
        });
        self.sold.sell(taken, limits, now)
    }

    /// It was not ordered after all.
    pub fn unsell(&mut self, taken: Remaining) {
        self.sold.unsell(taken);
    }

    /// What is left of limits that were read from `began` on, without what was ordered since.
    pub fn left(&self, limits: Remaining, began: &Moment) -> Remaining {
        self.sold.left(limits, began)
    }

    /// What is known of the time that jobs take, for the job of `record`.
    pub fn job_times(&mut self, record: &RecordName, now: Moment) -> JobTimes {
        self.jobs.times(record, now.monotonic)
    }

    /// The pace, for metrics.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Whether HostUp seems to be away.
    pub fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// HostUp answers another key: it is tried soon. Whether it was waited for.
    pub fn try_soon(&mut self, now: Moment) -> bool {
        let soon = now.monotonic + Duration::from_millis(u64::from(self.spread));
        let Some(away) = &mut self.away else { return false };
        away.next = away.next.min(soon);
        true
    }

    /// How many looks asked, and how many of them were served from what was there.
    pub fn served(&self) -> (u64, u64) {
        (self.asked, self.served)
    }

    /// Questions that wait, and how long the oldest has, by class.
    pub fn depth(&self, class: Class, now: Moment) -> (usize, Duration) {
        self.queue.depth(class, now.monotonic)
    }

    /// Nobody asks, and nothing is kept that matters.
    pub fn is_idle(&self, now: Moment) -> bool {
        self.sessions.is_empty() && self.under_way == 0 && self.pace.held(now.monotonic).is_none()
    }

    fn begin(&mut self, question: Question, at: Duration) -> Next {
        self.under_way += 1;
        self.pace.leaves(at);
        Next::Call(question)
    }

    /// Goes on with somebody whose question was answered.
    fn go_on(&mut self, who: Who, mut session: Session, now: Moment) {
        if session.place == Place::Asking {
            self.stop_asking(&session);
            if self.readings(&session, now).is_some() {
                session.place = Place::Complete;
                self.complete.insert(order(&session));
            } else {
                self.put(&session, now);
            }
        }
        self.sessions.insert(who, session);
    }

    /// Leaves the questions that are not answered. The first one proves that the key reads the VPS: the others follow
    /// once it is answered.
    fn put(&mut self, session: &Session, now: Moment) {
        let is_missing = |want: &&Want| self.answered(session, want, now).is_none();
        let gate = session.wants.first().filter(is_missing);
        let wants = match gate {
            Some(_) => session.wants.get(..1).unwrap_or_default(),
            None => &session.wants,
        };
        let missing: Vec<Want> = wants.iter().filter(is_missing).cloned().collect();
        for Want { question, age } in missing {
            let from = match age {
                Age::After(_) if question == Question::Vms => now.monotonic + GATHERS,
                Age::After(_) | Age::Asked | Age::Before(_) => Duration::ZERO,
            };
            let Asker { class, since, .. } = session.asker;
            self.queue.put_for(from, &question, class, since, now.monotonic);
            self.asking
                .entry(question)
                .or_default()
                .insert(session.asker.who.clone());
        }
    }

    fn stop_asking(&mut self, session: &Session) {
        for want in &session.wants {
            if let Some(asking) = self.asking.get_mut(&want.question) {
                asking.remove(&session.asker.who);
                if asking.is_empty() {
                    self.asking.remove(&want.question);
                }
            }
        }
        self.complete.remove(&order(session));
    }

    /// Takes those of the questions out of the queue that nobody asks any more.
    fn drop_unasked(&mut self, wants: &[Want]) {
        for want in wants {
            if !self.asking.contains_key(&want.question) && !self.ahead.contains(&want.question) {
                self.queue.drop_waiting(&want.question);
            }
        }
    }

    fn readings(&self, session: &Session, now: Moment) -> Option<Readings> {
        let mut all = Vec::new();
        for want in &session.wants {
            let reading = self.answered(session, want, now)?;
            let is_refusal = reading.answer.is_err();
            all.push((want.question.clone(), reading));
            // Nothing more is asked after a refusal.
            if is_refusal {
                break;
            }
        }
        Some(Readings::new(all))
    }

    fn answered(&self, session: &Session, want: &Want, now: Moment) -> Option<Arc<Reading>> {
        let refused = session.refused.get(&want.question);
        if let Some(refused) = refused.filter(|refused| now.since(&refused.ended) <= LASTS) {
            return Some(refused.clone());
        }
        let reading = self.shelf.get(&want.question)?;
        let oldest = match want.age {
            _ if reading.answer.as_ref().is_ok_and(Answer::is_final)
                && now.since(&reading.began) <= END_KEPT =>
            {
                return Some(reading.clone());
            }
            Age::Asked => session.began.with_sleep,
            Age::Before(before) => session.began.with_sleep.saturating_sub(before),
            Age::After(moment) => moment.with_sleep,
        };
        let serves = reading.began.with_sleep >= oldest && now.since(&reading.began) <= LASTS;
        serves.then(|| reading.clone())
    }

    /// Why a session may wait for long. A record concludes from it that HostUp tells nothing of what it asks: that
    /// takes a failure of its own questions since it asked.
    fn held(&self, session: &Session, now: Moment) -> Option<ReadError> {
        let mut missing = session
            .wants
            .iter()
            .filter(|want| self.answered(session, want, now).is_none());
        let own = missing.find_map(|want| {
            let (why, failed) = self.trouble.get(&want.question)?;
            (failed.with_sleep >= session.began.with_sleep).then(|| why.clone())
        });
        let away = match session.asker.who {
            Who::Subject(..) => self.away.as_ref().map(|away| away.why.clone()),
            Who::Record(_) | Who::Vms(..) => None,
        };
        self.limited(now).or(own).or(away)
    }

    fn failed(&mut self, question: &Question, answer: Result<Answer, ReadError>, now: Moment) -> Vec<Who> {
        let at = now.monotonic;
        let failures = self.queue.again(question, true, at);
        let Err(why) = answer else { return Vec::new() };
        let fails_everywhere = self.away.is_some() || self.queue.fails_everywhere();
        if failures >= 2 || fails_everywhere {
            self.trouble.insert(question.clone(), (why.clone(), now));
        }
        if let Some(away) = &mut self.away {
            away.failed_again(self.spread, at);
            return self.tell(Some(question));
        }
        if fails_everywhere {
            self.away = Some(Away::new(why, at));
            self.read_nothing_ahead();
            return self.tell(None);
        }
        if failures == 2 {
            return self.tell(Some(question));
        }
        Vec::new()
    }

    /// Those who ask `question` (or any object) and have not been told yet that they wait.
    fn tell(&mut self, question: Option<&Question>) -> Vec<Who> {
        let mut told = Vec::new();
        for (who, session) in &mut self.sessions {
            let asks = match question {
                Some(question) => session.wants.iter().any(|want| want.question == *question),
                None => matches!(who, Who::Subject(..)),
            };
            if asks && session.place == Place::Asking && !session.told {
                session.told = true;
                told.push(who.clone());
            }
        }
        told
    }

    /// Throws away what answers nothing any more.
    fn clear(&mut self, now: Moment) {
        if self.shelf.len() < 64 && self.trouble.len() < 64 {
            return;
        }
        self.shelf.retain(|_, reading| {
            let kept = if reading.answer.as_ref().is_ok_and(Answer::is_final) {
                END_KEPT
            } else {
                LASTS
            };
            now.since(&reading.began) <= kept
        });
        let queue = &self.queue;
        self.trouble.retain(|question, _| queue.get(question).is_some());
    }
}

fn rate_limited(wait: Duration, now: Moment) -> ReadError {
    let until = now.wall.checked_add(wait).unwrap_or(Timestamp::MAX);
    ReadError::RateLimited { until }
}

fn order(session: &Session) -> Order {
    (
        session.asker.class,
        session.asker.since,
        session.asker.who.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::jobs::KEPT;
    use super::super::leaves::PAID_UNDER_WAY;
    use super::super::queue::after_failure;
    use super::*;
    use crate::domain::provider::job::JobState;
    use crate::domain::values::ids::{RecordName, SubjectKind, Uid, VpsId};
    use crate::domain::values::text::Text;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(monotonic: Duration) -> Moment {
        Moment {
            wall: Timestamp::from_second(1_700_000_000).unwrap() + monotonic,
            monotonic,
            with_sleep: monotonic,
        }
    }

    fn desk() -> Desk {
        Desk::new(at(SECOND), 0)
    }

    fn who(n: i64) -> Who {
        Who::Subject(
            SubjectKind::VpsBackupRestore,
            "shop".to_owned(),
            format!("web-{n}"),
        )
    }

    fn asker(n: i64) -> Asker {
        Asker {
            who: who(n),
            uid: Uid::new("uid-1"),
            generation: 1,
            class: Class::Approved,
            since: Timestamp::from_second(n).unwrap(),
        }
    }

    fn limits(age: Age) -> Vec<Want> {
        vec![Want {
            question: Question::Limits,
            age,
        }]
    }

    /// The calls that leave at `now`.
    fn calls(desk: &mut Desk, now: Duration) -> Vec<Question> {
        let mut calls = Vec::new();
        while let Next::Call(question) = desk.next(at(now)) {
            calls.push(question);
        }
        calls
    }

    fn answered(began: Duration, ended: Duration) -> Reading {
        reading(
            began,
            ended,
            Ok(Answer::Limits(Remaining {
                instances: 1,
                ..Remaining::default()
            })),
        )
    }

    fn reading(began: Duration, ended: Duration, answer: Result<Answer, ReadError>) -> Reading {
        Reading {
            began: at(began),
            ended: at(ended),
            answer,
        }
    }

    fn unavailable() -> ReadError {
        ReadError::Unavailable(Text::new("HTTP status 503"))
    }

    #[test]
    fn two_that_ask_at_once_cause_one_call_and_are_woken_the_older_one_first() {
        let mut desk = desk();
        for n in [2, 1] {
            assert!(matches!(
                desk.ask(asker(n), limits(Age::Asked), at(SECOND)),
                Asked::Waiting
            ));
        }
        assert_eq!(calls(&mut desk, SECOND), [Question::Limits]);
        assert_eq!(
            desk.arrived(&Question::Limits, answered(SECOND, SECOND * 2), at(SECOND * 2)),
            []
        );
        assert_eq!(desk.turns(at(SECOND * 2)), [who(1), who(2)]);
        for n in [1, 2] {
            assert!(matches!(
                desk.ask(asker(n), limits(Age::Asked), at(SECOND * 2)),
                Asked::Ready(_)
            ));
            desk.forget(&who(n));
        }
        assert_eq!(desk.next(at(SECOND * 2)), Next::Rest);
    }

    #[test]
    fn a_call_that_fails_is_tried_again_and_told_to_each_once() {
        let mut desk = desk();
        for n in [1, 2] {
            desk.ask(asker(n), limits(Age::Asked), at(SECOND));
        }
        let fails = |desk: &mut Desk, now: Duration| {
            assert_eq!(calls(desk, now), [Question::Limits], "{now:?}");
            let mut told = desk.arrived(&Question::Limits, reading(now, now, Err(unavailable())), at(now));
            told.sort();
            told
        };
        assert_eq!(fails(&mut desk, SECOND), []);
        let mut now = SECOND + after_failure(1);
        assert_eq!(fails(&mut desk, now), [who(1), who(2)]);
        assert!(
            matches!(desk.ask(asker(1), limits(Age::Asked), at(now)), Asked::Held(why) if why == unavailable())
        );
        now += after_failure(2);
        assert_eq!(fails(&mut desk, now), []);
        now += after_failure(3);
        assert_eq!(calls(&mut desk, now), [Question::Limits]);
        desk.arrived(&Question::Limits, answered(now, now), at(now));
        assert_eq!(desk.turns(at(now)), [who(1), who(2)]);
    }

    #[test]
    fn what_will_soon_be_too_old_is_read_again_while_it_still_serves() {
        let mut desk = desk();
        let shared = || limits(Age::Before(SECOND * 45));
        let mut now = SECOND;
        desk.ask(asker(0), shared(), at(now));
        assert_eq!(calls(&mut desk, now), [Question::Limits]);
        desk.arrived(&Question::Limits, answered(now, now), at(now));
        let mut read_again = Vec::new();
        for n in 0..300 {
            desk.forget(&who(n));
            now += SECOND / 2;
            let asked = desk.ask(asker(n + 1), shared(), at(now));
            assert!(matches!(asked, Asked::Ready(_)), "{now:?}: somebody waits");
            for question in calls(&mut desk, now) {
                read_again.push(now.as_secs());
                desk.arrived(&question, answered(now, now), at(now));
            }
        }
        assert_eq!(read_again, [31, 62, 92, 123]);
        desk.forget(&who(300));
        let short = || limits(Age::Before(SECOND * 5));
        assert!(matches!(desk.ask(asker(1), short(), at(now)), Asked::Waiting));
        assert_eq!(calls(&mut desk, now), [Question::Limits]);
        desk.arrived(&Question::Limits, answered(now, now), at(now));
        for (class, wants) in [(Class::Approved, short()), (Class::Preview, shared())] {
            desk.forget(&who(1));
            let asker = Asker { class, ..asker(1) };
            let asked = desk.ask(asker, wants, at(now + SECOND * 4));
            assert!(matches!(asked, Asked::Ready(_)), "{class:?}");
            assert_eq!(calls(&mut desk, now + SECOND * 4), [], "{class:?}");
        }
    }

    #[test]
    fn a_reading_serves_for_as_long_as_who_asks_allows_and_never_longer_than_it_lasts() {
        let mut desk = desk();
        desk.ask(asker(1), limits(Age::Asked), at(SECOND * 10));
        assert_eq!(calls(&mut desk, SECOND * 10), [Question::Limits]);
        desk.arrived(
            &Question::Limits,
            answered(SECOND * 10, SECOND * 11),
            at(SECOND * 11),
        );
        let now = SECOND * 20;
        let hour = SECOND * 3600;
        for (n, age, asked_at, serves) in [
            (2, Age::Asked, now, false),
            (3, Age::Before(SECOND * 9), now, false),
            (4, Age::Before(SECOND * 10), now, true),
            (5, Age::After(at(SECOND * 11)), now, false),
            (6, Age::After(at(SECOND * 10)), now, true),
            (7, Age::Before(hour), SECOND * 10 + LASTS, true),
            (8, Age::Before(hour), SECOND * 11 + LASTS, false),
        ] {
            desk.turns(at(asked_at));
            let asked = desk.ask(asker(n), limits(age), at(asked_at));
            assert_eq!(
                matches!(asked, Asked::Ready(_)),
                serves,
                "{age:?} at {asked_at:?}"
            );
            desk.forget(&who(n));
        }
    }

    #[test]
    fn a_call_that_began_before_somebody_asked_does_not_answer_who_wants_it_anew() {
        let mut desk = desk();
        desk.ask(asker(1), limits(Age::Asked), at(SECOND));
        assert_eq!(calls(&mut desk, SECOND), [Question::Limits]);
        desk.ask(asker(2), limits(Age::Asked), at(SECOND * 2));
        desk.arrived(&Question::Limits, answered(SECOND, SECOND * 3), at(SECOND * 3));
        assert_eq!(desk.turns(at(SECOND * 3)), [who(1)]);
        assert_eq!(calls(&mut desk, SECOND * 3), [Question::Limits]);
    }

    #[test]
    fn what_proves_that_the_key_reads_the_vps_is_asked_first_and_a_refusal_ends_the_look() {
        let vps = VpsId::new("vps_1");
        let wants = || {
            [
                Question::Vps(vps.clone()),
                Question::Backups(vps.clone()),
                Question::Limits,
            ]
            .map(|question| Want {
                question,
                age: Age::Asked,
            })
            .to_vec()
        };
        let mut desk = desk();
        desk.ask(asker(1), wants(), at(SECOND));
        let gate = Question::Vps(vps.clone());
        assert_eq!(calls(&mut desk, SECOND), std::slice::from_ref(&gate));
        let refused = ReadError::NotFound {
            route: gate.route(),
            said: Text::new("no"),
        };
        desk.arrived(&gate, reading(SECOND, SECOND, Err(refused.clone())), at(SECOND));
        assert_eq!(desk.turns(at(SECOND)), [who(1)]);
        let Asked::Ready(readings) = desk.ask(asker(1), wants(), at(SECOND)) else {
            panic!("it waits")
        };
        assert_eq!(readings.take(&gate, |_| Some(())), Err(refused));
        desk.forget(&who(1));
        assert_eq!(desk.next(at(SECOND)), Next::Rest);
        // A refusal answers those that had asked, and nobody later.
        assert!(matches!(desk.ask(asker(2), wants(), at(SECOND)), Asked::Waiting));
    }

    #[test]
    fn another_spec_and_a_later_object_of_the_same_name_ask_anew() {
        let edited = Asker {
            generation: 2,
            ..asker(1)
        };
        let created_again = Asker {
            uid: Uid::new("uid-2"),
            ..asker(1)
        };
        for other in [edited, created_again] {
            let mut desk = desk();
            desk.ask(asker(1), limits(Age::Asked), at(SECOND));
            calls(&mut desk, SECOND);
            desk.arrived(&Question::Limits, answered(SECOND, SECOND), at(SECOND));
            assert!(matches!(
                desk.ask(other.clone(), limits(Age::Asked), at(SECOND * 2)),
                Asked::Waiting
            ));
            assert_eq!(calls(&mut desk, SECOND * 2), [Question::Limits]);
            desk.arrived(
                &Question::Limits,
                answered(SECOND * 2, SECOND * 2),
                at(SECOND * 2),
            );
            assert!(matches!(
                desk.ask(other, limits(Age::Asked), at(SECOND * 2)),
                Asked::Ready(_)
            ));
        }
    }

    #[test]
    fn no_more_than_a_few_are_woken_at_a_time_and_whoever_never_looks_keeps_no_other_waiting() {
        let mut desk = desk();
        let all = i64::try_from(WOKEN).unwrap() + 3;
        for n in (1..=all).rev() {
            desk.ask(asker(n), limits(Age::Asked), at(SECOND));
        }
        calls(&mut desk, SECOND);
        desk.arrived(&Question::Limits, answered(SECOND, SECOND), at(SECOND));
        let first: Vec<Who> = (1..=all - 3).map(who).collect();
        assert_eq!(desk.turns(at(SECOND)), first);
        assert_eq!(desk.turns(at(SECOND)), []);
        // One that was looked at frees its place. The oldest that waits takes it, not one that has just come.
        desk.ask(asker(1), limits(Age::Asked), at(SECOND));
        desk.forget(&who(1));
        assert!(matches!(
            desk.ask(asker(all + 1), limits(Age::Before(SECOND)), at(SECOND)),
            Asked::Waiting
        ));
        assert_eq!(desk.turns(at(SECOND)), [who(all - 2)]);
        assert!(matches!(desk.next(at(SECOND)), Next::Wait(Some(_))));
        let later = SECOND + LOOKED_AT_WITHIN;
        assert_eq!(desk.turns(at(later)), [who(all - 1), who(all), who(all + 1)]);
    }

    #[test]
    fn a_purchase_is_woken_only_where_its_paid_call_may_leave() {
        let mut desk = desk();
        for n in 1..=2 {
            desk.ask(asker(n), limits(Age::Asked), at(SECOND));
        }
        calls(&mut desk, SECOND);
        while desk.take_paid_call(&who(9), at(SECOND)).is_some() {
            desk.paid(None);
        }
        desk.arrived(&Question::Limits, answered(SECOND, SECOND), at(SECOND));
        assert_eq!(desk.turns(at(SECOND)), []);
        assert!(matches!(
            desk.ask(asker(1), limits(Age::Asked), at(SECOND)),
            Asked::Waiting
        ));
        let Next::Wait(Some(until)) = desk.next(at(SECOND)) else {
            panic!("nothing is waited for");
        };
        assert!(until > SECOND && until < SECOND * 2, "{until:?}");
        assert_eq!(desk.turns(at(until)), [who(1)]);
        assert!(
            desk.take_paid_call(&who(2), at(until)).is_none(),
            "the call is counted for another"
        );
        assert!(desk.take_paid_call(&who(1), at(until)).is_some());
    }

    #[test]
    fn a_wait_of_a_moment_is_told_to_nobody_and_nobody_is_woken_into_it() {
        let mut desk = desk();
        let wants_none = |desk: &mut Desk, wait: Duration, now: Duration| {
            let budget = Some((0, wait));
            desk.signal(Signal::Well { budget }, at(now));
        };
        let deployments = || {
            vec![Want {
                question: Question::Deployments,
                age: Age::Asked,
            }]
        };
        for n in 1..=2 {
            desk.ask(asker(n), limits(Age::Asked), at(SECOND));
        }
        calls(&mut desk, SECOND);
        wants_none(&mut desk, SECOND, SECOND);
        desk.arrived(&Question::Limits, answered(SECOND, SECOND), at(SECOND));
        assert_eq!(desk.turns(at(SECOND)), []);
        assert!(matches!(
            desk.ask(asker(3), deployments(), at(SECOND)),
            Asked::Waiting
        ));
        assert_eq!(desk.next(at(SECOND)), Next::Wait(Some(SECOND * 2)));
        assert_eq!(desk.may_leave(at(SECOND)).unwrap(), Some(SECOND));
        assert_eq!(desk.turns(at(SECOND * 2)), [who(1), who(2)]);
        assert_eq!(desk.next(at(SECOND * 2)), Next::Call(Question::Deployments));
        wants_none(&mut desk, SECOND * 30, SECOND * 3);
        assert!(matches!(
            desk.ask(asker(3), deployments(), at(SECOND * 3)),
            Asked::Held(_)
        ));
        assert!(desk.may_leave(at(SECOND * 3)).is_err());
    }

    #[test]
    fn a_paid_call_that_somebody_was_woken_for_and_did_not_make_is_not_counted() {
        let left_after = |what: fn(&mut Desk)| {
            let mut desk = desk();
            desk.ask(asker(1), limits(Age::Asked), at(SECOND));
            calls(&mut desk, SECOND);
            desk.arrived(&Question::Limits, answered(SECOND, SECOND), at(SECOND));
            assert_eq!(desk.turns(at(SECOND)), [who(1)]);
            what(&mut desk);
            let mut left = 0;
            while desk.take_paid_call(&who(9), at(SECOND)).is_some() {
                desk.paid(None);
                left += 1;
            }
            left
        };
        let needs_it_not = left_after(|desk| desk.forget(&who(1)));
        let reads_more = left_after(|desk| {
            let more = vec![Want {
                question: Question::Deployments,
                age: Age::Asked,
            }];
            desk.ask(asker(1), more, at(SECOND));
        });
        let waits_again = left_after(|desk| desk.wait_again(&who(1)));
        let makes_it = left_after(|desk| {
            assert!(desk.take_paid_call(&who(1), at(SECOND)).is_some());
            desk.paid(None);
        });
        assert_eq!([needs_it_not, reads_more, waits_again], [makes_it + 1; 3]);
    }

    #[test]
    fn while_as_many_paid_calls_as_may_are_under_way_no_purchase_is_woken() {
        let mut desk = desk();
        let all = i64::try_from(PAID_UNDER_WAY).unwrap() + 2;
        for n in 1..=all {
            desk.ask(asker(n), limits(Age::Asked), at(SECOND));
        }
        calls(&mut desk, SECOND);
        desk.arrived(&Question::Limits, answered(SECOND, SECOND), at(SECOND));
        let first: Vec<Who> = (1..=all - 2).map(who).collect();
        assert_eq!(desk.turns(at(SECOND)), first);
        for who in &first {
            assert!(desk.take_paid_call(who, at(SECOND)).is_some());
            desk.forget(who);
        }
        let now = at(SECOND * 20);
        assert_eq!(desk.turns(now), []);
        desk.paid(None);
        assert_eq!(desk.turns(now), [who(all - 1)]);
        // It was woken in vain, and waits again in its place.
        desk.wait_again(&who(all - 1));
        assert_eq!(desk.turns(now), [who(all - 1)]);
        assert!(desk.take_paid_call(&who(all - 1), now).is_some());
        // So does one that was looked at for something else, and turns out to be a purchase.
        let other = Asker {
            class: Class::Routine,
            ..asker(0)
        };
        assert!(matches!(
            desk.ask(other, limits(Age::Before(SECOND * 40)), now),
            Asked::Ready(_)
        ));
        assert!(desk.take_paid_call(&who(0), now).is_none());
        desk.wait_again(&who(0));
        assert_eq!(desk.turns(now), []);
        desk.paid(None);
        assert_eq!(desk.turns(now), [who(0)]);
    }

    #[test]
    fn what_the_fastest_of_the_last_jobs_took_is_remembered() {
        let mut desk = desk();
        let mut end = |n: u64, took: Option<u64>| {
            let job = Question::Job(format!("/api/jobs/{n}"));
            let wants = vec![Want {
                question: job.clone(),
                age: Age::Asked,
            }];
            let now = at(SECOND * u32::try_from(n).unwrap());
            desk.ask(asker(1), wants, now);
            let ended = Ok(Answer::Job(
                JobState::Completed {
                    hints: Vec::new(),
                    took: took.map(Duration::from_secs),
                },
                None,
            ));
            desk.arrived(&job, reading(now.monotonic, now.monotonic, ended), now);
            desk.forget(&who(1));
            desk.job_times(&RecordName::new("another"), now)
        };
        assert_eq!(end(1, None), JobTimes::Unknown);
        assert_eq!(end(2, Some(60)), JobTimes::AtLeast(SECOND * 60));
        assert_eq!(end(3, Some(90)), JobTimes::AtLeast(SECOND * 60));
        let last = (4..4 + KEPT as u64).map(|n| end(n, Some(300))).last();
        assert_eq!(last, Some(JobTimes::AtLeast(SECOND * 300)));
    }

    #[test]
    fn while_hostup_is_away_one_call_at_a_time_tries_ever_more_rarely_and_the_first_answer_opens() {
        let mut desk = desk();
        for n in 0..50 {
            let question = Question::Vps(VpsId::new(format!("vps_{n}")));
            desk.ask(
                asker(n),
                vec![Want {
                    question,
                    age: Age::Asked,
                }],
                at(SECOND),
            );
        }
        let (mut now, mut made) = (SECOND, 0);
        while now < SECOND * 61 {
            for question in calls(&mut desk, now) {
                made += 1;
                desk.arrived(&question, reading(now, now, Err(unavailable())), at(now));
            }
            now += Duration::from_millis(50);
        }
        assert!(desk.is_away());
        assert!((5..=12).contains(&made), "{made} calls in a minute");
        assert!(desk.try_soon(at(now)));
        let probe = calls(&mut desk, now);
        assert_eq!(probe.len(), 1, "{probe:?}");
        desk.arrived(&probe[0], answered(now, now), at(now));
        assert!(!desk.is_away());
        assert_eq!(calls(&mut desk, now).len(), UNDER_WAY);
    }

    #[test]
    fn while_hostup_is_away_a_record_is_told_once_its_own_question_has_failed_since_it_asked() {
        let mut desk = desk();
        let asks = |desk: &mut Desk, generation, now| {
            let record = Asker {
                who: Who::Record(RecordName::new("abc-1")),
                generation,
                ..asker(1)
            };
            let want = Want {
                question: Question::Job("/api/jobs/job_1".to_owned()),
                age: Age::Asked,
            };
            desk.ask(record, vec![want], at(now))
        };
        desk.ask(asker(2), limits(Age::Asked), at(SECOND));
        assert!(matches!(asks(&mut desk, 1, SECOND), Asked::Waiting));
        let mut now = SECOND;
        let fail = |desk: &mut Desk, now: &mut Duration| {
            *now += SECOND * 20;
            let made = calls(desk, *now);
            let told = made.iter().flat_map(|question| {
                desk.arrived(question, reading(*now, *now, Err(unavailable())), at(*now))
            });
            told.collect::<Vec<_>>()
        };
        while !desk.is_away() {
            fail(&mut desk, &mut now);
        }
        // A person's answer makes another generation of it.
        for generation in [1, 2] {
            let mut told = Vec::new();
            if !matches!(asks(&mut desk, generation, now), Asked::Held(_)) {
                for _ in 0..2 {
                    told.extend(fail(&mut desk, &mut now));
                }
                assert!(told.contains(&Who::Record(RecordName::new("abc-1"))), "{told:?}");
            }
            assert!(
                matches!(asks(&mut desk, generation, now), Asked::Held(_)),
                "{generation}"
            );
            assert!(desk.is_away());
        }
    }

    #[test]
    fn one_vps_that_hostup_cannot_show_keeps_no_other_from_being_read() {
        let mut desk = desk();
        let bad = Question::Vps(VpsId::new("vps_bad"));
        desk.ask(
            asker(1),
            vec![Want {
                question: bad.clone(),
                age: Age::Asked,
            }],
            at(SECOND),
        );
        let mut now = SECOND;
        for failures in 1..=6 {
            assert_eq!(calls(&mut desk, now), std::slice::from_ref(&bad));
            desk.arrived(&bad, reading(now, now, Err(unavailable())), at(now));
            assert!(!desk.is_away());
            now += after_failure(failures);
        }
        let sooner = now.saturating_sub(SECOND);
        desk.ask(asker(2), limits(Age::Asked), at(sooner));
        assert_eq!(calls(&mut desk, sooner), [Question::Limits]);
    }

    #[test]
    fn a_question_that_nobody_asks_any_more_is_not_asked_again() {
        let mut desk = desk();
        let limited = ReadError::RateLimited {
            until: at(SECOND).wall,
        };
        for error in [unavailable(), limited] {
            desk.ask(asker(1), limits(Age::Asked), at(SECOND));
            assert_eq!(calls(&mut desk, SECOND), [Question::Limits]);
            desk.forget(&who(1));
            desk.arrived(&Question::Limits, reading(SECOND, SECOND, Err(error)), at(SECOND));
            assert_eq!(desk.next(at(SECOND * 60)), Next::Rest);
        }
    }

    #[test]
    fn what_was_ordered_since_the_limits_were_read_is_not_left() {
        let mut desk = desk();
        let size = Remaining {
            cpu_cores: 2,
            memory_gb: 4,
            storage_gb: 80,
            instances: 1,
        };
        let read = Remaining {
            cpu_cores: 3,
            memory_gb: 4,
            storage_gb: 100,
            instances: 1,
        };
        assert!(desk.sell(size, at(SECOND * 10)));
        assert_eq!(desk.left(read, &at(SECOND * 11)), read);
        let left = Remaining {
            cpu_cores: 1,
            memory_gb: 0,
            storage_gb: 20,
            instances: 0,
        };
        assert_eq!(desk.left(read, &at(SECOND * 9)), left);
        assert_eq!(desk.left(read, &at(SECOND * 10)), left);
        let now = SECOND * 9;
        let read = reading(now, now, Ok(Answer::Limits(read)));
        desk.shelf.insert(Question::Limits, Arc::new(read));
        assert!(!desk.sell(size, at(SECOND * 12)), "the last one is sold");
        desk.unsell(size);
        assert!(desk.sell(size, at(SECOND * 12)));
    }

    #[test]
    fn the_end_of_a_job_is_read_once_and_its_list_begins_after_it() {
        let mut desk = desk();
        let job = Question::Job("/api/jobs/1".to_owned());
        let wants = || {
            vec![Want {
                question: job.clone(),
                age: Age::Asked,
            }]
        };
        desk.ask(asker(1), wants(), at(SECOND));
        calls(&mut desk, SECOND);
        let ended = Ok(Answer::Job(
            JobState::Completed {
                hints: Vec::new(),
                took: None,
            },
            None,
        ));
        desk.arrived(&job, reading(SECOND, SECOND * 2, ended), at(SECOND * 2));
        for _ in 0..2 {
            assert!(matches!(
                desk.ask(asker(1), wants(), at(SECOND * 30)),
                Asked::Ready(_)
            ));
            desk.forget(&who(1));
        }
        assert_eq!(calls(&mut desk, SECOND * 30), []);
    }

    #[test]
    fn who_wants_a_list_now_does_not_wait_for_those_whose_jobs_have_ended_and_serves_them() {
        let mut desk = desk();
        let vms = |age| {
            vec![Want {
                question: Question::Vms,
                age,
            }]
        };
        desk.ask(asker(2), vms(Age::After(at(SECOND))), at(SECOND));
        let now = SECOND + GATHERS / 4;
        assert_eq!(calls(&mut desk, now), []);
        assert!(matches!(
            desk.ask(asker(1), vms(Age::Asked), at(now)),
            Asked::Waiting
        ));
        assert_eq!(calls(&mut desk, now), [Question::Vms]);
        let listed = Ok(Answer::Vms(Vec::new().into()));
        desk.arrived(&Question::Vms, reading(now, now, listed), at(now));
        assert_eq!(desk.turns(at(now)), [who(1), who(2)]);
        assert_eq!(desk.next(at(now)), Next::Rest);
    }

    #[test]
    fn a_list_after_the_end_of_a_job_waits_a_moment_for_others_that_end_with_it() {
        let mut desk = desk();
        let after = |n: i64| {
            let end = SECOND + Duration::from_millis(u64::try_from(n).unwrap());
            let want = Want {
                question: Question::Vms,
                age: Age::After(at(end)),
            };
            (asker(n), vec![want], at(end))
        };
        for n in [0, 50, 150] {
            let (asker, wants, now) = after(n);
            assert!(matches!(desk.ask(asker, wants, now), Asked::Waiting));
            assert_eq!(calls(&mut desk, now.monotonic), []);
        }
        let begun = SECOND + GATHERS;
        assert_eq!(calls(&mut desk, begun), [Question::Vms]);
        let vms = Ok(Answer::Vms(Vec::new().into()));
        desk.arrived(&Question::Vms, reading(begun, begun, vms), at(begun));
        assert_eq!(desk.turns(at(begun)), [who(0), who(50), who(150)]);
    }

    #[test]
    fn inside_a_wait_that_hostup_asked_for_nothing_leaves() {
        let mut desk = desk();
        desk.ask(asker(1), limits(Age::Asked), at(SECOND));
        assert_eq!(calls(&mut desk, SECOND), [Question::Limits]);
        desk.signal(
            Signal::Limited {
                wait: Some(SECOND * 30),
            },
            at(SECOND),
        );
        let limited = ReadError::RateLimited {
            until: at(SECOND * 31).wall,
        };
        let told = desk.arrived(
            &Question::Limits,
            reading(SECOND, SECOND, Err(limited.clone())),
            at(SECOND),
        );
        assert_eq!(told, [who(1)]);
        assert!(
            matches!(desk.ask(asker(1), limits(Age::Asked), at(SECOND)), Asked::Held(why) if why == limited)
        );
        assert_eq!(desk.next(at(SECOND * 30)), Next::Wait(Some(SECOND * 31)));
        // A wall clock that jumps shortens nothing.
        let jumped = Moment {
            wall: at(SECOND * 7200).wall,
            ..at(SECOND * 5)
        };
        assert_eq!(desk.next(jumped), Next::Wait(Some(SECOND * 31)));
        assert_eq!(calls(&mut desk, SECOND * 31), [Question::Limits]);
    }
}
