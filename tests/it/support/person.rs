//! What a person does with the texts that the operator prints.

use std::process::Command;

use control_plane::User;
use serde_json::Value;

use super::{TestEnv, ready};

impl TestEnv {
    /// Runs a printed command in a shell whose kubectl reaches the control plane.
    pub async fn run_printed(&self, command: &str) {
        let kubeconfig = self.plane.kubeconfig(User::Admin);
        let kubectl = self.plane.kubectl_command(&kubeconfig);
        let folder = std::path::Path::new(kubectl.get_program()).parent().unwrap();
        let path = format!("{}:{}", folder.display(), env!("PATH"));
        let mut shell = Command::new("bash");
        shell
            .args(["-c", command])
            .env("KUBECONFIG", &kubeconfig)
            .env("PATH", path);
        let output = tokio::task::spawn_blocking(move || shell.output()).await.unwrap();
        let output = output.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {error}");
    }

    /// Runs the command that the message of `Ready` prints after `label`.
    pub async fn follow(&self, object: &Value, label: &str) {
        self.run_printed(&printed(object, label)).await;
    }
}

/// The command that the message of `Ready` prints after `label`, whose case is a matter of style.
pub fn printed(object: &Value, label: &str) -> String {
    let message = ready(object)["message"].as_str().unwrap();
    let at = message.to_ascii_lowercase().find(&label.to_ascii_lowercase());
    let at = at.unwrap_or_else(|| panic!("no {label:?} in {message}"));
    let rest = &message[at + label.len()..];
    // A printed patch ends with a quoted JSON text; another command is the last of the message.
    let end = rest.find("}'").map_or(rest.len(), |end| end + 2);
    let command = rest[..end].trim();
    assert!(command.starts_with("kubectl "), "no command in {rest}");
    command.to_owned()
}
