//! What can go wrong, by what the caller may conclude from it.
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What to do with a replica that must not go on with what it has on disk.
#[must_use]
pub fn replacement() -> &'static str {
    "replace this replica: stop it, remove it from the cluster (`revoqctl cluster remove NODE`), delete its data folder, \
     and let it join anew with a token (`revoqctl cluster join --kind replica`)"
}

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
    /// The disk is full or fails. The replica has stopped; started again with a disk that works, it goes on.
    #[error(
        "the disk fails this replica at {path}: {reason}; nothing that was acknowledged is lost: free space there or \
         mend the disk, and start the replica again"
    )]
    Disk {
        /// The store's folder.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// The state is not that of the other replicas: this one has stopped for good.
    #[error(
        "the state of this replica differs from that of a majority of the voters at index {index}: its digest is {own}, \
         theirs {theirs}; {}",
        replacement()
    )]
    Diverged {
        /// Where they were compared. They may have parted earlier.
        index: u64,
        /// The digest here, shortened.
        own: String,
        /// The digest there, shortened.
        theirs: String,
    },
    /// Acknowledged entries or votes are gone: going on could undo what others rely upon.
    #[error(
        "the write-ahead log in {path} lost {lost} acknowledged writes ({held} < {promised}): this replica must not go on \
         as if nothing were missing; {}",
        replacement()
    )]
    Lost {
        /// The store's folder.
        path: String,
        /// How many are gone.
        lost: u64,
        /// How many are there.
        held: u64,
        /// How many there were.
        promised: u64,
    },
    /// Files of the store are not what they were.
    #[error("the store in {path} is damaged: {reason}; {}", replacement())]
    Damaged {
        /// The store's folder.
        path: String,
        /// What was found.
        reason: String,
    },
}

impl Error {
    pub(crate) fn disk(path: &Path, reason: String) -> Self {
        Self::Disk { path: path.display().to_string(), reason }
    }

    pub(crate) fn lost(path: &Path, held: u64, promised: u64) -> Self {
        let lost = promised - held;
        Self::Lost { path: path.display().to_string(), lost, held, promised }
    }

    /// Whether only a new replica with an empty data folder can take the place of this one.
    #[must_use]
    pub fn needs_replacement(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::Lost { .. } | Self::Damaged { .. })
    }

    /// As another replica is told: one of an earlier version knows no more.
    pub(crate) fn for_peer(self) -> Self {
        match self {
            Self::Disk { .. } | Self::Diverged { .. } | Self::Lost { .. } | Self::Damaged { .. } => {
                Self::Stopped(self.to_string())
            }
            other => other,
        }
    }
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
