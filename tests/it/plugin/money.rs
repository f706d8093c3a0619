//! `ledger` and `spend`: what the records say.

use serde_json::json;

use super::{Person, RECORDS, asked, env, rows};
use crate::budgets;
use crate::support::{PATIENCE, at};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_are_listed_oldest_first_and_added_up() {
    let env = env("money").await;
    let _operator = env.operator(&[]);
    let reader = Person::with(&env, &[RECORDS]).await;
    assert_eq!(reader.runs(&["ledger"]).await.ok(), "There are no records.\n");
    assert_eq!(reader.runs(&["spend"]).await.ok(), "Nothing was bought.\n");
    for name in ["one", "two"] {
        env.create(env.approved(name)).await;
        env.wait_for_reason(name, "Restored").await;
    }
    env.create(env.approved_config("options", json!({"bandwidthGb": 4096})))
        .await;
    env.config_comes_to("options", "InSync").await;
    asked(&env, "lost").await;

    let table = reader.runs(&["ledger"]).await.ok();
    let listed: Vec<Vec<String>> = rows(&table);
    let objects: Vec<&str> = listed[1..].iter().map(|row| row[2].as_str()).collect();
    assert_eq!(
        objects,
        ["vbr/one", "vbr/two", "vrc/options", "vbr/lost"],
        "{table}"
    );
    let json = reader
        .runs(&["ledger", "-o", "json", "--since", "1h"])
        .await
        .json();
    assert_eq!(json.as_array().unwrap().len(), 4, "{json}");
    assert_eq!(json[0]["perHour"], "0.66");
    assert_eq!(json[2]["dueNow"], "40.00");
    assert_eq!(json[3]["state"], "Unknown");
    let none = reader
        .runs(&["ledger", "-o", "json", "--since", "0m"])
        .await
        .json();
    assert_eq!(none, json!([]));
    let csv = reader.runs(&["ledger", "-o", "csv"]).await.ok();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 5, "{csv}");
    assert!(
        lines[0].starts_with("time,namespace,object,type,state,price,perHour"),
        "{csv}"
    );
    assert!(
        lines[1].contains(",vbr/one,RestoreToCloudVm,Succeeded,0.66 SEK/h,0.66,"),
        "{csv}"
    );

    let budget = budgets::budget(&env, "team", json!({"perHour": "2.00", "perMonth": "100"}));
    env.create(budget).await;
    let name = format!("{}-team", env.namespace);
    let is_counted =
        |budget: &serde_json::Value| at(budget, "status.perHour.summary") == "1.98 of 2.00 SEK/h";
    env.wait_for(budgets::budgets(&env), &name, "its sums", PATIENCE, is_counted)
        .await;
    let report = reader.runs(&["spend", "-o", "json"]).await.json();
    let spent = report["spend"].clone();
    let common = json!({"namespace": env.namespace, "currencyCode": "SEK"});
    let mut restores = common.clone();
    restores["kind"] = json!("vbr");
    restores["vms"] = json!(2);
    restores["perHour"] = json!("1.32");
    restores["openPerHour"] = json!("0.66");
    let mut options = common;
    options["kind"] = json!("vrc");
    options["vms"] = json!(0);
    options["atOnce"] = json!("40.00");
    options["recurringPerMonth"] = json!("40.00");
    assert_eq!(spent, json!([restores, options]));
    let table = reader.runs(&["spend"]).await.ok();
    assert_eq!(
        rows(&table)[1],
        [&env.namespace, "vbr", "SEK", "2", "1.32", "-", "-", "0.66", "-"],
        "{table}"
    );
    let budgets = report["budgets"].as_array().unwrap();
    let shown = budgets.iter().find(|budget| budget["name"] == *name).unwrap();
    assert_eq!(shown["perHour"]["left"], "0.02", "{report}");
    assert_eq!(shown["nearLimit"], true, "{report}");
    let row = table.lines().find(|line| line.starts_with(&name)).unwrap();
    for cell in ["1.98 of 2.00 SEK/h", "40.00 of 100.00 SEK/month", "yes"] {
        assert!(row.contains(cell), "{table}");
    }
    let by = kube::api::DeleteParams::default();
    budgets::budgets(&env).delete(&name, &by).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_who_may_not_read_records_is_told_so() {
    let env = env("nomoney").await;
    let nobody = Person::with(&env, &[]).await;
    for command in ["ledger", "spend"] {
        nobody.runs(&[command]).await.fails(&[
            "you cannot list vpsoperations",
            "ClusterRole hostup-operator-view-records in the whole cluster",
        ]);
    }
}
