//! A quote: one exact request at one price, and the id that an approval names.

use crate::consent::price::Price;
use crate::values::digest;
use crate::values::ids::Uid;

/// What a quote id is bound to besides the price. A change of any part makes another id, so a
/// spent or foreign approval never matches again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteBasis {
    /// The very object; a re-created one has another.
    pub subject: Uid,
    /// The canonical request: method, path and body.
    pub request: String,
    /// What it stands on besides: the last executed record of this target, and the values that it changes.
    pub after: Vec<String>,
}

impl QuoteBasis {
    /// The id of this request at `price`: `q-` and 130 bits. Whoever writes the object chooses part of the
    /// hashed text, so a shorter id could be made to fit two requests.
    pub fn id(&self, price: &Price) -> QuoteId {
        let components = price.components();
        let mut parts = vec![self.subject.as_str(), &self.request];
        parts.extend(components.iter().chain(&self.after).map(String::as_str));
        QuoteId(format!(
            "q-{}",
            digest::base32("hostup-operator/quote/v1", &parts, 26)
        ))
    }
}

/// The id of a quote, e.g. `q-7k2mbx4cdp2a3qy7m5rtw6znhe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteId(String);

impl QuoteId {
    /// Takes an id as a person wrote it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A quote as it stands in the object's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// What an approval by quote names.
    pub id: QuoteId,
    /// The price that was shown with it.
    pub price: Price,
    /// An approved quote that has ended, and never counts again.
    pub replaces: Option<Ended>,
}

/// An approved quote that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What the approval names.
    pub id: QuoteId,
    /// A digest of those that ended before it.
    pub before: Option<String>,
}

impl Ended {
    /// This approval has ended after `last`.
    fn after(last: Option<&Self>, id: QuoteId) -> Self {
        let before = last.map(|last| {
            let parts = [last.id.as_str(), last.before.as_deref().unwrap_or_default()];
            digest::base32("hostup-operator/ended/v1", &parts, 26)
        });
        Self { id, before }
    }
}

/// The quote to show: the one already shown while `approved` names it and the fresh price is no
/// higher, else a new one.
pub fn renew(basis: &QuoteBasis, fresh: &Price, shown: Option<&Quote>, approved: Option<&QuoteId>) -> Quote {
    let stands = shown.filter(|shown| {
        approved == Some(&shown.id) && basis.id(&shown.price) == shown.id && fresh.is_within(&shown.price)
    });
    stands.cloned().unwrap_or_else(|| Quote {
        id: basis.id(fresh),
        price: fresh.clone(),
        replaces: None,
    })
}

/// The quote to show of what costs nothing and destroys. An approval that names another one has ended: no quote has its id
/// again, though everything may come to be as it was when somebody approved it.
pub fn renew_for_good(basis: &QuoteBasis, shown: Option<&Quote>, approved: Option<&QuoteId>) -> Quote {
    let instead_of = |ended: Option<Ended>| {
        let mut basis = basis.clone();
        if let Some(Ended { id, before }) = &ended {
            basis.after.push(format!("instead of {}", id.as_str()));
            basis
                .after
                .extend(before.iter().map(|before| format!("after {before}")));
        }
        Quote {
            id: basis.id(&Price::Nothing),
            price: Price::Nothing,
            replaces: ended,
        }
    };
    let last = shown.and_then(|shown| shown.replaces.clone());
    let quote = instead_of(last.clone());
    let has_ended = |approved: &QuoteId| last.as_ref().is_some_and(|last| last.id == *approved);
    match approved.filter(|approved| **approved != quote.id && !has_ended(approved)) {
        None => quote,
        Some(ended) => instead_of(Some(Ended::after(last.as_ref(), ended.clone()))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::consent::price::{ChangePrice, HourlyPrice, Recurring};
    use crate::values::money::{Amount, Currency};

    pub(crate) fn price(per_hour: &str, currency: &str) -> Price {
        Price::Hourly(HourlyPrice {
            currency: Currency::parse(currency).unwrap(),
            per_hour: Amount::parse(per_hour).unwrap(),
            per_month: Amount::parse(per_hour).unwrap().times(730).unwrap(),
            added: None,
            rates: None,
        })
    }

    pub(crate) fn change(due_now: &str, per_month: &str) -> Price {
        Price::Change(ChangePrice {
            currency: Currency::parse("SEK"),
            due_now: Amount::parse(due_now).unwrap(),
            recurring: Recurring::PerMonth(Amount::parse(per_month).unwrap()),
        })
    }

    fn basis() -> QuoteBasis {
        QuoteBasis {
            subject: Uid::new("uid-1"),
            request: "POST /x {}".into(),
            after: vec![],
        }
    }

    #[test]
    fn the_id_is_the_same_for_ever() {
        assert_eq!(
            basis().id(&price("0.66", "SEK")).as_str(),
            "q-o7e76ustemfspl53dotbuocplz"
        );
    }

    #[test]
    fn two_requests_that_were_made_to_share_fifty_bits_have_two_ids() {
        let of = |gb: u32, label: &str, amount: &str| {
            let basis = QuoteBasis {
                subject: Uid::new("6f1c2d7e-0b1a-4c55-9b8e-2f5d7a1c9e33"),
                request: format!(
                    "POST /api/v2/vps/vps_01hxa3b4c5d6e7f8g9h0j1k2m3/actions/config \
                     {{\"dryRun\":false,\"resources\":{{\"bandwidthGb\":{gb},\"label\":\"{label}\"}}}}"
                ),
                after: vec![
                    String::new(),
                    format!("bandwidthGb 2048 -> {gb}, label a -> {label}"),
                    String::new(),
                ],
            };
            basis.id(&change(amount, amount))
        };
        let (cheap, dear) = (of(3072, "c029b8f2", "20.00"), of(10_240, "e20f94e6", "160.00"));
        assert_eq!(cheap.as_str()[..12], dear.as_str()[..12]);
        assert_ne!(cheap, dear);
    }

    #[test]
    fn every_part_of_the_basis_and_of_the_price_makes_another_id() {
        let first = basis().id(&price("0.66", "SEK"));
        let others = [
            QuoteBasis {
                subject: Uid::new("uid-2"),
                ..basis()
            }
            .id(&price("0.66", "SEK")),
            QuoteBasis {
                request: "POST /y {}".into(),
                ..basis()
            }
            .id(&price("0.66", "SEK")),
            QuoteBasis {
                after: vec!["chain-1".into()],
                ..basis()
            }
            .id(&price("0.66", "SEK")),
            basis().id(&price("0.67", "SEK")),
            basis().id(&price("0.66", "EUR")),
        ];
        assert!(others.iter().all(|other| *other != first));
    }

    #[test]
    fn an_approved_quote_stands_while_the_price_falls_and_is_renewed_when_it_rises() {
        let shown = Quote {
            id: basis().id(&price("0.66", "SEK")),
            price: price("0.66", "SEK"),
            replaces: None,
        };
        let renewed = |fresh: &str| renew(&basis(), &price(fresh, "SEK"), Some(&shown), Some(&shown.id));
        assert_eq!(renewed("0.60"), shown);
        assert_eq!(renewed("0.66"), shown);
        assert_ne!(renewed("0.67").id, shown.id);
    }

    /// Of a VPS in this state.
    fn in_state(state: &str) -> QuoteBasis {
        QuoteBasis {
            after: vec![state.into()],
            ..basis()
        }
    }

    #[test]
    fn an_approved_quote_that_has_ended_is_never_current_again() {
        let first = renew_for_good(&in_state("stopped"), None, None);
        let approved = Some(&first.id);
        assert_eq!(
            renew_for_good(&in_state("stopped"), Some(&first), approved),
            first
        );
        let ended = renew_for_good(&in_state("running"), Some(&first), approved);
        assert_eq!(
            renew_for_good(&in_state("running"), Some(&ended), approved),
            ended
        );
        let back = renew_for_good(&in_state("stopped"), Some(&ended), approved);
        assert_ne!(back.id, first.id);
        // It can be approved as any other, and ends as any other.
        let approved = Some(&back.id);
        assert_eq!(renew_for_good(&in_state("stopped"), Some(&back), approved), back);
        let ended = renew_for_good(&in_state("running"), Some(&back), approved);
        let again = renew_for_good(&in_state("stopped"), Some(&ended), approved);
        assert!(again.id != back.id && again.id != first.id);
        // So does one that is approved too late.
        let late = renew_for_good(&in_state("running"), None, Some(&first.id));
        assert_ne!(
            renew_for_good(&in_state("stopped"), Some(&late), Some(&first.id)).id,
            first.id
        );
    }

    #[test]
    fn an_approval_that_has_ended_stays_ended_whatever_is_approved_in_turn() {
        let (running, stopped) = (in_state("running"), in_state("stopped"));
        let first = renew_for_good(&running, None, None);
        let mut ended = std::collections::BTreeSet::new();
        let mut shown = renew_for_good(&stopped, Some(&first), Some(&first.id));
        ended.insert(first.id.as_str().to_owned());
        let second = shown.clone();
        for approved in [&second, &first, &second, &first, &second] {
            for state in [&running, &stopped] {
                shown = renew_for_good(state, Some(&shown), Some(&approved.id));
                assert!(!ended.contains(shown.id.as_str()), "{shown:?}");
                // A look that follows changes nothing.
                assert_eq!(renew_for_good(state, Some(&shown), Some(&approved.id)), shown);
                if shown.id != approved.id {
                    ended.insert(approved.id.as_str().to_owned());
                }
            }
        }
        assert_eq!(ended.len(), 2);
    }

    #[test]
    fn a_quote_that_nobody_had_approved_comes_back_as_it_was() {
        let first = renew_for_good(&in_state("stopped"), None, None);
        let other = renew_for_good(&in_state("running"), Some(&first), None);
        assert_eq!(renew_for_good(&in_state("stopped"), Some(&other), None), first);
    }

    #[test]
    fn a_quote_of_several_amounts_stands_only_while_none_of_them_rises() {
        let shown = Quote {
            id: basis().id(&change("40", "40")),
            price: change("40", "40"),
            replaces: None,
        };
        let stands = |fresh: &Price| renew(&basis(), fresh, Some(&shown), Some(&shown.id)) == shown;
        assert!(stands(&change("40", "39")) && stands(&change("-5", "40")));
        assert!(!stands(&change("10", "41")) && !stands(&change("41", "10")));
    }

    #[test]
    fn an_unapproved_quote_is_renewed_on_any_change() {
        let shown = Quote {
            id: basis().id(&price("0.66", "SEK")),
            price: price("0.66", "SEK"),
            replaces: None,
        };
        let renewed = renew(&basis(), &price("0.60", "SEK"), Some(&shown), None);
        assert_eq!(renewed.price, price("0.60", "SEK"));
    }

    #[test]
    fn a_shown_quote_whose_price_was_tampered_with_does_not_stand() {
        let honest = basis().id(&price("0.66", "SEK"));
        let forged = Quote {
            id: honest.clone(),
            price: price("9.99", "SEK"),
            replaces: None,
        };
        let renewed = renew(&basis(), &price("5.00", "SEK"), Some(&forged), Some(&honest));
        assert_ne!(renewed.id, honest);
    }
}
