//! Random faults against a working cluster, and the history check over everything that was answered meanwhile: no
//! acknowledged change is lost, and `--wait` never lies.
//!
//! 45 seconds; half an hour where `REVOQ_LONG` is set. `REVOQ_CHAOS_SECONDS` sets the time, `REVOQ_CHAOS_SEED` the seed
//! from which faults and work are drawn. The seed decides what is tried, not how the threads of many processes run.

mod administrators;
mod audit;
mod command_line;
mod devices;
mod nemesis;
mod recorder;
mod scene;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;

use crate::support::long;
use administrators::Administrator;
use nemesis::{BROKER_NODES, CONTROL_PLANE, Nemesis};
use scene::{BROKERS, Scene};
use verdict::Leaders;

const CHANGERS: u32 = 24;
const FENCERS: u32 = 8;
const READERS: u32 = 4;
const COMMAND_LINES: u32 = 2;
const DEVICES: u32 = 20;
/// After the last fault everything works on for a moment.
const CALM_AT_THE_END: Duration = Duration::from_secs(3);
/// What is under way then ends within this: each operation has a limit of its own.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

fn from_environment(name: &str, otherwise: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is {text:?}: expected a whole number")),
        Err(_) => Ok(otherwise),
    }
}

/// The random numbers of one worker.
fn random(seed: u64, worker: u32) -> SmallRng {
    SmallRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(worker)))
}

/// Everybody who works, each under a number of its own from 1 on.
async fn work(scene: &Arc<Scene>, seed: u64) -> Result<JoinSet<()>> {
    let mut workers = JoinSet::new();
    let mut process = 0;
    let mut next = || {
        process += 1;
        (process, random(seed, process))
    };
    for n in 0..CHANGERS + FENCERS + READERS {
        let (process, random) = next();
        let administrator = Administrator::new(scene, process, random)?;
        match n {
            ..CHANGERS => workers.spawn(administrator.change_states()),
            _ if n < CHANGERS + FENCERS => workers.spawn(administrator.fence_off()),
            _ => workers.spawn(administrator.read_states()),
        };
    }
    for _ in 0..COMMAND_LINES {
        let (process, random) = next();
        workers.spawn(command_line::change_states(Arc::clone(scene), process, random));
    }
    for _ in 0..DEVICES {
        let (process, random) = next();
        workers.spawn(devices::roam(Arc::clone(scene), process, random));
    }
    for broker in 0..BROKERS {
        let device = scene.fleet.issue(&format!("observer-{broker}")).await?;
        workers.spawn(devices::observe(Arc::clone(scene), broker, device));
    }
    Ok(workers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_lies_under_random_faults() -> Result<()> {
    let seconds = from_environment("REVOQ_CHAOS_SECONDS", if long() { 30 * 60 } else { 45 })?;
    let seed = from_environment("REVOQ_CHAOS_SEED", 1)?;
    eprintln!("seed {seed}, {seconds} s");
    let scene = Arc::new(Scene::start().await?);
    let mut workers = work(&scene, seed).await?;
    let leaders = Leaders::count(&scene);
    let end = scene.recorder.elapsed() + Duration::from_secs(seconds);
    let nemesis = |repertoire, worker| Nemesis::new(&scene, repertoire, random(seed, worker)).run(end);
    let faults = tokio::try_join!(nemesis(CONTROL_PLANE, 0), nemesis(BROKER_NODES, u32::MAX));
    scene.fleet.hosts().heal().await?;
    tokio::time::sleep(CALM_AT_THE_END).await;
    scene.stop.cancel();
    let ended = async {
        while workers.join_next().await.transpose()?.is_some() {}
        anyhow::Ok(())
    };
    tokio::time::timeout(ENDS_WITHIN, ended).await.context("the workload does not end")??;
    let leaders = leaders.await?;
    let (control_plane, broker_nodes) = faults?;
    let verdict = verdict::reach(&scene).await?;
    println!(
        "{seconds} s of random faults, seed {seed}: {verdict}; faults: {}; {leaders}",
        control_plane.and(broker_nodes)
    );
    verdict.stands()
}
