//! What a paid POST came back with, and what it proves. The table is an allow-list: whatever is not
//! listed is [`Verdict::Unknown`], for a 5xx may come after the commit (contract page "5xx").

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::action::ordered::ActionKind;
use crate::action::receipt::{self, Receipt};
use crate::action::said::Said;
use crate::ledger::record::{Invoice, later};
use crate::provider::gate::is_known_blocker;
use crate::values::json;
use crate::values::moment::CLOCKS_DIFFER;
use crate::values::text::Text;

/// What the network gave back for one paid POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaidAnswer {
    /// No byte of the request left this host: connection refused, name not found, TLS failed.
    NotSent(Text),
    /// Something may have been sent and no complete answer was read.
    Lost(Text),
    /// A complete answer.
    Answered {
        /// HTTP status.
        status: u16,
        /// The `Retry-After` header as it was sent.
        retry_after: Option<String>,
        /// The whole body.
        body: Vec<u8>,
    },
}

/// What the answer proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was sent; a new attempt may follow.
    NotSent(Text),
    /// HostUp took the order.
    Accepted(Receipt),
    /// A documented refusal; a new attempt may follow once its cause has changed.
    Rejected(Refusal),
    /// It may have been executed.
    Unknown {
        /// What came back instead of an answer that proves something.
        why: Text,
        /// What HostUp said.
        said: Said,
        /// For a rate limit: how long no paid call may leave, already clamped.
        retry_after: Option<Duration>,
    },
}

impl Verdict {
    /// It may have been executed; `why` nobody knows.
    pub fn unknown(why: Text) -> Self {
        Self::Unknown {
            why,
            said: Said::default(),
            retry_after: None,
        }
    }
}

/// A documented refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HostUp's stable code, its words and its request.
    pub said: Said,
    /// The invoice that stands in the way, for `existing_invoice_blocking`.
    pub invoice: Option<Invoice>,
    /// It suggests to send the order again so that it cancels that invoice.
    pub suggests_cancelling: bool,
    /// For a rate limit: how long no paid call may leave, already clamped.
    pub retry_after: Option<Duration>,
}

/// Shortest and longest wait that a `Retry-After` may ask for.
const RETRY_AFTER_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15 * 60));
/// The wait of a rate limit that names none (assumed: the legacy client's first back-off).
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(30);

/// No wait that HostUp may ask for ends later than this. What ends later was written by a clock that was ahead.
pub fn latest_wait(now: Timestamp) -> Timestamp {
    later(now, RETRY_AFTER_BOUNDS.1 + CLOCKS_DIFFER)
}

/// Reads the answer to a paid POST.
pub fn classify(kind: ActionKind, answer: &PaidAnswer, now: Timestamp) -> Verdict {
    match answer {
        PaidAnswer::NotSent(why) => Verdict::NotSent(why.clone()),
        PaidAnswer::Lost(why) => Verdict::unknown(why.clone()),
        PaidAnswer::Answered { status, body, .. } if (200..300).contains(status) => {
            (kind.row().receipt)(body).map_or_else(
                || {
                    let why = format!("HostUp answered {status} without {}", kind.row().receipt_says);
                    odd(kind, &why, body, None)
                },
                Verdict::Accepted,
            )
        }
        PaidAnswer::Answered {
            status,
            retry_after,
            body,
        } => refused(kind, *status, retry_after.as_deref(), body, now).map_or_else(
            || {
                let why = format!("HostUp answered {status}, which does not prove that nothing was executed");
                let held = *status == 429;
                let wait = held.then(|| wait_of_a_limit(retry_after.as_deref(), body, now));
                odd(kind, &why, body, wait)
            },
            Verdict::Rejected,
        ),
    }
}

/// An answer that proves nothing. Where it is no error body its first words are told as they are.
fn odd(kind: ActionKind, why: &str, body: &[u8], retry_after: Option<Duration>) -> Verdict {
    let secret = kind.row().answers_with_secrets;
    let said = if secret {
        Said::without_secrets(body)
    } else {
        Said::by(body)
    };
    let start = body.get(..400).unwrap_or(body);
    let start = Text::bounded(&String::from_utf8_lossy(start), 120);
    let is_told = secret || start.as_str().is_empty() || said.words.is_some();
    Verdict::Unknown {
        why: Text::new(why),
        said: Said {
            words: if is_told { said.words } else { Some(start) },
            ..said
        },
        retry_after,
    }
}

/// The error bodies of both generations: RFC 7807 (errors page) and the legacy shape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    status: Option<u16>,
    code: Option<String>,
    error: Option<String>,
    // What is not built as on HostUp's pages is no documented refusal.
    #[serde(rename = "detail")]
    _detail: Option<String>,
    #[serde(rename = "message")]
    _message: Option<String>,
    #[serde(default)]
    retry_after: Value,
    #[serde(default)]
    blocker_reasons: Value,
    #[serde(default)]
    invoice_id: Value,
    #[serde(default)]
    extensions: Value,
}

/// The field of an order that cancels the invoice in its way (config page).
pub const CANCEL_EXISTING_INVOICE: &str = "cancelExistingInvoice";

impl Problem {
    /// The invoice in the way, by the id that the body names (its place is assumed). Where it names several,
    /// none is the one.
    fn invoice(&self) -> Invoice {
        let mut ids: Vec<Text> = receipt::name(&self.invoice_id).into_iter().collect();
        if ids.is_empty() {
            invoices_in(&self.extensions, &mut ids);
        }
        ids.sort();
        ids.dedup();
        let id = match ids.as_slice() {
            [only] => only.clone(),
            _ => Text::default(),
        };
        Invoice {
            id,
            ..Invoice::unnamed()
        }
    }

    /// The blockers at both places where HostUp's pages put them.
    fn blockers(&self) -> Vec<String> {
        let mut found = words(&self.blocker_reasons);
        found.extend(blockers_in(&self.extensions));
        found
    }
}

/// The member that names blockers.
const BLOCKER_REASONS: &str = "blockerReasons";

/// The blockers that `value` names, in whatever depth.
pub fn blockers_in(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(blockers_in).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| {
                if name == BLOCKER_REASONS {
                    words(member)
                } else {
                    blockers_in(member)
                }
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// What stands under `blockerReasons`: a list of words as a rule. Whatever else it is still blocks.
pub fn words(blockers: &Value) -> Vec<String> {
    match blockers {
        Value::Null => Vec::new(),
        Value::String(word) => vec![word.clone()],
        Value::Array(items) => items.iter().flat_map(words).collect(),
        Value::Object(members) => match members.get("code").and_then(Value::as_str) {
            Some(code) => vec![code.to_owned()],
            None => vec![blockers.to_string()],
        },
        Value::Bool(_) | Value::Number(_) => vec![blockers.to_string()],
    }
}

/// A text or a member of the body, in whatever depth, names the field that cancels the invoice (assumed to be the
/// suggestion).
fn suggests_cancelling(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|body| names_cancelling(&body))
}

fn names_cancelling(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(CANCEL_EXISTING_INVOICE),
        Value::Array(items) => items.iter().any(names_cancelling),
        Value::Object(members) => members.iter().any(|(name, member)| {
            let named =
                name == CANCEL_EXISTING_INVOICE && !matches!(member, Value::Null | Value::Bool(false));
            named || names_cancelling(member)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The ids of invoices: every `invoiceId`, and the `id` of what is called an invoice.
fn invoices_in(value: &Value, ids: &mut Vec<Text>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| invoices_in(item, ids)),
        Value::Object(members) => {
            for (name, member) in members {
                if name == "invoiceId" {
                    ids.extend(receipt::name(member));
                } else if name.to_ascii_lowercase().contains("invoice") {
                    let listed = member
                        .as_array()
                        .map_or(std::slice::from_ref(member), Vec::as_slice);
                    ids.extend(
                        listed
                            .iter()
                            .filter_map(|invoice| receipt::name(invoice.get("id")?)),
                    );
                }
                invoices_in(member, ids);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn refused(
    kind: ActionKind,
    status: u16,
    retry_after: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Option<Refusal> {
    let problem: Problem = json::object(body)?;
    let code = problem.code.as_deref().unwrap_or_default();
    let documented = if problem.status == Some(status) {
        is_documented(kind, status, code) || is_blocked(status, code, &problem)
    } else {
        problem.status.is_none() && is_documented_legacy(status, &problem)
    };
    if !documented {
        return None;
    }
    let said = Said::by(body);
    let blocked = code == EXISTING_INVOICE_BLOCKING;
    Some(Refusal {
        invoice: blocked.then(|| problem.invoice()),
        suggests_cancelling: blocked && suggests_cancelling(body),
        said: Said {
            code: said.code.or_else(|| Some(Text::new(RATE_LIMITED))),
            ..said
        },
        retry_after: (status == 429).then(|| wait_of_a_limit(retry_after, body, now)),
    })
}

/// The invoice that a 409 names as the one in the way; `None` where it is no such refusal.
pub fn blocking_invoice(body: &[u8]) -> Option<Invoice> {
    let problem: Problem = json::object(body)?;
    (problem.code.as_deref() == Some(EXISTING_INVOICE_BLOCKING)).then(|| problem.invoice())
}

/// The code of a limit; that of one whose body has none.
const RATE_LIMITED: &str = "rate_limited";

/// The refusal of an order that an open invoice stands in the way of (error catalogue).
pub const EXISTING_INVOICE_BLOCKING: &str = "existing_invoice_blocking";

/// Codes that stand on the call's page or in the error catalogue for that status.
fn is_documented(kind: ActionKind, status: u16, code: &str) -> bool {
    match status {
        400 => code == "invalid_request",
        401 => code == "unauthorized",
        403 => ["forbidden", "account_inactive", "verification_failed"].contains(&code),
        404 => ["not_found", "vps_not_found", "backup_not_found"].contains(&code),
        409 => kind.row().conflicts.contains(&code),
        429 => ["rate_limit_exceeded", RATE_LIMITED].contains(&code),
        _ => false,
    }
}

/// A 403 or 409 whose code, or every one of whose blockers, is a known blocker.
fn is_blocked(status: u16, code: &str, problem: &Problem) -> bool {
    let blockers = problem.blockers();
    let all_known = !blockers.is_empty() && blockers.iter().all(|b| is_known_blocker(b));
    matches!(status, 403 | 409) && (is_known_blocker(code) || all_known)
}

fn is_documented_legacy(status: u16, problem: &Problem) -> bool {
    if problem.error.is_none() {
        return false;
    }
    match status {
        400 => problem.code.as_deref() == Some("BAD_REQUEST"),
        401 => problem.code.as_deref() == Some("UNAUTHORIZED"),
        404 => problem.code.as_deref() == Some("NOT_FOUND"),
        429 => !problem.retry_after.is_null(),
        _ => false,
    }
}

fn wait_of_a_limit(retry_after: Option<&str>, body: &[u8], now: Timestamp) -> Duration {
    wait_asked_for(retry_after, body, now).unwrap_or(RETRY_AFTER_DEFAULT)
}

/// The wait that a 429 asks for, clamped: its `Retry-After`, else `retryAfter` of a legacy body.
pub fn wait_asked_for(retry_after: Option<&str>, body: &[u8], now: Timestamp) -> Option<Duration> {
    if let Some(text) = retry_after {
        return parse_retry_after(text, now);
    }
    let problem: Problem = json::object(body)?;
    match problem.retry_after {
        Value::String(text) => parse_retry_after(&text, now),
        Value::Number(number) => parse_retry_after(&number.to_string(), now),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Reads a `Retry-After` in seconds or as an HTTP date, clamped to between 1 s and 15 min; `None`
/// where it is neither.
pub fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let (shortest, longest) = RETRY_AFTER_BOUNDS;
    if text
        .strip_prefix('-')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    {
        return Some(shortest);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !whole.is_empty() && digits(whole) && digits(fraction) {
        let seconds = whole.parse::<u64>().unwrap_or(u64::MAX);
        let up = u64::from(fraction.bytes().any(|b| b != b'0'));
        return Some(Duration::from_secs(seconds.saturating_add(up)).clamp(shortest, longest));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(wait.clamp(shortest, longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::record::Job;
    use proptest::prelude::*;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    fn answered(status: u16, body: impl Into<Vec<u8>>) -> Verdict {
        let answer = PaidAnswer::Answered {
            status,
            retry_after: None,
            body: body.into(),
        };
        classify(ActionKind::RestoreToCloudVm, &answer, now())
    }

    fn problem(status: u16, code: &str) -> String {
        json!({"type": "t", "title": "t", "status": status, "detail": "d", "code": code}).to_string()
    }

    fn job(verdict: Verdict) -> Job {
        match verdict {
            Verdict::Accepted(Receipt::Job(job)) => job,
            other => panic!("not accepted: {other:?}"),
        }
    }

    #[test]
    fn every_documented_refusal_of_the_restore_page_is_rejected() {
        for (status, code) in [
            (400, "invalid_request"),
            (401, "unauthorized"),
            (403, "forbidden"),
            (403, "account_inactive"),
            (403, "verification_failed"),
            (403, "no_cloud_access"),
            (404, "not_found"),
            (404, "vps_not_found"),
            (404, "backup_not_found"),
            (409, "vps_not_ready"),
            (409, "has_unpaid_invoice"),
            (429, "rate_limit_exceeded"),
            (429, "rate_limited"),
        ] {
            assert!(
                matches!(answered(status, problem(status, code)), Verdict::Rejected(_)),
                "{status} {code}"
            );
        }
    }

    #[test]
    fn a_refusal_that_is_not_on_the_list_proves_nothing() {
        for (status, body) in [
            (400, problem(400, "something_new")),
            (400, problem(422, "invalid_request")),
            (403, "<html>blocked by a firewall</html>".into()),
            (
                403,
                r#"[403, "forbidden", null, null, null, null, null, null, null]"#.into(),
            ),
            (404, String::new()),
            (408, problem(408, "timeout")),
            (409, problem(409, "existing_invoice_blocking")),
            (409, problem(409, "conflict")),
            (422, problem(422, "invalid_request")),
            (429, "slow down".into()),
            (301, problem(301, "not_found")),
            (500, problem(500, "internal_error")),
            (502, problem(502, "upstream_cloud_quick_deploy_shape_invalid")),
            (503, problem(503, "restore_intent_failed")),
            (504, String::new()),
        ] {
            assert!(
                matches!(answered(status, body.clone()), Verdict::Unknown { .. }),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn what_proves_nothing_is_told_in_its_own_words_unless_it_may_hold_secrets() {
        let detailed = r#"{"detail": "it broke"}"#;
        for (kind, body, words) in [
            (ActionKind::RestoreToCloudVm, "<b>down</b>", Some("<b>down</b>")),
            (ActionKind::RestoreToCloudVm, detailed, Some("it broke")),
            (ActionKind::RestoreToCloudVm, "", None),
            (ActionKind::LegacyUpgrade, "root password: hunter2", None),
            (ActionKind::LegacyUpgrade, detailed, None),
        ] {
            let answer = PaidAnswer::Answered {
                status: 500,
                retry_after: None,
                body: body.into(),
            };
            let Verdict::Unknown {
                said, retry_after, ..
            } = classify(kind, &answer, now())
            else {
                panic!("not unknown: {body}");
            };
            assert_eq!(said.words.as_ref().map(Text::as_str), words, "{kind:?} {body}");
            assert_eq!(retry_after, None);
        }
    }

    #[test]
    fn a_refusal_says_its_code_and_that_of_a_limit_without_one_too() {
        let code = |status, body: String| match answered(status, body) {
            Verdict::Rejected(refusal) => refusal.said.code.map(|code| code.to_string()),
            other => panic!("not refused: {other:?}"),
        };
        assert_eq!(
            code(404, problem(404, "vps_not_found")).as_deref(),
            Some("vps_not_found")
        );
        let limited = json!({"error": "Too many", "retryAfter": 7}).to_string();
        assert_eq!(code(429, limited).as_deref(), Some("rate_limited"));
    }

    #[test]
    fn only_the_refusal_for_an_open_invoice_names_one_in_the_way() {
        let named = |code: &str| {
            let body = json!({"status": 409, "code": code, "invoiceId": "inv_1"}).to_string();
            blocking_invoice(body.as_bytes()).map(|invoice| invoice.id.to_string())
        };
        assert_eq!(named(EXISTING_INVOICE_BLOCKING).as_deref(), Some("inv_1"));
        assert_eq!(named("has_unpaid_invoice"), None);
        assert_eq!(blocking_invoice(b"<html>"), None);
    }

    #[test]
    fn a_429_that_proves_nothing_holds_the_key_all_the_same() {
        for (retry_after, seconds) in [(Some("7"), 7), (None, 30)] {
            let answer = PaidAnswer::Answered {
                status: 429,
                retry_after: retry_after.map(str::to_owned),
                body: b"slow down".to_vec(),
            };
            let Verdict::Unknown { retry_after, .. } = classify(ActionKind::RestoreToCloudVm, &answer, now())
            else {
                panic!("not unknown");
            };
            assert_eq!(retry_after, Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn blockers_count_at_both_places_and_only_when_all_are_known() {
        let with = |place: &str, blockers: Value| {
            let mut body = json!({"status": 403, "code": "cloud_not_available", "detail": "no"});
            match place {
                "top" => body["blockerReasons"] = blockers,
                _ => body["extensions"] = json!({"blockerReasons": blockers}),
            }
            answered(403, body.to_string())
        };
        for place in ["top", "extensions"] {
            assert!(
                matches!(with(place, json!(["not_verified"])), Verdict::Rejected(_)),
                "{place}"
            );
            assert!(
                matches!(
                    with(place, json!(["not_verified", "new_one"])),
                    Verdict::Unknown { .. }
                ),
                "{place}"
            );
            assert!(
                matches!(with(place, json!([])), Verdict::Unknown { .. }),
                "{place}"
            );
        }
    }

    #[test]
    fn a_suggestion_to_cancel_and_the_invoice_are_found_in_whatever_depth() {
        let refused = |extensions: Value| {
            let body = json!({"status": 409, "code": EXISTING_INVOICE_BLOCKING, "detail": "An invoice is open.", "extensions": extensions});
            let answer = PaidAnswer::Answered {
                status: 409,
                retry_after: None,
                body: body.to_string().into_bytes(),
            };
            match classify(ActionKind::CommitResources, &answer, now()) {
                Verdict::Rejected(refusal) => {
                    let id = refusal.invoice.map(|invoice| invoice.id.to_string());
                    (refusal.suggests_cancelling, id.unwrap_or_default())
                }
                other => panic!("{extensions} {other:?}"),
            }
        };
        let field = CANCEL_EXISTING_INVOICE;
        for (extensions, suggests, id) in [
            (json!(null), false, ""),
            (json!({field: true}), true, ""),
            (json!({field: false, "invoiceId": 7}), false, "7"),
            (json!({field: null}), false, ""),
            (
                json!({"retryWith": {field: true}, "invoice": {"id": "inv_1"}}),
                true,
                "inv_1",
            ),
            (
                json!({"recovery": [{"steps": [{"body": {field: true, "invoiceId": "inv_1"}}]}]}),
                true,
                "inv_1",
            ),
            (json!([{field: true}, {"invoiceId": "inv_1"}]), true, "inv_1"),
            (json!({"suggestions": [field]}), true, ""),
            (json!([format!("Send {field}: true.")]), true, ""),
            (json!({"blockingInvoices": [{"id": "inv_1"}]}), false, "inv_1"),
            (
                json!({"blockingInvoices": [{"id": "inv_1"}, {"id": "inv_2"}]}),
                false,
                "",
            ),
            (
                json!({"invoiceId": "inv_1", "more": [{"invoiceId": "inv_1"}]}),
                false,
                "inv_1",
            ),
            (json!("none"), false, ""),
            (json!(5), false, ""),
        ] {
            assert_eq!(
                refused(extensions.clone()),
                (suggests, id.to_owned()),
                "{extensions}"
            );
        }
    }

    #[test]
    fn blockers_in_whatever_depth_count_only_when_all_are_known() {
        for (extensions, rejected) in [
            (json!({"access": {"blockerReasons": ["not_verified"]}}), true),
            (json!([{"blockerReasons": [{"code": "not_verified"}]}]), true),
            (
                json!([{"blockerReasons": ["not_verified"]}, {"blockerReasons": ["new_one"]}]),
                false,
            ),
            (json!({"blockerReasons": [{"word": "not_verified"}]}), false),
            (json!({"blockerReasons": [true]}), false),
        ] {
            let body = json!({"status": 403, "code": "cloud_not_available", "extensions": extensions});
            let verdict = answered(403, body.to_string());
            assert_eq!(matches!(verdict, Verdict::Rejected(_)), rejected, "{extensions}");
        }
    }

    #[test]
    fn the_legacy_shape_counts_by_its_pairs() {
        let legacy = |status, code: &str| {
            answered(
                status,
                json!({"error": "E", "message": "m", "code": code}).to_string(),
            )
        };
        assert!(matches!(legacy(401, "UNAUTHORIZED"), Verdict::Rejected(_)));
        assert!(matches!(legacy(400, "BAD_REQUEST"), Verdict::Rejected(_)));
        assert!(matches!(legacy(404, "NOT_FOUND"), Verdict::Rejected(_)));
        assert!(matches!(legacy(500, "INTERNAL_ERROR"), Verdict::Unknown { .. }));
        assert!(matches!(legacy(401, "NOT_FOUND"), Verdict::Unknown { .. }));
        let limited =
            json!({"error": "Too many", "message": "m", "retryAfter": "7", "requestId": "r"}).to_string();
        match answered(429, limited) {
            Verdict::Rejected(refusal) => {
                assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_2xx_is_accepted_only_with_a_usable_job_id() {
        let ok = json!({"operation": {"status": "queued", "jobId": "job_1", "pollUrl": "/api/jobs/job_1"}});
        assert_eq!(job(answered(202, ok.to_string())).poll_path, "/api/jobs/job_1");
        assert_eq!(job(answered(200, ok.to_string())).id.as_str(), "job_1");
        for body in [
            json!({"success": false, "operation": {"jobId": "job_1"}}).to_string(),
            json!({"operation": {"jobId": 7}}).to_string(),
            json!({"operation": {"jobId": "../x"}}).to_string(),
            json!({"operation": {"jobId": "a\nb"}}).to_string(),
            json!({"operation": {"jobId": "x".repeat(10_000)}}).to_string(),
            json!({"operation": {}}).to_string(),
            json!({}).to_string(),
            String::new(),
            "{\"operation\": {\"jobId\": \"job_1\"".into(),
            "[".repeat(10_000),
        ] {
            assert!(
                matches!(answered(202, body.clone()), Verdict::Unknown { .. }),
                "{body:.80}"
            );
        }
    }

    #[test]
    fn a_foreign_poll_url_is_never_used() {
        for poll_url in [
            "",
            "https://evil.example/api/jobs/x",
            "//evil.example/x",
            "/api/../admin",
            "/other",
            "/api/jobs/x?y",
        ] {
            let body = json!({"operation": {"jobId": "job_1", "pollUrl": poll_url}}).to_string();
            assert_eq!(
                job(answered(202, body)).poll_path,
                "/api/jobs/job_1",
                "{poll_url}"
            );
        }
    }

    #[test]
    fn a_429_may_ask_for_its_wait_in_a_header_or_in_a_legacy_body() {
        let asked = |header, body: &str| wait_asked_for(header, body.as_bytes(), now());
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(asked(Some("7"), r#"{"retryAfter":40}"#), seconds(7));
        assert_eq!(asked(None, r#"{"retryAfter":40}"#), seconds(40));
        assert_eq!(asked(None, r#"{"retryAfter":"40"}"#), seconds(40));
        assert_eq!(asked(None, r#"{"retryAfter":null}"#), None);
        assert_eq!(asked(None, "<html>"), None);
    }

    #[test]
    fn retry_after_is_clamped_whatever_stands_in_it() {
        for (text, seconds) in [
            ("30", Some(30)),
            ("0", Some(1)),
            ("-1", Some(1)),
            ("-", None),
            ("-soon", None),
            ("1.5", Some(2)),
            ("1000000", Some(900)),
            ("18446744073709551615", Some(900)),
            ("99999999999999999999999", Some(900)),
            ("Mon, 23 Nov 2026 00:00:20 GMT", Some(20)),
            ("Mon, 23 Nov 2020 00:00:20 GMT", Some(1)),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(
                parse_retry_after(text, now()),
                seconds.map(Duration::from_secs),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_status_outside_the_documented_ones_is_ever_a_refusal(status in 0u16..1000, code in "[a-z_]{0,20}") {
            let verdict = answered(status, problem(status, &code));
            if !matches!(status, 400 | 401 | 403 | 404 | 409 | 429) {
                let unknown = matches!(verdict, Verdict::Unknown { .. });
                prop_assert!(unknown);
            }
        }

        #[test]
        fn no_bytes_make_the_classifier_panic_or_accept(status in 100u16..600, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(!matches!(answered(status, body), Verdict::Accepted(_)));
        }
    }
}
