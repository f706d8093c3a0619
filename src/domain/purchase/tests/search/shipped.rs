//! What decides in the world is what ships: `decide`, [`Purchase`], `need`, `step`, the walk to the tail.
//!
//! Everything large is interned, so that a state of the world is a few dozen bytes.

use std::collections::HashMap;
use std::fmt::Debug;

use super::faults::Mutant;
use super::world::{Does, Goods, Object, Rec, Remembers, Told, World};
use super::*;
use crate::action::follow::{DatedAhead, InventoryReading, Memo, Need, need, step};
use crate::consent::approval::Approval;
use crate::ledger::Walk;
use crate::ledger::chain::ShownRecord;
use crate::ledger::names::ChainKey;
use crate::ledger::record::{EndOfVm, Resolution, State as RecordState};
use crate::provider::inventory::{Vm, VpsChoice};
use crate::provider::job::JobState;
use crate::restore::tests::{intent, preflight_at, recorded, target_reading, view};
use crate::restore::{
    Decision, Destination, Intent, ProviderReading, StatusFacts, TargetReading, View, decide,
};
use crate::values::ids::Subject;

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
    LookedAtObject { is_wanted: bool, is_told_alike: bool },
    LookedAtRecord { is_ours: bool },
    ObjectBusy,
    RecordBusy,
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
    Buy(u16),
    Adopt(u16),
    /// Nothing to do; whether the record may be named in the status.
    Show(bool),
}

/// How HostUp is read for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sees {
    Well,
    /// Its job cannot be read.
    NoJob,
    /// A list of VMs that is not complete.
    BrokenList,
    Nothing,
}

type LookKey = (Option<(u8, Rec)>, Option<u8>, Option<u8>, Object, usize, u32);

/// A look at a record that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Following {
    pub attempt: u8,
    pub rec: Rec,
    pub is_in_flight: bool,
    pub remembers: Remembers,
    /// This process knows that nothing was sent for it.
    pub is_known_unsent: bool,
    /// VMs that HostUp lists; of a disk, whether its own job is completed.
    pub listed: usize,
    /// HostUp does not know its job any more.
    pub is_forgotten: bool,
    pub sees: Sees,
    pub now: u32,
}

/// Calls what ships, and remembers what it said: all of it is pure.
pub struct Shipped {
    mutant: Mutant,
    goods: Goods,
    /// What an order of it is like.
    sample: Order,
    purchases: Table<Purchase>,
    knowns: Table<Outcome>,
    orders: Vec<(Order, Placed)>,
    looks: HashMap<LookKey, Choice>,
    nexts: HashMap<(u32, Came, u32), Then>,
    steps: HashMap<Following, Option<(u16, Remembers)>>,
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
            ended: None,
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
    pub fn new(goods: Goods, mutant: Mutant) -> Self {
        let mut knowns = Table::new();
        knowns.number(Outcome::sending());
        Self {
            mutant,
            goods,
            sample: match goods {
                Goods::NewVm => order(),
                Goods::Disk => order_of_a_disk(),
            },
            purchases: Table::new(),
            knowns,
            orders: Vec::new(),
            looks: HashMap::new(),
            nexts: HashMap::new(),
            steps: HashMap::new(),
        }
    }

    pub fn known(&self, known: u16) -> &Outcome {
        &self.knowns.all[usize::from(known)]
    }

    /// The same, once the VM has ended; `None` where there is none.
    pub fn ended(&mut self, known: u16) -> Option<u16> {
        let known = self.known(known);
        if known.state != RecordState::Succeeded || known.result.is_none() || known.ended.is_some() {
            return None;
        }
        let ended = EndOfVm {
            seen: now(),
            word: None,
        };
        let ended = Outcome {
            ended: Some(ended),
            ..known.clone()
        };
        u16::try_from(self.knowns.number(ended)).ok()
    }

    /// The record as the domain has it.
    fn whole(&self, attempt: u8, rec: Rec) -> Record {
        let mut order = self.sample.clone();
        order.attempt.number = attempt.into();
        order.attempt.tries = rec.tries.into();
        order.subject.uid = uid(rec.uid);
        order.subject.generation = rec.generation.into();
        let mut record = recorded(order, RecordState::Sending);
        record.name = chain_key().record(attempt.into());
        record.claim = claim(rec.holder, rec.made);
        let is_stamped = self.mutant != Mutant::OnlyTheClaimersClock;
        record.created_at = is_stamped.then_some(wall(rec.stamped).wall);
        record.known = self.known(rec.known).clone();
        if self.mutant == Mutant::RefusedAnswerCountsLater {
            record.known.answer_refused = None;
        }
        record.answer = match rec.told {
            Told::Nothing => None,
            Told::NotExecuted => Some(Resolution::NotExecuted),
            Told::Abandon => Some(Resolution::Abandon),
            Told::Adopt if self.goods == Goods::Disk => Some(Resolution::Adopt(VpsId::new(""))),
            Told::Adopt => vms(1).first().map(|vm| Resolution::Adopt(vm.id.clone())),
        };
        record
    }

    /// What a look of `driver` decides, and the last attempt that it saw.
    pub fn look(&mut self, world: &World, driver: usize) -> (Choice, u8) {
        let mutant = self.mutant;
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
        let missing = missing.or_else(|| self.is_replaced(object, tail?).then_some(last));
        let gap = (1..last).find(|n| world.record(*n).is_none() && mutant != Mutant::TailBelowAGap);
        let now = world.clock(driver);
        let key = (
            tail,
            missing,
            gap,
            Object {
                named: 0,
                shown: RecordState::Sending,
                ..object
            },
            match self.goods {
                Goods::NewVm => world.listed(),
                Goods::Disk => 0,
            },
            now,
        );
        if let Some(choice) = self.looks.get(&key) {
            return (*choice, last);
        }
        let choice = self.decided(key);
        self.looks.insert(key, choice);
        (choice, last)
    }

    /// Another record has the name of the one that the status shows.
    fn is_replaced(&self, object: Object, (last, rec): (u8, Rec)) -> bool {
        let shown = ShownRecord {
            name: chain_key().record(object.named.into()),
            state: Some(object.shown),
        };
        let record = self.whole(last, rec);
        let subject = Subject {
            uid: uid(object.uid),
            ..record.subject.clone()
        };
        shown.is_replaced_by(&record, &subject) && self.mutant != Mutant::TheNameIsEnough
    }

    fn decided(&mut self, (tail, missing, gap, object, listed, now): LookKey) -> Choice {
        let moment = wall(now);
        let mut wish = intent();
        wish.subject.uid = uid(object.uid);
        wish.subject.generation = object.generation.into();
        wish.suspended = object.is_suspended;
        let mut view = match self.goods {
            Goods::NewVm => {
                let mut preflight = preflight_at(moment.wall);
                preflight.vms = vms(listed);
                view(ProviderReading::Preflight(Box::new(preflight)))
            }
            Goods::Disk => {
                wish.target = onto_a_disk();
                view_of_a_disk(moment)
            }
        };
        if self.goods == Goods::Disk {
            wish.approval = Some(approved(&wish, &view, moment));
        }
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
        if self.goods == Goods::Disk && self.mutant == Mutant::RefusalKeepsTheApproval {
            wish.approval = Some(approved(&wish, &view, moment));
        }
        match decide(&wish, &view, &times(), moment.wall) {
            Decision::Buy(order) => Choice::Buy(self.order(*order, object)),
            Decision::Adopt(order, _) => Choice::Adopt(self.order(*order, object)),
            Decision::ReadName(_)
            | Decision::ReadTargetName(..)
            | Decision::ReadTarget(..)
            | Decision::ReadPreflight(_)
            | Decision::ReadVm(_) => Choice::Show(true),
            Decision::Leave => Choice::Show(false),
            Decision::Report(report) => {
                Choice::Show(report.reason != crate::status::reason::Reason::LedgerMissing)
            }
        }
    }

    fn order(&mut self, order: Order, object: Object) -> u16 {
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
        u16::try_from(number).expect("few orders")
    }

    pub fn placed(&self, order: u16) -> Placed {
        self.orders[usize::from(order)].1
    }

    /// A purchase of this order, as this holder.
    pub fn begin(&mut self, order: u16, holder: u8, now: u32, listed: usize, adopts: bool) -> Then {
        let order = self.orders[usize::from(order)].0.clone();
        let found = adopts.then(|| match vms(listed).as_slice() {
            [one] => Sighting::One(one.clone()),
            several => Sighting::Several(several.iter().map(|vm| vm.id.clone()).collect()),
        });
        let plan = Plan {
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
            Effect::LookAtObject => Ok(Does::LookAtObject),
            Effect::LookAtRecord => Ok(Does::LookAtRecord),
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
            Came::LookedAtObject {
                is_wanted,
                is_told_alike,
            } => Event::LookedAtObject(Reading::Found(Standing {
                is_held: false,
                is_same: true,
                is_unchanged: is_wanted,
                is_being_deleted: false,
                is_suspended: false,
                is_told_alike,
                is_alone: true,
            })),
            Came::LookedAtRecord { is_ours } => Event::LookedAtRecord(Reading::Found(Reread {
                is_sending: is_ours,
                is_as_drafted: true,
            })),
            Came::ObjectBusy => Event::LookedAtObject(Reading::Busy),
            Came::RecordBusy => Event::LookedAtRecord(Reading::Busy),
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

    /// What following the record makes of it, and what the process remembers then; `None` where nothing changes.
    pub fn follow(&mut self, following: Following) -> Option<(u16, Remembers)> {
        if let Some(known) = self.steps.get(&following) {
            return *known;
        }
        let followed = self.followed(following);
        self.steps.insert(following, followed);
        followed
    }

    fn followed(&mut self, following: Following) -> Option<(u16, Remembers)> {
        let record = self.whole(following.attempt, following.rec);
        let mut memo = Memo {
            in_flight: following.is_in_flight,
            absent_reads: following.remembers.absent.into(),
            ended_since: remembered(following.remembers.gone),
            unread_since: remembered(following.remembers.unread),
            dated_ahead: remembered(following.remembers.dated).map(|seen| DatedAhead {
                at: record.quiet_at(&times()),
                seen,
            }),
            ..Memo::default()
        };
        let wall = wall(following.now).wall;
        memo.begins_a_look(&record, &times(), wall);
        let input = match need(&record, &memo, &times(), wall) {
            Need::Nothing | Need::Options | Need::Backups => return None,
            Need::Wait(_) => None,
            Need::Say(Input::Overdue) if following.is_known_unsent => {
                Some(Input::Withdrawn(Text::new("withdrawn")))
            }
            Need::Say(input) => Some(input),
            Need::Job(_) if self.goods == Goods::Disk => Some(of_job_of_a_disk(following)),
            Need::Job(_) => Some(self.of_job(following, record.known.state)),
            Need::Inventory => Some(self.of_inventory(following)),
            Need::Vm(_) if following.sees == Sees::Nothing => Some(unread()),
            Need::Vm(named) => {
                let vm = vms(following.listed).into_iter().find(|vm| vm.id == named);
                Some(Input::Named(vm.ok_or(Text::new("the key does not read it"))))
            }
        };
        let known = input.map_or_else(
            || record.known.clone(),
            |input| step(&record, input, &mut memo, &times(), wall),
        );
        let is_same = known == record.known;
        let seen = memo.dated_ahead.filter(|_| is_same).map(|dated| dated.seen);
        let remembers = Remembers {
            absent: u8::try_from(memo.absent_reads.min(3)).unwrap_or(3),
            gone: to_remember(memo.ended_since, following.remembers.gone, following.now),
            unread: to_remember(memo.unread_since, following.remembers.unread, following.now),
            dated: to_remember(seen, following.remembers.dated, following.now),
        };
        let number = u16::try_from(self.knowns.number(known)).expect("few knowns");
        (!is_same || remembers != following.remembers).then_some((number, remembers))
    }

    /// What `controllers/operation/observe.rs` makes of a read of the job, and of the list where that is read too.
    fn of_job(&self, following: Following, state: RecordState) -> Input {
        let Following { listed, sees, .. } = following;
        let running = JobState::Running { progress: None };
        let is_unknown = state == RecordState::Unknown;
        match sees {
            Sees::NoJob if self.mutant == Mutant::UnknownFromA503 && !is_unknown => {
                Input::Job(JobState::Lost, Vec::new())
            }
            Sees::NoJob if self.mutant == Mutant::KnownFromA503 && is_unknown => {
                Input::Job(running, vms(listed))
            }
            Sees::NoJob if is_unknown => Input::JobUnreadable(vms(listed)),
            Sees::Well | Sees::BrokenList if following.is_forgotten && is_unknown => {
                self.of_inventory(following)
            }
            Sees::Well | Sees::BrokenList if following.is_forgotten => Input::Job(JobState::Lost, Vec::new()),
            Sees::Well | Sees::BrokenList if listed == 0 && !is_unknown => Input::Job(running, Vec::new()),
            Sees::Nothing | Sees::NoJob | Sees::BrokenList => unread(),
            Sees::Well if listed == 0 => Input::Job(running, Vec::new()),
            Sees::Well => {
                let job = JobState::Completed {
                    hints: Vec::new(),
                    took: None,
                };
                Input::Job(job, vms(listed))
            }
        }
    }

    fn of_inventory(&self, following: Following) -> Input {
        let vms = match following.sees {
            Sees::Well | Sees::NoJob => vms(following.listed),
            Sees::BrokenList if self.mutant == Mutant::AbsenceFromABrokenList => Vec::new(),
            Sees::BrokenList | Sees::Nothing => return unread(),
        };
        Input::Inventory(InventoryReading {
            vms,
            reads_source: true,
        })
    }
}

/// A moment that a process remembers, of which 0 is none.
fn remembered(seconds: u32) -> Option<jiff::Timestamp> {
    (seconds > 0).then(|| wall(seconds).wall)
}

fn to_remember(since: Option<jiff::Timestamp>, before: u32, now: u32) -> u32 {
    match (since, before) {
        (None, _) => 0,
        (Some(_), 0) => now,
        (Some(_), since) => since,
    }
}

fn of_job_of_a_disk(following: Following) -> Input {
    match following.sees {
        Sees::NoJob | Sees::BrokenList | Sees::Nothing => unread(),
        Sees::Well if following.is_forgotten => Input::Job(JobState::Lost, Vec::new()),
        Sees::Well if following.listed == 0 => Input::Job(JobState::Running { progress: None }, Vec::new()),
        Sees::Well => {
            let job = JobState::Completed {
                hints: Vec::new(),
                took: None,
            };
            Input::Job(job, Vec::new())
        }
    }
}

fn onto_a_disk() -> Destination {
    Destination::ExistingVps(VpsChoice::Id(target_reading().target))
}

fn view_of_a_disk(moment: Moment) -> View {
    let reading = TargetReading {
        read_at: moment.wall,
        ..target_reading()
    };
    view(ProviderReading::Target(Box::new(reading)))
}

/// A person's approval of the quote that this view shows.
fn approved(wish: &Intent, view: &View, moment: Moment) -> Approval {
    let preview = Intent {
        approval: None,
        ..wish.clone()
    };
    match decide(&preview, view, &times(), moment.wall) {
        Decision::Report(report) => match report.facts {
            StatusFacts::Read {
                quote: Some(quote), ..
            } => Approval::from(quote.id),
            _ => Approval::default(),
        },
        _ => Approval::default(),
    }
}

fn order_of_a_disk() -> Order {
    let view = view_of_a_disk(at(0));
    let mut wish = Intent {
        target: onto_a_disk(),
        ..intent()
    };
    wish.approval = Some(approved(&wish, &view, at(0)));
    match decide(&wish, &view, &times(), at(0).wall) {
        Decision::Buy(order) => *order,
        other => panic!("no order: {other:?}"),
    }
}

fn unread() -> Input {
    Input::Unreadable(Text::new("no connection could be made"))
}

fn uid(n: u8) -> crate::values::ids::Uid {
    crate::values::ids::Uid::new(format!("uid-{n}"))
}
