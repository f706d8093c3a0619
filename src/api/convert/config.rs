//! What a `VpsResourceConfig` asks for.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{DIGEST_VERSION, InvalidSpec, amount, currency, invalid, subject_of};
use crate::api::config::{
    ChangeCeiling, CloudVmSize, ConfigApproval, DriftPolicy, LegacyOrder, Resources, VpsResourceConfig,
};
use crate::domain::consent::approval::{Approval, Ceiling};
use crate::domain::options::{DesiredOptions, Goods, Intent, LegacyWish, OptionsWish};
use crate::domain::provider::options::{self, OptionValue, Values};
use crate::domain::values::digest;
use crate::domain::values::ids::{SubjectKind, VpsId};
use crate::domain::values::money::Amount;

/// The request of the object.
///
/// # Errors
/// [`InvalidSpec`] names the field.
pub fn config_intent(object: &VpsResourceConfig) -> Result<Intent, InvalidSpec> {
    let spec = &object.spec;
    let goods = match (&spec.resources, &spec.cloud_vm) {
        (Some(resources), None) => Some((Goods::Options, wanted(resources)?)),
        (None, Some(size)) => Some((Goods::Size, size_wanted(size))),
        (_, _) => None,
    };
    let wish = match (object.vps(), goods, &spec.legacy) {
        (Some(vps), Some((goods, wanted)), None) => DesiredOptions::Options(OptionsWish {
            vps: VpsId::new(vps),
            goods,
            wanted,
            cancels_invoice: spec.cancel_existing_invoice,
            corrects_drift: spec.drift_policy == DriftPolicy::Correct,
            backup_first: spec.backup_first,
        }),
        (None, None, Some(legacy)) => DesiredOptions::Legacy(legacy_wish(legacy)),
        (_, _, _) => {
            return Err(invalid(
                "vpsId",
                "either vpsId (or vpsName) with resources or cloudVm, or legacy is needed",
            ));
        }
    };
    let ends = |approval: &ConfigApproval| approval.max_price.is_none() || approval.valid_until.is_some();
    if spec.vps_name.is_some() && !spec.approval.as_ref().is_none_or(ends) {
        return Err(invalid(
            "approval.validUntil",
            "is required with maxPrice and vpsName, e.g. 2026-12-01T00:00:00Z",
        ));
    }
    Ok(Intent {
        subject: subject_of(SubjectKind::VpsResourceConfig, &object.metadata),
        digest: digest_of(&wish),
        wish,
        approval: spec.approval.as_ref().map(approval).transpose()?,
        suspended: spec.suspend,
        deleted: object.metadata.deletion_timestamp.is_some(),
    })
}

fn number(n: i64) -> Option<OptionValue> {
    Amount::parse(&n.to_string()).map(OptionValue::Number)
}

fn wanted(resources: &Resources) -> Result<Values, InvalidSpec> {
    let Resources {
        bandwidth_gb,
        backup_slots,
        snapshot_slots,
        ipv4_count,
        additional_storage_gb,
        storage_gb,
        ipv6,
        extra,
    } = resources;
    let counted = [
        ("bandwidthGb", bandwidth_gb),
        ("backupSlots", backup_slots),
        ("snapshotSlots", snapshot_slots),
        ("ipv4Count", ipv4_count),
        ("additionalStorageGb", additional_storage_gb),
        ("storageGb", storage_gb),
    ];
    let mut values: Values = counted
        .into_iter()
        .filter_map(|(key, n)| Some((key.to_owned(), number(i64::from((*n)?))?)))
        .collect();
    values.extend(ipv6.map(|flag| ("ipv6".to_owned(), OptionValue::Flag(flag))));
    for (key, value) in extra {
        let value = match value {
            IntOrString::Int(n) => number(i64::from(*n)),
            IntOrString::String(word) => {
                Some(OptionValue::word(word)).filter(|read| read.to_string() == *word)
            }
        };
        let value = value.ok_or_else(|| {
            invalid(
                format!("resources.extra.{key}"),
                format!(
                    "is neither a whole number nor a text of at most {} printable characters",
                    OptionValue::LONGEST_WORD
                ),
            )
        })?;
        values.insert(key.clone(), value);
    }
    Ok(values)
}

fn size_wanted(size: &CloudVmSize) -> Values {
    let parts = [
        (options::CPU_CORES, size.cpu_cores),
        (options::MEMORY_GB, size.memory_gb),
    ];
    let parts = parts.into_iter();
    parts
        .filter_map(|(key, n)| Some((key.to_owned(), number(i64::from(n))?)))
        .collect()
}

fn legacy_wish(order: &LegacyOrder) -> LegacyWish {
    let wanted = order.resources.iter();
    LegacyWish {
        vmid: VpsId::new(order.vmid.to_string()),
        wanted: wanted
            .filter_map(|(key, n)| Some((key.clone(), number(i64::from(*n))?)))
            .collect(),
        cycle: order.cycle.clone(),
        package: order.package.clone(),
    }
}

fn digest_of(wish: &DesiredOptions) -> String {
    let (route, vps, values, cycle, package) = match wish {
        DesiredOptions::Options(wish) => {
            let route = match wish.goods {
                Goods::Options => "options",
                Goods::Size => "size",
            };
            (route, &wish.vps, &wish.wanted, None, None)
        }
        DesiredOptions::Legacy(wish) => (
            "legacy",
            &wish.vmid,
            &wish.wanted,
            wish.cycle.as_ref(),
            wish.package.as_ref(),
        ),
    };
    let given = |text: Option<&String>| text.cloned().unwrap_or_default();
    let mut parts = vec![route.to_owned(), vps.to_string(), given(cycle), given(package)];
    parts.extend(
        values
            .iter()
            .flat_map(|(key, value)| [key.clone(), value.to_string()]),
    );
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let digest = digest::base32("hostup-operator/config-intent/v1", &parts, 26);
    format!("{DIGEST_VERSION}-{digest}")
}

fn approval(given: &ConfigApproval) -> Result<Approval, InvalidSpec> {
    let most = given.max_price.as_ref().map(ceiling).transpose()?;
    super::approval(
        given.quote_id.as_ref(),
        most,
        given.valid_until.as_ref(),
        given.approved_by.as_ref(),
    )
}

fn ceiling(most: &ChangeCeiling) -> Result<Ceiling, InvalidSpec> {
    let or_nothing = |text: &Option<String>, field| {
        text.as_deref()
            .map_or(Ok(Amount::ZERO), |text| amount(text, field))
    };
    if let Some(per_hour) = &most.per_hour {
        return Ok(Ceiling::Hourly {
            per_hour: amount(per_hour, "approval.maxPrice.perHour")?,
            currency: currency(&most.currency_code)?,
        });
    }
    Ok(Ceiling::Change {
        due_now: or_nothing(&most.due_now, "approval.maxPrice.dueNow")?,
        per_month: or_nothing(&most.per_month, "approval.maxPrice.perMonth")?,
        currency: currency(&most.currency_code)?,
    })
}
