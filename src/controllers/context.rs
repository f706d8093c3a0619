//! What every reconcile is given. No globals.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use jiff::Timestamp;
use kube::api::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::desk::Desk;
use super::ledger::Ledger;
use super::observer::Observer;
use super::secrets::{NoCredentials, Secrets};
use super::settings::Settings;
use crate::api::restore::VpsBackupRestore;
use crate::api::shared::CredentialsSecretRef;
use crate::domain::inventory::{self, Finding, Vm};
use crate::domain::reason::Reason;
use crate::domain::restore::Trouble;
use crate::domain::text::Text;
use crate::hostup::{Account, HostUp, ReadError};

/// The main kind of the restore controller, as it is watched: metadata only.
pub type WatchedRestore = PartialObjectMeta<VpsBackupRestore>;

/// What every reconcile is given.
pub struct Context {
    /// The API server, without automatic retries.
    pub client: Client,
    /// The provider.
    pub hostup: HostUp,
    /// What the admin decided.
    pub settings: Settings,
    /// API keys.
    pub secrets: Secrets,
    /// The records.
    pub ledger: Ledger,
    /// What this process remembers.
    pub desk: Arc<Desk>,
    /// Paid calls under way; joined at shutdown.
    pub paid_calls: TaskTracker,
    /// The process has been told to stop.
    pub stopping: CancellationToken,
    /// Who listens.
    pub observer: Arc<dyn Observer>,
    wakes: Mutex<BTreeMap<Option<String>, UnboundedSender<ObjectRef<WatchedRestore>>>>,
    findings: Mutex<BTreeMap<String, Vec<Finding>>>,
}

impl Context {
    /// Puts the parts together.
    pub fn new(
        client: Client,
        hostup: HostUp,
        settings: Settings,
        ledger: Ledger,
        observer: Arc<dyn Observer>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            secrets: Secrets::new(client.clone()),
            desk: Arc::default(),
            paid_calls: TaskTracker::new(),
            wakes: Mutex::default(),
            findings: Mutex::default(),
            client,
            hostup,
            settings,
            ledger,
            observer,
            stopping,
        }
    }

    /// The time. Read once per decision, so that decisions stay functions of it.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Objects of one namespace.
    pub fn restores(&self, namespace: &str) -> Api<VpsBackupRestore> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Where the restore controller of `namespace` (or of all) listens for wake-ups.
    pub fn wake_ups(
        &self,
        namespace: Option<String>,
    ) -> futures::channel::mpsc::UnboundedReceiver<ObjectRef<WatchedRestore>> {
        let (sender, receiver) = unbounded();
        self.wakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(namespace, sender);
        receiver
    }

    /// Has the object looked at soon: something about its record has changed.
    pub fn wake(&self, namespace: &str, name: &str) {
        let wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = wakes
            .get(&None)
            .or_else(|| wakes.get(&Some(namespace.to_owned())));
        if let Some(listener) = listener {
            // A closed channel means that the controller has stopped, and with it the need.
            let _stopped = listener.unbounded_send(ObjectRef::new(name).within(namespace));
        }
    }

    /// The account that the Secret's key belongs to, and the Secret's version.
    ///
    /// # Errors
    /// [`Blocked`].
    pub async fn account(
        &self,
        namespace: &str,
        credentials: &CredentialsSecretRef,
    ) -> Result<(Account, String), Blocked> {
        match self.secrets.get(namespace, credentials).await {
            Ok(found) => Ok((self.hostup.account(&found.key), found.version)),
            Err(NoCredentials::Missing(message)) => Err(Blocked::Trouble(Trouble {
                reason: Reason::CredentialsMissing,
                message: Text::bounded(&message, 600),
                until: None,
            })),
            Err(NoCredentials::Unread(error)) => Err(Blocked::Error(error.into())),
        }
    }

    /// Holds the complete VM list of one account against the records, and tells what does not fit.
    pub fn audit(&self, account: &str, vms: &[Vm]) {
        let found = inventory::audit(vms, &self.ledger.claimed());
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.get(account).map_or(&[][..], Vec::as_slice) != found.as_slice() {
            for finding in &found {
                tracing::warn!(
                    ?finding,
                    account,
                    "audit: a VM bears one of our tokens and no record accounts for it"
                );
            }
            findings.insert(account.to_owned(), found);
            findings.retain(|_, found| !found.is_empty());
        }
        let all = || findings.values().flatten();
        let twins = all()
            .filter(|finding| matches!(finding, Finding::Twins { .. }))
            .count();
        self.observer.audit(all().count() - twins, twins);
    }
}

/// Readings that take longer are too old to decide upon.
const MINUTE: Duration = Duration::from_secs(60);

/// Waits for several reads together, but no longer than their result is worth something.
pub async fn within_a_minute<T>(reads: impl Future<Output = Result<T, Blocked>>) -> Result<T, Blocked> {
    let slow = || {
        Blocked::Trouble(Trouble {
            reason: Reason::ProviderUnavailable,
            message: Text::new("HostUp answers so slowly that its answers are too old to decide upon"),
            until: None,
        })
    };
    tokio::time::timeout(MINUTE, reads)
        .await
        .unwrap_or_else(|_| Err(slow()))
}

/// Why a reading was not made.
#[derive(Debug)]
pub enum Blocked {
    /// To be shown on the object.
    Trouble(Trouble),
    /// To be tried again soon, without a word.
    Busy,
    /// The API server's fault.
    Error(super::Error),
}

/// What a failed read of HostUp means for the object that asked. `not_found` is the reason of a 404.
pub fn blocked(error: ReadError, not_found: Reason) -> Blocked {
    let message = Text::bounded(&error.to_string(), 600);
    let (reason, until) = match error {
        ReadError::Busy => return Blocked::Busy,
        ReadError::RateLimited { until } => (Reason::RateLimited, Some(until)),
        ReadError::Unauthorized(_) | ReadError::Forbidden(_) => (Reason::Unauthorized, None),
        ReadError::NotFound(_) => (not_found, None),
        ReadError::Unavailable(_) => (Reason::ProviderUnavailable, None),
    };
    Blocked::Trouble(Trouble {
        reason,
        message,
        until,
    })
}
