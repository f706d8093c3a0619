//! Every record in little room, and what is asked of all of them, kept up by each event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::about::{About, result_mark, secret_mark, subject_mark};
use super::figures::Figures;
use super::money::{Account, Fund, Price};
use super::name::{Chain, Mark, Name, TokenKey, token_key};
use super::window::{Call, Weight, Window};
use super::{Content, Entry, KeyPlace, PaidCalls, Purse};
use crate::domain::ledger::names::{ChainKey, VmToken};
use crate::domain::ledger::order::TRIES_LAST;
use crate::domain::ledger::record::{Evidence, State, later};
use crate::domain::values::ids::{InstanceId, RecordName, Subject, VpsId};

/// A record that the API server did not date counts as new for ever.
const UNDATED: i64 = i64::MAX;

/// What is known of all records by the watch.
pub struct Index {
    instance: InstanceId,
    records: Records,
    /// The list that is under way, or was last.
    list: u32,
    tokens: BTreeMap<TokenKey, Bearers>,
    results: BTreeSet<(Mark, Name)>,
    /// The VMs that HostUp provides as far as is known, by the key that they were bought with.
    provided: BTreeMap<Arc<KeyPlace>, BTreeSet<Mark>>,
    /// Results that this process is about to write to records, or that the watch does not show yet.
    given: BTreeMap<Name, Given>,
    holds: BTreeMap<(Mark, Timestamp), u32>,
    purses: BTreeMap<Arc<Purse>, Account>,
    /// When the unfinished ones were claimed.
    open: BTreeMap<Name, Option<Timestamp>>,
    window: Window,
    states: HashMap<State, usize>,
    unreadable: usize,
    asking: usize,
    left_billing: usize,
}

/// A record as it is kept. There may be a hundred thousand: another field is another megabyte.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    made: i64,
    /// Of a record of this installation.
    purse: Option<Arc<Purse>>,
    price: Price,
    about: About,
    hold: Option<Box<Hold>>,
    token: Option<TokenKey>,
    /// Of a record that has a VM.
    key: Option<Arc<KeyPlace>>,
    has_ended: bool,
    /// `None` if it cannot be read.
    state: Option<State>,
    evidence: Evident,
    unapproved: bool,
    /// This installation made it, which never changes. One that cannot be read may be ours, and counts.
    ours: bool,
    /// The list that showed it last.
    list: u32,
}

/// A result that is about to be written over a version of its record.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    vps: Mark,
    over: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Hold {
    secret: Mark,
    until: Timestamp,
}

/// As much of the evidence as is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evident {
    Nothing,
    FoundBeforeClaim,
    Something,
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
            provided: BTreeMap::new(),
            given: BTreeMap::new(),
            holds: BTreeMap::new(),
            purses: BTreeMap::new(),
            open: BTreeMap::new(),
            window: Window::new(now),
            states: HashMap::new(),
            unreadable: 0,
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
        let claimed = entry.content.and_then(|content| content.claimed);
        let is_news = before.is_none_or(|before| {
            kept.list = before.list;
            *before != kept
        });
        kept.list = self.list;
        self.count_in(&name, &kept, claimed);
        self.records.put(name, kept);
        is_news
    }

    /// A record is gone.
    pub fn remove(&mut self, name: &RecordName) {
        self.drop_out(&Name::of(name));
    }

    fn drop_out(&mut self, name: &Name) {
        self.given.remove(name);
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
                has_ended: false,
                state: None,
                evidence: Evident::Nothing,
                unapproved: false,
                ours: true,
                list: self.list,
            };
        };
        let ours = content.instance == self.instance;
        let mut kept = Kept {
            made,
            purse: ours.then(|| self.purse(content)),
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
                .filter(|_| ours && !content.has_ended)
                .map(|_| self.key(&content.key)),
            has_ended: content.has_ended,
            state: Some(content.state),
            evidence: match content.evidence {
                None => Evident::Nothing,
                Some(Evidence::FoundBeforeClaim) => Evident::FoundBeforeClaim,
                Some(_) => Evident::Something,
            },
            unapproved: content.unapproved,
            ours,
            list: self.list,
        };
        if ours && kept.fund() != Fund::Unspent {
            kept.price = Price::new(content.per_hour, content.at_once);
        }
        kept
    }

    /// One for all records of it.
    fn purse(&self, content: &Content) -> Arc<Purse> {
        let purse = Purse {
            namespace: content.namespace.as_str().into(),
            currency: content.currency.clone(),
        };
        let known = self.purses.get_key_value(&purse).map(|(known, _)| known.clone());
        known.unwrap_or_else(|| Arc::new(purse))
    }

    /// One for all records that were bought with it.
    fn key(&self, place: &KeyPlace) -> Arc<KeyPlace> {
        let known = self.provided.get_key_value(place).map(|(known, _)| known.clone());
        known.unwrap_or_else(|| Arc::new(place.clone()))
    }

    fn count_in(&mut self, name: &Name, kept: &Kept, claimed: Option<Timestamp>) {
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
        if !kept.ours {
            return;
        }
        if let Some(result) = kept.about.result() {
            self.results.insert((result, name.clone()));
        }
        if let Some((key, vps)) = kept.provided() {
            self.provided.entry(key.clone()).or_default().insert(vps);
        }
        if let Some(purse) = &kept.purse {
            let account = self.purses.entry(purse.clone()).or_default();
            account.add(kept.fund(), &kept.price);
        }
        if kept.state.is_some_and(|state| !state.is_final()) {
            self.open.insert(name.clone(), claimed);
        }
        self.window.add(kept.call());
        *self.tally(kept) += 1;
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
        if !kept.ours {
            return;
        }
        if let Some(result) = kept.about.result() {
            self.results.remove(&(result, name.clone()));
        }
        if let Some((key, vps)) = kept.provided() {
            self.no_longer_provided(key, vps);
        }
        if let Some(purse) = &kept.purse
            && let Some(account) = self.purses.get_mut(purse)
        {
            account.take(kept.fund(), &kept.price);
            if account.is_closed() {
                self.purses.remove(purse);
            }
        }
        self.open.remove(name);
        self.window.take(kept.call());
        let tally = self.tally(kept);
        *tally = tally.saturating_sub(1);
        self.asking = self.asking.saturating_sub(usize::from(kept.asks()));
        self.left_billing = self
            .left_billing
            .saturating_sub(usize::from(kept.left_a_vm_billing()));
    }

    /// Two records may have one result, by hand: the VM stays while one of them has it.
    fn no_longer_provided(&mut self, key: &Arc<KeyPlace>, vps: Mark) {
        let first = (vps, Name::Attempt(Chain::FIRST, 0));
        let records = self.results.range(first..).take_while(|(other, _)| *other == vps);
        let mut others = records.filter_map(|(_, name)| self.records.get(name)?.provided());
        if others.any(|(other, _)| other == key) {
            return;
        }
        if let Some(vms) = self.provided.get_mut(key) {
            vms.remove(&vps);
            if vms.is_empty() {
                self.provided.remove(key);
            }
        }
    }

    fn tally(&mut self, kept: &Kept) -> &mut usize {
        match kept.state {
            Some(state) => self.states.entry(state).or_default(),
            None => &mut self.unreadable,
        }
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
        let missing = bought.difference(&shown).flat_map(|vps| {
            let first = (*vps, Name::Attempt(Chain::FIRST, 0));
            let records = self.results.range(first..);
            records.take_while(move |(other, _)| other == vps)
        });
        let is_of_key = |name: &Name| {
            let bought = self.records.get(name).and_then(Kept::provided);
            bought.is_some_and(|(other, _)| **other == *key)
        };
        let missing = missing.filter(|(_, name)| is_of_key(name));
        missing.map(|(_, name)| name.record()).collect()
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

    /// The latest moment before which no paid call may leave with this Secret's key.
    pub fn not_before(&self, namespace: &str, secret: &str) -> Option<Timestamp> {
        let secret = secret_mark(namespace, secret);
        let holds = (secret, Timestamp::MIN)..=(secret, Timestamp::MAX);
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

    /// Takes one of the paid calls of the last 24 hours for an object of `namespace`, if those before leave room for it.
    /// What this process has claimed counts before the watch shows it.
    pub fn reserve(
        &mut self,
        name: &RecordName,
        namespace: &str,
        now: Timestamp,
        leave_room: impl FnOnce(PaidCalls) -> bool,
    ) -> bool {
        let name = Name::of(name);
        self.window.forget_claims(now);
        self.window.give_up(&name);
        if !leave_room(self.paid_calls(namespace, now)) {
            return false;
        }
        let is_shown = self.records.get(&name).is_some_and(|kept| kept.ours);
        self.window.claim(name, namespace, now, is_shown);
        true
    }

    /// Gives back what [`Index::reserve`] took, where no record was made.
    pub fn release(&mut self, name: &RecordName) {
        self.window.give_up(&Name::of(name));
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
        let open = self.open.iter().filter_map(|(name, claimed)| {
            let state = self.records.get(name)?.state?;
            Some((state, (*claimed)?))
        });
        for (state, claimed) in open {
            let earliest = oldest.entry(state).or_insert(claimed);
            *earliest = claimed.min(*earliest);
        }
        let states = self.states.iter().filter(|(_, count)| **count > 0);
        Figures {
            states: states.map(|(state, count)| (*state, *count)).collect(),
            oldest,
            unreadable: self.unreadable,
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

impl Kept {
    fn fund(&self) -> Fund {
        match self.state {
            Some(State::Sending | State::Accepted | State::Unknown) => Fund::Open,
            Some(State::Succeeded | State::Failed) if self.has_ended => Fund::Unspent,
            Some(State::Succeeded) => Fund::Spent,
            // HostUp bills it.
            Some(State::Failed) if self.about.result().is_some() => Fund::Spent,
            None
            | Some(
                State::Failed | State::NotSent | State::Rejected | State::NotExecuted | State::Abandoned,
            ) => Fund::Unspent,
        }
    }

    fn accounts_for_a_vm(&self) -> bool {
        match self.state {
            Some(State::Sending | State::Accepted | State::Unknown | State::Succeeded) => true,
            None
            | Some(
                State::Failed | State::NotSent | State::Rejected | State::NotExecuted | State::Abandoned,
            ) => false,
        }
    }

    fn call(&self) -> Call<'_> {
        let unsent = self.state == Some(State::NotSent) || self.evidence == Evident::FoundBeforeClaim;
        let weight = if unsent {
            Weight::Nobodys
        } else if self.state == Some(State::Rejected) || self.unapproved {
            Weight::Own
        } else {
            Weight::Everyones
        };
        Call {
            made: self.made,
            namespace: self.purse.as_ref().map(|purse| &purse.namespace),
            weight,
        }
    }

    fn asks(&self) -> bool {
        self.state == Some(State::Unknown) && self.evidence != Evident::Nothing
    }

    fn left_a_vm_billing(&self) -> bool {
        self.state == Some(State::Failed) && self.provided().is_some()
    }

    /// The VM of a call that has ended, and the key that it was bought with, while HostUp provides it.
    fn provided(&self) -> Option<(&Arc<KeyPlace>, Mark)> {
        let has_vm = matches!(self.state, Some(State::Succeeded | State::Failed)) && !self.has_ended;
        let key = self.key.as_ref().filter(|_| has_vm && self.ours)?;
        Some((key, self.about.result()?))
    }
}

/// The records by name. Boxed: the nodes of a tree are half empty.
#[derive(Default)]
struct Records {
    kept: BTreeMap<Name, Box<Kept>>,
    #[cfg(test)]
    looked_at: std::cell::Cell<usize>,
}

impl Records {
    fn get(&self, name: &Name) -> Option<&Kept> {
        self.look();
        self.kept.get(name).map(|kept| &**kept)
    }

    fn take(&mut self, name: &Name) -> Option<Box<Kept>> {
        self.look();
        self.kept.remove(name)
    }

    fn put(&mut self, name: Name, kept: Kept) {
        self.look();
        self.kept.insert(name, Box::new(kept));
    }

    fn between(&self, names: impl std::ops::RangeBounds<Name>) -> impl Iterator<Item = (&Name, &Kept)> {
        let kept = self.kept.range(names);
        kept.inspect(|_| self.look()).map(|(name, kept)| (name, &**kept))
    }

    fn all(&self) -> impl Iterator<Item = &Kept> {
        self.between(..).map(|(_, kept)| kept)
    }

    fn where_not(&self, stays: impl Fn(&Kept) -> bool) -> Vec<Name> {
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
