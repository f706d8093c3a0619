//! What carries requests to HostUp and answers back: HTTP in the product, HostUp itself in the simulation.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::HeaderMap;
use url::Url;

/// Longest body that is read; HostUp's own are some kilobytes.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The status of an answer that limits a key: it counts without its body.
pub(super) const LIMITED: u16 = 429;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A GET.
    Read,
    /// A POST that changes nothing.
    DryRun,
    /// A POST that pays.
    Paid,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    /// What it is for.
    pub kind: Kind,
    /// Where it goes.
    pub url: Url,
    /// With the key.
    pub headers: HeaderMap,
    /// Empty for a GET.
    pub body: String,
    /// One deadline for everything.
    pub within: Duration,
}

/// A whole answer, whatever it says.
#[derive(Debug, Clone)]
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) is_too_large: bool,
}

impl Response {
    /// Without a body yet.
    pub fn new(status: u16, headers: HeaderMap) -> Self {
        Self {
            status,
            headers,
            body: Vec::new(),
            is_too_large: false,
        }
    }

    /// Its HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// As it is without its body.
    pub(super) fn without_body(mut self) -> Self {
        self.body.clear();
        self
    }

    /// Takes bytes of the body in; `false` once there are more than anybody reads.
    pub fn take_in(&mut self, bytes: &[u8]) -> bool {
        self.is_too_large = self.is_too_large || self.body.len() + bytes.len() > MOST_BYTES;
        if self.is_too_large {
            self.body.clear();
        } else {
            self.body.extend_from_slice(bytes);
        }
        !self.is_too_large
    }
}

/// Why no answer came, in fixed words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// No byte of the request has left.
    NotSent(String),
    /// It may have arrived.
    Lost(String),
}

impl Broken {
    /// In words.
    pub fn why(&self) -> &str {
        match self {
            Self::NotSent(why) | Self::Lost(why) => why,
        }
    }
}

/// An exchange under way.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Response, Broken>> + Send + 'a>>;

/// Carries requests to HostUp.
pub trait Provider: Send + Sync {
    /// Sends the bytes of one request, at most once, and brings the answer.
    fn exchange(&self, request: Request) -> Exchange<'_>;
}
