//! What the leader does unasked.
use std::sync::Arc;
use std::time::Duration;

use revoq_credentials::{NodeId, Operation};
use revoq_lease::Leases;
use tokio_util::sync::CancellationToken;

use super::keeper::LeaseKeeper;
use super::{millis, moment};
use crate::machine::Marks;

/// How often the leader looks at its duties.
const LOOK: Duration = Duration::from_secs(1);

/// A broker node of which nothing was heard for so long, beyond all that it may have held, is forgotten. One that
/// keeps its certificate in files may be down for an evening and must find its row again.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Nodes that are forgotten at one look.
const FORGET_AT_ONCE: usize = 16;

/// What is to be proposed now.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Ticket keys are to be replaced.
    pub(crate) ticket_keys: bool,
    /// Nodes that are to be removed.
    pub(crate) forget: Vec<Operation>,
}

/// Calls `act` with what is due, as long as this replica leads and until `stop`.
pub(crate) async fn duties<F: Future<Output = ()>>(
    keeper: Arc<LeaseKeeper>,
    marks: Arc<Marks>,
    stop: CancellationToken,
    act: impl Fn(Due) -> F,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        keeper.refresh();
        if let Some(due) = keeper.due(&marks) {
            act(due).await;
        }
    }
}

impl LeaseKeeper {
    /// What is due; `None` if this replica does not lead or nothing is.
    fn due(&self, marks: &Marks) -> Option<Due> {
        let settled =
            |leases: &mut Leases| leases.settled().then(|| leases.forgettable(moment(), FORGET_AFTER));
        let gone = self.leases(settled).ok().flatten()?;
        let rotation = millis(self.ticket_rotation());
        let ticket_keys = self.clock.now().0 >= marks.ticket_keys().saturating_add(rotation);
        let remove = |node| Operation::RemoveNode { node: NodeId(node) };
        let forget: Vec<_> = gone.into_iter().take(FORGET_AT_ONCE).map(remove).collect();
        (ticket_keys || !forget.is_empty()).then_some(Due { ticket_keys, forget })
    }
}
