//! A backup restored onto a VPS that exists. It costs nothing and destroys a disk: only a quote approves it, and the quote
//! dies with any change of the target.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{Decision, Intent, ProviderReading, StatusFacts, TargetView, View, report, stalled, troubled};
use crate::action::ordered::{Action, Backup, Overwriting, TargetState};
use crate::action::question::{self, Answers};
use crate::consent::approval;
use crate::consent::price::{Price, Size};
use crate::consent::quote::{self, Quote, QuoteBasis};
use crate::ledger::backup_first;
use crate::ledger::names::ChainKey;
use crate::ledger::order::{Attempt, Order};
use crate::ledger::record::{Bought, Cause, Evidence, KeyInUse, Record, State, Times, later};
use crate::ledger::setback;
use crate::provider::backup::{self, BackupChoice, ListedBackup, OwnBackups};
use crate::provider::gate::{self, Gate, GateName, ProviderGate};
use crate::status::reason::Reason;
use crate::status::report::mirrored_look;
use crate::values::ids::{RecordName, VpsId};
use crate::values::text::Text;

/// What is said of the source of a backup whose service has ended.
const UNKNOWN_DISK: &str = "HostUp does not show the size of the source's disk, which may not fit";

/// Everything that was read for one decision to overwrite a VPS, by one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetReading {
    /// When the first of the reads began.
    pub read_at: Timestamp,
    /// The key that it was read with.
    pub key: KeyInUse,
    /// The VPS that the backup was made of.
    pub source: VpsId,
    /// Its size; `None` where HostUp does not show it, as of a service that has ended.
    pub source_size: Option<Size>,
    /// The VPS that is overwritten.
    pub target: VpsId,
    /// Its size.
    pub target_size: Option<Size>,
    /// Its words.
    pub state: TargetState,
    /// The backups of the source that may be restored onto the target.
    pub backups: Vec<ListedBackup>,
    /// `backups.actions.canRestore` of the target where it gets its own backup, else `canRestoreFromAnotherVps`.
    pub gate: ProviderGate,
    /// Another call of the operator that is under way for the target.
    pub busy: Option<RecordName>,
    /// The last call of another chain for the target that was executed, or may have been.
    pub last: Option<RecordName>,
    /// When the record of that call was made.
    pub changed: Option<Timestamp>,
    /// The target's own backups.
    pub own_backups: OwnBackups,
    /// Another backup of the target takes the place of an older one.
    pub quota_is_full: bool,
}

impl TargetReading {
    fn is_in_place(&self) -> bool {
        self.source == self.target
    }

    /// Whether nobody knows how large the disk of the source is.
    fn hides_the_source(&self) -> bool {
        !self.is_in_place() && self.source_size.is_none()
    }

    fn gates(&self, backup: &Backup, max_age: Option<Duration>, now: Timestamp) -> Vec<Gate> {
        let name = if self.is_in_place() {
            GateName::CanRestore
        } else {
            GateName::CanRestoreFromAnotherVps
        };
        let mut gates = vec![Gate::new(
            name,
            self.gate.allowed,
            &self.gate.code,
            &self.gate.reason,
        )];
        gates.extend(max_age.map(|most| backup::age_gate(backup, most, now)));
        if !self.is_in_place() {
            gates.push(self.storage_gate(backup));
        }
        let busy = self.busy.as_ref().map_or_else(String::new, |record| {
            format!(
                "VpsOperation {record} for this VPS is under way, or waits for a payment or an answer; see kubectl get \
                 vpsoperation {record} -o wide"
            )
        });
        gates.push(Gate::new(GateName::TargetIdle, self.busy.is_none(), "", &busy));
        gates
    }

    /// Whether the target may be backed up first. HostUp must not delete the backup that is restored for it.
    fn backup_gate(&self) -> Gate {
        if self.is_in_place() && self.quota_is_full && self.own_backups.can_create.allowed {
            let reason =
                "the backup quota is full, and HostUp may delete the backup that is restored for a new one";
            return Gate::new(GateName::CanCreateBackup, false, "", reason);
        }
        backup_first::gate(&self.own_backups.can_create)
    }

    /// The disk of the target holds the source and the backup (restore-from-vps page: the storage must suffice).
    fn storage_gate(&self, backup: &Backup) -> Gate {
        let needed = self.source_size.map_or(0, |size| size.storage_gb);
        let needed = needed.max(backup.size_gb.ceil_to_u32());
        let (allowed, reason) = match self.target_size {
            None => (false, "HostUp does not show the target's storage".to_owned()),
            Some(size) if size.storage_gb < needed => {
                let has = size.storage_gb;
                let reason = format!("the target has {has} GB; source and backup need {needed} GB");
                (false, reason)
            }
            Some(_) if self.source_size.is_none() => (true, UNKNOWN_DISK.to_owned()),
            Some(_) => (true, String::new()),
        };
        Gate::new(GateName::Storage, allowed, "", &reason)
    }
}

/// The part of a life in which nothing is claimed and the target was read.
pub(super) fn with_target(
    intent: &Intent,
    view: &View,
    reading: &TargetReading,
    times: &Times,
    now: Timestamp,
) -> Decision {
    let read = |gates: &[Gate], backup: Option<&Backup>, quote: Option<&Quote>, approved| StatusFacts::Read {
        source: reading.source.clone(),
        gates: gates.to_vec(),
        backup: backup.cloned(),
        quote: quote.cloned().map(Box::new),
        target: Some(Box::new(TargetView::Existing(
            reading.target.clone(),
            reading.state.name.clone(),
        ))),
        approved,
        tail: view.chain.tail.clone().map(Box::new),
    };
    // Else an approval that has ended would count again.
    let kept = view
        .chain
        .shown_quote
        .as_ref()
        .filter(|shown| intent.approval.is_some() || shown.replaces.is_some());
    if reading.is_in_place() && !view.in_place_enabled {
        let message =
            "a restore of a VPS's own backup onto itself is off; the operator's administrator can set \
            --enable-in-place-restore"
                .to_owned();
        let facts = read(&[], None, kept, None);
        return stalled(view, times, now, Reason::NotConfigurable, facts, message);
    }
    if let BackupChoice::Newest(filter) = &intent.backup
        && !reading.is_in_place()
        && (filter.kind.is_some() || filter.note.is_some())
    {
        let message =
            "HostUp shows neither the type nor the note of backups of another VPS; choose by backupId, by \
            backup: Latest, or by before and maxAge, in a new VpsBackupRestore"
                .to_owned();
        let facts = read(&[], None, kept, None);
        return stalled(view, times, now, Reason::BackupNotFound, facts, message);
    }
    let chosen_before = view.resolved_backup.as_ref();
    let backup = match backup::choose(&intent.backup, chosen_before, &reading.backups, now) {
        Ok(backup) => backup,
        Err(why) => {
            let message = format!(
                "{why} (VPS {}); choose another backup in a new VpsBackupRestore",
                reading.source
            );
            let is_chosen_by_us = matches!(intent.backup, BackupChoice::Newest(_));
            let facts = if view.resolved_backup.is_some() && is_chosen_by_us {
                StatusFacts::Kept
            } else {
                read(&[], None, kept, None)
            };
            return stalled(view, times, now, Reason::BackupNotFound, facts, message);
        }
    };
    let made = view.backup_made(&intent.subject.uid, reading, now);
    let mut gates = reading.gates(&backup, intent.max_age, now);
    if intent.backup_first && made.is_none() {
        gates.push(reading.backup_gate());
    }
    let (order, quote) = place(intent, view, reading, &backup, &gates, now);
    let gate_time = Some(later(now, times.gate_interval));
    if let Some(message) = gate::told(&gates) {
        let facts = read(&gates, Some(&backup), Some(&quote), None);
        return report(Reason::GatesClosed, message, facts, gate_time);
    }
    let approval = intent.approval.as_ref();
    let only_by_quote = Some("it destroys the present data of a disk".to_owned());
    let consent = approval::judge(approval, &quote, &Price::Nothing, only_by_quote, now);
    let grant = consent.grant().cloned();
    let facts = read(&gates, Some(&backup), Some(&quote), Some(grant.is_some()));
    let order = Order { grant, ..order };
    let what = match &order.action {
        Action::Overwrite(overwriting) => overwriting.described(&reading.target),
        _ => String::new(),
    };
    let fits = if reading.hides_the_source() {
        format!(" ({UNKNOWN_DISK})")
    } else {
        String::new()
    };
    let first = if intent.backup_first {
        format!(", after {},", backup_first::described(made, &reading.target))
    } else {
        String::new()
    };
    let what = format!("{what}{fits}{first} destroys its present data and");
    let missing = approval::missing(
        &consent,
        approval,
        &intent.subject,
        &quote,
        &Price::Nothing,
        &what,
    );
    if let Some((reason, message)) = missing {
        let setbacks = view.setbacks(intent);
        let setback = setbacks
            .first()
            .filter(|_| approval.is_some())
            .map(|record| setback::told(record));
        return match setback {
            Some((setback, said)) => stalled(view, times, now, setback, facts, format!("{said}. {message}")),
            None => report(reason, message, facts, Some(later(now, times.resync_interval))),
        };
    }
    let last = view.records().find(|record| !record.is_backup());
    if let Some(held) = view.chain.holds_back(&order, last, times, now) {
        return Decision::Report(held.with(facts));
    }
    if !intent.backup_first || made.is_some() {
        return Decision::Buy(Box::new(order));
    }
    let order = backup_first::before(order, &view.chain.instance);
    let last = view.chain.tail.as_ref().filter(|tail| tail.is_backup());
    match view.chain.holds_back(&order, last, times, now) {
        Some(held) => Decision::Report(held.with(facts)),
        None => Decision::Buy(Box::new(order)),
    }
}

fn place(
    intent: &Intent,
    view: &View,
    reading: &TargetReading,
    backup: &Backup,
    gates: &[Gate],
    now: Timestamp,
) -> (Order, Quote) {
    let TargetReading { source, target, .. } = reading;
    let (path, body) = if reading.is_in_place() {
        // The page of this route is not known; path and body are those of its siblings (assumed).
        let path = format!("/api/v2/vps/{target}/backups/{}/actions/restore", backup.id);
        (path, "{}".to_owned())
    } else {
        let path = format!("/api/v2/vps/{target}/backups/actions/restore-from-vps");
        let body = json!({"sourceVpsId": source.as_str(), "backupId": backup.id.as_str()});
        (path, body.to_string())
    };
    let request = format!("POST {path} {body}");
    let TargetState { name, power, service } = &reading.state;
    let basis = QuoteBasis {
        subject: intent.subject.uid.clone(),
        request: request.clone(),
        // What was done to the target since the quote was shown ends it too, though the words may be the same again.
        after: [name, power, service]
            .map(Text::to_string)
            .into_iter()
            .chain(reading.last.as_ref().map(ToString::to_string))
            // Once a record is deleted, a later one may have its name.
            .chain(reading.changed.map(|changed| changed.to_string()))
            .chain(intent.backup_first.then(|| backup_first::AS_TOLD.to_owned()))
            // Who approved while its size was known was told by a gate whether it fits.
            .chain(reading.hides_the_source().then(|| UNKNOWN_DISK.to_owned()))
            .chain(view.setbacks(intent).iter().map(|record| record.name.to_string()))
            .collect(),
    };
    let approval = intent.approval.as_ref();
    let approved = approval.and_then(|approval| approval.quote.as_ref());
    let quote = quote::renew_for_good(&basis, view.chain.shown_quote.as_ref(), approved);
    // Each approval is tried once, and another one is another cause.
    let ordered = format!("{request} {}", quote.id.as_str());
    let cause = Cause::new(&ordered, &reading.key, gates, Some(&Price::Nothing));
    let subject = &intent.subject;
    let tail = view.chain.tail.as_ref();
    let order = Order {
        subject: subject.clone(),
        chain: ChainKey::of_restore(&subject.namespace, &subject.name),
        attempt: Attempt::after(tail, tail, subject, now),
        intent: intent.digest.clone(),
        vps: target.clone(),
        action: Action::Overwrite(Overwriting {
            source: source.clone(),
            before: reading.state.clone(),
            backup: backup.clone(),
        }),
        follows: reading.last.clone(),
        saved_by: None,
        path,
        body,
        quote: Some(quote.clone()),
        dearer: None,
        grant: None,
        gates: gates.to_vec(),
        secret_version: reading.key.secret_version.clone(),
        cause,
        read_at: reading.read_at,
    };
    (order, quote)
}

/// The part of a life in which a record says how things stand.
pub(super) fn mirror(
    intent: &Intent,
    record: &Record,
    overwriting: &Overwriting,
    view: &View,
    times: &Times,
    now: Timestamp,
) -> Decision {
    let facts = StatusFacts::Recorded {
        record: Box::new(record.clone()),
        vm: None,
    };
    let (message, clause) = (&record.known.message, record.known.message.as_clause());
    let again = Some(mirrored_look(times, now));
    let say = |reason, message: String| report(reason, message, facts.clone(), again);
    if let (State::Sending | State::Accepted | State::Unknown, None, Some(trouble)) =
        (record.known.state, record.known.evidence, &view.chain.following)
    {
        return say(trouble.reason, trouble.message.to_string());
    }
    match record.known.state {
        State::Sending if now <= later(record.claimed_from(), times.paid_timeout) => say(
            Reason::Submitting,
            format!("the call of VpsOperation {} is under way", record.name),
        ),
        State::Sending => say(Reason::ConfirmingOutcome, question::confirming(record)),
        State::Accepted => {
            let job = record.known.job.as_ref().map_or("", |job| job.id.as_str());
            let vps = &record.vps;
            say(
                Reason::JobRunning,
                format!("HostUp overwrites the disk of VPS {vps} with the backup (job {job})"),
            )
        }
        State::Unknown => match record.known.evidence {
            None => say(Reason::ConfirmingOutcome, question::confirming(record)),
            Some(Evidence::JobDeadline) => {
                say(Reason::JobDeadlineExceeded, ask(record, overwriting, message))
            }
            Some(_) => say(Reason::OutcomeUnknown, ask(record, overwriting, message)),
        },
        State::Failed => say(
            Reason::JobFailed,
            format!(
                "{clause}. The disk of VPS {} may contain neither its old data nor the backup: check it before you use it. To \
                 try again create a VpsBackupRestore with another name",
                record.vps
            ),
        ),
        State::Abandoned => say(
            Reason::Abandoned,
            format!(
                "{clause} (VpsOperation {}). Check the disk of VPS {} before you use it. Another restore needs another name",
                record.name, record.vps
            ),
        ),
        State::Succeeded => after_success(intent, record, overwriting, view, times, now),
        // These free the name and never come here.
        State::NotSent | State::Rejected | State::NotExecuted => say(Reason::Rejected, message.to_string()),
    }
}

fn after_success(
    intent: &Intent,
    record: &Record,
    overwriting: &Overwriting,
    view: &View,
    times: &Times,
    now: Timestamp,
) -> Decision {
    let target = &record.vps;
    let facts = |vm: Option<Bought>| StatusFacts::Recorded {
        record: Box::new(record.clone()),
        vm,
    };
    let done = |vm: Option<Bought>| {
        let backup = &overwriting.backup.id;
        let (reason, message) = if record.subject.uid == intent.subject.uid {
            (
                Reason::Restored,
                format!("backup {backup} restored onto {target}"),
            )
        } else {
            (
                Reason::AlreadyExecuted,
                format!(
                    "already restored onto {target} by VpsOperation {} for an earlier object of this name; it is not \
                     overwritten again",
                    record.name
                ),
            )
        };
        report(reason, message, facts(vm), None)
    };
    if let Some(latched) = view.latched.clone().filter(|latched| latched.vps == *target) {
        return done(Some(latched));
    }
    let since = record.known.quiet_since.unwrap_or(record.claimed_by());
    let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let was_running = overwriting.before.power.as_str() == "running";
    let wait = |message: String| {
        if age >= times.job_deadline {
            let message = format!("{message}, and the job deadline has passed; look at it in HostUp's panel");
            return stalled(
                view,
                times,
                now,
                Reason::JobDeadlineExceeded,
                facts(None),
                message,
            );
        }
        let longest = times.poll_interval.max(Duration::from_secs(60));
        let pause = (age / 20).clamp(times.poll_interval, longest);
        report(Reason::Booting, message, facts(None), Some(later(now, pause)))
    };
    match &view.reading {
        ProviderReading::Unread
        | ProviderReading::Source(_)
        | ProviderReading::Ends(..)
        | ProviderReading::Preflight(_)
        | ProviderReading::Target(_) => Decision::ReadVm(target.clone()),
        ProviderReading::Trouble(trouble) => troubled(trouble, view, times, now, facts(None)),
        ProviderReading::Vm(Some(vm)) if vm.running || !was_running => done(Some(Bought {
            vps: vm.id.clone(),
            name: Text::bounded(&vm.name, 80),
            primary_ip: vm.primary_ip.clone(),
            size: vm.size,
        })),
        ProviderReading::Vm(Some(_)) => wait(format!("{target} has the backup and is not up yet")),
        // What an earlier object of this name overwrote may have been cancelled since.
        ProviderReading::Vm(None) if record.subject.uid != intent.subject.uid && age >= times.settle_time => {
            done(None)
        }
        ProviderReading::Vm(None) => wait(format!("{target} cannot be read at the moment")),
    }
}

/// The question to a person, with the command of each answer.
fn ask(record: &Record, overwriting: &Overwriting, why: &Text) -> String {
    format!(
        "{}. HostUp may have overwritten VPS {} ({}) with backup {} at {:.0} (VpsOperation {}).{} {}",
        question::why(record, why),
        record.vps,
        overwriting.before,
        overwriting.backup.id,
        record.claim.made_at,
        record.name,
        question::answered(record),
        question::answers(
            record,
            Answers {
                executed: "it was overwritten",
                adopt: "{\"answer\":\"Adopt\"}",
                given_up: "give it up",
            }
        ),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{ceiling, intent as restores, key, now, open, reason, recorded, times, view};
    use super::super::{Destination, decide};
    use super::*;
    use crate::action::follow::{self, Input, Memo, Need, need, step};
    use crate::action::receipt::Receipt;
    use crate::consent::approval::Approval;
    use crate::ledger::record::{Job, Outcome, Resolution};
    use crate::provider::inventory::{Vm, VpsChoice};
    use crate::provider::job::JobState;
    use crate::values::ids::{BackupId, JobId, Uid};
    use crate::values::money::Amount;

    fn target() -> VpsId {
        VpsId::new("vps_target")
    }

    fn intent() -> Intent {
        Intent {
            target: Destination::ExistingVps(VpsChoice::Id(target())),
            approval: None,
            ..restores()
        }
    }

    pub(crate) fn reading() -> TargetReading {
        let disk = |storage_gb| {
            Some(Size {
                cpu_cores: 2,
                memory_gb: 4,
                storage_gb,
            })
        };
        TargetReading {
            read_at: now(),
            key: key("7"),
            source: VpsId::new("vps_source"),
            source_size: disk(80),
            target: target(),
            target_size: disk(80),
            state: TargetState {
                name: Text::new("web-01"),
                power: Text::new("running"),
                service: Text::new("active"),
            },
            backups: vec![ListedBackup {
                id: BackupId::new("bkp_1"),
                created_at: Some(now()),
                size_gb: Amount::parse("12.4"),
                kind: None,
                note: None,
            }],
            gate: open(),
            busy: None,
            last: None,
            changed: None,
            own_backups: OwnBackups {
                listed: vec![BackupId::new("bkp_1")],
                can_create: open(),
            },
            quota_is_full: false,
        }
    }

    fn seen(reading: TargetReading) -> View {
        view(ProviderReading::Target(Box::new(reading)))
    }

    fn decided(intent: &Intent, view: &View) -> Decision {
        decide(intent, view, &times(), now())
    }

    fn told(decision: &Decision) -> String {
        match decision {
            Decision::Report(report) => report.message.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn quote_of(decision: &Decision) -> Quote {
        match decision {
            Decision::Report(report) => match &report.facts {
                StatusFacts::Read {
                    quote: Some(quote), ..
                } => Quote::clone(quote),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    type Change = fn(&mut TargetReading);

    fn approved(reading: &TargetReading) -> Intent {
        let quote = quote_of(&decided(&intent(), &seen(reading.clone())));
        Intent {
            approval: Some(Approval::from(quote.id)),
            ..intent()
        }
    }

    fn ordered() -> Order {
        match decided(&approved(&reading()), &seen(reading())) {
            Decision::Buy(order) => *order,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_preview_names_the_disk_that_is_lost_and_the_quote_alone_approves_it() {
        let shown = decided(&intent(), &seen(reading()));
        assert_eq!(reason(&shown), Reason::AwaitingApproval);
        let what = "Overwriting the disk of VPS vps_target (\"web-01\", running, active) with backup bkp_1 of VPS vps_source \
            of 2026-11-23 (12.40 GB) destroys its present data and would cost nothing. Nothing is overwritten before an approval";
        assert!(told(&shown).contains(what), "{}", told(&shown));
        let by_ceiling = Intent {
            approval: Some(ceiling("999")),
            ..intent()
        };
        let refused = decided(&by_ceiling, &seen(reading()));
        assert_eq!(reason(&refused), Reason::AwaitingApproval);
        let order = ordered();
        assert_eq!(
            order.path,
            "/api/v2/vps/vps_target/backups/actions/restore-from-vps"
        );
        assert_eq!(order.body, r#"{"backupId":"bkp_1","sourceVpsId":"vps_source"}"#);
        assert_eq!(order.quote.unwrap().price, Price::Nothing);
    }

    #[test]
    fn an_approval_that_was_seen_to_end_does_not_count_again_when_everything_is_as_it_was() {
        let approved = approved(&reading());
        let first = Some(quote_of(&decided(&intent(), &seen(reading()))));
        let showing = |reading: TargetReading, shown: &Option<Quote>| {
            let mut view = seen(reading);
            view.chain.shown_quote.clone_from(shown);
            view
        };
        let still = decided(&approved, &showing(reading(), &first));
        assert!(matches!(still, Decision::Buy(_)), "{still:?}");
        let changed = || TargetReading {
            last: Some(RecordName::new("x-1")),
            ..reading()
        };
        let without_the_backup = TargetReading {
            backups: vec![],
            ..reading()
        };
        let mut shown = first;
        for between in [changed(), without_the_backup] {
            let ended = decided(&approved, &showing(between, &shown));
            shown = Some(quote_of(&ended));
            let back = decided(&approved, &showing(reading(), &shown));
            assert_eq!(reason(&back), Reason::AwaitingApproval, "{back:?}");
        }
        let back = quote_of(&decided(&approved, &showing(reading(), &shown)));
        let anew = Intent {
            approval: Some(Approval::from(back.id.clone())),
            ..intent()
        };
        let given = decided(&anew, &showing(reading(), &Some(back)));
        assert!(matches!(given, Decision::Buy(_)), "{given:?}");
    }

    #[test]
    fn any_change_of_the_target_or_the_backup_ends_the_approval() {
        let approved = approved(&reading());
        let changes: [(&str, Change); 7] = [
            ("last", |reading| reading.last = Some(RecordName::new("x-1"))),
            ("changed", |reading| reading.changed = Some(now())),
            ("name", |reading| reading.state.name = Text::new("web-02")),
            ("power", |reading| reading.state.power = Text::new("stopped")),
            ("service", |reading| {
                reading.state.service = Text::new("suspended");
            }),
            ("target", |reading| reading.target = VpsId::new("vps_other")),
            ("source", |reading| reading.source_size = None),
        ];
        for (what, change) in changes {
            let mut other = reading();
            change(&mut other);
            let decision = decided(&approved, &seen(other));
            assert_eq!(reason(&decision), Reason::AwaitingApproval, "{what}");
            assert!(told(&decision).contains("no longer current"), "{what}");
        }
        let anew = Intent {
            subject: crate::values::ids::Subject {
                uid: Uid::new("uid-2"),
                ..approved.subject.clone()
            },
            ..approved
        };
        assert_eq!(
            reason(&decided(&anew, &seen(reading()))),
            Reason::AwaitingApproval
        );
    }

    #[test]
    fn closed_gates_small_disks_and_calls_under_way_hold_it_back() {
        let approved = approved(&reading());
        let changes: [(&str, Change); 4] = [
            ("canRestoreFromAnotherVps", |reading| {
                reading.gate = ProviderGate::default();
            }),
            (
                "storage: the target has 79 GB; source and backup need 80 GB",
                |reading| {
                    reading.target_size = reading.target_size.map(|size| Size {
                        storage_gb: 79,
                        ..size
                    });
                },
            ),
            ("storage: HostUp does not show the target's storage", |reading| {
                reading.target_size = None;
            }),
            (
                "targetIdle: VpsOperation x-1 for this VPS is under way",
                |reading| {
                    reading.busy = Some(RecordName::new("x-1"));
                },
            ),
        ];
        for (says, change) in changes {
            let mut other = reading();
            change(&mut other);
            let decision = decided(&approved, &seen(other));
            assert_eq!(reason(&decision), Reason::GatesClosed, "{says}");
            assert!(told(&decision).contains(says), "{}", told(&decision));
        }
        let mut gone = reading();
        gone.backups.clear();
        assert_eq!(reason(&decided(&approved, &seen(gone))), Reason::BackupNotFound);
    }

    #[test]
    fn its_own_backup_is_restored_onto_a_vps_only_where_the_admin_allows_it() {
        let in_place = TargetReading {
            source: target(),
            ..reading()
        };
        let off = decided(&intent(), &seen(in_place.clone()));
        assert_eq!(reason(&off), Reason::NotConfigurable);
        assert!(told(&off).contains("--enable-in-place-restore"));
        let on = |approval| {
            let view = View {
                in_place_enabled: true,
                ..seen(in_place.clone())
            };
            decided(&Intent { approval, ..intent() }, &view)
        };
        let quote = quote_of(&on(None));
        let Decision::Buy(order) = on(Some(Approval::from(quote.id))) else {
            panic!("no order");
        };
        assert_eq!(order.path, "/api/v2/vps/vps_target/backups/bkp_1/actions/restore");
        assert_eq!(order.body, "{}");
    }

    fn record(state: State) -> Record {
        recorded(ordered(), state)
    }

    fn with_job(state: State) -> Record {
        let mut record = record(state);
        record.known.job = Some(Job {
            id: JobId::parse("job_1").unwrap(),
            poll_path: "/api/jobs/job_1".to_owned(),
            word: None,
        });
        record
    }

    fn after(record: &Record, input: Input, seconds: u64) -> Outcome {
        let at = later(now(), Duration::from_secs(seconds));
        step(record, input, &mut Memo::default(), &times(), at)
    }

    fn job(state: JobState) -> Input {
        Input::Job(state, Vec::new())
    }

    fn completed() -> JobState {
        JobState::Completed {
            hints: Vec::new(),
            took: None,
        }
    }

    #[test]
    fn the_job_alone_tells_what_became_of_it() {
        let accepted = with_job(State::Accepted);
        assert_eq!(after(&accepted, job(completed()), 5).state, State::Succeeded);
        let failed = JobState::Failed {
            error: Text::new("disk full"),
        };
        assert_eq!(after(&accepted, job(failed), 5).state, State::Failed);
        let lost = after(&accepted, job(JobState::Lost), 5);
        assert_eq!((lost.state, lost.evidence), (State::Unknown, None));
        // HostUp may know it again, and the end counts whenever it is seen.
        let unknown = Record {
            known: lost,
            ..accepted
        };
        let again = after(&unknown, job(JobState::Running { progress: None }), 10);
        assert_eq!(again.state, State::Accepted);
        assert_eq!(after(&unknown, job(completed()), 10).state, State::Succeeded);
    }

    #[test]
    fn a_job_that_the_key_may_not_see_frees_no_name() {
        let unknown = with_job(State::Unknown);
        let late = times().settle_time.as_secs() * 4;
        let unseen = after(&unknown, Input::JobUnreadable(Vec::new()), late);
        assert_eq!(
            (unseen.state, unseen.evidence),
            (State::Unknown, Some(Evidence::AccountMismatch))
        );
        let told = Record {
            answer: Some(Resolution::NotExecuted),
            ..unknown
        };
        for input in [
            Input::JobUnreadable(Vec::new()),
            Input::Unreadable(Text::new("HostUp is away")),
        ] {
            assert_eq!(after(&told, input, late).state, State::Unknown);
        }
    }

    #[test]
    fn without_a_job_a_person_is_asked_and_only_the_answer_frees_the_name() {
        let settled = times().settle_time.as_secs() + 121;
        let unknown = record(State::Unknown);
        let memo = Memo::default();
        assert!(matches!(need(&unknown, &memo, &times(), now()), Need::Wait(_)));
        let at = later(now(), Duration::from_secs(settled));
        assert_eq!(need(&unknown, &memo, &times(), at), Need::Say(Input::Settled));
        let asked = after(&unknown, Input::Settled, settled);
        assert_eq!(
            (asked.state, asked.evidence),
            (State::Unknown, Some(Evidence::NoneFound))
        );
        let answered = |answer| Record {
            answer: Some(answer),
            known: asked.clone(),
            ..unknown.clone()
        };
        let not = answered(Resolution::NotExecuted);
        assert_eq!(need(&not, &memo, &times(), at), Need::Say(Input::Settled));
        assert_eq!(
            after(&not, Input::Settled, 1).state,
            State::Unknown,
            "not before its time"
        );
        assert_eq!(after(&not, Input::Settled, settled).state, State::NotExecuted);
        let adopted = answered(Resolution::Adopt(VpsId::new("")));
        assert_eq!(need(&adopted, &memo, &times(), at), Need::Say(Input::Adopted));
        assert_eq!(after(&adopted, Input::Adopted, settled).state, State::Succeeded);
        let given_up = answered(Resolution::Abandon);
        assert_eq!(need(&given_up, &memo, &times(), at), Need::Say(Input::Abandoned));
    }

    #[test]
    fn nothing_is_sent_again_for_a_record_that_may_have_been_executed() {
        for state in State::ALL {
            let mut view = seen(reading());
            view.chain.tail = Some(record(state));
            let decision = decided(&approved(&reading()), &view);
            let is_bought = matches!(decision, Decision::Buy(_));
            assert!(
                !is_bought || state == State::NotExecuted,
                "{state:?}: {decision:?}"
            );
        }
    }

    #[test]
    fn a_refusal_ends_the_approval_and_another_one_is_tried_after_a_pause() {
        let refused = |tries| {
            let mut record = recorded(
                Order {
                    attempt: Attempt { number: tries, tries },
                    ..ordered()
                },
                State::Rejected,
            );
            record.known.message = Text::new("HostUp refused (forbidden)");
            record
        };
        let mut view = seen(reading());
        view.chain.tail = Some(refused(1));
        view.chain.closed_after = Some(refused(1).name);
        let decision = decided(&approved(&reading()), &view);
        assert_eq!(reason(&decision), Reason::Rejected);
        for says in [
            "HostUp refused (forbidden). HostUp may have begun it all the same",
            "To approve: kubectl",
        ] {
            assert!(told(&decision).contains(says), "{}", told(&decision));
        }
        let again = Intent {
            approval: Some(Approval::from(quote_of(&decision).id)),
            ..intent()
        };
        view.chain.shown_quote = Some(quote_of(&decision));
        let soon = decided(&again, &view);
        assert_eq!(reason(&soon), Reason::ProviderUnavailable, "{}", told(&soon));
        let at = later(now(), Duration::from_secs(60));
        let tried = decide(&again, &view, &times(), at);
        assert!(matches!(tried, Decision::Buy(_)), "{tried:?}");
        view.chain.tail = Some(refused(2));
        assert_eq!(
            reason(&decided(&again, &view)),
            Reason::Rejected,
            "refused once more"
        );
        view.chain.tail = Some(Record {
            known: Outcome {
                not_before: Some(now()),
                ..refused(2).known
            },
            ..refused(2)
        });
        view.chain.shown_quote = None;
        let limited = decide(&approved(&reading()), &view, &times(), at);
        assert!(
            matches!(limited, Decision::Buy(_)),
            "asked too often is no refusal: {limited:?}"
        );
    }

    #[test]
    fn it_is_ready_once_the_vps_is_up_again() {
        let succeeded = with_job(State::Succeeded);
        let at = |reading| {
            let mut view = view(reading);
            view.chain.tail = Some(succeeded.clone());
            decided(&intent(), &view)
        };
        assert!(matches!(at(ProviderReading::Unread), Decision::ReadVm(vps) if vps == target()));
        let vm = |running| Vm {
            id: target(),
            name: "web-01".to_owned(),
            is_payg: false,
            size: None,
            primary_ip: Some(Text::new("192.0.2.1")),
            running,
            ended: None,
            result_of: None,
        };
        assert_eq!(reason(&at(ProviderReading::Vm(Some(vm(false))))), Reason::Booting);
        assert_eq!(reason(&at(ProviderReading::Vm(Some(vm(true))))), Reason::Restored);
    }

    #[test]
    fn an_answer_is_a_receipt_only_with_a_job() {
        let row = ordered().action.kind().row();
        let named = br#"{"operation": {"status": "queued", "jobId": "job_1", "pollUrl": "/api/jobs/job_1"}}"#;
        assert!(matches!((row.receipt)(named), Some(Receipt::Job(_))));
        for unclear in [&b"{}"[..], b"", br#"{"operation": {"status": "queued"}}"#, b"[1]"] {
            assert_eq!((row.receipt)(unclear), None);
        }
        assert!(follow::waits_for_its_job(&with_job(State::Accepted)));
    }
}
