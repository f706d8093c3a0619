//! After the claim: the record says how things stand.

use std::time::Duration;

use jiff::Timestamp;

use super::{Decision, Intent, ProviderReading, StatusFacts, View, report, stalled, troubled};
use crate::action::ordered::Restoration;
use crate::action::question::{self, Answers};
use crate::action::said::Said;
use crate::ledger::names::VmToken;
use crate::ledger::record::{Bought, Evidence, Record, State, Times, later};
use crate::status::reason::Reason;
use crate::status::report::mirrored_look;
use crate::values::text::{self, Text};

/// The part of a life in which a record says how things stand.
pub(super) fn mirror(
    intent: &Intent,
    record: &Record,
    restored: &Restoration,
    view: &View,
    times: &Times,
    now: Timestamp,
) -> Decision {
    let recorded = |vm: Option<Bought>| StatusFacts::Recorded {
        record: Box::new(record.clone()),
        vm,
    };
    let facts = recorded(record.known.result.clone());
    let (message, clause) = (&record.known.message, record.known.message.as_clause());
    let again = Some(mirrored_look(times, now));
    if let (State::Sending | State::Accepted | State::Unknown, None, Some(trouble)) =
        (record.known.state, record.known.evidence, &view.chain.following)
    {
        return report(trouble.reason, trouble.message.to_string(), facts, again);
    }
    match record.known.state {
        State::Sending if now <= later(record.claimed_from(), times.paid_timeout) => {
            let message = format!("the paid call of VpsOperation {} is under way", record.name);
            report(Reason::Submitting, message, facts, again)
        }
        State::Sending => report(
            Reason::ConfirmingOutcome,
            confirming(record, restored),
            facts,
            again,
        ),
        State::Accepted if record.known.evidence.is_some() => {
            let message = format!("{clause}; the operator checks whether it left a VM");
            report(Reason::JobRunning, message, facts, again)
        }
        State::Accepted => {
            let job = record.known.job.as_ref().map_or("", |job| job.id.as_str());
            report(
                Reason::JobRunning,
                format!("HostUp restores the backup (job {job})"),
                facts,
                again,
            )
        }
        State::Unknown => match record.known.evidence {
            None => report(
                Reason::ConfirmingOutcome,
                confirming(record, restored),
                facts,
                again,
            ),
            Some(Evidence::JobDeadline) => report(
                Reason::JobDeadlineExceeded,
                ask(record, restored, message),
                facts,
                again,
            ),
            Some(Evidence::AccountMismatch) => report(
                Reason::AccountMismatch,
                ask(record, restored, message),
                facts,
                again,
            ),
            Some(
                Evidence::NoneFound
                | Evidence::SeveralFound
                | Evidence::OtherSize
                | Evidence::BackupFound
                | Evidence::Job
                | Evidence::VmFound
                | Evidence::FoundBeforeClaim
                | Evidence::ReadBack
                | Evidence::NotConverged
                | Evidence::Answered
                | Evidence::ExecutedUnasked
                | Evidence::CannotLook
                | Evidence::Person,
            ) => report(
                Reason::OutcomeUnknown,
                ask(record, restored, message),
                facts,
                again,
            ),
        },
        State::Failed => match &record.known.result {
            Some(vm) => report(
                Reason::VpsLeftBilling,
                format!(
                    "{clause}, and left {} ({}), which costs money until it is cancelled in HostUp's panel. \
                 To try again create a VpsBackupRestore with another name",
                    vm.vps, vm.name
                ),
                facts,
                again,
            ),
            None => report(
                Reason::JobFailed,
                format!(
                    "{clause}. No VM has its token; to try again create a VpsBackupRestore with another name"
                ),
                facts,
                again,
            ),
        },
        State::Abandoned => report(
            Reason::Abandoned,
            format!(
                "{clause} (VpsOperation {}). If HostUp's panel shows a VM {}, cancel it there. Another restore needs another \
                 name",
                record.name, restored.vm_name
            ),
            facts,
            again,
        ),
        State::Succeeded => after_success(intent, record, restored, view, times, now),
        // These free the name and never come here.
        State::NotSent | State::Rejected | State::NotExecuted => {
            report(Reason::Rejected, message.to_string(), facts, again)
        }
    }
}

fn after_success(
    intent: &Intent,
    record: &Record,
    restored: &Restoration,
    view: &View,
    times: &Times,
    now: Timestamp,
) -> Decision {
    let facts = |vm: Bought| StatusFacts::Recorded {
        record: Box::new(record.clone()),
        vm: Some(vm),
    };
    let Some(bought) = record.known.result.clone() else {
        return report(
            Reason::OutcomeUnknown,
            ask(record, restored, &record.known.message),
            StatusFacts::Nothing,
            Some(mirrored_look(times, now)),
        );
    };
    let same_object = record.subject.uid == intent.subject.uid;
    let done = |vm: Bought| {
        let ip = vm.primary_ip.as_ref().map_or("", Text::as_str);
        if record.known.evidence == Some(Evidence::FoundBeforeClaim) {
            let message = format!(
                "{} ({ip}) has the token of this object and existed before anything was ordered; nothing was bought \
                 (VpsOperation {}). The operator does not know which backup the VM contains: check it before you use it",
                vm.vps, record.name
            );
            return report(Reason::AlreadyExecuted, message, facts(vm), None);
        }
        if same_object {
            let message = format!("backup {} restored to {} ({ip})", restored.backup.id, vm.vps);
            return report(Reason::Restored, message, facts(vm), None);
        }
        let message = format!(
            "already restored to {} ({ip}) by VpsOperation {} for an earlier object of this name; nothing was bought again",
            vm.vps, record.name
        );
        report(Reason::AlreadyExecuted, message, facts(vm), None)
    };
    if let Some(latched) = view.latched.clone().filter(|latched| latched.vps == bought.vps) {
        return done(latched);
    }
    let since = record.known.quiet_since.unwrap_or(record.claimed_by());
    let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let wait = |message: String| {
        if age >= times.job_deadline {
            let message = format!("{message}, and the job deadline has passed; look at it in HostUp's panel");
            return stalled(
                view,
                times,
                now,
                Reason::JobDeadlineExceeded,
                facts(bought.clone()),
                message,
            );
        }
        let longest = times.poll_interval.max(Duration::from_secs(60));
        let pause = (age / 20).clamp(times.poll_interval, longest);
        report(
            Reason::Booting,
            message,
            facts(bought.clone()),
            Some(later(now, pause)),
        )
    };
    let vm = match &view.reading {
        ProviderReading::Unread
        | ProviderReading::Source(_)
        | ProviderReading::Ends(..)
        | ProviderReading::Preflight(_)
        | ProviderReading::Target(_) => return Decision::ReadVm(bought.vps),
        ProviderReading::Trouble(trouble) => {
            return troubled(trouble, view, times, now, facts(bought.clone()));
        }
        // What an earlier object of this name bought may have been cancelled since.
        ProviderReading::Vm(None) if !same_object && age >= times.settle_time => return done(bought),
        ProviderReading::Vm(None) => return wait(format!("{} cannot be read at the moment", bought.vps)),
        ProviderReading::Vm(Some(vm)) => vm,
    };
    match vm.size {
        // One that was bought for an earlier object of this name may have been resized since.
        Some(size) if size != restored.ordered && same_object => {
            let message = format!(
                "{} has {size} instead of the ordered {}; it is billed by its real size. Resize it with a VpsResourceConfig, \
                 or cancel it in HostUp's panel",
                vm.id, restored.ordered
            );
            stalled(view, times, now, Reason::WrongSize, facts(bought), message)
        }
        Some(_) if vm.is_up() && vm.is_payg => done(Bought {
            vps: vm.id.clone(),
            name: Text::bounded(&vm.name, 80),
            primary_ip: vm.primary_ip.clone(),
            size: vm.size,
        }),
        Some(_) => wait(format!("{} exists and is not up yet", vm.id)),
        None => wait(format!("{} exists; HostUp does not show its size yet", vm.id)),
    }
}

fn confirming(record: &Record, restored: &Restoration) -> String {
    let said = &record.known.said;
    let lost = if *said == Said::default() {
        format!(
            "the answer to the paid call of VpsOperation {} was lost",
            record.name
        )
    } else {
        let what = format!(
            "HostUp's answer to the paid call of VpsOperation {} proves nothing",
            record.name
        );
        text::clause(&said.cited(&what)).to_owned()
    };
    format!(
        "{lost}; the operator searches for the VM {} and does not send the call again",
        restored.vm_name
    )
}

/// The question to a person, with the command of each answer.
fn ask(record: &Record, restored: &Restoration, why: &Text) -> String {
    let name = &record.name;
    let token = restored.token();
    let token = token.as_ref().map_or("", VmToken::as_str);
    let why = question::why(record, why);
    format!(
        "{why}. HostUp may have sold a VM for {} at {:.0} (VpsOperation {name}, token {token}).{} {}",
        record.price_summary(),
        record.claim.made_at,
        question::answered(record),
        question::answers(
            record,
            Answers {
                executed: "this VM is the one",
                adopt: "{\"answer\":\"Adopt\",\"vpsId\":\"vps_...\"}",
                given_up: "give it up",
            }
        ),
    )
}
