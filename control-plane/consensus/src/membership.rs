//! Adding and removing replicas: a new one learns first and votes when it has caught up.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers};
use revoq_proto::v1::raft_call::Kind;
use tokio::time::{sleep, timeout};

use crate::Error;
use crate::config::MEMBERSHIP_TIMEOUT;
use crate::forward::{Change, write_error};
use crate::group::{Group, Member};
use crate::machine::Machine;
use crate::types::encode;

/// Between two tries while another change of the membership is under way.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

impl<M: Machine> Group<M> {
    /// Adds the replica `node`, reached at `address`, or gives it a new address. Returns when it votes.
    ///
    /// # Errors
    /// It did not catch up in time: then it goes on learning, and the call can be made again.
    pub async fn add_replica(&self, node: u64, address: &str) -> Result<(), Error> {
        self.change(&Change::Add { node, address: address.to_owned() }).await
    }

    /// Removes the replica `node`. Removing one that is not there is a success.
    ///
    /// # Errors
    /// It is the last one, or the others cannot agree in time.
    pub async fn remove_replica(&self, node: u64) -> Result<(), Error> {
        self.change(&Change::Remove { node }).await
    }

    async fn change(&self, change: &Change) -> Result<(), Error> {
        let payload = encode(change)?;
        let here = || self.change_here(change.clone());
        // The leader gives up first, so that its reason arrives.
        let patience = MEMBERSHIP_TIMEOUT + Duration::from_secs(5);
        self.at_leader(here, Kind::Membership, || payload.clone(), patience).await
    }

    /// As [`Group::add_replica`] and [`Group::remove_replica`], on the leader only.
    pub(crate) async fn change_here(&self, change: Change) -> Result<(), Error> {
        let known = self.leadership().borrow().clone();
        if !known.is_leader {
            return Err(Error::NotLeader { leader: known.leader });
        }
        let work = async {
            match change {
                Change::Add { node, address } => self.add_here(node, &address).await,
                Change::Remove { node } => self.remove_here(node).await,
            }
        };
        let late = || Error::Membership(format!("not done within {MEMBERSHIP_TIMEOUT:?}"));
        timeout(MEMBERSHIP_TIMEOUT, work).await.unwrap_or_else(|_| Err(late()))
    }

    async fn add_here(&self, node: u64, address: &str) -> Result<(), Error> {
        let at = BasicNode::new(address);
        match self.member(node) {
            Some(member) if member.address == address && member.voter => return Ok(()),
            Some(member) if member.address != address => {
                self.submit(ChangeMembers::SetNodes(BTreeMap::from([(node, at.clone())]))).await?;
            }
            _ => {}
        }
        // Returns once the replica lags by less than a compaction.
        self.raft().add_learner(node, at, true).await.map_err(write_error)?;
        self.submit(ChangeMembers::AddVoterIds(BTreeSet::from([node]))).await
    }

    async fn remove_here(&self, node: u64) -> Result<(), Error> {
        match self.member(node) {
            None => Ok(()),
            Some(member) if member.voter => {
                self.submit(ChangeMembers::RemoveVoters(BTreeSet::from([node]))).await
            }
            Some(_) => self.submit(ChangeMembers::RemoveNodes(BTreeSet::from([node]))).await,
        }
    }

    async fn submit(&self, change: ChangeMembers<u64, BasicNode>) -> Result<(), Error> {
        loop {
            match self.raft().change_membership(change.clone(), false).await {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) => sleep(BUSY_PAUSE).await,
                Err(error) => return Err(write_error(error)),
            }
        }
    }

    fn member(&self, node: u64) -> Option<Member> {
        self.status().members.into_iter().find(|member| member.node == node)
    }
}
