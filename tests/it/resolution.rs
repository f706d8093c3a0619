//! What becomes of an unknown outcome by the answers of a person.

use std::time::Duration;

use control_plane::{Action, Gate, Rule};
use hostup_operator::domain::ledger::names::VmToken;
use hostup_operator::domain::values::ids::InstanceId;
use hostup_sim::{
    Answer, Fault, JobResult, JobView, NameAs, RestoreBehaviour, Route, SOURCE_VPS, Vps, World,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::proxied_env::{OPERATIONS, ProxiedEnv, claim, held};
use crate::support::{HOUR, Operator, PATIENCE, TestEnv, at, condition, printed, ready, reason};

/// The answer to the next paid call is lost; it was executed or not.
fn lose(env: &TestEnv, executed: bool) {
    let lost = Fault::on(Route::RestoreToPayg).acted(executed);
    env.sim.inject(lost.answer(Answer::reset()));
}

fn name_of(record: &Value) -> &str {
    record["metadata"]["name"].as_str().unwrap()
}

fn time(record: &Value, path: &str) -> Timestamp {
    at(record, path).as_str().unwrap().parse().unwrap()
}

/// An approved restore whose call was lost on its way, and its record, once a person is asked.
async fn asked(env: &TestEnv) -> (Value, String) {
    lose(env, false);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "OutcomeUnknown").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    let record = at(&object, "status.operation.name").as_str().unwrap().to_owned();
    (object, record)
}

async fn end(env: &TestEnv, executed: usize, posts: usize) {
    assert_eq!((env.executed(), env.posts()), (executed, posts));
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
}

#[tokio::test]
async fn a_vm_that_is_another_records_result_is_not_adopted() {
    let env = TestEnv::new("taken").await;
    let _operator = env.operator(&[]);
    env.create(env.approved("first")).await;
    let first = env.wait_for_reason("first", "Restored").await;
    let vm = at(&first, "status.vm.vpsId").clone();
    let (_, record) = asked(&env).await;
    let adopt = json!({"answer": "Adopt", "vpsId": vm});
    env.resolve(&record, adopt).await.unwrap();
    let refused = |record: &Value| {
        let why = at(record, "status.resolutionRefused").as_str();
        why.is_some_and(|why| why.contains("is the result of VpsOperation"))
    };
    env.wait_for_record(&record, "a refusal", refused).await;
    assert_eq!(reason(&env.restore("web").await), "OutcomeUnknown");
    end(&env, 1, 2).await;
}

#[tokio::test]
async fn a_vm_that_bears_the_token_of_another_record_is_not_adopted() {
    let env = TestEnv::new("others").await;
    // HostUp's list never shows it, so that two records are asked about at once.
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            list_lag: u32::MAX,
            ..RestoreBehaviour::default()
        });
    });
    let _operator = env.operator(&[]);
    lose(&env, true);
    env.create(env.approved("first")).await;
    let first = env.wait_for_reason("first", "OutcomeUnknown").await;
    let (_, record) = asked(&env).await;
    let vm = env.sim.purchases()[0].vps_id.clone().unwrap();
    refused(&env, &record, &vm, "contains the token of another purchase").await;
    let command = printed(&first, "This VM is the one:");
    env.run_printed(&command.replace("vps_...", &vm)).await;
    let first = env.wait_for_reason("first", "Restored").await;
    assert_eq!(at(&first, "status.vm.vpsId"), vm.as_str());
    assert_eq!(reason(&env.restore("web").await), "OutcomeUnknown");
    end(&env, 1, 2).await;
}

#[tokio::test]
async fn a_vm_that_a_person_gave_to_another_record_is_never_the_result_of_a_second_one() {
    let env = TestEnv::new("given").await;
    let token = VmToken::new(&InstanceId::new(&env.namespace), &env.namespace, "web");
    let bearer = Vps::payg("vps_given", &format!("web-01-{}", token.as_str()), 2, 4, 80);
    env.sim.world(|world| world.add_vps(env.account, bearer.clone()));
    let _operator = env.operator(&["--resync-interval=1s"]);
    lose(&env, false);
    env.create(env.approved("first")).await;
    let first = env.wait_for_reason("first", "OutcomeUnknown").await;
    let command = printed(&first, "This VM is the one:");
    env.run_printed(&command.replace("vps_...", "vps_given")).await;
    env.wait_for_reason("first", "Restored").await;

    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "OutcomeUnknown").await;
    let taken = "vps_given has the token, but it is the result of VpsOperation";
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains(taken), "{message}");
    // It is looked for again each second, and a person's answer changes nothing.
    let record = at(&object, "status.operation.name").as_str().unwrap().to_owned();
    env.resolve(&record, json!({"answer": "NotExecuted"}))
        .await
        .unwrap();
    let refused = |record: &Value| {
        let why = at(record, "status.resolutionRefused").as_str();
        why.is_some_and(|why| why.contains(taken))
    };
    let record = env.wait_for_record(&record, "a refusal", refused).await;
    assert_eq!(at(&record, "status.state"), "Unknown");
    end(&env, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vm_that_two_persons_name_at_once_becomes_the_result_of_one_record() {
    let proxied = ProxiedEnv::new("twice").await;
    let env = &proxied.env;
    let bearer = Vps::payg("vps_found", "web-01", 2, 4, 80);
    env.sim.world(|world| world.add_vps(env.account, bearer.clone()));
    let operator = env.operator(&[]);
    lose(env, false);
    env.create(env.approved("first")).await;
    env.wait_for_reason("first", "OutcomeUnknown").await;
    asked(env).await;
    let records = env.records().await;
    let [one, other] = [name_of(&records[0]), name_of(&records[1])];

    // The first of the two writes takes long, so that no watch shows it while the other is looked at.
    let writes = Gate::new();
    let path = format!("{OPERATIONS}/{one}/status");
    let slow = Rule::on("PUT", move |request| request.path == path);
    proxied.proxy.rule(
        slow.named("the first result")
            .action(Action::HoldBefore(writes.clone())),
    );
    let adopt = json!({"answer": "Adopt", "vpsId": "vps_found"});
    env.resolve(one, adopt.clone()).await.unwrap();
    held(&writes).await;
    env.resolve(other, adopt).await.unwrap();
    let kept = format!("vps_found is being recorded as the result of VpsOperation {one}");
    operator.wait_for_line(&kept);
    writes.release();
    let given = |record: &Value| at(record, "status.state") == "Succeeded";
    env.wait_for_record(one, "the VM", given).await;
    let refused = |record: &Value| {
        let why = at(record, "status.resolutionRefused").as_str();
        why.is_some_and(|why| why.contains(&format!("is the result of VpsOperation {one} already")))
    };
    env.wait_for_record(other, "a refusal", refused).await;
    proxied.check().await;
    end(env, 0, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vm_that_a_person_names_while_another_record_is_made_for_it_becomes_the_result_of_one() {
    let proxied = ProxiedEnv::new("found").await;
    let env = &proxied.env;
    let token = VmToken::new(&InstanceId::new(&env.namespace), &env.namespace, "web");
    let bearer = Vps::payg("vps_found", &format!("web-01-{}", token.as_str()), 2, 4, 80);
    env.sim.world(|world| world.add_vps(env.account, bearer.clone()));
    let _operator = env.operator(&[]);
    lose(env, false);
    env.create(env.approved("first")).await;
    let first = env.wait_for_reason("first", "OutcomeUnknown").await;
    let gate = Gate::new();
    proxied.proxy.rule(claim(Action::HoldBefore(gate.clone())));
    env.create(env.approved("web")).await;
    held(&gate).await;
    let record = at(&first, "status.operation.name").as_str().unwrap();
    let adopt = json!({"answer": "Adopt", "vpsId": "vps_found"});
    env.resolve(record, adopt).await.unwrap();
    env.wait_for_reason("first", "Restored").await;
    gate.release();
    let web = env.wait_for_reason("web", "OutcomeUnknown").await;
    let message = ready(&web)["message"].as_str().unwrap();
    let taken = format!("vps_found has the token, but it is the result of VpsOperation {record} already");
    assert!(message.contains(&taken), "{message}");
    proxied.check().await;
    end(env, 0, 1).await;
}

#[tokio::test]
async fn a_job_that_names_the_vm_of_another_purchase_names_none() {
    let env = TestEnv::new("misnamed").await;
    let _operator = env.operator(&[]);
    // The key of the first reads another account, so that it never finds what bears its token in this one.
    let customer = env.customer("first").await;
    lose(&env, false);
    env.create(customer.restore(&env)).await;
    env.wait_for_reason("first", "OutcomeUnknown").await;
    let token = VmToken::new(&InstanceId::new(&env.namespace), &env.namespace, "first");
    let late = Vps::payg("vps_late", &format!("web-01-{}", token.as_str()), 2, 4, 80);
    env.sim.world(|world| {
        world.add_vps(env.account, late.clone());
        let view = JobView {
            result: JobResult::Custom(json!({"vpsId": "vps_late"}).to_string()),
            ..JobView::default()
        };
        world.restore_next(RestoreBehaviour {
            view,
            name_as: NameAs::Other("elsewhere".to_owned()),
            ..RestoreBehaviour::default()
        });
    });
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "OutcomeUnknown").await;
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains("no VM has the token"), "{message}");
    assert_eq!(reason(&env.restore("first").await), "OutcomeUnknown");
    end(&env, 1, 2).await;
}

#[tokio::test]
async fn not_executed_is_printed_and_lets_a_new_attempt_follow() {
    let env = TestEnv::new("notexec").await;
    let _operator = env.operator(&[]);
    let (object, first) = asked(&env).await;
    let message = ready(&object)["message"].as_str().unwrap();
    let record = &env.records().await[0];
    let token = at(record, "spec.expectedVmName").as_str().unwrap();
    let token = token.rsplit('-').next().unwrap();
    for part in [first.as_str(), token, "0.66 SEK/h", "HostUp's panel"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    // The event is bounded; what it prints of the answers is whole.
    let printed = [
        "After NotExecuted a new attempt is paid for at once",
        "\"answer\":\"Abandon\"}}}'",
    ];
    env.note_with("web", &printed).await;
    env.follow(&object, "It was not executed:").await;
    env.wait_for_reason("web", "Restored").await;
    let records = env.records().await;
    assert_eq!(records.len(), 2);
    assert_eq!(at(&records[0], "status.state"), "NotExecuted");
    assert_eq!(at(&records[0], "status.evidence"), "Person");
    assert_eq!(at(&records[1], "status.state"), "Succeeded");
    assert_eq!(at(&records[1], "spec.attempt"), 2);
    end(&env, 1, 2).await;
}

#[tokio::test]
async fn not_executed_given_early_says_when_it_takes_effect_and_not_before() {
    let env = TestEnv::new("early").await;
    let settle = Duration::from_secs(5);
    let _operator = env.operator(&["--settle-time=5s"]);
    lose(&env, false);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "ConfirmingOutcome").await;
    let first = name_of(&env.records().await[0]).to_owned();
    env.resolve(&first, json!({"answer": "NotExecuted"}))
        .await
        .unwrap();
    let told = env
        .wait_for_record(&first, "a word about when", |record| {
            let message = at(record, "status.message").as_str();
            message.is_some_and(|text| text.contains("takes effect at"))
        })
        .await;
    assert_eq!(at(&told, "status.state"), "Unknown");
    let effect = time(&told, "status.quietSince") + settle;
    let message = at(&told, "status.message").as_str().unwrap();
    assert!(message.contains(&format!("{effect:.0}")), "{effect}: {message}");
    assert_eq!(env.posts(), 1);
    env.wait_for_reason("web", "Restored").await;
    let records = env.records().await;
    assert_eq!(at(&records[0], "status.state"), "NotExecuted");
    assert!(time(&records[1], "spec.claim.madeAt") >= effect);
    end(&env, 1, 2).await;
}

#[tokio::test]
async fn not_executed_without_an_approval_that_stands_is_a_preview_again() {
    let env = TestEnv::new("noapproval").await;
    let _operator = env.operator(&[]);
    let (_, record) = asked(&env).await;
    env.patch("web", json!({"spec": {"approval": null}}))
        .await
        .unwrap();
    env.resolve(&record, json!({"answer": "NotExecuted"}))
        .await
        .unwrap();
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
    assert_eq!(at(&object, "status.operation.state"), "NotExecuted");
    assert_eq!(env.records().await.len(), 1);
    assert_eq!(env.posts(), 1);
    env.follow(&object, "To approve:").await;
    env.wait_for_reason("web", "Restored").await;
    end(&env, 1, 2).await;
}

#[tokio::test]
async fn not_executed_is_overruled_by_a_vm_that_turns_up() {
    let env = TestEnv::new("overruled").await;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            vm_visible_after: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    lose(&env, true);
    let _operator = env.operator(&["--settle-time=20s", "--resync-interval=1s"]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "ConfirmingOutcome").await;
    let record = name_of(&env.records().await[0]).to_owned();
    env.resolve(&record, json!({"answer": "NotExecuted"}))
        .await
        .unwrap();
    env.wait_for_record(&record, "a word about when", |record| {
        let message = at(record, "status.message").as_str();
        message.is_some_and(|text| text.contains("takes effect at"))
    })
    .await;
    env.sim.world(|world| world.advance(HOUR));
    env.wait_for_reason("web", "Restored").await;
    let record = &env.records().await[0];
    assert_eq!(at(record, "status.state"), "Succeeded");
    assert_eq!(at(record, "status.evidence"), "VmFound");
    end(&env, 1, 1).await;
}

/// Answers, and waits until the status says why that was not taken.
async fn refused(env: &TestEnv, record: &str, vps: &str, why: &str) {
    let adopt = json!({"answer": "Adopt", "vpsId": vps});
    env.resolve(record, adopt).await.unwrap();
    let refused = env
        .wait_for_record(record, why, |record| {
            let text = at(record, "status.resolutionRefused").as_str();
            text.is_some_and(|text| text.contains(vps) && text.contains(why))
        })
        .await;
    assert_eq!(at(&refused, "status.state"), "Unknown");
}

#[tokio::test]
async fn adopt_takes_only_a_payg_vm_that_the_key_reads_and_that_is_not_the_source() {
    let env = TestEnv::new("adopt").await;
    // Bought, and so renamed that the token is gone from the name.
    env.sim.world(|world| {
        world.add_vps(env.account, Vps::fixed("vps_fixed", "fixed", 2, 4, 80));
        world.restore_next(RestoreBehaviour {
            name_as: NameAs::Other("renamed".to_owned()),
            ..RestoreBehaviour::default()
        });
    });
    lose(&env, true);
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "OutcomeUnknown").await;
    let record = at(&object, "status.operation.name").as_str().unwrap();
    let bought = env.sim.purchases()[0].vps_id.clone().unwrap();

    refused(&env, record, "vps_nowhere", "does not read").await;
    refused(&env, record, "vps_fixed", "is not a pay-as-you-go VM").await;
    refused(&env, record, SOURCE_VPS, "is the source of the backup").await;
    assert_eq!(reason(&env.restore("web").await), "OutcomeUnknown");

    let command = printed(&object, "This VM is the one:");
    env.run_printed(&command.replace("vps_...", &bought)).await;
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&object, "status.vm.vpsId"), bought.as_str());
    let record = &env.records().await[0];
    assert_eq!(at(record, "status.state"), "Succeeded");
    assert_eq!(at(record, "status.evidence"), "Person");
    assert_eq!(at(record, "status.resolutionRefused"), &Value::Null);
    end(&env, 1, 1).await;
}

#[tokio::test]
async fn a_refused_adoption_may_be_followed_by_another_answer() {
    let env = TestEnv::new("another").await;
    let _operator = env.operator(&[]);
    let (_, record) = asked(&env).await;
    refused(&env, &record, SOURCE_VPS, "is the source of the backup").await;
    let other = json!({"answer": "NotExecuted", "vpsId": null});
    env.resolve(&record, other).await.unwrap();
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&env.records().await[0], "status.state"), "NotExecuted");
    end(&env, 1, 2).await;
}

#[tokio::test]
async fn abandon_ends_it_and_nothing_follows() {
    let env = TestEnv::new("abandon").await;
    let operator = env.operator(&[]);
    let (object, record) = asked(&env).await;
    env.follow(&object, "Give it up:").await;
    let object = env.wait_for_reason("web", "Abandoned").await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    let ended = env
        .wait_for_record(&record, "Abandoned", |record| {
            at(record, "status.state") == "Abandoned"
        })
        .await;
    assert_eq!(at(&ended, "status.evidence"), "Person");
    drop(operator);
    // Not after a restart, nor for a new object of the same name.
    let _operator = env.operator(&[]);
    env.delete("web").await;
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Abandoned").await;
    assert_eq!(env.records().await.len(), 1);
    end(&env, 0, 1).await;
}

/// No answer can be given while, or after, the outcome is known.
async fn too_early_or_late(env: &TestEnv, record: &str) {
    for answer in ["NotExecuted", "Abandon", "Adopt"] {
        let given = json!({"answer": answer, "vpsId": "vps_any"});
        let error = env.resolve(record, given).await.unwrap_err().to_string();
        assert!(
            error.contains("it can be set only while status.state is Unknown"),
            "{error}"
        );
    }
}

async fn running(env: &TestEnv) -> (Operator, String, String) {
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    let operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "JobRunning").await;
    let text = |path| at(&object, path).as_str().unwrap().to_owned();
    (operator, text("status.operation.name"), text("status.job.id"))
}

#[tokio::test]
async fn an_answer_to_a_call_that_was_accepted_is_refused() {
    let env = TestEnv::new("accepted").await;
    let (_operator, record, job) = running(&env).await;
    too_early_or_late(&env, &record).await;
    let polls = env.sim.count(Route::Job);
    let polled = move |world: &World| world.count_answered(Route::Job) >= polls + 3;
    assert!(env.sim.until(PATIENCE, polled).await);
    assert_eq!(at(&env.records().await[0], "status.state"), "Accepted");
    assert_eq!(reason(&env.restore("web").await), "JobRunning");
    env.sim.world(|world| world.finish_job(&job));
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(at(&env.records().await[0], "status.state"), "Succeeded");
    end(&env, 1, 1).await;
}

#[tokio::test]
async fn an_answer_to_what_is_done_is_refused() {
    let env = TestEnv::new("done").await;
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let before = env.wait_for_reason("web", "Restored").await;
    let record = at(&before, "status.operation.name").as_str().unwrap();
    too_early_or_late(&env, record).await;
    // Another object's whole life later it stands as it stood.
    env.create(env.approved("next")).await;
    env.wait_for_reason("next", "Restored").await;
    assert_eq!(env.restore("web").await, before);
    let records = env.records().await;
    assert_eq!(records.len(), 2);
    assert!(
        records
            .iter()
            .all(|record| at(record, "status.state") == "Succeeded")
    );
    end(&env, 2, 2).await;
}
