//! A job's answer, read by its words (job page; the words are those that real clients cope with).
// Reading a JSON value by a member that it lacks gives null, and does not panic.
#![allow(clippy::indexing_slicing)]

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::values::ids::VpsId;
use crate::values::text::Text;

/// Where HostUp's job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Queued or running, or a word that nobody documents: it is polled on.
    Running {
        /// Per cent, if the job tells.
        progress: Option<u8>,
    },
    /// Done. The ids are hints only: no page says which field names the new VM.
    Completed {
        /// Texts of the result that look like VPS ids.
        hints: Vec<VpsId>,
        /// From `createdAt` to `finishedAt`, where it tells both (job page).
        took: Option<Duration>,
    },
    /// Failed; that does not mean that no VM was made.
    Failed {
        /// The job's own words.
        error: Text,
    },
    /// HostUp does not know it (any more), or contradicts itself; it does not mean that it failed.
    Lost,
}

impl JobState {
    /// Whether the VM is to be looked for now.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Completed { .. } | Self::Failed { .. } => true,
            Self::Running { .. } | Self::Lost => false,
        }
    }

    /// Reads a 200 answer: the legacy envelope's `data`, a flat body, or `operation`; with HostUp's own word for where
    /// the job stands. `None` where it is no job at all.
    pub fn read(body: &[u8]) -> Option<(Self, Option<Text>)> {
        let body: Value = serde_json::from_slice(body).ok()?;
        if body["success"] == false && !body["data"].is_object() {
            return None;
        }
        let job = ["data", "operation"]
            .iter()
            .map(|key| &body[*key])
            .find(|part| part.is_object())
            .unwrap_or(&body);
        if !job.is_object() {
            return None;
        }
        let word = word_of(job);
        let state = match Self::of(job, word) {
            // The answer, or the job's result, says that it failed (a 2xx with `success: false`; result of the job page).
            Self::Completed { .. } if body["success"] == false || says_no(&job["result"]) => Self::Lost,
            state => state,
        };
        Some((state, status_word(word)))
    }

    fn of(job: &Value, word: &str) -> Self {
        let flag = |name: &str| job[name].as_bool();
        match word.to_ascii_lowercase().as_str() {
            "completed" if flag("isFailed") == Some(true) || flag("isCompleted") == Some(false) => Self::Lost,
            "completed" => Self::completed(job),
            "failed" | "cancelled" if flag("isCompleted") == Some(true) && flag("isFailed") != Some(true) => {
                Self::Lost
            }
            "failed" | "cancelled" => Self::Failed { error: error_of(job) },
            "" if flag("isCompleted") == Some(true) && flag("isFailed") == Some(false) => {
                Self::completed(job)
            }
            _ if flag("isCompleted") == Some(true) || flag("isFailed") == Some(true) => Self::Lost,
            _ => Self::Running {
                progress: progress_of(job),
            },
        }
    }

    fn completed(job: &Value) -> Self {
        let mut hints = Vec::new();
        collect_vps_ids(&job["result"], &mut hints);
        let time = |name: &str| job[name].as_str()?.parse::<Timestamp>().ok();
        let took = time("createdAt").zip(time("finishedAt"));
        let took = took.and_then(|(made, finished)| Duration::try_from(finished.duration_since(made)).ok());
        Self::Completed { hints, took }
    }
}

/// The page shows one result within the other.
fn says_no(result: &Value) -> bool {
    result["success"] == false || result["result"]["success"] == false
}

fn word_of(job: &Value) -> &str {
    let words = [&job["status"], &job["state"], &job["operation"]["status"]];
    words.into_iter().find_map(Value::as_str).unwrap_or_default()
}

/// HostUp's word for where a job stands, as it is shown.
pub fn status_word(word: &str) -> Option<Text> {
    Some(Text::bounded(word, 40)).filter(|word| !word.as_str().is_empty())
}

fn error_of(job: &Value) -> Text {
    let said = [&job["error"], &job["error"]["message"], &job["progressMessage"]];
    Text::new(
        said.into_iter()
            .find_map(Value::as_str)
            .unwrap_or("HostUp gives no reason"),
    )
}

fn progress_of(job: &Value) -> Option<u8> {
    let number = [&job["progress"], &job["progressDetails"]["percentage"]]
        .into_iter()
        .find_map(Value::as_u64);
    number.and_then(|n| u8::try_from(n.min(100)).ok())
}

/// Accepts `vps_...` texts wherever they stand in the result, nothing numeric.
fn collect_vps_ids(value: &Value, found: &mut Vec<VpsId>) {
    match value {
        Value::String(text) if text.starts_with("vps_") && text.len() <= 64 && found.len() < 16 => {
            found.push(VpsId::new(text));
        }
        Value::Array(list) => list.iter().for_each(|item| collect_vps_ids(item, found)),
        Value::Object(members) => members.values().for_each(|item| collect_vps_ids(item, found)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(job: Value) -> JobState {
        told(job).0
    }

    fn told(job: Value) -> (JobState, Option<Text>) {
        JobState::read(json!({"success": true, "data": job}).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_word_is_hostups_own_wherever_it_stands_bounded_and_printable() {
        for (job, word) in [
            (json!({"status": "Queued"}), Some("Queued")),
            (json!({"state": "brand_new"}), Some("brand_new")),
            (json!({"status": null, "state": "completed"}), Some("completed")),
            (json!({"operation": {"status": "failed"}}), Some("failed")),
            (json!({"status": "a\u{1b}[31mb"}), Some("a [31mb")),
            (json!({"status": "", "isCompleted": true}), None),
            (json!({"status": 7}), None),
        ] {
            assert_eq!(told(job.clone()).1.as_ref().map(Text::as_str), word, "{job}");
        }
        let long = told(json!({"status": "x".repeat(5_000)})).1.unwrap();
        assert_eq!(long.as_str().chars().count(), 40);
    }

    #[test]
    fn words_are_read_in_any_case_and_at_every_place() {
        for word in [
            "pending",
            "queued",
            "waiting",
            "delayed",
            "scheduled",
            "in_progress",
            "PROCESSING",
            "active",
            "running",
            "",
            "brand_new",
        ] {
            assert!(
                matches!(read(json!({"status": word})), JobState::Running { .. }),
                "{word}"
            );
        }
        assert!(matches!(
            read(json!({"state": "Completed"})),
            JobState::Completed { .. }
        ));
        assert!(matches!(
            read(json!({"isCompleted": true, "isFailed": false})),
            JobState::Completed { .. }
        ));
        assert!(matches!(
            read(json!({"status": "cancelled"})),
            JobState::Failed { .. }
        ));
        let flat = json!({"status": "failed", "error": "disk"}).to_string();
        assert_eq!(
            JobState::read(flat.as_bytes()).unwrap().0,
            JobState::Failed {
                error: Text::new("disk")
            }
        );
        let operation = json!({"operation": {"status": "completed"}}).to_string();
        assert!(matches!(
            JobState::read(operation.as_bytes()),
            Some((JobState::Completed { .. }, Some(_)))
        ));
    }

    #[test]
    fn a_job_that_contradicts_itself_is_lost_and_not_failed() {
        for job in [
            json!({"status": "completed", "isFailed": true}),
            json!({"status": "completed", "isCompleted": false}),
            json!({"status": "failed", "isCompleted": true, "isFailed": false}),
            json!({"status": "running", "isFailed": true}),
            json!({"isCompleted": true, "isFailed": true}),
            json!({"status": "completed", "result": {"success": false}}),
            json!({"isCompleted": true, "isFailed": false, "result": {"success": true, "result": {"success": false}}}),
        ] {
            assert_eq!(read(job.clone()), JobState::Lost, "{job}");
        }
        let no = json!({"success": false, "data": {"status": "completed"}}).to_string();
        assert_eq!(JobState::read(no.as_bytes()).unwrap().0, JobState::Lost);
    }

    #[test]
    fn only_vps_texts_of_the_result_are_hints() {
        let job = json!({"status": "completed", "vmId": "101", "result": {"result": {"vmId": 7, "vps": "vps_new", "list": ["vps_b", "x"]}}});
        assert_eq!(
            read(job),
            JobState::Completed {
                hints: vec![VpsId::new("vps_b"), VpsId::new("vps_new")],
                took: None,
            }
        );
    }

    #[test]
    fn how_long_a_job_took_is_known_where_it_tells_when_it_was_made_and_finished() {
        let took = |made: &str, finished: Value| match read(
            json!({"status": "completed", "createdAt": made, "finishedAt": finished}),
        ) {
            JobState::Completed { took, .. } => took,
            other => panic!("{other:?}"),
        };
        let made = "2026-11-20T10:00:00.250Z";
        let seconds = |finished: &str| took(made, json!(finished));
        assert_eq!(
            seconds("2026-11-20T10:01:00Z"),
            Some(Duration::from_millis(59_750))
        );
        assert_eq!(
            seconds("2026-11-20T09:00:00Z"),
            None,
            "finished before it was made"
        );
        assert_eq!(seconds("soon"), None);
        assert_eq!(took(made, Value::Null), None);
    }

    #[test]
    fn what_is_no_job_is_not_read() {
        for body in ["", "null", "[]", "<html>", "{\"success\":false}"] {
            assert_eq!(JobState::read(body.as_bytes()), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_fail_the_job(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let is_failed = matches!(JobState::read(&body), Some((JobState::Failed { .. }, _)));
            prop_assert!(!is_failed);
        }
    }
}
