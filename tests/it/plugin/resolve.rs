//! `resolve`: each answer, given once, to what asks.

use hostup_sim::Vps;
use serde_json::{Value, json};

use super::{Person, RECORDS, RESOLVER, VIEW, asked, env};
use crate::support::{TestEnv, at};

async fn record(env: &TestEnv, name: &str) -> Value {
    serde_json::to_value(env.operations().get(name).await.unwrap()).unwrap()
}

async fn expected_vm_name(env: &TestEnv, name: &str) -> String {
    let record = record(env, name).await;
    at(&record, "spec.expectedVmName").as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn not_executed_on_a_terminal_shows_the_evidence_and_lets_a_new_attempt_follow() {
    let env = env("answer").await;
    let _operator = env.operator(&[]);
    let resolver = Person::with(&env, &[RESOLVER, VIEW]).await;
    let name = asked(&env, "web").await;
    let token = expected_vm_name(&env, &name).await;
    let mut terminal = resolver.sees(&["resolve", &name]);
    terminal.shows("Your answer");
    for part in [
        token.as_str(),
        "0.66 SEK/h",
        "NoneFound: no VM has the token",
        "in HostUp's panel",
    ] {
        terminal.shows(part);
    }
    terminal.types("perhaps");
    terminal.shows("is not one of the three");
    terminal.types("notexecuted");
    terminal.shows("After that, a new attempt is paid for at once");
    terminal.shows(&format!("kubectl hostup hold vbr/web -n {}", env.namespace));
    terminal.shows("Answer NotExecuted? [y/N]");
    terminal.types("y");
    let (status, screen) = terminal.ends();
    assert_eq!(status, 0, "{screen}");
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&record(&env, &name).await, "status.state"), "NotExecuted");
    assert_eq!((env.executed(), env.posts()), (1, 2));
    env.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn adopt_needs_the_vm_and_abandon_buys_nothing_more() {
    let env = env("adopt").await;
    let _operator = env.operator(&[]);
    env.sim
        .world(|world| world.add_vps(env.account, Vps::payg("vps_found", "renamed", 2, 4, 80)));
    let resolver = Person::with(&env, &[RESOLVER]).await;
    let name = asked(&env, "web").await;
    let adopt = ["resolve", &name, "--answer", "Adopt", "--yes"];
    resolver.runs(&adopt).await.fails(&["needs --vps"]);
    let abandon_one = [
        "resolve",
        &name,
        "--answer",
        "Abandon",
        "--vps",
        "vps_found",
        "--yes",
    ];
    resolver
        .runs(&abandon_one)
        .await
        .fails(&["--vps is only for the answer Adopt"]);
    assert_eq!(at(&record(&env, &name).await, "spec.resolution"), &Value::Null);
    let with_vm: Vec<&str> = adopt.iter().copied().chain(["--vps", "vps_found"]).collect();
    resolver.runs(&with_vm).await.ok();
    let web = env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&web, "status.vm.vpsId"), "vps_found");
    resolver
        .runs(&with_vm)
        .await
        .fails(&["does not wait for an answer", "its state is Succeeded"]);

    let name = asked(&env, "other").await;
    resolver
        .runs(&["resolve", &name, "--answer", "Abandon", "--yes"])
        .await
        .ok();
    env.wait_for_reason("other", "Abandoned").await;
    assert_eq!((env.executed(), env.posts()), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_answered_without_a_yes_or_over_a_change() {
    let env = env("unanswered").await;
    let _operator = env.operator(&[]);
    let resolver = Person::with(&env, &[RESOLVER]).await;
    let name = asked(&env, "web").await;
    let mut terminal = resolver.sees(&["resolve", &name]);
    terminal.shows("Your answer");
    terminal.types("");
    assert!(terminal.ends().1.contains("No answer is given."));
    let mut terminal = resolver.sees(&["resolve", &name, "--answer", "Abandon"]);
    terminal.shows("[y/N]");
    terminal.types("n");
    assert!(terminal.ends().1.contains("No answer is given."));
    resolver
        .runs(&["resolve", &name])
        .await
        .fails(&["not a terminal", "--answer"]);
    resolver
        .runs(&["resolve", &name, "--answer", "Abandon"])
        .await
        .fails(&["add --yes"]);
    let mut terminal = resolver.sees(&["resolve", &name, "--answer", "Abandon"]);
    terminal.shows("[y/N]");
    let touched = kube::api::Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    env.operations()
        .patch(&name, &kube::api::PatchParams::default(), &touched)
        .await
        .unwrap();
    terminal.types("y");
    let (status, screen) = terminal.ends();
    assert!(
        status == 1 && screen.contains("has changed while you looked at it"),
        "{screen}"
    );
    assert_eq!(at(&record(&env, &name).await, "spec.resolution"), &Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_that_was_refused_is_taken_back_before_it_is_given_again() {
    let env = env("again").await;
    let _operator = env.operator(&[]);
    let resolver = Person::with(&env, &[RESOLVER, VIEW]).await;
    let name = asked(&env, "web").await;
    let bearer = expected_vm_name(&env, &name).await;
    let both = ["vps_a", "vps_b"];
    for vps in both {
        let vm = Vps::payg(vps, &bearer, 2, 4, 80);
        env.sim.world(|world| world.add_vps(env.account, vm));
    }
    let args = ["resolve", &name, "--answer", "NotExecuted", "--yes"];
    resolver.runs(&args).await.ok();
    let is_refused = |record: &Value| at(record, "status.resolutionRefused").is_string();
    env.wait_for_record(&name, "a refusal", is_refused).await;
    env.sim
        .world(|world| both.map(|vps| assert!(world.remove_vps(vps))));
    // What is shown to the person does not change any more.
    let is_gone = |record: &Value| at(record, "status.evidence") == "NoneFound";
    env.wait_for_record(&name, "the list without them", is_gone).await;
    // kubectl cannot give it again before the operator has seen that it was taken back.
    let again = resolver.runs(&args).await.ok();
    assert!(again.contains("taken back first"), "{again}");
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&record(&env, &name).await, "status.state"), "NotExecuted");
    assert_eq!((env.executed(), env.posts()), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_who_may_not_resolve_is_told_what_they_lack() {
    let env = env("mayresolve").await;
    let _operator = env.operator(&[]);
    let name = asked(&env, "web").await;
    let args = ["resolve", name.as_str(), "--answer", "Abandon", "--yes"];
    let nobody = Person::with(&env, &[]).await;
    nobody
        .runs(&args)
        .await
        .fails(&["you cannot get vpsoperations", "hostup-operator-view-records"]);
    let reader = Person::with(&env, &[RECORDS]).await;
    reader
        .runs(&args)
        .await
        .fails(&["you cannot patch vpsoperations", "hostup-resolver"]);
    reader
        .runs(&["resolve", "nothing-1"])
        .await
        .fails(&["\"nothing-1\" not found"]);
    assert_eq!(at(&record(&env, &name).await, "spec.resolution"), &Value::Null);
}
