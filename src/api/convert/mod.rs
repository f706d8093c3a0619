//! From our kinds to the domain and back, each once.

mod budget;
mod config;
mod entry;
mod record;
mod restore;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use thiserror::Error;

use super::restore::{BackupStatus, MOST, SourceStatus, TargetStatus};
use super::shared::{
    BackupFirstStatus, GateStatus, InvoiceStatus, OperationRef, QuoteStatus, RatesStatus, VmSize, VmStatus,
};
use crate::domain::action::ordered::Backup;
use crate::domain::consent::approval::{Approval, Ceiling, CeilingUntil};
use crate::domain::consent::price::{ChangePrice, HourlyPrice, NO_CHARGE, Price, Rates, Recurring, Size};
use crate::domain::consent::quote::{Ended, Quote, QuoteId};
use crate::domain::ledger::chain::ShownRecord;
use crate::domain::ledger::record::{Bought, Invoice, PaymentPage, Record, State};
use crate::domain::provider::gate::{Force, Gate, GateName};
use crate::domain::restore::TargetView;
use crate::domain::values::ids::{RecordName, Subject, SubjectKind, Uid, VpsId};
use crate::domain::values::money::{Amount, Currency};
use crate::domain::values::rfc3339;
use crate::domain::values::text::Text;

pub use budget::{budget, budget_status};
pub use config::config_intent;
pub use entry::entry;
pub use record::{RecordDraft, known_status, record};
pub use restore::restore_intent;

/// A spec that the schema let through and that still cannot be understood.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("spec.{field}: {problem}")]
pub struct InvalidSpec {
    field: String,
    problem: String,
}

/// A record that cannot be read, e.g. one that a newer version wrote.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("VpsOperation {name}: {field} cannot be read; it was written by another version or by hand")]
pub struct InvalidRecord {
    name: String,
    field: &'static str,
}

/// The version of the hash of what a user wrote. A field that comes later enters it only where it is set, and under a
/// version of its own: an object without that field keeps its hash, and its name is not taken for reused.
const DIGEST_VERSION: &str = "v1";

/// The object, as records name it.
pub fn subject_of(kind: SubjectKind, metadata: &ObjectMeta) -> Subject {
    Subject {
        kind,
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: Uid::new(metadata.uid.clone().unwrap_or_default()),
        generation: metadata.generation.unwrap_or_default(),
    }
}

fn invalid(field: impl Into<String>, problem: impl Into<String>) -> InvalidSpec {
    InvalidSpec {
        field: field.into(),
        problem: problem.into(),
    }
}

fn amount(text: &str, field: &'static str) -> Result<Amount, InvalidSpec> {
    Amount::parse(text).ok_or_else(|| invalid(field, "is not a decimal amount"))
}

/// `90m`, `36h` or `7d`.
fn time_span(text: &str) -> Option<Duration> {
    let minutes = match text.chars().last()? {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].parse().ok()?;
    count.checked_mul(minutes * 60).map(Duration::from_secs)
}

fn currency(text: &str) -> Result<Currency, InvalidSpec> {
    Currency::parse(text).ok_or_else(|| invalid("approval.maxPrice.currencyCode", "is not a currency code"))
}

/// A consent, by a quote, a ceiling, or both.
fn approval(
    quote_id: Option<&String>,
    most: Option<Ceiling>,
    valid_until: Option<&String>,
    approved_by: Option<&String>,
) -> Result<Approval, InvalidSpec> {
    let time = |text: &String| {
        rfc3339::read(text)
            .ok_or_else(|| invalid("approval.validUntil", "is not a time, e.g. 2026-12-01T00:00:00Z"))
    };
    let valid_until = valid_until.map(time).transpose()?;
    if quote_id.is_none() && most.is_none() {
        return Err(invalid("approval", "needs maxPrice, quoteId, or both"));
    }
    Ok(Approval {
        quote: quote_id.map(QuoteId::new),
        ceiling: most.map(|most| CeilingUntil { most, valid_until }),
        approved_by: approved_by.map(|name| Text::new(name)),
    })
}

/// The quote that a status or a record shows, if it is whole.
pub fn shown_quote(shown: &QuoteStatus) -> Option<Quote> {
    let amount = |text: &Option<String>| text.as_deref().map(Amount::parse);
    let currency = shown.currency_code.as_deref().map(Currency::parse);
    let price = if let Some(per_hour) = amount(&shown.per_hour) {
        Price::Hourly(HourlyPrice {
            currency: currency??,
            per_hour: per_hour?,
            per_month: amount(&shown.per_month)??,
            added: match amount(&shown.per_hour_difference) {
                Some(added) => Some(added?),
                None => None,
            },
            rates: shown.rates.as_ref().and_then(rates).map(Box::new),
        })
    } else if shown.summary == NO_CHARGE {
        Price::Nothing
    } else {
        let recurring = match (amount(&shown.per_month), amount(&shown.per_cycle)) {
            (Some(amount), None) => Recurring::PerMonth(amount?),
            (None, Some(amount)) => Recurring::PerCycle(amount?),
            (None, None) => Recurring::Unsaid,
            (Some(_), Some(_)) => return None,
        };
        Price::Change(ChangePrice {
            currency: currency.flatten(),
            due_now: amount(&shown.due_now)??,
            recurring,
        })
    };
    Some(Quote {
        id: QuoteId::new(&shown.id),
        price,
        replaces: shown.replaces.as_ref().map(|id| Ended {
            id: QuoteId::new(id),
            before: shown.ended_before.clone(),
        }),
    })
}

fn rates(shown: &RatesStatus) -> Option<Rates> {
    let amount = |text: &String| Amount::parse(text);
    Some(Rates {
        currency: Currency::parse(&shown.currency_code)?,
        cpu_core: amount(&shown.cpu_per_core_hour)?,
        memory_gb: amount(&shown.memory_per_gb_hour)?,
        storage_gb: amount(&shown.storage_per_gb_hour)?,
        ipv4: amount(&shown.ip_per_hour)?,
        traffic_gb: shown.bandwidth_per_gb.as_ref().and_then(amount),
    })
}

impl From<&Rates> for RatesStatus {
    fn from(rates: &Rates) -> Self {
        Self {
            currency_code: rates.currency.to_string(),
            cpu_per_core_hour: rates.cpu_core.plain(),
            memory_per_gb_hour: rates.memory_gb.plain(),
            storage_per_gb_hour: rates.storage_gb.plain(),
            ip_per_hour: rates.ipv4.plain(),
            bandwidth_per_gb: rates.traffic_gb.map(Amount::plain),
        }
    }
}

impl From<&Quote> for QuoteStatus {
    fn from(quote: &Quote) -> Self {
        let text = |amount: Amount| Some(amount.to_string());
        let base = Self {
            id: quote.id.as_str().to_owned(),
            summary: quote.price.summary(),
            currency_code: None,
            per_hour: None,
            per_hour_difference: None,
            per_month: None,
            estimated_per_month: None,
            recurring_per_month: None,
            per_cycle: None,
            due_now: None,
            rates: None,
            replaces: quote.replaces.as_ref().map(|ended| ended.id.as_str().to_owned()),
            ended_before: quote.replaces.as_ref().and_then(|ended| ended.before.clone()),
        };
        match &quote.price {
            Price::Nothing => base,
            Price::Hourly(price) => Self {
                currency_code: Some(price.currency.to_string()),
                per_hour: text(price.per_hour),
                per_hour_difference: price.added.and_then(text),
                per_month: text(price.per_month),
                estimated_per_month: text(price.per_month),
                rates: price.rates.as_deref().map(RatesStatus::from),
                ..base
            },
            Price::Change(price) => {
                let (per_month, per_cycle) = match price.recurring {
                    Recurring::PerMonth(amount) => (text(amount), None),
                    Recurring::PerCycle(amount) => (None, text(amount)),
                    Recurring::Unsaid => (None, None),
                };
                Self {
                    currency_code: price.currency.as_ref().map(ToString::to_string),
                    due_now: text(price.due_now),
                    recurring_per_month: per_month.clone(),
                    per_month,
                    per_cycle,
                    ..base
                }
            }
        }
    }
}

impl From<&Invoice> for InvoiceStatus {
    fn from(invoice: &Invoice) -> Self {
        Self {
            id: Some(invoice.id.to_string()).filter(|id| !id.is_empty()),
            amount: invoice.amount.map(|amount| amount.to_string()),
            currency_code: invoice.currency.as_ref().map(ToString::to_string),
            due_at: invoice.due_at.as_ref().map(Text::to_string),
            payment_url: invoice.payment_page.as_ref().map(|page| page.as_str().to_owned()),
        }
    }
}

impl From<&InvoiceStatus> for Invoice {
    fn from(shown: &InvoiceStatus) -> Self {
        Self {
            id: Text::new(shown.id.as_deref().unwrap_or_default()),
            amount: shown.amount.as_deref().and_then(Amount::parse),
            currency: shown.currency_code.as_deref().and_then(Currency::parse),
            due_at: shown.due_at.as_deref().map(Text::new),
            payment_page: shown.payment_url.as_deref().and_then(PaymentPage::parse),
        }
    }
}

impl From<&Record> for BackupFirstStatus {
    fn from(record: &Record) -> Self {
        Self {
            id: record.known.backup.as_ref().map(ToString::to_string),
            operation: record.name.to_string(),
        }
    }
}

impl From<&Record> for OperationRef {
    fn from(record: &Record) -> Self {
        Self {
            name: record.name.to_string(),
            state: record.known.state.as_str().to_owned(),
            attempt: record.attempt,
        }
    }
}

impl From<&OperationRef> for ShownRecord {
    fn from(shown: &OperationRef) -> Self {
        Self {
            name: RecordName::new(&shown.name),
            state: State::ALL.into_iter().find(|state| state.as_str() == shown.state),
        }
    }
}

impl From<&Gate> for GateStatus {
    fn from(gate: &Gate) -> Self {
        Self {
            name: gate.name.as_str().to_owned(),
            source: Some(gate.name.source().as_str().to_owned()),
            allowed: gate.allowed,
            advisory: (gate.force == Force::Advises).then_some(true),
            code: gate.code.as_ref().map(Text::to_string),
            reason: gate.reason.as_ref().map(Text::to_string),
        }
    }
}

fn gate(shown: &GateStatus) -> Option<Gate> {
    let name = GateName::ALL
        .into_iter()
        .find(|name| name.as_str() == shown.name)?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (code, reason) = (text(&shown.code), text(&shown.reason));
    Some(match shown.advisory {
        Some(true) => Gate::open(name, Force::Advises, &code, &reason),
        Some(false) | None => Gate::new(name, shown.allowed, &code, &reason),
    })
}

impl From<&TargetView> for TargetStatus {
    fn from(target: &TargetView) -> Self {
        match target {
            TargetView::New(restoration) => {
                let region = Text::bounded(&restoration.region, 64).to_string();
                Self {
                    name: Text::bounded(&restoration.vm_name, 80).to_string(),
                    vps_id: None,
                    region: Some(region).filter(|region| !region.is_empty()),
                    cpu_cores: Some(restoration.ordered.cpu_cores.min(MOST)),
                    memory_gb: Some(restoration.ordered.memory_gb.min(MOST)),
                    storage_gb: Some(restoration.ordered.storage_gb.min(MOST)),
                }
            }
            TargetView::Existing(vps, name) => Self {
                name: Text::bounded(name.as_str(), 80).to_string(),
                vps_id: Some(vps.to_string()),
                region: None,
                cpu_cores: None,
                memory_gb: None,
                storage_gb: None,
            },
        }
    }
}

impl From<&VpsId> for SourceStatus {
    fn from(source: &VpsId) -> Self {
        Self {
            vps_id: source.to_string(),
        }
    }
}

impl From<&Backup> for BackupStatus {
    fn from(backup: &Backup) -> Self {
        Self {
            id: backup.id.to_string(),
            created_at: backup.created_at.to_string(),
            size_gb: backup.size_gb.to_string(),
            r#type: backup.kind.as_ref().map(Text::to_string),
            note: backup.note.as_ref().map(Text::to_string),
        }
    }
}

impl From<&Bought> for VmStatus {
    fn from(vm: &Bought) -> Self {
        Self {
            vps_id: vm.vps.to_string(),
            name: vm.name.to_string(),
            primary_ip: vm.primary_ip.as_ref().map(Text::to_string),
        }
    }
}

impl From<&VmStatus> for Bought {
    fn from(shown: &VmStatus) -> Self {
        Self {
            vps: VpsId::new(&shown.vps_id),
            name: Text::new(&shown.name),
            primary_ip: shown.primary_ip.as_deref().map(Text::new),
            size: None,
        }
    }
}

impl From<Size> for VmSize {
    fn from(
        Size {
            cpu_cores,
            memory_gb,
            storage_gb,
        }: Size,
    ) -> Self {
        Self {
            cpu_cores,
            memory_gb,
            storage_gb,
        }
    }
}

impl From<VmSize> for Size {
    fn from(
        VmSize {
            cpu_cores,
            memory_gb,
            storage_gb,
        }: VmSize,
    ) -> Self {
        Self {
            cpu_cores,
            memory_gb,
            storage_gb,
        }
    }
}
