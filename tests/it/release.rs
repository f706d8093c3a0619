//! What a release names is one version, and what the chart says of itself is there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use hostup_operator::api::crds;
use serde_json::Value;

use crate::support::chart::{CHART, documents, helm};
use crate::support::{at, control_plane, examples};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// The files that say which version this is.
const FILES: [&str; 6] = [
    "Cargo.toml",
    "CHANGELOG.md",
    "charts/hostup-operator/Chart.yaml",
    "charts/hostup-operator/values.yaml",
    "deploy/install.yaml",
    "deploy/kustomize/base/operator.yaml",
];

fn read(root: &Path, file: &str) -> String {
    std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

fn chart(root: &Path) -> Value {
    yaml(&read(root, "charts/hostup-operator/Chart.yaml"))
}

/// What an annotation of Chart.yaml says to Artifact Hub.
fn annotation(chart: &Value, name: &str) -> Value {
    let text = &chart["annotations"][format!("artifacthub.io/{name}")];
    let text = text
        .as_str()
        .unwrap_or_else(|| panic!("Chart.yaml says no artifacthub.io/{name}"));
    yaml(text)
}

/// The image that the chart runs unless its values say otherwise.
fn image(root: &Path, version: &str) -> String {
    let values = yaml(&read(root, "charts/hostup-operator/values.yaml"));
    let part = |name: &str| values["image"][name].as_str().unwrap().to_owned();
    format!("{}/{}:{version}", part("registry"), part("repository"))
}

/// The entries of the changelog: the heading without its `## `, and the text below it.
fn entries(changelog: &str) -> Vec<(&str, &str)> {
    let parts = changelog.split("\n## ").skip(1);
    parts
        .map(|part| part.split_once('\n').unwrap_or((part, "")))
        .collect()
}

/// What the changelog lacks. While nothing is tagged its newest version may still be to come.
fn of_the_changelog(changelog: &str, version: &str, tag: Option<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_numbered = |(heading, _): &&(&str, &str)| !heading.starts_with("[Unreleased]");
    let entries = entries(changelog);
    let newest = entries.iter().find(is_numbered).map(|(heading, _)| *heading);
    match (newest, tag) {
        (Some(heading), _) if !heading.starts_with(&format!("[{version}]")) => wrong.push(format!(
            "CHANGELOG.md: the newest entry is {heading:?}, and Cargo.toml says {version}"
        )),
        (Some(heading), _) => {
            let date = heading.rsplit_once(" - ").map(|(_, date)| date.parse());
            if !matches!(date, Some(Ok::<jiff::civil::Date, _>(_))) {
                wrong.push(format!(
                    "CHANGELOG.md: {heading:?} needs its date, as in `## [{version}] - 2026-01-31`"
                ));
            }
        }
        (None, Some(_)) => wrong.push(format!("CHANGELOG.md: there is no entry `## [{version}] - DATE`")),
        (None, None) => {}
    }
    let unreleased = entries.iter().find(|entry| !is_numbered(entry));
    if tag.is_some() && unreleased.is_some_and(|(_, text)| text.contains("\n- ")) {
        wrong.push(format!(
            "CHANGELOG.md: what stands under Unreleased belongs under [{version}]"
        ));
    }
    wrong
}

/// Where the version is another than that of Cargo.toml, in sentences that name the file.
fn differences(root: &Path, tag: Option<&str>) -> Vec<String> {
    let cargo = read(root, "Cargo.toml");
    let version = cargo
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .map(|version| version.trim_matches('"'))
        .unwrap();
    let chart = chart(root);
    let image = image(root, version);
    let mut said = vec![
        (
            "charts/hostup-operator/Chart.yaml: version",
            &chart["version"],
            version,
        ),
        (
            "charts/hostup-operator/Chart.yaml: appVersion",
            &chart["appVersion"],
            version,
        ),
    ];
    let images = annotation(&chart, "images");
    said.push((
        "charts/hostup-operator/Chart.yaml: artifacthub.io/images",
        &images[0]["image"],
        &image,
    ));
    let prerelease = annotation(&chart, "prerelease");
    let is_prerelease = Value::Bool(version.contains('-'));
    let manifests = ["deploy/install.yaml", "deploy/kustomize/base/operator.yaml"].map(|file| {
        let objects = documents(&read(root, file));
        let deployment = objects.into_iter().find(|object| object["kind"] == "Deployment");
        let image = at(&deployment.unwrap(), "spec.template.spec.containers")[0]["image"].clone();
        (file, image)
    });
    for (file, found) in &manifests {
        said.push((file, found, &image));
    }
    let mut wrong: Vec<String> = said
        .into_iter()
        .filter(|(_, found, expected)| found != expected)
        .map(|(place, found, expected)| format!("{place} is {found}, and by Cargo.toml it is {expected:?}"))
        .collect();
    if prerelease != is_prerelease {
        wrong.push(format!(
            "charts/hostup-operator/Chart.yaml: artifacthub.io/prerelease is {prerelease}, and the version is {version}"
        ));
    }
    if let Some(tag) = tag.filter(|tag| *tag != format!("v{version}")) {
        wrong.push(format!(
            "the tag is {tag:?}, and by Cargo.toml it is \"v{version}\""
        ));
    }
    wrong.extend(of_the_changelog(&read(root, "CHANGELOG.md"), version, tag));
    wrong
}

#[test]
fn every_file_names_the_same_version_and_so_does_the_tag() {
    let tag = std::env::var("RELEASE_TAG").ok().filter(|tag| !tag.is_empty());
    let wrong = differences(Path::new(ROOT), tag.as_deref());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_file_that_was_forgotten_in_a_release_is_named() {
    let version = env!("CARGO_PKG_VERSION");
    let copy = tempfile::tempdir().unwrap();
    let with = |file: &str, from: &str, to: &str, tag: Option<&str>| {
        for name in FILES {
            let path = copy.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut text = read(Path::new(ROOT), name);
            if name == "CHANGELOG.md" {
                let (head, _) = text.split_once("\n## ").unwrap();
                text =
                    format!("{head}\n## [Unreleased]\n\n## [{version}] - 2026-01-31\n\n### Added\n\n- It.\n");
            }
            if name == file {
                assert!(text.contains(from), "{file} has no {from:?}");
                text = text.replacen(from, to, 1);
            }
            std::fs::write(path, text).unwrap();
        }
        differences(copy.path(), tag)
    };
    let tag = format!("v{version}");
    assert_eq!(with("Cargo.toml", "", "", Some(&tag)), Vec::<String>::new());
    let quoted = format!("version = \"{version}\"");
    for (file, from, to, says) in [
        (
            "charts/hostup-operator/Chart.yaml",
            format!("\nversion: {version}"),
            "\nversion: 9.9.9",
            "Chart.yaml: version is \"9.9.9\"",
        ),
        (
            "charts/hostup-operator/Chart.yaml",
            format!("appVersion: {version}"),
            "appVersion: 9.9.9",
            "Chart.yaml: appVersion is \"9.9.9\"",
        ),
        (
            "charts/hostup-operator/Chart.yaml",
            format!("hostup-operator:{version}"),
            "hostup-operator:9.9.9",
            "Chart.yaml: artifacthub.io/images is",
        ),
        (
            "charts/hostup-operator/Chart.yaml",
            "prerelease: \"false\"".to_owned(),
            "prerelease: \"true\"",
            "Chart.yaml: artifacthub.io/prerelease is true",
        ),
        (
            "deploy/install.yaml",
            format!("hostup-operator:{version}"),
            "hostup-operator:9.9.9",
            "deploy/install.yaml is",
        ),
        (
            "deploy/kustomize/base/operator.yaml",
            format!("hostup-operator:{version}"),
            "hostup-operator:9.9.9",
            "deploy/kustomize/base/operator.yaml is",
        ),
        (
            "CHANGELOG.md",
            format!("[{version}]"),
            "[0.0.9]",
            "CHANGELOG.md: the newest entry is \"[0.0.9] - 2026-01-31\"",
        ),
        ("CHANGELOG.md", " - 2026-01-31".to_owned(), "", "needs its date"),
        (
            "CHANGELOG.md",
            "[Unreleased]\n".to_owned(),
            "[Unreleased]\n\n- More.\n",
            "CHANGELOG.md: what stands under Unreleased",
        ),
        (
            "CHANGELOG.md",
            format!("## [{version}] - 2026-01-31"),
            "",
            "CHANGELOG.md: there is no entry",
        ),
    ] {
        let wrong = with(file, &from, to, Some(&tag));
        let found = wrong.iter().any(|sentence| sentence.contains(says));
        assert!(found, "{file} with {to:?} does not say {says:?}: {wrong:?}");
    }
    let wrong = with("Cargo.toml", &quoted, "version = \"9.9.9\"", Some(&tag));
    for says in [
        "the tag is",
        "Chart.yaml: version",
        "install.yaml",
        "CHANGELOG.md",
    ] {
        assert!(
            wrong.iter().any(|sentence| sentence.contains(says)),
            "{says}: {wrong:?}"
        );
    }
}

#[test]
fn what_the_chart_tells_artifact_hub_is_there() {
    let root = Path::new(ROOT);
    let chart = chart(root);
    let text = |value: &Value| value.as_str().unwrap().to_owned();

    let kinds: BTreeSet<_> = crds::all()
        .iter()
        .map(|(_, crd)| {
            let version = &crd["spec"]["versions"][0]["name"];
            [&crd["spec"]["names"]["kind"], &crd["metadata"]["name"], version].map(text)
        })
        .collect();
    let named = annotation(&chart, "crds");
    let named = named.as_array().unwrap().iter();
    let named: BTreeSet<_> = named
        .map(|crd| [&crd["kind"], &crd["name"], &crd["version"]].map(text))
        .collect();
    assert_eq!(named, kinds, "artifacthub.io/crds");

    let examples = examples();
    let examples: Vec<Value> = examples.iter().flat_map(|(_, text)| documents(text)).collect();
    let shown = annotation(&chart, "crdsExamples");
    let shown = shown.as_array().unwrap();
    for example in shown {
        assert!(examples.contains(example), "no file in examples/ is {example}");
    }
    let kinds: BTreeSet<_> = shown.iter().map(|example| text(&example["kind"])).collect();
    assert_eq!(
        kinds,
        ["VpsBackupRestore", "VpsResourceConfig"]
            .map(str::to_owned)
            .into()
    );

    assert_eq!(
        chart["annotations"]["artifacthub.io/license"],
        env!("CARGO_PKG_LICENSE")
    );
    let platforms = annotation(&chart, "images")[0]["platforms"].clone();
    assert_eq!(platforms, serde_json::json!(["linux/amd64", "linux/arm64"]));
    for link in annotation(&chart, "links").as_array().unwrap() {
        let url = text(&link["url"]);
        let file = url.strip_prefix(&format!("{REPOSITORY}/blob/main/"));
        let file = file.unwrap_or_else(|| panic!("{url} is not of this repository"));
        assert!(root.join(file).exists(), "{url} leads nowhere");
    }

    let changelog = read(root, "CHANGELOG.md");
    let (_, newest) = entries(&changelog)[0];
    let spaced = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for change in annotation(&chart, "changes").as_array().unwrap() {
        let kind = text(&change["kind"]);
        let known = ["added", "changed", "deprecated", "removed", "fixed", "security"];
        assert!(known.contains(&kind.as_str()), "{kind} is no kind of change");
        let description = text(&change["description"]);
        assert!(
            spaced(newest).contains(&description),
            "the newest entry of CHANGELOG.md does not say {description:?}"
        );
    }
}

#[test]
fn the_package_of_the_chart_holds_no_tests() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    helm(control_plane(), &["package", CHART, "--destination", folder]).unwrap();
    let package = out
        .path()
        .join(format!("hostup-operator-{}.tgz", env!("CARGO_PKG_VERSION")));
    let listed = Command::new("tar").arg("-tzf").arg(package).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for needed in [
        "Chart.yaml",
        "values.yaml",
        "values.schema.json",
        "templates/deployment.yaml",
        "files/crds/vpsoperations.yaml",
    ] {
        assert!(
            listed.contains(&format!("hostup-operator/{needed}\n")),
            "{listed}"
        );
    }
    assert!(!listed.contains("/tests/"), "{listed}");
}

#[test]
fn the_manifest_for_krew_names_the_archives_of_the_release_and_their_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let version = "1.2.3-rc.1";
    for architecture in ["amd64", "arm64"] {
        let archive = format!("kubectl-hostup-{version}-linux-{architecture}.tar.gz");
        std::fs::write(folder.path().join(archive), architecture).unwrap();
    }
    let fill = |folder: &Path| {
        let script = Path::new(ROOT).join("deploy/krew/fill.sh");
        let mut filled = Command::new("bash");
        filled.arg(script).arg(version).arg(folder).output().unwrap()
    };
    let filled = fill(folder.path());
    assert!(filled.status.success(), "{filled:?}");
    let manifest = yaml(std::str::from_utf8(&filled.stdout).unwrap());
    assert_eq!(at(&manifest, "spec.version"), &format!("v{version}"));
    let summed = Command::new("bash")
        .args(["-c", "sha256sum -- *amd64* *arm64* | cut -d' ' -f1"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let sums = String::from_utf8(summed.stdout).unwrap();
    let platforms = at(&manifest, "spec.platforms").as_array().unwrap();
    assert_eq!(platforms.len(), 2);
    for ((platform, sum), architecture) in platforms.iter().zip(sums.lines()).zip(["amd64", "arm64"]) {
        let uri = format!(
            "{REPOSITORY}/releases/download/v{version}/kubectl-hostup-{version}-linux-{architecture}.tar.gz"
        );
        assert_eq!(platform["uri"], uri);
        assert_eq!(platform["sha256"], sum);
        assert_eq!(platform["bin"], "kubectl-hostup");
        assert_eq!(at(platform, "selector.matchLabels.arch"), architecture);
    }
    assert!(!manifest.to_string().contains('@'), "{manifest}");
    std::fs::remove_file(
        folder
            .path()
            .join(format!("kubectl-hostup-{version}-linux-arm64.tar.gz")),
    )
    .unwrap();
    assert!(!fill(folder.path()).status.success(), "an archive is missing");
}
