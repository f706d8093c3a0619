//! What is asked of Namespaces: whether somebody holds the purchases of one by an annotation, and its labels.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

use crate::api;
use crate::clock::Clock;
use crate::cluster::api_call::{self, ApiError};
use crate::domain::ledger::chain::Hold;
use crate::domain::values::moment::Moment;

/// How long a Namespace is not read again before a claim. Between the claim and its call it is always read.
const KEPT: Duration = Duration::from_secs(2);
/// How long the labels of a Namespace are not read again whose spending counts for the budget of another one.
const LABELS_KEPT: Duration = Duration::from_secs(60);

/// Reads at the same time.
const READS_AT_ONCE: usize = 8;

/// Labels of a Namespace.
pub type Labels = BTreeMap<String, String>;

/// The Namespaces of objects and records, and the operator's own, which holds everything.
pub struct Namespaces {
    client: Client,
    clock: Clock,
    own: String,
    kept: Mutex<HashMap<String, Seen>>,
}

#[derive(Debug, Clone)]
struct Seen {
    at: Moment,
    hold: Option<Hold>,
    /// `None` where the Namespace is gone.
    labels: Option<Arc<Labels>>,
}

impl Namespaces {
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
    pub async fn hold(&self, namespace: &str) -> Result<Option<Hold>, ApiError> {
        let reads = self.holding(namespace).map(|name| async move {
            let seen = self.seen(name, KEPT).await?;
            Ok::<_, ApiError>(seen.hold)
        });
        let holds: Vec<Option<Hold>> = futures::future::try_join_all(reads).await?;
        Ok(holds.into_iter().flatten().next())
    }

    /// The hold on purchases of this namespace, read now.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn hold_now(&self, namespace: &str) -> Result<Option<Hold>, ApiError> {
        let reads = self.holding(namespace).map(|name| self.read(name));
        let seen = futures::future::try_join_all(reads).await?;
        Ok(seen.into_iter().find_map(|seen| seen.hold))
    }

    /// Has the labels of these Namespaces at hand, as they were read within a minute; those of `buyer` as they were read
    /// a moment ago. `false` where the operator may not read one of them.
    ///
    /// # Errors
    /// [`ApiError`]. That a Namespace is gone or may not be read is none.
    pub async fn read_labels(
        &self,
        buyer: Option<&str>,
        mut names: BTreeSet<Arc<str>>,
    ) -> Result<bool, ApiError> {
        names.extend(buyer.map(Arc::from));
        let reads = names.into_iter().map(|name| async move {
            let is_buyer = buyer == Some(&*name);
            match self.seen(&name, if is_buyer { KEPT } else { LABELS_KEPT }).await {
                Err(error) if error.is_forbidden() => {
                    self.lock().remove(&*name);
                    Ok(false)
                }
                read => read.map(|_| true),
            }
        });
        let read: Vec<bool> = stream::iter(reads)
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(read.into_iter().all(|may_read| may_read))
    }

    /// The labels of a Namespace, as they were read last; `None` where that brought none.
    pub fn labels(&self, namespace: &str) -> Option<Arc<Labels>> {
        self.lock().get(namespace)?.labels.clone()
    }

    fn holding<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a str> {
        let own = Some(self.own.as_str()).filter(|own| *own != namespace);
        [namespace].into_iter().chain(own)
    }

    async fn seen(&self, name: &str, longest: Duration) -> Result<Seen, ApiError> {
        let kept = self.lock().get(name).cloned();
        let now = self.clock.now();
        match kept.filter(|seen| now.since(&seen.at) < longest) {
            Some(seen) => Ok(seen),
            None => self.read(name).await,
        }
    }

    async fn read(&self, name: &str) -> Result<Seen, ApiError> {
        let began = self.clock.now();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let read = api_call::found(namespaces.get_metadata(name)).await?;
        let seen = Seen {
            at: began,
            hold: read.as_ref().and_then(|namespace| {
                let is_deleted = namespace.metadata.deletion_timestamp.is_some();
                let is_held = api::is_held(namespace.annotations());
                let held = is_held.then(|| Hold::Namespace(name.to_owned()));
                held.or_else(|| is_deleted.then(|| Hold::DeletedNamespace(name.to_owned())))
            }),
            labels: read.map(|namespace| Arc::new(namespace.labels().clone())),
        };
        let mut kept = self.lock();
        // What was young enough a moment ago must still be there when it is asked for.
        kept.retain(|_, seen| began.since(&seen.at) < LABELS_KEPT * 2);
        let newer = kept
            .get(name)
            .filter(|kept| kept.at.with_sleep > began.with_sleep)
            .cloned();
        let seen = newer.unwrap_or(seen);
        kept.insert(name.to_owned(), seen.clone());
        Ok(seen)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
