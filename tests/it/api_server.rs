//! The API server fails, lies, lags or is away, and the object changes behind the operator's back.

use std::time::{Duration, SystemTime};

use control_plane::{Action, Gate, Request, Rule, status};
use hostup_operator::domain::ledger::names::ChainKey;
use hostup_sim::{RestoreBehaviour, Route, Stage};
use serde_json::{Value, json};

use crate::support::proxied_env::{
    OPERATIONS, ProxiedEnv, claim, held, is_claim, refused_claims, unclear_claims,
};
use crate::support::{
    HOUR, OPERATOR, Operator, OwnPlane, PATIENCE, TestEnv, at, each_row, own_control_plane, reason,
};

fn is_outcome(request: &Request) -> bool {
    request.method == "PUT" && request.path.starts_with(OPERATIONS) && request.path.ends_with("/status")
}

async fn record_of(env: &TestEnv, attempt: u32) -> String {
    ChainKey::of_restore(&env.namespace, "web")
        .record(attempt)
        .to_string()
}

/// The record has come to this state; the object's first attempt.
async fn comes_to(env: &TestEnv, state: &str) -> Value {
    let name = record_of(env, 1).await;
    env.wait_for_record(&name, state, |record| at(record, "status.state") == state)
        .await
}

async fn an_unclear_claim(action: Action) {
    let proxied = ProxiedEnv::new("unclear").await;
    proxied.proxy.rule(claim(action));
    let env = &proxied.env;
    env.create(env.approved("web")).await;
    let _operator = env.operator(&[]);
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    assert_eq!(env.records().await.len(), 1);
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_whose_answer_was_lost_is_known_by_its_holder_and_sent_once() {
    each_row(unclear_claims().map(|(name, action)| (name.to_owned(), an_unclear_claim(action)))).await;
}

async fn an_api_server_that_takes_no_claims(action: Action) {
    let proxied = ProxiedEnv::new("readonly").await;
    proxied.proxy.rule(
        Rule::on("POST", is_claim)
            .named("no claims")
            .always()
            .action(action),
    );
    let env = &proxied.env;
    env.create(env.approved("web")).await;
    let _operator = env.operator(&[]);
    proxied.seen(2, is_claim).await;
    assert_eq!(env.posts(), 0);
    assert!(env.records().await.is_empty());
    assert!(proxied.proxy.unfired().is_empty());
    proxied.proxy.clear_rules();
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_paid_while_records_cannot_be_written_and_it_goes_on_once_they_can() {
    each_row(
        refused_claims().map(|(name, action)| (name.to_owned(), an_api_server_that_takes_no_claims(action))),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_arrives_too_late_is_never_sent() {
    // The create call is answered, but after the time in which its call may be sent.
    let answered_late = async {
        let proxied = ProxiedEnv::new("late").await;
        let gate = Gate::new();
        proxied.proxy.rule(claim(Action::HoldBefore(gate.clone())));
        let env = &proxied.env;
        env.create(env.approved("web")).await;
        let _operator = env.operator(&["--request-timeout=1s"]);
        held(&gate).await;
        // Longer than the claim lasts; there is nothing to wait for but time.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        gate.release();
        let record = comes_to(env, "NotSent").await;
        assert!(
            at(&record, "status.message")
                .as_str()
                .unwrap()
                .contains("too old")
        );
        assert_eq!(env.posts(), 0);
        proxied.check().await;
    };
    // The create call has failed long before the API server does it.
    let after_the_client_is_gone = async {
        let proxied = ProxiedEnv::new("later").await;
        let gate = Gate::new();
        proxied.proxy.rule(claim(Action::HoldBefore(gate.clone())));
        let refused = status(503, "Nope", "as the test wants");
        proxied.proxy.rule(
            Rule::on("POST", is_claim)
                .named("later claims")
                .always()
                .action(Action::Respond(503, refused)),
        );
        let env = &proxied.env;
        env.create(env.approved("web")).await;
        let _operator = env.operator(&[]);
        held(&gate).await;
        proxied.seen(2, is_claim).await;
        gate.release();
        let record = comes_to(env, "NotSent").await;
        assert!(
            at(&record, "status.message")
                .as_str()
                .unwrap()
                .contains("did not confirm")
        );
        assert_eq!((env.posts(), env.executed()), (0, 0));
        proxied.check().await;
    };
    // As above, and the process that made the claim has died meanwhile: nobody knows.
    let after_its_process_is_gone = async {
        let proxied = ProxiedEnv::new("latest").await;
        let gate = Gate::new();
        proxied.proxy.rule(claim(Action::HoldBefore(gate.clone())));
        let env = &proxied.env;
        env.create(env.approved("web")).await;
        let mut first = env.operator(&[]);
        held(&gate).await;
        first.kill_9();
        gate.release();
        let name = record_of(env, 1).await;
        env.wait_for_record(&name, "the late record", |_| true).await;
        let _second = env.operator(&["--settle-time=1s"]);
        env.wait_for_reason("web", "OutcomeUnknown").await;
        assert_eq!((env.posts(), env.executed()), (0, 0));
        proxied.check().await;
    };
    futures::join!(answered_late, after_the_client_is_gone, after_its_process_is_gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_of_the_same_name_that_somebody_else_made_is_never_sent() {
    let proxied = ProxiedEnv::new("foreign").await;
    let env = &proxied.env;
    let gate = Gate::new();
    proxied.proxy.rule(claim(Action::HoldBefore(gate.clone())));
    env.create(env.approved("web")).await;
    let _operator = env.operator(&["--settle-time=1s"]);
    held(&gate).await;
    let requests = proxied.proxy.requests();
    let mut foreign = requests
        .iter()
        .find(|request| is_claim(request))
        .unwrap()
        .json()
        .unwrap();
    foreign["spec"]["claim"]["holder"] = json!("somebodyelse");
    env.create(foreign).await;
    gate.release();
    let object = env.wait_for_reason("web", "OutcomeUnknown").await;
    assert_eq!(
        at(&object, "status.operation.name"),
        record_of(env, 1).await.as_str()
    );
    assert_eq!((env.posts(), env.executed()), (0, 0));
    assert_eq!(at(&env.records().await[0], "spec.claim.holder"), "somebodyelse");
    proxied.check().await;
}

/// What befalls the object between the claim and the second look.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    Suspended,
    Deleted,
    Recreated,
    ApprovalWithdrawn,
    CeilingLowered,
    Unreadable,
}

async fn between_claim_and_second_look(what: Meanwhile) {
    let proxied = ProxiedEnv::new("meanwhile").await;
    let env = &proxied.env;
    env.create(env.approved("web")).await;
    let gate = Gate::new();
    proxied.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    let _operator = env.operator(&[]);
    held(&gate).await;
    let patched = match what {
        Meanwhile::Suspended => Some(json!({"suspend": true})),
        Meanwhile::ApprovalWithdrawn => Some(json!({"approval": null})),
        Meanwhile::CeilingLowered => Some(json!({"approval": {"maxPrice": {"perHour": "0.10"}}})),
        Meanwhile::Deleted => {
            env.delete("web").await;
            None
        }
        Meanwhile::Recreated => {
            env.delete("web").await;
            env.create(env.preview("web")).await;
            None
        }
        Meanwhile::Unreadable => {
            let path = format!(
                "/apis/vps.hostup.se/v1alpha1/namespaces/{}/vpsbackuprestores/web",
                env.namespace
            );
            proxied.proxy.rule(
                Rule::on("GET", move |request| request.path == path)
                    .named("the second look")
                    .action(Action::Respond(500, status(500, "Nope", "as the test wants"))),
            );
            None
        }
    };
    if let Some(spec) = patched {
        env.patch("web", json!({"spec": spec})).await.unwrap();
    }
    gate.release();
    let record = comes_to(env, "NotSent").await;
    let message = at(&record, "status.message").as_str().unwrap();
    assert!(message.starts_with("withdrawn: "), "{message}");
    let shown = match what {
        Meanwhile::Suspended => Some("Suspended"),
        Meanwhile::Recreated | Meanwhile::ApprovalWithdrawn => Some("AwaitingApproval"),
        Meanwhile::CeilingLowered => Some("QuoteExceedsCeiling"),
        Meanwhile::Unreadable => Some("ProviderUnavailable"),
        Meanwhile::Deleted => None,
    };
    if let Some(shown) = shown {
        env.wait_for_reason("web", shown).await;
    }
    assert_eq!((env.posts(), env.executed()), (0, 0));
    assert_eq!(env.records().await.len(), 1);
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_object_that_no_longer_wants_it_at_the_second_look_withdraws_the_claim() {
    let rows = [
        Meanwhile::Suspended,
        Meanwhile::Deleted,
        Meanwhile::Recreated,
        Meanwhile::ApprovalWithdrawn,
        Meanwhile::CeilingLowered,
        Meanwhile::Unreadable,
    ];
    each_row(rows.map(|what| (format!("{what:?}"), between_claim_and_second_look(what)))).await;
}

async fn an_outcome_that_cannot_be_written_at_first(action: Action, times: usize) {
    let proxied = ProxiedEnv::new("outcome").await;
    let env = &proxied.env;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            job_duration: Duration::from_secs(1),
            ..RestoreBehaviour::default()
        });
    });
    proxied.proxy.rule(
        Rule::on("PUT", is_outcome)
            .named("the outcome")
            .times(times)
            .action(action),
    );
    env.create(env.approved("web")).await;
    let _operator = env.operator(&[]);
    env.wait_for_reason("web", "Restored").await;
    let records = env.records().await;
    assert_eq!(
        at(&records[0], "status.evidence"),
        "Job",
        "the job id was lost on the way"
    );
    assert_eq!((records.len(), env.posts(), env.executed()), (1, 1, 1));
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_is_recorded_however_often_the_write_fails() {
    let refused = |code| status(code, "Nope", "as the test wants");
    let rows = [
        ("500", Action::Respond(500, refused(500)), 4),
        ("409", Action::Respond(409, refused(409)), 3),
        ("cut", Action::CutBefore, 3),
        ("done and cut", Action::ForwardThenCut, 1),
        ("done and 409", Action::ForwardThenRespond(409, refused(409)), 1),
    ];
    each_row(rows.map(|(name, action, times)| {
        (
            name.to_owned(),
            an_outcome_that_cannot_be_written_at_first(action, times),
        )
    }))
    .await;
}

/// What befalls an object while the operator's watches show nothing of it.
#[derive(Debug, Clone, Copy)]
enum Unseen {
    Approved,
    ApprovedAndWithdrawn,
    Suspended,
    Deleted,
    Recreated,
}

async fn behind_frozen_watches(what: Unseen) {
    let proxied = ProxiedEnv::new("stale").await;
    let env = &proxied.env;
    let approval = env.approved("web")["spec"]["approval"].clone();
    env.create(env.preview("web")).await;
    let _operator = env.operator(&[]);
    env.wait_for_reason("web", "AwaitingApproval").await;
    proxied.proxy.freeze_watches(true);
    let patch = |spec: Value| env.patch("web", json!({"spec": spec}));
    match what {
        Unseen::Approved => {
            patch(json!({"approval": approval})).await.unwrap();
            // Found by the next read at an interval, without the watch.
            let claimed = |object: &Value| at(object, "status.operation.name").is_string();
            env.wait("web", "a claim", claimed).await;
        }
        Unseen::ApprovedAndWithdrawn => {
            patch(json!({"approval": approval})).await.unwrap();
            patch(json!({"approval": null})).await.unwrap();
        }
        Unseen::Suspended => {
            patch(json!({"suspend": true})).await.unwrap();
            patch(json!({"approval": approval})).await.unwrap();
            env.wait_for_reason("web", "Suspended").await;
        }
        Unseen::Deleted => env.delete("web").await,
        Unseen::Recreated => {
            env.delete("web").await;
            env.create(env.approved("web")).await;
            env.wait("web", "seen", |object| !reason(object).is_empty()).await;
        }
    }
    proxied.proxy.freeze_watches(false);
    let bought = match what {
        Unseen::Approved | Unseen::Recreated => {
            env.wait_for_reason("web", "Restored").await;
            1
        }
        Unseen::ApprovedAndWithdrawn => {
            env.wait("web", "generation 3 seen", |object| {
                at(object, "status.observedGeneration") == 3
            })
            .await;
            assert_eq!(reason(&env.restore("web").await), "AwaitingApproval");
            0
        }
        Unseen::Suspended => {
            assert_eq!(reason(&env.restore("web").await), "Suspended");
            0
        }
        Unseen::Deleted => {
            // Another object of the environment shows that the operator has gone on.
            env.create(env.preview("other")).await;
            env.wait_for_reason("other", "AwaitingApproval").await;
            0
        }
    };
    assert_eq!((env.posts(), env.executed()), (bought, bought));
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn decisions_rest_on_fresh_reads_and_not_on_a_stale_watch() {
    let rows = [
        Unseen::Approved,
        Unseen::ApprovedAndWithdrawn,
        Unseen::Suspended,
        Unseen::Deleted,
        Unseen::Recreated,
    ];
    each_row(rows.map(|what| (format!("{what:?}"), behind_frozen_watches(what)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_life_goes_on_where_it_was_when_the_api_server_comes_back() {
    let own = OwnPlane::start(own_control_plane).await;
    let plane = own.0;
    let long_call = ["--paid-timeout=40s"];
    let preview = TestEnv::on(plane, "preview").await;
    preview.create(preview.preview("web")).await;
    let _first = preview.operator(&[]);
    let held = TestEnv::on(plane, "held").await;
    let gate = held.sim.hold(Route::RestoreToPayg, Stage::AfterAct);
    held.create(held.approved("web")).await;
    let _second = held.operator(&long_call);
    let running = TestEnv::on(plane, "running").await;
    running.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    running.create(running.approved("web")).await;
    let third: Operator = running.operator(&[]);
    preview.wait_for_reason("web", "AwaitingApproval").await;
    assert!(gate.held(PATIENCE).await);
    running.wait_for_reason("web", "JobRunning").await;

    tokio::task::spawn_blocking(|| plane.stop_apiserver())
        .await
        .unwrap();
    // The answer reaches a process that cannot write it down yet.
    gate.release();
    assert!(
        held.sim
            .until(PATIENCE, |world| world.count_answered(Route::RestoreToPayg) == 1)
            .await
    );
    let job = running.sim.purchases()[0].job_id.clone();
    running.sim.world(|world| world.finish_job(&job));
    let (head, _) = third.http("/livez");
    assert!(head.contains("200"), "{head}");
    tokio::task::spawn_blocking(|| plane.start_apiserver())
        .await
        .unwrap()
        .unwrap();

    let approval = preview.approved("web")["spec"]["approval"].clone();
    preview
        .patch("web", json!({"spec": {"approval": approval}}))
        .await
        .unwrap();
    for env in [&preview, &held, &running] {
        env.wait_for_reason("web", "Restored").await;
        let records = env.records().await;
        assert_eq!(at(&records[0], "status.evidence"), "Job");
        assert_eq!((records.len(), env.posts(), env.executed()), (1, 1, 1));
        env.check_invariants().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_operator_whose_client_certificate_runs_out_says_that_its_credentials_are_not_accepted() {
    const SAYS: &str = "does not accept the operator's credentials (Unauthorized); \
                        has the client certificate or the token expired?";
    let certified = async |name: &str, lasts: Option<Duration>| {
        let mut env = TestEnv::new(name).await;
        let now = SystemTime::now();
        let until = lasts.map_or(now - Duration::from_secs(1), |lasts| now + lasts);
        env.kubeconfig = env.plane.certificate_kubeconfig(OPERATOR, until).unwrap();
        env
    };
    // Long enough for a busy machine to lead, and then to look at `/readyz` once.
    let soon = Some(Duration::from_secs(30));

    let leads = async {
        let env = certified("runsout", soon).await;
        let election = format!("--operator-namespace={}", env.namespace);
        let operator = env.operator(&["--leader-elect=true", &election]);
        operator.wait_for_line("\"leading\"");
        let (operator, status) = operator.ended().await;
        assert_eq!(status.code(), Some(1));
        let log = operator.log();
        let last = log.last().unwrap();
        assert!(last.contains(SAYS), "{last}");
        assert!(!last.contains("no longer the leader"), "{last}");
        let warned = |line: &&String| line.contains("\"WARN\"") && line.contains(SAYS);
        assert!(log.iter().any(|line| warned(&line)), "{log:?}");
    };
    let alone = async {
        let env = certified("alone", soon).await;
        let operator = env.operator(&[]);
        operator.wait_for_line("\"ready\"");
        let (head, body) = operator.http("/readyz");
        assert!(head.contains("200"), "{head} {body}");
        // A watch is opened again after a minute.
        let line = operator.wait_for_line("a watch failed");
        assert!(line.contains(SAYS) && !line.contains("Status {"), "{line}");
        let (head, body) = operator.http("/readyz");
        let says = "does not accept the operator's credentials";
        assert!(head.contains("503") && body.contains(says), "{head} {body}");
    };
    let begins = async {
        let env = certified("ranout", None).await;
        let (operator, status) = env.operator(&[]).ended().await;
        assert_eq!(status.code(), Some(2));
        let last = operator.log().last().unwrap().clone();
        assert!(last.contains(SAYS), "{last}");
    };
    futures::join!(leads, alone, begins);
}
