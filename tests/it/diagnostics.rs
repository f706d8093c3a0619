//! What HostUp says of a call that it refuses, or answers oddly, reaches the person: in the condition, in the event and
//! in the record, with the id of the request and the field that HostUp objects to; bounded and printable.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use hostup_sim::{Answer, Fault, JobView, Outcome, RestoreBehaviour, Route};
use jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};

use crate::support::printable::stored_is_printable;
use crate::support::{Customer, PATIENCE, TestEnv, at, condition, ready, reason};

/// Longest note of an event, in bytes.
const NOTE: usize = 1024;

/// A paid call that is answered with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Restore,
    Options,
    Estimate,
    Upgrade,
}

impl Call {
    const ALL: [Self; 4] = [Self::Restore, Self::Options, Self::Estimate, Self::Upgrade];

    fn route(self) -> Route {
        match self {
            Self::Restore => Route::RestoreToPayg,
            Self::Options => Route::ConfigCommit,
            Self::Estimate => Route::LegacyEstimate,
            Self::Upgrade => Route::LegacyUpgrade,
        }
    }

    /// Answers may hold secrets, so that nothing of one that is not documented is told but the request.
    fn hides_odd_answers(self) -> bool {
        matches!(self, Self::Estimate | Self::Upgrade)
    }

    fn object(self, customer: &Customer, env: &TestEnv) -> Value {
        match self {
            Self::Restore => customer.restore(env),
            Self::Options => customer.config(env, json!({"bandwidthGb": 4096})),
            Self::Estimate | Self::Upgrade => customer.legacy(env),
        }
    }
}

/// An answer, and what of it is told.
struct Row {
    name: &'static str,
    answer: Answer,
    code: &'static str,
    told: &'static [&'static str],
    is_documented: bool,
}

const REQUEST: &str = "req_01hxa3b4c5d6e7f8g9h0j1k2m3";

fn rows() -> Vec<Row> {
    let id = json!(REQUEST).to_string();
    let problem = |status, code: &str| {
        Answer::problem(status, code)
            .detail("the words of a clerk")
            .set("/requestId", &id)
    };
    let errors = json!([
        {"pointer": "/storageGb", "detail": "must be at least 80", "code": "invalid_request"},
        {"pointer": "/region\u{1b}[31m", "detail": "x".repeat(5_000), "code": "invalid_request"},
    ]);
    let details = json!([{"field": "cycle", "message": "okänd"}]);
    vec![
        Row {
            name: "fields",
            answer: problem(400, "invalid_request").set("/errors", &errors.to_string()),
            code: "invalid_request",
            told: &[
                "the words of a clerk",
                "/storageGb: must be at least 80",
                "/region",
            ],
            is_documented: true,
        },
        Row {
            name: "forbidden",
            answer: problem(403, "forbidden"),
            code: "forbidden",
            told: &["the words of a clerk"],
            is_documented: true,
        },
        Row {
            name: "older",
            answer: Answer::legacy_error(400, "BAD_REQUEST", "the words of a clerk")
                .set("/requestId", &id)
                .set("/details", &details.to_string()),
            code: "BAD_REQUEST",
            told: &["the words of a clerk", "cycle: okänd"],
            is_documented: true,
        },
        Row {
            name: "long",
            answer: problem(404, "not_found").set("/detail", &json!("ö\u{202e}\n".repeat(3_000)).to_string()),
            code: "not_found",
            told: &["ö ö ö"],
            is_documented: true,
        },
        Row {
            name: "limited",
            answer: problem(429, "rate_limited").retry_after("600"),
            code: "rate_limited",
            told: &["the words of a clerk"],
            is_documented: true,
        },
        Row {
            name: "broken",
            answer: problem(500, "internal_error"),
            code: "internal_error",
            told: &["the words of a clerk"],
            is_documented: false,
        },
        Row {
            name: "new",
            answer: problem(409, "born_yesterday"),
            code: "born_yesterday",
            told: &["the words of a clerk"],
            is_documented: false,
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_hostup_says_of_a_paid_call_arrives_in_condition_event_and_record() {
    let env = TestEnv::new("said").await;
    let _operator = env.operator_for_many(&["--enable-legacy-upgrade"]);
    let rows = rows();
    let all = Call::ALL
        .iter()
        .flat_map(|call| rows.iter().map(move |row| (*call, row)));
    let checks = all.map(|(call, row)| {
        let env = &env;
        async move {
            let name = format!("{}-{}", format!("{call:?}").to_lowercase(), row.name);
            let customer = env.customer(&name).await;
            let fault = customer.fault(call.route()).acted(false);
            env.sim.inject(fault.answer(row.answer.clone()));
            env.create(call.object(&customer, env)).await;
            arrives(env, &name, call, row).await;
        }
    });
    join_all(checks).await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    stored_is_printable(&env).await;
    env.check_invariants().await;
}

/// A reading that is answered with an error, of a restore or of options.
fn refused_reads() -> Vec<(&'static str, Route, u16, &'static str)> {
    let mut rows = Vec::new();
    let errors = [
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (409, "conflict"),
        (500, "internal_error"),
        (503, "upstream_unavailable"),
    ];
    for (status, code) in errors {
        for (of, route) in [
            ("r-vps", Route::GetVps),
            ("r-backups", Route::ListBackups),
            ("r-convert", Route::ConvertToCloud),
            ("r-deploy", Route::PaygDeployments),
            ("r-limits", Route::PaygLimits),
            ("r-list", Route::ListVps),
            ("o-options", Route::UpgradeOptions),
            ("o-dry-run", Route::ConfigPreview),
        ] {
            rows.push((of, route, status, code));
        }
    }
    rows.push(("o-dry-run", Route::ConfigPreview, 400, "invalid_request"));
    rows.push(("o-dry-run", Route::ConfigPreview, 422, "invalid_request"));
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_hostup_says_of_a_reading_arrives_once_though_each_answer_has_another_request() {
    let env = TestEnv::new("saidread").await;
    let _operator = env.operator_for_many(&["--gate-interval=1s"]);
    let errors =
        json!([{"pointer": "/resources/bandwidthGb", "detail": "too much", "code": "invalid_request"}]);
    let checks = refused_reads().into_iter().map(|(of, route, status, code)| {
        let (env, errors) = (&env, errors.to_string());
        async move {
            let name = format!("{of}-{status}");
            let customer = env.customer(&name).await;
            let answer = Answer::problem(status, code)
                .detail("the words of a clerk...")
                .set("/errors", &errors);
            env.sim.inject(customer.fault(route).always().answer(answer));
            let is_restore = of.starts_with("r-");
            let (object, api) = if is_restore {
                (customer.restore(env), env.restores())
            } else {
                (customer.config(env, json!({"bandwidthGb": 4096})), env.configs())
            };
            env.create(object).await;
            let parts = [
                "the words of a clerk",
                "/resources/bandwidthGb: too much",
                "request req_",
            ];
            let tells = |object: &Value| {
                let message = ready(object)["message"].as_str().unwrap_or_default();
                parts.iter().all(|part| message.contains(part))
            };
            let told = if is_restore {
                env.wait(&name, "HostUp's words", tells).await
            } else {
                env.wait_config(&name, "HostUp's words", tells).await
            };
            env.note_with(&name, &parts).await;
            // That a route below the VPS finds nothing does not mean that the key does not read the VPS.
            let is_not_found = reason(&told) == "VpsNotFound";
            assert_eq!(
                is_not_found,
                status == 404 && route == Route::GetVps,
                "{name}: {told}"
            );
            env.wait_for_reads(&customer, route, 2).await;
            let later = api.get(&name).await.unwrap();
            let version = later.metadata.resource_version.unwrap();
            assert_eq!(
                at(&told, "metadata.resourceVersion"),
                &version,
                "{name}: written again"
            );
        }
    });
    join_all(checks).await;
    stored_is_printable(&env).await;
    assert_eq!(env.posts(), 0);
}

async fn arrives(env: &TestEnv, name: &str, call: Call, row: &Row) {
    let is_hidden = call.hides_odd_answers() && !row.is_documented;
    let mut parts = vec![format!("request {REQUEST}")];
    if !is_hidden {
        parts.push(row.code.to_owned());
        parts.extend(row.told.iter().map(|part| (*part).to_owned()));
    }
    let tells = |object: &Value| {
        let message = ready(object)["message"].as_str().unwrap_or_default();
        parts.iter().all(|part| message.contains(part))
    };
    let object = if call == Call::Restore {
        env.wait(name, "HostUp's words", tells).await
    } else {
        env.wait_config(name, "HostUp's words", tells).await
    };
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.chars().count() < 2_500, "{name}: {message}");
    // Of the event, which is cut, all but the last words.
    let leading: Vec<&str> = parts.iter().take(2).map(String::as_str).collect();
    let note = env.note_with(name, &leading).await;
    assert!(note.len() <= NOTE, "{name}: {note:?}");

    let records = if call == Call::Restore {
        env.records_of(name).await
    } else {
        env.config_records_of(name).await
    };
    let record = records.last().unwrap();
    assert_eq!(at(record, "status.requestId"), REQUEST, "{name}");
    if is_hidden {
        assert!(at(record, "status.detail").is_null(), "{name}: {record}");
        return;
    }
    assert_eq!(at(record, "status.code"), row.code, "{name}");
    let detail = at(record, "status.detail").as_str().unwrap();
    for part in row.told {
        assert!(detail.contains(part), "{name}: no {part:?} in {detail}");
    }
    assert!(detail.chars().count() <= 800, "{name}: {detail:?}");
}

/// A restore whose job is polled many times, and the words that its object shows, each as often as it was written anew.
async fn words_of_a_job(
    env: &TestEnv,
    name: &str,
    view: JobView,
    outcome: Outcome,
    ends: &str,
) -> Vec<String> {
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            view,
            job_duration: Duration::from_secs(6),
            running_after: Some(Duration::from_secs(7)),
            progress_steps: 1,
            ..RestoreBehaviour::ending(outcome)
        });
    });
    env.create(env.approved(name)).await;
    let mut words: Vec<String> = Vec::new();
    let mut seen = pin!(watch_object(env.restores(), name).default_backoff());
    let all = tokio::time::timeout(PATIENCE, async {
        while let Some(object) = seen.next().await {
            let Ok(Some(object)) = object else { continue };
            let object = serde_json::to_value(object).unwrap();
            let word = at(&object, "status.job.status").as_str();
            if reason(&object) == "JobRunning" {
                words.extend(word.map(str::to_owned));
            }
            if reason(&object) == ends {
                words.extend(word.map(str::to_owned));
                return;
            }
        }
    });
    all.await
        .unwrap_or_else(|_| panic!("{name} does not come to {ends}: {words:?}"));
    let record = &env.records_of(name).await[0];
    assert_eq!(
        at(record, "status.job.status").as_str(),
        words.last().map(String::as_str),
        "{name}"
    );
    let time = |member: &str| {
        let text = at(record, &format!("status.{member}")).as_str();
        let text = text.unwrap_or_else(|| panic!("{name}: no {member} in {record}"));
        text.parse::<Timestamp>().unwrap()
    };
    let took = time("completedTime").duration_since(time("acceptedTime"));
    assert!(took.as_secs() >= 5, "{name}: {took}");
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_word_of_the_job_is_hostups_own_and_is_written_when_it_changes() {
    let running = |word: &str| JobView {
        running_word: Some(word.to_owned()),
        ..JobView::default()
    };
    let rows = [
        (
            "plain",
            JobView::default(),
            Outcome::Completes,
            "Restored",
            "in_progress",
            "completed",
        ),
        (
            "new",
            running("born_yesterday"),
            Outcome::Completes,
            "Restored",
            "born_yesterday",
            "completed",
        ),
        (
            "shouts",
            running("PROCESSING\u{1b}[31m"),
            Outcome::Completes,
            "Restored",
            "PROCESSING [31m",
            "completed",
        ),
        (
            "fails",
            JobView::default(),
            Outcome::FailsWithVm,
            "VpsLeftBilling",
            "in_progress",
            "failed",
        ),
    ];
    let checks = rows.map(|(name, view, outcome, ends, runs_as, ends_as)| async move {
        let env = TestEnv::new("words").await;
        let _operator = env.operator(&["--poll-interval=200ms"]);
        let words = words_of_a_job(&env, name, view, outcome, ends).await;
        let mut changes = words.clone();
        changes.dedup();
        // The first poll may come when it is queued no more.
        assert!(
            changes.ends_with(&[runs_as.to_owned(), ends_as.to_owned()]),
            "{name}: {words:?}"
        );
        assert!(changes.len() <= 3 && changes[0] != ends_as, "{name}: {words:?}");
        // It is polled far more often than it is written: with a word, with the progress, and at the end.
        assert!(words.len() <= 7, "{name}: {words:?}");
        assert!(env.sim.count(Route::Job) > 8, "{name}");
        stored_is_printable(&env).await;
        env.check_invariants().await;
    });
    join_all(checks).await;
}

/// The words of the page of `upstream_renewal_regeneration_failed`.
const BILLING: &str = "The change was applied, but your service may stop billing. Contact support.";

/// The condition `ProviderWarning`, which stands with HostUp's words.
fn warns(object: &Value, code: &str) -> bool {
    let warning = condition(object, "ProviderWarning");
    let message = warning["message"].as_str().unwrap_or_default();
    warning["status"] == "True"
        && warning["reason"] == "CommittedWithError"
        && [code, REQUEST, BILLING].iter().all(|part| message.contains(part))
}

#[tokio::test]
async fn an_order_whose_answer_names_a_higher_price_than_was_approved_is_told() {
    let env = TestEnv::new("chargedmore").await;
    let _operator = env.operator(&[]);
    let dearer = Answer::normal().set("/priceChange/amount", "400");
    env.sim.inject(Fault::on(Route::ConfigCommit).answer(dearer));
    env.create(env.approved_config("web", json!({"bandwidthGb": 4096})))
        .await;
    let told = env.config_comes_to("web", "InSync").await;
    let warning = condition(&told, "ProviderWarning");
    assert_eq!(warning["reason"], "PriceAboveApproval");
    for part in [
        "costs 400.00 SEK now",
        "40.00 SEK now, 40.00 SEK/month was approved",
    ] {
        assert!(warning["message"].as_str().unwrap().contains(part), "{warning}");
    }
    let record = &env.records_of_config("web").await[0];
    assert_eq!(at(record, "status.chargedMore"), "400.00 SEK");
    env.note_with("web", &["costs 400.00 SEK now"]).await;
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_error_of_a_call_that_was_carried_out_is_a_warning_until_the_spec_changes() {
    let env = TestEnv::new("warns").await;
    let operator = env.operator_for_many(&["--gate-interval=1s"]);
    let failed = |status, code: &str| {
        Answer::problem(status, code)
            .detail(BILLING)
            .set("/requestId", &json!(REQUEST).to_string())
    };
    let of_options = "upstream_renewal_regeneration_failed";
    let of_restore = "upstream_cloud_quick_deploy_shape_invalid";
    let (options, restore, plain) = (
        env.customer("options").await,
        env.customer("restore").await,
        env.customer("plain").await,
    );
    for (customer, answer) in [
        (&options, failed(502, of_options)),
        (&plain, failed(500, "internal_error")),
    ] {
        let fault = customer.fault(Route::ConfigCommit).acted(true);
        env.sim.inject(fault.answer(answer));
        env.create(customer.config(&env, json!({"bandwidthGb": 4096})))
            .await;
    }
    let fault = restore.fault(Route::RestoreToPayg).acted(true);
    env.sim.inject(fault.answer(failed(502, of_restore)));
    env.create(restore.restore(&env)).await;

    let told = env.config_comes_to("options", "InSync").await;
    assert!(warns(&told, of_options), "{told}");
    assert_eq!(ready(&told)["status"], "True");
    let told = env.wait_for_reason("restore", "Restored").await;
    assert!(warns(&told, of_restore), "{told}");
    let told = env.config_comes_to("plain", "InSync").await;
    assert!(condition(&told, "ProviderWarning").is_null(), "{told}");
    for (name, code) in [("options", of_options), ("restore", of_restore)] {
        let note = env.note_with(name, &[code, BILLING, REQUEST]).await;
        assert!(note.len() <= NOTE, "{name}: {note}");
    }
    let record = &env.config_records_of("options").await[0];
    assert_eq!(at(record, "status.state"), "Succeeded");
    assert_eq!(at(record, "status.code"), of_options);
    assert_eq!(at(record, "status.detail"), BILLING);

    // It stands through a restart and while HostUp is away.
    drop(operator);
    env.sim
        .inject(options.fault(Route::GetVps).always().answer(Answer::html(503)));
    let _operator = env.operator_for_many(&["--gate-interval=1s"]);
    let told = env.config_comes_to("options", "ProviderUnavailable").await;
    assert!(warns(&told, of_options), "{told}");
    env.patch_config("options", json!({"approval": null})).await;
    let gone = |object: &Value| {
        condition(object, "ProviderWarning").is_null()
            && *at(object, "status.observedGeneration") == object["metadata"]["generation"]
    };
    env.wait_config("options", "no warning", gone).await;
    let approval = json!({"spec": {"approval": null}});
    env.patch("restore", approval).await.unwrap();
    env.wait("restore", "no warning", gone).await;
    assert_eq!((env.posts(), env.executed()), (3, 3));
    env.check_invariants().await;
}
