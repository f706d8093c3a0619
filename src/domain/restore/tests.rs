use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::action::ordered::{Action, Restoration};
use crate::consent::approval::{Ceiling, CeilingUntil};
use crate::consent::price::Size;
use crate::consent::price::tests::rates;
use crate::consent::quote::QuoteId;
use crate::ledger::chain::{Brakes, Cap, Hold, ShownRecord};
use crate::ledger::order::TRIES_LAST;
use crate::ledger::record::{Claim, Evidence, Job, KeyInUse, Outcome, Resolution, State, later};
use crate::provider::backup::{BackupFilter, ListedBackup};
use crate::provider::gate;
use crate::provider::gate::ProviderGate;
use crate::provider::inventory::Vm;
use crate::provider::preflight::{Deployments, Eligibility, Remaining};
use crate::values::ids::{Holder, KeyMark, RecordName, SubjectKind, Uid};
use crate::values::money::{Amount, Currency};
use crate::values::text::Text;

pub(crate) use super::overwrite::tests::reading as target_reading;

pub(crate) fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

pub(crate) fn times() -> Times {
    Times {
        settle_time: Duration::from_secs(900),
        poll_interval: Duration::from_secs(2),
        request_timeout: Duration::from_secs(30),
        paid_timeout: Duration::from_secs(120),
        job_deadline: Duration::from_secs(6 * 3600),
        resync_interval: Duration::from_secs(3600),
        gate_interval: Duration::from_secs(60),
    }
}

pub(crate) const SIZE: Size = Size {
    cpu_cores: 2,
    memory_gb: 4,
    storage_gb: 80,
};

/// HostUp cannot be read.
pub(crate) fn unreachable() -> Trouble {
    Trouble {
        reason: Reason::ProviderUnavailable,
        message: Text::new("no connection could be made"),
        until: None,
    }
}

fn instance() -> InstanceId {
    InstanceId::new("cluster-1")
}

fn subject() -> Subject {
    Subject {
        kind: SubjectKind::VpsBackupRestore,
        namespace: "shop".into(),
        name: "restore-web-01".into(),
        uid: Uid::new("uid-1"),
        generation: 1,
    }
}

pub(super) fn ceiling(per_hour: &str) -> Approval {
    until(per_hour, "2026-12-01T00:00:00Z".parse().unwrap())
}

fn until(per_hour: &str, valid_until: Timestamp) -> Approval {
    Approval::from(CeilingUntil {
        most: Ceiling::Hourly {
            per_hour: Amount::parse(per_hour).unwrap(),
            currency: Currency::parse("SEK").unwrap(),
        },
        valid_until: Some(valid_until),
    })
}

pub(crate) fn intent() -> Intent {
    Intent {
        subject: subject(),
        source: VpsChoice::Id(VpsId::new("vps_source")),
        backup: BackupChoice::Id(BackupId::new("bkp_1")),
        max_age: None,
        target: Destination::CloudVm(Target {
            name: Some("web-01".into()),
            region: Some("stockholm".into()),
            cpu_cores: Some(2),
            memory_gb: Some(4),
            storage_gb: Some(80),
        }),
        backup_first: false,
        digest: "intent-1".into(),
        approval: Some(ceiling("0.80")),
        suspended: false,
        deleted: false,
    }
}

pub(super) fn open() -> ProviderGate {
    ProviderGate {
        allowed: true,
        ..ProviderGate::default()
    }
}

/// Everything is open, as read at `read_at`.
pub(crate) fn preflight_at(read_at: Timestamp) -> Preflight {
    Preflight {
        read_at,
        key: key("7"),
        source: VpsId::new("vps_source"),
        source_size: Some(SIZE),
        backups: vec![ListedBackup {
            id: BackupId::new("bkp_1"),
            created_at: Some(now()),
            size_gb: Amount::parse("12.4"),
            kind: None,
            note: None,
        }],
        can_restore: open(),
        eligibility: Eligibility {
            is_payg: false,
            available: true,
            gate: open(),
            blockers: vec![],
            requires_verification: false,
            prepaid_warning: None,
        },
        deployments: Deployments {
            can_deploy: open(),
            rates: Some(rates()),
            default_region: Some("stockholm".into()),
            regions: Some(vec!["stockholm".into()]),
        },
        remaining: Remaining {
            cpu_cores: 12,
            memory_gb: 56,
            storage_gb: 880,
            instances: 8,
        },
        vms: vec![],
    }
}

fn preflight() -> Preflight {
    preflight_at(now())
}

/// The key of a Secret in this version.
pub(crate) fn key(version: &str) -> KeyInUse {
    KeyInUse {
        secret_version: version.to_owned(),
        mark: KeyMark::new(format!("key of version {version}")),
    }
}

pub(crate) fn chain() -> LedgerView {
    LedgerView {
        instance: instance(),
        tail: None,
        unreadable: None,
        following: None,
        missing: None,
        gap: None,
        came_to_nothing: Vec::new(),
        closed_after: None,
        shown_record: None,
        shown_quote: None,
        stalled_since: None,
        brakes: Brakes::default(),
    }
}

pub(crate) fn view(reading: ProviderReading) -> View {
    View {
        history: Vec::new(),
        resolved_target: None,
        in_place_enabled: false,
        chain: chain(),
        reading,
        resolved_source: None,
        resolved_backup: None,
        latched: None,
    }
}

fn read(preflight: Preflight) -> View {
    view(ProviderReading::Preflight(Box::new(preflight)))
}

/// The order that an approved, open view makes.
pub(crate) fn order() -> Order {
    let Decision::Buy(order) = decide(&intent(), &read(preflight()), &times(), now()) else {
        panic!("the standard view buys");
    };
    *order
}

/// Its record.
pub(crate) fn record(state: State) -> Record {
    recorded(order(), state)
}

/// The record that a claim of this order makes.
pub(crate) fn recorded(order: Order, state: State) -> Record {
    Record {
        name: RecordName::new(format!("chain-{}", order.attempt.number)),
        attempt: order.attempt.number,
        subject: order.subject,
        intent: order.intent,
        vps: order.vps,
        action: order.action,
        follows: order.follows,
        quote: order.quote,
        gates: order.gates,
        claim: Claim {
            holder: Holder::new("h"),
            instance: instance(),
            made_at: now(),
            send_before: later(now(), times().request_timeout),
        },
        created_at: None,
        cause: order.cause,
        tries: order.attempt.tries,
        answer: None,
        known: Outcome {
            state,
            quiet_since: Some(now()),
            ..Outcome::sending()
        },
    }
}

/// What a restore's record or order is about.
pub(crate) fn restored(action: &Action) -> Restoration {
    match action {
        Action::Restore(restored) => restored.clone(),
        other => panic!("not a restore: {other:?}"),
    }
}

fn with_tail(tail: Record) -> View {
    let mut view = read(preflight());
    view.chain.tail = Some(tail);
    view
}

pub(super) fn reason(decision: &Decision) -> Reason {
    match decision {
        Decision::Report(report) => report.reason,
        other => panic!("no report: {other:?}"),
    }
}

fn decided(intent: &Intent, view: &View) -> Decision {
    decide(intent, view, &times(), now())
}

fn after(wait: Duration, intent: &Intent, view: &View) -> Decision {
    let at = later(now(), wait);
    let mut view = view.clone();
    if let ProviderReading::Preflight(preflight) = &mut view.reading {
        preflight.read_at = at;
    }
    decide(intent, &view, &times(), at)
}

#[test]
fn an_approved_restore_with_open_gates_is_bought_and_says_exactly_what_it_orders() {
    let Decision::Buy(order) = decided(&intent(), &read(preflight())) else {
        panic!("not bought");
    };
    assert_eq!(
        order.path,
        "/api/v2/vps/vps_source/backups/bkp_1/actions/restore-to-payg"
    );
    let body: serde_json::Value = serde_json::from_str(&order.body).unwrap();
    assert_eq!(body["region"], "stockholm");
    assert_eq!(
        (&body["cpuCores"], &body["memoryGb"], &body["storageGb"]),
        (&2.into(), &4.into(), &80.into())
    );
    assert!(
        intent()
            .token(&instance())
            .is_borne_by(body["name"].as_str().unwrap())
    );
}

#[test]
fn nothing_is_read_of_hostup_for_a_suspended_or_deleted_object() {
    for intent in [
        Intent {
            suspended: true,
            ..intent()
        },
        Intent {
            deleted: true,
            ..intent()
        },
    ] {
        assert_eq!(
            reason(&decided(&intent, &view(ProviderReading::Unread))),
            Reason::Suspended
        );
    }
    assert!(matches!(
        decided(&intent(), &view(ProviderReading::Unread)),
        Decision::ReadPreflight(_)
    ));
}

#[test]
fn the_name_of_a_source_is_read_once_and_the_vps_that_had_it_is_asked_from_then_on() {
    let by_name = Intent {
        source: VpsChoice::Named("the shop".into()),
        ..intent()
    };
    let asks = |view: &View| match decided(&by_name, view) {
        Decision::ReadPreflight(vps) => vps.to_string(),
        Decision::ReadName(name) => format!("name {name}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(asks(&view(ProviderReading::Unread)), "name the shop");
    let found = VpsId::new("vps_found");
    assert_eq!(asks(&view(ProviderReading::Source(found.clone()))), "vps_found");
    let resolved = View {
        resolved_source: Some(found.clone()),
        ..view(ProviderReading::Unread)
    };
    assert_eq!(asks(&resolved), "vps_found");
    let read = Preflight {
        source: found.clone(),
        ..preflight()
    };
    match decided(&by_name, &view(ProviderReading::Preflight(Box::new(read)))) {
        Decision::Buy(order) => {
            assert_eq!(order.vps, found);
            assert!(
                order.path.starts_with("/api/v2/vps/vps_found/backups/"),
                "{}",
                order.path
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_brake_and_each_missing_consent_holds_the_purchase_back() {
    let brakes = |change: fn(&mut Brakes)| {
        let mut view = read(preflight());
        change(&mut view.chain.brakes);
        reason(&decided(&intent(), &view))
    };
    assert_eq!(brakes(|b| b.read_only = true), Reason::ReadOnly);
    assert_eq!(brakes(|b| b.held = Some(Hold::Object)), Reason::Held);
    assert_eq!(
        brakes(|b| b.held = Some(Hold::Namespace("shop".to_owned()))),
        Reason::Held
    );
    assert_eq!(
        brakes(|b| b.cap_reached = Some(Cap::All(20))),
        Reason::PaidCallCap
    );
    assert_eq!(
        brakes(|b| b.key_not_before = Some(Timestamp::MAX)),
        Reason::RateLimited
    );
    let approved = |approval| reason(&decided(&Intent { approval, ..intent() }, &read(preflight())));
    assert_eq!(approved(None), Reason::AwaitingApproval);
    assert_eq!(
        approved(Some(Approval::from(QuoteId::new("q-aaaa")))),
        Reason::AwaitingApproval
    );
    assert_eq!(approved(Some(ceiling("0.65"))), Reason::QuoteExceedsCeiling);
    let expired = until("9", now());
    assert_eq!(approved(Some(expired)), Reason::ApprovalExpired);
}

#[test]
fn readings_that_took_longer_than_a_minute_are_not_bought_upon() {
    let mut old = preflight();
    old.read_at = now() - Duration::from_secs(61);
    assert_eq!(
        reason(&decided(&intent(), &read(old))),
        Reason::ProviderUnavailable
    );
}

#[test]
fn the_message_prints_the_command_that_approves_the_quote() {
    let intent = Intent {
        approval: None,
        ..intent()
    };
    let Decision::Report(report) = decided(&intent, &read(preflight())) else {
        panic!("no report");
    };
    let StatusFacts::Read {
        quote: Some(quote), ..
    } = &report.facts
    else {
        panic!("no quote");
    };
    let approved = Intent {
        approval: Some(Approval::from(quote.id.clone())),
        ..intent
    };
    assert!(
        report
            .message
            .contains(&format!("\"quoteId\":\"{}\"", quote.id.as_str())),
        "{}",
        report.message
    );
    assert!(matches!(decided(&approved, &read(preflight())), Decision::Buy(_)));
}

#[test]
fn a_record_that_may_have_been_sent_is_never_followed_by_another_purchase() {
    for state in State::ALL.into_iter().filter(|state| !state.frees_the_name()) {
        let tail = record(state);
        let decision = after(Duration::from_secs(86_400), &intent(), &with_tail(tail));
        assert!(
            !matches!(decision, Decision::Buy(_) | Decision::Adopt(..)),
            "{state:?}"
        );
    }
}

#[test]
fn a_name_with_a_record_of_other_contents_is_stalled_and_shows_nothing_of_it() {
    let other = Intent {
        digest: "intent-2".into(),
        ..intent()
    };
    for state in State::ALL.into_iter().filter(|state| !state.frees_the_name()) {
        let Decision::Report(report) = decided(&other, &with_tail(record(state))) else {
            panic!("{state:?} is not reported");
        };
        assert_eq!(report.reason, Reason::NameReused);
        assert!(matches!(report.facts, StatusFacts::Nothing));
    }
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
            ..with_tail(record(state))
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
fn a_free_name_buys_again_only_after_its_wait_and_a_changed_cause() {
    let not_sent = with_tail(record(State::NotSent));
    assert_eq!(
        reason(&decided(&intent(), &not_sent)),
        Reason::ProviderUnavailable
    );
    assert!(matches!(
        after(Duration::from_secs(31), &intent(), &not_sent),
        Decision::Buy(_)
    ));

    let rejected = with_tail(record(State::Rejected));
    assert_eq!(
        reason(&after(Duration::from_secs(86_400), &intent(), &rejected)),
        Reason::Rejected
    );
    let mut rotated = rejected.clone();
    if let ProviderReading::Preflight(preflight) = &mut rotated.reading {
        preflight.key = key("8");
    }
    assert_eq!(reason(&decided(&intent(), &rotated)), Reason::ProviderUnavailable);
    assert!(matches!(
        after(Duration::from_secs(31), &intent(), &rotated),
        Decision::Buy(_)
    ));

    assert!(matches!(
        decided(&intent(), &with_tail(record(State::NotExecuted))),
        Decision::Buy(_)
    ));
}

#[test]
fn after_a_rate_limit_the_next_attempt_waits_for_the_moment_that_hostup_named() {
    let mut limited = record(State::Rejected);
    limited.known.not_before = Some(later(now(), Duration::from_secs(300)));
    let view = with_tail(limited);
    assert_eq!(
        reason(&after(Duration::from_secs(299), &intent(), &view)),
        Reason::RateLimited
    );
    assert!(matches!(
        after(Duration::from_secs(300), &intent(), &view),
        Decision::Buy(_)
    ));
}

#[test]
fn an_attempt_that_a_clock_ahead_has_dated_is_followed_by_another_one_after_minutes_and_not_after_hours() {
    let ahead = later(now(), Duration::from_secs(6 * 3600));
    let mut refused = record(State::NotSent);
    refused.known.quiet_since = Some(ahead);
    let mut limited = record(State::Rejected);
    limited.known.quiet_since = Some(ahead);
    limited.known.not_before = Some(later(ahead, Duration::from_secs(900)));
    for mut last in [refused, limited] {
        last.created_at = Some(now());
        let view = with_tail(last);
        let decision = after(Duration::from_secs(60), &intent(), &view);
        assert!(matches!(decision, Decision::Report(_)), "{decision:?}");
        let decision = after(Duration::from_secs(600), &intent(), &view);
        assert!(matches!(decision, Decision::Buy(_)), "{decision:?}");
    }
}

/// Everything of a restore that may change without HostUp judging anything else.
fn idle_changes() -> Vec<(&'static str, Intent, View)> {
    let refused = with_tail(record(State::Rejected));
    let mut approval = intent();
    approval.subject.generation = 2;
    approval.approval = Some(ceiling("0.81"));
    let mut secret = refused.clone();
    if let ProviderReading::Preflight(preflight) = &mut secret.reading {
        preflight.key.secret_version = "8".into();
    }
    let mut words = refused.clone();
    if let ProviderReading::Preflight(preflight) = &mut words.reading {
        preflight.can_restore.reason = "12 days remaining".into();
        preflight.eligibility.prepaid_warning = Some("11 days remaining".into());
    }
    let mut generation = intent();
    generation.subject.generation = 7;
    vec![
        ("an approval that went and came", approval, refused.clone()),
        ("another generation", generation, refused),
        (
            "another version of the Secret with the same key",
            intent(),
            secret,
        ),
        ("HostUp's free text", intent(), words),
    ]
}

#[test]
fn what_hostup_did_not_judge_is_no_reason_to_send_a_refused_order_again() {
    let day = Duration::from_secs(86_400);
    for (what, intent, view) in idle_changes() {
        for wait in [Duration::from_secs(31), day, day * 30] {
            // The last days of the approval are over by then.
            let mut intent = intent.clone();
            intent.approval = Some(until("0.81", Timestamp::MAX));
            assert_eq!(reason(&after(wait, &intent, &view)), Reason::Rejected, "{what}");
        }
    }
}

#[test]
fn a_gate_that_closed_after_a_refusal_and_opens_again_is_another_cause() {
    let mut view = with_tail(record(State::Rejected));
    let half_a_minute = Duration::from_secs(31);
    assert_eq!(reason(&after(half_a_minute, &intent(), &view)), Reason::Rejected);
    view.chain.closed_after = Some(RecordName::new("another-1"));
    assert_eq!(reason(&after(half_a_minute, &intent(), &view)), Reason::Rejected);
    view.chain.closed_after = view.chain.tail.as_ref().map(|tail| tail.name.clone());
    assert_eq!(reason(&decided(&intent(), &view)), Reason::ProviderUnavailable);
    assert!(matches!(after(half_a_minute, &intent(), &view), Decision::Buy(_)));
}

#[test]
fn waits_between_attempts_grow_whatever_the_generation_and_end_with_the_day() {
    let mut intent = intent();
    let mut tail = record(State::NotSent);
    for (tries, wait) in [(1, 30), (2, 60), (3, 120), (4, 240), (5, 480), (6, 900), (7, 900)] {
        tail.tries = tries;
        intent.subject.generation += 1;
        let view = with_tail(tail.clone());
        let wait = Duration::from_secs(wait);
        let early = after(wait.checked_sub(Duration::from_secs(1)).unwrap(), &intent, &view);
        assert_eq!(reason(&early), Reason::ProviderUnavailable, "{tries}");
        let Decision::Buy(order) = after(wait, &intent, &view) else {
            panic!("attempt {tries} is followed by none");
        };
        assert_eq!(order.attempt.tries, tries + 1);
    }
    intent.approval = Some(until("0.81", Timestamp::MAX));
    let Decision::Buy(order) = after(TRIES_LAST, &intent, &with_tail(tail)) else {
        panic!("a day later nothing is tried");
    };
    assert_eq!(order.attempt.tries, 1);
}

#[test]
fn eight_attempts_that_come_to_nothing_are_enough_for_a_day() {
    let mut intent = intent();
    intent.approval = Some(until("0.81", Timestamp::MAX));
    let mut view = with_tail(record(State::NotSent));
    view.chain.came_to_nothing = (0..8)
        .map(|n| later(now(), Duration::from_secs(n * 60)))
        .collect();
    let hour = Duration::from_secs(3600);
    for (wait, generation) in [(hour, 1), (hour * 5, 2), (hour * 23, 3)] {
        intent.subject.generation = generation;
        let decision = after(wait, &intent, &view);
        assert_eq!(reason(&decision), Reason::Rejected);
        let Decision::Report(report) = decision else {
            panic!("not a report");
        };
        assert_eq!(report.wake, Some(later(now(), TRIES_LAST)));
    }
    view.chain.came_to_nothing.remove(0);
    assert!(matches!(after(hour, &intent, &view), Decision::Buy(_)));
}

#[test]
fn a_record_that_is_gone_bars_whatever_could_still_be_bought() {
    let mut gap = with_tail(record(State::NotSent));
    gap.chain.gap = Some(RecordName::new("chain-1"));
    for state in [
        State::NotSent,
        State::Rejected,
        State::NotExecuted,
        State::Sending,
        State::Accepted,
    ] {
        gap.chain.tail = Some(record(state));
        let late = after(Duration::from_secs(3600), &intent(), &gap);
        assert_eq!(reason(&late), Reason::LedgerMissing, "{state:?}");
    }
    // What was bought, and what a person is asked, is shown all the same.
    for (state, shown) in [
        (State::Failed, Reason::JobFailed),
        (State::Unknown, Reason::ConfirmingOutcome),
        (State::Abandoned, Reason::Abandoned),
    ] {
        gap.chain.tail = Some(record(state));
        assert_eq!(reason(&decided(&intent(), &gap)), shown, "{state:?}");
    }
    let mut missing = with_tail(record(State::NotSent));
    missing.chain.missing = Some(RecordName::new("chain-2"));
    assert_eq!(reason(&decided(&intent(), &missing)), Reason::LedgerMissing);
}

#[test]
fn a_record_that_took_the_name_of_the_shown_one_is_not_taken_for_it() {
    for shown in State::ALL {
        for state in State::ALL {
            let tail = record(state);
            let of_status = ShownRecord {
                name: tail.name.clone(),
                state: Some(shown),
            };
            let is_replaced = |shown: &ShownRecord| shown.is_replaced_by(&tail, &tail.subject);
            let settled_otherwise = shown.is_final() && state != shown;
            let claimed_again = shown != State::Sending && state == State::Sending;
            let never_sent = shown == State::Accepted && [State::NotSent, State::Rejected].contains(&state);
            let expected = settled_otherwise || claimed_again || never_sent;
            assert_eq!(is_replaced(&of_status), expected, "{shown:?}, then {state:?}");
            for tells_nothing in [
                ShownRecord {
                    name: RecordName::new("chain-7"),
                    ..of_status.clone()
                },
                ShownRecord {
                    state: None,
                    ..of_status.clone()
                },
            ] {
                assert!(!is_replaced(&tells_nothing), "{shown:?}, then {state:?}");
            }
            let created_again = Subject {
                uid: Uid::new("another"),
                ..tail.subject.clone()
            };
            assert!(
                !of_status.is_replaced_by(&tail, &created_again),
                "{shown:?}, then {state:?}"
            );
            // Another object has ordered in the same chain since.
            let of_another_name = Subject {
                name: "another".to_owned(),
                ..tail.subject.clone()
            };
            assert!(
                of_status.is_replaced_by(&tail, &of_another_name),
                "{shown:?}, then {state:?}"
            );
        }
    }
    let mut replaced = with_tail(record(State::NotSent));
    replaced.chain.missing = Some(record(State::NotSent).name);
    let Decision::Report(report) = decided(&intent(), &replaced) else {
        panic!("a report");
    };
    assert_eq!(report.reason, Reason::LedgerMissing);
    assert!(
        report.message.contains("Another record has its name now"),
        "{}",
        report.message
    );
}

#[test]
fn what_another_installation_bought_and_shows_is_left_as_it_is() {
    for state in State::ALL {
        let mut tail = record(state);
        tail.claim.instance = InstanceId::new("another");
        let mut view = with_tail(tail.clone());
        assert_eq!(
            reason(&decided(&intent(), &view)),
            Reason::OtherInstance,
            "{state:?}"
        );
        view.chain.shown_record = Some(tail.name);
        let left = matches!(decided(&intent(), &view), Decision::Leave);
        assert_eq!(left, state.is_final() && !state.frees_the_name(), "{state:?}");
    }
}

#[test]
fn a_vm_that_was_there_before_is_never_called_restored() {
    let mut found = record(State::Succeeded);
    found.known.evidence = Some(Evidence::FoundBeforeClaim);
    found.known.result = Some(Bought {
        vps: VpsId::new("vps_new"),
        name: Text::new("web"),
        primary_ip: Some(Text::new("192.0.2.10")),
        size: Some(SIZE),
    });
    let mut view = with_tail(found.clone());
    view.latched = found.known.result.clone();
    let Decision::Report(report) = decided(&intent(), &view) else {
        panic!("not a report");
    };
    assert_eq!(report.reason, Reason::AlreadyExecuted);
    let backup = restored(&found.action).backup.id;
    assert!(!report.message.contains(backup.as_str()), "{}", report.message);
    assert!(
        report.message.contains("nothing was bought"),
        "{}",
        report.message
    );
}

#[test]
fn a_vm_that_bears_the_token_is_adopted_and_not_bought_again() {
    let mut seen = preflight();
    seen.vms = vec![Vm {
        id: VpsId::new("vps_new"),
        name: restored(&record(State::Sending).action).vm_name,
        is_payg: true,
        size: Some(SIZE),
        primary_ip: None,
        running: false,
        ended: None,
        result_of: None,
    }];
    for approval in [None, Some(ceiling("0.80"))] {
        let intent = Intent { approval, ..intent() };
        assert!(matches!(
            decided(&intent, &read(seen.clone())),
            Decision::Adopt(_, Sighting::One(_))
        ));
    }
}

#[test]
fn a_latest_backup_is_resolved_once() {
    let latest = Intent {
        backup: BackupChoice::Newest(BackupFilter::default()),
        ..intent()
    };
    let mut two = preflight();
    two.backups.push(ListedBackup {
        id: BackupId::new("bkp_2"),
        created_at: Some(later(now(), Duration::from_secs(60))),
        size_gb: Amount::parse("13"),
        kind: None,
        note: None,
    });
    let backup = |view: &View| match decided(&latest, view) {
        Decision::Buy(order) => restored(&order.action).backup.id,
        other => panic!("{other:?}"),
    };
    assert_eq!(backup(&read(two.clone())), BackupId::new("bkp_2"));
    let resolved = View {
        resolved_backup: Some(BackupId::new("bkp_1")),
        ..read(two)
    };
    assert_eq!(backup(&resolved), BackupId::new("bkp_1"));
}

#[test]
fn a_closed_gate_or_a_missing_price_is_never_bought_through() {
    let closed = |change: fn(&mut Preflight)| {
        let mut preflight = preflight();
        change(&mut preflight);
        reason(&decided(&intent(), &read(preflight)))
    };
    assert_eq!(closed(|p| p.can_restore.allowed = false), Reason::GatesClosed);
    assert_eq!(
        closed(|p| p.deployments.can_deploy.allowed = false),
        Reason::GatesClosed
    );
    assert_eq!(
        closed(|p| p.deployments.regions = Some(vec!["oslo".into()])),
        Reason::GatesClosed
    );
    assert_eq!(closed(|p| p.remaining.instances = 0), Reason::GatesClosed);
    assert_eq!(
        closed(|p| p.source_size = Some(Size {
            storage_gb: 81,
            ..SIZE
        })),
        Reason::GatesClosed
    );
    assert_eq!(
        closed(|p| p.eligibility.blockers = vec!["not_verified".into()]),
        Reason::GatesClosed
    );
    assert_eq!(
        closed(|p| p.deployments.rates = None),
        Reason::ProviderUnavailable
    );
    assert_eq!(closed(|p| p.backups.clear()), Reason::BackupNotFound);
    assert_eq!(closed(|p| p.backups[0].created_at = None), Reason::BackupNotFound);
    assert_eq!(
        closed(|p| p.backups[0].size_gb = Some(Amount::ZERO)),
        Reason::BackupNotFound
    );
}

#[test]
fn a_limit_blocker_of_the_source_is_shown_and_decided_by_the_ordered_size() {
    let mut limited = preflight();
    limited.eligibility.available = false;
    limited.eligibility.gate.allowed = false;
    limited.eligibility.blockers = vec!["memory_limit_exceeded".into()];
    let Decision::Buy(order) = decided(&intent(), &read(limited)) else {
        panic!("not bought");
    };
    let shown = order.gates.iter().any(|g| {
        g.code
            .as_ref()
            .is_some_and(|c| c.as_str() == "memory_limit_exceeded")
    });
    assert!(shown && gate::closed(&order.gates).is_none());
}

#[test]
fn what_hostup_advises_against_is_bought_only_by_a_quote_that_names_it() {
    let advised = |blockers: &[&str]| {
        let mut preflight = preflight();
        preflight.eligibility.available = false;
        preflight.eligibility.gate.allowed = false;
        preflight.eligibility.blockers = blockers.iter().map(|word| (*word).to_owned()).collect();
        read(preflight)
    };
    let quoted = |decision: Decision| match decision {
        Decision::Report(report) => match report.facts {
            StatusFacts::Read { quote, .. } => {
                (report.reason, report.message.clone(), quote.expect("a quote").id)
            }
            other => panic!("no reading: {other:?}"),
        },
        other => panic!("not reported: {other:?}"),
    };
    let by = |id: &QuoteId| Intent {
        approval: Some(Approval::from(id.clone())),
        ..intent()
    };
    let without = Intent {
        approval: None,
        ..intent()
    };
    let (_, _, undisturbed) = quoted(decided(&without, &read(preflight())));
    // The ceiling of the intent would cover the price.
    let (reason, message, quote) = quoted(decided(&intent(), &advised(&["pending_order", "suspended"])));
    assert_eq!(reason, Reason::AwaitingApproval);
    assert!(
        message.contains("which HostUp advises against (canConvertToCloud (pending_order)"),
        "{message}"
    );
    assert!(message.contains("only the approval of a quote"), "{message}");
    let again = advised(&["suspended", "pending_order", "suspended"]);
    assert!(matches!(decided(&by(&quote), &again), Decision::Buy(_)));
    for other in [&["pending_order"][..], &["pending_order", "suspended", "more"]] {
        let (reason, message, _) = quoted(decided(&by(&quote), &advised(other)));
        assert_eq!(reason, Reason::AwaitingApproval, "{other:?}");
        assert!(message.contains("no longer current"), "{message}");
    }
    let (reason, ..) = quoted(decided(&by(&undisturbed), &advised(&["pending_order"])));
    assert_eq!(reason, Reason::AwaitingApproval);
    // A blocker of the account closes beside any advice, and so does a refusal that names nothing, or no plain word, or
    // more than a quote can name.
    let many: Vec<String> = (0..11).map(|n| format!("word_{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for closed in [
        &["pending_order", "not_verified"][..],
        &[],
        &[""],
        &["NOT_VERIFIED"],
        &["pending_order, not_verified"],
        &many,
    ] {
        assert_eq!(
            reason_of(&by(&quote), &advised(closed)),
            Reason::GatesClosed,
            "{closed:?}"
        );
    }
    // What the closed gate itself names counts beside the list.
    let mut named = advised(&["pending_order"]);
    if let ProviderReading::Preflight(preflight) = &mut named.reading {
        preflight.eligibility.gate.code = "has_unpaid_invoice, not_verified".into();
    }
    assert_eq!(reason_of(&by(&quote), &named), Reason::GatesClosed);
    // Of a pay-as-you-go source the word is only shown.
    let mut payg = advised(&["pending_order"]);
    if let ProviderReading::Preflight(preflight) = &mut payg.reading {
        preflight.eligibility.is_payg = true;
    }
    assert!(matches!(decided(&intent(), &payg), Decision::Buy(_)));
}

fn reason_of(intent: &Intent, view: &View) -> Reason {
    reason(&decided(intent, view))
}

#[test]
fn success_is_ready_only_when_the_vm_is_up_and_of_the_ordered_size() {
    let mut tail = record(State::Succeeded);
    tail.known.result = Some(Bought {
        vps: VpsId::new("vps_new"),
        name: Text::new("web"),
        primary_ip: None,
        size: Some(SIZE),
    });
    let seen = |vm: Option<Vm>| {
        let mut view = view(ProviderReading::Vm(vm));
        view.chain.tail = Some(tail.clone());
        reason(&decided(&intent(), &view))
    };
    let up = Vm {
        id: VpsId::new("vps_new"),
        name: "web".into(),
        is_payg: true,
        size: Some(SIZE),
        primary_ip: Some(Text::new("192.0.2.1")),
        running: true,
        ended: None,
        result_of: None,
    };
    assert_eq!(seen(Some(up.clone())), Reason::Restored);
    assert_eq!(
        seen(Some(Vm {
            running: false,
            ..up.clone()
        })),
        Reason::Booting
    );
    assert_eq!(
        seen(Some(Vm {
            primary_ip: None,
            ..up.clone()
        })),
        Reason::Booting
    );
    assert_eq!(
        seen(Some(Vm {
            is_payg: false,
            ..up.clone()
        })),
        Reason::Booting
    );
    assert_eq!(
        seen(Some(Vm {
            size: Some(Size { cpu_cores: 4, ..SIZE }),
            ..up.clone()
        })),
        Reason::WrongSize
    );
    assert_eq!(seen(None), Reason::Booting);

    let mut recreated = intent();
    recreated.subject.uid = Uid::new("uid-2");
    let again = |reading: ProviderReading, wait: u64| {
        let mut view = view(reading);
        view.chain.tail = Some(tail.clone());
        after(Duration::from_secs(wait), &recreated, &view)
    };
    assert!(matches!(again(ProviderReading::Unread, 0), Decision::ReadVm(_)));
    assert_eq!(
        reason(&again(ProviderReading::Vm(Some(up.clone())), 0)),
        Reason::AlreadyExecuted
    );
    let booting = Vm { running: false, ..up };
    assert_eq!(
        reason(&again(ProviderReading::Vm(Some(booting)), 0)),
        Reason::Booting
    );
    assert_eq!(reason(&again(ProviderReading::Vm(None), 0)), Reason::Booting);
    assert_eq!(
        reason(&again(ProviderReading::Vm(None), 900)),
        Reason::AlreadyExecuted
    );
}

#[test]
fn the_question_to_a_person_names_everything_and_each_answer() {
    let mut tail = record(State::Unknown);
    tail.known.evidence = Some(Evidence::NoneFound);
    let Decision::Report(report) = decided(&intent(), &with_tail(tail.clone())) else {
        panic!("no report");
    };
    assert_eq!(report.reason, Reason::OutcomeUnknown);
    let token = restored(&tail.action).token().unwrap();
    for part in [
        "chain-1",
        "0.66 SEK/h",
        "2026-11-23T12:00:00Z",
        token.as_str(),
        "NotExecuted",
        "Adopt",
        "Abandon",
    ] {
        assert!(
            report.message.contains(part),
            "{part} is missing in {}",
            report.message
        );
    }
}

#[test]
fn the_question_says_before_its_commands_what_follows_not_executed_and_how_to_prevent_it() {
    for evidence in [
        Evidence::NoneFound,
        Evidence::SeveralFound,
        Evidence::OtherSize,
        Evidence::JobDeadline,
        Evidence::AccountMismatch,
        Evidence::CannotLook,
    ] {
        let mut tail = record(State::Unknown);
        tail.known.evidence = Some(evidence);
        let Decision::Report(report) = decided(&intent(), &with_tail(tail)) else {
            panic!("no report");
        };
        let said = report.message.split("kubectl").next().unwrap();
        for part in [
            "After NotExecuted a new attempt is paid for at once if the approval is still valid",
            "to prevent that, first set the annotation vps.hostup.se/hold=true on the object",
        ] {
            assert!(said.contains(part), "{evidence:?}: {}", report.message);
        }
    }
}

#[test]
fn the_question_tells_a_person_why_the_last_answer_was_not_taken() {
    let mut tail = record(State::Unknown);
    tail.known.evidence = Some(Evidence::NoneFound);
    tail.known.answer_refused = Some(Text::new("vps_1 is not a pay-as-you-go VM"));
    let Decision::Report(report) = decided(&intent(), &with_tail(tail)) else {
        panic!("no report");
    };
    assert!(
        report
            .message
            .contains("not taken: vps_1 is not a pay-as-you-go VM"),
        "{}",
        report.message
    );
}

#[test]
fn a_missing_a_foreign_and_an_unreadable_record_stall_the_object() {
    let mut missing = read(preflight());
    missing.chain.missing = Some(RecordName::new("chain-1"));
    assert_eq!(reason(&decided(&intent(), &missing)), Reason::LedgerMissing);
    let mut foreign = record(State::NotSent);
    foreign.claim.instance = InstanceId::new("cluster-2");
    assert_eq!(
        reason(&decided(&intent(), &with_tail(foreign))),
        Reason::OtherInstance
    );
    let mut unreadable = read(preflight());
    unreadable.chain.unreadable = Some("cannot be read".into());
    assert_eq!(reason(&decided(&intent(), &unreadable)), Reason::OtherInstance);
}

fn any_state() -> impl Strategy<Value = Option<State>> {
    proptest::option::of(proptest::sample::select(State::ALL.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Held against an independent statement of when a purchase is allowed at all.
    #[test]
    fn a_purchase_is_decided_only_when_everything_allows_it(
        suspended in any::<bool>(),
        deleted in any::<bool>(),
        ceiling_cents in 0u32..140,
        approved in any::<bool>(),
        gate_open in prop::array::uniform4(prop::bool::weighted(0.9)),
        read_only in prop::bool::weighted(0.1),
        held in prop::bool::weighted(0.1),
        capped in prop::bool::weighted(0.1),
        silent in prop::bool::weighted(0.1),
        missing in prop::bool::weighted(0.1),
        gap in prop::bool::weighted(0.1),
        refused_today in 0usize..10,
        state in any_state(),
        same_intent in prop::bool::weighted(0.8),
        same_instance in prop::bool::weighted(0.9),
        waited in 0u64..2000,
        generation in 1i64..3,
        tries in 1u32..10,
    ) {
        let mut intent = intent();
        intent.suspended = suspended;
        intent.deleted = deleted;
        intent.subject.generation = generation;
        intent.approval = approved.then(|| ceiling(&format!("{}.{:02}", ceiling_cents / 100, ceiling_cents % 100)));
        let mut flight = preflight();
        flight.can_restore.allowed = gate_open[0];
        flight.eligibility.gate.allowed = gate_open[1];
        flight.deployments.can_deploy.allowed = gate_open[2];
        flight.remaining.instances = u32::from(gate_open[3]);
        let mut view = read(flight);
        view.chain.brakes.read_only = read_only;
        view.chain.brakes.held = held.then_some(Hold::Object);
        view.chain.brakes.cap_reached = capped.then_some(Cap::All(1));
        view.chain.brakes.ledger_silent = silent;
        view.chain.missing = missing.then(|| RecordName::new("chain-1"));
        view.chain.gap = gap.then(|| RecordName::new("chain-1"));
        view.chain.came_to_nothing = vec![now(); refused_today];
        view.chain.tail = state.map(|state| {
            let mut tail = record(state);
            tail.tries = tries;
            if !same_intent { tail.intent = "other".into(); }
            if !same_instance { tail.claim.instance = InstanceId::new("other"); }
            tail
        });
        if let Decision::Buy(order) = after(Duration::from_secs(waited), &intent, &view) {
            prop_assert!(!suspended && !deleted && !read_only && !held && !capped && !missing && !gap && !silent);
            prop_assert!(approved && ceiling_cents >= 66);
            prop_assert!(gate_open.iter().all(|open| *open));
            prop_assert!(gate::closed(&order.gates).is_none());
            if let Some(state) = state {
                prop_assert!(matches!(state, State::NotSent | State::Rejected | State::NotExecuted));
                prop_assert!(same_instance);
                prop_assert_eq!(order.attempt.number, 2);
                prop_assert!(state != State::Rejected, "the cause has not changed");
                prop_assert!(state != State::NotSent || waited >= 30);
                prop_assert!(refused_today < 8);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What a person reads and approves is what leaves, byte for byte.
    #[test]
    fn the_preview_names_exactly_what_is_then_ordered(
        name in proptest::option::of("[a-z0-9][a-z0-9-]{1,38}[a-z0-9]"),
        object in "[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?",
        cpu_cores in proptest::option::of(1u32..12),
        memory_gb in proptest::option::of(1u32..56),
        storage_gb in proptest::option::of(80u32..880),
        region in proptest::sample::select(vec![None, Some("stockholm"), Some("malmö 2")]),
        source in proptest::option::of((1u32..12, 1u32..56, 1u32..880)),
        size_gb in 1u32..800,
    ) {
        let mut preview = intent();
        preview.approval = None;
        preview.subject.name = object;
        preview.target = Destination::CloudVm(Target {
            name, region: region.map(str::to_owned), cpu_cores, memory_gb, storage_gb,
        });
        let mut flight = preflight();
        flight.source_size = source.map(|(cpu_cores, memory_gb, storage_gb)| Size { cpu_cores, memory_gb, storage_gb });
        flight.backups[0].size_gb = Amount::parse(&size_gb.to_string());
        flight.deployments.regions = None;
        let view = read(flight);
        let Decision::Report(report) = decided(&preview, &view) else {
            panic!("a preview orders");
        };
        let StatusFacts::Read { quote: Some(quote), target: Some(target), .. } = &report.facts else {
            return Ok(());
        };
        let TargetView::New(target) = target.as_ref() else {
            panic!("another target")
        };
        let approved = Intent { approval: Some(Approval::from(quote.id.clone())), ..preview };
        let Decision::Buy(order) = decided(&approved, &view) else {
            return Ok(());
        };
        let shown = serde_json::json!({
            "name": target.vm_name, "region": target.region, "cpuCores": target.ordered.cpu_cores,
            "memoryGb": target.ordered.memory_gb, "storageGb": target.ordered.storage_gb,
        });
        prop_assert_eq!(shown.to_string(), order.body.clone());
        let in_path = format!("/backups/{}/", target.backup.id);
        prop_assert!(order.path.contains(&in_path), "{}", order.path);
        let Size { cpu_cores, memory_gb, storage_gb } = target.ordered;
        for said in [
            format!("{cpu_cores} core"),
            format!("{memory_gb} GB of memory, {storage_gb} GB of disk"),
            format!("new VM {} (", target.vm_name),
            format!("backup {}", target.backup.id),
            quote.price.to_string(),
        ] {
            prop_assert!(report.message.contains(&said), "no {said:?} in {}", report.message);
        }
        prop_assert_eq!(order.quote.as_ref(), Some(quote.as_ref()));
    }
}

pub(crate) fn unknown_with(answer: Option<Resolution>) -> Record {
    Record {
        answer,
        ..record(State::Unknown)
    }
}

pub(crate) fn accepted() -> Record {
    let mut accepted = record(State::Accepted);
    accepted.known.job = Some(Job {
        id: crate::values::ids::JobId::parse("job_1").unwrap(),
        poll_path: "/api/jobs/job_1".into(),
        word: None,
    });
    accepted
}
