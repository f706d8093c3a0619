//! The cluster of the user's kubeconfig.

use std::path::PathBuf;

use hostup_operator::api::budget::VpsBudget;
use hostup_operator::api::config::VpsResourceConfig;
use hostup_operator::api::operation::VpsOperation;
use hostup_operator::api::restore::VpsBackupRestore;
use hostup_operator::api::stored::Stored;
use hostup_operator::domain::values::ids::SubjectKind;
use hostup_operator::{api_server, args};
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};

use crate::failure::Failure;

/// Flags that say which cluster is meant, as kubectl has them.
#[derive(Debug, clap::Args)]
pub struct Reach {
    /// The kubeconfig file. By default, those that kubectl uses: KUBECONFIG, then ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. By default, the current one.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The namespace. By default, that of the context.
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,
}

impl Reach {
    fn flags(&self) -> String {
        let file = self.kubeconfig.as_ref().map(|file| file.display().to_string());
        [("--kubeconfig", file), ("--context", self.context.clone())]
            .into_iter()
            .filter_map(|(flag, value)| Some(format!(" {flag} {}", quoted(&value?))))
            .collect()
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A connection with the rights of the user.
pub struct Cluster {
    /// The connection.
    pub client: Client,
    /// The namespace of `--namespace`, if it is given.
    pub named: Option<String>,
    /// What a command that is printed must end with to reach the same cluster; empty for that of the kubeconfig.
    pub flags: String,
}

impl Cluster {
    /// Connects as kubectl does.
    pub async fn reach(reach: &Reach) -> Result<Self, Failure> {
        let environment = args::proxies();
        let connected = api_server::connect_as_user(
            reach.kubeconfig.as_deref(),
            reach.context.as_deref(),
            &environment,
        );
        let client = connected.await.map_err(|why| {
            Failure::told(format!(
                "the cluster cannot be reached: {why}. Check --kubeconfig and --context, as for kubectl"
            ))
        })?;
        Ok(Self {
            client,
            named: reach.namespace.clone(),
            flags: reach.flags(),
        })
    }

    /// The namespace to work in: of `--namespace`, or of the context.
    pub fn namespace(&self) -> &str {
        self.named
            .as_deref()
            .unwrap_or_else(|| self.client.default_namespace())
    }

    /// The objects of a kind in one namespace, or in all.
    pub fn objects(&self, kind: SubjectKind, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = resource(kind);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// The budgets.
    pub fn budgets(&self) -> Api<Stored<VpsBudget>> {
        Api::all(self.client.clone())
    }

    /// The records.
    pub fn records(&self) -> Api<Stored<VpsOperation>> {
        Api::all(self.client.clone())
    }
}

/// How the API server names a kind.
pub fn resource(kind: SubjectKind) -> ApiResource {
    match kind {
        SubjectKind::VpsBackupRestore => ApiResource::erase::<VpsBackupRestore>(&()),
        SubjectKind::VpsResourceConfig => ApiResource::erase::<VpsResourceConfig>(&()),
    }
}
