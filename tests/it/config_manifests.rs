//! What the API server takes of a `VpsResourceConfig`, what it refuses, and what it says then.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{TestEnv, at};

/// The approved example with one member replaced; a value of null removes it.
fn with(env: &TestEnv, name: &str, pointer: &str, value: &Value) -> Value {
    let mut object = env.approved_config(name, json!({"bandwidthGb": 4096}));
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = object["spec"].pointer_mut(parent).unwrap();
    match value {
        Value::Null => drop(parent.as_object_mut().unwrap().remove(member)),
        value => parent[member] = value.clone(),
    }
    object
}

#[tokio::test]
async fn wrong_configurations_are_refused_with_a_reason() {
    let env = TestEnv::new("wrongconfig").await;
    let many: Value = (0..33)
        .map(|n| (format!("option{n}"), json!(1)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let exactly = "set maxPrice (a ceiling), quoteId (the value of status.quote.id), or both";
    let rows: Vec<(&str, Value, &str)> = vec![
        (
            "/vpsId",
            Value::Null,
            "set either vpsId (or vpsName) with resources or cloudVm, or legacy",
        ),
        (
            "/resources",
            Value::Null,
            "set vpsId (or vpsName) together with exactly one of resources and cloudVm",
        ),
        (
            "/vpsId",
            json!("vps/../x"),
            "in body should match '^[A-Za-z0-9_-]+$'",
        ),
        ("/vpsId", json!(""), "should be at least 1 chars long"),
        (
            "/vpsName",
            json!("app-02"),
            "set either vpsId (or vpsName) with resources or cloudVm, or legacy",
        ),
        ("/vpsName", json!("a\nb"), "in body should match"),
        (
            "/legacy",
            json!({"vmid": 1, "resources": {"1": 1}}),
            "set either vpsId (or vpsName) with resources or cloudVm, or legacy",
        ),
        ("/resources", json!({}), "set at least one option"),
        (
            "/resources/extra",
            json!({"bandwidthGb": 1}),
            "set an option that has its own field in that field, not in extra",
        ),
        (
            "/resources/extra",
            json!({"a b": 1}),
            "a key of extra must be HostUp's name of an option",
        ),
        (
            "/resources/extra",
            json!({"gpu": true}),
            "spec.resources.extra.gpu",
        ),
        (
            "/resources/extra",
            json!({"gpu": [1]}),
            "spec.resources.extra.gpu",
        ),
        ("/resources/extra", many, "must have at most 32 items"),
        ("/resources/bandwidthGb", json!(-1), "greater than or equal to 0"),
        ("/resources/bandwidthGb", json!("4096"), "must be of type integer"),
        ("/resources/bandwidthGb", json!(1.5), "must be of type integer"),
        (
            "/resources/snapshotSlots",
            json!(10_001),
            "less than or equal to 10000",
        ),
        ("/resources/ipv6", json!(1), "must be of type boolean"),
        (
            "/driftPolicy",
            json!("Fix"),
            "supported values: \"Report\", \"Correct\"",
        ),
        ("/cancelExistingInvoice", json!("yes"), "must be of type boolean"),
        ("/suspend", json!("yes"), "must be of type boolean"),
        ("/approval", json!({}), exactly),
        ("/approval", json!({"quoteId": "7k2m"}), "'^q-[a-z2-7]+$'"),
        (
            "/approval/validUntil",
            json!("tomorrow"),
            "must be of type date-time",
        ),
        (
            "/approval/maxPrice/perMonth",
            json!("-1"),
            "approval.maxPrice.perMonth",
        ),
        (
            "/approval/maxPrice/dueNow",
            json!("1,50"),
            "approval.maxPrice.dueNow",
        ),
        ("/approval/maxPrice/dueNow", json!(40), "must be of type string"),
        ("/approval/maxPrice/currencyCode", Value::Null, "Required value"),
        (
            "/approval/maxPrice/currencyCode",
            json!("sek"),
            "should match '^[A-Z]{3}$'",
        ),
        (
            "/credentialsSecretRef",
            json!({"name": "Bad_Name"}),
            "credentialsSecretRef.name",
        ),
    ];
    refused(
        &env,
        rows.iter().map(|(pointer, value, says)| {
            (
                format!("{pointer} = {value}"),
                with(&env, "bad", pointer, value),
                *says,
            )
        }),
    )
    .await;
}

#[tokio::test]
async fn a_ceiling_for_a_vps_by_its_name_must_end() {
    let env = TestEnv::new("namedceiling").await;
    let mut object = env.approved_config("bad", json!({"bandwidthGb": 4096}));
    object["spec"]["vpsId"] = Value::Null;
    object["spec"]["vpsName"] = json!("app-02");
    let says = "validUntil is required with maxPrice and vpsName";
    refused(&env, [("no end".to_owned(), object.clone(), says)].into_iter()).await;
    object["spec"]["approval"]["validUntil"] = json!("2099-01-01T00:00:00Z");
    env.create(object).await;
}

#[tokio::test]
async fn wrong_sizes_are_refused_with_a_reason() {
    let env = TestEnv::new("wrongsize").await;
    let with = |pointer: &str, value: Value| {
        let mut object = env.approved_resize("bad");
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[member] = value;
        object
    };
    let rows = [
        ("/spec/cloudVm/cpuCores", json!(0), "greater than or equal to 1"),
        ("/spec/cloudVm/cpuCores", json!(33), "less than or equal to 32"),
        ("/spec/cloudVm/memoryGb", json!(257), "less than or equal to 256"),
        ("/spec/cloudVm/memoryGb", Value::Null, "Required value"),
        (
            "/spec/resources",
            json!({"ipv6": true}),
            "set vpsId (or vpsName) together with exactly one of resources and cloudVm",
        ),
        (
            "/spec/approval/maxPrice",
            json!({"perMonth": "9.00", "currencyCode": "SEK"}),
            "set maxPrice.perHour with cloudVm, and only with cloudVm",
        ),
        (
            "/spec/approval/maxPrice/dueNow",
            json!("1.00"),
            "cloudVm does not support maxPrice.dueNow and maxPrice.perMonth",
        ),
        (
            "/spec/cancelExistingInvoice",
            json!(true),
            "cloudVm does not support cancelExistingInvoice",
        ),
    ];
    let rows = rows.map(|(pointer, value, says)| {
        let what = format!("{pointer} = {value}");
        (what, with(pointer, value), says)
    });
    refused(&env, rows.into_iter()).await;
    let mut options = env.approved_config("bad", json!({"ipv6": true}));
    options["spec"]["approval"]["maxPrice"] = json!({"perHour": "9.00", "currencyCode": "SEK"});
    let says = "set maxPrice.perHour with cloudVm, and only with cloudVm";
    refused(
        &env,
        [("an hour of options".to_owned(), options, says)].into_iter(),
    )
    .await;
    env.create(env.approved_resize("good")).await;
}

#[tokio::test]
async fn wrong_orders_of_the_older_route_are_refused_with_a_reason() {
    let env = TestEnv::new("wronglegacy").await;
    let of = |spec: Value| {
        let mut object = env.config_preview("bad", json!({}));
        object["spec"] = spec;
        object
    };
    let good = || json!({"legacy": {"vmid": 10_000, "resources": {"2231": 400}}});
    let changed = |pointer: &str, value: Value| {
        let mut spec = good();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[member] = value;
        of(spec)
    };
    let rows = [
        (changed("/legacy/vmid", json!(0)), "greater than or equal to 1"),
        (
            changed("/legacy/resources", json!({})),
            "should have at least 1 properties",
        ),
        (
            changed("/legacy/resources", json!({"bandwidthGb": 1})),
            "a key of legacy.resources must be the number of an option",
        ),
        (
            changed("/legacy/resources", json!({"2231": "400"})),
            "must be of type integer",
        ),
        (changed("/legacy/cycle", json!("M")), "should match '^[a-z0-9]+$'"),
        (
            changed("/legacy/package", json!("VPS XL")),
            "should match '^[0-9]+$'",
        ),
        (
            changed("/driftPolicy", json!("Correct")),
            "legacy does not support driftPolicy, cancelExistingInvoice and backupFirst",
        ),
        (
            changed("/backupFirst", json!(true)),
            "legacy does not support driftPolicy, cancelExistingInvoice and backupFirst",
        ),
        (
            changed("/cancelExistingInvoice", json!(true)),
            "legacy does not support driftPolicy, cancelExistingInvoice and backupFirst",
        ),
    ];
    refused(
        &env,
        rows.into_iter()
            .map(|(object, says)| (says.to_owned(), object, says)),
    )
    .await;
    env.create(of(good())).await;
}

async fn refused<'a>(env: &TestEnv, rows: impl Iterator<Item = (String, Value, &'a str)>) {
    let tried = rows.enumerate().map(|(n, (what, mut object, says))| {
        object["metadata"]["name"] = json!(format!("bad-{n}"));
        async move {
            let error = env
                .try_create(object)
                .await
                .expect_err(&format!("{what} was taken"));
            assert!(error.to_string().contains(says), "{what}: {error}");
        }
    });
    join_all(tried).await;
    assert!(
        env.configs()
            .list(&kube::api::ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn the_target_cannot_be_edited_and_wishes_and_consent_can() {
    let env = TestEnv::new("configedits").await;
    env.create(env.approved_config("web", json!({"bandwidthGb": 4096})))
        .await;
    let mut legacy = env.config_preview("old", json!({}));
    legacy["spec"] = json!({"legacy": {"vmid": 10_000, "resources": {"2231": 400}}});
    env.create(legacy).await;
    let edit = |name: &'static str, spec: Value| {
        let env = &env;
        async move {
            let patch = json!({"spec": spec});
            let by = kube::api::PatchParams::default();
            env.configs()
                .patch(name, &by, &kube::api::Patch::Merge(&patch))
                .await
        }
    };
    let other = "create a VpsResourceConfig with another name";
    for (name, spec, says) in [
        ("web", json!({"vpsId": "vps_other"}), other),
        ("web", json!({"vpsId": null, "vpsName": "app-02"}), other),
        (
            "web",
            json!({"vpsId": null, "resources": null, "legacy": {"vmid": 1, "resources": {"1": 1}}}),
            other,
        ),
        ("old", json!({"legacy": {"vmid": 10_001}}), other),
        ("old", json!({"legacy": {"resources": {"2231": 500}}}), other),
        (
            "old",
            json!({"legacy": null, "vpsId": "vps_1", "resources": {"ipv6": true}}),
            other,
        ),
        (
            "web",
            json!({"resources": {"bandwidthGb": null}}),
            "set at least one option",
        ),
    ] {
        let error = edit(name, spec.clone())
            .await
            .expect_err(&format!("{spec} was taken"));
        assert!(error.to_string().contains(says), "{spec}: {error}");
    }
    for spec in [
        json!({"resources": {"bandwidthGb": 8192, "extra": {"gpuProfile": "small", "n": 3}}}),
        json!({"approval": null}),
        json!({"approval": {"quoteId": "q-aaaaaaaaaa"}}),
        json!({"driftPolicy": "Correct", "cancelExistingInvoice": true, "suspend": true}),
        json!({"credentialsSecretRef": {"name": "other"}}),
    ] {
        edit("web", spec.clone())
            .await
            .unwrap_or_else(|error| panic!("{spec}: {error}"));
    }
}

#[tokio::test]
async fn kubectl_shows_how_options_stand() {
    let env = TestEnv::new("configget").await;
    let object = env
        .create(env.config_preview("web", json!({"bandwidthGb": 4096})))
        .await;
    let object = serde_json::to_value(object).unwrap();
    assert_eq!(at(&object, "status.observedGeneration"), -1);
    assert_eq!(at(&object, "spec.driftPolicy"), "Report");
    assert_eq!(at(&object, "spec.credentialsSecretRef.name"), "hostup-api");
    let _operator = env.operator(&[]);
    env.config_comes_to("web", "AwaitingApproval").await;
    let get = |wide: &str| {
        let args = ["-n", &env.namespace, "get", "vrc", "-o", wide];
        env.plane.kubectl_ok(&args).unwrap()
    };
    let table = get("wide");
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(
        head,
        [
            "NAME",
            "READY",
            "REASON",
            "VPS",
            "PRICE",
            "AGE",
            "INVOICE",
            "OPERATION",
            "MESSAGE"
        ]
    );
    let row = lines.next().unwrap();
    for cell in [
        "web",
        "False",
        "AwaitingApproval",
        &env.vps,
        "40.00 SEK now, 40.00 SEK/month",
    ] {
        assert!(row.contains(cell), "{cell} is not in {row}");
    }
    assert!(get("name").contains("vpsresourceconfig.vps.hostup.se/web"));
    let all = env
        .plane
        .kubectl_ok(&["-n", &env.namespace, "get", "hostup", "-o", "name"])
        .unwrap();
    assert!(all.contains("vpsresourceconfig.vps.hostup.se/web"), "{all}");
}
