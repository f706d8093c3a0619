//! `POST /api/v2/vps/{id}/actions/resize`: other cores and memory of a pay-as-you-go VM.

use crate::account::{ActionGate, LimitSet};
use crate::body::{integer, invalid, members_of, unknown_members};
use crate::config::Apply;
use crate::http::Incoming;
use crate::invoice::{Change, Until, Waiting};
use crate::ledger::{Purchase, PurchaseKind, ResizePurchase};
use crate::problem::Problem;
use crate::routes::Caller;
use crate::vps::{Resources, Vps, whole};
use crate::wire::Json;
use crate::world::World;

/// How resizes go. [`World::resize`] holds for all of them, [`World::resize_next`] for one.
#[derive(Clone, Debug, Default)]
pub struct ResizeBehaviour {
    /// When the reads show the new sizes; a resize has no invoice, so [`Apply::WhenPaid`] is never.
    pub apply: Apply,
    /// `resized` instead of whether a size changes.
    pub resized: Option<bool>,
    /// Cores and memory that it sets and bills instead of the ordered ones; the answer keeps to the
    /// order.
    pub sizes: Option<(u32, u32)>,
}

impl ResizeBehaviour {
    /// The default, applied at another time.
    #[must_use]
    pub fn applied(apply: Apply) -> ResizeBehaviour {
        ResizeBehaviour {
            apply,
            ..ResizeBehaviour::default()
        }
    }
}

impl World {
    /// How the next resize goes that is executed; called twice, the one after it, and so on.
    pub fn resize_next(&mut self, behaviour: ResizeBehaviour) {
        self.next_resizes.push_back(behaviour);
    }

    /// `actions.canResize` as it is shown. Its texts and code are assumed.
    pub(crate) fn resize_gate(&self, vps: &Vps) -> ActionGate {
        if let Some(gate) = &vps.can_resize {
            gate.clone()
        } else if !vps.billing.is_payg {
            ActionGate::closed("Only Cloud VMs can be resized.", Some("vps_not_ready"))
        } else if !vps.booted(self.now()) {
            ActionGate::closed("The VPS is not ready.", Some("vps_not_ready"))
        } else {
            self.while_idle(vps, &ActionGate::open())
        }
    }

    /// `POST actions/resize` (its page; status 200, the refusals and their order are assumed). Without
    /// `act` it is answered as if it had been executed.
    pub(crate) fn resize_vps(
        &mut self,
        caller: &Caller,
        incoming: &Incoming,
        vps: &str,
        act: bool,
    ) -> Result<(u16, Json), Problem> {
        let own = self.visible_vps(caller.account, vps)?.clone();
        let (cpu_cores, memory_gb) = checked_order(incoming)?;
        if self.enforce_gates || !own.billing.is_payg {
            self.resize_gate(&own).check("vps_not_ready")?;
        }
        if self.enforce_gates {
            let account = self.account(caller.account);
            let added = LimitSet::new(cpu_cores, memory_gb, 0, 0).minus(own.as_limits());
            let mut blockers = account.blockers.clone();
            blockers.extend(account.limits_remaining().blockers(added));
            self.refuse_blocked(&blockers)?;
        }
        let behaviour = self.next_resizes.front().unwrap_or(&self.resize).clone();
        let before = (own.resources.cpu_cores, own.resources.memory_gb);
        let changes = before != (cpu_cores.into(), memory_gb.into());
        if act {
            self.next_resizes.pop_front();
            self.execute_resize(caller, &own, (cpu_cores, memory_gb), &behaviour);
        }
        let sizes = |(cpu_cores, memory_gb): (Json, Json)| {
            Json::object([("cpuCores", cpu_cores), ("memoryGb", memory_gb)])
        };
        Ok((
            200,
            Json::object([
                ("resized", behaviour.resized.unwrap_or(changes).into()),
                ("resources", sizes((cpu_cores.into(), memory_gb.into()))),
                (
                    "previousResources",
                    sizes((Json::nullable(before.0), Json::nullable(before.1))),
                ),
            ]),
        ))
    }

    fn execute_resize(
        &mut self,
        caller: &Caller,
        vps: &Vps,
        (cpu_cores, memory_gb): (u32, u32),
        behaviour: &ResizeBehaviour,
    ) {
        let sizes = behaviour.sizes.unwrap_or((cpu_cores, memory_gb));
        let storage_gb = whole(vps.resources.storage_gb);
        let pricing = &self.account(caller.account).pricing;
        let before = (whole(vps.resources.cpu_cores), whole(vps.resources.memory_gb));
        let line = Purchase {
            cpu_cores,
            memory_gb,
            storage_gb,
            per_hour: pricing.per_hour(sizes.0, sizes.1, storage_gb),
            resize: Some(ResizePurchase {
                from: vps.resources,
                to: Resources {
                    cpu_cores: sizes.0.into(),
                    memory_gb: sizes.1.into(),
                    storage_gb: vps.resources.storage_gb,
                },
                per_hour_before: pricing.per_hour(before.0, before.1, storage_gb),
            }),
            ..self.blank_purchase(caller, PurchaseKind::Resize, &vps.id)
        };
        self.ledger.push(line);
        if let Some(vps) = self.vps_mut(&vps.id) {
            vps.ordered = Some(sizes);
        }
        let at = match behaviour.apply {
            Apply::Now => Some(self.now()),
            Apply::After(time) => Some(self.now() + time),
            Apply::WhenPaid | Apply::Never => None,
        };
        self.waiting.extend(at.map(|at| Waiting {
            vps: vps.id.clone(),
            change: Change::Size {
                cpu_cores: sizes.0,
                memory_gb: sizes.1,
            },
            until: Until::Time(at),
        }));
        self.settle();
    }
}

/// The body's rules (resize page: both members required, in their ranges). Unknown members are refused
/// as sibling routes say of themselves.
fn checked_order(incoming: &Incoming) -> Result<(u32, u32), Problem> {
    let members = members_of(incoming)?;
    let mut errors = Vec::new();
    let mut size = |name: &str, most: u32| {
        let size = match members.get(name) {
            Some(value) => integer(name, value, 1, most),
            None => Err(format!("`{name}` is required.")),
        };
        size.map_err(|detail| errors.push((format!("/{name}"), detail)))
    };
    let sizes = (size("cpuCores", 32), size("memoryGb", 256));
    errors.extend(unknown_members(&members, &["cpuCores", "memoryGb"]));
    match sizes {
        (Ok(cpu_cores), Ok(memory_gb)) if errors.is_empty() => Ok((cpu_cores, memory_gb)),
        _ => Err(invalid(errors)),
    }
}
