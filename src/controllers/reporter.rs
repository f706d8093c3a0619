//! How things stand, written to an object's status: once per change, and never a write that changes
//! nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde_json::Value;

use super::Error;
use super::approvals::Place;
use super::context::Context;
use crate::api;
use crate::api::conditions::{self, ConditionStatus, NewCondition};
use crate::cluster::api_call::{self, ApiError};
use crate::cluster::events;
use crate::cluster::fail_point;
use crate::domain::action::said::without_requests;
use crate::domain::consent::quote::Quote;
use crate::domain::ledger::record::{Evidence, Record, State};
use crate::domain::provider::gate::{self, Gate};
use crate::domain::status::reason::Reason;
use crate::domain::status::report::Report;
use crate::domain::values::ids::Subject;
use crate::domain::values::text::Text;
use crate::ledger::kind::{PurchasingKind, objects};

/// Writes `after` if it differs from what stands there, and tells of a reason that is new.
pub async fn write<K: PurchasingKind, F>(
    ctx: &Context,
    object: &K,
    after: K::Status,
    report: &Report<F>,
) -> Result<(), Error> {
    let Report {
        reason,
        message,
        warns,
        ..
    } = report;
    let before = object.status();
    ctx.over_budget
        .note(Place::of::<K>(object.meta()), *reason == Reason::BudgetExceeded);
    if remind(ctx, object, &after, *reason) {
        events::publish(
            &ctx.books.client,
            object.object_ref(&()),
            *reason,
            message,
            *warns,
            ctx.now(),
        )
        .await;
    }
    if *before == after || tells_the_same::<K>(&before, &after) {
        return Ok(());
    }
    let ready = conditions::find(K::conditions(&before), "Ready");
    let newly = ready.is_none_or(|ready| ready.reason != reason.as_str());
    let news = news(K::conditions(&before), K::conditions(&after));
    fail_point::reach("before-report");
    match put(ctx, object, after).await {
        Err(error) if error.is_gone() => return Ok(()),
        Err(error) => {
            let namespace = object.namespace().unwrap_or_default();
            let name = object.name_any();
            // Where not even the refusal can be shown, an event tells of it, once.
            let told = *reason != Reason::ClusterRefuses || ctx.failures.has_failed::<K>(&namespace, &name);
            if let Some(refusal) = error.trouble().filter(|_| !told) {
                let (reason, said) = (refusal.reason, refusal.message.as_str());
                events::publish(
                    &ctx.books.client,
                    object.object_ref(&()),
                    reason,
                    said,
                    true,
                    ctx.now(),
                )
                .await;
            }
            return Err(error.into());
        }
        Ok(()) => {}
    }
    fail_point::reach("after-report");
    let mut at = ctx.now();
    for (about, message) in news {
        let (client, regarding) = (&ctx.books.client, object.object_ref(&()));
        // No two events have one name.
        at += std::time::Duration::from_micros(1);
        events::tell(client, regarding, about, &message, true, at).await;
    }
    if newly {
        let why = Text::bounded(message, 600);
        tracing::info!(reason = reason.as_str(), %why, "the reason of the condition Ready has changed");
        events::publish(
            &ctx.books.client,
            object.object_ref(&()),
            *reason,
            message,
            *warns,
            ctx.now(),
        )
        .await;
    }
    Ok(())
}

/// Writes a status over the object as it was read.
///
/// # Errors
/// [`ApiError`], also where the object is gone.
pub async fn put<K: PurchasingKind>(ctx: &Context, object: &K, after: K::Status) -> Result<(), ApiError> {
    let mut object = object.clone();
    object.set_status(after);
    // The version that was read makes a status decided from an older spec impossible.
    object.meta_mut().managed_fields = None;
    object.meta_mut().annotations = None;
    let api = objects::<K>(&ctx.books, &object.namespace().unwrap_or_default());
    let by = api_call::by_us();
    let written = api_call::within(api.replace_status(&object.name_any(), &by, &object)).await;
    ctx.late_writes
        .note(Place::of::<K>(object.meta()), &written, ctx.moment());
    K::recent(&ctx.books).put(written?);
    Ok(())
}

/// What events tell of beside the reason of `Ready`: a warning of HostUp's, and the end of a VM, each once.
fn news(before: &[Condition], after: &[Condition]) -> Vec<(&'static str, String)> {
    let notable = [(PROVIDER_WARNING, "True"), (VM_PRESENT, "False")];
    let told = |conditions: &[Condition], about: &str, status: &str| {
        let found = conditions::find(conditions, about).filter(|found| found.status == status)?;
        Some(found.message.clone())
    };
    let news = notable.into_iter().filter_map(|(about, status)| {
        let now = told(after, about, status)?;
        (told(before, about, status).as_ref() != Some(&now)).then_some((about, now))
    });
    news.collect()
}

/// Whether a day more has passed in which the object waits for an approval.
fn remind<K: PurchasingKind>(ctx: &Context, object: &K, after: &K::Status, reason: Reason) -> bool {
    let place = Place::of::<K>(object.meta());
    let asks = [
        Reason::AwaitingApproval,
        Reason::QuoteExceedsCeiling,
        Reason::ApprovalExpired,
    ];
    let asked = conditions::find(K::conditions(after), "Approved").filter(|_| asks.contains(&reason));
    if let Some(asked) = asked {
        let since = asked.last_transition_time.0;
        return ctx.approvals.waits(place, since, ctx.now());
    }
    ctx.approvals.forget(&place);
    false
}

/// When somebody asked for a look by annotation, in their own words.
pub fn requested_at<K: PurchasingKind>(object: &K) -> Option<String> {
    let asked = object.annotations().get(api::RECONCILE_REQUESTED)?;
    Some(Text::bounded(asked, 80).to_string())
}

/// Whether two statuses differ in nothing but the ids of HostUp's requests that they cite: each answer has another one.
fn tells_the_same<K: PurchasingKind>(before: &K::Status, after: &K::Status) -> bool {
    // Only texts cite requests: another condition, status or reason needs no look at each text.
    let (stood, stand) = (K::conditions(before), K::conditions(after));
    let stands = |(was, is): (&Condition, &Condition)| {
        (&was.type_, &was.status, &was.reason) == (&is.type_, &is.status, &is.reason)
    };
    if stood.len() != stand.len() || !stood.iter().zip(stand).all(stands) {
        return false;
    }
    let told = |status| {
        let mut told = serde_json::to_value(status).ok()?;
        forget_requests(&mut told);
        Some(told)
    };
    told(before).is_some_and(|before| told(after) == Some(before))
}

fn forget_requests(told: &mut Value) {
    match told {
        Value::String(text) => *text = without_requests(text),
        Value::Array(items) => items.iter_mut().for_each(forget_requests),
        Value::Object(members) => members.values_mut().for_each(forget_requests),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The refused attempt after which a gate was seen closed: this one, if one is now, or the one that the status
/// `before` names, while it is the last. A backup after it leaves it as it is.
pub fn closed_after<K: PurchasingKind>(
    before: &K::Status,
    gates: &[Gate],
    last: Option<&Record>,
) -> Option<String> {
    let last = last?;
    let shown = K::closed_after(before);
    let is_refused = last.known.state == State::Rejected;
    if is_refused && (shown == Some(last.name.as_str()) || gate::closed(gates).is_some()) {
        return Some(last.name.to_string());
    }
    shown.filter(|_| last.is_backup()).map(str::to_owned)
}

fn condition(about: &'static str, status: ConditionStatus, reason: &str, message: String) -> NewCondition {
    NewCondition {
        about,
        status,
        reason: reason.to_owned(),
        message,
    }
}

/// The steps that a person looks for.
pub fn steps(
    gates: &[Gate],
    quote: Option<&Quote>,
    approved: Option<bool>,
    record: Option<&Record>,
) -> Vec<NewCondition> {
    let mut steps = Vec::new();
    if !gates.is_empty() {
        let closed = gate::closed(gates);
        let word = if closed.is_none() {
            "GatesOpen"
        } else {
            "GatesClosed"
        };
        steps.push(condition(
            "GatesPassed",
            closed.is_none().into(),
            word,
            closed.unwrap_or_default(),
        ));
    }
    let price = quote.map(|quote| quote.price.to_string());
    let word = if price.is_some() { "Priced" } else { "NoPrice" };
    steps.push(condition(
        "Quoted",
        price.is_some().into(),
        word,
        price.unwrap_or_default(),
    ));
    if let Some(approved) = approved {
        let word = if approved { "Approved" } else { "NotApproved" };
        steps.push(condition("Approved", approved.into(), word, String::new()));
    }
    steps.extend(record.and_then(submitted));
    steps
}

/// Whether the call of a record was sent; nothing is said of a backup, which the object was not made for.
pub fn submitted(record: &Record) -> Option<NewCondition> {
    if record.is_backup() {
        return None;
    }
    let status = match record.known.state {
        _ if record.known.evidence == Some(Evidence::FoundBeforeClaim) => ConditionStatus::No,
        State::Accepted | State::Succeeded | State::Failed => ConditionStatus::Yes,
        State::Sending | State::Unknown | State::Abandoned => ConditionStatus::Unclear,
        State::NotSent | State::Rejected | State::NotExecuted => ConditionStatus::No,
    };
    let Subject { namespace, name, .. } = &record.subject;
    let message = format!("VpsOperation {} for {namespace}/{name}", record.name);
    Some(condition(SUBMITTED, status, record.known.state.as_str(), message))
}

/// The condition that tells of an error that HostUp answered although it carried the call out, or of a higher price.
const PROVIDER_WARNING: &str = "ProviderWarning";

/// What HostUp warned of when it was sent the call of this record, until the spec is changed.
pub fn warning(record: &Record, generation: i64) -> Option<NewCondition> {
    let said = &record.known.said;
    if record.known.state.frees_the_name() || record.subject.generation != generation {
        return None;
    }
    if let Some(charged) = &record.known.charged_more {
        let what = format!(
            "HostUp's answer to VpsOperation {} says that it costs {charged} now, and {} was approved; look at the \
             invoice in HostUp's panel",
            record.name,
            record.price_summary()
        );
        return Some(condition(
            PROVIDER_WARNING,
            ConditionStatus::Yes,
            "PriceAboveApproval",
            what,
        ));
    }
    if !said.warns() {
        return None;
    }
    let what = format!(
        "HostUp carried out VpsOperation {}, or may have, and answered with an error; ask HostUp's support what it \
         means for billing",
        record.name
    );
    Some(condition(
        PROVIDER_WARNING,
        ConditionStatus::Yes,
        "CommittedWithError",
        said.cited(&what),
    ))
}

/// The warning that the status `before` shows, until the spec is changed.
pub fn kept_warning<K: PurchasingKind>(before: &K::Status, generation: i64) -> Option<NewCondition> {
    let shown = conditions::find(K::conditions(before), PROVIDER_WARNING)?;
    let stands = shown.observed_generation == Some(generation);
    stands.then(|| {
        condition(
            PROVIDER_WARNING,
            ConditionStatus::Yes,
            &shown.reason,
            shown.message.clone(),
        )
    })
}

const SUBMITTED: &str = "Submitted";

/// The condition that tells whether the ConfigMap of `spec.writeOutputsTo` is written.
pub const OUTPUTS_WRITTEN: &str = "OutputsWritten";

/// The condition that tells whether HostUp provides the VM that was bought.
pub const VM_PRESENT: &str = "VmPresent";

/// Whether HostUp provides the VM of a record, once the call has ended.
pub fn vm_present(record: &Record) -> Option<NewCondition> {
    let bought = record
        .known
        .result
        .as_ref()
        .filter(|_| record.known.state.is_final())?;
    let Some(end) = &record.known.ended else {
        return Some(condition(
            VM_PRESENT,
            ConditionStatus::Yes,
            "Provided",
            String::new(),
        ));
    };
    let how = end.word.as_ref().map_or_else(
        || "HostUp does not list it any more".to_owned(),
        |word| format!("HostUp shows it as {word}"),
    );
    let message = format!("{} has ended: {how} (seen at {:.0})", bought.vps, end.seen);
    Some(condition(VM_PRESENT, ConditionStatus::No, "Ended", message))
}

/// The condition that tells of drift.
pub const DRIFTED: &str = "Drifted";

/// Whether the options have drifted from a spec that was in force.
pub fn drift(drifted: bool) -> NewCondition {
    let word = if drifted { "Drifted" } else { "InSync" };
    condition(DRIFTED, drifted.into(), word, String::new())
}

/// The steps that the status already shows, and what became of the last attempt.
pub fn attempted_steps<K: PurchasingKind>(before: &K::Status, attempt: &Record) -> Vec<NewCondition> {
    let mut steps = kept_steps::<K>(before);
    steps.retain(|step| step.about != SUBMITTED);
    steps.extend(submitted(attempt));
    steps
}

/// The steps that the status already shows, as they are.
pub fn kept_steps<K: PurchasingKind>(before: &K::Status) -> Vec<NewCondition> {
    let kept = [
        "GatesPassed",
        "Quoted",
        "Approved",
        SUBMITTED,
        DRIFTED,
        VM_PRESENT,
        OUTPUTS_WRITTEN,
    ];
    kept.into_iter()
        .filter_map(|about| {
            let step = conditions::find(K::conditions(before), about)?;
            let status = match step.status.as_str() {
                "True" => ConditionStatus::Yes,
                "False" => ConditionStatus::No,
                _ => ConditionStatus::Unclear,
            };
            Some(condition(about, status, &step.reason, step.message.clone()))
        })
        .collect()
}
