//! Another size of a pay-as-you-go VM: a life without faults, the special ways, and what comes back from the call.

use hostup_sim::{ActionGate, Answer, Apply, LimitSet, ResizeBehaviour, Route, Sim, World};
use serde_json::{Value, json};

use crate::answers::{
    BROKEN, End, NO_PROOF, Row, only_lost, redirect_rows, refused, row, status_rows, transport_rows, unclear,
};
use crate::config_answers::{Goods, check_of};
use crate::support::{PATIENCE, TestEnv, at, condition, gates, ready, says};

const SIZE: Goods = Goods {
    paid: Route::Resize,
    read: Route::GetVps,
    gates: Route::PaygLimits,
    word: "size",
    change: "cpuCores 2 -> 4, memoryGb 4 -> 8",
    price: "1.06 SEK/h (+0.40)",
    shown: ("memoryGb", "8"),
    make: |customer, env| customer.resize(env),
    dearer: || per_hour("9.99"),
};

fn per_hour(most: &str) -> Value {
    json!({"approval": {"maxPrice": {"perHour": most, "currencyCode": "SEK"}}})
}

/// An environment whose VPS is a pay-as-you-go VM of 2 cores, 4 GB of memory and 80 GB of disk.
async fn env(name: &str) -> TestEnv {
    let env = TestEnv::new(name).await;
    env.is_payg(&env.vps);
    env
}

fn size(env: &TestEnv) -> (String, String) {
    env.sim.world(|world| {
        let has = &world.vps(&env.vps).unwrap().resources;
        (has.cpu_cores.to_string(), has.memory_gb.to_string())
    })
}

async fn ends_with(env: &TestEnv, executed: usize, posts: usize) {
    assert_eq!((env.executed(), env.posts()), (executed, posts));
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
}

#[tokio::test]
async fn an_approved_size_is_ordered_once_and_read_back_with_four_writes() {
    let env = env("resize").await;
    let _operator = env.operator(&[]);
    env.create(env.approved_resize("web")).await;
    let object = env.config_comes_to("web", "InSync").await;
    assert_eq!(at(&object, "status.quote.summary"), "1.06 SEK/h (+0.40)");
    assert_eq!(at(&object, "status.quote.perHour"), "1.06");
    assert_eq!(at(&object, "status.quote.perHourDifference"), "0.40");
    assert_eq!(
        at(&object, "status.current"),
        &json!({"cpuCores": "4", "memoryGb": "8"})
    );
    assert_eq!(size(&env), ("4".to_owned(), "8".to_owned()));
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
    let record = &env.records().await[0];
    assert_eq!(at(record, "spec.type"), "ResizeCloudVm");
    assert_eq!(at(record, "spec.request.body"), r#"{"cpuCores":4,"memoryGb":8}"#);
    assert_eq!(
        at(record, "spec.changes.from"),
        &json!({"cpuCores": "2", "memoryGb": "4"})
    );
    assert_eq!(at(record, "status.evidence"), "ReadBack");
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_preview_tells_the_price_and_the_restart_and_the_printed_command_orders_it() {
    let env = env("resizepreview").await;
    let _operator = env.operator(&[]);
    env.create(env.resize_preview("web")).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    says(
        &object,
        "cpuCores 2 -> 4, memoryGb 4 -> 8 (HostUp may restart the VM for it) would cost 1.06 SEK/h, 0.40 SEK/h more than now",
    );
    assert_eq!(gates(&object, "canResize")[0]["allowed"], true);
    assert_eq!(gates(&object, "limits")[0]["allowed"], true);
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    env.follow(&object, "To approve:").await;
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn the_gate_is_found_in_the_details_too_and_one_that_is_nowhere_is_closed() {
    let env = env("resizegate").await;
    env.sim.world(|world| {
        world.patch(Route::GetVps, "/actions", None);
        world.patch(Route::VpsDetails, "/actions", None);
    });
    let _operator = env.operator(&["--gate-interval=500ms"]);
    env.create(env.approved_resize("web")).await;
    let object = env.config_comes_to("web", "GatesClosed").await;
    says(&object, "closed: canResize");
    assert!(env.sim.count(Route::VpsDetails) > 0);
    let open = r#"{"canResize": {"allowed": true, "reason": null}}"#;
    env.sim
        .world(|world| world.patch(Route::VpsDetails, "/actions", Some(open)));
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_closed_gate_and_a_used_up_limit_hold_it_back_until_they_open() {
    let env = env("resizeclosed").await;
    env.sim.world(|world| {
        let closed = ActionGate::closed("A backup is being restored.", Some("vps_not_ready"));
        world.vps_mut(&env.vps).unwrap().can_resize = Some(closed);
    });
    let _operator = env.operator(&["--gate-interval=500ms"]);
    env.create(env.approved_resize("web")).await;
    let object = env.config_comes_to("web", "GatesClosed").await;
    says(&object, "canResize (vps_not_ready): A backup is being restored.");
    env.sim.world(|world| {
        world.vps_mut(&env.vps).unwrap().can_resize = None;
        world.account_mut(env.account).limits_max = LimitSet::new(4, 7, 500, 5);
    });
    let full = |object: &Value| {
        let message = ready(object)["message"].as_str().unwrap_or_default();
        message.contains("limits: 4 GB of memory wanted, 3 left")
    };
    env.wait_config("web", "the used up limit", full).await;
    assert_eq!(env.posts(), 0);
    env.sim
        .world(|world| world.account_mut(env.account).limits_max = LimitSet::new(4, 8, 500, 5));
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn a_smaller_size_needs_its_quote_and_each_vps_takes_what_is_sold_with_it() {
    let env = env("smaller").await;
    let _operator = env.operator(&[]);
    let mut smaller = env.approved_resize("web");
    smaller["spec"]["cloudVm"] = json!({"cpuCores": 1, "memoryGb": 4});
    env.create(smaller).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    says(&object, "0.12 SEK/h less than now");
    says(
        &object,
        "A ceiling cannot approve this, because it lowers cpuCores from 2 to 1",
    );
    env.follow(&object, "To approve:").await;
    let object = env.config_comes_to("web", "InSync").await;
    assert_eq!(at(&object, "status.quote.summary"), "0.54 SEK/h (-0.12)");
    env.delete_config("web").await;
    env.create(env.config_preview("options", json!({"bandwidthGb": 4096})))
        .await;
    let object = env.config_comes_to("options", "NotConfigurable").await;
    says(&object, "set spec.cloudVm instead of spec.resources");
    let fixed = format!("{}_fixed", env.vps);
    env.add_vps(&fixed);
    let mut of_fixed = env.resize_preview("fixed");
    of_fixed["spec"]["vpsId"] = json!(fixed);
    env.create(of_fixed).await;
    let object = env.config_comes_to("fixed", "NotConfigurable").await;
    says(&object, "set spec.resources instead of spec.cloudVm");
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn drift_of_a_size_is_told_and_corrected_once() {
    let env = env("resizedrift").await;
    let _operator = env.operator(&[
        "--resync-interval=500ms",
        "--gate-interval=500ms",
        "--settle-time=1s",
    ]);
    let mut object = env.approved_resize("web");
    object["spec"]["driftPolicy"] = json!("Correct");
    env.create(object).await;
    env.config_comes_to("web", "InSync").await;
    let by_panel = |world: &mut World| {
        let vps = world.vps_mut(&env.vps).unwrap();
        vps.resources.memory_gb = 4.into();
    };
    env.sim.world(by_panel);
    let corrected = |world: &World| world.count(Route::Resize) == 2;
    assert!(env.sim.until(PATIENCE, corrected).await);
    env.config_comes_to("web", "InSync").await;
    assert_eq!(size(&env), ("4".to_owned(), "8".to_owned()));
    let records = env.records().await;
    assert_eq!(at(&records[1], "spec.changes.correctsDrift"), true);
    env.sim.world(by_panel);
    let object = env.config_comes_to("web", "DriftContested").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    ends_with(&env, 2, 2).await;
}

#[tokio::test]
async fn a_resize_that_never_shows_is_asked_about_and_one_that_shows_late_is_awaited() {
    let env = env("resizelate").await;
    env.sim
        .world(|world| world.resize_next(ResizeBehaviour::applied(Apply::Never)));
    let _operator = env.operator(&[]);
    env.create(env.approved_resize("web")).await;
    let object = env.config_comes_to("web", "NotConverged").await;
    says(
        &object,
        "HostUp took the change, but HostUp does not show cpuCores 2 -> 4, memoryGb 4 -> 8",
    );
    env.sim.world(|world| {
        let vps = world.vps_mut(&env.vps).unwrap();
        vps.resources.cpu_cores = 4.into();
        vps.resources.memory_gb = 8.into();
    });
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn an_object_that_is_made_anew_finds_the_size_and_buys_nothing() {
    let env = env("resizeanew").await;
    let _operator = env.operator(&[]);
    env.create(env.approved_resize("web")).await;
    env.config_comes_to("web", "InSync").await;
    env.delete_config("web").await;
    env.create(env.approved_resize("web")).await;
    env.config_comes_to("web", "InSync").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn two_objects_that_want_sizes_of_one_vm_buy_once() {
    let env = env("resizerivals").await;
    let _operators = [
        env.operator(&["--leader-elect=false"]),
        env.operator(&["--leader-elect=false"]),
    ];
    env.create(env.approved_resize("web")).await;
    env.config_comes_to("web", "InSync").await;
    let mut other = env.approved_resize("web-2");
    other["spec"]["cloudVm"] = json!({"cpuCores": 3, "memoryGb": 8});
    env.create(other).await;
    env.config_comes_to("web-2", "TargetConflict").await;
    ends_with(&env, 1, 1).await;
}

#[tokio::test]
async fn two_resizes_do_not_take_the_same_room_of_the_limits() {
    let env = env("resizeroom").await;
    let second = format!("{}_2", env.vps);
    env.add_vps(&second);
    env.is_payg(&second);
    env.sim
        .world(|world| world.account_mut(env.account).limits_max = LimitSet::new(6, 12, 500, 5));
    let _operator = env.operator(&["--gate-interval=500ms"]);
    let mut other = env.approved_resize("web-2");
    other["spec"]["vpsId"] = json!(second);
    env.create(other).await;
    env.create(env.approved_resize("web")).await;
    let ended = |object: &Value| ["InSync", "GatesClosed"].contains(&crate::support::reason(object));
    let mut reasons = Vec::new();
    for name in ["web", "web-2"] {
        let object = env.wait_config(name, "an end", ended).await;
        reasons.push(crate::support::reason(&object).to_owned());
    }
    reasons.sort();
    assert_eq!(reasons, ["GatesClosed", "InSync"]);
    ends_with(&env, 1, 1).await;
}

const NOT_RESIZED: &str = "without saying that it resized the VM";

#[tokio::test]
async fn a_2xx_is_taken_for_a_resize_only_if_it_says_so() {
    let resized = |text: &str| Answer::normal().set("/resized", text);
    let mut rows = vec![
        row("whole", true, Answer::normal(), End::Accepted),
        row(
            "bare",
            true,
            Answer::json(200, r#"{"resized":true}"#),
            End::Accepted,
        ),
        row(
            "bare-202",
            true,
            Answer::json(202, r#"{"resized":true}"#),
            End::Accepted,
        ),
        row(
            "no-sizes",
            true,
            Answer::normal().remove("/resources"),
            End::Accepted,
        ),
        row("gzip-claimed", true, Answer::normal().gzip_claim(), End::Accepted),
    ];
    let unreadable: Vec<Vec<Row>> = vec![
        unclear("resized-false", resized("false"), NOT_RESIZED),
        unclear(
            "resized-missing",
            Answer::normal().remove("/resized"),
            NOT_RESIZED,
        ),
        unclear("resized-null", resized("null"), NOT_RESIZED),
        only_lost("resized-word", resized("\"true\""), NOT_RESIZED),
        unclear(
            "false-and-resized",
            Answer::normal().set("/success", "false"),
            NOT_RESIZED,
        ),
        unclear("empty200", Answer::empty(200), NOT_RESIZED),
        unclear("broken-json", Answer::broken_json(200), NOT_RESIZED),
        unclear("html200", Answer::html(200), NOT_RESIZED),
        only_lost("list", Answer::json(200, "[]"), NOT_RESIZED),
        only_lost("deep", Answer::deep(200, 10_000), NOT_RESIZED),
        unclear("cut", Answer::normal().cut_body_after(20), BROKEN),
        unclear("reset-in-body", Answer::normal().reset_body_after(20), BROKEN),
    ];
    rows.extend(unreadable.into_iter().flatten());
    check_of(&SIZE, rows).await;
}

#[tokio::test]
async fn a_lost_answer_to_a_resize_is_read_back_or_a_person_is_asked() {
    check_of(&SIZE, transport_rows()).await;
}

#[tokio::test]
async fn a_status_that_is_not_on_the_list_proves_nothing_of_a_resize() {
    check_of(
        &SIZE,
        status_rows(&[
            (409, "pending_orders"),
            (409, "existing_invoice_blocking"),
            (503, "upstream_failed"),
        ]),
    )
    .await;
}

#[tokio::test]
async fn a_documented_refusal_of_a_resize_is_not_tried_again_while_its_cause_stands() {
    let mut rows = vec![
        refused("r400", 400, "invalid_request"),
        refused("r401", 401, "unauthorized"),
        refused("r403", 403, "forbidden"),
        refused("r403-inactive", 403, "account_inactive"),
        refused("r403-verification", 403, "verification_failed"),
        refused("r403-cpu", 403, "cpu_limit_exceeded"),
        refused("r404", 404, "not_found"),
        refused("r404-vps", 404, "vps_not_found"),
        refused("r409-not-ready", 409, "vps_not_ready"),
        refused("r409-unpaid", 409, "has_unpaid_invoice"),
    ];
    let lied = Answer::problem(403, "forbidden");
    rows.push(row("refused-and-executed", true, lied, End::Lied));
    let mixed =
        Answer::problem(409, "conflict").set("/blockerReasons", r#"["not_verified","born_yesterday"]"#);
    rows.extend(unclear("blocked-mixed", mixed, NO_PROOF));
    check_of(&SIZE, rows).await;
}

#[tokio::test]
async fn a_redirect_of_a_resize_is_never_followed() {
    let foreign = Sim::start();
    check_of(&SIZE, redirect_rows(&foreign)).await;
    assert_eq!(foreign.world(|world| world.connections().len()), 0);
}
