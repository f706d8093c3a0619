//! The house has floors, and imports point down only.

use std::path::{Path, PathBuf};

/// From the lowest up: the module, what of ours it may import, which crates only it (and its equals) may.
const FLOORS: [(&str, &[&str]); 11] = [
    ("domain", &[]),
    ("api", &["domain", "api"]),
    ("clock", &["domain"]),
    ("chance", &[]),
    ("cluster", &["domain", "api", "clock", "chance", "cluster"]),
    ("hostup", &["domain", "clock", "hostup"]),
    ("accounts", &["domain", "hostup", "clock", "accounts"]),
    (
        "ledger",
        &[
            "domain", "api", "clock", "chance", "cluster", "accounts", "ledger",
        ],
    ),
    (
        "controllers",
        &[
            "domain",
            "api",
            "hostup",
            "clock",
            "chance",
            "accounts",
            "cluster",
            "ledger",
            "controllers",
        ],
    ),
    (
        "telemetry",
        &[
            "domain",
            "api",
            "hostup",
            "clock",
            "accounts",
            "cluster",
            "ledger",
            "controllers",
            "telemetry",
        ],
    ),
    (
        "top",
        &[
            "domain",
            "api",
            "hostup",
            "clock",
            "chance",
            "accounts",
            "cluster",
            "ledger",
            "controllers",
            "telemetry",
            "args",
            "app",
        ],
    ),
];

/// Crates that stand on certain floors only.
const GUARDED: [(&str, &[&str]); 9] = [
    (
        "kube",
        &["api", "cluster", "ledger", "controllers", "telemetry", "top"],
    ),
    (
        "k8s_openapi",
        &["api", "cluster", "ledger", "controllers", "telemetry", "top"],
    ),
    ("reqwest", &["hostup"]),
    ("getrandom", &["chance"]),
    (
        "tokio",
        &[
            "hostup",
            "accounts",
            "cluster",
            "ledger",
            "controllers",
            "telemetry",
            "top",
        ],
    ),
    (
        "futures",
        &["accounts", "cluster", "ledger", "controllers", "telemetry"],
    ),
    ("axum", &["telemetry"]),
    ("prometheus_client", &["telemetry"]),
    (
        "tracing",
        &["cluster", "ledger", "controllers", "telemetry", "top"],
    ),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What stands in a folder of that name is compiled for tests only.
        if path.ends_with("tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn floor_of(source: &Path, file: &Path) -> &'static str {
    let relative = file.strip_prefix(source).unwrap();
    let first = relative
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap()
        .trim_end_matches(".rs");
    FLOORS
        .iter()
        .find(|(floor, _)| *floor == first)
        .map_or("top", |(floor, _)| floor)
}

/// Lines of code, without comments, up to the unit tests; those in a file of their own end nothing.
fn code(file: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins_tests = |n: usize| {
        lines[n] == "#[cfg(test)]"
            && lines
                .get(n + 1)
                .is_some_and(|next| next.contains("mod ") && next.ends_with('{'))
    };
    let end = (0..lines.len()).find(|n| begins_tests(*n)).unwrap_or(lines.len());
    let code = lines[..end].iter().enumerate();
    code.filter(|(_, line)| !line.starts_with("//"))
        .map(|(n, line)| (n + 1, (*line).to_owned()))
        .collect()
}

fn violations(file: &Path, floor: &str, lines: &[(usize, String)]) -> Vec<String> {
    let allowed = FLOORS.iter().find(|(name, _)| *name == floor).unwrap().1;
    let mut found = Vec::new();
    for (n, line) in lines {
        for path in line.split("crate::").skip(1) {
            let module: String = path
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            // The domain is a package of its own: `crate` means itself, and Cargo refuses a circle.
            if floor != "domain"
                && !module.is_empty()
                && !allowed.contains(&module.as_str())
                && FLOORS.iter().any(|(f, _)| *f == module)
            {
                found.push(format!("{}:{n} ({floor}) imports {module}", file.display()));
            }
        }
        for (guarded, floors) in GUARDED {
            let word = format!("{guarded}::");
            let used = line.find(&word).is_some_and(|at| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if used && !floors.contains(&floor) {
                found.push(format!("{}:{n} ({floor}) uses {guarded}", file.display()));
            }
        }
        if floor == "domain"
            && (line.contains("async fn") || line.contains("Timestamp::now") || line.contains("std::env"))
        {
            found.push(format!(
                "{}:{n} the domain is neither async nor has a clock",
                file.display()
            ));
        }
    }
    found
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    sources(&source(), &mut files);
    assert!(files.len() > 30, "only {} files were looked at", files.len());
    files
}

/// Every line of code that is wrong in its file.
fn lines_that(is_wrong: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in &files() {
        let wrong = code(file).into_iter().filter(|(_, line)| is_wrong(file, line));
        found.extend(wrong.map(|(n, line)| format!("{}:{n} {line}", file.display())));
    }
    found
}

#[test]
fn imports_point_down_only() {
    let source = source();
    let found: Vec<String> = files()
        .iter()
        .flat_map(|file| violations(file, floor_of(&source, file), &code(file)))
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn an_upward_import_would_be_seen() {
    let line = |text: &str| vec![(1, text.to_owned())];
    let file = Path::new("x.rs");
    assert_eq!(
        violations(file, "domain", &line("use crate::ledger::order;")).len(),
        0
    );
    assert_eq!(
        violations(file, "hostup", &line("use crate::controllers::Error;")).len(),
        1
    );
    assert_eq!(
        violations(file, "api", &line("use crate::hostup::Route;")).len(),
        1
    );
    assert_eq!(
        violations(file, "controllers", &line("let c = reqwest::Client::new();")).len(),
        1
    );
    assert_eq!(violations(file, "domain", &line("use kube::Api;")).len(), 1);
    assert_eq!(
        violations(
            file,
            "controllers",
            &line("use crate::domain::values::ids::VpsId;")
        )
        .len(),
        0
    );
}

/// What of the library the plugin may import: no floor that decides, follows or spends.
const OF_THE_PLUGIN: [&str; 7] = ["api", "api_server", "args", "chance", "clock", "domain", "hostup"];

/// Whether a source of the plugin imports only what it may.
fn plugin_may(text: &str) -> bool {
    text.split("hostup_operator::").skip(1).all(|path| {
        let grouped = path.strip_prefix('{').and_then(|group| group.split('}').next());
        let parts: Vec<&str> = grouped.map_or_else(|| vec![path], |group| group.split(',').collect());
        parts.into_iter().all(|part| {
            let module = part
                .trim()
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next();
            module.is_some_and(|module| OF_THE_PLUGIN.contains(&module))
        })
    })
}

#[test]
fn the_plugin_imports_no_floor_that_can_spend() {
    let mut sources_of_the_plugin = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("plugin"),
        &mut sources_of_the_plugin,
    );
    assert!(sources_of_the_plugin.len() > 10, "{sources_of_the_plugin:?}");
    for file in sources_of_the_plugin {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(plugin_may(&text), "{}", file.display());
        let pays = [".paid_post(", "RightToSend", ".options_preview("];
        assert!(!pays.iter().any(|word| text.contains(word)), "{}", file.display());
    }
    assert!(!plugin_may("use hostup_operator::ledger::Store;"));
    assert!(!plugin_may("use hostup_operator::{api, controllers};"));
    assert!(plugin_may("use hostup_operator::{api, args};"));
}

/// Where a kind of objects is kept whole, and none of them walks all records: those that are followed are looked up by
/// name, and all else is asked of the index.
const STORES: [&str; 2] = ["controllers/run.rs", "controllers/options/rivals.rs"];

#[test]
fn nobody_walks_all_records() {
    let holds_a_store = |file: &Path| STORES.iter().any(|store| file.ends_with(store));
    let found = lines_that(|file, line| walks(line, holds_a_store(file)));
    assert_eq!(found, Vec::<String>::new());
    assert!(walks("for object in self.store.state() {", true));
    assert!(walks("store: Store<Watched>,", false));
    assert!(!walks("let state = record.state;", false));
}

#[test]
fn time_and_chance_are_given_and_never_asked_for() {
    let is_a_source = |file: &Path| {
        ["clock.rs", "chance.rs"]
            .iter()
            .any(|own| *file == source().join(own))
    };
    let found = lines_that(|file, line| !is_a_source(file) && asks(line, file == source().join("app.rs")));
    assert_eq!(found, Vec::<String>::new());
    for line in [
        "let started = Instant::now();",
        "MicroTime(Timestamp::now())",
        "if read.elapsed() < KEPT",
        "getrandom::fill(&mut bytes)",
        "let clock = Clock::of_the_machine();",
    ] {
        assert!(asks(line, false), "{line}");
    }
    assert!(!asks("let clock = Clock::of_the_machine();", true));
    assert!(!asks("let now = self.clock.now();", false));
}

/// Whether a line asks the machine for the time or for chance; `gives` where both come into the program.
fn asks(line: &str, gives: bool) -> bool {
    let asks = [
        "Instant",
        "Timestamp::now",
        "SystemTime",
        "Zoned::now",
        ".elapsed()",
        "clock_gettime",
        "getrandom",
        "RandomState",
    ];
    asks.iter().any(|asks| line.contains(asks)) || (!gives && line.contains("::of_the_machine()"))
}

fn walks(line: &str, holds_a_store: bool) -> bool {
    let all = [".state()", ".state_filter(", ".state_filter_selector("];
    all.iter().any(|all| line.contains(all)) || (!holds_a_store && line.contains("Store<"))
}

/// What leads to a paid call, and the only files in which it may stand.
const DOORS: [(&str, &[&str]); 5] = [
    ("RightToSend {", &["domain/purchase/mod.rs"]),
    ("Effect::Post(", &["domain/purchase/mod.rs", "ledger/driver.rs"]),
    (
        ".paid_post(",
        &[
            "ledger/port.rs",
            "accounts/mod.rs",
            "hostup/mod.rs",
            "hostup/transport.rs",
        ],
    ),
    ("Kind::Paid", &["hostup/transport.rs", "hostup/http.rs"]),
    (".post(", &["ledger/driver.rs", "hostup/http.rs"]),
];

#[test]
fn one_way_leads_to_a_paid_call() {
    for (word, files) in DOORS {
        let found = lines_that(|file, line| {
            line.contains(word) && !line.contains("impl ") && !files.iter().any(|own| file.ends_with(own))
        });
        assert_eq!(found, Vec::<String>::new(), "{word}");
        let used = lines_that(|_, line| line.contains(word));
        assert!(!used.is_empty(), "{word} stands nowhere");
    }
}

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    for file in files().into_iter().filter(|file| !file.ends_with("tests.rs")) {
        let lines = code(&file).len();
        assert!(lines <= 600, "{} has {lines} lines without tests", file.display());
    }
}

#[test]
fn the_release_binary_cannot_contain_the_simulator() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--edges",
            "normal",
            "--package",
            "hostup-operator",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("kube v"), "{tree}");
    assert!(
        !tree.contains("hostup-sim") && !tree.contains("control-plane"),
        "{tree}"
    );
}
