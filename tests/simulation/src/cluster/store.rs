//! What etcd keeps: objects, one revision for every write, and what was written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::faults::{ClientId, Revisions};
use super::kind::Kind;
use super::refusal::Refusal;
use super::request::{Part, Shape, Verb};
use crate::field::at;

/// Judges writes before they are accepted, as admission policies do.
pub trait Admission: Send {
    /// Whether the write may be made; an error refuses it, as a policy does by [`Refusal::invalid`] and a webhook by
    /// [`Refusal::forbidden`]. It must not call the server.
    fn judge(&mut self, review: &Review<'_>) -> Result<(), Refusal>;
}

impl<F: FnMut(&Review<'_>) -> Result<(), Refusal> + Send> Admission for F {
    fn judge(&mut self, review: &Review<'_>) -> Result<(), Refusal> {
        self(review)
    }
}

/// A write to be judged.
pub struct Review<'a> {
    /// Whose it is.
    pub client: ClientId,
    /// What it does.
    pub verb: Verb,
    /// To which kind.
    pub kind: &'static Kind,
    /// To which part.
    pub part: Part,
    /// The object as it would stand; as it stands if it would be deleted.
    pub object: &'a Value,
    /// The object as it stands, if there is one.
    pub old: Option<&'a Value>,
}

/// A write that was accepted.
#[derive(Debug, Clone)]
pub struct Write {
    /// The revision that it made.
    pub revision: u64,
    /// When, by the wall clock that the server was given.
    pub at: Timestamp,
    /// Whose it was.
    pub client: ClientId,
    /// What it did.
    pub verb: Verb,
    /// To which kind.
    pub kind: &'static Kind,
    /// To which part.
    pub part: Part,
    /// Empty for what is in no namespace.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// The object after it; as it last stood if the write removed it.
    pub object: Arc<Value>,
}

/// Objects and revision as they stood, as a backup of etcd keeps them.
#[derive(Clone)]
pub struct Snapshot {
    objects: BTreeMap<&'static str, Objects>,
    revision: u64,
}

/// Namespace, empty for what is in none, and name.
pub(super) type Place = (String, String);
type Objects = BTreeMap<Place, Arc<Stored>>;

/// One version of an object, and its bytes as soon as somebody has asked for them.
pub(super) struct Stored {
    pub value: Arc<Value>,
    whole: OnceLock<Bytes>,
    metadata: OnceLock<Bytes>,
}

impl Stored {
    fn new(value: Value) -> Self {
        Self {
            value: Arc::new(value),
            whole: OnceLock::new(),
            metadata: OnceLock::new(),
        }
    }

    pub fn bytes(&self, shape: Shape) -> &Bytes {
        match shape {
            Shape::Whole => self.whole.get_or_init(|| bytes_of(&self.value)),
            Shape::Metadata => self.metadata.get_or_init(|| {
                let partial = json!({
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": self.value.get("metadata"),
                });
                bytes_of(&partial)
            }),
        }
    }

    fn text(&self, field: &str) -> &str {
        text(&self.value, field)
    }
}

/// Without `to_string`, which checks each piece again for being text.
fn bytes_of(object: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(object).expect("a Value can be written"))
}

/// A field of an object's metadata; empty where it has none.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    let found = object.get("metadata").and_then(|metadata| metadata.get(field));
    found.and_then(Value::as_str).unwrap_or_default()
}

/// What a watch tells of.
pub(super) struct Change {
    pub revision: u64,
    pub at: Instant,
    pub kind: &'static Kind,
    pub place: Place,
    before: Option<Arc<Stored>>,
    pub after: Arc<Stored>,
    is_removal: bool,
}

impl Change {
    pub fn word(&self) -> &'static str {
        match (&self.before, self.is_removal) {
            (_, true) => "DELETED",
            (None, false) => "ADDED",
            (Some(_), false) => "MODIFIED",
        }
    }
}

/// Whose write to what.
#[derive(Clone, Copy)]
pub(super) struct Author {
    pub client: ClientId,
    pub verb: Verb,
    pub part: Part,
}

/// What a deletion asks of the object that it deletes.
#[derive(Debug, Default)]
pub(super) struct Preconditions {
    pub uid: Option<String>,
    pub version: Option<String>,
}

/// What a deletion has come to.
pub(super) enum Deleted {
    Removed(Arc<Stored>),
    /// Its finalizers keep it.
    Marked(Arc<Stored>),
}

pub(super) struct Store {
    objects: BTreeMap<&'static str, Objects>,
    pub revision: u64,
    /// The changes up to this revision are forgotten.
    pub compacted: u64,
    pub history: VecDeque<Change>,
    pub log: Vec<Write>,
    pub admission: Option<Box<dyn Admission>>,
    uids: u64,
    clock: Box<dyn Fn() -> Timestamp + Send>,
}

impl Store {
    pub fn new(clock: Box<dyn Fn() -> Timestamp + Send>) -> Self {
        Self {
            objects: BTreeMap::new(),
            revision: 1,
            compacted: 1,
            history: VecDeque::new(),
            log: Vec::new(),
            admission: None,
            uids: 0,
            clock,
        }
    }

    pub fn get(&self, kind: &'static Kind, place: &Place) -> Result<&Arc<Stored>, Refusal> {
        let found = self
            .objects
            .get(kind.plural)
            .and_then(|objects| objects.get(place));
        found.ok_or_else(|| Refusal::not_found(kind, &place.1))
    }

    /// Of one namespace or of all, by namespace and name.
    pub fn list(&self, kind: &Kind, namespace: Option<&str>) -> impl Iterator<Item = &Arc<Stored>> {
        of_namespace(self.objects.get(kind.plural).into_iter().flatten(), namespace)
    }

    /// The objects as they stood so long ago, as far as the history tells, and the revision of then.
    pub fn list_of(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        ago: Duration,
    ) -> (VecDeque<Arc<Stored>>, u64) {
        if ago.is_zero() {
            return (self.list(kind, namespace).cloned().collect(), self.revision);
        }
        let mut objects = self.objects.get(kind.plural).cloned().unwrap_or_default();
        let mut revision = self.revision;
        let now = Instant::now();
        for change in self
            .history
            .iter()
            .rev()
            .take_while(|change| change.at + ago > now)
        {
            revision = change.revision - 1;
            if change.kind != kind {
                continue;
            }
            match &change.before {
                Some(before) => objects.insert(change.place.clone(), before.clone()),
                None => objects.remove(&change.place),
            };
        }
        (
            of_namespace(objects.iter(), namespace).cloned().collect(),
            revision,
        )
    }

    pub fn create(
        &mut self,
        by: Author,
        kind: &'static Kind,
        namespace: &str,
        mut object: Value,
    ) -> Result<Arc<Stored>, Refusal> {
        check_type(kind, &object)?;
        let name = text(&object, "name").to_owned();
        if name.is_empty() {
            let message = format!(
                "{} \"\" is invalid: metadata.name: Required value: name or generateName is required",
                kind.kind
            );
            return Err(Refusal::invalid(message).about(kind, ""));
        }
        check_namespace(namespace, &object)?;
        if !text(&object, "resourceVersion").is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::bad_request(message));
        }
        if kind.is_namespaced {
            self.get(Kind::NAMESPACE, &(String::new(), namespace.to_owned()))?;
        }
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.uids + 1);
        let created = (self.clock)();
        let fields = fields_of(&mut object)?;
        if kind.has_status {
            fields.remove("status");
        }
        let metadata = metadata_of(fields)?;
        for given in [
            "managedFields",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            metadata.remove(given);
        }
        if kind.is_namespaced {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        metadata.insert("uid".to_owned(), uid.into());
        metadata.insert("creationTimestamp".to_owned(), seconds(created).into());
        if kind.has_status {
            metadata.insert("generation".to_owned(), 1.into());
        }
        self.judge(by, kind, &object, None)?;
        let place = (namespace.to_owned(), name);
        if self.get(kind, &place).is_ok() {
            return Err(Refusal::already_exists(kind, &place.1));
        }
        self.uids += 1;
        Ok(self.commit(by, kind, place, None, object, false))
    }

    pub fn replace(
        &mut self,
        by: Author,
        kind: &'static Kind,
        place: Place,
        object: Value,
    ) -> Result<Arc<Stored>, Refusal> {
        check_type(kind, &object)?;
        check_namespace(&place.0, &object)?;
        let named = text(&object, "name");
        if named != place.1 {
            let message = format!(
                "the name of the object ({named}) does not match the name on the URL ({})",
                place.1
            );
            return Err(Refusal::bad_request(message));
        }
        let before = self.get(kind, &place)?.clone();
        if text(&object, "resourceVersion").is_empty() && kind.needs_version() {
            let message = format!(
                "{} {:?} is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update",
                kind.qualified(),
                place.1
            );
            return Err(Refusal::invalid(message).about(kind, &place.1));
        }
        self.update(by, kind, place, before, object)
    }

    /// A merge patch.
    pub fn patch(
        &mut self,
        by: Author,
        kind: &'static Kind,
        place: Place,
        patch: &Value,
    ) -> Result<Arc<Stored>, Refusal> {
        let before = self.get(kind, &place)?.clone();
        let mut object = (*before.value).clone();
        merge(&mut object, patch);
        check_type(kind, &object)?;
        self.update(by, kind, place, before, object)
    }

    fn update(
        &mut self,
        by: Author,
        kind: &'static Kind,
        place: Place,
        before: Arc<Stored>,
        mut object: Value,
    ) -> Result<Arc<Stored>, Refusal> {
        let version = text(&object, "resourceVersion");
        if !version.is_empty() && version != before.text("resourceVersion") {
            let why =
                "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Refusal::conflict(kind, &place.1, why));
        }
        let uid = text(&object, "uid");
        if !uid.is_empty() && uid != before.text("uid") {
            return Err(Refusal::conflict(
                kind,
                &place.1,
                &other_uid(uid, before.text("uid")),
            ));
        }
        let given = fields_of(&mut object)?;
        let after = match by.part {
            Part::Whole => whole(kind, &before.value, given)?,
            Part::Status => with_status(before.value.as_object(), given.remove("status")),
        };
        let after = Value::Object(after);
        self.judge(by, kind, &after, Some(&before.value))?;
        if after == *before.value {
            return Ok(before);
        }
        let is_removal = is_deleted(&after) && !has_finalizers(&after);
        Ok(self.commit(by, kind, place, Some(before), after, is_removal))
    }

    pub fn delete(
        &mut self,
        by: Author,
        kind: &'static Kind,
        place: Place,
        only: &Preconditions,
    ) -> Result<Deleted, Refusal> {
        let before = self.get(kind, &place)?.clone();
        if let Some(uid) = only.uid.as_deref().filter(|uid| *uid != before.text("uid")) {
            return Err(Refusal::conflict(
                kind,
                &place.1,
                &other_uid(uid, before.text("uid")),
            ));
        }
        let there = before.text("resourceVersion");
        if let Some(version) = only.version.as_deref().filter(|version| *version != there) {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {there}"
            );
            return Err(Refusal::conflict(kind, &place.1, &why));
        }
        self.judge(by, kind, &before.value, Some(&before.value))?;
        let mut after = (*before.value).clone();
        if !has_finalizers(&after) {
            return Ok(Deleted::Removed(self.commit(
                by,
                kind,
                place,
                Some(before),
                after,
                true,
            )));
        }
        if is_deleted(&after) {
            return Ok(Deleted::Marked(before));
        }
        let now = seconds((self.clock)());
        let metadata = metadata_of(fields_of(&mut after)?)?;
        metadata.insert("deletionTimestamp".to_owned(), now.into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
        count_generation(metadata);
        Ok(Deleted::Marked(self.commit(
            by,
            kind,
            place,
            Some(before),
            after,
            false,
        )))
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            objects: self.objects.clone(),
            revision: self.revision,
        }
    }

    /// Uids and the log go on.
    pub fn restore(&mut self, backup: &Snapshot, revisions: Revisions) {
        self.objects = backup.objects.clone();
        self.revision = match revisions {
            Revisions::GoBack => backup.revision,
            Revisions::BumpedBy(more) => backup.revision + more,
        };
        self.compacted = self.revision;
        self.history.clear();
    }

    fn judge(
        &mut self,
        by: Author,
        kind: &'static Kind,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Refusal> {
        let Some(admission) = &mut self.admission else {
            return Ok(());
        };
        let Author { client, verb, part } = by;
        let name = text(object, "name");
        let review = Review {
            client,
            verb,
            kind,
            part,
            object,
            old,
        };
        let judged = admission.judge(&review);
        judged.map_err(|refusal| refusal.about(kind, name))
    }

    fn commit(
        &mut self,
        by: Author,
        kind: &'static Kind,
        place: Place,
        before: Option<Arc<Stored>>,
        mut after: Value,
        is_removal: bool,
    ) -> Arc<Stored> {
        self.revision += 1;
        if let Some(metadata) = after.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), self.revision.to_string().into());
        }
        let after = Arc::new(Stored::new(after));
        let objects = self.objects.entry(kind.plural).or_default();
        if is_removal {
            objects.remove(&place);
        } else {
            objects.insert(place.clone(), after.clone());
        }
        self.log.push(Write {
            revision: self.revision,
            at: (self.clock)(),
            client: by.client,
            verb: by.verb,
            kind,
            part: by.part,
            namespace: place.0.clone(),
            name: place.1.clone(),
            object: after.value.clone(),
        });
        self.history.push_back(Change {
            revision: self.revision,
            at: Instant::now(),
            kind,
            place,
            before,
            after: after.clone(),
            is_removal,
        });
        after
    }
}

fn of_namespace<'a>(
    objects: impl Iterator<Item = (&'a Place, &'a Arc<Stored>)>,
    namespace: Option<&str>,
) -> impl Iterator<Item = &'a Arc<Stored>> {
    objects
        .filter(move |(place, _)| namespace.is_none_or(|namespace| place.0 == namespace))
        .map(|(_, object)| object)
}

fn check_type(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    if field("kind") == kind.kind && field("apiVersion") == kind.api_version() {
        return Ok(());
    }
    let message = format!(
        "the object provided is a {:?} of {:?} and not a {} of {}",
        field("kind"),
        field("apiVersion"),
        kind.kind,
        kind.api_version()
    );
    Err(Refusal::bad_request(message))
}

fn check_namespace(namespace: &str, object: &Value) -> Result<(), Refusal> {
    let named = text(object, "namespace");
    if named.is_empty() || named == namespace {
        return Ok(());
    }
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    Err(Refusal::bad_request(message))
}

fn other_uid(given: &str, there: &str) -> String {
    format!("Precondition failed: UID in precondition: {given}, UID in object meta: {there}")
}

fn fields_of(object: &mut Value) -> Result<&mut Map<String, Value>, Refusal> {
    let fields = object.as_object_mut();
    fields.ok_or_else(|| Refusal::bad_request("the object provided is no JSON object"))
}

fn metadata_of(fields: &mut Map<String, Value>) -> Result<&mut Map<String, Value>, Refusal> {
    let metadata = fields.entry("metadata").or_insert_with(|| Map::new().into());
    let metadata = metadata.as_object_mut();
    metadata.ok_or_else(|| Refusal::bad_request("the object's metadata is no JSON object"))
}

/// What a write of the whole makes of it: the server's own fields, and the status, stay.
fn whole(kind: &Kind, before: &Value, given: &mut Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    const OURS: [&str; 8] = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    let mut after = std::mem::take(given);
    let metadata = metadata_of(&mut after)?;
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    for field in OURS {
        match before.get("metadata").and_then(|metadata| metadata.get(field)) {
            Some(kept) => metadata.insert(field.to_owned(), kept.clone()),
            None => metadata.remove(field),
        };
    }
    if !kind.has_status {
        return Ok(after);
    }
    match before.get("status") {
        Some(kept) => after.insert("status".to_owned(), kept.clone()),
        None => after.remove("status"),
    };
    if !before.as_object().is_some_and(|before| are_alike(before, &after)) {
        count_generation(metadata_of(&mut after)?);
    }
    Ok(after)
}

/// Whether all but their metadata is the same.
fn are_alike(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let is_in_other =
        |(field, value): (&String, &Value)| field == "metadata" || other.get(field) == Some(value);
    one.len() == other.len() && one.iter().all(is_in_other)
}

fn with_status(before: Option<&Map<String, Value>>, status: Option<Value>) -> Map<String, Value> {
    let mut after = before.cloned().unwrap_or_default();
    match status {
        Some(status) => after.insert("status".to_owned(), status),
        None => after.remove("status"),
    };
    after
}

fn count_generation(metadata: &mut Map<String, Value>) {
    if let Some(generation) = metadata.get("generation").and_then(Value::as_u64) {
        metadata.insert("generation".to_owned(), (generation + 1).into());
    }
}

fn is_deleted(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

fn has_finalizers(object: &Value) -> bool {
    let finalizers = at(object, "/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_some_and(|finalizers| !finalizers.is_empty())
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Map::new().into();
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (field, value) in patch {
        if value.is_null() {
            target.remove(field);
        } else {
            merge(target.entry(field).or_insert(Value::Null), value);
        }
    }
}

/// As the API server writes times of its own.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
