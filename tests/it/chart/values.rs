//! Every value of the chart with null, with nothing, with another type and out of its range: either it is rendered
//! so that the program takes it, or it is refused with a line that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::CommandFactory;
use hostup_operator::args::Args;
use serde_json::{Value, json};

use super::container;
use crate::support::at;
use crate::support::chart::{CHART, documents, kustomized, program_takes, render, try_text};

/// Everything that can be switched on together is on.
fn everything() -> Value {
    json!({
        "replicas": 3, "openshift": true, "watchNamespaces": ["shop"],
        "podDisruptionBudget": {"enabled": true}, "networkPolicy": {"enabled": true},
        "serviceMonitor": {"enabled": true}, "prometheusRule": {"enabled": true},
        "grafanaDashboard": {"enabled": true}, "rbac": {"aggregateRestoresToEdit": true},
    })
}

/// What the chart renders where everything is on and these values are given, or why it does not.
fn try_everything(given: &[(&str, &Value)]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.json");
    std::fs::write(&file, everything().to_string()).unwrap();
    let mut args = vec![format!("--values={}", file.display())];
    args.extend(
        given
            .iter()
            .map(|(path, value)| format!("--set-json={path}={value}")),
    );
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    try_text(&args)
}

fn values_yaml() -> Value {
    let text = std::fs::read_to_string(Path::new(CHART).join("values.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// Every value that has a meaning of its own, with its default.
fn values() -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(Path::new(CHART).join("files/defaults.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The values that hold others.
fn sections() -> BTreeSet<String> {
    let values = values();
    let sections = values.keys().filter_map(|path| path.split_once('.'));
    sections.map(|(section, _)| section.to_owned()).collect()
}

/// A refusal has a line that names the value, by the schema's path or by its own, and none of the template's troubles.
fn names(why: &str, path: &str) -> bool {
    let by_schema = format!("at '/{}", path.replace('.', "/"));
    let own = why
        .lines()
        .any(|line| line.contains(&by_schema) || line.contains(path));
    own && !["nil pointer", "error calling", "%!", "wrong type for value"]
        .iter()
        .any(|trouble| why.contains(trouble))
}

/// What is rendered the program takes and kustomize reads; what is refused names the value.
fn is_taken_or_refused(path: &str, value: &Value) -> Option<String> {
    let wrong = match try_everything(&[(path, value)]) {
        Ok(text) => {
            let objects = documents(&text);
            program_takes(&objects)
                .and(kustomized(&text).map(drop))
                .err()
                .or_else(|| text.contains("%!").then(|| "a %! is rendered".to_owned()))
        }
        Err(why) => (!names(&why, path)).then_some(why),
    };
    wrong.map(|why| format!("{path}={value}: {why}"))
}

fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn null_means_the_default_of_every_value_and_of_every_section() {
    let plain = try_everything(&[]).unwrap();
    let (yaml, on) = (values_yaml(), everything());
    let paths: Vec<String> = sections().into_iter().chain(values().into_keys()).collect();
    assert!(paths.len() > 90, "{paths:?}");
    let wrong = paths.iter().filter_map(|path| {
        let wanted = if at(&on, path).is_null() {
            Ok(plain.clone())
        } else {
            try_everything(&[(path, at(&yaml, path))])
        };
        let rendered = try_everything(&[(path, &Value::Null)]);
        match (rendered, wanted) {
            (Ok(text), Ok(wanted)) if text == wanted => None,
            // Two may not be said together; null says no more than the default does.
            (Err(why), Err(wanted)) if why == wanted => None,
            (Ok(_), _) => Some(format!("{path}: another rendering than that of its default")),
            (Err(why), _) => Some(format!("{path}: {why}")),
        }
    });
    assert_none(wrong.collect());
    for all in [
        sections().into_iter().collect(),
        values().into_keys().collect::<Vec<_>>(),
    ] {
        let nothing: Vec<(&str, &Value)> = all.iter().map(|path| (path.as_str(), &Value::Null)).collect();
        assert!(try_everything(&nothing).is_ok_and(|text| text.contains("--workers=8")));
    }
}

#[test]
fn an_empty_value_is_taken_or_refused_by_its_name() {
    let wrong = values().into_iter().filter_map(|(path, default)| {
        let empty = match default {
            Value::String(_) => json!(""),
            Value::Bool(_) => json!(false),
            Value::Number(_) => json!(0),
            Value::Array(_) => json!([]),
            Value::Object(_) | Value::Null => json!({}),
        };
        is_taken_or_refused(&path, &empty)
    });
    assert_none(wrong.collect());
}

#[test]
fn a_value_of_another_type_is_refused_by_its_name() {
    let values = values();
    let same = |a: &Value, b: &Value| std::mem::discriminant(a) == std::mem::discriminant(b);
    // One that is a number or a text.
    let either = |path: &str, value: &Value| match path {
        "podDisruptionBudget.minAvailable" => value.is_string(),
        "hostup.maxPaidCallsPerNamespace" => value.is_number(),
        _ => false,
    };
    for value in [
        json!("two words"),
        json!(7),
        json!(true),
        json!([]),
        json!({"a": {}}),
    ] {
        let others: Vec<(&str, &Value)> = values
            .iter()
            .filter(|(path, default)| !same(default, &value) && !either(path, &value))
            .map(|(path, _)| (path.as_str(), &value))
            .collect();
        let why = try_everything(&others).unwrap_err();
        let wrong = others
            .iter()
            .filter(|(path, _)| !why.contains(&format!("at '/{}'", path.replace('.', "/"))));
        assert_none(wrong.map(|(path, value)| format!("{path}={value}")).collect());
        for section in sections() {
            if !value.is_object() {
                let refused = try_everything(&[(&section, &value)]);
                assert!(
                    refused.as_ref().is_err_and(|why| names(why, &section)),
                    "{section}={value}: {refused:?}"
                );
            }
        }
    }
}

/// Values that the program, or the API server, would refuse; the chart does so first.
fn out_of_range() -> BTreeMap<String, Vec<Value>> {
    let long = "a".repeat(254);
    let names = json!(["a b", "Ä", "-a", "a-", "a_b", "a\n", "a/b", long]);
    let in_a_list = |more: Value| -> Value {
        let all = names.as_array().unwrap().iter().chain(more.as_array().unwrap());
        all.map(|name| json!([name])).collect()
    };
    let durations = json!([
        "5",
        "0s",
        "-1s",
        "1.5s",
        "5d",
        " 5s",
        "5s ",
        "5s\n",
        "5S",
        "s",
        "1h30m",
        "8761h",
        "525601m",
        "31536001s",
        "31536000001ms",
        "99999999999h",
        "999999999999999999999s"
    ]);
    let labels = json!([
        {"a b": "c"}, {"a": "b c"}, {"": "b"}, {"a/b/c": "d"}, {"a": 1}, {"a": true}, {"a": {}}, {"a": "b\n"}, {"a": long}
    ]);
    let annotations = json!([{"a b": "c"}, {"": "b"}, {"a": 1}, {"a": {}}]);
    let table = json!({
        "nameOverride": names,
        "fullnameOverride": names,
        "hostup.url": [
            "https://a b", "http://cloud.hostup.se", "https://user:pw@cloud.hostup.se", "cloud.hostup.se", "https://",
            "https://cloud.hostup.se/api", "https://cloud.hostup.se?a", "https://cloud.hostup.se#a", "ftp://127.0.0.1",
            "https://cloud.hostup.se:0", "https://cloud.hostup.se:65536", "https://cloud.hostup.se:", "https://[::1",
            "https://300.1.1.1", "https://1.2.3.4.5", "https://a..b", "https://xn--a", "https://a.0x1", "https://:443",
            "https://cloud.hostup.se\n", " https://cloud.hostup.se", "https://cloud.hostup.se\t", "https://-a",
            "http://127.0.0.1.example.com", "http://localhost.example.com"
        ],
        "hostup.instanceId": [" ", "a b", "a\n", "\ta", "a\r\n", "Ä", "a/b", "a,b", "a=b", "$(A)", "a".repeat(64)],
        "hostup.credentialSecretNames": in_a_list(json!(["a..b", "", 1])),
        "hostup.maxPaidCalls": [-1, 1.5, 1e20, "1", 4_294_967_296_u64],
        "hostup.maxPaidCallsPerNamespace": [-1, 1.5, 1e20, "1", " ", 4_294_967_296_u64],
        "watchNamespaces": in_a_list(json!(["a.b", "a,b", "", 1, "a".repeat(64)])),
        "listen": [
            "8080", ":8080", "[::]", "[::]:0", "[::]:65536", "127.0.0.1:8080", "[::1]:8080", "localhost:8080",
            "[::]:8080\n", "0.0.0.0:08080", "10.0.0.1:8080"
        ],
        "workers": [0, 257, -1, 1.5, 1e20, "1"],
        "log.format": ["xml", "JSON", "json\n"],
        "log.level": [
            "inof", "info,", "info debug", "hyper=inof", "info,hyper", "=", "info\ndebug", "info\n", "5s", "info,,warn"
        ],
        "replicas": [11, -1, 1.5, 1e20, "1"],
        "image.registry": ["a b", "https://registry.example.com", "registry.example.com/"],
        "image.repository": ["a b", "A", "a:b"],
        "image.tag": ["a b", "-a", "a:b", "a\n"],
        "image.digest": ["sha256:0", "latest"],
        "image.pullPolicy": ["Sometimes"],
        "imagePullSecrets": [["pull"], [{}], [{"name": "a b"}], [null]],
        "serviceAccount.name": names,
        "priorityClassName": names,
        "runtimeClassName": names,
        "resources": [{"limit": {}}, {"limits": {"cpu": true}}],
        "terminationGracePeriodSeconds": [0, 120, 31_536_001, -1, 1.5, 1e20, "1"],
        "revisionHistoryLimit": [2_147_483_648_u64, -1, 1.5, 1e20, "1"],
        "extraArgs": [
            [""], [1], [null], ["walk"], ["run"], ["--"], ["--nonsense"], ["--help"], ["--version"], ["-h"],
            ["--Workers=1"], ["--workers=1", "2"], ["--RUST_LOG=info"]
        ],
        "extraEnv": [
            ["a"], [{}], [{"name": ""}], [{"name": "a", "value": 1}], [{"name": "a=b", "value": "c"}],
            [{"name": "a", "key": "b"}]
        ],
        "tolerations": [["a"], [null]],
        "podDisruptionBudget.minAvailable": [-1, 3, 11, "3", "100%", "101%", "two", "67%", "99%"],
        "networkPolicy.egressPorts": [[], [0], [65536], ["https"], [null]],
        "networkPolicy.ingressFrom": [["a"]],
        "service.port": [0, 65536, -1, 1.5, 1e20, "1"],
        "serviceMonitor.scrapeTimeout": ["31s", "0s", "soon"],
        "serviceMonitor.interval": ["9s", "0s", "soon"],
        "extraObjects": [[1], [null], [[]]],
        "times.requestTimeout": ["2m", "120s", "120000ms", "1h"],
        "times.paidTimeout": ["30s", "30000ms", "150s", "3m", "150000ms"],
    });
    let mut rows: BTreeMap<String, Vec<Value>> = serde_json::from_value(table).unwrap();
    let of_all = [
        (
            "times",
            durations,
            "settleTime pollInterval requestTimeout paidTimeout jobDeadline resyncInterval gateInterval",
        ),
        (
            "",
            labels,
            "commonLabels podLabels nodeSelector serviceMonitor.additionalLabels podMonitor.additionalLabels \
            prometheusRule.additionalLabels grafanaDashboard.labels",
        ),
        (
            "",
            annotations,
            "commonAnnotations podAnnotations deploymentAnnotations serviceAccount.annotations \
            service.annotations grafanaDashboard.annotations",
        ),
    ];
    for (section, wrong, names) in of_all {
        for name in names.split_whitespace() {
            let path = format!("{section}.{name}").trim_start_matches('.').to_owned();
            rows.entry(path)
                .or_default()
                .extend(wrong.as_array().unwrap().clone());
        }
    }
    rows
}

#[test]
fn a_value_out_of_its_range_is_refused_by_its_name() {
    let rows = out_of_range();
    let mut wrong = Vec::new();
    let longest = rows.values().map(Vec::len).max().unwrap();
    for column in 0..longest {
        let all: Vec<(&str, &Value)> = rows
            .iter()
            .filter_map(|(path, values)| Some((path.as_str(), values.get(column)?)))
            .collect();
        // The schema names all that it refuses; what it takes the templates refuse, one at a time.
        let why = try_everything(&all).unwrap_err();
        for (path, value) in all {
            if !names(&why, path) {
                match try_everything(&[(path, value)]) {
                    Ok(_) => wrong.push(format!("{path}={value} is rendered")),
                    Err(why) if names(&why, path) => {}
                    Err(why) => wrong.push(format!("{path}={value}: {why}")),
                }
            }
        }
    }
    assert_none(wrong);
    // All values that become arguments are among them, but switches, which the types hold.
    for setting in settings() {
        if let Some(path) = setting["value"].as_str().filter(|_| setting["takes"] != "switch") {
            assert!(rows.contains_key(path), "{path} is not tried");
        }
    }
}

#[test]
fn what_contradicts_another_value_is_refused_with_what_to_do() {
    let rows: [(&str, &[&str]); 9] = [
        (
            "additional properties 'replcas' not allowed",
            &["--set=replcas=2"],
        ),
        (
            "additional properties 'readonly' not allowed",
            &["--set=hostup.readonly=true"],
        ),
        (
            "set leaderElection.enabled to true",
            &["--set=replicas=2,leaderElection.enabled=false"],
        ),
        (
            "set replicas to 2 or more",
            &["--set=podDisruptionBudget.enabled=true"],
        ),
        (
            "podDisruptionBudget.minAvailable (2) of 2 replicas blocks every drain",
            &["--set=replicas=2,podDisruptionBudget.enabled=true,podDisruptionBudget.minAvailable=2"],
        ),
        (
            "terminationGracePeriodSeconds (150) must be longer than times.paidTimeout (3m)",
            &["--set=times.paidTimeout=3m"],
        ),
        (
            "times.paidTimeout (120s) must be longer than times.requestTimeout (2m), because a paid call may start that late",
            &["--set=times.requestTimeout=2m"],
        ),
        (
            "terminationGracePeriodSeconds (150) must be longer than times.paidTimeout (200s)",
            &["--set-json=extraArgs=[\"--paid-timeout=200s\"]"],
        ),
        (
            "plain http would send the API key unencrypted",
            &["--set-json=extraArgs=[\"--hostup-url=http://cloud.hostup.se\"]"],
        ),
    ];
    for (says, args) in rows {
        let refused = try_text(args);
        assert!(
            refused.as_ref().is_err_and(|why| why.contains(says)),
            "{args:?} does not say {says:?}: {refused:?}"
        );
    }
}

/// The settings of the program, as the chart knows them.
fn settings() -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(CHART).join("files/flags.yaml")).unwrap();
    let flags: Value = serde_saphyr::from_str(&text).unwrap();
    flags["settings"].as_array().unwrap().clone()
}

#[test]
fn the_chart_knows_every_flag_of_the_program_and_its_variable() {
    let args = Args::command();
    let run = args.find_subcommand("run").unwrap();
    let of_program: BTreeSet<(String, String)> = run
        .get_arguments()
        .filter_map(|arg| Some((arg.get_long()?.to_owned(), arg.get_env()?.to_str()?.to_owned())))
        .collect();
    let of_chart = settings().into_iter().filter_map(|setting| {
        let flag = setting["flag"].as_str()?.to_owned();
        let variable = flag.to_uppercase().replace('-', "_");
        Some((flag, variable))
    });
    assert_eq!(
        of_chart.collect::<BTreeSet<_>>(),
        of_program,
        "charts/hostup-operator/files/flags.yaml has other flags than the program"
    );
}

/// A flag by extraArgs or extraEnv: what it is given, and what stands in the arguments then.
const GIVEN: [(&str, &str, &str); 24] = [
    ("hostup-url", "https://hostup.example", "a b"),
    ("allow-plain-http", "true", "perhaps"),
    ("instance-id", "cluster-1", "a b"),
    ("watch-namespaces", "shop,office", "a,,b"),
    ("hostup-proxy", "http://127.0.0.1:3128", "proxy:3128"),
    ("hostup-ca-file", "/etc/ssl/certs/ca-certificates.crt", "ca.pem"),
    ("max-paid-calls", "7", "-1"),
    ("max-paid-calls-per-namespace", "7", "-1"),
    ("read-only", "true", "perhaps"),
    ("enable-in-place-restore", "true", "perhaps"),
    ("enable-legacy-upgrade", "true", "perhaps"),
    ("settle-time", "7m", "5"),
    ("poll-interval", "7s", "2 s"),
    ("request-timeout", "7s", "0s"),
    ("paid-timeout", "70s", "-1s"),
    ("job-deadline", "7h", "1d"),
    ("resync-interval", "7h", "soon"),
    ("gate-interval", "7m", "1.5s"),
    ("listen", "0.0.0.0:9090", "8080"),
    ("workers", "7", "0"),
    ("leader-elect", "false", "perhaps"),
    ("operator-namespace", "other", "A"),
    ("log-format", "text", "xml"),
    ("RUST_LOG", "debug", "inof"),
];

/// What a setting is in the end: the only argument with its name, or the only variable.
fn setting_of(objects: &[Value], name: &str) -> Option<String> {
    let container = container(objects);
    let only = |found: Vec<String>| {
        assert!(found.len() < 2, "{name} stands twice: {found:?}");
        found.into_iter().next()
    };
    if name == "RUST_LOG" {
        let env = container["env"].as_array().unwrap().iter();
        let found = env.filter(|variable| variable["name"] == name);
        return only(
            found
                .map(|variable| variable["value"].as_str().unwrap().to_owned())
                .collect(),
        );
    }
    let args = container["args"].as_array().unwrap().iter();
    let found = args.filter_map(|arg| {
        let rest = arg.as_str().unwrap().strip_prefix(&format!("--{name}"))?;
        if rest.is_empty() {
            Some("true")
        } else {
            rest.strip_prefix('=')
        }
    });
    only(found.map(str::to_owned).collect())
}

#[test]
fn what_extra_args_and_extra_env_say_of_a_setting_counts_once_and_the_last_counts() {
    let known: BTreeSet<&str> = GIVEN.iter().map(|(name, _, _)| *name).collect();
    for setting in settings() {
        let name = setting["flag"].as_str().or(setting["variable"].as_str()).unwrap();
        assert!(known.contains(name), "{name} is not tried");
    }
    let variable = |name: &str| name.to_uppercase().replace('-', "_");
    let env = |all: Vec<Value>| format!("--set-json=extraEnv={}", json!(all));
    let args = |all: Vec<String>| format!("--set-json=extraArgs={}", json!(all));
    let flags = || GIVEN.into_iter().filter(|(name, _, _)| *name != "RUST_LOG");
    let by_env = |blank: &str| {
        let all = GIVEN.into_iter();
        env(all
            .map(|(name, good, _)| json!({"name": variable(name), "value": format!("{blank}{good}{blank}")}))
            .collect())
    };
    let another = env(flags()
        .map(|(name, ..)| json!({"name": variable(name), "value": "another"}))
        .collect());
    let equals = args(
        flags()
            .map(|(name, good, _)| format!("--{name}={good}"))
            .collect(),
    );
    let apart = args(
        flags()
            .flat_map(|(name, good, _)| [format!("--{name}"), good.to_owned()])
            .collect(),
    );
    let twice = flags().flat_map(|(name, good, _)| [format!("--{name}=another"), format!("--{name}={good}")]);
    let twice = args(twice.collect());
    for given in [
        vec![by_env("")],
        vec![by_env("\n")],
        vec![equals.clone()],
        vec![apart],
        vec![twice],
        vec![another, equals],
    ] {
        let objects = render(&given.iter().map(String::as_str).collect::<Vec<_>>());
        for (name, good, _) in GIVEN
            .into_iter()
            .filter(|(name, ..)| *name != "RUST_LOG" || given[0] == by_env(""))
        {
            assert_eq!(setting_of(&objects, name).as_deref(), Some(good), "{given:?}");
        }
        assert_eq!(program_takes(&objects), Ok(()), "{given:?}");
    }
    let bare = [
        "allow-plain-http",
        "read-only",
        "enable-in-place-restore",
        "enable-legacy-upgrade",
        "leader-elect",
    ];
    let objects = render(&[&args(bare.map(|name| format!("--{name}")).to_vec())]);
    for name in bare {
        assert_eq!(setting_of(&objects, name).as_deref(), Some("true"));
    }
    for (name, good, bad) in GIVEN {
        let mut refused = vec![env(vec![json!({"name": variable(name), "value": bad})])];
        if name != "RUST_LOG" {
            refused.push(args(vec![format!("--{name}={good}"), format!("--{name}={bad}")]));
            refused.extend((!bare.contains(&name)).then(|| args(vec![format!("--{name}")])));
        }
        for refused in refused {
            let why = try_text(&[&refused]);
            assert!(
                why.as_ref().is_err_and(|why| names(why, name)),
                "{refused}: {why:?}"
            );
        }
    }
}

#[test]
fn a_variable_from_a_config_map_counts_and_no_argument_hides_it() {
    let from = json!({"configMapKeyRef": {"name": "settings", "key": "x"}});
    for (name, _, _) in GIVEN {
        let variable = name.to_uppercase().replace('-', "_");
        let env = json!([{"name": variable, "value": "twice"}, {"name": variable, "valueFrom": from}]);
        let env = env.as_array().unwrap().iter().skip(1).collect::<Vec<_>>();
        let objects = render(&[&format!("--set-json=extraEnv={}", json!(env))]);
        let container = container(&objects);
        let args = container["args"].to_string();
        assert!(!args.contains(&format!("\"--{name}")), "{name}: {args}");
        let all = container["env"].as_array().unwrap().iter();
        let found: Vec<&Value> = all.filter(|given| given["name"] == variable.as_str()).collect();
        assert_eq!(found, [&json!({"name": variable, "valueFrom": from})]);
    }
}

#[test]
fn what_follows_from_a_flag_follows_too() {
    let objects = render(&[
        "--set-json=extraArgs=[\"--leader-elect=false\",\"--watch-namespaces=shop,shop\",\"--instance-id=a\"]",
    ]);
    let all = objects.iter().map(ToString::to_string).collect::<String>();
    assert!(
        all.contains("\"Recreate\"")
            && !all.contains("hostup-operator-leader")
            && !all.contains("kube-system")
    );
    let roles = objects.iter().filter(|object| object["kind"] == "Role");
    let namespaces: Vec<&Value> = roles.map(|role| at(role, "metadata.namespace")).collect();
    assert_eq!(namespaces, ["shop"]);
}
