//! What every reconcile is given. No globals.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::runtime::controller::Action;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::approvals::{Approvals, Place};
use super::budgets::OverBudget;
use super::failures::Failures;
use super::late_writes::LateWrites;
use super::options::Rivals;
use super::settings::Settings;
use super::telemetry_hooks::TelemetryHooks;
use crate::accounts::{Account, Accounts, Question, Readings, Who};
use crate::api::shared::CredentialsSecretRef;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::cluster::namespaces::Namespaces;
use crate::cluster::recent::Recent;
use crate::cluster::secrets::{NoCredentials, Secrets};
use crate::domain::ledger::record::KeyInUse;
use crate::domain::provider::inventory::{self, Finding, Vm};
use crate::domain::status::reason::Reason;
use crate::domain::status::report::Trouble;
use crate::domain::values::ids::{Subject, VpsId};
use crate::domain::values::moment::Moment;
use crate::domain::values::text::Text;
use crate::hostup::{HostUp, ReadError, Route};
use crate::ledger::Books;
use crate::ledger::budgets::Budgets;
use crate::ledger::store::Ledger;
use crate::ledger::wakes::Wakes;

/// What the controllers are made from.
pub struct RunConfig {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub chance: Chance,
    /// The API server.
    pub client: Client,
    /// The provider.
    pub hostup: HostUp,
    /// What the admin decided.
    pub settings: Settings,
    /// Who listens.
    pub hooks: Arc<dyn TelemetryHooks>,
}

/// What every reconcile is given.
pub struct Context {
    /// What purchases are made from, and kept in.
    pub books: Arc<Books>,
    /// The provider, by API key.
    pub accounts: Arc<Accounts>,
    /// What the admin decided.
    pub settings: Settings,
    /// API keys.
    pub secrets: Secrets,
    /// Which objects want the options of the same VPS.
    pub rivals: Rivals,
    /// Which objects wait for an approval.
    pub approvals: Approvals,
    /// Which objects wait for a budget.
    pub over_budget: OverBudget,
    /// Which objects were looked at in vain.
    pub failures: Failures,
    /// Which status writes may still land.
    pub late_writes: LateWrites,
    /// Who listens.
    pub hooks: Arc<dyn TelemetryHooks>,
    findings: Mutex<Findings>,
}

/// What does not fit, by account; when the list began that was held against the records last, and when that was.
#[derive(Default)]
struct Findings {
    found: BTreeMap<String, Vec<Finding>>,
    audited: BTreeMap<String, (Moment, Moment)>,
}

/// One list is not held against the records again within this time, however many objects share it.
const AUDITED_ONCE_IN: Duration = Duration::from_secs(2);

impl Context {
    /// What every reconcile of this run is given.
    pub fn new(config: RunConfig, ledger: Ledger, stopping: CancellationToken) -> Self {
        let RunConfig {
            clock,
            chance,
            client,
            hostup,
            settings,
            hooks,
        } = config;
        let wakes = Arc::new(Wakes::default());
        let woken = wakes.clone();
        let namespaces = Namespaces::new(client.clone(), clock.clone(), settings.namespace.clone());
        let namespaces = Arc::new(namespaces);
        let books = Books {
            restores: Recent::new(clock.clone()),
            configs: Recent::new(clock.clone()),
            memory: Arc::default(),
            budgets: Budgets::new(client.clone(), namespaces.clone()),
            namespaces,
            paid_calls: TaskTracker::new(),
            instance: settings.instance.clone(),
            caps: settings.caps,
            times: settings.times,
            hooks: hooks.clone(),
            clock: clock.clone(),
            client: client.clone(),
            chance,
            ledger,
            wakes,
            stopping,
        };
        Self {
            accounts: Accounts::new(hostup, clock.clone(), Arc::new(move |who| woken.asker(who))),
            secrets: Secrets::new(client, clock),
            rivals: Rivals::default(),
            approvals: Approvals::default(),
            over_budget: OverBudget::default(),
            failures: Failures::default(),
            late_writes: LateWrites::new(books.moment()),
            findings: Mutex::default(),
            books: Arc::new(books),
            settings,
            hooks,
        }
    }

    /// The time. Read once per decision, so that decisions stay functions of it.
    pub fn now(&self) -> Timestamp {
        self.books.now()
    }

    /// The time by every clock, for what may be done only while readings are fresh.
    pub fn moment(&self) -> Moment {
        self.books.moment()
    }

    /// Has the object looked at again at `at`, never at once; `None` waits for a change.
    pub fn again_at(&self, at: Option<Timestamp>) -> Action {
        super::requeue_at(at, self.now(), &self.settings.times, &self.books.chance)
    }

    /// Has an object whose status was told looked at again at `wake`, and once a late write to that status would have landed.
    pub fn again_once_told(&self, place: &Place, wake: Option<Timestamp>) -> Action {
        self.again_at(self.late_writes.look_again(place, wake, self.moment()))
    }

    /// The object is gone, and waits for nothing.
    pub fn forget(&self, place: Place) {
        let (namespace, name) = (place.namespace.clone(), place.name.clone());
        self.accounts.forget(&Who::Subject(place.kind, namespace, name));
        self.approvals.forget(&place);
        self.over_budget.note(place, false);
    }

    /// Has the object looked at soon: something about its record has changed.
    pub fn wake(&self, subject: &Subject) {
        self.books.wake(subject);
    }

    /// The account that the Secret's key belongs to, and that key.
    ///
    /// # Errors
    /// [`Blocked`].
    pub async fn account(
        &self,
        namespace: &str,
        credentials: &CredentialsSecretRef,
    ) -> Result<(Account, KeyInUse), Blocked> {
        match self.secrets.get(namespace, credentials).await {
            Ok(found) => Ok((
                self.accounts.account(&found.key, namespace, &credentials.name),
                KeyInUse {
                    mark: found.mark,
                    secret_version: found.version,
                },
            )),
            Err(NoCredentials::Missing(message)) => Err(Blocked::Trouble(Trouble {
                reason: Reason::CredentialsMissing,
                message: Text::bounded(&message, 600),
                until: None,
            })),
            Err(NoCredentials::Unread(error)) => Err(Blocked::Error(error.into())),
        }
    }

    /// Every VM of the account that a Secret's key belongs to. The list is held against the records, and what does not
    /// fit is told.
    ///
    /// # Errors
    /// [`Blocked`] where the list could not be read.
    pub fn vms(&self, namespace: &str, secret: &str, readings: &Readings) -> Result<Arc<[Vm]>, Blocked> {
        let vms = readings.vms().map_err(blocked)?;
        if let Some(reading) = readings.of(&Question::Vms) {
            self.audit(&format!("{namespace}/{secret}"), &vms, reading.began);
        }
        Ok(vms)
    }

    fn audit(&self, account: &str, vms: &[Vm], began: Moment) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let Findings {
            found: findings,
            audited,
        } = &mut *findings;
        let now = self.moment();
        audited.retain(|_, (_, at)| now.since(at) < AUDITED_ONCE_IN);
        if audited.get(account).is_some_and(|(list, _)| *list == began) {
            return;
        }
        audited.insert(account.to_owned(), (began, now));
        let found = inventory::audit(vms, |token| self.books.ledger.accounted(token));
        if findings.get(account).map_or(&[][..], Vec::as_slice) != found.as_slice() {
            for finding in &found {
                let what = match finding {
                    Finding::Twins { .. } => "audit: several VMs have the token of one record in their names",
                    Finding::WithoutRecord { .. } => {
                        "audit: a VM has the token of a record in its name, and by that record nothing was bought"
                    }
                };
                tracing::warn!(?finding, account, "{what}");
            }
            findings.insert(account.to_owned(), found);
            findings.retain(|_, found| !found.is_empty());
        }
        let all = || findings.values().flatten();
        let twins = all()
            .filter(|finding| matches!(finding, Finding::Twins { .. }))
            .count();
        self.hooks.audit(all().count() - twins, twins);
    }
}

/// Why a reading was not made.
#[derive(Debug)]
pub enum Blocked {
    /// To be shown on the object.
    Trouble(Trouble),
    /// The same, and whoever asked is woken once it is there.
    Held(Trouble),
    /// It has been asked for; whoever asked is woken once it is there.
    Waiting,
    /// The API server's fault.
    Error(super::Error),
}

/// What a failed read of HostUp means for the object that asked.
pub fn blocked(error: ReadError) -> Blocked {
    let message = Text::bounded(&error.to_string(), 600);
    let (reason, until) = match error {
        ReadError::RateLimited { until } => (Reason::RateLimited, Some(until)),
        ReadError::Unauthorized(_) | ReadError::Forbidden(_) => (Reason::Unauthorized, None),
        ReadError::NotFound { .. }
        | ReadError::Unavailable(_)
        | ReadError::Refused { .. }
        | ReadError::InvoiceBlocks(_) => (Reason::ProviderUnavailable, None),
    };
    Blocked::Trouble(Trouble {
        reason,
        message,
        until,
    })
}

/// As [`blocked`], of a read about one VPS. That the key does not read it is said by the VPS itself only: a route
/// below it may find nothing for reasons of its own.
pub fn about_vps(error: ReadError, vps: &VpsId, credentials: &CredentialsSecretRef) -> Blocked {
    match error {
        ReadError::NotFound {
            route: Route::Vps,
            said,
        } => Blocked::Trouble(Trouble {
            reason: Reason::VpsNotFound,
            message: Text::bounded(
                &format!(
                    "the key of Secret {} does not read VPS {vps}: the VPS does not exist, or belongs to another account ({})",
                    credentials.name,
                    said.as_clause()
                ),
                900,
            ),
            until: None,
        }),
        other => blocked(other),
    }
}
