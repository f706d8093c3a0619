//! Control planes start, stand side by side, and leave nothing behind however their owner ends.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::panic;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use control_plane::{ControlPlane, Options, Pids, User};

fn start() -> ControlPlane {
    ControlPlane::start(Options::default()).unwrap()
}

fn all(pids: Pids) -> Vec<u32> {
    [pids.etcd, pids.apiserver, pids.controller_manager]
        .into_iter()
        .map(|pid| pid.expect("every program has a pid"))
        .collect()
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The processes, supervisors included, that name `dir` in their arguments.
fn processes_about(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|words| String::from_utf8_lossy(&words).replace('\0', " "))
        .filter(|words| words.contains(dir))
        .collect()
}

fn eventually(what: &str, check: impl Fn() -> bool) {
    let began = Instant::now();
    while !check() {
        assert!(began.elapsed() < Duration::from_secs(5), "not yet: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// `control-plane up`, in a temporary folder of its own.
struct Up {
    process: Child,
    temp: tempfile::TempDir,
    ready: String,
}

impl Up {
    fn start() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_control-plane"))
            .args(["up", "--dir"])
            .arg(temp.path().join("demo"))
            .env("TMPDIR", temp.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut ready)
            .unwrap();
        Self { process, temp, ready }
    }

    fn must_leave_nothing(&self) {
        eventually("every process is gone", || {
            processes_about(self.temp.path()).is_empty()
        });
        eventually("its folder is gone", || {
            !fs::read_dir(self.temp.path())
                .unwrap()
                .any(|entry| is_work_dir(&entry.unwrap().file_name().to_string_lossy()))
        });
    }

    fn work_dirs(&self) -> usize {
        fs::read_dir(self.temp.path())
            .unwrap()
            .filter(|entry| is_work_dir(&entry.as_ref().unwrap().file_name().to_string_lossy()))
            .count()
    }
}

fn is_work_dir(name: &str) -> bool {
    name.starts_with("hostup-cp-") && name != "hostup-cp-ports"
}

#[test]
fn a_control_plane_starts_and_leaves_nothing_when_it_is_dropped() {
    let cluster = start();
    println!("up after {:?}", cluster.start_took());
    let version = cluster.kubectl_ok(&["version"]).unwrap();
    assert!(version.contains("Server Version: v1."), "{version}");
    let pids = all(cluster.pids());
    for (pid, name) in pids.iter().zip(["etcd", "apiserver", "controller-manager"]) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let rss = status.lines().find(|line| line.starts_with("VmRSS"));
        println!("{name}: {}", rss.unwrap());
    }
    let dir = cluster.dir().to_owned();

    let began = Instant::now();
    drop(cluster);
    println!("down after {:?}", began.elapsed());
    assert!(!pids.into_iter().any(runs));
    assert!(!dir.exists());
    eventually("every process is gone", || processes_about(&dir).is_empty());
}

#[test]
fn two_control_planes_stand_side_by_side_and_share_nothing() {
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(start);
        let other = scope.spawn(start);
        (one.join().unwrap(), other.join().unwrap())
    });
    assert_ne!(one.url(), other.url());
    one.kubectl_ok(&["create", "namespace", "only-here"]).unwrap();
    let there = other.kubectl(&["get", "namespace", "only-here"]).unwrap();
    assert!(!there.status.success());
    let pids = all(one.pids());
    one.stop();
    assert!(!pids.into_iter().any(runs));
    other.kubectl_ok(&["get", "namespaces"]).unwrap();
}

#[test]
fn a_test_that_panics_leaves_nothing() {
    let pids = std::sync::Mutex::new(Vec::new());
    let outcome = panic::catch_unwind(|| {
        let cluster = start();
        *pids.lock().unwrap() = all(cluster.pids());
        panic!("as a failing test does");
    });
    assert!(outcome.is_err());
    let pids = pids.into_inner().unwrap_or_else(|e| e.into_inner());
    assert_eq!(pids.len(), 3);
    assert!(!pids.into_iter().any(runs));
}

#[test]
fn nothing_is_left_when_the_process_that_holds_it_is_killed() {
    let mut up = Up::start();
    assert!(up.ready.starts_with("ready kubeconfig="), "{}", up.ready);
    assert!(processes_about(up.temp.path()).len() > 3);
    assert_eq!(up.work_dirs(), 1);
    // SIGKILL: nothing in that process gets to run any more.
    up.process.kill().unwrap();
    up.process.wait().unwrap();
    up.must_leave_nothing();
}

#[test]
fn nothing_is_left_when_the_process_is_killed_while_it_starts() {
    let temp = tempfile::tempdir().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .args(["up", "--dir"])
        .arg(temp.path().join("demo"))
        .env("TMPDIR", temp.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("an API server starts", || {
        processes_about(temp.path())
            .iter()
            .any(|words| words.contains("kube-apiserver --etcd"))
    });
    process.kill().unwrap();
    process.wait().unwrap();
    let up = Up {
        process,
        temp,
        ready: String::new(),
    };
    up.must_leave_nothing();
}

#[test]
fn the_command_writes_kubeconfigs_and_stops_when_stdin_closes() {
    let mut up = Up::start();
    let kubeconfig = up.ready.trim().strip_prefix("ready kubeconfig=").unwrap();
    assert!(Path::new(kubeconfig).is_file());
    for user in User::ALL.into_iter().filter(|user| *user != User::Admin) {
        let file = format!("demo/{}.kubeconfig", user.name());
        assert!(up.temp.path().join(file).is_file());
    }
    drop(up.process.stdin.take());
    assert!(up.process.wait().unwrap().success());
    up.must_leave_nothing();
}

#[test]
fn the_command_stops_on_sigterm_and_succeeds() {
    let mut up = Up::start();
    let killed = Command::new("kill")
        .args(["-TERM", &up.process.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert!(up.process.wait().unwrap().success());
    up.must_leave_nothing();
}

#[test]
fn the_command_explains_itself_when_it_is_misused() {
    let output = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .arg("down")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: control-plane up --dir DIR"));
}

#[test]
fn an_api_server_that_does_not_start_shows_its_last_words() {
    let error = ControlPlane::start(Options {
        apiserver_args: vec!["--no-such-flag".to_owned()],
        ..Options::default()
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("kube-apiserver ended by itself"), "{error}");
    assert!(error.contains("no-such-flag"), "{error}");
}
