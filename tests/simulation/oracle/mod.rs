//! Who sees everything: what is committed, what administrators were told, and what happened where. It tells nobody in
//! the world anything.

mod digest;
mod history;
mod truth;

use std::rc::Rc;

use revoq_credentials::{Operation, Principal, View};
use revoq_lease::NodeStanding;

pub(crate) use digest::Digest;
pub(crate) use history::{History, Known, actor};
pub(crate) use truth::Truth;

use crate::broker::Broker;
use crate::clock::Time;
use crate::engine::Engine;
use crate::raft::{Entry, Position};
use crate::replica::Replica;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// A leader takes an entry for committed.
    Committed { index: u64, entry: Entry },
    /// A replica's state stands here.
    Applied { replica: u8, at: Position, digest: Digest },
    /// An administrator asks for a change.
    Invoked { operation: u64, what: Rc<Operation> },
    /// What it was told.
    Answered { operation: u64, known: Known },
    /// A broker's process begins.
    Began { broker: u8 },
    /// From here on a broker judges by this view.
    Viewed { broker: u8, view: View, seen: Seen },
    /// A broker's view is fresh for so long from the moment at which it asked; true time.
    Granted { broker: u8, asked: Time, lease_ms: u64 },
    /// A client is let in.
    Admitted { broker: u8, number: u64 },
    /// A packet passes.
    Passed { broker: u8, number: u64, principal: Principal, direction: Direction },
    /// A broker looked at its lease.
    Ticked { broker: u8 },
    /// A leader says that a fence is complete.
    Fence { revision: u64, lines: Rc<[NodeStanding]> },
}

/// What brought a view to where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Events of these revisions.
    Events(Vec<u64>),
    /// A snapshot of the view's revision.
    Snapshot,
    /// The word that nothing of concern happened up to the view's revision.
    Progress,
}

/// Which way a packet passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From a client.
    In,
    /// To a client.
    Out,
}

/// The world as it is when something happened.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) now: Time,
    pub(crate) engine: &'a Engine,
    pub(crate) truth: &'a Truth,
    pub(crate) history: &'a History,
    pub(crate) replicas: &'a [Replica],
    pub(crate) brokers: &'a [Broker],
}

impl Scene<'_> {
    pub(crate) fn broker(&self, seat: u8) -> &Broker {
        &self.brokers[usize::from(seat)]
    }

    /// The broker whose process is the one of this node now.
    pub(crate) fn process_of(&self, node: u64) -> Option<&Broker> {
        let alive = |broker: &&Broker| broker.node == node && self.engine.alive(broker.address()).is_some();
        self.brokers.iter().find(alive)
    }
}
