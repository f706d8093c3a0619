//! Every approval of one wish at one price, held against every other one: what is sent is what was approved, and not
//! dearer.

use super::*;
use crate::consent::approval::Approval;
use crate::consent::price::HourlyPrice;
use crate::consent::quote::{Quote, QuoteId};
use crate::restore::tests::{intent, preflight_at, view};
use crate::restore::{Decision, Destination, Intent, ProviderReading, StatusFacts, View, decide};
use crate::values::ids::Uid;
use crate::values::money::Amount;

/// What an author may write, and what HostUp then takes for a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    uid: &'static str,
    name: &'static str,
    cpu_cores: u32,
    memory_gb: u32,
    core: &'static str,
}

/// How the id in an approval is compared with that of the quote that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    AsItShips,
    /// As far as the approval goes.
    ByPrefix,
    /// So many characters of it.
    ByTheFirst(usize),
}

impl Compared {
    fn is_taken(self, approved: &str, standing: &str) -> bool {
        match self {
            Self::AsItShips => false,
            Self::ByPrefix => standing.starts_with(approved),
            Self::ByTheFirst(n) => approved.get(..n).is_some_and(|first| standing.starts_with(first)),
        }
    }
}

fn wishes() -> Vec<Wish> {
    let mut wishes = Vec::new();
    for uid in ["uid-1", "uid-2"] {
        for name in ["web-01", "web-02"] {
            for cpu_cores in [2, 3, 4] {
                for memory_gb in [4, 8] {
                    for core in ["0.12", "0.13"] {
                        wishes.push(Wish {
                            uid,
                            name,
                            cpu_cores,
                            memory_gb,
                            core,
                        });
                    }
                }
            }
        }
    }
    wishes
}

fn asked(wish: Wish, approval: Option<QuoteId>, shown: Option<Quote>) -> (Intent, View) {
    let mut asked = intent();
    asked.subject.uid = Uid::new(wish.uid);
    let Destination::CloudVm(target) = &mut asked.target else {
        panic!("another target")
    };
    target.name = Some(wish.name.to_owned());
    target.cpu_cores = Some(wish.cpu_cores);
    target.memory_gb = Some(wish.memory_gb);
    asked.approval = approval.map(Approval::from);
    let mut preflight = preflight_at(now());
    let rates = preflight.deployments.rates.as_mut().expect("there are rates");
    rates.cpu_core = Amount::parse(wish.core).expect("an amount");
    let mut view = view(ProviderReading::Preflight(Box::new(preflight)));
    view.chain.shown_quote = shown;
    (asked, view)
}

/// The quote that is shown for a wish.
fn quote(decision: &Decision) -> Option<Quote> {
    match decision {
        Decision::Report(report) => match &report.facts {
            StatusFacts::Read { quote, .. } => quote.as_deref().cloned(),
            _ => None,
        },
        _ => None,
    }
}

/// The path and the body that leave for an order.
fn sent(order: &Order) -> Option<(String, String)> {
    let mut purchase = Purchase::new(
        Plan {
            order: order.clone(),
            ..plan()
        },
        times(),
        at(0),
    );
    let events = [
        Event::Begun,
        Event::Reserved(true),
        made(),
        Event::LookedAtObject(wanted()),
        Event::LookedAtRecord(ours()),
        Event::HandedOver,
    ];
    match after(&mut purchase, events.map(|event| (0, event))) {
        Effect::Post(right) => Some((right.path().to_owned(), right.body().to_owned())),
        _ => None,
    }
}

/// The first approval by which something else is bought, and how many were looked at.
fn search(compared: Compared) -> (usize, Option<String>) {
    let mut looked_at = 0;
    let price = |wish: Wish, view: &View| {
        let ProviderReading::Preflight(preflight) = &view.reading else {
            panic!("everything was read");
        };
        let size = crate::consent::price::Size {
            cpu_cores: wish.cpu_cores,
            memory_gb: wish.memory_gb,
            ..SIZE
        };
        let rates = preflight.deployments.rates.as_ref().expect("there are rates");
        HourlyPrice::of(size, rates).expect("a price").per_hour
    };
    for first in wishes() {
        let (intent, view) = asked(first, None, None);
        let shown = quote(&decide(&intent, &view, &times(), now())).expect("a quote is shown");
        let paid = price(first, &view);
        let id = shown.id.as_str();
        let written = [12, 3, 27, 2, 0].map(|n| id[..n].to_owned());
        let texts = [id.to_owned(), format!("{id}a")].into_iter().chain(written);
        for (text, then) in texts.flat_map(|text| wishes().into_iter().map(move |then| (text.clone(), then)))
        {
            looked_at += 1;
            let (mut intent, view) = asked(then, Some(QuoteId::new(text.clone())), Some(shown.clone()));
            let mut decision = decide(&intent, &view, &times(), now());
            if let Some(standing) =
                quote(&decision).filter(|standing| compared.is_taken(&text, standing.id.as_str()))
            {
                intent.approval = Some(Approval::from(standing.id));
                decision = decide(&intent, &view, &times(), now());
            }
            let is_same = Wish { core: "", ..then } == Wish { core: "", ..first };
            let is_approved = text == id && is_same && price(then, &view) <= paid;
            let order = match &decision {
                Decision::Buy(order) => Some(order),
                _ => None,
            };
            let left = order.and_then(|order| sent(order));
            if left.is_some() != is_approved {
                let schedule = format!(
                    "\n  {first:?} is shown as {id}\n  a person approves {text:?}\n  it becomes {then:?}\n  sent: {left:?}"
                );
                return (looked_at, Some(schedule));
            }
        }
    }
    (looked_at, None)
}

#[test]
fn an_approval_of_one_quote_buys_that_one_and_no_other() {
    let (looked_at, found) = search(Compared::AsItShips);
    println!("{looked_at} approvals");
    assert_eq!(found, None);
}

#[test]
fn quotes_that_are_compared_by_a_prefix_are_found() {
    for compared in [Compared::ByPrefix, Compared::ByTheFirst(3)] {
        let (looked_at, found) = search(compared);
        let schedule = found.unwrap_or_else(|| panic!("{compared:?} is not found"));
        println!(
            "QuoteByPrefix, {compared:?}: what is sent was not approved, after {looked_at} approvals:{schedule}"
        );
    }
}
