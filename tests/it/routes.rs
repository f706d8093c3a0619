//! A route below a VPS that finds nothing, while HostUp shows the VPS itself.

use hostup_sim::{Answer, Fault, Route};
use serde_json::{Value, json};

use crate::support::{PATIENCE, TestEnv, at, each_row, ready, reason};

fn nothing(route: Route, code: &str) -> Fault {
    Fault::on(route).always().answer(Answer::problem(404, code))
}

async fn is_named(kind: &'static str, route: Route, path: &'static str, code: &'static str) {
    let env = TestEnv::new("route").await;
    if route == Route::BillingCycle {
        // Invoices are looked at only after a refusal for one.
        let refusal = Answer::problem(409, "existing_invoice_blocking");
        env.sim
            .inject(Fault::on(Route::ConfigCommit).acted(false).answer(refusal));
    }
    env.sim.inject(nothing(route, code));
    let _operator = env.operator(&[]);
    let object = if kind == "restore" {
        env.create(env.approved("web")).await;
        env.wait_for_reason("web", "ProviderUnavailable").await
    } else {
        env.create(env.approved_config("web", json!({"bandwidthGb": 4096})))
            .await;
        env.config_comes_to("web", "ProviderUnavailable").await
    };
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains(path), "{message}");
    assert!(!message.contains("does not read"), "{message}");
    assert_eq!(env.executed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_404_of_a_route_below_a_vps_that_is_shown_names_the_route() {
    let rows = [
        ("restore", Route::ListBackups, "/api/v2/vps/{id}/backups"),
        (
            "restore",
            Route::ConvertToCloud,
            "/api/v2/vps/{id}/actions/convert-to-cloud",
        ),
        ("restore", Route::PaygDeployments, "/api/v2/vps/payg/deployments"),
        ("restore", Route::PaygLimits, "/api/v2/vps/payg/limits"),
        ("restore", Route::ListVps, "/api/v2/vps"),
        (
            "config",
            Route::UpgradeOptions,
            "/api/v2/vps/{id}/actions/upgrade",
        ),
        ("config", Route::ConfigPreview, "/api/v2/vps/{id}/actions/config"),
        (
            "config",
            Route::BillingCycle,
            "/api/v2/vps/{id}/actions/billing-cycle",
        ),
    ];
    let rows = rows.into_iter().flat_map(|(kind, route, path)| {
        ["not_found", "vps_not_found"]
            .map(|code| (format!("{path} {code}"), is_named(kind, route, path, code)))
    });
    each_row(rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_404_of_the_vps_itself_says_that_the_key_does_not_read_it() {
    let env = TestEnv::new("itself").await;
    env.sim.inject(nothing(Route::GetVps, "not_found"));
    let _operator = env.operator(&[]);
    env.create(env.preview("web")).await;
    env.create(env.config_preview("web", json!({"bandwidthGb": 4096})))
        .await;
    let restore = env.wait_for_reason("web", "VpsNotFound").await;
    let config = env.config_comes_to("web", "VpsNotFound").await;
    for object in [restore, config] {
        assert!(
            ready(&object)["message"]
                .as_str()
                .unwrap()
                .contains("does not read VPS"),
            "{object}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn options_that_are_not_found_when_they_are_read_back_prove_nothing_of_the_account() {
    let env = TestEnv::new("readback").await;
    // One read for the price, one after the claim; those that read back find nothing for a while.
    let lost = Answer::reset();
    env.sim
        .inject(Fault::on(Route::ConfigCommit).acted(true).answer(lost));
    let _operator = env.operator(&["--settle-time=1s"]);
    let paid = env.sim.count(Route::ConfigCommit);
    env.create(env.config_preview("web", json!({"bandwidthGb": 4096})))
        .await;
    env.config_comes_to("web", "AwaitingApproval").await;
    let approval = env.approved_config("web", json!({"bandwidthGb": 4096}))["spec"]["approval"].clone();
    env.sim.inject(
        Fault::on(Route::UpgradeOptions)
            .skip(2)
            .times(40)
            .answer(Answer::problem(404, "not_found")),
    );
    env.patch_config("web", json!({"approval": approval})).await;
    let sent = move |world: &hostup_sim::World| world.count(Route::ConfigCommit) > paid;
    assert!(env.sim.until(PATIENCE, sent).await);
    let read = env.sim.count(Route::UpgradeOptions);
    let again = move |world: &hostup_sim::World| world.count(Route::UpgradeOptions) > read + 6;
    assert!(env.sim.until(PATIENCE, again).await);
    let object: Value = env.config("web").await;
    assert_ne!(reason(&object), "AccountMismatch", "{object}");
    env.config_comes_to("web", "InSync").await;
    let record = env.records_of_config("web").await.remove(0);
    assert_eq!(at(&record, "status.state"), "Succeeded");
    assert_eq!(env.executed(), 1);
}
