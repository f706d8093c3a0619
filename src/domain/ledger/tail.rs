//! The search for the last record of a chain, one read at a time.

/// Where the search stands.
///
/// It begins at the highest attempt that is known of, for those below it may have been deleted, and walks up to the
/// first one that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    begin: u32,
    at: u32,
    last: Option<u32>,
}

/// Where a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The attempt of its last record.
    pub last: Option<u32>,
    /// The last attempt that is known to have been made, if nothing of the chain is found from there on.
    pub missing: Option<u32>,
}

impl Walk {
    /// From what the watch has `seen` and what the object's status has `named`.
    pub fn from(seen: Option<u32>, named: Option<u32>) -> Self {
        let begin = seen.max(named).unwrap_or(0);
        Self {
            begin,
            at: begin.max(1),
            last: None,
        }
    }

    /// The attempt whose record is read next.
    pub fn attempt(&self) -> u32 {
        self.at
    }

    /// Whether that record exists; the end, once it is found.
    pub fn read(&mut self, exists: bool) -> Option<End> {
        if exists {
            self.last = Some(self.at);
        } else if self.at > self.begin {
            let missing = (self.begin > 0 && self.last.is_none()).then_some(self.begin);
            return Some(End {
                last: self.last,
                missing,
            });
        }
        self.at = self.at.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_begins_at_the_highest_that_is_known_and_says_if_nothing_is_there_any_more() {
        for (seen, named, exist, last, missing) in [
            (None, None, &[][..], None, None),
            (None, None, &[1, 2], Some(2), None),
            (Some(1), None, &[1], Some(1), None),
            (Some(1), Some(2), &[2], Some(2), None),
            (Some(1), Some(2), &[2, 3], Some(3), None),
            (Some(2), Some(1), &[1], None, Some(2)),
            (None, Some(2), &[3], Some(3), None),
            (None, Some(2), &[4], None, Some(2)),
        ] {
            let mut walk = Walk::from(seen, named);
            let end = loop {
                let exists = exist.contains(&walk.attempt());
                if let Some(end) = walk.read(exists) {
                    break end;
                }
            };
            assert_eq!(end, End { last, missing }, "{seen:?} {named:?} {exist:?}");
        }
    }
}
