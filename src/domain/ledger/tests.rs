use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::ledger::budget::{Budget, Expense, Limit};
use crate::ledger::names::ChainKey;
use crate::ledger::order::TRIES_LAST;
use crate::ledger::record::later;
use crate::values::ids::{Holder, Subject, SubjectKind, Uid};
use crate::values::money::{Amount, Currency};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn start() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn ours() -> InstanceId {
    InstanceId::new("ours")
}

fn keys() -> [ChainKey; 3] {
    [
        ChainKey::of_restore("shop", "web"),
        ChainKey::of_restore("till", "web"),
        ChainKey::of_config(&VpsId::new("vps_1")),
    ]
}

const NAMESPACES: [&str; 2] = ["shop", "till"];
const SECRETS: [&str; 2] = ["hostup-api", "other"];
const VMS: [&str; 3] = ["vps_1", "vps_2", "vps_3"];

fn key_of(namespace: &str, secret: &str) -> KeyPlace {
    KeyPlace {
        namespace: namespace.to_owned(),
        secret: secret.to_owned(),
        key: "token".to_owned(),
    }
}

fn token(n: usize) -> VmToken {
    VmToken::new(&ours(), "shop", &n.to_string())
}

fn subject(namespace: &str) -> Subject {
    Subject {
        kind: SubjectKind::VpsBackupRestore,
        namespace: namespace.to_owned(),
        name: "web".to_owned(),
        uid: Uid::new("u"),
        generation: 1,
    }
}

/// What the index is asked to be equal to: all records, and a walk over them for each question.
struct Model {
    records: BTreeMap<RecordName, (Entry, bool)>,
    /// Oldest first.
    claims: Vec<ModelClaim>,
    given: HashMap<RecordName, (VpsId, u8)>,
}

#[derive(Debug, Clone)]
struct ModelClaim {
    name: RecordName,
    holder: Holder,
    namespace: String,
    at: Timestamp,
    pledge: Option<Pledge>,
    drives: Option<VpsId>,
    /// Whether a record has shown it, and whether one shows it.
    was_shown: bool,
    is_shown: bool,
}

impl Model {
    fn last_claim(&mut self, name: &RecordName) -> Option<&mut ModelClaim> {
        self.claims.iter_mut().rfind(|claim| claim.name == *name)
    }

    fn unshown(&self, now: Timestamp) -> impl Iterator<Item = &ModelClaim> {
        let claims = self.claims.iter();
        claims.filter(move |claim| !claim.is_shown && later(claim.at, DAY) > now)
    }

    fn remove(&mut self, name: &RecordName) {
        if let Some(last) = self.last_claim(name) {
            last.drives = None;
            last.was_shown = true;
            last.is_shown = false;
        }
        self.records.remove(name);
        self.given.remove(name);
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.records.values().map(|(entry, _)| entry)
    }

    fn readable(&self) -> impl Iterator<Item = (&Entry, &Content)> {
        self.all()
            .filter_map(|entry| Some((entry, entry.content.as_ref()?)))
    }

    fn is_ours(entry: &Entry) -> bool {
        entry
            .content
            .as_ref()
            .is_none_or(|content| content.instance == ours())
    }

    fn of_chain<'a>(&'a self, key: &'a ChainKey) -> impl Iterator<Item = (u32, &'a Entry)> {
        self.all()
            .filter_map(|entry| Some((key.attempt(&entry.name)?, entry)))
    }

    fn came_to_nothing(&self, key: &ChainKey, subject: &Subject, now: Timestamp) -> BTreeMap<u32, Timestamp> {
        let attempts = self.of_chain(key).filter_map(|(attempt, entry)| {
            let content = entry.content.as_ref()?;
            let same = (content.kind.as_str(), &content.namespace, &content.object)
                == (subject.kind.as_str(), &subject.namespace, &subject.name);
            let made = entry.made?;
            let counts = same && content.state.came_to_nothing() && now < later(made, TRIES_LAST);
            counts.then_some((attempt, made))
        });
        attempts.collect()
    }

    fn results(&self, vps: &VpsId) -> HashSet<RecordName> {
        let bearers = self
            .readable()
            .filter(|(entry, content)| Self::is_ours(entry) && content.result.as_ref() == Some(vps));
        bearers.map(|(entry, _)| entry.name.clone()).collect()
    }

    /// How many records are about this VM.
    fn of_vm(&self, vps: &VpsId) -> usize {
        let about = self
            .readable()
            .filter(|(_, content)| content.result.as_ref().or(content.resized.as_ref()) == Some(vps));
        about.count()
    }

    fn show(&mut self, entry: Entry) -> bool {
        if entry
            .content
            .as_ref()
            .is_none_or(|content| content.state.is_final())
        {
            self.given.remove(&entry.name);
        }
        let is_ours = Self::is_ours(&entry);
        let is_over = is_ours
            && entry
                .content
                .as_ref()
                .is_some_and(|content| content.state.is_final());
        if let Some(last) = self.last_claim(&entry.name) {
            last.is_shown = is_ours;
            last.was_shown |= is_ours;
            if is_over {
                last.drives = None;
                last.pledge = None;
            }
        }
        self.records.insert(entry.name.clone(), (entry, true)).is_some()
    }

    fn give(&mut self, vps: &VpsId, name: &RecordName, over: u8) -> bool {
        if self
            .given
            .get(name)
            .is_some_and(|(of, at)| of != vps && *at != over)
        {
            self.given.remove(name);
        }
        let kept = self.given.iter().filter(|(_, (kept, _))| kept == vps);
        let mut others: HashSet<RecordName> = kept.map(|(other, _)| other.clone()).collect();
        others.extend(self.results(vps));
        let is_free = others.iter().all(|other| other == name);
        if is_free {
            self.given.insert(name.clone(), (vps.clone(), over));
        }
        is_free
    }

    fn not_before(&self, namespace: &str, secret: &str, latest: Timestamp) -> Option<Timestamp> {
        let is_of_secret = |key: &KeyPlace| key.namespace == namespace && key.secret == secret;
        let of_secret = self.readable().filter(|(_, content)| is_of_secret(&content.key));
        of_secret
            .filter_map(|(_, content)| content.not_before)
            .filter(|until| *until <= latest)
            .max()
    }

    /// The records of this installation that have a VM that was not seen to end.
    fn with_a_vm(&self) -> impl Iterator<Item = (&RecordName, &Content, &VpsId)> {
        let ours = self.readable().filter(|(entry, _)| Self::is_ours(entry));
        ours.filter_map(|(entry, content)| {
            let has_vm = matches!(content.state, State::Succeeded | State::Failed) && !content.has_ended;
            let vps = content.result.as_ref().or(content.resized.as_ref());
            let vps = vps.filter(|_| has_vm)?;
            Some((&entry.name, content, vps))
        })
    }

    fn keys_of_vms(&self) -> BTreeSet<KeyPlace> {
        self.with_a_vm()
            .map(|(_, content, _)| content.key.clone())
            .collect()
    }

    fn without_their_vm(&self, key: &KeyPlace, shown: &VpsId) -> BTreeSet<RecordName> {
        let missing = self
            .with_a_vm()
            .filter(|(_, content, vps)| content.key == *key && *vps != shown);
        missing.map(|(name, ..)| name.clone()).collect()
    }

    fn accounted(&self, token: &VmToken) -> Option<bool> {
        let bearers = self
            .readable()
            .filter(|(_, content)| content.token.as_ref() == Some(token));
        bearers
            .map(|(_, content)| {
                use State::{Accepted, Sending, Succeeded, Unknown};
                matches!(content.state, Sending | Accepted | Unknown | Succeeded)
            })
            .reduce(|one, other| one | other)
    }

    fn paid_calls(&self, namespace: &str, now: Timestamp) -> PaidCalls {
        let in_window = |made: Timestamp| later(made, DAY) > now;
        let mut counted = PaidCalls::default();
        let ours = || self.all().filter(|entry| Self::is_ours(entry));
        for entry in ours().filter(|entry| entry.made.is_none_or(in_window)) {
            let Some(content) = &entry.content else {
                counted.all += 1;
                continue;
            };
            let unsent =
                content.state == State::NotSent || content.evidence == Some(Evidence::FoundBeforeClaim);
            let own = content.state == State::Rejected;
            counted.all += u32::from(!unsent && !own);
            counted.of_namespace += u32::from(!unsent && content.namespace == namespace);
        }
        for claim in self.unshown(now) {
            counted.all += 1;
            counted.of_namespace += u32::from(claim.namespace == namespace);
        }
        counted
    }

    fn reserve(
        &mut self,
        (name, holder): (&RecordName, &Holder),
        namespace: &str,
        (pledge, drives): (Option<Pledge>, Option<&VpsId>),
        now: Timestamp,
        most: u32,
    ) -> bool {
        self.claims.retain(|claim| later(claim.at, DAY) > now);
        let is_claiming = self.last_claim(name).is_some_and(|last| !last.was_shown);
        let is_taken = is_claiming || self.records.contains_key(name);
        let is_busy = drives.is_some_and(|vps| self.is_under_way(vps));
        let is_room = !is_taken && !is_busy && self.paid_calls(namespace, now).all < most;
        if is_room {
            self.claims.push(ModelClaim {
                name: name.clone(),
                holder: holder.clone(),
                namespace: namespace.to_owned(),
                at: now,
                pledge,
                drives: drives.cloned(),
                was_shown: false,
                is_shown: false,
            });
        }
        is_room
    }

    /// The records whose call for this VPS was executed, or may have been, and when the newest was made.
    fn executed_for(&self, vps: &VpsId) -> (HashSet<(Timestamp, RecordName)>, Option<Timestamp>) {
        let ours = self.readable().filter(|(entry, content)| {
            let is_of_a_vm = content.result.is_some();
            let has_ended = content.state.is_final() && !content.state.frees_the_name();
            Self::is_ours(entry) && has_ended && !is_of_a_vm
        });
        let executed = ours.filter(|(_, content)| content.drives.as_ref() == Some(vps) && !content.is_backup);
        let executed: HashSet<_> = executed
            .map(|(entry, _)| (entry.made.unwrap_or(Timestamp::MAX), entry.name.clone()))
            .collect();
        let newest = executed.iter().map(|(made, _)| *made).max();
        (executed, newest)
    }

    fn is_under_way(&self, vps: &VpsId) -> bool {
        let mut open = self.readable();
        let mut claims = self.claims.iter().filter(|claim| !claim.is_shown);
        open.any(|(_, content)| !content.state.is_final() && content.drives.as_ref() == Some(vps))
            || claims.any(|claim| claim.drives.as_ref() == Some(vps))
    }

    /// Used, and under way.
    fn spent(&self, budget: &Budget, of: Expense, namespaces: &[&str], now: Timestamp) -> (Amount, Amount) {
        let (mut used, mut under_way) = (Amount::ZERO, Amount::ZERO);
        let amount = |price: &Amounts| match of {
            Expense::PerHour => price.per_hour,
            Expense::PerMonth => price.per_month,
            Expense::DueNow { .. } => price.at_once,
        };
        let add = |sum: &mut Amount, amount: Amount| *sum = sum.plus(amount).unwrap();
        let counted = |amount: Amount| match of {
            Expense::PerHour | Expense::DueNow { .. } => amount.max(Amount::ZERO),
            Expense::PerMonth => amount,
        };
        let is_covered = |namespace: &str, currency: &str| {
            namespaces.contains(&namespace) && currency == budget.currency.as_str()
        };
        for (entry, content) in self.readable() {
            let is_recent = match of {
                // A minute counts as a whole.
                Expense::DueNow { within } => entry.made.is_none_or(|made| {
                    let minute = |at: Timestamp| at.as_second().div_euclid(60);
                    minute(later(made, within)) >= minute(now)
                }),
                Expense::PerHour | Expense::PerMonth => true,
            };
            let counts = is_covered(&content.namespace, &content.currency) && is_recent;
            let Some(amount) = amount(&content.price).filter(|_| counts) else {
                continue;
            };
            match content.state {
                State::Sending | State::Accepted | State::Unknown => {
                    add(&mut under_way, amount.max(Amount::ZERO));
                }
                State::Succeeded if !content.has_ended => add(&mut used, counted(amount)),
                State::Failed if content.result.is_some() && !content.has_ended => {
                    add(&mut used, counted(amount));
                }
                _ => {}
            }
        }
        for claim in self.unshown(now) {
            let (namespace, Some(pledge)) = (&claim.namespace, &claim.pledge) else {
                continue;
            };
            if let Some(amount) = amount(&pledge.price).filter(|_| is_covered(namespace, &pledge.currency)) {
                add(&mut under_way, amount.max(Amount::ZERO));
            }
        }
        (used.max(Amount::ZERO), under_way)
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        let mut money: BTreeMap<Purse, [Amounts; 2]> = BTreeMap::new();
        for entry in self.all().filter(|entry| Self::is_ours(entry)) {
            let Some(content) = &entry.content else {
                figures.unreadable += 1;
                continue;
            };
            let state = content.state;
            *figures.states.entry(state).or_default() += 1;
            figures.waiting_for_a_person +=
                usize::from(state == State::Unknown && content.evidence.is_some());
            let left = state == State::Failed && content.result.is_some() && !content.has_ended;
            figures.left_billing += usize::from(left);
            if let (false, Some(claimed)) = (state.is_final(), content.claimed) {
                let oldest = figures.oldest.entry(state).or_insert(claimed);
                *oldest = claimed.min(*oldest);
            }
            let purse = Purse {
                namespace: content.namespace.as_str().into(),
                currency: content.currency.clone(),
            };
            let sums = money.entry(purse).or_default();
            let which = match state {
                State::Sending | State::Accepted | State::Unknown => 0,
                State::Succeeded if content.has_ended => continue,
                State::Succeeded => 1,
                State::Failed if left => 1,
                State::Failed | State::NotSent | State::Rejected | State::NotExecuted | State::Abandoned => {
                    continue;
                }
            };
            let sum = &mut sums[which];
            let add = |sum: &mut Option<Amount>, amount: Option<Amount>| {
                *sum = amount
                    .map(|amount| sum.unwrap_or(Amount::ZERO).plus(amount).unwrap())
                    .or(*sum);
            };
            add(&mut sum.per_hour, content.price.per_hour);
            add(&mut sum.per_month, content.price.per_month);
            add(&mut sum.at_once, content.price.at_once);
        }
        let spending = |(purse, [approved, spent]): (Purse, [Amounts; 2])| Spending {
            purse,
            approved,
            spent,
        };
        figures.money = money.into_iter().map(spending).collect();
        figures
    }
}

#[derive(Debug, Clone)]
enum Event {
    ListBegins,
    Listed(Entry),
    ListEnded,
    Changed(Entry),
    Deleted(RecordName),
    Claims(
        (RecordName, Holder),
        &'static str,
        (Option<Pledge>, Option<VpsId>),
        u32,
    ),
    GivesUp(RecordName, Holder),
    Gives(RecordName, VpsId, u8),
    TakesBack(RecordName, u8),
    Passes(i64),
}

fn names() -> impl Strategy<Value = RecordName> {
    let attempts = (select(keys().to_vec()), 1_u32..4).prop_map(|(key, n)| key.record(n));
    let odd = select(vec![
        format!("{}-+2", keys()[0].as_str()),
        format!("{}-02", keys()[0].as_str()),
        format!("{}-x", keys()[0].as_str()),
        "by-hand".to_owned(),
    ]);
    prop_oneof![9 => attempts, 1 => odd.prop_map(RecordName::new)]
}

/// Amounts as they are shown.
fn amounts() -> impl Strategy<Value = Option<Amount>> {
    proptest::option::of((-50_000_i64..50_000).prop_map(|n| {
        let text = format!("{}.{:04}", n / 10_000, (n % 10_000).abs());
        Amount::parse(&text).unwrap()
    }))
}

fn prices() -> impl Strategy<Value = (&'static str, Amounts)> {
    let price = (amounts(), amounts(), amounts()).prop_map(|(per_hour, per_month, at_once)| Amounts {
        per_hour,
        per_month,
        at_once,
    });
    (select(vec!["SEK", "EUR", ""]), price)
}

fn driven() -> impl Strategy<Value = Option<VpsId>> {
    proptest::option::of(select(VMS.to_vec()).prop_map(VpsId::new))
}

fn contents() -> impl Strategy<Value = Content> {
    let whose = (
        select(vec!["ours", "ours", "ours", "another"]),
        select(vec![
            "VpsBackupRestore",
            "VpsResourceConfig",
            "of a newer version",
        ]),
        select(NAMESPACES.to_vec()),
        select(vec!["web", "other"]),
        select(SECRETS.to_vec()),
    );
    let evidence = [None, Some(Evidence::FoundBeforeClaim), Some(Evidence::Person)];
    let outcome = (
        select(State::ALL.to_vec()),
        select(evidence.to_vec()),
        proptest::option::of((0_i64..4).prop_map(|n| at(n * 60))),
        proptest::option::of((0_usize..3).prop_map(token)),
        (select(VMS.to_vec()).prop_map(VpsId::new), 0..3),
        proptest::option::of((0_i64..4).prop_map(|n| at(n * 60))),
        any::<bool>(),
    );
    (whose, outcome, prices(), driven(), any::<bool>()).prop_map(
        |(whose, outcome, price, drives, is_backup)| {
            let (instance, kind, namespace, object, secret) = whose;
            let (state, evidence, not_before, token, (vm, is_about_it), claimed, has_ended) = outcome;
            let (currency, price) = price;
            Content {
                instance: InstanceId::new(instance),
                kind: kind.to_owned(),
                namespace: namespace.to_owned(),
                object: object.to_owned(),
                key: key_of(namespace, secret),
                state,
                evidence,
                not_before,
                token,
                result: (is_about_it == 1).then(|| vm.clone()),
                drives: if is_about_it == 2 {
                    Some(vm.clone())
                } else {
                    drives
                },
                resized: (is_about_it == 2).then_some(vm),
                is_backup: is_about_it != 2 && is_backup,
                has_ended,
                claimed,
                currency: currency.to_owned(),
                price,
            }
        },
    )
}

fn entries() -> impl Strategy<Value = Entry> {
    let made = (-30 * 3600_i64..30 * 3600).prop_map(|seconds| Some(at(seconds)));
    let made = prop_oneof![19 => made, 1 => Just(None)];
    let content = prop_oneof![9 => contents().prop_map(Some), 1 => Just(None)];
    (names(), made, content).prop_map(|(name, made, content)| Entry { name, made, content })
}

fn claims() -> impl Strategy<Value = (RecordName, Holder)> {
    (names(), select(vec!["one", "other"]).prop_map(Holder::new))
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => Just(Event::ListBegins),
        6 => entries().prop_map(Event::Listed),
        1 => Just(Event::ListEnded),
        12 => entries().prop_map(Event::Changed),
        3 => names().prop_map(Event::Deleted),
        4 => (claims(), select(NAMESPACES.to_vec()), proptest::option::of(prices()), 1_u32..9, driven())
            .prop_map(|(claim, namespace, price, most, drives)| {
                let pledge = price.map(|(currency, price)| Pledge { currency: currency.to_owned(), price });
                Event::Claims(claim, namespace, (pledge, drives), most)
            }),
        1 => claims().prop_map(|(name, holder)| Event::GivesUp(name, holder)),
        3 => (names(), select(VMS.to_vec()), 0_u8..3)
            .prop_map(|(name, vps, over)| Event::Gives(name, VpsId::new(vps), over)),
        1 => (names(), 0_u8..3).prop_map(|(name, version)| Event::TakesBack(name, version)),
        3 => select(vec![0, 1, 60, 3599, 3600, 7 * 3600, 25 * 3600, -1, -3600, -3601, -30 * 3600])
            .prop_map(Event::Passes),
    ]
}

fn budget() -> Budget {
    let limit = |of| Limit {
        of,
        most: Amount::ZERO,
    };
    Budget {
        name: "team".to_owned(),
        currency: Currency::parse("SEK").unwrap(),
        limits: vec![
            limit(Expense::PerHour),
            limit(Expense::PerMonth),
            limit(Expense::DueNow { within: DAY }),
            limit(Expense::DueNow { within: 31 * DAY }),
        ],
    }
}

/// Asks everything, and counts what is looked at.
fn holds(index: &mut Index, model: &Model, now: Timestamp) -> Result<(), TestCaseError> {
    for key in &keys() {
        let own = model.of_chain(key).count();
        let before = index.looked_at();
        let last = model.of_chain(key).map(|(n, _)| n).max();
        prop_assert_eq!(index.last_attempt(key), last);
        prop_assert!(index.looked_at() - before <= own + 3, "the tail of a chain");
        for namespace in NAMESPACES {
            let before = index.looked_at();
            let subject = subject(namespace);
            prop_assert_eq!(
                index.came_to_nothing(key, &subject, now),
                model.came_to_nothing(key, &subject, now)
            );
            prop_assert!(index.looked_at() - before <= own + 3, "the attempts of a chain");
        }
    }
    let shown = VpsId::new(VMS[0]);
    let mut keys = model.keys_of_vms();
    prop_assert_eq!(
        index.keys_of_vms(),
        keys.iter().cloned().map(Arc::new).collect::<Vec<_>>()
    );
    keys.insert(key_of("shop", "of nothing"));
    for key in &keys {
        let missing: BTreeSet<RecordName> = index
            .without_their_vm(key, [&shown].into_iter())
            .into_iter()
            .collect();
        prop_assert_eq!(missing, model.without_their_vm(key, &shown));
    }
    let before = index.looked_at();
    for vps in VMS.map(VpsId::new) {
        let bearers = model.results(&vps);
        for but in bearers.iter().map(Some).chain([None]) {
            let found = index.result_of(&vps, but);
            let others = bearers.iter().filter(|name| Some(*name) != but).count();
            prop_assert_eq!(found.is_some(), others > 0);
            prop_assert!(found.is_none_or(|found| Some(&found) != but && bearers.contains(&found)));
        }
    }
    for vps in VMS.map(VpsId::new) {
        prop_assert_eq!(index.under_way_for(&vps).is_some(), model.is_under_way(&vps));
        let last = index.last_for(&vps, |_| true);
        let (executed, newest) = model.executed_for(&vps);
        prop_assert_eq!(last.is_some(), newest.is_some());
        if let Some((last, made)) = last {
            prop_assert_eq!(Some(made), newest);
            prop_assert!(executed.contains(&(made, last)));
        }
    }
    for namespace in NAMESPACES {
        for secret in SECRETS {
            for latest in [at(-1), at(0), at(90), Timestamp::MAX] {
                prop_assert_eq!(
                    index.not_before(namespace, secret, latest),
                    model.not_before(namespace, secret, latest)
                );
            }
        }
    }
    for token in (0..3).map(token) {
        prop_assert_eq!(index.accounted(&token), model.accounted(&token));
    }
    for namespace in NAMESPACES {
        prop_assert_eq!(index.paid_calls(namespace, now), model.paid_calls(namespace, now));
    }
    for covered in [&NAMESPACES[..], &NAMESPACES[..1], &[]] {
        let budget = budget();
        let positions = index.positions(&budget, |namespace| covered.contains(&namespace), now);
        for (position, limit) in positions.iter().zip(&budget.limits) {
            let spent = model.spent(&budget, limit.of, covered, now);
            prop_assert_eq!((position.used, position.under_way), spent, "{:?}", limit.of);
        }
        prop_assert_eq!(positions.len(), budget.limits.len());
    }
    prop_assert_eq!(index.looked_at(), before, "no record is read");
    prop_assert_eq!(index.figures(), model.figures());
    let open = model.readable().filter(|(_, content)| !content.state.is_final());
    prop_assert!(
        index.looked_at() - before <= open.count(),
        "the finished ones for a gauge"
    );
    for entry in model.all() {
        let finished = entry
            .content
            .as_ref()
            .is_some_and(|content| content.state.is_final());
        prop_assert_eq!(index.is_finished(&entry.name), finished);
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_index_answers_as_a_walk_over_all_records_does(
        events in proptest::collection::vec(events(), 1..80)
    ) {
        let mut now = at(0);
        let mut latest = now;
        let mut index = Index::new(ours(), now);
        let mut model = Model { records: BTreeMap::new(), claims: vec![], given: HashMap::new() };
        for event in events {
            let before = index.looked_at();
            let of_one_vm = VMS.map(|vps| model.of_vm(&VpsId::new(vps)));
            let of_one_vm = of_one_vm.into_iter().max().unwrap_or_default();
            match event {
                Event::ListBegins => {
                    index.list_begins();
                    model.records.values_mut().for_each(|(_, listed)| *listed = false);
                }
                Event::ListEnded => {
                    index.list_ended();
                    let gone = model.records.iter().filter(|(_, (_, listed))| !listed);
                    let gone: Vec<RecordName> = gone.map(|(name, _)| name.clone()).collect();
                    for name in &gone {
                        model.remove(name);
                    }
                    model.given.retain(|name, _| model.records.contains_key(name));
                }
                Event::Listed(entry) | Event::Changed(entry) => {
                    let is_known = model.show(entry.clone());
                    let is_news = index.show(entry.clone());
                    prop_assert!(is_news || is_known);
                    prop_assert!(!index.show(entry), "the same once more is no news");
                    prop_assert!(index.looked_at() - before <= 6 + 2 * of_one_vm);
                }
                Event::Deleted(name) => {
                    index.remove(&name);
                    model.remove(&name);
                    prop_assert!(index.looked_at() - before <= 1 + of_one_vm);
                }
                Event::Claims((name, holder), namespace, (pledge, drives), most) => {
                    let (of, claim) = ((&name, &holder), (pledge, drives.as_ref()));
                    let reserved =
                        index.reserve(of, namespace, claim.clone(), now, |_, paid| paid.all < most);
                    prop_assert_eq!(reserved, model.reserve(of, namespace, claim, now, most));
                    prop_assert!(index.looked_at() - before <= 1);
                }
                Event::GivesUp(name, holder) => {
                    index.release(&name, &holder);
                    model.claims.retain(|claim| (&claim.name, &claim.holder) != (&name, &holder));
                }
                Event::Gives(name, vps, over) => {
                    let given = index.give(&vps, &name, &over.to_string());
                    prop_assert_eq!(given.is_ok(), model.give(&vps, &name, over));
                }
                Event::TakesBack(name, version) => {
                    index.take_back(&name, &version.to_string());
                    if model.given.get(&name).is_some_and(|(_, over)| *over != version) {
                        model.given.remove(&name);
                    }
                }
                Event::Passes(seconds) => {
                    now += SignedDuration::from_secs(seconds);
                    // Only a clock that is set back by more than an hour has all records counted anew.
                    let set_back = now < latest - SignedDuration::from_secs(3600);
                    latest = if set_back { now } else { now.max(latest) };
                    index.paid_calls("shop", now);
                    let counted = index.looked_at() - before;
                    prop_assert!(counted == 0 || set_back);
                }
            }
            holds(&mut index, &model, now)?;
        }
        for name in model.records.into_keys() {
            index.remove(&name);
        }
        prop_assert_eq!(index.figures(), Figures::default());
    }
}

/// A call for one VPS, made so many seconds after the beginning.
pub(super) fn driving(name: &RecordName, made: i64, state: State) -> Entry {
    let finished = finished(1);
    Entry {
        name: name.clone(),
        made: Some(at(made)),
        content: finished.content.map(|content| Content {
            state,
            result: None,
            token: None,
            drives: Some(VpsId::new(VMS[0])),
            ..content
        }),
    }
}

#[test]
fn a_record_that_took_the_name_of_a_deleted_one_is_known_from_it_by_its_time() {
    let mut index = Index::new(ours(), start());
    let name = keys()[0].record(1);
    assert!(!index.has_a_later(&name, at(0)));
    for made in [Some(at(5)), None] {
        index.show(Entry {
            name: name.clone(),
            made,
            content: None,
        });
        for (earlier, is_later) in [(at(4), made.is_some()), (at(5), false), (at(6), false)] {
            assert_eq!(index.has_a_later(&name, earlier), is_later, "{made:?} {earlier}");
        }
        index.remove(&name);
        assert!(!index.has_a_later(&name, at(0)));
    }
}

/// A finished restore, as there will be most.
fn finished(n: u32) -> Entry {
    let key = ChainKey::of_restore("shop", &n.to_string());
    Entry {
        name: key.record(1),
        made: Some(at(0)),
        content: Some(Content {
            instance: ours(),
            kind: "VpsBackupRestore".to_owned(),
            namespace: "shop".to_owned(),
            object: n.to_string(),
            key: key_of("shop", "hostup-api"),
            state: State::Succeeded,
            evidence: Some(Evidence::Job),
            not_before: None,
            token: Some(VmToken::new(&ours(), "shop", &n.to_string())),
            result: Some(VpsId::new(format!("vps_{n:026}"))),
            resized: None,
            drives: None,
            is_backup: false,
            has_ended: false,
            claimed: Some(at(0)),
            currency: "SEK".to_owned(),
            price: Amounts {
                per_hour: Amount::parse("0.66"),
                ..Amounts::default()
            },
        }),
    }
}

#[test]
fn a_question_costs_no_more_among_many_records() {
    let asked = |records: u32| {
        let mut index = Index::new(ours(), at(0));
        for n in 0..records {
            index.show(finished(n));
        }
        let before = index.looked_at();
        let key = ChainKey::of_restore("shop", "1");
        let name = key.record(1);
        assert_eq!(index.last_attempt(&key), Some(1));
        assert!(index.came_to_nothing(&key, &subject("shop"), at(0)).is_empty());
        let vps = VpsId::new(format!("vps_{:026}", 1));
        assert_eq!(index.result_of(&vps, Some(&key.record(2))), Some(name.clone()));
        assert_eq!(index.accounted(&VmToken::new(&ours(), "shop", "1")), Some(true));
        assert_eq!(index.not_before("shop", "hostup-api", Timestamp::MAX), None);
        assert!(index.reserve(
            (&key.record(2), &Holder::new("one")),
            "shop",
            (None, None),
            at(60),
            |_, paid| paid.all == records
        ));
        assert_eq!(index.figures().states[&State::Succeeded].try_into(), Ok(records));
        assert!(!index.show(finished(1)));
        index.looked_at() - before
    };
    assert_eq!(asked(5_000), asked(5));
}
