//! What a `VpsBackupRestore` asks for.

use std::time::Duration;

use super::{DIGEST_VERSION, InvalidSpec, amount, currency, invalid, subject_of, time_span};
use crate::api::restore::{
    BackupSelector, Latest, RestoreApproval, RestoreSource, RestoreTarget, VpsBackupRestore,
};
use crate::domain::consent::approval::{Approval, Ceiling};
use crate::domain::provider::backup::{BackupChoice, BackupFilter};
use crate::domain::provider::inventory::VpsChoice;
use crate::domain::provider::preflight::Target;
use crate::domain::restore::{Destination, Intent};
use crate::domain::values::ids::{BackupId, SubjectKind, VpsId};
use crate::domain::values::{digest, rfc3339};

/// The request of the object.
///
/// # Errors
/// [`InvalidSpec`] names the field.
pub fn restore_intent(object: &VpsBackupRestore) -> Result<Intent, InvalidSpec> {
    let spec = &object.spec;
    let source = source(&spec.source)?;
    let backup = choice(&spec.source)?;
    let max_age = max_age(spec.source.max_age.as_ref(), "source.maxAge")?;
    let target = target(&spec.target)?;
    let mut parts = vec![written(&source), chosen(&spec.source)];
    parts.extend(named(&target));
    if let Some(most) = &spec.source.max_age {
        parts.extend(["maxAge".to_owned(), most.clone()]);
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let digest = digest::base32("hostup-operator/restore-intent/v1", &parts, 26);
    Ok(Intent {
        subject: subject_of(SubjectKind::VpsBackupRestore, &object.metadata),
        source,
        digest: format!("{DIGEST_VERSION}-{digest}"),
        max_age: max_age.or(match &backup {
            BackupChoice::Newest(filter) => filter.max_age,
            BackupChoice::Id(_) => None,
        }),
        backup,
        target,
        backup_first: spec.backup_first,
        approval: spec.approval.as_ref().map(approval).transpose()?,
        suspended: spec.suspend,
        deleted: object.metadata.deletion_timestamp.is_some(),
    })
}

fn source(source: &RestoreSource) -> Result<VpsChoice, InvalidSpec> {
    one_of(source.vps_id.as_ref(), source.vps_name.as_ref(), "source")
}

fn one_of(id: Option<&String>, name: Option<&String>, field: &str) -> Result<VpsChoice, InvalidSpec> {
    match (id, name) {
        (Some(id), None) => Ok(VpsChoice::Id(VpsId::new(id))),
        (None, Some(name)) => Ok(VpsChoice::Named(name.clone())),
        _ => Err(invalid(field, "exactly one of vpsId and vpsName is needed")),
    }
}

fn target(target: &RestoreTarget) -> Result<Destination, InvalidSpec> {
    match (&target.cloud_vm, &target.existing_vps) {
        (Some(vm), None) => Ok(Destination::CloudVm(Target {
            name: vm.name.clone(),
            region: vm.region.clone(),
            cpu_cores: vm.cpu_cores,
            memory_gb: vm.memory_gb,
            storage_gb: vm.storage_gb,
        })),
        (None, Some(vps)) => {
            let vps = one_of(vps.vps_id.as_ref(), vps.vps_name.as_ref(), "target.existingVps")?;
            Ok(Destination::ExistingVps(vps))
        }
        _ => Err(invalid(
            "target",
            "exactly one of cloudVm and existingVps is needed",
        )),
    }
}

/// A VPS, as the digest of a request contains it.
fn written(vps: &VpsChoice) -> String {
    match vps {
        VpsChoice::Id(id) => id.to_string(),
        VpsChoice::Named(name) => format!("name:{name}"),
    }
}

/// The target, as the digest of a request contains it.
fn named(target: &Destination) -> Vec<String> {
    let number = |n: Option<u32>| n.map_or_else(String::new, |n| n.to_string());
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    match target {
        Destination::CloudVm(vm) => {
            let mut parts = vec!["cloudVm".to_owned(), given(&vm.name), given(&vm.region)];
            parts.extend([vm.cpu_cores, vm.memory_gb, vm.storage_gb].map(number));
            parts
        }
        Destination::ExistingVps(vps) => vec!["existingVps".to_owned(), written(vps)],
    }
}

fn choice(source: &RestoreSource) -> Result<BackupChoice, InvalidSpec> {
    match (&source.backup_id, source.backup, &source.backup_selector) {
        (Some(id), None, None) => Ok(BackupChoice::Id(BackupId::new(id))),
        (None, Some(Latest::Latest), None) => Ok(BackupChoice::Newest(BackupFilter::default())),
        (None, None, Some(selector)) => Ok(BackupChoice::Newest(filter(selector)?)),
        _ => Err(invalid(
            "source",
            "exactly one of backupId, backup and backupSelector is needed",
        )),
    }
}

fn filter(selector: &BackupSelector) -> Result<BackupFilter, InvalidSpec> {
    let time = |text: &String| {
        let wrong = || {
            invalid(
                "source.backupSelector.before",
                "is not a time, e.g. 2026-11-20T08:00:00Z",
            )
        };
        rfc3339::read(text).ok_or_else(wrong)
    };
    Ok(BackupFilter {
        before: selector.before.as_ref().map(time).transpose()?,
        max_age: max_age(selector.max_age.as_ref(), "source.backupSelector.maxAge")?,
        kind: selector.r#type.clone(),
        note: selector.note.clone(),
    })
}

fn max_age(text: Option<&String>, field: &'static str) -> Result<Option<Duration>, InvalidSpec> {
    let wrong = || invalid(field, "is not a time span, e.g. 36h or 7d");
    let Some(text) = text else { return Ok(None) };
    time_span(text).map(Some).ok_or_else(wrong)
}

/// The choice, as the digest of a request contains it.
fn chosen(source: &RestoreSource) -> String {
    match (&source.backup_id, &source.backup_selector) {
        (Some(id), _) => format!("id:{id}"),
        (None, Some(selector)) => {
            let members = [
                &selector.before,
                &selector.max_age,
                &selector.r#type,
                &selector.note,
            ];
            format!("selector:{}", serde_json::json!(members))
        }
        (None, None) => "latest".to_owned(),
    }
}

fn approval(given: &RestoreApproval) -> Result<Approval, InvalidSpec> {
    let ceiling = given.max_price.as_ref().map(|most| {
        Ok(Ceiling::Hourly {
            per_hour: amount(&most.per_hour, "approval.maxPrice.perHour")?,
            currency: currency(&most.currency_code)?,
        })
    });
    if ceiling.is_some() && given.valid_until.is_none() {
        return Err(invalid(
            "approval.validUntil",
            "is required with maxPrice, e.g. 2026-12-01T00:00:00Z",
        ));
    }
    super::approval(
        given.quote_id.as_ref(),
        ceiling.transpose()?,
        given.valid_until.as_ref(),
        given.approved_by.as_ref(),
    )
}
