//! Several groups in one process share a store and keep apart.
use std::path::Path;
use std::sync::Arc;

use crate::common::{PATIENCE, Plaintext, Register, config};
use anyhow::{Result, ensure};
use revoq_consensus::{Applied, Config, Group, Machine, ReadError, Reader, Store, Write};

/// Another kind of machine: it counts.
struct Counter;

impl Machine for Counter {
    type Event = ();

    fn apply(&self, reader: &dyn Reader, index: u64, _: &[u8]) -> Result<Applied<()>, ReadError> {
        let before = reader.get(b"k")?.and_then(|row| row.try_into().ok()).map_or(0, u64::from_be_bytes);
        let row = (before + 1).to_be_bytes().to_vec();
        let change = Some(index.to_be_bytes().to_vec());
        Ok(Applied {
            writes: vec![Write::Put(b"k".to_vec(), row.clone())],
            change,
            response: row,
            event: None,
        })
    }

    fn publish(&self, _: u64, _: Vec<(u64, ())>) {}

    fn restored(&self, _: u64) {}
}

async fn start<M: Machine>(store: &Store, group: u32, machine: Arc<M>) -> Result<Group<M>> {
    let config = Config { group, ..config(1) };
    let group = Group::start(config, store, machine, Arc::new(Plaintext)).await?;
    if !group.is_initialized() {
        group.bootstrap("127.0.0.1:1").await?;
    }
    let mut leadership = group.leadership();
    tokio::time::timeout(PATIENCE, leadership.wait_for(|now| now.is_leader)).await??;
    Ok(group)
}

async fn both(folder: &Path) -> Result<(Store, Group<Register>, Group<Counter>)> {
    let store = Store::open(folder)?;
    let register = start(&store, 1, Arc::new(Register::default())).await?;
    let counter = start(&store, 2, Arc::new(Counter)).await?;
    Ok((store, register, counter))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_kinds_of_groups_share_a_store() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (store, register, counter) = both(folder.path()).await?;
    for n in 1..=50_u64 {
        let (one, two) =
            tokio::join!(register.propose(format!("k={n}").into_bytes()), counter.propose(Vec::new()));
        one?;
        ensure!(two?.response == n.to_be_bytes());
    }
    ensure!(register.reader()?.get(b"k")? == Some(b"=50".to_vec()));
    ensure!(counter.changes(0, 999)?.len() == 50);
    let pinned = counter.reader()?;
    counter.propose(Vec::new()).await?;
    ensure!(pinned.get(b"k")? == Some(50_u64.to_be_bytes().to_vec()), "a reader stays where it was made");
    ensure!(counter.reader()?.applied() > pinned.applied());
    drop(pinned);

    register.shutdown().await;
    counter.shutdown().await;
    drop((register, counter));
    store.close().await;
    let (_store, register, counter) = both(folder.path()).await?;
    ensure!(register.reader()?.get(b"k")? == Some(b"=50".to_vec()));
    ensure!(counter.propose(Vec::new()).await?.response == 52_u64.to_be_bytes());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_group_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_store, register, _counter) = both(folder.path()).await?;
    register.propose(b"k=1".to_vec()).await?;
    register.shutdown().await;
    ensure!(register.running().is_err());
    let refused = register.propose(b"k=2".to_vec()).await;
    ensure!(matches!(refused, Err(revoq_consensus::Error::Stopped(_))), "{refused:?}");
    Ok(())
}
