//! Which faults came, and where purchases stood when they did.

use std::collections::{BTreeMap, BTreeSet};

/// HostUp does not know the key of an account any more.
pub const KEY_REVOKED: &str = "hostup: key revoked";
/// The key may not read or order everything any more.
pub const RIGHT_LOST: &str = "hostup: key lost a right";
/// The account has nothing, by its list.
pub const SHOWS_NOTHING: &str = "hostup: account shows nothing";
/// Each answer is a 200 that says `success: false`.
pub const SAYS_NO: &str = "hostup: account says no";
/// What befalls accounts.
const TROUBLES: [&str; 4] = [KEY_REVOKED, RIGHT_LOST, SHOWS_NOTHING, SAYS_NO];

/// Every fault that there is.
pub const FAULTS: [&str; 41] = [
    "hostup: no connection",
    "hostup: request lost",
    "hostup: answer lost",
    "hostup: lands late",
    "hostup: slow",
    "hostup: silent",
    "hostup: executed, then silent",
    "hostup: 5xx",
    "hostup: executed, then 5xx",
    "hostup: garbled 200",
    "hostup: executed, then garbled 200",
    "hostup: foreign page",
    "hostup: executed, then foreign page",
    "hostup: 429",
    "hostup: refusal",
    "hostup: away",
    KEY_REVOKED,
    RIGHT_LOST,
    SHOWS_NOTHING,
    SAYS_NO,
    "api: slow",
    "api: request lost",
    "api: answer lost",
    "api: lands late",
    "api: 500",
    "api: 503",
    "api: 429",
    "api: 403",
    "api: 422",
    "api: silent",
    "api: foreign page",
    "watch: lags",
    "watch: breaks",
    "watch: 410",
    "watch: ends in its list",
    "etcd: compacted",
    "process: killed",
    "process: stopped",
    "process: stands still",
    "process: wrong clock",
    "process: clock set",
];

/// Where a purchase may stand: its object wants it and has no record yet, or as its record says.
pub const STANDINGS: [&str; 10] = [
    BEFORE_THE_CLAIM,
    "Sending",
    "Accepted",
    "Unknown",
    "Succeeded",
    "Failed",
    "NotSent",
    "Rejected",
    "NotExecuted",
    "Abandoned",
];

/// An object that has no record yet.
pub const BEFORE_THE_CLAIM: &str = "before claim";

/// The number of lives in which this fault surely meets a purchase in this state: ten times or more, by what 5,000 lives
/// showed. No pair is known to be out of reach. What is rare: HostUp ends one restore of ten badly, and a person gives up
/// one question of ten, both of which take most of a storm; few requests are paid calls, or writes to the API server; and
/// few accounts come into trouble.
fn met_in(fault: &str, standing: &str) -> u64 {
    let is_rare = matches!(
        fault,
        "hostup: refusal" | "api: answer lost" | "api: lands late" | "api: 422" | "process: clock set"
    ) || TROUBLES.contains(&fault);
    match (standing, is_rare) {
        ("Failed" | "Abandoned", true) => 1_000_000,
        ("Abandoned", false) | ("NotExecuted", true) => 100_000,
        ("Failed", false) => 20_000,
        _ => 5_000,
    }
}

/// How often each fault came, and how often while some purchase stood where.
#[derive(Debug, Clone, Default)]
pub struct Met {
    fired: BTreeMap<&'static str, u64>,
    cells: BTreeMap<(&'static str, &'static str), u64>,
}

impl Met {
    /// A fault came while purchases stood there.
    pub fn meets(&mut self, fault: &'static str, standings: &BTreeSet<&'static str>) {
        *self.fired.entry(fault).or_default() += 1;
        for standing in standings {
            *self.cells.entry((fault, standing)).or_default() += 1;
        }
    }

    /// And those of another life.
    pub fn add(&mut self, other: &Self) {
        for (fault, times) in &other.fired {
            *self.fired.entry(fault).or_default() += times;
        }
        for (cell, times) in &other.cells {
            *self.cells.entry(*cell).or_default() += times;
        }
    }

    /// The faults that came.
    pub fn faults(&self) -> impl Iterator<Item = &'static str> {
        self.fired.keys().copied()
    }

    /// The faults that did not come in so many lives and should have, and the purchases that they should have met.
    pub fn missed(&self, lives: u64) -> Vec<String> {
        let mut missed = Vec::new();
        for fault in FAULTS {
            let is_missed = |standing: &&&'static str| {
                lives >= met_in(fault, standing) && !self.cells.contains_key(&(fault, **standing))
            };
            for standing in STANDINGS.iter().filter(is_missed) {
                missed.push(format!("`{fault}` never came while a purchase was `{standing}`"));
            }
        }
        missed
    }

    /// How often each fault came, and of that, while some purchase stood where.
    pub fn table(&self) -> Vec<String> {
        let mut head = format!("{:<36} {:>9}", "fault", "came");
        for standing in STANDINGS {
            head.push_str(&format!(" {standing:>12}"));
        }
        let row = |fault: &&str| {
            let mut row = format!("{fault:<36} {:>9}", self.fired.get(fault).unwrap_or(&0));
            for standing in STANDINGS {
                let times = self.cells.get(&(*fault, standing)).unwrap_or(&0);
                row.push_str(&format!(" {times:>12}"));
            }
            row
        };
        std::iter::once(head).chain(FAULTS.iter().map(row)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_so_many_lives_should_have_met_is_missed_until_it_is_met() {
        let mut met = Met::default();
        assert_eq!(met.missed(4_999), Vec::<String>::new());
        assert_eq!(met.missed(5_000).len(), 319);
        assert_eq!(met.missed(1_000_000).len(), FAULTS.len() * STANDINGS.len());
        met.meets("api: 503", &BTreeSet::from(["Sending", "Failed"]));
        assert_eq!(met.missed(5_000).len(), 318);
        let named = "`api: 503` never came while a purchase was `Unknown`";
        assert!(met.missed(5_000).contains(&named.to_owned()));
    }
}
