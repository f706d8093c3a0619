//! How much is run, and how long each run may last.

use std::time::Duration;

use clap::ValueEnum;

/// What is run one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Many restores at once over ten keys.
    Burst,
    /// One restore after the other on one key.
    Stream,
    /// Two large accounts and a small one, under a limit for each key.
    Accounts,
    /// HostUp is away for a while.
    Outage,
    /// A restart with many finished restores and records.
    Restart,
}

impl Workload {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [
        Self::Burst,
        Self::Stream,
        Self::Accounts,
        Self::Outage,
        Self::Restart,
    ];
}

/// The numbers of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name in the table.
    pub name: &'static str,
    /// Restores at once.
    pub bursts: Vec<usize>,
    /// Restores one after the other.
    pub stream: usize,
    /// Restores of each account under a limit; the last one is the small account.
    pub accounts: [usize; 3],
    /// How long HostUp is away.
    pub away: Duration,
    /// Restores that wait for HostUp meanwhile.
    pub waiting: usize,
    /// Finished restores at a restart, each step on top of the one before.
    pub finished: Vec<usize>,
    /// Finished records without restores at a restart.
    pub records: usize,
    /// The longest that each run may last.
    pub patience: Patience,
}

/// The longest that runs may last.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A burst: this, and a part for each restore.
    pub burst: (Duration, Duration),
    /// A stream, after its last restore was made.
    pub stream: Duration,
    /// The three accounts.
    pub accounts: Duration,
    /// After the end of an outage.
    pub outage: Duration,
    /// Until a restarted process is quiet.
    pub restart: Duration,
}

impl Patience {
    /// How long a burst of so many may last.
    pub fn of_burst(&self, restores: usize) -> Duration {
        self.burst.0 + self.burst.1 * u32::try_from(restores).unwrap_or(u32::MAX)
    }
}

impl Plan {
    /// In about seven minutes on two cores.
    pub fn quick() -> Self {
        Self {
            name: "quick",
            bursts: vec![100],
            stream: 40,
            accounts: [50, 50, 5],
            away: Duration::from_secs(15),
            waiting: 50,
            finished: vec![1_000],
            records: 2_000,
            patience: Patience {
                burst: (Duration::from_secs(30), Duration::from_millis(300)),
                stream: Duration::from_secs(30),
                accounts: Duration::from_secs(60),
                outage: Duration::from_secs(65),
                restart: Duration::from_secs(40),
            },
        }
    }

    /// The whole.
    pub fn full() -> Self {
        Self {
            name: "full",
            bursts: vec![1_000, 3_000],
            stream: 200,
            accounts: [500, 500, 20],
            away: Duration::from_secs(60),
            waiting: 500,
            finished: vec![1_000, 3_000, 10_000],
            records: 100_000,
            patience: Patience {
                burst: (Duration::from_secs(60), Duration::from_millis(200)),
                stream: Duration::from_secs(120),
                accounts: Duration::from_secs(500),
                outage: Duration::from_secs(240),
                restart: Duration::from_secs(300),
            },
        }
    }
}
