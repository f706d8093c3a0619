//! A backup of the VPS before it is changed (`spec.backupFirst`): whether there is one, the order that makes it, and how
//! things stand with it. Its records are of the chain of the change.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::action::ordered::{Action, NewBackup};
use crate::action::question::{self, Answers};
use crate::consent::price::Price;
use crate::consent::quote::Quote;
use crate::ledger::chain::LedgerView;
use crate::ledger::order::Order;
use crate::ledger::record::{Evidence, Record, State, Times, later};
use crate::provider::gate::{Gate, GateName, ProviderGate};
use crate::status::reason::Reason;
use crate::status::report::{Report, mirrored_look};
use crate::values::ids::{BackupId, InstanceId, RecordName, Uid, VpsId};
use crate::values::moment::is_dated_ahead;

/// A backup that was complete longer ago is none of before the change.
pub const BACKUP_LASTS: Duration = Duration::from_secs(60 * 60);

/// What a quote says of it.
pub const AS_TOLD: &str = "a backup first";

/// The backup of `vps` that was made for this object and whose change is still to come. `records` are those of the chain, the
/// last one first. `changed` is the time of the last record that changes the VPS, for any object. A backup that is not among
/// the `listed` ones has been deleted; which one it is may be unknown, after a person's answer.
pub fn made<'a>(
    mut records: impl Iterator<Item = &'a Record>,
    (uid, vps): (&Uid, &VpsId),
    changed: Option<Timestamp>,
    listed: Option<&[BackupId]>,
    now: Timestamp,
) -> Option<&'a Record> {
    let backup = records.find(|record| !record.known.state.frees_the_name())?;
    let ended = backup.known.quiet_since.unwrap_or(backup.claimed_by());
    // A change that was recorded in the same second may be the later one.
    let is_newest = changed.is_none_or(|changed| backup.created_at.is_some_and(|made| changed < made));
    let is_young = now < later(ended, BACKUP_LASTS) && !is_dated_ahead(ended, now);
    let named = backup.known.backup.as_ref().zip(listed);
    let is_there = named.is_none_or(|(id, listed)| listed.contains(id));
    let is_of_it = backup.is_made_backup_of(uid) && backup.vps == *vps;
    (is_of_it && is_newest && is_young && is_there).then_some(backup)
}

/// HostUp's gate of a new backup.
pub fn gate(can_create: &ProviderGate) -> Gate {
    let ProviderGate {
        allowed,
        code,
        reason,
    } = can_create;
    Gate::new(GateName::CanCreateBackup, *allowed, code, reason)
}

/// The backup in words: the one that was `made`, or the one that is to be.
pub fn described(made: Option<&Record>, vps: &VpsId) -> String {
    match made {
        None => format!("a new backup of VPS {vps}"),
        Some(made) => match &made.known.backup {
            Some(backup) => format!("backup {backup} of VPS {vps}"),
            None => format!("the backup of VpsOperation {}", made.name),
        },
    }
}

/// The backup that must be there before `change` is sent, under the same approval. It costs nothing (assumed: its page
/// names no price, and the quota is part of the plan).
pub fn before(change: Order, instance: &InstanceId) -> Order {
    let record: RecordName = change.chain.record(change.attempt.number);
    let backup = NewBackup::of(instance, &record, &change.subject.uid);
    Order {
        path: format!("/api/v2/vps/{}/backups", change.vps),
        body: json!({"note": backup.note}).to_string(),
        action: Action::CreateBackup(backup),
        quote: change.quote.map(|quote| Quote {
            price: Price::Nothing,
            ..quote
        }),
        dearer: None,
        cause: change.cause.of_a_backup_before(),
        ..change
    }
}

/// How things stand with a backup that has no known end.
pub fn standing(record: &Record, chain: &LedgerView, times: &Times, now: Timestamp) -> Option<Report<()>> {
    if !record.is_backup() || record.known.state.is_final() {
        return None;
    }
    let known = &record.known;
    let say = |reason, message| Some(Report::new(reason, message, Some(mirrored_look(times, now))));
    if let (None, Some(trouble)) = (known.evidence, &chain.following) {
        return say(trouble.reason, trouble.message.to_string());
    }
    let what = format!("the backup of VPS {} before the change", record.vps);
    match (known.state, known.evidence) {
        (State::Sending, _) if now <= later(record.claimed_from(), times.paid_timeout) => say(
            Reason::Submitting,
            format!("{what} is being ordered (VpsOperation {})", record.name),
        ),
        (State::Accepted, None) => {
            let job = known.job.as_ref().map_or("", |job| job.id.as_str());
            say(Reason::JobRunning, format!("HostUp makes {what} (job {job})"))
        }
        (State::Accepted, Some(_)) => say(
            Reason::JobRunning,
            format!("HostUp has completed {what} and does not list it yet"),
        ),
        (State::Unknown, Some(evidence)) => {
            let reason = match evidence {
                Evidence::AccountMismatch => Reason::AccountMismatch,
                Evidence::JobDeadline => Reason::JobDeadlineExceeded,
                _ => Reason::OutcomeUnknown,
            };
            say(reason, ask(record))
        }
        (_, _) => say(Reason::ConfirmingOutcome, question::confirming(record)),
    }
}

/// The question to a person, with the command of each answer.
fn ask(record: &Record) -> String {
    format!(
        "{}. HostUp may have made a backup of VPS {} at {:.0} (VpsOperation {}).{} {}",
        question::why(record, &record.known.message),
        record.vps,
        record.claim.made_at,
        record.name,
        question::answered(record),
        question::answers(
            record,
            Answers {
                executed: "it was made",
                adopt: "{\"answer\":\"Adopt\"}",
                given_up: "give it up, and change nothing",
            }
        ),
    )
}
