use std::path::Path;
use std::{fs, io};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Result, Tried};

/// Which requests are recorded.
pub(crate) const POLICY: &str = include_str!("audit-policy.yaml");

/// One request that the API server has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// In whose name; of an impersonation, the user acted for.
    pub user: String,
    /// The API group, empty for the core one.
    pub group: String,
    /// The plural resource, `vpsoperations`.
    pub resource: String,
    /// `status` and the like; empty for the object itself.
    pub subresource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty for lists, and for a create that was refused before its body was read.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// When the answer was complete, by the clock of the API server.
    pub at: Timestamp,
    /// The object or the patch that was sent, of the writes that the policy says; else null.
    pub body: Value,
}

impl AuditEvent {
    /// True for requests that can change something, whether or not they were refused.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// Reads the complete lines of an audit log; a missing file is an empty log.
pub(crate) fn read(path: &Path) -> Result<Vec<AuditEvent>> {
    let log = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.tried(|| format!("read {}", path.display()))?,
    };
    log.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| {
            serde_json::from_str::<Line>(line)
                .map(AuditEvent::from)
                .map_err(io::Error::from)
                .tried(|| format!("understand a line of {}", path.display()))
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    user: Account,
    impersonated_user: Option<Account>,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    stage_timestamp: Timestamp,
    #[serde(default)]
    request_object: Value,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl From<Line> for AuditEvent {
    fn from(line: Line) -> Self {
        Self {
            verb: line.verb,
            user: line.impersonated_user.unwrap_or(line.user).username,
            group: line.object_ref.api_group,
            resource: line.object_ref.resource,
            subresource: line.object_ref.subresource,
            namespace: line.object_ref.namespace,
            name: line.object_ref.name,
            code: line.response_status.code,
            at: line.stage_timestamp,
            body: line.request_object,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"kind":"Event","level":"Metadata","stage":"ResponseComplete","verb":"create","user":{"username":"admin","groups":["system:masters"]},"impersonatedUser":{"username":"author"},"objectRef":{"resource":"leases","namespace":"default","name":"a","apiGroup":"coordination.k8s.io"},"responseStatus":{"metadata":{},"code":201},"stageTimestamp":"2026-11-23T02:24:30.735522Z"}"#;

    #[test]
    fn a_line_still_being_written_is_left_for_the_next_reading() {
        let log = tempfile::NamedTempFile::new().unwrap();
        fs::write(log.path(), format!("{LINE}\n{}", &LINE[..40])).unwrap();
        let events = read(log.path()).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].user, "author");
        assert_eq!(events[0].resource, "leases");
        assert_eq!(events[0].code, 201);
        assert!(events[0].is_write());
    }

    #[test]
    fn a_log_that_was_not_begun_is_empty() {
        assert!(read(Path::new("/nonexistent/audit.log")).unwrap().is_empty());
    }
}
