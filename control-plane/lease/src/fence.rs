//! Where each node stands towards a revision.
use revoq_credentials::StaleGrace;

use crate::leases::{Leases, Node};
use crate::{Cut, Moment};

/// Where a node stands towards a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Neither acknowledged nor expired.
    Waiting {
        /// When this changes by itself.
        until: Moment,
    },
    /// Its gates for the revision are shut.
    Confirmed,
    /// It serves nobody whom the revision denies: its lease and its grace ran out.
    Fenced {
        /// When they did; absent where it had none.
        since: Option<Moment>,
    },
    /// Its lease ran out, but no grace bounds it.
    Unconfirmed {
        /// When its lease did.
        since: Moment,
    },
}

/// One node's line of a fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStanding {
    /// Which node.
    pub node: u64,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub standing: Standing,
    /// What the revision cut there.
    pub cut: Option<Cut>,
    /// When its ack came.
    pub received: Option<Moment>,
}

/// What a fence still waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// So many nodes.
    pub nodes: usize,
    /// The first of them changes by itself then.
    pub next: Option<Moment>,
}

impl Leases {
    /// Where each known node stands towards a fence.
    ///
    /// `revision` is the one asked for; `target` is the last revision up to it that has an event, whose ack
    /// suffices.
    pub fn fence(&self, now: Moment, target: u64, revision: u64) -> Vec<NodeStanding> {
        let line = |(&node, known): (&u64, &Node)| NodeStanding {
            node,
            name: known.name.clone(),
            standing: self.standing(known, target, now),
            cut: known.incarnations.iter().find_map(|process| process.cut(revision)),
            received: known.incarnations.iter().filter_map(|process| process.received(target)).min(),
        };
        self.nodes.iter().map(line).collect()
    }

    /// What the fence of `target` still waits for: nothing, when it is complete.
    pub fn waiting(&self, now: Moment, target: u64) -> Waiting {
        let mut waiting = Waiting::default();
        for until in self.nodes.values().filter_map(|node| self.waits(node, now, target)) {
            waiting.nodes += 1;
            waiting.next = Some(waiting.next.map_or(until, |next: Moment| next.min(until)));
        }
        waiting
    }

    /// Every known node.
    pub fn known(&self) -> impl Iterator<Item = u64> + '_ {
        self.nodes.keys().copied()
    }

    /// Whether the fence of `target` waits for any of these nodes: then the last of them is one, and this is when that
    /// changes by itself. Those that are not waited for are taken from the end. With a thousand nodes and an ack from
    /// each, a fence that looks at one of them at a time looks at each once, and not at a million.
    pub fn waits_for_one(&self, now: Moment, target: u64, nodes: &mut Vec<u64>) -> Option<Moment> {
        while let Some(node) = nodes.last() {
            let until = self.nodes.get(node).and_then(|node| self.waits(node, now, target));
            if until.is_some() {
                return until;
            }
            nodes.pop();
        }
        None
    }

    fn waits(&self, node: &Node, now: Moment, target: u64) -> Option<Moment> {
        match self.standing(node, target, now) {
            Standing::Waiting { until } => Some(until),
            Standing::Confirmed | Standing::Fenced { .. } | Standing::Unconfirmed { .. } => None,
        }
    }

    pub(crate) fn standing(&self, node: &Node, target: u64, now: Moment) -> Standing {
        let mut waiting = None;
        let mut unconfirmed = None;
        let mut fenced = None;
        for (lease_end, grace) in self.holds(node, target, now) {
            let (end, state) = match grace {
                StaleGrace::Bounded(grace) => (lease_end + with_drift(grace), &mut fenced),
                StaleGrace::Never => (lease_end, &mut unconfirmed),
            };
            let state = if now < end { &mut waiting } else { state };
            *state = (*state).max(Some(end));
        }
        let confirmed = node.incarnations.iter().any(|process| process.acknowledged >= target);
        match (waiting, unconfirmed) {
            (Some(until), _) => Standing::Waiting { until },
            (None, Some(since)) => Standing::Unconfirmed { since },
            (None, None) if confirmed => Standing::Confirmed,
            (None, None) => Standing::Fenced { since: fenced },
        }
    }

    /// Each lease under which a process of `node` may serve with a view that lacks `target`: its end, and the
    /// grace that follows.
    fn holds(&self, node: &Node, target: u64, now: Moment) -> impl Iterator<Item = (Moment, StaleGrace)> {
        let presumed =
            self.presumed_lease_end(now, node).map(|end| (end, self.terms.grace(now, node.joined)));
        let processes = node.incarnations.iter().flat_map(move |process| {
            let grace = self.terms.grace(now, process.acknowledged.max(node.joined));
            process.lease_ends(target).map(move |end| (end, grace))
        });
        presumed.into_iter().chain(processes)
    }
}

/// The constant part of the margin is in the lease's end.
fn with_drift(grace: std::time::Duration) -> std::time::Duration {
    grace.saturating_add(grace / crate::DRIFT_PART)
}
