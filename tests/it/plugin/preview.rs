//! `preview`: prices by copies that buy nothing and are deleted.

use std::path::Path;
use std::process::{Command, Stdio};

use kube::api::ListParams;
use serde_json::{Value, json};

use super::{EDIT, Person, VIEW, env};
use crate::support::{TestEnv, at};

async fn author(env: &TestEnv) -> Person {
    Person::with(env, &[EDIT[0], EDIT[1], VIEW]).await
}

/// Writes objects into a file of a folder.
fn file(folder: &Path, name: &str, objects: &[Value]) -> String {
    let path = folder.join(name);
    let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
    std::fs::write(&path, texts.join("\n---\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Names of everything that buys in the environment's namespace.
async fn objects(env: &TestEnv) -> Vec<String> {
    let mut names = Vec::new();
    for api in [env.restores(), env.configs()] {
        let listed = api.list(&ListParams::default()).await.unwrap();
        names.extend(listed.items.into_iter().filter_map(|object| object.metadata.name));
    }
    names
}

async fn nothing_is_left(env: &TestEnv) {
    assert_eq!(objects(env).await, Vec::<String>::new());
    assert_eq!(
        (env.executed(), env.posts(), env.records().await.len()),
        (0, 0, 0)
    );
}

fn reason_of(previewed: &Value, object: &str) -> String {
    let objects = previewed["objects"].as_array().unwrap();
    let found = objects.iter().find(|shown| shown["object"] == object);
    found.unwrap_or_else(|| panic!("no {object} in {previewed}"))["reason"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn approved_objects_are_priced_added_up_and_not_bought() {
    let env = env("prices").await;
    let _operator = env.operator(&[]);
    let author = author(&env).await;
    let folder = tempfile::tempdir().unwrap();
    let mut elsewhere = env.approved("second");
    elsewhere["metadata"].as_object_mut().unwrap().remove("namespace");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}});
    file(folder.path(), "a.yaml", &[env.approved("first"), secret]);
    file(
        folder.path(),
        "b.json",
        &[
            elsewhere,
            env.approved_config("options", json!({"bandwidthGb": 4096})),
        ],
    );
    std::fs::write(folder.path().join("c.txt"), "not: [yaml").unwrap();
    let files = folder.path().to_str().unwrap();
    let previewed = author.runs(&["preview", files, "-o", "json"]).await.json();
    let totals: Vec<String> = previewed["totals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sum| format!("{} {} {}", sum["amount"], sum["currency"], sum["unit"]).replace('"', ""))
        .collect();
    assert_eq!(
        totals,
        ["1.32 SEK hour", "40.00 SEK now", "40.00 SEK month"],
        "{previewed}"
    );
    assert_eq!(previewed["objects"].as_array().unwrap().len(), 3);
    assert_eq!(previewed["isOverMaxPerHour"], false);
    nothing_is_left(&env).await;
    let table = author.runs(&["preview", files]).await.ok();
    for part in [
        "vbr/first",
        "0.66 SEK/h",
        "open",
        "Total: 1.32 SEK/h",
        "bandwidthGb 2048 -> 4096",
        "nothing was bought",
    ] {
        assert!(table.contains(part), "no {part} in {table}");
    }
    assert!(
        !table.contains("preview-"),
        "the name of a copy says nothing to a user: {table}"
    );
    nothing_is_left(&env).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_exit_status_says_over_the_most_without_a_price_or_an_error() {
    let env = env("exits").await;
    let _operator = env.operator(&[]);
    let author = author(&env).await;
    let folder = tempfile::tempdir().unwrap();
    let priced = file(folder.path(), "priced.yaml", &[env.preview("web")]);
    let mut gone = env.preview("gone");
    gone["spec"]["source"]["backupId"] = json!("bkp_none");
    let without = file(folder.path(), "without.yaml", &[gone]);
    let mut wrong = env.preview("wrong");
    wrong["spec"]["target"]["cloudVm"]["cpuCore"] = json!(2);
    let refused = file(folder.path(), "refused.yaml", &[wrong]);
    let most = |amount: &'static str| ["--max-per-hour", amount];
    for (files, more, status, says) in [
        (vec![&priced], most("0.66 SEK"), 0, ""),
        (vec![&priced], most("0.65 SEK"), 3, "over --max-per-hour 0.65 SEK"),
        (
            vec![&priced],
            most("9 EUR"),
            3,
            "cannot be compared with --max-per-hour",
        ),
        (vec![&priced, &without], most("1 SEK"), 2, ""),
        (vec![&priced, &without], most("0.1 SEK"), 3, ""),
        (vec![&priced, &refused], most("0.1 SEK"), 1, ""),
    ] {
        let mut args = vec!["preview"];
        args.extend(files.iter().map(|file| file.as_str()));
        args.extend(more);
        let ran = author.runs(&args).await;
        assert_eq!(ran.status, status, "{args:?}: {ran:?}");
        assert!(ran.err.contains(says), "{args:?}: {ran:?}");
    }
    let ran = author.runs(&["preview", &refused]).await;
    assert!(ran.status == 1 && ran.out.contains("cpuCore"), "{ran:?}");
    let ran = author.runs(&["preview", &without]).await;
    assert!(ran.out.contains("BackupNotFound"), "{ran:?}");
    author
        .runs(&["preview", "/nonexistent.yaml"])
        .await
        .fails(&["/nonexistent.yaml cannot be read"]);
    author
        .runs_with(&["preview", "-"], "a: [b")
        .await
        .fails(&["the standard input is not YAML"]);
    let ran = author.runs_with(&["preview", "-"], "a: b").await.ok();
    assert!(ran.contains("contain no VpsBackupRestore"), "{ran}");
    nothing_is_left(&env).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_interrupt_and_a_timeout_leave_no_copy() {
    let env = env("interrupt").await;
    // Nobody reconciles the copy.
    let author = author(&env).await;
    let folder = tempfile::tempdir().unwrap();
    let priced = file(
        folder.path(),
        "a.yaml",
        &[env.approved("web"), env.approved("other")],
    );
    for signal in ["INT", "TERM", "HUP"] {
        let child = author
            .command(&["preview", &priced, "--timeout", "90s"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let deadline = std::time::Instant::now() + crate::support::PATIENCE;
        loop {
            let there = objects(&env).await;
            if there.len() == 2 {
                let copy = env.restore(&there[0]).await;
                assert_eq!(at(&copy, "spec.approval"), &Value::Null);
                let annotations = at(&copy, "metadata.annotations");
                assert_eq!(annotations["vps.hostup.se/hold"], "this copy is a preview");
                break;
            }
            assert!(std::time::Instant::now() < deadline, "no copies: {there:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let pid = child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status()
            .unwrap();
        assert!(sent.success());
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
            .await
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{signal}: {said}");
        assert!(
            said.contains("interrupted; the copies are deleted"),
            "{signal}: {said}"
        );
        nothing_is_left(&env).await;
    }
    let ran = author.runs(&["preview", &priced, "--timeout", "1s"]).await;
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.out.contains("nobody reconciled the copy in time"), "{ran:?}");
    nothing_is_left(&env).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_of_the_legacy_api_is_never_copied_because_its_estimate_needs_no_approval() {
    let env = env("oldway").await;
    let _operator = env.operator(&["--enable-legacy-upgrade"]);
    let author = author(&env).await;
    let legacy = env.legacy_preview("old").to_string();
    let ran = author.runs_with(&["preview", "-"], &legacy).await;
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.out.contains("its estimate is a paid call"), "{ran:?}");
    nothing_is_left(&env).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn options_that_an_object_has_already_are_previewed_in_a_namespace_of_another_operator() {
    let env = env("beside").await;
    let operator = env.operator(&[]);
    let admin = Person::admin(&env);
    env.create(env.approved_config("web", json!({"bandwidthGb": 4096})))
        .await;
    env.config_comes_to("web", "InSync").await;
    let wanted = env.config_preview("web", json!({"bandwidthGb": 8192}));
    let twice = format!(
        "{wanted}\n---\n{}",
        env.config_preview("again", json!({"bandwidthGb": 1024}))
    );
    let beside = admin.runs_with(&["preview", "-", "-o", "json"], &twice).await;
    assert_eq!(beside.status, 2, "{beside:?}");
    let previewed: Value = serde_json::from_str(&beside.out).unwrap();
    assert_eq!(reason_of(&previewed, "vrc/web"), "TargetConflict");
    assert_eq!(reason_of(&previewed, "vrc/again"), "TargetConflict");
    assert!(beside.out.contains("is already in the cluster"), "{beside:?}");
    assert_eq!(objects(&env).await, ["web"]);

    let scratch = format!("{}-scratch", env.namespace);
    env.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scratch}}))
        .await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hostup-api", "namespace": scratch},
        "stringData": {"token": crate::support::KEY},
    });
    env.create(secret).await;
    let watch = format!("--watch-namespaces={scratch}");
    let _reads = env.operator(&[&watch, "--read-only"]);
    let there = format!("--namespace={scratch}");
    let ran = admin
        .runs_with(&["preview", "-", &there], &wanted.to_string())
        .await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains("bandwidthGb 4096 -> 8192"), "{ran:?}");
    assert_eq!((env.executed(), env.posts()), (1, 1));
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_who_cannot_create_or_delete_is_told_so() {
    let env = env("cannot").await;
    let viewer = Person::with(&env, &[VIEW]).await;
    let ran = viewer
        .runs_with(&["preview", "-"], &env.preview("web").to_string())
        .await;
    assert_eq!(ran.status, 1, "{ran:?}");
    for part in [
        "you cannot",
        "vpsbackuprestores in",
        "hostup-operator-edit-restores",
    ] {
        assert!(ran.out.contains(part), "no {part} in {ran:?}");
    }
    nothing_is_left(&env).await;
}
