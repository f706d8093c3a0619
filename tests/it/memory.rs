//! What the operator holds in memory of objects as large as Kubernetes lets them be.

use control_plane::{Action, ControlPlane, Rule, status};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::support::printable::peak_memory;
use crate::support::{Operator, OwnPlane, TestEnv, own_control_plane};

/// The chart gives it 128 MiB. This is the binary of the tests, which takes more than the shipped one.
const MOST_KB: u64 = 96 * 1024;
/// Where the list is streamed, one object at a time is read whole.
const MOST_STREAMED_KB: u64 = 56 * 1024;
const OBJECTS: usize = 60;

/// An object of more than a megabyte: annotations, finalizers, and what the API server notes of both.
fn large(mut object: Value) -> Value {
    let metadata = &mut object["metadata"];
    metadata["annotations"] = json!({"test/notes": "n".repeat(240_000)});
    let finalizers: Vec<String> = (0..5_000)
        .map(|n| format!("n{n:0>58}.test.example/kept"))
        .collect();
    metadata["finalizers"] = json!(finalizers);
    object["spec"]["suspend"] = json!(true);
    object
}

async fn env_with_large_objects(plane: &'static ControlPlane) -> TestEnv {
    let env = TestEnv::on(plane, "large").await;
    let objects = (0..OBJECTS).map(|n| {
        let object = if n % 2 == 0 {
            env.preview(&format!("r-{n}"))
        } else {
            env.config_preview(&format!("c-{n}"), json!({"bandwidthGb": 4096}))
        };
        env.create(large(object))
    });
    let created: Vec<usize> = stream::iter(objects)
        .buffer_unordered(4)
        .map(|object| serde_json::to_string(&object).unwrap().len())
        .collect()
        .await;
    let whole: usize = created.iter().sum();
    assert!(whole > 55 << 20, "only {whole} bytes");
    env
}

async fn all_looked_at(env: &TestEnv, operator: &Operator, times: usize) {
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    let looks = |operator: &Operator| {
        let samples = operator.samples();
        ["vpsbackuprestore", "vpsresourceconfig"]
            .map(|kind| {
                format!("controller_runtime_reconcile_total{{controller=\"{kind}\",result=\"success\"}}")
            })
            .iter()
            .map(|sample| samples.get(sample).copied().unwrap_or_default())
            .sum::<f64>()
    };
    while looks(operator) < (OBJECTS * times) as f64 {
        assert!(std::time::Instant::now() < deadline, "{} looks", looks(operator));
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let shown = env.restores().get_metadata("r-0").await.unwrap();
    assert!(shown.metadata.uid.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_of_a_megabyte_take_no_room_however_they_are_listed() {
    let own = OwnPlane::start(own_control_plane).await;
    let mut env = env_with_large_objects(own.0).await;
    // The first writes each status, the next ones only read.
    let streamed: &[&str] = if env.streams_lists().await {
        &["streamed", "streamed again"]
    } else {
        &[]
    };
    for how in streamed {
        let operator = env.operator(&["--resync-interval=1h"]);
        all_looked_at(&env, &operator, 1).await;
        let peak = peak_memory(&operator);
        println!("{how}: {peak} kB");
        assert!(peak < MOST_STREAMED_KB, "{how}: {peak} kB");
    }
    let proxy = env.plane.proxy().unwrap();
    env.kubeconfig = proxy.kubeconfig(&env.kubeconfig).unwrap();
    let version = json!({
        "major": "1", "minor": "30", "gitVersion": "v1.30.0", "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "",
    });
    proxy.rule(
        Rule::on("GET", |request| request.path == "/version")
            .named("an older server")
            .always()
            .action(Action::Respond(200, version)),
    );
    let forbidden = status(422, "Invalid", "sendInitialEvents is forbidden for watch");
    proxy.rule(
        Rule::on("GET", |request| request.query.contains("sendInitialEvents=true"))
            .named("no streaming")
            .always()
            .action(Action::Respond(422, forbidden)),
    );
    let operator = env.operator(&["--resync-interval=1h"]);
    all_looked_at(&env, &operator, 1).await;
    let peak = peak_memory(&operator);
    println!("listed: {peak} kB");
    assert!(peak < MOST_KB, "listed: {peak} kB");
    let lists = proxy.requests().into_iter().filter(|request| {
        request.path.ends_with("/vpsbackuprestores")
            && request.query.contains("limit=")
            && !request.is_watch()
    });
    assert!(lists.count() > 2, "a list in one page");
}
