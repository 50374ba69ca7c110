//! Driver: keeps the membership of the replicated log equal to the replicas that have joined.
//!
//! A replica that joined has a row first and becomes a member after that, as a learner and then as a voter; one that
//! was removed loses its row first. Whoever leads sees to the second step, so that it is taken also when the replica
//! that served the first one is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use revoq_credentials::{NodeKind, query};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::Error;
use crate::plane::Plane;

const CHECK_EVERY: Duration = Duration::from_millis(500);

/// Runs until `shutdown`.
pub(crate) async fn keep(plane: Arc<Plane>, shutdown: CancellationToken) {
    let mut ticks = interval(CHECK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = async {
        let mut tried = 0;
        loop {
            ticks.tick().await;
            if !plane.group.leadership().borrow().is_leader {
                continue;
            }
            if let Err(error) = adjust(&plane, &mut tried).await {
                debug!(%error, "the membership is not adjusted");
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

/// One step at most: each is a change of the membership of its own. `tried` was added last: the others get their
/// turn, should it not be reachable.
async fn adjust(plane: &Plane, tried: &mut u64) -> Result<(), Error> {
    // Linearizable: a row that was committed before its membership is in it.
    let rows: BTreeMap<u64, String> = {
        let reader = plane.read().await?;
        let replicas = query::nodes(&reader)?.into_iter().filter(|node| node.kind == NodeKind::Replica);
        replicas.map(|node| (node.id.0, node.address.unwrap_or_default())).collect()
    };
    if rows.is_empty() {
        return Ok(());
    }
    let members = plane.group.status().members;
    if let Some(gone) = members.iter().find(|member| !rows.contains_key(&member.node)) {
        info!(node = gone.node, "removing a replica from the membership");
        return Ok(plane.group.remove_replica(gone.node).await?);
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
    Ok(())
}
