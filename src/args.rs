//! Flags and environment, validated once.
//!
//! Each setting has its own grammar. Blanks around a value are removed, because a value often comes from a file that
//! ends in a newline. A value that does not fit is refused, never corrected.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{Resettable, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use url::Url;

use crate::domain::ledger::Caps;
use crate::domain::ledger::record::Times;
use crate::domain::values::ids::InstanceId;
use crate::domain::values::text::Text;
use crate::telemetry::logs::LogFormat;

/// Restores HostUp VPS backups and keeps paid VPS options in sync, from Kubernetes objects. It pays at most once.
#[derive(Debug, Parser)]
#[command(
    name = "hostup-operator",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Args {
    /// The command. Runs the operator by default.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of the operator.
    #[command(flatten)]
    pub run: Run,
}

impl Args {
    /// Reads a command line and the environment. An empty variable counts as one that is not set, and so does an
    /// empty flag of a setting that has no default to be written down.
    ///
    /// # Errors
    /// What is wrong, or what was asked for instead: the help, the version.
    pub fn read(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let without_empty_variable = |arg: Arg| {
            let variable = arg.get_env().and_then(std::env::var_os);
            if variable.is_some_and(|value| value.is_empty()) {
                arg.env(Resettable::Reset)
            } else {
                arg
            }
        };
        let command = Self::command()
            .mut_args(without_empty_variable)
            .mut_subcommand("run", |run| run.mut_args(without_empty_variable));
        let line = line
            .into_iter()
            .filter(|arg| arg != "--instance-id=" && arg != "--operator-namespace=");
        Self::from_arg_matches(&command.try_get_matches_from(line)?)
    }
}

/// The variables that name proxies for programs in general, and what is spared.
pub type Proxies = BTreeMap<&'static str, String>;

/// Those that are set, without the blanks around their values.
pub fn proxies() -> Proxies {
    let names = [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ];
    let set = |name| {
        let value = std::env::var_os(name)?.to_str()?.trim().to_owned();
        (!value.is_empty()).then_some((name, value))
    };
    names.into_iter().filter_map(set).collect()
}

/// The error in a command line, as one line. It contains values only if their grammar shows them.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let wrong = text
        .split("\nUsage:")
        .next()
        .and_then(|text| text.split("\nFor more information").next());
    let wrong = wrong.unwrap_or_default().trim_start_matches("error: ");
    Text::bounded(wrong, 600).to_string()
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator (the default).
    Run(Box<Run>),
    /// Print the CRDs as YAML.
    Crds,
}

/// The grammar of a setting.
struct Setting<T>(fn(&str) -> Result<T, String>);

impl<T> Clone for Setting<T> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Setting<T> {
    type Value = T;

    fn parse_ref(&self, _: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let read = match value.to_str().map(str::trim) {
            None => Err("the value is not plain text".to_owned()),
            Some("") => Err("the value is empty; omit the flag to use the default".to_owned()),
            Some(text) => self.0(text),
        };
        read.map_err(|wrong| {
            let flag = arg
                .and_then(Arg::get_long)
                .map_or_else(String::new, |flag| format!("--{flag}: "));
            clap::Error::raw(ErrorKind::ValueValidation, format!("{flag}{wrong}"))
        })
    }
}

/// Flags of the operator. Write durations like 500ms, 5s, 15m or 1h.
#[derive(Debug, Clone, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // switches on a command line
pub struct Run {
    /// HostUp's address. Plain http is allowed only to this host, or with --allow-plain-http.
    #[arg(long, env, default_value = "https://cloud.hostup.se", value_parser = Setting(address))]
    pub hostup_url: Url,
    /// The HTTP proxy for connections to HostUp, as a URL with host and port. It must support tunnels (CONNECT), and works
    /// with https only. The operator does not use the proxies of the environment for HostUp.
    #[arg(long, env, value_parser = Setting(proxy))]
    pub hostup_proxy: Option<Url>,
    /// A PEM file with certificates of additional CAs to trust for connections to HostUp.
    #[arg(long, env, value_parser = Setting(path))]
    pub hostup_ca_file: Option<PathBuf>,
    /// Allow plain http to a remote HostUp address. The API key is then sent unencrypted.
    #[arg(long, env, default_value = "false", value_parser = Setting(switch), action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub allow_plain_http: bool,
    /// The id of this installation. The names of bought VMs depend on it: keep it when you rebuild the cluster. Default: the
    /// uid of the namespace kube-system.
    #[arg(long, env, value_parser = Setting(instance_id))]
    pub instance_id: Option<InstanceId>,
    /// The namespaces whose objects are reconciled. Default: all.
    #[arg(long, env, value_delimiter = ',', value_parser = Setting(namespace))]
    pub watch_namespaces: Vec<String>,
    /// The maximum number of paid calls in 24 hours. 0 means no cap.
    #[arg(long, env, default_value = "20", value_parser = Setting(count))]
    pub max_paid_calls: u32,
    /// The maximum number of paid calls in 24 hours for the objects of one namespace, including refused calls. 0 means no
    /// cap. Default: half of --max-paid-calls, or all of it if only one namespace is watched.
    #[arg(long, env, value_parser = Setting(count))]
    pub max_paid_calls_per_namespace: Option<u32>,
    /// Send no paid calls.
    #[arg(long, env, default_value = "false", value_parser = Setting(switch), action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub read_only: bool,
    /// Allow a VpsBackupRestore to restore a VPS's own backup onto the VPS itself. HostUp's page of that route is not public.
    #[arg(long, env, default_value = "false", value_parser = Setting(switch), action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub enable_in_place_restore: bool,

    /// Allow orders through HostUp's legacy API. HostUp's pages do not say what its estimate does.
    #[arg(long, env, default_value = "false", value_parser = Setting(switch), action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub enable_legacy_upgrade: bool,
    /// How long a purchase may take to appear at HostUp after an answer was lost.
    #[arg(long, env, default_value = "15m", value_parser = Setting(duration))]
    pub settle_time: Duration,
    /// The shortest interval between two polls of a job.
    #[arg(long, env, default_value = "2s", value_parser = Setting(duration))]
    pub poll_interval: Duration,
    /// The deadline of a read from HostUp, and the time after its claim within which a paid call may start.
    #[arg(long, env, default_value = "30s", value_parser = Setting(duration))]
    pub request_timeout: Duration,
    /// The deadline of a paid call, counted from its claim.
    #[arg(long, env, default_value = "120s", value_parser = Setting(duration))]
    pub paid_timeout: Duration,
    /// The time after which the operator stops waiting for a job and asks a user.
    #[arg(long, env, default_value = "6h", value_parser = Setting(duration))]
    pub job_deadline: Duration,
    /// How often objects are read again if nothing has changed.
    #[arg(long, env, default_value = "1h", value_parser = Setting(duration))]
    pub resync_interval: Duration,
    /// How often closed gates are read again.
    #[arg(long, env, default_value = "1m", value_parser = Setting(duration))]
    pub gate_interval: Duration,
    /// The address of /metrics, /livez and /readyz. The default serves IPv6 and IPv4, whichever the host has.
    #[arg(long, env, default_value = "[::]:8080", value_parser = Setting(socket))]
    pub listen: SocketAddr,
    /// The number of objects of one CRD that are reconciled at the same time.
    #[arg(long, env, default_value = "8", value_parser = Setting(workers))]
    pub workers: u16,
    /// Elect one of several replicas as leader. Safety does not depend on it.
    #[arg(long, env, default_value = "true", value_parser = Setting(switch), action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub leader_elect: bool,
    /// The namespace of the Lease. Default: the namespace of the pod, or hostup-system outside of a pod.
    #[arg(long, env, value_parser = Setting(namespace))]
    pub operator_namespace: Option<String>,
    /// The format of log lines: json or text.
    #[arg(long, env, default_value = "json", value_parser = Setting(log_format))]
    pub log_format: LogFormat,
}

/// Whether a URL contains a user or a password.
pub fn names_a_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Whether a URL has a path, a query or a fragment.
pub fn leads_below_its_origin(url: &Url) -> bool {
    !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some()
}

/// Whether a host, as a URL writes it, is this one: nobody on the way can read what is sent there.
pub fn is_this_host(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
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
        if !url.has_host() {
            return wrong("it has no host; write it like https://cloud.hostup.se");
        }
        if names_a_user(url) {
            return wrong("it must not contain a user or a password; put keys into Secrets");
        }
        if leads_below_its_origin(url) {
            return wrong("it must be an origin without a path, like https://cloud.hostup.se");
        }
        match url.scheme() {
            "https" => Ok(url.clone()),
            "http" if self.hostup_proxy.is_some() => wrong(
                "--hostup-proxy works with https only, because a proxy could read plain http; use https, or remove --hostup-proxy",
            ),
            "http" if url.host_str().is_some_and(is_this_host) || self.allow_plain_http => Ok(url.clone()),
            "http" => wrong(
                "plain http would send the API key unencrypted; use https, or --allow-plain-http if you must",
            ),
            _ => wrong("the scheme must be https (or http to this host)"),
        }
    }

    /// Refuses durations that contradict one another.
    ///
    /// # Errors
    /// A line that says what is wrong and what to do.
    pub fn check(&self) -> Result<(), String> {
        if self.paid_timeout <= self.request_timeout {
            return Err(
                "--paid-timeout must be longer than --request-timeout, because a paid call may start that late"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// Reads a URL as it is written. The library would silently drop tabs and newlines from within it. No error contains the
/// text, because it may contain a password.
fn url(text: &str, example: &str) -> Result<Url, String> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("the URL contains a blank; write it like {example}"));
    }
    Url::parse(text).map_err(|error| format!("{error}; write it like {example}"))
}

fn address(text: &str) -> Result<Url, String> {
    url(text, "https://cloud.hostup.se")
}

fn proxy(text: &str) -> Result<Url, String> {
    let example = "http://proxy.example:3128";
    let proxy = url(text, example)?;
    let plain = matches!(proxy.path(), "" | "/") && proxy.query().is_none() && proxy.fragment().is_none();
    if !matches!(proxy.scheme(), "http" | "https") || !proxy.has_host() || !plain {
        return Err(format!(
            "it is not the address of an HTTP proxy; write it like {example}"
        ));
    }
    Ok(proxy)
}

#[allow(clippy::unnecessary_wraps)] // as all other grammars
fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

fn switch(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is neither true nor false"))
}

fn count(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a whole number from 0 to {}", u32::MAX))
}

fn workers(text: &str) -> Result<u16, String> {
    let read = text.parse().ok().filter(|n| (1..=256).contains(n));
    read.ok_or_else(|| format!("{text:?} is not a whole number from 1 to 256"))
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not an address with a port; write it like [::]:8080 or 127.0.0.1:8080")
    })
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err(format!("{text:?} is neither json nor text")),
    }
}

fn instance_id(text: &str) -> Result<InstanceId, String> {
    InstanceId::parse(text).ok_or_else(|| {
        format!(
            "{text:?} is not an instance id: it must have 1 to 63 letters, digits, '.', '_' and '-'; before you change the id \
             of an installation that has bought something, read docs/after-a-rebuild.md"
        )
    })
}

/// Reads a DNS label, as Kubernetes names a namespace.
///
/// # Errors
/// A line that says what is wrong.
pub fn namespace(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let label = (1..=63).contains(&text.len())
        && text.chars().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if label {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not the name of a namespace: it must have 1 to 63 lower-case letters, digits and '-'"
        ))
    }
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
        let line = ["hostup-operator"].iter().chain(args).map(OsString::from);
        Args::read(line).unwrap().run
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

    /// Every setting with a value that is not its default.
    const SETTINGS: [(&str, &str); 23] = [
        ("--hostup-url", "http://127.0.0.1:1"),
        ("--hostup-proxy", "http://proxy.example:3128"),
        ("--hostup-ca-file", "/etc/ca.pem"),
        ("--allow-plain-http", "true"),
        ("--instance-id", "cluster-1.eu_west"),
        ("--watch-namespaces", "shop,web-2"),
        ("--max-paid-calls", "3"),
        ("--max-paid-calls-per-namespace", "2"),
        ("--read-only", "true"),
        ("--enable-in-place-restore", "true"),
        ("--enable-legacy-upgrade", "true"),
        ("--settle-time", "1h"),
        ("--poll-interval", "3s"),
        ("--request-timeout", "1s"),
        ("--paid-timeout", "3m"),
        ("--job-deadline", "1h"),
        ("--resync-interval", "2h"),
        ("--gate-interval", "2m"),
        ("--listen", "127.0.0.1:9"),
        ("--workers", "3"),
        ("--leader-elect", "false"),
        ("--operator-namespace", "ops"),
        ("--log-format", "text"),
    ];

    #[test]
    fn blanks_around_a_value_are_no_part_of_it() {
        let help = Args::command().render_long_help().to_string();
        let flags = help.matches("\n      --").count() + help.matches("\n  -").count();
        assert_eq!(flags, SETTINGS.len() + 2, "a setting is missing above: {help}");
        let read = |flag: &str, value: &str| format!("{:?}", run(&[&format!("{flag}={value}")]));
        for (flag, value) in SETTINGS {
            let plain = read(flag, value);
            assert_ne!(plain, format!("{:?}", run(&[])), "{flag} changes nothing");
            for (before, after) in [
                ("", "\n"),
                ("", "\r\n"),
                ("", " "),
                ("\t", ""),
                (" ", "\t\n"),
                ("\u{a0}", "\u{2003}"),
            ] {
                let blank = format!("{before}{value}{after}");
                assert_eq!(read(flag, &blank), plain, "{flag} {blank:?}");
            }
        }
        assert_eq!(
            read("--watch-namespaces", " shop ,\tweb-2\n"),
            read("--watch-namespaces", "shop,web-2")
        );
    }

    #[test]
    fn a_value_beside_its_grammar_is_refused_in_one_line_that_names_the_flag() {
        let long = "x".repeat(64);
        for (flag, bad) in [
            (
                "--instance-id",
                [
                    "pro d",
                    "pröd",
                    "a/b",
                    "a\nb",
                    "a,b",
                    "\u{feff}prod",
                    "pro\0d",
                    &long,
                ],
            ),
            (
                "--watch-namespaces",
                ["Shop", "a,,b", "shop,", "a.b", "-a", "a-", "a\nb", &long],
            ),
            (
                "--operator-namespace",
                ["Ops", "a_b", "a.b", "-a", "a-", "a b", "kube-system/x", &long],
            ),
            (
                "--hostup-url",
                [
                    "nonsense",
                    "https://",
                    "https://a b",
                    "https://a\n.b",
                    "https://a\t.b",
                    "://",
                    "[",
                    "/",
                ],
            ),
            (
                "--hostup-proxy",
                [
                    "proxy:3128",
                    "socks5://p:1",
                    "http://",
                    "http://p/path",
                    "http://p q",
                    "http://p\n:1",
                    "ftp://p",
                    "x",
                ],
            ),
            (
                "--listen",
                [
                    "8080",
                    ":8080",
                    "localhost:8080",
                    "::1:8080x",
                    "[::]",
                    "0.0.0.0",
                    "0.0.0.0:99999",
                    "a b",
                ],
            ),
            (
                "--settle-time",
                ["5", "5 s", "1d", "-1s", "1.5s", "0s", "s", "5s\n5s"],
            ),
            (
                "--max-paid-calls",
                ["-1", "1.0", "many", "1 0", "4294967296", "0x1", "1\n2", "1,0"],
            ),
            (
                "--workers",
                ["0", "257", "-1", "1.0", "many", "1 0", "1\n2", "65536"],
            ),
            (
                "--read-only",
                ["yes", "True", "1", "tru e", "true\nfalse", "on", "t", "TRUE"],
            ),
            (
                "--log-format",
                ["JSON", "xml", "json text", "js\non", "1", "-", "yaml", "jsonl"],
            ),
        ] {
            for value in bad.into_iter().chain(["", " ", "\n", "\t\r\n"]) {
                let value = format!("{flag}={value}");
                if ["--instance-id=", "--operator-namespace="].contains(&value.as_str()) {
                    continue;
                }
                let line = ["hostup-operator", &value].map(OsString::from);
                let error = Args::read(line).map(drop).unwrap_err();
                let said = one_line(&error);
                assert!(
                    said.contains(flag) && !said.contains(['\n', '\r', '\t', '\0']),
                    "{value:?}: {said:?}"
                );
            }
        }
        let secret = ["hostup-operator", "--hostup-proxy=http://me:geheim@pro xy"].map(OsString::from);
        assert!(!one_line(&Args::read(secret).unwrap_err()).contains("geheim"));
    }

    #[test]
    fn an_empty_instance_id_is_none() {
        assert_eq!(run(&["--instance-id="]).instance_id, None);
    }

    #[test]
    fn a_proxy_is_for_https_only() {
        let proxy = "--hostup-proxy=http://me:geheim@proxy.example:3128";
        assert!(run(&[proxy]).origin().is_ok());
        for url in ["http://127.0.0.1:8787", "http://cloud.hostup.se"] {
            let said = run(&[proxy, "--hostup-url", url, "--allow-plain-http"])
                .origin()
                .unwrap_err();
            assert!(said.contains("https only") && !said.contains("geheim"), "{said}");
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
