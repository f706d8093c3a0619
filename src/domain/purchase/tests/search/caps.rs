//! Two objects in one process, and a cap of one paid call or a budget for one VM: every order of what their purchases do.

use std::collections::HashSet;

use super::*;
use crate::consent::price::Price;
use crate::ledger::budget::{Allowance, Budget, Expense, Limit};
use crate::ledger::chain::Brakes;
use crate::ledger::names::ChainKey;
use crate::ledger::record::State as RecordState;
use crate::ledger::{Amounts, Caps, Content, Entry, Index, KeyPlace, PaidCalls, Pledge};
use crate::restore::tests::{intent, preflight_at, recorded, view};
use crate::restore::{Decision, Intent, ProviderReading, decide};
use crate::values::ids::Holder;
use crate::values::money::{Amount, Currency};

const OBJECTS: usize = 2;
const MOST_FAULTS: u8 = 2;

/// When a purchase is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    AsItShips,
    /// Once its record is there.
    AfterTheClaim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// The object is looked at, and bought for if its cap allows it.
    Decides(usize),
    Does(usize, How),
    /// The watch shows the record of the object.
    Shows(usize),
    /// The process begins anew, and lists the records.
    Restarts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Well,
    LostAfter,
    LostBefore,
    Refused,
}

/// What has become of the process's index of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Reserves(usize),
    Counts(usize),
    Releases(usize),
    Shows(usize, RecordState),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    Reserve,
    Create,
    Read,
    LookAtObject,
    LookAtRecord,
    Post,
    Write(Box<Outcome>),
}

#[derive(Debug, Clone, Default)]
struct World {
    buying: [Option<(Purchase, Next)>; OBJECTS],
    records: [Option<Record>; OBJECTS],
    shown: [Option<RecordState>; OBJECTS],
    changes: Vec<Change>,
    executed: [bool; OBJECTS],
    faults: u8,
}

/// Two objects, of the namespaces that are theirs.
struct Search {
    namespaces: [&'static str; OBJECTS],
    caps: Caps,
    budget: Option<Budget>,
    counted: Counted,
}

impl Search {
    /// In words.
    fn limit(&self) -> String {
        match &self.budget {
            Some(budget) => format!("the budget {}", budget.name),
            None => format!("{:?}", self.caps),
        }
    }

    fn wish(&self, n: usize) -> Intent {
        let mut wish = intent();
        wish.subject.namespace = self.namespaces[n].into();
        wish.subject.name = format!("restore-{n}");
        wish
    }

    fn holder() -> Holder {
        plan().claim.holder
    }

    fn name(&self, n: usize) -> RecordName {
        let subject = self.wish(n).subject;
        ChainKey::of_restore(&subject.namespace, &subject.name).record(1)
    }

    fn index(&self, changes: &[Change]) -> Index {
        let mut index = Index::new(InstanceId::new("cluster-1"), now());
        for change in changes {
            match *change {
                Change::Reserves(n) => {
                    self.reserves(&mut index, n);
                }
                Change::Counts(n) => {
                    index.reserve(
                        (&self.name(n), &Self::holder()),
                        self.namespaces[n],
                        (Some(self.pledge(n)), None),
                        now(),
                        |_, _| true,
                    );
                }
                Change::Releases(n) => index.release(&self.name(n), &Self::holder()),
                Change::Shows(n, state) => drop(index.show(self.entry(n, state))),
            }
        }
        index
    }

    fn reserves(&self, index: &mut Index, n: usize) -> bool {
        let leave_room = |index: &Index, paid: PaidCalls| self.leaves_room(index, paid, n);
        index.reserve(
            (&self.name(n), &Self::holder()),
            self.namespaces[n],
            (Some(self.pledge(n)), None),
            now(),
            leave_room,
        )
    }

    fn leaves_room(&self, index: &Index, paid: PaidCalls, n: usize) -> bool {
        let price = self.price(n);
        paid.reaches(self.caps).is_none() && self.allowance(index).exceeded_by(&price).is_none()
    }

    fn allowance(&self, index: &Index) -> Allowance {
        let budget = self.budget.iter();
        Allowance {
            positions: budget
                .flat_map(|budget| index.positions(budget, |_| true, now()))
                .collect(),
            ..Allowance::default()
        }
    }

    fn price(&self, n: usize) -> Price {
        self.order(n).quote.unwrap().price
    }

    fn pledge(&self, n: usize) -> Pledge {
        Pledge::of(&self.price(n))
    }

    fn entry(&self, n: usize, state: RecordState) -> Entry {
        Entry {
            name: self.name(n),
            made: Some(now()),
            content: Some(Content {
                instance: InstanceId::new("cluster-1"),
                kind: "VpsBackupRestore".into(),
                namespace: self.namespaces[n].into(),
                object: format!("restore-{n}"),
                key: KeyPlace {
                    namespace: self.namespaces[n].into(),
                    secret: "hostup-api".into(),
                    key: "token".into(),
                },
                state,
                evidence: None,
                not_before: None,
                token: None,
                result: None,
                resized: None,
                drives: None,
                is_backup: false,
                has_ended: false,
                claimed: Some(now()),
                currency: "SEK".into(),
                price: Amounts::from(&self.price(n)),
            }),
        }
    }

    fn after(&self, world: &World, act: Act) -> Option<World> {
        let mut next = world.clone();
        match act {
            Act::Decides(n) => {
                if world.buying[n].is_some() || world.records[n].is_some() {
                    return None;
                }
                let mut index = self.index(&world.changes);
                let paid = index.paid_calls(self.namespaces[n], now());
                let mut view = view(ProviderReading::Preflight(Box::new(preflight_at(now()))));
                view.chain.brakes = Brakes {
                    cap_reached: paid.reaches(self.caps),
                    budgets: self.allowance(&index),
                    ..view.chain.brakes
                };
                let wish = self.wish(n);
                let Decision::Buy(order) = decide(&wish, &view, &times(), now()) else {
                    return None;
                };
                let plan = Plan {
                    order: *order,
                    ..plan()
                };
                tell_purchase(&mut next, n, Purchase::new(plan, times(), at(0)), Event::Begun);
            }
            Act::Does(n, how) => {
                let (purchase, does) = next.buying[n].take()?;
                if how != How::Well {
                    next.faults = next.faults.checked_sub(1)?;
                }
                let event = self.does(&mut next, n, does, how)?;
                tell_purchase(&mut next, n, purchase, event);
            }
            Act::Shows(n) => {
                let state = world.records[n].as_ref().map(|record| record.known.state)?;
                if world.shown[n] == Some(state) {
                    return None;
                }
                next.shown[n] = Some(state);
                next.changes.push(Change::Shows(n, state));
            }
            Act::Restarts => {
                next.faults = next.faults.checked_sub(1)?;
                next.buying = [None, None];
                next.changes.clear();
                for n in 0..OBJECTS {
                    next.shown[n] = world.records[n].as_ref().map(|record| record.known.state);
                    next.changes
                        .extend(next.shown[n].map(|state| Change::Shows(n, state)));
                }
            }
        }
        Some(next)
    }

    fn does(&self, next: &mut World, n: usize, does: Next, how: How) -> Option<Event> {
        let found = |record: &Option<Record>| {
            let record = record.clone().map(Box::new);
            record.map_or(Reading::None, Reading::Found)
        };
        Some(match (does, how) {
            (Next::Reserve, How::Well) => {
                let mut index = self.index(&next.changes);
                let has_room = match self.counted {
                    Counted::AsItShips => self.reserves(&mut index, n),
                    Counted::AfterTheClaim => {
                        let paid = index.paid_calls(self.namespaces[n], now());
                        self.leaves_room(&index, paid, n)
                    }
                };
                if self.counted == Counted::AsItShips {
                    next.changes.push(Change::Reserves(n));
                }
                Event::Reserved(has_room)
            }
            (Next::Create, How::Well | How::LostAfter) => {
                let mut record = recorded(self.order(n), RecordState::Sending);
                record.name = self.name(n);
                record.claim = plan().claim;
                record.known = Outcome::sending();
                next.records[n] = Some(record.clone());
                if self.counted == Counted::AfterTheClaim {
                    next.changes.push(Change::Counts(n));
                }
                Event::Created(if how == How::Well {
                    Created::Made(Some(Box::new(record)))
                } else {
                    Created::Unclear
                })
            }
            (Next::Create, How::LostBefore) => Event::Created(Created::Unclear),
            (Next::Create, How::Refused) => Event::Created(Created::Refused),
            (Next::Read, How::Well) => Event::Read(found(&next.records[n])),
            (Next::LookAtObject, How::Well) => Event::LookedAtObject(wanted()),
            (Next::LookAtObject, How::Refused) => Event::LookedAtObject(Reading::None),
            (Next::LookAtRecord, How::Well) => Event::LookedAtRecord(ours()),
            (Next::Post, How::Well | How::LostAfter) => {
                next.executed[n] = true;
                Event::Answered(if how == How::Well {
                    accepted()
                } else {
                    PaidAnswer::Lost(Text::new("reset"))
                })
            }
            (Next::Post, How::LostBefore) => Event::Answered(PaidAnswer::NotSent(Text::new("refused"))),
            (Next::Write(known), How::Well) => {
                if known.state == RecordState::NotSent {
                    next.changes.push(Change::Releases(n));
                }
                next.records[n].as_mut()?.known = *known;
                Event::Written(Written::Stood)
            }
            _ => return None,
        })
    }

    fn order(&self, n: usize) -> Order {
        let mut order = crate::restore::tests::order();
        order.subject = self.wish(n).subject;
        order
    }

    /// How many states there are, and the shortest way to two calls.
    fn run(&self) -> (usize, Option<Vec<Act>>) {
        let mut acts = vec![Act::Restarts];
        for n in 0..OBJECTS {
            acts.extend([Act::Decides(n), Act::Shows(n)]);
            let hows = [How::Well, How::LostAfter, How::LostBefore, How::Refused];
            acts.extend(hows.map(|how| Act::Does(n, how)));
        }
        let begin = World {
            faults: MOST_FAULTS,
            ..World::default()
        };
        let mut seen = HashSet::from([format!("{begin:?}")]);
        let mut layer = vec![(begin, Vec::new())];
        while !layer.is_empty() {
            let mut following = Vec::new();
            for (world, way) in layer {
                for act in &acts {
                    let Some(next) = self.after(&world, *act) else {
                        continue;
                    };
                    if !seen.insert(format!("{next:?}")) {
                        continue;
                    }
                    let way: Vec<Act> = way.iter().chain([act]).copied().collect();
                    if next.executed.iter().filter(|is| **is).count() > 1 {
                        return (seen.len(), Some(way));
                    }
                    following.push((next, way));
                }
            }
            layer = following;
        }
        (seen.len(), None)
    }
}

/// Tells the purchase, and goes on to what it does next that concerns anybody else.
fn tell_purchase(next: &mut World, n: usize, mut purchase: Purchase, event: Event) {
    let mut effect = purchase.next(event, at(0));
    let does = loop {
        effect = match effect {
            Effect::HandOver => purchase.next(Event::HandedOver, at(0)),
            Effect::Wait(_) => purchase.next(Event::Waited, at(0)),
            Effect::Reserve { .. } => break Next::Reserve,
            Effect::Create => break Next::Create,
            Effect::Read => break Next::Read,
            Effect::LookAtObject => break Next::LookAtObject,
            Effect::LookAtRecord => break Next::LookAtRecord,
            Effect::Post(_) => break Next::Post,
            Effect::Write(known) => break Next::Write(Box::new(known)),
            Effect::End(end) => {
                if matches!(end, End::NotMade | End::Refused | End::Unconfirmed) {
                    next.changes.push(Change::Releases(n));
                }
                return;
            }
        };
    };
    next.buying[n] = Some((purchase, does));
}

fn searches(counted: Counted) -> [Search; 3] {
    let search = |namespaces, all, of_namespace, budget| Search {
        namespaces,
        caps: Caps { all, of_namespace },
        budget,
        counted,
    };
    let amount = |text| Amount::parse(text).unwrap();
    let for_one_vm = Budget {
        name: "team".to_owned(),
        currency: Currency::parse("SEK").unwrap(),
        limits: vec![Limit {
            of: Expense::PerHour,
            most: amount("1.00"),
        }],
    };
    [
        search(["shop", "till"], Some(1), None, None),
        search(["shop", "shop"], None, Some(1), None),
        search(["shop", "till"], None, None, Some(for_one_vm)),
    ]
}

#[test]
fn two_objects_under_a_cap_or_a_budget_for_one_never_have_two_calls_executed() {
    for search in searches(Counted::AsItShips) {
        let (states, found) = search.run();
        println!("{}: {states} states", search.limit());
        assert_eq!(found, None, "{}", search.limit());
    }
}

#[test]
fn a_cap_that_is_counted_after_the_claim_is_found() {
    for search in searches(Counted::AfterTheClaim) {
        let (states, found) = search.run();
        let way = found.unwrap_or_else(|| panic!("it is not found: {}", search.limit()));
        let acts: Vec<String> = way.iter().map(|act| format!("\n  {act:?}")).collect();
        let acts = acts.concat();
        println!(
            "CapCountedAfterTheClaim: over {} after {states} states:{acts}",
            search.limit()
        );
    }
}
