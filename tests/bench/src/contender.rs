//! Who is measured: the operator or the bare loop, each as a process of its own.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bare::WATCHING;
use crate::error::{Error, Result, Tried};
use crate::stage::{Stage, blocking};
use crate::workloads::Site;

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// The least that any client could do.
    Bare,
    /// The release binary.
    Operator,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare",
            Self::Operator => "operator",
        })
    }
}

/// A running contender; killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    /// From its start until it was ready.
    pub ready_after: Duration,
}

impl Process {
    /// Starts one and waits until it is ready. `calls_a_second` is for the bare loop, which is told the pace.
    pub async fn start(
        who: Contender,
        site: &Site,
        stage: &Stage,
        run: &str,
        calls_a_second: u32,
    ) -> Result<Self> {
        let log = site.logs.join(format!("{run}-{who}.log"));
        let mut command = match who {
            Contender::Bare => {
                let own = std::env::current_exe().tried(|| "find this program".to_owned())?;
                let mut command = Command::new(own);
                command.arg("bare");
                command.arg("--kubeconfig").arg(&stage.kubeconfig);
                command.arg(format!("--job-millis={}", stage.job.as_millis()));
                command.arg(format!("--calls-a-second={calls_a_second}"));
                command
            }
            Contender::Operator => {
                let mut command = Command::new(&site.operator);
                command.args(["run", "--max-paid-calls=0", "--listen=127.0.0.1:0"]);
                command
            }
        };
        let file = File::create(&log).tried(|| format!("write {}", log.display()))?;
        command.arg(format!("--hostup-url={}", stage.sim.url()));
        // Nothing of this machine's settings: what is measured are the defaults.
        command.env_clear().env("KUBECONFIG", &stage.kubeconfig);
        let began = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .tried(|| format!("start the {who}"))?;
        let mut process = Self {
            child,
            log,
            ready_after: Duration::ZERO,
        };
        loop {
            let ready = match who {
                Contender::Bare => process.line_with(WATCHING)?.is_some(),
                Contender::Operator => process.answers_ready().await?,
            };
            if ready {
                process.ready_after = began.elapsed();
                return Ok(process);
            }
            process.must_run()?;
            if began.elapsed() > START {
                return Err(Error::new(
                    format!("the {who} is not ready within {START:?}"),
                    process.last_lines(),
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error once it has ended by itself.
    pub fn must_run(&mut self) -> Result<()> {
        match self
            .child
            .try_wait()
            .tried(|| "look after the contender".to_owned())?
        {
            None => Ok(()),
            Some(status) => Err(Error::new(
                format!("the contender ended ({status})"),
                self.last_lines(),
            )),
        }
    }

    /// Tells it to stop, and waits for its end, so that the next one need not wait for its Lease.
    pub async fn stop(mut self) -> Result<()> {
        blocking(move || {
            let what = || "stop the contender".to_owned();
            let pid = self.child.id().to_string();
            Command::new("kill").args(["-TERM", &pid]).status().tried(what)?;
            let until = Instant::now() + STOP;
            while self.child.try_wait().tried(what)?.is_none() {
                if Instant::now() > until {
                    return Err(Error::new(
                        format!("the contender does not stop within {STOP:?}"),
                        self.last_lines(),
                    ));
                }
                std::thread::sleep(LOOK);
            }
            Ok(())
        })
        .await
    }

    async fn answers_ready(&self) -> Result<bool> {
        let Some(line) = self.line_with("serving /metrics")? else {
            return Ok(false);
        };
        let line: serde_json::Value =
            serde_json::from_str(&line).tried(|| format!("read the line {line}"))?;
        let url = format!("http://{}/readyz", line["address"].as_str().unwrap_or_default());
        // Until it listens, nothing answers.
        Ok(reqwest::get(url)
            .await
            .is_ok_and(|answer| answer.status().is_success()))
    }

    fn line_with(&self, text: &str) -> Result<Option<String>> {
        let log = read(&self.log)?;
        Ok(log.lines().find(|line| line.contains(text)).map(str::to_owned))
    }

    fn last_lines(&self) -> String {
        let log = read(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.len().saturating_sub(10);
        format!(
            "the last lines of {}:\n{}",
            self.log.display(),
            lines.get(last..).unwrap_or_default().join("\n")
        )
    }
}

fn read(log: &Path) -> Result<String> {
    std::fs::read_to_string(log).tried(|| format!("read {}", log.display()))
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
