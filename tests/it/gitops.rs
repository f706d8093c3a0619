//! How the tools that apply from Git see the objects: what is done, what is not yet, and what differs.

use std::path::Path;

use control_plane::{ControlPlane, User};
use hostup_sim::{Answer, Fault, Route};
use serde_json::{Value, json};

use crate::support::chart::{as_user, helm};
use crate::support::{HOUR, TestEnv, at, reason};

/// A chart that holds this object and nothing else.
fn chart_of(object: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "Chart.yaml",
        "{apiVersion: v2, name: one, version: 0.1.0}".to_owned(),
    );
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    write("templates/object.yaml", object.to_string());
    folder
}

async fn install(env: &TestEnv, object: Value, timeout: &str) -> Result<String, String> {
    let plane: &'static ControlPlane = env.plane;
    let release = at(&object, "metadata.name").as_str().unwrap().to_owned();
    let args = [
        format!("--namespace={}", env.namespace),
        format!("--timeout={timeout}"),
    ];
    let run = move || {
        let chart = chart_of(&object);
        let chart = chart.path().to_str().unwrap();
        helm(plane, &["install", &release, chart, "--wait", &args[0], &args[1]])
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Applies the object with Helm, as a release of its own: the first time, or once more.
async fn helm_applies(env: &TestEnv, object: &Value) {
    let (plane, object) = (env.plane, object.clone());
    let release = at(&object, "metadata.name").as_str().unwrap().to_owned();
    let namespace = format!("--namespace={}", env.namespace);
    let run = move || {
        let chart = chart_of(&object);
        let chart = chart.path().to_str().unwrap();
        helm(plane, &["upgrade", "--install", &release, chart, &namespace]).unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

/// A release without an approval, and one with a ceiling that the price exceeds; a person approves both by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_helm_applies_is_approved_by_hand_and_the_next_upgrade_takes_nothing_away() {
    let env = TestEnv::new("helmapproval").await;
    let _operator = env.operator(&[]);
    let mut low = env.approved("low");
    low["spec"]["approval"]["maxPrice"]["perHour"] = json!("0.10");
    let rows = [
        (env.preview("plan"), "plan", "AwaitingApproval", Value::Null),
        (low, "low", "QuoteExceedsCeiling", json!("0.10")),
    ];
    for (mut object, name, waits, ceiling) in rows {
        helm_applies(&env, &object).await;
        let shown = env.wait_for_reason(name, waits).await;
        env.follow(&shown, "To approve:").await;
        let restored = env.wait_for_reason(name, "Restored").await;
        let quote = at(&restored, "spec.approval.quoteId").clone();
        assert!(quote.is_string(), "{name}");
        object["metadata"]["labels"] = json!({"release": "two"});
        helm_applies(&env, &object).await;
        let upgraded = |object: &Value| at(object, "metadata.labels.release") == "two";
        let object = env.wait(name, "the upgrade", upgraded).await;
        assert_eq!(at(&object, "spec.approval.quoteId"), &quote, "{name}");
        assert_eq!(at(&object, "spec.approval.maxPrice.perHour"), &ceiling, "{name}");
        assert_eq!(reason(&object), "Restored", "{name}");
    }
    assert_eq!((env.posts(), env.executed()), (2, 2));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn helm_waits_for_what_is_under_way_and_not_for_what_stalls() {
    let env = TestEnv::new("helm").await;
    env.sim.world(|world| world.restore.job_duration = HOUR);
    // Before anything is written to its status it is not taken for done either.
    let created = install(&env, env.preview("untouched"), "2s").await;
    assert!(created.is_err(), "{created:?}");
    let _operator = env.operator(&[]);
    let restored = install(&env, env.approved("web"), "100s");
    let ends_after = async {
        env.wait_for_reason("web", "JobRunning").await;
        env.polled_again().await;
        env.sim.world(|world| world.advance(HOUR));
    };
    let (restored, ()) = futures::join!(restored, ends_after);
    assert!(restored.is_ok(), "{restored:?}");
    assert_eq!(reason(&env.restore("web").await), "Restored");
    // A preview waits for a person, and so does Helm.
    let preview = install(&env, env.preview("plan"), "2s").await;
    assert!(preview.is_err(), "{preview:?}");
    let mut lost = env.preview("lost");
    lost["spec"]["source"]["backupId"] = json!("bkp_00000000000000000000000000");
    let started = std::time::Instant::now();
    let stalled = install(&env, lost, "1h").await;
    assert!(
        stalled.is_err_and(|why| why.contains("backup")),
        "it does not say why"
    );
    // Not the hour that it was given.
    assert!(started.elapsed() < crate::support::PATIENCE);
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
}

/// An example, changed to what a user of this environment would commit.
fn example(env: &TestEnv, file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("2026-01-31", "2099-01-31");
    let mut object: Value = serde_saphyr::from_str(&text).unwrap();
    object["metadata"]["namespace"] = json!(env.namespace);
    if object["kind"] == "VpsResourceConfig" {
        object["metadata"]["name"] = json!(file.trim_end_matches(".yaml"));
        if object["spec"]["legacy"].is_null() {
            object["spec"]["vpsId"] = json!(env.vps);
        } else {
            object["spec"]["legacy"]["vmid"] = json!(env.vmid);
        }
    }
    object
}

async fn applied(env: &TestEnv, object: &Value, dry_run: bool) -> Value {
    let (plane, object): (&'static ControlPlane, _) = (env.plane, object.clone());
    let run = move || {
        let mut args = vec![
            "apply",
            "--server-side",
            "--field-manager=git",
            "-o=json",
            "-f",
            "-",
        ];
        args.extend(dry_run.then_some("--dry-run=server"));
        as_user(plane, User::Admin, &args, Some(&object))
    };
    let text = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    serde_json::from_str(&text).unwrap()
}

/// All members of `part` stand in `whole` with the same value.
fn is_part_of(part: &Value, whole: &Value) -> bool {
    match part.as_object() {
        Some(members) => members
            .iter()
            .all(|(name, value)| is_part_of(value, &whole[name])),
        None => part == whole,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_the_operator_or_the_api_server_writes_differs_from_git() {
    let env = TestEnv::new("git").await;
    let _operator = env.operator(&["--enable-legacy-upgrade"]);
    for (file, end) in [
        ("restore-preview.yaml", "AwaitingApproval"),
        ("restore-approved-ceiling.yaml", "Restored"),
        ("config-approved-ceiling.yaml", "InSync"),
        ("config-legacy.yaml", "AwaitingApproval"),
    ] {
        let wanted = example(&env, file);
        let name = at(&wanted, "metadata.name").as_str().unwrap();
        applied(&env, &wanted, false).await;
        let done = if wanted["kind"] == "VpsBackupRestore" {
            env.wait_for_reason(name, end).await
        } else {
            env.config_comes_to(name, end).await
        };
        // As Flux and Argo CD's server-side diff look.
        let again = applied(&env, &wanted, true).await;
        for part in [
            "spec",
            "metadata.labels",
            "metadata.annotations",
            "metadata.generation",
            "metadata.resourceVersion",
        ] {
            assert_eq!(at(&again, part), at(&done, part), "{file}: {part}");
        }
        // As Argo CD's client-side diff looks: what is wanted stands there as it is written.
        assert!(
            is_part_of(&wanted["spec"], &done["spec"]),
            "{file}: {wanted} became {done}"
        );
        assert!(at(&done, "metadata.labels").is_null() && at(&done, "metadata.annotations").is_null());
        assert!(at(&done, "metadata.finalizers").is_null());
    }
    assert_eq!(env.sim.count(Route::RestoreToPayg), 1);
    env.check_invariants().await;
}

/// One look of a tool that applies from Git: whatever people did by hand is put back.
async fn looks(env: &TestEnv, in_git: &Value) -> Value {
    try_to_look(env, in_git).await.unwrap()
}

async fn try_to_look(env: &TestEnv, in_git: &Value) -> Result<Value, String> {
    let (plane, object): (&'static ControlPlane, _) = (env.plane, in_git.clone());
    let run = move || {
        let apply = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=kustomize-controller",
            "-o=json",
            "-f",
            "-",
        ];
        as_user(plane, User::Admin, &apply, Some(&object))
    };
    let text = tokio::task::spawn_blocking(run).await.unwrap()?;
    Ok(serde_json::from_str(&text).unwrap())
}

/// Who may edit but not approve removes the approval, adds to the wish, and leaves it to the tool to bring the approval
/// back: it brings back the whole wish, or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_approval_from_git_pays_for_what_somebody_added_by_hand() {
    let env = TestEnv::new("wholewish").await;
    let in_git = env.approved_config("options", json!({"bandwidthGb": 3072}));
    let applied = looks(&env, &in_git).await;
    let by_hand = json!({"approval": null, "resources": {"ipv4Count": 3}});
    env.patch_config("options", by_hand).await;
    let again = looks(&env, &in_git).await;
    assert_eq!(again["spec"], applied["spec"]);
    let mut bigger = env.preview("web");
    let in_git = env.approved("web");
    bigger["spec"]["target"]["cloudVm"]["cpuCores"] = json!(16);
    env.create(bigger).await;
    let refused = try_to_look(&env, &in_git).await.unwrap_err();
    assert!(refused.contains("target cannot be changed"), "{refused}");
    assert!(at(&env.restore("web").await, "spec.approval").is_null());
}

/// As the runbook says it: by hand it does not last, in Git it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_suspend_in_git_lasts_through_not_executed_and_one_by_hand_does_not() {
    let env = TestEnv::new("hold").await;
    let lost = Fault::on(Route::RestoreToPayg).acted(false);
    env.sim.inject(lost.answer(Answer::reset()));
    let _operator = env.operator(&[]);
    let mut in_git = env.approved("web");
    in_git["spec"]["suspend"] = json!(false);
    looks(&env, &in_git).await;
    let object = env.wait_for_reason("web", "OutcomeUnknown").await;
    let record = at(&object, "status.operation.name").as_str().unwrap().to_owned();
    env.patch("web", json!({"spec": {"suspend": true}}))
        .await
        .unwrap();
    assert_eq!(at(&looks(&env, &in_git).await, "spec.suspend"), false);
    in_git["spec"]["suspend"] = json!(true);
    assert_eq!(at(&looks(&env, &in_git).await, "spec.suspend"), true);
    env.resolve(&record, json!({"answer": "NotExecuted"}))
        .await
        .unwrap();
    let held = env.wait_for_reason("web", "Suspended").await;
    assert_eq!(at(&held, "status.operation.state"), "NotExecuted");
    let looked = looks(&env, &in_git).await;
    assert_eq!(
        at(&looked, "metadata.generation"),
        at(&held, "metadata.generation")
    );
    assert_eq!((env.posts(), env.executed()), (1, 0));
    // The approval still stands, and pays as soon as Git lets go.
    in_git["spec"]["suspend"] = json!(false);
    looks(&env, &in_git).await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.posts(), env.executed()), (2, 1));
    env.check_invariants().await;
}
