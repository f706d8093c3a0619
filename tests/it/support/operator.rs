//! The built binary as a process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::PATIENCE;

/// Durations that make a life last seconds.
const FAST: [&str; 7] = [
    "--poll-interval=100ms",
    "--settle-time=3s",
    "--request-timeout=3s",
    "--paid-timeout=5s",
    "--gate-interval=300ms",
    "--resync-interval=2s",
    "--job-deadline=60s",
];

#[derive(Default)]
struct Output {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

impl Output {
    /// A wait that failed while it held the lock must not hide the log of its own failure.
    fn lines(&self) -> MutexGuard<'_, (Vec<String>, bool)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running operator; killed when dropped.
pub struct Operator {
    child: Child,
    output: Arc<Output>,
}

impl Operator {
    /// Starts the binary with fast durations, without leader election and without a cap, unless
    /// `args` (which come last and win) say otherwise.
    pub fn start(kubeconfig: &Path, args: &[String], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hostup-operator"));
        command.arg("run");
        let given = |flag: &str| {
            let name = flag.split('=').next().unwrap();
            args.iter().any(|arg| arg.split('=').next() == Some(name))
        };
        let others = [
            "--leader-elect=false",
            "--max-paid-calls=0",
            "--listen=127.0.0.1:0",
        ];
        command.args(FAST.iter().chain(&others).filter(|flag| !given(flag)));
        command.args(args).env("KUBECONFIG", kubeconfig).env(
            "RUST_LOG",
            "debug,hyper_util=off,kube_client=off,rustls=off,tower=off",
        );
        command.envs(env.iter().copied());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Output::default());
        let stderr = child.stderr.take().unwrap();
        let shared = output.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let Ok(line) = line else { break };
                shared.lines().0.push(String::from_utf8_lossy(&line).into_owned());
                shared.more.notify_all();
            }
            shared.lines().1 = true;
            shared.more.notify_all();
        });
        Self { child, output }
    }

    /// Everything it has written to standard error, line by line.
    pub fn log(&self) -> Vec<String> {
        self.output.lines().0.clone()
    }

    /// Waits for a log line that holds `text`.
    pub fn wait_for_line(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.output.lines();
        loop {
            if let Some(line) = lines.0.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !lines.1,
                "no line with {text:?} in:\n{}",
                lines.0.join("\n")
            );
            lines = self.output.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Paid calls that this process has sent, by its own word.
    pub fn sent(&self) -> usize {
        let lines = self.log();
        lines
            .iter()
            .filter(|line| line.contains("sending the paid call"))
            .count()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process as a crash would.
    pub fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name, e.g. `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for the process to end by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.output.lines();
        while !lines.1 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "the operator does not end:\n{}",
                lines.0.join("\n")
            );
            lines = self.output.more.wait_timeout(lines, left).unwrap().0;
        }
        drop(lines);
        self.child.wait().unwrap()
    }

    /// Whether the process has ended.
    pub fn has_ended(&self) -> bool {
        self.output.lines().1
    }

    /// Waits for the process to end by itself, without holding up other tasks.
    pub async fn ended(mut self) -> (Self, ExitStatus) {
        tokio::task::spawn_blocking(move || {
            let status = self.wait_for_end();
            (self, status)
        })
        .await
        .unwrap()
    }

    /// What a GET of its own server answers: status line and body.
    pub fn http(&self, path: &str) -> (String, String) {
        self.http_as(path, "*/*")
    }

    /// The same, where these formats are accepted.
    pub fn http_as(&self, path: &str, accept: &str) -> (String, String) {
        let line = self.wait_for_line("serving /metrics");
        let parsed: Value = serde_json::from_str(&line).unwrap();
        let mut stream = TcpStream::connect(parsed["address"].as_str().unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// All metrics as text.
    pub fn metrics(&self) -> String {
        self.http("/metrics").1
    }

    /// Samples by their name with labels, e.g. `hostup_operator_operations{state="Unknown"}`.
    pub fn samples(&self) -> BTreeMap<String, f64> {
        let text = self.metrics();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .collect()
    }
}

impl Operator {
    /// The samples once that one fits. A watch feeds them, so they may follow what a status says.
    pub fn samples_with(&self, sample: &str, fits: impl Fn(Option<f64>) -> bool) -> BTreeMap<String, f64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let samples = self.samples();
            if fits(samples.get(sample).copied()) {
                return samples;
            }
            assert!(Instant::now() < deadline, "{sample} does not fit in {samples:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- log of operator {} ---\n{}",
                self.pid(),
                self.log().join("\n")
            );
        }
    }
}
