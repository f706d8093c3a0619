use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::control_plane::ControlPlane;
use crate::credentials::User;
use crate::error::{Error, Result, Tried};

impl ControlPlane {
    /// Runs kubectl as the admin. What kubectl thinks of it stands in the `Output`.
    ///
    /// # Errors
    /// kubectl cannot be run at all.
    pub fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.kubectl_as(&self.kubeconfig(User::Admin), args, None)
    }

    /// Runs kubectl as the admin and returns what it printed to stdout.
    ///
    /// # Errors
    /// kubectl cannot be run, or ends with an error; the error holds its stderr.
    pub fn kubectl_ok(&self, args: &[&str]) -> Result<String> {
        succeed(args, self.kubectl(args)?)
    }

    /// Applies manifests as the admin, on the server's side.
    ///
    /// # Errors
    /// As for [`kubectl_ok`](Self::kubectl_ok).
    pub fn apply(&self, yaml: &str) -> Result<String> {
        let args = ["apply", "--server-side", "-f", "-"];
        let output = self.kubectl_as(&self.kubeconfig(User::Admin), &args, Some(yaml))?;
        succeed(&args, output)
    }

    /// Applies CRDs as the admin, and waits until the API server serves them.
    ///
    /// # Errors
    /// As for [`kubectl_ok`](Self::kubectl_ok).
    pub fn apply_crds(&self, manifests: &[String]) -> Result<()> {
        for manifest in manifests {
            self.apply(manifest)?;
        }
        let established = "--for=condition=Established";
        self.kubectl_ok(&["wait", established, "--timeout=30s", "crd", "--all"])
            .map(drop)
    }

    /// Runs kubectl with a kubeconfig, and with `stdin` if there is any.
    ///
    /// # Errors
    /// kubectl cannot be run at all.
    pub fn kubectl_as(&self, kubeconfig: &Path, args: &[&str], stdin: Option<&str>) -> Result<Output> {
        let run = || -> std::io::Result<Output> {
            let mut kubectl = self
                .kubectl_command(kubeconfig)
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            if let (Some(mut pipe), Some(text)) = (kubectl.stdin.take(), stdin) {
                // kubectl may end without reading all of it; its stderr then says why.
                let _ = pipe.write_all(text.as_bytes());
            }
            kubectl.wait_with_output()
        };
        run().tried(|| format!("run {}", self.kubectl_program().display()))
    }

    /// kubectl with a kubeconfig and no further arguments, to be run as the caller likes: a watch, a
    /// long wait.
    pub fn kubectl_command(&self, kubeconfig: &Path) -> Command {
        let mut kubectl = Command::new(self.kubectl_program());
        kubectl
            .arg("--kubeconfig")
            .arg(kubeconfig)
            // Ports come back: what another cluster on the same one could do is no guide.
            .env("KUBECACHEDIR", self.dir().join("kubectl-cache"))
            .env("KUBERC", "off")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        kubectl
    }
}

fn succeed(args: &[&str], output: Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Kubectl {
        args: args.join(" "),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
