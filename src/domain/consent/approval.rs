//! A person's consent, held against a price: one function for all that is bought.

use std::fmt;

use jiff::Timestamp;
use serde_json::json;

use crate::domain::consent::price::Price;
use crate::domain::consent::quote::{Quote, QuoteId};
use crate::domain::status::reason::Reason;
use crate::domain::values::ids::Subject;
use crate::domain::values::money::{Amount, Currency};
use crate::domain::values::text::Text;

/// Characters of a change that a message about its price tells.
const MOST_OF_A_CHANGE: usize = 4000;

/// What `spec.approval` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// This very quote, at its price or lower.
    Quote(QuoteId),
    /// Any price at or under a ceiling, until a moment.
    Ceiling {
        /// The most that it may cost.
        most: Ceiling,
        /// The consent ends here, if it ends by itself.
        valid_until: Option<Timestamp>,
    },
}

/// The most that something may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ceiling {
    /// By the hour.
    Hourly {
        /// For one hour.
        per_hour: Amount,
        /// Its currency.
        currency: Currency,
    },
    /// For a change of options; a member that a person left out is nothing.
    Change {
        /// At once.
        due_now: Amount,
        /// For each month.
        per_month: Amount,
        /// Their currency.
        currency: Currency,
    },
}

impl Ceiling {
    /// Whether no component of `price` is above it, in the same currency. What cannot be compared is
    /// never covered: another currency, a billing cycle of unknown length.
    fn covers(&self, price: &Price) -> bool {
        match (self, price) {
            (Self::Hourly { per_hour, currency }, Price::Hourly(price)) => {
                *currency == price.currency && price.per_hour <= *per_hour
            }
            (
                Self::Change {
                    due_now,
                    per_month,
                    currency,
                },
                Price::Change(price),
            ) => {
                price.currency.as_ref() == Some(currency)
                    && price.due_now <= *due_now
                    && price.per_month().is_some_and(|amount| amount <= *per_month)
            }
            (Self::Hourly { .. }, Price::Change(_)) | (Self::Change { .. }, Price::Hourly(_)) => false,
        }
    }
}

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hourly { per_hour, currency } => write!(f, "{per_hour} {currency}/h"),
            Self::Change {
                due_now,
                per_month,
                currency,
            } => write!(f, "{due_now} {currency} now and {per_month} {currency} a month"),
        }
    }
}

impl Approval {
    /// The quote that it names, if it names one.
    pub fn quote_id(&self) -> Option<&QuoteId> {
        match self {
            Self::Quote(id) => Some(id),
            Self::Ceiling { .. } => None,
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        match self {
            Self::Quote(_) => false,
            Self::Ceiling { valid_until, .. } => valid_until.is_some_and(|end| now >= end),
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
    /// The price is over the ceiling, or cannot be compared with it.
    OverCeiling {
        /// The ceiling, as text.
        ceiling: String,
    },
    /// A ceiling is not enough for this.
    OnlyByQuote {
        /// Why.
        why: String,
    },
}

/// Holds `approval` against the fresh price and the quote that stands for it. `only_by_quote` says why
/// a ceiling would not do, if it would not.
pub fn judge(
    approval: Option<&Approval>,
    standing: &Quote,
    fresh: &Price,
    only_by_quote: Option<String>,
    now: Timestamp,
) -> Consent {
    match approval {
        None => Consent::Missing,
        Some(Approval::Quote(id)) if *id == standing.id => Consent::Given,
        Some(Approval::Quote(_)) => Consent::AnotherQuote,
        Some(Approval::Ceiling {
            valid_until: Some(at),
            ..
        }) if now >= *at => Consent::Expired { at: *at },
        Some(Approval::Ceiling { most, .. }) => match only_by_quote {
            Some(why) => Consent::OnlyByQuote { why },
            None if most.covers(fresh) => Consent::Given,
            None => Consent::OverCeiling {
                ceiling: most.to_string(),
            },
        },
    }
}

/// Why consent is missing, with the exact command that would give it. `what` is what would cost it.
pub fn missing(
    consent: &Consent,
    subject: &Subject,
    quote: &Quote,
    fresh: &Price,
    what: &str,
) -> Option<(Reason, String)> {
    // The command at the end must stand whole.
    let costs = format!("{} would cost {fresh}", Text::bounded(what, MOST_OF_A_CHANGE));
    let (reason, said) = match consent {
        Consent::Given => return None,
        Consent::Missing => (Reason::AwaitingApproval, costs),
        Consent::AnotherQuote => (
            Reason::AwaitingApproval,
            format!(
                "the approved quote is not the one that stands now, for it was used or what it names has changed: {costs}"
            ),
        ),
        Consent::Expired { at } => (
            Reason::ApprovalExpired,
            format!("the approval ended at {at}; {costs}"),
        ),
        Consent::OverCeiling { ceiling } => (
            Reason::QuoteExceedsCeiling,
            format!("{costs}, over the ceiling of {ceiling}"),
        ),
        Consent::OnlyByQuote { why } => (
            Reason::AwaitingApproval,
            format!("{costs}; a ceiling is not enough, for {why}"),
        ),
    };
    Some((reason, format!("{said}. To approve: {}", command(subject, quote))))
}

fn command(subject: &Subject, quote: &Quote) -> String {
    let patch =
        json!({"spec": {"approval": {"quoteId": quote.id.as_str(), "maxPrice": null, "validUntil": null}}});
    let Subject {
        kind,
        namespace,
        name,
        ..
    } = subject;
    format!(
        "kubectl -n {namespace} patch {} {name} --type=merge -p '{patch}'",
        kind.singular()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::consent::price::{BillingCycle, ChangePrice, Recurring};
    use crate::domain::consent::quote::tests::{change, price};
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
            most: Ceiling::Hourly {
                per_hour: Amount::parse(per_hour).unwrap(),
                currency: Currency::parse(currency).unwrap(),
            },
            valid_until: Some(at("2026-12-01T00:00:00Z")),
        }
    }

    fn judged(approval: Option<&Approval>, now: &str) -> Consent {
        judge(
            approval,
            &quote("q-1", "0.66"),
            &price("0.66", "SEK"),
            None,
            at(now),
        )
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

    fn for_a_change(due_now: &str, per_month: &str) -> Approval {
        Approval::Ceiling {
            most: Ceiling::Change {
                due_now: Amount::parse(due_now).unwrap(),
                per_month: Amount::parse(per_month).unwrap(),
                currency: Currency::parse("SEK").unwrap(),
            },
            valid_until: None,
        }
    }

    fn of_change(ceiling: &Approval, fresh: &Price, only_by_quote: Option<&str>) -> Consent {
        let standing = Quote {
            id: QuoteId::new("q-1"),
            price: fresh.clone(),
        };
        let why = only_by_quote.map(str::to_owned);
        judge(Some(ceiling), &standing, fresh, why, at("2026-11-23T00:00:00Z"))
    }

    #[test]
    fn each_amount_of_a_change_has_its_own_ceiling_and_a_credit_is_under_every_one() {
        let ceiling = for_a_change("0", "50");
        assert_eq!(of_change(&ceiling, &change("0", "50"), None), Consent::Given);
        assert_eq!(
            of_change(&ceiling, &change("-205.26", "-1"), None),
            Consent::Given
        );
        for over in [change("0.01", "0"), change("0", "50.01"), price("0.01", "SEK")] {
            assert!(
                matches!(of_change(&ceiling, &over, None), Consent::OverCeiling { .. }),
                "{over}"
            );
        }
    }

    #[test]
    fn what_cannot_be_compared_is_over_every_ceiling() {
        let base = ChangePrice {
            currency: Currency::parse("SEK"),
            due_now: Amount::ZERO,
            recurring: Recurring::of_cycle(Amount::ZERO, BillingCycle::Unknown),
        };
        let no_currency = ChangePrice {
            currency: None,
            recurring: Recurring::PerMonth(Amount::ZERO),
            ..base.clone()
        };
        for odd in [base, no_currency] {
            let consent = of_change(&for_a_change("99", "99"), &Price::Change(odd), None);
            assert!(matches!(consent, Consent::OverCeiling { .. }));
        }
    }

    #[test]
    fn what_lowers_a_value_goes_by_quote_only() {
        let cheap = change("-5", "0");
        assert_eq!(
            of_change(&for_a_change("99", "99"), &cheap, Some("it lowers a")),
            Consent::OnlyByQuote {
                why: "it lowers a".into()
            }
        );
        assert_eq!(
            of_change(&Approval::Quote(QuoteId::new("q-1")), &cheap, Some("it lowers a")),
            Consent::Given
        );
    }

    proptest! {
        #[test]
        fn no_ceiling_ever_covers_a_higher_price(ceiling_cents in 0u32..10_000, price_cents in 0u32..10_000) {
            let text = |cents: u32| format!("{}.{:02}", cents / 100, cents % 100);
            let fresh = price(&text(price_cents), "SEK");
            let standing = Quote { id: QuoteId::new("q-1"), price: fresh.clone() };
            let approval = ceiling(&text(ceiling_cents), "SEK");
            let consent = judge(Some(&approval), &standing, &fresh, None, at("2026-11-23T00:00:00Z"));
            prop_assert_eq!(consent == Consent::Given, price_cents <= ceiling_cents);
        }
    }
}
