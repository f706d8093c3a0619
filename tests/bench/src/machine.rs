//! What is measured on: versions, and how steady the machine is.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the same work took, again and again.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    fastest: Duration,
    median: Duration,
    slowest: Duration,
}

const ROUNDS: usize = 60;
const STEPS: u32 = 8_000_000;

/// Does the same work again and again.
pub fn noise() -> Noise {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            let mut word = 88_172_645_463_325_252_u64;
            for _ in 0..STEPS {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
            }
            std::hint::black_box(word);
            began.elapsed()
        })
        .collect();
    took.sort();
    let at = |place: usize| took.get(place).copied().unwrap_or_default();
    Noise {
        fastest: at(0),
        median: at(ROUNDS / 2),
        slowest: at(ROUNDS - 1),
    }
}

impl Noise {
    fn text(self) -> String {
        let spread = self.slowest.as_secs_f64() / self.fastest.as_secs_f64();
        format!(
            "median {:.1} ms, slowest {spread:.2} x fastest",
            self.median.as_secs_f64() * 1000.0
        )
    }
}

/// The versions and the noise, as a list in Markdown.
pub fn describe(operator: &Path, before: Noise, after: Noise) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let git = |args: &[&str]| said(Command::new("git").arg("-C").arg(&root).args(args));
    let changed = git(&["status", "--porcelain", "--", "src", "Cargo.toml"]);
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let changed = match changed.as_deref() {
        None | Some("") => "",
        Some(_) => ", with changes",
    };
    let programs =
        said(Command::new("bash").arg(root.join("tests/control-plane/build.sh"))).unwrap_or_default();
    let programs = Path::new(programs.lines().last().unwrap_or_default());
    let version = |program: &str| {
        let text = said(Command::new(programs.join(program)).arg("--version"));
        text.and_then(|text| Some(text.lines().next()?.to_owned()))
            .unwrap_or_else(|| "unknown".to_owned())
    };
    let file = |path: &str| {
        std::fs::read_to_string(path).map_or("unknown".to_owned(), |text| text.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = file("/proc/cpuinfo");
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default();
    [
        format!("{}, commit {commit}{changed}", said(Command::new(operator).arg("--version")).unwrap_or_default()),
        format!("{}, {} (nothing synced to disk)", version("kube-apiserver"), version("etcd")),
        format!(
            "Linux {}, {cores} cores,{}; the contender, the servers, the simulator and the harness share them",
            file("/proc/sys/kernel/osrelease"),
            cpu.trim_start().trim_start_matches(':'),
        ),
        format!("load average at the end: {}", file("/proc/loadavg")),
        format!(
            "noise, the same work {ROUNDS} times: before {}; after {}",
            before.text(),
            after.text()
        ),
    ]
    .map(|line| format!("- {line}\n"))
    .concat()
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}
