//! The schema takes what the types hold, and no more: bounds of every number, text, list and map, and what the API
//! server makes of the values at each of them.

use std::time::{Duration, Instant};

use control_plane::{ControlPlane, User};
use futures::{StreamExt, stream};
use hostup_operator::api::budget::VpsBudget;
use hostup_operator::api::config::VpsResourceConfig;
use hostup_operator::api::operation::VpsOperation;
use hostup_operator::api::restore::VpsBackupRestore;
use hostup_operator::api::{self, crds};
use hostup_operator::domain::ledger::names::ChainKey;
use k8s_openapi::api::events::v1::Event;
use kube::CustomResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::budgets;
use crate::support::{OwnPlane, PATIENCE, TestEnv, at, condition, own_control_plane, ready};

/// Whole numbers that JSON's readers agree upon.
const EXACT: i64 = 9_007_199_254_740_991;

#[test]
fn every_number_text_list_and_map_is_bounded_within_its_type() {
    let typed = [
        VpsBackupRestore::crd(),
        VpsResourceConfig::crd(),
        VpsOperation::crd(),
        VpsBudget::crd(),
    ];
    let mut loose = Vec::new();
    for ((file, shipped), typed) in crds::all().into_iter().zip(typed) {
        let typed = serde_json::to_value(typed).unwrap();
        for part in ["spec", "status"] {
            let of = |crd: &Value| {
                crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part].clone()
            };
            bounded(&format!("{file} {part}"), &of(&shipped), &of(&typed), &mut loose);
        }
    }
    assert!(loose.is_empty(), "{}", loose.join("\n"));
}

/// The numbers that the type behind this word of the derive holds.
fn range_of(format: &str) -> (i64, i64) {
    match format {
        "uint8" => (0, i64::from(u8::MAX)),
        "uint16" => (0, i64::from(u16::MAX)),
        "uint32" => (0, i64::from(u32::MAX)),
        "int32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "int64" => (-EXACT, EXACT),
        other => panic!("no range of {other:?} is known here"),
    }
}

fn bounded(path: &str, shipped: &Value, typed: &Value, loose: &mut Vec<String>) {
    let either = shipped["x-kubernetes-int-or-string"] == true;
    let is = |kind: &str| shipped["type"] == kind;
    if is("integer") || either {
        let format = typed["format"].as_str().unwrap_or("int32");
        let (least, most) = range_of(format);
        let bound = |name: &str| shipped[name].as_i64();
        if bound("minimum").is_none_or(|min| min < least) || bound("maximum").is_none_or(|max| max > most) {
            loose.push(format!(
                "{path}: not within the {least} to {most} of {format}: {shipped}"
            ));
        }
    }
    let closed = shipped["enum"].is_array() || shipped["format"] == "date-time";
    if (is("string") && !closed || either) && shipped["maxLength"].is_null() {
        loose.push(format!("{path}: a text without maxLength"));
    }
    if is("array") && shipped["maxItems"].is_null() {
        loose.push(format!("{path}: a list without maxItems"));
    }
    if shipped["additionalProperties"].is_object() && shipped["maxProperties"].is_null() {
        loose.push(format!("{path}: a map without maxProperties"));
    }
    for member in ["items", "additionalProperties"] {
        if shipped[member].is_object() {
            bounded(
                &format!("{path}.{member}"),
                &shipped[member],
                &typed[member],
                loose,
            );
        }
    }
    for (name, child) in shipped["properties"].as_object().into_iter().flatten() {
        bounded(
            &format!("{path}.{name}"),
            child,
            &typed["properties"][name],
            loose,
        );
    }
}

/// Objects that between them have every field of a kind, each of one valid shape.
struct Kind {
    plural: &'static str,
    schema: Value,
    objects: Vec<Value>,
    /// Whether the types read it, and what they make of it.
    read: fn(Value) -> Result<(), String>,
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "vps.hostup.se/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn conditions() -> Value {
    json!([{
        "type": "Ready", "status": "True", "reason": "Restored", "message": "m", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }])
}

fn quote() -> Value {
    json!({
        "id": "q-a", "replaces": "q-b", "endedBefore": "b", "summary": "s", "currencyCode": "SEK", "perHour": "1", "perHourDifference": "1", "perMonth": "1", "perCycle": "1",
        "estimatedPerMonth": "1", "recurringPerMonth": "1", "dueNow": "1",
        "rates": {
            "currencyCode": "SEK", "cpuPerCoreHour": "1", "memoryPerGbHour": "1", "storagePerGbHour": "1",
            "ipPerHour": "1", "bandwidthPerGb": "1",
        },
    })
}

fn gates() -> Value {
    json!([{"name": "canRestore", "source": "HostUp", "allowed": true, "advisory": true, "code": "c", "reason": "r"}])
}

fn backup() -> Value {
    json!({
        "id": "bkp_a", "createdAt": "2026-01-01T00:00:00Z", "sizeGb": "1", "type": "manual", "note": "before the move",
    })
}

/// A record with every field.
pub fn record(name: &str) -> Value {
    let vm = json!({"vpsId": "vps_b", "name": "web", "primaryIp": "192.0.2.1"});
    let size = json!({"cpuCores": 1, "memoryGb": 1, "storageGb": 1});
    let backup = backup();
    let invoice =
        json!({"id": "1", "amount": "1", "currencyCode": "SEK", "dueAt": "soon", "paymentUrl": "/p"});
    let mut record = object(
        "VpsOperation",
        name,
        json!({
            "type": "RestoreToCloudVm",
            "subject": {"kind": "VpsBackupRestore", "namespace": "n", "name": "o", "uid": "u", "generation": 1},
            "intentDigest": "d", "attempt": 1, "tryOfGeneration": 1, "vpsId": "vps_a", "backup": backup,
            "credentialsRef": {"namespace": "n", "name": "s", "key": "k", "resourceVersion": "1"},
            "request": {"method": "POST", "path": "/p", "body": "{}"},
            "quote": quote(), "gates": gates(), "readingsDigest": "d", "expectedVmName": "web-a",
            "orderedSize": size, "changes": {"from": {"a": "1"}, "to": {"a": "2"}, "correctsDrift": true},
            "follows": "a-1",
            "approval": {
                "type": "Ceiling", "maxPrice": "1 SEK/h", "validUntil": "2026-01-01T00:00:00Z", "approvedBy": "anna",
            },
            "claim": {
                "holder": "h", "instanceId": "i", "madeAt": "2026-01-01T00:00:00Z",
                "sendBefore": "2026-01-01T00:00:00Z",
            },
            "resolution": {"answer": "Adopt", "vpsId": "vps_b"},
        }),
    );
    record["status"] = json!({
        "state": "Unknown", "message": "m", "code": "c", "detail": "d", "requestId": "r", "job": {"id": "j", "pollUrl": "/p", "status": "queued"}, "backupId": "bkp_b", "result": vm,
        "resultEnd": {"seenTime": "2026-01-01T00:00:00Z", "serviceStatus": "terminated"}, "resultSize": size, "invoice": invoice, "chargedMore": "400.00 SEK", "suggestsCancelling": true, "evidence": "NoneFound",
        "estimate": {"draftId": "1", "total": "1", "recurring": "1", "currencyCode": "SEK"},
        "quietSince": "2026-01-01T00:00:00Z", "notBefore": "2026-01-01T00:00:00Z",
        "acceptedTime": "2026-01-01T00:00:00Z", "completedTime": "2026-01-01T00:00:00Z", "resolutionRefused": "r",
        "conditions": conditions(),
    });
    record
}

fn kinds() -> [Kind; 4] {
    let credentials = json!({"name": "hostup-api", "key": "token"});
    let operation = json!({"name": "a-1", "state": "Sending", "attempt": 1});
    let invoice =
        json!({"id": "1", "amount": "1", "currencyCode": "SEK", "dueAt": "soon", "paymentUrl": "/p"});
    let vm = json!({"vpsId": "vps_b", "name": "web", "primaryIp": "192.0.2.1"});
    let backup = backup();
    let restore = |name: &str, source: Value, approval: Value| {
        let cloud_vm = json!({
            "name": "web", "region": "stockholm", "cpuCores": 1, "memoryGb": 1, "storageGb": 1,
        });
        object(
            "VpsBackupRestore",
            name,
            json!({
                "source": source, "target": {"cloudVm": cloud_vm}, "approval": approval,
                "credentialsSecretRef": credentials, "suspend": true,
            }),
        )
    };
    let mut by_ceiling = restore(
        "ceiling",
        json!({"vpsId": "vps_a", "backupId": "bkp_a"}),
        json!({"maxPrice": {"perHour": "1", "currencyCode": "SEK"}, "validUntil": "2026-01-01T00:00:00Z", "quoteId": "q-a", "approvedBy": "anna"}),
    );
    by_ceiling["spec"]["writeOutputsTo"] = json!({"configMap": "web-a"});
    by_ceiling["status"] = json!({
        "observedGeneration": 1, "conditions": conditions(), "quote": quote(), "gates": gates(), "gatesClosedAfter": "a-1",
        "source": {"vpsId": "vps_a"}, "backup": backup, "operation": operation, "vm": vm,
        "target": {"name": "web-a", "vpsId": "vps_b", "region": "stockholm", "cpuCores": 1, "memoryGb": 1, "storageGb": 1},
        "job": {"id": "j", "status": "running", "progress": 25}, "lastHandledReconcileAt": "now",
    });
    let by_selector = restore(
        "selector",
        json!({"vpsId": "vps_a", "backupSelector": {
            "before": "2026-01-01T00:00:00Z", "maxAge": "7d", "type": "manual", "note": "n",
        }}),
        json!({"quoteId": "q-a"}),
    );
    let by_quote = restore(
        "quote",
        json!({"vpsName": "web-01", "backup": "Latest", "maxAge": "36h"}),
        json!({"quoteId": "q-a"}),
    );

    let made = json!({"id": "bkp_b", "operation": "a-1"});
    let onto = |name: &str, vps: Value| {
        let source = json!({"vpsId": "vps_a", "backupId": "bkp_a"});
        let mut object = restore(name, source, json!({"quoteId": "q-a"}));
        object["spec"]["target"] = json!({"existingVps": vps});
        object["spec"]["backupFirst"] = json!(true);
        object["status"] = json!({"observedGeneration": 1, "backupFirst": made});
        object
    };
    let onto_id = onto("onto-id", json!({"vpsId": "vps_b"}));
    let onto_name = onto("onto-name", json!({"vpsName": "web-01"}));
    let size = object(
        "VpsResourceConfig",
        "size",
        json!({
            "vpsId": "vps_b", "cloudVm": {"cpuCores": 1, "memoryGb": 1},
            "approval": {"maxPrice": {"perHour": "1", "currencyCode": "SEK"}},
        }),
    );

    let mut options = object(
        "VpsResourceConfig",
        "options",
        json!({
            "vpsId": "vps_a", "credentialsSecretRef": credentials, "suspend": true,
            "cancelExistingInvoice": true, "driftPolicy": "Correct", "backupFirst": true,
            "resources": {
                "bandwidthGb": 1, "backupSlots": 1, "snapshotSlots": 1, "ipv4Count": 1,
                "additionalStorageGb": 1, "storageGb": 1, "ipv6": true, "extra": {"gpu": 1},
            },
            "approval": {
                "maxPrice": {"dueNow": "1", "perMonth": "1", "currencyCode": "SEK"},
                "validUntil": "2026-01-01T00:00:00Z", "quoteId": "q-a", "approvedBy": "anna",
            },
        }),
    );
    options["status"] = json!({
        "observedGeneration": 1, "conditions": conditions(), "vpsId": "vps_a", "current": {"gpu": "1"}, "inForce": "a",
        "committedDryRun": "a", "quote": quote(), "gates": gates(), "gatesClosedAfter": "a-1", "operation": operation,
        "invoice": invoice, "lastHandledReconcileAt": "now", "backupFirst": made,
    });
    let mut by_name = object(
        "VpsResourceConfig",
        "named",
        json!({"vpsName": "web-01", "resources": {"ipv6": true}}),
    );
    by_name["status"] = json!({"observedGeneration": -1, "vpsId": "vps_a"});
    let legacy = object(
        "VpsResourceConfig",
        "legacy",
        json!({
            "legacy": {"vmid": 1, "resources": {"1": 1}, "cycle": "m", "package": "1"},
            "approval": {"quoteId": "q-a"},
        }),
    );

    let record = record("bounds");

    let limit = json!({"used": "1", "inProgress": "1", "left": "1", "summary": "s"});
    let mut budget = object(
        "VpsBudget",
        "budget",
        json!({
            "namespaceSelector": {
                "matchLabels": {"team": "nobody"},
                "matchExpressions": [{"key": "team", "operator": "In", "values": ["nobody"]}],
            },
            "currencyCode": "SEK", "perHour": "1", "perMonth": "1", "dueNow": {"amount": "1", "window": "7d"},
        }),
    );
    budget["status"] = json!({
        "observedGeneration": 1, "conditions": conditions(), "perHour": limit, "perMonth": limit, "dueNow": limit,
    });

    let mut schemas = crds::all()
        .into_iter()
        .map(|(_, crd)| crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone());
    let mut schema = || schemas.next().unwrap();
    [
        Kind {
            plural: "vpsbackuprestores",
            schema: schema(),
            objects: vec![by_ceiling, by_quote, by_selector, onto_id, onto_name],
            read: |object| {
                let object: VpsBackupRestore = read(object)?;
                api::restore_intent(&object)
                    .map(drop)
                    .map_err(|error| error.to_string())
            },
        },
        Kind {
            plural: "vpsresourceconfigs",
            schema: schema(),
            objects: vec![options, by_name, legacy, size],
            read: |object| {
                let mut object: VpsResourceConfig = read(object)?;
                // A name is resolved before anything else is made of the object.
                let resolved = object.spec.vps_name.as_ref().map(|_| "vps_a".to_owned());
                object.status.get_or_insert_default().vps_id = resolved;
                api::config_intent(&object)
                    .map(drop)
                    .map_err(|error| error.to_string())
            },
        },
        Kind {
            plural: "vpsoperations",
            schema: schema(),
            objects: vec![record],
            // What it says is judged elsewhere; a person may write what no operator does.
            read: |object| read::<VpsOperation>(object).map(drop),
        },
        Kind {
            plural: "vpsbudgets",
            schema: schema(),
            objects: vec![budget],
            read: |object| {
                let object: VpsBudget = read(object)?;
                api::budget(&object).map(drop).map_err(|error| error.to_string())
            },
        },
    ]
}

fn read<K: serde::de::DeserializeOwned>(object: Value) -> Result<K, String> {
    serde_json::from_value(object).map_err(|error| error.to_string())
}

/// Every leaf of an object that the schema knows, by its path.
fn leaves(path: &str, schema: &Value, object: &Value, found: &mut Vec<(String, Value)>) {
    if let Some(members) = schema["properties"].as_object() {
        for (name, child) in members {
            if !object[name].is_null() {
                leaves(&format!("{path}/{name}"), child, &object[name], found);
            }
        }
    } else if schema["items"].is_object() {
        leaves(&format!("{path}/0"), &schema["items"], &object[0], found);
    } else if schema["additionalProperties"].is_object() {
        let (key, value) = object.as_object().unwrap().iter().next().unwrap();
        leaves(
            &format!("{path}/{key}"),
            &schema["additionalProperties"],
            value,
            found,
        );
    } else {
        found.push((path.to_owned(), schema.clone()));
    }
}

/// Every leaf of a schema, by the path that an object with one item and one key everywhere would have.
fn leaves_of_schema(path: &str, schema: &Value, found: &mut Vec<String>) {
    if let Some(members) = schema["properties"].as_object() {
        for (name, child) in members {
            leaves_of_schema(&format!("{path}/{name}"), child, found);
        }
    } else if let Some(inner) = ["items", "additionalProperties"]
        .into_iter()
        .map(|member| &schema[member])
        .find(|inner| inner.is_object())
    {
        leaves_of_schema(&format!("{path}/*"), inner, found);
    } else {
        found.push(path.to_owned());
    }
}

/// A value for a leaf, and whether the schema's own words let it in; `None` where a pattern or a rule decides.
type Candidate = (Value, Option<bool>);

fn candidates(schema: &Value) -> Vec<Candidate> {
    let either = schema["x-kubernetes-int-or-string"] == true;
    let mut all: Vec<Candidate> = vec![
        // No leaf is a list or an object, and none may be null.
        (json!([]), Some(false)),
        (json!({}), Some(false)),
        (Value::Null, None),
    ];
    if schema["type"] == "integer" || either {
        let bound = |name: &str| schema[name].as_i64();
        let (least, most) = (
            bound("minimum").unwrap_or(i64::MIN),
            bound("maximum").unwrap_or(i64::MAX),
        );
        all.extend([
            (json!(least), Some(true)),
            (json!(most), Some(true)),
            (json!(least.saturating_sub(1)), Some(least == i64::MIN)),
            (json!(most.saturating_add(1)), Some(most == i64::MAX)),
            (json!(u64::MAX), None),
            (json!(1e300), None),
            (json!(-1e300), None),
            (json!(1.5), Some(false)),
        ]);
        // As a program writes it that knows no whole numbers.
        let float: Value = serde_json::from_str("1.0").unwrap();
        all.push((float, None));
    }
    if let Some(words) = schema["enum"].as_array() {
        all.extend(words.iter().map(|word| (word.clone(), Some(true))));
        all.push((json!("nonsense"), Some(false)));
    } else if schema["type"] == "string" || either {
        let most = usize::try_from(schema["maxLength"].as_u64().unwrap_or(100_000)).unwrap();
        for letter in [
            "é", "🦀", "a", "A", "0", "\"", "\\", "\n", "\u{1b}", "\u{202e}", "-",
        ] {
            all.push((json!(letter), None));
            all.push((json!(letter.repeat(most)), None));
            all.push((json!(letter.repeat(most + 1)), Some(false)));
        }
        let quote = format!("q-{}", "a".repeat(most.saturating_sub(2)));
        let amount = format!("0.{}", "9".repeat(most.saturating_sub(2)));
        all.extend([(json!(quote), None), (json!(amount), None), (json!(""), None)]);
    }
    if schema["type"] == "boolean" {
        all.extend([
            (json!(true), Some(true)),
            (json!("true"), Some(false)),
            (json!(1), Some(false)),
        ]);
    }
    all
}

/// What the API server makes of an object, without keeping it.
async fn tried(api: &Api<DynamicObject>, object: &Value, in_status: bool) -> Result<Value, String> {
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let name = at(object, "metadata.name").as_str().unwrap();
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let answer = if in_status {
        api.replace_status(name, &dry, &object).await
    } else {
        api.create(&dry, &object).await
    };
    match answer {
        Ok(object) => Ok(serde_json::to_value(object).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_the_api_server_admits_at_a_bound_the_types_read() {
    // Its budget would be counted for by the operators of others.
    let own = OwnPlane::start(own_control_plane).await;
    let env = TestEnv::on(own.0, "bounds").await;
    let mut wrong = Vec::new();
    let mut tries = Vec::new();
    for kind in kinds() {
        let mut known = Vec::new();
        leaves_of_schema(
            "",
            &json!({"properties": {
                "spec": kind.schema["properties"]["spec"], "status": kind.schema["properties"]["status"],
            }}),
            &mut known,
        );
        let api: Api<DynamicObject> = match kind.plural {
            "vpsbackuprestores" => env.restores(),
            "vpsresourceconfigs" => env.configs(),
            "vpsbudgets" => budgets::budgets(&env),
            _ => env.operations(),
        };
        let mut had = Vec::new();
        for mut base in kind.objects {
            let name = at(&base, "metadata.name").as_str().unwrap().to_owned();
            let name = format!("{name}-{}", env.namespace);
            base["metadata"]["name"] = json!(name);
            if !["vpsoperations", "vpsbudgets"].contains(&kind.plural) {
                base["metadata"]["namespace"] = json!(env.namespace);
            }
            let mut found = Vec::new();
            for part in ["spec", "status"] {
                if !base[part].is_null() {
                    leaves(
                        &format!("/{part}"),
                        &kind.schema["properties"][part],
                        &base[part],
                        &mut found,
                    );
                }
            }
            // Its status can be tried on an object that is there only.
            let there = env.create(base.clone()).await;
            let version = there.metadata.resource_version.clone().unwrap();
            for (path, schema) in found {
                let in_status = path.starts_with("/status");
                for (value, admitted) in candidates(&schema) {
                    // The API server takes an empty list for a date-time; what the operator makes of it another test
                    // tells.
                    if value == json!([]) && schema["format"] == "date-time" {
                        continue;
                    }
                    // A rule says which operators have values.
                    let admitted = admitted.filter(|_| !path.ends_with("/operator"));
                    let mut object = base.clone();
                    *object.pointer_mut(&path).unwrap() = value.clone();
                    if in_status {
                        object["metadata"]["resourceVersion"] = json!(version);
                    } else {
                        object["metadata"]["name"] = json!(format!("{name}-dry"));
                    }
                    tries.push((
                        api.clone(),
                        path.clone(),
                        object,
                        in_status,
                        value,
                        admitted,
                        kind.read,
                    ));
                }
                had.push((path, schema));
            }
        }
        let like = |known: &str, path: &str| {
            known.split('/').count() == path.split('/').count()
                && known
                    .split('/')
                    .zip(path.split('/'))
                    .all(|(known, path)| known == "*" || known == path)
        };
        for known in known {
            if !had.iter().any(|(path, _)| like(&known, path)) {
                wrong.push(format!("{} {known}: no object of this test has it", kind.plural));
            }
        }
    }
    let found: Vec<Vec<String>> = stream::iter(tries)
        .map(
            |(api, path, object, in_status, value, admitted, read)| async move {
                let shown: String = value.to_string().chars().take(60).collect();
                let mut wrong = Vec::new();
                let answer = tried(&api, &object, in_status).await;
                if admitted.is_some_and(|admitted| admitted != answer.is_ok()) {
                    wrong.push(format!(
                        "{path} {shown}: admitted: {}: {answer:?}",
                        answer.is_ok()
                    ));
                }
                if let Ok(stored) = answer {
                    let stored = serde_json::from_str(&stored.to_string()).unwrap();
                    // What nobody should be shown is refused by the operator, with the path.
                    let unprintable = value
                        .as_str()
                        .is_some_and(|text| text.contains(['\n', '\u{1b}', '\u{202e}']));
                    let named = format!("{}: ", path.trim_start_matches('/').replace('/', "."));
                    // What an operator of a later version writes is a word that this one does not know.
                    let is_word =
                        ["/spec/type", "/status/state", "/status/evidence"].contains(&path.as_str());
                    match read(stored) {
                        Err(why) if is_word && why.contains("unknown variant") => {}
                        Err(why) if !(unprintable && why.starts_with(&named)) => {
                            wrong.push(format!("{path} {shown}: admitted, and then: {why}"));
                        }
                        Err(_) | Ok(()) => {}
                    }
                }
                wrong
            },
        )
        .buffer_unordered(8)
        .collect()
        .await;
    wrong.extend(found.into_iter().flatten());
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// Times as people and programs write them, each of a sort that RFC 3339 has or nearly has.
fn times() -> Vec<String> {
    let mut times = Vec::new();
    for date in [
        "0000-01-01",
        "0001-01-01",
        "1969-12-31",
        "2026-02-29",
        "2028-02-29",
        "9999-12-31",
        "10000-01-01",
    ] {
        for (join, clock) in [
            ("T", "00:00:00"),
            ("t", "23:59:59"),
            ("T", "23:59:60"),
            ("T", "24:00:00"),
            (" ", "00:00:00"),
        ] {
            for fraction in ["", ".5", ".123456789123456", "x1", ".", ",5"] {
                for offset in [
                    "Z", "z", "+00:00", "-00:00", "+23:59", "-23:59", "+24:00", "+00:60", "+0100", "", "ZTZ",
                ] {
                    times.push(format!("{date}{join}{clock}{fraction}{offset}"));
                }
            }
        }
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_time_that_the_api_server_admits_is_understood_and_the_others_are_explained() {
    let env = TestEnv::new("times").await;
    let rows = times().into_iter().map(|time| {
        let mut object = env.approved("web");
        object["spec"]["approval"]["validUntil"] = json!(time);
        let api = env.restores();
        async move {
            match tried(&api, &object, false).await {
                Ok(stored) => {
                    let stored: VpsBackupRestore = read(stored).unwrap();
                    let read = api::restore_intent(&stored);
                    assert!(read.is_ok(), "{time} is admitted, and then: {read:?}");
                    true
                }
                Err(why) => {
                    assert!(why.contains("spec.approval"), "{time}: {why}");
                    false
                }
            }
        }
    });
    let admitted: Vec<bool> = stream::iter(rows).buffer_unordered(8).collect().await;
    let admitted = admitted.into_iter().filter(|admitted| *admitted).count();
    assert!(admitted > 40, "{admitted} were admitted");
}

#[tokio::test]
async fn an_approval_until_the_end_of_times_buys() {
    let env = TestEnv::new("forever").await;
    let _operator = env.operator(&[]);
    let mut object = env.approved("web");
    object["spec"]["approval"]["validUntil"] = json!("9999-12-31T23:59:59Z");
    env.create(object).await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.posts(), env.executed()), (1, 1));
}

/// Lets the API server take anything for a while, as an older schema would have.
fn relaxed(plane: &ControlPlane, relax: bool) {
    for (_, mut crd) in crds::all() {
        if relax {
            let version = &mut crd["spec"]["versions"][0];
            version["schema"]["openAPIV3Schema"] = json!({
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            });
            // Without the subresource a status can be given at once.
            for part in ["selectableFields", "subresources", "additionalPrinterColumns"] {
                version.as_object_mut().unwrap().remove(part);
            }
        }
        let crd = crds::to_yaml(&crd).unwrap();
        plane
            .kubectl_as(
                &plane.kubeconfig(User::Admin),
                &["replace", "-f", "-"],
                Some(&crd),
            )
            .map(|output| assert!(output.status.success(), "{output:?}"))
            .unwrap();
    }
}

/// Creates it as soon as the API server takes it.
async fn created(env: &TestEnv, object: Value) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = env.try_create(object.clone()).await {
        assert!(Instant::now() < deadline, "{error} on {object}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The first warning that the object is told.
async fn warning_about(env: &TestEnv, name: &str) -> Event {
    let events: Api<Event> = Api::namespaced(env.client.clone(), &env.namespace);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = events.list(&kube::api::ListParams::default()).await.unwrap();
        let warns = |event: &Event| {
            let regarding = event.regarding.as_ref();
            let of_it = regarding.is_some_and(|regarding| regarding.name.as_deref() == Some(name));
            of_it && event.type_.as_deref() == Some("Warning")
        };
        if let Some(event) = listed.items.into_iter().find(warns) {
            return event;
        }
        assert!(Instant::now() < deadline, "{name} was told nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the schema is the shipped one again.
async fn strict(env: &TestEnv) {
    let mut odd = env.preview("odd");
    odd["spec"]["source"]["vpsId"] = json!(7);
    let deadline = Instant::now() + PATIENCE;
    while tried(&env.restores(), &odd, false).await.is_ok() {
        assert!(Instant::now() < deadline, "the schema is still relaxed");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_object_of_an_older_schema_is_told_the_path_and_nothing_is_bought_for_it() {
    let own = OwnPlane::start(own_control_plane).await;
    let plane = own.0;
    let env = TestEnv::on(plane, "older").await;
    tokio::task::spawn_blocking(move || relaxed(plane, true))
        .await
        .unwrap();
    // Name, pointer, value, and the path that is told.
    let restores = [
        (
            "cores",
            "/spec/target/cloudVm/cpuCores",
            json!(5_000_000_000_u64),
            "spec.target.cloudVm.cpuCores",
        ),
        (
            "below",
            "/spec/target/cloudVm/memoryGb",
            json!(-1),
            "spec.target.cloudVm.memoryGb",
        ),
        (
            "word",
            "/spec/target/cloudVm/storageGb",
            json!("80"),
            "spec.target.cloudVm.storageGb",
        ),
        (
            "source",
            "/spec/source",
            json!({"backupId": "bkp_a"}),
            "spec.source",
        ),
        (
            "choice",
            "/spec/source/backupId",
            json!({"latest": true}),
            "spec.source.backupId",
        ),
        ("target", "/spec/target", json!([]), "spec.target"),
        ("flag", "/spec/suspend", json!("yes"), "spec.suspend"),
        (
            "secret",
            "/spec/credentialsSecretRef",
            json!({"name": 5}),
            "spec.credentialsSecretRef.name",
        ),
        ("none", "/spec", json!(null), "spec"),
        (
            "price",
            "/spec/approval/maxPrice/perHour",
            json!(0.8),
            "spec.approval.maxPrice.perHour",
        ),
        (
            "empty",
            "/spec/approval/validUntil",
            json!([]),
            "spec.approval.validUntil",
        ),
        ("status", "/status/quote", json!(5), "status.quote"),
        (
            "operation",
            "/status/operation",
            json!({"name": 5}),
            "status.operation.name",
        ),
    ];
    let configs = [
        (
            "extra",
            "/spec/resources/extra",
            json!({"gpu": 3_000_000_000_u32}),
            "spec.resources.extra.gpu",
        ),
        (
            "low",
            "/spec/resources/extra",
            json!({"gpu": -3_000_000_000_i64}),
            "spec.resources.extra.gpu",
        ),
        (
            "long",
            "/spec/resources/extra",
            json!({"gpu": "x".repeat(100_000)}),
            "spec.resources.extra.gpu",
        ),
        (
            "traffic",
            "/spec/resources/bandwidthGb",
            json!(5_000_000_000_u64),
            "spec.resources.bandwidthGb",
        ),
        (
            "policy",
            "/spec/driftPolicy",
            json!("Perhaps"),
            "spec.driftPolicy",
        ),
    ];
    let legacy = [
        (
            "older",
            "/spec/legacy/resources",
            json!({"1": 5_000_000_000_u64}),
            "spec.legacy.resources.1",
        ),
        (
            "vmid",
            "/spec/legacy/vmid",
            json!(5_000_000_000_u64),
            "spec.legacy.vmid",
        ),
    ];
    let mut rows: Vec<(Api<DynamicObject>, Value, &str)> = Vec::new();
    let mut put = |api: Api<DynamicObject>, mut object: Value, pointer: &str, value: Value, path| {
        object["spec"]["suspend"] = json!(false);
        object["spec"]["credentialsSecretRef"] = json!({"name": "hostup-api"});
        object["spec"]["driftPolicy"] = json!("Report");
        object["status"] = json!({"observedGeneration": -1});
        match object.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, member) = pointer.rsplit_once('/').unwrap();
                object.pointer_mut(parent).unwrap()[member] = value;
            }
        }
        rows.push((api, object, path));
    };
    for (name, pointer, value, path) in restores {
        put(
            env.restores(),
            env.approved(&format!("r-{name}")),
            pointer,
            value,
            path,
        );
    }
    for (name, pointer, value, path) in configs {
        let object = env.config_preview(&format!("c-{name}"), json!({"bandwidthGb": 4096}));
        put(env.configs(), object, pointer, value, path);
    }
    for (name, pointer, value, path) in legacy {
        put(
            env.configs(),
            env.legacy_preview(&format!("l-{name}")),
            pointer,
            value,
            path,
        );
    }
    for (_, object, _) in &rows {
        created(&env, object.clone()).await;
    }
    tokio::task::spawn_blocking(move || relaxed(plane, false))
        .await
        .unwrap();
    strict(&env).await;
    let operator = env.operator(&["--enable-legacy-upgrade=true", "--gate-interval=1m"]);
    let version = env.client.apiserver_version().await.unwrap();
    let ratchets = version.minor.trim_end_matches('+').parse::<u32>().unwrap() >= 33;
    let mut with_a_status = 0;
    for (api, object, path) in &rows {
        let name = at(object, "metadata.name").as_str().unwrap();
        let told = warning_about(&env, name).await;
        if told.reason.as_deref() == Some("ClusterRefuses") {
            // An older API server judges the spec again at each write of the status, and admits none.
            // None takes a status beside a target of another kind.
            assert!(!ratchets || name == "r-target", "{name}: {told:?}");
            assert!(told.note.unwrap().contains(&format!("{path}: ")), "{name}");
            continue;
        }
        assert_eq!(told.reason.as_deref(), Some("InvalidSpec"), "{name}");
        let notes = env.notes_of(name).await;
        assert!(
            notes.len() == 1 && notes[0].starts_with(&format!("{path}: ")),
            "{name}: {notes:?}"
        );
        let shown = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
        // Where a rule of the schema cannot judge the field, not even the status may be written.
        if at(&shown, "status.conditions").is_null() {
            assert_eq!(shown["status"], object["status"], "{name}");
            continue;
        }
        with_a_status += 1;
        let message = ready(&shown)["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{path}: ")), "{name}: {message}");
        assert_eq!(ready(&shown)["reason"], "InvalidSpec", "{name}");
        assert_eq!(condition(&shown, "Stalled")["status"], "True", "{name}");
        assert_eq!(
            at(&shown, "status.observedGeneration"),
            at(&shown, "metadata.generation"),
            "{name}"
        );
        // What it knows of a purchase is not lost.
        for member in ["quote", "operation"] {
            assert_eq!(shown["status"][member], object["status"][member], "{name}");
        }
    }
    let log = operator.log();
    let tries = |name: &str| {
        let name = format!("\"object\":\"{name}\"");
        log.iter()
            .filter(|line| line.contains("a reconcile failed") && line.contains(&name))
            .count()
    };
    for (_, object, _) in &rows {
        let name = at(object, "metadata.name").as_str().unwrap();
        assert!(tries(name) <= 5, "{name} failed {} times", tries(name));
    }
    assert!(with_a_status >= 12, "{with_a_status} have a status");
    assert_eq!((env.posts(), env.sim.requests().len()), (0, 0));

    // One that is put right goes on.
    let patch = json!({"spec": {"resources": {"extra": null}}});
    let by = kube::api::PatchParams::default();
    let put_right = kube::api::Patch::Merge(&patch);
    env.configs().patch("c-extra", &by, &put_right).await.unwrap();
    env.config_comes_to("c-extra", "AwaitingApproval").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_that_cannot_be_read_counts_as_one_that_exists() {
    let own = OwnPlane::start(own_control_plane).await;
    let plane = own.0;
    let env = TestEnv::on(plane, "garbled").await;
    tokio::task::spawn_blocking(move || relaxed(plane, true))
        .await
        .unwrap();
    let rows = [
        ("claim", "/spec/claim", json!(5), "spec.claim"),
        ("attempt", "/spec/attempt", json!(-1), "spec.attempt"),
        ("kind", "/spec/type", json!("Teleport"), "spec.type"),
        ("state", "/status/state", json!("Perhaps"), "status.state"),
        ("bare", "/spec", json!({}), "spec"),
    ];
    for (name, pointer, value, _) in &rows {
        let key = ChainKey::of_restore(&env.namespace, name);
        let mut broken = record(key.record(1).as_str());
        *broken.pointer_mut(pointer).unwrap() = value.clone();
        created(&env, broken).await;
    }
    tokio::task::spawn_blocking(move || relaxed(plane, false))
        .await
        .unwrap();
    strict(&env).await;
    for (name, ..) in &rows {
        env.create(env.approved(name)).await;
    }
    let operator = env.operator(&["--gate-interval=1m"]);
    for (name, _, _, path) in &rows {
        let object = env.wait_for_reason(name, "OtherInstance").await;
        let message = ready(&object)["message"].as_str().unwrap();
        let record = ChainKey::of_restore(&env.namespace, name).record(1);
        assert!(
            message.contains(&format!("VpsOperation {record} ({path}: ")),
            "{message}"
        );
    }
    let tries = |log: Vec<String>| {
        log.iter()
            .filter(|line| line.contains("a reconcile failed"))
            .count()
    };
    assert_eq!(tries(operator.log()), 0);
    assert_eq!(env.posts(), 0);
}

/// An order of as many and as long options as the schema admits fits into its record.
#[tokio::test]
async fn the_largest_order_is_recorded_and_read_back() {
    let env = TestEnv::new("largest").await;
    let word = |n: usize, letter: &str| format!("{n:02}{}", letter.repeat(254));
    let extra: serde_json::Map<String, Value> = (0..32)
        .map(|n| {
            let letter = ["\"", "\\", "🦀", "é"][n % 4];
            (format!("option{n:02}{}", "x".repeat(56)), json!(word(n, letter)))
        })
        .collect();
    env.sim.world(|world| {
        let vps = world.vps_mut(&env.vps).unwrap();
        for (n, (key, _)) in extra.iter().enumerate() {
            let now = word(n, "-");
            vps.options
                .push(hostup_sim::ConfigOption::input(key, now.as_str()));
        }
    });
    let resources = json!({
        "bandwidthGb": 4096, "backupSlots": 2, "snapshotSlots": 3, "ipv4Count": 2, "additionalStorageGb": 10,
        "ipv6": true, "extra": extra,
    });
    let operator = env.operator(&[]);
    env.create(env.config_preview("web", resources)).await;
    let object = env.config_comes_to("web", "AwaitingApproval").await;
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains("To approve: kubectl"), "{message}");
    let quote = at(&object, "status.quote.id").clone();
    env.patch_config("web", json!({"approval": {"quoteId": quote}}))
        .await;
    let object = env.config_comes_to("web", "InSync").await;
    for object in [&object, &env.records().await[0]] {
        let size = object.to_string().len();
        assert!(size < 200 * 1024, "{size} bytes");
    }
    assert_eq!((env.posts(), env.executed()), (1, 1));
    env.check_invariants().await;
    drop(operator);
}

/// After a rollback: the schema takes the words of the later version, and the operator that does not know them buys
/// nothing for their objects and serves the others.
#[tokio::test]
async fn a_record_with_words_of_a_later_version_is_kept_and_nothing_is_bought_for_its_object() {
    let env = TestEnv::new("later").await;
    let operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "Restored").await;
    drop(operator);
    let record = at(&object, "status.operation.name").as_str().unwrap().to_owned();
    let later = json!({"status": {"state": "Refunded", "evidence": "CreditNote"}});
    env.operations()
        .patch_status(&record, &PatchParams::default(), &Patch::Merge(&later))
        .await
        .unwrap();
    env.delete("web").await;

    let operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    env.create(env.approved("other")).await;
    let object = env.wait_for_reason("web", "OtherInstance").await;
    let message = ready(&object)["message"].as_str().unwrap();
    assert!(message.contains("another version"), "{message}");
    env.wait_for_reason("other", "Restored").await;
    let unreadable = operator
        .samples()
        .get("hostup_operator_operations_unreadable")
        .copied();
    assert_eq!(unreadable, Some(1.0));
    let kept = env.operations().get(&record).await.unwrap();
    assert_eq!(kept.data["status"]["state"], "Refunded");
    assert_eq!((env.posts(), env.executed()), (2, 2));
}
