//! Events on the subject, in plain words. They never fail or delay a reconcile.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::{Api, Client};

use crate::api::NAME;
use crate::cluster::api_call;
use crate::domain::status::reason::{Reason, Standing};
use crate::domain::values::text::Text;

/// Longest note that the API server takes, in bytes.
const NOTE: usize = 1024;

/// Tells of a reason that the object has newly come to.
pub async fn publish(
    client: &Client,
    regarding: ObjectReference,
    reason: Reason,
    message: &str,
    warns: bool,
    now: Timestamp,
) {
    let alarming = warns || reason.standing() == Standing::Stalled || reason == Reason::ConfirmingOutcome;
    tell(client, regarding, reason.as_str(), message, alarming, now).await;
}

/// Tells of something beside the reason of the object.
pub async fn tell(
    client: &Client,
    regarding: ObjectReference,
    reason: &str,
    message: &str,
    alarming: bool,
    now: Timestamp,
) {
    let namespace = regarding.namespace.clone().unwrap_or_default();
    let name = regarding.name.clone().unwrap_or_default();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{name:.200}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        type_: Some(if alarming { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(reason.to_owned()),
        note: Some(note(message)),
        action: Some("Reconcile".to_owned()),
        reporting_controller: Some(NAME.to_owned()),
        reporting_instance: Some(NAME.to_owned()),
        event_time: Some(MicroTime(now)),
        regarding: Some(regarding),
        ..Event::default()
    };
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let posted = api_call::by_us();
    if let Err(error) = api_call::within(events.create(&posted, &event)).await {
        tracing::warn!(%error, %namespace, %name, reason, "the event could not be written");
    }
}

/// One printable line, cut at a character's border.
fn note(message: &str) -> String {
    let mut note = Text::bounded(message, NOTE).to_string();
    while note.len() > NOTE {
        note.pop();
    }
    note
}
