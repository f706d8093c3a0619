//! What comes back from a paid POST, row by row: what is on the wire, what the provider executed, and
//! what is made of it.

use std::time::Duration;

use control_plane::{Action, Gate, Request, Rule};
use futures::future::join_all;
use hostup_sim::{ActionGate, Answer, RateLimitStyle, Route, Sim};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Customer, Operator, PATIENCE, TestEnv, at, condition, ready, reason};

/// How a row ends.
#[derive(Clone)]
pub enum End {
    /// Taken, and followed to what was bought.
    Accepted,
    /// Nobody knows what was done; the log says this of the answer.
    Unclear(&'static str),
    /// Refused with this code, for this reason.
    Refused(&'static str, &'static str),
    /// Refused, and yet executed: what was bought is found before a second claim.
    Lied,
}

pub struct Row {
    pub name: String,
    pub acted: bool,
    pub answer: Answer,
    pub end: End,
}

pub fn row(name: &str, acted: bool, answer: Answer, end: End) -> Row {
    Row {
        name: name.to_owned(),
        acted,
        answer,
        end,
    }
}

/// An answer that proves nothing, once after a purchase and once without.
pub fn unclear(name: &str, answer: Answer, says: &'static str) -> Vec<Row> {
    vec![
        row(&format!("{name}-acted"), true, answer.clone(), End::Unclear(says)),
        row(&format!("{name}-lost"), false, answer, End::Unclear(says)),
    ]
}

/// The same row, only without a purchase.
pub fn only_lost(name: &str, answer: Answer, says: &'static str) -> Vec<Row> {
    vec![row(name, false, answer, End::Unclear(says))]
}

pub fn refused(name: &str, status: u16, code: &'static str) -> Row {
    let answer = Answer::problem(status, code).detail("the words of a clerk");
    row(name, false, answer, End::Refused(code, "the words of a clerk"))
}

const NO_JOB: &str = "without a usable job id";
pub const NO_PROOF: &str = "which does not prove that nothing was executed";
pub const BROKEN: &str = "the connection broke before the answer was complete";
pub const TIMEOUT: &str = "no complete answer within the time-out";

fn accepted_rows() -> Vec<Row> {
    let flat = r#"{"operation":{"status":"queued","jobId":"job_made-up","pollUrl":"/api/jobs/job_made-up"}}"#;
    vec![
        row("a202", true, Answer::normal(), End::Accepted),
        row(
            "extra-members",
            true,
            Answer::normal().set("/success", "true").set("/later", "[1]"),
            End::Accepted,
        ),
        row(
            "status-null",
            true,
            Answer::normal().set("/operation/status", "null"),
            End::Accepted,
        ),
        row("gzip-claimed", true, Answer::normal().gzip_claim(), End::Accepted),
        // A job that nobody knows: found by its token all the same.
        row("a200", true, Answer::json(200, flat), End::Accepted),
    ]
}

pub fn unreadable_rows() -> Vec<Row> {
    let id = |text: &str| Answer::normal().set("/operation/jobId", text);
    let long = format!("\"{}\"", "x".repeat(10_000));
    let big = format!(
        r#"{{"operation":{{"jobId":"job_1","status":"queued"}},"filler":"{}"}}"#,
        "x".repeat(5_000_000)
    );
    [
        unclear("id-missing", Answer::normal().remove("/operation/jobId"), NO_JOB),
        unclear("id-number", id("123"), NO_JOB),
        only_lost("id-null", id("null"), NO_JOB),
        only_lost("id-empty", id("\"\""), NO_JOB),
        unclear("id-long", id(&long), NO_JOB),
        only_lost("id-newline", id(r#""job_1\nx""#), NO_JOB),
        unclear("id-dots", id(r#""../../v2/vps""#), NO_JOB),
        unclear("success-false", Answer::success_false(200), NO_JOB),
        unclear("false-with-id", Answer::normal().set("/success", "false"), NO_JOB),
        unclear("empty202", Answer::empty(202), NO_JOB),
        only_lost("empty204", Answer::empty(204), NO_JOB),
        unclear("broken-json", Answer::broken_json(202), NO_JOB),
        unclear("html200", Answer::html(200), NO_JOB),
        only_lost("deep", Answer::deep(202, 10_000), NO_JOB),
        unclear(
            "gzip-bytes",
            Answer::raw(202, vec![0x1f, 0x8b, 8, 0, 0, 0]).gzip_claim(),
            NO_JOB,
        ),
        unclear("cut", Answer::normal().cut_body_after(20), BROKEN),
        unclear("reset-in-body", Answer::normal().reset_body_after(20), BROKEN),
        unclear("length-short", Answer::normal().content_length(10), NO_JOB),
        unclear("length-long", Answer::normal().content_length(100_000), BROKEN),
        unclear("big", Answer::json(202, big), "the answer is too large"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub fn transport_rows() -> Vec<Row> {
    [
        unclear("reset", Answer::reset(), BROKEN),
        unclear("fin", Answer::close(), BROKEN),
        only_lost("no-http", Answer::bytes("SSH-2.0-OpenSSH_9.6\r\n"), BROKEN),
        unclear("silence", Answer::silence(), TIMEOUT),
        only_lost("head-only", Answer::normal().head_then_silence(), TIMEOUT),
        unclear("drip", Answer::normal().drip(Duration::from_millis(200)), TIMEOUT),
        only_lost(
            "drip-head",
            Answer::normal().drip_from_start(Duration::from_millis(100)),
            TIMEOUT,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Statuses that prove nothing of any paid call, beside these of one call.
pub fn status_rows(of_this_call: &[(u16, &str)]) -> Vec<Row> {
    let mut rows = Vec::new();
    let of_all = [
        (400, "something_new"),
        (401, "token_expired"),
        (403, "not_on_the_list"),
        (404, "gone"),
        (408, "request_timeout"),
        (409, "conflict"),
        (418, "teapot"),
        (422, "invalid_request"),
        (500, "internal_error"),
        (502, "upstream_renewal_regeneration_failed"),
        (503, "service_unavailable"),
        (504, "upstream_timeout"),
    ];
    for (status, code) in of_all.iter().chain(of_this_call) {
        let name = format!("p{status}-{}", code.replace('_', "-"));
        rows.extend(unclear(&name, Answer::problem(*status, code), NO_PROOF));
    }
    for status in [400, 401, 403, 404, 409] {
        rows.extend(only_lost(
            &format!("empty{status}"),
            Answer::empty(status),
            NO_PROOF,
        ));
        rows.extend(only_lost(
            &format!("html{status}"),
            Answer::html(status),
            NO_PROOF,
        ));
    }
    for status in [500, 502, 503, 504] {
        rows.extend(unclear(
            &format!("empty{status}"),
            Answer::empty(status),
            NO_PROOF,
        ));
        rows.extend(unclear(&format!("html{status}"), Answer::html(status), NO_PROOF));
    }
    let lies = Answer::problem(409, "forbidden").set("/status", "403");
    rows.extend(unclear("body-of-another-status", lies, NO_PROOF));
    let legacy = Answer::legacy_error(403, "FORBIDDEN", "m");
    rows.extend(only_lost("legacy403", legacy, NO_PROOF));
    rows
}

fn refused_rows() -> Vec<Row> {
    let blocked = |status, code: &str| Answer::problem(status, code).detail("no cloud for you");
    let mut rows = vec![
        refused("r400", 400, "invalid_request"),
        refused("r401", 401, "unauthorized"),
        refused("r403", 403, "forbidden"),
        refused("r403-inactive", 403, "account_inactive"),
        refused("r403-verification", 403, "verification_failed"),
        refused("r403-blocker-code", 403, "no_cloud_access"),
        refused("r403-cloud-storage", 403, "cloud_storage_limit_exceeded"),
        refused("r404", 404, "not_found"),
        refused("r404-vps", 404, "vps_not_found"),
        refused("r404-backup", 404, "backup_not_found"),
        refused("r409-not-ready", 409, "vps_not_ready"),
        refused("r409-blocker-code", 409, "has_unpaid_invoice"),
    ];
    for (name, status) in [("blocked403", 403), ("blocked409", 409)] {
        let code = if status == 403 {
            "cloud_not_available"
        } else {
            "conflict"
        };
        let known = r#"["not_verified","no_card_on_file"]"#;
        let mixed = r#"["not_verified","born_yesterday"]"#;
        let at_top = blocked(status, code).set("/blockerReasons", known);
        let below = blocked(status, code).extension("blockerReasons", known);
        let says = "no cloud for you [not_verified, no_card_on_file]";
        rows.push(row(
            &format!("{name}-top"),
            false,
            at_top,
            End::Refused(code, says),
        ));
        rows.push(row(
            &format!("{name}-below"),
            false,
            below,
            End::Refused(code, says),
        ));
        let at_top = blocked(status, code).set("/blockerReasons", mixed);
        let below = blocked(status, code).extension("blockerReasons", mixed);
        let split = blocked(status, code)
            .set("/blockerReasons", r#"["not_verified"]"#)
            .extension("blockerReasons", r#"["born_yesterday"]"#);
        rows.extend(unclear(&format!("{name}-mixed-top"), at_top, NO_PROOF));
        rows.extend(only_lost(&format!("{name}-mixed-below"), below, NO_PROOF));
        rows.extend(only_lost(&format!("{name}-split"), split, NO_PROOF));
    }
    for (status, code) in [(400, "BAD_REQUEST"), (401, "UNAUTHORIZED"), (404, "NOT_FOUND")] {
        let answer = Answer::legacy_error(status, code, "the words of a clerk");
        let end = End::Refused(code, "the words of a clerk");
        rows.push(row(&format!("legacy{status}"), false, answer, end));
    }
    rows.push(row(
        "refused-and-executed",
        true,
        Answer::problem(403, "forbidden"),
        End::Lied,
    ));
    rows
}

#[tokio::test]
async fn a_2xx_is_taken_for_an_order_only_with_a_usable_job_id() {
    check(accepted_rows().into_iter().chain(unreadable_rows()).collect()).await;
}

#[tokio::test]
async fn a_lost_answer_is_found_by_its_token_or_a_person_is_asked() {
    check(transport_rows()).await;
}

#[tokio::test]
async fn a_status_that_is_not_on_the_list_proves_nothing() {
    check(status_rows(&[
        (409, "existing_invoice_blocking"),
        (409, "pending_orders"),
        (502, "upstream_cloud_quick_deploy_shape_invalid"),
        (503, "restore_intent_failed"),
    ]))
    .await;
}

#[tokio::test]
async fn a_documented_refusal_is_not_tried_again_while_its_cause_stands() {
    check(refused_rows()).await;
}

/// Redirects to another provider, and to another place of the same one.
pub fn redirect_rows(foreign: &Sim) -> Vec<Row> {
    let mut rows = Vec::new();
    for status in [301, 302, 303, 307, 308] {
        let answer = Answer::redirect(status, &format!("{}/api/v2/vps", foreign.url()));
        rows.extend(unclear(&format!("foreign{status}"), answer, NO_PROOF));
        let answer = Answer::redirect(status, "/api/v2/vps?again=yes");
        rows.extend(only_lost(&format!("own{status}"), answer, NO_PROOF));
    }
    rows
}

#[tokio::test]
async fn a_redirect_of_the_purchase_is_never_followed() {
    let foreign = Sim::start();
    check(redirect_rows(&foreign)).await;
    assert_eq!(foreign.world(|world| world.connections().len()), 0);
}

#[tokio::test]
async fn a_refused_connection_is_not_sent_and_a_second_attempt_follows_later() {
    let mut env = TestEnv::new("refused").await;
    let proxy = env.plane.proxy().unwrap();
    env.kubeconfig = proxy.kubeconfig(&env.kubeconfig).unwrap();
    let claim = Gate::new();
    let is_claim = |request: &Request| request.path.ends_with("/vpsoperations");
    proxy.rule(Rule::on("POST", is_claim).action(Action::HoldBefore(claim.clone())));
    let _operator = env.operator_for_many(&[]);
    env.create(env.approved("web")).await;
    claim.wait_held(PATIENCE).unwrap();
    // All reads are done; only the POST is left.
    env.sim.go_down();
    claim.release();
    let claimed = proxy
        .wait_for("the claim", PATIENCE, move |request| {
            request.method == "POST" && is_claim(request)
        })
        .unwrap();
    let name = claimed.json().unwrap()["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let found = |record: Option<&kube::api::DynamicObject>| record.is_some();
    let made = kube::runtime::wait::await_condition(env.operations(), &name, found);
    tokio::time::timeout(PATIENCE, made).await.unwrap().unwrap();
    let record = env
        .wait_for_record(&name, "NotSent", |record| at(record, "status.state") == "NotSent")
        .await;
    assert_eq!(
        at(&record, "status.message"),
        "no connection could be made: HostUp refuses it; check the network, the firewalls and --hostup-url"
    );
    assert_eq!(env.posts(), 0);
    let object = env
        .wait("web", "the announcement of another attempt", |object| {
            // Not before the test looks, for the announcement passes.
            env.sim.come_up();
            let message = ready(object)["message"].as_str().unwrap_or_default();
            message.contains("the last attempt failed: no connection could be made")
        })
        .await;
    assert_eq!(reason(&object), "ProviderUnavailable");
    assert_eq!(condition(&object, "Reconciling")["status"], "True");
    env.wait_for_reason("web", "Restored").await;
    let records = env.records().await;
    let states: Vec<_> = records.iter().map(|record| at(record, "status.state")).collect();
    assert_eq!(states, ["NotSent", "Succeeded"]);
    let ended: Timestamp = at(&record, "status.quietSince")
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let again: Timestamp = at(&records[1], "spec.claim.madeAt")
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(again.duration_since(ended).as_secs() >= 30, "{ended} {again}");
    assert_eq!((env.posts(), env.executed()), (1, 1));
    assert_eq!(proxy.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

#[tokio::test]
async fn after_a_refusal_a_changed_gate_or_secret_allows_another_attempt_when_half_a_minute_has_passed() {
    let env = TestEnv::new("cause").await;
    let operator = env.operator_for_many(&[]);
    let (gate, secret) = (env.customer("gate").await, env.customer("secret").await);
    for customer in [&gate, &secret] {
        let once = customer.fault(Route::RestoreToPayg).acted(false);
        env.sim.inject(once.answer(Answer::problem(409, "vps_not_ready")));
        env.create(customer.restore(&env)).await;
        env.wait_for_reason(&customer.name, "Rejected").await;
    }
    let new_key = format!("{}-new", secret.key);
    env.sim.world(|world| {
        world.vps_mut(&gate.vps).unwrap().can_restore = ActionGate::open_with_code("another");
        world.add_key(secret.account, &new_key);
    });
    env.put_key(&secret.name, &new_key).await;
    // A restart brings no attempt sooner, and reads the Secret anew.
    drop(operator);
    let _operator = env.operator_for_many(&[]);
    join_all([&gate, &secret].map(|customer| async {
        let object = env
            .wait(&customer.name, "the announcement of another attempt", |object| {
                let message = ready(object)["message"].as_str().unwrap_or_default();
                message.contains("the last attempt failed: HostUp refused")
            })
            .await;
        assert_eq!(reason(&object), "ProviderUnavailable", "{}", customer.name);
        env.wait_for_reason(&customer.name, "Restored").await;
        let posts = env.posts_of(customer);
        assert_eq!(posts.len(), 2, "{}", customer.name);
        let between = posts[1].received_at - posts[0].finished_at.unwrap();
        assert!(
            between >= Duration::from_secs(29),
            "{}: {between:?}",
            customer.name
        );
        assert_eq!(env.executed_of(customer), 1, "{}", customer.name);
    }))
    .await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

/// Documented limits that ask for about five seconds, with the code that they are recorded by.
pub fn limits() -> Vec<(&'static str, Answer, &'static str)> {
    let styled = |style| Answer::rate_limited(style);
    let body_only = r#"{"error":"Too Many Requests","message":"m","retryAfter":5}"#;
    vec![
        (
            "exceeded",
            styled(RateLimitStyle::Exceeded).retry_after("5"),
            "rate_limit_exceeded",
        ),
        (
            "limited",
            styled(RateLimitStyle::Limited).retry_after("5"),
            "rate_limited",
        ),
        (
            "fraction",
            styled(RateLimitStyle::Limited).retry_after("4.5"),
            "rate_limited",
        ),
        (
            "legacy",
            styled(RateLimitStyle::Legacy).retry_after("5"),
            "rate_limited",
        ),
        ("legacy-body", Answer::json(429, body_only), "rate_limited"),
    ]
}

#[tokio::test]
async fn after_a_429_no_call_with_that_key_leaves_before_its_time() {
    let env = TestEnv::new("limited").await;
    let _operator = env.operator_for_many(&[]);
    let wait = Duration::from_secs(5);
    let date = (Timestamp::now() + Duration::from_secs(12))
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    let dated = Answer::rate_limited(RateLimitStyle::Exceeded).retry_after(&date);
    let rows = limits()
        .into_iter()
        .chain([("date", dated, "rate_limit_exceeded")]);
    let checks = rows.map(|(name, answer, code)| {
        let env = &env;
        async move {
            let customer = env.customer(name).await;
            let once = customer.fault(Route::RestoreToPayg).acted(false);
            env.sim.inject(once.answer(answer));
            env.create(customer.restore(env)).await;
            let object = env.wait_for_reason(name, "RateLimited").await;
            assert_eq!(condition(&object, "Reconciling")["status"], "True", "{name}");
            let record = &env.records_of(name).await[0];
            assert_eq!(at(record, "status.state"), "Rejected", "{name}");
            assert_eq!(at(record, "status.code"), code, "{name}");
            // With another generation there is no other wait than the one that was asked for.
            let changed = json!({"spec": {"approval": {"maxPrice": {"perHour": "0.90"}}}});
            env.patch(name, changed).await.unwrap();
            env.wait_for_reason(name, "Restored").await;
            let silent = silence_after_the_first_post(env, &customer).unwrap();
            assert!(silent >= wait, "{name}: a call left after {silent:?}");
            assert!(silent < wait * 5, "{name}: no call left for {silent:?}");
            assert_eq!(env.posts_of(&customer).len(), 2, "{name}");
            assert_eq!(env.executed_of(&customer), 1, "{name}");
        }
    });
    let undocumented = async {
        let customer = env.customer("page").await;
        let once = customer.fault(Route::RestoreToPayg).acted(false);
        env.sim.inject(once.answer(Answer::html(429).retry_after("5")));
        env.create(customer.restore(&env)).await;
        env.wait_for_reason("page", "OutcomeUnknown").await;
        let silent = silence_after_the_first_post(&env, &customer).unwrap();
        assert!(silent >= wait, "a call left after {silent:?}");
        assert_eq!(env.posts_of(&customer).len(), 1);
    };
    let unnamed = async {
        let customer = env.customer("unnamed").await;
        let once = customer.fault(Route::RestoreToPayg).acted(false);
        env.sim
            .inject(once.answer(Answer::rate_limited(RateLimitStyle::Exceeded)));
        env.create(customer.restore(&env)).await;
        env.wait_for_reason("unnamed", "RateLimited").await;
        let record = &env.records_of("unnamed").await[0];
        let time = |path: &str| at(record, path).as_str().unwrap().parse::<Timestamp>().unwrap();
        let asked = time("status.notBefore").duration_since(time("status.quietSince"));
        assert_eq!(asked.as_secs(), 30);
        customer
    };
    let (_, (), unnamed) = futures::join!(join_all(checks), undocumented, unnamed);
    // Nothing within half a minute; the tests beside this one may have taken longer.
    let silent = silence_after_the_first_post(&env, &unnamed);
    let half_a_minute = Duration::from_secs(30);
    assert!(
        silent.is_none_or(|silent| silent >= half_a_minute),
        "a call left after {silent:?}"
    );
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

#[tokio::test]
async fn after_a_429_no_other_process_and_no_other_object_buys_with_that_key_before_its_time() {
    let env = TestEnv::new("restart429").await;
    let operator = env.operator_for_many(&[]);
    let customer = env.customer("web").await;
    let once = customer.fault(Route::RestoreToPayg).acted(false);
    let answer = Answer::rate_limited(RateLimitStyle::Exceeded).retry_after("15");
    env.sim.inject(once.answer(answer));
    env.create(customer.restore(&env)).await;
    env.wait_for_reason("web", "RateLimited").await;
    drop(operator);
    let changed = json!({"spec": {"approval": {"maxPrice": {"perHour": "0.90"}}}});
    env.patch("web", changed).await.unwrap();
    let mut other = customer.restore(&env);
    other["metadata"]["name"] = json!("other");
    env.create(other).await;
    let _operator = env.operator_for_many(&[]);
    let held = |name| env.wait_for_reason(name, "RateLimited");
    env.wait_for_list_reads(&customer, 1).await;
    futures::join!(held("web"), held("other"));
    assert_eq!(env.posts(), 1);
    futures::join!(
        env.wait_for_reason("web", "Restored"),
        env.wait_for_reason("other", "Restored")
    );
    let posts = env.posts_of(&customer);
    assert_eq!((posts.len(), env.executed()), (3, 2));
    for later in &posts[1..] {
        let between = later.received_at - posts[0].finished_at.unwrap();
        assert!(between >= Duration::from_secs(15), "{between:?}");
    }
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

#[tokio::test]
async fn a_429_that_proves_nothing_still_holds_the_key_in_every_process() {
    let env = TestEnv::new("page429").await;
    let operator = env.operator_for_many(&[]);
    let customer = env.customer("web").await;
    let once = customer.fault(Route::RestoreToPayg).acted(false);
    env.sim.inject(once.answer(Answer::html(429).retry_after("15")));
    env.create(customer.restore(&env)).await;
    env.wait_for_reason("web", "ConfirmingOutcome").await;
    drop(operator);
    let mut other = customer.restore(&env);
    other["metadata"]["name"] = json!("other");
    env.create(other).await;
    let _operator = env.operator_for_many(&[]);
    env.wait_for_reason("other", "RateLimited").await;
    assert_eq!(env.posts(), 1);
    env.wait_for_reason("other", "Restored").await;
    env.wait_for_reason("web", "OutcomeUnknown").await;
    let posts = env.posts_of(&customer);
    assert_eq!((posts.len(), env.executed()), (2, 1));
    let between = posts[1].received_at - posts[0].finished_at.unwrap();
    assert!(between >= Duration::from_secs(15), "{between:?}");
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

/// From the answer to the first POST to the first byte of the customer's next call.
pub fn silence_after_the_first_post(env: &TestEnv, customer: &Customer) -> Option<Duration> {
    let post = &env.posts_of(customer)[0];
    let requests = env.sim.requests();
    let next = requests
        .iter()
        .find(|request| request.is_from(customer.account) && request.index > post.index);
    Some(next?.first_byte_at - post.finished_at.unwrap())
}

/// Every row as a customer of one provider, driven by one operator.
async fn check(rows: Vec<Row>) {
    let env = TestEnv::new("answers").await;
    let operator = env.operator_for_many(&[]);
    let checks = rows.iter().map(|row| async {
        let customer = env.customer(&row.name).await;
        let fault = customer.fault(Route::RestoreToPayg);
        env.sim.inject(fault.acted(row.acted).answer(row.answer.clone()));
        env.create(customer.restore(&env)).await;
        match &row.end {
            End::Accepted => bought(&env, &customer, &["Job", "VmFound"]).await,
            End::Unclear(says) => {
                if row.acted {
                    bought(&env, &customer, &["VmFound"]).await;
                } else {
                    asks(&env, &customer).await;
                }
                said_unknown(&operator, &env.records_of(&row.name).await[0], says);
            }
            End::Refused(code, says) => refuses(&env, &customer, code, says).await,
            End::Lied => finds_what_was_denied(&env, &customer).await,
        }
        assert_eq!(env.executed_of(&customer), usize::from(row.acted), "{}", row.name);
        assert_eq!(env.posts_of(&customer).len(), 1, "{}", row.name);
    });
    join_all(checks).await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    assert_eq!(env.posts(), rows.len());
    let gets_elsewhere = env.sim.requests_on(Route::Unknown);
    assert!(gets_elsewhere.is_empty(), "{gets_elsewhere:?}");
    assert!(
        !env.sim
            .requests()
            .iter()
            .any(|r| r.query.as_deref() == Some("again=yes"))
    );
    env.check_invariants().await;
}

/// Restored, with one record that succeeded, and nobody was asked.
async fn bought(env: &TestEnv, customer: &Customer, evidence: &[&str]) {
    let name = &customer.name;
    let object = env.wait_for_reason(name, "Restored").await;
    assert_eq!(ready(&object)["status"], "True", "{name}");
    let records = env.records_of(name).await;
    assert_eq!(records.len(), 1, "{name}");
    assert_eq!(at(&records[0], "status.state"), "Succeeded", "{name}");
    let seen = at(&records[0], "status.evidence").as_str().unwrap_or_default();
    assert!(evidence.contains(&seen), "{name}: {seen}");
    let vm = env
        .sim
        .world(|world| world.purchases_of(customer.account)[0].vps_id.clone());
    assert_eq!(at(&object, "status.vm.vpsId").as_str(), vm.as_deref(), "{name}");
    assert_eq!(events(env, name, "OutcomeUnknown").await, 0, "{name}");
}

/// A person is asked, with all that is needed for an answer, and nothing is sent again.
async fn asks(env: &TestEnv, customer: &Customer) {
    let name = &customer.name;
    let object = env.wait_for_reason(name, "OutcomeUnknown").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True", "{name}");
    assert!(condition(&object, "Reconciling").is_null(), "{name}");
    let records = env.records_of(name).await;
    assert_eq!(records.len(), 1, "{name}");
    let record = &records[0];
    assert_eq!(at(record, "status.state"), "Unknown", "{name}");
    assert_eq!(at(record, "status.evidence"), "NoneFound", "{name}");
    let id = at(record, "metadata.name").as_str().unwrap();
    let token = at(record, "spec.expectedVmName")
        .as_str()
        .unwrap()
        .rsplit('-')
        .next()
        .unwrap();
    let made_at: Timestamp = at(record, "spec.claim.madeAt").as_str().unwrap().parse().unwrap();
    let answer = |body: &str| {
        format!(
            "kubectl patch vpsoperation {id} --type=merge -p '{{\"spec\":{{\"resolution\":{{{body}}}}}}}'"
        )
    };
    let message = ready(&object)["message"].as_str().unwrap();
    for part in [
        format!("VpsOperation {id}"),
        format!("token {token}"),
        "0.66 SEK/h".to_owned(),
        format!("{made_at:.0}"),
        "no VM has the token".to_owned(),
        answer("\"answer\":\"NotExecuted\""),
        answer("\"answer\":\"Adopt\",\"vpsId\":\"vps_...\""),
        answer("\"answer\":\"Abandon\""),
    ] {
        assert!(message.contains(&part), "{name}: no {part:?} in {message}");
    }
    // The search goes on, and nothing else.
    env.wait_for_list_reads(customer, 2).await;
    assert_eq!(events(env, name, "OutcomeUnknown").await, 1, "{name}");
    assert_eq!(reason(&env.restore(name).await), "OutcomeUnknown", "{name}");
    assert_eq!(env.records_of(name).await.len(), 1, "{name}");
}

/// The log says why nobody knows what became of this record.
pub fn said_unknown(operator: &Operator, record: &Value, says: &str) {
    let name = at(record, "metadata.name").to_string();
    let who = at(record, "spec.subject.name");
    let lines = operator.log();
    let unknown = lines
        .iter()
        .find(|line| line.contains(&name) && line.contains(r#""from":"Sending","to":"Unknown""#));
    let unknown = unknown.unwrap_or_else(|| panic!("{who}: never Unknown"));
    assert!(unknown.contains(says), "{who}: no {says:?} in {unknown}");
}

/// Stalled with the provider's words, through several reads of the same gates.
async fn refuses(env: &TestEnv, customer: &Customer, code: &str, says: &str) {
    let name = &customer.name;
    let object = env.wait_for_reason(name, "Rejected").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True", "{name}");
    let message = ready(&object)["message"].as_str().unwrap();
    for part in [
        says,
        code,
        "once the order, the API key, a gate or the price changes",
    ] {
        assert!(message.contains(part), "{name}: no {part:?} in {message}");
    }
    env.wait_for_list_reads(customer, 3).await;
    let records = env.records_of(name).await;
    assert_eq!(records.len(), 1, "{name}");
    assert_eq!(at(&records[0], "status.state"), "Rejected", "{name}");
    assert_eq!(at(&records[0], "status.code"), code, "{name}");
    assert_eq!(at(&object, "status.operation.state"), "Rejected", "{name}");
}

async fn finds_what_was_denied(env: &TestEnv, customer: &Customer) {
    let name = &customer.name;
    env.wait_for_reason(name, "AlreadyExecuted").await;
    let records = env.records_of(name).await;
    let told = records
        .iter()
        .map(|record| (at(record, "status.state"), at(record, "status.evidence")));
    let (rejected, found) = (json!("Rejected"), json!("Succeeded"));
    let evidence = json!("FoundBeforeClaim");
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(&rejected, &Value::Null), (&found, &evidence)],
        "{name}"
    );
}

/// How many events tell of this reason.
pub async fn events(env: &TestEnv, name: &str, reason: &str) -> usize {
    use k8s_openapi::api::core::v1::Event;
    let events: kube::Api<Event> = kube::Api::namespaced(env.client.clone(), &env.namespace);
    let about = format!("involvedObject.name={name},reason={reason}");
    let told = events
        .list(&kube::api::ListParams::default().fields(&about))
        .await;
    told.unwrap().items.len()
}
