//! The job of an accepted order, in every shape and with every ending that real ones may have. None of
//! them ever causes a second POST.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use hostup_sim::{
    Answer, Boots, JobForget, JobResult, JobShape, JobView, NameAs, Outcome, Resources, RestoreBehaviour,
    Route, Sim,
};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};

use crate::support::{Customer, HOUR, PATIENCE, TestEnv, at, ready, reason};

const MINUTE: Duration = Duration::from_secs(60);

/// Long after the settle time and the job deadline of these tests.
const LATE: Duration = Duration::from_secs(20);

/// How an order ends.
enum End {
    /// `Ready=True`, and what the record rests on.
    Restored(&'static str),
    /// Another reason, the record's state, and what the message says.
    Stays(&'static str, &'static str, Vec<String>),
    /// First this reason, and then restored by itself.
    Passes(&'static str),
}

struct Row {
    name: String,
    behaviour: RestoreBehaviour,
    /// What is answered to the order instead of the normal 202.
    answer: Option<Answer>,
    end: End,
}

fn row(name: &str, behaviour: RestoreBehaviour, end: End) -> Row {
    Row {
        name: name.to_lowercase().replace(['_', ' '], "-"),
        behaviour,
        answer: None,
        end,
    }
}

fn viewed(view: JobView) -> RestoreBehaviour {
    RestoreBehaviour {
        view,
        ..RestoreBehaviour::default()
    }
}

fn failing(outcome: Outcome, view: JobView) -> RestoreBehaviour {
    RestoreBehaviour {
        view,
        ..RestoreBehaviour::ending(outcome)
    }
}

fn forgotten(forget: JobForget) -> JobView {
    JobView {
        forget,
        ..JobView::default()
    }
}

fn ends_as(word: &str) -> JobView {
    JobView {
        end_word: Some(word.to_owned()),
        ..JobView::default()
    }
}

fn job_failed(says: &str) -> End {
    let then = "to try again create a VpsBackupRestore with another name";
    End::Stays(
        "JobFailed",
        "Failed",
        vec![format!("the job failed: {says}"), then.to_owned()],
    )
}

fn asks(says: &str) -> End {
    End::Stays("OutcomeUnknown", "Unknown", vec![says.to_owned()])
}

const DISK: &str = "Restore failed: storage node did not answer";
const NO_VM: &str = "no VM has the token";

#[tokio::test]
async fn every_word_and_shape_of_a_running_job_is_polled_to_its_end() {
    let mut rows: Vec<Row> = [
        "queued",
        "waiting",
        "delayed",
        "scheduled",
        "pending",
        "running",
        "active",
        "PROCESSING",
        "brand_new",
        "",
    ]
    .iter()
    .map(|word| {
        let view = JobView {
            running_word: Some((*word).to_owned()),
            ..JobView::default()
        };
        row(&format!("word-{word}-0"), viewed(view), End::Restored("Job"))
    })
    .collect();
    for shape in [
        JobShape::Legacy,
        JobShape::StateOnly,
        JobShape::StatusOnly,
        JobShape::Operation,
        JobShape::Bare,
    ] {
        let view = JobView {
            shape,
            ..JobView::default()
        };
        rows.push(row(
            &format!("{shape:?}-completes"),
            viewed(view.clone()),
            End::Restored("Job"),
        ));
        // The short shape has no place for an error.
        let says = if shape == JobShape::Operation {
            "HostUp gives no reason"
        } else {
            DISK
        };
        let fails = failing(Outcome::FailsWithoutVm, view);
        rows.push(row(&format!("{shape:?}-fails"), fails, job_failed(says)));
    }
    check(rows, &[]).await;
}

#[tokio::test]
async fn the_end_of_a_job_is_what_its_words_and_flags_agree_upon() {
    let contradicts = JobView {
        flags_contradict: true,
        ..JobView::default()
    };
    check(
        vec![
            row("Completed", viewed(ends_as("Completed")), End::Restored("Job")),
            row(
                "COMPLETED-loud",
                viewed(ends_as("COMPLETED")),
                End::Restored("Job"),
            ),
            row(
                "cancelled",
                failing(Outcome::FailsWithoutVm, ends_as("cancelled")),
                job_failed(DISK),
            ),
            row(
                "FAILED-loud",
                failing(Outcome::FailsWithoutVm, ends_as("FAILED")),
                job_failed(DISK),
            ),
            // The word says one thing, the flags another: the VM decides.
            row("finished", viewed(ends_as("finished")), End::Restored("VmFound")),
            row(
                "cancelled-and-completed",
                viewed(ends_as("cancelled")),
                End::Restored("VmFound"),
            ),
            row(
                "failed-and-completed",
                viewed(ends_as("failed")),
                End::Restored("VmFound"),
            ),
            row(
                "completed-and-failed",
                failing(Outcome::FailsWithoutVm, ends_as("completed")),
                asks(NO_VM),
            ),
            row("turned", viewed(contradicts.clone()), End::Restored("VmFound")),
            row(
                "completed-without-success",
                viewed(JobView {
                    result: JobResult::Custom(r#"{"success": false, "result": null}"#.to_owned()),
                    ..JobView::default()
                }),
                End::Restored("VmFound"),
            ),
            row(
                "turned-failed",
                failing(Outcome::FailsWithoutVm, contradicts),
                asks(NO_VM),
            ),
        ],
        &[],
    )
    .await;
}

#[tokio::test]
async fn a_job_that_hostup_forgets_has_not_failed() {
    let lasting = |forget| RestoreBehaviour {
        job_duration: Duration::from_secs(1),
        ..viewed(forgotten(forget))
    };
    let at_once = forgotten(JobForget::AfterPolls(0));
    check(
        vec![
            row("at-once", viewed(at_once.clone()), End::Restored("VmFound")),
            row(
                "after-two",
                lasting(JobForget::AfterPolls(2)),
                End::Restored("VmFound"),
            ),
            row(
                "when-ended",
                lasting(JobForget::WhenEnded),
                End::Restored("VmFound"),
            ),
            row(
                "forgotten-lag",
                RestoreBehaviour {
                    list_lag: 3,
                    ..viewed(at_once.clone())
                },
                End::Restored("VmFound"),
            ),
            row(
                "never-made",
                failing(Outcome::FailsWithoutVm, at_once.clone()),
                asks(NO_VM),
            ),
            row(
                "failed-and-forgotten",
                failing(Outcome::FailsWithoutVm, forgotten(JobForget::WhenEnded)),
                asks(NO_VM),
            ),
            row(
                "forgotten-size",
                RestoreBehaviour {
                    sizes: Some(Resources::new(4, 8, 160)),
                    ..viewed(at_once.clone())
                },
                asks("instead of 2 cores"),
            ),
            row(
                "forgotten-twin",
                RestoreBehaviour {
                    twin: true,
                    ..viewed(at_once)
                },
                asks("several VMs have the token: vps_"),
            ),
        ],
        &[],
    )
    .await;
}

#[tokio::test]
async fn the_result_of_a_job_is_a_hint_and_never_a_proof() {
    let tells = |result| JobView {
        result,
        ..JobView::default()
    };
    let renamed = |result| RestoreBehaviour {
        name_as: NameAs::Other("another-name".to_owned()),
        ..viewed(tells(result))
    };
    let named = |name_as| RestoreBehaviour {
        name_as,
        ..RestoreBehaviour::default()
    };
    let odd = r#"{"vpsId":"vps_../../x","list":[[[["vps_nobody's"]]],7,null,true]}"#;
    let display = NameAs::OnlyHostname("a-display-name".to_owned());
    check(
        vec![
            row("null", viewed(tells(JobResult::Null)), End::Restored("Job")),
            row("absent", viewed(tells(JobResult::Absent)), End::Restored("Job")),
            row("flat", viewed(tells(JobResult::Flat)), End::Restored("Job")),
            row(
                "numeric",
                viewed(tells(JobResult::NumericVmId)),
                End::Restored("Job"),
            ),
            row(
                "source",
                viewed(tells(JobResult::NamesSource)),
                End::Restored("Job"),
            ),
            row(
                "odd",
                viewed(tells(JobResult::Custom(odd.to_owned()))),
                End::Restored("Job"),
            ),
            row("renamed-nested", renamed(JobResult::Nested), End::Restored("Job")),
            row("renamed-flat", renamed(JobResult::Flat), End::Restored("Job")),
            row("renamed-null", renamed(JobResult::Null), asks(NO_VM)),
            row("renamed-numeric", renamed(JobResult::NumericVmId), asks(NO_VM)),
            row("renamed-source", renamed(JobResult::NamesSource), asks(NO_VM)),
            row("upper-case", named(NameAs::UpperCase), End::Restored("Job")),
            row(
                "suffix",
                named(NameAs::Suffixed("-1".to_owned())),
                End::Restored("Job"),
            ),
            row(
                "fqdn",
                named(NameAs::Suffixed(".example.com".to_owned())),
                End::Restored("Job"),
            ),
            row("display", named(display), End::Restored("Job")),
        ],
        &[],
    )
    .await;
}

#[tokio::test]
async fn a_vm_that_is_late_double_wrong_or_left_over_is_told_as_what_it_is() {
    let default = RestoreBehaviour::default;
    let left = |behaviour: RestoreBehaviour, name: &str, says: Vec<String>| {
        let behaviour = RestoreBehaviour {
            outcome: Outcome::FailsWithVm,
            ..behaviour
        };
        let mut says = says;
        says.push(format!("the job failed: {DISK}"));
        says.push("costs money until it is cancelled".to_owned());
        row(name, behaviour, End::Stays("VpsLeftBilling", "Failed", says))
    };
    let larger = Some(Resources::new(4, 8, 160));
    let wrong = vec!["instead of the ordered".to_owned()];
    let boots = |boots| RestoreBehaviour { boots, ..default() };
    let late = RestoreBehaviour {
        vm_visible_after: LATE,
        ..default()
    };
    check(
        vec![
            row(
                "lag",
                RestoreBehaviour {
                    list_lag: 5,
                    ..default()
                },
                End::Restored("Job"),
            ),
            row(
                "lag-by-id",
                RestoreBehaviour {
                    list_lag: 5,
                    lag_hides_by_id: true,
                    ..default()
                },
                End::Restored("Job"),
            ),
            row("late", late, End::Passes("OutcomeUnknown")),
            row(
                "twin",
                RestoreBehaviour {
                    twin: true,
                    ..default()
                },
                asks("several VMs have the token: vps_"),
            ),
            row(
                "size",
                RestoreBehaviour {
                    sizes: larger,
                    ..default()
                },
                End::Stays("WrongSize", "Succeeded", wrong),
            ),
            row(
                "no-boot",
                boots(Boots::Never),
                End::Stays("Booting", "Succeeded", vec!["is not up yet".to_owned()]),
            ),
            row(
                "no-ip",
                boots(Boots::WithoutIp),
                End::Stays("Booting", "Succeeded", vec!["is not up yet".to_owned()]),
            ),
            row(
                "fails",
                RestoreBehaviour::ending(Outcome::FailsWithoutVm),
                job_failed(DISK),
            ),
            left(default(), "left", vec![]),
            left(
                RestoreBehaviour {
                    sizes: larger,
                    ..default()
                },
                "left-larger",
                vec![],
            ),
            left(
                RestoreBehaviour {
                    list_lag: 2,
                    ..default()
                },
                "left-with-lag",
                vec![],
            ),
            left(
                RestoreBehaviour {
                    twin: true,
                    ..default()
                },
                "left-twins",
                vec!["several VMs have the token".to_owned()],
            ),
        ],
        &[],
    )
    .await;
}

#[tokio::test]
async fn a_poll_url_is_used_only_as_a_path_on_the_configured_origin() {
    let foreign = Sim::start();
    let host = foreign.url();
    let bare = host.trim_start_matches("http:").to_owned();
    let ordinary = |name: &str, poll_url: &str| Row {
        answer: Some(Answer::normal().set("/operation/pollUrl", &json!(poll_url).to_string())),
        ..row(name, RestoreBehaviour::default(), End::Restored("Job"))
    };
    let mut rows = vec![
        ordinary("empty", ""),
        ordinary("absolute", &format!("{host}/api/jobs/job_1")),
        ordinary("no-scheme", &format!("{bare}/api/jobs/job_1")),
        ordinary("double", "/api//jobs/job_1"),
        ordinary("user", "http://user@127.0.0.1/api/jobs/job_1"),
        ordinary("dots", "/api/jobs/../v2/vps"),
        ordinary("encoded", "/api/jobs/%2e%2e/v2/vps"),
        ordinary("query", "/api/jobs/job_1?x=y"),
        ordinary("fragment", "/api/jobs/job_1#x"),
        ordinary("elsewhere", "/admin/jobs/job_1"),
        ordinary("backslash", "\\\\127.0.0.1\\api"),
        ordinary("newline", "/api/jobs/job_1\r\nHost: elsewhere"),
        ordinary("long", &format!("/api/{}", "x".repeat(10_000))),
    ];
    rows.push(Row {
        answer: Some(Answer::normal().set("/operation/pollUrl", "7")),
        ..row("number", RestoreBehaviour::default(), End::Restored("Job"))
    });
    rows.push(Row {
        answer: Some(Answer::normal().remove("/operation/pollUrl")),
        ..row("missing", RestoreBehaviour::default(), End::Restored("Job"))
    });
    // A plain path on the origin is believed; that nothing is there loses the job, not the VM.
    rows.push(Row {
        end: End::Restored("VmFound"),
        ..ordinary("nowhere", "/api/v3/jobs/job_1")
    });
    let env = check(rows, &[]).await;
    assert_eq!(foreign.world(|world| world.connections().len()), 0);
    let asked: BTreeSet<String> = env
        .sim
        .requests_on(Route::Job)
        .into_iter()
        .map(|poll| poll.path)
        .collect();
    let jobs = env.sim.world(|world| {
        world
            .jobs
            .iter()
            .map(|job| job.poll_url())
            .collect::<BTreeSet<_>>()
    });
    assert_eq!(jobs.difference(&asked).count(), 1, "{asked:?}");
    assert_eq!(asked.difference(&jobs).count(), 0, "{asked:?}");
}

#[tokio::test]
async fn polls_that_fail_are_repeated_and_prove_nothing() {
    let env = TestEnv::new("polls").await;
    let _operator = env.operator_for_many(&[]);
    let rows = [
        ("p500", Answer::problem(500, "internal_error"), "Job"),
        ("p503", Answer::html(503), "Job"),
        ("reset", Answer::reset(), "Job"),
        ("html", Answer::html(200), "Job"),
        ("broken", Answer::broken_json(200), "Job"),
        ("false", Answer::success_false(200), "Job"),
        ("big", Answer::big(200, 5_000_000), "Job"),
        ("deep", Answer::deep(200, 10_000), "Job"),
        ("list", Answer::json(200, "[]"), "Job"),
        ("p404-page", Answer::html(404), "Job"),
        ("redirect", Answer::redirect(302, "/api/v2/vps?again=yes"), "Job"),
        (
            "p404",
            Answer::legacy_error(404, "NOT_FOUND", "Job not found"),
            "VmFound",
        ),
        ("p403", Answer::problem(403, "forbidden"), "VmFound"),
    ];
    join_all(rows.map(|(name, answer, evidence)| {
        let env = &env;
        async move {
            let customer = env.customer(name).await;
            let fault = customer.fault(Route::Job).answer(answer);
            // A job that HostUp knows again is followed again; one that it forgot is found by its VM.
            let fault = if evidence == "Job" {
                fault.times(4)
            } else {
                fault.always()
            };
            env.sim.inject(fault);
            env.create(customer.restore(env)).await;
            env.wait_for_reason(name, "Restored").await;
            let record = &env.records_of(name).await[0];
            assert_eq!(at(record, "status.evidence"), evidence, "{name}");
            assert_eq!(
                (env.posts_of(&customer).len(), env.executed_of(&customer)),
                (1, 1),
                "{name}"
            );
        }
    }))
    .await;
    assert!(
        !env.sim
            .requests()
            .iter()
            .any(|r| r.query.as_deref() == Some("again=yes"))
    );
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

#[tokio::test]
async fn a_job_that_never_ends_is_given_up_after_its_deadline_and_still_looked_for() {
    let endless = |visible| RestoreBehaviour {
        vm_visible_after: visible,
        ..RestoreBehaviour::ending(Outcome::NeverEnds)
    };
    // Neither a word that anyone knows nor a flag.
    let wordless = JobView {
        shape: JobShape::Operation,
        ..ends_as("crashed")
    };
    let given_up = || {
        let says = [
            "the job had not ended by the job deadline",
            "\"answer\":\"Abandon\"",
        ];
        End::Stays("JobDeadlineExceeded", "Unknown", says.map(str::to_owned).to_vec())
    };
    check(
        vec![
            row("endless", endless(MINUTE * 60), given_up()),
            row("wordless", failing(Outcome::FailsWithoutVm, wordless), given_up()),
            row(
                "endless-and-late",
                endless(LATE),
                End::Passes("JobDeadlineExceeded"),
            ),
        ],
        &["--job-deadline=3s"],
    )
    .await;
}

#[tokio::test]
async fn a_vm_that_boots_late_is_waited_for() {
    let env = TestEnv::new("boot").await;
    let _operator = env.operator_for_many(&[]);
    env.sim.world(|world| {
        world.restore.boots = Boots::Never;
    });
    env.create(env.approved("web")).await;
    let booting = env.wait_for_reason("web", "Booting").await;
    assert_eq!(ready(&booting)["status"], "False");
    let vps = at(&booting, "status.vm.vpsId").as_str().unwrap().to_owned();
    env.sim.world(|world| world.boot(&vps));
    let object = env.wait_for_reason("web", "Restored").await;
    assert!(at(&object, "status.vm.primaryIp").is_string());
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn progress_is_shown_in_quarters_and_polls_keep_their_distance() {
    let env = TestEnv::new("progress").await;
    let _operator = env.operator_for_many(&["--poll-interval=300ms"]);
    let config = watcher::Config::default().fields("metadata.name=web");
    let watched = watcher(env.restores(), config).applied_objects();
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn(watched.for_each(move |object| {
        // Nobody listens any more once the test has failed.
        let _gone = sender.send(serde_json::to_value(object.unwrap()).unwrap());
        std::future::ready(())
    }));
    env.sim.world(|world| {
        world.restore.job_duration = HOUR;
        world.restore.progress_steps = 20;
    });
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "JobRunning").await;
    // Nothing that happens to the objects makes the job polled faster.
    let record = at(&env.records().await[0], "metadata.name")
        .as_str()
        .unwrap()
        .to_owned();
    let by = kube::api::PatchParams::default();
    for n in 0..20 {
        let touched =
            kube::api::Patch::Merge(json!({"metadata": {"annotations": {"touched": n.to_string()}}}));
        env.operations().patch(&record, &by, &touched).await.unwrap();
        env.restores().patch("web", &by, &touched).await.unwrap();
    }
    for _ in 0..10 {
        env.polled_again().await;
        env.sim.world(|world| world.advance(HOUR / 10));
    }
    let done = env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&done, "status.job.progress"), 100);
    let mut shown: Vec<u64> = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, seen.recv()).await;
        let object: Value = next.unwrap().unwrap();
        shown.extend(at(&object, "status.job.progress").as_u64());
        if reason(&object) == "Restored" {
            break;
        }
    }
    watching.abort();
    shown.dedup();
    assert!(shown.is_sorted() && shown.len() > 1, "{shown:?}");
    assert!(
        shown.iter().all(|per_cent| [25, 50, 75, 100].contains(per_cent)),
        "{shown:?}"
    );
    let polls = env.sim.requests_on(Route::Job);
    for pair in polls.windows(2) {
        let between = pair[1].first_byte_at - pair[0].finished_at.unwrap();
        assert!(between >= Duration::from_millis(290), "{between:?}");
    }
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
}

/// Orders the rows one after the other, so that each job behaves as its row says, and follows them all
/// at once.
async fn check(rows: Vec<Row>, args: &[&str]) -> TestEnv {
    let env = TestEnv::new("jobs").await;
    let _operator = env.operator_for_many(args);
    let mut customers = Vec::new();
    for row in &rows {
        let customer = env.customer(&row.name).await;
        if let Some(answer) = &row.answer {
            let fault = customer.fault(Route::RestoreToPayg).acted(true);
            env.sim.inject(fault.answer(answer.clone()));
        }
        env.sim.world(|world| world.restore_next(row.behaviour.clone()));
        env.create(customer.restore(&env)).await;
        let account = customer.account;
        let ordered = move |world: &hostup_sim::World| !world.purchases_of(account).is_empty();
        assert!(
            env.sim.until(PATIENCE, ordered).await,
            "{} was not ordered",
            row.name
        );
        customers.push(customer);
    }
    join_all(
        rows.iter()
            .zip(&customers)
            .map(|(row, customer)| ends(&env, row, customer)),
    )
    .await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    assert_eq!((env.posts(), env.executed()), (rows.len(), rows.len()));
    env.check_invariants().await;
    env
}

async fn ends(env: &TestEnv, row: &Row, customer: &Customer) {
    let name = &row.name;
    let first = match &row.end {
        End::Restored(_) => "Restored",
        End::Stays(reason, ..) | End::Passes(reason) => reason,
    };
    let object = env.wait_for_reason(name, first).await;
    match &row.end {
        End::Restored(evidence) => {
            let record = &env.records_of(name).await[0];
            assert_eq!(at(record, "status.state"), "Succeeded", "{name}");
            assert_eq!(at(record, "status.evidence"), *evidence, "{name}");
            shows_the_vm(env, customer, &object);
        }
        End::Passes(_) => {
            let object = env.wait_for_reason(name, "Restored").await;
            shows_the_vm(env, customer, &object);
        }
        End::Stays(_, state, says) => {
            let record = &env.records_of(name).await[0];
            assert_eq!(at(record, "status.state"), *state, "{name}");
            let message = ready(&object)["message"].as_str().unwrap();
            for part in says {
                assert!(message.contains(part), "{name}: no {part:?} in {message}");
            }
            let made = made(env, customer);
            let told_of_each = reason(&object) == "VpsLeftBilling" || message.contains("several VMs");
            for vps in made.iter().filter(|_| told_of_each) {
                assert!(message.contains(vps), "{name}: no {vps} in {message}");
            }
            if *state == "Succeeded" || reason(&object) == "VpsLeftBilling" {
                assert_eq!(at(&object, "status.vm.vpsId"), made[0].as_str(), "{name}");
            }
            if *state == "Unknown" {
                env.wait_for_list_reads(customer, 1).await;
                assert_eq!(reason(&env.restore(name).await), first, "{name}");
            }
        }
    }
    assert_eq!(env.records_of(name).await.len(), 1, "{name}");
    assert_eq!(env.posts_of(customer).len(), 1, "{name}");
}

fn made(env: &TestEnv, customer: &Customer) -> Vec<String> {
    env.sim.world(|world| {
        let bought = &world.purchases_of(customer.account)[0];
        bought.vps_id.iter().chain(&bought.also_made).cloned().collect()
    })
}

fn shows_the_vm(env: &TestEnv, customer: &Customer, object: &Value) {
    assert_eq!(ready(object)["status"], "True", "{}", customer.name);
    assert_eq!(
        at(object, "status.vm.vpsId"),
        made(env, customer)[0].as_str(),
        "{}",
        customer.name
    );
}
