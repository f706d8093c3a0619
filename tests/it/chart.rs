//! The chart: what it refuses, what it renders, and that Helm can install it, upgrade it and take it away.

mod maps;
mod schemas;
mod values;

use std::collections::BTreeSet;

use control_plane::User;
use hostup_operator::api::crds;
use serde_json::{Value, json};

use crate::support::chart::{
    CHART, as_user, documents, helm, install, kustomized, program_takes, render, tried, try_text,
};
use crate::support::{at, bare_control_plane, control_plane};

/// Every switch in every position, in few renderings.
const VARIANTS: [(&str, &[&str]); 7] = [
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
            "--set=networkPolicy.enabled=true",
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
            "--set-json=dnsConfig={\"nameservers\":[\"10.0.0.10\"],\"options\":[{\"name\":\"ndots\",\"value\":\"1\"}]}",
            "--set-json=extraVolumes=[{\"name\":\"tmp\",\"emptyDir\":{}}]",
            "--set-json=extraVolumeMounts=[{\"name\":\"tmp\",\"mountPath\":\"/tmp\"}]",
            "--set-json=extraObjects=[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"{{ .Release.Name }}-more\"}}]",
        ],
    ),
    (
        "argued",
        &[
            "--set=listen=0.0.0.0:9090,log.level=warn\\,hostup_operator=debug",
            "--set-json=extraArgs=[\"--workers\",\"3\",\"--read-only=false\",\"--watch-namespaces=shop,office\",\"--paid-timeout=1m\"]",
            "--set-json=extraEnv=[{\"name\":\"RUST_LOG\",\"value\":\"debug\"},{\"name\":\"INSTANCE_ID\",\"value\":\"cluster-1\"}]",
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
fn the_program_takes_the_arguments_of_every_variant_and_kustomize_reads_it() {
    for (name, args) in VARIANTS {
        let text = try_text(args).unwrap();
        let objects = documents(&text);
        assert_eq!(program_takes(&objects), Ok(()), "{name}");
        let read = kustomized(&text);
        assert!(
            read.as_ref().is_ok_and(|read| read.len() == objects.len()),
            "{name}: {read:?}"
        );
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
fn the_pod_runs_on_linux_nodes_and_as_the_user_says_besides() {
    for (name, args) in VARIANTS {
        let objects = render(args);
        let nodes = at(deployment(&objects), "spec.template.spec.nodeSelector");
        assert_eq!(nodes["kubernetes.io/os"], "linux", "{name}");
        assert_eq!(nodes["disk"] == "ssd", name == "dressed", "{name}");
    }
    let dressed = render(VARIANTS[5].1);
    assert_eq!(
        at(deployment(&dressed), "spec.template.spec.dnsConfig"),
        &json!({"nameservers": ["10.0.0.10"], "options": [{"name": "ndots", "value": "1"}]})
    );
}

/// The port that the program listens on, and that everything else must lead to.
#[test]
fn one_value_moves_the_port_and_all_that_asks_there_by_name_follows() {
    let others = VARIANTS[2].1;
    for (address, port, given) in [
        ("[::]:8080", 8080, &[][..]),
        ("[::]:9090", 9090, &["--set=listen=[::]:9090"]),
        ("0.0.0.0:9090", 9090, &["--set=listen=0.0.0.0:9090"]),
        (
            "[::]:9090",
            9090,
            &["--set-json=extraArgs=[\"--listen=[::]:9090\"]"],
        ),
        (
            "[::]:9090",
            9090,
            &["--set-json=extraEnv=[{\"name\":\"LISTEN\",\"value\":\"[::]:9090\"}]"],
        ),
    ] {
        let objects = render(&[others, given].concat());
        let container = container(&objects);
        let listens = json!(format!("--listen={address}"));
        assert!(
            container["args"].as_array().unwrap().contains(&listens),
            "{container}"
        );
        assert_eq!(
            container["ports"],
            json!([{"name": "metrics", "containerPort": port, "protocol": "TCP"}])
        );
        for probe in ["livenessProbe", "readinessProbe"] {
            assert_eq!(at(container, probe)["httpGet"]["port"], "metrics");
        }
        let service = at(of_kind(&objects, "Service")[0], "spec.ports");
        assert_eq!(
            (&service[0]["port"], &service[0]["targetPort"]),
            (&json!(8080), &json!("metrics"))
        );
        let policy = at(of_kind(&objects, "NetworkPolicy")[0], "spec.ingress");
        assert_eq!(policy[0]["ports"], json!([{"port": "metrics"}]));
        let monitor = at(of_kind(&objects, "ServiceMonitor")[0], "spec.endpoints");
        assert_eq!(monitor[0]["port"], "metrics");
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
    // Where namespaces are named, no other Namespace may be read.
    let narrowed = rights(&namespaced).into_iter().map(|rule| {
        let names =
            r#""resourceNames":["shop","office","hostup-system","kube-system"],"resources":["namespaces"]"#;
        rule.replace(names, r#""resources":["namespaces"]"#)
    });
    assert_eq!(narrowed.collect::<BTreeSet<_>>(), rights(&used));
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
        .filter(|(file, _)| !["vpsoperations.yaml", "vpsbudgets.yaml"].contains(file))
    {
        let spec =
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        for field in spec.as_object().unwrap().keys() {
            let compared = format!("object.spec.?{field} != oldObject.spec.?{field}");
            // The policy looks at the first two in its own way; the last one has no part in what is bought.
            let others = ["approval", "suspend", "writeOutputsTo"];
            let known = variables.contains(&compared) || others.contains(&field.as_str());
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
