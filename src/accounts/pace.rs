//! How fast the calls of one key follow each other, and until when HostUp wants none. Times are those of the
//! monotonic clock: a wall clock that is put forward shortens no wait.

use std::collections::VecDeque;
use std::time::Duration;

use super::queue::Class;
use crate::domain::action::answer::RETRY_AFTER_DEFAULT;

/// Calls a second where HostUp says nothing (assumed: no page gives a number), and how fast it may become.
const PER_SECOND: (u32, u32) = (20, 50);
/// Calls that may leave at once after a rest.
const BURST: u32 = 10;
/// No more calls than those of a second leave within this time, a burst included: what leaves a second after another
/// call may still reach HostUp within one.
const WINDOW: Duration = Duration::from_millis(1_050);
/// The rate grows by one call a second after so long without a refusal: a try that HostUp refuses costs the key a wait of
/// its choice.
const GROWS_AFTER: Duration = Duration::from_secs(120);
/// As long as it is below one that was refused, it comes back by one call a second after so long.
const COMES_BACK_AFTER: Duration = Duration::from_secs(1);
/// A rate that was refused is not tried again for so long.
const REFUSED_FOR: Duration = Duration::from_secs(15 * 60);
/// Calls of HostUp's budget that are kept for what a sent call waits for.
const RESERVE: u32 = 5;
/// The longest wait that HostUp's word causes.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// However much HostUp allows, the calls of one key follow each other no faster.
const SHORTEST_GAP: Duration = Duration::from_millis(10);

/// HostUp's own count: calls left, and when it counts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Budget {
    left: u32,
    until: Duration,
}

/// A call that is counted and has not left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    at: Duration,
    gap: Duration,
}

/// The pace of one key.
#[derive(Debug, Clone)]
pub struct Pace {
    per_second: u32,
    changed: Duration,
    /// The rate at which a call was refused last, and when.
    refused: Option<(u32, Duration)>,
    /// When the next call is due if none may leave early.
    due: Duration,
    /// When the last ones left, as many as may within a window.
    left: VecDeque<Duration>,
    /// Calls that are counted and have not left.
    promised: u32,
    budget: Option<Budget>,
    held_until: Option<Duration>,
    limits_in_a_row: u32,
    asked_to_wait: Duration,
}

impl Pace {
    /// As fast as is assumed to be fine.
    pub fn new(now: Duration) -> Self {
        Self {
            per_second: PER_SECOND.0,
            changed: now,
            refused: None,
            due: now,
            left: VecDeque::new(),
            promised: 0,
            budget: None,
            held_until: None,
            limits_in_a_row: 0,
            asked_to_wait: Duration::ZERO,
        }
    }

    /// Until when HostUp wants no call at all.
    pub fn held(&self, now: Duration) -> Option<Duration> {
        self.held_until.filter(|until| now < *until)
    }

    /// When the next read of this class may leave: a part is kept for the more urgent ones.
    pub fn next(&self, class: Class, now: Duration) -> Duration {
        if let Some(until) = self.held(now) {
            return until;
        }
        let gap = match self.budget(now) {
            Some(budget) => {
                let reserve = if class == Class::Sent { 0 } else { RESERVE };
                match budget.left.saturating_sub(reserve) {
                    0 => return budget.until,
                    left => (budget.until.saturating_sub(now) / left).max(SHORTEST_GAP),
                }
            }
            None => self.gap(),
        };
        // Neither is a call early by more than a burst, nor late by more: what paid calls took, or a slower pace that is
        // over, is soon forgiven.
        let due = self.due.min(now + gap * BURST);
        let of_window = self.window_opens(class).unwrap_or(now);
        due.saturating_sub(gap * (BURST - 1)).max(of_window).max(now)
    }

    /// When a call may leave so that no window has more than it may; `None` where fewer have left. Of a count that nobody
    /// told a part is kept for the more urgent ones too.
    fn window_opens(&self, class: Class) -> Option<Duration> {
        let all = self.per_second as usize;
        let most = match class {
            Class::Sent => all,
            Class::Approved => (all * 9 / 10).max(1),
            Class::Preview | Class::Routine => (all * 3 / 4).max(1),
        };
        let first = self.left.len().checked_sub(most)?;
        self.left.get(first).map(|left| *left + WINDOW)
    }

    /// A call leaves.
    pub fn leaves(&mut self, now: Duration) {
        self.count(now);
    }

    /// A call is counted that leaves soon: a paid one.
    pub fn promise(&mut self, now: Duration) -> Promise {
        self.promised = self.promised.saturating_add(1);
        self.count(now)
    }

    fn count(&mut self, now: Duration) -> Promise {
        let gap = match self.budget(now) {
            Some(budget) if budget.left > 0 => {
                (budget.until.saturating_sub(now) / budget.left).max(SHORTEST_GAP)
            }
            Some(_) | None => self.gap(),
        };
        self.due = self.due.max(now) + gap;
        self.note(now);
        let own_gap = self.gap();
        if let Some(budget) = self.budget.as_mut().filter(|budget| now < budget.until) {
            budget.left = budget.left.saturating_sub(1);
            // Once HostUp counts anew nothing is owed.
            self.due = self.due.min(budget.until.max(now + own_gap));
        }
        Promise { at: now, gap }
    }

    /// A promised call leaves now: HostUp counts it from now on.
    pub fn leaves_late(&mut self, call: Promise, now: Duration) {
        self.uncount(call);
        self.note(now);
    }

    /// A promised call does not leave after all.
    pub fn did_not_leave(&mut self, call: Promise) {
        self.due = self.due.saturating_sub(call.gap);
        self.uncount(call);
        if let Some(budget) = &mut self.budget {
            budget.left = budget.left.saturating_add(1);
        }
    }

    fn note(&mut self, now: Duration) {
        if self.left.len() >= PER_SECOND.1 as usize {
            self.left.pop_front();
        }
        self.left.push_back(now);
    }

    fn uncount(&mut self, call: Promise) {
        self.promised = self.promised.saturating_sub(1);
        if let Some(n) = self.left.iter().rposition(|at| *at == call.at) {
            self.left.remove(n);
        }
    }

    /// An answer that is no 429 came; `budget` is what HostUp says of its own count: calls left, and the time until it
    /// counts anew.
    pub fn went_well(&mut self, budget: Option<(u32, Duration)>, now: Duration) {
        self.limits_in_a_row = 0;
        let refused = self
            .refused
            .filter(|(_, when)| now.saturating_sub(*when) < REFUSED_FOR);
        let (most, after) = match refused {
            Some((rate, _)) => (rate.saturating_sub(1), COMES_BACK_AFTER),
            None => (PER_SECOND.1, GROWS_AFTER),
        };
        if now.saturating_sub(self.changed) >= after && self.per_second < most {
            self.per_second += 1;
            self.changed = now;
        }
        if let Some((left, wait)) = budget {
            let wait = wait.min(LONGEST_WAIT);
            // HostUp does not know of the calls that are promised.
            self.budget = Some(Budget {
                left: left.saturating_sub(self.promised),
                until: now + wait,
            });
            if left == 0 {
                self.hold(wait, now);
            }
        }
    }

    /// A 429 came; without a usable wait it is 30 s, doubling. Returns the wait.
    pub fn limited(&mut self, wait: Option<Duration>, now: Duration) -> Duration {
        let doubled = RETRY_AFTER_DEFAULT.saturating_mul(2_u32.saturating_pow(self.limits_in_a_row.min(10)));
        let wait = wait.unwrap_or(doubled).min(LONGEST_WAIT);
        // Several calls that were under way at once are one refusal.
        if self.held(now).is_none() {
            self.limits_in_a_row = self.limits_in_a_row.saturating_add(1);
            self.refused = Some((self.per_second, now));
            self.per_second = (self.per_second / 2).max(1);
            self.changed = now;
        }
        self.budget = None;
        self.hold(wait, now);
        wait
    }

    /// Calls that HostUp says are left, while that holds.
    pub fn remaining(&self, now: Duration) -> Option<u32> {
        match self.held(now) {
            Some(_) => Some(0),
            None => self.budget(now).map(|budget| budget.left),
        }
    }

    /// How long HostUp has asked to send nothing, in all. What passes twice is counted once.
    pub fn asked_to_wait(&self) -> Duration {
        self.asked_to_wait
    }

    fn hold(&mut self, wait: Duration, now: Duration) {
        let until = now + wait;
        let already = self.held(now).unwrap_or(now);
        self.asked_to_wait += until.saturating_sub(already);
        self.held_until = Some(until.max(already));
    }

    fn budget(&self, now: Duration) -> Option<Budget> {
        self.budget.filter(|budget| now < budget.until)
    }

    fn gap(&self) -> Duration {
        Duration::from_secs(1) / self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Calls that leave within `span` when there is always one that waits.
    fn calls(pace: &mut Pace, class: Class, from: Duration, span: Duration) -> usize {
        let (mut now, mut left) = (from, 0);
        loop {
            now = pace.next(class, now).max(now);
            if now >= from + span {
                return left;
            }
            pace.leaves(now);
            left += 1;
        }
    }

    #[test]
    fn calls_follow_at_twenty_a_second_after_a_burst_and_no_second_has_more() {
        let mut pace = Pace::new(SECOND);
        assert_eq!(
            calls(&mut pace, Class::Sent, SECOND, Duration::from_millis(1)),
            BURST as usize
        );
        let mut left: Vec<Duration> = Vec::new();
        let mut now = SECOND;
        while now < SECOND * 12 {
            now = pace.next(Class::Sent, now);
            pace.leaves(now);
            left.push(now);
        }
        for (n, first) in left.iter().enumerate() {
            let of_second = left.iter().skip(n).filter(|at| **at < *first + SECOND).count();
            assert!(of_second <= 20, "{of_second} from {first:?} on");
        }
        assert!(left.len() >= 200, "{}", left.len());
    }

    #[test]
    fn a_part_of_an_assumed_count_is_kept_for_urgent_calls() {
        let mut pace = Pace::new(SECOND);
        let reads = calls(&mut pace, Class::Preview, SECOND, SECOND);
        assert_eq!(reads, 15);
        let now = SECOND + Duration::from_millis(999);
        assert!(pace.next(Class::Preview, now) > now);
        assert_eq!(calls(&mut pace, Class::Sent, now, Duration::from_millis(1)), 5);
    }

    #[test]
    fn a_refusal_halves_the_pace_once_and_it_comes_back_to_just_below_what_was_refused() {
        let mut pace = Pace::new(SECOND);
        let mut now = SECOND;
        for _ in 0..3 {
            pace.limited(Some(SECOND), now);
        }
        now += SECOND;
        let each_second = calls(&mut pace, Class::Sent, now, SECOND * 10) / 10;
        assert!((9..=10).contains(&each_second), "{each_second}");
        let mut after = |pace: &mut Pace, seconds: u32| {
            for _ in 0..seconds {
                now += SECOND;
                pace.went_well(None, now);
            }
            pace.per_second
        };
        assert_eq!(after(&mut pace, 5), 15);
        assert_eq!(after(&mut pace, 60), PER_SECOND.0 - 1);
        let minutes = u32::try_from(REFUSED_FOR.as_secs() / 60).unwrap();
        assert_eq!(after(&mut pace, 60 * (minutes - 2)), PER_SECOND.0 - 1);
        assert!(after(&mut pace, 120 + 4 * 60) > PER_SECOND.0);
        assert_eq!(
            after(&mut pace, 2 * 3_600),
            PER_SECOND.1,
            "where nothing is refused"
        );
    }

    #[test]
    fn what_hostup_counts_is_spread_to_its_reset_and_a_reserve_is_kept() {
        let mut pace = Pace::new(SECOND);
        pace.went_well(Some((65, SECOND * 60)), SECOND);
        let reads = calls(&mut pace, Class::Preview, SECOND, SECOND * 60);
        assert!((55..=60).contains(&reads), "{reads}");
        let mut pace = Pace::new(SECOND);
        pace.went_well(Some((RESERVE, SECOND * 60)), SECOND);
        assert_eq!(pace.next(Class::Preview, SECOND), SECOND * 61);
        assert_eq!(pace.next(Class::Sent, SECOND), SECOND);
        pace.went_well(Some((0, SECOND * 60)), SECOND);
        assert_eq!(pace.next(Class::Sent, SECOND), SECOND * 61);
    }

    #[test]
    fn a_budget_that_is_used_up_owes_nothing_once_hostup_counts_anew() {
        let each = Duration::from_secs(1);
        let mut pace = Pace::new(SECOND);
        let (mut now, mut begins, mut used, mut all) = (SECOND, SECOND, 0, 0);
        while now < SECOND * 21 {
            // Who waits asks again when the time has come.
            while pace.next(Class::Sent, now) > now {
                now = pace.next(Class::Sent, now);
            }
            pace.leaves(now);
            if now >= begins + each {
                (begins, used) = (now, 0);
            }
            used += 1;
            all += 1;
            assert!(used <= 20, "refused at {now:?}");
            // Jobs that end come in heaps, and an answer takes a moment.
            now += Duration::from_millis(if all % 20 == 3 { 400 } else { 1 });
            let left = begins + each;
            pace.went_well(Some((20 - used, left.saturating_sub(now))), now);
        }
        assert!(all >= 18 * 20, "{all}");
    }

    #[test]
    fn a_second_has_no_more_calls_than_it_may_however_late_those_leave_that_were_counted() {
        let mut pace = Pace::new(SECOND);
        let late: Vec<Promise> = (0..5).map(|_| pace.promise(SECOND)).collect();
        calls(&mut pace, Class::Sent, SECOND, SECOND);
        let now = SECOND + Duration::from_millis(900);
        for call in late {
            pace.leaves_late(call, now);
        }
        let more = calls(&mut pace, Class::Sent, now, SECOND);
        assert_eq!(more, 15, "beside the five that are late");
    }

    #[test]
    fn a_call_that_did_not_leave_takes_no_place() {
        for budget in [None, Some((20, SECOND * 60))] {
            let mut pace = Pace::new(SECOND);
            pace.went_well(budget, SECOND);
            for at in [SECOND, SECOND, SECOND * 2] {
                pace.leaves(at);
            }
            let mut expected = pace.clone();
            let call = pace.promise(SECOND * 2);
            pace.did_not_leave(call);
            for pace in [&mut pace, &mut expected] {
                pace.leaves(SECOND * 2);
            }
            assert_eq!((pace.due, &pace.left), (expected.due, &expected.left));
            assert_eq!(pace.remaining(SECOND * 2), expected.remaining(SECOND * 2));
        }
        // HostUp has counted anew since.
        let mut pace = Pace::new(SECOND);
        pace.went_well(Some((20, SECOND * 60)), SECOND);
        let call = pace.promise(SECOND);
        pace.went_well(Some((7, SECOND * 60)), SECOND * 2);
        pace.did_not_leave(call);
        assert_eq!(pace.remaining(SECOND * 2), Some(7));
    }

    #[test]
    fn a_wait_that_was_asked_for_twice_at_a_time_is_counted_once() {
        let mut pace = Pace::new(SECOND);
        for wait in [60, 30, 60] {
            pace.limited(Some(Duration::from_secs(wait)), SECOND);
        }
        assert_eq!(pace.asked_to_wait(), SECOND * 60);
        assert_eq!(pace.remaining(SECOND), Some(0));
        assert_eq!(pace.remaining(SECOND * 62), None);
    }

    proptest! {
        #[test]
        fn nothing_leaves_inside_a_wait_and_every_wait_ends(
            events in proptest::collection::vec((0_u64..5_000, 0_u8..5, 0_u32..40, 0_u64..100), 1..60)
        ) {
            let mut pace = Pace::new(SECOND);
            let mut now = SECOND;
            let mut holds: Vec<Duration> = Vec::new();
            for (wait, kind, count, seconds) in events {
                now += Duration::from_millis(wait);
                match kind {
                    0 => holds.push(now + pace.limited(Some(Duration::from_secs(seconds)), now)),
                    1 => holds.push(now + pace.limited(None, now)),
                    2 => pace.went_well(Some((count, Duration::from_secs(seconds))), now),
                    3 => pace.went_well(None, now),
                    _ => {
                        let next = pace.next(if count % 2 == 0 { Class::Sent } else { Class::Routine }, now);
                        prop_assert!(next >= now && next <= now + LONGEST_WAIT);
                        for held in &holds {
                            prop_assert!(next >= (*held).min(now + LONGEST_WAIT) || *held <= now);
                        }
                        if next == now {
                            pace.leaves(now);
                        }
                    }
                }
            }
        }
    }
}
