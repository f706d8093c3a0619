//! `backups`: HostUp's list, by a key that the user may read.

use hostup_sim::{Backup, SOURCE_BACKUP, SOURCE_VPS};
use serde_json::json;

use super::{Person, VIEW, env, rows};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_backups_of_a_vps_are_listed_newest_first_with_a_key_that_the_user_may_read() {
    let env = env("backups").await;
    let admin = Person::admin(&env);
    env.sim
        .world(|world| world.add_backup(SOURCE_VPS, Backup::new("bkp_second", "3.5")));
    let url = format!("--hostup-url={}", env.sim.url());
    let listed = admin
        .runs(&["backups", SOURCE_VPS, &url, "-o", "json"])
        .await
        .json();
    let ids: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    assert!(
        ids.contains(&SOURCE_BACKUP) && ids.contains(&"bkp_second"),
        "{listed}"
    );
    let times: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["createdAt"].as_str())
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{listed}");
    let table = admin.runs(&["backups", SOURCE_VPS, &url]).await.ok();
    assert_eq!(
        rows(&table)[0],
        ["ID", "CREATED", "AGE", "SIZE", "TYPE", "STATUS", "NOTE"],
        "{table}"
    );
    assert!(
        table.contains("12.40 GB") && table.contains("complete"),
        "{table}"
    );

    admin
        .runs(&["backups", "vps_of_nobody", &url])
        .await
        .fails(&["the backups of vps_of_nobody cannot be read"]);
    admin
        .runs(&["backups", SOURCE_VPS, &url, "--secret", "none"])
        .await
        .fails(&["\"none\" not found"]);
    admin
        .runs(&["backups", SOURCE_VPS, &url, "--key", "none"])
        .await
        .fails(&["has no API key in its data at none"]);
    env.put_key("wrong", "another").await;
    let ran = admin
        .runs(&["backups", SOURCE_VPS, &url, "--secret", "wrong"])
        .await;
    ran.fails(&["HostUp does not know the API key"]);
    admin
        .runs(&["backups", SOURCE_VPS, "--hostup-url=http://hostup.example"])
        .await
        .fails(&["with https"]);
    let viewer = Person::with(&env, &[VIEW]).await;
    viewer
        .runs(&["backups", SOURCE_VPS, &url])
        .await
        .fails(&["you cannot get the Secret hostup-api in", "--secret"]);
    let reads = env.sim.requests();
    assert!(
        reads
            .iter()
            .all(|request| request.method == "GET" && !request.key_elsewhere)
    );
    assert_eq!(json!(env.posts()), json!(0));
}
