//! Gates hold a request at a point of its life until the test lets it go: the tool of kill tests.

use std::fmt;
use std::time::Duration;

use crate::backstage::Backstage;
use crate::routes::Route;

/// Where a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was received in full; nothing has been done.
    BeforeAct,
    /// It was carried out (a purchase stands in the ledger); nothing has been answered.
    AfterAct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GateState {
    Armed,
    /// Holds the request with this index in the log.
    Holding(usize),
    Released {
        fired: bool,
    },
}

#[derive(Debug)]
pub(crate) struct ArmedGate {
    pub(crate) id: u64,
    pub(crate) route: Route,
    pub(crate) stage: Stage,
    pub(crate) skip: u32,
    pub(crate) state: GateState,
}

impl ArmedGate {
    pub(crate) fn unfired(&self) -> Option<String> {
        let waiting = matches!(
            self.state,
            GateState::Armed | GateState::Released { fired: false }
        );
        waiting.then(|| format!("gate on {:?} {:?}", self.route, self.stage))
    }
}

/// A gate that was set with [`Backstage::hold`]. Dropping it lets the request go.
#[must_use = "dropping the gate opens it"]
pub struct Gate {
    pub(crate) sim: Backstage,
    pub(crate) id: u64,
}

impl Gate {
    /// Blocks the thread until a request is held; false if none was in time.
    #[must_use]
    pub fn wait_held(&self, timeout: Duration) -> bool {
        let id = self.id;
        self.sim
            .wait_until(timeout, |world| world.gate_holds(id).is_some())
    }

    /// The same, for async tests.
    pub async fn held(&self, timeout: Duration) -> bool {
        let id = self.id;
        self.sim
            .until(timeout, move |world| world.gate_holds(id).is_some())
            .await
    }

    /// Whether a request is held now, and which one (its index in the log).
    #[must_use]
    pub fn holds(&self) -> Option<usize> {
        self.sim.world(|world| world.gate_holds(self.id))
    }

    /// Lets the held request go on; if none is held yet, none will be.
    pub fn release(self) {}
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.sim.world(|world| world.release_gate(self.id));
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gate").field("id", &self.id).finish()
    }
}

impl crate::World {
    pub(crate) fn gate_holds(&self, id: u64) -> Option<usize> {
        self.gates
            .iter()
            .find(|gate| gate.id == id)
            .and_then(|gate| match gate.state {
                GateState::Holding(index) => Some(index),
                _ => None,
            })
    }

    /// The gate that holds a request.
    pub(crate) fn gate_that_holds(&self, index: usize) -> Option<u64> {
        let holding = |gate: &&ArmedGate| gate.state == GateState::Holding(index);
        self.gates.iter().find(holding).map(|gate| gate.id)
    }

    pub(crate) fn release_gate(&mut self, id: u64) {
        for gate in self.gates.iter_mut().filter(|gate| gate.id == id) {
            let fired = match gate.state {
                GateState::Armed => false,
                GateState::Holding(_) => true,
                GateState::Released { fired } => fired,
            };
            gate.state = GateState::Released { fired };
        }
        self.let_the_left_go(id);
    }

    /// The gate that holds a request at a stage, if one is set.
    pub(crate) fn enter_gate(&mut self, route: Route, stage: Stage, index: usize) -> Option<u64> {
        for gate in &mut self.gates {
            if gate.state == GateState::Armed && gate.stage == stage && route.is_in(gate.route) {
                if gate.skip > 0 {
                    gate.skip -= 1;
                    continue;
                }
                gate.state = GateState::Holding(index);
                return Some(gate.id);
            }
        }
        None
    }
}
