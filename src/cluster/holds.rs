//! Whether somebody holds the purchases of a namespace, by an annotation on the Namespace.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

use crate::api;
use crate::clock::Clock;
use crate::cluster::api_call::{self, ApiError};
use crate::domain::ledger::chain::Hold;
use crate::domain::values::moment::Moment;

/// How long a Namespace is not read again before a claim. Between the claim and its call it is always read.
const KEPT: Duration = Duration::from_secs(2);

/// The holds on the Namespaces of objects, and on the operator's own, which holds everything.
pub struct Holds {
    client: Client,
    clock: Clock,
    own: String,
    kept: Mutex<HashMap<String, (Moment, bool)>>,
}

impl Holds {
    /// `own` is the operator's namespace.
    pub fn new(client: Client, clock: Clock, own: String) -> Self {
        Self {
            client,
            clock,
            own,
            kept: Mutex::default(),
        }
    }

    /// The hold on purchases of this namespace, as it was read a moment ago or is read now.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn known(&self, namespace: &str) -> Result<Option<Hold>, ApiError> {
        for name in self.names(namespace) {
            let kept = self.lock().get(name).copied();
            let now = self.clock.now();
            let is_held = match kept.filter(|(read, _)| now.since(read) < KEPT) {
                Some((_, is_held)) => is_held,
                None => self.is_held(name).await?,
            };
            if is_held {
                return Ok(Some(Hold::Namespace(name.to_owned())));
            }
        }
        Ok(None)
    }

    /// Whether purchases of this namespace are held, read now.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn now(&self, namespace: &str) -> Result<bool, ApiError> {
        let reads = self.names(namespace).map(|name| self.is_held(name));
        let held = futures::future::try_join_all(reads).await?;
        Ok(held.contains(&true))
    }

    fn names<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a str> {
        let own = Some(self.own.as_str()).filter(|own| *own != namespace);
        [namespace].into_iter().chain(own)
    }

    async fn is_held(&self, name: &str) -> Result<bool, ApiError> {
        let now = self.clock.now();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let read = api_call::found(namespaces.get_metadata(name)).await?;
        let is_held = read.is_some_and(|namespace| api::is_held(namespace.annotations()));
        let mut kept = self.lock();
        kept.retain(|_, (read, _)| now.since(read) < KEPT);
        kept.insert(name.to_owned(), (now, is_held));
        Ok(is_held)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Moment, bool)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
