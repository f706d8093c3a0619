//! What every test stands on: one control plane for all, and an environment of its own for each.

pub mod chart;
pub mod clocks;
mod customer;
pub mod death;
mod operator;
mod person;
pub mod printable;
pub mod proxied_env;
mod rights;
mod test_env;
pub mod tls;
mod trace;
mod writes;

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use control_plane::{ControlPlane, Options, User};
use hostup_operator::api::crds;
use tokio::sync::Semaphore;

pub use customer::Customer;
pub use operator::Operator;
pub use person::printed;
pub use rights::OPERATOR;
pub use test_env::{KEY, TestEnv, at, condition, gates, ready, reason, says};

/// The longest that any single wait may last before the test fails and says what it saw.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Longer than any wait: what lasts as long ends when the test puts the provider's clock forward.
pub const HOUR: Duration = Duration::from_secs(3600);

/// A control plane with our CRDs, shared by all tests of this process.
pub fn control_plane() -> &'static ControlPlane {
    SHARED.get_or_init(own_control_plane)
}

static SHARED: OnceLock<ControlPlane> = OnceLock::new();

/// Whether it is the one that all tests share.
fn is_shared(plane: &ControlPlane) -> bool {
    SHARED.get().is_some_and(|shared| std::ptr::eq(plane, shared))
}

/// A control plane with nothing on it.
pub fn bare_control_plane() -> ControlPlane {
    bare_control_plane_with(Options::default())
}

fn bare_control_plane_with(options: Options) -> ControlPlane {
    // An error means that another test has installed it.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    ControlPlane::start(options).unwrap_or_else(|error| panic!("{error}"))
}

/// A control plane with our CRDs for one test alone, which may stop it.
pub fn own_control_plane() -> ControlPlane {
    own_control_plane_with(Options::default())
}

/// The same, started in a way of its own.
pub fn own_control_plane_with(options: Options) -> ControlPlane {
    let plane = bare_control_plane_with(options);
    let manifests = crds::all()
        .into_iter()
        .map(|(_, crd)| crds::to_yaml(&crd).unwrap());
    plane
        .apply_crds(&manifests.collect::<Vec<_>>())
        .unwrap_or_else(|error| panic!("{error}"));
    rights::install(&plane);
    plane
}

/// A control plane that one test has to itself: its programs end with the test. Declare it first, for what is declared last
/// ends first.
pub struct OwnPlane(pub &'static ControlPlane);

impl OwnPlane {
    /// Of a control plane that runs. Its memory is leaked, so that tasks can share it.
    pub fn new(plane: ControlPlane) -> Self {
        Self(Box::leak(Box::new(plane)))
    }

    /// Starts one.
    pub async fn start(start: impl FnOnce() -> ControlPlane + Send + 'static) -> Self {
        Self::new(tokio::task::spawn_blocking(start).await.unwrap())
    }
}

impl Drop for OwnPlane {
    fn drop(&mut self) {
        self.0.stop();
    }
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

/// Rows of all tests together that run at one time: more, and a small machine misses deadlines.
static PLACES: Semaphore = Semaphore::const_new(12);

/// Runs the rows of a table, some at a time, and fails with the names of those that failed. Needs a
/// runtime of several threads.
pub async fn each_row<F>(rows: impl IntoIterator<Item = (String, F)>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let running: Vec<_> = rows
        .into_iter()
        .map(|(name, row)| {
            let row = async move {
                let _place = PLACES.acquire().await.unwrap();
                row.await;
            };
            (name, tokio::spawn(row))
        })
        .collect();
    let mut failed = Vec::new();
    for (name, row) in running {
        if row.await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed, for reasons printed above: {failed:?}");
}

/// The examples of our own objects, by file name. Those of Flux and Argo CD, in folders of their own, are for their
/// programs.
pub fn examples() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The fenced blocks of a document in this language, without their indentation, each with the heading that it
/// stands under.
pub fn fenced_blocks(text: &str, language: &str) -> Vec<(String, String)> {
    let opens = format!("```{language}");
    let (mut heading, mut open, mut found) = (String::new(), None, Vec::new());
    for line in text.lines() {
        let words = line.trim_start();
        match &mut open {
            None if words == opens => open = Some((line.len() - words.len(), String::new())),
            None if line.starts_with('#') => line.trim_start_matches('#').trim().clone_into(&mut heading),
            None => {}
            Some((_, block)) if words == "```" => {
                found.push((heading.clone(), std::mem::take(block)));
                open = None;
            }
            Some((indent, block)) => {
                block.push_str(line.get(*indent..).unwrap_or_default());
                block.push('\n');
            }
        }
    }
    found
}
