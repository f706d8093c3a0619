//! An environment whose operator reaches the API server through a proxy that the test commands.

use std::time::{Duration, Instant};

use control_plane::{Action, ApiProxy, Gate, Request, Rule, status};
use serde_json::json;

use super::{PATIENCE, TestEnv};

/// Where records are created and listed.
pub const OPERATIONS: &str = "/apis/vps.hostup.se/v1alpha1/vpsoperations";

/// An environment whose operator speaks through a proxy.
pub struct ProxiedEnv {
    pub env: TestEnv,
    pub proxy: ApiProxy,
}

impl ProxiedEnv {
    pub async fn new(name: &str) -> Self {
        let mut env = TestEnv::new(name).await;
        let proxy = env.plane.proxy().unwrap();
        env.kubeconfig = proxy.kubeconfig(&env.kubeconfig).unwrap();
        Self { env, proxy }
    }

    /// Ends a test: the faults fired, and the invariants hold.
    pub async fn check(&self) {
        assert!(self.proxy.unfired().is_empty(), "{:?}", self.proxy.unfired());
        assert!(self.env.sim.unfired().is_empty(), "{:?}", self.env.sim.unfired());
        self.env.check_invariants().await;
    }

    /// Waits until the proxy has seen `count` requests of this sort.
    pub async fn seen(&self, count: usize, sort: impl Fn(&Request) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while self
            .proxy
            .requests()
            .iter()
            .filter(|request| sort(request))
            .count()
            < count
        {
            assert!(Instant::now() < deadline, "fewer than {count} such requests came");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The create call of a record.
pub fn is_claim(request: &Request) -> bool {
    request.method == "POST" && request.path == OPERATIONS
}

/// A rule for the first claim.
pub fn claim(action: Action) -> Rule {
    Rule::on("POST", is_claim).named("the claim").action(action)
}

/// Waits at a gate of the proxy without holding up other tasks.
pub async fn held(gate: &Gate) {
    let gate = gate.clone();
    tokio::task::spawn_blocking(move || gate.wait_held(PATIENCE))
        .await
        .unwrap()
        .unwrap();
}

/// Every way in which a claim is made and its answer does not say so.
pub fn unclear_claims() -> [(&'static str, Action); 9] {
    let refused = |code, reason| status(code, reason, "as the test wants");
    [
        ("cut", Action::ForwardThenCut),
        ("504", Action::ForwardThenRespond(504, refused(504, "Timeout"))),
        (
            "500",
            Action::ForwardThenRespond(500, refused(500, "InternalError")),
        ),
        (
            "409",
            Action::ForwardThenRespond(409, refused(409, "AlreadyExists")),
        ),
        (
            "429",
            Action::ForwardThenRespond(429, refused(429, "TooManyRequests")),
        ),
        (
            "garbage",
            Action::ForwardThenRespond(201, json!({"kind": "Nonsense"})),
        ),
        (
            "302",
            Action::ForwardThenRespond(302, json!({"kind": "Nonsense"})),
        ),
        ("sent twice", Action::DuplicateForward),
        ("delayed", Action::Delay(Duration::from_millis(800))),
    ]
}

/// Every way in which an API server takes no claim.
pub fn refused_claims() -> [(&'static str, Action); 8] {
    let refused = |code| Action::Respond(code, status(code, "Nope", "as the test wants"));
    [
        ("500", refused(500)),
        ("503", refused(503)),
        ("504", refused(504)),
        ("429", refused(429)),
        ("409", refused(409)),
        ("403", refused(403)),
        ("302", Action::Respond(302, json!({"kind": "Nonsense"}))),
        ("cut", Action::CutBefore),
    ]
}
