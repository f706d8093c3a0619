//! Parts that the kinds have in common.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Secret with an API key. It has no namespace: it is always the object's own.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase", default)]
pub struct CredentialsSecretRef {
    /// Name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Key in the Secret that holds the HostUp API key.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub key: String,
}

impl Default for CredentialsSecretRef {
    fn default() -> Self {
        Self {
            name: "hostup-api".to_owned(),
            key: "token".to_owned(),
        }
    }
}

/// One gate as HostUp gave it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Which gate.
    #[schemars(length(max = 32))]
    pub name: String,
    /// Whether it is open.
    pub allowed: bool,
    /// HostUp's code; it alone does not close a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub code: Option<String>,
    /// HostUp's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub reason: Option<String>,
}

/// HostUp's job.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// Its id.
    #[schemars(length(max = 128))]
    pub id: String,
    /// HostUp's word for where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub status: Option<String>,
    /// Per cent, in steps of 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub progress: Option<u8>,
}

/// The new VM.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VmStatus {
    /// Its id at HostUp.
    #[schemars(length(max = 64))]
    pub vps_id: String,
    /// Its name at HostUp.
    #[schemars(length(max = 100))]
    pub name: String,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub primary_ip: Option<String>,
}

/// The size of a VM.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VmSize {
    /// CPU cores.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub cpu_cores: u32,
    /// Memory in GB.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub memory_gb: u32,
    /// Storage in GB.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub storage_gb: u32,
}

/// What a person answers to an unknown outcome.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolutionAnswer {
    /// HostUp did not execute it; a new attempt may follow.
    NotExecuted,
    /// HostUp executed it, and `vpsId` is the VM.
    Adopt,
    /// Leave it; nothing follows.
    Abandon,
}
