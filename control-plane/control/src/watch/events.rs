//! Events for people: `revoqctl watch`.
use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{Stream, unfold};
use revoq_credentials::Event;
use tokio::sync::watch;
use tonic::Status;

use super::feed::{Feed, FeedEvent};
use super::links::Stored;
use super::source::{Next, read_on};
use crate::counts::Resync;
use crate::status::status;

struct Reader {
    feed: Arc<Feed>,
    stored: Arc<dyn Stored>,
    applied: watch::Receiver<u64>,
    cursor: u64,
    ready: VecDeque<Arc<FeedEvent>>,
}

/// The events after a revision, for ever. Ends with `OUT_OF_RANGE` if some are gone.
pub(crate) fn events(
    feed: Arc<Feed>,
    stored: Arc<dyn Stored>,
    after: u64,
) -> impl Stream<Item = Result<Arc<Event>, Status>> {
    let applied = feed.applied();
    let reader = Reader { feed, stored, applied, cursor: after, ready: VecDeque::new() };
    unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(event) => Some((Ok(event), Some(reader))),
            Err(status) => Some((Err(status), None)),
        }
    })
}

impl Reader {
    async fn next(&mut self) -> Result<Arc<Event>, Status> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Arc::clone(&event.event));
            }
            self.applied.mark_unchanged();
            match read_on(&self.feed, self.stored.as_rows(), self.cursor).map_err(status)? {
                Next::Events { events, cursor } => {
                    self.ready = events.into();
                    self.cursor = cursor;
                }
                Next::Idle { cursor } if cursor > self.cursor => self.cursor = cursor,
                Next::Idle { .. } => {
                    if self.applied.changed().await.is_err() {
                        return Err(Status::unavailable("this replica is shutting down"));
                    }
                }
                Next::Resync(why) => return Err(self.gone(why)),
            }
        }
    }

    fn gone(&self, why: Resync) -> Status {
        let what = match why {
            Resync::Oversized => "the next event is too large to show",
            Resync::New | Resync::Compacted | Resync::Foreign => "the events after it are compacted",
        };
        let cursor = self.cursor;
        Status::out_of_range(format!("revision {cursor}: {what}; begin from the present revision"))
    }
}
