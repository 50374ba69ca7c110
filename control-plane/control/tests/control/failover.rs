//! How long a cluster is without a leader, and that it keeps the one it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::Replicas;
use crate::support::process::{Processes, change};
use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

/// Until the first new change is committed after the leader's death. Timing tests run alone.
const LIMIT: Duration = Duration::from_secs(2);

fn long() -> bool {
    std::env::var_os("REVOQ_LONG").is_some()
}

/// From the death of the leader to the first change through any of the others.
async fn failover(processes: &mut Processes) -> Result<Duration> {
    let leader = processes.settled().await?;
    let others: Vec<_> = (0..3).filter(|n| *n != leader).map(|n| processes.channel(n)).collect();
    processes.kill(leader)?;
    let since = Instant::now();
    let mut trying = JoinSet::new();
    for channel in others {
        trying.spawn(async move {
            while change(channel.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    tokio::time::timeout(Duration::from_secs(30), trying.join_next()).await?.context("one of two")??;
    let took = since.elapsed();
    processes.start_again(leader)?;
    Ok(took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_within_two_seconds() -> Result<()> {
    let mut processes = Processes::start().await?;
    let mut times = Vec::new();
    for _ in 0..if long() { 40 } else { 4 } {
        times.push(failover(&mut processes).await?);
    }
    times.sort_unstable();
    let (median, max) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{} kills: first new commit after {median:?} (median), {max:?} (max); all: {times:?}",
        times.len()
    );
    ensure!(max <= LIMIT, "{times:?}");
    Ok(())
}

/// Keeps every core busy, twice over.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> Result<Busy> {
        let on = Arc::new(AtomicBool::new(true));
        for _ in 0..2 * std::thread::available_parallelism()?.get() {
            let on = Arc::clone(&on);
            std::thread::spawn(move || while on.load(Ordering::Relaxed) {});
        }
        Ok(Busy(on))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_machine_keeps_its_leader() -> Result<()> {
    let mut replicas =
        Replicas::start_with(3, |config| config.timings = revoq_control::Timings::default()).await?;
    replicas.follower().await?;
    let terms = |replicas: &Replicas| [0, 1, 2].map(|n| replicas.get(n).status().term);
    let before = terms(&replicas);
    ensure!(before == [before[0]; 3], "{before:?}");
    let busy = Busy::start()?;
    let end = Instant::now() + Duration::from_secs(if long() { 60 } else { 5 });
    let mut commits = 0;
    while Instant::now() < end {
        replicas.get(commits % 3).commit_empty().await?;
        commits += 1;
        ensure!(terms(&replicas) == before, "an election after {commits} commits: {:?}", terms(&replicas));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(busy);
    println!("{commits} commits on a busy machine, all in term {}", before[0]);
    replicas.stop().await;
    Ok(())
}
