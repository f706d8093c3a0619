//! Who may pay: the admission policies of the chart, with real users and the real API server.

use std::time::Instant;

use control_plane::{ControlPlane, User};
use hostup_sim::{Answer, Fault, Route};
use serde_json::{Value, json};

use crate::support::chart::{as_user, documents, installed, try_install};
use crate::support::{HOUR, OwnPlane, PATIENCE, TestEnv, at, bare_control_plane, client_of};

/// An environment on the control plane that Helm installed everything on, whose users have the chart's roles.
async fn env(name: &str) -> TestEnv {
    let plane = tokio::task::spawn_blocking(installed).await.unwrap();
    let env = TestEnv::on(plane, name).await;
    for (user, role) in [
        ("author", "hostup-operator-view"),
        ("author", "hostup-operator-edit-configs"),
        ("author", "hostup-operator-edit-restores"),
        ("approver", "hostup-approver"),
    ] {
        env.create(binding("RoleBinding", user, role, Some(&env.namespace)))
            .await;
    }
    env
}

fn binding(kind: &str, user: &str, role: &str, namespace: Option<&str>) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": format!("{user}-{role}"), "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    })
}

async fn kubectl(env: &TestEnv, user: User, args: &[&str], stdin: Option<Value>) -> Result<String, String> {
    let plane: &'static ControlPlane = env.plane;
    let namespace = format!("--namespace={}", env.namespace);
    let args: Vec<String> = args
        .iter()
        .map(|arg| (*arg).to_owned())
        .chain([namespace])
        .collect();
    let run = move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        as_user(plane, user, &args, stdin.as_ref())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

const NEEDS: &str = "you need the verb approve on";

/// A policy is in force some time after it was made, and nothing tells when.
async fn in_force(env: &TestEnv) {
    let asked = env.approved("asked");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let dry = ["create", "--dry-run=server", "-f", "-"];
        match kubectl(env, User::Author, &dry, Some(asked.clone())).await {
            Err(why) if why.contains(NEEDS) => return,
            other => assert!(Instant::now() < deadline, "the policy is not in force: {other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn to_approve_a_price_and_to_edit_under_an_approval_takes_the_verb_approve() {
    let env = env("approve").await;
    in_force(&env).await;
    let ceiling = json!({"maxPrice": {"dueNow": "40.00", "perMonth": "40.00", "currencyCode": "SEK"}});
    let quote = json!({"quoteId": "q-abcdefghij"});
    let both = |approval: &Value, by: &str| {
        let mut approval = approval.clone();
        approval["approvedBy"] = json!(by);
        approval
    };
    let mut signed = both(&ceiling, "admin");
    signed["quoteId"] = quote["quoteId"].clone();
    let config = |name: &str, approval: &Value, suspend: bool| {
        let mut object = env.config_preview(name, json!({"bandwidthGb": 4096}));
        object["spec"]["approval"] = approval.clone();
        object["spec"]["suspend"] = json!(suspend);
        object
    };
    for object in [
        config("plan", &Value::Null, false),
        config("quoted", &quote, false),
        config("ceiling", &ceiling, false),
        config("resting", &ceiling, true),
        config("held", &quote, true),
        config("signed", &signed, false),
    ] {
        env.create(object).await;
    }
    // State, patch of the spec, whether it takes the verb.
    let rows = [
        ("plan", json!({"approval": quote}), true),
        ("plan", json!({"approval": ceiling}), true),
        ("plan", json!({"resources": {"bandwidthGb": 2048}}), false),
        ("plan", json!({"suspend": true}), false),
        ("quoted", json!({"approval": {"quoteId": "q-zzzzzzzzzz"}}), true),
        ("quoted", json!({"approval": null}), false),
        ("quoted", json!({"resources": {"bandwidthGb": 2048}}), true),
        ("quoted", json!({"resources": {"extra": {"label": "b"}}}), true),
        ("quoted", json!({"driftPolicy": "Correct"}), true),
        ("quoted", json!({"cancelExistingInvoice": true}), true),
        (
            "quoted",
            json!({"credentialsSecretRef": {"name": "another"}}),
            true,
        ),
        ("quoted", json!({"suspend": true}), false),
        (
            "quoted",
            json!({"approval": null, "resources": {"bandwidthGb": 2048}}),
            false,
        ),
        (
            "ceiling",
            json!({"approval": {"maxPrice": {"dueNow": "1.00"}}}),
            true,
        ),
        (
            "ceiling",
            json!({"approval": {"validUntil": "2099-01-01T00:00:00Z"}}),
            true,
        ),
        ("ceiling", json!({"approval": null}), false),
        (
            "ceiling",
            json!({"approval": null, "resources": {"bandwidthGb": 2048}}),
            false,
        ),
        ("ceiling", json!({"suspend": true}), false),
        (
            "ceiling",
            json!({"suspend": true, "resources": {"bandwidthGb": 2048}}),
            true,
        ),
        ("ceiling", json!({"resources": {"bandwidthGb": 8192}}), true),
        ("ceiling", json!({"resources": {"snapshotSlots": 3}}), true),
        ("ceiling", json!({"driftPolicy": "Correct"}), true),
        (
            "ceiling",
            json!({"credentialsSecretRef": {"name": "another"}}),
            true,
        ),
        ("resting", json!({"suspend": false}), true),
        ("resting", json!({"approval": null, "suspend": false}), false),
        ("held", json!({"suspend": false}), true),
        ("held", json!({"resources": {"bandwidthGb": 2048}}), true),
        ("quoted", json!({"approval": {"approvedBy": "approver"}}), true),
        ("ceiling", json!({"approval": {"quoteId": "q-zzzzzzzzzz"}}), true),
    ];
    for (name, spec, takes_the_verb) in rows {
        let patch = json!({"spec": spec}).to_string();
        let args = [
            "patch",
            "vrc",
            name,
            "--type=merge",
            "--dry-run=server",
            "-p",
            &patch,
        ];
        let author = kubectl(&env, User::Author, &args, None).await;
        let refused = author.as_ref().is_err_and(|why| why.contains(NEEDS));
        assert_eq!(refused, takes_the_verb, "author, {name} {spec}: {author:?}");
        assert_eq!(
            author.is_ok(),
            !takes_the_verb,
            "author, {name} {spec}: {author:?}"
        );
        let approver = kubectl(&env, User::Approver, &args, None).await;
        assert!(approver.is_ok(), "approver, {name} {spec}: {approver:?}");
    }
    // The name of one who approves is that of the user who writes, and no other; but it stays beside the quote that it is for.
    for (name, spec, is_taken) in [
        ("plan", json!({"approval": both(&quote, "approver")}), true),
        ("plan", json!({"approval": both(&quote, "author")}), false),
        ("plan", json!({"approval": both(&ceiling, "Approver")}), false),
        ("quoted", json!({"approval": {"approvedBy": "somebody"}}), false),
        ("quoted", json!({"approval": {"approvedBy": ""}}), false),
        (
            "signed",
            json!({"approval": {"maxPrice": {"dueNow": "50.00"}}}),
            true,
        ),
        ("signed", json!({"approval": {"maxPrice": null}}), true),
        ("signed", json!({"approval": {"approvedBy": null}}), true),
        ("signed", json!({"approval": {"quoteId": "q-zzzzzzzzzz"}}), false),
        ("signed", json!({"approval": {"quoteId": null}}), false),
    ] {
        let patch = json!({"spec": spec}).to_string();
        let args = [
            "patch",
            "vrc",
            name,
            "--type=merge",
            "--dry-run=server",
            "-p",
            &patch,
        ];
        let patched = kubectl(&env, User::Approver, &args, None).await;
        assert_eq!(patched.is_ok(), is_taken, "{name} {spec}: {patched:?}");
    }
    // Anybody holds; to lift a hold under an approval may pay.
    let hold = |value: &str| format!("vps.hostup.se/hold{value}");
    for (name, value, takes_the_verb) in [
        ("plan", "=true", false),
        ("plan", "-", false),
        ("ceiling", "=true", false),
        ("ceiling", "=yes", false),
        ("ceiling", "=false", true),
        ("ceiling", "-", true),
    ] {
        let hold = hold(value);
        let args = ["annotate", "--overwrite", "vrc", name, &hold];
        let author = kubectl(&env, User::Author, &args, None).await;
        assert_eq!(author.is_err(), takes_the_verb, "{name} {value}: {author:?}");
        if takes_the_verb {
            assert!(author.unwrap_err().contains(NEEDS));
        }
    }
    let lift = ["annotate", "vrc", "ceiling", "vps.hostup.se/hold-"];
    kubectl(&env, User::Approver, &lift, None).await.unwrap();
    // What is not of the spec is nobody's price.
    let annotate = ["annotate", "vrc", "ceiling", "note=here", "--dry-run=server"];
    kubectl(&env, User::Author, &annotate, None).await.unwrap();
    let create = ["create", "--dry-run=server", "-f", "-"];
    for (object, takes_the_verb) in [
        (env.preview("web"), false),
        (env.approved("web"), true),
        (config("new", &Value::Null, false), false),
        (config("new", &quote, false), true),
    ] {
        let made = kubectl(&env, User::Author, &create, Some(object.clone())).await;
        assert_eq!(made.is_err(), takes_the_verb, "{object}: {made:?}");
    }
    let shown = kubectl(&env, User::Author, &create, Some(env.approved("web"))).await;
    let why = shown.unwrap_err();
    for part in [
        "spec.approval approves a price",
        "vpsbackuprestores",
        "ClusterRole hostup-approver",
        &env.namespace,
    ] {
        assert!(why.contains(part), "no {part:?} in {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_account_that_applies_from_git_needs_the_verb_where_approval_lives_in_git() {
    let env = env("gitops").await;
    in_force(&env).await;
    let account = format!("system:serviceaccount:{}:kustomize-controller", env.namespace);
    let as_account = format!("--as={account}");
    let args = [
        "apply",
        "--server-side",
        "--dry-run=server",
        &as_account,
        "-f",
        "-",
    ];
    for role in ["hostup-operator-view", "hostup-operator-edit-restores"] {
        env.create(binding("RoleBinding", &account, role, Some(&env.namespace)))
            .await;
    }
    let apply = async || kubectl(&env, User::Admin, &args, Some(env.approved("web"))).await;
    let refused = apply().await.unwrap_err();
    assert!(refused.contains(NEEDS), "{refused}");
    env.create(binding(
        "RoleBinding",
        &account,
        "hostup-approver",
        Some(&env.namespace),
    ))
    .await;
    let deadline = Instant::now() + PATIENCE;
    // The authorizer learns of a binding by a watch.
    while let Err(why) = apply().await {
        assert!(Instant::now() < deadline, "{why}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_a_resolver_answers_and_nobody_deletes_a_record_without_an_outcome() {
    let env = env("resolve").await;
    in_force(&env).await;
    // Whoever may write records at all, but has not the verb.
    let writer = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "record-writer"},
        "rules": [{"apiGroups": ["vps.hostup.se"], "resources": ["vpsoperations"], "verbs": ["get", "patch", "delete"]}],
    });
    env.create(writer).await;
    env.create(binding("ClusterRoleBinding", "author", "record-writer", None))
        .await;
    env.create(binding("ClusterRoleBinding", "resolver", "hostup-resolver", None))
        .await;
    env.sim.inject(
        Fault::on(Route::RestoreToPayg)
            .acted(false)
            .answer(Answer::reset()),
    );
    env.sim.world(|world| world.restore.job_duration = HOUR);
    let _operator = env.operator(&["--settle-time=1s"]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "OutcomeUnknown").await;
    let record = at(&object, "status.operation.name").as_str().unwrap().to_owned();
    let delete = ["delete", "vop", &record, "--dry-run=server"];
    let answer = r#"{"spec":{"resolution":{"answer":"NotExecuted"}}}"#;
    let patch = ["patch", "vop", &record, "--type=merge", "-p", answer];
    for user in [User::Author, User::Admin] {
        let kept = kubectl(&env, user, &delete, None).await.unwrap_err();
        assert!(kept.contains("has no outcome yet (Unknown)"), "{kept}");
    }
    let refused = kubectl(&env, User::Author, &patch, None).await.unwrap_err();
    assert!(
        refused.contains("you need the verb resolve on vpsoperations"),
        "{refused}"
    );
    kubectl(&env, User::Resolver, &patch, None).await.unwrap();
    // With the rights and under the policies of the chart the operator goes on.
    env.wait_for_reason("web", "JobRunning").await;
    // A record that is finished is part of the log all the same.
    let logged = kubectl(&env, User::Author, &delete, None).await.unwrap_err();
    assert!(
        logged.contains("you need the verb forget on vpsoperations"),
        "{logged}"
    );
    kubectl(&env, User::Admin, &delete, None).await.unwrap();
    let second = at(&env.restore("web").await, "status.operation.name")
        .as_str()
        .unwrap()
        .to_owned();
    let delete = ["delete", "vop", &second, "--dry-run=server"];
    let kept = kubectl(&env, User::Admin, &delete, None).await.unwrap_err();
    assert!(kept.contains("has no outcome yet (Accepted)"), "{kept}");
    env.sim.world(|world| world.advance(HOUR));
    env.wait_for_reason("web", "Restored").await;
    kubectl(&env, User::Admin, &delete, None).await.unwrap();
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_the_api_server_can_it_writes_who_approves() {
    let own = OwnPlane::start(bare_control_plane).await;
    let plane = own.0;
    let filled = ["--set=admissionPolicies.fillApprovedBy=true"];
    let installed = tokio::task::spawn_blocking(move || try_install(plane, &filled))
        .await
        .unwrap();
    let client = client_of(plane, User::Admin).await;
    let version = client.apiserver_version().await.unwrap();
    if version.minor.trim_end_matches('+').parse::<u32>().unwrap() < 36 {
        let why = installed.unwrap_err();
        assert!(why.contains("MutatingAdmissionPolicy"), "{why}");
        return;
    }
    installed.unwrap();
    let env = TestEnv::on(plane, "filled").await;
    for (user, role) in [("approver", "hostup-approver"), ("author", "hostup-approver")] {
        env.create(binding("RoleBinding", user, role, Some(&env.namespace)))
            .await;
    }
    env.create(env.preview("web")).await;
    let approved_by = async |user, approval: Value| {
        let patch = json!({"spec": {"approval": approval}}).to_string();
        let args = ["patch", "vbr", "web", "--type=merge", "-o=json", "-p", &patch];
        let object: Value = serde_json::from_str(&kubectl(&env, user, &args, None).await?).unwrap();
        Ok::<_, String>(at(&object, "spec.approval.approvedBy").clone())
    };
    let deadline = Instant::now() + PATIENCE;
    let mut n = 0;
    // A policy is in force some time after it was made.
    loop {
        n += 1;
        let quote = json!({"quoteId": format!("q-{}", "a".repeat(n))});
        match approved_by(User::Approver, quote).await {
            Ok(by) if by == "approver" => break,
            other => assert!(Instant::now() < deadline, "the name is not written: {other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    // Whatever is written there, it is the one who writes.
    let claimed = json!({"quoteId": "q-bbbb", "approvedBy": "approver"});
    assert_eq!(approved_by(User::Author, claimed).await.unwrap(), "author");
    // A ceiling beside the quote is nobody's approval of the quote.
    let ceiling = json!({
        "maxPrice": {"perHour": "1.00", "currencyCode": "SEK"}, "validUntil": "2099-01-01T00:00:00Z",
    });
    assert_eq!(approved_by(User::Approver, ceiling).await.unwrap(), "author");
    // Nothing of the approval changes: the name stays.
    let annotate = ["annotate", "vbr", "web", "note=here", "-o=json"];
    let object = kubectl(&env, User::Admin, &annotate, None).await.unwrap();
    let object: Value = serde_json::from_str(&object).unwrap();
    assert_eq!(at(&object, "spec.approval.approvedBy"), "author");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_example_bounds_what_may_be_approved_without_a_larger_role() {
    let env = env("bounded").await;
    in_force(&env).await;
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/policies/bound-ceilings.yaml"
    );
    let text = std::fs::read_to_string(file).unwrap();
    let here = format!("kubernetes.io/metadata.name: {}", env.namespace);
    let text = text.replace("kubernetes.io/metadata.name: shop", &here);
    assert!(text.contains(&here));
    let plane = env.plane;
    tokio::task::spawn_blocking(move || plane.apply(&text).unwrap())
        .await
        .unwrap();
    let large = binding("RoleBinding", "author", "approver-large", Some(&env.namespace));
    env.create(large).await;
    env.sim.world(|world| {
        world.account_mut(env.account).pricing.cpu_per_core_hour = Some(hostup_sim::dec("0.12"));
    });
    let _operator = env.operator(&[]);
    env.create(env.preview("web")).await;
    env.create(env.config_preview("options", json!({"bandwidthGb": 4096})))
        .await;
    let web = env.wait_for_reason("web", "AwaitingApproval").await;
    env.config_comes_to("options", "AwaitingApproval").await;
    let quote = json!({"quoteId": at(&web, "status.quote.id")});
    let another = json!({"quoteId": "q-zzzzzzzzzz"});
    let hourly = |per_hour: &str, currency: &str| json!({"maxPrice": {"perHour": per_hour, "currencyCode": currency}, "validUntil": "2099-01-01T00:00:00Z"});
    let change = |due_now: &str, per_month: &str| json!({"maxPrice": {"dueNow": due_now, "perMonth": per_month, "currencyCode": "SEK"}});
    let both = |mut ceiling: Value| {
        ceiling["quoteId"] = quote["quoteId"].clone();
        ceiling
    };
    let patch = async |user, kind: &str, name: &str, spec: Value| {
        let patch = json!({"spec": spec}).to_string();
        let args = [
            "patch",
            kind,
            name,
            "--type=merge",
            "--dry-run=server",
            "-p",
            &patch,
        ];
        kubectl(&env, user, &args, None).await
    };
    let approve = async |user, kind: &str, name: &str, approval: &Value| {
        patch(user, kind, name, json!({"approval": approval})).await
    };
    let deadline = Instant::now() + PATIENCE;
    while approve(User::Approver, "vbr", "web", &hourly("99", "SEK"))
        .await
        .is_ok()
    {
        assert!(Instant::now() < deadline, "the example is not in force");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    for (kind, name, approval, is_large) in [
        ("vbr", "web", hourly("2.00", "SEK"), false),
        ("vbr", "web", hourly("2.01", "SEK"), true),
        ("vbr", "web", hourly("10", "SEK"), true),
        ("vbr", "web", hourly("1.00", "EUR"), true),
        ("vbr", "web", quote.clone(), false),
        ("vbr", "web", both(hourly("2.00", "SEK")), false),
        ("vbr", "web", both(hourly("2.50", "SEK")), true),
        ("vbr", "web", json!({"quoteId": "q-zzzzzzzzzz"}), true),
        ("vrc", "options", another.clone(), true),
        ("vrc", "options", change("200", "200.00"), false),
        ("vrc", "options", change("200.01", "0"), true),
        ("vrc", "options", change("0", "1000"), true),
    ] {
        let approver = approve(User::Approver, kind, name, &approval).await;
        assert_eq!(approver.is_err(), is_large, "{approval}: {approver:?}");
        if let Err(why) = approver {
            assert!(why.contains("approver-large"), "{why}");
        }
        let author = approve(User::Author, kind, name, &approval).await;
        assert!(author.is_ok(), "{approval}: {author:?}");
    }
    // A dear change that was priced once, in place of the cheap one whose price is shown.
    let dear = json!({"resources": {"bandwidthGb": 8192}, "approval": another});
    let refused = patch(User::Approver, "vrc", "options", dear).await;
    assert!(
        refused.as_ref().is_err_and(|why| why.contains("approver-large")),
        "{refused:?}"
    );
    // HostUp does not say how long the billing cycle of the amount is.
    env.sim
        .world(|world| world.vps_mut(&env.vps).unwrap().billing.billing_cycle = Some("decennially".into()));
    let unknown = |object: &Value| !at(object, "status.quote.perCycle").is_null();
    let options = env
        .wait_config("options", "an amount for each cycle", unknown)
        .await;
    let quote = json!({"quoteId": at(&options, "status.quote.id")});
    assert!(approve(User::Approver, "vrc", "options", &quote).await.is_err());
    approve(User::Author, "vrc", "options", &quote).await.unwrap();
    // The quote of a VM that costs more than 2 SEK an hour.
    env.sim.world(|world| {
        world.account_mut(env.account).pricing.cpu_per_core_hour = Some(hostup_sim::dec("1.20"));
    });
    let dear = |object: &Value| at(object, "status.quote.summary") == "2.82 SEK/h";
    let web = env.wait("web", "the price of today", dear).await;
    let quote = json!({"quoteId": at(&web, "status.quote.id")});
    assert!(approve(User::Approver, "vbr", "web", &quote).await.is_err());
    approve(User::Author, "vbr", "web", &quote).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn to_approve_that_a_vps_is_overwritten_takes_the_verb_overwrite_and_approve_is_not_enough() {
    let env = env("overwriteverb").await;
    in_force(&env).await;
    let mut object = env.preview("web");
    object["spec"]["target"] = json!({"existingVps": {"vpsId": "vps_target"}});
    let mut approved = object.clone();
    approved["metadata"]["name"] = json!("born-approved");
    approved["spec"]["approval"] = json!({"quoteId": "q-abcdefghij"});
    env.create(object).await;
    let create = ["create", "--dry-run=server", "-f", "-"];
    let born = kubectl(&env, User::Author, &create, Some(approved)).await;
    let needs = "you need the verb overwrite on";
    assert!(born.as_ref().is_err_and(|why| why.contains(needs)), "{born:?}");
    let patch = json!({"spec": {"approval": {"quoteId": "q-abcdefghij"}}}).to_string();
    let patch = [
        "patch",
        "vbr",
        "web",
        "--type=merge",
        "--dry-run=server",
        "-p",
        &patch,
    ];
    for user in [User::Author, User::Approver] {
        let refused = kubectl(&env, user, &patch, None).await;
        assert!(
            refused.as_ref().is_err_and(|why| why.contains(needs)),
            "{refused:?}"
        );
    }
    env.create(binding(
        "RoleBinding",
        "approver",
        "hostup-overwriter",
        Some(&env.namespace),
    ))
    .await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match kubectl(&env, User::Approver, &patch, None).await {
            Ok(_) => break,
            Err(why) => assert!(Instant::now() < deadline, "{why}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// The policy watches each field that can cost money or destroy data.
#[test]
fn every_field_of_a_wish_is_watched_by_the_policy() {
    let policy = std::fs::read_to_string("charts/hostup-operator/templates/policies.yaml").unwrap();
    let harmless = ["approval", "suspend", "writeOutputsTo"];
    for crd in ["vpsbackuprestores", "vpsresourceconfigs"] {
        let text = std::fs::read_to_string(format!("crds/{crd}.yaml")).unwrap();
        let crd = documents(&text).remove(0);
        let fields =
            crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
                .as_object()
                .unwrap();
        for field in fields.keys().filter(|field| !harmless.contains(&field.as_str())) {
            let watched =
                policy.contains(&format!("\"{field}\"")) || policy.contains(&format!("?{field} != "));
            assert!(watched, "the policy does not see an edit of spec.{field}");
        }
    }
}
