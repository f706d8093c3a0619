//! How things stand with an object, in the words of its conditions.

pub mod reason;
pub mod report;
