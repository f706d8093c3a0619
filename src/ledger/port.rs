//! What a purchase acts upon in the product: etcd for its record and its object, HostUp for its call.

use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tokio::sync::oneshot;

use super::driver::Port;
use super::kind::{PurchasingKind, objects};
use super::memory::InFlight;
use super::store::Wanted;
use super::{Books, Error, record};
use crate::accounts::{Account, PaidCall};
use crate::api::operation::{OperationState, VpsOperation};
use crate::api::shared::OperationRef;
use crate::api::stored::Stored;
use crate::api::{self, RecordDraft};
use crate::cluster::api_call::{self, ApiError};
use crate::cluster::fail_point;
use crate::domain::action::answer::PaidAnswer;
use crate::domain::action::ordered::ActionKind;
use crate::domain::consent::price::Price;
use crate::domain::ledger::alone::{Barred, is_alone};
use crate::domain::ledger::chain::Hold;
use crate::domain::ledger::names::ChainKey;
use crate::domain::ledger::record::{Outcome, Record, State};
use crate::domain::ledger::{Caps, Entry};
use crate::domain::provider::preflight::Remaining;
use crate::domain::purchase::{Created, End, Plan, Reading, Reread, RightToSend, Standing, Written};
use crate::domain::values::ids::{Holder, RecordName, Subject, VpsId};
use crate::domain::values::moment::Moment;
use crate::domain::values::text::Text;

/// Records in one page of a list: a VPS may have been the source of thousands of restores.
const PAGE: u32 = 100;

/// The account that pays, and its leave for the one call.
pub type Paid = (Account, PaidCall);

/// What one purchase acts upon.
pub struct Market<K> {
    books: Arc<Books>,
    subject: Subject,
    name: RecordName,
    /// What the object's status told of records when it was looked at first.
    told_before: Told,
    drafted: VpsOperation,
    /// The record as it was read last.
    stands: Option<VpsOperation>,
    account: Option<Account>,
    leave: Option<PaidCall>,
    taken: Option<Remaining>,
    action: ActionKind,
    drives: Option<VpsId>,
    barred: Barred,
    chain: ChainKey,
    price: Option<Price>,
    is_reserved: bool,
    in_flight: Option<InFlight>,
    /// Who waits until the call is handed over.
    told: Option<oneshot::Sender<Result<bool, Error>>>,
    /// Why the create failed.
    refusal: Option<ApiError>,
    has_sent: bool,
    kind: PhantomData<fn() -> K>,
}

/// What a purchase rests on of what the status of its object tells.
#[derive(PartialEq)]
struct Told {
    operation: Option<OperationRef>,
    /// Where its approval ends once another quote is shown.
    quote: Option<String>,
}

impl Told {
    fn by<K: PurchasingKind>(object: &K, action: ActionKind) -> Self {
        let status = object.status();
        let quote = K::quote(&status).filter(|_| action.overwrites());
        Self {
            operation: K::operation(&status).cloned(),
            quote: quote.map(|quote| quote.id.clone()),
        }
    }
}

impl<K: PurchasingKind> Market<K> {
    /// For `plan`, which `object` wants.
    pub fn new(
        books: &Arc<Books>,
        object: &K,
        plan: &Plan,
        paid: Option<Paid>,
        told: oneshot::Sender<Result<bool, Error>>,
    ) -> Self {
        let draft = RecordDraft {
            order: &plan.order,
            credentials: object.credentials(),
            claim: &plan.claim,
        };
        let (account, leave) = paid.unzip();
        let taken = plan.order.action.takes();
        Self {
            books: books.clone(),
            subject: plan.order.subject.clone(),
            name: draft.name(),
            told_before: Told::by(object, plan.order.action.kind()),
            drafted: draft.object(),
            stands: None,
            account,
            leave,
            taken,
            action: plan.order.action.kind(),
            barred: match &plan.order.saved_by {
                _ if plan.order.action.kind().overwrites() => Barred::After(plan.order.follows.clone()),
                Some(backup) => Barred::SinceBackup(backup.clone()),
                None => Barred::Nothing,
            },
            chain: plan.order.chain.clone(),
            drives: plan
                .order
                .action
                .kind()
                .drives_its_vps()
                .then(|| plan.order.vps.clone()),
            price: plan.order.quote.as_ref().map(|quote| quote.price.clone()),
            is_reserved: false,
            in_flight: None,
            told: Some(told),
            refusal: None,
            has_sent: false,
            kind: PhantomData,
        }
    }

    /// Tells who waits whether the call is being sent.
    fn tell(&mut self, begun: Result<bool, Error>) {
        if let Some(told) = self.told.take() {
            // A reconcile that was cut short waits no more.
            let _gone = told.send(begun);
        }
    }

    fn holder(&self) -> Holder {
        Holder::new(self.drafted.spec.claim.holder.clone())
    }

    fn is_ours(&self, object: &VpsOperation) -> bool {
        let holder = &self.drafted.spec.claim.holder;
        !holder.is_empty() && object.spec.claim.holder == *holder
    }

    /// Takes the record in as it was read.
    fn read_back(&mut self, object: VpsOperation) -> Option<Box<Record>> {
        let is_ours = self.is_ours(&object);
        if is_ours && self.stands.is_none() {
            self.books.memory.claimed(&self.name);
            self.books.ledger.made(object.clone());
        }
        let record = api::record(&object);
        let record = record.inspect_err(|error| {
            tracing::error!(operation = %self.name, %error, "the record of a claim cannot be read back");
        });
        if is_ours && record.is_ok() {
            self.stands = Some(object);
        }
        record.ok().map(Box::new)
    }

    /// No record was made. Frees what was reserved for it.
    fn not_made(&self) {
        if self.is_reserved {
            self.books.ledger.release(&self.name, &self.holder());
            self.unsell();
        }
    }

    fn unsell(&self) {
        if let (Some(account), Some(taken)) = (&self.account, self.taken) {
            account.unsell(taken);
        }
    }

    /// Remembers that nothing was sent for the claim: its record may still show up.
    fn never_sent(&self) {
        self.books.memory.never_sent(&self.holder());
    }

    /// Tells who waits why the create failed.
    fn tell_of_the_create(&mut self) {
        let failed = self.refusal.take().map_or(Error::CutShort, Error::from);
        self.tell(Err(failed));
    }

    /// Leaves the record to the rest of the process, in this state.
    fn let_go(&mut self, record: &Record, state: State) {
        self.tell(Ok(false));
        let of = (&record.name, &record.claim.holder);
        record::show(&self.books, of, &record.subject, None);
        // Only now may others of this process take the record for one that nobody sends.
        self.in_flight = None;
        record::wake(&self.books, record, state);
    }

    /// What the end of the purchase means to the rest of the process.
    pub fn ended(mut self, end: End) {
        match end {
            End::NotMade => {
                self.not_made();
                self.tell(Ok(false));
            }
            End::Refused => {
                self.not_made();
                self.tell_of_the_create();
            }
            End::Unconfirmed => {
                self.not_made();
                self.never_sent();
                fail_point::reach("after-claim");
                self.tell_of_the_create();
            }
            End::Unreadable => {
                self.unsell();
                self.never_sent();
                self.tell(Ok(false));
            }
            End::Recorded { from, record, known } => {
                record::tell_of_outcome(&self.books, from, &record, &known);
                self.let_go(&record, known.state);
            }
            End::Settled { record, learnt } => {
                if self.has_sent {
                    self.books.hooks.paid_call(&record, record.known.state);
                }
                tracing::error!(operation = %record.name, state = record.known.state.as_str(), ?learnt,
                    "the sender's answer came after the record was settled otherwise; it is kept only in this line");
                let state = record.known.state;
                self.let_go(&record, state);
            }
            End::Gone(record, known) => {
                tracing::error!(operation = %record.name, ?known, "the record was deleted while its call was \
                    under way; the known outcome is only in this line");
                self.books.ledger.has_ended(&record.name);
                self.let_go(&record, known.state);
            }
            End::Confused => {
                tracing::error!(operation = %self.name, "a purchase lost its way; this is a bug. Its record asks a \
                    person once its time has passed");
                self.tell(Err(Error::CutShort));
            }
        }
        if self.has_sent {
            fail_point::reach("after-answer-recorded");
        }
    }
}

impl<K: PurchasingKind> Market<K> {
    /// Reads from etcd, after the claim, what else there is for the VPS.
    async fn is_alone(&self) -> Result<bool, ApiError> {
        let Some(vps) = &self.drives else {
            return Ok(true);
        };
        let drives_it = |other: &Entry| {
            let content = other.content.as_ref();
            other.name != self.name && content.is_none_or(|content| content.drives.as_ref() == Some(vps))
        };
        let api: Api<Stored<VpsOperation>> = Api::all(self.books.client.clone());
        let mut params = ListParams::default()
            .fields(&format!("spec.vpsId={vps}"))
            .limit(PAGE);
        let mut others = Vec::new();
        loop {
            let listed = api_call::within(api.list(&params)).await?;
            others.extend(listed.items.iter().map(api::entry).filter(drives_it));
            params.continue_token = listed.metadata.continue_.filter(|more| !more.is_empty());
            if params.continue_token.is_none() {
                return Ok(is_alone(&others, &self.barred, &self.chain, &self.books.instance));
            }
        }
    }
}

impl<K: PurchasingKind> Port for Market<K> {
    fn now(&self) -> Moment {
        self.books.moment()
    }

    fn reserve(&mut self, pays: bool) -> bool {
        let caps = if pays {
            self.books.caps
        } else {
            Caps {
                all: None,
                of_namespace: None,
            }
        };
        // Another object may have ordered what the limits had left when both were looked at.
        let sells = |account: &Account| self.taken.is_none_or(|taken| account.sell(taken));
        if !self.account.as_ref().is_none_or(sells) {
            return false;
        }
        let price = self.price.as_ref().filter(|_| pays);
        let holder = self.holder();
        let wanted = Wanted {
            name: &self.name,
            holder: &holder,
            namespace: &self.subject.namespace,
            price,
            drives: self.drives.as_ref(),
        };
        self.is_reserved = self
            .books
            .ledger
            .reserve(&wanted, caps, &self.books.budgets, self.books.now());
        if !self.is_reserved {
            self.unsell();
        }
        self.is_reserved
    }

    async fn create(&mut self) -> Created {
        self.in_flight = Some(self.books.memory.begin(&self.holder()));
        let by = api_call::by_us();
        match api_call::within(self.books.ledger.api().create(&by, &self.drafted)).await {
            Ok(object) => Created::Made(self.read_back(object)),
            Err(error) => {
                let created = if error.is_refusal() {
                    Created::Refused
                } else if error.is_conflict() {
                    Created::Conflict
                } else {
                    Created::Unclear
                };
                self.refusal = Some(error);
                created
            }
        }
    }

    async fn read(&mut self) -> Reading<Box<Record>> {
        match self.books.ledger.get(&self.name).await {
            Ok(Some(object)) if !self.is_ours(&object) => Reading::Anothers,
            Ok(Some(object)) => self.read_back(object).map_or(Reading::Unreadable, Reading::Found),
            Ok(None) => Reading::None,
            Err(_) => Reading::Unreadable,
        }
    }

    async fn look_at_object(&mut self) -> Reading<Standing> {
        fail_point::reach("after-claim");
        if let Some(account) = &self.account {
            account.wait_a_moment().await;
        }
        let objects = objects::<K>(&self.books, &self.subject.namespace);
        let object = api_call::found(objects.get(&self.subject.name));
        let holds = self.books.namespaces.hold_now(&self.subject.namespace);
        let (object, held, alone) = futures::join!(object, holds, self.is_alone());
        if let Ok(Some(object)) = &object {
            K::recent(&self.books).put(object.clone());
        }
        let (object, hold, is_alone) = match (held, alone) {
            (Ok(hold), Ok(is_alone)) => (object, hold, is_alone),
            (Err(error), _) | (_, Err(error)) => (Err(error), None, false),
        };
        let is_in_a_deleted_namespace = matches!(hold, Some(Hold::DeletedNamespace(_)));
        let standing = |object: K| Standing {
            is_same: object.meta().uid.as_deref() == Some(self.subject.uid.as_str()),
            is_unchanged: object.meta().generation == Some(self.subject.generation),
            is_being_deleted: is_in_a_deleted_namespace || object.meta().deletion_timestamp.is_some(),
            is_suspended: object.is_suspended(),
            is_held: hold.is_some() || api::is_held(object.annotations()),
            is_told_alike: Told::by(&object, self.action) == self.told_before,
            is_alone,
        };
        seen(object, standing)
    }

    async fn look_at_record(&mut self) -> Reading<Reread> {
        let record = api_call::found(self.books.ledger.api().get(self.name.as_str())).await;
        let reread = |record: VpsOperation| Reread {
            is_sending: record
                .status
                .and_then(|status| status.state)
                .is_none_or(|state| state == OperationState::Sending),
            is_as_drafted: record.spec == self.drafted.spec,
        };
        seen(record, reread)
    }

    fn hand_over(&mut self) {
        fail_point::reach("after-second-look");
        self.tell(Ok(true));
    }

    async fn post(&mut self, right: RightToSend) -> PaidAnswer {
        fail_point::reach("before-send");
        self.has_sent = true;
        let (Some(account), Some(leave)) = (&self.account, self.leave.take()) else {
            return PaidAnswer::NotSent(Text::new("there is no account to send it with; this is a bug"));
        };
        let price = self
            .drafted
            .spec
            .quote
            .as_ref()
            .map(|quote| quote.summary.as_str());
        tracing::info!(
            operation = %self.name, namespace = %self.subject.namespace, object = %self.subject.name,
            price = price.unwrap_or_default(), "sending the paid call"
        );
        let call = AssertUnwindSafe(account.paid_post(right, leave)).catch_unwind();
        let answer = call.await.unwrap_or_else(|_| {
            PaidAnswer::Lost(Text::new("the operator panicked while it sent; this is a bug"))
        });
        fail_point::reach("after-answer");
        answer
    }

    async fn write(&mut self, known: Outcome) -> Written {
        if !self.has_sent {
            // No worker waits for a write that the API server refuses, and no call for this one's.
            self.leave = None;
            self.tell(Ok(false));
        }
        let pays = self.account.is_some();
        if !pays {
            fail_point::reach("after-adoption-claim");
        }
        let Some(object) = self.stands.clone() else {
            return Written::Unclear;
        };
        match record::keep(&self.books, &object, &known) {
            Err((_, other)) if !pays => return Written::Anothers(other),
            Ok(()) | Err(_) => {}
        }
        let Err(error) = record::put(&self.books, object, &known).await else {
            return Written::Stood;
        };
        if error.is_gone() {
            return Written::Gone;
        }
        tracing::warn!(operation = %self.name, %error, ?known, "the outcome could not be written; trying again");
        let Some(refusal) = error.trouble() else {
            return Written::Unclear;
        };
        record::show(
            &self.books,
            (&self.name, &self.holder()),
            &self.subject,
            Some(refusal),
        );
        Written::Refused
    }

    async fn wait(&mut self, wait: Duration) {
        tokio::time::sleep(self.books.chance.jittered(wait)).await;
    }
}

fn seen<A, B>(read: Result<Option<A>, ApiError>, facts: impl FnOnce(A) -> B) -> Reading<B> {
    match read {
        Ok(Some(object)) => Reading::Found(facts(object)),
        Ok(None) => Reading::None,
        Err(error) if error.is_throttled() => Reading::Busy,
        Err(_) => Reading::Unreadable,
    }
}
