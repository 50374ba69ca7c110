//! What a replica counts, for Prometheus.

use std::sync::atomic::{AtomicI64, AtomicU64};

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::counts::Counts;

/// How a handshake ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handshake {
    Done,
    Failed,
    /// Took longer than its limit.
    Late,
    /// Too many were in flight.
    Dropped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    service: String,
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

/// The metrics of a replica.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    handshakes: Family<Outcome, Counter<u64, AtomicU64>>,
    calls: Family<Method, Counter<u64, AtomicU64>>,
    refusals: Family<Code, Counter<u64, AtomicU64>>,
    pub(crate) certificates_issued: Counter<u64, AtomicU64>,
    pub(crate) counts: Counts,
    pub(crate) gauges: Gauges,
}

/// Read from the group when they are asked for.
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) leader: Gauge<i64, AtomicI64>,
    pub(crate) ready: Gauge<i64, AtomicI64>,
    pub(crate) term: Gauge<i64, AtomicI64>,
    pub(crate) applied: Gauge<i64, AtomicI64>,
    pub(crate) committed: Gauge<i64, AtomicI64>,
    pub(crate) members: Gauge<i64, AtomicI64>,
    pub(crate) differing: Gauge<i64, AtomicI64>,
    pub(crate) watchers: Gauge<i64, AtomicI64>,
    pub(crate) usage_dropped: Gauge<i64, AtomicI64>,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("revoq_control");
        let (handshakes, calls, refusals) = (Family::default(), Family::default(), Family::default());
        let certificates_issued = Counter::default();
        registry.register("handshakes", "TLS handshakes of the gRPC listener", handshakes.clone());
        registry.register("calls", "gRPC calls that were let in", calls.clone());
        registry.register("refusals", "gRPC calls refused for who the caller is", refusals.clone());
        registry.register(
            "certificates_issued",
            "Certificates of devices signed here",
            certificates_issued.clone(),
        );
        let counts = Counts::default();
        counts.register(&mut registry);
        let gauges = Gauges::default();
        for (name, help, gauge) in [
            ("leader", "1 on the leader", &gauges.leader),
            ("ready", "1 when this replica serves", &gauges.ready),
            ("term", "Term of the replicated log", &gauges.term),
            ("applied_revision", "Revision that this replica has applied", &gauges.applied),
            ("committed_revision", "Revision that this replica knows to be committed", &gauges.committed),
            ("members", "Replicas in the membership", &gauges.members),
            ("differing_replicas", "Voters whose state differs from this replica's", &gauges.differing),
            ("watchers", "Brokers that this replica serves", &gauges.watchers),
            ("usage_dropped", "Reports of use that found no room since the start", &gauges.usage_dropped),
        ] {
            registry.register(name, help, gauge.clone());
        }
        let registry = Mutex::new(registry);
        Metrics { registry, handshakes, calls, refusals, certificates_issued, counts, gauges }
    }

    pub(crate) fn handshake(&self, outcome: Handshake) {
        let outcome = match outcome {
            Handshake::Done => "done",
            Handshake::Failed => "failed",
            Handshake::Late => "late",
            Handshake::Dropped => "dropped",
        };
        self.handshakes.get_or_create(&Outcome { outcome }).inc();
    }

    /// `path` is one of the table of roles, so that a caller cannot make rows.
    pub(crate) fn call(&self, path: &str) {
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let labels = Method { service: service.to_owned(), method: method.to_owned() };
        self.calls.get_or_create(&labels).inc();
    }

    pub(crate) fn refusal(&self, code: &'static str) {
        self.refusals.get_or_create(&Code { code }).inc();
    }

    /// The text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_metric_is_there_once() {
        let text = Metrics::new().text();
        let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let once: BTreeSet<&str> = names.iter().copied().collect();
        assert!(!names.is_empty());
        assert_eq!(names.len(), once.len(), "{names:?}");
    }
}
