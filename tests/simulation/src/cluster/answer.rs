//! Answers as they go out over HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};

use super::kind::Kind;
use super::refusal::{Refusal, details};
use super::store::{Stored, text};
use super::watch::WatchBody;

/// The body of an answer.
pub struct AnswerBody(Content);

enum Content {
    /// All of it, until it is taken.
    Whole(Option<Bytes>),
    Watch(WatchBody),
}

impl AnswerBody {
    /// The object that it tells of; `None` where it is a watch, or no JSON.
    pub fn told(&self) -> Option<Value> {
        match &self.0 {
            Content::Whole(bytes) => serde_json::from_slice(bytes.as_ref()?).ok(),
            Content::Watch(_) => None,
        }
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self(Content::Whole(Some(bytes)))
    }
}

impl From<WatchBody> for AnswerBody {
    fn from(watch: WatchBody) -> Self {
        Self(Content::Watch(watch))
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.get_mut().0 {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Watch(watch) => watch.poll(cx),
        }
    }
}

pub(super) fn answer(code: StatusCode, body: impl Into<AnswerBody>) -> Response<AnswerBody> {
    typed(code, "application/json", body)
}

fn typed(code: StatusCode, content: &'static str, body: impl Into<AnswerBody>) -> Response<AnswerBody> {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response
}

pub(super) fn plain(code: u16, text: String) -> Response<AnswerBody> {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    typed(code, "text/plain; charset=utf-8", Bytes::from(text))
}

pub(super) fn refused(refusal: &Refusal) -> Response<AnswerBody> {
    let code = StatusCode::from_u16(refusal.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(code, Bytes::from(refusal.status().to_string()))
}

pub(super) fn removed(kind: &Kind, stored: &Stored) -> Response<AnswerBody> {
    let field = |field| text(&stored.value, field);
    let mut details = details(kind, field("name"));
    if let Some(fields) = details.as_object_mut() {
        fields.insert("uid".to_owned(), field("uid").into());
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    });
    answer(StatusCode::OK, Bytes::from(status.to_string()))
}
