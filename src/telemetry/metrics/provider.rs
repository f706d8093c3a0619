//! The series of the calls to HostUp, and of what it says of rate limits.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{FloatGauge, IntGauge, seconds};
use crate::accounts::KeyState;
use crate::hostup::Route;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    route: &'static str,
    class: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KeyLabels {
    namespace: String,
    secret: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClassLabels {
    namespace: String,
    secret: String,
    class: &'static str,
}

/// Calls and limits.
pub(super) struct Provider {
    calls: Family<CallLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    remaining: Family<KeyLabels, IntGauge>,
    waits: Family<KeyLabels, Counter<f64, AtomicU64>>,
    waiting: Family<ClassLabels, IntGauge>,
    oldest: Family<ClassLabels, FloatGauge>,
    away: Family<KeyLabels, IntGauge>,
    asked: Family<KeyLabels, Counter>,
    served: Family<KeyLabels, Counter>,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            durations: Family::new_with_constructor(seconds),
            remaining: Family::default(),
            waits: Family::default(),
            waiting: Family::default(),
            oldest: Family::default(),
            away: Family::default(),
            asked: Family::default(),
            served: Family::default(),
        }
    }
}

impl Provider {
    pub(super) fn register(&self, ours: &mut Registry) {
        ours.register(
            "provider_requests",
            "Total number of calls to HostUp, by route and class of the outcome",
            self.calls.clone(),
        );
        ours.register(
            "provider_request_duration_seconds",
            "Duration of a call to HostUp",
            self.durations.clone(),
        );
        ours.register(
            "provider_ratelimit_remaining",
            "Remaining calls with the key of a Secret, as HostUp reports them; absent after HostUp's counter has reset, or if HostUp reports none",
            self.remaining.clone(),
        );
        ours.register(
            "provider_ratelimit_wait_seconds",
            "Total seconds for which HostUp asked to make no calls with the key of a Secret, by a 429 or by 0 remaining calls",
            self.waits.clone(),
        );
        ours.register(
            "provider_waiting",
            "Number of requests to HostUp that wait for their turn with the key of a Secret, by the reason for the request",
            self.waiting.clone(),
        );
        ours.register(
            "provider_waiting_oldest_seconds",
            "Seconds for which the oldest request to HostUp has waited for its turn, by the reason for the request",
            self.oldest.clone(),
        );
        ours.register(
            "provider_away",
            "1 if HostUp does not answer the key of a Secret and the operator tries one call at a time, otherwise 0",
            self.away.clone(),
        );
        ours.register(
            "provider_looks",
            "Total number of reconciles that needed information from HostUp with the key of a Secret",
            self.asked.clone(),
        );
        ours.register(
            "provider_looks_served",
            "Total number of these reconciles (provider_looks) that a recent answer served without a call",
            self.served.clone(),
        );
    }

    pub(super) fn called(&self, route: Route, class: &str, took: Duration) {
        self.calls
            .get_or_create(&CallLabels {
                route: route.as_str(),
                class: class.to_owned(),
            })
            .inc();
        self.durations
            .get_or_create(&RouteLabels {
                route: route.as_str(),
            })
            .observe(took.as_secs_f64());
    }

    /// Shows what is known of each key at hand.
    pub(super) fn read(&self, keys: &[KeyState]) {
        let mut remaining: HashMap<KeyLabels, u32> = HashMap::new();
        self.remaining.clear();
        self.waits.clear();
        self.waiting.clear();
        self.oldest.clear();
        self.away.clear();
        self.asked.clear();
        self.served.clear();
        for key in keys {
            let labels = KeyLabels {
                namespace: key.namespace.clone(),
                secret: key.secret.clone(),
            };
            if let Some(calls) = key.remaining {
                let least = remaining.entry(labels.clone()).or_insert(calls);
                *least = calls.min(*least);
            }
            // A Secret whose key was changed has two readers for a while.
            self.waits
                .get_or_create(&labels)
                .inc_by(key.asked_to_wait.as_secs_f64());
            let (asked, served) = key.served;
            self.asked.get_or_create(&labels).inc_by(asked);
            self.served.get_or_create(&labels).inc_by(served);
            let away = self.away.get_or_create(&labels);
            away.set(away.get().max(i64::from(key.away)));
            drop(away);
            for (class, count, oldest) in &key.waiting {
                let labels = ClassLabels {
                    namespace: key.namespace.clone(),
                    secret: key.secret.clone(),
                    class: class.as_str(),
                };
                self.waiting
                    .get_or_create(&labels)
                    .inc_by(i64::try_from(*count).unwrap_or(i64::MAX));
                let gauge = self.oldest.get_or_create(&labels);
                gauge.set(gauge.get().max(oldest.as_secs_f64()));
            }
        }
        for (labels, calls) in remaining {
            self.remaining.get_or_create(&labels).set(i64::from(calls));
        }
    }
}
