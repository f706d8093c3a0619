//! A person's consent, held against a price that moves.

use std::time::Duration;

use control_plane::{Action, Gate};
use futures::future::join_all;
use hostup_sim::{ActionGate, SOURCE_VPS, dec};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::proxied_env::{ProxiedEnv, claim, held};
use crate::support::{TestEnv, at, condition, ready, reason};

const FAR: &str = "2099-01-01T00:00:00Z";

fn ceiling(per_hour: &str, currency: &str, until: &str) -> Value {
    json!({"maxPrice": {"perHour": per_hour, "currencyCode": currency}, "validUntil": until})
}

/// An approval, if there is one, and this quote beside it.
fn both(mut approval: Value, quote: &str) -> Value {
    approval["quoteId"] = json!(quote);
    approval
}

async fn approve(env: &TestEnv, name: &str, approval: Value) {
    let patch = json!({"spec": {"approval": approval}});
    env.patch(name, patch).await.unwrap();
}

fn close(env: &TestEnv) {
    env.sim.world(|world| {
        world.vps_mut(SOURCE_VPS).unwrap().can_restore = ActionGate::closed("later", None);
    });
}

fn open(env: &TestEnv) {
    env.sim
        .world(|world| world.vps_mut(SOURCE_VPS).unwrap().can_restore = ActionGate::open());
}

/// 2 cores make each 0.01 of a core's rate 0.02 of the price: 0.66 at 0.12.
fn core_rate(env: &TestEnv, rate: &str) {
    let account = env.account;
    env.sim.world(|world| {
        world.account_mut(account).pricing.cpu_per_core_hour = Some(dec(rate));
    });
}

#[tokio::test]
async fn consent_that_does_not_cover_the_price_says_why_and_prints_what_would() {
    let env = TestEnv::new("consent").await;
    let now = "0.66 SEK/h";
    let rows = [
        (
            "preview",
            Value::Null,
            "AwaitingApproval",
            "would cost 0.66 SEK/h",
        ),
        (
            "low",
            ceiling("0.6599", "SEK", FAR),
            "QuoteExceedsCeiling",
            "exceeds the approved ceiling of 0.6599 SEK/h",
        ),
        (
            "euro",
            ceiling("9.00", "EUR", FAR),
            "QuoteExceedsCeiling",
            "exceeds the approved ceiling of 9.00 EUR/h",
        ),
        (
            "expired",
            ceiling("9.00", "SEK", "2026-01-01T00:00:00Z"),
            "ApprovalExpired",
            "The approved ceiling expired at 2026-01-01T00:00:00Z",
        ),
        (
            "other",
            json!({"quoteId": "q-aaaaaaaaaa"}),
            "AwaitingApproval",
            "The approved quote is no longer current",
        ),
        (
            "both",
            both(ceiling("0.50", "SEK", FAR), "q-aaaaaaaaaa"),
            "QuoteExceedsCeiling",
            "The approved quote is no longer current",
        ),
    ];
    let _operator = env.operator(&[]);
    let objects = join_all(rows.iter().map(|(name, approval, expected, says)| {
        let env = &env;
        async move {
            let mut object = env.preview(name);
            if !approval.is_null() {
                object["spec"]["approval"] = approval.clone();
            }
            env.create(object).await;
            let object = env.wait_for_reason(name, expected).await;
            let message = ready(&object)["message"].as_str().unwrap();
            assert!(
                message.contains(says) && message.contains(now),
                "{name}: {message}"
            );
            assert_eq!(condition(&object, "Approved")["status"], "False", "{name}");
            assert_eq!(condition(&object, "Stalled"), &Value::Null, "{name}");
            object
        }
    }))
    .await;
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    join_all(objects.iter().map(|object| {
        let (env, rows) = (&env, &rows);
        async move {
            env.follow(object, "To approve:").await;
            let name = object["metadata"]["name"].as_str().unwrap();
            let object = env.wait_for_reason(name, "Restored").await;
            let given = &rows.iter().find(|(row, ..)| *row == name).unwrap().1;
            let quote = at(&object, "status.quote.id").as_str().unwrap();
            assert_eq!(
                at(&object, "spec.approval"),
                &both(given.clone(), quote),
                "{name}"
            );
            assert_eq!(condition(&object, "Approved")["status"], "True", "{name}");
        }
    }))
    .await;
    assert_eq!((env.executed(), env.posts()), (rows.len(), rows.len()));
    env.check_invariants().await;
}

#[tokio::test]
async fn the_record_keeps_what_approved_the_price_and_who() {
    let env = TestEnv::new("recorded").await;
    let _operator = env.operator(&[]);
    let enough = ceiling("0.80", "SEK", FAR);
    let low = ceiling("0.10", "SEK", FAR);
    let by_ceiling = json!({"type": "Ceiling", "maxPrice": "0.80 SEK/h", "validUntil": FAR});
    let by_quote = json!({"type": "Quote"});
    for (name, approval, by, expected) in [
        ("ceiling", enough.clone(), None, by_ceiling.clone()),
        (
            "named",
            enough.clone(),
            Some("anna@example.com"),
            by_ceiling.clone(),
        ),
        ("stale", both(enough, "q-aaaaaaaaaa"), None, by_ceiling),
        ("quote", json!({}), None, by_quote.clone()),
        ("overruled", low, Some("anna@example.com"), by_quote.clone()),
    ] {
        let mut object = env.preview(name);
        if by_quote == expected {
            env.create(object).await;
            let object = env.wait_for_reason(name, "AwaitingApproval").await;
            let mut approval = both(approval, at(&object, "status.quote.id").as_str().unwrap());
            approval["approvedBy"] = json!(by);
            approve(&env, name, approval).await;
        } else {
            object["spec"]["approval"] = approval;
            if let Some(by) = by {
                object["spec"]["approval"]["approvedBy"] = json!(by);
            }
            env.create(object).await;
        }
        let object = env.wait_for_reason(name, "Restored").await;
        let record = at(&object, "status.operation.name").as_str().unwrap();
        let record = serde_json::to_value(env.operations().get(record).await.unwrap()).unwrap();
        let mut expected = expected;
        if let Some(by) = by {
            expected["approvedBy"] = json!(by);
        }
        assert_eq!(at(&record, "spec.approval"), &expected, "{name}");
    }
    assert_eq!((env.executed(), env.posts()), (5, 5));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_ceiling_raised_to_the_price_and_one_that_is_prolonged_go_ahead() {
    let env = TestEnv::new("raised").await;
    let _operator = env.operator(&[]);
    for (name, before, shown, after) in [
        (
            "low",
            ceiling("0.65", "SEK", FAR),
            "QuoteExceedsCeiling",
            ceiling("0.66", "SEK", FAR),
        ),
        (
            "late",
            ceiling("0.66", "SEK", "2026-01-01T00:00:00Z"),
            "ApprovalExpired",
            ceiling("0.66", "SEK", FAR),
        ),
    ] {
        let mut object = env.preview(name);
        object["spec"]["approval"] = before;
        env.create(object).await;
        env.wait_for_reason(name, shown).await;
        approve(&env, name, after).await;
        env.wait_for_reason(name, "Restored").await;
    }
    assert_eq!((env.executed(), env.posts()), (2, 2));
    env.check_invariants().await;
}

#[tokio::test]
async fn an_approval_that_ends_while_a_gate_is_closed_buys_nothing() {
    let env = TestEnv::new("ends").await;
    close(&env);
    let _operator = env.operator(&[]);
    let mut object = env.approved("web");
    let end = Timestamp::now() + Duration::from_secs(3);
    object["spec"]["approval"]["validUntil"] = json!(end.to_string());
    env.create(object).await;
    env.wait_for_reason("web", "GatesClosed").await;
    tokio::time::sleep(Duration::try_from(end.duration_since(Timestamp::now())).unwrap()).await;
    open(&env);
    env.wait_for_reason("web", "ApprovalExpired").await;
    assert_eq!((env.executed(), env.posts()), (0, 0));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_quote_is_good_for_its_own_object_only() {
    let env = TestEnv::new("quotes").await;
    let _operator = env.operator(&[]);
    env.create(env.preview("first")).await;
    env.create(env.preview("second")).await;
    let first = env.wait_for_reason("first", "AwaitingApproval").await;
    let second = env.wait_for_reason("second", "AwaitingApproval").await;
    let quote = at(&first, "status.quote.id");
    assert_ne!(quote, at(&second, "status.quote.id"));
    approve(&env, "second", json!({"quoteId": quote})).await;
    let second = env
        .wait("second", "the foreign quote seen", |o| {
            at(o, "status.observedGeneration") == 2
        })
        .await;
    assert_eq!(reason(&second), "AwaitingApproval");
    assert_eq!(env.posts(), 0);

    // The same name and contents again is another object, with another quote.
    env.delete("first").await;
    let mut again = env.preview("first");
    again["spec"]["approval"] = json!({"quoteId": quote});
    env.create(again).await;
    let again = env.wait_for_reason("first", "AwaitingApproval").await;
    assert_ne!(at(&again, "status.quote.id"), quote);
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_spent_quote_buys_nothing_when_it_comes_back_from_git() {
    let env = TestEnv::new("spent").await;
    let _operator = env.operator(&[]);
    env.create(env.preview("web")).await;
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
    let quote = at(&object, "status.quote.id");
    approve(&env, "web", json!({"quoteId": quote})).await;
    env.wait_for_reason("web", "Restored").await;
    env.delete("web").await;
    let mut again = env.preview("web");
    again["spec"]["approval"] = json!({"quoteId": quote});
    env.create(again).await;
    let object = env.wait_for_reason("web", "AlreadyExecuted").await;
    assert_eq!(ready(&object)["status"], "True");
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn an_approved_quote_stands_while_the_price_falls() {
    let env = TestEnv::new("falls").await;
    close(&env);
    let _operator = env.operator(&[]);
    env.create(env.preview("web")).await;
    let object = env.wait_for_reason("web", "GatesClosed").await;
    let quote = at(&object, "status.quote.id").clone();
    approve(&env, "web", json!({"quoteId": quote})).await;
    env.wait("web", "the approval seen", |o| {
        at(o, "status.observedGeneration") == 2
    })
    .await;
    core_rate(&env, "0.11");
    open(&env);
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&object, "status.quote.id"), &quote);
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_price_that_rises_ends_every_consent_it_no_longer_covers() {
    let env = TestEnv::new("rises").await;
    close(&env);
    let _operator = env.operator(&[]);
    env.create(env.preview("quoted")).await;
    let mut capped = env.preview("capped");
    capped["spec"]["approval"] = ceiling("0.66", "SEK", FAR);
    env.create(capped).await;
    let object = env.wait_for_reason("quoted", "GatesClosed").await;
    env.wait_for_reason("capped", "GatesClosed").await;
    let quote = at(&object, "status.quote.id").clone();
    approve(&env, "quoted", json!({"quoteId": quote})).await;
    env.wait("quoted", "the approval seen", |o| {
        at(o, "status.observedGeneration") == 2
    })
    .await;
    core_rate(&env, "0.13");
    open(&env);
    let object = env.wait_for_reason("quoted", "AwaitingApproval").await;
    assert_ne!(at(&object, "status.quote.id"), &quote);
    assert_eq!(at(&object, "status.quote.summary"), "0.68 SEK/h");
    let over = env.wait_for_reason("capped", "QuoteExceedsCeiling").await;
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    env.follow(&object, "To approve:").await;
    env.follow(&over, "To approve:").await;
    env.wait_for_reason("quoted", "Restored").await;
    env.wait_for_reason("capped", "Restored").await;
    for record in env.records().await {
        assert_eq!(at(&record, "spec.quote.summary"), "0.68 SEK/h");
    }
    assert_eq!((env.executed(), env.posts()), (2, 2));
    env.check_invariants().await;
}

#[tokio::test]
async fn an_approval_that_is_taken_back_before_the_call_withdraws_it() {
    let proxied = ProxiedEnv::new("takenback").await;
    let env = &proxied.env;
    let gate = Gate::new();
    proxied.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    held(&gate).await;
    approve(env, "web", Value::Null).await;
    gate.release();
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
    let records = env.records().await;
    assert_eq!(records.len(), 1);
    assert_eq!(at(&records[0], "status.state"), "NotSent");
    let why = at(&records[0], "status.message").as_str().unwrap();
    assert!(why.contains("changed before anything was sent"), "{why}");
    assert_eq!(at(&object, "status.operation.state"), "NotSent");
    assert_eq!(env.posts(), 0);
    // Given again, it goes at once: the new attempt follows a new decision.
    env.follow(&object, "To approve:").await;
    env.wait_for_reason("web", "Restored").await;
    let states: Vec<_> = env.records().await;
    let states: Vec<_> = states.iter().map(|record| at(record, "status.state")).collect();
    assert_eq!(states, ["NotSent", "Succeeded"]);
    assert_eq!((env.executed(), env.posts()), (1, 1));
    proxied.check().await;
}
