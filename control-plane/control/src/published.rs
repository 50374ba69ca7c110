//! When a replica applied what was committed: for measurements.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::error::Error;
use crate::lease::moment;
use crate::watch::Feed;

/// A change that this replica has applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its revision.
    pub revision: u64,
    /// When it was known to be committed, and applied.
    pub at: Instant,
}

/// Changes from now on, in order.
pub struct Published {
    feed: Arc<Feed>,
    applied: watch::Receiver<u64>,
    last: u64,
}

impl Published {
    pub(crate) fn new(feed: &Arc<Feed>) -> Published {
        Published { feed: feed.clone(), applied: feed.applied(), last: feed.revision() }
    }

    /// The next change. Those that were forgotten before they were asked for are passed over.
    pub async fn recv(&mut self) -> Result<Publication, Error> {
        loop {
            let applied = *self.applied.borrow_and_update();
            while self.last < applied {
                self.last += 1;
                if let Some(then) = self.feed.applied_at(self.last) {
                    let at = Instant::now() - moment().saturating_sub(then);
                    return Ok(Publication { revision: self.last, at });
                }
            }
            let ended = |_| Error::Unavailable("the replica has stopped".to_owned());
            self.applied.changed().await.map_err(ended)?;
        }
    }
}
