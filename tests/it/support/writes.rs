//! What was written to the API server, by its own audit log.

use std::time::{Duration, Instant};

use control_plane::AuditEvent;
use k8s_openapi::api::events::v1::Event;

use super::{PATIENCE, TestEnv};

impl TestEnv {
    /// Every write to the environment's objects and records so far, the tests' own among them, as
    /// `verb resource/subresource name`.
    pub async fn writes(&self) -> Vec<String> {
        let records = self.records().await;
        let ours = |event: &AuditEvent| {
            event.namespace == self.namespace
                || records
                    .iter()
                    .any(|record| record["metadata"]["name"] == event.name.as_str())
        };
        let audit = self.audit().await;
        audit
            .iter()
            .filter(|event| event.group == "vps.hostup.se" && event.is_write() && ours(event))
            .map(|event| {
                format!(
                    "{} {}/{} {}",
                    event.verb, event.resource, event.subresource, event.name
                )
            })
            .collect()
    }

    /// The reasons of all events of an object so far, in their order.
    pub async fn events_of(&self, name: &str) -> Vec<String> {
        self.events_where(name, |_| true).await
    }

    /// What all events of an object say, in their order.
    pub async fn notes_of(&self, name: &str) -> Vec<String> {
        let events = self.listed_events(name, |_| true).await;
        events.into_iter().filter_map(|event| event.note).collect()
    }

    /// Waits until the events of an object have these reasons: each follows the status that it tells of.
    pub async fn told(&self, name: &str, wanted: &[&str]) {
        self.events_come_to(name, wanted, |_| true).await;
    }

    /// As [`TestEnv::told`], of warnings only.
    pub async fn warned(&self, name: &str, wanted: &[&str]) {
        self.events_come_to(name, wanted, |event| event.type_.as_deref() == Some("Warning"))
            .await;
    }

    /// What the first event of an object says that has all of these parts, once it is told.
    pub async fn note_with(&self, name: &str, parts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let notes = self.notes_of(name).await;
            let tells = |note: &String| parts.iter().all(|part| note.contains(part));
            if let Some(note) = notes.iter().find(|note| tells(note)) {
                return note.clone();
            }
            assert!(
                Instant::now() < deadline,
                "{name} was told {notes:?}, not {parts:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn events_come_to(&self, name: &str, wanted: &[&str], counts: impl Fn(&Event) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.events_where(name, &counts).await;
            if told == wanted {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{name} was told {told:?}, not {wanted:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn events_where(&self, name: &str, wanted: impl Fn(&Event) -> bool) -> Vec<String> {
        let events = self.listed_events(name, wanted).await;
        events.into_iter().filter_map(|event| event.reason).collect()
    }

    async fn listed_events(&self, name: &str, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let events: kube::Api<Event> = kube::Api::namespaced(self.client.clone(), &self.namespace);
        let listed = events.list(&kube::api::ListParams::default()).await.unwrap();
        let regards = |event: &Event| {
            let regarding = event.regarding.as_ref();
            regarding.and_then(|regarding| regarding.name.as_deref()) == Some(name)
        };
        let mut ours: Vec<Event> = listed.items.into_iter().filter(regards).filter(wanted).collect();
        ours.sort_by_key(|event| event.event_time.as_ref().map(|at| at.0));
        ours
    }

    /// How many events the environment's objects were given so far.
    pub async fn events(&self) -> usize {
        let audit = self.audit().await;
        let events = audit.iter().filter(|event| {
            event.resource == "events" && event.is_write() && event.namespace == self.namespace
        });
        events.count()
    }

    /// What the API server's audit log says so far.
    pub async fn audit(&self) -> Vec<AuditEvent> {
        let plane = self.plane;
        let read = tokio::task::spawn_blocking(move || plane.audit().unwrap());
        read.await.unwrap()
    }
}
