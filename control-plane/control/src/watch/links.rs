//! What a watch stream needs of its replica.
use std::sync::Arc;

use revoq_credentials::SealedTicketKeys;
use revoq_proto::v1;
use tokio::sync::Semaphore;

use super::feed::Feed;
use super::snapshot::Snapshot;
use super::source::Rows;
use super::usage::Usage;
use super::watchers::Watchers;
use crate::clock::Clock;
use crate::counts::Counts;
use crate::peer::Liaison;

/// Snapshots that are sent at the same time; further brokers wait. Each pins a state of the store.
pub(super) const SNAPSHOTS_MAX: usize = 32;

/// The applied state of this replica.
#[tonic::async_trait]
pub(crate) trait Stored: Rows {
    /// Its change rows.
    fn as_rows(&self) -> &dyn Rows;

    /// A snapshot of the state as it is now.
    fn snapshot(&self) -> Result<Snapshot, crate::Error>;

    /// Ticket keys as brokers get them.
    fn open(&self, sealed: &SealedTicketKeys) -> Option<v1::TicketKeys>;

    /// An index such that everything that any broker can have seen by now is at or before it.
    async fn barrier(&self) -> Result<u64, crate::Error>;
}

/// What a watch stream needs of its replica.
pub(crate) struct Links {
    pub(crate) feed: Arc<Feed>,
    pub(crate) stored: Arc<dyn Stored>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) liaison: Arc<Liaison>,
    pub(crate) usage: Arc<Usage>,
    pub(crate) clock: Clock,
    pub(crate) snapshots: Arc<Semaphore>,
    pub(crate) counts: Counts,
}

impl Links {
    /// Permits for snapshots.
    pub(crate) fn snapshots() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(SNAPSHOTS_MAX))
    }
}
