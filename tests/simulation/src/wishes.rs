//! What people want of each object, version by version: whether they have allowed a call that leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde_json::Value;

use crate::cluster::{Kind, Part, Verb, Write};
use crate::field::{at, text};

/// The versions of the objects that people wrote, by uid.
#[derive(Default)]
pub struct Wishes(BTreeMap<String, Vec<Version>>);

/// An object from one revision on; without it, it is deleted.
struct Version {
    since: u64,
    object: Option<Arc<Value>>,
}

impl Wishes {
    /// Notes what somebody wrote or deleted.
    pub fn take_in(&mut self, write: &Write) {
        let is_wish = [Kind::RESTORE, Kind::CONFIG].contains(&write.kind) && write.part == Part::Whole;
        if is_wish {
            let uid = text(&write.object, "/metadata/uid").to_owned();
            self.0.entry(uid).or_default().push(Version {
                since: write.revision,
                object: (write.verb != Verb::Delete).then(|| write.object.clone()),
            });
        }
    }

    /// Why nobody has allowed the call of a record that was made at a revision, if so: no version of its object that has
    /// stood since then allows it. The object is read after the record is made, so that older ones do not count.
    pub fn deny(&self, record: &Value, made: u64) -> Option<String> {
        let versions = self.0.get(text(record, "/spec/subject/uid"));
        let versions = versions.map(Vec::as_slice).unwrap_or_default();
        let older = versions.iter().filter(|version| version.since <= made).count();
        let mut why = Some("there is no object of it".to_owned());
        for version in versions.iter().skip(older.saturating_sub(1)) {
            why = match &version.object {
                Some(object) => refusal(object, record),
                None => Some("its object is deleted".to_owned()),
            };
            if why.is_none() {
                break;
            }
        }
        why
    }
}

/// Why an object does not allow the call of a record.
fn refusal(object: &Value, record: &Value) -> Option<String> {
    let path = text(record, "/spec/request/path");
    let body = text(record, "/spec/request/body");
    if at(object, "/spec/suspend") == Some(&Value::Bool(true)) {
        return Some("its object is suspended".to_owned());
    }
    let sent: Value = serde_json::from_str(body).unwrap_or_default();
    let (source, backup) = (
        text(object, "/spec/source/vpsId"),
        text(object, "/spec/source/backupId"),
    );
    let target = text(object, "/spec/target/existingVps/vpsId");
    let changed = match text(object, "/spec/vpsId") {
        "" => target,
        vps => vps,
    };
    let names = |id: &str| body.contains(&format!("\"{id}\""));
    let (call, is_wanted) = match text(record, "/spec/type") {
        "CommitResources" => (
            format!("{changed}/actions/config"),
            at(object, "/spec/resources") == at(&sent, "/resources"),
        ),
        "ResizeCloudVm" => (
            format!("{changed}/actions/resize"),
            at(object, "/spec/cloudVm") == Some(&sent),
        ),
        "RestoreToCloudVm" => (
            format!("{source}/backups/{backup}/actions/restore-to-payg"),
            target.is_empty(),
        ),
        "OverwriteVps" if source == target => (format!("{target}/backups/{backup}/actions/restore"), true),
        "OverwriteVps" => (
            format!("{target}/backups/actions/restore-from-vps"),
            names(source) && names(backup),
        ),
        _ => (
            format!("{changed}/backups"),
            at(object, "/spec/backupFirst") == Some(&Value::Bool(true)),
        ),
    };
    if !is_wanted || path != format!("/api/v2/vps/{call}") {
        return Some("its object wants something else".to_owned());
    }
    (!is_approved(object, record)).then(|| "its price is not approved".to_owned())
}

/// Whether an object approves the quote of a record, or any as cheap.
fn is_approved(object: &Value, record: &Value) -> bool {
    let most = at(object, "/spec/approval/maxPrice");
    if text(object, "/spec/approval/quoteId") == text(record, "/spec/quote/id") {
        return true;
    }
    let price = |of: &Value, part: &str| text(of, part).parse::<Decimal>().ok();
    let is_within = |part: &str| {
        let costs = at(record, "/spec/quote").and_then(|quote| price(quote, part));
        costs.is_some_and(|costs| most.and_then(|most| price(most, part)) >= Some(costs))
    };
    match text(record, "/spec/type") {
        "CommitResources" => is_within("/dueNow") && is_within("/perMonth"),
        "ResizeCloudVm" | "RestoreToCloudVm" => is_within("/perHour"),
        // It costs nothing, and has the quote of the change that follows it.
        "CreateBackup" => text(object, "/kind") == Kind::CONFIG.kind && most.is_some(),
        // What it destroys has no price.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::people::PERSON;

    fn object(spec: &Value) -> Value {
        let mut object = json!({"kind": "VpsResourceConfig", "metadata": {"uid": "u", "name": "web"}, "spec": {
            "vpsId": "vps_a", "resources": {"bandwidthGb": 4096}, "suspend": false,
            "approval": {"maxPrice": {"dueNow": "40.00", "perMonth": "40.00"}},
        }});
        for (member, value) in spec.as_object().unwrap() {
            object["spec"][member] = value.clone();
        }
        object
    }

    fn record() -> Value {
        json!({"spec": {
            "type": "CommitResources", "subject": {"uid": "u"},
            "request": {"path": "/api/v2/vps/vps_a/actions/config", "body": r#"{"dryRun":false,"resources":{"bandwidthGb":4096}}"#},
            "quote": {"id": "q-1", "dueNow": "40.00", "perMonth": "40.00"},
        }})
    }

    /// Objects as they were written at the revisions 10, 20 and so on; null is a deletion.
    fn written(specs: &[Value]) -> Wishes {
        let mut wishes = Wishes::default();
        for (spec, revision) in specs.iter().zip((10..).step_by(10)) {
            let write = |verb, object| Write {
                revision,
                at: Timestamp::UNIX_EPOCH,
                client: PERSON,
                verb,
                kind: Kind::CONFIG,
                part: Part::Whole,
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
                object: Arc::new(object),
            };
            wishes.take_in(&match spec {
                Value::Null => write(Verb::Delete, object(&json!({}))),
                spec => write(Verb::Patch, object(spec)),
            });
        }
        wishes
    }

    #[test]
    fn a_call_needs_a_version_that_allows_it_and_stood_when_its_record_was_made_or_later() {
        let (good, suspended) = (json!({}), json!({"suspend": true}));
        for (versions, allows) in [
            (vec![good.clone()], true),
            (vec![suspended.clone()], false),
            (vec![good.clone(), suspended.clone()], false),
            (vec![suspended.clone(), good.clone()], true),
            // The record is made at revision 25: the third version comes later.
            (vec![suspended.clone(), suspended.clone(), good.clone()], true),
            (vec![good.clone(), good.clone(), suspended.clone()], true),
            (vec![good.clone(), suspended.clone(), suspended], false),
            (vec![good.clone(), Value::Null], false),
            (vec![good, json!({}), Value::Null], true),
            (vec![], false),
        ] {
            assert_eq!(
                written(&versions).deny(&record(), 25).is_none(),
                allows,
                "{versions:?}"
            );
        }
    }

    #[test]
    fn a_version_allows_what_it_wants_and_approves() {
        let ceiling = |due_now: &str, per_month: &str| json!({"approval": {"maxPrice": {"dueNow": due_now, "perMonth": per_month}}});
        for (spec, allows) in [
            (json!({}), true),
            (json!({"resources": {"bandwidthGb": 3072}}), false),
            (json!({"vpsId": "vps_b"}), false),
            (json!({"approval": null}), false),
            (json!({"approval": {"quoteId": "q-1"}}), true),
            (json!({"approval": {"quoteId": "q-10"}}), false),
            (ceiling("40.00", "40"), true),
            (ceiling("39.99", "40.00"), false),
            (ceiling("40.00", "39.99"), false),
            (ceiling("", "40.00"), false),
        ] {
            assert_eq!(
                written(std::slice::from_ref(&spec)).deny(&record(), 15).is_none(),
                allows,
                "{spec}"
            );
        }
    }

    #[test]
    fn an_overwrite_is_allowed_of_its_own_target_with_its_own_backup_and_by_its_quote_only() {
        let spec = json!({"vpsId": null, "source": {"vpsId": "vps_s", "backupId": "bkp_1"},
            "target": {"existingVps": {"vpsId": "vps_t"}}, "approval": {"quoteId": "q-1"}});
        let allows = |spec: &Value, vps: &str, body: &Value| {
            let mut overwrite = record();
            overwrite["spec"]["type"] = json!("OverwriteVps");
            let path = format!("/api/v2/vps/{vps}/backups/actions/restore-from-vps");
            overwrite["spec"]["request"] = json!({"path": path, "body": body.to_string()});
            written(std::slice::from_ref(spec)).deny(&overwrite, 15).is_none()
        };
        let body = json!({"source": "vps_s", "backup": "bkp_1"});
        assert!(allows(&spec, "vps_t", &body));
        assert!(!allows(&spec, "vps_s", &body));
        assert!(!allows(
            &spec,
            "vps_t",
            &json!({"source": "vps_s", "backup": "bkp_10"})
        ));
        let mut by_ceiling = spec;
        by_ceiling["approval"] = json!({"maxPrice": {"perHour": "9.00"}});
        assert!(!allows(&by_ceiling, "vps_t", &body));
    }
}
