//! A backup before a change: when it is ordered, what it is followed by, and what its end makes of the change.

use super::*;
use crate::action::follow::{BackupsReading, Input, Memo, Need, need, step};
use crate::action::ordered::{Action, NewBackup};
use crate::consent::price::Price;
use crate::ledger::backup_first::BACKUP_LASTS;
use crate::ledger::chain::Cap;
use crate::ledger::record::{Evidence, Job, Outcome, Resolution};
use crate::provider::backup::{ListedBackup, OwnBackups};
use crate::provider::gate::GateName;
use crate::provider::job::JobState;
use crate::values::ids::{BackupId, InstanceId, JobId};

/// The backup that is made before a change, in these tests.
const MADE: &str = "bkp_9";

fn careful() -> Intent {
    intent_of(OptionsWish {
        backup_first: true,
        ..wish()
    })
}

fn with_gate(can_create: ProviderGate) -> View {
    read(Reading {
        own_backups: Some(OwnBackups {
            listed: vec![BackupId::new(MADE)],
            can_create,
        }),
        ..reading(Some(number(2048)))
    })
}

fn after_records(records: Vec<Record>) -> View {
    let mut view = with_gate(open());
    let mut records = records;
    view.chain.tail = records.pop();
    view.history = records;
    view
}

/// The same as [`decided`], so many seconds later.
fn decide_at(intent: &Intent, view: &View, seconds: u64) -> Decision {
    let at = later(now(), Duration::from_secs(seconds));
    match decide(intent, view, &times(), at) {
        Decision::Preview(body) => {
            let mut view = view.clone();
            if let ProviderReading::Read(reading) = &mut view.reading {
                reading.preview = Some(Preview {
                    body,
                    price: Some(price("10", "10")),
                    invoice: None,
                    can_commit: open(),
                    committed: false,
                });
            }
            decide(intent, &view, &times(), at)
        }
        other => other,
    }
}

fn ordered(view: &View) -> Order {
    bought(decided(&careful(), view))
}

/// The first backup that is ordered, in this state.
fn backup(state: State) -> Record {
    recorded(ordered(&with_gate(open())), state)
}

fn made() -> Record {
    let mut backup = backup(State::Succeeded);
    backup.created_at = Some(now());
    backup.known.backup = Some(BackupId::new(MADE));
    backup.known.evidence = Some(Evidence::BackupFound);
    backup
}

#[test]
fn a_backup_is_ordered_before_the_change_under_the_same_approval_and_then_the_change() {
    let unread = read(reading(Some(number(2048))));
    assert!(matches!(decided(&careful(), &unread), Decision::ReadBackups));
    let shown = decided(
        &Intent {
            approval: None,
            ..careful()
        },
        &with_gate(open()),
    );
    assert!(
        message(&shown).contains("bandwidthGb 2048 -> 4096, after a new backup of VPS vps_1, would cost"),
        "{}",
        message(&shown)
    );
    let first = ordered(&with_gate(open()));
    assert_eq!(first.path, "/api/v2/vps/vps_1/backups");
    let Action::CreateBackup(NewBackup { note }) = &first.action else {
        panic!("{:?}", first.action);
    };
    assert_eq!(first.body, json!({"note": note}).to_string());
    let quote = first.quote.clone().unwrap();
    assert_eq!(quote.price, Price::Nothing);
    let then = ordered(&after_records(vec![made()]));
    assert_eq!(then.path, "/api/v2/vps/vps_1/actions/config");
    assert_eq!(then.attempt.number, 2);
    assert_eq!(then.quote.as_ref().unwrap().id, quote.id, "one approval for both");
    assert_eq!(then.follows, None, "a backup changes nothing");
    assert!(
        then.gates
            .iter()
            .all(|gate| gate.name != GateName::CanCreateBackup)
    );
    let told = decided(
        &Intent {
            approval: None,
            ..careful()
        },
        &after_records(vec![made()]),
    );
    assert!(
        message(&told).contains("after backup bkp_9 of VPS vps_1"),
        "{}",
        message(&told)
    );
}

#[test]
fn without_the_wish_nothing_is_backed_up_and_the_wish_is_part_of_the_quote() {
    let plain = decided(
        &Intent {
            approval: None,
            ..intent()
        },
        &with_gate(open()),
    );
    let first = decided(
        &Intent {
            approval: None,
            ..careful()
        },
        &with_gate(open()),
    );
    assert_ne!(quote_of(&plain).id, quote_of(&first).id);
    assert_eq!(
        bought(decided(&intent(), &with_gate(open()))).path,
        "/api/v2/vps/vps_1/actions/config"
    );
}

#[test]
fn a_closed_gate_of_the_backup_holds_the_change_back_until_there_is_one() {
    let closed = ProviderGate {
        reason: "The backup limit is reached.".into(),
        ..ProviderGate::default()
    };
    let held = decided(&careful(), &with_gate(closed.clone()));
    assert_eq!(reason(&held), Reason::GatesClosed);
    assert!(
        message(&held).contains("canCreateBackup: The backup limit is reached"),
        "{}",
        message(&held)
    );
    let mut view = with_gate(closed);
    view.chain.tail = Some(made());
    assert_eq!(ordered(&view).path, "/api/v2/vps/vps_1/actions/config");
}

#[test]
fn a_backup_counts_for_an_hour_for_its_own_object_and_before_any_other_change() {
    let is_backup = |view: &View| matches!(ordered(view).action, Action::CreateBackup(_));
    assert!(!is_backup(&after_records(vec![made()])));
    let mut old = made();
    let hour = i64::try_from(BACKUP_LASTS.as_secs()).unwrap();
    old.known.quiet_since = Some(Timestamp::from_second(now().as_second() - hour).unwrap());
    old.claim.made_at = old.known.quiet_since.unwrap();
    old.created_at = old.known.quiet_since;
    assert!(is_backup(&after_records(vec![old])));
    let mut ahead = made();
    ahead.known.quiet_since = Some(Timestamp::from_second(now().as_second() + hour).unwrap());
    assert!(is_backup(&after_records(vec![ahead])), "nobody knows its age");
    let mut deleted = made();
    deleted.known.backup = Some(BackupId::new("bkp_8"));
    assert!(
        is_backup(&after_records(vec![deleted])),
        "HostUp lists another one only"
    );
    let mut unnamed = made();
    unnamed.known.backup = None;
    assert!(
        !is_backup(&after_records(vec![unnamed])),
        "a person said that it was made"
    );
    let mut anothers = made();
    anothers.subject.uid = Uid::new("uid-2");
    assert!(is_backup(&after_records(vec![anothers])));
    let mut changed = after_records(vec![made()]);
    changed.changed = Some(now());
    assert!(is_backup(&changed), "overwritten in the same second");
    changed.changed = Some(Timestamp::from_second(now().as_second() - 1).unwrap());
    assert!(!is_backup(&changed));
    // The backup still counts after a change that came to nothing.
    let then = ordered(&after_records(vec![made()]));
    let not_sent = Record {
        known: Outcome {
            state: State::NotSent,
            quiet_since: Some(Timestamp::UNIX_EPOCH),
            ..Outcome::sending()
        },
        ..recorded(then, State::NotSent)
    };
    let again = after_records(vec![made(), not_sent]);
    assert_eq!(ordered(&again).attempt.number, 3);
    assert!(!is_backup(&again));
}

#[test]
fn nothing_follows_a_backup_without_a_known_end() {
    for state in [State::Sending, State::Accepted, State::Unknown] {
        let decision = decided(&careful(), &after_records(vec![backup(state)]));
        let Decision::Report(report) = &decision else {
            panic!("{state:?}: {decision:?}");
        };
        assert!(matches!(report.facts, StatusFacts::Attempted(_)), "{state:?}");
        // Even where the wish was taken back.
        assert!(matches!(
            decided(&intent(), &after_records(vec![backup(state)])),
            Decision::Report(_)
        ));
    }
}

#[test]
fn after_a_backup_that_failed_only_a_new_quote_approves() {
    for state in [State::Failed, State::Abandoned] {
        let mut failed = backup(state);
        failed.known.message = Text::new("the job failed: node did not answer");
        let stalled = decided(&careful(), &after_records(vec![failed.clone()]));
        assert_eq!(reason(&stalled), Reason::JobFailed, "{state:?}");
        for says in [
            "Nothing was changed",
            "node did not answer",
            "because the backup before it failed",
            "To approve: kubectl",
        ] {
            assert!(message(&stalled).contains(says), "{}", message(&stalled));
        }
        let approved = Intent {
            approval: Some(Approval::from(quote_of(&stalled).id)),
            ..careful()
        };
        let again = bought(decided(&approved, &after_records(vec![failed.clone()])));
        assert!(matches!(again.action, Action::CreateBackup(_)));
        let mut second = recorded(again, State::Succeeded);
        second.created_at = Some(now());
        let then = bought(decided(&approved, &after_records(vec![failed, second])));
        assert!(
            matches!(then.action, Action::Options(_)),
            "the approval lasts for the change too"
        );
    }
}

#[test]
fn a_backup_that_was_refused_is_tried_again_for_another_cause_only() {
    let mut refused = backup(State::Rejected);
    refused.known.message = Text::new("HostUp refused (vps_not_ready)");
    let held = decided(&careful(), &after_records(vec![refused.clone()]));
    assert_eq!(reason(&held), Reason::Rejected);
    let mut view = after_records(vec![refused.clone()]);
    view.chain.closed_after = Some(refused.name.clone());
    assert_eq!(
        reason(&decided(&careful(), &view)),
        Reason::ProviderUnavailable,
        "after a pause"
    );
}

#[test]
fn a_backup_is_not_begun_where_the_caps_leave_no_call_for_the_change() {
    let mut view = with_gate(open());
    view.chain.brakes.last_call = Some(Cap::OfNamespace(1));
    let held = decided(&careful(), &view);
    assert_eq!(reason(&held), Reason::PaidCallCap);
    assert!(
        message(&held).contains("are two paid calls"),
        "{}",
        message(&held)
    );
    let mut after = after_records(vec![made()]);
    after.chain.brakes.last_call = Some(Cap::OfNamespace(1));
    assert_eq!(ordered(&after).path, "/api/v2/vps/vps_1/actions/config");
    assert!(
        matches!(decided(&intent(), &view), Decision::Buy(_)),
        "one call is enough without a backup"
    );
}

#[test]
fn a_failed_backup_counts_for_its_own_wish_only() {
    let failed = backup(State::Failed);
    let another = Intent {
        digest: "intent-2".into(),
        ..careful()
    };
    let order = bought(decided(&another, &after_records(vec![failed])));
    assert!(
        matches!(order.action, Action::CreateBackup(_)),
        "a ceiling covers another wish"
    );
}

#[test]
fn a_gate_that_closed_after_a_later_backup_closed_after_the_refused_change_too() {
    let refused = recorded(ordered(&after_records(vec![made()])), State::Rejected);
    let mut second = made();
    second.attempt = 3;
    second.name = RecordName::new("chain-3");
    let mut view = after_records(vec![made(), refused.clone(), second]);
    assert_eq!(reason(&decided(&careful(), &view)), Reason::Rejected);
    for closed in [refused.name, RecordName::new("chain-3")] {
        view.chain.closed_after = Some(closed);
        assert_eq!(
            reason(&decided(&careful(), &view)),
            Reason::ProviderUnavailable,
            "after a pause"
        );
    }
}

fn listed(note: Option<&str>, complete: bool) -> ListedBackup {
    ListedBackup {
        id: BackupId::new("bkp_9"),
        created_at: complete.then(now),
        size_gb: amount_of(if complete { "12.4" } else { "0" }),
        kind: None,
        note: note.map(Text::new),
    }
}

fn amount_of(text: &str) -> Option<Amount> {
    Amount::parse(text)
}

fn note_of(record: &Record) -> String {
    match &record.action {
        Action::CreateBackup(ordered) => ordered.note.clone(),
        other => panic!("{other:?}"),
    }
}

fn seen(backups: Vec<ListedBackup>) -> Input {
    Input::Backups(BackupsReading {
        backups,
        reads_vps: true,
    })
}

fn stepped(record: &Record, input: Input, memo: &mut Memo, seconds: u64) -> Outcome {
    let at = later(now(), Duration::from_secs(seconds));
    step(record, input, memo, &times(), at)
}

fn with_job(state: State) -> Record {
    let mut record = backup(state);
    record.known.job = Some(Job {
        id: JobId::parse("job_1").unwrap(),
        poll_path: "/api/jobs/job_1".to_owned(),
        word: None,
    });
    record
}

fn completed() -> Input {
    Input::Job(
        JobState::Completed {
            hints: Vec::new(),
            took: None,
        },
        Vec::new(),
    )
}

#[test]
fn the_backup_is_made_once_its_job_has_ended_and_its_note_is_listed() {
    let accepted = with_job(State::Accepted);
    let memo = &mut Memo::default();
    assert!(matches!(need(&accepted, memo, &times(), now()), Need::Job(_)));
    let ended = stepped(&accepted, completed(), memo, 5);
    assert_eq!(
        (ended.state, ended.evidence),
        (State::Accepted, Some(Evidence::Job))
    );
    let ended = Record {
        known: ended,
        ..accepted.clone()
    };
    assert_eq!(need(&ended, memo, &times(), now()), Need::Backups);
    assert_eq!(
        stepped(&ended, seen(vec![]), memo, 6).state,
        State::Accepted,
        "the list may lag"
    );
    assert_eq!(
        stepped(&ended, seen(vec![listed(Some("Before upgrade"), true)]), memo, 6).state,
        State::Accepted
    );
    let note = note_of(&ended);
    let unfinished = seen(vec![listed(Some(&note), false)]);
    assert_eq!(stepped(&ended, unfinished, memo, 6).state, State::Accepted);
    let whatever = format!("[auto] {note}!");
    let found = stepped(
        &ended,
        seen(vec![listed(None, true), listed(Some(&whatever), true)]),
        memo,
        7,
    );
    assert_eq!(
        (found.state, found.backup),
        (State::Succeeded, Some(BackupId::new("bkp_9")))
    );
    let failed = Input::Job(
        JobState::Failed {
            error: Text::new("full"),
        },
        Vec::new(),
    );
    assert_eq!(stepped(&accepted, failed, memo, 5).state, State::Failed);
}

#[test]
fn a_completed_job_without_a_backup_to_show_is_asked_about() {
    let mut ended = with_job(State::Accepted);
    ended.known.evidence = Some(Evidence::Job);
    let settled = times().settle_time.as_secs() + 121;
    let memo = &mut Memo::default();
    for _ in 0..2 {
        assert_eq!(
            stepped(&ended, seen(vec![]), memo, settled).state,
            State::Accepted
        );
    }
    let asked = stepped(&ended, seen(vec![]), memo, settled);
    assert_eq!(
        (asked.state, asked.evidence),
        (State::Unknown, Some(Evidence::NoneFound))
    );
    let asked = Record {
        known: asked,
        ..ended
    };
    assert_eq!(
        need(&asked, memo, &times(), now()),
        Need::Backups,
        "it may still show up"
    );
    let note = note_of(&asked);
    let found = stepped(&asked, seen(vec![listed(Some(&note), true)]), memo, settled);
    assert_eq!(found.state, State::Succeeded);
}

#[test]
fn a_lost_answer_is_found_by_the_note_and_else_a_person_decides() {
    let unknown = backup(State::Unknown);
    let memo = &mut Memo::default();
    assert_eq!(need(&unknown, memo, &times(), now()), Need::Backups);
    let note = note_of(&unknown);
    let found = stepped(&unknown, seen(vec![listed(Some(&note), true)]), memo, 5);
    assert_eq!(
        (found.state, found.evidence),
        (State::Succeeded, Some(Evidence::BackupFound))
    );
    let settled = times().settle_time.as_secs() + 121;
    let mut known = unknown.known.clone();
    for _ in 0..3 {
        known = stepped(
            &Record {
                known,
                ..unknown.clone()
            },
            seen(vec![]),
            memo,
            settled,
        );
    }
    assert_eq!(
        (known.state, known.evidence),
        (State::Unknown, Some(Evidence::NoneFound))
    );
    let decision = decided(
        &careful(),
        &after_records(vec![Record {
            known: known.clone(),
            ..unknown.clone()
        }]),
    );
    assert_eq!(reason(&decision), Reason::OutcomeUnknown);
    for answer in ["NotExecuted", "Adopt", "Abandon"] {
        assert!(
            message(&decision).contains(&format!("\"answer\":\"{answer}\"")),
            "{}",
            message(&decision)
        );
    }
    let answered = |answer| Record {
        answer: Some(answer),
        known: known.clone(),
        ..unknown.clone()
    };
    let not = answered(Resolution::NotExecuted);
    assert_eq!(
        stepped(
            &not,
            seen(vec![]),
            &mut Memo {
                absent_reads: 3,
                ..Memo::default()
            },
            settled
        )
        .state,
        State::NotExecuted
    );
    let there = answered(Resolution::NotExecuted);
    let found = stepped(&there, seen(vec![listed(Some(&note), true)]), memo, settled);
    assert_eq!(
        found.state,
        State::Succeeded,
        "the list is stronger than the answer"
    );
    let adopted = answered(Resolution::Adopt(VpsId::new("")));
    assert_eq!(need(&adopted, memo, &times(), now()), Need::Say(Input::Adopted));
    assert_eq!(
        stepped(&adopted, Input::Adopted, memo, settled).state,
        State::Succeeded
    );
}

#[test]
fn a_backup_that_nobody_looked_for_in_days_is_old_when_it_is_found() {
    let days = 3 * 24 * 60 * 60;
    let is_fresh = |known: &Outcome, at: u64| {
        let mut record = Record {
            known: known.clone(),
            ..backup(State::Succeeded)
        };
        record.created_at = Some(now());
        let view = after_records(vec![record]);
        let mut view = view;
        if let ProviderReading::Read(reading) = &mut view.reading {
            reading.read_at = later(now(), Duration::from_secs(at));
        }
        let decision = decide_at(&careful(), &view, at);
        !matches!(bought(decision).action, Action::CreateBackup(_))
    };
    let note = note_of(&backup(State::Unknown));
    let found = |memo: &mut Memo, at| {
        stepped(
            &backup(State::Unknown),
            seen(vec![listed(Some(&note), true)]),
            memo,
            at,
        )
    };
    assert!(is_fresh(&found(&mut Memo::default(), 60), 60));
    assert!(!is_fresh(&found(&mut Memo::default(), days), days));
    // Who has looked all the time knows better.
    let mut watched = Memo {
        unfinished_at: later(now(), Duration::from_secs(days - 60)),
        ..Memo::default()
    };
    assert!(is_fresh(&found(&mut watched, days), days));
    let completed = |memo: &mut Memo, took: Option<Duration>| {
        let job = Input::Job(
            JobState::Completed {
                hints: Vec::new(),
                took,
            },
            Vec::new(),
        );
        let known = stepped(&with_job(State::Accepted), job, memo, days);
        let ended = Record {
            known,
            ..with_job(State::Accepted)
        };
        stepped(&ended, seen(vec![listed(Some(&note), true)]), memo, days)
    };
    assert!(!is_fresh(&completed(&mut Memo::default(), None), days));
    assert!(is_fresh(
        &completed(&mut Memo::default(), Some(Duration::from_secs(days - 60))),
        days
    ));
    assert!(is_fresh(&completed(&mut watched, None), days));
}

#[test]
fn an_older_backup_with_the_note_is_none_of_this_call() {
    let unknown = backup(State::Unknown);
    let note = note_of(&unknown);
    let mut old = listed(Some(&note), true);
    old.created_at = Some(Timestamp::from_second(now().as_second() - 86_400).unwrap());
    let memo = &mut Memo::default();
    assert_eq!(
        stepped(&unknown, seen(vec![old.clone()]), memo, 5).state,
        State::Unknown
    );
    let own = ListedBackup {
        id: BackupId::new("bkp_own"),
        ..listed(Some(&note), true)
    };
    let found = stepped(&unknown, seen(vec![own, old]), memo, 5);
    assert_eq!(found.backup, Some(BackupId::new("bkp_own")));
}

#[test]
fn a_backup_that_is_never_complete_is_asked_about_and_another_answer_is_possible() {
    let unknown = backup(State::Unknown);
    let note = note_of(&unknown);
    let unfinished = || seen(vec![listed(Some(&note), false)]);
    let late = times().job_deadline.as_secs() + 60;
    let memo = &mut Memo::default();
    assert_eq!(
        stepped(&unknown, unfinished(), memo, 5),
        unknown.known,
        "it is being made"
    );
    let asked = stepped(&unknown, unfinished(), memo, late);
    assert_eq!(
        (asked.state, asked.evidence),
        (State::Unknown, Some(Evidence::NoneFound))
    );
    let asked = Record {
        known: asked,
        ..unknown
    };
    assert_eq!(
        stepped(&asked, unfinished(), memo, late + 60),
        asked.known,
        "nothing is written twice"
    );
    let told = Record {
        answer: Some(Resolution::NotExecuted),
        ..asked
    };
    let refused = stepped(&told, unfinished(), memo, late + 60);
    assert!(
        refused.state == State::Unknown && refused.answer_refused.is_some(),
        "{refused:?}"
    );
}

#[test]
fn that_nothing_is_listed_proves_nothing_to_a_key_that_does_not_read_the_vps() {
    let told = Record {
        answer: Some(Resolution::NotExecuted),
        ..backup(State::Unknown)
    };
    let memo = &mut Memo {
        absent_reads: 9,
        ..Memo::default()
    };
    let unread = Input::Backups(BackupsReading {
        backups: Vec::new(),
        reads_vps: false,
    });
    let asked = stepped(&told, unread, memo, times().settle_time.as_secs() + 121);
    assert_eq!(
        (asked.state, asked.evidence),
        (State::Unknown, Some(Evidence::AccountMismatch))
    );
    assert!(asked.answer_refused.is_some());
}

#[test]
fn two_records_two_objects_or_two_installations_never_share_a_note() {
    let note = |instance: &str, n, uid: &str| {
        NewBackup::of(
            &InstanceId::new(instance),
            &ChainKey::of_config(&VpsId::new("vps_1")).record(n),
            &Uid::new(uid),
        )
        .note
    };
    let notes = [
        note("a", 1, "u"),
        note("a", 2, "u"),
        note("b", 1, "u"),
        note("a", 1, "v"),
    ];
    for (n, one) in notes.iter().enumerate() {
        for other in &notes[n + 1..] {
            let ordered = NewBackup { note: one.clone() };
            assert!(!ordered.is_noted_on(&listed(Some(other), true)), "{one} {other}");
        }
    }
    assert!(!NewBackup { note: String::new() }.is_noted_on(&listed(Some("Before upgrade"), true)));
}

/// Records of one VPS: of a backup or of a change, its state, whose it is, and so many minutes before now.
fn chains() -> impl Strategy<Value = Vec<(bool, State, bool, i64)>> {
    let record = (
        any::<bool>(),
        prop::sample::select(State::ALL.to_vec()),
        prop::bool::weighted(0.8),
        prop::sample::select(vec![0, 30, 59, 60, 600]),
    );
    prop::collection::vec(record, 0..5)
}

proptest! {
    #[test]
    fn whatever_was_done_before_a_change_leaves_only_right_after_a_backup_of_its_own(chain in chains(), by_quote: bool) {
        let (backup, change) = (backup(State::Sending), record(State::Sending));
        let rows = chain.iter().zip(1_u32..);
        let records: Vec<Record> = rows
            .map(|((is_backup, state, is_own, minutes), n)| {
                let at = Timestamp::from_second(now().as_second() - minutes * 60).unwrap();
                let mut record = if *is_backup { backup.clone() } else { change.clone() };
                record.name = RecordName::new(format!("chain-{n}"));
                record.attempt = n;
                record.created_at = Some(at);
                record.claim.made_at = at;
                record.known = Outcome { state: *state, quiet_since: Some(at), ..Outcome::sending() };
                if !is_own {
                    record.subject.uid = Uid::new("uid-2");
                    record.subject.name = "other".into();
                }
                record
            })
            .collect();
        let view = after_records(records);
        let intent = if by_quote {
            let shown = decided(&Intent { approval: None, ..careful() }, &view);
            let Decision::Report(report) = shown else { panic!("without an approval: {shown:?}") };
            let StatusFacts::Shown(shown) = report.facts else { return Ok(()) };
            let Some(quote) = shown.quote else { return Ok(()) };
            Intent { approval: Some(Approval::from(quote.id)), ..careful() }
        } else {
            careful()
        };
        let Decision::Buy(order) = decided(&intent, &view) else { return Ok(()) };
        let came_to_nothing = |state: State| matches!(state, State::NotSent | State::Rejected | State::NotExecuted);
        let unsettled = |(is_backup, state, ..): &(bool, State, bool, i64)| {
            !came_to_nothing(*state) && *state != State::Succeeded && !(*is_backup && matches!(state, State::Failed | State::Abandoned))
        };
        prop_assert!(!chain.last().is_some_and(unsettled), "{chain:?}");
        let executed = chain.iter().rev().find(|(_, state, ..)| !came_to_nothing(*state));
        let is_fresh = matches!(executed, Some((true, State::Succeeded, true, minutes)) if *minutes < 60);
        prop_assert_eq!(matches!(order.action, Action::CreateBackup(_)), !is_fresh, "{:?}", chain);
        let executed = chain.iter().zip(1_u32..).filter(|((_, state, ..), _)| !came_to_nothing(*state)).last();
        let made_by = executed.filter(|_| is_fresh).map(|(_, n)| RecordName::new(format!("chain-{n}")));
        prop_assert_eq!(order.saved_by, made_by, "what the change must not come after: {:?}", chain);
        let failed = chain.iter().rev().take_while(|(is_backup, state, ..)| {
            came_to_nothing(*state) || (*is_backup && state.is_final())
        });
        let failed = failed.filter(|(is_backup, state, is_own, _)| {
            *is_backup && *is_own && matches!(state, State::Failed | State::Abandoned)
        });
        prop_assert!(by_quote || failed.count() == 0, "a ceiling after a failed backup: {:?}", chain);
    }
}
