//! People: they write objects, approve, edit, suspend, delete, make anew, and answer questions.

use hostup_operator::api::shared::HOLD;
use serde_json::{Value, json};

use crate::cluster::{ApiServer, ClientId, Kind, Part, Refusal};
use crate::dice::Dice;
use crate::field::{annotation, at, text};
use crate::judge::{Judge, is_final, object_of, state_of, vm_of_call};
use crate::story::Story;

/// Whoever writes without faults.
pub const PERSON: ClientId = ClientId(0);
/// The namespace of all objects.
pub const NAMESPACE: &str = "shop";
/// The budget.
const BUDGET: &str = "team";
/// The namespace of the operator.
pub const OPERATORS_NAMESPACE: &str = "hostup-system";

/// The people of a life.
pub struct People {
    /// The API server.
    pub server: ApiServer,
    /// Chance.
    pub dice: Dice,
    /// The story.
    pub story: Story,
    /// Knows what HostUp's panel shows.
    pub judge: Judge,
    /// What was written for each object, to make it anew.
    pub wanted: Vec<Wanted>,
    /// Whether they sometimes answer without a look at HostUp's panel.
    pub errors: Option<Dice>,
}

/// An object that somebody wants.
#[derive(Clone)]
pub struct Wanted {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its name.
    pub name: String,
    /// As it is written.
    pub object: Value,
}

/// A restore of a VPS's backup.
pub fn restore(name: &str, vps: &str, backup: &str, secret: &str, approved: bool) -> Wanted {
    let mut object = json!({
        "apiVersion": "vps.hostup.se/v1alpha1", "kind": "VpsBackupRestore",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "source": {"vpsId": vps, "backupId": backup},
            "target": {"cloudVm": {"name": name}},
            "credentialsSecretRef": {"name": secret, "key": "api-key"},
            "suspend": false,
        },
    });
    if approved {
        object["spec"]["approval"] = hourly();
    }
    Wanted {
        kind: Kind::RESTORE,
        name: name.to_owned(),
        object,
    }
}

/// Other options of a VPS.
pub fn config(name: &str, vps: &str, bandwidth: u32, secret: &str, approved: bool) -> Wanted {
    let mut object = json!({
        "apiVersion": "vps.hostup.se/v1alpha1", "kind": "VpsResourceConfig",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "vpsId": vps,
            "resources": {"bandwidthGb": bandwidth},
            "credentialsSecretRef": {"name": secret, "key": "api-key"},
            "driftPolicy": "Report",
            "suspend": false,
        },
    });
    if approved {
        object["spec"]["approval"] = change();
    }
    Wanted {
        kind: Kind::CONFIG,
        name: name.to_owned(),
        object,
    }
}

/// Another size of a pay-as-you-go VM.
pub fn size(name: &str, vps: &str, size: (u32, u32), secret: &str, approved: bool) -> Wanted {
    let mut wanted = config(name, vps, 0, secret, false);
    let spec = &mut wanted.object["spec"];
    spec.as_object_mut().map(|spec| spec.remove("resources"));
    spec["cloudVm"] = json!({"cpuCores": size.0, "memoryGb": size.1});
    if approved {
        spec["approval"] = hourly();
    }
    wanted
}

/// A backup restored onto a VPS that exists.
pub fn overwrite(name: &str, source: &str, backup: &str, target: &str, secret: &str) -> Wanted {
    let mut wanted = restore(name, source, backup, secret, false);
    wanted.object["spec"]["target"] = json!({"existingVps": {"vpsId": target}});
    wanted
}

impl Wanted {
    /// Whether it wants a size of a pay-as-you-go VM.
    fn is_of_a_size(&self) -> bool {
        at(&self.object, "/spec/cloudVm").is_some()
    }

    /// It changes or overwrites a VPS.
    fn is_of_a_change(&self) -> bool {
        self.kind == Kind::CONFIG || self.overwrites()
    }

    fn overwrites(&self) -> bool {
        at(&self.object, "/spec/target/existingVps").is_some()
    }

    /// The VPSs that it reads, changes or overwrites.
    pub fn vpss(&self) -> impl Iterator<Item = &str> {
        let places = [
            "/spec/vpsId",
            "/spec/source/vpsId",
            "/spec/target/existingVps/vpsId",
        ];
        let named = places.into_iter().map(|place| text(&self.object, place));
        named.filter(|vps| !vps.is_empty())
    }
}

fn hourly() -> Value {
    json!({"maxPrice": {"perHour": "9.00", "currencyCode": "SEK"}, "validUntil": "2099-01-01T00:00:00Z"})
}

fn change() -> Value {
    json!({"maxPrice": {"dueNow": "9000.00", "perMonth": "9000.00", "currencyCode": "SEK"},
        "validUntil": "2099-01-01T00:00:00Z"})
}

/// How an object stands: its reason, and whether it is done or a person must act.
pub fn standing(object: &Value) -> (String, bool, bool) {
    let conditions = at(object, "/status/conditions").and_then(Value::as_array);
    let is = |about: &str| {
        let found = conditions.and_then(|all| all.iter().find(|one| text(one, "/type") == about));
        (
            found.is_some_and(|one| text(one, "/status") == "True"),
            found
                .map(|one| text(one, "/reason").to_owned())
                .unwrap_or_default(),
        )
    };
    let observed = at(object, "/status/observedGeneration").and_then(Value::as_i64);
    let current = observed == at(object, "/metadata/generation").and_then(Value::as_i64);
    let (ready, reason) = is("Ready");
    let (stalled, _) = is("Stalled");
    (reason, ready && current, stalled && current)
}

/// What the condition Ready says.
pub fn message(object: &Value) -> &str {
    let conditions = at(object, "/status/conditions").and_then(Value::as_array);
    let ready = conditions.and_then(|all| all.iter().find(|one| text(one, "/type") == "Ready"));
    ready.map(|ready| text(ready, "/message")).unwrap_or_default()
}

/// The message tells what a quote is for, and how to approve it. After a setback the approval that stands is used up.
fn asks_for_a_quote(object: &Value) -> bool {
    ["AwaitingApproval", "JobFailed", "Rejected"].contains(&standing(object).0.as_str())
}

impl People {
    /// Some want a backup before what they change.
    pub fn back_up_first(&mut self, dice: &Dice) {
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.is_of_a_change()) {
            if dice.happens(600) {
                wanted.object["spec"]["backupFirst"] = json!(true);
            }
        }
    }

    /// Everybody writes what they want, once.
    pub fn begin(&self, at: usize) {
        if let Some(wanted) = self.wanted.get(at) {
            self.create(wanted);
        }
    }

    fn create(&self, wanted: &Wanted) {
        let made = self
            .server
            .create(PERSON, wanted.kind, NAMESPACE, wanted.object.clone());
        self.told(&format!("creates {} {}", wanted.kind.kind, wanted.name), made);
    }

    fn told<T>(&self, what: &str, done: Result<T, Refusal>) {
        match done {
            Ok(_) => self.story.tell(|| format!("a person {what}")),
            Err(refusal) => self
                .story
                .tell(|| format!("a person {what}, and is refused: {}", refusal.message)),
        }
    }

    fn patch(&self, wanted: &Wanted, patch: &Value, what: &str) {
        let place = (NAMESPACE, wanted.name.as_str());
        let done = self.server.patch(PERSON, wanted.kind, Part::Whole, place, patch);
        self.told(&format!("{what} {}", wanted.name), done);
    }

    /// Somebody does something to some object.
    pub fn meddle(&mut self) {
        let at = self.dice.below(u32::try_from(self.wanted.len()).unwrap_or(1)) as usize;
        let Some(wanted) = self.wanted.get(at).cloned() else {
            return;
        };
        let object = self.server.get(wanted.kind, NAMESPACE, &wanted.name);
        let Some(object) = object else {
            if self.dice.happens(500) {
                self.create(&wanted);
            }
            return;
        };
        match self.dice.below(9) {
            0 | 1 => self.approve(&wanted, &object),
            2 => self.patch(&wanted, &json!({"spec": {"suspend": true}}), "suspends"),
            3 => self.patch(&wanted, &json!({"spec": {"suspend": false}}), "resumes"),
            4 => self.patch(
                &wanted,
                &json!({"metadata": {"annotations": {"poked": self.dice.below(9).to_string()}}}),
                "pokes",
            ),
            5 => {
                let done = self.server.delete(PERSON, wanted.kind, (NAMESPACE, &wanted.name));
                self.told(&format!("deletes {}", wanted.name), done);
                if self.dice.happens(700) {
                    self.create(&wanted);
                }
            }
            6 => self.forget_a_record(),
            7 => self.patch(
                &wanted,
                &json!({"spec": {"approval": null}}),
                "withdraws the approval of",
            ),
            _ => self.edit(at, &wanted),
        }
    }

    /// Somebody holds the purchases of an object, of its namespace or all of them, or lets them go on.
    pub fn hold(&self, dice: &Dice) {
        let places = self.places();
        let (kind, namespace, name) = dice.one(&places);
        let Some(object) = self.server.get(kind, namespace, name) else {
            return;
        };
        let hold = match annotation(&object, HOLD) {
            "" | "false" => json!("incident"),
            _ => dice.one(&[json!("false"), Value::Null]),
        };
        self.put_hold((kind, namespace, name), &hold);
    }

    /// An administrator sets the budget.
    pub fn set_budget(&self, dice: &Dice) {
        let per_hour = dice.one(&["0.00", "0.66", "1.00", "1.32"]);
        let selector = dice.one(&[
            Value::Null,
            json!({"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}),
        ]);
        let spec = json!({"currencyCode": "SEK", "perHour": per_hour, "namespaceSelector": selector});
        let what = format!("sets the budget to {per_hour}");
        if self.server.get(Kind::BUDGET, "", BUDGET).is_some() {
            let patch = json!({"spec": spec});
            let done = self
                .server
                .patch(PERSON, Kind::BUDGET, Part::Whole, ("", BUDGET), &patch);
            return self.told(&what, done);
        }
        let mut object = json!({"apiVersion": "vps.hostup.se/v1alpha1", "kind": "VpsBudget",
            "metadata": {"name": BUDGET}, "spec": spec});
        if selector.is_null() {
            object["spec"]
                .as_object_mut()
                .map(|spec| spec.remove("namespaceSelector"));
        }
        self.told(&what, self.server.create(PERSON, Kind::BUDGET, "", object));
    }

    /// Somebody gives a VPS another name, in HostUp's panel.
    pub fn rename_a_vps(&self, dice: &Dice) {
        let vpss: Vec<&str> = self.wanted.iter().flat_map(Wanted::vpss).collect();
        let (vps, name) = (dice.one(&vpss), dice.one(&["shop", "blog", "mail"]));
        self.story
            .tell(|| format!("a person names {vps} {name:?} in the panel"));
        self.judge.renames(vps, name);
    }

    /// Somebody cancels a VM that was bought or resized, in HostUp's panel.
    pub fn cancel_a_vm(&self, dice: &Dice) {
        let records = self.server.list(Kind::OPERATION, None);
        let bought = records
            .iter()
            .filter(|record| is_final(state_of(record)) && at(record, "/status/resultEnd").is_none());
        let bought: Vec<&str> = bought
            .map(|record| vm_of_call(record))
            .filter(|vm| !vm.is_empty())
            .collect();
        if !bought.is_empty() {
            let vm = dice.one(&bought);
            self.story.tell(|| format!("a person cancels {vm} in the panel"));
            self.judge.cancels(vm);
        }
    }

    /// An administrator removes it.
    pub fn remove_budget(&self) {
        if self.server.get(Kind::BUDGET, "", BUDGET).is_some() {
            let done = self.server.delete(PERSON, Kind::BUDGET, ("", BUDGET));
            self.told("removes the budget", done);
        }
    }

    /// The objects on which a hold can be set.
    fn places(&self) -> Vec<(&'static Kind, &str, &str)> {
        let mut places = vec![
            (Kind::NAMESPACE, "", NAMESPACE),
            (Kind::NAMESPACE, "", OPERATORS_NAMESPACE),
        ];
        places.extend(
            self.wanted
                .iter()
                .map(|wanted| (wanted.kind, NAMESPACE, wanted.name.as_str())),
        );
        places
    }

    fn put_hold(&self, (kind, namespace, name): (&'static Kind, &str, &str), hold: &Value) {
        let patch = json!({"metadata": {"annotations": {"vps.hostup.se/hold": hold}}});
        let done = self
            .server
            .patch(PERSON, kind, Part::Whole, (namespace, name), &patch);
        self.told(&format!("sets the hold on {} {name} to {hold}", kind.kind), done);
    }

    /// Whether another object wants options of the same VPS.
    pub fn wants_more_of_its_vps(&self, wanted: &Wanted) -> bool {
        let vps = |wanted: &Wanted| text(&wanted.object, "/spec/vpsId").to_owned();
        let mut others = self.wanted.iter().filter(|other| other.name != wanted.name);
        others.any(|other| other.kind == Kind::CONFIG && vps(other) == vps(wanted))
    }

    /// Another wish for options; a restore's contents cannot be edited.
    fn edit(&mut self, at: usize, wanted: &Wanted) {
        if wanted.kind != Kind::CONFIG {
            return;
        }
        if wanted.is_of_a_size() {
            let size = json!({"cpuCores": self.dice.one(&[1, 2, 4]), "memoryGb": self.dice.one(&[2, 4, 8])});
            self.patch(wanted, &json!({"spec": {"cloudVm": size}}), "edits");
            self.wanted[at].object["spec"]["cloudVm"] = size;
            return;
        }
        let bandwidth = 2048 + 1024 * self.dice.below(4);
        let patch = json!({"spec": {"resources": {"bandwidthGb": bandwidth}}});
        self.patch(wanted, &patch, "edits");
        self.wanted[at].object["spec"]["resources"]["bandwidthGb"] = json!(bandwidth);
    }

    /// Somebody approves what a size or an overwrite would cost or destroy.
    pub fn approve_a_change(&self, dice: &Dice) {
        let changes = self.wanted.iter();
        let changes: Vec<&Wanted> = changes
            .filter(|wanted| wanted.is_of_a_size() || wanted.overwrites())
            .collect();
        let wanted = dice.one(&changes);
        let object = self.server.get(wanted.kind, NAMESPACE, &wanted.name);
        if let Some(object) = object.filter(|object| asks_for_a_quote(object)) {
            self.approve_quote(wanted, &object);
        }
    }

    /// By a quote, whose price or loss the message tells.
    fn approve_quote(&self, wanted: &Wanted, object: &Value) {
        let quote = text(object, "/status/quote/id");
        let approval = json!({"quoteId": quote, "maxPrice": null, "validUntil": null});
        self.patch(wanted, &json!({"spec": {"approval": approval}}), "approves");
    }

    fn approve(&self, wanted: &Wanted, object: &Value) {
        let quote = text(object, "/status/quote/id");
        if wanted.overwrites() {
            // Only the message tells which data is lost.
            if asks_for_a_quote(object) {
                self.approve_quote(wanted, object);
            }
            return;
        }
        let of_hours = wanted.kind == Kind::RESTORE || wanted.is_of_a_size();
        let mut approval = match (of_hours, quote) {
            (_, quote) if !quote.is_empty() && self.dice.happens(500) => {
                json!({"quoteId": quote, "maxPrice": null, "validUntil": null})
            }
            (true, _) => hourly(),
            (false, _) => change(),
        };
        if approval.get("quoteId").is_none() {
            approval["quoteId"] = Value::Null;
        }
        self.patch(wanted, &json!({"spec": {"approval": approval}}), "approves");
    }

    /// Whether the object of a record tells of its end, or is gone.
    fn is_told(&self, record: &Value) -> bool {
        object_of(&self.server, record).is_none_or(|object| {
            let attempt = at(record, "/spec/attempt").and_then(Value::as_u64);
            let shown = at(&object, "/status/operation/attempt").and_then(Value::as_u64);
            let has_ended = is_final(text(&object, "/status/operation/state"));
            shown > attempt || (shown == attempt && has_ended)
        })
    }

    /// Deletes some finished record, as the shipped policy allows, once its object tells of the end, and HostUp's list shows
    /// its VM: who makes the object anew before that buys another one.
    fn forget_a_record(&self) {
        let records = self.server.list(Kind::OPERATION, None);
        let shows = |record: &Value| {
            let vm = text(record, "/status/result/vpsId");
            vm.is_empty() || self.judge.is_listed(vm)
        };
        let finished = records
            .iter()
            .filter(|record| is_final(state_of(record)) && shows(record) && self.is_told(record));
        let finished: Vec<&str> = finished.map(|record| text(record, "/metadata/name")).collect();
        if finished.is_empty() {
            return;
        }
        let name = self.dice.one(&finished).to_owned();
        let done = self.server.delete(PERSON, Kind::OPERATION, ("", &name));
        self.told(&format!("deletes record {name}"), done);
    }

    /// Answers the questions that stand, by what HostUp's panel shows.
    pub fn answer(&self) {
        for record in self.server.list(Kind::OPERATION, None) {
            let name = text(&record, "/metadata/name");
            let asks = state_of(&record) == "Unknown" && !text(&record, "/status/evidence").is_empty();
            let is_refused = !text(&record, "/status/resolutionRefused").is_empty();
            let has_answered = at(&record, "/spec/resolution/answer").is_some();
            // A new answer is given once the operator has seen that the last one was taken back.
            if !asks || has_answered != is_refused {
                continue;
            }
            let errs = self.errors.as_ref().is_some_and(|dice| dice.happens(400));
            let vm = if errs {
                Some(text(&record, "/spec/vpsId").to_owned())
            } else {
                self.vm_of(&record)
            };
            if errs {
                self.judge.knows_of_an_error(text(&record, "/metadata/uid"));
            }
            let resolution = match (self.judge.was_executed(&record) != errs, vm) {
                _ if is_refused && self.dice.happens(500) => Value::Null,
                _ if is_refused || self.dice.happens(100) => json!({"answer": "Abandon", "vpsId": null}),
                (false, _) => json!({"answer": "NotExecuted", "vpsId": null}),
                (true, Some(vm)) => json!({"answer": "Adopt", "vpsId": vm}),
                (true, None) if text(&record, "/spec/type") != "RestoreToCloudVm" => {
                    json!({"answer": "Adopt", "vpsId": null})
                }
                (true, None) => continue,
            };
            let patch = json!({"spec": {"resolution": resolution}});
            let done = self
                .server
                .patch(PERSON, Kind::OPERATION, Part::Whole, ("", name), &patch);
            let answer = text(&patch, "/spec/resolution/answer");
            let how = if errs { " in error" } else { "" };
            self.told(&format!("answers {name}{how}: {answer}"), done);
        }
    }

    fn vm_of(&self, record: &Value) -> Option<String> {
        let name = text(record, "/spec/expectedVmName");
        self.judge.vm_named(name)
    }

    /// Lets everything go on: what is held or suspended is resumed, what is not approved is approved, and no budget is left.
    pub fn help(&self) {
        self.remove_budget();
        for (kind, namespace, name) in self.places() {
            let object = self.server.get(kind, namespace, name);
            let hold = object.as_deref().map(|object| annotation(object, HOLD));
            if !matches!(hold, None | Some("" | "false")) {
                self.put_hold((kind, namespace, name), &Value::Null);
            }
        }
        for wanted in &self.wanted {
            let Some(object) = self.server.get(wanted.kind, NAMESPACE, &wanted.name) else {
                continue;
            };
            if at(&object, "/spec/suspend") == Some(&Value::Bool(true)) {
                self.patch(wanted, &json!({"spec": {"suspend": false}}), "resumes");
            }
            let (reason, ..) = standing(&object);
            if matches!(
                reason.as_str(),
                "AwaitingApproval" | "QuoteExceedsCeiling" | "ApprovalExpired"
            ) {
                self.approve_quote(wanted, &object);
            }
        }
        self.answer();
    }
}
