//! One more customer on a stage: with many of them, one operator drives a whole table of rows.

use hostup_sim::{AccountId, Fault, RequestRecord, Route};
use serde_json::{Value, json};

use super::stage::KEY;
use super::{Operator, Stage, at};

/// An account of its own, with a standard source VPS, a key, and a Secret that holds the key.
#[derive(Clone)]
pub struct Tenant {
    /// Name of its Secret, and of the restore that [`Tenant::restore`] makes.
    pub name: String,
    pub key: String,
    pub account: AccountId,
    pub vps: String,
    pub backup: String,
}

impl Stage {
    /// A new customer with a Secret in the stage's namespace.
    pub async fn tenant(&self, name: &str) -> Tenant {
        let key = format!("{KEY}-{name}");
        let (account, vps, backup) = self.sim.world(|world| {
            let account = world.add_account(&key);
            let source = &world.account(account).vps[0];
            (account, source.id.clone(), source.backups[0].id.clone())
        });
        let tenant = Tenant {
            name: name.to_owned(),
            key,
            account,
            vps,
            backup,
        };
        self.put_key(&tenant.name, &tenant.key).await;
        tenant
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
    pub fn posts_of(&self, tenant: &Tenant) -> Vec<RequestRecord> {
        self.requests_of(tenant, Route::RestoreToPayg)
    }

    /// One customer's requests on a route, as they arrived.
    pub fn requests_of(&self, tenant: &Tenant, route: Route) -> Vec<RequestRecord> {
        self.sim.world(|world| {
            let all = world.requests_on(route);
            all.filter(|request| request.is_from(tenant.account))
                .cloned()
                .collect()
        })
    }

    /// What the provider executed for one customer.
    pub fn executed_of(&self, tenant: &Tenant) -> usize {
        self.sim.world(|world| world.purchases_of(tenant.account).len())
    }

    /// The records made for the objects of that name, by attempt.
    pub async fn records_of(&self, name: &str) -> Vec<Value> {
        let object = self.restore(name).await;
        let Some(shown) = at(&object, "status.operation.name").as_str() else {
            let mut records = self.records().await;
            records.retain(|record| record["spec"]["subject"]["name"] == name);
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
    pub async fn wait_for_list_reads(&self, tenant: &Tenant, more: usize) {
        let account = tenant.account;
        let start = self.sim.world(|world| world.requests().len());
        let came = move |world: &hostup_sim::World| {
            let since = world.requests()[start..].iter();
            let reads = since.filter(|request| request.route == Route::ListVps && request.is_from(account));
            reads.count() >= more
        };
        let came = self.sim.until(super::PATIENCE, came).await;
        assert!(came, "{}: the list was not read {more} times more", tenant.name);
    }
}

impl Tenant {
    /// An approved restore of its backup, named like the tenant.
    pub fn restore(&self, stage: &Stage) -> Value {
        let mut object = stage.approved(&self.name);
        object["spec"]["source"] = json!({"vpsId": self.vps, "backupId": self.backup});
        object["spec"]["credentialsSecretRef"] = json!({"name": self.name});
        object
    }

    /// A fault on this customer's calls alone.
    pub fn fault(&self, route: Route) -> Fault {
        Fault::on(route).key(&self.key)
    }
}
