//! Floor 1: what things mean. No I/O, no clock, no async.

pub mod answer;
pub mod approval;
pub mod digest;
pub mod gate;
pub mod ids;
pub mod inventory;
pub mod job;
pub mod money;
pub mod names;
pub mod operation;
pub mod preflight;
pub mod price;
pub mod quote;
pub mod reason;
pub mod record;
pub mod restore;
pub mod text;
