//! `revoqctl`: the administrator's command line.
use std::process::ExitCode;

use clap::Parser as _;
use revoq_admin::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("revoqctl: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut stdout = std::io::stdout().lock();
    ExitCode::from(runtime.block_on(revoq_admin::run(cli, &mut stdout, &mut std::io::stderr())))
}
