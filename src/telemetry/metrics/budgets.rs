//! The series of the budgets.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::FloatGauge;
use crate::controllers::context::Context;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    budget: String,
    expense: &'static str,
    currency: String,
}

/// Gauges of the limits of all budgets.
#[derive(Default)]
pub(super) struct BudgetGauges {
    limit: Family<Labels, FloatGauge>,
    used: Family<Labels, FloatGauge>,
    in_progress: Family<Labels, FloatGauge>,
}

impl BudgetGauges {
    pub(super) fn register(&self, ours: &mut Registry) {
        ours.register("budget_limit", "A limit of a VpsBudget", self.limit.clone());
        ours.register(
            "budget_used",
            "Amount of what was bought and counts towards a limit of a VpsBudget",
            self.used.clone(),
        );
        ours.register(
            "budget_in_progress",
            "Amount of calls in progress or with an unknown outcome that count towards a limit of a VpsBudget",
            self.in_progress.clone(),
        );
    }

    pub(super) fn read(&self, context: &Context) {
        if !context.books.ledger.is_complete() {
            return;
        }
        let positions = context
            .books
            .ledger
            .positions(&context.books.budgets, context.now());
        let families = [&self.limit, &self.used, &self.in_progress];
        for family in families {
            family.clear();
        }
        for position in &positions {
            let amounts = [position.limit.most, position.used, position.under_way];
            for (family, amount) in families.into_iter().zip(amounts) {
                let labels = Labels {
                    budget: position.budget.clone(),
                    expense: position.limit.of.field(),
                    currency: position.currency.to_string(),
                };
                let amount = amount.to_string().parse().unwrap_or_default();
                family.get_or_create(&labels).set(amount);
            }
        }
    }
}
