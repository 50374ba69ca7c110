//! `$SYS`: figures for clients, under the topics that mosquitto uses.
//!
//! A tenant sees figures of its own clients on this node, and nothing else: tenants share nodes, and from a sum each could
//! tell what the others do. Figures of the whole node are the operator's, in `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use revoq_mqtt::{Publish, PublishProperties, QoS, Topic};
use revoq_session::Message;
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock;
use crate::node::Node;
use crate::router::Space;

/// How the topics of figures begin.
pub(crate) const SYS: &[u8] = b"$SYS/";

/// What the clients of one tenant did on this node since its start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Those that are connected.
    pub(crate) clients: AtomicU64,
    /// Messages that clients published.
    pub(crate) received: AtomicU64,
    /// Messages that were handed to clients, one for each.
    pub(crate) sent: AtomicU64,
    /// Messages that clients did not get because they were too slow.
    pub(crate) dropped: AtomicU64,
}

impl Figures {
    pub(crate) fn add(figure: &AtomicU64, count: u64) {
        figure.fetch_add(count, Ordering::Relaxed);
    }
}

/// Publishes the figures of every tenant that had a client here, each time `interval` has passed.
pub(crate) async fn run(node: Arc<Node>, interval: Duration) {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for space in node.router.spaces() {
            tell(&node, &space, start.elapsed());
            // There may be many tenants.
            tokio::task::yield_now().await;
        }
    }
}

/// Each figure is a retained message: who subscribes gets the last one at once.
fn tell(node: &Node, space: &Space, uptime: Duration) {
    let figures = &space.figures;
    let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed).to_string();
    for (name, value) in [
        ("version", format!("revoq version {}", env!("CARGO_PKG_VERSION"))),
        ("uptime", format!("{} seconds", uptime.as_secs())),
        ("clients/connected", count(&figures.clients)),
        ("publish/messages/received", count(&figures.received)),
        ("publish/messages/sent", count(&figures.sent)),
        ("publish/messages/dropped", count(&figures.dropped)),
        ("subscriptions/count", space.subscriptions().to_string()),
        ("retained messages/count", space.retained.len().0.to_string()),
    ] {
        let topic: Topic = format!("$SYS/broker/{name}").parse().expect("names are fixed, and legal");
        space.announce(&Arc::new(message(topic, value)), node);
    }
}

fn message(topic: Topic, value: String) -> Message {
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: true,
        topic,
        packet_id: None,
        properties: PublishProperties::default(),
        payload: Bytes::from(value),
    };
    Message::new(publish, clock::tick(clock::now()))
}
