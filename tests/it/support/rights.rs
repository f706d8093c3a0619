//! The rights that operators run with: those that are shipped, and what an environment adds to them.

use std::path::{Path, PathBuf};

use control_plane::ControlPlane;
use serde_json::json;

use super::TestEnv;

/// In whose name every operator acts.
pub const OPERATOR: &str = "system:serviceaccount:hostup-system:hostup-operator";

const ADDED: &str = "added-by-the-stage";

/// Gives the operator its shipped rights.
pub fn install(plane: &ControlPlane) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/rbac.yaml");
    let shipped = std::fs::read_to_string(file).unwrap();
    plane.apply(&shipped).unwrap_or_else(|error| panic!("{error}"));
}

/// A kubeconfig of the shipped ServiceAccount.
pub fn kubeconfig(plane: &ControlPlane) -> PathBuf {
    plane
        .service_account_kubeconfig("hostup-system", "hostup-operator")
        .unwrap_or_else(|error| panic!("{error}"))
}

impl TestEnv {
    /// What an admin adds for this namespace: Secrets of other names, ConfigMaps for outputs, and a Lease elsewhere.
    pub(super) async fn add_rights(&self) {
        let group = "rbac.authorization.k8s.io";
        let metadata = json!({"name": ADDED, "namespace": self.namespace});
        self.create(json!({
            "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata,
            "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "update"]},
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
            ],
        }))
        .await;
        self.create(json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": ADDED},
            "subjects": [
                {"kind": "ServiceAccount", "name": "hostup-operator", "namespace": "hostup-system"},
            ],
        }))
        .await;
    }

    /// Takes back what the environment added, so that the shipped rights are all there is.
    pub async fn shipped_rights_only(&self) {
        let bindings: kube::Api<k8s_openapi::api::rbac::v1::RoleBinding> =
            kube::Api::namespaced(self.client.clone(), &self.namespace);
        let by = kube::api::DeleteParams::default();
        bindings.delete(ADDED, &by).await.unwrap();
    }
}
