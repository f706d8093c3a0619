//! The built binary against a real control plane and the simulated provider.

mod approval;
mod brakes;
mod crds;
mod credentials;
mod flags;
mod floors;
mod gates;
mod life;
mod manifests;
mod resolution;
mod serving;
mod support;
mod writes;
