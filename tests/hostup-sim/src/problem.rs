//! Error bodies: the v2 problem document (every v2 page) and the older shape of the legacy routes
//! (legacy endpoint pages).

use crate::wire::Json;

/// A v2 problem document, RFC 7807 with the provider's members (restore-to-payg page, "400").
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) title: Option<String>,
    pub(crate) detail: Option<String>,
    /// Only for the legacy 429 body; v2 has it in the header alone.
    pub(crate) retry_after: Option<String>,
    /// `errors[]`: pointer and detail.
    pub(crate) errors: Vec<(String, String)>,
    /// Members of `extensions`.
    pub(crate) extensions: Vec<(String, Json)>,
    /// Members beside `code`.
    pub(crate) top: Vec<(String, Json)>,
}

impl Problem {
    pub(crate) fn new(status: u16, code: impl Into<String>) -> Problem {
        Problem {
            status,
            code: code.into(),
            title: None,
            detail: None,
            retry_after: None,
            errors: Vec::new(),
            extensions: Vec::new(),
            top: Vec::new(),
        }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn body(&self, instance: &str, request_id: String, timestamp: String) -> Json {
        let title = self.title.as_deref().unwrap_or(title(self.status));
        let detail = self.detail.as_deref().unwrap_or(detail(self.status));
        let mut body = Json::object([
            (
                "type",
                format!("https://developer.hostup.se/errors/{}", self.code).into(),
            ),
            ("title", title.into()),
            ("status", self.status.into()),
            ("detail", detail.into()),
            ("code", (&self.code).into()),
            ("instance", instance.into()),
            ("requestId", request_id.into()),
            ("timestamp", timestamp.into()),
        ]);
        if !self.errors.is_empty() {
            let errors = self.errors.iter().map(|(pointer, detail)| {
                Json::object([
                    ("pointer", pointer.into()),
                    ("detail", detail.into()),
                    ("code", "invalid_request".into()),
                ])
            });
            body.push("errors", Json::list(errors));
        }
        if !self.extensions.is_empty() {
            body.push("extensions", Json::Object(self.extensions.clone()));
        }
        for (name, value) in &self.top {
            body.push(name, value.clone());
        }
        body
    }
}

/// The titles of the examples on the restore-to-payg page; for other statuses the HTTP phrase.
fn title(status: u16) -> &'static str {
    match status {
        400 => "Invalid request",
        403 => "Forbidden",
        404 => "Not found",
        429 => "Too many requests",
        500 => "Internal server error",
        status => phrase(status),
    }
}

/// The detail texts of the restore-to-payg page.
fn detail(status: u16) -> &'static str {
    match status {
        400 => "The request body failed validation.",
        401 => "Authentication is required.",
        403 => "The caller lacks a required scope or does not own the resource.",
        404 => "The requested resource could not be found.",
        429 => "Too many requests. Retry after the limit resets.",
        500 => "An unexpected error occurred. Retry later or contact support if the issue persists.",
        _ => "The request could not be completed.",
    }
}

/// The legacy error body: `{error, message, code, timestamp, requestId}` (legacy endpoint pages).
pub(crate) fn legacy_error(
    status: u16,
    code: Option<&str>,
    message: &str,
    request_id: String,
    timestamp: String,
) -> Json {
    let mut body = Json::object([("error", phrase(status).into()), ("message", message.into())]);
    if let Some(code) = code {
        body.push("code", code.into());
    }
    body.push("timestamp", timestamp.into());
    body.push("requestId", request_id.into());
    body
}

/// The code of the legacy error body for a status (codes seen on the legacy pages).
pub(crate) fn legacy_code(status: u16) -> &'static str {
    match status {
        400 => "BAD_REQUEST",
        401 => "UNAUTHORIZED",
        403 => "FORBIDDEN",
        404 => "NOT_FOUND",
        // Assumed.
        409 => "CONFLICT",
        _ => "INTERNAL_ERROR",
    }
}

/// The reason phrase of a status line.
pub(crate) fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
