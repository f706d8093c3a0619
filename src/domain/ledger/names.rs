//! The two names by which a purchase is found again: the record in the cluster, the VM at HostUp.

use std::collections::BTreeSet;

use crate::values::digest;
use crate::values::ids::{InstanceId, RecordName, VpsId};

/// What the attempts of one intent have in common; the first part of their records' names.
///
/// Neither instance id nor apiVersion nor field spelling enters it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChainKey(String);

impl ChainKey {
    /// The chain of a `VpsBackupRestore`, by namespace and name.
    pub fn of_restore(namespace: &str, name: &str) -> Self {
        Self(digest::base32(
            "hostup-operator/chain/v1",
            &["VpsBackupRestore", namespace, name],
            26,
        ))
    }

    /// The chain of everything that changes options of one VPS, by its id; whoever wants it.
    pub fn of_config(vps: &VpsId) -> Self {
        Self::of_vps("VpsResourceConfig", vps)
    }

    /// The chain of everything that the legacy route does to one VPS, by its number.
    pub fn of_legacy(vmid: &VpsId) -> Self {
        Self::of_vps("legacy", vmid)
    }

    fn of_vps(route: &str, vps: &VpsId) -> Self {
        Self(digest::base32(
            "hostup-operator/chain/v1",
            &[route, vps.as_str()],
            26,
        ))
    }

    /// The record of attempt `n`, counted from 1.
    pub fn record(&self, n: u32) -> RecordName {
        RecordName::new(format!("{}-{n}", self.0))
    }

    /// The hash, as the records' names begin with it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The attempt that `record` is in this chain, if it is named as [`ChainKey::record`] names it.
    ///
    /// A number has one spelling: of two records, at most one is attempt 2.
    pub fn attempt(&self, record: &RecordName) -> Option<u32> {
        let number = record.as_str().strip_prefix(&self.0)?.strip_prefix('-')?;
        attempt_number(number)
    }
}

/// The number of an attempt, if it is spelled as [`ChainKey::record`] spells it.
pub fn attempt_number(text: &str) -> Option<u32> {
    let n: u32 = text.parse().ok()?;
    (n > 0 && n.to_string() == text).then_some(n)
}

/// The mark that a VM bought for one object of one installation bears in its name; 60 bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmToken(String);

impl VmToken {
    /// Characters of every token.
    pub const LENGTH: usize = 12;

    /// Always the same for the same installation, namespace and name.
    pub fn new(instance: &InstanceId, namespace: &str, name: &str) -> Self {
        Self(digest::base32(
            "hostup-operator/vm-token/v1",
            &[instance.as_str(), namespace, name],
            Self::LENGTH,
        ))
    }

    /// Takes the token back out of a VM name made by [`vm_name`].
    pub fn of_vm_name(vm_name: &str) -> Option<Self> {
        let token = vm_name.rsplit('-').next()?;
        (token.len() == Self::LENGTH).then(|| Self(token.to_owned()))
    }

    /// All that a VM of this name may bear as [`VmToken::is_borne_by`] means it, in lower case.
    pub fn perhaps_borne_by(vm_name: &str) -> BTreeSet<Self> {
        let segments = vm_name.split(['-', '.']);
        segments
            .filter(|segment| segment.len() == Self::LENGTH)
            .map(|segment| Self(segment.to_ascii_lowercase()))
            .collect()
    }

    /// The token's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `vm_name` has the token as a whole segment between `-`, `.` or an end.
    ///
    /// Letter case is ignored, for HostUp may normalise names (hostname page).
    pub fn is_borne_by(&self, vm_name: &str) -> bool {
        vm_name
            .split(['-', '.'])
            .any(|segment| segment.eq_ignore_ascii_case(&self.0))
    }
}

/// The new VM's name: what the user chose, or the object's name, then the token.
pub fn vm_name(chosen: Option<&str>, object_name: &str, token: &VmToken) -> String {
    let base: String = match chosen {
        Some(name) => name.to_owned(),
        None => object_name.replace('.', "-").chars().take(40).collect(),
    };
    format!("{}-{}", base.trim_end_matches('-'), token.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> VmToken {
        VmToken::new(&InstanceId::new("cluster-1"), "shop", "restore-web-01")
    }

    #[test]
    fn names_are_the_same_for_ever() {
        assert_eq!(
            ChainKey::of_restore("shop", "restore-web-01").record(1).as_str(),
            "cyox6bpy4fv6ltkhjleofwlo4v-1"
        );
        assert_eq!(token().as_str(), "mjx2t6ydosjj");
        assert_eq!(
            ChainKey::of_config(&VpsId::new("vps_1")).record(1).as_str(),
            "mbiypzzg5jpj5mqkjwhxju6nu2-1"
        );
        assert_eq!(
            ChainKey::of_legacy(&VpsId::new("10000")).record(1).as_str(),
            "spmmkkpbwotr32iadnslyh5jhr-1"
        );
    }

    #[test]
    fn a_token_counts_only_as_a_whole_segment() {
        let token = token();
        let t = token.as_str();
        for borne in [
            format!("web-01-{t}"),
            format!("web-{}", t.to_uppercase()),
            format!("web-{t}.example.com"),
            format!("web-{t}-1"),
            t.to_owned(),
        ] {
            assert!(token.is_borne_by(&borne), "{borne}");
            assert!(VmToken::perhaps_borne_by(&borne).contains(&token), "{borne}");
        }
        for foreign in [
            format!("web-x{t}"),
            format!("web-{t}x"),
            format!("web_{t}"),
            String::new(),
        ] {
            assert!(!token.is_borne_by(&foreign), "{foreign}");
            assert!(!VmToken::perhaps_borne_by(&foreign).contains(&token), "{foreign}");
        }
    }

    #[test]
    fn a_vm_name_carries_its_token_and_stays_a_host_label() {
        let long = "a".repeat(39) + ".b.c";
        let name = vm_name(None, &long, &token());
        assert_eq!(VmToken::of_vm_name(&name), Some(token()));
        assert!(
            name.len() <= 63 && !name.contains('.') && !name.contains("--"),
            "{name}"
        );
        assert_eq!(
            vm_name(Some("web-01"), "x", &token()),
            format!("web-01-{}", token().as_str())
        );
    }

    #[test]
    fn an_attempt_is_read_back_from_its_record_name_only_in_its_chain() {
        let key = ChainKey::of_restore("shop", "a");
        assert_eq!(key.attempt(&key.record(12)), Some(12));
        assert_eq!(key.attempt(&ChainKey::of_restore("shop", "b").record(1)), None);
        for odd in ["0", "02", "+2", "2-", "2-1", " 2", "", "4294967296"] {
            assert_eq!(
                key.attempt(&RecordName::new(format!("{}-{odd}", key.0))),
                None,
                "{odd}"
            );
        }
    }
}
