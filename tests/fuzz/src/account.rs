//! The client that ships, with a HostUp that answers what it is given.

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hostup_operator::clock::Clock;
use hostup_operator::domain::values::moment::Moment;
use hostup_operator::hostup::{
    Account, Broken, Exchange, HostUp, Provider, ReadError, Request, Response, Signal, Traffic,
};
use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use crate::answer::Answer;

/// The key that answers are asked with; the fuzzer's words have it.
pub const KEY: &str = "hup_live_0123456789abcdef";

/// The time of every input: 2026-11-23T00:00:00Z.
pub fn now() -> Timestamp {
    Timestamp::constant(1_795_392_000, 0)
}

/// A clock that stands.
pub fn clock() -> Clock {
    let hour = Duration::from_secs(3600);
    Clock::told_by(move || Moment {
        wall: now(),
        monotonic: hour,
        with_sleep: hour,
    })
}

/// An account, and what is learnt of it.
pub struct Asked {
    pub account: Account,
    provider: Arc<Scripted>,
    heard: Arc<Heard>,
}

impl Asked {
    /// One whose questions are answered so, in order; then the connection breaks.
    pub fn answered(answers: impl IntoIterator<Item = Response>) -> Self {
        Self::with_key(KEY, answers)
    }

    /// The same with another key.
    pub fn with_key(key: &str, answers: impl IntoIterator<Item = Response>) -> Self {
        let provider = Arc::new(Scripted {
            answers: Mutex::new(answers.into_iter().collect()),
            urls: Mutex::default(),
        });
        let heard = Arc::new(Heard::default());
        let origin = Url::parse("https://cloud.hostup.se").expect("an origin");
        let hostup = HostUp::new(
            origin,
            provider.clone(),
            clock(),
            Duration::from_secs(10),
            Arc::new(|_, _, _| ()),
        );
        Self {
            account: hostup.account(SecretString::from(key.to_owned()), heard.clone()),
            provider,
            heard,
        }
    }

    /// One that answers every question so.
    pub fn always(answer: &Answer<'_>) -> Self {
        Self::answered(vec![answer.response(); 2])
    }

    /// What was asked.
    pub fn urls(&self) -> Vec<Url> {
        lock(&self.provider.urls).clone()
    }

    /// What was said of the pace.
    pub fn signals(&self) -> Vec<Signal> {
        lock(&self.heard.signals).clone()
    }
}

struct Scripted {
    answers: Mutex<VecDeque<Response>>,
    urls: Mutex<Vec<Url>>,
}

impl Provider for Scripted {
    fn exchange(&self, request: Request) -> Exchange<'_> {
        lock(&self.urls).push(request.url);
        let answer = lock(&self.answers).pop_front();
        Box::pin(ready(answer.ok_or_else(|| Broken::Lost("no more".to_owned()))))
    }
}

#[derive(Default)]
struct Heard {
    signals: Mutex<Vec<Signal>>,
}

impl Traffic for Heard {
    fn may_leave(&self) -> Pin<Box<dyn Future<Output = Result<(), ReadError>> + Send + '_>> {
        Box::pin(ready(Ok(())))
    }

    fn signal(&self, signal: Signal) {
        lock(&self.signals).push(signal);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What comes of something that nothing keeps waiting.
pub fn done<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}
