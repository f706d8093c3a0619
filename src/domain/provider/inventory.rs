//! The account's VMs, and what their names prove about our purchases.

use std::collections::{BTreeMap, BTreeSet};

use crate::consent::price::Size;
use crate::ledger::names::VmToken;
use crate::values::ids::{RecordName, VpsId};
use crate::values::text::Text;

/// A VM as HostUp's list or single read shows it (vps page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its id.
    pub id: VpsId,
    /// Its display name; empty where HostUp gave none.
    pub name: String,
    /// `billing.isPayg`, the only reliable test for pay-as-you-go; `false` where it is missing.
    pub is_payg: bool,
    /// `resources`, rounded up; `None` while any of them is missing.
    pub size: Option<Size>,
    /// The address, once there is one.
    pub primary_ip: Option<Text>,
    /// Whether `powerState` is `running`.
    pub running: bool,
    /// HostUp's word, where `serviceStatus` says that it provides the VM no longer.
    pub ended: Option<Text>,
    /// The record whose result it is, where that is not the one that asks. One VM is the result of one record.
    pub result_of: Option<RecordName>,
}

impl Vm {
    /// Whether it has booted as far as HostUp can tell.
    pub fn is_up(&self) -> bool {
        self.running && self.primary_ip.is_some()
    }
}

/// Which VPS an object is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VpsChoice {
    /// This one.
    Id(VpsId),
    /// The only one of exactly this display name.
    Named(String),
}

/// The VPS of exactly this display name, by a complete list; one that HostUp does not provide any more has no name.
///
/// # Errors
/// All that have the name, if it is not exactly one.
pub fn named(vms: &[Vm], name: &str) -> Result<VpsId, Vec<VpsId>> {
    let named = vms.iter().filter(|vm| vm.name == name && vm.ended.is_none());
    let mut ids: Vec<VpsId> = named.map(|vm| vm.id.clone()).collect();
    match (ids.pop(), ids.is_empty()) {
        (Some(only), true) => Ok(only),
        (last, _) => {
            ids.extend(last);
            Err(ids)
        }
    }
}

/// What one complete read of the list says about one purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// No VM that could be it.
    None,
    /// Exactly one, of the ordered size.
    One(Vm),
    /// Exactly one, whose size differs.
    OtherSize(Vm),
    /// Exactly one, of which HostUp does not show enough (yet): neither evidence nor absence.
    Unclear(Vm, Text),
    /// More than one has the token.
    Several(Vec<VpsId>),
}

impl Sighting {
    /// The same, where its one VM has become the result of another record meanwhile.
    #[must_use]
    pub fn taken_by(self, other: &RecordName) -> Self {
        match self {
            Self::One(vm) | Self::OtherSize(vm) => {
                let vm = Vm {
                    result_of: Some(other.clone()),
                    ..vm
                };
                unclear(&vm, &anothers(other))
            }
            Self::None | Self::Unclear(..) | Self::Several(_) => self,
        }
    }
}

fn unclear(vm: &Vm, why: &str) -> Sighting {
    let why = Text::new(&format!("{} has the token, but {why}", vm.id));
    Sighting::Unclear(vm.clone(), why)
}

fn anothers(other: &RecordName) -> String {
    format!("it is the result of VpsOperation {other} already")
}

/// Looks for the VM that was bought under `token`. Whatever has the token, except the source, keeps
/// absence from being concluded; only a pay-as-you-go VM of the ordered size is evidence.
pub fn look_for(vms: &[Vm], token: &VmToken, source: &VpsId, ordered: Size) -> Sighting {
    // A VM that two pages show is one.
    let mut shown = BTreeSet::new();
    let bearers: Vec<&Vm> = vms
        .iter()
        .filter(|vm| token.is_borne_by(&vm.name) && vm.id != *source && shown.insert(&vm.id))
        .collect();
    match bearers.as_slice() {
        [] => Sighting::None,
        [only] => of_bearer(only, ordered),
        several => Sighting::Several(several.iter().map(|vm| vm.id.clone()).collect()),
    }
}

fn of_bearer(vm: &Vm, ordered: Size) -> Sighting {
    match (&vm.result_of, vm.size) {
        (Some(other), _) => unclear(vm, &anothers(other)),
        (None, _) if !vm.is_payg => unclear(vm, "is not shown as a pay-as-you-go VM"),
        (None, None) => unclear(vm, "its size is not shown"),
        (None, Some(size)) if size == ordered => Sighting::One(vm.clone()),
        (None, Some(_)) => Sighting::OtherSize(vm.clone()),
    }
}

/// A VM that no record accounts for, or one too many.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// A VM has the token of a purchase that is recorded as finished without it.
    WithoutRecord {
        /// The VM.
        vps: VpsId,
        /// The token it bears.
        token: String,
    },
    /// Several VMs bear one token.
    Twins {
        /// All of them.
        vps: Vec<VpsId>,
        /// The token they bear.
        token: String,
    },
}

/// Holds the list against the records: every VM that bears one of our tokens must have a record that
/// succeeded (or still may), and no two may bear the same one. `accounted` says of a token whether such a record
/// bears it; nothing if none does.
pub fn audit(vms: &[Vm], accounted: impl Fn(&VmToken) -> Option<bool>) -> Vec<Finding> {
    let mut bearers: BTreeMap<VmToken, (bool, Vec<VpsId>)> = BTreeMap::new();
    for vm in vms.iter().filter(|vm| vm.is_payg) {
        for token in VmToken::perhaps_borne_by(&vm.name) {
            if let Some(accounted) = accounted(&token) {
                let (_, bearers) = bearers.entry(token).or_insert((accounted, Vec::new()));
                bearers.push(vm.id.clone());
            }
        }
    }
    let findings = bearers.into_iter().filter_map(|(token, (accounted, bearers))| {
        let token = token.as_str().to_owned();
        match <[VpsId; 1]>::try_from(bearers) {
            Err(twins) => Some(Finding::Twins { vps: twins, token }),
            Ok([vps]) if !accounted => Some(Finding::WithoutRecord { vps, token }),
            Ok(_) => None,
        }
    });
    let mut findings: Vec<Finding> = findings.collect();
    findings.sort();
    findings
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::values::ids::InstanceId;

    pub(crate) const SIZE: Size = Size {
        cpu_cores: 2,
        memory_gb: 4,
        storage_gb: 80,
    };

    pub(crate) fn token() -> VmToken {
        VmToken::new(&InstanceId::new("cluster-1"), "shop", "restore-web-01")
    }

    pub(crate) fn vm(id: &str, name: String) -> Vm {
        Vm {
            id: VpsId::new(id),
            name,
            is_payg: true,
            size: Some(SIZE),
            primary_ip: Some(Text::new("192.0.2.10")),
            running: true,
            ended: None,
            result_of: None,
        }
    }

    fn ours(id: &str) -> Vm {
        vm(id, format!("web-01-{}", token().as_str()))
    }

    fn seen(vms: &[Vm]) -> Sighting {
        look_for(vms, &token(), &VpsId::new("vps_source"), SIZE)
    }

    #[test]
    fn exactly_one_vm_with_our_token_and_size_is_evidence() {
        assert_eq!(
            seen(&[vm("vps_1", "other".into()), ours("vps_2")]),
            Sighting::One(ours("vps_2"))
        );
    }

    #[test]
    fn the_source_and_a_longer_word_are_no_bearers() {
        let longer = vm("vps_3", format!("web-01-x{}", token().as_str()));
        assert_eq!(seen(&[ours("vps_source"), longer]), Sighting::None);
    }

    #[test]
    fn a_bearer_that_is_not_shown_whole_is_neither_evidence_nor_absence() {
        let fixed = Vm {
            is_payg: false,
            ..ours("vps_1")
        };
        let sizeless = Vm {
            size: None,
            ..ours("vps_1")
        };
        let anothers = Vm {
            result_of: Some(RecordName::new("shop.other-1".to_owned())),
            ..ours("vps_1")
        };
        for vm in [fixed, sizeless, anothers] {
            assert!(matches!(seen(&[vm]), Sighting::Unclear(..)));
        }
    }

    #[test]
    fn another_size_and_two_candidates_never_count_as_the_one() {
        let larger = Vm {
            size: Some(Size {
                storage_gb: 81,
                ..SIZE
            }),
            ..ours("vps_1")
        };
        assert_eq!(seen(std::slice::from_ref(&larger)), Sighting::OtherSize(larger));
        assert!(matches!(seen(&[ours("vps_1"), ours("vps_2")]), Sighting::Several(ids) if ids.len() == 2));
    }

    #[test]
    fn the_audit_names_twins_and_vms_that_no_succeeded_record_accounts_for() {
        let claimed = |accounted| move |asked: &VmToken| (*asked == token()).then_some(accounted);
        assert_eq!(audit(&[ours("vps_1")], claimed(true)), vec![]);
        assert!(matches!(
            audit(&[ours("vps_1")], claimed(false))[..],
            [Finding::WithoutRecord { .. }]
        ));
        assert!(matches!(
            audit(&[ours("vps_1"), ours("vps_2")], claimed(true))[..],
            [Finding::Twins { .. }]
        ));
        let fixed = Vm {
            is_payg: false,
            ..ours("vps_2")
        };
        let foreign = vm("vps_3", "web-01-aaaaaaaaaaaa".into());
        let twice = Vm {
            name: format!("{0}-{0}", token().as_str()),
            ..ours("vps_1")
        };
        assert_eq!(audit(&[twice, fixed, foreign], claimed(true)), vec![]);
    }

    proptest! {
        #[test]
        fn only_a_name_that_exactly_one_vps_has_names_it(names in prop::collection::vec("[ab ]{0,2}", 0..6), wanted in "[abA ]{0,2}") {
            let vms: Vec<Vm> = names.iter().enumerate().map(|(n, name)| Vm {
                id: VpsId::new(format!("vps_{n}")),
                name: name.clone(),
                is_payg: n % 2 == 0,
                size: None,
                primary_ip: None,
                running: false,
                ended: (n == 3).then(|| Text::new("terminated")),
                result_of: None,
            }).collect();
            let mut having = Vec::new();
            for vm in &vms {
                if vm.name == wanted && vm.ended.is_none() {
                    having.push(vm.id.clone());
                }
            }
            match named(&vms, &wanted) {
                Ok(id) => prop_assert_eq!(vec![id], having),
                Err(all) => {
                    prop_assert!(having.len() != 1);
                    prop_assert_eq!(all, having);
                }
            }
        }
    }
}
