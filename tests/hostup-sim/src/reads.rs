//! The answers of the reads, each from its own page.

use std::time::Instant;

use crate::account::{Account, AccountId, ActionGate, LimitSet};
use crate::clock::iso;
use crate::problem::Problem;
use crate::routes::decode;
use crate::vps::{Convert, Vps};
use crate::wire::Json;
use crate::world::{SizeGbAs, World};

impl World {
    /// `GET /api/version` (legacy text): whether it has an envelope is not shown; it has none here.
    pub(crate) fn version(&self) -> Json {
        Json::object([
            ("version", "2026.4.27".into()),
            ("buildTime", "2026-04-27T06:00:00.000Z".into()),
            ("generatedAt", iso(self.wall()).into()),
        ])
    }

    pub(crate) fn visible_vps(&self, account: AccountId, id: &str) -> Result<&Vps, Problem> {
        let now = self.now();
        self.account(account)
            .vps
            .iter()
            .find(|vps| {
                vps.id == id
                    && vps.visible(now)
                    && vps
                        .birth
                        .as_ref()
                        .is_none_or(|birth| !birth.lag_by_id || birth.list_lag == 0)
            })
            .ok_or_else(|| self.not_found("vps_not_found"))
    }

    /// `GET /api/v2/vps`: limit, cursor, name, primaryIp (its page).
    pub(crate) fn vps_list(
        &mut self,
        account: AccountId,
        asked: &[(String, String)],
    ) -> Result<(u16, Json), Problem> {
        let refuse = |name: &str, detail: String| Problem {
            errors: vec![(format!("/{name}"), detail)],
            ..Problem::new(400, "invalid_request")
        };
        let of = |name: &str| {
            asked
                .iter()
                .find(|(own, _)| own == name)
                .map(|(_, value)| value.as_str())
        };
        let limit = match of("limit") {
            None => self.page_size,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=100).contains(limit))
                .ok_or_else(|| refuse("limit", "`limit` must be from 1 to 100.".to_owned()))?,
        };
        let limit = self.page_cap.map_or(limit, |cap| limit.min(cap)).max(1);
        let start: usize = match of("cursor") {
            None => 0,
            Some(cursor) => cursor
                .strip_prefix("cur_")
                .and_then(|offset| offset.parse().ok())
                .ok_or_else(|| refuse("cursor", "`cursor` is not valid.".to_owned()))?,
        };
        let now = self.now();
        let shown: Vec<&Vps> = self
            .account(account)
            .vps
            .iter()
            .filter(|vps| vps.visible(now))
            .filter(|vps| vps.birth.as_ref().is_none_or(|birth| birth.list_lag == 0))
            .filter(|vps| of("name").is_none_or(|name| same_name(name, &vps.name)))
            .filter(|vps| of("primaryIp").is_none_or(|ip| vps.primary_ip_at(now) == Some(ip)))
            .collect();
        let page = shown.iter().skip(start).take(limit);
        let mut rows: Vec<Json> = page
            .map(|vps| {
                if self.gates_in_list {
                    self.vps_page(vps)
                } else {
                    self.vps_json(vps)
                }
            })
            .collect();
        if asked
            .iter()
            .any(|(name, value)| name == "include" && value == "pendingMaintenance")
        {
            for row in &mut rows {
                row.push("pendingMaintenance", Json::Null);
                row.push("pendingMaintenanceHasDeadline", false.into());
            }
        }
        let end = start + rows.len();
        let more = end < shown.len();
        let body = Json::object([
            ("data", Json::List(rows)),
            ("hasMore", more.into()),
            ("nextCursor", more.then(|| format!("cur_{end}")).into()),
        ]);
        if start == 0 {
            for vps in &mut self.account_mut(account).vps {
                if let Some(birth) = vps.birth.as_mut().filter(|birth| birth.visible_at <= now) {
                    birth.list_lag = birth.list_lag.saturating_sub(1);
                }
            }
        }
        Ok((200, body))
    }

    /// The shape of `GET /api/v2/vps/{id}` (its page), also used by the list.
    pub(crate) fn vps_json(&self, vps: &Vps) -> Json {
        let now = self.now();
        let system = vps.operating_system.as_ref().map(|system| {
            Json::object([
                ("displayName", (&system.display_name).into()),
                ("family", (&system.family).into()),
                ("version", (&system.version).into()),
                ("variant", system.variant.as_ref().into()),
            ])
        });
        Json::object([
            ("id", (&vps.id).into()),
            ("name", (&vps.name).into()),
            ("primaryIp", vps.primary_ip_at(now).into()),
            ("serviceStatus", Json::word(vps.service_status_at(now))),
            ("powerState", vps.power_state_at(now).map(power_word).into()),
            ("operatingSystem", system.into()),
            ("billing", vps.billing.json(true)),
            ("resources", vps.resources.json()),
        ])
    }

    /// `GET /api/v2/vps/{id}`: the row of the list and `actions` ("`actions.canResize` from the VPS detail",
    /// resize page). On a fixed plan it is shown only if it was set (assumed).
    pub(crate) fn vps_page(&self, vps: &Vps) -> Json {
        let mut page = self.vps_json(vps);
        if vps.billing.is_payg || vps.can_resize.is_some() {
            page.push("actions", self.vps_actions(vps));
        }
        page
    }

    fn vps_actions(&self, vps: &Vps) -> Json {
        Json::object([("canResize", self.resize_gate(vps).json())])
    }

    /// `GET /api/v2/vps/{id}/details` (its page, up to where the stored copy is cut; `actions` from the
    /// resize page).
    pub(crate) fn vps_details(&self, vps: &Vps) -> Json {
        let mut details = details(vps, self.now());
        details.push("actions", self.vps_actions(vps));
        details
    }

    /// `GET /api/v2/vps/{id}/backups` (its page).
    pub(crate) fn backup_list(&mut self, account: AccountId, id: &str) -> Result<(u16, Json), Problem> {
        let vps = self.visible_vps(account, id)?;
        let listed = vps.backups.iter().filter(|backup| !vps.is_unlisted(&backup.id));
        let rows = listed.map(|backup| {
            let size = match self.odd.size_gb {
                SizeGbAs::Set => backup.size_gb,
                SizeGbAs::Integer => backup.size_gb.ceil(),
                SizeGbAs::Fraction => backup.size_gb + crate::Decimal::new(125, 3),
            };
            Json::object([
                ("id", (&backup.id).into()),
                ("displayId", (&backup.display_id).into()),
                ("storageKey", (&backup.storage_key).into()),
                ("createdAt", backup.created_at.as_ref().into()),
                ("sizeGb", size.into()),
                ("backupType", Json::word(&backup.backup_type)),
                ("note", backup.note.as_ref().into()),
            ])
        });
        let used = vps.backup_count();
        let gate = |own: &ActionGate| self.while_idle(vps, own).json();
        let body = Json::object([
            ("backups", Json::list(rows)),
            (
                "quotaInfo",
                Json::object([
                    ("used", used.into()),
                    ("limit", vps.backup_quota.into()),
                    (
                        "remaining",
                        vps.backup_quota.map(|limit| limit.saturating_sub(used)).into(),
                    ),
                ]),
            ),
            (
                "actions",
                Json::object([
                    ("canCreateBackup", self.backup_gate(vps).json()),
                    ("canRestore", gate(&vps.can_restore)),
                    ("canRestoreFromAnotherVps", gate(&vps.can_restore_from_another)),
                ]),
            ),
        ]);
        let Some(vps) = self.vps_mut(id) else {
            return Ok((200, body));
        };
        vps.list_was_read();
        if let Some(left) = vps.backups_vanish_after_lists {
            let left = left.saturating_sub(1);
            vps.backups_vanish_after_lists = (left > 0).then_some(left);
            if left == 0 {
                vps.backups.clear();
            }
        }
        Ok((200, body))
    }

    /// A gate, closed while a job is at work on the VPS ("gates already account for in-flight jobs",
    /// backups page; code assumed).
    pub(crate) fn while_idle(&self, vps: &Vps, own: &ActionGate) -> ActionGate {
        let now = self.now();
        if self.jobs_close_gates && own.allowed && self.jobs.iter().any(|job| job.is_active_on(&vps.id, now))
        {
            ActionGate::closed("A job of this VPS is in progress.", Some("vps_not_ready"))
        } else {
            own.clone()
        }
    }

    /// `GET /api/v2/vps/{id}/active-jobs` ("List active VPS jobs"; the page is not stored).
    pub(crate) fn active_jobs(&self, vps: &Vps) -> Json {
        let now = self.now();
        let active = self.jobs.iter().filter(|job| job.is_active_on(&vps.id, now));
        Json::object([("jobs", Json::list(active.map(|job| job.row(now))))])
    }

    pub(crate) fn poll(&mut self, account: AccountId, id: &str) -> Result<(u16, Json), Problem> {
        let (now, wall) = (self.now(), self.wall());
        let request_id = self.ids.uuid();
        let job = self
            .jobs
            .iter_mut()
            .find(|job| job.id == id && job.account == account && !job.forgotten(now))
            .ok_or_else(|| Problem::new(404, "not_found"))?;
        job.polls += 1;
        Ok((200, job.answer(now, wall, request_id)))
    }
}

/// `running` is never replaced by an unknown word: a VM in an unknown state is still starting.
fn power_word(state: &str) -> Json {
    if state == "running" {
        Json::from(state)
    } else {
        Json::word(state)
    }
}

/// "exact display name, case-insensitive" (list page)
fn same_name(asked: &str, own: &str) -> bool {
    asked.to_lowercase() == own.to_lowercase()
}

/// `GET /api/v2/vps/{id}/status` (its page).
pub(crate) fn status(vps: &Vps, now: Instant) -> Json {
    let running = vps.power_state_at(now) == Some("running");
    let usage = |total: crate::Decimal| {
        Json::object([
            ("usedGb", Json::Number("1.5".to_owned())),
            ("totalGb", total.into()),
            ("usagePercent", Json::Number("18.75".to_owned())),
        ])
    };
    Json::object([
        ("id", (&vps.id).into()),
        (
            "powerState",
            power_word(vps.power_state_at(now).unwrap_or("unknown")),
        ),
        ("uptimeSeconds", running.then_some(86_400u32).into()),
        ("cpuUsagePercent", Json::Number("3.2".to_owned())),
        ("cpuCores", Json::nullable(vps.resources.cpu_cores)),
        ("memory", usage(vps.resources.memory_gb)),
        ("storage", usage(vps.resources.storage_gb)),
        (
            "network",
            Json::object([
                ("inboundGb", Json::Number("10.2".to_owned())),
                ("outboundGb", Json::Number("4.1".to_owned())),
                ("totalGb", Json::Number("14.3".to_owned())),
            ]),
        ),
        ("pendingTasks", Json::List(Vec::new())),
    ])
}

fn details(vps: &Vps, now: Instant) -> Json {
    let hostname = vps.hostname.as_ref().unwrap_or(&vps.name);
    let status = match vps.service_status_at(now) {
        // Six values here, eight in the summary.
        "expired" | "fraud" => "unknown",
        status => status,
    };
    Json::object([
        ("id", (&vps.id).into()),
        ("productName", vps.product_name.as_ref().into()),
        ("hostname", Json::nullable(hostname)),
        ("serviceStatus", Json::word(status)),
        ("createdAt", vps.created_at.as_ref().into()),
        (
            "nextDueAt",
            (!vps.billing.is_payg)
                .then_some("2026-05-27T00:00:00.000Z")
                .into(),
        ),
        ("billing", vps.billing.json(false)),
        ("cpuCores", vps.resources.cpu_cores.into()),
        ("memoryGb", vps.resources.memory_gb.into()),
        ("storageGb", vps.resources.storage_gb.into()),
        ("backupsIncluded", vps.backup_quota.unwrap_or(0).into()),
        (
            "bandwidth",
            Json::object([
                ("usedGb", Json::Number("14.3".to_owned())),
                ("limitGb", 2000u32.into()),
                ("inboundGb", Json::Number("10.2".to_owned())),
                ("outboundGb", Json::Number("4.1".to_owned())),
                ("usagePercent", Json::Number("0.7".to_owned())),
            ]),
        ),
    ])
}

/// `GET /api/v2/vps/{id}/actions/convert-to-cloud` (its page; all members required).
pub(crate) fn convert(account: &Account, vps: &Vps) -> Json {
    let answer = vps.convert.clone().unwrap_or_else(|| {
        if vps.billing.is_payg {
            return Convert {
                billing_model: "payg".to_owned(),
                ..Convert::blocked("This service is already a Cloud VPS.", &[])
            };
        }
        let mut blockers = account.blockers.clone();
        let wanted = LimitSet {
            instance_count: 1,
            ..vps.as_limits()
        };
        blockers.extend(account.limits_remaining().blockers(wanted));
        if blockers.is_empty() {
            return Convert::available();
        }
        let words: Vec<&str> = blockers.iter().map(String::as_str).collect();
        let reason = if words.contains(&"not_verified") {
            "Account verification is required before converting to Cloud VM."
        } else {
            "The account cannot convert this VPS to Cloud VM."
        };
        Convert::blocked(reason, &words)
    });
    let warning = answer.prepaid_warning.as_ref().map(|(due, cycle, days)| {
        Json::object([
            ("nextDueAt", due.into()),
            ("billingCycle", cycle.into()),
            ("daysRemaining", (*days).into()),
        ])
    });
    Json::object([
        ("vpsId", (&vps.id).into()),
        ("available", answer.available.into()),
        ("reason", answer.reason.as_ref().into()),
        ("currentBillingModel", Json::word(&answer.billing_model)),
        ("requiresVerification", answer.requires_verification.into()),
        (
            "actions",
            Json::object([(
                "canConvertToCloud",
                Json::object([
                    ("allowed", answer.available.into()),
                    ("reason", answer.reason.as_ref().into()),
                ]),
            )]),
        ),
        ("blockerReasons", Json::list(&answer.blocker_reasons)),
        ("currentProductName", vps.product_name.as_ref().into()),
        ("prepaidWarning", warning.into()),
    ])
}

/// `GET /api/v2/vps/payg/deployments` (its page). The stored copy is cut before `limits` and
/// `regions`: their shape is assumed.
pub(crate) fn deployments(account: &Account) -> Json {
    let gate = account.deploy_gate();
    let access = account.access.present.then(|| {
        let own = &account.access;
        Json::object([
            ("available", gate.allowed.into()),
            ("reason", gate.reason.as_ref().into()),
            ("countryCode", own.country_code.as_ref().into()),
            ("countryPaymentAvailable", own.country_payment_available.into()),
            ("requiresCard", own.requires_card.into()),
            ("hasCard", own.has_card.into()),
            ("verified", own.verified.into()),
            ("cloudAccessEnabled", own.cloud_access_enabled.into()),
            ("blockerReasons", Json::list(&account.blockers)),
        ])
    });
    let range = |least: u32, most: u32| Json::object([("min", least.into()), ("max", most.into())]);
    Json::object([
        ("available", gate.allowed.into()),
        ("reason", gate.reason.as_ref().into()),
        ("access", access.into()),
        ("actions", Json::object([("canDeploy", gate.json())])),
        ("pricing", account.pricing.json()),
        (
            "defaults",
            Json::object([
                ("regionId", (&account.default_region).into()),
                (
                    "resources",
                    Json::object([
                        ("cpuCores", 2u32.into()),
                        ("memoryGb", 4u32.into()),
                        ("storageGb", 80u32.into()),
                    ]),
                ),
            ]),
        ),
        (
            "limits",
            Json::object([
                ("cpuCores", range(1, 32)),
                ("memoryGb", range(1, 256)),
                ("storageGb", range(50, 2000)),
            ]),
        ),
        (
            "regions",
            Json::list(
                account
                    .regions
                    .iter()
                    .map(|region| Json::object([("id", region.into()), ("name", region.into())])),
            ),
        ),
    ])
}

/// `GET /api/v2/vps/payg/limits` (its page).
pub(crate) fn limits(account: &Account) -> Json {
    Json::object([
        ("current", account.limits_current().json()),
        ("max", account.limits_max.json()),
        ("remaining", account.limits_remaining().json()),
        ("billing", account.pricing.json()),
        ("hasPendingRequests", false.into()),
        ("pendingRequests", Json::List(Vec::new())),
    ])
}

pub(crate) fn query(raw: Option<&str>) -> Vec<(String, String)> {
    raw.unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
        })
        .collect()
}
