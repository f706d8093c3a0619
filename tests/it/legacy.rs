//! The older upgrade route: off unless enabled, one estimate, one order.

use hostup_sim::{CurrencyAs, EstimateSays, LegacyBehaviour, MoneyAs, Route, dec};
use serde_json::{Value, json};

use crate::support::{Operator, Stage, at, condition, says};

fn legacy(stage: &Stage, name: &str) -> Value {
    let mut object = stage.config_preview(name, json!({}));
    object["spec"] = json!({"legacy": {"vmid": stage.vmid, "resources": {"2231": 400}, "cycle": "m"}});
    object
}

fn enabled(stage: &Stage) -> Operator {
    stage.operator(&["--enable-legacy-upgrade"])
}

fn bodies(stage: &Stage, route: Route) -> Vec<Value> {
    let requests = stage.sim.requests_on(route);
    requests
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect()
}

#[tokio::test]
async fn without_the_flag_nothing_is_asked() {
    let stage = Stage::new("legacyoff").await;
    let mut operator = stage.operator(&[]);
    stage.create(legacy(&stage, "web")).await;
    let object = stage.config_comes_to("web", "NotConfigurable").await;
    says(&object, "--enable-legacy-upgrade");
    assert_eq!(stage.sim.requests().len(), 0);
    operator.kill_9();
    let _operator = enabled(&stage);
    stage.config_comes_to("web", "AwaitingApproval").await;
    stage.check_invariants().await;
}

#[tokio::test]
async fn an_estimate_is_made_once_and_its_order_names_the_draft() {
    let stage = Stage::new("legacy").await;
    let _operator = enabled(&stage);
    stage.create(legacy(&stage, "web")).await;
    let object = stage.config_comes_to("web", "AwaitingApproval").await;
    says(&object, "100.00 SEK now");
    assert_eq!(at(&object, "status.operation.state"), "Succeeded");
    let estimate = json!({"send": false, "resources": {"2231": 400}, "cycle": "m"});
    assert_eq!(bodies(&stage, Route::LegacyEstimate), [estimate]);
    assert_eq!(stage.executed(), 0);
    stage.follow(&object, "To approve:").await;
    let object = stage.config_comes_to("web", "InSync").await;
    says(&object, "HostUp took the upgrade as order");
    let draft: u64 = at(&stage.records().await[0], "status.estimate.draftId")
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let order = json!({"send": true, "resources": {"2231": 400}, "cycle": "m", "draftId": draft});
    assert_eq!(bodies(&stage, Route::LegacyUpgrade), [order]);
    assert_eq!((stage.executed(), stage.posts()), (1, 2));
    says(&object, "; pay invoice ");
    assert_eq!(at(&object, "status.quote.dueNow"), "100.00");
    // The same request under another name is the same order.
    stage.create(legacy(&stage, "again")).await;
    stage.config_comes_to("again", "AlreadyExecuted").await;
    assert_eq!((stage.executed(), stage.posts()), (1, 2));
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_credit_and_a_missing_currency_go_by_quote_only() {
    let stage = Stage::new("legacycredit").await;
    stage.sim.world(|world| {
        world.legacy_next(LegacyBehaviour {
            total: Some(dec("-205.26")),
            total_as: MoneyAs::Text,
            currency: CurrencyAs::Missing,
            ..LegacyBehaviour::default()
        });
    });
    let _operator = enabled(&stage);
    let mut object = legacy(&stage, "web");
    object["spec"]["approval"] =
        json!({"maxPrice": {"dueNow": "999", "perMonth": "9999", "currencyCode": "SEK"}});
    stage.create(object).await;
    let object = stage.config_comes_to("web", "AwaitingApproval").await;
    says(&object, "a credit of 205.26 (no currency) now");
    says(&object, "A ceiling cannot approve this");
    assert_eq!(at(&object, "status.quote.currencyCode"), &Value::Null);
    stage.follow(&object, "To approve:").await;
    stage.config_comes_to("web", "InSync").await;
    assert_eq!((stage.executed(), stage.posts()), (1, 2));
    stage.check_invariants().await;
}

#[tokio::test]
async fn an_estimate_that_hostup_executed_is_recorded_told_and_never_ordered_again() {
    for says_so in [EstimateSays::Upgraded, EstimateSays::Neither, EstimateSays::Both] {
        let stage = Stage::new("legacyexecutes").await;
        stage.sim.world(|world| {
            world.legacy_next(LegacyBehaviour {
                estimate_executes: true,
                estimate_says: says_so,
                ..LegacyBehaviour::default()
            });
        });
        let _operator = enabled(&stage);
        stage.create(legacy(&stage, "web")).await;
        let object = stage.config_comes_to("web", "AlreadyExecuted").await;
        says(&object, "was only asked for an estimate");
        assert_eq!(condition(&object, "Submitted")["status"], "True");
        let record = &stage.records().await[0];
        assert_eq!(at(record, "spec.type"), "LegacyEstimate");
        assert_eq!(at(record, "status.evidence"), "ExecutedUnasked");
        assert_eq!((stage.executed(), stage.posts()), (1, 1));
        stage.warned("web", &["AlreadyExecuted"]).await;
        stage.check_invariants().await;
    }
}
