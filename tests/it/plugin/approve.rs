//! `approve`: exactly the quote that was shown.

use std::time::Instant;

use hostup_sim::{BackupBehaviour, BackupOutcome};
use serde_json::{Value, json};

use super::{APPROVER, EDIT, Person, RECORDS, VIEW, core_rate, env};
use crate::support::{PATIENCE, TestEnv, at};

const ASKS: &str = "[y/N]";

async fn shown(env: &TestEnv, name: &str) -> Value {
    env.create(env.preview(name)).await;
    env.wait_for_reason(name, "AwaitingApproval").await
}

fn quote(object: &Value) -> &str {
    at(object, "status.quote.id").as_str().unwrap()
}

async fn is_unapproved(env: &TestEnv, name: &str) {
    let object = env.restore(name).await;
    assert_eq!(at(&object, "spec.approval"), &Value::Null, "{object}");
    assert_eq!((env.posts(), env.records().await.len()), (0, 0));
}

/// The price that is shown rises.
async fn rises(env: &TestEnv, name: &str, before: &Value) -> Value {
    core_rate(env, "0.13");
    env.look_again(env.restores(), name, hostup_sim::Route::ListVps)
        .await;
    let before = quote(before).to_owned();
    env.wait(name, "another quote", |object| {
        let now = at(object, "status.quote.id").as_str();
        now.is_some_and(|now| now != before)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_yes_on_a_terminal_approves_what_was_shown_in_the_users_name_and_leaves_a_ceiling() {
    let env = env("yes").await;
    let _operator = env.operator(&[]);
    let approver = Person::with(&env, &[APPROVER]).await;
    let ceiling = json!({
        "maxPrice": {"perHour": "0.10", "currencyCode": "SEK"},
        "validUntil": "2099-01-01T00:00:00Z", "approvedBy": "admin",
    });
    let mut object = env.preview("web");
    object["spec"]["approval"] = ceiling.clone();
    env.create(object).await;
    let object = env.wait_for_reason("web", "QuoteExceedsCeiling").await;
    let mut terminal = approver.sees(&["approve", "vbr/web"]);
    terminal.shows(ASKS);
    for part in [
        quote(&object),
        "0.66 SEK/h",
        "0.10 SEK/h",
        "a new VM in stockholm",
    ] {
        terminal.shows(part);
    }
    terminal.types("y");
    let (status, screen) = terminal.ends();
    assert_eq!(status, 0, "{screen}");
    let object = env.wait_for_reason("web", "Restored").await;
    let mut expected = ceiling;
    expected["quoteId"] = at(&object, "spec.approval.quoteId").clone();
    expected["approvedBy"] = json!(approver.name);
    assert_eq!(at(&object, "spec.approval"), &expected);
    let records = env.records().await;
    let approval = at(&records[0], "spec.approval");
    assert_eq!(approval, &json!({"type": "Quote", "approvedBy": approver.name}));
    let again = approver.runs(&["approve", "vbr/web"]).await;
    again.fails(&["there is nothing to approve", "Restored"]);
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn anything_but_a_yes_approves_nothing() {
    let env = env("no").await;
    let _operator = env.operator(&[]);
    let approver = Person::with(&env, &[APPROVER]).await;
    shown(&env, "web").await;
    for answer in ["n", "", "q", "yess"] {
        let mut terminal = approver.sees(&["approve", "vbr/web"]);
        terminal.shows(ASKS);
        terminal.types(answer);
        let (status, screen) = terminal.ends();
        assert!(
            status == 0 && screen.contains("Nothing is approved."),
            "{answer:?}: {screen}"
        );
    }
    is_unapproved(&env, "web").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_price_that_rises_between_the_question_and_the_yes_is_not_approved() {
    let env = env("moves").await;
    let _operator = env.operator(&[]);
    let approver = Person::with(&env, &[APPROVER]).await;
    let before = shown(&env, "web").await;
    let mut terminal = approver.sees(&["approve", "vbr/web"]);
    terminal.shows(ASKS);
    let after = rises(&env, "web", &before).await;
    terminal.types("y");
    let (status, screen) = terminal.ends();
    assert_eq!(status, 1, "{screen}");
    for part in [
        "has changed while you looked at it",
        "0.66 SEK/h",
        "0.68 SEK/h",
        quote(&after),
        "Nothing is approved",
    ] {
        assert!(screen.contains(part), "no {part} in {screen}");
    }
    is_unapproved(&env, "web").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_edit_between_the_question_and_the_yes_is_not_approved() {
    let env = env("edited").await;
    let _operator = env.operator(&[]);
    let approver = Person::with(&env, &[APPROVER]).await;
    shown(&env, "web").await;
    let mut terminal = approver.sees(&["approve", "vbr/web"]);
    terminal.shows(ASKS);
    env.patch("web", json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .unwrap();
    terminal.types("y");
    let (status, screen) = terminal.ends();
    assert!(
        status == 1 && screen.contains("has changed while you looked at it"),
        "{screen}"
    );
    is_unapproved(&env, "web").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_terminal_only_the_quote_that_is_named_is_approved() {
    let env = env("script").await;
    let _operator = env.operator(&[]);
    let approver = Person::with(&env, &[APPROVER]).await;
    let (before, other) = (shown(&env, "web").await, shown(&env, "other").await);
    let after = rises(&env, "web", &before).await;
    approver.runs(&["approve", "vbr/web"]).await.fails(&[
        "this is not a terminal",
        "--yes --quote",
        quote(&after),
    ]);
    approver
        .runs(&["approve", "vbr/web", "--yes"])
        .await
        .fails(&["--quote"]);
    for stale in [quote(&before), quote(&other), "q-aaaaaaaaaa"] {
        let ran = approver
            .runs(&["approve", "vbr/web", "--yes", "--quote", stale])
            .await;
        ran.fails(&["has another quote", quote(&after), stale, "Nothing is approved"]);
    }
    is_unapproved(&env, "web").await;
    let args = ["approve", "vbr/web", "--yes", "--quote", quote(&after)];
    approver.runs(&args).await.ok();
    let web = env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&web, "spec.approval.quoteId"), quote(&after));
    assert_eq!(at(&env.restore("other").await, "spec.approval"), &Value::Null);
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn options_are_approved_and_an_approval_is_given_once() {
    let env = env("options").await;
    let _operator = env.operator(&["--read-only"]);
    let approver = Person::with(&env, &[APPROVER]).await;
    env.create(env.config_preview("web", json!({"bandwidthGb": 4096})))
        .await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    let args = [
        "approve",
        "vpsresourceconfigs/web",
        "--yes",
        "--quote",
        quote(&object),
    ];
    let said = approver.runs(&args).await.ok();
    assert!(said.contains("bandwidthGb 2048 -> 4096"), "{said}");
    env.config_comes_to("web", "ReadOnly").await;
    let said = approver.runs(&args).await.ok();
    assert!(said.contains("already approved by this quote"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_failed_backup_the_next_quote_is_offered_and_approved() {
    let env = env("again").await;
    let _operator = env.operator(&[]);
    let approver = Person::with(&env, &[APPROVER, VIEW, RECORDS]).await;
    env.sim.world(|world| {
        world.backup_next(BackupBehaviour::ending(BackupOutcome::FailsWithoutBackup));
    });
    let mut object = env.approved_config("web", json!({"bandwidthGb": 4096}));
    object["spec"]["backupFirst"] = json!(true);
    env.create(object).await;
    let object = env.config_comes_to("web", "JobFailed").await;
    let waiting = approver.runs(&["status", "-o", "json"]).await.json();
    let to_do = approver.is_told(&format!("kubectl hostup approve vrc/web -n {}", env.namespace));
    assert_eq!(waiting[0]["toDo"], to_do.as_str());
    let args = ["approve", "vrc/web", "--yes", "--quote", quote(&object)];
    approver.runs(&args).await.ok();
    env.config_comes_to("web", "InSync").await;
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_author_and_a_viewer_cannot_approve_and_are_told_what_they_lack() {
    let env = env("mayi").await;
    let _operator = env.operator(&[]);
    let viewer = Person::with(&env, &[VIEW]).await;
    let author = Person::with(&env, &[EDIT[0], VIEW]).await;
    let object = shown(&env, "web").await;
    let args = ["approve", "vbr/web", "--yes", "--quote", quote(&object)];
    let right = format!("you cannot patch vpsbackuprestores in {}", env.namespace);
    viewer
        .runs(&args)
        .await
        .fails(&[&right, "ClusterRole hostup-approver"]);
    in_force(&env).await;
    author.runs(&args).await.fails(&[
        "you need the verb approve on vpsbackuprestores",
        "hostup-approver",
    ]);
    viewer
        .runs(&["approve", "vbr/nothing"])
        .await
        .fails(&["\"nothing\" not found", &env.namespace]);
    let nobody = Person::with(&env, &[]).await;
    nobody
        .runs(&args)
        .await
        .fails(&["you cannot get vpsbackuprestores", "hostup-operator-view"]);
    is_unapproved(&env, "web").await;
}

/// A policy is in force some time after it was made, and nothing tells when.
pub(super) async fn in_force(env: &TestEnv) {
    let author = Person::with(env, &[EDIT[1]]).await;
    let config = env
        .approved_config("asked", json!({"bandwidthGb": 4096}))
        .to_string();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (plane, kubeconfig, config) = (env.plane, author.kubeconfig.clone(), config.clone());
        let run = move || {
            let dry = ["create", "--dry-run=server", "-f", "-"];
            plane.kubectl_as(&kubeconfig, &dry, Some(&config)).unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("you need the verb approve") {
            return;
        }
        assert!(Instant::now() < deadline, "the policy is not in force: {said}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
