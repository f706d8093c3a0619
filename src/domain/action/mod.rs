//! A paid call: what is sent, what its answer proves, how it is followed.

pub mod answer;
pub mod follow;
pub mod question;
pub mod receipt;
