//! Every series, in one place. Names are those of controller-runtime where the meaning is the same.

mod approvals;
mod budgets;
mod ledger;
mod provider;

use std::collections::HashSet;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing::Instrument;

use crate::clock::Clock;
use crate::controllers::Error;
use crate::controllers::context::Context;
use crate::controllers::policies::Guard;
use crate::controllers::settings::WatchedNamespaces;
use crate::controllers::telemetry_hooks::{Life, Reconcile, TelemetryHooks};
use crate::domain::ledger::record::{Record, State};
use crate::hostup::Route;
use crate::ledger::PurchaseHooks;
use approvals::ApprovalGauges;
use budgets::BudgetGauges;
use ledger::LedgerGauges;
use provider::Provider;

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
struct ApiCallLabels {
    code: String,
    method: String,
    host: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

impl StateLabels {
    fn of(state: State) -> Self {
        Self {
            state: state.as_str(),
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WatchLabels {
    controller: &'static str,
    namespace: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FindingLabels {
    finding: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PolicyLabels {
    policy: &'static str,
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
    errors: Family<ControllerLabels, Counter>,
    active: Family<ControllerLabels, IntGauge>,
    at_once: Family<ControllerLabels, IntGauge>,
    panics: Family<ControllerLabels, Counter>,
    api_calls: Family<ApiCallLabels, Counter>,
    provider: Provider,
    paid_calls: Family<StateLabels, Counter>,
    questions: Counter,
    findings: Family<FindingLabels, IntGauge>,
    watches: Family<WatchLabels, IntGauge>,
    ledger: LedgerGauges,
    budgets: BudgetGauges,
    approvals: ApprovalGauges,
    leader: Family<NameLabels, IntGauge>,
    policies: Family<PolicyLabels, IntGauge>,
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
            errors: Family::default(),
            active: Family::default(),
            at_once: Family::default(),
            panics: Family::default(),
            api_calls: Family::default(),
            provider: Provider::default(),
            paid_calls: Family::default(),
            questions: Counter::default(),
            findings: Family::default(),
            watches: Family::default(),
            ledger: LedgerGauges::default(),
            budgets: BudgetGauges::default(),
            approvals: ApprovalGauges::default(),
            leader: Family::default(),
            policies: Family::default(),
            context: OnceLock::new(),
            written: std::sync::Mutex::default(),
        };
        metrics.register();
        metrics.begin();
        metrics
    }
}

/// The controllers, as labels.
const CONTROLLERS: [&str; 3] = ["vpsbackuprestore", "vpsresourceconfig", LEDGER];
/// The one that follows the records.
const LEDGER: &str = "vpsoperation";
/// What a paid call can come to at once.
const PAID: [State; 4] = [State::Accepted, State::NotSent, State::Rejected, State::Unknown];

impl Metrics {
    fn register(&mut self) {
        let of_controllers = self.registry.sub_registry_with_prefix("controller_runtime");
        of_controllers.register(
            "reconcile",
            "Total number of reconciles, by result",
            self.reconciles.clone(),
        );
        of_controllers.register(
            "reconcile_time_seconds",
            "Duration of a reconcile",
            self.durations.clone(),
        );
        of_controllers.register(
            "reconcile_errors",
            "Total number of failed reconciles; each is tried again",
            self.errors.clone(),
        );
        of_controllers.register(
            "active_workers",
            "Number of reconciles in progress",
            self.active.clone(),
        );
        of_controllers.register(
            "max_concurrent_reconciles",
            "Maximum number of reconciles in progress at the same time",
            self.at_once.clone(),
        );
        of_controllers.register(
            "reconcile_panics",
            "Total number of reconciles that panicked",
            self.panics.clone(),
        );
        self.registry.register(
            "leader_election_master_status",
            "1 if this process is the leader, otherwise 0",
            self.leader.clone(),
        );
        self.registry.register(
            "rest_client_requests",
            "Total number of calls to the API server, by status code, method and host",
            self.api_calls.clone(),
        );
        let ours = self.registry.sub_registry_with_prefix("hostup_operator");
        self.provider.register(ours);
        ours.register(
            "paid_calls",
            "Total number of paid calls, by the resulting state",
            self.paid_calls.clone(),
        );
        ours.register(
            "questions",
            "Total number of operations that required a manual decision",
            self.questions.clone(),
        );
        ours.register(
            "audit_findings",
            "Findings in the last lists of VMs: VMs without a record that accounts for them, and purchases with several VMs",
            self.findings.clone(),
        );
        ours.register(
            "watch_up",
            "1 if the watch of a controller works, 0 if it fails; the label namespace is empty if all namespaces are watched",
            self.watches.clone(),
        );
        ours.register(
            "policies_in_force",
            "1 if the admission policy protects every object, otherwise 0; absent if that is not known",
            self.policies.clone(),
        );
        self.ledger.register(ours);
        self.budgets.register(ours);
        self.approvals.register(ours);
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
            drop(self.errors.get_or_create(&ControllerLabels { controller }));
            drop(self.panics.get_or_create(&ControllerLabels { controller }));
            for result in ["success", "error"] {
                drop(
                    self.reconciles
                        .get_or_create(&ReconcileLabels { controller, result }),
                );
            }
        }
        for state in PAID {
            drop(self.paid_calls.get_or_create(&StateLabels::of(state)));
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

    /// The controllers run, and the watch of the records has shown no life for too long.
    pub fn ledger_is_silent(&self) -> bool {
        let context = self.context.get();
        context.is_some_and(|context| context.books.ledger.heartbeat().is_silent())
    }

    /// Lets the gauges be read off the ledger and the accounts from now on.
    pub fn attach(&self, context: Arc<Context>) {
        let workers = i64::from(context.settings.workers);
        let namespaces = match &context.settings.watched {
            WatchedNamespaces::All => 1,
            WatchedNamespaces::Only(names) => i64::try_from(names.len()).unwrap_or(i64::MAX),
        };
        for controller in CONTROLLERS {
            // Each namespace that is named has controllers of its own; the ledger is one.
            let of = if controller == LEDGER { 1 } else { namespaces };
            self.at_once
                .get_or_create(&ControllerLabels { controller })
                .set(workers.saturating_mul(of));
        }
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
        self.provider.called(route, class, took);
    }

    /// Tells of one call to the API server; `code` is that of the answer.
    pub fn api_call(&self, code: &str, method: &str, host: &str) {
        self.api_calls
            .get_or_create(&ApiCallLabels {
                code: code.to_owned(),
                method: method.to_owned(),
                host: host.to_owned(),
            })
            .inc();
    }

    /// All series in the OpenMetrics format.
    ///
    /// # Errors
    /// When a value cannot be formatted, which the types exclude.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let _one_at_a_time = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(context) = self.context.get() {
            self.ledger.read(context);
            self.budgets.read(context);
            self.approvals.read(context);
            self.provider.read(&context.accounts.states());
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// All series in Prometheus' older text format, which has a counter's suffix in the name of its type.
    ///
    /// # Errors
    /// As [`Metrics::text`].
    pub fn older_text(&self) -> Result<String, fmt::Error> {
        Ok(as_older_text(&self.text()?))
    }
}

fn as_older_text(text: &str) -> String {
    let counters: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut older = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|what| {
            let (name, rest) = line.strip_prefix(what)?.split_once(' ')?;
            counters
                .contains(name)
                .then(|| format!("{what}{name}_total {rest}"))
        });
        older.push_str(described.as_deref().unwrap_or(line));
        older.push('\n');
    }
    older
}

/// The metrics as the controllers see them.
pub struct Listener {
    /// Where they are kept.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
}

impl PurchaseHooks for Listener {
    fn paid_call(&self, _record: &Record, state: State) {
        self.metrics
            .paid_calls
            .get_or_create(&StateLabels::of(state))
            .inc();
    }

    fn asks_a_person(&self, _record: &Record) {
        self.metrics.questions.inc();
    }
}

impl TelemetryHooks for Listener {
    fn reconcile(&self, kind: &'static str, namespace: &str, name: &str, work: Reconcile) -> Reconcile {
        let (metrics, clock) = (self.metrics.clone(), self.clock.clone());
        // `name` is the span's own in a JSON line.
        let span = tracing::info_span!("reconcile", kind, namespace, object = name);
        let controller = ControllerLabels { controller: kind };
        async move {
            let started = clock.now().monotonic;
            metrics.active.get_or_create(&controller).inc();
            let outcome = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                metrics.panics.get_or_create(&controller).inc();
                Err(Error::Panicked)
            });
            metrics.active.get_or_create(&controller).dec();
            metrics
                .durations
                .get_or_create(&controller)
                .observe(clock.elapsed(started).as_secs_f64());
            let result = if outcome.is_ok() {
                "success"
            } else {
                metrics.errors.get_or_create(&controller).inc();
                "error"
            };
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

    fn watch(&self, kind: &'static str, namespace: &str, life: Life) {
        let labels = WatchLabels {
            controller: kind,
            namespace: namespace.to_owned(),
        };
        let up = i64::from(life != Life::Failed);
        self.metrics.watches.get_or_create(&labels).set(up);
    }

    fn audit(&self, without_record: usize, twins: usize) {
        self.metrics.found(without_record, twins);
    }

    fn policy(&self, guard: Guard, in_force: Option<bool>) {
        let label = PolicyLabels {
            policy: guard.as_str(),
        };
        match in_force {
            Some(in_force) => {
                self.metrics
                    .policies
                    .get_or_create(&label)
                    .set(i64::from(in_force));
            }
            None => {
                self.metrics.policies.remove(&label);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_text_names_counters_as_their_samples_are_named() {
        let newer = "# HELP a A.\n# TYPE a counter\na_total{b=\"c\"} 1\n# HELP a_b B.\n# TYPE a_b gauge\na_b 2\n# EOF\n";
        let older = "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n# HELP a_b B.\n# TYPE a_b gauge\na_b 2\n";
        assert_eq!(as_older_text(newer), older);
    }
}
