//! `revoq-bench revoke`: from a suspension to the gates and sockets that it shuts.

mod authority;
mod floor;
mod scene;
mod single;

use anyhow::Result;
use clap::{Args, ValueEnum};
use revoq_mqtt::ReasonCode;
use serde::Serialize;

use crate::machine::Machine;
use crate::statistics::{Median, Spread};

/// What is run, how large, how often.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Arguments {
    /// One certificate at a time, or all sessions of an authority at once.
    #[arg(long, value_enum, default_value_t = Scenario::Single)]
    scenario: Scenario,
    /// Replicas of the control plane: 1, 3 or 5.
    #[arg(long, default_value_t = 3)]
    replicas: usize,
    /// Broker nodes.
    #[arg(long, default_value_t = 3)]
    brokers: usize,
    /// Live sessions, spread over the brokers.
    #[arg(long, default_value_t = 1_000)]
    sessions: usize,
    /// Certificates that they use.
    #[arg(long, default_value_t = 1_000)]
    certificates: usize,
    /// single: certificates suspended, one after the other [default: all].
    #[arg(long)]
    suspensions: Option<usize>,
    /// authority: sessions per broker of another authority that publish to themselves while the others are cut.
    #[arg(long, default_value_t = 20)]
    flows: usize,
    /// Runs, each with a cluster of its own.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// What is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Scenario {
    /// One certificate at a time.
    Single,
    /// One authority with all its sessions.
    Authority,
}

/// The sessions of a run, counted at its end.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Verdict {
    /// Ended, and their certificate was suspended.
    cut: usize,
    /// Ended, and their certificate was not.
    wrongly_cut: usize,
    /// Live, and their certificate was suspended.
    wrongly_left: usize,
    /// Cut, and told why: DISCONNECT with 0x98.
    told_why: usize,
}

/// The line of JSON.
#[derive(Serialize)]
struct Line<'a, R> {
    bench: &'static str,
    machine: &'a Machine,
    parameters: &'a Arguments,
    runs: &'a [R],
}

/// Runs the scenario as often as it is asked for, prints a table and a line of JSON.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    anyhow::ensure!(arguments.runs > 0, "--runs: 0 is none");
    let machine = Machine::read();
    println!("{machine}");
    println!(
        "{} replicas with fsync, {} brokers, {} sessions of {} certificates, TLS 1.3 mutual, MQTT 5.0, {} run(s)",
        arguments.replicas, arguments.brokers, arguments.sessions, arguments.certificates, arguments.runs
    );
    match arguments.scenario {
        Scenario::Single => {
            let mut runs = Vec::new();
            for _ in 0..arguments.runs {
                runs.push(single::run(arguments).await?);
            }
            single::print(&runs);
            line(&machine, arguments, &runs)
        }
        Scenario::Authority => {
            let mut runs = Vec::new();
            for _ in 0..arguments.runs {
                runs.push(authority::run(arguments).await?);
            }
            authority::print(&runs);
            line(&machine, arguments, &runs)
        }
    }
}

fn line<R: Serialize>(machine: &Machine, parameters: &Arguments, runs: &[R]) -> Result<()> {
    println!("{}", serde_json::to_string(&Line { bench: "revoke", machine, parameters, runs })?);
    Ok(())
}

/// A row of the table: the median over the runs, and their lowest and highest.
fn row<R>(name: &str, runs: &[R], figure: impl Fn(&R) -> f64) {
    println!("{name:<52} {}", Median::of(runs.iter().map(figure)));
}

/// Three rows for one node.
fn node_rows<R>(name: &str, node: usize, runs: &[R], spread: impl Fn(&R) -> Spread) {
    row(&format!("{name}, broker {}, p50", node + 1), runs, |run| spread(run).p50_us);
    row(&format!("{name}, broker {}, p99", node + 1), runs, |run| spread(run).p99_us);
    row(&format!("{name}, broker {}, max", node + 1), runs, |run| spread(run).max_us);
}

impl Verdict {
    /// A session ended whose certificate was suspended.
    fn count_cut(&mut self, reason: u8) {
        self.cut += 1;
        self.told_why += usize::from(reason == ReasonCode::AdministrativeAction as u8);
    }
}
