//! What nobody sends a packet for: the lease running out.

use std::sync::Arc;
use std::time::Duration;

use revoq_lease::Permitted;

use crate::clock;
use crate::gate::Shut;
use crate::node::Node;

/// Packets are checked as they come; silent sessions wait for this.
const INTERVAL: Duration = Duration::from_millis(50);
/// While the lease runs: it may be replaced by a shorter one, and timers stand still while the machine is suspended.
const INTERVAL_MAX: Duration = Duration::from_millis(500);

/// Says when what the lease permits changes, and closes all sessions when lease and grace are over. Never returns.
pub(super) async fn watch(node: Arc<Node>) {
    let mut before = Permitted::Never;
    loop {
        let now = clock::now();
        let permitted = node.freshness.permitted(now);
        if permitted == before {
            let left = Duration::from_millis(node.freshness.left(now));
            tokio::time::sleep(left.clamp(INTERVAL, INTERVAL_MAX)).await;
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
