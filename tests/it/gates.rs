//! What must be open, and known, before anything is bought.

use futures::future::join_all;
use hostup_sim::{
    ActionGate, Answer, Backup, Convert, Fault, LimitSet, Resources, Route, SOURCE_BACKUP, SOURCE_VPS, Vps,
    World, dec,
};
use serde_json::{Value, json};

use crate::support::{Customer, Operator, TestEnv, at, condition, gates, ready, reason};

const LIMITS: [&str; 5] = [
    "cpu_limit_exceeded",
    "memory_limit_exceeded",
    "storage_limit_exceeded",
    "instance_limit_exceeded",
    "cloud_storage_limit_exceeded",
];
const OTHERS: [&str; 4] = [
    "has_unpaid_invoice",
    "no_card_on_file",
    "not_verified",
    "no_cloud_access",
];

type Change = Box<dyn Fn(&mut World, &Customer)>;

/// One thing that can stand in the way of a restore.
struct Row {
    name: String,
    gate: &'static str,
    code: Option<String>,
    text: &'static str,
    storage: u32,
    close: Change,
    open: Change,
    answer: Option<(Route, Answer)>,
}

impl Row {
    fn new(name: impl Into<String>, gate: &'static str) -> Self {
        Self {
            name: name.into(),
            gate,
            code: None,
            text: "",
            storage: 80,
            close: Box::new(|_, _| ()),
            open: Box::new(|_, _| ()),
            answer: None,
        }
    }

    fn says(mut self, code: Option<&str>, text: &'static str) -> Self {
        self.code = code.map(str::to_owned);
        self.text = text;
        self
    }

    fn closes(
        mut self,
        close: impl Fn(&mut World, &Customer) + 'static,
        open: impl Fn(&mut World, &Customer) + 'static,
    ) -> Self {
        self.close = Box::new(close);
        self.open = Box::new(open);
        self
    }

    /// Closed by what the route answers to this customer; opened by taking all faults back.
    fn answers(mut self, route: Route, answer: Answer) -> Self {
        self.answer = Some((route, answer));
        self
    }

    fn storage(mut self, storage: u32) -> Self {
        self.storage = storage;
        self
    }
}

fn vps<'a>(world: &'a mut World, customer: &Customer) -> &'a mut Vps {
    world.vps_mut(&customer.vps).unwrap()
}

fn converts(convert: Convert) -> impl Fn(&mut World, &Customer) {
    move |world, customer| vps(world, customer).convert = Some(convert.clone())
}

fn limits(cpu: u32, memory: u32, storage: u32, count: u32) -> impl Fn(&mut World, &Customer) {
    move |world, customer| {
        world.account_mut(customer.account).limits_max = LimitSet::new(cpu, memory, storage, count);
    }
}

fn payg(convert: Convert) -> Convert {
    Convert {
        billing_model: "payg".to_owned(),
        ..convert
    }
}

const SAID: &str = "The account cannot use Cloud VMs yet.";

fn words(word: &str) -> String {
    word.replace('_', "-")
}

/// The answer with its blockers moved below `extensions`.
fn moved(blocker: &str) -> Answer {
    Answer::normal()
        .remove("/blockerReasons")
        .set("/available", "false")
        .set("/reason", &json!(SAID).to_string())
        .set("/actions/canConvertToCloud/allowed", "false")
        .set("/extensions", &json!({"blockerReasons": [blocker]}).to_string())
}

fn closing_rows() -> Vec<Row> {
    let convert = "canConvertToCloud";
    let mut rows = vec![
        Row::new("can-restore", "canRestore")
            .says(Some("backup_in_progress"), "A backup is being made.")
            .closes(
                |world, customer| {
                    vps(world, customer).can_restore =
                        ActionGate::closed("A backup is being made.", Some("backup_in_progress"));
                },
                |world, customer| vps(world, customer).can_restore = ActionGate::open(),
            ),
        Row::new("not-available", convert)
            .says(None, "Not for this product.")
            .closes(
                converts(Convert::blocked("Not for this product.", &[])),
                converts(Convert::available()),
            ),
        Row::new("gate-alone", convert).answers(
            Route::ConvertToCloud,
            Answer::normal().set("/actions/canConvertToCloud/allowed", "false"),
        ),
        Row::new("can-deploy", "canDeploy")
            .says(Some("no_capacity"), "No capacity left.")
            .closes(
                |world, customer| {
                    world.account_mut(customer.account).can_deploy =
                        ActionGate::closed("No capacity left.", Some("no_capacity"));
                },
                |world, customer| world.account_mut(customer.account).can_deploy = ActionGate::open(),
            ),
        Row::new("deploy-unavailable", "canDeploy").answers(
            Route::PaygDeployments,
            Answer::normal().set("/available", "false"),
        ),
        Row::new("region", "region")
            .says(None, "stockholm is not on offer; HostUp offers gothenburg")
            .closes(
                |world, customer| world.account_mut(customer.account).regions = vec!["gothenburg".to_owned()],
                |world, customer| world.account_mut(customer.account).regions = vec!["stockholm".to_owned()],
            ),
        Row::new("limit-cpu", "limits")
            .says(None, "2 CPU cores wanted, 1 left")
            .closes(limits(1, 64, 1000, 10), limits(2, 64, 1000, 10)),
        Row::new("limit-memory", "limits")
            .says(None, "4 GB of memory wanted, 3 left")
            .closes(limits(16, 3, 1000, 10), limits(16, 4, 1000, 10)),
        Row::new("limit-storage", "limits")
            .says(None, "80 GB of storage wanted, 79 left")
            .closes(limits(16, 64, 79, 10), limits(16, 64, 80, 10)),
        Row::new("limit-count", "limits")
            .says(None, "1 VMs wanted, 0 left")
            .closes(limits(16, 64, 1000, 0), limits(16, 64, 1000, 1)),
        Row::new("below-source", "storage")
            .storage(60)
            .says(None, "60 GB are too small; source and backup need 80 GB")
            .closes(
                |_, _| (),
                |world, customer| vps(world, customer).resources = Resources::new(2, 4, 60),
            ),
        Row::new("below-backup", "storage")
            .says(None, "80 GB are too small; source and backup need 91 GB")
            .closes(
                |world, customer| vps(world, customer).backups[0].size_gb = dec("90.5"),
                |world, customer| vps(world, customer).backups[0].size_gb = dec("80"),
            ),
        Row::new("below-the-smallest", "storage")
            .storage(49)
            .says(None, "49 GB are too small; source and backup need 50 GB")
            .closes(
                |world, customer| vps(world, customer).resources = Resources::new(2, 4, 20),
                |_, _| (),
            ),
    ];
    for (route, gate) in [
        (Route::ListBackups, "canRestore"),
        (Route::ConvertToCloud, convert),
        (Route::PaygDeployments, "canDeploy"),
    ] {
        let pointer = format!("/actions/{gate}");
        let allowed = format!("{pointer}/allowed");
        for (how, answer) in [
            ("gate-gone", Answer::normal().remove(&pointer)),
            ("actions-gone", Answer::normal().remove("/actions")),
            ("actions-null", Answer::normal().set("/actions", "null")),
            ("null", Answer::normal().set(&allowed, "null")),
        ] {
            let name = format!("{}-{how}", gate.to_ascii_lowercase());
            rows.push(Row::new(name, gate).answers(route, answer));
        }
    }
    rows.push(
        Row::new("remaining-gone", "limits")
            .answers(Route::PaygLimits, Answer::normal().remove("/remaining")),
    );
    for blocker in OTHERS {
        rows.push(
            Row::new(format!("fixed-{}", words(blocker)), convert)
                .says(Some(blocker), SAID)
                .closes(
                    converts(Convert::blocked(SAID, &[blocker])),
                    converts(Convert::available()),
                ),
        );
        rows.push(
            Row::new(format!("payg-{}", words(blocker)), convert)
                .says(Some(blocker), SAID)
                .closes(
                    converts(payg(Convert::blocked(SAID, &[blocker]))),
                    converts(payg(Convert::blocked(SAID, &[]))),
                ),
        );
        rows.push(
            Row::new(format!("moved-{}", words(blocker)), convert)
                .says(Some(blocker), SAID)
                .answers(Route::ConvertToCloud, moved(blocker)),
        );
    }
    rows
}

/// What looks like a closed gate and is none.
fn open_rows() -> Vec<Row> {
    let convert = "canConvertToCloud";
    let mut rows = vec![
        Row::new("restore-code", "canRestore")
            .says(Some("ok_with_a_code"), "")
            .closes(
                |world, customer| {
                    vps(world, customer).can_restore = ActionGate::open_with_code("ok_with_a_code")
                },
                |_, _| (),
            ),
        Row::new("deploy-code", "canDeploy")
            .says(Some("ok_with_a_code"), "")
            .closes(
                |world, customer| {
                    world.account_mut(customer.account).can_deploy =
                        ActionGate::open_with_code("ok_with_a_code");
                },
                |_, _| (),
            ),
        Row::new("payg-source", convert)
            .says(None, "already a Cloud VPS")
            .closes(
                converts(payg(Convert::blocked("This is already a Cloud VPS.", &[]))),
                |_, _| (),
            ),
        Row::new("payg-unknown-blocker", convert)
            .says(Some("brand_new_blocker"), SAID)
            .closes(
                converts(payg(Convert::blocked(SAID, &["brand_new_blocker"]))),
                |_, _| (),
            ),
        Row::new("prepaid", convert)
            .says(None, "prepaid until 2026-05-27, 18 days")
            .closes(converts(Convert::available().with_prepaid_warning()), |_, _| ()),
    ];
    for blocker in LIMITS {
        for (kind, convert_answer) in [
            ("fixed", Convert::blocked(SAID, &[blocker])),
            ("payg", payg(Convert::blocked(SAID, &[blocker]))),
        ] {
            rows.push(
                Row::new(format!("{kind}-{}", words(blocker)), convert)
                    .says(Some(blocker), SAID)
                    .closes(converts(convert_answer), |_, _| ()),
            );
        }
        rows.push(
            Row::new(format!("moved-{}", words(blocker)), convert)
                .says(Some(blocker), SAID)
                .answers(Route::ConvertToCloud, moved(blocker)),
        );
    }
    rows
}

/// One customer and one approved restore for each row, the row's obstacle in place before.
async fn set_up(env: &TestEnv, rows: &[Row]) -> Vec<Customer> {
    let set_up = rows.iter().map(|row| async move {
        let customer = env.customer(&row.name).await;
        env.sim.world(|world| (row.close)(world, &customer));
        if let Some((route, answer)) = &row.answer {
            let fault = Fault::on(*route).always().key(&customer.key);
            env.sim.inject(fault.answer(answer.clone()));
        }
        let mut object = customer.restore(env);
        object["spec"]["target"]["cloudVm"]["storageGb"] = json!(row.storage);
        env.create(object).await;
        customer
    });
    join_all(set_up).await
}

fn assert_row(row: &Row, object: &Value, allowed: bool) {
    let shown = gates(object, row.gate);
    assert_eq!(
        shown.len(),
        1,
        "{}: one row of {} in {shown:?}",
        row.name,
        row.gate
    );
    assert_eq!(shown[0]["allowed"], allowed, "{}: {shown:?}", row.name);
    if let Some(code) = &row.code {
        assert_eq!(shown[0]["code"], code.as_str(), "{}: {shown:?}", row.name);
    }
    let text = shown[0]["reason"].as_str().unwrap_or_default();
    assert!(text.contains(row.text), "{}: {text:?}", row.name);
}

#[tokio::test]
async fn every_closed_gate_is_shown_holds_the_purchase_and_opens_by_itself() {
    let env = TestEnv::new("gates").await;
    let rows = closing_rows();
    let customers = set_up(&env, &rows).await;
    let _operator = env.operator(&["--gate-interval=1s"]);
    join_all(rows.iter().map(|row| async {
        let object = env.wait_for_reason(&row.name, "GatesClosed").await;
        assert_row(row, &object, false);
        let closed: Vec<_> = at(&object, "status.gates").as_array().unwrap().clone();
        let closed: Vec<_> = closed.iter().filter(|gate| gate["allowed"] == false).collect();
        assert_eq!(closed.len(), 1, "{}: only its own gate: {closed:?}", row.name);
        let message = ready(&object)["message"].as_str().unwrap();
        assert!(
            message.contains(row.gate) && message.contains(row.text),
            "{message}"
        );
        assert_eq!(condition(&object, "GatesPassed")["status"], "False");
        assert_eq!(condition(&object, "Stalled"), &Value::Null);
    }))
    .await;
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));

    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.sim.clear_faults();
    env.sim.world(|world| {
        for (row, customer) in rows.iter().zip(&customers) {
            (row.open)(world, customer);
        }
    });
    // The one whose target is too small for ever stays closed.
    let small = "below-the-smallest";
    join_all(rows.iter().filter(|row| row.name != small).map(|row| async {
        let object = env.wait_for_reason(&row.name, "Restored").await;
        assert_eq!(condition(&object, "GatesPassed")["status"], "True");
    }))
    .await;
    assert_eq!(reason(&env.restore(small).await), "GatesClosed");
    assert_eq!(env.executed(), rows.len() - 1);
    assert_eq!(env.posts(), rows.len() - 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_code_a_limit_blocker_and_a_payg_source_are_shown_and_close_nothing() {
    let env = TestEnv::new("opengates").await;
    // The limit blockers speak of the source's own size; what the POST checks is the ordered one.
    let rows = open_rows();
    let _customers = set_up(&env, &rows).await;
    let _operator = env.operator(&["--gate-interval=1s"]);
    join_all(rows.iter().map(|row| async {
        let object = env.wait_for_reason(&row.name, "Restored").await;
        assert_row(row, &object, true);
    }))
    .await;
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    assert_eq!((env.executed(), env.posts()), (rows.len(), rows.len()));
    env.check_invariants().await;
}

#[tokio::test]
async fn what_hostup_advises_against_takes_the_approval_of_a_quote_and_a_ceiling_is_not_enough() {
    let env = TestEnv::new("advice").await;
    let customer = env.customer("advised").await;
    let blocked = |words: &'static [&'static str]| converts(Convert::blocked(SAID, words));
    env.sim
        .world(|world| blocked(&["pending_order"])(world, &customer));
    let _operator = env.operator(&["--gate-interval=1s"]);
    env.create(customer.restore(&env)).await;
    let object = env.wait_for_reason("advised", "AwaitingApproval").await;
    let shown = &gates(&object, "canConvertToCloud")[0];
    assert_eq!(
        (
            &shown["source"],
            &shown["allowed"],
            &shown["advisory"],
            &shown["code"]
        ),
        (
            &json!("HostUp"),
            &json!(true),
            &json!(true),
            &json!("pending_order")
        )
    );
    assert_eq!(gates(&object, "limits")[0]["source"], "Operator");
    assert_eq!(gates(&object, "limits")[0]["advisory"], Value::Null);
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(
        message.contains("which HostUp advises against") && message.contains(SAID.trim_end_matches('.')),
        "{message}"
    );
    let quote = at(&object, "status.quote.id").as_str().unwrap().to_owned();

    // Other advice makes another quote, and the approval of the first one buys nothing.
    env.sim
        .world(|world| blocked(&["pending_order", "brand_new"])(world, &customer));
    let approve = |quote: &str| json!({"spec": {"approval": {"quoteId": quote, "maxPrice": null}}});
    env.patch("advised", approve(&quote)).await.unwrap();
    let another = |object: &Value| at(object, "status.quote.id") != quote.as_str();
    let object = env.wait("advised", "another quote", another).await;
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    let quote = at(&object, "status.quote.id").as_str().unwrap().to_owned();
    env.patch("advised", approve(&quote)).await.unwrap();
    env.wait_for_reason("advised", "Restored").await;
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_gate_of_another_type_is_never_taken_for_open() {
    let env = TestEnv::new("wrongtype").await;
    let answer = Answer::normal().set("/actions/canRestore/allowed", "\"true\"");
    env.sim
        .inject(Fault::on(Route::ListBackups).always().answer(answer));
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "ProviderUnavailable").await;
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    env.sim.clear_faults();
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(env.executed(), 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_large_order_is_decided_by_its_own_size_and_not_by_the_sources() {
    let env = TestEnv::new("ownsize").await;
    let customer = env.customer("large").await;
    // 2 cores of the source fit, 8 ordered ones do not.
    env.sim.world(|world| limits(4, 64, 1000, 10)(world, &customer));
    let _operator = env.operator(&[]);
    let mut object = customer.restore(&env);
    object["spec"]["target"]["cloudVm"]["cpuCores"] = json!(8);
    object["spec"]["approval"]["maxPrice"]["perHour"] = json!("9.00");
    env.create(object).await;
    let object = env.wait_for_reason("large", "GatesClosed").await;
    assert_eq!(gates(&object, "canConvertToCloud")[0]["allowed"], true);
    let limit = gates(&object, "limits")[0]["reason"].as_str().unwrap();
    assert!(limit.contains("8 CPU cores wanted, 4 left"), "{limit}");
    assert_eq!(env.posts(), 0);
    env.sim.world(|world| limits(8, 64, 1000, 10)(world, &customer));
    env.wait_for_reason("large", "Restored").await;
    assert_eq!(env.executed(), 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn blockers_at_both_places_are_shown_once() {
    let env = TestEnv::new("twice").await;
    let word = json!(["no_card_on_file", "not_verified"]).to_string();
    let extensions = json!({"blockerReasons": ["no_card_on_file", "not_verified"]}).to_string();
    let answer = Answer::normal()
        .set("/available", "false")
        .set("/requiresVerification", "true")
        .set("/blockerReasons", &word)
        .set("/extensions", &extensions);
    env.sim
        .inject(Fault::on(Route::ConvertToCloud).always().answer(answer));
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "GatesClosed").await;
    let rows = gates(&object, "canConvertToCloud");
    let codes: Vec<_> = rows.iter().map(|row| row["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["no_card_on_file", "not_verified"]);
    assert!(
        rows[0]["reason"]
            .as_str()
            .unwrap()
            .contains("verification is required")
    );
    assert_eq!(env.posts(), 0);
    env.check_invariants().await;
}

#[tokio::test]
async fn the_codes_of_a_closed_account_are_shown_wherever_hostup_puts_them() {
    let (card, both) = ("no_card_on_file", "no_card_on_file, not_verified");
    let places = [
        ("own", "/actions/canDeploy/code", json!(card), card),
        ("access", "/access/blockerReasons", json!([card]), card),
        (
            "access-two",
            "/access/blockerReasons",
            json!([card, "not_verified"]),
            both,
        ),
        ("access-word", "/access/blockerReasons", json!(card), card),
        (
            "access-object",
            "/access/blockerReasons",
            json!([{"code": card, "reason": "Add a card."}]),
            card,
        ),
        (
            "access-list",
            "/access/blockerReasons",
            json!([[card], ["not_verified"]]),
            both,
        ),
        (
            "access-nested",
            "/access/payment",
            json!({"card": [{"blockerReasons": [card]}]}),
            card,
        ),
        ("top", "/blockerReasons", json!([card]), card),
        ("top-word", "/blockerReasons", json!(card), card),
        (
            "extensions",
            "/extensions",
            json!({"blockerReasons": [card]}),
            card,
        ),
        (
            "extensions-list",
            "/extensions",
            json!([{"blockerReasons": [card]}, {"blockerReasons": "not_verified"}]),
            both,
        ),
        (
            "extensions-nested",
            "/extensions",
            json!({"access": {"blockerReasons": [{"code": card}]}}),
            card,
        ),
        ("gate", "/actions/canDeploy/blockerReasons", json!([card]), card),
        (
            "gate-extensions",
            "/actions/canDeploy/extensions",
            json!({"blockerReasons": [card]}),
            card,
        ),
    ];
    let env = TestEnv::new("codes").await;
    let rows: Vec<Row> = places
        .into_iter()
        .flat_map(|(name, place, blockers, codes)| {
            // The gate itself may say nothing of why, or be called open where nothing is available.
            let closed = (false, json!(null));
            let called_open = (true, json!("ok_with_a_code"));
            let open = (place != "/actions/canDeploy/code").then_some(("-called-open", called_open));
            [Some(("", closed)), open]
                .into_iter()
                .flatten()
                .map(move |(kind, (allowed, code))| {
                    let answer = Answer::normal()
                        .set("/available", "false")
                        .set("/actions/canDeploy/allowed", &allowed.to_string())
                        .set("/actions/canDeploy/code", &code.to_string())
                        .set("/actions/canDeploy/reason", &json!(SAID).to_string())
                        .set(place, &blockers.to_string());
                    Row::new(format!("{name}{kind}"), "canDeploy")
                        .says(Some(codes), SAID)
                        .answers(Route::PaygDeployments, answer)
                })
        })
        .collect();
    let _operator = env.operator_for_many(&[]);
    set_up(&env, &rows).await;
    for row in &rows {
        let object = env.wait_for_reason(&row.name, "GatesClosed").await;
        assert_row(row, &object, false);
    }
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_backup_that_is_gone_or_incomplete_stalls_until_it_is_there() {
    let env = TestEnv::new("nobackup").await;
    let not_there = |how: &str, world: &mut World, customer: &Customer| match how {
        "gone" => {
            world.remove_backup(&customer.backup);
        }
        "undated" => vps(world, customer).backups[0].created_at = None,
        _ => vps(world, customer).backups[0].size_gb = dec("0"),
    };
    let _operator = env.operator(&[]);
    join_all(["gone", "undated", "empty"].map(|how| {
        let env = &env;
        async move {
            let customer = env.customer(how).await;
            env.sim.world(|world| not_there(how, world, &customer));
            env.create(customer.restore(env)).await;
            let object = env.wait_for_reason(how, "BackupNotFound").await;
            assert_eq!(condition(&object, "Stalled")["status"], "True");
            let message = ready(&object)["message"].as_str().unwrap();
            assert!(message.contains(&customer.backup), "{message}");
            assert!(env.records().await.is_empty());
            env.sim.world(|world| {
                world.remove_backup(&customer.backup);
                world.add_backup(&customer.vps, Backup::new(&customer.backup, "12.4"));
            });
            let object = env.wait_for_reason(how, "Restored").await;
            assert_eq!(condition(&object, "Stalled"), &Value::Null);
        }
    }))
    .await;
    assert_eq!((env.executed(), env.posts()), (3, 3));
    env.check_invariants().await;
}

fn latest(env: &TestEnv, name: &str) -> Value {
    let mut object = env.preview(name);
    object["spec"]["source"] = json!({"vpsId": SOURCE_VPS, "backup": "Latest"});
    object
}

/// Waits until the operator has looked at the account once more from beginning to end.
async fn another_look(env: &TestEnv, name: &str) {
    let seen = env.sim.count(Route::PaygLimits);
    let poke = json!({"metadata": {"annotations": {"look": seen.to_string()}}});
    env.patch(name, poke).await.unwrap();
    let looked = move |world: &World| world.count_answered(Route::PaygLimits) > seen;
    assert!(env.sim.until(crate::support::PATIENCE, looked).await);
}

#[tokio::test]
async fn latest_is_the_newest_complete_backup_and_is_resolved_once() {
    let env = TestEnv::new("latest").await;
    let made = |id: &str, at: Option<&str>| Backup::new(id, "12.4").created(at);
    env.sim.world(|world| {
        world.add_backup(SOURCE_VPS, made("bkp_newest", Some("2026-05-02T10:00:00.000Z")));
        world.add_backup(SOURCE_VPS, made("bkp_undated", None));
        let empty = Backup::new("bkp_empty", "0").created(Some("2026-05-09T10:00:00.000Z"));
        world.add_backup(SOURCE_VPS, empty);
    });
    let _operator = env.operator(&[]);
    env.create(latest(&env, "web")).await;
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
    assert_eq!(at(&object, "status.backup.id"), "bkp_newest");
    let quote = at(&object, "status.quote.id").clone();
    env.sim
        .world(|world| world.add_backup(SOURCE_VPS, made("bkp_later", Some("2026-06-01T10:00:00.000Z"))));
    another_look(&env, "web").await;
    another_look(&env, "web").await;
    let object = env.restore("web").await;
    assert_eq!(at(&object, "status.backup.id"), "bkp_newest");
    assert_eq!(at(&object, "status.quote.id"), &quote);
    let approve = json!({"spec": {"approval": {"quoteId": quote}}});
    env.patch("web", approve).await.unwrap();
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(env.sim.purchases()[0].backup, "bkp_newest");
    assert_eq!(env.executed(), 1);
    env.check_invariants().await;
}

fn selecting(env: &TestEnv, name: &str, selector: Value) -> Value {
    let mut object = env.preview(name);
    object["spec"]["source"] = json!({"vpsId": SOURCE_VPS, "backupSelector": selector});
    object
}

#[tokio::test]
async fn a_selector_chooses_the_newest_backup_that_fits_and_says_which_came_closest() {
    let env = TestEnv::new("selected").await;
    let made = |id: &str, at: &str, kind: &str, note: &str| Backup {
        backup_type: kind.to_owned(),
        note: Some(note.to_owned()),
        ..Backup::new(id, "12.4").created(Some(at))
    };
    let backups = [
        made("bkp_a", "2026-05-02T10:00:00.000Z", "scheduled", "nightly"),
        made("bkp_b", "2026-05-03T10:00:00.000Z", "scheduled", "nightly"),
        made("bkp_c", "2026-05-03T11:00:00.000Z", "manual", "before the move"),
        made("bkp_d", "2026-05-04T10:00:00.000Z", "scheduled", "nightly"),
    ];
    for backup in backups {
        env.sim.world(|world| world.add_backup(SOURCE_VPS, backup));
    }
    let _operator = env.operator(&["--resync-interval=1s"]);
    let before = "2026-05-04T10:00:00Z";
    for (name, selector, chosen) in [
        ("by-type", json!({"before": before, "type": "scheduled"}), "bkp_b"),
        ("by-note", json!({"note": "before the move"}), "bkp_c"),
        ("all", json!({}), "bkp_d"),
    ] {
        env.create(selecting(&env, name, selector)).await;
        let object = env.wait_for_reason(name, "AwaitingApproval").await;
        assert_eq!(at(&object, "status.backup.id"), chosen, "{name}");
        let message = ready(&object)["message"].as_str().unwrap();
        assert!(message.contains(chosen), "{message}");
    }
    let object = env.restore("by-note").await;
    assert_eq!(at(&object, "status.backup.type"), "manual");
    assert_eq!(at(&object, "status.backup.note"), "before the move");

    let wanted = json!({"before": before, "type": "manual", "note": "before the upgrade"});
    env.create(selecting(&env, "none", wanted)).await;
    let object = env.wait_for_reason("none", "BackupNotFound").await;
    let message = ready(&object)["message"].as_str().unwrap();
    let closest = "the closest is bkp_c of 2026-05-03T11:00:00Z: its note is not \"before the upgrade\"";
    assert!(message.contains(closest), "{message}");
    env.sim.world(|world| {
        world.add_backup(
            SOURCE_VPS,
            made(
                "bkp_e",
                "2026-05-01T11:00:00.000Z",
                "manual",
                "before the upgrade",
            ),
        );
    });
    let object = env.wait_for_reason("none", "AwaitingApproval").await;
    let quote = at(&object, "status.quote.id").clone();
    env.patch("none", json!({"spec": {"approval": {"quoteId": quote}}}))
        .await
        .unwrap();
    env.wait_for_reason("none", "Restored").await;
    assert_eq!(env.sim.purchases()[0].backup, "bkp_e");
    let record = &env.records().await[0];
    assert_eq!(at(record, "spec.backup.note"), "before the upgrade");
    env.check_invariants().await;
}

#[tokio::test]
async fn a_backup_that_is_older_than_allowed_closes_its_gate_whatever_is_approved() {
    let env = TestEnv::new("old").await;
    let hours_ago =
        |hours: i64| (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours)).to_string();
    let backup = |id: &str, hours| Backup::new(id, "12.4").created(Some(&hours_ago(hours)));
    env.sim.world(|world| {
        world.add_backup(SOURCE_VPS, backup("bkp_old", 37));
        world.add_backup(SOURCE_VPS, backup("bkp_young", 35));
    });
    let _operator = env.operator(&[]);
    for (name, id) in [("old", "bkp_old"), ("young", "bkp_young")] {
        let mut object = env.approved(name);
        object["spec"]["source"] = json!({"vpsId": SOURCE_VPS, "backupId": id, "maxAge": "36h"});
        env.create(object).await;
    }
    let object = env.wait_for_reason("old", "GatesClosed").await;
    let gate = &gates(&object, "backupAge")[0];
    assert_eq!(
        (&gate["source"], &gate["allowed"]),
        (&json!("Operator"), &json!(false))
    );
    let reason = gate["reason"].as_str().unwrap();
    assert!(reason.contains("bkp_old is older than 36h since"), "{reason}");
    env.wait_for_reason("young", "Restored").await;
    // One that is chosen by its age misses for the same reason.
    env.create(selecting(&env, "none", json!({"maxAge": "30m"})))
        .await;
    let object = env.wait_for_reason("none", "BackupNotFound").await;
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(
        message.contains("bkp_young") && message.contains("older than 30m"),
        "{message}"
    );
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_resolved_latest_that_vanishes_is_not_replaced_by_an_older_one() {
    let env = TestEnv::new("vanished").await;
    let newest = Backup::new("bkp_newest", "12.4").created(Some("2026-05-02T10:00:00.000Z"));
    env.sim
        .world(|world| world.add_backup(SOURCE_VPS, newest.clone()));
    let _operator = env.operator(&[]);
    env.create(latest(&env, "web")).await;
    env.wait_for_reason("web", "AwaitingApproval").await;
    env.sim.world(|world| world.remove_backup("bkp_newest"));
    let ceiling = env.approved("web")["spec"]["approval"].clone();
    env.patch("web", json!({"spec": {"approval": ceiling}}))
        .await
        .unwrap();
    let object = env.wait_for_reason("web", "BackupNotFound").await;
    assert!(ready(&object)["message"].as_str().unwrap().contains("bkp_newest"));
    another_look(&env, "web").await;
    another_look(&env, "web").await;
    assert_eq!(reason(&env.restore("web").await), "BackupNotFound");
    assert_eq!(env.posts(), 0);
    env.sim.world(|world| world.add_backup(SOURCE_VPS, newest));
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(env.sim.purchases()[0].backup, "bkp_newest");
    env.check_invariants().await;
}

#[tokio::test]
async fn without_a_complete_price_nothing_is_quoted_or_claimed() {
    let env = TestEnv::new("noprice").await;
    let gone = |pointer: &str| Answer::normal().remove(pointer);
    let rows = [
        ("cpu", gone("/pricing/cpuPerCoreHour")),
        ("memory", gone("/pricing/memoryPerGbHour")),
        ("storage", gone("/pricing/storagePerGbHour")),
        ("ip", gone("/pricing/ipPerHour")),
        ("currency", gone("/pricing/currencyCode")),
        ("pricing", gone("/pricing")),
        ("null", Answer::normal().set("/pricing/cpuPerCoreHour", "null")),
        (
            "word",
            Answer::normal().set("/pricing/cpuPerCoreHour", "\"free\""),
        ),
        (
            "negative",
            Answer::normal().set("/pricing/cpuPerCoreHour", "-0.12"),
        ),
        ("huge", Answer::normal().set("/pricing/cpuPerCoreHour", "7e27")),
        ("money", Answer::normal().set("/pricing/currencyCode", "\"kr.\"")),
    ];
    let customers = join_all(rows.iter().map(|(name, _)| env.customer(name))).await;
    for (customer, (_, answer)) in customers.iter().zip(&rows) {
        let fault = Fault::on(Route::PaygDeployments).always().key(&customer.key);
        env.sim.inject(fault.answer(answer.clone()));
    }
    let _operator = env.operator(&["--gate-interval=1s"]);
    join_all(customers.iter().map(|customer| async {
        env.create(customer.restore(&env)).await;
        let object = env.wait_for_reason(&customer.name, "ProviderUnavailable").await;
        assert_eq!(at(&object, "status.quote"), &Value::Null, "{}", customer.name);
        let message = ready(&object)["message"].as_str().unwrap();
        assert!(message.contains("price"), "{}: {message}", customer.name);
    }))
    .await;
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.sim.clear_faults();
    join_all(
        customers
            .iter()
            .map(|customer| env.wait_for_reason(&customer.name, "Restored")),
    )
    .await;
    assert_eq!(env.executed(), rows.len());
    env.check_invariants().await;
}

#[tokio::test]
async fn what_is_omitted_is_filled_in_rounded_up_and_sent_explicitly() {
    let env = TestEnv::new("omitted").await;
    // Source storage and backup size; what storage follows.
    let rows = [
        ("small", "20", "12.4", 50),
        ("by.source", "100.2", "12.4", 101),
        ("by-backup", "20", "60.3", 61),
    ];
    let _operator = env.operator(&[]);
    let made = join_all(rows.map(|(name, storage, backup, ordered)| {
        let env = &env;
        async move {
            let customer = env.customer(name).await;
            env.sim.world(|world| {
                let vps = vps(world, &customer);
                vps.resources = Resources {
                    cpu_cores: dec("3"),
                    memory_gb: dec("3.5"),
                    storage_gb: dec(storage),
                };
                vps.backups[0].size_gb = dec(backup);
            });
            let mut object = customer.restore(env);
            object["spec"]["target"] = json!({"cloudVm": {}});
            object["spec"]["approval"]["maxPrice"]["perHour"] = json!("9.00");
            env.create(object).await;
            let object = env.wait_for_reason(name, "Restored").await;
            let posts = env.sim.requests_on(Route::RestoreToPayg);
            let post = posts
                .iter()
                .find(|post| post.path.contains(&customer.vps))
                .unwrap();
            let body: Value = serde_json::from_str(&post.body_text()).unwrap();
            let mut members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
            members.sort();
            assert_eq!(members, ["cpuCores", "memoryGb", "name", "region", "storageGb"]);
            assert_eq!(body["region"], "stockholm");
            assert_eq!((&body["cpuCores"], &body["memoryGb"]), (&json!(3), &json!(4)));
            assert_eq!(body["storageGb"], ordered, "{name}");
            let sent = body["name"].as_str().unwrap();
            assert!(
                sent.starts_with(&format!("{}-", name.replace('.', "-"))),
                "{sent}"
            );
            assert_eq!(at(&object, "status.vm.name"), sent);
        }
    }))
    .await;
    assert_eq!((env.executed(), env.posts()), (made.len(), made.len()));
    env.check_invariants().await;
}

#[tokio::test]
async fn the_price_is_exact_rounded_up_and_says_what_it_holds() {
    let env = TestEnv::new("price").await;
    // 2 cores, 4 GB, 80 GB; the rate of a core, what an hour and a month of 730 hours cost.
    let rows = [
        ("example", "0.12", "0.66 SEK/h", "481.80"),
        ("round", "0.29", "1.00 SEK/h", "730.00"),
        ("fine", "0.12001", "0.6601 SEK/h", "481.82"),
        ("dear", "1000000.12", "2000000.66 SEK/h", "1460000481.80"),
    ];
    let _operator = env.operator(&[]);
    join_all(rows.map(|(name, rate, summary, month)| {
        let env = &env;
        async move {
            let customer: Customer = env.customer(name).await;
            env.sim.world(|world| {
                world.account_mut(customer.account).pricing.cpu_per_core_hour = Some(dec(rate));
            });
            let mut object = customer.restore(env);
            object["spec"].as_object_mut().unwrap().remove("approval");
            env.create(object).await;
            let object = env.wait_for_reason(name, "AwaitingApproval").await;
            assert_eq!(at(&object, "status.quote.summary"), summary);
            assert_eq!(at(&object, "status.quote.perMonth"), month);
            assert_eq!(at(&object, "status.quote.currencyCode"), "SEK");
            let text = condition(&object, "Quoted")["message"].as_str().unwrap();
            assert_eq!(
                text,
                format!(
                    "{summary} (about {month} SEK for a month of 730 hours; IPv4 included, traffic excluded: 0.10 SEK/GB)"
                )
            );
        }
    }))
    .await;
    assert_eq!(env.posts(), 0);
    assert!(env.records().await.is_empty());
    env.check_invariants().await;
}

#[tokio::test]
async fn a_missing_region_closes_unless_hostup_names_a_default() {
    let env = TestEnv::new("region").await;
    env.sim
        .world(|world| world.patch(Route::PaygDeployments, "/defaults", None));
    let _operator: Operator = env.operator(&[]);
    let mut object = env.approved("web");
    object["spec"]["target"] = json!({"cloudVm": {}});
    object["spec"]["source"] = json!({"vpsId": SOURCE_VPS, "backupId": SOURCE_BACKUP});
    env.create(object).await;
    let object = env.wait_for_reason("web", "GatesClosed").await;
    assert_eq!(gates(&object, "region")[0]["allowed"], false);
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains("target.cloudVm.region"), "{message}");
    env.sim.world(World::clear_patches);
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(env.executed(), 1);
    env.check_invariants().await;
}
