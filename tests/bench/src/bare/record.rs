//! An object like the operator's record, of about the same size.

use jiff::{Timestamp, ToSpan};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::provider::{Job, Order};
use crate::cluster::API_VERSION;
use crate::error::{Result, Tried};

/// The record to create.
pub fn of(restore: &DynamicObject, order: &Order) -> Result<DynamicObject> {
    let metadata = &restore.metadata;
    let now = Timestamp::now();
    let gate = |name: &str| json!({"name": name, "allowed": true});
    let record = json!({
        "apiVersion": API_VERSION, "kind": "VpsOperation",
        "metadata": {"name": format!("{}-{}-1", order.namespace, order.name)},
        "spec": {
            "type": "RestoreToCloudVm",
            "subject": {
                "kind": "VpsBackupRestore", "namespace": order.namespace, "name": order.name,
                "uid": metadata.uid, "generation": metadata.generation,
            },
            "intentDigest": "bare", "attempt": 1, "tryOfGeneration": 1,
            "credentialsRef": {
                "namespace": order.namespace, "name": "hostup-api", "key": "token", "resourceVersion": "1",
            },
            "vpsId": order.vps,
            "backup": {"id": order.backup, "createdAt": "2026-04-27T12:34:56Z", "sizeGb": "12.4"},
            "request": {"method": "POST", "path": order.path(), "body": order.body().to_string()},
            "gates": [gate("canRestore"), gate("canDeploy"), gate("limits"), gate("backup"), gate("canConvert")],
            "readingsDigest": "bare",
            "expectedVmName": order.vm_name,
            "orderedSize": {"cpuCores": 2, "memoryGb": 4, "storageGb": 80},
            "claim": {
                "holder": "bare", "instanceId": "bare", "madeAt": now.to_string(),
                "sendBefore": (now + 30.seconds()).to_string(),
            },
        },
    });
    serde_json::from_value(record).tried(|| "make the record".to_owned())
}

/// The status once HostUp took the order.
pub fn accepted(job: &Job) -> Value {
    json!({
        "state": "Accepted", "message": "HostUp took the order",
        "job": {"id": job.id, "pollUrl": job.poll},
        "conditions": [condition("Reconciling", "JobRunning", "the job runs")],
    })
}

/// The status once the job was seen to have ended.
pub fn ended(job: &Job) -> Value {
    let mut status = accepted(job);
    status["message"] = json!("the job has ended");
    status
}

/// The status at the end.
pub fn succeeded(order: &Order, job: &Job) -> Value {
    json!({
        "state": "Succeeded", "message": "the VM is there", "evidence": "Job",
        "job": {"id": job.id, "pollUrl": job.poll},
        "result": {"vpsId": "vps_bare", "name": order.vm_name},
        "conditions": [condition("Ready", "Succeeded", "the VM is there")],
    })
}

/// A condition that is true.
pub fn condition(about: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": about, "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": Timestamp::now().to_string(), "observedGeneration": 1,
    })
}
