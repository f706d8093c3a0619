//! Flags and environment, validated once.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand};
use url::Url;

use crate::controllers::settings::Caps;
use crate::domain::record::Times;
use crate::telemetry::logs::LogFormat;

/// Restores HostUp VPS backups and keeps paid VPS options from Kubernetes objects, and pays at most once.
#[derive(Debug, Parser)]
#[command(
    name = "hostup-operator",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Args {
    /// What to do; runs the operator by default.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of the operator.
    #[command(flatten)]
    pub run: Run,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator (the default).
    Run(Box<Run>),
    /// Print the CRDs as YAML.
    Crds,
}

/// Flags of the operator. Durations are written 500ms, 5s, 15m, 1h.
#[derive(Debug, Clone, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // switches on a command line
pub struct Run {
    /// HostUp's address. Plain http only to this host, or with --allow-plain-http.
    #[arg(long, env, default_value = "https://cloud.hostup.se", value_parser = address)]
    pub hostup_url: Url,
    /// Allow plain http to a remote HostUp address; the API key then travels in the clear.
    #[arg(long, env, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub allow_plain_http: bool,
    /// This installation. It enters the names of bought VMs: keep it when a cluster is rebuilt.
    /// Default: the uid of the namespace kube-system.
    #[arg(long, env)]
    pub instance_id: Option<String>,
    /// Namespaces whose objects are driven. Default: all.
    #[arg(long, env, value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Most paid calls in 24 hours; 0 means no cap.
    #[arg(long, env, default_value_t = 20)]
    pub max_paid_calls: u32,
    /// Most paid calls in 24 hours for the objects of one namespace, refused ones included; 0 means no cap. Default:
    /// half of --max-paid-calls, or all of it where one namespace alone is watched.
    #[arg(long, env)]
    pub max_paid_calls_per_namespace: Option<u32>,
    /// Send no paid call at all.
    #[arg(long, env, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub read_only: bool,
    /// Allow orders by HostUp's older upgrade route. No page says what its estimate does.
    #[arg(long, env, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub enable_legacy_upgrade: bool,
    /// How long after a lost answer a purchase may still show up.
    #[arg(long, env, default_value = "15m", value_parser = duration)]
    pub settle_time: Duration,
    /// The shortest interval between two polls of a job.
    #[arg(long, env, default_value = "2s", value_parser = duration)]
    pub poll_interval: Duration,
    /// Deadline of a read of HostUp, and how long after its claim a paid call may start.
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub request_timeout: Duration,
    /// Deadline of a paid call, counted from its claim.
    #[arg(long, env, default_value = "120s", value_parser = duration)]
    pub paid_timeout: Duration,
    /// After this a job is given up, and a person asked.
    #[arg(long, env, default_value = "6h", value_parser = duration)]
    pub job_deadline: Duration,
    /// How often things at rest are read again.
    #[arg(long, env, default_value = "1h", value_parser = duration)]
    pub resync_interval: Duration,
    /// How often closed gates are read again.
    #[arg(long, env, default_value = "1m", value_parser = duration)]
    pub gate_interval: Duration,
    /// Address of /metrics, /livez and /readyz.
    #[arg(long, env, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Reconciles of one kind at a time.
    #[arg(long, env, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Let one of several replicas lead. Safety does not depend on it.
    #[arg(long, env, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub leader_elect: bool,
    /// Namespace of the Lease. Default: the pod's own, else hostup-system.
    #[arg(long, env)]
    pub operator_namespace: Option<String>,
    /// How log lines look.
    #[arg(long, env, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

impl Run {
    /// The durations that decisions depend on.
    pub fn times(&self) -> Times {
        Times {
            settle_time: self.settle_time,
            poll_interval: self.poll_interval,
            request_timeout: self.request_timeout,
            paid_timeout: self.paid_timeout,
            job_deadline: self.job_deadline,
            resync_interval: self.resync_interval,
            gate_interval: self.gate_interval,
        }
    }

    /// The caps on the paid calls of 24 hours.
    pub fn caps(&self) -> Caps {
        let cap = |most: u32| Some(most).filter(|most| *most > 0);
        let share = match self.watch_namespaces.as_slice() {
            [_only] => self.max_paid_calls,
            _ => self.max_paid_calls.div_ceil(2),
        };
        Caps {
            all: cap(self.max_paid_calls),
            of_namespace: cap(self.max_paid_calls_per_namespace.unwrap_or(share)),
        }
    }

    /// HostUp's origin, if it may be used.
    ///
    /// # Errors
    /// A line that says what is wrong and what to do.
    pub fn origin(&self) -> Result<Url, String> {
        let url = &self.hostup_url;
        let mut shown = url.clone();
        // A password in it is nothing for a log; a URL that cannot hold one has none to hide.
        let _none = (shown.set_username(""), shown.set_password(None));
        let wrong = |what: &str| Err(format!("--hostup-url {shown}: {what}"));
        let Some(host) = url.host_str() else {
            return wrong("it names no host; write it like https://cloud.hostup.se");
        };
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("it must not hold a user or password; keys belong into Secrets");
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return wrong("it must be an origin without a path, like https://cloud.hostup.se");
        }
        let loopback = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback());
        match url.scheme() {
            "https" => Ok(url.clone()),
            "http" if loopback || self.allow_plain_http => Ok(url.clone()),
            "http" => wrong(
                "plain http would send the API key in the clear; use https, or --allow-plain-http if you must",
            ),
            _ => wrong("only https (and http to this host) can be used"),
        }
    }

    /// Refuses durations that contradict one another.
    ///
    /// # Errors
    /// A line that says what is wrong and what to do.
    pub fn check(&self) -> Result<(), String> {
        if self.paid_timeout <= self.request_timeout {
            return Err(
                "--paid-timeout must be longer than --request-timeout: a paid call may start that late"
                    .to_owned(),
            );
        }
        if self.instance_id.as_ref().is_some_and(|id| id.len() > 253) {
            return Err("--instance-id is longer than 253 characters".to_owned());
        }
        if self.watch_namespaces.iter().any(String::is_empty) {
            return Err("--watch-namespaces has an empty name; leave the flag out to watch all".to_owned());
        }
        Ok(())
    }
}

fn address(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| format!("{error}; write it like https://cloud.hostup.se"))
}

/// Reads `500ms`, `5s`, `15m` or `1h`; never nothing.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration above zero; write it like 500ms, 5s, 15m or 1h");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let milliseconds = match &text[digits.len()..] {
        "ms" => Some(count),
        "s" => count.checked_mul(1000),
        "m" => count.checked_mul(60 * 1000),
        "h" => count.checked_mul(60 * 60 * 1000),
        _ => None,
    };
    let longest = 365 * 24 * 60 * 60 * 1000;
    milliseconds
        .filter(|ms| (1..=longest).contains(ms))
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Run {
        Args::try_parse_from([&["hostup-operator"], args].concat())
            .unwrap()
            .run
    }

    #[test]
    fn durations_are_written_with_a_unit_and_never_zero() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        for bad in [
            "",
            "5",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "5d",
            "99999999999999999999s",
            "9999999h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_is_only_for_this_host() {
        assert!(run(&["--hostup-url", "http://127.0.0.1:8787"]).origin().is_ok());
        assert!(run(&["--hostup-url", "http://[::1]:8787"]).origin().is_ok());
        assert!(run(&["--hostup-url", "http://cloud.hostup.se"]).origin().is_err());
        assert!(
            run(&["--hostup-url", "http://cloud.hostup.se", "--allow-plain-http"])
                .origin()
                .is_ok()
        );
        for bad in [
            "https://user:pw@cloud.hostup.se",
            "https://cloud.hostup.se/api",
            "ftp://127.0.0.1",
            "file:///x",
        ] {
            assert!(run(&["--hostup-url", bad]).origin().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_namespace_takes_half_of_the_cap_unless_it_is_the_only_one() {
        let caps = |args: &[&str]| {
            let caps = run(args).caps();
            (caps.all, caps.of_namespace)
        };
        assert_eq!(caps(&[]), (Some(20), Some(10)));
        assert_eq!(caps(&["--max-paid-calls=1"]), (Some(1), Some(1)));
        assert_eq!(caps(&["--max-paid-calls=5"]), (Some(5), Some(3)));
        assert_eq!(caps(&["--max-paid-calls=0"]), (None, None));
        assert_eq!(caps(&["--watch-namespaces=a"]), (Some(20), Some(20)));
        assert_eq!(caps(&["--watch-namespaces=a,b"]), (Some(20), Some(10)));
        assert_eq!(caps(&["--max-paid-calls-per-namespace=3"]), (Some(20), Some(3)));
        assert_eq!(caps(&["--max-paid-calls-per-namespace=0"]), (Some(20), None));
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let run = run(&[]);
        assert_eq!(run.settle_time, Duration::from_secs(900));
        assert_eq!(run.paid_timeout, Duration::from_secs(120));
        assert_eq!((run.max_paid_calls, run.workers, run.leader_elect), (20, 8, true));
        assert!(run.check().is_ok());
    }
}
