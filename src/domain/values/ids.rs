//! Names of things, each a type of its own, so that one id is never passed for another.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is; ids are opaque and never validated beyond use.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text, as the provider or Kubernetes gave it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A VPS as HostUp names it, `vps_...` (vps page), or its number on the legacy routes.
    VpsId
}
id! {
    /// A backup as HostUp names it, `bkp_...` (backups page).
    BackupId
}
id! {
    /// A job as HostUp names it, `job_...` (restore-to-payg page).
    JobId
}
id! {
    /// The name of one `VpsOperation`: `<hash of the key>-<n>`.
    RecordName
}
id! {
    /// A fresh random value for each create call of a record; whoever knows it made the record.
    Holder
}
id! {
    /// Which operator installation a record and a VM token belong to.
    InstanceId
}
id! {
    /// A Kubernetes object uid.
    Uid
}
id! {
    /// A hash of an API key: another key has another mark. It is only ever hashed again.
    KeyMark
}

impl JobId {
    /// Accepts what can safely stand in a URL path and in an object; anything else is no job id.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        ((1..=128).contains(&text.len()) && text.chars().all(plain)).then(|| Self::new(text))
    }
}

impl InstanceId {
    /// Accepts 1 to 63 letters, digits, `.`, `_` and `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        ((1..=63).contains(&text.len()) && text.chars().all(plain)).then(|| Self::new(text))
    }

    /// As a record names it. Older versions took the id with the newline of the file that it came from.
    pub fn of_record(text: &str) -> Self {
        Self::new(text.trim())
    }
}

/// The kinds that buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A backup restored to a new VM.
    VpsBackupRestore,
    /// Paid options of a VPS.
    VpsResourceConfig,
}

impl SubjectKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::VpsBackupRestore, Self::VpsResourceConfig];

    /// The kind, as objects name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VpsBackupRestore => "VpsBackupRestore",
            Self::VpsResourceConfig => "VpsResourceConfig",
        }
    }

    /// The name in commands and metrics.
    pub fn singular(self) -> &'static str {
        match self {
            Self::VpsBackupRestore => "vpsbackuprestore",
            Self::VpsResourceConfig => "vpsresourceconfig",
        }
    }
}

/// Where in the cluster the object stands that an operation was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Kind of the object.
    pub kind: SubjectKind,
    /// Namespace of the object, and of its credentials.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Identity of this very object, not of a later one of the same name.
    pub uid: Uid,
    /// `metadata.generation` that was decided from.
    pub generation: i64,
}

impl Subject {
    /// Whether both are objects of one kind, namespace and name, perhaps one after the other.
    pub fn is_of_one_name_with(&self, other: &Self) -> bool {
        (self.kind, &self.namespace, &self.name) == (other.kind, &other.namespace, &other.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_with_path_characters_is_no_job_id() {
        for bad in ["", "../x", "a/b", "a b", "a\nb", "a%2e", "jöb", &"x".repeat(129)] {
            assert_eq!(JobId::parse(bad), None, "{bad:?}");
        }
        assert!(JobId::parse("job_01hxa3b4c5d6e7f8g9h0j1k2m3").is_some());
    }
}
