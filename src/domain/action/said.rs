//! What HostUp says in an answer that is neither a receipt nor a reading: its code, its words, the fields that it objects
//! to, and the id under which HostUp's support finds the request. For people only; nothing is decided by it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::answer::{blockers_in, words};
use crate::values::json;
use crate::values::text::{self, Text};

/// Characters of what is said of one field, and of its name.
const FIELD: (usize, usize) = (80, 160);
/// Fields that are told; the others are counted.
const FIELDS: usize = 5;
/// Blockers that are told.
const BLOCKERS: usize = 10;

/// Errors of calls that were carried out, or may have been, by their own pages (error catalogue).
pub const COMMITTED_BUT: [&str; 5] = [
    "upstream_renewal_regeneration_failed",
    "upstream_invoice_shape_invalid",
    "upstream_cloud_quick_deploy_shape_invalid",
    "upstream_failed",
    "restore_intent_failed",
];

/// What an answer says. Each part is bounded and printable, and only there where HostUp gave it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// `code`.
    pub code: Option<Text>,
    /// `detail` or `message`, the blockers, and the fields that HostUp objects to.
    pub words: Option<Text>,
    /// `requestId`.
    pub request: Option<Text>,
}

/// The error bodies of both generations (errors page, legacy endpoint pages). Any member may be of another kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Body {
    code: Value,
    detail: Value,
    message: Value,
    request_id: Value,
    errors: Value,
    details: Value,
    blocker_reasons: Value,
    extensions: Value,
}

impl Said {
    /// Characters of the words, with the fields.
    pub const WORDS: usize = 600;
    /// Characters of a code.
    pub const CODE: usize = 60;
    /// Characters of a request's id.
    pub const REQUEST: usize = 64;

    /// Of an error body.
    pub fn by(body: &[u8]) -> Self {
        let Some(body) = json::object::<Body>(body) else {
            return Self::default();
        };
        let said = text(&body.detail, Text::LIMIT).or_else(|| text(&body.message, Text::LIMIT));
        let mut seen = BTreeSet::new();
        let mut blockers = words(&body.blocker_reasons);
        blockers.extend(blockers_in(&body.extensions));
        blockers.retain(|blocker| seen.insert(blocker.clone()));
        Self {
            code: text(&body.code, Self::CODE),
            words: in_words(said, &blockers, &fields(&body)),
            request: text(&body.request_id, Self::REQUEST),
        }
    }

    /// Of a body that may hold secrets: the id of the request, and a code that warns; nothing else.
    pub fn without_secrets(body: &[u8]) -> Self {
        let said = Self::by(body);
        Self {
            code: said.code.clone().filter(|_| said.warns()),
            words: None,
            request: said.request,
        }
    }

    /// It is a documented error of a call that was carried out, or may have been.
    pub fn warns(&self) -> bool {
        let code = self.code.as_ref().map(Text::as_str);
        code.is_some_and(|code| COMMITTED_BUT.contains(&code))
    }

    /// The words and the request, to stand inside a sentence: `no such VPS (request req_1)`. Of the words so many characters.
    pub fn in_short(&self, most: usize) -> String {
        let words = self.words.as_ref().map_or("no details", Text::as_clause);
        let words = Text::bounded(words, most);
        match &self.request {
            Some(id) => format!("{} (request {id})", words.as_clause()),
            None => words.to_string(),
        }
    }

    /// `what` came of the call, with what HostUp says: `HostUp refused (invalid_request, request req_1): no`.
    pub fn cited(&self, what: &str) -> String {
        let request = self.request.as_ref().map(|id| format!("request {id}"));
        let cited: Vec<String> = self.code.iter().map(Text::to_string).chain(request).collect();
        let cited = if cited.is_empty() {
            String::new()
        } else {
            format!(" ({})", cited.join(", "))
        };
        let words = self
            .words
            .as_ref()
            .map_or_else(String::new, |words| format!(": {words}"));
        format!("{what}{cited}{words}")
    }
}

/// `text` without the ids of requests that it cites. They differ from answer to answer, so that they make no news.
pub fn without_requests(text: &str) -> String {
    const REQUEST: &str = "request ";
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(REQUEST) {
        kept.push_str(before);
        let is_cited = before.ends_with('(') || before.ends_with(", ");
        rest = if is_cited {
            // One that is cut has no end.
            after
                .find(')')
                .and_then(|end| after.get(end..))
                .unwrap_or_default()
        } else {
            kept.push_str(REQUEST);
            after
        };
    }
    kept.push_str(rest);
    kept
}

fn text(value: &Value, most: usize) -> Option<Text> {
    let text = match value {
        Value::String(text) => Text::bounded(text, most),
        Value::Number(number) => Text::bounded(&number.to_string(), most),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.as_str().is_empty())
}

fn in_words(said: Option<Text>, blockers: &[String], fields: &[String]) -> Option<Text> {
    if blockers.is_empty() && fields.is_empty() {
        return said;
    }
    let mut parts: Vec<String> = said.iter().map(|said| said.as_clause().to_owned()).collect();
    if !blockers.is_empty() {
        let told: Vec<&str> = blockers.iter().take(BLOCKERS).map(String::as_str).collect();
        parts.push(format!("[{}]", Text::new(&told.join(", "))));
    }
    if !fields.is_empty() {
        parts.push(format!("({})", text::first_of(fields, FIELDS)));
    }
    Some(Text::bounded(&parts.join(" "), Said::WORDS))
}

/// What is wrong with which field: `errors` of the present routes, `details` of the older ones.
fn fields(body: &Body) -> Vec<String> {
    let listed = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (longest_name, longest) = FIELD;
    let mut all = listed(&body.errors);
    all.extend(listed(&body.details));
    // Far more than are told, and not a whole body of them.
    all.truncate(1000);
    let field = |value: &Value| {
        let member = |names: [&str; 2], most| names.into_iter().find_map(|name| text(value.get(name)?, most));
        let name = member(["pointer", "field"], longest_name);
        let what = member(["detail", "message"], longest).or_else(|| member(["code", "code"], Said::CODE));
        match (name, what) {
            (Some(name), Some(what)) => Some(format!("{name}: {}", what.as_clause())),
            (Some(only), None) | (None, Some(only)) => Some(only.to_string()),
            (None, None) => None,
        }
    };
    all.iter().filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn cited(body: &Value) -> String {
        Said::by(body.to_string().as_bytes()).cited("HostUp refused")
    }

    #[test]
    fn an_answer_is_told_with_its_code_its_request_and_the_fields_that_hostup_objects_to() {
        let field =
            |pointer: &str| json!({"pointer": pointer, "detail": "too small.", "code": "invalid_request"});
        let many: Vec<Value> = (0..7).map(|n| field(&format!("/f{n}"))).collect();
        for (body, told) in [
            (
                json!({"code": "invalid_request", "detail": "The request body failed validation.", "requestId": "req_1",
                    "errors": [field("/storageGb")]}),
                "HostUp refused (invalid_request, request req_1): The request body failed validation (/storageGb: too small)",
            ),
            (
                json!({"error": "Bad Request", "code": "BAD_REQUEST", "message": "Fel", "requestId": "2121ae20-bd9d",
                    "details": [{"field": "cycle", "message": "okänd"}]}),
                "HostUp refused (BAD_REQUEST, request 2121ae20-bd9d): Fel (cycle: okänd)",
            ),
            (
                json!({"detail": "no", "blockerReasons": ["not_verified"], "extensions": {"blockerReasons": ["b"]}}),
                "HostUp refused: no [not_verified, b]",
            ),
            (
                json!({"errors": many}),
                "HostUp refused: (/f0: too small; /f1: too small; /f2: too small; /f3: too small; /f4: too small; and 2 more)",
            ),
            (
                json!({"errors": [{"pointer": "/a"}, {"detail": "b"}, {"pointer": "/c", "code": "missing_required"}, {}, 7]}),
                "HostUp refused: (/a; b; /c: missing_required)",
            ),
            (json!({"requestId": 7}), "HostUp refused (request 7)"),
            (
                json!({"requestId": [], "detail": {}, "errors": "no", "code": null}),
                "HostUp refused",
            ),
            (json!([]), "HostUp refused"),
        ] {
            assert_eq!(cited(&body), told, "{body}");
        }
        assert_eq!(Said::by(b"<html>"), Said::default());
    }

    #[test]
    fn of_a_body_with_secrets_only_the_request_and_a_code_that_warns_are_told() {
        let body = json!({"requestId": "req_1", "detail": "password=x", "code": "secret"}).to_string();
        let warning = Said::without_secrets(body.replace("secret", COMMITTED_BUT[0]).as_bytes());
        assert_eq!(
            warning.cited(""),
            format!(" ({}, request req_1)", COMMITTED_BUT[0])
        );
        let said = Said::without_secrets(body.as_bytes());
        assert_eq!(
            said.cited("HostUp answered 200"),
            "HostUp answered 200 (request req_1)"
        );
    }

    #[test]
    fn the_same_words_of_another_request_are_no_news() {
        for (text, without) in [
            ("no (request req_1)", "no ()"),
            (
                "no (forbidden, request req_1): x (request b) y",
                "no (forbidden, ): x () y",
            ),
            ("a request that fails (request req_1…", "a request that fails ("),
            ("request ", "request "),
            ("plain", "plain"),
        ] {
            assert_eq!(without_requests(text), without);
            let another = text.replace("req_1", "req_2");
            assert_eq!(without_requests(&another), without);
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_body_is_told_bounded_and_printable(
            (code, detail, request) in any::<(String, String, String)>(),
            fields in proptest::collection::vec(any::<(String, String)>(), 0..20),
            blockers in proptest::collection::vec(any::<String>(), 0..20),
            times in 1usize..300,
        ) {
            let errors: Vec<Value> = fields
                .iter()
                .map(|(pointer, detail)| json!({"pointer": pointer.repeat(times), "detail": detail.repeat(times)}))
                .collect();
            let body = json!({"code": code.repeat(times), "detail": detail.repeat(times), "requestId": request.repeat(times),
                "errors": errors, "extensions": {"blockerReasons": blockers}});
            let said = Said::by(body.to_string().as_bytes());
            let told = said.cited("HostUp refused");
            prop_assert!(told.chars().count() <= 800, "{}", told.chars().count());
            prop_assert_eq!(Text::bounded(&told, 800).to_string(), told.trim_end());
        }
    }
}
