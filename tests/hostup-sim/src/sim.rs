//! The handle that tests hold.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use tokio::runtime;
use tokio::sync::mpsc;

use crate::backstage::Backstage;
use crate::server::{self, Order};
use crate::timers::Timers;
use crate::world::World;

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

    /// Starts one on an address, with an empty world.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn start_on(address: SocketAddr) -> io::Result<Sim> {
        Sim::serve(address, World::default())
    }

    /// Starts one on an address, with a world. Delays of answers go by the machine's clock whatever
    /// the world's says.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn serve(address: SocketAddr, world: World) -> io::Result<Sim> {
        let listener = server::bind(address)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let handle = SimHandle {
            address: listener.local_addr()?,
            backstage: Backstage::of(world, Timers::In(runtime.handle().clone())),
            orders,
        };
        let shared = Arc::clone(&handle.backstage.shared);
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

/// A cheap handle of a running simulator. What it knows and can be told is on [`Backstage`], which it
/// dereferences to.
#[derive(Clone)]
pub struct SimHandle {
    address: SocketAddr,
    backstage: Backstage,
    orders: mpsc::UnboundedSender<Order>,
}

impl Deref for SimHandle {
    type Target = Backstage;

    fn deref(&self) -> &Backstage {
        &self.backstage
    }
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
