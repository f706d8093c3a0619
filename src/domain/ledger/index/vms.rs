//! What the index knows of VMs and VPSs: which record bought or resized one, and what is under way for one.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::super::KeyPlace;
use super::super::about::result_mark;
use super::super::kept::Kept;
use super::super::name::{Chain, Mark, Name};
use super::{Given, Index};
use crate::values::ids::{RecordName, VpsId};

impl Index {
    /// The last record whose call changed or overwrote this VPS, or may have, of those that `counts` takes, and when it was
    /// made. One without a known end has changed nothing yet.
    pub fn last_for(
        &self,
        vps: &VpsId,
        counts: impl Fn(&RecordName) -> bool,
    ) -> Option<(RecordName, Timestamp)> {
        let wanted = result_mark(vps);
        let first = (wanted, i64::MIN, Name::Attempt(Chain::FIRST, 0));
        let of_vps = self.drove.range(first..).take_while(|(vps, ..)| *vps == wanted);
        let ended = of_vps.filter(|(_, _, name)| !self.open.contains_key(name));
        // One without a time was made as late as can be.
        let made = |made: i64| Timestamp::from_second(made).unwrap_or(Timestamp::MAX);
        let records = ended.map(|(_, at, name)| (name.record(), made(*at)));
        records.filter(|(name, _)| counts(name)).last()
    }

    /// A record of this installation whose call changes or overwrites this VPS, and has no known end yet.
    pub fn under_way_for(&self, vps: &VpsId) -> Option<RecordName> {
        let wanted = result_mark(vps);
        let first = (wanted, Name::Attempt(Chain::FIRST, 0));
        let mut open = self.driven.range(first..).take_while(|(vps, _)| *vps == wanted);
        let shown = open.next().map(|(_, name)| name);
        shown
            .or_else(|| self.window.unshown_for(wanted).next())
            .map(Name::record)
    }

    /// The records that a VM was bought or resized with.
    fn about_vm(&self, vm: Mark) -> impl Iterator<Item = &Name> {
        let first = (vm, Name::Attempt(Chain::FIRST, 0));
        let (bought, resized) = (self.results.range(first.clone()..), self.resized.range(first..));
        let of_vm = move |(other, _): &&(Mark, Name)| *other == vm;
        let all = bought.take_while(of_vm).chain(resized.take_while(of_vm));
        all.map(|(_, name)| name)
    }

    /// Several records may be about one VM: it stays while one of them has it.
    pub(super) fn no_longer_provided(&mut self, key: &Arc<KeyPlace>, vps: Mark) {
        let of_key = |name| {
            let provided = self.records.get(name).and_then(Kept::provided);
            provided.is_some_and(|(other, _)| other == key)
        };
        if self.about_vm(vps).any(of_key) {
            return;
        }
        if let Some(vms) = self.provided.get_mut(key) {
            vms.remove(&vps);
            if vms.is_empty() {
                self.provided.remove(key);
            }
        }
    }

    /// The record of this installation whose result this VM is, if there is one beside `but`.
    pub fn result_of(&self, vps: &VpsId, but: Option<&RecordName>) -> Option<RecordName> {
        let (wanted, but) = (result_mark(vps), but.map(Name::of));
        let first = (wanted, Name::Attempt(Chain::FIRST, 0));
        let records = self.results.range(first..).take_while(|(vps, _)| *vps == wanted);
        let mut others = records
            .map(|(_, name)| name)
            .filter(|name| Some(*name) != but.as_ref());
        others.next().map(Name::record)
    }

    /// The keys with which VMs were bought that HostUp provides, as far as is known.
    pub fn keys_of_vms(&self) -> Vec<Arc<KeyPlace>> {
        self.provided.keys().cloned().collect()
    }

    /// The records whose VM, bought with this key, is none of those that HostUp shows as `provided`.
    pub fn without_their_vm<'a>(
        &self,
        key: &KeyPlace,
        provided: impl Iterator<Item = &'a VpsId>,
    ) -> Vec<RecordName> {
        let Some(bought) = self.provided.get(key) else {
            return Vec::new();
        };
        let shown: BTreeSet<Mark> = provided.map(result_mark).collect();
        let missing = bought.difference(&shown).flat_map(|vps| self.about_vm(*vps));
        let is_of_key = |name: &Name| {
            let bought = self.records.get(name).and_then(Kept::provided);
            bought.is_some_and(|(other, _)| **other == *key)
        };
        let missing = missing.filter(|name| is_of_key(name));
        missing.map(Name::record).collect()
    }

    /// Keeps a VM for the record that is about to say, over this version of it, that it is its result.
    ///
    /// # Errors
    /// The other record whose result it is, or that it is kept for.
    pub fn give(&mut self, vps: &VpsId, name: &RecordName, over: &str) -> Result<(), RecordName> {
        let (wanted, own) = (result_mark(vps), Name::of(name));
        // What was to be written over another version is not written any more, or stands: then the watch shows it.
        let is_old = |given: &Given| given.over != over && given.vps != wanted;
        if self.given.get(&own).is_some_and(is_old) {
            self.given.remove(&own);
        }
        if let Some(other) = self.result_of(vps, Some(name)) {
            return Err(other);
        }
        let mut given = self.given.iter().filter(|(_, given)| given.vps == wanted);
        if let Some((other, _)) = given.find(|(other, _)| **other != own) {
            return Err(other.record());
        }
        let over = over.to_owned();
        self.given.insert(own, Given { vps: wanted, over });
        Ok(())
    }

    /// The record has become this version without a result: what was to be written over an older one is not written
    /// any more.
    pub fn take_back(&mut self, name: &RecordName, version: &str) {
        let name = Name::of(name);
        if self.given.get(&name).is_some_and(|given| given.over != version) {
            self.given.remove(&name);
        }
    }
}
