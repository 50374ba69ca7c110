//! The control plane without a majority, a network that loses packets, and a broker that is killed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use revoq_mqtt::ReasonCode;
use revoq_proto::v1::{FenceState, Transition};
use revoq_tests::{End, Fleet, Host, Plan, Refused, until};

use crate::support::{SLACK, bound, fence, rounds};

const RECOVERS_WITHIN: Duration = Duration::from_secs(30);

/// Waits until broker `n` says that it is not ready, and why.
async fn unready(fleet: &Fleet, n: usize, why: &str, limit: Duration) -> Result<()> {
    until(&format!("broker {n} says {why:?}"), limit, || async {
        let (is_ready, text) = fleet.readiness(n).await?;
        Ok((!is_ready && text.contains(why)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_changes_and_brokers_serve_by_the_stale_policy() -> Result<()> {
    let (lease, grace) = (Duration::from_secs(1), Duration::from_secs(3));
    let settings = vec![("lease", "1s"), ("stale_grace", "3s")];
    let fleet = Fleet::start(Plan { settings, ..Plan::default() }).await?;
    let (device, other) = (fleet.issue("device").await?, fleet.issue("other").await?);
    let mut session = fleet.connect(0, &device, "device").await?;
    let waiting = fleet.connect(1, &device, "device").await?;
    let leader = fleet.leader().await?;
    let (left, next) = ((leader + 1) % 3, (leader + 2) % 3);
    let lost = Instant::now();
    fleet.replica_process(leader).kill().await?;
    fleet.replica_process(next).kill().await?;

    fleet.connect(0, &other, "within the lease").await?.ping().await?;
    unready(&fleet, 0, "live on the grace", lease + SLACK).await?;
    eprintln!("unready {:?} after the loss", lost.elapsed());
    session.publish_acknowledged("still", "served").await?;
    let refused = fleet.try_connect(0, &other, "within the grace").await?.err();
    ensure!(matches!(refused, Some(Refused::ConnAck(ReasonCode::ServerUnavailable))), "{refused:?}");
    let ask = ["--timeout", "4s", "certificate", "suspend", "--device", "other"];
    let ended = async { Ok((session.ended().await?, lost.elapsed())) };
    let (answer, (end, took)) = tokio::try_join!(fleet.revoqctl(&ask), ended)?;
    ensure!(answer.code == 6 && answer.err.contains("nothing was changed"), "{answer:?}");
    ensure!(end == End::Disconnect(ReasonCode::UseAnotherServer), "{end:?}");
    ensure!(took <= lease + grace + SLACK, "closed after {took:?}");
    ensure!(waiting.ended().await? == End::Disconnect(ReasonCode::UseAnotherServer));
    unready(&fleet, 0, "all sessions are closed", SLACK).await?;
    eprintln!("closed {took:?} after the loss; lease and grace are {:?}", lease + grace);

    fleet.start_replica(next).await?;
    for broker in 0..2 {
        fleet.broker_ready(broker, RECOVERS_WITHIN).await?;
        fleet.connect(broker, &other, "let in again").await?.ping().await?;
    }
    let fenced = fence(&fleet, left, Transition::Suspend, &other).await?;
    for broker in 0..2 {
        fenced.expect(broker, FenceState::Confirmed)?;
        ensure!(fleet.try_connect(broker, &other, "suspended").await?.is_err());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_over_a_network_that_loses_packets_keeps_its_bound() -> Result<()> {
    let grace = Duration::from_secs(1);
    let settings = vec![("lease", "2s"), ("stale_grace", "1s")];
    let fleet = Fleet::start(Plan { settings, ..Plan::default() }).await?;
    let most = bound(Duration::from_secs(2), grace);
    fleet.hosts().loss(Host::Broker(0), 20).await?;
    let mut took = Vec::new();
    for round in 0..rounds(8, 100) {
        let device = fleet.issue(&format!("device-{round}")).await?;
        // It may be in one of its stale moments.
        let session = match fleet.try_connect(0, &device, "device").await? {
            Ok(session) => Some(session),
            Err(Refused::ConnAck(_)) => None,
            Err(refused) => anyhow::bail!("{refused:?}"),
        };
        let fenced = fence(&fleet, round % 3, Transition::Suspend, &device).await?;
        fenced.expect(1, FenceState::Confirmed)?;
        let state = fenced.node(0)?.state();
        ensure!([FenceState::Confirmed, FenceState::Fenced].contains(&state), "{:#?}", fenced.update);
        ensure!(fenced.took <= most + SLACK, "{:?} of {most:?}", fenced.took);
        if let Some(session) = session {
            session.ended().await?;
        }
        ensure!(fleet.try_connect(0, &device, "device").await?.is_err(), "let in after the fence");
        took.push(fenced.took);
    }
    eprintln!("fences with 20 % loss: {}; the bound is {most:?}", crate::support::spread(&took));
    fleet.hosts().heal().await?;
    fleet.broker_ready(0, RECOVERS_WITHIN).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_disturbs_no_other_and_delays_no_fence_beyond_its_bound() -> Result<()> {
    let fleet = Fleet::start(Plan { replicas: 1, ..Plan::default() }).await?;
    let (device, other) = (fleet.issue("device").await?, fleet.issue("other").await?);
    let session = fleet.connect(0, &device, "device").await?;
    let mut elsewhere = fleet.connect(1, &other, "other").await?;
    let suspended = fleet.connect(1, &device, "device").await?;
    fleet.broker_process(0).kill().await?;
    ensure!(session.ended().await? == End::Silent);
    let fenced = fence(&fleet, 0, Transition::Suspend, &device).await?;
    let most = bound(crate::support::LEASE, crate::support::GRACE);
    eprintln!("the fence took {:?}, the bound is {most:?}", fenced.took);
    fenced.expect(0, FenceState::Fenced)?;
    fenced.expect(1, FenceState::Confirmed)?;
    ensure!(fenced.took <= most + SLACK, "{:?} of {most:?}", fenced.took);
    ensure!(suspended.ended().await? == End::Disconnect(ReasonCode::AdministrativeAction));
    elsewhere.publish_acknowledged("nobody", "is disturbed").await?;
    fleet.start_broker(0).await?;
    fleet.broker_ready(0, RECOVERS_WITHIN).await?;
    ensure!(fleet.try_connect(0, &device, "device").await?.is_err(), "suspended while it was gone");
    fleet.connect(0, &other, "other").await?.ping().await
}
