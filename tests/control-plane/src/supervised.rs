use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use crate::error::{Error, Result, Tried};

const SUPERVISE: &str = include_str!("supervise.sh");
const SWEEP: &str = include_str!("sweep.sh");
const LOG_LINES_SHOWN: usize = 20;

/// A bash script that acts when its standard input ends: at [`Leash::release`], on drop, and also
/// when this process is killed, for then the kernel closes the pipe.
#[derive(Debug)]
struct Leash {
    bash: Child,
    stdin: Option<ChildStdin>,
}

impl Leash {
    /// Runs the script in a process group of its own: a Ctrl-C meant for the tests must not reach
    /// it, or the program would end before those that need it.
    fn new(script: &str, args: &[&OsStr], output: Stdio, errors: Stdio) -> Result<Self> {
        let mut bash = Command::new("bash")
            .args(["-c", script, "bash"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .tried(|| "run bash".to_owned())?;
        let stdin = bash.stdin.take();
        Ok(Self { bash, stdin })
    }

    fn release(&mut self) {
        drop(self.stdin.take());
        // It cannot fail for a child that was not waited for otherwise.
        let _ = self.bash.wait();
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.release();
    }
}

/// A running program of the control plane. It is killed on drop.
#[derive(Debug)]
pub(crate) struct Supervised {
    leash: Leash,
    name: &'static str,
    log: PathBuf,
    pid_file: PathBuf,
}

impl Supervised {
    /// Starts `program`; its output is appended to `<name>.log` in `dir`.
    pub(crate) fn start(dir: &Path, name: &'static str, program: &Path, args: &[String]) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let pid_file = dir.join(format!("{name}.pid"));
        // The pid of an earlier run must not be taken for that of this one.
        let _ = fs::remove_file(&pid_file);
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .tried(|| format!("write {}", log.display()))?;
        let errors = output.try_clone().tried(|| format!("write {}", log.display()))?;
        let mut words: Vec<&OsStr> = vec![pid_file.as_os_str(), program.as_os_str()];
        words.extend(args.iter().map(OsStr::new));
        let leash = Leash::new(SUPERVISE, &words, output.into(), errors.into())?;
        Ok(Self {
            leash,
            name,
            log,
            pid_file,
        })
    }

    /// The process id of the program itself, once it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()
    }

    /// Fails when the program has ended by itself.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        match self.leash.bash.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(status)),
            Err(source) => Err(Error::Io {
                what: format!("watch {}", self.name),
                source,
            }),
        }
    }

    /// True when the log says that its port was taken.
    pub(crate) fn found_its_port_taken(&self) -> bool {
        self.log_tail().contains("address already in use")
    }

    fn ended(&self, status: ExitStatus) -> Error {
        Error::Ended {
            program: self.name.to_owned(),
            status: status.to_string(),
            log: self.log_tail(),
        }
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

/// Removes a folder when it is dropped, and also when this process is killed.
#[derive(Debug)]
pub(crate) struct Sweeper {
    _leash: Leash,
}

impl Sweeper {
    pub(crate) fn of(dir: &Path) -> Result<Self> {
        let leash = Leash::new(SWEEP, &[dir.as_os_str()], Stdio::null(), Stdio::null())?;
        Ok(Self { _leash: leash })
    }
}
