//! One process of the operator: everything but its flags, its logs and its port.

use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use hostup_operator::chance::Chance;
use hostup_operator::cluster::lease::Election;
use hostup_operator::cluster::watch::Life;
use hostup_operator::controllers::Error;
use hostup_operator::controllers::context::RunConfig;
use hostup_operator::controllers::policies::Guard;
use hostup_operator::controllers::run;
use hostup_operator::controllers::settings::{Settings, WatchedNamespaces};
use hostup_operator::controllers::telemetry_hooks::{Reconcile, TelemetryHooks};
use hostup_operator::domain::ledger::Caps;
use hostup_operator::domain::ledger::record::{Record, State, Times};
use hostup_operator::domain::values::ids::InstanceId;
use hostup_operator::hostup::HostUp;
use hostup_operator::ledger;
use http::{Method, Request, Response};
use jiff::SignedDuration;
use kube::client::Body as Bytes;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::body::Body;
use crate::cluster::{AnswerBody, ApiServer, ApiService, ClientId, InFlight, Kind};
use crate::dice::Dice;
use crate::judge::Judge;
use crate::line::Line;
use crate::people::OPERATORS_NAMESPACE;
use crate::story::Story;
use crate::weather::Weather;

/// Short, so that a life is: what the flags set to minutes takes seconds.
pub const TIMES: Times = Times {
    settle_time: Duration::from_secs(6),
    poll_interval: Duration::from_millis(500),
    request_timeout: Duration::from_secs(2),
    paid_timeout: Duration::from_secs(4),
    job_deadline: Duration::from_secs(60),
    resync_interval: Duration::from_secs(20),
    gate_interval: Duration::from_secs(2),
};

/// The id of the installation.
pub const INSTANCE: &str = "simulated";

/// What all processes of a life share.
#[derive(Clone)]
pub struct Site {
    /// The API server.
    pub server: ApiServer,
    /// HostUp.
    pub hostup: hostup_sim::InProcess,
    /// How bad it is.
    pub weather: Weather,
    /// Chance.
    pub dice: Dice,
    /// The story.
    pub story: Story,
    /// The judge.
    pub judge: Judge,
    /// When the life began.
    pub began: tokio::time::Instant,
    /// Whether processes elect a leader.
    pub elects: bool,
    /// The cap on paid calls of a day.
    pub cap: Option<u32>,
}

/// A process.
pub struct Process {
    /// Whether it runs.
    pub body: Body,
    client: ClientId,
    server: ApiServer,
    stop: CancellationToken,
    main: JoinHandle<()>,
}

impl Process {
    /// Starts one; no two of a life have one number.
    pub fn start(site: &Site, number: u32) -> Self {
        let dice = site.dice.fork();
        let off = match dice.below(6) {
            0 => much(&dice),
            1 => a_little(&dice),
            _ => SignedDuration::ZERO,
        };
        site.judge
            .knows_of_a_clock_ahead(off.try_into().unwrap_or_default());
        let body = Body::new(site.began, off);
        let client = ClientId(number);
        let who = format!("process {number}");
        site.story.tell(|| format!("{who} starts"));
        if off != SignedDuration::ZERO {
            site.story
                .fault("process: wrong clock", || format!("{who} is {off:?} off"));
        }
        let api = Gated {
            service: site.server.service(client),
            body: body.clone(),
            who: who.clone(),
            judge: site.judge.clone(),
        };
        let line = Line {
            hostup: site.hostup.clone(),
            body: body.clone(),
            who,
            dice: dice.fork(),
            weather: site.weather.clone(),
            judge: site.judge.clone(),
            story: site.story.clone(),
            limits: Mutex::default(),
        };
        let drawn = dice.fork();
        let clock = body.clock();
        let hooks: Arc<dyn TelemetryHooks> = Arc::new(Deaf(site.judge.clone()));
        let config = RunConfig {
            chance: Chance::drawn_by(move |bytes| {
                drawn.fill(bytes);
                true
            }),
            client: kube::Client::new(api, "default"),
            hostup: HostUp::new(
                "https://hostup.example".parse().expect("a URL"),
                Arc::new(line),
                clock.clone(),
                TIMES.request_timeout,
                Arc::new(|_, _, _| {}),
            ),
            settings: Settings {
                namespace: OPERATORS_NAMESPACE.to_owned(),
                instance: InstanceId::new(INSTANCE),
                watched: WatchedNamespaces::All,
                read_only: false,
                caps: Caps {
                    all: site.cap,
                    of_namespace: None,
                },
                in_place_restore: true,
                legacy_upgrade: false,
                workers: 8,
                times: TIMES,
            },
            hooks,
            clock,
        };
        let stop = CancellationToken::new();
        let main = tokio::spawn(lives(config, stop.clone(), site.elects.then_some(number)));
        Self {
            body,
            client,
            server: site.server.clone(),
            stop,
            main,
        }
    }

    /// kill -9.
    pub fn kill(&self, in_flight: InFlight) {
        self.body.kill();
        self.server.kill(self.client, in_flight);
        self.main.abort();
    }

    /// SIGTERM.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// It stands still, with its clocks.
    pub fn freeze(&self) {
        self.body.freeze();
        self.server.freeze(self.client, None);
    }

    /// Somebody sets its wall clock, right or wrong.
    pub fn set_clock(&self, site: &Site, dice: &Dice) {
        let off = match dice.below(4) {
            0 => SignedDuration::ZERO,
            1 => a_little(dice),
            2 => much(dice),
            // Far longer than the calm.
            _ => SignedDuration::from_hours(dice.one(&[-3, 3])),
        };
        self.set_clock_to(site, off);
    }

    /// Its wall clock is off by so much from now on.
    pub fn set_clock_to(&self, site: &Site, off: SignedDuration) {
        let ahead = self.body.set_clock(off).max(off);
        site.judge
            .knows_of_a_clock_ahead(ahead.try_into().unwrap_or_default());
        site.story.fault("process: clock set", || {
            format!("process {} is {off:?} off", self.client.0)
        });
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.body.thaw();
        self.server.thaw(self.client, None);
    }

    /// Whether it has ended, by itself or by a signal.
    pub fn has_ended(&self) -> bool {
        self.main.is_finished() || !self.body.is_alive()
    }
}

/// By how much a wall clock is off.
fn much(dice: &Dice) -> SignedDuration {
    SignedDuration::from_secs(i64::from(dice.below(240)) - 120)
}

fn a_little(dice: &Dice) -> SignedDuration {
    SignedDuration::from_millis(i64::from(dice.below(4_000)) - 2_000)
}

async fn lives(config: RunConfig, stop: CancellationToken, elects: Option<u32>) {
    let Some(number) = elects else {
        return run::run(config, stop, |_| {}).await;
    };
    let identity = format!("process-{number}");
    let mut election = Election::new(
        config.client.clone(),
        OPERATORS_NAMESPACE,
        identity,
        config.clock.clone(),
    );
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = election.win() => {}
    }
    let led = stop.child_token();
    let mut controllers = std::pin::pin!(run::run(config, led.clone(), |_| {}));
    let lost = tokio::select! {
        biased;
        () = &mut controllers => None,
        why = election.hold() => Some(why),
    };
    if lost.is_some() {
        led.cancel();
        controllers.await;
    } else {
        election.release().await;
    }
}

/// The API server, as a process that may stand still reaches it.
#[derive(Clone)]
struct Gated {
    service: ApiService,
    body: Body,
    who: String,
    judge: Judge,
}

impl Service<Request<Bytes>> for Gated {
    type Response = Response<AnswerBody>;
    type Error = <ApiService as Service<Request<Bytes>>>::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(task)
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let mut gated = self.clone();
        async move {
            let body = &gated.body;
            body.runs().await;
            let record = record_read(&request);
            let stood = body.stood();
            let answer = gated.service.call(request).await;
            body.runs().await;
            if let (Some(name), Ok(answer)) = (record, &answer) {
                let told = (body.stood() > stood).then(|| answer.body().told()).flatten();
                gated.judge.hears_of_a_record(&gated.who, &name, told);
            }
            answer
        }
        .boxed()
    }
}

/// The name of the record that is read.
fn record_read(request: &Request<Bytes>) -> Option<String> {
    let (records, name) = request.uri().path().rsplit_once('/')?;
    let is_read = request.method() == Method::GET && records.ends_with(Kind::OPERATION.plural);
    is_read.then(|| name.to_owned())
}

/// Tells nobody but the judge.
struct Deaf(Judge);

impl ledger::PurchaseHooks for Deaf {
    fn paid_call(&self, _record: &Record, _state: State) {}

    fn asks_a_person(&self, _record: &Record) {}
}

impl TelemetryHooks for Deaf {
    fn reconcile(&self, kind: &'static str, namespace: &str, name: &str, work: Reconcile) -> Reconcile {
        let (judge, what) = (self.0.clone(), format!("{kind} {namespace}/{name}"));
        std::panic::AssertUnwindSafe(work)
            .catch_unwind()
            .map(move |ended| {
                ended.unwrap_or_else(|_| {
                    judge.finds(format!("the reconcile of {what} panicked"));
                    Err(Error::Panicked)
                })
            })
            .boxed()
    }

    fn watch(&self, _kind: &'static str, _namespace: &str, _life: Life) {}

    fn audit(&self, _without_record: usize, _twins: usize) {}

    fn policy(&self, _guard: Guard, _in_force: Option<bool>) {}
}
