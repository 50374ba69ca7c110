//! What the tests of this folder share.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use revoq_proto::v1::{FenceNode, FenceState, FenceUpdate, Transition};
use revoq_tests::{Device, Fleet, Host};

/// The lease of a plan that does not say otherwise.
pub(crate) const LEASE: Duration = Duration::from_secs(1);
/// Its stale grace.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// What a busy machine may take to run a task that is due, to carry a message and to answer.
pub(crate) const SLACK: Duration = Duration::from_secs(1);

/// Many more rounds.
pub(crate) fn long() -> bool {
    std::env::var_os("REVOQ_LONG").is_some()
}

/// How many of something: few, or many in the long form.
pub(crate) fn rounds(few: usize, many: usize) -> usize {
    if long() { many } else { few }
}

/// The longest that a fence takes for a node that does not confirm, from its commit on, as the configuration reference
/// gives it.
pub(crate) fn bound(lease: Duration, grace: Duration) -> Duration {
    lease.mul_f64(1.01) + Duration::from_millis(100) + grace.mul_f64(1.01)
}

/// A fence and how long it took.
pub(crate) struct Fenced {
    pub(crate) update: FenceUpdate,
    pub(crate) at: Instant,
    pub(crate) took: Duration,
}

impl Fenced {
    /// What became of broker `n`.
    pub(crate) fn node(&self, n: usize) -> Result<&FenceNode> {
        let name = Host::Broker(n).to_string();
        let node = self.update.nodes.iter().find(|node| node.name == name);
        node.ok_or_else(|| anyhow::anyhow!("{name} is not in {:#?}", self.update))
    }

    pub(crate) fn expect(&self, n: usize, state: FenceState) -> Result<()> {
        let node = self.node(n)?;
        ensure!(node.state() == state, "{state:?} expected: {node:#?}");
        Ok(())
    }
}

/// Changes the state of a device through replica `n` and follows the fence from the commit.
pub(crate) async fn fence(
    fleet: &Fleet,
    n: usize,
    transition: Transition,
    device: &Device,
) -> Result<Fenced> {
    let revision = fleet.transition(n, transition, device.selector(), false).await?.revision;
    let committed = Instant::now();
    let update = fleet.fence(n, revision).await?;
    let at = Instant::now();
    Ok(Fenced { update, at, took: at - committed })
}

/// A short text of figures: the least, the median and the greatest.
pub(crate) fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort();
    match (sorted.first(), sorted.last()) {
        (Some(least), Some(most)) => {
            format!("min {least:?}, median {:?}, max {most:?} of {}", sorted[sorted.len() / 2], sorted.len())
        }
        _ => "none".to_owned(),
    }
}
