use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::control_plane::ControlPlane;
use crate::credentials::User;
use crate::error::{Result, Tried};

impl ControlPlane {
    /// Runs Helm as the admin: the one beside the other programs, or the one that the environment variable
    /// `HOSTUP_TEST_HELM` names. What Helm thinks of it stands in the `Output`.
    ///
    /// # Errors
    /// Helm cannot be run at all.
    pub fn helm(&self, args: &[&str]) -> Result<Output> {
        let program = std::env::var_os("HOSTUP_TEST_HELM").map_or_else(|| self.helm_program(), PathBuf::from);
        let mut helm = Command::new(&program);
        helm.args(args)
            .env("KUBECONFIG", self.kubeconfig(User::Admin))
            .stdin(Stdio::null());
        for (name, folder) in [("CACHE", "cache"), ("CONFIG", "config"), ("DATA", "data")] {
            helm.env(format!("HELM_{name}_HOME"), self.dir().join("helm").join(folder));
        }
        helm.output().tried(|| format!("run {}", program.display()))
    }
}
