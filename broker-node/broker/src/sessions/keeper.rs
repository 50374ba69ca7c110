//! Does what time brings for sessions whose clients are away: wills, and the end.

use std::sync::Arc;
use std::time::Duration;

use super::{Due, publish_will};
use crate::clock;
use crate::node::Node;

/// Delays and expiry are in seconds.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Never returns.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    loop {
        interval.tick().await;
        for due in node.sessions.take_due(clock::now().boot) {
            match due {
                Due::Will { space, message } => publish_will(&node, &space, &message),
                Due::Expired(away) => {
                    node.metrics.sessions_expired.inc();
                    away.end(&node);
                }
            }
        }
    }
}
