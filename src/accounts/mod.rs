//! One reader for each API key: it owns the pace, the waits that HostUp asks for, the queue and the readings. Nobody
//! waits for HostUp here: who asks takes what is there, or is woken once it has come.

mod asker;
mod away;
mod desk;
mod jobs;
mod leaves;
mod pace;
mod question;
mod queue;
mod sold;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

pub use asker::{Age, Asked, Asker, Want, Who};
pub use question::{Answer, Question, Reading, Readings};
pub use queue::Class;

use crate::clock::Clock;
use crate::domain::action::answer::PaidAnswer;
use crate::domain::action::follow::JobTimes;
use crate::domain::provider::preflight::Remaining;
use crate::domain::purchase::RightToSend;
use crate::domain::values::ids::RecordName;
use crate::domain::values::moment::Moment;
use crate::domain::values::text::Text;
use crate::hostup::{self, HostUp, ReadError, Signal, Traffic};
use desk::Desk;
use pace::Promise;
use queue::Next;

/// Keys kept; the idle ones beyond go.
const KEYS_KEPT: usize = 1000;

/// Has somebody looked at soon.
pub type Wake = Arc<dyn Fn(&Who) + Send + Sync>;

/// Every key that is in use.
pub struct Accounts {
    hostup: HostUp,
    clock: Clock,
    wake: Wake,
    by_key: Mutex<HashMap<[u8; 32], Arc<Reader>>>,
    /// Where each of those that wait has asked.
    asking: Mutex<HashMap<Who, Weak<Reader>>>,
}

impl Accounts {
    /// No key yet; `wake` is told whose questions are answered.
    pub fn new(hostup: HostUp, clock: Clock, wake: Wake) -> Arc<Self> {
        Arc::new(Self {
            hostup,
            clock,
            wake,
            by_key: Mutex::default(),
            asking: Mutex::default(),
        })
    }

    /// The account that `key`, of that Secret, belongs to. Secrets with one key share everything.
    pub fn account(self: &Arc<Self>, key: &SecretString, namespace: &str, secret: &str) -> Account {
        let hash: [u8; 32] = Sha256::digest(key.expose_secret().as_bytes()).into();
        let mut readers = lock(&self.by_key);
        if readers.len() >= KEYS_KEPT {
            let now = self.clock.now();
            readers.retain(|_, reader| Arc::strong_count(reader) > 1 || !lock(&reader.desk).is_idle(now));
        }
        let reader = readers.entry(hash).or_insert_with(|| {
            Arc::new_cyclic(|this: &Weak<Reader>| Reader {
                namespace: namespace.to_owned(),
                secret: secret.to_owned(),
                client: self.hostup.account(key.clone(), Arc::new(Told(this.clone()))),
                accounts: Arc::downgrade(self),
                clock: self.clock.clone(),
                wake: self.wake.clone(),
                desk: Mutex::new(Desk::new(self.clock.now(), u32::from(hash[0]))),
                changed: Notify::new(),
                reading: Mutex::new(false),
            })
        });
        Account {
            accounts: self.clone(),
            reader: reader.clone(),
        }
    }

    /// Somebody has got what it needs, or needs it no more.
    pub fn forget(&self, who: &Who) {
        let reader = lock(&self.asking).remove(who);
        if let Some(reader) = reader.and_then(|reader| reader.upgrade()) {
            lock(&reader.desk).forget(who);
            reader.wake_next();
            // What was kept for it may leave for another.
            reader.changed.notify_one();
        }
    }

    /// What is known of each key, for metrics.
    pub fn states(&self) -> Vec<KeyState> {
        let now = self.clock.now();
        let readers: Vec<Arc<Reader>> = lock(&self.by_key).values().cloned().collect();
        readers.iter().map(|reader| reader.state(now)).collect()
    }

    /// HostUp answers one key again: the others need not wait for their own tries.
    fn hostup_is_back(&self) {
        let readers: Vec<Arc<Reader>> = lock(&self.by_key).values().cloned().collect();
        let now = self.clock.now();
        for reader in readers {
            if lock(&reader.desk).try_soon(now) {
                reader.changed.notify_one();
            }
        }
    }
}

/// What is known of one key.
#[derive(Debug, Clone)]
pub struct KeyState {
    /// Of the first Secret that the key was seen in.
    pub namespace: String,
    /// Its name.
    pub secret: String,
    /// Calls that HostUp says are left, where it says so and has not counted anew since.
    pub remaining: Option<u32>,
    /// How long it has asked this process, in all, to send nothing.
    pub asked_to_wait: Duration,
    /// HostUp does not answer with this key; one call at a time tries.
    pub away: bool,
    /// Questions that wait, and how long the oldest has, by class.
    pub waiting: Vec<(Class, usize, Duration)>,
    /// Looks that asked, and those of them that were served from what was there.
    pub served: (u64, u64),
}

/// One account, as who asks holds it.
#[derive(Clone)]
pub struct Account {
    accounts: Arc<Accounts>,
    reader: Arc<Reader>,
}

impl Account {
    /// Answers `wants` from what is there. The first one proves that the key reads what the others are about: they are
    /// asked once it is answered. Without an answer who asks is woken later, and asks again.
    pub fn ask(&self, asker: Asker, wants: Vec<Want>) -> Asked {
        let who = asker.who.clone();
        let here = Arc::downgrade(&self.reader);
        let before = lock(&self.accounts.asking).insert(who.clone(), here.clone());
        // With another key the answers of the one before count for nothing.
        if let Some(elsewhere) = before
            .filter(|before| !before.ptr_eq(&here))
            .and_then(|before| before.upgrade())
        {
            lock(&elsewhere.desk).forget(&who);
            elsewhere.wake_next();
        }
        let (asked, rests) = {
            let mut desk = lock(&self.reader.desk);
            (desk.ask(asker, wants, self.reader.clock.now()), desk.rests())
        };
        // What will soon be too old is read again, also where all is there.
        if !rests || !matches!(asked, Asked::Ready(_)) {
            self.reader.read_on();
        }
        asked
    }

    /// What was read no longer than `ago`, if it was; nothing is asked.
    pub fn glance(&self, question: &Question, ago: Duration) -> Option<Arc<Reading>> {
        lock(&self.reader.desk).glance(question, ago, self.reader.clock.now())
    }

    /// A slot for `who` to make one paid call now, taken before the claim so that the call can follow at once. It waits
    /// for no read.
    pub fn paid_slot(&self, who: &Who) -> PaidSlot {
        let now = self.reader.clock.now();
        let mut desk = lock(&self.reader.desk);
        if let Some(counted) = desk.take_paid_call(who, now) {
            return PaidSlot::Given(PaidCall {
                reader: self.reader.clone(),
                counted: Some(counted),
            });
        }
        if desk.limited(now).is_some() {
            return PaidSlot::Limited;
        }
        desk.wait_again(who);
        drop(desk);
        self.reader.read_on();
        PaidSlot::Later
    }

    /// What this process has seen of the time that jobs of the account take, for the job of `record`.
    pub fn job_times(&self, record: &RecordName) -> JobTimes {
        lock(&self.reader.desk).job_times(record, self.reader.clock.now())
    }

    /// Waits while HostUp wants no call for a moment only: a claim that is given up costs a try.
    pub async fn wait_a_moment(&self) {
        let moment = lock(&self.reader.desk).moment(self.reader.clock.now());
        if let Some(moment) = moment {
            tokio::time::sleep(moment).await;
        }
    }

    /// Sends one paid POST: no retry, redirect, proxy or pooled connection, HTTP/1.1, one deadline for everything.
    pub async fn paid_post(&self, right: RightToSend, mut call: PaidCall) -> PaidAnswer {
        if let Err(held) = call.leaves() {
            return PaidAnswer::NotSent(Text::new(&held.to_string()));
        }
        self.reader.client.paid_post(right).await
    }

    /// This much is ordered with the key from now on; `false` if the limits as they were read last leave no room for it.
    pub fn sell(&self, taken: Remaining) -> bool {
        lock(&self.reader.desk).sell(taken, self.reader.clock.now())
    }

    /// It was not ordered after all.
    pub fn unsell(&self, taken: Remaining) {
        lock(&self.reader.desk).unsell(taken);
    }

    /// What is left of limits that were read from `began` on.
    pub fn left(&self, limits: Remaining, began: &Moment) -> Remaining {
        lock(&self.reader.desk).left(limits, began)
    }
}

/// Whether a paid call may leave.
pub enum PaidSlot {
    /// It may.
    Given(PaidCall),
    /// Not inside a wait that HostUp has asked for, of two seconds or more.
    Limited,
    /// Others come first, or HostUp wants none for a moment; who asked is woken when it may.
    Later,
}

/// A paid call that may leave or is under way.
pub struct PaidCall {
    reader: Arc<Reader>,
    /// As it was counted, until it leaves.
    counted: Option<Promise>,
}

impl PaidCall {
    fn leaves(&mut self) -> Result<(), ReadError> {
        if let Some(counted) = self.counted {
            lock(&self.reader.desk).paid_call_leaves(counted, self.reader.clock.now())?;
            self.counted = None;
        }
        Ok(())
    }
}

impl Drop for PaidCall {
    fn drop(&mut self) {
        lock(&self.reader.desk).paid(self.counted);
        self.reader.wake_next();
        self.reader.changed.notify_one();
    }
}

/// The reader of one key.
struct Reader {
    namespace: String,
    secret: String,
    client: hostup::Account,
    accounts: Weak<Accounts>,
    clock: Clock,
    wake: Wake,
    desk: Mutex<Desk>,
    changed: Notify,
    reading: Mutex<bool>,
}

impl Reader {
    /// Has the questions asked, if nobody does already.
    fn read_on(self: &Arc<Self>) {
        let mut reading = lock(&self.reading);
        if *reading {
            self.changed.notify_one();
        } else {
            *reading = true;
            tokio::spawn(self.clone().read());
        }
    }

    /// Makes the calls of the key, one after the other as they are due, until nobody waits.
    async fn read(self: Arc<Self>) {
        loop {
            self.wake_next();
            let next = lock(&self.desk).next(self.clock.now());
            match next {
                Next::Call(question) => {
                    tokio::spawn(self.clone().call(question));
                }
                Next::Wait(until) => {
                    let now = self.clock.now().monotonic;
                    let wait = until.map_or(Duration::MAX, |until| until.saturating_sub(now));
                    let _timeout = tokio::time::timeout(wait, self.changed.notified()).await;
                }
                Next::Rest => {
                    let mut reading = lock(&self.reading);
                    // Somebody may have asked meanwhile.
                    if lock(&self.desk).rests() {
                        *reading = false;
                        return;
                    }
                }
            }
        }
    }

    async fn call(self: Arc<Self>, question: Question) {
        let began = self.clock.now();
        let asked = AssertUnwindSafe(self.asked(&question)).catch_unwind().await;
        let answer = asked.unwrap_or_else(|_| {
            Err(ReadError::unreadable(
                question.route(),
                "the operator panicked while it read; this is a bug",
            ))
        });
        let ended = self.clock.now();
        let reading = Reading { began, ended, answer };
        let (told, is_back) = {
            let mut desk = lock(&self.desk);
            let was_away = desk.is_away();
            let told = desk.arrived(&question, reading, ended);
            (told, was_away && !desk.is_away())
        };
        for who in &told {
            (self.wake)(who);
        }
        if let Some(accounts) = self.accounts.upgrade().filter(|_| is_back) {
            accounts.hostup_is_back();
        }
        self.changed.notify_one();
    }

    async fn asked(&self, question: &Question) -> Result<Answer, ReadError> {
        let client = &self.client;
        Ok(match question {
            Question::Deployments => Answer::Deployments(client.deployments().await?),
            Question::Limits => Answer::Limits(client.remaining().await?),
            Question::Vms => Answer::Vms(client.list_vps().await?.into()),
            Question::Vps(vps) => Answer::Vps(client.own_vps(vps).await?),
            Question::CanResize(vps) => Answer::CanResize(client.can_resize(vps).await?),
            Question::Backups(vps) => Answer::Backups(client.backups(vps).await?),
            Question::RestoreSources(vps) => Answer::RestoreSources(client.restore_sources(vps).await?),
            Question::Eligibility(vps) => Answer::Eligibility(client.eligibility(vps).await?),
            Question::Options(vps) => Answer::Options(client.options(vps).await?),
            Question::Invoices(vps) => Answer::Invoices(client.blocking_invoices(vps).await?),
            Question::Vm(vps) => Answer::Vm(client.vps(vps).await?),
            Question::Job(path) => {
                let (state, word) = client.job(path).await?;
                Answer::Job(state, word)
            }
            Question::DryRun(vps, body, _) => Answer::DryRun(client.preview_config(vps, body.clone()).await?),
        })
    }

    fn wake_next(&self) {
        let turns = lock(&self.desk).turns(self.clock.now());
        for who in &turns {
            (self.wake)(who);
        }
    }

    fn state(&self, now: Moment) -> KeyState {
        let desk = lock(&self.desk);
        let waiting = Class::ALL.map(|class| {
            let (count, oldest) = desk.depth(class, now);
            (class, count, oldest)
        });
        KeyState {
            namespace: self.namespace.clone(),
            secret: self.secret.clone(),
            remaining: desk.pace().remaining(now.monotonic),
            asked_to_wait: desk.pace().asked_to_wait(),
            away: desk.is_away(),
            waiting: waiting.to_vec(),
            served: desk.served(),
        }
    }
}

/// Tells the desk of a key what its calls say of the pace.
struct Told(Weak<Reader>);

impl Traffic for Told {
    fn may_leave(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        async {
            while let Some(reader) = self.0.upgrade() {
                let wait = lock(&reader.desk).may_leave(reader.clock.now())?;
                drop(reader);
                let Some(wait) = wait else { break };
                tokio::time::sleep(wait).await;
            }
            Ok(())
        }
        .boxed()
    }

    fn signal(&self, signal: Signal) {
        if let Some(reader) = self.0.upgrade() {
            lock(&reader.desk).signal(signal, reader.clock.now());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
