//! One certificate at a time.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, bail};
use revoq_proto::v1::selector::Selector;
use serde::Serialize;

use super::floor::{Floor, Samples};
use super::scene::{Scene, Suspended};
use super::{Arguments, Verdict, node_rows, row};
use crate::fleet::{Fleet, Job, Report};
use crate::statistics::Spread;

/// The floor is sampled once in so many suspensions.
const FLOOR_EVERY: usize = 5;
/// A session that is not closed within this is counted as wrongly left.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

#[derive(Serialize)]
pub(crate) struct Run {
    floor: Floor,
    /// From the call to the last gate on the farthest node.
    suspension_to_farthest_gate: Spread,
    /// From the leader's commit to each node's gates.
    commit_to_gate: Vec<Spread>,
    /// From the leader's commit to the end of the stream at each node's clients.
    commit_to_socket_closed: Vec<Spread>,
    /// The medians of the farthest gate and of the floor.
    ratio_p50: f64,
    verdict: Verdict,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Run> {
    let scene = Scene::start(arguments).await?;
    let issued = scene.issue("bench", arguments.certificates).await?;
    let mut fleet = Fleet::open(&Job {
        name: "idle".to_owned(),
        root: scene.root.clone(),
        brokers: scene.brokers(),
        leaves: issued.iter().map(|issued| issued.leaf.clone()).collect(),
        sessions: arguments.sessions,
        flows: 0,
        flow_every_ms: 1_000,
    })
    .await?;
    let mut floor = Samples::default();
    let mut farthest = Vec::new();
    let mut nodes = vec![Vec::new(); arguments.brokers];
    let mut sockets = nodes.clone();
    let mut verdict = Verdict::default();
    let mut suspended = HashSet::new();
    for (n, certificate) in issued.iter().enumerate().take(arguments.suspensions.unwrap_or(usize::MAX)) {
        if n % FLOOR_EVERY == 0 {
            floor.take(&scene).await?;
        }
        suspended.insert(n);
        let selector = Selector::Fingerprint(certificate.fingerprint.clone().into());
        let Suspended { called, committed, gates } = scene.suspend(selector).await?;
        farthest.push(gates.iter().map(|gate| gate.saturating_sub(called)).max().unwrap_or_default());
        for (node, gate) in nodes.iter_mut().zip(&gates) {
            node.push(gate.saturating_sub(committed));
        }
        let expected = sessions_of(arguments, n);
        for (broker, at_ns) in closed(&mut fleet, expected, &suspended, &mut verdict).await? {
            sockets[broker].push(at_ns.saturating_sub(committed));
        }
    }
    for report in fleet.stop().await? {
        if let Report::Closed { .. } = report {
            verdict.wrongly_cut += 1;
        }
    }
    scene.shutdown().await;
    let floor = floor.floor();
    let farthest = Spread::of(farthest);
    Ok(Run {
        floor,
        suspension_to_farthest_gate: farthest,
        commit_to_gate: nodes.into_iter().map(Spread::of).collect(),
        commit_to_socket_closed: sockets.into_iter().map(Spread::of).collect(),
        ratio_p50: farthest.p50_us / floor.p50_us,
        verdict,
    })
}

/// How many sessions use leaf `n`.
fn sessions_of(arguments: &Arguments, n: usize) -> usize {
    (arguments.sessions + arguments.certificates - 1 - n) / arguments.certificates
}

/// Waits for the ends of so many sessions, and judges each.
async fn closed(
    fleet: &mut Fleet,
    expected: usize,
    suspended: &HashSet<usize>,
    verdict: &mut Verdict,
) -> Result<Vec<(usize, u64)>> {
    let mut ends = Vec::new();
    while ends.len() < expected {
        match tokio::time::timeout(CLOSED_WITHIN, fleet.next()).await {
            Ok(Ok(Some(Report::Closed { leaf, broker, at_ns, reason }))) if suspended.contains(&leaf) => {
                verdict.count_cut(reason);
                ends.push((broker, at_ns));
            }
            Ok(Ok(Some(Report::Closed { .. }))) => verdict.wrongly_cut += 1,
            Ok(other) => bail!("the worker failed: {other:?}"),
            Err(_) => {
                verdict.wrongly_left += expected - ends.len();
                break;
            }
        }
    }
    Ok(ends)
}

pub(crate) fn print(runs: &[Run]) {
    println!("microseconds; medians of the runs [lowest – highest]");
    row("floor: quorum commit of an empty entry, p50", runs, |run| run.floor.empty_commit.p50_us);
    row("floor: gRPC round trip on loopback, p50", runs, |run| run.floor.round_trip.p50_us);
    row("floor, p50", runs, |run| run.floor.p50_us);
    row("suspension → gate on the farthest node, p50", runs, |run| run.suspension_to_farthest_gate.p50_us);
    row("suspension → gate on the farthest node, p99", runs, |run| run.suspension_to_farthest_gate.p99_us);
    row("suspension → gate on the farthest node, max", runs, |run| run.suspension_to_farthest_gate.max_us);
    row("  … p50 as a multiple of the floor", runs, |run| run.ratio_p50);
    for node in 0..runs[0].commit_to_gate.len() {
        node_rows("commit → gate", node, runs, |run| run.commit_to_gate[node]);
        node_rows("commit → socket closed", node, runs, |run| run.commit_to_socket_closed[node]);
    }
    let total = |figure: fn(&Verdict) -> usize| runs.iter().map(|run| figure(&run.verdict)).sum::<usize>();
    println!(
        "sessions cut {} (told why {}), wrongly cut {}, wrongly left {}",
        total(|verdict| verdict.cut),
        total(|verdict| verdict.told_why),
        total(|verdict| verdict.wrongly_cut),
        total(|verdict| verdict.wrongly_left)
    );
}
