//! The commands that the documents print, run as they stand by a shell, as a reader would.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use control_plane::{ControlPlane, User};
use hostup_sim::{Answer, Fault, Route, Sim};
use serde_json::{Value, json};

use crate::support::{KEY, Operator, OwnPlane, at, bare_control_plane, fenced_blocks};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Needs a node, a registry or a GitOps tool: `make test-ecosystem` follows these.
const LONG_RUN: [(&str, &str); 6] = [
    ("docs/install.md", "The image"),
    ("docs/install.md", "Helm"),
    ("docs/install.md", "kustomize"),
    ("docs/install.md", "Flux"),
    ("docs/install.md", "Argo CD"),
    ("docs/upgrade.md", "Uninstall what kustomize installed"),
];

/// What this test follows.
const HERE: [(&str, &str); 16] = [
    ("README.md", "Install"),
    ("README.md", "The first restore"),
    ("README.md", "Try it and test it"),
    ("docs/approval.md", "Who approved"),
    ("docs/approval.md", "Stop a purchase"),
    ("docs/install.md", "Without a registry, on one machine"),
    ("docs/runbook-unknown-outcome.md", "1. Read the question"),
    ("docs/runbook-unknown-outcome.md", "3. Give one answer"),
    ("docs/after-a-rebuild.md", "Before it happens"),
    ("docs/after-a-rebuild.md", "Afterwards"),
    ("docs/after-a-rebuild.md", "Restore records"),
    ("docs/monitoring.md", "Switch it on"),
    ("docs/upgrade.md", "Upgrade"),
    ("docs/upgrade.md", "Roll back"),
    ("docs/upgrade.md", "Uninstall"),
    ("docs/upgrade.md", "Forget what was paid"),
];

/// The `sh` blocks of a document, each with the heading that it stands under.
fn blocks(document: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(Path::new(ROOT).join(document)).unwrap();
    fenced_blocks(&text, "sh")
}

fn documents() -> Vec<String> {
    let mut names = vec![
        "README.md".to_owned(),
        "CONTRIBUTING.md".to_owned(),
        "SECURITY.md".to_owned(),
    ];
    for folder in ["docs", "docs/decisions"] {
        for entry in std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                names.push(format!("{folder}/{name}"));
            }
        }
    }
    names
}

#[test]
fn every_command_of_the_documents_is_followed_somewhere() {
    let mut found = BTreeSet::new();
    for document in documents() {
        for (heading, _) in blocks(&document) {
            found.insert((document.clone(), heading));
        }
    }
    let followed = HERE.iter().chain(&LONG_RUN);
    let followed: BTreeSet<_> = followed
        .map(|(document, heading)| ((*document).to_owned(), (*heading).to_owned()))
        .collect();
    assert_eq!(found, followed);
    let scripts = ["node.sh", "argocd.sh"]
        .map(|script| std::fs::read_to_string(format!("{ROOT}/tests/ecosystem/{script}")).unwrap())
        .concat();
    for (document, heading) in LONG_RUN {
        let calls = [format!("{document} {heading}"), format!("{document} '{heading}'")];
        assert!(
            calls.iter().any(|call| scripts.contains(call)),
            "the long run does not follow {document}: {heading}"
        );
    }
}

/// A reader: a shell in a copy of the project's files.
struct Reader {
    plane: &'static ControlPlane,
    checkout: tempfile::TempDir,
}

impl Reader {
    fn new(plane: &'static ControlPlane) -> Self {
        let checkout = tempfile::tempdir().unwrap();
        for part in ["Makefile", "charts", "deploy", "examples"] {
            let copied = Command::new("cp")
                .arg("-r")
                .arg(Path::new(ROOT).join(part))
                .arg(checkout.path())
                .status();
            assert!(copied.unwrap().success(), "{part}");
        }
        std::fs::write(checkout.path().join("key.txt"), format!("{KEY}\n")).unwrap();
        let built = checkout.path().join("target/release");
        std::fs::create_dir_all(&built).unwrap();
        std::os::unix::fs::symlink(
            env!("CARGO_BIN_EXE_hostup-operator"),
            built.join("hostup-operator"),
        )
        .unwrap();
        Self { plane, checkout }
    }

    /// Follows the blocks under a heading. What takes a registry, a compiler or a node is not run: a target of
    /// make must exist, and Helm waits for the kinds alone.
    fn follows(&self, document: &str, heading: &str, placeholders: &[(&str, &str)]) -> String {
        assert!(HERE.contains(&(document, heading)), "{document}: {heading}");
        let of_heading = blocks(document).into_iter().filter(|(at, _)| at == heading);
        let mut script: String = of_heading.map(|(_, block)| block).collect();
        assert!(!script.is_empty(), "{document}: {heading}");
        for (placeholder, value) in placeholders {
            assert!(script.contains(placeholder), "{document}: no {placeholder}");
            script = script.replace(placeholder, value);
        }
        self.runs(&script)
    }

    fn runs(&self, script: &str) -> String {
        let stand_ins = "make() { command make --dry-run \"$@\" >/dev/null; }
            crane() { test \"$1\" = push; }
            cargo() { test \"$1\" = build; }
            helm() { local all=() word; for word; do [[ $word == --wait ]] || all+=(\"$word\"); done; command helm \"${all[@]}\"
                [[ $1 != install ]] || kubectl wait --for=condition=Established crd --all --timeout=60s; }\n";
        let path = format!(
            "{}:{}",
            self.plane.programs().display(),
            std::env::var("PATH").unwrap()
        );
        let mut shell = Command::new("bash");
        shell
            .args(["-euxo", "pipefail", "-c", &format!("{stand_ins}{script}")])
            .current_dir(self.checkout.path())
            .env("PATH", path)
            .env("KUBECONFIG", self.plane.kubeconfig(User::Admin));
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            shell.env(name, self.checkout.path().join("helm"));
        }
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{script}\n{said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    fn object(&self, args: &[&str]) -> Value {
        let text = self.plane.kubectl_ok(&[args, &["-o", "json"]].concat()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn waits(&self, object: &str, path: &str, value: &str) {
        let condition = format!("--for=jsonpath={path}{value}");
        self.plane
            .kubectl_ok(&["-n", "shop", "wait", object, &condition, "--timeout=100s"])
            .unwrap_or_else(|error| panic!("{error}: {}", self.object(&["-n", "shop", "get", object])));
    }

    /// An operator as the chart's account, in place of the pod.
    fn operator(&self, sim: &Sim) -> Operator {
        let kubeconfig = self
            .plane
            .service_account_kubeconfig("hostup-system", "hostup-operator");
        let args = [format!("--hostup-url={}", sim.url())];
        Operator::start(&kubeconfig.unwrap(), &args, &[])
    }

    /// The record of a restore whose order got lost.
    fn lost(&self, sim: &Sim, name: &str) -> String {
        let lost = Fault::on(Route::RestoreToPayg).acted(false);
        sim.inject(lost.answer(Answer::reset()));
        self.runs(&format!(
            "sed 's/web-02/{name}/; s/2026-01-31/2099-01-31/' examples/restore-approved-ceiling.yaml | kubectl apply -f -"
        ));
        let restore = format!("vbr/restore-{name}");
        self.waits(&restore, READY_REASON, "=OutcomeUnknown");
        let restore = self.object(&["-n", "shop", "get", &restore]);
        at(&restore, "status.operation.name").as_str().unwrap().to_owned()
    }

    fn state(&self, record: &str, state: &str) {
        self.waits(&format!("vop/{record}"), "{.status.state}", &format!("={state}"));
    }
}

/// As much of a kind as lets an object be stored.
fn kind_of_the_prometheus_operator(kind: &str) -> String {
    let singular = kind.to_lowercase();
    let group = "monitoring.coreos.com";
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{singular}s.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "singular": singular, "plural": format!("{singular}s")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
    .to_string()
}

const READY_REASON: &str = "{.status.conditions[?(@.type==\"Ready\")].reason}";

#[test]
fn the_commands_of_the_documents_do_what_the_documents_say() {
    let own = OwnPlane::new(bare_control_plane());
    let plane = own.0;
    let reader = Reader::new(plane);
    let sim = Sim::start();
    sim.world(|world| {
        world.add_account(KEY);
        world.restore.job_duration = Duration::from_secs(1);
    });

    reader.follows("README.md", "Try it and test it", &[]);
    reader.follows("README.md", "Install", &[]);
    let operator = reader.operator(&sim);
    let said = reader.follows("README.md", "The first restore", &[]);
    assert!(
        said.contains("0.66 SEK/h") && said.contains("Succeeded"),
        "{said}"
    );
    reader.waits("vbr/restore-web-01", READY_REASON, "=Restored");
    let bought = |count: usize| assert_eq!(sim.world(|world| world.purchases().len()), count);
    bought(1);
    let said = reader.follows("docs/approval.md", "Who approved", &[]);
    assert!(said.contains("APPROVED-BY") && said.contains("Quote"), "{said}");
    reader.follows("docs/approval.md", "Stop a purchase", &[]);
    let approved = std::fs::read_to_string(
        reader
            .checkout
            .path()
            .join("examples/restore-approved-ceiling.yaml"),
    )
    .unwrap();
    plane
        .apply(&approved.replace("2026-01-31", "2099-01-31"))
        .unwrap();
    reader.waits("vbr/restore-web-02", READY_REASON, "=Held");
    bought(1);
    reader.runs("kubectl -n shop delete vbr restore-web-02");
    for held in [
        "namespace shop",
        "namespace hostup-system",
        "-n shop vbr restore-web-01",
    ] {
        reader.runs(&format!("kubectl annotate {held} vps.hostup.se/hold-"));
    }

    // The three answers of the runbook, each to a question of its own.
    let records = ["lost-1", "lost-2", "lost-3"].map(|name| reader.lost(&sim, name));
    bought(1);
    let read = "docs/runbook-unknown-outcome.md";
    let placeholders = [
        ("NAMESPACE", "shop"),
        ("NAME", "restore-lost-1"),
        ("RECORD", records[0].as_str()),
    ];
    let said = reader.follows(read, "1. Read the question", &placeholders);
    for part in ["NotExecuted", "Adopt", "Abandon", "expectedVmName", "NoneFound"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let mut answers = blocks(read)
        .into_iter()
        .filter(|(heading, _)| heading == "3. Give one answer");
    for (record, ends) in records.iter().zip(["NotExecuted", "Unknown", "Abandoned"]) {
        let (_, answer) = answers.next().unwrap();
        reader.runs(&answer.replace("RECORD", record).replace("VPS", "vps_nobody_has"));
        reader.state(record, ends);
    }
    assert!(answers.next().is_none());
    // That VM does not exist: the answer is refused and may be given again.
    let refused = format!("vop/{}", records[1]);
    reader.waits(&refused, "{.status.resolutionRefused}", "");
    reader.waits("vbr/restore-lost-1", READY_REASON, "=Restored");
    bought(2);

    reader.follows("docs/after-a-rebuild.md", "Before it happens", &[]);
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        plane.apply(&kind_of_the_prometheus_operator(kind)).unwrap();
    }
    reader.runs("kubectl wait --for=condition=Established crd --all --timeout=60s");
    reader.follows("docs/monitoring.md", "Switch it on", &[]);
    let switched_on = reader.object(&[
        "-n",
        "hostup-system",
        "get",
        "servicemonitors,prometheusrules,configmaps",
    ]);
    let switched_on = switched_on.to_string();
    for part in ["\"ServiceMonitor\"", "\"PrometheusRule\"", "grafana_dashboard"] {
        assert!(switched_on.contains(part), "no {part} in {switched_on}");
    }
    reader.follows("docs/upgrade.md", "Upgrade", &[]);
    reader.follows("docs/upgrade.md", "Roll back", &[]);
    let unfinished = blocks("docs/upgrade.md")
        .into_iter()
        .find(|(_, block)| block.contains("--field-selector"));
    let unfinished = unfinished.unwrap().1;
    let listed = reader.runs(&unfinished);
    assert!(
        listed.contains(&records[1]) && listed.lines().count() == 2,
        "{listed}"
    );
    let abandon = "{\"spec\":{\"resolution\":{\"answer\":\"Abandon\"}}}";
    reader.runs(&format!(
        "kubectl patch vop {} --type=merge -p '{abandon}'",
        records[1]
    ));
    reader.state(&records[1], "Abandoned");
    assert_eq!(reader.runs(&unfinished), "");
    drop(operator);
    reader.follows("docs/after-a-rebuild.md", "Before it happens", &[]);
    let log = std::fs::read_to_string(reader.checkout.path().join("spending-log.json")).unwrap();
    assert_eq!(log.matches("\"kind\": \"VpsOperation\"").count(), 5, "{log}");
    let list =
        "kubectl get vop -o jsonpath='{range .items[*]}{.metadata.name} {.spec} {.status}{\"\\n\"}{end}'";
    let saved = reader.runs(list);
    reader.runs("kubectl delete vop --all");
    reader.follows("docs/after-a-rebuild.md", "Restore records", &[]);
    assert_eq!(reader.runs(list), saved);

    reader.follows("docs/upgrade.md", "Uninstall", &[]);
    reader.follows("docs/upgrade.md", "Forget what was paid", &[]);
    let kinds = reader.runs("kubectl get crd -o name");
    assert!(
        kinds.contains("monitoring.coreos.com") && !kinds.contains("hostup"),
        "{kinds}"
    );
    bought(2);
    // As in a cluster that was built anew.
    let afterwards = [
        ("THE-ID-OF-BEFORE", "cluster-1"),
        ("YOUR-REGISTRY", "registry.example.com"),
    ];
    reader.follows("docs/after-a-rebuild.md", "Afterwards", &afterwards);
    let deployment = reader.object(&["-n", "hostup-system", "get", "deployment", "hostup-operator"]);
    let args = at(&deployment, "spec.template.spec.containers")[0]["args"].to_string();
    assert!(
        args.contains("--instance-id=cluster-1") && !args.contains("--read-only"),
        "{args}"
    );

    let by_hand = OwnPlane::new(bare_control_plane());
    let reader = Reader::new(by_hand.0);
    reader.follows("docs/install.md", "Without a registry, on one machine", &[]);
    let allowed = reader.operator(&sim).wait_for_line("serving");
    assert!(allowed.contains("address"), "{allowed}");
}
