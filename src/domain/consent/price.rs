//! What a pay-as-you-go VM costs, from HostUp's rates and the ordered size.

use std::fmt;

use crate::values::money::{Amount, Currency};

/// Hours that HostUp's month has in our estimates.
const HOURS_A_MONTH: u32 = 730;

/// The size of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Virtual processors.
    pub cpu_cores: u32,
    /// Memory in GB, as HostUp counts them.
    pub memory_gb: u32,
    /// Disk in GB, as HostUp counts them.
    pub storage_gb: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu_cores,
            memory_gb,
            storage_gb,
        } = self;
        write!(
            f,
            "{cpu_cores} cores, {memory_gb} GB memory, {storage_gb} GB storage"
        )
    }
}

/// Hourly rates of `payg/deployments.pricing`; a missing one means that there is no price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// Currency of all of them.
    pub currency: Currency,
    /// Per core and hour.
    pub cpu_core: Amount,
    /// Per GB of memory and hour.
    pub memory_gb: Amount,
    /// Per GB of storage and hour.
    pub storage_gb: Amount,
    /// Per IPv4 address and hour.
    pub ipv4: Amount,
    /// Per GB of traffic, which is in no price; `None` where HostUp does not say.
    pub traffic_gb: Option<Amount>,
}

/// An hourly price, IPv4 included, traffic excluded, rounded up to what is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourlyPrice {
    /// Currency of the amounts.
    pub currency: Currency,
    /// For one hour.
    pub per_hour: Amount,
    /// Estimate for 730 hours.
    pub per_month: Amount,
    /// For one hour, what another size adds to the price that the VM has already, negative where it becomes cheaper; `None`
    /// for a new VM.
    pub added: Option<Amount>,
    /// What it was computed from, so that a person can compute the price of another size; `None` where a status or a record
    /// does not say.
    pub rates: Option<Box<Rates>>,
}

impl HourlyPrice {
    /// What `size` costs at `rates`; `None` where a rate is negative or the sum cannot be held.
    pub fn of(size: Size, rates: &Rates) -> Option<Self> {
        let items = [
            rates.cpu_core.times(size.cpu_cores)?,
            rates.memory_gb.times(size.memory_gb)?,
            rates.storage_gb.times(size.storage_gb)?,
            rates.ipv4,
        ];
        if items.iter().any(|item| item.is_negative()) {
            return None;
        }
        let exact = items.into_iter().try_fold(Amount::ZERO, Amount::plus)?;
        Some(Self {
            currency: rates.currency.clone(),
            per_hour: exact.rounded_up(),
            per_month: exact.times(HOURS_A_MONTH)?.rounded_up_to_cents(),
            added: None,
            rates: Some(Box::new(rates.clone())),
        })
    }

    /// What a VM of size `now` costs at `rates` once it has the size `then`; `None` where [`Self::of`] has no price.
    pub fn of_resize(now: Size, then: Size, rates: &Rates) -> Option<Self> {
        let [cores, memory, storage] = [
            (rates.cpu_core, now.cpu_cores, then.cpu_cores),
            (rates.memory_gb, now.memory_gb, then.memory_gb),
            (rates.storage_gb, now.storage_gb, then.storage_gb),
        ]
        .map(|(rate, now, then)| rate.times(then)?.minus(rate.times(now)?));
        let added = cores?.plus(memory?)?.plus(storage?)?;
        Some(Self {
            added: Some(added.rounded_up()),
            ..Self::of(then, rates)?
        })
    }

    /// For one hour, what buying it adds to what is paid already.
    pub fn adds(&self) -> Amount {
        self.added.unwrap_or(self.per_hour)
    }

    /// E.g. `, 0.20 SEK/h more than now`; nothing for a new VM.
    fn compared(&self) -> String {
        let currency = &self.currency;
        match self.added {
            None => String::new(),
            Some(added) if added == Amount::ZERO => ", as much as now".to_owned(),
            Some(added) if added.is_negative() => {
                let less = Amount::ZERO.minus(added).unwrap_or(added);
                format!(", {less} {currency}/h less than now")
            }
            Some(added) => format!(", {added} {currency}/h more than now"),
        }
    }

    /// Short text for a column, e.g. `0.66 SEK/h`, of another size `0.86 SEK/h (+0.20)`.
    pub fn summary(&self) -> String {
        let price = format!("{} {}/h", self.per_hour, self.currency);
        match self.added {
            Some(added) if added.is_negative() => format!("{price} ({added})"),
            Some(added) => format!("{price} (+{added})"),
            None => price,
        }
    }
}

impl fmt::Display for HourlyPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let currency = &self.currency;
        write!(
            f,
            "{} {currency}/h{} (about {} {currency} for a month of {HOURS_A_MONTH} hours; IPv4 included, traffic excluded",
            self.per_hour,
            self.compared(),
            self.per_month
        )?;
        match self.rates.as_ref().and_then(|rates| rates.traffic_gb) {
            Some(traffic) => write!(f, ": {traffic} {currency}/GB)"),
            None => f.write_str(")"),
        }
    }
}

/// What a change of paid options costs, rounded up to what is shown. A negative amount is a credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePrice {
    /// Currency of the amounts; `None` where a legacy estimate names none.
    pub currency: Option<Currency>,
    /// Due when it is ordered.
    pub due_now: Amount,
    /// Due again and again.
    pub recurring: Recurring,
}

/// A recurring amount, by the length of its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recurring {
    /// For one month.
    PerMonth(Amount),
    /// For one billing cycle of a length that is not known.
    PerCycle(Amount),
    /// HostUp does not say how much.
    Unsaid,
}

impl Recurring {
    /// `amount` for one billing cycle, spread over its months.
    pub fn of_cycle(amount: Amount, cycle: BillingCycle) -> Self {
        match cycle.months() {
            Some(months) => amount
                .share_of(months)
                .map_or(Self::PerCycle(amount.rounded_up()), Self::PerMonth),
            None => Self::PerCycle(amount.rounded_up()),
        }
    }
}

/// How often a VPS is billed (vps page; the one-letter words are those of the legacy pages).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillingCycle {
    /// So many months.
    Months(u32),
    /// `free`, a new word, or none: no length can be said.
    Unknown,
}

impl BillingCycle {
    /// Reads HostUp's word.
    pub fn read(word: &str) -> Self {
        match word {
            "monthly" | "m" => Self::Months(1),
            "quarterly" | "q" => Self::Months(3),
            "semiannually" | "s" => Self::Months(6),
            "annually" | "a" => Self::Months(12),
            "biennially" | "b" => Self::Months(24),
            "triennially" | "t" => Self::Months(36),
            _ => Self::Unknown,
        }
    }

    fn months(self) -> Option<u32> {
        match self {
            Self::Months(months) => Some(months),
            Self::Unknown => None,
        }
    }
}

impl ChangePrice {
    /// With the amount for one cycle spread over the months of `cycle`.
    #[must_use]
    pub fn in_months_of(self, cycle: BillingCycle) -> Self {
        match self.recurring {
            Recurring::PerCycle(amount) => Self {
                recurring: Recurring::of_cycle(amount, cycle),
                ..self
            },
            Recurring::PerMonth(_) | Recurring::Unsaid => self,
        }
    }

    fn unit(&self) -> &str {
        self.currency.as_ref().map_or("(no currency)", Currency::as_str)
    }

    /// The amount for one month, where it can be said.
    pub fn per_month(&self) -> Option<Amount> {
        match self.recurring {
            Recurring::PerMonth(amount) => Some(amount),
            Recurring::PerCycle(_) | Recurring::Unsaid => None,
        }
    }

    /// Short text for a column, e.g. `40.00 SEK now, 40.00 SEK/month`.
    pub fn summary(&self) -> String {
        let unit = self.unit();
        match self.recurring {
            Recurring::PerMonth(amount) => format!("{} {unit} now, {amount} {unit}/month", self.due_now),
            Recurring::PerCycle(amount) => format!("{} {unit} now, {amount} {unit}/cycle", self.due_now),
            Recurring::Unsaid => format!("{} {unit} now", self.due_now),
        }
    }
}

impl fmt::Display for ChangePrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit();
        let said = |amount: Amount| match amount.minus(amount).and_then(|nothing| nothing.minus(amount)) {
            Some(credit) if amount.is_negative() => format!("a credit of {credit} {unit}"),
            Some(_) | None => format!("{amount} {unit}"),
        };
        write!(f, "{} now and ", said(self.due_now))?;
        match self.recurring {
            Recurring::PerMonth(amount) => write!(f, "{} a month", said(amount)),
            Recurring::PerCycle(amount) => {
                write!(
                    f,
                    "{} for each billing cycle, whose length HostUp does not say",
                    said(amount)
                )
            }
            Recurring::Unsaid => write!(f, "a recurring amount that HostUp does not say"),
        }
    }
}

/// What a paid call costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Price {
    /// A VM by the hour.
    Hourly(HourlyPrice),
    /// A change of paid options.
    Change(ChangePrice),
    /// It costs nothing.
    Nothing,
}

/// What is shown for a call that costs nothing.
pub const NO_CHARGE: &str = "no charge";

impl Price {
    /// Short text for a column.
    pub fn summary(&self) -> String {
        match self {
            Self::Hourly(price) => price.summary(),
            Self::Change(price) => price.summary(),
            Self::Nothing => NO_CHARGE.to_owned(),
        }
    }

    /// The currency; `None` where HostUp names none.
    pub fn currency(&self) -> Option<&Currency> {
        match self {
            Self::Hourly(price) => Some(&price.currency),
            Self::Change(price) => price.currency.as_ref(),
            Self::Nothing => None,
        }
    }

    /// Every component, as it enters a quote's id.
    pub fn components(&self) -> Vec<String> {
        let unit = |currency: &Currency| currency.to_string();
        match self {
            Self::Hourly(price) => {
                let added = price.added.map(|added| added.to_string());
                [price.per_hour.to_string(), unit(&price.currency)]
                    .into_iter()
                    .chain(added)
                    .collect()
            }
            Self::Nothing => vec![NO_CHARGE.to_owned()],
            Self::Change(price) => {
                let (period, amount) = match price.recurring {
                    Recurring::PerMonth(amount) => ("month", amount.to_string()),
                    Recurring::PerCycle(amount) => ("cycle", amount.to_string()),
                    Recurring::Unsaid => ("", String::new()),
                };
                vec![
                    price.due_now.to_string(),
                    amount,
                    period.to_owned(),
                    price.currency.as_ref().map_or_else(String::new, unit),
                ]
            }
        }
    }

    /// Whether no component is above that of `other`, in the same currency and for the same period.
    pub fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hourly(this), Self::Hourly(other)) => {
                let adds_no_more = match (this.added, other.added) {
                    (Some(this), Some(other)) => this <= other,
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                };
                this.currency == other.currency && this.per_hour <= other.per_hour && adds_no_more
            }
            (Self::Change(this), Self::Change(other)) => {
                let recurring = match (this.recurring, other.recurring) {
                    (Recurring::PerMonth(this), Recurring::PerMonth(other))
                    | (Recurring::PerCycle(this), Recurring::PerCycle(other)) => this <= other,
                    (Recurring::Unsaid, Recurring::Unsaid) => true,
                    (Recurring::PerMonth(_) | Recurring::PerCycle(_) | Recurring::Unsaid, _) => false,
                };
                this.currency == other.currency && this.due_now <= other.due_now && recurring
            }
            (Self::Nothing, Self::Nothing) => true,
            (Self::Hourly(_) | Self::Change(_) | Self::Nothing, _) => false,
        }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hourly(price) => price.fmt(f),
            Self::Change(price) => price.fmt(f),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn rates() -> Rates {
        let amount = |text| Amount::parse(text).unwrap();
        Rates {
            currency: Currency::parse("SEK").unwrap(),
            cpu_core: amount("0.12"),
            memory_gb: amount("0.04"),
            storage_gb: amount("0.003"),
            ipv4: amount("0.02"),
            traffic_gb: Some(amount("0.10")),
        }
    }

    #[test]
    fn the_example_of_the_deployments_page_costs_066_an_hour() {
        let size = Size {
            cpu_cores: 2,
            memory_gb: 4,
            storage_gb: 80,
        };
        let price = HourlyPrice::of(size, &rates()).unwrap();
        assert_eq!(price.summary(), "0.66 SEK/h");
        assert_eq!(
            price.to_string(),
            "0.66 SEK/h (about 481.80 SEK for a month of 730 hours; IPv4 included, traffic excluded: 0.10 SEK/GB)"
        );
        let unsaid = Rates {
            traffic_gb: None,
            ..rates()
        };
        let price = HourlyPrice::of(size, &unsaid).unwrap().to_string();
        assert!(price.ends_with("traffic excluded)"), "{price}");
    }

    #[test]
    fn a_negative_rate_is_no_price() {
        let rates = Rates {
            cpu_core: Amount::parse("-1").unwrap(),
            ..rates()
        };
        let size = Size {
            cpu_cores: 1,
            memory_gb: 1,
            storage_gb: 50,
        };
        assert_eq!(HourlyPrice::of(size, &rates), None);
    }

    proptest! {
        #[test]
        fn a_larger_vm_never_costs_less(cpu in 1u32..32, memory in 1u32..256, storage in 1u32..2000) {
            let small = Size { cpu_cores: cpu, memory_gb: memory, storage_gb: storage };
            let large = Size { cpu_cores: cpu + 1, memory_gb: memory + 1, storage_gb: storage + 1 };
            let price = |size| HourlyPrice::of(size, &rates()).unwrap().per_hour;
            prop_assert!(price(small) < price(large));
        }
    }
}
