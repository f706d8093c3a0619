//! What happened in a life, in words, and how often each fault came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// The story of a life. Clones tell the same one.
#[derive(Clone)]
pub struct Story(Arc<Mutex<Told>>);

struct Told {
    began: Instant,
    lines: Vec<(Duration, String)>,
    fired: BTreeMap<&'static str, u64>,
    is_kept: bool,
    digest: Sha256,
}

impl Story {
    /// It begins now. Its lines are kept if they are to be told; its digest is taken all the same.
    pub fn begin(is_kept: bool) -> Self {
        Self(Arc::new(Mutex::new(Told {
            began: Instant::now(),
            lines: Vec::new(),
            fired: BTreeMap::new(),
            is_kept,
            digest: Sha256::new(),
        })))
    }

    /// Something happened.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        self.with(|told| {
            let at = told.began.elapsed();
            let line = line();
            told.digest.update(at.as_nanos().to_le_bytes());
            told.digest.update(line.as_bytes());
            if told.is_kept {
                told.lines.push((at, line));
            }
        });
    }

    /// A fault came.
    pub fn fault(&self, kind: &'static str, line: impl FnOnce() -> String) {
        self.with(|told| *told.fired.entry(kind).or_default() += 1);
        self.tell(|| format!("FAULT {kind}: {}", line()));
    }

    /// How often each fault came.
    pub fn fired(&self) -> BTreeMap<&'static str, u64> {
        self.with(|told| told.fired.clone())
    }

    /// The lines, each with its time.
    pub fn lines(&self) -> Vec<String> {
        self.with(|told| {
            let line = |(at, line): &(Duration, String)| format!("{:>9.3} s  {line}", at.as_secs_f64());
            told.lines.iter().map(line).collect()
        })
    }

    /// A hash of everything that happened, and when.
    pub fn digest(&self) -> String {
        self.with(|told| data_encoding::HEXLOWER.encode(&told.digest.clone().finalize()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Told) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
