//! The paid calls of the last 24 hours, counted as they come and as they grow old.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Amounts;
use super::name::{Mark, Name};
use crate::consent::price::Price;
use crate::ledger::chain::Cap;
use crate::ledger::record::later;
use crate::values::ids::Holder;
use crate::values::money::Currency;

/// The window of `--max-paid-calls`.
const LASTS: Duration = Duration::from_secs(24 * 60 * 60);
/// The wall clock may be set back by so many seconds, and all that may count again is still at hand.
const SLACK: i64 = 60 * 60;

/// The caps on the paid calls of 24 hours; `None` is no cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// `--max-paid-calls`.
    pub all: Option<u32>,
    /// `--max-paid-calls-per-namespace`.
    pub of_namespace: Option<u32>,
}

/// How many paid calls were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaidCalls {
    /// Those that count against the cap of all.
    pub all: u32,
    /// Those that count against the share of one namespace.
    pub of_namespace: u32,
}

impl PaidCalls {
    const ONE: Self = Self {
        all: 1,
        of_namespace: 1,
    };

    fn add(&mut self, other: Self) {
        self.all = self.all.saturating_add(other.all);
        self.of_namespace = self.of_namespace.saturating_add(other.of_namespace);
    }

    fn take(&mut self, other: Self) {
        self.all = self.all.saturating_sub(other.all);
        self.of_namespace = self.of_namespace.saturating_sub(other.of_namespace);
    }

    /// These and one more, of the namespace.
    #[must_use]
    pub fn with_one_more(mut self) -> Self {
        self.add(Self::ONE);
        self
    }

    /// The cap that is used up, if one is.
    pub fn reaches(self, caps: Caps) -> Option<Cap> {
        let all = caps.all.filter(|cap| self.all >= *cap).map(Cap::All);
        let own = caps.of_namespace.filter(|cap| self.of_namespace >= *cap);
        all.or(own.map(Cap::OfNamespace))
    }
}

/// Whose share of the paid calls a record counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Nobody's: nothing was sent.
    Nobodys,
    /// Its own namespace's: it was refused, or nobody had to approve it.
    Own,
    /// Everyone's.
    Everyones,
}

/// A record as it counts.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// When it was made, in seconds, by the API server's clock: the claimer's may be wrong.
    pub(super) made: i64,
    /// Its namespace, where it can be read.
    pub(super) namespace: Option<&'a Arc<str>>,
    /// Whose share it takes.
    pub(super) weight: Weight,
}

impl Call<'_> {
    fn counts(&self) -> PaidCalls {
        let counts = |yes| u32::from(yes);
        PaidCalls {
            all: counts(self.weight == Weight::Everyones),
            of_namespace: counts(self.weight != Weight::Nobodys && self.namespace.is_some()),
        }
    }
}

/// The price of a call that this process is about to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pledge {
    /// The currency, as the record will name it.
    pub currency: String,
    /// The amounts.
    pub price: Amounts,
}

impl Pledge {
    /// For a price.
    pub fn of(price: &Price) -> Self {
        let currency = price.currency().map(Currency::as_str);
        Self {
            currency: currency.unwrap_or_default().to_owned(),
            price: Amounts::from(price),
        }
    }
}

/// A claim of this process.
pub(super) struct Claimed {
    /// Which one of that name.
    pub(super) holder: Holder,
    /// The namespace of its object.
    pub(super) namespace: Arc<str>,
    /// When it was made.
    pub(super) at: Timestamp,
    /// What its price takes of the budgets.
    pub(super) pledge: Option<Pledge>,
    /// The VPS that the call changes or overwrites.
    pub(super) drives: Option<Mark>,
    /// Whether a record shows it.
    pub(super) shown: Shown,
}

impl Claimed {
    fn is_unshown(&self) -> bool {
        self.shown != Shown::Now
    }
}

/// Whether a record shows a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// No record has shown it so far.
    NotYet,
    /// A record shows it.
    Now,
    /// Its record is gone.
    NoMore,
}

/// The calls of one second, by namespace.
type Second = Vec<(Option<Arc<str>>, PaidCalls)>;

/// The paid calls that the records show, and those that this process has claimed.
pub(super) struct Window {
    /// What was made by then is not at hand.
    floor: i64,
    /// What was made by then does not count.
    cutoff: i64,
    /// By the second.
    calls: BTreeMap<i64, Second>,
    counted: Counted,
    /// Oldest first; a name may be used again.
    claims: HashMap<Name, Vec<Claimed>>,
    claims_by_time: BTreeSet<(Timestamp, Name)>,
    /// The names of which a claim is shown by no record: not yet, or not any more.
    unshown: BTreeSet<Name>,
}

#[derive(Default)]
struct Counted {
    all: u32,
    of_namespace: HashMap<Arc<str>, u32>,
}

impl Counted {
    fn add(&mut self, namespace: Option<&Arc<str>>, calls: PaidCalls) {
        self.all = self.all.saturating_add(calls.all);
        if let (Some(namespace), 1..) = (namespace, calls.of_namespace) {
            let counted = self.of_namespace.entry(namespace.clone()).or_default();
            *counted = counted.saturating_add(calls.of_namespace);
        }
    }

    fn take(&mut self, namespace: Option<&Arc<str>>, calls: PaidCalls) {
        self.all = self.all.saturating_sub(calls.all);
        let Some(namespace) = namespace else { return };
        if let Some(counted) = self.of_namespace.get_mut(namespace) {
            *counted = counted.saturating_sub(calls.of_namespace);
            if *counted == 0 {
                self.of_namespace.remove(namespace);
            }
        }
    }
}

impl Window {
    /// Of a ledger that is asked from `now` on.
    pub(super) fn new(now: Timestamp) -> Self {
        let cutoff = cutoff(now);
        Self {
            floor: cutoff.saturating_sub(SLACK),
            cutoff,
            calls: BTreeMap::new(),
            counted: Counted::default(),
            claims: HashMap::new(),
            claims_by_time: BTreeSet::new(),
            unshown: BTreeSet::new(),
        }
    }

    /// A record stands.
    pub(super) fn add(&mut self, call: Call<'_>) {
        let counts = call.counts();
        if call.made <= self.floor || counts == PaidCalls::default() {
            return;
        }
        let second = self.calls.entry(call.made).or_default();
        match second.iter_mut().find(|(of, _)| of.as_ref() == call.namespace) {
            Some((_, calls)) => calls.add(counts),
            None => second.push((call.namespace.cloned(), counts)),
        }
        if call.made > self.cutoff {
            self.counted.add(call.namespace, counts);
        }
    }

    /// It stands no more.
    pub(super) fn take(&mut self, call: Call<'_>) {
        let counts = call.counts();
        if let Some(second) = self.calls.get_mut(&call.made) {
            for (_, calls) in second.iter_mut().filter(|(of, _)| of.as_ref() == call.namespace) {
                calls.take(counts);
            }
            second.retain(|(_, calls)| *calls != PaidCalls::default());
            if second.is_empty() {
                self.calls.remove(&call.made);
            }
            if call.made > self.cutoff {
                self.counted.take(call.namespace, counts);
            }
        }
    }

    /// Counts the 24 hours before `now`. `false` where the clock was set back too far: then the window must be
    /// [begun anew](Self::begin_anew), and given all records again.
    pub(super) fn reaches_to(&mut self, now: Timestamp) -> bool {
        let cutoff = cutoff(now);
        if cutoff < self.floor {
            return false;
        }
        let (calls, counted) = (&self.calls, &mut self.counted);
        let between = |from: i64, to: i64| {
            let seconds = (from < to).then(|| calls.range(from.saturating_add(1)..=to));
            seconds.into_iter().flatten().flat_map(|(_, second)| second)
        };
        for (namespace, calls) in between(self.cutoff, cutoff) {
            counted.take(namespace.as_ref(), *calls);
        }
        for (namespace, calls) in between(cutoff, self.cutoff) {
            counted.add(namespace.as_ref(), *calls);
        }
        self.cutoff = cutoff;
        self.floor = self.floor.max(cutoff.saturating_sub(SLACK));
        while let Some(oldest) = self
            .calls
            .first_entry()
            .filter(|oldest| *oldest.key() <= self.floor)
        {
            oldest.remove();
        }
        true
    }

    /// Forgets the records, but not the claims.
    pub(super) fn begin_anew(&mut self, now: Timestamp) {
        self.cutoff = cutoff(now);
        self.floor = self.cutoff.saturating_sub(SLACK);
        self.calls.clear();
        self.counted = Counted::default();
    }

    /// The calls in all, and of one namespace. What this process has claimed counts before a record shows it, and
    /// after somebody has deleted that.
    pub(super) fn paid_calls(&self, namespace: &str, now: Timestamp) -> PaidCalls {
        let mut paid = PaidCalls {
            all: self.counted.all,
            of_namespace: self
                .counted
                .of_namespace
                .get(namespace)
                .copied()
                .unwrap_or_default(),
        };
        for claimed in self.unshown_at(now) {
            let counts = PaidCalls::ONE;
            paid.add(PaidCalls {
                of_namespace: u32::from(*claimed.namespace == *namespace),
                ..counts
            });
        }
        paid
    }

    /// What the claims of this process pledge that no record shows, each with its namespace.
    pub(super) fn pledges(&self, now: Timestamp) -> impl Iterator<Item = (&str, &Pledge)> {
        self.unshown_at(now)
            .filter_map(|claimed| Some((&*claimed.namespace, claimed.pledge.as_ref()?)))
    }

    /// The claims of this process for calls that change or overwrite this VPS, and that no record shows.
    pub(super) fn unshown_for(&self, vps: Mark) -> impl Iterator<Item = &Name> {
        let drives = move |claimed: &Claimed| claimed.is_unshown() && claimed.drives == Some(vps);
        let names = self.unshown.iter();
        names.filter(move |name| {
            self.claims
                .get(*name)
                .is_some_and(|claims| claims.iter().any(drives))
        })
    }

    fn unshown_at(&self, now: Timestamp) -> impl Iterator<Item = &Claimed> {
        let claims = self.unshown.iter().filter_map(|name| self.claims.get(name));
        let counts = move |claimed: &&Claimed| claimed.is_unshown() && later(claimed.at, LASTS) > now;
        claims.flatten().filter(counts)
    }

    /// Whether this process has claimed this name, and nothing has shown yet what became of that.
    pub(super) fn is_claiming(&self, name: &Name) -> bool {
        let last = self.claims.get(name).and_then(|claims| claims.last());
        last.is_some_and(|last| last.shown == Shown::NotYet)
    }

    /// This process claims. Its earlier claims of that name go on counting: somebody has deleted their records.
    pub(super) fn claim(&mut self, name: Name, claimed: Claimed) {
        self.claims_by_time.insert((claimed.at, name.clone()));
        self.unshown.insert(name.clone());
        self.claims.entry(name).or_default().push(claimed);
    }

    /// Its record is finished: should somebody delete that, no budget is held for it.
    pub(super) fn is_accounted(&mut self, name: &Name) {
        if let Some(last) = self.last(name) {
            last.pledge = None;
        }
    }

    /// Its record has a known end, or is gone: nothing is under way for its VPS.
    pub(super) fn has_ended(&mut self, name: &Name) {
        if let Some(last) = self.last(name) {
            last.drives = None;
            if last.shown == Shown::NotYet {
                last.shown = Shown::NoMore;
            }
        }
    }

    fn last(&mut self, name: &Name) -> Option<&mut Claimed> {
        self.claims.get_mut(name).and_then(|claims| claims.last_mut())
    }

    /// Nothing was sent for a claim.
    pub(super) fn give_up(&mut self, name: &Name, holder: &Holder) {
        self.retain(name, |claimed| claimed.holder != *holder);
    }

    fn retain(&mut self, name: &Name, keeps: impl Fn(&Claimed) -> bool) {
        let Some(claims) = self.claims.get_mut(name) else {
            return;
        };
        for gone in claims.extract_if(.., |claimed| !keeps(claimed)) {
            self.claims_by_time.remove(&(gone.at, name.clone()));
        }
        self.claims_by_time
            .extend(claims.iter().map(|claimed| (claimed.at, name.clone())));
        if claims.is_empty() {
            self.claims.remove(name);
        }
        self.note_unshown(name);
    }

    /// Notes whether a claim of that name is shown by no record.
    fn note_unshown(&mut self, name: &Name) {
        let mut claims = self.claims.get(name).into_iter().flatten();
        if claims.any(Claimed::is_unshown) {
            self.unshown.insert(name.clone());
        } else {
            self.unshown.remove(name);
        }
    }

    /// Forgets the claims that count no more.
    pub(super) fn forget_claims(&mut self, now: Timestamp) {
        while let Some((at, name)) = self.claims_by_time.first().cloned() {
            if later(at, LASTS) > now {
                break;
            }
            self.retain(&name, |claimed| later(claimed.at, LASTS) > now);
        }
    }

    /// Whether a record of that name is there: that of the last claim.
    pub(super) fn shows(&mut self, name: &Name, is_shown: bool) {
        let Some(last) = self.last(name) else { return };
        last.shown = match last.shown {
            _ if is_shown => Shown::Now,
            Shown::NotYet => Shown::NotYet,
            Shown::Now | Shown::NoMore => Shown::NoMore,
        };
        self.note_unshown(name);
    }
}

/// The last second that does not count.
fn cutoff(now: Timestamp) -> i64 {
    let lasts = i64::try_from(LASTS.as_secs()).unwrap_or(i64::MAX);
    now.as_second().saturating_sub(lasts)
}
