//! The world of one run: a control plane of its own, a provider, and accounts with a namespace and a key each.

use std::path::PathBuf;
use std::time::Duration;

use control_plane::{ControlPlane, Options, User};
use hostup_operator::api::crds;
use hostup_sim::{AccountId, LimitSet, RateLimit, RestoreBehaviour, Sim};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::cluster::{self, API_VERSION};
use crate::error::{Result, Tried};

/// The rights that are shipped; both contenders run with them.
const RIGHTS: &str = include_str!("../../../deploy/rbac.yaml");
/// More than anybody orders here.
const ENOUGH: u32 = 1_000_000;

/// An account at the provider, and the namespace whose Secret holds its key.
#[derive(Debug, Clone)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// The namespace.
    pub namespace: String,
    vps: String,
    backup: String,
}

/// What one run stands on. Nothing of it outlives the run: a used API server is slower than a fresh one.
pub struct Stage {
    /// etcd and the API server.
    pub plane: ControlPlane,
    /// In HostUp's place.
    pub sim: Sim,
    /// An admin's client.
    pub client: kube::Client,
    /// The rights that the contender has.
    pub kubeconfig: PathBuf,
    /// How long a job takes.
    pub job: Duration,
    /// The accounts.
    pub accounts: Vec<Account>,
}

impl Stage {
    /// With so many accounts, jobs that last so long, and a limit for each key if one is given.
    pub async fn new(accounts: usize, job: Duration, limit: Option<RateLimit>) -> Result<Self> {
        let (plane, kubeconfig) = blocking(move || {
            let what = || "start the control plane".to_owned();
            let plane = ControlPlane::start(Options::default()).tried(what)?;
            let crds = crds::all();
            let crds = crds.iter().map(|(_, crd)| crds::to_yaml(crd).tried(what));
            plane.apply_crds(&crds.collect::<Result<Vec<_>>>()?).tried(what)?;
            plane.apply(RIGHTS).tried(what)?;
            let kubeconfig = plane
                .service_account_kubeconfig("hostup-system", "hostup-operator")
                .tried(what)?;
            Ok((plane, kubeconfig))
        })
        .await?;
        let sim = Sim::start();
        sim.world(|world| {
            world.restore = RestoreBehaviour {
                job_duration: job,
                progress_steps: 1,
                ..RestoreBehaviour::default()
            };
        });
        let client = cluster::client(&plane.kubeconfig(User::Admin)).await?;
        let mut stage = Self {
            plane,
            sim,
            client,
            kubeconfig,
            job,
            accounts: Vec::new(),
        };
        for n in 0..accounts {
            stage.add_account(n, limit).await?;
        }
        Ok(stage)
    }

    async fn add_account(&mut self, n: usize, limit: Option<RateLimit>) -> Result<()> {
        let namespace = format!("shop-{n}");
        let key = format!("key-of-{namespace}");
        let account = self.sim.world(|world| {
            let id = world.add_account(&key);
            let own = world.account_mut(id);
            own.rate_limit = limit;
            own.limits_max = LimitSet::new(ENOUGH, ENOUGH, ENOUGH, ENOUGH);
            let source = own.vps.first();
            Account {
                id,
                namespace: namespace.clone(),
                vps: source.map(|vps| vps.id.clone()).unwrap_or_default(),
                backup: source
                    .and_then(|vps| Some(vps.backups.first()?.id.clone()))
                    .unwrap_or_default(),
            }
        });
        self.accounts.push(account);
        let by = PostParams::default();
        let space = json!({"metadata": {"name": namespace}});
        let secret = json!({"metadata": {"name": "hostup-api"}, "stringData": {"token": key}});
        let what = || format!("make the namespace {namespace}");
        let spaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client.clone());
        spaces
            .create(&by, &serde_json::from_value(space).tried(what)?)
            .await
            .tried(what)?;
        let secrets: Api<k8s_openapi::api::core::v1::Secret> =
            Api::namespaced(self.client.clone(), &namespace);
        secrets
            .create(&by, &serde_json::from_value(secret).tried(what)?)
            .await
            .tried(what)?;
        Ok(())
    }

    /// A restore that is approved by a ceiling. Its VM bears the object's name.
    pub fn approved(&self, account: &Account, name: &str, vm: &str) -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": "VpsBackupRestore",
            "metadata": {"name": name, "namespace": account.namespace},
            "spec": {
                "source": {"vpsId": account.vps, "backupId": account.backup},
                "target": {
                    "cloudVm": {"name": vm, "region": "stockholm", "cpuCores": 2, "memoryGb": 4, "storageGb": 80},
                },
                "approval": {
                    "maxPrice": {"perHour": "0.80", "currencyCode": "SEK"},
                    "validUntil": "2099-01-01T00:00:00Z",
                },
            },
        })
    }

    /// Ends the control plane and the provider.
    pub async fn end(self) {
        let ended = blocking(move || {
            drop(self);
            Ok(())
        });
        if let Err(error) = ended.await {
            eprintln!("{error}");
        }
    }
}

/// Does what blocks, on a thread of its own.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .tried(|| "go on".to_owned())?
}
