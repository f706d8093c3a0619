//! A record as the index of the ledger takes it in.

use kube::{Resource, ResourceExt};

use crate::api::operation::VpsOperation;
use crate::api::stored::Stored;
use crate::domain::action::ordered::ActionKind;
use crate::domain::ledger::names::VmToken;
use crate::domain::ledger::record::{Evidence, State};
use crate::domain::ledger::{Amounts, Content, Entry, KeyPlace};
use crate::domain::values::ids::{InstanceId, RecordName, VpsId};
use crate::domain::values::money::Amount;

/// The part of a record that is read from all records. Less is asked of it than of one that is acted
/// upon, so more of them can be read.
pub fn entry(stored: &Stored<VpsOperation>) -> Entry {
    let made = stored.meta().creation_timestamp.as_ref().map(|at| at.0);
    Entry {
        name: RecordName::new(stored.name_any()),
        made,
        content: stored.0.as_ref().ok().map(content),
    }
}

fn content(record: &VpsOperation) -> Content {
    let spec = &record.spec;
    let status = record.status.as_ref();
    let time = |text: &String| text.parse().ok();
    let quote = spec.quote.as_ref();
    let amount = |text: &Option<String>| text.as_deref().and_then(Amount::parse);
    Content {
        instance: InstanceId::of_record(&spec.claim.instance_id),
        kind: spec.subject.kind.clone(),
        namespace: spec.subject.namespace.clone(),
        object: spec.subject.name.clone(),
        key: KeyPlace {
            namespace: spec.credentials_ref.namespace.clone(),
            secret: spec.credentials_ref.name.clone(),
            key: spec.credentials_ref.key.clone(),
        },
        state: status
            .and_then(|status| status.state)
            .map_or(State::Sending, State::from),
        evidence: status.and_then(|status| status.evidence).map(Evidence::from),
        not_before: status
            .and_then(|status| status.not_before.as_ref())
            .and_then(time),
        token: spec.expected_vm_name.as_deref().and_then(VmToken::of_vm_name),
        result: status
            .and_then(|status| status.result.as_ref())
            .map(|vm| VpsId::new(&vm.vps_id)),
        resized: (spec.r#type == ActionKind::ResizeCloudVm).then(|| VpsId::new(&spec.vps_id)),
        drives: spec.r#type.drives_its_vps().then(|| VpsId::new(&spec.vps_id)),
        is_backup: spec.r#type == ActionKind::CreateBackup,
        has_ended: status.is_some_and(|status| status.result_end.is_some()),
        claimed: time(&spec.claim.made_at),
        currency: quote
            .and_then(|quote| quote.currency_code.clone())
            .unwrap_or_default(),
        price: quote.map_or_else(Amounts::default, |quote| Amounts {
            // Of another size, what it adds to the price that the VM had already.
            per_hour: amount(&quote.per_hour_difference).or_else(|| amount(&quote.per_hour)),
            // A cycle has a month or more.
            per_month: amount(&quote.recurring_per_month).or_else(|| amount(&quote.per_cycle)),
            at_once: amount(&quote.due_now),
        }),
    }
}
