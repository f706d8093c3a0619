//! The question that an unknown outcome puts to a person, and the commands that answer it.

use super::follow::is_refuted;
use crate::action::said::Said;
use crate::ledger::record::Record;
use crate::values::text::{self, Text};

/// Why it is asked, without a stop at its end: what is known, and why the last answer was not taken.
pub fn why(record: &Record, known: &Text) -> String {
    record.known.answer_refused.as_ref().map_or_else(
        || known.as_clause().to_owned(),
        |refused| {
            format!(
                "{}; the last answer was not taken: {}",
                known.as_clause(),
                refused.as_clause()
            )
        },
    )
}

/// That the outcome is being looked for, and how.
pub fn confirming(record: &Record) -> String {
    let said = &record.known.said;
    let lost = if *said == Said::default() {
        format!("the answer to the call of VpsOperation {} was lost", record.name)
    } else {
        let what = format!(
            "HostUp's answer to the call of VpsOperation {} proves nothing",
            record.name
        );
        text::clause(&said.cited(&what)).to_owned()
    };
    format!("{lost}; {}", record.action.kind().row().looked_for)
}

/// What HostUp answered, as a sentence that follows another; empty where it gave no answer that says anything.
pub fn answered(record: &Record) -> String {
    let said = &record.known.said;
    if *said == Said::default() {
        return String::new();
    }
    let told = said.cited("HostUp had answered");
    format!(" {}.", text::clause(&told))
}

/// What a person may answer, in the words of one kind of order.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    /// Before the command that says that it was executed.
    pub executed: &'static str,
    /// The JSON that says so.
    pub adopt: &'static str,
    /// Before the command that gives it up.
    pub given_up: &'static str,
}

/// The three answers, each with its command, and what follows the one that lets money be spent again.
pub fn answers(record: &Record, words: Answers) -> String {
    let Answers {
        executed,
        adopt,
        given_up,
    } = words;
    let not_executed = command(record, "{\"answer\":\"NotExecuted\"}");
    let not_executed = if is_refuted(&record.known) {
        format!(
            "take the last answer back: {} , and once status.resolutionRefused is gone: {not_executed}",
            command(record, "null")
        )
    } else {
        not_executed
    };
    format!(
        "Look in HostUp's panel, then give one of three answers. After NotExecuted {}; to prevent that, first set the \
         annotation vps.hostup.se/hold=true on the object. \
         It was not executed: {} ; {executed}: {} ; {given_up}: {}",
        record.action.kind().row().after_not_executed,
        not_executed,
        command(record, adopt),
        command(record, "{\"answer\":\"Abandon\"}"),
    )
}

/// The command that gives `answer`, the JSON of a resolution.
fn command(record: &Record, answer: &str) -> String {
    format!(
        "kubectl patch vpsoperation {} --type=merge -p '{{\"spec\":{{\"resolution\":{answer}}}}}'",
        record.name
    )
}
