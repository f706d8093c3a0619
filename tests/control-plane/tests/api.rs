//! What a test gets from the API server: rights, accounts, an audit log, crashes.

use std::thread;

use control_plane::{AuditEvent, ControlPlane, Options, User};

fn start() -> ControlPlane {
    ControlPlane::start(Options::default()).unwrap()
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: hostup-api, namespace: default}
stringData: {token: not-a-real-one}
";

#[test]
fn the_audit_log_counts_writes_and_says_who_made_them() {
    let cluster = start();
    let of_secret = |event: &&AuditEvent| event.name == "hostup-api" && event.is_write();
    assert_eq!(cluster.audit().unwrap().iter().filter(of_secret).count(), 0);

    cluster.apply(SECRET).unwrap();
    cluster.kubectl_ok(&["delete", "secret", "hostup-api"]).unwrap();
    let author = cluster.kubeconfig(User::Author);
    let refused = cluster
        .kubectl_as(&author, &["delete", "secret", "hostup-api"], None)
        .unwrap();
    assert!(!refused.status.success());

    let events = cluster.audit().unwrap();
    let seen: Vec<_> = events
        .iter()
        .filter(of_secret)
        .map(|event| (event.verb.as_str(), event.user.as_str(), event.code))
        .collect();
    assert_eq!(
        seen,
        [
            ("patch", "admin", 201),
            ("delete", "admin", 200),
            ("delete", "author", 403)
        ]
    );
    let first = events.iter().find(of_secret).unwrap();
    assert_eq!(
        (
            first.group.as_str(),
            first.resource.as_str(),
            first.namespace.as_str()
        ),
        ("", "secrets", "default")
    );
    assert!(events.is_sorted_by_key(|event| event.at));
}

#[test]
fn the_audit_log_holds_custom_resources_with_status_writes_apart() {
    let cluster = start();
    cluster
        .apply(
            "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.vps.hostup.se}
spec:
  group: vps.hostup.se
  scope: Cluster
  names: {plural: things, kind: Thing}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        x-kubernetes-preserve-unknown-fields: true
",
        )
        .unwrap();
    cluster
        .kubectl_ok(&["wait", "--for=condition=Established", "crd/things.vps.hostup.se"])
        .unwrap();
    cluster
        .apply("{apiVersion: vps.hostup.se/v1alpha1, kind: Thing, metadata: {name: a}}")
        .unwrap();
    cluster
        .kubectl_ok(&[
            "patch",
            "thing",
            "a",
            "--subresource=status",
            "--type=merge",
            "-p",
            r#"{"status":{"seen":true}}"#,
        ])
        .unwrap();
    let events = cluster.audit().unwrap();
    let writes: Vec<_> = events
        .iter()
        .filter(|event| event.group == "vps.hostup.se" && event.is_write())
        .map(|event| {
            (
                event.resource.as_str(),
                event.subresource.as_str(),
                event.name.as_str(),
            )
        })
        .collect();
    assert_eq!(writes, [("things", "", "a"), ("things", "status", "a")]);
}

#[test]
fn a_service_account_without_rights_is_refused_until_a_role_is_bound() {
    let cluster = start();
    cluster.kubectl_ok(&["create", "namespace", "shop"]).unwrap();
    cluster
        .kubectl_ok(&["create", "serviceaccount", "operator", "-n", "shop"])
        .unwrap();
    let account = cluster.service_account_kubeconfig("shop", "operator").unwrap();
    let get = ["get", "secrets", "-n", "shop"];

    let refused = cluster.kubectl_as(&account, &get, None).unwrap();
    assert!(!refused.status.success());
    let why = stderr(&refused);
    assert!(why.contains("system:serviceaccount:shop:operator"), "{why}");

    cluster
        .kubectl_ok(&[
            "create",
            "clusterrolebinding",
            "operator",
            "--clusterrole=cluster-admin",
            "--serviceaccount=shop:operator",
        ])
        .unwrap();
    // The authorizer learns of the binding by a watch.
    let granted = (0..100).any(|_| {
        let output = cluster.kubectl_as(&account, &get, None).unwrap();
        output.status.success()
    });
    assert!(granted);
}

#[test]
fn a_missing_service_account_is_an_error_that_names_it() {
    let cluster = start();
    let error = cluster
        .service_account_kubeconfig("default", "nobody")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("default/nobody") && error.contains("404"),
        "{error}"
    );
}

#[test]
fn every_user_is_who_the_kubeconfig_says() {
    let cluster = start();
    let whoami = [
        "auth",
        "whoami",
        "-o",
        "jsonpath={.status.userInfo.username} {.status.userInfo.groups}",
    ];
    for user in User::ALL {
        let output = cluster
            .kubectl_as(&cluster.kubeconfig(user), &whoami, None)
            .unwrap();
        let who = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(who.starts_with(user.name()), "{who}");
        assert_eq!(who.contains("system:masters"), user == User::Admin, "{who}");
    }
    let carol = cluster.user_kubeconfig("carol: \"x\"", &["buyers"]).unwrap();
    let output = cluster.kubectl_as(&carol, &whoami, None).unwrap();
    let who = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(who, r#"carol: "x" ["buyers","system:authenticated"]"#);
}

#[test]
fn an_api_server_that_crashed_comes_back_with_its_data_and_address() {
    let cluster = start();
    let url = cluster.url();
    let pid = cluster.pids().apiserver;
    cluster.apply(SECRET).unwrap();

    cluster.stop_apiserver();
    assert!(!cluster.kubectl(&["get", "secrets"]).unwrap().status.success());
    assert_eq!(cluster.pids().apiserver, None);
    assert!(!cluster.audit().unwrap().is_empty());
    cluster.start_apiserver().unwrap();

    assert_eq!(cluster.url(), url);
    assert_ne!(cluster.pids().apiserver, pid);
    cluster.kubectl_ok(&["get", "secret", "hostup-api"]).unwrap();
    cluster.restart_apiserver().unwrap();
    cluster.kubectl_ok(&["get", "secret", "hostup-api"]).unwrap();
}

#[test]
fn an_etcd_that_crashed_comes_back_with_its_data() {
    let cluster = start();
    cluster.apply(SECRET).unwrap();
    cluster.stop_etcd();
    let write = ["create", "namespace", "shop", "--request-timeout=2s"];
    assert!(!cluster.kubectl(&write).unwrap().status.success());
    cluster.start_etcd().unwrap();
    cluster.kubectl_ok(&["get", "secret", "hostup-api"]).unwrap();
    cluster.kubectl_ok(&write[..3]).unwrap();
}

#[test]
fn namespaces_end_and_owned_objects_go_with_their_owner() {
    let cluster = start();
    cluster.kubectl_ok(&["create", "namespace", "shop"]).unwrap();
    cluster
        .kubectl_ok(&["create", "configmap", "owner", "-n", "shop"])
        .unwrap();
    let uid = cluster
        .kubectl_ok(&[
            "get",
            "configmap",
            "owner",
            "-n",
            "shop",
            "-o",
            "jsonpath={.metadata.uid}",
        ])
        .unwrap();
    cluster
        .apply(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: owned, namespace: shop, \
             ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}}}]}}}}"
        ))
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            cluster
                .kubectl_ok(&[
                    "wait",
                    "--for=delete",
                    "configmap/owned",
                    "-n",
                    "shop",
                    "--timeout=30s",
                ])
                .unwrap();
        });
        cluster
            .kubectl_ok(&["delete", "configmap", "owner", "-n", "shop"])
            .unwrap();
    });
    cluster
        .kubectl_ok(&["delete", "namespace", "shop", "--timeout=30s"])
        .unwrap();
}

#[test]
fn admission_policies_hold() {
    let cluster = start();
    cluster
        .apply(
            "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-evil}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  validations:
  - {expression: \"object.metadata.name != 'evil'\", message: evil is not welcome}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-evil}
spec: {policyName: no-evil, validationActions: [Deny]}
",
        )
        .unwrap();
    // Policies take hold a moment after they were written.
    let refusal = (0..100)
        .map(|_| {
            cluster
                .kubectl(&["create", "configmap", "evil", "--dry-run=server"])
                .unwrap()
        })
        .find(|output| !output.status.success())
        .expect("the policy takes hold");
    assert!(stderr(&refusal).contains("evil is not welcome"));
    cluster.kubectl_ok(&["create", "configmap", "good"]).unwrap();
}
