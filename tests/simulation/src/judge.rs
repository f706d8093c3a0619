//! What must never be, looked at after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hostup_operator::api;
use hostup_operator::api::shared::HOLD;
use hostup_operator::domain::ledger::Index;
use hostup_operator::domain::values::ids::InstanceId;
use hostup_operator::domain::values::money::Amount;
use hostup_sim::{InProcess, Job, OptionValue, Purchase, PurchaseKind};
use rust_decimal::Decimal;
use serde_json::Value;
use tokio::time::Instant;

use crate::body::BEGINNING;
use crate::cluster::{ApiServer, Kind, Verb, Write};
use crate::field::{annotation, at, text};
use crate::people::OPERATORS_NAMESPACE;
use crate::process::{INSTANCE, TIMES};
use crate::story::Story;
use crate::wishes::Wishes;

/// Looks on.
#[derive(Clone)]
pub struct Judge {
    server: ApiServer,
    hostup: InProcess,
    story: Story,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    writes: usize,
    purchases: usize,
    /// By uid: a name may come again.
    records: BTreeMap<String, SeenRecord>,
    posted: BTreeSet<String>,
    wrong: Vec<String>,
    questions: u64,
    /// By how much the clock of a process is ahead, at most.
    ahead: Duration,
    /// The objects with a hold, and the revision that set it.
    holds: BTreeMap<Place, u64>,
    /// The most that an hour may cost by the budget, and the revision that set it.
    budget: Option<(Decimal, u64)>,
    judges_budgets: bool,
    /// When objects were made, by uid.
    objects: BTreeMap<String, u64>,
    /// No two calls may be under way for one VPS.
    judges_overlaps: bool,
    /// So many paid calls may be made.
    cap: Option<u32>,
    /// What people want.
    wishes: Wishes,
    /// When HostUp changed its prices.
    prices: Vec<Instant>,
    /// The messages that stood beside each quote, by the uid of its object.
    told: BTreeMap<Quote, BTreeSet<String>>,
    /// What they were when somebody approved it.
    approved: BTreeMap<Quote, BTreeSet<String>>,
    /// The approved quotes in whose place another one was shown for approval, and the revision of that.
    ended: BTreeMap<Quote, u64>,
    /// The records that somebody answered for, or that were settled, while a process stood still and the answer to its last
    /// reading was on its way; by process and name.
    settled_in_a_pause: BTreeMap<(String, String), Value>,
}

/// The uid of an object, and the id of a quote.
type Quote = (String, String);

/// Kind, namespace and name.
type Place = (&'static str, String, String);

impl Seen {
    /// Notes whether a write set or removed a hold.
    fn takes_in(&mut self, write: &Write) {
        let place = (write.kind.kind, write.namespace.clone(), write.name.clone());
        let hold = annotation(&write.object, HOLD);
        if write.verb == Verb::Delete || matches!(hold, "" | "false") {
            self.holds.remove(&place);
        } else {
            self.holds.entry(place).or_insert(write.revision);
        }
    }

    /// Notes whether a write set or removed the budget.
    fn takes_in_a_budget(&mut self, write: &Write) {
        let limit = text(&write.object, "/spec/perHour").parse().unwrap_or_default();
        match self.budget {
            _ if write.verb == Verb::Delete => self.budget = None,
            Some((before, _)) if before == limit => {}
            _ => self.budget = Some((limit, write.revision)),
        }
    }

    /// Notes what a status tells of a quote, and what it had told when somebody approved that.
    fn takes_in_a_quote(&mut self, object: &Value, revision: u64) {
        let of = |quote: &str| (text(object, "/metadata/uid").to_owned(), quote.to_owned());
        let shown = text(object, "/status/quote/id");
        if !shown.is_empty() {
            let conditions = at(object, "/status/conditions").and_then(Value::as_array);
            let ready = conditions.and_then(|all| all.iter().find(|one| text(one, "/type") == "Ready"));
            let message = ready.map(|ready| text(ready, "/message").to_owned());
            self.told.entry(of(shown)).or_default().extend(message);
            let approved = text(object, "/spec/approval/quoteId");
            let awaits_another = ready.is_some_and(|ready| text(ready, "/reason") == "AwaitingApproval");
            if awaits_another && approved != shown {
                self.ended.entry(of(approved)).or_insert(revision);
            }
        }
        let approved = of(text(object, "/spec/approval/quoteId"));
        if let Some(told) = self.told.get(&approved).cloned() {
            self.approved.entry(approved).or_insert(told);
        }
    }

    /// What is wrong with a call that overwrites a VPS, if somebody has not approved just that.
    fn overwrites_unasked(&self, record: &Value) -> Option<String> {
        if text(record, "/spec/type") != "OverwriteVps" {
            return None;
        }
        let quote = (
            text(record, "/spec/subject/uid").to_owned(),
            text(record, "/spec/quote/id").to_owned(),
        );
        let seen = self.records.get(text(record, "/metadata/uid"));
        let ended = self.ended.get(&quote);
        if ended.is_some_and(|ended| seen.is_some_and(|seen| seen.revision > *ended)) {
            return Some(format!("its quote {} had ended", quote.1));
        }
        let Some(told) = self.approved.get(&quote) else {
            return Some(format!("nobody has approved its quote {}", quote.1));
        };
        let before = |word: &str| text(record, &format!("/spec/changes/from/{word}"));
        let name = format!("({:?}", before("name"));
        let words = [before("powerState"), before("serviceStatus")].map(|word| match word {
            "" => String::new(),
            word => format!(", {word}"),
        });
        let state = format!("{name}{})", words.concat());
        let is_told = told.iter().any(|message| message.contains(&state));
        (!is_told).then(|| format!("somebody has approved the loss of another state than {state}"))
    }

    /// Whether a call changes a VPS whose object wants a backup before, and none was made for it since its last change.
    fn lacks_its_backup(&self, record: &Value, server: &ApiServer, purchases: &[Purchase]) -> bool {
        let wants = object_of(server, record)
            .is_some_and(|object| at(&object, "/spec/backupFirst") == Some(&Value::Bool(true)));
        if !wants || !CHANGES.contains(&text(record, "/spec/type")) {
            return false;
        }
        let own = self
            .records
            .iter()
            .filter(|(_, other)| other.uid == text(record, "/spec/subject/uid"));
        let (backups, changes): (Vec<_>, Vec<_>) = own.partition(|(_, other)| other.kind == BACKUP);
        let executed = changes.iter().filter(|(uid, other)| {
            let came_to_nothing = ["NotSent", "Rejected", "NotExecuted"].contains(&other.state.as_str());
            uid.as_str() != text(record, "/metadata/uid") && !came_to_nothing
        });
        let last = executed.map(|(_, other)| other.made).max().flatten();
        let was_executed = |backup: &SeenRecord| {
            let since = purchases.iter().skip(backup.executed_before);
            let mut of_it = since.filter(|purchase| purchase.body == backup.body.as_bytes());
            of_it.any(|purchase| path_of(purchase) == backup.path)
        };
        let vps = format!("/api/v2/vps/{}/backups", text(record, "/spec/vpsId"));
        let mut made = backups.iter().filter(|(_, backup)| backup.state == "Succeeded");
        let is_believed = |backup| was_executed(backup) || backup.was_answered_in_error;
        !made.any(|(_, backup)| backup.made > last && backup.path == vps && is_believed(backup))
    }

    /// Another call that was sent for the VPS that a record changes or overwrites, and has no known end yet.
    fn under_way_besides(&self, record: &Value, records: &[Arc<Value>]) -> Option<String> {
        let is_alone = !self.judges_overlaps || !drives_its_vps(record);
        let is_other = |other: &&Arc<Value>| {
            drives_its_vps(other)
                && text(other, "/spec/vpsId") == text(record, "/spec/vpsId")
                && text(other, "/metadata/uid") != text(record, "/metadata/uid")
                && self.posted.contains(text(other, "/metadata/uid"))
                && !is_final(state_of(other))
        };
        let other = records.iter().filter(|_| !is_alone).find(is_other);
        other.map(|other| text(other, "/metadata/name").to_owned())
    }

    /// The uid of the record that a process sends a call for, where it was settled while the process stood still. No client
    /// can know that: docs/proof.md, "What it leaves out".
    fn settled_in_a_pause(&self, who: &str, path: &str, body: &str) -> Option<String> {
        let mut read = self.settled_in_a_pause.iter();
        let (_, record) = read.find(|((reader, _), record)| {
            reader == who
                && text(record, "/spec/request/path") == path
                && text(record, "/spec/request/body") == body
                && !self.posted.contains(text(record, "/metadata/uid"))
        })?;
        Some(text(record, "/metadata/uid").to_owned())
    }

    /// The price of an hour of all orders that were sent and this one, if it exceeds the budget. Counts only where the
    /// budget is older than the object of the order, because the operator could then read it before each decision.
    fn over_budget(&self, uid: &str, records: &[Arc<Value>]) -> Option<Decimal> {
        let (limit, since) = self.budget.filter(|_| self.judges_budgets)?;
        let of = |record: &Value| text(record, "/metadata/uid") == uid;
        let record = records.iter().find(|record| of(record))?;
        let made = self.objects.get(text(record, "/spec/subject/uid"))?;
        let price = |record: &Value| added_per_hour(record).parse::<Decimal>().ok();
        let costs = |record: &&Arc<Value>| {
            let is_sent = of(record) || self.posted.contains(text(record, "/metadata/uid"));
            let has_vm = at(record, "/status/result").is_some();
            is_sent
                && match state_of(record) {
                    "Sending" | "Accepted" | "Unknown" | "Succeeded" => true,
                    "Failed" => has_vm,
                    _ => false,
                }
        };
        let sum: Decimal = records
            .iter()
            .filter(costs)
            .filter_map(|record| price(record))
            .sum();
        // What lowers the sum is allowed where others have exceeded the budget.
        let adds = price(record).is_some_and(|price| price > Decimal::ZERO);
        (adds && since < *made && sum > limit).then_some(sum)
    }

    /// How many paid calls were made with this one, if they are more than the cap.
    fn over_cap(&self, uid: &str, records: &[Arc<Value>]) -> Option<usize> {
        let counts = |record: &&Arc<Value>| {
            let own = text(record, "/metadata/uid");
            let came_to_nothing = ["NotSent", "Rejected"].contains(&state_of(record))
                || text(record, "/status/evidence") == "FoundBeforeClaim";
            own == uid || self.posted.contains(own) && !came_to_nothing
        };
        let made = records.iter().filter(counts).count();
        self.cap.is_some_and(|cap| made > cap as usize).then_some(made)
    }

    /// The holds on the purchase that a record is of.
    fn holds_on(&self, record: &Value) -> Vec<(Place, u64)> {
        let subject = |member| text(record, member).to_owned();
        let (name, namespace) = (subject("/spec/subject/name"), subject("/spec/subject/namespace"));
        let is_on = |(kind, within, of): &&Place| match *kind {
            "Namespace" => *of == namespace || of == OPERATORS_NAMESPACE,
            kind => kind == text(record, "/spec/subject/kind") && *within == namespace && *of == name,
        };
        let on = self.holds.keys().filter(is_on);
        on.map(|place| (place.clone(), self.holds[place])).collect()
    }
}

/// What was seen of one record.
#[derive(Debug, Clone, Default)]
struct SeenRecord {
    path: String,
    body: String,
    uid: String,
    generation: i64,
    expected_name: String,
    state: String,
    /// The type of its call.
    kind: String,
    /// So much HostUp had executed before it was made.
    executed_before: usize,
    /// The holds on it when it was made.
    holds: Vec<(Place, u64)>,
    is_asking: bool,
    was_freed: bool,
    is_deleted: bool,
    /// The revision that made it.
    revision: u64,
    /// When it was seen first.
    made: Option<Instant>,
    /// When its job was seen to have failed.
    job_failed: Option<Instant>,
    /// That was written down as its end before the settle time, so that a VM which was left may not be listed yet, and a
    /// process whose clock is that much ahead runs.
    failed_by_a_wrong_clock: bool,
    /// A person was asked before the settle time, and a process whose clock is ahead runs.
    was_asked_by_a_wrong_clock: bool,
    /// Somebody has answered for it in error.
    was_answered_in_error: bool,
    /// Its call was sent after it was settled, by a process that could not know.
    was_sent_unknowing: bool,
    /// `NotExecuted` took effect before the settle time, or was answered because a person was asked before it, and a process
    /// whose clock is that much ahead runs.
    was_freed_by_a_wrong_clock: bool,
}

/// Whether nobody has answered for the call of a record, and nothing is known of its end. Its time may be over.
fn is_open(record: &Value) -> bool {
    let is_unanswered = at(record, "/spec/resolution/answer").is_none();
    state_of(record) == "Sending" || (state_of(record) == "Unknown" && is_unanswered)
}

/// The object that a record was made for, if it is there still.
pub fn object_of(server: &ApiServer, record: &Value) -> Option<Arc<Value>> {
    let subject = |member: &str| text(record, &format!("/spec/subject/{member}"));
    let kind = if subject("kind") == Kind::CONFIG.kind {
        Kind::CONFIG
    } else {
        Kind::RESTORE
    };
    let object = server.get(kind, subject("namespace"), subject("name"));
    object.filter(|object| text(object, "/metadata/uid") == subject("uid"))
}

/// Where a record stands.
pub fn state_of(record: &Value) -> &str {
    match text(record, "/status/state") {
        "" => "Sending",
        state => state,
    }
}

/// Whether nothing changes a record in this state any more.
pub fn is_final(state: &str) -> bool {
    !matches!(state, "Sending" | "Accepted" | "Unknown")
}

/// What an hour costs more by this record's call.
fn added_per_hour(record: &Value) -> &str {
    match text(record, "/spec/quote/perHourDifference") {
        "" => text(record, "/spec/quote/perHour"),
        difference => difference,
    }
}

/// The types of the calls that change or overwrite a VPS.
const CHANGES: [&str; 3] = ["CommitResources", "ResizeCloudVm", "OverwriteVps"];
/// The type of the call that makes a backup before one of them.
const BACKUP: &str = "CreateBackup";

/// Whether its call changes, overwrites or backs up a VPS.
fn drives_its_vps(record: &Value) -> bool {
    let kind = text(record, "/spec/type");
    kind == BACKUP || CHANGES.contains(&kind)
}

/// The VM that a finished call has bought or resized; empty where there is none.
pub fn vm_of_call(record: &Value) -> &str {
    let is_resize = text(record, "/spec/type") == "ResizeCloudVm" && state_of(record) == "Succeeded";
    text(
        record,
        if is_resize {
            "/spec/vpsId"
        } else {
            "/status/result/vpsId"
        },
    )
}

/// A price may have been read so long before its record was made.
const OLDEST_PRICE: Duration = Duration::from_secs(60);
/// And the call may arrive so long after that.
const LATEST_CALL: Duration = Duration::from_secs(30);
/// A VM is listed, and every process has read the list, so long after its record was made.
const SEEN_BY_ALL: Duration = Duration::from_secs(30);

impl Judge {
    /// Of one life.
    pub fn new(server: ApiServer, hostup: InProcess, story: Story) -> Self {
        Self {
            server,
            hostup,
            story,
            seen: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is wrong.
    pub fn finds(&self, wrong: String) {
        self.story.tell(|| format!("WRONG: {wrong}"));
        self.lock().wrong.push(wrong);
    }

    /// The clock of a process is ahead by so much.
    pub fn knows_of_a_clock_ahead(&self, by: Duration) {
        let mut seen = self.lock();
        seen.ahead = seen.ahead.max(by);
    }

    /// HostUp changes its prices.
    pub fn knows_of_other_prices(&self) {
        self.lock().prices.push(Instant::now());
    }

    /// Somebody answers for a record in error.
    pub fn knows_of_an_error(&self, uid: &str) {
        if let Some(record) = self.lock().records.get_mut(uid) {
            record.was_answered_in_error = true;
        }
    }

    /// Whether no purchase may exceed a budget.
    pub fn holds_against_budgets(&self, yes: bool) {
        self.lock().judges_budgets = yes;
    }

    /// Whether no two calls may be under way for one VPS.
    pub fn holds_against_overlaps(&self, yes: bool) {
        self.lock().judges_overlaps = yes;
    }

    /// So many paid calls may be made.
    pub fn holds_against_a_cap(&self, cap: Option<u32>) {
        self.lock().cap = cap;
    }

    /// What was found.
    pub fn found(&self) -> Vec<String> {
        self.lock().wrong.clone()
    }

    /// How often a person was asked.
    pub fn questions(&self) -> u64 {
        self.lock().questions
    }

    /// How many calls left after their record was settled, because no client could know it.
    pub fn sent_unknowing(&self) -> usize {
        let seen = self.lock();
        seen.records
            .values()
            .filter(|record| record.was_sent_unknowing)
            .count()
    }

    /// A process gets the answer to a read of a record. `told` is what the answer shows, if the process stood still, with its
    /// clocks, while it waited.
    pub fn hears_of_a_record(&self, who: &str, name: &str, told: Option<Value>) {
        let is_settled_by_now = |told: &Value| {
            let now = self.server.get(Kind::OPERATION, "", name);
            let same = now.filter(|now| text(now, "/metadata/uid") == text(told, "/metadata/uid"));
            is_open(told) && !same.is_some_and(|now| is_open(&now))
        };
        let told = told.filter(is_settled_by_now);
        let read = (who.to_owned(), name.to_owned());
        let mut seen = self.lock();
        match told {
            Some(told) => seen.settled_in_a_pause.insert(read, told),
            None => seen.settled_in_a_pause.remove(&read),
        };
    }

    /// A paid call is about to leave: its record must stand, unanswered, and never have been sent. A hold that was there
    /// before the record, and still is, lets none leave.
    pub fn paid_call_leaves(&self, who: &str, path: &str, body: &str) {
        self.looks();
        let records = self.server.list(Kind::OPERATION, None);
        let of_this = records.iter().filter(|record| {
            text(record, "/spec/request/path") == path && text(record, "/spec/request/body") == body
        });
        let (mut matching, mut open) = (0, Vec::new());
        for record in of_this {
            matching += 1;
            if is_open(record) {
                open.push((
                    text(record, "/metadata/name").to_owned(),
                    text(record, "/metadata/uid").to_owned(),
                ));
            }
        }
        self.story.tell(|| format!("{who} sends {path} for {open:?}"));
        let settled = self.lock().settled_in_a_pause(who, path, body);
        if let Some(uid) = settled {
            self.story
                .tell(|| format!("{who} cannot know that this record is settled: it was paused"));
            let mut seen = self.lock();
            if let Some(record) = seen.records.get_mut(&uid) {
                record.was_sent_unknowing = true;
            }
            seen.posted.insert(uid);
            return;
        }
        let fresh = open
            .iter()
            .find(|(_, uid)| !self.lock().posted.contains(uid))
            .cloned();
        match fresh {
            Some((name, uid)) => {
                let mut seen = self.lock();
                let held = seen.records.get(&uid).and_then(|record| {
                    let mut holds = record.holds.iter();
                    holds
                        .find(|(place, since)| seen.holds.get(place) == Some(since))
                        .cloned()
                });
                let over = seen.over_budget(&uid, &records);
                let of_it = records.iter().find(|record| text(record, "/metadata/uid") == uid);
                let besides = of_it.and_then(|record| seen.under_way_besides(record, &records));
                let unasked = of_it.and_then(|record| seen.overwrites_unasked(record));
                let made = seen
                    .records
                    .get(&uid)
                    .map(|record| record.revision)
                    .unwrap_or_default();
                let denied = of_it.and_then(|record| seen.wishes.deny(record, made));
                let capped = seen.over_cap(&uid, &records);
                let purchases = self.hostup.purchases();
                let unsaved =
                    of_it.is_some_and(|record| seen.lacks_its_backup(record, &self.server, &purchases));
                seen.posted.insert(uid);
                drop(seen);
                if unsaved {
                    self.finds(format!("{who} sends {path} for {name} without a backup before"));
                }
                if let Some(other) = besides {
                    self.finds(format!(
                        "{who} sends {path} for {name}, and {other} of that VPS is under way"
                    ));
                }
                for why in unasked.into_iter().chain(denied) {
                    self.finds(format!("{who} sends {path} for {name}: {why}"));
                }
                if let Some(calls) = capped {
                    self.finds(format!(
                        "{who} sends {path} for {name}: paid call {calls}, over the cap"
                    ));
                }
                if let Some(sum) = over {
                    self.finds(format!(
                        "{who} sends {path} for {name}, and an hour costs {sum} then: over the budget"
                    ));
                }
                if let Some((place, _)) = held {
                    self.finds(format!("{who} sends {path} for {name}, which {place:?} holds"));
                }
            }
            None if matching == 0 => self.finds(format!("{who} sends {path} without a record")),
            None if open.is_empty() => self.finds(format!("{who} sends {path}, and its record is settled")),
            None => self.finds(format!("{who} sends {path} twice for {open:?}")),
        }
    }

    /// Takes in what has happened since.
    pub fn looks(&self) {
        let mut found = Vec::new();
        {
            let mut seen = self.lock();
            let writes = self.server.writes_from(seen.writes);
            seen.writes += writes.len();
            for write in &writes {
                if [Kind::NAMESPACE, Kind::RESTORE, Kind::CONFIG].contains(&write.kind) {
                    seen.takes_in(write);
                }
                if write.kind == Kind::BUDGET {
                    seen.takes_in_a_budget(write);
                }
                seen.wishes.take_in(write);
                if [Kind::RESTORE, Kind::CONFIG].contains(&write.kind) {
                    let uid = text(&write.object, "/metadata/uid").to_owned();
                    seen.objects.entry(uid).or_insert(write.revision);
                }
                if write.kind == Kind::RESTORE {
                    seen.takes_in_a_quote(&write.object, write.revision);
                }
                if write.kind != Kind::OPERATION {
                    continue;
                }
                let object = &write.object;
                let uid = text(object, "/metadata/uid").to_owned();
                let before = seen.records.get(&uid).cloned();
                let is_new = before.is_none();
                let mut record = before.unwrap_or_default();
                if write.verb == Verb::Delete {
                    record.is_deleted = true;
                    seen.records.insert(uid, record);
                    continue;
                }
                if is_new {
                    record.path = text(object, "/spec/request/path").to_owned();
                    record.body = text(object, "/spec/request/body").to_owned();
                    record.uid = text(object, "/spec/subject/uid").to_owned();
                    record.expected_name = text(object, "/spec/expectedVmName").to_owned();
                    record.generation = at(object, "/spec/subject/generation")
                        .and_then(Value::as_i64)
                        .unwrap_or(0);
                    record.state = "Sending".to_owned();
                    record.revision = write.revision;
                    record.made = Some(Instant::now());
                    record.holds = seen.holds_on(object);
                    record.kind = text(object, "/spec/type").to_owned();
                    record.executed_before = seen.purchases;
                }
                let state = state_of(object).to_owned();
                if is_final(&record.state) && state != record.state {
                    found.push(format!("{} was {} and is {state}", write.name, record.state));
                }
                if state != record.state {
                    let (name, from) = (&write.name, &record.state);
                    self.story.tell(|| {
                        format!(
                            "record {name}: {from} -> {state} ({})",
                            text(object, "/status/message")
                        )
                    });
                }
                let asks = state == "Unknown" && !text(object, "/status/evidence").is_empty();
                let age = record.made.map(|made| made.elapsed()).unwrap_or_default();
                if asks && !record.is_asking {
                    seen.questions += 1;
                    if text(object, "/status/evidence") == "NoneFound" && age + seen.ahead < TIMES.settle_time
                    {
                        found.push(format!("{} is asked about after {age:?}, too early", write.name));
                    }
                    record.was_asked_by_a_wrong_clock |=
                        age < TIMES.settle_time && seen.ahead > Duration::ZERO;
                }
                record.is_asking = asks;
                if state == "NotExecuted" && !record.was_freed {
                    if age + seen.ahead < TIMES.settle_time {
                        found.push(format!("{} is freed after {age:?}, too early", write.name));
                    }
                    if text(object, "/spec/resolution/answer") != "NotExecuted" {
                        found.push(format!("{} is freed, and nobody has said so", write.name));
                    }
                    if let Some(why) = self.refutes(object, age) {
                        found.push(format!("{} is freed, and {why}", write.name));
                    }
                    record.was_freed = true;
                    record.was_freed_by_a_wrong_clock =
                        age < TIMES.settle_time || record.was_asked_by_a_wrong_clock;
                }
                if text(object, "/status/evidence") == "Job" {
                    let seen_failed = *record.job_failed.get_or_insert_with(Instant::now);
                    let waited = seen_failed.elapsed();
                    if state == "Failed" && record.state != state && waited < TIMES.settle_time {
                        record.failed_by_a_wrong_clock = waited + seen.ahead >= TIMES.settle_time;
                    }
                }
                record.state = state;
                seen.records.insert(uid, record);
            }
            let purchases = self.hostup.purchases();
            if purchases.len() != seen.purchases {
                for purchase in &purchases[seen.purchases..] {
                    self.story.tell(|| {
                        format!(
                            "HostUp executes {:?} {} {}",
                            purchase.kind, purchase.source_vps, purchase.name
                        )
                    });
                }
                seen.purchases = purchases.len();
                found.extend(doubles(&seen, &purchases));
            }
        }
        for wrong in found {
            self.finds(wrong);
        }
    }

    /// What HostUp shows against a person's "not executed", if it does: the job of the call, or its VM, for so long that
    /// nobody can have missed it.
    fn refutes(&self, record: &Value, age: Duration) -> Option<String> {
        let job = text(record, "/status/job/id");
        let vm = self.vm_named(text(record, "/spec/expectedVmName"));
        let vm = vm.filter(|vm| age > SEEN_BY_ALL && self.is_listed(vm) && !self.is_cancelled(vm));
        // A backup may be missing though its job has ended well, and one more costs nothing.
        let is_known = |known: &Job| known.id == job && text(record, "/spec/type") != BACKUP;
        if self.hostup.world(|world| world.jobs.iter().any(is_known)) {
            return Some(format!("HostUp knows its job {job}"));
        }
        vm.map(|vm| format!("HostUp lists its VM {vm}"))
    }

    /// What must hold once everything has come to rest.
    pub fn concludes(&self) {
        self.looks();
        let seen = self.lock();
        let mut lost = Vec::new();
        let purchases = self.hostup.purchases();
        for ((path, body), executed) in by_request(&purchases) {
            let body = String::from_utf8_lossy(body);
            let tells = |record: &&SeenRecord| {
                // Before the settle time nobody can know it: docs/proof.md, "What it leaves out".
                let denies = matches!(record.state.as_str(), "NotSent" | "Rejected" | "NotExecuted")
                    && !record.was_freed_by_a_wrong_clock
                    && !record.was_answered_in_error
                    && !record.was_sent_unknowing;
                record.body == *body && record.path == path && !denies
            };
            let told = seen.records.values().filter(tells).count();
            if told < executed {
                lost.push(format!(
                    "{path} {body} was executed {executed} times, and {told} records tell of it"
                ));
            }
        }
        let executed = by_request(&purchases);
        let backups = seen.records.values().filter(|record| record.kind == BACKUP);
        for told in backups.filter(|record| record.state == "Succeeded" && !record.was_answered_in_error) {
            if !executed.contains_key(&(told.path.clone(), told.body.as_bytes())) {
                lost.push(format!("{} {} is told, and was never made", told.path, told.body));
            }
        }
        let errs = seen.records.values().any(|record| record.was_answered_in_error);
        drop(seen);
        lost.extend(self.sums_differ().filter(|_| !errs));
        for wrong in lost {
            self.finds(wrong);
        }
    }

    /// How the sums of the records differ from HostUp's own book, if they do: of all that was executed and that a record
    /// tells of which nobody has deleted or given up.
    fn sums_differ(&self) -> Option<String> {
        let records = self.server.list(Kind::OPERATION, None);
        let mut index = Index::new(InstanceId::new(INSTANCE), BEGINNING);
        for record in &records {
            let record = serde_json::from_value((**record).clone()).expect("a record");
            index.show(api::entry(&record));
        }
        let told = index.figures().money.into_iter().map(|money| {
            let amount = |amount: Option<Amount>| {
                let amount = amount.map(|amount| amount.to_string());
                amount.map_or(Decimal::ZERO, |amount| amount.parse().unwrap_or_default())
            };
            (amount(money.spent.per_hour), amount(money.spent.at_once))
        });
        let told = told.fold((Decimal::ZERO, Decimal::ZERO), |sum, own| {
            (sum.0 + own.0, sum.1 + own.1)
        });
        let mut open: Vec<&Arc<Value>> = records
            .iter()
            .filter(|record| matches!(state_of(record), "Succeeded" | "Failed"))
            .collect();
        let mut book = (Decimal::ZERO, Decimal::ZERO);
        // Where several records tell of one request, each tells of its own VM.
        let mut purchases = self.hostup.purchases();
        let has_its_record = |purchase: &Purchase| {
            let vm = purchase.vps_id.as_deref();
            records
                .iter()
                .any(|record| vm == Some(text(record, "/status/result/vpsId")))
        };
        purchases.sort_by_key(|purchase| !has_its_record(purchase));
        let mut is_exact = true;
        for purchase in purchases {
            let at_once = purchase.config.as_ref().map(|config| config.price.amount);
            // The same options may be ordered again, at another price.
            let before = purchase.resize.as_ref().and_then(|resize| resize.per_hour_before);
            let per_hour = purchase.per_hour.unwrap_or_default() - before.unwrap_or_default();
            let vm = purchase.resize.as_ref().map(|_| &purchase.source_vps);
            let vm = purchase.vps_id.as_ref().or(vm);
            let path = path_of(&purchase);
            let is_its_request = |record: &&Arc<Value>| {
                text(record, "/spec/request/body").as_bytes() == purchase.body
                    && text(record, "/spec/request/path") == path
            };
            let is_of = |record: &&Arc<Value>| {
                let price = |member| text(record, member).parse::<Decimal>().ok();
                let difference = before.map(|_| per_hour);
                is_its_request(record)
                    && price("/spec/quote/perHourDifference") == difference
                    && price("/spec/quote/perHour") == purchase.per_hour
                    && price("/spec/quote/dueNow") == at_once
            };
            let own = |record: &&Arc<Value>| {
                is_of(record) && purchase.vps_id.as_deref() == Some(text(record, "/status/result/vpsId"))
            };
            // An approved quote also covers a lower price, and the record tells the approved one.
            let is_cheaper = |record: &Value| {
                let approved = |part| text(record, part).parse::<Decimal>().ok();
                text(record, "/spec/approval/type") == "Quote"
                    && purchase.per_hour <= approved("/spec/quote/perHour")
                    && at_once <= approved("/spec/quote/dueNow")
            };
            let is_at_another_price = |record: &&Arc<Value>| {
                is_its_request(record) && (is_cheaper(record) || self.has_an_old_price(record))
            };
            let place = open.iter().position(own).or_else(|| open.iter().position(is_of));
            let other = || open.iter().position(is_at_another_price);
            let Some(place) = place.or_else(|| {
                let other = other();
                is_exact &= other.is_none();
                other
            }) else {
                continue;
            };
            let record = open.remove(place);
            // Nobody can know of its VM.
            if at(record, "/status/result").is_none() && self.failed_by_a_wrong_clock(record) {
                continue;
            }
            if vm.is_some_and(|vm| !self.is_cancelled(vm)) {
                book.0 += per_hour;
            }
            book.1 += at_once.unwrap_or_default();
        }
        if let Some(record) = open.first() {
            let (name, price) = (
                text(record, "/metadata/name"),
                text(record, "/spec/quote/summary"),
            );
            return Some(format!(
                "record {name} tells of {price}, and HostUp has sold nothing at that price"
            ));
        }
        (is_exact && told != book).then(|| {
            format!(
                "the records tell of {} an hour and {} at once, and HostUp's book of {} and {}",
                told.0, told.1, book.0, book.1
            )
        })
    }

    /// Whether HostUp may have changed the price of a record after it was read, and before the call arrived.
    fn has_an_old_price(&self, record: &Value) -> bool {
        let seen = self.lock();
        let made = seen
            .records
            .get(text(record, "/metadata/uid"))
            .and_then(|record| record.made);
        made.is_some_and(|made| {
            let is_near =
                |changed: &Instant| *changed + OLDEST_PRICE >= made && *changed <= made + LATEST_CALL;
            seen.prices.iter().any(is_near)
        })
    }

    fn failed_by_a_wrong_clock(&self, record: &Value) -> bool {
        let seen = self.lock();
        let record = seen.records.get(text(record, "/metadata/uid"));
        record.is_some_and(|record| record.failed_by_a_wrong_clock)
    }

    /// The VPS has another name.
    pub fn renames(&self, vps: &str, name: &str) {
        self.hostup.world(|world| {
            if let Some(vps) = world.vps_mut(vps) {
                name.clone_into(&mut vps.name);
            }
        });
    }

    /// Whether HostUp's list shows the VM by now.
    pub fn is_listed(&self, vm: &str) -> bool {
        self.hostup.world(|world| world.lists(vm))
    }

    /// Whether a job that will not end is at work on the VPS.
    pub fn is_busy_for_good(&self, vps: &str) -> bool {
        self.hostup.world(|world| {
            let mut jobs = world.jobs.iter();
            jobs.any(|job| job.target.as_deref() == Some(vps) && job.never_ends())
        })
    }

    /// HostUp provides the VM no longer.
    pub fn cancels(&self, vm: &str) {
        self.hostup.world(|world| {
            if let Some(vm) = world.vps_mut(vm) {
                "terminated".clone_into(&mut vm.service_status);
            }
        });
    }

    /// Whether HostUp provides the VM no longer.
    pub fn is_cancelled(&self, vm: &str) -> bool {
        self.hostup.world(|world| {
            let vm = world.vps_mut(vm);
            vm.is_some_and(|vm| vm.service_status == "terminated")
        })
    }

    /// Whether a VPS has other options, or another size, than an object wants of it.
    pub fn lacks_what_it_wants(&self, object: &Value) -> bool {
        let number = |path: &str| at(object, path).and_then(Value::as_u64).map(Decimal::from);
        self.hostup.world(|world| {
            let Some(vps) = world.vps_mut(text(object, "/spec/vpsId")) else {
                return false;
            };
            let bandwidth = vps.options.iter().find(|option| option.key == "bandwidthGb");
            let has = [
                bandwidth.map(|option| option.current.clone()),
                Some(OptionValue::Number(vps.resources.cpu_cores)),
                Some(OptionValue::Number(vps.resources.memory_gb)),
            ];
            let wants = [
                number("/spec/resources/bandwidthGb"),
                number("/spec/cloudVm/cpuCores"),
                number("/spec/cloudVm/memoryGb"),
            ];
            let differs = |(wants, has): (Option<Decimal>, Option<OptionValue>)| {
                wants.is_some_and(|wants| has != Some(OptionValue::Number(wants)))
            };
            wants.into_iter().zip(has).any(differs)
        })
    }

    /// The id of the one VM of that name, as HostUp's panel shows it.
    pub fn vm_named(&self, name: &str) -> Option<String> {
        if name.is_empty() {
            return None;
        }
        let purchases = self.hostup.purchases();
        let bought = purchases
            .iter()
            .find(|purchase| purchase.name_sent.as_deref() == Some(name))?;
        self.hostup.world(|world| {
            let named = world.vps_named(bought.account, name);
            named.first().map(|vm| vm.id.clone())
        })
    }

    /// Whether HostUp has executed the call of a record, as its panel shows it to a person: no other call of that request
    /// left while this one's outcome was open.
    pub fn was_executed(&self, record: &Value) -> bool {
        let purchases = self.hostup.purchases();
        let seen = self.lock();
        let own = seen.records.get(text(record, "/metadata/uid"));
        own.is_some_and(|own| {
            let since = purchases.iter().skip(own.executed_before);
            let mut of_it = since.filter(|purchase| purchase.body == own.body.as_bytes());
            of_it.any(|purchase| path_of(purchase) == own.path)
        })
    }
}

/// A person has freed what it was made for: by `NotExecuted`, or by deleting the record of something that left no VM, and
/// its object, which is made anew.
fn is_free(record: &SeenRecord, all: &[&SeenRecord]) -> bool {
    let left_nothing = matches!(record.state.as_str(), "Failed" | "Abandoned")
        // An object that is made again needs an approval of its own quote.
        || record.kind == "OverwriteVps"
        // Nothing is lost by one backup more.
        || record.kind == BACKUP;
    let made_anew = all.iter().any(|other| other.uid != record.uid);
    record.was_freed || (record.is_deleted && left_nothing && made_anew)
}

/// The path of a call.
fn path_of(purchase: &Purchase) -> String {
    let Purchase {
        kind,
        source_vps: vps,
        backup,
        ..
    } = purchase;
    let call = match kind {
        PurchaseKind::RestoreToPayg => format!("backups/{backup}/actions/restore-to-payg"),
        PurchaseKind::Restore => format!("backups/{backup}/actions/restore"),
        PurchaseKind::RestoreFromVps => "backups/actions/restore-from-vps".to_owned(),
        PurchaseKind::Config => "actions/config".to_owned(),
        PurchaseKind::Resize => "actions/resize".to_owned(),
        PurchaseKind::CreateBackup => "backups".to_owned(),
        // Nobody orders these.
        PurchaseKind::LegacyUpgrade => format!("{kind:?}"),
    };
    format!("/api/v2/vps/{vps}/{call}")
}

/// How often each request was executed, by its path and body.
fn by_request(purchases: &[Purchase]) -> BTreeMap<(String, &[u8]), usize> {
    let mut executed = BTreeMap::new();
    for purchase in purchases {
        let request = (path_of(purchase), purchase.body.as_slice());
        *executed.entry(request).or_default() += 1;
    }
    executed
}

/// Calls that were executed more often than anybody wished.
fn doubles(seen: &Seen, purchases: &[Purchase]) -> Vec<String> {
    let mut found = Vec::new();
    for ((path, body), times) in by_request(purchases) {
        let body = String::from_utf8_lossy(body);
        let of_it: Vec<_> = seen
            .records
            .values()
            .filter(|record| record.body == *body && record.path == path)
            .collect();
        let freed = of_it.iter().filter(|record| is_free(record, &of_it)).count();
        let is_restore = of_it
            .iter()
            .any(|record| ["RestoreToCloudVm", "OverwriteVps", BACKUP].contains(&record.kind.as_str()));
        // Options may be ordered back and forth; what is ordered twice in a row is judged below.
        if !is_restore {
            continue;
        }
        let allowed = 1 + freed;
        if times > allowed {
            found.push(format!(
                "{path} {body} was executed {times} times, and {allowed} are allowed"
            ));
        }
    }
    for purchase in purchases
        .iter()
        .filter(|purchase| purchase.kind == PurchaseKind::RestoreToPayg)
    {
        let Some(sent) = &purchase.name_sent else { continue };
        let of_name = purchases
            .iter()
            .filter(|other| other.name_sent.as_ref() == Some(sent))
            .count();
        let of_it: Vec<_> = seen
            .records
            .values()
            .filter(|record| record.expected_name == *sent)
            .collect();
        let freed = of_it.iter().filter(|record| is_free(record, &of_it)).count();
        if of_name > 1 + freed {
            found.push(format!(
                "{of_name} VMs were bought as {sent}, and {} are allowed",
                1 + freed
            ));
            break;
        }
    }
    found.extend(twice_in_a_row(seen, purchases));
    found
}

/// Changes of options or of a size that were ordered again though they were the last ones of their VPS, and nobody had
/// freed them.
fn twice_in_a_row(seen: &Seen, purchases: &[Purchase]) -> Vec<String> {
    let mut last: BTreeMap<&str, &Purchase> = BTreeMap::new();
    let mut found = Vec::new();
    let changes = purchases
        .iter()
        .filter(|purchase| matches!(purchase.kind, PurchaseKind::Config | PurchaseKind::Resize));
    for change in changes {
        let before = last.insert(&change.source_vps, change);
        let path = path_of(change);
        let is_of_it = |record: &&SeenRecord| record.path == path && record.body.as_bytes() == change.body;
        let of_it: Vec<_> = seen.records.values().filter(is_of_it).collect();
        let is_allowed = of_it.iter().any(|record| is_free(record, &of_it));
        if before.is_some_and(|before| before.body == change.body) && !is_allowed {
            found.push(format!("{path} was executed twice in a row"));
        }
    }
    found
}
