//! Floor 1: what things mean. No I/O, no clock, no async.

pub mod answer;
pub mod approval;
pub mod chain;
pub mod config;
pub mod digest;
pub mod gate;
pub mod ids;
pub mod inventory;
pub mod job;
pub mod moment;
pub mod money;
pub mod names;
pub mod operation;
pub mod options;
pub mod order;
pub mod preflight;
pub mod price;
pub mod question;
pub mod quote;
pub mod reason;
pub mod receipt;
pub mod record;
pub mod report;
pub mod restore;
pub mod rfc3339;
pub mod text;
