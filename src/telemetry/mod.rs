//! Floor 4: logs, metrics, probes, and the wrapper around every reconcile.

pub mod api_calls;
pub mod http;
pub mod logs;
pub mod metrics;
