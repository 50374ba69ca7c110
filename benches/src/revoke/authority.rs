//! All sessions of one authority at once, while sessions of another exchange messages.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use super::floor::{Floor, Samples};
use super::scene::{Issued, Scene, Suspended, authority};
use super::{Arguments, Verdict, node_rows, row};
use crate::fleet::{Fleet, Job, Report};
use crate::statistics::Spread;

/// Certificates of the authority that is not suspended.
const BYSTANDERS: usize = 20;
const FLOW_EVERY_MS: u64 = 20;
/// The flows run so long before the cut and after the last socket.
const STEADY: Duration = Duration::from_secs(2);
const CLOSED_WITHIN: Duration = Duration::from_secs(20);
const FLOOR_SAMPLES: usize = 50;

#[derive(Serialize)]
pub(crate) struct Run {
    floor: Floor,
    /// From the leader's commit to the last gate of all nodes.
    commit_to_all_gates_us: f64,
    /// From the leader's commit to the last gate of each node.
    commit_to_gates_us: Vec<f64>,
    /// From the leader's commit to the end of the streams of each node's clients.
    commit_to_socket_closed: Vec<Spread>,
    commit_to_last_socket_us: f64,
    verdict: Verdict,
    /// Messages of the other sessions.
    acknowledged: u64,
    lost: u64,
    broken_flows: u64,
}

fn job(scene: &Scene, name: &str, issued: &[Issued]) -> Job {
    Job {
        name: name.to_owned(),
        root: scene.root.clone(),
        brokers: scene.brokers(),
        leaves: issued.iter().map(|issued| issued.leaf.clone()).collect(),
        sessions: 0,
        flows: 0,
        flow_every_ms: FLOW_EVERY_MS,
    }
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Run> {
    let scene = Scene::start(arguments).await?;
    let doomed = scene.issue("doomed", arguments.certificates).await?;
    let others = scene.issue("others", BYSTANDERS).await?;
    let mut idle =
        Fleet::open(&Job { sessions: arguments.sessions, ..job(&scene, "doomed", &doomed) }).await?;
    let flows = Fleet::open(&Job { flows: arguments.flows, ..job(&scene, "others", &others) }).await?;
    let mut floor = Samples::default();
    for _ in 0..FLOOR_SAMPLES {
        floor.take(&scene).await?;
    }
    tokio::time::sleep(STEADY).await;

    let Suspended { committed, gates, .. } = scene.suspend(authority("doomed")).await?;
    let mut verdict = Verdict::default();
    let mut sockets = vec![Vec::new(); arguments.brokers];
    while verdict.cut < arguments.sessions {
        match tokio::time::timeout(CLOSED_WITHIN, idle.next()).await {
            Ok(Ok(Some(Report::Closed { broker, at_ns, reason, .. }))) => {
                verdict.count_cut(reason);
                sockets[broker].push(at_ns.saturating_sub(committed));
            }
            Ok(other) => bail!("the worker failed: {other:?}"),
            Err(_) => break,
        }
    }
    verdict.wrongly_left = arguments.sessions - verdict.cut;
    tokio::time::sleep(STEADY).await;
    let Some(Report::Flows { acknowledged, lost, broken }) = flows.stop().await?.pop() else {
        bail!("the flows did not report");
    };
    verdict.wrongly_cut = usize::try_from(broken)?;
    idle.stop().await?;
    scene.shutdown().await;
    let gates = gates.iter().map(|gate| Spread::of([gate.saturating_sub(committed)]).max_us);
    let commit_to_gates_us: Vec<f64> = gates.collect();
    let commit_to_socket_closed: Vec<Spread> = sockets.into_iter().map(Spread::of).collect();
    Ok(Run {
        floor: floor.floor(),
        commit_to_all_gates_us: commit_to_gates_us.iter().copied().fold(0.0, f64::max),
        commit_to_gates_us,
        commit_to_last_socket_us: commit_to_socket_closed.iter().map(|node| node.max_us).fold(0.0, f64::max),
        commit_to_socket_closed,
        verdict,
        acknowledged,
        lost,
        broken_flows: broken,
    })
}

pub(crate) fn print(runs: &[Run]) {
    println!("microseconds; medians of the runs [lowest – highest]");
    row("floor, p50", runs, |run| run.floor.p50_us);
    row("commit → all gates of all nodes", runs, |run| run.commit_to_all_gates_us);
    row("commit → last socket closed", runs, |run| run.commit_to_last_socket_us);
    for node in 0..runs[0].commit_to_gates_us.len() {
        row(&format!("commit → gates, broker {}", node + 1), runs, |run| run.commit_to_gates_us[node]);
        node_rows("commit → socket closed", node, runs, |run| run.commit_to_socket_closed[node]);
    }
    for run in runs {
        println!(
            "sessions cut {} (told why {}), wrongly cut {}, wrongly left {}; messages of others acknowledged {}, lost {}",
            run.verdict.cut,
            run.verdict.told_why,
            run.verdict.wrongly_cut,
            run.verdict.wrongly_left,
            run.acknowledged,
            run.lost
        );
    }
}
