//! Objects, records and namespaces that go away and come back, in every state of a life.

use control_plane::{Action, Gate as ProxyGate};
use hostup_operator::domain::ledger::names::VmToken;
use hostup_operator::domain::values::ids::InstanceId;
use hostup_sim::{Answer, Fault, Gate, Outcome, RestoreBehaviour, Route, Stage, Vps};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::proxied_env::{OPERATIONS, ProxiedEnv, claim, held};
use crate::support::{HOUR, Operator, PATIENCE, TestEnv, at, condition, each_row, ready, reason};

/// Where the first object of the name stands when it is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Preview,
    Sending,
    JobRunning,
    Confirming,
    OutcomeUnknown,
    Restored,
    VmLeft,
    Rejected,
    NotSent,
}

impl Before {
    const ALL: [Self; 9] = [
        Self::Preview,
        Self::Sending,
        Self::JobRunning,
        Self::Confirming,
        Self::OutcomeUnknown,
        Self::Restored,
        Self::VmLeft,
        Self::Rejected,
        Self::NotSent,
    ];

    /// The first object's call was executed.
    fn is_executed(self) -> bool {
        matches!(
            self,
            Self::Sending | Self::JobRunning | Self::Confirming | Self::Restored | Self::VmLeft
        )
    }

    /// No record keeps others from the name.
    fn leaves_the_name_free(self) -> bool {
        matches!(self, Self::Preview | Self::Rejected | Self::NotSent)
    }
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    Recreated,
    RecreatedOtherwise,
    Suspended,
    Edited,
    Deleted,
}

/// A life that was led to a state, and the means to let it go on.
struct Scene {
    proxied: ProxiedEnv,
    operator: Operator,
    gate: Option<Gate>,
}

impl Scene {
    async fn at(before: Before) -> Self {
        let proxied = ProxiedEnv::new("again").await;
        let env = &proxied.env;
        let next = |behaviour| env.sim.world(|world| world.restore_next(behaviour));
        let lost = |acted| {
            let answer = Fault::on(Route::RestoreToPayg).acted(acted);
            env.sim.inject(answer.answer(Answer::reset()));
        };
        let mut gate = None;
        let mut object = env.approved("web");
        let settle = match before {
            Before::OutcomeUnknown => "--settle-time=1s",
            _ => "--settle-time=12s",
        };
        match before {
            Before::Preview => object = env.preview("web"),
            Before::Sending => gate = Some(env.sim.hold(Route::RestoreToPayg, Stage::AfterAct)),
            Before::JobRunning => next(RestoreBehaviour {
                job_duration: HOUR,
                ..RestoreBehaviour::default()
            }),
            Before::Confirming => {
                next(RestoreBehaviour {
                    vm_visible_after: HOUR,
                    ..RestoreBehaviour::default()
                });
                lost(true);
            }
            Before::OutcomeUnknown => lost(false),
            Before::Restored => {}
            Before::VmLeft => next(RestoreBehaviour::ending(Outcome::FailsWithVm)),
            Before::Rejected => env.sim.inject(
                Fault::on(Route::RestoreToPayg)
                    .acted(false)
                    .answer(Answer::problem(409, "vps_not_ready")),
            ),
            Before::NotSent => {
                let claimed = ProxyGate::new();
                proxied.proxy.rule(claim(Action::HoldAfter(claimed.clone())));
                env.create(object.clone()).await;
                let operator = env.operator(&[settle]);
                held(&claimed).await;
                env.sim.go_down();
                claimed.release();
                let record = only_record(env).await;
                let refused = |record: &Value| at(record, "status.state") == "NotSent";
                env.wait_for_record(&record, "NotSent", refused).await;
                let shown = |object: &Value| at(object, "status.operation.state") == "NotSent";
                env.wait("web", "NotSent", shown).await;
                return Self {
                    proxied,
                    operator,
                    gate,
                };
            }
        }
        env.create(object).await;
        let operator = env.operator(&[settle, "--paid-timeout=30s"]);
        let shown = match before {
            Before::Preview => "AwaitingApproval",
            Before::Sending => "Submitting",
            Before::JobRunning => "JobRunning",
            Before::Confirming => "ConfirmingOutcome",
            Before::OutcomeUnknown => "OutcomeUnknown",
            Before::Restored => "Restored",
            Before::VmLeft => "VpsLeftBilling",
            Before::Rejected | Before::NotSent => "Rejected",
        };
        env.wait_for_reason("web", shown).await;
        if let Some(gate) = &gate {
            assert!(gate.held(PATIENCE).await);
        }
        Self {
            proxied,
            operator,
            gate,
        }
    }

    /// What was held, runs, is hidden or cannot be reached at the provider comes to its end.
    fn let_go(&mut self) {
        drop(self.gate.take());
        let sim = &self.proxied.env.sim;
        sim.come_up();
        let jobs: Vec<_> = sim.purchases().into_iter().map(|bought| bought.job_id).collect();
        sim.world(|world| world.advance(HOUR));
        assert!(jobs.len() <= 1);
    }
}

/// The object has been looked at as it stands.
async fn seen(env: &TestEnv) -> Value {
    env.wait("web", "a look at it", |object| {
        at(object, "status.observedGeneration") == at(object, "metadata.generation")
    })
    .await
}

/// Another storage size, at 0.69 SEK/h.
fn otherwise(env: &TestEnv) -> Value {
    let mut object = env.approved("web");
    object["spec"]["target"]["cloudVm"]["storageGb"] = json!(90);
    object
}

async fn touched(before: Before, touch: Touch) {
    let mut scene = Scene::at(before).await;
    let env = &scene.proxied.env;
    let again = if before == Before::Preview {
        env.preview("web")
    } else {
        env.approved("web")
    };
    match touch {
        Touch::Recreated => {
            env.delete("web").await;
            env.create(again).await;
        }
        Touch::RecreatedOtherwise => {
            env.delete("web").await;
            env.create(otherwise(env)).await;
        }
        Touch::Suspended => drop(
            env.patch("web", json!({"spec": {"suspend": true}}))
                .await
                .unwrap(),
        ),
        Touch::Edited => {
            let mut approval = env.approved("web")["spec"]["approval"].clone();
            approval["maxPrice"]["perHour"] = json!("0.79");
            env.patch("web", json!({"spec": {"approval": approval}}))
                .await
                .unwrap();
        }
        Touch::Deleted => env.delete("web").await,
    }
    if touch != Touch::Deleted {
        seen(env).await;
    }
    scene.let_go();
    let env = &scene.proxied.env;
    let wanted = match (before, touch) {
        (_, Touch::Deleted) => None,
        (Before::Preview, Touch::Recreated) => Some("AwaitingApproval"),
        (_, Touch::Suspended) if before.leaves_the_name_free() => Some("Suspended"),
        // What HostUp refused is sent again once what it judges changes, and it judges no approval.
        (Before::Rejected, Touch::Edited) => Some("Rejected"),
        _ if before.leaves_the_name_free() => Some("Restored"),
        (_, Touch::RecreatedOtherwise) => Some("NameReused"),
        (Before::OutcomeUnknown, _) => Some("OutcomeUnknown"),
        (Before::VmLeft, _) => Some("VpsLeftBilling"),
        (_, Touch::Recreated) => Some("AlreadyExecuted"),
        (_, Touch::Suspended | Touch::Edited) => Some("Restored"),
    };
    let first = env
        .records()
        .await
        .first()
        .map(|record| record["metadata"]["name"].clone());
    if let Some(first) = &first {
        let end = |record: &Value| match before {
            Before::Preview
            | Before::Sending
            | Before::JobRunning
            | Before::Confirming
            | Before::Restored => at(record, "status.state") == "Succeeded",
            Before::OutcomeUnknown => at(record, "status.evidence") == "NoneFound",
            Before::VmLeft => at(record, "status.state") == "Failed",
            Before::Rejected => at(record, "status.state") == "Rejected",
            Before::NotSent => at(record, "status.state") == "NotSent",
        };
        env.wait_for_record(first.as_str().unwrap(), "its end", end).await;
    }
    if let Some(wanted) = wanted {
        let object = env.wait_for_reason("web", wanted).await;
        match wanted {
            "NameReused" => {
                for hidden in ["vm", "operation", "job", "quote"] {
                    assert!(
                        object["status"][hidden].is_null(),
                        "{hidden} of another object is shown"
                    );
                }
            }
            "AlreadyExecuted" | "Restored" => {
                assert_eq!(ready(&object)["status"], "True");
                let bought = env.sim.purchases()[0].vps_id.clone().unwrap();
                assert_eq!(at(&object, "status.vm.vpsId"), bought.as_str());
            }
            _ => assert_eq!(ready(&object)["status"], "False"),
        }
    }
    let bought_now = usize::from(before.leaves_the_name_free() && wanted == Some("Restored"));
    let executed = usize::from(before.is_executed()) + bought_now;
    assert_eq!(env.executed(), executed);
    assert!(executed <= 1);
    let refused_before = usize::from(matches!(before, Before::OutcomeUnknown | Before::Rejected));
    assert_eq!(env.posts(), executed + refused_before);
    scene.proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_touched_or_re_created_object_never_buys_twice_in_any_state() {
    let touches = [
        Touch::Recreated,
        Touch::RecreatedOtherwise,
        Touch::Suspended,
        Touch::Edited,
        Touch::Deleted,
    ];
    let rows = Before::ALL
        .into_iter()
        .flat_map(|before| touches.map(|touch| (before, touch)));
    each_row(rows.map(|(before, touch)| (format!("{before:?} {touch:?}"), touched(before, touch)))).await;
}

#[tokio::test]
async fn the_quote_of_an_earlier_object_approves_nothing() {
    let env = TestEnv::new("spent").await;
    let _operator = env.operator(&[]);
    env.create(env.preview("web")).await;
    let shown = env.wait_for_reason("web", "AwaitingApproval").await;
    env.delete("web").await;
    let mut again = env.preview("web");
    again["spec"]["approval"] = json!({"quoteId": at(&shown, "status.quote.id")});
    env.create(again).await;
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
    assert_ne!(at(&object, "status.quote.id"), at(&shown, "status.quote.id"));
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    env.check_invariants().await;
}

async fn remove_namespace(env: &TestEnv) {
    let (plane, namespace) = (env.plane, env.namespace.clone());
    let removed = tokio::task::spawn_blocking(move || {
        plane.kubectl_ok(&["delete", "namespace", &namespace, "--wait", "--timeout=100s"])
    });
    removed.await.unwrap().unwrap();
}

async fn bring_namespace_back(env: &TestEnv) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": env.namespace}});
    env.create(namespace).await;
    env.put_secret(crate::support::KEY).await;
}

async fn only_record(env: &TestEnv) -> String {
    let records = env.records().await;
    assert_eq!(records.len(), 1);
    records[0]["metadata"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_outlives_its_namespace_and_is_followed_as_far_as_there_is_a_key() {
    // The process still has the key.
    let with_a_key = async {
        let mut scene = Scene::at(Before::JobRunning).await;
        // What goes first when a namespace is removed; the rest may take longer than a key is kept.
        scene.proxied.env.delete("web").await;
        scene.proxied.env.delete_secret().await;
        scene.let_go();
        let env = &scene.proxied.env;
        let record = only_record(env).await;
        let ended = |record: &Value| at(record, "status.state") == "Succeeded";
        env.wait_for_record(&record, "its end", ended).await;
        remove_namespace(env).await;
        bring_namespace_back(env).await;
        env.create(env.approved("web")).await;
        env.wait_for_reason("web", "AlreadyExecuted").await;
        assert_eq!((env.posts(), env.executed()), (1, 1));
        scene.proxied.check().await;
    };
    // The next process finds none until the namespace is back.
    let without_a_key = |before: Before| async move {
        let mut scene = Scene::at(before).await;
        scene.operator.kill_9();
        remove_namespace(&scene.proxied.env).await;
        scene.let_go();
        let env = &scene.proxied.env;
        let record = only_record(env).await;
        let asked = env.sim.requests().len();
        let _second = env.operator(&["--settle-time=1s"]);
        let secret = format!("/api/v1/namespaces/{}/secrets/hostup-api", env.namespace);
        let earlier = scene.proxied.proxy.requests().len();
        scene
            .proxied
            .seen(2, move |request| request.n > earlier && request.path == secret)
            .await;
        let state = env.records().await[0]["status"]["state"].clone();
        assert!(
            ["Accepted", "Unknown"].contains(&state.as_str().unwrap()),
            "{state}"
        );
        assert_eq!(env.sim.requests().len(), asked);
        bring_namespace_back(env).await;
        let ended = |record: &Value| at(record, "status.state") == "Succeeded";
        env.wait_for_record(&record, "its end", ended).await;
        env.create(env.approved("web")).await;
        env.wait_for_reason("web", "AlreadyExecuted").await;
        assert_eq!((env.posts(), env.executed()), (1, 1));
        scene.proxied.check().await;
    };
    futures::join!(
        with_a_key,
        without_a_key(Before::JobRunning),
        without_a_key(Before::Confirming)
    );
}

async fn record_deleted(before: Before) {
    let mut scene = Scene::at(before).await;
    let env = &scene.proxied.env;
    let (posts, executed) = (env.posts(), env.executed());
    let record = only_record(env).await;
    let body = env.records().await[0].clone();
    env.operations()
        .delete(&record, &DeleteParams::default())
        .await
        .unwrap();
    let object = env.wait_for_reason("web", "LedgerMissing").await;
    assert!(ready(&object)["message"].as_str().unwrap().contains(&record));
    assert_eq!(ready(&object)["status"], "False");
    scene.let_go();
    let env = &scene.proxied.env;
    scene.operator.kill_9();
    let _second = env.operator(&[]);
    env.create(env.preview("other")).await;
    env.wait_for_reason("other", "AwaitingApproval").await;
    assert_eq!(reason(&env.restore("web").await), "LedgerMissing");
    assert_eq!((env.posts(), env.executed()), (posts, executed));
    assert!(env.records().await.is_empty());
    // Brought back from a backup, as far as the API server lets a person write it.
    let mut back = body;
    let metadata = json!({"name": record});
    back["metadata"] = metadata;
    env.create(back).await;
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_object_whose_record_was_deleted_is_stalled_and_buys_nothing() {
    let rows = [
        Before::JobRunning,
        Before::OutcomeUnknown,
        Before::Restored,
        Before::VmLeft,
        Before::Rejected,
        Before::NotSent,
    ];
    each_row(rows.map(|before| (format!("{before:?}"), record_deleted(before)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_of_another_installation_is_neither_driven_nor_bought_over() {
    let mut scene = Scene::at(Before::JobRunning).await;
    scene.operator.kill_9();
    let env = &scene.proxied.env;
    let asked = env.sim.requests().len();
    let mut stranger = env.operator(&["--instance-id=stranger"]);
    let object = env.wait_for_reason("web", "OtherInstance").await;
    assert!(at(&object, "status.vm").is_null());
    scene.let_go();
    let env = &scene.proxied.env;
    env.delete("web").await;
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "OtherInstance").await;
    stranger.kill_9();
    assert_eq!(env.sim.requests().len(), asked, "the stranger asked HostUp");
    assert_eq!(at(&env.records().await[0], "status.state"), "Accepted");
    assert_eq!((env.posts(), env.executed()), (1, 1));
    let _own = env.operator(&[]);
    env.wait_for_reason("web", "AlreadyExecuted").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
    scene.proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_of_another_installation_is_not_even_read() {
    let mut scene = Scene::at(Before::JobRunning).await;
    scene.operator.kill_9();
    let env = &scene.proxied.env;
    let record = format!("{OPERATIONS}/{}", only_record(env).await);
    env.delete("web").await;
    let earlier = scene.proxied.proxy.requests().len();
    let _stranger = env.operator(&["--instance-id=stranger"]);
    env.create(env.preview("other")).await;
    env.wait_for_reason("other", "AwaitingApproval").await;
    let requests = scene.proxied.proxy.requests();
    let mut since = requests.iter().filter(|request| request.n > earlier);
    assert!(!since.any(|request| request.path == record), "{record} was read");
    scene.let_go();
    scene.proxied.check().await;
}

/// A VM that has the token of the object `web`.
fn bearer(env: &TestEnv, id: &str) -> Vps {
    let token = VmToken::new(&InstanceId::new(&env.namespace), &env.namespace, "web");
    Vps::payg(id, &format!("web-01-{}", token.as_str()), 2, 4, 80)
}

/// The cluster is lost with objects and records; `again` comes back from Git.
async fn rebuilt(twins: bool, preview: bool, args: &'static [&'static str]) {
    let mut scene = Scene::at(Before::Restored).await;
    scene.operator.kill_9();
    let env = &scene.proxied.env;
    let record = only_record(env).await;
    env.delete("web").await;
    env.operations()
        .delete(&record, &DeleteParams::default())
        .await
        .unwrap();
    if twins {
        let twin = bearer(env, "vps_twin");
        env.sim.world(|world| world.add_vps(env.account, twin));
    }
    env.create(if preview {
        env.preview("web")
    } else {
        env.approved("web")
    })
    .await;
    let _second = env.operator(args);
    if twins {
        env.wait_for_reason("web", "OutcomeUnknown").await;
        assert_eq!(at(&env.records().await[0], "status.evidence"), "SeveralFound");
    } else {
        let object = env.wait_for_reason("web", "AlreadyExecuted").await;
        let bought = env.sim.purchases()[0].vps_id.clone().unwrap();
        assert_eq!(at(&object, "status.vm.vpsId"), bought.as_str());
        let message = ready(&object)["message"].as_str().unwrap();
        assert!(message.contains("nothing was bought"), "{message}");
        assert!(
            message.contains("does not know which backup the VM contains"),
            "{message}"
        );
        // Neither a backup nor a price nor a consent is told of it, for nobody knows them.
        for hidden in ["status.backup", "status.quote", "status.job"] {
            assert!(at(&object, hidden).is_null(), "{hidden}");
        }
        for step in ["Approved", "Quoted", "GatesPassed"] {
            assert!(condition(&object, step).is_null(), "{step}");
        }
        assert_eq!(condition(&object, "Submitted")["status"], "False");
        assert_eq!(at(&env.records().await[0], "status.evidence"), "FoundBeforeClaim");
    }
    assert_eq!(
        (env.records().await.len(), env.posts(), env.executed()),
        (1, 1, 1)
    );
    scene.proxied.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_rebuild_from_git_the_vm_is_found_by_its_token_and_not_bought_again() {
    let rows = [
        ("one VM", rebuilt(false, false, &[])),
        ("one VM, read-only", rebuilt(false, false, &["--read-only"])),
        ("one VM, preview", rebuilt(false, true, &[])),
        ("two VMs", rebuilt(true, false, &[])),
    ];
    each_row(rows.map(|(name, row)| (name.to_owned(), row))).await;
}
