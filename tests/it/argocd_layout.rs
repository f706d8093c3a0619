//! The tests of our Argo CD scripts in Argo CD's own layout, so that they can be given to it: their objects are
//! what the operator writes, and what they claim is so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hostup_operator::api;
use hostup_operator::api::budget::VpsBudget;
use hostup_sim::{ActionGate, Answer, Apply, ConfigBehaviour, Fault, Route, SOURCE_VPS};
use serde_json::{Value, json};

use crate::argocd::{KINDS, answer, folder, read};
use crate::budgets;
use crate::support::{HOUR, PATIENCE, TestEnv, at, ready};

/// What stands in the files for a moment.
const MOMENT: &str = "2026-01-31T12:00:00Z";

/// The files below the folder of the customizations, by path.
#[derive(Default)]
struct Files(BTreeMap<String, Value>);

impl Files {
    /// A row of a `health_test.yaml`, and its object.
    fn health(&mut self, name: &str, object: &Value, status: &str, message: String) {
        let kind = object["kind"].as_str().unwrap();
        let input = format!("testdata/{name}.yaml");
        self.0.insert(format!("{kind}/{input}"), object.clone());
        let tests = self.0.entry(format!("{kind}/health_test.yaml"));
        let tests = tests.or_insert_with(|| json!({"tests": []}));
        let row = json!({"healthStatus": {"status": status, "message": message}, "inputPath": input});
        tests["tests"].as_array_mut().unwrap().push(row);
    }

    /// The same of an object whose health says the words of its `Ready`.
    fn looked_at(&mut self, name: &str, object: &Value, status: &str) {
        let word = |member: &str| ready(object)[member].as_str().unwrap().to_owned();
        self.health(
            name,
            object,
            status,
            format!("{}: {}", word("reason"), word("message")),
        );
    }

    /// An `action_test.yaml`, made of one object that is not suspended.
    fn actions(&mut self, object: &Value) {
        let mut suspended = object.clone();
        suspended["spec"]["suspend"] = json!(true);
        let mut approved = object.clone();
        approved["spec"]["approval"] = json!({"quoteId": at(object, "status.quote.id")});
        let mut requested = object.clone();
        requested["metadata"]["annotations"] = json!({"reconcile.fluxcd.io/requestedAt": MOMENT});
        let offers = |suspended: bool| {
            json!([
                {"name": "approve", "disabled": suspended, "iconClass": "fa fa-fw fa-check-circle"},
                {"name": "reconcile", "iconClass": "fa fa-fw fa-refresh"},
                {"name": "resume", "disabled": !suspended, "iconClass": "fa fa-fw fa-play-circle"},
                {"name": "suspend", "disabled": suspended, "iconClass": "fa fa-fw fa-pause-circle"},
            ])
        };
        let input = |name: &str| format!("testdata/{name}.yaml");
        let acts = |action, from, to| json!({"action": action, "inputPath": input(from), "expectedOutputPath": input(to)});
        let tests = json!({
            "discoveryTests": [
                {"inputPath": input("active"), "result": offers(false)},
                {"inputPath": input("suspended"), "result": offers(true)},
            ],
            "actionTests": [
                acts("suspend", "active", "suspended"),
                acts("resume", "suspended", "active"),
                acts("reconcile", "active", "requested"),
                acts("approve", "active", "approved"),
            ],
        });
        let actions = format!("{}/actions", object["kind"].as_str().unwrap());
        self.0.insert(format!("{actions}/action_test.yaml"), tests);
        for (name, object) in [
            ("active", object),
            ("suspended", &suspended),
            ("requested", &requested),
            ("approved", &approved),
        ] {
            self.0
                .insert(format!("{actions}/testdata/{name}.yaml"), object.clone());
        }
    }

    fn are_committed(&self) {
        let update = std::env::var("UPDATE_ARGOCD").is_ok();
        let mut differ = Vec::new();
        for (name, value) in &self.0 {
            let path = folder().join(name);
            if update {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, serde_saphyr::to_string(value).unwrap()).unwrap();
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let there: Value = serde_saphyr::from_str(&text).unwrap_or_default();
            if there != *value {
                differ.push(format!("{name}: there is {there}\nand should be {value}"));
            }
        }
        assert!(
            differ.is_empty(),
            "run `make argocd-tests`\n{}",
            differ.join("\n")
        );
        let mut found: Vec<String> = tests_of_argo_cd()
            .iter()
            .map(|path| path.strip_prefix(folder()).unwrap().display().to_string())
            .collect();
        found.sort();
        let made: Vec<&String> = self.0.keys().collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), made, "files that no test makes");
    }
}

/// Every file of the layout that is not a script.
fn tests_of_argo_cd() -> Vec<PathBuf> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    below(&folder(), &mut found);
    found
}

/// An object without what differs from run to run.
fn as_ever(env: &TestEnv, object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("managedFields");
    metadata.insert("resourceVersion".to_owned(), json!("1000"));
    let asked = ready(&object)["message"].as_str().and_then(|text| {
        let after = text.split(", token ").nth(1)?;
        after.split(|c: char| !c.is_alphanumeric()).next()
    });
    let token = ["status.target.name", "status.vm.name", "spec.expectedVmName"]
        .iter()
        .find_map(|path| at(&object, path).as_str()?.rsplit('-').next())
        .or(asked)
        .map(str::to_owned);
    let stands_for = [
        ("metadata.uid", "6f1c2b1e-3d7a-4c57-9a54-2b6a1f0d9e31"),
        ("spec.subject.uid", "6f1c2b1e-3d7a-4c57-9a54-2b6a1f0d9e31"),
        ("spec.claim.holder", "holder"),
        ("spec.credentialsRef.resourceVersion", "900"),
        ("spec.intentDigest", "digest-of-the-intent"),
        ("spec.readingsDigest", "digest-of-the-readings"),
        ("spec.quote.id", "q-7k2mbx4cdp2a3qy7m5rtw6znhe"),
        ("status.quote.id", "q-7k2mbx4cdp2a3qy7m5rtw6znhe"),
        ("status.inForce", "digest-of-the-options"),
        ("status.job.id", "job_01hxd5e6f7g8h9j0k1m2n3p4q5"),
        ("status.vm.vpsId", "vps_01hxc4d5e6f7g8h9j0k1m2n3p4"),
        ("status.result.vpsId", "vps_01hxc4d5e6f7g8h9j0k1m2n3p4"),
        ("status.invoice.id", "inv_01hxe6f7g8h9j0k1m2n3p4q5r6"),
        ("status.requestId", "req_01hxf7g8h9j0k1m2n3p4q5r6s7"),
        ("status.operation.name", "abcdefghij234567abcdefghij234567-1"),
    ];
    let mut text = object.to_string();
    let mut replace = |from: Option<&str>, to: &str| {
        if let Some(from) = from.filter(|from| !from.is_empty()) {
            text = text.replace(from, to);
        }
    };
    for (path, to) in stands_for {
        replace(at(&object, path).as_str(), to);
    }
    if object["kind"] == "VpsOperation" {
        replace(
            object["metadata"]["name"].as_str(),
            "abcdefghij234567abcdefghij234567-1",
        );
    }
    replace(token.as_deref(), "k5d2wq7mzt");
    replace(Some(&env.vps), SOURCE_VPS);
    replace(Some(&env.namespace), "shop");
    let mut object = serde_json::from_str(&text).unwrap();
    at_one_moment(&mut object);
    object
}

fn at_one_moment(value: &mut Value) {
    match value {
        Value::String(text) => {
            let is_time = |word: &str| word.parse::<jiff::Timestamp>().is_ok();
            let words = text
                .split(' ')
                .map(|word| if is_time(word) { MOMENT } else { word });
            *text = words.collect::<Vec<_>>().join(" ");
        }
        Value::Array(list) => list.iter_mut().for_each(at_one_moment),
        Value::Object(members) => members.values_mut().for_each(at_one_moment),
        _ => {}
    }
}

async fn restores(env: &TestEnv, files: &mut Files) {
    let made = |object: &Value| as_ever(env, object);
    env.create(env.preview("preview")).await;
    let object = made(&env.wait_for_reason("preview", "AwaitingApproval").await);
    files.looked_at("awaiting-approval", &object, "Suspended");
    files.actions(&object);
    let mut suspended = env.preview("suspended");
    suspended["spec"]["suspend"] = json!(true);
    env.create(suspended).await;
    let object = env.wait_for_reason("suspended", "Suspended").await;
    files.looked_at("suspended", &made(&object), "Suspended");
    let mut lost = env.preview("lost");
    lost["spec"]["source"]["backupId"] = json!("bkp_00000000000000000000000000");
    env.create(lost).await;
    let object = env.wait_for_reason("lost", "BackupNotFound").await;
    files.looked_at("backup-not-found", &made(&object), "Degraded");

    env.sim.world(|world| world.restore.job_duration = HOUR);
    env.create(env.approved("web")).await;
    let under_way = |object: &Value| !at(object, "status.job.status").is_null();
    let object = env.wait("web", "a job", under_way).await;
    files.looked_at("job-running", &made(&object), "Progressing");
    let record = at(&object, "status.operation.name").as_str().unwrap();
    let of_record = |record: &Value| {
        let message = at(record, "status.message").as_str().unwrap();
        format!("{}: {message}", at(record, "status.state").as_str().unwrap())
    };
    let accepted = made(&serde_json::to_value(env.operations().get(record).await.unwrap()).unwrap());
    files.health("accepted", &accepted, "Progressing", of_record(&accepted));
    env.sim.world(|world| world.advance(HOUR));
    let object = env.wait_for_reason("web", "Restored").await;
    files.looked_at("restored", &made(&object), "Healthy");
    let succeeded = made(&serde_json::to_value(env.operations().get(record).await.unwrap()).unwrap());
    files.health("succeeded", &succeeded, "Healthy", of_record(&succeeded));

    for (name, answer, reason, file) in [
        (
            "refused",
            Answer::problem(400, "invalid_request"),
            "Rejected",
            "rejected",
        ),
        ("unclear", Answer::reset(), "OutcomeUnknown", "unknown"),
    ] {
        let fault = Fault::on(Route::RestoreToPayg).acted(false);
        env.sim.inject(fault.answer(answer));
        env.create(env.approved(name)).await;
        let object = env.wait_for_reason(name, reason).await;
        if reason == "OutcomeUnknown" {
            files.looked_at("outcome-unknown", &made(&object), "Degraded");
        }
        let record = at(&object, "status.operation.name").as_str().unwrap();
        let record = made(&serde_json::to_value(env.operations().get(record).await.unwrap()).unwrap());
        files.health(file, &record, "Degraded", of_record(&record));
    }
}

async fn configs(env: &TestEnv, files: &mut Files) {
    let made = |object: &Value| as_ever(env, object);
    let bandwidth = |gb: u32| json!({"bandwidthGb": gb});
    env.create(env.config_preview("web", bandwidth(4096))).await;
    let object = made(&env.config_comes_to("web", "AwaitingApproval").await);
    files.looked_at("awaiting-approval", &object, "Suspended");
    files.actions(&object);
    env.delete_config("web").await;

    env.sim
        .world(|world| world.config_next(ConfigBehaviour::applied(Apply::WhenPaid)));
    env.create(env.approved_config("web", bandwidth(4096))).await;
    let object = env.config_comes_to("web", "AwaitingPayment").await;
    files.looked_at("awaiting-payment", &made(&object), "Progressing");
    let invoice = at(&object, "status.invoice.id").as_str().unwrap().to_owned();
    env.sim.world(|world| world.pay_invoice(&invoice));
    let object = env.config_comes_to("web", "InSync").await;
    files.looked_at("in-sync", &made(&object), "Healthy");
    env.sim
        .world(|world| world.set_option(&env.vps, "bandwidthGb", 2048));
    let object = env.config_comes_to("web", "Drifted").await;
    files.looked_at("drifted", &made(&object), "Suspended");
    env.sim.world(|world| {
        world.vps_mut(&env.vps).unwrap().can_commit =
            ActionGate::closed("An order is pending.", Some("pending_orders"));
    });
    env.patch_config("web", json!({"resources": {"bandwidthGb": 6144}}))
        .await;
    let object = env.config_comes_to_anew("web", "GatesClosed").await;
    files.looked_at("gates-closed", &made(&object), "Progressing");
    env.patch_config("web", json!({"resources": {"extra": {"tpuSlots": 1}}}))
        .await;
    let object = env.config_comes_to_anew("web", "UnknownOption").await;
    files.looked_at("unknown-option", &made(&object), "Degraded");
}

/// A budget before the operator has seen it, in force, and one that only an older schema admitted.
async fn budgets(files: &mut Files) {
    let env = budgets::env("argobudget").await;
    let object = budgets::budget(&env, "team", json!({"perHour": "5.00"}));
    let untouched = serde_json::to_value(env.create(object).await).unwrap();
    let not_yet = "Waiting for the operator to reconcile it".to_owned();
    files.health("untouched", &as_ever(&env, &untouched), "Progressing", not_yet);
    let _operator = env.operator(&[]);
    let all = budgets::budgets(&env);
    let name = at(&untouched, "metadata.name").as_str().unwrap();
    let is_seen = |object: &Value| !at(object, "status.conditions").is_null();
    let object = env.wait_for(all, name, "a status", PATIENCE, is_seen).await;
    files.looked_at("in-force", &as_ever(&env, &object), "Healthy");
    let mut older: VpsBudget = serde_json::from_value(object).unwrap();
    older.spec.per_hour = Some("five".to_owned());
    let why = api::budget(&older).expect_err("no amount");
    older.status = Some(api::budget_status(&older, Err(&why), jiff::Timestamp::UNIX_EPOCH));
    let older = serde_json::to_value(older).unwrap();
    files.looked_at("invalid", &as_ever(&env, &older), "Degraded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_objects_of_argo_cds_tests_are_what_the_operator_writes() {
    let env = TestEnv::new("argo").await;
    let mut files = Files::default();
    let not_yet = "Waiting for the operator to reconcile it";
    let mut left_alone = Vec::new();
    for object in [
        env.preview("untouched"),
        env.config_preview("untouched", json!({"ipv6": true})),
    ] {
        let object = serde_json::to_value(env.create(object).await).unwrap();
        files.health(
            "untouched",
            &as_ever(&env, &object),
            "Progressing",
            not_yet.to_owned(),
        );
        left_alone.push(object);
    }
    env.delete("untouched").await;
    env.delete_config("untouched").await;
    let operator = env.operator(&["--job-deadline=2h"]);
    restores(&env, &mut files).await;
    configs(&env, &mut files).await;
    budgets(&mut files).await;
    drop(operator);
    // The operator is down, and the spec is a newer one than the status tells of.
    env.patch("preview", json!({"spec": {"suspend": true}}))
        .await
        .unwrap();
    env.patch_config("web", json!({"suspend": true})).await;
    for object in [env.restore("preview").await, env.config("web").await] {
        files.health(
            "changed",
            &as_ever(&env, &object),
            "Progressing",
            not_yet.to_owned(),
        );
    }
    files.are_committed();
    env.check_invariants().await;
}

/// A file of Argo CD's tests, which names others relative to its own folder.
fn yaml(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list<'a>(tests: &'a Value, name: &str) -> &'a [Value] {
    let list = tests[name].as_array().unwrap();
    assert!(!list.is_empty(), "no {name}");
    list
}

#[test]
fn the_health_of_argo_cds_tests_is_what_the_scripts_say() {
    for kind in KINDS {
        let folder = folder().join(kind);
        let mut seen = Vec::new();
        for test in list(&yaml(&folder.join("health_test.yaml")), "tests") {
            let input = test["inputPath"].as_str().unwrap();
            let health = answer(&read(kind, "health.lua"), &yaml(&folder.join(input)));
            assert_eq!(health, test["healthStatus"], "{kind}: {input}");
            seen.push(health["status"].as_str().unwrap().to_owned());
        }
        for status in ["Healthy", "Progressing", "Degraded"] {
            assert!(
                seen.iter().any(|seen| seen == status),
                "{kind}: nothing is {status}"
            );
        }
    }
}

#[test]
fn the_actions_of_argo_cds_tests_are_offered_and_do_what_they_say() {
    let mut tried = 0;
    for kind in KINDS {
        let folder = folder().join(kind).join("actions");
        if !folder.exists() {
            continue;
        }
        let tests = yaml(&folder.join("action_test.yaml"));
        let object = |test: &Value, path: &str| yaml(&folder.join(test[path].as_str().unwrap()));
        for test in list(&tests, "discoveryTests") {
            let offered = answer(&read(kind, "actions/discovery.lua"), &object(test, "inputPath"));
            let wanted: serde_json::Map<String, Value> = list(test, "result")
                .iter()
                .map(|action| {
                    let mut action = action.clone();
                    let name = action.as_object_mut().unwrap().remove("name").unwrap();
                    (name.as_str().unwrap().to_owned(), action)
                })
                .collect();
            assert_eq!(offered, Value::Object(wanted), "{kind}");
        }
        for test in list(&tests, "actionTests") {
            let name = test["action"].as_str().unwrap();
            let script = read(kind, &format!("actions/{name}/action.lua"));
            let mut acted = answer(&script, &object(test, "inputPath"));
            at_one_moment(&mut acted);
            assert_eq!(acted, object(test, "expectedOutputPath"), "{kind}: {name}");
            tried += 1;
        }
    }
    assert_eq!(tried, 8);
}
