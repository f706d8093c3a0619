//! A person's consent, held against a price: one function for all that is bought.

use std::fmt;

use jiff::Timestamp;
use serde_json::json;

use crate::consent::price::Price;
use crate::consent::quote::{Quote, QuoteId};
use crate::status::reason::Reason;
use crate::values::ids::Subject;
use crate::values::money::{Amount, Currency};
use crate::values::text::Text;

/// Characters of a change that a message about its price tells.
const MOST_OF_A_CHANGE: usize = 4000;

/// What `spec.approval` says: a quote, a ceiling, or both. Either suffices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approval {
    /// This very quote, at its price or lower.
    pub quote: Option<QuoteId>,
    /// Any price at or under a ceiling.
    pub ceiling: Option<CeilingUntil>,
    /// Who approved the quote if there is one, otherwise the ceiling, as the spec says.
    pub approved_by: Option<Text>,
}

impl From<QuoteId> for Approval {
    fn from(quote: QuoteId) -> Self {
        Self {
            quote: Some(quote),
            ..Self::default()
        }
    }
}

impl From<CeilingUntil> for Approval {
    fn from(ceiling: CeilingUntil) -> Self {
        Self {
            ceiling: Some(ceiling),
            ..Self::default()
        }
    }
}

/// A ceiling, and how long it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CeilingUntil {
    /// The most that it may cost.
    pub most: Ceiling,
    /// The ceiling counts until then; `None` where it has no end.
    pub valid_until: Option<Timestamp>,
}

impl CeilingUntil {
    /// When it ended, if it has.
    fn ended(&self, now: Timestamp) -> Option<Timestamp> {
        self.valid_until.filter(|end| now >= *end)
    }
}

/// The part of an approval that covers a price. A purchase is made under it, and its record keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What covers the price.
    pub ground: Ground,
    /// Who approved, as the spec says.
    pub approved_by: Option<Text>,
}

/// What covers a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// The quote.
    Quote(QuoteId),
    /// The ceiling.
    Ceiling(CeilingUntil),
}

impl Grant {
    /// Whether it has ended by itself. A quote never does.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        match &self.ground {
            Ground::Quote(_) => false,
            Ground::Ceiling(ceiling) => ceiling.ended(now).is_some(),
        }
    }
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
            (Self::Hourly { .. } | Self::Change { .. }, _) => false,
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

/// Whether the person's consent covers the price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// It does, by this.
    Given(Grant),
    /// It does not.
    Missing {
        /// The approval names a quote that is not the current one.
        names_another_quote: bool,
        /// Why its ceiling does not cover the price, if it has one.
        ceiling: Option<CeilingMisses>,
    },
}

/// Why a ceiling does not cover a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CeilingMisses {
    /// It has ended.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The price is over it, or cannot be compared with it.
    Over {
        /// The ceiling.
        most: Ceiling,
    },
    /// A ceiling is not enough for this.
    OnlyByQuote {
        /// Why.
        why: String,
    },
}

impl Consent {
    /// What covers the price, if anything does.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Given(grant) => Some(grant),
            Self::Missing { .. } => None,
        }
    }
}

/// Holds `approval` against the fresh price and the current quote. `only_by_quote` says why a ceiling is not enough, if it
/// is not.
pub fn judge(
    approval: Option<&Approval>,
    current: &Quote,
    fresh: &Price,
    only_by_quote: Option<String>,
    now: Timestamp,
) -> Consent {
    let missing = |names_another_quote, ceiling| Consent::Missing {
        names_another_quote,
        ceiling,
    };
    let Some(approval) = approval else {
        return missing(false, None);
    };
    let given = |ground, approved_by: Option<&Text>| {
        Consent::Given(Grant {
            ground,
            approved_by: approved_by.cloned(),
        })
    };
    let by = approval.approved_by.as_ref();
    if let Some(id) = approval.quote.as_ref().filter(|id| **id == current.id) {
        return given(Ground::Quote(id.clone()), by);
    }
    let misses = approval.ceiling.as_ref().map(|ceiling| {
        let most = &ceiling.most;
        match (ceiling.ended(now), only_by_quote) {
            (Some(at), _) => Err(CeilingMisses::Expired { at }),
            (None, Some(why)) => Err(CeilingMisses::OnlyByQuote { why }),
            (None, None) if most.covers(fresh) => Ok(ceiling.clone()),
            (None, None) => Err(CeilingMisses::Over { most: most.clone() }),
        }
    });
    match misses {
        Some(Ok(ceiling)) => given(Ground::Ceiling(ceiling), by.filter(|_| approval.quote.is_none())),
        Some(Err(why)) => missing(approval.quote.is_some(), Some(why)),
        None => missing(approval.quote.is_some(), None),
    }
}

/// Why consent is missing, with the exact command that gives it. `what` is what is bought.
pub fn missing(
    consent: &Consent,
    approval: Option<&Approval>,
    subject: &Subject,
    quote: &Quote,
    fresh: &Price,
    what: &str,
) -> Option<(Reason, String)> {
    let (names_another_quote, ceiling) = match consent {
        Consent::Given(_) => return None,
        Consent::Missing {
            names_another_quote,
            ceiling,
        } => (*names_another_quote, ceiling),
    };
    // The command at the end must stand whole.
    let costs = format!("{} would cost {fresh}", Text::bounded(what, MOST_OF_A_CHANGE));
    let (reason, said) = match ceiling {
        None => (Reason::AwaitingApproval, costs),
        Some(CeilingMisses::Expired { at }) => (
            Reason::ApprovalExpired,
            format!("The approved ceiling expired at {at}. {costs}"),
        ),
        Some(CeilingMisses::Over { most }) => (
            Reason::QuoteExceedsCeiling,
            format!("{costs}, which exceeds the approved ceiling of {most}"),
        ),
        Some(CeilingMisses::OnlyByQuote { why }) => (
            Reason::AwaitingApproval,
            format!("{costs}. A ceiling cannot approve this, because {why}"),
        ),
    };
    let stale = if names_another_quote {
        match fresh {
            Price::Hourly(_) | Price::Change(_) => {
                "The approved quote is no longer current: it was used, or the request, the price or HostUp's advice has \
                 changed. "
            }
            Price::Nothing => {
                "The approved quote is no longer current: it was used, or the request or the VPS has changed. "
            }
        }
    } else {
        ""
    };
    let until_when = match fresh {
        Price::Hourly(_) => ", and the VM then costs this until you cancel it in HostUp's panel",
        Price::Change(_) | Price::Nothing => "",
    };
    let done = match fresh {
        Price::Hourly(_) | Price::Change(_) => "bought",
        Price::Nothing => "overwritten",
    };
    Some((
        reason,
        format!(
            "{stale}{said}. Nothing is {done} before an approval{until_when}. To approve: {}",
            command(subject, approval, quote)
        ),
    ))
}

/// The command that approves a quote. It sets `quoteId` alone and leaves a ceiling as it is; a name that stands in the
/// spec approved another quote. Flux takes back what a field manager named `kubectl...` has set, so this one has another
/// name.
fn command(subject: &Subject, approval: Option<&Approval>, quote: &Quote) -> String {
    let mut approves = json!({"quoteId": quote.id.as_str()});
    let is_named = approval.is_some_and(|approval| approval.approved_by.is_some());
    if let Some(members) = approves.as_object_mut().filter(|_| is_named) {
        members.insert("approvedBy".to_owned(), serde_json::Value::Null);
    }
    let patch = json!({"spec": {"approval": approves}});
    let Subject {
        kind,
        namespace,
        name,
        ..
    } = subject;
    format!(
        "kubectl -n {namespace} patch {} {name} --type=merge --field-manager=hostup-approval -p '{patch}'",
        kind.singular()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::price::{BillingCycle, ChangePrice, Recurring};
    use crate::consent::quote::tests::{change, price};
    use crate::values::ids::{SubjectKind, Uid};
    use proptest::prelude::*;

    fn quote(id: &str, per_hour: &str) -> Quote {
        Quote {
            id: QuoteId::new(id),
            price: price(per_hour, "SEK"),
            replaces: None,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn ceiling(per_hour: &str, currency: &str) -> Approval {
        Approval::from(CeilingUntil {
            most: Ceiling::Hourly {
                per_hour: Amount::parse(per_hour).unwrap(),
                currency: Currency::parse(currency).unwrap(),
            },
            valid_until: Some(at("2026-12-01T00:00:00Z")),
        })
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

    /// What is said of a price that an approval does not cover; `None` where it covers it.
    fn said(approval: Option<&Approval>, now: &str) -> Option<Reason> {
        let quote = quote("q-1", "0.66");
        let consent = judged(approval, now);
        let subject = Subject {
            kind: SubjectKind::VpsBackupRestore,
            namespace: "shop".into(),
            name: "web".into(),
            uid: Uid::new("uid-1"),
            generation: 1,
        };
        let fresh = price("0.66", "SEK");
        missing(&consent, approval, &subject, &quote, &fresh, "it").map(|(reason, _)| reason)
    }

    const BEFORE: &str = "2026-11-23T00:00:00Z";
    const AFTER: &str = "2026-12-01T00:00:00Z";

    #[test]
    fn a_ceiling_is_told_with_its_currency_and_what_it_is_for() {
        let told = |approval: Approval| approval.ceiling.unwrap().most.to_string();
        assert_eq!(told(ceiling("0.66", "SEK")), "0.66 SEK/h");
        let change = Ceiling::Change {
            due_now: Amount::parse("100").unwrap(),
            per_month: Amount::parse("12.50").unwrap(),
            currency: Currency::parse("SEK").unwrap(),
        };
        assert_eq!(change.to_string(), "100.00 SEK now and 12.50 SEK a month");
    }

    #[test]
    fn a_quote_and_a_ceiling_suffice_each_and_a_quote_never_expires() {
        let (current, another) = (Some("q-1"), Some("q-2"));
        let (enough, low, foreign) = (
            Some(("0.66", "SEK")),
            Some(("0.65", "SEK")),
            Some(("9.00", "EUR")),
        );
        let awaits = Some(Reason::AwaitingApproval);
        let exceeds = Some(Reason::QuoteExceedsCeiling);
        let expired = Some(Reason::ApprovalExpired);
        for (quote, most, before, after) in [
            (current, None, None, None),
            (current, enough, None, None),
            (current, low, None, None),
            (current, foreign, None, None),
            (another, None, awaits, awaits),
            (another, enough, None, expired),
            (another, low, exceeds, expired),
            (another, foreign, exceeds, expired),
            (None, enough, None, expired),
            (None, low, exceeds, expired),
            (None, foreign, exceeds, expired),
        ] {
            let approval = Approval {
                quote: quote.map(QuoteId::new),
                ceiling: most.and_then(|(per_hour, currency)| ceiling(per_hour, currency).ceiling),
                approved_by: Some(Text::new("anna")),
            };
            for (now, expected) in [(BEFORE, before), (AFTER, after)] {
                assert_eq!(said(Some(&approval), now), expected, "{approval:?} at {now}");
            }
            let consent = judged(Some(&approval), BEFORE);
            if let Some(grant) = consent.grant() {
                // A name beside a quote is not that of the ceiling.
                let is_named = quote == current || quote.is_none();
                assert_eq!(
                    grant.approved_by,
                    approval.approved_by.clone().filter(|_| is_named)
                );
                let is_by_quote = matches!(&grant.ground, Ground::Quote(id) if id.as_str() == "q-1");
                assert_eq!(is_by_quote, quote == current, "{approval:?}");
                assert_eq!(grant.has_ended(at(AFTER)), !is_by_quote);
                assert!(!grant.has_ended(at(BEFORE)));
            }
        }
        assert_eq!(said(None, BEFORE), awaits);
    }

    fn for_a_change(due_now: &str, per_month: &str) -> Approval {
        Approval::from(CeilingUntil {
            most: Ceiling::Change {
                due_now: Amount::parse(due_now).unwrap(),
                per_month: Amount::parse(per_month).unwrap(),
                currency: Currency::parse("SEK").unwrap(),
            },
            valid_until: None,
        })
    }

    fn of_change(ceiling: &Approval, fresh: &Price, only_by_quote: Option<&str>) -> Consent {
        let standing = Quote {
            id: QuoteId::new("q-1"),
            price: fresh.clone(),
            replaces: None,
        };
        let why = only_by_quote.map(str::to_owned);
        judge(Some(ceiling), &standing, fresh, why, at("2026-11-23T00:00:00Z"))
    }

    fn is_over(consent: &Consent) -> bool {
        let over = |ceiling: &Option<CeilingMisses>| matches!(ceiling, Some(CeilingMisses::Over { .. }));
        matches!(consent, Consent::Missing { ceiling, .. } if over(ceiling))
    }

    #[test]
    fn each_amount_of_a_change_has_its_own_ceiling_and_a_credit_is_under_every_one() {
        let ceiling = for_a_change("0", "50");
        assert!(of_change(&ceiling, &change("0", "50"), None).grant().is_some());
        assert!(
            of_change(&ceiling, &change("-205.26", "-1"), None)
                .grant()
                .is_some()
        );
        for over in [change("0.01", "0"), change("0", "50.01"), price("0.01", "SEK")] {
            assert!(is_over(&of_change(&ceiling, &over, None)), "{over}");
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
            assert!(is_over(&consent));
        }
    }

    #[test]
    fn what_lowers_a_value_goes_by_quote_only() {
        let cheap = change("-5", "0");
        let lowers = Some("it lowers a");
        assert_eq!(
            of_change(&for_a_change("99", "99"), &cheap, lowers),
            Consent::Missing {
                names_another_quote: false,
                ceiling: Some(CeilingMisses::OnlyByQuote {
                    why: "it lowers a".into()
                }),
            }
        );
        let by_both = Approval {
            quote: Some(QuoteId::new("q-1")),
            ..for_a_change("99", "99")
        };
        for approval in [Approval::from(QuoteId::new("q-1")), by_both] {
            assert!(of_change(&approval, &cheap, lowers).grant().is_some());
        }
    }

    proptest! {
        #[test]
        fn no_ceiling_ever_covers_a_higher_price(ceiling_cents in 0u32..10_000, price_cents in 0u32..10_000) {
            let text = |cents: u32| format!("{}.{:02}", cents / 100, cents % 100);
            let fresh = price(&text(price_cents), "SEK");
            let standing = Quote { id: QuoteId::new("q-1"), price: fresh.clone(), replaces: None };
            let approval = ceiling(&text(ceiling_cents), "SEK");
            let consent = judge(Some(&approval), &standing, &fresh, None, at("2026-11-23T00:00:00Z"));
            prop_assert_eq!(consent.grant().is_some(), price_cents <= ceiling_cents);
        }
    }
}
