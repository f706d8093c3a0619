//! Invoices, in the shape of the billing-cycle page's `blockingInvoices[]`. That `paymentInvoice` of
//! the config page has the same shape is assumed, for that page says only "object or null".

use rust_decimal::Decimal;

use crate::job::JobPhase;
use crate::options::OptionValue;
use crate::vps::{Backup, Content};
use crate::wire::Json;
use crate::world::World;

/// An invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// `id`, `inv_...`
    pub id: String,
    /// `number`
    pub number: Option<String>,
    /// `amount`
    pub amount: Decimal,
    /// `currencyCode`
    pub currency_code: String,
    /// `dueAt`
    pub due_at: Option<String>,
    /// `status`: `unpaid`, `paid`, `cancelled`, ...
    pub status: String,
    /// `paymentUrl`
    pub payment_url: Option<String>,
}

impl Invoice {
    /// An open invoice.
    ///
    /// # Panics
    /// If the amount is no decimal number.
    #[must_use]
    pub fn open(id: &str, amount: &str) -> Invoice {
        Invoice {
            id: id.to_owned(),
            number: Some("2026-10482".to_owned()),
            amount: crate::dec(amount),
            currency_code: "SEK".to_owned(),
            due_at: Some("2026-05-27T00:00:00.000Z".to_owned()),
            status: "unpaid".to_owned(),
            payment_url: Some(format!("https://cloud.hostup.se/billing?invoice={id}")),
        }
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("id", (&self.id).into()),
            ("number", self.number.as_ref().into()),
            ("amount", self.amount.into()),
            ("currencyCode", (&self.currency_code).into()),
            ("dueAt", self.due_at.as_ref().into()),
            ("status", Json::word(&self.status)),
            ("paymentUrl", self.payment_url.as_ref().into()),
        ])
    }
}

/// What was executed and still has to show.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) vps: String,
    pub(crate) change: Change,
    pub(crate) until: Until,
}

/// What it changes.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Options(Vec<(String, OptionValue)>),
    Size { cpu_cores: u32, memory_gb: u32 },
    Content(Content),
    Backup(Backup),
}

/// What it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Time(std::time::Instant),
    Paid(String),
    /// A job completes, or this moment comes whatever the job says. If the job fails before, nothing comes
    /// of it.
    Written {
        job: String,
        at: Option<std::time::Instant>,
    },
}

impl World {
    /// The invoices that commits made, in order, whatever became of them.
    #[must_use]
    pub fn invoices(&self) -> &[Invoice] {
        &self.invoices
    }

    /// The invoices that a commit cancelled by `cancelExistingInvoice`.
    #[must_use]
    pub fn cancelled_invoices(&self) -> &[Invoice] {
        &self.cancelled
    }

    /// A person pays an invoice, made by a commit or blocking one: it blocks no longer, and what was
    /// to be applied when it is paid is applied.
    ///
    /// # Panics
    /// If no such invoice is open.
    pub fn pay_invoice(&mut self, id: &str) {
        assert!(self.paid(id), "{id} is not open");
    }

    /// The same; false if no such invoice is open.
    pub(crate) fn paid(&mut self, id: &str) -> bool {
        if self.close_invoice(id, "paid").is_none() {
            return false;
        }
        let (due, rest) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.until == Until::Paid(id.to_owned()));
        self.waiting = rest;
        self.apply(due);
        true
    }

    /// Ends an open invoice wherever it stands and gives it as it is now.
    pub(crate) fn close_invoice(&mut self, id: &str, status: &str) -> Option<Invoice> {
        let mut closed = None;
        for invoice in &mut self.invoices {
            if invoice.id == id && invoice.status == "unpaid" {
                status.clone_into(&mut invoice.status);
                closed = Some(invoice.clone());
            }
        }
        for vps in self.accounts.iter_mut().flat_map(|own| &mut own.vps) {
            if vps.blocking_invoice.as_ref().is_some_and(|own| own.id == id) {
                closed = vps.blocking_invoice.take().map(|own| Invoice {
                    status: status.to_owned(),
                    ..own
                });
            }
        }
        closed
    }

    /// Sets what was to be set by now.
    pub(crate) fn settle(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let now = self.now();
        let phase = |id: &str| self.job(id).map_or(JobPhase::Failed, |job| job.phase_at(now));
        let is_due = |waiting: &Waiting| match &waiting.until {
            Until::Time(at) => *at <= now,
            Until::Written { job, at } => at.is_some_and(|at| at <= now) || phase(job) == JobPhase::Completed,
            Until::Paid(_) => false,
        };
        let is_void = |waiting: &Waiting| match &waiting.until {
            Until::Written { job, .. } => phase(job) == JobPhase::Failed,
            Until::Time(_) | Until::Paid(_) => false,
        };
        let all = || self.waiting.iter();
        if !all().any(|waiting| is_due(waiting) || is_void(waiting)) {
            return;
        }
        let due = all().filter(|waiting| is_due(waiting)).cloned().collect();
        let rest = all().filter(|waiting| !is_due(waiting) && !is_void(waiting));
        self.waiting = rest.cloned().collect();
        self.apply(due);
    }

    fn apply(&mut self, due: Vec<Waiting>) {
        for waiting in due {
            let Some(vps) = self.vps_mut(&waiting.vps) else {
                continue;
            };
            match waiting.change {
                Change::Options(values) => {
                    for (key, value) in values {
                        if let Some(option) = vps.option_mut(&key) {
                            option.current = value;
                        }
                    }
                }
                Change::Size { cpu_cores, memory_gb } => {
                    vps.resources.cpu_cores = cpu_cores.into();
                    vps.resources.memory_gb = memory_gb.into();
                    vps.ordered = None;
                }
                Change::Content(content) => vps.content = content,
                Change::Backup(backup) => vps.set_backup(backup),
            }
        }
    }
}
