//! What was approved and spent, by namespace and currency.

use std::sync::Arc;

use crate::domain::values::money::{Amount, Total};

/// Whose money it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purse {
    /// The namespace of the objects.
    pub namespace: Arc<str>,
    /// The currency, as the records write it; empty where they name none.
    pub currency: String,
}

/// Sums of approved prices; `None` where no record names any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// For each hour.
    pub per_hour: Option<Amount>,
    /// Due at once.
    pub at_once: Option<Amount>,
}

/// The money of one purse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// Whose.
    pub purse: Purse,
    /// For calls under way or of unknown outcome.
    pub approved: Sums,
    /// For what was bought.
    pub spent: Sums,
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
    AtOnce(Amount),
    // Nothing that this program sells has both.
    Both(Box<(Amount, Amount)>),
}

impl Price {
    pub(super) fn new(per_hour: Option<Amount>, at_once: Option<Amount>) -> Self {
        match (per_hour, at_once) {
            (None, None) => Self::Unsaid,
            (Some(per_hour), None) => Self::PerHour(per_hour),
            (None, Some(at_once)) => Self::AtOnce(at_once),
            (Some(per_hour), Some(at_once)) => Self::Both(Box::new((per_hour, at_once))),
        }
    }

    fn parts(&self) -> (Option<Amount>, Option<Amount>) {
        match self {
            Self::Unsaid => (None, None),
            Self::PerHour(per_hour) => (Some(*per_hour), None),
            Self::AtOnce(at_once) => (None, Some(*at_once)),
            Self::Both(both) => (Some(both.0), Some(both.1)),
        }
    }
}

/// A sum, and of how many amounts.
#[derive(Default)]
struct Pile {
    total: Total,
    amounts: u32,
}

impl Pile {
    fn add(&mut self, amount: Option<Amount>) {
        if let Some(amount) = amount {
            self.total.add(amount);
            self.amounts = self.amounts.saturating_add(1);
        }
    }

    fn take(&mut self, amount: Option<Amount>) {
        if let Some(amount) = amount {
            self.total.take(amount);
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
    at_once: Pile,
}

impl Piles {
    fn sums(&self) -> Sums {
        Sums {
            per_hour: self.per_hour.sum(),
            at_once: self.at_once.sum(),
        }
    }
}

/// The money of one purse, as its records come and go.
#[derive(Default)]
pub(super) struct Account {
    records: u32,
    open: Piles,
    spent: Piles,
}

impl Account {
    pub(super) fn add(&mut self, fund: Fund, price: &Price) {
        self.records = self.records.saturating_add(1);
        let (per_hour, at_once) = price.parts();
        if let Some(piles) = self.piles(fund) {
            piles.per_hour.add(per_hour);
            piles.at_once.add(at_once);
        }
    }

    pub(super) fn take(&mut self, fund: Fund, price: &Price) {
        self.records = self.records.saturating_sub(1);
        let (per_hour, at_once) = price.parts();
        if let Some(piles) = self.piles(fund) {
            piles.per_hour.take(per_hour);
            piles.at_once.take(at_once);
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

    fn piles(&mut self, fund: Fund) -> Option<&mut Piles> {
        match fund {
            Fund::Open => Some(&mut self.open),
            Fund::Spent => Some(&mut self.spent),
            Fund::Unspent => None,
        }
    }
}
