//! Several operators, objects and hands at the options of one VPS.

use std::time::Duration;

use control_plane::{Action, Gate as ProxyGate, Rule};
use futures::{StreamExt, stream};
use hostup_operator::domain::ledger::names::ChainKey;
use hostup_operator::domain::values::ids::VpsId;
use hostup_sim::{Answer, Apply, ConfigBehaviour, Fault, Gate, Route, Stage, World};
use kube::api::{DeleteParams, DynamicObject, PostParams};
use serde_json::{Value, json};

use crate::replicas::sent;
use crate::support::proxied_env::{ProxiedEnv, claim, held, is_claim, refused_claims, unclear_claims};
use crate::support::{
    HOUR, Operator, OwnPlane, PATIENCE, TestEnv, at, condition, each_row, own_control_plane, ready, reason,
};

/// A claim on a busy machine may take its time; whether it is in time is not the subject here.
const CALM: [&str; 2] = ["--request-timeout=20s", "--paid-timeout=25s"];

fn bandwidth(gb: u32) -> Value {
    json!({"bandwidthGb": gb})
}

fn approved(env: &TestEnv) -> Value {
    env.approved_config("web", bandwidth(4096))
}

/// What was committed, in order: from which bandwidth to which.
fn commits(env: &TestEnv) -> Vec<String> {
    let purchases = env.sim.purchases();
    let changes = purchases
        .iter()
        .filter_map(|bought| bought.config.as_ref())
        .flat_map(|config| &config.changes);
    changes
        .map(|change| format!("{} -> {}", change.from, change.to))
        .collect()
}

/// How the next commit goes.
fn next(env: &TestEnv, apply: Apply) {
    env.sim
        .world(|world| world.config_next(ConfigBehaviour::applied(apply)));
}

/// The answer to the next commit is lost; it was executed or not.
fn lose(env: &TestEnv, executed: bool) {
    let lost = Fault::on(Route::ConfigCommit).acted(executed);
    env.sim.inject(lost.answer(Answer::reset()));
}

/// The invoice is paid, and what takes an hour is done.
fn let_go(env: &TestEnv) {
    env.sim.world(|world| {
        let open: Vec<String> = world.invoices().iter().map(|own| own.id.clone()).collect();
        for invoice in open {
            world.pay_invoice(&invoice);
        }
        world.advance(HOUR);
    });
}

fn name_of(record: &Value) -> &str {
    record["metadata"]["name"].as_str().unwrap()
}

/// The name of the record of an attempt at the environment's VPS.
fn record_of(env: &TestEnv, attempt: u32) -> String {
    ChainKey::of_config(&VpsId::new(&env.vps))
        .record(attempt)
        .to_string()
}

async fn comes_to(env: &TestEnv, attempt: u32, state: &str) -> Value {
    let is = |record: &Value| at(record, "status.state") == state;
    env.wait_for_record(&record_of(env, attempt), state, is).await
}

fn vps_of(env: &TestEnv, n: usize) -> String {
    format!("{}_{n}", env.vps)
}

/// An environment with so many VPSs, each with an approved object of its own.
async fn env_with(name: &str, count: usize) -> TestEnv {
    let env = TestEnv::new(name).await;
    for n in 0..count {
        env.add_vps(&vps_of(&env, n));
        let mut object = env.approved_config(&format!("web-{n}"), bandwidth(4096));
        object["spec"]["vpsId"] = json!(vps_of(&env, n));
        env.create(object).await;
    }
    env
}

/// One commit, one POST and one record for each VPS.
async fn check_once_each(env: &TestEnv, count: usize) {
    let mut bought: Vec<String> = env
        .sim
        .purchases()
        .into_iter()
        .map(|bought| bought.source_vps)
        .collect();
    let mut posted: Vec<String> = env
        .sim
        .requests_on(Route::ConfigCommit)
        .into_iter()
        .map(|post| post.path)
        .collect();
    for each in [&mut bought, &mut posted] {
        each.sort();
        each.dedup();
        assert_eq!(each.len(), count);
    }
    let records = sent(env).await;
    assert_eq!((records, env.posts(), env.executed()), (count, count, count));
    env.check_invariants().await;
}

async fn race(replicas: usize, objects: usize) {
    let env = env_with("options-race", objects).await;
    let operators: Vec<_> = (0..replicas).map(|_| env.operator(&CALM)).collect();
    for n in 0..objects {
        env.config_comes_to(&format!("web-{n}"), "InSync").await;
    }
    check_once_each(&env, objects).await;
    let shares: Vec<_> = operators.iter().map(Operator::sent).collect();
    assert_eq!(shares.iter().sum::<usize>(), objects);
    assert!(
        shares.iter().all(|share| *share > 0),
        "no race took place: {shares:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_and_three_replicas_without_election_order_options_of_each_of_thirty_once() {
    futures::join!(race(2, 30), race(3, 30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_installations_at_one_vps_order_its_options_once() {
    let ends = |object: &Value| ["InSync", "OtherInstance"].contains(&reason(object));
    let in_one_namespace = async {
        let env = env_with("options-strangers", 5).await;
        let _operators =
            ["--instance-id=one", "--instance-id=two"].map(|id| env.operator(&[id, CALM[0], CALM[1]]));
        for n in 0..5 {
            let key = ChainKey::of_config(&VpsId::new(vps_of(&env, n)));
            let ended = |record: &Value| at(record, "status.state") == "Succeeded";
            env.wait_config(&format!("web-{n}"), "an owner", ends).await;
            env.wait_for_record(key.record(1).as_str(), "its end", ended)
                .await;
        }
        check_once_each(&env, 5).await;
    };
    let in_two_namespaces = async {
        let (env, other) = (
            TestEnv::new("options-here").await,
            TestEnv::new("options-there").await,
        );
        env.create(approved(&env)).await;
        let mut theirs = other.approved_config("web", bandwidth(4096));
        theirs["spec"]["vpsId"] = json!(env.vps);
        other.create(theirs).await;
        let _one = env.operator(&CALM);
        let url = format!("--hostup-url={}", env.sim.url());
        let _two = other.operator(&[&url, CALM[0], CALM[1]]);
        let key = ChainKey::of_config(&VpsId::new(&env.vps));
        let ended = |record: &Value| at(record, "status.state") == "Succeeded";
        let record = env
            .wait_for_record(key.record(1).as_str(), "its end", ended)
            .await;
        let (customer, latecomer) = if at(&record, "spec.subject.namespace") == env.namespace.as_str() {
            (&env, &other)
        } else {
            (&other, &env)
        };
        customer.config_comes_to("web", "InSync").await;
        latecomer.config_comes_to("web", "OtherInstance").await;
        assert_eq!((env.posts(), env.executed()), (1, 1));
        let records = [env.records().await, other.records().await].concat();
        assert_eq!(records.len(), 1);
        env.check_invariants_over(records);
    };
    futures::join!(in_one_namespace, in_two_namespaces);
}

/// What is made from now on is newer: the API server tells ages in whole seconds.
async fn a_second_later() {
    tokio::time::sleep(Duration::from_millis(1_050)).await;
}

/// Two objects for one VPS, the newer one in a namespace of its own or not.
async fn rivals(apart: bool) {
    let env = TestEnv::new("options-rivals").await;
    let other = TestEnv::new("options-neighbour").await;
    let newer_home = if apart { &other } else { &env };
    let namespaces = format!("--watch-namespaces={},{}", env.namespace, other.namespace);
    let _operator = env.operator(&[&namespaces]);
    env.create(env.approved_config("the-older", bandwidth(4096)))
        .await;
    env.config_comes_to("the-older", "InSync").await;
    a_second_later().await;
    let mut newer = newer_home.approved_config("the-newer", bandwidth(5120));
    newer["spec"]["vpsId"] = json!(env.vps);
    newer_home.create(newer).await;
    let object = newer_home.config_comes_to("the-newer", "TargetConflict").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    let status = object["status"].to_string();
    for hidden in [
        "the-older",
        &env.namespace,
        "quote",
        "operation",
        "4096",
        "current",
    ] {
        if apart || hidden != env.namespace {
            assert!(!status.contains(hidden), "{hidden} in {status}");
        }
    }
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.delete_config("the-older").await;
    newer_home.config_comes_to("the-newer", "InSync").await;
    assert_eq!(commits(&env), ["2048 -> 4096", "4096 -> 5120"]);
    let records = [env.records().await, other.records().await].concat();
    assert_eq!((records.len(), env.posts()), (2, 2));
    env.check_invariants_over(records);
}

/// The older object's key does not read the VPS until somebody puts it right.
async fn rival_without_a_key() {
    let env = TestEnv::new("options-keyless").await;
    let _operator = env.operator(&[]);
    env.put_key("old", "a-key-of-nobody").await;
    let mut older = env.approved_config("the-older", bandwidth(4096));
    older["spec"]["credentialsSecretRef"] = json!({"name": "old"});
    env.create(older).await;
    env.config_comes_to("the-older", "Unauthorized").await;
    a_second_later().await;
    env.create(env.approved_config("the-newer", bandwidth(4096)))
        .await;
    env.config_comes_to("the-newer", "InSync").await;
    let key = super::support::KEY;
    env.put_key("old", key).await;
    // A change of the spec, so that it is looked at now.
    env.patch_config("the-older", json!({"resources": {"snapshotSlots": 2}}))
        .await;
    env.config_comes_to_anew("the-older", "InSync").await;
    env.config_comes_to("the-newer", "TargetConflict").await;
    assert_eq!(commits(&env), ["2048 -> 4096", "1 -> 2"]);
    env.check_invariants().await;
}

/// Both are there before anybody looks, and want the same.
async fn rivals_from_the_start() {
    let env = TestEnv::new("options-twins").await;
    for name in ["the-older", "the-newer"] {
        env.create(env.approved_config(name, bandwidth(4096))).await;
    }
    let _operators = [env.operator(&CALM), env.operator(&CALM)];
    let end = |object: &Value| ["InSync", "TargetConflict"].contains(&reason(object));
    env.wait_config("the-older", "an end", end).await;
    env.wait_config("the-newer", "an end", end).await;
    comes_to(&env, 1, "Succeeded").await;
    assert_eq!(commits(&env), ["2048 -> 4096"]);
    assert_eq!((env.posts(), env.records().await.len()), (1, 1));
    env.check_invariants().await;
}

/// Both are there before anybody looks, want different things, and the older one's status comes late.
async fn rivals_that_disagree() {
    let proxied = ProxiedEnv::new("options-quarrel").await;
    let env = &proxied.env;
    let (gate, path) = (
        ProxyGate::new(),
        format!(
            "/apis/vps.hostup.se/v1alpha1/namespaces/{}/vpsresourceconfigs/the-older/status",
            env.namespace
        ),
    );
    let late = Rule::on("PUT", move |request| request.path == path);
    let late = late.named("the older's status");
    proxied.proxy.rule(late.action(Action::HoldBefore(gate.clone())));
    env.create(env.approved_config("the-older", bandwidth(4096)))
        .await;
    let _operator = env.operator(&CALM);
    held(&gate).await;
    a_second_later().await;
    env.create(env.approved_config("the-newer", bandwidth(5120)))
        .await;
    env.config_comes_to("the-newer", "TargetConflict").await;
    gate.release();
    env.config_comes_to("the-older", "InSync").await;
    assert_eq!(commits(env), ["2048 -> 4096"]);
    proxied.check().await;
}

/// Nobody can look at the older one for a while: the newer one waits for it, and others do not.
async fn a_newer_one_waits_until_the_older_is_looked_at() {
    let proxied = ProxiedEnv::new("options-unseen").await;
    let env = &proxied.env;
    let gate = ProxyGate::new();
    let path = format!(
        "/apis/vps.hostup.se/v1alpha1/namespaces/{}/vpsresourceconfigs/the-older",
        env.namespace
    );
    let looks = Rule::on("GET", move |request| request.path == path);
    let looks = looks.named("looks at the older").always();
    proxied.proxy.rule(looks.action(Action::HoldBefore(gate.clone())));
    let _operator = env.operator(&CALM);
    let approval = json!({"maxPrice": {"dueNow": "900", "perMonth": "900", "currencyCode": "SEK"}});
    let mut older = env.approved_config("the-older", bandwidth(8192));
    older["spec"]["approval"] = approval;
    env.create(older).await;
    held(&gate).await;
    a_second_later().await;
    env.create(env.approved_config("the-newer", bandwidth(4096)))
        .await;
    // Whoever came after it has bought meanwhile.
    env.add_vps(&vps_of(env, 0));
    let mut other = env.approved_config("of-another-vps", bandwidth(4096));
    other["spec"]["vpsId"] = json!(vps_of(env, 0));
    env.create(other).await;
    env.config_comes_to("of-another-vps", "InSync").await;
    assert_eq!(commits(env), ["2048 -> 4096"]);
    gate.release();
    env.config_comes_to("the-older", "InSync").await;
    env.config_comes_to("the-newer", "TargetConflict").await;
    assert_eq!(commits(env), ["2048 -> 4096", "2048 -> 8192"]);
    proxied.check().await;
}

/// Pairs that are made in one moment, the dearer or the cheaper wish first, and what becomes of each.
async fn rivals_made_together(values: [u32; 2]) {
    let env = TestEnv::new("options-pairs").await;
    let operator = env.operator(&["--workers=16"]);
    let pairs = 6;
    let approval = json!({"maxPrice": {"dueNow": "900", "perMonth": "900", "currencyCode": "SEK"}});
    for n in 0..pairs {
        env.add_vps(&vps_of(&env, n));
        let made = ["a", "b"].into_iter().zip(values).map(|(name, gb)| {
            let mut object = env.approved_config(&format!("{name}-{n}"), json!({"bandwidthGb": gb}));
            object["spec"]["vpsId"] = json!(vps_of(&env, n));
            object["spec"]["approval"] = approval.clone();
            env.create(object)
        });
        futures::future::join_all(made).await;
    }
    for n in 0..pairs {
        let names = [format!("a-{n}"), format!("b-{n}")];
        let end = |object: &Value| ["InSync", "TargetConflict"].contains(&reason(object));
        let mut ends = Vec::new();
        for name in &names {
            ends.push(env.wait_config(name, "an end", end).await);
        }
        let age = |object: &Value| {
            let of = |path| at(object, path).as_str().unwrap().to_owned();
            (of("metadata.creationTimestamp"), of("metadata.uid"))
        };
        // Of one second the one that ordered comes first.
        ends.sort_by_key(|object| age(object));
        let mut said: Vec<&str> = ends.iter().map(reason).collect();
        if age(&ends[0]).0 == age(&ends[1]).0 {
            said.sort_unstable();
        }
        assert_eq!(said, ["InSync", "TargetConflict"], "pair {n}");
    }
    assert_eq!((env.posts(), env.executed()), (pairs, pairs));
    drop(operator);
    env.check_invariants().await;
}

/// The older one waits for a person, and the newer one has what is there already.
async fn a_newer_one_that_is_satisfied_is_not_ready_beside_an_older_one() {
    let env = TestEnv::new("options-satisfied").await;
    let mut older = env.config_preview("the-older", bandwidth(8192));
    older["spec"]["approval"] = Value::Null;
    env.create(older).await;
    a_second_later().await;
    env.create(env.config_preview("the-newer", bandwidth(2048))).await;
    let _operator = env.operator(&["--resync-interval=1h"]);
    env.config_comes_to("the-older", "AwaitingApproval").await;
    env.config_comes_to("the-newer", "TargetConflict").await;
    assert_eq!((env.posts(), env.executed()), (0, 0));
    env.check_invariants().await;
}

/// A newer one that was there alone learns of an older one whose key comes to read the VPS, at once.
async fn a_newer_one_is_woken_when_the_older_is_looked_at() {
    let env = TestEnv::new("options-woken").await;
    let _operator = env.operator(&["--resync-interval=1h"]);
    let mut older = env.config_preview("the-older", bandwidth(8192));
    older["spec"]["suspend"] = json!(true);
    env.create(older).await;
    env.config_comes_to("the-older", "Suspended").await;
    a_second_later().await;
    env.create(env.config_preview("the-newer", bandwidth(2048))).await;
    env.config_comes_to("the-newer", "InSync").await;
    env.patch_config("the-older", json!({"suspend": false})).await;
    env.config_comes_to("the-older", "AwaitingApproval").await;
    env.config_comes_to("the-newer", "TargetConflict").await;
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_that_are_made_together_one_orders_and_one_is_ever_ready() {
    futures::join!(
        rivals_made_together([8192, 4096]),
        rivals_made_together([4096, 8192]),
        a_newer_one_waits_until_the_older_is_looked_at(),
        a_newer_one_that_is_satisfied_is_not_ready_beside_an_older_one(),
        a_newer_one_is_woken_when_the_older_is_looked_at()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_objects_of_one_vps_the_older_that_has_read_it_is_responsible() {
    let together = async {
        futures::join!(rivals(false), rivals(true));
    };
    futures::join!(
        together,
        rival_without_a_key(),
        rivals_from_the_start(),
        rivals_that_disagree()
    );
}

/// Where the object stands when it is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Preview,
    Sending,
    Converging,
    AwaitingPayment,
    OutcomeUnknown,
    InSync,
    Rejected,
}

impl Before {
    const ALL: [Self; 7] = [
        Self::Preview,
        Self::Sending,
        Self::Converging,
        Self::AwaitingPayment,
        Self::OutcomeUnknown,
        Self::InSync,
        Self::Rejected,
    ];

    fn is_executed(self) -> bool {
        !matches!(self, Self::Preview | Self::OutcomeUnknown | Self::Rejected)
    }

    /// Leads a life there.
    async fn lead(self, env: &TestEnv) -> (Operator, Option<Gate>) {
        let mut gate = None;
        let mut object = approved(env);
        match self {
            Self::Preview => object = env.config_preview("web", bandwidth(4096)),
            Self::Sending => gate = Some(env.sim.hold(Route::ConfigCommit, Stage::AfterAct)),
            Self::Converging => next(env, Apply::After(HOUR)),
            Self::AwaitingPayment => next(env, Apply::WhenPaid),
            Self::OutcomeUnknown => lose(env, false),
            Self::InSync => {}
            Self::Rejected => {
                let refusal = Fault::on(Route::ConfigCommit).acted(false);
                env.sim
                    .inject(refusal.answer(Answer::problem(409, "vps_not_ready")));
            }
        }
        let settle = match self {
            Self::OutcomeUnknown => "--settle-time=1s",
            _ => "--settle-time=60s",
        };
        let operator = env.operator(&[settle, "--paid-timeout=60s", "--request-timeout=20s"]);
        env.create(object).await;
        let shown = match self {
            Self::Preview => "AwaitingApproval",
            Self::Sending => {
                assert!(gate.as_ref().unwrap().held(PATIENCE).await);
                return (operator, gate);
            }
            Self::Converging => "Converging",
            Self::AwaitingPayment => "AwaitingPayment",
            Self::OutcomeUnknown => "OutcomeUnknown",
            Self::InSync => "InSync",
            Self::Rejected => "Rejected",
        };
        env.config_comes_to("web", shown).await;
        (operator, gate)
    }
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    Recreated,
    RecreatedOtherwise,
    EditedOtherwise,
    Suspended,
    Withdrawn,
    Deleted,
}

impl Touch {
    const ALL: [Self; 6] = [
        Self::Recreated,
        Self::RecreatedOtherwise,
        Self::EditedOtherwise,
        Self::Suspended,
        Self::Withdrawn,
        Self::Deleted,
    ];

    fn is_otherwise(self) -> bool {
        matches!(self, Self::RecreatedOtherwise | Self::EditedOtherwise)
    }
}

async fn touched(before: Before, touch: Touch) {
    let env = TestEnv::new("options-touched").await;
    let (_operator, gate) = before.lead(&env).await;
    let gb = if touch.is_otherwise() { 5120 } else { 4096 };
    let mut again = env.config_preview("web", bandwidth(gb));
    if before != Before::Preview {
        // Covers the 60 SEK of 5120 GB too.
        again["spec"]["approval"] =
            json!({"maxPrice": {"dueNow": "60.00", "perMonth": "60.00", "currencyCode": "SEK"}});
    }
    match touch {
        Touch::Recreated | Touch::RecreatedOtherwise => {
            env.delete_config("web").await;
            env.create(again).await;
        }
        Touch::EditedOtherwise => env.patch_config("web", again["spec"].clone()).await,
        Touch::Suspended => env.patch_config("web", json!({"suspend": true})).await,
        Touch::Withdrawn => env.patch_config("web", json!({"approval": null})).await,
        Touch::Deleted => env.delete_config("web").await,
    }
    if touch != Touch::Deleted {
        let seen =
            |object: &Value| at(object, "status.observedGeneration") == at(object, "metadata.generation");
        env.wait_config("web", "a look at it", seen).await;
    }
    drop(gate);
    let_go(&env);
    let wanted = match (before, touch) {
        (_, Touch::Deleted) => None,
        (Before::OutcomeUnknown, _) => Some("OutcomeUnknown"),
        (_, Touch::Suspended) => Some("Suspended"),
        (Before::Preview, _) | (Before::Rejected, Touch::Withdrawn) => Some("AwaitingApproval"),
        (_, _) => Some("InSync"),
    };
    if before.is_executed() {
        comes_to(&env, 1, "Succeeded").await;
    }
    let mut bought = Vec::new();
    if before.is_executed() {
        bought.push("2048 -> 4096".to_owned());
    }
    if wanted == Some("InSync") && (touch.is_otherwise() || before == Before::Rejected) {
        let from = if before.is_executed() { 4096 } else { 2048 };
        bought.push(format!("{from} -> {gb}"));
        comes_to(&env, 2, "Succeeded").await;
    }
    if let Some(wanted) = wanted {
        let object = env.config_comes_to_anew("web", wanted).await;
        let is_ready = if wanted == "InSync" { "True" } else { "False" };
        assert_eq!(ready(&object)["status"], is_ready);
    }
    assert_eq!(commits(&env), bought);
    let refused = usize::from(matches!(before, Before::OutcomeUnknown | Before::Rejected));
    assert_eq!(env.posts(), bought.len() + refused);
    assert_eq!(env.records().await.len(), env.posts());
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn touched_or_re_created_options_are_never_committed_twice_in_any_state() {
    let rows = Before::ALL
        .into_iter()
        .flat_map(|before| Touch::ALL.map(|touch| (before, touch)));
    // A preview has no approval to withdraw.
    let rows = rows.filter(|row| *row != (Before::Preview, Touch::Withdrawn));
    each_row(rows.map(|(before, touch)| (format!("{before:?} {touch:?}"), touched(before, touch)))).await;
}

#[tokio::test]
async fn options_edited_back_and_forth_are_committed_as_often_as_they_change() {
    let env = TestEnv::new("options-swing").await;
    let _operator = env.operator(&[]);
    env.create(env.config_preview("web", bandwidth(4096))).await;
    let mut quotes = Vec::new();
    for gb in [4096, 5120, 4096, 5120] {
        env.patch_config("web", json!({"resources": bandwidth(gb)})).await;
        // What was approved before is spent, also for the same way again.
        let shown = env.config_comes_to_anew("web", "AwaitingApproval").await;
        quotes.push(at(&shown, "status.quote.id").to_string());
        env.follow(&shown, "To approve:").await;
        env.config_comes_to_anew("web", "InSync").await;
    }
    assert_eq!(
        commits(&env),
        ["2048 -> 4096", "4096 -> 5120", "5120 -> 4096", "4096 -> 5120"]
    );
    quotes.sort();
    quotes.dedup();
    assert_eq!(quotes.len(), 4, "a quote came twice: {quotes:?}");
    assert_eq!((env.posts(), env.records().await.len()), (4, 4));
    env.check_invariants().await;
}

async fn an_unclear_claim(action: Action) {
    let proxied = ProxiedEnv::new("options-unclear").await;
    proxied.proxy.rule(claim(action));
    let env = &proxied.env;
    env.create(approved(env)).await;
    let _operator = env.operator(&[]);
    env.config_comes_to("web", "InSync").await;
    let records = env.records().await.len();
    assert_eq!((records, env.posts(), env.executed()), (1, 1, 1));
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_of_options_whose_answer_was_lost_is_known_by_its_holder_and_sent_once() {
    each_row(unclear_claims().map(|(name, action)| (name.to_owned(), an_unclear_claim(action)))).await;
}

async fn no_claims(action: Action) {
    let proxied = ProxiedEnv::new("options-readonly").await;
    proxied.proxy.rule(
        Rule::on("POST", is_claim)
            .named("no claims")
            .always()
            .action(action),
    );
    let env = &proxied.env;
    env.create(approved(env)).await;
    let _operator = env.operator(&[]);
    proxied.seen(2, is_claim).await;
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    assert!(proxied.proxy.unfired().is_empty());
    proxied.proxy.clear_rules();
    env.config_comes_to("web", "InSync").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_committed_while_records_cannot_be_written_and_it_goes_on_once_they_can() {
    each_row(refused_claims().map(|(name, action)| (name.to_owned(), no_claims(action)))).await;
}

/// What befalls the object between the claim and the second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Suspended,
    Deleted,
    Recreated,
    ApprovalWithdrawn,
    CeilingLowered,
    Edited,
}

async fn between_claim_and_second_look(what: Meanwhile) {
    let proxied = ProxiedEnv::new("options-meanwhile").await;
    let env = &proxied.env;
    env.create(approved(env)).await;
    let gate = ProxyGate::new();
    proxied.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    let _operator = env.operator(&[]);
    held(&gate).await;
    let patched = match what {
        Meanwhile::Suspended => Some(json!({"suspend": true})),
        Meanwhile::ApprovalWithdrawn => Some(json!({"approval": null})),
        Meanwhile::CeilingLowered => Some(json!({"approval": {"maxPrice": {"perMonth": "39.99"}}})),
        Meanwhile::Edited => Some(json!({"resources": bandwidth(3072)})),
        Meanwhile::Deleted | Meanwhile::Recreated => {
            env.delete_config("web").await;
            None
        }
    };
    if let Some(spec) = patched {
        env.patch_config("web", spec).await;
    }
    if what == Meanwhile::Recreated {
        env.create(env.config_preview("web", bandwidth(4096))).await;
    }
    gate.release();
    let record = comes_to(env, 1, "NotSent").await;
    let message = at(&record, "status.message").as_str().unwrap();
    assert!(message.starts_with("withdrawn: "), "{message}");
    let shown = match what {
        Meanwhile::Suspended => Some("Suspended"),
        Meanwhile::Recreated | Meanwhile::ApprovalWithdrawn => Some("AwaitingApproval"),
        Meanwhile::CeilingLowered => Some("QuoteExceedsCeiling"),
        Meanwhile::Edited => Some("InSync"),
        Meanwhile::Deleted => None,
    };
    if let Some(shown) = shown {
        env.config_comes_to_anew("web", shown).await;
    }
    // Only what the object wants now is ordered.
    let ordered: &[&str] = match what {
        Meanwhile::Edited => &["2048 -> 3072"],
        _ => &[],
    };
    assert_eq!(commits(env), ordered);
    assert_eq!(env.posts(), ordered.len());
    assert_eq!(env.records().await.len(), 1 + ordered.len());
    proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn options_that_are_no_longer_wanted_at_the_second_look_withdraw_the_claim() {
    let rows = [
        Meanwhile::Suspended,
        Meanwhile::Deleted,
        Meanwhile::Recreated,
        Meanwhile::ApprovalWithdrawn,
        Meanwhile::CeilingLowered,
        Meanwhile::Edited,
    ];
    each_row(rows.map(|what| (format!("{what:?}"), between_claim_and_second_look(what)))).await;
}

/// Makes `count` records of restores that had the environment's VPS as their source, and behind them one that overwrites it.
async fn many_restores_and_one_overwrite(env: &TestEnv, claimed: &Value, count: usize) {
    let make = |name: String, what: &str| {
        let mut record = claimed.clone();
        record["metadata"] = json!({"name": name});
        record["spec"]["type"] = json!(what);
        record["spec"]["subject"]["name"] = json!(name);
        let record: DynamicObject = serde_json::from_value(record).unwrap();
        let records = env.operations();
        async move { records.create(&PostParams::default(), &record).await.unwrap() }
    };
    let restores = (0..count).map(|n| make(format!("a{n:0>25}-1"), "RestoreToCloudVm"));
    stream::iter(restores)
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
    make(format!("{}-1", "z".repeat(26)), "OverwriteVps").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_under_way_is_seen_behind_hundreds_of_restores_that_were_made_of_the_vps() {
    let proxied = ProxiedEnv::new("options-pages").await;
    let env = &proxied.env;
    env.create(approved(env)).await;
    let gate = ProxyGate::new();
    proxied.proxy.rule(claim(Action::HoldAfter(gate.clone())));
    let _operator = env.operator(&CALM);
    held(&gate).await;
    let claimed = env.records().await.remove(0);
    many_restores_and_one_overwrite(env, &claimed, 150).await;
    gate.release();
    let record = comes_to(env, 1, "NotSent").await;
    let message = at(&record, "status.message").as_str().unwrap();
    assert!(message.starts_with("withdrawn: "), "{message}");
    assert_eq!(env.posts(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reading_back_goes_on_when_the_api_server_comes_back() {
    let own = OwnPlane::start(own_control_plane).await;
    let plane = own.0;
    let long = ["--paid-timeout=40s", "--settle-time=60s"];
    let converging = TestEnv::on(plane, "converging").await;
    next(&converging, Apply::After(HOUR));
    converging.create(approved(&converging)).await;
    let _first = converging.operator(&long);
    let answering = TestEnv::on(plane, "answering").await;
    let gate = answering.sim.hold(Route::ConfigCommit, Stage::AfterAct);
    answering.create(approved(&answering)).await;
    let _second = answering.operator(&long);
    converging.config_comes_to("web", "Converging").await;
    assert!(gate.held(PATIENCE).await);

    tokio::task::spawn_blocking(|| plane.stop_apiserver())
        .await
        .unwrap();
    let_go(&converging);
    // The answer reaches a process that cannot write it down yet.
    gate.release();
    let answered = |world: &World| world.count_answered(Route::ConfigCommit) == 1;
    assert!(answering.sim.until(PATIENCE, answered).await);
    tokio::task::spawn_blocking(|| plane.start_apiserver())
        .await
        .unwrap()
        .unwrap();

    for env in [&converging, &answering] {
        env.config_comes_to("web", "InSync").await;
        let records = env.records().await;
        assert_eq!(at(&records[0], "status.evidence"), "ReadBack");
        assert_eq!((records.len(), env.posts(), env.executed()), (1, 1, 1));
        env.check_invariants().await;
    }
}

/// The call was lost on its way, and a person is asked.
async fn asked(env: &TestEnv) -> Value {
    lose(env, false);
    env.create(approved(env)).await;
    env.config_comes_to("web", "OutcomeUnknown").await
}

async fn end(env: &TestEnv, states: &[&str], executed: usize) {
    let records = env.records().await;
    let ended: Vec<&str> = records
        .iter()
        .map(|record| at(record, "status.state").as_str().unwrap())
        .collect();
    assert_eq!(ended, states);
    assert_eq!((env.posts(), env.executed()), (states.len(), executed));
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
}

const NOT_EXECUTED: &str = "It was not executed:";
const EXECUTED: &str = "It was executed:";
const GIVE_UP: &str = "Order nothing more for this VPS:";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn not_executed_is_printed_and_lets_a_new_commit_follow() {
    let of_a_lost_call = async {
        let env = TestEnv::new("options-no").await;
        let _operator = env.operator(&[]);
        let object = asked(&env).await;
        env.follow(&object, NOT_EXECUTED).await;
        env.config_comes_to("web", "InSync").await;
        assert_eq!(at(&env.records().await[0], "status.evidence"), "Person");
        end(&env, &["NotExecuted", "Succeeded"], 1).await;
    };
    // HostUp took it, and nothing came of it.
    let of_what_never_shows = async {
        let env = TestEnv::new("options-never").await;
        next(&env, Apply::Never);
        let _operator = env.operator(&[]);
        env.create(approved(&env)).await;
        let object = env.config_comes_to("web", "NotConverged").await;
        assert_eq!(condition(&object, "Stalled")["status"], "True");
        env.follow(&object, NOT_EXECUTED).await;
        env.config_comes_to("web", "InSync").await;
        end(&env, &["NotExecuted", "Succeeded"], 2).await;
    };
    let of_an_estimate = async {
        let env = TestEnv::new("options-estimate").await;
        let lost = Fault::on(Route::LegacyEstimate).acted(false);
        env.sim.inject(lost.answer(Answer::reset()));
        let _operator = env.operator(&["--enable-legacy-upgrade"]);
        env.create(env.legacy_preview("web")).await;
        let object = env.config_comes_to("web", "OutcomeUnknown").await;
        env.follow(&object, NOT_EXECUTED).await;
        env.config_comes_to("web", "AwaitingApproval").await;
        end(&env, &["NotExecuted", "Succeeded"], 0).await;
    };
    // The answer stands, and the approval is gone.
    let without_an_approval = async {
        let env = TestEnv::new("options-unapproved").await;
        let _operator = env.operator(&[]);
        let object = asked(&env).await;
        env.patch_config("web", json!({"approval": null})).await;
        env.follow(&object, NOT_EXECUTED).await;
        env.config_comes_to("web", "AwaitingApproval").await;
        end(&env, &["NotExecuted"], 0).await;
    };
    futures::join!(
        of_a_lost_call,
        of_what_never_shows,
        of_an_estimate,
        without_an_approval
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn adopt_is_printed_and_what_is_adopted_is_read_back_and_not_sent_again() {
    let read_back = async {
        let env = TestEnv::new("options-yes").await;
        next(&env, Apply::After(HOUR));
        lose(&env, true);
        let _operator = env.operator(&["--settle-time=6s"]);
        env.create(approved(&env)).await;
        let object = env.config_comes_to("web", "OutcomeUnknown").await;
        env.follow(&object, EXECUTED).await;
        env.config_comes_to("web", "Converging").await;
        assert_eq!(
            at(&comes_to(&env, 1, "Accepted").await, "status.evidence"),
            "Person"
        );
        let_go(&env);
        env.config_comes_to("web", "InSync").await;
        assert_eq!(at(&env.records().await[0], "status.evidence"), "ReadBack");
        end(&env, &["Succeeded"], 1).await;
    };
    // It never shows: the answer is refused, and another one may be given.
    let refused = async {
        let env = TestEnv::new("options-wrong").await;
        let _operator = env.operator(&[]);
        let object = asked(&env).await;
        env.follow(&object, EXECUTED).await;
        let object = env.config_comes_to("web", "NotConverged").await;
        let record = &env.records().await[0];
        assert!(at(record, "status.resolutionRefused").is_string());
        env.follow(&object, NOT_EXECUTED).await;
        env.config_comes_to("web", "InSync").await;
        end(&env, &["NotExecuted", "Succeeded"], 1).await;
    };
    let of_the_older_route = async {
        let env = TestEnv::new("options-order").await;
        let lost = Fault::on(Route::LegacyUpgrade).acted(true);
        env.sim.inject(lost.answer(Answer::reset()));
        let _operator = env.operator(&["--enable-legacy-upgrade"]);
        env.create(env.legacy_preview("web")).await;
        let shown = env.config_comes_to("web", "AwaitingApproval").await;
        env.follow(&shown, "To approve:").await;
        let object = env.config_comes_to("web", "OutcomeUnknown").await;
        env.follow(&object, EXECUTED).await;
        env.config_comes_to("web", "InSync").await;
        end(&env, &["Succeeded", "Succeeded"], 1).await;
    };
    futures::join!(read_back, refused, of_the_older_route);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_abandoned_change_is_followed_by_none_for_any_object_of_the_vps() {
    let env = TestEnv::new("options-abandon").await;
    let operator = env.operator(&[]);
    let object = asked(&env).await;
    env.follow(&object, GIVE_UP).await;
    env.config_comes_to("web", "Abandoned").await;
    drop(operator);
    let _operator = env.operator(&[]);
    env.delete_config("web").await;
    env.create(approved(&env)).await;
    env.config_comes_to("web", "Abandoned").await;
    env.delete_config("web").await;
    env.create(env.approved_config("other", bandwidth(5120))).await;
    env.config_comes_to("other", "Abandoned").await;
    end(&env, &["Abandoned"], 0).await;
}

#[tokio::test]
async fn an_answer_to_a_change_that_hostup_took_is_refused() {
    let env = TestEnv::new("options-early").await;
    let (_operator, _) = Before::Converging.lead(&env).await;
    let record = record_of(&env, 1);
    for answer in ["NotExecuted", "Abandon", "Adopt"] {
        let refusal = env.resolve(&record, json!({"answer": answer})).await;
        let error = refusal.unwrap_err().to_string();
        assert!(
            error.contains("it can be set only while status.state is Unknown"),
            "{error}"
        );
    }
    let_go(&env);
    env.config_comes_to("web", "InSync").await;
    end(&env, &["Succeeded"], 1).await;
}

async fn record_deleted(before: Before) {
    let env = TestEnv::new("options-lost").await;
    let (mut operator, _gate) = before.lead(&env).await;
    let (posts, executed) = (env.posts(), env.executed());
    let records = env.records().await;
    let record = name_of(&records[0]);
    let by = DeleteParams::default();
    env.operations().delete(record, &by).await.unwrap();
    let object = env.config_comes_to("web", "LedgerMissing").await;
    assert!(ready(&object)["message"].as_str().unwrap().contains(record));
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    let_go(&env);
    operator.kill_9();
    let _second = env.operator(&[]);
    // Another object's whole look later it stands as it stood.
    env.add_vps(&vps_of(&env, 0));
    let mut other = env.config_preview("other", bandwidth(4096));
    other["spec"]["vpsId"] = json!(vps_of(&env, 0));
    env.create(other).await;
    env.config_comes_to("other", "AwaitingApproval").await;
    assert_eq!(reason(&env.config("web").await), "LedgerMissing");
    assert_eq!((env.posts(), env.executed()), (posts, executed));
    assert!(env.records().await.is_empty());
    env.check_invariants_over(records);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn options_whose_record_was_deleted_are_stalled_and_buy_nothing() {
    let rows = [
        Before::Converging,
        Before::AwaitingPayment,
        Before::OutcomeUnknown,
        Before::InSync,
        Before::Rejected,
    ];
    each_row(rows.map(|before| (format!("{before:?}"), record_deleted(before)))).await;
}
