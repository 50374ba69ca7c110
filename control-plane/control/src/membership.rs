//! Driver: keeps the membership of the replicated log equal to the replicas that have joined.
//!
//! A replica that joined has a row first and becomes a member after that, as a learner and then as a voter; one that
//! was removed loses its row first. Whoever leads sees to the second step, so that it is taken also when the replica
//! that served the first one is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use revoq_credentials::{NodeKind, query};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::Error;
use crate::plane::Plane;

/// Between two looks: each reads every row, and a thousand brokers may join at once.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Runs until `stop`; `nodes` moves with the rows of nodes.
pub(crate) async fn keep(plane: Arc<Plane>, mut nodes: watch::Receiver<u64>, stop: CancellationToken) {
    let mut leadership = plane.group.leadership();
    let work = async {
        let mut tried = 0;
        loop {
            nodes.mark_unchanged();
            let leads = leadership.borrow_and_update().is_leader;
            let settled = !leads
                || adjust(&plane, &mut tried).await.unwrap_or_else(|error| {
                    debug!(%error, "the membership is not adjusted");
                    false
                });
            sleep(LOOK_PAUSE).await;
            if !settled {
                continue;
            }
            let changed = tokio::select! {
                changed = nodes.changed(), if leads => changed,
                changed = leadership.changed() => changed,
            };
            // The group has stopped.
            if changed.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// One step at most: each is a change of the membership of its own. `tried` was added last: the others get their
/// turn, should it not be reachable. Whether there was nothing to do.
async fn adjust(plane: &Plane, tried: &mut u64) -> Result<bool, Error> {
    // Linearizable: a row that was committed before its membership is in it.
    let rows: BTreeMap<u64, String> = {
        let reader = plane.read().await?;
        let replicas = query::nodes(&reader)?.into_iter().filter(|node| node.kind == NodeKind::Replica);
        replicas.map(|node| (node.id.0, node.address.unwrap_or_default())).collect()
    };
    if rows.is_empty() {
        return Ok(true);
    }
    let members = plane.group.status().members;
    if let Some(gone) = members.iter().find(|member| !rows.contains_key(&member.node)) {
        info!(node = gone.node, "removing a replica from the membership");
        plane.group.remove_replica(gone.node).await?;
        return Ok(false);
    }
    let is_voter = |node: u64| members.iter().any(|member| member.node == node && member.voter);
    let waiting: Vec<_> = rows.iter().filter(|(node, _)| !is_voter(**node)).collect();
    let next = waiting.iter().find(|(node, _)| **node > *tried).or(waiting.first());
    if let Some((node, address)) = next {
        *tried = **node;
        info!(node, address, "adding a replica to the membership");
        match plane.group.add_replica(**node, address).await {
            Ok(()) => info!(node, "the replica votes"),
            Err(error) => warn!(node, %error, "the replica does not vote yet; it is tried again"),
        }
    }
    Ok(next.is_none())
}
