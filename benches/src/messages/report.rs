//! The table.

use super::cell::{Cell, Pressure, cells};
use super::{Arguments, Measured};
use crate::load::Counts;
use crate::servers::{Kind, Servers};
use crate::statistics::Median;

pub(super) fn print(arguments: &Arguments, servers: &Servers, runs: &[Measured]) {
    println!("medians of the runs [lowest – highest]; × is our CPU for a delivery as a multiple of theirs");
    for cell in cells(arguments) {
        println!("{cell}");
        for server in &servers.running {
            row(cell, server.kind, runs);
        }
    }
}

fn row(cell: Cell, server: Kind, runs: &[Measured]) {
    let of = |kind| move |run: &&Measured| run.cell == cell && run.server == kind;
    let theirs: Vec<&Measured> = runs.iter().filter(of(server)).collect();
    if theirs.is_empty() {
        println!("  {server:<10} nothing was measured");
        return;
    }
    let median = |figure: fn(&Measured) -> f64| Median::of(theirs.iter().map(|run| figure(run)));
    let cpu = median(|run| run.cpu_us);
    let mut text = format!("  {server:<10} CPU µs {cpu:.2}");
    let ours: Vec<&Measured> = runs.iter().filter(of(Kind::Revoq)).collect();
    if server != Kind::Revoq && !ours.is_empty() {
        let ours = Median::of(ours.iter().map(|run| run.cpu_us));
        text += &format!(", × {:.2}", ours.median / cpu.median);
    }
    text += &format!(", {:.0}/s", median(|run| run.deliveries_per_s).median);
    if cell.pressure == Pressure::Rate {
        let p50 = median(|run| run.delivered.latency.p50_us);
        let p99 = median(|run| run.delivered.latency.p99_us);
        text += &format!(", latency µs p50 {p50:.0}, p99 {p99:.0}");
    }
    let mut counts = Counts::default();
    theirs.iter().for_each(|run| counts.add(run.delivered.counts));
    let Counts { lost, duplicated, reordered, unacknowledged, .. } = counts;
    text += &format!("; lost {lost}, duplicated {duplicated}, reordered {reordered}");
    if unacknowledged > 0 {
        text += &format!(", unacknowledged {unacknowledged}");
    }
    println!("{text}");
}
