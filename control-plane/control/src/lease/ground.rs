//! What the keeper of the leases stands on: the replicated state and the quorum.
use std::time::Duration;

use revoq_consensus::Group;
use revoq_credentials::{Event, NodeKind, Settings, query};
use revoq_lease::{NodeRow, Proof};

use crate::error::Error;
use crate::machine::Credentials;

/// Stored events that are read at a time.
const PAST_ROWS: usize = 1_000;

/// The replicated state and the quorum.
#[tonic::async_trait]
pub(crate) trait Ground: Send + Sync + 'static {
    /// The broker nodes' rows, and the revision at which they stand so.
    fn brokers(&self) -> Result<(u64, Vec<NodeRow>), Error>;

    /// The settings, and the revision at which they stand so.
    fn settings(&self) -> Result<(u64, Settings), Error>;

    /// Shows each event after a revision that is still stored, in order.
    fn past(&self, after: u64, each: &mut dyn FnMut(&Event)) -> Result<(), Error>;

    /// Asks a quorum whether this replica leads: in which term, and the commit index, once it is certain.
    async fn prove(&self) -> Result<Proof, Error>;

    /// Waits until the state stands at `index` or later.
    async fn wait_applied(&self, index: u64, patience: Duration) -> Result<(), Error>;
}

#[tonic::async_trait]
impl Ground for Group<Credentials> {
    fn brokers(&self) -> Result<(u64, Vec<NodeRow>), Error> {
        let reader = self.reader()?;
        let rows = query::nodes(&reader)?.into_iter().filter(|node| node.kind == NodeKind::Broker);
        let rows = rows.map(|node| NodeRow {
            node: node.id.0,
            name: node.name.to_string(),
            joined: node.revision.map_or(0, |revision| revision.0),
        });
        Ok((reader.applied(), rows.collect()))
    }

    fn settings(&self) -> Result<(u64, Settings), Error> {
        let reader = self.reader()?;
        Ok((reader.applied(), query::settings(&reader)?))
    }

    fn past(&self, after: u64, each: &mut dyn FnMut(&Event)) -> Result<(), Error> {
        let mut after = after;
        loop {
            let rows = match self.changes(after, PAST_ROWS) {
                Err(revoq_consensus::Error::Compacted { oldest }) if oldest > after + 1 => {
                    after = oldest - 1;
                    continue;
                }
                rows => rows?,
            };
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = *last;
            for (_, row) in &rows {
                each(&Event::decode(row).map_err(|error| Error::corrupt("a change row", error))?);
            }
        }
    }

    async fn prove(&self) -> Result<Proof, Error> {
        let proof = self.prove_leadership().await?;
        Ok(Proof { term: proof.term, commit: proof.index })
    }

    async fn wait_applied(&self, index: u64, patience: Duration) -> Result<(), Error> {
        Ok(Group::wait_applied(self, index, patience).await?)
    }
}
