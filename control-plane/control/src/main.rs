//! `revoq-control`: one replica of the control plane.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use revoq_control::{Args, Config, Replica};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("revoq-control: {error:#}");
            let known = error.downcast_ref::<revoq_control::Error>();
            known.map_or(ExitCode::FAILURE, |error| ExitCode::from(error.exit_code()))
        }
    }
}

#[tokio::main]
async fn run(args: &Args) -> Result<()> {
    let filter = EnvFilter::try_new(args.log_filter()).context("--log")?;
    let terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).init();
    let config = Config::load(args)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let replica = tokio::select! {
        started = Replica::start(config) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let fault = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        fault = replica.stopped() => Some(fault),
    };
    replica.shutdown().await;
    fault.map_or(Ok(()), |fault| Err(fault.into()))
}
