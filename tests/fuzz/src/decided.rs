//! A HostUp where everything is open and costs something, for decisions.

use std::time::Duration;

use hostup_operator::domain::action::ordered::Backup;
use hostup_operator::domain::consent::price::{ChangePrice, Rates, Recurring, Size};
use hostup_operator::domain::ledger::chain::{Brakes, LedgerView};
use hostup_operator::domain::ledger::record::{KeyInUse, Times};
use hostup_operator::domain::provider::backup::ListedBackup;
use hostup_operator::domain::provider::gate::ProviderGate;
use hostup_operator::domain::provider::options::{Offer, OptionKind, OptionValue, Values};
use hostup_operator::domain::provider::preflight::{Deployments, Eligibility, Preflight, Remaining};
use hostup_operator::domain::values::ids::{BackupId, InstanceId, KeyMark, VpsId};
use hostup_operator::domain::values::money::{Amount, Currency};
use hostup_operator::domain::values::text::Text;

use crate::account::now;

/// Those of the flags' defaults, about.
pub const TIMES: Times = Times {
    settle_time: Duration::from_secs(900),
    poll_interval: Duration::from_secs(10),
    request_timeout: Duration::from_secs(30),
    paid_timeout: Duration::from_secs(60),
    job_deadline: Duration::from_secs(7200),
    resync_interval: Duration::from_secs(600),
    gate_interval: Duration::from_secs(300),
};

/// A chain without a record.
pub fn chain() -> LedgerView {
    LedgerView {
        instance: InstanceId::new("it"),
        tail: None,
        unreadable: None,
        missing: None,
        gap: None,
        came_to_nothing: Vec::new(),
        closed_after: None,
        following: None,
        shown_record: None,
        shown_quote: None,
        stalled_since: None,
        brakes: Brakes::default(),
    }
}

pub fn amount(text: &str) -> Amount {
    Amount::parse(text).expect("an amount")
}

pub fn sek() -> Currency {
    Currency::parse("SEK").expect("a currency")
}

pub fn key() -> KeyInUse {
    KeyInUse {
        secret_version: "7".to_owned(),
        mark: KeyMark::new("mark"),
    }
}

fn open() -> ProviderGate {
    ProviderGate {
        allowed: true,
        ..ProviderGate::default()
    }
}

/// The backup of [`preflight`].
pub fn backup() -> Backup {
    Backup {
        id: BackupId::new("bkp_a"),
        created_at: now(),
        size_gb: amount("3.5"),
        kind: None,
        note: None,
    }
}

/// All that a restore asks of HostUp.
pub fn preflight() -> Preflight {
    let Backup {
        id,
        created_at,
        size_gb,
        kind,
        note,
    } = backup();
    Preflight {
        read_at: now(),
        key: key(),
        source: VpsId::new("vps_a"),
        source_size: Some(Size {
            cpu_cores: 2,
            memory_gb: 4,
            storage_gb: 80,
        }),
        backups: vec![ListedBackup {
            id,
            created_at: Some(created_at),
            size_gb: Some(size_gb),
            kind,
            note,
        }],
        can_restore: open(),
        eligibility: Eligibility {
            is_payg: false,
            available: true,
            gate: open(),
            blockers: Vec::new(),
            requires_verification: false,
            prepaid_warning: None,
        },
        deployments: Deployments {
            can_deploy: open(),
            rates: Some(Rates {
                currency: sek(),
                cpu_core: amount("0.12"),
                memory_gb: amount("0.04"),
                storage_gb: amount("0.003"),
                ipv4: amount("0.02"),
                traffic_gb: None,
            }),
            default_region: Some("stockholm".to_owned()),
            regions: None,
        },
        remaining: Remaining {
            cpu_cores: 100,
            memory_gb: 1000,
            storage_gb: 10_000,
            instances: 10,
        },
        vms: Vec::new(),
    }
}

/// An offer of each wanted option, with another value now.
pub fn offers(wanted: &Values) -> Vec<Offer> {
    let offer = |(key, value): (&String, &OptionValue)| {
        let (kind, current) = match value {
            OptionValue::Number(_) => (OptionKind::Quantity, OptionValue::Number(amount("1"))),
            OptionValue::Flag(flag) => (OptionKind::Toggle, OptionValue::Flag(!flag)),
            OptionValue::Word(_) => (OptionKind::Input, OptionValue::word("before")),
        };
        Offer {
            key: key.clone(),
            label: Text::new("An option"),
            kind,
            current: Some(current),
            min: None,
            max: None,
            step: None,
            values: Vec::new(),
            gate: None,
        }
    };
    wanted.iter().map(offer).collect()
}

/// What every change costs.
pub fn change_price() -> ChangePrice {
    ChangePrice {
        currency: Some(sek()),
        due_now: amount("40"),
        recurring: Recurring::PerCycle(amount("40")),
    }
}

/// A dry run that went well.
pub fn preview(body: String) -> hostup_operator::domain::options::Preview {
    hostup_operator::domain::options::Preview {
        body,
        price: Some(change_price()),
        invoice: None,
        can_commit: open(),
        committed: false,
    }
}
