mod late;
mod outcomes;

use super::*;
use crate::action::answer::Refusal;
use crate::action::ordered::{Action, Change, NewBackup, Overwriting, TargetState};
use crate::action::said::Said;
use crate::consent::price::Size;
use crate::provider::backup::ListedBackup;
use crate::provider::inventory::Vm;
use crate::provider::options::Difference;
use crate::restore::tests::{SIZE, accepted, now, record, restored, times, unknown_with};
use crate::values::ids::JobId;
use proptest::prelude::*;

fn vm(id: &str, name: String) -> Vm {
    Vm {
        id: VpsId::new(id),
        name,
        is_payg: true,
        size: Some(SIZE),
        primary_ip: Some(Text::new("192.0.2.1")),
        running: true,
        ended: None,
        result_of: None,
    }
}

fn ours(id: &str) -> Vm {
    vm(id, restored(&record(State::Sending).action).vm_name)
}

fn inventory(vms: Vec<Vm>) -> Input {
    Input::Inventory(InventoryReading {
        vms,
        reads_source: true,
    })
}

fn stepped(record: &Record, input: Input) -> Outcome {
    step(record, input, &mut Memo::default(), &times(), now())
}

fn after(seconds: u64) -> Timestamp {
    later(now(), Duration::from_secs(seconds))
}

fn verdicts() -> Vec<Verdict> {
    vec![
        Verdict::NotSent(Text::new("refused")),
        Verdict::Accepted(Receipt::Job(Job {
            id: JobId::parse("job_1").unwrap(),
            poll_path: "/api/jobs/job_1".into(),
            word: None,
        })),
        Verdict::Rejected(Refusal {
            said: Said {
                code: Some(Text::new("forbidden")),
                words: Some(Text::new("no")),
                request: Some(Text::new("req_1")),
            },
            invoice: None,
            suggests_cancelling: false,
            retry_after: None,
        }),
        Verdict::Unknown {
            why: Text::new("reset"),
            said: Said::default(),
            retry_after: None,
        },
    ]
}

#[test]
fn an_answer_settles_a_record_that_is_sending_and_one_that_another_process_called_unknown() {
    let states = [State::NotSent, State::Accepted, State::Rejected, State::Unknown];
    for from in [State::Sending, State::Unknown] {
        for (verdict, state) in verdicts().into_iter().zip(states) {
            assert_eq!(stepped(&record(from), Input::Answered(verdict)).state, state);
        }
    }
}

#[test]
fn a_late_answer_never_overrules_what_a_person_or_evidence_settled() {
    for state in State::ALL
        .into_iter()
        .filter(|s| ![State::Sending, State::Unknown].contains(s))
    {
        let settled = record(state);
        for verdict in verdicts() {
            assert_eq!(
                stepped(&settled, Input::Answered(verdict)),
                settled.known,
                "{state:?}"
            );
        }
    }
}

#[test]
fn a_record_in_flight_is_not_called_lost_by_its_own_process() {
    let sending = record(State::Sending);
    let late = after(60);
    let memo = Memo {
        in_flight: true,
        ..Memo::default()
    };
    assert!(matches!(need(&sending, &memo, &times(), late), Need::Wait(_)));
    assert_eq!(
        need(&sending, &Memo::default(), &times(), late),
        Need::Say(Input::Overdue)
    );
    assert!(matches!(
        need(&sending, &Memo::default(), &times(), after(29)),
        Need::Wait(_)
    ));
}

#[test]
fn a_lost_job_is_looked_for_in_the_inventory_and_never_called_failed() {
    let lost = stepped(&accepted(), Input::Job(JobState::Lost, vec![]));
    assert_eq!((lost.state, lost.evidence), (State::Unknown, None));
    let found = stepped(
        &Record {
            known: lost,
            ..accepted()
        },
        inventory(vec![ours("vps_new")]),
    );
    assert_eq!(
        (found.state, found.evidence),
        (State::Succeeded, Some(Evidence::VmFound))
    );
}

#[test]
fn a_failed_job_names_the_vm_that_it_left() {
    let failed = JobState::Failed {
        error: Text::new("disk"),
    };
    let known = stepped(&accepted(), Input::Job(failed.clone(), vec![ours("vps_new")]));
    assert_eq!(known.state, State::Failed);
    assert_eq!(known.result.unwrap().vps, VpsId::new("vps_new"));
    assert_eq!(stepped(&accepted(), Input::Job(failed, vec![])).result, None);
}

#[test]
fn a_completed_job_succeeds_by_the_token_or_by_its_own_hint_but_never_with_the_source() {
    let done = |hints: Vec<VpsId>, vms: Vec<Vm>| {
        stepped(
            &accepted(),
            Input::Job(JobState::Completed { hints, took: None }, vms),
        )
        .state
    };
    assert_eq!(done(vec![], vec![ours("vps_new")]), State::Succeeded);
    assert_eq!(
        done(vec![VpsId::new("vps_new")], vec![vm("vps_new", "renamed".into())]),
        State::Succeeded
    );
    assert_eq!(
        done(
            vec![VpsId::new("vps_source")],
            vec![vm("vps_source", "renamed".into())]
        ),
        State::Accepted
    );
    assert_eq!(done(vec![VpsId::new("vps_gone")], vec![]), State::Accepted);
    assert_eq!(done(vec![], vec![ours("vps_a"), ours("vps_b")]), State::Unknown);
}

#[test]
fn absence_is_an_answer_only_after_three_reads_and_the_settle_time() {
    let unknown = record(State::Unknown);
    let mut memo = Memo::default();
    for read in 1..=4 {
        let early = step(&unknown, inventory(vec![]), &mut memo, &times(), after(899));
        assert_eq!(early, unknown.known, "read {read}");
    }
    let mut fresh = Memo::default();
    for read in 1..=3 {
        let known = step(&unknown, inventory(vec![]), &mut fresh, &times(), after(900));
        let asked = known.evidence == Some(Evidence::NoneFound);
        assert_eq!(asked, read == 3, "read {read}");
    }
}

#[test]
fn absence_proves_nothing_to_a_key_that_does_not_read_the_source() {
    let foreign = Input::Inventory(InventoryReading {
        vms: vec![],
        reads_source: false,
    });
    let mut memo = Memo {
        absent_reads: 9,
        ..Memo::default()
    };
    let unknown = unknown_with(Some(Resolution::NotExecuted));
    let known = step(&unknown, foreign, &mut memo, &times(), after(9000));
    assert_eq!(
        (known.state, known.evidence),
        (State::Unknown, Some(Evidence::AccountMismatch))
    );
}

#[test]
fn not_executed_takes_effect_only_when_its_time_has_come_and_no_vm_turned_up() {
    let told = unknown_with(Some(Resolution::NotExecuted));
    let mut memo = Memo {
        absent_reads: 5,
        ..Memo::default()
    };
    let early = step(&told, inventory(vec![]), &mut memo, &times(), after(899));
    assert_eq!(early.state, State::Unknown);
    assert!(
        early.message.as_str().contains("2026-11-23T12:15:00Z"),
        "{}",
        early.message
    );
    let found = step(
        &told,
        inventory(vec![ours("vps_new")]),
        &mut memo.clone(),
        &times(),
        after(900),
    );
    assert_eq!(found.state, State::Succeeded);
    let due = step(&told, inventory(vec![]), &mut memo, &times(), after(900));
    assert_eq!(
        (due.state, due.evidence),
        (State::NotExecuted, Some(Evidence::Person))
    );
}

#[test]
fn a_not_executed_that_the_list_contradicts_is_refused_so_that_another_answer_can_be_given() {
    let told = unknown_with(Some(Resolution::NotExecuted));
    let other_size = Vm {
        size: Some(Size {
            cpu_cores: SIZE.cpu_cores + 1,
            ..SIZE
        }),
        ..ours("vps_new")
    };
    let foreign = Input::Inventory(InventoryReading {
        vms: vec![],
        reads_source: false,
    });
    let contradictions = [
        inventory(vec![other_size]),
        inventory(vec![ours("vps_a"), ours("vps_b")]),
        foreign,
    ];
    for contradiction in contradictions {
        let known = stepped(&told, contradiction.clone());
        assert_eq!(known.state, State::Unknown);
        assert!(known.answer_refused.is_some(), "{contradiction:?}");
        let again = Record {
            known: known.clone(),
            ..told.clone()
        };
        assert_eq!(stepped(&again, contradiction), known, "nothing to write twice");
        // A VM that had the token was bought, also if it is cancelled later. A key that read nothing refutes nothing.
        let mut memo = Memo {
            absent_reads: 9,
            ..Memo::default()
        };
        let gone = step(&again, inventory(vec![]), &mut memo, &times(), after(90_000));
        let was_refuted = known.evidence != Some(Evidence::AccountMismatch);
        assert_eq!(gone.state == State::Unknown, was_refuted, "{known:?}");
    }
}

#[test]
fn a_person_may_adopt_only_a_pay_as_you_go_vm_that_is_not_the_source() {
    let told = unknown_with(Some(Resolution::Adopt(VpsId::new("vps_new"))));
    assert_eq!(
        need(&told, &Memo::default(), &times(), now()),
        Need::Vm(VpsId::new("vps_new"))
    );
    let named = |vm: Vm| stepped(&told, Input::Named(Ok(vm)));
    assert_eq!(named(vm("vps_new", "any".into())).state, State::Succeeded);
    for wrong in [
        vm("vps_source", "any".into()),
        Vm {
            is_payg: false,
            ..vm("vps_new", "any".into())
        },
    ] {
        let known = named(wrong);
        assert_eq!(known.state, State::Unknown);
        assert!(known.answer_refused.is_some());
    }
}

/// What HostUp's list shows, where the one VM that has the token is another record's result.
fn given_away() -> Vec<Vm> {
    vec![Vm {
        result_of: Some(crate::values::ids::RecordName::new("other-1")),
        ..ours("vps_new")
    }]
}

#[test]
fn whatever_is_read_no_vm_becomes_the_result_of_a_second_record() {
    let completed = JobState::Completed {
        hints: vec![VpsId::new("vps_new")],
        took: None,
    };
    let failed = JobState::Failed {
        error: Text::new("disk"),
    };
    let inputs = [
        Input::Job(completed, given_away()),
        Input::Job(failed, given_away()),
        Input::Job(JobState::Lost, given_away()),
        inventory(given_away()),
        Input::JobUnreadable(given_away()),
        Input::Named(Ok(given_away().remove(0))),
    ];
    for known in [accepted().known, unknown_with(None).known] {
        for answer in [
            None,
            Some(Resolution::NotExecuted),
            Some(Resolution::Adopt(VpsId::new("vps_new"))),
        ] {
            for input in &inputs {
                let mut record = Record {
                    answer: answer.clone(),
                    known: known.clone(),
                    ..accepted()
                };
                let mut memo = Memo::default();
                for minutes in 0..120 {
                    record.known = step(&record, input.clone(), &mut memo, &times(), after(minutes * 60));
                    assert_eq!(record.known.result, None, "{input:?}");
                    assert_ne!(record.known.state, State::NotExecuted, "{input:?}");
                }
            }
        }
    }
}

/// When a job that was taken at `now()` is polled, in seconds, within 1,000 of them.
fn polls(jobs: JobTimes) -> Vec<u64> {
    let taken = Record {
        known: Outcome {
            quiet_since: Some(now()),
            ..accepted().known
        },
        ..accepted()
    };
    let mut at = first_look(&taken, jobs, &times(), now());
    let mut polls = Vec::new();
    while at < after(1_000) {
        polls.push(u64::try_from(at.duration_since(now()).as_secs()).unwrap());
        at = next_look(&taken, jobs, &times(), at);
    }
    polls
}

#[test]
fn a_job_is_polled_rarely_before_the_fastest_one_that_was_seen_would_have_ended() {
    let interval = times().poll_interval.as_secs();
    let at_least = |seconds| polls(JobTimes::AtLeast(Duration::from_secs(seconds)));
    let unknown = polls(JobTimes::Unknown);
    assert_eq!(unknown[..2], [interval, interval * 2]);
    assert_eq!(at_least(1), unknown, "no faster than the poll interval");
    assert_eq!(at_least(5)[0], 5);
    let by_another = polls(JobTimes::FoundOutByAnother);
    assert_eq!(by_another[..2], [interval * 3, interval * 6]);
    let of_ten_minutes = at_least(600);
    assert_eq!(of_ten_minutes[0], interval, "a long job is shown to have begun");
    let before = of_ten_minutes.iter().filter(|at| **at < 600).count();
    assert!(before <= 16, "{of_ten_minutes:?}");
    assert!(
        of_ten_minutes.iter().any(|at| (600..=640).contains(at)),
        "{of_ten_minutes:?}"
    );
    let gaps = of_ten_minutes.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.max().unwrap() <= 60, "one that fails is seen");
    assert_eq!(at_least(1_000_000)[0], interval, "whatever HostUp says");
}

#[test]
fn the_clock_of_who_wrote_the_record_puts_no_look_off() {
    let ahead = Record {
        known: Outcome {
            quiet_since: Some(after(3_600)),
            ..accepted().known
        },
        ..accepted()
    };
    assert_eq!(
        first_look(&ahead, JobTimes::Unknown, &times(), now()),
        later(now(), times().poll_interval)
    );
    let seen_failed = Record {
        known: Outcome {
            evidence: Some(Evidence::Job),
            ..ahead.known.clone()
        },
        ..ahead
    };
    assert_eq!(
        first_look(&seen_failed, JobTimes::Unknown, &times(), now()),
        Timestamp::MIN
    );
}

#[test]
fn that_a_job_failed_is_written_at_once_and_survives_that_hostup_forgets_the_job() {
    let failed = JobState::Failed {
        error: Text::new("disk"),
    };
    let seen = stepped(&accepted(), Input::Job(failed, vec![]));
    assert_eq!(
        (seen.state, seen.evidence),
        (State::Accepted, Some(Evidence::Job))
    );
    assert!(seen.message.as_str().contains("disk"));
    let followed = Record {
        known: seen,
        ..accepted()
    };
    let mut memo = Memo {
        absent_reads: 2,
        ended_since: Some(now()),
        ..Memo::default()
    };
    let ended = step(
        &followed,
        Input::Job(JobState::Lost, vec![]),
        &mut memo,
        &times(),
        after(900),
    );
    assert_eq!(ended.state, State::Failed);
}

#[test]
fn absence_after_a_job_proves_nothing_before_the_settle_time_by_the_own_clock_of_who_looks() {
    let hour_ago = now().checked_sub(Duration::from_secs(3600)).unwrap();
    let written_by_a_clock_that_is_behind = |state, evidence| {
        let mut record = accepted();
        record.claim.made_at = hour_ago;
        record.created_at = Some(hour_ago);
        record.known.state = state;
        record.known.evidence = evidence;
        record.known.quiet_since = Some(hour_ago);
        record
    };
    let failed = written_by_a_clock_that_is_behind(State::Accepted, Some(Evidence::Job));
    let lost = written_by_a_clock_that_is_behind(State::Unknown, None);
    let looks: [(_, fn() -> Input, _); 2] = [
        (
            failed,
            || Input::Job(JobState::Lost, vec![]),
            (State::Failed, Some(Evidence::Job)),
        ),
        (
            lost,
            || inventory(vec![]),
            (State::Unknown, Some(Evidence::NoneFound)),
        ),
    ];
    for (record, look, end) in looks {
        let mut memo = Memo::default();
        for seconds in [0, 300, 600, 899] {
            let early = step(&record, look(), &mut memo, &times(), after(seconds));
            assert_eq!(early, record.known, "{seconds}");
        }
        let settled = step(&record, look(), &mut memo, &times(), after(900));
        assert_eq!((settled.state, settled.evidence), end);
    }
}

#[test]
fn that_nothing_was_executed_takes_effect_in_words_that_are_those_of_every_process_that_sees_the_job_lost() {
    let mut lost = accepted();
    lost.known.state = State::Unknown;
    lost.answer = Some(Resolution::NotExecuted);
    let told = |seconds| {
        step(
            &lost,
            inventory(vec![]),
            &mut Memo::default(),
            &times(),
            after(seconds),
        )
    };
    let message = told(0).message;
    assert!(
        message.as_str().contains("for 900 s since the job was lost"),
        "{message}"
    );
    assert_eq!(told(60).message, message);
}

#[test]
fn an_unknown_outcome_is_asked_of_its_job_first_and_follows_it_again() {
    let mut lost = accepted();
    lost.known.state = State::Unknown;
    assert!(matches!(
        need(&lost, &Memo::default(), &times(), now()),
        Need::Job(_)
    ));
    let running = JobState::Running { progress: None };
    assert_eq!(
        stepped(&lost, Input::Job(running.clone(), vec![])).state,
        State::Accepted
    );
    lost.known.evidence = Some(Evidence::JobDeadline);
    lost.answer = Some(Resolution::NotExecuted);
    let refused = stepped(&lost, Input::Job(running, vec![]));
    assert_eq!(refused.state, State::Unknown);
    assert!(refused.answer_refused.is_some());
}

/// The calls that HostUp takes as a job: a restore, an overwrite, a backup.
fn with_a_job(record: &Record) -> [Record; 3] {
    let overwriting = Overwriting {
        source: record.vps.clone(),
        before: TargetState::default(),
        backup: restored(&record.action).backup,
    };
    let backup = NewBackup {
        note: "before a change".to_owned(),
    };
    let with = |action| Record {
        action,
        ..record.clone()
    };
    [
        record.clone(),
        with(Action::Overwrite(overwriting)),
        with(Action::CreateBackup(backup)),
    ]
}

fn backups(backups: Vec<ListedBackup>) -> Input {
    Input::Backups(BackupsReading {
        backups,
        reads_vps: true,
    })
}

#[test]
fn a_not_executed_that_the_job_refuted_never_takes_effect_later() {
    let running = || Input::Job(JobState::Running { progress: None }, vec![]);
    let mismatch = Input::Inventory(InventoryReading {
        vms: vec![],
        reads_source: false,
    });
    let unread = Input::Backups(BackupsReading {
        backups: vec![],
        reads_vps: false,
    });
    let mut told = unknown_with(Some(Resolution::NotExecuted));
    told.known.job = accepted().known.job;
    for mut told in with_a_job(&told) {
        for asked in [None, Some(Evidence::JobDeadline), Some(Evidence::CannotLook)] {
            told.known.evidence = asked;
            told.known.state = State::Unknown;
            told.known = stepped(&told, running());
            assert!(told.known.answer_refused.is_some(), "{told:?}");
            let mut memo = Memo {
                absent_reads: 9,
                ..Memo::default()
            };
            // The job is gone, nothing shows it, and in between the key was that of another account.
            for (n, input) in [
                Input::Job(JobState::Lost, vec![]),
                mismatch.clone(),
                unread.clone(),
                Input::JobUnreadable(vec![]),
                Input::Settled,
                inventory(vec![]),
                backups(vec![]),
                Input::Unreadable(Text::new("503")),
                Input::Settled,
                inventory(vec![]),
                backups(vec![]),
            ]
            .into_iter()
            .enumerate()
            {
                told.known = step(&told, input, &mut memo, &times(), after(90_000 * (1 + n as u64)));
                assert!(
                    matches!(told.known.state, State::Accepted | State::Unknown),
                    "{asked:?} {n}: {told:?}"
                );
            }
            let taken_back = Record {
                answer: None,
                ..told.clone()
            };
            assert_eq!(
                need(&taken_back, &memo, &times(), after(2_000_000)),
                Need::Say(Input::TakenBack)
            );
            let open = step(
                &taken_back,
                Input::TakenBack,
                &mut memo,
                &times(),
                after(2_000_000),
            );
            assert_eq!((open.answer_refused, memo.tried), (None, None));
        }
    }
}

#[test]
fn an_answer_that_is_given_again_waits_from_the_last_sight_of_the_job_on() {
    let mut asked = unknown_with(None);
    asked.known.job = accepted().known.job;
    asked.known.evidence = Some(Evidence::JobDeadline);
    for mut record in with_a_job(&asked) {
        let mut memo = Memo::default();
        let mut lost = |record: &mut Record, seconds| {
            let input = match record.action {
                Action::Overwrite(_) => Input::Job(JobState::Lost, vec![]),
                Action::CreateBackup(_) => backups(vec![]),
                _ => inventory(vec![]),
            };
            record.known = step(record, input, &mut memo, &times(), after(seconds));
            if seconds == 40 {
                record.answer = Some(Resolution::NotExecuted);
                let running = Input::Job(JobState::Running { progress: None }, vec![]);
                record.known = step(record, running, &mut memo, &times(), after(5000));
                assert!(record.known.answer_refused.is_some());
                record.answer = None;
                record.known = step(record, Input::TakenBack, &mut memo, &times(), after(5001));
                record.answer = Some(Resolution::NotExecuted);
            }
            record.known.state
        };
        for seconds in [10, 20, 30, 40, 5010, 5020, 5030, 5900] {
            assert_ne!(lost(&mut record, seconds), State::NotExecuted, "{record:?}");
        }
        assert_eq!(lost(&mut record, 5911), State::NotExecuted, "{record:?}");
    }
}

#[test]
fn what_may_be_the_purchase_refutes_a_not_executed_before_the_settle_time_too() {
    let told = unknown_with(Some(Resolution::NotExecuted));
    let without_a_size = Vm {
        size: None,
        ..ours("vps_new")
    };
    let mut memo = Memo {
        absent_reads: 9,
        ..Memo::default()
    };
    let known = step(
        &told,
        inventory(vec![without_a_size]),
        &mut memo,
        &times(),
        after(60),
    );
    assert!(known.answer_refused.is_some(), "{known:?}");
    assert_eq!(memo.absent_reads, 0);
    let again = Record { known, ..told };
    memo.absent_reads = 9;
    let gone = step(&again, inventory(vec![]), &mut memo, &times(), after(90_000));
    assert_eq!(gone.state, State::Unknown);
}

#[test]
fn a_job_that_fails_after_the_deadline_still_comes_to_its_end() {
    let late = times().job_deadline.as_secs() + 60;
    let mut given_up = accepted();
    given_up.known.state = State::Unknown;
    given_up.known.evidence = Some(Evidence::JobDeadline);
    let failed = Input::Job(
        JobState::Failed {
            error: Text::new("disk"),
        },
        vec![],
    );
    let mut memo = Memo::default();
    given_up.known = step(&given_up, failed.clone(), &mut memo, &times(), after(late));
    assert_eq!(given_up.known.state, State::Accepted);
    assert!(matches!(
        need(&given_up, &Memo::default(), &times(), after(late + 1)),
        Need::Job(_)
    ));
    for wait in [300, 600, 901] {
        given_up.known = step(&given_up, failed.clone(), &mut memo, &times(), after(late + wait));
    }
    assert_eq!(given_up.known.state, State::Failed);
}

#[test]
fn the_deadline_does_not_cut_short_the_wait_for_a_vm_of_a_failed_job_after_a_restart() {
    let late = times().job_deadline.as_secs() - 60;
    let mut failed = accepted();
    failed.known.evidence = Some(Evidence::Job);
    failed.known.quiet_since = Some(after(late));
    let look = || {
        Input::Job(
            JobState::Failed {
                error: Text::new("disk"),
            },
            vec![],
        )
    };
    let mut of_the_next = Memo::default();
    let restarted = late + 800;
    for wait in [0, 300, 600, 899] {
        let at = after(restarted + wait);
        assert!(
            matches!(need(&failed, &of_the_next, &times(), at), Need::Job(_)),
            "{wait}"
        );
        failed.known = step(&failed, look(), &mut of_the_next, &times(), at);
        assert_eq!(failed.known.state, State::Accepted, "{wait}");
    }
    let settled = step(
        &failed,
        look(),
        &mut of_the_next,
        &times(),
        after(restarted + 900),
    );
    assert_eq!(settled.state, State::Failed);
}

#[test]
fn two_hints_of_a_job_or_one_of_another_size_name_no_vm() {
    let hints = vec![VpsId::new("vps_a"), VpsId::new("vps_b")];
    let both = vec![vm("vps_a", "x".into()), vm("vps_b", "y".into())];
    let larger = Vm {
        size: Some(crate::consent::price::Size { cpu_cores: 9, ..SIZE }),
        ..vm("vps_a", "x".into())
    };
    for vms in [both, vec![larger]] {
        let done = JobState::Completed {
            hints: hints.clone(),
            took: None,
        };
        assert_eq!(stepped(&accepted(), Input::Job(done, vms)).state, State::Accepted);
    }
}

#[test]
fn an_answer_acts_only_on_an_unknown_outcome() {
    for state in State::ALL.into_iter().filter(|state| *state != State::Unknown) {
        let told = Record {
            answer: Some(Resolution::Abandon),
            ..record(state)
        };
        assert!(
            !matches!(
                need(&told, &Memo::default(), &times(), now()),
                Need::Say(Input::Abandoned)
            ),
            "{state:?}"
        );
        assert_eq!(stepped(&told, Input::Abandoned), told.known, "{state:?}");
    }
}

#[test]
fn a_job_is_polled_neither_faster_than_two_seconds_nor_slower_than_five_percent_of_its_age() {
    for age in [0_u32, 10, 40, 100, 600, 1200] {
        let wait = next_look(&accepted(), JobTimes::Unknown, &times(), after(age.into()))
            .duration_since(after(age.into()))
            .as_secs_f64();
        assert!(
            wait >= 2.0 && wait <= (f64::from(age) / 20.0).max(2.0),
            "{wait} s at an age of {age} s"
        );
    }
}

fn any_vms() -> impl Strategy<Value = Vec<Vm>> {
    let names = prop::sample::select(vec!["ours", "other", "upper", "longer"]);
    let one = (names, any::<bool>(), any::<bool>(), 0u8..4).prop_map(|(name, is_payg, sized, id)| {
        let own = restored(&record(State::Sending).action).vm_name;
        let name = match name {
            "ours" => own,
            "upper" => own.to_uppercase(),
            "longer" => format!("{own}x"),
            _ => "other".to_owned(),
        };
        let id = if id == 0 {
            "vps_source".to_owned()
        } else {
            format!("vps_{id}")
        };
        Vm {
            is_payg,
            size: Some(SIZE).filter(|_| sized),
            ..vm(&id, name)
        }
    });
    prop::collection::vec(one, 0..4)
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        prop::sample::select(verdicts()).prop_map(Input::Answered),
        Just(Input::Withdrawn(Text::new("w"))),
        Just(Input::Overdue),
        Just(Input::DeadlinePassed),
        Just(Input::Abandoned),
        any_vms().prop_map(|vms| Input::Job(
            JobState::Completed {
                hints: vec![VpsId::new("vps_1")],
                took: None,
            },
            vms
        )),
        any_vms().prop_map(|vms| Input::Job(
            JobState::Failed {
                error: Text::new("e")
            },
            vms
        )),
        Just(Input::Job(JobState::Lost, vec![])),
        Just(Input::Job(JobState::Running { progress: None }, vec![])),
        any_vms().prop_map(Input::JobUnreadable),
        Just(Input::Settled),
        any::<bool>().prop_map(|reads_vps| Input::Backups(BackupsReading {
            backups: vec![],
            reads_vps
        })),
        (any_vms(), any::<bool>())
            .prop_map(|(vms, reads_source)| { Input::Inventory(InventoryReading { vms, reads_source }) }),
        any_vms().prop_map(|vms| Input::Named(vms.into_iter().next().ok_or(Text::new("none")))),
    ]
}

/// What happens to a record.
#[derive(Debug, Clone)]
enum Happens {
    Read(Input),
    Answered(Option<Resolution>),
}

fn anything() -> impl Strategy<Value = Happens> {
    let answers = [
        None,
        Some(Resolution::NotExecuted),
        Some(Resolution::NotExecuted),
        Some(Resolution::Adopt(VpsId::new("vps_1"))),
    ];
    prop_oneof![
        5 => any_input().prop_map(Happens::Read),
        1 => prop::sample::select(answers.to_vec()).prop_map(Happens::Answered),
    ]
}

/// Whether the API server takes this answer (the rules of the CRD).
fn is_taken(record: &Record, answer: Option<&Resolution>) -> bool {
    let is_refused = record.known.answer_refused.is_some();
    match (&record.answer, answer) {
        (Some(_), None) => is_refused,
        (Some(_), Some(_)) => record.known.state == State::Unknown && is_refused,
        (None, Some(_)) => record.known.state == State::Unknown && !is_refused,
        (None, None) => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_series_of_inputs_changes_what_is_final_or_frees_a_name_without_proof(
        happens in prop::collection::vec((anything(), 0u64..2000), 1..40),
        action in 0usize..3,
    ) {
        let mut current = with_a_job(&unknown_with(None))[action].clone();
        current.known = Outcome::sending();
        let mut memo = Memo::default();
        let mut seconds = 0;
        let (mut proof, mut refuted) = (false, false);
        for (happens, wait) in happens {
            seconds += wait;
            let input = match happens {
                Happens::Answered(answer) => {
                    if is_taken(&current, answer.as_ref()) {
                        refuted &= answer == current.answer;
                        current.answer = answer;
                    }
                    if need(&current, &memo, &times(), after(seconds)) != Need::Say(Input::TakenBack) {
                        continue;
                    }
                    Input::TakenBack
                }
                Happens::Read(input) => input,
            };
            // What may free the name: the sender's own knowledge, or a person's word.
            proof |= matches!(
                &input,
                Input::Answered(Verdict::NotSent(_) | Verdict::Rejected(_)) | Input::Withdrawn(_)
            );
            let knows_the_job = matches!(&input, Input::Job(job, _) if *job != JobState::Lost);
            let is_unread = matches!(&input, Input::JobUnreadable(_));
            let is_open = matches!(current.known.state, State::Accepted | State::Unknown);
            let denies = current.answer == Some(Resolution::NotExecuted);
            let is_accepted = current.known.state == State::Accepted;
            refuted |= denies && ((knows_the_job && is_open) || is_accepted);
            let before = current.known.clone();
            current.known = step(&current, input, &mut memo, &times(), after(seconds));
            refuted |= current.known.state == State::Accepted && denies;
            if before.state.is_final() {
                prop_assert_eq!(&before, &current.known);
            }
            if current.known.state == State::NotExecuted && before.state != State::NotExecuted {
                prop_assert!(denies && !refuted && seconds >= 900);
                // Nothing shows an overwrite; and where HostUp cannot be read, a person is believed.
                prop_assert!(memo.absent_reads >= 3 || action == 1 || is_unread);
            }
            if matches!(current.known.state, State::NotSent | State::Rejected) {
                prop_assert!(proof);
            }
            let adopted = current.known.evidence == Some(Evidence::Person);
            if let (State::Succeeded, 0) = (current.known.state, action) {
                let result = current.known.result.clone().unwrap();
                prop_assert!(result.vps != VpsId::new("vps_source"));
                prop_assert!(!adopted || matches!(current.answer, Some(Resolution::Adopt(_))) || before.state.is_final());
            }
        }
    }
}

mod of_options {
    use super::*;
    use crate::ledger::record::Invoice;
    use crate::provider::options::tests::{number, slider};
    use crate::provider::options::{Difference, Offer};

    fn change(known: Outcome) -> Record {
        let mut difference = Difference::default();
        difference.from.insert("bandwidthGb".into(), number(2048));
        difference.to.insert("bandwidthGb".into(), number(4096));
        Record {
            action: Action::Options(Change {
                difference,
                corrects_drift: false,
            }),
            known,
            ..record(State::Sending)
        }
    }

    fn in_state(state: State) -> Record {
        change(Outcome {
            state,
            quiet_since: Some(now()),
            ..Outcome::sending()
        })
    }

    fn shows(offers: Vec<Offer>) -> Input {
        Input::Options(OptionsReading {
            offers,
            reads_vps: true,
        })
    }

    fn shows_number(n: i64) -> Input {
        shows(vec![slider("bandwidthGb", Some(number(n)))])
    }

    fn after_reads(record: &Record, input: &Input, reads: u32, seconds: u64) -> Outcome {
        let mut memo = Memo::default();
        for _ in 1..reads {
            step(record, input.clone(), &mut memo, &times(), after(seconds));
        }
        step(record, input.clone(), &mut memo, &times(), after(seconds))
    }

    #[test]
    fn what_is_read_back_has_succeeded_whatever_was_answered() {
        for state in [State::Accepted, State::Unknown] {
            let known = stepped(&in_state(state), shows_number(4096));
            assert_eq!(
                (known.state, known.evidence),
                (State::Succeeded, Some(Evidence::ReadBack))
            );
        }
    }

    #[test]
    fn what_was_taken_and_does_not_show_is_asked_about_after_the_settle_time() {
        let taken = in_state(State::Accepted);
        assert_eq!(after_reads(&taken, &shows_number(2048), 9, 899), taken.known);
        assert_eq!(after_reads(&taken, &shows_number(2048), 2, 900), taken.known);
        let asked = after_reads(&taken, &shows_number(2048), 3, 900);
        assert_eq!(
            (asked.state, asked.evidence),
            (State::Unknown, Some(Evidence::NotConverged))
        );
        let late = stepped(&change(asked), shows_number(4096));
        assert_eq!(late.state, State::Succeeded);
    }

    #[test]
    fn an_invoice_is_waited_for_longer() {
        let mut taken = in_state(State::Accepted);
        taken.known.invoice = Some(Invoice {
            id: Text::new("inv_1"),
            ..Invoice::unnamed()
        });
        let day = 6 * 3600;
        assert_eq!(after_reads(&taken, &shows_number(2048), 9, day - 1), taken.known);
        let asked = after_reads(&taken, &shows_number(2048), 3, day);
        assert_eq!(asked.evidence, Some(Evidence::NotConverged));
        assert!(
            asked.message.as_str().contains("is invoice inv_1 paid?"),
            "{}",
            asked.message
        );
    }

    #[test]
    fn an_invoice_is_waited_for_until_it_is_due() {
        let mut taken = in_state(State::Accepted);
        // now() is noon of 23 November.
        for (due, seconds) in [("2026-12-01T00:00:00.000Z", 648_000), ("2026-12-01", 734_399)] {
            taken.known.invoice = Some(Invoice {
                due_at: Some(Text::new(due)),
                ..Invoice::unnamed()
            });
            let asked = |seconds| after_reads(&taken, &shows_number(2048), 3, seconds).evidence;
            assert_eq!(asked(seconds - 1), None);
            assert_eq!(asked(seconds), Some(Evidence::NotConverged));
        }
    }

    #[test]
    fn a_lost_answer_is_asked_about_and_never_ends_by_itself_without_evidence() {
        let unknown = in_state(State::Unknown);
        for (reads, seconds) in [(9, 899), (2, 900)] {
            assert_eq!(
                after_reads(&unknown, &shows_number(2048), reads, seconds),
                unknown.known
            );
        }
        let asked = after_reads(&unknown, &shows_number(2048), 3, 900);
        assert_eq!(
            (asked.state, asked.evidence),
            (State::Unknown, Some(Evidence::NoneFound))
        );
    }

    #[test]
    fn a_key_that_no_longer_reads_the_vps_proves_nothing() {
        let elsewhere = Input::Options(OptionsReading {
            offers: vec![],
            reads_vps: false,
        });
        let mut told = in_state(State::Unknown);
        told.answer = Some(Resolution::NotExecuted);
        let known = after_reads(&told, &elsewhere, 9, 10_000);
        assert_eq!(
            (known.state, known.evidence),
            (State::Unknown, Some(Evidence::AccountMismatch))
        );
        assert!(known.answer_refused.is_some());
    }

    #[test]
    fn a_persons_answers_end_it_and_what_shows_overrules_them() {
        let mut told = in_state(State::Unknown);
        told.answer = Some(Resolution::NotExecuted);
        assert_eq!(
            after_reads(&told, &shows_number(2048), 3, 899).state,
            State::Unknown
        );
        assert_eq!(
            after_reads(&told, &shows_number(2048), 3, 900).state,
            State::NotExecuted
        );
        assert_eq!(
            after_reads(&told, &shows_number(4096), 3, 900).state,
            State::Succeeded
        );
        told.answer = Some(Resolution::Abandon);
        assert_eq!(
            need(&told, &Memo::default(), &times(), now()),
            Need::Say(Input::Abandoned)
        );
        assert_eq!(stepped(&told, Input::Abandoned).state, State::Abandoned);
    }

    #[test]
    fn an_adopted_change_is_read_back_and_asked_about_again_if_it_does_not_show() {
        let mut told = in_state(State::Unknown);
        told.answer = Some(Resolution::Adopt(VpsId::new("")));
        assert_eq!(
            need(&told, &Memo::default(), &times(), now()),
            Need::Say(Input::Adopted)
        );
        let adopted = Record {
            known: stepped(&told, Input::Adopted),
            ..told
        };
        assert_eq!(adopted.known.state, State::Accepted);
        let hidden = stepped(&adopted, shows(vec![slider("bandwidthGb", None)]));
        assert_eq!(
            (hidden.state, hidden.evidence),
            (State::Succeeded, Some(Evidence::Person))
        );
        let again = after_reads(&adopted, &shows_number(2048), 3, 900);
        assert_eq!(again.state, State::Unknown);
        let refused = Record {
            known: again,
            ..adopted
        };
        assert_eq!(need(&refused, &Memo::default(), &times(), now()), Need::Options);
    }
}

mod of_the_older_route {
    use super::*;
    use crate::provider::options::Values;

    fn upgrade(answer: Option<Resolution>) -> Record {
        Record {
            action: Action::LegacyUpgrade(Values::new()),
            answer,
            ..record(State::Unknown)
        }
    }

    fn said(record: &Record, seconds: u64) -> Outcome {
        let at = after(seconds);
        match need(record, &Memo::default(), &times(), at) {
            Need::Say(input) => step(record, input, &mut Memo::default(), &times(), at),
            Need::Wait(_) => record.known.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lost_answer_is_asked_about_after_the_settle_time_and_only_a_person_ends_it() {
        assert_eq!(said(&upgrade(None), 899), upgrade(None).known);
        let asked = said(&upgrade(None), 900);
        assert_eq!(
            (asked.state, asked.evidence),
            (State::Unknown, Some(Evidence::NoneFound))
        );
        let told = |answer, seconds| said(&upgrade(Some(answer)), seconds).state;
        assert_eq!(told(Resolution::NotExecuted, 899), State::Unknown);
        assert_eq!(told(Resolution::NotExecuted, 900), State::NotExecuted);
        assert_eq!(told(Resolution::Adopt(VpsId::new("")), 1), State::Succeeded);
        assert_eq!(told(Resolution::Abandon, 1), State::Abandoned);
    }
}

/// An unknown restore with this evidence.
fn asking(evidence: Option<Evidence>) -> Record {
    let mut record = unknown_with(None);
    record.known.evidence = evidence;
    record
}

/// A change of options in this state.
fn change_in(state: State) -> Record {
    Record {
        action: Action::Options(Change {
            difference: Difference::default(),
            corrects_drift: false,
        }),
        ..record(state)
    }
}

/// Of a process that has read nothing since the call.
fn has_tried() -> Memo {
    Memo {
        unread_since: Some(now()),
        ..Memo::default()
    }
}

fn unreadable_at(record: &Record, at: Timestamp) -> Outcome {
    step(record, unreadably(), &mut has_tried(), &times(), at)
}

fn unreadably() -> Input {
    Input::Unreadable(Text::new("HostUp does not answer usefully"))
}

#[test]
fn a_process_that_has_just_begun_tries_for_a_quarter_of_an_hour_before_it_asks_or_believes_a_person() {
    for (what, mut record, asked) in unread() {
        for answer in [None, Some(Resolution::NotExecuted)] {
            if record.known.state == State::Unknown {
                record.answer = answer;
            }
            let mut memo = Memo::default();
            let mut at = |record: &Record, input, seconds| {
                let when = later(asked, Duration::from_secs(seconds));
                step(record, input, &mut memo, &times(), when)
            };
            assert_eq!(at(&record, unreadably(), 3600), record.known, "{what}");
            assert_eq!(at(&record, unreadably(), 4499), record.known, "{what}");
            // What is read in between begins it anew.
            record.known = at(&record, inventory(vec![]), 4499);
            assert_eq!(at(&record, unreadably(), 4600), record.known, "{what}");
            assert_ne!(at(&record, unreadably(), 5500), record.known, "{what}");
        }
    }
}

/// Every unfinished outcome that can only be read, and when a person is asked if it cannot be.
fn unread() -> Vec<(&'static str, Record, Timestamp)> {
    let asks = |record: &Record| later(record.settled_at(&times()), PATIENCE_TO_LOOK);
    let unknown = asking(None);
    let change = change_in(State::Unknown);
    let taken = change_in(State::Accepted);
    let given_up = later(now(), times().job_deadline);
    vec![
        ("restore", unknown.clone(), asks(&unknown)),
        ("options", change.clone(), asks(&change)),
        ("options that HostUp took", taken, given_up),
    ]
}

#[test]
fn an_outcome_that_cannot_be_looked_for_becomes_a_question() {
    for (what, record, asked) in unread() {
        let just_before = asked.checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(unreadable_at(&record, just_before), record.known, "{what}");
        let question = unreadable_at(&record, asked);
        assert_eq!(
            (question.state, question.evidence),
            (State::Unknown, Some(Evidence::CannotLook)),
            "{what}"
        );
        assert!(
            question.message.as_str().contains("does not answer usefully"),
            "{what}"
        );
        // It is asked once, and other questions stay as they are.
        let asks = Record {
            known: question.clone(),
            ..record
        };
        assert_eq!(
            unreadable_at(&asks, later(asked, Duration::from_secs(3600))),
            question,
            "{what}"
        );
    }
}

#[test]
fn what_hostup_has_shown_and_the_api_server_did_not_take_is_written_before_anything_is_read_anew() {
    let mut denied = asking(Some(Evidence::JobDeadline));
    denied.known.job = accepted().known.job;
    denied.answer = Some(Resolution::NotExecuted);
    let mut memo = Memo::default();
    let runs = Input::Job(JobState::Running { progress: None }, vec![]);
    let refuted = step(&denied, runs, &mut memo, &times(), now());
    assert!(is_refuted(&refuted), "{refuted:?}");
    let succeeded = stepped(&denied, Input::JobUnreadable(vec![ours("vps_new")]));
    assert_eq!(succeeded.state, State::Succeeded);
    let taken_back = Record {
        answer: None,
        ..denied.clone()
    };
    let moved_on = Record {
        known: refuted.clone(),
        ..denied.clone()
    };
    for (known, of_the_same, of_no_answer) in [
        (&refuted, Some(refuted.clone()), None),
        (&succeeded, Some(succeeded.clone()), Some(succeeded.clone())),
    ] {
        for (record, written) in [
            (&denied, of_the_same),
            (&taken_back, of_no_answer),
            (&moved_on, None),
        ] {
            could_not_write(&denied, known, &mut memo);
            assert_eq!(still_to_write(record, &mut memo), written);
            assert_eq!(still_to_write(record, &mut memo), None, "once");
        }
    }
    let failed = Outcome {
        state: State::Accepted,
        evidence: Some(Evidence::Job),
        ..accepted().known
    };
    could_not_write(&accepted(), &failed, &mut memo);
    assert_eq!(still_to_write(&accepted(), &mut memo), Some(failed));
    // What rests on absence or on an answer alone is concluded anew.
    for (state, evidence) in [
        (State::NotExecuted, Evidence::Person),
        (State::Succeeded, Evidence::Person),
        (State::Unknown, Evidence::NoneFound),
    ] {
        let concluded = Outcome {
            state,
            evidence: Some(evidence),
            ..denied.known.clone()
        };
        could_not_write(&denied, &concluded, &mut memo);
        assert_eq!(still_to_write(&denied, &mut memo), None, "{state:?}");
    }
}

#[test]
fn a_vm_is_found_also_while_a_key_is_told_nothing_of_its_job() {
    let accepted = accepted();
    let nothing = stepped(&accepted, Input::JobUnreadable(vec![]));
    assert_eq!(nothing, accepted.known);
    let found = stepped(&accepted, Input::JobUnreadable(vec![ours("vps_new")]));
    assert_eq!(
        (found.state, found.evidence),
        (State::Succeeded, Some(Evidence::VmFound))
    );
}

#[test]
fn a_person_is_believed_where_hostup_cannot_be_read_and_not_sooner() {
    for (what, record, asked) in unread() {
        if record.known.state == State::Accepted {
            continue;
        }
        let record = Record {
            answer: Some(Resolution::NotExecuted),
            ..record
        };
        let just_before = asked.checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(unreadable_at(&record, just_before), record.known, "{what}");
        assert_eq!(unreadable_at(&record, asked).state, State::NotExecuted, "{what}");
        let mut refused = record.clone();
        refused.known.answer_refused = Some(Text::new("several VMs have the token"));
        assert_ne!(unreadable_at(&refused, asked).state, State::NotExecuted, "{what}");
    }
}

#[test]
fn what_can_be_read_again_is_looked_for_again() {
    let asked = asking(Some(Evidence::CannotLook));
    let seen = stepped(&asked, inventory(vec![]));
    assert_eq!((seen.state, seen.evidence), (State::Unknown, None));
    let found = stepped(&asked, inventory(vec![ours("vps_new")]));
    assert_eq!(
        (found.state, found.evidence),
        (State::Succeeded, Some(Evidence::VmFound))
    );
}

#[test]
fn a_job_that_cannot_be_read_withdraws_no_question_and_hides_no_vm() {
    let questions = [
        None,
        Some(Evidence::NoneFound),
        Some(Evidence::SeveralFound),
        Some(Evidence::OtherSize),
        Some(Evidence::AccountMismatch),
        Some(Evidence::JobDeadline),
        Some(Evidence::CannotLook),
    ];
    for evidence in questions {
        let mut record = asking(evidence);
        record.known.job = accepted().known.job;
        let nothing = stepped(&record, Input::JobUnreadable(vec![]));
        assert_eq!(nothing, record.known, "{evidence:?}");
        let found = stepped(&record, Input::JobUnreadable(vec![ours("vps_new")]));
        assert_eq!(
            (found.state, found.evidence),
            (State::Succeeded, Some(Evidence::VmFound)),
            "{evidence:?}"
        );
        let twins = vec![ours("vps_new"), ours("vps_newer")];
        let found = stepped(&record, Input::JobUnreadable(twins));
        assert_eq!(
            (found.state, found.evidence),
            (State::Unknown, Some(Evidence::SeveralFound)),
            "{evidence:?}"
        );
    }
}

#[test]
fn of_two_clocks_the_earlier_makes_a_claim_overdue_and_the_later_settles_it() {
    let hour = Duration::from_secs(3600);
    let witness = now();
    for (what, made_at) in [
        ("ahead", later(now(), hour)),
        ("behind", now().checked_sub(hour).unwrap()),
        ("right", now()),
    ] {
        let mut sending = record(State::Sending);
        sending.claim.made_at = made_at;
        sending.claim.send_before = later(made_at, times().request_timeout);
        sending.created_at = Some(witness);
        sending.known = Outcome::sending();
        let overdue = sending.overdue_at();
        let true_end = later(witness, times().request_timeout + Duration::from_secs(1));
        assert!(overdue <= true_end, "{what}");
        assert_eq!(
            need(
                &sending,
                &Memo::default(),
                &times(),
                later(overdue, Duration::from_millis(2))
            ),
            Need::Say(Input::Overdue),
            "{what}"
        );
        let lost = step(&sending, Input::Overdue, &mut Memo::default(), &times(), overdue);
        let unknown = Record {
            known: lost,
            ..sending
        };
        let settled = later(witness, times().paid_timeout + times().settle_time);
        assert!(unknown.settled_at(&times()) >= settled, "{what}");
    }
}
