//! The table.

use super::events::Reach;
use super::run::{Gathering, Run};
use crate::statistics::Median;

pub(crate) fn print(runs: &[Run]) {
    println!("medians of the runs [lowest – highest]");
    row("all brokers joined, s", runs, |run| run.join_s);
    gathering("all connect at once", runs, |run| Some(&run.connect));
    row("memory of a watcher on a replica, KiB: connected", runs, |run| run.memory.connected_kib);
    row("… after the events", runs, |run| run.memory.steady_kib);
    if runs[0].beside_slow.is_some() {
        row("… while some read nothing", runs, |run| run.memory.beside_slow_kib);
    }
    row("… at the end", runs, |run| run.memory.end_kib);
    row("CPU of an event without watchers, µs", runs, |run| run.cpu.event_alone_us);
    row("CPU of all watchers without events, µs/s", runs, |run| run.cpu.watchers_us);
    row("CPU of an event with its fence, µs", runs, |run| run.cpu.event_us);
    row("CPU of an event for one watcher, µs", runs, |run| run.cpu.event_watcher_us);
    row("cores in use, replicas", runs, |run| run.cpu.replicas_cores);
    row("cores in use, brokers", runs, |run| run.cpu.brokers_cores);
    reach("steady", runs, |run| Some(&run.steady));
    reach("beside slow ones", runs, |run| run.beside_slow.as_ref());
    if runs[0].beside_slow.is_some() {
        row("slow ones: caught up after, s", runs, |run| run.slow_caught_up_s);
    }
    gathering("cut off, and back", runs, |run| run.returned.as_ref());
    gathering("all connections lost at once", runs, |run| Some(&run.reconnect));
    gathering("the leader killed", runs, |run| Some(&run.failover));
}

fn reach(name: &str, runs: &[Run], of: impl Fn(&Run) -> Option<&Reach>) {
    let all: Vec<&Reach> = runs.iter().filter_map(of).collect();
    if all.is_empty() {
        return;
    }
    let ms = |us: f64| us / 1_000.0;
    row(&format!("{name}: commit → last ack, ms, p50"), &all, |reach| ms(reach.commit_to_last_ack.p50_us));
    row(&format!("{name}: … p99"), &all, |reach| ms(reach.commit_to_last_ack.p99_us));
    row(&format!("{name}: … max"), &all, |reach| ms(reach.commit_to_last_ack.max_us));
    if all[0].commit_to_fence.count > 0 {
        row(&format!("{name}: commit → last ack at the leader, ms, p50"), &all, |reach| {
            ms(reach.commit_to_fence.p50_us)
        });
        row(&format!("{name}: … p99"), &all, |reach| ms(reach.commit_to_fence.p99_us));
        row(&format!("{name}: … max"), &all, |reach| ms(reach.commit_to_fence.max_us));
    }
    let total = |figure: fn(&Reach) -> u64| all.iter().map(|reach| figure(reach)).sum::<u64>();
    println!(
        "{name}: missed {}, repeated {}, snapshots {}, leases lost {}, calls failed {}",
        total(|reach| reach.missed),
        total(|reach| reach.repeated),
        total(|reach| reach.snapshots),
        total(|reach| reach.lapsed),
        total(|reach| reach.failed)
    );
}

fn gathering(name: &str, runs: &[Run], of: impl Fn(&Run) -> Option<&Gathering>) {
    let all: Vec<&Gathering> = runs.iter().filter_map(of).collect();
    if all.is_empty() {
        return;
    }
    row(&format!("{name}: all served after, s"), &all, |gathering| gathering.seconds);
    for gathering in all {
        println!(
            "{name}: by revision {}, by snapshot {}, on the replicas {:?}, streams tried {}, leases lost {}",
            gathering.by_revision,
            gathering.by_snapshot,
            gathering.spread,
            gathering.streams,
            gathering.lapsed
        );
    }
}

fn row<R>(name: &str, runs: &[R], figure: impl Fn(&R) -> f64) {
    println!("{name:<60} {}", Median::of(runs.iter().map(figure)));
}
