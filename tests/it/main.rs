//! The built binary against a real control plane and the simulated provider.

mod api_server;
mod crash;
mod crds;
mod floors;
mod life;
mod re_creation;
mod replicas;
mod support;
