//! Floor 2: HostUp's HTTP API, typed. One method per endpoint, no policy.

mod cause;
mod error;
mod http;
mod names;
mod provider;
mod transport;
mod wire;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use error::ReadError;
pub use http::{Http, Way, certificates};
pub use provider::{Broken, Exchange, Kind, Provider, Request, Response};
pub use transport::Observer;

use crate::clock::Clock;
use crate::domain::action::answer::{PaidAnswer, wait_asked_for};
use crate::domain::action::ordered::{ActionKind, TargetState};
use crate::domain::consent::price::{BillingCycle, Size};
use crate::domain::ledger::record::Invoice;
use crate::domain::options::Preview;
use crate::domain::provider::backup::{ListedBackup, OwnBackups};
use crate::domain::provider::gate::ProviderGate;
use crate::domain::provider::inventory::Vm;
use crate::domain::provider::job::JobState;
use crate::domain::provider::options::Offer;
use crate::domain::provider::preflight::{Deployments, Eligibility, Remaining};
use crate::domain::purchase::RightToSend;
use crate::domain::values::ids::VpsId;
use crate::domain::values::json::{self, Object};
use crate::domain::values::money::Amount;
use crate::domain::values::text::Text;
use transport::{Get, Transport};

/// More options than this are no list of options.
const MOST_OPTIONS: usize = 64;
/// Pages of 100 of one list read; more is taken for a list that never ends.
const MOST_PAGES: usize = 200;

/// The provider, shared by all accounts.
#[derive(Clone)]
pub struct HostUp {
    transport: Arc<Transport>,
}

/// What is learnt of the pace of one key, call by call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A usable answer came; `budget` is what HostUp says of its count: calls left, and the time until it counts anew.
    Well {
        /// Only where both headers were there.
        budget: Option<(u32, Duration)>,
    },
    /// HostUp asks to wait so long, or does not say how long.
    Limited {
        /// `Retry-After`.
        wait: Option<Duration>,
    },
}

/// Who is told of the pace.
pub trait Traffic: Send + Sync {
    /// A call follows that was not asked for by itself: a further page, say. It counts, and waits until it may leave.
    ///
    /// # Errors
    /// [`ReadError::RateLimited`] where that would be long.
    fn may_leave(&self) -> Pin<Box<dyn Future<Output = Result<(), ReadError>> + Send + '_>>;
    /// Something was learnt.
    fn signal(&self, signal: Signal);
}

/// One endpoint, as metrics and logs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// `GET /api/v2/vps`
    VpsList,
    /// `GET /api/v2/vps/{id}`
    Vps,
    /// `GET /api/v2/vps/{id}/status`
    VpsStatus,
    /// `GET /api/v2/vps/{id}/details`
    VpsDetails,
    /// `GET /api/v2/vps/{id}/backups`
    Backups,
    /// `GET /api/v2/vps/{id}/backups/restore-sources`
    RestoreSources,
    /// `GET /api/v2/vps/{id}/actions/convert-to-cloud`
    ConvertToCloud,
    /// `GET /api/v2/vps/payg/deployments`
    Deployments,
    /// `GET /api/v2/vps/payg/limits`
    Limits,
    /// `GET /api/jobs/{jobId}`, or what `pollUrl` said
    Job,
    /// `GET /api/v2/vps/{id}/actions/upgrade`
    UpgradeOptions,
    /// `GET /api/v2/vps/{id}/actions/billing-cycle`
    BillingCycle,
    /// `POST .../actions/config` with `dryRun: true`
    ConfigPreview,
    /// A call that pays.
    Paid(ActionKind),
}

impl Route {
    /// A label of few values.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VpsList => "vps_list",
            Self::Vps => "vps",
            Self::VpsStatus => "vps_status",
            Self::VpsDetails => "vps_details",
            Self::Backups => "backups",
            Self::RestoreSources => "restore_sources",
            Self::ConvertToCloud => "convert_to_cloud",
            Self::Deployments => "payg_deployments",
            Self::Limits => "payg_limits",
            Self::Job => "job",
            Self::UpgradeOptions => "upgrade_options",
            Self::BillingCycle => "billing_cycle",
            Self::ConfigPreview => "config_preview",
            Self::Paid(kind) => kind.row().label,
        }
    }

    /// As HostUp's pages write it.
    pub fn path(self) -> &'static str {
        match self {
            Self::VpsList => "/api/v2/vps",
            Self::Vps => "/api/v2/vps/{id}",
            Self::VpsStatus => "/api/v2/vps/{id}/status",
            Self::VpsDetails => "/api/v2/vps/{id}/details",
            Self::Backups => "/api/v2/vps/{id}/backups",
            Self::RestoreSources => "/api/v2/vps/{id}/backups/restore-sources",
            Self::ConvertToCloud => "/api/v2/vps/{id}/actions/convert-to-cloud",
            Self::Deployments => "/api/v2/vps/payg/deployments",
            Self::Limits => "/api/v2/vps/payg/limits",
            Self::Job => "/api/jobs/{jobId}",
            Self::UpgradeOptions => "/api/v2/vps/{id}/actions/upgrade",
            Self::BillingCycle => "/api/v2/vps/{id}/actions/billing-cycle",
            Self::ConfigPreview => "/api/v2/vps/{id}/actions/config",
            Self::Paid(kind) => kind.row().path,
        }
    }
}

/// A VPS that the key reads, as `GET /vps/{id}` shows it.
#[derive(Debug, Clone)]
pub struct OwnVps {
    /// Rounded up; `None` where a part is missing.
    pub size: Option<Size>,
    /// `billing.isPayg`.
    pub is_payg: bool,
    /// `billing.billingCycle`.
    pub cycle: BillingCycle,
    /// Its words.
    pub state: TargetState,
    /// HostUp does not provide it any more.
    pub ended: bool,
    /// `actions.canResize`; `None` where it is not here, but perhaps in the details (resize page).
    pub can_resize: Option<ProviderGate>,
}

/// The backups of a VPS, as `GET /vps/{id}/backups` lists them.
#[derive(Debug, Clone)]
pub struct BackupList {
    /// `backups[]`.
    pub backups: Vec<ListedBackup>,
    /// `actions.canRestore`.
    pub can_restore: ProviderGate,
    /// `actions.canRestoreFromAnotherVps`.
    pub can_restore_from_another: ProviderGate,
    /// `actions.canCreateBackup`.
    pub can_create: ProviderGate,
    /// `quotaInfo.remaining` is 0: another backup is refused, or takes the place of an older one.
    pub is_full: bool,
}

impl BackupList {
    /// What matters before the VPS is changed or overwritten.
    pub fn own(&self) -> OwnBackups {
        OwnBackups {
            listed: self.backups.iter().map(|backup| backup.id.clone()).collect(),
            can_create: self.can_create.clone(),
        }
    }
}

/// A VPS, or a service that has ended, whose backups may be restored onto another VPS.
#[derive(Debug, Clone)]
pub struct RestoreSource {
    /// Its id.
    pub vps: VpsId,
    /// Its backups; this list has neither their type nor their note.
    pub backups: Vec<ListedBackup>,
}

impl HostUp {
    /// HostUp at `origin`, reached by `provider`; a read takes no longer than `timeout`.
    pub fn new(
        origin: Url,
        provider: Arc<dyn Provider>,
        clock: Clock,
        timeout: Duration,
        observer: Observer,
    ) -> Self {
        Self {
            transport: Arc::new(Transport {
                origin,
                provider,
                clock,
                timeout,
                observer,
            }),
        }
    }

    /// The account that `key` belongs to; `traffic` is told of its calls.
    pub fn account(&self, key: SecretString, traffic: Arc<dyn Traffic>) -> Account {
        Account {
            transport: self.transport.clone(),
            traffic,
            key,
        }
    }
}

/// One account: the transport, a key, and who is told of its calls.
#[derive(Clone)]
pub struct Account {
    transport: Arc<Transport>,
    traffic: Arc<dyn Traffic>,
    key: SecretString,
}

impl Account {
    /// Sends one paid POST: no retry, redirect, proxy or pooled connection, HTTP/1.1, one deadline for everything.
    pub async fn paid_post(&self, right: RightToSend) -> PaidAnswer {
        let answer = self.transport.paid_post(&self.key, right).await;
        if let PaidAnswer::Answered {
            status: 429,
            retry_after,
            body,
        } = &answer
        {
            let wait = wait_asked_for(retry_after.as_deref(), body, self.transport.clock.now().wall);
            self.traffic.signal(Signal::Limited { wait });
        }
        answer
    }

    /// Every VPS of the account, all pages (vps list page). An incomplete read is an error, so that
    /// absence is concluded from complete lists only.
    ///
    /// # Errors
    /// [`ReadError`], also for a list that repeats a cursor or never ends.
    pub async fn list_vps(&self) -> Result<Vec<Vm>, ReadError> {
        let incomplete =
            |why: &str| ReadError::unreadable(Route::VpsList, &format!("the list of VPSs {why}"));
        let mut vms = Vec::new();
        let mut cursor: Option<String> = None;
        for page in 0..MOST_PAGES {
            if page > 0 {
                self.traffic.may_leave().await?;
            }
            let mut query = vec![("limit", "100")];
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let page: wire::VpsPage = self.get(Route::VpsList, &["api", "v2", "vps"], &query).await?;
            for Object(entry) in page.data {
                // An entry that cannot be named makes the list incomplete, not shorter.
                vms.push(
                    entry
                        .into_vm()
                        .ok_or_else(|| incomplete("has an entry without a usable id"))?,
                );
            }
            match (page.has_more, page.next_cursor) {
                (Some(false), _) => return Ok(vms),
                (Some(true) | None, Some(next)) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                (Some(true) | None, _) => return Err(incomplete("breaks off")),
            }
        }
        Err(incomplete("does not end"))
    }

    /// One VPS (vps page). Where the summary leaves the power state open, `/status` is asked.
    ///
    /// # Errors
    /// [`ReadError`]; `NotFound` also for another account's VPS.
    pub async fn vps(&self, id: &VpsId) -> Result<Vm, ReadError> {
        let read: wire::Vps = self
            .get(Route::Vps, &["api", "v2", "vps", id.as_str()], &[])
            .await?;
        let of_another = || ReadError::unreadable(Route::Vps, "the answer is not about this VPS");
        // By the very characters: an id that is made printable may look like this one.
        if !read.is(id) {
            return Err(of_another());
        }
        let power_unknown = read.power_state.is_none();
        let mut vm = read.into_vm().ok_or_else(of_another)?;
        if power_unknown {
            let path = ["api", "v2", "vps", id.as_str(), "status"];
            self.traffic.may_leave().await?;
            let status: wire::VpsStatus = self.get(Route::VpsStatus, &path, &[]).await?;
            vm.running = status.power_state.as_deref() == Some("running");
        }
        Ok(vm)
    }

    /// A VPS that exists, to prove that the key reads it and to learn what is sold with it (vps page).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn own_vps(&self, id: &VpsId) -> Result<OwnVps, ReadError> {
        let mut read: wire::Vps = self
            .get(Route::Vps, &["api", "v2", "vps", id.as_str()], &[])
            .await?;
        if !read.is(id) {
            return Err(ReadError::unreadable(
                Route::Vps,
                "the answer is not about this VPS",
            ));
        }
        Ok(OwnVps {
            can_resize: read.can_resize(),
            state: read.words(),
            ended: read.has_ended(),
            size: read.size(),
            is_payg: read.is_payg(),
            cycle: read.cycle(),
        })
    }

    /// Whether a VM may be resized, by its details (resize page: the gate is in the summary or here; details page). A gate
    /// that is not here either is closed.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn can_resize(&self, id: &VpsId) -> Result<ProviderGate, ReadError> {
        let route = Route::VpsDetails;
        let path = ["api", "v2", "vps", id.as_str(), "details"];
        let read: wire::VpsDetails = self.get(route, &path, &[]).await?;
        if !read.is(id) {
            return Err(ReadError::unreadable(route, "the answer is not about this VPS"));
        }
        Ok(read.can_resize().unwrap_or_default())
    }

    /// What may be restored onto a VPS from others, and from services that have ended (restore-sources page).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn restore_sources(&self, id: &VpsId) -> Result<Vec<RestoreSource>, ReadError> {
        let path = ["api", "v2", "vps", id.as_str(), "backups", "restore-sources"];
        let read: wire::RestoreSources = self.get(Route::RestoreSources, &path, &[]).await?;
        let sources = read.sources.into_iter();
        let listed = sources.filter_map(|Object(source)| source.into_listed());
        Ok(listed
            .map(|(vps, backups)| RestoreSource { vps, backups })
            .collect())
    }

    /// The backups of a VPS and their gates (backups page).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn backups(&self, id: &VpsId) -> Result<BackupList, ReadError> {
        let path = ["api", "v2", "vps", id.as_str(), "backups"];
        let read: wire::Backups = self.get(Route::Backups, &path, &[]).await?;
        let actions = read.actions.unwrap_or_default();
        let remaining = read.quota.and_then(|quota| quota.remaining?.0);
        let gate = |gate: Option<wire::Gate>| ProviderGate::from(gate.unwrap_or_default());
        let backups = read
            .backups
            .into_iter()
            .filter_map(|Object(backup)| backup.into_listed())
            .collect();
        Ok(BackupList {
            backups,
            can_restore: gate(actions.can_restore),
            can_restore_from_another: gate(actions.can_restore_from_another_vps),
            can_create: gate(actions.can_create_backup),
            is_full: remaining.is_some_and(|left| left <= Amount::ZERO),
        })
    }

    /// Whether the account may use Cloud VMs (convert-to-cloud page).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn eligibility(&self, id: &VpsId) -> Result<Eligibility, ReadError> {
        let path = ["api", "v2", "vps", id.as_str(), "actions", "convert-to-cloud"];
        let read: wire::ConvertToCloud = self.get(Route::ConvertToCloud, &path, &[]).await?;
        Ok(read.into())
    }

    /// What may be deployed, and at what rates (payg deployments page).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn deployments(&self) -> Result<Deployments, ReadError> {
        let path = ["api", "v2", "vps", "payg", "deployments"];
        let read: wire::Deployments = self.get(Route::Deployments, &path, &[]).await?;
        Ok(read.into())
    }

    /// What the account's limits leave (payg limits page).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn remaining(&self) -> Result<Remaining, ReadError> {
        let path = ["api", "v2", "vps", "payg", "limits"];
        let read: wire::Limits = self.get(Route::Limits, &path, &[]).await?;
        Ok(read.remaining.unwrap_or_default().into())
    }

    /// The options of a VPS (options page).
    ///
    /// # Errors
    /// [`ReadError`], also for a list that is too long or has an entry without a usable key, so that no
    /// option is taken for missing that is there.
    pub async fn options(&self, id: &VpsId) -> Result<Vec<Offer>, ReadError> {
        let route = Route::UpgradeOptions;
        let path = ["api", "v2", "vps", id.as_str(), "actions", "upgrade"];
        let read: wire::UpgradeOptions = self.get(route, &path, &[]).await?;
        let unreadable = || ReadError::unreadable(route, "the list of options cannot be read");
        if read.configurable_options.len() > MOST_OPTIONS {
            return Err(unreadable());
        }
        let offers = read
            .configurable_options
            .into_iter()
            .map(|Object(option)| option.into_offer());
        offers.collect::<Option<Vec<Offer>>>().ok_or_else(unreadable)
    }

    /// The invoices that stand in the way of a change of a VPS (billing-cycle page). A refusal for such
    /// an invoice, which that page has too, names it as far as it does.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn blocking_invoices(&self, id: &VpsId) -> Result<Vec<Invoice>, ReadError> {
        let path = ["api", "v2", "vps", id.as_str(), "actions", "billing-cycle"];
        match self
            .get::<wire::BillingCycle>(Route::BillingCycle, &path, &[])
            .await
        {
            Ok(read) => Ok(read.open_invoices()),
            Err(ReadError::InvoiceBlocks(invoice)) => Ok(vec![*invoice]),
            Err(error) => Err(error),
        }
    }

    /// What a change of options would cost (config page); `body` says `dryRun: true`. It is sent once, for
    /// a POST that is repeated must not be trusted to stay a dry run. HostUp's refusal is an answer too.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn preview_config(&self, id: &VpsId, body: String) -> Result<Preview, ReadError> {
        let route = Route::ConfigPreview;
        let path = ["api", "v2", "vps", id.as_str(), "actions", "config"];
        let sent = body.clone();
        match self
            .transport
            .preview(
                self.traffic.as_ref(),
                &self.key,
                Get::segments(route, &path, &[]),
                sent,
            )
            .await
        {
            Ok(answer) => wire::Preview::read(&answer, body)
                .ok_or_else(|| ReadError::unreadable(route, "the answer is not that of a dry run")),
            Err(ReadError::Refused { code, said }) => Ok(Preview {
                body,
                price: None,
                invoice: None,
                can_commit: ProviderGate {
                    allowed: false,
                    code: code.to_string(),
                    reason: said.to_string(),
                },
                committed: false,
            }),
            Err(error) => Err(error),
        }
    }

    /// A job by the path that its 202 named (job page), and HostUp's own word for where it stands. 404 means that HostUp does
    /// not know it (any more), never that it failed.
    ///
    /// # Errors
    /// [`ReadError`]; `Forbidden` tells nothing of the job: no page says which right a key needs to read it.
    pub async fn job(&self, path: &str) -> Result<(JobState, Option<Text>), ReadError> {
        match self
            .transport
            .get(self.traffic.as_ref(), &self.key, Get::path(Route::Job, path))
            .await
        {
            Ok(body) => {
                JobState::read(&body).ok_or_else(|| ReadError::unreadable(Route::Job, "the answer is no job"))
            }
            Err(ReadError::NotFound { .. }) => Ok((JobState::Lost, None)),
            Err(error) => Err(error),
        }
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        route: Route,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ReadError> {
        let body = self
            .transport
            .get(
                self.traffic.as_ref(),
                &self.key,
                Get::segments(route, segments, query),
            )
            .await?;
        let read = json::object(&body).filter(|_| !wire::says_that_it_failed(&body));
        read.ok_or_else(|| ReadError::unreadable(route, "the answer cannot be read"))
    }
}
