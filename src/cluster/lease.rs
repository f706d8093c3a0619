//! Leader election by a Lease. It saves work and quota; safety never depends on it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::api::NAME;
use crate::clock::Clock;
use crate::cluster::api_call::{self, ApiError};

/// How long a lease lasts without renewal, as in client-go.
const DURATION: Duration = Duration::from_secs(15);
/// A leader that could not renew for so long stops.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two tries.
const RETRY: Duration = Duration::from_secs(2);

/// The longest wait after a refusal, which lasts until somebody puts it right.
const LONGEST_REFUSAL: Duration = Duration::from_secs(60);

/// A Lease in one namespace, and who we are.
pub struct Election {
    leases: Api<Lease>,
    identity: String,
    clock: Clock,
    // When this process saw the holder or its renewal change: other clocks are not trusted.
    seen: Option<(Option<String>, Option<MicroTime>, Duration)>,
}

impl Election {
    /// Not yet leading.
    pub fn new(client: Client, namespace: &str, identity: String, clock: Clock) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            identity,
            clock,
            seen: None,
        }
    }

    /// Waits until this process leads.
    pub async fn win(&mut self) {
        let mut wait = RETRY;
        loop {
            match self.try_to_hold().await {
                Ok(true) => return,
                Ok(false) => wait = RETRY,
                Err(error) => {
                    wait = match error.refusal() {
                        Some(_) => (wait * 2).min(LONGEST_REFUSAL),
                        None => RETRY,
                    };
                    tracing::warn!(%error, wait_seconds = wait.as_secs(),
                        "the Lease could not be read or written; trying again");
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Renews until the lease is lost; returns why.
    pub async fn hold(&mut self) -> String {
        let mut renewed = self.clock.now();
        loop {
            tokio::time::sleep(RETRY).await;
            let tried = tokio::time::timeout(RETRY * 2, self.try_to_hold()).await;
            match tried.unwrap_or(Err(ApiError::Silent)) {
                Ok(true) => renewed = self.clock.now(),
                Ok(false) => {
                    return "no longer the leader: another process has taken the Lease".to_owned();
                }
                Err(error) if self.clock.now().since_without_wall(&renewed) >= RENEW_DEADLINE => {
                    return format!(
                        "the Lease could not be renewed for {} s, so this process ends: {error}",
                        RENEW_DEADLINE.as_secs()
                    );
                }
                Err(error) => tracing::warn!(%error, "the Lease could not be renewed; trying again"),
            }
        }
    }

    /// Lets another process take over at once.
    pub async fn release(&self) {
        let mut released = self.try_to_release().await;
        // A renewal that was on its way may have landed between the read and the write.
        if released.as_ref().is_err_and(ApiError::is_conflict) {
            released = self.try_to_release().await;
        }
        if let Err(error) = released {
            tracing::warn!(%error, "the Lease could not be released; it expires by itself");
        }
    }

    async fn try_to_release(&self) -> Result<(), ApiError> {
        let mut lease = api_call::within(self.leases.get(NAME)).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = None;
            api_call::within(self.leases.replace(NAME, &PostParams::default(), &lease)).await?;
        }
        Ok(())
    }

    async fn try_to_hold(&mut self) -> Result<bool, ApiError> {
        let Some(mut lease) = api_call::found(self.leases.get(NAME)).await? else {
            return self.create().await;
        };
        let spec = lease.spec.get_or_insert_default();
        let held = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let mark = (held.clone(), spec.renew_time.clone());
        let since = match &self.seen {
            Some((holder, renewed, since)) if (holder, renewed) == (&mark.0, &mark.1) => *since,
            Some(_) | None => self.clock.now().monotonic,
        };
        self.seen = Some((mark.0, mark.1, since));
        let mine = held.as_deref() == Some(self.identity.as_str());
        if !mine && held.is_some() && self.clock.elapsed(since) < DURATION {
            return Ok(false);
        }
        let now = MicroTime(self.clock.now().wall);
        if !mine {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = Some(15);
        spec.renew_time = Some(now);
        // The version that was read makes sure that of two racers one loses.
        match api_call::within(self.leases.replace(NAME, &PostParams::default(), &lease)).await {
            Ok(_) => Ok(true),
            // One's own renewal of before may have landed late; the next read tells.
            Err(error) if error.is_conflict() && !mine => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> Result<bool, ApiError> {
        let now = MicroTime(self.clock.now().wall);
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(15),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        match api_call::within(self.leases.create(&PostParams::default(), &lease)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
