//! Options kept as written: what differs, what it costs, who allows it, and the order.

use serde_json::{Value, json};

use jiff::Timestamp;

use super::{
    Decision, Goods, InForce, Look, OptionsWish, Preview, ProviderReading, Reading, Seen, StatusFacts,
    StatusView, reported,
};
use crate::action::answer::{CANCEL_EXISTING_INVOICE, EXISTING_INVOICE_BLOCKING};
use crate::action::ordered::{Action, Change};
use crate::consent::approval;
use crate::consent::price::Price;
use crate::consent::quote::{self, Quote, QuoteBasis};
use crate::ledger::backup_first;
use crate::ledger::order::{Attempt, Order};
use crate::ledger::record::{Cause, Evidence, Invoice, Record, State, later};
use crate::ledger::setback;
use crate::provider::gate::{self, Gate, GateName};
use crate::provider::options::{self, Difference, OptionValue, Values};
use crate::status::reason::Reason;
use crate::status::report;
use crate::values::text::{self, Text};

impl Look<'_> {
    pub(super) fn options(&self, wish: &OptionsWish) -> Decision {
        match &self.view.reading {
            ProviderReading::Unread | ProviderReading::Key { .. } => Decision::ReadOptions,
            ProviderReading::Trouble(trouble) => self.troubled(trouble),
            ProviderReading::Read(reading) => self.with_options(wish, reading),
        }
    }

    fn with_options(&self, wish: &OptionsWish, reading: &Reading) -> Decision {
        let vps = &wish.vps;
        let shown = StatusView {
            current: Some(current(reading)),
            record: self.own_record(),
            ..StatusView::default()
        };
        let what = match (wish.goods, reading.is_payg) {
            (Goods::Options, false) => "options",
            (Goods::Size, true) => "size",
            (Goods::Options, true) => {
                let message = format!(
                    "{vps} is a pay-as-you-go VM, which has no such options. To change its size, set spec.cloudVm \
                     instead of spec.resources"
                );
                return self.stalled(Reason::NotConfigurable, message, facts(shown));
            }
            (Goods::Size, false) => {
                let message = format!(
                    "{vps} is not a pay-as-you-go VM, so that it cannot be resized. To change its options, set \
                     spec.resources instead of spec.cloudVm"
                );
                return self.stalled(Reason::NotConfigurable, message, facts(shown));
            }
        };
        let difference = match options::difference(&reading.offers, &wish.wanted, &self.confirmed()) {
            Ok(difference) => difference,
            Err(objections) => {
                let message = format!(
                    "{}. Nothing is ordered; change spec.{}",
                    text::clause(&objections),
                    wish.goods.field()
                );
                return self.stalled(Reason::UnknownOption, message, facts(shown));
            }
        };
        let resync = Some(later(self.now, self.times.resync_interval));
        if difference.is_empty() {
            let message = if self.view.committed_dry_run {
                format!(
                    "{vps} has the options of the spec. HostUp had answered a dry run of them as if it had \
                     committed it: look in HostUp's panel what it cost"
                )
            } else {
                format!("{vps} has the {what} of the spec")
            };
            let bought = shown.record.as_ref().filter(|record| {
                let is_done = record.known.state == State::Succeeded && !record.is_backup();
                is_done && record.intent == self.intent.digest
            });
            let in_sync = StatusView {
                drifted: Some(false),
                quote: bought.and_then(|record| record.quote.clone()),
                approved: bought.map(|_| true),
                in_force: InForce::Wish,
                committed_dry_run: self.view.committed_dry_run,
                ..shown.clone()
            };
            return reported(Reason::InSync, message, facts(in_sync), resync);
        }
        if self.view.committed_dry_run {
            return self.committed_dry_run(shown);
        }
        if let Some(until) = self.may_be_a_late_reading(wish, &difference) {
            let message = format!(
                "HostUp's reading contradicts an order that was confirmed moments ago ({difference}). The operator reads \
                 it again until {until:.0} before it acts"
            );
            let wake = Some(later(self.now, self.times.gate_interval).min(until));
            return reported(Reason::Converging, message, facts(shown), wake);
        }
        let drifted = self.has_drifted();
        let shown = StatusView {
            drifted: drifted.then_some(true),
            in_force: if drifted { InForce::Wish } else { InForce::Kept },
            ..shown
        };
        if drifted && !wish.corrects_drift {
            let message = format!(
                "{vps} no longer has the {what} of the spec; the difference is {difference}. \
                 Set driftPolicy: Correct to order it, or write the current values into the spec"
            );
            return reported(Reason::Drifted, message, facts(shown), resync);
        }
        if let Some(next) = self.next_look_at_drift().filter(|_| drifted) {
            let message =
                format!("{vps} no longer has the {what} of the spec ({difference}); looking once more");
            return reported(Reason::Drifted, message, facts(shown), Some(next));
        }
        if drifted && self.was_corrected_from(&difference) {
            let message = format!(
                "{vps} was corrected from these values before, and has them again ({difference}); \
                 something else sets them. Nothing is ordered until the spec is changed"
            );
            return self.stalled(Reason::DriftContested, message, facts(shown));
        }
        if self.backup().0 && reading.own_backups.is_none() {
            return Decision::ReadBackups;
        }
        if wish.goods == Goods::Size {
            return self.with_rates(wish, reading, &difference, shown);
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
        shown: StatusView,
    ) -> Decision {
        if preview.committed {
            return self.committed_dry_run(shown);
        }
        let can_commit = &preview.can_commit;
        let mut gates = options::gates(&reading.offers, difference);
        gates.push(Gate::new(
            GateName::CanCommit,
            can_commit.allowed,
            &can_commit.code,
            &can_commit.reason,
        ));
        gates.extend(self.busy_gate());
        gates.extend(self.backup_gate(reading));
        let invoice = self.invoice_in_the_way(wish, reading);
        if let Some((gate, _)) = &invoice {
            gates.push(gate.clone());
        }
        let cancels = invoice.and_then(|(_, cancels)| cancels);
        let placed = preview
            .price
            .clone()
            .map(|price| Price::Change(price.in_months_of(reading.cycle)))
            .map(|price| self.place(wish, reading, difference, &gates, preview, price, cancels, &shown));
        let shown = StatusView {
            gates,
            quote: placed.as_ref().map(|placed| placed.quote.clone()),
            ..shown
        };
        let gate_time = Some(later(self.now, self.times.gate_interval));
        if let Some(message) = gate::told(&shown.gates) {
            return reported(Reason::GatesClosed, message, facts(shown), gate_time);
        }
        let Some(placed) = placed else {
            let message = "HostUp names no complete price for this change, so nothing is bought";
            return reported(Reason::ProviderUnavailable, message, facts(shown), gate_time);
        };
        let cancelled = placed.cancels.as_ref();
        let cancelled = cancelled.map(|invoice| format!(", and cancelling {invoice}"));
        let billed = preview.invoice.as_ref();
        let billed = billed.map(|invoice| format!(", billed by {}", invoice.foreseen()));
        let besides: String = [cancelled, billed].into_iter().flatten().collect();
        let end = if besides.is_empty() { "" } else { "," };
        let what = format!("{difference}{besides}{end}");
        let only_by_quote = match (&placed.cancels, &placed.dearer) {
            (Some(invoice), _) => Some(format!("it cancels {invoice}")),
            (None, Some(_)) => {
                Some("HostUp's dry run shows an invoice that is not that of its price".to_owned())
            }
            (None, None) => difference.lowers(),
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

    /// Closed while a restore onto the VPS is under way.
    pub(super) fn busy_gate(&self) -> Option<Gate> {
        let record = self.view.busy.as_ref()?;
        let reason = format!(
            "VpsOperation {record} overwrites this VPS, or waits for an answer; see kubectl get vpsoperation {record} -o wide"
        );
        Some(Gate::new(GateName::TargetIdle, false, "", &reason))
    }

    /// HostUp's gate of a new backup, where one is to be made first.
    pub(super) fn backup_gate(&self, reading: &Reading) -> Option<Gate> {
        let (wanted, made) = self.backup();
        let own = reading.own_backups.as_ref()?;
        (wanted && made.is_none()).then(|| backup_first::gate(&own.can_create))
    }

    /// Consent, the last attempt, the brakes; then the order, or that of a backup before it.
    pub(super) fn order(
        &self,
        order: Order,
        quote: Quote,
        fresh: Price,
        only_by_quote: Option<String>,
        what: &str,
        shown: StatusView,
    ) -> Decision {
        let approval = self.intent.approval.as_ref();
        let (wanted, made) = self.backup();
        let setback = self.setbacks().first().map(|record| setback::told(record));
        let only_by_quote = only_by_quote.or(setback.as_ref().map(|_| setback::NO_CEILING.to_owned()));
        let consent = approval::judge(approval, &quote, &fresh, only_by_quote, self.now);
        let what = if wanted {
            let first = backup_first::described(made, &order.vps);
            format!("{}, after {first},", what.trim_end_matches(','))
        } else {
            what.to_owned()
        };
        let order = Order {
            grant: consent.grant().cloned(),
            saved_by: made.filter(|_| wanted).map(|made| made.name.clone()),
            ..order
        };
        let shown = StatusView {
            approved: Some(order.grant.is_some()),
            ..shown
        };
        let missing = approval::missing(&consent, approval, &self.intent.subject, &quote, &fresh, &what);
        if let Some((reason, message)) = missing {
            if let (Some((setback, said)), Some(_)) = (setback, approval) {
                return self.stalled(setback, format!("{said}. {message}"), facts(shown));
            }
            let wake = Some(later(self.now, self.times.resync_interval));
            return reported(reason, message, facts(shown), wake);
        }
        if let Some(held) = self.held_back(&order) {
            return Decision::Report(held.with(facts(shown)));
        }
        if !wanted || made.is_some() {
            return Decision::Buy(Box::new(order));
        }
        let order = backup_first::before(order, &self.view.chain.instance);
        let last = self
            .tail()
            .filter(|tail| tail.is_backup() && self.intent.owns(tail));
        match self.view.chain.holds_back(&order, last, self.times, self.now) {
            Some(held) => Decision::Report(held.with(facts(shown))),
            None => Decision::Buy(Box::new(order)),
        }
    }

    /// What another object's order came to is no reason to hold this one's back, nor to let it go.
    pub(super) fn held_back(&self, order: &Order) -> Option<report::Report<()>> {
        let last = self.changes_of_this_name().next();
        self.view.chain.holds_back(order, last, self.times, self.now)
    }

    pub(super) fn attempt(&self) -> Attempt {
        Attempt::after(
            self.tail(),
            self.records_of_this_name().next(),
            &self.intent.subject,
            self.now,
        )
    }

    #[allow(clippy::too_many_arguments)]
    fn place(
        &self,
        wish: &OptionsWish,
        reading: &Reading,
        difference: &Difference,
        gates: &[Gate],
        preview: &Preview,
        fresh: Price,
        cancels: Option<Invoice>,
        shown: &StatusView,
    ) -> PlacedOrder {
        let mut body = json!({"resources": options::to_json(&difference.to), "dryRun": false});
        if let (Some(_), Value::Object(members)) = (&cancels, &mut body) {
            members.insert(CANCEL_EXISTING_INVOICE.to_owned(), Value::Bool(true));
        }
        let mut after = vec![cancels.as_ref().map_or_else(String::new, Invoice::to_string)];
        // An invoice of the price itself says nothing new; its id and its day change from one dry run to the next.
        let foreseen = preview.invoice.clone();
        let dearer = foreseen.filter(|invoice| !invoice.is_within(&fresh));
        after.extend(dearer.as_ref().map(Invoice::sum));
        let call = Call {
            path: format!("/api/v2/vps/{}/actions/config", wish.vps),
            body: body.to_string(),
            action: Action::Options(Change {
                difference: difference.clone(),
                corrects_drift: shown.drifted == Some(true),
            }),
            after,
        };
        let (order, quote) = self.ordered(wish, reading, call, gates, &fresh);
        PlacedOrder {
            order: Order {
                dearer: dearer.clone(),
                ..order
            },
            quote,
            fresh,
            cancels,
            dearer,
        }
    }

    /// The order of a change that can be read back, and its quote.
    pub(super) fn ordered(
        &self,
        wish: &OptionsWish,
        reading: &Reading,
        call: Call,
        gates: &[Gate],
        fresh: &Price,
    ) -> (Order, Quote) {
        let Call {
            path,
            body,
            action,
            after: besides,
        } = call;
        let follows = self.tail().and_then(Record::last_executed).cloned();
        let request = format!("POST {path} {body}");
        let cause = Cause::new(&request, &reading.key, gates, Some(fresh));
        let changed = action.change().map(|change| change.difference.to_string());
        let mut after = vec![
            follows.as_ref().map_or_else(String::new, ToString::to_string),
            changed.unwrap_or_default(),
        ];
        after.extend(besides);
        after.extend(wish.backup_first.then(|| backup_first::AS_TOLD.to_owned()));
        after.extend(self.setbacks().iter().map(|record| record.name.to_string()));
        let basis = QuoteBasis {
            subject: self.intent.subject.uid.clone(),
            request,
            after,
        };
        let quote = self.renewed(&basis, fresh);
        let order = Order {
            subject: self.intent.subject.clone(),
            chain: self.intent.chain(),
            attempt: self.attempt(),
            intent: self.intent.digest.clone(),
            vps: wish.vps.clone(),
            action,
            follows,
            saved_by: None,
            path,
            body,
            quote: Some(quote.clone()),
            dearer: None,
            grant: None,
            gates: gates.to_vec(),
            secret_version: reading.key.secret_version.clone(),
            cause,
            read_at: reading.read_at,
        };
        (order, quote)
    }

    /// The quote that stands for this request at this price.
    pub(super) fn renewed(&self, basis: &QuoteBasis, fresh: &Price) -> Quote {
        let approval = self.intent.approval.as_ref();
        let approved = approval.and_then(|approval| approval.quote.as_ref());
        quote::renew(basis, fresh, self.view.chain.shown_quote.as_ref(), approved)
    }

    /// The last order of this very object that HostUp looked at, if it refused that for an open invoice.
    fn refused_for_an_invoice(&self) -> Option<&Record> {
        let was_looked_at = |record: &&Record| match record.known.state {
            State::NotSent | State::NotExecuted => false,
            // A refusal for being asked too often: nobody looked at it.
            State::Rejected => record.known.not_before.is_none(),
            State::Sending
            | State::Accepted
            | State::Succeeded
            | State::Failed
            | State::Unknown
            | State::Abandoned => true,
        };
        let last = self.own_changes().find(was_looked_at)?;
        let code = last.known.said.code.as_ref().map(Text::as_str);
        let refused = last.known.state == State::Rejected && code == Some(EXISTING_INVOICE_BLOCKING);
        refused.then_some(last)
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
                // What the list says of it is newer than the refusal; only a name may be missing there.
                let named = refused
                    .known
                    .invoice
                    .as_ref()
                    .filter(|_| only.id.as_str().is_empty());
                let only = Invoice {
                    id: named.unwrap_or(only).id.clone(),
                    ..only.clone()
                };
                if suggested && wish.cancels_invoice {
                    (
                        gate(true, &format!("{only} is cancelled with the order")),
                        Some(only),
                    )
                } else {
                    let or = if suggested {
                        "set spec.cancelExistingInvoice: true and approve the quote that names it, or "
                    } else {
                        ""
                    };
                    let reason = format!("{only} is open; {or}pay it {}", only.where_to_pay());
                    (gate(false, &reason), None)
                }
            }
            several => {
                let names: Vec<String> = several.iter().take(5).map(Invoice::to_string).collect();
                let reason = format!("open are {}; pay them in HostUp's panel", names.join(" and "));
                (gate(false, &reason), None)
            }
        })
    }

    /// Values that a person has confirmed, by the newest order of each.
    fn confirmed(&self) -> Values {
        let mut confirmed = Values::new();
        let records = self.view.history.iter().chain(self.tail());
        for record in records.filter(|record| record.known.state == State::Succeeded) {
            let Some(change) = record.action.change() else {
                continue;
            };
            for (key, value) in &change.difference.to {
                if record.known.evidence == Some(Evidence::Person) {
                    confirmed.insert(key.clone(), value.clone());
                } else {
                    confirmed.remove(key);
                }
            }
        }
        confirmed
    }

    /// The wish was in force, by the ledger or by the status, and is not any more.
    fn has_drifted(&self) -> bool {
        let last = self
            .own_changes()
            .find(|record| record.known.state == State::Succeeded);
        self.view.seen != Seen::Never || last.is_some_and(|last| last.intent == self.intent.digest)
    }

    /// One reading is not enough to pay for: when the next one is due, while drift was not seen that long.
    fn next_look_at_drift(&self) -> Option<Timestamp> {
        let since = match self.view.seen {
            Seen::Never | Seen::InForce => self.now,
            Seen::Drifted { since } => since,
        };
        Some(later(since, self.times.gate_interval)).filter(|next| self.now < *next)
    }

    /// Until when this reading proves nothing, because it may be older than an order that has ended, of this object or of
    /// another one: it lacks what the order did, or shows the values from before it. Readings may also lag behind one another.
    /// A change of the size sends both of its parts, also the one that need not change.
    fn may_be_a_late_reading(&self, wish: &OptionsWish, difference: &Difference) -> Option<Timestamp> {
        let records = self.view.history.iter().chain(self.tail());
        let done: Vec<(&Record, &Difference)> = records
            .filter(|record| record.known.state == State::Succeeded)
            .filter_map(|record| Some((record, &record.action.change()?.difference)))
            .collect();
        let sent = match wish.goods {
            Goods::Size => &wish.wanted,
            Goods::Options => &difference.to,
        };
        let late = sent.iter().flat_map(|(key, wanted)| {
            let differs = difference.to.contains_key(key);
            let shown = if differs {
                difference.from.get(key)
            } else {
                Some(wanted)
            };
            let of_key = done.iter().filter(|(_, done)| done.to.contains_key(key));
            let newest = of_key.clone().next_back();
            let stood_before = newest.filter(|(_, done)| alike(done.from.get(key), shown));
            let asked_again =
                of_key.filter(move |(_, done)| differs && alike(done.to.get(key), Some(wanted)));
            asked_again.chain(stood_before)
        });
        let settled = late.map(|(record, _)| record.settled_at(self.times)).max()?;
        (self.now < settled).then_some(settled)
    }

    /// It may have spent what nobody approved, and would again. What it did shows in the options.
    fn committed_dry_run(&self, shown: StatusView) -> Decision {
        let message = "HostUp answered a dry run as if it had committed it; look in HostUp's panel what it did. \
            The operator does not ask for these options again until spec.resources is changed";
        let shown = StatusView {
            committed_dry_run: true,
            ..shown
        };
        let since = self.view.chain.stalled_since;
        let report = report::Report {
            warns: true,
            ..report::Report::stalled(Reason::NotConfigurable, message, since, self.times, self.now)
        };
        Decision::Report(report.with(facts(shown)))
    }

    /// A correction of this generation began from the same values.
    fn was_corrected_from(&self, difference: &Difference) -> bool {
        let corrections = self.own_records().filter(|record| {
            record.known.state == State::Succeeded
                && record.subject.generation == self.intent.subject.generation
        });
        corrections
            .filter_map(|record| record.action.change())
            .any(|change| change.corrects_drift && options::same(&change.difference.from, &difference.from))
    }
}

/// Whether HostUp shows the same value twice, or twice none.
fn alike(one: Option<&OptionValue>, other: Option<&OptionValue>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.means(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// A call that changes a VPS, and what its quote stands on besides the change.
pub(super) struct Call {
    pub(super) path: String,
    pub(super) body: String,
    pub(super) action: Action,
    pub(super) after: Vec<String>,
}

struct PlacedOrder {
    order: Order,
    quote: Quote,
    fresh: Price,
    cancels: Option<Invoice>,
    /// The invoice that the dry run shows, if it is not within the price.
    dearer: Option<Invoice>,
}

pub(super) fn facts(shown: StatusView) -> StatusFacts {
    StatusFacts::Shown(Box::new(shown))
}

/// Every option that HostUp shows a value for.
fn current(reading: &Reading) -> Values {
    let shown = reading.offers.iter();
    shown
        .filter_map(|offer| Some((offer.key.clone(), offer.current.clone()?)))
        .collect()
}
