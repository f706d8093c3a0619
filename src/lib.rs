//! A Kubernetes operator that restores HostUp VPS backups to new pay-as-you-go VMs: gates first,
//! price known before it is paid, every paid call made at most once, no outcome ever lost.
//!
//! Modules are listed from the lowest floor up; imports point down only.

pub mod accounts;
pub mod api;
pub mod api_server;
pub mod app;
pub mod args;
pub mod chance;
pub mod clock;
pub mod cluster;
pub mod controllers;
pub mod hostup;
pub mod ledger;
pub mod telemetry;

pub use hostup_domain as domain;
