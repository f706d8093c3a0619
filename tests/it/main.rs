//! The built binary against a real control plane and the simulated provider.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::pedantic
)]

mod accounts;
mod answers;
mod api_server;
mod approval;
mod argocd;
mod argocd_layout;
mod backup_first;
mod brakes;
mod budgets;
mod cannot_look;
mod chart;
mod config;
mod config_answers;
mod config_bytes;
mod config_crash;
mod config_manifests;
mod config_races;
mod crash;
mod crds;
mod credentials;
mod diagnostics;
mod docs;
mod documented_commands;
mod flags;
mod floors;
mod gates;
mod gitops;
mod happy_path;
mod holds;
mod hostile;
mod jobs;
mod kustomize;
mod ledger_watch;
mod legacy;
mod manifests;
mod many_records;
mod memory;
mod monitoring;
mod names;
mod outputs;
mod overwrite;
mod plugin;
mod policies;
mod policies_in_force;
mod proxies;
mod rbac;
mod re_creation;
mod reference;
mod refusals;
mod refused_writes;
mod release;
mod replicas;
mod resize;
mod resolution;
mod routes;
mod schema;
mod second_look;
mod sentences;
mod serving;
mod settings;
mod support;
mod vms;
mod watches;
mod writes;
