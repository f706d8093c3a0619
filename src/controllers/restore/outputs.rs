//! The ConfigMap of `spec.writeOutputsTo`: what others of the namespace need of the new VM.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Api, Resource, ResourceExt};

use crate::api::NAME;
use crate::api::conditions::{Holds, Statement};
use crate::api::restore::VpsBackupRestore;
use crate::cluster::api_call::{self, ApiError};
use crate::controllers::context::Context;
use crate::controllers::reporter::OUTPUTS_WRITTEN;
use crate::domain::ledger::record::{Bought, Record};
use crate::domain::values::text::Text;

/// Writes the ConfigMap that the object asks for, if it differs; `None` where the object asks for none. One that the
/// object does not own is left as it is.
///
/// # Errors
/// When the API server could not be read or written, for another cause than a refusal that lasts.
pub async fn write(
    ctx: &Context,
    object: &VpsBackupRestore,
    record: &Record,
    vm: &Bought,
) -> Result<Option<Statement>, ApiError> {
    let Some(outputs) = &object.spec.write_outputs_to else {
        return Ok(None);
    };
    let name = &outputs.config_map;
    let wanted = config_map(object, name, record, vm);
    let says = |holds, reason: &str, message: String| {
        Some(Statement {
            about: OUTPUTS_WRITTEN,
            holds,
            reason: reason.to_owned(),
            message,
        })
    };
    let written = || says(Holds::Yes, "Written", format!("ConfigMap {name}"));
    let maps: Api<ConfigMap> =
        Api::namespaced(ctx.books.client.clone(), &object.namespace().unwrap_or_default());
    let done = match api_call::found(maps.get(name)).await {
        Ok(Some(there)) if !is_owned(&there, object) => {
            let message = format!(
                "ConfigMap {name} exists and does not belong to this object: delete it, or set another name in \
                 spec.writeOutputsTo.configMap"
            );
            return Ok(says(Holds::No, "ConfigMapExists", message));
        }
        Ok(Some(there)) if there.data == wanted.data => return Ok(written()),
        Ok(Some(there)) => {
            let changed = ConfigMap {
                data: wanted.data,
                binary_data: None,
                ..there
            };
            api_call::within(maps.replace(name, &api_call::by_us(), &changed)).await
        }
        Ok(None) => api_call::within(maps.create(&api_call::by_us(), &wanted)).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(_) => Ok(written()),
        Err(error) => match error.refusal() {
            Some(words) => {
                let message = format!(
                    "the API server refuses to let the operator write ConfigMap {name}: {}. The operator needs the verbs get, \
                     create and update on configmaps (rbac.writeOutputs of the Helm chart)",
                    words.as_clause()
                );
                Ok(says(Holds::No, "ClusterRefuses", message))
            }
            None => Err(error),
        },
    }
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
