//! `revoq-bench`: the load generator. It starts its own cluster on loopback, with real TLS, real fsync and clients in
//! processes of their own, and prints a table and one line of JSON.

mod client;
mod clock;
mod connections;
mod fleet;
mod http;
mod load;
mod machine;
mod messages;
mod node;
mod process;
mod replica;
mod revoke;
mod servers;
mod start;
mod statistics;
mod usage;
mod watch;
mod watchers;

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
    /// From a commit to the last ack of a thousand brokers, and what they cost the replicas.
    Watch(watch::Arguments),
    /// From the start of a broker to its readiness, beside a million certificates.
    Start(start::Arguments),
    /// What a delivered message costs a broker node and other servers.
    Messages(messages::Arguments),
    /// What a handshake and an idle connection cost them.
    Connections(connections::Arguments),
    /// Internal: a process of clients that `revoke` starts.
    #[command(hide = true)]
    Fleet,
    /// Internal: a process of clients that `messages` and `connections` start.
    #[command(hide = true)]
    Load,
    /// Internal: a replica.
    #[command(hide = true)]
    Replica,
    /// Internal: a process of brokers that `watch` starts.
    #[command(hide = true)]
    Watchers,
    /// Internal: a broker.
    #[command(hide = true)]
    Node,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("warn,openraft=off,revoq_consensus=off")
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::Revoke(arguments) => revoke::run(&arguments).await,
        Command::Watch(arguments) => Box::pin(watch::run(&arguments)).await,
        Command::Start(arguments) => Box::pin(start::run(&arguments)).await,
        Command::Messages(arguments) => Box::pin(messages::run(&arguments)).await,
        Command::Connections(arguments) => Box::pin(connections::run(&arguments)).await,
        Command::Load => load::worker().await,
        Command::Fleet => fleet::worker().await,
        Command::Replica => Box::pin(replica::worker()).await,
        Command::Watchers => Box::pin(watchers::worker()).await,
        Command::Node => Box::pin(node::worker()).await,
    }
}
