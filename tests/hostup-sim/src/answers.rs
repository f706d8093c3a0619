//! Answers: what is said, and how its bytes go out.

use std::time::Duration;

use crate::clock::iso;
use crate::http::{Delivery, Outgoing};
use crate::problem::{Problem, legacy_error};
use crate::routes::{Reply, rate_limit_headers};
use crate::wire::Json;
use crate::world::{BlockersAt, World};

/// The three ways a 429 looks (restore-to-payg page, rate_limited page, legacy details page).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitStyle {
    /// Problem document, code `rate_limit_exceeded`.
    Exceeded,
    /// Problem document, code `rate_limited`.
    Limited,
    /// `{error, message, retryAfter, requestId}`, without a code.
    Legacy,
}

#[derive(Clone, Debug)]
enum What {
    Normal,
    Problem(Problem),
    Blocked(Problem, Vec<String>),
    RateLimited(RateLimitStyle),
    Legacy {
        status: u16,
        code: String,
        message: String,
    },
    Raw {
        status: u16,
        body: Vec<u8>,
    },
    Bytes(Vec<u8>),
}

/// An answer: what it says and how its bytes go out.
#[derive(Clone, Debug)]
pub struct Answer {
    what: What,
    headers: Vec<(String, String)>,
    changes: Vec<(String, Option<Json>)>,
    retry_after: Option<String>,
    delay: Duration,
    delivery: Delivery,
}

impl Answer {
    fn of(what: What) -> Answer {
        Answer {
            what,
            headers: Vec::new(),
            changes: Vec::new(),
            retry_after: None,
            delay: Duration::ZERO,
            delivery: Delivery::Whole,
        }
    }

    /// What would be answered without a fault; for use with [`Answer::set`], [`Answer::delay`], ...
    #[must_use]
    pub fn normal() -> Answer {
        Answer::of(What::Normal)
    }

    /// A problem document.
    #[must_use]
    pub fn problem(status: u16, code: &str) -> Answer {
        Answer::of(What::Problem(Problem::new(status, code)))
    }

    /// A problem document with `blockerReasons`, wherever [`World::blockers_at`] puts them.
    #[must_use]
    pub fn blocked(status: u16, code: &str, blockers: &[&str]) -> Answer {
        let blockers = blockers.iter().map(|word| (*word).to_owned()).collect();
        Answer::of(What::Blocked(Problem::new(status, code), blockers))
    }

    /// A 429 with `X-RateLimit-*` headers; `Retry-After` is absent unless [`Answer::retry_after`]
    /// adds it.
    #[must_use]
    pub fn rate_limited(style: RateLimitStyle) -> Answer {
        Answer::of(What::RateLimited(style))
    }

    /// The legacy error body.
    #[must_use]
    pub fn legacy_error(status: u16, code: &str, message: &str) -> Answer {
        Answer::of(What::Legacy {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        })
    }

    /// Any status and body, without a content type unless [`Answer::header`] adds one.
    #[must_use]
    pub fn raw(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer::of(What::Raw {
            status,
            body: body.into(),
        })
    }

    /// Any status and JSON text (not checked).
    #[must_use]
    pub fn json(status: u16, text: impl Into<String>) -> Answer {
        Answer::raw(status, text.into().into_bytes()).header("Content-Type", "application/json")
    }

    /// An HTML page, as a balancer in front of the API answers.
    #[must_use]
    pub fn html(status: u16) -> Answer {
        Answer::raw(
            status,
            format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"),
        )
        .header("Content-Type", "text/html; charset=utf-8")
    }

    /// A status without a body.
    #[must_use]
    pub fn empty(status: u16) -> Answer {
        Answer::raw(status, Vec::new())
    }

    /// JSON that breaks off, under a true `Content-Length`.
    #[must_use]
    pub fn broken_json(status: u16) -> Answer {
        Answer::json(status, r#"{"operation":{"status":"queu"#)
    }

    /// A valid JSON object of about so many bytes.
    #[must_use]
    pub fn big(status: u16, bytes: usize) -> Answer {
        Answer::json(status, format!("{{\"filler\":\"{}\"}}", "x".repeat(bytes)))
    }

    /// A JSON array, so many deep.
    #[must_use]
    pub fn deep(status: u16, depth: usize) -> Answer {
        Answer::json(status, "[".repeat(depth) + &"]".repeat(depth))
    }

    /// 2xx that says `"success": false` (seen in the provider's own module).
    #[must_use]
    pub fn success_false(status: u16) -> Answer {
        Answer::json(
            status,
            r#"{"success":false,"error":"Request failed","message":"Begäran misslyckades"}"#,
        )
    }

    /// A redirect.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Answer {
        Answer::empty(status).header("Location", location)
    }

    /// These bytes instead of a response, then FIN.
    #[must_use]
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Answer {
        Answer::of(What::Bytes(bytes.into()))
    }

    /// No byte, FIN.
    #[must_use]
    pub fn close() -> Answer {
        Answer::normal().delivered(Delivery::Close)
    }

    /// No byte, RST.
    #[must_use]
    pub fn reset() -> Answer {
        Answer::normal().delivered(Delivery::Reset)
    }

    /// No byte until the client leaves.
    #[must_use]
    pub fn silence() -> Answer {
        Answer::normal().delivered(Delivery::Silence(None))
    }

    /// No byte for a time, then FIN. (For silence and then an answer: [`Answer::delay`].)
    #[must_use]
    pub fn silence_for(time: Duration) -> Answer {
        Answer::normal().delivered(Delivery::Silence(Some(time)))
    }

    /// Sets the `detail` of a problem.
    #[must_use]
    pub fn detail(mut self, detail: &str) -> Answer {
        if let What::Problem(problem) | What::Blocked(problem, _) = &mut self.what {
            problem.detail = Some(detail.to_owned());
        }
        self
    }

    /// Adds a member to the `extensions` of a problem (JSON text).
    ///
    /// # Panics
    /// If the text is not JSON.
    #[must_use]
    pub fn extension(mut self, name: &str, text: &str) -> Answer {
        if let What::Problem(problem) | What::Blocked(problem, _) = &mut self.what {
            problem.extensions.push((name.to_owned(), Json::raw(text)));
        }
        self
    }

    /// Sets the value at a JSON pointer of the body (not of raw bodies) to this JSON text: for
    /// example `set("/operation/jobId", "123")`.
    ///
    /// # Panics
    /// If the text is not JSON.
    #[must_use]
    pub fn set(mut self, pointer: &str, text: &str) -> Answer {
        self.changes.push((pointer.to_owned(), Some(Json::raw(text))));
        self
    }

    /// Removes what stands at a JSON pointer of the body (not of raw bodies).
    #[must_use]
    pub fn remove(mut self, pointer: &str) -> Answer {
        self.changes.push((pointer.to_owned(), None));
        self
    }

    /// Sets a header, also `Content-Type`, `Content-Length` (may be wrong) and `Content-Encoding`.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A `Content-Length` that need not be true; the connection ends after the body.
    #[must_use]
    pub fn content_length(self, bytes: usize) -> Answer {
        self.header("Content-Length", &bytes.to_string())
    }

    /// Claims gzip over a body that is none.
    #[must_use]
    pub fn gzip_claim(self) -> Answer {
        self.header("Content-Encoding", "gzip")
    }

    /// `Retry-After` with any text; in a legacy 429 also `retryAfter` in the body.
    #[must_use]
    pub fn retry_after(mut self, text: &str) -> Answer {
        self.retry_after = Some(text.to_owned());
        self
    }

    /// Waits before the first byte.
    #[must_use]
    pub fn delay(mut self, time: Duration) -> Answer {
        self.delay = time;
        self
    }

    /// FIN after so many bytes of the body.
    #[must_use]
    pub fn cut_body_after(self, bytes: usize) -> Answer {
        self.delivered(Delivery::Cut {
            after: bytes,
            reset: false,
        })
    }

    /// RST after so many bytes of the body.
    #[must_use]
    pub fn reset_body_after(self, bytes: usize) -> Answer {
        self.delivered(Delivery::Cut {
            after: bytes,
            reset: true,
        })
    }

    /// The head, then nothing until the client leaves.
    #[must_use]
    pub fn head_then_silence(self) -> Answer {
        self.delivered(Delivery::HeadThenSilence)
    }

    /// The head at once, then a byte of the body at a time.
    #[must_use]
    pub fn drip(self, every: Duration) -> Answer {
        self.delivered(Delivery::Drip {
            every,
            from_start: false,
        })
    }

    /// A byte at a time from the status line on.
    #[must_use]
    pub fn drip_from_start(self, every: Duration) -> Answer {
        self.delivered(Delivery::Drip {
            every,
            from_start: true,
        })
    }

    fn delivered(mut self, delivery: Delivery) -> Answer {
        self.delivery = delivery;
        self
    }

    /// The normal answer, whole.
    pub(crate) fn is_harmless(&self) -> bool {
        matches!(self.what, What::Normal) && self.delivery == Delivery::Whole
    }

    pub(crate) fn needs_normal(&self) -> bool {
        matches!(self.what, What::Normal)
    }

    /// A name for logs.
    pub(crate) fn name(&self) -> String {
        let what = match &self.what {
            What::Normal => "normal".to_owned(),
            What::Problem(problem) | What::Blocked(problem, _) => {
                format!("{} {}", problem.status, problem.code)
            }
            What::RateLimited(style) => format!("429 {style:?}"),
            What::Legacy { status, code, .. } => format!("{status} {code}"),
            What::Raw { status, body } => format!("{status} with {} bytes", body.len()),
            What::Bytes(bytes) => format!("{} raw bytes", bytes.len()),
        };
        match self.delivery {
            Delivery::Whole => what,
            delivery => format!("{what}, {delivery:?}"),
        }
    }

    /// Makes the answer for a request whose normal answer is `normal`.
    pub(crate) fn make(&self, normal: Reply, path: &str, world: &mut World) -> Outgoing {
        let mut reply = match &self.what {
            What::Normal => normal,
            What::Problem(problem) => Reply {
                status: problem.status,
                headers: Vec::new(),
                body: problem_body(problem, path, world),
            },
            What::Blocked(problem, blockers) => {
                let problem = world.with_blockers(problem.clone(), blockers);
                let problem = if world.blockers_at == BlockersAt::DetailOnly {
                    problem.detail(format!("Blocked: {}.", blockers.join(", ")))
                } else {
                    problem
                };
                Reply {
                    status: problem.status,
                    headers: Vec::new(),
                    body: problem_body(&problem, path, world),
                }
            }
            What::RateLimited(style) => self.too_many(*style, path, world),
            What::Legacy {
                status,
                code,
                message,
            } => Reply {
                status: *status,
                headers: Vec::new(),
                body: legacy_error(*status, Some(code), message, world.ids.uuid(), iso(world.wall())),
            },
            What::Raw { status, body } => {
                let mut headers = self.headers.clone();
                if let Some(wait) = &self.retry_after {
                    headers.push(("Retry-After".to_owned(), wait.clone()));
                }
                return self.finish(Outgoing::new(*status, headers, body.clone()));
            }
            What::Bytes(bytes) => {
                return self.finish(Outgoing::bytes(bytes.clone()));
            }
        };
        for (pointer, value) in &self.changes {
            match value {
                Some(value) => reply.body.set(pointer, value.clone()),
                None => reply.body.remove(pointer),
            }
        }
        for (name, value) in &self.headers {
            reply.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
            reply.headers.push((name.clone(), value.clone()));
        }
        if let Some(wait) = &self.retry_after {
            reply
                .headers
                .retain(|(own, _)| !own.eq_ignore_ascii_case("retry-after"));
            reply.headers.push(("Retry-After".to_owned(), wait.clone()));
        }
        self.finish(reply.onto_wire())
    }

    fn finish(&self, mut outgoing: Outgoing) -> Outgoing {
        outgoing.delay = self.delay;
        outgoing.delivery = self.delivery;
        outgoing
    }

    fn too_many(&self, style: RateLimitStyle, path: &str, world: &mut World) -> Reply {
        let wait = self.retry_after.as_deref().and_then(|text| text.parse().ok());
        let until = Duration::from_secs(wait.unwrap_or(30).min(86_400));
        let body = match style {
            RateLimitStyle::Exceeded => problem_body(&Problem::new(429, "rate_limit_exceeded"), path, world),
            RateLimitStyle::Limited => {
                let mut problem = Problem::new(429, "rate_limited");
                problem.title = Some("Rate limit exceeded".to_owned());
                problem_body(&problem, path, world)
            }
            RateLimitStyle::Legacy => {
                let mut body = Json::object([
                    ("error", "Too Many Requests".into()),
                    ("message", "För många förfrågningar".into()),
                ]);
                if let Some(wait) = &self.retry_after {
                    body.push("retryAfter", wait.into());
                }
                body.push("requestId", world.ids.uuid().into());
                body
            }
        };
        Reply {
            status: 429,
            headers: rate_limit_headers(60, 0, world.wall() + until).to_vec(),
            body,
        }
    }
}

fn problem_body(problem: &Problem, path: &str, world: &mut World) -> Json {
    problem.body(path, world.ids.next("req"), iso(world.wall()))
}

impl Reply {
    /// Status line, headers and rendered body.
    pub(crate) fn onto_wire(self) -> Outgoing {
        let mut headers = self.headers;
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push((
                "Content-Type".to_owned(),
                "application/json; charset=utf-8".to_owned(),
            ));
        }
        Outgoing::new(self.status, headers, self.body.render().into_bytes())
    }
}
