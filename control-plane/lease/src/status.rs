//! The leases for people, and which nodes are long gone.
use std::time::Duration;

use revoq_credentials::StaleGrace;

use crate::leases::{Leases, Node};
use crate::{Moment, with_margin};

/// What the leader makes of a broker node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It holds a lease.
    Fresh,
    /// Its lease is over, its grace is not; or an earlier leader may have granted it one.
    Stale,
    /// Lease and grace are over: it serves nobody.
    Fenced,
    /// It said farewell, or has never asked for a lease.
    Gone,
}

impl NodeState {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            NodeState::Fresh => "fresh",
            NodeState::Stale => "stale",
            NodeState::Fenced => "fenced",
            NodeState::Gone => "gone",
        }
    }
}

/// A node's lease, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLease {
    /// Which node.
    pub node: u64,
    /// Its name.
    pub name: String,
    /// What the leader makes of it.
    pub state: NodeState,
    /// The last revision that it acknowledged.
    pub revision: u64,
    /// Its sessions, at its last renewal.
    pub sessions: u64,
    /// The end of its lease, while it has one.
    pub until: Option<Moment>,
}

impl Leases {
    /// Every known node.
    pub fn status(&self, now: Moment) -> Vec<NodeLease> {
        self.nodes.iter().map(|(&id, node)| self.node_status(id, node, now)).collect()
    }

    fn node_status(&self, id: u64, node: &Node, now: Moment) -> NodeLease {
        let last = node.incarnations.iter().max_by_key(|process| process.acknowledged);
        let until = node.incarnations.iter().flat_map(|process| process.lease_ends(u64::MAX)).max();
        let over = self.over(now, node);
        let state = match until {
            Some(end) if now < end => NodeState::Fresh,
            None if node.incarnations.iter().all(|process| process.ended)
                && over.is_none_or(|end| end <= now) =>
            {
                NodeState::Gone
            }
            _ if over.is_none_or(|end| now < end) => NodeState::Stale,
            _ => NodeState::Fenced,
        };
        NodeLease {
            node: id,
            name: node.name.clone(),
            state,
            revision: last.map_or(0, |process| process.acknowledged),
            sessions: last.filter(|_| state == NodeState::Fresh).map_or(0, |process| process.sessions),
            until: until.filter(|end| now < *end),
        }
    }

    /// When the last lease and grace of `node` are over. `None`: nothing bounds them.
    fn over(&self, now: Moment, node: &Node) -> Option<Moment> {
        let grace_end = |end: Moment, grace| match grace {
            StaleGrace::Bounded(grace) => Some(end + with_margin(grace)),
            StaleGrace::Never => None,
        };
        let grace = self.terms.grace(now, node.joined);
        let presumed = self.presumed_lease_end(now, node).map(|end| grace_end(end, grace));
        let processes = node.incarnations.iter().flat_map(|process| {
            let grace = self.terms.grace(now, process.acknowledged.max(node.joined));
            process.lease_ends(u64::MAX).map(move |end| grace_end(end, grace))
        });
        presumed.into_iter().chain(processes).try_fold(node.since, |latest, end| Some(latest.max(end?)))
    }

    /// Nodes of which nothing was heard for `time` beyond the end of everything that they may have held.
    pub fn forgettable(&self, now: Moment, time: Duration) -> Vec<u64> {
        let long_over = |node: &Node| self.over(now, node).is_some_and(|end| end.saturating_add(time) < now);
        self.nodes.iter().filter(|(_, node)| long_over(node)).map(|(&id, _)| id).collect()
    }
}
