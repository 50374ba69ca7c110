//! Measures what a commit costs: three replicas in this process, real gRPC on loopback, every log write flushed.
//!
//! `cargo run --release -p revoq-consensus --example commit -- [commits] [runs] [folder]`
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use revoq_consensus::{
    Applied, Config, Dial, Error, Group, Machine, ReadError, Reader, Store, Write, service, tune,
};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

const COMMAND_BYTES: usize = 300;

/// Writes the command into one row of many.
struct Rows;

impl Machine for Rows {
    type Event = u64;

    fn apply(&self, _: &dyn Reader, index: u64, command: &[u8]) -> Result<Applied<u64>, ReadError> {
        let key = (index % 10_000).to_be_bytes().to_vec();
        let writes = vec![Write::Put(key, command.to_vec())];
        Ok(Applied { writes, change: Some(vec![0; 40]), response: Vec::new(), event: Some(index) })
    }

    fn publish(&self, _: u64, _: Vec<(u64, u64)>) {}

    fn restored(&self, _: u64) {}
}

struct Plaintext;

impl Dial for Plaintext {
    fn channel(&self, address: &str) -> Result<Channel, Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| Error::Address { address: address.to_owned(), reason: e.to_string() })?;
        Ok(tune(endpoint).connect_lazy())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let commits: usize = arguments.next().map_or(Ok(2000), |text| text.parse())?;
    let runs: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let cores = std::thread::available_parallelism()?;
    let profile = if cfg!(debug_assertions) { "with debug assertions" } else { "release" };
    println!("machine: {cores} cores, {}, {profile}", machine());
    println!("three replicas in one process, {COMMAND_BYTES}-byte commands, folder {}", base.display());
    for run in 1..=runs {
        let folder = tempfile::tempdir_in(&base)?;
        print!("run {run}: ");
        measure(folder.path(), commits).await?;
    }
    Ok(())
}

async fn measure(folder: &Path, commits: usize) -> Result<()> {
    let fsync = time(commits.min(1000), async |_| flush_once(folder)).await?;
    let groups = cluster(folder).await?;
    let leader = groups[0].clone();
    let follower = groups[1].clone();
    let propose = |group: Group<Rows>| async move { group.propose(vec![7; COMMAND_BYTES]).await.map(drop) };
    time(200, async |_| Ok(propose(leader.clone()).await?)).await?;
    let alone = time(commits, async |_| Ok(propose(leader.clone()).await?)).await?;
    let forwarded = time(commits, async |_| Ok(propose(follower.clone()).await?)).await?;
    let proof = time(commits, async |_| Ok(leader.prove_leadership().await.map(drop)?)).await?;
    let barrier = time(commits, async |_| Ok(follower.read_barrier().await.map(drop)?)).await?;
    println!("fdatasync {fsync}");
    println!("       1 writer at the leader     {alone}");
    println!("       1 writer at a follower     {forwarded}");
    println!("       leadership proven          {proof}");
    println!("       read barrier, a follower   {barrier}");
    println!("       64 writers                 {}", together(&leader, commits * 4).await?);
    Ok(())
}

async fn together(leader: &Group<Rows>, commits: usize) -> Result<String> {
    let since = Instant::now();
    let writers = (0..64).map(|_| {
        let leader = leader.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            for _ in 0..commits / 64 {
                let since = Instant::now();
                leader.propose(vec![7; COMMAND_BYTES]).await?;
                times.push(since.elapsed());
            }
            anyhow::Ok(times)
        })
    });
    let mut times = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        times.extend(writer.await??);
    }
    Ok(summary(times, since.elapsed()))
}

async fn time(count: usize, mut work: impl AsyncFnMut(usize) -> Result<()>) -> Result<String> {
    let mut times = Vec::with_capacity(count);
    let begin = Instant::now();
    for n in 0..count {
        let since = Instant::now();
        work(n).await?;
        times.push(since.elapsed());
    }
    Ok(summary(times, begin.elapsed()))
}

fn summary(mut times: Vec<Duration>, total: Duration) -> String {
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 1000).min(times.len().saturating_sub(1)));
    let micros = |part| at(part).map_or(0, Duration::as_micros);
    let rate = times.len() as f64 / total.as_secs_f64();
    format!(
        "{rate:6.0}/s  p50 {:5} us  p90 {:5} us  p99 {:5} us  max {:6} us",
        micros(500),
        micros(900),
        micros(990),
        micros(1000)
    )
}

/// What the disk alone costs: one small append, made durable.
fn flush_once(folder: &Path) -> Result<()> {
    use std::io::Write as _;
    let path = folder.join("floor");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(&[7; 512])?;
    Ok(file.sync_data()?)
}

async fn cluster(folder: &Path) -> Result<Vec<Group<Rows>>> {
    let mut groups: Vec<Group<Rows>> = Vec::new();
    for node in 1..=3 {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let store = Store::open(folder.join(node.to_string()))?;
        let group = Group::start(Config::new(node, 1), &store, Arc::new(Rows), Arc::new(Plaintext)).await?;
        let router = Server::builder().add_service(service([group.clone().into()]));
        tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))));
        match groups.first() {
            None => group.bootstrap(&address).await?,
            Some(first) => first.add_replica(node, &address).await?,
        }
        groups.push(group);
    }
    let mut leadership = groups[0].leadership();
    let leads = leadership.wait_for(|now| now.is_leader);
    let leads =
        tokio::time::timeout(Duration::from_secs(10), leads).await.context("the first one leads")??;
    ensure!(leads.is_leader);
    Ok(groups.clone())
}

fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |line| line.trim_start_matches([' ', '\t', ':']).to_owned(),
    )
}
