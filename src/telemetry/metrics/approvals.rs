//! The series of what waits for an approval.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::IntGauge;
use crate::controllers::context::Context;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ObjectLabels {
    kind: &'static str,
    namespace: String,
    name: String,
}

/// Since when each object waits.
#[derive(Default)]
pub(super) struct ApprovalGauges {
    since: Family<ObjectLabels, IntGauge>,
}

impl ApprovalGauges {
    pub(super) fn register(&self, ours: &mut Registry) {
        ours.register(
            "awaiting_approval_timestamp_seconds",
            "Unix time at which an object began to wait for the approval of a price; absent if it does not wait",
            self.since.clone(),
        );
    }

    pub(super) fn read(&self, context: &Context) {
        self.since.clear();
        for (place, since) in context.approvals.all() {
            let labels = ObjectLabels {
                kind: place.kind.as_str(),
                namespace: place.namespace,
                name: place.name,
            };
            self.since.get_or_create(&labels).set(since.as_second());
        }
    }
}
