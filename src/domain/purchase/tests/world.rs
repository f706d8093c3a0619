//! A small world for the search: one object, its records in etcd, HostUp, some processes, and all that can go wrong
//! between them. What decides in it is what ships: `decide`, [`Purchase`], `need`, `step`, the walk to the tail.
//!
//! Everything large is interned, so that a state of the world is a few dozen bytes.

use std::collections::HashMap;
use std::fmt::Debug;

use super::*;
use crate::domain::action::follow::{InventoryReading, Memo, Need, need, step};
use crate::domain::ledger::Walk;
use crate::domain::ledger::names::ChainKey;
use crate::domain::ledger::record::Answer;
use crate::domain::provider::inventory::Vm;
use crate::domain::provider::job::JobState;
use crate::domain::restore::tests::{intent, preflight_at, recorded, view};
use crate::domain::restore::{Account, Decision, decide};

pub const ATTEMPTS: u8 = 3;
pub const DRIVERS: u8 = 3;
/// Moments, in seconds: within a claim's time, past it, past the paid call's, past the settle time, and much later.
pub const TIMES: [u32; 7] = [0, 10, 50, 200, 1_300, 3_000, 90_000];

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
}

/// The object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Object {
    pub exists: bool,
    pub uid: u8,
    pub generation: u8,
    pub is_suspended: bool,
    /// The attempt that its status names, or 0; and whether it tells of its outcome.
    pub named: u8,
    pub tells: bool,
}

/// One process of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Driver {
    pub is_frozen: bool,
    /// How far its clocks are behind.
    pub lag: u32,
    /// The highest attempt that its watch has shown.
    pub seen: u8,
    /// Attempts that it has claimed, and that may have been sent.
    pub claimed: u8,
    /// Holders for which it knows that nothing was sent.
    pub unsent: u8,
    pub absent: u8,
    pub life: Life,
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
    pub order: u8,
    pub holder: u8,
    /// When it began, by its own clock.
    pub made: u32,
    /// Of the record that it read last.
    pub version: u8,
    /// What the status told at the first look.
    pub told: (u8, bool),
}

/// An effect, in few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Does {
    Reserve,
    Create,
    Read,
    Look,
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
    pub drivers: [Driver; DRIVERS as usize],
    pub holders: u8,
    pub faults: u8,
    pub edits: u8,
    pub answers: u8,
    pub wrong: Option<Wrong>,
}

/// A fault that is put into what ships, at its border: the search must find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    None,
    /// The status and gaps are not looked at.
    TailBelowAGap,
    /// The second look does not look at the record.
    SecondLookIgnoresRecord,
    SecondLookDropped,
    /// The second look does not look at the status.
    SecondLookIgnoresStatus,
    /// A 409 is taken for the own record, and the second look does not look at it.
    ConflictIsMine,
    /// Whoever holds the record that is read, and the second look does not look at it.
    FoundIsMine,
    /// A 5xx proves that nothing was executed.
    ServerErrorIsRefusal,
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
    /// A purchase lost its way.
    Confused,
}

impl World {
    pub fn new(drivers: usize, faults: u8, edits: u8, answers: u8) -> Self {
        let driver = Driver {
            is_frozen: false,
            lag: 0,
            seen: 0,
            claimed: 0,
            unsent: 0,
            absent: 0,
            life: Life::Idle,
        };
        let mut all = [driver; DRIVERS as usize];
        // Those that are not there stand still for ever.
        for absent in all.iter_mut().skip(drivers) {
            absent.is_frozen = true;
            absent.lag = u32::MAX;
        }
        Self {
            now: 0,
            object: Object {
                exists: true,
                uid: 0,
                generation: 1,
                is_suspended: false,
                named: 0,
                tells: false,
            },
            records: [None; ATTEMPTS as usize],
            late: None,
            executed: [Executed::No; ATTEMPTS as usize],
            freed: 0,
            drivers: all,
            holders: 0,
            faults,
            edits,
            answers,
            wrong: None,
        }
    }

    pub fn seconds(&self) -> u32 {
        TIMES[usize::from(self.now)]
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
        self.seconds().saturating_sub(self.drivers[driver].lag)
    }

    pub fn listed(&self) -> usize {
        self.executed
            .iter()
            .filter(|one| **one == Executed::Listed)
            .count()
    }
}

/// Large values by number.
struct Table<T> {
    all: Vec<T>,
    by_text: HashMap<String, usize>,
}

impl<T: Debug> Table<T> {
    fn new() -> Self {
        Self {
            all: Vec::new(),
            by_text: HashMap::new(),
        }
    }

    fn number(&mut self, value: T) -> usize {
        let text = format!("{value:?}");
        *self.by_text.entry(text).or_insert_with(|| {
            self.all.push(value);
            self.all.len() - 1
        })
    }
}

/// What came back to a purchase, in few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Came {
    Begun,
    Reserved,
    Made(u8, Rec),
    Refused,
    Conflict,
    Unclear,
    Found(u8, Rec),
    Nothing,
    Unreadable,
    Looked {
        is_wanted: bool,
        is_told_alike: bool,
        is_ours: bool,
    },
    LookBusy,
    HandedOver,
    Answered(Says),
    Stood,
    Gone,
    WriteUnclear,
    WriteRefused,
    Waited,
}

/// HostUp's answer to a paid call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Says {
    Accepted,
    Rejected,
    NotSent,
    Lost,
    Broken,
}

/// What a purchase does after something came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    Does(u32, Does),
    Ended { is_unconfirmed: bool, is_confused: bool },
}

/// The facts of an order that its record bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Placed {
    pub attempt: u8,
    pub tries: u8,
    pub uid: u8,
    pub generation: u8,
}

/// What a look at the object decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    Buy(u8),
    Adopt(u8),
    /// Nothing to do; whether the record may be named in the status.
    Show(bool),
}

/// How HostUp is read for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sees {
    Well,
    /// Its job cannot be read.
    NoJob,
    Nothing,
}

type LookKey = (Option<(u8, Rec)>, Option<u8>, Option<u8>, Object, usize, u32);
type StepKey = (u8, Rec, bool, u8, bool, usize, Sees, u32);

/// Calls what ships, and remembers what it said: all of it is pure.
pub struct Shipped {
    purchases: Table<Purchase>,
    knowns: Table<Known>,
    orders: Vec<(Order, Placed)>,
    looks: HashMap<LookKey, Choice>,
    nexts: HashMap<(u32, Came, u32), Then>,
    steps: HashMap<StepKey, Option<(u16, u8)>>,
}

fn wall(seconds: u32) -> Moment {
    at(seconds)
}

fn chain_key() -> ChainKey {
    let subject = order().subject;
    ChainKey::of_restore(&subject.namespace, &subject.name)
}

fn vms(count: usize) -> Vec<Vm> {
    (0..count)
        .map(|n| Vm {
            id: VpsId::new(format!("vps_new_{n}")),
            name: restored(&order().action).vm_name,
            is_payg: true,
            size: Some(SIZE),
            primary_ip: Some(Text::new("192.0.2.1")),
            running: true,
            result_of: None,
        })
        .collect()
}

fn claim(holder: u8, made: u32) -> Claim {
    Claim {
        holder: Holder::new(format!("holder-{holder}")),
        instance: InstanceId::new("cluster-1"),
        made_at: wall(made).wall,
        send_before: later(wall(made).wall, times().request_timeout),
    }
}

impl Shipped {
    pub fn new() -> Self {
        let mut knowns = Table::new();
        knowns.number(Known::sending());
        Self {
            purchases: Table::new(),
            knowns,
            orders: Vec::new(),
            looks: HashMap::new(),
            nexts: HashMap::new(),
            steps: HashMap::new(),
        }
    }

    pub fn known(&self, known: u16) -> &Known {
        &self.knowns.all[usize::from(known)]
    }

    /// The record as the domain has it.
    fn whole(&self, attempt: u8, rec: Rec) -> Record {
        let mut order = order();
        order.attempt.number = attempt.into();
        order.attempt.tries = rec.tries.into();
        order.subject.uid = uid(rec.uid);
        order.subject.generation = rec.generation.into();
        let mut record = recorded(order, Outcome::Sending);
        record.name = chain_key().record(attempt.into());
        record.claim = claim(rec.holder, rec.made);
        record.created_at = Some(wall(rec.stamped).wall);
        record.known = self.known(rec.known).clone();
        record.answer = match rec.told {
            Told::Nothing => None,
            Told::NotExecuted => Some(Answer::NotExecuted),
            Told::Abandon => Some(Answer::Abandon),
        };
        record
    }

    /// What a look of `driver` decides, and the last attempt that it saw.
    pub fn look(&mut self, world: &World, driver: usize, mutant: Mutant) -> (Choice, u8) {
        let process = world.drivers[driver];
        let object = world.object;
        if !object.exists {
            return (Choice::Show(false), 0);
        }
        let seen = Some(u32::from(process.seen)).filter(|n| *n > 0);
        let named = Some(u32::from(object.named)).filter(|n| *n > 0 && mutant != Mutant::TailBelowAGap);
        let mut walk = Walk::from(seen, named);
        let end = loop {
            let exists = u8::try_from(walk.attempt()).is_ok_and(|n| world.record(n).is_some());
            if let Some(end) = walk.read(exists) {
                break end;
            }
        };
        let last = end.last.and_then(|n| u8::try_from(n).ok()).unwrap_or(0);
        let tail = world.record(last).map(|rec| (last, rec));
        let is_claimed = process.claimed & (1 << (last + 1)) != 0;
        let missing = end.missing.and_then(|n| u8::try_from(n).ok());
        let missing = missing.or(is_claimed.then_some(last + 1));
        let gap = (1..last).find(|n| world.record(*n).is_none() && mutant != Mutant::TailBelowAGap);
        let now = world.clock(driver);
        let key = (
            tail,
            missing,
            gap,
            Object {
                named: 0,
                tells: false,
                ..object
            },
            world.listed(),
            now,
        );
        if let Some(choice) = self.looks.get(&key) {
            return (*choice, last);
        }
        let choice = self.decided(key);
        self.looks.insert(key, choice);
        (choice, last)
    }

    fn decided(&mut self, (tail, missing, gap, object, listed, now): LookKey) -> Choice {
        let moment = wall(now);
        let mut wish = intent();
        wish.subject.uid = uid(object.uid);
        wish.subject.generation = object.generation.into();
        wish.suspended = object.is_suspended;
        let mut preflight = preflight_at(moment.wall);
        preflight.vms = vms(listed);
        let mut view = view(Account::Preflight(Box::new(preflight)));
        let whole = tail.map(|(attempt, rec)| self.whole(attempt, rec));
        if let Some(record) = whole
            .as_ref()
            .filter(|record| record.known.state.came_to_nothing())
        {
            view.chain.came_to_nothing = vec![record.claimed_by()];
        }
        view.chain.tail = whole;
        view.chain.missing = missing.map(|n| chain_key().record(n.into()));
        view.chain.gap = gap.map(|n| chain_key().record(n.into()));
        match decide(&wish, &view, &times(), moment.wall) {
            Decision::Buy(order) => Choice::Buy(self.order(*order, object)),
            Decision::Adopt(order, _) => Choice::Adopt(self.order(*order, object)),
            Decision::ReadPreflight | Decision::ReadVm(_) => Choice::Show(true),
            Decision::Leave => Choice::Show(false),
            Decision::Report(report) => {
                Choice::Show(report.reason != crate::domain::status::reason::Reason::LedgerMissing)
            }
        }
    }

    fn order(&mut self, order: Order, object: Object) -> u8 {
        let known = self.orders.iter().position(|(other, _)| *other == order);
        let number = known.unwrap_or_else(|| {
            let placed = Placed {
                attempt: u8::try_from(order.attempt.number).expect("few attempts"),
                tries: u8::try_from(order.attempt.tries).expect("few tries"),
                uid: object.uid,
                generation: object.generation,
            };
            self.orders.push((order, placed));
            self.orders.len() - 1
        });
        u8::try_from(number).expect("few orders")
    }

    pub fn placed(&self, order: u8) -> Placed {
        self.orders[usize::from(order)].1
    }

    /// A purchase of this order, as this holder.
    pub fn begin(&mut self, order: u8, holder: u8, now: u32, listed: usize, adopts: bool) -> Then {
        let order = self.orders[usize::from(order)].0.clone();
        let found = adopts.then(|| match vms(listed).as_slice() {
            [one] => Sighting::One(one.clone()),
            several => Sighting::Several(several.iter().map(|vm| vm.id.clone()).collect()),
        });
        let plan = Plan {
            approval: intent().approval,
            order,
            claim: claim(holder, now),
            read: wall(now),
            found,
        };
        let purchase = Purchase::new(plan, times(), wall(now));
        let number = self.purchases.number(purchase);
        self.next(u32::try_from(number).expect("few purchases"), Came::Begun, now)
    }

    /// What the purchase does next.
    pub fn next(&mut self, purchase: u32, came: Came, now: u32) -> Then {
        if let Some(then) = self.nexts.get(&(purchase, came, now)) {
            return *then;
        }
        let mut machine = self.purchases.all[purchase as usize].clone();
        let event = self.event(came);
        let effect = machine.next(event, wall(now));
        let does = match effect {
            Effect::Reserve { .. } => Ok(Does::Reserve),
            Effect::Create => Ok(Does::Create),
            Effect::Read => Ok(Does::Read),
            Effect::Look => Ok(Does::Look),
            Effect::HandOver => Ok(Does::HandOver),
            Effect::Post(_) => Ok(Does::Post),
            Effect::Write(known) => {
                let known = self.knowns.number(known);
                Ok(Does::Write(u16::try_from(known).expect("few knowns")))
            }
            Effect::Wait(_) => Ok(Does::Wait),
            Effect::End(end) => Err(Then::Ended {
                is_unconfirmed: matches!(end, End::Unconfirmed | End::Unreadable),
                is_confused: end == End::Confused,
            }),
        };
        let then = does.map_or_else(
            |ended| ended,
            |does| {
                let number = self.purchases.number(machine);
                Then::Does(u32::try_from(number).expect("few purchases"), does)
            },
        );
        self.nexts.insert((purchase, came, now), then);
        then
    }

    fn event(&self, came: Came) -> Event {
        let record = |attempt, rec| Box::new(self.whole(attempt, rec));
        match came {
            Came::Begun => Event::Begun,
            Came::Reserved => Event::Reserved(true),
            Came::Made(attempt, rec) => Event::Created(Created::Made(Some(record(attempt, rec)))),
            Came::Refused => Event::Created(Created::Refused),
            Came::Conflict => Event::Created(Created::Conflict),
            Came::Unclear => Event::Created(Created::Unclear),
            Came::Found(attempt, rec) => Event::Read(Reading::Found(record(attempt, rec))),
            Came::Nothing => Event::Read(Reading::None),
            Came::Unreadable => Event::Read(Reading::Unreadable),
            Came::Looked {
                is_wanted,
                is_told_alike,
                is_ours,
            } => {
                let object = Standing {
                    is_same: true,
                    is_unchanged: is_wanted,
                    is_being_deleted: false,
                    is_suspended: false,
                    is_told_alike,
                };
                let reread = Reread {
                    is_sending: is_ours,
                    is_as_drafted: true,
                };
                Event::Looked(Reading::Found(object), Reading::Found(reread))
            }
            Came::LookBusy => Event::Looked(Reading::Busy, Reading::Unreadable),
            Came::HandedOver => Event::HandedOver,
            Came::Answered(says) => Event::Answered(match says {
                Says::Accepted => accepted(),
                Says::Rejected => PaidAnswer::Answered {
                    status: 403,
                    retry_after: None,
                    body: br#"{"status":403,"code":"forbidden","detail":"no"}"#.to_vec(),
                },
                Says::NotSent => PaidAnswer::NotSent(Text::new("refused")),
                Says::Lost => PaidAnswer::Lost(Text::new("reset")),
                Says::Broken => PaidAnswer::Answered {
                    status: 503,
                    retry_after: None,
                    body: Vec::new(),
                },
            }),
            Came::Stood => Event::Written(Written::Stood),
            Came::Gone => Event::Written(Written::Gone),
            Came::WriteUnclear => Event::Written(Written::Unclear),
            Came::WriteRefused => Event::Written(Written::Refused),
            Came::Waited => Event::Waited,
        }
    }

    /// What following the record makes of it, and how often nothing was found; `None` where nothing changes.
    #[allow(clippy::too_many_arguments)]
    pub fn follow(
        &mut self,
        attempt: u8,
        rec: Rec,
        is_in_flight: bool,
        absent: u8,
        is_known_unsent: bool,
        listed: usize,
        sees: Sees,
        now: u32,
    ) -> Option<(u16, u8)> {
        let key = (
            attempt,
            rec,
            is_in_flight,
            absent,
            is_known_unsent,
            listed,
            sees,
            now,
        );
        if let Some(known) = self.steps.get(&key) {
            return *known;
        }
        let followed = self.followed(key);
        self.steps.insert(key, followed);
        followed
    }

    fn followed(&mut self, key: StepKey) -> Option<(u16, u8)> {
        let (attempt, rec, in_flight, absent, is_known_unsent, listed, sees, now) = key;
        let record = self.whole(attempt, rec);
        let mut memo = Memo {
            in_flight,
            absent_reads: absent.into(),
            ..Memo::default()
        };
        let wall = wall(now).wall;
        let unread = || Input::Unreadable(Text::new("no connection could be made"));
        let input = match need(&record, &memo, &times(), wall) {
            Need::Nothing | Need::Wait(_) | Need::Vm(_) | Need::Options => return None,
            Need::Say(Input::Overdue) if is_known_unsent => Input::Withdrawn(Text::new("withdrawn")),
            Need::Say(input) => input,
            Need::Job(_) | Need::Inventory if sees == Sees::Nothing => unread(),
            Need::Job(_) if sees == Sees::NoJob && record.known.state == Outcome::Unknown => {
                Input::JobUnreadable(vms(listed))
            }
            Need::Job(_) if sees == Sees::NoJob => unread(),
            Need::Job(_) if listed == 0 => Input::Job(JobState::Running { progress: None }, Vec::new()),
            Need::Job(_) => {
                let job = JobState::Completed {
                    hints: Vec::new(),
                    took: None,
                };
                Input::Job(job, vms(listed))
            }
            Need::Inventory => Input::Inventory(InventoryReading {
                vms: vms(listed),
                reads_source: true,
            }),
        };
        let known = step(&record, input, &mut memo, &times(), wall);
        let absent = u8::try_from(memo.absent_reads.min(3)).unwrap_or(3);
        let is_same = known == record.known;
        let number = u16::try_from(self.knowns.number(known)).expect("few knowns");
        (!is_same || absent != key.3).then_some((number, absent))
    }
}

fn uid(n: u8) -> crate::domain::values::ids::Uid {
    crate::domain::values::ids::Uid::new(format!("uid-{n}"))
}
