//! While a record is under way: it says how things stand.

use super::before_claim::facts;
use super::{Decision, Look, Shown};
use crate::domain::question;
use crate::domain::reason::Reason;
use crate::domain::record::{Evidence, Matter, Record, State, later};
use crate::domain::text::Text;

impl Look<'_> {
    /// What a record says that neither is done nor allows a further attempt.
    pub(super) fn mirror(&self, record: &Record) -> Decision {
        let own = self.intent.owns(record);
        let shown = facts(Shown {
            gates: if own { record.gates.clone() } else { Vec::new() },
            quote: record.quote.clone().filter(|_| own),
            approved: own.then_some(true),
            record: self.own_record(),
            ..Shown::default()
        });
        let known = &record.known;
        let message = &known.message;
        let say = |reason, message: String| self.report(reason, message, shown.clone(), None);
        if let (State::Accepted | State::Unknown, None, Some(trouble)) =
            (known.state, known.evidence, &self.view.chain.following)
        {
            return say(trouble.reason, trouble.message.to_string());
        }
        match known.state {
            State::Sending if self.now <= later(record.claim.made_at, self.times.paid_timeout) => say(
                Reason::Submitting,
                format!("the paid call of VpsOperation {} is on its way", record.name),
            ),
            State::Sending => say(Reason::ConfirmingOutcome, confirming(record)),
            State::Accepted => match &known.invoice {
                Some(invoice) => say(
                    Reason::AwaitingPayment,
                    format!("HostUp took the change; pay {invoice} in HostUp's panel for it to take effect"),
                ),
                None => say(
                    Reason::Converging,
                    format!("{message}; its options do not show {} yet", what(record)),
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
                    | Evidence::Job
                    | Evidence::JobDeadline
                    | Evidence::VmFound
                    | Evidence::FoundBeforeClaim
                    | Evidence::ReadBack
                    | Evidence::Answered
                    | Evidence::ExecutedUnasked
                    | Evidence::Person,
                ) => say(Reason::OutcomeUnknown, ask(record, message)),
            },
            State::Abandoned => say(Reason::Abandoned, message.to_string()),
            // No order of options comes to these here.
            State::Failed | State::Succeeded | State::NotSent | State::Rejected | State::NotExecuted => {
                say(Reason::OutcomeUnknown, message.to_string())
            }
        }
    }
}

fn what(record: &Record) -> String {
    match &record.matter {
        Matter::Config(change) => change.difference.to_string(),
        Matter::LegacyEstimate(_) => "an estimate".to_owned(),
        Matter::LegacyUpgrade(_) => "an upgrade".to_owned(),
        Matter::Restore(_) => "a restore".to_owned(),
    }
}

fn confirming(record: &Record) -> String {
    format!(
        "the answer to the paid call of VpsOperation {} was lost; whether {} was executed is looked for. \
         It is not sent again",
        record.name,
        what(record)
    )
}

/// The question to a person, with the command of each answer.
fn ask(record: &Record, why: &Text) -> String {
    let price = match record.price_summary() {
        price if price.is_empty() => String::new(),
        price => format!(" for {price}"),
    };
    let answer = |body: &str| question::command(record, body);
    format!(
        "{}. HostUp may have executed {}{price} at {:.0} (VpsOperation {}). \
         Look in HostUp's panel, then give one of three answers. \
         It was not executed: {} ; it was executed: {} ; give it up: {}",
        question::why(record, why),
        what(record),
        record.claim.made_at,
        record.name,
        answer("{\"answer\":\"NotExecuted\"}"),
        answer("{\"answer\":\"Adopt\"}"),
        answer("{\"answer\":\"Abandon\"}"),
    )
}
