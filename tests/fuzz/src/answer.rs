//! An answer as an input writes it: status, `Retry-After`, `X-RateLimit-Remaining`, `X-RateLimit-Reset`, each on a line
//! of its own, then the body.

use hostup_operator::hostup::Response;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::repeat::split;

const HEADERS: [&str; 3] = ["retry-after", "x-ratelimit-remaining", "x-ratelimit-reset"];

/// What HostUp answers.
pub struct Answer<'a> {
    /// 100 to 999.
    pub status: u16,
    /// By [`HEADERS`]; an empty line is none.
    headers: [Option<&'a str>; 3],
    /// All that is left.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Whatever stands there is some answer.
    pub fn read(input: &'a [u8]) -> Self {
        let mut rest = input;
        let mut next = || {
            let (line, after) = split(rest, b"\n").unwrap_or((rest, b""));
            rest = after;
            std::str::from_utf8(line).ok().filter(|line| !line.is_empty())
        };
        let status = next().and_then(|line| line.parse().ok()).unwrap_or(200);
        let headers = [next(), next(), next()];
        Self {
            status: status.clamp(100, 999),
            headers,
            body: rest,
        }
    }

    /// With that body, and no headers.
    pub fn well(body: &'a [u8]) -> Self {
        Self {
            status: 200,
            headers: [None; 3],
            body,
        }
    }

    /// `Retry-After`, where it can be a header.
    pub fn retry_after(&self) -> Option<&'a str> {
        self.header(0)
    }

    /// Of [`HEADERS`].
    pub fn header(&self, n: usize) -> Option<&'a str> {
        let text = self.headers.get(n).copied().flatten()?;
        let value = HeaderValue::from_str(text).ok()?;
        value.to_str().is_ok().then_some(text)
    }

    /// As it comes from the network.
    pub fn response(&self) -> Response {
        let mut headers = HeaderMap::new();
        for (n, name) in HEADERS.into_iter().enumerate() {
            if let Some(value) = self.header(n).and_then(|text| HeaderValue::from_str(text).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let mut response = Response::new(self.status, headers);
        response.take_in(self.body);
        response
    }
}
