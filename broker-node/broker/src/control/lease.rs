//! What nobody sends a packet for: the lease running out.

use std::time::Duration;

use crate::clock::Now;
use crate::freshness::Standing;
use crate::gate::Shut;
use crate::node::Node;

/// Packets are checked as they come; silent sessions wait for this.
const INTERVAL: Duration = Duration::from_millis(50);

/// Says when the standing changes, and closes all sessions when lease and grace are over. Never returns.
pub(super) async fn watch(node: &Node) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut before = Standing::Never;
    loop {
        ticks.tick().await;
        let standing = node.freshness.standing(Now::read());
        if standing == before {
            continue;
        }
        match standing {
            Standing::Never => {}
            Standing::Fresh => tracing::info!(revision = node.view.load().revision().0, "the view is fresh"),
            Standing::Stale => tracing::warn!("the lease ran out: not ready, sessions live on the grace"),
            Standing::Lapsed => {
                let sessions = node.shut_all(Shut::Lapsed);
                tracing::error!(sessions, "lease and grace ran out: all sessions are closed");
            }
        }
        before = standing;
    }
}
