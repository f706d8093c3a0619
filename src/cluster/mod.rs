//! The API server, without policy: calls, Secrets, events, the Lease, watches, and what of it is known.

pub mod api_call;
pub mod events;
pub mod fail_point;
pub mod heartbeat;
pub mod lease;
pub mod namespaces;
pub mod recent;
pub mod secrets;
pub mod watch;
