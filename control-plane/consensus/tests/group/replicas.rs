//! Three replicas over real gRPC and a real RocksDB each.
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, Replica, agree, cluster, config, eventually, leader, lock, propose};
use anyhow::{Context as _, Result, ensure};
use revoq_consensus::{COMMAND_SIZE_MAX, Error};

#[tokio::test]
async fn any_replica_takes_commands_and_all_come_to_the_same_state() -> Result<()> {
    let root = tempfile::tempdir()?;
    let replicas = cluster(root.path(), 3).await?;
    leader(&replicas).await?;
    let mut last = 0;
    for round in 0..20 {
        for replica in &replicas {
            let before = if round == 0 { String::new() } else { format!("={}", round - 1) };
            let done = replica.propose(&format!("k{}={round}", replica.node)).await?;
            ensure!(done.index > last, "indices grow");
            ensure!(done.response == before.into_bytes(), "the response is of the command");
            last = done.index;
        }
    }
    agree(&replicas).await?;
    for replica in &replicas {
        ensure!(replica.value("k2")? == Some("=19".to_owned()));
        let published = lock(&replica.machine.published).clone();
        ensure!(published == replica.group.changes(0, usize::MAX)?, "each event once and in order");
        ensure!(published.len() == 60, "{} events", published.len());
    }
    Ok(())
}

#[tokio::test]
async fn commands_at_once_share_batches_and_lose_nothing() -> Result<()> {
    let root = tempfile::tempdir()?;
    let replicas = cluster(root.path(), 3).await?;
    let at = leader(&replicas).await?;
    let proposals = (0..400).map(|n| replicas[(at + n) % 3].propose_later(format!("k{}={n}", n % 10)));
    let mut indices = Vec::new();
    for proposal in proposals.collect::<Vec<_>>() {
        indices.push(proposal.await??.index);
    }
    indices.sort_unstable();
    indices.dedup();
    ensure!(indices.len() == 400, "each command has an index of its own");
    agree(&replicas).await?;
    ensure!(lock(&replicas[0].machine.published).len() == 400);
    Ok(())
}

#[tokio::test]
async fn a_dead_leader_is_replaced_and_comes_back() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut replicas = cluster(root.path(), 3).await?;
    for n in 0..30 {
        propose(&replicas[n % 3], &format!("before={n}")).await?;
    }
    let at = leader(&replicas).await?;
    let dead = replicas.remove(at).kill().await;
    let since = Instant::now();
    propose(&replicas[0], "after=1").await?;
    ensure!(since.elapsed() < Duration::from_secs(5), "took {:?}", since.elapsed());
    leader(&replicas).await?;
    ensure!(replicas[1].value("before")? == Some("=29".to_owned()));
    replicas.push(dead.start().await?);
    leader(&replicas).await?;
    agree(&replicas).await?;
    ensure!(replicas[2].value("after")? == Some("=1".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_restart_of_all_keeps_all() -> Result<()> {
    let root = tempfile::tempdir()?;
    let replicas = cluster(root.path(), 3).await?;
    for n in 0..50 {
        propose(&replicas[0], &format!("k{n}={n}")).await?;
    }
    agree(&replicas).await?;
    let applied = replicas[0].group.status().applied;
    let changes = replicas[0].group.changes(0, usize::MAX)?;
    let mut dead = Vec::new();
    for replica in replicas {
        dead.push(replica.kill().await);
    }
    let mut replicas = Vec::new();
    for replica in dead {
        let replica = replica.start().await?;
        ensure!(replica.group.is_initialized());
        ensure!(*lock(&replica.machine.restored) == [applied], "told once where it stands");
        ensure!(lock(&replica.machine.published).is_empty(), "nothing is published twice");
        replicas.push(replica);
    }
    leader(&replicas).await?;
    agree(&replicas).await?;
    ensure!(replicas[1].group.changes(0, usize::MAX)? == changes);
    ensure!(replicas[2].value("k49")? == Some("=49".to_owned()));
    propose(&replicas[2], "k50=50").await?;
    Ok(())
}

#[tokio::test]
async fn a_read_on_a_follower_sees_what_was_answered_elsewhere() -> Result<()> {
    let root = tempfile::tempdir()?;
    let replicas = cluster(root.path(), 3).await?;
    let at = leader(&replicas).await?;
    for n in 0..50 {
        let done = replicas[(at + n) % 3].propose(&format!("k={n}")).await?;
        for replica in &replicas {
            let seen = replica.run(|group| async move { group.read_barrier().await }).await?;
            ensure!(seen >= done.index, "the barrier is at {seen}, the command at {}", done.index);
            ensure!(replica.value("k")? == Some(format!("={n}")));
            ensure!(replica.group.reader()?.applied() >= done.index);
        }
    }
    let proof = replicas[at].run(|group| async move { group.prove_leadership().await }).await?;
    ensure!(proof.index >= replicas[at].group.reader()?.applied());
    ensure!(proof.term == replicas[at].group.status().term);
    let refused = replicas[(at + 1) % 3].run(|group| async move { group.prove_leadership().await }).await;
    ensure!(refused == Err(Error::NotLeader { leader: Some(replicas[at].node) }), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn an_orderly_end_hands_leadership_over() -> Result<()> {
    let root = tempfile::tempdir()?;
    // With these timeouts an election by itself would take longer than the test waits.
    let slow = |node| {
        let (min, max) = (Duration::from_secs(25), Duration::from_secs(30));
        revoq_consensus::Config { election_min: min, election_max: max, ..config(node) }
    };
    let mut replicas = crate::common::cluster_with(root.path(), 3, slow).await?;
    let at = leader(&replicas).await?;
    propose(&replicas[at], "k=1").await?;
    let _dead = replicas.remove(at).stop().await;
    propose(&replicas[0], "k=2").await?;
    leader(&replicas).await?;
    Ok(())
}

#[tokio::test]
async fn without_a_quorum_nothing_is_promised() -> Result<()> {
    let root = tempfile::tempdir()?;
    let mut replicas = cluster(root.path(), 3).await?;
    let at = leader(&replicas).await?;
    propose(&replicas[at], "k=1").await?;
    let last = replicas.remove(at);
    let mut dead = Vec::new();
    for replica in replicas {
        dead.push(replica.kill().await);
    }
    let proof = last.run(|group| async move { group.prove_leadership().await }).await;
    ensure!(matches!(proof, Err(Error::NoLeader | Error::NotLeader { .. })), "{proof:?}");
    eventually("the leader gives in", async || match last.propose("k=2").await {
        Err(Error::NoLeader) => Ok(true),
        Err(Error::Unknown(_)) => Ok(false),
        other => anyhow::bail!("{other:?}"),
    })
    .await?;
    let mut replicas = vec![last];
    for replica in dead {
        replicas.push(replica.start().await?);
    }
    propose(&replicas[1], "k=3").await?;
    agree(&replicas).await?;
    ensure!(replicas[2].value("k")? == Some("=3".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_crash_takes_unflushed_state_and_the_log_brings_it_back() -> Result<()> {
    let root = tempfile::tempdir()?;
    let replicas = cluster(root.path(), 1).await?;
    for n in 0..40 {
        propose(&replicas[0], &format!("k{n}={n}")).await?;
    }
    agree(&replicas).await?;
    let expected = replicas[0].group.status();
    // The files as they would be found had the process died now: the state was never flushed.
    let copy = root.path().join("copy");
    copy_files(&root.path().join("1/rocksdb"), &copy.join("rocksdb"))?;
    std::fs::copy(root.path().join("1/durable"), copy.join("durable"))?;
    let crashed = Replica::start(config(1), &copy, None).await?;
    eventually("the log is applied again", async || Ok(crashed.group.status().applied > expected.applied))
        .await?;
    ensure!(crashed.machine.applied.load(Ordering::Relaxed) == 40, "all of it was applied again");
    ensure!(crashed.group.changes(0, usize::MAX)? == replicas[0].group.changes(0, usize::MAX)?);
    ensure!(crashed.value("k39")? == Some("=39".to_owned()));
    propose(&replicas[0], "k=1").await?;
    Ok(())
}

#[tokio::test]
async fn a_command_beyond_the_limit_is_refused() -> Result<()> {
    let root = tempfile::tempdir()?;
    let replicas = cluster(root.path(), 1).await?;
    let (limit, actual) = (COMMAND_SIZE_MAX as u64, COMMAND_SIZE_MAX as u64 + 1);
    let refused = replicas[0].propose(&"x".repeat(COMMAND_SIZE_MAX + 1)).await;
    ensure!(
        matches!(&refused, Err(Error::Refused { limit: l, actual: a, .. }) if (*l, *a) == (limit, actual))
    );
    replicas[0].propose(&"x".repeat(COMMAND_SIZE_MAX)).await?;
    let late = replicas[0].group.wait_applied(u64::MAX, Duration::from_millis(20)).await;
    ensure!(matches!(late, Err(Error::Late { .. })), "{late:?}");
    let applied = replicas[0].group.status().applied;
    replicas[0].group.wait_applied(applied, PATIENCE).await.context("already there")?;
    Ok(())
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
