//! Calls that pay or destroy. Each action has a module of its own with its row of the table, what its answer proves, how it
//! is followed, and its words. `ordered` has the data of each action; `answer`, `follow` and `receipt` have what all share.

pub mod answer;
mod backup;
pub mod follow;
mod job;
mod legacy;
mod memo;
mod options;
pub mod ordered;
mod overwrite;
pub mod question;
pub mod receipt;
mod resize;
mod restore;
pub mod said;

use jiff::Timestamp;

use crate::ledger::record::{Outcome, Record, Times};
use follow::{Input, Memo, Need};
use ordered::{Action, ActionKind};
use receipt::Receipt;

/// What follows `NotExecuted` where the call pays.
const PAID_AGAIN: &str = "a new attempt is paid for at once if the approval is still valid";

/// What is said of one action; a new one adds its row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The route, as metrics and logs name it.
    pub label: &'static str,
    /// The route, as HostUp's pages write it.
    pub path: &'static str,
    /// A person's approval is needed; else the admin's flag is the consent.
    pub needs_approval: bool,
    /// The codes of a 409 that is a documented refusal.
    pub conflicts: &'static [&'static str],
    /// Reads the body of a 2xx; `None` where it is no receipt.
    pub receipt: fn(&[u8]) -> Option<Receipt>,
    /// What an answer without a receipt lacks.
    pub receipt_says: &'static str,
    /// Its answers may hold passwords, card data and tokens, so that nothing of them is shown.
    pub answers_with_secrets: bool,
    /// Whether the object is reconciled as soon as HostUp accepts the order. If not, it is reconciled after the first look
    /// for the effect.
    pub is_told_when_accepted: bool,
    /// What is done about an outcome that is not known.
    pub looked_for: &'static str,
    /// What holds although a person has given the operation up.
    pub holds_all_the_same: &'static str,
    /// What the operator does after a person's `NotExecuted`.
    pub after_not_executed: &'static str,
}

impl ActionKind {
    /// Its row of the table.
    pub fn row(self) -> &'static Row {
        match self {
            Self::RestoreToCloudVm => &restore::ROW,
            Self::CommitResources => &options::ROW,
            Self::LegacyEstimate => &legacy::ESTIMATE,
            Self::LegacyUpgrade => &legacy::UPGRADE,
            Self::ResizeCloudVm => &resize::ROW,
            Self::OverwriteVps => &overwrite::ROW,
            Self::CreateBackup => &backup::ROW,
        }
    }
}

impl Action {
    /// What an accepted or unknown call needs next.
    fn need(&self, record: &Record, memo: &Memo, times: &Times, now: Timestamp) -> Need {
        match self {
            Self::Restore(_) => restore::need(record, memo, times, now),
            Self::Options(_) | Self::Resize(_) => options::need(record, memo, now),
            Self::Overwrite(_) => overwrite::need(record, memo, times, now),
            Self::CreateBackup(_) => backup::need(record, memo, times, now),
            Self::LegacyEstimate(_) | Self::LegacyUpgrade(_) => legacy::need(record, memo, times, now),
        }
    }

    /// What a reading makes of the call.
    fn step(&self, record: &Record, input: Input, memo: &mut Memo, times: &Times, now: Timestamp) -> Outcome {
        match self {
            Self::Restore(restored) => restore::step(record, restored, input, memo, times, now),
            Self::Options(change) | Self::Resize(change) => {
                options::step(record, change, input, memo, times, now)
            }
            Self::Overwrite(_) => overwrite::step(record, input, memo, times, now),
            Self::CreateBackup(ordered) => backup::step(record, ordered, input, memo, times, now),
            Self::LegacyEstimate(_) | Self::LegacyUpgrade(_) => legacy::step(record, input, memo, times, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_no_receipt_though_its_items_would_do() {
        for (kind, body) in [
            (ActionKind::RestoreToCloudVm, json!([null, {"jobId": "job_a"}])),
            (ActionKind::RestoreToCloudVm, json!({"operation": ["job_a"]})),
            (ActionKind::CommitResources, json!([true, false])),
            (ActionKind::LegacyUpgrade, json!([true, {"upgraded": true}])),
            (
                ActionKind::LegacyUpgrade,
                json!({"success": true, "data": [true, true, null]}),
            ),
        ] {
            assert_eq!((kind.row().receipt)(body.to_string().as_bytes()), None, "{body}");
        }
    }
}
