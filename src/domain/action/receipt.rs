//! The body of a 2xx to a paid call, where it says that HostUp took the order. What it does not say
//! clearly is no receipt, and then nothing is known.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::action::answer::Call;
use crate::domain::ledger::record::{Estimate, Invoice};
use crate::domain::values::ids::JobId;
use crate::domain::values::json::{self, Number, Object};
use crate::domain::values::money::{Amount, Currency};
use crate::domain::values::text::Text;

/// What HostUp took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// A restore, as a job (restore-to-payg page).
    Job(AcceptedJob),
    /// A change of options (config page).
    Committed {
        /// The invoice that it made.
        invoice: Option<Invoice>,
    },
    /// An estimate, and nothing else (legacy upgrade page).
    Estimated(Estimate),
    /// An upgrade (legacy upgrade page).
    Upgraded {
        /// The order's id, where it names one.
        order: Option<Text>,
        /// The invoice that it made.
        invoice: Option<Invoice>,
        /// Only an estimate had been asked for.
        unasked: bool,
    },
}

/// The job of an accepted order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedJob {
    /// Its id.
    pub id: JobId,
    /// Where to poll it: a path on the configured origin.
    pub poll_path: String,
}

/// Reads the body of a 2xx to `call`; `None` where it is no receipt.
pub fn read(call: Call, body: &[u8]) -> Option<Receipt> {
    match call {
        Call::RestoreToCloudVm => job(body).map(Receipt::Job),
        Call::CommitResources => committed(body),
        Call::LegacyEstimate => legacy(body, true),
        Call::LegacyUpgrade => legacy(body, false),
    }
}

fn job(body: &[u8]) -> Option<AcceptedJob> {
    #[derive(Deserialize)]
    struct Envelope {
        success: Option<bool>,
        operation: Object<Operation>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Operation {
        job_id: String,
        #[serde(default)]
        poll_url: Value,
    }
    let envelope: Envelope = json::object(body)?;
    if envelope.success == Some(false) {
        return None;
    }
    let Object(operation) = envelope.operation;
    let id = JobId::parse(&operation.job_id)?;
    let poll_path = poll_path(operation.poll_url.as_str(), &id);
    Some(AcceptedJob { id, poll_path })
}

/// A `pollUrl` counts only as a plain path below `/api/`; else the documented path of the job.
fn poll_path(poll_url: Option<&str>, id: &JobId) -> String {
    let plain = |path: &&str| {
        path.starts_with("/api/")
            && path.len() <= 200
            && !path.contains("..")
            && !path.contains("//")
            && path
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.'))
    };
    poll_url
        .filter(plain)
        .map_or_else(|| format!("/api/jobs/{id}"), str::to_owned)
}

/// Only a body that says of itself that it was no dry run is a receipt.
fn committed(body: &[u8]) -> Option<Receipt> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        success: Option<bool>,
        dry_run: bool,
        #[serde(default)]
        payment_invoice: Value,
    }
    let body: Body = json::object(body)?;
    if body.dry_run || body.success == Some(false) {
        return None;
    }
    Some(Receipt::Committed {
        invoice: invoice(&body.payment_invoice),
    })
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
    })
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

fn amount(value: &Value) -> Option<Amount> {
    name(value).and_then(|text| Amount::parse(text.as_str()))
}

/// The legacy body holds passwords, card data and tokens: only what is named here is decoded.
fn legacy(body: &[u8], estimate_asked: bool) -> Option<Receipt> {
    #[derive(Deserialize)]
    struct Envelope {
        success: bool,
        data: Object<Data>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        success: Option<bool>,
        upgraded: Option<bool>,
        estimate: Option<bool>,
        #[serde(default)]
        draft_id: Value,
        #[serde(default)]
        order_id: Value,
        #[serde(default)]
        invoice_id: Value,
        total: Option<Number>,
        recurring: Option<Number>,
        raw: Option<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Raw {
        draft: Draft,
    }
    #[derive(Deserialize)]
    struct Draft {
        currency: DraftCurrency,
    }
    #[derive(Deserialize)]
    struct DraftCurrency {
        iso: String,
    }
    let envelope: Envelope = json::object(body)?;
    let Object(data) = envelope.data;
    if !envelope.success || data.success == Some(false) {
        return None;
    }
    let estimated = data.estimate == Some(true) && data.upgraded != Some(true);
    if estimate_asked && estimated {
        let raw = data
            .raw
            .and_then(|raw| serde_json::from_str::<Raw>(raw.get()).ok());
        return Some(Receipt::Estimated(Estimate {
            draft: data.draft_id.as_u64(),
            total: data.total.and_then(|total| total.0),
            recurring: data.recurring.and_then(|recurring| recurring.0),
            currency: raw.and_then(|raw| Currency::parse(&raw.draft.currency.iso)),
        }));
    }
    // Whatever is not plainly an estimate counts as executed where one was asked for, and an order
    // that HostUp does not call upgraded is no receipt.
    if !estimate_asked && data.upgraded != Some(true) {
        return None;
    }
    let invoice = name(&data.invoice_id).filter(|id| id.as_str() != "0");
    Some(Receipt::Upgraded {
        order: name(&data.order_id),
        invoice: invoice.map(|id| Invoice {
            id,
            ..Invoice::unnamed()
        }),
        unasked: estimate_asked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(call: Call, body: &Value) -> Option<Receipt> {
        read(call, body.to_string().as_bytes())
    }

    #[test]
    fn only_a_body_that_says_that_it_was_no_dry_run_is_a_receipt_of_a_change() {
        let taken = of(
            Call::CommitResources,
            &json!({"dryRun": false, "paymentInvoice": null}),
        );
        assert_eq!(taken, Some(Receipt::Committed { invoice: None }));
        for body in [
            json!({"dryRun": true}),
            json!({}),
            json!({"dryRun": "false"}),
            json!({"dryRun": false, "success": false}),
            json!([]),
        ] {
            assert_eq!(of(Call::CommitResources, &body), None, "{body}");
        }
    }

    #[test]
    fn a_list_is_no_receipt_though_its_items_would_do() {
        for (call, body) in [
            (Call::RestoreToCloudVm, json!([null, {"jobId": "job_a"}])),
            (Call::RestoreToCloudVm, json!({"operation": ["job_a"]})),
            (Call::CommitResources, json!([true, false])),
            (Call::LegacyUpgrade, json!([true, {"upgraded": true}])),
            (
                Call::LegacyUpgrade,
                json!({"success": true, "data": [true, true, null]}),
            ),
        ] {
            assert_eq!(of(call, &body), None, "{body}");
        }
    }

    #[test]
    fn an_estimate_is_exact() {
        let body = br#"{"success": true, "data": {"estimate": true, "total": 12345678901234567.89, "recurring": "0.1"}}"#;
        let Some(Receipt::Estimated(read)) = read(Call::LegacyEstimate, body) else {
            panic!("no estimate");
        };
        assert_eq!(read.total, Amount::parse("12345678901234567.89"));
        assert_eq!(read.recurring, Amount::parse("0.1"));
    }

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
    fn an_estimate_is_one_only_if_it_says_so_and_was_not_executed() {
        let estimate = json!({"success": true, "data": {"success": true, "estimate": true, "draftId": 6213,
            "total": "-205.26", "recurring": 600, "raw": {"draft": {"currency": {"iso": "SEK"}}}}});
        let Some(Receipt::Estimated(read)) = of(Call::LegacyEstimate, &estimate) else {
            panic!("no estimate");
        };
        assert_eq!((read.draft, read.currency), (Some(6213), Currency::parse("SEK")));
        assert_eq!(read.total, Amount::parse("-205.26"));
        for executed in [
            json!({"success": true, "data": {"success": true, "upgraded": true, "estimate": true}}),
            json!({"success": true, "data": {"success": true}}),
        ] {
            let receipt = of(Call::LegacyEstimate, &executed);
            assert!(
                matches!(receipt, Some(Receipt::Upgraded { unasked: true, .. })),
                "{executed}"
            );
        }
        for unclear in [
            json!({"success": false, "data": {"success": true, "estimate": true}}),
            json!({"success": true, "data": {"success": false, "estimate": true}}),
            json!({"data": {"estimate": true}}),
        ] {
            assert_eq!(of(Call::LegacyEstimate, &unclear), None, "{unclear}");
        }
    }

    #[test]
    fn an_upgrade_is_one_only_if_it_says_so() {
        let upgraded = json!({"success": true, "data": {"success": true, "upgraded": true, "orderId": 34889,
            "invoiceId": "49526"}});
        let Some(Receipt::Upgraded {
            order,
            invoice,
            unasked: false,
        }) = of(Call::LegacyUpgrade, &upgraded)
        else {
            panic!("no upgrade");
        };
        assert_eq!(
            (order, invoice.unwrap().to_string().as_str()),
            (Some(Text::new("34889")), "invoice 49526")
        );
        let estimate = json!({"success": true, "data": {"success": true, "estimate": true}});
        assert_eq!(of(Call::LegacyUpgrade, &estimate), None);
    }
}
