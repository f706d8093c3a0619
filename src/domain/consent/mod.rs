//! What it costs, and who allows it.

pub mod approval;
pub mod price;
pub mod quote;
