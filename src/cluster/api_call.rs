//! Calls to the API server, each with a deadline: kube's client has none of its own for reads.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use kube::api::PostParams;
use thiserror::Error;

use crate::api::NAME;
use crate::domain::status::reason::Reason;
use crate::domain::status::report::Trouble;
use crate::domain::values::text::Text;

/// The longest that the API server may take for one call.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A call to the API server that brought nothing.
#[derive(Debug, Error)]
pub enum ApiError {
    /// It answered with an error, or the connection failed.
    #[error("the API server: {}", said(.0))]
    Kube(#[from] kube::Error),
    /// It answered with an object that this version cannot read, described so.
    #[error("{0} cannot be read; it was written by another version or by hand")]
    Unreadable(String),
    /// It serves no `VpsBudgets`.
    #[error(
        "the API server serves no VpsBudgets, so nobody knows what may be spent; install the CRDs of this version: \
         hostup-operator crds | kubectl apply --server-side -f -"
    )]
    NoBudgets,
    /// It did not answer in time.
    #[error("the API server did not answer within {} s", DEADLINE.as_secs())]
    Silent,
}

/// What went wrong, down to the cause. An answer that cannot be read is not quoted, for it may be a Secret.
pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "its answer cannot be read".to_owned(),
        kube::Error::Api(status) if status.code == 401 => format!(
            "it does not accept the operator's credentials ({}); has the client certificate or the token expired?",
            status.message
        ),
        kube::Error::Api(status) => format!("{} ({} {})", status.message, status.code, status.reason),
        other => with_causes(other),
    }
}

/// An error with everything that caused it: the outermost ones tell no more than that something failed.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        let of_a_call = cause.downcast_ref::<kube::Error>();
        let words = of_a_call.map_or_else(|| cause_text.clone(), said);
        if text.contains(&cause_text) {
            text = text.replace(&cause_text, &words);
        } else {
            text.push_str(": ");
            text.push_str(&words);
        }
        // Its own causes stand in its words already.
        source = cause.source().filter(|_| of_a_call.is_none());
    }
    text
}

impl ApiError {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            Self::Kube(_) | Self::Unreadable(_) | Self::NoBudgets | Self::Silent => None,
        }
    }

    /// The API server itself says that it has no object of that name. A 404 of anybody on the way to it does
    /// not, and proves nothing.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Kube(kube::Error::Api(status)) => {
                let named = status
                    .details
                    .as_ref()
                    .is_some_and(|details| !details.name.is_empty());
                status.code == 404 && status.reason == "NotFound" && named
            }
            Self::Kube(_) | Self::Unreadable(_) | Self::NoBudgets | Self::Silent => false,
        }
    }

    /// The words of a refusal that lasts until somebody puts it right.
    pub fn refusal(&self) -> Option<Text> {
        match self {
            Self::Kube(kube::Error::Api(status)) if self.is_refusal() && status.code != 404 => {
                Some(Text::bounded(&status.message, 600))
            }
            Self::Kube(_) | Self::Unreadable(_) | Self::NoBudgets | Self::Silent => None,
        }
    }

    /// What a status says of a call that the API server refuses.
    pub fn trouble(&self) -> Option<Trouble> {
        let message = match self {
            Self::NoBudgets => self.to_string(),
            Self::Kube(_) | Self::Unreadable(_) | Self::Silent => format!(
                "the API server refuses what the operator must do: {}. Change the policy, the quota or the right that is \
                 in the way; it is tried again at least every 15 minutes",
                self.refusal()?.as_clause()
            ),
        };
        Some(Trouble {
            reason: Reason::ClusterRefuses,
            message: Text::bounded(&message, 1000),
            until: None,
        })
    }

    /// 404, of the API server or of anybody on the way to it.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// 409, for a name that exists and for a version that is not the current one.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// 429: the API server did nothing, and asks to come back.
    pub fn is_throttled(&self) -> bool {
        self.code() == Some(429)
    }

    /// 403.
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// What it answered is not what was asked for.
    pub fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Self::Kube(kube::Error::SerdeError(_) | kube::Error::FromUtf8(_))
        )
    }

    /// The API server said no before it changed anything; every other error leaves that open.
    pub fn is_refusal(&self) -> bool {
        self.code()
            .is_some_and(|code| matches!(code, 400 | 401 | 403 | 404 | 405 | 413 | 415 | 422))
    }

    /// A write that came to this may have been done, or may still be done.
    pub fn leaves_a_write_open(&self) -> bool {
        !self.is_refusal() && !self.is_conflict() && !self.is_throttled()
    }
}

/// How a write says that it is ours.
pub fn by_us() -> PostParams {
    PostParams {
        field_manager: Some(NAME.to_owned()),
        ..PostParams::default()
    }
}

/// Waits for `call`, but not for ever.
///
/// # Errors
/// [`ApiError`].
pub async fn within<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
    tokio::time::timeout(DEADLINE, call)
        .await
        .map_err(|_| ApiError::Silent)?
        .map_err(ApiError::from)
}

/// As [`within`], with `None` for an object that the API server does not have.
///
/// # Errors
/// [`ApiError`].
pub async fn found<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<Option<T>, ApiError> {
    match within(call).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::runtime::watcher;

    use super::*;

    #[test]
    fn what_a_watch_failed_of_is_said_as_of_any_other_call() {
        for (code, reason, said) in [
            (
                401,
                "Unauthorized",
                "it does not accept the operator's credentials (words); has the client certificate or the token expired?",
            ),
            (403, "Forbidden", "words (403 Forbidden)"),
        ] {
            let refused = || kube::Error::Api(Status::failure("words", reason).with_code(code).boxed());
            for error in [
                watcher::Error::InitialListFailed(refused()),
                watcher::Error::WatchStartFailed(refused()),
                watcher::Error::WatchFailed(refused()),
            ] {
                let text = with_causes(&error);
                assert!(text.ends_with(&format!(": {said}")), "{text}");
                assert!(!text.contains("Status {"), "{text}");
            }
        }
    }
}
