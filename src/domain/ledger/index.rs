//! Every record in little room, and what is asked of all of them, kept up by each event.

mod vms;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::about::{About, result_mark, secret_mark, subject_mark};
use super::budget::{Budget, Expense, Limit, Position};
use super::figures::Figures;
use super::kept::{Evident, Hold, Kept};
use super::money::{Account, Amounts, Fund, Measure, Price};
use super::name::{Chain, Mark, Name, TokenKey, token_key};
use super::records::Records;
use super::window::{Claimed, Pledge, Shown, Window};
use super::{Content, Entry, KeyPlace, PaidCalls, Purse};
use crate::ledger::names::{ChainKey, VmToken};
use crate::ledger::order::TRIES_LAST;
use crate::ledger::record::{Evidence, State, later};
use crate::values::ids::{Holder, InstanceId, RecordName, Subject, VpsId};
use crate::values::money::{Amount, Total};

/// A record that the API server did not date counts as new for ever.
const UNDATED: i64 = i64::MAX;

/// What is known of all records by the watch.
pub struct Index {
    instance: InstanceId,
    records: Records<Kept>,
    /// The list that is under way, or was last.
    list: u32,
    tokens: BTreeMap<TokenKey, Bearers>,
    /// The record that each VM was bought with.
    results: BTreeSet<(Mark, Name)>,
    /// The records that changed the size of a VM.
    resized: BTreeSet<(Mark, Name)>,
    /// The records whose call changed or overwrote a VPS, or may have, each with the time when it was made.
    drove: BTreeSet<(Mark, i64, Name)>,
    /// The records without a known end whose call changes or overwrites a VPS.
    driven: BTreeSet<(Mark, Name)>,
    /// The VMs that HostUp provides as far as is known, by the key that they were bought with.
    provided: BTreeMap<Arc<KeyPlace>, BTreeSet<Mark>>,
    /// Results that this process is about to write to records, or that the watch does not show yet.
    given: BTreeMap<Name, Given>,
    holds: BTreeMap<(Mark, Timestamp), u32>,
    purses: Purses,
    /// Of the records of other installations. A budget counts them too.
    purses_of_others: Purses,
    /// When the unfinished ones were claimed.
    open: BTreeMap<Name, Open>,
    window: Window,
    states: HashMap<State, usize>,
    unreadable: BTreeSet<Name>,
    asking: usize,
    left_billing: usize,
}

type Purses = BTreeMap<Arc<Purse>, Account>;

/// A result that is about to be written over a version of its record.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    vps: Mark,
    over: String,
}

/// What is kept of a record only while it has no known end.
#[derive(Default)]
struct Open {
    claimed: Option<Timestamp>,
    /// The VPS that its call changes or overwrites.
    drives: Option<Mark>,
}

/// The records that bear one token.
#[derive(Default)]
struct Bearers {
    records: u32,
    accounted: u32,
}

impl Index {
    /// Of this installation, begun at `now` without any record.
    pub fn new(instance: InstanceId, now: Timestamp) -> Self {
        Self {
            instance,
            records: Records::default(),
            list: 0,
            tokens: BTreeMap::new(),
            results: BTreeSet::new(),
            resized: BTreeSet::new(),
            drove: BTreeSet::new(),
            driven: BTreeSet::new(),
            provided: BTreeMap::new(),
            given: BTreeMap::new(),
            holds: BTreeMap::new(),
            purses: Purses::new(),
            purses_of_others: Purses::new(),
            open: BTreeMap::new(),
            window: Window::new(now),
            states: HashMap::new(),
            unreadable: BTreeSet::new(),
            asking: 0,
            left_billing: 0,
        }
    }

    /// A list begins. What it does not show is forgotten only when it has ended; until then both are there.
    pub fn list_begins(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// The list has ended: a record is gone that neither it nor a change since it began has shown.
    pub fn list_ended(&mut self) {
        let list = self.list;
        for name in self.records.where_not(|kept| kept.list == list) {
            self.drop_out(&name);
        }
        let records = &self.records;
        self.given.retain(|name, _| records.get(name).is_some());
    }

    /// A record stands like this. Whether that is news.
    pub fn show(&mut self, entry: Entry) -> bool {
        let name = Name::of(&entry.name);
        let ended = entry
            .content
            .as_ref()
            .is_none_or(|content| content.state.is_final());
        if ended {
            self.given.remove(&name);
        }
        let before = self.records.take(&name);
        if let Some(before) = &before {
            self.count_out(&name, before);
        }
        let mut kept = self.kept(entry.made, entry.content.as_ref());
        let open = entry.content.map_or_else(Open::default, |content| Open {
            claimed: content.claimed,
            drives: content.drives.as_ref().map(result_mark),
        });
        let is_news = before.is_none_or(|before| {
            kept.list = before.list;
            *before != kept
        });
        kept.list = self.list;
        self.count_in(&name, &kept, open);
        self.records.put(name, kept);
        is_news
    }

    /// Whether there is a record of this name that the API server made later than at this time. What a watch shows of the
    /// one that was made then comes late: somebody has deleted it.
    pub fn has_a_later(&self, name: &RecordName, made: Timestamp) -> bool {
        let kept = self.records.get(&Name::of(name));
        kept.is_some_and(|kept| kept.made != UNDATED && kept.made > made.as_second())
    }

    /// A record is gone.
    pub fn remove(&mut self, name: &RecordName) {
        self.drop_out(&Name::of(name));
    }

    fn drop_out(&mut self, name: &Name) {
        self.given.remove(name);
        self.window.has_ended(name);
        if let Some(kept) = self.records.take(name) {
            self.count_out(name, &kept);
        }
    }

    fn kept(&self, made: Option<Timestamp>, content: Option<&Content>) -> Kept {
        let made = made.map_or(UNDATED, Timestamp::as_second);
        let Some(content) = content else {
            return Kept {
                made,
                purse: None,
                price: Price::Unsaid,
                about: About::Nothing,
                hold: None,
                token: None,
                key: None,
                has_vm: false,
                has_ended: false,
                state: None,
                evidence: Evident::Nothing,
                ours: true,
                list: self.list,
            };
        };
        let ours = content.instance == self.instance;
        let mut kept = Kept {
            made,
            purse: Some(self.purse(content, ours)),
            price: Price::Unsaid,
            about: About::of(content, ours),
            hold: content.not_before.map(|until| {
                let KeyPlace {
                    namespace, secret, ..
                } = &content.key;
                let secret = secret_mark(namespace, secret);
                Box::new(Hold { secret, until })
            }),
            token: content.token.as_ref().and_then(token_key),
            key: content
                .result
                .as_ref()
                .or(content.resized.as_ref())
                .filter(|_| ours && !content.has_ended)
                .map(|_| self.key(&content.key)),
            has_vm: content.result.is_some(),
            has_ended: content.has_ended,
            state: Some(content.state),
            evidence: match content.evidence {
                None => Evident::Nothing,
                Some(Evidence::FoundBeforeClaim) => Evident::FoundBeforeClaim,
                Some(_) => Evident::Something,
            },
            ours,
            list: self.list,
        };
        if kept.fund() != Fund::Unspent {
            kept.price = Price::new(content.price);
        }
        kept
    }

    /// One for all records of it.
    fn purse(&self, content: &Content, ours: bool) -> Arc<Purse> {
        let purse = Purse {
            namespace: content.namespace.as_str().into(),
            currency: content.currency.clone(),
        };
        let purses = if ours {
            &self.purses
        } else {
            &self.purses_of_others
        };
        let known = purses.get_key_value(&purse).map(|(known, _)| known.clone());
        known.unwrap_or_else(|| Arc::new(purse))
    }

    fn purses_of(&mut self, kept: &Kept) -> &mut Purses {
        if kept.ours {
            &mut self.purses
        } else {
            &mut self.purses_of_others
        }
    }

    /// One for all records that were bought with it.
    fn key(&self, place: &KeyPlace) -> Arc<KeyPlace> {
        let known = self.provided.get_key_value(place).map(|(known, _)| known.clone());
        known.unwrap_or_else(|| Arc::new(place.clone()))
    }

    fn count_in(&mut self, name: &Name, kept: &Kept, open: Open) {
        if let Some(token) = kept.token {
            let bearers = self.tokens.entry(token).or_default();
            bearers.records = bearers.records.saturating_add(1);
            bearers.accounted = bearers
                .accounted
                .saturating_add(u32::from(kept.accounts_for_a_vm()));
        }
        if let Some(hold) = &kept.hold {
            *self.holds.entry((hold.secret, hold.until)).or_default() += 1;
        }
        self.window.shows(name, kept.ours);
        if kept.ours && kept.state.is_some_and(State::is_final) {
            self.window.has_ended(name);
            self.window.is_accounted(name);
        }
        if let Some(purse) = &kept.purse {
            let account = self.purses_of(kept).entry(purse.clone()).or_default();
            account.add(kept.fund(), &kept.price, kept.made);
        }
        if kept.state.is_some_and(|state| !state.is_final()) {
            self.driven.extend(open.drives.map(|vps| (vps, name.clone())));
            self.open.insert(name.clone(), open);
        }
        if !kept.ours {
            return;
        }
        if let Some(result) = kept.about.result() {
            self.results.insert((result, name.clone()));
        }
        if let Some(vm) = kept.about.resized() {
            self.resized.insert((vm, name.clone()));
        }
        if let Some(vps) = kept.about.drove() {
            self.drove.insert((vps, kept.made, name.clone()));
        }
        if let Some((key, vps)) = kept.provided() {
            self.provided.entry(key.clone()).or_default().insert(vps);
        }
        self.window.add(kept.call());
        match kept.state {
            Some(state) => *self.states.entry(state).or_default() += 1,
            None => drop(self.unreadable.insert(name.clone())),
        }
        self.asking += usize::from(kept.asks());
        self.left_billing += usize::from(kept.left_a_vm_billing());
    }

    fn count_out(&mut self, name: &Name, kept: &Kept) {
        if let Some(token) = kept.token
            && let Some(bearers) = self.tokens.get_mut(&token)
        {
            bearers.records = bearers.records.saturating_sub(1);
            bearers.accounted = bearers
                .accounted
                .saturating_sub(u32::from(kept.accounts_for_a_vm()));
            if bearers.records == 0 {
                self.tokens.remove(&token);
            }
        }
        if let Some(hold) = &kept.hold {
            let key = (hold.secret, hold.until);
            if let Some(records) = self.holds.get_mut(&key) {
                *records = records.saturating_sub(1);
                if *records == 0 {
                    self.holds.remove(&key);
                }
            }
        }
        self.window.shows(name, false);
        let purses = self.purses_of(kept);
        if let Some(purse) = &kept.purse
            && let Some(account) = purses.get_mut(purse)
        {
            account.take(kept.fund(), &kept.price, kept.made);
            if account.is_closed() {
                purses.remove(purse);
            }
        }
        if let Some(Open {
            drives: Some(vps), ..
        }) = self.open.remove(name)
        {
            self.driven.remove(&(vps, name.clone()));
        }
        if !kept.ours {
            return;
        }
        if let Some(result) = kept.about.result() {
            self.results.remove(&(result, name.clone()));
        }
        if let Some(vm) = kept.about.resized() {
            self.resized.remove(&(vm, name.clone()));
        }
        if let Some(vps) = kept.about.drove() {
            self.drove.remove(&(vps, kept.made, name.clone()));
        }
        if let Some((key, vps)) = kept.provided() {
            self.no_longer_provided(key, vps);
        }
        self.window.take(kept.call());
        match kept.state {
            Some(state) => {
                let tally = self.states.entry(state).or_default();
                *tally = tally.saturating_sub(1);
            }
            None => drop(self.unreadable.remove(name)),
        }
        self.asking = self.asking.saturating_sub(usize::from(kept.asks()));
        self.left_billing = self
            .left_billing
            .saturating_sub(usize::from(kept.left_a_vm_billing()));
    }

    /// The highest attempt of a chain.
    pub fn last_attempt(&self, key: &ChainKey) -> Option<u32> {
        self.attempts(key).map(|(attempt, _)| attempt).max()
    }

    /// When the attempts of a chain were made that came to nothing for an object of this name, by attempt; not longer
    /// ago than they count.
    pub fn came_to_nothing(
        &self,
        key: &ChainKey,
        subject: &Subject,
        now: Timestamp,
    ) -> BTreeMap<u32, Timestamp> {
        let wanted = subject_mark(subject.kind.as_str(), &subject.namespace, &subject.name);
        let attempts = self.attempts(key).filter_map(|(attempt, kept)| {
            let made = Timestamp::from_second(kept.made).ok()?;
            let counts = kept.about.came_to_nothing_for() == Some(wanted) && now < later(made, TRIES_LAST);
            counts.then_some((attempt, made))
        });
        attempts.collect()
    }

    /// The latest moment before which no paid call may leave with this Secret's key, among those until `latest`.
    pub fn not_before(&self, namespace: &str, secret: &str, latest: Timestamp) -> Option<Timestamp> {
        let secret = secret_mark(namespace, secret);
        let holds = (secret, Timestamp::MIN)..=(secret, latest);
        let ((_, until), _) = self.holds.range(holds).next_back()?;
        Some(*until)
    }

    /// Whether a record that has the token has succeeded or may still succeed; `None` if no record has it.
    pub fn accounted(&self, token: &VmToken) -> Option<bool> {
        let bearers = self.tokens.get(&token_key(token)?)?;
        Some(bearers.accounted > 0)
    }

    /// Whether the record is there, and nothing changes it any more.
    pub fn is_finished(&self, name: &RecordName) -> bool {
        let kept = self.records.get(&Name::of(name));
        kept.and_then(|kept| kept.state).is_some_and(State::is_final)
    }

    /// Takes one of the paid calls of the last 24 hours for an object of `namespace`, and what its price takes of the
    /// budgets, if those before leave room for it. What this process has claimed counts before the watch shows it. A name
    /// that is taken is not claimed: only one of two claims of a name can be created.
    pub fn reserve(
        &mut self,
        (name, holder): (&RecordName, &Holder),
        namespace: &str,
        (pledge, drives): (Option<Pledge>, Option<&VpsId>),
        now: Timestamp,
        leave_room: impl FnOnce(&Self, PaidCalls) -> bool,
    ) -> bool {
        let name = Name::of(name);
        self.window.forget_claims(now);
        let paid = self.paid_calls(namespace, now);
        let is_busy = drives.is_some_and(|vps| self.under_way_for(vps).is_some());
        let is_taken = self.window.is_claiming(&name) || self.records.get(&name).is_some();
        if is_taken || is_busy || !leave_room(self, paid) {
            return false;
        }
        let claimed = Claimed {
            holder: holder.clone(),
            namespace: namespace.into(),
            at: now,
            pledge,
            drives: drives.map(result_mark),
            shown: Shown::NotYet,
        };
        self.window.claim(name, claimed);
        true
    }

    /// The end of a record is known, or that it is gone: a claim of this process keeps nothing from its VPS any more, even
    /// if nothing ever shows that end.
    pub fn has_ended(&mut self, name: &RecordName) {
        self.window.has_ended(&Name::of(name));
    }

    /// The namespaces for which money of these currencies was spent, or may still be.
    pub fn spenders(&self, currencies: &BTreeSet<&str>, now: Timestamp) -> BTreeSet<Arc<str>> {
        let is_one = |currency: &str| currencies.contains(currency);
        let all = self.purses.iter().chain(&self.purses_of_others);
        let spent = all.filter(|(purse, account)| is_one(&purse.currency) && !account.is_empty());
        let spent = spent.map(|(purse, _)| purse.namespace.clone());
        let pledged = self
            .window
            .pledges(now)
            .filter(|(_, pledge)| is_one(&pledge.currency));
        spent
            .chain(pledged.map(|(namespace, _)| namespace.into()))
            .collect()
    }

    /// A record that cannot be read, if there is one: what it costs is not known.
    pub fn unreadable(&self) -> Option<RecordName> {
        self.unreadable.first().map(Name::record)
    }

    /// Where the limits of a budget stand, of the namespaces that it covers, whichever installation bought for them.
    pub fn positions(&self, budget: &Budget, covers: impl Fn(&str) -> bool, now: Timestamp) -> Vec<Position> {
        let currency = budget.currency.as_str();
        let all = self.purses.iter().chain(&self.purses_of_others);
        let accounts = all.filter(|(purse, _)| purse.currency == currency && covers(&purse.namespace));
        let accounts: Vec<&Account> = accounts.map(|(_, account)| account).collect();
        let pledges = self.window.pledges(now);
        let pledges = pledges.filter(|(namespace, pledge)| pledge.currency == currency && covers(namespace));
        let pledges: Vec<Amounts> = pledges.map(|(_, pledge)| pledge.price).collect();
        let position = |limit: &Limit| {
            let (measure, pledged): (Measure, fn(&Amounts) -> Option<Amount>) = match limit.of {
                Expense::PerHour => (Measure::PerHour, |price| price.per_hour),
                Expense::PerMonth => (Measure::PerMonth, |price| price.per_month),
                Expense::DueNow { within } => {
                    let within = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
                    let since = now.as_second().saturating_sub(within);
                    (Measure::DueNow { since }, |price| price.at_once)
                }
            };
            let (mut used, mut under_way) = (Total::default(), Total::default());
            for account in &accounts {
                let (spent, open) = account.totals(measure);
                used.join(spent);
                under_way.join(open);
            }
            for amount in pledges.iter().filter_map(pledged) {
                under_way.add(amount.max(Amount::ZERO));
            }
            Position {
                budget: budget.name.clone(),
                currency: budget.currency.clone(),
                limit: *limit,
                // What was bought elsewhere and is given back here makes no room.
                used: used.amount().max(Amount::ZERO),
                under_way: under_way.amount(),
            }
        };
        budget.limits.iter().map(position).collect()
    }

    /// Gives back what [`Index::reserve`] took, where nothing was sent.
    pub fn release(&mut self, name: &RecordName, holder: &Holder) {
        self.window.give_up(&Name::of(name), holder);
    }

    /// Paid calls of this installation in the last 24 hours, in all and for one namespace.
    pub fn paid_calls(&mut self, namespace: &str, now: Timestamp) -> PaidCalls {
        if !self.window.reaches_to(now) {
            self.window.begin_anew(now);
            for kept in self.records.all().filter(|kept| kept.ours) {
                self.window.add(kept.call());
            }
        }
        self.window.paid_calls(namespace, now)
    }

    /// What the gauges show.
    pub fn figures(&self) -> Figures {
        let mut oldest: HashMap<State, Timestamp> = HashMap::new();
        let open = self.open.iter().filter_map(|(name, open)| {
            let kept = self.records.get(name).filter(|kept| kept.ours)?;
            Some((kept.state?, open.claimed?))
        });
        for (state, claimed) in open {
            let earliest = oldest.entry(state).or_insert(claimed);
            *earliest = claimed.min(*earliest);
        }
        let states = self.states.iter().filter(|(_, count)| **count > 0);
        Figures {
            states: states.map(|(state, count)| (*state, *count)).collect(),
            oldest,
            unreadable: self.unreadable.len(),
            waiting_for_a_person: self.asking,
            left_billing: self.left_billing,
            money: self
                .purses
                .iter()
                .map(|(purse, account)| account.spending(purse))
                .collect(),
        }
    }

    /// The records of a chain, by attempt.
    fn attempts(&self, key: &ChainKey) -> impl Iterator<Item = (u32, &Kept)> {
        let chain = Chain::of_key(key);
        let named = chain.into_iter().flat_map(|chain| {
            let all = Name::Attempt(chain, 0)..=Name::Attempt(chain, u32::MAX);
            self.records.between(all)
        });
        named.filter_map(|(name, kept)| match name {
            Name::Attempt(_, n) => Some((*n, kept)),
            Name::Other(_) => None,
        })
    }

    /// How many records were looked at so far.
    #[cfg(test)]
    pub(super) fn looked_at(&self) -> usize {
        self.records.looked_at.get()
    }
}
