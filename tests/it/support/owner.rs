//! Further customers of the stage's provider, each with a key, a Secret and a source VPS of its own.

use hostup_sim::{AccountId, Backup, Vps};
use serde_json::{Value, json};

use super::Stage;

/// A customer: an account of its own, so that what closes for one stays open for the others.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Name of the customer's restore and of its Secret.
    pub name: String,
    /// API key.
    pub key: String,
    /// Account at the provider.
    pub account: AccountId,
    /// The source VPS: 2 cores, 4 GB, 80 GB.
    pub vps: String,
    /// Its only backup: 12.4 GB.
    pub backup: String,
}

impl Stage {
    /// A new customer whose Secret bears its name.
    pub async fn owner(&self, name: &str) -> Owner {
        let key = format!("key-of-{name}-{}", self.namespace);
        let vps = format!("vps_{}", name.replace(['-', '.'], "_"));
        let backup = format!("bkp_{}", name.replace(['-', '.'], "_"));
        let account = self.sim.world(|world| {
            let account = world.add_empty_account(&key);
            let source = Vps::fixed(&vps, name, 2, 4, 80).with_backup(Backup::new(&backup, "12.4"));
            world.add_vps(account, source);
            account
        });
        self.put_secret_named(name, &key).await;
        Owner {
            name: name.to_owned(),
            key,
            account,
            vps,
            backup,
        }
    }

    /// An approved restore of the customer's backup.
    pub fn approved_for(&self, owner: &Owner) -> Value {
        let mut object = self.approved(&owner.name);
        object["spec"]["source"] = json!({"vpsId": owner.vps, "backupId": owner.backup});
        object["spec"]["credentialsSecretRef"] = json!({"name": owner.name});
        object
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
}

/// The rows of `status.gates` with this name.
pub fn gates<'a>(object: &'a Value, name: &str) -> Vec<&'a Value> {
    let rows = super::at(object, "status.gates").as_array();
    rows.into_iter()
        .flatten()
        .filter(|row| row["name"] == name)
        .collect()
}

/// The condition of that type; null where it is missing.
pub fn condition<'a>(object: &'a Value, about: &str) -> &'a Value {
    let conditions = super::at(object, "status.conditions").as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == about)
        .unwrap_or(&Value::Null)
}
