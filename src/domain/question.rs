//! The question that an unknown outcome puts to a person, and the commands that answer it.

use super::record::Record;
use super::text::Text;

/// Why it is asked, without a stop at its end: what is known, or why the last answer was not taken.
pub fn why(record: &Record, known: &Text) -> String {
    record.known.answer_refused.as_ref().map_or_else(
        || known.as_clause().to_owned(),
        |refused| format!("the last answer was not taken: {}", refused.as_clause()),
    )
}

/// The command that gives `answer`, the JSON of a resolution.
pub fn command(record: &Record, answer: &str) -> String {
    format!(
        "kubectl patch vpsoperation {} --type=merge -p '{{\"spec\":{{\"resolution\":{answer}}}}}'",
        record.name
    )
}
