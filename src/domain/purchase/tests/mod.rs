mod search;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::consent::approval::Ground;
use crate::ledger::record::{Evidence, State as RecordState, later};
use crate::provider::inventory::Vm;
use crate::restore::tests::{SIZE, now, order, record, restored, times};
use crate::values::ids::{InstanceId, RecordName, VpsId};

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u32) -> Moment {
    let monotonic = SECOND * (1000 + seconds);
    Moment {
        wall: later(now(), SECOND * seconds),
        monotonic,
        with_sleep: monotonic,
    }
}

fn plan() -> Plan {
    Plan {
        order: order(),
        claim: Claim {
            holder: Holder::new("mine"),
            instance: InstanceId::new("cluster-1"),
            made_at: now(),
            send_before: later(now(), times().request_timeout),
        },
        read: at(0),
        found: None,
    }
}

fn purchase() -> Purchase {
    Purchase::new(plan(), times(), at(0))
}

/// The record of `plan`, held by `holder`.
fn held_by(holder: &str) -> Box<Record> {
    let mut record = record(RecordState::Sending);
    record.known = Outcome::sending();
    record.claim = plan().claim;
    record.claim.holder = Holder::new(holder);
    Box::new(record)
}

fn wanted() -> Reading<Standing> {
    Reading::Found(Standing {
        is_held: false,
        is_same: true,
        is_unchanged: true,
        is_being_deleted: false,
        is_suspended: false,
        is_told_alike: true,
        is_alone: true,
    })
}

fn ours() -> Reading<Reread> {
    Reading::Found(Reread {
        is_sending: true,
        is_as_drafted: true,
    })
}

fn accepted() -> PaidAnswer {
    PaidAnswer::Answered {
        status: 202,
        retry_after: None,
        body: br#"{"success":true,"operation":{"jobId":"job_1","pollUrl":"/api/jobs/job_1"}}"#.to_vec(),
    }
}

fn made() -> Event {
    Event::Created(Created::Made(Some(held_by("mine"))))
}

/// A good second look.
fn looked(second: u32) -> [(u32, Event); 2] {
    let events = [Event::LookedAtObject(wanted()), Event::LookedAtRecord(ours())];
    events.map(|event| (second, event))
}

/// What follows these events, each at its second.
fn after(purchase: &mut Purchase, events: impl IntoIterator<Item = (u32, Event)>) -> Effect {
    let mut last = Effect::End(End::Confused);
    for (second, event) in events {
        last = purchase.next(event, at(second));
    }
    last
}

fn up_to_the_look() -> Purchase {
    let mut purchase = purchase();
    let events = [(0, Event::Begun), (0, Event::Reserved(true)), (0, made())];
    assert_eq!(after(&mut purchase, events), Effect::LookAtObject);
    purchase
}

fn state_written(effect: &Effect) -> Option<RecordState> {
    match effect {
        Effect::Write(known) => Some(known.state),
        _ => None,
    }
}

#[test]
fn a_purchase_that_goes_well_reserves_claims_looks_sends_and_records() {
    let mut purchase = purchase();
    let mut next = |event| purchase.next(event, at(1));
    assert_eq!(next(Event::Begun), Effect::Reserve { pays: true });
    assert_eq!(next(Event::Reserved(true)), Effect::Create);
    assert_eq!(next(made()), Effect::LookAtObject);
    assert_eq!(next(Event::LookedAtObject(wanted())), Effect::LookAtRecord);
    assert_eq!(next(Event::LookedAtRecord(ours())), Effect::HandOver);
    let Effect::Post(right) = next(Event::HandedOver) else {
        panic!("nothing is sent");
    };
    assert_eq!(
        (right.path(), right.body()),
        (order().path.as_str(), order().body.as_str())
    );
    assert_eq!(
        state_written(&next(Event::Answered(accepted()))),
        Some(RecordState::Accepted)
    );
    let Effect::End(End::Recorded { from, known, .. }) = next(Event::Written(Written::Stood)) else {
        panic!("it does not end");
    };
    assert_eq!((from, known.state), (RecordState::Sending, RecordState::Accepted));
}

#[test]
fn only_a_record_with_its_own_holder_leads_on_whatever_the_create_answered() {
    let read = |reading| Event::Read(reading);
    let unclear = Event::Created(Created::Unclear);
    let conflict = Event::Created(Created::Conflict);
    let found = |holder| read(Reading::Found(held_by(holder)));
    for (what, events, expected) in [
        ("made", vec![made()], Effect::LookAtObject),
        (
            "answered with another's",
            vec![Event::Created(Created::Made(Some(held_by("another"))))],
            Effect::End(End::NotMade),
        ),
        (
            "unreadable",
            vec![Event::Created(Created::Made(None))],
            Effect::End(End::Unreadable),
        ),
        (
            "refused",
            vec![Event::Created(Created::Refused)],
            Effect::End(End::Refused),
        ),
        (
            "unclear, and ours",
            vec![unclear.clone(), found("mine")],
            Effect::LookAtObject,
        ),
        (
            "unclear, and ours at the last read",
            vec![
                unclear.clone(),
                read(Reading::None),
                Event::Waited,
                read(Reading::Unreadable),
                Event::Waited,
                found("mine"),
            ],
            Effect::LookAtObject,
        ),
        (
            "unclear, and another's",
            vec![unclear.clone(), found("another")],
            Effect::End(End::NotMade),
        ),
        (
            "a conflict with ours",
            vec![conflict.clone(), found("mine")],
            Effect::LookAtObject,
        ),
        (
            "a conflict with another's",
            vec![conflict.clone(), found("another")],
            Effect::End(End::NotMade),
        ),
        (
            "a conflict with one that is gone",
            vec![conflict, read(Reading::None)],
            Effect::End(End::NotMade),
        ),
        (
            "unclear to the end",
            vec![
                unclear,
                read(Reading::None),
                Event::Waited,
                read(Reading::Busy),
                Event::Waited,
                read(Reading::None),
            ],
            Effect::End(End::Unconfirmed),
        ),
    ] {
        let mut purchase = purchase();
        let begin = [Event::Begun, Event::Reserved(true)];
        let events = begin.into_iter().chain(events).map(|event| (0, event));
        assert_eq!(after(&mut purchase, events), expected, "{what}");
    }
}

#[test]
fn nothing_is_sent_after_a_second_look_that_does_not_show_what_was_looked_at_first() {
    let Reading::Found(standing) = wanted() else {
        unreachable!()
    };
    let object = |change: fn(&mut Standing)| {
        let mut changed = standing;
        change(&mut changed);
        (Reading::Found(changed), ours())
    };
    let record = |is_sending, is_as_drafted| {
        let reread = Reread {
            is_sending,
            is_as_drafted,
        };
        (wanted(), Reading::Found(reread))
    };
    for (object, record) in [
        object(|object| object.is_same = false),
        object(|object| object.is_unchanged = false),
        object(|object| object.is_being_deleted = true),
        object(|object| object.is_suspended = true),
        object(|object| object.is_held = true),
        object(|object| object.is_told_alike = false),
        object(|object| object.is_alone = false),
        (Reading::None, ours()),
        (Reading::Unreadable, ours()),
        record(false, true),
        record(true, false),
        (wanted(), Reading::None),
        (wanted(), Reading::Unreadable),
    ] {
        let mut purchase = up_to_the_look();
        let mut effect = purchase.next(Event::LookedAtObject(object.clone()), at(1));
        assert_eq!(effect == Effect::LookAtRecord, object == wanted(), "{object:?}");
        if effect == Effect::LookAtRecord {
            effect = purchase.next(Event::LookedAtRecord(record.clone()), at(1));
        }
        assert_eq!(
            state_written(&effect),
            Some(RecordState::NotSent),
            "{object:?} {record:?}"
        );
    }
}

#[test]
fn a_ceiling_that_ends_after_the_claim_withdraws_it_at_the_look_and_before_the_call() {
    let made_by_the_api_server_at = |end, second| {
        let mut plan = plan();
        let grant = plan.order.grant.as_mut().unwrap();
        let Ground::Ceiling(ceiling) = &mut grant.ground else {
            unreachable!("the standard approval is a ceiling");
        };
        ceiling.valid_until = Some(at(end).wall);
        let mut purchase = Purchase::new(plan, times(), at(0));
        let mut record = held_by("mine");
        record.created_at = Some(at(second).wall);
        let made = Event::Created(Created::Made(Some(record)));
        after(
            &mut purchase,
            [(0, Event::Begun), (0, Event::Reserved(true)), (0, made)],
        );
        purchase
    };
    let until = |end| made_by_the_api_server_at(end, 0);
    let looked_at_it = Event::LookedAtObject(wanted());
    assert_eq!(until(2).next(looked_at_it.clone(), at(1)), Effect::LookAtRecord);
    let ended = until(1).next(looked_at_it, at(1));
    assert_eq!(state_written(&ended), Some(RecordState::NotSent));
    let mut purchase = until(2);
    assert_eq!(after(&mut purchase, looked(1)), Effect::HandOver);
    let ended = purchase.next(Event::HandedOver, at(2));
    assert_eq!(state_written(&ended), Some(RecordState::NotSent));
    // This process's clock is behind that of the API server.
    let ended = made_by_the_api_server_at(7, 7).next(Event::LookedAtObject(wanted()), at(1));
    assert_eq!(state_written(&ended), Some(RecordState::NotSent));
}

#[test]
fn a_busy_api_server_is_asked_four_times_before_the_claim_is_given_up() {
    let object_is_busy = vec![Event::LookedAtObject(Reading::Busy)];
    let record_is_busy = vec![
        Event::LookedAtObject(wanted()),
        Event::LookedAtRecord(Reading::Busy),
    ];
    for busy in [object_is_busy, record_is_busy] {
        let mut purchase = up_to_the_look();
        let busy = || busy.clone().into_iter().map(|event| (1, event));
        for _ in 1..SECOND_LOOKS {
            assert_eq!(after(&mut purchase, busy()), Effect::Wait(BETWEEN_SECOND_LOOKS));
            assert_eq!(purchase.next(Event::Waited, at(1)), Effect::LookAtObject);
        }
        assert_eq!(
            state_written(&after(&mut purchase, busy())),
            Some(RecordState::NotSent)
        );
    }
}

#[test]
fn a_claim_whose_time_has_passed_by_any_clock_is_not_sent() {
    let late = |wall, monotonic, with_sleep| Moment {
        wall: at(wall).wall,
        monotonic: at(monotonic).monotonic,
        with_sleep: at(with_sleep).with_sleep,
    };
    for (moment, is_sent) in [
        (late(29, 29, 29), true),
        (late(31, 1, 1), false),
        (late(1, 31, 1), false),
        (late(1, 1, 31), false),
    ] {
        let mut purchase = up_to_the_look();
        assert_eq!(after(&mut purchase, looked(0)), Effect::HandOver);
        let effect = purchase.next(Event::HandedOver, moment);
        assert_eq!(matches!(effect, Effect::Post(_)), is_sent, "{moment:?}");
    }
    let mut old = plan();
    old.claim.send_before = Timestamp::MAX;
    let mut purchase = Purchase::new(old, times(), at(61));
    assert_eq!(purchase.next(Event::Begun, at(61)), Effect::End(End::NotMade));
}

#[test]
fn at_the_last_moment_by_every_clock_it_is_still_sent_and_what_it_waited_is_no_longer_waited_for_the_answer()
{
    let mut record = held_by("mine");
    record.claim.send_before = at(60).wall;
    let made = Event::Created(Created::Made(Some(record)));
    let mut at_the_last = purchase();
    let events = [(30, Event::Begun), (30, Event::Reserved(true)), (60, made)];
    let events = events
        .into_iter()
        .chain(looked(60))
        .chain([(60, Event::HandedOver)]);
    let Effect::Post(right) = after(&mut at_the_last, events) else {
        panic!("nothing is sent");
    };
    assert_eq!(right.within() + SECOND * 30, times().paid_timeout);
    assert_eq!(
        purchase().next(Event::Begun, at(60)),
        Effect::Reserve { pays: true },
        "READINGS_LAST is a minute"
    );
}

#[test]
fn without_randomness_nothing_is_claimed() {
    let mut plan = plan();
    plan.claim.holder = Holder::new("");
    let mut purchase = Purchase::new(plan, times(), at(0));
    assert_eq!(purchase.next(Event::Begun, at(0)), Effect::End(End::NotMade));
}

#[test]
fn what_was_found_before_the_claim_is_recorded_and_nothing_is_sent_for_it() {
    let vm = Vm {
        id: VpsId::new("vps_new"),
        name: restored(&order().action).vm_name,
        is_payg: true,
        size: Some(SIZE),
        primary_ip: None,
        running: true,
        ended: None,
        result_of: None,
    };
    let found = Some(Sighting::One(vm));
    let mut purchase = Purchase::new(Plan { found, ..plan() }, times(), at(0));
    let mut next = |event| purchase.next(event, at(1));
    assert_eq!(next(Event::Begun), Effect::Reserve { pays: false });
    assert_eq!(next(Event::Reserved(true)), Effect::Create);
    let Effect::Write(known) = next(made()) else {
        panic!("nothing is written");
    };
    assert_eq!(known.evidence, Some(Evidence::FoundBeforeClaim));
    let other = RecordName::new("another-1");
    let Effect::Write(known) = next(Event::Written(Written::Anothers(other))) else {
        panic!("nothing is written");
    };
    assert_eq!((known.state, known.result), (RecordState::Unknown, None));
}

fn sent() -> Purchase {
    let mut purchase = up_to_the_look();
    let events = looked(1).into_iter().chain([(1, Event::HandedOver)]);
    assert!(matches!(after(&mut purchase, events), Effect::Post(_)));
    purchase
}

#[test]
fn an_outcome_is_written_until_it_stands_and_a_lost_answer_is_read_back() {
    let mut purchase = sent();
    let mut known = purchase.next(Event::Answered(accepted()), at(1));
    let mut waits = Vec::new();
    for round in 0..12 {
        let written = if round < 6 {
            Written::Unclear
        } else {
            Written::Refused
        };
        let Effect::Wait(wait) = purchase.next(Event::Written(written), at(2)) else {
            panic!("it gives up");
        };
        waits.push(wait);
        assert_eq!(purchase.next(Event::Waited, at(2)), Effect::Read);
        known = purchase.next(Event::Read(Reading::Unreadable), at(2));
        assert_eq!(state_written(&known), Some(RecordState::Accepted));
    }
    assert_eq!(waits.first(), Some(&Duration::from_millis(200)));
    assert_eq!(waits.get(6), Some(&(SECOND * 10)));
    assert_eq!(waits.last(), Some(&(SECOND * 60)));
    let Effect::Write(known) = known else {
        unreachable!()
    };
    let applied = Box::new(Record {
        known,
        ..*held_by("mine")
    });
    purchase.next(Event::Written(Written::Unclear), at(3));
    purchase.next(Event::Waited, at(3));
    let Effect::End(End::Recorded { from, .. }) = purchase.next(Event::Read(Reading::Found(applied)), at(3))
    else {
        panic!("it is written twice");
    };
    assert_eq!(from, RecordState::Sending);
}

#[test]
fn a_record_is_gone_only_after_three_reads_say_so() {
    let mut purchase = sent();
    purchase.next(Event::Answered(accepted()), at(1));
    let gone = Event::Written(Written::Gone);
    assert_eq!(purchase.next(gone.clone(), at(2)), Effect::Wait(BETWEEN_LOOKS));
    assert_eq!(purchase.next(Event::Waited, at(2)), Effect::Read);
    let there = Event::Read(Reading::Found(held_by("mine")));
    assert!(
        matches!(purchase.next(there, at(2)), Effect::Wait(_)),
        "it is tried again"
    );
    purchase.next(Event::Waited, at(2));
    let effect = purchase.next(Event::Read(Reading::Unreadable), at(2));
    assert_eq!(state_written(&effect), Some(RecordState::Accepted));
    purchase.next(gone, at(2));
    for _ in 0..2 {
        assert_eq!(purchase.next(Event::Waited, at(2)), Effect::Read);
        let none = Event::Read(Reading::None);
        assert_eq!(purchase.next(none, at(2)), Effect::Wait(BETWEEN_LOOKS));
    }
    purchase.next(Event::Waited, at(2));
    let end = purchase.next(Event::Read(Reading::None), at(2));
    assert!(matches!(end, Effect::End(End::Gone(_, known)) if known.state == RecordState::Accepted));
}

#[test]
fn a_record_is_gone_as_well_where_a_write_answers_it_with_a_conflict() {
    let mut purchase = sent();
    purchase.next(Event::Answered(accepted()), at(1));
    assert!(matches!(
        purchase.next(Event::Written(Written::Unclear), at(2)),
        Effect::Wait(_)
    ));
    for _ in 0..2 {
        assert_eq!(purchase.next(Event::Waited, at(2)), Effect::Read);
        let none = Event::Read(Reading::None);
        assert_eq!(purchase.next(none, at(2)), Effect::Wait(BETWEEN_LOOKS));
    }
    assert_eq!(purchase.next(Event::Waited, at(2)), Effect::Read);
    let end = purchase.next(Event::Read(Reading::None), at(2));
    assert!(matches!(end, Effect::End(End::Gone(_, known)) if known.state == RecordState::Accepted));
}

#[test]
fn what_somebody_settled_is_not_written_over_though_a_write_said_that_the_record_is_gone() {
    let mut purchase = sent();
    purchase.next(Event::Answered(accepted()), at(1));
    purchase.next(Event::Written(Written::Gone), at(2));
    purchase.next(Event::Waited, at(2));
    let mut settled = held_by("mine");
    settled.known.state = RecordState::Abandoned;
    purchase.next(Event::Read(Reading::Found(settled)), at(2));
    purchase.next(Event::Waited, at(2));
    let end = purchase.next(Event::Read(Reading::Unreadable), at(2));
    assert!(matches!(end, Effect::End(End::Settled { .. })), "{end:?}");
}

#[test]
fn a_record_that_another_one_replaced_is_left_alone() {
    let mut purchase = sent();
    purchase.next(Event::Answered(accepted()), at(1));
    purchase.next(Event::Written(Written::Unclear), at(1));
    purchase.next(Event::Waited, at(1));
    let end = purchase.next(Event::Read(Reading::Found(held_by("another"))), at(1));
    assert!(matches!(end, Effect::End(End::Gone(..))));
}

/// An answer to `effect`, by a choice of `0..`.
fn answer(effect: &Effect, choice: usize) -> Event {
    let holder = if choice % 5 == 4 { "another" } else { "mine" };
    let record = || {
        let mut record = held_by(holder);
        if choice % 7 == 6 {
            record.known.state = RecordState::Unknown;
        }
        record
    };
    let reading = || match choice % 4 {
        0 | 1 => Reading::Found(record()),
        2 => Reading::None,
        _ => Reading::Unreadable,
    };
    match effect {
        Effect::Reserve { .. } => Event::Reserved(choice % 8 != 7),
        Effect::Create => Event::Created(match choice % 6 {
            0 | 1 => Created::Made(Some(record())),
            2 => Created::Unclear,
            3 => Created::Conflict,
            4 => Created::Refused,
            _ => Created::Made(None),
        }),
        Effect::Read => Event::Read(reading()),
        Effect::LookAtObject => Event::LookedAtObject(match choice % 8 {
            0..=4 => wanted(),
            5 => Reading::Busy,
            6 => Reading::None,
            _ => Reading::Unreadable,
        }),
        Effect::LookAtRecord => Event::LookedAtRecord(match choice % 9 {
            0..=6 => ours(),
            7 => Reading::Busy,
            _ => Reading::None,
        }),
        Effect::HandOver => Event::HandedOver,
        Effect::Post(_) => Event::Answered(match choice % 4 {
            0 => accepted(),
            1 => PaidAnswer::NotSent(Text::new("refused")),
            2 => PaidAnswer::Lost(Text::new("reset")),
            _ => PaidAnswer::Answered {
                status: 503,
                retry_after: None,
                body: Vec::new(),
            },
        }),
        Effect::Write(_) => Event::Written(match choice % 5 {
            0 | 1 => Written::Stood,
            2 => Written::Unclear,
            3 => Written::Refused,
            _ => Written::Gone,
        }),
        Effect::Wait(_) => Event::Waited,
        Effect::End(_) => Event::Begun,
    }
}

proptest! {
    #[test]
    fn whatever_comes_back_it_sends_once_after_its_own_claim_and_a_good_look_and_comes_to_an_end(
        choices in proptest::collection::vec((0_usize..360, 0_u32..20), 0..60)
    ) {
        let mut purchase = purchase();
        let (mut second, mut posts) = (0, 0);
        let (mut is_claimed, mut is_wanted, mut is_ours) = (false, false, false);
        let mut sent_for: Option<PaidAnswer> = None;
        // In the end everything goes well.
        let choices = choices.into_iter().chain(std::iter::repeat((0, 0)));
        let mut effect = purchase.next(Event::Begun, at(0));
        let mut last_written = None;
        for (n, (choice, passes)) in choices.enumerate() {
            prop_assert!(n < 200, "it does not end: {effect:?}");
            second += passes / 16;
            let event = answer(&effect, choice);
            match &event {
                Event::Created(Created::Made(Some(record))) | Event::Read(Reading::Found(record)) => {
                    is_claimed |= record.claim.holder.as_str() == "mine";
                }
                Event::LookedAtObject(object) => (is_wanted, is_ours) = (*object == wanted(), false),
                Event::LookedAtRecord(record) => is_ours = *record == ours(),
                Event::Answered(answer) => sent_for = Some(answer.clone()),
                _ => {}
            }
            if let Effect::Write(known) = &effect {
                last_written = Some(known.clone());
            }
            effect = purchase.next(event, at(second));
            if let Effect::Post(_) = &effect {
                posts += 1;
                prop_assert!(is_claimed && is_wanted && is_ours && second <= 30);
            }
            if let Effect::End(end) = &effect {
                prop_assert_ne!(end, &End::Confused);
                break;
            }
        }
        prop_assert!(posts <= 1);
        prop_assert_eq!(sent_for.is_some(), posts == 1);
        // What is free to be bought again is so only where nothing was sent.
        if let (Effect::End(End::Recorded { known, .. }), Some(answer)) = (&effect, &sent_for) {
            prop_assert_eq!(last_written.as_ref(), Some(known));
            let is_free = known.state.frees_the_name();
            prop_assert_eq!(is_free, matches!(answer, PaidAnswer::NotSent(_)), "{:?}", known);
        }
        // And is dead afterwards.
        prop_assert_eq!(purchase.next(Event::HandedOver, at(second)), Effect::End(End::Confused));
    }
}
