//! A provider that sends what nobody should store, show or follow, on the routes of options and on the
//! older one.

use futures::future::join_all;
use hostup_sim::{Answer, Fault, Oddities, Route};
use serde_json::json;

use super::more_bandwidth;
use crate::support::printable::{evil, logged_is_json, peak_memory, quoted, stored_is_printable};
use crate::support::{Customer, TestEnv, ready};

/// One customer: what of its calls is answered in which way, and what becomes of it.
struct Row {
    name: &'static str,
    route: Route,
    /// For so many calls; 0 means for all.
    times: u32,
    acted: bool,
    answer: Answer,
    end: &'static str,
    executed: usize,
}

impl Row {
    /// Every answer of a route that spends nothing.
    fn always(name: &'static str, route: Route, answer: Answer, end: &'static str, executed: usize) -> Self {
        Self {
            times: 0,
            ..Self::once(name, route, true, answer, end, executed)
        }
    }

    /// The first answer of a route.
    fn once(
        name: &'static str,
        route: Route,
        acted: bool,
        answer: Answer,
        end: &'static str,
        executed: usize,
    ) -> Self {
        Self {
            name,
            route,
            times: 1,
            acted,
            answer,
            end,
            executed,
        }
    }

    fn fault(&self, customer: &Customer) -> Fault {
        let fault = customer.fault(self.route).answer(self.answer.clone());
        let fault = if self.times == 0 {
            fault.always()
        } else {
            fault.times(self.times)
        };
        if self.route.is_paid() {
            fault.acted(self.acted)
        } else {
            fault
        }
    }
}

fn deep() -> String {
    "[".repeat(10_000) + &"]".repeat(10_000)
}

/// Runs the rows with one operator, and looks at all that was stored and logged.
async fn check(name: &str, rows: Vec<Row>, make: impl Fn(&Customer, &TestEnv) -> serde_json::Value) {
    let env = TestEnv::new(name).await;
    let operator = env.operator_for_many(&["--enable-legacy-upgrade"]);
    join_all(rows.iter().map(|row| async {
        let customer = env.customer(row.name).await;
        env.sim.inject(row.fault(&customer));
        env.create(make(&customer, &env)).await;
        env.config_comes_to(row.name, row.end).await;
        assert_eq!(env.executed_of(&customer), row.executed, "{}", row.name);
        let commits = env.requests_of(&customer, Route::ConfigCommit).len();
        let estimates = env.requests_of(&customer, Route::LegacyEstimate).len();
        let upgrades = env.requests_of(&customer, Route::LegacyUpgrade).len();
        for sent in [commits, estimates, upgrades] {
            assert!(sent <= 1, "{}: {sent} calls", row.name);
        }
    }))
    .await;
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    stored_is_printable(&env).await;
    logged_is_json(&operator);
    let peak = peak_memory(&operator);
    assert!(peak < 150_000, "the operator took {peak} kB");
    env.check_invariants().await;
}

#[tokio::test]
async fn hostile_options_are_shown_printable_and_bounded_or_not_at_all() {
    let evil = evil();
    let text = quoted(&evil);
    let set = |pointer: &str, text: &str| Answer::normal().set(pointer, text);
    let list = |options: serde_json::Value| {
        Answer::json(
            200,
            json!({"vpsId": "x", "configurableOptions": options}).to_string(),
        )
    };
    let option = |key: &str| json!({"key": key, "type": "slider", "currentValue": 1});
    let many = |count: usize| {
        let options: Vec<_> = (0..count)
            .map(|n| option(&format!("{:x<60}{n}", "key")))
            .collect();
        list(json!(options))
    };
    let closed = json!({"canChange": {"allowed": false, "code": evil, "reason": evil}}).to_string();
    let row = |name, answer, end, executed| Row::always(name, Route::UpgradeOptions, answer, end, executed);
    let rows = vec![
        row("labels", set("/configurableOptions/*/label", &text), "InSync", 1),
        row(
            "labels-odd",
            set("/configurableOptions/*/label", "[{}]"),
            "InSync",
            1,
        ),
        row("kind", set("/configurableOptions/*/type", &text), "InSync", 1),
        row(
            "kind-null",
            set("/configurableOptions/*/type", "null"),
            "InSync",
            1,
        ),
        row(
            "neighbour",
            set("/configurableOptions/1/currentValue", &text),
            "InSync",
            1,
        ),
        row(
            "neighbour-null",
            set("/configurableOptions/1/currentValue", "null"),
            "InSync",
            1,
        ),
        row(
            "neighbour-list",
            set("/configurableOptions/1/currentValue", "[[]]"),
            "InSync",
            1,
        ),
        row(
            "value",
            set("/configurableOptions/0/currentValue", &text),
            "AwaitingApproval",
            0,
        ),
        row(
            "value-null",
            set("/configurableOptions/0/currentValue", "null"),
            "AwaitingApproval",
            0,
        ),
        row(
            "value-huge",
            set("/configurableOptions/0/currentValue", "1e300"),
            "AwaitingApproval",
            0,
        ),
        row(
            "value-tiny",
            set("/configurableOptions/0/currentValue", "-1e-300"),
            "AwaitingApproval",
            0,
        ),
        row("limits", set("/configurableOptions/0/max", &text), "InSync", 1),
        row(
            "limits-null",
            set("/configurableOptions/*/max", "null"),
            "InSync",
            1,
        ),
        row(
            "limits-zero",
            set("/configurableOptions/0/step", "0"),
            "InSync",
            1,
        ),
        row(
            "limits-huge",
            set("/configurableOptions/0/min", "1e28"),
            "UnknownOption",
            0,
        ),
        row(
            "values",
            set(
                "/configurableOptions/0/values",
                &json!(vec![&evil; 20]).to_string(),
            ),
            "UnknownOption",
            0,
        ),
        row(
            "gate",
            set("/configurableOptions/0/actions", &closed),
            "GatesClosed",
            0,
        ),
        row(
            "gate-odd",
            set("/configurableOptions/0/actions", "[1]"),
            "InSync",
            1,
        ),
        row(
            "gate-null",
            set("/configurableOptions/0/actions", "null"),
            "InSync",
            1,
        ),
        row(
            "key",
            set("/configurableOptions/1/key", &text),
            "ProviderUnavailable",
            0,
        ),
        row(
            "key-empty",
            set("/configurableOptions/1/key", "\"\""),
            "ProviderUnavailable",
            0,
        ),
        row(
            "key-null",
            set("/configurableOptions/1/key", "null"),
            "ProviderUnavailable",
            0,
        ),
        row(
            "key-number",
            set("/configurableOptions/1/key", "7"),
            "ProviderUnavailable",
            0,
        ),
        row(
            "key-twice",
            set("/configurableOptions/*/key", "\"bandwidthGb\""),
            "InSync",
            1,
        ),
        row("others", many(60), "UnknownOption", 0),
        row("thousands", many(5_000), "ProviderUnavailable", 0),
        row("none", list(json!([])), "UnknownOption", 0),
        row("no-list", list(json!(null)), "ProviderUnavailable", 0),
        row(
            "deep-value",
            set("/configurableOptions/1/currentValue", &deep()),
            "ProviderUnavailable",
            0,
        ),
        row(
            "deep-unknown",
            set("/configurableOptions/*/later", &deep()),
            "InSync",
            1,
        ),
        row(
            "deep-known",
            set("/configurableOptions/*/actions", &deep()),
            "InSync",
            1,
        ),
        row("deep", Answer::deep(200, 10_000), "ProviderUnavailable", 0),
        row("big", Answer::big(200, 5_000_000), "ProviderUnavailable", 0),
        row("page", Answer::raw(200, evil.clone()), "ProviderUnavailable", 0),
        row(
            "refused",
            Answer::problem(403, &evil).detail(&evil),
            "Unauthorized",
            0,
        ),
        row(
            "failed",
            Answer::problem(500, &evil).detail(&evil),
            "ProviderUnavailable",
            0,
        ),
    ];
    check("eviloptions", rows, |customer, env| {
        customer.config(env, more_bandwidth())
    })
    .await;
}

#[tokio::test]
async fn a_hostile_dry_run_is_shown_printable_and_bounded_or_not_at_all() {
    let evil = evil();
    let text = quoted(&evil);
    let set = |pointer: &str, text: &str| Answer::normal().set(pointer, text);
    let closed = json!({"allowed": false, "code": evil, "reason": evil}).to_string();
    let open = json!({"allowed": true, "code": evil, "reason": evil}).to_string();
    let row = |name, answer, end, executed| Row::always(name, Route::ConfigPreview, answer, end, executed);
    let gone = "ProviderUnavailable";
    let rows = vec![
        row("closed", set("/actions/canCommit", &closed), "GatesClosed", 0),
        row("open", set("/actions/canCommit", &open), "InSync", 1),
        row(
            "open-word",
            set("/actions/canCommit/allowed", "\"true\""),
            gone,
            0,
        ),
        row(
            "gate-missing",
            Answer::normal().remove("/actions"),
            "GatesClosed",
            0,
        ),
        row("gate-null", set("/actions/canCommit", "null"), "GatesClosed", 0),
        row(
            "allowed-null",
            set("/actions/canCommit/allowed", "null"),
            "GatesClosed",
            0,
        ),
        row(
            "refused400",
            Answer::problem(400, &evil).detail(&evil),
            "GatesClosed",
            0,
        ),
        row(
            "refused409",
            Answer::problem(409, &evil).detail(&evil),
            "GatesClosed",
            0,
        ),
        row(
            "refused422",
            Answer::problem(422, &evil).detail(&evil),
            "GatesClosed",
            0,
        ),
        row(
            "refused403",
            Answer::problem(403, &evil).detail(&evil),
            "Unauthorized",
            0,
        ),
        row(
            "refused404",
            Answer::problem(404, &evil).detail(&evil),
            "ProviderUnavailable",
            0,
        ),
        row("failed", Answer::problem(500, &evil).detail(&evil), gone, 0),
        row("page", Answer::raw(200, evil.clone()), gone, 0),
        row("page409", Answer::raw(409, evil.clone()), gone, 0),
        row("not-dry", set("/dryRun", "false"), "NotConfigurable", 0),
        row("not-said", Answer::normal().remove("/dryRun"), gone, 0),
        row("no-success", set("/success", "false"), gone, 0),
        row("amount", set("/priceChange/amount", &text), gone, 0),
        row("amount-null", set("/priceChange/amount", "null"), gone, 0),
        row("amount-list", set("/priceChange/amount", "[40]"), gone, 0),
        row(
            "amount-huge",
            set("/priceChange/amount", "7e28"),
            "QuoteExceedsCeiling",
            0,
        ),
        row("amount-beyond", set("/priceChange/amount", "1e300"), gone, 0),
        row(
            "amount-dust",
            set("/priceChange/amount", "40.0000000000000000000000001"),
            "QuoteExceedsCeiling",
            0,
        ),
        row("credit-huge", set("/priceChange/amount", "-7e28"), "InSync", 1),
        row(
            "recurring-huge",
            set("/priceChange/recurringAmount", "7e28"),
            "QuoteExceedsCeiling",
            0,
        ),
        row(
            "recurring-null",
            set("/priceChange/recurringAmount", "null"),
            gone,
            0,
        ),
        row(
            "additional-null",
            set("/priceChange/additionalRecurringAmount", "null"),
            "InSync",
            1,
        ),
        row(
            "additional-more",
            set("/priceChange/additionalRecurringAmount", "40.01"),
            "QuoteExceedsCeiling",
            0,
        ),
        row(
            "additional",
            set("/priceChange/additionalRecurringAmount", &text),
            gone,
            0,
        ),
        row("currency", set("/priceChange/currencyCode", &text), gone, 0),
        row("currency-null", set("/priceChange/currencyCode", "null"), gone, 0),
        row(
            "currency-other",
            set("/priceChange/currencyCode", "\"EUR\""),
            "QuoteExceedsCeiling",
            0,
        ),
        row("price-null", set("/priceChange", "null"), gone, 0),
        row("price-list", set("/priceChange", "[]"), gone, 0),
        row("invoice", set("/paymentInvoice", &text), "InSync", 1),
        row("deep-unknown", set("/later", &deep()), "InSync", 1),
        row("deep-price", set("/priceChange", &deep()), gone, 0),
        row("deep", Answer::deep(200, 10_000), gone, 0),
        row("big", Answer::big(200, 5_000_000), gone, 0),
        row("big409", Answer::big(409, 5_000_000), gone, 0),
        row("moved", Answer::redirect(307, "/api/v2/vps?again=yes"), gone, 0),
    ];
    check("evildryrun", rows, |customer, env| {
        customer.config(env, more_bandwidth())
    })
    .await;
}

#[tokio::test]
async fn a_hostile_answer_to_a_commit_is_shown_printable_and_bounded() {
    let evil = evil();
    let invoice = json!({"id": evil, "amount": evil, "currencyCode": evil, "dueAt": evil}).to_string();
    let numbers = json!({"id": 7, "amount": 7e28, "currencyCode": 7, "dueAt": [evil]}).to_string();
    let billed = |invoice: &str| Answer::normal().set("/paymentInvoice", invoice);
    let blocking = Answer::problem(409, "existing_invoice_blocking")
        .detail(&evil)
        .extension("invoiceId", &quoted(&evil))
        .extension("cancelExistingInvoice", &quoted(&evil));
    let blocked = Answer::problem(403, "no_cloud_access")
        .detail(&evil)
        .set("/blockerReasons", &json!(vec!["not_verified"; 3_000]).to_string());
    let once = |name, acted, answer, end, executed| {
        Row::once(name, Route::ConfigCommit, acted, answer, end, executed)
    };
    let rows = vec![
        once("invoice", true, billed(&invoice), "InSync", 1),
        once("invoice-open", false, billed(&invoice), "AwaitingPayment", 0),
        once("invoice-numbers", false, billed(&numbers), "AwaitingPayment", 0),
        once("invoice-text", true, billed(&quoted(&evil)), "InSync", 1),
        once("invoice-deep", true, billed(&deep()), "InSync", 1),
        once(
            "refused",
            false,
            Answer::problem(409, "pending_orders").detail(&evil),
            "Rejected",
            0,
        ),
        once("blocking", false, blocking, "Rejected", 0),
        once("blocked", false, blocked, "Rejected", 0),
        once(
            "old-refusal",
            false,
            Answer::legacy_error(400, "BAD_REQUEST", &evil),
            "Rejected",
            0,
        ),
        once(
            "failed",
            false,
            Answer::problem(500, &evil).detail(&evil),
            "OutcomeUnknown",
            0,
        ),
        once("page", false, Answer::raw(200, evil.clone()), "OutcomeUnknown", 0),
        once("page-acted", true, Answer::raw(200, evil.clone()), "InSync", 1),
        once("page-moved", true, Answer::raw(302, evil.clone()), "InSync", 1),
        once("deep", true, Answer::deep(200, 10_000), "InSync", 1),
        once(
            "deep-refusal",
            false,
            Answer::deep(409, 10_000),
            "OutcomeUnknown",
            0,
        ),
        once("big", true, Answer::big(200, 5_000_000), "InSync", 1),
        once(
            "big-refusal",
            false,
            Answer::big(409, 5_000_000),
            "OutcomeUnknown",
            0,
        ),
    ];
    check("evilcommit", rows, |customer, env| {
        customer.config(env, more_bandwidth())
    })
    .await;
}

#[tokio::test]
async fn a_hostile_answer_of_the_older_route_is_shown_printable_and_bounded() {
    let evil = evil();
    let text = quoted(&evil);
    let set = |pointer: &str, text: &str| Answer::normal().set(pointer, text);
    let ids = |answer: Answer| {
        let answer = answer.set("/data/orderId", &text).set("/data/invoiceId", &text);
        answer.set("/data/message", &text).set("/data/redirectUrl", &text)
    };
    let estimate =
        |name, answer, end, executed| Row::once(name, Route::LegacyEstimate, false, answer, end, executed);
    let upgrade = |name, acted, answer, end, executed| {
        Row::once(name, Route::LegacyUpgrade, acted, answer, end, executed)
    };
    let refused = || Answer::legacy_error(400, "BAD_REQUEST", &evil).set("/error", &text);
    let rows = vec![
        estimate("message", ids(Answer::normal()), "InSync", 1),
        estimate("total", set("/data/total", &text), "Rejected", 0),
        estimate("total-null", set("/data/total", "null"), "Rejected", 0),
        estimate(
            "total-huge",
            set("/data/total", "\"7e28\""),
            "QuoteExceedsCeiling",
            0,
        ),
        estimate("total-beyond", set("/data/total", "1e300"), "Rejected", 0),
        estimate("credit-huge", set("/data/total", "-7e28"), "AwaitingApproval", 0),
        estimate(
            "recurring",
            set("/data/recurring", &text),
            "QuoteExceedsCeiling",
            0,
        ),
        estimate(
            "recurring-huge",
            set("/data/recurring", "7e28"),
            "QuoteExceedsCeiling",
            0,
        ),
        estimate("draft", set("/data/draftId", &text), "InSync", 1),
        estimate("draft-negative", set("/data/draftId", "-1"), "InSync", 1),
        estimate("draft-null", set("/data/draftId", "null"), "InSync", 1),
        estimate(
            "currency",
            set("/data/raw/draft/currency/iso", &text),
            "QuoteExceedsCeiling",
            0,
        ),
        estimate("raw-null", set("/data/raw", "null"), "QuoteExceedsCeiling", 0),
        estimate("raw-deep", set("/data/raw", &deep()), "QuoteExceedsCeiling", 0),
        estimate("later-deep", set("/data/later", &deep()), "InSync", 1),
        estimate(
            "executed",
            ids(set("/data/upgraded", "true")),
            "AlreadyExecuted",
            0,
        ),
        estimate("estimate-refused", refused(), "Rejected", 0),
        estimate(
            "estimate-page",
            Answer::raw(200, evil.clone()),
            "OutcomeUnknown",
            0,
        ),
        estimate("estimate-deep", Answer::deep(200, 10_000), "OutcomeUnknown", 0),
        estimate("estimate-big", Answer::big(200, 5_000_000), "OutcomeUnknown", 0),
        upgrade("upgraded", true, ids(Answer::normal()), "InSync", 1),
        upgrade("upgrade-refused", false, refused(), "Rejected", 0),
        upgrade(
            "upgrade-problem",
            false,
            Answer::problem(409, "pending_orders").detail(&evil),
            "Rejected",
            0,
        ),
        upgrade(
            "upgrade-page",
            true,
            Answer::raw(200, evil.clone()),
            "OutcomeUnknown",
            1,
        ),
        upgrade(
            "upgrade-failed",
            true,
            Answer::problem(500, &evil).detail(&evil),
            "OutcomeUnknown",
            1,
        ),
        upgrade(
            "upgrade-deep",
            true,
            Answer::deep(200, 10_000),
            "OutcomeUnknown",
            1,
        ),
        upgrade(
            "upgrade-big",
            true,
            Answer::big(200, 5_000_000),
            "OutcomeUnknown",
            1,
        ),
    ];
    check("evilold", rows, Customer::legacy).await;
}

#[tokio::test]
async fn unknown_fields_words_and_nulls_everywhere_still_change_options() {
    let any = || vec![Route::Any];
    let odd = |nulls: Vec<Route>, extra_fields: Vec<Route>, unknown_words: Vec<Route>| Oddities {
        nulls,
        extra_fields,
        unknown_words,
        ..Oddities::default()
    };
    let rows = [
        ("odd-extra", odd(vec![], any(), vec![]), "InSync"),
        // Without a billing cycle that is known, no ceiling covers what recurs.
        ("odd-words", odd(vec![], vec![], any()), "QuoteExceedsCeiling"),
        ("odd-nulls", odd(any(), vec![], vec![]), "QuoteExceedsCeiling"),
        ("odd-all", odd(any(), any(), any()), "QuoteExceedsCeiling"),
    ];
    join_all(rows.map(|(name, odd, first)| async move {
        let env = TestEnv::new(name).await;
        env.sim.world(|world| world.odd = odd);
        let _operator = env.operator_for_many(&["--enable-legacy-upgrade"]);
        let options = env.customer("options").await;
        let older = env.customer("older").await;
        env.create(options.config(&env, more_bandwidth())).await;
        env.create(older.legacy(&env)).await;
        env.config_comes_to("options", first).await;
        env.config_comes_to("older", "InSync").await;
        env.sim.world(|world| world.odd = Oddities::default());
        for customer in [&options, &older] {
            env.config_comes_to(&customer.name, "InSync").await;
            assert_eq!(env.executed_of(customer), 1, "{name}: {}", customer.name);
        }
        env.check_invariants().await;
    }))
    .await;
}

#[tokio::test]
async fn many_long_objections_and_gates_still_make_an_object_of_a_bearable_size() {
    let env = TestEnv::new("evilmany").await;
    let operator = env.operator_for_many(&[]);
    let wide = |n: usize| format!("{n}{}", "\u{1f4b8}".repeat(300));
    let words: Vec<String> = (0..200).map(wide).collect();
    let closed = json!({"canChange": {"allowed": false, "code": wide(1), "reason": wide(2)}});
    let long = |letter: char| (0..20).map(move |n| format!("{letter}{n:0>63}"));
    let fields = json!({"bandwidthGb": 1, "backupSlots": 1, "snapshotSlots": 1, "ipv4Count": 1,
        "additionalStorageGb": 1, "ipv6": true});
    // All that a spec can ask for at once.
    let wanted = |letter| {
        let mut resources = fields.clone();
        let extra = long(letter).map(|key| (key, json!("wanted")));
        resources["extra"] = extra.collect::<serde_json::Map<_, _>>().into();
        resources
    };
    let offered: Vec<String> = fields
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .chain(long('k'))
        .collect();
    let list = |more: &serde_json::Value| {
        let options = (0..64).map(|n| {
            let key = offered.get(n).cloned().unwrap_or_else(|| format!("o{n:0>63}"));
            let mut option = json!({"key": key, "type": "select", "currentValue": wide(n)});
            option
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            option
        });
        let options: Vec<_> = options.collect();
        Answer::json(200, json!({"configurableOptions": options}).to_string())
    };
    let rows = [
        (
            "values",
            list(&json!({"values": &words[..20]})),
            wanted('k'),
            "UnknownOption",
        ),
        ("keys", list(&json!({})), wanted('z'), "UnknownOption"),
        (
            "gates",
            list(&json!({"actions": closed})),
            wanted('k'),
            "GatesClosed",
        ),
        ("changes", list(&json!({})), wanted('k'), "AwaitingApproval"),
    ];
    join_all(rows.map(|(name, answer, wanted, end)| {
        let env = &env;
        async move {
            let customer = env.customer(name).await;
            env.sim
                .inject(customer.fault(Route::UpgradeOptions).always().answer(answer));
            // The simulated provider knows other options, and would refuse the dry run.
            let dry_run = json!({"dryRun": true, "actions": {"canCommit": {"allowed": true}},
                "priceChange": {"amount": 40, "recurringAmount": 40, "currencyCode": "SEK"}});
            let previewed = customer.fault(Route::ConfigPreview).always();
            if end != "UnknownOption" {
                env.sim
                    .inject(previewed.answer(Answer::json(200, dry_run.to_string())));
            }
            env.create(customer.config(env, wanted)).await;
            let object = env.config_comes_to(name, end).await;
            let message = ready(&object)["message"].as_str().unwrap();
            assert!(
                message.len() < 32_768,
                "{name}: a message of {} bytes",
                message.len()
            );
        }
    }))
    .await;
    assert_eq!(env.posts(), 0);
    assert_eq!(env.sim.unfired(), Vec::<String>::new());
    stored_is_printable(&env).await;
    logged_is_json(&operator);
    env.check_invariants().await;
}
