//! The chart: what it refuses, what it renders, and that Helm can install it, upgrade it and take it away.

mod schemas;

use std::collections::BTreeSet;

use clap::Parser;
use control_plane::User;
use hostup_operator::api::crds;
use hostup_operator::args::Args;
use serde_json::{Value, json};

use crate::support::chart::{CHART, as_user, documents, helm, install, render, tried, try_render};
use crate::support::{at, bare_control_plane, control_plane};

/// Every switch in every position, in few renderings.
const VARIANTS: [(&str, &[&str]); 6] = [
    ("as it is", &[]),
    ("namespaced", &["--set=watchNamespaces={shop,office}"]),
    (
        "two replicas, watched",
        &[
            "--set=replicas=2,podDisruptionBudget.enabled=true",
            "--set=serviceMonitor.enabled=true,serviceMonitor.additionalLabels.release=prometheus",
            "--set=networkPolicy.enabled=true",
            "--set=prometheusRule.enabled=true,prometheusRule.additionalLabels.release=prometheus",
            "--set=grafanaDashboard.enabled=true,grafanaDashboard.annotations.grafana_folder=Operators",
            "--set-json=networkPolicy.ingressFrom=[{\"namespaceSelector\":{\"matchLabels\":{\"a\":\"b\"}}}]",
        ],
    ),
    (
        "bare",
        &[
            "--set=crds.enabled=false,rbac.create=false,rbac.rolesForPeople=false,serviceAccount.create=false",
            "--set=admissionPolicies.enabled=false,leaderElection.enabled=false",
            "--set=networkPolicy.enabled=true,networkPolicy.egressPorts=null,commonAnnotations=null",
            "--set=serviceAccount.annotations=null,service.annotations=null",
        ],
    ),
    (
        "switched",
        &[
            "--set=hostup.readOnly=true,hostup.enableLegacyUpgrade=true,hostup.instanceId=cluster-1",
            "--set=hostup.maxPaidCalls=0,hostup.url=http://127.0.0.1:8787,openshift=true,log.format=text",
            "--set=image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "--set=podMonitor.enabled=true,podMonitor.additionalLabels.release=prometheus",
            "--set=rbac.aggregateToView=false,rbac.aggregateToEdit=false,rbac.aggregateRestoresToEdit=true",
        ],
    ),
    (
        "dressed",
        &[
            "--set=nameOverride=shop-operator,commonLabels.team=a,commonAnnotations.note=b,podLabels.c=d",
            "--set=podAnnotations.e=f,deploymentAnnotations.g=h,serviceAccount.annotations.i=j",
            "--set=priorityClassName=high,runtimeClassName=runc,nodeSelector.disk=ssd,extraArgs={--allow-plain-http=false}",
            "--set=global.imageRegistry=registry.example.com,enabled=true,imagePullSecrets[0].name=pull",
            "--set-json=tolerations=[{\"operator\":\"Exists\"}]",
            "--set-json=topologySpreadConstraints=[{\"maxSkew\":1,\"topologyKey\":\"zone\",\"whenUnsatisfiable\":\"DoNotSchedule\"}]",
            "--set-json=extraEnv=[{\"name\":\"A\",\"value\":\"b\"}]",
            "--set-json=extraVolumes=[{\"name\":\"tmp\",\"emptyDir\":{}}]",
            "--set-json=extraVolumeMounts=[{\"name\":\"tmp\",\"mountPath\":\"/tmp\"}]",
            "--set-json=extraObjects=[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"{{ .Release.Name }}-more\"}}]",
        ],
    ),
];

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn deployment(objects: &[Value]) -> &Value {
    of_kind(objects, "Deployment")[0]
}

fn container(objects: &[Value]) -> &Value {
    &at(deployment(objects), "spec.template.spec.containers")[0]
}

#[test]
fn helm_lint_finds_nothing() {
    for (name, args) in VARIANTS {
        let linted = helm(control_plane(), &[&["lint", "--strict", CHART], args].concat());
        assert!(linted.is_ok(), "{name}: {linted:?}");
    }
}

#[test]
fn the_api_server_takes_every_variant() {
    let plane = control_plane();
    for namespace in ["shop", "office"] {
        plane.kubectl_ok(&["create", "namespace", namespace]).unwrap();
    }
    for (name, args) in VARIANTS {
        let objects = render(args);
        for object in &objects {
            if object["apiVersion"] == "monitoring.coreos.com/v1" {
                continue;
            }
            let taken = tried(object);
            assert!(taken.is_ok(), "{name}: {taken:?} on {object}");
        }
    }
}

#[test]
fn bad_values_are_refused_before_anything_is_installed() {
    let rows: [(&str, &[&str]); 16] = [
        ("at '/hostup/instanceId'", &["--set=hostup.instanceId=a #b"]),
        ("at '/hostup/url'", &["--set=hostup.url=https://a b"]),
        (
            "at '/networkPolicy/egressPorts': minItems",
            &["--set-json=networkPolicy.egressPorts=[]"],
        ),
        (
            "podDisruptionBudget.minAvailable (2) of 2 replicas blocks every drain",
            &["--set=replicas=2,podDisruptionBudget.enabled=true,podDisruptionBudget.minAvailable=2"],
        ),
        (
            "at '/replicas': got string, want integer",
            &["--set-string=replicas=two"],
        ),
        (
            "additional properties 'replcas' not allowed",
            &["--set=replcas=2"],
        ),
        (
            "additional properties 'readonly' not allowed",
            &["--set=hostup.readonly=true"],
        ),
        ("at '/hostup/url'", &["--set=hostup.url=http://cloud.hostup.se"]),
        (
            "at '/hostup/url'",
            &["--set=hostup.url=https://user:pw@cloud.hostup.se"],
        ),
        ("at '/watchNamespaces/0'", &["--set-json=watchNamespaces=[\"\"]"]),
        (
            "at '/hostup/credentialSecretNames': minItems",
            &["--set-json=hostup.credentialSecretNames=[]"],
        ),
        ("at '/times/settleTime'", &["--set-string=times.settleTime=5"]),
        ("at '/log/format'", &["--set=log.format=xml"]),
        (
            "set leaderElection.enabled to true",
            &["--set=replicas=2,leaderElection.enabled=false"],
        ),
        (
            "set replicas to 2 or more",
            &["--set=podDisruptionBudget.enabled=true"],
        ),
        (
            "terminationGracePeriodSeconds (150) must be longer than times.paidTimeout (3m)",
            &["--set=times.paidTimeout=3m"],
        ),
    ];
    for (says, args) in rows {
        let refused = try_render(args);
        assert!(
            refused.as_ref().is_err_and(|why| why.contains(says)),
            "{args:?} does not say {says:?}: {refused:?}"
        );
    }
}

#[test]
fn the_binary_understands_the_arguments_of_every_variant() {
    for (name, args) in VARIANTS {
        let objects = render(args);
        let given = container(&objects)["args"].as_array().unwrap().iter();
        let all = std::iter::once("hostup-operator").chain(given.map(|arg| arg.as_str().unwrap()));
        let parsed = Args::try_parse_from(all).unwrap_or_else(|error| panic!("{name}: {error}"));
        let Some(hostup_operator::args::Command::Run(run)) = parsed.command else {
            panic!("{name} does not run the operator");
        };
        assert_eq!(run.check(), Ok(()), "{name}");
        assert!(run.origin().is_ok(), "{name}");
        let grace = at(
            deployment(&objects),
            "spec.template.spec.terminationGracePeriodSeconds",
        );
        assert!(grace.as_u64().unwrap() > run.paid_timeout.as_secs(), "{name}");
    }
    assert_eq!(
        at(deployment(&render(VARIANTS[3].1)), "spec.strategy.type"),
        "Recreate"
    );
    let switched = render(VARIANTS[4].1);
    let args = container(&switched)["args"].to_string();
    for flag in [
        "--read-only",
        "--enable-legacy-upgrade",
        "--instance-id=cluster-1",
        "--max-paid-calls=0",
    ] {
        assert!(args.contains(flag), "no {flag} in {args}");
    }
}

#[test]
fn the_pod_is_admitted_where_pod_security_is_restricted() {
    let plane = control_plane();
    plane.kubectl_ok(&["create", "namespace", "restricted"]).unwrap();
    plane
        .kubectl_ok(&[
            "label",
            "namespace",
            "restricted",
            "pod-security.kubernetes.io/enforce=restricted",
        ])
        .unwrap();
    let dry = ["create", "--dry-run=server", "--namespace=restricted", "-f", "-"];
    for (name, args) in VARIANTS {
        let mut spec = at(deployment(&render(args)), "spec.template.spec").clone();
        // What another namespace has is not the subject.
        for elsewhere in ["serviceAccountName", "priorityClassName", "runtimeClassName"] {
            spec.as_object_mut().unwrap().remove(elsewhere);
        }
        let mut pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": spec});
        let admitted = as_user(plane, User::Admin, &dry, Some(&pod));
        assert!(admitted.is_ok(), "{name}: {admitted:?}");
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let refused = as_user(plane, User::Admin, &dry, Some(&pod));
        assert!(
            refused.is_err_and(|why| why.contains("violates PodSecurity")),
            "{name}"
        );
    }
}

/// Every rule of the operator's own roles, as text.
fn rights(objects: &[Value]) -> BTreeSet<String> {
    let own = |object: &&Value| {
        let name = at(object, "metadata.name").as_str().unwrap();
        ["hostup-operator", "hostup-operator-leader"].contains(&name)
    };
    let roles = ["ClusterRole", "Role"]
        .map(|kind| of_kind(objects, kind))
        .concat();
    let rules = roles
        .iter()
        .filter(|object| own(object))
        .flat_map(|role| role["rules"].as_array().unwrap());
    rules.map(ToString::to_string).collect()
}

#[test]
fn the_rights_are_those_that_a_whole_life_was_seen_to_use() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rbac.yaml");
    let used = documents(&std::fs::read_to_string(file).unwrap());
    assert_eq!(rights(&render(&[])), rights(&used));
    let namespaced = render(VARIANTS[1].1);
    assert_eq!(rights(&namespaced), rights(&used));
    let of_cluster = of_kind(&namespaced, "ClusterRole");
    let of_cluster = of_cluster
        .iter()
        .find(|role| at(role, "metadata.name") == "hostup-operator")
        .unwrap();
    for theirs in ["secrets", "vpsbackuprestores", "events"] {
        assert!(
            !of_cluster.to_string().contains(theirs),
            "{theirs} of all namespaces"
        );
    }
    let namespaces: BTreeSet<_> = of_kind(&namespaced, "Role")
        .iter()
        .map(|role| at(role, "metadata.namespace").as_str().unwrap())
        .collect();
    assert_eq!(namespaces, BTreeSet::from(["hostup-system", "office", "shop"]));
}

#[test]
fn nobody_who_may_edit_may_approve_or_answer() {
    for (name, args) in VARIANTS {
        for role in of_kind(&render(args), "ClusterRole") {
            let labels = at(role, "metadata.labels").to_string();
            let rules = role["rules"].to_string();
            if labels.contains("aggregate-to") {
                for verb in ["approve", "resolve", "\"*\"", "/status"] {
                    assert!(!rules.contains(verb), "{name}: {verb} in {rules}");
                }
                assert!(!rules.contains("vpsoperations"), "{name}: {rules}");
            }
        }
    }
}

/// An edit under a ceiling may be paid for by it, so no field may be forgotten.
#[test]
fn the_policy_on_approval_looks_at_every_field_of_a_spec() {
    let rendered = render(&[]);
    let policies = of_kind(&rendered, "ValidatingAdmissionPolicy");
    let policy = policies
        .iter()
        .find(|policy| at(policy, "metadata.name") == "hostup-operator-approval")
        .unwrap();
    let variables = at(policy, "spec.variables").to_string();
    for (file, crd) in crds::all()
        .into_iter()
        .filter(|(file, _)| *file != "vpsoperations.yaml")
    {
        let spec =
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        for field in spec.as_object().unwrap().keys() {
            let compared = format!("object.spec.?{field} != oldObject.spec.?{field}");
            let known = variables.contains(&compared) || ["approval", "suspend"].contains(&field.as_str());
            assert!(known, "{file}: the policy does not look at spec.{field}");
        }
    }
}

#[test]
fn helm_installs_upgrades_rolls_back_and_leaves_kinds_and_records_when_it_goes() {
    let plane = bare_control_plane();
    install(&plane);
    let replicas = || {
        let path = "-o=jsonpath={.spec.replicas}";
        plane
            .kubectl_ok(&[
                "-n",
                "hostup-system",
                "get",
                "deployment",
                "hostup-operator",
                path,
            ])
            .unwrap()
    };
    let release = "--namespace=hostup-system";
    assert_eq!(replicas(), "1");
    plane.kubectl_ok(&["create", "namespace", "shop"]).unwrap();
    let second = "the-operator-of-the-shop-with-quite-a-long-name";
    let of_shop = [
        "install",
        second,
        CHART,
        "--namespace=second",
        "--create-namespace",
        "--set=watchNamespaces={shop},crds.enabled=false",
        "--set=rbac.rolesForPeople=false,admissionPolicies.enabled=false",
    ];
    helm(&plane, &of_shop).unwrap();
    helm(&plane, &["uninstall", second, "--namespace=second"]).unwrap();
    helm(
        &plane,
        &["upgrade", "hostup-operator", CHART, release, "--set=replicas=2"],
    )
    .unwrap();
    assert_eq!(replicas(), "2");
    helm(&plane, &["rollback", "hostup-operator", "1", release]).unwrap();
    assert_eq!(replicas(), "1");
    helm(&plane, &["uninstall", "hostup-operator", release]).unwrap();
    let kinds = plane.kubectl_ok(&["get", "crd", "-o", "name"]).unwrap();
    for (file, _) in crds::all() {
        let kind = file.trim_end_matches(".yaml");
        assert!(
            kinds.contains(&format!("/{kind}.vps.hostup.se")),
            "{kind} is gone"
        );
    }
    let left = plane
        .kubectl_ok(&[
            "get",
            "deployment,clusterrole,validatingadmissionpolicy",
            "-A",
            "-o",
            "name",
        ])
        .unwrap();
    assert!(!left.contains("hostup"), "{left}");
    // What is there already is taken over.
    install(&plane);
    helm(&plane, &["uninstall", "hostup-operator", release]).unwrap();
    let elsewhere = [
        "install",
        "other",
        CHART,
        "--namespace=elsewhere",
        "--create-namespace",
    ];
    let refused = helm(&plane, &elsewhere);
    assert!(
        refused.as_ref().is_err_and(|why| why.contains("ownership")),
        "{refused:?}"
    );
    helm(&plane, &[&elsewhere[..], &["--take-ownership"]].concat()).unwrap();
    let labels = plane
        .kubectl_ok(&[
            "get",
            "crd",
            "vpsoperations.vps.hostup.se",
            "-o=jsonpath={.metadata.annotations}",
        ])
        .unwrap();
    assert!(
        labels.contains("\"helm.sh/resource-policy\":\"keep\"") && labels.contains("Prune=false"),
        "{labels}"
    );
}
