//! `revoq-local`: a whole cluster in one process, until Ctrl-C or SIGTERM.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use revoq_local::{Cluster, Options, Ports};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Replicas and brokers of Revoq in one process on loopback.
#[derive(Parser)]
#[command(name = "revoq-local", version)]
struct Arguments {
    /// Where everything is kept.
    #[arg(long, env = "REVOQ_LOCAL_DATA", default_value = "revoq-data")]
    data: PathBuf,
    /// Replicas of the control plane: 1, 3 or 5.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// Broker nodes.
    #[arg(long, default_value_t = 1)]
    brokers: usize,
    /// Draw free ports instead of 8883 and following.
    #[arg(long)]
    free_ports: bool,
    /// Listen for MQTT over plain TCP too.
    #[arg(long)]
    tcp: bool,
    /// Written once everything is ready: a line for each listener.
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut cluster = Box::pin(Cluster::start(Options {
        data: arguments.data,
        replicas: arguments.replicas,
        brokers: arguments.brokers,
        ports: if arguments.free_ports { Ports::Free } else { Ports::WellKnown },
        tcp: arguments.tcp,
        listeners: Vec::new(),
    }))
    .await?;
    let summary = summary(&cluster)?;
    print!("{summary}");
    if let Some(file) = &arguments.ready_file {
        std::fs::write(file, &summary).with_context(|| format!("writing {}", file.display()))?;
    }
    let fault = loop {
        tokio::select! {
            _ = interrupt.recv() => break None,
            _ = terminate.recv() => break None,
            (n, fault) = cluster.failed() => {
                // It has said why. The others go on without it.
                tracing::error!("replica {} has stopped", n + 1);
                cluster.stop_replica(n).await;
                if !cluster.has_replicas() {
                    break Some(fault);
                }
            }
        }
    };
    Box::pin(cluster.shutdown()).await;
    fault.map_or(Ok(()), |fault| Err(fault).context("no replica is left"))
}

/// A line for each listener, and the administrator's bundle.
fn summary(cluster: &Cluster) -> Result<String> {
    let mut text = String::new();
    for replica in &cluster.layout().replicas {
        writeln!(text, "grpc {}", replica.grpc)?;
    }
    for broker in &cluster.layout().brokers {
        writeln!(text, "tls {}", broker.tls)?;
        if let Some(tcp) = broker.tcp {
            writeln!(text, "tcp {tcp}")?;
        }
        writeln!(text, "http {}", broker.http)?;
    }
    writeln!(text, "context {}", cluster.bundle_path()?.display())?;
    Ok(text)
}
