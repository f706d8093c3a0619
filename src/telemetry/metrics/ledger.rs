//! The series that are read off the ledger: they are true again right after a restart.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{FloatGauge, IntGauge, StateLabels};
use crate::api::operation::{OperationState, VpsOperation};
use crate::controllers::context::Context;
use crate::domain::money::Amount;
use crate::domain::record::State;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MoneyLabels {
    namespace: String,
    currency: String,
}

/// A gauge without labels that is absent while its value is not known.
#[derive(Clone, Debug, Default)]
struct IfKnown(Arc<Mutex<Option<i64>>>);

impl IfKnown {
    fn set(&self, value: Option<i64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl EncodeMetric for IfKnown {
    fn encode(&self, encoder: MetricEncoder) -> fmt::Result {
        let value = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        value.map_or(Ok(()), |value| ConstGauge::new(value).encode(encoder))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

type Money = Family<MoneyLabels, FloatGauge>;

/// Gauges of the ledger.
#[derive(Default)]
pub(super) struct LedgerGauges {
    operations: Family<StateLabels, IntGauge>,
    unreadable: IfKnown,
    waiting_for_a_person: IfKnown,
    oldest: Family<StateLabels, IntGauge>,
    left_billing: IfKnown,
    spend_per_hour: Money,
    spend_at_once: Money,
    approved_per_hour: Money,
    approved_at_once: Money,
    paid_calls_in_window: IfKnown,
    most_paid_calls: IfKnown,
    last_life: IfKnown,
}

/// What a record says of the money that was approved for it.
enum Approved {
    /// It may still be spent, or may have been.
    Open,
    /// What it was approved for was bought.
    Spent,
    /// Nothing was bought, or a person has given it up.
    Unspent,
}

impl LedgerGauges {
    pub(super) fn register(&self, ours: &mut Registry) {
        ours.register(
            "operations",
            "Records of the ledger by state",
            self.operations.clone(),
        );
        ours.register(
            "operations_unreadable",
            "Records that this version cannot read; they are in no other series",
            self.unreadable.clone(),
        );
        ours.register(
            "operations_waiting_for_a_person",
            "Records whose outcome a person must decide",
            self.waiting_for_a_person.clone(),
        );
        ours.register(
            "oldest_operation_timestamp_seconds",
            "Unix time at which the oldest record that is Sending, Accepted or Unknown was made; absent where none is",
            self.oldest.clone(),
        );
        ours.register(
            "vms_left_billing",
            "VMs that failed jobs left, also those that are cancelled since; HostUp bills each until then",
            self.left_billing.clone(),
        );
        ours.register(
            "spend_per_hour",
            "Approved hourly price of all VMs that were bought, also of those that are cancelled since",
            self.spend_per_hour.clone(),
        );
        ours.register(
            "spend_at_once",
            "Approved amounts due at once of all changes of options that were made; credits are negative",
            self.spend_at_once.clone(),
        );
        ours.register(
            "approved_per_hour",
            "Approved hourly price of VMs whose call is under way or of unknown outcome; once bought it is spend_per_hour",
            self.approved_per_hour.clone(),
        );
        ours.register(
            "approved_at_once",
            "Approved amounts due at once whose call is under way or of unknown outcome; once made it is spend_at_once",
            self.approved_at_once.clone(),
        );
        ours.register(
            "ledger_watch_timestamp_seconds",
            "Unix time at which the watch of the records last showed life; nothing is bought once that is three minutes ago",
            self.last_life.clone(),
        );
        ours.register(
            "paid_calls_last_24h",
            "Paid calls that count against --max-paid-calls",
            self.paid_calls_in_window.clone(),
        );
        ours.register(
            "max_paid_calls",
            "Paid calls that --max-paid-calls allows in 24 hours; absent without a cap",
            self.most_paid_calls.clone(),
        );
    }

    /// Shows the ledger, once all of it is known: a start must not look as if nothing had been bought.
    pub(super) fn read(&self, context: &Context) {
        let last = context.ledger.heartbeat().last();
        self.last_life.set(Some(last.wall.as_second()));
        if !context.ledger.is_complete() {
            return;
        }
        let mut states: HashMap<State, i64> = HashMap::new();
        let mut oldest: HashMap<State, Timestamp> = HashMap::new();
        let (mut unreadable, mut waiting, mut left_billing) = (0, 0, 0);
        let mut spent = Sums::default();
        let mut open = Sums::default();
        for object in context.ledger.ours() {
            let Ok(record) = &object.0 else {
                unreadable += 1;
                continue;
            };
            let (state, asks) = state_of(record);
            *states.entry(state).or_default() += 1;
            waiting += i64::from(asks);
            left_billing += i64::from(state == State::Failed && left_a_vm(record));
            if let (false, Ok(made_at)) = (state.is_final(), record.spec.claim.made_at.parse()) {
                let earliest = oldest.entry(state).or_insert(made_at);
                *earliest = made_at.min(*earliest);
            }
            match approved(record, state) {
                Approved::Open => open.add(record),
                Approved::Spent => spent.add(record),
                Approved::Unspent => {}
            }
        }
        for state in State::ALL {
            let count = states.get(&state).copied().unwrap_or_default();
            self.operations.get_or_create(&StateLabels::of(state)).set(count);
        }
        self.unreadable.set(Some(unreadable));
        self.waiting_for_a_person.set(Some(waiting));
        self.left_billing.set(Some(left_billing));
        self.oldest.clear();
        for (state, made_at) in oldest {
            self.oldest
                .get_or_create(&StateLabels::of(state))
                .set(made_at.as_second());
        }
        spent.show(&self.spend_per_hour, &self.spend_at_once);
        open.show(&self.approved_per_hour, &self.approved_at_once);
        self.paid_calls_in_window
            .set(Some(i64::from(context.ledger.paid_calls_of_all(context.now()))));
        self.most_paid_calls.set(context.settings.caps.all.map(i64::from));
    }
}

/// Sums of quotes by namespace and currency.
#[derive(Default)]
struct Sums {
    per_hour: HashMap<MoneyLabels, Amount>,
    at_once: HashMap<MoneyLabels, Amount>,
}

impl Sums {
    fn add(&mut self, record: &VpsOperation) {
        let Some(quote) = &record.spec.quote else { return };
        let labels = MoneyLabels {
            namespace: record.spec.subject.namespace.clone(),
            currency: quote.currency_code.clone().unwrap_or_default(),
        };
        for (sums, amount) in [
            (&mut self.per_hour, &quote.per_hour),
            (&mut self.at_once, &quote.due_now),
        ] {
            let Some(price) = amount.as_deref().and_then(Amount::parse) else {
                continue;
            };
            let sum = sums.entry(labels.clone()).or_insert(Amount::ZERO);
            *sum = sum.plus(price).unwrap_or(*sum);
        }
    }

    fn show(self, per_hour: &Money, at_once: &Money) {
        for (family, sums) in [(per_hour, self.per_hour), (at_once, self.at_once)] {
            family.clear();
            for (labels, sum) in sums {
                family
                    .get_or_create(&labels)
                    .set(sum.to_string().parse().unwrap_or_default());
            }
        }
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

fn left_a_vm(record: &VpsOperation) -> bool {
    record
        .status
        .as_ref()
        .is_some_and(|status| status.result.is_some())
}

fn approved(record: &VpsOperation, state: State) -> Approved {
    match state {
        State::Sending | State::Accepted | State::Unknown => Approved::Open,
        State::Succeeded => Approved::Spent,
        // HostUp bills it.
        State::Failed if left_a_vm(record) => Approved::Spent,
        State::Failed | State::NotSent | State::Rejected | State::NotExecuted | State::Abandoned => {
            Approved::Unspent
        }
    }
}
