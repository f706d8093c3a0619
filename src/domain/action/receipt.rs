//! The body of a 2xx to a paid call, where it says that HostUp took the order. What it does not say
//! clearly is no receipt, and then nothing is known.

use std::fmt;

use serde_json::Value;

use crate::consent::price::Price;
use crate::ledger::record::{Estimate, Invoice, Job, PaymentPage};
use crate::values::money::{Amount, Currency};
use crate::values::text::Text;

/// What HostUp took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// A restore, as a job (restore-to-payg page).
    Job(Job),
    /// A change of options (config page).
    Committed {
        /// The invoice that it made.
        invoice: Option<Invoice>,
        /// `priceChange.amount`: what it costs at once.
        charge: Option<Charge>,
    },
    /// An estimate, and nothing else (legacy upgrade page).
    Estimated(Estimate),
    /// An upgrade (legacy upgrade page).
    Upgraded {
        /// The order's id, where it names one.
        order: Option<Text>,
        /// The invoice that it made.
        invoice: Option<Invoice>,
        /// `prorated`, for the rest of the billing cycle.
        prorated: Option<Amount>,
        /// `raw.checkout.newtotal`, for each billing cycle from now on.
        new_total: Option<Amount>,
        /// Only an estimate had been asked for.
        unasked: bool,
    },
}

/// What HostUp's answer says that a change costs at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The amount.
    pub amount: Amount,
    /// Its currency, where the answer names one.
    pub currency: Option<Currency>,
}

impl Charge {
    /// Whether an approved price covers it.
    pub fn is_within(&self, price: &Price) -> bool {
        match price {
            Price::Change(price) => self.amount <= price.due_now && self.currency == price.currency,
            Price::Hourly(_) | Price::Nothing => false,
        }
    }
}

impl fmt::Display for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let currency = self.currency.as_ref().map_or("(no currency)", Currency::as_str);
        write!(f, "{} {currency}", self.amount)
    }
}

/// An invoice as the billing-cycle page shows one; that the config page's is the same is assumed.
pub fn invoice(shown: &Value) -> Option<Invoice> {
    let members = shown.as_object()?;
    let currency = members.get("currencyCode").and_then(Value::as_str);
    Some(Invoice {
        id: members.get("id").and_then(name).unwrap_or_default(),
        amount: members.get("amount").and_then(amount),
        currency: currency.and_then(Currency::parse),
        due_at: members.get("dueAt").and_then(name),
        payment_page: members.get("paymentUrl").and_then(payment_page),
    })
}

/// The page to pay at.
pub fn payment_page(value: &Value) -> Option<PaymentPage> {
    value.as_str().and_then(PaymentPage::parse)
}

/// A text or a number, as a short text; `None` where there is nothing to read.
pub fn name(value: &Value) -> Option<Text> {
    let text = match value {
        Value::String(text) => Text::bounded(text, 64),
        Value::Number(number) => Text::bounded(&number.to_string(), 64),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.as_str().is_empty())
}

/// An amount of money, as a text or a number.
pub fn amount(value: &Value) -> Option<Amount> {
    name(value).and_then(|text| Amount::parse(text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_invoice_is_read_as_far_as_it_is_there() {
        let shown = json!({"id": "inv_1", "amount": 40, "currencyCode": "SEK", "dueAt": "2026-12-01"});
        assert_eq!(
            invoice(&shown).unwrap().to_string(),
            "invoice inv_1 of 40.00 SEK (due 2026-12-01)"
        );
        assert_eq!(
            invoice(&json!({"later": 1})).unwrap().to_string(),
            "the open invoice"
        );
        assert_eq!(invoice(&json!("inv_1")), None);
    }

    #[test]
    fn a_charge_is_covered_by_a_price_of_its_currency_that_is_not_lower() {
        let charge = |amount: &str, currency| Charge {
            amount: Amount::parse(amount).unwrap(),
            currency: Currency::parse(currency),
        };
        let approved = crate::consent::quote::tests::change("40.00", "10.00");
        assert!(charge("40.00", "SEK").is_within(&approved));
        assert!(!charge("40.01", "SEK").is_within(&approved));
        assert!(!charge("4.00", "EUR").is_within(&approved));
        assert!(!charge("0.00", "SEK").is_within(&Price::Nothing));
    }

    #[test]
    fn only_a_page_of_the_panel_is_a_link_to_pay_at() {
        let to_pay = |url: Value| invoice(&json!({"paymentUrl": url})).unwrap().where_to_pay();
        let long = format!("/{}", "a".repeat(200));
        for own in [
            "https://cloud.hostup.se/billing?invoice=49526",
            "/billing?invoice=49526",
        ] {
            assert_eq!(
                to_pay(json!(own)),
                "at https://cloud.hostup.se/billing?invoice=49526"
            );
        }
        for other in [
            "http://cloud.hostup.se/billing",
            "https://cloud.hostup.se.evil.example/",
            "https://cloud.hostup.se@evil.example/",
            "https://cloud.hostup.se//evil.example/",
            "//evil.example/",
            "/\\evil.example/",
            "/a b",
            "javascript:alert(1)",
            &long,
        ] {
            let shown = to_pay(json!(other));
            assert!(
                shown.starts_with("in HostUp's panel (HostUp names another page"),
                "{shown}"
            );
        }
        for none in [json!(""), json!(null), json!(7), json!(["/billing"])] {
            assert_eq!(to_pay(none.clone()), "in HostUp's panel", "{none}");
        }
    }
}
