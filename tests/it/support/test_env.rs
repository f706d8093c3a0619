//! One test's own namespace, provider and installation.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use control_plane::{ControlPlane, User};
use futures::StreamExt;
use hostup_sim::{
    AccountId, RequestRecord, Route, SOURCE_BACKUP, SOURCE_VPS, Sim, Vps, World, standard_legacy_options,
    standard_options,
};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::wait::await_condition;
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};

use super::proxied_env::OPERATIONS;
use super::{Operator, PATIENCE, client_of, control_plane, is_shared};

/// The API key that the environment's account and Secret hold.
pub const KEY: &str = "hostup-test-key-5f3c9a";

/// One test's world: a namespace with a Secret, a provider with one standard account, and an
/// instance id of its own.
pub struct TestEnv {
    pub plane: &'static ControlPlane,
    pub sim: Sim,
    pub account: AccountId,
    /// A VPS of the account that no other environment has: the chain of its options is the cluster's.
    pub vps: String,
    /// Its number on the older route.
    pub vmid: u64,
    pub namespace: String,
    pub client: kube::Client,
    pub kubeconfig: PathBuf,
    pub _records_left: RecordsLeft,
}

impl TestEnv {
    /// On the shared control plane.
    pub async fn new(name: &str) -> Self {
        let plane = tokio::task::spawn_blocking(control_plane).await.unwrap();
        Self::on(plane, name).await
    }

    /// On a control plane that the test has to itself.
    pub async fn on(plane: &'static ControlPlane, name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{name}-{count}");
        let sim = Sim::start();
        let account = sim.world(|world| world.add_account(KEY));
        let (vps, vmid) = (format!("vps_{name}_{count}"), 20_000 + u64::from(count));
        sim.world(|world| {
            let own = Vps::fixed(&vps, "app-02", 2, 4, 80)
                .with_options(standard_options())
                .with_legacy(vmid, standard_legacy_options());
            world.add_vps(account, own);
        });
        let client = client_of(plane, User::Admin).await;
        let _records_left = RecordsLeft {
            plane,
            namespace: namespace.clone(),
        };
        let env = Self {
            plane,
            sim,
            account,
            vps,
            vmid,
            namespace,
            client,
            kubeconfig: super::rights::kubeconfig(plane),
            _records_left,
        };
        env.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": env.namespace}}))
            .await;
        env.put_secret(KEY).await;
        env.add_rights().await;
        env
    }

    /// An operator for this environment. `args` win over the environment's own.
    pub fn operator(&self, args: &[&str]) -> Operator {
        self.operator_with(args, &[])
    }

    /// An operator with environment variables of its own.
    pub fn operator_with(&self, args: &[&str], env: &[(&str, &str)]) -> Operator {
        let mut all = vec![format!("--hostup-url={}", self.sim.url())];
        let given = |name: &str| args.iter().any(|arg| arg.split('=').next() == Some(name));
        if !given("--watch-namespaces") {
            all.push(format!("--watch-namespaces={}", self.namespace));
        }
        if !given("--instance-id") {
            all.push(format!("--instance-id={}", self.namespace));
        }
        all.retain(|flag| !given(flag.split('=').next().unwrap()));
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        Operator::start(&self.kubeconfig, &all, env)
    }

    /// A restore of the standard backup, approved by a ceiling that covers its 0.66 SEK/h.
    pub fn approved(&self, name: &str) -> Value {
        let mut object = self.preview(name);
        object["spec"]["approval"] = json!({
            "maxPrice": {"perHour": "0.80", "currencyCode": "SEK"},
            "validUntil": "2099-01-01T00:00:00Z",
        });
        object
    }

    /// A restore of the standard backup without approval.
    pub fn preview(&self, name: &str) -> Value {
        json!({
            "apiVersion": "vps.hostup.se/v1alpha1",
            "kind": "VpsBackupRestore",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "source": {"vpsId": SOURCE_VPS, "backupId": SOURCE_BACKUP},
                "target": {"cloudVm": {"name": "web-01", "region": "stockholm", "cpuCores": 2, "memoryGb": 4, "storageGb": 80}},
            },
        })
    }

    /// Whether the API server streams lists, as it does from 1.34 on.
    pub async fn streams_lists(&self) -> bool {
        let version = self.client.apiserver_version().await.unwrap();
        version.minor.trim_end_matches('+').parse::<u32>().unwrap() >= 34
    }

    /// Creates any object; the error is the API server's.
    pub async fn try_create(&self, object: Value) -> Result<DynamicObject, kube::Error> {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.api_of(&object)
            .create(&kube::api::PostParams::default(), &object)
            .await
    }

    /// Creates any object.
    pub async fn create(&self, object: Value) -> DynamicObject {
        self.try_create(object.clone())
            .await
            .unwrap_or_else(|error| panic!("{error} on {object}"))
    }

    /// Writes the environment's Secret with this key.
    pub async fn put_secret(&self, key: &str) {
        self.put_key("hostup-api", key).await;
    }

    /// Writes a Secret of that name with this key.
    pub async fn put_key(&self, name: &str, key: &str) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": self.namespace},
            "stringData": {"token": key},
        });
        let object: DynamicObject = serde_json::from_value(secret).unwrap();
        let by = PatchParams::apply("test").force();
        self.api_of(&object)
            .patch(name, &by, &Patch::Apply(&object))
            .await
            .unwrap();
    }

    /// Writes a Secret with a key under `token`.
    pub async fn put_secret_named(&self, name: &str, key: &str) {
        self.put_secret_data(name, json!({"stringData": {"token": key}}))
            .await;
    }

    /// Writes a Secret with these members, in place of one that is there.
    pub async fn put_secret_data(&self, name: &str, members: Value) {
        let mut secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": self.namespace},
        });
        for (member, value) in members.as_object().unwrap() {
            secret[member] = value.clone();
        }
        let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
            kube::Api::namespaced(self.client.clone(), &self.namespace);
        let secret = serde_json::from_value(secret).unwrap();
        let by = kube::api::PostParams::default();
        if secrets.get_opt(name).await.unwrap().is_some() {
            secrets.replace(name, &by, &secret).await.unwrap();
        } else {
            secrets.create(&by, &secret).await.unwrap();
        }
    }

    /// Removes the environment's Secret.
    pub async fn delete_secret(&self) {
        let secrets: Api<k8s_openapi::api::core::v1::Secret> =
            Api::namespaced(self.client.clone(), &self.namespace);
        secrets
            .delete("hostup-api", &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }

    /// The restores of the environment's namespace.
    pub fn restores(&self) -> Api<DynamicObject> {
        Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &kind("VpsBackupRestore", "vpsbackuprestores"),
        )
    }

    /// The configurations of the environment's namespace.
    pub fn configs(&self) -> Api<DynamicObject> {
        Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &kind("VpsResourceConfig", "vpsresourceconfigs"),
        )
    }

    /// A configuration of the environment's own VPS, approved by a ceiling that covers the 40 SEK of 4096 GB.
    pub fn approved_config(&self, name: &str, resources: Value) -> Value {
        let mut object = self.config_preview(name, resources);
        object["spec"]["approval"] =
            json!({"maxPrice": {"dueNow": "40.00", "perMonth": "40.00", "currencyCode": "SEK"}});
        object
    }

    /// A configuration of the environment's own VPS without approval.
    pub fn config_preview(&self, name: &str, resources: Value) -> Value {
        json!({
            "apiVersion": "vps.hostup.se/v1alpha1",
            "kind": "VpsResourceConfig",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"vpsId": self.vps, "resources": resources},
        })
    }

    /// 4 cores and 8 GB of memory for the environment's own VM, which has 2 and 4, approved by a ceiling that covers the
    /// 1.06 SEK of an hour.
    pub fn approved_resize(&self, name: &str) -> Value {
        let mut object = self.resize_preview(name);
        object["spec"]["approval"] = json!({"maxPrice": {"perHour": "1.06", "currencyCode": "SEK"}});
        object
    }

    /// The same without approval.
    pub fn resize_preview(&self, name: &str) -> Value {
        let mut object = self.config_preview(name, Value::Null);
        object["spec"] = json!({"vpsId": self.vps, "cloudVm": {"cpuCores": 4, "memoryGb": 8}});
        object
    }

    /// The VPS becomes a pay-as-you-go VM.
    pub fn is_payg(&self, vps: &str) {
        self.sim.world(|world| {
            let vps = world.vps_mut(vps).unwrap();
            vps.billing.is_payg = true;
            vps.options.clear();
        });
    }

    /// An order on the older route, whose estimate and order cost 100.00 SEK each month; without approval.
    pub fn legacy_preview(&self, name: &str) -> Value {
        let mut object = self.config_preview(name, Value::Null);
        object["spec"] = json!({"legacy": {"vmid": self.vmid, "resources": {"2231": 400}, "cycle": "m"}});
        object
    }

    /// Gives the environment's account one more VPS with the standard options.
    pub fn add_vps(&self, id: &str) {
        let vps = Vps::fixed(id, id, 2, 4, 80).with_options(standard_options());
        self.sim.world(|world| world.add_vps(self.account, vps));
    }

    /// One configuration as it stands.
    pub async fn config(&self, name: &str) -> Value {
        serde_json::to_value(self.configs().get(name).await.unwrap()).unwrap()
    }

    /// The records made for the configuration of that name, by attempt.
    pub async fn records_of_config(&self, name: &str) -> Vec<Value> {
        let mut records = self.records().await;
        records.retain(|record| record["spec"]["subject"]["name"] == name);
        records
    }

    /// Changes a configuration by a merge patch of its spec.
    pub async fn patch_config(&self, name: &str, spec: Value) {
        let patch = json!({"spec": spec});
        let api = self.configs();
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap_or_else(|error| panic!("{error} on {patch}"));
    }

    /// Waits until a configuration satisfies `condition`.
    pub async fn wait_config(&self, name: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(self.configs(), name, what, PATIENCE, condition)
            .await
    }

    /// Waits until a configuration has come to this reason of Ready.
    pub async fn config_comes_to(&self, name: &str, wanted: &str) -> Value {
        self.wait_config(name, wanted, |object| reason(object) == wanted)
            .await
    }

    /// As [`TestEnv::config_comes_to`], decided from the spec as it stands now.
    pub async fn config_comes_to_anew(&self, name: &str, wanted: &str) -> Value {
        let generation = self.config(name).await["metadata"]["generation"].clone();
        let fits = |object: &Value| {
            reason(object) == wanted && *at(object, "status.observedGeneration") == generation
        };
        self.wait_config(name, wanted, fits).await
    }

    /// All records.
    pub fn operations(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &kind("VpsOperation", "vpsoperations"))
    }

    /// The records made for the environment's objects, by attempt.
    pub async fn records(&self) -> Vec<Value> {
        let ours = ListParams::default().fields(&format!("spec.subject.namespace={}", self.namespace));
        let listed = self.operations().list(&ours).await.unwrap();
        let mut records: Vec<Value> = listed
            .items
            .into_iter()
            .map(|object| serde_json::to_value(object).unwrap())
            .collect();
        records.sort_by_key(|record| {
            (
                record["spec"]["subject"]["name"].to_string(),
                record["spec"]["attempt"].as_u64(),
            )
        });
        records
    }

    /// One restore as it stands.
    pub async fn restore(&self, name: &str) -> Value {
        serde_json::to_value(self.restores().get(name).await.unwrap()).unwrap()
    }

    /// Changes a restore by a merge patch.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<DynamicObject, kube::Error> {
        self.restores()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
    }

    /// Has an object looked at, for the `n`-th time.
    pub async fn poke(&self, api: Api<DynamicObject>, name: &str, n: u32) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"looked-at": n.to_string()}}}));
        api.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Has an object looked at until HostUp is asked anew at `route`: a look that was begun before counts for one that
    /// is wanted meanwhile.
    pub async fn look_again(&self, api: Api<DynamicObject>, name: &str, route: Route) {
        static LOOKS: AtomicU32 = AtomicU32::new(1_000);
        let reads = self.sim.count(route);
        let asked = move |world: &World| world.count(route) > reads;
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.poke(api.clone(), name, LOOKS.fetch_add(1, Ordering::Relaxed))
                .await;
            if self.sim.until(Duration::from_secs(3), asked).await {
                return;
            }
            assert!(Instant::now() < deadline, "nobody looks at {name}");
        }
    }

    /// Answers an unknown outcome, as a person would.
    pub async fn resolve(&self, record: &str, resolution: Value) -> Result<DynamicObject, kube::Error> {
        let patch = json!({"spec": {"resolution": resolution}});
        self.operations()
            .patch(record, &PatchParams::default(), &Patch::Merge(&patch))
            .await
    }

    /// Deletes a restore and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        self.delete_from(self.restores(), name).await;
    }

    /// Deletes a configuration and waits until it is gone.
    pub async fn delete_config(&self, name: &str) {
        self.delete_from(self.configs(), name).await;
    }

    async fn delete_from(&self, api: Api<DynamicObject>, name: &str) {
        let by = kube::api::DeleteParams::default();
        let deleted = api.delete(name, &by).await.unwrap();
        let uid = deleted
            .either(
                |object| object.metadata.uid,
                |status| status.details.map(|details| details.uid),
            )
            .unwrap();
        let gone = kube::runtime::conditions::is_deleted(&uid);
        tokio::time::timeout(PATIENCE, await_condition(api, name, gone))
            .await
            .unwrap()
            .unwrap();
    }

    /// Waits until the restore satisfies `condition`; fails with what it saw last.
    pub async fn wait(&self, name: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(self.restores(), name, what, PATIENCE, condition)
            .await
    }

    /// Waits until a restore has come to this reason of Ready.
    pub async fn wait_for_reason(&self, name: &str, wanted: &str) -> Value {
        self.wait(name, wanted, |object| reason(object) == wanted).await
    }

    /// Waits until a record satisfies `condition`.
    pub async fn wait_for_record(&self, name: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(self.operations(), name, what, PATIENCE, condition)
            .await
    }

    /// Waits until an object satisfies `condition`; fails with what it saw last.
    pub async fn wait_for(
        &self,
        api: Api<DynamicObject>,
        name: &str,
        what: &str,
        within: Duration,
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        // A watch may break, e.g. because its API server restarts; it is opened again, and the wait goes on.
        let mut seen = std::pin::pin!(watch_object(api.clone(), name).default_backoff());
        let waited = tokio::time::timeout(within, async {
            while let Some(object) = seen.next().await {
                let Ok(Some(object)) = object else { continue };
                let object = serde_json::to_value(object).unwrap();
                if condition(&object) {
                    return Some(object);
                }
            }
            None
        });
        if let Ok(Some(object)) = waited.await {
            return object;
        }
        let last = api.get_opt(name).await.unwrap();
        let last = serde_json::to_string_pretty(&last).unwrap();
        panic!("{name} did not come to {what}; it stands at:\n{last}")
    }

    /// Waits until a job has been read once more.
    pub async fn polled_again(&self) {
        let polls = self.sim.count(Route::Job);
        let again = move |world: &hostup_sim::World| world.count(Route::Job) > polls;
        assert!(self.sim.until(PATIENCE, again).await, "no job is read any more");
    }

    /// What the provider executed, whatever it answered.
    pub fn executed(&self) -> usize {
        self.sim.purchases().len()
    }

    /// Paid POSTs that reached the provider.
    pub fn posts(&self) -> usize {
        PAID_ROUTES.iter().map(|route| self.sim.count(*route)).sum()
    }

    /// What the invariants say of every run, at its end: each record sent at most one POST, nothing was
    /// sent over a used connection, the key stood nowhere but in its header, each purchase has a record, and
    /// every request about options says whether it is a dry run.
    pub async fn check_invariants(&self) {
        self.check_invariants_over(self.records().await);
    }

    /// The same, where other namespaces' records were sent to this environment's provider too.
    pub fn check_invariants_over(&self, records: Vec<Value>) {
        let posts: Vec<_> = PAID_ROUTES
            .iter()
            .flat_map(|route| self.sim.requests_on(*route))
            .collect();
        for record in &records {
            let body = record["spec"]["request"]["body"].as_str().unwrap();
            let path = record["spec"]["request"]["path"].as_str().unwrap();
            let tries = records
                .iter()
                .filter(|other| {
                    let request = &other["spec"]["request"];
                    request["body"] == body && request["path"] == path
                })
                .count();
            let sent = posts
                .iter()
                .filter(|post| post.path == path && post.body_text() == body)
                .count();
            assert!(sent <= tries, "{sent} POSTs for {tries} records of {body}");
        }
        for post in &posts {
            assert_eq!(
                post.nth_on_connection, 1,
                "a paid POST went over a used connection"
            );
            assert_eq!(post.http_version, "HTTP/1.1");
            let recorded = records
                .iter()
                .any(|record| record["spec"]["request"]["body"] == post.body_text().as_ref());
            assert!(recorded, "a POST without a record: {}", post.body_text());
        }
        for request in self.sim.requests() {
            assert!(
                request.method == "GET"
                    || request.route == Route::ConfigPreview
                    || PAID_ROUTES.contains(&request.route),
                "{} {} is neither a read, a dry run nor a paid call",
                request.method,
                request.path
            );
            assert!(
                !request.key_elsewhere,
                "the key stood outside its header in {} {}",
                request.method, request.path
            );
            if request.path.ends_with("/actions/config") {
                says_whether_it_is_a_dry_run(&request);
            }
        }
        assert_eq!(
            self.sim.world(|world| world.needless_cancellations().len()),
            0,
            "an invoice was to be cancelled where none stood in the way"
        );
        for record in &records {
            let whole = record.to_string();
            assert!(!whole.contains(KEY), "the key stands in {whole}");
            assert!(whole.len() < 200 * 1024, "a record of {} bytes", whole.len());
        }
    }

    fn api_of(&self, object: &DynamicObject) -> Api<DynamicObject> {
        let types = object.types.clone().unwrap();
        let gvk = GroupVersionKind::try_from(&types).unwrap();
        let resource = ApiResource::from_gvk(&gvk);
        match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

/// Deletes the records of an environment on the shared control plane once its test is over: every operator there is
/// shown all records when it starts.
pub struct RecordsLeft {
    plane: &'static ControlPlane,
    namespace: String,
}

impl Drop for RecordsLeft {
    fn drop(&mut self) {
        if std::thread::panicking() || !is_shared(self.plane) {
            return;
        }
        let plane = self.plane;
        let own = format!(
            "{OPERATIONS}?fieldSelector=spec.subject.namespace%3D{}",
            self.namespace
        );
        // If it fails, the tests that follow only take longer.
        std::thread::spawn(move || drop(plane.kubectl(&["delete", "--raw", &own])));
    }
}

/// Every route of the provider that costs money or destroys data, or may.
const PAID_ROUTES: [Route; 8] = [
    Route::RestoreToPayg,
    Route::Restore,
    Route::RestoreFromVps,
    Route::CreateBackup,
    Route::ConfigCommit,
    Route::Resize,
    Route::LegacyEstimate,
    Route::LegacyUpgrade,
];

/// The message of Ready contains this.
#[track_caller]
pub fn says(object: &Value, what: &str) {
    let message = ready(object)["message"].as_str().unwrap();
    assert!(message.contains(what), "{what:?} is not in {message:?}");
}

/// Safety sentence 6, on the bytes that arrived.
fn says_whether_it_is_a_dry_run(request: &RequestRecord) {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    let dry_run = body["dryRun"].as_bool();
    assert_eq!(
        dry_run,
        Some(request.route == Route::ConfigPreview),
        "{}",
        request.body_text()
    );
    let allowed = if dry_run == Some(true) {
        vec!["dryRun", "resources"]
    } else {
        vec!["cancelExistingInvoice", "dryRun", "resources"]
    };
    assert!(
        members.iter().all(|member| allowed.contains(&member.as_str())),
        "{members:?}"
    );
}

fn kind(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("vps.hostup.se", "v1alpha1", kind), plural)
}

/// The value at a path of members, e.g. `status.vm.vpsId`; null where it is missing.
pub fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, member| &value[member])
}

/// The `Ready` condition.
pub fn ready(object: &Value) -> &Value {
    let conditions = at(object, "status.conditions").as_array();
    conditions
        .and_then(|list| list.iter().find(|c| c["type"] == "Ready"))
        .unwrap_or(&Value::Null)
}

/// The reason of the `Ready` condition; empty where there is none.
pub fn reason(object: &Value) -> &str {
    ready(object)["reason"].as_str().unwrap_or_default()
}

/// The rows of `status.gates` with this name.
pub fn gates<'a>(object: &'a Value, name: &str) -> Vec<&'a Value> {
    let rows = at(object, "status.gates").as_array();
    rows.into_iter()
        .flatten()
        .filter(|row| row["name"] == name)
        .collect()
}

/// The condition of that type; null where it is missing.
pub fn condition<'a>(object: &'a Value, about: &str) -> &'a Value {
    let conditions = at(object, "status.conditions").as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == about)
        .unwrap_or(&Value::Null)
}
