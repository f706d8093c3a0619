//! What the API server takes, what it refuses, and what it says then.

use control_plane::{ControlPlane, User};
use futures::future::join_all;
use hostup_operator::api::crds;
use serde_json::{Value, json};

use crate::support::{TestEnv, at};

const RESTORE: &str = "source cannot be changed: create a VpsBackupRestore with another name";
const TARGET: &str = "target cannot be changed: create a VpsBackupRestore with another name";
const RECORD: &str = "a VpsOperation is immutable except for spec.resolution";

/// The approved example with one member replaced; a value of null removes it.
fn with(env: &TestEnv, name: &str, pointer: &str, value: Value) -> Value {
    let mut object = env.approved(name);
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = object["spec"].pointer_mut(parent).unwrap();
    match value {
        Value::Null => drop(parent.as_object_mut().unwrap().remove(member)),
        value => parent[member] = value,
    }
    object
}

#[tokio::test]
async fn wrong_manifests_are_refused_with_a_reason() {
    let env = TestEnv::new("wrong").await;
    let long = "a".repeat(41);
    let id = "in body should match '^[A-Za-z0-9_-]+$'";
    let name = "in body should match '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'";
    let exactly = "set exactly one of";
    let rows: Vec<(&str, Value, &str)> = vec![
        ("/source/backupId", Value::Null, exactly),
        ("/source/backup", json!("Latest"), exactly),
        ("/source/backup", json!("Oldest"), "supported values: \"Latest\""),
        ("/source/backupSelector", json!({}), exactly),
        ("/source/maxAge", json!("1 week"), "in body should match"),
        ("/source/maxAge", json!("0h"), "in body should match"),
        ("/source/vpsId", json!("vps/../x"), id),
        (
            "/source/vpsId",
            Value::Null,
            "set either vpsId or vpsName: the VPS whose backup is restored",
        ),
        (
            "/source/vpsName",
            json!("web-01"),
            "set either vpsId or vpsName: the VPS whose backup is restored",
        ),
        ("/source/vpsId", json!(""), "should be at least 1 chars long"),
        ("/source/backupId", json!("a b"), id),
        ("/source", Value::Null, "spec.source: Required value"),
        ("/target", Value::Null, "spec.target: Required value"),
        (
            "/target/cloudVm",
            Value::Null,
            "set either cloudVm (a new pay-as-you-go VM",
        ),
        ("/target/cloudVm/cpuCores", json!(0), "greater than or equal to 1"),
        (
            "/target/cloudVm/cpuCores",
            json!(1025),
            "less than or equal to 1024",
        ),
        ("/target/cloudVm/cpuCores", json!(1.5), "must be of type integer"),
        (
            "/target/cloudVm/memoryGb",
            json!(65_537),
            "less than or equal to 65536",
        ),
        (
            "/target/cloudVm/storageGb",
            json!(1_000_001),
            "less than or equal to 1000000",
        ),
        (
            "/target/cloudVm/storageGb",
            json!(0),
            "greater than or equal to 1",
        ),
        (
            "/target/cloudVm/name",
            json!("ab"),
            "should be at least 3 chars long",
        ),
        ("/target/cloudVm/name", json!(long), "Too long"),
        ("/target/cloudVm/name", json!("Web-01"), name),
        ("/target/cloudVm/name", json!("web-01-"), name),
        (
            "/target/cloudVm/region",
            json!("a/b"),
            "spec.target.cloudVm.region",
        ),
        ("/approval", json!({}), "set maxPrice (a ceiling), quoteId"),
        (
            "/approval/maxPrice",
            Value::Null,
            "set maxPrice (a ceiling), quoteId",
        ),
        (
            "/approval/validUntil",
            Value::Null,
            "validUntil is required with maxPrice: a ceiling left in Git must not buy again after a rebuild",
        ),
        (
            "/approval/validUntil",
            json!("tomorrow"),
            "must be of type date-time",
        ),
        (
            "/approval/validUntil",
            json!("2099-01-01"),
            "must be of type date-time",
        ),
        ("/approval", json!({"quoteId": "7k2m"}), "'^q-[a-z2-7]+$'"),
        (
            "/approval/maxPrice/perHour",
            json!("0,80"),
            "approval.maxPrice.perHour",
        ),
        (
            "/approval/maxPrice/perHour",
            json!("-1"),
            "approval.maxPrice.perHour",
        ),
        ("/approval/maxPrice/perHour", json!(0.8), "must be of type string"),
        ("/approval/maxPrice/perHour", Value::Null, "Required value"),
        (
            "/approval/maxPrice/currencyCode",
            json!("sek"),
            "should match '^[A-Z]{3}$'",
        ),
        ("/approval/maxPrice/currencyCode", json!("kronor"), "currencyCode"),
        (
            "/credentialsSecretRef",
            json!({"name": "Bad_Name"}),
            "credentialsSecretRef.name",
        ),
        (
            "/credentialsSecretRef",
            json!({"key": ""}),
            "credentialsSecretRef.key",
        ),
        ("/suspend", json!("yes"), "must be of type boolean"),
    ];
    let refused = rows.iter().enumerate().map(|(n, (pointer, value, says))| {
        let object = with(&env, &format!("bad-{n}"), pointer, value.clone());
        let env = &env;
        async move {
            let error = env
                .try_create(object)
                .await
                .expect_err(&format!("{pointer} = {value} was taken"));
            let text = error.to_string();
            assert!(text.contains(says), "{pointer} = {value}: {text}");
        }
    });
    join_all(refused).await;
    let none = env
        .restores()
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    assert!(none.items.is_empty());
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_strict_clients_and_pruned_for_others() {
    let env = TestEnv::new("unknown").await;
    let object = with(&env, "web", "/target/cloudVm/cores", json!(2));
    let yaml = object.to_string();
    let admin = env.plane.kubeconfig(User::Admin);
    let output = env
        .plane
        .kubectl_as(&admin, &["create", "-f", "-"], Some(&yaml))
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("unknown field \"spec.target.cloudVm.cores\""),
        "{error}"
    );
    let created = env.create(object).await;
    assert_eq!(created.data["spec"]["target"]["cloudVm"].get("cores"), None);
}

#[tokio::test]
async fn what_was_decided_cannot_be_edited_and_what_is_a_switch_can() {
    let env = TestEnv::new("edits").await;
    env.create(env.approved("web")).await;
    let mut plain = env.preview("plain");
    plain["spec"]["target"] = json!({"cloudVm": {}});
    env.create(plain).await;
    let secret = "credentialsSecretRef cannot be changed: put the new key into the same Secret, \
                  or create a VpsBackupRestore with another name";
    let refused = [
        ("web", json!({"source": {"vpsId": "vps_other"}}), RESTORE),
        ("web", json!({"source": {"backupId": "bkp_other"}}), RESTORE),
        (
            "web",
            json!({"source": {"backupId": null, "backup": "Latest"}}),
            RESTORE,
        ),
        ("web", json!({"target": {"cloudVm": {"cpuCores": 4}}}), TARGET),
        ("web", json!({"target": {"cloudVm": {"cpuCores": null}}}), TARGET),
        ("web", json!({"target": {"cloudVm": {"name": null}}}), TARGET),
        ("plain", json!({"target": {"cloudVm": {"storageGb": 90}}}), TARGET),
        (
            "plain",
            json!({"target": {"cloudVm": {"region": "stockholm"}}}),
            TARGET,
        ),
        ("web", json!({"credentialsSecretRef": {"name": "other"}}), secret),
        ("web", json!({"credentialsSecretRef": {"key": "other"}}), secret),
    ];
    for (name, spec, says) in refused {
        let error = env.patch(name, json!({"spec": spec})).await.unwrap_err();
        assert!(error.to_string().contains(says), "{spec}: {error}");
    }
    // Removing what has a default is no change.
    let same = json!({"spec": {"credentialsSecretRef": null, "suspend": null}});
    env.patch("web", same).await.unwrap();
    for spec in [
        json!({"suspend": true}),
        json!({"suspend": false}),
        json!({"approval": {"maxPrice": {"perHour": "0.90"}}}),
        json!({"approval": {"quoteId": "q-bbbbbbbbbb"}}),
        json!({"approval": {"maxPrice": null}}),
        json!({"approval": {"quoteId": "q-aaaaaaaaaa", "maxPrice": null, "validUntil": null}}),
        json!({"approval": null}),
    ] {
        let patched = env.patch("web", json!({"spec": spec})).await;
        assert!(patched.is_ok(), "{spec}: {patched:?}");
    }
    let object = env.restore("web").await;
    assert_eq!(at(&object, "spec.approval"), &Value::Null);
    assert_eq!(at(&object, "spec.credentialsSecretRef.name"), "hostup-api");
    assert_eq!(at(&object, "spec.credentialsSecretRef.key"), "token");
    assert_eq!(at(&object, "spec.suspend"), false);
}

#[tokio::test]
async fn an_object_that_nobody_has_looked_at_says_so() {
    let env = TestEnv::new("unseen").await;
    let mut object = env.preview("web");
    object.as_object_mut().unwrap().remove("status");
    env.create(object).await;
    let object = env.restore("web").await;
    assert_eq!(object["status"], json!({"observedGeneration": -1}));
}

#[tokio::test]
async fn a_record_cannot_be_edited_but_for_one_resolution() {
    let env = TestEnv::new("record").await;
    let operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    drop(operator);
    let name = env.records().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let patch = |spec: Value| {
        let env = &env;
        let name = name.clone();
        async move {
            let patch = kube::api::Patch::Merge(json!({"spec": spec}));
            let by = kube::api::PatchParams::default();
            env.operations().patch(&name, &by, &patch).await
        }
    };
    for spec in [
        json!({"attempt": 2}),
        json!({"tryOfGeneration": 2}),
        json!({"vpsId": "vps_other"}),
        json!({"intentDigest": "x"}),
        json!({"expectedVmName": "x"}),
        json!({"readingsDigest": "x"}),
        json!({"subject": {"name": "x"}}),
        json!({"credentialsRef": {"name": "x"}}),
        json!({"backup": {"id": "x"}}),
        json!({"request": {"body": "{}"}}),
        json!({"quote": {"perHour": "0.01"}}),
        json!({"gates": []}),
        json!({"orderedSize": {"cpuCores": 1}}),
        json!({"claim": {"holder": "mine"}}),
    ] {
        let error = patch(spec.clone()).await.unwrap_err().to_string();
        assert!(error.contains(RECORD), "{spec}: {error}");
    }
    let error = patch(json!({"resolution": {"answer": "Adopt"}}))
        .await
        .unwrap_err();
    let needs =
        "Adopt requires resolution.vpsId: the id of the VM that was bought, as HostUp's panel shows it";
    assert!(error.to_string().contains(needs), "{error}");
    let error = patch(json!({"resolution": {"answer": "Maybe"}}))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("supported values: \"NotExecuted\", \"Adopt\", \"Abandon\""),
        "{error}"
    );

    let early = patch(json!({"resolution": {"answer": "Abandon"}}))
        .await
        .unwrap_err();
    let only = "resolution answers an unknown outcome: it can be set only while status.state is Unknown";
    assert!(early.to_string().contains(only), "{early}");
    let unknown = json!({"status": {"state": "Unknown"}});
    env.operations()
        .patch_status(
            &name,
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&unknown),
        )
        .await
        .unwrap();
    patch(json!({"resolution": {"answer": "Abandon"}})).await.unwrap();
    let once = "resolution can be set only once; after status.resolutionRefused says why";
    for again in [
        json!({"answer": "NotExecuted"}),
        json!({"vpsId": "vps_x"}),
        Value::Null,
    ] {
        let error = patch(json!({"resolution": again})).await.unwrap_err();
        assert!(error.to_string().contains(once), "{again}: {error}");
    }
    env.check_invariants().await;
}

/// Every field below `spec` and `status`, as `kubectl explain` wants its path.
pub fn fields(path: &str, schema: &Value, found: &mut Vec<String>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.push(path.clone());
        fields(&path, child, found);
        fields(&path, &child["items"], found);
    }
}

#[tokio::test]
async fn kubectl_explains_every_field() {
    let env = TestEnv::new("explain").await;
    let explained = tokio::task::spawn_blocking(move || {
        for (file, crd) in crds::all() {
            let crd = serde_json::to_value(&crd).unwrap();
            let plural = crd["spec"]["names"]["plural"].as_str().unwrap();
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let whole = env.plane.kubectl_ok(&["explain", "--recursive", plural]).unwrap();
            let mut paths = Vec::new();
            for part in ["spec", "status"] {
                fields(
                    &format!("{plural}.{part}"),
                    &schema["properties"][part],
                    &mut paths,
                );
            }
            assert!(paths.len() > 30, "{file}: {paths:?}");
            for path in &paths {
                let name = path.rsplit('.').next().unwrap();
                assert!(
                    whole
                        .lines()
                        .any(|line| line.trim().starts_with(&format!("{name}\t"))),
                    "{path} is not in\n{whole}"
                );
            }
            // One of each depth as people ask for it, with its description.
            let deepest = paths.iter().max_by_key(|path| path.matches('.').count()).unwrap();
            for path in [&paths[0], deepest] {
                let text = env.plane.kubectl_ok(&["explain", path]).unwrap();
                let description = text.split("DESCRIPTION:").nth(1).unwrap_or_default().trim();
                assert!(
                    !description.is_empty() && !description.starts_with("<empty>"),
                    "{text}"
                );
            }
        }
    });
    explained.await.unwrap();
}

#[tokio::test]
async fn kubectl_get_shows_what_people_look_for() {
    let env = TestEnv::new("columns").await;
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    env.create(env.preview("plan")).await;
    let object = env.wait_for_reason("web", "Restored").await;
    env.wait_for_reason("plan", "AwaitingApproval").await;
    let ip = at(&object, "status.vm.primaryIp").as_str().unwrap();
    let vm = at(&object, "status.vm.vpsId").as_str().unwrap();
    let record = at(&object, "status.operation.name").as_str().unwrap();
    let source = at(&object, "spec.source.vpsId").as_str().unwrap();
    let table = |plane: &ControlPlane, args: &[&str]| -> Vec<Vec<String>> {
        let args = [&["-n", &env.namespace, "get"], args].concat();
        let text = plane.kubectl_ok(&args).unwrap();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().map(words).collect()
    };
    let rows = table(env.plane, &["vbr"]);
    assert_eq!(rows[0], ["NAME", "READY", "REASON", "PRICE", "JOB", "IP", "AGE"]);
    let plan = ["plan", "False", "AwaitingApproval", "0.66", "SEK/h"];
    assert_eq!(rows[1][..5], plan);
    assert_eq!(
        rows[2][..7],
        ["web", "True", "Restored", "0.66", "SEK/h", "completed", ip]
    );
    let wide = table(env.plane, &["vbr", "web", "-o", "wide"]);
    let named = at(&object, "status.vm.name").as_str().unwrap();
    assert_eq!(
        wide[0][7..],
        [
            "VM",
            "NEW-VPS",
            "VPS",
            "BACKUP",
            "PROGRESS",
            "OPERATION",
            "MESSAGE"
        ]
    );
    assert_eq!(wide[1][8..11], [named, vm, source]);
    // Its age in days.
    assert!(wide[1][11].ends_with('d'), "{}", wide[1][11]);
    assert_eq!(wide[1][12..14], ["100", record]);
    assert_eq!(
        wide[1][14..17],
        [
            "backup",
            at(&object, "spec.source.backupId").as_str().unwrap(),
            "restored"
        ]
    );
    let of_it = format!(
        "spec.subject.namespace={},spec.subject.name=web,status.state=",
        env.namespace
    );
    let named = |state: &str| {
        table(
            env.plane,
            &["vop", "-o", "name", "--field-selector", &(of_it.clone() + state)],
        )
    };
    assert_eq!(
        named("Succeeded"),
        [[format!("vpsoperation.vps.hostup.se/{record}")]]
    );
    assert!(named("Unknown").is_empty());
    let records = table(env.plane, &["vop", record]);
    assert_eq!(
        records[0],
        [
            "NAME",
            "STATE",
            "TYPE",
            "NAMESPACE",
            "SUBJECT",
            "PRICE",
            "NEW-VPS",
            "AGE"
        ]
    );
    let restored = "RestoreToCloudVm";
    assert_eq!(
        records[1][..8],
        [
            record,
            "Succeeded",
            restored,
            &env.namespace,
            "web",
            "0.66",
            "SEK/h",
            vm
        ]
    );
    let both = table(env.plane, &["hostup"]);
    let lists = |word: &str| both.iter().flatten().any(|cell| cell.contains(word));
    assert!(
        lists("vpsbackuprestore.vps.hostup.se/web") && lists(&format!("vpsoperation.vps.hostup.se/{record}"))
    );
    env.check_invariants().await;
}
