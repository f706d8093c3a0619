//! The least that any client could do for a restore, without any safety: a record, the order, one look at the job,
//! and the outcome: five writes and two calls. It keeps nothing, checks nothing, and knows how long a job takes.

mod pace;
mod provider;
mod record;

use std::collections::HashSet;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::cluster;
use crate::error::{Result, Tried};
use provider::{Order, Provider};

/// What it says once it watches.
pub const WATCHING: &str = "watching";
/// Restores that write to the API server at a time.
const WRITERS: usize = 16;

/// How the bare loop is started.
#[derive(clap::Args, Debug)]
pub struct Bare {
    /// The cluster.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// HostUp.
    #[arg(long)]
    hostup_url: String,
    /// How long a job takes; it is looked at once, then.
    #[arg(long)]
    job_millis: u64,
    /// Calls a second with one key; 0 means as fast as it goes.
    #[arg(long, default_value_t = 0)]
    calls_a_second: u32,
}

struct Loop {
    restores: kube::Client,
    records: Api<DynamicObject>,
    provider: Provider,
    writers: Semaphore,
    job: Duration,
}

/// Runs until it is killed.
pub async fn run(args: Bare) -> Result<()> {
    let client = cluster::client(&args.kubeconfig).await?;
    let bare = Arc::new(Loop {
        records: Api::all_with(client.clone(), &cluster::records()),
        provider: Provider::new(&args.hostup_url, client.clone(), args.calls_a_second)?,
        restores: client.clone(),
        writers: Semaphore::new(WRITERS),
        job: Duration::from_millis(args.job_millis),
    });
    let all: Api<DynamicObject> = Api::all_with(client, &cluster::restores());
    let events = watcher::watcher(all, watcher::Config::default().streaming_lists());
    let mut events = pin!(events.default_backoff());
    let mut seen = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(restore) | Event::InitApply(restore)) => {
                if seen.insert(restore.metadata.uid.clone()) {
                    let bare = bare.clone();
                    tokio::spawn(async move {
                        let name = restore.metadata.name.clone().unwrap_or_default();
                        if let Err(error) = bare.serve(restore).await {
                            eprintln!("{name}: {error}");
                        }
                    });
                }
            }
            Ok(Event::InitDone) => eprintln!("{WATCHING}"),
            Ok(Event::Init | Event::Delete(_)) => {}
            Err(error) => eprintln!("the watch broke and is opened again: {error}"),
        }
    }
    Ok(())
}

impl Loop {
    async fn serve(&self, restore: DynamicObject) -> Result<()> {
        let order = Order::of(&restore)?;
        let record = self.claim(&restore, &order).await?;
        let job = self.provider.buy(&order).await?;
        let started = tokio::time::Instant::now();
        let record = {
            let _writer = self.writers.acquire().await.tried(|| "write".to_owned())?;
            self.write(record, record::accepted(&job)).await?
        };
        tokio::time::sleep_until(started + self.job).await;
        self.provider.end_of(&order, &job).await?;
        let _writer = self.writers.acquire().await.tried(|| "write".to_owned())?;
        let record = self.write(record, record::ended(&job)).await?;
        self.write(record, record::succeeded(&order, &job)).await?;
        self.show(restore, &order).await
    }

    async fn claim(&self, restore: &DynamicObject, order: &Order) -> Result<DynamicObject> {
        let _writer = self.writers.acquire().await.tried(|| "write".to_owned())?;
        let object = record::of(restore, order)?;
        self.records
            .create(&PostParams::default(), &object)
            .await
            .tried(|| "create the record".to_owned())
    }

    async fn write(&self, mut record: DynamicObject, status: Value) -> Result<DynamicObject> {
        record.data["status"] = status;
        let name = record.metadata.name.clone().unwrap_or_default();
        self.records
            .replace_status(&name, &PostParams::default(), &record)
            .await
            .tried(|| format!("write the status of record {name}"))
    }

    async fn show(&self, mut restore: DynamicObject, order: &Order) -> Result<()> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.restores.clone(), &order.namespace, &cluster::restores());
        restore.data["status"] = json!({
            "observedGeneration": 1,
            "conditions": [record::condition("Ready", "Restored", &order.vm_name)],
            "vm": {"vpsId": "vps_bare", "name": order.vm_name},
        });
        let shown = api
            .replace_status(&order.name, &PostParams::default(), &restore)
            .await;
        shown.tried(|| "write the status of the restore".to_owned())?;
        Ok(())
    }
}
