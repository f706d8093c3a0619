//! The handle that tests hold.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::faults::{ArmedFault, Fault};
use crate::gates::{ArmedGate, Gate, GateState, Stage};
use crate::ledger::Purchase;
use crate::log::RequestRecord;
use crate::routes::Route;
use crate::server::{self, Order};
use crate::world::World;

/// The world and the two bells that ring when it changes: one for threads, one for tasks.
pub(crate) struct Shared {
    world: Mutex<World>,
    bell: Condvar,
    version: watch::Sender<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        // A test that panics inside `world` must not take the others with it.
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.settle();
        world
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.lock());
        self.bell.notify_all();
        self.version.send_modify(|version| *version += 1);
        result
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

/// A running simulator. It serves from a thread of its own and ends when it is dropped. All it can
/// do is on [`SimHandle`], which it dereferences to.
pub struct Sim {
    handle: SimHandle,
    thread: Option<JoinHandle<()>>,
}

impl Sim {
    /// Starts one on a free loopback port, with an empty world.
    ///
    /// # Panics
    /// If no port can be bound.
    #[must_use]
    pub fn start() -> Sim {
        Sim::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free loopback port")
    }

    /// Starts one on an address.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn start_on(address: SocketAddr) -> io::Result<Sim> {
        let listener = server::bind(address)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let handle = SimHandle {
            address: listener.local_addr()?,
            shared: Arc::new(Shared {
                world: Mutex::new(World::default()),
                bell: Condvar::new(),
                version: watch::Sender::new(0),
            }),
            orders,
            runtime: runtime.handle().clone(),
        };
        let shared = Arc::clone(&handle.shared);
        let thread = std::thread::Builder::new()
            .name("hostup-sim".to_owned())
            .spawn(move || runtime.block_on(server::run(listener, shared, inbox)))?;
        Ok(Sim {
            handle,
            thread: Some(thread),
        })
    }

    /// A handle that can be cloned and sent elsewhere. It does not keep the simulator running.
    #[must_use]
    pub fn handle(&self) -> SimHandle {
        self.handle.clone()
    }
}

impl Deref for Sim {
    type Target = SimHandle;

    fn deref(&self) -> &SimHandle {
        &self.handle
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.handle.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(out)
    }
}

/// A cheap handle of a running simulator.
#[derive(Clone)]
pub struct SimHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    runtime: runtime::Handle,
}

impl fmt::Debug for SimHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SimHandle")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl SimHandle {
    /// The origin, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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

    /// Blocks the thread until the world fulfils a condition; false if it does not in time. Also
    /// wakes when a job or a VM changes by the clock alone.
    #[must_use]
    pub fn wait_until(&self, timeout: Duration, mut condition: impl FnMut(&World) -> bool) -> bool {
        let machine = Clock::of_the_machine();
        let deadline = machine.now() + timeout;
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

    /// [`SimHandle::wait_until`] for async tests; works in any runtime, also with paused time.
    pub async fn until(&self, timeout: Duration, mut condition: impl FnMut(&World) -> bool) -> bool {
        let machine = Clock::of_the_machine();
        let deadline = machine.now() + timeout;
        let mut changes = self.shared.changes();
        loop {
            let now = machine.now();
            let (fulfilled, event) = self.shared.look(|world| (condition(world), world.next_event()));
            if fulfilled || now >= deadline {
                return fulfilled;
            }
            let left = deadline - now;
            let wake = event.map_or(left, |event| event.min(left));
            // The timer is made and runs in the simulator's runtime, whose time nobody pauses.
            let mut timer = self.runtime.spawn(async move { tokio::time::sleep(wake).await });
            tokio::select! {
                slept = &mut timer => if slept.is_err() {
                    // The simulator has ended; nothing will change any more.
                    return false;
                },
                _ = changes.changed() => timer.abort(),
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

    /// Stops listening (connects are refused) and drops every open connection. Requests that are
    /// held are lost. The world stays.
    pub fn go_down(&self) {
        self.order(Order::Down);
    }

    /// Listens again on the same port.
    pub fn come_up(&self) {
        self.order(Order::Up);
    }

    fn order(&self, order: impl FnOnce(std_mpsc::Sender<()>) -> Order) {
        let (done, heard) = std_mpsc::channel();
        if self.orders.send(order(done)).is_ok() {
            let _ = heard.recv();
        }
    }
}
