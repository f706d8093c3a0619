//! `ledger`: the records of paid calls, oldest first.

use std::io;

use clap::ValueEnum;
use hostup_operator::api::operation::{OperationState, VpsOperation};
use hostup_operator::api::stored::Stored;
use hostup_operator::domain::values::ids::SubjectKind;
use hostup_operator::domain::values::money::Amount;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde::Serialize;

use crate::call::{self, Right};
use crate::cluster::Cluster;
use crate::failure::{DONE, Failure, Outcome};
use crate::object;
use crate::output::{Cell, OPEN, Output, PLAIN, Table, URGENT, WELL, time};
use crate::records;

/// Show the records of paid calls, oldest first: what was ordered, at which price, and who approved it.
///
/// Shows all namespaces, because records are cluster-scoped; -n selects those of one namespace.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only records that are not older than this, e.g. 30d, 12h or 90m.
    #[arg(long, value_name = "TIME", value_parser = records::span)]
    since: Option<SignedDuration>,
    /// The format of the output.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Shape>,
}

/// The format of `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// A table for a spreadsheet.
    Csv,
    /// JSON.
    Json,
}

/// A record, flat.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    time: String,
    namespace: String,
    object: String,
    r#type: String,
    state: &'static str,
    price: String,
    per_hour: String,
    due_now: String,
    recurring_per_month: String,
    currency_code: String,
    vps_id: String,
    vm_id: String,
    vm_name: String,
    approval: String,
    approved_by: String,
    record: String,
    #[serde(skip)]
    what: OperationState,
}

/// Runs the command.
pub async fn run(args: &Args, cluster: &Cluster, output: &mut Output) -> Outcome {
    let oldest = args.since.map(|since| Timestamp::now() - since);
    let (records, unreadable) = read(cluster).await?;
    let is_young = |record: &VpsOperation| {
        oldest.is_none_or(|oldest| records::claimed(record).is_none_or(|claimed| claimed >= oldest))
    };
    let mut records: Vec<VpsOperation> = records.into_iter().filter(is_young).collect();
    records.sort_by_key(|record| (records::claimed(record), record.name_any()));
    let rows: Vec<Row> = records.iter().map(Row::of).collect();
    match args.output {
        Some(Shape::Csv) => output.bytes(&csv(&rows)?)?,
        Some(Shape::Json) => output.json(&rows)?,
        None if rows.is_empty() => output.line("There are no records.")?,
        None => table(&rows, output)?,
    }
    if unreadable > 0 {
        anstream::eprintln!("note: {unreadable} records cannot be read by this version, and are not shown");
    }
    Ok(DONE)
}

/// The records of `--namespace`, or all, and how many of them cannot be read.
pub async fn read(cluster: &Cluster) -> Result<(Vec<VpsOperation>, usize), Failure> {
    let of = cluster.named.as_ref();
    let fields = of.map(|namespace| format!("spec.subject.namespace={namespace}"));
    let all: Vec<Stored<VpsOperation>> =
        call::list(&Right::on_records("list"), &cluster.records(), fields).await?;
    let count = all.len();
    let readable: Vec<VpsOperation> = all.into_iter().filter_map(|record| record.0.ok()).collect();
    let unreadable = count - readable.len();
    Ok((readable, unreadable))
}

fn table(rows: &[Row], output: &mut Output) -> Result<(), Failure> {
    let heads = [
        "TIME",
        "NAMESPACE",
        "OBJECT",
        "TYPE",
        "STATE",
        "PRICE",
        "VM",
        "APPROVED BY",
    ];
    let mut table = Table::new(heads);
    for row in rows {
        let style = match row.what {
            OperationState::Succeeded => WELL,
            OperationState::Sending | OperationState::Accepted => OPEN,
            OperationState::Unknown | OperationState::Failed => URGENT,
            OperationState::NotSent
            | OperationState::Rejected
            | OperationState::NotExecuted
            | OperationState::Abandoned => PLAIN,
        };
        table.add([
            Cell::from(&row.time),
            Cell::from(&row.namespace),
            Cell::from(&row.object),
            Cell::from(&row.r#type),
            Cell::styled(style, row.state),
            Cell::from(&row.price),
            Cell::from(&row.vm_id),
            Cell::from(&row.approved_by),
        ]);
    }
    output.table(&table)
}

fn csv(rows: &[Row]) -> Result<Vec<u8>, Failure> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| Failure::from(io::Error::from(error));
    for row in rows {
        csv.serialize(row.clone().inert()).map_err(failed)?;
    }
    csv.into_inner().map_err(|error| Failure::told(error.to_string()))
}

/// A text that no spreadsheet takes for a formula. A number is one only if it is an amount.
fn inert(text: String) -> String {
    let may_calculate = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if may_calculate && Amount::parse(&text).is_none() {
        format!("'{text}")
    } else {
        text
    }
}

impl Row {
    fn of(record: &VpsOperation) -> Self {
        let spec = &record.spec;
        let state = records::state(record);
        let quote = spec.quote.as_ref();
        let result = record.status.as_ref().and_then(|status| status.result.as_ref());
        let approval = spec.approval.as_ref();
        let kind = SubjectKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == spec.subject.kind);
        let kind = kind.map_or_else(
            || spec.subject.kind.clone(),
            |kind| object::short(kind).to_owned(),
        );
        let shown = |text: Option<&String>| text.cloned().unwrap_or_default();
        Self {
            time: records::claimed(record).map_or_else(|| spec.claim.made_at.clone(), time),
            namespace: spec.subject.namespace.clone(),
            object: format!("{kind}/{}", spec.subject.name),
            r#type: records::call_type(record),
            state: records::word(state),
            price: records::price(record).to_owned(),
            per_hour: shown(quote.and_then(|quote| quote.per_hour.as_ref())),
            due_now: shown(quote.and_then(|quote| quote.due_now.as_ref())),
            recurring_per_month: shown(quote.and_then(|quote| quote.recurring_per_month.as_ref())),
            currency_code: shown(quote.and_then(|quote| quote.currency_code.as_ref())),
            vps_id: spec.vps_id.clone(),
            vm_id: shown(result.map(|vm| &vm.vps_id)),
            vm_name: shown(result.map(|vm| &vm.name)),
            approval: approval
                .map(|approval| approval.r#type.clone())
                .unwrap_or_default(),
            approved_by: shown(approval.and_then(|approval| approval.approved_by.as_ref())),
            record: record.name_any(),
            what: state,
        }
    }

    /// Every text of it made inert.
    fn inert(self) -> Self {
        Self {
            time: inert(self.time),
            namespace: inert(self.namespace),
            object: inert(self.object),
            r#type: inert(self.r#type),
            state: self.state,
            price: inert(self.price),
            per_hour: inert(self.per_hour),
            due_now: inert(self.due_now),
            recurring_per_month: inert(self.recurring_per_month),
            currency_code: inert(self.currency_code),
            vps_id: inert(self.vps_id),
            vm_id: inert(self.vm_id),
            vm_name: inert(self.vm_name),
            approval: inert(self.approval),
            approved_by: inert(self.approved_by),
            record: inert(self.record),
            what: self.what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_record_is_a_formula_and_a_credit_stays_a_number() {
        for text in ["=HYPERLINK(\"x\")", "+1+1", "-1+1", "@SUM(A1)", "\t=1"] {
            assert_eq!(inert(text.to_owned()), format!("'{text}"));
        }
        for text in ["-205.26", "0.66", "anna@example.com", ""] {
            assert_eq!(inert(text.to_owned()), text);
        }
    }
}
