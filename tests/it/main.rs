//! The built binary against a real control plane and the simulated provider.

mod crds;
mod floors;
mod gates;
mod life;
mod manifests;
mod support;
