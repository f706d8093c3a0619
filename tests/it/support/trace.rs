//! What the API server and HostUp saw of a restore, held against what the search of the machine knows.

use std::collections::{HashMap, HashSet};

use hostup_sim::Route;
use jiff::Timestamp;
use serde_json::Value;

use super::{TestEnv, at};

/// Every trace of the model, from its first look to an end or a question: `make traces`.
const OF_THE_MODEL: &str = include_str!("../traces.txt");

impl TestEnv {
    /// Fails unless the model can live so that the same is seen, in the same order: claims, paid calls, what became of
    /// the records, and what a person did to the object.
    pub async fn check_trace(&self, name: &str) {
        let seen = self.seen(name).await;
        let unclear: Vec<usize> = (0..seen.len()).filter(|at| seen[*at].is_unclear).collect();
        let traces = (0..1_usize << unclear.len()).map(|absent| {
            let is_absent = |at| {
                unclear
                    .iter()
                    .position(|one| *one == at)
                    .is_some_and(|bit| absent >> bit & 1 == 1)
            };
            trace(
                seen.iter()
                    .enumerate()
                    .filter(|(at, _)| !is_absent(*at))
                    .map(|(_, seen)| seen),
            )
        });
        let traces: Vec<String> = traces.collect();
        assert!(
            traces
                .iter()
                .any(|trace| OF_THE_MODEL.lines().any(|known| known == trace)),
            "{name} lived as no model does: {traces:#?}"
        );
    }

    async fn seen(&self, name: &str) -> Vec<Seen> {
        let mut items: Vec<Seen> = Vec::new();
        let clear = |at, what| Seen {
            at,
            what,
            of: None,
            is_unclear: false,
        };
        let mut attempts = HashMap::new();
        for record in self.records().await {
            if at(&record, "spec.subject.name") != name {
                continue;
            }
            let attempt = at(&record, "spec.attempt").as_u64().unwrap();
            let body = at(&record, "spec.request.body");
            let posts = self.sim.requests_on(Route::RestoreToPayg);
            for post in posts.iter().filter(|post| body == post.body_text().as_str()) {
                items.push(clear(post.at.try_into().unwrap(), format!("sent {attempt}")));
            }
            attempts.insert(at(&record, "metadata.name").as_str().unwrap().to_owned(), attempt);
        }
        let mut claimed = HashSet::new();
        let mut is_made = false;
        for event in self.audit().await {
            let is_refused = (400..500).contains(&event.code);
            if event.group != "vps.hostup.se" || is_refused {
                continue;
            }
            let is_object = event.resource == "vpsbackuprestores"
                && event.namespace == self.namespace
                && event.name == name;
            let attempt = attempts
                .get(&event.name)
                .filter(|_| event.resource == "vpsoperations");
            let item = match (event.verb.as_str(), event.subresource.as_str(), attempt) {
                ("create", "", Some(n)) if claimed.insert(*n) => format!("claimed {n}"),
                ("update" | "patch", "status", Some(n)) => {
                    let word = |path| at(&event.body, path).as_str().unwrap_or_default();
                    let now = format!("{n} {} {}", word("status.state"), word("status.evidence"));
                    items.push(Seen {
                        of: Some(*n),
                        is_unclear: !(200..300).contains(&event.code),
                        ..clear(event.at, now.trim_end().to_owned())
                    });
                    continue;
                }
                ("patch", "", None) if is_object && *at(&event.body, "spec.suspend") == Value::Bool(true) => {
                    "suspended".to_owned()
                }
                ("delete", "", None) if is_object => "deleted".to_owned(),
                ("create", "", None) if is_object && std::mem::replace(&mut is_made, true) => {
                    "created".to_owned()
                }
                _ => continue,
            };
            items.push(clear(event.at, item));
        }
        items.sort_by_key(|item| item.at);
        items
    }
}

/// Something that the API server or HostUp saw.
struct Seen {
    at: Timestamp,
    what: String,
    /// The attempt whose record was written.
    of: Option<u64>,
    /// Its client has died: the API server does not say whether it has written.
    is_unclear: bool,
}

/// What was seen, in words; a write that changes nothing is left out.
fn trace<'a>(seen: impl Iterator<Item = &'a Seen>) -> String {
    let mut shown: HashMap<u64, &str> = HashMap::new();
    let mut news = |seen: &&'a Seen| {
        seen.of
            .is_none_or(|of| shown.insert(of, &seen.what) != Some(seen.what.as_str()))
    };
    let items: Vec<&str> = seen
        .filter(|seen| news(seen))
        .map(|seen| seen.what.as_str())
        .collect();
    items.join(", ")
}
