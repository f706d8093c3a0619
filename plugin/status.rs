//! `status`: what waits for somebody, and what to do.

use hostup_operator::api::operation::{OperationState, VpsOperation};
use hostup_operator::api::stored::Stored;
use hostup_operator::domain::status::reason::{Reason, Standing};
use hostup_operator::domain::values::ids::SubjectKind;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde::Serialize;

use crate::call::{self, CallError, Right};
use crate::cluster::Cluster;
use crate::failure::{DONE, Failure, Outcome};
use crate::object::Object;
use crate::output::{Cell, Format, OPEN, Output, PLAIN, Table, URGENT, age};
use crate::records::{self, asks};

/// How long an object may have no status before that is worth a line.
const UNSEEN: SignedDuration = SignedDuration::from_mins(1);

/// Show everything that waits for somebody, and what to do: prices that wait for an approval, stalled objects, unknown
/// outcomes, holds.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look in all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// The format of the output. wide: also the message of each object.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Something that waits.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    object: String,
    reason: String,
    #[serde(skip)]
    is_urgent: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    price: String,
    since: Option<Timestamp>,
    to_do: String,
    message: String,
    #[serde(skip)]
    record: Option<String>,
}

/// Runs the command.
pub async fn run(args: &Args, cluster: &Cluster, output: &mut Output) -> Outcome {
    let now = Timestamp::now();
    let place = (!args.all_namespaces).then(|| cluster.namespace());
    let mut waiting = Vec::new();
    for kind in SubjectKind::ALL {
        let right = Right::on_objects("list", kind, place);
        let objects = call::list(&right, &cluster.objects(kind, place), None).await?;
        for object in objects {
            waiting.extend(of_object(&Object::read(kind, object)?, now));
        }
    }
    match records_that_ask(cluster, place).await {
        Ok(records) => {
            let is_named = |name: &String| waiting.iter().any(|object| object.record.as_ref() == Some(name));
            let others: Vec<Waiting> = records
                .iter()
                .filter(|record| !is_named(&record.name_any()))
                .map(of_record)
                .collect();
            waiting.extend(others);
        }
        // The objects name the records that wait, except those whose object is gone.
        Err(CallError::Forbidden(why)) => {
            anstream::eprintln!("note: records of objects that are gone are not shown, because {why}");
        }
        Err(error) => return Err(error.into()),
    }
    for row in &mut waiting {
        if row.to_do.starts_with("kubectl hostup ") {
            row.to_do.push_str(&cluster.flags);
        }
    }
    waiting.sort_by(|a, b| {
        let rank = |row: &Waiting| (!row.is_urgent, row.namespace.clone(), row.object.clone());
        rank(a).cmp(&rank(b))
    });
    match args.output {
        Some(Format::Json) => output.json(&waiting)?,
        Some(Format::Wide) | None if waiting.is_empty() => {
            let place = place.map_or_else(|| "any namespace".to_owned(), |name| format!("namespace {name}"));
            output.line(format!("Nothing waits for anybody in {place}."))?;
        }
        Some(Format::Wide) => table(&waiting, args.all_namespaces, true, now, output)?,
        None => table(&waiting, args.all_namespaces, false, now, output)?,
    }
    Ok(DONE)
}

fn table(
    waiting: &[Waiting],
    with_namespace: bool,
    is_wide: bool,
    now: Timestamp,
    output: &mut Output,
) -> Result<(), Failure> {
    let first = with_namespace.then_some("NAMESPACE");
    let last = is_wide.then_some("MESSAGE");
    let heads = ["OBJECT", "REASON", "PRICE", "SINCE", "WHAT TO DO"];
    let mut table = Table::new(first.into_iter().chain(heads).chain(last));
    for row in waiting {
        let style = if row.is_urgent { URGENT } else { OPEN };
        let namespace = with_namespace.then(|| Cell::from(&row.namespace));
        let since = row.since.map_or_else(String::new, |since| age(since, now));
        let cells = [
            Cell::from(&row.object),
            Cell::styled(style, &row.reason),
            Cell::from(&row.price),
            Cell::styled(PLAIN, since),
            Cell::from(&row.to_do),
        ];
        let message = is_wide.then(|| Cell::from(&row.message));
        table.add(namespace.into_iter().chain(cells).chain(message));
    }
    output.table(&table)
}

fn of_object(object: &Object, now: Timestamp) -> Option<Waiting> {
    let row = |reason: &str, is_urgent, since, to_do: String| Waiting {
        namespace: object.namespace.clone(),
        object: object.id.to_string(),
        reason: reason.to_owned(),
        is_urgent,
        price: object.price().to_owned(),
        since,
        to_do,
        message: object.message().to_owned(),
        record: object.operation.as_ref().map(|operation| operation.name.clone()),
    };
    let Some(ready) = object.ready() else {
        let is_old = object.made.is_none_or(|made| now.duration_since(made) > UNSEEN);
        let to_do = "nobody reconciles it: check that the operator runs and watches this namespace";
        return is_old.then(|| row("NotReconciled", true, object.made, to_do.to_owned()));
    };
    let since = Some(ready.last_transition_time.0);
    match object.reason() {
        None if ready.status == "True" => None,
        None => Some(row(
            &ready.reason,
            true,
            since,
            "see its message: -o wide".to_owned(),
        )),
        Some(reason) => {
            let to_do = to_do(reason, object)?;
            let is_urgent = match reason.standing() {
                Standing::Stalled | Standing::Progressing => true,
                Standing::Waiting | Standing::Done => false,
            };
            Some(row(reason.as_str(), is_urgent, since, to_do))
        }
    }
}

/// What somebody can do; `None` if the object continues by itself, or is done.
fn to_do(reason: Reason, object: &Object) -> Option<String> {
    let id = &object.id;
    let namespace = &object.namespace;
    let record = object
        .operation
        .as_ref()
        .map_or("RECORD", |operation| operation.name.as_str());
    let unknown = records::word(OperationState::Unknown);
    let is_settled = object
        .operation
        .as_ref()
        .is_some_and(|operation| operation.state != unknown);
    let words = match reason {
        Reason::AwaitingApproval | Reason::QuoteExceedsCeiling | Reason::ApprovalExpired => {
            return Some(format!("kubectl hostup approve {id} -n {namespace}"));
        }
        Reason::Rejected | Reason::JobFailed if object.asks_again() => {
            return Some(format!("kubectl hostup approve {id} -n {namespace}"));
        }
        Reason::JobDeadlineExceeded if is_settled => {
            "the job ended, and the VM does not run: look in HostUp's panel"
        }
        Reason::OutcomeUnknown
        | Reason::NotConverged
        | Reason::JobDeadlineExceeded
        | Reason::AccountMismatch => {
            return Some(format!("kubectl hostup resolve {record}"));
        }
        Reason::Held if object.is_held => {
            return Some(format!("kubectl hostup release {id} -n {namespace}"));
        }
        Reason::GatesClosed => {
            let closed = object.closed_gates();
            return Some(format!("closed gates: {}", closed.join("; ")));
        }
        Reason::Held => "the Namespace, or the operator's, is held: kubectl hostup release NAMESPACE",
        Reason::Suspended => "set spec.suspend to false, in the place where the object comes from",
        Reason::ReadOnly => "ask the admin of the operator: it runs with --read-only",
        Reason::PaidCallCap => "wait, or ask the admin of the operator to raise the cap of paid calls",
        Reason::BudgetExceeded => "wait, or ask an admin of the cluster to raise the VpsBudget; see -o wide",
        Reason::Drifted => "write the current options into the spec, or set driftPolicy: Correct",
        Reason::CredentialsMissing => "create the Secret that spec.credentialsSecretRef names",
        Reason::AwaitingPayment => "pay the invoice in HostUp's panel",
        Reason::JobFailed => "to try again, create an object with another name",
        Reason::VpsLeftBilling => "cancel the VM in HostUp's panel: it costs money",
        Reason::WrongSize => "resize or cancel the VM in HostUp's panel",
        Reason::Rejected => "HostUp refused the order: settle it with HostUp; see -o wide",
        Reason::Abandoned => "another restore needs another name; change options in HostUp's panel",
        Reason::InvalidSpec => "see -o wide; in most cases create a new object",
        Reason::VpsNotFound => "check vpsId or vpsName, and which account the key belongs to",
        Reason::VpsNameAmbiguous => "set vpsId in a new object: several VPSs have this name",
        Reason::BackupNotFound => "choose another backup in a new object",
        Reason::Unauthorized => "put a key with the right scopes into the Secret",
        Reason::NameReused => "choose another name",
        Reason::LedgerMissing => "restore the record from a backup of the cluster",
        Reason::ClusterRefuses => "change the policy, quota or right that is in the way; see -o wide",
        Reason::TargetConflict => "an older object is responsible for this VPS: delete one of the two",
        Reason::DriftContested => "find out who else sets these options",
        Reason::NotConfigurable => "this VPS has no options to change this way; see -o wide",
        Reason::UnknownOption => "change spec.resources; see -o wide",
        Reason::OtherInstance => "another installation of the operator made the record; see -o wide",
        Reason::LedgerUnavailable => "ask the admin of the operator: it cannot watch its records",
        Reason::ProviderUnavailable
        | Reason::RateLimited
        | Reason::Submitting
        | Reason::JobRunning
        | Reason::ConfirmingOutcome
        | Reason::Booting
        | Reason::Converging
        | Reason::Restored
        | Reason::AlreadyExecuted
        | Reason::InSync => return None,
    };
    Some(words.to_owned())
}

/// The records that wait for a person's answer.
async fn records_that_ask(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<Vec<VpsOperation>, CallError> {
    let state = format!("status.state={}", records::word(OperationState::Unknown));
    let of = namespace.map(|namespace| format!(",spec.subject.namespace={namespace}"));
    let fields = format!("{state}{}", of.unwrap_or_default());
    let right = Right::on_records("list");
    let records: Vec<Stored<VpsOperation>> = call::list(&right, &cluster.records(), Some(fields)).await?;
    let readable = records.into_iter().filter_map(|record| record.0.ok());
    Ok(readable.filter(asks).collect())
}

fn of_record(record: &VpsOperation) -> Waiting {
    let name = record.name_any();
    let status = record.status.clone().unwrap_or_default();
    Waiting {
        namespace: record.spec.subject.namespace.clone(),
        object: format!("vop/{name}"),
        reason: "OutcomeUnknown".to_owned(),
        is_urgent: true,
        price: records::price(record).to_owned(),
        since: record.spec.claim.made_at.parse().ok(),
        to_do: format!("kubectl hostup resolve {name}"),
        message: status.message.unwrap_or_default(),
        record: Some(name),
    }
}
