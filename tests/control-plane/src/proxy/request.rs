use bytes::Bytes;
use serde_json::Value;

/// A request as the proxy saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The first request through a proxy is 1.
    pub n: usize,
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// `/apis/vps.hostup.se/v1alpha1/vpsoperations`, without the query.
    pub path: String,
    /// What follows the `?`, empty if nothing does.
    pub query: String,
    /// As sent, which is not always JSON.
    pub body: Bytes,
}

impl Request {
    /// True for a watch, which includes a streaming list.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1"))
    }

    /// The body, if it is JSON.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}
