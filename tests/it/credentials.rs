//! API keys: missing, wrong, weak, foreign, and changed in the middle of a life.

use futures::future::join_all;
use hostup_sim::{Answer, Fault, RestoreBehaviour, Route, World};
use serde_json::{Value, json};

use crate::support::{Customer, HOUR, KEY, PATIENCE, TestEnv, at, condition, ready, reason};

const FOREIGN: &str = "hostup-key-of-another-customer";

fn message(object: &Value) -> &str {
    ready(object)["message"].as_str().unwrap()
}

#[tokio::test]
async fn a_secret_that_is_missing_is_waited_for() {
    let env = TestEnv::new("nosecret").await;
    env.delete_secret().await;
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "CredentialsMissing").await;
    assert_eq!(condition(&object, "Reconciling")["status"], "True");
    assert_eq!(condition(&object, "Stalled"), &Value::Null);
    let text = format!(
        "Secret {}/hostup-api does not exist; create it with the HostUp API key under the key \"token\"",
        env.namespace
    );
    assert_eq!(message(&object), text);
    assert_eq!(env.sim.count(Route::Any), 0);
    env.put_secret(KEY).await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(env.executed(), 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_secret_without_a_usable_key_is_named_and_never_sent() {
    let env = TestEnv::new("badsecret").await;
    let rows = [
        (
            "absent",
            json!({"stringData": {"other": "x"}}),
            "has no key token",
        ),
        (
            "empty",
            json!({"stringData": {"token": ""}}),
            "does not contain an API key",
        ),
        (
            "blank",
            json!({"stringData": {"token": " \n"}}),
            "does not contain an API key",
        ),
        (
            "binary",
            json!({"data": {"token": "/v8AAQ=="}}),
            "does not contain an API key",
        ),
        (
            "inner",
            json!({"stringData": {"token": "two\nlines"}}),
            "does not contain an API key",
        ),
        (
            "umlaut",
            json!({"stringData": {"token": "schlüssel"}}),
            "does not contain an API key",
        ),
        (
            "long",
            json!({"stringData": {"token": "k".repeat(5000)}}),
            "does not contain an API key",
        ),
    ];
    let _operator = env.operator(&[]);
    let customers: Vec<Customer> = join_all(rows.iter().map(|(name, members, says)| {
        let env = &env;
        async move {
            let customer = env.customer(name).await;
            env.put_secret_data(name, members.clone()).await;
            env.create(customer.restore(env)).await;
            let object = env.wait_for_reason(name, "CredentialsMissing").await;
            assert_eq!(condition(&object, "Reconciling")["status"], "True");
            let text = message(&object);
            assert!(
                text.contains(says) && text.contains(&format!("/{name}")),
                "{text}"
            );
            customer
        }
    }))
    .await;
    assert_eq!(env.sim.count(Route::Any), 0);
    join_all(customers.iter().map(|customer| {
        let env = &env;
        async move {
            env.put_secret_named(&customer.name, &customer.key).await;
            env.wait_for_reason(&customer.name, "Restored").await;
        }
    }))
    .await;
    assert_eq!(env.executed(), rows.len());
    env.check_invariants().await;
}

#[tokio::test]
async fn a_key_with_a_line_break_around_it_is_the_key() {
    let env = TestEnv::new("newline").await;
    env.put_secret(&format!("  {KEY}\r\n")).await;
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(env.executed(), 1);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_wrong_key_stalls_until_it_is_replaced() {
    let env = TestEnv::new("wrongkey").await;
    env.put_secret("not-the-key").await;
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "Unauthorized").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    assert!(
        message(&object).contains("does not know the API key"),
        "{}",
        message(&object)
    );
    env.put_secret(KEY).await;
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(condition(&object, "Stalled"), &Value::Null);
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_key_rotated_before_the_purchase_is_read_anew_at_once() {
    let env = TestEnv::new("rotated").await;
    let _operator = env.operator(&[]);
    env.create(env.preview("web")).await;
    env.wait_for_reason("web", "AwaitingApproval").await;
    env.sim.world(|world| world.rotate_key(KEY, "the-new-key"));
    env.put_secret("the-new-key").await;
    let approval = env.approved("web")["spec"]["approval"].clone();
    env.patch("web", json!({"spec": {"approval": approval}}))
        .await
        .unwrap();
    env.wait("web", "Restored without a stop", |object| {
        assert_ne!(reason(object), "Unauthorized");
        reason(object) == "Restored"
    })
    .await;
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_key_revoked_while_the_job_runs_is_shown_and_the_job_is_followed_to_its_end_later() {
    let env = TestEnv::new("revoked").await;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "JobRunning").await;
    let job = at(&object, "status.job.id").as_str().unwrap().to_owned();
    env.sim.world(|world| world.revoke_key(KEY));
    let object = env.wait_for_reason("web", "Unauthorized").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    assert_eq!(at(&object, "status.operation.state"), "Accepted");
    env.sim.world(|world| {
        world.reinstate_key(KEY);
        world.finish_job(&job);
    });
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(condition(&object, "Stalled"), &Value::Null);
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_secret_removed_while_the_job_runs_is_asked_for() {
    let env = TestEnv::new("removed").await;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    let mut operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "JobRunning").await;
    let job = at(&object, "status.job.id").as_str().unwrap().to_owned();
    operator.kill_9();
    env.delete_secret().await;
    let _operator = env.operator(&[]);
    let object = env.wait_for_reason("web", "CredentialsMissing").await;
    assert_eq!(condition(&object, "Reconciling")["status"], "True");
    env.sim.world(|world| world.finish_job(&job));
    env.put_secret(KEY).await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_key_without_a_needed_scope_buys_nothing_and_the_reason_says_so() {
    let env = TestEnv::new("scopes").await;
    let all = ["read:vm", "backup:vm", "write:billing"];
    let _operator = env.operator(&[]);
    let customers = join_all(all.map(|lacking| {
        let env = &env;
        async move {
            let customer = env.customer(&lacking.replace(':', "-")).await;
            let weak = format!("weak-{}", customer.key);
            let scopes: Vec<&str> = all.into_iter().filter(|scope| *scope != lacking).collect();
            env.sim
                .world(|world| world.add_key_with_scopes(customer.account, &weak, &scopes));
            env.put_secret_named(&customer.name, &weak).await;
            env.create(customer.restore(env)).await;
            let stands = ["Unauthorized", "Rejected"];
            let object = env
                .wait(&customer.name, "a refusal", |object| {
                    stands.contains(&reason(object))
                })
                .await;
            assert_eq!(condition(&object, "Stalled")["status"], "True", "{lacking}");
            assert!(
                message(&object).contains("scope"),
                "{lacking}: {}",
                message(&object)
            );
            customer
        }
    }))
    .await;
    assert_eq!(env.executed(), 0);
    env.put_secret_named("read-vm", &customers[0].key).await;
    // A refused paid call may be tried again 30 s after it at the earliest; the reads are not so slow.
    env.wait_for_reason("read-vm", "Restored").await;
    env.check_invariants().await;
}

#[tokio::test]
async fn another_accounts_key_finds_no_vps() {
    let env = TestEnv::new("foreign").await;
    env.sim.world(|world| world.add_empty_account(FOREIGN));
    env.put_secret(FOREIGN).await;
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "VpsNotFound").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    let text = message(&object);
    assert!(
        text.contains("the key of Secret hostup-api does not read VPS"),
        "{text}"
    );
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
    env.put_secret(KEY).await;
    env.sim.world(|world| world.revoke_key(FOREIGN));
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(env.executed(), 1);
    env.check_invariants().await;
}

/// The answer is lost, and before the VM can be seen the key becomes another account's.
async fn unknown_with_a_foreign_key(env: &TestEnv, bought: bool) {
    env.sim.world(|world| {
        world.add_empty_account(FOREIGN);
        if bought {
            world.restore_next(RestoreBehaviour {
                vm_visible_after: HOUR,
                job_duration: HOUR * 2,
                ..RestoreBehaviour::default()
            });
        }
    });
    env.sim.inject(
        Fault::on(Route::RestoreToPayg)
            .acted(bought)
            .answer(Answer::reset()),
    );
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "ConfirmingOutcome").await;
    env.put_secret(FOREIGN).await;
    env.sim.world(|world| world.revoke_key(KEY));
    let object = env.wait_for_reason("web", "AccountMismatch").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    assert!(
        message(&object).contains("no longer reads"),
        "{}",
        message(&object)
    );
    // Many reads by the foreign key later nothing is concluded.
    let seen = env.sim.count(Route::ListVps);
    let looked = move |world: &World| world.count_answered(Route::ListVps) >= seen + 3;
    assert!(env.sim.until(PATIENCE, looked).await);
    assert_eq!(reason(&env.restore("web").await), "AccountMismatch");
    assert_eq!(at(&env.records().await[0], "status.state"), "Unknown");
    env.sim.world(|world| {
        world.revoke_key(FOREIGN);
        world.reinstate_key(KEY);
    });
    env.put_secret(KEY).await;
}

const PATIENT: [&str; 2] = ["--settle-time=2s", "--resync-interval=500ms"];

#[tokio::test]
async fn a_foreign_key_proves_no_absence_and_the_right_one_asks_a_person() {
    let env = TestEnv::new("mismatch").await;
    let _operator = env.operator(&PATIENT);
    unknown_with_a_foreign_key(&env, false).await;
    env.wait_for_reason("web", "OutcomeUnknown").await;
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    assert_eq!((env.executed(), env.posts()), (0, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_vm_bought_under_the_right_key_is_found_once_the_key_is_back() {
    let env = TestEnv::new("keyback").await;
    let _operator = env.operator(&PATIENT);
    unknown_with_a_foreign_key(&env, true).await;
    env.sim.world(|world| world.advance(HOUR * 2));
    env.wait_for_reason("web", "Restored").await;
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn a_secret_that_rbac_hides_is_asked_for_by_the_charts_value() {
    let mut env = TestEnv::new("hidden").await;
    let namespace = env.namespace.clone();
    let rights = |secrets: &[&str]| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": namespace},
            "rules": [
                {"apiGroups": ["vps.hostup.se"], "resources": ["*"], "verbs": ["*"]},
                {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
                {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets, "verbs": ["get"]},
            ],
        })
    };
    env.create(rights(&["hostup-api"])).await;
    env.create(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "restricted", "namespace": namespace},
    }))
    .await;
    env.create(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace},
        "subjects": [{"kind": "ServiceAccount", "name": "restricted", "namespace": namespace}],
    }))
    .await;
    env.kubeconfig = env
        .plane
        .service_account_kubeconfig(&namespace, "restricted")
        .unwrap();
    let _operator = env.operator(&[]);
    let customer = env.customer("other").await;
    env.create(customer.restore(&env)).await;
    let object = env.wait_for_reason("other", "CredentialsMissing").await;
    assert_eq!(condition(&object, "Reconciling")["status"], "True");
    assert_eq!(
        message(&object),
        format!(
            "the operator may not read Secret {namespace}/other; add other to the chart value hostup.credentialSecretNames, \
             or to the ClusterRole's resourceNames"
        )
    );
    assert_eq!(env.sim.count(Route::Any), 0);
    let more = rights(&["hostup-api", "other"]).to_string();
    let admin = env.plane.kubeconfig(control_plane::User::Admin);
    let replace = ["replace", "-f", "-"];
    assert!(
        env.plane
            .kubectl_as(&admin, &replace, Some(&more))
            .unwrap()
            .status
            .success()
    );
    env.wait_for_reason("other", "Restored").await;
    assert_eq!(env.executed(), 1);
    env.check_invariants().await;
}
