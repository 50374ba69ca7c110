//! Disks: one that is wiped, one that is full, and a write-ahead log that is torn.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use revoq_proto::v1::Transition;
use revoq_tests::access::change_state;
use revoq_tests::daemon::how;
use revoq_tests::disk::SmallDisk;
use revoq_tests::process::run;
use revoq_tests::{Device, Fleet, Plan, until};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::support::rounds;

const RECOVERS_WITHIN: Duration = Duration::from_secs(90);
/// Exit codes of a replica, as the configuration reference lists them.
const DISK: i32 = 3;
const REPLACE: i32 = 4;
/// So that logs are compacted within a test.
const COMPACTED_OFTEN: (&str, &str) = ("REVOQ_CONTROL_LIMITS_SNAPSHOT_LOGS", "100");

/// A stream of changes at a steady pace through one replica.
struct Load {
    work: JoinHandle<Result<()>>,
    acknowledged: Arc<AtomicUsize>,
    started: Instant,
}

/// Changes that are under way at a time.
const UNDER_WAY_MAX: usize = 64;

impl Load {
    /// Suspends and reactivates devices in turn, `a_second` times a second.
    async fn start(fleet: &Fleet, through: usize, a_second: u32) -> Result<Load> {
        let mut devices = Vec::new();
        for n in 0..UNDER_WAY_MAX {
            devices.push(fleet.issue(&format!("load-{n}")).await?);
        }
        let channel = fleet.channel(through)?;
        let acknowledged = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&acknowledged);
        let work = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / a_second);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut under_way = JoinSet::new();
            for n in 0_usize.. {
                ticks.tick().await;
                if under_way.len() >= UNDER_WAY_MAX {
                    under_way.join_next().await.context("some are under way")???;
                }
                let device = devices[n % devices.len()].selector();
                let is_even = (n / devices.len()) % 2 == 0;
                let transition = if is_even { Transition::Suspend } else { Transition::Reactivate };
                let (channel, counted) = (channel.clone(), Arc::clone(&counted));
                under_way.spawn(async move {
                    change_state(channel, transition, device, false).await?;
                    counted.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, anyhow::Error>(())
                });
            }
            Ok(())
        });
        Ok(Load { work, acknowledged, started: Instant::now() })
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more are acknowledged.
    async fn goes_on(&self, more: usize) -> Result<()> {
        let wanted = self.acknowledged() + more;
        until("changes go on", RECOVERS_WITHIN, || async {
            ensure!(!self.work.is_finished(), "a change failed");
            Ok((self.acknowledged() >= wanted).then_some(()))
        })
        .await
    }

    /// Ends it; the changes a second that were acknowledged. None may have failed.
    async fn stop(self) -> Result<f64> {
        let rate = self.acknowledged() as f64 / self.started.elapsed().as_secs_f64();
        if self.work.is_finished() {
            self.work.await??;
        } else {
            self.work.abort();
        }
        Ok(rate)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_replica_joins_again_by_a_snapshot_while_changes_go_on() -> Result<()> {
    let plan = Plan { replica_environment: vec![COMPACTED_OFTEN], brokers: 1, ..Plan::default() };
    let fleet = Fleet::start(plan).await?;
    let leader = fleet.leader().await?;
    let load = Load::start(&fleet, leader, 100).await?;
    load.goes_on(300).await?;
    for round in 0..rounds(1, 5) {
        let wiped = (leader + 1 + round % 2) % 3;
        fleet.replica_process(wiped).kill().await?;
        fleet.wipe_replica(wiped).await?;
        let (started, log) = (Instant::now(), fleet.replica_process(wiped).log_length());
        fleet.start_replica(wiped).await?;
        fleet.wait_ready().await?;
        eprintln!("it votes {:?} after its start", started.elapsed());
        load.goes_on(100).await?;
        let log = fleet.replica_process(wiped).log_since(log);
        ensure!(log.contains("the state is that of a snapshot now"), "it took no snapshot:\n{log}");
    }
    let rate = load.stop().await?;
    let (revision, digest) = fleet.agreed(RECOVERS_WITHIN).await?;
    eprintln!("{rate:.1} changes a second; all agree at revision {revision}: {:x?}", &digest[..4]);
    // That is the pace; a machine that has other work to do may not keep it.
    ensure!(rate >= 50.0, "only {rate:.1} changes a second");
    Ok(())
}

/// The end of a process that gave up: its exit code, and what it said last.
async fn gave_up(fleet: &Fleet, n: usize, code: i32, says: &[&str]) -> Result<()> {
    let process = fleet.replica_process(n);
    let status = process.ended(RECOVERS_WITHIN).await?;
    let log = process.log();
    let last = log.lines().last().unwrap_or_default();
    ensure!(status.code() == Some(code), "exit code {code} expected, not {}: {last}", how(status));
    for text in says {
        ensure!(last.contains(text), "{text:?} is not in its last words: {last}");
    }
    eprintln!("{last}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_replica_and_not_the_cluster() -> Result<()> {
    let plan = Plan { replica_environment: vec![COMPACTED_OFTEN], brokers: 0, ..Plan::default() };
    let fleet = Fleet::start(plan).await?;
    let leader = fleet.leader().await?;
    let full = (leader + 1) % 3;
    fleet.replica_process(full).kill().await?;
    fleet.wipe_replica(full).await?;
    let Some(disk) = SmallDisk::mount(fleet.data(full), DISK_BYTES)? else { return Ok(()) };
    fleet.start_replica(full).await?;
    fleet.wait_ready().await?;
    let load = Load::start(&fleet, leader, 100).await?;
    load.goes_on(50).await?;
    let data = fleet.data(full).display().to_string();
    let says =
        [&*format!("the disk fails this replica at {data}/state"), "No space left on device", "free space"];
    tokio::select! {
        ended = gave_up(&fleet, full, DISK, &says) => ended?,
        error = disk.keep_full() => return Err(error),
    }
    load.goes_on(200).await?;
    disk.free()?;
    fleet.start_replica(full).await?;
    fleet.wait_ready().await?;
    load.goes_on(50).await?;
    let rate = load.stop().await?;
    let (revision, _) = fleet.agreed(RECOVERS_WITHIN).await?;
    eprintln!("{rate:.1} changes a second; all agree at revision {revision}");
    Ok(())
}

/// Room for the log's files as RocksDB lays them out beforehand.
const DISK_BYTES: u64 = 192 * 1024 * 1024;

/// The newest file of the write-ahead log.
fn newest_log(data: &Path) -> Result<PathBuf> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(data.join("state/rocksdb"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(path);
        }
    }
    logs.into_iter().max().context("there is a write-ahead log")
}

/// Cuts the end of a file off.
fn tear(path: &Path, length: u64) -> Result<()> {
    Ok(std::fs::File::options().write(true).open(path)?.set_len(length)?)
}

/// Suspends new devices and gives them, all acknowledged.
async fn suspend(fleet: &Fleet, through: usize, count: usize, name: &str) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for n in 0..count {
        let device = fleet.issue(&format!("{name}-{n}")).await?;
        fleet.transition(through, Transition::Suspend, device.selector(), false).await?;
        devices.push(device);
    }
    Ok(devices)
}

/// Every one of these is suspended, as replica `n` says.
async fn are_suspended(fleet: &Fleet, n: usize, devices: &[Device]) -> Result<()> {
    for device in devices {
        // What is suspended cannot become suspended, and the refusal says so.
        let again = fleet.transition(n, Transition::Suspend, device.selector(), true).await;
        let said = again.as_ref().err().map(tonic::Status::message);
        ensure!(
            said.is_some_and(|said| said.contains("is suspended")),
            "{} is not suspended: {again:?}",
            device.name
        );
    }
    Ok(())
}

/// Starts a replica whose log was torn. It serves and still has everything, or refuses and says what to do.
async fn start_torn(fleet: &Fleet, n: usize) -> Result<bool> {
    fleet.start_replica(n).await?;
    let serves = until("the replica serves or ends", RECOVERS_WITHIN, || async {
        if !fleet.replica_process(n).is_running().await? {
            return Ok(Some(false));
        }
        Ok(fleet.replica_ready(n).await.then_some(true))
    })
    .await?;
    if !serves {
        gave_up(fleet, n, REPLACE, &["replace this replica", "revoqctl cluster remove"]).await?;
    }
    Ok(serves)
}

async fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    let done = run("cp", [Path::new("-a"), from, to]).await?;
    ensure!(done.code == 0, "{done:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_write_ahead_log_loses_nothing_that_was_acknowledged() -> Result<()> {
    let fleet = Fleet::start(Plan { replicas: 1, brokers: 0, ..Plan::default() }).await?;
    let (state, kept) = (fleet.data(0).join("state"), fleet.folder().join("kept"));
    let mut acknowledged = suspend(&fleet, 0, 20, "first").await?;
    let mut refused = 0;
    let cuts = rounds(4, 40);
    for cut in 0..=cuts {
        fleet.replica_process(0).kill().await?;
        copy(&state, &kept).await?;
        let log = newest_log(fleet.data(0))?;
        let length = std::fs::metadata(&log)?.len();
        // From everything to the last byte alone.
        let left = (length * cut as u64 / cuts as u64).min(length - 1);
        tear(&log, left)?;
        let serves = start_torn(&fleet, 0).await?;
        eprintln!("{left} of {length} bytes left: {}", if serves { "it serves" } else { "it refuses" });
        if !serves {
            refused += 1;
            copy(&kept, &state).await?;
            ensure!(start_torn(&fleet, 0).await?, "it refuses what is whole");
        }
        are_suspended(&fleet, 0, &acknowledged).await?;
        acknowledged.extend(suspend(&fleet, 0, 3, &format!("after-{cut}")).await?);
    }
    ensure!(refused > 0, "no cut tore off anything that was acknowledged");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_a_torn_log_is_replaced_as_it_says() -> Result<()> {
    let fleet = Fleet::start(Plan { brokers: 0, ..Plan::default() }).await?;
    for round in 0..rounds(1, 6) {
        let leader = fleet.leader().await?;
        // The leader itself in the end.
        let torn = if round % 3 == 2 { leader } else { (leader + 1 + round) % 3 };
        let acknowledged = suspend(&fleet, leader, 20, &format!("round-{round}")).await?;
        fleet.replica_process(torn).kill().await?;
        let log = newest_log(fleet.data(torn))?;
        tear(&log, std::fs::metadata(&log)?.len() / 2)?;
        ensure!(!start_torn(&fleet, torn).await?, "it started with half of its log");
        fleet.wipe_replica(torn).await?;
        fleet.start_replica(torn).await?;
        fleet.wait_ready().await?;
        fleet.agreed(RECOVERS_WITHIN).await?;
        for n in 0..fleet.replicas() {
            are_suspended(&fleet, n, &acknowledged).await?;
        }
    }
    Ok(())
}
