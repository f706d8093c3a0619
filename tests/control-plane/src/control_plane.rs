use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use serde_json::{Value, json};

use crate::assets::Assets;
use crate::audit::{self, AuditEvent};
use crate::credentials::{Credentials, User};
use crate::error::{Error, Result, Tried};
use crate::https::{Answer, Https};
use crate::kubeconfig::{Kubeconfig, Proof};
use crate::port::Port;
use crate::programs;
use crate::proxy::ApiProxy;
use crate::random;
use crate::supervised::Supervised;
use crate::wait::{self, Look};
use crate::work_dir::WorkDir;

const DEFAULT_ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";
const PORTS_TRIED: usize = 5;

/// How a control plane is started. The default suits tests.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long each start may take on a busy machine before it counts as failed. Default: a minute.
    pub ready_within: Duration,
    /// Arguments added to those of kube-apiserver, such as `--max-requests-inflight=4`.
    pub apiserver_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ready_within: Duration::from_secs(60),
            apiserver_args: Vec::new(),
        }
    }
}

/// The process ids of the programs that run at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pids {
    /// etcd.
    pub etcd: Option<u32>,
    /// kube-apiserver.
    pub apiserver: Option<u32>,
    /// kube-controller-manager.
    pub controller_manager: Option<u32>,
}

/// A running control plane. Dropping it kills its programs and removes its data.
///
/// It can be shared between threads and kept in a static; several may run at once.
#[derive(Debug)]
pub struct ControlPlane {
    // In the order in which they are dropped: the programs before their folder.
    running: Mutex<Running>,
    dir: WorkDir,
    port: Port,
    credentials: Credentials,
    assets: Assets,
    options: Options,
    start_took: Duration,
}

#[derive(Debug, Default)]
struct Running {
    controller_manager: Option<Supervised>,
    apiserver: Option<Supervised>,
    etcd: Option<Supervised>,
}

impl Running {
    fn must_all_run(&mut self) -> Result<()> {
        [&mut self.etcd, &mut self.apiserver, &mut self.controller_manager]
            .into_iter()
            .flatten()
            .try_for_each(Supervised::must_run)
    }
}

impl ControlPlane {
    /// Starts one, and returns when the API server is ready and the namespace `default` has its
    /// service account: about four seconds. The first call on a machine builds the programs, which
    /// takes minutes.
    ///
    /// # Errors
    /// The programs cannot be found or built, one of them ends by itself, or they are not ready in
    /// time.
    pub fn start(options: Options) -> Result<Self> {
        let assets = Assets::find()?;
        let began = Instant::now();
        let dir = WorkDir::new()?;
        let credentials = Credentials::create(dir.path())?;
        let mut started = Self {
            running: Mutex::default(),
            port: Port::reserve()?,
            dir,
            credentials,
            assets,
            options,
            start_took: Duration::ZERO,
        };
        started.run_etcd()?;
        started.run_apiserver_on_some_port()?;
        for user in User::ALL {
            started
                .kubeconfig_for(started.credentials.token(user), None)
                .write(&started.kubeconfig(user))?;
        }
        // It need not wait for readiness, only for an answer; the two are then ready together.
        started.run_controller_manager()?;
        started.await_ready()?;
        started.await_default_account()?;
        started.start_took = began.elapsed();
        Ok(started)
    }

    /// How long [`start`](Self::start) took, without finding or building the programs.
    pub fn start_took(&self) -> Duration {
        self.start_took
    }

    /// The address of the API server, `https://127.0.0.1:<port>`. It stays over restarts.
    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// The folder with its logs (`<program>.log`, `audit.log`), removed on drop. The environment
    /// variable `HOSTUP_TEST_KEEP` keeps it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The folder with its programs, kubectl and Helm among them, for a shell's `PATH`.
    pub fn programs(&self) -> &Path {
        self.assets.folder()
    }

    /// The kubeconfig of one of the people that every control plane knows.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.dir.join(&format!("{}.kubeconfig", user.name()))
    }

    /// A kubeconfig for a user of any name, in these groups and `system:authenticated`. It holds the
    /// admin's token and impersonates: RBAC, admission and [`audit`](Self::audit) see the user.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn user_kubeconfig(&self, name: &str, groups: &[&str]) -> Result<PathBuf> {
        let path = self.new_file("user")?;
        self.kubeconfig_for(self.credentials.token(User::Admin), Some((name, groups)))
            .write(&path)?;
        Ok(path)
    }

    /// A kubeconfig with a fresh token, good for a day, of an existing service account.
    ///
    /// # Errors
    /// There is no such account, or the API server is away.
    pub fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let what = format!("get a token for the service account {namespace}/{name}");
        let answer = self
            .https()
            .post(
                &format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"),
                &json!({
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenRequest",
                    "spec": {"expirationSeconds": 86_400},
                }),
            )
            .tried(|| what.clone())?;
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let Some(token) = body.pointer("/status/token").and_then(Value::as_str) else {
            return Err(Error::Api {
                what,
                code: answer.code,
                body: answer.body,
            });
        };
        let path = self.new_file("account")?;
        self.kubeconfig_for(token, None).write(&path)?;
        Ok(path)
    }

    /// A kubeconfig with a client certificate of a user of any name, which the API server takes until then.
    ///
    /// # Errors
    /// The certificate or the file cannot be made.
    pub fn certificate_kubeconfig(&self, name: &str, until: SystemTime) -> Result<PathBuf> {
        let path = self.new_file("certificate")?;
        let certificate = self.credentials.client_certificate(name, until)?;
        Kubeconfig {
            proof: Proof::Certificate(&certificate),
            ..self.kubeconfig_for("", None)
        }
        .write(&path)?;
        Ok(path)
    }

    /// TLS with the certificate of the API server, for what stands on the way to it.
    pub fn server_tls(&self) -> Arc<ServerConfig> {
        self.credentials.server_tls()
    }

    /// Starts a proxy in front of the API server.
    ///
    /// # Errors
    /// No port or thread can be had.
    pub fn proxy(&self) -> Result<ApiProxy> {
        ApiProxy::start(
            self.port.address(),
            self.credentials.client_tls(),
            self.credentials.server_tls(),
            self.dir.path(),
        )
    }

    /// What the API server has answered so far, oldest first, for all resources of
    /// `vps.hostup.se`, Leases, Events and Secrets. It includes what the control plane itself does,
    /// so filter by user or namespace. A request whose answer reached its client before this call is
    /// in it.
    ///
    /// # Errors
    /// The log cannot be read, or does not move on although the API server runs.
    pub fn audit(&self) -> Result<Vec<AuditEvent>> {
        let log = self.dir.join(programs::AUDIT_LOG);
        if self.lock().apiserver.is_none() {
            return audit::read(&log);
        }
        // The line of a request may follow its answer by a moment. So one more request is made, and
        // the log is complete up to the line of that one.
        let mark = format!("audit-mark-{}", random::name()?);
        self.https()
            .get(&format!("/api/v1/namespaces/default/secrets/{mark}"))
            .tried(|| "mark the audit log".to_owned())?;
        let events = wait::until("a line in the audit log", Duration::from_secs(10), || {
            let mut events = audit::read(&log)?;
            Ok(match events.iter().position(|event| event.name == mark) {
                Some(end) => {
                    events.truncate(end);
                    Look::There(events)
                }
                None => Look::NotYet(format!("{} lines", events.len())),
            })
        })?;
        Ok(events
            .into_iter()
            .filter(|event| !event.name.starts_with("audit-mark-"))
            .collect())
    }

    /// Kills the API server as a crash would; nothing if it does not run. Its data stays in etcd.
    pub fn stop_apiserver(&self) {
        let stopped = self.lock().apiserver.take();
        drop(stopped);
    }

    /// Starts the API server again, with the same address and data, and waits until it is ready.
    ///
    /// # Errors
    /// It ends by itself or is not ready in time.
    pub fn start_apiserver(&self) -> Result<()> {
        if self.lock().apiserver.is_none() {
            self.run_apiserver()?;
        }
        self.await_ready()
    }

    /// [`stop_apiserver`](Self::stop_apiserver), then [`start_apiserver`](Self::start_apiserver).
    ///
    /// # Errors
    /// As for `start_apiserver`.
    pub fn restart_apiserver(&self) -> Result<()> {
        self.stop_apiserver();
        self.start_apiserver()
    }

    /// Kills etcd; nothing if it does not run. The API server then answers some reads from its cache
    /// and fails everything else.
    pub fn stop_etcd(&self) {
        let stopped = self.lock().etcd.take();
        drop(stopped);
    }

    /// Starts etcd again with its data and, if the API server runs, waits until that is ready.
    ///
    /// # Errors
    /// It ends by itself, or the API server is not ready in time.
    pub fn start_etcd(&self) -> Result<()> {
        if self.lock().etcd.is_none() {
            self.run_etcd()?;
        }
        let serves = self.lock().apiserver.is_some();
        if serves { self.await_ready() } else { Ok(()) }
    }

    /// Kills all of its programs, which nothing starts again. Its folder stays until it is dropped.
    pub fn stop(&self) {
        let stopped = std::mem::take(&mut *self.lock());
        drop(stopped);
    }

    /// The process ids of what runs at the moment.
    pub fn pids(&self) -> Pids {
        let running = self.lock();
        let pid = |program: &Option<Supervised>| program.as_ref().and_then(Supervised::pid);
        Pids {
            etcd: pid(&running.etcd),
            apiserver: pid(&running.apiserver),
            controller_manager: pid(&running.controller_manager),
        }
    }

    pub(crate) fn kubectl_program(&self) -> PathBuf {
        self.assets.client("kubectl")
    }

    pub(crate) fn helm_program(&self) -> PathBuf {
        self.assets.client("helm")
    }

    fn run_etcd(&self) -> Result<()> {
        let socket = self.dir.join(programs::ETCD_SOCKET);
        // Left behind by an etcd that was killed.
        let _ = fs::remove_file(&socket);
        let args = programs::etcd(self.dir.path());
        self.lock().etcd = Some(self.supervise("etcd", &args)?);
        wait::until("a listening etcd", self.options.ready_within, || {
            self.lock().must_all_run()?;
            Ok(match UnixStream::connect(&socket) {
                Ok(_) => Look::There(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
    }

    /// Another program may take the port between its reservation and its use; then another port.
    fn run_apiserver_on_some_port(&mut self) -> Result<()> {
        for _ in 1..PORTS_TRIED {
            match self.run_apiserver() {
                Err(Error::Ended { .. }) if self.found_its_port_taken() => {
                    self.lock().apiserver = None;
                    self.port = Port::reserve()?;
                }
                other => return other,
            }
        }
        self.run_apiserver()
    }

    fn found_its_port_taken(&self) -> bool {
        self.lock()
            .apiserver
            .as_ref()
            .is_some_and(Supervised::found_its_port_taken)
    }

    /// Returns as soon as it answers at all.
    fn run_apiserver(&self) -> Result<()> {
        let args = programs::apiserver(self.dir.path(), self.port.number(), &self.options.apiserver_args)?;
        self.lock().apiserver = Some(self.supervise("kube-apiserver", &args)?);
        self.await_answer("an answer of the API server", "/version", |answer| {
            answer.code == 200
        })
    }

    fn run_controller_manager(&self) -> Result<()> {
        let args = programs::controller_manager(self.dir.path(), &self.kubeconfig(User::Admin));
        self.lock().controller_manager = Some(self.supervise("kube-controller-manager", &args)?);
        Ok(())
    }

    fn supervise(&self, name: &'static str, args: &[String]) -> Result<Supervised> {
        Supervised::start(self.dir.path(), name, &self.assets.program(name), args)
    }

    fn await_ready(&self) -> Result<()> {
        self.await_answer("readiness of the API server", "/readyz", |answer| {
            answer.code == 200
        })
    }

    fn await_default_account(&self) -> Result<()> {
        self.await_answer(
            "the service account of the namespace default",
            DEFAULT_ACCOUNT,
            |answer| answer.code == 200,
        )
    }

    fn await_answer(&self, what: &str, path: &str, good: impl Fn(&Answer) -> bool) -> Result<()> {
        let https = self.https();
        wait::until(what, self.options.ready_within, || {
            self.lock().must_all_run()?;
            Ok(match https.get(path) {
                Ok(answer) if good(&answer) => Look::There(()),
                Ok(answer) => Look::NotYet(format!("{} {}", answer.code, answer.body)),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
    }

    fn https(&self) -> Https {
        Https {
            address: self.port.address(),
            tls: self.credentials.client_tls(),
            token: self.credentials.token(User::Admin).to_owned(),
        }
    }

    fn kubeconfig_for<'a>(
        &'a self,
        token: &'a str,
        acting_as: Option<(&'a str, &'a [&'a str])>,
    ) -> Kubeconfig<'a> {
        Kubeconfig {
            server: self.url(),
            ca_pem: self.credentials.ca_pem(),
            proof: Proof::Token(token),
            acting_as,
        }
    }

    fn new_file(&self, kind: &str) -> Result<PathBuf> {
        Ok(self.dir.join(&format!("{kind}-{}.kubeconfig", random::name()?)))
    }

    /// A test that panicked elsewhere must not keep others from stopping what runs.
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
