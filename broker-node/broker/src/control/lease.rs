//! What nobody sends a packet for: the lease running out.

use std::time::Duration;

use revoq_lease::Permitted;

use crate::clock;
use crate::gate::Shut;
use crate::node::Node;

/// Packets are checked as they come; silent sessions wait for this.
const INTERVAL: Duration = Duration::from_millis(50);

/// Says when what the lease permits changes, and closes all sessions when lease and grace are over. Never returns.
pub(super) async fn watch(node: &Node) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut before = Permitted::Never;
    loop {
        ticks.tick().await;
        let permitted = node.freshness.permitted(clock::now());
        if permitted == before {
            continue;
        }
        match permitted {
            Permitted::Never => {}
            Permitted::Fresh => tracing::info!(revision = node.view.load().revision().0, "the view is fresh"),
            Permitted::Stale => tracing::warn!("the lease ran out: not ready, sessions live on the grace"),
            Permitted::Lapsed => {
                let sessions = node.shut_all(Shut::Lapsed);
                tracing::error!(sessions, "lease and grace ran out: all sessions are closed");
            }
        }
        before = permitted;
    }
}
