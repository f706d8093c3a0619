//! A change of options: read back until HostUp shows it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::answer::EXISTING_INVOICE_BLOCKING;
use super::follow::{
    ABSENT_READS, Input, Memo, Need, OptionsReading, absent, has_new_answer, is_open_to_adopt,
    open_to_another,
};
use super::receipt::{Charge, Receipt, amount, invoice};
use super::{PAID_AGAIN, Row};
use crate::action::ordered::Change;
use crate::ledger::record::{Evidence, Invoice, Outcome, Record, Resolution, State, Times, later};
use crate::provider::options;
use crate::values::json::{self, Shown};
use crate::values::money::Currency;
use crate::values::text::Text;

/// Refusals of orders of options (error catalogue; that they are the 409s of the config page is assumed).
pub(super) const OF_OPTIONS: [&str; 4] = [
    "vps_not_ready",
    EXISTING_INVOICE_BLOCKING,
    "pending_orders",
    "invoice_payment_in_progress",
];

/// The row of this action.
pub(super) const ROW: Row = Row {
    label: "config_commit",
    path: "/api/v2/vps/{id}/actions/config",
    needs_approval: true,
    conflicts: &OF_OPTIONS,
    receipt: committed,
    receipt_says: "saying that it committed the change",
    answers_with_secrets: false,
    is_told_when_accepted: false,
    looked_for: "the operator reads the options back and does not send the call again",
    holds_all_the_same: "a change that was made costs money all the same",
    after_not_executed: PAID_AGAIN,
};

/// Only a body that says of itself that it was no dry run is a receipt.
fn committed(body: &[u8]) -> Option<Receipt> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        success: Option<bool>,
        dry_run: bool,
        #[serde(default)]
        payment_invoice: Shown,
        #[serde(default)]
        price_change: Shown,
    }
    let body: Body = json::object(body)?;
    if body.dry_run || body.success == Some(false) {
        return None;
    }
    let price = body.price_change.0.as_object();
    let member = |name| price.and_then(|price| price.get(name));
    let currency = member("currencyCode").and_then(Value::as_str);
    Some(Receipt::Committed {
        invoice: invoice(&body.payment_invoice.0),
        charge: member("amount").and_then(amount).map(|amount| Charge {
            amount,
            currency: currency.and_then(Currency::parse),
        }),
    })
}

/// What an accepted or unknown change needs next.
pub(super) fn need(record: &Record, memo: &Memo, now: Timestamp) -> Need {
    let unknown = record.known.state == State::Unknown;
    let new_answer = unknown && has_new_answer(record, memo);
    match (&record.answer, memo.rests_until(now)) {
        // One that was refused once is not taken again until it was taken back.
        (Some(Resolution::Adopt(_)), _) if new_answer && is_open_to_adopt(&record.known) => {
            Need::Say(Input::Adopted)
        }
        (_, Some(until)) if !new_answer => Need::Wait(until),
        _ => Need::Options,
    }
}

/// What a reading makes of a change.
pub(super) fn step(
    record: &Record,
    change: &Change,
    input: Input,
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Outcome {
    let known = &record.known;
    match (known.state, input) {
        (State::Accepted | State::Unknown, Input::Options(reading)) => {
            if known.state == State::Unknown {
                memo.tried.clone_from(&record.answer);
            }
            read_back(record, change, &reading, memo, times, now)
        }
        (State::Unknown, Input::Adopted) => {
            memo.tried.clone_from(&record.answer);
            memo.absent_reads = 0;
            Outcome {
                state: State::Accepted,
                message: Text::new("a person said that HostUp executed it; it is read back"),
                evidence: Some(Evidence::Person),
                answer_refused: None,
                quiet_since: Some(now),
                ..known.clone()
            }
        }
        // Everything else comes too late or from a stale look, and changes nothing.
        (_, _) => known.clone(),
    }
}

/// How long a change that HostUp took may fail to show: `wait`, and the time that its invoice has to be paid.
pub(super) fn patience(record: &Record, since: Timestamp, wait: Duration) -> Timestamp {
    let invoice = record.known.invoice.as_ref();
    later(since, wait).max(invoice.and_then(Invoice::overdue_at).unwrap_or(since))
}

fn read_back(
    record: &Record,
    change: &Change,
    reading: &OptionsReading,
    memo: &mut Memo,
    times: &Times,
    now: Timestamp,
) -> Outcome {
    let known = &record.known;
    let succeeded = |evidence, message: &str| Outcome {
        state: State::Succeeded,
        message: Text::new(message),
        evidence: Some(evidence),
        answer_refused: None,
        // From now on a reading that differs may lag behind this one.
        quiet_since: Some(now),
        ..known.clone()
    };
    let change = &change.difference;
    if options::shows(&reading.offers, &change.to) {
        return succeeded(Evidence::ReadBack, &format!("HostUp shows {change}"));
    }
    let by_person = known.evidence == Some(Evidence::Person);
    if reading.reads_vps && by_person && options::does_not_deny(&reading.offers, &change.to) {
        let message = "a person said that HostUp executed it; HostUp shows no value to read back";
        return succeeded(Evidence::Person, message);
    }
    if !reading.reads_vps && known.state == State::Unknown {
        let asked = Outcome {
            message: Text::new(&format!(
                "the key no longer reads {}, so a missing change proves nothing",
                record.vps
            )),
            // That HostUp took it stays known.
            evidence: known
                .evidence
                .filter(|evidence| *evidence == Evidence::NotConverged)
                .or(Some(Evidence::AccountMismatch)),
            ..known.clone()
        };
        return open_to_another(record, asked);
    }
    memo.absent_reads = memo.absent_reads.saturating_add(1);
    if known.state == State::Unknown {
        let nothing = format!("HostUp does not show {change}");
        let overdue = "a change that it executed should have shown up by now";
        return absent(record, &nothing, overdue, memo, times, now);
    }
    let wait = match &known.invoice {
        Some(_) => times.job_deadline,
        None => times.settle_time,
    };
    let patience = patience(record, memo.quiet_at(record, times), wait);
    if memo.absent_reads < ABSENT_READS || now < patience {
        return known.clone();
    }
    let unpaid = known
        .invoice
        .as_ref()
        .map_or_else(String::new, |invoice| format!("; is {invoice} paid?"));
    let took = if by_person {
        "a person said that it was executed"
    } else {
        "HostUp took the change"
    };
    Outcome {
        state: State::Unknown,
        message: Text::new(&format!("{took}, but HostUp does not show {change}{unpaid}")),
        evidence: Some(Evidence::NotConverged),
        answer_refused: by_person
            .then(|| Text::new("HostUp still does not show it; give another answer, or take this one back (null) to give it again"))
            .or(known.answer_refused.clone()),
        ..known.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_body_that_says_that_it_was_no_dry_run_is_a_receipt_of_a_change() {
        let taken = committed(
            json!({"dryRun": false, "paymentInvoice": null})
                .to_string()
                .as_bytes(),
        );
        assert_eq!(
            taken,
            Some(Receipt::Committed {
                invoice: None,
                charge: None
            })
        );
        let price = |price: Value| {
            let body = json!({"dryRun": false, "priceChange": price}).to_string();
            match committed(body.as_bytes()) {
                Some(Receipt::Committed { charge, .. }) => charge.map(|charge| charge.to_string()),
                other => panic!("{other:?}"),
            }
        };
        let named = json!({"amount": 40.5, "recurringAmount": 40, "currencyCode": "SEK"});
        assert_eq!(price(named).as_deref(), Some("40.50 SEK"));
        for unnamed in [
            json!(null),
            json!([]),
            json!({"amount": null}),
            json!({"amount": "dear"}),
        ] {
            assert_eq!(price(unnamed.clone()), None, "{unnamed}");
        }
        for body in [
            json!({"dryRun": true}),
            json!({}),
            json!({"dryRun": "false"}),
            json!({"dryRun": false, "success": false}),
            json!([]),
        ] {
            assert_eq!(committed(body.to_string().as_bytes()), None, "{body}");
        }
    }
}
