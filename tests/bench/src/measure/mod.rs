//! How each figure is taken.

pub mod process;
pub mod provider;
pub mod requests;
pub mod statistics;
