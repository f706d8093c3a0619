//! Two calls: the order, and one look at its job.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DynamicObject;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::pace::Pace;
use crate::error::{Error, Result, Tried};

/// After an answer that names no wait.
const AGAIN: Duration = Duration::from_secs(1);
/// After a look at a job that had not ended.
const NOT_YET: Duration = Duration::from_millis(100);

/// What is ordered for one restore.
#[derive(Debug)]
pub struct Order {
    /// The restore's namespace.
    pub namespace: String,
    /// The restore's name.
    pub name: String,
    /// The VPS in the path.
    pub vps: String,
    /// The backup in the path.
    pub backup: String,
    /// The name of the new VM.
    pub vm_name: String,
}

impl Order {
    /// As its spec says.
    pub fn of(restore: &DynamicObject) -> Result<Self> {
        let text = |pointer: &str| {
            let value = restore.data.pointer(pointer).and_then(Value::as_str);
            value
                .map(str::to_owned)
                .ok_or_else(|| Error::new("the restore cannot be served", format!("it has no {pointer}")))
        };
        Ok(Self {
            namespace: restore.metadata.namespace.clone().unwrap_or_default(),
            name: restore.metadata.name.clone().unwrap_or_default(),
            vps: text("/spec/source/vpsId")?,
            backup: text("/spec/source/backupId")?,
            vm_name: format!("{}-bare", text("/spec/target/cloudVm/name")?),
        })
    }

    /// The path of the call.
    pub fn path(&self) -> String {
        format!(
            "/api/v2/vps/{}/backups/{}/actions/restore-to-payg",
            self.vps, self.backup
        )
    }

    /// The body of the call.
    pub fn body(&self) -> Value {
        json!({"name": self.vm_name, "region": "stockholm", "cpuCores": 2, "memoryGb": 4, "storageGb": 80})
    }
}

/// The job of an order.
#[derive(Debug)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Its path.
    pub poll: String,
}

#[derive(Debug)]
struct Account {
    key: String,
    pace: Pace,
}

/// HostUp, with one key for each namespace.
pub struct Provider {
    origin: String,
    http: reqwest::Client,
    cluster: kube::Client,
    calls_a_second: u32,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
}

impl Provider {
    /// At this address.
    pub fn new(origin: &str, cluster: kube::Client, calls_a_second: u32) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build();
        Ok(Self {
            origin: origin.to_owned(),
            http: http.tried(|| "make an HTTP client".to_owned())?,
            cluster,
            calls_a_second,
            accounts: Mutex::default(),
        })
    }

    /// Orders, again and again until it is taken.
    pub async fn buy(&self, order: &Order) -> Result<Job> {
        let answer = self
            .call(order, Method::POST, &order.path(), Some(&order.body()))
            .await?;
        let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        match (text("/operation/jobId"), text("/operation/pollUrl")) {
            (Some(id), Some(poll)) => Ok(Job { id, poll }),
            _ => Err(Error::new("HostUp's answer names no job", answer)),
        }
    }

    /// Looks at the job; once, if it has ended by now.
    pub async fn end_of(&self, order: &Order, job: &Job) -> Result<()> {
        while self.call(order, Method::GET, &job.poll, None).await?["data"]["isCompleted"] != true {
            tokio::time::sleep(NOT_YET).await;
        }
        Ok(())
    }

    async fn call(&self, order: &Order, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let account = self.account(&order.namespace).await?;
        let what = || format!("call {method} {path}");
        loop {
            account.pace.turn().await;
            let mut request = self
                .http
                .request(method.clone(), format!("{}{path}", self.origin))
                .bearer_auth(&account.key);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.tried(what)?;
            let status = answer.status();
            if status.is_success() {
                return answer.json().await.tried(what);
            }
            if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
                return Err(Error::new(format!("HostUp refused {method} {path}"), status));
            }
            let asked = answer
                .headers()
                .get("retry-after")
                .and_then(|wait| wait.to_str().ok()?.parse().ok());
            tokio::time::sleep(asked.map_or(AGAIN, Duration::from_secs)).await;
        }
    }

    async fn account(&self, namespace: &str) -> Result<Arc<Account>> {
        let mut accounts = self.accounts.lock().await;
        if let Some(known) = accounts.get(namespace) {
            return Ok(known.clone());
        }
        let secrets: Api<Secret> = Api::namespaced(self.cluster.clone(), namespace);
        let secret = secrets
            .get("hostup-api")
            .await
            .tried(|| format!("read the key of namespace {namespace}"))?;
        let token = secret
            .data
            .unwrap_or_default()
            .remove("token")
            .unwrap_or_default();
        let account = Arc::new(Account {
            key: String::from_utf8_lossy(&token.0).into_owned(),
            pace: Pace::of(self.calls_a_second),
        });
        accounts.insert(namespace.to_owned(), account.clone());
        Ok(account)
    }
}
