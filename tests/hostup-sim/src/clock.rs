//! Times as the provider writes them: ISO 8601, UTC, milliseconds (all examples of the v2 pages).

use std::time::SystemTime;

use jiff::Timestamp;

/// `2026-04-27T12:34:56.000Z`
pub(crate) fn iso(at: SystemTime) -> String {
    Timestamp::try_from(at)
        .expect("a time within the calendar")
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}
