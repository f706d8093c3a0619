//! Logs on standard error, one line each, as JSON or as text.

use tracing_subscriber::EnvFilter;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Plain text.
    Text,
}

/// Starts logging; `RUST_LOG` chooses what, by default our own lines of level info.
pub fn start(format: LogFormat) {
    // kube's own client logs each failed call as an error; ours say what it means.
    let fallback = "info,kube_client=off,kube_runtime=error,tower=off";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(fallback));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .init(),
        LogFormat::Text => lines.init(),
    }
}
