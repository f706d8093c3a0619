//! `spend`: the sums of the records.

use hostup_operator::api;
use hostup_operator::api::budget::{LimitStatus, VpsBudget};
use hostup_operator::api::conditions::find;
use hostup_operator::api::operation::{OperationState, VpsOperation};
use hostup_operator::api::stored::Stored;
use hostup_operator::domain::ledger::{Index, Purse};
use hostup_operator::domain::values::ids::{InstanceId, SubjectKind};
use hostup_operator::domain::values::money::Amount;
use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::call::{self, CallError, Right};
use crate::cluster::Cluster;
use crate::failure::{DONE, Failure, Outcome};
use crate::ledger;
use crate::object;
use crate::output::{Cell, Output, Plain, Table};
use crate::records;

/// Show what was bought, for each namespace, kind and currency, by the approved prices in the records, and the budgets.
///
/// A VM counts until its record says that it has ended. PER MONTH adds up the recurring amounts of
/// all changes of options, and may be more than HostUp bills. Shows all namespaces; -n selects one.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    recurring_per_month: Option<String>,
    /// Of calls that are under way, or whose outcome is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_per_hour: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_at_once: Option<String>,
}

/// A budget, as its status shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BudgetRow {
    name: String,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_hour: Option<LimitStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_month: Option<LimitStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_now: Option<LimitStatus>,
    near_limit: bool,
}

impl BudgetRow {
    fn of(budget: VpsBudget) -> Self {
        let name = budget.name_any();
        let status = budget.status.unwrap_or_default();
        let near = find(&status.conditions, "NearLimit");
        let ready = find(&status.conditions, "Ready");
        Self {
            name,
            ready: ready.is_some_and(|ready| ready.status == "True"),
            near_limit: near.is_some_and(|near| near.status == "True"),
            per_hour: status.per_hour,
            per_month: status.per_month,
            due_now: status.due_now,
        }
    }
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Report {
    spend: Vec<Row>,
    budgets: Vec<BudgetRow>,
}

/// Runs the command.
pub async fn run(args: &Args, cluster: &Cluster, output: &mut Output) -> Outcome {
    let (records, unreadable) = ledger::read(cluster).await?;
    let budgets = budgets(cluster).await?;
    let rows: Vec<Row> = SubjectKind::ALL
        .into_iter()
        .flat_map(|kind| of_kind(kind, &records))
        .collect();
    match args.output {
        Some(Plain::Json) => output.json(&Report { spend: rows, budgets })?,
        None => {
            if rows.is_empty() {
                output.line("Nothing was bought.")?;
            } else {
                table(&rows, output)?;
            }
            if !budgets.is_empty() {
                output.line("")?;
                table_of_budgets(&budgets, output)?;
            }
        }
    }
    if unreadable > 0 {
        anstream::eprintln!("note: {unreadable} records cannot be read by this version, and are not counted");
    }
    Ok(DONE)
}

/// The budgets of the cluster. Who may not list them sees none.
async fn budgets(cluster: &Cluster) -> Result<Vec<BudgetRow>, Failure> {
    let listed: Result<Vec<Stored<VpsBudget>>, CallError> =
        call::list(&Right::on_budgets("list"), &cluster.budgets(), None).await;
    let listed = match listed {
        Err(CallError::Forbidden(_)) => Vec::new(),
        listed => listed?,
    };
    let mut rows = Vec::new();
    for budget in listed {
        match budget.0 {
            Ok(budget) => rows.push(BudgetRow::of(budget)),
            Err(unreadable) => {
                let name = unreadable.metadata.name.unwrap_or_default();
                anstream::eprintln!(
                    "note: VpsBudget {name} cannot be read ({}), and nothing is bought",
                    unreadable.why
                );
            }
        }
    }
    Ok(rows)
}

fn table_of_budgets(rows: &[BudgetRow], output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new([
        "BUDGET",
        "READY",
        "PER HOUR",
        "PER MONTH",
        "DUE NOW",
        "NEAR LIMIT",
    ]);
    for row in rows {
        let limit = |limit: &Option<LimitStatus>| {
            Cell::from(limit.as_ref().map_or("-", |limit| limit.summary.as_str()))
        };
        table.add([
            Cell::from(&row.name),
            Cell::from(if row.ready { "yes" } else { "no" }),
            limit(&row.per_hour),
            limit(&row.per_month),
            limit(&row.due_now),
            Cell::from(if row.near_limit { "yes" } else { "no" }),
        ]);
    }
    output.table(&table)
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
        let (spent, open) = (spending.spent, spending.approved);
        Row {
            namespace: namespace.to_string(),
            kind: object::short(kind),
            currency_code: currency.clone(),
            vms,
            per_hour: text(spent.per_hour),
            at_once: text(spent.at_once),
            recurring_per_month: text(spent.per_month),
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
