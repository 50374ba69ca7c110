//! Calls that only the leader can answer: made here where this replica leads, else sent there.
use std::time::Duration;

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use revoq_proto::v1::raft_call::Kind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::channels::{ANYBODY, CallError, Lane};
use crate::config::{COMMAND_SIZE_MAX, LEADERLESS_PATIENCE, PROOF_TIMEOUT, PROPOSE_TIMEOUT};
use crate::group::{Group, Proof, Proposed};
use crate::machine::Machine;
use crate::types::{Blob, Types, decode};

/// A change of the membership, for the leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Change {
    Add { node: u64, address: String },
    Remove { node: u64 },
}

impl<M: Machine> Group<M> {
    /// Replicates a command and answers with what it did, after it is committed and applied at the leader.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it may have happened; with any other error it has not and will not.
    pub async fn propose(&self, command: impl Into<Bytes>) -> Result<Proposed, Error> {
        let command = command.into();
        if command.len() > COMMAND_SIZE_MAX {
            let what = "the size of the command in bytes".to_owned();
            return Err(Error::Refused {
                what,
                limit: COMMAND_SIZE_MAX as u64,
                actual: command.len() as u64,
            });
        }
        let here = || self.propose_here(command.clone());
        self.at_leader(here, Kind::Propose, || command.to_vec(), PROPOSE_TIMEOUT).await
    }

    /// Returns `i` such that the local state is at `i` or later, and every command that was answered anywhere before
    /// this call is at or before `i`.
    ///
    /// # Errors
    /// No leader could prove itself, or the local state does not come that far in time.
    pub async fn read_barrier(&self) -> Result<u64, Error> {
        let here = || self.read_index();
        let index = self.at_leader(here, Kind::ReadIndex, Vec::new, PROOF_TIMEOUT).await?;
        self.wait_applied(index, PROPOSE_TIMEOUT).await?;
        Ok(index)
    }

    pub(crate) async fn read_index(&self) -> Result<u64, Error> {
        Ok(self.prove_leadership().await?.index)
    }

    /// On the leader: a quorum says so, after this call began.
    ///
    /// # Errors
    /// [`Error::NotLeader`] elsewhere; [`Error::NoLeader`] if no quorum answers.
    pub async fn prove_leadership(&self) -> Result<Proof, Error> {
        match self.raft().get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => {
                let read = linearizer.read_log_id();
                Ok(Proof { term: read.committed_leader_id().term, index: read.index() })
            }
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(Error::NotLeader { leader: forward.leader_id })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(Error::NoLeader),
            Err(RaftError::Fatal(fatal)) => Err(Error::Stopped(fatal.to_string())),
        }
    }

    /// As [`Group::propose`], on the leader only.
    pub(crate) async fn propose_here(&self, command: Bytes) -> Result<Proposed, Error> {
        self.running()?;
        match timeout(PROPOSE_TIMEOUT, self.raft().client_write(Blob(command))).await {
            Ok(Ok(written)) => {
                Ok(Proposed { index: written.log_id.index, response: written.data.0.to_vec() })
            }
            Ok(Err(error)) => Err(write_error(error)),
            Err(_) => Err(Error::Unknown(format!("not committed within {PROPOSE_TIMEOUT:?}"))),
        }
    }

    /// Runs `here` if this replica leads, else asks the leader for `kind`. While nobody leads, or the leader cannot be
    /// reached, or it lacks its first quorum yet, it tries again for a moment.
    pub(crate) async fn at_leader<T, F>(
        &self,
        here: impl Fn() -> F,
        kind: Kind,
        payload: impl Fn() -> Vec<u8>,
        patience: Duration,
    ) -> Result<T, Error>
    where
        T: DeserializeOwned,
        F: Future<Output = Result<T, Error>>,
    {
        let give_up = Instant::now() + LEADERLESS_PATIENCE;
        let mut leadership = self.leadership();
        loop {
            let known = leadership.borrow_and_update().clone();
            let result = match known.leader_address {
                _ if known.is_leader => here().await,
                Some(address) => self.ask(&address, kind, payload(), patience).await,
                None => Err(Error::NoLeader),
            };
            let Err(error @ (Error::NoLeader | Error::NotLeader { .. })) = result else { return result };
            let now = Instant::now();
            if now >= give_up {
                tracing::debug!(%error, "no leader answered");
                return self.running().and(Err(Error::NoLeader));
            }
            // A new leader may lead before it has heard from a quorum, which no watch tells.
            let _ = timeout(RETRY_PAUSE.min(give_up - now), leadership.changed()).await;
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        address: &str,
        kind: Kind,
        payload: Vec<u8>,
        patience: Duration,
    ) -> Result<T, Error> {
        match self.channels().call(address, ANYBODY, Lane::Log, kind, payload, patience).await {
            Ok(bytes) => match decode(&bytes) {
                // It was stopped before it took the call.
                Ok(Err(Error::Stopped(_))) => Err(Error::NoLeader),
                Ok(result) => result,
                Err(error) => Err(Error::Unknown(format!("the leader's answer cannot be read: {error}"))),
            },
            Err(CallError::Unsent(_)) => Err(Error::NoLeader),
            Err(CallError::Rejected(reason)) => Err(Error::Peer(reason)),
            Err(error) if kind == Kind::ReadIndex => {
                tracing::debug!(%error, "the leader did not answer");
                Err(Error::NoLeader)
            }
            Err(error) => Err(Error::Unknown(format!("the leader did not answer: {error}"))),
        }
    }
}

/// Between two tries while nobody leads.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// What an unfinished write means for the one who proposed it.
pub(crate) fn write_error(error: RaftError<Types, ClientWriteError<Types>>) -> Error {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            Error::NotLeader { leader: forward.leader_id }
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            Error::Unknown("the leader changed before it was committed".to_owned())
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            Error::Membership(error.to_string())
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(error)) => {
            Error::Membership(error.to_string())
        }
        RaftError::Fatal(fatal) => Error::Unknown(format!("the leader stopped: {fatal}")),
    }
}
