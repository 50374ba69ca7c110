//! `revoq-bench`: the load generator. It starts its own cluster on loopback, with real TLS, real fsync and clients in
//! processes of their own, and prints a table and one line of JSON.

mod client;
mod clock;
mod fleet;
mod machine;
mod revoke;
mod statistics;

use clap::{Parser, Subcommand};

/// Measures Revoq on this machine.
#[derive(Parser)]
#[command(name = "revoq-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From a suspension to the gates and sockets that it shuts, beside the floor measured in the same run.
    Revoke(revoke::Arguments),
    /// Internal: a process of clients that `revoke` starts.
    #[command(hide = true)]
    Fleet,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("warn,openraft=off,revoq_consensus=off")
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::Revoke(arguments) => revoke::run(&arguments).await,
        Command::Fleet => fleet::worker().await,
    }
}
