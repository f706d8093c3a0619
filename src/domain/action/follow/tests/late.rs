//! Who looks late, and a time of day that is set back.

use super::*;
use crate::action::ordered::ActionKind;
use crate::provider::options::Values;
use crate::values::moment::Rest;

fn job(state: JobState) -> Input {
    Input::Job(state, Vec::new())
}

const RUNNING: JobState = JobState::Running { progress: None };

/// One record of each kind that is read until its outcome is known.
fn followed() -> Vec<(&'static str, Record)> {
    let mut all = vec![
        ("options", change_in(State::Accepted)),
        ("options", change_in(State::Unknown)),
    ];
    for evidence in [None, Some(Evidence::JobDeadline)] {
        for record in with_a_job(&accepted()) {
            all.push(("accepted", record.clone()));
            let mut unknown = record;
            unknown.known.state = State::Unknown;
            unknown.known.evidence = evidence;
            all.push(("unknown", unknown));
        }
    }
    all
}

#[test]
fn a_time_of_day_that_is_set_back_keeps_no_record_from_being_read() {
    for (what, record) in followed() {
        let memo = Memo {
            rest: Some(Rest {
                from: after(600),
                until: after(602),
            }),
            ..Memo::default()
        };
        let waits = |at| matches!(need(&record, &memo, &times(), at), Need::Wait(_));
        assert!(waits(after(601)), "{what}: {:?}", record.action.kind());
        assert!(!waits(after(599)), "{what}: {:?}", record.action.kind());
        assert!(!waits(after(602)), "{what}: {:?}", record.action.kind());
    }
}

#[test]
fn how_long_something_lasts_is_counted_anew_by_a_time_of_day_that_was_set_back() {
    let mut memo = Memo::default();
    let lost = step(&accepted(), job(JobState::Lost), &mut memo, &times(), after(7200));
    let lost = Record {
        known: lost,
        ..accepted()
    };
    step(&lost, unreadably(), &mut memo, &times(), after(7200));
    step(&lost, unreadably(), &mut memo, &times(), after(60));
    assert_eq!(memo.ended_since, Some(after(60)));
    assert_eq!(memo.unread_since, Some(after(60)));
}

#[test]
fn a_job_that_ended_while_nobody_looked_is_read_before_its_deadline_counts() {
    let late = times().job_deadline + Duration::from_secs(3600);
    let at = later(now(), late);
    for record in with_a_job(&accepted()) {
        let mut memo = Memo::default();
        assert!(
            matches!(need(&record, &memo, &times(), at), Need::Job(_)),
            "{:?}",
            record.action.kind()
        );
        let done = JobState::Completed {
            hints: Vec::new(),
            took: None,
        };
        let known = step(
            &record,
            Input::Job(done, vec![ours("vps_new")]),
            &mut memo,
            &times(),
            at,
        );
        assert_ne!(known.state, State::Unknown, "{:?}", record.action.kind());
    }
}

#[test]
fn a_job_that_runs_at_its_deadline_is_asked_about_and_looked_at_every_five_minutes() {
    let deadline = later(now(), times().job_deadline);
    for record in with_a_job(&accepted()) {
        let what = record.action.kind();
        let before = deadline.checked_sub(Duration::from_secs(1)).unwrap();
        let looked = |at| step(&record, job(RUNNING), &mut Memo::default(), &times(), at);
        assert_eq!(looked(before), record.known, "{what:?}");
        assert_eq!(
            next_look(&record, JobTimes::Unknown, &times(), before),
            deadline,
            "{what:?}"
        );
        let asked = looked(deadline);
        assert_eq!(
            (asked.state, asked.evidence, asked.message.as_str()),
            (
                State::Unknown,
                Some(Evidence::JobDeadline),
                "the job had not ended by the job deadline; look at it in HostUp's panel"
            ),
            "{what:?}"
        );
        let asked = Record {
            known: asked,
            ..record
        };
        assert_eq!(
            next_look(&asked, JobTimes::Unknown, &times(), deadline),
            later(deadline, Duration::from_secs(300)),
            "{what:?}"
        );
    }
}

#[test]
fn a_job_that_cannot_be_read_is_asked_about_after_its_deadline_and_a_quarter_of_an_hour() {
    let deadline = later(now(), times().job_deadline);
    for mut record in with_a_job(&accepted()) {
        let mut memo = Memo::default();
        assert_eq!(
            step(&record, unreadably(), &mut memo, &times(), deadline),
            record.known
        );
        let (soon, late) = (
            later(deadline, Duration::from_secs(899)),
            later(deadline, Duration::from_secs(900)),
        );
        assert!(matches!(need(&record, &memo, &times(), soon), Need::Job(_)));
        assert_eq!(
            need(&record, &memo, &times(), late),
            Need::Say(Input::DeadlinePassed)
        );
        let asked = step(&record, Input::DeadlinePassed, &mut memo, &times(), late);
        assert_eq!(asked.evidence, Some(Evidence::JobDeadline));
        assert_eq!(
            asked.message.as_str(),
            "the job deadline has passed, and HostUp does not show the state of the job; look at it in HostUp's panel"
        );
        record.known.evidence = Some(Evidence::Job);
        record.known.message = Text::new("the job failed: disk");
        let asked = step(&record, Input::DeadlinePassed, &mut memo, &times(), late);
        assert!(
            asked.message.as_str().starts_with("the job failed: disk; "),
            "{}",
            asked.message
        );
    }
}

#[test]
fn what_is_not_executed_says_at_once_when_that_takes_effect() {
    let overwrite = with_a_job(&record(State::Unknown))
        .into_iter()
        .find(|record| record.action.kind() == ActionKind::OverwriteVps);
    let mut overwrite = overwrite.unwrap();
    overwrite.known.job = None;
    let mut estimate = record(State::Unknown);
    estimate.action = Action::LegacyEstimate(Values::default());
    for mut record in [overwrite, estimate] {
        let what = record.action.kind();
        record.answer = Some(Resolution::NotExecuted);
        let mut memo = Memo::default();
        assert_eq!(
            need(&record, &memo, &times(), now()),
            Need::Say(Input::Settled),
            "{what:?}"
        );
        record.known = step(&record, Input::Settled, &mut memo, &times(), now());
        let at = record.settled_at(&times());
        let says = format!("the answer NotExecuted takes effect at {at:.0}, if nothing shows up before");
        assert_eq!(record.known.message.as_str(), says, "{what:?}");
        assert_eq!(need(&record, &memo, &times(), now()), Need::Wait(at), "{what:?}");
        assert_eq!(
            need(&record, &memo, &times(), at),
            Need::Say(Input::Settled),
            "{what:?}"
        );
        let known = step(&record, Input::Settled, &mut memo, &times(), at);
        assert_eq!(known.state, State::NotExecuted, "{what:?}");
    }
}

/// An unknown outcome of each kind, whose end a clock that was three hours ahead has dated.
fn dated_ahead() -> Vec<Record> {
    let mut all: Vec<Record> = followed().into_iter().map(|(_, record)| record).collect();
    all.retain(|record| record.known.state == State::Unknown && record.known.evidence.is_none());
    for record in &mut all {
        record.known.quiet_since = Some(after(10_800));
    }
    all
}

#[test]
fn what_a_clock_ahead_has_dated_settles_so_long_after_a_process_has_seen_it_first() {
    for record in dated_ahead() {
        let mut memo = Memo::default();
        let settles = |memo: &mut Memo, at| {
            memo.begins_a_look(&record, &times(), at);
            memo.settled_at(&record, &times())
        };
        let settled = later(after(600), times().settle_time);
        assert_eq!(settles(&mut memo, after(600)), settled);
        assert_eq!(
            settles(&mut memo, after(601)),
            settled,
            "it is seen first only once"
        );
        let mut of_another = Memo::default();
        assert_eq!(
            settles(&mut of_another, after(700)),
            later(after(700), times().settle_time)
        );
        let late = later(after(10_800), times().settle_time);
        assert_eq!(
            settles(&mut memo, after(10_800)),
            late,
            "no clock is ahead any more"
        );
        let mut dated_anew = record.clone();
        dated_anew.known.quiet_since = Some(after(10_900));
        settles(&mut memo, after(600));
        memo.begins_a_look(&dated_anew, &times(), after(650));
        assert_eq!(
            memo.settled_at(&dated_anew, &times()),
            later(after(650), times().settle_time)
        );
    }
}

#[test]
fn what_a_clock_a_little_ahead_has_dated_settles_at_its_date() {
    for mut record in dated_ahead() {
        record.known.quiet_since = Some(after(800));
        let mut memo = Memo::default();
        memo.begins_a_look(&record, &times(), after(600));
        assert_eq!(
            memo.settled_at(&record, &times()),
            later(after(800), times().settle_time)
        );
    }
}

#[test]
fn the_deadline_of_a_job_counts_from_when_the_api_server_made_its_record() {
    for mut record in with_a_job(&accepted()) {
        record.created_at = Some(after(9));
        record.claim.made_at = after(10_800);
        assert_eq!(
            record.deadline_at(&times()),
            later(after(10), times().job_deadline)
        );
    }
}
