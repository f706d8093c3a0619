//! When the watch of the records last showed life: by its bytes, for a watch at rest brings nothing but
//! bookmarks, which nobody above the connection is told of.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tower::{Layer, Service};

use super::clock;
use crate::domain::chain::LEDGER_SILENCE;
use crate::domain::moment::Moment;

/// The last sign of life, shared by who hears it and who asks.
#[derive(Clone)]
pub struct Heartbeat(Arc<Mutex<Moment>>);

impl Heartbeat {
    /// Alive now: who begins is given the time to show life.
    pub fn begin() -> Self {
        Self(Arc::new(Mutex::new(clock::now())))
    }

    /// The watch shows life.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
    }

    /// When it did last.
    pub fn last(&self) -> Moment {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has not for longer than [`LEDGER_SILENCE`], by any clock.
    pub fn is_silent(&self) -> bool {
        clock::now().since(&self.last()) > LEDGER_SILENCE
    }
}

impl<S> Layer<S> for Heartbeat {
    type Service = Listening<S>;

    fn layer(&self, inner: S) -> Listening<S> {
        Listening {
            inner,
            heartbeat: self.clone(),
        }
    }
}

/// A client's service that listens to the watch of the records.
#[derive(Clone)]
pub struct Listening<S> {
    inner: S,
    heartbeat: Heartbeat,
}

impl<S, B, R> Service<Request<B>> for Listening<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Body + Send + 'static,
{
    type Response = Response<UnsyncBoxBody<R::Data, R::Error>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let heartbeat = is_watch_of_records(request.uri()).then(|| self.heartbeat.clone());
        let heard = move |body: R| {
            body.map_frame(move |frame| {
                if let Some(heartbeat) = &heartbeat {
                    heartbeat.beat();
                }
                frame
            })
            .boxed_unsync()
        };
        self.inner
            .call(request)
            .map_ok(|response| response.map(heard))
            .boxed()
    }
}

fn is_watch_of_records(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    uri.path().ends_with("/vpsoperations") && query.split('&').any(|part| part == "watch=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_watch_of_the_records_is_listened_to() {
        let group = "https://127.0.0.1/apis/vps.hostup.se/v1alpha1";
        for (path, listens) in [
            ("vpsoperations?&watch=true&timeoutSeconds=60", true),
            ("vpsoperations?limit=500", false),
            ("vpsoperations/a-1", false),
            ("vpsbackuprestores?&watch=true", false),
        ] {
            let uri: Uri = format!("{group}/{path}").parse().unwrap();
            assert_eq!(is_watch_of_records(&uri), listens, "{path}");
        }
    }
}
