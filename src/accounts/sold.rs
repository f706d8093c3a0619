//! What this process has ordered with a key: HostUp's limits that were read before do not show it.

use super::desk::LASTS;
use crate::domain::provider::preflight::Remaining;
use crate::domain::values::moment::Moment;

/// The orders of a key, for as long as a reading may be older than they are.
#[derive(Default)]
pub struct Sold(Vec<(Moment, Remaining)>);

impl Sold {
    /// This much is ordered, if `limits`, read from that moment on, leave room for it.
    pub fn sell(&mut self, taken: Remaining, limits: Option<(Remaining, Moment)>, now: Moment) -> bool {
        let fits = limits.is_none_or(|(limits, began)| self.left(limits, &began).has(taken));
        if fits {
            self.0.retain(|(at, _)| now.since(at) <= LASTS * 2);
            self.0.push((now, taken));
        }
        fits
    }

    /// It was not ordered after all.
    pub fn unsell(&mut self, taken: Remaining) {
        if let Some(at) = self.0.iter().rposition(|(_, sold)| *sold == taken) {
            self.0.remove(at);
        }
    }

    /// What is left of limits that were read from `began` on.
    pub fn left(&self, limits: Remaining, began: &Moment) -> Remaining {
        let since = self.0.iter().filter(|(at, _)| at.with_sleep >= began.with_sleep);
        since.fold(limits, |left, (_, taken)| left.without(*taken))
    }
}
