//! Prices: the first line is a size (`2 4 80`) and a billing cycle, the rest an answer with rates, or a dry run's.

use hostup_operator::api::shared::QuoteStatus;
use hostup_operator::api::shown_quote;
use hostup_operator::domain::consent::price::{
    BillingCycle, ChangePrice, HourlyPrice, Price, Rates, Recurring, Size,
};
use hostup_operator::domain::consent::quote::Quote;
use hostup_operator::domain::consent::quote::QuoteBasis;
use hostup_operator::domain::values::ids::{Uid, VpsId};
use hostup_operator::domain::values::money::Amount;

use crate::account::{Asked, done};
use crate::answer::Answer;
use crate::promise;
use crate::repeat::split;

/// Both kinds of price.
pub fn run(input: &[u8]) {
    let (line, body) = split(input, b"\n").unwrap_or((b"", input));
    let line = std::str::from_utf8(line).unwrap_or_default();
    let mut words = line.split(' ');
    let mut number = || {
        words
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(1)
            .clamp(1, 1_000_000)
    };
    let size = Size {
        cpu_cores: number(),
        memory_gb: number(),
        storage_gb: number(),
    };
    let cycle = BillingCycle::read(words.next().unwrap_or_default());
    let asked = Asked::always(&Answer::well(body));
    let deployments = done(asked.account.deployments());
    if let Some(rates) = deployments.ok().and_then(|read| read.rates) {
        hourly(size, &rates);
    }
    let preview = done(
        asked
            .account
            .preview_config(&VpsId::new("vps_a"), "{}".to_owned()),
    );
    if let Some(price) = preview.ok().and_then(|read| read.price) {
        change(price, cycle);
    }
}

/// Never negative, never below what HostUp takes, and above it by less than what is shown.
fn hourly(size: Size, rates: &Rates) {
    let Some(price) = HourlyPrice::of(size, rates) else {
        return;
    };
    assert!(
        !price.per_hour.is_negative() && !price.per_month.is_negative(),
        "{price}"
    );
    let items = [
        (rates.cpu_core, size.cpu_cores),
        (rates.memory_gb, size.memory_gb),
        (rates.storage_gb, size.storage_gb),
        (rates.ipv4, 1),
    ];
    let exact = items.iter().try_fold(0_i128, |sum, (rate, count)| {
        sum.checked_add(parts(*rate)?.checked_mul(i128::from(*count))?)
    });
    let shown = parts(price.per_hour);
    if let (Some(exact), Some(shown)) = (exact, shown) {
        let over = shown - exact;
        assert!(
            (0..PARTS / 10_000).contains(&over),
            "{price} is off by {over} parts of {PARTS}: {rates:?}"
        );
        let months = parts(price.per_month).zip(exact.checked_mul(730));
        if let Some((shown, exact)) = months {
            assert!((0..PARTS / 100).contains(&(shown - exact)), "{price}: {rates:?}");
        }
    }
    quoted(Price::Hourly(price));
}

/// A month's share is never below what a cycle costs.
fn change(read: ChangePrice, cycle: BillingCycle) {
    let Recurring::PerCycle(amount) = read.recurring else {
        panic!("a dry run names a cycle: {read}");
    };
    let price = read.in_months_of(cycle);
    match (price.recurring, cycle) {
        (Recurring::PerMonth(month), BillingCycle::Months(months)) => {
            let all = parts(month).and_then(|month| month.checked_mul(i128::from(months)));
            if let (Some(all), Some(amount)) = (all, parts(amount)) {
                assert!(all >= amount, "{price} for {months} months of {amount}");
            }
        }
        (Recurring::PerCycle(shown), _) => assert!(shown >= amount, "{price}"),
        (recurring, cycle) => panic!("{recurring:?} of {cycle:?}"),
    }
    quoted(Price::Change(price));
}

/// What is shown is what is compared: it is read again as it was written.
fn quoted(price: Price) {
    let basis = QuoteBasis {
        subject: Uid::new("u"),
        request: "POST".to_owned(),
        after: Vec::new(),
    };
    assert!(price.is_within(&price), "{price}");
    promise::shown(&price.to_string(), 300);
    let quote = Quote {
        id: basis.id(&price),
        price,
        replaces: None,
    };
    let shown = QuoteStatus::from(&quote);
    assert!(shown.summary.len() <= 160, "{}", shown.summary);
    for amount in [
        &shown.per_hour,
        &shown.per_month,
        &shown.per_cycle,
        &shown.due_now,
    ]
    .into_iter()
    .flatten()
    {
        assert!(amount.len() <= 40, "{amount}");
        assert!(
            amount
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-')),
            "{amount}"
        );
    }
    assert_eq!(shown_quote(&shown).as_ref(), Some(&quote));
}

/// Parts of one unit that amounts are counted in here.
const PARTS: i128 = 10_i128.pow(24);

/// An amount in whole parts; `None` where it cannot be counted in them.
fn parts(amount: Amount) -> Option<i128> {
    let text = amount.plain();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if fraction.len() > 24 {
        return None;
    }
    let digits = format!("{whole}{fraction:0<24}");
    digits.parse().ok()
}
