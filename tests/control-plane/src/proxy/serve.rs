use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::forward::Outgoing;
use super::request::Request;
use super::rule::Action;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// The client's connection ends here, without an answer.
#[derive(Debug)]
pub(super) struct Cut(String);

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cut {}

impl Cut {
    fn by_rule() -> Self {
        Self("cut by a rule".to_owned())
    }
}

impl From<std::io::Error> for Cut {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<hyper::Error> for Cut {
    fn from(error: hyper::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for Cut {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

pub(super) async fn forever(listener: TcpListener, tls: Arc<ServerConfig>, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let tls = TlsAcceptor::from(tls);
    loop {
        // An error here is about the one connection that could not be accepted.
        if let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(connection(socket, tls.clone(), shared.clone()));
        }
    }
}

async fn connection(socket: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    // Whatever ends a connection, a client that went or a rule that cut it, concerns it alone.
    let _ = socket.set_nodelay(true);
    let Ok(stream) = tls.accept(socket).await else {
        return;
    };
    let service = service_fn(move |incoming| answer(incoming, shared.clone()));
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Dropped, and with it what waits for the end of a black hole, when the client goes.
async fn answer(incoming: hyper::Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Cut> {
    let (parts, body) = incoming.into_parts();
    let body = body.collect().await?.to_bytes();
    shared.until_no_blackhole().await;

    let request = Request {
        n: 0,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: body.clone(),
    };
    let is_watch = request.is_watch();
    let action = shared.enter(request);
    let outgoing = Outgoing::new(parts, body);

    // A task of its own goes on without the client: a request that is held or slow still arrives.
    let work = tokio::spawn(act(action, outgoing, is_watch, shared.clone()));
    let answer = work.await.map_err(|error| Cut(error.to_string()))?;
    shared.until_no_blackhole().await;
    answer
}

async fn act(
    action: Action,
    outgoing: Outgoing,
    is_watch: bool,
    shared: Arc<Shared>,
) -> Result<Response<Body>, Cut> {
    if let Action::Rewrite(change) = action {
        let rewritten = outgoing.rewritten(change)?;
        let answer = shared.upstream.send(&rewritten).await?;
        return Ok(answer.map(|body| streamed(body, is_watch, shared.clone())));
    }
    let send = || shared.upstream.send(&outgoing);
    let answer = match action {
        Action::Forward | Action::Rewrite(_) => send().await?,
        Action::HoldBefore(gate) => {
            gate.pass().await;
            send().await?
        }
        Action::Delay(time) => {
            tokio::time::sleep(time).await;
            send().await?
        }
        Action::DuplicateForward => {
            send().await?.into_body().collect().await?;
            send().await?
        }
        Action::Respond(code, body) => return made_up(code, &body),
        Action::ForwardThenRespond(code, body) => {
            send().await?.into_body().collect().await?;
            return made_up(code, &body);
        }
        Action::HoldAfter(gate) => {
            let whole = complete(send().await?).await?;
            gate.pass().await;
            return Ok(whole);
        }
        Action::ForwardThenCut => {
            send().await?.into_body().collect().await?;
            return Err(Cut::by_rule());
        }
        Action::CutBefore => return Err(Cut::by_rule()),
    };
    Ok(answer.map(|body| streamed(body, is_watch, shared.clone())))
}

fn made_up(code: u16, body: &Value) -> Result<Response<Body>, Cut> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut answer = Response::new(full(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(code).map_err(|error| Cut(error.to_string()))?;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

async fn complete(answer: Response<Incoming>) -> Result<Response<Body>, Cut> {
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok(Response::from_parts(parts, full(bytes)))
}

/// Passes the frames on as they come, but for what is frozen or lost in a black hole.
fn streamed(body: Incoming, is_watch: bool, shared: Arc<Shared>) -> Body {
    let frames = stream::unfold(Some(body), move |body| {
        let shared = shared.clone();
        async move {
            let mut body = body?;
            let frame = body.frame().await?;
            if is_watch {
                shared.until_thawed().await;
            }
            shared.until_no_blackhole().await;
            let rest = frame.is_ok().then_some(body);
            Some((frame, rest))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}
