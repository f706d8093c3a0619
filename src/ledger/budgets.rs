//! The budgets of the cluster, held against the records.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::api::ListParams;
use kube::core::{Selector, SelectorExt};
use kube::{Api, Client, ResourceExt};

use super::store::Ledger;
use crate::api;
use crate::api::budget::VpsBudget;
use crate::api::stored::Stored;
use crate::cluster::api_call::{self, ApiError};
use crate::cluster::namespaces::Namespaces;
use crate::domain::ledger::Index;
use crate::domain::ledger::budget::{Allowance, Budget, Position};

/// The budgets as they were read last.
pub struct Budgets {
    client: Client,
    namespaces: Arc<Namespaces>,
    known: Mutex<Arc<Known>>,
    /// Reads that have begun.
    reads: AtomicU64,
}

/// The budgets as etcd has them.
pub struct Listed {
    /// Each of them.
    pub budgets: Vec<Stored<VpsBudget>>,
    /// The operator may read the labels of all Namespaces that matter.
    pub all_labels: bool,
}

#[derive(Default)]
struct Known {
    /// The number of the read, in the order in which they began.
    read: u64,
    budgets: Vec<(Budget, Selector)>,
    unreadable: Vec<(String, String)>,
}

impl Budgets {
    /// None yet.
    pub fn new(client: Client, namespaces: Arc<Namespaces>) -> Self {
        Self {
            client,
            namespaces,
            known: Mutex::default(),
            reads: AtomicU64::default(),
        }
    }

    /// Reads the budgets from etcd, with the labels that their selectors ask for. `buyer` is the namespace that wants to
    /// buy.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn read(
        &self,
        ledger: &Ledger,
        buyer: Option<&str>,
        now: Timestamp,
    ) -> Result<Listed, ApiError> {
        let read = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        let stored: Api<Stored<VpsBudget>> = Api::all(self.client.clone());
        let listed = api_call::within(stored.list(&ListParams::default())).await;
        let listed = listed.map_err(|error| {
            // An object of this name cannot be missing: the list is of all.
            if error.is_not_found() {
                ApiError::NoBudgets
            } else {
                error
            }
        })?;
        let known = known(read, &listed.items);
        let selecting = known
            .budgets
            .iter()
            .filter(|(_, selector)| !selector.selects_all());
        let currencies: BTreeSet<&str> = selecting.map(|(budget, _)| budget.currency.as_str()).collect();
        let buyer = buyer.filter(|_| !currencies.is_empty());
        let counted = ledger.spenders(&currencies, now);
        let all_labels = self.namespaces.read_labels(buyer, counted).await?;
        let mut last = self.lock();
        // One that began later, and has ended, knows more.
        if last.read < read {
            *last = Arc::new(known);
        }
        drop(last);
        Ok(Listed {
            budgets: listed.items,
            all_labels,
        })
    }

    /// Where the budgets of a namespace stand, as they were read last.
    pub fn allowance(&self, index: &Index, namespace: &str, now: Timestamp) -> Allowance {
        let known = self.lock().clone();
        let of_namespace = known
            .budgets
            .iter()
            .filter(|(_, selector)| self.covers(selector, namespace));
        Allowance {
            positions: of_namespace
                .flat_map(|of| self.positions(index, of, now))
                .collect(),
            unreadable: known.unreadable.clone(),
            unknown: index.unreadable(),
        }
    }

    /// Where all budgets stand, as they were read last.
    pub fn all(&self, index: &Index, now: Timestamp) -> Vec<Position> {
        let known = self.lock().clone();
        let all = known.budgets.iter();
        all.flat_map(|of| self.positions(index, of, now)).collect()
    }

    fn positions(
        &self,
        index: &Index,
        (budget, selector): &(Budget, Selector),
        now: Timestamp,
    ) -> Vec<Position> {
        index.positions(budget, |namespace| self.covers(selector, namespace), now)
    }

    /// A Namespace that is gone or may not be read counts for every budget: nobody can say for which it does not.
    fn covers(&self, selector: &Selector, namespace: &str) -> bool {
        selector.selects_all()
            || self
                .namespaces
                .labels(namespace)
                .is_none_or(|labels| selector.matches(&labels))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known(read: u64, stored: &[Stored<VpsBudget>]) -> Known {
    let mut known = Known {
        read,
        ..Known::default()
    };
    for object in stored {
        let read = match &object.0 {
            Ok(budget) => api::budget(budget).map_err(|error| error.to_string()),
            Err(unreadable) => Err(unreadable.why.clone()),
        };
        match read {
            Ok(read) => known.budgets.push(read),
            Err(why) => known.unreadable.push((object.name_any(), why)),
        }
    }
    known
}
