//! The binary serves a demonstration and its admin API.

mod common;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use common::{Answer, ORDER, config_path, options_path, restore_path};
use hostup_sim::{SOURCE_BACKUP, SOURCE_VPS};
use serde_json::json;

struct Running {
    child: Child,
    address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start() -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hostup-sim"))
            .args(["--listen", "127.0.0.1:0", "--key", "demo"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("a line");
        let url = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http://"))
            .unwrap_or_else(|| panic!("no URL in {line:?}"));
        Running {
            child,
            address: url.parse().expect("an address"),
        }
    }

    fn call(&self, method: &str, target: &str, body: &str) -> Answer {
        let stream = TcpStream::connect(self.address).expect("a connection");
        common::Client::over(stream, "demo").call(method, target, body)
    }
}

#[test]
fn the_demonstration_sells_lists_and_fails_on_demand() {
    let sim = Running::start();
    let list = sim.call("GET", "/api/v2/vps", "");
    assert_eq!(list.at("/data/0/id"), json!(SOURCE_VPS));
    let backups = sim.call("GET", &format!("/api/v2/vps/{SOURCE_VPS}/backups"), "");
    assert_eq!(backups.at("/backups/0/id"), json!(SOURCE_BACKUP));

    let set = sim.call("POST", "/_sim/job-duration/50ms", "");
    assert_eq!(set.status, 200);
    assert_eq!(sim.call("POST", "/_sim/job-duration/soon", "").status, 400);
    assert_eq!(sim.call("POST", &restore_path(), ORDER).status, 202);
    assert_eq!(sim.call("POST", "/_sim/faults/500-acted?times=1", "").status, 200);
    assert_eq!(sim.call("POST", "/_sim/faults/nonsense", "").status, 404);
    assert_eq!(
        sim.call("GET", "/_sim/unfired", "")
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(sim.call("POST", &restore_path(), ORDER).status, 500);

    let purchases = sim.call("GET", "/_sim/purchases", "");
    assert_eq!(purchases.json().as_array().unwrap().len(), 2);
    assert_eq!(purchases.at("/0/perHour"), json!(0.66));
    let requests = sim.call("GET", "/_sim/requests", "");
    assert_eq!(requests.json().as_array().unwrap().len(), 4);
    assert_eq!(requests.at("/3/status"), json!(500));
    assert!(!requests.text().contains("Bearer demo"));
    assert_eq!(
        sim.call("GET", "/_sim/vps", "").json().as_array().unwrap().len(),
        3
    );
    assert!(sim.call("GET", "/_sim/", "").text().contains("purchases"));
}

#[test]
fn every_fault_of_the_list_can_be_injected() {
    let sim = Running::start();
    let list = sim.call("GET", "/_sim/faults", "").text();
    let names: Vec<&str> = list
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() >= 20, "{list}");
    for name in names {
        let injected = sim.call("POST", &format!("/_sim/faults/{name}"), "");
        assert_eq!(injected.status, 200, "{name}");
    }
    assert_eq!(sim.call("DELETE", "/_sim/faults", "").status, 200);
    assert_eq!(sim.call("GET", "/_sim/unfired", "").json(), json!([]));
}

#[test]
fn the_demonstration_sells_options_and_plays_the_person_at_the_panel() {
    let sim = Running::start();
    let config = |body: &str| sim.call("POST", &config_path(), body);
    let body = r#"{"resources":{"bandwidthGb":4096}}"#;
    let current = || {
        sim.call("GET", &options_path(), "")
            .at("/configurableOptions/0/currentValue")
    };

    assert_eq!(sim.call("POST", "/_sim/option/bandwidthGb/1024", "").status, 200);
    assert_eq!(current(), json!(1024));
    assert_eq!(sim.call("POST", "/_sim/option/nonsense/1", "").status, 404);
    assert_eq!(sim.call("POST", "/_sim/prices/2", "").status, 200);
    assert_eq!(sim.call("POST", "/_sim/prices/dear", "").status, 400);

    let blocking = sim.call("POST", "/_sim/invoices?amount=250", "");
    assert_eq!(config(body).status, 409);
    let pay = |id: &str| {
        sim.call("POST", &format!("/_sim/invoices/{}/pay", id.trim()), "")
            .status
    };
    assert_eq!(pay(&blocking.text()), 200);
    assert_eq!(pay(&blocking.text()), 404);

    assert_eq!(sim.call("POST", "/_sim/apply/when-paid", "").status, 200);
    assert_eq!(sim.call("POST", "/_sim/apply/soon", "").status, 400);
    let committed = config(body);
    assert_eq!(committed.at("/priceChange/amount"), json!(80));
    assert_eq!(current(), json!(1024));
    assert_eq!(
        sim.call("GET", "/_sim/invoices", "").at("/0/status"),
        json!("unpaid")
    );
    assert_eq!(pay(committed.at("/paymentInvoice/id").as_str().unwrap()), 200);
    assert_eq!(current(), json!(4096));

    let purchases = sim.call("GET", "/_sim/purchases", "");
    assert_eq!(purchases.at("/0/kind"), json!("Config"));
    assert_eq!(purchases.at("/0/amount"), json!(80));
    assert_eq!(
        purchases.at("/0/changes/0"),
        json!({"key": "bandwidthGb", "from": 1024, "to": 4096})
    );
    assert_eq!(
        sim.call("GET", "/_sim/vps", "").at("/0/options/bandwidthGb"),
        json!(4096)
    );
    let requests = sim.call("GET", "/_sim/requests", "");
    assert!(requests.text().contains(r#""route":"ConfigCommit""#));
}
