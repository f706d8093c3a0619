use std::env;
use std::path::{Path, PathBuf};

use crate::error::{Result, Tried};
use crate::supervised::Sweeper;

/// Set (to anything), it leaves the folders of control planes for a look at their logs.
const KEEP: &str = "HOSTUP_TEST_KEEP";

/// The folder in which one control plane keeps its data, logs and credentials.
#[derive(Debug)]
pub(crate) struct WorkDir {
    path: PathBuf,
    _sweeper: Option<Sweeper>,
}

impl WorkDir {
    pub(crate) fn new() -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix("hostup-cp-")
            .tempdir()
            .tried(|| format!("make a folder in {}", env::temp_dir().display()))?
            .keep();
        let sweeper = match env::var_os(KEEP) {
            Some(_) => {
                eprintln!("control-plane: {KEEP} is set, keeping {}", path.display());
                None
            }
            None => Some(Sweeper::of(&path)?),
        };
        Ok(Self {
            path,
            _sweeper: sweeper,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
