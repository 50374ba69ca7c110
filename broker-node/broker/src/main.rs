//! `revoq-broker`: one broker node.

use std::process::ExitCode;

use revoq_broker::{Broker, Config, Error};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("REVOQ_BROKER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let config = match Config::from_command_line(std::env::args_os()) {
        Ok(config) => config,
        Err(Error::CommandLine(error)) => error.exit(),
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(2);
        }
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let asked = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(asked);
    let broker = tokio::select! {
        broker = Broker::start(config) => broker?,
        () = &mut asked => return Ok(()),
    };
    asked.await;
    broker.shutdown().await;
    Ok(())
}
