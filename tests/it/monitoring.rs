//! What Prometheus and Grafana are given names what the binary really shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use control_plane::{Action, Gate, Rule};
use hostup_operator::domain::ledger::record::State;
use hostup_sim::{Answer, Fault, Outcome, RateLimit, RestoreBehaviour, Route};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::budgets;
use crate::support::chart::render;
use crate::support::proxied_env::{OPERATIONS, ProxiedEnv};
use crate::support::{HOUR, PATIENCE, TestEnv, at};

const ALERTS: &str = "charts/hostup-operator/files/alerts.yaml";
const DASHBOARD: &str = "charts/hostup-operator/files/dashboard.json";

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), name].iter().collect()
}

fn document(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&document(name)).unwrap()
}

fn members<'a>(value: &'a Value, path: &str) -> &'a Vec<Value> {
    at(value, path)
        .as_array()
        .unwrap_or_else(|| panic!("no list {path}"))
}

/// Every alert.
fn alerts() -> Vec<Value> {
    let file = yaml(ALERTS);
    let groups = members(&file, "groups").iter();
    groups.flat_map(|group| members(group, "rules").clone()).collect()
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path)
        .as_str()
        .unwrap_or_else(|| panic!("no text {path} in {value}"))
}

/// Every query of the dashboard: its panel, the query, and the labels that its legend names.
fn queries() -> Vec<(String, String, Vec<String>)> {
    let file: Value = serde_json::from_str(&document(DASHBOARD)).unwrap();
    let mut found = Vec::new();
    for panel in members(&file, "panels")
        .iter()
        .filter(|panel| panel["type"] != "row")
    {
        for target in members(panel, "targets") {
            let legend = text(target, "legendFormat").split("{{").skip(1);
            let labels = legend.map(|rest| rest.split("}}").next().unwrap().to_owned());
            found.push((
                text(panel, "title").to_owned(),
                text(target, "expr").to_owned(),
                labels.collect(),
            ));
        }
    }
    found
}

/// What promtool says, with this on its standard input.
fn promtool(args: &[&str], input: &str) -> Result<String, String> {
    let found = Command::new("bash")
        .arg(path("tests/alerts/promtool.sh"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(found.status.success(), "promtool cannot be had");
    let program = String::from_utf8(found.stdout).unwrap();
    let mut child = Command::new(program.trim())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    let said = said.concat();
    if output.status.success() {
        Ok(said)
    } else {
        Err(said)
    }
}

/// The metrics of an operator that has restored, changed options, lost answers and been refused.
async fn a_whole_life() -> String {
    let env = budgets::env("monitoring").await;
    let limits = json!({"perHour": "100", "perMonth": "1000", "dueNow": {"amount": "1000", "window": "7d"}});
    env.create(budgets::budget(&env, "team", limits)).await;
    env.sim.world(|world| {
        world.account_mut(env.account).rate_limit = Some(RateLimit {
            requests: 1_000_000,
            window: HOUR,
        });
    });
    let operator = env.operator(&["--max-paid-calls=20", "--settle-time=1s"]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    let options = json!({"bandwidthGb": 4096});
    env.create(env.approved_config("options", options.clone())).await;
    env.config_comes_to("options", "InSync").await;

    let lose = |route| {
        let lost = Fault::on(route).acted(false).answer(Answer::reset());
        env.sim.inject(lost);
    };
    lose(Route::RestoreToPayg);
    env.create(env.approved("lost")).await;
    env.wait_for_reason("lost", "OutcomeUnknown").await;
    lose(Route::ConfigCommit);
    let other = format!("{}_lost", env.vps);
    env.add_vps(&other);
    let mut lost = env.approved_config("lost", options);
    lost["spec"]["vpsId"] = json!(other);
    env.create(lost).await;
    env.config_comes_to("lost", "OutcomeUnknown").await;
    env.sim.world(|world| {
        world.restore_next(RestoreBehaviour {
            job_duration: HOUR,
            ..RestoreBehaviour::default()
        });
    });
    env.create(env.approved("long")).await;
    env.wait_for_reason("long", "JobRunning").await;

    for (name, status, reason) in [
        ("forbidden", 403, "Unauthorized"),
        ("unauthorized", 401, "Unauthorized"),
        ("internal_error", 503, "ProviderUnavailable"),
    ] {
        let customer = env.customer(&name.replace('_', "-")).await;
        let refused = customer.fault(Route::ListBackups).always();
        env.sim.inject(refused.answer(Answer::problem(status, name)));
        env.create(customer.restore(&env)).await;
        env.wait_for_reason(&customer.name, reason).await;
    }

    env.create(env.preview("plan")).await;
    env.wait_for_reason("plan", "AwaitingApproval").await;

    let shown = operator.metrics();
    assert!(env.sim.unfired().is_empty(), "{:?}", env.sim.unfired());
    env.check_invariants().await;
    shown
}

async fn scraped() -> &'static str {
    static LIFE: OnceCell<String> = OnceCell::const_new();
    LIFE.get_or_init(a_whole_life).await
}

/// The values of each label, by the name of the sample and of the label.
type Shown = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn shown(scrape: &str) -> Shown {
    let mut shown = Shown::new();
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        let sample = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let of_sample = shown.entry(name.to_owned()).or_default();
        for label in labels
            .trim_end_matches('}')
            .split("\",")
            .filter(|label| !label.is_empty())
        {
            let (label, value) = label.split_once("=\"").unwrap();
            let value = value.trim_end_matches('"').to_owned();
            of_sample.entry(label.to_owned()).or_default().insert(value);
        }
    }
    shown
}

/// What Prometheus itself adds to every sample that it scrapes from a pod.
const OF_TARGETS: [&str; 4] = ["instance", "job", "namespace", "pod"];
/// Words of PromQL that name no series where no bracket follows.
const WORDS: [&str; 10] = [
    "and", "by", "count", "max", "min", "on", "or", "sum", "unless", "without",
];

/// What a PromQL expression names.
#[derive(Debug, Default, PartialEq)]
struct Named {
    /// Each series, with the labels that it is chosen by and their values.
    series: Vec<(String, Vec<(String, String)>)>,
    /// Labels that are kept, or joined by.
    grouped_by: BTreeSet<String>,
}

fn named(expr: &str) -> Named {
    let mut named = Named::default();
    let mut rest = expr;
    let mut words: Vec<&str> = Vec::new();
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    while let Some(first) = rest.chars().next() {
        if first == '[' {
            rest = rest.split_once(']').unwrap().1;
        } else if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| in_name(c) || c == '.');
        } else if in_name(first) {
            let word = rest.split(|c| !in_name(c)).next().unwrap();
            rest = rest[word.len()..].trim_start();
            if ["by", "on", "without"].contains(&word) {
                let (list, after) = rest.trim_start_matches('(').split_once(')').unwrap();
                let labels = list
                    .split(',')
                    .map(|label| label.trim().to_owned())
                    .filter(|label| !label.is_empty());
                named.grouped_by.extend(labels);
                rest = after;
            } else if let Some(matchers) = rest.strip_prefix('{') {
                let (matchers, after) = matchers.split_once('}').unwrap();
                let read = |matcher: &str| {
                    let (label, value) = matcher.split_once('"').unwrap();
                    let label = label.trim().trim_end_matches(['=', '~', '!']);
                    (label.to_owned(), value.to_owned())
                };
                let matchers = matchers.split("\",").map(|one| one.trim_end_matches('"'));
                named
                    .series
                    .push((word.to_owned(), matchers.map(|one| read(one.trim())).collect()));
                rest = after;
            } else if !rest.starts_with('(') && !WORDS.contains(&word) {
                named.series.push((word.to_owned(), Vec::new()));
            }
            words.push(word);
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    named
}

#[test]
fn an_expression_is_taken_apart_into_series_labels_and_groups() {
    let expr = "time() - min by (a, b) (one{c=\"d\", e=~\"f|g\"}[5m]) > 0.5 and on (h) two unless three[1d]";
    let owned = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>()
    };
    let expected = Named {
        series: vec![
            ("one".to_owned(), owned(&[("c", "d"), ("e", "f|g")])),
            ("two".to_owned(), vec![]),
            ("three".to_owned(), vec![]),
        ],
        grouped_by: ["a", "b", "h"].map(str::to_owned).into(),
    };
    assert_eq!(named(expr), expected);
}

#[tokio::test]
async fn every_series_label_and_value_that_alerts_and_dashboard_name_is_shown_by_the_binary() {
    let shown = shown(scraped().await);
    let mut exprs: Vec<(String, String, Vec<String>)> = alerts()
        .iter()
        .map(|alert| {
            (
                text(alert, "alert").to_owned(),
                text(alert, "expr").to_owned(),
                vec![],
            )
        })
        .collect();
    let of_dashboard = queries();
    assert!(
        exprs.len() > 10 && of_dashboard.len() > 20,
        "{} alerts, {} queries",
        exprs.len(),
        of_dashboard.len()
    );
    exprs.extend(of_dashboard);
    let file: Value = serde_json::from_str(&document(DASHBOARD)).unwrap();
    let variable = members(&file, "templating.list")
        .iter()
        .find(|own| own["name"] == "namespace");
    let asked = text(variable.unwrap(), "query.query");
    let asked = asked
        .strip_prefix("query_result(")
        .and_then(|asked| asked.strip_suffix(')'));
    exprs.push(("variable".to_owned(), asked.unwrap().to_owned(), vec![]));
    // A connection that is refused comes about only between a claim and its call, and a record is Sending for a
    // moment.
    let unseen = [("class", "not_sent"), ("state", State::Sending.as_str())];
    for (of, expr, legend) in exprs {
        let Named { series, grouped_by } = named(&expr);
        assert!(!series.is_empty(), "{of}: {expr}");
        let mut labels: BTreeSet<&str> = OF_TARGETS.into();
        for (name, matchers) in &series {
            let there = shown
                .get(name)
                .unwrap_or_else(|| panic!("{of}: {name} is not shown"));
            labels.extend(there.keys().map(String::as_str));
            for (label, wanted) in matchers {
                assert!(there.contains_key(label), "{of}: {name} has no label {label}");
                for value in wanted.split('|').filter(|value| *value != "$namespace") {
                    let known = there[label].contains(value) || unseen.contains(&(label.as_str(), value));
                    assert!(known, "{of}: no {label} of {name} is ever {value}");
                }
            }
        }
        for label in &grouped_by {
            assert!(
                labels.contains(label.as_str()),
                "{of}: nothing in {expr} has the label {label}"
            );
        }
        for label in legend {
            let kept =
                grouped_by.contains(&label) || (grouped_by.is_empty() && labels.contains(label.as_str()));
            assert!(kept, "{of}: the legend's {label} is not in {expr}");
        }
    }
}

#[test]
fn every_query_is_promql() {
    let in_range = |expr: &str| {
        expr.replace("$__rate_interval", "5m")
            .replace("$__range", "1h")
            .replace("$namespace", ".*")
    };
    let rules: Vec<Value> = queries()
        .iter()
        .enumerate()
        .map(|(n, (_, expr, _))| json!({"record": format!("query:{n}"), "expr": in_range(expr)}))
        .collect();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let group = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(file.path(), group.to_string()).unwrap();
    let checked = promtool(&["check", "rules", file.path().to_str().unwrap()], "");
    assert!(checked.is_ok(), "{checked:?}");
}

#[tokio::test]
async fn promtool_finds_nothing_to_say_about_the_metrics() {
    let said = promtool(&["check", "metrics"], scraped().await);
    assert_eq!(said, Ok(String::new()));
}

#[test]
fn every_alert_says_what_happened_what_to_do_and_where_to_read_on() {
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert, "alert");
        assert!(names.insert(name.to_owned()), "{name} stands there twice");
        assert!(
            ["critical", "warning"].contains(&text(&alert, "labels.severity")),
            "{name}"
        );
        assert!(!text(&alert, "annotations.summary").contains("{{"), "{name}");
        assert!(text(&alert, "annotations.description").len() > 100, "{name}");
        let page = text(&alert, "annotations.runbook_url");
        let page = page.split("/blob/main/").nth(1).unwrap();
        let page = page.split('#').next().unwrap();
        assert!(path(page).is_file(), "{name}: there is no {page}");
    }
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let file = yaml("tests/alerts/alerts_test.yaml");
    let mut fires: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for case in members(&file, "tests") {
        for tried in members(case, "alert_rule_test") {
            let [fired, quiet] = fires.entry(text(tried, "alertname").to_owned()).or_default();
            if members(tried, "exp_alerts").is_empty() {
                // Where everything is well nothing fires; that alone shows little.
                *quiet += usize::from(!text(case, "name").contains("healthy"));
            } else {
                *fired += 1;
            }
        }
    }
    for alert in alerts() {
        let name = text(&alert, "alert");
        let tried = fires.remove(name).unwrap_or_default();
        assert!(tried.iter().all(|cases| *cases > 0), "{name}: {tried:?}");
    }
    assert!(fires.is_empty(), "tried, and no alert: {fires:?}");
}

/// The rows of the tables under a heading, cell by cell.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let section = document.split("\n## ").find(|part| part.starts_with(heading));
    let rows = section.unwrap().lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells = row.trim_matches('|').split(" | ");
        cells
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    })
    .collect()
}

#[tokio::test]
async fn the_page_on_monitoring_describes_every_series_as_the_binary_does() {
    let scrape = scraped().await;
    let samples = shown(scrape);
    let mut described: BTreeMap<&str, [&str; 2]> = BTreeMap::new();
    for line in scrape.lines() {
        for (n, what) in ["# TYPE ", "# HELP "].into_iter().enumerate() {
            if let Some((name, said)) = line.strip_prefix(what).and_then(|line| line.split_once(' ')) {
                described.entry(name).or_default()[n] = said.trim_end_matches('.');
            }
        }
    }
    assert!(described.len() > 25, "{described:?}");
    let expected: Vec<Vec<String>> = described
        .into_iter()
        .map(|(name, [kind, help])| {
            let sample = if kind == "histogram" {
                format!("{name}_count")
            } else {
                name.to_owned()
            };
            let labels = samples
                .get(&sample)
                .unwrap_or_else(|| panic!("no sample of {name}"));
            let labels: Vec<&str> = labels.keys().map(String::as_str).collect();
            [name, kind, &labels.join("`, `"), help].map(str::to_owned).into()
        })
        .collect();
    let mut written = table(&document("docs/monitoring.md"), "Series");
    written.sort();
    let row = |cells: &Vec<String>| {
        let labels = format!("`{}`", cells[2]).replace("``", "");
        format!("| `{}` | {} | {labels} | {} |", cells[0], cells[1], cells[3])
    };
    let should = expected.iter().map(row).collect::<Vec<_>>().join("\n");
    assert!(
        written == expected,
        "docs/monitoring.md should have these rows under Series:\n{should}"
    );
}

#[test]
fn the_page_on_monitoring_lists_every_alert() {
    let expected: Vec<Vec<String>> = alerts()
        .iter()
        .map(|alert| {
            let cells = ["alert", "labels.severity", "annotations.summary"];
            cells.map(|cell| text(alert, cell).to_owned()).into()
        })
        .collect();
    let mut written = table(&document("docs/monitoring.md"), "Alerts");
    for row in &mut written {
        assert!(row[3].len() > 10, "{} does not say what to do", row[0]);
        row.truncate(3);
    }
    assert_eq!(written, expected);
}

#[test]
fn the_chart_renders_the_alerts_and_the_dashboard_as_they_are() {
    let objects = render(&[
        "--set=prometheusRule.enabled=true,prometheusRule.additionalLabels.release=prometheus",
        "--set=serviceMonitor.enabled=true",
        "--set=grafanaDashboard.enabled=true,grafanaDashboard.annotations.grafana_folder=Operators",
    ]);
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
    let rule = of_kind("PrometheusRule");
    assert_eq!(rule["spec"], yaml(ALERTS));
    assert_eq!(at(rule, "metadata.labels.release"), "prometheus");
    let map = of_kind("ConfigMap");
    assert_eq!(at(map, "metadata.labels.grafana_dashboard"), "1");
    assert_eq!(at(map, "metadata.annotations.grafana_folder"), "Operators");
    assert_eq!(map["data"]["hostup-operator.json"], document(DASHBOARD));
    // Both queries and alerts tell the namespaces of the objects from that of the pod.
    let monitor = &of_kind("ServiceMonitor")["spec"]["endpoints"][0];
    assert_eq!(monitor["honorLabels"], true);
    let by_pods = render(&["--set=podMonitor.enabled=true"]);
    let monitor = by_pods.iter().find(|object| object["kind"] == "PodMonitor");
    assert_eq!(
        monitor.unwrap()["spec"]["podMetricsEndpoints"][0]["honorLabels"],
        true
    );
    for kind in ["PrometheusRule", "ConfigMap"] {
        assert!(render(&[]).iter().all(|object| object["kind"] != kind), "{kind}");
    }
}

#[tokio::test]
async fn open_and_left_money_is_shown_until_it_is_settled() {
    let env = TestEnv::new("open").await;
    let operator = env.operator(&["--settle-time=1s"]);
    let of_env = |series: &str| {
        format!(
            "hostup_operator_{series}{{namespace=\"{}\",currency=\"SEK\"}}",
            env.namespace
        )
    };
    let (open, spent) = (of_env("approved_per_hour"), of_env("spend_per_hour"));
    let left = "hostup_operator_vms_left_billing".to_owned();
    let oldest = |state| format!("hostup_operator_oldest_operation_timestamp_seconds{{state=\"{state}\"}}");
    operator.wait_for_line("\"ready\"");
    for (job_duration, outcome) in [(HOUR, Outcome::Completes), (Duration::ZERO, Outcome::FailsWithVm)] {
        env.sim.world(|world| {
            world.restore_next(RestoreBehaviour {
                job_duration,
                outcome,
                ..RestoreBehaviour::default()
            });
        });
    }
    env.create(env.approved("long")).await;
    let object = env.wait_for_reason("long", "JobRunning").await;
    let name = at(&object, "status.operation.name").as_str().unwrap();
    let record = env.operations().get(name).await.unwrap();
    let made_at: Timestamp = text(&record.data, "spec.claim.madeAt").parse().unwrap();
    let samples = operator.samples_with(&oldest("Accepted"), |value| value.is_some());
    assert_eq!(samples.get(&open), Some(&0.66));
    assert_eq!(samples.get(&spent), None);
    let since = samples[&oldest("Accepted")];
    assert_eq!(since, f64::from(u32::try_from(made_at.as_second()).unwrap()));
    assert_eq!(samples.get(&oldest("Unknown")), None);
    assert_eq!(samples.get(&left), Some(&0.0));
    assert_eq!(
        samples.get("hostup_operator_max_paid_calls"),
        None,
        "there is no cap"
    );

    env.create(env.approved("left")).await;
    env.wait_for_reason("left", "VpsLeftBilling").await;
    let samples = operator.samples_with(&left, |value| value == Some(1.0));
    assert_eq!(samples.get(&open), Some(&0.66));
    assert_eq!(samples.get(&spent), Some(&0.66));

    env.sim.world(|world| world.advance(HOUR));
    env.wait_for_reason("long", "Restored").await;
    let samples = operator.samples_with(&open, |value| value.is_none());
    assert_eq!(samples.get(&spent), Some(&1.32));
    assert_eq!(samples.get(&oldest("Accepted")), None);
    env.check_invariants().await;
}

#[tokio::test]
async fn a_start_does_not_look_as_if_nothing_had_been_bought() {
    let proxied = ProxiedEnv::new("start").await;
    let listed = Gate::new();
    let lists = Rule::on("GET", |request| request.path == OPERATIONS && request.is_watch());
    proxied
        .proxy
        .rule(lists.action(Action::HoldBefore(listed.clone())));
    let operator = proxied.env.operator(&["--max-paid-calls=7"]);
    listed.wait_held(PATIENCE).unwrap();
    let early = operator.samples();
    let of_ledger = |sample: &&String| {
        [
            "operations",
            "vms_left",
            "spend_",
            "approved_",
            "paid_calls_last",
            "max_paid",
        ]
        .iter()
        .any(|part| sample.contains(part))
    };
    assert_eq!(early.keys().find(of_ledger), None);
    listed.release();
    proxied.env.create(proxied.env.approved("web")).await;
    proxied.env.wait_for_reason("web", "Restored").await;
    let succeeded = "hostup_operator_operations{state=\"Succeeded\"}";
    let samples = operator.samples_with(succeeded, |value| value == Some(1.0));
    assert_eq!(samples.get("hostup_operator_max_paid_calls"), Some(&7.0));
    proxied.check().await;
}

#[tokio::test]
async fn what_hostup_says_of_its_rate_limit_is_shown_by_secret() {
    let env = TestEnv::new("budget").await;
    let of_key = |series: &str| {
        format!(
            "hostup_operator_provider_ratelimit_{series}{{namespace=\"{}\",secret=\"hostup-api\"}}",
            env.namespace
        )
    };
    let (left, waited) = (of_key("remaining"), of_key("wait_seconds_total"));
    // So that each object reads once, and none is served by what another has read.
    let operator = env.operator(&["--resync-interval=1h", "--gate-interval=1ms"]);
    env.create(env.preview("unlimited")).await;
    env.wait_for_reason("unlimited", "AwaitingApproval").await;
    let samples = operator.samples();
    assert_eq!(samples.get(&left), None, "HostUp said nothing");
    assert_eq!(samples.get(&waited), Some(&0.0));

    env.sim.world(|world| {
        world.account_mut(env.account).rate_limit = Some(RateLimit {
            requests: 1000,
            window: HOUR,
        });
    });
    env.create(env.preview("limited")).await;
    env.wait_for_reason("limited", "AwaitingApproval").await;
    let samples = operator.samples();
    let (calls, budget) = (env.sim.requests().len(), samples[&left]);
    assert!(
        budget < 1000.0 && budget > 1000.0 - calls as f64 - 1.0,
        "{budget} left"
    );
    assert_eq!(samples.get(&waited), Some(&0.0));

    let too_many = Answer::rate_limited(hostup_sim::RateLimitStyle::Exceeded).retry_after("600");
    env.sim.inject(Fault::on(Route::ListBackups).answer(too_many));
    env.create(env.preview("turned-away")).await;
    env.wait_for_reason("turned-away", "RateLimited").await;
    let samples = operator.samples();
    assert_eq!(samples.get(&left), Some(&0.0));
    assert_eq!(samples.get(&waited), Some(&600.0), "once, whoever waits");
    env.check_invariants().await;
}

#[tokio::test]
async fn both_formats_are_served_and_say_the_same() {
    let env = TestEnv::new("formats").await;
    let operator = env.operator(&[]);
    // Once the ledger is read.
    operator.samples_with("hostup_operator_vms_left_billing", |value| value.is_some());
    let older = operator.http("/metrics").1;
    let newer = operator
        .http_as("/metrics", "application/openmetrics-text;version=1.0.0,*/*")
        .1;
    assert!(newer.ends_with("\n# EOF\n"), "{newer}");
    assert!(!older.contains("# EOF"), "{older}");
    assert!(
        newer.contains("# TYPE hostup_operator_questions counter"),
        "{newer}"
    );
    assert!(
        older.contains("# TYPE hostup_operator_questions_total counter"),
        "{older}"
    );
    // Series only come to those of the scrape before.
    let names = |text: &str| shown(text).into_keys().collect::<BTreeSet<_>>();
    let gone: Vec<String> = names(&older).difference(&names(&newer)).cloned().collect();
    assert!(gone.is_empty() && names(&older).len() > 10, "{gone:?} in {newer}");
}

#[tokio::test]
async fn calls_to_the_api_server_failures_and_places_for_reconciles_are_counted() {
    let proxied = ProxiedEnv::new("client").await;
    let env = &proxied.env;
    let also = TestEnv::new("also-watched").await;
    let cut = Rule::on("GET", |request| request.path.ends_with("/vpsbackuprestores/web"));
    proxied.proxy.rule(cut.action(Action::CutBefore));
    let two = format!("--watch-namespaces={},{}", env.namespace, also.namespace);
    let operator = env.operator(&[&two, "--workers=3"]);
    env.create(env.approved("web")).await;
    env.wait_for_reason("web", "Restored").await;
    let samples = operator.samples();
    let calls = |code: &str, method: &str| {
        let labels =
            format!("rest_client_requests_total{{code=\"{code}\",method=\"{method}\",host=\"127.0.0.1:");
        let of_call = samples.iter().filter(|(name, _)| name.starts_with(&labels));
        of_call.map(|(_, count)| *count).sum::<f64>()
    };
    assert!(calls("<error>", "GET") >= 1.0, "{samples:#?}");
    assert!(
        calls("201", "POST") >= 1.0 && calls("200", "PUT") >= 2.0 && calls("200", "GET") > 5.0,
        "{samples:#?}"
    );
    let failed = "controller_runtime_reconcile_errors_total{controller=\"vpsbackuprestore\"}";
    assert!(samples[failed] >= 1.0, "{samples:#?}");
    for (controller, places) in [
        ("vpsbackuprestore", 6.0),
        ("vpsresourceconfig", 6.0),
        ("vpsoperation", 3.0),
    ] {
        let series = format!("controller_runtime_max_concurrent_reconciles{{controller=\"{controller}\"}}");
        assert_eq!(samples.get(&series), Some(&places));
    }
    proxied.check().await;
}
