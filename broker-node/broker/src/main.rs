//! `revoq-broker`: one broker node.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::thread::available_parallelism;

use revoq_broker::{Broker, Config, Error};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Cheaper than the system's for many small allocations that live and die on different threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What to log.
const LOG: &str = "REVOQ_BROKER_LOG";

fn main() -> ExitCode {
    let filter = match std::env::var(LOG).as_deref().unwrap_or("info").parse::<EnvFilter>() {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!(
                "revoq-broker: {LOG}: {error}; expected a filter such as info or revoq_broker=debug,info"
            );
            return ExitCode::from(2);
        }
    };
    let terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).init();
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

fn run(config: Config) -> anyhow::Result<()> {
    let threads = match config.worker_threads {
        Some(threads) => threads,
        // One is left to the kernel, whose part is as large as ours, and to the thread that shuts gates.
        None => available_parallelism()?.get().saturating_sub(1).max(1),
    };
    let mut runtime = match threads {
        // Nothing is shared between threads, and none has to be woken.
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    runtime.worker_threads(threads).enable_all().build()?.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
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
