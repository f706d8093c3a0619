//! A proxy in front of the API server that a test tells what to do with single requests.

mod forward;
mod gate;
mod request;
mod rule;
mod serve;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ServerConfig};
use tokio::sync::{oneshot, watch};

pub use gate::Gate;
pub use request::Request;
pub use rule::{Action, Match, Rule, status};

use crate::error::{Error, Result, Tried};
use crate::kubeconfig;
use forward::Upstream;
use rule::RuleBook;

/// A proxy in front of the API server, from [`ControlPlane::proxy`](crate::ControlPlane::proxy).
///
/// It speaks HTTPS with the API server's own certificate, so a kubeconfig needs another port and
/// nothing else, and it forwards the `Authorization` header. Without rules everything passes,
/// watches as they come. It understands HTTP/1.1 and no upgrades (`exec`, `port-forward`), and opens
/// one connection to the API server for each request. When the API server is away, the client's
/// connection is cut.
#[derive(Debug)]
pub struct ApiProxy {
    address: SocketAddr,
    dir: PathBuf,
    kubeconfigs: AtomicUsize,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the test and the proxy's thread have in common.
#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    /// Notified of every request that is entered.
    entered: Condvar,
    watches_frozen: watch::Sender<bool>,
    blackhole: watch::Sender<bool>,
    upstream: Upstream,
}

#[derive(Debug, Default)]
struct Book {
    requests: Vec<Request>,
    rules: RuleBook,
}

impl ApiProxy {
    pub(crate) fn start(
        upstream: SocketAddr,
        client_tls: Arc<ClientConfig>,
        server_tls: Arc<ServerConfig>,
        dir: &Path,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .tried(|| "listen for a proxy".to_owned())?;
        let address = listener.local_addr().tried(|| "listen for a proxy".to_owned())?;
        let shared = Arc::new(Shared {
            book: Mutex::default(),
            entered: Condvar::new(),
            watches_frozen: watch::Sender::new(false),
            blackhole: watch::Sender::new(false),
            upstream: Upstream::new(upstream, client_tls),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .tried(|| "make a runtime for a proxy".to_owned())?;
        let (stop, stopped) = oneshot::channel();
        let thread = {
            let shared = shared.clone();
            thread::Builder::new()
                .name("api-proxy".to_owned())
                .spawn(move || {
                    runtime.block_on(async {
                        tokio::select! {
                            () = serve::forever(listener, server_tls, shared) => {}
                            _ = stopped => {}
                        }
                    });
                })
                .tried(|| "start a thread for a proxy".to_owned())?
        };
        Ok(Self {
            address,
            dir: dir.to_owned(),
            kubeconfigs: AtomicUsize::new(0),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The address of the proxy, `https://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A copy of a kubeconfig of the same control plane that goes through the proxy.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn kubeconfig(&self, base: &Path) -> Result<PathBuf> {
        let text = fs::read_to_string(base).tried(|| format!("read {}", base.display()))?;
        let n = self.kubeconfigs.fetch_add(1, Ordering::Relaxed);
        let path = self
            .dir
            .join(format!("proxy-{}-{n}.kubeconfig", self.address.port()));
        fs::write(&path, kubeconfig::with_server(&text, &self.url()))
            .tried(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Adds a rule. Of several that match a request, the first one added acts.
    pub fn rule(&self, rule: Rule) {
        self.book().rules.add(rule);
    }

    /// Forgets all rules. What is held stays held until its gate is released.
    pub fn clear_rules(&self) {
        self.book().rules = RuleBook::default();
    }

    /// The rules that acted less often than they say, for the end of a test: a fault that never
    /// happened proves nothing.
    pub fn unfired(&self) -> Vec<String> {
        self.book().rules.unfired()
    }

    /// Every request so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.book().requests.clone()
    }

    /// Waits for a request, be it past or to come.
    ///
    /// # Errors
    /// None came in time.
    pub fn wait_for(
        &self,
        what: &str,
        within: Duration,
        matches: impl Fn(&Request) -> bool,
    ) -> Result<Request> {
        let until = Instant::now() + within;
        let mut book = self.book();
        loop {
            if let Some(found) = book.requests.iter().find(|request| matches(request)) {
                return Ok(found.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::TimedOut {
                    what: format!("{what} through the proxy"),
                    after: within,
                    last_seen: format!("{} other requests", book.requests.len()),
                });
            }
            book = self
                .shared
                .entered
                .wait_timeout(book, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// While frozen, watches stay open and deliver nothing; lists and everything else pass. What came
    /// meanwhile is delivered after the thaw.
    pub fn freeze_watches(&self, frozen: bool) {
        self.shared.watches_frozen.send_replace(frozen);
    }

    /// While on, connections are accepted and nothing passes either way. Requests of clients that
    /// still wait when it ends go on; the others never reach the API server.
    pub fn blackhole(&self, on: bool) {
        self.shared.blackhole.send_replace(on);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book()
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was already printed, and must not hide the one of the test.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a request and says what is to be done with it.
    fn enter(&self, mut request: Request) -> Action {
        let mut book = self.book();
        request.n = book.requests.len() + 1;
        let action = book.rules.action_for(&request);
        book.requests.push(request);
        self.entered.notify_all();
        action.unwrap_or(Action::Forward)
    }

    async fn until_no_blackhole(&self) {
        until_off(&self.blackhole).await;
    }

    async fn until_thawed(&self) {
        until_off(&self.watches_frozen).await;
    }
}

async fn until_off(switch: &watch::Sender<bool>) {
    // The sender lives in `Shared`, so the wait can only end well.
    let _ = switch.subscribe().wait_for(|on| !on).await;
}
