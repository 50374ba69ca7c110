//! What the watch and the limits count. Handles, cheap to clone: each part of a replica has them.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Why a broker is sent a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resync {
    /// It has nothing yet.
    New,
    /// What follows its revision is not kept any more.
    Compacted,
    /// The next event does not fit in a message.
    Oversized,
    /// Its revision is one that this cluster never reached.
    Foreign,
}

/// Why a replica ends a watch stream by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutOff {
    /// Nothing was heard from the broker.
    Silent,
    /// The broker takes nothing.
    Stalled,
    /// The node opened another stream.
    Replaced,
}

/// What holds something back. The names of limits that the replicated state has are the state's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Connections that waited for another to end.
    Connections,
    /// Brokers that were sent to another replica.
    Watchers,
    /// Brokers that waited for others to take their snapshot.
    Snapshots,
    /// Questions to a broker that were not asked.
    Queries,
    /// Sessions in a broker's answer that were left out.
    AnswerSessions,
    /// Cuts in an ack that were left out.
    AckCuts,
    /// Times that the messages to the leader were thrown away, to begin anew.
    Outbox,
    /// Renewals of a node that has too many, or too many processes.
    Renewals,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    limit: String,
}

/// What the watch and the limits count.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    snapshots: Family<Reason, Counter<u64, AtomicU64>>,
    cut_off: Family<Reason, Counter<u64, AtomicU64>>,
    limits: Family<Name, Counter<u64, AtomicU64>>,
}

impl Counts {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Counts { snapshots, cut_off, limits } = self;
        registry.register(
            "watch_snapshots",
            "Snapshots that brokers were given, by reason",
            snapshots.clone(),
        );
        registry.register(
            "watch_cut_off",
            "Watch streams that this replica ended, by reason",
            cut_off.clone(),
        );
        registry.register("limit_refusals", "What a limit refused or held back", limits.clone());
    }

    pub(crate) fn snapshot(&self, why: Resync) {
        let reason = match why {
            Resync::New => "new",
            Resync::Compacted => "compacted",
            Resync::Oversized => "oversized",
            Resync::Foreign => "foreign",
        };
        self.snapshots.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn cut_off(&self, why: CutOff) {
        let reason = match why {
            CutOff::Silent => "silent",
            CutOff::Stalled => "stalled",
            CutOff::Replaced => "replaced",
        };
        self.cut_off.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn limit(&self, limit: Limit, times: usize) {
        let name = match limit {
            Limit::Connections => "connections",
            Limit::Watchers => "watchers",
            Limit::Snapshots => "snapshots",
            Limit::Queries => "queries",
            Limit::AnswerSessions => "answer_sessions",
            Limit::AckCuts => "ack_cuts",
            Limit::Outbox => "outbox",
            Limit::Renewals => "renewals",
        };
        if times > 0 {
            self.named_limit(name, u64::try_from(times).unwrap_or(u64::MAX));
        }
    }

    /// A limit of the replicated state, by the name that its refusal carries: one of a fixed list.
    pub(crate) fn state_limit(&self, name: &str) {
        self.named_limit(name, 1);
    }

    fn named_limit(&self, name: &str, times: u64) {
        self.limits.get_or_create(&Name { limit: name.to_owned() }).inc_by(times);
    }
}

#[cfg(test)]
impl Counts {
    /// Snapshots for one reason.
    pub(crate) fn snapshots_of(&self, reason: &'static str) -> u64 {
        self.snapshots.get_or_create(&Reason { reason }).get()
    }

    /// Streams that were ended for one reason.
    pub(crate) fn cut_off_of(&self, reason: &'static str) -> u64 {
        self.cut_off.get_or_create(&Reason { reason }).get()
    }

    /// What one limit refused.
    pub(crate) fn limit_of(&self, limit: &str) -> u64 {
        self.limits.get_or_create(&Name { limit: limit.to_owned() }).get()
    }
}
