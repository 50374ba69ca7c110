//! The replica's applied state, as the watch reads it.
use std::sync::Arc;

use revoq_consensus::Group;
use revoq_credentials::{Event, SealedTicketKeys};
use revoq_proto::v1;

use crate::error::Error;
use crate::lease::moment;
use crate::machine::Credentials;
use crate::watch::{ChangeRows, FeedEvent, Rows, Snapshot, Stored};

/// The group and the machine that encodes its events.
pub(crate) struct GroupState {
    pub(crate) group: Group<Credentials>,
    pub(crate) machine: Arc<Credentials>,
}

impl Rows for GroupState {
    fn changes(&self, after: u64, limit: usize) -> Result<Option<ChangeRows>, Error> {
        match self.group.changes(after, limit) {
            Ok(rows) => Ok(Some(rows)),
            Err(revoq_consensus::Error::Compacted { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn encode(&self, _: u64, event: Event) -> FeedEvent {
        self.machine.feed_event(event, false, moment())
    }
}

#[tonic::async_trait]
impl Stored for GroupState {
    fn as_rows(&self) -> &dyn Rows {
        self
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let reader = self.group.reader()?;
        let revision = reader.applied();
        Ok(Snapshot::new(Box::new(reader), revision))
    }

    fn open(&self, sealed: &SealedTicketKeys) -> Option<v1::TicketKeys> {
        self.machine.open(sealed)
    }

    async fn barrier(&self) -> Result<u64, Error> {
        Ok(self.group.read_barrier().await?)
    }
}
