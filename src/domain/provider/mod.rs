//! What HostUp shows: gates, backups, sizes, options, VMs, jobs.

pub mod backup;
pub mod gate;
pub mod inventory;
pub mod job;
pub mod options;
pub mod preflight;
