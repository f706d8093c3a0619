//! A ledger of years: what thousands of finished records cost the next restore, a restart, and the memory.

use std::time::{Duration, Instant};

use control_plane::Request;
use futures::{StreamExt, stream};
use hostup_operator::domain::ledger::names::{ChainKey, VmToken};
use hostup_operator::domain::ledger::record::{Evidence, State};
use hostup_operator::domain::ledger::{Amounts, Content, Entry, Index, KeyPlace};
use hostup_operator::domain::values::ids::{InstanceId, VpsId};
use hostup_operator::domain::values::money::Amount;
use hostup_sim::RestoreBehaviour;
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};

use crate::support::{Operator, OwnPlane, PATIENCE, TestEnv, own_control_plane};

/// Finished records beside those of the test itself. `HOSTUP_TEST_RECORDS` says another number.
const RECORDS: usize = 3_000;
/// Restores that are bought to see what one costs.
const RESTORES: usize = 4;

/// Makes finished records after the pattern of a real one, each of a restore that is long gone.
async fn make_records(env: &TestEnv, pattern: &Value, count: usize) {
    let records = env.operations();
    let made = (0..count).map(|n| {
        let (records, mut record) = (records.clone(), pattern.clone());
        let object = format!("gone-{n}");
        let name = ChainKey::of_restore(&env.namespace, &object).record(1);
        let token = VmToken::new(&InstanceId::new(&env.namespace), &env.namespace, &object);
        record["metadata"] = json!({"name": name.as_str()});
        record["spec"]["subject"]["name"] = json!(object);
        record["spec"]["expectedVmName"] = json!(format!("web-01-{}", token.as_str()));
        record["status"]["result"]["vpsId"] = json!(format!("vps_{n:0>26}"));
        async move {
            let record: DynamicObject = serde_json::from_value(record).unwrap();
            let by = PostParams::default();
            let mut created = records.create(&by, &record).await.unwrap();
            created.data["status"] = record.data["status"].clone();
            records
                .replace_status(name.as_str(), &by, &created)
                .await
                .unwrap();
        }
    });
    stream::iter(made).buffer_unordered(16).collect::<()>().await;
}

/// Buys some restores one after the other; what the operator asked the API server for meanwhile.
async fn requests_of_restores(env: &TestEnv, requests: impl Fn() -> Vec<Request>, names: &str) -> usize {
    let before = requests().len();
    for n in 0..RESTORES {
        let name = format!("{names}-{n}");
        env.create(env.approved(&name)).await;
        env.wait_for_reason(&name, "Restored").await;
    }
    let asked = requests().split_off(before);
    asked.iter().filter(|request| !request.is_watch()).count()
}

fn looks(operator: &Operator, kind: &str) -> f64 {
    let samples = operator.samples();
    ["success", "error"]
        .map(|result| {
            format!("controller_runtime_reconcile_total{{controller=\"{kind}\",result=\"{result}\"}}")
        })
        .iter()
        .map(|sample| samples.get(sample).copied().unwrap_or_default())
        .sum()
}

/// Memory that the process has to itself, and its share of the rest, in kB.
fn share_of_memory(operator: &Operator) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", operator.pid())).unwrap();
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    pss.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousands_of_finished_records_cost_the_next_restore_and_a_restart_nothing() {
    let own = OwnPlane::start(own_control_plane).await;
    let plane = own.0;
    let count = std::env::var("HOSTUP_TEST_RECORDS").map_or(RECORDS, |count| count.parse().unwrap());
    let mut env = TestEnv::on(plane, "many").await;
    env.sim.world(|world| {
        world.restore = RestoreBehaviour {
            job_duration: Duration::from_millis(200),
            ..RestoreBehaviour::default()
        };
    });
    let proxy = env.plane.proxy().unwrap();
    env.kubeconfig = proxy.kubeconfig(&env.kubeconfig).unwrap();
    // Done is done: nothing is looked at by the clock.
    let args = ["--resync-interval=1h", "--gate-interval=1h"];
    let operator = env.operator(&args);
    let among_few = requests_of_restores(&env, || proxy.requests(), "few").await;
    let idle = share_of_memory(&operator);
    drop(operator);
    let pattern = env.records().await.swap_remove(0);
    assert_eq!(pattern["status"]["state"], "Succeeded");
    make_records(&env, &pattern, count).await;

    let (before, calls) = (proxy.requests().len(), env.sim.requests().len());
    let started = Instant::now();
    let operator = env.operator(&args);
    let succeeded = "hostup_operator_operations{state=\"Succeeded\"}";
    let is_known = |known: usize| move |sample| sample == Some(known as f64);
    operator.samples_with(succeeded, is_known(count + RESTORES));
    let listed = started.elapsed();
    let deadline = Instant::now() + PATIENCE;
    while looks(&operator, "vpsbackuprestore") < RESTORES as f64 {
        assert!(Instant::now() < deadline, "the restores are not looked at");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let asked = proxy.requests().split_off(before);
    let writes: Vec<&Request> = asked.iter().filter(|request| request.method != "GET").collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(env.sim.requests().len(), calls);
    assert_eq!(looks(&operator, "vpsoperation"), 0.0);
    let restarted = share_of_memory(&operator);
    // Far less than the records themselves take; a process that has worked keeps some pages that one at rest lacks.
    let room = 10 * 1024 + (count * 1024 / 1000) as u64;
    assert!(
        restarted <= idle + room,
        "{restarted} kB, {idle} kB without records"
    );

    let among_many = requests_of_restores(&env, || proxy.requests(), "many").await;
    assert!(
        among_many <= among_few + among_few / 4,
        "{among_many} requests among {count} records, {among_few} among none"
    );
    let known = count + 2 * RESTORES;
    operator.samples_with(succeeded, is_known(known));
    let samples = operator.samples();
    let spent = format!(
        "hostup_operator_spend_per_hour{{namespace=\"{}\",currency=\"SEK\"}}",
        env.namespace
    );
    let cents = (samples[&spent] * 100.0).round();
    assert_eq!(cents, known as f64 * 66.0);
    let bought = share_of_memory(&operator);
    println!(
        "{count} records: {idle} kB without them, {restarted} kB after a restart among them, {bought} kB after \
         restores; known within {listed:?}; requests of {RESTORES} restores: {among_few}, {among_many}"
    );
    assert_eq!((env.posts(), env.executed()), (2 * RESTORES, 2 * RESTORES));
}

/// Records enough that nothing else counts.
const IN_MEMORY: usize = 100_000;
/// What a finished record may cost, in bytes.
const MOST_BYTES: usize = 300;

/// How a record ended.
#[derive(Debug, Clone, Copy)]
enum End {
    /// A VM was bought.
    Restored,
    /// HostUp refused, and asked to wait.
    RefusedAndHeld,
    /// Options were bought: due at once, and each month.
    Changed,
}

fn ended(end: End, object: &str, name: &ChainKey) -> Entry {
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let mut made = time("2026-11-23T00:00:00Z").unwrap();
    let mut price = Amounts {
        per_hour: Amount::parse("0.66"),
        ..Amounts::default()
    };
    let (state, not_before, result) = match end {
        End::Restored => (
            State::Succeeded,
            None,
            Some(VpsId::new(format!("vps_{object:0>26}"))),
        ),
        End::RefusedAndHeld => {
            let n: u32 = object.parse().unwrap();
            let until = format!(
                "2026-11-{:0>2}T{:0>2}:{:0>2}:00.5Z",
                n / 1440 % 30 + 1,
                n / 60 % 24,
                n % 60
            );
            (State::Rejected, time(&until), None)
        }
        End::Changed => {
            made += Duration::from_secs(object.parse().unwrap());
            price = Amounts {
                per_hour: None,
                per_month: Amount::parse("40"),
                at_once: Amount::parse("40"),
            };
            (State::Succeeded, None, None)
        }
    };
    Entry {
        name: name.record(1),
        made: Some(made),
        content: Some(Content {
            instance: InstanceId::new("cluster-1"),
            kind: "VpsBackupRestore".to_owned(),
            namespace: "shop".to_owned(),
            object: object.to_owned(),
            key: KeyPlace {
                namespace: "shop".to_owned(),
                secret: "hostup-api".to_owned(),
                key: "token".to_owned(),
            },
            state,
            evidence: Some(Evidence::Job),
            not_before,
            token: Some(VmToken::new(&InstanceId::new("cluster-1"), "shop", object)),
            result,
            resized: None,
            drives: None,
            is_backup: false,
            has_ended: false,
            claimed: time("2026-11-23T00:00:00Z"),
            currency: "SEK".to_owned(),
            price,
        }),
    }
}

/// Bytes of memory that the process is in.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// The name of the test that measures, in the process that does nothing else.
const MEASURES: &str = "many_records::a_finished_record_costs_few_bytes";

#[test]
fn a_finished_record_costs_few_bytes() {
    let (end, in_order) = match std::env::var("HOSTUP_TEST_MEASURE").as_deref() {
        Ok("restored, listed") => (End::Restored, true),
        Ok("restored, one by one") => (End::Restored, false),
        Ok("refused, listed") => (End::RefusedAndHeld, true),
        Ok("changed, listed") => (End::Changed, true),
        Ok(other) => panic!("{other}"),
        Err(_) => {
            for what in [
                "restored, listed",
                "restored, one by one",
                "refused, listed",
                "changed, listed",
            ] {
                let measured = std::process::Command::new(std::env::current_exe().unwrap())
                    .args([MEASURES, "--exact", "--nocapture"])
                    .env("HOSTUP_TEST_MEASURE", what)
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&measured.stdout).into_owned();
                let bytes = said.lines().find_map(|line| line.split_once("bytes a record: "));
                let bytes: usize = bytes
                    .unwrap_or_else(|| panic!("{said}"))
                    .1
                    .trim()
                    .parse()
                    .unwrap();
                println!("{what}: {bytes} bytes");
                assert!(bytes > 50 && bytes <= MOST_BYTES, "{what}: {bytes} bytes");
            }
            return;
        }
    };
    let mut keys: Vec<(ChainKey, u32)> = (0..IN_MEMORY as u32)
        .map(|n| (ChainKey::of_restore("shop", &n.to_string()), n))
        .collect();
    // As the API server lists them, which leaves the nodes of a tree the least full.
    if in_order {
        keys.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    }
    let now = "2026-11-30T00:00:00Z".parse().unwrap();
    let mut index = Index::new(InstanceId::new("cluster-1"), now);
    let before = resident();
    for (key, n) in &keys {
        index.show(ended(end, &n.to_string(), key));
    }
    println!("bytes a record: {}", (resident() - before) / IN_MEMORY);
    assert_eq!(index.figures().states.values().sum::<usize>(), IN_MEMORY);
}
