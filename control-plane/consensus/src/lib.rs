//! Replicated groups: openraft over gRPC, log and state machine in RocksDB.
//!
//! A [`Store`] is the one RocksDB of a process. A [`Group`] is one Raft group in it: an ordered log of commands that a
//! [`Machine`] applies, the same on each replica. The index of a command in the log is its revision. [`service`] makes
//! the groups of a process reachable for their peers.
//!
//! ```text
//!   propose ─▶ leader: log append ─┬─▶ flusher thread (one fdatasync for all groups) ─┐
//!                                  └─▶ Raft.Call append ─▶ followers: append, flush ──┴─▶ commit
//!                                                                                          │
//!       response ◀── publish ◀── one batch: rows, change rows, applied, digest ◀── Machine::apply
//! ```
//!
//! The state is written without the write-ahead log: after a crash it is as old as its last flush, and the log is
//! applied again from there. The log is therefore never purged beyond what is flushed.

mod channels;
mod compare;
mod config;
mod digest;
mod ending;
mod error;
mod forward;
mod group;
mod log;
mod machine;
mod membership;
mod network;
mod overlay;
mod reader;
mod service;
mod snapshot;
mod state;
mod store;
#[cfg(test)]
mod suite;
mod types;

pub use channels::{Dial, tune};
pub use config::{COMMAND_SIZE_MAX, Config, MESSAGE_SIZE_MAX};
pub use error::{Error, replacement};
pub use group::{Group, Leadership, Member, Proof, Proposed, Status};
pub use machine::{Applied, Machine};
pub use reader::StateReader;
pub use revoq_credentials::{ReadError, Reader, Write};
pub use service::{Hosted, RaftService, service};
pub use store::Store;
