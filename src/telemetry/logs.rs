//! Logs on standard error, one line each, as JSON or as text.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Plain text.
    Text,
}

/// What is logged where `RUST_LOG` says nothing.
const DEFAULT: &str = "info,kube_runtime=error,tower=off";

/// Starts logging; `RUST_LOG` chooses what, by default our own lines of level info.
///
/// # Errors
/// A line that says what is wrong with `RUST_LOG`.
pub fn start(format: LogFormat) -> Result<(), String> {
    let chosen = std::env::var_os("RUST_LOG").unwrap_or_default();
    let chosen = chosen
        .to_str()
        .ok_or_else(|| wrong("the value is not plain text"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter(chosen)?)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let guard = filter_fn(|metadata| !shows_bodies(metadata.target()));
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .with(guard)
            .init(),
        LogFormat::Text => lines.finish().with(guard).init(),
    }
    Ok(())
}

/// kube's client logs the whole body of an answer that it cannot read, a Secret's too. No setting may ask for
/// that; what its failed calls mean is said in lines of our own.
fn shows_bodies(target: &str) -> bool {
    target.split("::").next() == Some("kube_client")
}

fn wrong(what: &str) -> String {
    format!("RUST_LOG: {what}; write it like info, or info,hostup_operator=debug")
}

fn filter(chosen: &str) -> Result<EnvFilter, String> {
    let chosen = match chosen.trim() {
        "" => DEFAULT,
        chosen => chosen,
    };
    // A word alone would be read as the name of a crate, and silence all others.
    let words: Vec<&str> = chosen
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    if let Some(word) = words
        .iter()
        .find(|word| !word.contains(['=', '[']) && !is_level(word))
    {
        return Err(wrong(&format!("{word:?} is not a level")));
    }
    EnvFilter::builder()
        .parse(words.join(","))
        .map_err(|error| wrong(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_and_what_it_does_not_know_is_refused() {
        for good in [
            "",
            " \n",
            "info",
            "info,",
            "INFO\n",
            "off",
            "debug,hyper_util=off",
            "warn, tower=info",
            "info,hostup_operator[reconcile]=trace",
        ] {
            assert!(filter(good).is_ok(), "{good:?}");
        }
        for bad in [
            "inof",
            "info debug",
            "hyper=inof",
            "info,hyper",
            "=",
            "info\ndebug",
            "5s",
        ] {
            let Err(said) = filter(bad) else {
                panic!("{bad:?} is taken")
            };
            assert!(
                said.starts_with("RUST_LOG: ") && !said.contains('\n'),
                "{bad:?}: {said}"
            );
        }
    }
}
