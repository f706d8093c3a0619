//! The ConfigMap of `spec.writeOutputsTo`: what others of the namespace need of the new VM.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Api, Resource, ResourceExt};

use crate::api::NAME;
use crate::api::conditions::{ConditionStatus, NewCondition};
use crate::api::restore::VpsBackupRestore;
use crate::cluster::api_call::{self, ApiError};
use crate::controllers::context::Context;
use crate::controllers::reporter::OUTPUTS_WRITTEN;
use crate::domain::ledger::record::{Bought, Record};
use crate::domain::values::text::Text;

/// The reason while a write is tried again soon.
pub const NOT_WRITTEN: &str = "NotWritten";

/// Writes the ConfigMap that the object asks for, if it differs; `None` where the object asks for none. One that the
/// object does not own is left as it is. Nothing that goes wrong keeps the outcome of the restore from being shown.
pub async fn write(
    ctx: &Context,
    object: &VpsBackupRestore,
    record: &Record,
    vm: &Bought,
) -> Option<NewCondition> {
    let name = &object.spec.write_outputs_to.as_ref()?.config_map;
    let condition = |status, reason: &str, message: String| NewCondition {
        about: OUTPUTS_WRITTEN,
        status,
        reason: reason.to_owned(),
        message,
    };
    Some(
        match put(ctx, object, config_map(object, name, record, vm)).await {
            Ok(true) => condition(ConditionStatus::Yes, "Written", format!("ConfigMap {name}")),
            Ok(false) => {
                let message = format!(
                    "ConfigMap {name} exists and does not belong to this object: delete it, or set another name in \
                 spec.writeOutputsTo.configMap"
                );
                condition(ConditionStatus::No, "ConfigMapExists", message)
            }
            Err(error) => {
                if let Some(words) = error.refusal() {
                    let message = format!(
                        "the API server refused to write ConfigMap {name}: {}. If a right is missing, set \
                         rbac.writeOutputs: true in the Helm chart",
                        words.as_clause()
                    );
                    return Some(condition(ConditionStatus::No, "ClusterRefuses", message));
                }
                let why = Text::bounded(&error.to_string(), 600);
                let message = format!("ConfigMap {name} is not written yet: {why}. The operator tries again");
                condition(ConditionStatus::No, NOT_WRITTEN, message)
            }
        },
    )
}

/// Whether the ConfigMap stands as wanted; `false` where it belongs to somebody else.
async fn put(ctx: &Context, object: &VpsBackupRestore, wanted: ConfigMap) -> Result<bool, ApiError> {
    let namespace = object.namespace().unwrap_or_default();
    let maps: Api<ConfigMap> = Api::namespaced(ctx.books.client.clone(), &namespace);
    let name = wanted.name_any();
    let by = api_call::by_us();
    match api_call::found(maps.get(&name)).await? {
        Some(there) if !is_owned(&there, object) => return Ok(false),
        Some(there) if there.data == wanted.data => {}
        Some(there) => {
            let changed = ConfigMap {
                data: wanted.data,
                binary_data: None,
                ..there
            };
            api_call::within(maps.replace(&name, &by, &changed)).await?;
        }
        None => {
            api_call::within(maps.create(&by, &wanted)).await?;
        }
    }
    Ok(true)
}

fn config_map(object: &VpsBackupRestore, name: &str, record: &Record, vm: &Bought) -> ConfigMap {
    let mut data = BTreeMap::from([
        ("vpsId".to_owned(), vm.vps.to_string()),
        ("name".to_owned(), vm.name.to_string()),
        ("operation".to_owned(), record.name.to_string()),
    ]);
    data.extend(
        vm.primary_ip
            .as_ref()
            .map(|ip| ("primaryIp".to_owned(), Text::to_string(ip))),
    );
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: object.namespace(),
            labels: Some(BTreeMap::from([(
                "app.kubernetes.io/managed-by".to_owned(),
                NAME.to_owned(),
            )])),
            owner_references: Some(vec![owner(object)]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// Without `blockOwnerDeletion`, which needs a right to the finalizers of the object.
fn owner(object: &VpsBackupRestore) -> OwnerReference {
    OwnerReference {
        api_version: VpsBackupRestore::api_version(&()).into_owned(),
        kind: VpsBackupRestore::kind(&()).into_owned(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

fn is_owned(map: &ConfigMap, object: &VpsBackupRestore) -> bool {
    let uid = object.uid();
    let owners = map.owner_references();
    owners
        .iter()
        .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid.as_ref())
}
