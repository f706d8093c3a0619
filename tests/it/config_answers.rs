//! What comes back from a paid call about options, row by row: what is on the wire, what the provider
//! executed, and what is made of it.

mod hostile;
mod legacy;

use std::time::Duration;

use control_plane::{Action, Gate};
use futures::future::join_all;
use hostup_sim::{Answer, Invoice, RateLimitStyle, Route, Sim};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::answers::{
    BROKEN, End, Row, events, limits, only_lost, redirect_rows, refused, row, said_unknown,
    silence_after_the_first_post, status_rows, transport_rows, unclear,
};
use crate::support::proxied_env::{ProxiedEnv, claim, held, is_claim};
use crate::support::{Customer, PATIENCE, TestEnv, at, condition, ready, reason};

const NO_COMMIT: &str = "without saying that it committed the change";
const CHANGE: &str = OPTIONS.change;
const PRICE: &str = OPTIONS.price;

/// What the rows order.
#[derive(Clone, Copy)]
pub struct Goods {
    /// The call that is paid.
    pub paid: Route,
    /// The call that reads it back.
    pub read: Route,
    /// A call of each look at the gates.
    pub gates: Route,
    /// What the messages call it.
    pub word: &'static str,
    pub change: &'static str,
    pub price: &'static str,
    /// An option of it that shows the change.
    pub shown: (&'static str, &'static str),
    pub make: fn(&Customer, &TestEnv) -> Value,
    /// An approval that covers the price too.
    pub dearer: fn() -> Value,
}

pub const OPTIONS: Goods = Goods {
    paid: Route::ConfigCommit,
    read: Route::UpgradeOptions,
    gates: Route::ConfigPreview,
    word: "options",
    change: "bandwidthGb 2048 -> 4096",
    price: "40.00 SEK now, 40.00 SEK/month",
    shown: ("bandwidthGb", "4096"),
    make: |customer, env| customer.config(env, more_bandwidth()),
    dearer: || ceiling("999.00"),
};

fn more_bandwidth() -> Value {
    json!({"bandwidthGb": 4096})
}

fn readable_rows() -> Vec<Row> {
    let bare = r#"{"dryRun":false}"#;
    vec![
        row("whole", true, Answer::normal(), End::Accepted),
        row(
            "extra-members",
            true,
            Answer::normal().set("/success", "true").set("/later", "[1]"),
            End::Accepted,
        ),
        row("bare", true, Answer::json(200, bare), End::Accepted),
        row("bare-202", true, Answer::json(202, bare), End::Accepted),
        row(
            "success-null",
            true,
            Answer::normal().set("/success", "null"),
            End::Accepted,
        ),
        row(
            "no-price",
            true,
            Answer::normal()
                .remove("/priceChange")
                .remove("/actions")
                .remove("/paymentInvoice"),
            End::Accepted,
        ),
        row(
            "odd-invoice",
            true,
            Answer::normal().set("/paymentInvoice", r#"["inv_1",{"id":1}]"#),
            End::Accepted,
        ),
        row("gzip-claimed", true, Answer::normal().gzip_claim(), End::Accepted),
    ]
}

fn unreadable_rows() -> Vec<Row> {
    let dry_run = |text: &str| Answer::normal().set("/dryRun", text);
    let big = format!(r#"{{"dryRun":false,"filler":"{}"}}"#, "x".repeat(5_000_000));
    [
        unclear("dry-run-true", dry_run("true"), NO_COMMIT),
        unclear("dry-run-missing", Answer::normal().remove("/dryRun"), NO_COMMIT),
        unclear("dry-run-null", dry_run("null"), NO_COMMIT),
        unclear("dry-run-word", dry_run("\"false\""), NO_COMMIT),
        only_lost("dry-run-zero", dry_run("0"), NO_COMMIT),
        unclear("false-200", Answer::success_false(200), NO_COMMIT),
        unclear(
            "false-and-committed",
            Answer::normal().set("/success", "false"),
            NO_COMMIT,
        ),
        unclear("empty200", Answer::empty(200), NO_COMMIT),
        only_lost("empty204", Answer::empty(204), NO_COMMIT),
        unclear("broken-json", Answer::broken_json(200), NO_COMMIT),
        unclear("html200", Answer::html(200), NO_COMMIT),
        only_lost("list", Answer::json(200, "[]"), NO_COMMIT),
        only_lost("deep", Answer::deep(200, 10_000), NO_COMMIT),
        unclear(
            "gzip-bytes",
            Answer::raw(200, vec![0x1f, 0x8b, 8, 0, 0, 0]).gzip_claim(),
            NO_COMMIT,
        ),
        unclear("cut", Answer::normal().cut_body_after(20), BROKEN),
        unclear("reset-in-body", Answer::normal().reset_body_after(20), BROKEN),
        unclear("length-short", Answer::normal().content_length(10), NO_COMMIT),
        unclear("length-long", Answer::normal().content_length(100_000), BROKEN),
        unclear("big", Answer::json(200, big), "the answer is too large"),
        // What orders a VM does not order options.
        only_lost(
            "job",
            Answer::json(202, r#"{"operation":{"jobId":"job_1"}}"#),
            NO_COMMIT,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every refusal that the pages of the route and the error catalogue document.
fn documented() -> Vec<(u16, &'static str)> {
    vec![
        (400, "invalid_request"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (403, "account_inactive"),
        (403, "verification_failed"),
        (404, "not_found"),
        (404, "vps_not_found"),
        (409, "vps_not_ready"),
        (409, "existing_invoice_blocking"),
        (409, "pending_orders"),
        (409, "invoice_payment_in_progress"),
    ]
}

fn refused_rows() -> Vec<Row> {
    // What follows a refusal for an open invoice is told with the special ways (config.rs).
    let documented = documented().into_iter();
    let mut rows: Vec<Row> = documented
        .filter(|(_, code)| *code != "existing_invoice_blocking")
        .map(|(status, code)| refused(&format!("r{status}-{}", code.replace('_', "-")), status, code))
        .collect();
    for (status, code) in [(400, "BAD_REQUEST"), (401, "UNAUTHORIZED"), (404, "NOT_FOUND")] {
        let answer = Answer::legacy_error(status, code, "the words of a clerk");
        let end = End::Refused(code, "the words of a clerk");
        rows.push(row(&format!("legacy{status}"), false, answer, end));
    }
    let (known, mixed) = (
        r#"["has_unpaid_invoice"]"#,
        r#"["has_unpaid_invoice","born_yesterday"]"#,
    );
    let blocked = |text: &str| {
        Answer::problem(409, "conflict")
            .detail("not now")
            .set("/blockerReasons", text)
    };
    let end = End::Refused("conflict", "not now [has_unpaid_invoice]");
    rows.push(row("blocked", false, blocked(known), end));
    let no_proof = "which does not prove that nothing was executed";
    rows.extend(unclear("blocked-mixed", blocked(mixed), no_proof));
    rows.push(row(
        "refused-and-executed",
        true,
        Answer::problem(403, "forbidden"),
        End::Lied,
    ));
    rows
}

#[tokio::test]
async fn a_2xx_is_taken_for_a_commit_only_if_it_says_that_it_was_no_dry_run() {
    check(readable_rows().into_iter().chain(unreadable_rows()).collect()).await;
}

#[tokio::test]
async fn a_lost_answer_to_a_commit_is_read_back_or_a_person_is_asked() {
    check(transport_rows()).await;
}

#[tokio::test]
async fn a_status_that_is_not_on_the_list_proves_nothing_of_a_commit() {
    check(status_rows(&[
        (409, "no_such_code"),
        (502, "upstream_cloud_quick_deploy_shape_invalid"),
    ]))
    .await;
}

#[tokio::test]
async fn a_documented_refusal_of_a_commit_is_not_tried_again_while_its_cause_stands() {
    check(refused_rows()).await;
}

/// Where a 409 names the field that cancels the invoice in its way: a pointer, and what stands there.
fn suggestions() -> Vec<(&'static str, &'static str, Value)> {
    let (field, text) = ("cancelExistingInvoice", "Send cancelExistingInvoice: true.");
    vec![
        ("detail", "/detail", json!(text)),
        ("extension", "/extensions/cancelExistingInvoice", json!(true)),
        ("nested", "/extensions/retryWith", json!({field: true})),
        ("listed", "/extensions/recovery", json!([{field: true}])),
        (
            "deep",
            "/extensions/recovery",
            json!([{"steps": [{"body": {field: true}}]}]),
        ),
        ("named", "/extensions/suggestions", json!([field])),
        ("told", "/extensions/hint", json!({"text": text})),
        ("extensions-list", "/extensions", json!([{field: true}])),
        ("top", "/cancelExistingInvoice", json!(true)),
        ("top-nested", "/suggestion", json!({"with": {field: true}})),
        ("top-listed", "/suggestions", json!([{"field": field}])),
        ("message", "/message", json!(text)),
    ]
}

#[tokio::test]
async fn a_suggestion_to_cancel_the_open_invoice_is_understood_wherever_hostup_puts_it() {
    let env = TestEnv::new("suggested").await;
    env.sim.world(|world| world.config.suggest_cancelling = false);
    let _operator = env.operator_for_many(&[]);
    let suggested = suggestions()
        .into_iter()
        .map(|(name, place, value)| (name, place, value, true));
    // What says no is no suggestion, and neither is silence.
    let others = [
        ("no", "/extensions/cancelExistingInvoice", json!(false), false),
        (
            "null",
            "/extensions/retryWith",
            json!({"cancelExistingInvoice": null}),
            false,
        ),
        ("silent", "/extensions/more", json!({"id": 1}), false),
    ];
    let rows = suggested.chain(others).map(|(name, place, value, suggests)| {
        let env = &env;
        async move {
            let customer = env.customer(name).await;
            let invoice = Invoice::open(&format!("inv_{name}"), "199");
            env.sim
                .world(|world| world.vps_mut(&customer.vps).unwrap().blocking_invoice = Some(invoice));
            let answer = Answer::normal().set(place, &value.to_string());
            env.sim.inject(customer.fault(Route::ConfigCommit).answer(answer));
            let mut object = customer.config(env, more_bandwidth());
            object["spec"]["cancelExistingInvoice"] = json!(true);
            env.create(object).await;
            if !suggests {
                env.config_comes_to(name, "GatesClosed").await;
                return;
            }
            let object = env.config_comes_to(name, "AwaitingApproval").await;
            let message = ready(&object)["message"].as_str().unwrap();
            let asked = format!("cancelling invoice inv_{name}");
            assert!(message.contains(&asked), "{name}: {message}");
            env.follow(&object, "To approve:").await;
            env.config_comes_to(name, "InSync").await;
            assert_eq!(env.executed_of(&customer), 1, "{name}");
        }
    });
    join_all(rows).await;
    let cancelled = env.sim.world(|world| world.cancelled_invoices().len());
    assert_eq!(cancelled, suggestions().len());
    assert_eq!(env.posts(), 2 * suggestions().len() + 3);
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

#[tokio::test]
async fn a_redirect_of_a_commit_is_never_followed() {
    let foreign = Sim::start();
    check(redirect_rows(&foreign)).await;
    assert_eq!(foreign.world(|world| world.connections().len()), 0);
}

#[tokio::test]
async fn a_commit_that_was_taken_and_never_shows_is_asked_about_and_not_sent_again() {
    let env = TestEnv::new("untold").await;
    let _operator = env.operator_for_many(&[]);
    let invoice = r#"{"id":"inv_1","amount":40,"currencyCode":"SEK","dueAt":"2026-12-01"}"#;
    let taken = env.customer("taken").await;
    let billed = env.customer("billed").await;
    let answers = [
        (&taken, Answer::normal()),
        (&billed, Answer::normal().set("/paymentInvoice", invoice)),
    ];
    for (customer, answer) in answers {
        let fault = customer.fault(Route::ConfigCommit).acted(false);
        env.sim.inject(fault.answer(answer));
        env.create(customer.config(&env, more_bandwidth())).await;
    }
    let object = env.config_comes_to("taken", "NotConverged").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    let record = &env.config_records_of("taken").await[0];
    assert_eq!(at(record, "status.state"), "Unknown");
    assert_eq!(at(record, "status.evidence"), "NotConverged");
    question(
        record,
        &object,
        &format!("HostUp took the change, but HostUp does not show {CHANGE}"),
        &format!("{CHANGE} was ordered for {PRICE}"),
    );
    let object = env.config_comes_to("billed", "AwaitingPayment").await;
    let message = ready(&object)["message"].as_str().unwrap();
    let invoice = "Pay invoice inv_1 of 40.00 SEK (due 2026-12-01) in HostUp's panel";
    assert!(message.contains(invoice), "{message}");
    assert_eq!(at(&object, "status.invoice.id"), "inv_1");
    for (customer, wanted) in [(&taken, "NotConverged"), (&billed, "AwaitingPayment")] {
        sends_nothing_more(&env, customer, wanted, 1).await;
        assert_eq!(env.executed_of(customer), 0, "{}", customer.name);
    }
    // What comes late is taken all the same.
    env.sim.world(|world| {
        world.set_option(&taken.vps, "bandwidthGb", 4096);
        world.set_option(&billed.vps, "bandwidthGb", 4096);
    });
    for name in ["taken", "billed"] {
        env.config_comes_to(name, "InSync").await;
        let record = &env.config_records_of(name).await[0];
        assert_eq!(at(record, "status.state"), "Succeeded", "{name}");
        assert_eq!(at(record, "status.evidence"), "ReadBack", "{name}");
    }
    assert_eq!(env.posts(), 2);
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

#[tokio::test]
async fn a_call_that_found_no_connection_is_not_sent_and_a_second_attempt_follows_later() {
    futures::join!(
        finds_no_connection(
            "commit",
            &[],
            |customer, env| customer.config(env, more_bandwidth()),
            1
        ),
        finds_no_connection("estimate", &["--enable-legacy-upgrade"], Customer::legacy, 2),
    );
}

/// The first call of the object finds no connection; so many calls then make it.
async fn finds_no_connection(
    name: &str,
    args: &[&str],
    make: impl Fn(&Customer, &TestEnv) -> Value,
    calls: usize,
) {
    let proxied = ProxiedEnv::new(name).await;
    let ProxiedEnv { env, proxy } = &proxied;
    let gate = Gate::new();
    proxy.rule(claim(Action::HoldBefore(gate.clone())));
    let _operator = env.operator_for_many(args);
    let customer = env.customer("web").await;
    env.create(make(&customer, env)).await;
    held(&gate).await;
    // All reads are done; only the POST is left.
    env.sim.go_down();
    gate.release();
    proxied.seen(1, is_claim).await;
    let claimed = proxy.requests().into_iter().find(is_claim).unwrap();
    let name = claimed.json().unwrap()["metadata"]["name"].clone();
    let name = name.as_str().unwrap();
    let there = |record: Option<&kube::api::DynamicObject>| record.is_some();
    let made = kube::runtime::wait::await_condition(env.operations(), name, there);
    tokio::time::timeout(PATIENCE, made).await.unwrap().unwrap();
    let record = env
        .wait_for_record(name, "NotSent", |record| at(record, "status.state") == "NotSent")
        .await;
    assert_eq!(
        at(&record, "status.message"),
        "no connection could be made: HostUp refuses it; check the network, the firewalls and --hostup-url"
    );
    assert_eq!(env.posts(), 0);
    let object = env
        .wait_config("web", "the announcement of another attempt", |object| {
            // Not before the test looks, for the announcement passes.
            env.sim.come_up();
            let message = ready(object)["message"].as_str().unwrap_or_default();
            message.contains("the last attempt failed: no connection could be made")
        })
        .await;
    assert_eq!(reason(&object), "ProviderUnavailable");
    assert_eq!(condition(&object, "Reconciling")["status"], "True");
    env.config_comes_to("web", "InSync").await;
    let records = env.config_records_of("web").await;
    let states: Vec<_> = records.iter().map(|record| at(record, "status.state")).collect();
    assert_eq!(states[0], "NotSent");
    assert_eq!(states[1..], vec!["Succeeded"; calls]);
    let waited = time(&records[1], "spec.claim.madeAt").duration_since(time(&record, "status.quietSince"));
    assert!(waited.as_secs() >= 30, "{waited}");
    assert_eq!((env.posts(), env.executed()), (calls, 1));
    proxied.check().await;
}

#[tokio::test]
async fn after_a_429_to_a_commit_no_call_with_that_key_leaves_before_its_time() {
    let env = TestEnv::new("optlimited").await;
    let _operator = env.operator_for_many(&[]);
    let wait = Duration::from_secs(5);
    let commit = |customer: &Customer, answer: Answer| {
        let once = customer.fault(Route::ConfigCommit).acted(false);
        env.sim.inject(once.answer(answer));
        customer.config(&env, more_bandwidth())
    };
    let checks = limits().into_iter().map(|(name, answer, code)| {
        let (env, commit) = (&env, &commit);
        async move {
            let customer = env.customer(name).await;
            env.create(commit(&customer, answer)).await;
            let object = env.config_comes_to(name, "RateLimited").await;
            assert_eq!(condition(&object, "Reconciling")["status"], "True", "{name}");
            let record = &env.config_records_of(name).await[0];
            assert_eq!(at(record, "status.state"), "Rejected", "{name}");
            assert_eq!(at(record, "status.code"), code, "{name}");
            // With another generation there is no other wait than the one that was asked for.
            env.patch_config(name, ceiling("41.00")).await;
            env.config_comes_to(name, "InSync").await;
            let silent = silence_after_the_first_post(env, &customer).unwrap();
            assert!(silent >= wait, "{name}: a call left after {silent:?}");
            assert_eq!(env.posts_of(&customer).len(), 2, "{name}");
            assert_eq!(env.executed_of(&customer), 1, "{name}");
        }
    });
    // A documented limit that names no time.
    let styles = [
        ("bare-exceeded", RateLimitStyle::Exceeded),
        ("bare-limited", RateLimitStyle::Limited),
    ];
    let unnamed = styles.map(|(name, style)| {
        let (env, commit) = (&env, &commit);
        async move {
            let customer = env.customer(name).await;
            env.create(commit(&customer, Answer::rate_limited(style))).await;
            env.config_comes_to(name, "RateLimited").await;
            let record = &env.config_records_of(name).await[0];
            assert_eq!(at(record, "status.state"), "Rejected", "{name}");
            let asked = time(record, "status.notBefore").duration_since(time(record, "status.quietSince"));
            assert_eq!(asked.as_secs(), 30, "{name}");
            customer
        }
    });
    // These prove nothing, and hold the key all the same.
    let undocumented = [
        ("page", Answer::html(429).retry_after("5"), 5),
        ("bare-legacy", Answer::rate_limited(RateLimitStyle::Legacy), 30),
    ];
    let undocumented = undocumented.map(|(name, answer, seconds)| {
        let (env, commit) = (&env, &commit);
        async move {
            let customer = env.customer(name).await;
            env.create(commit(&customer, answer)).await;
            env.config_comes_to(name, "OutcomeUnknown").await;
            let silent = silence_after_the_first_post(env, &customer).unwrap();
            assert!(
                silent >= Duration::from_secs(seconds),
                "{name}: a call left after {silent:?}"
            );
            assert_eq!(env.posts_of(&customer).len(), 1, "{name}");
        }
    });
    let (_, unnamed, _) = futures::join!(join_all(checks), join_all(unnamed), join_all(undocumented));
    for customer in unnamed {
        let silent = silence_after_the_first_post(&env, &customer);
        assert!(
            silent.is_none_or(|silent| silent >= Duration::from_secs(30)),
            "{}: a call left after {silent:?}",
            customer.name
        );
    }
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

/// Every row as a customer of one provider who orders options, driven by one operator.
async fn check(rows: Vec<Row>) {
    check_of(&OPTIONS, rows).await;
}

/// The same for other goods.
pub async fn check_of(goods: &Goods, rows: Vec<Row>) {
    let env = TestEnv::new("optanswers").await;
    let operator = env.operator_for_many(&[]);
    let checks = rows.iter().map(|row| async {
        let customer = env.customer(&row.name).await;
        let fault = customer.fault(goods.paid);
        env.sim.inject(fault.acted(row.acted).answer(row.answer.clone()));
        env.create((goods.make)(&customer, &env)).await;
        match &row.end {
            End::Accepted => in_sync(&env, &customer, goods).await,
            End::Unclear(says) => {
                if row.acted {
                    in_sync(&env, &customer, goods).await;
                } else {
                    asks(&env, &customer, goods).await;
                }
                said_unknown(&operator, &env.config_records_of(&row.name).await[0], says);
            }
            End::Refused(code, says) => {
                refuses(&env, &customer, (code, says), (goods.gates, 1)).await;
            }
            End::Lied => sees_what_was_denied(&env, &customer).await,
        }
        assert_eq!(env.executed_of(&customer), usize::from(row.acted), "{}", row.name);
        assert_eq!(env.posts_of(&customer).len(), 1, "{}", row.name);
    });
    join_all(checks).await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    assert_eq!(env.posts(), rows.len());
    let elsewhere = env.sim.requests_on(Route::Unknown);
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let again = |request: &hostup_sim::RequestRecord| request.query.as_deref() == Some("again=yes");
    assert!(!env.sim.requests().iter().any(again));
    env.check_invariants().await;
}

/// The VPS has what was ordered, by one record that was read back, and nobody was asked.
async fn in_sync(env: &TestEnv, customer: &Customer, goods: &Goods) {
    let name = &customer.name;
    let object = env.config_comes_to(name, "InSync").await;
    assert_eq!(ready(&object)["status"], "True", "{name}");
    assert!(condition(&object, "Stalled").is_null(), "{name}");
    let message = format!("{} has the {} of the spec", customer.vps, goods.word);
    assert_eq!(ready(&object)["message"], message, "{name}");
    let (key, value) = goods.shown;
    assert_eq!(at(&object, "status.current")[key], value, "{name}");
    assert_eq!(at(&object, "status.operation.state"), "Succeeded", "{name}");
    assert_eq!(condition(&object, "Submitted")["status"], "True", "{name}");
    let records = env.config_records_of(name).await;
    assert_eq!(records.len(), 1, "{name}");
    assert_eq!(at(&records[0], "status.state"), "Succeeded", "{name}");
    assert_eq!(at(&records[0], "status.evidence"), "ReadBack", "{name}");
    assert_eq!(
        at(&records[0], "status.message"),
        &format!("HostUp shows {}", goods.change),
        "{name}"
    );
    assert_eq!(events(env, name, "OutcomeUnknown").await, 0, "{name}");
}

/// A person is asked, with all that is needed for an answer, and nothing is sent again.
async fn asks(env: &TestEnv, customer: &Customer, goods: &Goods) {
    let name = &customer.name;
    let object = env.config_comes_to(name, "OutcomeUnknown").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True", "{name}");
    assert!(condition(&object, "Reconciling").is_null(), "{name}");
    assert_eq!(condition(&object, "Submitted")["status"], "Unknown", "{name}");
    let record = &env.config_records_of(name).await[0];
    assert_eq!(at(record, "status.state"), "Unknown", "{name}");
    assert_eq!(at(record, "status.evidence"), "NoneFound", "{name}");
    let (why, what) = (
        format!("HostUp does not show {}", goods.change),
        format!("{} was ordered for {}", goods.change, goods.price),
    );
    question(record, &object, &why, &what);
    // It is looked for further on, and nothing else.
    env.wait_for_reads(customer, goods.read, 1).await;
    sends_nothing_under(env, customer, "OutcomeUnknown", 1, (goods.dearer)()).await;
    assert_eq!(events(env, name, "OutcomeUnknown").await, 1, "{name}");
}

/// The message names the record, what may have been executed for which price and when, and a command for
/// each answer.
fn question(record: &Value, object: &Value, why: &str, what: &str) {
    let id = at(record, "metadata.name").as_str().unwrap();
    let answer = |answer: &str| {
        format!(
            "kubectl patch vpsoperation {id} --type=merge -p '{{\"spec\":{{\"resolution\":{{\"answer\":\"{answer}\"}}}}}}'"
        )
    };
    let made_at = time(record, "spec.claim.madeAt");
    let message = ready(object)["message"].as_str().unwrap();
    for part in [
        why.to_owned(),
        format!("VpsOperation {id}"),
        format!("{what} at {made_at:.0}"),
        answer("NotExecuted"),
        answer("Adopt"),
        answer("Abandon"),
    ] {
        assert!(message.contains(&part), "no {part:?} in {message}");
    }
}

/// Another ceiling is decided upon anew, and changes nothing: so many records, and no further call.
async fn sends_nothing_more(env: &TestEnv, customer: &Customer, wanted: &str, records: usize) {
    sends_nothing_under(env, customer, wanted, records, ceiling("999.00")).await;
}

async fn sends_nothing_under(
    env: &TestEnv,
    customer: &Customer,
    wanted: &str,
    records: usize,
    dearer: Value,
) {
    let name = &customer.name;
    let sent = env.posts_of(customer).len();
    env.patch_config(name, dearer).await;
    env.config_comes_to_anew(name, wanted).await;
    assert_eq!(env.config_records_of(name).await.len(), records, "{name}");
    assert_eq!(env.posts_of(customer).len(), sent, "{name}");
}

/// Stalled with the provider's words, through several reads of the same gates.
async fn refuses(
    env: &TestEnv,
    customer: &Customer,
    (code, says): (&str, &str),
    (route, records): (Route, usize),
) {
    let name = &customer.name;
    let object = env.config_comes_to(name, "Rejected").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True", "{name}");
    assert_eq!(condition(&object, "Submitted")["status"], "False", "{name}");
    let message = ready(&object)["message"].as_str().unwrap();
    let again = "once the order, the API key, a gate or the price changes";
    for part in ["HostUp refused (", says, code, "request ", again] {
        assert!(message.contains(part), "{name}: no {part:?} in {message}");
    }
    env.wait_for_reads(customer, route, 3).await;
    let ledger = env.config_records_of(name).await;
    assert_eq!(ledger.len(), records, "{name}");
    let record = &ledger[records - 1];
    assert_eq!(at(record, "status.state"), "Rejected", "{name}");
    assert_eq!(at(record, "status.code"), code, "{name}");
    assert_eq!(at(&object, "status.operation.state"), "Rejected", "{name}");
    let invoice = !at(&object, "status.invoice").is_null();
    assert_eq!(invoice, code == "existing_invoice_blocking", "{name}");
}

/// The refusal stands in the ledger; what the provider did all the same is seen, and not ordered again.
async fn sees_what_was_denied(env: &TestEnv, customer: &Customer) {
    let name = &customer.name;
    env.config_comes_to(name, "InSync").await;
    let records = env.config_records_of(name).await;
    assert_eq!(records.len(), 1, "{name}");
    assert_eq!(at(&records[0], "status.state"), "Rejected", "{name}");
}

fn ceiling(due_now: &str) -> Value {
    json!({"approval": {"maxPrice": {"dueNow": due_now}}})
}

fn time(record: &Value, path: &str) -> Timestamp {
    at(record, path).as_str().unwrap().parse().unwrap()
}
