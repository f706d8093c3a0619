//! HostUp refuses: what is sent again, when, and whose share it takes.

use hostup_sim::{Answer, Fault, LimitSet, Route};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::clocks::Clocks;
use crate::support::{PATIENCE, TestEnv, at, each_row, ready, reason};

/// Nothing has changed that HostUp judges, though much has.
#[derive(Debug, Clone, Copy)]
enum Idle {
    ApprovalFlips,
    SuspendFlips,
    SecretIsTouched,
    WordsChange,
}

impl Idle {
    const ALL: [Self; 4] = [
        Self::ApprovalFlips,
        Self::SuspendFlips,
        Self::SecretIsTouched,
        Self::WordsChange,
    ];

    async fn change(self, env: &TestEnv, n: u32) {
        let spec = |spec: Value| json!({"spec": spec});
        match self {
            Self::ApprovalFlips => {
                let most = format!("0.8{}", n % 2);
                let patch = spec(json!({"approval": {"maxPrice": {"perHour": most}}}));
                env.patch("web", patch).await.unwrap();
            }
            Self::SuspendFlips => {
                for suspend in [true, false] {
                    env.patch("web", spec(json!({"suspend": suspend}))).await.unwrap();
                }
            }
            Self::SecretIsTouched => {
                let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
                    kube::Api::namespaced(env.client.clone(), &env.namespace);
                let patch = json!({"metadata": {"annotations": {"touched": n.to_string()}}});
                let by = PatchParams::default();
                secrets
                    .patch("hostup-api", &by, &Patch::Merge(&patch))
                    .await
                    .unwrap();
            }
            Self::WordsChange => env.sim.world(|world| {
                let words = format!("\"{n} days remaining\"");
                let pointer = "/actions/canConvertToCloud/reason";
                world.clear_patches();
                world.patch(Route::ConvertToCloud, pointer, Some(&words));
            }),
        }
    }
}

async fn is_sent_once(idle: Idle) {
    let env = TestEnv::new("idle").await;
    let refuse = Fault::on(Route::RestoreToPayg).acted(false).always();
    env.sim
        .inject(refuse.answer(Answer::problem(409, "vps_not_ready")));
    let clocks = Clocks::right();
    let mut operator = env.operator_with(&[], &[clocks.env()]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Rejected").await;
    for n in 1..=10 {
        idle.change(&env, n).await;
        if n > 8 {
            // A new process finds no other cause either.
            drop(operator);
            operator = env.operator_with(&[], &[clocks.env()]);
            operator.wait_for_line("\"ready\"");
        }
        // Longer than any wait between two attempts.
        let seconds = n * 1_000;
        clocks.ahead([seconds, seconds, seconds]);
        env.look_again(env.restores(), "web", Route::ListVps).await;
    }
    env.wait_for_reason("web", "Rejected").await;
    drop(operator);
    assert_eq!((env.posts(), env.records().await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_order_is_not_sent_again_for_what_hostup_did_not_judge() {
    each_row(Idle::ALL.map(|idle| (format!("{idle:?}"), is_sent_once(idle)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_attempts_in_a_day_are_enough_whatever_changes() {
    let env = TestEnv::new("eight").await;
    let refuse = Fault::on(Route::RestoreToPayg).acted(false).always();
    env.sim
        .inject(refuse.answer(Answer::problem(409, "vps_not_ready")));
    let clocks = Clocks::right();
    let _operator = env.operator_with(&[], &[clocks.env()]);
    env.create(env.approved("web")).await;
    for n in 1..=8_u32 {
        let sent = move |world: &hostup_sim::World| world.count(Route::RestoreToPayg) >= n as usize;
        assert!(env.sim.until(PATIENCE, sent).await, "attempt {n} was not made");
        let refused = |object: &Value| {
            at(object, "status.operation.attempt") == n && at(object, "status.operation.state") == "Rejected"
        };
        env.wait("web", "the refusal", refused).await;
        // Another code of a gate is another cause.
        env.sim.world(|world| {
            let code = format!("\"code_{n}\"");
            world.clear_patches();
            world.patch(Route::ListBackups, "/actions/canRestore/code", Some(&code));
        });
        let seconds = n * 1_000;
        clocks.ahead([seconds, seconds, seconds]);
        env.poke(env.restores(), "web", n).await;
    }
    let object = env
        .wait("web", "the end of the day's attempts", |object| {
            ready(object)["message"]
                .as_str()
                .is_some_and(|message| message.contains("all 8 attempts of the last 24 hours failed"))
        })
        .await;
    assert_eq!(reason(&object), "Rejected");
    assert_eq!(env.posts(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_invoice_gate_that_is_read_for_the_first_time_is_no_change() {
    let env = TestEnv::new("firstread").await;
    let refuse = Fault::on(Route::ConfigCommit).acted(false);
    env.sim
        .inject(refuse.answer(Answer::problem(409, "existing_invoice_blocking")));
    let clocks = Clocks::right();
    let _operator = env.operator_with(&[], &[clocks.env()]);
    env.create(env.approved_config("web", json!({"bandwidthGb": 4096})))
        .await;
    env.config_comes_to("web", "Rejected").await;
    for n in 1..=3 {
        clocks.ahead([n * 1_000; 3]);
        env.look_again(env.configs(), "web", Route::ConfigPreview).await;
    }
    assert_eq!(reason(&env.config("web").await), "Rejected");
    assert_eq!((env.posts(), env.executed()), (1, 0));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refused_calls_count_against_the_share_of_their_own_namespace_alone() {
    let env = TestEnv::new("share").await;
    let other = TestEnv::new("other").await;
    env.sim.world(|world| {
        world.account_mut(env.account).limits_max = LimitSet::new(64, 256, 4000, 40);
    });
    let both = format!("--watch-namespaces={},{}", env.namespace, other.namespace);
    let refuse = Fault::on(Route::RestoreToPayg).acted(false).times(2);
    env.sim
        .inject(refuse.answer(Answer::problem(400, "invalid_request")));
    let _operator = env.operator(&[&both, "--max-paid-calls=3", "--max-paid-calls-per-namespace=2"]);
    for name in ["refused-0", "refused-1"] {
        env.create(env.approved(name)).await;
        env.wait_for_reason(name, "Rejected").await;
    }
    env.create(env.approved("third")).await;
    let held = env.wait_for_reason("third", "PaidCallCap").await;
    let message = ready(&held)["message"].as_str().unwrap();
    assert!(message.contains("--max-paid-calls-per-namespace"), "{message}");
    assert!(message.contains(&env.namespace), "{message}");
    // The other namespace has its own share, whole, and nothing was taken of what is there for all.
    for name in ["web-0", "web-1"] {
        other.create(other.approved(name)).await;
        other.wait_for_reason(name, "Restored").await;
    }
    other.create(other.approved("web-2")).await;
    let held = other.wait_for_reason("web-2", "PaidCallCap").await;
    let message = ready(&held)["message"].as_str().unwrap();
    assert!(message.contains(&other.namespace), "{message}");
    assert_eq!((env.posts(), env.executed()), (4, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_order_that_is_edited_is_sent_again_after_its_wait() {
    let env = TestEnv::new("edited").await;
    let refuse = Fault::on(Route::ConfigCommit).acted(false);
    env.sim
        .inject(refuse.answer(Answer::problem(403, "verification_failed")));
    let clocks = Clocks::right();
    let _operator = env.operator_with(&[], &[clocks.env()]);
    let mut object = env.approved_config("web", json!({"bandwidthGb": 4096}));
    object["spec"]["approval"]["maxPrice"] =
        json!({"dueNow": "400", "perMonth": "400", "currencyCode": "SEK"});
    env.create(object).await;
    env.config_comes_to("web", "Rejected").await;
    env.patch_config("web", json!({"resources": {"bandwidthGb": 5120}}))
        .await;
    let waits = env.config_comes_to_anew("web", "ProviderUnavailable").await;
    let message = ready(&waits)["message"].as_str().unwrap();
    assert!(message.contains("The next one follows at"), "{message}");
    assert_eq!(env.posts(), 1);
    clocks.ahead([60, 60, 60]);
    env.poke(env.configs(), "web", 1).await;
    env.config_comes_to("web", "InSync").await;
    assert_eq!((env.posts(), env.executed()), (2, 1));
    env.check_invariants().await;
}
