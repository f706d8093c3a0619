//! The questions of one key that wait for their call, and which of them comes next.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::question::{Question, Scope};

/// What a question is asked for, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A call that was sent waits for it.
    Sent,
    /// An approved purchase waits for it.
    Approved,
    /// Somebody wants to see a price.
    Preview,
    /// Drift, and what is looked at again at intervals.
    Routine,
}

impl Class {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Sent, Self::Approved, Self::Preview, Self::Routine];

    /// A label of few values.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Approved => "approved",
            Self::Preview => "preview",
            Self::Routine => "routine",
        }
    }

    /// A waiting class gets at least one of so many calls.
    fn share(self) -> u32 {
        match self {
            Self::Sent => 1,
            Self::Approved => 3,
            Self::Preview => 6,
            Self::Routine => 12,
        }
    }
}

/// Waits after a call that failed, by how often it has in a row.
pub fn after_failure(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::from_millis(200),
        2 => Duration::from_secs(1),
        3 => Duration::from_secs(2),
        4 => Duration::from_secs(4),
        5 => Duration::from_secs(8),
        _ => Duration::from_secs(15),
    }
}

/// What the key's reader does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Make the call for this question.
    Call(Question),
    /// Look again then, by the monotonic clock, or when something happens.
    Wait(Option<Duration>),
    /// Nothing waits.
    Rest,
}

/// How a question waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The most urgent of those that ask.
    pub class: Class,
    /// The age of the oldest object that asks.
    pub since: Timestamp,
    /// When it was asked first.
    pub asked: Duration,
    /// How often in a row its call has failed.
    pub failures: u32,
    /// No call for it before.
    pub not_before: Duration,
    /// Its call is under way.
    pub under_way: bool,
    /// It fails while HostUp answers others.
    pub alone: bool,
}

/// The questions of one key.
#[derive(Debug, Default)]
pub struct Queue {
    entries: HashMap<Question, Entry>,
    /// Calls since each class had its last one.
    passed_over: HashMap<Class, u32>,
}

impl Queue {
    /// Puts a question in, or makes one that is there more urgent.
    pub fn put(&mut self, question: &Question, class: Class, since: Timestamp, now: Duration) {
        let entry = self.entries.entry(question.clone()).or_insert(Entry {
            class,
            since,
            asked: now,
            failures: 0,
            not_before: Duration::ZERO,
            under_way: false,
            alone: false,
        });
        entry.class = entry.class.min(class);
        entry.since = entry.since.min(since);
    }

    /// As [`Queue::put`]; it is asked not before `from`, unless somebody wants it sooner.
    pub fn put_for(
        &mut self,
        from: Duration,
        question: &Question,
        class: Class,
        since: Timestamp,
        now: Duration,
    ) {
        let is_new = !self.entries.contains_key(question);
        self.put(question, class, since, now);
        if let Some(entry) = self.entries.get_mut(question) {
            if is_new {
                entry.not_before = from;
            } else if entry.failures == 0 {
                entry.not_before = entry.not_before.min(from);
            }
        }
    }

    /// How a question waits.
    pub fn get(&self, question: &Question) -> Option<&Entry> {
        self.entries.get(question)
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many questions of a class wait, and how long the oldest has.
    pub fn depth(&self, class: Class, now: Duration) -> (usize, Duration) {
        let waiting = self.entries.values().filter(|entry| entry.class == class);
        waiting.fold((0, Duration::ZERO), |(count, oldest), entry| {
            (count + 1, oldest.max(now.saturating_sub(entry.asked)))
        })
    }

    /// The question whose call leaves next: by class and age, with a share kept for the lower classes.
    pub fn take(&mut self, now: Duration) -> Option<(Question, Class)> {
        let mut heads: HashMap<Class, (&Question, Entry)> = HashMap::new();
        for (question, entry) in &self.entries {
            if entry.under_way || entry.not_before > now {
                continue;
            }
            let earlier = heads
                .get(&entry.class)
                .is_none_or(|(_, head)| (entry.since, entry.asked) < (head.since, head.asked));
            if earlier {
                heads.insert(entry.class, (question, *entry));
            }
        }
        let waiting = |class: &Class| heads.contains_key(class);
        let starved = Class::ALL.into_iter().rev().filter(waiting).find(|class| {
            let passed_over = self.passed_over.get(class).copied().unwrap_or_default();
            passed_over.saturating_add(1) >= class.share()
        });
        let class = starved.or_else(|| Class::ALL.into_iter().find(waiting))?;
        let (question, _) = heads.remove(&class)?;
        let question = question.clone();
        for other in heads.into_keys() {
            *self.passed_over.entry(other).or_default() += 1;
        }
        self.passed_over.insert(class, 0);
        self.begin(&question);
        Some((question, class))
    }

    /// While HostUp seems to be away: the question that was tried longest ago tries again, whatever its own wait.
    pub fn take_probe(&mut self) -> Option<(Question, Class)> {
        let waiting = self.entries.iter().filter(|(_, entry)| !entry.under_way);
        let (question, entry) =
            waiting.min_by_key(|(_, entry)| (entry.not_before, entry.class, entry.since))?;
        let (question, class) = (question.clone(), entry.class);
        self.begin(&question);
        Some((question, class))
    }

    /// When the next question may be taken, if time alone is waited for.
    pub fn next(&self) -> Option<Duration> {
        let waiting = self.entries.values().filter(|entry| !entry.under_way);
        waiting.map(|entry| entry.not_before).min()
    }

    /// The class of the most urgent question that may be taken now.
    pub fn most_urgent(&self, now: Duration) -> Option<Class> {
        let ready = |entry: &&Entry| !entry.under_way && entry.not_before <= now;
        self.entries.values().filter(ready).map(|entry| entry.class).min()
    }

    /// Its call brought an answer.
    pub fn remove(&mut self, question: &Question) {
        self.entries.remove(question);
    }

    /// Its call must be made again, not before then; returns how often it has failed in a row.
    pub fn again(&mut self, question: &Question, failed: bool, now: Duration) -> u32 {
        let Some(entry) = self.entries.get_mut(question) else {
            return 0;
        };
        entry.under_way = false;
        if failed {
            entry.failures = entry.failures.saturating_add(1);
            entry.not_before = now + after_failure(entry.failures);
        }
        entry.failures
    }

    /// Whether questions about different things have failed, and none has been answered since.
    pub fn fails_everywhere(&self) -> bool {
        let failing = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.failures > 0 && !entry.alone);
        let mut scopes = failing.map(|(question, _)| question.scope());
        let first: Option<Scope> = scopes.next();
        scopes.any(|scope| Some(scope) != first)
    }

    /// HostUp has answered something: what fails all the same fails alone.
    pub fn has_answered(&mut self) {
        for entry in self.entries.values_mut() {
            entry.alone |= entry.failures > 0;
        }
    }

    /// HostUp answers again: nothing waits for a failure of before.
    pub fn forgive(&mut self) {
        for entry in self.entries.values_mut() {
            entry.not_before = Duration::ZERO;
        }
    }

    /// Nobody asks it any more. A call that is under way is seen through.
    pub fn drop_waiting(&mut self, question: &Question) {
        if self.entries.get(question).is_some_and(|entry| !entry.under_way) {
            self.entries.remove(question);
        }
    }

    fn begin(&mut self, question: &Question) {
        if let Some(entry) = self.entries.get_mut(question) {
            entry.under_way = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::values::ids::VpsId;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn question(n: u32) -> Question {
        Question::Vps(VpsId::new(format!("vps_{n}")))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn within_a_class_the_oldest_object_comes_first() {
        let mut queue = Queue::default();
        for n in [3, 1, 2] {
            queue.put(&question(n), Class::Approved, at(i64::from(n)), Duration::ZERO);
        }
        queue.put(&question(9), Class::Sent, at(9), Duration::ZERO);
        let order: Vec<_> = std::iter::from_fn(|| queue.take(Duration::ZERO))
            .map(|(taken, _)| taken)
            .collect();
        assert_eq!(order, [9, 1, 2, 3].map(question));
    }

    #[test]
    fn what_two_ask_is_one_question_of_the_more_urgent_class() {
        let mut queue = Queue::default();
        queue.put(&Question::Limits, Class::Routine, at(5), Duration::ZERO);
        queue.put(&Question::Limits, Class::Approved, at(7), Duration::ZERO);
        assert_eq!(
            queue
                .get(&Question::Limits)
                .map(|entry| (entry.class, entry.since)),
            Some((Class::Approved, at(5)))
        );
        assert_eq!(
            queue.take(Duration::ZERO),
            Some((Question::Limits, Class::Approved))
        );
        assert_eq!(queue.take(Duration::ZERO), None);
    }

    #[test]
    fn a_probe_is_another_question_each_time() {
        let mut queue = Queue::default();
        for n in 0..3 {
            queue.put(&question(n), Class::Preview, at(0), Duration::ZERO);
        }
        let mut probed = Vec::new();
        for second in 1..=3 {
            let (probe, _) = queue.take_probe().unwrap();
            queue.again(&probe, true, Duration::from_secs(second));
            probed.push(probe);
        }
        probed.sort_by_key(|probe| format!("{probe:?}"));
        assert_eq!(probed, [0, 1, 2].map(question));
        assert!(queue.fails_everywhere());
    }

    #[test]
    fn one_thing_that_fails_is_not_hostup_that_fails() {
        let mut queue = Queue::default();
        let vps = VpsId::new("vps_0");
        for asked in [Question::Vps(vps.clone()), Question::Backups(vps)] {
            queue.put(&asked, Class::Preview, at(0), Duration::ZERO);
            queue.again(&asked, true, Duration::ZERO);
        }
        assert!(!queue.fails_everywhere());
        queue.put(&Question::Limits, Class::Preview, at(0), Duration::ZERO);
        assert!(!queue.fails_everywhere(), "it has not been called yet");
        queue.again(&Question::Limits, true, Duration::ZERO);
        assert!(queue.fails_everywhere());
    }

    #[test]
    fn each_failure_in_a_row_waits_longer_up_to_fifteen_seconds() {
        let mut queue = Queue::default();
        queue.put(&question(1), Class::Preview, at(0), Duration::ZERO);
        let mut waits = Vec::new();
        for failures in 1..=7 {
            assert_eq!(queue.again(&question(1), true, SECOND), failures);
            waits.push(queue.next().unwrap().saturating_sub(SECOND).as_millis());
        }
        assert_eq!(waits, [200, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
        assert_eq!(
            queue.again(&question(1), false, SECOND * 2),
            7,
            "it was cut short"
        );
        assert_eq!(queue.next(), Some(SECOND * 16), "which is no failure");
        assert_eq!(queue.again(&question(2), true, SECOND), 0, "nobody asks it");
        queue.forgive();
        assert_eq!(queue.next(), Some(Duration::ZERO));
    }

    #[test]
    fn of_so_many_calls_each_class_that_waits_gets_its_share() {
        let taken = |classes: [Class; 2]| {
            let mut queue = Queue::default();
            let mut taken = Vec::new();
            for round in 0..24 {
                for (n, class) in classes.into_iter().enumerate() {
                    let n = round * 2 + u32::try_from(n).unwrap();
                    queue.put(&question(n), class, at(0), Duration::ZERO);
                }
                taken.push(queue.take(Duration::ZERO).unwrap().1);
            }
            taken.iter().filter(|class| **class == classes[1]).count()
        };
        assert_eq!(taken([Class::Sent, Class::Approved]), 8, "one of three");
        assert_eq!(taken([Class::Sent, Class::Preview]), 4, "one of six");
        assert_eq!(taken([Class::Sent, Class::Routine]), 2, "one of twelve");
    }

    #[test]
    fn a_question_for_later_waits_unless_somebody_wants_it_sooner_or_it_has_failed() {
        let mut queue = Queue::default();
        let put = |queue: &mut Queue, from: u32| {
            queue.put_for(SECOND * from, &question(1), Class::Routine, at(0), Duration::ZERO);
            queue.next().unwrap().as_secs()
        };
        assert_eq!(put(&mut queue, 5), 5);
        assert_eq!(put(&mut queue, 9), 5);
        assert_eq!(put(&mut queue, 3), 3);
        let just_before = Duration::from_millis(2_999);
        assert_eq!(
            (queue.take(just_before), queue.most_urgent(just_before)),
            (None, None)
        );
        assert_eq!(queue.most_urgent(SECOND * 3), Some(Class::Routine));
        assert!(queue.take(SECOND * 3).is_some());
        assert_eq!(
            (queue.next(), queue.most_urgent(SECOND * 9), queue.take_probe()),
            (None, None, None),
            "it is under way"
        );
        queue.again(&question(1), true, SECOND * 3);
        let failed = queue.next();
        queue.put_for(SECOND, &question(1), Class::Routine, at(0), Duration::ZERO);
        assert_eq!(queue.next(), failed);
    }

    #[test]
    fn who_waits_is_counted_by_class_with_the_longest_wait() {
        let mut queue = Queue::default();
        assert!(queue.is_empty());
        for (n, class, asked) in [
            (1, Class::Preview, 4),
            (2, Class::Preview, 2),
            (3, Class::Routine, 1),
        ] {
            queue.put(&question(n), class, at(0), SECOND * asked);
        }
        assert!(!queue.is_empty());
        assert_eq!(queue.depth(Class::Preview, SECOND * 10), (2, SECOND * 8));
        assert_eq!(queue.depth(Class::Routine, SECOND * 10), (1, SECOND * 9));
        assert_eq!(queue.depth(Class::Sent, SECOND * 10), (0, Duration::ZERO));
        let labels = Class::ALL.map(Class::as_str);
        assert_eq!(labels, ["sent", "approved", "preview", "routine"]);
    }

    #[test]
    fn a_call_that_is_under_way_is_seen_through_and_another_one_is_dropped() {
        let mut queue = Queue::default();
        for n in [1, 2] {
            queue.put(&question(n), Class::Preview, at(i64::from(n)), Duration::ZERO);
        }
        let (taken, _) = queue.take(Duration::ZERO).unwrap();
        assert_eq!(taken, question(1));
        queue.drop_waiting(&question(1));
        queue.drop_waiting(&question(2));
        assert!(queue.get(&question(1)).is_some() && queue.get(&question(2)).is_none());
        queue.remove(&question(1));
        assert!(queue.is_empty());
    }

    #[test]
    fn of_equal_age_the_question_that_was_asked_first_comes_first() {
        for asked in [[1, 2], [2, 1]] {
            let mut queue = Queue::default();
            for (n, asked) in (0..).zip(asked) {
                queue.put(&question(n), Class::Preview, at(0), SECOND * asked);
            }
            let first = queue.take(SECOND * 2).unwrap().0;
            assert_eq!(first, question(asked[0] - 1));
        }
    }

    #[test]
    fn what_fails_while_hostup_answers_others_fails_alone() {
        let mut queue = Queue::default();
        for n in [1, 2] {
            queue.put(&question(n), Class::Preview, at(0), Duration::ZERO);
        }
        queue.again(&question(1), true, Duration::ZERO);
        queue.has_answered();
        queue.again(&question(2), true, Duration::ZERO);
        assert!(!queue.fails_everywhere(), "one of the two fails alone");
        queue.put(&question(3), Class::Preview, at(0), Duration::ZERO);
        queue.again(&question(3), true, Duration::ZERO);
        assert!(queue.fails_everywhere());
        queue.remove(&question(1));
        assert!(queue.fails_everywhere(), "the other two failed after the answer");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_nothing_starves_and_nothing_leaves_before_its_time(
            puts in proptest::collection::vec((0_u32..40, 0_usize..4, 0_i64..100), 1..120)
        ) {
            let mut queue = Queue::default();
            let mut model: HashMap<Question, Class> = HashMap::new();
            let mut passed_over: HashMap<Class, u32> = HashMap::new();
            let mut now = Duration::ZERO;
            let mut puts = puts.into_iter();
            loop {
                now += Duration::from_millis(50);
                if let Some((n, class, since)) = puts.next() {
                    let class = Class::ALL[class];
                    queue.put(&question(n), class, at(since), now);
                    let known = model.entry(question(n)).or_insert(class);
                    *known = class.min(*known);
                }
                let waiting: Vec<Class> = model.values().copied().collect();
                let Some((taken, class)) = queue.take(now) else {
                    prop_assert!(model.is_empty());
                    if puts.len() == 0 {
                        break;
                    }
                    continue;
                };
                prop_assert_eq!(model.remove(&taken), Some(class));
                queue.remove(&taken);
                for other in Class::ALL {
                    let times = passed_over.entry(other).or_default();
                    *times = if other == class || !waiting.contains(&other) { 0 } else { *times + 1 };
                    prop_assert!(*times <= 16, "{:?} is passed over {} times", other, times);
                }
            }
            prop_assert!(queue.is_empty());
        }
    }
}
