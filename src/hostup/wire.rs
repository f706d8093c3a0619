//! HostUp's bodies as far as we read them. Every field may be missing or null, and unknown fields
//! and words never break the parsing.

mod backups;

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::Value;

use crate::domain::action::answer::{blockers_in, words};
use crate::domain::action::ordered::TargetState;
use crate::domain::action::receipt;
use crate::domain::consent::price::{BillingCycle as Cycle, ChangePrice, Rates, Recurring, Size};
use crate::domain::ledger::record::Invoice;
use crate::domain::options;
use crate::domain::provider::gate::ProviderGate;
use crate::domain::provider::inventory::Vm;
use crate::domain::provider::options::{Offer, OptionKind, OptionValue};
use crate::domain::provider::preflight;
use crate::domain::values::ids::VpsId;
use crate::domain::values::json::{self, Number, Object, Shown, or_missing};
use crate::domain::values::money::{Amount, Currency};
use crate::domain::values::text::Text;

pub(super) use backups::{Backups, RestoreSources};

/// Longest id of a VM that is kept, less the ellipsis; HostUp's own have 30 characters.
const LONGEST_ID: usize = 63;

/// Larger numbers are no size of a VM, and would not fit into a record.
const LARGEST_SIZE: u32 = 1_000_000;

/// Rounded up to whole units; `None` for what is no size.
fn whole(number: Number) -> Option<u32> {
    number
        .0
        .map(Amount::ceil_to_u32)
        .filter(|n| (1..=LARGEST_SIZE).contains(n))
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A part that is an object, or missing: one that is a list has no members.
fn by_name<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let part: Option<Object<T>> = Option::deserialize(deserializer)?;
    Ok(part.map(|Object(part)| part))
}

/// A failure that HostUp answers with a 2xx: the legacy envelope says `success: false`.
pub(super) fn says_that_it_failed(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(default, deserialize_with = "or_missing")]
        success: Option<bool>,
    }
    json::object::<Envelope>(body).is_some_and(|said| said.success == Some(false))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VpsPage {
    // Required: a page without it is no page, and must not be taken for an empty account.
    pub(super) data: Vec<Object<Vps>>,
    pub(super) has_more: Option<bool>,
    pub(super) next_cursor: Option<String>,
}

/// The word of `serviceStatus` for a VPS that is not provided any more (vps page). A suspended or cancelled one may come
/// back: a cancellation can be revoked.
const TERMINATED: &str = "terminated";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Vps {
    id: Option<String>,
    name: Option<String>,
    primary_ip: Option<String>,
    pub(super) power_state: Option<String>,
    #[serde(default, deserialize_with = "or_missing")]
    service_status: Option<String>,
    #[serde(default, deserialize_with = "by_name")]
    billing: Option<Billing>,
    #[serde(default, deserialize_with = "by_name")]
    resources: Option<Resources>,
    #[serde(default, deserialize_with = "by_name")]
    actions: Option<VpsActions>,
}

/// `GET /vps/{id}/details`, as far as it is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VpsDetails {
    id: Option<String>,
    #[serde(default, deserialize_with = "by_name")]
    actions: Option<VpsActions>,
}

impl VpsDetails {
    pub(super) fn is(&self, id: &VpsId) -> bool {
        self.id.as_deref() == Some(id.as_str())
    }

    pub(super) fn can_resize(self) -> Option<ProviderGate> {
        self.actions?.can_resize.map(ProviderGate::from)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VpsActions {
    #[serde(default, deserialize_with = "by_name")]
    can_resize: Option<Gate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Billing {
    #[serde(default, deserialize_with = "flag")]
    is_payg: bool,
    #[serde(default, deserialize_with = "or_missing")]
    billing_cycle: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resources {
    cpu_cores: Option<Number>,
    memory_gb: Option<Number>,
    storage_gb: Option<Number>,
}

impl Vps {
    pub(super) fn size(&self) -> Option<Size> {
        let resources = self.resources.as_ref()?;
        Some(Size {
            cpu_cores: whole(resources.cpu_cores?)?,
            memory_gb: whole(resources.memory_gb?)?,
            storage_gb: whole(resources.storage_gb?)?,
        })
    }

    pub(super) fn can_resize(&mut self) -> Option<ProviderGate> {
        self.actions.take()?.can_resize.map(ProviderGate::from)
    }

    pub(super) fn is_payg(&self) -> bool {
        self.billing.as_ref().is_some_and(|billing| billing.is_payg)
    }

    pub(super) fn cycle(&self) -> Cycle {
        let word = self
            .billing
            .as_ref()
            .and_then(|billing| billing.billing_cycle.as_deref());
        word.map_or(Cycle::Unknown, Cycle::read)
    }

    pub(super) fn is(&self, id: &VpsId) -> bool {
        self.id.as_deref() == Some(id.as_str())
    }

    pub(super) fn words(&self) -> TargetState {
        let word = |text: &Option<String>, most| Text::bounded(text.as_deref().unwrap_or_default(), most);
        TargetState {
            name: word(&self.name, 100),
            power: word(&self.power_state, 40),
            service: word(&self.service_status, 40),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.service_status.as_deref() == Some(TERMINATED)
    }

    /// `None` for an entry without an id, which nothing can be done with. A VM is never left out for
    /// what stands in its id, for it may be one that was bought.
    pub(super) fn into_vm(self) -> Option<Vm> {
        let id = Text::bounded(self.id.as_deref()?, LONGEST_ID);
        Some(Vm {
            size: self.size(),
            is_payg: self.is_payg(),
            ended: self.has_ended().then(|| Text::new(TERMINATED)),
            id: VpsId::new(id.as_str()),
            name: self.name.unwrap_or_default().chars().take(300).collect(),
            primary_ip: self
                .primary_ip
                .map(|ip| Text::bounded(&ip, 60))
                .filter(|ip| !ip.as_str().is_empty()),
            running: self.power_state.as_deref() == Some("running"),
            result_of: None,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VpsStatus {
    pub(super) power_state: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gate {
    #[serde(default, deserialize_with = "flag")]
    allowed: bool,
    code: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    blocker_reasons: Value,
    #[serde(default)]
    extensions: Value,
}

impl Gate {
    fn blockers(&self) -> Vec<String> {
        let mut blockers = words(&self.blocker_reasons);
        blockers.extend(blockers_in(&self.extensions));
        blockers
    }
}

impl From<Gate> for ProviderGate {
    fn from(gate: Gate) -> Self {
        let blockers = gate.blockers();
        let own = gate.code.unwrap_or_default();
        Self {
            allowed: gate.allowed,
            code: if gate.allowed { own } else { codes(&own, &blockers) },
            reason: gate.reason.unwrap_or_default(),
        }
    }
}

/// A gate that is closed wherever nothing is available. The code of one that is called open says nothing of why; what
/// it names as blockers does.
fn where_available(available: bool, gate: Option<Gate>) -> ProviderGate {
    let gate = gate.unwrap_or_default();
    let blockers = gate.blockers();
    let read = ProviderGate::from(gate);
    if available || !read.allowed {
        return read;
    }
    ProviderGate {
        allowed: false,
        code: codes("", &blockers),
        reason: read.reason,
    }
}

/// The codes of a closed gate: its own, and those of what blocks it, each once.
pub(super) fn codes(own: &str, blockers: &[String]) -> String {
    let mut seen = BTreeSet::new();
    let all = own.split(", ").chain(blockers.iter().map(String::as_str));
    let once: Vec<&str> = all
        .filter(|code| !code.is_empty() && seen.insert(*code))
        .collect();
    once.join(", ")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConvertToCloud {
    #[serde(default, deserialize_with = "flag")]
    available: bool,
    reason: Option<String>,
    current_billing_model: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    requires_verification: bool,
    #[serde(default, deserialize_with = "by_name")]
    actions: Option<ConvertActions>,
    #[serde(default)]
    blocker_reasons: Value,
    #[serde(default)]
    extensions: Value,
    #[serde(default, deserialize_with = "or_missing")]
    prepaid_warning: Option<PrepaidWarning>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConvertActions {
    #[serde(default, deserialize_with = "by_name")]
    can_convert_to_cloud: Option<Gate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrepaidWarning {
    next_due_at: Option<String>,
    days_remaining: Option<Number>,
}

impl From<ConvertToCloud> for preflight::Eligibility {
    fn from(read: ConvertToCloud) -> Self {
        let actions = read.actions.and_then(|actions| actions.can_convert_to_cloud);
        let mut gate = where_available(read.available, actions);
        if gate.reason.is_empty() {
            gate.reason = read.reason.unwrap_or_default();
        }
        let mut blockers = words(&read.blocker_reasons);
        blockers.extend(blockers_in(&read.extensions));
        Self {
            is_payg: read.current_billing_model.as_deref() == Some("payg"),
            available: read.available,
            gate,
            blockers,
            requires_verification: read.requires_verification,
            prepaid_warning: read.prepaid_warning.map(|warning| {
                let until = warning.next_due_at.unwrap_or_else(|| "?".to_owned());
                match warning.days_remaining.and_then(|days| days.0) {
                    Some(days) => format!("prepaid until {until}, {} days", days.ceil_to_u32()),
                    None => format!("prepaid until {until}"),
                }
            }),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deployments {
    #[serde(default, deserialize_with = "flag")]
    available: bool,
    reason: Option<String>,
    #[serde(default)]
    access: Value,
    #[serde(default)]
    blocker_reasons: Value,
    #[serde(default)]
    extensions: Value,
    #[serde(default, deserialize_with = "by_name")]
    actions: Option<DeployActions>,
    #[serde(default, deserialize_with = "by_name")]
    pricing: Option<Pricing>,
    #[serde(default, deserialize_with = "by_name")]
    defaults: Option<Defaults>,
    // The page is cut here: the list's name and shape are assumed.
    #[serde(default, deserialize_with = "or_missing")]
    regions: Option<Vec<Region>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeployActions {
    #[serde(default, deserialize_with = "by_name")]
    can_deploy: Option<Gate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pricing {
    currency_code: Option<String>,
    cpu_per_core_hour: Option<Number>,
    memory_per_gb_hour: Option<Number>,
    storage_per_gb_hour: Option<Number>,
    ip_per_hour: Option<Number>,
    bandwidth_per_gb: Option<Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Defaults {
    region_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Region {
    Id(String),
    Entry { id: String },
    Other(serde::de::IgnoredAny),
}

/// What a spec could name as a region too; anything else is not ordered.
fn is_region(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=64).contains(&id.len()) && id.chars().all(plain)
}

impl From<Deployments> for preflight::Deployments {
    fn from(read: Deployments) -> Self {
        let can_deploy = read.actions.and_then(|actions| actions.can_deploy);
        let mut can_deploy = where_available(read.available, can_deploy);
        if can_deploy.reason.is_empty() {
            can_deploy.reason = read.reason.unwrap_or_default();
        }
        if !can_deploy.allowed {
            let mut blockers = blockers_in(&read.access);
            blockers.extend(words(&read.blocker_reasons));
            blockers.extend(blockers_in(&read.extensions));
            can_deploy.code = codes(&can_deploy.code, &blockers);
        }
        let regions: Option<Vec<String>> = read.regions.map(|regions| {
            let ids = regions.into_iter().filter_map(|region| match region {
                Region::Id(id) | Region::Entry { id } => Some(id).filter(|id| is_region(id)),
                Region::Other(_) => None,
            });
            ids.take(100).collect()
        });
        Self {
            can_deploy,
            rates: read.pricing.and_then(Pricing::into_rates),
            default_region: read
                .defaults
                .and_then(|defaults| defaults.region_id)
                .filter(|id| is_region(id)),
            regions: regions.filter(|regions| !regions.is_empty()),
        }
    }
}

impl Pricing {
    fn into_rates(self) -> Option<Rates> {
        Some(Rates {
            currency: Currency::parse(&self.currency_code?)?,
            cpu_core: self.cpu_per_core_hour?.0?,
            memory_gb: self.memory_per_gb_hour?.0?,
            storage_gb: self.storage_per_gb_hour?.0?,
            ipv4: self.ip_per_hour?.0?,
            traffic_gb: self
                .bandwidth_per_gb
                .and_then(|rate| rate.0)
                .filter(|rate| !rate.is_negative()),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Limits {
    #[serde(default, deserialize_with = "by_name")]
    pub(super) remaining: Option<Remaining>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remaining {
    cpu_cores: Option<Number>,
    memory_gb: Option<Number>,
    storage_gb: Option<Number>,
    instance_count: Option<Number>,
}

impl From<Remaining> for preflight::Remaining {
    fn from(read: Remaining) -> Self {
        let left = |number: Option<Number>| number.and_then(|n| n.0).map_or(0, Amount::floor_to_u32);
        Self {
            cpu_cores: left(read.cpu_cores),
            memory_gb: left(read.memory_gb),
            storage_gb: left(read.storage_gb),
            instances: left(read.instance_count),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpgradeOptions {
    // Required: without it nothing is known of the options.
    pub(super) configurable_options: Vec<Object<ConfigOption>>,
}

/// One option. The page is cut: the names of `max`, `step`, `values`, the current value and the gate are
/// assumed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigOption {
    key: Option<String>,
    #[serde(default, deserialize_with = "or_missing")]
    label: Option<String>,
    r#type: Option<String>,
    #[serde(default)]
    current_value: Value,
    #[serde(default)]
    current: Value,
    #[serde(default)]
    value: Value,
    #[serde(default, deserialize_with = "or_missing")]
    min: Option<Number>,
    #[serde(default, deserialize_with = "or_missing")]
    max: Option<Number>,
    #[serde(default, deserialize_with = "or_missing")]
    step: Option<Number>,
    #[serde(default, deserialize_with = "or_missing")]
    values: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "or_missing")]
    actions: Option<OptionActions>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionActions {
    #[serde(default, deserialize_with = "by_name")]
    can_change: Option<Gate>,
}

impl ConfigOption {
    /// `None` for a key that no spec could name.
    pub(super) fn into_offer(self) -> Option<Offer> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let key = self
            .key
            .filter(|key| (1..=64).contains(&key.len()) && key.chars().all(plain))?;
        let current = [&self.current_value, &self.current, &self.value]
            .into_iter()
            .find_map(OptionValue::read);
        let number = |number: Option<Number>| number.and_then(|number| number.0);
        let values = self.values.unwrap_or_default();
        Some(Offer {
            key,
            label: Text::bounded(self.label.as_deref().unwrap_or_default(), Offer::LONGEST_LABEL),
            kind: OptionKind::read(self.r#type.as_deref().unwrap_or_default()),
            current,
            min: number(self.min),
            max: number(self.max),
            step: number(self.step),
            values: values.iter().take(200).filter_map(OptionValue::read).collect(),
            gate: self
                .actions
                .and_then(|actions| actions.can_change)
                .map(ProviderGate::from),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BillingCycle {
    // Required: without it nothing says that no invoice is open.
    blocking_invoices: Vec<Value>,
}

impl BillingCycle {
    /// Those that are not settled; a new word for the status counts as open.
    pub(super) fn open_invoices(self) -> Vec<Invoice> {
        let settled = |invoice: &Value| {
            let status = invoice.get("status").and_then(Value::as_str);
            matches!(status, Some("paid" | "cancelled" | "refunded"))
        };
        let open = self
            .blocking_invoices
            .into_iter()
            .filter(|invoice| !settled(invoice));
        open.map(|invoice| receipt::invoice(&invoice).unwrap_or_else(Invoice::unnamed))
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Preview {
    success: Option<bool>,
    dry_run: bool,
    #[serde(default, deserialize_with = "by_name")]
    price_change: Option<PriceChange>,
    #[serde(default)]
    payment_invoice: Shown,
    #[serde(default, deserialize_with = "by_name")]
    actions: Option<CommitActions>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommitActions {
    #[serde(default, deserialize_with = "by_name")]
    can_commit: Option<Gate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceChange {
    amount: Option<Number>,
    recurring_amount: Option<Number>,
    additional_recurring_amount: Option<Number>,
    currency_code: Option<String>,
}

impl Preview {
    /// Only a body that says of itself that it was a dry run is one.
    pub(super) fn read(answer: &[u8], body: String) -> Option<options::Preview> {
        let read: Self = json::object(answer)?;
        if read.success == Some(false) {
            return None;
        }
        let gate = read
            .actions
            .and_then(|actions| actions.can_commit)
            .unwrap_or_default();
        Some(options::Preview {
            body,
            price: read.price_change.and_then(PriceChange::into_price),
            invoice: receipt::invoice(&read.payment_invoice.0),
            can_commit: gate.into(),
            committed: !read.dry_run,
        })
    }
}

impl PriceChange {
    /// No page says which of the two recurring amounts is the new one, so the larger is taken (assumed).
    fn into_price(self) -> Option<ChangePrice> {
        let recurring = self.recurring_amount?.0?;
        let additional = match self.additional_recurring_amount {
            Some(number) => number.0?,
            None => recurring,
        };
        Some(ChangePrice {
            currency: Some(Currency::parse(&self.currency_code?)?),
            due_now: self.amount?.0?.rounded_up(),
            recurring: Recurring::PerCycle(recurring.max(additional)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn code_of(body: &Value) -> (bool, String) {
        let read: Deployments = serde_json::from_str(&body.to_string()).unwrap();
        let gate = preflight::Deployments::from(read).can_deploy;
        (gate.allowed, gate.code)
    }

    #[test]
    fn a_closed_gate_shows_the_codes_wherever_they_stand() {
        let word = "no_card_on_file";
        let closed = json!({"canDeploy": {"allowed": false, "reason": "Add a card."}});
        for (place, body) in [
            (
                "its own",
                json!({"actions": {"canDeploy": {"allowed": false, "code": word}}}),
            ),
            (
                "access",
                json!({"access": {"blockerReasons": [word]}, "actions": closed}),
            ),
            (
                "access, with nothing else",
                json!({"available": false, "access": {"blockerReasons": [word]}}),
            ),
            (
                "access, and an open gate's code",
                json!({"available": false, "access": {"blockerReasons": [word]},
                "actions": {"canDeploy": {"allowed": true, "code": "pending_order"}}}),
            ),
            (
                "access, and no code",
                json!({"access": {"blockerReasons": [word]}, "actions": {"canDeploy": {"allowed": false, "code": ""}}}),
            ),
            (
                "deep within access",
                json!({"access": {"card": [{"blockerReasons": [word]}]}, "actions": closed}),
            ),
            (
                "as an object",
                json!({"access": {"blockerReasons": [{"code": word, "reason": "Add a card."}]}, "actions": closed}),
            ),
            (
                "as one word",
                json!({"access": {"blockerReasons": word}, "actions": closed}),
            ),
            ("the top", json!({"blockerReasons": [word], "actions": closed})),
            (
                "extensions",
                json!({"extensions": {"blockerReasons": [word]}, "actions": closed}),
            ),
            (
                "listed extensions",
                json!({"extensions": [{"blockerReasons": [word]}], "actions": closed}),
            ),
            (
                "the gate",
                json!({"actions": {"canDeploy": {"allowed": false, "blockerReasons": [word]}}}),
            ),
            (
                "the gate's extensions",
                json!({"actions": {"canDeploy": {"allowed": false, "extensions": {"blockerReasons": [word]}}}}),
            ),
            (
                "twice",
                json!({"access": {"blockerReasons": [word]}, "actions": {"canDeploy": {"allowed": false, "code": word}}}),
            ),
        ] {
            assert_eq!(code_of(&body), (false, word.to_owned()), "{place}");
        }
        let both = json!({"access": {"blockerReasons": [word, "not_verified"]}, "actions": {"canDeploy": {"allowed": false, "code": "forbidden"}}});
        assert_eq!(code_of(&both).1, "forbidden, no_card_on_file, not_verified");
        let open = json!({"available": true, "access": null, "actions": {"canDeploy": {"allowed": true, "code": "pending_order"}}});
        assert_eq!(code_of(&open), (true, "pending_order".to_owned()));
    }

    #[test]
    fn a_body_full_of_blockers_is_read_at_once() {
        let many: Vec<String> = (0..400_000).map(|n| n.to_string()).collect();
        let started = std::time::Instant::now();
        assert_eq!(codes("0, 1", &many), many.join(", "));
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }

    #[test]
    fn a_gate_as_a_list_is_no_gate() {
        for body in [
            json!({"available": true, "actions": {"canDeploy": [true, null, null]}}),
            json!({"available": true, "actions": [{"allowed": true}]}),
        ] {
            assert!(
                json::object::<Deployments>(body.to_string().as_bytes()).is_none(),
                "{body}"
            );
        }
    }

    #[test]
    fn whatever_stands_among_the_blockers_blocks() {
        for (blockers, found) in [
            (json!({"blockerReasons": ["not_verified"]}), &["not_verified"][..]),
            (
                json!({"extensions": {"why": {"blockerReasons": [{"code": "not_verified"}]}}}),
                &["not_verified"],
            ),
            (
                json!({"extensions": [{"blockerReasons": [["not_verified"]]}]}),
                &["not_verified"],
            ),
            (json!({"blockerReasons": [42, {"a": 1}]}), &["42", "{\"a\":1}"]),
            (json!({"blockerReasons": null, "extensions": null}), &[]),
            (json!({}), &[]),
        ] {
            let read: ConvertToCloud = serde_json::from_str(&blockers.to_string()).unwrap();
            assert_eq!(preflight::Eligibility::from(read).blockers, found, "{blockers}");
        }
    }
}
