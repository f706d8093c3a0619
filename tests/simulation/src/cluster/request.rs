//! Requests as they come over HTTP.

use std::time::Duration;

use futures::FutureExt;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE};
use kube::client::Body;
use serde_json::Value;

use super::kind::Kind;
use super::refusal::Refusal;
use crate::field::at;

/// The server ends a watch that asked for no time of its own after so long.
const LONGEST_WATCH: Duration = Duration::from_secs(30 * 60);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// POST.
    Create,
    /// GET of one object.
    Get,
    /// GET of all.
    List,
    /// GET of all and their changes.
    Watch,
    /// PUT.
    Replace,
    /// PATCH.
    Patch,
    /// DELETE of one object.
    Delete,
}

/// Which part of an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Everything but the status, where the kind has one.
    Whole,
    /// The subresource `status`.
    Status,
}

/// A request, as far as a fault may depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// What is asked for.
    pub verb: Verb,
    /// Of which kind.
    pub kind: &'static Kind,
    /// Of which part of it.
    pub part: Part,
    /// In which namespace; `None` for all, and for what is in none.
    pub namespace: Option<String>,
    /// Of which object, also where only its body names it.
    pub name: Option<String>,
}

/// How much of an object is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    Metadata,
}

/// A request with everything that it says.
pub(super) struct Ask {
    pub info: RequestInfo,
    pub shape: Shape,
    pub body: Value,
    pub query: Query,
}

/// What a request for a list or a watch says beside its path.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// `None` where it is unset or "0".
    pub version: Option<u64>,
    /// It is "0": the list may be of long ago. Unset it shows all that was written before.
    pub is_of_any_time: bool,
    pub version_match: String,
    pub streams_list: bool,
    pub takes_bookmarks: bool,
    pub lasts: Option<Duration>,
    /// Only the records of this VPS.
    pub of_vps: Option<String>,
    is_watch: bool,
}

/// The one selector that this server knows: `spec.vpsId=...`.
fn vps_selected(selector: &str) -> Result<String, Refusal> {
    let selected = selector.strip_prefix("spec.vpsId%3D");
    let selected = selected.or_else(|| selector.strip_prefix("spec.vpsId="));
    let known = || Refusal::bad_request("this server selects by spec.vpsId alone");
    selected.map(str::to_owned).ok_or_else(known)
}

/// Why a request cannot be acted on.
pub(super) enum Unread {
    /// Nothing is served at its path.
    NoSuchPath,
    Refused(Refusal),
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Query {
    fn read(text: &str) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for (key, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            let number = || {
                let wrong = |_| Refusal::bad_request(format!("{key}: Invalid value: {value:?}"));
                value.parse::<u64>().map_err(wrong)
            };
            let is_true = matches!(value, "true" | "1");
            match key {
                "watch" => query.is_watch = is_true,
                "allowWatchBookmarks" => query.takes_bookmarks = is_true,
                "sendInitialEvents" => query.streams_list = is_true,
                "resourceVersionMatch" => value.clone_into(&mut query.version_match),
                "resourceVersion" if !value.is_empty() => {
                    query.version = Some(number()?).filter(|at| *at > 0);
                    query.is_of_any_time = query.version.is_none();
                }
                "timeoutSeconds" => query.lasts = Some(Duration::from_secs(number()?)),
                "fieldSelector" => query.of_vps = Some(vps_selected(value)?),
                "labelSelector" => return Err(Refusal::bad_request("this server knows no labels")),
                _ => {}
            }
        }
        Ok(query)
    }

    /// How long a watch lasts.
    pub fn lasts(&self) -> Duration {
        self.lasts
            .filter(|lasts| !lasts.is_zero())
            .unwrap_or(LONGEST_WATCH)
    }
}

impl Ask {
    /// Reads a request whose body is in memory, as kube's client sends it.
    pub fn read(request: http::Request<Body>) -> Result<Self, Unread> {
        let (head, body) = request.into_parts();
        let (kind, namespace, name, part) = route(head.uri.path()).ok_or(Unread::NoSuchPath)?;
        let query = Query::read(head.uri.query().unwrap_or_default())?;
        let has_place = namespace.is_some() == kind.is_namespaced;
        let verb = match (head.method, name.is_some()) {
            (Method::GET, true) => Verb::Get,
            (Method::GET, false) if query.is_watch => Verb::Watch,
            (Method::GET, false) => Verb::List,
            (Method::POST, false) if has_place => Verb::Create,
            (Method::PUT, true) => Verb::Replace,
            (Method::PATCH, true) => Verb::Patch,
            (Method::DELETE, true) => Verb::Delete,
            _ => {
                let message = "the server does not allow this method on the requested resource";
                return Err(Refusal::new(405, "MethodNotAllowed", message).into());
            }
        };
        let header = |named| head.headers.get(named).and_then(|value| value.to_str().ok());
        let content = header(CONTENT_TYPE).unwrap_or_default();
        if verb == Verb::Patch && content != "application/merge-patch+json" {
            let message = format!("this server knows no patch of the type {content}");
            return Err(Refusal::new(415, "UnsupportedMediaType", message).into());
        }
        let is_partial = |accept: &str| accept.contains("as=PartialObjectMetadata");
        let body = json_of(body)?;
        let name = name.or_else(|| {
            let named = at(&body, "/metadata/name")?.as_str()?;
            Some(named.to_owned())
        });
        Ok(Self {
            info: RequestInfo {
                verb,
                kind,
                part,
                namespace,
                name,
            },
            shape: if header(ACCEPT).is_some_and(is_partial) {
                Shape::Metadata
            } else {
                Shape::Whole
            },
            body,
            query,
        })
    }
}

/// Null for an empty body.
fn json_of(body: Body) -> Result<Value, Refusal> {
    let Some(Ok(bytes)) = body.collect_bytes().now_or_never() else {
        return Err(Refusal::bad_request("the request's body is not in memory"));
    };
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad_request(format!("the request's body is no JSON: {error}")))
}

/// Kind, namespace, name and part that a path names.
type Route = (&'static Kind, Option<String>, Option<String>, Part);

fn route(path: &str) -> Option<Route> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        // One segment more is the namespace itself.
        ["namespaces", namespace, inner @ ..] if !inner.is_empty() => (Some(*namespace), inner),
        _ => (None, rest),
    };
    let (plural, name, part) = match rest {
        [plural] => (*plural, None, Part::Whole),
        [plural, name] => (*plural, Some(*name), Part::Whole),
        [plural, name, "status"] => (*plural, Some(*name), Part::Status),
        _ => return None,
    };
    let kind = Kind::at(group, version, plural)?;
    let is_in_place = match namespace {
        Some(_) => kind.is_namespaced,
        None => !kind.is_namespaced || name.is_none(),
    };
    if !is_in_place || part == Part::Status && !kind.has_status {
        return None;
    }
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Some((kind, owned(namespace), owned(name), part))
}
