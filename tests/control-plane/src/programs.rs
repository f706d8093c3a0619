//! The command lines of the three programs.

use std::path::Path;

use crate::audit;
use crate::error::{Result, Tried};

/// What tests need and no more: namespaces end, owned objects go with their owner, every namespace
/// has its service account and CA bundle, aggregated cluster roles are filled.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,\
    serviceaccount-controller,serviceaccount-token-controller,\
    root-ca-certificate-publisher-controller,clusterrole-aggregation-controller";

pub(crate) const ETCD_SOCKET: &str = "etcd.sock";
pub(crate) const AUDIT_LOG: &str = "audit.log";

/// etcd listens on unix sockets only. The addresses that it announces are never connected to, for it
/// has no peers, but it insists on their form. Nothing is synced to disk: the data outlives a
/// killed process, which is what tests do, and not a power cut.
pub(crate) fn etcd(dir: &Path) -> Vec<String> {
    let dir = dir.display();
    vec![
        format!("--data-dir={dir}/etcd"),
        format!("--listen-client-urls=unix://{dir}/{ETCD_SOCKET}"),
        format!("--listen-peer-urls=unix://{dir}/peer.sock"),
        "--name=test".into(),
        "--advertise-client-urls=http://127.0.0.1:2379".into(),
        "--initial-advertise-peer-urls=http://127.0.0.1:2380".into(),
        "--initial-cluster=test=http://127.0.0.1:2380".into(),
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

/// Also writes the audit policy that the API server reads.
pub(crate) fn apiserver(dir: &Path, port: u16, more: &[String]) -> Result<Vec<String>> {
    let policy = dir.join("audit-policy.yaml");
    std::fs::write(&policy, audit::POLICY).tried(|| format!("write {}", policy.display()))?;
    let policy = policy.display();
    let dir = dir.display();
    let mut args = vec![
        format!("--etcd-servers=unix://{dir}/{ETCD_SOCKET}"),
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        // A loopback address may not stand in an EndpointSlice; nothing here looks for one.
        "--endpoint-reconciler-type=none".into(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={dir}/serving.crt"),
        format!("--tls-private-key-file={dir}/serving.key"),
        "--authorization-mode=RBAC".into(),
        format!("--token-auth-file={dir}/tokens.csv"),
        format!("--client-ca-file={dir}/ca.crt"),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={dir}/sa.pub"),
        format!("--service-account-signing-key-file={dir}/sa.key"),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        format!("--audit-policy-file={policy}"),
        format!("--audit-log-path={dir}/{AUDIT_LOG}"),
        // Written before the request ends, and never rotated away.
        "--audit-log-mode=blocking".into(),
        "--audit-log-maxsize=4096".into(),
        "--profiling=false".into(),
    ];
    args.extend_from_slice(more);
    Ok(args)
}

pub(crate) fn controller_manager(dir: &Path, kubeconfig: &Path) -> Vec<String> {
    let kubeconfig = kubeconfig.display();
    let dir = dir.display();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--controllers={CONTROLLERS}"),
        format!("--root-ca-file={dir}/ca.crt"),
        format!("--service-account-private-key-file={dir}/sa.key"),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
        "--profiling=false".into(),
    ]
}
