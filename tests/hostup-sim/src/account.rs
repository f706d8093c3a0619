//! Accounts: keys, prices, limits, access to Cloud VMs, rate limits.

use std::time::{Duration, Instant};

use rust_decimal::Decimal;

use crate::problem::Problem;
use crate::vps::Vps;
use crate::wire::Json;

/// Handle of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub(crate) usize);

/// An API key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Name for logs: `key1`, `key2`, ...
    pub name: String,
    /// The text that a client sends as `Bearer <text>`.
    pub secret: String,
    /// Scopes, as on the endpoint pages (`read:vm`, `backup:vm`, `write:billing`, ...).
    pub scopes: Vec<String>,
    /// False once it was revoked or rotated away.
    pub active: bool,
}

impl Key {
    /// Whether the key has a scope. `read:all` and `write:all` stand for their kind (assumed from
    /// the orders page, which accepts `write:all`).
    #[must_use]
    pub fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| {
            own == scope
                || (own == "read:all" && scope.starts_with("read:"))
                || (own == "write:all" && scope.starts_with("write:"))
        })
    }
}

/// The scopes a key gets unless a test says otherwise: all that the simulated routes ask for.
#[must_use]
pub fn default_scopes() -> Vec<String> {
    ["read:vm", "write:vm", "backup:vm", "write:billing"]
        .map(str::to_owned)
        .to_vec()
}

/// A gate `{allowed, reason, code?}` as reads carry it (backups page, convert-to-cloud page).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionGate {
    /// The only member that opens or closes.
    pub allowed: bool,
    /// Text for people, or null.
    pub reason: Option<String>,
    /// Machine-readable reason; the member is left out when `None`.
    pub code: Option<String>,
}

impl ActionGate {
    /// An open gate.
    #[must_use]
    pub fn open() -> ActionGate {
        ActionGate {
            allowed: true,
            reason: None,
            code: None,
        }
    }

    /// An open gate that carries a code all the same, as the examples of the backups page do.
    #[must_use]
    pub fn open_with_code(code: &str) -> ActionGate {
        ActionGate {
            code: Some(code.to_owned()),
            ..ActionGate::open()
        }
    }

    /// A closed gate.
    #[must_use]
    pub fn closed(reason: &str, code: Option<&str>) -> ActionGate {
        ActionGate {
            allowed: false,
            reason: Some(reason.to_owned()),
            code: code.map(str::to_owned),
        }
    }

    /// A closed gate refuses a call with 409 and its own code, or else this one (assumed).
    pub(crate) fn check(&self, code: &str) -> Result<(), Problem> {
        if self.allowed {
            return Ok(());
        }
        let mut problem = Problem::new(409, self.code.as_deref().unwrap_or(code));
        problem.detail.clone_from(&self.reason);
        Err(problem)
    }

    pub(crate) fn json(&self) -> Json {
        let mut gate = Json::object([
            ("allowed", self.allowed.into()),
            ("reason", self.reason.as_ref().into()),
        ]);
        if let Some(code) = &self.code {
            gate.push("code", Json::nullable(code));
        }
        gate
    }
}

/// Hourly rates (payg/deployments page, `pricing`; its example figures are the default). A rate
/// that is `None` is left out of the answers.
#[derive(Clone, Debug)]
pub struct Pricing {
    /// `currencyCode`
    pub currency_code: String,
    /// `cpuPerCoreHour`
    pub cpu_per_core_hour: Option<Decimal>,
    /// `memoryPerGbHour`
    pub memory_per_gb_hour: Option<Decimal>,
    /// `storagePerGbHour`
    pub storage_per_gb_hour: Option<Decimal>,
    /// `bandwidthPerGb`
    pub bandwidth_per_gb: Option<Decimal>,
    /// `ipPerHour`
    pub ip_per_hour: Option<Decimal>,
}

impl Default for Pricing {
    fn default() -> Pricing {
        Pricing {
            currency_code: "SEK".to_owned(),
            cpu_per_core_hour: Some(Decimal::new(12, 2)),
            memory_per_gb_hour: Some(Decimal::new(4, 2)),
            storage_per_gb_hour: Some(Decimal::new(3, 3)),
            bandwidth_per_gb: Some(Decimal::new(1, 1)),
            ip_per_hour: Some(Decimal::new(2, 2)),
        }
    }
}

impl Pricing {
    /// What an hour of a VM costs, IPv4 included, traffic excluded.
    #[must_use]
    pub fn per_hour(&self, cpu_cores: u32, memory_gb: u32, storage_gb: u32) -> Option<Decimal> {
        Some(
            self.cpu_per_core_hour? * Decimal::from(cpu_cores)
                + self.memory_per_gb_hour? * Decimal::from(memory_gb)
                + self.storage_per_gb_hour? * Decimal::from(storage_gb)
                + self.ip_per_hour?,
        )
    }

    /// The members, in the order of the deployments page.
    pub(crate) fn json(&self) -> Json {
        let mut pricing = Json::object([("currencyCode", (&self.currency_code).into())]);
        for (name, rate) in [
            ("cpuPerCoreHour", self.cpu_per_core_hour),
            ("memoryPerGbHour", self.memory_per_gb_hour),
            ("storagePerGbHour", self.storage_per_gb_hour),
            ("bandwidthPerGb", self.bandwidth_per_gb),
            ("ipPerHour", self.ip_per_hour),
        ] {
            if let Some(rate) = rate {
                pricing.push(name, rate.into());
            }
        }
        pricing
    }
}

/// A row of `GET payg/limits` (`current`, `max`, `remaining`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSet {
    /// `cpuCores`
    pub cpu_cores: u32,
    /// `memoryGb`
    pub memory_gb: u32,
    /// `storageGb`
    pub storage_gb: u32,
    /// `instanceCount`
    pub instance_count: u32,
}

impl LimitSet {
    /// A row.
    #[must_use]
    pub fn new(cpu_cores: u32, memory_gb: u32, storage_gb: u32, instance_count: u32) -> LimitSet {
        LimitSet {
            cpu_cores,
            memory_gb,
            storage_gb,
            instance_count,
        }
    }

    pub(crate) fn add(self, other: LimitSet) -> LimitSet {
        LimitSet {
            cpu_cores: self.cpu_cores.saturating_add(other.cpu_cores),
            memory_gb: self.memory_gb.saturating_add(other.memory_gb),
            storage_gb: self.storage_gb.saturating_add(other.storage_gb),
            instance_count: self.instance_count.saturating_add(other.instance_count),
        }
    }

    pub(crate) fn minus(self, other: LimitSet) -> LimitSet {
        LimitSet {
            cpu_cores: self.cpu_cores.saturating_sub(other.cpu_cores),
            memory_gb: self.memory_gb.saturating_sub(other.memory_gb),
            storage_gb: self.storage_gb.saturating_sub(other.storage_gb),
            instance_count: self.instance_count.saturating_sub(other.instance_count),
        }
    }

    /// The blockers (words of the convert page) that this remainder has for a wanted size.
    pub(crate) fn blockers(self, wanted: LimitSet) -> Vec<String> {
        [
            (self.cpu_cores < wanted.cpu_cores, "cpu_limit_exceeded"),
            (self.memory_gb < wanted.memory_gb, "memory_limit_exceeded"),
            (self.storage_gb < wanted.storage_gb, "storage_limit_exceeded"),
            (
                self.instance_count < wanted.instance_count,
                "instance_limit_exceeded",
            ),
        ]
        .into_iter()
        .filter(|(exceeded, _)| *exceeded)
        .map(|(_, word)| word.to_owned())
        .collect()
    }

    pub(crate) fn json(self) -> Json {
        Json::object([
            ("cpuCores", self.cpu_cores.into()),
            ("memoryGb", self.memory_gb.into()),
            ("storageGb", self.storage_gb.into()),
            ("instanceCount", self.instance_count.into()),
        ])
    }
}

/// `access` of the payg/deployments page.
#[derive(Clone, Debug)]
pub struct Access {
    /// `access` itself is null when false.
    pub present: bool,
    /// `countryCode`
    pub country_code: Option<String>,
    /// `countryPaymentAvailable`
    pub country_payment_available: bool,
    /// `requiresCard`
    pub requires_card: bool,
    /// `hasCard`
    pub has_card: bool,
    /// `verified`
    pub verified: bool,
    /// `cloudAccessEnabled`
    pub cloud_access_enabled: bool,
}

impl Default for Access {
    fn default() -> Access {
        Access {
            present: true,
            country_code: Some("SE".to_owned()),
            country_payment_available: true,
            requires_card: true,
            has_card: true,
            verified: true,
            cloud_access_enabled: true,
        }
    }
}

/// A real rate limit: so many requests in a window, then 429 (no page tells the provider's numbers).
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Requests per window.
    pub requests: u32,
    /// Length of a window; it begins with its first request.
    pub window: Duration,
}

/// An account and what it owns.
#[derive(Debug)]
pub struct Account {
    pub(crate) id: AccountId,
    /// Its keys, also the revoked ones.
    pub keys: Vec<Key>,
    /// Its VPSs in list order, also those that are not visible yet.
    pub vps: Vec<Vps>,
    /// Servers that it had: what is left of them are their backups.
    pub retained: Vec<Vps>,
    /// Its rates.
    pub pricing: Pricing,
    /// Ids of the regions it may deploy to.
    pub regions: Vec<String>,
    /// `defaults.regionId`
    pub default_region: String,
    /// `max` of payg/limits.
    pub limits_max: LimitSet,
    /// What `current` counts besides the pay-as-you-go VMs of this world.
    pub limits_base: LimitSet,
    /// `access`
    pub access: Access,
    /// Blockers of the account: they close canDeploy and canConvertToCloud and refuse the POST.
    pub blockers: Vec<String>,
    /// `actions.canDeploy`; a blocker closes it whatever stands here.
    pub can_deploy: ActionGate,
    /// A real rate limit.
    pub rate_limit: Option<RateLimit>,
    pub(crate) window: Option<(Instant, u32)>,
}

impl Account {
    /// Its handle.
    #[must_use]
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// `current` of payg/limits: the base and every pay-as-you-go VM, visible or not.
    #[must_use]
    pub fn limits_current(&self) -> LimitSet {
        self.vps
            .iter()
            .filter(|vps| vps.billing.is_payg)
            .fold(self.limits_base, |sum, vps| sum.add(vps.as_limits()))
    }

    /// `remaining` of payg/limits.
    #[must_use]
    pub fn limits_remaining(&self) -> LimitSet {
        self.limits_max.minus(self.limits_current())
    }

    /// canDeploy as it is shown: closed by a blocker, else as set.
    pub(crate) fn deploy_gate(&self) -> ActionGate {
        match self.blockers.first() {
            Some(blocker) => ActionGate::closed("Verify your account before using Cloud VMs.", Some(blocker)),
            None => self.can_deploy.clone(),
        }
    }

    /// Counts a request against the rate limit. `Err` is the time until the window ends.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(limit) = self.rate_limit else {
            return Ok(());
        };
        let (start, used) = match self.window {
            Some((start, used)) if now < start + limit.window => (start, used),
            _ => (now, 0),
        };
        if used >= limit.requests {
            return Err((start + limit.window).saturating_duration_since(now));
        }
        self.window = Some((start, used + 1));
        Ok(())
    }
}
