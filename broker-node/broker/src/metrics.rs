//! What `/metrics` shows, as handles: nothing is looked up where it is counted.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use revoq_mqtt::ReasonCode;

use crate::gate::Shut;

type Label = [(&'static str, &'static str); 1];
pub(crate) type Level = Gauge<u64, AtomicU64>;

/// Every metric of the node.
pub(crate) struct Metrics {
    registry: Registry,
    /// Sockets that are open, whatever their state.
    pub(crate) connections: Level,
    pub(crate) sessions: Level,
    pub(crate) data_streams: Level,
    pub(crate) view_revision: Level,
    pub(crate) denied: Level,
    pub(crate) client_ids: Level,
    pub(crate) sessions_away: Level,
    pub(crate) queued_bytes: Level,
    pub(crate) connect_rate_addresses: Level,
    pub(crate) lookups_cached: Level,
    pub(crate) identities_cached: Level,
    pub(crate) retained_messages: Level,
    pub(crate) retained_bytes: Level,
    pub(crate) lease_left_ms: Level,
    pub(crate) ready: Level,
    pub(crate) handshakes: Handshakes,
    pub(crate) authentications: Authentications,
    pub(crate) admitted: Counter,
    pub(crate) refused: Counter,
    cuts: [Counter; Shut::ALL.len()],
    /// Sockets that did not close by themselves and were reset.
    pub(crate) resets: Counter,
    /// From the receipt of an event to its last gate.
    pub(crate) gate_seconds: Histogram,
    /// Of one client's share of a message.
    pub(crate) delivered: Counter,
    pub(crate) published: Counter,
    pub(crate) dropped: Counter,
    /// Waited longer than they may.
    pub(crate) expired: Counter,
    /// Larger than the client takes.
    pub(crate) oversized: Counter,
    pub(crate) sessions_resumed: Counter,
    /// Of clients that did not come back in time.
    pub(crate) sessions_expired: Counter,
    pub(crate) watch_streams: Counter,
    pub(crate) limits: Limits,
    faults: Counters,
}

/// Counts one in a level for as long as it lives.
pub(crate) struct Counted(Level);

impl Counted {
    pub(crate) fn new(level: &Level) -> Counted {
        level.inc();
        Counted(level.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Handshakes by what became of them.
pub(crate) struct Handshakes {
    pub(crate) full: Counter,
    pub(crate) resumed: Counter,
    pub(crate) failed: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) not_tls: Counter,
    /// HTTP that asks for no WebSocket, or for one that is not served.
    pub(crate) no_websocket: Counter,
    /// No header of the PROXY protocol, or a wrong one.
    pub(crate) no_proxy_header: Counter,
    /// Over QUIC, which does not tell whether they were full or resumed.
    pub(crate) quic: Counter,
}

/// Exchanges of enhanced authentication by what became of them.
pub(crate) struct Authentications {
    /// The client proved to know its password.
    pub(crate) proven: Counter,
    /// The proof was wrong, or there is no such username.
    pub(crate) wrong: Counter,
    /// A message that the mechanism does not know.
    pub(crate) malformed: Counter,
    /// The control plane could not be asked for the password.
    pub(crate) no_answer: Counter,
}

/// Refusals by the limit that made them.
pub(crate) struct Limits {
    pub(crate) connections: Counter,
    pub(crate) connections_per_address: Counter,
    pub(crate) connect_rate: Counter,
    pub(crate) connect_rate_per_address: Counter,
    pub(crate) handshakes: Counter,
    pub(crate) lookups: Counter,
    pub(crate) mailbox: Counter,
    pub(crate) descriptors: Counter,
    pub(crate) filters: Counter,
    /// Times that a client was not read for a while.
    pub(crate) publish_rate: Counter,
    pub(crate) retained: Counter,
    /// Messages for a client that is away.
    pub(crate) queued: Counter,
    /// Sessions of clients that are away.
    pub(crate) sessions: Counter,
    pub(crate) usage: Counter,
}

/// Registers one family and hands out the counter of each label.
struct Counters {
    family: Family<Label, Counter>,
    label: &'static str,
}

impl Counters {
    fn of(&self, value: &'static str) -> Counter {
        self.family.get_or_create(&[(self.label, value)]).clone()
    }
}

struct Builder(Registry);

impl Builder {
    fn counters(&mut self, name: &str, help: &str, label: &'static str) -> Counters {
        let family = Family::<Label, Counter>::default();
        self.0.register(name, help, family.clone());
        Counters { family, label }
    }

    fn counter(&mut self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.0.register(name, help, counter.clone());
        counter
    }

    fn level(&mut self, name: &str, help: &str) -> Level {
        let gauge = Level::default();
        self.0.register(name, help, gauge.clone());
        gauge
    }
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut b = Builder(Registry::with_prefix("revoq_broker"));
        // 10 microseconds to 5 seconds.
        let gate_seconds = Histogram::new(exponential_buckets(0.00001, 2.0, 20));
        b.0.register(
            "gate_seconds",
            "From the receipt of an event to its last gate shut",
            gate_seconds.clone(),
        );
        let cuts = b.counters("gates_shut", "Live sessions whose gate was shut", "cause");
        let handshakes = b.counters("handshakes", "Handshakes by result", "result");
        let authentications =
            b.counters("authentications", "Exchanges of enhanced authentication by result", "result");
        let faults =
            b.counters("session_faults", "Sessions that a fault or a limit ended, by reason code", "reason");
        let limits = b.counters("limit_refusals", "What a limit refused", "limit");
        Metrics {
            connections: b.level("connections", "Open connections"),
            sessions: b.level("sessions", "Registered sessions"),
            data_streams: b.level("data_streams", "Data streams of MQTT over QUIC that are open"),
            view_revision: b.level("view_revision", "Revision of the view of credentials"),
            denied: b.level("denied_certificates", "Credentials in the denied set"),
            client_ids: b.level("client_ids", "Client ids that are held"),
            sessions_away: b.level("sessions_away", "Sessions that are kept while their clients are away"),
            queued_bytes: b.level("queued_bytes", "Bytes of messages that wait for clients that are away"),
            connect_rate_addresses: b
                .level("connect_rate_addresses", "Addresses whose connect rate is remembered"),
            lookups_cached: b.level("lookups_cached", "Look-ups of certificates and passwords that are kept"),
            identities_cached: b.level("identities_cached", "Verified leaves that are kept"),
            retained_messages: b.level("retained_messages", "Retained messages"),
            retained_bytes: b.level("retained_bytes", "Bytes of topic, properties and payload of those"),
            lease_left_ms: b.level("lease_left_milliseconds", "Milliseconds for which the view is fresh"),
            ready: b.level("ready", "1 while the node is ready: its view is fresh, and it does not drain"),
            handshakes: Handshakes::new(&handshakes),
            authentications: Authentications {
                proven: authentications.of("proven"),
                wrong: authentications.of("wrong"),
                malformed: authentications.of("malformed"),
                no_answer: authentications.of("no_answer"),
            },
            admitted: b.counter("admitted", "Clients let in"),
            refused: b.counter("refused", "Clients refused in CONNACK"),
            cuts: std::array::from_fn(|index| cuts.of(Shut::ALL[index].name())),
            resets: b.counter("resets", "Connections reset because they did not close in time"),
            gate_seconds,
            delivered: b.counter("delivered_messages", "Messages handed to clients' mailboxes"),
            published: b.counter("published_messages", "Messages taken from clients"),
            dropped: b.counter("dropped_messages", "QoS 0 messages dropped because a client was too slow"),
            expired: b
                .counter("expired_messages", "Messages whose expiry interval ran out while they waited"),
            oversized: b.counter("oversized_messages", "Messages larger than their client takes"),
            sessions_resumed: b.counter("sessions_resumed", "Sessions that went on with another connection"),
            sessions_expired: b.counter(
                "sessions_expired",
                "Sessions whose expiry interval ran out while their clients were away",
            ),
            watch_streams: b.counter("watch_streams", "Watch streams opened"),
            limits: Limits::new(&limits),
            faults,
            registry: b.0,
        }
    }

    /// Gates of live sessions that were shut for one cause.
    pub(crate) fn cuts(&self, why: Shut) -> &Counter {
        &self.cuts[why.index()]
    }

    /// Sessions that ended with this reason code because of a fault, or of a limit of the protocol.
    pub(crate) fn faults(&self, reason: ReasonCode) -> Counter {
        self.faults.of(reason.name())
    }

    /// The text format of OpenMetrics.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Handshakes {
    fn new(results: &Counters) -> Handshakes {
        Handshakes {
            full: results.of("full"),
            resumed: results.of("resumed"),
            failed: results.of("failed"),
            timed_out: results.of("timed_out"),
            not_tls: results.of("not_tls"),
            no_websocket: results.of("no_websocket"),
            no_proxy_header: results.of("no_proxy_header"),
            quic: results.of("quic"),
        }
    }
}

impl Limits {
    fn new(limits: &Counters) -> Limits {
        Limits {
            connections: limits.of("connections"),
            connections_per_address: limits.of("connections_per_address"),
            connect_rate: limits.of("connect_rate"),
            connect_rate_per_address: limits.of("connect_rate_per_address"),
            handshakes: limits.of("handshakes"),
            lookups: limits.of("lookups"),
            mailbox: limits.of("mailbox"),
            descriptors: limits.of("descriptors"),
            filters: limits.of("filters"),
            publish_rate: limits.of("publish_rate"),
            retained: limits.of("retained"),
            queued: limits.of("queued"),
            sessions: limits.of("sessions"),
            usage: limits.of("usage"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_encoded() {
        let metrics = Metrics::new();
        metrics.cuts(Shut::Denied).inc();
        metrics.limits.handshakes.inc();
        metrics.gate_seconds.observe(0.0005);
        let text = metrics.encode();
        for line in [
            "revoq_broker_gates_shut_total{cause=\"denied\"} 1",
            "revoq_broker_gates_shut_total{cause=\"lapsed\"} 0",
            "revoq_broker_limit_refusals_total{limit=\"handshakes\"} 1",
            "revoq_broker_gate_seconds_count 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
        }
    }
}
