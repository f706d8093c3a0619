//! A person's object: the first line says of which kind, the rest is JSON. It is understood or an error, and what is
//! ordered for it is what it says, within what was approved, and reads the same from its record.

use std::time::Duration;

use hostup_operator::api::config::VpsResourceConfig;
use hostup_operator::api::operation::VpsOperation;
use hostup_operator::api::restore::VpsBackupRestore;
use hostup_operator::api::shared::CredentialsSecretRef;
use hostup_operator::api::stored::Stored;
use hostup_operator::api::{self, RecordDraft};
use hostup_operator::domain::action::ordered::Action;
use hostup_operator::domain::consent::approval::{Approval, Ceiling, CeilingUntil, Ground};
use hostup_operator::domain::consent::price::{BillingCycle, Price};
use hostup_operator::domain::ledger::order::Order;
use hostup_operator::domain::ledger::record::{Claim, Outcome};
use hostup_operator::domain::options::{self, DesiredOptions, Reading, Rival, Seen, StatusFacts};
use hostup_operator::domain::provider::backup::BackupChoice;
use hostup_operator::domain::provider::options as values;
use hostup_operator::domain::restore;
use hostup_operator::domain::values::ids::{Holder, InstanceId};
use hostup_operator::domain::values::moment::Moment;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::account::now;
use crate::decided::{self, TIMES, amount, chain, preflight, sek};
use crate::promise;
use crate::repeat::split;

/// One object of one of the two kinds.
pub fn run(input: &[u8]) {
    let (kind, object) = split(input, b"\n").unwrap_or((b"", input));
    if kind == b"restore" {
        if let Some(object) = stored::<VpsBackupRestore>(object)
            && let Ok(intent) = api::restore_intent(&object)
        {
            restored(intent);
        }
    } else if let Some(object) = stored::<VpsResourceConfig>(object)
        && let Ok(intent) = api::config_intent(&object)
    {
        configured(intent);
    }
}

/// The object, if it can be read; why it cannot is told to people.
fn stored<K: DeserializeOwned>(object: &[u8]) -> Option<K> {
    let stored: Stored<K> = serde_json::from_slice(object).ok()?;
    stored
        .0
        .inspect_err(|unreadable| promise::shown(&unreadable.why, 301))
        .ok()
}

fn restored(mut intent: restore::Intent) {
    let mut read = preflight();
    if let (BackupChoice::Id(id), [listed]) = (&intent.backup, read.backups.as_mut_slice()) {
        listed.id = id.clone();
    }
    let mut view = restore::View {
        history: Vec::new(),
        resolved_target: None,
        in_place_enabled: true,
        chain: chain(),
        reading: restore::ProviderReading::Unread,
        resolved_source: None,
        resolved_backup: None,
        latched: None,
    };
    let unread = restore::decide(&intent, &view, &TIMES, now());
    assert!(!matches!(unread, restore::Decision::Buy(_)), "bought unseen");
    view.reading = restore::ProviderReading::Preflight(Box::new(read));
    if let restore::Decision::Buy(order) = restore::decide(&intent, &view, &TIMES, now()) {
        is_allowed(intent.approval.as_ref(), &order);
    }
    intent.approval = Some(Approval::from(CeilingUntil {
        most: Ceiling::Hourly {
            per_hour: amount("1000000"),
            currency: sek(),
        },
        valid_until: None,
    }));
    let restore::Decision::Buy(order) = restore::decide(&intent, &view, &TIMES, now()) else {
        return;
    };
    assert!(!intent.suspended && !intent.deleted);
    let body = body_of(&order);
    let restore::Destination::CloudVm(target) = &intent.target else {
        panic!("another order");
    };
    for (member, wanted) in [
        ("cpuCores", target.cpu_cores),
        ("memoryGb", target.memory_gb),
        ("storageGb", target.storage_gb),
    ] {
        assert!(body[member].is_u64(), "{body}");
        assert!(wanted.is_none_or(|wanted| body[member] == wanted), "{body}");
    }
    let region = target.region.as_deref().unwrap_or("stockholm");
    assert_eq!(body["region"], region);
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(5), "{body}");
    recorded(&order);
}

fn configured(mut intent: options::Intent) {
    let mut view = options::View {
        chain: chain(),
        history: Vec::new(),
        busy: None,
        changed: None,
        rival: Rival::None,
        seen: Seen::Never,
        committed_dry_run: false,
        legacy_enabled: true,
        reading: options::ProviderReading::Unread,
    };
    let unread = options::decide(&intent, &view, &TIMES, now());
    assert!(!matches!(unread, options::Decision::Buy(_)), "bought unseen");
    if let DesiredOptions::Options(wish) = &mut intent.wish {
        // Else a backup is ordered before.
        wish.backup_first = false;
    }
    let DesiredOptions::Options(wish) = intent.wish.clone() else {
        view.reading = options::ProviderReading::Key {
            read_at: now(),
            key: decided::key(),
        };
        if let options::Decision::Buy(order) = options::decide(&intent, &view, &TIMES, now()) {
            assert_eq!(body_of(&order)["send"], false, "no more than an estimate");
            assert!(order.quote.is_none());
            recorded(&order);
        }
        return;
    };
    // The CRD admits no more.
    if wish.wanted.len() > 38 {
        return;
    }
    let mut reading = Reading {
        read_at: now(),
        key: decided::key(),
        is_payg: false,
        cycle: BillingCycle::Months(1),
        offers_read: Moment {
            wall: now(),
            monotonic: Duration::ZERO,
            with_sleep: Duration::ZERO,
        },
        offers: decided::offers(&wish.wanted),
        resize: None,
        own_backups: None,
        invoices: None,
        preview: None,
    };
    view.reading = options::ProviderReading::Read(Box::new(reading.clone()));
    let options::Decision::Preview(dry_run) = options::decide(&intent, &view, &TIMES, now()) else {
        return;
    };
    let mut asked: Value = serde_json::from_str(&dry_run).expect("a dry run is JSON");
    assert_eq!(asked["dryRun"], true, "{asked}");
    reading.preview = Some(decided::preview(dry_run));
    view.reading = options::ProviderReading::Read(Box::new(reading));
    let quote = match options::decide(&intent, &view, &TIMES, now()) {
        options::Decision::Buy(order) => {
            is_allowed(intent.approval.as_ref(), &order);
            order.quote.clone()
        }
        options::Decision::Report(report) => match report.facts {
            StatusFacts::Shown(shown) => shown.quote,
            StatusFacts::Kept | StatusFacts::Attempted(_) | StatusFacts::Nothing => None,
        },
        decision => panic!("after a dry run: {decision:?}"),
    };
    let quote = quote.expect("a dry run with a price has a quote");
    intent.approval = Some(Approval::from(quote.id));
    let options::Decision::Buy(order) = options::decide(&intent, &view, &TIMES, now()) else {
        panic!("an approved quote is not ordered");
    };
    asked["dryRun"] = json!(false);
    assert_eq!(body_of(&order), asked, "a commit is its dry run but for that");
    recorded(&order);
}

/// What approves the order is in the object, and covers the price.
fn is_allowed(approval: Option<&Approval>, order: &Order) {
    let quote = order.quote.as_ref().expect("what is approved has a quote");
    let approval = approval.expect("nobody approved it");
    let grant = order.grant.as_ref().expect("an order has its grant");
    assert_eq!(grant.approved_by, approval.approved_by);
    match &grant.ground {
        Ground::Quote(id) => {
            assert_eq!(approval.quote.as_ref(), Some(id));
            assert_eq!(*id, quote.id);
        }
        Ground::Ceiling(ceiling) => {
            assert_eq!(approval.ceiling.as_ref(), Some(ceiling));
            let CeilingUntil { most, valid_until } = ceiling;
            assert!(valid_until.is_none_or(|until| now() < until), "it has ended");
            match (most, &quote.price) {
                (Ceiling::Hourly { per_hour, currency }, Price::Hourly(price)) => {
                    assert!(
                        price.currency == *currency && price.per_hour <= *per_hour,
                        "{price}, {most}"
                    );
                }
                (
                    Ceiling::Change {
                        due_now, per_month, ..
                    },
                    Price::Change(price),
                ) => {
                    let month = price.per_month().expect("a month");
                    assert!(
                        price.due_now <= *due_now && month <= *per_month,
                        "{price}, {most}"
                    );
                }
                (Ceiling::Hourly { .. } | Ceiling::Change { .. }, _) => {
                    panic!("{most} for {}", quote.price)
                }
            }
        }
    }
}

/// The body, which any reader of JSON writes the same.
fn body_of(order: &Order) -> Value {
    let body: Value = serde_json::from_str(&order.body).expect("a body is JSON");
    assert!(body.is_object(), "{body}");
    assert_eq!(body.to_string(), order.body);
    body
}

/// What the record tells is what is ordered.
fn recorded(order: &Order) {
    let claim = Claim {
        holder: Holder::new("holder"),
        instance: InstanceId::new("it"),
        made_at: now(),
        send_before: now() + TIMES.request_timeout,
    };
    let draft = RecordDraft {
        order,
        credentials: &CredentialsSecretRef::default(),
        claim: &claim,
    };
    let text = serde_json::to_string(&draft.object()).expect("a record can be written");
    let object: Stored<VpsOperation> = serde_json::from_str(&text).expect("a record is an object");
    let object = object.0.expect("a record that was just made can be read");
    assert_eq!(
        (&object.spec.request.path, &object.spec.request.body),
        (&order.path, &order.body)
    );
    let record = api::record(&object).expect("a record that was just made is understood");
    assert_eq!(record.name, draft.name());
    assert_eq!(
        (&record.subject, &record.intent, &record.vps),
        (&order.subject, &order.intent, &order.vps)
    );
    assert_eq!((&record.quote, &record.gates), (&order.quote, &order.gates));
    assert_eq!((&record.claim, &record.cause), (&claim, &order.cause));
    assert_eq!(record.known, Outcome::sending());
    let same = match (&record.action, &order.action) {
        (Action::Options(this), Action::Options(that)) => {
            values::same(&this.difference.from, &that.difference.from)
                && values::same(&this.difference.to, &that.difference.to)
        }
        (Action::LegacyEstimate(this), Action::LegacyEstimate(that)) => values::same(this, that),
        (this, that) => this == that,
    };
    assert!(same, "{:?} is not {:?}", record.action, order.action);
}
