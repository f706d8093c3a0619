//! Values as files and charts give them: blanks around them, empty, or not what they should be.

use std::process::{Command, Output, Stdio};

use control_plane::{Action, Rule};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::proxied_env::ProxiedEnv;
use crate::support::{KEY, TestEnv, at, reason};

/// Every setting with a value that is good. What the flag is called follows from the variable.
const VARIABLES: [(&str, &str); 21] = [
    ("HOSTUP_URL", "https://cloud.hostup.se"),
    ("HOSTUP_PROXY", "http://proxy.example:3128"),
    ("ALLOW_PLAIN_HTTP", "true"),
    ("INSTANCE_ID", "cluster-1.eu_west"),
    ("WATCH_NAMESPACES", "shop,web-2"),
    ("MAX_PAID_CALLS", "3"),
    ("READ_ONLY", "true"),
    ("ENABLE_IN_PLACE_RESTORE", "true"),
    ("ENABLE_LEGACY_UPGRADE", "true"),
    ("SETTLE_TIME", "1h"),
    ("POLL_INTERVAL", "3s"),
    ("REQUEST_TIMEOUT", "1s"),
    ("PAID_TIMEOUT", "3m"),
    ("JOB_DEADLINE", "1h"),
    ("RESYNC_INTERVAL", "2h"),
    ("GATE_INTERVAL", "2m"),
    ("LISTEN", "127.0.0.1:9"),
    ("WORKERS", "3"),
    ("LEADER_ELECT", "false"),
    ("OPERATOR_NAMESPACE", "ops"),
    ("LOG_FORMAT", "text"),
];

fn run(args: &[String], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostup-operator"));
    command
        .args(args)
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .env("RUST_LOG", "off")
        .stdin(Stdio::null());
    command.envs(env.iter().copied()).output().unwrap()
}

/// The one line with which it ended, with exit code 2.
fn refusal(what: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{what}: {said}");
    assert_eq!(said.lines().count(), 1, "{what}: {said}");
    said
}

#[test]
fn blanks_around_a_value_are_no_part_of_it_whether_it_comes_by_flag_or_variable() {
    for (variable, value) in VARIABLES {
        let flag = format!("--{}", variable.to_lowercase().replace('_', "-"));
        for (before, after) in [("", ""), ("", "\n"), ("", "\r\n"), (" ", " "), ("\t", "\t\n")] {
            let value = format!("{before}{value}{after}");
            for (what, output) in [
                (
                    format!("{flag}={value:?}"),
                    run(&[format!("{flag}={value}")], &[]),
                ),
                (format!("{variable}={value:?}"), run(&[], &[(variable, &value)])),
            ] {
                let said = refusal(&what, &output);
                assert!(said.contains("the cluster cannot be reached"), "{what}: {said}");
            }
        }
        // Empty is not set; what is nothing but blanks is a mistake, and is not taken for either.
        let said = refusal(variable, &run(&[], &[(variable, "")]));
        assert!(
            said.contains("the cluster cannot be reached"),
            "{variable}: {said}"
        );
        for blank in [" ", "\n", "\r\n", "\t"] {
            for (what, output) in [
                (
                    format!("{flag}={blank:?}"),
                    run(&[format!("{flag}={blank}")], &[]),
                ),
                (format!("{variable}={blank:?}"), run(&[], &[(variable, blank)])),
            ] {
                let said = refusal(&what, &output);
                assert!(said.contains(&flag) && said.contains("empty"), "{what}: {said}");
            }
        }
    }
}

#[test]
fn a_log_level_that_does_not_exist_is_refused() {
    for good in ["", " ", "info\n", "\twarn,hyper_util=off\r\n", "INFO"] {
        let said = refusal(good, &run(&[], &[("RUST_LOG", good)]));
        assert!(said.contains("the cluster cannot be reached"), "{good:?}: {said}");
    }
    for bad in ["inof", "info debug", "hyper=inof", "info,hyper", "info\ndebug"] {
        let said = refusal(bad, &run(&[], &[("RUST_LOG", bad)]));
        assert!(said.contains("RUST_LOG: "), "{bad:?}: {said}");
    }
}

#[test]
fn a_file_without_certificates_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let end = "-----END CERTIFICATE-----\n";
    for path in [
        file("empty", ""),
        file("text", "no certificate"),
        file(
            "key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ),
        file("no certificate", &format!("{begin}AAAA\n{end}")),
        file("no base64", &format!("{begin}%%%%\n{end}")),
        file("cut", &format!("{begin}AAAA\n")),
        folder.path().display().to_string(),
        "/nonexistent/ca.pem".to_owned(),
    ] {
        for output in [
            run(&[format!("--hostup-ca-file={path}\n")], &[]),
            run(&[], &[("HOSTUP_CA_FILE", &path)]),
        ] {
            let said = refusal(&path, &output);
            assert!(
                said.contains("--hostup-ca-file") && said.contains(&path),
                "{said}"
            );
        }
    }
}

#[tokio::test]
async fn an_id_from_a_file_is_the_same_installation_after_a_rebuild_and_buys_nothing_twice() {
    for (before, after) in [("", "\n"), ("", "\r\n"), ("", " "), ("\t", "")] {
        let env = TestEnv::new("newline").await;
        let id = format!("{before}{}{after}", env.namespace);
        let mut operator = env.operator(&[&format!("--instance-id={id}")]);
        env.create(env.approved("web")).await;
        env.wait_for_reason("web", "Restored").await;
        let record = env.records().await.remove(0);
        assert_eq!(at(&record, "spec.claim.instanceId"), env.namespace.as_str());
        operator.kill_9();
        lose(&env, &record).await;
        let _rebuilt = env.operator(&[]);
        env.create(env.approved("web")).await;
        env.wait_for_reason("web", "AlreadyExecuted").await;
        assert_eq!((env.executed(), env.posts()), (1, 1), "{id:?}");
        env.check_invariants().await;
    }
}

/// The cluster is lost with the object and its record.
async fn lose(env: &TestEnv, record: &Value) {
    env.delete("web").await;
    let name = at(record, "metadata.name").as_str().unwrap();
    let by = DeleteParams::default();
    env.operations().delete(name, &by).await.unwrap();
}

#[tokio::test]
async fn a_record_of_an_older_version_that_took_the_newline_into_the_id_is_still_ours() {
    let env = TestEnv::new("older").await;
    let mut operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    operator.kill_9();
    let mut record = env.records().await.remove(0);
    lose(&env, &record).await;
    let name = at(&record, "metadata.name").clone();
    record["metadata"] = json!({"name": name});
    record["spec"]["claim"]["instanceId"] = json!(format!("{}\n", env.namespace));
    env.create(record.clone()).await;
    let status = json!({"status": record["status"]});
    env.operations()
        .patch_status(
            name.as_str().unwrap(),
            &PatchParams::default(),
            &Patch::Merge(&status),
        )
        .await
        .unwrap();
    let operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "AlreadyExecuted").await;
    let shown = operator.samples_with("hostup_operator_operations{state=\"Succeeded\"}", |n| {
        n == Some(1.0)
    });
    assert_eq!(shown.get("hostup_operator_paid_calls_last_24h"), Some(&1.0));
    assert_eq!((env.executed(), env.posts()), (1, 1));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_in_no_log_whatever_is_logged() {
    let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hostup-api"}, "data": data});
    for (level, answer) in [
        ("trace", secret(json!(KEY))),
        ("trace", secret(json!({"token": format!("%{KEY}")}))),
        ("info", secret(json!({"token": [KEY]}))),
        (
            "warn,kube_client=trace,kube=trace,kube_client::client=trace",
            json!(KEY),
        ),
        ("off,kube_client::client[HTTP]=trace", json!({"token": KEY})),
    ] {
        let proxied = ProxiedEnv::new("unread").await;
        let whole = |request: &control_plane::Request| request.path.contains("/secrets/");
        let rule = Rule::on("GET", whole).always();
        proxied
            .proxy
            .rule(rule.action(Action::Respond(200, answer.clone())));
        let mut operator = proxied.env.operator_with(&[], &[("RUST_LOG", level)]);
        proxied.env.create(proxied.env.preview("web")).await;
        let object = proxied.env.wait_for_reason("web", "CredentialsMissing").await;
        operator.kill_9();
        assert!(!object.to_string().contains(KEY), "{object}");
        for line in operator.log() {
            assert!(!line.contains(KEY), "{level}: {line}");
        }
        assert_eq!(reason(&object), "CredentialsMissing");
        proxied.check().await;
    }
}
