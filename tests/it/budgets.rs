//! Budgets in money: an approved order that would exceed a budget waits, and continues when the budget leaves enough.

use std::sync::OnceLock;

use control_plane::ControlPlane;
use futures::future::join_all;
use hostup_sim::LimitSet;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{PATIENCE, TestEnv, at, condition, ready, reason};

/// Nothing else holds the purchases of these tests back.
const UNCAPPED: [&str; 2] = ["--max-paid-calls=0", "--gate-interval=2s"];

/// An environment on the control plane of these tests. Budgets are cluster-scoped: each operator of a shared control
/// plane would count for those of all tests.
pub async fn env(name: &str) -> TestEnv {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    let begin = || PLANE.get_or_init(crate::support::own_control_plane);
    let plane = tokio::task::spawn_blocking(begin).await.unwrap();
    let env = TestEnv::on(plane, name).await;
    env.sim.world(|world| {
        world.account_mut(env.account).limits_max = LimitSet::new(10_000, 10_000, 100_000, 1_000);
    });
    env
}

/// The budgets of the cluster.
pub fn budgets(env: &TestEnv) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("vps.hostup.se", "v1alpha1", "VpsBudget");
    let resource = ApiResource::from_gvk_with_plural(&kind, "vpsbudgets");
    Api::all_with(env.client.clone(), &resource)
}

/// A budget of the environment's namespace alone.
pub fn budget(env: &TestEnv, name: &str, limits: Value) -> Value {
    let mut spec = json!({
        "currencyCode": "SEK",
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": env.namespace}},
    });
    spec.as_object_mut()
        .unwrap()
        .extend(limits.as_object().unwrap().clone());
    json!({
        "apiVersion": "vps.hostup.se/v1alpha1",
        "kind": "VpsBudget",
        "metadata": {"name": format!("{}-{name}", env.namespace)},
        "spec": spec,
    })
}

async fn change(env: &TestEnv, name: &str, spec: Value) {
    let patch = Patch::Merge(json!({"spec": spec}));
    let name = format!("{}-{name}", env.namespace);
    budgets(env)
        .patch(&name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn remove(env: &TestEnv, name: &str) {
    let name = format!("{}-{name}", env.namespace);
    budgets(env)
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
}

/// Waits until a limit of the budget stands like this: used, in progress, left.
async fn stands_at(env: &TestEnv, name: &str, limit: &str, sums: [&str; 3]) -> Value {
    let name = format!("{}-{name}", env.namespace);
    let wanted = sums.map(|sum| json!(sum));
    let stands = |object: &Value| {
        let of = |member: &str| at(object, &format!("status.{limit}.{member}")).clone();
        [of("used"), of("inProgress"), of("left")] == wanted
    };
    env.wait_for(
        budgets(env),
        &name,
        &format!("{limit} {sums:?}"),
        PATIENCE,
        stands,
    )
    .await
}

fn message(object: &Value) -> &str {
    ready(object)["message"].as_str().unwrap()
}

#[tokio::test]
async fn what_goes_over_a_budget_waits_says_what_is_missing_and_goes_on_when_it_is_raised() {
    let env = env("budget").await;
    env.create(budget(&env, "team", json!({"perHour": "1.00"}))).await;
    let operator = env.operator(&UNCAPPED);
    stands_at(&env, "team", "perHour", ["0.00", "0.00", "1.00"]).await;
    env.create(env.approved("first")).await;
    env.wait_for_reason("first", "Restored").await;
    let shown = stands_at(&env, "team", "perHour", ["0.66", "0.00", "0.34"]).await;
    assert_eq!(at(&shown, "status.perHour.summary"), "0.66 of 1.00 SEK/h");
    assert_eq!(condition(&shown, "Ready")["status"], "True");
    assert_eq!(condition(&shown, "NearLimit")["status"], "False");
    assert_eq!(
        at(&shown, "status.observedGeneration"),
        at(&shown, "metadata.generation")
    );

    // Nor does the approval of its very quote override it.
    let mut second = env.preview("second");
    env.create(second.clone()).await;
    let quoted = env.wait_for_reason("second", "AwaitingApproval").await;
    second["spec"]["approval"] = json!({"quoteId": at(&quoted, "status.quote.id")});
    env.patch(
        "second",
        json!({"spec": {"approval": second["spec"]["approval"]}}),
    )
    .await
    .unwrap();
    let held = env.wait_for_reason("second", "BudgetExceeded").await;
    let told = format!(
        "ready to order, but VpsBudget {}-team leaves 0.34 of 1.00 SEK/h (0.66 used, 0.00 in progress), and this order \
         needs 0.66. The operator continues when enough is left",
        env.namespace
    );
    assert_eq!(message(&held), told);
    assert_eq!(condition(&held, "Approved")["status"], "True");
    assert_eq!(
        (condition(&held, "Stalled"), condition(&held, "Reconciling")),
        (&Value::Null, &Value::Null)
    );
    assert_eq!((env.posts(), env.records().await.len()), (1, 1));

    change(&env, "team", json!({"perHour": "1.32"})).await;
    env.wait_for_reason("second", "Restored").await;
    let shown = stands_at(&env, "team", "perHour", ["1.32", "0.00", "0.00"]).await;
    assert_eq!(condition(&shown, "NearLimit")["status"], "True");
    let sample = |series: &str| {
        format!(
            "hostup_operator_budget_{series}{{budget=\"{}-team\",expense=\"perHour\",currency=\"SEK\"}}",
            env.namespace
        )
    };
    operator.samples_with(&sample("used"), |value| value == Some(1.32));
    assert_eq!(operator.samples().get(&sample("limit")), Some(&1.32));

    // It stops nothing that runs.
    change(&env, "team", json!({"perHour": "0.10"})).await;
    stands_at(&env, "team", "perHour", ["1.32", "0.00", "0.00"]).await;
    for name in ["first", "second"] {
        assert_eq!(reason(&env.restore(name).await), "Restored");
    }
    assert_eq!((env.posts(), env.executed()), (2, 2));
    remove(&env, "team").await;
    env.check_invariants().await;
}

#[tokio::test]
async fn a_budget_is_exact_with_fifty_claims_at_once_several_keys_and_a_restart() {
    let env = env("exact").await;
    env.create(budget(&env, "team", json!({"perHour": "3.30"}))).await;
    let customers = join_all((0..10).map(|n| {
        let env = &env;
        async move { env.customer(&format!("key-{n}")).await }
    }))
    .await;
    let objects: Vec<Value> = (0..50)
        .map(|n| {
            let mut object = customers[n % customers.len()].restore(&env);
            object["metadata"]["name"] = json!(format!("web-{n}"));
            object
        })
        .collect();
    join_all(objects.into_iter().map(|object| env.create(object))).await;
    let args: Vec<&str> = UNCAPPED.iter().copied().chain(["--workers=8"]).collect();
    let mut operator = env.operator(&args);
    let split = || async {
        let ended = join_all((0..50).map(|n| {
            let env = &env;
            async move {
                let is_there = |object: &Value| ["Restored", "BudgetExceeded"].contains(&reason(object));
                let name = format!("web-{n}");
                env.wait(&name, "an end or the budget", is_there).await
            }
        }))
        .await;
        ended.iter().filter(|object| reason(object) == "Restored").count()
    };
    assert_eq!(split().await, 5);
    assert_eq!(
        (env.posts(), env.executed(), env.records().await.len()),
        (5, 5, 5)
    );
    operator.kill_9();
    let _operator = env.operator(&args);
    let mut late = customers[0].restore(&env);
    late["metadata"]["name"] = json!("late");
    env.create(late).await;
    env.wait_for_reason("late", "BudgetExceeded").await;
    assert_eq!(split().await, 5);
    assert_eq!(env.posts(), 5);
    remove(&env, "team").await;
    env.wait_for_reason("late", "Restored").await;
    env.check_invariants().await;
}

#[tokio::test]
async fn two_replicas_exceed_a_budget_by_no_more_than_the_workers_of_the_other() {
    let env = env("replicas").await;
    env.create(budget(&env, "team", json!({"perHour": "1.98"}))).await;
    let args: Vec<&str> = UNCAPPED.iter().copied().chain(["--workers=2"]).collect();
    let _operators = [env.operator(&args), env.operator(&args)];
    join_all((0..12).map(|n| env.create(env.approved(&format!("web-{n}"))))).await;
    for n in 0..12 {
        let is_there = |object: &Value| ["Restored", "BudgetExceeded"].contains(&reason(object));
        env.wait(&format!("web-{n}"), "an end or the budget", is_there)
            .await;
    }
    let bought = env.executed();
    assert!((3..=5).contains(&bought), "{bought}");
    remove(&env, "team").await;
    env.check_invariants().await;
}

#[tokio::test]
async fn what_is_due_at_once_and_each_month_is_held_against_its_own_limits() {
    let env = env("changes").await;
    let due = |amount: &str| json!({"dueNow": {"amount": amount, "window": "24h"}});
    env.create(budget(&env, "due", due("39.99"))).await;
    env.create(budget(&env, "month", json!({"perMonth": "50"}))).await;
    let _operator = env.operator(&UNCAPPED);
    // An hour's price is not limited by them.
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    env.create(env.approved_config("options", json!({"bandwidthGb": 4096})))
        .await;
    let held = env.config_comes_to("options", "BudgetExceeded").await;
    assert!(
        message(&held).contains("leaves 39.99 of 39.99 SEK within 1d (0.00 used"),
        "{}",
        message(&held)
    );
    change(&env, "due", due("40")).await;
    env.config_comes_to("options", "InSync").await;
    stands_at(&env, "due", "dueNow", ["40.00", "0.00", "0.00"]).await;
    stands_at(&env, "month", "perMonth", ["40.00", "0.00", "10.00"]).await;
    change(&env, "due", due("1000")).await;
    env.patch_config(
        "options",
        json!({
            "resources": {"bandwidthGb": 6144},
            "approval": {"maxPrice": {"dueNow": "900", "perMonth": "900", "currencyCode": "SEK"}},
        }),
    )
    .await;
    let held = env.config_comes_to("options", "BudgetExceeded").await;
    assert!(
        message(&held).contains("leaves 10.00 of 50.00 SEK/month"),
        "{}",
        message(&held)
    );
    assert_eq!(env.posts(), 2);
    for name in ["due", "month"] {
        remove(&env, name).await;
    }
    env.config_comes_to("options", "InSync").await;
    env.check_invariants().await;
}

#[tokio::test]
async fn a_vm_that_has_ended_makes_room_for_who_waits() {
    let env = env("room").await;
    env.create(budget(&env, "team", json!({"perHour": "0.80"}))).await;
    // Only the end of the VM wakes who waits.
    let args = ["--max-paid-calls=0", "--gate-interval=1h", "--resync-interval=1s"];
    let _operator = env.operator(&args);
    env.create(env.approved("first")).await;
    let first = env.wait_for_reason("first", "Restored").await;
    env.create(env.approved("second")).await;
    env.wait_for_reason("second", "BudgetExceeded").await;
    let vm = at(&first, "status.vm.vpsId").as_str().unwrap().to_owned();
    env.sim.world(|world| {
        "terminated".clone_into(&mut world.vps_mut(&vm).unwrap().service_status);
    });
    env.wait_for_reason("second", "Restored").await;
    stands_at(&env, "team", "perHour", ["0.66", "0.00", "0.14"]).await;
    assert_eq!(env.executed(), 2);
    remove(&env, "team").await;
    env.check_invariants().await;
}

#[tokio::test]
async fn a_budget_in_another_currency_covers_nothing_and_one_that_is_removed_holds_nothing() {
    let env = env("euros").await;
    let mut euros = budget(&env, "euros", json!({"perHour": "1000"}));
    euros["spec"]["currencyCode"] = json!("EUR");
    env.create(euros).await;
    let _operator = env.operator(&UNCAPPED);
    env.create(env.approved("web")).await;
    let held = env.wait_for_reason("web", "BudgetExceeded").await;
    assert!(
        message(&held)
            .contains("the price is in SEK, and the budgets of this namespace limit perHour only in another"),
        "{}",
        message(&held)
    );
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    remove(&env, "euros").await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(env.posts(), 1);
    env.check_invariants().await;
}

/// A record as an operator would have left it, of another namespace and currency.
async fn record_by_hand(env: &TestEnv, like: &Value, name: &str, namespace: &str) {
    let mut record = like.clone();
    record["metadata"] = json!({"name": format!("{}-{name}", env.namespace)});
    record["spec"]["subject"]["namespace"] = json!(namespace);
    record["spec"]["expectedVmName"] = json!("by-hand");
    record["spec"]["quote"]["currencyCode"] = json!("NOK");
    let status = record["status"].take();
    let made = env.create(record).await;
    let patch = Patch::Merge(json!({"status": status}));
    env.operations()
        .patch_status(&made.metadata.name.unwrap(), &PatchParams::default(), &patch)
        .await
        .unwrap();
}

#[tokio::test]
async fn labels_select_and_a_namespace_that_is_gone_counts_for_every_budget() {
    let env = env("labels").await;
    let _operator = env.operator(&UNCAPPED);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    let like = env.records().await.remove(0);
    for team in ["till", "shops"] {
        let name = format!("{}-{team}", env.namespace);
        let labels = json!({"team": name});
        let namespace = json!({"name": name, "labels": labels});
        env.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": namespace}))
            .await;
        let mut object = budget(&env, team, json!({"perHour": "9", "currencyCode": "NOK"}));
        object["spec"]["namespaceSelector"] =
            json!({"matchExpressions": [{"key": "team", "operator": "In", "values": [name]}]});
        env.create(object).await;
        record_by_hand(&env, &like, team, &name).await;
    }
    for team in ["till", "shops"] {
        stands_at(&env, team, "perHour", ["0.66", "0.00", "8.34"]).await;
    }
    let gone = format!("{}-gone", env.namespace);
    record_by_hand(&env, &like, "gone", &gone).await;
    for team in ["till", "shops"] {
        stands_at(&env, team, "perHour", ["1.32", "0.00", "7.68"]).await;
        remove(&env, team).await;
    }
}

#[tokio::test]
async fn a_typo_in_a_budget_is_refused_with_words_that_help() {
    let env = env("typos").await;
    for (limits, words) in [
        (json!({}), "set at least one of perHour, perMonth and dueNow"),
        (json!({"perHour": "0,80"}), "spec.perHour"),
        (json!({"perHour": "-1"}), "spec.perHour"),
        (
            json!({"dueNow": {"amount": "1", "window": "23h"}}),
            "spec.dueNow.window",
        ),
        (
            json!({"dueNow": {"amount": "1", "window": "32d"}}),
            "spec.dueNow.window",
        ),
        (json!({"dueNow": {"amount": "1"}}), "spec.dueNow.window"),
        (json!({"perHour": "1", "currencyCode": "kr"}), "spec.currencyCode"),
        (
            json!({"perHour": "1", "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In"}]}}),
            "In and NotIn require values",
        ),
        (
            json!({"perHour": "1", "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Is"}]}}),
            "Unsupported value",
        ),
        // No Namespace can have such a label, so such a budget would limit nothing.
        (
            json!({"perHour": "1", "namespaceSelector": {"matchLabels": {"team ": "shop"}}}),
            "each key of matchLabels must be the key of a label",
        ),
        (
            json!({"perHour": "1", "namespaceSelector": {"matchLabels": {"team": "the shop"}}}),
            "spec.namespaceSelector.matchLabels.team",
        ),
        (
            json!({"perHour": "1", "namespaceSelector": {"matchExpressions": [{"key": "/team", "operator": "Exists"}]}}),
            "spec.namespaceSelector.matchExpressions[0].key",
        ),
        (
            json!({"perHour": "1", "namespaceSelector":
                {"matchExpressions": [{"key": "team", "operator": "In", "values": ["shop-"]}]}}),
            "spec.namespaceSelector.matchExpressions[0].values[0]",
        ),
    ] {
        let refused = env.try_create(budget(&env, "typo", limits.clone())).await;
        let refused = refused.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains(words), "{limits}: {refused}");
    }
}
