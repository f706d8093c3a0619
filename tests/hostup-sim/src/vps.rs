//! VPSs and their backups.

use std::time::Instant;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::account::{ActionGate, LimitSet};
use crate::invoice::Invoice;
use crate::legacy::LegacyOption;
use crate::options::ConfigOption;
use crate::wire::Json;

/// `resources` of the VPS page: numbers, not always whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// `cpuCores`
    pub cpu_cores: Decimal,
    /// `memoryGb`
    pub memory_gb: Decimal,
    /// `storageGb`
    pub storage_gb: Decimal,
}

impl Resources {
    /// Whole sizes.
    #[must_use]
    pub fn new(cpu_cores: u32, memory_gb: u32, storage_gb: u32) -> Resources {
        Resources {
            cpu_cores: cpu_cores.into(),
            memory_gb: memory_gb.into(),
            storage_gb: storage_gb.into(),
        }
    }

    pub(crate) fn json(self) -> Json {
        Json::object([
            ("cpuCores", self.cpu_cores.into()),
            ("memoryGb", self.memory_gb.into()),
            ("storageGb", self.storage_gb.into()),
        ])
    }
}

/// The next whole number that is not smaller.
pub(crate) fn whole(size: Decimal) -> u32 {
    size.ceil().to_u32().unwrap_or(u32::MAX)
}

/// `billing` of the VPS page.
#[derive(Clone, Debug)]
pub struct Billing {
    /// `amount`; of a pay-as-you-go VM it is not its cost.
    pub amount: Decimal,
    /// `currencyCode`
    pub currency_code: String,
    /// `billingCycle`; pay-as-you-go VMs say `monthly` too.
    pub billing_cycle: Option<String>,
    /// `isPayg`, the only reliable test.
    pub is_payg: bool,
    /// `periodYears`
    pub period_years: Option<u32>,
}

impl Billing {
    pub(crate) fn json(&self, with_period: bool) -> Json {
        let mut billing = Json::object([
            ("amount", self.amount.into()),
            ("currencyCode", (&self.currency_code).into()),
            ("billingCycle", self.billing_cycle.clone().map(Json::Word).into()),
            ("isPayg", self.is_payg.into()),
        ]);
        if with_period {
            billing.push("periodYears", self.period_years.into());
        }
        billing
    }
}

/// `operatingSystem` of the VPS page.
#[derive(Clone, Debug)]
pub struct OperatingSystem {
    /// `displayName`
    pub display_name: String,
    /// `family`
    pub family: String,
    /// `version`
    pub version: String,
    /// `variant`
    pub variant: Option<String>,
}

/// A backup (backups page).
#[derive(Clone, Debug)]
pub struct Backup {
    /// `id`, `bkp_...`
    pub id: String,
    /// `displayId`
    pub display_id: String,
    /// `storageKey`
    pub storage_key: String,
    /// `createdAt`
    pub created_at: Option<String>,
    /// `sizeGb`
    pub size_gb: Decimal,
    /// `backupType`
    pub backup_type: String,
    /// `note`
    pub note: Option<String>,
}

impl Backup {
    /// A manual backup with the values of the backups page.
    ///
    /// # Panics
    /// If the size is no decimal number.
    #[must_use]
    pub fn new(id: &str, size_gb: &str) -> Backup {
        Backup {
            id: id.to_owned(),
            display_id: "2026-04-27T10:00:00.000Z (vzdump-qemu-101.vma.zst)".to_owned(),
            storage_key: "vzdump-qemu-101.vma.zst".to_owned(),
            created_at: Some("2026-04-27T10:00:00.000Z".to_owned()),
            size_gb: crate::dec(size_gb),
            backup_type: "manual".to_owned(),
            note: Some("Before upgrade".to_owned()),
        }
    }

    /// The same, made at another time (`None`: `createdAt` is null).
    #[must_use]
    pub fn created(mut self, at: Option<&str>) -> Backup {
        self.created_at = at.map(str::to_owned);
        if let Some(at) = at {
            self.display_id = format!("{at} ({})", self.storage_key);
        }
        self
    }
}

/// What `GET actions/convert-to-cloud` says for one VPS, instead of what follows from the account.
#[derive(Clone, Debug)]
pub struct Convert {
    /// `available`, and `actions.canConvertToCloud.allowed`
    pub available: bool,
    /// `reason`, both of them
    pub reason: Option<String>,
    /// `currentBillingModel`: `fixed` or `payg`
    pub billing_model: String,
    /// `requiresVerification`
    pub requires_verification: bool,
    /// `blockerReasons`
    pub blocker_reasons: Vec<String>,
    /// `prepaidWarning`: nextDueAt, billingCycle, daysRemaining
    pub prepaid_warning: Option<(String, String, u32)>,
}

impl Convert {
    /// The answer for a fixed VPS that may be converted.
    #[must_use]
    pub fn available() -> Convert {
        Convert {
            available: true,
            reason: None,
            billing_model: "fixed".to_owned(),
            requires_verification: false,
            blocker_reasons: Vec::new(),
            prepaid_warning: None,
        }
    }

    /// The answer for a fixed VPS with blockers.
    #[must_use]
    pub fn blocked(reason: &str, blockers: &[&str]) -> Convert {
        Convert {
            available: false,
            reason: Some(reason.to_owned()),
            requires_verification: blockers
                .iter()
                .any(|word| matches!(*word, "not_verified" | "no_cloud_access")),
            blocker_reasons: blockers.iter().map(|word| (*word).to_owned()).collect(),
            ..Convert::available()
        }
    }

    /// With the example warning of the convert page.
    #[must_use]
    pub fn with_prepaid_warning(mut self) -> Convert {
        self.prepaid_warning = Some(("2026-05-27".to_owned(), "monthly".to_owned(), 18));
        self
    }
}

/// How a VM that was bought here comes into being.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    pub(crate) visible_at: Instant,
    /// `None`: it never boots.
    pub(crate) running_at: Option<Instant>,
    pub(crate) ip: Option<String>,
    /// List reads that still will not show it.
    pub(crate) list_lag: u32,
    /// Whether reads by id also miss it while the list does.
    pub(crate) lag_by_id: bool,
}

/// What stands on the disk of a VPS. No read tells it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Content {
    /// What it always had.
    #[default]
    Own,
    /// The backup of this id, as the last restore wrote it.
    Backup(String),
    /// Half of something: a restore is at work, or it failed.
    Torn,
}

impl Content {
    /// `own`, `torn`, or the id of the backup.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Content::Own => "own",
            Content::Backup(id) => id,
            Content::Torn => "torn",
        }
    }
}

/// What a VPS shows while its disk is overwritten.
#[derive(Clone, Debug)]
pub(crate) struct Down {
    pub(crate) power_state: Option<String>,
    pub(crate) service_status: Option<String>,
    /// `None`: it stays down.
    pub(crate) up_at: Option<Instant>,
    pub(crate) comes_up: bool,
}

/// A VPS.
#[derive(Clone, Debug)]
pub struct Vps {
    /// `id`, `vps_...`
    pub id: String,
    /// `name`, the display name
    pub name: String,
    /// `hostname` of the details; the name if `None`
    pub hostname: Option<String>,
    /// `primaryIp`
    pub primary_ip: Option<String>,
    /// `serviceStatus`
    pub service_status: String,
    /// `powerState`
    pub power_state: Option<String>,
    /// `operatingSystem`
    pub operating_system: Option<OperatingSystem>,
    /// `billing`
    pub billing: Billing,
    /// `resources`
    pub resources: Resources,
    /// `createdAt` of the details
    pub created_at: Option<String>,
    /// `productName` of the details
    pub product_name: Option<String>,
    /// Region it stands in (on no page of the VPS; kept for the tests)
    pub region: String,
    /// Its backups.
    pub backups: Vec<Backup>,
    /// `quotaInfo.limit` of the backups page
    pub backup_quota: Option<u32>,
    /// `actions.canRestore` of the backups page
    pub can_restore: ActionGate,
    /// `actions.canCreateBackup` of the backups page
    pub can_create_backup: ActionGate,
    /// `actions.canResize`; `None`: open for a pay-as-you-go VM that has booted
    pub can_resize: Option<ActionGate>,
    /// `actions.canRestoreFromAnotherVps` of the backups page
    pub can_restore_from_another: ActionGate,
    /// What stands on its disk.
    pub content: Content,
    /// `autoDeleteOldest` of the schedules' settings: a new backup takes the place of the oldest
    pub auto_delete_oldest: bool,
    /// Answer of convert-to-cloud; `None`: from billing and the account's blockers and limits
    pub convert: Option<Convert>,
    /// After so many reads of its backup list all its backups are gone.
    pub backups_vanish_after_lists: Option<u32>,
    /// `configurableOptions` of the upgrade page; not shown for a pay-as-you-go VM
    pub options: Vec<ConfigOption>,
    /// `actions.canUpgrade` of the upgrade page (name assumed)
    pub can_upgrade: ActionGate,
    /// `actions.canCommit` of the config page
    pub can_commit: ActionGate,
    /// An open invoice that blocks commits of options
    pub blocking_invoice: Option<Invoice>,
    /// Its number on the legacy routes
    pub vmid: Option<u64>,
    /// Its options on the legacy upgrade route
    pub legacy_options: Vec<LegacyOption>,
    pub(crate) birth: Option<Birth>,
    /// Cores and memory of a resize that does not show yet.
    pub(crate) ordered: Option<(u32, u32)>,
    pub(crate) down: Option<Down>,
    /// New backups, and how many reads of the list still miss each.
    pub(crate) unlisted: Vec<(String, u32)>,
}

impl Vps {
    /// A running VPS on a fixed plan, without backups.
    #[must_use]
    pub fn fixed(id: &str, name: &str, cpu_cores: u32, memory_gb: u32, storage_gb: u32) -> Vps {
        Vps {
            id: id.to_owned(),
            name: name.to_owned(),
            hostname: None,
            primary_ip: Some("192.0.2.10".to_owned()),
            service_status: "active".to_owned(),
            power_state: Some("running".to_owned()),
            operating_system: Some(OperatingSystem {
                display_name: "Debian 12".to_owned(),
                family: "linux".to_owned(),
                version: "12".to_owned(),
                variant: None,
            }),
            billing: Billing {
                amount: 199.into(),
                currency_code: "SEK".to_owned(),
                billing_cycle: Some("monthly".to_owned()),
                is_payg: false,
                period_years: None,
            },
            resources: Resources::new(cpu_cores, memory_gb, storage_gb),
            created_at: Some("2026-01-15T08:00:00.000Z".to_owned()),
            product_name: Some("VPS XS".to_owned()),
            region: "stockholm".to_owned(),
            backups: Vec::new(),
            backup_quota: Some(3),
            can_restore: ActionGate::open_with_code("pending_order"),
            can_create_backup: ActionGate::open_with_code("pending_order"),
            can_resize: None,
            can_restore_from_another: ActionGate::open(),
            content: Content::default(),
            auto_delete_oldest: false,
            convert: None,
            backups_vanish_after_lists: None,
            options: Vec::new(),
            can_upgrade: ActionGate::open_with_code("pending_order"),
            can_commit: ActionGate::open_with_code("pending_order"),
            blocking_invoice: None,
            vmid: None,
            legacy_options: Vec::new(),
            birth: None,
            ordered: None,
            down: None,
            unlisted: Vec::new(),
        }
    }

    /// A running pay-as-you-go VM, without backups.
    #[must_use]
    pub fn payg(id: &str, name: &str, cpu_cores: u32, memory_gb: u32, storage_gb: u32) -> Vps {
        let mut vps = Vps::fixed(id, name, cpu_cores, memory_gb, storage_gb);
        vps.billing.amount = Decimal::ZERO;
        vps.billing.is_payg = true;
        vps.product_name = Some("Cloud VM".to_owned());
        vps
    }

    /// With a backup.
    #[must_use]
    pub fn with_backup(mut self, backup: Backup) -> Vps {
        self.backups.push(backup);
        self
    }

    /// With configurable options.
    #[must_use]
    pub fn with_options(mut self, options: Vec<ConfigOption>) -> Vps {
        self.options = options;
        self
    }

    /// With a legacy number and legacy options.
    #[must_use]
    pub fn with_legacy(mut self, vmid: u64, options: Vec<LegacyOption>) -> Vps {
        self.vmid = Some(vmid);
        self.legacy_options = options;
        self
    }

    /// An option, by its key.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&ConfigOption> {
        self.options.iter().find(|option| option.key == key)
    }

    /// An option, to change.
    pub fn option_mut(&mut self, key: &str) -> Option<&mut ConfigOption> {
        self.options.iter_mut().find(|option| option.key == key)
    }

    /// What it takes from the limits: what was ordered counts before it shows (assumed).
    pub(crate) fn as_limits(&self) -> LimitSet {
        let (cpu_cores, memory_gb) = self.ordered.unwrap_or_default();
        LimitSet::new(
            whole(self.resources.cpu_cores).max(cpu_cores),
            whole(self.resources.memory_gb).max(memory_gb),
            whole(self.resources.storage_gb),
            1,
        )
    }

    /// Whether the provider shows it at all yet.
    pub(crate) fn visible(&self, now: Instant) -> bool {
        self.birth.as_ref().is_none_or(|birth| birth.visible_at <= now)
    }

    pub(crate) fn booted(&self, now: Instant) -> bool {
        self.birth
            .as_ref()
            .is_none_or(|birth| birth.running_at.is_some_and(|at| at <= now))
    }

    fn down_at(&self, now: Instant) -> Option<&Down> {
        let down = self.down.as_ref();
        down.filter(|down| down.up_at.is_none_or(|at| at > now))
    }

    /// `powerState` at a moment: `provisioning` until a new VM runs; while its disk is overwritten, what
    /// [`OverwriteBehaviour`](crate::OverwriteBehaviour) says.
    #[must_use]
    pub fn power_state_at(&self, now: Instant) -> Option<&str> {
        match self.down_at(now) {
            _ if !self.booted(now) => Some("provisioning"),
            Some(Down {
                power_state: Some(word),
                ..
            }) => Some(word),
            _ => self.power_state.as_deref(),
        }
    }

    /// `primaryIp` at a moment: null until a new VM runs.
    #[must_use]
    pub fn primary_ip_at(&self, now: Instant) -> Option<&str> {
        match &self.birth {
            Some(_) if !self.booted(now) => None,
            Some(birth) => birth.ip.as_deref(),
            None => self.primary_ip.as_deref(),
        }
    }

    /// `serviceStatus` at a moment: `pending` until a new VM runs (assumed); while its disk is
    /// overwritten, what [`OverwriteBehaviour`](crate::OverwriteBehaviour) says.
    #[must_use]
    pub fn service_status_at(&self, now: Instant) -> &str {
        match self.down_at(now) {
            _ if !self.booted(now) => "pending",
            Some(Down {
                service_status: Some(word),
                ..
            }) => word,
            _ => &self.service_status,
        }
    }
}
