//! Refusals: problem documents, legacy errors, and whatever else comes with a status.

use hostup_operator::domain::action::answer::{PaidAnswer, Verdict, blockers_in, classify};
use hostup_operator::domain::action::ordered::ActionKind;
use hostup_operator::domain::provider::gate::is_known_blocker;
use hostup_operator::domain::values::ids::VpsId;
use hostup_operator::domain::values::text::Text;
use hostup_operator::hostup::ReadError;
use jiff::SignedDuration;
use serde::de::IgnoredAny;

use crate::account::{Asked, KEY, done, now};
use crate::answer::Answer;
use crate::promise;

/// Every paid call.
pub const CALLS: [ActionKind; 4] = [
    ActionKind::RestoreToCloudVm,
    ActionKind::CommitResources,
    ActionKind::LegacyEstimate,
    ActionKind::LegacyUpgrade,
];

/// The codes of refusals that HostUp documents, of both generations.
const CODES: [&str; 17] = [
    "invalid_request",
    "unauthorized",
    "forbidden",
    "account_inactive",
    "verification_failed",
    "not_found",
    "vps_not_found",
    "backup_not_found",
    "vps_not_ready",
    "existing_invoice_blocking",
    "pending_orders",
    "invoice_payment_in_progress",
    "rate_limit_exceeded",
    "rate_limited",
    "BAD_REQUEST",
    "UNAUTHORIZED",
    "NOT_FOUND",
];

/// One answer to every paid call and to some reads.
pub fn run(input: &[u8]) {
    let answer = Answer::read(input);
    for call in CALLS {
        let paid = PaidAnswer::Answered {
            status: answer.status,
            retry_after: answer.retry_after().map(str::to_owned),
            body: answer.body.to_vec(),
        };
        judged(call, &answer, classify(call, &paid, now()));
    }
    read(&answer);
}

fn judged(call: ActionKind, answer: &Answer<'_>, verdict: Verdict) {
    let limited = answer.status == 429;
    match verdict {
        Verdict::NotSent(_) => panic!("{call:?}: an answer came"),
        Verdict::Accepted(_) => assert!(
            (200..300).contains(&answer.status),
            "accepted by {}",
            answer.status
        ),
        Verdict::Rejected(refusal) => {
            is_documented(answer);
            assert!(refusal.said.code.is_some());
            promise::said(&refusal.said);
            refusal.invoice.iter().for_each(promise::invoice);
            assert_eq!(refusal.retry_after.is_some(), limited);
            refusal.retry_after.into_iter().for_each(promise::wait);
        }
        Verdict::Unknown {
            why,
            said,
            retry_after,
        } => {
            promise::text(&why, Text::LIMIT);
            promise::said(&said);
            assert_eq!(retry_after.is_some(), limited);
            retry_after.into_iter().for_each(promise::wait);
            if matches!(call, ActionKind::LegacyEstimate | ActionKind::LegacyUpgrade) {
                assert_eq!(
                    why,
                    said_of_nothing(call, answer.status),
                    "the legacy body is repeated"
                );
                assert!(
                    said.words.is_none() && (said.code.is_none() || said.warns()),
                    "the legacy body is repeated"
                );
            }
        }
    }
}

/// The verdict rests on an object that says its own status, or none, and a code or blockers that a page has.
fn is_documented(answer: &Answer<'_>) {
    let status = answer.status;
    assert!(
        [400, 401, 403, 404, 409, 429].contains(&status),
        "rejected by {status}"
    );
    let Some(body) = promise::json(answer.body) else {
        return;
    };
    assert!(body.is_object(), "a refusal is an object: {body}");
    let own = &body["status"];
    assert!(own.is_null() || *own == status, "{own} is not {status}");
    let code = body["code"].as_str().unwrap_or_default();
    let blockers = blockers_in(&body);
    let blocked = !blockers.is_empty() && blockers.iter().all(|word| is_known_blocker(word));
    let legacy_limit =
        status == 429 && own.is_null() && body["error"].is_string() && !body["retryAfter"].is_null();
    let known = CODES.contains(&code) || is_known_blocker(code) || blocked || legacy_limit;
    assert!(known, "nobody documents {code:?} with {blockers:?}");
}

fn said_of_nothing(call: ActionKind, status: u16) -> Text {
    let paid = PaidAnswer::Answered {
        status,
        retry_after: None,
        body: Vec::new(),
    };
    match classify(call, &paid, now()) {
        Verdict::Unknown { why, .. } => why,
        verdict => panic!("{call:?} {status} without a body: {verdict:?}"),
    }
}

fn read(answer: &Answer<'_>) {
    let vps = VpsId::new("vps_a");
    let errors = [
        done(Asked::always(answer).account.own_vps(&vps)).err(),
        done(Asked::always(answer).account.list_vps()).err(),
        done(Asked::always(answer).account.blocking_invoices(&vps)).err(),
        done(Asked::always(answer).account.job("/api/jobs/job_a")).err(),
        previewed(answer, &vps),
    ];
    for error in errors.into_iter().flatten() {
        explained(answer, &error);
    }
}

/// A refusal of a dry run closes the gate, in HostUp's words.
fn previewed(answer: &Answer<'_>, vps: &VpsId) -> Option<ReadError> {
    let preview = done(Asked::always(answer).account.preview_config(vps, "{}".to_owned()));
    match preview {
        Ok(preview) if !(200..300).contains(&answer.status) => {
            assert!(
                [400, 409, 422].contains(&answer.status),
                "refused by {}",
                answer.status
            );
            assert!(!preview.can_commit.allowed && !preview.committed && preview.price.is_none());
            promise::shown(&preview.can_commit.code, 61);
            promise::shown(&preview.can_commit.reason, Text::LIMIT + 1);
            None
        }
        Ok(_) => None,
        Err(error) => Some(error),
    }
}

fn explained(answer: &Answer<'_>, error: &ReadError) {
    let status = answer.status;
    match error {
        ReadError::RateLimited { until } => {
            assert_eq!(status, 429);
            let wait = until.duration_since(now());
            assert!(
                wait >= SignedDuration::ZERO && wait <= SignedDuration::from_mins(15),
                "{wait:?}"
            );
        }
        ReadError::Unauthorized(_) => assert_eq!(status, 401),
        ReadError::Forbidden(_) => assert_eq!(status, 403),
        ReadError::NotFound { .. } => {
            assert_eq!(status, 404);
            let is_json = serde_json::from_slice::<IgnoredAny>(answer.body).is_ok();
            assert!(is_json, "anybody's 404");
        }
        ReadError::InvoiceBlocks(invoice) => {
            assert_eq!(status, 409);
            promise::invoice(invoice);
        }
        ReadError::Refused { .. } => panic!("a dry run's alone: {error}"),
        ReadError::Unavailable(_) => assert!(![401, 403, 429].contains(&status), "{error}"),
    }
    let text = error.to_string();
    promise::shown(&text, 700);
    assert!(!text.contains(KEY), "the key is shown: {text}");
    assert!(!format!("{error:?}").contains(KEY), "the key is shown: {error:?}");
}
