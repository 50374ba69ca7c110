//! The fence: who has confirmed a revision.
use revoq_proto::v1;
use revoq_proto::v1::FenceState;
use serde::Serialize;

use super::{Timestamp, View};

/// Where each broker node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fence {
    /// Whose fence.
    pub revision: u64,
    /// Every broker node has confirmed, or is fenced: the change is effective everywhere.
    pub effective: bool,
    /// Each known broker node.
    pub nodes: Vec<FenceNode>,
}

/// One broker node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FenceNode {
    /// Its number.
    pub node: u64,
    /// Its name.
    pub name: String,
    /// Which it is asked to confirm.
    pub revision: u64,
    /// `waiting`, `confirmed`, `fenced` or `unconfirmed`.
    pub state: String,
    /// Sessions whose gates it shut for this revision.
    pub sessions_cut: u64,
    /// From its receipt of the event to its last gate shut.
    pub gate_micros: u64,
    /// From the commit to the leader's receipt of the confirmation.
    pub confirmed_micros: u64,
    /// Waiting and fenced: when its lease and grace end.
    pub until: Timestamp,
}

impl From<v1::FenceUpdate> for Fence {
    fn from(wire: v1::FenceUpdate) -> Fence {
        let node = |node| FenceNode::new(wire.revision, node);
        let nodes: Vec<FenceNode> = wire.nodes.into_iter().map(node).collect();
        let effective = wire.complete && nodes.iter().all(FenceNode::is_settled);
        Fence { revision: wire.revision, effective, nodes }
    }
}

impl FenceNode {
    fn new(revision: u64, wire: v1::FenceNode) -> FenceNode {
        let state = match wire.state() {
            FenceState::Confirmed => "confirmed",
            FenceState::Fenced => "fenced",
            FenceState::Unconfirmed => "unconfirmed",
            FenceState::Waiting | FenceState::Unspecified => "waiting",
        };
        FenceNode {
            node: wire.node,
            name: wire.name,
            revision,
            state: state.to_owned(),
            sessions_cut: wire.sessions_cut,
            gate_micros: wire.gate_micros,
            confirmed_micros: wire.confirmed_micros,
            until: wire.until_ms.into(),
        }
    }

    /// Does it surely not serve what the revision denies?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state == "confirmed" || self.state == "fenced"
    }
}

impl Fence {
    /// Nodes that may still serve what the revision denies.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.nodes.iter().filter(|node| !node.is_settled()).count()
    }
}

impl View for FenceNode {
    const COLUMNS: &'static [&'static str] =
        &["node", "name", "state", "revision", "sessions_cut", "gate_micros", "confirmed_micros", "until"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let confirmed = self.state == "confirmed";
        let figure = |number: u64| if confirmed { number.to_string() } else { "-".to_owned() };
        let until = if self.until.0.is_none() { "-".to_owned() } else { self.until.to_string() };
        vec![
            ("node", self.node.to_string()),
            ("name", self.name.clone()),
            ("state", self.state.clone()),
            ("revision", self.revision.to_string()),
            ("sessions_cut", figure(self.sessions_cut)),
            ("gate_micros", figure(self.gate_micros)),
            ("confirmed_micros", figure(self.confirmed_micros)),
            ("until", until),
        ]
    }
}
