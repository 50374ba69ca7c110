//! The leases for administrators.
use revoq_lease::NodeLease;
use revoq_proto::v1::BrokerLease;
use tonic::Status;

use super::keeper::{LeaseKeeper, not_leading};
use super::{moment, wall_at};

impl LeaseKeeper {
    /// The brokers as the leader sees them. Fails where this replica does not lead.
    pub(crate) fn status(&self) -> Result<Vec<BrokerLease>, Status> {
        let (now, wall) = (moment(), self.clock.now().0);
        let lines =
            self.leases(|leases| leases.term().map(|_| leases.status(now)))?.ok_or_else(not_leading)?;
        let lease = |line: NodeLease| BrokerLease {
            node: line.node,
            name: line.name,
            status: line.state.name().to_owned(),
            revision: line.revision,
            sessions: line.sessions,
            lease_until_ms: line.until.map_or(0, |until| wall_at(until, (now, wall))),
        };
        Ok(lines.into_iter().map(lease).collect())
    }
}
