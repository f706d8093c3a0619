//! `status`, and what all tables have in common.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{Person, RECORDS, RESOLVER, VIEW, asked, env, rows};

fn reasons(waiting: &Value) -> Vec<(String, String)> {
    let text = |row: &Value, member: &str| row[member].as_str().unwrap().to_owned();
    let rows = waiting.as_array().unwrap().iter();
    rows.map(|row| (text(row, "object"), text(row, "reason")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_what_waits_for_somebody_is_shown_and_the_urgent_first() {
    let env = env("waits").await;
    let _operator = env.operator(&[]);
    let viewer = Person::with(&env, &[VIEW, RECORDS]).await;
    let nothing = viewer.runs(&["status"]).await.ok();
    assert_eq!(
        nothing,
        format!("Nothing waits for anybody in namespace {}.\n", env.namespace)
    );
    let mut rests = env.preview("rests");
    rests["spec"]["suspend"] = json!(true);
    for object in [
        env.approved("done"),
        env.preview("web"),
        rests,
        env.legacy_preview("old"),
    ] {
        env.create(object).await;
    }
    env.wait_for_reason("done", "Restored").await;
    env.wait_for_reason("web", "AwaitingApproval").await;
    env.wait_for_reason("rests", "Suspended").await;
    env.config_comes_to("old", "NotConfigurable").await;
    let waiting = viewer.runs(&["status", "-o", "json"]).await.json();
    let expected = [
        ("vrc/old", "NotConfigurable"),
        ("vbr/rests", "Suspended"),
        ("vbr/web", "AwaitingApproval"),
    ];
    assert_eq!(
        reasons(&waiting),
        expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    let table = viewer.runs(&["status"]).await.ok();
    let rows = rows(&table);
    assert_eq!(
        rows[0],
        ["OBJECT", "REASON", "PRICE", "SINCE", "WHAT TO DO"],
        "{table}"
    );
    let approve = viewer.is_told(&format!("kubectl hostup approve vbr/web -n {}", env.namespace));
    assert_eq!(
        rows[3][..3],
        ["vbr/web", "AwaitingApproval", "0.66 SEK/h"],
        "{table}"
    );
    assert_eq!(rows[3].last().unwrap(), &approve, "{table}");
    assert!(
        !table.contains('\u{1b}') && table.lines().all(|line| line == line.trim_end()),
        "{table:?}"
    );
    let wide = viewer.runs(&["status", "-o", "wide"]).await.ok();
    assert!(wide.contains("Nothing is bought before an approval"), "{wide}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unknown_outcome_is_shown_also_when_its_object_is_gone() {
    let env = env("gone").await;
    let _operator = env.operator(&[]);
    let viewer = Person::with(&env, &[VIEW, RESOLVER]).await;
    let record = asked(&env, "web").await;
    let with_object = viewer.runs(&["status", "-o", "json"]).await.json();
    assert_eq!(
        reasons(&with_object),
        [("vbr/web".to_owned(), "OutcomeUnknown".to_owned())]
    );
    let to_do = viewer.is_told(&format!("kubectl hostup resolve {record}"));
    assert_eq!(with_object[0]["toDo"], to_do.as_str());
    env.delete("web").await;
    let without = viewer.runs(&["status", "-o", "json"]).await.json();
    assert_eq!(
        reasons(&without),
        [(format!("vop/{record}"), "OutcomeUnknown".to_owned())]
    );
    assert_eq!(without[0]["toDo"], to_do.as_str());
    // A user without the right to read records sees a note, and all objects.
    let of_objects = Person::with(&env, &[VIEW]).await;
    let ran = of_objects.runs(&["status"]).await;
    assert!(ran.err.contains("you cannot list vpsoperations"), "{ran:?}");
    assert!(ran.err.contains("hostup-operator-view-records"), "{ran:?}");
    assert!(ran.ok().starts_with("Nothing waits"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_missing_right_is_named_with_the_role_that_gives_it() {
    let env = env("noright").await;
    let nobody = Person::with(&env, &[]).await;
    let here = format!("you cannot list vpsbackuprestores in {}", env.namespace);
    nobody.runs(&["status"]).await.fails(&[
        &here,
        "ask an administrator for the ClusterRole hostup-operator-view in",
    ]);
    let viewer = Person::with(&env, &[VIEW]).await;
    viewer.runs(&["status"]).await.ok();
    viewer
        .runs(&["status", "-A"])
        .await
        .fails(&["you cannot list vpsbackuprestores:", "in the whole cluster"]);
    let admin = Person::admin(&env);
    let all = admin.runs(&["status", "-A"]).await.ok();
    assert!(
        all.starts_with("NAMESPACE") || all.starts_with("Nothing waits"),
        "{all}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn colors_are_for_terminals_without_no_color() {
    let env = env("colors").await;
    let _operator = env.operator(&[]);
    env.create(env.preview("web")).await;
    env.wait_for_reason("web", "AwaitingApproval").await;
    let viewer = Person::with(&env, &[VIEW, RECORDS]).await;
    let has_colors = |text: &str| text.contains("\u{1b}[");
    let on_terminal = |color: Option<&'static str>, no_color: bool| {
        let mut args = vec!["status"];
        args.extend(color);
        let mut command = viewer.command(&args);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let (status, shown) = super::Terminal::start(command).ends();
        assert_eq!(status, 0, "{shown}");
        assert!(shown.contains("AwaitingApproval"), "{shown}");
        has_colors(&shown)
    };
    assert!(on_terminal(None, false));
    assert!(!on_terminal(None, true));
    assert!(!on_terminal(Some("--color=never"), false));
    assert!(on_terminal(Some("--color=always"), true));
    for (color, expected) in [("--color=auto", false), ("--color=always", true)] {
        let piped = viewer.runs(&[color, "status"]).await.ok();
        assert_eq!(has_colors(&piped), expected, "{color}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pipe_that_closes_is_no_error() {
    let env = env("closes").await;
    let viewer = Person::with(&env, &[VIEW, RECORDS]).await;
    for args in [["status"], ["ledger"], ["spend"]] {
        let mut child = viewer
            .command(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.is_empty(), "{args:?}: {said}");
    }
}
