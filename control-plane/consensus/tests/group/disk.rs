//! Full disks: they stop a replica, and not the group.
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{PATIENCE, Replica, agree, cluster, eventually, leader, propose};
use anyhow::{Context as _, Result, bail, ensure};
use revoq_consensus::Error;

/// A file system in memory, small enough to be filled.
struct Small {
    at: PathBuf,
}

impl Small {
    /// `None` where this process may not mount.
    fn mount(at: &Path) -> Result<Option<Self>> {
        std::fs::create_dir_all(at)?;
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(at).output()?;
        if !mounted.status.success() {
            let reason = String::from_utf8_lossy(&mounted.stderr).into_owned();
            eprintln!("skipped: a file system of its own cannot be mounted here: {reason}");
            return Ok(None);
        }
        Ok(Some(Self { at: at.to_owned() }))
    }

    /// Takes what is left, also of what was reserved and given back since the last time.
    fn fill(&self) -> Result<()> {
        let mut file = std::fs::File::options().create(true).append(true).open(self.at.join("filler"))?;
        loop {
            match file.write_all(&[7; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => bail!(error),
            }
        }
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.at.join("filler"))?)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.at).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.at.display());
    }
}

/// The first replica, which leads at first, has a small disk.
async fn on_a_small_disk(root: &Path) -> Result<Option<(Small, Vec<Replica>)>> {
    let Some(disk) = Small::mount(&root.join("1"))? else { return Ok(None) };
    let replicas = cluster(root, 3).await?;
    ensure!(leader(&replicas).await? == 0);
    propose(&replicas[0], "k=1").await?;
    Ok(Some((disk, replicas)))
}

/// Waits until the first replica has stopped for its disk, while changes go on through the others.
async fn stops(disk: &Small, replicas: &[Replica], changes: bool) -> Result<()> {
    let stopped =
        replicas[0].run(|group| async move { tokio::time::timeout(PATIENCE, group.stopped()).await });
    tokio::pin!(stopped);
    let mut n = 0;
    let reason = loop {
        disk.fill()?;
        let change = async {
            // While its leader stops the outcome may be unknown.
            let _ = replicas[1 + n % 2].propose(&format!("k{n}={}", "x".repeat(50_000))).await;
        };
        tokio::select! {
            reason = &mut stopped => break reason.context("it stops")?,
            () = change, if changes => n += 1,
        }
    };
    ensure!(matches!(reason, Error::Disk { .. }), "{reason:?}");
    let text = reason.to_string();
    for part in
        ["the disk fails this replica at", "No space left on device", "free space there", "nothing that was"]
    {
        ensure!(text.contains(part), "{part:?} is not in {text}");
    }
    ensure!(replicas[0].group.running() == Err(reason));
    Ok(())
}

#[tokio::test]
async fn a_full_disk_stops_one_replica_and_the_others_go_on() -> Result<()> {
    let root = tempfile::tempdir()?;
    let Some((disk, mut replicas)) = on_a_small_disk(root.path()).await? else { return Ok(()) };
    // First while it leads, then while it follows.
    for round in 0..2 {
        stops(&disk, &replicas, true).await?;
        let full = replicas.remove(0);
        for n in 0..20 {
            propose(&replicas[n % 2], &format!("during={round}.{n}")).await?;
        }
        let full = full.kill().await;
        disk.free()?;
        replicas.insert(0, full.start().await?);
        leader(&replicas).await?;
        propose(&replicas[0], &format!("after={round}")).await?;
        agree(&replicas).await?;
        ensure!(replicas[0].value("during")? == Some(format!("={round}.19")), "it has caught up");
        ensure!(!replicas[0].leads(), "the others lead");
    }
    for replica in replicas {
        replica.stop().await;
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_written_in_the_background_stops_it_too() -> Result<()> {
    let root = tempfile::tempdir()?;
    let Some((disk, mut replicas)) = on_a_small_disk(root.path()).await? else { return Ok(()) };
    for n in 0..100_u64 {
        // Nothing that a compression makes small, and more than what the closed log gives back.
        let part = |part: u64| format!("{:x}", (n << 32 | part).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let value: String = (0..2500).map(part).collect();
        propose(&replicas[0], &format!("k{n}={value}")).await?;
    }
    agree(&replicas).await?;
    disk.fill()?;
    // Nothing is appended: it is the flush of the state that finds no room.
    replicas[0].run(|group| async move { group.compact().await }).await?;
    stops(&disk, &replicas, false).await?;
    let full = replicas.remove(0);
    eventually("another leads", async || Ok(replicas.iter().any(Replica::leads))).await?;
    propose(&replicas[0], "k=2").await?;
    let full = full.kill().await;
    disk.free()?;
    replicas.insert(0, full.start().await?);
    agree(&replicas).await?;
    for replica in replicas {
        replica.stop().await;
    }
    Ok(())
}
