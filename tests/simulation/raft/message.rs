//! What members of a group say to each other, and what a member wants done.

use std::rc::Rc;

use revoq_lease::Proof;

use super::log::{Entry, Position};
use crate::replica::Image;

/// From one member to another.
#[derive(Clone, Debug)]
pub(crate) struct RaftMessage {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// The sender's; of a pre-vote, the one that it would stand in.
    pub(crate) term: u64,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Asks for a vote. `pre`: whether there would be one.
    Vote {
        last: Position,
        pre: bool,
    },
    Voted {
        granted: bool,
        pre: bool,
    },
    /// Entries that follow `previous`, or none: a heartbeat.
    Append {
        previous: Position,
        entries: Vec<Entry>,
        commit: u64,
        round: u64,
    },
    /// Taken up to `index` and on disk; or refused, because the log differs at `index` or before.
    Appended {
        taken: bool,
        index: u64,
        round: u64,
    },
    /// The state in the place of entries that are gone.
    Install(Rc<Image>),
}

/// What a member wants done.
#[derive(Debug)]
pub(crate) enum Output {
    Send(RaftMessage),
    /// Entries up to here are to be written to disk; then [`Raft::flushed`](super::Raft::flushed).
    Flush {
        upto: u64,
        generation: u64,
    },
    /// The leader counts a quorum up to this index.
    Committed {
        upto: u64,
    },
    /// A read that was begun: a quorum said that this member leads, or nobody could prove anything.
    Read {
        read: u64,
        outcome: Result<Proof, NoQuorum>,
    },
    /// The state is to be replaced.
    Install(Rc<Image>),
    /// A member needs the state: to be given to [`Raft::send_image`](super::Raft::send_image).
    Image {
        to: u64,
    },
}

/// The leadership could not be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoQuorum;
