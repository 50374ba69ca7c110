//! Does what time brings for sessions whose clients are away: wills, and the end.

use std::sync::Arc;

use super::{Due, publish_will};
use crate::node::Node;

/// Never returns.
pub(crate) async fn keep(node: Arc<Node>) {
    loop {
        for due in node.sessions.due().await {
            match due {
                Due::Will { space, from, message } => publish_will(&node, &space, from, &message),
                Due::Expired(away) => {
                    node.metrics.sessions_expired.inc();
                    away.end(&node);
                }
            }
        }
    }
}
