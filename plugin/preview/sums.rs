//! The sum of prices for each currency and unit.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hostup_operator::domain::values::money::{Amount, Currency, Total};
use serde::Serialize;

use crate::object::ShownPrice;

/// What an amount is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// For each hour.
    Hour,
    /// At once.
    Now,
    /// For each month.
    Month,
}

/// A sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    amount: String,
    currency: String,
    unit: Unit,
    #[serde(skip)]
    exact: Amount,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { amount, currency, .. } = self;
        match self.unit {
            Unit::Hour => write!(f, "{amount} {currency}/h"),
            Unit::Now => write!(f, "{amount} {currency} now"),
            Unit::Month => write!(f, "{amount} {currency} a month"),
        }
    }
}

/// The sums of prices.
pub fn of<'a>(prices: impl Iterator<Item = &'a ShownPrice>) -> Vec<Sum> {
    let mut totals: BTreeMap<(String, Unit), Total> = BTreeMap::new();
    for price in prices {
        let currency = price
            .currency_code
            .clone()
            .unwrap_or_else(|| "(no currency)".to_owned());
        for (amount, unit) in [
            (&price.per_hour, Unit::Hour),
            (&price.due_now, Unit::Now),
            (&price.recurring_per_month, Unit::Month),
        ] {
            if let Some(amount) = amount.as_deref().and_then(Amount::parse) {
                totals.entry((currency.clone(), unit)).or_default().add(amount);
            }
        }
    }
    totals
        .into_iter()
        .map(|((currency, unit), total)| Sum {
            amount: total.amount().to_string(),
            currency,
            unit,
            exact: total.amount(),
        })
        .collect()
}

/// The most that an hour may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Most {
    amount: Amount,
    currency: Currency,
}

impl FromStr for Most {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an amount and a currency; write it like \"0.80 SEK\"");
        let (amount, currency) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let currency = currency.trim().trim_end_matches("/h");
        Ok(Self {
            amount: Amount::parse(amount)
                .filter(|amount| !amount.is_negative())
                .ok_or_else(wrong)?,
            currency: Currency::parse(currency).ok_or_else(wrong)?,
        })
    }
}

impl Most {
    /// Which sum is over it, in words. A sum in another currency cannot be compared, and counts as over it.
    pub fn over(&self, sums: &[Sum]) -> Option<String> {
        let is_over = |sum: &&Sum| {
            sum.unit == Unit::Hour && (sum.currency != self.currency.as_str() || sum.exact > self.amount)
        };
        let over = sums.iter().find(is_over)?;
        let how = if over.currency == self.currency.as_str() {
            "is over"
        } else {
            "cannot be compared with"
        };
        Some(format!(
            "{over} {how} --max-per-hour {} {}",
            self.amount, self.currency
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(per_hour: &str, currency: &str) -> ShownPrice {
        ShownPrice {
            summary: String::new(),
            currency_code: Some(currency.to_owned()),
            per_hour: Some(per_hour.to_owned()),
            due_now: None,
            recurring_per_month: None,
        }
    }

    #[test]
    fn sums_are_exact_and_of_one_currency_each() {
        let prices = [price("0.66", "SEK"), price("0.14", "SEK"), price("0.10", "EUR")];
        let sums: Vec<String> = of(prices.iter()).iter().map(Sum::to_string).collect();
        assert_eq!(sums, ["0.10 EUR/h", "0.80 SEK/h"]);
    }

    #[test]
    fn a_sum_at_the_most_is_not_over_it_and_another_currency_is() {
        let most: Most = "0.80 SEK".parse().unwrap();
        let over = |prices: &[ShownPrice]| most.over(&of(prices.iter()));
        assert_eq!(over(&[price("0.66", "SEK"), price("0.14", "SEK")]), None);
        assert!(over(&[price("0.66", "SEK"), price("0.15", "SEK")]).is_some());
        assert!(over(&[price("0.01", "EUR")]).is_some());
        for bad in ["0.80", "SEK", "0.80 KRONOR", "-1 SEK", "x SEK", ""] {
            assert!(bad.parse::<Most>().is_err(), "{bad:?}");
        }
    }
}
