//! What travels between processes, and what a process tells itself to do later.

use std::rc::Rc;

use revoq_credentials::{Change, Event, Fingerprint, Operation, Principal, State};
use revoq_lease::{Acknowledgement, IncarnationId, NodeStanding, Renewal};

use crate::raft::RaftMessage;
use crate::replica::Answered;

/// Where a process is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Address {
    /// What is no process: devices, the nemesis.
    World,
    Replica(u8),
    Broker(u8),
    /// An administrator's client.
    Operator(u8),
}

/// Something on the network.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Raft(Box<RaftMessage>),
    /// A unary call, and what comes back.
    Call {
        call: u64,
        request: Request,
    },
    Answer {
        call: u64,
        response: Response,
    },
    /// Nobody listens there: the call had no effect.
    Unsent {
        call: u64,
    },
    /// A stream is opened, is used, and has ended.
    Open {
        stream: u64,
        hello: Hello,
    },
    Accepted {
        stream: u64,
    },
    Said {
        stream: u64,
        said: Said,
    },
    Closed {
        stream: u64,
    },
    /// The other side took a message: there is room for another.
    Room {
        stream: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Of an administrator or a broker, to any replica.
    Propose {
        actor: Rc<str>,
        operation: Rc<Operation>,
    },
    /// Of a replica, to the leader.
    Forward {
        command: Rc<[u8]>,
    },
    ReadIndex,
    /// Of an administrator, to any replica; of a replica, to the leader.
    Fence {
        revision: u64,
    },
    PeerFence {
        revision: u64,
    },
    LookUp {
        fingerprint: Fingerprint,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Response {
    Proposed {
        index: u64,
        answer: Box<Answered>,
    },
    /// It did not happen and will not: no leader was found.
    NotDone,
    /// It may have happened, or may yet.
    Unknown,
    /// The replica that was asked does not lead, or cannot prove it.
    NotLeading,
    Index(u64),
    /// The fence is complete.
    Fenced(Rc<[NodeStanding]>),
    Found(Found),
}

/// The control plane's word on a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Registered(Principal),
    Denied(State),
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) enum Hello {
    /// A broker watches from `revision` on.
    Watch { node: u64, incarnation: IncarnationId, revision: u64 },
    /// A replica passes on what its brokers say.
    Liaise,
}

/// A message of a stream.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Broker(BrokerSays),
    Control(ControlSays),
    Peer(PeerSays),
    Grant(Grant),
}

/// `BrokerMessage` of the protocol.
#[derive(Clone, Debug)]
pub(crate) enum BrokerSays {
    Renew(Renew),
    Ack { revision: u64, cuts: Vec<(u64, u64)> },
    Farewell,
    Usage(Vec<Fingerprint>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Renew {
    pub(crate) sequence: u64,
    pub(crate) revision: u64,
    pub(crate) sessions: u64,
}

/// `ControlMessage` of the protocol.
#[derive(Clone, Debug)]
pub(crate) enum ControlSays {
    Events(Vec<Rc<Event>>),
    Snapshot { revision: u64, changes: Vec<Change>, first: bool, last: bool },
    Progress { revision: u64 },
    Grant { sequence: u64, lease_ms: u64 },
}

/// `PeerMessage` of the protocol: what a broker said, on its way to the leader.
#[derive(Clone, Debug)]
pub(crate) enum PeerSays {
    Renewal { renewal: Renewal, revision: u64, sessions: u64 },
    Acknowledgement(Acknowledgement),
}

/// The leader's answer to a renewal, on its way to the replica that serves the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) node: u64,
    pub(crate) incarnation: IncarnationId,
    pub(crate) sequence: u64,
    pub(crate) commit: u64,
    pub(crate) lease_ms: u64,
}

/// What a process does later.
#[derive(Clone, Debug)]
pub(crate) enum Timer {
    // A replica.
    Raft,
    Flushed { upto: u64, generation: u64 },
    Apply,
    Leadership,
    Liaise,
    Serve,
    Fence { fence: u64 },
    Retry { call: u64 },
    GiveUp { call: u64 },
    Barrier { barrier: u64 },
    Progress { stream: u64 },
    Usage,
    Duties,
    // A broker.
    Watch,
    Work,
    Renew { stream: u64 },
    Opening { stream: u64 },
    LeaseTick,
    Attempt { attempt: u64 },
    Publish { number: u64 },
    Deliver { number: u64 },
    Left { attempt: u64 },
    // An administrator.
    Think,
    // The world.
    Device(usize),
    Told { device: usize, attempt: u64, told: Told },
    Nemesis,
    Undo { trouble: u64 },
    Join { broker: u8 },
    Survey,
}

/// What a device hears of its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Accepted { number: u64 },
    Refused,
    Closed,
}
