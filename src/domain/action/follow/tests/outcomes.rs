//! What each input makes of a record, in all its parts.

use super::*;
use crate::action::ordered::{NewBackup, Overwriting, TargetState};
use crate::ledger::record::{Estimate, Invoice};
use crate::values::money::Amount;

/// The same with these words.
fn saying(message: &str, outcome: Outcome) -> Outcome {
    Outcome {
        message: Text::new(message),
        ..outcome
    }
}

/// Of a call that has just ended.
fn ended(state: State) -> Outcome {
    Outcome {
        state,
        quiet_since: Some(now()),
        ..Outcome::sending()
    }
}

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

fn invoice() -> Invoice {
    Invoice {
        id: Text::new("inv_1"),
        ..Invoice::unnamed()
    }
}

fn said() -> Said {
    Said {
        code: Some(Text::new("forbidden")),
        words: Some(Text::new("no")),
        request: Some(Text::new("req_1")),
    }
}

fn answered_by(verdict: Verdict) -> Outcome {
    stepped(&record(State::Sending), Input::Answered(verdict))
}

#[test]
fn an_answer_that_is_no_receipt_is_kept_with_all_that_it_says() {
    let not_sent = answered_by(Verdict::NotSent(Text::new("no connection")));
    assert_eq!(not_sent, saying("no connection", ended(State::NotSent)));
    let rejected = answered_by(Verdict::Rejected(Refusal {
        said: said(),
        invoice: Some(invoice()),
        suggests_cancelling: true,
        retry_after: Some(Duration::from_secs(7)),
    }));
    let expected = Outcome {
        said: said(),
        invoice: Some(invoice()),
        suggests_cancelling: true,
        not_before: Some(after(7)),
        ..ended(State::Rejected)
    };
    assert_eq!(
        rejected,
        saying("HostUp refused (forbidden, request req_1): no", expected)
    );
    let unknown = Verdict::Unknown {
        why: Text::new("the connection broke"),
        said: said(),
        retry_after: Some(Duration::from_secs(7)),
    };
    let expected = Outcome {
        said: said(),
        not_before: Some(after(7)),
        ..ended(State::Unknown)
    };
    assert_eq!(
        answered_by(unknown.clone()),
        saying("the connection broke (forbidden, request req_1): no", expected)
    );
    // Others have asked a person meanwhile: what HostUp said is added.
    let asks = asking(Some(Evidence::NoneFound));
    let expected = Outcome {
        said: said(),
        ..asks.known.clone()
    };
    assert_eq!(stepped(&asks, Input::Answered(unknown)), expected);
}

#[test]
fn a_receipt_is_kept_with_all_that_it_says() {
    let job = accepted().known.job.unwrap();
    let received = answered_by(Verdict::Accepted(Receipt::Job(job.clone())));
    let expected = Outcome {
        job: Some(job),
        ..ended(State::Accepted)
    };
    assert_eq!(
        received,
        saying("HostUp accepted the order as job job_1", expected)
    );
    for (invoice, message) in [
        (None, "HostUp took the change".to_owned()),
        (
            Some(invoice()),
            format!(
                "HostUp took the change and made {}; pay it in HostUp's panel",
                invoice()
            ),
        ),
    ] {
        let received = answered_by(Verdict::Accepted(Receipt::Committed {
            invoice: invoice.clone(),
            charge: None,
        }));
        let expected = Outcome {
            invoice,
            ..ended(State::Accepted)
        };
        assert_eq!(received, saying(&message, expected));
    }
    for (total, message) in [
        (Some(amount("99")), "HostUp estimated the upgrade"),
        (None, "HostUp estimated the upgrade, and named no total"),
    ] {
        let estimate = Estimate {
            draft: Some(7),
            total,
            recurring: None,
            currency: None,
        };
        let received = answered_by(Verdict::Accepted(Receipt::Estimated(estimate.clone())));
        let expected = Outcome {
            estimate: Some(estimate),
            evidence: Some(Evidence::Answered),
            ..ended(State::Succeeded)
        };
        assert_eq!(received, saying(message, expected));
    }
}

#[test]
fn an_upgrade_by_the_legacy_api_is_told_with_what_it_names() {
    let full = Receipt::Upgraded {
        order: Some(Text::new("7")),
        invoice: Some(invoice()),
        prorated: Some(amount("12.50")),
        new_total: Some(amount("99")),
        unasked: false,
    };
    let message = format!(
        "HostUp took the upgrade as order 7, prorated to 12.50, with a new total of 99.00 for each billing cycle; pay {} in \
         HostUp's panel",
        invoice()
    );
    let expected = Outcome {
        invoice: Some(invoice()),
        evidence: Some(Evidence::Answered),
        ..ended(State::Succeeded)
    };
    assert_eq!(answered_by(Verdict::Accepted(full)), saying(&message, expected));
    let bare = Receipt::Upgraded {
        order: None,
        invoice: None,
        prorated: None,
        new_total: None,
        unasked: true,
    };
    let expected = Outcome {
        evidence: Some(Evidence::ExecutedUnasked),
        ..ended(State::Succeeded)
    };
    assert_eq!(
        answered_by(Verdict::Accepted(bare)),
        saying(
            "HostUp was only asked for an estimate, and took the upgrade",
            expected
        )
    );
}

#[test]
fn what_ends_without_an_answer_says_why_and_since_when_it_is_quiet() {
    let sending = record(State::Sending);
    let withdrawn = stepped(
        &sending,
        Input::Withdrawn(Text::new("withdrawn: it was suspended")),
    );
    assert_eq!(
        withdrawn,
        saying("withdrawn: it was suspended", ended(State::NotSent))
    );
    let expected = Outcome {
        state: State::Unknown,
        quiet_since: Some(later(sending.claimed_by(), times().paid_timeout)),
        ..Outcome::sending()
    };
    assert_eq!(
        stepped(&sending, Input::Overdue),
        saying(
            "the operator stopped between the claim and the answer; HostUp may have been asked",
            expected
        )
    );
    let asks = asking(Some(Evidence::NoneFound));
    let expected = Outcome {
        state: State::Abandoned,
        evidence: Some(Evidence::Person),
        ..asks.known.clone()
    };
    let message = format!(
        "a person abandoned this operation without an answer; {}",
        asks.action.kind().row().holds_all_the_same
    );
    assert_eq!(stepped(&asks, Input::Abandoned), saying(&message, expected));
}

/// A question, and the answer of a person to it.
fn answered_with(answer: Option<Resolution>, refused: Option<&str>, evidence: Option<Evidence>) -> Record {
    let mut record = Record {
        answer,
        ..asking(evidence)
    };
    record.known.answer_refused = refused.map(Text::new);
    record
}

#[test]
fn hostup_that_cannot_be_read_lets_a_person_end_it_and_asks_once() {
    let why = Text::new("HostUp answered 503");
    let tried = has_tried();
    let told = answered_with(Some(Resolution::NotExecuted), None, None);
    let until = unread_until(&told, &Memo::default(), &times()).unwrap();
    let at = |record: &Record, now| unreadable(record, &why, &tried, &times(), now);
    let before = until.checked_sub(Duration::from_secs(1)).unwrap();
    assert_eq!(at(&told, before), told.known);
    let expected = Outcome {
        state: State::NotExecuted,
        evidence: Some(Evidence::Person),
        ..told.known.clone()
    };
    assert_eq!(
        at(&told, until),
        saying(
            "a person said that HostUp did not execute it; HostUp cannot be read",
            expected
        )
    );
    let open = answered_with(None, None, None);
    let expected = Outcome {
        evidence: Some(Evidence::CannotLook),
        ..open.known.clone()
    };
    assert_eq!(
        at(&open, until),
        saying("the outcome cannot be checked: HostUp answered 503", expected)
    );
    for answer in [None, Some(Resolution::Adopt(VpsId::new("vps_new")))] {
        let asked = answered_with(answer, None, Some(Evidence::NoneFound));
        assert_eq!(at(&asked, until), asked.known, "another question is open");
    }
    let refused = answered_with(
        Some(Resolution::NotExecuted),
        Some("NotExecuted is not taken while a VM has the token"),
        Some(Evidence::SeveralFound),
    );
    assert_eq!(at(&refused, until), refused.known);
}

#[test]
fn what_hostup_took_as_a_job_is_not_ended_while_the_job_cannot_be_read() {
    let why = Text::new("HostUp answered 503");
    let tried = has_tried();
    let mut told = answered_with(Some(Resolution::NotExecuted), None, None);
    let until = unread_until(&told, &Memo::default(), &times()).unwrap();
    let at = |record: &Record| unreadable(record, &why, &tried, &times(), until);
    told.known.job = accepted().known.job;
    let waits = |record: &Record| {
        let expected = Outcome {
            evidence: Some(Evidence::CannotLook),
            answer_refused: Some(Text::new(
                "NotExecuted is not taken while HostUp accepted the order, and its job cannot be read",
            )),
            ..record.known.clone()
        };
        saying("HostUp accepted the order, and its job cannot be read", expected)
    };
    assert_eq!(
        at(&told),
        waits(&told),
        "its VM may be listed once the job has ended"
    );
    let overwrite = Record {
        action: Action::Overwrite(Overwriting {
            source: told.vps.clone(),
            before: TargetState::default(),
            backup: told.action.restoration().unwrap().backup.clone(),
        }),
        ..told
    };
    assert_eq!(at(&overwrite), waits(&overwrite));
    // It bars no other answer, and is asked once.
    let asked = Record {
        known: at(&overwrite),
        ..overwrite.clone()
    };
    assert_eq!(at(&asked), asked.known);
    assert!(is_open_to_adopt(&asked.known) && !is_refuted(&asked.known));
    let without_job = Record {
        known: Outcome {
            job: None,
            ..overwrite.known.clone()
        },
        ..overwrite
    };
    assert_eq!(at(&without_job).state, State::NotExecuted);
}

#[test]
fn a_person_is_asked_a_quarter_of_an_hour_after_the_settle_time_where_no_other_deadline_asks() {
    let asked = |record: &Record| unread_until(record, &Memo::default(), &times());
    let quarter = |record: &Record| Some(later(record.settled_at(&times()), Duration::from_secs(900)));
    let unknown = asking(None);
    assert_eq!(asked(&unknown), quarter(&unknown));
    assert_eq!(asked(&accepted()), None, "the deadline of its job");
    let backup = |evidence| Record {
        action: Action::CreateBackup(NewBackup { note: "n".into() }),
        known: Outcome {
            evidence,
            ..accepted().known
        },
        ..accepted()
    };
    assert_eq!(asked(&backup(None)), None, "the deadline of its job");
    let has_ended = backup(Some(Evidence::Job));
    assert_eq!(asked(&has_ended), quarter(&has_ended));
}

#[test]
fn the_next_look_at_an_unknown_outcome_is_soon_unless_a_person_is_asked() {
    let wait = |record: &Record, times: &Times| {
        let at = next_look(record, JobTimes::Unknown, times, now());
        at.duration_since(now()).as_secs()
    };
    let quick = Times {
        settle_time: Duration::from_secs(80),
        ..times()
    };
    assert_eq!(wait(&asking(None), &quick), 10);
    assert_eq!(wait(&asking(None), &times()), 60, "at the latest");
    let asked = answered_with(None, None, Some(Evidence::NoneFound));
    assert_eq!(wait(&asked, &quick), 3600);
    let told = answered_with(Some(Resolution::NotExecuted), None, Some(Evidence::NoneFound));
    assert_eq!(wait(&told, &quick), 10);
}

#[test]
fn a_job_that_was_seen_to_end_is_looked_at_by_its_age_whatever_others_took() {
    let of_16_s = JobTimes::AtLeast(Duration::from_secs(16));
    assert_eq!(over(Duration::from_secs(16)), Duration::from_millis(17_200));
    let taken = |evidence| Record {
        known: Outcome {
            evidence,
            quiet_since: Some(now()),
            ..accepted().known
        },
        ..accepted()
    };
    let wait = |evidence, jobs, age: Duration| {
        let at = later(now(), age);
        next_look(&taken(evidence), jobs, &times(), at)
            .duration_since(at)
            .as_millis()
    };
    let young = Duration::from_secs(10);
    assert_eq!(wait(None, JobTimes::FoundOutByAnother, young), 6_000);
    assert_eq!(
        wait(Some(Evidence::Job), JobTimes::FoundOutByAnother, young),
        2_000
    );
    let five_are_left = Duration::from_millis(12_200);
    assert_eq!(wait(None, of_16_s, five_are_left), 5_000, "what is left");
    assert_eq!(wait(Some(Evidence::Job), of_16_s, five_are_left), 2_000);
    let of_160_s = JobTimes::AtLeast(Duration::from_secs(160));
    let forty_are_left = Duration::from_millis(130_200);
    assert_eq!(wait(None, of_160_s, forty_are_left), 20_000, "half of it");
}

#[test]
fn an_absence_is_an_answer_only_after_enough_reads_and_the_settle_time() {
    let settled = asking(None).settled_at(&times());
    let early = settled.checked_sub(Duration::from_secs(1)).unwrap();
    let seen = |record: &Record, absent_reads, now| {
        let memo = Memo {
            absent_reads,
            ..Memo::default()
        };
        absent(
            record,
            "no VM has the token",
            "it is overdue",
            &memo,
            &times(),
            now,
        )
    };
    let not_executed = || Some(Resolution::NotExecuted);
    let told = answered_with(
        not_executed(),
        Some("a VM had the token"),
        Some(Evidence::SeveralFound),
    );
    let waits = Outcome {
        answer_refused: None,
        ..told.known.clone()
    };
    let waits = saying(
        &format!("the answer NotExecuted takes effect at {settled:.0}, if nothing shows up before"),
        waits,
    );
    assert_eq!(seen(&told, ABSENT_READS, early), waits);
    assert_eq!(seen(&told, ABSENT_READS - 1, settled), waits);
    let expected = Outcome {
        state: State::NotExecuted,
        evidence: Some(Evidence::Person),
        answer_refused: None,
        ..told.known.clone()
    };
    assert_eq!(
        seen(&told, ABSENT_READS, settled),
        saying(
            "a person said that HostUp did not execute it, and no VM has the token",
            expected
        )
    );
    // While HostUp knows the job, the answer does not count.
    for stored in [
        "NotExecuted is not taken while HostUp knows the job; take it back (null) to give it again",
        "NotExecuted is not taken; take it back (null) to give it again: HostUp has shown the job since",
    ] {
        for evidence in [None, Some(Evidence::JobDeadline)] {
            let refused = answered_with(not_executed(), Some(stored), evidence);
            let told = seen(&refused, ABSENT_READS, settled);
            assert_eq!(
                (told.state, &told.answer_refused),
                (State::Unknown, &refused.known.answer_refused)
            );
        }
    }
    let open = asking(None);
    assert_eq!(seen(&open, ABSENT_READS, early), open.known);
    assert_eq!(seen(&open, ABSENT_READS - 1, settled), open.known);
    let expected = Outcome {
        evidence: Some(Evidence::NoneFound),
        ..open.known.clone()
    };
    assert_eq!(
        seen(&open, ABSENT_READS, settled),
        saying("no VM has the token; it is overdue", expected)
    );
    for evidence in [Evidence::JobDeadline, Evidence::NotConverged] {
        let asked = asking(Some(evidence));
        assert_eq!(seen(&asked, ABSENT_READS, settled), asked.known);
    }
    for evidence in [Evidence::AccountMismatch, Evidence::CannotLook] {
        let asked = asking(Some(evidence));
        let expected = Outcome {
            evidence: None,
            ..asked.known.clone()
        };
        assert_eq!(
            seen(&asked, 0, early),
            saying(
                "the key reads the VPS again; the operator searches for the outcome",
                expected
            )
        );
    }
}

#[test]
fn an_answer_is_new_until_this_process_has_looked_into_it() {
    let is_new = |answer: Option<Resolution>, tried: Option<Resolution>| {
        let memo = Memo {
            tried,
            ..Memo::default()
        };
        has_new_answer(&answered_with(answer, None, None), &memo)
    };
    let (one, other) = (
        || Some(Resolution::NotExecuted),
        || Some(Resolution::Adopt(VpsId::new("vps_new"))),
    );
    assert!(is_new(one(), None) && is_new(one(), other()));
    assert!(!is_new(None, None) && !is_new(None, one()) && !is_new(one(), one()));
}
