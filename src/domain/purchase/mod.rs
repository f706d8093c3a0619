//! One purchase of one process: reserve, claim, look, send, record. Pure: it is told what came back, and says what to do
//! next.
//!
//! The right to send is a state. Only the answer to the machine's own create leads to it, and what yields
//! [`Effect::Post`] cannot yield it twice: the state is used up.

mod recording;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;

use crate::action::answer::{PaidAnswer, classify};
use crate::action::follow::Input;
use crate::action::ordered::ActionKind;
use crate::consent::approval::Grant;
use crate::ledger::chain::READINGS_LAST;
use crate::ledger::order::Order;
use crate::ledger::record::{Claim, Outcome, Record, State as RecordState, Times};
use crate::provider::inventory::Sighting;
use crate::values::ids::Holder;
use crate::values::moment::Moment;
use crate::values::text::Text;
use recording::Recording;
pub use recording::Written;

/// Reads that clear up an unclear answer to the create, and the wait between two.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Second looks at a busy API server, and the wait between two: a claim that is given up costs a try.
const SECOND_LOOKS: u32 = 4;
const BETWEEN_SECOND_LOOKS: Duration = Duration::from_millis(300);

/// What the driver does next. It does it once, and then gives the machine the [`Event`] that it names.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Take the place in the caps and in the account's limits; then [`Event::Reserved`]. Where nothing is sent no cap
    /// counts it.
    Reserve {
        /// Whether a paid call may follow.
        pays: bool,
    },
    /// Create the record as it was drafted; then [`Event::Created`].
    Create,
    /// Read the record; then [`Event::Read`].
    Read,
    /// Read the object and the holds on it; then [`Event::LookedAtObject`].
    LookAtObject,
    /// Read the record, after everything else was read; then [`Event::LookedAtRecord`].
    LookAtRecord,
    /// Tell who waits that the call is about to be sent; then [`Event::HandedOver`].
    HandOver,
    /// Send the one call; then [`Event::Answered`].
    Post(RightToSend),
    /// Write this over the record as it was read last; then [`Event::Written`].
    Write(Outcome),
    /// Wait so long; then [`Event::Waited`].
    Wait(Duration),
    /// Nothing more.
    End(End),
}

/// How a purchase ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// No record of ours was made: a cap or a limit is reached, the readings are too old, or another one was first.
    NotMade,
    /// The API server refused the create.
    Refused,
    /// It stayed unclear whether the record was made. Should it turn up, nothing was sent for it.
    Unconfirmed,
    /// The record that was made cannot be read. Nothing was sent for it.
    Unreadable,
    /// The outcome is written to the record.
    Recorded {
        /// The state of the record before.
        from: RecordState,
        /// The record that was written over.
        record: Box<Record>,
        /// What is known now.
        known: Outcome,
    },
    /// The record was settled otherwise before what its holder had learnt could be written.
    Settled {
        /// As it stands.
        record: Box<Record>,
        /// What is written nowhere.
        learnt: Input,
    },
    /// The record is gone, or another one has its name. With the outcome that could not be written.
    Gone(Box<Record>, Outcome),
    /// What came back answers nothing that was asked: a bug.
    Confused,
}

/// What came of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing was done yet.
    Begun,
    /// Whether the places could be taken.
    Reserved(bool),
    /// The answer to the create.
    Created(Created),
    /// The record.
    Read(Reading<Box<Record>>),
    /// The object.
    LookedAtObject(Reading<Standing>),
    /// The record.
    LookedAtRecord(Reading<Reread>),
    /// Who waits was told.
    HandedOver,
    /// HostUp's answer.
    Answered(PaidAnswer),
    /// The answer to a write.
    Written(Written),
    /// The time has passed.
    Waited,
}

/// The answer to a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was made, and this came back; `None` where that cannot be read.
    Made(Option<Box<Record>>),
    /// The API server said no before it wrote.
    Refused,
    /// Another one of that name is there, which may be the one that was made.
    Conflict,
    /// It may have been made.
    Unclear,
}

/// What a read brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// This.
    Found(T),
    /// One of that name, which somebody else has made.
    Anothers,
    /// The API server has none.
    None,
    /// The API server asks to come again.
    Busy,
    /// It could not be read.
    Unreadable,
}

/// The facts of the object at the second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub struct Standing {
    /// It is the one that was looked at first.
    pub is_same: bool,
    /// Its spec is the one that was looked at first.
    pub is_unchanged: bool,
    /// It is being deleted.
    pub is_being_deleted: bool,
    /// It is suspended.
    pub is_suspended: bool,
    /// The annotation `vps.hostup.se/hold` on it, on its Namespace or on the operator's holds it.
    pub is_held: bool,
    /// Its status tells of the same record in the same state as at the first look, or of none as then.
    pub is_told_alike: bool,
    /// No other record for the VPS that the call changes or overwrites is without a known end, and nothing was done to a VPS
    /// that is overwritten since its quote was shown.
    pub is_alone: bool,
}

/// The facts of the record at the second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reread {
    /// Nobody settled it.
    pub is_sending: bool,
    /// Its spec is what was drafted.
    pub is_as_drafted: bool,
}

/// The right to send the one call of one record. It cannot be made anywhere else nor copied, and the POST uses it up.
#[derive(Debug, PartialEq, Eq)]
pub struct RightToSend {
    kind: ActionKind,
    path: String,
    body: String,
    within: Duration,
}

impl RightToSend {
    /// Which call.
    pub fn kind(&self) -> ActionKind {
        self.kind
    }

    /// The request path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The exact body.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// One deadline for everything.
    pub fn within(&self) -> Duration {
        self.within
    }
}

/// What a purchase is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is claimed and sent.
    pub order: Order,
    /// The claim; its holder is this machine's alone.
    pub claim: Claim,
    /// When the readings behind the order began.
    pub read: Moment,
    /// What was found before anything is claimed: nothing is sent then.
    pub found: Option<Sighting>,
}

/// One purchase.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))] // the search goes on from one state in many ways
pub struct Purchase {
    plan: Plan,
    times: Times,
    /// When the create began.
    made: Moment,
    state: State,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum State {
    Begun,
    Reserving,
    Creating,
    Confirming { looks: u32, is_taken: bool },
    LookingAtObject { record: Box<Record>, looks: u32 },
    LookingAtRecord { record: Box<Record>, looks: u32 },
    HandingOver { record: Box<Record> },
    Sending { record: Box<Record> },
    Recording(Box<Recording>),
    Ended,
}

impl Purchase {
    /// Nothing is done yet; `now` is when it begins.
    pub fn new(plan: Plan, times: Times, now: Moment) -> Self {
        Self {
            plan,
            times,
            made: now,
            state: State::Begun,
        }
    }

    /// What to do next, after `event`.
    pub fn next(&mut self, event: Event, now: Moment) -> Effect {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let (state, effect) = self.step(state, event, now);
        self.state = state;
        effect
    }

    fn step(&mut self, state: State, event: Event, now: Moment) -> (State, Effect) {
        match (state, event) {
            (State::Begun, Event::Begun) => self.begin(now),
            (State::Reserving, Event::Reserved(true)) => (State::Creating, Effect::Create),
            (State::Reserving, Event::Reserved(false)) => ended(End::NotMade),
            (State::Creating, Event::Created(created)) => self.created(created, now),
            (State::Confirming { looks, is_taken }, Event::Read(read)) => {
                self.confirmed(read, looks, is_taken, now)
            }
            (state @ State::Confirming { .. }, Event::Waited) => (state, Effect::Read),
            (State::LookingAtObject { record, looks }, Event::LookedAtObject(object)) => {
                self.looked_at_object(record, looks, &object, now)
            }
            (State::LookingAtRecord { record, looks }, Event::LookedAtRecord(reread)) => {
                self.looked_at_record(record, looks, &reread, now)
            }
            (state @ State::LookingAtObject { .. }, Event::Waited) => (state, Effect::LookAtObject),
            (State::HandingOver { record }, Event::HandedOver) => self.redeemed(record, now),
            (State::Sending { record }, Event::Answered(answer)) => {
                let verdict = classify(record.action.kind(), &answer, now.wall);
                self.record(record, Input::Answered(verdict), now)
            }
            (State::Recording(recording), event) => match recording.next(event, &self.times, now) {
                Ok((recording, effect)) => (State::Recording(Box::new(recording)), effect),
                Err(end) => ended(*end),
            },
            (_, _) => ended(End::Confused),
        }
    }

    fn begin(&mut self, now: Moment) -> (State, Effect) {
        self.made = now;
        let is_ours_alone = !self.plan.claim.holder.as_str().is_empty();
        let order = &self.plan.order;
        let needs_grant = self.plan.found.is_none() && order.action.kind().row().needs_approval;
        if !is_ours_alone
            || (needs_grant && order.grant.is_none())
            || now.since(&self.plan.read) > READINGS_LAST
        {
            return ended(End::NotMade);
        }
        let pays = self.plan.found.is_none();
        (State::Reserving, Effect::Reserve { pays })
    }

    fn created(&mut self, created: Created, now: Moment) -> (State, Effect) {
        let confirming = |is_taken| State::Confirming { looks: 1, is_taken };
        match created {
            Created::Made(Some(record)) => self.made_if_ours(record, now),
            Created::Made(None) => ended(End::Unreadable),
            Created::Refused => ended(End::Refused),
            Created::Conflict => (confirming(true), Effect::Read),
            Created::Unclear => (confirming(false), Effect::Read),
        }
    }

    /// An answer left open whether the record was made, even a 409: the holder is compared, never the name.
    fn confirmed(
        &mut self,
        read: Reading<Box<Record>>,
        looks: u32,
        is_taken: bool,
        now: Moment,
    ) -> (State, Effect) {
        match read {
            Reading::Found(record) => self.made_if_ours(record, now),
            Reading::Anothers => ended(End::NotMade),
            Reading::None if is_taken => ended(End::NotMade),
            Reading::None | Reading::Busy | Reading::Unreadable if looks < LOOKS => {
                let state = State::Confirming {
                    looks: looks + 1,
                    is_taken,
                };
                (state, Effect::Wait(BETWEEN_LOOKS))
            }
            Reading::None | Reading::Busy | Reading::Unreadable => ended(End::Unconfirmed),
        }
    }

    fn made_if_ours(&mut self, record: Box<Record>, now: Moment) -> (State, Effect) {
        if !is_held_by(&record, &self.plan.claim.holder) {
            return ended(End::NotMade);
        }
        match self.plan.found.take() {
            Some(found) => self.record(record, Input::FoundBeforeClaim(found), now),
            None => (State::LookingAtObject { record, looks: 1 }, Effect::LookAtObject),
        }
    }

    fn looked_at_object(
        &mut self,
        record: Box<Record>,
        looks: u32,
        object: &Reading<Standing>,
        now: Moment,
    ) -> (State, Effect) {
        if *object == Reading::Busy && looks < SECOND_LOOKS {
            return looks_again(record, looks);
        }
        let wall = not_before_it_was_made(&record, now);
        match no_longer_wanted(object, self.plan.order.grant.as_ref(), wall) {
            Some(why) => self.withdrawn(record, why, now),
            None => (State::LookingAtRecord { record, looks }, Effect::LookAtRecord),
        }
    }

    /// The record is read last. A process may be paused, together with its clocks, while it waits for an answer; a record
    /// that was read before that answer is then out of date.
    fn looked_at_record(
        &mut self,
        record: Box<Record>,
        looks: u32,
        reread: &Reading<Reread>,
        now: Moment,
    ) -> (State, Effect) {
        if *reread == Reading::Busy && looks < SECOND_LOOKS {
            return looks_again(record, looks);
        }
        match no_longer_ours(reread) {
            Some(why) => self.withdrawn(record, why, now),
            None => (State::HandingOver { record }, Effect::HandOver),
        }
    }

    /// Uses the right up. It is lost if its time has passed by any clock.
    fn redeemed(&mut self, record: Box<Record>, now: Moment) -> (State, Effect) {
        let waited = now.since(&self.made);
        let in_time = now.wall <= record.claim.send_before
            && waited <= self.times.request_timeout
            && now.since(&self.plan.read) <= READINGS_LAST;
        if !in_time {
            return self.withdrawn(record, "the claim was too old to be sent", now);
        }
        let grant = self.plan.order.grant.as_ref();
        if grant.is_some_and(|grant| grant.has_ended(not_before_it_was_made(&record, now))) {
            return self.withdrawn(record, "the approval ended before anything was sent", now);
        }
        // The draft is sent, and not what the API server returned: an admission webhook may have changed that.
        let order = &self.plan.order;
        let right = RightToSend {
            kind: order.action.kind(),
            path: order.path.clone(),
            body: order.body.clone(),
            within: self.times.paid_timeout.saturating_sub(waited),
        };
        (State::Sending { record }, Effect::Post(right))
    }

    fn withdrawn(&mut self, record: Box<Record>, why: &str, now: Moment) -> (State, Effect) {
        let why = Text::new(&format!("withdrawn: {why}"));
        self.record(record, Input::Withdrawn(why), now)
    }

    fn record(&self, record: Box<Record>, input: Input, now: Moment) -> (State, Effect) {
        match Recording::begin(record, input, &self.times, self.made, now) {
            Ok((recording, effect)) => (State::Recording(Box::new(recording)), effect),
            Err(end) => ended(*end),
        }
    }
}

fn ended(end: End) -> (State, Effect) {
    (State::Ended, Effect::End(end))
}

fn looks_again(record: Box<Record>, looks: u32) -> (State, Effect) {
    let looks = looks + 1;
    let state = State::LookingAtObject { record, looks };
    (state, Effect::Wait(BETWEEN_SECOND_LOOKS))
}

fn is_held_by(record: &Record, holder: &Holder) -> bool {
    !holder.as_str().is_empty() && record.claim.holder == *holder
}

/// The time of day, by the API server's clock if that is ahead.
fn not_before_it_was_made(record: &Record, now: Moment) -> Timestamp {
    record.created_at.map_or(now.wall, |made| made.max(now.wall))
}

fn no_longer_wanted(
    object: &Reading<Standing>,
    grant: Option<&Grant>,
    now: Timestamp,
) -> Option<&'static str> {
    match object {
        Reading::Busy | Reading::Unreadable => {
            Some("the object or its Namespace could not be read again after the claim")
        }
        Reading::None | Reading::Anothers => Some("the object was deleted before anything was sent"),
        Reading::Found(object) if !object.is_same => Some("the object was replaced before anything was sent"),
        Reading::Found(object) if object.is_being_deleted => {
            Some("the object or its Namespace is being deleted")
        }
        Reading::Found(object) if object.is_suspended => {
            Some("the object was suspended before anything was sent")
        }
        Reading::Found(object) if object.is_held => {
            Some("the annotation vps.hostup.se/hold was set before anything was sent")
        }
        Reading::Found(_) if grant.is_some_and(|grant| grant.has_ended(now)) => {
            Some("the approval ended before anything was sent")
        }
        Reading::Found(object) if !object.is_unchanged => {
            Some("the object was changed before anything was sent")
        }
        // It may have bought, and its record may have been deleted since: then this one only bears the same name.
        Reading::Found(object) if !object.is_told_alike => {
            Some("another process acted for the object before anything was sent")
        }
        // Another replica may have claimed for another object of the same VPS: each makes its record before it looks.
        Reading::Found(object) if !object.is_alone => {
            Some("another call for this VPS is under way, or was made since the quote was shown")
        }
        Reading::Found(_) => None,
    }
}

/// A process that stood still may find that its record was taken for lost and answered meanwhile.
fn no_longer_ours(record: &Reading<Reread>) -> Option<&'static str> {
    match record {
        Reading::Busy | Reading::Unreadable => Some("the record could not be read again after the claim"),
        Reading::None | Reading::Anothers => Some("the record is gone"),
        Reading::Found(record) if !record.is_sending => {
            Some("the record was settled before anything was sent")
        }
        Reading::Found(record) if !record.is_as_drafted => Some(
            "the record is not what was drafted; an admission webhook or policy of this cluster must leave \
             VpsOperations as they are",
        ),
        Reading::Found(_) => None,
    }
}
