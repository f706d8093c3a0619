//! Probes, metrics and logs, as others read them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hostup_sim::{Answer, Fault, Route};
use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::support::{KEY, PATIENCE, TestEnv, at};

#[tokio::test]
async fn probes_tell_life_and_readiness() {
    let env = TestEnv::new("probes").await;
    let proxy = env.plane.proxy().unwrap();
    let through = TestEnv {
        kubeconfig: proxy.kubeconfig(&env.kubeconfig).unwrap(),
        ..env
    };
    let operator = through.operator(&[]);
    operator.wait_for_line("\"ready\"");
    assert_eq!(operator.http("/livez"), ("HTTP/1.1 200 OK".into(), "ok\n".into()));
    assert_eq!(
        operator.http("/readyz"),
        ("HTTP/1.1 200 OK".into(), "ok\n".into())
    );
    assert!(operator.http("/nothing").0.contains("404"));
    proxy.blackhole(true);
    let (status, body) = operator.http("/readyz");
    assert!(status.contains("503"), "{status}");
    assert_eq!(body, "the API server cannot be reached\n");
    assert!(operator.http("/livez").0.contains("200"));
    proxy.blackhole(false);
    assert!(operator.http("/readyz").0.contains("200"));
}

#[tokio::test]
async fn a_replica_that_does_not_lead_is_ready_and_says_that_it_does_not_lead() {
    let env = TestEnv::new("replicas").await;
    let election = format!("--operator-namespace={}", env.namespace);
    let flags = ["--leader-elect=true", election.as_str()];
    let leads = "leader_election_master_status{name=\"hostup-operator\"}";
    let first = env.operator(&flags);
    first.wait_for_line("\"leading\"");
    let second = env.operator(&flags);
    second.wait_for_line("\"ready\"");
    assert!(second.http("/readyz").0.contains("200"));
    assert_eq!(first.samples().get(leads), Some(&1.0));
    assert_eq!(second.samples().get(leads), Some(&0.0));
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

const SERIES: [&str; 15] = [
    "build_info",
    "controller_runtime_active_workers",
    "controller_runtime_reconcile_panics_total",
    "controller_runtime_reconcile_time_seconds_bucket",
    "controller_runtime_reconcile_total",
    "hostup_operator_audit_findings",
    "hostup_operator_operations",
    "hostup_operator_operations_waiting_for_a_person",
    "hostup_operator_paid_calls_last_24h",
    "hostup_operator_paid_calls_total",
    "hostup_operator_provider_request_duration_seconds_bucket",
    "hostup_operator_provider_requests_total",
    "hostup_operator_questions_total",
    "hostup_operator_spend_per_hour",
    "leader_election_master_status",
];

/// Asserts that there is no label but these, and that none names a thing of a single object.
fn assert_few_labels(env: &TestEnv, samples: &BTreeMap<String, f64>, records: &[Value]) {
    let known = [
        "class",
        "code",
        "controller",
        "currency",
        "finding",
        "host",
        "le",
        "method",
        "name",
        "namespace",
        "policy",
        "result",
        "route",
        "secret",
        "state",
        "version",
    ];
    // What waits for an approval is named: there are no more of it than objects.
    let waiting = "hostup_operator_awaiting_approval_timestamp_seconds{";
    for sample in samples.keys().filter(|sample| !sample.starts_with(waiting)) {
        let labels = sample
            .split_once('{')
            .map_or("", |(_, rest)| rest.trim_end_matches('}'));
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once('=').unwrap();
            assert!(known.contains(&name), "{sample}");
            assert!(!value.contains("vps_0") && !value.contains("job_0"), "{sample}");
            for record in records {
                let of_one = ["metadata.name", "spec.subject.name", "spec.expectedVmName"];
                assert!(
                    of_one
                        .iter()
                        .all(|path| !value.contains(at(record, path).as_str().unwrap())),
                    "{sample}"
                );
            }
        }
        assert!(!sample.contains(KEY), "{sample}");
    }
    // A handful of series, however long it runs.
    let without_buckets = samples.keys().filter(|name| !name.contains("_bucket{")).count();
    assert!(
        without_buckets < 150,
        "{without_buckets} series in {}",
        env.namespace
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_was_deleted_waits_for_no_approval() {
    let env = TestEnv::new("deletedwaits").await;
    let operator = env.operator(&[]);
    env.create(env.preview("web")).await;
    env.wait_for_reason("web", "AwaitingApproval").await;
    let waiting = "hostup_operator_awaiting_approval_timestamp_seconds{";
    let samples = operator.samples();
    let series = samples.keys().find(|sample| sample.starts_with(waiting)).unwrap();
    env.delete("web").await;
    operator.samples_with(series, |value| value.is_none());
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let env = TestEnv::new("metrics").await;
    let flags = ["--settle-time=1s"];
    let operator = env.operator(&flags);
    for name in ["bought-one", "bought-two"] {
        env.create(env.approved(name)).await;
        env.wait_for_reason(name, "Restored").await;
    }
    let post = || Fault::on(Route::RestoreToPayg).acted(false);
    env.sim
        .inject(post().answer(Answer::problem(400, "invalid_request")));
    env.create(env.approved("turned-down")).await;
    env.wait_for_reason("turned-down", "Rejected").await;
    env.sim.inject(post().answer(Answer::reset()));
    env.create(env.approved("lost-one")).await;
    env.wait_for_reason("lost-one", "OutcomeUnknown").await;
    env.create(env.preview("preview-one")).await;
    env.wait_for_reason("preview-one", "AwaitingApproval").await;

    let shown = operator.samples();
    let names: BTreeSet<&str> = shown.keys().map(|name| name.split('{').next().unwrap()).collect();
    for series in SERIES {
        let there = names.contains(series) || names.contains(format!("hostup_operator_{series}").as_str());
        assert!(there, "{series} is not in {names:?}");
    }
    let spend = format!(
        "hostup_operator_spend_per_hour{{namespace=\"{}\",currency=\"SEK\"}}",
        env.namespace
    );
    for (sample, value) in [
        ("hostup_operator_paid_calls_total{state=\"Accepted\"}", 2.0),
        ("hostup_operator_paid_calls_total{state=\"Rejected\"}", 1.0),
        ("hostup_operator_paid_calls_total{state=\"Unknown\"}", 1.0),
        ("hostup_operator_operations{state=\"Succeeded\"}", 2.0),
        ("hostup_operator_operations{state=\"Rejected\"}", 1.0),
        ("hostup_operator_operations{state=\"Unknown\"}", 1.0),
        ("hostup_operator_operations{state=\"Sending\"}", 0.0),
        ("hostup_operator_operations{state=\"NotExecuted\"}", 0.0),
        ("hostup_operator_operations_waiting_for_a_person", 1.0),
        ("hostup_operator_questions_total", 1.0),
        ("hostup_operator_paid_calls_last_24h", 3.0),
        ("hostup_operator_audit_findings{finding=\"without_record\"}", 0.0),
        ("hostup_operator_audit_findings{finding=\"twins\"}", 0.0),
        (
            "hostup_operator_provider_requests_total{route=\"restore_to_payg\",class=\"ok\"}",
            2.0,
        ),
        (
            "hostup_operator_provider_requests_total{route=\"restore_to_payg\",class=\"refused\"}",
            1.0,
        ),
        (
            "hostup_operator_provider_requests_total{route=\"restore_to_payg\",class=\"lost\"}",
            1.0,
        ),
        (spend.as_str(), 1.32),
        (
            "controller_runtime_reconcile_total{controller=\"vpsbackuprestore\",result=\"error\"}",
            0.0,
        ),
        (
            "controller_runtime_reconcile_panics_total{controller=\"vpsbackuprestore\"}",
            0.0,
        ),
        (
            "controller_runtime_reconcile_panics_total{controller=\"vpsoperation\"}",
            0.0,
        ),
        ("leader_election_master_status{name=\"hostup-operator\"}", 1.0),
    ] {
        assert_eq!(shown.get(sample), Some(&value), "{sample} in {shown:#?}");
    }
    assert_few_labels(&env, &shown, &env.records().await);
    assert!(operator.metrics().contains(env!("CARGO_PKG_VERSION")));

    // The gauges are of the ledger and survive; the counters are of the process and begin anew.
    drop(operator);
    let operator = env.operator(&flags);
    let looked = env.sim.count(Route::ListVps);
    assert!(
        env.sim
            .until(PATIENCE, move |world| world.count_answered(Route::ListVps)
                > looked)
            .await
    );
    let shown = operator.samples();
    assert_eq!(
        shown.get("hostup_operator_operations{state=\"Succeeded\"}"),
        Some(&2.0)
    );
    assert_eq!(shown.get(&spend), Some(&1.32));
    assert_eq!(shown.get("hostup_operator_paid_calls_last_24h"), Some(&3.0));
    assert_eq!(shown.get("hostup_operator_questions_total"), Some(&0.0));
    assert_eq!((env.executed(), env.posts()), (2, 4));
    assert!(env.sim.unfired().is_empty());
    env.check_invariants().await;
}

/// JSON that has no member twice; most readers would silently drop one of the two.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Strict;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
                while items.next_element::<Strict>()?.is_some() {}
                Ok(Strict)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Strict, A::Error> {
                let mut seen = BTreeSet::new();
                while let Some((name, Strict)) = members.next_entry::<String, Strict>()? {
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("{name} stands there twice")));
                    }
                }
                Ok(Strict)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[tokio::test]
async fn every_log_line_is_json_with_one_span_and_without_the_key() {
    let env = TestEnv::new("logs").await;
    let mut operator = env.operator_with(&[], &[("RUST_LOG", "trace")]);
    env.create(env.approved("web")).await;
    env.create(env.preview("plan")).await;
    env.wait_for_reason("web", "Restored").await;
    env.wait_for_reason("plan", "AwaitingApproval").await;
    operator.signal("TERM");
    assert!(operator.wait_for_end().success());
    let lines = operator.log();
    let mut kinds = BTreeSet::new();
    let mut own_lines = 0;
    for line in &lines {
        assert!(!line.contains(KEY), "{line}");
        let strict = serde_json::from_str::<Strict>(line);
        let Ok(Strict) = strict else {
            panic!("{} in {line}", strict.err().unwrap());
        };
        let read: Value = serde_json::from_str(line).unwrap();
        for member in ["timestamp", "level", "message", "target"] {
            assert!(read[member].is_string(), "no {member} in {line}");
        }
        own_lines += usize::from(read["target"].as_str().unwrap().starts_with("hostup_operator"));
        // A library may open a span of its own below ours; ours is the one with a kind.
        let span = &read["span"];
        if span["kind"].is_string() {
            kinds.insert(span["kind"].as_str().unwrap().to_owned());
            if span["kind"] == "vpsbackuprestore" {
                assert_eq!(span["namespace"], env.namespace.as_str(), "{line}");
                let name = span["object"].as_str().unwrap_or_default();
                assert!(["web", "plan"].contains(&name), "{line}");
            }
        }
    }
    assert!(own_lines > 3);
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["vpsbackuprestore", "vpsoperation"]
    );
    assert_eq!((env.executed(), env.posts()), (1, 1));
    env.check_invariants().await;
}

#[tokio::test]
async fn logs_can_be_read_as_text_too() {
    let env = TestEnv::new("text").await;
    let mut operator = env.operator_with(&["--log-format=text"], &[("RUST_LOG", "info")]);
    env.create(env.preview("web")).await;
    env.wait_for_reason("web", "AwaitingApproval").await;
    operator.signal("TERM");
    assert!(operator.wait_for_end().success());
    let lines = operator.log();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("INFO") && line.contains("serving /metrics"))
    );
    assert!(
        lines
            .iter()
            .all(|line| !line.starts_with('{') && !line.contains('\u{1b}'))
    );
    assert_eq!(env.posts(), 0);
}
