//! The older route: one estimate, one order, each at most once. Nothing on it can be read back.

use serde_json::{Value, json};

use super::before_claim::facts;
use super::{Decision, LegacyWish, Look, ProviderReading, StatusView, reported};
use crate::action::ordered::{Action, describe_legacy_order};
use crate::consent::price::{BillingCycle, Price};
use crate::consent::quote::{Quote, QuoteBasis};
use crate::ledger::order::Order;
use crate::ledger::record::{Cause, Estimate, Evidence, KeyInUse, Record, State};
use crate::provider::options;
use crate::status::reason::Reason;
use crate::status::report;
use crate::values::money::Amount;
use jiff::Timestamp;

impl Look<'_> {
    pub(super) fn legacy(&self, wish: &LegacyWish) -> Decision {
        let shown = StatusView {
            record: self.own_record(),
            ..StatusView::default()
        };
        let done = self.records_of_this_wish().find(|record| was_executed(record));
        if let Some(done) = done.filter(|done| self.intent.owns(done)) {
            return self.done(done);
        }
        if !self.view.legacy_enabled {
            let message =
                "the legacy upgrade API is off; the operator's administrator can set --enable-legacy-upgrade";
            return self.stalled(Reason::NotConfigurable, message, facts(shown));
        }
        let (read_at, key) = match &self.view.reading {
            ProviderReading::Unread | ProviderReading::Read(_) => return Decision::TryKey,
            ProviderReading::Trouble(trouble) => return self.troubled(trouble),
            ProviderReading::Key { read_at, key } => (*read_at, key),
        };
        if done.is_some() {
            let message = "this very order was executed for another object; it is not ordered again";
            return reported(Reason::AlreadyExecuted, message, facts(shown), None);
        }
        // Another one's may have been made for another account, and an order changes what the next one costs.
        let since_the_last_order = self.view.records().take_while(|record| !was_executed(record));
        let estimated = since_the_last_order
            .filter(|record| record.intent == self.intent.digest && self.intent.owns(record))
            .find_map(|record| record.known.estimate.as_ref());
        match estimated {
            None => self.estimate(wish, read_at, key, shown),
            Some(estimate) => self.upgrade(wish, estimate, read_at, key, shown),
        }
    }

    fn done(&self, done: &Record) -> Decision {
        let same = done.subject.uid == self.intent.subject.uid;
        let unasked = done.known.evidence == Some(Evidence::ExecutedUnasked);
        let reason = if same && !unasked {
            Reason::InSync
        } else {
            Reason::AlreadyExecuted
        };
        let invoice = done.known.invoice.as_ref();
        let pay = invoice.map_or_else(String::new, |invoice| {
            format!("; pay {invoice} in HostUp's panel")
        });
        let message = format!(
            "{}{pay} (VpsOperation {}). The legacy API has nothing to read back, and the order is not repeated",
            done.known.message.as_clause(),
            done.name
        );
        let report = report::Report {
            // Money was spent that nobody had approved.
            warns: unasked,
            ..report::Report::new(reason, message, None)
        };
        Decision::Report(report.with(facts(StatusView {
            quote: done.quote.clone(),
            approved: done.quote.as_ref().map(|_| true),
            record: Some(done.clone()),
            ..StatusView::default()
        })))
    }

    /// The admin's flag is the consent to an estimate; it costs nothing that any page names.
    fn estimate(&self, wish: &LegacyWish, read_at: Timestamp, key: &KeyInUse, shown: StatusView) -> Decision {
        let action = Action::LegacyEstimate(wish.wanted.clone());
        let body = body(wish, false, None);
        let order = self.legacy_order(wish, action, body, None, key, read_at);
        match self.held_back(&order) {
            Some(held) => Decision::Report(held.with(facts(shown))),
            None => Decision::Buy(Box::new(order)),
        }
    }

    /// The estimate is made at most once between two orders, so that its price may be older than a minute here.
    fn upgrade(
        &self,
        wish: &LegacyWish,
        estimate: &Estimate,
        read_at: Timestamp,
        key: &KeyInUse,
        shown: StatusView,
    ) -> Decision {
        let cycle = BillingCycle::read(wish.cycle.as_deref().unwrap_or_default());
        let Some(price) = estimate.price(cycle) else {
            let message =
                "HostUp's estimate names no total, so nothing is bought, and it is asked for once only";
            return self.stalled(Reason::Rejected, message, facts(shown));
        };
        let body = body(wish, true, estimate.draft);
        let fresh = Price::Change(price);
        let basis = QuoteBasis {
            subject: self.intent.subject.uid.clone(),
            request: format!("POST {} {body}", path(wish)),
            after: vec![
                self.tail()
                    .and_then(Record::last_executed)
                    .map_or_else(String::new, ToString::to_string),
            ],
        };
        let quote = self.renewed(&basis, &fresh);
        let action = Action::LegacyUpgrade(wish.wanted.clone());
        let order = self.legacy_order(wish, action, body, Some(quote.clone()), key, read_at);
        let shown = StatusView {
            quote: Some(quote.clone()),
            ..shown
        };
        let credit = estimate.total.is_some_and(Amount::is_negative);
        let only_by_quote = credit.then(|| "its total is negative, so that it lowers something".to_owned());
        let what = describe_legacy_order(&wish.vmid, &wish.wanted);
        self.order(order, quote, fresh, only_by_quote, &what, shown)
    }

    fn legacy_order(
        &self,
        wish: &LegacyWish,
        action: Action,
        body: String,
        quote: Option<Quote>,
        key: &KeyInUse,
        read_at: Timestamp,
    ) -> Order {
        let path = path(wish);
        let request = format!("POST {path} {body}");
        let price = quote.as_ref().map(|quote| &quote.price);
        let cause = Cause::new(&request, key, &[], price);
        Order {
            subject: self.intent.subject.clone(),
            chain: self.intent.chain(),
            attempt: self.attempt(),
            intent: self.intent.digest.clone(),
            vps: wish.vmid.clone(),
            action,
            follows: self.tail().and_then(Record::last_executed).cloned(),
            saved_by: None,
            path,
            body,
            quote,
            dearer: None,
            grant: None,
            gates: Vec::new(),
            secret_version: key.secret_version.clone(),
            cause,
            read_at,
        }
    }

    /// Every record of this request, the last one first.
    fn records_of_this_wish(&self) -> impl Iterator<Item = &Record> {
        let all = self.view.records();
        all.filter(|record| record.intent == self.intent.digest)
    }
}

fn was_executed(record: &Record) -> bool {
    let upgrade = matches!(record.action, Action::LegacyUpgrade(_));
    let unasked = record.known.evidence == Some(Evidence::ExecutedUnasked);
    let by_person = record.known.evidence == Some(Evidence::Person);
    record.known.state == State::Succeeded && (upgrade || unasked || by_person)
}

fn path(wish: &LegacyWish) -> String {
    format!("/api/vm/{}/upgrade", wish.vmid)
}

fn body(wish: &LegacyWish, send: bool, draft: Option<u64>) -> String {
    let mut body = json!({"resources": options::to_json(&wish.wanted), "send": send});
    if let Value::Object(members) = &mut body {
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        put("cycle", wish.cycle.clone().map(Value::String));
        put("package", wish.package.clone().map(Value::String));
        put("draftId", draft.map(Value::from));
    }
    body.to_string()
}
