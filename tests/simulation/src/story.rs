//! What happened in a life, in words, and how often each fault came.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::met::Met;

/// The story of a life. Clones tell the same one.
#[derive(Clone)]
pub struct Story {
    told: Arc<Mutex<Told>>,
    standings: Arc<dyn Fn() -> BTreeSet<&'static str> + Send + Sync>,
}

struct Told {
    began: Instant,
    lines: Vec<(Duration, String)>,
    met: Met,
    is_kept: bool,
    digest: Sha256,
}

impl Story {
    /// It begins now. Its lines and its digest are kept if it is to be told. `standings` says where purchases stand.
    pub fn begin(
        is_kept: bool,
        standings: impl Fn() -> BTreeSet<&'static str> + Send + Sync + 'static,
    ) -> Self {
        Self {
            told: Arc::new(Mutex::new(Told {
                began: Instant::now(),
                lines: Vec::new(),
                met: Met::default(),
                is_kept,
                digest: Sha256::new(),
            })),
            standings: Arc::new(standings),
        }
    }

    /// Something happened.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        self.with(|told| {
            if told.is_kept {
                let (at, line) = (told.began.elapsed(), line());
                told.digest.update(at.as_nanos().to_le_bytes());
                told.digest.update(line.as_bytes());
                told.lines.push((at, line));
            }
        });
    }

    /// A fault came.
    pub fn fault(&self, kind: &'static str, line: impl FnOnce() -> String) {
        let standings = (self.standings)();
        self.with(|told| told.met.meets(kind, &standings));
        self.tell(|| format!("FAULT {kind}: {}", line()));
    }

    /// Which faults came, and where purchases stood then.
    pub fn met(&self) -> Met {
        self.with(|told| told.met.clone())
    }

    /// The lines, each with its time.
    pub fn lines(&self) -> Vec<String> {
        self.with(|told| {
            let line = |(at, line): &(Duration, String)| format!("{:>9.3} s  {line}", at.as_secs_f64());
            told.lines.iter().map(line).collect()
        })
    }

    /// A hash of everything that was kept, and when it happened.
    pub fn digest(&self) -> String {
        self.with(|told| data_encoding::HEXLOWER.encode(&told.digest.clone().finalize()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Told) -> T) -> T {
        act(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
