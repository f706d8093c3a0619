//! A map from the name of a record to what is kept of it. In tests, it counts how many records are read.

use std::collections::BTreeMap;

use super::name::Name;

/// The records by name. Boxed: the nodes of a tree are half empty.
pub(super) struct Records<K> {
    kept: BTreeMap<Name, Box<K>>,
    #[cfg(test)]
    pub(super) looked_at: std::cell::Cell<usize>,
}

impl<K> Default for Records<K> {
    fn default() -> Self {
        Self {
            kept: BTreeMap::new(),
            #[cfg(test)]
            looked_at: std::cell::Cell::default(),
        }
    }
}

impl<K> Records<K> {
    pub(super) fn get(&self, name: &Name) -> Option<&K> {
        self.look();
        self.kept.get(name).map(|kept| &**kept)
    }

    pub(super) fn take(&mut self, name: &Name) -> Option<Box<K>> {
        self.look();
        self.kept.remove(name)
    }

    pub(super) fn put(&mut self, name: Name, kept: K) {
        self.look();
        self.kept.insert(name, Box::new(kept));
    }

    pub(super) fn between(
        &self,
        names: impl std::ops::RangeBounds<Name>,
    ) -> impl Iterator<Item = (&Name, &K)> {
        let kept = self.kept.range(names);
        kept.inspect(|_| self.look()).map(|(name, kept)| (name, &**kept))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &K> {
        self.between(..).map(|(_, kept)| kept)
    }

    pub(super) fn where_not(&self, stays: impl Fn(&K) -> bool) -> Vec<Name> {
        let gone = self.between(..).filter(|(_, kept)| !stays(kept));
        gone.map(|(name, _)| name.clone()).collect()
    }

    #[cfg(test)]
    fn look(&self) {
        self.looked_at.set(self.looked_at.get() + 1);
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    fn look(&self) {}
}
