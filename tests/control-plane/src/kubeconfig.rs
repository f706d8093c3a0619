use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use data_encoding::BASE64;
use serde_json::json;

use crate::credentials::ClientCertificate;
use crate::error::{Result, Tried};

/// By what a kubeconfig proves who its user is.
#[derive(Debug)]
pub(crate) enum Proof<'a> {
    Token(&'a str),
    Certificate(&'a ClientCertificate),
}

/// What a kubeconfig of a control plane says.
#[derive(Debug)]
pub(crate) struct Kubeconfig<'a> {
    pub(crate) server: String,
    pub(crate) ca_pem: &'a str,
    pub(crate) proof: Proof<'a>,
    /// Another user and its groups, in whose name the holder of the token acts.
    pub(crate) acting_as: Option<(&'a str, &'a [&'a str])>,
}

impl Kubeconfig<'_> {
    /// Writes it as YAML, one entry a line; [`with_server`] counts on that.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let proof = match self.proof {
            Proof::Token(token) => format!("    token: {token}\n"),
            Proof::Certificate(proof) => format!(
                "    client-certificate-data: {}\n    client-key-data: {}\n",
                BASE64.encode(proof.certificate_pem.as_bytes()),
                BASE64.encode(proof.key_pem.as_bytes()),
            ),
        };
        let mut yaml = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: test\n  cluster:\n    server: {}\n    certificate-authority-data: {}\n\
             contexts:\n\
             - name: test\n  context:\n    cluster: test\n    user: test\n\
             current-context: test\n\
             users:\n\
             - name: test\n  user:\n{proof}",
            self.server,
            BASE64.encode(self.ca_pem.as_bytes()),
        );
        if let Some((name, groups)) = self.acting_as {
            // JSON strings and lists are YAML too, with every odd character quoted.
            let _ = writeln!(yaml, "    as: {}", json!(name));
            let _ = writeln!(yaml, "    as-groups: {}", json!(groups));
        }
        fs::write(path, yaml).tried(|| format!("write {}", path.display()))
    }
}

/// The text of a kubeconfig with the address of its server replaced.
pub(crate) fn with_server(kubeconfig: &str, server: &str) -> String {
    kubeconfig
        .lines()
        .map(|line| match line.split_once("server: ") {
            Some((indent, _)) if indent.trim().is_empty() => format!("{indent}server: {server}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}
