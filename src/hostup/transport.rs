//! What is asked of HostUp, and what its answers are worth before anybody reads them.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::provider::{Broken, Kind, LIMITED, Provider, Request, Response};
use super::{ReadError, Route, Signal, Traffic};
use crate::clock::Clock;
use crate::domain::action::answer::{PaidAnswer, wait_asked_for};
use crate::domain::purchase::RightToSend;
use crate::domain::values::text::Text;

/// Told of every call: route, class of the outcome, how long it took.
pub type Observer = Arc<dyn Fn(Route, &str, Duration) + Send + Sync>;

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
    pub(super) origin: Url,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) clock: Clock,
    /// Of a read.
    pub(super) timeout: Duration,
    pub(super) observer: Observer,
}

impl Transport {
    /// Reads, once.
    pub(super) async fn get(
        &self,
        traffic: &dyn Traffic,
        key: &SecretString,
        get: Get<'_>,
    ) -> Result<Vec<u8>, ReadError> {
        let started = self.clock.now().monotonic;
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
        let answer = self.read(key, get, Kind::Read, String::new()).await?;
        self.settle(traffic, get.route, answer)
    }

    async fn read(
        &self,
        key: &SecretString,
        get: &Get<'_>,
        kind: Kind,
        body: String,
    ) -> Result<Response, ReadError> {
        let url = self
            .url(get)
            .ok_or_else(|| ReadError::unreadable(get.route, "the path is not usable"))?;
        let headers = headers(key, kind).ok_or_else(|| {
            ReadError::Unauthorized(Text::new("the key has characters that no API key has"))
        })?;
        let request = Request {
            kind,
            url,
            headers,
            body,
            within: self.timeout,
        };
        let answer = self
            .provider
            .exchange(request)
            .await
            .map(|answer| masked(answer, key));
        answer.map_err(|broken| ReadError::unreadable(get.route, broken.why()))
    }

    /// Sends a dry run, once.
    pub(super) async fn preview(
        &self,
        traffic: &dyn Traffic,
        key: &SecretString,
        get: Get<'_>,
        body: String,
    ) -> Result<Vec<u8>, ReadError> {
        let started = self.clock.now().monotonic;
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
        let answer = self.read(key, get, Kind::DryRun, body).await?;
        match answer.status {
            200..300 | 429 => self.settle(traffic, get.route, answer),
            status => Err(ReadError::of_dry_run(get.route, status, &answer.body)),
        }
    }

    fn observe(&self, route: Route, error: Option<&ReadError>, started: Duration) {
        let class = error.map_or("ok", ReadError::class);
        (self.observer)(route, class, self.clock.elapsed(started));
    }

    /// Sends one paid POST and reads its whole answer within its deadline.
    pub(super) async fn paid_post(&self, key: &SecretString, right: RightToSend) -> PaidAnswer {
        let started = self.clock.now().monotonic;
        let route = Route::Paid(right.kind());
        let answer = match (
            self.url(&Get::path(route, right.path())),
            headers(key, Kind::Paid),
        ) {
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
        (self.observer)(route, class, self.clock.elapsed(started));
        answer
    }

    async fn paid_post_to(
        &self,
        url: Url,
        key: &SecretString,
        headers: HeaderMap,
        right: &RightToSend,
    ) -> PaidAnswer {
        let request = Request {
            kind: Kind::Paid,
            url,
            headers,
            body: right.body().to_owned(),
            within: right.within(),
        };
        match self.provider.exchange(request).await {
            Err(Broken::NotSent(why)) => PaidAnswer::NotSent(Text::new(&why)),
            Err(Broken::Lost(why)) => PaidAnswer::Lost(Text::new(&why)),
            Ok(answer) if answer.is_too_large && answer.status != LIMITED => {
                PaidAnswer::Lost(Text::new("the answer is too large"))
            }
            Ok(answer) => {
                let answer = masked(answer, key);
                PaidAnswer::Answered {
                    status: answer.status,
                    retry_after: text(&answer, RETRY_AFTER.as_str()).map(str::to_owned),
                    body: answer.body,
                }
            }
        }
    }

    /// What an answer is worth, and what it says of the pace.
    fn settle(&self, traffic: &dyn Traffic, route: Route, answer: Response) -> Result<Vec<u8>, ReadError> {
        let now = self.clock.now().wall;
        match answer.status {
            200..300 if answer.is_too_large => Err(ReadError::unreadable(route, "the answer is too large")),
            200..300 => {
                let wait =
                    |reset: Timestamp| Duration::try_from(reset.duration_since(now)).unwrap_or_default();
                let left = text(&answer, "x-ratelimit-remaining").and_then(|text| text.trim().parse().ok());
                let reset = text(&answer, "x-ratelimit-reset").and_then(|text| text.trim().parse().ok());
                let budget = left.zip(reset.map(wait));
                traffic.signal(Signal::Well { budget });
                Ok(answer.body)
            }
            429 => {
                let wait = wait_asked_for(text(&answer, RETRY_AFTER.as_str()), &answer.body, now);
                traffic.signal(Signal::Limited { wait });
                let until = now
                    .checked_add(wait.unwrap_or_default())
                    .unwrap_or(Timestamp::MAX);
                Err(ReadError::RateLimited { until })
            }
            status => Err(ReadError::of_status(route, status, &answer.body)),
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

fn headers(key: &SecretString, kind: Kind) -> Option<HeaderMap> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret())).ok()?;
    bearer.set_sensitive(true);
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, bearer), (ACCEPT, json.clone())]);
    if kind != Kind::Read {
        headers.insert(CONTENT_TYPE, json);
    }
    Some(headers)
}

fn text<'a>(answer: &'a Response, header: &str) -> Option<&'a str> {
    answer.headers.get(header)?.to_str().ok()
}

/// A key that HostUp echoes is taken out before anybody can store or show it.
fn masked(mut answer: Response, key: &SecretString) -> Response {
    let key = key.expose_secret();
    mask(&mut answer.body, key.as_bytes());
    for spelling in in_json(key) {
        mask(&mut answer.body, spelling.as_bytes());
    }
    answer
}

/// What a text of JSON has instead of the key, where it is not the key itself: some write `/` as `\/`.
fn in_json(key: &str) -> impl Iterator<Item = String> {
    let quoted = key.replace('\\', "\\\\").replace('"', "\\\"");
    let with_slashes = quoted.replace('/', "\\/");
    [quoted, with_slashes]
        .into_iter()
        .filter(move |spelling| spelling != key)
}

fn mask(body: &mut [u8], key: &[u8]) {
    // Shorter ones are no API keys, and would be found everywhere.
    if key.len() < 6 {
        return;
    }
    // The first byte alone settles nearly every place.
    let is_key = |window: &[u8]| window.first() == key.first() && window == key;
    let mut from = 0;
    while let Some(at) = body
        .get(from..)
        .and_then(|rest| rest.windows(key.len()).position(is_key))
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

    #[test]
    fn a_key_is_masked_however_json_spells_it() {
        let key = SecretString::from("hup/1\"2\\3");
        for echo in [r#"hup/1"2\3"#, r#"hup/1\"2\\3"#, r#"hup\/1\"2\\3"#] {
            let mut answer = Response::new(401, HeaderMap::new());
            answer.take_in(format!("no {echo} here").as_bytes());
            let body = String::from_utf8(masked(answer, &key).body).unwrap();
            assert_eq!(body, format!("no {} here", "*".repeat(echo.len())), "{echo}");
        }
    }
}
