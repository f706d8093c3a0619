//! HostUp refuses: what is sent again, when, and whose share it takes.

use hostup_sim::{Answer, Fault, LimitSet, Route};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::clocks::Clocks;
use crate::support::{PATIENCE, Stage, at, each_row, ready, reason};

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

    async fn change(self, stage: &Stage, n: u32) {
        let spec = |spec: Value| json!({"spec": spec});
        match self {
            Self::ApprovalFlips => {
                let most = format!("0.8{}", n % 2);
                let patch = spec(json!({"approval": {"maxPrice": {"perHour": most}}}));
                stage.patch("web", patch).await.unwrap();
            }
            Self::SuspendFlips => {
                for suspend in [true, false] {
                    stage
                        .patch("web", spec(json!({"suspend": suspend})))
                        .await
                        .unwrap();
                }
            }
            Self::SecretIsTouched => {
                let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
                    kube::Api::namespaced(stage.client.clone(), &stage.namespace);
                let patch = json!({"metadata": {"annotations": {"touched": n.to_string()}}});
                let by = PatchParams::default();
                secrets
                    .patch("hostup-api", &by, &Patch::Merge(&patch))
                    .await
                    .unwrap();
            }
            Self::WordsChange => stage.sim.world(|world| {
                let words = format!("\"{n} days remaining\"");
                let pointer = "/actions/canConvertToCloud/reason";
                world.clear_patches();
                world.patch(Route::ConvertToCloud, pointer, Some(&words));
            }),
        }
    }
}

async fn is_sent_once(idle: Idle) {
    let stage = Stage::new("idle").await;
    let refuse = Fault::on(Route::RestoreToPayg).acted(false).always();
    stage
        .sim
        .inject(refuse.answer(Answer::problem(409, "vps_not_ready")));
    let clocks = Clocks::right();
    let mut operator = stage.operator_with(&[], &[clocks.env()]);
    stage.create(stage.approved("web")).await;
    stage.wait_for_reason("web", "Rejected").await;
    for n in 1..=10 {
        idle.change(&stage, n).await;
        if n > 8 {
            // A new process finds no other cause either.
            drop(operator);
            operator = stage.operator_with(&[], &[clocks.env()]);
            operator.wait_for_line("\"ready\"");
        }
        // Longer than any wait between two attempts.
        let seconds = n * 1_000;
        clocks.ahead([seconds, seconds, seconds]);
        stage.look_again(stage.restores(), "web", Route::ListVps).await;
    }
    stage.wait_for_reason("web", "Rejected").await;
    drop(operator);
    assert_eq!((stage.posts(), stage.records().await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_order_is_not_sent_again_for_what_hostup_did_not_judge() {
    each_row(Idle::ALL.map(|idle| (format!("{idle:?}"), is_sent_once(idle)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_attempts_in_a_day_are_enough_whatever_changes() {
    let stage = Stage::new("eight").await;
    let refuse = Fault::on(Route::RestoreToPayg).acted(false).always();
    stage
        .sim
        .inject(refuse.answer(Answer::problem(409, "vps_not_ready")));
    let clocks = Clocks::right();
    let _operator = stage.operator_with(&[], &[clocks.env()]);
    stage.create(stage.approved("web")).await;
    for n in 1..=8_u32 {
        let sent = move |world: &hostup_sim::World| world.count(Route::RestoreToPayg) >= n as usize;
        assert!(stage.sim.until(PATIENCE, sent).await, "attempt {n} was not made");
        let refused = |object: &Value| {
            at(object, "status.operation.attempt") == n && at(object, "status.operation.state") == "Rejected"
        };
        stage.wait("web", "the refusal", refused).await;
        // Another code of a gate is another cause.
        stage.sim.world(|world| {
            let code = format!("\"code_{n}\"");
            world.clear_patches();
            world.patch(Route::ListBackups, "/actions/canRestore/code", Some(&code));
        });
        let seconds = n * 1_000;
        clocks.ahead([seconds, seconds, seconds]);
        stage.poke(stage.restores(), "web", n).await;
    }
    let object = stage
        .wait("web", "the end of the day's attempts", |object| {
            ready(object)["message"]
                .as_str()
                .is_some_and(|message| message.contains("all 8 attempts of the last 24 hours failed"))
        })
        .await;
    assert_eq!(reason(&object), "Rejected");
    assert_eq!(stage.posts(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_invoice_gate_that_is_read_for_the_first_time_is_no_change() {
    let stage = Stage::new("firstread").await;
    let refuse = Fault::on(Route::ConfigCommit).acted(false);
    stage
        .sim
        .inject(refuse.answer(Answer::problem(409, "existing_invoice_blocking")));
    let clocks = Clocks::right();
    let _operator = stage.operator_with(&[], &[clocks.env()]);
    stage
        .create(stage.approved_config("web", json!({"bandwidthGb": 4096})))
        .await;
    stage.config_comes_to("web", "Rejected").await;
    for n in 1..=3 {
        clocks.ahead([n * 1_000; 3]);
        stage
            .look_again(stage.configs(), "web", Route::ConfigPreview)
            .await;
    }
    assert_eq!(reason(&stage.config("web").await), "Rejected");
    assert_eq!((stage.posts(), stage.executed()), (1, 0));
    stage.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refused_calls_count_against_the_share_of_their_own_namespace_alone() {
    let stage = Stage::new("share").await;
    let other = Stage::new("other").await;
    stage.sim.world(|world| {
        world.account_mut(stage.account).limits_max = LimitSet::new(64, 256, 4000, 40);
    });
    let both = format!("--watch-namespaces={},{}", stage.namespace, other.namespace);
    let refuse = Fault::on(Route::RestoreToPayg).acted(false).times(2);
    stage
        .sim
        .inject(refuse.answer(Answer::problem(400, "invalid_request")));
    let _operator = stage.operator(&[&both, "--max-paid-calls=3", "--max-paid-calls-per-namespace=2"]);
    for name in ["refused-0", "refused-1"] {
        stage.create(stage.approved(name)).await;
        stage.wait_for_reason(name, "Rejected").await;
    }
    stage.create(stage.approved("third")).await;
    let held = stage.wait_for_reason("third", "PaidCallCap").await;
    let message = ready(&held)["message"].as_str().unwrap();
    assert!(message.contains("--max-paid-calls-per-namespace"), "{message}");
    assert!(message.contains(&stage.namespace), "{message}");
    // The other namespace has its own share, whole, and nothing was taken of what is there for all.
    for name in ["web-0", "web-1"] {
        other.create(other.approved(name)).await;
        other.wait_for_reason(name, "Restored").await;
    }
    other.create(other.approved("web-2")).await;
    let held = other.wait_for_reason("web-2", "PaidCallCap").await;
    let message = ready(&held)["message"].as_str().unwrap();
    assert!(message.contains(&other.namespace), "{message}");
    assert_eq!((stage.posts(), stage.executed()), (4, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_order_that_is_edited_is_sent_again_after_its_wait() {
    let stage = Stage::new("edited").await;
    let refuse = Fault::on(Route::ConfigCommit).acted(false);
    stage
        .sim
        .inject(refuse.answer(Answer::problem(403, "verification_failed")));
    let clocks = Clocks::right();
    let _operator = stage.operator_with(&[], &[clocks.env()]);
    let mut object = stage.approved_config("web", json!({"bandwidthGb": 4096}));
    object["spec"]["approval"]["maxPrice"] =
        json!({"dueNow": "400", "perMonth": "400", "currencyCode": "SEK"});
    stage.create(object).await;
    stage.config_comes_to("web", "Rejected").await;
    stage
        .patch_config("web", json!({"resources": {"bandwidthGb": 5120}}))
        .await;
    let waits = stage.config_comes_to_anew("web", "ProviderUnavailable").await;
    let message = ready(&waits)["message"].as_str().unwrap();
    assert!(message.contains("The next one follows at"), "{message}");
    assert_eq!(stage.posts(), 1);
    clocks.ahead([60, 60, 60]);
    stage.poke(stage.configs(), "web", 1).await;
    stage.config_comes_to("web", "InSync").await;
    assert_eq!((stage.posts(), stage.executed()), (2, 1));
    stage.check_invariants().await;
}
