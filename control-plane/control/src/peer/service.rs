//! The service that replicas offer each other.
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{Stream, StreamExt, unfold};
use revoq_proto::v1;
use revoq_proto::v1::control_message::Action;
use revoq_proto::v1::peer_server::Peer;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

use super::grants::Grants;
use crate::lease::{LeaseKeeper, Outlet};
use crate::plane::Plane;

/// Messages of another replica that are taken at once: its brokers acknowledge an event at nearly the same time.
const HEARD_AT_ONCE: usize = 256;

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service that replicas offer each other. Calls must come from replica certificates: the server checks.
pub(crate) struct PeerService {
    plane: Arc<Plane>,
}

impl PeerService {
    /// The service of this replica.
    pub(crate) fn new(plane: Arc<Plane>) -> PeerService {
        PeerService { plane }
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    type LiaiseStream = Out<v1::LeaderMessage>;
    type FenceStream = Out<v1::FenceUpdate>;
    type SessionsStream = Out<v1::PeerSessionsReply>;

    async fn liaise(
        &self,
        request: Request<Streaming<v1::PeerMessage>>,
    ) -> Result<Response<Self::LiaiseStream>, Status> {
        let leadership = self.plane.group.leadership();
        if !leadership.borrow().is_leader {
            return Err(not_leading());
        }
        let grants = Arc::new(Grants::default());
        let outlet: Arc<dyn Outlet> = Arc::<Grants>::clone(&grants);
        let ended = CancellationToken::new();
        let keeper = Arc::clone(&self.plane.leases);
        tokio::spawn(hear(keeper, request.into_inner(), outlet, ended.clone()));
        let replies = Replies { grants, leadership, _guard: ended.clone().drop_guard(), ended };
        Ok(Response::new(Box::pin(unfold(replies, |mut replies| async {
            replies.next().await.map(|reply| (reply, replies))
        }))))
    }

    async fn fence(
        &self,
        request: Request<v1::PeerFenceRequest>,
    ) -> Result<Response<Self::FenceStream>, Status> {
        let updates = self.plane.leases.fence(request.into_inner().revision).await?;
        Ok(Response::new(Box::pin(updates)))
    }

    async fn brokers(
        &self,
        _: Request<v1::PeerBrokersRequest>,
    ) -> Result<Response<v1::PeerBrokersReply>, Status> {
        Ok(Response::new(v1::PeerBrokersReply { brokers: self.plane.leases.status()? }))
    }

    async fn sessions(
        &self,
        request: Request<v1::PeerSessionsRequest>,
    ) -> Result<Response<Self::SessionsStream>, Status> {
        let request = request.into_inner();
        let action = i32::try_from(request.action).ok().and_then(|action| Action::try_from(action).ok());
        let action = action.filter(|action| *action != Action::Unspecified).ok_or_else(|| {
            Status::invalid_argument(format!("action {} is unknown to this replica", request.action))
        })?;
        let filter = request.filter.unwrap_or_default();
        let replies = self.plane.local_sessions(filter, action, request.limit).await;
        let parts = replies.into_iter().flat_map(crate::sessions::in_parts).map(Ok);
        Ok(Response::new(Box::pin(tokio_stream::iter(parts))))
    }
}

/// Takes what another replica says about its brokers, until either side ends it.
async fn hear(
    keeper: Arc<LeaseKeeper>,
    messages: Streaming<v1::PeerMessage>,
    outlet: Arc<dyn Outlet>,
    ended: CancellationToken,
) {
    let mut messages = messages.ready_chunks(HEARD_AT_ONCE);
    loop {
        let ready = tokio::select! {
            ready = messages.next() => ready,
            () = ended.cancelled() => return,
        };
        let heard = match ready {
            Some(ready) => keeper.receive(ready, &outlet),
            None => Err(Status::cancelled("the replica ended it")),
        };
        if let Err(status) = heard {
            tracing::debug!(reason = status.message(), "a replica's stream ends");
            ended.cancel();
            return;
        }
    }
}

struct Replies {
    grants: Arc<Grants>,
    leadership: watch::Receiver<revoq_consensus::Leadership>,
    ended: CancellationToken,
    _guard: DropGuard,
}

impl Replies {
    /// The next grant; an error, once, when this replica has ceased to lead.
    async fn next(&mut self) -> Option<Result<v1::LeaderMessage, Status>> {
        if self.ended.is_cancelled() {
            return None;
        }
        tokio::select! {
            grant = self.grants.next() => Some(Ok(v1::LeaderMessage { grant: Some(grant) })),
            () = self.ended.cancelled() => None,
            _ = self.leadership.wait_for(|now| !now.is_leader) => {
                self.ended.cancel();
                Some(Err(not_leading()))
            }
        }
    }
}

fn not_leading() -> Status {
    Status::failed_precondition("this replica does not lead")
}
