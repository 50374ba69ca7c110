//! Replicas that come and go, and what is sent to those that are too far behind.
use std::time::Duration;

use crate::common::{
    PATIENCE, Replica, agree, cluster, cluster_with, config, eventually, leader, lock, propose,
};
use anyhow::{Result, ensure};
use revoq_consensus::{Config, Error};

fn compacting(node: u64) -> Config {
    Config { snapshot_logs: 40, changes_kept: 50, ..config(node) }
}

#[tokio::test]
async fn a_replica_that_is_too_late_for_the_log_gets_a_snapshot() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut replicas = cluster_with(root.path(), 1, compacting).await?;
    for n in 0..400 {
        propose(&replicas[0], &format!("k{n}={n}")).await?;
    }
    let compacted = replicas[0].group.changes(0, 1);
    let Err(Error::Compacted { oldest }) = compacted else { anyhow::bail!("{compacted:?}") };
    ensure!(oldest > 300, "kept from {oldest}");
    let kept = replicas[0].group.changes(oldest - 1, usize::MAX)?;
    ensure!(kept.last().is_some_and(|(_, row)| row == b"k399=399"), "{} kept", kept.len());
    ensure!((40..=50).contains(&kept.len()), "{} kept", kept.len());

    for node in [2, 3] {
        let replica = Replica::start(compacting(node), &root.path().join(node.to_string()), None).await?;
        let address = replica.address.clone();
        ensure!(!replica.group.is_initialized());
        replicas[0].run(|group| async move { group.add_replica(node, &address).await }).await?;
        ensure!(replica.group.is_initialized());
        replicas.push(replica);
    }
    agree(&replicas).await?;
    for replica in &replicas[1..] {
        ensure!(replica.value("k0")? == Some("=0".to_owned()), "the snapshot has what the log lost");
        let restored = lock(&replica.machine.restored).clone();
        ensure!(restored.len() >= 2, "told of the start and of the snapshot: {restored:?}");
        let published = lock(&replica.machine.published).len();
        ensure!(published < 100, "{published} events were published after the snapshot");
    }
    // What came by snapshot survives a restart, and the group goes on without the first.
    let restarted = replicas.remove(2).kill().await.start().await?;
    replicas.push(restarted);
    let first = replicas.remove(0).kill().await;
    propose(&replicas[1], "more=1").await?;
    agree(&replicas).await?;
    replicas.push(first.start().await?);
    agree(&replicas).await?;
    Ok(())
}

#[tokio::test]
async fn a_replica_with_an_empty_disk_is_restored_while_changes_go_on() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut replicas = cluster_with(root.path(), 3, compacting).await?;
    for n in 0..200 {
        propose(&replicas[0], &format!("k{n}={n}")).await?;
    }
    let at = leader(&replicas).await?;
    let gone = replicas.remove((at + 1) % 3).kill().await;
    let node = gone.config.node;
    propose(&replicas[0], "gone=1").await?;
    replicas[0].run(move |group| async move { group.remove_replica(node).await }).await?;
    std::fs::remove_dir_all(&gone.folder)?;

    let back = gone.start().await?;
    let address = back.address.clone();
    let adding = replicas[1].run(move |group| async move { group.add_replica(node, &address).await });
    let busy = async {
        for n in 0..100 {
            propose(&replicas[0], &format!("busy{n}={n}")).await?;
        }
        anyhow::Ok(())
    };
    let (added, proposed) = tokio::join!(adding, busy);
    added?;
    proposed?;
    replicas.push(back);
    agree(&replicas).await?;
    ensure!(replicas[2].value("k7")? == Some("=7".to_owned()));
    ensure!(replicas[2].value("busy99")? == Some("=99".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_removed_replica_no_longer_counts() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut replicas = cluster(root.path(), 3).await?;
    propose(&replicas[0], "k=1").await?;
    let at = leader(&replicas).await?;
    let gone = replicas.remove(at);
    let node = gone.node;
    // The leader itself, asked through another.
    replicas[0].run(move |group| async move { group.remove_replica(node).await }).await?;
    let _dead = gone.kill().await;
    propose(&replicas[1], "k=2").await?;
    leader(&replicas).await?;
    eventually("two members are left", async || {
        Ok(replicas.iter().all(|r| r.group.status().members.len() == 2))
    })
    .await?;
    // One more: the last is a quorum of its own.
    let at = leader(&replicas).await?;
    let node = replicas[1 - at].node;
    replicas[at].run(move |group| async move { group.remove_replica(node).await }).await?;
    let _dead = replicas.remove(1 - at).kill().await;
    propose(&replicas[0], "k=3").await?;
    let own = replicas[0].node;
    let last = replicas[0].run(move |group| async move { group.remove_replica(own).await }).await;
    ensure!(matches!(last, Err(Error::Membership(_))), "{last:?}");
    let again = replicas[0].run(move |group| async move { group.remove_replica(node).await }).await;
    ensure!(again.is_ok(), "removing what is gone is a success: {again:?}");
    Ok(())
}

#[tokio::test]
async fn compaction_lets_the_log_go_and_a_restart_still_works() -> Result<()> {
    let root = tempfile::tempdir()?;
    let replicas = cluster_with(root.path(), 1, compacting).await?;
    for n in 0..300 {
        propose(&replicas[0], &format!("k{}={n}", n % 20)).await?;
    }
    let applied = replicas[0].group.status().applied;
    let mut replicas = replicas;
    let dead = replicas.remove(0).kill().await;
    let replica = dead.start().await?;
    ensure!(*lock(&replica.machine.restored) == [applied], "the state is where it was");
    propose(&replica, "k=1").await?;
    ensure!(replica.value("k19")? == Some("=299".to_owned()));
    let slow = Duration::from_millis(1);
    ensure!(replica.group.wait_applied(1, slow).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn who_takes_the_address_of_another_does_not_answer_for_it() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut replicas = cluster(root.path(), 3).await?;
    propose(&replicas[0], "before=1").await?;
    agree(&replicas).await?;
    let at = leader(&replicas).await?;
    let replaced = replicas.remove((at + 1) % 3).kill().await;
    let node = replaced.config.node;
    // The others still count the one that is gone, at this address.
    let fresh = Replica::start(config(4), &root.path().join("4"), Some(&replaced.address)).await?;
    for n in 0..50 {
        propose(&replicas[n % 2], &format!("k{n}={n}")).await?;
    }
    ensure!(replicas.iter().all(|replica| replica.group.running().is_ok()), "one has stopped");
    ensure!(!fresh.group.is_initialized(), "it took what was meant for the other");
    // Without it there is no majority: it must not make one.
    let other = (0..2).find(|n| !replicas[*n].leads()).unwrap_or(0);
    let gone = replicas.remove(other).kill().await;
    let alone = replicas[0].propose("alone=1").await;
    ensure!(matches!(alone, Err(Error::NoLeader | Error::Unknown(_))), "{alone:?}");
    ensure!(!fresh.group.is_initialized(), "it took what was meant for the other");
    replicas.push(gone.start().await?);
    leader(&replicas).await?;

    replicas[0].run(move |group| async move { group.remove_replica(node).await }).await?;
    let address = fresh.address.clone();
    replicas[0].run(move |group| async move { group.add_replica(4, &address).await }).await?;
    replicas.push(fresh);
    agree(&replicas).await
}

#[tokio::test]
async fn a_replica_whose_task_panics_ends() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut replicas = cluster(root.path(), 3).await?;
    propose(&replicas[0], "before=1").await?;
    agree(&replicas).await?;
    let at = leader(&replicas).await?;
    let forgetful = replicas.remove((at + 1) % 3).kill().await;
    let leads = replicas.iter().position(Replica::leads).unwrap_or(0);
    // One that has forgotten its log under its own number is what openraft takes for a fault in the program.
    let empty = root.path().join("empty");
    let _forgetful = Replica::start(forgetful.config, &empty, Some(&forgetful.address)).await?;
    let stopped = replicas[leads].run(|group| async move { group.stopped().await });
    let reason = tokio::time::timeout(PATIENCE, stopped).await?;
    ensure!(matches!(reason, Error::Stopped(_)), "{reason:?}");
    ensure!(replicas[leads].group.running() == Err(reason), "it says that it runs");
    Ok(())
}
