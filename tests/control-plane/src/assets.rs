use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result, Tried};

/// The folder with the programs of the control plane.
#[derive(Debug, Clone)]
pub(crate) struct Assets(PathBuf);

impl Assets {
    /// Finds the programs, building them first where that has not been done yet (minutes).
    pub(crate) fn find() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.sh");
        let output = Command::new("bash")
            .arg(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .tried(|| format!("run bash {}", script.display()))?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let folder = stdout.lines().last().unwrap_or_default();
        if !output.status.success() || folder.is_empty() {
            return Err(Error::Assets(format!(
                "{} could not provide the control plane ({}); its lines on stderr say why",
                script.display(),
                output.status,
            )));
        }
        Ok(Self(PathBuf::from(folder)))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A client beside the other programs, else the one on PATH (`KUBEBUILDER_ASSETS` may lack it).
    pub(crate) fn client(&self, name: &str) -> PathBuf {
        let own = self.program(name);
        if own.exists() { own } else { PathBuf::from(name) }
    }
}
