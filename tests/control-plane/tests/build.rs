//! The build script on its own, with a `go` that only leaves empty programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

/// `go build -o OUT/ PACKAGES` makes a program for each package that has a name of its own.
const GO: &str = r#"#!/bin/bash
echo "$*" >>"$GO_CALLS"
[[ $1 == build ]] || exit 0
[[ ${GO_FAILS:-} ]] && { echo "no such package" >&2; exit 1; }
sleep 0.3
while [[ $1 != -o ]]; do shift; done
for package in "${@:3}"; do
  case $package in
    k8s.io/*/cmd/*) program=${package##*/} ;;
    helm.sh/*/cmd/*) program=${package##*/} ;;
    go.etcd.io/*) program=etcd ;;
    *) continue ;;
  esac
  echo '#!/bin/sh' >"$2$program"
  chmod +x "$2$program"
done
"#;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.program("bin/go", GO);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn script(&self) -> Command {
        let mut script = Command::new("bash");
        script
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/build.sh"))
            .env("HOSTUP_TEST_CACHE", self.path("cache"))
            .env("GO_CALLS", self.path("calls"))
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .env_remove("KUBEBUILDER_ASSETS");
        script
    }

    fn builds(&self) -> usize {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().filter(|call| call.starts_with("build ")).count()
    }
}

fn printed_folder(output: &Output) -> PathBuf {
    assert!(output.status.success(), "{}", stderr(output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    PathBuf::from(stdout.lines().last().unwrap())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn has_all(folder: &Path) -> bool {
    [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kubectl",
        "helm",
    ]
    .iter()
    .all(|program| folder.join(program).is_file())
}

#[test]
fn two_runs_at_once_build_once_and_a_third_finds_it_built() {
    let place = Place::new();
    let folders = thread::scope(|scope| {
        [(); 2]
            .map(|()| scope.spawn(|| printed_folder(&place.script().output().unwrap())))
            .map(|run| run.join().unwrap())
    });
    assert_eq!(folders[0], folders[1]);
    assert!(has_all(&folders[0]));
    assert_eq!(
        place.builds(),
        3,
        "one for Kubernetes, one for etcd, one for Helm"
    );
    let third = place.script().output().unwrap();
    assert_eq!(printed_folder(&third), folders[0]);
    assert_eq!(stderr(&third), "");
    assert_eq!(place.builds(), 3);
}

#[test]
fn a_build_that_fails_says_so_and_leaves_nothing_that_looks_built() {
    let place = Place::new();
    let failed = place.script().env("GO_FAILS", "1").output().unwrap();
    assert!(!failed.status.success() && failed.stdout.is_empty());
    let why = stderr(&failed);
    assert!(
        why.contains("building Kubernetes v") && why.contains("failed"),
        "{why}"
    );
    let folders = fs::read_dir(place.path("cache")).unwrap();
    assert_eq!(folders.filter(|e| e.as_ref().unwrap().path().is_dir()).count(), 0);
    assert!(has_all(&printed_folder(&place.script().output().unwrap())));
}

#[test]
fn given_programs_are_used_as_they_are() {
    let place = Place::new();
    for program in ["etcd", "kube-apiserver", "kube-controller-manager"] {
        place.program(&format!("assets/{program}"), "#!/bin/sh\n");
    }
    let assets = place.path("assets");
    let given = place
        .script()
        .env("KUBEBUILDER_ASSETS", &assets)
        .output()
        .unwrap();
    assert_eq!(printed_folder(&given), assets.canonicalize().unwrap());
    assert_eq!(place.builds(), 0);
}

#[test]
fn given_programs_that_are_not_all_there_are_left_aside() {
    let place = Place::new();
    place.program("assets/etcd", "#!/bin/sh\n");
    let given = place
        .script()
        .env("KUBEBUILDER_ASSETS", place.path("assets"))
        .output()
        .unwrap();
    assert!(has_all(&printed_folder(&given)));
    assert!(stderr(&given).contains("lacks etcd, kube-apiserver or kube-controller-manager"));
}

#[test]
fn a_go_that_cannot_use_the_modules_is_named_with_the_version_to_install() {
    let place = Place::new();
    place.program(
        "bin/go",
        "#!/bin/sh\nif [ \"$1\" = env ]; then echo go1.25.1; else exit 1; fi\n",
    );
    let output = place.script().output().unwrap();
    assert!(!output.status.success());
    let why = stderr(&output);
    assert!(
        why.contains("go1.25.1") && why.contains("install Go 1.26"),
        "{why}"
    );
    assert_eq!(why.lines().count(), 1, "{why}");
}
