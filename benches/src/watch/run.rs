//! One run: the phases in their order.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::Arguments;
use super::crowd::Crowd;
use super::events::{Reach, burst, reach, steady};
use super::memory::Alone;
use super::scene::Scene;
use crate::clock::now_ns;
use crate::replica::Kept;
use crate::usage::Usage;
use crate::watchers::Standing;

/// Certificates that change their states: more than there are calls in flight.
const CERTIFICATES: usize = 200;
/// Of the events, those that come without any broker, for what a commit alone costs.
const ALONE_PART: usize = 4;
/// Long enough that a replica's pings of a connection go unanswered, and it is closed.
const STOPPED: Duration = Duration::from_secs(13);
const GATHERED_WITHIN: Duration = Duration::from_secs(120);

/// What came of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// Seconds in which all brokers joined, each with a certificate of its own.
    pub(crate) join_s: f64,
    /// All brokers connect at once, and have nothing yet.
    pub(crate) connect: Gathering,
    pub(crate) memory: Memory,
    pub(crate) cpu: Cpu,
    pub(crate) steady: Reach,
    /// The others, while some brokers read nothing.
    pub(crate) beside_slow: Option<Reach>,
    /// Seconds from the moment at which the slow ones read again until they had acknowledged everything.
    pub(crate) slow_caught_up_s: f64,
    /// What brokers were given that were cut off because they read nothing, and whose revision is not kept any more.
    pub(crate) returned: Option<Gathering>,
    /// All brokers lose their connections at once.
    pub(crate) reconnect: Gathering,
    /// The leader is killed.
    pub(crate) failover: Gathering,
}

/// Brokers that come to the replicas at once.
#[derive(Debug, Serialize)]
pub(crate) struct Gathering {
    /// Seconds until the last of them had a grant.
    pub(crate) seconds: f64,
    pub(crate) by_revision: usize,
    pub(crate) by_snapshot: usize,
    /// Of those that came, how many each replica serves.
    pub(crate) spread: Vec<usize>,
    /// Streams that were tried.
    pub(crate) streams: u64,
    /// Leases that ran out meanwhile.
    pub(crate) lapsed: u64,
}

/// KiB of one watcher on a replica: what the replicas have more than they would without any watcher, by how many they
/// serve.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// Of the replica where it is most, once all are connected.
    pub(crate) connected_kib: f64,
    /// Of the same, after the steady events.
    pub(crate) steady_kib: f64,
    /// While some brokers read nothing.
    pub(crate) beside_slow_kib: f64,
    /// At the end, the last replica's failure aside.
    pub(crate) end_kib: f64,
    /// MiB of each replica without watchers, and at the end.
    pub(crate) alone_mib: Vec<f64>,
    pub(crate) end_mib: Vec<f64>,
}

/// Microseconds of processor time of all replicas together.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Cpu {
    /// In a second without watchers and events.
    pub(crate) alone_us: f64,
    /// Of an event without watchers: three replicas commit it.
    pub(crate) event_alone_us: f64,
    /// In a second, of all watchers together, without events: their leases and connections.
    pub(crate) watchers_us: f64,
    /// Of an event with all watchers, its fence included.
    pub(crate) event_us: f64,
    /// Of an event for one watcher: what it costs more than without watchers.
    pub(crate) event_watcher_us: f64,
    /// Cores in use during the steady events: by the replicas, and by the brokers.
    pub(crate) replicas_cores: f64,
    pub(crate) brokers_cores: f64,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Run> {
    let kept = Kept { changes: arguments.changes_kept, in_memory: arguments.changes_in_memory };
    let mut scene = Box::pin(Scene::start(kept, CERTIFICATES)).await?;
    let settle = Duration::from_millis(arguments.settle_ms);
    let mut cpu = Cpu { alone_us: idle(&scene, settle).await?, ..Cpu::default() };
    let (before, begun) = (scene.cluster.cpu_us()?, Instant::now());
    let lonely = steady(&mut scene, arguments.events / ALONE_PART, arguments.rate, true).await?;
    cpu.event_alone_us = share(scene.cluster.cpu_us()? - before, begun, cpu.alone_us, lonely.revisions.len());
    let alone = Alone::measure(&mut scene, arguments.changes_in_memory).await?;
    let begun = Instant::now();
    let mut crowd = Crowd::join(&mut scene, arguments).await?;
    let join_s = begun.elapsed().as_secs_f64();
    let mut memory = Memory { alone_mib: mib(&scene)?, ..Memory::default() };

    let asked = now_ns();
    crowd.watch().await?;
    let connect = gathering(&mut crowd, asked, None).await?;
    tokio::time::sleep(settle).await;
    memory.connected_kib = alone.per_watcher(&scene, &mut crowd).await?;
    cpu.watchers_us = idle(&scene, settle).await? - cpu.alone_us;

    let steady = steadily(&mut scene, &mut crowd, arguments, &mut cpu).await?;
    memory.steady_kib = alone.per_watcher(&scene, &mut crowd).await?;
    let (mut beside_slow, mut returned, mut slow_caught_up_s) = (None, None, 0.0);
    if arguments.slow > 0 {
        let (reach, usage, caught_up) = slowly(&mut scene, &mut crowd, arguments).await?;
        memory.beside_slow_kib = alone.of(&usage, scene.changes(), &mut crowd).await?;
        (beside_slow, slow_caught_up_s) = (Some(reach), caught_up);
        if arguments.burst > 0 {
            returned = Some(stopped(&mut scene, &mut crowd, arguments).await?);
        }
    }
    crowd.tally().await?;
    let asked = now_ns();
    crowd.drop_connections().await?;
    let reconnect = gathering(&mut crowd, asked, None).await?;
    tokio::time::sleep(settle).await;
    memory.end_kib = alone.per_watcher(&scene, &mut crowd).await?;
    memory.end_mib = mib(&scene)?;
    let leader = scene.cluster.leader().await?;
    let asked = now_ns();
    scene.cluster.kill(leader).await?;
    let failover = gathering(&mut crowd, asked, Some(leader)).await?;
    drop(crowd);
    scene.cluster.stop().await?;
    Ok(Run {
        join_s,
        connect,
        memory,
        cpu,
        steady,
        beside_slow,
        slow_caught_up_s,
        returned,
        reconnect,
        failover,
    })
}

async fn steadily(
    scene: &mut Scene,
    crowd: &mut Crowd,
    arguments: &Arguments,
    cpu: &mut Cpu,
) -> Result<Reach> {
    crowd.tally().await?;
    let (used, brokers_used, begun) = (scene.cluster.cpu_us()?, crowd.cpu_us()?, Instant::now());
    let called = steady(scene, arguments.events, arguments.rate, true).await?;
    let took = begun.elapsed().as_secs_f64();
    let events = called.revisions.len();
    let (used, brokers_used) = (scene.cluster.cpu_us()? - used, crowd.cpu_us()? - brokers_used);
    cpu.event_us = share(used, begun, cpu.alone_us + cpu.watchers_us, events);
    cpu.event_watcher_us = (cpu.event_us - cpu.event_alone_us) / arguments.watchers as f64;
    let reach = reach(scene, crowd, called).await?;
    cpu.replicas_cores = used as f64 / took / 1e6;
    cpu.brokers_cores = brokers_used as f64 / took / 1e6;
    Ok(reach)
}

/// Some brokers read nothing; then they read on. What the others saw, what the replicas used meanwhile, and the seconds
/// of catching up.
async fn slowly(
    scene: &mut Scene,
    crowd: &mut Crowd,
    arguments: &Arguments,
) -> Result<(Reach, Vec<Usage>, f64)> {
    crowd.tally().await?;
    crowd.slow().context("there are slow ones")?.pause()?;
    let events = usize::try_from(arguments.slow_s * u64::from(arguments.rate))?;
    let called = steady(scene, events, arguments.rate, false).await;
    let usage = scene.cluster.usage();
    crowd.slow().context("there are slow ones")?.go_on()?;
    let begun = Instant::now();
    let called = called?;
    let last = called.revisions.iter().copied().max().context("there are events")?;
    crowd.slow_until(last, GATHERED_WITHIN).await?;
    let caught_up = begun.elapsed().as_secs_f64();
    Ok((reach(scene, crowd, called).await?, usage?, caught_up))
}

/// Some brokers read nothing for so long that they are cut off, while more happens than is kept.
async fn stopped(scene: &mut Scene, crowd: &mut Crowd, arguments: &Arguments) -> Result<Gathering> {
    crowd.tally().await?;
    let begun = Instant::now();
    crowd.slow().context("there are slow ones")?.pause()?;
    let bursting = burst(scene, arguments.burst).await;
    tokio::time::sleep(STOPPED.saturating_sub(begun.elapsed())).await;
    let asked = now_ns();
    crowd.slow().context("there are slow ones")?.go_on()?;
    bursting?;
    crowd.slow_again(asked, GATHERED_WITHIN).await?;
    gathering_of(crowd, asked, scene.cluster.addresses.len()).await
}

/// Waits until all brokers that must come again since `asked` have a grant: all of them, or those of a replica that is
/// `gone`.
async fn gathering(crowd: &mut Crowd, asked: u64, gone: Option<usize>) -> Result<Gathering> {
    crowd
        .until("served again", GATHERED_WITHIN, |standing| {
            let anew = standing.asked_ns >= asked || gone.is_some_and(|gone| standing.replica != gone);
            anew && standing.granted_ns > 0
        })
        .await?;
    gathering_of(crowd, asked, 3).await
}

async fn gathering_of(crowd: &mut Crowd, asked: u64, replicas: usize) -> Result<Gathering> {
    let standings = crowd.standings().await?;
    let came: Vec<_> = standings.into_iter().filter(|standing| standing.asked_ns >= asked).collect();
    let last = came.iter().map(|standing| standing.granted_ns).max().context("some broker came")?;
    let by_snapshot = came.iter().filter(|standing| standing.snapshot).count();
    let tally = crowd.tally().await?;
    Ok(Gathering {
        seconds: last.saturating_sub(asked) as f64 / 1e9,
        by_revision: came.len() - by_snapshot,
        by_snapshot,
        spread: served(&came, replicas),
        streams: tally.streams,
        lapsed: tally.lapsed,
    })
}

/// How many brokers each replica serves.
pub(super) fn served(standings: &[Standing], replicas: usize) -> Vec<usize> {
    (0..replicas).map(|n| standings.iter().filter(|standing| standing.replica == n).count()).collect()
}

fn mib(scene: &Scene) -> Result<Vec<f64>> {
    Ok(scene.cluster.usage()?.iter().map(|usage| usage.memory as f64 / 1_048_576.0).collect())
}

/// Microseconds in a second, of all replicas together, while nothing happens.
async fn idle(scene: &Scene, settle: Duration) -> Result<f64> {
    let (before, begun) = (scene.cluster.cpu_us()?, Instant::now());
    tokio::time::sleep(settle).await;
    Ok((scene.cluster.cpu_us()? - before) as f64 / begun.elapsed().as_secs_f64())
}

/// Microseconds of one event, of those that were used since `begun` beyond what is used without events.
fn share(used: u64, begun: Instant, idle_us: f64, events: usize) -> f64 {
    (used as f64 - idle_us * begun.elapsed().as_secs_f64()) / events.max(1) as f64
}
