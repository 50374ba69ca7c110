//! `revoq-bench watch`: from a commit to the last ack of many brokers, what they cost the replicas, and what happens
//! when some of them read nothing, and when all of them come at once.

mod crowd;
mod events;
mod memory;
mod report;
mod run;
mod scene;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::machine::Machine;

/// How large, how often.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Arguments {
    /// Brokers that watch.
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// Of those, brokers that read nothing for a while.
    #[arg(long, default_value_t = 100)]
    slow: usize,
    /// Processes of the other brokers.
    #[arg(long, default_value_t = 2)]
    processes: usize,
    /// Events at the steady rate, each a suspension or reactivation of one certificate, with its fence.
    #[arg(long, default_value_t = 1_000)]
    events: usize,
    /// Events in a second.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Seconds for which the slow ones read nothing.
    #[arg(long, default_value_t = 8)]
    slow_s: u64,
    /// Events while the slow ones read nothing for so long that they are cut off; more than `changes-kept`. 0: this is
    /// left out.
    #[arg(long, default_value_t = 6_000)]
    burst: usize,
    /// See `limits.changes_kept` of a replica.
    #[arg(long, default_value_t = 4_000)]
    changes_kept: u64,
    /// See `limits.changes_in_memory` of a replica.
    #[arg(long, default_value_t = 2_000)]
    changes_in_memory: usize,
    /// Milliseconds without events after which memory and processor time are read.
    #[arg(long, default_value_t = 3_000)]
    settle_ms: u64,
    /// Runs, each with a cluster of its own.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// The line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    bench: &'static str,
    machine: &'a Machine,
    parameters: &'a Arguments,
    runs: &'a [run::Run],
}

/// Runs as often as it is asked for, prints a table and a line of JSON.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    anyhow::ensure!(arguments.runs > 0, "--runs: 0 is none");
    anyhow::ensure!(arguments.slow < arguments.watchers, "--slow: some must be left that are not");
    let machine = Machine::read();
    println!("{machine}");
    println!(
        "3 replicas with fsync, each a process; {} brokers that only watch, gRPC over mutual TLS 1.3, in {} processes on \
         the same machine; {} events at {}/s; {} run(s)",
        arguments.watchers,
        arguments.processes + usize::from(arguments.slow > 0),
        arguments.events,
        arguments.rate,
        arguments.runs
    );
    let mut runs = Vec::new();
    for _ in 0..arguments.runs {
        runs.push(Box::pin(run::run(arguments)).await?);
    }
    report::print(&runs);
    println!(
        "{}",
        serde_json::to_string(&Line {
            bench: "watch",
            machine: &machine,
            parameters: arguments,
            runs: &runs
        })?
    );
    Ok(())
}
