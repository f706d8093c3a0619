//! What a `VpsBackupRestore` asks for.

use super::{DIGEST_VERSION, InvalidSpec, amount, currency, invalid, subject_of};
use crate::api::restore::{BackupSelector, RestoreApproval, VpsBackupRestore};
use crate::domain::consent::approval::{Approval, Ceiling};
use crate::domain::provider::preflight::{BackupChoice, Target};
use crate::domain::restore::Intent;
use crate::domain::values::digest;
use crate::domain::values::ids::{BackupId, SubjectKind, VpsId};

/// The request of the object.
///
/// # Errors
/// [`InvalidSpec`] names the field.
pub fn restore_intent(object: &VpsBackupRestore) -> Result<Intent, InvalidSpec> {
    let spec = &object.spec;
    let vm = &spec.target.cloud_vm;
    let backup = match (&spec.source.backup_id, spec.source.backup) {
        (Some(id), None) => BackupChoice::Id(BackupId::new(id)),
        (None, Some(BackupSelector::Latest)) => BackupChoice::Latest,
        (Some(_), Some(_)) | (None, None) => {
            return Err(invalid("source", "exactly one of backupId and backup is needed"));
        }
    };
    let number = |n: Option<u32>| n.map_or_else(String::new, |n| n.to_string());
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let chosen = match &backup {
        BackupChoice::Id(id) => format!("id:{id}"),
        BackupChoice::Latest => "latest".to_owned(),
    };
    let digest = digest::base32(
        "hostup-operator/restore-intent/v1",
        &[
            &spec.source.vps_id,
            &chosen,
            "cloudVm",
            &given(&vm.name),
            &given(&vm.region),
            &number(vm.cpu_cores),
            &number(vm.memory_gb),
            &number(vm.storage_gb),
        ],
        26,
    );
    Ok(Intent {
        subject: subject_of(SubjectKind::VpsBackupRestore, &object.metadata),
        source: VpsId::new(&spec.source.vps_id),
        digest: format!("{DIGEST_VERSION}-{digest}"),
        backup,
        target: Target {
            name: vm.name.clone(),
            region: vm.region.clone(),
            cpu_cores: vm.cpu_cores,
            memory_gb: vm.memory_gb,
            storage_gb: vm.storage_gb,
        },
        approval: spec.approval.as_ref().map(approval).transpose()?,
        suspended: spec.suspend,
        deleted: object.metadata.deletion_timestamp.is_some(),
    })
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
