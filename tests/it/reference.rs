//! The references in docs/ are what the CRDs and the chart's values.yaml say.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use hostup_operator::api::crds;
use hostup_operator::args::Args;
use serde_json::Value;

use crate::manifests::fields;
use crate::support::chart::CHART;

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The committed file says this; with UPDATE_REFERENCE it is made to.
fn is_committed(name: &str, generated: &str) {
    if std::env::var("UPDATE_REFERENCE").is_ok() {
        std::fs::write(committed(name), generated).unwrap();
    }
    let text = std::fs::read_to_string(committed(name)).unwrap_or_default();
    assert!(
        text == generated,
        "{name} is not what it is made from says; run `make reference`"
    );
}

/// A text inside one cell of a table.
fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

fn code(value: &Value) -> String {
    format!(
        "`{}`",
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    )
}

fn list<'a>(schema: &'a Value, member: &str) -> &'a [Value] {
    schema[member].as_array().map_or(&[], Vec::as_slice)
}

/// `1 to 64 characters`, `at most 8`, from a pair of bounds.
fn bounds(least: &Value, most: &Value, of_what: &str) -> Option<String> {
    let range = match (least.as_i64(), most.as_i64()) {
        (Some(least), Some(most)) if least == most => least.to_string(),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => return None,
    };
    Some(format!("{range} {of_what}").trim_end().to_owned())
}

/// What may be written into a field, in words.
fn type_of(schema: &Value) -> String {
    let words = list(schema, "enum");
    if !words.is_empty() {
        return words.iter().map(code).collect::<Vec<_>>().join(", ");
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return "number or text".to_owned();
    }
    let of_entries = &schema["additionalProperties"];
    let mut said = Vec::new();
    match schema["type"].as_str().unwrap() {
        "string" => {
            said.push(match schema["format"].as_str() {
                Some("date-time") => "time (RFC 3339)".to_owned(),
                Some(format) => format!("text ({format})"),
                None => "text".to_owned(),
            });
            said.extend(bounds(&schema["minLength"], &schema["maxLength"], "characters"));
        }
        "integer" => {
            said.push("whole number".to_owned());
            said.extend(bounds(&schema["minimum"], &schema["maximum"], ""));
        }
        "boolean" => said.push("`true`, `false`".to_owned()),
        "array" => {
            said.push("list".to_owned());
            said.extend(bounds(&schema["minItems"], &schema["maxItems"], "entries"));
            let keys: Vec<String> = list(schema, "x-kubernetes-list-map-keys")
                .iter()
                .map(code)
                .collect();
            if !keys.is_empty() {
                said.push(format!("one for each {}", keys.join(" and ")));
            }
            said.push(format!("each: {}", type_of(&schema["items"])));
        }
        "object" if of_entries.is_object() => {
            said.push("map".to_owned());
            said.extend(bounds(
                &schema["minProperties"],
                &schema["maxProperties"],
                "entries",
            ));
            said.push(format!("each: {}", type_of(of_entries)));
        }
        "object" => said.push("object".to_owned()),
        other => panic!("no words for the type {other}"),
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        said.push(format!("matches `{pattern}`"));
    }
    said.join(", ")
}

fn rules(schema: &Value) -> impl Iterator<Item = (&str, &str)> {
    list(schema, "x-kubernetes-validations").iter().map(|rule| {
        let member = |name: &str| rule[name].as_str().unwrap();
        (member("rule"), member("message"))
    })
}

/// The rows of a table of fields, and the rules of CEL with the paths that they stand at.
#[derive(Default)]
struct Part {
    rows: String,
    rules: Vec<(String, Vec<String>)>,
}

impl Part {
    fn of(name: &str, schema: &Value) -> Self {
        let mut part = Self::default();
        part.note_rules(name, schema);
        part.add_fields(name, schema, false);
        part
    }

    fn note_rules(&mut self, path: &str, schema: &Value) {
        for (_, message) in rules(schema) {
            let path = if path.contains(' ') {
                path.to_owned()
            } else {
                format!("`{path}`")
            };
            match self.rules.iter_mut().find(|(known, _)| known == message) {
                Some((_, paths)) => paths.push(path),
                None => self.rules.push((message.to_owned(), vec![path])),
            }
        }
    }

    fn add_fields(&mut self, path: &str, schema: &Value, fixed: bool) {
        let Some(fields) = schema["properties"].as_object() else {
            return;
        };
        for (name, field) in fields {
            let own = format!("{path}.{name}");
            // Either the field compares itself with what it was, or its parent does.
            let fixed = fixed
                || rules(field).any(|(rule, _)| rule == "self == oldSelf")
                || rules(schema).any(|(rule, _)| rule.contains(&format!("self.{name} == oldSelf.{name})")));
            let required = list(schema, "required").iter().any(|required| required == name);
            let default = match &field["default"] {
                Value::Null => String::new(),
                Value::Object(_) => code(&Value::String(field["default"].to_string())),
                plain => code(plain),
            };
            let mark = |yes: bool| if yes { "yes" } else { "" };
            let description = field["description"].as_str().unwrap();
            let cells = [
                format!("`{own}`"),
                cell(&type_of(field)),
                mark(required).to_owned(),
                cell(&default),
                mark(fixed).to_owned(),
                cell(description),
            ];
            writeln!(self.rows, "| {} |", cells.join(" | ")).unwrap();
            self.note_rules(&own, field);
            self.add_fields(&own, field, fixed);
            let entries = format!("{own}[]");
            self.note_rules(&entries, &field["items"]);
            self.add_fields(&entries, &field["items"], fixed);
        }
    }

    fn rules_as_list(&self) -> String {
        let mut text = String::new();
        for (message, paths) in &self.rules {
            writeln!(text, "- {}: {}", paths.join(", "), cell(message)).unwrap();
        }
        text
    }
}

/// One kind's chapter.
fn chapter(crd: &Value) -> String {
    let (spec, version) = (&crd["spec"], &crd["spec"]["versions"][0]);
    let names = &spec["names"];
    let schema = &version["schema"]["openAPIV3Schema"];
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let joined = |words: &[Value]| words.iter().map(code).collect::<Vec<_>>().join(", ");
    let scope = if spec["scope"] == "Namespaced" {
        "in a namespace"
    } else {
        "of the cluster, in no namespace"
    };
    let mut text = format!("## {}\n\n", word(&names["kind"]));
    writeln!(text, "{}\n", cell(&word(&schema["description"]))).unwrap();
    writeln!(
        text,
        "`apiVersion: {}/{}`; {scope}; short {}; category {}.\n",
        word(&spec["group"]),
        word(&version["name"]),
        joined(list(names, "shortNames")),
        joined(list(names, "categories")),
    )
    .unwrap();
    let selectable = list(version, "selectableFields");
    if !selectable.is_empty() {
        let paths: Vec<String> = selectable
            .iter()
            .map(|field| {
                format!(
                    "`{}`",
                    field["jsonPath"].as_str().unwrap().trim_start_matches('.')
                )
            })
            .collect();
        writeln!(
            text,
            "For `kubectl get --field-selector`: {}.\n",
            paths.join(", ")
        )
        .unwrap();
    }
    text += "### Columns of `kubectl get`\n\n| column | from | with | meaning |\n|---|---|---|---|\n";
    for column in list(version, "additionalPrinterColumns") {
        writeln!(
            text,
            "| {} | `{}` | {} | {} |",
            word(&column["name"]).to_uppercase(),
            word(&column["jsonPath"]),
            if column["priority"] == 1 { "`-o wide`" } else { "" },
            column["description"]
                .as_str()
                .map_or_else(|| "the age of the object".to_owned(), cell),
        )
        .unwrap();
    }
    let head =
        "| field | type and limits | required | default | immutable | meaning |\n|---|---|---|---|---|---|\n";
    let parts = ["spec", "status"].map(|name| (name, Part::of(name, &schema["properties"][name])));
    for (name, part) in &parts {
        write!(text, "\n### {name}\n\n").unwrap();
        let from_the_start = &schema["properties"][name]["default"];
        if from_the_start.is_object() {
            writeln!(
                text,
                "Default, until the operator has reconciled the object: `{from_the_start}`.\n"
            )
            .unwrap();
        }
        write!(text, "{head}{}", part.rows).unwrap();
    }
    let mut root = Part::default();
    root.note_rules("the object", schema);
    let all: String = std::iter::once(&root)
        .chain(parts.iter().map(|(_, part)| part))
        .map(Part::rules_as_list)
        .collect();
    if !all.is_empty() {
        write!(
            text,
            "\n### Rules\n\nThe API server refuses an object that violates a rule, with this message:\n\n{all}"
        )
        .unwrap();
    }
    text
}

fn field_reference() -> String {
    let mut text = "# Field reference

All fields of the CRDs, as `kubectl explain` describes them. `make reference` writes this page; a test compares it with
the CRDs.

A **required** field must be set if its parent object is set. The API server sets a **default** if the field is absent.
An **immutable** field cannot be changed after the object is created.
"
    .to_owned();
    for (_, crd) in crds::all() {
        write!(text, "\n{}", chapter(&crd)).unwrap();
    }
    text
}

#[test]
fn the_field_reference_is_what_the_crds_say() {
    is_committed("docs/reference.md", &field_reference());
}

#[test]
fn the_field_reference_has_a_row_for_each_field_and_a_line_for_each_rule() {
    fn messages(schema: &Value, found: &mut Vec<String>) {
        found.extend(rules(schema).map(|(_, message)| cell(message)));
        let inner = schema.as_object().into_iter().flat_map(|object| object.values());
        for child in inner.filter(|child| child.is_object()) {
            messages(child, found);
        }
    }
    let text = field_reference();
    for (file, crd) in crds::all() {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        let chapter = text
            .split("\n## ")
            .find(|chapter| chapter.starts_with(&format!("{kind}\n")))
            .unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut paths = Vec::new();
        for part in ["spec", "status"] {
            fields(part, &schema["properties"][part], &mut paths);
        }
        let rows: Vec<String> = chapter
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .filter(|path| path.starts_with("spec.") || path.starts_with("status."))
            .map(|path| path.replace("[]", ""))
            .collect();
        assert_eq!(rows, paths, "{file}");
        let mut said = Vec::new();
        messages(schema, &mut said);
        assert!(!said.is_empty(), "{file}");
        for message in said {
            assert!(chapter.contains(&message), "{file}: {message}");
        }
    }
}

/// One value of the chart that has a meaning of its own.
struct ChartValue {
    path: String,
    meaning: String,
}

/// The comments of values.yaml that begin with `# --`, with the path of the key below each; and the keys that
/// hold a value and have none, neither themselves nor around them.
fn chart_values(text: &str) -> (Vec<ChartValue>, Vec<String>) {
    let (mut values, mut unexplained) = (Vec::new(), Vec::new());
    // The keys around a line: indentation, name, and whether a comment says what they mean.
    let mut around: Vec<(usize, String, bool)> = Vec::new();
    let mut comment: Option<String> = None;
    for line in text.lines() {
        let content = line.trim_start();
        let indentation = line.len() - content.len();
        if let Some(begins) = content.strip_prefix("# -- ") {
            comment = Some(begins.to_owned());
            continue;
        }
        if let Some(goes_on) = content.strip_prefix("# ") {
            if let Some(comment) = &mut comment {
                *comment = format!("{comment} {goes_on}");
            }
            continue;
        }
        let Some((name, value)) = content.split_once(':').filter(|_| !content.starts_with('-')) else {
            assert!(
                content.is_empty() || content.starts_with('-'),
                "what is this? {line}"
            );
            continue;
        };
        around.retain(|(outer, _, _)| *outer < indentation);
        let explained_above = around.iter().any(|(_, _, explained)| *explained);
        around.push((indentation, name.to_owned(), comment.is_some()));
        let path = around
            .iter()
            .map(|(_, name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(".");
        match comment.take() {
            Some(meaning) => values.push(ChartValue { path, meaning }),
            None if value.trim().is_empty() || explained_above => {}
            None => unexplained.push(path),
        }
    }
    (values, unexplained)
}

fn values_yaml() -> (String, Value) {
    let text = std::fs::read_to_string(Path::new(CHART).join("values.yaml")).unwrap();
    let values = serde_saphyr::from_str(&text).unwrap();
    (text, values)
}

#[test]
fn the_reference_of_the_charts_values_is_what_values_yaml_says() {
    let (text, values) = values_yaml();
    let (explained, unexplained) = chart_values(&text);
    assert_eq!(
        unexplained,
        Vec::<String>::new(),
        "these values have no `# --` comment"
    );
    let mut reference = "# Values of the chart

All values of [the chart](../charts/hostup-operator/values.yaml), with default and meaning. Written by
`make reference`; a test compares it with values.yaml. `values.schema.json` refuses a bad value before anything
is installed.

| value | default | meaning |
|---|---|---|
"
    .to_owned();
    for value in &explained {
        let default = crate::support::at(&values, &value.path);
        writeln!(
            reference,
            "| `{}` | {} | {} |",
            value.path,
            cell(&code(&Value::String(default.to_string()))),
            cell(&value.meaning)
        )
        .unwrap();
    }
    is_committed("docs/values.md", &reference);
}

#[test]
fn the_defaults_that_stand_in_for_null_are_those_of_values_yaml() {
    let (text, values) = values_yaml();
    let (explained, _) = chart_values(&text);
    let defaults: serde_json::Map<_, _> = explained
        .into_iter()
        .map(|value| {
            let default = crate::support::at(&values, &value.path).clone();
            (value.path, default)
        })
        .collect();
    let defaults = serde_json::to_string_pretty(&defaults).unwrap();
    is_committed(
        "charts/hostup-operator/files/defaults.json",
        &format!("{defaults}\n"),
    );
}

/// The values of the chart that are flags of the operator, with the flag's name where it is another.
const FLAGS_OF_VALUES: [(&str, &str); 8] = [
    ("hostup.url", "hostup-url"),
    ("hostup.maxPaidCalls", "max-paid-calls"),
    ("hostup.readOnly", "read-only"),
    ("hostup.enableLegacyUpgrade", "enable-legacy-upgrade"),
    ("listen", "listen"),
    ("workers", "workers"),
    ("log.format", "log-format"),
    ("leaderElection.enabled", "leader-elect"),
];

#[test]
fn the_charts_defaults_are_those_of_the_flags() {
    let (_, values) = values_yaml();
    let args = Args::command();
    let run = args.find_subcommand("run").unwrap();
    let default_of = |flag: &str| -> String {
        let mut all = run.get_arguments();
        let found = all
            .find(|arg| arg.get_long() == Some(flag))
            .unwrap_or_else(|| panic!("no --{flag}"));
        found.get_default_values()[0].to_str().unwrap().to_owned()
    };
    let times = values["times"].as_object().unwrap();
    assert!(times.len() >= 7, "{times:?}");
    let of_times = times.keys().map(|name| {
        let flag = name.chars().fold(String::new(), |flag, letter| {
            if letter.is_ascii_uppercase() {
                format!("{flag}-{}", letter.to_ascii_lowercase())
            } else {
                format!("{flag}{letter}")
            }
        });
        (format!("times.{name}"), flag)
    });
    let others = FLAGS_OF_VALUES.map(|(path, flag)| (path.to_owned(), flag.to_owned()));
    for (path, flag) in of_times.chain(others) {
        let value = crate::support::at(&values, &path);
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(value, default_of(&flag), "{path} and --{flag}");
    }
}
