//! While a record is under way: it says how things stand.

use super::before_claim::facts;
use super::{Decision, InForce, Look, StatusFacts, StatusView, reported};
use crate::action::question::{self, Answers};
use crate::ledger::record::{Evidence, Record, State, later};
use crate::status::reason::Reason;
use crate::status::report::mirrored_look;
use crate::values::text::{self, Text};

impl Look<'_> {
    /// Another object's record: nothing of it is told but its name, which tells nothing.
    fn mirror_another(&self, record: &Record) -> Decision {
        let wake = Some(later(self.now, self.times.gate_interval));
        let (reason, message) = match (record.known.state, record.known.evidence) {
            (State::Abandoned, _) => (
                Reason::Abandoned,
                format!(
                    "nothing is ordered for this VPS any more, as VpsOperation {} says",
                    record.name
                ),
            ),
            (State::Unknown, Some(_)) => (
                Reason::OutcomeUnknown,
                format!(
                    "another object's order for this VPS may have been executed, and nothing is ordered before \
                     a person says so. That object, to hold it too: kubectl get vpsoperation {} -o \
                     jsonpath='{{.spec.subject}}' . {}",
                    record.name,
                    answers(record)
                ),
            ),
            _ => (
                Reason::ConfirmingOutcome,
                format!(
                    "another object's order for this VPS (VpsOperation {}) has no known outcome yet; the operator \
                     waits for it",
                    record.name
                ),
            ),
        };
        reported(reason, message, StatusFacts::Kept, wake)
    }

    /// What a record says that neither is done nor allows a further attempt.
    pub(super) fn mirror(&self, record: &Record) -> Decision {
        if !self.intent.owns(record) {
            return self.mirror_another(record);
        }
        let corrects_drift = record.action.change().is_some_and(|change| change.corrects_drift);
        let shown = facts(StatusView {
            gates: record.gates.clone(),
            quote: record.quote.clone(),
            approved: Some(true),
            record: Some(record.clone()),
            drifted: corrects_drift.then_some(true),
            in_force: if corrects_drift {
                InForce::Kept
            } else {
                InForce::Nothing
            },
            ..StatusView::default()
        });
        let known = &record.known;
        let (message, clause) = (&known.message, known.message.as_clause());
        let again = Some(mirrored_look(self.times, self.now));
        let say = |reason, message: String| reported(reason, message, shown.clone(), again);
        if let (State::Sending | State::Accepted | State::Unknown, None, Some(trouble)) =
            (known.state, known.evidence, &self.view.chain.following)
        {
            return say(trouble.reason, trouble.message.to_string());
        }
        match known.state {
            State::Sending if self.now <= later(record.claimed_from(), self.times.paid_timeout) => say(
                Reason::Submitting,
                format!("the paid call of VpsOperation {} is under way", record.name),
            ),
            State::Sending => say(Reason::ConfirmingOutcome, confirming(record)),
            State::Accepted => match &known.invoice {
                Some(invoice) => say(
                    Reason::AwaitingPayment,
                    format!(
                        "HostUp took the change. Pay {invoice} {}, then it takes effect",
                        invoice.where_to_pay()
                    ),
                ),
                None => say(
                    Reason::Converging,
                    format!(
                        "{clause}; HostUp does not show {} yet",
                        record.action.in_words(&record.vps)
                    ),
                ),
            },
            State::Unknown => match known.evidence {
                None => say(Reason::ConfirmingOutcome, confirming(record)),
                Some(Evidence::NotConverged) => say(Reason::NotConverged, ask(record, message)),
                Some(Evidence::AccountMismatch) => say(Reason::AccountMismatch, ask(record, message)),
                Some(
                    Evidence::NoneFound
                    | Evidence::SeveralFound
                    | Evidence::OtherSize
                    | Evidence::BackupFound
                    | Evidence::Job
                    | Evidence::JobDeadline
                    | Evidence::VmFound
                    | Evidence::FoundBeforeClaim
                    | Evidence::ReadBack
                    | Evidence::Answered
                    | Evidence::ExecutedUnasked
                    | Evidence::CannotLook
                    | Evidence::Person,
                ) => say(Reason::OutcomeUnknown, ask(record, message)),
            },
            State::Abandoned => say(
                Reason::Abandoned,
                format!(
                    "{clause}. Nothing is ordered for this VPS any more (VpsOperation {})",
                    record.name
                ),
            ),
            // No order of options comes to these here.
            State::Failed | State::Succeeded | State::NotSent | State::Rejected | State::NotExecuted => {
                say(Reason::OutcomeUnknown, message.to_string())
            }
        }
    }
}

fn confirming(record: &Record) -> String {
    let unclear = format!(
        "VpsOperation {} brought no answer that shows whether HostUp executed {}",
        record.name,
        record.action.in_words(&record.vps)
    );
    format!(
        "{}; {}",
        text::clause(&record.known.said.cited(&unclear)),
        record.action.kind().row().looked_for
    )
}

/// The question to a person, with the command of each answer.
fn ask(record: &Record, why: &Text) -> String {
    let price = match record.price_summary() {
        price if price.is_empty() => String::new(),
        price => format!(" for {price}"),
    };
    format!(
        "{}. {} was ordered{price} at {:.0} (VpsOperation {}), and HostUp may have executed it.{} \
         {}",
        question::why(record, why),
        capitalised(&record.action.in_words(&record.vps)),
        record.claim.made_at,
        record.name,
        question::answered(record),
        answers(record),
    )
}

fn answers(record: &Record) -> String {
    question::answers(
        record,
        Answers {
            executed: "it was executed",
            adopt: "{\"answer\":\"Adopt\"}",
            given_up: "order nothing more for this VPS",
        },
    )
}

/// A sentence may begin with it; the key of an option stays as it is.
fn capitalised(text: &str) -> String {
    for (article, capital) in [("the ", "The "), ("an ", "An ")] {
        if let Some(rest) = text.strip_prefix(article) {
            return format!("{capital}{rest}");
        }
    }
    text.to_owned()
}
