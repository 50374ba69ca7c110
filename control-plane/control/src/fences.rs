//! Fences from any replica: at the leader, wherever it is, and on to the next one when it moves.
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use revoq_proto::v1::{FenceUpdate, PeerFenceRequest};
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use tracing::debug;

use crate::plane::Plane;

/// How long a fence waits for a leader before it gives up.
const LEADERLESS_PATIENCE: Duration = Duration::from_secs(30);

/// Between two attempts; an election takes some hundreds of milliseconds.
const RETRY: Duration = Duration::from_millis(50);

type Updates = Pin<Box<dyn Stream<Item = Result<FenceUpdate, Status>> + Send>>;

struct Following {
    plane: Arc<Plane>,
    revision: u64,
    updates: Option<Updates>,
    done: bool,
}

/// The fence of a committed revision. Fails at once where the revision is not committed.
pub(crate) async fn fence(
    plane: Arc<Plane>,
    revision: u64,
) -> Result<impl Stream<Item = Result<FenceUpdate, Status>> + use<>, Status> {
    let updates = find(&plane, revision).await?;
    let following = Following { plane, revision, updates: Some(updates), done: false };
    Ok(unfold(following, |mut following| async {
        let update = following.next().await?;
        Some((update, following))
    }))
}

impl Following {
    async fn next(&mut self) -> Option<Result<FenceUpdate, Status>> {
        while !self.done {
            let updates = match &mut self.updates {
                Some(updates) => updates,
                None => match find(&self.plane, self.revision).await {
                    Ok(updates) => self.updates.insert(updates),
                    Err(status) => {
                        self.done = true;
                        return Some(Err(status));
                    }
                },
            };
            match updates.next().await {
                Some(Ok(update)) => {
                    self.done = update.complete;
                    return Some(Ok(update));
                }
                Some(Err(status)) if !moves(&status) => {
                    self.done = true;
                    return Some(Err(status));
                }
                Some(Err(_)) | None => self.updates = None,
            }
        }
        None
    }
}

/// Whether another replica, or the same a little later, may answer.
fn moves(status: &Status) -> bool {
    let codes =
        [Code::FailedPrecondition, Code::Unavailable, Code::Cancelled, Code::Unknown, Code::DeadlineExceeded];
    codes.contains(&status.code())
}

/// The fence at whoever leads now or soon.
async fn find(plane: &Plane, revision: u64) -> Result<Updates, Status> {
    let end = Instant::now() + LEADERLESS_PATIENCE;
    loop {
        let status = match at_leader(plane, revision).await {
            Ok(updates) => return Ok(updates),
            Err(status) if !moves(&status) || Instant::now() > end => return Err(status),
            Err(status) => status,
        };
        debug!(revision, reason = status.message(), "a fence finds no leader; tried again");
        sleep(RETRY).await;
    }
}

async fn at_leader(plane: &Plane, revision: u64) -> Result<Updates, Status> {
    let leadership = plane.group.leadership().borrow().clone();
    if leadership.is_leader {
        return Ok(Box::pin(plane.leases.fence(revision).await?));
    }
    let address = leadership.leader_address.ok_or_else(|| Status::unavailable("nobody leads"))?;
    let updates = plane.peers.client(&address)?.fence(PeerFenceRequest { revision }).await?;
    Ok(Box::pin(updates.into_inner()))
}
