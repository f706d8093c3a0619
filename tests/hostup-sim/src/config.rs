//! `GET /api/v2/vps/{id}/actions/upgrade` and `POST /api/v2/vps/{id}/actions/config`: which options a
//! VPS has, what a change costs, and what committing it does to the world.

use std::time::Duration;

use rust_decimal::{Decimal, RoundingStrategy};

use crate::account::ActionGate;
use crate::body::{invalid, members_of};
use crate::http::Incoming;
use crate::invoice::{Change, Invoice, Until, Waiting};
use crate::ledger::{ConfigPurchase, OptionChange, PriceChange, Purchase, PurchaseKind};
use crate::options::OptionValue;
use crate::problem::Problem;
use crate::routes::Caller;
use crate::vps::Vps;
use crate::wire::Json;
use crate::world::World;

/// When a commit sets the values (no page says).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Apply {
    /// At once.
    #[default]
    Now,
    /// So much later by the world's clock.
    After(Duration),
    /// When its invoice is paid ([`World::pay_invoice`]); makes one in any case.
    WhenPaid,
    /// Never.
    Never,
}

/// How `priceChange.additionalRecurringAmount` is written; the config page calls it nullable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Additional {
    /// As computed, like `recurringAmount` (the page's example has the same figure).
    #[default]
    Same,
    /// `null`
    Null,
    /// This.
    Is(Decimal),
}

/// How config calls go. [`World::config`] holds for all of them, [`World::config_next`] for one
/// commit (so that its price can differ from the one that previews told).
#[derive(Clone, Debug)]
pub struct ConfigBehaviour {
    /// Every unit price times this.
    pub price_factor: Decimal,
    /// The part of a cycle that is due now: `amount` is `recurringAmount` times this.
    pub prorate: Decimal,
    /// `priceChange.amount` instead of what is computed.
    pub amount: Option<Decimal>,
    /// `priceChange.recurringAmount` instead of what is computed.
    pub recurring_amount: Option<Decimal>,
    /// `priceChange.additionalRecurringAmount`.
    pub additional_recurring_amount: Additional,
    /// `priceChange.currencyCode` instead of the VPS's.
    pub currency_code: Option<String>,
    /// When a commit sets the values.
    pub apply: Apply,
    /// A commit makes an open invoice over `amount`, and answers it as `paymentInvoice`.
    pub invoice: bool,
    /// That invoice blocks later commits of the VPS.
    pub invoice_blocks: bool,
    /// A 409 `existing_invoice_blocking` suggests resending with `cancelExistingInvoice: true`
    /// (config page: "only when a 409 [...] suggests resending with this flag").
    pub suggest_cancelling: bool,
    /// A blocking invoice refuses previews too (assumed not to).
    pub blocks_previews: bool,
}

impl Default for ConfigBehaviour {
    fn default() -> ConfigBehaviour {
        ConfigBehaviour {
            price_factor: Decimal::ONE,
            prorate: Decimal::ONE,
            amount: None,
            recurring_amount: None,
            additional_recurring_amount: Additional::default(),
            currency_code: None,
            apply: Apply::default(),
            invoice: false,
            invoice_blocks: false,
            suggest_cancelling: true,
            blocks_previews: false,
        }
    }
}

impl ConfigBehaviour {
    /// The default, applied at another time.
    #[must_use]
    pub fn applied(apply: Apply) -> ConfigBehaviour {
        ConfigBehaviour {
            apply,
            ..ConfigBehaviour::default()
        }
    }

    /// The default, with the prices times this.
    #[must_use]
    pub fn priced(factor: Decimal) -> ConfigBehaviour {
        ConfigBehaviour {
            price_factor: factor,
            ..ConfigBehaviour::default()
        }
    }
}

/// The body, checked.
struct Order {
    values: Vec<(String, OptionValue)>,
    billing_cycle: Option<String>,
    dry_run: bool,
    cancel_existing_invoice: bool,
}

const CYCLES: [(&str, u32); 6] = [
    ("monthly", 1),
    ("quarterly", 3),
    ("semiannually", 6),
    ("annually", 12),
    ("biennially", 24),
    ("triennially", 36),
];

/// The months of a billing cycle; an unknown or missing one counts as one month (assumed).
pub(crate) fn months(cycle: Option<&str>) -> Decimal {
    let found = CYCLES.iter().find(|(word, _)| Some(*word) == cycle);
    found.map_or(1, |(_, months)| *months).into()
}

/// Two decimals at most, halves up (the rounding of the legacy currency metadata; v2 does not say).
pub(crate) fn money(amount: Decimal) -> Decimal {
    amount
        .round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
        .normalize()
}

/// `GET actions/upgrade` (its page, cut inside `configurableOptions[]`; gates assumed). A
/// pay-as-you-go VM has no configurable options (resize and add-disk pages).
pub(crate) fn options(vps: &Vps) -> Json {
    let shown = vps.options.iter().filter(|_| !vps.billing.is_payg);
    Json::object([
        ("vpsId", (&vps.id).into()),
        ("currentProduct", Json::Null),
        (
            "configurableOptions",
            Json::List(shown.map(crate::ConfigOption::json).collect()),
        ),
        ("availablePlans", Json::List(Vec::new())),
        ("actions", Json::object([("canUpgrade", vps.can_upgrade.json())])),
    ])
}

/// `GET actions/billing-cycle` (its page). Whether its blocking invoices are those that block a commit of
/// options is assumed.
pub(crate) fn billing_cycle(vps: &Vps) -> Json {
    let cycle = || Json::from(vps.billing.billing_cycle.clone().map(Json::Word));
    let blocked = vps.blocking_invoice.is_some();
    let gate = if blocked {
        ActionGate::closed(
            "Pay or cancel the open invoice first.",
            Some("existing_invoice_blocking"),
        )
    } else {
        ActionGate::open()
    };
    Json::object([
        ("currentBillingCycle", cycle()),
        (
            "cycles",
            Json::List(vec![Json::object([
                ("billingCycle", cycle()),
                ("amount", vps.billing.amount.into()),
                ("currencyCode", (&vps.billing.currency_code).into()),
                ("isCurrent", true.into()),
            ])]),
        ),
        (
            "blockingInvoices",
            Json::List(vps.blocking_invoice.iter().map(Invoice::json).collect()),
        ),
        ("actions", Json::object([("canChangeBillingCycle", gate.json())])),
    ])
}

impl World {
    /// How the next commit goes that is executed; called twice, the one after it, and so on.
    pub fn config_next(&mut self, behaviour: ConfigBehaviour) {
        self.next_configs.push_back(behaviour);
    }

    /// A person at the panel gives an option another value.
    ///
    /// # Panics
    /// If the VPS has no such option.
    pub fn set_option(&mut self, vps: &str, key: &str, value: impl Into<OptionValue>) {
        let option = self.vps_mut(vps).and_then(|vps| vps.option_mut(key));
        option.expect("an option of this key").current = value.into();
    }

    /// The current value of an option.
    ///
    /// # Panics
    /// If the VPS has no such option.
    #[must_use]
    pub fn option(&self, vps: &str, key: &str) -> &OptionValue {
        let option = self.vps(vps).and_then(|vps| vps.option(key));
        &option.expect("an option of this key").current
    }

    /// From now on every option of the VPS costs its present price times this. In a hook
    /// ([`Backstage::after_next`](crate::Backstage::after_next)) it changes prices between two calls.
    ///
    /// # Panics
    /// If there is no such VPS.
    pub fn reprice(&mut self, vps: &str, factor: Decimal) {
        for option in &mut self.vps_mut(vps).expect("a VPS").options {
            option.price *= factor;
        }
    }

    /// The requests (by their index in the log) that said `cancelExistingInvoice: true` for nothing:
    /// no invoice blocked, or it was a dry run.
    #[must_use]
    pub fn needless_cancellations(&self) -> &[usize] {
        &self.needless_cancellations
    }

    /// `POST actions/config` (its page). Without `act` a commit is answered as if it had been.
    pub(crate) fn configure(
        &mut self,
        caller: &Caller,
        incoming: &Incoming,
        vps: &str,
        act: bool,
    ) -> Result<(u16, Json), Problem> {
        let own = self.visible_vps(caller.account, vps)?.clone();
        if own.billing.is_payg {
            // Assumed: nothing says how a VM without such options refuses.
            return Err(Problem::new(409, "vps_not_ready")
                .detail("A Cloud VPS has no configurable options. Resize it instead."));
        }
        let order = checked_order(&own, incoming)?;
        let behaviour = match self.next_configs.front() {
            Some(next) if !order.dry_run => next.clone(),
            _ => self.config.clone(),
        };
        let blocking = own
            .blocking_invoice
            .clone()
            .filter(|_| !order.dry_run || behaviour.blocks_previews);
        if order.cancel_existing_invoice && (order.dry_run || blocking.is_none()) {
            self.needless_cancellations.push(caller.log_index);
        }
        if !order.dry_run && self.enforce_gates {
            check_gates(&own, &order)?;
        }
        if let Some(invoice) = &blocking
            && (order.dry_run || !order.cancel_existing_invoice)
        {
            return Err(blocked(invoice, behaviour.suggest_cancelling));
        }
        let cycle = order.billing_cycle.clone().or(own.billing.billing_cycle.clone());
        let price = price(&own, &order, &behaviour, cycle.as_deref());
        let invoice = if order.dry_run {
            None
        } else {
            self.commit(
                caller,
                &own,
                order.values,
                &behaviour,
                &price,
                blocking,
                cycle,
                act,
            )
        };
        let body = Json::object([
            ("dryRun", order.dry_run.into()),
            ("priceChange", price.json()),
            ("paymentInvoice", invoice.map(|invoice| invoice.json()).into()),
            ("actions", Json::object([("canCommit", own.can_commit.json())])),
        ]);
        Ok((200, body))
    }

    #[allow(clippy::too_many_arguments, reason = "what the ledger line holds")]
    fn commit(
        &mut self,
        caller: &Caller,
        vps: &Vps,
        values: Vec<(String, OptionValue)>,
        behaviour: &ConfigBehaviour,
        price: &PriceChange,
        blocking: Option<Invoice>,
        billing_cycle: Option<String>,
        act: bool,
    ) -> Option<Invoice> {
        let invoice = (behaviour.invoice || behaviour.apply == Apply::WhenPaid).then(|| Invoice {
            amount: price.amount,
            currency_code: price.currency_code.clone(),
            number: Some(format!("2026-{}", 10_500 + self.invoices.len())),
            ..Invoice::open(&self.ids.next("inv"), "0")
        });
        if !act {
            return invoice;
        }
        self.next_configs.pop_front();
        let cancelled_invoice = blocking.map(|invoice| invoice.id);
        if let Some(id) = &cancelled_invoice {
            let cancelled = self.close_invoice(id, "cancelled");
            self.cancelled.extend(cancelled);
        }
        let changes = values.iter().map(|(key, to)| OptionChange {
            key: key.clone(),
            from: vps.option(key).expect("the order was checked").current.clone(),
            to: to.clone(),
        });
        let config = ConfigPurchase {
            changes: changes.collect(),
            price: price.clone(),
            billing_cycle,
            invoice: invoice.as_ref().map(|invoice| invoice.id.clone()),
            cancelled_invoice,
        };
        let line = Purchase {
            config: Some(config),
            ..self.blank_purchase(caller, PurchaseKind::Config, &vps.id)
        };
        self.ledger.push(line);
        let until = match behaviour.apply {
            Apply::Now => Some(Until::Time(self.now())),
            Apply::After(time) => Some(Until::Time(self.now() + time)),
            Apply::WhenPaid => invoice.as_ref().map(|invoice| Until::Paid(invoice.id.clone())),
            Apply::Never => None,
        };
        self.waiting.extend(until.map(|until| Waiting {
            vps: vps.id.clone(),
            change: Change::Options(values),
            until,
        }));
        self.settle();
        self.invoices.extend(invoice.clone());
        if behaviour.invoice_blocks
            && let Some(vps) = self.vps_mut(&vps.id)
        {
            vps.blocking_invoice.clone_from(&invoice);
        }
        invoice
    }
}

/// The body's rules (config page, "Body"). Unknown members are refused as sibling routes say of
/// themselves; that `resources` may not be empty is assumed.
fn checked_order(vps: &Vps, incoming: &Incoming) -> Result<Order, Problem> {
    let members = members_of(incoming)?;
    let mut errors = Vec::new();
    let mut refuse = |pointer: String, detail: String| errors.push((pointer, detail));
    let flag = |name: &str, refuse: &mut dyn FnMut(String, String)| match members.get(name) {
        None => false,
        Some(value) => value.as_bool().unwrap_or_else(|| {
            refuse(format!("/{name}"), format!("`{name}` must be a boolean."));
            false
        }),
    };
    let dry_run = flag("dryRun", &mut refuse);
    let cancel_existing_invoice = flag("cancelExistingInvoice", &mut refuse);
    for name in members.keys() {
        let known = ["resources", "billingCycle", "dryRun", "cancelExistingInvoice"];
        if !known.contains(&name.as_str()) {
            refuse(format!("/{name}"), format!("`{name}` is not a known field."));
        }
    }
    let cycle = members.get("billingCycle");
    let billing_cycle = cycle.and_then(|cycle| cycle.as_str()).map(str::to_owned);
    if cycle.is_some() {
        let known = |word: &String| CYCLES.iter().any(|(own, _)| own == word);
        if !billing_cycle.as_ref().is_some_and(known) {
            let detail = "`billingCycle` is not a known billing cycle.";
            refuse("/billingCycle".to_owned(), detail.to_owned());
        } else if !dry_run {
            let detail = "`billingCycle` is allowed only with `dryRun: true`. \
                          Commit it with /actions/billing-cycle.";
            refuse("/billingCycle".to_owned(), detail.to_owned());
        }
    }
    let mut values = Vec::new();
    match members.get("resources").map(|resources| resources.as_object()) {
        Some(Some(resources)) if !resources.is_empty() => {
            for (key, value) in resources {
                let checked = match (vps.option(key), OptionValue::from_json(value)) {
                    (None, _) => Err(format!("`{key}` is not a configurable option.")),
                    (_, None) => Err(format!("`{key}` must be a primitive value.")),
                    (Some(option), Some(value)) => option.check(&value).map(|()| value),
                };
                match checked {
                    Ok(value) => values.push((key.clone(), value)),
                    Err(detail) => refuse(format!("/resources/{key}"), detail),
                }
            }
        }
        Some(_) => refuse(
            "/resources".to_owned(),
            "`resources` must be an object of option keys.".to_owned(),
        ),
        None => refuse("/resources".to_owned(), "`resources` is required.".to_owned()),
    }
    if errors.is_empty() {
        Ok(Order {
            values,
            billing_cycle,
            dry_run,
            cancel_existing_invoice,
        })
    } else {
        Err(invalid(errors))
    }
}

fn check_gates(vps: &Vps, order: &Order) -> Result<(), Problem> {
    vps.can_commit.check("pending_orders")?;
    let options = order.values.iter().filter_map(|(key, _)| vps.option(key));
    let mut gates = options.filter_map(|option| option.can_change.as_ref());
    gates.try_for_each(|gate| gate.check("vps_not_ready"))
}

/// 409 `existing_invoice_blocking`. How it suggests the flag is assumed, in text and extensions.
fn blocked(invoice: &Invoice, suggest: bool) -> Problem {
    let mut problem = Problem::new(409, "existing_invoice_blocking");
    problem
        .extensions
        .push(("invoiceId".to_owned(), (&invoice.id).into()));
    if suggest {
        problem
            .extensions
            .push(("cancelExistingInvoice".to_owned(), true.into()));
        problem.detail(
            "An unpaid invoice blocks this change. Pay it, or resend the request with \
             cancelExistingInvoice: true to cancel it.",
        )
    } else {
        problem.detail("An unpaid invoice blocks this change. Pay it first.")
    }
}

/// The price of an order: the difference of the monthly prices, in the VPS's billing cycle; negative
/// where values are lowered (a credit; assumed).
fn price(vps: &Vps, order: &Order, behaviour: &ConfigBehaviour, cycle: Option<&str>) -> PriceChange {
    let monthly: Decimal = order
        .values
        .iter()
        .filter_map(|(key, to)| {
            let option = vps.option(key)?;
            Some(option.monthly(to).saturating_sub(option.monthly(&option.current)))
        })
        .fold(Decimal::ZERO, Decimal::saturating_add);
    let recurring = monthly
        .saturating_mul(behaviour.price_factor)
        .saturating_mul(months(cycle));
    let recurring_amount = behaviour.recurring_amount.unwrap_or_else(|| money(recurring));
    PriceChange {
        amount: behaviour
            .amount
            .unwrap_or_else(|| money(recurring.saturating_mul(behaviour.prorate))),
        recurring_amount,
        additional_recurring_amount: match behaviour.additional_recurring_amount {
            Additional::Same => Some(recurring_amount),
            Additional::Null => None,
            Additional::Is(amount) => Some(amount),
        },
        currency_code: behaviour
            .currency_code
            .clone()
            .unwrap_or_else(|| vps.billing.currency_code.clone()),
    }
}

impl PriceChange {
    /// The members of the config page's `priceChange`.
    fn json(&self) -> Json {
        Json::object([
            ("amount", self.amount.into()),
            ("recurringAmount", self.recurring_amount.into()),
            (
                "additionalRecurringAmount",
                self.additional_recurring_amount.into(),
            ),
            ("currencyCode", (&self.currency_code).into()),
        ])
    }
}
