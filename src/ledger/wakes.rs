//! Who has objects and records looked at soon.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::accounts::Who;
use crate::domain::values::ids::{RecordName, Subject, SubjectKind};

/// Has an object looked at soon, by namespace and name.
pub type Wake = Box<dyn Fn(&str, &str) + Send>;

/// The controllers that can be woken.
#[derive(Default)]
pub struct Wakes {
    objects: Mutex<BTreeMap<(SubjectKind, Option<String>), Wake>>,
    records: Mutex<Option<Wake>>,
}

impl Wakes {
    /// The controller of `kind` in `namespace` (or in all) is woken by `wake`.
    pub fn of_objects(&self, kind: SubjectKind, namespace: Option<String>, wake: Wake) {
        self.objects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((kind, namespace), wake);
    }

    /// The controller of the records is woken by `wake`.
    pub fn of_records(&self, wake: Wake) {
        *self.records.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake);
    }

    /// Has the object looked at soon: something about its record has changed.
    pub fn subject(&self, subject: &Subject) {
        self.object(subject.kind, &subject.namespace, &subject.name);
    }

    /// As [`Wakes::subject`], by name.
    pub fn object(&self, kind: SubjectKind, namespace: &str, name: &str) {
        let wakes = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = wakes
            .get(&(kind, None))
            .or_else(|| wakes.get(&(kind, Some(namespace.to_owned()))));
        if let Some(wake) = listener {
            wake(namespace, name);
        }
    }

    /// Has the record looked at soon.
    pub fn record(&self, name: &RecordName) {
        if let Some(wake) = self
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            wake("", name.as_str());
        }
    }

    /// Has whoever asked looked at soon.
    pub fn asker(&self, who: &Who) {
        match who {
            Who::Subject(kind, namespace, name) => self.object(*kind, namespace, name),
            Who::Record(name) => self.record(name),
            // It looks by itself.
            Who::Vms(..) => {}
        }
    }
}
