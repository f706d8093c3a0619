//! What a small world holds: one object, its records in etcd, HostUp, some processes.

use crate::ledger::record::State;

pub const ATTEMPTS: u8 = 3;
pub const DRIVERS: u8 = 3;
/// When the world begins, in seconds: a clock may be behind.
const BEGIN: u32 = 10_000;
/// Moments after that: within a claim's time, past it, past the paid call's, past the settle time, past all that without
/// faults is waited for by a clock that is an hour wrong, past a job's deadline, and later.
const TIMES: [u32; 9] = [0, 10, 50, 200, 1_300, 3_000, 8_000, 30_000, 40_000];
/// How many of the moments a search goes through, and how many more it takes until all has come to an end.
pub const SOON: Moments = Moments {
    searched: 5,
    waited: 7,
};
pub const PAST_THE_JOB_DEADLINE: Moments = Moments {
    searched: 8,
    waited: 9,
};
/// Past the settle time after that too.
pub const ALL: Moments = Moments {
    searched: 9,
    waited: 9,
};
/// How wrong a clock is.
pub const AHEAD: i32 = 3_600;
pub const BEHIND: i32 = -3_600;

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goods {
    /// A backup is restored to a new VM, which its token finds again.
    NewVm,
    /// A backup is restored onto a VPS that exists: nothing but its job shows what became of it.
    Disk,
}

#[derive(Debug, Clone, Copy)]
pub struct Moments {
    pub searched: u8,
    pub waited: u8,
}

/// A record in etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rec {
    pub holder: u8,
    pub uid: u8,
    pub generation: u8,
    pub tries: u8,
    /// By the claimer's clock, and by the API server's.
    pub made: u32,
    pub stamped: u32,
    pub known: u16,
    pub version: u8,
    pub told: Told,
}

/// A person's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    Nothing,
    NotExecuted,
    Abandon,
    /// It was executed, and this is its VM.
    Adopt,
}

/// The object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Object {
    pub exists: bool,
    pub uid: u8,
    pub generation: u8,
    pub is_suspended: bool,
    /// The attempt that its status names, or 0; and the state in which it shows it.
    pub named: u8,
    pub shown: State,
}

/// One process of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Driver {
    pub is_frozen: bool,
    /// How far its clocks are behind, as they stood still.
    pub lag: u32,
    /// How far its time of day is wrong.
    pub skew: i32,
    /// The highest attempt that its watch has shown.
    pub seen: u8,
    /// Attempts that it has claimed, and that may have been sent.
    pub claimed: u8,
    /// Holders for which it knows that nothing was sent.
    pub unsent: u8,
    pub remembers: Remembers,
    pub life: Life,
}

/// What a process remembers of a record that it follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Remembers {
    /// How often nothing was found.
    pub absent: u8,
    /// Since when the job is gone, by its own clock; or 0.
    pub gone: u32,
    /// The same, since when nothing could be read.
    pub unread: u32,
    /// The same, since when it has seen a date that lies ahead of its clock.
    pub dated: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Life {
    Idle,
    Buying(Buying),
}

/// A purchase that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Buying {
    pub purchase: u32,
    pub does: Does,
    pub order: u16,
    pub holder: u8,
    /// When it began, by its own clock.
    pub made: u32,
    /// Of the record that it read last.
    pub version: u8,
    /// What the status told at the first look, its state as a number.
    pub told: (u8, u8),
}

/// An effect, in few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Does {
    Reserve,
    Create,
    Read,
    LookAtObject,
    LookAtRecord,
    HandOver,
    Post,
    Write(u16),
    Wait,
}

/// What has become of the call of an attempt at HostUp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Executed {
    No,
    /// Its VM is not listed yet.
    Unseen,
    Listed,
    /// HostUp provides its VM no longer.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub now: u8,
    pub object: Object,
    pub records: [Option<Rec>; ATTEMPTS as usize],
    /// A create whose answer was lost and that may still land.
    pub late: Option<(u8, Rec)>,
    pub executed: [Executed; ATTEMPTS as usize],
    /// Attempts that a person has freed.
    pub freed: u8,
    /// Attempts whose job HostUp does not know any more.
    pub forgotten: u8,
    /// Attempts whose `NotExecuted` the job has refuted.
    pub refuted: u8,
    pub drivers: [Driver; DRIVERS as usize],
    pub holders: u8,
    pub faults: u8,
    pub edits: u8,
    pub answers: u8,
    pub wrong: Option<Wrong>,
}

/// What must never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// Two calls were executed, and nobody had freed the first.
    Twice,
    /// One record was sent twice.
    SameRecordTwice,
    /// A call left for a record that was settled.
    AfterItWasSettled,
    /// A call left without its record in etcd.
    WithoutRecord,
    /// An executed call is called not made.
    Lost,
    /// A person was asked, and is not any more, though nothing was read.
    QuestionWithdrawn,
    /// HostUp has, or has not, taken the order, says a record whose job could not be read.
    MovedUnread,
    /// No VM has the token, says a record whose VM is listed.
    CalledAbsent,
    /// What was settled has changed.
    SettledChanged,
    /// A record moves as no record may: who reads it takes it for another one than its object's status shows.
    TakenForAnother,
    /// A process whose clock is right took a person's `NotExecuted` before the settle time had passed.
    ActedTooEarly,
    /// A person's `NotExecuted` took effect, although HostUp had shown the job since it was given.
    RefutedAnswer,
    /// A record is Sending though nobody sends it, past its time by a clock that is right.
    StuckSending,
    /// Nothing happens any more, and neither is there an end nor is a person asked.
    NoEnd,
    /// A purchase lost its way.
    Confused,
}

impl Driver {
    /// It is not there, or not any more: it stands still for ever.
    pub fn dies(&mut self) {
        *self = Self {
            is_frozen: true,
            lag: u32::MAX,
            skew: 0,
            seen: 0,
            claimed: 0,
            unsent: 0,
            remembers: Remembers::default(),
            life: Life::Idle,
        };
    }

    pub fn is_there(&self) -> bool {
        self.lag != u32::MAX
    }
}

impl Object {
    /// What its status tells.
    pub fn told(self) -> (u8, u8) {
        (self.named, self.shown as u8)
    }
}

impl World {
    pub fn new(drivers: usize, faults: u8, edits: u8, answers: u8) -> Self {
        let driver = Driver {
            is_frozen: false,
            lag: 0,
            skew: 0,
            seen: 0,
            claimed: 0,
            unsent: 0,
            remembers: Remembers::default(),
            life: Life::Idle,
        };
        let mut all = [driver; DRIVERS as usize];
        for absent in all.iter_mut().skip(drivers) {
            absent.dies();
        }
        Self {
            now: 0,
            object: Object {
                exists: true,
                uid: 0,
                generation: 1,
                is_suspended: false,
                named: 0,
                shown: State::Sending,
            },
            records: [None; ATTEMPTS as usize],
            late: None,
            executed: [Executed::No; ATTEMPTS as usize],
            freed: 0,
            forgotten: 0,
            refuted: 0,
            drivers: all,
            holders: 0,
            faults,
            edits,
            answers,
            wrong: None,
        }
    }

    /// The same, where the clock of one process is wrong.
    pub fn with_a_clock(self, skew: i32) -> Self {
        let mut world = self;
        world.drivers[0].skew = skew;
        world.drivers.sort_unstable();
        world
    }

    pub fn seconds(&self) -> u32 {
        BEGIN + TIMES[usize::from(self.now)]
    }

    pub fn record(&self, attempt: u8) -> Option<Rec> {
        self.records
            .get(usize::from(attempt).wrapping_sub(1))
            .copied()
            .flatten()
    }

    pub fn highest(&self) -> u8 {
        (1..=ATTEMPTS)
            .rev()
            .find(|n| self.record(*n).is_some())
            .unwrap_or(0)
    }

    pub fn clock(&self, driver: usize) -> u32 {
        let driver = self.drivers[driver];
        self.seconds()
            .saturating_sub(driver.lag)
            .saturating_add_signed(driver.skew)
    }

    pub fn executed(&self, attempt: u8) -> Executed {
        self.executed[usize::from(attempt) - 1]
    }

    pub fn listed(&self) -> usize {
        self.executed
            .iter()
            .filter(|one| **one == Executed::Listed)
            .count()
    }
}
