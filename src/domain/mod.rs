//! Floor 1: what things mean. No I/O, no clock, no async.

pub mod action;
pub mod consent;
pub mod ledger;
pub mod options;
pub mod provider;
pub mod purchase;
pub mod restore;
pub mod status;
pub mod values;
