//! Budgets: the money that a cluster's administrator lets namespaces spend, held against what they have spent.

use std::fmt;
use std::time::Duration;

use crate::consent::price::{Price, Recurring};
use crate::ledger::money::Amounts;
use crate::ledger::record::Invoice;
use crate::values::ids::RecordName;
use crate::values::money::{Amount, Currency};

/// A `VpsBudget`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: String,
    /// The currency of its limits.
    pub currency: Currency,
    /// What it limits.
    pub limits: Vec<Limit>,
}

/// The most of one kind of expense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The expense.
    pub of: Expense,
    /// The most that may be spent, this included.
    pub most: Amount,
}

/// A kind of expense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expense {
    /// The price of an hour of all VMs that HostUp provides.
    PerHour,
    /// The recurring price of a month of all options that were bought.
    PerMonth,
    /// What was due at once, for all orders of the last `within`.
    DueNow {
        /// The length of the window.
        within: Duration,
    },
}

impl Expense {
    /// Its field in the spec of a `VpsBudget`.
    pub fn field(self) -> &'static str {
        match self {
            Self::PerHour => "perHour",
            Self::PerMonth => "perMonth",
            Self::DueNow { .. } => "dueNow",
        }
    }

    /// An amount of this expense, for people, e.g. `0.66 SEK/h`.
    fn said(self, amount: Amount, currency: &Currency) -> String {
        match self {
            Self::PerHour => format!("{amount} {currency}/h"),
            Self::PerMonth => format!("{amount} {currency}/month"),
            Self::DueNow { within } => {
                let hours = within.as_secs() / (60 * 60);
                let within = if hours % 24 == 0 {
                    format!("{}d", hours / 24)
                } else {
                    format!("{hours}h")
                };
                format!("{amount} {currency} within {within}")
            }
        }
    }

    fn of_price(self, price: &Price) -> Part {
        match (self, price) {
            (Self::PerHour, Price::Hourly(price)) => Part::of(price.adds()),
            (Self::PerHour, Price::Change(_))
            | (Self::PerMonth | Self::DueNow { .. }, Price::Hourly(_))
            | (_, Price::Nothing) => Part::Nothing,
            (Self::DueNow { .. }, Price::Change(price)) => Part::of(price.due_now),
            (Self::PerMonth, Price::Change(price)) => match price.recurring {
                Recurring::PerMonth(amount) => Part::of(amount),
                Recurring::PerCycle(amount) if Part::of(amount) == Part::Nothing => Part::Nothing,
                Recurring::PerCycle(_) | Recurring::Unsaid => Part::Unsaid,
            },
        }
    }
}

/// What an order adds to one kind of expense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Nothing, or less than nothing: a credit needs no budget.
    Nothing,
    Amount(Amount),
    /// HostUp does not say how much.
    Unsaid,
}

impl Part {
    fn of(amount: Amount) -> Self {
        if amount > Amount::ZERO {
            Self::Amount(amount)
        } else {
            Self::Nothing
        }
    }
}

/// Where one limit of a budget stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The budget.
    pub budget: String,
    /// Its currency.
    pub currency: Currency,
    /// The limit.
    pub limit: Limit,
    /// For what was bought.
    pub used: Amount,
    /// For calls that are under way or of unknown outcome.
    pub under_way: Amount,
}

impl Position {
    /// What may still be spent; nothing where the budget is exceeded.
    pub fn left(&self) -> Amount {
        let left = self.limit.most.minus(self.used);
        let left = left.and_then(|left| left.minus(self.under_way));
        left.unwrap_or(Amount::ZERO).max(Amount::ZERO)
    }

    /// What is used and under way, and the limit, for people, e.g. `1.32 of 5.00 SEK/h`.
    pub fn summary(&self) -> String {
        let taken = self.used.plus(self.under_way).unwrap_or(self.used);
        format!("{taken} of {}", self.said(self.limit.most))
    }

    /// Whether 80 per cent of the limit are used or under way.
    pub fn is_near_limit(&self) -> bool {
        let taken = self.used.plus(self.under_way);
        let near = taken
            .and_then(|taken| taken.times(5))
            .zip(self.limit.most.times(4));
        near.is_none_or(|(taken, near)| taken > Amount::ZERO && taken >= near)
    }

    fn has_room_for(&self, amount: Amount) -> bool {
        amount <= self.left()
    }

    fn said(&self, amount: Amount) -> String {
        self.limit.of.said(amount, &self.currency)
    }
}

/// The budgets of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Where their limits stand.
    pub positions: Vec<Position>,
    /// The budgets that cannot be read, each with the reason. They may be of any namespace.
    pub unreadable: Vec<(String, String)>,
    /// A record that cannot be read: what it costs is not known.
    pub unknown: Option<RecordName>,
}

/// Why an order is not within the budgets of its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Excess {
    /// A limit leaves less than the order needs.
    Over {
        /// The limit.
        position: Position,
        /// What the order adds.
        needs: Amount,
    },
    /// There are budgets for this expense, and none in the currency of the price.
    OtherCurrency {
        /// One of them.
        position: Position,
        /// The currency of the price; `None` where HostUp names none.
        currency: Option<Currency>,
    },
    /// HostUp does not say what the order adds.
    Unsaid(Position),
    /// A budget cannot be read, for this reason.
    Unreadable(String, String),
    /// A record cannot be read, so nobody knows what is left.
    Unknown(RecordName, Position),
    /// HostUp's dry run shows an invoice that asks for more than the price.
    Invoice(String, Position),
}

impl Allowance {
    /// Why an order at this price would exceed a budget, if it would. An order that adds nothing to an expense is within
    /// each limit of it.
    pub fn exceeded_by(&self, price: &Price) -> Option<Excess> {
        if *price == Price::Nothing {
            return None;
        }
        if let Some((budget, why)) = self.unreadable.first() {
            return Some(Excess::Unreadable(budget.clone(), why.clone()));
        }
        let currency = price.currency();
        let is_payable = |position: &&Position| Some(&position.currency) == currency;
        self.positions.iter().find_map(|position| {
            let part = position.limit.of.of_price(price);
            if part == Part::Nothing {
                return None;
            }
            let of_expense = |other: &&Position| other.limit.of.field() == position.limit.of.field();
            if !self
                .positions
                .iter()
                .filter(of_expense)
                .any(|other| is_payable(&other))
            {
                return Some(Excess::OtherCurrency {
                    position: position.clone(),
                    currency: currency.cloned(),
                });
            }
            match part {
                _ if !is_payable(&position) => None,
                _ if self.unknown.is_some() => {
                    let record = self.unknown.clone()?;
                    Some(Excess::Unknown(record, position.clone()))
                }
                Part::Unsaid => Some(Excess::Unsaid(position.clone())),
                Part::Amount(needs) if !position.has_room_for(needs) => Some(Excess::Over {
                    position: position.clone(),
                    needs,
                }),
                Part::Amount(_) | Part::Nothing => None,
            }
        })
    }
}

impl Allowance {
    /// The same, where HostUp's dry run shows an invoice that asks for more than the price: what is due is not known then.
    pub fn exceeded_by_invoice(&self, dearer: &Invoice) -> Option<Excess> {
        let is_of_dues = |position: &&Position| matches!(position.limit.of, Expense::DueNow { .. });
        let position = self.positions.iter().find(is_of_dues)?;
        Some(Excess::Invoice(dearer.foreseen(), position.clone()))
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over { position, needs } => {
                let until = if *needs > position.limit.most {
                    "the limit is raised"
                } else {
                    "enough is left"
                };
                write!(
                    f,
                    "VpsBudget {} leaves {} of {} ({} used, {} in progress), and this order needs {needs}. The operator \
                     continues when {until}",
                    position.budget,
                    position.left(),
                    position.said(position.limit.most),
                    position.used,
                    position.under_way,
                )
            }
            Self::OtherCurrency { position, currency } => {
                let currency = currency
                    .as_ref()
                    .map_or("a currency that HostUp does not name", Currency::as_str);
                write!(
                    f,
                    "the price is in {currency}, and the budgets of this namespace limit {} only in another currency \
                     (VpsBudget {}: {}). The operator continues when a VpsBudget limits it in the currency of the price",
                    position.limit.of.field(),
                    position.budget,
                    position.currency,
                )
            }
            Self::Unsaid(position) => write!(
                f,
                "HostUp does not say what the order costs each month, and VpsBudget {} limits that to {}. Order it in HostUp's \
                 panel, or ask an administrator to remove perMonth from the budget",
                position.budget,
                position.said(position.limit.most),
            ),
            Self::Invoice(invoice, position) => write!(
                f,
                "HostUp's dry run shows {invoice}, which is more than the price, and VpsBudget {} limits what is due at once \
                 to {}. Settle the invoice in HostUp's panel, or order there",
                position.budget,
                position.said(position.limit.most),
            ),
            Self::Unknown(record, position) => write!(
                f,
                "VpsOperation {record} cannot be read by this version of the operator, so nobody knows what VpsBudget {} \
                 leaves. Install the version again that wrote it",
                position.budget,
            ),
            Self::Unreadable(budget, why) => write!(
                f,
                "VpsBudget {budget} cannot be read: {why}. Nothing is bought until it is corrected or deleted",
            ),
        }
    }
}

impl From<&Price> for Amounts {
    fn from(price: &Price) -> Self {
        match price {
            Price::Hourly(price) => Self {
                per_hour: Some(price.adds()),
                ..Self::default()
            },
            Price::Nothing => Self::default(),
            Price::Change(price) => Self {
                at_once: Some(price.due_now),
                // A cycle has a month or more.
                per_month: match price.recurring {
                    Recurring::PerMonth(amount) | Recurring::PerCycle(amount) => Some(amount),
                    Recurring::Unsaid => None,
                },
                ..Self::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::price::{ChangePrice, HourlyPrice};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    fn currency(text: &str) -> Currency {
        Currency::parse(text).unwrap()
    }

    fn position(budget: &str, unit: &str, of: Expense, [most, used, under_way]: [&str; 3]) -> Position {
        Position {
            budget: budget.to_owned(),
            currency: currency(unit),
            limit: Limit {
                of,
                most: amount(most),
            },
            used: amount(used),
            under_way: amount(under_way),
        }
    }

    fn vm(per_hour: &str) -> Price {
        Price::Hourly(HourlyPrice {
            currency: currency("SEK"),
            per_hour: amount(per_hour),
            per_month: amount("1"),
            added: None,
            rates: None,
        })
    }

    fn change(due_now: &str, recurring: Recurring) -> Price {
        Price::Change(ChangePrice {
            currency: Some(currency("SEK")),
            due_now: amount(due_now),
            recurring,
        })
    }

    fn said(positions: &[Position], price: &Price) -> Option<String> {
        let allowance = Allowance {
            positions: positions.to_vec(),
            ..Allowance::default()
        };
        allowance.exceeded_by(price).map(|excess| excess.to_string())
    }

    #[test]
    fn an_order_is_within_a_limit_to_the_last_of_what_is_left() {
        let hourly = |sums| [position("team", "SEK", Expense::PerHour, sums)];
        assert_eq!(said(&hourly(["5.00", "3.68", "0.66"]), &vm("0.66")), None);
        assert_eq!(
            said(&hourly(["5.00", "3.68", "0.66"]), &vm("0.6601")).unwrap(),
            "VpsBudget team leaves 0.66 of 5.00 SEK/h (3.68 used, 0.66 in progress), and this order needs 0.6601. The \
             operator continues when enough is left"
        );
        assert!(
            said(&hourly(["5.00", "9.00", "0"]), &vm("0.01"))
                .unwrap()
                .contains("leaves 0.00 of")
        );
        assert_eq!(
            said(
                &hourly(["0", "0", "0"]),
                &change("9", Recurring::PerMonth(amount("9")))
            ),
            None
        );
    }

    #[test]
    fn a_limit_is_near_from_eighty_per_cent_on_and_never_while_nothing_is_taken() {
        for (sums, near) in [
            (["10", "7.99", "0"], false),
            (["10", "7.99", "0.01"], true),
            (["10", "12", "0"], true),
            (["0", "0", "0"], false),
            (["0", "0.01", "0"], true),
        ] {
            assert_eq!(
                position("team", "SEK", Expense::PerHour, sums).is_near_limit(),
                near,
                "{sums:?}"
            );
        }
    }

    #[test]
    fn of_two_budgets_both_hold_and_each_limit_holds_its_own_expense() {
        let due = Expense::DueNow { within: 7 * DAY };
        let positions = [
            position("a", "SEK", Expense::PerMonth, ["100", "0", "0"]),
            position("a", "SEK", due, ["10", "0", "0"]),
            position("b", "SEK", Expense::PerMonth, ["50", "20", "0"]),
        ];
        let ordered = |now: &str, month: &str| {
            let said = said(&positions, &change(now, Recurring::PerMonth(amount(month))));
            said.map(|said| said.split(" (").next().unwrap().to_owned())
        };
        assert_eq!(ordered("10", "30"), None);
        assert_eq!(
            ordered("10", "31").unwrap(),
            "VpsBudget b leaves 30.00 of 50.00 SEK/month"
        );
        assert_eq!(
            ordered("11", "30").unwrap(),
            "VpsBudget a leaves 10.00 of 10.00 SEK within 7d"
        );
        assert_eq!(ordered("-5", "-5"), None, "a credit");
        assert_eq!(
            said(&positions, &vm("99")),
            None,
            "no limit of what an hour costs"
        );
    }

    #[test]
    fn what_cannot_be_compared_is_not_within() {
        let kronor = position("kronor", "SEK", Expense::PerMonth, ["100", "0", "0"]);
        let euros = position("euros", "EUR", Expense::PerMonth, ["0", "0", "0"]);
        let month = |text: &str| change("1", Recurring::PerMonth(amount(text)));
        assert_eq!(
            said(std::slice::from_ref(&euros), &month("1")).unwrap(),
            "the price is in SEK, and the budgets of this namespace limit perMonth only in another currency (VpsBudget \
             euros: EUR). The operator continues when a VpsBudget limits it in the currency of the price"
        );
        assert_eq!(said(std::slice::from_ref(&euros), &month("0")), None);
        assert_eq!(said(&[euros, kronor.clone()], &month("1")), None);
        for recurring in [Recurring::Unsaid, Recurring::PerCycle(amount("1"))] {
            let said = said(std::slice::from_ref(&kronor), &change("1", recurring)).unwrap();
            assert!(
                said.starts_with("HostUp does not say what the order costs each month"),
                "{said}"
            );
        }
        let no_currency = Price::Change(ChangePrice {
            currency: None,
            due_now: amount("1"),
            recurring: Recurring::PerMonth(amount("1")),
        });
        assert!(said(&[kronor], &no_currency).unwrap().contains("does not name"));
        let unreadable = Allowance {
            unreadable: vec![("odd".to_owned(), "spec.perHour is no amount".to_owned())],
            ..Allowance::default()
        };
        assert!(unreadable.exceeded_by(&vm("0.01")).is_some());
        let due = position("due", "SEK", Expense::DueNow { within: DAY }, ["9", "0", "0"]);
        let unknown = Allowance {
            positions: vec![due],
            unknown: Some(RecordName::new("of-a-later-version-1")),
            ..Allowance::default()
        };
        let said = unknown
            .exceeded_by(&change("1", Recurring::Unsaid))
            .unwrap()
            .to_string();
        assert!(
            said.starts_with("VpsOperation of-a-later-version-1 cannot be read"),
            "{said}"
        );
        assert_eq!(unknown.exceeded_by(&vm("0.01")), None, "what no budget limits");
        let invoice = Invoice {
            amount: Some(amount("900")),
            currency: Some(currency("SEK")),
            ..Invoice::unnamed()
        };
        let said = unknown.exceeded_by_invoice(&invoice).unwrap().to_string();
        assert!(
            said.contains("an invoice of 900.00 SEK")
                && said.contains("limits what is due at once to 9.00 SEK"),
            "{said}"
        );
        assert_eq!(Allowance::default().exceeded_by_invoice(&invoice), None);
    }
}
