//! Options kept as written: what differs, what it costs, who allows it, and the order.

use serde_json::{Value, json};

use jiff::Timestamp;

use super::{Account, Decision, Facts, Look, OptionsWish, Preview, Reading, Seen, Shown, reported};
use crate::domain::answer::{CANCEL_EXISTING_INVOICE, EXISTING_INVOICE_BLOCKING};
use crate::domain::approval::{self, Approval, Consent};
use crate::domain::gate::{self, Gate, GateName};
use crate::domain::options::{self, Difference, Values};
use crate::domain::order::{Attempt, Order};
use crate::domain::price::Price;
use crate::domain::quote::{self, Quote, QuoteBasis};
use crate::domain::reason::Reason;
use crate::domain::record::{Cause, Change, Evidence, Invoice, Matter, Record, State, later};
use crate::domain::text::Text;

impl Look<'_> {
    pub(super) fn options(&self, wish: &OptionsWish) -> Decision {
        match &self.view.account {
            Account::Unread | Account::Key { .. } => Decision::ReadOptions,
            Account::Trouble(trouble) => self.troubled(trouble),
            Account::Read(reading) => self.with_options(wish, reading),
        }
    }

    fn with_options(&self, wish: &OptionsWish, reading: &Reading) -> Decision {
        let vps = &wish.vps;
        let shown = Shown {
            current: Some(current(reading)),
            record: self.own_record(),
            ..Shown::default()
        };
        if reading.is_payg {
            let message = format!(
                "{vps} is a pay-as-you-go VM, which has no such options; resize it in HostUp's panel"
            );
            return self.stalled(Reason::NotConfigurable, message, facts(shown));
        }
        let difference = match options::difference(&reading.offers, &wish.wanted, &self.confirmed()) {
            Ok(difference) => difference,
            Err(objections) => {
                let message = format!("{objections}. Nothing is ordered; change spec.resources");
                return self.stalled(Reason::UnknownOption, message, facts(shown));
            }
        };
        let resync = Some(later(self.now, self.times.resync_interval));
        if difference.is_empty() {
            let message = format!("{vps} has the options of the spec");
            let bought = shown.record.as_ref().filter(|record| {
                record.known.state == State::Succeeded && record.intent == self.intent.digest
            });
            let in_sync = Shown {
                drifted: Some(false),
                quote: bought.and_then(|record| record.quote.clone()),
                approved: bought.map(|_| true),
                ..shown.clone()
            };
            return reported(Reason::InSync, message, facts(in_sync), resync);
        }
        if let Some(until) = self.may_be_a_late_reading() {
            let message = format!(
                "HostUp showed the change, and now shows {difference} as still to do; it is read again until \
                 {until:.0}, before it is called drift"
            );
            let wake = Some(later(self.now, self.times.gate_interval).min(until));
            return reported(Reason::Converging, message, facts(shown), wake);
        }
        let drifted = self.has_drifted();
        let shown = Shown {
            drifted: drifted.then_some(true),
            ..shown
        };
        if drifted && !wish.corrects_drift {
            let message = format!(
                "{vps} no longer has the options of the spec; to get them back takes {difference}. \
                 Set driftPolicy: Correct to have it ordered, or write what is there into the spec"
            );
            return reported(Reason::Drifted, message, facts(shown), resync);
        }
        if drifted && self.view.seen != Seen::Drifted {
            // One reading is not enough to pay for.
            let message =
                format!("{vps} no longer has the options of the spec ({difference}); looking once more");
            let wake = Some(later(self.now, self.times.gate_interval));
            return reported(Reason::Drifted, message, facts(shown), wake);
        }
        if drifted && self.was_corrected_from(&difference) {
            let message = format!(
                "{vps} was corrected from these values before, and has them again ({difference}); \
                 somebody else seems to want them. Nothing is ordered until the spec is changed"
            );
            return self.stalled(Reason::DriftContested, message, facts(shown));
        }
        if self.refused_for_an_invoice().is_some() && reading.invoices.is_none() {
            return Decision::ReadInvoices;
        }
        let dry_run = json!({"resources": options::to_json(&difference.to), "dryRun": true}).to_string();
        match reading.preview.as_ref().filter(|preview| preview.body == dry_run) {
            None => Decision::Preview(dry_run),
            Some(preview) => self.with_preview(wish, reading, &difference, preview, shown),
        }
    }

    fn with_preview(
        &self,
        wish: &OptionsWish,
        reading: &Reading,
        difference: &Difference,
        preview: &Preview,
        shown: Shown,
    ) -> Decision {
        let can_commit = &preview.can_commit;
        let mut gates = options::gates(&reading.offers, difference);
        gates.push(Gate::new(
            GateName::CanCommit,
            can_commit.allowed,
            &can_commit.code,
            &can_commit.reason,
        ));
        let invoice = self.invoice_in_the_way(wish, reading);
        if let Some((gate, _)) = &invoice {
            gates.push(gate.clone());
        }
        let cancels = invoice.and_then(|(_, cancels)| cancels);
        let placed = preview
            .price
            .clone()
            .map(|price| Price::Change(price.in_months_of(reading.cycle)))
            .map(|price| self.place(wish, reading, difference, &gates, price, cancels, &shown));
        let shown = Shown {
            gates,
            quote: placed.as_ref().map(|placed| placed.quote.clone()),
            ..shown
        };
        let gate_time = Some(later(self.now, self.times.gate_interval));
        if let Some(closed) = gate::closed(&shown.gates) {
            let message = format!("closed: {closed}. It goes on by itself once they open");
            return reported(Reason::GatesClosed, message, facts(shown), gate_time);
        }
        let Some(placed) = placed else {
            let message = "HostUp names no complete price for this change, so nothing is bought";
            return reported(Reason::ProviderUnavailable, message, facts(shown), gate_time);
        };
        let what = match &placed.cancels {
            Some(invoice) => format!("{difference}, and cancelling {invoice},"),
            None => difference.to_string(),
        };
        let only_by_quote = match &placed.cancels {
            Some(invoice) => Some(format!("it cancels {invoice}")),
            None => difference.lowers(),
        };
        self.order(
            placed.order,
            placed.quote,
            placed.fresh,
            only_by_quote,
            &what,
            shown,
        )
    }

    /// Consent, the last attempt, the brakes; then the order.
    pub(super) fn order(
        &self,
        order: Order,
        quote: Quote,
        fresh: Price,
        only_by_quote: Option<String>,
        what: &str,
        shown: Shown,
    ) -> Decision {
        let approval = self.intent.approval.as_ref();
        let consent = approval::judge(approval, &quote, &fresh, only_by_quote, self.now);
        let shown = Shown {
            approved: Some(consent == Consent::Given),
            ..shown
        };
        let missing = approval::missing(&consent, &self.intent.subject, &quote, &fresh, what);
        if let Some((reason, message)) = missing {
            let wake = Some(later(self.now, self.times.resync_interval));
            return reported(reason, message, facts(shown), wake);
        }
        if let Some(held) = self.view.chain.holds_back(&order, self.times, self.now) {
            return Decision::Report(held.with(facts(shown)));
        }
        Decision::Buy(Box::new(order))
    }

    #[allow(clippy::too_many_arguments)]
    fn place(
        &self,
        wish: &OptionsWish,
        reading: &Reading,
        difference: &Difference,
        gates: &[Gate],
        fresh: Price,
        cancels: Option<Invoice>,
        shown: &Shown,
    ) -> PlacedOrder {
        let path = format!("/api/v2/vps/{}/actions/config", wish.vps);
        let mut body = json!({"resources": options::to_json(&difference.to), "dryRun": false});
        if let (Some(_), Value::Object(members)) = (&cancels, &mut body) {
            members.insert(CANCEL_EXISTING_INVOICE.to_owned(), Value::Bool(true));
        }
        let body = body.to_string();
        let follows = self.tail().and_then(Record::last_executed).cloned();
        let basis = QuoteBasis {
            subject: self.intent.subject.uid.clone(),
            request: format!("POST {path} {body}"),
            after: vec![
                follows.as_ref().map_or_else(String::new, ToString::to_string),
                difference.to_string(),
                cancels.as_ref().map_or_else(String::new, Invoice::to_string),
            ],
        };
        let quote = self.renewed(&basis, &fresh);
        PlacedOrder {
            order: Order {
                subject: self.intent.subject.clone(),
                chain: self.intent.chain(),
                attempt: Attempt::after(self.tail(), &self.intent.subject),
                intent: self.intent.digest.clone(),
                vps: wish.vps.clone(),
                matter: Matter::Config(Change {
                    difference: difference.clone(),
                    corrects_drift: shown.drifted == Some(true),
                }),
                follows,
                path,
                body,
                quote: Some(quote.clone()),
                gates: gates.to_vec(),
                cause: Cause::read(&reading.secret_version, gates, &fresh),
                read_at: reading.read_at,
            },
            quote,
            fresh,
            cancels,
        }
    }

    /// The quote that stands for this request at this price.
    pub(super) fn renewed(&self, basis: &QuoteBasis, fresh: &Price) -> Quote {
        let approved = self.intent.approval.as_ref().and_then(Approval::quote_id);
        quote::renew(basis, fresh, self.view.chain.shown_quote.as_ref(), approved)
    }

    /// The last order of this very object, if it was refused for an open invoice.
    fn refused_for_an_invoice(&self) -> Option<&Record> {
        let tail = self
            .tail()
            .filter(|tail| tail.subject.uid == self.intent.subject.uid)?;
        let code = tail.known.code.as_ref().map(Text::as_str);
        let refused = tail.known.state == State::Rejected && code == Some(EXISTING_INVOICE_BLOCKING);
        refused.then_some(tail)
    }

    /// After such a refusal: what stands in the way now, and the invoice to cancel. HostUp is not told
    /// which one to cancel, so it is only asked to where exactly one is open and its refusal suggested it;
    /// that one is named by the quote.
    fn invoice_in_the_way(&self, wish: &OptionsWish, reading: &Reading) -> Option<(Gate, Option<Invoice>)> {
        let refused = self.refused_for_an_invoice()?;
        let gate = |allowed, reason: &str| Gate::new(GateName::NoOpenInvoice, allowed, "", reason);
        let open = reading.invoices.as_deref().unwrap_or_default();
        let suggested = refused.known.suggests_cancelling;
        Some(match open {
            [] => (gate(true, ""), None),
            [only] => {
                let named = refused
                    .known
                    .invoice
                    .as_ref()
                    .filter(|_| only.id.as_str().is_empty());
                let only = named.unwrap_or(only).clone();
                if suggested && wish.cancels_invoice {
                    (
                        gate(true, &format!("{only} is cancelled with the order")),
                        Some(only),
                    )
                } else {
                    let or = if suggested {
                        ", or set spec.cancelExistingInvoice: true and approve the quote that names it"
                    } else {
                        ""
                    };
                    (
                        gate(false, &format!("{only} is open; pay it in HostUp's panel{or}")),
                        None,
                    )
                }
            }
            several => {
                let names: Vec<String> = several.iter().take(5).map(Invoice::to_string).collect();
                let reason = format!("open are {}; pay them in HostUp's panel", names.join(" and "));
                (gate(false, &reason), None)
            }
        })
    }

    /// Values that a person has confirmed, and that HostUp does not show.
    fn confirmed(&self) -> Values {
        let confirmed = self.tail().filter(|tail| {
            tail.known.state == State::Succeeded && tail.known.evidence == Some(Evidence::Person)
        });
        match confirmed.map(|tail| &tail.matter) {
            Some(Matter::Config(change)) => change.difference.to.clone(),
            Some(Matter::Restore(_) | Matter::LegacyEstimate(_) | Matter::LegacyUpgrade(_)) | None => {
                Values::new()
            }
        }
    }

    /// The spec was in force, by the ledger or by the status, and is not any more.
    fn has_drifted(&self) -> bool {
        let realised = self.tail().is_some_and(|tail| {
            tail.known.state == State::Succeeded
                && tail.subject.uid == self.intent.subject.uid
                && tail.intent == self.intent.digest
        });
        realised || self.view.seen != Seen::Never
    }

    /// Until when a reading that differs from what the last order was seen to do proves nothing: HostUp's
    /// readings may lag behind one another.
    fn may_be_a_late_reading(&self) -> Option<Timestamp> {
        let tail = self.tail().filter(|tail| {
            tail.known.state == State::Succeeded
                && tail.intent == self.intent.digest
                && self.intent.owns(tail)
        })?;
        Some(tail.settled_at(self.times)).filter(|settled| self.now < *settled)
    }

    /// A correction of this generation began from the same values.
    fn was_corrected_from(&self, difference: &Difference) -> bool {
        let subject = &self.intent.subject;
        let same = |record: &&Record| {
            record.subject.uid == subject.uid && record.subject.generation == subject.generation
        };
        let corrected = |record: &Record| match &record.matter {
            Matter::Config(change) => {
                change.corrects_drift && options::same(&change.difference.from, &difference.from)
            }
            Matter::Restore(_) | Matter::LegacyEstimate(_) | Matter::LegacyUpgrade(_) => false,
        };
        let done = |record: &&Record| record.known.state == State::Succeeded;
        let records = self.view.history.iter().chain(self.tail());
        records.filter(same).filter(done).any(corrected)
    }
}

struct PlacedOrder {
    order: Order,
    quote: Quote,
    fresh: Price,
    cancels: Option<Invoice>,
}

pub(super) fn facts(shown: Shown) -> Facts {
    Facts::Shown(Box::new(shown))
}

/// Every option that HostUp shows a value for.
fn current(reading: &Reading) -> Values {
    let shown = reading.offers.iter();
    shown
        .filter_map(|offer| Some((offer.key.clone(), offer.current.clone()?)))
        .collect()
}
