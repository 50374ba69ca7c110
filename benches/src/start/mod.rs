//! `revoq-bench start`: from the start of a broker's process to its readiness, beside many certificates.

mod run;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::machine::Machine;
use crate::replica::{Cluster, Fill, Filled, Kept};
use crate::statistics::Median;

/// How large, how often.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Arguments {
    /// Certificates that the control plane has issued.
    #[arg(long, default_value_t = 1_000_000)]
    certificates: usize,
    /// Of those, suspended.
    #[arg(long, default_value_t = 10_000)]
    denied: usize,
    /// Replicas of the control plane: 1, 3 or 5.
    #[arg(long, default_value_t = 3)]
    replicas: usize,
    /// Suspensions, one after the other, once the broker is ready.
    #[arg(long, default_value_t = 200)]
    suspensions: usize,
    /// Brokers that are started, one after the other.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// The line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    bench: &'static str,
    machine: &'a Machine,
    parameters: &'a Arguments,
    filled: Filled,
    runs: &'a [run::Run],
}

/// Makes the state once, starts brokers beside it, prints a table and a line of JSON.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    anyhow::ensure!(arguments.runs > 0, "--runs: 0 is none");
    anyhow::ensure!(
        arguments.denied <= arguments.certificates,
        "--denied: there are not so many certificates"
    );
    let machine = Machine::read();
    println!("{machine}");
    println!(
        "{} replicas with fsync, each a process; {} certificates, {} of them suspended; {} broker(s), each a process of \
         its own that joins by a token",
        arguments.replicas, arguments.certificates, arguments.denied, arguments.runs
    );
    let mut cluster = Cluster::start(arguments.replicas, Kept::default()).await?;
    let fill = Fill { certificates: arguments.certificates, denied: arguments.denied };
    let filled = cluster.leading().await?.fill(fill).await?;
    println!("added in {:.1} s, suspended in {:.1} s", filled.added_s, filled.denied_s);
    let mut runs = Vec::new();
    for n in 0..arguments.runs {
        runs.push(Box::pin(run::run(&mut cluster, arguments, n)).await?);
    }
    cluster.stop().await?;
    println!("medians of the runs [lowest – highest]");
    row("process started → member, ms", &runs, |run| run.member_ms);
    row("process started → ready, ms", &runs, |run| run.ready_ms);
    row("certificates in the broker's denied set", &runs, |run| run.denied);
    row("memory of the broker, MiB", &runs, |run| run.memory_mib);
    row("commit → ack of a suspension, µs, p50", &runs, |run| run.commit_to_ack.p50_us);
    row("commit → ack of a suspension, µs, p99", &runs, |run| run.commit_to_ack.p99_us);
    let line = Line { bench: "start", machine: &machine, parameters: arguments, filled, runs: &runs };
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
}

fn row(name: &str, runs: &[run::Run], figure: impl Fn(&run::Run) -> f64) {
    println!("{name:<60} {}", Median::of(runs.iter().map(figure)));
}
