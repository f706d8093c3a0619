//! The question that an unknown outcome puts to a person, and the commands that answer it.

use super::record::Record;
use super::text::Text;

/// Why it is asked: what is known, or why the last answer was not taken.
pub fn why(record: &Record, known: &Text) -> String {
    record.known.answer_refused.as_ref().map_or_else(
        || known.to_string(),
        |refused| format!("the last answer was not taken: {refused}"),
    )
}

/// The command that gives `answer`, the JSON of a resolution.
pub fn command(record: &Record, answer: &str) -> String {
    format!(
        "kubectl patch vpsoperation {} --type=merge -p '{{\"spec\":{{\"resolution\":{answer}}}}}'",
        record.name
    )
}
