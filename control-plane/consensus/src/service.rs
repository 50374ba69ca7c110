//! The `Raft` service: what other replicas may ask of the groups of this process.
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use revoq_proto::v1::raft_call::Kind;
use revoq_proto::v1::raft_server::{Raft, RaftServer};
use revoq_proto::v1::{RaftCall, RaftReply, RaftSnapshotChunk};
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

use crate::Error;
use crate::channels::ANYBODY;
use crate::config::MESSAGE_SIZE_MAX;
use crate::forward::Change;
use crate::group::Group;
use crate::machine::Machine;
use crate::snapshot::{Snapshot, SnapshotData, receive};
use crate::types::{SnapshotMeta, Vote, decode, encode};

/// A group of any machine, for [`service`].
#[derive(Clone)]
pub struct Hosted(Arc<dyn Endpoint>);

impl<M: Machine> From<Group<M>> for Hosted {
    fn from(group: Group<M>) -> Self {
        Self(Arc::new(group))
    }
}

/// The service over the groups of a process, to be added to a router. Whoever adds it must see to it that only replicas
/// of the cluster get through.
pub fn service(groups: impl IntoIterator<Item = Hosted>) -> RaftServer<RaftService> {
    let groups = groups.into_iter().map(|hosted| (hosted.0.group(), hosted.0)).collect();
    RaftServer::new(RaftService { groups })
        .max_decoding_message_size(MESSAGE_SIZE_MAX)
        .max_encoding_message_size(MESSAGE_SIZE_MAX)
}

/// Hands calls to the group that they name.
pub struct RaftService {
    groups: HashMap<u32, Arc<dyn Endpoint>>,
}

impl RaftService {
    fn group(&self, group: u32) -> Result<&dyn Endpoint, Status> {
        let found = self.groups.get(&group).map(|endpoint| &**endpoint);
        found.ok_or_else(|| Status::not_found(format!("group {group} is not in this replica")))
    }
}

#[tonic::async_trait]
impl Raft for RaftService {
    async fn call(&self, request: Request<RaftCall>) -> Result<Response<RaftReply>, Status> {
        let call = request.into_inner();
        let group = self.group(call.group)?;
        if call.node != ANYBODY {
            group.is_meant(call.node)?;
        }
        let payload = group.call(call.kind(), call.payload).await?;
        Ok(Response::new(RaftReply { payload }))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<RaftSnapshotChunk>>,
    ) -> Result<Response<RaftReply>, Status> {
        let mut chunks = request.into_inner();
        let first =
            chunks.message().await?.ok_or_else(|| Status::invalid_argument("the snapshot is empty"))?;
        let payload = self.group(first.group)?.snapshot(&first.header, chunks).await?;
        Ok(Response::new(RaftReply { payload }))
    }
}

/// A group, whatever its machine.
#[tonic::async_trait]
trait Endpoint: Send + Sync {
    fn group(&self) -> u32;
    /// A replica that joined anew has the address of the one that it was, and none of its log: an answer in the
    /// other's name would tell the leader that a log went back.
    fn is_meant(&self, node: u64) -> Result<(), Status>;
    async fn call(&self, kind: Kind, payload: Bytes) -> Result<Bytes, Status>;
    async fn snapshot(&self, header: &[u8], chunks: Streaming<RaftSnapshotChunk>) -> Result<Bytes, Status>;
}

#[tonic::async_trait]
impl<M: Machine> Endpoint for Group<M> {
    fn group(&self) -> u32 {
        self.config().group
    }

    fn is_meant(&self, node: u64) -> Result<(), Status> {
        let own = self.config().node;
        let other = || Status::failed_precondition(format!("this is replica {own}, not {node}"));
        (node == own).then_some(()).ok_or_else(other)
    }

    async fn call(&self, kind: Kind, payload: Bytes) -> Result<Bytes, Status> {
        let raft = self.raft();
        let reply = match kind {
            Kind::Append => encode(&raft.append_entries(question(&payload)?).await.map_err(stopped)?),
            Kind::Vote => encode(&raft.vote(question(&payload)?).await.map_err(stopped)?),
            Kind::PreVote => encode(&raft.pre_vote(question(&payload)?).await.map_err(stopped)?),
            Kind::TransferLeader => {
                encode(&raft.handle_transfer_leader(question(&payload)?).await.map_err(stopped)?)
            }
            Kind::Propose => encode(&self.propose_here(payload).await.map_err(Error::for_peer)),
            Kind::ReadIndex => encode(&self.read_index().await.map_err(Error::for_peer)),
            Kind::Membership => {
                let change = question::<Change>(&payload)?;
                encode(&self.change_here(change).await.map_err(Error::for_peer))
            }
            Kind::Digest => {
                self.running().map_err(stopped)?;
                encode(&self.machinery().digest_until(question(&payload)?))
            }
            Kind::Unspecified => {
                return Err(Status::unimplemented("a kind of call that this version does not know"));
            }
        };
        reply.map(Bytes::from).map_err(internal)
    }

    async fn snapshot(&self, header: &[u8], chunks: Streaming<RaftSnapshotChunk>) -> Result<Bytes, Status> {
        let (node, vote, meta): (u64, Vote, SnapshotMeta) = question(header)?;
        self.is_meant(node)?;
        let chunks = chunks.map(|chunk| chunk.map_err(io::Error::other));
        let shared = &self.machinery().store.shared;
        let files = receive(shared, chunks).await;
        if let Some(error) = files.as_ref().err().filter(|error| is_local(error)) {
            shared.database.fail(shared.database.disk(format!("a snapshot cannot be kept: {error}")));
        }
        let files = files.map_err(internal)?;
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Files(files) };
        let response = self.raft().install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        encode(&response).map(Bytes::from).map_err(internal)
    }
}

/// Whether receiving failed for this replica's disk, and not for what came.
fn is_local(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn question<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, Status> {
    decode(payload).map_err(|e| Status::invalid_argument(e.to_string()))
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("the replica has stopped: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err wants it")]
fn internal(error: io::Error) -> Status {
    Status::internal(error.to_string())
}
