//! The series of the calls to HostUp, and of what it says of rate limits.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{IntGauge, seconds};
use crate::hostup::{RateLimit, Route};

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

/// Calls and limits.
pub(super) struct Provider {
    calls: Family<CallLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    remaining: Family<KeyLabels, IntGauge>,
    waits: Family<KeyLabels, Counter<f64, AtomicU64>>,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            durations: Family::new_with_constructor(seconds),
            remaining: Family::default(),
            waits: Family::default(),
        }
    }
}

impl Provider {
    pub(super) fn register(&self, ours: &mut Registry) {
        ours.register(
            "provider_requests",
            "Calls to HostUp by route and class of the outcome",
            self.calls.clone(),
        );
        ours.register(
            "provider_request_duration_seconds",
            "Time of a call to HostUp",
            self.durations.clone(),
        );
        ours.register(
            "provider_ratelimit_remaining",
            "Calls that HostUp says are left with a Secret's key; absent once it counts anew, or where it says nothing",
            self.remaining.clone(),
        );
        ours.register(
            "provider_ratelimit_wait_seconds",
            "Seconds for which HostUp has asked for no call with a Secret's key, by a 429 or by a budget of 0",
            self.waits.clone(),
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
    pub(super) fn read(&self, limits: Vec<RateLimit>) {
        let mut remaining: HashMap<KeyLabels, u32> = HashMap::new();
        let mut waits: HashMap<KeyLabels, Duration> = HashMap::new();
        for limit in limits {
            let labels = KeyLabels {
                namespace: limit.namespace,
                secret: limit.secret,
            };
            // A Secret whose key was changed has two lines for a while.
            *waits.entry(labels.clone()).or_default() += limit.asked_to_wait;
            if let Some(calls) = limit.remaining {
                let least = remaining.entry(labels).or_insert(calls);
                *least = calls.min(*least);
            }
        }
        self.remaining.clear();
        for (labels, calls) in remaining {
            self.remaining.get_or_create(&labels).set(i64::from(calls));
        }
        self.waits.clear();
        for (labels, wait) in waits {
            self.waits.get_or_create(&labels).inc_by(wait.as_secs_f64());
        }
    }
}
