//! Which options a VPS has, what a change of them costs, and every switch of how a commit goes.

mod common;

use std::time::{Duration, Instant};

use common::{Client, KEY, SOON, config, config_path, get, options_path, restore};
use hostup_sim::{
    AccountId, ActionGate, Additional, Answer, Apply, ConfigBehaviour, ConfigOption, CurrentAs, Fault,
    Invoice, OptionKind, OptionValue, PurchaseKind, Route, SOURCE_VPS, Sim, Stage, Vps, dec,
};
use serde_json::{Value, json};

const PREVIEW: &str = r#"{"resources":{"bandwidthGb":4096},"dryRun":true}"#;
const COMMIT: &str = r#"{"resources":{"bandwidthGb":4096},"dryRun":false}"#;
const CANCEL: &str = r#"{"resources":{"bandwidthGb":4096},"dryRun":false,"cancelExistingInvoice":true}"#;

fn world() -> (Sim, AccountId) {
    let sim = Sim::start();
    let account = sim.world(|w| w.add_account(KEY));
    (sim, account)
}

fn bandwidth(sim: &Sim) -> OptionValue {
    sim.world(|w| w.option(SOURCE_VPS, "bandwidthGb").clone())
}

fn with(sim: &Sim, change: impl FnOnce(&mut Vps)) {
    sim.world(|w| change(w.vps_mut(SOURCE_VPS).unwrap()));
}

fn pointers(answer: &common::Answer) -> Vec<String> {
    let errors = answer.at("/errors");
    let errors = errors.as_array().unwrap().iter();
    errors
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect()
}

// ---- options ------------------------------------------------------------------------------

#[test]
fn the_options_carry_key_label_type_limits_current_value_and_gate() {
    let (sim, _) = world();
    with(&sim, |vps| {
        vps.option_mut("ipv6").unwrap().can_change = Some(ActionGate::closed("Not here.", None));
    });
    let answer = get(&sim, &options_path());
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.at("/configurableOptions/0"),
        json!({"key": "bandwidthGb", "label": "Bandwidth", "type": "slider",
            "min": 0, "max": 10240, "step": 1024, "currentValue": 2048})
    );
    assert_eq!(
        answer.at("/configurableOptions/4"),
        json!({"key": "ipv6", "label": "IPv6", "type": "toggle", "currentValue": false,
            "actions": {"canChange": {"allowed": false, "reason": "Not here."}}})
    );
    assert_eq!(
        answer.at("/configurableOptions/6"),
        json!({"key": "gpuProfile", "label": "GPU", "type": "select",
            "values": ["none", "small"], "currentValue": "none"})
    );
    let keys: Vec<Value> = (0..7)
        .map(|index| answer.at(&format!("/configurableOptions/{index}/key")))
        .collect();
    assert_eq!(
        keys[1..6],
        [
            json!("backupSlots"),
            json!("snapshotSlots"),
            json!("ipv4Count"),
            json!("ipv6"),
            json!("additionalStorageGb")
        ]
    );
    assert_eq!(answer.at("/vpsId"), json!(SOURCE_VPS));
    assert_eq!(answer.at("/currentProduct"), Value::Null);
    assert_eq!(answer.at("/availablePlans"), json!([]));
    assert_eq!(answer.at("/actions/canUpgrade/allowed"), json!(true));
}

#[test]
fn the_current_value_stands_in_any_of_three_members_or_in_none() {
    for (member, name) in [
        (CurrentAs::CurrentValue, Some("currentValue")),
        (CurrentAs::Current, Some("current")),
        (CurrentAs::Value, Some("value")),
        (CurrentAs::Absent, None),
    ] {
        let (sim, _) = world();
        with(&sim, |vps| vps.options[0].current_as = member);
        let option = get(&sim, &options_path()).at("/configurableOptions/0");
        for own in ["currentValue", "current", "value"] {
            let expected = (Some(own) == name).then(|| json!(2048));
            assert_eq!(option.get(own), expected.as_ref(), "{own}");
        }
    }
}

#[test]
fn options_of_any_kind_can_be_added_also_of_one_that_no_page_names() {
    let (sim, account) = world();
    sim.world(|w| {
        let vps = Vps::fixed("vps_two", "two", 1, 1, 10).with_options(vec![
            ConfigOption::input("note", "hello"),
            ConfigOption::new("warp", OptionKind::Other("dial".to_owned()), 3)
                .label("Warp")
                .current_as(CurrentAs::Value)
                .can_change(ActionGate::open())
                .priced("2.5", "1"),
        ]);
        w.add_vps(account, vps);
    });
    let answer = get(&sim, "/api/v2/vps/vps_two/actions/upgrade");
    assert_eq!(answer.at("/configurableOptions/1/type"), json!("dial"));
    assert_eq!(answer.at("/configurableOptions/1/value"), json!(3));
    let path = "/api/v2/vps/vps_two/actions/config";
    let body = r#"{"resources":{"note":"bye","warp":5},"dryRun":true}"#;
    let preview = Client::new(&sim, KEY).call("POST", path, body);
    assert_eq!(preview.at("/priceChange/amount"), json!(5));
}

#[test]
fn a_pay_as_you_go_vm_shows_no_options_and_refuses_to_be_configured() {
    let (sim, account) = world();
    sim.world(|w| {
        let vps = Vps::payg("vps_cloud", "cloud", 1, 1, 50).with_options(hostup_sim::standard_options());
        w.add_vps(account, vps);
    });
    let answer = get(&sim, "/api/v2/vps/vps_cloud/actions/upgrade");
    assert_eq!(answer.at("/configurableOptions"), json!([]));
    for body in [PREVIEW, COMMIT] {
        let answer = Client::new(&sim, KEY).call("POST", "/api/v2/vps/vps_cloud/actions/config", body);
        assert_eq!((answer.status, answer.at("/code")), (409, json!("vps_not_ready")));
    }
    assert!(sim.purchases().is_empty());
}

#[test]
fn a_person_at_the_panel_changes_what_the_options_say() {
    let (sim, _) = world();
    sim.world(|w| {
        w.set_option(SOURCE_VPS, "bandwidthGb", 1024);
        w.set_option(SOURCE_VPS, "ipv6", true);
        w.set_option(SOURCE_VPS, "gpuProfile", "small");
    });
    let answer = get(&sim, &options_path());
    assert_eq!(answer.at("/configurableOptions/0/currentValue"), json!(1024));
    assert_eq!(answer.at("/configurableOptions/4/currentValue"), json!(true));
    assert_eq!(answer.at("/configurableOptions/6/currentValue"), json!("small"));
    assert!(sim.purchases().is_empty());
}

// ---- previews and prices --------------------------------------------------------------------

#[test]
fn a_preview_is_answered_as_on_the_page_and_buys_nothing() {
    let (sim, _) = world();
    let answer = config(&sim, PREVIEW);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({
            "dryRun": true,
            "priceChange": {"amount": 40, "recurringAmount": 40, "additionalRecurringAmount": 40, "currencyCode": "SEK"},
            "paymentInvoice": null,
            "actions": {"canCommit": {"allowed": true, "reason": null, "code": "pending_order"}}
        })
    );
    assert!(sim.purchases().is_empty());
    assert_eq!(bandwidth(&sim), OptionValue::from(2048));
    assert_eq!(sim.count(Route::ConfigPreview), 1);
    assert_eq!(sim.count(Route::ConfigCommit), 0);
}

#[test]
fn the_price_is_the_sum_over_all_options_with_the_included_units_free() {
    let (sim, _) = world();
    for (resources, amount) in [
        (r#"{"bandwidthGb":1024}"#, json!(0)),
        (r#"{"bandwidthGb":3072,"snapshotSlots":3}"#, json!(40)),
        (r#"{"backupSlots":0}"#, json!(0)),
        (r#"{"ipv6":true,"ipv4Count":2}"#, json!(34)),
        (r#"{"gpuProfile":"small"}"#, json!(499)),
        (r#"{"additionalStorageGb":10,"bandwidthGb":2048}"#, json!(15)),
    ] {
        let answer = config(&sim, &format!(r#"{{"resources":{resources},"dryRun":true}}"#));
        assert_eq!(answer.at("/priceChange/amount"), amount, "{resources}");
    }
}

#[test]
fn lowered_values_are_a_credit() {
    let (sim, _) = world();
    sim.world(|w| w.set_option(SOURCE_VPS, "bandwidthGb", 4096));
    let answer = config(&sim, r#"{"resources":{"bandwidthGb":2048},"dryRun":true}"#);
    assert_eq!(answer.at("/priceChange/amount"), json!(-40));
    assert_eq!(answer.at("/priceChange/recurringAmount"), json!(-40));
}

#[test]
fn recurring_amounts_are_for_the_vps_s_billing_cycle_or_the_one_that_a_preview_asks_for() {
    let (sim, _) = world();
    for (cycle, amount) in [
        ("quarterly", 120),
        ("semiannually", 240),
        ("annually", 480),
        ("biennially", 960),
        ("triennially", 1440),
        ("monthly", 40),
    ] {
        with(&sim, |vps| vps.billing.billing_cycle = Some("monthly".to_owned()));
        let body =
            format!(r#"{{"resources":{{"bandwidthGb":4096}},"dryRun":true,"billingCycle":"{cycle}"}}"#);
        let hinted = config(&sim, &body);
        with(&sim, |vps| vps.billing.billing_cycle = Some(cycle.to_owned()));
        for answer in [hinted, config(&sim, PREVIEW)] {
            assert_eq!(
                answer.at("/priceChange/recurringAmount"),
                json!(amount),
                "{cycle}"
            );
        }
    }
}

#[test]
fn no_number_is_too_large_to_be_priced() {
    let (sim, _) = world();
    let huge = "79000000000000000000000000000";
    with(&sim, |vps| {
        vps.options = vec![ConfigOption::input("wish", 0).priced("1000", "0")];
    });
    let body = format!(r#"{{"resources":{{"wish":{huge}}},"dryRun":true}}"#);
    assert_eq!(config(&sim, &body).status, 200);
    let far = r#"{"resources":{"wish":1e300},"dryRun":true}"#;
    assert_eq!(config(&sim, far).status, 400);
}

#[test]
fn what_is_due_now_can_be_a_part_of_the_cycle() {
    let (sim, _) = world();
    sim.world(|w| w.config.prorate = dec("0.333"));
    let answer = config(&sim, PREVIEW);
    assert_eq!(answer.at("/priceChange/amount"), json!(13.32));
    assert_eq!(answer.at("/priceChange/recurringAmount"), json!(40));
}

#[test]
fn every_member_of_the_price_can_be_set() {
    let (sim, _) = world();
    sim.world(|w| {
        w.config.amount = Some(dec("1.25"));
        w.config.recurring_amount = Some(dec("2"));
        w.config.additional_recurring_amount = Additional::Is(dec("3"));
        w.config.currency_code = Some("EUR".to_owned());
    });
    assert_eq!(
        config(&sim, PREVIEW).at("/priceChange"),
        json!({"amount": 1.25, "recurringAmount": 2, "additionalRecurringAmount": 3, "currencyCode": "EUR"})
    );
    sim.world(|w| w.config.additional_recurring_amount = Additional::Null);
    let price = config(&sim, PREVIEW).at("/priceChange");
    assert_eq!(price["additionalRecurringAmount"], Value::Null);
    assert!(
        price
            .as_object()
            .unwrap()
            .contains_key("additionalRecurringAmount")
    );
}

#[test]
fn a_commit_can_cost_another_price_than_its_preview() {
    let (sim, _) = world();
    sim.world(|w| w.config_next(ConfigBehaviour::priced(dec("2"))));
    assert_eq!(config(&sim, PREVIEW).at("/priceChange/amount"), json!(40));
    assert_eq!(config(&sim, COMMIT).at("/priceChange/amount"), json!(80));
    assert_eq!(sim.unfired(), Vec::<String>::new());
    let bought = &sim.purchases()[0];
    assert_eq!(bought.config.as_ref().unwrap().price.amount, dec("80"));
}

#[test]
fn prices_can_change_between_two_previews() {
    let (sim, _) = world();
    sim.after_next(Route::ConfigPreview, |w| w.reprice(SOURCE_VPS, dec("1.5")));
    assert_eq!(config(&sim, PREVIEW).at("/priceChange/amount"), json!(40));
    assert_eq!(config(&sim, PREVIEW).at("/priceChange/amount"), json!(60));
}

#[test]
fn a_closed_gate_shows_in_a_preview_and_refuses_a_commit_with_its_code() {
    let (sim, _) = world();
    for (code, expected) in [(Some("pending_order"), "pending_order"), (None, "pending_orders")] {
        with(&sim, |vps| {
            vps.can_commit = ActionGate::closed("An order is pending.", code);
        });
        let preview = config(&sim, PREVIEW);
        assert_eq!(preview.status, 200);
        assert_eq!(preview.at("/actions/canCommit/allowed"), json!(false));
        let commit = config(&sim, COMMIT);
        assert_eq!((commit.status, commit.at("/code")), (409, json!(expected)));
        assert_eq!(commit.at("/detail"), json!("An order is pending."));
    }
    assert!(sim.purchases().is_empty());
    sim.world(|w| w.enforce_gates = false);
    assert_eq!(config(&sim, COMMIT).status, 200);
    assert_eq!(sim.purchases().len(), 1);
}

#[test]
fn an_option_whose_gate_is_closed_refuses_a_commit_that_names_it() {
    let (sim, _) = world();
    with(&sim, |vps| {
        vps.options[0].can_change = Some(ActionGate::closed("Fixed.", None));
    });
    assert_eq!(config(&sim, PREVIEW).status, 200);
    let refused = config(&sim, COMMIT);
    assert_eq!(
        (refused.status, refused.at("/code")),
        (409, json!("vps_not_ready"))
    );
    assert_eq!(config(&sim, r#"{"resources":{"ipv6":true}}"#).status, 200);
}

// ---- bodies ---------------------------------------------------------------------------------

#[test]
fn a_body_against_the_rules_is_refused_with_pointers_and_buys_nothing() {
    let (sim, _) = world();
    let resources = |inner: &str| format!(r#"{{"resources":{{{inner}}},"dryRun":false}}"#);
    for (body, pointer) in [
        (resources(r#""bandwidthGb":4095"#), "/resources/bandwidthGb"),
        (resources(r#""bandwidthGb":11264"#), "/resources/bandwidthGb"),
        (resources(r#""bandwidthGb":-1024"#), "/resources/bandwidthGb"),
        (resources(r#""bandwidthGb":"4096""#), "/resources/bandwidthGb"),
        (resources(r#""bandwidthGb":true"#), "/resources/bandwidthGb"),
        (resources(r#""bandwidthGb":null"#), "/resources/bandwidthGb"),
        (
            resources(r#""bandwidthGb":{"gb":1024}"#),
            "/resources/bandwidthGb",
        ),
        (resources(r#""bandwidthGb":[1024]"#), "/resources/bandwidthGb"),
        (resources(r#""ipv4Count":0"#), "/resources/ipv4Count"),
        (resources(r#""ipv4Count":1.5"#), "/resources/ipv4Count"),
        (resources(r#""ipv6":1"#), "/resources/ipv6"),
        (resources(r#""ipv6":"true""#), "/resources/ipv6"),
        (resources(r#""gpuProfile":"huge""#), "/resources/gpuProfile"),
        (resources(r#""cores":4"#), "/resources/cores"),
        ("{}".to_owned(), "/resources"),
        (resources(""), "/resources"),
        (r#"{"resources":[]}"#.to_owned(), "/resources"),
        (r#"{"resources":null}"#.to_owned(), "/resources"),
        (
            r#"{"resources":{"ipv6":true},"dryRun":"true"}"#.to_owned(),
            "/dryRun",
        ),
        (
            r#"{"resources":{"ipv6":true},"dryRun":null}"#.to_owned(),
            "/dryRun",
        ),
        (
            r#"{"resources":{"ipv6":true},"cancelExistingInvoice":1}"#.to_owned(),
            "/cancelExistingInvoice",
        ),
        (r#"{"resources":{"ipv6":true},"send":true}"#.to_owned(), "/send"),
        (
            r#"{"resources":{"ipv6":true},"attemptKey":"a"}"#.to_owned(),
            "/attemptKey",
        ),
        (
            r#"{"resources":{"ipv6":true},"billingCycle":"monthly"}"#.to_owned(),
            "/billingCycle",
        ),
        (
            r#"{"resources":{"ipv6":true},"dryRun":true,"billingCycle":"m"}"#.to_owned(),
            "/billingCycle",
        ),
        ("[]".to_owned(), ""),
        ("{".to_owned(), ""),
    ] {
        let answer = config(&sim, &body);
        assert_eq!(
            (answer.status, answer.at("/code")),
            (400, json!("invalid_request"))
        );
        assert_eq!(pointers(&answer), [pointer], "{body}");
    }
    let mut client = Client::new(&sim, KEY);
    client.send("POST", &config_path(), &[], COMMIT.as_bytes());
    assert_eq!(client.read().status, 400, "no content type");
    assert_eq!(config(&sim, "").status, 400, "no body");
    assert!(sim.purchases().is_empty());
    assert_eq!(sim.count_acted(Route::ConfigCommit), 0);
}

#[test]
fn a_body_counts_as_a_commit_unless_it_readably_says_dry_run() {
    let (sim, _) = world();
    for (body, route) in [
        (PREVIEW, Route::ConfigPreview),
        (COMMIT, Route::ConfigCommit),
        (r#"{"resources":{"ipv6":true}}"#, Route::ConfigCommit),
        (
            r#"{"resources":{"ipv6":true},"dryRun":"true"}"#,
            Route::ConfigCommit,
        ),
        (r#"{"dryRun":true"#, Route::ConfigCommit),
        (r#"{"dryRun":true}"#, Route::ConfigPreview),
    ] {
        config(&sim, body);
        assert_eq!(sim.requests().last().unwrap().route, route, "{body}");
    }
    let paid: Vec<bool> = [Route::ConfigPreview, Route::ConfigCommit, Route::UpgradeOptions]
        .map(Route::is_paid)
        .to_vec();
    assert_eq!(paid, [false, true, false]);
    assert_eq!(sim.purchases().len(), 2);
}

#[test]
fn config_asks_for_write_vm_and_the_options_for_read_vm() {
    let (sim, account) = world();
    sim.world(|w| {
        w.add_key_with_scopes(account, "reader", &["read:vm", "write:billing"]);
        w.add_key_with_scopes(account, "writer", &["write:vm"]);
        w.add_account("stranger");
    });
    let post = |key: &str| Client::new(&sim, key).call("POST", &config_path(), COMMIT).status;
    let read = |key: &str| Client::new(&sim, key).call("GET", &options_path(), "").status;
    assert_eq!((post("reader"), read("reader")), (403, 200));
    assert_eq!((post("writer"), read("writer")), (200, 403));
    assert_eq!((post("stranger"), read("stranger")), (404, 404));
    assert_eq!((post("nobody"), read("nobody")), (401, 401));
    assert_eq!(sim.purchases().len(), 1);
}

// ---- commits --------------------------------------------------------------------------------

#[test]
fn a_commit_sets_the_values_and_stands_in_the_ledger_with_its_facts() {
    let (sim, account) = world();
    let body = r#"{"resources":{"bandwidthGb":4096,"ipv6":true}}"#;
    let answer = config(&sim, body);
    assert_eq!((answer.status, answer.at("/dryRun")), (200, json!(false)));
    assert_eq!(answer.at("/paymentInvoice"), Value::Null);
    assert_eq!(bandwidth(&sim), OptionValue::from(4096));
    let [line] = &sim.purchases()[..] else {
        panic!("one line")
    };
    assert_eq!((line.kind, line.sequence), (PurchaseKind::Config, 1));
    assert_eq!((line.account, line.key.as_str()), (account, "key1"));
    assert_eq!(line.source_vps, SOURCE_VPS);
    assert_eq!(
        (&line.vps_id, line.job_id.as_str(), line.per_hour),
        (&None, "", None)
    );
    assert_eq!(line.body, body.as_bytes());
    let bought = line.config.as_ref().unwrap();
    let changes: Vec<String> = bought
        .changes
        .iter()
        .map(|change| format!("{} {} -> {}", change.key, change.from, change.to))
        .collect();
    assert_eq!(changes, ["bandwidthGb 2048 -> 4096", "ipv6 false -> true"]);
    assert_eq!(bought.price.amount, dec("45"));
    assert_eq!(bought.price.currency_code, "SEK");
    assert_eq!(bought.billing_cycle.as_deref(), Some("monthly"));
    assert_eq!((&bought.invoice, &bought.cancelled_invoice), (&None, &None));
    assert!(sim.requests()[line.request].acted);
}

#[test]
fn two_identical_commits_are_both_executed_and_restores_stand_beside_them() {
    let (sim, _) = world();
    config(&sim, COMMIT);
    assert_eq!(config(&sim, COMMIT).at("/priceChange/amount"), json!(0));
    restore(&sim, common::ORDER);
    let kinds: Vec<PurchaseKind> = sim.purchases().iter().map(|line| line.kind).collect();
    assert_eq!(
        kinds,
        [
            PurchaseKind::Config,
            PurchaseKind::Config,
            PurchaseKind::RestoreToPayg
        ]
    );
    assert!(sim.purchases()[2].config.is_none());
}

#[test]
fn values_can_be_set_late_by_the_world_s_clock() {
    let (sim, _) = world();
    let late = Apply::After(Duration::from_secs(60));
    sim.world(|w| w.config_next(ConfigBehaviour::applied(late)));
    config(&sim, COMMIT);
    assert_eq!(bandwidth(&sim), OptionValue::from(2048));
    sim.world(|w| w.advance(Duration::from_secs(59)));
    assert_eq!(bandwidth(&sim), OptionValue::from(2048));
    sim.world(|w| {
        w.advance(Duration::from_secs(1));
        assert_eq!(w.option(SOURCE_VPS, "bandwidthGb"), &OptionValue::from(4096));
    });
    let read = get(&sim, &options_path());
    assert_eq!(read.at("/configurableOptions/0/currentValue"), json!(4096));
}

#[test]
fn waiting_wakes_when_a_late_value_is_set() {
    let (sim, _) = world();
    let late = Apply::After(Duration::from_millis(50));
    sim.world(|w| w.config_next(ConfigBehaviour::applied(late)));
    config(&sim, COMMIT);
    let begun = Instant::now();
    assert!(sim.wait_until(SOON, |w| *w.option(SOURCE_VPS, "bandwidthGb") == 4096.into()));
    assert!(begun.elapsed() < SOON / 2);
}

#[test]
fn a_read_shows_a_late_value_once_its_time_has_come() {
    let (sim, _) = world();
    let late = Apply::After(Duration::from_millis(50));
    sim.world(|w| w.config_next(ConfigBehaviour::applied(late)));
    config(&sim, COMMIT);
    let begun = Instant::now();
    let current = || get(&sim, &options_path()).at("/configurableOptions/0/currentValue");
    while current() != json!(4096) {
        assert!(begun.elapsed() < SOON);
    }
}

#[test]
fn a_commit_can_set_nothing_ever() {
    let (sim, _) = world();
    sim.world(|w| w.config.apply = Apply::Never);
    assert_eq!(config(&sim, COMMIT).status, 200);
    sim.world(|w| w.advance(Duration::from_secs(1_000_000)));
    assert_eq!(bandwidth(&sim), OptionValue::from(2048));
    assert_eq!(sim.purchases().len(), 1);
}

#[test]
fn a_commit_can_make_an_open_invoice() {
    let (sim, _) = world();
    sim.world(|w| w.config.invoice = true);
    let invoice = config(&sim, COMMIT).at("/paymentInvoice");
    let id = invoice["id"].as_str().unwrap();
    assert!(id.starts_with("inv_"));
    assert_eq!(
        (&invoice["amount"], &invoice["currencyCode"], &invoice["status"]),
        (&json!(40), &json!("SEK"), &json!("unpaid"))
    );
    for member in ["number", "dueAt", "paymentUrl"] {
        assert!(invoice[member].is_string(), "{member}");
    }
    assert_eq!(bandwidth(&sim), OptionValue::from(4096));
    let bought = &sim.purchases()[0];
    assert_eq!(bought.config.as_ref().unwrap().invoice.as_deref(), Some(id));
    assert_eq!(config(&sim, PREVIEW).at("/paymentInvoice"), Value::Null);
    sim.world(|w| w.pay_invoice(id));
    assert_eq!(sim.world(|w| w.invoices()[0].status.clone()), "paid");
}

#[test]
fn values_can_wait_for_the_invoice_to_be_paid() {
    let (sim, _) = world();
    sim.world(|w| w.config_next(ConfigBehaviour::applied(Apply::WhenPaid)));
    let invoice = config(&sim, COMMIT).at("/paymentInvoice/id");
    sim.world(|w| w.advance(Duration::from_secs(1_000_000)));
    assert_eq!(bandwidth(&sim), OptionValue::from(2048));
    sim.world(|w| w.pay_invoice(invoice.as_str().unwrap()));
    assert_eq!(bandwidth(&sim), OptionValue::from(4096));
}

#[test]
#[should_panic(expected = "is not open")]
fn an_invoice_is_paid_once() {
    let (sim, _) = world();
    sim.world(|w| w.config.invoice = true);
    let invoice = config(&sim, COMMIT).at("/paymentInvoice/id");
    for _ in 0..2 {
        sim.world(|w| w.pay_invoice(invoice.as_str().unwrap()));
    }
}

#[test]
fn a_behaviour_that_no_commit_used_is_told() {
    let (sim, _) = world();
    sim.world(|w| w.config_next(ConfigBehaviour::default()));
    config(&sim, PREVIEW);
    assert_eq!(sim.unfired(), ["1 config behaviour(s) that no commit used"]);
    config(&sim, COMMIT);
    assert_eq!(sim.unfired(), Vec::<String>::new());
}

// ---- the blocking invoice -------------------------------------------------------------------

fn blocked_world() -> Sim {
    let (sim, _) = world();
    with(&sim, |vps| {
        vps.blocking_invoice = Some(Invoice::open("inv_old", "199"));
    });
    sim
}

#[test]
fn an_open_invoice_blocks_a_commit_and_the_409_suggests_cancelling_it() {
    let sim = blocked_world();
    assert_eq!(config(&sim, PREVIEW).status, 200);
    let answer = config(&sim, COMMIT);
    assert_eq!(
        (answer.status, answer.at("/code")),
        (409, json!("existing_invoice_blocking"))
    );
    assert!(
        answer
            .at("/detail")
            .as_str()
            .unwrap()
            .contains("cancelExistingInvoice: true")
    );
    assert_eq!(
        answer.at("/extensions"),
        json!({"invoiceId": "inv_old", "cancelExistingInvoice": true})
    );
    assert!(sim.purchases().is_empty());
}

#[test]
fn the_409_can_suggest_nothing() {
    let sim = blocked_world();
    sim.world(|w| w.config.suggest_cancelling = false);
    let answer = config(&sim, COMMIT);
    assert_eq!(answer.status, 409);
    assert!(!answer.text().contains("cancelExistingInvoice"));
}

#[test]
fn the_flag_cancels_the_invoice_and_commits() {
    let sim = blocked_world();
    assert_eq!(config(&sim, CANCEL).status, 200);
    sim.world(|w| {
        let cancelled: Vec<_> = w
            .cancelled_invoices()
            .iter()
            .map(|own| (own.id.as_str(), own.status.as_str()))
            .collect();
        assert_eq!(cancelled, [("inv_old", "cancelled")]);
        assert!(w.needless_cancellations().is_empty());
        assert!(w.vps(SOURCE_VPS).unwrap().blocking_invoice.is_none());
    });
    let bought = &sim.purchases()[0];
    let bought = bought.config.as_ref().unwrap();
    assert_eq!(bought.cancelled_invoice.as_deref(), Some("inv_old"));
}

#[test]
fn the_billing_cycle_lists_the_invoice_that_blocks_until_it_is_paid() {
    let (sim, _) = world();
    let listed = || {
        let path = format!("/api/v2/vps/{SOURCE_VPS}/actions/billing-cycle");
        get(&sim, &path).at("/blockingInvoices").clone()
    };
    assert_eq!(listed(), json!([]));
    with(&sim, |vps| {
        vps.blocking_invoice = Some(Invoice::open("inv_old", "199"))
    });
    assert_eq!(listed()[0]["id"], "inv_old");
    assert_eq!(listed()[0]["status"], "unpaid");
    sim.world(|w| w.pay_invoice("inv_old"));
    assert_eq!(listed(), json!([]));
}

#[test]
fn a_blocking_invoice_that_is_paid_blocks_no_longer() {
    let sim = blocked_world();
    sim.world(|w| w.pay_invoice("inv_old"));
    assert_eq!(config(&sim, COMMIT).status, 200);
    assert!(sim.world(|w| w.cancelled_invoices().is_empty()));
}

#[test]
fn the_flag_is_counted_where_it_is_for_nothing() {
    let (sim, _) = world();
    assert_eq!(config(&sim, CANCEL).status, 200);
    let preview = r#"{"resources":{"ipv6":true},"dryRun":true,"cancelExistingInvoice":true}"#;
    with(&sim, |vps| {
        vps.blocking_invoice = Some(Invoice::open("inv_old", "199"));
    });
    assert_eq!(config(&sim, preview).status, 200);
    sim.world(|w| {
        assert_eq!(w.needless_cancellations(), [0, 1]);
        assert!(w.cancelled_invoices().is_empty());
        assert!(w.vps(SOURCE_VPS).unwrap().blocking_invoice.is_some());
    });
}

#[test]
fn a_blocking_invoice_can_refuse_previews_too_and_no_flag_helps_them() {
    let sim = blocked_world();
    sim.world(|w| w.config.blocks_previews = true);
    let flagged = r#"{"resources":{"ipv6":true},"dryRun":true,"cancelExistingInvoice":true}"#;
    for body in [PREVIEW, flagged] {
        assert_eq!(config(&sim, body).at("/code"), json!("existing_invoice_blocking"));
    }
    sim.world(|w| {
        assert!(w.cancelled_invoices().is_empty());
        assert_eq!(w.needless_cancellations(), [1]);
    });
}

#[test]
fn an_invoice_that_a_commit_made_can_block_the_next_and_cancelling_it_drops_its_values() {
    let (sim, _) = world();
    sim.world(|w| {
        w.config_next(ConfigBehaviour {
            invoice_blocks: true,
            ..ConfigBehaviour::applied(Apply::WhenPaid)
        });
    });
    let first = config(&sim, COMMIT).at("/paymentInvoice/id");
    let second = config(&sim, r#"{"resources":{"ipv6":true}}"#);
    assert_eq!(second.at("/extensions/invoiceId"), first);
    let body = r#"{"resources":{"ipv6":true},"cancelExistingInvoice":true}"#;
    assert_eq!(config(&sim, body).status, 200);
    sim.world(|w| {
        assert_eq!(w.option(SOURCE_VPS, "bandwidthGb"), &OptionValue::from(2048));
        assert_eq!(w.option(SOURCE_VPS, "ipv6"), &OptionValue::from(true));
        assert_eq!(w.invoices()[0].status, "cancelled");
        assert_eq!(w.cancelled_invoices().len(), 1);
    });
}

// ---- faults ---------------------------------------------------------------------------------

#[test]
fn acted_and_answered_are_independent_for_a_commit() {
    for acted in [true, false] {
        for (answer, status) in [
            (Answer::normal(), 200),
            (Answer::problem(502, "upstream_renewal_regeneration_failed"), 502),
            (Answer::problem(409, "pending_orders"), 409),
            (Answer::html(502), 502),
            (Answer::reset(), 0),
        ] {
            let (sim, _) = world();
            sim.inject(Fault::on(Route::ConfigCommit).acted(acted).answer(answer));
            assert_eq!(config(&sim, PREVIEW).status, 200);
            let answer = config(&sim, COMMIT);
            assert_eq!(answer.status, status);
            assert_eq!(sim.purchases().len(), usize::from(acted));
            assert_eq!(sim.requests()[1].acted, acted);
            let expected = if acted { 4096 } else { 2048 };
            assert_eq!(bandwidth(&sim), OptionValue::from(expected));
            assert_eq!(sim.unfired(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_commit_that_is_not_acted_on_uses_no_behaviour_and_cancels_nothing() {
    let sim = blocked_world();
    sim.world(|w| {
        w.config_next(ConfigBehaviour {
            invoice: true,
            ..ConfigBehaviour::default()
        });
    });
    sim.inject(Fault::on(Route::ConfigCommit).acted(false));
    let answer = config(&sim, CANCEL);
    assert_eq!(answer.status, 200);
    assert!(answer.at("/paymentInvoice").is_object());
    sim.world(|w| {
        assert!(w.invoices().is_empty() && w.cancelled_invoices().is_empty());
        assert!(w.vps(SOURCE_VPS).unwrap().blocking_invoice.is_some());
    });
    assert_eq!(sim.unfired().len(), 1);
}

#[test]
#[should_panic(expected = "spends money")]
fn a_fault_on_a_commit_must_say_whether_it_acts() {
    world()
        .0
        .inject(Fault::on(Route::ConfigCommit).answer(Answer::reset()));
}

#[test]
fn a_fault_on_a_preview_need_not_say_and_leaves_commits_alone() {
    let (sim, _) = world();
    sim.inject(Fault::on(Route::ConfigPreview).answer(Answer::problem(500, "internal_error")));
    assert_eq!(config(&sim, COMMIT).status, 200);
    assert_eq!(config(&sim, PREVIEW).status, 500);
    assert_eq!(config(&sim, PREVIEW).status, 200);
}

#[test]
fn a_commit_can_be_held_before_and_after_it_is_carried_out() {
    for (stage, bought) in [(Stage::BeforeAct, 0), (Stage::AfterAct, 1)] {
        let (sim, _) = world();
        let gate = sim.hold(Route::ConfigCommit, stage);
        let mut client = Client::new(&sim, KEY);
        let kind = [("Content-Type", "application/json")];
        client.send("POST", &config_path(), &kind, COMMIT.as_bytes());
        assert!(gate.wait_held(SOON));
        assert_eq!(sim.purchases().len(), bought);
        gate.release();
        assert_eq!(client.read().status, 200);
    }
}

#[test]
fn oddities_and_patches_reach_the_options() {
    let (sim, _) = world();
    sim.world(|w| {
        w.odd.extra_fields = vec![Route::UpgradeOptions];
        w.odd.unknown_words = vec![Route::UpgradeOptions];
        w.patch(
            Route::UpgradeOptions,
            "/configurableOptions/*/currentValue",
            Some("\"1e3\""),
        );
    });
    let answer = get(&sim, &options_path());
    assert_eq!(answer.at("/configurableOptions/0/type"), json!("levitating"));
    assert!(answer.at("/configurableOptions/0/xFutureField").is_object());
    assert_eq!(answer.at("/configurableOptions/3/currentValue"), json!("1e3"));
}
