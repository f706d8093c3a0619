//! Finished restores and records, as the operator writes them: copies of one that it did.

use std::ops::Range;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use hostup_operator::domain::ledger::names::{ChainKey, VmToken, vm_name};
use hostup_operator::domain::values::ids::InstanceId;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster;
use crate::contender::{Contender, Process};
use crate::error::{Error, Result, Tried};
use crate::restores::Done;
use crate::stage::{Account, Stage};
use crate::workloads::Site;

/// How many are made at a time.
const CREATORS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);
/// The first part of the names of the restores that the operator does.
const FIRST: &str = "first";
/// The first part of the names of all VMs.
const VM: &str = "web-01";

/// One restore of each account that the operator did, and its record.
pub struct Seed {
    grown: Vec<Grown>,
}

struct Grown {
    account: Account,
    restore: Value,
    record: Value,
}

impl Seed {
    /// Has the operator do one for each account.
    pub async fn grow(site: &Site, stage: &Stage) -> Result<Self> {
        let mut operator = Process::start(Contender::Operator, site, stage, "seed", 0).await?;
        let mut done = Done::watch(stage);
        let accounts = stage.accounts.iter().enumerate();
        let wanted: Vec<(String, Account)> = accounts
            .map(|(n, account)| (format!("{FIRST}-{n}"), account.clone()))
            .collect();
        let count = wanted.len();
        for (name, account) in &wanted {
            let api = restores_in(stage, &account.namespace);
            create(&api, stage.approved(account, name, VM)).await?;
        }
        done.wait(count, PATIENCE, "the first restores, operator", &mut operator)
            .await?;
        operator.stop().await?;
        let mut grown = Vec::new();
        for (name, account) in wanted {
            grown.push(Grown::read(stage, account, &name).await?);
        }
        Ok(Self { grown })
    }

    /// Finished restores with these numbers, over all namespaces in turn, each with its record.
    pub async fn restores(&self, stage: &Stage, numbers: Range<usize>) -> Result<()> {
        eprintln!("making finished restores, up to {}", numbers.end);
        let each = numbers.zip(self.grown.iter().cycle());
        let made = each.map(|(n, grown)| async move {
            let name = format!("done-{n:06}");
            let api = restores_in(stage, &grown.account.namespace);
            let uid = create(&api, stage.approved(&grown.account, &name, VM)).await?;
            let words = grown.record(stage, &name, &uid, n).await?;
            let status = words.told_of(&grown.restore["status"])?;
            set_status(&api, &name, status).await
        });
        stream::iter(made).buffer_unordered(CREATORS).try_collect().await
    }

    /// So many finished records whose restores are gone.
    pub async fn records(&self, stage: &Stage, count: usize) -> Result<()> {
        eprintln!("making {count} finished records");
        let each = (0..count).zip(self.grown.iter().cycle());
        let made = each.map(|(n, grown)| async move {
            let name = format!("gone-{n:06}");
            let uid = format!("00000000-0000-4000-8000-{n:012}");
            grown.record(stage, &name, &uid, n).await.map(drop)
        });
        stream::iter(made).buffer_unordered(CREATORS).try_collect().await
    }
}

impl Grown {
    async fn read(stage: &Stage, account: Account, name: &str) -> Result<Self> {
        let what = || format!("read the restore {name}");
        let restore = restores_in(stage, &account.namespace)
            .get(name)
            .await
            .tried(what)?;
        let record = ChainKey::of_restore(&account.namespace, name).record(1);
        let record = records(stage).get(record.as_str()).await.tried(what)?;
        let record = serde_json::to_value(record).tried(what)?;
        if record["status"]["state"] != "Succeeded" {
            return Err(Error::new(
                format!("the restore {name} is not done"),
                &record["status"],
            ));
        }
        Ok(Self {
            restore: serde_json::to_value(restore).tried(what)?,
            account,
            record,
        })
    }

    /// Makes a record like this one; returns the words in which it differs.
    async fn record(&self, stage: &Stage, name: &str, uid: &str, n: usize) -> Result<Words> {
        let namespace = &self.account.namespace;
        let record = ChainKey::of_restore(namespace, name).record(1).to_string();
        let text = |pointer: &str| {
            let text = self.record.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let instance = InstanceId::new(text("/spec/claim/instanceId"));
        let bought = vm_name(Some(VM), name, &VmToken::new(&instance, namespace, name));
        let words = Words(vec![
            (text("/metadata/name"), record.clone()),
            (text("/spec/subject/name"), name.to_owned()),
            (text("/spec/subject/uid"), uid.to_owned()),
            (text("/spec/expectedVmName"), bought),
            (text("/spec/claim/holder"), format!("{n:032x}")),
            (text("/status/job/id"), format!("job_done{n:06}")),
            (text("/status/result/vpsId"), format!("vps_done{n:06}")),
        ]);
        let object = json!({
            "apiVersion": cluster::API_VERSION, "kind": "VpsOperation",
            "metadata": {"name": record}, "spec": words.told_of(&self.record["spec"])?,
        });
        let api = records(stage);
        create(&api, object).await?;
        set_status(&api, &record, words.told_of(&self.record["status"])?).await?;
        Ok(words)
    }
}

/// The words in which a copy differs, each with the one that stands in its place.
struct Words(Vec<(String, String)>);

impl Words {
    /// The same, told of the copy. A word that stands in a longer one comes after it, so that both are replaced.
    fn told_of(&self, value: &Value) -> Result<Value> {
        let mut words: Vec<&(String, String)> = self.0.iter().filter(|(old, _)| !old.is_empty()).collect();
        words.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
        let text = words
            .into_iter()
            .fold(value.to_string(), |text, (old, new)| text.replace(old, new));
        serde_json::from_str(&text).tried(|| format!("copy {value}"))
    }
}

fn restores_in(stage: &Stage, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(stage.client.clone(), namespace, &cluster::restores())
}

fn records(stage: &Stage) -> Api<DynamicObject> {
    Api::all_with(stage.client.clone(), &cluster::records())
}

async fn create(api: &Api<DynamicObject>, object: Value) -> Result<String> {
    let what = || format!("create {}", object["metadata"]["name"]);
    let object: DynamicObject = serde_json::from_value(object.clone()).tried(what)?;
    let made = api.create(&PostParams::default(), &object).await.tried(what)?;
    Ok(made.metadata.uid.unwrap_or_default())
}

async fn set_status(api: &Api<DynamicObject>, name: &str, status: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"status": status}));
    let patched = api.patch_status(name, &PatchParams::default(), &patch).await;
    patched.tried(|| format!("write the status of {name}"))?;
    Ok(())
}
