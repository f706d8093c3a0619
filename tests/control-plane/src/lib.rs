//! A real Kubernetes control plane for tests and the demo: etcd, kube-apiserver and
//! kube-controller-manager on loopback, with RBAC, service account tokens and an audit log.
//!
//! ```no_run
//! use control_plane::{ControlPlane, Options, User};
//!
//! let cluster = ControlPlane::start(Options::default())?;
//! cluster.kubectl_ok(&["create", "namespace", "shop"])?;
//! println!("{}", cluster.kubeconfig(User::Admin).display());
//! # Ok::<(), control_plane::Error>(())
//! ```
//!
//! The programs are built from source once, by `build.sh`, and kept in the user's cache folder.
//! Everything a [`ControlPlane`] started ends when it is dropped, and also when the process that
//! holds it is killed. All calls block: from async code, use `spawn_blocking` or a thread.
//!
//! [`ApiProxy`] stands in front of the API server and loses, delays, repeats or refuses single
//! requests.

mod assets;
mod audit;
mod control_plane;
mod credentials;
mod error;
mod helm;
mod https;
mod kubeconfig;
mod kubectl;
mod port;
mod programs;
mod proxy;
mod random;
mod supervised;
mod wait;
mod work_dir;

pub use audit::AuditEvent;
pub use control_plane::{ControlPlane, Options, Pids};
pub use credentials::User;
pub use error::{Error, Result};
pub use proxy::{Action, ApiProxy, Gate, Match, Request, Rule, status};
