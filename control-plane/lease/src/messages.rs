//! What the account of the leases is told, and what it answers.
use std::time::Duration;

use crate::{Cut, IncarnationId};

/// A broker node's row in the replicated state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its number.
    pub node: u64,
    /// Its name.
    pub name: String,
    /// The revision at which it joined; 0 where that is not known. None of its processes serves with an older view:
    /// each waits for its first grant, which comes after every event up to a commit that has the row.
    pub joined: u64,
}

/// A broker's `Renew`, as it reaches the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Which node.
    pub node: u64,
    /// Which process of it.
    pub incarnation: IncarnationId,
    /// Its own number of the request.
    pub sequence: u64,
}

/// A broker's gates are shut for a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Which node.
    pub node: u64,
    /// Which process of it.
    pub incarnation: IncarnationId,
    /// Every gate that revisions up to here shut is shut.
    pub revision: u64,
    /// How many sessions the broker has, if it says so.
    pub sessions: Option<u64>,
    /// What they cut.
    pub cuts: Vec<Cut>,
    /// Every gate is shut, and none opens again.
    pub farewell: bool,
}

/// To be handed to the broker after every event up to `commit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What it answers.
    pub renewal: Renewal,
    /// The commit index at the proof.
    pub commit: u64,
    /// From the sending of the `Renew`, on the broker's clock.
    pub lease: Duration,
}

/// A quorum said that this replica leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// In this term, which may be another than the one of the account: that hears of elections later.
    pub term: u64,
    /// The commit index, at or after the first entry of the term.
    pub commit: u64,
}
