//! The kinds of objects that the server keeps.

/// A kind of objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version of the group.
    pub version: &'static str,
    /// As in paths. No two kinds share it.
    pub plural: &'static str,
    /// As in objects.
    pub kind: &'static str,
    /// Whether its objects live in namespaces.
    pub is_namespaced: bool,
    /// Whether the status is written through `/status` only, and changes of the rest count as generations.
    pub has_status: bool,
}

const fn custom(plural: &'static str, kind: &'static str, is_namespaced: bool) -> Kind {
    Kind {
        group: "vps.hostup.se",
        version: "v1alpha1",
        plural,
        kind,
        is_namespaced,
        has_status: true,
    }
}

const fn built_in(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    is_namespaced: bool,
) -> Kind {
    Kind {
        group,
        version: "v1",
        plural,
        kind,
        is_namespaced,
        has_status: false,
    }
}

impl Kind {
    /// `VpsBackupRestore`.
    pub const RESTORE: &'static Self = &custom("vpsbackuprestores", "VpsBackupRestore", true);
    /// `VpsResourceConfig`.
    pub const CONFIG: &'static Self = &custom("vpsresourceconfigs", "VpsResourceConfig", true);
    /// `VpsOperation`.
    pub const OPERATION: &'static Self = &custom("vpsoperations", "VpsOperation", false);
    /// `VpsBudget`.
    pub const BUDGET: &'static Self = &custom("vpsbudgets", "VpsBudget", false);
    /// `Secret`.
    pub const SECRET: &'static Self = &built_in("", "secrets", "Secret", true);
    /// `Namespace`.
    pub const NAMESPACE: &'static Self = &built_in("", "namespaces", "Namespace", false);
    /// `Event` of `events.k8s.io`.
    pub const EVENT: &'static Self = &built_in("events.k8s.io", "events", "Event", true);
    /// `Lease`.
    pub const LEASE: &'static Self = &built_in("coordination.k8s.io", "leases", "Lease", true);
    /// `ValidatingAdmissionPolicy`. It is kept, and has no effect.
    pub const POLICY: &'static Self = &built_in(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        false,
    );
    /// `ValidatingAdmissionPolicyBinding`. It is kept, and has no effect.
    pub const BINDING: &'static Self = &built_in(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        false,
    );

    /// All of them.
    pub const ALL: [&'static Self; 10] = [
        Self::RESTORE,
        Self::CONFIG,
        Self::OPERATION,
        Self::BUDGET,
        Self::SECRET,
        Self::NAMESPACE,
        Self::EVENT,
        Self::LEASE,
        Self::POLICY,
        Self::BINDING,
    ];

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Plural and group, as in messages.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Whether a replacement must say which version it replaces.
    pub(super) fn needs_version(&self) -> bool {
        self.has_status || self.plural == Self::LEASE.plural
    }

    /// The kind that a path names.
    pub(super) fn at(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        let named = |kind: &&Self| (kind.group, kind.version, kind.plural) == (group, version, plural);
        Self::ALL.into_iter().find(named)
    }
}
