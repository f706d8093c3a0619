//! What tests see and do behind the provider's back.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::announced::{self, Announced};
use crate::clock::Clock;
use crate::faults::{ArmedFault, Fault};
use crate::gates::{ArmedGate, Gate, GateState, Stage};
use crate::ledger::Purchase;
use crate::log::RequestRecord;
use crate::routes::Route;
use crate::timers::Timers;
use crate::world::World;

/// The world and the two bells that ring when it changes: one for threads, one for tasks.
pub(crate) struct Shared {
    world: Mutex<World>,
    bell: Condvar,
    /// Threads that listen for the bell; ringing it for nobody is a system call all the same.
    listeners: AtomicUsize,
    changed: Announced<()>,
}

impl Shared {
    pub(crate) fn new(world: World) -> Arc<Shared> {
        Arc::new(Shared {
            world: Mutex::new(world),
            bell: Condvar::new(),
            listeners: AtomicUsize::new(0),
            changed: Announced::new(()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A test that panics inside `world` must not take the others with it.
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.settle();
        world
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.lock());
        if self.listeners.load(Ordering::SeqCst) > 0 {
            self.bell.notify_all();
        }
        self.changed.change(Some);
        result
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    pub(crate) fn changes(&self) -> announced::Listener<'_, ()> {
        self.changed.listener()
    }
}

/// A thread that listens for the bell. It counts before it looks at the world, so that whoever changes the
/// world after that look sees it.
struct Listener<'a>(&'a Shared);

impl Listener<'_> {
    fn of(shared: &Shared) -> Listener<'_> {
        shared.listeners.fetch_add(1, Ordering::SeqCst);
        Listener(shared)
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The way to a world, its faults, gates and log, whoever serves it: a [`Sim`](crate::Sim) on a port, or an
/// [`InProcess`](crate::InProcess). Cheap to clone.
#[derive(Clone)]
pub struct Backstage {
    pub(crate) shared: Arc<Shared>,
    timers: Timers,
}

impl fmt::Debug for Backstage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Backstage").finish_non_exhaustive()
    }
}

impl Backstage {
    pub(crate) fn of(world: World, timers: Timers) -> Backstage {
        Backstage {
            shared: Shared::new(world),
            timers,
        }
    }

    /// Reads or changes the world under its lock. Don't call the simulator from inside.
    pub fn world<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        self.shared.change(change)
    }

    /// A copy of the ledger.
    #[must_use]
    pub fn purchases(&self) -> Vec<Purchase> {
        self.shared.look(|world| world.purchases().to_vec())
    }

    /// A copy of the request log.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.look(|world| world.requests().to_vec())
    }

    /// A copy of the request log of one route.
    #[must_use]
    pub fn requests_on(&self, route: Route) -> Vec<RequestRecord> {
        self.shared
            .look(|world| world.requests_on(route).cloned().collect())
    }

    /// How many requests of a route arrived.
    #[must_use]
    pub fn count(&self, route: Route) -> usize {
        self.shared.look(|world| world.count(route))
    }

    /// How many of them were carried out.
    #[must_use]
    pub fn count_acted(&self, route: Route) -> usize {
        self.shared.look(|world| world.count_acted(route))
    }

    /// Arms a fault. Of several that match a call, the one armed first has its turn.
    ///
    /// # Panics
    /// If it is for a paid route, has another answer than the normal one, and does not say whether
    /// the call is acted on.
    pub fn inject(&self, fault: Fault) {
        let armed = ArmedFault::new(fault);
        self.world(|world| world.faults.push(armed));
    }

    /// Takes all faults back, fired or not.
    pub fn clear_faults(&self) {
        self.world(|world| world.faults.clear());
    }

    /// Holds the next request of a route at a stage.
    pub fn hold(&self, route: Route, stage: Stage) -> Gate {
        self.hold_nth(route, 0, stage)
    }

    /// Holds a request of a route at a stage, after so many that pass.
    pub fn hold_nth(&self, route: Route, skip: u32, stage: Stage) -> Gate {
        let id = self.world(|world| {
            let id = world.gates.len() as u64;
            world.gates.push(ArmedGate {
                id,
                route,
                stage,
                skip,
                state: GateState::Armed,
            });
            id
        });
        Gate {
            sim: self.clone(),
            id,
        }
    }

    /// Runs a closure once, right after the next request of a route was carried out (or refused),
    /// before its answer leaves; no other request is carried out between the two.
    pub fn after_next(&self, route: Route, hook: impl FnOnce(&mut World) + Send + 'static) {
        self.after_nth(route, 0, hook);
    }

    /// The same, after so many requests that pass.
    pub fn after_nth(&self, route: Route, skip: u32, hook: impl FnOnce(&mut World) + Send + 'static) {
        self.world(|world| world.hooks.push((route, skip, Some(Box::new(hook)))));
    }

    /// Faults that did not fire as often as they were to, gates that never held, hooks that never
    /// ran, behaviours that no call used. Tests assert that it is empty.
    #[must_use]
    pub fn unfired(&self) -> Vec<String> {
        self.shared.look(World::unfired)
    }

    /// Blocks the thread until the world fulfils a condition; false if it does not in time, by the
    /// machine's clock. Also wakes when a job or a VM changes by the clock alone.
    #[must_use]
    pub fn wait_until(&self, timeout: Duration, mut condition: impl FnMut(&World) -> bool) -> bool {
        let machine = Clock::of_the_machine();
        let deadline = machine.now() + timeout;
        let _listener = Listener::of(&self.shared);
        let mut world = self.shared.lock();
        loop {
            if condition(&world) {
                return true;
            }
            let now = machine.now();
            if now >= deadline {
                return false;
            }
            let left = deadline - now;
            let wake = world.next_event().map_or(left, |event| event.min(left));
            world = self
                .shared
                .bell
                .wait_timeout(world, wake)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            world.settle();
        }
    }

    /// [`Backstage::wait_until`] for async tests. Of a [`Sim`](crate::Sim) it works in any runtime, also
    /// with paused time; in process it goes by the time of the runtime it is called in.
    pub async fn until(&self, timeout: Duration, mut condition: impl FnMut(&World) -> bool) -> bool {
        let mut changes = self.shared.changes();
        let mut timer = self.timers.sleep(timeout);
        loop {
            let (fulfilled, event) = self.shared.look(|world| (condition(world), world.next_event()));
            if fulfilled || timer.is_over() {
                return fulfilled;
            }
            let mut event = self.timers.sleep(event.unwrap_or(timeout));
            tokio::select! {
                // Not in an order that is drawn by chance.
                biased;
                () = timer.over() => {}
                () = event.over() => {}
                () = changes.changed() => {}
            }
        }
    }

    /// Blocks until so many purchases stand in the ledger.
    #[must_use]
    pub fn wait_purchases(&self, count: usize, timeout: Duration) -> bool {
        self.wait_until(timeout, |world| world.purchases().len() >= count)
    }

    /// Blocks until so many requests of a route have been answered (in whatever way).
    #[must_use]
    pub fn wait_answered(&self, route: Route, count: usize, timeout: Duration) -> bool {
        self.wait_until(timeout, |world| world.count_answered(route) >= count)
    }
}
