//! The older upgrade route: off unless enabled, one estimate, one order.

use hostup_sim::{CurrencyAs, EstimateSays, LegacyBehaviour, MoneyAs, Route, dec};
use serde_json::{Value, json};

use crate::support::{Operator, TestEnv, at, condition, says};

fn legacy(env: &TestEnv, name: &str) -> Value {
    let mut object = env.config_preview(name, json!({}));
    object["spec"] = json!({"legacy": {"vmid": env.vmid, "resources": {"2231": 400}, "cycle": "m"}});
    object
}

fn enabled(env: &TestEnv) -> Operator {
    env.operator(&["--enable-legacy-upgrade"])
}

fn bodies(env: &TestEnv, route: Route) -> Vec<Value> {
    let requests = env.sim.requests_on(route);
    requests
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect()
}

#[tokio::test]
async fn without_the_flag_nothing_is_asked() {
    let env = TestEnv::new("legacyoff").await;
    let mut operator = env.operator(&[]);
    env.create(legacy(&env, "web")).await;
    let object = env.config_comes_to("web", "NotConfigurable").await;
    says(&object, "--enable-legacy-upgrade");
    assert_eq!(env.sim.requests().len(), 0);
    operator.kill_9();
    let _operator = enabled(&env);
    env.config_comes_to("web", "AwaitingApproval").await;
    env.check_invariants().await;
}

#[tokio::test]
async fn an_estimate_is_made_once_and_its_order_names_the_draft() {
    let env = TestEnv::new("legacy").await;
    let _operator = enabled(&env);
    env.create(legacy(&env, "web")).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    says(&object, "100.00 SEK now");
    assert_eq!(at(&object, "status.operation.state"), "Succeeded");
    let estimate = json!({"send": false, "resources": {"2231": 400}, "cycle": "m"});
    assert_eq!(bodies(&env, Route::LegacyEstimate), [estimate]);
    assert_eq!(env.executed(), 0);
    env.follow(&object, "To approve:").await;
    let object = env.config_comes_to("web", "InSync").await;
    says(&object, "HostUp took the upgrade as order");
    let draft: u64 = at(&env.records().await[0], "status.estimate.draftId")
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let order = json!({"send": true, "resources": {"2231": 400}, "cycle": "m", "draftId": draft});
    assert_eq!(bodies(&env, Route::LegacyUpgrade), [order]);
    assert_eq!((env.executed(), env.posts()), (1, 2));
    says(&object, "; pay invoice ");
    assert_eq!(at(&object, "status.quote.dueNow"), "100.00");
    // The same request under another name is the same order.
    env.create(legacy(&env, "again")).await;
    env.config_comes_to("again", "AlreadyExecuted").await;
    assert_eq!((env.executed(), env.posts()), (1, 2));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_credit_and_a_missing_currency_go_by_quote_only() {
    let env = TestEnv::new("legacycredit").await;
    env.sim.world(|world| {
        world.legacy_next(LegacyBehaviour {
            total: Some(dec("-205.26")),
            total_as: MoneyAs::Text,
            currency: CurrencyAs::Missing,
            ..LegacyBehaviour::default()
        });
    });
    let _operator = enabled(&env);
    let mut object = legacy(&env, "web");
    object["spec"]["approval"] =
        json!({"maxPrice": {"dueNow": "999", "perMonth": "9999", "currencyCode": "SEK"}});
    env.create(object).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    says(&object, "a credit of 205.26 (no currency) now");
    says(&object, "A ceiling cannot approve this");
    assert_eq!(at(&object, "status.quote.currencyCode"), &Value::Null);
    env.follow(&object, "To approve:").await;
    env.config_comes_to("web", "InSync").await;
    assert_eq!((env.executed(), env.posts()), (1, 2));
    env.check_invariants().await;
}

#[tokio::test]
async fn an_estimate_that_hostup_executed_is_recorded_told_and_never_ordered_again() {
    for says_so in [EstimateSays::Upgraded, EstimateSays::Neither, EstimateSays::Both] {
        let env = TestEnv::new("legacyexecutes").await;
        env.sim.world(|world| {
            world.legacy_next(LegacyBehaviour {
                estimate_executes: true,
                estimate_says: says_so,
                ..LegacyBehaviour::default()
            });
        });
        let _operator = enabled(&env);
        env.create(legacy(&env, "web")).await;
        let object = env.config_comes_to("web", "AlreadyExecuted").await;
        says(&object, "was only asked for an estimate");
        assert_eq!(condition(&object, "Submitted")["status"], "True");
        let record = &env.records().await[0];
        assert_eq!(at(record, "spec.type"), "LegacyEstimate");
        assert_eq!(at(record, "status.evidence"), "ExecutedUnasked");
        assert_eq!((env.executed(), env.posts()), (1, 1));
        env.warned("web", &["AlreadyExecuted"]).await;
        env.check_invariants().await;
    }
}
