use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

mod backup_first;

use super::*;
use crate::action::ordered::Action;
use crate::consent::approval::{Ceiling, CeilingUntil};
use crate::consent::price::Recurring;
use crate::ledger::record::{Estimate, Evidence, Invoice, later};
use crate::provider::options::tests::{number, slider};
use crate::provider::options::{OptionKind, OptionValue};
use crate::restore::tests::{chain, key, now, recorded, times, unreachable};
use crate::values::ids::{SubjectKind, Uid};
use crate::values::moment::Moment;
use crate::values::money::{Amount, Currency};
use crate::values::text::Text;

pub(super) fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

fn ceiling(due_now: &str, per_month: &str) -> Approval {
    Approval::from(CeilingUntil {
        most: Ceiling::Change {
            due_now: amount(due_now),
            per_month: amount(per_month),
            currency: Currency::parse("SEK").unwrap(),
        },
        valid_until: None,
    })
}

fn wanted(bandwidth: i64) -> Values {
    Values::from([("bandwidthGb".to_owned(), number(bandwidth))])
}

fn subject() -> Subject {
    Subject {
        kind: SubjectKind::VpsResourceConfig,
        namespace: "shop".into(),
        name: "web-options".into(),
        uid: Uid::new("uid-1"),
        generation: 1,
    }
}

pub(super) fn wish() -> OptionsWish {
    OptionsWish {
        vps: VpsId::new("vps_1"),
        goods: Goods::Options,
        wanted: wanted(4096),
        cancels_invoice: false,
        corrects_drift: false,
        backup_first: false,
    }
}

pub(super) fn intent_of(wish: OptionsWish) -> Intent {
    Intent {
        subject: subject(),
        wish: DesiredOptions::Options(wish),
        digest: "intent-1".into(),
        approval: Some(ceiling("40", "40")),
        suspended: false,
        deleted: false,
    }
}

fn intent() -> Intent {
    intent_of(wish())
}

pub(super) fn reading(current: Option<OptionValue>) -> Reading {
    Reading {
        read_at: now(),
        key: key("7"),
        is_payg: false,
        cycle: BillingCycle::Months(1),
        offers_read: Moment {
            wall: now(),
            monotonic: Duration::ZERO,
            with_sleep: Duration::ZERO,
        },
        offers: vec![slider("bandwidthGb", current)],
        resize: None,
        own_backups: None,
        invoices: Some(vec![]),
        preview: None,
    }
}

fn view(reading: ProviderReading) -> View {
    View {
        chain: chain(),
        history: vec![],
        busy: None,
        changed: None,
        rival: Rival::None,
        seen: Seen::Never,
        committed_dry_run: false,
        legacy_enabled: true,
        reading,
    }
}

pub(super) fn read(reading: Reading) -> View {
    view(ProviderReading::Read(Box::new(reading)))
}

pub(super) fn open() -> ProviderGate {
    ProviderGate {
        allowed: true,
        ..ProviderGate::default()
    }
}

fn price(amount_now: &str, recurring: &str) -> ChangePrice {
    ChangePrice {
        currency: Currency::parse("SEK"),
        due_now: amount(amount_now),
        recurring: Recurring::PerCycle(amount(recurring)),
    }
}

/// Decides, and gives the dry run that is asked for, at this price and with this gate.
fn decided_at(
    intent: &Intent,
    view: &View,
    price: Option<ChangePrice>,
    can_commit: ProviderGate,
) -> Decision {
    decided_foreseeing(intent, view, price, can_commit, None)
}

/// The same, where the dry run shows an invoice.
fn decided_foreseeing(
    intent: &Intent,
    view: &View,
    price: Option<ChangePrice>,
    can_commit: ProviderGate,
    invoice: Option<Invoice>,
) -> Decision {
    let mut view = view.clone();
    if let ProviderReading::Read(reading) = &mut view.reading {
        reading.read_at = now();
    }
    match decide(intent, &view, &times(), now()) {
        Decision::Preview(body) => {
            let ProviderReading::Read(reading) = &mut view.reading else {
                panic!("a dry run before anything was read");
            };
            reading.preview = Some(Preview {
                body,
                price,
                invoice,
                can_commit,
                committed: false,
            });
            decide(intent, &view, &times(), now())
        }
        other => other,
    }
}

#[test]
fn an_invoice_that_is_not_that_of_the_price_takes_the_approval_of_a_quote_that_names_it() {
    let looked_at = view(ProviderReading::Read(Box::new(reading(Some(number(2048))))));
    let foreseeing = |intent: &Intent, amount: &str, currency: &str, due: &str| {
        let invoice = Invoice {
            amount: Amount::parse(amount),
            currency: Currency::parse(currency),
            due_at: Some(Text::new(due)),
            ..invoice("inv_1")
        };
        decided_foreseeing(intent, &looked_at, Some(price("40", "40")), open(), Some(invoice))
    };
    let (within, day) = (intent(), "2026-12-01");
    assert!(matches!(foreseeing(&within, "40", "SEK", day), Decision::Buy(_)));
    for (amount, currency) in [("4000", "SEK"), ("40", "EUR"), ("", "SEK")] {
        let dearer = foreseeing(&within, amount, currency, day);
        assert_eq!(reason(&dearer), Reason::AwaitingApproval, "{amount} {currency}");
        assert!(message(&dearer).contains("an invoice that is not that of its price"));
        let by_quote = Intent {
            approval: Some(Approval::from(quote_of(&dearer).id)),
            ..intent()
        };
        // The day and the id change from one dry run to the next.
        let next_day = foreseeing(&by_quote, amount, currency, "2026-12-02");
        assert!(matches!(next_day, Decision::Buy(_)), "{amount} {currency}");
        let more = foreseeing(&by_quote, "5000", "SEK", day);
        assert_eq!(reason(&more), Reason::AwaitingApproval, "{amount} {currency}");
    }
}

fn decided(intent: &Intent, view: &View) -> Decision {
    decided_at(intent, view, Some(price("40", "40")), open())
}

pub(super) fn reason(decision: &Decision) -> Reason {
    match decision {
        Decision::Report(report) => report.reason,
        other => panic!("no report: {other:?}"),
    }
}

pub(super) fn message(decision: &Decision) -> String {
    match decision {
        Decision::Report(report) => report.message.clone(),
        other => panic!("no report: {other:?}"),
    }
}

pub(super) fn quote_of(decision: &Decision) -> Quote {
    match decision {
        Decision::Report(Report {
            facts: StatusFacts::Shown(shown),
            ..
        }) => shown.quote.clone().unwrap(),
        other => panic!("no quote: {other:?}"),
    }
}

fn bought(decision: Decision) -> Order {
    match decision {
        Decision::Buy(order) => *order,
        other => panic!("not bought: {other:?}"),
    }
}

fn at_2048() -> View {
    read(reading(Some(number(2048))))
}

/// The record of the standard order, in this state.
pub(super) fn record(state: State) -> Record {
    recorded(bought(decided(&intent(), &at_2048())), state)
}

fn after(tail: Record, current: i64) -> View {
    let mut view = read(reading(Some(number(current))));
    view.chain.tail = Some(tail);
    view
}

#[test]
fn a_commit_is_the_dry_run_but_for_its_flag_and_asks_for_what_differs_only() {
    let mut wish = wish();
    wish.wanted.insert("snapshotSlots".into(), number(0));
    let mut at_2048 = reading(Some(number(2048)));
    at_2048.offers.push(slider("snapshotSlots", Some(number(0))));
    let Decision::Preview(dry_run) =
        decide(&intent_of(wish.clone()), &read(at_2048.clone()), &times(), now())
    else {
        panic!("no dry run");
    };
    let order = bought(decided(&intent_of(wish), &read(at_2048)));
    let mut body: Value = serde_json::from_str(&dry_run).unwrap();
    assert_eq!(body, json!({"resources": {"bandwidthGb": 4096}, "dryRun": true}));
    body["dryRun"] = json!(false);
    assert_eq!(serde_json::from_str::<Value>(&order.body).unwrap(), body);
    assert_eq!(order.path, "/api/v2/vps/vps_1/actions/config");
}

#[test]
fn what_is_as_wanted_is_in_sync_without_a_dry_run() {
    let decision = decide(&intent(), &read(reading(Some(number(4096)))), &times(), now());
    assert_eq!(reason(&decision), Reason::InSync);
}

#[test]
fn each_missing_consent_gate_and_brake_holds_the_order_back() {
    let approved = |approval| reason(&decided(&Intent { approval, ..intent() }, &at_2048()));
    assert_eq!(approved(None), Reason::AwaitingApproval);
    assert_eq!(
        approved(Some(ceiling("39.99", "40"))),
        Reason::QuoteExceedsCeiling
    );
    assert_eq!(
        approved(Some(ceiling("40", "39.99"))),
        Reason::QuoteExceedsCeiling
    );
    let closed = decided_at(
        &intent(),
        &at_2048(),
        Some(price("40", "40")),
        ProviderGate::default(),
    );
    assert_eq!(reason(&closed), Reason::GatesClosed);
    let unpriced = decided_at(&intent(), &at_2048(), None, open());
    assert_eq!(reason(&unpriced), Reason::ProviderUnavailable);
    let mut braked = at_2048();
    braked.chain.brakes.read_only = true;
    assert_eq!(reason(&decided(&intent(), &braked)), Reason::ReadOnly);
    let mut rival = at_2048();
    rival.rival = Rival::Responsible;
    assert_eq!(reason(&decided(&intent(), &rival)), Reason::TargetConflict);
    let minute = later(now(), Duration::from_secs(60));
    rival.rival = Rival::Unseen { until: minute };
    let waits = decided(&intent(), &rival);
    assert!(matches!(waits, Decision::AwaitRival(until) if until == minute));
    rival.rival = Rival::Unseen { until: now() };
    assert!(!matches!(decided(&intent(), &rival), Decision::AwaitRival(_)));
    let payg = Reading {
        is_payg: true,
        ..reading(Some(number(2048)))
    };
    assert_eq!(reason(&decided(&intent(), &read(payg))), Reason::NotConfigurable);
}

#[test]
fn a_yearly_price_is_held_against_the_monthly_ceiling_by_its_share() {
    let of_cycle = |cycle, recurring: &str| {
        let reading = Reading {
            cycle,
            ..reading(Some(number(2048)))
        };
        decided_at(&intent(), &read(reading), Some(price("40", recurring)), open())
    };
    assert!(matches!(
        of_cycle(BillingCycle::Months(12), "480"),
        Decision::Buy(_)
    ));
    assert_eq!(
        reason(&of_cycle(BillingCycle::Months(12), "480.01")),
        Reason::QuoteExceedsCeiling
    );
    assert_eq!(
        reason(&of_cycle(BillingCycle::Unknown, "1")),
        Reason::QuoteExceedsCeiling
    );
}

#[test]
fn what_lowers_a_value_goes_by_its_quote_only() {
    let view = read(reading(Some(number(8192))));
    let cheap = Some(price("-5", "-5"));
    let refused = decided_at(&intent(), &view, cheap.clone(), open());
    assert_eq!(reason(&refused), Reason::AwaitingApproval);
    assert!(
        message(&refused).contains("lowers bandwidthGb from 8192 to 4096"),
        "{}",
        message(&refused)
    );
    let by_quote = Intent {
        approval: Some(Approval::from(quote_of(&refused).id)),
        ..intent()
    };
    assert!(matches!(
        decided_at(&by_quote, &view, cheap, open()),
        Decision::Buy(_)
    ));
}

#[test]
fn a_quote_is_spent_by_its_order_and_another_change_needs_another() {
    let preview = Intent {
        approval: None,
        ..intent()
    };
    let quote = quote_of(&decided(&preview, &at_2048()));
    let approved = Intent {
        approval: Some(Approval::from(quote.id.clone())),
        ..intent_of(OptionsWish {
            corrects_drift: true,
            ..wish()
        })
    };
    assert!(matches!(decided(&approved, &at_2048()), Decision::Buy(_)));
    let drifted = decided(
        &approved,
        &drifted_after(long_done(record(State::Succeeded)), 2048),
    );
    assert_eq!(reason(&drifted), Reason::AwaitingApproval);
    assert_ne!(quote_of(&drifted).id, quote.id);
    let from_elsewhere = decided(&approved, &read(reading(Some(number(1024)))));
    assert_eq!(reason(&from_elsewhere), Reason::AwaitingApproval);
    // What came to nothing spends nothing.
    let refused = record(State::NotExecuted);
    assert!(matches!(
        decided(&approved, &after(refused, 2048)),
        Decision::Buy(_)
    ));
}

#[test]
fn an_approved_quote_stands_until_one_of_its_amounts_rises() {
    let preview = Intent {
        approval: None,
        ..intent()
    };
    let quote = quote_of(&decided(&preview, &at_2048()));
    let approved = Intent {
        approval: Some(Approval::from(quote.id.clone())),
        ..intent()
    };
    let mut view = at_2048();
    view.chain.shown_quote = Some(quote);
    let at = |now, recurring| decided_at(&approved, &view, Some(price(now, recurring)), open());
    assert!(matches!(at("39", "40"), Decision::Buy(_)));
    assert_eq!(reason(&at("40.01", "40")), Reason::AwaitingApproval);
    assert_eq!(reason(&at("1", "40.01")), Reason::AwaitingApproval);
}

#[test]
fn a_record_that_may_have_been_executed_is_never_followed_by_another_order() {
    for state in State::ALL {
        let decision = decided(&intent(), &after(record(state), 2048));
        let frees = state.frees_the_name() && !matches!(state, State::Rejected | State::NotSent);
        assert_eq!(matches!(decision, Decision::Buy(_)), frees, "{state:?}");
    }
}

/// The standard order, done and settled long ago.
fn long_done(tail: Record) -> Record {
    let mut tail = tail;
    tail.known.state = State::Succeeded;
    tail.known.evidence = Some(Evidence::ReadBack);
    tail.claim.made_at = now() - times().settle_time;
    tail.known.quiet_since = Some(tail.claim.made_at);
    tail
}

/// Drift that was seen long enough ago to be believed.
pub(super) fn seen_before() -> Seen {
    Seen::Drifted {
        since: now() - times().gate_interval,
    }
}

/// As [`after`], with drift that was seen before.
fn drifted_after(tail: Record, current: i64) -> View {
    View {
        seen: seen_before(),
        ..after(tail, current)
    }
}

#[test]
fn a_reading_that_contradicts_what_was_just_read_back_is_no_drift_yet() {
    let correct = intent_of(OptionsWish {
        corrects_drift: true,
        ..wish()
    });
    let mut done = long_done(record(State::Succeeded));
    let first = decided(&correct, &after(done.clone(), 2048));
    assert_eq!(reason(&first), Reason::Drifted, "one reading is not paid for");
    done.known.quiet_since = Some(now());
    for seen in [Seen::Never, Seen::InForce, seen_before()] {
        let view = View {
            seen,
            ..after(done.clone(), 2048)
        };
        assert_eq!(reason(&decided(&correct, &view)), Reason::Converging);
    }
}

#[test]
fn drift_is_shown_or_corrected_once_from_each_value() {
    let done = || long_done(record(State::Succeeded));
    assert_eq!(reason(&decided(&intent(), &after(done(), 1024))), Reason::Drifted);
    let correct = intent_of(OptionsWish {
        corrects_drift: true,
        ..wish()
    });
    let order = bought(decided(&correct, &drifted_after(done(), 1024)));
    assert_eq!(order.attempt.number, 2);
    let corrected = long_done(recorded(order, State::Succeeded));
    let again = decided(&correct, &drifted_after(corrected.clone(), 1024));
    assert_eq!(reason(&again), Reason::DriftContested);
    // From another value it is corrected, and the first is remembered behind that.
    let other = bought(decided(&correct, &drifted_after(corrected.clone(), 2048)));
    let mut view = drifted_after(long_done(recorded(other, State::Succeeded)), 1024);
    view.history = vec![done(), corrected];
    assert_eq!(reason(&decided(&correct, &view)), Reason::DriftContested);
    let edited = Intent {
        subject: Subject {
            generation: 2,
            ..subject()
        },
        ..correct
    };
    assert!(matches!(decided(&edited, &view), Decision::Buy(_)));
}

#[test]
fn drift_is_looked_at_twice_a_gate_interval_apart_before_it_is_paid_for() {
    let correct = intent_of(OptionsWish {
        corrects_drift: true,
        ..wish()
    });
    for since in [now(), now() - times().gate_interval + Duration::from_secs(1)] {
        let view = View {
            seen: Seen::Drifted { since },
            ..after(long_done(record(State::Succeeded)), 2048)
        };
        let Decision::Report(report) = decided(&correct, &view) else {
            panic!("corrected after one look");
        };
        assert_eq!(report.reason, Reason::Drifted);
        assert_eq!(report.wake, Some(later(since, times().gate_interval)));
    }
}

#[test]
fn drift_under_report_is_not_ordered_because_the_approval_was_edited() {
    let edited = Intent {
        subject: Subject {
            generation: 9,
            ..subject()
        },
        ..intent()
    };
    let decision = decided(&edited, &after(long_done(record(State::Succeeded)), 1024));
    assert_eq!(reason(&decision), Reason::Drifted);
    let mut without_a_record = at_2048();
    without_a_record.seen = Seen::InForce;
    assert_eq!(reason(&decided(&edited, &without_a_record)), Reason::Drifted);
}

#[test]
fn a_spec_that_goes_back_to_what_it_was_is_ordered_again() {
    let mut between = long_done(record(State::Succeeded));
    between.intent = "intent-2".into();
    let mut view = after(between, 1024);
    view.history = vec![long_done(record(State::Succeeded))];
    assert!(matches!(decided(&intent(), &view), Decision::Buy(_)));
}

#[test]
fn a_late_reading_after_another_objects_order_is_not_paid_for() {
    let mut theirs = long_done(record(State::Succeeded));
    theirs.subject.uid = Uid::new("uid-2");
    theirs.subject.name = "other".into();
    theirs.intent = "intent-2".into();
    theirs.known.quiet_since = Some(now());
    assert_eq!(
        reason(&decided(&intent(), &after(theirs.clone(), 2048))),
        Reason::Converging
    );
    theirs.claim.made_at = now() - times().settle_time;
    theirs.known.quiet_since = Some(theirs.claim.made_at);
    assert!(matches!(
        decided(&intent(), &after(theirs, 2048)),
        Decision::Buy(_)
    ));
}

#[test]
fn a_reading_from_before_another_order_of_the_same_option_is_not_priced() {
    let mut theirs = long_done(record(State::Succeeded));
    theirs.subject.uid = Uid::new("uid-2");
    theirs.intent = "intent-2".into();
    let wants = |gb: i64| {
        intent_of(OptionsWish {
            wanted: wanted(gb),
            ..wish()
        })
    };
    let stood_before = |settled: &Record| decided(&wants(8192), &after(settled.clone(), 2048));
    assert!(matches!(stood_before(&theirs), Decision::Buy(_)), "long ago");
    theirs.known.quiet_since = Some(now());
    assert_eq!(reason(&stood_before(&theirs)), Reason::Converging);
    let ordered = decided(&wants(8192), &after(theirs.clone(), 4096));
    assert!(matches!(ordered, Decision::Buy(_)), "it shows what was ordered");
    // A newer order went back.
    let mut back = theirs.clone();
    back.attempt = 2;
    if let Action::Options(change) = &mut back.action {
        std::mem::swap(&mut change.difference.from, &mut change.difference.to);
    }
    let mut view = after(back, 2048);
    view.history = vec![theirs];
    assert!(matches!(decided(&wants(8192), &view), Decision::Buy(_)));
}

#[test]
fn a_dry_run_that_says_it_committed_is_not_asked_again() {
    let mut view = at_2048();
    let Decision::Preview(body) = decide(&intent(), &view, &times(), now()) else {
        panic!("no dry run");
    };
    if let ProviderReading::Read(reading) = &mut view.reading {
        reading.preview = Some(Preview {
            body,
            price: Some(price("40", "40")),
            invoice: None,
            can_commit: open(),
            committed: true,
        });
    }
    let Decision::Report(report) = decide(&intent(), &view, &times(), now()) else {
        panic!("bought");
    };
    let soon = later(now(), times().gate_interval);
    assert_eq!(
        (report.reason, report.wake),
        (Reason::NotConfigurable, Some(soon))
    );
    assert!(report.warns);
    let later = View {
        committed_dry_run: true,
        ..at_2048()
    };
    assert_eq!(
        reason(&decide(&intent(), &later, &times(), now())),
        Reason::NotConfigurable
    );
    let executed = View {
        committed_dry_run: true,
        ..read(reading(Some(number(4096))))
    };
    let told = decide(&intent(), &executed, &times(), now());
    assert_eq!(reason(&told), Reason::InSync);
    assert!(
        message(&told).contains("look in HostUp's panel"),
        "{}",
        message(&told)
    );
}

#[test]
fn another_objects_order_that_only_a_person_can_end_says_so_with_the_commands() {
    let mut theirs = record(State::Unknown);
    theirs.subject.name = "other".into();
    theirs.known.evidence = Some(Evidence::NoneFound);
    let asked = decided(&intent(), &after(theirs.clone(), 2048));
    assert_eq!(reason(&asked), Reason::OutcomeUnknown);
    assert!(
        message(&asked).contains("kubectl patch vpsoperation chain-1"),
        "{}",
        message(&asked)
    );
    theirs.known.state = State::Abandoned;
    assert_eq!(
        reason(&decided(&intent(), &after(theirs, 2048))),
        Reason::Abandoned
    );
}

#[test]
fn a_late_reading_is_none_the_less_late_after_a_refusal_of_something_else() {
    let mut done = long_done(record(State::Succeeded));
    done.known.quiet_since = Some(now());
    done.intent = "intent-2".into();
    let mut view = after(record(State::NotSent), 2048);
    view.history = vec![done];
    assert_eq!(reason(&decided(&intent(), &view)), Reason::Converging);
}

#[test]
fn the_tries_of_one_object_are_counted_through_those_of_another() {
    let mut refused = record(State::Rejected);
    refused.known.quiet_since = Some(now());
    let mut theirs = record(State::Rejected);
    theirs.subject.uid = Uid::new("uid-2");
    theirs.subject.name = "other-options".into();
    theirs.attempt = 2;
    let mut view = after(theirs, 2048);
    view.history = vec![refused];
    let held = decided(&intent(), &view);
    assert_eq!(
        reason(&held),
        Reason::Rejected,
        "the same refusal is not bought again"
    );
    let limited = view.chain.tail.as_mut().unwrap();
    limited.known.not_before = Some(now());
    assert_eq!(
        reason(&decided(&intent(), &view)),
        Reason::Rejected,
        "that HostUp asked another object to wait is no new cause"
    );
    view.history[0].known.state = State::NotSent;
    view.history[0].known.quiet_since = Some(now() - Duration::from_secs(31));
    let order = bought(decided(&intent(), &view));
    assert_eq!((order.attempt.number, order.attempt.tries), (3, 2));
}

#[test]
fn a_spec_that_was_in_force_without_an_order_drifts_too() {
    let mut view = at_2048();
    view.seen = Seen::InForce;
    assert_eq!(reason(&decided(&intent(), &view)), Reason::Drifted);
}

fn blocked(suggests: bool) -> Record {
    let mut tail = record(State::Rejected);
    tail.known.said.code = Some(Text::new("existing_invoice_blocking"));
    tail.known.suggests_cancelling = suggests;
    tail.known.invoice = Some(invoice("inv_9"));
    tail
}

fn invoice(id: &str) -> Invoice {
    Invoice {
        id: Text::new(id),
        ..Invoice::unnamed()
    }
}

fn cancelling(generation: i64) -> Intent {
    Intent {
        subject: Subject {
            generation,
            ..subject()
        },
        ..intent_of(OptionsWish {
            cancels_invoice: true,
            ..wish()
        })
    }
}

/// After a refusal for an invoice, with these open now.
fn open_are(tail: Record, invoices: &[&str]) -> View {
    let mut view = after(tail, 2048);
    if let ProviderReading::Read(reading) = &mut view.reading {
        reading.invoices = Some(invoices.iter().map(|id| invoice(id)).collect());
    }
    view
}

#[test]
fn an_invoice_is_cancelled_only_after_a_refusal_that_suggests_it_and_by_its_own_quote() {
    let first = bought(decided(&cancelling(1), &at_2048()));
    assert!(!first.body.contains("cancelExistingInvoice"));
    let asked = decided(&cancelling(2), &open_are(blocked(true), &["inv_9"]));
    assert_eq!(reason(&asked), Reason::AwaitingApproval);
    assert!(
        message(&asked).contains("cancelling invoice inv_9"),
        "{}",
        message(&asked)
    );
    let approved = Intent {
        approval: Some(Approval::from(quote_of(&asked).id)),
        ..cancelling(3)
    };
    let at_once = decided(&approved, &open_are(blocked(true), &["inv_9"]));
    assert_eq!(reason(&at_once), Reason::ProviderUnavailable);
    let long_ago = || {
        let mut refused = blocked(true);
        refused.known.quiet_since = Some(now() - Duration::from_secs(31));
        refused
    };
    let order = bought(decided(&approved, &open_are(long_ago(), &["inv_9"])));
    let body: Value = serde_json::from_str(&order.body).unwrap();
    assert_eq!(
        body,
        json!({"resources": {"bandwidthGb": 4096}, "dryRun": false, "cancelExistingInvoice": true})
    );
    // Another one, or more than one, is not the one that was approved.
    let other = decided(&approved, &open_are(blocked(true), &["inv_10"]));
    assert_eq!(reason(&other), Reason::AwaitingApproval);
    let both = decided(&approved, &open_are(blocked(true), &["inv_9", "inv_10"]));
    assert_eq!(reason(&both), Reason::GatesClosed);
    // One that HostUp does not name is the one that its refusal named.
    assert!(matches!(
        decided(&approved, &open_are(long_ago(), &[""])),
        Decision::Buy(_)
    ));
}

#[test]
fn the_approval_to_cancel_an_invoice_outlives_an_order_that_nobody_looked_at() {
    let mut refused = blocked(true);
    refused.known.quiet_since = Some(now() - Duration::from_secs(3600));
    let asked = decided(&cancelling(2), &open_are(refused.clone(), &["inv_9"]));
    let approved = Intent {
        approval: Some(Approval::from(quote_of(&asked).id)),
        ..cancelling(3)
    };
    for state in [State::NotSent, State::NotExecuted, State::Rejected] {
        let mut second = record(state);
        second.attempt = 2;
        second.known.quiet_since = Some(now() - Duration::from_secs(600));
        if state == State::Rejected {
            second.known.not_before = Some(now() - Duration::from_secs(500));
        }
        let mut view = open_are(second, &["inv_9"]);
        view.history = vec![refused.clone()];
        let order = bought(decided(&approved, &view));
        assert!(
            order.body.contains("cancelExistingInvoice"),
            "{state:?}: {}",
            order.body
        );
    }
}

#[test]
fn an_open_invoice_holds_the_order_until_it_is_gone_and_then_it_goes_on_by_itself() {
    for (tail, wants) in [(blocked(true), intent()), (blocked(false), cancelling(1))] {
        let held = decided(&wants, &open_are(tail.clone(), &["inv_9"]));
        assert_eq!(reason(&held), Reason::GatesClosed);
        assert!(
            message(&held).contains("invoice inv_9 is open; ")
                && message(&held).contains("pay it in HostUp's panel"),
            "{}",
            message(&held)
        );
        let mut paid = open_are(tail.clone(), &[]);
        let waited = later(now(), Duration::from_secs(31));
        paid.chain.tail.as_mut().unwrap().known.quiet_since = Some(now());
        let Decision::Preview(body) = decide_at(&wants, &mut paid, waited) else {
            panic!("no dry run");
        };
        if let ProviderReading::Read(reading) = &mut paid.reading {
            reading.preview = Some(Preview {
                body,
                price: Some(price("40", "40")),
                invoice: None,
                can_commit: open(),
                committed: false,
            });
        }
        // That none is open was read for the first time: nothing has changed.
        let unchanged = decide_at(&wants, &mut paid, waited);
        assert_eq!(reason(&unchanged), Reason::Rejected);
        paid.chain.closed_after = Some(tail.name.clone());
        let order = bought(decide_at(&wants, &mut paid, waited));
        assert!(!order.body.contains("cancelExistingInvoice"));
    }
}

#[test]
fn another_objects_order_is_awaited_and_its_name_is_not_told() {
    let mut theirs = record(State::Accepted);
    theirs.subject.namespace = "secret-namespace".into();
    theirs.subject.uid = Uid::new("uid-2");
    let Decision::Report(report) = decided(&intent(), &after(theirs, 2048)) else {
        panic!("no report");
    };
    assert_eq!(report.reason, Reason::ConfirmingOutcome);
    assert!(
        !report.message.contains("secret-namespace") && !report.message.contains("bandwidthGb"),
        "{}",
        report.message
    );
    assert!(matches!(report.facts, StatusFacts::Kept), "what it knows stays");
    assert!(report.wake.is_some());
}

#[test]
fn an_attempt_that_came_to_nothing_is_shown_also_while_nothing_is_read() {
    let unread = ProviderReading::Trouble(unreachable());
    let suspended = Intent {
        suspended: true,
        ..intent()
    };
    for state in State::ALL.into_iter().filter(|state| state.frees_the_name()) {
        let view = View {
            reading: unread.clone(),
            ..after(record(state), 1024)
        };
        for intent in [&intent(), &suspended] {
            let Decision::Report(report) = decided(intent, &view) else {
                panic!("no report");
            };
            assert!(
                matches!(report.facts, StatusFacts::Attempted(attempt) if attempt.known.state == state),
                "{state:?}"
            );
        }
    }
}

#[test]
fn the_question_prints_a_command_for_each_answer() {
    let mut unknown = record(State::Unknown);
    unknown.known.evidence = Some(Evidence::NoneFound);
    let asked = decided(&intent(), &after(unknown, 2048));
    assert_eq!(reason(&asked), Reason::OutcomeUnknown);
    for answer in ["NotExecuted", "Adopt", "Abandon"] {
        let command = format!(
            "kubectl patch vpsoperation chain-1 --type=merge -p '{{\"spec\":{{\"resolution\":{{\"answer\":\"{answer}\"}}}}}}'"
        );
        assert!(message(&asked).contains(&command), "{}", message(&asked));
    }
}

/// What stands before the first command: who copies that has read it.
fn before_the_commands(decision: &Decision) -> String {
    message(decision).split("kubectl").next().unwrap().to_owned()
}

#[test]
fn the_question_says_what_follows_not_executed_and_how_to_prevent_it() {
    let unknown = |mut record: Record, evidence: Evidence| {
        record.known.state = State::Unknown;
        record.known.evidence = Some(evidence);
        record
    };
    let mut view = key_tried();
    view.chain.tail = Some(estimated("40"));
    let upgrade = recorded(bought(decided(&legacy(), &view)), State::Unknown);
    let paid = "After NotExecuted a new attempt is paid for at once if the approval is still valid";
    let estimate = "After NotExecuted a new estimate is asked for at once, and no approval is needed for it";
    for evidence in [
        Evidence::NoneFound,
        Evidence::NotConverged,
        Evidence::AccountMismatch,
        Evidence::CannotLook,
    ] {
        for (intent, record, follows) in [
            (intent(), record(State::Unknown), paid),
            (legacy(), upgrade.clone(), paid),
            (legacy(), estimated("40"), estimate),
        ] {
            let asked = decided(&intent, &after(unknown(record, evidence), 2048));
            let said = before_the_commands(&asked);
            assert!(said.contains(follows), "{evidence:?}: {}", message(&asked));
            let prevented = "to prevent that, first set the annotation vps.hostup.se/hold=true on the object";
            assert!(said.contains(prevented), "{evidence:?}: {}", message(&asked));
        }
    }
}

fn legacy() -> Intent {
    Intent {
        wish: DesiredOptions::Legacy(LegacyWish {
            vmid: VpsId::new("10000"),
            wanted: Values::from([("2231".to_owned(), number(400))]),
            cycle: Some("m".into()),
            package: None,
        }),
        ..intent()
    }
}

fn key_tried() -> View {
    view(ProviderReading::Key {
        read_at: now(),
        key: key("7"),
    })
}

fn estimated(total: &str) -> Record {
    let mut record = recorded(bought(decided(&legacy(), &key_tried())), State::Succeeded);
    record.known.evidence = Some(Evidence::Answered);
    record.known.estimate = Some(Estimate {
        draft: Some(6213),
        total: Some(amount(total)),
        recurring: Some(amount("40")),
        currency: Currency::parse("SEK"),
    });
    record
}

#[test]
fn the_older_route_is_asked_for_one_estimate_and_then_for_one_order_that_names_its_draft() {
    let estimate = bought(decided(&legacy(), &key_tried()));
    assert_eq!(estimate.path, "/api/vm/10000/upgrade");
    assert_eq!(
        serde_json::from_str::<Value>(&estimate.body).unwrap(),
        json!({"send": false, "resources": {"2231": 400}, "cycle": "m"})
    );
    let mut view = key_tried();
    view.chain.tail = Some(estimated("40"));
    let order = bought(decided(&legacy(), &view));
    assert_eq!(
        serde_json::from_str::<Value>(&order.body).unwrap(),
        json!({"send": true, "resources": {"2231": 400}, "cycle": "m", "draftId": 6213})
    );
    let mut done = recorded(order, State::Succeeded);
    done.known.evidence = Some(Evidence::Answered);
    view.chain.tail = Some(done.clone());
    assert_eq!(reason(&decided(&legacy(), &view)), Reason::InSync);
    // The same request of another object, behind other orders of the same VPS.
    let again = Intent {
        subject: Subject {
            uid: Uid::new("uid-2"),
            ..subject()
        },
        ..legacy()
    };
    let mut other = estimated("1");
    other.intent = "intent-2".into();
    view.chain.tail = Some(other);
    view.history = vec![estimated("40")];
    let of_the_first = bought(decided(&again, &view));
    assert!(
        of_the_first.body.contains("6213"),
        "an estimate is asked for once"
    );
    view.history.push(done.clone());
    assert_eq!(reason(&decided(&again, &view)), Reason::AlreadyExecuted);
    // Another order was executed since the estimate: its price and its draft are those of before.
    done.intent = "intent-2".into();
    done.subject.uid = Uid::new("uid-2");
    let mut view = key_tried();
    view.history = vec![estimated("40")];
    view.chain.tail = Some(done);
    let anew = bought(decided(&legacy(), &view));
    assert!(matches!(anew.action, Action::LegacyEstimate(_)), "{anew:?}");
    let mut fresh = estimated("90");
    fresh.attempt = 3;
    view.history.extend(view.chain.tail.replace(fresh));
    let decision = decided(&legacy(), &view);
    assert_eq!(reason(&decision), Reason::QuoteExceedsCeiling, "{decision:?}");
}

#[test]
fn the_older_route_needs_the_flag_and_consent() {
    let mut off = key_tried();
    off.legacy_enabled = false;
    assert_eq!(reason(&decided(&legacy(), &off)), Reason::NotConfigurable);
    let mut view = key_tried();
    view.chain.tail = Some(estimated("40.01"));
    assert_eq!(reason(&decided(&legacy(), &view)), Reason::QuoteExceedsCeiling);
    view.chain.tail = Some(estimated("-205.26"));
    assert_eq!(reason(&decided(&legacy(), &view)), Reason::AwaitingApproval);
    let mut no_currency = estimated("1");
    no_currency.known.estimate.as_mut().unwrap().currency = None;
    view.chain.tail = Some(no_currency);
    assert_eq!(reason(&decided(&legacy(), &view)), Reason::QuoteExceedsCeiling);
}

#[test]
fn an_estimate_that_was_executed_is_told_and_never_ordered_again() {
    let mut executed = estimated("40");
    executed.known.estimate = None;
    executed.known.evidence = Some(Evidence::ExecutedUnasked);
    let mut view = key_tried();
    view.chain.tail = Some(executed);
    assert_eq!(reason(&decided(&legacy(), &view)), Reason::AlreadyExecuted);
}

fn any_value() -> impl Strategy<Value = OptionValue> {
    prop_oneof![
        (0i64..20).prop_map(number),
        any::<bool>().prop_map(OptionValue::Flag),
        "[a-z]{1,8}".prop_map(|word| OptionValue::Word(Text::new(&word))),
    ]
}

fn any_values() -> impl Strategy<Value = Values> {
    proptest::collection::btree_map("[a-e]", any_value(), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_wanted_every_body_says_whether_it_is_a_dry_run_and_nothing_is_bought_without_consent(
        wanted in any_values(), current in any_values(), cents in 0u32..100, approved: bool, cancels: bool,
        refused: bool, state in proptest::option::of(proptest::sample::select(State::ALL.to_vec())),
        open_gate: bool, rival: bool, drifted: bool, corrects: bool, waited in 0u64..2_000,
    ) {
        let offers: Vec<Offer> = ["a", "b", "c", "d", "e"].into_iter().map(|key| Offer {
            kind: OptionKind::Input, min: None, max: None, step: None,
            ..slider(key, current.get(key).cloned())
        }).collect();
        let intent = Intent {
            approval: approved.then(|| ceiling("0.50", "0.50")),
            ..intent_of(OptionsWish { wanted: wanted.clone(), cancels_invoice: cancels, corrects_drift: corrects, ..wish() })
        };
        let mut view = read(Reading { offers, invoices: None, ..reading(None) });
        view.rival = if rival { Rival::Responsible } else { Rival::None };
        view.seen = if drifted { seen_before() } else { Seen::Never };
        view.chain.tail = state.map(|state| {
            let tail = if refused { blocked(true) } else { record(State::Sending) };
            Record { known: crate::ledger::record::Outcome { state, ..tail.known.clone() }, ..tail }
        });
        let at = later(now(), Duration::from_secs(waited));
        let text = format!("0.{cents:02}");
        let mut asked = None;
        let mut decision = decide_at(&intent, &mut view, at);
        if matches!(decision, Decision::ReadInvoices) {
            if let ProviderReading::Read(reading) = &mut view.reading {
                reading.invoices = Some(vec![invoice("inv_9")]);
            }
            decision = decide_at(&intent, &mut view, at);
        }
        if let Decision::Preview(body) = &decision {
            let sent: Value = serde_json::from_str(body).unwrap();
            prop_assert_eq!(&sent["dryRun"], &json!(true));
            prop_assert_eq!(sent.as_object().unwrap().len(), 2);
            asked = Some(sent);
            if let ProviderReading::Read(reading) = &mut view.reading {
                reading.preview = Some(Preview {
                    body: body.clone(), price: Some(price(&text, &text)), invoice: None,
                    can_commit: ProviderGate { allowed: open_gate, ..ProviderGate::default() }, committed: false,
                });
            }
            decision = decide_at(&intent, &mut view, at);
        }
        if let Decision::Buy(order) = decision {
            let mut sent: Value = serde_json::from_str(&order.body).unwrap();
            prop_assert_eq!(&sent["dryRun"], &json!(false));
            sent["dryRun"] = json!(true);
            prop_assert_eq!(Some(sent), asked, "the commit is another request than the dry run");
            prop_assert!(approved && cents <= 50 && open_gate && !rival);
            let Action::Options(change) = &order.action else { panic!("another action") };
            prop_assert!(change.difference.lowers().is_none());
            if let Some(state) = state {
                prop_assert!(state.frees_the_name() || state == State::Succeeded);
            }
        }
    }
}

fn decide_at(intent: &Intent, view: &mut View, at: Timestamp) -> Decision {
    if let ProviderReading::Read(reading) = &mut view.reading {
        reading.read_at = at;
    }
    decide(intent, view, &times(), at)
}
