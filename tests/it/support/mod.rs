//! What every test stands on: one control plane for all, and a stage of its own for each.

mod operator;
mod stage;
mod tenant;

use std::sync::OnceLock;
use std::time::Duration;

use control_plane::{ControlPlane, Options, User};
use hostup_operator::api::crds;

pub use operator::Operator;
pub use stage::{KEY, Stage, at, ready, reason};
pub use tenant::Tenant;

/// The longest that any single wait may last before the test fails and says what it saw.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A control plane with our CRDs, shared by all tests of this process.
pub fn control_plane() -> &'static ControlPlane {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    SHARED.get_or_init(own_control_plane)
}

/// A control plane with our CRDs for one test alone, which may stop it.
pub fn own_control_plane() -> ControlPlane {
    // An error means that another test has installed it.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let plane = ControlPlane::start(Options::default()).unwrap_or_else(|error| panic!("{error}"));
    for (_, crd) in crds::all() {
        plane
            .apply(&crds::to_yaml(&crd).unwrap())
            .unwrap_or_else(|error| panic!("{error}"));
    }
    plane
        .kubectl_ok(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd",
            "--all",
        ])
        .unwrap_or_else(|error| panic!("{error}"));
    plane
}

/// A kube client of a user.
pub async fn client_of(plane: &ControlPlane, user: User) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(plane.kubeconfig(user)).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
            .await
            .unwrap();
    kube::Client::try_from(config).unwrap()
}
