//! A person's consent, held against a price.

use jiff::Timestamp;

use super::money::{Amount, Currency};
use super::price::HourlyPrice;
use super::quote::{Quote, QuoteId};

/// What `spec.approval` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// This very quote, at its price or lower.
    Quote(QuoteId),
    /// Any price at or under a ceiling, until a moment.
    Ceiling {
        /// Most that an hour may cost.
        per_hour: Amount,
        /// Currency of the ceiling.
        currency: Currency,
        /// The consent ends here.
        valid_until: Timestamp,
    },
}

impl Approval {
    /// The quote that it names, if it names one.
    pub fn quote_id(&self) -> Option<&QuoteId> {
        match self {
            Self::Quote(id) => Some(id),
            Self::Ceiling { .. } => None,
        }
    }
}

/// Whether the person's consent covers the price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// It does.
    Given,
    /// There is none.
    Missing,
    /// It names a quote that is not the one that stands now.
    AnotherQuote,
    /// It has ended.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The price is over the ceiling, or in another currency.
    OverCeiling {
        /// The ceiling, as text.
        ceiling: String,
    },
}

/// Holds `approval` against the fresh price and the quote that stands for it.
pub fn judge(approval: Option<&Approval>, standing: &Quote, fresh: &HourlyPrice, now: Timestamp) -> Consent {
    match approval {
        None => Consent::Missing,
        Some(Approval::Quote(id)) if *id == standing.id => Consent::Given,
        Some(Approval::Quote(_)) => Consent::AnotherQuote,
        Some(Approval::Ceiling { valid_until, .. }) if now >= *valid_until => {
            Consent::Expired { at: *valid_until }
        }
        Some(Approval::Ceiling {
            per_hour, currency, ..
        }) => {
            if *currency == fresh.currency && fresh.per_hour <= *per_hour {
                Consent::Given
            } else {
                Consent::OverCeiling {
                    ceiling: format!("{per_hour} {currency}/h"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::quote::tests::price;
    use super::*;
    use proptest::prelude::*;

    fn quote(id: &str, per_hour: &str) -> Quote {
        Quote {
            id: QuoteId::new(id),
            price: price(per_hour, "SEK"),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn ceiling(per_hour: &str, currency: &str) -> Approval {
        Approval::Ceiling {
            per_hour: Amount::parse(per_hour).unwrap(),
            currency: Currency::parse(currency).unwrap(),
            valid_until: at("2026-12-01T00:00:00Z"),
        }
    }

    fn judged(approval: Option<&Approval>, now: &str) -> Consent {
        judge(approval, &quote("q-1", "0.66"), &price("0.66", "SEK"), at(now))
    }

    #[test]
    fn a_ceiling_covers_an_equal_price_in_the_same_currency_before_its_end() {
        let now = "2026-11-23T00:00:00Z";
        assert_eq!(judged(Some(&ceiling("0.66", "SEK")), now), Consent::Given);
        assert!(matches!(
            judged(Some(&ceiling("0.65", "SEK")), now),
            Consent::OverCeiling { .. }
        ));
        assert!(matches!(
            judged(Some(&ceiling("9.00", "EUR")), now),
            Consent::OverCeiling { .. }
        ));
        assert!(matches!(
            judged(Some(&ceiling("0.66", "SEK")), "2026-12-01T00:00:00Z"),
            Consent::Expired { .. }
        ));
    }

    #[test]
    fn a_quote_id_covers_only_the_quote_that_stands() {
        let now = "2026-11-23T00:00:00Z";
        assert_eq!(
            judged(Some(&Approval::Quote(QuoteId::new("q-1"))), now),
            Consent::Given
        );
        assert_eq!(
            judged(Some(&Approval::Quote(QuoteId::new("q-2"))), now),
            Consent::AnotherQuote
        );
        assert_eq!(judged(None, now), Consent::Missing);
    }

    proptest! {
        #[test]
        fn no_ceiling_ever_covers_a_higher_price(ceiling_cents in 0u32..10_000, price_cents in 0u32..10_000) {
            let text = |cents: u32| format!("{}.{:02}", cents / 100, cents % 100);
            let fresh = price(&text(price_cents), "SEK");
            let standing = Quote { id: QuoteId::new("q-1"), price: fresh.clone() };
            let approval = ceiling(&text(ceiling_cents), "SEK");
            let consent = judge(Some(&approval), &standing, &fresh, at("2026-11-23T00:00:00Z"));
            prop_assert_eq!(consent == Consent::Given, price_cents <= ceiling_cents);
        }
    }
}
