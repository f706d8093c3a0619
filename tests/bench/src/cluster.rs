//! The API server as a client sees it.

use std::path::Path;

use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::api::{ApiResource, GroupVersionKind};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use crate::error::{Result, Tried};

/// The group and version of our kinds.
pub const API_VERSION: &str = "vps.hostup.se/v1alpha1";

/// A client with TCP_NODELAY, as the operator's: without it the first request of each connection waits 40 ms.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let what = || format!("reach the cluster of {}", kubeconfig.display());
    let read = Kubeconfig::read_from(kubeconfig).tried(what)?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .tried(what)?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let https = config.rustls_https_connector_with_connector(tcp).tried(what)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().tried(what)?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

/// `VpsBackupRestore`.
pub fn restores() -> ApiResource {
    kind("VpsBackupRestore", "vpsbackuprestores")
}

/// `VpsOperation`.
pub fn records() -> ApiResource {
    kind("VpsOperation", "vpsoperations")
}

fn kind(kind: &str, plural: &str) -> ApiResource {
    let gvk = GroupVersionKind::gvk("vps.hostup.se", "v1alpha1", kind);
    ApiResource::from_gvk_with_plural(&gvk, plural)
}

/// Whether the restore's condition `Ready` is true.
pub fn is_ready(object: &serde_json::Value) -> bool {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(|all| all.as_array());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
