//! Requests to the API server, by its own audit log.

use std::collections::BTreeMap;

use control_plane::AuditEvent;
use jiff::Timestamp;

use crate::error::{Result, Tried};
use crate::stage::Stage;

/// In whose name both contenders act.
const CONTENDER: &str = "system:serviceaccount:hostup-system:hostup-operator";

/// What the contender asked of the API server.
#[derive(Debug, Default)]
pub struct Requests {
    /// By verb and resource, e.g. `update vpsoperations/status`.
    pub by_kind: BTreeMap<String, usize>,
    /// All but those about events.
    pub all: usize,
    /// Writes to records.
    pub record_writes: usize,
    /// Writes to restores.
    pub subject_writes: usize,
    /// Events that it wrote.
    pub events: usize,
}

impl Requests {
    /// Writes to records and restores.
    pub fn writes(&self) -> usize {
        self.record_writes + self.subject_writes
    }
}

/// What the contender asked since that moment. Call it from a thread that may block.
pub fn since(stage: &Stage, from: Timestamp) -> Result<Requests> {
    let audit = stage.plane.audit().tried(|| "read the audit log".to_owned())?;
    Ok(count(
        audit
            .iter()
            .filter(|event| event.user == CONTENDER && event.at >= from),
    ))
}

fn count<'a>(events: impl Iterator<Item = &'a AuditEvent>) -> Requests {
    let mut requests = Requests::default();
    for event in events {
        let part = if event.subresource.is_empty() { "" } else { "/" };
        let kind = format!("{} {}{part}{}", event.verb, event.resource, event.subresource);
        *requests.by_kind.entry(kind).or_default() += 1;
        let writes = usize::from(event.is_write());
        match event.resource.as_str() {
            "events" => {
                requests.events += writes;
                continue;
            }
            "vpsoperations" => requests.record_writes += writes,
            "vpsbackuprestores" => requests.subject_writes += writes,
            _ => {}
        }
        requests.all += 1;
    }
    requests
}
