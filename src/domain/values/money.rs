//! Exact money: decimals, a currency, and text that never shows less than what is paid.

use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};

/// An ISO currency code in upper case, e.g. `SEK`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Currency(String);

impl Currency {
    /// Three ASCII letters, in any case; anything else is no currency.
    pub fn parse(text: &str) -> Option<Self> {
        let letters = text.len() == 3 && text.chars().all(|c| c.is_ascii_alphabetic());
        letters.then(|| Self(text.to_ascii_uppercase()))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An amount in major units of some currency, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(Decimal);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);
    /// One.
    pub const ONE: Self = Self(Decimal::ONE);
    /// Decimals that the text of an amount has at most; what lies beyond is rounded up.
    const SHOWN_DECIMALS: u32 = 4;

    /// Reads plain decimal text (`0.12`, `40`, `-205.26`, `1e-3`); `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Decimal::from_str_exact(text)
            .or_else(|_| Decimal::from_scientific(text))
            .ok()
            .map(Self)
    }

    /// The sum, or `None` where it cannot be held.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// `self` for each of `count` units, or `None` where it cannot be held.
    pub fn times(self, count: u32) -> Option<Self> {
        self.0.checked_mul(Decimal::from(count)).map(Self)
    }

    /// The difference, or `None` where it cannot be held.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// One of `count` equal shares, rounded up to what is shown; `None` for no shares.
    pub fn share_of(self, count: u32) -> Option<Self> {
        self.0
            .checked_div(Decimal::from(count))
            .map(|share| Self(share).rounded_up())
    }

    /// Whether it is a whole multiple of `step`; of nothing only nothing is.
    pub fn is_multiple_of(self, step: Self) -> bool {
        self.0
            .checked_rem(step.0)
            .map_or(self.0.is_zero(), |rest| rest.is_zero())
    }

    /// Without trailing zeros, as a number of a configuration is written (`4096`, `0.5`).
    pub fn plain(self) -> String {
        self.0.normalize().to_string()
    }

    /// Rounded up to a whole number of units; nothing below zero, and no more than `u32` holds.
    pub fn ceil_to_u32(self) -> u32 {
        self.0.ceil().max(Decimal::ZERO).try_into().unwrap_or(u32::MAX)
    }

    /// Rounded down to a whole number of units; nothing below zero, and no more than `u32` holds.
    pub fn floor_to_u32(self) -> u32 {
        self.0.floor().max(Decimal::ZERO).try_into().unwrap_or(u32::MAX)
    }

    /// Whether it is below nothing; no rate is.
    pub fn is_negative(self) -> bool {
        self.0 < Decimal::ZERO
    }

    /// Rounded up to what [`fmt::Display`] shows, so that what was shown is what is compared.
    #[must_use]
    pub fn rounded_up(self) -> Self {
        Self(
            self.0
                .round_dp_with_strategy(Self::SHOWN_DECIMALS, RoundingStrategy::ToPositiveInfinity),
        )
    }

    /// Rounded up to two decimals, for estimates.
    #[must_use]
    pub fn rounded_up_to_cents(self) -> Self {
        Self(
            self.0
                .round_dp_with_strategy(2, RoundingStrategy::ToPositiveInfinity),
        )
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| format!("{text:?} is not a decimal amount, e.g. \"0.80\""))
    }
}

impl fmt::Display for Amount {
    /// At least two decimals, no further trailing zeros, rounded up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.rounded_up().0.normalize();
        if shown.scale() < 2 {
            shown.rescale(2);
        }
        write!(f, "{shown}")
    }
}

/// A sum that an amount can be taken out of again, exactly: amounts as they are shown are whole numbers of its unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total(i128);

impl Total {
    /// Adds what is shown of an amount.
    pub fn add(&mut self, amount: Amount) {
        self.0 = self.0.wrapping_add(units(amount));
    }

    /// Takes out what was added.
    pub fn take(&mut self, amount: Amount) {
        self.0 = self.0.wrapping_sub(units(amount));
    }

    /// Adds another total.
    pub fn join(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    /// The sum; the largest amount where it cannot be held.
    pub fn amount(self) -> Amount {
        let sum = Decimal::try_from_i128_with_scale(self.0, Amount::SHOWN_DECIMALS);
        Amount(sum.unwrap_or(if self.0 < 0 { Decimal::MIN } else { Decimal::MAX }))
    }
}

/// How many of the smallest unit that is shown.
fn units(amount: Amount) -> i128 {
    let shown = amount.rounded_up().0;
    let missing = Amount::SHOWN_DECIMALS.saturating_sub(shown.scale());
    shown.mantissa() * 10_i128.pow(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    #[test]
    fn amounts_show_two_decimals_or_what_they_need_and_are_never_shown_lower() {
        for (raw, shown) in [
            ("40", "40.00"),
            ("0.66", "0.66"),
            ("0.660", "0.66"),
            ("0.0625", "0.0625"),
            ("0.00001", "0.0001"),
            ("1e-3", "0.001"),
            ("-205.26", "-205.26"),
            ("0", "0.00"),
        ] {
            assert_eq!(amount(raw).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_decimal_is_no_amount() {
        for bad in ["", "abc", "NaN", "1,5", "0x10", "1e400", "inf"] {
            assert_eq!(Amount::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_was_added_to_a_total_can_be_taken_out_again() {
        let mut total = Total::default();
        let largest = Amount(Decimal::MAX);
        let all = ["0.66", "-205.26", "0.0001", "1e-9", "40"].map(amount);
        for amount in all {
            total.add(amount);
        }
        assert_eq!(total.amount().to_string(), "-164.5998");
        total.add(largest);
        total.add(largest);
        assert_eq!(total.amount(), largest);
        total.take(largest);
        total.take(largest);
        for amount in all {
            total.take(amount);
        }
        assert_eq!(total, Total::default());
    }

    proptest! {
        #[test]
        fn the_shown_amount_is_never_below_the_real_one(units in 0u32..100_000, scale in 0u32..9) {
            let real = Amount(Decimal::new(i64::from(units), scale));
            prop_assert!(amount(&real.to_string()) >= real);
        }
    }
}
