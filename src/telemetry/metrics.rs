//! Every series, in one place. Names are those of controller-runtime where the meaning is the same.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing::Instrument;

use crate::api::operation::{OperationState, VpsOperation};
use crate::controllers::Error;
use crate::controllers::context::Context;
use crate::controllers::observer::{Observer, Reconcile};
use crate::domain::money::Amount;
use crate::domain::record::{Record, State};
use crate::hostup::Route;

type FloatGauge = Gauge<f64, AtomicU64>;
type IntGauge = Gauge<i64, AtomicI64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReconcileLabels {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ControllerLabels {
    controller: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    route: &'static str,
    class: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MoneyLabels {
    namespace: String,
    currency: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FindingLabels {
    finding: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NameLabels {
    name: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VersionLabels {
    version: &'static str,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    durations: Family<ControllerLabels, Histogram>,
    active: Family<ControllerLabels, IntGauge>,
    panics: Family<ControllerLabels, Counter>,
    calls: Family<CallLabels, Counter>,
    call_durations: Family<RouteLabels, Histogram>,
    paid_calls: Family<StateLabels, Counter>,
    questions: Counter,
    findings: Family<FindingLabels, IntGauge>,
    operations: Family<StateLabels, IntGauge>,
    waiting_for_a_person: IntGauge,
    spend: Family<MoneyLabels, FloatGauge>,
    spend_at_once: Family<MoneyLabels, FloatGauge>,
    paid_calls_in_window: IntGauge,
    leader: Family<NameLabels, IntGauge>,
    context: OnceLock<Arc<Context>>,
    written: std::sync::Mutex<()>,
}

fn seconds() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(seconds),
            active: Family::default(),
            panics: Family::default(),
            calls: Family::default(),
            call_durations: Family::new_with_constructor(seconds),
            paid_calls: Family::default(),
            questions: Counter::default(),
            findings: Family::default(),
            operations: Family::default(),
            waiting_for_a_person: Gauge::default(),
            spend: Family::default(),
            spend_at_once: Family::default(),
            paid_calls_in_window: Gauge::default(),
            leader: Family::default(),
            context: OnceLock::new(),
            written: std::sync::Mutex::default(),
        };
        metrics.register();
        metrics.begin();
        metrics
    }
}

/// The controllers, as labels.
const CONTROLLERS: [&str; 3] = ["vpsbackuprestore", "vpsresourceconfig", "vpsoperation"];
/// What a paid call can come to at once.
const PAID: [State; 4] = [State::Accepted, State::NotSent, State::Rejected, State::Unknown];

impl Metrics {
    fn register(&mut self) {
        let of_controllers = self.registry.sub_registry_with_prefix("controller_runtime");
        of_controllers.register("reconcile", "Reconciles by result", self.reconciles.clone());
        of_controllers.register(
            "reconcile_time_seconds",
            "Time of a reconcile",
            self.durations.clone(),
        );
        of_controllers.register("active_workers", "Reconciles under way", self.active.clone());
        of_controllers.register(
            "reconcile_panics",
            "Reconciles that panicked",
            self.panics.clone(),
        );
        self.registry.register(
            "leader_election_master_status",
            "1 while this process leads",
            self.leader.clone(),
        );
        let ours = self.registry.sub_registry_with_prefix("hostup_operator");
        ours.register(
            "provider_requests",
            "Calls to HostUp by route and class of the outcome",
            self.calls.clone(),
        );
        ours.register(
            "provider_request_duration_seconds",
            "Time of a call to HostUp",
            self.call_durations.clone(),
        );
        ours.register(
            "paid_calls",
            "Paid calls by the state they came to",
            self.paid_calls.clone(),
        );
        ours.register(
            "questions",
            "Operations that came to wait for a person",
            self.questions.clone(),
        );
        ours.register(
            "audit_findings",
            "VMs that bear our tokens and that no record accounts for",
            self.findings.clone(),
        );
        ours.register(
            "operations",
            "Records of the ledger by state",
            self.operations.clone(),
        );
        ours.register(
            "operations_waiting_for_a_person",
            "Records whose outcome a person must decide",
            self.waiting_for_a_person.clone(),
        );
        ours.register(
            "spend_per_hour",
            "Approved hourly price of all VMs that were bought, also of those that are cancelled since",
            self.spend.clone(),
        );
        ours.register(
            "spend_at_once",
            "Approved amounts due at once of all changes of options that were made; credits are negative",
            self.spend_at_once.clone(),
        );
        ours.register(
            "paid_calls_last_24h",
            "Paid calls that count against --max-paid-calls",
            self.paid_calls_in_window.clone(),
        );
        let info: Family<VersionLabels, IntGauge> = Family::default();
        info.get_or_create(&VersionLabels {
            version: env!("CARGO_PKG_VERSION"),
        })
        .set(1);
        ours.register("build_info", "Version of the operator", info);
    }

    /// Shows every counter from its zero on: a rate needs the step from 0 to 1.
    fn begin(&self) {
        for controller in CONTROLLERS {
            drop(self.active.get_or_create(&ControllerLabels { controller }));
            drop(self.panics.get_or_create(&ControllerLabels { controller }));
            for result in ["success", "error"] {
                drop(
                    self.reconciles
                        .get_or_create(&ReconcileLabels { controller, result }),
                );
            }
        }
        for state in PAID.map(State::as_str) {
            drop(self.paid_calls.get_or_create(&StateLabels { state }));
        }
        self.found(0, 0);
        self.leads(false);
    }

    fn found(&self, without_record: usize, twins: usize) {
        for (finding, count) in [("without_record", without_record), ("twins", twins)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.findings.get_or_create(&FindingLabels { finding }).set(count);
        }
    }

    /// Lets the gauges be read off the ledger from now on.
    pub fn attach(&self, context: Arc<Context>) {
        // Set once a process: it leads at most once.
        let _already = self.context.set(context);
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader
            .get_or_create(&NameLabels {
                name: crate::api::NAME,
            })
            .set(i64::from(leads));
    }

    /// Tells of one call to HostUp.
    pub fn provider_call(&self, route: Route, class: &str, took: Duration) {
        self.calls
            .get_or_create(&CallLabels {
                route: route.as_str(),
                class: class.to_owned(),
            })
            .inc();
        self.call_durations
            .get_or_create(&RouteLabels {
                route: route.as_str(),
            })
            .observe(took.as_secs_f64());
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// When a value cannot be formatted, which the types exclude.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let _one_at_a_time = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(context) = self.context.get() {
            self.read_ledger(context);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn read_ledger(&self, context: &Context) {
        let mut states: HashMap<State, i64> = HashMap::new();
        let mut waiting = 0;
        let mut spend: HashMap<MoneyLabels, Amount> = HashMap::new();
        let mut once: HashMap<MoneyLabels, Amount> = HashMap::new();
        for object in context.ledger.ours() {
            let Ok(record) = &object.0 else { continue };
            let (state, asks) = state_of(record);
            *states.entry(state).or_default() += 1;
            waiting += i64::from(asks);
            if costs_money(record, state) {
                let Some(quote) = &record.spec.quote else { continue };
                let labels = MoneyLabels {
                    namespace: record.spec.subject.namespace.clone(),
                    currency: quote.currency_code.clone().unwrap_or_default(),
                };
                for (sums, amount) in [(&mut spend, &quote.per_hour), (&mut once, &quote.due_now)] {
                    let Some(price) = amount.as_deref().and_then(Amount::parse) else {
                        continue;
                    };
                    let sum = sums.entry(labels.clone()).or_insert(Amount::ZERO);
                    *sum = sum.plus(price).unwrap_or(*sum);
                }
            }
        }
        for state in State::ALL {
            let count = states.get(&state).copied().unwrap_or_default();
            self.operations
                .get_or_create(&StateLabels {
                    state: state.as_str(),
                })
                .set(count);
        }
        self.waiting_for_a_person.set(waiting);
        for (family, sums) in [(&self.spend, spend), (&self.spend_at_once, once)] {
            family.clear();
            for (labels, sum) in sums {
                family
                    .get_or_create(&labels)
                    .set(sum.to_string().parse().unwrap_or_default());
            }
        }
        self.paid_calls_in_window
            .set(i64::from(context.ledger.paid_calls(context.now())));
    }
}

fn state_of(record: &VpsOperation) -> (State, bool) {
    let status = record.status.as_ref();
    let state = status
        .and_then(|status| status.state)
        .unwrap_or(OperationState::Sending)
        .into();
    let asks = state == State::Unknown && status.is_some_and(|status| status.evidence.is_some());
    (state, asks)
}

/// Also a failed job may have left a VM, and HostUp bills it.
fn costs_money(record: &VpsOperation, state: State) -> bool {
    let status = record.status.as_ref();
    let left_a_vm = status.is_some_and(|status| status.result.is_some());
    state == State::Succeeded || (state == State::Failed && left_a_vm)
}

/// The metrics as the controllers see them.
pub struct Listener(pub Arc<Metrics>);

impl Observer for Listener {
    fn reconcile(&self, kind: &'static str, namespace: &str, name: &str, work: Reconcile) -> Reconcile {
        let metrics = self.0.clone();
        // `name` is the span's own in a JSON line.
        let span = tracing::info_span!("reconcile", kind, namespace, object = name);
        let controller = ControllerLabels { controller: kind };
        async move {
            let started = Instant::now();
            metrics.active.get_or_create(&controller).inc();
            let outcome = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                metrics.panics.get_or_create(&controller).inc();
                Err(Error::Panicked)
            });
            metrics.active.get_or_create(&controller).dec();
            metrics
                .durations
                .get_or_create(&controller)
                .observe(started.elapsed().as_secs_f64());
            let result = if outcome.is_ok() { "success" } else { "error" };
            metrics
                .reconciles
                .get_or_create(&ReconcileLabels {
                    controller: kind,
                    result,
                })
                .inc();
            outcome
        }
        .instrument(span)
        .boxed()
    }

    fn paid_call(&self, _record: &Record, state: State) {
        self.0
            .paid_calls
            .get_or_create(&StateLabels {
                state: state.as_str(),
            })
            .inc();
    }

    fn asks_a_person(&self, _record: &Record) {
        self.0.questions.inc();
    }

    fn audit(&self, without_record: usize, twins: usize) {
        self.0.found(without_record, twins);
    }
}
