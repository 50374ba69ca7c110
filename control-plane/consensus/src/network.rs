//! openraft's network over the `Raft` service.
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use revoq_proto::v1::raft_call::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_stream::wrappers::ReceiverStream;

use crate::channels::{CallError, Channels, Lane};
use crate::config::APPEND_TIMEOUT;
use crate::snapshot::{self, Snapshot, SnapshotData};
use crate::store::GroupStore;
use crate::types::{Types, Vote, decode, encode};

/// Makes the clients that openraft asks for.
pub(crate) struct Network {
    pub(crate) node: u64,
    pub(crate) channels: Arc<Channels>,
    pub(crate) store: Arc<GroupStore>,
}

impl Network {
    fn peer(&self, target: u64, node: &BasicNode, lane: Lane) -> Peer {
        Peer {
            node: self.node,
            target,
            address: node.addr.clone(),
            lane,
            channels: Arc::clone(&self.channels),
            store: Arc::clone(&self.store),
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        self.peer(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        self.peer(target, node, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        self.peer(target, node, Lane::Snapshot)
    }
}

/// One other replica, as one task of openraft sees it.
pub(crate) struct Peer {
    node: u64,
    target: u64,
    address: String,
    lane: Lane,
    channels: Arc<Channels>,
    store: Arc<GroupStore>,
}

impl Peer {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: Kind,
        action: RPCTypes,
        question: &Q,
        timeout: Duration,
    ) -> Result<A, RPCError<Types>> {
        let payload = encode(question).map_err(|e| NetworkError::new(&e))?;
        let answer = self.channels.call(&self.address, self.target, self.lane, kind, payload, timeout).await;
        answer.map_err(|e| self.rpc_error(&e, action)).and_then(|bytes| parse(&bytes))
    }

    fn rpc_error(&self, error: &CallError, action: RPCTypes) -> RPCError<Types> {
        match error {
            CallError::Timeout(timeout) => {
                Timeout { action, id: self.node, target: self.target, timeout: *timeout }.into()
            }
            CallError::Unsent(_) | CallError::Rejected(_) | CallError::Broken(_) => {
                Unreachable::new(error).into()
            }
        }
    }

    async fn send(&self, vote: Vote, snapshot: Snapshot) -> Result<SnapshotResponse<Types>, RPCError<Types>> {
        let header = encode(&(self.target, vote, &snapshot.meta)).map_err(|e| NetworkError::new(&e))?;
        let mut client =
            self.channels.client(&self.address, self.lane).map_err(|e| Unreachable::<Types>::new(&e))?;
        let chunks =
            snapshot::stream(Arc::clone(&self.store), self.channels.group, header, snapshot.snapshot);
        match client.snapshot(ReceiverStream::new(chunks)).await {
            Ok(reply) => parse(&reply.into_inner().payload),
            Err(status) => Err(Unreachable::new(&CallError::from(status)).into()),
        }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let timeout = option.hard_ttl().max(APPEND_TIMEOUT);
        self.call(Kind::Append, RPCTypes::AppendEntries, &rpc, timeout).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call(Kind::Vote, RPCTypes::Vote, &rpc, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call(Kind::PreVote, RPCTypes::Vote, &rpc, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let timeout = option.hard_ttl();
        tokio::select! {
            sent = tokio::time::timeout(timeout, self.send(vote, snapshot)) => match sent {
                Ok(result) => Ok(result?),
                Err(_) => Err(self.rpc_error(&CallError::Timeout(timeout), RPCTypes::InstallSnapshot).into()),
            },
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        self.call(Kind::TransferLeader, RPCTypes::TransferLeader, &req, option.hard_ttl()).await
    }
}

fn parse<A: DeserializeOwned>(bytes: &Bytes) -> Result<A, RPCError<Types>> {
    decode(bytes).map_err(|e: io::Error| NetworkError::new(&e).into())
}
