//! One more customer of an environment's provider: with many of them, one operator drives a whole table of rows.

use std::sync::atomic::{AtomicU64, Ordering};

use hostup_sim::{AccountId, Fault, RequestRecord, Route};
use serde_json::{Value, json};

use super::test_env::KEY;
use super::{Operator, TestEnv, at};

/// An account of its own, with a standard source VPS, a key, and a Secret that holds the key.
#[derive(Debug, Clone)]
pub struct Customer {
    /// Name of its Secret, and of the object that [`Customer::restore`], [`Customer::config`] or
    /// [`Customer::legacy`] makes.
    pub name: String,
    pub key: String,
    pub account: AccountId,
    /// In no other environment: the VPS is what the records of its options are chained by.
    pub vps: String,
    /// Its number on the older routes, in no other environment either.
    pub vmid: u64,
    pub backup: String,
}

/// The numbers given so far; those of the environments themselves are lower.
static VMIDS: AtomicU64 = AtomicU64::new(100_000);

impl TestEnv {
    /// A new customer with a Secret in the environment's namespace.
    pub async fn customer(&self, name: &str) -> Customer {
        let key = format!("{KEY}-{name}");
        let vmid = VMIDS.fetch_add(1, Ordering::Relaxed);
        let vps = format!("vps_{vmid}");
        let (account, backup) = self.sim.world(|world| {
            let account = world.add_account(&key);
            let source = &mut world.account_mut(account).vps[0];
            source.id.clone_from(&vps);
            source.vmid = Some(vmid);
            (account, source.backups[0].id.clone())
        });
        let customer = Customer {
            name: name.to_owned(),
            key,
            account,
            vps,
            vmid,
            backup,
        };
        self.put_key(&customer.name, &customer.key).await;
        customer
    }

    /// An operator for many customers at once: a claim does not grow too old to be sent, nor a read too
    /// slow, because the machine is busy.
    pub fn operator_for_many(&self, args: &[&str]) -> Operator {
        self.operator(
            &[
                &["--workers=32", "--request-timeout=8s", "--paid-timeout=9s"],
                args,
            ]
            .concat(),
        )
    }

    /// Paid POSTs of one customer, as they arrived.
    pub fn posts_of(&self, customer: &Customer) -> Vec<RequestRecord> {
        self.sim.world(|world| {
            let all = world.requests().iter();
            all.filter(|request| request.route.is_ledgered() && request.is_from(customer.account))
                .cloned()
                .collect()
        })
    }

    /// One customer's requests on a route, as they arrived.
    pub fn requests_of(&self, customer: &Customer, route: Route) -> Vec<RequestRecord> {
        self.sim.world(|world| {
            let all = world.requests_on(route);
            all.filter(|request| request.is_from(customer.account))
                .cloned()
                .collect()
        })
    }

    /// What the provider executed for one customer.
    pub fn executed_of(&self, customer: &Customer) -> usize {
        self.sim.world(|world| world.purchases_of(customer.account).len())
    }

    /// The records made for the restores of that name, by attempt.
    pub async fn records_of(&self, name: &str) -> Vec<Value> {
        self.records_behind(&self.restore(name).await).await
    }

    /// The records behind the configuration of that name, by attempt.
    pub async fn config_records_of(&self, name: &str) -> Vec<Value> {
        self.records_behind(&self.config(name).await).await
    }

    async fn records_behind(&self, object: &Value) -> Vec<Value> {
        let Some(shown) = at(object, "status.operation.name").as_str() else {
            let mut records = self.records().await;
            records.retain(|record| record["spec"]["subject"]["name"] == object["metadata"]["name"]);
            return records;
        };
        // Far cheaper than the whole ledger, where a table asks for each of its rows.
        let chain = shown.rsplit_once('-').unwrap().0.to_owned();
        let mut records = Vec::new();
        loop {
            let next = format!("{chain}-{}", records.len() + 1);
            match self.operations().get_opt(&next).await.unwrap() {
                Some(record) => records.push(serde_json::to_value(record).unwrap()),
                None => return records,
            }
        }
    }

    /// Waits until the customer's list of VMs was read so many times more.
    pub async fn wait_for_list_reads(&self, customer: &Customer, more: usize) {
        self.wait_for_reads(customer, Route::ListVps, more).await;
    }

    /// Waits until so many more of the customer's calls of a route came.
    pub async fn wait_for_reads(&self, customer: &Customer, route: Route, more: usize) {
        let account = customer.account;
        let start = self.sim.world(|world| world.requests().len());
        let came = move |world: &hostup_sim::World| {
            let since = world.requests()[start..].iter();
            let reads = since.filter(|request| request.route == route && request.is_from(account));
            reads.count() >= more
        };
        let came = self.sim.until(super::PATIENCE, came).await;
        assert!(
            came,
            "{}: {route:?} was not read {more} times more",
            customer.name
        );
    }
}

impl Customer {
    /// An approved restore of its backup, named like the customer.
    pub fn restore(&self, env: &TestEnv) -> Value {
        let mut object = env.approved(&self.name);
        object["spec"]["source"] = json!({"vpsId": self.vps, "backupId": self.backup});
        object["spec"]["credentialsSecretRef"] = json!({"name": self.name});
        object
    }

    /// The options of its VPS, approved like [`TestEnv::approved_config`], named like the customer.
    pub fn config(&self, env: &TestEnv, resources: Value) -> Value {
        let mut object = env.approved_config(&self.name, resources);
        object["spec"]["vpsId"] = json!(self.vps);
        object["spec"]["credentialsSecretRef"] = json!({"name": self.name});
        object
    }

    /// Another size of its VPS, which is a pay-as-you-go VM then, approved like [`TestEnv::approved_resize`], named
    /// like the customer.
    pub fn resize(&self, env: &TestEnv) -> Value {
        env.is_payg(&self.vps);
        let mut object = env.approved_resize(&self.name);
        object["spec"]["vpsId"] = json!(self.vps);
        object["spec"]["credentialsSecretRef"] = json!({"name": self.name});
        object
    }

    /// An order of the older route, approved by a ceiling that covers what the standard one costs: 100 SEK
    /// now, and 299 SEK a month. Named like the customer.
    pub fn legacy(&self, env: &TestEnv) -> Value {
        let mut object = self.config(env, json!({}));
        let spec = object["spec"].as_object_mut().unwrap();
        spec.retain(|member, _| member == "credentialsSecretRef");
        spec.insert(
            "legacy".to_owned(),
            json!({"vmid": self.vmid, "resources": {"2231": 400}, "cycle": "m"}),
        );
        let ceiling = json!({"dueNow": "100.00", "perMonth": "299.00", "currencyCode": "SEK"});
        spec.insert("approval".to_owned(), json!({"maxPrice": ceiling}));
        object
    }

    /// A fault on this customer's calls alone.
    pub fn fault(&self, route: Route) -> Fault {
        Fault::on(route).key(&self.key)
    }
}
