//! Ids, money, time and text, each a type of its own.

pub mod digest;
pub mod ids;
pub mod json;
pub mod moment;
pub mod money;
pub mod rfc3339;
pub mod text;
