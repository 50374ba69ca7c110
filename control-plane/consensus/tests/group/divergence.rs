//! A replica whose state is not the others' stops, and says so.
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::{PATIENCE, Replica, agree, cluster, cluster_with, config, eventually, leader, propose};
use anyhow::{Context as _, Result, ensure};
use revoq_consensus::{Config, Error};

/// Makes `replica` write something else from now on, and waits until it has stopped for that.
async fn diverge(replica: &Replica, through: &Replica) -> Result<Error> {
    replica.machine.wrong.store(true, Ordering::Relaxed);
    // Through the leader that is about to stop, the outcome may stay unknown.
    let _ = through.propose("parted=1").await;
    let reason = tokio::time::timeout(PATIENCE, replica.group.stopped()).await.context("it stops")?;
    ensure!(matches!(reason, Error::Diverged { .. }), "{reason:?}");
    ensure!(replica.group.running() == Err(reason.clone()));
    ensure!(replica.group.fault() == Some(reason.clone()));
    eventually("it knows of nobody who leads", async || {
        Ok(replica.group.leadership().borrow().leader.is_none() && !replica.leads())
    })
    .await?;
    let text = reason.to_string();
    ensure!(text.contains("differs from that of a majority of the voters at index"), "{text}");
    ensure!(text.contains("revoqctl cluster remove NODE"), "{text}");
    Ok(reason)
}

#[tokio::test]
async fn a_follower_that_differs_stops_for_good() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut replicas = cluster(root.path(), 3).await?;
    propose(&replicas[0], "k=1").await?;
    agree(&replicas).await?;
    let at = leader(&replicas).await?;
    let (follower, term) = ((at + 1) % 3, replicas[at].group.status().term);
    let reason = diverge(&replicas[follower], &replicas[at]).await?;
    let refused = replicas[follower].propose("k=2").await;
    ensure!(refused == Err(reason.clone()), "{refused:?}");
    // The others go on, under the same leader.
    for n in 0..20 {
        propose(&replicas[at], &format!("k={n}")).await?;
    }
    ensure!(replicas[at].leads() && replicas[at].group.status().term == term);

    let wrong = replicas.remove(follower).kill().await;
    let again = wrong.start().await.err().context("it must not start again")?;
    ensure!(again.to_string() == reason.to_string(), "{again}");
    agree(&replicas).await
}

#[tokio::test]
async fn a_leader_that_differs_is_replaced() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut replicas = cluster(root.path(), 3).await?;
    let at = leader(&replicas).await?;
    diverge(&replicas[at], &replicas[at]).await?;
    let wrong = replicas.remove(at);
    propose(&replicas[0], "k=2").await?;
    let heir = leader(&replicas).await?;
    ensure!(replicas[heir].node != wrong.node);
    // A new replica takes its place.
    let node = wrong.node;
    replicas[0].run(move |group| async move { group.remove_replica(node).await }).await?;
    let _gone = wrong.kill().await;
    let anew = Replica::start(config(4), &root.path().join("4"), None).await?;
    let address = anew.address.clone();
    replicas[0].run(|group| async move { group.add_replica(4, &address).await }).await?;
    replicas.push(anew);
    propose(&replicas[2], "k=3").await?;
    agree(&replicas).await?;
    ensure!(replicas.iter().all(|replica| replica.group.running().is_ok()));
    Ok(())
}

#[tokio::test]
async fn of_two_that_differ_nobody_can_tell_who_is_right() -> Result<()> {
    let root = tempfile::tempdir()?;
    let replicas = cluster(root.path(), 2).await?;
    let at = leader(&replicas).await?;
    replicas[1 - at].machine.wrong.store(true, Ordering::Relaxed);
    propose(&replicas[at], "k=1").await?;
    for (one, other) in [(0, 1), (1, 0)] {
        let node = replicas[other].node;
        eventually("it says so", async || Ok(replicas[one].group.status().differing == [node])).await?;
    }
    propose(&replicas[at], "k=2").await?;
    ensure!(replicas.iter().all(|replica| replica.group.running().is_ok()), "both go on");
    Ok(())
}

#[tokio::test]
async fn snapshots_and_restarts_are_no_differences() -> Result<()> {
    let root = tempfile::tempdir()?;
    let compacting = |node| Config { snapshot_logs: 40, compare: Duration::from_millis(10), ..config(node) };
    let mut replicas = cluster_with(root.path(), 3, compacting).await?;
    for round in 0..3 {
        // One is away for longer than the log is kept: it gets a snapshot, and is compared from there on.
        let away = replicas.remove(0).kill().await;
        for n in 0..120 {
            propose(&replicas[0], &format!("k{n}={round}")).await?;
        }
        replicas.push(away.start().await?);
        leader(&replicas).await?;
        agree(&replicas).await?;
        eventually("they are compared", async || {
            Ok(replicas.iter().all(|replica| replica.group.status().differing.is_empty()))
        })
        .await?;
        ensure!(replicas.iter().all(|replica| replica.group.running().is_ok()), "in round {round}");
    }
    // The comparison still works for one that came by a snapshot.
    let at = leader(&replicas).await?;
    let last = if at == 2 { 1 } else { 2 };
    diverge(&replicas[last], &replicas[at]).await?;
    Ok(())
}
