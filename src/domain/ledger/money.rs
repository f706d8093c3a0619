//! What was approved and spent, by namespace and currency.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::values::money::{Amount, Total};

/// Whose money it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purse {
    /// The namespace of the objects.
    pub namespace: Arc<str>,
    /// The currency, as the records write it; empty where they name none.
    pub currency: String,
}

/// The amounts of an approved price, or the sums of them over records; `None` where none is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// For each hour.
    pub per_hour: Option<Amount>,
    /// For each month.
    pub per_month: Option<Amount>,
    /// Due at once.
    pub at_once: Option<Amount>,
}

/// The money of one purse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// Whose.
    pub purse: Purse,
    /// For calls under way or of unknown outcome.
    pub approved: Amounts,
    /// For what was bought.
    pub spent: Amounts,
}

/// What a record says of the money that was approved for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fund {
    /// It may still be spent, or may have been.
    Open,
    /// What it was approved for was bought.
    Spent,
    /// Nothing was bought, or a person has given it up.
    Unspent,
}

/// The price that a record was approved for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Price {
    Unsaid,
    PerHour(Amount),
    /// For each month, and at once.
    Change(Box<(Amount, Amount)>),
    Several(Box<Amounts>),
}

impl Price {
    pub(super) fn new(amounts: Amounts) -> Self {
        match amounts {
            Amounts {
                per_hour: None,
                per_month: None,
                at_once: None,
            } => Self::Unsaid,
            Amounts {
                per_hour: Some(per_hour),
                per_month: None,
                at_once: None,
            } => Self::PerHour(per_hour),
            Amounts {
                per_hour: None,
                per_month: Some(per_month),
                at_once: Some(at_once),
            } => Self::Change(Box::new((per_month, at_once))),
            // Nothing that this program sells has another price.
            several => Self::Several(Box::new(several)),
        }
    }

    pub(super) fn amounts(&self) -> Amounts {
        match self {
            Self::Unsaid => Amounts::default(),
            Self::PerHour(per_hour) => Amounts {
                per_hour: Some(*per_hour),
                ..Amounts::default()
            },
            Self::Change(change) => Amounts {
                per_hour: None,
                per_month: Some(change.0),
                at_once: Some(change.1),
            },
            Self::Several(several) => **several,
        }
    }
}

/// A sum, and of how many amounts.
#[derive(Default)]
struct Pile {
    total: Total,
    /// Without the credits.
    debits: Total,
    amounts: u32,
}

impl Pile {
    fn add(&mut self, amount: Option<Amount>) {
        if let Some(amount) = amount {
            self.total.add(amount);
            self.debits.add(amount.max(Amount::ZERO));
            self.amounts = self.amounts.saturating_add(1);
        }
    }

    fn take(&mut self, amount: Option<Amount>) {
        if let Some(amount) = amount {
            self.total.take(amount);
            self.debits.take(amount.max(Amount::ZERO));
            self.amounts = self.amounts.saturating_sub(1);
        }
    }

    fn sum(&self) -> Option<Amount> {
        (self.amounts > 0).then(|| self.total.amount())
    }
}

#[derive(Default)]
struct Piles {
    per_hour: Pile,
    per_month: Pile,
    at_once: Pile,
    /// What was due at once, by the minute in which its record was made.
    dues: BTreeMap<i64, Pile>,
}

impl Piles {
    fn add(&mut self, amounts: Amounts, made: i64) {
        self.per_hour.add(amounts.per_hour);
        self.per_month.add(amounts.per_month);
        self.at_once.add(amounts.at_once);
        if amounts.at_once.is_some() {
            self.dues.entry(minute(made)).or_default().add(amounts.at_once);
        }
    }

    fn take(&mut self, amounts: Amounts, made: i64) {
        self.per_hour.take(amounts.per_hour);
        self.per_month.take(amounts.per_month);
        self.at_once.take(amounts.at_once);
        let minute = minute(made);
        if let Some(due) = self.dues.get_mut(&minute) {
            due.take(amounts.at_once);
            if due.amounts == 0 {
                self.dues.remove(&minute);
            }
        }
    }

    fn sums(&self) -> Amounts {
        Amounts {
            per_hour: self.per_hour.sum(),
            per_month: self.per_month.sum(),
            at_once: self.at_once.sum(),
        }
    }

    fn total(&self, measure: Measure, sum: fn(&Pile) -> Total) -> Total {
        match measure {
            Measure::PerHour => sum(&self.per_hour),
            Measure::PerMonth => sum(&self.per_month),
            Measure::DueNow { since } => {
                let mut total = Total::default();
                for due in self.dues.range(minute(since)..).map(|(_, due)| due) {
                    total.join(sum(due));
                }
                total
            }
        }
    }
}

/// The minute of a second.
fn minute(second: i64) -> i64 {
    second.div_euclid(60)
}

/// What is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// The price of an hour.
    PerHour,
    /// The recurring price of a month.
    PerMonth,
    /// What was due at once for records that were made in the minute of this second or later.
    DueNow {
        /// In seconds, by the API server's clock.
        since: i64,
    },
}

/// The money of one purse, as its records come and go.
#[derive(Default)]
pub(super) struct Account {
    records: u32,
    open: Piles,
    spent: Piles,
}

impl Account {
    pub(super) fn add(&mut self, fund: Fund, price: &Price, made: i64) {
        self.records = self.records.saturating_add(1);
        if let Some(piles) = self.piles(fund) {
            piles.add(price.amounts(), made);
        }
    }

    pub(super) fn take(&mut self, fund: Fund, price: &Price, made: i64) {
        self.records = self.records.saturating_sub(1);
        if let Some(piles) = self.piles(fund) {
            piles.take(price.amounts(), made);
        }
    }

    /// No record is of this purse any more.
    pub(super) fn is_closed(&self) -> bool {
        self.records == 0
    }

    pub(super) fn spending(&self, purse: &Purse) -> Spending {
        Spending {
            purse: purse.clone(),
            approved: self.open.sums(),
            spent: self.spent.sums(),
        }
    }

    /// What was spent, and what may still be. A credit makes no room for what is due at once, nor does a VM that was made
    /// smaller, which may have been bought elsewhere; and one of a call under way may never come.
    pub(super) fn totals(&self, measure: Measure) -> (Total, Total) {
        let spent = match measure {
            Measure::PerMonth => self.spent.total(measure, |pile| pile.total),
            Measure::PerHour | Measure::DueNow { .. } => self.spent.total(measure, |pile| pile.debits),
        };
        (spent, self.open.total(measure, |pile| pile.debits))
    }

    /// No record of it costs anything.
    pub(super) fn is_empty(&self) -> bool {
        let is_empty =
            |piles: &Piles| piles.per_hour.amounts + piles.per_month.amounts + piles.at_once.amounts == 0;
        is_empty(&self.open) && is_empty(&self.spent)
    }

    fn piles(&mut self, fund: Fund) -> Option<&mut Piles> {
        match fund {
            Fund::Open => Some(&mut self.open),
            Fund::Spent => Some(&mut self.spent),
            Fund::Unspent => None,
        }
    }
}
