//! The line from one process to HostUp, and what goes wrong on it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hostup_operator::hostup::{Broken, Exchange, Kind, Provider, Request, Response};
use hostup_sim::{Call, Heard, InProcess};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::body::Body;
use crate::dice::Dice;
use crate::judge::Judge;
use crate::story::Story;
use crate::weather::{Weather, line as fault};

/// The line of one process.
pub struct Line {
    /// HostUp.
    pub hostup: InProcess,
    /// Whose line it is.
    pub body: Body,
    /// The process, in the story.
    pub who: String,
    /// Chance.
    pub dice: Dice,
    /// How bad it is.
    pub weather: Weather,
    /// Looks at each paid call that leaves.
    pub judge: Judge,
    /// The story.
    pub story: Story,
    /// Until when HostUp has asked to wait, by key.
    pub limits: Mutex<HashMap<HeaderValue, Instant>>,
}

impl Line {
    async fn carry(&self, request: Request) -> Result<Response, Broken> {
        self.body.runs().await;
        let kind = request.kind;
        let within = request.within;
        let what = format!("{kind:?} {}", request.url.path());
        let key = request.headers.get(AUTHORIZATION).cloned();
        let until = key.as_ref().and_then(|key| self.limits().get(key).copied());
        // What leaves in the moment of the 429 left beside it.
        let now = Instant::now();
        if until.is_some_and(|until| now < until && now + RETRY_AFTER > until) {
            self.judge.finds(format!(
                "{} sends {what} before HostUp's Retry-After is over",
                self.who
            ));
        }
        let fault = self.weather.on_the_line(&self.dice, kind);
        if let Some(fault) = fault {
            self.story.fault(fault.name(), || format!("{}: {what}", self.who));
        }
        if kind == Kind::Paid {
            self.judge
                .paid_call_leaves(&self.who, request.url.path(), &request.body);
        }
        let answered = tokio::time::timeout(within, self.exchanged(request, fault)).await;
        let answer = answered.unwrap_or_else(|_| Err(lost("no complete answer within the time-out")));
        self.body.runs().await;
        if let (Some(key), Some(fault::Fault::TooMany), Ok(_)) = (key, fault, &answer) {
            self.limits().insert(key, Instant::now() + RETRY_AFTER);
        }
        if kind == Kind::Paid {
            self.story
                .tell(|| format!("{}: {what} -> {}", self.who, told(&answer)));
        }
        answer
    }

    fn limits(&self) -> MutexGuard<'_, HashMap<HeaderValue, Instant>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchanged(&self, request: Request, fault: Option<fault::Fault>) -> Result<Response, Broken> {
        use fault::Fault;
        let call = call(&request);
        match fault {
            None => self.heard(call).await,
            Some(Fault::NoConnection) => Err(Broken::NotSent("no connection could be made".to_owned())),
            Some(Fault::LostThere) => {
                tokio::time::sleep(self.dice.millis(1_500)).await;
                Err(broken())
            }
            Some(Fault::LostBack) => {
                let _unheard = self.heard(call).await;
                Err(broken())
            }
            Some(Fault::LandsLate) => {
                let (hostup, after) = (
                    self.hostup.clone(),
                    self.dice.between(Duration::ZERO, LONGEST_LANDING),
                );
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    hostup.call(call).await
                });
                Err(broken())
            }
            Some(Fault::Slow) => {
                tokio::time::sleep(self.dice.millis(1_500)).await;
                let answer = self.heard(call).await;
                tokio::time::sleep(self.dice.millis(1_500)).await;
                answer
            }
            Some(Fault::Silent) => std::future::pending().await,
            Some(Fault::SilentAfter) => {
                let _unheard = self.heard(call).await;
                std::future::pending().await
            }
            Some(
                other @ (Fault::ServerError { acts } | Fault::Garbled { acts } | Fault::ForeignPage { acts }),
            ) => {
                if acts {
                    let _unheard = self.heard(call).await;
                }
                Ok(self.another_answer(other))
            }
            Some(Fault::TooMany) => Ok(answer(
                429,
                &[("retry-after", &RETRY_AFTER.as_secs().to_string())],
                &problem(429, "rate_limit_exceeded"),
            )),
            Some(Fault::Refused) => Ok(answer(409, &[], &problem(409, "vps_not_ready"))),
        }
    }

    fn another_answer(&self, fault: fault::Fault) -> Response {
        match fault {
            fault::Fault::ServerError { .. } => {
                let status = self.dice.one(&[500, 502, 503, 504]);
                answer(status, &[], &problem(status, "internal_error"))
            }
            fault::Fault::Garbled { .. } => answer(200, &[], "{\"operation\": {\"jobId\": \"job"),
            _ => answer(self.dice.one(&[200, 403, 404]), &[], "<html>blocked</html>"),
        }
    }

    async fn heard(&self, call: Call) -> Result<Response, Broken> {
        match self.hostup.call(call).await {
            Heard::NoConnection => Err(Broken::NotSent("no connection could be made".to_owned())),
            Heard::Broken => Err(broken()),
            Heard::Answer {
                status,
                headers,
                body,
            } => {
                let mut response = Response::new(status, named(&headers));
                response.take_in(&body);
                Ok(response)
            }
        }
    }
}

impl Provider for Line {
    fn exchange(&self, request: Request) -> Exchange<'_> {
        Box::pin(self.carry(request))
    }
}

/// What a 429 asks for.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Until when a request that was sent may land at HostUp after its sender has given up.
const LONGEST_LANDING: Duration = Duration::from_millis(2_500);

fn call(request: &Request) -> Call {
    let method = if request.kind == Kind::Read { "GET" } else { "POST" };
    let target = match request.url.query() {
        Some(query) => format!("{}?{query}", request.url.path()),
        None => request.url.path().to_owned(),
    };
    let mut call = Call::new(method, &target);
    for (name, value) in &request.headers {
        call = call.header(name.as_str(), value.to_str().unwrap_or_default());
    }
    request.body.as_bytes().clone_into(&mut call.body);
    call
}

fn named(headers: &[(String, String)]) -> HeaderMap {
    let read = |(name, value): &(String, String)| {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        Some((name, HeaderValue::try_from(value.as_str()).ok()?))
    };
    headers.iter().filter_map(read).collect()
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let mut response = Response::new(status, named(&headers));
    response.take_in(body.as_bytes());
    response
}

fn problem(status: u16, code: &str) -> String {
    serde_json::json!({"type": "about:blank", "title": "t", "status": status, "detail": "d", "code": code})
        .to_string()
}

fn broken() -> Broken {
    lost("the connection broke before the answer was complete")
}

fn lost(why: &str) -> Broken {
    Broken::Lost(why.to_owned())
}

fn told(answer: &Result<Response, Broken>) -> String {
    match answer {
        Ok(response) => format!("answered {}", response.status()),
        Err(broken) => format!("{broken:?}"),
    }
}
