//! The watch driver: a thread of its own with a runtime of its own, so that the way from an event to the gates never
//! queues behind handshakes.

mod apply;
mod lease;
mod sessions;
mod stream;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rand::RngExt as _;
use revoq_proto::client::{ControlChannel, Options, Tls};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::node::Node;
use stream::Ended;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long saying farewell may take, from a stream that is just being opened on.
const FAREWELL_MAX: Duration = Duration::from_secs(3);

/// What the driver is made of.
pub(crate) struct Driver {
    pub(crate) node: Arc<Node>,
    pub(crate) addresses: Vec<String>,
    pub(crate) tls: Tls,
    /// Drawn at each start of the process.
    pub(crate) incarnation: [u8; 16],
    /// Where lists of sessions are made, which are in no hurry.
    pub(crate) workers: Handle,
    /// Every gate is shut: say farewell and end.
    pub(crate) farewell: CancellationToken,
    /// End at once.
    pub(crate) kill: CancellationToken,
}

impl Driver {
    /// Starts the thread.
    pub(crate) fn spawn(self) -> Result<JoinHandle<()>, Error> {
        let failed = |error| Error::Thread("watch", error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || runtime.block_on(self.run()))
            .map_err(failed)
    }

    async fn run(self) {
        // By itself, so that its looks at the clock do not poll the stream.
        tokio::spawn(lease::watch(self.node.clone()));
        tokio::select! {
            biased;
            () = self.kill.cancelled() => {}
            () = self.keep_watching() => {}
        }
    }

    /// A farewell that no replica takes.
    async fn give_up(&self) {
        self.farewell.cancelled().await;
        tokio::time::sleep(FAREWELL_MAX).await;
    }

    /// Opens one stream after the other until one ends for good.
    async fn keep_watching(&self) {
        // The channels' tasks live on this thread too.
        let channel = ControlChannel::new(&self.addresses, &self.tls, Options::default());
        let channel = match channel {
            Ok(channel) => channel.in_order_of(self.node.id.0),
            Err(error) => {
                tracing::error!(%error, "the control plane cannot be watched");
                return std::future::pending().await;
            }
        };
        let mut pause = PAUSE_MIN;
        let mut sequence = 0;
        loop {
            let (address, replica) = channel.current();
            let ended = tokio::select! {
                ended = stream::watch(self, replica, &mut sequence) => ended,
                () = self.give_up() => return,
            };
            match ended {
                Ended::Farewell => return,
                Ended::Removed => pause = PAUSE_MAX,
                Ended::Lost { reason, served } => {
                    tracing::warn!(replica = address, %reason, "watch lost");
                    pause = if served { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
                }
            }
            channel.failed(address);
            // Spread, or all brokers of a lost replica would arrive at the next one together.
            let jitter = rand::rng().random_range(0.5..1.5);
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(jitter)) => {}
                () = self.farewell.cancelled() => return,
            }
        }
    }
}
