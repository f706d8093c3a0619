//! `spend`: the sums of the records.

use std::collections::BTreeMap;

use hostup_operator::api;
use hostup_operator::api::operation::{OperationState, VpsOperation};
use hostup_operator::api::stored::Stored;
use hostup_operator::domain::action::ordered::ActionKind;
use hostup_operator::domain::ledger::{Index, Purse, Sums};
use hostup_operator::domain::values::ids::{InstanceId, SubjectKind};
use hostup_operator::domain::values::money::{Amount, Total};
use jiff::Timestamp;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::failure::{DONE, Failure, Outcome};
use crate::ledger;
use crate::object;
use crate::output::{Cell, Output, Plain, Table};
use crate::records;

/// Show what was bought, for each namespace, kind and currency, by the approved prices in the records.
///
/// A VM counts until its record says that it has ended. Shows all namespaces; -n selects one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The format of the output.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Plain>,
}

/// The money of one namespace, kind and currency.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    kind: &'static str,
    currency_code: String,
    /// VMs that were bought.
    vms: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_hour: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_once: Option<String>,
    /// Of the last change of each VPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    recurring_per_month: Option<String>,
    /// Of calls that are under way, or whose outcome is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_per_hour: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_at_once: Option<String>,
}

/// Runs the command.
pub async fn run(args: &Args, cluster: &Cluster, output: &mut Output) -> Outcome {
    let (records, unreadable) = ledger::read(cluster).await?;
    let rows: Vec<Row> = SubjectKind::ALL
        .into_iter()
        .flat_map(|kind| of_kind(kind, &records))
        .collect();
    match args.output {
        Some(Plain::Json) => output.json(&rows)?,
        None if rows.is_empty() => output.line("Nothing was bought.")?,
        None => table(&rows, output)?,
    }
    if unreadable > 0 {
        anstream::eprintln!("note: {unreadable} records cannot be read by this version, and are not counted");
    }
    Ok(DONE)
}

fn table(rows: &[Row], output: &mut Output) -> Result<(), Failure> {
    let heads = [
        "NAMESPACE",
        "KIND",
        "CURRENCY",
        "VMS",
        "PER HOUR",
        "AT ONCE",
        "PER MONTH",
        "OPEN PER HOUR",
        "OPEN AT ONCE",
    ];
    let mut table = Table::new(heads);
    for row in rows {
        let amount = |amount: &Option<String>| Cell::from(amount.as_deref().unwrap_or("-"));
        table.add([
            Cell::from(&row.namespace),
            Cell::from(row.kind),
            Cell::from(&row.currency_code),
            Cell::from(row.vms.to_string()),
            amount(&row.per_hour),
            amount(&row.at_once),
            amount(&row.recurring_per_month),
            amount(&row.open_per_hour),
            amount(&row.open_at_once),
        ]);
    }
    output.table(&table)
}

fn of_kind(kind: SubjectKind, records: &[VpsOperation]) -> Vec<Row> {
    // The index counts the records of one installation. Here all are of one.
    let all = InstanceId::new("all");
    let mut index = Index::new(all.clone(), Timestamp::now());
    let of_kind: Vec<&VpsOperation> = records
        .iter()
        .filter(|record| record.spec.subject.kind == kind.as_str())
        .collect();
    for record in &of_kind {
        let mut entry = api::entry(&Stored(Ok((*record).clone())));
        if let Some(content) = &mut entry.content {
            content.instance = all.clone();
        }
        index.show(entry);
    }
    let recurring = recurring(&of_kind);
    let spending = index.figures().money.into_iter().map(|spending| {
        let Purse { namespace, currency } = &spending.purse;
        let is_of_purse = |record: &&&VpsOperation| {
            let quote = record.spec.quote.as_ref();
            let named = quote
                .and_then(|quote| quote.currency_code.as_deref())
                .unwrap_or_default();
            *record.spec.subject.namespace == **namespace && named == currency
        };
        let vms = of_kind
            .iter()
            .filter(is_of_purse)
            .filter(|record| is_a_vm(record))
            .count();
        let text = |amount: Option<Amount>| amount.map(|amount| amount.to_string());
        let Sums { per_hour, at_once } = spending.spent;
        let open = spending.approved;
        Row {
            namespace: namespace.to_string(),
            kind: object::short(kind),
            currency_code: currency.clone(),
            vms,
            per_hour: text(per_hour),
            at_once: text(at_once),
            recurring_per_month: recurring
                .get(&(namespace.to_string(), currency.clone()))
                .map(|total| total.amount().to_string()),
            open_per_hour: text(open.per_hour),
            open_at_once: text(open.at_once),
        }
    });
    let says_something = |row: &Row| {
        row.vms > 0
            || [&row.per_hour, &row.at_once, &row.open_per_hour, &row.open_at_once]
                .iter()
                .any(|amount| amount.is_some())
    };
    spending.filter(says_something).collect()
}

/// Whether the record left a VM that HostUp bills.
fn is_a_vm(record: &VpsOperation) -> bool {
    let status = record
        .status
        .as_ref()
        .filter(|status| status.result_end.is_none());
    let result = status.and_then(|status| status.result.as_ref());
    let was_bought = matches!(
        records::state(record),
        OperationState::Succeeded | OperationState::Failed
    );
    result.is_some() && was_bought
}

/// The recurring amounts, by namespace and currency. HostUp may mean the whole price of a VPS by it, so only the last
/// change of each VPS counts.
fn recurring(records: &[&VpsOperation]) -> BTreeMap<(String, String), Total> {
    let mut last: BTreeMap<(&str, &str), &VpsOperation> = BTreeMap::new();
    let bought = records.iter().filter(|record| {
        let is_change = matches!(
            record.spec.r#type,
            ActionKind::CommitResources | ActionKind::LegacyUpgrade
        );
        is_change && records::state(record) == OperationState::Succeeded
    });
    for record in bought {
        let key = (
            record.spec.subject.namespace.as_str(),
            record.spec.vps_id.as_str(),
        );
        let is_newer = last
            .get(&key)
            .is_none_or(|other| records::claimed(other) <= records::claimed(record));
        if is_newer {
            last.insert(key, record);
        }
    }
    let mut totals: BTreeMap<(String, String), Total> = BTreeMap::new();
    for ((namespace, _), record) in last {
        let Some(quote) = &record.spec.quote else { continue };
        let amount = quote.recurring_per_month.as_deref().and_then(Amount::parse);
        if let Some(amount) = amount {
            let currency = quote.currency_code.clone().unwrap_or_default();
            totals
                .entry((namespace.to_owned(), currency))
                .or_default()
                .add(amount);
        }
    }
    totals
}
