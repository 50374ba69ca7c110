//! Events at a steady rate, and when they reached everybody.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use revoq_proto::v1;
use revoq_proto::v1::credentials_client::CredentialsClient;
use serde::Serialize;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::crowd::Crowd;
use super::scene::Scene;
use crate::statistics::Spread;

/// An event that has not reached everybody within this is one that does not.
const REACHES_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Calls in flight of a burst.
const BURST_IN_FLIGHT: usize = 64;

/// When the events of a phase reached everybody.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Reach {
    /// From the leader's commit to the moment at which the last broker acknowledged.
    pub(crate) commit_to_last_ack: Spread,
    /// From the leader's commit to the leader's receipt of the last ack, as the fence says; nothing without fences.
    pub(crate) commit_to_fence: Spread,
    /// Events that came twice to one broker, or out of order.
    pub(crate) repeated: u64,
    /// Events that a broker did not get as events.
    pub(crate) missed: u64,
    /// Leases that ran out.
    pub(crate) lapsed: u64,
    /// Snapshots that were sent.
    pub(crate) snapshots: u64,
    /// Calls that were refused or failed.
    pub(crate) failed: u64,
}

/// What the calls of a phase came to.
#[derive(Default)]
pub(crate) struct Called {
    pub(crate) revisions: Vec<u64>,
    /// Nanoseconds from commit to the last ack, where the fence was followed.
    fences: Vec<u64>,
    failed: u64,
}

/// Suspends and reactivates certificates, one after the other, `rate` a second; follows each one's fence if asked to.
pub(crate) async fn steady(scene: &mut Scene, events: usize, rate: u32, fences: bool) -> Result<Called> {
    let channel = scene.cluster.leader_channel().await?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut calls = JoinSet::new();
    for _ in 0..events {
        ticks.tick().await;
        calls.spawn(call(channel.clone(), scene.next_change(), fences));
    }
    gather(calls).await
}

/// As fast as it goes.
pub(crate) async fn burst(scene: &mut Scene, events: usize) -> Result<Called> {
    let channel = scene.cluster.leader_channel().await?;
    let mut calls = JoinSet::new();
    let mut done = Called::default();
    for _ in 0..events {
        if calls.len() >= BURST_IN_FLIGHT
            && let Some(ended) = calls.join_next().await
        {
            done.take(ended?);
        }
        calls.spawn(call(channel.clone(), scene.next_change(), false));
    }
    while let Some(ended) = calls.join_next().await {
        done.take(ended?);
    }
    Ok(done)
}

/// The revision, and nanoseconds to the last ack.
async fn call(channel: Channel, request: v1::TransitionRequest, fence: bool) -> Result<(u64, Option<u64>)> {
    let mut client = CredentialsClient::new(channel);
    let revision = client.transition(request).await?.into_inner().revision;
    if !fence {
        return Ok((revision, None));
    }
    let mut updates = client.fence(v1::FenceRequest { revision }).await?.into_inner();
    while let Some(update) = updates.message().await? {
        if update.complete {
            let last = update.nodes.iter().map(|node| node.confirmed_micros).max();
            return Ok((revision, last.map(|micros| micros * 1_000)));
        }
    }
    bail!("the fence of {revision} ended before it was complete")
}

async fn gather(mut calls: JoinSet<Result<(u64, Option<u64>)>>) -> Result<Called> {
    let mut done = Called::default();
    while let Some(ended) = calls.join_next().await {
        done.take(ended?);
    }
    Ok(done)
}

impl Called {
    fn take(&mut self, ended: Result<(u64, Option<u64>)>) {
        match ended {
            // Nothing changed: such an event there is none of.
            Ok((0, _)) => self.failed += 1,
            Ok((revision, fence)) => {
                self.revisions.push(revision);
                self.fences.extend(fence);
            }
            Err(error) => {
                tracing::warn!("a call failed: {error:#}");
                self.failed += 1;
            }
        }
    }
}

/// Waits until the brokers that are not slow have acknowledged all of these, and says when each was.
pub(crate) async fn reach(scene: &mut Scene, crowd: &mut Crowd, called: Called) -> Result<Reach> {
    let brokers = crowd.quick_brokers() as u64;
    let mut tally = crowd.quick_tally().await?;
    let last = called.revisions.iter().copied().max().context("there are events")?;
    let end = tokio::time::Instant::now() + REACHES_WITHIN;
    while tally.acknowledged.get(&last).is_none_or(|acknowledged| acknowledged.brokers < brokers)
        && tokio::time::Instant::now() < end
    {
        tokio::time::sleep(LOOK_EVERY).await;
        tally.add(crowd.quick_tally().await?);
    }
    let committed = scene.cluster.leading().await?.applied_at(called.revisions.clone()).await?;
    let (mut times, mut missed) = (Vec::new(), 0);
    for (revision, committed) in called.revisions.iter().zip(committed) {
        let committed = committed.context("the leader remembers what it has just applied")?;
        let acknowledged = tally.acknowledged.get(revision).copied().unwrap_or_default();
        missed += brokers - acknowledged.brokers.min(brokers);
        times.push(acknowledged.last_ns.saturating_sub(committed));
    }
    Ok(Reach {
        commit_to_last_ack: Spread::of(times),
        commit_to_fence: Spread::of(called.fences),
        repeated: tally.repeated,
        missed,
        lapsed: tally.lapsed,
        snapshots: tally.snapshots,
        failed: called.failed,
    })
}
