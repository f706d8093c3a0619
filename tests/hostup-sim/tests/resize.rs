//! What a resize costs and sets, what refuses it, and every switch of how it goes.

mod common;

use std::time::Duration;

use common::{Answer, Client, KEY, get};
use hostup_sim::{
    AccountId, ActionGate, Answer as Says, Apply, Fault, LimitSet, PurchaseKind, RateLimit, RateLimitStyle,
    ResizeBehaviour, Resources, RestoreBehaviour, Route, SOURCE_VPS, Sim, Stage, Vps, dec,
};
use serde_json::json;

const CLOUD: &str = "vps_cloud";
const ORDER: &str = r#"{"cpuCores":4,"memoryGb":8}"#;

/// A world with a Cloud VM of 2 cores, 4 GB and 80 GB beside the standard source VPS.
fn world() -> (Sim, AccountId) {
    let sim = Sim::start();
    let account = sim.world(|w| {
        let account = w.add_account(KEY);
        w.add_vps(account, Vps::payg(CLOUD, "cloud-01", 2, 4, 80));
        account
    });
    (sim, account)
}

fn path(vps: &str) -> String {
    format!("/api/v2/vps/{vps}/actions/resize")
}

fn resize(sim: &Sim, body: &str) -> Answer {
    Client::new(sim, KEY).call("POST", &path(CLOUD), body)
}

fn shown(sim: &Sim) -> serde_json::Value {
    get(sim, &format!("/api/v2/vps/{CLOUD}")).at("/resources")
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.at("/code")), (status, json!(code)));
}

#[test]
fn a_resize_sets_the_sizes_tells_the_old_ones_and_stands_in_the_ledger_with_both_prices() {
    let (sim, account) = world();
    let answer = resize(&sim, ORDER);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"resized": true, "resources": {"cpuCores": 4, "memoryGb": 8},
            "previousResources": {"cpuCores": 2, "memoryGb": 4}})
    );
    assert_eq!(
        shown(&sim),
        json!({"cpuCores": 4, "memoryGb": 8, "storageGb": 80})
    );
    let status = get(&sim, &format!("/api/v2/vps/{CLOUD}/status"));
    assert_eq!(status.at("/cpuCores"), json!(4));
    let details = get(&sim, &format!("/api/v2/vps/{CLOUD}/details"));
    assert_eq!(details.at("/memoryGb"), json!(8));

    let [line] = &sim.purchases()[..] else {
        panic!("one line")
    };
    assert_eq!((line.kind, line.account), (PurchaseKind::Resize, account));
    assert_eq!(line.source_vps, CLOUD);
    assert_eq!((line.cpu_cores, line.memory_gb, line.storage_gb), (4, 8, 80));
    assert_eq!(line.body, ORDER.as_bytes());
    assert_eq!(line.per_hour, Some(dec("1.06")));
    let bought = line.resize.as_ref().unwrap();
    assert_eq!(bought.per_hour_before, Some(dec("0.66")));
    assert_eq!(bought.from, Resources::new(2, 4, 80));
    assert_eq!(bought.to, Resources::new(4, 8, 80));
    assert_eq!(sim.requests()[line.request].route, Route::Resize);
    assert!(sim.requests()[line.request].acted);
}

#[test]
fn a_resize_may_also_make_a_vm_smaller_and_says_when_it_changes_nothing() {
    let (sim, _) = world();
    assert_eq!(
        resize(&sim, r#"{"cpuCores":1,"memoryGb":1}"#).at("/resized"),
        json!(true)
    );
    assert_eq!(
        resize(&sim, r#"{"cpuCores":1,"memoryGb":1}"#).at("/resized"),
        json!(false)
    );
    assert_eq!(
        shown(&sim),
        json!({"cpuCores": 1, "memoryGb": 1, "storageGb": 80})
    );
    assert_eq!(sim.purchases().len(), 2);
    sim.world(|w| {
        w.resize_next(ResizeBehaviour {
            resized: Some(false),
            ..ResizeBehaviour::default()
        });
    });
    assert_eq!(resize(&sim, ORDER).at("/resized"), json!(false));
    assert_eq!(sim.purchases().len(), 3);
}

#[test]
fn a_body_without_both_sizes_or_with_anything_else_is_refused_with_pointers() {
    let (sim, _) = world();
    for (body, pointer) in [
        ("{}", "/cpuCores"),
        (r#"{"cpuCores":4}"#, "/memoryGb"),
        (r#"{"memoryGb":8}"#, "/cpuCores"),
        (r#"{"cpuCores":0,"memoryGb":8}"#, "/cpuCores"),
        (r#"{"cpuCores":33,"memoryGb":8}"#, "/cpuCores"),
        (r#"{"cpuCores":2.5,"memoryGb":8}"#, "/cpuCores"),
        (r#"{"cpuCores":"4","memoryGb":8}"#, "/cpuCores"),
        (r#"{"cpuCores":4,"memoryGb":0}"#, "/memoryGb"),
        (r#"{"cpuCores":4,"memoryGb":257}"#, "/memoryGb"),
        (r#"{"cpuCores":4,"memoryGb":null}"#, "/memoryGb"),
        (r#"{"cpuCores":4,"memoryGb":8,"storageGb":90}"#, "/storageGb"),
        (r#"{"cpuCores":4,"memoryGb":8,"dryRun":true}"#, "/dryRun"),
        ("[]", ""),
        ("{", ""),
    ] {
        let answer = resize(&sim, body);
        refused(&answer, 400, "invalid_request");
        assert_eq!(answer.at("/errors/0/pointer"), json!(pointer), "{body}");
    }
    refused(&resize(&sim, ""), 400, "invalid_request");
    assert!(sim.purchases().is_empty());
    assert_eq!(sim.count_acted(Route::Resize), 0);
}

#[test]
fn a_resize_needs_the_billing_scope_and_a_vps_of_one_s_own() {
    let (sim, account) = world();
    sim.world(|w| {
        w.add_key_with_scopes(account, "weak", &["read:vm", "write:vm", "backup:vm"]);
        w.add_account("second");
    });
    let call = |key: &str, vps: &str| Client::new(&sim, key).call("POST", &path(vps), ORDER);
    refused(&call("weak", CLOUD), 403, "forbidden");
    refused(&call("second", CLOUD), 404, "not_found");
    refused(&call(KEY, "vps_none"), 404, "not_found");
    refused(&call("nobody", CLOUD), 401, "unauthorized");
    assert!(sim.purchases().is_empty());
}

#[test]
fn a_vps_on_a_fixed_plan_is_never_resized() {
    let (sim, _) = world();
    let details = get(&sim, &format!("/api/v2/vps/{SOURCE_VPS}/details"));
    assert_eq!(details.at("/actions/canResize/allowed"), json!(false));
    for enforced in [true, false] {
        sim.world(|w| w.enforce_gates = enforced);
        let answer = Client::new(&sim, KEY).call("POST", &path(SOURCE_VPS), ORDER);
        refused(&answer, 409, "vps_not_ready");
    }
    assert!(sim.purchases().is_empty());
}

#[test]
fn the_gate_stands_on_both_pages_of_the_vps_and_in_the_list_only_where_the_switch_says() {
    let (sim, _) = world();
    let open = json!({"canResize": {"allowed": true, "reason": null}});
    assert_eq!(get(&sim, &format!("/api/v2/vps/{CLOUD}")).at("/actions"), open);
    assert_eq!(
        get(&sim, &format!("/api/v2/vps/{CLOUD}/details")).at("/actions"),
        open
    );
    let list = get(&sim, "/api/v2/vps?name=cloud-01");
    assert!(list.json().pointer("/data/0/actions").is_none());
    sim.world(|w| w.gates_in_list = true);
    assert_eq!(get(&sim, "/api/v2/vps?name=cloud-01").at("/data/0/actions"), open);
    sim.world(|w| {
        w.vps_mut(SOURCE_VPS).unwrap().can_resize = Some(ActionGate::closed("Fixed plan.", None));
    });
    assert_eq!(
        get(&sim, &format!("/api/v2/vps/{SOURCE_VPS}")).at("/actions/canResize"),
        json!({"allowed": false, "reason": "Fixed plan."})
    );
}

#[test]
fn a_closed_gate_refuses_with_its_own_code_unless_gates_are_not_enforced() {
    let (sim, _) = world();
    sim.world(|w| {
        let gate = ActionGate::closed("An order is pending.", Some("pending_orders"));
        w.vps_mut(CLOUD).unwrap().can_resize = Some(gate);
    });
    let answer = resize(&sim, ORDER);
    refused(&answer, 409, "pending_orders");
    assert_eq!(answer.at("/detail"), json!("An order is pending."));
    assert!(sim.purchases().is_empty());
    sim.world(|w| w.enforce_gates = false);
    assert_eq!(resize(&sim, ORDER).status, 200);
    assert_eq!(sim.purchases().len(), 1);
}

#[test]
fn a_vm_that_has_not_booted_yet_has_a_closed_gate() {
    let (sim, _) = world();
    sim.world(|w| {
        w.restore_next(RestoreBehaviour {
            vm_visible_after: Duration::ZERO,
            running_after: Some(Duration::from_secs(3600)),
            ..RestoreBehaviour::default()
        });
    });
    assert_eq!(common::restore(&sim, common::ORDER).status, 202);
    let vps = sim.purchases()[0].vps_id.clone().unwrap();
    let resize = || Client::new(&sim, KEY).call("POST", &path(&vps), r#"{"cpuCores":3,"memoryGb":4}"#);
    refused(&resize(), 409, "vps_not_ready");
    sim.world(|w| w.boot(&vps));
    assert_eq!(resize().status, 200);
}

#[test]
fn only_what_is_added_counts_against_the_limits_of_the_account() {
    let (sim, account) = world();
    let limit = |cpu_cores, memory_gb| {
        sim.world(|w| w.account_mut(account).limits_max = LimitSet::new(cpu_cores, memory_gb, 80, 1));
    };
    for (cpu_cores, memory_gb, blockers) in [
        (3, 8, json!(["cpu_limit_exceeded"])),
        (4, 7, json!(["memory_limit_exceeded"])),
        (3, 7, json!(["cpu_limit_exceeded", "memory_limit_exceeded"])),
    ] {
        limit(cpu_cores, memory_gb);
        let answer = resize(&sim, ORDER);
        refused(&answer, 403, "forbidden");
        assert_eq!(answer.at("/blockerReasons"), blockers);
    }
    assert!(sim.purchases().is_empty());
    limit(4, 8);
    assert_eq!(resize(&sim, ORDER).status, 200);
    let limits = get(&sim, "/api/v2/vps/payg/limits");
    assert_eq!(
        limits.at("/current"),
        json!({"cpuCores": 4, "memoryGb": 8, "storageGb": 80, "instanceCount": 1})
    );
    limit(1, 1);
    assert_eq!(resize(&sim, r#"{"cpuCores":3,"memoryGb":8}"#).status, 200);
}

#[test]
fn a_blocked_account_may_not_resize() {
    let (sim, account) = world();
    sim.world(|w| w.account_mut(account).blockers = vec!["no_card_on_file".to_owned()]);
    let answer = resize(&sim, ORDER);
    refused(&answer, 403, "forbidden");
    assert_eq!(answer.at("/blockerReasons"), json!(["no_card_on_file"]));
    sim.world(|w| w.account_mut(account).blockers = vec!["has_unpaid_invoice".to_owned()]);
    refused(&resize(&sim, ORDER), 409, "conflict");
    assert!(sim.purchases().is_empty());
}

#[test]
fn the_new_sizes_can_show_late_or_never_while_the_limits_count_them_at_once() {
    let (sim, account) = world();
    let counted = || sim.world(|w| w.account(account).limits_current());
    let old = json!({"cpuCores": 2, "memoryGb": 4, "storageGb": 80});
    sim.world(|w| w.resize_next(ResizeBehaviour::applied(Apply::Never)));
    assert_eq!(resize(&sim, ORDER).at("/resized"), json!(true));
    sim.world(|w| w.advance(Duration::from_secs(86_400)));
    assert_eq!(shown(&sim), old);
    assert_eq!(counted(), LimitSet::new(4, 8, 80, 1));
    sim.world(|w| w.resize_next(ResizeBehaviour::applied(Apply::After(Duration::from_secs(60)))));
    assert_eq!(resize(&sim, ORDER).status, 200);
    sim.world(|w| w.advance(Duration::from_secs(59)));
    assert_eq!(shown(&sim), old);
    assert_eq!(counted(), LimitSet::new(4, 8, 80, 1));
    sim.world(|w| w.advance(Duration::from_secs(1)));
    assert_eq!(
        shown(&sim),
        json!({"cpuCores": 4, "memoryGb": 8, "storageGb": 80})
    );
    assert_eq!(counted(), LimitSet::new(4, 8, 80, 1));
    assert_eq!(sim.purchases().len(), 2);
}

#[test]
fn a_resize_can_set_and_bill_other_sizes_than_the_ordered_ones() {
    let (sim, _) = world();
    sim.world(|w| {
        w.resize_next(ResizeBehaviour {
            sizes: Some((8, 16)),
            ..ResizeBehaviour::default()
        });
    });
    assert_eq!(
        resize(&sim, ORDER).at("/resources"),
        json!({"cpuCores": 4, "memoryGb": 8})
    );
    assert_eq!(
        shown(&sim),
        json!({"cpuCores": 8, "memoryGb": 16, "storageGb": 80})
    );
    let line = &sim.purchases()[0];
    assert_eq!((line.cpu_cores, line.memory_gb), (4, 8));
    assert_eq!(line.resize.as_ref().unwrap().to, Resources::new(8, 16, 80));
    assert_eq!(line.per_hour, Some(dec("1.86")));
    sim.world(|w| w.resize_next(ResizeBehaviour::default()));
    assert_eq!(sim.unfired().len(), 1);
}

#[test]
fn every_fault_of_a_paid_call_works_on_a_resize_acted_or_not() {
    for acted in [true, false] {
        for (answer, status) in [
            (Says::normal(), 200),
            (Says::problem(500, "internal_error"), 500),
            (Says::problem(403, "forbidden"), 403),
            (Says::html(502), 502),
            (Says::broken_json(200), 200),
            (Says::rate_limited(RateLimitStyle::Exceeded), 429),
            (Says::normal().cut_body_after(5), 200),
            (Says::reset(), 0),
            (Says::close(), 0),
        ] {
            let (sim, _) = world();
            sim.inject(Fault::on(Route::Resize).acted(acted).answer(answer));
            assert_eq!(resize(&sim, ORDER).status, status);
            assert_eq!(sim.purchases().len(), usize::from(acted));
            assert_eq!(sim.requests()[0].acted, acted);
            let cores = if acted { 4 } else { 2 };
            assert_eq!(shown(&sim)["cpuCores"], json!(cores));
            assert!(sim.unfired().is_empty());
        }
    }
}

#[test]
#[should_panic(expected = "spends money")]
fn a_fault_on_a_resize_must_say_whether_it_acts() {
    world().0.inject(Fault::on(Route::Resize).answer(Says::reset()));
}

#[test]
fn a_refused_resize_is_not_executed_by_a_fault_that_acts() {
    let (sim, _) = world();
    let fault = Fault::on(Route::Resize).acted(true).answer(Says::reset());
    sim.inject(fault);
    resize(&sim, r#"{"cpuCores":99,"memoryGb":8}"#);
    assert!(sim.purchases().is_empty());
}

#[test]
fn a_resize_that_is_held_is_executed_late_though_its_client_has_left() {
    let (sim, _) = world();
    let gate = sim.hold(Route::Resize, Stage::BeforeAct);
    let mut client = Client::new(&sim, KEY);
    let json = [("Content-Type", "application/json")];
    client.send("POST", &path(CLOUD), &json, ORDER.as_bytes());
    assert!(gate.wait_held(common::SOON));
    assert!(sim.purchases().is_empty());
    drop(client);
    gate.release();
    assert!(sim.wait_purchases(1, common::SOON));
    assert_eq!(shown(&sim)["cpuCores"], json!(4));
}

#[test]
fn the_rate_limit_of_the_account_counts_resizes() {
    let (sim, account) = world();
    sim.world(|w| {
        w.account_mut(account).rate_limit = Some(RateLimit {
            requests: 1,
            window: Duration::from_secs(60),
        });
    });
    assert_eq!(resize(&sim, ORDER).status, 200);
    let answer = resize(&sim, ORDER);
    refused(&answer, 429, "rate_limit_exceeded");
    assert_eq!(answer.header("retry-after"), Some("60"));
    assert_eq!(sim.purchases().len(), 1);
}

#[test]
fn the_admin_api_knows_the_faults_of_a_resize_and_shows_its_line() {
    let (sim, _) = world();
    sim.world(|w| w.admin = true);
    let post = |target: &str| Client::new(&sim, KEY).call("POST", target, "").status;
    assert_eq!(post("/_sim/faults/lost-answer?route=resize"), 200);
    assert_eq!(post("/_sim/faults/lost-answer?route=nonsense"), 404);
    assert_eq!(post("/_sim/faults/resize-ignored"), 200);
    assert_eq!(resize(&sim, ORDER).status, 0);
    let lines = get(&sim, "/_sim/purchases");
    assert_eq!(lines.at("/0/kind"), json!("Resize"));
    assert_eq!(
        lines.at("/0/to"),
        json!({"cpuCores": 4, "memoryGb": 8, "storageGb": 80})
    );
    assert_eq!(lines.at("/0/perHourBefore"), json!(0.66));
    assert_eq!(get(&sim, "/_sim/vps").at("/1/resources/cpuCores"), json!(2));
}
