//! The documents name what the product has.

use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use control_plane::User;
use hostup_operator::args::Args;
use hostup_operator::domain::status::reason::{Reason, Standing};
use serde_json::Value;

use crate::support::chart::as_user;
use crate::support::{control_plane, examples, fenced_blocks};

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn every_reason_is_documented_and_no_other() {
    let text = document("docs/reasons.md");
    let documented: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    for reason in Reason::ALL {
        assert!(
            documented.contains(&reason.as_str()),
            "{} is not documented",
            reason.as_str()
        );
    }
    let known: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let conditions = [
        "GatesPassed",
        "Quoted",
        "Approved",
        "Submitted",
        "ProviderWarning",
        "VmPresent",
        "OutputsWritten",
    ];
    for word in documented {
        assert!(
            known.contains(&word) || conditions.contains(&word),
            "{word} is documented and does not exist"
        );
    }
}

/// The cells of a row of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let line = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(line.split('|').map(str::trim).collect())
}

#[test]
fn a_documented_reason_stands_as_the_conditions_say() {
    let stands = |reason: Reason| match reason.standing() {
        Standing::Done => ("Ready", "True", ""),
        Standing::Waiting => ("Waiting", "False", ""),
        Standing::Progressing => ("Progressing", "False", "Reconciling"),
        Standing::Stalled => ("Stalled", "False", "Stalled"),
    };
    let known = |name: &str| {
        let name = name.trim_matches('`');
        Reason::ALL.iter().find(|reason| reason.as_str() == name)
    };
    let reasons = document("docs/reasons.md");
    let mut rows = 0;
    for row in reasons.lines().filter_map(cells).filter(|row| row.len() == 4) {
        if let Some(reason) = known(row[0]) {
            assert_eq!(row[1], stands(*reason).0, "{reason:?}");
            rows += 1;
        }
    }
    assert_eq!(rows, Reason::ALL.len());
    let mut named = 0;
    for row in reasons.lines().filter_map(cells).filter(|row| row.len() == 4) {
        for reason in row[2].split(", ").filter_map(known) {
            let (_, ready, also) = stands(*reason);
            assert_eq!((row[0], row[1]), (ready, also), "{reason:?} in the overview");
            named += 1;
        }
    }
    assert!(named > 20, "{named} reasons in the overview");
}

#[test]
fn the_page_of_flags_names_every_flag() {
    let help = Command::new(env!("CARGO_BIN_EXE_hostup-operator"))
        .args(["run", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let page = document("docs/flags.md");
    let flags: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--") && *word != "--help")
        .collect();
    assert!(flags.len() > 15, "{help}");
    for flag in flags {
        let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        assert!(page.contains(flag), "{flag} is not in docs/flags.md");
    }
}

#[test]
fn the_documented_defaults_are_those_of_the_flags() {
    let args = Args::command();
    let run = args.find_subcommand("run").unwrap();
    let page = document("docs/flags.md");
    let mut compared = 0;
    for row in page.lines().filter_map(cells).filter(|row| row.len() == 3) {
        let (flag, default) = (row[0].trim_matches('`'), row[1]);
        let known = run
            .get_arguments()
            .find(|arg| arg.get_long().is_some_and(|long| flag == format!("--{long}")));
        let Some(known) = known else { continue };
        let defaults: Vec<String> = known
            .get_default_values()
            .iter()
            .map(|value| format!("`{}`", value.to_str().unwrap()))
            .collect();
        // What is found out at the start stands there in words.
        assert!(
            defaults.is_empty() || default == defaults[0],
            "{flag}: {default}, {defaults:?}"
        );
        compared += 1;
    }
    assert_eq!(
        compared,
        run.get_arguments().filter(|arg| arg.get_long().is_some()).count()
    );
}

#[test]
fn every_test_that_holds_a_safety_sentence_exists() {
    fn sources(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    sources(&root.join("tests/it"), &mut code);
    let text = document("docs/safety.md");
    let mut sentences = 0;
    for line in text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| #"))
    {
        let held_by = line.split(" | ").nth(2).unwrap();
        let names: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{line}");
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "{name} does not exist");
        }
        sentences += 1;
    }
    assert_eq!(sentences, 15);
}

#[test]
fn every_object_in_the_documents_and_examples_is_taken_by_the_api_server() {
    let mut texts = examples();
    for name in documents() {
        texts.push((name.clone(), document(&name)));
    }
    let mut tried = 0;
    for (name, text) in &texts {
        let objects = if name.ends_with(".yaml") {
            vec![text.clone()]
        } else {
            let blocks = fenced_blocks(text, "yaml").into_iter();
            blocks.map(|(_, block)| block).collect()
        };
        for object in objects.iter().flat_map(|block| block.split("\n---\n")) {
            if !object.contains("apiVersion:") {
                continue;
            }
            let mut object: Value =
                serde_saphyr::from_str(object).unwrap_or_else(|error| panic!("{name}: {error}"));
            object["metadata"]["namespace"] = "default".into();
            let dry = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
            let taken = as_user(control_plane(), User::Admin, &dry, Some(&object));
            assert!(taken.is_ok(), "{name}: {taken:?} on {object}");
            tried += 1;
        }
    }
    assert!(tried >= 8, "{tried} objects");
}

/// The documents for users, by their path.
fn documents() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| -> Vec<String> {
        let files = std::fs::read_dir(root.join(folder)).unwrap();
        files
            .map(|file| format!("{folder}{}", file.unwrap().file_name().to_str().unwrap()))
            .filter(|name| name.ends_with(".md"))
            .collect()
    };
    [names(""), names("docs/"), names("docs/decisions/")].concat()
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|letter| match letter {
        ' ' | '-' => Some('-'),
        letter if letter.is_alphanumeric() || letter == '_' => Some(letter.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

#[test]
fn every_link_between_documents_leads_to_a_heading() {
    let mut followed = 0;
    for name in documents() {
        let text = document(&name);
        let folder = Path::new(&name).parent().unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            // The patterns in the reference look like links.
            if target.contains("://") || target.contains('[') {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                Path::new(&name).to_owned()
            } else {
                folder.join(file)
            };
            let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
            assert!(whole.exists(), "{name}: {target}");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&whole).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line.trim_start_matches('#').trim()) == heading),
                    "{name}: no heading for {target}"
                );
            }
            followed += 1;
        }
    }
    assert!(followed > 40, "{followed} links");
}

/// Flux and Argo CD put back what Git says: who suspends by hand, and then answers, pays.
#[test]
fn where_a_document_tells_to_suspend_it_says_that_git_must() {
    let mut told = 0;
    for name in documents().into_iter().filter(|name| name != "CHANGELOG.md") {
        let text = document(&name);
        for part in text.split("\n\n") {
            let tells = ["suspend: true", "\"suspend\":true"]
                .iter()
                .any(|words| part.contains(words));
            if tells {
                assert!(part.contains("Git"), "{name}: {part}");
                told += 1;
            }
        }
    }
    assert!(told >= 4, "{told} places");
}

/// Where people look: before they install, and before they write the first restore.
#[test]
fn the_documents_say_what_buys_again() {
    for (name, says) in [
        ("README.md", ["generateName", "clone"]),
        (
            "docs/install.md",
            ["generateName", "A copy of the cluster buys too"],
        ),
        ("docs/after-a-rebuild.md", ["## A copy of a cluster", "snapshot"]),
        ("examples/argocd/restores.yaml", ["generateName", "hook"]),
        ("examples/flux/restores.yaml", ["generateName", "undone"]),
    ] {
        let text = document(name);
        for words in says {
            assert!(text.contains(words), "{name} does not say {words:?}");
        }
    }
}
