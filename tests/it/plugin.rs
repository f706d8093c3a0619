//! `kubectl-hostup`, the built plugin, as users with more and fewer rights run it, in a pipe and on a terminal.

mod approve;
mod backups;
mod hold;
mod money;
mod preview;
mod resolve;
mod status;
mod terminal;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use hostup_sim::{Answer, Fault, Route, dec};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::chart::installed;
use crate::support::{PATIENCE, TestEnv, at};
use terminal::Terminal;

const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-hostup");

const VIEW: &str = "hostup-operator-view";
const EDIT: [&str; 2] = ["hostup-operator-edit-restores", "hostup-operator-edit-configs"];
const APPROVER: &str = "hostup-approver";
const RECORDS: &str = "hostup-operator-view-records";
const RESOLVER: &str = "hostup-resolver";

/// An environment on the control plane that Helm installed everything on.
async fn env(name: &str) -> TestEnv {
    let plane = tokio::task::spawn_blocking(installed).await.unwrap();
    TestEnv::on(plane, name).await
}

/// A user, and the namespace that they work in.
struct Person {
    name: String,
    kubeconfig: PathBuf,
    namespace: String,
}

/// What the plugin printed, and how it ended.
#[derive(Debug)]
struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl Ran {
    /// What it printed, if it succeeded.
    fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.out
    }

    /// What it printed, as JSON.
    fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// Fails unless it ended with 1 and said all of this.
    fn fails(&self, says: &[&str]) {
        assert_eq!(self.status, 1, "{self:?}");
        for words in says {
            assert!(self.err.contains(words), "no {words:?} in {self:?}");
        }
        assert!(
            self.err.starts_with("error: ") && !self.err.contains("panicked"),
            "{self:?}"
        );
    }
}

impl Person {
    /// A command as it is printed for this user: it reaches the same cluster.
    fn is_told(&self, command: &str) -> String {
        format!("{command} --kubeconfig {}", self.kubeconfig.display())
    }

    /// The admin.
    fn admin(env: &TestEnv) -> Self {
        Self {
            name: "admin".to_owned(),
            kubeconfig: env.plane.kubeconfig(control_plane::User::Admin),
            namespace: env.namespace.clone(),
        }
    }

    /// A user with these roles of the chart, and no other rights.
    async fn with(env: &TestEnv, roles: &[&str]) -> Self {
        let name = format!(
            "{}of-{}",
            roles.iter().map(|role| format!("{role}-")).collect::<String>(),
            env.namespace
        );
        for role in roles {
            env.create(binding(env, &name, role)).await;
        }
        let kubeconfig = env.plane.user_kubeconfig(&name, &[]).unwrap();
        let person = Self {
            name,
            kubeconfig,
            namespace: env.namespace.clone(),
        };
        for role in roles {
            person.has(env, role).await;
        }
        person
    }

    /// Waits until the authorizer knows a role.
    async fn has(&self, env: &TestEnv, role: &str) {
        let (verb, resource) = match role {
            VIEW => ("list", "vpsresourceconfigs"),
            APPROVER => ("approve", "vpsresourceconfigs"),
            RECORDS => ("list", "vpsoperations"),
            RESOLVER => ("resolve", "vpsoperations"),
            _ if role == EDIT[0] => ("create", "vpsbackuprestores"),
            _ => ("create", "vpsresourceconfigs"),
        };
        let attributes = json!({"group": "vps.hostup.se", "verb": verb, "resource": resource});
        let mut spec = json!({"user": self.name, "resourceAttributes": attributes});
        if !is_of_the_cluster(role) {
            spec["resourceAttributes"]["namespace"] = json!(self.namespace);
        }
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec});
        let review: SubjectAccessReview = serde_json::from_value(review).unwrap();
        let reviews: Api<SubjectAccessReview> = Api::all(env.client.clone());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
            if answer.status.unwrap().allowed {
                return;
            }
            assert!(Instant::now() < deadline, "{} has no {role}", self.name);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PLUGIN);
        command
            .args(args)
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env("TERM", "xterm-256color");
        if !args
            .iter()
            .any(|arg| arg.starts_with("--namespace") || *arg == "-A" || *arg == "--all")
        {
            command.arg(format!("--namespace={}", self.namespace));
        }
        command
    }

    /// Runs the plugin in a pipe.
    async fn runs(&self, args: &[&str]) -> Ran {
        self.runs_with(args, "").await
    }

    /// The same, with this input.
    async fn runs_with(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        let input = input.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // A command that reads no input may have ended already.
            let _written = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
            let output = child.wait_with_output().unwrap();
            Ran {
                status: output.status.code().unwrap(),
                out: String::from_utf8(output.stdout).unwrap(),
                err: String::from_utf8(output.stderr).unwrap(),
            }
        })
        .await
        .unwrap()
    }

    /// Starts the plugin on a terminal.
    fn sees(&self, args: &[&str]) -> Terminal {
        Terminal::start(self.command(args))
    }
}

fn is_of_the_cluster(role: &str) -> bool {
    [RECORDS, RESOLVER].contains(&role)
}

fn binding(env: &TestEnv, user: &str, role: &str) -> Value {
    let (kind, namespace) = if is_of_the_cluster(role) {
        ("ClusterRoleBinding", Value::Null)
    } else {
        ("RoleBinding", json!(env.namespace))
    };
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": format!("{user}-{role}"), "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    })
}

/// 2 cores make each 0.01 of a core's rate 0.02 of the price: 0.66 at 0.12.
fn core_rate(env: &TestEnv, rate: &str) {
    let account = env.account;
    env.sim.world(|world| {
        world.account_mut(account).pricing.cpu_per_core_hour = Some(dec(rate));
    });
}

/// The answer to the next paid call is lost; it was not executed.
fn lose(env: &TestEnv) {
    let lost = Fault::on(Route::RestoreToPayg).acted(false);
    env.sim.inject(lost.answer(Answer::reset()));
}

/// An approved restore whose outcome a person is asked about, and the name of its record.
async fn asked(env: &TestEnv, name: &str) -> String {
    lose(env);
    env.create(env.approved(name)).await;
    let object = env.wait_for_reason(name, "OutcomeUnknown").await;
    at(&object, "status.operation.name").as_str().unwrap().to_owned()
}

/// The lines of a table, each as its words between wide gaps.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .map(|line| {
            line.split("   ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

#[test]
fn the_help_names_every_command_and_a_wrong_one_ends_with_1() {
    let run = |args: &[&str]| Command::new(PLUGIN).args(args).output().unwrap();
    let help = run(&["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    for command in [
        "status",
        "approve",
        "preview",
        "resolve",
        "spend",
        "ledger",
        "hold",
        "release",
        "backups",
        "completion",
        "man",
    ] {
        assert!(text.contains(&format!("\n  {command}")), "{command} in {text}");
        assert!(run(&[command, "--help"]).status.success(), "{command}");
    }
    let wrong = run(&["approve"]);
    assert_eq!(wrong.status.code(), Some(1));
}

#[test]
fn completions_and_the_man_page_are_printed_without_a_cluster() {
    let run = |args: &[&str]| {
        let output = Command::new(PLUGIN)
            .args(args)
            .env("KUBECONFIG", "/nonexistent/kubeconfig")
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completion", shell]);
        assert!(script.contains("max-per-hour"), "{shell}: {script}");
    }
    let page = run(&["man"]);
    assert!(
        page.contains(".TH kubectl-hostup") && page.contains("approve"),
        "{page}"
    );
    let page = run(&["man", "preview"]);
    assert!(
        page.contains("max\\-per\\-hour") && page.contains("Exit status"),
        "{page}"
    );
}

#[test]
fn a_cluster_that_cannot_be_reached_is_named_with_what_to_check() {
    let output = Command::new(PLUGIN)
        .args(["status", "--kubeconfig=/nonexistent/kubeconfig"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("/nonexistent/kubeconfig") && said.contains("--context"),
        "{said}"
    );
}
