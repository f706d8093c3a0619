//! The legacy upgrade: estimates that may not be any, answers full of secrets, sums in every form.

mod common;

use common::{Client, KEY, LEGACY_PATH, legacy};
use hostup_sim::{
    AccountId, Answer, CurrencyAs, EstimateSays, Fault, IdAs, LEGACY_CARD, LEGACY_PASSWORD,
    LEGACY_RESET_TOKEN, LEGACY_SECRETS, LegacyBehaviour, MoneyAs, PurchaseKind, Route, SOURCE_VPS, Sim, dec,
};
use serde_json::{Value, json};

const ESTIMATE: &str = r#"{"send":false,"resources":{"2231":400}}"#;
const UPGRADE: &str = r#"{"send":true,"resources":{"2231":400}}"#;

fn world() -> (Sim, AccountId) {
    let sim = Sim::start();
    let account = sim.world(|w| w.add_account(KEY));
    (sim, account)
}

fn under(behaviour: LegacyBehaviour, body: &str) -> (Sim, common::Answer) {
    let (sim, _) = world();
    sim.world(|w| w.legacy_next(behaviour));
    let answer = legacy(&sim, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(sim.unfired(), Vec::<String>::new());
    (sim, answer)
}

#[test]
fn an_estimate_tells_the_sums_and_executes_nothing() {
    let (sim, _) = world();
    let answer = legacy(&sim, ESTIMATE);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.at("/success"), json!(true));
    for member in ["/timestamp", "/requestId"] {
        assert!(answer.at(member).is_string());
    }
    let data = answer.at("/data");
    for (member, value) in [
        ("success", json!(true)),
        ("estimate", json!(true)),
        ("draftId", json!(5257)),
        ("credits", json!(0)),
        ("prorated", json!(100)),
        ("recurring", json!(299)),
        ("total", json!("100.00")),
        ("summary", json!([])),
    ] {
        assert_eq!(data[member], value, "{member}");
    }
    assert!(data.get("upgraded").is_none() && data.get("orderId").is_none());
    assert_eq!(data["raw"]["call"], json!("getOrderDraft"));
    assert_eq!(data["raw"]["draft"]["currency"]["iso"], json!("SEK"));
    assert!(sim.purchases().is_empty());
    assert_eq!(sim.world(|w| w.legacy_option(SOURCE_VPS, "2231")), dec("200"));
}

#[test]
fn an_upgrade_is_answered_as_on_the_page_and_stands_in_the_ledger() {
    let (sim, account) = world();
    let body = r#"{"send":true,"resources":{"2231":400},"cycle":"m","package":"1937","draftId":5257}"#;
    let data = legacy(&sim, body).at("/data");
    for (member, value) in [
        ("success", json!(true)),
        ("upgraded", json!(true)),
        ("message", json!("Upgrade request submitted successfully")),
        ("orderId", json!(34889)),
        ("orderNum", json!(1_693_887_344)),
        ("total", json!("100.00")),
        ("invoiceId", json!("49526")),
        ("redirectUrl", json!("/billing?invoice=49526")),
    ] {
        assert_eq!(data[member], value, "{member}");
    }
    assert!(data.get("estimate").is_none());
    assert_eq!(data["raw"]["checkout"]["newtotal"], json!("299.00"));
    assert_eq!(sim.world(|w| w.legacy_option(SOURCE_VPS, "2231")), dec("400"));
    let [line] = &sim.purchases()[..] else {
        panic!("one line")
    };
    assert_eq!((line.kind, line.account), (PurchaseKind::LegacyUpgrade, account));
    assert_eq!(
        (line.source_vps.as_str(), line.key.as_str()),
        (SOURCE_VPS, "key1")
    );
    assert_eq!(line.body, body.as_bytes());
    let bought = line.legacy.as_ref().unwrap();
    assert_eq!((bought.vmid, bought.was_estimate), (10_000, false));
    assert_eq!(bought.resources, [("2231".to_owned(), dec("400"))]);
    assert_eq!(bought.cycle.as_deref(), Some("m"));
    assert_eq!(bought.package.as_deref(), Some("1937"));
    assert_eq!((bought.draft_id, bought.order_id), (Some(5257), 34889));
    assert_eq!((bought.total, bought.currency_code.as_str()), (dec("100"), "SEK"));
}

#[test]
fn two_identical_upgrades_are_both_executed_under_their_own_orders() {
    let (sim, _) = world();
    let first = legacy(&sim, UPGRADE).at("/data/orderId");
    assert_ne!(legacy(&sim, UPGRADE).at("/data/orderId"), first);
    assert_eq!(sim.purchases().len(), 2);
}

#[test]
fn every_answer_carries_the_fake_secrets() {
    let (sim, _) = world();
    for body in [ESTIMATE, UPGRADE] {
        let answer = legacy(&sim, body);
        let recipient = answer.at("/data/raw/draft/available_recipients/0");
        assert_eq!(recipient["password"], json!(LEGACY_PASSWORD));
        assert_eq!(recipient["reset_token"], json!(LEGACY_RESET_TOKEN));
        assert_eq!(recipient["cardnum"], json!(LEGACY_CARD));
        for secret in LEGACY_SECRETS {
            assert!(answer.text().contains(secret), "{secret}");
        }
    }
}

#[test]
fn a_lowered_value_is_a_credit_without_an_invoice() {
    let (sim, _) = world();
    let data = legacy(&sim, r#"{"send":true,"resources":{"2231":0}}"#).at("/data");
    assert_eq!(data["total"], json!("-100.00"));
    assert_eq!(data["redirectUrl"], Value::Null);
    assert!(data.get("invoiceId").is_none());
    assert_eq!(data["raw"]["checkout"]["invoice_id"], json!(0));
    assert_eq!(data["raw"]["checkout"]["newtotal"], json!("99.00"));
}

#[test]
fn the_total_is_a_string_a_number_or_an_integer_and_may_be_any() {
    for (total_as, value) in [
        (MoneyAs::Text, json!("-205.26")),
        (MoneyAs::Number, json!(-205.26)),
        (MoneyAs::Integer, json!(-205)),
    ] {
        let behaviour = LegacyBehaviour {
            total: Some(dec("-205.26")),
            total_as,
            ..LegacyBehaviour::default()
        };
        for body in [ESTIMATE, UPGRADE] {
            let (_, answer) = under(behaviour.clone(), body);
            assert_eq!(answer.at("/data/total"), value);
        }
    }
}

#[test]
fn the_order_id_is_an_integer_or_a_string() {
    let behaviour = LegacyBehaviour {
        order_id_as: IdAs::Text,
        ..LegacyBehaviour::default()
    };
    assert_eq!(under(behaviour, UPGRADE).1.at("/data/orderId"), json!("34889"));
}

#[test]
fn the_currency_can_be_another_or_missing() {
    for (currency, expected) in [
        (CurrencyAs::Other("EUR".to_owned()), Some(json!("EUR"))),
        (CurrencyAs::Missing, None),
    ] {
        let behaviour = LegacyBehaviour {
            currency,
            ..LegacyBehaviour::default()
        };
        let draft = under(behaviour, ESTIMATE).1.at("/data/raw/draft");
        assert_eq!(draft.pointer("/currency/iso").cloned(), expected);
    }
}

#[test]
fn an_estimate_can_come_without_a_draft() {
    let behaviour = LegacyBehaviour {
        draft_id: false,
        ..LegacyBehaviour::default()
    };
    let data = under(behaviour, ESTIMATE).1.at("/data");
    assert!(data.get("draftId").is_none());
}

#[test]
fn the_inner_success_can_be_false_under_a_true_outer_one() {
    let behaviour = LegacyBehaviour {
        data_success: false,
        ..LegacyBehaviour::default()
    };
    let (sim, answer) = under(behaviour, UPGRADE);
    assert_eq!(
        (answer.at("/success"), answer.at("/data/success")),
        (json!(true), json!(false))
    );
    assert_eq!(sim.purchases().len(), 1);
}

#[test]
fn what_an_estimate_says_and_whether_it_executes_are_independent() {
    for estimate_executes in [false, true] {
        for (estimate_says, estimate, upgraded) in [
            (EstimateSays::Estimate, true, false),
            (EstimateSays::Upgraded, false, true),
            (EstimateSays::Both, true, true),
            (EstimateSays::Neither, false, false),
        ] {
            let behaviour = LegacyBehaviour {
                estimate_executes,
                estimate_says,
                ..LegacyBehaviour::default()
            };
            let (sim, answer) = under(behaviour, ESTIMATE);
            let data = answer.at("/data");
            let says = |member: &str| data.get(member) == Some(&json!(true));
            assert_eq!((says("estimate"), says("upgraded")), (estimate, upgraded));
            let lines = sim.purchases();
            assert_eq!(lines.len(), usize::from(estimate_executes));
            assert!(
                lines
                    .iter()
                    .all(|line| line.legacy.as_ref().unwrap().was_estimate)
            );
            let expected = if estimate_executes { "400" } else { "200" };
            assert_eq!(sim.world(|w| w.legacy_option(SOURCE_VPS, "2231")), dec(expected));
        }
    }
}

#[test]
fn sums_follow_the_cycle_and_the_part_of_it_that_is_due() {
    let behaviour = LegacyBehaviour {
        prorate: dec("0.5"),
        ..LegacyBehaviour::default()
    };
    let body = r#"{"send":false,"resources":{"2231":"400"},"cycle":"a"}"#;
    let data = under(behaviour, body).1.at("/data");
    assert_eq!(data["prorated"], json!(600));
    assert_eq!(data["total"], json!("600.00"));
}

#[test]
fn a_body_against_the_rules_is_refused_in_the_legacy_shape_and_buys_nothing() {
    let (sim, _) = world();
    for (body, field) in [
        (r#"{"resources":{"2231":400}}"#, "send"),
        (r#"{"send":"true","resources":{"2231":400}}"#, "send"),
        (r#"{"send":null,"resources":{"2231":400}}"#, "send"),
        (r#"{"send":true,"resources":[]}"#, "resources"),
        (r#"{"send":true,"resources":{"9":1}}"#, "resources"),
        (r#"{"send":true,"resources":{"2231":"much"}}"#, "resources"),
        (r#"{"send":true}"#, "resources"),
        (
            r#"{"send":true,"resources":{"2231":400},"draftId":"x"}"#,
            "draftId",
        ),
        (r#"{"send":true,"resources":{"2231":400},"cycle":1}"#, "cycle"),
        (
            r#"{"send":true,"resources":{"2231":400},"package":1937}"#,
            "package",
        ),
        ("{", ""),
    ] {
        let answer = legacy(&sim, body);
        assert_eq!((answer.status, answer.at("/code")), (400, json!("BAD_REQUEST")));
        assert_eq!(answer.at("/error"), json!("Bad Request"));
        assert_eq!(answer.at("/details/0/field"), json!(field), "{body}");
        assert!(answer.json().get("status").is_none());
    }
    assert!(sim.purchases().is_empty());
}

#[test]
fn a_body_counts_as_an_upgrade_unless_it_readably_says_send_false() {
    let (sim, _) = world();
    for (body, route) in [
        (ESTIMATE, Route::LegacyEstimate),
        (UPGRADE, Route::LegacyUpgrade),
        (r#"{"resources":{"2231":400}}"#, Route::LegacyUpgrade),
        (r#"{"send":"false"}"#, Route::LegacyUpgrade),
        (r#"{"send":false"#, Route::LegacyUpgrade),
    ] {
        legacy(&sim, body);
        assert_eq!(sim.requests().last().unwrap().route, route, "{body}");
    }
    assert!(Route::LegacyEstimate.is_paid() && Route::LegacyUpgrade.is_paid());
}

#[test]
fn the_key_may_come_as_bearer_or_as_x_api_key() {
    let (sim, _) = world();
    let mut client = Client::new(&sim, KEY);
    let with_key = format!(
        "POST {LEGACY_PATH} HTTP/1.1\r\nHost: sim\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{ESTIMATE}",
        ESTIMATE.len()
    );
    std::io::Write::write_all(&mut client.stream, with_key.as_bytes()).unwrap();
    assert_eq!(client.read().status, 200);
    assert_eq!(legacy(&sim, ESTIMATE).status, 200);
    let answer = Client::new(&sim, "nobody").call("POST", LEGACY_PATH, ESTIMATE);
    assert_eq!((answer.status, answer.at("/code")), (401, json!("UNAUTHORIZED")));
}

#[test]
fn either_write_scope_opens_it_and_other_s_numbers_are_unknown() {
    let (sim, account) = world();
    let other = sim.world(|w| {
        w.add_key_with_scopes(account, "billing", &["write:billing"]);
        w.add_key_with_scopes(account, "vm", &["write:vm"]);
        w.add_key_with_scopes(account, "reader", &["read:vm"]);
        w.add_account("second")
    });
    let status = |key: &str, path: &str| Client::new(&sim, key).call("POST", path, ESTIMATE).status;
    assert_eq!(status("billing", LEGACY_PATH), 200);
    assert_eq!(status("vm", LEGACY_PATH), 200);
    assert_eq!(status("reader", LEGACY_PATH), 403);
    assert_eq!(status("second", LEGACY_PATH), 404);
    assert_eq!(status("second", "/api/vm/10001/upgrade"), 200);
    assert_eq!(status(KEY, "/api/vm/none/upgrade"), 400);
    assert!(sim.world(|w| w.vps_by_vmid(other, 10_001).is_some()));
}

#[test]
fn acted_and_answered_are_independent_for_an_upgrade() {
    for acted in [true, false] {
        for (answer, status) in [
            (Answer::normal(), 200),
            (Answer::legacy_error(500, "INTERNAL_ERROR", "Något gick fel"), 500),
            (Answer::reset(), 0),
        ] {
            let (sim, _) = world();
            sim.inject(Fault::on(Route::LegacyUpgrade).acted(acted).answer(answer));
            assert_eq!(legacy(&sim, ESTIMATE).status, 200);
            assert_eq!(legacy(&sim, UPGRADE).status, status);
            assert_eq!(sim.purchases().len(), usize::from(acted));
            assert_eq!(sim.unfired(), Vec::<String>::new());
        }
    }
}

#[test]
#[should_panic(expected = "spends money")]
fn a_fault_on_an_estimate_must_say_whether_it_acts() {
    world()
        .0
        .inject(Fault::on(Route::LegacyEstimate).answer(Answer::reset()));
}

#[test]
fn a_behaviour_that_no_legacy_call_used_is_told() {
    let (sim, _) = world();
    sim.world(|w| w.legacy_next(LegacyBehaviour::default()));
    assert_eq!(sim.unfired(), ["1 legacy behaviour(s) that no legacy call used"]);
}
