//! The paid options of a VPS: a life without faults, and the special ways.

use hostup_sim::{
    ActionGate, Additional, Apply, ConfigBehaviour, CurrentAs, Invoice, OptionValue, Route, Vps, World, dec,
};
use serde_json::{Value, json};

use crate::support::{HOUR, PATIENCE, TestEnv, at, condition, gates, printed, ready, reason};

fn bandwidth(gb: u32) -> Value {
    json!({"bandwidthGb": gb})
}

fn current(env: &TestEnv, key: &str) -> String {
    env.sim.world(|world| world.option(&env.vps, key).to_string())
}

fn by_panel(env: &TestEnv, key: &str, value: impl Into<OptionValue>) {
    env.sim.world(|world| world.set_option(&env.vps, key, value));
}

fn message(object: &Value) -> &str {
    ready(object)["message"].as_str().unwrap()
}

#[track_caller]
fn says(object: &Value, what: &str) {
    assert!(
        message(object).contains(what),
        "{what:?} is not in {:?}",
        message(object)
    );
}

/// Waits until the options were read so many times more.
async fn read_again(env: &TestEnv, times: usize) {
    let before = env.sim.count(Route::UpgradeOptions);
    let read = move |world: &World| world.count_answered(Route::UpgradeOptions) >= before + times;
    assert!(
        env.sim.until(PATIENCE, read).await,
        "the options are not read again"
    );
}

/// What was bought and how often it was asked for, and everything else that always holds.
async fn ends_with(env: &TestEnv, executed: usize, posts: usize) {
    assert_eq!((env.executed(), env.posts()), (executed, posts));
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
}

#[tokio::test]
async fn approved_options_are_ordered_once_and_read_back_with_four_writes() {
    let env = TestEnv::new("options").await;
    let _operator = env.operator(&[]);
    env.create(env.approved_config("web", bandwidth(4096))).await;
    let object = env.config_comes_to("web", "InSync").await;
    assert_eq!(ready(&object)["status"], "True");
    assert_eq!(
        at(&object, "status.quote.summary"),
        "40.00 SEK now, 40.00 SEK/month"
    );
    assert_eq!(at(&object, "status.current.bandwidthGb"), "4096");
    assert_eq!(condition(&object, "Drifted")["status"], "False");
    assert_eq!(current(&env, "bandwidthGb"), "4096");
    let record = at(&object, "status.operation.name").as_str().unwrap();
    assert_eq!(
        env.writes().await,
        [
            "create vpsresourceconfigs/ web".to_owned(),
            format!("create vpsoperations/ {record}"),
            format!("update vpsoperations/status {record}"),
            format!("update vpsoperations/status {record}"),
            "update vpsresourceconfigs/status web".to_owned(),
        ]
    );
    assert_eq!(env.sim.count(Route::ConfigPreview), 1);
    let record = &env.records().await[0];
    assert_eq!(at(record, "spec.type"), "CommitResources");
    assert_eq!(at(record, "spec.changes.from.bandwidthGb"), "2048");
    assert_eq!(at(record, "spec.changes.to.bandwidthGb"), "4096");
    assert_eq!(at(record, "status.evidence"), "ReadBack");
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_preview_prices_what_differs_and_the_printed_command_orders_exactly_that() {
    let env = TestEnv::new("optionspreview").await;
    let _operator = env.operator(&[]);
    let wanted = json!({"bandwidthGb": 4096, "snapshotSlots": 3, "ipv6": true, "backupSlots": 1,
        "extra": {"gpuProfile": "none"}});
    env.create(env.config_preview("web", wanted)).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    says(
        &object,
        "bandwidthGb 2048 -> 4096, ipv6 false -> true, snapshotSlots 1 -> 3 would cost",
    );
    assert_eq!(gates(&object, "canCommit")[0]["allowed"], true);
    assert_eq!(condition(&object, "Approved")["status"], "False");
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    env.follow(&object, "To approve:").await;
    env.config_comes_to("web", "InSync").await;
    let bodies: Vec<Value> = [Route::ConfigPreview, Route::ConfigCommit]
        .into_iter()
        .flat_map(|route| env.sim.requests_on(route))
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    let differing = json!({"bandwidthGb": 4096, "snapshotSlots": 3, "ipv6": true});
    assert!(bodies.len() > 1);
    for body in bodies {
        assert_eq!(body["resources"], differing);
    }
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn the_invoice_that_a_dry_run_shows_is_told_before_anything_is_bought() {
    let env = TestEnv::new("foreseen").await;
    let invoice = json!({"id": "inv_1", "amount": 40, "currencyCode": "SEK", "dueAt": "2026-12-01"});
    env.sim.world(|world| {
        world.patch(
            Route::ConfigPreview,
            "/paymentInvoice",
            Some(&invoice.to_string()),
        )
    });
    let _operator = env.operator(&[]);
    env.create(env.config_preview("web", bandwidth(4096))).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    says(
        &object,
        "bandwidthGb 2048 -> 4096, billed by an invoice of 40.00 SEK (due 2026-12-01), would cost 40.00 SEK now",
    );
    assert_eq!((env.posts(), env.executed()), (0, 0));
}

#[tokio::test]
async fn what_is_as_written_costs_one_write_and_no_call_but_the_drift_read() {
    let env = TestEnv::new("optionsrest").await;
    let _operator = env.operator(&["--resync-interval=500ms"]);
    let wanted = json!({"bandwidthGb": 2048, "ipv6": false});
    env.create(env.approved_config("web", wanted)).await;
    env.config_comes_to("web", "InSync").await;
    read_again(&env, 3).await;
    assert_eq!(
        env.writes().await,
        [
            "create vpsresourceconfigs/ web",
            "update vpsresourceconfigs/status web"
        ]
    );
    assert_eq!(env.sim.count(Route::ConfigPreview), 0);
    ends_with(&env, 0, 0).await;
}

#[tokio::test]
async fn an_unapproved_or_drifted_object_writes_nothing_while_nothing_changes() {
    let env = TestEnv::new("optionsidle").await;
    let _operator = env.operator(&["--resync-interval=500ms", "--gate-interval=300ms"]);
    env.create(env.config_preview("web", bandwidth(2048))).await;
    env.config_comes_to("web", "InSync").await;
    by_panel(&env, "bandwidthGb", 1024);
    env.config_comes_to("web", "Drifted").await;
    read_again(&env, 2).await;
    let writes = env.writes().await;
    read_again(&env, 3).await;
    assert_eq!(env.writes().await, writes);
    env.patch_config("web", json!({"resources": {"bandwidthGb": 4096}}))
        .await;
    env.config_comes_to("web", "AwaitingApproval").await;
    read_again(&env, 2).await;
    let writes = env.writes().await;
    read_again(&env, 3).await;
    assert_eq!(env.writes().await, writes);
    ends_with(&env, 0, 0).await;
}

#[tokio::test]
async fn what_hostup_does_not_offer_is_explained_before_anything_is_asked() {
    let env = TestEnv::new("unoffered").await;
    let _operator = env.operator(&[]);
    for (name, wanted, why) in [
        (
            "unknown",
            json!({"extra": {"tpuSlots": 1}}),
            "HostUp offers no option tpuSlots for this VPS, only bandwidthGb (Bandwidth), backupSlots (Backups),",
        ),
        (
            "high",
            bandwidth(20_480),
            "bandwidthGb (Bandwidth): 20480 does not fit: allowed are 0 to 10240 in steps of 1024",
        ),
        (
            "step",
            bandwidth(3000),
            "bandwidthGb (Bandwidth): 3000 does not fit",
        ),
        (
            "low",
            json!({"ipv4Count": 0}),
            "ipv4Count (IPv4 addresses): 0 does not fit: allowed are 1 to 8",
        ),
        (
            "choice",
            json!({"extra": {"gpuProfile": "huge"}}),
            "gpuProfile (GPU): huge is not one of none, small",
        ),
    ] {
        env.create(env.approved_config(name, wanted)).await;
        let object = env.config_comes_to(name, "UnknownOption").await;
        says(&object, why);
        assert_eq!(condition(&object, "Stalled")["status"], "True");
        env.configs()
            .delete(name, &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }
    assert_eq!(env.sim.count(Route::ConfigPreview), 0);
    ends_with(&env, 0, 0).await;
}

#[tokio::test]
async fn a_closed_gate_holds_the_order_until_it_opens() {
    let env = TestEnv::new("optionsgate").await;
    env.sim.world(|world| {
        world.vps_mut(&env.vps).unwrap().can_commit =
            ActionGate::closed("An order is pending.", Some("pending_orders"));
    });
    let _operator = env.operator(&[]);
    env.create(env.approved_config("web", bandwidth(4096))).await;
    let object = env.config_comes_to("web", "GatesClosed").await;
    says(&object, "canCommit (pending_orders): An order is pending.");
    assert_eq!(gates(&object, "canCommit")[0]["allowed"], false);
    assert_eq!(env.posts(), 0);
    env.sim
        .world(|world| world.vps_mut(&env.vps).unwrap().can_commit = ActionGate::open());
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_closed_gate_of_one_option_closes_only_for_that_option() {
    let env = TestEnv::new("optiongate").await;
    env.sim.world(|world| {
        let vps = world.vps_mut(&env.vps).unwrap();
        vps.option_mut("ipv4Count").unwrap().can_change =
            Some(ActionGate::closed("No addresses left.", Some("sold_out")));
    });
    let _operator = env.operator(&[]);
    env.create(env.approved_config("web", json!({"ipv4Count": 2})))
        .await;
    let object = env.config_comes_to("web", "GatesClosed").await;
    says(&object, "canChange (sold_out): ipv4Count: No addresses left.");
    env.patch_config(
        "web",
        json!({"resources": {"ipv4Count": null, "bandwidthGb": 4096}}),
    )
    .await;
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_price_that_rose_since_the_quote_needs_a_new_consent() {
    let env = TestEnv::new("dearer").await;
    let _operator = env.operator(&["--resync-interval=1h"]);
    env.create(env.config_preview("web", bandwidth(4096))).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    let quote = at(&object, "status.quote.id").clone();
    env.sim.world(|world| world.reprice(&env.vps, dec("1.5")));
    env.patch_config("web", json!({"approval": {"quoteId": quote}}))
        .await;
    let object = env.config_comes_to_anew("web", "AwaitingApproval").await;
    says(
        &object,
        "The approved quote is no longer current: it was used, or",
    );
    says(&object, "60.00 SEK");
    assert_ne!(at(&object, "status.quote.id"), &quote);
    assert_eq!(env.posts(), 0);
    // One that fell is bought under the quote that stands.
    let dearer = at(&object, "status.quote.id").clone();
    env.sim.world(|world| world.reprice(&env.vps, dec("0.5")));
    env.patch_config("web", json!({"approval": {"quoteId": dearer}}))
        .await;
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_ceiling_covers_each_amount_in_its_own_currency_and_by_the_month() {
    let env = TestEnv::new("ceilings").await;
    let _operator = env.operator(&[]);
    let mut object = env.config_preview("web", bandwidth(4096));
    object["spec"]["approval"] = json!({"maxPrice": {"perMonth": "99.00", "currencyCode": "SEK"}});
    env.create(object).await;
    let object = env.config_comes_to("web", "QuoteExceedsCeiling").await;
    says(
        &object,
        "exceeds the approved ceiling of 0.00 SEK now and 99.00 SEK a month",
    );
    let ceiling = |currency: &str| json!({"approval": {"maxPrice": {"dueNow": "480.00", "perMonth": "40.00", "currencyCode": currency}}});
    env.patch_config("web", ceiling("EUR")).await;
    env.config_comes_to_anew("web", "QuoteExceedsCeiling").await;
    // A new word for the cycle, then one that we know: 480 a year are 40 a month.
    env.sim.world(|world| {
        world.vps_mut(&env.vps).unwrap().billing.billing_cycle = Some("decennially".into());
    });
    env.patch_config("web", ceiling("SEK")).await;
    let object = env.config_comes_to_anew("web", "QuoteExceedsCeiling").await;
    says(
        &object,
        "for each billing cycle, whose length HostUp does not say",
    );
    assert_eq!(env.posts(), 0);
    env.sim.world(|world| {
        world.vps_mut(&env.vps).unwrap().billing.billing_cycle = Some("annually".into());
    });
    let object = env.config_comes_to("web", "InSync").await;
    assert_eq!(at(&object, "status.quote.dueNow"), "480.00");
    assert_eq!(at(&object, "status.quote.perMonth"), "40.00");
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn the_larger_recurring_amount_counts_and_a_missing_one_is_no_price() {
    let env = TestEnv::new("recurring").await;
    let recurring = |additional| ConfigBehaviour {
        additional_recurring_amount: additional,
        ..ConfigBehaviour::default()
    };
    env.sim
        .world(|world| world.config = recurring(Additional::Is(dec("240"))));
    let _operator = env.operator(&["--gate-interval=200ms"]);
    env.create(env.approved_config("web", bandwidth(4096))).await;
    let object = env.config_comes_to("web", "QuoteExceedsCeiling").await;
    says(&object, "240.00 SEK a month");
    env.sim
        .world(|world| world.patch(Route::ConfigPreview, "/priceChange/recurringAmount", None));
    env.config_comes_to("web", "ProviderUnavailable").await;
    assert_eq!(env.posts(), 0);
    env.sim.world(|world| {
        world.clear_patches();
        world.config = recurring(Additional::Null);
    });
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_lowered_value_goes_by_its_quote_and_not_by_a_ceiling() {
    let env = TestEnv::new("lower").await;
    by_panel(&env, "bandwidthGb", 4096);
    let _operator = env.operator(&[]);
    env.create(env.approved_config("web", bandwidth(2048))).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    says(
        &object,
        "A ceiling cannot approve this, because it lowers bandwidthGb from 4096 to 2048",
    );
    assert_eq!(at(&object, "status.quote.dueNow"), "-40.00");
    assert_eq!(env.posts(), 0);
    env.follow(&object, "To approve:").await;
    env.config_comes_to("web", "InSync").await;
    assert_eq!(current(&env, "bandwidthGb"), "2048");
    ends_with(&env, 1, 1).await;
}

fn invoice_in_the_way(env: &TestEnv, id: &str) {
    env.sim
        .world(|world| world.vps_mut(&env.vps).unwrap().blocking_invoice = Some(Invoice::open(id, "199")));
}

#[tokio::test]
async fn an_open_invoice_is_cancelled_only_by_the_quote_that_names_it() {
    let env = TestEnv::new("invoice").await;
    invoice_in_the_way(&env, "inv_first");
    let _operator = env.operator(&[]);
    env.create(env.approved_config("web", bandwidth(4096))).await;
    let object = env.config_comes_to("web", "GatesClosed").await;
    says(
        &object,
        "invoice inv_first of 199.00 SEK (due 2026-05-27) is open; set spec.cancelExistingInvoice: true and approve the quote that names it, or pay it at \
         https://cloud.hostup.se/billing?invoice=inv_first",
    );
    assert_eq!(at(&object, "status.operation.state"), "Rejected");
    assert_eq!(gates(&object, "noOpenInvoice")[0]["allowed"], false);
    assert_eq!((env.posts(), env.executed()), (1, 0));
    // The field alone cancels nothing, nor does a ceiling.
    env.patch_config("web", json!({"cancelExistingInvoice": true}))
        .await;
    let object = env.config_comes_to_anew("web", "AwaitingApproval").await;
    says(&object, "cancelling invoice inv_first");
    says(&object, "A ceiling cannot approve this");
    assert_eq!(env.posts(), 1);
    // Meanwhile that one is paid and another one is open: the quote does not cover it.
    env.sim.world(|world| world.pay_invoice("inv_first"));
    invoice_in_the_way(&env, "inv_second");
    env.follow(&object, "To approve:").await;
    let object = env.config_comes_to_anew("web", "AwaitingApproval").await;
    says(&object, "cancelling invoice inv_second");
    assert!(env.sim.world(|world| world.cancelled_invoices().is_empty()));
    assert_eq!(env.posts(), 1);
    env.follow(&object, "To approve:").await;
    env.config_comes_to("web", "InSync").await;
    let cancelled = env.sim.world(|world| world.cancelled_invoices()[0].id.clone());
    assert_eq!(cancelled, "inv_second");
    ends_with(&env, 1, 2).await;
}

#[tokio::test]
async fn an_open_invoice_that_hostup_does_not_offer_to_cancel_is_left_alone_and_awaited() {
    let env = TestEnv::new("invoicekept").await;
    invoice_in_the_way(&env, "inv_kept");
    env.sim.world(|world| world.config.suggest_cancelling = false);
    let _operator = env.operator(&[]);
    let mut object = env.approved_config("web", bandwidth(4096));
    object["spec"]["cancelExistingInvoice"] = json!(true);
    env.create(object).await;
    env.config_comes_to("web", "GatesClosed").await;
    assert_eq!((env.posts(), env.executed()), (1, 0));
    // Paid by a person: it goes on by itself, after the wait of a second attempt.
    env.sim.world(|world| world.pay_invoice("inv_kept"));
    env.config_comes_to("web", "InSync").await;
    assert!(env.sim.world(|world| world.cancelled_invoices().is_empty()));
    ends_with(&env, 1, 2).await;
}

#[tokio::test]
async fn an_invoice_that_is_to_be_paid_is_shown_and_nothing_is_ordered_again() {
    let env = TestEnv::new("unpaid").await;
    env.sim
        .world(|world| world.config_next(ConfigBehaviour::applied(Apply::WhenPaid)));
    let _operator = env.operator(&["--job-deadline=1h"]);
    env.create(env.approved_config("web", bandwidth(4096))).await;
    let object = env.config_comes_to("web", "AwaitingPayment").await;
    let invoice = at(&object, "status.invoice.id").as_str().unwrap().to_owned();
    says(
        &object,
        &format!(
            "Pay invoice {invoice} of 40.00 SEK (due 2026-05-27) at https://cloud.hostup.se/billing?invoice={invoice}"
        ),
    );
    assert_eq!(condition(&object, "Reconciling")["status"], "True");
    read_again(&env, 3).await;
    let record = at(&object, "status.operation.name").as_str().unwrap();
    env.sim.world(|world| world.pay_invoice(&invoice));
    env.config_comes_to("web", "InSync").await;
    assert_eq!(
        env.writes().await,
        [
            "create vpsresourceconfigs/ web".to_owned(),
            format!("create vpsoperations/ {record}"),
            format!("update vpsoperations/status {record}"),
            "update vpsresourceconfigs/status web".to_owned(),
            format!("update vpsoperations/status {record}"),
            "update vpsresourceconfigs/status web".to_owned(),
        ]
    );
    env.told("web", &["AwaitingPayment", "InSync"]).await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn what_was_taken_and_never_shows_is_asked_about_and_can_still_come_true() {
    let env = TestEnv::new("ignored").await;
    env.sim
        .world(|world| world.config_next(ConfigBehaviour::applied(Apply::Never)));
    let _operator = env.operator(&["--settle-time=5s"]);
    env.create(env.approved_config("web", bandwidth(4096))).await;
    env.config_comes_to("web", "Converging").await;
    let object = env.config_comes_to("web", "NotConverged").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    for label in [
        "It was not executed:",
        "it was executed:",
        "order nothing more for this VPS:",
    ] {
        printed(&object, label);
    }
    by_panel(&env, "bandwidthGb", 4096);
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_change_that_shows_late_is_awaited() {
    let env = TestEnv::new("late").await;
    env.sim
        .world(|world| world.config_next(ConfigBehaviour::applied(Apply::After(HOUR))));
    let _operator = env.operator(&["--settle-time=100s"]);
    env.create(env.approved_config("web", bandwidth(4096))).await;
    env.config_comes_to("web", "Converging").await;
    env.sim.world(|world| world.advance(HOUR));
    env.config_comes_to("web", "InSync").await;
    env.told("web", &["Converging", "InSync"]).await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn an_option_whose_value_is_not_shown_is_a_persons_to_confirm() {
    let env = TestEnv::new("hidden").await;
    env.sim.world(|world| {
        let vps = world.vps_mut(&env.vps).unwrap();
        vps.option_mut("bandwidthGb").unwrap().current_as = CurrentAs::Absent;
    });
    let _operator = env.operator(&["--settle-time=1s"]);
    env.create(env.approved_config("web", bandwidth(4096))).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    says(&object, "HostUp does not show what bandwidthGb is now");
    env.follow(&object, "To approve:").await;
    let object = env.config_comes_to("web", "NotConverged").await;
    env.follow(&object, "it was executed:").await;
    let object = env.config_comes_to("web", "InSync").await;
    assert_eq!(at(&env.records().await[0], "status.evidence"), "Person");
    assert_eq!(at(&object, "status.operation.state"), "Succeeded");
    read_again(&env, 2).await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_pay_as_you_go_vm_has_no_options() {
    let env = TestEnv::new("payg").await;
    let account = env.account;
    env.sim
        .world(|world| world.add_vps(account, Vps::payg("vps_payg", "cloud", 2, 4, 80)));
    let _operator = env.operator(&[]);
    let mut object = env.approved_config("web", bandwidth(4096));
    object["spec"]["vpsId"] = json!("vps_payg");
    env.create(object).await;
    let object = env.config_comes_to("web", "NotConfigurable").await;
    says(&object, "set spec.cloudVm instead of spec.resources");
    assert_eq!(env.sim.count(Route::ConfigPreview), 0);
    ends_with(&env, 0, 0).await;
}

#[tokio::test]
async fn a_vps_that_the_key_does_not_read_is_told_and_nothing_is_claimed() {
    let env = TestEnv::new("foreignvps").await;
    let _operator = env.operator(&[]);
    let mut object = env.approved_config("web", bandwidth(4096));
    object["spec"]["vpsId"] = json!("vps_of_somebody_else");
    env.create(object).await;
    env.config_comes_to("web", "VpsNotFound").await;
    assert!(env.records().await.is_empty());
    ends_with(&env, 0, 0).await;
}

#[tokio::test]
async fn drift_is_reported_and_corrected_once_from_each_value() {
    let env = TestEnv::new("drift").await;
    let _operator = env.operator(&["--resync-interval=400ms"]);
    env.create(env.approved_config("web", bandwidth(4096))).await;
    env.config_comes_to("web", "InSync").await;
    by_panel(&env, "bandwidthGb", 3072);
    let object = env.config_comes_to("web", "Drifted").await;
    says(&object, "bandwidthGb 3072 -> 4096");
    assert_eq!(condition(&object, "Drifted")["status"], "True");
    assert_eq!(env.posts(), 1);
    env.patch_config("web", json!({"driftPolicy": "Correct"})).await;
    env.config_comes_to_anew("web", "InSync").await;
    assert_eq!(env.posts(), 2);
    assert_eq!(at(&env.records().await[1], "spec.changes.correctsDrift"), true);
    // The same again is somebody's wish; another value is not.
    by_panel(&env, "bandwidthGb", 2048);
    let shown = at(&env.records().await[1], "metadata.name")
        .as_str()
        .unwrap()
        .to_owned();
    let third = shown.replace("-2", "-3");
    let again =
        |object: &Value| reason(object) == "InSync" && at(object, "status.operation.name") == third.as_str();
    env.wait_config("web", "a second correction", again).await;
    by_panel(&env, "bandwidthGb", 3072);
    let object = env.config_comes_to("web", "DriftContested").await;
    says(&object, "corrected from these values before");
    read_again(&env, 3).await;
    assert_eq!(env.posts(), 3);
    // A person touches the spec, and it is corrected once more.
    env.patch_config("web", json!({"approval": {"validUntil": "2099-01-01T00:00:00Z"}}))
        .await;
    env.config_comes_to_anew("web", "InSync").await;
    ends_with(&env, 4, 4).await;
}

#[tokio::test]
async fn a_spent_quote_corrects_no_drift() {
    let env = TestEnv::new("spent").await;
    let _operator = env.operator(&["--resync-interval=400ms"]);
    let mut object = env.config_preview("web", bandwidth(4096));
    object["spec"]["driftPolicy"] = json!("Correct");
    env.create(object).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    env.follow(&object, "To approve:").await;
    env.config_comes_to("web", "InSync").await;
    by_panel(&env, "bandwidthGb", 2048);
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    says(
        &object,
        "The approved quote is no longer current: it was used, or",
    );
    read_again(&env, 2).await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn brakes_hold_an_order_of_options_too() {
    let env = TestEnv::new("optionsbrakes").await;
    let mut operator = env.operator(&["--read-only"]);
    env.create(env.approved_config("web", bandwidth(4096))).await;
    env.config_comes_to("web", "ReadOnly").await;
    operator.kill_9();
    env.create(env.approved("vm")).await;
    let mut operator = env.operator(&["--max-paid-calls=1"]);
    let capped = |object: &Value| ["PaidCallCap", "InSync"].contains(&reason(object));
    env.wait_config("web", "an end or the cap", capped).await;
    let one = |world: &World| world.purchases().len() == 1;
    assert!(env.sim.until(PATIENCE, one).await);
    operator.kill_9();
    env.patch_config("web", json!({"suspend": true})).await;
    let _operator = env.operator(&[]);
    env.wait_for_reason("vm", "Restored").await;
    let rests = |object: &Value| {
        ["Suspended", "InSync"].contains(&reason(object)) && at(object, "status.observedGeneration") == 2
    };
    env.wait_config("web", "rest", rests).await;
    env.check_invariants().await;
}
