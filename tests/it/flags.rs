//! Flags and environment: refused with one clear line and exit code 2, before anything is read.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use control_plane::{ControlPlane, Options, User};
use hostup_sim::Route;
use serde_json::json;

use crate::support::{Operator, TestEnv};

const NO_CLUSTER: &str = "/nonexistent/kubeconfig";

/// The flags of the operator and their environment variables, each with a value that is wrong.
const FLAGS: [(&str, &str, Option<&str>); 21] = [
    ("--hostup-url", "HOSTUP_URL", Some("nonsense")),
    ("--hostup-proxy", "HOSTUP_PROXY", Some("proxy:3128")),
    ("--hostup-ca-file", "HOSTUP_CA_FILE", Some("/nonexistent/ca.pem")),
    ("--allow-plain-http", "ALLOW_PLAIN_HTTP", Some("perhaps")),
    ("--instance-id", "INSTANCE_ID", Some("pro d")),
    ("--watch-namespaces", "WATCH_NAMESPACES", Some("a,,b")),
    ("--max-paid-calls", "MAX_PAID_CALLS", Some("-1")),
    ("--read-only", "READ_ONLY", Some("perhaps")),
    ("--settle-time", "SETTLE_TIME", Some("5")),
    ("--poll-interval", "POLL_INTERVAL", Some("2 s")),
    ("--request-timeout", "REQUEST_TIMEOUT", Some("0s")),
    ("--paid-timeout", "PAID_TIMEOUT", Some("-1s")),
    ("--job-deadline", "JOB_DEADLINE", Some("1d")),
    ("--resync-interval", "RESYNC_INTERVAL", Some("soon")),
    ("--gate-interval", "GATE_INTERVAL", Some("1.5s")),
    ("--listen", "LISTEN", Some("8080")),
    ("--workers", "WORKERS", Some("0")),
    ("--leader-elect", "LEADER_ELECT", Some("perhaps")),
    ("--operator-namespace", "OPERATOR_NAMESPACE", Some("Ops")),
    ("--log-format", "LOG_FORMAT", Some("xml")),
    ("--help", "", None),
];

async fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostup-operator"));
    command
        .args(args)
        .env("KUBECONFIG", NO_CLUSTER)
        .env("RUST_LOG", "off")
        .stdin(Stdio::null());
    command.envs(env.iter().copied());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code 2, nothing on standard output, and a first line that holds all of `says`.
fn assert_refused(what: &str, output: &Output, says: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{what}: {error}");
    assert_eq!(error.lines().count(), 1, "{what}: {error}");
    assert!(output.stdout.is_empty(), "{what}: {}", text(&output.stdout));
    let first = error.lines().next().unwrap_or_default();
    for part in says {
        assert!(first.contains(part), "{what}: {part:?} is not in {first:?}");
    }
    assert!(!error.contains("panicked"), "{what}: {error}");
}

#[tokio::test]
async fn wrong_flags_are_refused_with_a_line_that_says_what_to_do() {
    let plain = "plain http would send the API key unencrypted; use https, or --allow-plain-http";
    let origin = "it must be an origin without a path, like https://cloud.hostup.se";
    let duration = "write it like 500ms, 5s, 15m or 1h";
    let rows: Vec<(Vec<&str>, Vec<&str>)> = vec![
        (
            vec!["--hostup-ur1=x"],
            vec!["unexpected argument", "--hostup-ur1"],
        ),
        (vec!["walk"], vec!["walk"]),
        (vec!["run", "extra"], vec!["extra"]),
        (vec!["--settle-time=5"], vec!["--settle-time", duration]),
        (vec!["--poll-interval=0s"], vec!["--poll-interval", duration]),
        (vec!["--job-deadline=1d"], vec!["--job-deadline", duration]),
        (
            vec!["--hostup-url=nonsense"],
            vec!["--hostup-url", "write it like https://cloud.hostup.se"],
        ),
        (
            vec!["--hostup-url=ftp://127.0.0.1"],
            vec!["--hostup-url", "the scheme must be https"],
        ),
        (
            vec!["--hostup-url=http://cloud.hostup.se"],
            vec!["--hostup-url", plain],
        ),
        (
            vec!["--hostup-url=http://10.0.0.1:80"],
            vec!["--hostup-url", plain],
        ),
        (
            vec!["--hostup-url=https://cloud.hostup.se/api"],
            vec!["--hostup-url", origin],
        ),
        (
            vec!["--hostup-url=https://cloud.hostup.se/?a=b"],
            vec!["--hostup-url", origin],
        ),
        (
            vec!["--hostup-url=https://me:geheim@cloud.hostup.se"],
            vec!["--hostup-url", "it must not contain a user or a password"],
        ),
        (vec!["--max-paid-calls=many"], vec!["--max-paid-calls"]),
        (vec!["--workers=0"], vec!["--workers", "from 1 to 256"]),
        (vec!["--read-only=perhaps"], vec!["--read-only", "perhaps"]),
        (vec!["--log-format=xml"], vec!["--log-format", "xml"]),
        (vec!["--listen=8080"], vec!["--listen"]),
        (
            vec!["--request-timeout=30s", "--paid-timeout=30s"],
            vec!["--paid-timeout must be longer than --request-timeout"],
        ),
        (
            vec!["--watch-namespaces=a,,b"],
            vec!["--watch-namespaces", "empty; omit the flag"],
        ),
        (
            vec!["--hostup-url=http://127.0.0.1:1"],
            vec!["the cluster cannot be reached", "check KUBECONFIG"],
        ),
        (
            vec!["--hostup-url=http://cloud.hostup.se", "--allow-plain-http"],
            vec!["the cluster cannot be reached", "check KUBECONFIG"],
        ),
    ];
    for (args, says) in &rows {
        let output = run(args, &[]).await;
        assert_refused(&args.join(" "), &output, says);
        assert!(!text(&output.stderr).contains("geheim"), "a password was printed");
    }
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage");
    std::fs::write(&garbage, "{{{").unwrap();
    for path in [Path::new(NO_CLUSTER), &garbage, folder.path()] {
        let output = run(&[], &[("KUBECONFIG", path.to_str().unwrap())]).await;
        let says = ["the cluster cannot be reached", "check KUBECONFIG"];
        assert_refused(&path.display().to_string(), &output, &says);
        assert_eq!(
            text(&output.stderr).lines().count(),
            1,
            "{}",
            text(&output.stderr)
        );
    }
}

#[tokio::test]
async fn help_names_every_flag_and_each_has_its_variable() {
    for args in [vec!["--help"], vec!["run", "--help"]] {
        let output = run(&args, &[]).await;
        assert!(output.status.success());
        let help = text(&output.stdout);
        for (flag, variable, _) in FLAGS {
            assert!(help.contains(flag), "{flag} is not in {help}");
            let shown = variable.is_empty() || help.contains(&format!("[env: {variable}="));
            assert!(shown, "{variable} is not in {help}");
        }
    }
    let help = text(&run(&["--help"], &[]).await.stdout);
    for command in ["run", "crds"] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command} is not in {help}"
        );
    }
    for (flag, default) in [
        ("--hostup-url", "https://cloud.hostup.se"),
        ("--max-paid-calls", "20"),
        ("--settle-time", "15m"),
        ("--poll-interval", "2s"),
        ("--request-timeout", "30s"),
        ("--paid-timeout", "120s"),
        ("--job-deadline", "6h"),
        ("--resync-interval", "1h"),
        ("--gate-interval", "1m"),
        ("--listen", "[::]:8080"),
        ("--workers", "8"),
        ("--leader-elect", "true"),
        ("--log-format", "json"),
    ] {
        let of_flag = help.split(flag).nth(1).unwrap();
        assert!(
            of_flag.contains(&format!("[default: {default}]")),
            "{flag}: {of_flag}"
        );
        let next = of_flag.find("\n      --").unwrap_or(of_flag.len());
        assert!(
            of_flag[..next].contains(&format!("[default: {default}]")),
            "{flag}: {help}"
        );
    }
}

#[tokio::test]
async fn a_wrong_variable_is_refused_as_its_flag_is() {
    let rows = FLAGS
        .iter()
        .filter_map(|(flag, variable, wrong)| Some((flag, variable, (*wrong)?)));
    for (flag, variable, wrong) in rows {
        let output = run(&[], &[(*variable, wrong)]).await;
        assert_refused(variable, &output, &[*flag]);
    }
}

#[tokio::test]
async fn a_flag_before_the_subcommand_is_not_dropped() {
    for flag in [
        "--read-only",
        "--read-only=true",
        "--max-paid-calls=1",
        "--instance-id=x",
    ] {
        for command in ["run", "crds"] {
            let output = run(&[flag, command], &[]).await;
            let name = flag.split('=').next().unwrap();
            assert_refused(&format!("{flag} {command}"), &output, &[name]);
        }
    }
    // Variables count for the subcommand too, and get as far as the cluster.
    let output = run(&["run"], &[("READ_ONLY", "true"), ("MAX_PAID_CALLS", "3")]).await;
    assert_refused("READ_ONLY run", &output, &["the cluster cannot be reached"]);
    let output = run(&["run"], &[("MAX_PAID_CALLS", "many")]).await;
    assert_refused("MAX_PAID_CALLS run", &output, &["--max-paid-calls"]);
}

#[tokio::test]
async fn a_variable_brakes_as_its_flag_does() {
    let env = TestEnv::new("variable").await;
    let _operator = env.operator_with(&[], &[("READ_ONLY", "true")]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "ReadOnly").await;
    assert_eq!(env.posts(), 0);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let env = TestEnv::new("port").await;
    env.create(env.approved("web")).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--listen={}", taken.local_addr().unwrap());
    let mut operator = env.operator_with(&[&listen], &[("RUST_LOG", "off")]);
    assert_eq!(operator.wait_for_end().code(), Some(2));
    let lines = operator.log();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let address = taken.local_addr().unwrap();
    assert!(lines[0].contains(&format!("--listen {address}")), "{lines:?}");
    assert!(lines[0].contains("choose another address"), "{lines:?}");
    assert_eq!(env.sim.count(Route::Any), 0);
}

#[tokio::test]
async fn missing_rights_are_named_at_once() {
    let mut env = TestEnv::new("rights").await;
    env.create(env.approved("web")).await;
    env.create(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "nobody", "namespace": env.namespace},
    }))
    .await;
    let nobody = env.plane.service_account_kubeconfig(&env.namespace, "nobody");
    env.kubeconfig = nobody.unwrap();
    let mut operator = env.operator_with(&[], &[("RUST_LOG", "off")]);
    assert_eq!(operator.wait_for_end().code(), Some(2));
    let lines = operator.log();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("lacks rights") && lines[0].contains("apply deploy/rbac.yaml"),
        "{lines:?}"
    );
    assert_eq!(env.sim.count(Route::Any), 0);
}

#[tokio::test]
async fn version_is_printed() {
    let output = run(&["--version"], &[]).await;
    assert!(output.status.success());
    assert_eq!(
        text(&output.stdout),
        format!("hostup-operator {}\n", env!("CARGO_PKG_VERSION"))
    );
}

fn start(plane: &ControlPlane) -> Operator {
    let kubeconfig = plane.kubeconfig(User::Admin);
    Operator::start(&kubeconfig, &["--hostup-url=http://127.0.0.1:1".to_owned()], &[])
}

#[tokio::test]
async fn without_crds_it_waits_unready_then_says_how_to_install_them() {
    let plane = tokio::task::spawn_blocking(|| {
        // An error means that another test has installed it.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        ControlPlane::start(Options::default()).unwrap()
    });
    let plane = plane.await.unwrap();
    let late = tokio::task::spawn_blocking(move || {
        let mut gives_up = start(&plane);
        assert!(gives_up.http("/livez").0.contains("200"));
        let (status, body) = gives_up.http("/readyz");
        assert!(status.contains("503"), "{status}");
        assert_eq!(body, "the operator has not found the CRDs yet\n");
        assert_eq!(gives_up.wait_for_end().code(), Some(2));
        let lines = gives_up.log();
        let last = lines.last().unwrap();
        let command = "hostup-operator crds | kubectl apply --server-side -f -";
        assert!(
            last.contains("the CRDs are not installed") && last.contains(command),
            "{last}"
        );

        // One that is started before the CRDs are there goes on once they are, as printed.
        let waits = start(&plane);
        waits.wait_for_line("serving /metrics");
        let crds = Command::new(env!("CARGO_BIN_EXE_hostup-operator"))
            .arg("crds")
            .output()
            .unwrap();
        assert!(crds.status.success() && crds.stderr.is_empty());
        let applied = plane.apply(&text(&crds.stdout)).unwrap();
        assert_eq!(applied.lines().count(), 4, "{applied}");
        waits.wait_for_line("\"ready\"");
        assert!(waits.http("/readyz").0.contains("200"));
        plane
    });
    let plane = late.await.unwrap();
    let names = plane.kubectl_ok(&["get", "crd", "-o", "name"]).unwrap();
    assert_eq!(names.lines().count(), 4, "{names}");
}
