//! Whose turn it is to be looked at: so many at a time, one of each namespace after the other; within a namespace in
//! the order in which they came, and of those that came together the oldest first. kube looks at what waits in no order
//! at all, so nothing waits there.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// What comes within so long has come together.
const TOGETHER: Duration = Duration::from_millis(50);

/// Namespace and name.
pub type Place = (String, String);

/// The turns of one controller.
pub struct Turns {
    at_a_time: usize,
    /// Has an object looked at again: its turn has come.
    call: Box<dyn Fn(&Place) + Send + Sync>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    looked_at: usize,
    called: HashSet<Place>,
    /// Of each tenant that has any.
    waiting: HashMap<Tenant, BTreeMap<Order, Place>>,
    /// Those tenants, who was served last at the end.
    tenants: VecDeque<Tenant>,
    orders: HashMap<Place, (Tenant, Order)>,
}

/// The namespace for whose objects the workers' time is spent.
type Tenant = String;

/// When it came, roughly; the age of the object; where it is.
type Order = (u128, Timestamp, Place);

/// The turn of one object; it ends when this is dropped.
pub struct Turn(Arc<Turns>);

impl Turns {
    /// So many objects are looked at together; `call` has one looked at again whose turn has come.
    pub fn new(at_a_time: u16, call: impl Fn(&Place) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            at_a_time: usize::from(at_a_time.max(1)),
            call: Box::new(call),
            queue: Mutex::default(),
        })
    }

    /// The turn of an object of `tenant` that was made at `made` and comes `now`, by the monotonic clock; `None` where it
    /// is called later.
    pub fn begin(
        self: &Arc<Self>,
        place: Place,
        tenant: &str,
        made: Timestamp,
        now: Duration,
    ) -> Option<Turn> {
        let mut queue = self.lock();
        let has_room = queue.tenants.is_empty() && queue.taken() < self.at_a_time;
        if queue.called.remove(&place) || (has_room && !queue.orders.contains_key(&place)) {
            queue.looked_at += 1;
            return Some(Turn(self.clone()));
        }
        if !queue.orders.contains_key(&place) {
            let order = (now.as_millis() / TOGETHER.as_millis(), made, place.clone());
            queue.wait(place, tenant.to_owned(), order);
        }
        None
    }

    /// An object is gone: nobody answers a call for it.
    pub fn gone(&self, place: &Place) {
        let mut queue = self.lock();
        queue.leave(place);
        queue.called.remove(place);
        self.call_next(queue);
    }

    fn call_next(&self, mut queue: MutexGuard<'_, Queue>) {
        let mut called = Vec::new();
        while queue.taken() < self.at_a_time {
            let Some(place) = queue.next() else {
                break;
            };
            queue.called.insert(place.clone());
            called.push(place);
        }
        drop(queue);
        for place in &called {
            (self.call)(place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn taken(&self) -> usize {
        self.looked_at + self.called.len()
    }

    fn wait(&mut self, place: Place, tenant: Tenant, order: Order) {
        self.orders.insert(place.clone(), (tenant.clone(), order.clone()));
        if !self.waiting.contains_key(&tenant) {
            self.tenants.push_back(tenant.clone());
        }
        self.waiting.entry(tenant).or_default().insert(order, place);
    }

    fn leave(&mut self, place: &Place) {
        let Some((tenant, order)) = self.orders.remove(place) else {
            return;
        };
        if let Some(of_tenant) = self.waiting.get_mut(&tenant) {
            of_tenant.remove(&order);
            if of_tenant.is_empty() {
                self.waiting.remove(&tenant);
                self.tenants.retain(|other| *other != tenant);
            }
        }
    }

    /// Takes the next one out.
    fn next(&mut self) -> Option<Place> {
        let tenant = self.tenants.front()?;
        let place = self.waiting.get(tenant)?.values().next()?.clone();
        self.tenants.rotate_left(1);
        self.leave(&place);
        Some(place)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.looked_at -= 1;
        self.0.call_next(queue);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Calls = Arc<Mutex<Vec<Place>>>;

    fn turns(at_a_time: u16) -> (Arc<Turns>, Calls) {
        let calls = Calls::default();
        let heard = calls.clone();
        let call = move |place: &Place| heard.lock().unwrap().push(place.clone());
        (Turns::new(at_a_time, call), calls)
    }

    fn place(name: &str) -> Place {
        ("shop".to_owned(), name.to_owned())
    }

    #[test]
    fn they_are_called_as_they_came_and_together_by_age() {
        let (turns, calls) = turns(1);
        let begin = |name: &str, made: i64, now: u64| {
            let made = Timestamp::from_second(made).unwrap();
            turns.begin(place(name), "shop", made, Duration::from_millis(now))
        };
        let mut turn = begin("first", 100, 0);
        assert!(turn.is_some());
        for (name, made, now) in [
            ("newest", 9, 1_000),
            ("later", 0, 1_200),
            ("older", 5, 1_001),
            ("oldest", 1, 1_002),
        ] {
            assert!(begin(name, made, now).is_none());
            assert!(begin(name, made, now + 500).is_none(), "it keeps its place");
        }
        for name in ["oldest", "older", "newest", "later"] {
            drop(turn);
            assert_eq!(calls.lock().unwrap().pop(), Some(place(name)));
            assert!(
                begin("another", 0, 5_000).is_none(),
                "nobody takes the turn of one that was called"
            );
            turns.gone(&place("another"));
            turn = begin(name, 0, 5_000);
            assert!(turn.is_some());
        }
    }

    #[test]
    fn a_namespace_with_many_objects_keeps_another_one_waiting_for_one_turn() {
        let (turns, calls) = turns(1);
        let begin = |namespace: &str, name: &str| {
            turns.begin(place(name), namespace, Timestamp::UNIX_EPOCH, Duration::ZERO)
        };
        let mut turn = begin("large", "first");
        for n in 0..100 {
            assert!(begin("large", &format!("l-{n:03}")).is_none());
        }
        assert!(begin("small", "s-0").is_none() && begin("small", "s-1").is_none());
        let mut called = Vec::new();
        for _ in 0..6 {
            drop(turn);
            let (_, name) = calls.lock().unwrap().pop().unwrap();
            turn = begin("", &name);
            called.push(name);
        }
        assert_eq!(called, ["l-000", "s-0", "l-001", "s-1", "l-002", "l-003"]);
        assert!(turn.is_some());
    }

    #[test]
    fn one_that_is_gone_keeps_no_other_waiting() {
        let (turns, calls) = turns(1);
        let begin = |name: &str| turns.begin(place(name), "shop", Timestamp::UNIX_EPOCH, Duration::ZERO);
        let turn = begin("a");
        assert!(begin("b").is_none() && begin("c").is_none() && begin("d").is_none());
        turns.gone(&place("c"));
        drop(turn);
        turns.gone(&place("b"));
        assert_eq!(*calls.lock().unwrap(), [place("b"), place("d")]);
    }

    proptest! {
        #[test]
        fn never_more_at_a_time_than_may_be_and_nobody_waits_for_nothing(
            at_a_time in 1_u16..4,
            steps in proptest::collection::vec((0_usize..6, 0_u8..3), 1..80)
        ) {
            let (turns, calls) = turns(at_a_time);
            let mut under_way: HashMap<usize, Turn> = HashMap::new();
            let mut waiting: HashSet<usize> = HashSet::new();
            for (step, (which, what)) in steps.into_iter().enumerate() {
                let name = format!("o-{which}");
                match what {
                    // kube never looks at one object twice at a time.
                    0 if !under_way.contains_key(&which) => {
                        let now = Duration::from_millis(step as u64 * 30);
                        let tenant = if which < 3 { "shop" } else { "web" };
                        match turns.begin(place(&name), tenant, Timestamp::UNIX_EPOCH, now) {
                            Some(turn) => {
                                waiting.remove(&which);
                                under_way.insert(which, turn);
                            }
                            None => {
                                waiting.insert(which);
                            }
                        }
                    }
                    1 => drop(under_way.remove(&which)),
                    2 if !under_way.contains_key(&which) => {
                        waiting.remove(&which);
                        turns.gone(&place(&name));
                    }
                    _ => {}
                }
                let queue = turns.lock();
                prop_assert!(under_way.len() <= at_a_time.into());
                prop_assert_eq!(queue.looked_at, under_way.len());
                let in_line: usize = queue.waiting.values().map(BTreeMap::len).sum();
                prop_assert_eq!(in_line, queue.orders.len());
                let tenants: HashSet<&Tenant> = queue.tenants.iter().collect();
                prop_assert_eq!(tenants.len(), queue.tenants.len());
                prop_assert_eq!(tenants, queue.waiting.keys().collect());
                let known = in_line + queue.called.len();
                prop_assert_eq!(known, waiting.len(), "nobody is lost");
                prop_assert!(queue.tenants.is_empty() || queue.taken() == usize::from(at_a_time));
                let called = calls.lock().unwrap();
                prop_assert!(queue.called.iter().all(|place| called.contains(place)));
            }
        }
    }
}
