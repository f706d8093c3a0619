//! Runs the machine of a purchase: does what it says, once, and tells it what came of it.

use std::future::Future;
use std::time::Duration;

use crate::domain::action::answer::PaidAnswer;
use crate::domain::ledger::record::{Outcome, Record};
use crate::domain::purchase::{
    Created, Effect, End, Event, Purchase, Reading, Reread, RightToSend, Standing, Written,
};
use crate::domain::values::moment::Moment;

/// What a purchase acts upon. Each is done once, as far as one call goes: nothing in here tries again.
pub trait Port: Send {
    /// The time.
    fn now(&self) -> Moment;
    /// Takes the place in the caps and in the account's limits.
    fn reserve(&mut self, pays: bool) -> bool;
    /// Creates the record.
    fn create(&mut self) -> impl Future<Output = Created> + Send;
    /// Reads the record.
    fn read(&mut self) -> impl Future<Output = Reading<Box<Record>>> + Send;
    /// Reads the object and the holds on it.
    fn look_at_object(&mut self) -> impl Future<Output = Reading<Standing>> + Send;
    /// Reads the record.
    fn look_at_record(&mut self) -> impl Future<Output = Reading<Reread>> + Send;
    /// Tells who waits that the call is about to be sent.
    fn hand_over(&mut self);
    /// Sends the one call.
    fn post(&mut self, right: RightToSend) -> impl Future<Output = PaidAnswer> + Send;
    /// Writes what is known over the record as it was read last.
    fn write(&mut self, known: Outcome) -> impl Future<Output = Written> + Send;
    /// Waits.
    fn wait(&mut self, wait: Duration) -> impl Future<Output = ()> + Send;
}

/// Runs the machine to its end.
pub async fn drive(mut purchase: Purchase, port: &mut impl Port) -> End {
    let mut event = Event::Begun;
    loop {
        event = match purchase.next(event, port.now()) {
            Effect::Reserve { pays } => Event::Reserved(port.reserve(pays)),
            Effect::Create => Event::Created(port.create().await),
            Effect::Read => Event::Read(port.read().await),
            Effect::LookAtObject => Event::LookedAtObject(port.look_at_object().await),
            Effect::LookAtRecord => Event::LookedAtRecord(port.look_at_record().await),
            Effect::HandOver => {
                port.hand_over();
                Event::HandedOver
            }
            Effect::Post(right) => Event::Answered(port.post(right).await),
            Effect::Write(known) => Event::Written(port.write(known).await),
            Effect::Wait(wait) => {
                port.wait(wait).await;
                Event::Waited
            }
            Effect::End(end) => return end,
        };
    }
}
