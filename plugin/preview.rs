//! `preview`: what the objects of some files would cost, by copies that cannot buy.

mod copies;
mod files;
mod sums;

use std::path::PathBuf;
use std::time::Duration;

use hostup_operator::domain::status::reason::{Reason, Standing};
use serde::Serialize;

use crate::cluster::Cluster;
use crate::failure::{DONE, Failure, Outcome};
use crate::object::{BUYS, CHANGES, OVERWRITES, Object, SOURCE, ShownPrice, VM_NAME};
use crate::output::{Cell, Format, HEADING, OPEN, Output, PLAIN, Table, URGENT};
use sums::{Most, Sum};

const UNSEEN: &str =
    "nobody reconciled the copy in time: does the operator run, and does it watch this namespace?";
/// Exit status if some object has no price.
const NO_PRICE: u8 = 2;
/// Exit status if the prices are over `--max-per-hour`.
const TOO_MUCH: u8 = 3;
/// Exit status of an error.
const ERROR: u8 = 1;

/// Show what the objects of some files would cost, e.g. for a pull request. Buys nothing.
///
/// For each VpsBackupRestore and VpsResourceConfig, creates a copy with another name, waits for its price, and deletes
/// the copy. A copy has no approval, and its annotation vps.hostup.se/hold blocks its own purchase. Other objects of the
/// files are ignored.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 every object has a price, or nothing to buy. 1 an error: a file that cannot be read, an \
                  object that the API server refuses, a copy that was not deleted. 2 an object has no price. 3 the \
                  prices are over --max-per-hour. If several apply: 1, then 3, then 2."
)]
pub struct Args {
    /// Files, folders with files, or - for the standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The longest wait for all prices, e.g. 90s or 5m.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    timeout: Duration,
    /// The limit for the hourly price of all VMs together, e.g. "0.80 SEK". If the price is higher, or in another
    /// currency, the exit status is 3.
    #[arg(long, value_name = "AMOUNT CURRENCY")]
    max_per_hour: Option<Most>,
    /// The format of the output. wide: also the message of each object.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a wait; write it like 90s or 5m");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let number: u64 = number
        .parse()
        .ok()
        .filter(|n| (1..=86_400).contains(n))
        .ok_or_else(wrong)?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(wrong()),
    }
}

/// What became of the preview of one object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Previewed {
    namespace: String,
    object: String,
    wish: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<ShownPrice>,
    closed_gates: Vec<String>,
    advice: Vec<String>,
    reason: String,
    message: String,
    #[serde(skip)]
    result: Found,
}

/// What a preview found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// A price.
    Price,
    /// Nothing would be bought.
    Nothing,
    /// No price.
    NoPrice,
    /// The API server refused the copy, or the copy is still there.
    Error,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    objects: &'a [Previewed],
    totals: &'a [Sum],
    is_over_max_per_hour: bool,
}

/// Runs the command.
pub async fn run(args: &Args, cluster: &Cluster, output: &mut Output) -> Outcome {
    let wanted = files::read(&args.files)?;
    let previewed = copies::preview(wanted, args.timeout, cluster).await?;
    let prices = previewed.iter().filter_map(|object| object.price.as_ref());
    let totals = sums::of(prices);
    let over = args.max_per_hour.as_ref().and_then(|most| most.over(&totals));
    if args.output == Some(Format::Json) {
        output.json(&Report {
            objects: &previewed,
            totals: &totals,
            is_over_max_per_hour: over.is_some(),
        })?;
    } else {
        print(&previewed, &totals, args.output == Some(Format::Wide), output)?;
    }
    if let Some(over) = &over {
        anstream::eprintln!("{URGENT}{over}{URGENT:#}");
    }
    let any = |found| previewed.iter().any(|object| object.result == found);
    Ok(if any(Found::Error) {
        ERROR
    } else if over.is_some() {
        TOO_MUCH
    } else if any(Found::NoPrice) {
        NO_PRICE
    } else {
        DONE
    })
}

fn print(previewed: &[Previewed], totals: &[Sum], is_wide: bool, output: &mut Output) -> Result<(), Failure> {
    if previewed.is_empty() {
        return output.line("The files contain no VpsBackupRestore and no VpsResourceConfig.");
    }
    let last = is_wide.then_some("MESSAGE");
    let mut table = Table::new(
        ["NAMESPACE", "OBJECT", "PRICE", "GATES", "WHAT"]
            .into_iter()
            .chain(last),
    );
    for object in previewed {
        let price = match (&object.price, object.result) {
            (Some(price), _) => Cell::from(&price.summary),
            (None, Found::Nothing) => Cell::from("nothing to buy"),
            (None, Found::Price | Found::NoPrice | Found::Error) => Cell::styled(URGENT, "none"),
        };
        let gates = match object.result {
            Found::Error | Found::NoPrice if object.closed_gates.is_empty() => Cell::from("-"),
            _ if object.closed_gates.is_empty() => Cell::from("open"),
            _ => Cell::styled(OPEN, format!("closed: {}", object.closed_gates.join("; "))),
        };
        let what = match object.result {
            Found::Price | Found::Nothing => Cell::styled(PLAIN, &object.wish),
            Found::NoPrice | Found::Error => {
                Cell::styled(URGENT, format!("{}: {}", object.reason, object.message))
            }
        };
        let message = is_wide.then(|| Cell::from(&object.message));
        let cells = [
            Cell::from(&object.namespace),
            Cell::from(&object.object),
            price,
            gates,
            what,
        ];
        table.add(cells.into_iter().chain(message));
    }
    output.table(&table)?;
    for sum in totals {
        output.styled(HEADING, &format!("Total: {sum}"))?;
    }
    for object in previewed {
        for advice in &object.advice {
            output.styled(
                OPEN,
                &format!("{}: HostUp advises against it: {advice}", object.object),
            )?;
        }
    }
    let is_clean = previewed.iter().all(|object| object.result != Found::Error);
    output.line(if is_clean {
        "This is a preview: nothing was bought, and the copies are deleted."
    } else {
        "This is a preview: nothing was bought. See the table for what went wrong."
    })
}

impl Previewed {
    /// Of a copy that has come to rest, or whose time is over.
    fn of(wanted: &files::Wanted, copy: Option<&Object>) -> Self {
        let reason = copy.and_then(Object::reason);
        let result = match (reason, copy.is_some_and(|copy| copy.quote.is_some())) {
            (Some(reason), false) if reason.standing() == Standing::Done => Found::Nothing,
            (_, true) => Found::Price,
            (_, false) => Found::NoPrice,
        };
        let message = match copy {
            Some(copy) if reason == Some(Reason::TargetConflict) => format!(
                "a VpsResourceConfig for this VPS is already in the cluster, and only one of the two is reconciled. \
                 Preview it in a namespace that another operator serves: see docs/kubectl-plugin.md ({})",
                copy.message()
            ),
            Some(copy) if copy.ready().is_some() => copy.offer().to_owned(),
            Some(_) | None => UNSEEN.to_owned(),
        };
        // The VM of the object itself has another name.
        let wish = copy
            .into_iter()
            .flat_map(|copy| &copy.wish)
            .filter(|(name, _)| ![VM_NAME, SOURCE].contains(name));
        let wish = wish.map(|(name, value)| match *name {
            BUYS | CHANGES | OVERWRITES => value.clone(),
            name => format!("{} {value}", name.to_lowercase()),
        });
        Self {
            namespace: wanted.namespace.clone(),
            object: wanted.id.to_string(),
            wish: wish.collect::<Vec<_>>().join("; "),
            price: copy.and_then(|copy| copy.quote.as_ref()).map(ShownPrice::from),
            closed_gates: copy.map(Object::closed_gates).unwrap_or_default(),
            advice: copy.map(Object::advice).unwrap_or_default(),
            reason: reason.map_or("NotReconciled", Reason::as_str).to_owned(),
            message,
            result,
        }
    }

    /// Of an object of which no copy is made.
    fn without_copy(wanted: &files::Wanted, result: Found, reason: &str, message: String) -> Self {
        Self {
            namespace: wanted.namespace.clone(),
            object: wanted.id.to_string(),
            wish: String::new(),
            price: None,
            closed_gates: Vec::new(),
            advice: Vec::new(),
            reason: reason.to_owned(),
            message,
            result,
        }
    }
}
