//! Grants that wait for the stream to the replica that serves the broker.
use std::collections::HashMap;

use parking_lot::Mutex;
use revoq_proto::v1::leader_message::Grant;
use tokio::sync::Notify;

use crate::lease::Outlet;

/// The latest grant of each node: a later one covers those before it.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    waiting: Mutex<HashMap<u64, Grant>>,
    wake: Notify,
}

impl Grants {
    pub(crate) async fn next(&self) -> Grant {
        loop {
            {
                let mut waiting = self.waiting.lock();
                let node = waiting.keys().next().copied();
                if let Some(grant) = node.and_then(|node| waiting.remove(&node)) {
                    return grant;
                }
            }
            self.wake.notified().await;
        }
    }
}

impl Outlet for Grants {
    fn grant(&self, grant: Grant) {
        self.waiting.lock().insert(grant.node, grant);
        self.wake.notify_one();
    }
}
