//! Calls to the API server: each with a deadline, and with words for a right that is missing.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use hostup_operator::domain::values::ids::SubjectKind;
use hostup_operator::domain::values::text::Text;
use kube::api::ListParams;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::cluster;
use crate::failure::Failure;
use crate::object::Object;

/// The longest that one call may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Objects of one page of a list.
const PAGE: u32 = 500;
/// Characters that are shown of what the API server says.
const SAID: usize = 1000;

/// The right that a call needs.
#[derive(Debug, Clone)]
pub struct Right {
    verb: &'static str,
    resource: String,
    /// Where; `None` in the whole cluster.
    namespace: Option<String>,
    /// What gives it.
    given_by: String,
}

impl Right {
    /// To do something with objects of a kind. `None` is in all namespaces.
    pub fn on_objects(verb: &'static str, kind: SubjectKind, namespace: Option<&str>) -> Self {
        let role = match (verb, kind) {
            ("get" | "list" | "watch", _) => "hostup-operator-view",
            (_, SubjectKind::VpsBackupRestore) => "hostup-operator-edit-restores",
            (_, SubjectKind::VpsResourceConfig) => "hostup-operator-edit-configs",
        };
        Self::by_role(verb, &cluster::resource(kind).plural, namespace, role)
    }

    /// To approve a price, or that a VPS is overwritten.
    pub fn to_approve(object: &Object) -> Self {
        let resource = cluster::resource(object.id.kind).plural;
        let role = if object.overwrites() {
            "hostup-overwriter"
        } else {
            "hostup-approver"
        };
        Self::by_role("patch", &resource, Some(&object.namespace), role)
    }

    /// To read records.
    pub fn on_records(verb: &'static str) -> Self {
        Self::by_role(verb, "vpsoperations", None, "hostup-operator-view-records")
    }

    /// To read budgets.
    pub fn on_budgets(verb: &'static str) -> Self {
        Self::by_role(verb, "vpsbudgets", None, "hostup-operator-view-records")
    }

    /// To answer an unknown outcome.
    pub fn to_resolve() -> Self {
        Self::by_role("patch", "vpsoperations", None, "hostup-resolver")
    }

    /// To read a Secret.
    pub fn on_secret(name: &str, namespace: &str) -> Self {
        Self {
            verb: "get",
            resource: format!("the Secret {name}"),
            namespace: Some(namespace.to_owned()),
            given_by: "no role of the chart gives it, because the Secret contains the API key; name a Secret with a \
                       key of your own by --secret"
                .to_owned(),
        }
    }

    /// To annotate a Namespace.
    pub fn on_namespace(verb: &'static str, name: &str) -> Self {
        Self {
            verb,
            resource: format!("the Namespace {name}"),
            namespace: None,
            given_by:
                "no role of the chart gives it. Ask an administrator, or hold single objects: kubectl hostup \
                       hold KIND/NAME"
                    .to_owned(),
        }
    }

    fn by_role(verb: &'static str, resource: &str, namespace: Option<&str>, role: &str) -> Self {
        let place = namespace.map_or_else(
            || "in the whole cluster".to_owned(),
            |namespace| format!("in {namespace}"),
        );
        Self {
            verb,
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            given_by: format!("ask an administrator for the ClusterRole {role} {place}"),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb,
            resource,
            namespace,
            ..
        } = self;
        write!(f, "{verb} {resource}")?;
        namespace
            .as_ref()
            .map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

/// Why a call brought nothing.
#[derive(Debug)]
pub enum CallError {
    /// The user lacks the right.
    Forbidden(String),
    /// The object has another version than the one that was read.
    Conflict,
    /// There is no such object, or no such resource.
    NotFound(String),
    /// It may have been done.
    Unclear(String),
    /// Anything else.
    Other(String),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Conflict => {
                Self::told("somebody else changed the object at the same time; run the command again")
            }
            CallError::Forbidden(words)
            | CallError::NotFound(words)
            | CallError::Unclear(words)
            | CallError::Other(words) => Self::Told(words),
        }
    }
}

/// Makes one call, once.
pub async fn call<T>(
    right: &Right,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(told(right, &error)),
        Err(_) => Err(CallError::Unclear(format!(
            "the API server did not answer within {} s ({right})",
            DEADLINE.as_secs()
        ))),
    }
}

/// All objects that fit, page by page.
pub async fn list<K>(right: &Right, api: &Api<K>, fields: Option<String>) -> Result<Vec<K>, CallError>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug,
{
    let mut found = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    params.field_selector = fields;
    loop {
        let page = call(right, api.list(&params)).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(found),
        }
    }
}

fn told(right: &Right, error: &kube::Error) -> CallError {
    let kube::Error::Api(status) = error else {
        return CallError::Unclear(format!("cannot {right}: {}", with_causes(error)));
    };
    let said = Text::bounded(&status.message, SAID);
    match (status.code, status.reason.as_str()) {
        (401, _) => CallError::Other(format!(
            "the API server does not accept your credentials ({said}); log in again"
        )),
        // A policy says itself what is missing.
        (403, _) if status.message.contains("denied request:") => {
            let why = status.message.split("denied request:").last().unwrap_or_default();
            CallError::Forbidden(format!(
                "the cluster's policy refuses it: {}",
                Text::bounded(why, SAID)
            ))
        }
        (403, _) => CallError::Forbidden(format!(
            "you cannot {right}: {}. The API server says: {said}",
            right.given_by
        )),
        (404, _)
            if status
                .details
                .as_ref()
                .is_none_or(|details| details.name.is_empty()) =>
        {
            CallError::NotFound(format!(
                "the cluster has no such resource ({right}): is hostup-operator installed? The API server says: {said}"
            ))
        }
        (404, _) => {
            let place = right
                .namespace
                .as_ref()
                .map_or_else(String::new, |namespace| format!(" in {namespace}"));
            CallError::NotFound(format!("{said}{place}"))
        }
        (409, "Conflict") => CallError::Conflict,
        _ => CallError::Other(format!("the API server refuses it: {said}")),
    }
}

/// An error with everything that caused it.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    Text::bounded(&text, SAID).to_string()
}
