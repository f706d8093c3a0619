//! Many lives, one after the other on every core.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::life::{Ended, live};
use crate::met::Met;

/// What came of many lives.
#[derive(Debug, Default)]
pub struct Many {
    /// How many there were.
    pub lives: u64,
    /// Those of which something was wrong.
    pub bad: Vec<Ended>,
    /// Calls that HostUp executed.
    pub purchases: usize,
    /// The same, by their kind.
    pub executed: BTreeMap<String, usize>,
    /// How often a person was asked.
    pub questions: u64,
    /// Of these, though nothing had gone wrong that could leave an outcome open.
    pub needless: u64,
    /// Calls that left after their record was settled, because the process was paused within its second look.
    pub unknowing: usize,
    /// Which faults came, and where purchases stood then.
    pub met: Met,
}

impl Many {
    fn add(&mut self, ended: Ended) {
        self.lives += 1;
        self.purchases += ended.purchases;
        for (kind, times) in &ended.executed {
            *self.executed.entry(kind.clone()).or_default() += times;
        }
        self.questions += ended.questions;
        self.needless += ended.needless;
        self.unknowing += ended.unknowing;
        self.met.add(&ended.met);
        if !ended.wrong.is_empty() {
            self.bad.push(ended);
        }
    }
}

/// Lives so many lives, from the seed `first` on. `bad` is told of each that went wrong, at once.
pub fn live_many(first: u64, lives: u64, bad: impl Fn(&Ended) + Sync) -> Many {
    let (next, many) = (AtomicU64::new(0), Mutex::new(Many::default()));
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= lives {
                        return;
                    }
                    let ended = live(first + number, false);
                    if !ended.wrong.is_empty() {
                        bad(&ended);
                    }
                    many.lock().unwrap_or_else(PoisonError::into_inner).add(ended);
                }
            });
        }
    });
    many.into_inner().unwrap_or_else(PoisonError::into_inner)
}
