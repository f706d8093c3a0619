//! Why a read brought nothing.

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;

use super::Route;
use super::wire::codes;
use crate::domain::action::answer;
use crate::domain::action::said::Said;
use crate::domain::ledger::record::Invoice;
use crate::domain::values::text::Text;

/// Characters of HostUp's words; with the request's id; and of the words in the reason of a gate, which holds fewer.
const WORDS: usize = 300;
const SHORT: usize = 400;
const OF_A_GATE: usize = 200;

/// Why a read brought nothing. The texts are stable: the same trouble reads the same each time, but for the id of a
/// request.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ReadError {
    /// HostUp asked to wait, or a wait that it asked for has not passed.
    #[error("HostUp asked to wait")]
    RateLimited {
        /// Until then no call with this key leaves.
        until: Timestamp,
    },
    /// 401.
    #[error("HostUp does not know the API key: {0}")]
    Unauthorized(Text),
    /// 403.
    #[error("HostUp forbids it; the key lacks a scope, or does not own the VPS: {0}")]
    Forbidden(Text),
    /// 404. Only that of [`Route::Vps`] says that the key does not read the VPS.
    #[error("HostUp finds nothing at {}: {said}", .route.path())]
    NotFound {
        /// Where nothing was found.
        route: Route,
        /// HostUp's text.
        said: Text,
    },
    /// 409 `existing_invoice_blocking`, and the invoice as far as it is named.
    #[error("HostUp refuses while {0} is open")]
    InvoiceBlocks(Box<Invoice>),
    /// A dry run that was refused in so many words.
    #[error("HostUp refuses: {said}")]
    Refused {
        /// HostUp's stable code.
        code: Text,
        /// HostUp's text.
        said: Text,
    },
    /// No answer, a 5xx, or one that cannot be read.
    #[error("HostUp does not answer usefully: {0}")]
    Unavailable(Text),
}

impl ReadError {
    /// An answer that cannot be used.
    pub fn unreadable(route: Route, why: &str) -> Self {
        Self::Unavailable(Text::new(&format!("{}: {why}", route.as_str())))
    }

    /// A status that says nothing by itself.
    fn odd(route: Route, status: u16, said: &Said) -> Self {
        let words = said
            .words
            .as_ref()
            .map(|words| Text::bounded(words.as_clause(), WORDS));
        let said = Said {
            words,
            ..said.clone()
        };
        let what = format!("{}: HTTP status {status}", route.as_str());
        Self::Unavailable(Text::bounded(&said.cited(&what), 2 * SHORT))
    }

    /// What a status other than 2xx and 429 means for a read.
    pub(super) fn of_status(route: Route, status: u16, body: &[u8]) -> Self {
        let said = Said::by(body);
        let short = Text::bounded(&said.in_short(WORDS), SHORT);
        match status {
            401 => Self::Unauthorized(short),
            403 => Self::Forbidden(short),
            404 if is_json(body) => Self::NotFound { route, said: short },
            409 => match answer::blocking_invoice(body) {
                Some(invoice) => Self::InvoiceBlocks(Box::new(invoice)),
                None => Self::odd(route, status, &said),
            },
            _ => Self::odd(route, status, &said),
        }
    }

    /// What a status other than 2xx and 429 means for a dry run.
    pub(super) fn of_dry_run(route: Route, status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Problem {
            code: String,
        }
        match (status, serde_json::from_slice::<Problem>(body)) {
            (400 | 409 | 422, Ok(Problem { code })) => Self::Refused {
                code: Text::bounded(&codes(&code, &blockers(body)), 60),
                said: Text::new(&Said::by(body).in_short(OF_A_GATE)),
            },
            (_, _) => Self::of_status(route, status, body),
        }
    }

    /// A fixed word for metrics.
    pub fn class(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::Refused { .. } | Self::InvoiceBlocks(_) => "refused",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

fn blockers(body: &[u8]) -> Vec<String> {
    let read = serde_json::from_slice(body);
    read.map_or_else(|_| Vec::new(), |body| answer::blockers_in(&body))
}
