//! What a pay-as-you-go VM costs, from HostUp's rates and the ordered size.

use std::fmt;

use super::money::{Amount, Currency};

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
        })
    }

    /// Short text for a column, e.g. `0.66 SEK/h`.
    pub fn summary(&self) -> String {
        format!("{} {}/h", self.per_hour, self.currency)
    }
}

impl fmt::Display for HourlyPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}/h (about {} {} for a month of {HOURS_A_MONTH} hours; IPv4 included, traffic excluded)",
            self.per_hour, self.currency, self.per_month, self.currency
        )
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
        assert_eq!(price.per_month.to_string(), "481.80");
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
