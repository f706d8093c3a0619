//! The documents name what the product has.

use std::path::Path;
use std::process::Command;

use hostup_operator::domain::reason::Reason;

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
    let steps = ["GatesPassed", "Quoted", "Approved", "Submitted"];
    for word in documented {
        assert!(
            known.contains(&word) || steps.contains(&word),
            "{word} is documented and does not exist"
        );
    }
}

#[test]
fn the_readme_names_every_flag_and_its_variable() {
    let help = Command::new(env!("CARGO_BIN_EXE_hostup-operator"))
        .args(["run", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let readme = document("README.md");
    let flags: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--") && *word != "--help")
        .collect();
    assert!(flags.len() > 15, "{help}");
    for flag in flags {
        let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        assert!(readme.contains(flag), "{flag} is not in the README");
    }
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
    assert_eq!(sentences, 13);
}
