//! One lane per API key: how many calls are under way, how fast they follow, and until when HostUp
//! wants none.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{RateLimit, ReadError};
use crate::domain::answer::{PaidAnswer, RETRY_AFTER_DEFAULT, wait_asked_for};

/// Paid calls under way with one key.
const PAID_IN_FLIGHT: usize = 4;
/// Reads per second with one key, and how many may come at once (assumed: no page gives a number).
const READS_PER_SECOND: u32 = 20;
const READS_AT_ONCE: u32 = 40;
/// The first and the longest pause after a call that hung.
const HANG_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// Lanes kept; the idle ones beyond go.
const LANES_KEPT: usize = 1000;

/// All lanes, by a hash of the key.
pub(super) struct Lanes {
    readers: usize,
    by_key: Mutex<HashMap<[u8; 32], Arc<Lane>>>,
}

impl Lanes {
    /// With room for so many readers at once with one key; a hanging account holds no more workers.
    pub(super) fn new(readers: usize) -> Self {
        Self {
            readers: readers.max(1),
            by_key: Mutex::default(),
        }
    }

    /// The lane of `key`, which stands in that Secret.
    pub(super) fn of(&self, key: &SecretString, namespace: &str, secret: &str) -> Arc<Lane> {
        let hash: [u8; 32] = Sha256::digest(key.expose_secret().as_bytes()).into();
        let mut lanes = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= LANES_KEPT {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || lane.is_held());
        }
        lanes
            .entry(hash)
            .or_insert_with(|| Arc::new(Lane::new(self.readers, namespace, secret)))
            .clone()
    }

    /// What is known of the rate limit of each key.
    pub(super) fn limits(&self, now: Timestamp) -> Vec<RateLimit> {
        let lanes = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.values().map(|lane| lane.limit(now)).collect()
    }
}

/// What one key may do.
pub(super) struct Lane {
    namespace: String,
    secret: String,
    reads: Arc<Semaphore>,
    paid: Arc<Semaphore>,
    pace: DefaultDirectRateLimiter,
    hold: Mutex<Hold>,
}

#[derive(Default)]
struct Hold {
    until: Option<Instant>,
    why: Option<ReadError>,
    limits_in_a_row: u32,
    hangs_in_a_row: u32,
    /// Calls that HostUp says are left, and until when that holds.
    left: Option<(u32, Timestamp)>,
    asked_to_wait: Duration,
}

impl Lane {
    fn new(readers: usize, namespace: &str, secret: &str) -> Self {
        let per_second = NonZeroU32::new(READS_PER_SECOND).unwrap_or(NonZeroU32::MIN);
        let at_once = NonZeroU32::new(READS_AT_ONCE).unwrap_or(NonZeroU32::MIN);
        Self {
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            reads: Arc::new(Semaphore::new(readers)),
            paid: Arc::new(Semaphore::new(PAID_IN_FLIGHT)),
            pace: RateLimiter::direct(Quota::per_second(per_second).allow_burst(at_once)),
            hold: Mutex::default(),
        }
    }
}

impl Lane {
    /// Leave to read now, or why not; nobody waits here, for all keys share the workers. It is kept for all
    /// reads that belong together, so that what was begun is also finished.
    pub(super) fn reading(&self) -> Result<OwnedSemaphorePermit, ReadError> {
        self.held()?;
        self.reads
            .clone()
            .try_acquire_owned()
            .map_err(|_| ReadError::Busy)
    }

    /// Waits until the next read may leave.
    pub(super) async fn pace(&self) -> Result<(), ReadError> {
        self.pace.until_ready().await;
        self.held()
    }

    /// Leave for one paid call, or why not now.
    pub(super) fn paid_permit(&self) -> Result<OwnedSemaphorePermit, ReadError> {
        self.held()?;
        self.paid.clone().try_acquire_owned().map_err(|_| ReadError::Busy)
    }

    fn is_held(&self) -> bool {
        self.held().is_err()
    }

    /// Refuses while a wait has not passed. It is measured on the monotonic clock: a wall clock that
    /// jumps shortens nothing.
    pub(super) fn held(&self) -> Result<(), ReadError> {
        let hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        match (&hold.until, &hold.why) {
            (Some(until), Some(why)) if Instant::now() < *until => Err(why.clone()),
            (_, _) => Ok(()),
        }
    }

    /// A usable answer came; `remaining` and `reset` are HostUp's rate headers, if it sent them.
    pub(super) fn went_well(&self, remaining: Option<u32>, reset: Option<Timestamp>, now: Timestamp) {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        hold.limits_in_a_row = 0;
        hold.hangs_in_a_row = 0;
        hold.left = remaining.zip(reset).or(hold.left);
        if let (Some(0), Some(reset)) = (remaining, reset) {
            let wait = Duration::try_from(reset.duration_since(now)).unwrap_or_default();
            hold.wait_as_asked(wait.min(LONGEST_WAIT), now);
        }
    }

    /// A 429 came; without a usable wait it is 30 s, doubling.
    pub(super) fn limited(&self, wait: Option<Duration>, now: Timestamp) -> ReadError {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        let doubled = RETRY_AFTER_DEFAULT.saturating_mul(2_u32.saturating_pow(hold.limits_in_a_row.min(10)));
        hold.limits_in_a_row = hold.limits_in_a_row.saturating_add(1);
        let wait = wait.unwrap_or(doubled).min(LONGEST_WAIT);
        hold.wait_as_asked(wait, now);
        let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        hold.left = Some((0, until));
        ReadError::RateLimited { until }
    }

    /// A call hung until its deadline: others with this key are not let into the same hole for a while.
    pub(super) fn hung(&self, why: &ReadError, now: Timestamp) {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, longest) = HANG_BOUNDS;
        let wait = first
            .saturating_mul(2_u32.saturating_pow(hold.hangs_in_a_row.min(10)))
            .min(longest);
        hold.hangs_in_a_row = hold.hangs_in_a_row.saturating_add(1);
        hold.pause(wait, now, |_| why.clone());
    }

    fn limit(&self, now: Timestamp) -> RateLimit {
        let hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        RateLimit {
            namespace: self.namespace.clone(),
            secret: self.secret.clone(),
            remaining: hold
                .left
                .filter(|(_, until)| *until > now)
                .map(|(calls, _)| calls),
            asked_to_wait: hold.asked_to_wait,
        }
    }

    /// A paid call that was rate limited holds every call with its key.
    pub(super) fn learn_from_paid(&self, answer: &PaidAnswer, now: Timestamp) {
        if let PaidAnswer::Answered {
            status: 429,
            retry_after,
            body,
        } = answer
        {
            let wait = wait_asked_for(retry_after.as_deref(), body, now);
            let _held = self.limited(wait, now);
        }
    }
}

impl Hold {
    /// HostUp wants no call for so long. What passes twice is counted once.
    fn wait_as_asked(&mut self, wait: Duration, now: Timestamp) {
        let already = self.until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        });
        self.asked_to_wait += wait.saturating_sub(already);
        self.pause(wait, now, |until| ReadError::RateLimited { until });
    }

    fn pause(&mut self, wait: Duration, now: Timestamp, why: impl FnOnce(Timestamp) -> ReadError) {
        let until = Instant::now() + wait;
        if self.until.is_none_or(|earlier| earlier < until) {
            self.until = Some(until);
            self.why = Some(why(now.checked_add(wait).unwrap_or(Timestamp::MAX)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_finds_all_turns_taken_is_told_so_and_does_not_wait() {
        let lane = Lane::new(2, "shop", "hostup-api");
        let turns = [lane.reading().unwrap(), lane.reading().unwrap()];
        assert_eq!(lane.reading().unwrap_err(), ReadError::Busy);
        drop(turns);
        assert!(lane.reading().is_ok());
    }

    #[test]
    fn a_wait_that_was_asked_for_twice_at_a_time_is_counted_once() {
        let lane = Lane::new(1, "shop", "hostup-api");
        let (now, minute) = (Timestamp::now(), Duration::from_secs(60));
        for wait in [minute, minute / 2, minute] {
            lane.limited(Some(wait), now);
        }
        let asked = lane.limit(now).asked_to_wait;
        assert!(asked >= minute && asked < minute + minute / 30, "{asked:?}");
    }

    #[test]
    fn what_is_left_counts_until_hostup_counts_anew() {
        let lane = Lane::new(1, "shop", "hostup-api");
        let now = Timestamp::now();
        let reset = now.checked_add(Duration::from_secs(60)).unwrap();
        assert_eq!(lane.limit(now).remaining, None);
        lane.went_well(Some(7), Some(reset), now);
        lane.went_well(None, None, now);
        assert_eq!(lane.limit(now).remaining, Some(7));
        assert_eq!(lane.limit(reset).remaining, None);
    }
}
