//! Making restores, and seeing them end.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use hostup_sim::{AccountId, PurchaseKind, Sim};
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster;
use crate::contender::Process;
use crate::error::{Result, Tried};
use crate::stage::{Account, Stage};

/// How many are made at a time.
const CREATORS: usize = 16;

/// A restore that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its name; no two namespaces share one.
    pub name: String,
    /// Whose it is.
    pub account: AccountId,
    /// When the API server had answered.
    pub at: Instant,
    /// Its first resourceVersion: the order in which the API server took them.
    pub version: u64,
}

/// A paid POST that the provider executed.
#[derive(Debug, Clone)]
pub struct Post {
    /// The restore's name.
    pub restore: String,
    /// Whose it is.
    pub account: AccountId,
    /// When the provider had it.
    pub at: Instant,
}

/// Makes these restores in their order, some at a time.
pub async fn make(stage: &Stage, wanted: Vec<(String, Account)>) -> Result<Vec<Made>> {
    stream::iter(wanted)
        .map(|(name, account)| make_one(stage, name, account))
        .buffer_unordered(CREATORS)
        .try_collect()
        .await
}

/// Makes one.
pub async fn make_one(stage: &Stage, name: String, account: Account) -> Result<Made> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(stage.client.clone(), &account.namespace, &cluster::restores());
    let what = || format!("make the restore {name}");
    let object = serde_json::from_value(stage.approved(&account, &name, &name)).tried(what)?;
    let made = api.create(&PostParams::default(), &object).await.tried(what)?;
    let version = made.metadata.resource_version.unwrap_or_default();
    Ok(Made {
        at: Instant::now(),
        version: version.parse().tried(what)?,
        name,
        account: account.id,
    })
}

/// So many restores, one account after the other in turn.
pub fn in_turn(stage: &Stage, count: usize) -> Vec<(String, Account)> {
    let accounts = stage.accounts.iter().cycle();
    accounts
        .take(count)
        .enumerate()
        .map(|(n, account)| (format!("r-{n:05}"), account.clone()))
        .collect()
}

/// The POSTs so far, oldest first. The VM's name begins with the restore's, and each contender adds a word to it.
pub fn posts(sim: &Sim) -> Vec<Post> {
    sim.world(|world| {
        let restores = world
            .purchases()
            .iter()
            .filter(|purchase| purchase.kind == PurchaseKind::RestoreToPayg);
        restores
            .filter_map(|purchase| {
                Some(Post {
                    restore: purchase.name_sent.as_ref()?.rsplit_once('-')?.0.to_owned(),
                    account: purchase.account,
                    at: world.requests().get(purchase.request)?.received_at,
                })
            })
            .collect()
    })
}

/// Sees which restores are done.
pub struct Done {
    at: Arc<Mutex<HashMap<String, Instant>>>,
    count: watch::Receiver<usize>,
    watching: JoinHandle<()>,
}

impl Done {
    /// Watches all namespaces from now on.
    pub fn watch(stage: &Stage) -> Self {
        let api: Api<DynamicObject> = Api::all_with(stage.client.clone(), &cluster::restores());
        let at: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let (tell, count) = watch::channel(0);
        let seen = at.clone();
        let watching = tokio::spawn(async move {
            let events = watcher::watcher(api, watcher::Config::default().streaming_lists());
            let mut events = pin!(events.default_backoff());
            while let Some(event) = events.next().await {
                let (Ok(Event::Apply(object)) | Ok(Event::InitApply(object))) = event else {
                    continue;
                };
                let name = object.metadata.name.unwrap_or_default();
                if cluster::is_ready(&object.data) {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.entry(name).or_insert_with(Instant::now);
                    tell.send_replace(seen.len());
                }
            }
        });
        Self { at, count, watching }
    }

    /// Waits until so many are done, or the time is up; says how it goes every 15 seconds.
    pub async fn wait(
        &mut self,
        count: usize,
        within: Duration,
        run: &str,
        contender: &mut Process,
    ) -> Result<()> {
        let began = Instant::now();
        loop {
            contender.must_run()?;
            let done = *self.count.borrow_and_update();
            let left = within.saturating_sub(began.elapsed());
            if done >= count {
                eprintln!(
                    "{run}: all {count} done after {:.1} s",
                    began.elapsed().as_secs_f64()
                );
                return Ok(());
            }
            if left.is_zero() {
                eprintln!(
                    "{run}: {done} of {count} done when the time was up, after {} s",
                    within.as_secs()
                );
                return Ok(());
            }
            let step = left.min(Duration::from_secs(15));
            let more = self.count.wait_for(|now| *now >= count);
            if tokio::time::timeout(step, more).await.is_err() {
                eprintln!(
                    "{run}: {} of {count} done after {} s",
                    self.len(),
                    began.elapsed().as_secs()
                );
            }
        }
    }

    /// How many are done.
    pub fn len(&self) -> usize {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// When the last of these was done; none while one is not.
    pub fn last<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Option<Instant> {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let ends: Option<Vec<Instant>> = names.into_iter().map(|name| at.get(name).copied()).collect();
        ends?.into_iter().max()
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
