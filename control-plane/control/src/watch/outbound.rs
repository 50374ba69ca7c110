//! What a broker is sent on its watch stream.
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use revoq_credentials::Change;
use revoq_proto::v1::ControlMessage;
use revoq_proto::v1::control_message::{Events, Grant, Message, Progress};
use revoq_proto::v1::leader_message;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::DropGuard;
use tonic::Status;

use super::feed::FeedEvent;
use super::links::Links;
use super::source::{Next, read_on};
use super::watcher::{Sending, Watcher};
use crate::counts::{Limit, Resync};
use crate::status::status;

/// A broker that only sees revisions pass learns of them this late: its resume point keeps up.
const PROGRESS: Duration = Duration::from_secs(1);

/// A node that was removed has this long to acknowledge that before its stream ends.
const REMOVED_LINGER: Duration = Duration::from_secs(2);

/// How long a resume point ahead of this replica is looked into before it is taken as given.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);

/// How a stream begins.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) watcher: Arc<Watcher>,
    /// What the broker has already; 0: nothing.
    pub(crate) revision: u64,
}

/// The messages to one broker. `guard` tells the inbound side when this is dropped.
pub(crate) fn outbound(
    links: Arc<Links>,
    opening: oneshot::Receiver<Result<Opening, Status>>,
    guard: DropGuard,
) -> impl Stream<Item = Result<ControlMessage, Status>> {
    let begin = Stage::Opening { links, opening, guard };
    unfold(begin, |stage| async move {
        let mut outbound = match stage {
            Stage::Opening { links, opening, guard } => match opening.await {
                Ok(Ok(opening)) => Box::new(Outbound::open(links, opening, guard).await),
                Ok(Err(status)) => return Some((Err(status), Stage::Ended)),
                Err(_) => return None,
            },
            Stage::Running(outbound) => outbound,
            Stage::Ended => return None,
        };
        match outbound.next().await {
            Ok(message) => Some((Ok(message), Stage::Running(outbound))),
            Err(status) => Some((Err(status), Stage::Ended)),
        }
    })
}

enum Stage {
    Opening { links: Arc<Links>, opening: oneshot::Receiver<Result<Opening, Status>>, guard: DropGuard },
    Running(Box<Outbound>),
    Ended,
}

struct Outbound {
    links: Arc<Links>,
    watcher: Arc<Watcher>,
    applied: watch::Receiver<u64>,
    /// Everything up to here was sent.
    cursor: u64,
    /// The broker knows that it has everything up to here.
    told: u64,
    /// When the broker is to be told how far `cursor` is beyond `told`, where it is.
    progress_due: Option<Instant>,
    /// Wakes at `progress_due`, or when a node that was removed has had its time.
    timer: Pin<Box<Sleep>>,
    wants_snapshot: Option<Resync>,
    /// A grant whose progress frame is out.
    granted: Option<leader_message::Grant>,
    /// This node was removed at a revision; the stream ends then, at the latest.
    removed: Option<(u64, Instant)>,
    _guard: DropGuard,
}

impl Outbound {
    async fn open(links: Arc<Links>, opening: Opening, guard: DropGuard) -> Outbound {
        let revision = opening.revision;
        let known = revision <= links.feed.revision() || !from_another_history(&links, revision).await;
        Outbound {
            applied: links.feed.applied(),
            watcher: opening.watcher,
            cursor: revision,
            told: revision,
            progress_due: None,
            timer: Box::pin(sleep_until(Instant::now())),
            wants_snapshot: match revision {
                0 => Some(Resync::New),
                _ => (!known).then_some(Resync::Foreign),
            },
            granted: None,
            removed: None,
            links,
            _guard: guard,
        }
    }

    async fn next(&mut self) -> Result<ControlMessage, Status> {
        self.watcher.asked();
        loop {
            if let Some(reason) = self.watcher.reason() {
                return Err(reason);
            }
            if let Some(why) = self.wants_snapshot {
                self.begin_snapshot(why).await?;
            }
            // Marked as seen before it is read: what comes meanwhile wakes us again.
            self.applied.mark_unchanged();
            if let Some(message) = self.ready()? {
                self.watcher.taken();
                return Ok(ControlMessage { message: Some(message) });
            }
            if self.wants_snapshot.is_none() {
                self.wait().await;
            }
        }
    }

    /// Sleeps until there may be something to send.
    async fn wait(&mut self) {
        let behind = self.told < self.cursor;
        self.progress_due = behind.then(|| self.progress_due.unwrap_or_else(|| Instant::now() + PROGRESS));
        // Of a node that was removed, its ack is looked for as well, which wakes nobody.
        let removed = self.removed.map(|(_, end)| end.min(Instant::now() + PROGRESS));
        let due = self.progress_due.into_iter().chain(removed).min();
        // It stays set where it is right: setting it costs more than what else there is to wait for.
        if let Some(due) = due.filter(|due| *due != self.timer.deadline()) {
            self.timer.as_mut().reset(due);
        }
        tokio::select! {
            _ = self.applied.changed() => {}
            () = self.watcher.wake.notified() => {}
            () = self.timer.as_mut(), if due.is_some() => {}
        }
    }

    async fn begin_snapshot(&mut self, why: Resync) -> Result<(), Status> {
        let waits = self.links.snapshots.available_permits() == 0;
        self.links.counts.limit(Limit::Snapshots, usize::from(waits));
        let permit = tokio::select! {
            permit = Arc::clone(&self.links.snapshots).acquire_owned() => permit,
            // The reason is found where it is looked for next.
            () = self.watcher.closed.cancelled() => return Ok(()),
        };
        let permit = permit.map_err(|_| Status::unavailable("this replica is shutting down"))?;
        let snapshot = self.links.stored.snapshot().map_err(status)?;
        self.links.counts.snapshot(why);
        self.wants_snapshot = None;
        self.watcher.send_snapshot(Sending { snapshot, _permit: permit });
        Ok(())
    }

    /// What can be sent now.
    fn ready(&mut self) -> Result<Option<Message>, Status> {
        if let Some(message) = self.next_chunk()? {
            return Ok(Some(message));
        }
        // Closing takes a snapshot away: nothing that builds on it may follow.
        if let Some(reason) = self.watcher.reason() {
            return Err(reason);
        }
        if let Some(message) = self.next_grant() {
            return Ok(Some(message));
        }
        if let Some(query) = self.watcher.next_query() {
            return Ok(Some(Message::Sessions(query)));
        }
        if let Some(message) = self.next_events()? {
            return Ok(Some(message));
        }
        self.end_if_removed();
        Ok(self.progress_is_due().then(|| self.progress()))
    }

    fn next_chunk(&mut self) -> Result<Option<Message>, Status> {
        let mut held = self.watcher.sending();
        let Some(sending) = held.as_mut() else { return Ok(None) };
        let stored = Arc::clone(&self.links.stored);
        let chunk = sending.snapshot.next_chunk(&mut |sealed| stored.open(sealed)).map_err(status)?;
        // With the last chunk the permit is free, however long the broker takes to read it.
        if chunk.as_ref().is_none_or(|chunk| chunk.last) {
            self.cursor = sending.snapshot.revision();
            self.told = self.cursor;
            *held = None;
        }
        Ok(chunk.map(Message::Snapshot))
    }

    /// A grant whose events are all sent, after a frame that tells the broker where it stands: the ack of that
    /// frame shows a leader that the broker lives.
    fn next_grant(&mut self) -> Option<Message> {
        if self.granted.is_none() {
            self.granted = self.watcher.next_grant(self.cursor);
            if self.granted.is_some() && self.told < self.cursor {
                return Some(self.progress());
            }
        }
        let grant = self.granted.take()?;
        Some(Message::Grant(Grant { sequence: grant.sequence, lease_ms: grant.lease_ms }))
    }

    fn next_events(&mut self) -> Result<Option<Message>, Status> {
        loop {
            let next = read_on(&self.links.feed, self.links.stored.as_rows(), self.cursor).map_err(status)?;
            match next {
                Next::Events { events, cursor } => {
                    self.cursor = cursor;
                    return Ok(Some(self.events(&events)));
                }
                Next::Idle { cursor } if cursor > self.cursor => self.cursor = cursor,
                Next::Idle { .. } => return Ok(None),
                Next::Resync(why) => {
                    self.wants_snapshot = Some(why);
                    return Ok(None);
                }
            }
        }
    }

    fn events(&mut self, events: &[Arc<FeedEvent>]) -> Message {
        for event in events {
            self.told = event.revision;
            let me = self.watcher.node;
            let named = |change: &Change| matches!(change, Change::NodeRemoved(node) if *node == me);
            if event.nodes && event.event.changes.iter().any(named) {
                self.removed = Some((event.revision, Instant::now() + REMOVED_LINGER));
            }
        }
        Message::Events(Events { events: events.iter().filter_map(|event| event.wire.clone()).collect() })
    }

    fn progress_is_due(&self) -> bool {
        self.told < self.cursor && self.progress_due.is_some_and(|due| due <= Instant::now())
    }

    fn progress(&mut self) -> Message {
        (self.told, self.progress_due) = (self.cursor, None);
        Message::Progress(Progress { revision: self.cursor })
    }

    fn end_if_removed(&self) {
        if let Some((revision, end)) = self.removed
            && (self.watcher.acknowledged() >= revision || Instant::now() >= end)
        {
            self.watcher.close(Status::permission_denied("this node was removed from the cluster"));
        }
    }
}

/// Whether a resume point is one that this cluster never reached: the broker's view is of a history that was
/// lost, and it must begin anew. Where nobody can tell, the point is taken as given: nothing is sent and nothing
/// is granted before this replica has come as far.
async fn from_another_history(links: &Links, revision: u64) -> bool {
    match timeout(BARRIER_TIMEOUT, links.stored.barrier()).await {
        Ok(Ok(index)) => revision > index,
        Ok(Err(_)) | Err(_) => false,
    }
}
