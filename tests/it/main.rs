//! The built binary against a real control plane and the simulated provider.

mod answers;
mod crds;
mod floors;
mod hostile;
mod jobs;
mod life;
mod support;
