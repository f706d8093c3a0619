//! The older upgrade route, where nothing can be read back, and whose bodies hold what must not leak.

use std::time::Duration;

use futures::future::join_all;
use hostup_sim::{Answer, IdAs, LEGACY_SECRETS, LegacyBehaviour, RateLimitStyle, Route, Sim};
use serde_json::{Value, json};

use super::{BROKEN, End, Row, ceiling, question, refuses, sends_nothing_more};
use crate::answers::{
    NO_PROOF, TIMEOUT, events, only_lost, refused, row, said_unknown, silence_after_the_first_post, unclear,
};
use crate::support::printable::everything;
use crate::support::{Customer, Operator, TestEnv, at, condition, ready, reason};

const ENABLED: &str = "--enable-legacy-upgrade";
const NO_WORD: &str = "without saying plainly what it did";
const PRICE: &str = "100.00 SEK now, 299.00 SEK/month";

/// Of one call: its route, whether it is acted upon, and what is answered.
type OneAnswer = (Route, bool, Answer);

/// Answers that prove nothing, whichever of the two calls was made.
fn unclear_rows(foreign: &Sim) -> Vec<Row> {
    let set = |pointer: &str, text: &str| Answer::normal().set(pointer, text);
    let big = format!(
        r#"{{"success":true,"data":{{"upgraded":true}},"x":"{}"}}"#,
        "x".repeat(5_000_000)
    );
    let away = |status| Answer::redirect(status, &format!("{}/api/vm/1/upgrade", foreign.url()));
    [
        unclear("success-false", set("/success", "false"), NO_WORD),
        unclear("success-missing", Answer::normal().remove("/success"), NO_WORD),
        only_lost("success-null", set("/success", "null"), NO_WORD),
        only_lost("success-word", set("/success", "\"true\""), NO_WORD),
        unclear("data-false", set("/data/success", "false"), NO_WORD),
        unclear("data-missing", Answer::normal().remove("/data"), NO_WORD),
        only_lost("data-null", set("/data", "null"), NO_WORD),
        only_lost("data-list", set("/data", "[[[]]]"), NO_WORD),
        unclear("upgraded-word", set("/data/upgraded", "\"true\""), NO_WORD),
        unclear("estimate-word", set("/data/estimate", "1"), NO_WORD),
        unclear("false-200", Answer::success_false(200), NO_WORD),
        unclear("empty200", Answer::empty(200), NO_WORD),
        only_lost("empty204", Answer::empty(204), NO_WORD),
        unclear("broken-json", Answer::broken_json(200), NO_WORD),
        unclear("html200", Answer::html(200), NO_WORD),
        only_lost("deep", Answer::deep(200, 10_000), NO_WORD),
        only_lost(
            "deep-draft",
            set("/data/draftId", &("[".repeat(9_000) + &"]".repeat(9_000))),
            NO_WORD,
        ),
        unclear("cut", Answer::normal().cut_body_after(20), BROKEN),
        unclear("length-short", Answer::normal().content_length(10), NO_WORD),
        unclear("big", Answer::json(200, big), "the answer is too large"),
        unclear("reset", Answer::reset(), BROKEN),
        unclear("silence", Answer::silence(), TIMEOUT),
        only_lost("head-only", Answer::normal().head_then_silence(), TIMEOUT),
        unclear("drip", Answer::normal().drip(Duration::from_millis(200)), TIMEOUT),
        unclear("away302", away(302), NO_PROOF),
        unclear("away307", away(307), NO_PROOF),
        unclear("p408", Answer::problem(408, "request_timeout"), NO_PROOF),
        unclear("p409", Answer::problem(409, "conflict"), NO_PROOF),
        unclear("l403", Answer::legacy_error(403, "FORBIDDEN", "m"), NO_PROOF),
        unclear("l409", Answer::legacy_error(409, "CONFLICT", "m"), NO_PROOF),
        only_lost("l400-word", Answer::legacy_error(400, "NOPE", "m"), NO_PROOF),
        only_lost(
            "l400-no-error",
            Answer::legacy_error(400, "BAD_REQUEST", "m").remove("/error"),
            NO_PROOF,
        ),
        only_lost("html404", Answer::html(404), NO_PROOF),
        unclear("l500", Answer::legacy_error(500, "INTERNAL_ERROR", "m"), NO_PROOF),
        unclear(
            "p502",
            Answer::problem(502, "upstream_renewal_regeneration_failed"),
            NO_PROOF,
        ),
        unclear("html504", Answer::html(504), NO_PROOF),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn refused_rows() -> Vec<Row> {
    let mut rows: Vec<Row> = [(400, "BAD_REQUEST"), (401, "UNAUTHORIZED"), (404, "NOT_FOUND")]
        .into_iter()
        .map(|(status, code)| {
            let answer = Answer::legacy_error(status, code, "the words of a clerk");
            let end = End::Refused(code, "the words of a clerk");
            row(&format!("legacy{status}"), false, answer, end)
        })
        .collect();
    let documented = super::documented().into_iter();
    rows.extend(
        documented.map(|(status, code)| refused(&format!("r-{}", code.replace('_', "-")), status, code)),
    );
    rows
}

#[tokio::test]
async fn an_estimate_that_was_executed_is_told_and_never_followed_by_an_order() {
    let set = |pointer: &str, text: &str| Answer::normal().set(pointer, text);
    let says = |name: &str, answer: Answer| {
        let lied = format!("{name}-only-said");
        [
            row(name, true, answer.clone(), End::Accepted),
            // That it says so is enough.
            row(&lied, false, answer, End::Accepted),
        ]
    };
    let rows = [
        says("both", set("/data/upgraded", "true")),
        says("upgraded", set("/data/upgraded", "true").remove("/data/estimate")),
        says("neither", Answer::normal().remove("/data/estimate")),
        says("estimate-false", set("/data/estimate", "false")),
        says("estimate-null", set("/data/estimate", "null")),
        says(
            "bare",
            Answer::json(200, r#"{"success":true,"data":{"orderId":7}}"#),
        ),
    ];
    check_estimates(rows.into_iter().flatten().collect()).await;
}

#[tokio::test]
async fn an_estimate_whose_answer_is_lost_is_asked_about_and_never_made_again() {
    let foreign = Sim::start();
    check_estimates(unclear_rows(&foreign)).await;
    assert_eq!(foreign.world(|world| world.connections().len()), 0);
}

#[tokio::test]
async fn an_upgrade_whose_answer_is_lost_is_asked_about_and_never_ordered_again() {
    let foreign = Sim::start();
    let set = |pointer: &str, text: &str| Answer::normal().set(pointer, text);
    let mut rows = unclear_rows(&foreign);
    for more in [
        unclear("not-upgraded", Answer::normal().remove("/data/upgraded"), NO_WORD),
        unclear("upgraded-false", set("/data/upgraded", "false"), NO_WORD),
        only_lost("upgraded-null", set("/data/upgraded", "null"), NO_WORD),
        unclear(
            "estimated",
            set("/data/estimate", "true").remove("/data/upgraded"),
            NO_WORD,
        ),
    ] {
        rows.extend(more);
    }
    check_upgrades(rows).await;
    assert_eq!(foreign.world(|world| world.connections().len()), 0);
}

#[tokio::test]
async fn an_upgrade_that_says_so_is_ordered_once_and_in_sync() {
    let set = |pointer: &str, text: &str| Answer::normal().set(pointer, text);
    let rows = [
        ("whole", Answer::normal()),
        ("extra", set("/later", "[1]").set("/data/later", "{}")),
        ("both", set("/data/estimate", "true")),
        ("no-raw", Answer::normal().remove("/data/raw")),
        ("deep-raw", set("/data/raw", &deep())),
        ("no-order", Answer::normal().remove("/data/orderId")),
        (
            "odd-order",
            set("/data/orderId", "[1]").set("/data/invoiceId", "{}"),
        ),
        (
            "bare",
            Answer::json(200, r#"{"success":true,"data":{"upgraded":true}}"#),
        ),
    ];
    let rows = rows.into_iter();
    check_upgrades(
        rows.map(|(name, answer)| row(name, true, answer, End::Accepted))
            .collect(),
    )
    .await;
}

fn deep() -> String {
    "[".repeat(10_000) + &"]".repeat(10_000)
}

#[tokio::test]
async fn a_documented_refusal_by_the_older_route_is_not_tried_again_while_its_cause_stands() {
    futures::join!(check_estimates(refused_rows()), check_upgrades(refused_rows()));
}

#[tokio::test]
async fn after_a_429_by_the_older_route_no_call_with_that_key_leaves_before_its_time() {
    let env = TestEnv::new("oldlimited").await;
    let _operator = env.operator_for_many(&[ENABLED]);
    let rows = [
        ("estimate", Route::LegacyEstimate, 0),
        ("upgrade", Route::LegacyUpgrade, 1),
    ];
    join_all(rows.map(|(name, route, before)| {
        let env = &env;
        async move {
            let customer = env.customer(name).await;
            let once = customer.fault(route).acted(false);
            let answer = Answer::rate_limited(RateLimitStyle::Legacy).retry_after("5");
            env.sim.inject(once.answer(answer));
            env.create(customer.legacy(env)).await;
            env.config_comes_to(name, "RateLimited").await;
            let record = &env.config_records_of(name).await[before];
            assert_eq!(at(record, "status.state"), "Rejected", "{name}");
            assert_eq!(at(record, "status.code"), "rate_limited", "{name}");
            env.patch_config(name, ceiling("100.01")).await;
            env.config_comes_to(name, "InSync").await;
            let posts = env.posts_of(&customer);
            assert_eq!((posts.len(), env.executed_of(&customer)), (3, 1), "{name}");
            let (limited, next) = (&posts[before], &posts[before + 1]);
            let silent = next.first_byte_at - limited.finished_at.unwrap();
            assert!(
                silent >= Duration::from_secs(5),
                "{name}: a call left after {silent:?}"
            );
            if before == 0 {
                let silent = silence_after_the_first_post(env, &customer).unwrap();
                assert!(
                    silent >= Duration::from_secs(5),
                    "{name}: a call left after {silent:?}"
                );
            }
        }
    }))
    .await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

#[tokio::test]
async fn no_secret_of_an_older_body_stands_in_any_object_event_log_line_or_metric() {
    let env = TestEnv::new("oldsecrets").await;
    let operator = env.operator_with(
        &[
            ENABLED,
            "--workers=16",
            "--request-timeout=8s",
            "--paid-timeout=9s",
        ],
        &[("RUST_LOG", "debug")],
    );
    let all = LEGACY_SECRETS.join(" ");
    let secret = json!(all).to_string();
    let recipients =
        json!([{"email": LEGACY_SECRETS[3], "password": LEGACY_SECRETS[0], "note": all}]).to_string();
    let (estimate, upgrade) = (Route::LegacyEstimate, Route::LegacyUpgrade);
    let set = |pointer: &str| Answer::normal().set(pointer, &secret);
    let rows: Vec<(&str, Option<OneAnswer>, &str)> = vec![
        ("whole", None, "InSync"),
        (
            "refused-estimate",
            Some((
                estimate,
                false,
                Answer::legacy_error(400, "BAD_REQUEST", "no").set("/details", &recipients),
            )),
            "Rejected",
        ),
        (
            "refused-upgrade",
            Some((
                upgrade,
                false,
                Answer::problem(409, "pending_orders").set("/recipients", &recipients),
            )),
            "Rejected",
        ),
        (
            "no-word",
            Some((upgrade, true, Answer::normal().remove("/success"))),
            "OutcomeUnknown",
        ),
        (
            "no-word-estimate",
            Some((estimate, true, Answer::normal().remove("/success"))),
            "OutcomeUnknown",
        ),
        (
            "plain",
            Some((upgrade, true, Answer::raw(200, all.clone()))),
            "OutcomeUnknown",
        ),
        (
            "error-page",
            Some((upgrade, false, Answer::raw(500, all.clone()))),
            "OutcomeUnknown",
        ),
        (
            "error-code",
            Some((
                estimate,
                false,
                Answer::legacy_error(422, &all, &all).set("/status", &secret),
            )),
            "OutcomeUnknown",
        ),
        (
            "unknown-refusal",
            Some((
                upgrade,
                false,
                Answer::problem(400, "not_on_the_list").detail(&all),
            )),
            "OutcomeUnknown",
        ),
        (
            "cut",
            Some((upgrade, true, Answer::normal().content_length(100_000))),
            "OutcomeUnknown",
        ),
        (
            "message",
            Some((
                upgrade,
                true,
                set("/data/message").set("/data/summary", &recipients),
            )),
            "InSync",
        ),
        (
            "estimate-message",
            Some((
                estimate,
                true,
                set("/data/message").set("/data/raw/draft/currency/sign", &secret),
            )),
            "InSync",
        ),
        (
            "currency",
            Some((estimate, true, set("/data/raw/draft/currency/iso"))),
            "QuoteExceedsCeiling",
        ),
        (
            "total",
            Some((estimate, true, set("/data/total").set("/data/recurring", &secret))),
            "Rejected",
        ),
        ("draft", Some((estimate, true, set("/data/draftId"))), "InSync"),
        (
            "unasked",
            Some((estimate, true, Answer::normal().set("/data/upgraded", "true"))),
            "AlreadyExecuted",
        ),
    ];
    join_all(rows.iter().map(|(name, fault, wanted)| {
        let env = &env;
        async move {
            let customer = env.customer(name).await;
            if let Some((route, acted, answer)) = fault {
                let once = customer.fault(*route).acted(*acted);
                env.sim.inject(once.answer(answer.clone()));
            }
            env.create(customer.legacy(env)).await;
            env.config_comes_to(name, wanted).await;
        }
    }))
    .await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    let log = operator.log();
    let metrics = operator.metrics();
    let debug = |line: &&String| line.contains(r#""level":"DEBUG""#);
    assert!(log.iter().filter(debug).count() > 0, "no line of debugging");
    assert!(metrics.contains("legacy_upgrade"), "{metrics}");
    let mut places: Vec<(&str, String)> = log.into_iter().map(|line| ("the log", line)).collect();
    places.push(("the metrics", metrics));
    let objects = everything(&env).await;
    for kind in ["VpsResourceConfig", "VpsOperation"] {
        let of_kind = objects.iter().filter(|object| object["kind"] == kind).count();
        assert!(of_kind >= rows.len(), "{of_kind} of {kind}");
    }
    assert!(
        objects
            .iter()
            .any(|object| object["reportingController"] == "hostup-operator")
    );
    places.extend(objects.iter().map(|object| ("an object", object.to_string())));
    for (place, text) in &places {
        for secret in LEGACY_SECRETS {
            assert!(!text.contains(secret), "{secret} stands in {place}: {text}");
        }
    }
    env.check_invariants().await;
}

#[tokio::test]
async fn an_order_without_an_estimated_total_or_with_another_id_stays_one_order() {
    let env = TestEnv::new("oldids").await;
    let _operator = env.operator_for_many(&[ENABLED]);
    env.sim.world(|world| {
        world.legacy = LegacyBehaviour {
            order_id_as: IdAs::Text,
            draft_id: false,
            ..LegacyBehaviour::default()
        };
    });
    let customer = env.customer("textid").await;
    env.create(customer.legacy(&env)).await;
    upgraded(&env, &customer).await;
    let posts = env.posts_of(&customer);
    let order: Value = serde_json::from_slice(&posts[1].body).unwrap();
    assert!(order["draftId"].is_null(), "{order}");
    let untold = env.customer("untold").await;
    let once = untold.fault(Route::LegacyEstimate).acted(true);
    env.sim
        .inject(once.answer(Answer::normal().remove("/data/total")));
    env.create(untold.legacy(&env)).await;
    let object = env.config_comes_to("untold", "Rejected").await;
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains("HostUp's estimate names no total"), "{message}");
    sends_nothing_more(&env, &untold, "Rejected", 1).await;
    assert_eq!((env.posts(), env.executed()), (3, 1));
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    env.check_invariants().await;
}

/// Every row as a customer whose estimate is executed if it is acted upon, and answered in this way.
async fn check_estimates(rows: Vec<Row>) {
    let env = TestEnv::new("estimates").await;
    env.sim.world(|world| world.legacy.estimate_executes = true);
    let operator = env.operator_for_many(&[ENABLED]);
    join_all(rows.iter().map(|row| async {
        let customer = begin(&env, row, Route::LegacyEstimate).await;
        match &row.end {
            End::Accepted => told_as_executed(&env, &customer).await,
            End::Unclear(says) => asks(&env, &operator, &customer, says, 1).await,
            End::Refused(code, says) => {
                refuses(&env, &customer, (code, says), (Route::ListVps, 1)).await;
            }
            End::Lied => unreachable!("{}: nothing can be read back", row.name),
        }
        assert_eq!(env.executed_of(&customer), usize::from(row.acted), "{}", row.name);
        assert_eq!(env.posts_of(&customer).len(), 1, "{}", row.name);
    }))
    .await;
    finish(&env).await;
    assert_eq!(env.sim.count(Route::LegacyUpgrade), 0);
}

/// Every row as a customer whose upgrade follows a good estimate, and is answered in this way.
async fn check_upgrades(rows: Vec<Row>) {
    let env = TestEnv::new("upgrades").await;
    let operator = env.operator_for_many(&[ENABLED]);
    join_all(rows.iter().map(|row| async {
        let customer = begin(&env, row, Route::LegacyUpgrade).await;
        match &row.end {
            End::Accepted => upgraded(&env, &customer).await,
            End::Unclear(says) => asks(&env, &operator, &customer, says, 2).await,
            End::Refused(code, says) => {
                refuses(&env, &customer, (code, says), (Route::ListVps, 2)).await;
            }
            End::Lied => unreachable!("{}: nothing can be read back", row.name),
        }
        assert_eq!(env.executed_of(&customer), usize::from(row.acted), "{}", row.name);
        assert_eq!(env.posts_of(&customer).len(), 2, "{}", row.name);
    }))
    .await;
    finish(&env).await;
    assert_eq!(env.sim.count(Route::LegacyEstimate), rows.len());
    assert_eq!(env.sim.count(Route::LegacyUpgrade), rows.len());
}

async fn begin(env: &TestEnv, row: &Row, route: Route) -> Customer {
    let customer = env.customer(&row.name).await;
    let fault = customer.fault(route).acted(row.acted);
    env.sim.inject(fault.answer(row.answer.clone()));
    env.create(customer.legacy(env)).await;
    customer
}

async fn finish(env: &TestEnv) {
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    let elsewhere = env.sim.requests_on(Route::Unknown);
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    env.check_invariants().await;
}

/// Only an estimate was asked for; that it was executed is said, and that is the end of it.
async fn told_as_executed(env: &TestEnv, customer: &Customer) {
    let name = &customer.name;
    let object = env.config_comes_to(name, "AlreadyExecuted").await;
    assert_eq!(ready(&object)["status"], "True", "{name}");
    let message = ready(&object)["message"].as_str().unwrap();
    for part in [
        "HostUp was only asked for an estimate, and took the upgrade",
        "the order is not repeated",
    ] {
        assert!(message.contains(part), "{name}: no {part:?} in {message}");
    }
    let record = &env.config_records_of(name).await[0];
    assert_eq!(at(record, "spec.type"), "LegacyEstimate", "{name}");
    assert_eq!(at(record, "status.state"), "Succeeded", "{name}");
    assert_eq!(at(record, "status.evidence"), "ExecutedUnasked", "{name}");
    sends_nothing_more(env, customer, "AlreadyExecuted", 1).await;
}

/// An estimate, then the one order of what it told.
async fn upgraded(env: &TestEnv, customer: &Customer) {
    let name = &customer.name;
    let object = env.config_comes_to(name, "InSync").await;
    assert_eq!(ready(&object)["status"], "True", "{name}");
    let message = ready(&object)["message"].as_str().unwrap();
    for part in ["HostUp took the upgrade", "the order is not repeated"] {
        assert!(message.contains(part), "{name}: no {part:?} in {message}");
    }
    let records = env.config_records_of(name).await;
    for (record, of_type) in records.iter().zip(["LegacyEstimate", "LegacyUpgrade"]) {
        assert_eq!(at(record, "spec.type"), of_type, "{name}");
        assert_eq!(at(record, "status.state"), "Succeeded", "{name}");
        assert_eq!(at(record, "status.evidence"), "Answered", "{name}");
    }
    sends_nothing_more(env, customer, "InSync", 2).await;
    let posts = env.posts_of(customer);
    let bodies: Vec<Value> = posts
        .iter()
        .map(|post| serde_json::from_slice(&post.body).unwrap())
        .collect();
    assert_eq!(
        bodies[0],
        json!({"resources": {"2231": 400}, "cycle": "m", "send": false}),
        "{name}"
    );
    let mut order = bodies[0].clone();
    order["send"] = json!(true);
    if let Some(draft) = at(&records[0], "status.estimate.draftId").as_str() {
        order["draftId"] = json!(draft.parse::<u64>().unwrap());
    }
    assert_eq!(bodies[1], order, "{name}");
}

/// Nothing can be read back, so a person is asked once the settle time has passed.
async fn asks(env: &TestEnv, operator: &Operator, customer: &Customer, says: &str, records: usize) {
    let name = &customer.name;
    let object = env.config_comes_to(name, "OutcomeUnknown").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True", "{name}");
    assert_eq!(condition(&object, "Submitted")["status"], "Unknown", "{name}");
    let record = &env.config_records_of(name).await[records - 1];
    assert_eq!(at(record, "status.state"), "Unknown", "{name}");
    assert_eq!(at(record, "status.evidence"), "NoneFound", "{name}");
    let older = format!("he upgrade of VM {} (2231=400) was ordered", customer.vmid);
    let what = if records == 1 {
        format!("An estimate of t{older}")
    } else {
        format!("T{older} for {PRICE}")
    };
    question(
        record,
        &object,
        "the legacy API shows nothing that can be read back",
        &what,
    );
    said_unknown(operator, record, says);
    sends_nothing_more(env, customer, "OutcomeUnknown", records).await;
    assert_eq!(events(env, name, "OutcomeUnknown").await, 1, "{name}");
    assert_eq!(reason(&env.config(name).await), "OutcomeUnknown", "{name}");
}
