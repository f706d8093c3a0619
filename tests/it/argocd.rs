//! What Argo CD makes of the objects, by our scripts and with the libraries that Argo CD opens and no others.

use std::path::{Path, PathBuf};

use hostup_operator::api::conditions;
use hostup_operator::domain::status::reason::{Reason, Standing};
use mlua::{Lua, LuaOptions, LuaSerdeExt, StdLib};
use serde_json::{Value, json};

use crate::support::at;

/// The kinds that people write.
const WRITTEN: [&str; 2] = ["VpsBackupRestore", "VpsResourceConfig"];

/// All kinds.
pub const KINDS: [&str; 4] = [
    "VpsBackupRestore",
    "VpsResourceConfig",
    "VpsOperation",
    "VpsBudget",
];

/// Where our scripts stand, in Argo CD's own layout.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/argocd/resource_customizations/vps.hostup.se")
}

/// A script of a kind.
pub fn read(kind: &str, name: &str) -> String {
    std::fs::read_to_string(folder().join(kind).join(name)).unwrap()
}

/// What a script answers for an object. Argo CD opens base, package and table; a part of os can be required.
pub fn answer(script: &str, object: &Value) -> Value {
    run(script, object).unwrap_or_else(|error| panic!("{error} on {object}"))
}

fn run(script: &str, object: &Value) -> Result<Value, String> {
    let lua = Lua::new_with(
        StdLib::TABLE | StdLib::OS | StdLib::PACKAGE,
        LuaOptions::default(),
    )
    .unwrap();
    lua.globals().set("os", mlua::Nil).unwrap();
    lua.globals().set("obj", lua.to_value(object).unwrap()).unwrap();
    let answer: mlua::Value = lua.load(script).eval().map_err(|error| error.to_string())?;
    Ok(lua.from_value(answer).unwrap())
}

fn health(kind: &str, object: &Value) -> String {
    let health = answer(&read(kind, "health.lua"), object);
    let message = health["message"].as_str().unwrap_or_default();
    assert!(!message.is_empty(), "no message for {object}");
    health["status"].as_str().unwrap().to_owned()
}

fn object_at(reason: Reason, generation: i64, observed: i64) -> Value {
    let said = conditions::standing(reason.standing(), reason.as_str(), "as it is");
    let now = jiff::Timestamp::UNIX_EPOCH;
    json!({
        "metadata": {"name": "web", "generation": generation},
        "spec": {"suspend": false},
        "status": {
            "observedGeneration": observed,
            "conditions": conditions::dated(said, &[], observed, now),
        },
    })
}

fn seen_as(reason: Reason) -> &'static str {
    match (reason.standing(), reason) {
        (Standing::Done, _) => "Healthy",
        (Standing::Stalled, _) => "Degraded",
        (Standing::Progressing, _) | (Standing::Waiting, Reason::GatesClosed | Reason::PaidCallCap) => {
            "Progressing"
        }
        (Standing::Waiting, _) => "Suspended",
    }
}

#[test]
fn every_reason_has_a_health_and_an_object_that_was_not_looked_at_has_none_yet() {
    for kind in WRITTEN {
        for reason in Reason::ALL {
            let looked_at = object_at(*reason, 2, 2);
            assert_eq!(health(kind, &looked_at), seen_as(*reason), "{kind}: {reason:?}");
            let message = answer(&read(kind, "health.lua"), &looked_at)["message"].clone();
            assert_eq!(message, format!("{}: as it is", reason.as_str()));
            // The status tells of an older spec.
            assert_eq!(
                health(kind, &object_at(*reason, 3, 2)),
                "Progressing",
                "{kind}: {reason:?}"
            );
        }
        for untouched in [
            json!({"metadata": {"generation": 1}, "spec": {}}),
            json!({"metadata": {"generation": 1}, "spec": {}, "status": {"observedGeneration": -1}}),
            json!({"metadata": {"generation": 1}, "spec": {}, "status": {"observedGeneration": 1, "conditions": []}}),
        ] {
            assert_eq!(health(kind, &untouched), "Progressing", "{untouched}");
        }
    }
}

#[test]
fn a_record_is_as_healthy_as_its_outcome() {
    let rows = [
        (json!({}), "Progressing"),
        (json!({"status": {"state": "Sending"}}), "Progressing"),
        (
            json!({"status": {"state": "Accepted", "message": "job j"}}),
            "Progressing",
        ),
        (json!({"status": {"state": "Succeeded"}}), "Healthy"),
        (json!({"status": {"state": "NotSent"}}), "Healthy"),
        (json!({"status": {"state": "NotExecuted"}}), "Healthy"),
        (json!({"status": {"state": "Abandoned"}}), "Healthy"),
        (json!({"status": {"state": "Rejected"}}), "Degraded"),
        (json!({"status": {"state": "Failed"}}), "Degraded"),
        (json!({"status": {"state": "Unknown"}}), "Progressing"),
        (
            json!({"status": {"state": "Unknown", "evidence": "NoneFound"}}),
            "Degraded",
        ),
    ];
    for (object, wanted) in rows {
        assert_eq!(health("VpsOperation", &object), wanted, "{object}");
    }
}

#[test]
fn actions_suspend_resume_and_have_it_looked_at_and_none_of_them_orders_anything() {
    for kind in WRITTEN {
        for suspended in [false, true] {
            let object = json!({"metadata": {"name": "web"}, "spec": {"suspend": suspended, "kept": 1}});
            let offered = answer(&read(kind, "actions/discovery.lua"), &object);
            let names: Vec<_> = offered.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["approve", "reconcile", "resume", "suspend"]);
            assert_eq!(at(&offered, "approve.disabled"), true);
            assert_eq!(at(&offered, "suspend.disabled"), suspended);
            assert_eq!(at(&offered, "resume.disabled"), !suspended);
            let after = |name| answer(&read(kind, &format!("actions/{name}/action.lua")), &object);
            assert_eq!(after("suspend")["spec"], json!({"suspend": true, "kept": 1}));
            assert_eq!(after("resume")["spec"], json!({"suspend": false, "kept": 1}));
            let looked_at = after("reconcile");
            assert_eq!(looked_at["spec"], object["spec"]);
            let asked = &looked_at["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
            assert!(
                asked.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(),
                "{asked}"
            );
        }
    }
}

#[test]
fn approve_sets_the_quote_that_is_shown_and_keeps_a_ceiling() {
    let quote = "q-aaaaaaaaaaaaaaaaaaaaaaaaaa";
    let object = |approval: &Value, generation: i64, consent: &str, suspended: bool| {
        json!({
            "metadata": {"name": "web", "generation": generation},
            "spec": {"suspend": suspended, "approval": approval},
            "status": {
                "observedGeneration": 2, "quote": {"id": quote},
                "conditions": [{"type": "Approved", "status": consent}],
            },
        })
    };
    let ceiling = json!({"perHour": "0.10", "currencyCode": "SEK"});
    for kind in WRITTEN {
        let acts = |object: &Value| run(&read(kind, "actions/approve/action.lua"), object);
        let is_offered = |object: &Value| {
            let offered = answer(&read(kind, "actions/discovery.lua"), object);
            at(&offered, "approve.disabled") == false
        };
        for (given, after) in [
            (json!({}), json!({"quoteId": quote})),
            (
                json!({"quoteId": "q-bbb", "approvedBy": "anna"}),
                json!({"quoteId": quote}),
            ),
            (
                json!({"maxPrice": ceiling}),
                json!({"maxPrice": ceiling, "quoteId": quote}),
            ),
        ] {
            let object = object(&given, 2, "False", false);
            assert!(is_offered(&object), "{object}");
            assert_eq!(acts(&object).unwrap()["spec"]["approval"], after);
        }
        assert!(!is_offered(&object(&json!({"quoteId": quote}), 2, "True", false)));
        assert!(!is_offered(&object(&json!({}), 2, "False", true)));
        let edited = object(&json!({}), 3, "False", false);
        assert!(!is_offered(&edited));
        assert!(acts(&edited).unwrap_err().contains("an earlier spec"));
        let unread = json!({"metadata": {"generation": 1}, "spec": {}});
        assert!(!is_offered(&unread));
        assert!(acts(&unread).unwrap_err().contains("no quote"));
    }
}

#[test]
fn to_go_on_is_no_action_while_an_approval_stands() {
    let approvals = [
        json!({"quoteId": "q-aaaaaaaaaaaaaaaaaaaaaaaaaa"}),
        json!({"maxPrice": {"perHour": "0.80", "currencyCode": "SEK"}}),
        json!({}),
    ];
    for kind in WRITTEN {
        for approval in &approvals {
            let object =
                json!({"metadata": {"name": "web"}, "spec": {"suspend": true, "approval": approval}});
            let offered = answer(&read(kind, "actions/discovery.lua"), &object);
            assert_eq!(at(&offered, "resume.disabled"), true, "{kind} {approval}");
            // Argo CD's API takes the name of an action that its page does not offer.
            let refused = run(&read(kind, "actions/resume/action.lua"), &object).unwrap_err();
            assert!(refused.contains("the object has an approval"), "{refused}");
        }
    }
}

#[test]
fn the_snippet_for_argocd_cm_holds_the_scripts_as_they_are() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/argocd/argocd-cm.yaml");
    let snippet: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let data = &snippet["data"];
    for kind in KINDS {
        let key = format!("resource.customizations.health.vps.hostup.se_{kind}");
        assert_eq!(data[&key], read(kind, "health.lua"), "{key}");
    }
    for kind in WRITTEN {
        let key = format!("resource.customizations.actions.vps.hostup.se_{kind}");
        let actions: Value = serde_saphyr::from_str(data[&key].as_str().unwrap()).unwrap();
        assert_eq!(
            actions["discovery.lua"],
            read(kind, "actions/discovery.lua"),
            "{key}"
        );
        let definitions = actions["definitions"].as_array().unwrap();
        assert_eq!(definitions.len(), 4);
        for definition in definitions {
            let name = definition["name"].as_str().unwrap();
            assert_eq!(
                definition["action.lua"],
                read(kind, &format!("actions/{name}/action.lua")),
                "{key}: {name}"
            );
        }
    }
    assert_eq!(data.as_object().unwrap().len(), 6);
}
