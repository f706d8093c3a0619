//! What lasts until somebody puts it right: an object that cannot be read, and an API server that refuses. Both are
//! told in the object's status, and looked at ever more rarely.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ApiResource, DynamicObject, TypeMeta};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Error;
use super::approvals::Place;
use super::context::Context;
use super::observe::{self, SeenVersion};
use crate::api::conditions;
use crate::api::stored::{Stored, Unreadable};
use crate::cluster::api_call::{self, ApiError};
use crate::cluster::events;
use crate::cluster::recent::Source;
use crate::domain::status::reason::Reason;
use crate::domain::status::report::{Report, Trouble};
use crate::domain::values::text::Text;
use crate::ledger::kind::PurchasingKind;

/// One look at an object; `None` where it would pay for something and etcd must be read for that.
type Look<K> = for<'a> fn(&'a Arc<Context>, &'a K, Source) -> BoxFuture<'a, Result<Option<Action>, Error>>;
/// What shows a trouble in an object's status.
type Show<K> = for<'a> fn(&'a Context, &'a K, &'a Trouble) -> BoxFuture<'a, Result<Action, Error>>;

/// Looks at an object once, as it is known and, before anything is paid for, as it and its records stand in etcd; what
/// lasts is told in its status.
///
/// # Errors
/// When the API server could not be read or written; the object is looked at again.
pub async fn told<K: PurchasingKind>(
    ctx: &Arc<Context>,
    seen: &SeenVersion,
    look: Look<K>,
    show: Show<K>,
) -> Result<Action, Error> {
    let mut sources: &[Source] = &[Source::Known, Source::Etcd];
    if let Some(known) = observe::known::<K>(ctx, seen) {
        if let Some(action) = look_at(ctx, seen, &*known, Source::Known, look, show).await? {
            return Ok(action);
        }
        sources = &[Source::Etcd];
    }
    let object = match observe::object::<K>(ctx, seen).await? {
        None => {
            ctx.forget(Place {
                kind: K::KIND,
                namespace: seen.namespace.clone(),
                name: seen.name.clone(),
            });
            return Ok(Action::await_change());
        }
        Some(Stored(Err(unreadable))) => return self::unreadable::<K>(ctx, unreadable).await,
        Some(Stored(Ok(object))) => object,
    };
    for source in sources {
        if let Some(action) = look_at(ctx, seen, &object, *source, look, show).await? {
            return Ok(action);
        }
    }
    Ok(Action::requeue(ctx.books.chance.jittered(observe::SOON)))
}

async fn look_at<K: PurchasingKind>(
    ctx: &Arc<Context>,
    seen: &SeenVersion,
    object: &K,
    source: Source,
    look: Look<K>,
    show: Show<K>,
) -> Result<Option<Action>, Error> {
    match look(ctx, object, source).await {
        Err(error) => {
            K::recent(&ctx.books).forget(&seen.namespace, &seen.name);
            match lasting(&error) {
                Some(trouble) => show(ctx, object, &trouble).await.map(Some),
                None => Err(error),
            }
        }
        Ok(Some(rests)) if rests == Action::await_change() => {
            K::recent(&ctx.books).forget(&seen.namespace, &seen.name);
            Ok(Some(rests))
        }
        Ok(looked) => Ok(looked),
    }
}

/// What the status says of an error that lasts; `None` for one that is tried again soon.
pub fn lasting(error: &Error) -> Option<Trouble> {
    let Error::Api(error) = error else { return None };
    match error {
        ApiError::Unreadable(_) => Some(Trouble {
            reason: Reason::OtherInstance,
            message: Text::bounded(&format!("{error}; the operator buys nothing for it"), 1000),
            until: None,
        }),
        ApiError::Kube(_) | ApiError::NoBudgets | ApiError::Silent => error.trouble(),
    }
}

/// Tells that the object cannot be read. Nothing of its status but the conditions is touched.
///
/// # Errors
/// When the API server could not be written.
async fn unreadable<K: PurchasingKind>(ctx: &Context, unreadable: Unreadable) -> Result<Action, Error> {
    let metadata = &unreadable.metadata;
    let place = Place::of::<K>(metadata);
    let generation = metadata.generation.unwrap_or_default();
    let mut status = unreadable.status.as_object().cloned().unwrap_or_default();
    let before: Vec<Condition> = status
        .get("conditions")
        .and_then(|shown| Vec::deserialize(shown).ok())
        .unwrap_or_default();
    let stalled = conditions::stalled_since(&before);
    let message = format!(
        "{}; the object was stored under another schema, and the operator buys nothing for it. Correct the field, or create \
         the object again",
        unreadable.why
    );
    let report = Report::stalled(
        Reason::InvalidSpec,
        message,
        stalled,
        &ctx.settings.times,
        ctx.now(),
    );
    let reason = report.reason;
    let said = conditions::standing(reason.standing(), reason.as_str(), &report.message);
    let mut after = conditions::dated(said, &before, generation, ctx.now());
    let own = ["Ready", "Reconciling", "Stalled"];
    let steps = before.iter().filter(|step| !own.contains(&step.type_.as_str()));
    after.extend(steps.cloned());
    status.insert("conditions".to_owned(), json!(after));
    status.insert("observedGeneration".to_owned(), json!(generation));
    let status = Value::Object(status);
    if status != unreadable.status {
        let newly = conditions::find(&before, "Ready").is_none_or(|ready| ready.reason != reason.as_str());
        let put = put_status::<K>(ctx, &unreadable, &status).await;
        // A rule that cannot judge such a field lets not even the status be written; then an event says it, once.
        let newly = match &put {
            Ok(()) => newly,
            Err(error) => {
                let namespace = metadata.namespace.clone().unwrap_or_default();
                let name = metadata.name.clone().unwrap_or_default();
                error.refusal().is_some() && !ctx.failures.has_failed::<K>(&namespace, &name)
            }
        };
        if newly {
            let regarding = Stored::<K>(Err(unreadable)).object_ref(&());
            events::publish(
                &ctx.books.client,
                regarding,
                reason,
                &report.message,
                report.warns,
                ctx.now(),
            )
            .await;
        }
        put?;
    }
    Ok(ctx.again_once_told(&place, report.wake))
}

async fn put_status<K: PurchasingKind>(
    ctx: &Context,
    unreadable: &Unreadable,
    status: &Value,
) -> Result<(), ApiError> {
    let metadata = &unreadable.metadata;
    let resource = ApiResource::erase::<K>(&());
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.books.client.clone(), &namespace, &resource);
    let mut object = DynamicObject {
        types: Some(TypeMeta::resource::<K>()),
        metadata: metadata.clone(),
        data: json!({"status": status}),
    };
    object.metadata.annotations = None;
    let by = api_call::by_us();
    let written = api_call::within(api.replace_status(&object.name_any(), &by, &object)).await;
    ctx.late_writes
        .note(Place::of::<K>(metadata), &written, ctx.moment());
    match written {
        Err(error) if error.is_gone() => Ok(()),
        other => other.map(drop),
    }
}
