//! An estimate or an upgrade on the older route: its answer is all that is ever known of it.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::follow::{Input, Memo, Need, has_new_answer, takes_effect};
use super::options::OF_OPTIONS;
use super::receipt::{Receipt, amount, name, payment_page};
use super::{PAID_AGAIN, Row};
use crate::ledger::record::{Estimate, Evidence, Invoice, Outcome, Record, Resolution, State, Times, later};
use crate::values::json::{self, Number, Object, Shown};
use crate::values::money::Currency;
use crate::values::text::Text;

/// The row of an estimate.
pub(super) const ESTIMATE: Row = Row {
    label: "legacy_estimate",
    needs_approval: false,
    receipt: |body| legacy(body, true),
    after_not_executed: "a new estimate is asked for at once, and no approval is needed for it",
    ..UPGRADE
};
/// The row of an upgrade.
pub(super) const UPGRADE: Row = Row {
    label: "legacy_upgrade",
    needs_approval: true,
    receipt: |body| legacy(body, false),
    path: "/api/vm/{vmid}/upgrade",
    conflicts: &OF_OPTIONS,
    receipt_says: "saying plainly what it did",
    answers_with_secrets: true,
    is_told_when_accepted: true,
    looked_for: "nothing shows it, so that a person is asked later; it is not sent again",
    holds_all_the_same: "a change that was made costs money all the same",
    after_not_executed: PAID_AGAIN,
};

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
        order_id: Shown,
        #[serde(default)]
        invoice_id: Shown,
        #[serde(default)]
        redirect_url: Shown,
        prorated: Option<Number>,
        total: Option<Number>,
        recurring: Option<Number>,
        raw: Option<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Raw {
        draft: Draft,
    }
    #[derive(Deserialize)]
    struct Ordered {
        checkout: Checkout,
    }
    #[derive(Deserialize)]
    struct Checkout {
        newtotal: Shown,
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
    let ordered = data
        .raw
        .and_then(|raw| serde_json::from_str::<Ordered>(raw.get()).ok());
    let id = name(&data.invoice_id.0).filter(|id| id.as_str() != "0");
    // Any other page may hold what must not be kept.
    let redirect = Some(data.redirect_url.0).filter(|url| {
        let path = url.as_str().unwrap_or_default();
        path.starts_with("/billing?invoice=")
    });
    Some(Receipt::Upgraded {
        order: name(&data.order_id.0),
        invoice: id.map(|id| Invoice {
            id,
            payment_page: redirect.as_ref().and_then(payment_page),
            ..Invoice::unnamed()
        }),
        prorated: data.prorated.and_then(|prorated| prorated.0),
        new_total: ordered.and_then(|ordered| amount(&ordered.checkout.newtotal.0)),
        unasked: estimate_asked,
    })
}

/// What an unknown call needs next: there is nothing to read, only time and a person's answer.
pub(super) fn need(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Need {
    let settled = memo.settled_at(record, times);
    match &record.answer {
        Some(Resolution::Adopt(_)) => Need::Say(Input::Adopted),
        // It takes effect later, and its object says when.
        Some(_) if has_new_answer(record, memo) => Need::Say(Input::Settled),
        _ if now < settled => Need::Wait(settled),
        Some(Resolution::NotExecuted | Resolution::Abandon) => Need::Say(Input::Settled),
        None if record.known.evidence.is_none() => Need::Say(Input::Settled),
        None => Need::Wait(later(now, times.resync_interval)),
    }
}

/// What time or a person's answer makes of it.
pub(super) fn step(record: &Record, input: Input, memo: &mut Memo, times: &Times, now: Timestamp) -> Outcome {
    let known = &record.known;
    match (known.state, input) {
        (State::Unknown, Input::Adopted) => Outcome {
            state: State::Succeeded,
            message: Text::new("a person said that HostUp executed it"),
            evidence: Some(Evidence::Person),
            answer_refused: None,
            ..known.clone()
        },
        (State::Unknown, Input::Settled) => {
            memo.tried.clone_from(&record.answer);
            settled(record, memo, times, now)
        }
        // Everything else comes too late or from a stale look, and changes nothing.
        (_, _) => known.clone(),
    }
}

/// What time makes of it, with or without a person's "not executed".
fn settled(record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Outcome {
    let known = &record.known;
    let says_so = record.answer == Some(Resolution::NotExecuted);
    match (now < memo.settled_at(record, times), says_so) {
        (true, true) => Outcome {
            message: takes_effect(record, memo, times),
            ..known.clone()
        },
        (true, false) => known.clone(),
        (false, true) => Outcome {
            state: State::NotExecuted,
            message: Text::new("a person said that HostUp did not execute it"),
            evidence: Some(Evidence::Person),
            answer_refused: None,
            ..known.clone()
        },
        (false, false) => Outcome {
            message: Text::new("the legacy API shows nothing that can be read back"),
            evidence: Some(Evidence::NoneFound),
            ..known.clone()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::money::Amount;
    use serde_json::json;

    fn of(send: bool, body: &Value) -> Option<Receipt> {
        let row = if send { UPGRADE } else { ESTIMATE };
        (row.receipt)(body.to_string().as_bytes())
    }

    #[test]
    fn an_estimate_is_one_only_if_it_says_so_and_was_not_executed() {
        let estimate = json!({"success": true, "data": {"success": true, "estimate": true, "draftId": 6213,
            "total": "-205.26", "recurring": 600, "raw": {"draft": {"currency": {"iso": "SEK"}}}}});
        let Some(Receipt::Estimated(read)) = of(false, &estimate) else {
            panic!("no estimate");
        };
        assert_eq!((read.draft, read.currency), (Some(6213), Currency::parse("SEK")));
        assert_eq!(read.total, Amount::parse("-205.26"));
        for executed in [
            json!({"success": true, "data": {"success": true, "upgraded": true, "estimate": true}}),
            json!({"success": true, "data": {"success": true}}),
        ] {
            let receipt = of(false, &executed);
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
            assert_eq!(of(false, &unclear), None, "{unclear}");
        }
    }

    #[test]
    fn an_upgrade_is_one_only_if_it_says_so() {
        let upgraded = json!({"success": true, "data": {"success": true, "upgraded": true, "orderId": 34889,
            "invoiceId": "49526", "prorated": 311.26, "redirectUrl": "/billing?invoice=49526",
            "raw": {"checkout": {"newtotal": "420.00"}}}});
        let Some(Receipt::Upgraded {
            order,
            invoice,
            prorated,
            new_total,
            unasked: false,
        }) = of(true, &upgraded)
        else {
            panic!("no upgrade");
        };
        let invoice = invoice.unwrap();
        assert_eq!(
            (order, invoice.to_string().as_str()),
            (Some(Text::new("34889")), "invoice 49526")
        );
        assert_eq!(
            invoice.where_to_pay(),
            "at https://cloud.hostup.se/billing?invoice=49526"
        );
        assert_eq!(
            (prorated, new_total),
            (Amount::parse("311.26"), Amount::parse("420.00"))
        );
        // Nothing is to be paid without an invoice, and no other page is kept.
        let invoice_of = |more: Value| {
            let mut body = json!({"success": true, "data": {"success": true, "upgraded": true}});
            body["data"]
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            match of(true, &body) {
                Some(Receipt::Upgraded { invoice, .. }) => invoice,
                other => panic!("{other:?}"),
            }
        };
        let credit = json!({"invoiceId": 0, "redirectUrl": "/billing?invoice=49526"});
        assert_eq!(invoice_of(credit), None);
        let page = json!({"invoiceId": 7, "redirectUrl": "/clientarea?autologin=secret"});
        assert_eq!(invoice_of(page).unwrap().payment_page, None);
        let cut = br#"{"success": true, "data": {"upgraded": true, "redirectUrl": "cut \ud83d", "invoiceId": 1e999}}"#;
        assert!(matches!(
            (UPGRADE.receipt)(cut),
            Some(Receipt::Upgraded { invoice: None, .. })
        ));
        let estimate = json!({"success": true, "data": {"success": true, "estimate": true}});
        assert_eq!(of(true, &estimate), None);
    }

    #[test]
    fn an_estimate_is_exact() {
        let body = br#"{"success": true, "data": {"estimate": true, "total": 12345678901234567.89, "recurring": "0.1"}}"#;
        let Some(Receipt::Estimated(read)) = (ESTIMATE.receipt)(body) else {
            panic!("no estimate");
        };
        assert_eq!(read.total, Amount::parse("12345678901234567.89"));
        assert_eq!(read.recurring, Amount::parse("0.1"));
    }
}
