//! What can go wrong, by what the caller may conclude from it.
use serde::{Deserialize, Serialize};

/// Why a group did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Error {
    /// Nothing happened: no replica is known that leads with a quorum behind it. Try again.
    #[error("no leader with a quorum is known")]
    NoLeader,
    /// Nothing happened: only the leader can do this.
    #[error("this replica is not the leader")]
    NotLeader {
        /// Who leads, as far as this replica knows.
        leader: Option<u64>,
    },
    /// The command may or may not have happened, now or later: ask the state.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// Nothing happened: the command is beyond a limit.
    #[error("{what} is {actual}, the limit is {limit}")]
    Refused {
        /// What was measured.
        what: String,
        /// The limit.
        limit: u64,
        /// What was asked.
        actual: u64,
    },
    /// The changes asked for are gone; begin again with the state.
    #[error("changes before {oldest} are compacted")]
    Compacted {
        /// The first index whose change is still kept.
        oldest: u64,
    },
    /// The state did not come as far in time.
    #[error("index {index} was not applied in time, {applied} is")]
    Late {
        /// What was waited for.
        index: u64,
        /// How far the state is.
        applied: u64,
    },
    /// A change of the membership was refused or did not finish.
    #[error("membership: {0}")]
    Membership(String),
    /// This replica has stopped: shut down, or by a fault that is in the message.
    #[error("the replica has stopped: {0}")]
    Stopped(String),
    /// The store on disk failed.
    #[error("storage: {0}")]
    Storage(String),
    /// An address cannot be dialled.
    #[error("address {address:?}: {reason}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration contradicts itself.
    #[error("configuration: {0}")]
    Config(String),
    /// A peer answered something that this replica does not understand.
    #[error("peer: {0}")]
    Peer(String),
}

impl From<rocksdb::Error> for Error {
    fn from(error: rocksdb::Error) -> Self {
        Self::Storage(error.into_string())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Storage(error.to_string())
    }
}
