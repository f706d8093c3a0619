//! The series that are read off the ledger: they are true again right after a restart.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{FloatGauge, IntGauge, StateLabels};
use crate::controllers::context::Context;
use crate::domain::ledger::record::State;
use crate::domain::ledger::{Purse, Spending};
use crate::domain::values::money::Amount;

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

impl MoneyLabels {
    fn of(purse: &Purse) -> Self {
        Self {
            namespace: purse.namespace.to_string(),
            currency: purse.currency.clone(),
        }
    }
}

type Money = Family<MoneyLabels, FloatGauge>;
type SumOf = fn(&Spending) -> Option<Amount>;

/// Gauges of the ledger.
#[derive(Default)]
pub(super) struct LedgerGauges {
    operations: Family<StateLabels, IntGauge>,
    unreadable: IfKnown,
    waiting_for_a_person: IfKnown,
    oldest: Family<StateLabels, IntGauge>,
    left_billing: IfKnown,
    spend_per_hour: Money,
    spend_per_month: Money,
    spend_at_once: Money,
    approved_per_hour: Money,
    approved_per_month: Money,
    approved_at_once: Money,
    paid_calls_in_window: IfKnown,
    most_paid_calls: IfKnown,
    last_life: IfKnown,
}

impl LedgerGauges {
    pub(super) fn register(&self, ours: &mut Registry) {
        ours.register(
            "operations",
            "Number of records in the ledger, by state",
            self.operations.clone(),
        );
        ours.register(
            "operations_unreadable",
            "Number of records that this version cannot read; no other series includes them",
            self.unreadable.clone(),
        );
        ours.register(
            "operations_waiting_for_a_person",
            "Number of records whose outcome a user must decide",
            self.waiting_for_a_person.clone(),
        );
        ours.register(
            "oldest_operation_timestamp_seconds",
            "Unix time at which the oldest record in the state Sending, Accepted or Unknown was created; absent if there is none",
            self.oldest.clone(),
        );
        ours.register(
            "vms_left_billing",
            "Number of VMs that failed jobs have left and that HostUp provides; HostUp bills each until it is cancelled",
            self.left_billing.clone(),
        );
        ours.register(
            "spend_per_hour",
            "Approved hourly price of the VMs that were bought and that HostUp provides",
            self.spend_per_hour.clone(),
        );
        ours.register(
            "spend_per_month",
            "Approved recurring price of a month of all changes of options that were executed; may be more than HostUp bills",
            self.spend_per_month.clone(),
        );
        ours.register(
            "spend_at_once",
            "Approved amounts due at once of all changes of options that were executed; credits are negative",
            self.spend_at_once.clone(),
        );
        ours.register(
            "approved_per_hour",
            "Approved hourly price of VMs whose call is in progress or has an unknown outcome; spend_per_hour includes it after the purchase",
            self.approved_per_hour.clone(),
        );
        ours.register(
            "approved_per_month",
            "Approved recurring price of a month whose call is in progress or has an unknown outcome; spend_per_month includes it after the change",
            self.approved_per_month.clone(),
        );
        ours.register(
            "approved_at_once",
            "Approved amounts due at once whose call is in progress or has an unknown outcome; spend_at_once includes them after the change",
            self.approved_at_once.clone(),
        );
        ours.register(
            "ledger_watch_timestamp_seconds",
            "Unix time at which the watch of the records was last known to work; after three minutes without it the operator buys nothing",
            self.last_life.clone(),
        );
        ours.register(
            "paid_calls_last_24h",
            "Number of paid calls that count towards --max-paid-calls",
            self.paid_calls_in_window.clone(),
        );
        ours.register(
            "max_paid_calls",
            "Number of paid calls that --max-paid-calls allows in 24 hours; absent if there is no cap",
            self.most_paid_calls.clone(),
        );
    }

    /// Shows the ledger, once all of it is known: a start must not look as if nothing had been bought.
    pub(super) fn read(&self, context: &Context) {
        let last = context.books.ledger.heartbeat().last();
        self.last_life.set(Some(last.wall.as_second()));
        if !context.books.ledger.is_complete() {
            return;
        }
        let figures = context.books.ledger.figures();
        for state in State::ALL {
            let count = figures.states.get(&state).copied().unwrap_or_default();
            self.operations
                .get_or_create(&StateLabels::of(state))
                .set(shown(count));
        }
        self.unreadable.set(Some(shown(figures.unreadable)));
        self.waiting_for_a_person
            .set(Some(shown(figures.waiting_for_a_person)));
        self.left_billing.set(Some(shown(figures.left_billing)));
        self.oldest.clear();
        for (state, claimed) in figures.oldest {
            self.oldest
                .get_or_create(&StateLabels::of(state))
                .set(claimed.as_second());
        }
        for (family, sum) in self.money() {
            family.clear();
            for spending in &figures.money {
                if let Some(sum) = sum(spending) {
                    family
                        .get_or_create(&MoneyLabels::of(&spending.purse))
                        .set(sum.to_string().parse().unwrap_or_default());
                }
            }
        }
        self.paid_calls_in_window.set(Some(i64::from(
            context.books.ledger.paid_calls_of_all(context.now()),
        )));
        self.most_paid_calls.set(context.settings.caps.all.map(i64::from));
    }

    /// The gauges of money, each with its sum.
    fn money(&self) -> [(&Money, SumOf); 6] {
        [
            (&self.spend_per_hour, |spending| spending.spent.per_hour),
            (&self.spend_per_month, |spending| spending.spent.per_month),
            (&self.spend_at_once, |spending| spending.spent.at_once),
            (&self.approved_per_hour, |spending| spending.approved.per_hour),
            (&self.approved_per_month, |spending| spending.approved.per_month),
            (&self.approved_at_once, |spending| spending.approved.at_once),
        ]
    }
}

fn shown(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
