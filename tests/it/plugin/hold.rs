//! `hold` and `release`.

use super::{APPROVER, EDIT, Person, VIEW, env};
use crate::support::at;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_namespace_and_an_object_are_held_and_released() {
    let env = env("holding").await;
    let _operator = env.operator(&[]);
    let admin = Person::admin(&env);
    let namespace = env.namespace.as_str();
    admin.runs(&["hold", namespace]).await.ok();
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Held").await;
    admin
        .runs(&["hold", "vbr/web", "--reason", "until the audit is over"])
        .await
        .ok();
    admin
        .runs(&["release", namespace])
        .await
        .fails(&["not a terminal", "--yes"]);
    admin.runs(&["release", namespace, "--yes"]).await.ok();
    let held = env.wait_for_reason("web", "Held").await;
    assert_eq!(
        at(&held, "metadata.annotations")["vps.hostup.se/hold"],
        "until the audit is over"
    );
    let mut terminal = admin.sees(&["release", "vbr/web"]);
    terminal.shows("0.66 SEK/h");
    terminal.shows("[y/N]");
    terminal.types("n");
    assert!(terminal.ends().1.contains("The hold stays."));
    assert_eq!(env.posts(), 0);
    let mut terminal = admin.sees(&["release", "vbr/web"]);
    terminal.shows("[y/N]");
    terminal.types("y");
    assert_eq!(terminal.ends().0, 0);
    env.wait_for_reason("web", "Restored").await;
    admin.runs(&["hold", "web/vbr"]).await.fails(&["KIND/NAME"]);
    admin
        .runs(&["hold", "vbr/web", "--reason", "false"])
        .await
        .fails(&["would hold nothing"]);
    assert_eq!((env.executed(), env.posts()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_who_edits_may_hold_and_only_an_approver_releases_what_is_approved() {
    let env = env("whoholds").await;
    let author = Person::with(&env, &[EDIT[0], VIEW]).await;
    let approver = Person::with(&env, &[APPROVER]).await;
    let viewer = Person::with(&env, &[VIEW]).await;
    env.create(env.approved("web")).await;
    author.runs(&["hold", "vbr/web"]).await.ok();
    viewer.runs(&["hold", "vbr/web"]).await.fails(&[
        "you cannot patch vpsbackuprestores",
        "hostup-operator-edit-restores",
    ]);
    author
        .runs(&["hold", &env.namespace])
        .await
        .fails(&["you cannot patch the Namespace", "hold single objects"]);
    super::approve::in_force(&env).await;
    author
        .runs(&["release", "vbr/web", "--yes"])
        .await
        .fails(&["you need the verb approve"]);
    approver.runs(&["release", "vbr/web", "--yes"]).await.ok();
}
