//! The way to the server and back, with all that may become of a request on it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use kube::client::Body;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tower::BoxError;

use super::answer::{AnswerBody, plain, refused};
use super::faults::{Answer, ClientId, Verdict, WatchVerdict};
use super::request::{Ask, Unread};
use super::server::ApiServer;

/// The server as one client reaches it.
#[derive(Clone)]
pub struct ApiService {
    server: ApiServer,
    client: ClientId,
}

/// An answer to come.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, BoxError>> + Send>>;

/// What the server's own answer to a request is.
enum Acted {
    Never,
    Done(Response<AnswerBody>),
    Later(oneshot::Receiver<Response<AnswerBody>>),
}

impl tower::Service<http::Request<Body>> for ApiService {
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answering {
        if self.server.is_killed(self.client) {
            return Box::pin(std::future::pending());
        }
        let ask = match Ask::read(request) {
            Ok(ask) => ask,
            Err(unread) => {
                let answer = match unread {
                    Unread::NoSuchPath => plain(404, "404 page not found\n".to_owned()),
                    Unread::Refused(refusal) => refused(&refusal),
                };
                return Box::pin(std::future::ready(Ok(answer)));
            }
        };
        let (verdict, watch) = self.server.verdicts(self.client, &ask.info);
        let acted = self.act(ask, watch, verdict.acts_after);
        Box::pin(answered(self.clone(), acted, verdict))
    }
}

impl ApiService {
    pub(super) fn new(server: ApiServer, client: ClientId) -> Self {
        Self { server, client }
    }

    /// Acts now, or lets a task act later: nobody who stops waiting calls back what was sent.
    fn act(&self, ask: Ask, watch: WatchVerdict, after: Option<Duration>) -> Acted {
        match after {
            None => Acted::Never,
            Some(Duration::ZERO) => Acted::Done(self.server.act(self.client, ask, watch)),
            Some(after) => {
                let (told, later) = oneshot::channel();
                let Self { server, client } = self.clone();
                tokio::spawn(async move {
                    sleep(after).await;
                    if !server.is_lost(client) {
                        // Nobody may wait for it any more.
                        drop(told.send(server.act(client, ask, watch)));
                    }
                });
                Acted::Later(later)
            }
        }
    }
}

async fn answered(
    service: ApiService,
    acted: Acted,
    verdict: Verdict,
) -> Result<Response<AnswerBody>, BoxError> {
    if !verdict.answers_after.is_zero() {
        sleep(verdict.answers_after).await;
    }
    let answer = match (verdict.answer, acted) {
        (Answer::LostConnection, _) => {
            let lost = io::Error::new(io::ErrorKind::ConnectionReset, "the connection was reset");
            Err(lost.into())
        }
        (Answer::Refuse(refusal), _) => Ok(refused(&refusal)),
        (Answer::Foreign(code, text), _) => Ok(plain(code, text)),
        (Answer::Normal, Acted::Done(answer)) => Ok(answer),
        (Answer::Normal, Acted::Later(later)) => match later.await {
            Ok(answer) => Ok(answer),
            Err(_) => std::future::pending().await,
        },
        (Answer::Normal, Acted::Never) | (Answer::Never, _) => std::future::pending().await,
    };
    if service.server.is_killed(service.client) {
        std::future::pending::<()>().await;
    }
    answer
}
