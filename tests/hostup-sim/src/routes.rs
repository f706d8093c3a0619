//! The routes: recognising a request, letting it in, and carrying it out.

use std::time::SystemTime;

use crate::account::AccountId;
use crate::body::says;
use crate::clock::iso;
use crate::config::{billing_cycle, options};
use crate::http::Incoming;
use crate::job::Job;
use crate::log::Auth;
use crate::problem::{Problem, legacy_code, legacy_error};
use crate::reads::{convert, deployments, limits, query, status};
use crate::restore::RestoreRequest;
use crate::wire::Json;
use crate::world::World;

/// The routes of the provider that are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// `GET` or `HEAD /api/version`
    Version,
    /// `GET /api/v2/vps`
    ListVps,
    /// `GET /api/v2/vps/{id}`
    GetVps,
    /// `GET /api/v2/vps/{id}/status`
    VpsStatus,
    /// `GET /api/v2/vps/{id}/details`
    VpsDetails,
    /// `GET /api/v2/vps/{id}/backups`
    ListBackups,
    /// `GET /api/v2/vps/{id}/actions/convert-to-cloud`
    ConvertToCloud,
    /// `GET /api/v2/vps/{id}/actions/upgrade`
    UpgradeOptions,
    /// `GET /api/v2/vps/{id}/actions/billing-cycle`
    BillingCycle,
    /// `POST /api/v2/vps/{id}/actions/config` with a readable `dryRun: true`
    ConfigPreview,
    /// `POST /api/v2/vps/{id}/actions/config` with any other body: costs money (its page does not
    /// say that `dryRun` defaults to true)
    ConfigCommit,
    /// `POST /api/vm/{vmid}/upgrade` with a readable `send: false`: may cost money, for no page says
    /// that this is the estimate
    LegacyEstimate,
    /// `POST /api/vm/{vmid}/upgrade` with any other body: costs money
    LegacyUpgrade,
    /// `GET /api/v2/vps/payg/deployments`
    PaygDeployments,
    /// `GET /api/v2/vps/payg/limits`
    PaygLimits,
    /// `POST /api/v2/vps/{id}/backups/{backupId}/actions/restore-to-payg`: costs money
    RestoreToPayg,
    /// `POST /api/v2/vps/{id}/actions/resize`: costs money
    Resize,
    /// `POST /api/v2/vps/{id}/backups/{backupId}/actions/restore`: overwrites the VPS
    Restore,
    /// `POST /api/v2/vps/{id}/backups/actions/restore-from-vps`: overwrites the VPS
    RestoreFromVps,
    /// `POST /api/v2/vps/{id}/backups`: takes a place among the backups
    CreateBackup,
    /// `GET /api/v2/vps/{id}/backups/restore-sources`
    RestoreSources,
    /// `GET /api/v2/vps/{id}/active-jobs`
    ActiveJobs,
    /// `GET /api/jobs/{jobId}`
    Job,
    /// Anything else; answered 404.
    Unknown,
    /// For faults, counts and switches: every route.
    Any,
}

impl Route {
    /// Whether a call of this route spends money, or may.
    #[must_use]
    pub fn is_paid(self) -> bool {
        matches!(
            self,
            Route::RestoreToPayg
                | Route::ConfigCommit
                | Route::LegacyEstimate
                | Route::LegacyUpgrade
                | Route::Resize
        )
    }

    /// Whether the ledger records each executed call of this route: one that spends money, overwrites
    /// a disk or makes a backup.
    #[must_use]
    pub fn is_ledgered(self) -> bool {
        self.is_paid() || matches!(self, Route::Restore | Route::RestoreFromVps | Route::CreateBackup)
    }

    /// Whether it is meant by a filter.
    #[must_use]
    pub fn is_in(self, filter: Route) -> bool {
        filter == Route::Any || filter == self
    }

    /// Outside `/api/v2`: the legacy envelope and error body.
    pub(crate) fn is_legacy(self) -> bool {
        matches!(
            self,
            Route::Job | Route::Version | Route::LegacyEstimate | Route::LegacyUpgrade
        )
    }

    /// The scopes a key needs: of each group one (each endpoint's page, "Required API scopes"; the
    /// legacy upgrade, the restore in place and the active jobs: assumed).
    fn scopes(self) -> &'static [&'static [&'static str]] {
        match self {
            Route::RestoreToPayg => &[&["backup:vm"], &["write:billing"]],
            Route::ConfigPreview | Route::ConfigCommit => &[&["write:vm"]],
            Route::Resize => &[&["write:billing"]],
            Route::Restore | Route::RestoreFromVps | Route::RestoreSources | Route::CreateBackup => {
                &[&["backup:vm"]]
            }
            Route::ActiveJobs => &[&["read:vm", "backup:vm"]],
            Route::LegacyEstimate | Route::LegacyUpgrade => &[&["write:billing", "write:vm"]],
            Route::Version | Route::Job | Route::Unknown | Route::Any => &[],
            _ => &[&["read:vm"]],
        }
    }
}

/// A recognised request line.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) route: Route,
    /// The ids in the path, in order.
    pub(crate) ids: Vec<String>,
}

pub(crate) fn recognise(method: &str, path: &str, body: &[u8]) -> Target {
    let segments: Vec<String> = path.split('/').skip(1).map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (route, ids): (Route, &[&str]) = match (method, segments.as_slice()) {
        ("GET" | "HEAD", ["api", "version"]) => (Route::Version, &[]),
        ("GET", ["api", "jobs", id]) => (Route::Job, &[*id]),
        ("GET", ["api", "v2", "vps"]) => (Route::ListVps, &[]),
        ("GET", ["api", "v2", "vps", "payg", "deployments"]) => (Route::PaygDeployments, &[]),
        ("GET", ["api", "v2", "vps", "payg", "limits"]) => (Route::PaygLimits, &[]),
        ("GET", ["api", "v2", "vps", id]) => (Route::GetVps, &[*id]),
        ("GET", ["api", "v2", "vps", id, "status"]) => (Route::VpsStatus, &[*id]),
        ("GET", ["api", "v2", "vps", id, "details"]) => (Route::VpsDetails, &[*id]),
        ("GET", ["api", "v2", "vps", id, "backups"]) => (Route::ListBackups, &[*id]),
        ("GET", ["api", "v2", "vps", id, "backups", "restore-sources"]) => (Route::RestoreSources, &[*id]),
        ("POST", ["api", "v2", "vps", id, "backups"]) => (Route::CreateBackup, &[*id]),
        ("GET", ["api", "v2", "vps", id, "active-jobs"]) => (Route::ActiveJobs, &[*id]),
        ("GET", ["api", "v2", "vps", id, "actions", "convert-to-cloud"]) => (Route::ConvertToCloud, &[*id]),
        ("GET", ["api", "v2", "vps", id, "actions", "upgrade"]) => (Route::UpgradeOptions, &[*id]),
        ("GET", ["api", "v2", "vps", id, "actions", "billing-cycle"]) => (Route::BillingCycle, &[*id]),
        ("POST", ["api", "v2", "vps", id, "actions", "config"]) if says(body, "dryRun", true) => {
            (Route::ConfigPreview, &[*id])
        }
        ("POST", ["api", "v2", "vps", id, "actions", "config"]) => (Route::ConfigCommit, &[*id]),
        ("POST", ["api", "v2", "vps", id, "actions", "resize"]) => (Route::Resize, &[*id]),
        ("POST", ["api", "vm", id, "upgrade"]) if says(body, "send", false) => {
            (Route::LegacyEstimate, &[*id])
        }
        ("POST", ["api", "vm", id, "upgrade"]) => (Route::LegacyUpgrade, &[*id]),
        (
            "POST",
            [
                "api",
                "v2",
                "vps",
                id,
                "backups",
                backup,
                "actions",
                "restore-to-payg",
            ],
        ) => (Route::RestoreToPayg, &[*id, *backup]),
        ("POST", ["api", "v2", "vps", id, "backups", "actions", "restore-from-vps"]) => {
            (Route::RestoreFromVps, &[*id])
        }
        ("POST", ["api", "v2", "vps", id, "backups", backup, "actions", "restore"]) => {
            (Route::Restore, &[*id, *backup])
        }
        _ => (Route::Unknown, &[]),
    };
    Target {
        route,
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    }
}

/// Percent-decoding; what is no valid escape stays.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escape.unwrap_or(bytes[at]));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Who makes a paid call, and with what body.
pub(crate) struct Caller<'a> {
    pub(crate) account: AccountId,
    pub(crate) auth: &'a Auth,
    pub(crate) body: &'a [u8],
    pub(crate) log_index: usize,
}

/// An answer before it meets the wire.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Json,
}

impl Reply {
    /// For a request that is not carried out and whose normal answer nobody wants.
    pub(crate) fn nothing() -> Reply {
        Reply {
            status: 500,
            headers: Vec::new(),
            body: Json::Null,
        }
    }
}

/// What carrying out a request came to.
pub(crate) struct Done {
    pub(crate) reply: Reply,
    /// A purchase was executed, or a read was looked up.
    pub(crate) acted: bool,
    pub(crate) throttled: bool,
}

impl World {
    /// Carries a request out and makes the normal answer. With `act` false nothing is executed; a
    /// paid call is then answered as if it had been.
    pub(crate) fn carry_out(
        &mut self,
        incoming: &Incoming,
        target: &Target,
        auth: &Auth,
        act: bool,
        log_index: usize,
    ) -> Done {
        let mut rate_headers = Vec::new();
        let mut throttled = false;
        let outcome = self
            .admit(target, auth, &mut rate_headers, &mut throttled)
            .and_then(|account| self.answer(incoming, target, auth, account, act, log_index));
        let (mut reply, acted) = match outcome {
            Ok((status, body)) => (
                Reply {
                    status,
                    headers: Vec::new(),
                    body: self.dressed(target.route, body),
                },
                act || !target.route.is_ledgered(),
            ),
            Err(problem) => (self.refusal(target.route, &incoming.path, &problem), false),
        };
        reply.headers.append(&mut rate_headers);
        Done {
            reply,
            acted,
            throttled,
        }
    }

    /// Keys, rate limit, scopes, in this order (assumed).
    fn admit(
        &mut self,
        target: &Target,
        auth: &Auth,
        rate_headers: &mut Vec<(String, String)>,
        throttled: &mut bool,
    ) -> Result<Option<AccountId>, Problem> {
        if matches!(target.route, Route::Version | Route::Unknown) {
            return Ok(None);
        }
        let Auth::Key { account, key } = auth else {
            return Err(Problem::new(401, "unauthorized"));
        };
        let (now, wall) = (self.now(), self.wall());
        let own = self.account_mut(*account);
        let admitted = own.admit(now);
        if let (Some(limit), Some((start, used))) = (own.rate_limit, own.window) {
            let reset = wall + (start + limit.window).saturating_duration_since(now);
            let remaining = limit.requests.saturating_sub(used);
            rate_headers.extend(rate_limit_headers(limit.requests, remaining, reset));
        }
        if let Err(wait) = admitted {
            *throttled = true;
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            rate_headers.push(("Retry-After".to_owned(), seconds.to_string()));
            let mut problem = Problem::new(429, "rate_limit_exceeded");
            problem.retry_after = Some(seconds.to_string());
            return Err(problem);
        }
        let extra = (target.route == Route::Job)
            .then_some(self.job_scope.as_deref())
            .flatten();
        let key = self.account(*account).keys.iter().find(|own| own.name == *key);
        let has = |scope: &&str| key.is_some_and(|key| key.has(scope));
        let mut groups = target.route.scopes().iter();
        if groups.all(|group| group.iter().any(has)) && extra.iter().all(has) {
            Ok(Some(*account))
        } else {
            Err(Problem::new(403, "forbidden"))
        }
    }

    fn answer(
        &mut self,
        incoming: &Incoming,
        target: &Target,
        auth: &Auth,
        account: Option<AccountId>,
        act: bool,
        log_index: usize,
    ) -> Result<(u16, Json), Problem> {
        let id = target.ids.first().map_or("", String::as_str);
        let Some(account) = account else {
            return match target.route {
                Route::Version => Ok((200, self.version())),
                _ => Err(Problem::new(404, "not_found")),
            };
        };
        let caller = Caller {
            account,
            auth,
            body: &incoming.body,
            log_index,
        };
        match target.route {
            Route::UpgradeOptions => self.visible_vps(account, id).map(|vps| (200, options(vps))),
            Route::BillingCycle => self.visible_vps(account, id).map(|vps| (200, billing_cycle(vps))),
            Route::ConfigPreview | Route::ConfigCommit => self.configure(&caller, incoming, id, act),
            Route::Restore => self.restore_in_place(&caller, incoming, id, &target.ids[1], act),
            Route::RestoreFromVps => self.restore_from_vps(&caller, incoming, id, act),
            Route::CreateBackup => self.create_backup(&caller, incoming, id, act),
            Route::RestoreSources => self.restore_sources(account, id),
            Route::ActiveJobs => self
                .visible_vps(account, id)
                .map(|vps| (200, self.active_jobs(vps))),
            Route::Resize => self.resize_vps(&caller, incoming, id, act),
            Route::LegacyEstimate | Route::LegacyUpgrade => self.legacy_upgrade(&caller, incoming, id, act),
            Route::ListVps => {
                let asked = query(incoming.query.as_deref());
                self.vps_list(account, &asked)
            }
            Route::GetVps => self.visible_vps(account, id).map(|vps| (200, self.vps_page(vps))),
            Route::VpsStatus => self
                .visible_vps(account, id)
                .map(|vps| (200, status(vps, self.now()))),
            Route::VpsDetails => self
                .visible_vps(account, id)
                .map(|vps| (200, self.vps_details(vps))),
            Route::ListBackups => self.backup_list(account, id),
            Route::ConvertToCloud => self
                .visible_vps(account, id)
                .map(|vps| (200, convert(self.account(account), vps))),
            Route::PaygDeployments => Ok((200, deployments(self.account(account)))),
            Route::PaygLimits => Ok((200, limits(self.account(account)))),
            Route::Job => self.poll(account, id),
            Route::RestoreToPayg => {
                let job_id = if act {
                    self.restore_to_payg(&RestoreRequest {
                        caller,
                        vps: id,
                        backup: &target.ids[1],
                        content_type: incoming.header("content-type"),
                    })?
                } else {
                    self.ids.next("job")
                };
                Ok((202, Job::operation(&job_id, Json::word("queued"), None)))
            }
            Route::Version | Route::Unknown | Route::Any => Err(Problem::new(404, "not_found")),
        }
    }

    /// Applies the world's oddities and patches to a good answer.
    fn dressed(&self, route: Route, mut body: Json) -> Json {
        let on = |routes: &[Route]| routes.iter().any(|filter| route.is_in(*filter));
        if on(&self.odd.nulls) {
            body = body.with_nulls();
        }
        if on(&self.odd.unknown_words) {
            body = body.with_unknown_words();
        }
        if on(&self.odd.extra_fields) {
            body = body.with_extra_fields();
        }
        for (filter, pointer, value) in &self.patches {
            if route.is_in(*filter) {
                match value {
                    Some(value) => body.set(pointer, value.clone()),
                    None => body.remove(pointer),
                }
            }
        }
        body
    }

    pub(crate) fn refusal(&mut self, route: Route, path: &str, problem: &Problem) -> Reply {
        let timestamp = iso(self.wall());
        let body = if route.is_legacy() {
            let message = problem.detail.as_deref().unwrap_or(match problem.status {
                400 => "Validation failed",
                401 => "Authentication required",
                404 if route == Route::Job => "Job not found",
                404 => "Not found",
                _ => "The request could not be completed",
            });
            let mut body = legacy_error(
                problem.status,
                // The legacy 429 has no code, but `retryAfter` (legacy details page).
                (problem.status != 429).then_some(legacy_code(problem.status)),
                message,
                self.ids.uuid(),
                timestamp,
            );
            if let Some(wait) = &problem.retry_after {
                body.push("retryAfter", wait.into());
            }
            if !problem.errors.is_empty() {
                let details = problem.errors.iter().map(|(pointer, detail)| {
                    Json::object([
                        ("field", pointer.trim_start_matches('/').into()),
                        ("message", detail.into()),
                    ])
                });
                body.push("details", Json::list(details));
            }
            body
        } else {
            problem.body(path, self.ids.next("req"), timestamp)
        };
        Reply {
            status: problem.status,
            headers: Vec::new(),
            body,
        }
    }

    pub(crate) fn not_found(&self, specific: &str) -> Problem {
        let code = if self.specific_not_found {
            specific
        } else {
            "not_found"
        };
        Problem::new(404, code)
    }
}

/// `X-RateLimit-*`; the reset is an ISO time (rate_limited page).
pub(crate) fn rate_limit_headers(limit: u32, remaining: u32, reset: SystemTime) -> [(String, String); 3] {
    [
        ("X-RateLimit-Limit".to_owned(), limit.to_string()),
        ("X-RateLimit-Remaining".to_owned(), remaining.to_string()),
        ("X-RateLimit-Reset".to_owned(), iso(reset)),
    ]
}
