//! API keys: read by name at use, kept for a moment, never listed or watched.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;

use crate::api::shared::CredentialsSecretRef;
use crate::clock::Clock;
use crate::cluster::api_call::{self, ApiError};
use crate::domain::values::digest;
use crate::domain::values::ids::KeyMark;
use crate::domain::values::moment::Moment;

/// How long a key is used before its Secret is read again.
const KEPT: Duration = Duration::from_secs(30);
/// Longest text that is taken for an API key.
const LONGEST_KEY: usize = 4096;
const ENTRIES_KEPT: usize = 1000;

/// A key and the version of the Secret that held it.
#[derive(Clone)]
pub struct Credentials {
    /// The API key.
    pub key: SecretString,
    /// What tells this key from another.
    pub mark: KeyMark,
    /// `resourceVersion` of the Secret.
    pub version: String,
}

/// Why there is no key.
#[derive(Debug)]
pub enum NoCredentials {
    /// The Secret or the key in it is missing or unusable; the text says which and what to do.
    Missing(String),
    /// The API server could not be asked.
    Unread(ApiError),
}

/// Secrets by name, for a moment.
pub struct Secrets {
    client: Client,
    clock: Clock,
    kept: Mutex<HashMap<(String, CredentialsSecretRef), (Moment, Credentials)>>,
}

impl Secrets {
    /// None read yet.
    pub fn new(client: Client, clock: Clock) -> Self {
        Self {
            client,
            clock,
            kept: Mutex::default(),
        }
    }

    /// The key that `wanted` names in `namespace`.
    pub async fn get(
        &self,
        namespace: &str,
        wanted: &CredentialsSecretRef,
    ) -> Result<Credentials, NoCredentials> {
        let at = (namespace.to_owned(), wanted.clone());
        let now = self.clock.now();
        if let Some((read, credentials)) = self.lock().get(&at)
            && now.since(read) < KEPT
        {
            return Ok(credentials.clone());
        }
        let credentials = self.read(namespace, wanted).await?;
        let now = self.clock.now();
        let mut kept = self.lock();
        if kept.len() >= ENTRIES_KEPT {
            kept.retain(|_, (read, _)| now.since(read) < KEPT);
        }
        kept.insert(at, (now, credentials.clone()));
        Ok(credentials)
    }

    /// Forgets a key that HostUp refused, so that the next use reads the Secret again.
    pub fn forget(&self, namespace: &str, wanted: &CredentialsSecretRef) {
        self.lock().remove(&(namespace.to_owned(), wanted.clone()));
    }

    async fn read(
        &self,
        namespace: &str,
        wanted: &CredentialsSecretRef,
    ) -> Result<Credentials, NoCredentials> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let CredentialsSecretRef { name, key } = wanted;
        let missing = |what: String| NoCredentials::Missing(what);
        let secret = match api_call::found(secrets.get(&wanted.name)).await {
            Ok(Some(secret)) => secret,
            Ok(None) => {
                return Err(missing(format!(
                    "Secret {namespace}/{name} does not exist; create it with the HostUp API key under the key {key:?}"
                )));
            }
            Err(error) if error.is_forbidden() => {
                return Err(missing(format!(
                    "the operator may not read Secret {namespace}/{name}; add {name} to the chart value hostup.credentialSecretNames, or to the ClusterRole's resourceNames"
                )));
            }
            // Not one word of it is repeated.
            Err(error) if error.is_unreadable() => {
                return Err(missing(format!(
                    "Secret {namespace}/{name} cannot be read: the API server's answer is not a Secret"
                )));
            }
            Err(error) => return Err(NoCredentials::Unread(error)),
        };
        let data = secret.data.unwrap_or_default();
        let raw = data.get(key).ok_or_else(|| {
            missing(format!(
                "Secret {namespace}/{name} has no key {key}; add it with the HostUp API key"
            ))
        })?;
        let text = std::str::from_utf8(&raw.0).unwrap_or_default().trim();
        if text.is_empty()
            || text.len() > LONGEST_KEY
            || text.chars().any(|c| c.is_control() || !c.is_ascii())
        {
            return Err(missing(format!(
                "the key {key} of Secret {namespace}/{name} does not contain an API key: it is empty, too long, or not plain text"
            )));
        }
        Ok(Credentials {
            key: SecretString::from(text.to_owned()),
            mark: KeyMark::new(digest::base32("hostup-operator/key/v1", &[text], 26)),
            version: secret.metadata.resource_version.unwrap_or_default(),
        })
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<(String, CredentialsSecretRef), (Moment, Credentials)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
