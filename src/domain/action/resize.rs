//! Another size of a pay-as-you-go VM (resize page). It is followed as a change of options is: read back until HostUp
//! shows it.

use serde::Deserialize;

use super::receipt::Receipt;
use super::{PAID_AGAIN, Row};
use crate::values::json;

/// The row of this action.
pub(super) const ROW: Row = Row {
    label: "resize",
    path: "/api/v2/vps/{id}/actions/resize",
    needs_approval: true,
    conflicts: &["vps_not_ready"],
    receipt: resized,
    receipt_says: "saying that it resized the VM",
    answers_with_secrets: false,
    is_told_when_accepted: false,
    looked_for: "the operator reads the size back and does not send the call again",
    holds_all_the_same: "a VM that was resized costs its new price all the same",
    after_not_executed: PAID_AGAIN,
};

/// Only a body that says of itself that it resized the VM is a receipt.
fn resized(body: &[u8]) -> Option<Receipt> {
    #[derive(Deserialize)]
    struct Body {
        success: Option<bool>,
        resized: bool,
    }
    let body: Body = json::object(body)?;
    if !body.resized || body.success == Some(false) {
        return None;
    }
    Some(Receipt::Committed {
        invoice: None,
        charge: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resize_is_one_only_if_it_says_so() {
        let receipt = |body: &str| (ROW.receipt)(body.as_bytes());
        let resized =
            r#"{"resized": true, "resources": {"cpuCores": 4, "memoryGb": 8}, "previousResources": null}"#;
        assert_eq!(
            receipt(resized),
            Some(Receipt::Committed {
                invoice: None,
                charge: None
            })
        );
        for unclear in [
            r#"{"resized": false}"#,
            r#"{"resized": "true"}"#,
            r#"{"resized": true, "success": false}"#,
            r#"{"resources": {"cpuCores": 4, "memoryGb": 8}}"#,
            "[true]",
        ] {
            assert_eq!(receipt(unclear), None, "{unclear}");
        }
    }
}
