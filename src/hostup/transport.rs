//! How bytes reach HostUp. Reads: one pooled client, without retries: who asks again decides that. The paid POST: a
//! client of its own that can send its bytes only once.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, Proxy, Response, redirect, retry};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::names::CompleteFirst;
use super::{ReadError, Route, Signal, Traffic, Way, cause};
use crate::clock;
use crate::domain::answer::{PaidAnswer, wait_asked_for};
use crate::domain::purchase::RightToSend;
use crate::domain::text::Text;

/// Told of every call: route, class of the outcome, how long it took.
pub type Observer = Arc<dyn Fn(Route, &str, Duration) + Send + Sync>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest body that is read; HostUp's own are some kilobytes.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What a read asks for.
pub(super) struct Get<'a> {
    route: Route,
    path: Path<'a>,
    query: &'a [(&'a str, &'a str)],
}

enum Path<'a> {
    Segments(&'a [&'a str]),
    Plain(&'a str),
}

impl<'a> Get<'a> {
    /// A path of segments, each encoded.
    pub(super) fn segments(route: Route, segments: &'a [&'a str], query: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            route,
            path: Path::Segments(segments),
            query,
        }
    }

    /// A path as HostUp gave it.
    pub(super) fn path(route: Route, path: &'a str) -> Self {
        Self {
            route,
            path: Path::Plain(path),
            query: &[],
        }
    }
}

pub(super) struct Transport {
    origin: Url,
    timeout: Duration,
    reads: Client,
    paid: Client,
    observer: Observer,
}

impl Transport {
    pub(super) fn new(
        origin: Url,
        way: Way,
        timeout: Duration,
        observer: Observer,
    ) -> Result<Self, reqwest::Error> {
        let trusted = way.trusted.iter().map(|der| Certificate::from_der(der));
        let trusted = trusted.collect::<Result<Vec<_>, _>>()?;
        // For https a proxy tunnels: it sees the name of HostUp and bytes that it cannot read, let alone repeat.
        let proxy = way.proxy.map(Proxy::https).transpose()?;
        let common = || -> ClientBuilder {
            let client = Client::builder()
                .user_agent(concat!("hostup-operator/", env!("CARGO_PKG_VERSION")))
                // Shorter than the whole, so that the same trouble reads the same each time.
                .connect_timeout(CONNECT_TIMEOUT.min(timeout * 3 / 4))
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .no_proxy()
                .dns_resolver(CompleteFirst)
                .tls_certs_merge(trusted.clone())
                .http1_only()
                .tcp_nodelay(true);
            match &proxy {
                Some(proxy) => client.proxy(proxy.clone()),
                None => client,
            }
        };
        Ok(Self {
            origin,
            timeout,
            reads: common().pool_idle_timeout(Duration::from_secs(20)).build()?,
            paid: common().pool_max_idle_per_host(0).build()?,
            observer,
        })
    }

    /// Reads, once.
    pub(super) async fn get(
        &self,
        traffic: &dyn Traffic,
        key: &SecretString,
        get: Get<'_>,
    ) -> Result<Vec<u8>, ReadError> {
        let started = clock::now().monotonic;
        let result = self.get_once(traffic, key, &get).await;
        self.observe(get.route, result.as_ref().err(), started);
        result
    }

    async fn get_once(
        &self,
        traffic: &dyn Traffic,
        key: &SecretString,
        get: &Get<'_>,
    ) -> Result<Vec<u8>, ReadError> {
        let (url, headers) = self.address(key, get)?;
        let request = self.reads.get(url).headers(headers).timeout(self.timeout);
        let answer = read(request.send().await, key).await;
        let answer = answer.map_err(|error| ReadError::unreadable(get.route, &cause::of(&error)))?;
        settle(traffic, get.route, answer)
    }

    /// Sends a dry run, once.
    pub(super) async fn preview(
        &self,
        traffic: &dyn Traffic,
        key: &SecretString,
        get: Get<'_>,
        body: String,
    ) -> Result<Vec<u8>, ReadError> {
        let started = clock::now().monotonic;
        let result = self.preview_once(traffic, key, &get, body).await;
        self.observe(get.route, result.as_ref().err(), started);
        result
    }

    async fn preview_once(
        &self,
        traffic: &dyn Traffic,
        key: &SecretString,
        get: &Get<'_>,
        body: String,
    ) -> Result<Vec<u8>, ReadError> {
        let (url, mut headers) = self.address(key, get)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = self.reads.post(url).headers(headers).body(body);
        let answer = read(request.timeout(self.timeout).send().await, key).await;
        let answer = answer.map_err(|error| ReadError::unreadable(get.route, &cause::of(&error)))?;
        match answer.status {
            200..300 | 429 => settle(traffic, get.route, answer),
            status => Err(ReadError::of_dry_run(get.route, status, &answer.body)),
        }
    }

    fn address(&self, key: &SecretString, get: &Get<'_>) -> Result<(Url, HeaderMap), ReadError> {
        let url = self
            .url(get)
            .ok_or_else(|| ReadError::unreadable(get.route, "the path is not usable"))?;
        let headers = headers(key).ok_or_else(|| {
            ReadError::Unauthorized(Text::new("the key has characters that no API key has"))
        })?;
        Ok((url, headers))
    }

    fn observe(&self, route: Route, error: Option<&ReadError>, started: Duration) {
        let class = error.map_or("ok", ReadError::class);
        (self.observer)(route, class, clock::elapsed(started));
    }

    /// Sends one paid POST and reads its whole answer within its deadline.
    pub(super) async fn paid_post(&self, key: &SecretString, right: RightToSend) -> PaidAnswer {
        let started = clock::now().monotonic;
        let route = Route::of(right.call());
        let answer = match (self.url(&Get::path(route, right.path())), headers(key)) {
            (Some(url), Some(headers)) => self.paid_post_to(url, key, headers, &right).await,
            (None, _) => PaidAnswer::NotSent(Text::new("the request path is not usable")),
            (_, None) => PaidAnswer::NotSent(Text::new("the key has characters that no API key has")),
        };
        let class = match &answer {
            PaidAnswer::NotSent(_) => "not_sent",
            PaidAnswer::Lost(_) => "lost",
            PaidAnswer::Answered { status: 200..300, .. } => "ok",
            PaidAnswer::Answered { .. } => "refused",
        };
        (self.observer)(route, class, clock::elapsed(started));
        answer
    }

    async fn paid_post_to(
        &self,
        url: Url,
        key: &SecretString,
        mut headers: HeaderMap,
        right: &RightToSend,
    ) -> PaidAnswer {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let sent = self
            .paid
            .post(url)
            .headers(headers)
            .body(right.body().to_owned())
            .timeout(right.within())
            .send()
            .await;
        match read(sent, key).await {
            // The border is exact: a connection that was never made has carried no byte. Through a proxy it is made
            // once the tunnel stands and TLS within it is agreed.
            Err(error) if error.is_connect() => PaidAnswer::NotSent(Text::new(&cause::of(&error))),
            Err(error) => PaidAnswer::Lost(Text::new(&cause::of(&error))),
            Ok(answer) if answer.too_large => PaidAnswer::Lost(Text::new("the answer is too large")),
            Ok(answer) => PaidAnswer::Answered {
                status: answer.status,
                retry_after: answer.text(RETRY_AFTER.as_str()).map(str::to_owned),
                body: answer.body,
            },
        }
    }

    fn url(&self, get: &Get<'_>) -> Option<Url> {
        let mut url = self.origin.clone();
        match get.path {
            Path::Segments(segments) => {
                if segments
                    .iter()
                    .any(|segment| segment.is_empty() || [".", ".."].contains(segment))
                {
                    return None;
                }
                url.path_segments_mut().ok()?.clear().extend(segments);
            }
            Path::Plain(path) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
                if !path.starts_with("/api/")
                    || path.contains("..")
                    || path.contains("//")
                    || !path.chars().all(plain)
                {
                    return None;
                }
                url.set_path(path);
            }
        }
        if !get.query.is_empty() {
            url.query_pairs_mut().extend_pairs(get.query);
        }
        Some(url)
    }
}

/// What an answer is worth, and what it says of the pace.
fn settle(traffic: &dyn Traffic, route: Route, answer: Answer) -> Result<Vec<u8>, ReadError> {
    let now = clock::now().wall;
    match answer.status {
        200..300 if answer.too_large => Err(ReadError::unreadable(route, "the answer is too large")),
        200..300 => {
            let wait = |reset: Timestamp| Duration::try_from(reset.duration_since(now)).unwrap_or_default();
            let left = answer.number("x-ratelimit-remaining");
            let budget = left.zip(answer.time("x-ratelimit-reset").map(wait));
            traffic.signal(Signal::Well { budget });
            Ok(answer.body)
        }
        429 => {
            let wait = wait_asked_for(answer.text(RETRY_AFTER.as_str()), &answer.body, now);
            traffic.signal(Signal::Limited { wait });
            let until = now
                .checked_add(wait.unwrap_or_default())
                .unwrap_or(Timestamp::MAX);
            Err(ReadError::RateLimited { until })
        }
        status => Err(ReadError::of_status(route, status, &answer.body)),
    }
}

fn headers(key: &SecretString) -> Option<HeaderMap> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret())).ok()?;
    bearer.set_sensitive(true);
    let accept = HeaderValue::from_static("application/json");
    Some(HeaderMap::from_iter([(AUTHORIZATION, bearer), (ACCEPT, accept)]))
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    too_large: bool,
}

impl Answer {
    fn text(&self, header: &str) -> Option<&str> {
        self.headers.get(header)?.to_str().ok()
    }

    fn number(&self, header: &str) -> Option<u32> {
        self.text(header)?.trim().parse().ok()
    }

    fn time(&self, header: &str) -> Option<Timestamp> {
        self.text(header)?.trim().parse().ok()
    }
}

/// Reads the whole answer, but never more than [`MOST_BYTES`]. A key that HostUp echoes is taken out
/// before anybody can store or show it.
async fn read(sent: Result<Response, reqwest::Error>, key: &SecretString) -> Result<Answer, reqwest::Error> {
    let mut response = sent?;
    let mut answer = Answer {
        status: response.status().as_u16(),
        headers: std::mem::take(response.headers_mut()),
        body: Vec::new(),
        too_large: false,
    };
    while let Some(chunk) = response.chunk().await? {
        if answer.body.len() + chunk.len() > MOST_BYTES {
            answer.too_large = true;
            answer.body.clear();
            break;
        }
        answer.body.extend_from_slice(&chunk);
    }
    mask(&mut answer.body, key.expose_secret().as_bytes());
    Ok(answer)
}

fn mask(body: &mut [u8], key: &[u8]) {
    // Shorter ones are no API keys, and would be found everywhere.
    if key.len() < 6 {
        return;
    }
    let mut from = 0;
    while let Some(at) = body
        .get(from..)
        .and_then(|rest| rest.windows(key.len()).position(|window| window == key))
    {
        let start = from + at;
        from = start + key.len();
        if let Some(found) = body.get_mut(start..from) {
            found.fill(b'*');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echoed_key_is_masked_wherever_it_stands_and_masking_ends() {
        let mut body = b"key hup_12345 and hup_12345".to_vec();
        mask(&mut body, b"hup_12345");
        assert_eq!(body, b"key ********* and *********");
        let mut stars = vec![b'*'; 40];
        mask(&mut stars, b"********");
        assert_eq!(stars, vec![b'*'; 40]);
    }
}
